//! Deals that a CRM reports: who may report them, whose they are, and what Meta gets of them.

use funil_core::contact::Email;
use funil_core::contact::consent::{How, Purpose};
use funil_core::event::EmailStatus;
use funil_core::id::LeadId;
use funil_core::provider::deals;
use funil_dev::simulated::Behaviour;
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{EMAIL, Response, World, lead, lead_body};

const DEALS: &str = "deal-webhook";
const KEY: (&str, &str) = ("x-api-key", "tests-stage-deal-key");
const EVENT: (&str, &str) = ("x-event", "deal.status_changed");

async fn world(purposes: &str) -> World {
    let world = World::plan()
        .with("DESTINATIONS", "meta,brevo")
        .with("DEAL_PURPOSES", purposes)
        .start()
        .await;
    world.looks_at_destinations();
    world
}

/// A deal of a person with an impossible phone.
fn deal(status: &str) -> Value {
    json!({"status": "success", "message": "changed", "data": {
        "dealId": "DEAL-1",
        "customer": {"contactId": "C-1", "firstName": "Maria", "lastName": "Exemplo",
            "email": "maria@example.com", "phoneNumber": "+55 11 0000-0000"},
        "dealDetails": {"dealName": "Cobertura", "dealValue": 12_500_000.5, "currency": "BRL",
            "status": status},
        "propertyInformation": {"address": "Rua das Flores, 100"},
    }})
}

async fn report(world: &World, crm: &str, body: &Value) -> Response {
    let headers = [("content-type", "application/json"), KEY, EVENT];
    world.post_below(DEALS, &format!("/{crm}"), &headers, body.to_string().as_bytes()).await
}

async fn take(world: &World, body: &Value) {
    let response = report(world, "standard", body).await;
    assert_eq!((response.status, response.json()), (200, json!({"received": true})));
}

fn names(world: &World) -> Vec<String> {
    let events = world.providers.meta_events();
    events.iter().map(|event| event["event_name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_deal_is_taken_from_who_has_the_key_alone() {
    let world = world("contact").await;
    let body = deal("Qualified").to_string();
    let wrong = ("x-api-key", "tests-stage-deal-kez");
    for (path, headers, status) in [
        ("/standard", vec![], 401),
        ("/standard", vec![wrong], 401),
        ("/pipedrive", vec![KEY], 401),
        ("/hubspot", vec![KEY], 404),
        ("/standard", vec![KEY], 200),
        ("", vec![KEY], 200),
    ] {
        let response = world.post_below(DEALS, path, &headers, body.as_bytes()).await;
        assert_eq!(response.status, status, "{path} {headers:?}: {response:?}");
    }
    assert_eq!(world.journey(world.the_lead().await).await.events.len(), 1);
    let other = [KEY, ("x-event", "contact.created")];
    let ignored = world.post_below(DEALS, "", &other, b"{}").await;
    assert_eq!(ignored.status, 200);
    let get = world.send(DEALS, Method::GET, &[], b"").await;
    assert_eq!(get.status, 405);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn without_the_operator_s_statement_meta_gets_nothing_and_the_journey_says_why() {
    let world = World::plan().with("DESTINATIONS", "meta").start().await;
    take(&world, &deal("Committed")).await;
    world.drain().await;
    let lead = world.the_lead().await;
    assert_eq!(world.states(lead).await, ["meta/purchase skipped no_consent_ads"]);
    let journey = world.journey(lead).await;
    let contact = *journey.lead.consents.get(Purpose::Contact).unwrap();
    assert_eq!(contact.how, How::Stated);
    assert_eq!(journey.consents[0].form, DEALS, "the operator's statement is kept as a consent");
    let shown = funil_dev::cli::journey::to_json(&journey);
    let entry = &shown["entries"][0];
    assert_eq!(entry["note"], "standard DEAL-1: Committed, 12500000.50 BRL");
    assert_eq!(entry["dropped"], json!(["data.customer.phoneNumber"]));
    world.finish().await;
}

#[tokio::test]
async fn a_deal_is_sent_once_however_often_and_in_whatever_order_it_comes() {
    let world = world("contact,ads").await;
    world.providers.behave("meta", Behaviour::Status(500));
    for _ in 0..5 {
        for status in ["Committed", "Qualified"] {
            take(&world, &deal(status)).await;
        }
    }
    // Meta fails four times.
    let mut failed = 0;
    while failed < 4 {
        world.drain().await;
        failed = world.requests("meta").len();
        world.advance(SignedDuration::from_mins(5)).await;
    }
    world.providers.behave("meta", Behaviour::Normal);
    world.advance(SignedDuration::from_hours(6)).await;
    for status in ["Qualified", "Committed"] {
        take(&world, &deal(status)).await;
    }
    world.drain().await;
    let mut sent = names(&world);
    sent.sort();
    assert_eq!(sent, ["Lead", "Purchase"]);
    let emails = world.providers.brevo_emails();
    assert_eq!(emails.len(), 1, "one e-mail, however often Meta fails");
    assert_eq!(emails[0]["to"], json!([{"email": "maria@example.com"}]));
    let html = emails[0]["htmlContent"].as_str().unwrap();
    assert!(html.contains("Rua das Flores, 100") && html.contains("R$ 12.500.000,50"), "{html}");
    let events = world.providers.meta_events();
    let purchase = events.iter().find(|event| event["event_name"] == "Purchase").unwrap();
    assert_eq!(purchase["action_source"], "system_generated");
    let data = json!({"event_source": "crm", "lead_event_source": "standard",
        "value": 12_500_000.5, "currency": "BRL"});
    assert_eq!(purchase["custom_data"], data);
    assert!(purchase["user_data"].get("ph").is_none(), "the phone was impossible");
    assert_eq!(world.journey(world.the_lead().await).await.events.len(), 2);
    world.finish().await;
}

/// Nobody can know whether an e-mail went out, so a person decides, and nobody gets it twice.
#[tokio::test]
async fn an_e_mail_that_may_have_been_sent_waits_for_a_person() {
    for behaviour in [Behaviour::CloseAfterEffect, Behaviour::Garbage, Behaviour::Status(500)] {
        let world = world("contact").await;
        world.providers.behave("brevo", behaviour.clone());
        take(&world, &deal("Committed")).await;
        world.drain().await;
        world.providers.behave("brevo", Behaviour::Normal);
        world.advance(SignedDuration::from_hours(30)).await;
        let states = world.states(world.the_lead().await).await;
        assert!(states[0].starts_with("brevo/property_details dead "), "{behaviour:?}: {states:?}");
        assert_eq!(world.requests("brevo").len(), 1, "{behaviour:?}");
        assert!(world.providers.brevo_emails().len() <= 1);
        world.finish().await;
    }
}

/// What Brevo says of an address stands at the address and on its lead, and mail that fails is not sent again.
#[tokio::test]
async fn whose_e_mail_bounces_gets_none_any_more() {
    let world = world("contact").await;
    take(&world, &deal("Committed")).await;
    world.drain().await;
    assert_eq!(world.providers.brevo_emails().len(), 1);
    let bounce = |event: &str| json!({"event": event, "email": "maria@example.com", "ts_event": 1});
    let token = ("authorization", "Bearer tests-stage-brevo-secret");
    let wrong = ("authorization", "Bearer tests-stage-brevo-secreT");
    assert_eq!(world.post("brevo-webhook", &[wrong], &bounce("hard_bounce")).await.status, 401);
    for event in ["soft_bounce", "hard_bounce", "hard_bounce", "delivered"] {
        let response = world.post("brevo-webhook", &[token], &bounce(event)).await;
        assert_eq!((response.status, response.json()), (200, json!({"received": true})), "{event}");
    }
    let lead = world.the_lead().await;
    let journey = world.journey(lead).await;
    let shown = funil_dev::cli::journey::to_json(&journey);
    let mut notes: Vec<&str> = shown["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["note"].as_str())
        .collect();
    notes.sort_unstable();
    assert_eq!(notes[..2], ["bounced", "soft_bounced"], "each once: {notes:?}");
    assert_eq!(notes.len(), 3);
    assert_eq!(journey.lead.latest.email_status.map(EmailStatus::name), Some("bounced"));
    // The next deal's e-mail would fail, too.
    let mut other = deal("Committed");
    other["data"]["dealId"] = json!("DEAL-2");
    take(&world, &other).await;
    world.drain().await;
    let states = world.states(lead).await;
    assert!(states.contains(&"brevo/property_details skipped bounced".to_owned()), "{states:?}");
    assert_eq!(world.providers.brevo_emails().len(), 1);
    // A report of nobody known is no error.
    let nobody = json!({"event": "spam", "email": "ninguem@example.com"});
    assert_eq!(world.post("brevo-webhook", &[token], &nobody).await.status, 200);
    // What says nothing is kept for a person.
    assert_eq!(world.post("brevo-webhook", &[token], &json!({"x": 1})).await.status, 200);
    let listed = world.quarantine("brevo-webhook", &json!({"action": "list"})).await.json();
    assert_eq!(listed["requests"][0]["reason"], "unreadable_parts");
    world.finish().await;
}

#[tokio::test]
async fn an_e_mail_waits_for_brevo_s_limit_and_outage() {
    let world = world("contact").await;
    world.providers.behave("brevo", Behaviour::Status(503));
    take(&world, &deal("Committed")).await;
    world.drain().await;
    world.providers.behave("brevo", Behaviour::Throttle { retry_after_s: 60 });
    world.advance(SignedDuration::from_mins(30)).await;
    world.providers.behave("brevo", Behaviour::Normal);
    world.advance(SignedDuration::from_hours(6)).await;
    assert_eq!(world.providers.brevo_emails().len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_deal_that_comes_back_to_a_status_counts_again() {
    let world = world("contact,ads").await;
    for (day, expected) in [(1, 1), (1, 1), (2, 2), (2, 2)] {
        let mut body = deal("Qualified");
        body["data"]["dealDetails"]["updatedAt"] = json!(format!("2031-05-0{day}T12:00:00-03:00"));
        take(&world, &body).await;
        world.drain().await;
        assert_eq!(names(&world).len(), expected, "{day}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_person_of_digests_goes_to_meta_by_an_id_alone() {
    let world = world("contact,ads").await;
    let md5 = "5f4dcc3b5aa765d61d8327deb882cf99";
    let mut body = deal("Committed");
    for name in ["firstName", "lastName", "email", "phoneNumber"] {
        body["data"]["customer"][name] = json!(md5);
    }
    take(&world, &body).await;
    take(&world, &body).await;
    world.drain().await;
    let events = world.providers.meta_events();
    let who = events[0]["user_data"].as_object().unwrap().keys().collect::<Vec<_>>();
    assert_eq!(events.len(), 1);
    assert_eq!(who, ["external_id"]);
    let journey = world.journey(world.the_lead().await).await;
    assert_eq!(journey.lead.latest.email, None);
    let shown = funil_dev::cli::journey::to_json(&journey);
    assert_eq!(shown["entries"][0]["dropped"].as_array().unwrap().len(), 4);
    let states = world.states(world.the_lead().await).await;
    assert_eq!(states, ["brevo/property_details skipped missing_email", "meta/purchase delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn a_deal_belongs_to_its_contact_and_to_the_e_mail_that_it_names() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    assert_eq!(world.submit(&lead_body()).await.status, 200);
    let mut body = deal("Qualified");
    body["data"]["customer"]["email"] = json!(EMAIL);
    take(&world, &body).await;
    // A later report without an e-mail is the contact's, and one with another person's e-mail is theirs.
    body["data"]["customer"]["email"].take();
    body["data"]["dealDetails"]["status"] = json!("Committed");
    take(&world, &body).await;
    world.advance(SignedDuration::from_secs(1)).await;
    body["data"]["customer"]["email"] = json!("outra@example.com");
    take(&world, &body).await;
    let outra = LeadId::from_email(&world.hash, &Email::parse("outra@example.com").unwrap());
    let theirs = world.journey(outra).await;
    assert_eq!(
        (theirs.events.len(), theirs.lead.latest.email.unwrap().as_str()),
        (1, "outra@example.com")
    );
    // From then on it is the contact's, also of reports without an e-mail.
    for (status, moment) in [("Perdido", 1), ("Retomado", 2)] {
        body["data"]["customer"]["email"].take();
        body["data"]["dealDetails"]["status"] = json!(format!("{status} {moment}"));
        take(&world, &body).await;
    }
    assert_eq!(world.journey(outra).await.events.len(), 3);
    // And back, when the e-mail is the first one's again.
    for email in [json!(EMAIL), json!(null)] {
        world.advance(SignedDuration::from_secs(1)).await;
        body["data"]["customer"]["email"] = email.clone();
        body["data"]["dealDetails"]["status"] = json!(format!("De volta {email}"));
        take(&world, &body).await;
    }
    assert_eq!(world.journey(outra).await.events.len(), 3);
    let journey = world.journey(lead()).await;
    assert_eq!(journey.events.len(), 5);
    assert_eq!(journey.lead.latest.name.unwrap().expose(), "Ana Exemplo");
    assert_eq!(journey.lead.latest.email.unwrap().as_str(), EMAIL);
    world.finish().await;
}

#[tokio::test]
async fn a_denial_of_the_person_s_own_stands_against_the_operator_s_statement() {
    let world = world("contact,ads").await;
    let mut form = lead_body();
    form["consent"]["ads"] = json!(false);
    assert_eq!(world.submit(&form).await.status, 200);
    let mut body = deal("Committed");
    body["data"]["customer"]["email"] = json!(EMAIL);
    take(&world, &body).await;
    world.drain().await;
    let states = world.states(lead()).await;
    assert!(states.contains(&"meta/purchase skipped no_consent_ads".to_owned()), "{states:?}");
    world.finish().await;
}

#[tokio::test]
async fn what_is_not_understood_is_kept_for_a_person_who_releases_it() {
    let world = world("contact,ads").await;
    let mut body = deal("");
    body["data"]["dealDetails"] = json!({"dealValue": 10});
    let response = report(&world, "standard", &body).await;
    assert_eq!((response.status, response.json()), (202, json!({"received": true})));
    let listed = world.quarantine(DEALS, &json!({"action": "list"})).await.json();
    assert_eq!(listed["requests"][0]["reason"], "without_status");
    let release = json!({"action": "release", "id": listed["requests"][0]["id"],
        "set": {"data.dealDetails.status": "Committed"}});
    let released = world.quarantine(DEALS, &release).await;
    assert_eq!(released.status, 200, "{released:?}");
    world.drain().await;
    assert_eq!(names(&world), ["Purchase"]);
    world.finish().await;
}

/// Pipedrive's webhook with the tests' key as its password.
const PIPEDRIVE_S_KEY: (&str, &str) =
    ("authorization", "Basic ZnVuaWw6dGVzdHMtc3RhZ2UtZGVhbC1rZXk=");

/// What the person took back counts for an address, too, that the lead got after its e-mail was planned.
#[tokio::test]
async fn an_address_that_comes_later_and_wants_no_e_mails_gets_none() {
    let world = world("contact,ads").await;
    let meta = |entity: &str, id: &str| {
        json!({"action": "change", "entity": entity, "id": id, "version": "2.0",
            "timestamp": "2031-05-05T11:59:00.000Z"})
    };
    let won = json!({"meta": meta("deal", "e2"), "previous": {"status": "open"}, "data": {
        "id": 501, "title": "Moema", "status": "won", "stage_id": 5, "person_id": 88}});
    let person = json!({"meta": meta("person", "e1"), "previous": {"name": "N"}, "data": {
        "id": 88, "name": "Nina", "emails": [{"value": "nina@example.com", "primary": true}]}});
    let digest = world.hash.digest("email", "nina@example.com");
    let purpose = Purpose::MarketingEmail;
    world.store.revoke("email", &digest, purpose, world.now()).await.unwrap();
    for report in [won, person] {
        let body = report.to_string();
        let response = world.post_below(DEALS, "/pipedrive", &[PIPEDRIVE_S_KEY], body.as_bytes());
        assert_eq!(response.await.status, 200);
    }
    world.drain().await;
    let states = world.states(world.the_lead().await).await;
    let withheld = "brevo/property_details skipped no_consent_marketing_email".to_owned();
    assert!(states.contains(&withheld), "{states:?}");
    assert_eq!(world.requests("brevo"), [""; 0]);
    world.finish().await;
}

/// Pipedrive's deal names its person by an id, and the person comes before or after it.
#[tokio::test]
async fn pipedrive_s_deal_and_person_meet_in_any_order() {
    for person_first in [true, false] {
        let world = world("contact,ads").await;
        let meta = |entity: &str, id: &str| {
            json!({"action": "change", "entity": entity, "id": id, "version": "2.0",
                "timestamp": "2031-05-05T11:59:00.000Z"})
        };
        let person = json!({"meta": meta("person", "e1"), "previous": {"name": "N"}, "data": {
            "id": 88, "first_name": "Nina", "last_name": "Exemplo",
            "emails": [{"value": "nina@example.com", "primary": true}], "phones": []}});
        let won = json!({"meta": meta("deal", "e2"), "previous": {"status": "open"}, "data": {
            "id": 501, "title": "Moema", "value": 950_000, "currency": "BRL", "status": "won",
            "stage_id": 5, "person_id": 88}});
        let reports = if person_first { [&person, &won] } else { [&won, &person] };
        let headers = [PIPEDRIVE_S_KEY];
        for report in reports {
            let body = report.to_string();
            for _ in 0..2 {
                let response =
                    world.post_below(DEALS, "/pipedrive", &headers, body.as_bytes()).await;
                assert_eq!(response.status, 200, "{response:?}");
            }
        }
        let lead = world.the_lead().await;
        let journey = world.journey(lead).await;
        assert_eq!(journey.events.len(), 2);
        assert_eq!(journey.lead.latest.email.unwrap().as_str(), "nina@example.com");
        assert_eq!(journey.lead.latest.name.unwrap().expose(), "Nina Exemplo");
        world.drain().await;
        assert_eq!(names(&world), ["Purchase"]);
        let digest = world.hash.digest("email", "nina@example.com");
        assert_eq!(world.store.leads_of(("email", &digest), 5).await.unwrap(), [lead]);
        world.finish().await;
    }
}

/// Two reports of a contact who is not known yet make one lead, also at once.
#[tokio::test]
async fn reports_at_once_make_one_lead() {
    let world = world("contact,ads").await;
    let mut nameless = deal("Qualified");
    nameless["data"]["customer"] = json!({"contactId": "C-9"});
    let bodies: Vec<Value> = (0..6)
        .map(|number| {
            let mut body = nameless.clone();
            body["data"]["dealId"] = json!(format!("D-{number}"));
            body
        })
        .collect();
    let world_ref = &world;
    let responses =
        bodies.iter().map(|body| async move { report(world_ref, "standard", body).await });
    let responses = futures::future::join_all(responses).await;
    for (body, response) in bodies.iter().zip(&responses) {
        // Who met too many others is asked to come again.
        if response.status == 503 {
            take(&world, body).await;
        }
    }
    assert_eq!(world.journey(world.the_lead().await).await.events.len(), 6);
    world.drain().await;
    world.finish().await;
}

#[test]
fn the_documentation_names_every_crm() {
    let text = include_str!("../../docs/endpoints.md");
    for crm in deals::ALL {
        assert!(text.contains(&format!("| `{}` |", crm.name)), "{}", crm.name);
    }
}
