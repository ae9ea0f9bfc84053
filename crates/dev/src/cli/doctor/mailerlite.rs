//! What the doctor finds of MailerLite's webhooks. It only reads.
//!
//! The account's key is needed for this, which `mailerlite-webhook` does not hold.

use funil_core::check::Finding;
use funil_core::destination::mailerlite::account::{Account, Webhook};
use funil_core::settings::Env;
use funil_store::Platform;
use url::Url;

use crate::cli::mailerlite::{NEEDED, is_ours, lacks, webhooks};

const SUBJECT: &str = "webhooks";

/// Looks at MailerLite. `webhook` is where its webhooks have to go, if that is known.
pub(super) async fn findings(
    env: &Env,
    platform: &Platform,
    webhook: Option<&Url>,
) -> Vec<Finding> {
    let mut settings = env.settings();
    if settings.optional("MAILERLITE_API_KEY").is_none() {
        let says = "set MAILERLITE_API_KEY, and the doctor looks at the webhooks and their events.";
        return vec![Finding::unchecked(SUBJECT, says)];
    }
    let account = Account::read(&mut settings);
    let account = match settings.finish(account) {
        Ok(account) => account,
        Err(error) => return vec![Finding::failed(SUBJECT, error.0.join(" "))],
    };
    match webhooks(&account, platform).await {
        Ok(found) => {
            let ours: Vec<&Webhook> = found.iter().filter(|one| is_ours(one, webhook)).collect();
            vec![of_webhooks(&ours, webhook)]
        }
        Err(error) => vec![Finding::failed(SUBJECT, error.to_string())],
    }
}

fn of_webhooks(ours: &[&Webhook], webhook: Option<&Url>) -> Finding {
    let where_to = webhook.map_or("an address that ends in /mailerlite-webhook", Url::as_str);
    if ours.is_empty() {
        // Whoever uses MailerLite for forms alone needs none.
        let says = format!(
            "no webhook goes to {where_to}, so nobody here hears of an unsubscribe. `funil setup mailerlite \
             --webhook …/mailerlite-webhook` makes them."
        );
        return Finding::warning(SUBJECT, says);
    }
    let events: Vec<&str> = NEEDED.iter().flat_map(|(_, events)| events.iter().copied()).collect();
    let lacking = lacks(ours, &events);
    if lacking.is_empty() {
        return Finding::ok(SUBJECT, format!("MailerLite sends every event to {where_to}"));
    }
    let says = format!(
        "no webhook that is on brings {} to {where_to}. `funil setup mailerlite --webhook` mends that.",
        lacking.join(", ")
    );
    Finding::failed(SUBJECT, says)
}
