//! Subscribes `c2s-webhook` to Contact2Sale's leads: once for each action.
//!
//! Contact2Sale can set no header, so the address that it gets has `C2S_WEBHOOK_SECRET` in it; what is printed has not.

use std::io::Write;

use funil_core::destination::c2s::account::Account;
use funil_core::provider::c2s::{ACTIONS, TOKEN_PARAMETER};
use funil_core::settings::Env;
use funil_store::Platform;
use url::Url;

use super::{Run, with_token};
use crate::cli::Failure;
use crate::cli::provider::{refused, send};

pub(super) async fn run(
    webhook: &Url,
    run: Run,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut settings = env.settings();
    let account = Account::read(&mut settings);
    let tokens = settings.chosen_secrets("C2S_WEBHOOK_SECRET");
    let (account, tokens) = settings.finish(account.zip(tokens))?;
    let hook = with_token(webhook, TOKEN_PARAMETER, &tokens)?;
    let response = send(platform, &account.me()).await?;
    if !response.succeeded() {
        return Err(refused("The account", &response));
    }
    for action in ACTIONS {
        if run == Run::ForReal {
            let response = send(platform, &account.subscribe(action, &hook)).await?;
            if !response.succeeded() || response.json()["success"] == false {
                return Err(refused(&format!("The subscription to {action}"), &response));
            }
        }
        writeln!(out, "{} the subscription to {action} at {webhook}", run.verb())?;
    }
    writeln!(
        out,
        "No request lists Contact2Sale's subscriptions. After a change of the address or the token, remove the old ones \
         in Contact2Sale."
    )?;
    Ok(())
}
