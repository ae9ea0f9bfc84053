//! Makes the subscription to Calendly's webhook, anew where the one that is there does not work.

use std::io::Write;

use funil_core::settings::{Env, Secret, Settings};
use funil_store::Platform;
use url::Url;

use super::Run;
use crate::cli::calendly::{Calendly, Subscription};
use crate::cli::dead::Failure;

pub(super) async fn run(
    webhook: &Url,
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
    let ours: Vec<&Subscription> =
        found.iter().filter(|one| one.callback_url == webhook.as_str()).collect();
    if ours.iter().any(|one| one.is_active() && one.lacks().is_empty()) {
        writeln!(out, "Calendly sends every event to {webhook} already.")?;
        writeln!(
            out,
            "Whether it signs with CALENDLY_SIGNING_KEY shows the next booking: `health` counts what was \
             refused."
        )?;
        return Ok(());
    }
    for one in ours {
        let lacks = one.lacks().join(", ");
        let why = if one.is_active() { format!("lacks {lacks}") } else { one.state.clone() };
        let verb = if run == Run::ForReal { "removed" } else { "would remove" };
        if run == Run::ForReal {
            calendly.remove(one).await?;
        }
        writeln!(out, "{verb} the subscription of {webhook} ({why})")?;
    }
    if run == Run::ForReal {
        calendly.subscribe(&me, scope, webhook, &key).await?;
    }
    writeln!(out, "{} a subscription of the {} to {webhook}", run.verb(), scope.name())?;
    Ok(())
}

/// The key that Calendly is to sign with: the first, because a further one is being replaced.
fn key(settings: &mut Settings<'_>) -> Option<Secret> {
    settings.chosen_secrets("CALENDLY_SIGNING_KEY")?.into_iter().next()
}
