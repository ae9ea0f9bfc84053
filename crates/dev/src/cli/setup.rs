//! `funil setup`: makes in a provider's account what Funil needs there and what its API can make. A dry run
//! until `--yes`.
//!
//! It adds what is missing, so running it twice is running it once. Calendly's subscription alone is replaced
//! where it does not work, because Calendly cannot change one. Must not know any function.

mod calendly;
mod mailerlite;
mod whatsapp;

use std::io::Write;

use clap::Subcommand;
use funil_core::delivery::exchange::{Request, Response};
use funil_core::settings::Env;
use funil_delivery::{NoResponse, REQUEST_TIMEOUT};
use funil_store::Platform;
use url::Url;

use crate::cli::dead::Failure;

/// The commands of `funil setup`.
#[derive(Subcommand, Clone, Debug)]
pub enum SetupCommand {
    /// Make MailerLite's custom fields and groups, and print `MAILERLITE_GROUPS`.
    Mailerlite {
        /// A further group, by our name: `landing_page_leads`, `amanda_score_high`,
        /// `business_type_<value>`. May be repeated.
        #[arg(long = "group", value_name = "NAME")]
        groups: Vec<String>,
        /// Make it. Without this it is only shown.
        #[arg(long)]
        yes: bool,
    },
    /// Make Calendly's subscription, which signs with `CALENDLY_SIGNING_KEY`.
    Calendly {
        /// The address of `calendar-webhook`, as <https://api.example.com/api/calendar-webhook>.
        #[arg(long)]
        webhook: Url,
        /// Make it. Without this it is only shown.
        #[arg(long)]
        yes: bool,
    },
    /// Submit WhatsApp's templates for review, and subscribe the app to the account's webhooks.
    Whatsapp {
        /// Make it. Without this it is only shown.
        #[arg(long)]
        yes: bool,
    },
}

/// Whether something is made, or only shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Dry,
    ForReal,
}

impl Run {
    const fn of(yes: bool) -> Self {
        if yes { Self::ForReal } else { Self::Dry }
    }

    /// What a line begins with that says what is made.
    const fn verb(self) -> &'static str {
        match self {
            Self::Dry => "would make",
            Self::ForReal => "made",
        }
    }
}

/// Runs a command.
pub async fn run(
    command: SetupCommand,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let run = match command {
        SetupCommand::Mailerlite { groups, yes } => {
            let run = Run::of(yes);
            mailerlite::run(&groups, run, env, platform, out).await?;
            run
        }
        SetupCommand::Calendly { webhook, yes } => {
            let run = Run::of(yes);
            calendly::run(&webhook, run, env, platform, out).await?;
            run
        }
        SetupCommand::Whatsapp { yes } => {
            let run = Run::of(yes);
            whatsapp::run(run, env, platform, out).await?;
            run
        }
    };
    if run == Run::Dry {
        writeln!(out, "Nothing was changed: this is a dry run. --yes makes it.")?;
    }
    Ok(())
}

/// Sends a request, and returns its response whatever it is.
async fn send(platform: &Platform, request: &Request) -> Result<Response, Failure> {
    let host = request.url.host_str().unwrap_or_default().to_owned();
    let sent =
        funil_delivery::send(&platform.http, request, REQUEST_TIMEOUT, platform.clock.now()).await;
    sent.map_err(|error| {
        match error {
            NoResponse::Connect => format!("No connection to {host}."),
            NoResponse::Timeout => format!("{host} does not respond in time. Run this again."),
            NoResponse::Broken => format!(
                "The connection to {host} broke, so nobody knows what it did. Run this again: it makes \
                 only what is missing."
            ),
        }
        .into()
    })
}

/// The error of a response that is no success. The provider's own words are about our request, which holds
/// nobody's data.
fn refused(what: &str, response: &Response) -> Failure {
    let body = response.json();
    let says = body.pointer("/error/message").or_else(|| body.get("message"));
    let says = says.and_then(serde_json::Value::as_str).unwrap_or_default();
    format!("{what} was refused with status {}. {says}", response.status).trim_end().into()
}
