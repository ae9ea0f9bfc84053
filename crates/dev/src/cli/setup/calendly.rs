//! Makes the subscription to Calendly's webhook, anew where the one that is there does not work or has to sign
//! with another key.
//!
//! The new one is made before the old one is removed, so that no booking falls between the two; what both
//! send is recognised as the same. Calendly takes an address only once, so the new one has a query, which
//! the function does not look at.

use std::io::Write;

use funil_core::settings::{Env, Secret, Settings};
use funil_store::Platform;
use url::Url;

use super::Run;
use crate::cli::Failure;
use crate::cli::calendly::{Calendly, Subscription};

/// What is wanted of the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A subscription that works; one that exists is kept.
    Working,
    /// A new subscription, even if one works already.
    Anew,
}

pub(super) async fn run(
    webhook: &Url,
    wanted: Wanted,
    run: Run,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut settings = env.settings();
    let (calendly, key) = (Calendly::read(&mut settings, platform), key(&mut settings));
    let (calendly, key) = settings.finish(calendly.zip(key))?;
    let me = calendly.me().await?;
    let (scope, found) = calendly.subscriptions(&me).await?;
    let ours: Vec<&Subscription> = found.iter().filter(|one| one.goes_to(webhook)).collect();
    let works = |one: &&Subscription| one.is_active() && one.lacks().is_empty();
    if wanted == Wanted::Working && ours.iter().any(works) {
        writeln!(out, "Calendly sends every event to {webhook} already.")?;
        writeln!(
            out,
            "Whether it signs with CALENDLY_SIGNING_KEY shows the next booking; --replace makes it anew."
        )?;
        return Ok(());
    }
    for one in found.iter().filter(|one| one.goes_to_one() && !one.goes_to(webhook)) {
        writeln!(
            out,
            "There is a subscription of {} too. If that is the same deployment, remove it at Calendly, or \
             every booking comes twice.",
            one.callback_url
        )?;
    }
    let address = free_address(webhook, &found);
    if run == Run::ForReal {
        calendly
            .subscribe(&me, scope, &address, &key)
            .await
            .map_err(|error| format!("No subscription was made, and none was removed. {error}"))?;
    }
    writeln!(out, "{} a subscription of the {} to {address}", run.verb(), scope.name())?;
    for one in ours {
        let lacks = one.lacks().join(", ");
        let why = match (one.is_active(), lacks.is_empty()) {
            (false, _) => one.state.clone(),
            (true, false) => format!("lacks {lacks}"),
            (true, true) => "replaced".to_owned(),
        };
        let verb = if run == Run::ForReal { "removed" } else { "would remove" };
        if run == Run::ForReal {
            calendly.remove(one).await?;
        }
        writeln!(out, "{verb} the subscription of {} ({why})", one.callback_url)?;
    }
    Ok(())
}

/// The address itself, or with a number after it that no subscription has yet.
fn free_address(webhook: &Url, found: &[Subscription]) -> Url {
    let numbered = (2..=found.len() + 2).map(|number| {
        let mut address = webhook.clone();
        address.query_pairs_mut().append_pair("subscription", &number.to_string());
        address
    });
    let is_free = |address: &Url| found.iter().all(|one| one.callback_url != address.as_str());
    [webhook.clone()].into_iter().chain(numbered).find(is_free).unwrap_or_else(|| webhook.clone())
}

/// The key that Calendly is to sign with: the first, because a further one is being replaced.
fn key(settings: &mut Settings<'_>) -> Option<Secret> {
    settings.chosen_secrets("CALENDLY_SIGNING_KEY")?.into_iter().next()
}
