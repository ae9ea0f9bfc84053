//! `funil table copy`: brings what a restored table has into the table of a deployment.
//!
//! Both tables are of one `HASH_KEY` and one account. What may have been sent since the time to which the
//! table was restored, and would be sent twice, waits for a person.

use std::io::Write;

use funil_core::hash::HashKey;
use funil_store::{CopyRun, Part, Platform, Store};

use crate::cli::Failure;
use crate::cli::progress;

/// Copies from `source` into `into`, and prints the result. A dry run writes nothing.
pub async fn run(
    source: &Store,
    into: &Store,
    hash_key: &HashKey,
    run: CopyRun,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    source.verify_identity(hash_key).await.map_err(|error| format!("The source: {error}."))?;
    into.verify_identity(hash_key).await?;
    if !into.may_be_restored_from(source).await? {
        return Err(
            "The table has leads of its own, and what two tables say of one person cannot be \
                    merged. Copy into the table of a new deployment."
                .into(),
        );
    }
    if run == CopyRun::ForReal {
        into.begin_restore(source, hash_key).await?;
    }
    let bar = progress::spinner("items");
    let (mut copied, mut known, mut held) = (0, 0, 0);
    for part in [Part::AllButDeliveries, Part::Deliveries] {
        let mut from = None;
        loop {
            let page = into.copy_page(source, part, platform.clock.now(), run, from).await?;
            copied += page.copied;
            known += page.known;
            held += page.held;
            bar.set_position(u64::try_from(copied + known).unwrap_or(u64::MAX));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
    bar.finish_and_clear();
    let verb = match run {
        CopyRun::ForReal => "copied",
        CopyRun::Dry => "would be copied",
    };
    writeln!(out, "{copied} items {verb}; {known} are there and stay as they are.")?;
    writeln!(
        out,
        "{held} of them are deliveries that may have been sent since, and wait for a person: `funil dead \
         list --reason may_have_been_sent`."
    )?;
    if run == CopyRun::Dry {
        writeln!(out, "Nothing was changed: this is a dry run. --yes copies.")?;
    }
    Ok(())
}
