//! What looks like spam: kept with signs, or quarantined for a person with the reasons.

use funil_dev::simulated::Behaviour;
use http::Method;
use serde_json::{Value, json};

use crate::world::{EMAIL, LEAD, Plan, Response, World, lead};

const CONTACT: &str = "contact-submit";
const SEO: &str = "Rank first! http://a.example https://b.example www.c.example";

/// A site that asks for Turnstile's token.
fn with_turnstile() -> Plan {
    World::plan()
        .with("DESTINATIONS", "crm")
        .with("TURNSTILE_SECRET_KEY", "tests-stage-turnstile-secret")
        .with_provider_url("TURNSTILE_BASE_URL", "turnstile")
}

fn form(token: Option<&str>, more: &Value) -> Value {
    let mut body = json!({
        "lead_id": LEAD, "turnstile_token": token,
        "data": {"name": "Ana Exemplo", "email": EMAIL, "message": "Quanto custa?"},
    });
    for (name, value) in more.as_object().unwrap() {
        match name.as_str() {
            "elapsed_ms" | "website" => body[name] = value.clone(),
            _ => body["data"][name] = value.clone(),
        }
    }
    body
}

async fn post(world: &World, body: &Value) -> Response {
    let response = world.post(CONTACT, &[], body).await;
    assert_eq!(response.status, 200, "{response:?}");
    response
}

/// Why each request in quarantine is there.
async fn reasons(world: &World) -> Vec<String> {
    let listed = world.quarantine(CONTACT, &json!({"action": "list"})).await.json();
    let requests = listed["requests"].as_array().unwrap().iter();
    requests.map(|one| one["reason"].as_str().unwrap().to_owned()).collect()
}

/// What the CRM hears of the signs of the world's lead.
async fn signs(world: &World) -> Value {
    world.drain().await;
    let contact = world.providers.crm_contact(&lead().to_string()).unwrap();
    contact["custom_fields"]["spam_signs"].clone()
}

#[tokio::test]
async fn a_person_with_a_token_is_kept_without_a_sign() {
    let world = with_turnstile().start().await;
    world.looks_at("crm");
    world.looks_at("turnstile");
    post(&world, &form(Some("person-1"), &json!({"elapsed_ms": 20_000}))).await;
    assert_eq!(signs(&world).await, Value::Null);
    let asked = world.providers.received("turnstile");
    assert_eq!(asked[0].body["response"], "person-1");
    assert_eq!(asked[0].body["secret"], "tests-stage-turnstile-secret");
    let key = |number: usize| {
        let asked = world.providers.received("turnstile");
        asked[number].body["idempotency_key"].as_str().unwrap().to_owned()
    };
    assert_eq!(key(0).len(), 36);
    post(&world, &form(Some("person-1"), &json!({"elapsed_ms": 20_000}))).await;
    assert_eq!(key(1), key(0), "a duplicate gets the same response");
    post(&world, &form(Some("person-1"), &json!({"message": "Outra"}))).await;
    assert_ne!(key(2), key(0), "a token counts for one submission");
    world.drain().await;
    assert!(world.items("QUARANTINE#").await.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn one_or_two_signs_are_kept_with_a_flag_for_the_crm() {
    let world = with_turnstile().start().await;
    world.looks_at("crm");
    post(&world, &form(None, &json!({"elapsed_ms": 500}))).await;
    assert_eq!(signs(&world).await, "too_fast, no_token");
    let journey = world.journey(lead()).await;
    let kept: Vec<&str> = journey.events[0].signs.iter().map(|sign| sign.name()).collect();
    assert_eq!(kept, ["too_fast", "no_token"]);
    assert!(reasons(&world).await.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn three_signs_or_a_rejected_token_are_quarantined_and_get_the_usual_response() {
    for (body, reason) in [
        (form(None, &json!({"elapsed_ms": 500, "message": SEO})), "signs too_fast links no_token"),
        (form(Some("robot"), &json!({})), "token_rejected"),
        (form(Some("used-1"), &json!({})), "token_rejected"),
        (form(Some("person-1"), &json!({"website": "x"})), "honeypot"),
    ] {
        let world = with_turnstile().start().await;
        world.looks_at("turnstile");
        let response = post(&world, &body).await.json();
        assert_eq!(response["success"], true);
        assert_eq!(response["integrations"]["planned"], json!(["crm"]), "as for a person");
        assert_eq!(reasons(&world).await, [reason]);
        assert!(world.items("LEAD#").await.is_empty());
        let alerts = world.items("ALERT#contact-submit").await;
        assert_eq!(alerts.len(), 1, "a person hears of it: {alerts:?}");
        world.finish().await;
    }
}

/// Whoever is caught wrongly is kept by a person's command, once, as if nothing had happened.
#[tokio::test]
async fn what_was_caught_wrongly_is_released_under_its_own_receipt() {
    let world = with_turnstile().start().await;
    world.looks_at("crm");
    world.looks_at("turnstile");
    let body = form(Some("robot"), &json!({}));
    let key = [("idempotency-key", "one")];
    world.post(CONTACT, &key, &body).await;
    let listed = world.quarantine(CONTACT, &json!({"action": "list"})).await.json();
    let release = json!({"action": "release", "id": listed["requests"][0]["id"]});
    assert_eq!(world.quarantine(CONTACT, &release).await.status, 200);
    world.drain().await;
    assert_eq!(world.journey(lead()).await.events.len(), 1);
    let person = form(Some("person-2"), &json!({}));
    let again = world.post(CONTACT, &key, &person).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "it is kept already");
    assert_eq!(world.journey(lead()).await.events.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn what_was_accepted_gets_its_response_again_though_its_token_is_used_up() {
    let world = with_turnstile().start().await;
    world.looks_at("crm");
    world.looks_at("turnstile");
    let headers = [("idempotency-key", "0b9b1c6e-2f6d-4a39-8a6a-5f6f2a0f1c11")];
    let send = |token: &'static str| {
        let body = form(Some(token), &json!({"elapsed_ms": 20_000}));
        let world = &world;
        async move { world.post(CONTACT, &headers, &body).await }
    };
    let first = send("person-1").await;
    let again = send("expired").await;
    assert_eq!((again.status, again.json()), (200, first.json()));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(reasons(&world).await, [""; 0]);
    world.drain().await;
    world.finish().await;
}

/// The ids that a form without one gets are of the same kind, and the same each time.
#[tokio::test]
async fn a_robot_gets_an_id_like_everybody_s() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.looks_at("crm");
    let ids = |website: &'static str| {
        let world = &world;
        async move {
            let mut ids = Vec::new();
            for hours in [10, 11] {
                let body = json!({"name": "Ana Exemplo", "email": EMAIL, "businessType": "consultoria",
                    "workHoursDaily": hours, "website": website});
                let response = world.post("lead-submit", &[], &body).await.json();
                ids.push(response["leadId"].as_str().unwrap().to_owned());
            }
            assert_eq!(ids[0], ids[1]);
            ids.remove(0)
        }
    };
    let (person, robot) = (ids("").await, ids("x").await);
    assert_ne!(person, robot);
    let version = |id: &str| id.chars().nth(14);
    assert_eq!((version(&person), version(&robot)), (Some('8'), Some('8')));
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_turnstile_that_does_not_respond_refuses_nobody_and_is_used_less() {
    for behaviour in [
        Behaviour::Status(500),
        Behaviour::Garbage,
        Behaviour::CloseConnection,
        Behaviour::Hang,
        Behaviour::Normal,
    ] {
        let world = with_turnstile().with("RATE_SITE_FORMS", "10/60").start().await;
        world.looks_at("crm");
        world.looks_at("turnstile");
        world.providers.behave("turnstile", behaviour.clone());
        let mut statuses = Vec::new();
        for number in 0..3 {
            // With a wrong key it checks nothing either.
            let body = form(Some("secret"), &json!({"message": format!("Pergunta {number}")}));
            statuses.push(world.post(CONTACT, &[], &body).await.status);
        }
        assert_eq!(statuses, [200, 200, 429], "{behaviour:?}: a fifth of the usual rate");
        assert_eq!(signs(&world).await, "token_unchecked", "{behaviour:?}");
        world.finish().await;
    }
}

#[tokio::test]
async fn the_fourth_who_writes_the_same_repeats_it() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.looks_at("crm");
    let text = "Olá, vi o seu site e posso levar a sua empresa ao topo do Google em 10 dias.";
    for number in 0..4 {
        let body = json!({"data": {
            "name": "Ana Exemplo", "email": format!("somebody{number}@example.com"), "message": text,
        }});
        post(&world, &body).await;
    }
    world.drain().await;
    let sent = world.providers.received("crm");
    let flagged = |one: &&funil_dev::simulated::Received| {
        one.body["custom_fields"]["spam_signs"] == "repetition"
    };
    assert_eq!(sent.iter().filter(flagged).count(), 1);
    assert!(reasons(&world).await.is_empty(), "one sign refuses nobody");
    world.finish().await;
}

/// Turnstile's widget adds its field to a plain HTML form by itself.
#[tokio::test]
async fn a_plain_html_form_has_its_token_under_the_widgets_name() {
    let world = with_turnstile().start().await;
    world.looks_at("turnstile");
    let body = "name=Ana&email=ana%40example.com&message=Oi&cf-turnstile-response=robot";
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let response = world.send(CONTACT, Method::POST, &headers, body.as_bytes()).await;
    assert_eq!(response.status, 200);
    assert_eq!(reasons(&world).await, ["token_rejected"]);
    world.finish().await;
}
