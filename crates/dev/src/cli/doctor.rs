//! `funil doctor`: checks a deployment, and says of each thing what to do. It changes nothing.
//!
//! Each function checks itself: here in this process with the environment's variables, or where it is
//! deployed, by an authorised request. What no function can look at, the table's settings and the providers'
//! webhooks, is looked at from here. Must not know what any function does.

mod brevo;
mod calendly;
mod deployed;
mod local;
mod mailerlite;
mod stripe;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use funil_core::check::{Finding, Verdict};
use funil_core::settings::Env;
use funil_store::Platform;
use url::Url;

use crate::cli::Failure;
use crate::cli::addresses::Addresses;

/// What the doctor looks at.
#[derive(Args, Clone, Debug, Default)]
pub struct DoctorArguments {
    /// The base address of the deployed functions, as <https://api.example.com/api>. Without it the
    /// doctor checks the environment's variables on this machine.
    #[arg(long)]
    pub to: Option<Url>,
    /// The outputs of the stack, as `aws cloudformation describe-stacks --stack-name funil` prints them
    /// (`-` reads standard input): for functions that have only Function URLs.
    #[arg(long, conflicts_with = "to")]
    pub stack_outputs: Option<PathBuf>,
}

/// What is looked at together, and what was found.
struct Section {
    name: String,
    findings: Vec<Finding>,
}

/// Checks, and prints a line for each finding. The error counts what does not work.
pub async fn run(
    arguments: &DoctorArguments,
    env: &Env,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let addresses = match (&arguments.to, &arguments.stack_outputs) {
        (Some(base), _) => Some(Addresses::Below(base.clone())),
        (None, Some(file)) => Some(Addresses::of_stack(file)?),
        (None, None) => None,
    };
    let mut sections = match &addresses {
        Some(addresses) => deployed::sections(addresses, env, platform).await?,
        None => local::sections(env, platform).await,
    };
    let webhook = |function| addresses.as_ref().and_then(|addresses| addresses.of(function));
    let findings = calendly::findings(env, platform, webhook("calendar-webhook").as_ref()).await;
    sections.push(Section { name: "calendly".to_owned(), findings });
    let findings = stripe::findings(env, platform, webhook("stripe-webhook").as_ref()).await;
    sections.push(Section { name: "stripe".to_owned(), findings });
    let findings =
        mailerlite::findings(env, platform, webhook("mailerlite-webhook").as_ref()).await;
    sections.push(Section { name: "mailerlite".to_owned(), findings });
    let findings = brevo::findings(env, platform, webhook("brevo-webhook").as_ref()).await;
    sections.push(Section { name: "brevo".to_owned(), findings });
    print(&sections, out)
}

fn print(sections: &[Section], out: &mut impl Write) -> Result<(), Failure> {
    let all = || sections.iter().flat_map(|section| &section.findings);
    let wide = all().map(|finding| finding.subject.len()).max().unwrap_or_default();
    for Section { name, findings } in sections {
        if findings.is_empty() {
            continue;
        }
        writeln!(out, "{name}")?;
        for Finding { subject, verdict, says } in findings {
            writeln!(out, "  {:<9}  {subject:<wide$}  {says}", verdict.name())?;
        }
    }
    let counts = Verdict::ALL.iter().rev().map(|verdict| {
        let count = all().filter(|finding| finding.verdict == *verdict).count();
        format!("{count} {}", verdict.name())
    });
    let counts: Vec<String> = counts.collect();
    writeln!(out, "{}", counts.join(", "))?;
    match all().filter(|finding| finding.verdict == Verdict::Failed).count() {
        0 => Ok(()),
        1 => Err("One thing does not work; its line says what to do.".into()),
        failed => Err(format!("{failed} things do not work; their lines say what to do.").into()),
    }
}
