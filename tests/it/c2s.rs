//! What Contact2Sale reports: the eight checks that such a webhook is known for, batches, and the enrichment of its leads.

mod enrichment;

use funil_core::id::LeadId;
use funil_dev::simulated::{Behaviour, Person};
use futures::future::join_all;
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::world::{Deployment, EMAIL, Response, World, lead, lead_body};

const C2S: &str = "c2s-webhook";
const TOKEN: (&str, &str) = ("x-webhook-token", "tests-stage-c2s-secret");

/// A world in which leads are looked up, or not.
async fn world(destinations: &str) -> World {
    World::plan().with("DESTINATIONS", destinations).start().await
}

/// Makes the simulated sources know a person by both.
fn make_known(world: &World, phone: &str, email: &str) {
    let (phone, email) = (phone.to_owned(), email.to_owned());
    let name = "NINA MARIA EXEMPLO".to_owned();
    world.providers.know_person(Person { name, phone, email, cpf: String::new() });
}

/// An event of one of Contact2Sale's leads, as it sends them directly.
fn event(lead: &str, action: &str, updated_at: &str) -> Value {
    json!({"id": lead, "hook_action": action, "attributes": {
        "customer": {"name": "Nina Exemplo", "email": format!("{lead}@example.com"), "phone": "5511987654321"},
        "lead_status": {"alias": "novo"}, "updated_at": updated_at,
    }})
}

fn created(lead: &str) -> Value {
    event(lead, "on_create_lead", "2031-05-05T08:00:00-03:00")
}

async fn report(to: &Deployment, body: &Value) -> Response {
    let headers = [("content-type", "application/json"), TOKEN];
    to.send(C2S, Method::POST, &headers, body.to_string().as_bytes()).await
}

/// How many of a response's events were received, processed, duplicates and failed.
fn counts(response: &Response) -> [u64; 4] {
    let body = response.json();
    ["received", "processed", "duplicates", "failed"].map(|name| body[name].as_u64().unwrap())
}

/// The eight checks, and that the token may stand in the address.
#[tokio::test]
async fn the_checks_that_such_a_webhook_is_known_for() {
    let world = world("none").await;
    let body = created("a1");
    let with = |headers: &'static [(&'static str, &'static str)]| {
        let bytes = body.to_string();
        let world = &world;
        async move { world.send(C2S, Method::POST, headers, bytes.as_bytes()).await }
    };
    assert_eq!(with(&[]).await.status, 401, "missing token");
    let wrong = with(&[("x-webhook-token", "tests-stage-c2s-secreT")]).await;
    assert_eq!(wrong.status, 401, "wrong token");
    let valid = report(&world, &body).await;
    assert_eq!((valid.status, counts(&valid)), (200, [1, 1, 0, 0]), "valid");
    let result = &valid.json()["results"][0];
    assert_eq!((&result["id"], &result["status"]), (&json!("a1"), &json!("received")));
    let again = report(&world, &body).await;
    assert_eq!((again.status, counts(&again)), (200, [1, 0, 1, 0]), "a duplicate is counted");
    let later = event("a1", "on_create_lead", "2031-05-05T08:00:01-03:00");
    assert_eq!(counts(&report(&world, &later).await), [1, 1, 0, 0], "another time is new");
    let other = event("a1", "on_update_lead", "2031-05-05T11:00:00Z");
    assert_eq!(counts(&report(&world, &other).await), [1, 1, 0, 0], "another action is new");
    let batch = json!([created("b1"), created("b2"), created("b3")]);
    let batch = report(&world, &batch).await;
    assert_eq!((batch.status, counts(&batch)), (200, [3, 3, 0, 0]), "a batch of three");
    let mut without = created("a2");
    without["attributes"]["updated_at"].take();
    for (body, why) in [
        (without, "without_updated_at"),
        (event("a2", "on_create_lead", "05/05/2031 08:00"), "bad_updated_at"),
    ] {
        let response = report(&world, &body).await;
        assert_eq!((response.status, counts(&response)), (400, [1, 0, 0, 1]), "{why}");
        assert_eq!(response.json()["results"][0]["error"], why);
    }
    let listed = world.quarantine(C2S, &json!({"action": "list"})).await.json();
    assert_eq!(listed["requests"].as_array().unwrap().len(), 2, "both wait for a person");
    assert_eq!(world.journey(lead_of(&world, "a1@example.com").await).await.events.len(), 3);

    let query = "token=tests-stage-c2s-secret";
    let in_address = world.post_with_query(C2S, query, body.to_string().as_bytes()).await;
    assert_eq!((in_address.status, counts(&in_address)), (200, [1, 0, 1, 0]));
    let wrong = world.post_with_query(C2S, "token=x", body.to_string().as_bytes()).await;
    assert_eq!(wrong.status, 401);
    world.finish().await;
}

async fn lead_of(world: &World, email: &str) -> LeadId {
    let digest = world.hash.digest("email", email);
    world.store.leads_of(("email", &digest), 5).await.unwrap()[0]
}

#[tokio::test]
async fn one_bad_event_of_a_batch_waits_for_a_person_and_the_others_go_on() {
    let world = world("none").await;
    let mut bad = created("b2");
    bad["attributes"]["updated_at"] = json!("ontem");
    let batch = json!([created("b1"), bad, created("b3")]);
    for (round, expected) in [[3, 2, 0, 1], [3, 0, 2, 1]].into_iter().enumerate() {
        let response = report(&world, &batch).await;
        assert_eq!((response.status, counts(&response)), (200, expected), "{round}");
        let results = response.json()["results"].as_array().unwrap().clone();
        assert_eq!(results[1]["error"], "bad_updated_at");
    }
    let listed = world.quarantine(C2S, &json!({"action": "list"})).await.json();
    let requests = listed["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 1, "once, however often it comes");
    let id = &requests[0]["id"];
    let still = world.quarantine(C2S, &json!({"action": "release", "id": id})).await;
    assert_eq!((still.status, &still.json()["reason"]), (422, &json!("bad_updated_at")));
    let set = json!({"attributes.updated_at": "2031-05-04T12:00:00Z"});
    let release = json!({"action": "release", "id": id, "set": set});
    assert_eq!(world.quarantine(C2S, &release).await.status, 200);
    assert_eq!(world.leads().await.len(), 3);
    let listed = world.quarantine(C2S, &json!({"action": "list"})).await.json();
    assert_eq!(listed["requests"], json!([]));
    world.finish().await;
}

#[tokio::test]
async fn what_is_no_event_at_all_is_kept_for_a_person() {
    let world = world("none").await;
    let headers = [("content-type", "application/json"), TOKEN];
    for (body, why) in [("{", "invalid_json"), ("[]", "no_events"), ("\"x\"", "no_events")] {
        let response = world.send(C2S, Method::POST, &headers, body.as_bytes()).await;
        assert_eq!((response.status, counts(&response)), (400, [1, 0, 0, 1]), "{body}");
        assert_eq!(response.json()["results"][0]["error"], why);
    }
    let listed = world.quarantine(C2S, &json!({"action": "list"})).await.json();
    assert_eq!(listed["requests"].as_array().unwrap().len(), 3);
    world.finish().await;
}

#[tokio::test]
async fn five_hundred_events_come_in_one_call_and_one_more_waits_for_a_person() {
    let world = world("none").await;
    let mut batch: Vec<Value> = (0..500).map(|number| created(&format!("n{number}"))).collect();
    let all = report(&world, &json!(batch)).await;
    assert_eq!((all.status, counts(&all)), (200, [500, 500, 0, 0]));
    assert_eq!(world.leads().await.len(), 500);
    batch.push(created("n500"));
    let more = report(&world, &json!(batch)).await;
    assert_eq!((more.status, counts(&more)), (400, [1, 0, 0, 1]));
    let listed = world.quarantine(C2S, &json!({"action": "list"})).await.json();
    assert_eq!(listed["requests"][0]["reason"], "too_many_events");
    let release = json!({"action": "release", "id": listed["requests"][0]["id"]});
    assert_eq!(world.quarantine(C2S, &release).await.status, 200);
    assert_eq!(world.leads().await.len(), 501, "a person may release more");
    world.finish().await;
}

#[tokio::test]
async fn two_equal_batches_at_once_are_kept_once() {
    let world = world("none").await;
    let batch = json!((0..20).map(|number| created(&format!("n{number}"))).collect::<Vec<_>>());
    let mut both = join_all([report(&world, &batch), report(&world, &batch)]).await;
    for response in &mut both {
        // Two that met are asked to come again.
        while response.status == 503 {
            *response = report(&world, &batch).await;
        }
        assert_eq!(response.status, 200);
    }
    let leads = world.leads().await;
    assert_eq!(leads.len(), 20);
    for lead in leads {
        assert_eq!(world.journey(lead).await.events.len(), 1);
    }
    world.finish().await;
}

/// The time that a request has is over before its last events are begun.
#[tokio::test]
async fn what_is_not_reached_is_reported_and_comes_again() {
    let world = world("none").await;
    let slow = world.slow_deployment(1);
    let batch = json!((0..40).map(|number| created(&format!("n{number}"))).collect::<Vec<_>>());
    let response = report(&slow, &batch).await;
    let [received, processed, duplicates, failed] = counts(&response);
    assert_eq!((response.status, received, duplicates), (503, 40, 0));
    assert_eq!(response.header("retry-after"), Some("5"));
    assert!(processed > 0 && failed > 0 && processed + failed == 40, "{processed} {failed}");
    let results = response.json();
    let late = results["results"].as_array().unwrap().iter();
    let late = late.filter(|result| result["status"] == "not_reached").count();
    assert_eq!(u64::try_from(late).unwrap(), failed);
    let again = report(&world, &batch).await;
    assert_eq!((again.status, counts(&again)), (200, [40, failed, processed, 0]));
    world.finish().await;
}

#[tokio::test]
async fn a_lead_of_the_site_s_own_form_stays_one_lead() {
    let world = world("none").await;
    assert_eq!(world.submit(&lead_body()).await.status, 200);
    let mut reported = created("a1");
    reported["attributes"]["customer"]["email"] = json!(EMAIL);
    assert_eq!(report(&world, &reported).await.status, 200);
    // Another e-mail changes nothing: it is still Contact2Sale's same lead.
    assert_eq!(
        report(&world, &event("a1", "on_close_lead", "2031-05-05T12:00:00Z")).await.status,
        200
    );
    let journey = world.journey(lead()).await;
    assert_eq!(journey.events.len(), 3);
    assert_eq!(journey.lead.latest.name.as_ref().unwrap().expose(), "Ana Exemplo");
    let shown = funil_dev::cli::journey::to_json(&journey);
    let last = shown["entries"].as_array().unwrap().last().unwrap().clone();
    assert!(shown.to_string().contains("c2s a1: closed, novo"), "{last}");
    world.finish().await;
}

/// What an event costs at DynamoDB, its enrichment included, and its duplicate.
#[tokio::test]
async fn an_event_and_its_enrichment_stay_within_their_units() {
    let (proxy, url) = Proxy::start().await;
    let plan = World::plan().with("DESTINATIONS", "c2s").with("AWS_ENDPOINT_URL_DYNAMODB", &url);
    let world = plan.start().await;
    make_known(&world, "5511987654321", "a1@example.com");
    world.looks_at("c2s");
    let work = async |event: Value| {
        proxy.take();
        assert_eq!(report(&world, &event).await.status, 200);
        let accepted = proxy.take();
        world.drain().await;
        (accepted, proxy.take())
    };
    // The first also causes what most do not: the breaker's first success, and the process's first reads.
    work(created("a0")).await;
    let (accepted, looked_up) = work(created("a1")).await;
    println!("accepted: {accepted:?}");
    println!("looked up: {looked_up:?}");
    let update = event("a1", "on_update_lead", "2031-05-05T11:30:00Z");
    let (updated, skipped) = work(update.clone()).await;
    println!("an update: {updated:?}, worked on: {skipped:?}");
    let (again, _) = work(update).await;
    println!("a repetition: {again:?}");
    assert!(accepted.write_units <= 24.0 && looked_up.write_units <= 16.0);
    assert!(updated.write_units <= 20.0 && skipped.write_units <= 9.0);
    assert!(again.write_units <= 1.0 && again.read_units <= 2.0, "{again:?}");
    world.finish().await;
}

#[tokio::test]
async fn only_listed_addresses_may_call() {
    let plan = World::plan().with("DESTINATIONS", "none");
    let world = plan.with("C2S_ALLOWED_IPS", "203.0.113.7, 198.51.100.0/24").start().await;
    let body = created("a1").to_string();
    for (ip, status) in
        [("203.0.113.7", 200), ("198.51.100.99", 200), ("203.0.113.8", 401), ("2001:db8::1", 401)]
    {
        let headers = [("content-type", "application/json"), TOKEN];
        let response = world.send_from(ip, C2S, Method::POST, &headers, body.as_bytes()).await;
        assert_eq!(response.status, status, "{ip}");
    }
    world.finish().await;
}
