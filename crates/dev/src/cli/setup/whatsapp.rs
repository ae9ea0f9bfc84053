//! Submits WhatsApp's templates for review, and subscribes the token's app to the account's webhooks.

use std::io::Write;

use funil_core::destination::whatsapp::account::{
    Account, Standing, Template, standing, subscribed,
};
use funil_core::settings::Env;
use funil_store::Platform;

use super::Run;
use crate::cli::Failure;
use crate::cli::provider::{refused, send};

pub(super) async fn run(
    run: Run,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut settings = env.settings();
    let account = Account::read(&mut settings);
    if settings.optional("WHATSAPP_BUSINESS_ACCOUNT_ID").is_none() {
        settings.problem::<()>("Set WHATSAPP_BUSINESS_ACCOUNT_ID.");
    }
    let account = settings.finish(account)?;
    let id = account.id().unwrap_or_default();
    let is_portuguese = account.language().starts_with("pt");
    for template in Template::all() {
        let name = account.name_of(template);
        let response = send(platform, &account.find_template(id, template)).await?;
        let standing = standing(&response, name, account.language());
        match standing.ok_or_else(|| refused("The list of templates", &response))? {
            Standing::There(status) => {
                writeln!(out, "the template {name} is there: {status}")?;
                continue;
            }
            Standing::Missing => {}
        }
        if !is_portuguese {
            return Err(format!(
                "Our texts are Portuguese, and WHATSAPP_LANGUAGE is {}. Submit the template {name} in the \
                 WhatsApp Manager; docs/destinations.md has its variables.",
                account.language()
            )
            .into());
        }
        if run == Run::ForReal {
            let response = send(platform, &account.make_template(id, template)).await?;
            if !response.succeeded() {
                return Err(refused(&format!("The template {name}"), &response));
            }
        }
        writeln!(
            out,
            "{} the template {name}, for Meta to review: {}",
            run.verb(),
            template.text()
        )?;
    }
    let response = send(platform, &account.list_subscriptions(id)).await?;
    let apps = subscribed(&response).ok_or_else(|| refused("The list of apps", &response))?;
    // Whether the token's app is among them, no request says. To subscribe it again changes nothing.
    if !apps.is_empty() {
        writeln!(out, "the webhooks go to {}", apps.join(", "))?;
    }
    if run == Run::ForReal {
        let response = send(platform, &account.subscribe(id)).await?;
        if !response.succeeded() {
            return Err(refused("The subscription", &response));
        }
    }
    writeln!(out, "{} the subscription of the token's app to the webhooks", run.verb())?;
    writeln!(
        out,
        "Give the app the address of whatsapp-webhook, WHATSAPP_VERIFY_TOKEN and the field messages, in \
         its dashboard."
    )?;
    Ok(())
}
