//! The questionnaire: its response, what it changes, what each destination gets of it, and what it
//! refuses.

use funil_core::event::{EventData, FormEvent};
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::world::{
    DESTINATIONS, EMAIL, LEAD, Response, World, lead, lead_body, questionnaire_body,
};

const PAGE: &str = "https://calendly.com/ana/call?month=2031-05";
const LINK: &str = "https://calendly.com/ana/call?month=2031-05&email=ana%40example.com\
                    &utm_content=6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
const PORTUGUESE: (&str, &str) = ("accept-language", "pt-BR,pt;q=0.9,en;q=0.8");

/// The booking link with the lead's name in it.
fn named_link() -> String {
    format!("{LINK}&name=Ana%20Exemplo")
}

/// A world with a lead whose deliveries are all settled.
async fn with_lead(destinations: &str) -> World {
    let world = World::plan()
        .with("DESTINATIONS", destinations)
        .with("CALENDLY_EVENT_URL", PAGE)
        .start()
        .await;
    world.submit(&lead_body()).await;
    world.drain().await;
    for destination in destinations.split(',') {
        world.looks_at(destination);
    }
    world
}

/// The same questionnaire with fewer points: 19.
fn hesitant_body() -> Value {
    let mut body = questionnaire_body();
    body["responses"] = json!({"commitment": 3, "urgency": "90-dias", "weeklyHours": 4, "team": 2});
    body
}

/// The body of the last request with a body that a provider received.
fn last_body(world: &World, provider: &str) -> Value {
    let received = world.providers.received(provider);
    received.iter().rev().find(|request| !request.body.is_null()).unwrap().body.clone()
}

#[tokio::test]
async fn a_ready_lead_gets_the_link_to_book() {
    let world = with_lead(DESTINATIONS).await;
    let requests_before = world.providers.all_received().len();
    let response = world.answer_questionnaire(&questionnaire_body()).await;
    assert_eq!(response.status, 200, "{response:?}");
    let expected = json!({
        "success": true, "transformationScore": 76, "nextStep": "calendar_booking",
        "bookingUrl": LINK,
    });
    assert_eq!(response.json(), expected);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(world.providers.all_received().len(), requests_before, "no provider gets a request");

    let journey = world.journey(lead()).await;
    assert_eq!(journey.lead.stage().name(), "questionnaire_complete");
    assert_eq!(journey.lead.facts.questionnaire_at, Some(world.now()));
    let shown = funil_dev::cli::journey::to_json(&journey);
    assert_eq!(shown["lead"]["readinessScore"]["total"], 76);
    let first = json!({"criterion": "commitment", "answer": 9, "points": 30, "max": 30});
    assert_eq!(shown["lead"]["readinessScore"]["breakdown"][0], first);
    assert!(
        funil_dev::cli::journey::to_text(&journey).contains("questionnaire score 76  https://")
    );
    let score = journey.lead.latest.readiness_score.unwrap();
    assert_eq!((score.total, score.rules.as_str()), (76, "readiness-2026-11"));
    assert_eq!((score.breakdown["commitment"], score.breakdown["decisionMaker"]), (30, 0));
    assert_eq!(journey.lead.latest.name.unwrap().expose(), "Ana Exemplo");
    let EventData::Form(FormEvent::QuestionnaireCompleted(completed)) = &journey.events[1].data
    else {
        panic!("{:?}", journey.events[1].data);
    };
    assert_eq!(completed.form.answer("commitment"), Some(&funil_core::score::Answer::Number(9)));
    assert!(journey.events[1].id.to_string().starts_with("form:questionnaire-submit:"));

    world.drain().await;
    let states = world.states(lead()).await;
    assert_eq!(states.len(), 10);
    let delivered = states.iter().filter(|state| state.ends_with(" delivered")).count();
    assert_eq!(delivered, 9, "all but Meta's: {states:?}");
    world.finish().await;
}

#[tokio::test]
async fn every_kind_of_crm_gets_the_stage_the_score_and_the_answers() {
    for kind in ["webhook", "contacts", "leads"] {
        let world = World::plan()
            .with("DESTINATIONS", "crm")
            .with("CRM_KIND", kind)
            .with("CALENDLY_EVENT_URL", PAGE)
            .start()
            .await;
        world.looks_at("crm");
        world.submit(&lead_body()).await;
        world.answer_questionnaire(&questionnaire_body()).await;
        world.drain().await;
        let sent = last_body(&world, "crm");
        let contact = world.providers.crm_contact(LEAD).unwrap();
        let fields = &contact["custom_fields"];
        assert_eq!(fields["stage"], "questionnaire_complete", "{kind}: {sent}");
        assert_eq!(fields["transformation_readiness"], 76);
        assert_eq!(fields["transformation_score_breakdown"]["urgency"], 15);
        let mut responses = questionnaire_body()["responses"].clone();
        responses["decisionMaker"] = json!("");
        assert_eq!(fields["detailed_responses"], responses);
        assert_eq!(fields["booking_url"], named_link());
        assert_eq!(fields["amanda_match_score"], 76, "the whole lead is sent");
        let triggers = world.providers.crm_triggers(LEAD);
        assert_eq!(
            triggers,
            [("standard_nurture".to_owned(), 1)].into(),
            "only the form starts one"
        );
        world.finish().await;
    }
}

#[tokio::test]
async fn mailerlite_gets_its_fields_and_no_further_group_is_joined() {
    let world = with_lead("mailerlite").await;
    let joins = world.providers.group_joins().len();
    world.answer_questionnaire(&questionnaire_body()).await;
    world.drain().await;
    let fields = world.providers.subscriber(EMAIL).unwrap()["fields"].clone();
    for (name, value) in [
        ("questionnaire_completed", "yes"),
        ("transformation_readiness", "76"),
        ("transformation_stage", "questionnaire_complete"),
        ("booking_url", &named_link()),
    ] {
        assert_eq!(fields[name], value, "{name}");
    }
    assert_eq!(world.providers.group_joins().len(), joins);
    assert!(world.states(lead()).await.contains(&"mailerlite/profile delivered".to_owned()));
    world.finish().await;
}

#[tokio::test]
async fn ga4_and_segment_get_their_events_without_free_text() {
    let world = with_lead("ga4,segment").await;
    world.pass(3600);
    let mut body = questionnaire_body();
    body["responses"]["qzunknown"] = json!("qzfree");
    world.answer_questionnaire(&body).await;
    let answered_at = world.now();
    world.drain().await;

    let events = world.providers.ga4_events();
    assert_eq!(events.len(), 2);
    let event = &events[1];
    assert_eq!(event.name, "questionnaire_completed");
    assert_eq!(event.client_id, "123456789.1767225600", "the browser that sent the form");
    assert_eq!(event.timestamp_micros, Some(answered_at.as_microsecond()));
    let params = json!({
        "engagement_time_msec": 100, "lead_id": LEAD, "transformation_score": 76,
        "next_step": "calendar_booking",
    });
    assert_eq!(json!(event.params), params);

    let batch = last_body(&world, "segment");
    assert_eq!(batch["batch"][0]["traits"]["stage"], "questionnaire_complete");
    assert_eq!(batch["batch"][1]["event"], "Questionnaire Completed");
    let properties = json!({
        "transformationScore": 76, "nextStep": "calendar_booking", "commitment": 9,
        "urgency": "30-dias", "investmentRange": "5000-10000", "weeklyHours": 5,
        "previousAttempts": "curso",
    });
    assert_eq!(batch["batch"][1]["properties"], properties);
    for sent in [event.request.to_string(), batch.to_string()] {
        for personal in ["Trabalhar", "qzunknown", "qzfree", "calendly"] {
            assert!(!sent.contains(personal), "{personal} in {sent}");
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn below_the_threshold_there_is_no_link_and_at_it_there_is() {
    let world = with_lead("crm").await;
    let response = world.answer_questionnaire(&hesitant_body()).await;
    let nurture = json!({"success": true, "transformationScore": 19, "nextStep": "nurture"});
    assert_eq!(response.json(), nurture);
    for (threshold, next_step) in [("19", "calendar_booking"), ("20", "nurture")] {
        let other = world.deployment(&[("BOOKING_THRESHOLD", threshold)]);
        world.pass(600);
        let response = other.answer_questionnaire(&hesitant_body()).await;
        assert_eq!(response.json()["nextStep"], next_step);
        assert_eq!(response.json().get("bookingUrl").is_some(), next_step == "calendar_booking");
    }
    let without_page = world.deployment(&[("CALENDLY_EVENT_URL", "")]);
    let ready = without_page.answer_questionnaire(&questionnaire_body()).await.json();
    assert_eq!(ready["nextStep"], "calendar_booking");
    assert_eq!(ready.get("bookingUrl"), None);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_second_questionnaire_updates_the_lead_and_removes_its_link() {
    let world = with_lead("crm,mailerlite").await;
    world.answer_questionnaire(&questionnaire_body()).await;
    let first_at = world.now();
    world.drain().await;
    world.advance(SignedDuration::from_hours(1)).await;
    let second = world.answer_questionnaire(&hesitant_body()).await;
    assert_eq!((second.status, &second.json()["transformationScore"]), (200, &json!(19)));
    world.drain().await;

    let journey = world.journey(lead()).await;
    assert_eq!(journey.events.len(), 3, "each has an event of its own");
    assert_eq!(journey.lead.facts.questionnaire_at, Some(first_at), "a fact is written once");
    let latest = &journey.lead.latest;
    assert_eq!(latest.readiness_score.as_ref().unwrap().total, 19);
    assert!(latest.booking_url.is_none());
    assert_eq!(latest.responses.as_ref().unwrap().expose().len(), 4, "no earlier answer is left");

    let fields = &world.providers.crm_contact(LEAD).unwrap()["custom_fields"];
    assert_eq!(
        (&fields["booking_url"], &fields["transformation_readiness"]),
        (&json!(""), &json!(19))
    );
    let responses = &fields["detailed_responses"];
    assert_eq!((&responses["commitment"], &responses["investmentRange"]), (&json!(3), &json!("")));
    let subscriber = world.providers.subscriber(EMAIL).unwrap();
    assert_eq!(subscriber["fields"]["booking_url"], "");
    assert_eq!(subscriber["fields"]["transformation_readiness"], "19");
    world.finish().await;
}

#[tokio::test]
async fn an_unknown_lead_and_another_email_get_the_same_response() {
    let world = with_lead("crm").await;
    let version = world.journey(lead()).await.lead.version;
    let mut unknown = questionnaire_body();
    unknown["leadId"] = json!("11111111-2222-4333-8444-555555555555");
    let mut stranger = questionnaire_body();
    stranger["email"] = json!("stranger@example.com");
    let unknown = world.answer_questionnaire(&unknown).await;
    let stranger = world.answer_questionnaire(&stranger).await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["code"], "lead_not_found");
    assert_eq!((stranger.status, &stranger.body), (unknown.status, &unknown.body));
    assert_eq!(stranger.headers, unknown.headers);

    let journey = world.journey(lead()).await;
    assert_eq!((journey.events.len(), journey.lead.version), (1, version));
    assert!(journey.lead.facts.questionnaire_at.is_none());
    assert_eq!(world.items("LEAD#11111111").await, [Value::Null; 0]);
    let receipts = world.items("RECEIPT#questionnaire-submit").await;
    assert_eq!(receipts, [Value::Null; 0], "a typing error can be corrected with the same key");
    world.finish().await;
}

#[tokio::test]
async fn the_response_reveals_nothing_of_the_lead() {
    let world = with_lead("crm").await;
    let response = world.answer_questionnaire(&questionnaire_body()).await;
    assert_eq!(response.json()["bookingUrl"], LINK);
    let shown = String::from_utf8(response.body.to_vec()).unwrap();
    for known in ["Ana", "98765", "consultoria", "instagram"] {
        assert!(!shown.contains(known), "{known} in {shown}");
    }
    // A page that knows the name may send it: the link gets it, and the lead does not change.
    let mut named = questionnaire_body();
    named["name"] = json!("Bia Outra");
    let response = world.answer_questionnaire(&named).await;
    assert_eq!(response.json()["bookingUrl"], format!("{LINK}&name=Bia%20Outra"));
    world.drain().await;
    assert_eq!(world.providers.crm_contact(LEAD).unwrap()["name"], "Ana Exemplo");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_questionnaires_at_once_count_once() {
    for headers in [vec![], vec![("idempotency-key", "\"8d1f6a52\"")]] {
        let world = with_lead("ga4,segment").await;
        let body = questionnaire_body();
        let requests = (0..10).map(|_| world.answer_questionnaire_with(&headers, &body));
        let responses: Vec<Response> = futures::future::join_all(requests).await;
        let replayed = |a: &&Response| a.header("idempotency-replayed") == Some("true");
        assert_eq!(responses.iter().filter(replayed).count(), 9);
        for response in &responses {
            assert_eq!((response.status, &response.body), (200, &responses[0].body));
        }
        assert_eq!(world.journey(lead()).await.events.len(), 2);
        world.drain().await;
        assert_eq!(world.providers.ga4_events().len(), 2);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_key_is_refused_for_other_content() {
    let world = with_lead("none").await;
    let key = [("idempotency-key", "abc")];
    let first = world.answer_questionnaire_with(&key, &questionnaire_body()).await;
    world.pass(60 * 60 * 23);
    let again = world.answer_questionnaire_with(&key, &questionnaire_body()).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let other = world.answer_questionnaire_with(&key, &hesitant_body()).await;
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(world.journey(lead()).await.events.len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn all_field_errors_come_at_once_in_the_callers_language_and_repeat_nothing_sent() {
    let world = with_lead("none").await;
    let body = json!({
        "leadId": "qzplanted", "email": "qzplanted",
        "responses": {
            "commitment": 11, "urgency": "qzplanted", "weeklyHours": "qzplanted",
            "mainGoal": "qzplanted".repeat(300), "qzplanted": "qzplanted",
        },
    });
    let response = world.answer_questionnaire_with(&[PORTUGUESE], &body).await;
    assert_eq!(response.status, 422);
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let problem = response.json();
    let expected = [
        ("leadId", "invalid_uuid", "Envie um UUID."),
        ("email", "invalid_email", "Informe um e-mail válido."),
        ("responses.commitment", "out_of_range", "Informe um número de 1 a 10."),
        ("responses.urgency", "unknown_choice", "Use um dos valores documentados."),
        ("responses.weeklyHours", "wrong_type", "Envie um número."),
        ("responses.mainGoal", "too_long", "Use no máximo 2000 caracteres."),
    ];
    let expected: Vec<Value> = expected
        .iter()
        .map(|(field, code, message)| json!({"field": field, "code": code, "message": message}))
        .collect();
    assert_eq!(problem["errors"], json!(expected));
    assert!(!String::from_utf8_lossy(&response.body).contains("qzplanted"));
    let empty = world.answer_questionnaire(&json!({"leadId": LEAD, "email": EMAIL})).await;
    assert_eq!(empty.json()["errors"][0]["field"], "responses");
    world.finish().await;
}

#[tokio::test]
async fn unknown_questions_are_kept_and_not_scored() {
    let world = with_lead("crm").await;
    let mut body = questionnaire_body();
    body["responses"]["favouriteTool"] = json!("agenda de papel");
    body["responses"]["teamSize"] = json!(3);
    let response = world.answer_questionnaire(&body).await;
    assert_eq!(response.json()["transformationScore"], 76);
    world.drain().await;
    let contact = world.providers.crm_contact(LEAD).unwrap();
    let responses = &contact["custom_fields"]["detailed_responses"];
    assert_eq!(responses["favouriteTool"], "agenda de papel");
    assert_eq!(responses["teamSize"], 3);
    world.finish().await;
}

#[tokio::test]
async fn a_plain_html_form_is_understood_and_redirected() {
    let world = with_lead("none").await;
    let body = format!(
        "leadId={LEAD}&email=ana%40example.com&responses%5Bcommitment%5D=9\
         &responses%5Burgency%5D=imediata&responses%5BinvestmentRange%5D=acima-10000&website="
    );
    let html = [("content-type", "application/x-www-form-urlencoded")];
    let response = world.send("questionnaire-submit", Method::POST, &html, body.as_bytes()).await;
    assert_eq!((response.status, &response.json()["transformationScore"]), (200, &json!(70)));
    world.pass(600);
    let site = world.deployment(&[("THANK_YOU_URL", "https://www.example.com/obrigado")]);
    let response = site.send("questionnaire-submit", Method::POST, &html, body.as_bytes()).await;
    assert_eq!((response.status, response.header("location")), (303, Some(LINK)));
    let short = format!("leadId={LEAD}&email=ana%40example.com&responses[commitment]=5");
    let response = site.send("questionnaire-submit", Method::POST, &html, short.as_bytes()).await;
    let thanks = Some("https://www.example.com/obrigado");
    assert_eq!((response.status, response.header("location")), (303, thanks));
    world.finish().await;
}

#[tokio::test]
async fn denied_purposes_are_not_sent_and_a_questionnaire_assumes_no_consent() {
    let world = World::plan().with("CALENDLY_EVENT_URL", PAGE).start().await;
    for provider in ["crm", "mailerlite"] {
        world.looks_at(provider);
    }
    let mut body = lead_body();
    body["consent"] = json!({"marketing": true, "analytics": false});
    world.submit(&body).await;
    world.pass(1);
    world.answer_questionnaire(&questionnaire_body()).await;
    world.drain().await;
    let states = world.states(lead()).await;
    let expected = [
        "crm/lead delivered",
        "crm/lead delivered",
        "ga4/event skipped no_consent_analytics",
        "mailerlite/marketing delivered",
        "mailerlite/profile delivered",
        "mailerlite/questionnaire delivered",
        "meta/lead skipped no_consent_ads",
        "segment/event skipped no_consent_analytics",
    ];
    assert_eq!(states, expected);
    world.finish().await;
}

#[tokio::test]
async fn consent_given_in_the_questionnaire_counts() {
    let world = with_lead("crm,segment").await;
    let mut body = questionnaire_body();
    body["consent"] = json!({"analytics": false});
    world.answer_questionnaire(&body).await;
    world.drain().await;
    let states = world.states(lead()).await;
    let expected = ["crm/lead delivered", "crm/lead delivered", "segment/event delivered"];
    assert_eq!(states, expected, "nothing is planned for a purpose that was just denied");
    let form = &world.journey(lead()).await.consents[1].form;
    assert_eq!(form, "questionnaire-submit");
    world.finish().await;
}

#[tokio::test]
async fn it_has_the_same_checks_as_every_form() {
    let world = with_lead("none").await;
    let origin = ("origin", "https://www.example.com");
    let preflight = world.send("questionnaire-submit", Method::OPTIONS, &[origin], b"").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some(origin.1));
    let got = world.send("questionnaire-submit", Method::GET, &[], b"").await;
    assert_eq!((got.status, got.header("allow")), (405, Some("POST, OPTIONS")));
    let text = [("content-type", "text/plain")];
    let text = world.send("questionnaire-submit", Method::POST, &text, b"{}").await;
    assert_eq!(text.status, 415);
    let mut large = questionnaire_body();
    large["padding"] = json!("x".repeat(64 * 1024));
    assert_eq!(world.answer_questionnaire(&large).await.status, 413);
    let down = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")]);
    let unavailable = down.answer_questionnaire(&questionnaire_body()).await;
    assert_eq!((unavailable.status, unavailable.header("retry-after")), (503, Some("5")));

    let mut robot = questionnaire_body();
    robot["website"] = json!("https://spam.example");
    let person = world.answer_questionnaire(&questionnaire_body()).await;
    let robot = world.answer_questionnaire(&robot).await;
    let usual = person.json();
    assert_eq!(usual["bookingUrl"], LINK);
    assert_eq!(
        (robot.status, robot.json()),
        (200, usual),
        "the usual response, without anybody's name"
    );
    assert_eq!(world.items("QUARANTINE#questionnaire-submit").await.len(), 1);
    assert_eq!(world.journey(lead()).await.events.len(), 2);

    // The text above counted at a tenth of the price, so the tenth submission is a little too early.
    for _ in 0..7 {
        assert_eq!(world.answer_questionnaire(&questionnaire_body()).await.status, 200);
    }
    let refused = world.answer_questionnaire(&questionnaire_body()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(world.submit(&lead_body()).await.status, 200, "each form has a limit of its own");
    world.finish().await;
}

#[tokio::test]
async fn an_accepted_questionnaire_costs_two_round_trips() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan()
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .with("DESTINATIONS", "none")
        .with("CALENDLY_EVENT_URL", PAGE)
        .start()
        .await;
    world.submit(&lead_body()).await;
    world.answer_questionnaire(&questionnaire_body()).await;
    world.pass(60);
    proxy.take();
    assert_eq!(world.answer_questionnaire(&hesitant_body()).await.status, 200);
    let requests = proxy.take().requests;
    // The totals are written beside, once a minute.
    let expected = [("TransactWriteItems".to_owned(), 1), ("UpdateItem".to_owned(), 2)];
    assert_eq!(requests, expected.into());
    world.finish().await;
}
