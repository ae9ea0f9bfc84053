//! Stored items keep their names, and responses and requests keep their bytes.
//!
//! One long walk through a funnel (`golden/forms.rs`, `calls.rs`, `trouble.rs`) is compared with its
//! snapshots: every item of the table, every response of a function, and every request to a provider.
//! `golden/items.json` has the items of an earlier walk. `read.rs` puts them into a table and works on
//! them, to show that new code reads what old code wrote.
//!
//! After an intended change, run `INSTA_UPDATE=always cargo test -p funil-tests golden`, and read the
//! diff. `FUNIL_GOLDEN=write cargo test -p funil-tests golden::items` writes `items.json` again. Keep
//! the old file if the form of items changed, because tables still hold items of the old form.

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

/// Every `type` in `items.snap`, whose walk has no payment, no lead of Contact2Sale and no visit.
const TYPES: [&str; 20] = [
    "alert",
    "alias",
    "booking",
    "breaker",
    "consent",
    "delivery",
    "event",
    "lead",
    "limit",
    "messages",
    "meta",
    "owner",
    "person",
    "quarantine",
    "quarantined",
    "rate",
    "receipt",
    "revocation",
    "signatures",
    "totals",
];

/// Every `event` in `items.snap`.
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

/// Every attribute that a delivery's item may have, besides its keys, `type` and `v`, and `at_once`, which
/// only deliveries have that rings name.
const DELIVERY: [&str; 29] = [
    "accepted_at",
    "attempts",
    "blocked",
    "booking",
    "claims",
    "confirmed",
    "dead_pk",
    "dead_sk",
    "deadline",
    "delivery_id",
    "destination",
    "doubtful_since",
    "due_pk",
    "due_sk",
    "effect",
    "email_digest",
    "event_id",
    "expires_at",
    "lead_id",
    "lease_id",
    "lease_until",
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

/// The file with the items of an earlier walk, and the time at which that walk ended.
fn items_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("it/golden/items.json")
}

/// Checks that the walk left every kind of item, event, state and attribute.
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
async fn items_responses_and_requests_stay_the_same() {
    let mut walk = Walk::start().await;
    forms::walk(&mut walk).await;
    calls::walk(&mut walk).await;
    trouble::walk(&mut walk).await;

    let items = walk.world.items("").await;
    let now = walk.world.now().to_string();
    let (responses, requests) = (walk.responses().to_owned(), walk.requests());
    // The walk ends before anything is compared, so that a difference is reported as such.
    walk.end().await;

    assert_everything_is_there(&items);
    if std::env::var_os("FUNIL_GOLDEN").is_some_and(|value| value == "write") {
        let items: Vec<String> = items.iter().map(Value::to_string).collect();
        let file = format!("{{\"now\":\"{now}\",\"items\":[\n{}\n]}}\n", items.join(",\n"));
        std::fs::write(items_file(), file).unwrap();
    }
    let plain = Plain::of(&items, &[&responses, &requests]);
    compare("items", &plain.of_items(&items));
    compare("responses", &plain.of_text(&responses));
    compare("requests", &plain.of_text(&requests));
}
