//! Checks Brevo's key and sender, and makes the webhook by which it reports bounces.
//!
//! Brevo signs nothing, so the address that it gets has `BREVO_WEBHOOK_SECRET` in it; what is printed has not.

use std::collections::BTreeSet;
use std::io::Write;

use funil_core::destination::brevo::account::{Account, may_send_as, webhooks};
use funil_core::provider::brevo::{EVENTS, TOKEN_PARAMETER};
use funil_core::settings::Env;
use funil_store::Platform;
use url::Url;

use super::{Run, with_token};
use crate::cli::Failure;
use crate::cli::provider::{path, refused, send};

pub(super) async fn run(
    webhook: Option<&Url>,
    run: Run,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut settings = env.settings();
    let account = Account::read(&mut settings);
    let sender = settings.required("BREVO_SENDER_EMAIL");
    let tokens = match webhook {
        Some(_) => settings.chosen_secrets("BREVO_WEBHOOK_SECRET"),
        None => Some(Vec::new()),
    };
    let ((account, sender), tokens) = settings.finish(account.zip(sender).zip(tokens))?;
    let response = send(platform, &account.me()).await?;
    if !response.succeeded() {
        return Err(refused("BREVO_API_KEY", &response));
    }
    writeln!(out, "Brevo takes BREVO_API_KEY")?;
    let response = send(platform, &account.list_senders()).await?;
    match may_send_as(&response, sender) {
        Some(true) => writeln!(out, "the account may send as {sender}")?,
        Some(false) => {
            return Err(format!(
                "The account may not send as {sender}. Verify it in Brevo (Senders, domains), or set \
                 BREVO_SENDER_EMAIL to one that is verified."
            )
            .into());
        }
        None => return Err(refused("The list of senders", &response)),
    }
    let Some(webhook) = webhook else { return Ok(()) };
    let response = send(platform, &account.list_webhooks()).await?;
    let listed = webhooks(&response);
    let listed = listed.ok_or_else(|| refused("The list of webhooks", &response))?;
    let hook = with_token(webhook, TOKEN_PARAMETER, &tokens)?;
    let ours = listed.iter().find(|one| path(&one.url) == path(webhook.as_str()));
    let Some(ours) = ours else {
        writeln!(out, "{} a webhook for {webhook}", run.verb())?;
        if run == Run::ForReal {
            let response = send(platform, &account.make_webhook(&hook, &EVENTS)).await?;
            if !response.succeeded() {
                return Err(refused("The webhook", &response));
            }
        }
        return Ok(());
    };
    let has: BTreeSet<&str> = ours.events.iter().map(String::as_str).collect();
    if ours.url == hook.as_str() && EVENTS.iter().all(|event| has.contains(event)) {
        writeln!(out, "Brevo reports every bounce to {webhook} already")?;
        return Ok(());
    }
    let all: Vec<&str> = has.union(&EVENTS.into_iter().collect()).copied().collect();
    if run == Run::ForReal {
        let response = send(platform, &account.mend_webhook(&ours.id, &hook, &all)).await?;
        if !response.succeeded() {
            return Err(refused("The webhook", &response));
        }
    }
    let verb = if run == Run::ForReal { "mended" } else { "would mend" };
    writeln!(out, "{verb} the webhook for {webhook}: it lacked an event, or had another token")?;
    Ok(())
}
