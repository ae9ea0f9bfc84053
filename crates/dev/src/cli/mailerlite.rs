//! MailerLite's webhooks: which the account has, and which it needs.
//!
//! Two are needed, because MailerLite sends some events only in envelopes. `docs/providers.md` ("MailerLite").
//! Must not know what any function does with an event.

use std::collections::BTreeSet;

use funil_core::destination::mailerlite::account::{
    Account, Sends, Webhook, WebhookWanted, made_secret, webhooks_of,
};
use funil_core::provider::mailerlite::{BATCHED_EVENTS, EVENTS};
use funil_store::Platform;
use url::Url;

use crate::cli::Failure;
use crate::cli::provider::{path, refused, send};

/// The webhooks that are needed: how their events are sent, and which they are.
pub(super) const NEEDED: [(Sends, &[&str]); 2] =
    [(Sends::EachByItself, &EVENTS), (Sends::InEnvelopes, &BATCHED_EVENTS)];

/// Every webhook of the account.
pub(super) async fn webhooks(
    account: &Account,
    platform: &Platform,
) -> Result<Vec<Webhook>, Failure> {
    let (mut found, mut page) = (Vec::new(), 1);
    loop {
        let response = send(platform, &account.list_webhooks(page)).await?;
        let (webhooks, last_page) =
            webhooks_of(&response).ok_or_else(|| refused("The list of webhooks", &response))?;
        found.extend(webhooks);
        if page >= last_page {
            return Ok(found);
        }
        page += 1;
    }
}

/// Whether a webhook goes to a function of this kind; with an address, to that one.
pub(super) fn is_ours(webhook: &Webhook, address: Option<&Url>) -> bool {
    match address {
        Some(address) => path(&webhook.url) == path(address.as_str()),
        None => path(&webhook.url).ends_with("/mailerlite-webhook"),
    }
}

/// Which of these events none of the webhooks brings.
pub(super) fn lacks<'e>(ours: &[&Webhook], events: &[&'e str]) -> Vec<&'e str> {
    let brought: BTreeSet<&str> = ours
        .iter()
        .filter(|webhook| webhook.enabled)
        .flat_map(|webhook| webhook.events.iter().map(String::as_str))
        .collect();
    events.iter().copied().filter(|event| !brought.contains(event)).collect()
}

/// Makes a webhook, and returns the secret with which MailerLite signs what it sends there.
pub(super) async fn make(
    account: &Account,
    platform: &Platform,
    wanted: &WebhookWanted<'_>,
) -> Result<String, Failure> {
    let response = send(platform, &account.make_webhook(wanted)).await?;
    made_secret(&response).ok_or_else(|| refused("The webhook", &response))
}

/// Gives a webhook these events, and switches it on. Its secret stays.
pub(super) async fn mend(
    account: &Account,
    platform: &Platform,
    id: &str,
    wanted: &WebhookWanted<'_>,
) -> Result<(), Failure> {
    let response = send(platform, &account.change_webhook(id, wanted)).await?;
    if response.succeeded() { Ok(()) } else { Err(refused("The webhook", &response)) }
}
