//! A table that was restored to an earlier time is copied into that of a new deployment: nothing is missing,
//! and nothing that may have been sent since is sent again by itself.

use funil_core::delivery::StateKind;
use funil_core::hash::HashKey;
use funil_dev::cli::copy;
use funil_store::CopyRun;
use jiff::SignedDuration;

use crate::world::{World, all_destinations, lead, lead_body};

/// What the command prints.
async fn copied(old: &World, new: &World, run: CopyRun) -> String {
    let mut out = Vec::new();
    let platform = new.platform();
    copy::run(&old.store, &new.store, &new.hash, run, platform, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn a_restored_table_goes_on_where_it_was_and_sends_nothing_twice() {
    let old = World::plan().with("DESTINATIONS", &all_destinations()).start().await;
    let new = World::plan().with("DESTINATIONS", &all_destinations()).start().await;
    new.looks_at_destinations();
    old.submit(&lead_body()).await;
    // Nothing of it was sent at the time to which the table is restored.
    new.clock.set(old.now());
    new.pass(60);

    let dry = copied(&old, &new, CopyRun::Dry).await;
    assert!(dry.contains("would be copied") && dry.contains("dry run"), "{dry}");
    assert_eq!(new.store.lead(lead()).await.unwrap(), None);
    let done = copied(&old, &new, CopyRun::ForReal).await;
    assert!(done.contains("\n1 of them are deliveries that may have been sent since"), "{done}");
    let again = copied(&old, &new, CopyRun::ForReal).await;
    assert!(again.starts_with("0 items copied;"), "{again}");

    new.drain().await;
    assert_eq!(new.store.lead(lead()).await.unwrap(), old.store.lead(lead()).await.unwrap());
    let ga4 = new.delivery(lead(), "ga4").await;
    assert_eq!(ga4.state.kind(), StateKind::Dead);
    assert_eq!(ga4.reason_text().as_deref(), Some("may_have_been_sent"));
    let dead = new.health().await["destinations"].clone();
    let of_ga4 = dead.as_array().unwrap().iter().find(|one| one["name"] == "ga4").unwrap();
    assert_eq!(of_ga4["dead"]["count"], 1, "a person finds it");
    for recognises in ["crm", "mailerlite", "segment"] {
        let journey = new.journey(lead()).await;
        let mut own = journey.deliveries.iter().filter(|one| one.destination == recognises);
        assert!(own.all(|one| one.state.kind() == StateKind::Delivered), "{recognises}");
    }
    assert_eq!(new.requests("ga4"), [""; 0]);
    new.finish().await;
    old.looks_at_destinations();
    old.advance(SignedDuration::from_hours(1)).await;
    old.finish().await;
}

#[tokio::test]
async fn deliveries_of_every_shard_are_found_and_a_table_with_leads_is_not_copied_into() {
    let destinations = all_destinations();
    let old =
        World::plan().with("DESTINATIONS", &destinations).with("DUE_SHARDS", "16").start().await;
    let new = World::plan().with("DESTINATIONS", &destinations).start().await;
    new.looks_at_destinations();
    // Each is in the shard of its lead.
    let mut leads = Vec::new();
    for number in 0..8 {
        let mut body = lead_body();
        body["email"] = format!("ana{number}@example.com").into();
        body["leadId"] = format!("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b{number}1").into();
        leads.push(old.submit(&body).await.lead());
    }
    new.pass(60);
    let platform = new.platform();
    // A process of the new deployment has been there.
    new.store.ready(&new.hash).await.unwrap();
    copied(&old, &new, CopyRun::ForReal).await;
    new.drain().await;
    for lead in leads {
        let crm = new.delivery(lead, "crm").await;
        assert_eq!(crm.state.kind(), StateKind::Delivered, "{lead}");
    }
    let mut out = Vec::new();
    let run = copy::run(&new.store, &old.store, &new.hash, CopyRun::Dry, platform, &mut out);
    assert!(run.await.unwrap_err().to_string().starts_with("The table has leads of its own"));
    new.finish().await;
    old.looks_at_destinations();
    old.drain().await;
    old.finish().await;
}

#[tokio::test]
async fn a_table_of_another_key_is_not_copied() {
    let (old, new) = (World::new().await, World::new().await);
    let other = HashKey::new("another-hash-key-of-the-tests").unwrap();
    let mut out = Vec::new();
    let platform = new.platform();
    let run = copy::run(&old.store, &new.store, &other, CopyRun::ForReal, platform, &mut out);
    let error = run.await.unwrap_err().to_string();
    assert!(error.starts_with("The source: HASH_KEY is not the key"), "{error}");
    old.finish().await;
    new.finish().await;
}
