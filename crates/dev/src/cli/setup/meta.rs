//! Checks Meta's token and dataset, and sends a test event where `META_TEST_EVENT_CODE` is set.

use std::io::Write;

use funil_core::check::{Finding, Probe, Verdict};
use funil_core::destination::meta;
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
    let adapter = (meta::CONNECTOR.connect)(&mut settings);
    let dataset = meta::Dataset::read(&mut settings);
    let (adapter, dataset) = settings.finish(adapter.zip(dataset))?;
    for probe in adapter.probes() {
        let findings = match probe {
            Probe::Known(finding) => vec![finding],
            Probe::Ask { request, read, .. } => read(&send(platform, &request).await?),
        };
        for Finding { subject, verdict, says } in findings {
            if verdict == Verdict::Failed {
                return Err(format!("{subject}: {says}").into());
            }
            writeln!(out, "{subject}: {says}")?;
        }
    }
    let Some(test) = dataset.test_event(platform.clock.now()) else {
        writeln!(
            out,
            "Set META_TEST_EVENT_CODE, from the Test Events tool, to have a test event sent there."
        )?;
        return Ok(());
    };
    if run == Run::ForReal {
        let response = send(platform, &test).await?;
        if !response.succeeded() {
            return Err(refused("The test event", &response));
        }
    }
    let verb = if run == Run::ForReal { "sent" } else { "would send" };
    writeln!(out, "{verb} a test event of nobody; look for it in the Test Events tool")?;
    Ok(())
}
