//! What the doctor finds at Stripe: the endpoint to which it sends its webhooks. It only reads.
//!
//! A key of the account is needed for this, which no function holds.

use funil_core::check::Finding;
use funil_core::settings::Env;
use funil_store::Platform;
use url::Url;

use crate::cli::stripe::{Endpoint, Stripe};

const SUBJECT: &str = "endpoint";

/// Looks at Stripe. `webhook` is where its webhooks have to go, if that is known.
pub(super) async fn findings(
    env: &Env,
    platform: &Platform,
    webhook: Option<&Url>,
) -> Vec<Finding> {
    let mut settings = env.settings();
    if settings.optional("STRIPE_API_KEY").is_none() {
        let says = "set STRIPE_API_KEY, a restricted key that may read webhook endpoints, and the doctor \
                    looks at the endpoint and its events. Only you need it.";
        return vec![Finding::unchecked(SUBJECT, says)];
    }
    let stripe = Stripe::read(&mut settings, platform);
    let stripe = match settings.finish(stripe) {
        Ok(stripe) => stripe,
        Err(error) => return vec![Finding::failed(SUBJECT, error.0.join(" "))],
    };
    vec![match stripe.endpoints().await {
        Ok(found) => of_endpoints(&found, webhook),
        Err(error) => Finding::failed(SUBJECT, error.to_string()),
    }]
}

/// What the endpoints are worth. Of several, the best counts.
fn of_endpoints(found: &[Endpoint], webhook: Option<&Url>) -> Finding {
    let is_ours = |one: &&Endpoint| match webhook {
        Some(url) => one.goes_to(url),
        None => one.goes_to_one(),
    };
    let where_to = webhook.map_or("an address that ends in /stripe-webhook", Url::as_str);
    let ours: Vec<&Endpoint> = found.iter().filter(is_ours).collect();
    let Some(best) = ours.iter().find(|one| one.is_enabled()).or_else(|| ours.first()) else {
        return Finding::failed(
            SUBJECT,
            format!(
                "none of the {} endpoints goes to {where_to}, so no payment comes. `funil setup stripe \
                 --webhook …/stripe-webhook` makes one.",
                found.len()
            ),
        );
    };
    let address = &best.url;
    if !best.is_enabled() {
        return Finding::failed(
            SUBJECT,
            format!(
                "{address} is disabled: Stripe got no success from it for days, or somebody switched it \
                 off. Mend what it responds, then switch it on by `funil setup stripe`, and send what was \
                 missed again from Stripe's dashboard."
            ),
        );
    }
    let lacks = best.lacks();
    if !lacks.is_empty() {
        let lacks = lacks.join(", ");
        let says = format!("{address} lacks {lacks}. `funil setup stripe` adds them.");
        return Finding::failed(SUBJECT, says);
    }
    if !best.livemode {
        return Finding::warning(
            SUBJECT,
            format!(
                "Stripe sends every event of its test mode to {address}. STRIPE_API_KEY is a test key; with \
                 a live one the doctor looks at the live endpoint."
            ),
        );
    }
    Finding::ok(SUBJECT, format!("Stripe sends every event to {address}"))
}
