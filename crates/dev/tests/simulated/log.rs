//! Tests of the file with what the providers received, over a restart.

use std::io::Write as _;

use funil_dev::simulated::{Behaviour, Providers};
use serde_json::{Value, json};

use super::{Caller, clock};

const JOIN: &str = "POST /mailerlite/subscribers/a@ex.com/groups/11";

#[tokio::test]
async fn a_restart_restores_the_requests_and_their_effects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stage/providers.jsonl");
    let before = Caller::of(Providers::with_log(clock(), &path).unwrap()).await;
    let key = [("authorization", "Bearer s3cret"), ("idempotency-key", "k1")];
    let trigger = json!({"external_id": "l1", "automation_triggers": ["welcome"]});
    before.ask_with("POST /crm", trigger.clone(), &key).await;
    before.providers.script("crm", [Behaviour::Status(500)]);
    before.ask("POST /crm", json!({"external_id": "l2"})).await;
    before.providers.make_fields(["score"]);
    let person = json!({"email": "a@ex.com", "fields": {"score": 7}});
    before.ask("POST /mailerlite/subscribers", person).await;
    before.ask(JOIN, Value::Null).await;
    before.providers.set_status("a@ex.com", "unsubscribed");
    let secret = "POST /ga4/mp/collect?measurement_id=G-1&api_secret=s3cret";
    before.ask(secret, json!({"client_id": "1", "events": [{"name": "a"}]})).await;
    let message = json!({"userId": "l1", "messageId": "m1", "writeKey": "s3cret"});
    before.ask("POST /segment/v1/identify", message.clone()).await;
    assert!(!std::fs::read_to_string(&path).unwrap().contains("s3cret"));

    // A crash in the middle of a multi-byte character of the last line.
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"call\":{\"name\":\"\xc3").unwrap();
    drop(file);

    let after = Caller::of(Providers::with_log(clock(), &path).unwrap()).await;
    let (was, is) = (before.providers.all_received(), after.providers.all_received());
    let shown = |received| serde_json::to_value(received).unwrap();
    assert_eq!(shown(&is), shown(&was));
    assert_eq!(after.providers.crm_contact("l1"), before.providers.crm_contact("l1"));
    assert_eq!(after.providers.crm_contact("l2"), None);
    let subscriber = after.providers.subscriber("a@ex.com").unwrap();
    assert_eq!(Some(&subscriber), before.providers.subscriber("a@ex.com").as_ref());
    assert_eq!(
        (&subscriber["status"], &subscriber["fields"]["score"]),
        (&json!("unsubscribed"), &json!(7))
    );
    assert_eq!(after.providers.group_joins(), before.providers.group_joins());
    assert_eq!(after.providers.ga4_events(), before.providers.ga4_events());
    assert_eq!(after.providers.segment_messages(), before.providers.segment_messages());

    // Keys and message ids that were seen before the restart are still known.
    after.ask_with("POST /crm", trigger, &key).await;
    after.ask("POST /segment/v1/identify", message).await;
    assert_eq!(after.providers.crm_triggers("l1")["welcome"], 1);
    assert_eq!(after.providers.segment_messages().len(), 1);

    let again = Providers::with_log(clock(), &path).unwrap();
    assert_eq!(again.all_received().len(), was.len() + 2);
    after.providers.clear();
    assert!(Providers::with_log(clock(), &path).unwrap().all_received().is_empty());
}

#[test]
fn a_file_in_another_format_is_refused_with_the_line_number() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hello\n").unwrap();
    let message = Providers::with_log(clock(), file.path()).err().unwrap().to_string();
    assert!(message.starts_with("line 1 of "), "{message}");
}
