//! The site's forms, from the request to what each destination received: the contact form, and what
//! they share.

mod consultation;
mod newsletter;

use funil_core::contact::consent::{Decision, How, Purpose};
use funil_core::event::{EventData, FormEvent, SiteForm};
use funil_core::hash::HashKey;
use funil_core::id::LeadId;
use http::Method;
use serde_json::{Value, json};

use self::consultation::consultation_body;
use self::newsletter::newsletter_body;
use crate::world::{EMAIL, HASH_KEY, LEAD, World, lead, lead_body};

const CONTACT: &str = "contact-submit";
const NEWSLETTER: &str = "newsletter-signup";
const CONSULTATION: &str = "consultation-booking";
const HTML_FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");

fn contact_body() -> Value {
    json!({
        "form_type": "contact", "lead_id": LEAD,
        "utm_params": {"utm_source": "instagram", "utm_campaign": "liberdade"},
        "page_url": "https://www.example.com/contato?e=ana@example.com",
        "timestamp": "2031-05-05T12:00:00Z",
        "data": {
            "name": "Ana Exemplo", "email": EMAIL, "phone": "(11) 98765-4321",
            "company": "Exemplo Ltda", "service_interest": "mentoria",
            "message": "Olá <b>Amanda</b>,\nquanto custa?", "marketing_consent": true,
        },
    })
}

/// The lead that is derived from the e-mail of these forms.
fn derived() -> LeadId {
    let email = funil_core::contact::Email::parse(EMAIL).unwrap();
    LeadId::from_email(&HashKey::new(HASH_KEY).unwrap(), &email)
}

#[tokio::test]
async fn a_message_reaches_the_crm_as_it_was_written_and_the_others_by_consent() {
    let world = World::new().await;
    world.looks_at_destinations();
    let response = world.post(CONTACT, &[], &contact_body()).await;
    assert_eq!(response.status, 200);
    let body = response.json();
    assert_eq!(body["success"], true);
    assert_eq!(body["message"], "Thank you. We have received your message.");
    assert_eq!(
        body["integrations"],
        json!({"planned": ["crm", "mailerlite", "ga4", "segment", "meta"]})
    );
    assert!(world.providers.all_received().is_empty(), "nothing is sent before the response");
    let journey = world.journey(lead()).await;
    assert_eq!(body["submission_id"], json!(journey.events[0].id), "the id of its event");
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead delivered",
            "ga4/event delivered",
            "mailerlite/site_form delivered",
            "meta/lead skipped no_consent_ads",
            "segment/event delivered",
        ]
    );
    let sent = world.providers.received("crm");
    assert_eq!(sent[0].body["name"], "Ana Exemplo");
    assert_eq!(sent[0].body["custom_fields"]["company"], "Exemplo Ltda");
    assert_eq!(
        sent[1].body["note"],
        "form_type: contact\nname: Ana Exemplo\nphone: +5511987654321\ncompany: Exemplo Ltda\n\
         service_interest: mentoria\nmessage: Olá <b>Amanda</b>,\nquanto custa?"
    );
    let counted = world.providers.ga4_events();
    assert_eq!(counted[0].name, "generate_lead");
    assert_eq!(counted[0].params["form_location"], "/contato");
    let joins = world.providers.group_joins();
    assert_eq!(joins.iter().map(|join| &*join.group).collect::<Vec<_>>(), ["201"]);
    for (field, expected) in [
        ("company", "Exemplo Ltda"),
        ("form_type", "contact"),
        ("service_interest", "mentoria"),
        ("utm_source", "instagram"),
        ("utm_campaign", "liberdade"),
    ] {
        assert_eq!(joins[0].fields[field], expected, "{field}");
    }
    world.finish().await;
}

#[tokio::test]
async fn the_box_for_marketing_decides_about_marketing_alone() {
    for (consent, ticked, expected) in [
        (Value::Null, json!(true), [Some(Decision::Granted), Some(Decision::Granted), None]),
        (Value::Null, json!(false), [Some(Decision::Denied), Some(Decision::Granted), None]),
        (Value::Null, Value::Null, [None, Some(Decision::Granted), None]),
        (
            json!({"ads": true, "analytics": false}),
            json!(true),
            [Some(Decision::Granted), Some(Decision::Denied), Some(Decision::Granted)],
        ),
    ] {
        let world = World::plan()
            .with("DESTINATIONS", "none")
            .with("CONSENT_WHEN_ABSENT", "analytics,marketing_email")
            .start()
            .await;
        let mut body = contact_body();
        body["consent"] = consent.clone();
        body["data"]["marketing_consent"] = ticked.clone();
        assert_eq!(world.post(CONTACT, &[], &body).await.status, 200);
        let consents = world.journey(lead()).await.lead.consents;
        let found = [Purpose::MarketingEmail, Purpose::Analytics, Purpose::Ads]
            .map(|purpose| consents.get(purpose).map(|grant| grant.decision));
        assert_eq!(found, expected, "{consent} {ticked}");
        let contact = consents.get(Purpose::Contact).unwrap();
        assert_eq!((contact.decision, contact.how), (Decision::Granted, How::Contract));
        world.finish().await;
    }
}

#[tokio::test]
async fn without_the_box_mailerlite_gets_nothing_and_the_crm_everything() {
    let world = World::plan().with("DESTINATIONS", "crm,mailerlite").start().await;
    world.looks_at_destinations();
    let mut body = contact_body();
    body["data"]["marketing_consent"] = json!(false);
    let response = world.post(CONTACT, &[], &body).await;
    assert_eq!(response.json()["integrations"]["planned"], json!(["crm"]));
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
    assert_eq!(world.requests("mailerlite"), Vec::<String>::new());
    world.finish().await;
}

#[tokio::test]
async fn what_no_person_typed_refuses_no_form_and_is_noted() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut body = contact_body();
    for name in ["lead_id", "page_url", "utm_params", "timestamp"] {
        body[name] = json!(["?"]);
    }
    assert_eq!(world.post(CONTACT, &[], &body).await.status, 200);
    let journey = world.journey(derived()).await;
    let mut dropped = journey.events[0].data.dropped().to_vec();
    dropped.sort();
    assert_eq!(dropped, ["lead_id", "page_url", "timestamp", "utm_params"]);
    world.finish().await;
}

#[tokio::test]
async fn a_browser_is_sent_on_and_a_script_gets_json() {
    let thanks = "https://www.example.com/obrigada";
    let world =
        World::plan().with("THANK_YOU_URL", thanks).with("DESTINATIONS", "none").start().await;
    let form = b"name=Ana&email=ana%40example.com&message=Oi&marketing_consent=on&utm_source=ig";
    for (accept, status) in [(BROWSER, 303), (("accept", "*/*"), 200)] {
        let response = world.send(CONTACT, Method::POST, &[HTML_FORM, accept], form).await;
        assert_eq!(response.status, status, "{accept:?}");
        assert_eq!(response.header("location"), (status == 303).then_some(thanks));
        let again = world.send(CONTACT, Method::POST, &[HTML_FORM, accept], form).await;
        assert_eq!(again.body, response.body, "the same response again");
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
    let journey = world.journey(derived()).await;
    let EventData::Form(FormEvent::ContactSubmitted(contact)) = &journey.events[0].data else {
        panic!("{journey:?}")
    };
    assert_eq!(contact.form.marketing, Some(Decision::Granted));
    assert_eq!(contact.form.origin.attribution.utm.source.as_ref().unwrap().expose(), "ig");
    world.finish().await;
}

#[tokio::test]
async fn a_browser_is_shown_a_page_where_the_site_has_none() {
    let world = World::plan()
        .with("DESTINATIONS", "none")
        .with("CALENDLY_EVENT_URL", "https://calendly.com/amanda/diagnostico")
        .start()
        .await;
    let headers = [HTML_FORM, BROWSER, ("accept-language", "pt-BR,pt;q=0.9")];
    let post = async |function, form: &str| {
        let response = world.send(function, Method::POST, &headers, form.as_bytes()).await;
        assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"), "{form}");
        assert!(response.header("content-security-policy").unwrap().contains("default-src 'none'"));
        (response.status, String::from_utf8(response.body.to_vec()).unwrap())
    };
    let good = "name=Ana&email=ana%40example.com&message=Oi";
    let (status, page) = post(CONTACT, good).await;
    assert_eq!(status, 200);
    assert!(page.contains("<h1>Obrigado! Recebemos a sua mensagem.</h1>"), "{page}");
    assert_eq!(post(CONTACT, good).await, (200, page), "a duplicate gets the same page");

    let (status, page) = post(CONTACT, "name=Ana&email=ana%40&marketing_consent=%3Cb%3E").await;
    assert_eq!(status, 422);
    for text in ["<strong>E-mail</strong>: ", "<strong>Mensagem</strong>: ", "Volte ao formulário"]
    {
        assert!(page.contains(text), "{text} is missing from {page}");
    }
    assert!(!page.contains("<b>"), "nothing of what was sent stands in the page");

    let qualified = "name=Ana&email=ana%40example.com&phone=11987654321&service=mentoria-grupo\
                     &budget_range=acima-10000&preferred_dates=2031-06-02%2C2031-06-03";
    let (status, page) = post("consultation-booking", qualified).await;
    assert_eq!(status, 200);
    assert!(page.contains("Escolha um horário"), "{page}");
    assert!(page.contains("?email=ana%40example.com&#38;"), "the address is escaped: {page}");

    // A browser shows a person what is wrong with the form's encoding, too.
    for kind in ["multipart/form-data; boundary=x", "text/plain"] {
        let headers = [("content-type", kind), BROWSER];
        let response = world.send(CONTACT, Method::POST, &headers, b"name=Ana").await;
        assert_eq!(
            (response.status, response.header("content-type")),
            (415, Some("text/html; charset=utf-8"))
        );
    }
    // Who names no type, or another one, gets JSON as before.
    for accept in [&[HTML_FORM][..], &[HTML_FORM, ("accept", "application/json")]] {
        let response = world.send(CONTACT, Method::POST, accept, b"name=Ana").await;
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
    }
    world.finish().await;
}

/// A lead whose id anybody can learn keeps what its first form of a kind said. What a later one says is for
/// whoever reads the note.
#[tokio::test]
async fn a_stranger_who_knows_an_e_mail_changes_nothing_and_their_message_arrives() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.looks_at_destinations();
    let mut body = contact_body();
    body["lead_id"] = Value::Null;
    world.post(CONTACT, &[], &body).await;
    body["data"]["name"] = json!("Somebody Else");
    body["data"]["phone"] = json!("(21) 98765-4321");
    body["data"]["message"] = json!("Call me");
    body["data"]["marketing_consent"] = json!(false);
    world.post(CONTACT, &[], &body).await;
    world.drain().await;
    let journey = world.journey(derived()).await;
    assert_eq!(journey.events.len(), 2);
    assert_eq!(journey.lead.latest.name.as_ref().unwrap().expose(), "Ana Exemplo");
    assert_eq!(journey.lead.latest.phone.as_ref().unwrap().as_str(), "+5511987654321");
    let marketing = journey.lead.consents.get(Purpose::MarketingEmail).unwrap();
    assert_eq!(marketing.decision, Decision::Granted);
    let notes = world.providers.received("crm");
    let notes: Vec<_> = notes.iter().filter_map(|one| one.body["note"].as_str()).collect();
    assert_eq!(notes.len(), 2);
    assert!(
        notes.iter().any(|note| note.contains("name: Somebody Else") && note.contains("+5521"))
    );
    world.finish().await;
}

#[tokio::test]
async fn the_site_s_forms_and_the_landing_page_s_make_one_lead() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    world.submit(&lead_body()).await;
    world.pass(1);
    world.post(CONTACT, &[], &contact_body()).await;
    world.pass(1);
    let mut newsletter = newsletter_body();
    newsletter["lead_id"] = json!(LEAD);
    world.post(NEWSLETTER, &[], &newsletter).await;
    let journey = world.journey(lead()).await;
    let names: Vec<_> = journey.events.iter().map(|event| event.data.name()).collect();
    assert_eq!(names, ["lead_submitted", "contact_submitted", "newsletter_requested"]);
    let facts = &journey.lead.facts;
    let first = &journey.lead.first_forms;
    assert!(facts.submitted_at.is_some() && first.of(SiteForm::Contact).is_some());
    assert!(first.of(SiteForm::Newsletter).is_some());
    world.finish().await;
}

/// Each kind of form may be the first of its kind of a lead, but only the first form of all says who the person is.
#[tokio::test]
async fn the_first_form_of_another_kind_changes_no_consent_and_no_name() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["consent"] = json!({"marketing": false, "analytics": false, "ads": false});
    world.submit(&body).await;
    let before = world.journey(derived()).await.lead;
    let boxes = json!({"marketing": true, "analytics": true, "ads": true, "whatsapp": true});
    for (function, mut body) in [(CONTACT, contact_body()), (CONSULTATION, consultation_body())] {
        body["lead_id"] = Value::Null;
        body["consent"] = boxes.clone();
        body["data"]["name"] = json!("Somebody Else");
        body["data"]["company"] = json!("Another Ltda");
        world.pass(10);
        assert_eq!(world.post(function, &[], &body).await.status, 200);
    }
    let form = json!({"email": EMAIL, "marketing_consent": true, "consent": boxes});
    world.post(NEWSLETTER, &[], &form).await;
    let after = world.journey(derived()).await.lead;
    assert_eq!(after.consents, before.consents);
    assert_eq!(after.latest.name, before.latest.name);
    assert_eq!(after.latest.company.unwrap().expose(), "Another Ltda", "no form said it before");
    let first = &after.first_forms;
    assert!(first.of(SiteForm::Contact).is_some() && first.of(SiteForm::Newsletter).is_some());
    assert!(after.latest.consultation_score.is_some(), "what only its kind asks is added");
    world.finish().await;
}

/// A newsletter asks for an e-mail alone, so the name comes with the next form.
#[tokio::test]
async fn the_first_message_names_who_signed_up_for_the_newsletter_without_a_name() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    world.post(NEWSLETTER, &[], &json!({"email": EMAIL, "marketing_consent": true})).await;
    assert_eq!(world.journey(derived()).await.lead.latest.name, None);
    let mut body = contact_body();
    body["lead_id"] = Value::Null;
    for name in ["Ana Exemplo", "Somebody Else"] {
        body["data"]["name"] = json!(name);
        world.pass(10);
        world.post(CONTACT, &[], &body).await;
        let latest = world.journey(derived()).await.lead.latest;
        assert_eq!(latest.name.unwrap().expose(), "Ana Exemplo");
        assert!(latest.phone.is_some());
    }
    world.finish().await;
}

#[tokio::test]
async fn a_later_message_replaces_nothing_in_the_crm_s_record() {
    let world = World::plan().with("DESTINATIONS", "crm").with("CRM_KIND", "leads").start().await;
    world.looks_at("crm");
    let mut body = contact_body();
    body["lead_id"] = Value::Null;
    world.post(CONTACT, &[], &body).await;
    world.drain().await;
    world.pass(60);
    body["form_type"] = json!("other");
    body["data"]["service_interest"] = json!("workshop");
    body["data"]["message"] = json!("Call me");
    world.post(CONTACT, &[], &body).await;
    world.drain().await;
    let sent = world.providers.received("crm");
    let records: Vec<_> = sent.iter().filter(|one| one.body["contact"].is_object()).collect();
    let [first, second] = records.as_slice() else { panic!("{sent:?}") };
    assert_eq!(first.body["message"], "Olá <b>Amanda</b>,\nquanto custa?");
    assert_eq!(second.body["message"], Value::Null);
    assert_eq!(second.body["form_type"], "lead");
    assert_eq!(second.body["service_interest"], "mentoria");
    world.finish().await;
}

#[tokio::test]
async fn a_honeypot_among_what_was_typed_is_one_too() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut robot = contact_body();
    robot["data"]["website"] = json!("https://spam.example");
    assert_eq!(world.post(CONTACT, &[], &robot).await.status, 200);
    assert!(world.items("LEAD#").await.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn a_robot_gets_the_same_response_and_its_message_waits_for_a_person() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.looks_at("crm");
    let mut robot = contact_body();
    robot["website"] = json!("https://spam.example");
    let response = world.post(CONTACT, &[], &robot).await;
    assert_eq!(response.status, 200);
    let id = response.json()["submission_id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("form:contact-submit:"), "{id}");
    assert!(world.items("LEAD#").await.is_empty());
    let listed = world.quarantine(CONTACT, &json!({"action": "list"})).await.json();
    let id = listed["requests"][0]["id"].clone();
    let release = json!({"action": "release", "id": id});
    let released = world.quarantine(CONTACT, &release).await;
    assert_eq!(released.status, 200, "{released:?}");
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
    world.finish().await;
}
