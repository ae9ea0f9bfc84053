//! A lead, from the form to what each destination received.

use funil_core::clock::after;
use funil_core::contact::Email;
use funil_core::contact::consent::{Decision, How, Purpose};
use funil_core::delivery::{AttemptOutcome, State};
use funil_core::event::{EventData, FormEvent};
use funil_core::id::LeadId;
use funil_core::score::amanda::ClientScore;
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{EMAIL, LEAD, World, lead, lead_body};

const ALL_DELIVERED: [&str; 6] = [
    "crm/lead delivered",
    "ga4/event delivered",
    "mailerlite/marketing delivered",
    "mailerlite/questionnaire delivered",
    "meta/lead skipped no_consent_ads",
    "segment/event delivered",
];

#[tokio::test]
async fn the_response_has_the_id_and_the_score_of_the_lead() {
    let world = World::new().await;
    world.expect_one_lead();
    let response = world.submit(&lead_body()).await;
    assert_eq!(response.status, 200);
    let mut said = response.json();
    let event_id = said.as_object_mut().unwrap().remove("eventId").unwrap();
    let expected = json!({"success": true, "leadId": LEAD, "amandaScore": 76, "tier": "medium"});
    assert_eq!(said, expected);
    let journey = world.journey(lead()).await;
    let meta = journey.deliveries.iter().find(|one| one.destination == "meta").unwrap();
    assert_eq!(event_id, meta.id.to_string(), "Meta knows the page's own event by it");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("idempotency-replayed"), None);
    assert!(
        world.providers.all_received().is_empty(),
        "no provider gets a request before the response"
    );
    world.drain().await;
    assert_eq!(world.states(lead()).await, ALL_DELIVERED);
    world.finish().await;
}

#[tokio::test]
async fn the_crm_holds_the_contact_and_started_its_automation_once() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.expect_requests("crm", 2);
    world.submit(&lead_body()).await;
    world.drain().await;
    let contact = world.providers.crm_contact(LEAD).unwrap();
    assert_eq!(contact["name"], "Ana Exemplo");
    assert_eq!(contact["email"], EMAIL);
    assert_eq!(contact["phone"], "+5511987654321");
    assert_eq!(contact["source"], "instagram");
    assert_eq!(
        contact["tags"],
        json!(["landing_page_lead", "mentoria_seja_livre", "amanda_score_medium", "source_hero"])
    );
    let fields = &contact["custom_fields"];
    assert_eq!(fields["amanda_match_score"], 76);
    assert_eq!(fields["business_type"], "consultoria");
    assert_eq!(fields["monthly_revenue"], "10000-30000");
    assert_eq!(fields["work_hours_daily"], "10");
    assert_eq!(fields["main_struggle"], "tempo");
    assert_eq!(fields["stage"], "lead");
    assert_eq!(world.providers.crm_triggers(LEAD), [("standard_nurture".to_owned(), 1)].into());
    world.finish().await;
}

#[tokio::test]
async fn a_lead_of_80_points_starts_the_high_priority_automation() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.expect_requests("crm", 2);
    let mut body = lead_body();
    body["monthlyRevenue"] = json!(150_000);
    assert_eq!(world.submit(&body).await.json()["tier"], "high");
    world.drain().await;
    let triggers = world.providers.crm_triggers(LEAD);
    assert_eq!(triggers, [("high_priority_follow_up".to_owned(), 1)].into());
    world.finish().await;
}

#[tokio::test]
async fn mailerlite_has_the_fields_before_each_group_is_joined() {
    let world = World::plan().with("DESTINATIONS", "mailerlite").start().await;
    world.expect_requests("mailerlite", 3);
    world.submit(&lead_body()).await;
    world.drain().await;
    let joins = world.providers.group_joins();
    let mut groups: Vec<&str> = joins.iter().map(|join| join.group.as_str()).collect();
    groups.sort_unstable();
    assert_eq!(groups, ["101", "102"]);
    for join in &joins {
        assert_eq!(join.email, EMAIL);
        assert_eq!(join.status, "active");
        for (name, value) in [
            ("name", "Ana Exemplo"),
            ("phone", "+5511987654321"),
            ("lead_id", LEAD),
            ("amanda_match_score", "76"),
            ("business_type", "consultoria"),
            ("traffic_source", "instagram"),
            ("transformation_stage", "lead"),
        ] {
            assert_eq!(join.fields[name], value, "{name} at the join of {}", join.group);
        }
    }
    let questionnaire = joins.iter().find(|join| join.group == "101").unwrap();
    assert_eq!(
        questionnaire.fields["questionnaire_url"],
        format!("https://www.example.com/questionario?lead_id={LEAD}")
    );
    // The deadline is 48 hours after the submission. Both times are São Paulo's.
    assert_eq!(questionnaire.fields["signup_date"], "2031-05-05 09:00:00");
    assert_eq!(questionnaire.fields["questionnaire_deadline"], "2031-05-07 09:00:00");
    let sent_a_status = |body: &Value| body.get("status").is_some();
    let received = world.providers.received("mailerlite");
    assert!(!received.iter().any(|request| sent_a_status(&request.body)), "nobody is resubscribed");
    world.finish().await;
}

#[tokio::test]
async fn a_lead_joins_the_configured_groups_and_leaves_the_tier_it_no_longer_has() {
    let groups = json!({
        "questionnaire": "101", "marketing": "102", "landing_page_leads": "103",
        "amanda_score_high": "104", "amanda_score_medium": "105", "amanda_score_low": "106",
        "business_type_consultoria": "107", "business_type_saude": "108",
    });
    let world = World::plan()
        .with("DESTINATIONS", "mailerlite")
        .with("MAILERLITE_GROUPS", &groups.to_string())
        .with("MAILERLITE_FIELDS", r#"{"traffic_source":"origem","transformation_stage":null}"#)
        .start()
        .await;
    world.providers.make_fields(["origem"]);
    world.looks_at("mailerlite");
    let groups_now = || {
        let subscriber = world.providers.subscriber(EMAIL).unwrap();
        let groups = subscriber["groups"].as_array().unwrap();
        groups.iter().map(|group| group["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(groups_now(), ["101", "102", "103", "105", "107"]);
    let subscriber = world.providers.subscriber(EMAIL).unwrap();
    assert_eq!(subscriber["fields"]["origem"], "instagram");
    assert_eq!(subscriber["fields"]["transformation_stage"], Value::Null);
    let requests = world.providers.received("mailerlite");
    for joined in
        requests.iter().filter(|one| one.method == "POST" && one.path.contains("/groups/"))
    {
        assert_eq!(joined.header("content-length"), Some("2"), "{joined:?}");
        assert_eq!(joined.header("content-type"), Some("application/json"), "{joined:?}");
    }
    // The same person again, with answers that are worth less.
    world.pass(60);
    let mut body = lead_body();
    body["monthlyRevenue"] = json!(0);
    body["workHoursDaily"] = json!(2);
    body["mainStruggle"] = json!("outro");
    world.submit(&body).await;
    world.drain().await;
    assert_eq!(groups_now(), ["101", "102", "103", "106", "107"]);
    let states = world.states(lead()).await;
    assert!(states.iter().all(|state| state.ends_with(" delivered")), "{states:?}");
    world.finish().await;
}

#[tokio::test]
async fn ga4_counts_one_generate_lead_of_the_persons_browser() {
    let world = World::plan().with("DESTINATIONS", "ga4").start().await;
    world.expect_requests("ga4", 1);
    let submitted_at = world.now();
    world.submit(&lead_body()).await;
    world.pass(3600);
    world.drain().await;
    let events = world.providers.ga4_events();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(event.name, "generate_lead");
    assert_eq!(event.client_id, "123456789.1767225600");
    assert_eq!(event.measurement_id, "G-TEST");
    assert_eq!(event.timestamp_micros, Some(submitted_at.as_microsecond()));
    assert_eq!(event.params["amanda_match_score"], 76);
    assert_eq!(event.params["amanda_tier"], "medium");
    assert_eq!(event.params["lead_id"], LEAD);
    assert_eq!(event.request["consent"]["ad_user_data"], "DENIED");
    let sent = event.request.to_string();
    for personal in [EMAIL, "Ana", "98765", "tempo"] {
        assert!(!sent.contains(personal), "{personal} went to GA4");
    }
    world.finish().await;
}

#[tokio::test]
async fn segment_identifies_the_person_and_tracks_the_submission() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    world.drain().await;
    let messages = world.providers.segment_messages();
    let kinds: Vec<_> = messages.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["identify", "track"]);
    assert_eq!(messages[0]["traits"]["email"], EMAIL);
    assert_eq!(messages[1]["properties"]["amandaScore"], 76);
    let delivery = world.delivery(lead(), "segment").await.id;
    for message in &messages {
        assert_eq!(message["userId"], LEAD);
        let id = message["messageId"].as_str().unwrap();
        assert!(id.starts_with(&delivery.to_string()), "its id begins with the delivery's");
    }
    world.finish().await;
}

#[tokio::test]
async fn the_journey_shows_everything_that_happened() {
    let world = World::new().await;
    world.expect_one_lead();
    let accepted_at = world.now();
    world.submit(&lead_body()).await;
    world.pass(2);
    world.drain().await;
    let journey = world.journey(lead()).await;
    assert_eq!(journey.lead.version, 1);
    assert_eq!(journey.lead.facts.submitted_at, Some(accepted_at));
    assert_eq!(journey.lead.latest.email, Some(Email::parse(EMAIL).unwrap()));
    let analytics = journey.lead.consents.get(Purpose::Analytics).unwrap();
    assert_eq!((analytics.decision, analytics.how), (Decision::Granted, How::Explicit));
    let [event] = &journey.events[..] else { panic!("one event") };
    assert!(event.id.as_str().starts_with("form:lead-submit:"), "{}", event.id);
    assert_eq!((event.occurred_at, event.accepted_at), (accepted_at, accepted_at));
    assert_eq!(event.data.name(), "lead_submitted");
    let [consent] = &journey.consents[..] else { panic!("one consent record") };
    assert_eq!(
        (&*consent.form, consent.policy_version.as_deref()),
        ("lead-submit", Some("2026-01"))
    );
    assert_eq!(
        consent.decisions.keys().collect::<Vec<_>>(),
        ["analytics", "contact", "marketing_email"]
    );
    // Who did not agree to ads has a delivery to Meta that says so.
    for delivery in journey.deliveries.iter().filter(|one| one.destination != "meta") {
        assert_eq!(delivery.event_id, event.id);
        assert_eq!(delivery.settled_at(), Some(after(accepted_at, 2)));
        assert_eq!(delivery.attempts, 1);
        assert_eq!(delivery.claims, 0);
        let settled = State::Delivered { at: after(accepted_at, 2), reason: None };
        assert_eq!(delivery.state, settled);
        let [attempt] = &delivery.log[..] else { panic!("one attempt") };
        assert_eq!((&attempt.outcome, &attempt.reason), (&AttemptOutcome::Delivered, &None));
        assert!(attempt.status.is_some_and(|status| (200..300).contains(&status)));
    }
    world.finish().await;
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let world = World::new().await;
    world.expect_one_lead();
    let mut body = lead_body();
    body["amandaTier"] = json!("high");
    body["__proto__"] = json!({"admin": true});
    body["nested"] = json!({"deeply": [1, 2, {"unknown": null}]});
    assert_eq!(world.submit(&body).await.lead(), lead());
    world.drain().await;
    assert_eq!(world.states(lead()).await, ALL_DELIVERED);
    world.finish().await;
}

#[tokio::test]
async fn a_lead_without_an_id_gets_one_derived_from_its_e_mail_alone() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut body = lead_body();
    body.as_object_mut().unwrap().remove("leadId");
    let first = world.submit(&body).await.lead();
    assert_eq!(first, LeadId::from_email(&world.hash, &Email::parse(EMAIL).unwrap()));
    world.pass(600);
    body["name"] = json!("Ana de Novo");
    body["email"] = json!(" ANA@example.com ");
    assert_eq!(world.submit(&body).await.lead(), first);
    assert_eq!(world.journey(first).await.events.len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn an_id_that_is_none_costs_nobody_their_lead() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    for id in [json!("no"), json!(7), json!({"id": 1}), json!([])] {
        let mut body = lead_body();
        body["leadId"] = id.clone();
        let made = world.submit(&body).await;
        assert_eq!(made.status, 200, "{id}");
        let journey = world.journey(made.lead()).await;
        assert_eq!(journey.events[0].data.dropped(), ["leadId"]);
    }
    world.finish().await;
}

const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];
const FORM_BODY: &[u8] = b"name=Ana+Exemplo&email=ana%40example.com&phone=%2811%29+98765-4321\
    &businessType=consultoria&monthlyRevenue=10000-30000&workHoursDaily=10&mainStruggle=tempo\
    &leadId=6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11&consent%5Bmarketing%5D=on&consent.analytics=on";

#[tokio::test]
async fn a_plain_html_form_is_a_lead_too() {
    let world = World::new().await;
    world.expect_one_lead();
    let response = world.send("lead-submit", Method::POST, FORM, FORM_BODY).await;
    assert_eq!(response.lead(), lead());
    assert_eq!(response.json()["amandaScore"], 76);
    world.drain().await;
    assert_eq!(world.states(lead()).await, ALL_DELIVERED);
    world.finish().await;
}

#[tokio::test]
async fn a_plain_html_form_is_redirected_to_the_thank_you_page() {
    let thanks = "https://www.example.com/obrigada";
    let world =
        World::plan().with("THANK_YOU_URL", thanks).with("DESTINATIONS", "none").start().await;
    let response = world.send("lead-submit", Method::POST, FORM, FORM_BODY).await;
    assert_eq!((response.status, response.header("location")), (303, Some(thanks)));
    assert!(response.body.is_empty());
    let again = world.send("lead-submit", Method::POST, FORM, FORM_BODY).await;
    assert_eq!((again.status, again.header("location")), (303, Some(thanks)));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(world.journey(lead()).await.events.len(), 1);
    let mut body = lead_body();
    body["email"] = json!("bia@example.com");
    body["leadId"] = Value::Null;
    assert_eq!(world.submit(&body).await.status, 200, "a script is not redirected");
    world.finish().await;
}

#[tokio::test]
async fn an_id_that_belongs_to_another_e_mail_is_not_taken_over() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.expect_requests("crm", 4);
    world.submit(&lead_body()).await;
    let mut body = lead_body();
    body["email"] = json!("bia@example.com");
    body["name"] = json!("Bia Exemplo");
    let response = world.submit(&body).await;
    let bia = response.lead();
    assert_eq!(bia, LeadId::from_email(&world.hash, &Email::parse("bia@example.com").unwrap()));
    let journey = world.journey(bia).await;
    assert_eq!(journey.events[0].supplied_lead_id, Some(lead()));
    assert_eq!(world.journey(lead()).await.events.len(), 1, "Ana's journey has no event of Bia's");
    let again = world.submit(&body).await;
    assert_eq!((again.body, again.status), (response.body, 200));
    assert_eq!(world.journey(bia).await.events.len(), 1);
    world.drain().await;
    assert_eq!(world.providers.crm_contact(LEAD).unwrap()["email"], EMAIL);
    let contact = world.providers.crm_contact(&bia.to_string()).unwrap();
    assert_eq!(contact["email"], "bia@example.com");
    world.finish().await;
}

#[tokio::test]
async fn the_browsers_score_is_kept_and_flagged_where_it_differs() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    for (minute, client, expected) in
        [(0, 80, ClientScore::Agrees(80)), (1, 100, ClientScore::Differs(100))]
    {
        world.pass(minute * 60);
        let mut body = lead_body();
        body["amandaScore"] = json!(client);
        assert_eq!(
            world.submit(&body).await.json()["amandaScore"],
            76,
            "the response has our score"
        );
        let journey = world.journey(lead()).await;
        assert_eq!(journey.lead.latest.client_score, Some(expected));
        let last = &journey.events.last().unwrap().data;
        let EventData::Form(FormEvent::LeadSubmitted(submitted)) = last else { panic!("{last:?}") };
        assert_eq!(submitted.client_score, Some(expected));
    }
    world.finish().await;
}

#[tokio::test]
async fn a_later_submission_updates_the_contact_and_keeps_the_first_touch() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.expect_requests("crm", 4);
    let mut body = lead_body();
    body["utm"] = json!({"source": "ig", "campaign": "first"});
    let first_at = world.now();
    world.submit(&body).await;
    world.drain().await;
    world.advance(SignedDuration::from_hours(1)).await;
    body["utm"] = json!({"source": "google", "campaign": "second"});
    body["businessType"] = json!("comercio");
    body.as_object_mut().unwrap().remove("phone");
    world.submit(&body).await;
    world.drain().await;
    let contact = world.providers.crm_contact(LEAD).unwrap();
    assert_eq!(contact["custom_fields"]["business_type"], "comercio");
    assert_eq!(contact["phone"], "+5511987654321", "a field that is not sent is not lost");
    assert_eq!(world.providers.crm_contact_count(), 1);
    let lead = world.journey(lead()).await.lead;
    assert_eq!(lead.version, 2);
    assert_eq!(lead.facts.submitted_at, Some(first_at));
    let touch = lead.facts.first_touch.unwrap();
    assert_eq!(touch.utm.campaign.unwrap().expose(), "first");
    // The second submission is another event, so it starts the automation again.
    assert_eq!(world.providers.crm_triggers(LEAD)["standard_nurture"], 2);
    world.finish().await;
}

#[tokio::test]
async fn a_lead_of_maximum_length_and_unusual_characters_arrives_everywhere() {
    let world = World::new().await;
    world.expect_one_lead();
    let odd = "ção \"<b>&amp;%s ${x} \u{1F600}\u{200B}\t\n\\ ";
    let long = |chars: usize| odd.chars().cycle().take(chars - 1).chain(['x']).collect::<String>();
    let mut body = lead_body();
    body["name"] = json!(long(200));
    body["businessType"] = json!(long(100));
    body["monthlyRevenue"] = json!(long(100));
    body["workHoursDaily"] = json!(long(100));
    body["mainStruggle"] = json!(long(2000));
    for field in ["sourceSection", "trafficSource", "pageUrl", "referrer", "fbp", "fbc"] {
        body[field] = json!(long(1500));
    }
    body["gaClientId"] = json!(long(300));
    body["gaSessionId"] = json!(long(100));
    for field in ["source", "medium", "campaign", "term", "content"] {
        body["utm"][field] = json!(long(1500));
    }
    assert_eq!(world.submit(&body).await.lead(), lead());
    world.drain().await;
    assert_eq!(world.states(lead()).await, ALL_DELIVERED);
    assert_eq!(world.providers.ga4_events().len(), 1, "it broke none of GA4's limits");
    assert_eq!(world.providers.segment_messages().len(), 2);
    let contact = world.providers.crm_contact(LEAD).unwrap();
    assert_eq!(contact["name"], long(200).trim());
    assert_eq!(contact["custom_fields"]["main_struggle"], long(2000).trim());
    world.finish().await;
}
