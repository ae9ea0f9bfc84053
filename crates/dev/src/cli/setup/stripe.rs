//! Makes the endpoint to which Stripe sends its webhooks, or gives the one that is there the events that it lacks.
//!
//! A second one is never made for the same address: each would sign with a secret of its own, and send
//! everything twice.

use std::io::Write;

use funil_core::settings::Env;
use funil_store::Platform;
use url::Url;

use super::Run;
use crate::cli::Failure;
use crate::cli::stripe::{Endpoint, Stripe};

pub(super) async fn run(
    webhook: &Url,
    api_version: Option<&str>,
    run: Run,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut settings = env.settings();
    let stripe = Stripe::read(&mut settings, platform);
    let stripe = settings.finish(stripe)?;
    let found = stripe.endpoints().await?;
    for one in found.iter().filter(|one| one.goes_to_one() && !one.goes_to(webhook)) {
        writeln!(
            out,
            "There is an endpoint {} too. If that is the same deployment, remove it at Stripe, or every \
             event comes twice.",
            one.url
        )?;
    }
    let ours: Vec<&Endpoint> = found.iter().filter(|one| one.goes_to(webhook)).collect();
    let Some(best) = ours.iter().find(|one| one.is_enabled()).or_else(|| ours.first()) else {
        writeln!(out, "{} an endpoint for {webhook}", run.verb())?;
        if run == Run::ForReal {
            let secret = stripe.make(webhook, api_version).await?;
            writeln!(out, "Stripe shows its secret only now:")?;
            writeln!(out, "STRIPE_WEBHOOK_SECRET={secret}")?;
        }
        return Ok(());
    };
    let lacks = best.lacks();
    if best.is_enabled() && lacks.is_empty() {
        writeln!(out, "Stripe sends every event to {} already.", best.url)?;
        return Ok(());
    }
    if run == Run::ForReal {
        stripe.mend(best).await?;
    }
    let verb = if run == Run::ForReal { "mended" } else { "would mend" };
    let why = match (best.is_enabled(), lacks.is_empty()) {
        (false, true) => "it was disabled".to_owned(),
        (true, _) => format!("it lacked {}", lacks.join(", ")),
        (false, false) => format!("it was disabled, and lacked {}", lacks.join(", ")),
    };
    writeln!(out, "{verb} the endpoint {}: {why}. Its secret stays.", best.url)?;
    Ok(())
}
