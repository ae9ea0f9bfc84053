//! What was stored keeps its names, and what is answered and sent keeps its bytes.
//!
//! One long walk through a funnel (`golden/forms.rs`, `calls.rs`, `trouble.rs`) is compared with what
//! it left behind before: every item of the table, every answer of a function and every request to a
//! provider. `golden/items.json` holds the items of that walk as they were; `read.rs` puts them into a
//! table and works on them, so that new code is shown to read what old code wrote.
//!
//! A change on purpose: `INSTA_UPDATE=always cargo test -p funil-tests golden`, and read the diff.
//! `FUNIL_GOLDEN=write cargo test -p funil-tests golden::items` writes `items.json` again; leave the
//! old one where items changed their form, because tables hold it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

mod calls;
mod forms;
mod plain;
mod read;
mod recorder;
mod trouble;
mod walk;

use plain::{Plain, text};
use walk::Walk;

/// Every `type` of an item.
const TYPES: [&str; 14] = [
    "alert",
    "alias",
    "booking",
    "breaker",
    "consent",
    "delivery",
    "event",
    "lead",
    "limit",
    "meta",
    "quarantine",
    "rate",
    "receipt",
    "revocation",
];

/// Every `event` of an event.
const EVENTS: [&str; 10] = [
    "call_booked",
    "call_canceled",
    "call_missed",
    "delivery_replayed",
    "delivery_settled",
    "lead_submitted",
    "questionnaire_completed",
    "sequence_requested",
    "sequence_withdrawn",
    "sync_requested",
];

/// Every attribute that a delivery may have, beside its keys.
const DELIVERY: [&str; 25] = [
    "accepted_at",
    "attempts",
    "blocked",
    "booking",
    "claims",
    "dead_pk",
    "dead_sk",
    "deadline",
    "delivery_id",
    "destination",
    "doubtful_since",
    "due_pk",
    "due_sk",
    "email_digest",
    "event_id",
    "lead_id",
    "lease_id",
    "log",
    "message",
    "phone_digest",
    "reason",
    "sending",
    "settled_at",
    "slot",
    "state",
];

/// Compares a text with its snapshot in `tests/it/golden/`.
fn compare(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "golden",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}

/// The items of the walk as they were, with the moment at which it ended.
fn items_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("it/golden/items.json")
}

fn assert_everything_is_there(items: &[Value]) {
    let all = |name| items.iter().map(|item| text(item, name)).collect::<BTreeSet<_>>();
    assert_eq!(all("type"), TYPES.into());
    let events = all("event").into_iter().filter(|event| !event.is_empty());
    assert_eq!(events.collect::<BTreeSet<_>>(), EVENTS.into());
    let states = all("state").into_iter().filter(|state| !state.is_empty());
    let expected = ["dead", "delivered", "leased", "pending", "skipped", "unknown"];
    assert_eq!(states.collect::<BTreeSet<_>>(), expected.into());
    let deliveries = items.iter().filter(|item| text(item, "type") == "delivery");
    let names: BTreeSet<&str> =
        deliveries.flat_map(|item| item.as_object().unwrap().keys()).map(String::as_str).collect();
    let expected = DELIVERY.into_iter().chain(["pk", "sk", "type", "v"]).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn items_answers_and_requests_are_what_they_were() {
    let mut walk = Walk::start().await;
    forms::walk(&mut walk).await;
    calls::walk(&mut walk).await;
    trouble::walk(&mut walk).await;

    let items = walk.world.items("").await;
    let now = walk.world.now().to_string();
    let (responses, requests) = (walk.responses().to_owned(), walk.requests());
    // Before anything is compared, so that a difference is told as one.
    walk.end().await;

    assert_everything_is_there(&items);
    if std::env::var_os("FUNIL_GOLDEN").is_some_and(|word| word == "write") {
        let items: Vec<String> = items.iter().map(Value::to_string).collect();
        let file = format!("{{\"now\":\"{now}\",\"items\":[\n{}\n]}}\n", items.join(",\n"));
        std::fs::write(items_file(), file).unwrap();
    }
    let plain = Plain::of(&items, &[&responses, &requests]);
    compare("items", &plain.of_items(&items));
    compare("responses", &plain.of_text(&responses));
    compare("requests", &plain.of_text(&requests));
}
