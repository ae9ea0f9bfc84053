//! `funil setup`: makes in a provider's account what Funil needs there and what its API can make. A dry run
//! until `--yes`.
//!
//! It adds what is missing, so running it twice is running it once. Calendly's subscription alone is replaced
//! where it does not work, because Calendly cannot change one: the new one is made before the old one is
//! removed. Must not know any function.

mod brevo;
mod c2s;
mod calendly;
mod mailerlite;
mod meta;
mod stripe;
mod whatsapp;

use std::io::Write;

use clap::{Args, Subcommand};
use funil_core::settings::{Env, Secret};
use funil_store::Platform;
use url::Url;

use crate::cli::Failure;

/// What is set up.
#[derive(Args, Clone, Debug)]
pub struct SetupArguments {
    /// Make it. Without this it is only shown.
    #[arg(long, global = true)]
    pub yes: bool,
    /// At which provider.
    #[command(subcommand)]
    pub command: SetupCommand,
}

/// The commands of `funil setup`.
#[derive(Subcommand, Clone, Debug)]
pub enum SetupCommand {
    /// Make MailerLite's custom fields, groups and webhooks, and print `MAILERLITE_GROUPS`.
    Mailerlite {
        /// A further group, by our name: `landing_page_leads`, `amanda_score_high`,
        /// `business_type_<value>`. May be repeated.
        #[arg(long = "group", value_name = "NAME")]
        groups: Vec<String>,
        /// The address of `mailerlite-webhook`, as <https://api.example.com/api/mailerlite-webhook>: make the
        /// webhooks too, and print `MAILERLITE_WEBHOOK_SECRET`.
        #[arg(long)]
        webhook: Option<Url>,
    },
    /// Make Calendly's subscription, which signs with `CALENDLY_SIGNING_KEY`.
    Calendly {
        /// The address of `calendar-webhook`, as <https://api.example.com/api/calendar-webhook>.
        #[arg(long)]
        webhook: Url,
        /// Make it anew although it works, to sign with another key.
        #[arg(long)]
        replace: bool,
    },
    /// Make the endpoint to which Stripe sends its webhooks, and print `STRIPE_WEBHOOK_SECRET`; or give the one
    /// that is there the events that it lacks.
    Stripe {
        /// The address of `stripe-webhook`, as <https://api.example.com/api/stripe-webhook>.
        #[arg(long)]
        webhook: Url,
        /// The version of Stripe's API whose formats a new endpoint gets; otherwise the account's.
        #[arg(long, value_name = "VERSION")]
        api_version: Option<String>,
    },
    /// Subscribe c2s-webhook to the leads of Contact2Sale.
    C2s {
        /// The address of `c2s-webhook`, as <https://api.example.com/api/c2s-webhook>. `C2S_WEBHOOK_SECRET` is added to
        /// it.
        #[arg(long)]
        webhook: Url,
    },
    /// Check Brevo's key and sender, and make the webhook by which it reports bounces.
    Brevo {
        /// The address of `brevo-webhook`, as <https://api.example.com/api/brevo-webhook>: make the webhook too.
        /// `BREVO_WEBHOOK_SECRET` is added to it.
        #[arg(long)]
        webhook: Option<Url>,
    },
    /// Check Meta's token and dataset, and send a test event where `META_TEST_EVENT_CODE` is set.
    Meta,
    /// Submit WhatsApp's templates for review, and subscribe the app to the account's webhooks.
    Whatsapp,
}

/// Whether something is made, or only shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Dry,
    ForReal,
}

impl Run {
    /// What a line begins with that says what is made.
    const fn verb(self) -> &'static str {
        match self {
            Self::Dry => "would make",
            Self::ForReal => "made",
        }
    }
}

/// An address with the first of these tokens as a parameter, for a provider that can send it in no other way.
fn with_token(webhook: &Url, parameter: &str, tokens: &[Secret]) -> Result<Url, Failure> {
    let is_local =
        webhook.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    let has_more = webhook.query().is_some()
        || webhook.fragment().is_some()
        || !webhook.username().is_empty()
        || webhook.password().is_some();
    if has_more || webhook.scheme() != "https" && !is_local {
        return Err("Name the webhook by its https address alone, without a user, a query or a fragment: the token is \
                    added to it, and must not travel in the clear."
            .into());
    }
    let mut hook = webhook.clone();
    if let Some(token) = tokens.first() {
        hook.query_pairs_mut().append_pair(parameter, token.expose());
    }
    Ok(hook)
}

/// Runs a command.
pub async fn run(
    arguments: &SetupArguments,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let run = if arguments.yes { Run::ForReal } else { Run::Dry };
    match &arguments.command {
        SetupCommand::Mailerlite { groups, webhook } => {
            mailerlite::run(groups, webhook.as_ref(), run, env, platform, out).await?;
        }
        SetupCommand::Calendly { webhook, replace } => {
            let wanted = if *replace { calendly::Wanted::Anew } else { calendly::Wanted::Working };
            calendly::run(webhook, wanted, run, env, platform, out).await?;
        }
        SetupCommand::Stripe { webhook, api_version } => {
            stripe::run(webhook, api_version.as_deref(), run, env, platform, out).await?;
        }
        SetupCommand::C2s { webhook } => c2s::run(webhook, run, env, platform, out).await?,
        SetupCommand::Brevo { webhook } => {
            brevo::run(webhook.as_ref(), run, env, platform, out).await?;
        }
        SetupCommand::Meta => meta::run(run, env, platform, out).await?,
        SetupCommand::Whatsapp => whatsapp::run(run, env, platform, out).await?,
    }
    if run == Run::Dry {
        writeln!(out, "Nothing was changed: this is a dry run. --yes makes it.")?;
    }
    Ok(())
}
