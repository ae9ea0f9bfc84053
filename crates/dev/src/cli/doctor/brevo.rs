//! What the doctor finds of Brevo's webhook. It only reads.
//!
//! The account's key is needed for this, which `brevo-webhook` does not hold.

use funil_core::check::Finding;
use funil_core::destination::brevo::account::{Account, Webhook, webhooks};
use funil_core::provider::brevo::EVENTS;
use funil_core::settings::Env;
use funil_store::Platform;
use url::Url;

use crate::cli::provider::{path, refused, send};

const SUBJECT: &str = "webhook";

/// Looks at Brevo. `webhook` is where its webhook has to go, if that is known.
pub(super) async fn findings(
    env: &Env,
    platform: &Platform,
    webhook: Option<&Url>,
) -> Vec<Finding> {
    let mut settings = env.settings();
    if settings.optional("BREVO_API_KEY").is_none() {
        let says = "set BREVO_API_KEY, and the doctor looks at the webhook and its events.";
        return vec![Finding::unchecked(SUBJECT, says)];
    }
    let account = Account::read(&mut settings);
    let account = match settings.finish(account) {
        Ok(account) => account,
        Err(error) => return vec![Finding::failed(SUBJECT, error.0.join(" "))],
    };
    let found = match send(platform, &account.list_webhooks()).await {
        Ok(response) => {
            webhooks(&response).ok_or_else(|| refused("The list of webhooks", &response))
        }
        Err(error) => Err(error),
    };
    vec![match found {
        Ok(found) => of_webhooks(&found, webhook),
        Err(error) => Finding::failed(SUBJECT, error.to_string()),
    }]
}

fn of_webhooks(found: &[Webhook], webhook: Option<&Url>) -> Finding {
    let where_to = webhook.map_or("an address that ends in /brevo-webhook", Url::as_str);
    let is_ours = |one: &&Webhook| match webhook {
        Some(url) => path(&one.url) == path(url.as_str()),
        None => path(&one.url).ends_with("/brevo-webhook"),
    };
    let Some(ours) = found.iter().find(is_ours) else {
        let says = format!(
            "no webhook goes to {where_to}, so nobody here hears of a bounce. `funil setup brevo --webhook \
             …/brevo-webhook` makes it."
        );
        return Finding::warning(SUBJECT, says);
    };
    let lacks: Vec<&str> =
        EVENTS.into_iter().filter(|event| !ours.events.iter().any(|has| has == event)).collect();
    if lacks.is_empty() {
        return Finding::ok(SUBJECT, format!("Brevo reports every bounce to {where_to}"));
    }
    let lacks = lacks.join(", ");
    let says = format!(
        "the webhook to {where_to} lacks {lacks}. `funil setup brevo --webhook …` adds them."
    );
    Finding::failed(SUBJECT, says)
}
