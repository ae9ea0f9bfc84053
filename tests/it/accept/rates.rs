//! What requests count for: their price, their origin, and whose idempotency key it is.

use funil_core::form::SpamSign;
use funil_core::site::RateClass;
use http::Method;
use serde_json::{Value, json};

use crate::world::{CALLER, Response, World, lead, lead_body};

const KEY: (&str, &str) = ("idempotency-key", "constant");
const JSON: (&str, &str) = ("content-type", "application/json");
const HTML: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// The headers of a form, and the signs that it has.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c [SpamSign]);

/// A world without destinations.
async fn intake() -> World {
    World::plan().with("DESTINATIONS", "none").start().await
}

/// The lead of another person for each number.
fn somebody(number: usize) -> Value {
    let mut body = lead_body();
    body["email"] = json!(format!("somebody{number}@example.com"));
    body["leadId"] = Value::Null;
    body
}

async fn post(world: &World, ip: &str, headers: &[(&str, &str)], body: &str) -> Response {
    world.send_from(ip, "lead-submit", Method::POST, headers, body.as_bytes()).await
}

#[tokio::test]
async fn a_rate_that_is_none_is_refused_at_the_start() {
    let world = intake().await;
    for name in RateClass::ALL.map(RateClass::variable) {
        for wrong in ["10", "0/60", "10/0", "ten/60", "10/60/1", "-1/60"] {
            let env = world.env(&[(name, wrong)]);
            let error = funil_dev::functions::all(&env, world.platform()).map(drop).unwrap_err();
            assert!(error.to_string().contains(name), "{wrong}: {error}");
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn an_invalid_body_counts_at_a_tenth_of_the_price() {
    let world = intake().await;
    let invalid = [
        ("{}", 422),
        ("{\"email\": \"ana@\"}", 422),
        ("{", 400),
        ("{\"name\": 1, \"name\": 2}", 400),
    ];
    for number in 0..50 {
        let (body, status) = invalid[number % invalid.len()];
        assert_eq!(post(&world, CALLER, &[JSON], body).await.status, status, "{number}");
    }
    for number in 0..5 {
        assert_eq!(world.submit(&somebody(number)).await.status, 200, "{number}");
    }
    let refused = world.submit(&somebody(5)).await;
    assert_eq!(refused.status, 429);
    let refused = post(&world, CALLER, &[JSON], "{}").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(post(&world, "203.0.113.77", &[JSON], "{}").await.status, 422, "another caller");
    world.finish().await;
}

#[tokio::test]
async fn without_a_table_the_response_still_says_what_is_wrong_with_an_invalid_body() {
    let world = intake().await;
    let down = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")]);
    let response = down.submit(&json!({"email": "ana@"})).await;
    assert_eq!((response.status, &response.json()["code"]), (422, &json!("invalid_fields")));
    world.finish().await;
}

#[tokio::test]
async fn a_key_that_somebody_else_used_for_other_content_makes_a_new_submission() {
    let world = intake().await;
    let send = async |ip: &str, struggle: &str| {
        let mut body = lead_body();
        body["mainStruggle"] = json!(struggle);
        let response = post(&world, ip, &[JSON, KEY], &body.to_string()).await;
        let again = response.header("idempotency-replayed").is_some();
        (response.status, again)
    };
    assert_eq!(send("203.0.113.1", "tempo").await, (200, false));
    assert_eq!(send("203.0.113.2", "tempo").await, (200, true), "the same over another network");
    assert_eq!(send("203.0.113.2", "equipe").await, (200, false), "a key of somebody else");
    assert_eq!(send("203.0.113.2", "equipe").await, (200, true), "it has a receipt of its own");
    assert_eq!(send("203.0.113.3", "equipe").await, (200, true), "over another network too");
    assert_eq!(send("203.0.113.1", "vendas").await, (422, false), "its own key used twice");
    assert_eq!(send("203.0.113.1", "tempo").await, (200, true));
    assert_eq!(world.journey(lead()).await.events.len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_plain_form_of_another_sites_page_is_accepted_with_a_sign() {
    let world = intake().await;
    let form = |number: usize| {
        format!("name=Ana&email=somebody{number}%40example.com&businessType=consultoria")
    };
    let foreign = [SpamSign::ForeignOrigin];
    let cases: [Case<'_>; 8] = [
        (&[], &[]),
        (&[("origin", "null")], &[]),
        (&[("origin", "https://www.example.com")], &[]),
        (&[("origin", "https://forms.example.net"), ("host", "forms.example.net")], &[]),
        (&[("origin", "https://forms.example.net"), ("host", "www.example.com")], &foreign),
        (&[("origin", "https://www.example.com.evil.example")], &foreign),
        (&[("origin", "evil")], &foreign),
        (&[("origin", "")], &foreign),
    ];
    for (number, (headers, expected)) in cases.into_iter().enumerate() {
        let headers: Vec<_> = [HTML].iter().chain(headers).copied().collect();
        let response = post(&world, CALLER, &headers, &form(number)).await;
        let lead = response.lead();
        assert_eq!(world.journey(lead).await.events[0].signs, expected, "{headers:?}");
        world.pass(60);
    }
    // A script's request says nothing by its origin: the browser asked first whether it may send.
    let headers = [JSON, ("origin", "https://evil.example")];
    let lead = post(&world, CALLER, &headers, &somebody(99).to_string()).await.lead();
    assert_eq!(world.journey(lead).await.events[0].signs, []);
    world.finish().await;
}
