//! The third part of the walk: what goes wrong in delivering, what a person does about it, and what
//! monitors see of it. It ends while deliveries are open, so that the table has one in every state.

use clap::Parser;
use funil_dev::cli::dead::{self, DeadCommand};
use funil_dev::simulated::Behaviour;
use http::Method;
use serde_json::{Value, json};

use super::calls::lead_of;
use super::forms::of;
use super::walk::Walk;
use crate::world::World;

/// The commands of `funil` that are about deliveries.
#[derive(Parser)]
enum CommandLine {
    /// `funil dead`
    #[command(subcommand)]
    Dead(DeadCommand),
}

/// Runs `funil dead …` and records what it prints.
async fn dead(walk: &mut Walk, arguments: &str) {
    let command_line = ["funil", "dead"].into_iter().chain(arguments.split_whitespace());
    let CommandLine::Dead(command) = CommandLine::try_parse_from(command_line).unwrap();
    let mut out = Vec::new();
    let done = dead::run(command, &walk.world.store, walk.world.platform(), &mut out).await;
    done.unwrap_or_else(|error| panic!("{error}\n{}\n{}", walk.responses(), walk.requests()));
    walk.note_text(&format!("funil dead {arguments}"), &String::from_utf8(out).unwrap());
}

/// The name of a lead's only delivery to a destination, by which a person refers to it.
pub(super) async fn name(world: &World, email: &str, destination: &str) -> String {
    let lead = lead_of(world, email).await;
    let items = world.items(&format!("LEAD#{lead}")).await;
    let found = items.iter().find(|item| item["destination"]["S"] == destination).unwrap();
    format!("{lead}/{}", found["delivery_id"]["S"].as_str().unwrap())
}

/// Walks this part.
pub(super) async fn walk(walk: &mut Walk) {
    deaths(walk).await;
    breaker(walk).await;
    monitors(walk).await;
    open_end(walk).await;
}

fn refusal() -> Behaviour {
    Behaviour::StatusWith {
        status: 422,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: r#"{"error":"O telefone não é válido"}"#.to_owned(),
    }
}

async fn deaths(walk: &mut Walk) {
    walk.world.providers.script("crm", [refusal()]);
    walk.world.providers.script("ga4", [Behaviour::CloseAfterEffect]);
    walk.world.providers.script("segment", [refusal()]);
    walk.post("a lead whom everybody refuses", "lead-submit", &of("Fabio", None)).await;
    walk.work_after(5).await;
    walk.schedule("a minute of dispatch", "dispatch").await;
    let response = walk.replay("what would be replayed", &json!({})).await;
    assert!(response["deliveries"].as_array().is_some_and(|found| found.len() >= 3), "{response}");
    dead(walk, "list").await;
    let crm = name(&walk.world, "fabio@example.com", "crm").await;
    dead(walk, &format!("show {crm}")).await;
    let one = json!({"dryRun": false, "deliveries": [crm], "reason": "http_422"});
    walk.replay("the CRM's is replayed", &one).await;
    walk.work_after(5).await;
    let ga4 = name(&walk.world, "fabio@example.com", "ga4").await;
    walk.replay("what GA4 may have", &json!({"deliveries": [ga4], "dryRun": false})).await;
    let one = json!({"deliveries": [ga4], "dryRun": false, "evenDuplicates": true});
    walk.replay("what GA4 may have, all the same", &one).await;
    let segment = name(&walk.world, "fabio@example.com", "segment").await;
    dead(walk, &format!("settle {segment} --as skipped")).await;
    dead(walk, "replay --destination whatsapp").await;
    dead(walk, "replay --destination whatsapp --yes").await;
    let faults = json!({
        "destination": "fax", "since": "yesterday", "until": 5, "limit": 501, "reasn": "http_400",
        "deliveries": ["x"], "dryRun": "perhaps",
    });
    walk.replay("a replay with wrong fields", &faults).await;
    walk.work_after(10).await;
}

/// Segment fails until its breaker opens, and works again; then the CRM throttles, and a backlog grows.
async fn breaker(walk: &mut Walk) {
    walk.world.providers.behave("segment", Behaviour::Status(503));
    walk.post("a lead while Segment fails", "lead-submit", &of("Gil", Some("1133334444"))).await;
    // Each wait is longer than the scheduled one with all its jitter.
    for seconds in [1, 10, 80, 400, 2200] {
        walk.work_after(seconds).await;
    }
    walk.authorised("health with an open breaker", ("GET", "health"), &Value::Null).await;
    walk.schedule("a minute of dispatch after Segment failed", "dispatch").await;
    walk.world.providers.behave("segment", Behaviour::Normal);
    walk.world.providers.script("crm", [Behaviour::Throttle { retry_after_s: 30 }]);
    walk.post("a lead when Segment is back", "lead-submit", &of("Hugo", None)).await;
    walk.world.pass(120);
    walk.authorised("health before a probe", ("GET", "health"), &Value::Null).await;
    walk.work_after(1).await;
    walk.work_after(60).await;
    walk.post("a lead whom nobody delivers for long", "lead-submit", &of("Iris", None)).await;
    walk.world.pass(16 * 60);
    walk.schedule("a minute of dispatch with a backlog", "dispatch").await;
    walk.work_after(1).await;
}

async fn monitors(walk: &mut Walk) {
    walk.get("health", "health", "").await;
    walk.send("health's head", ("HEAD", "health"), &[], b"").await;
    let wrong = [("authorization", "Bearer wrong-token")];
    walk.send("health with a wrong token", ("GET", "health"), &wrong, b"").await;
    walk.authorised("health with a token", ("GET", "health"), &Value::Null).await;
    walk.authorised("another method at health", ("POST", "health"), &Value::Null).await;
    walk.authorised("metrics", ("GET", "metrics"), &Value::Null).await;
    walk.get("metrics without a token", "metrics", "").await;
    walk.authorised("a request to dispatch", ("POST", "dispatch"), &Value::Null).await;
    walk.get("another method at dispatch", "dispatch", "").await;
    let strange = walk.world.deployment(&[("HASH_KEY", "another-key-of-16-and-more")]);
    let response = strange.get("health", "").await;
    walk.note("health of a table of another key", &response);
    let token = format!("Bearer {}", crate::world::SERVICE_TOKEN);
    let headers = [("authorization", &*token)];
    let response = strange.send("health", Method::GET, &headers, b"").await;
    walk.note("health of a table of another key, with a token", &response);
}

/// Leaves the table with deliveries that are retried, blocked, under way, unknown, dead, planned, and
/// not yet tried.
async fn open_end(walk: &mut Walk) {
    walk.world.providers.script("crm", [Behaviour::Status(503)]);
    walk.world.providers.script("mailerlite", [Behaviour::Status(401)]);
    walk.post("a lead in trouble", "lead-submit", &of("Jonas", Some("(61) 99666-5555"))).await;
    walk.work_after(5).await;
    let jonas = lead_of(&walk.world, "jonas@example.com").await;
    walk.world.providers.script("whatsapp", [Behaviour::CloseAfterEffect]);
    let sequence = json!({
        "leadId": jonas, "startTime": "2031-05-09T14:00:00Z", "bookingId": "sala-10",
        "joinUrl": "https://zoom.us/j/2",
    });
    let post = ("POST", "whatsapp-automation");
    walk.authorised("a message without a response", post, &sequence).await;

    walk.world.providers.script("crm", [refusal()]);
    walk.post("a lead whom the CRM refuses at last", "lead-submit", &of("Karen", None)).await;
    let worker = walk.world.worker("crm");
    let key = &walk.world.store.due("crm", walk.world.now(), 9).await.unwrap();
    let karen = lead_of(&walk.world, "karen@example.com").await;
    let key = key.iter().find(|due| due.key.lead_id.to_string() == karen).unwrap();
    worker.deliver_now(std::slice::from_ref(&key.key), walk.world.stop_at()).await.unwrap();

    // A worker dies while GA4 does not respond.
    walk.world.providers.script("ga4", [Behaviour::Hang]);
    let received = walk.world.providers.received("ga4").len();
    let worker = walk.world.worker("ga4");
    let key = &walk.world.store.due("ga4", walk.world.now(), 9).await.unwrap()[0];
    let named = [key.key.clone()];
    tokio::select! {
        _ = worker.deliver_now(&named, walk.world.stop_at()) => panic!("GA4 responded"),
        () = walk.world.providers.until_received("ga4", received + 1) => {}
    }
}
