//! What somebody can do who knows another person's e-mail, and nothing else: with forms under no id,
//! the derived id or ids of their own, and with messages from their own number.

use funil_core::booking::{NoNumber, Recipient};
use funil_core::contact::Email;
use funil_core::contact::consent::{Decision, How, Purpose};
use funil_core::event::{CallEvent, EventData};
use funil_core::id::LeadId;
use funil_dev::simulated::whatsapp_inbound;
use http::Method;
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::bookings::whatsapp::send_webhook;
use crate::calendly::created;
use crate::samples;
use crate::world::{World, lead_body, questionnaire_body};

const EMAIL: &str = "vitima@example.com";
const NUMBER: &str = "+5511987654321";
const STRANGERS: &str = "+5521999990000";
/// What nobody but the person, and the tools that they are delivered to, may learn.
const SECRETS: [&str; 4] = ["Vitória", "Segredo", "87654321", "meet.example.com"];

async fn world(destinations: &str) -> World {
    let world = World::plan()
        .with("DESTINATIONS", destinations)
        .with("BOOKING_URL", "https://calendly.com/ana/conversa")
        .start()
        .await;
    world.looks_at_destinations();
    world
}

fn form(name: &str, phone: Option<&str>, id: Option<&str>) -> Value {
    let mut body = lead_body();
    body["email"] = json!(EMAIL);
    body["name"] = json!(name);
    body["phone"] = json!(phone);
    body["leadId"] = json!(id);
    body
}

fn own_form(id: Option<&str>) -> Value {
    form("Vitória Segredo", Some(NUMBER), id)
}

/// A booking of the person's, through a link with this lead's id or through a bare one.
fn booking(invitee: &str, carried: Option<LeadId>, answered: Option<&str>) -> Value {
    let mut body = created(invitee);
    body["payload"]["email"] = json!(EMAIL);
    body["payload"]["name"] = json!("Vitória Segredo");
    body["payload"]["tracking"]["utm_content"] = json!(carried);
    body["payload"]["text_reminder_number"] = json!(answered);
    body
}

async fn take(world: &World, body: &Value) {
    world.pass(1);
    let response = world.calendly(body).await;
    assert_eq!(response.status, 200, "{response:?}");
}

/// To whom the booking's messages go.
async fn recipient(world: &World, lead: LeadId) -> Recipient {
    let journey = world.journey(lead).await;
    journey.events.iter().rev().find_map(|event| event.data.recipient().cloned()).unwrap()
}

fn numbers(world: &World) -> Vec<String> {
    let messages = world.providers.whatsapp_messages();
    messages.iter().map(|message| format!("+{}", message.to)).collect()
}

const OWN_ID: &str = "7f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b22";

#[tokio::test]
async fn a_later_form_under_a_derived_id_replaces_nothing() {
    let world = world("crm").await;
    let lead = world.submit(&own_form(None)).await.lead();
    assert!(lead.is_derived());
    world.pass(1);
    let before = world.journey(lead).await.lead;
    let mut body = form("Outra Pessoa", Some(STRANGERS), None);
    body["businessType"] = json!("outro");
    body["consent"] = json!({"marketing": false, "analytics": false, "ads": true});
    assert_eq!(world.submit(&body).await.lead(), lead);
    let after = world.journey(lead).await;
    assert_eq!(after.lead.facts, before.facts);
    assert_eq!(after.lead.first_forms, before.first_forms);
    assert_eq!(after.lead.consents, before.consents);
    let mut latest = after.lead.latest.clone();
    assert_eq!(latest.phone_disputed.take(), Some(true));
    assert_eq!(latest, before.latest);
    assert_eq!(after.events.len(), 2, "what it says stands on its own event");
    world.drain().await;
    let contact = world.providers.crm_contact(&lead.to_string()).unwrap();
    assert_eq!((&contact["name"], &contact["phone"]), (&json!("Vitória Segredo"), &json!(NUMBER)));
    assert_eq!(contact["custom_fields"]["phone_claimed"], STRANGERS);
    assert_eq!(contact["custom_fields"]["business_type"], "consultoria");
    world.finish().await;
}

#[tokio::test]
async fn the_capability_lets_the_newest_values_win() {
    let world = world("crm").await;
    let lead = world.submit(&own_form(Some(OWN_ID))).await.lead();
    world.pass(1);
    let mut body = form("Vitória Nova", Some(STRANGERS), Some(OWN_ID));
    body["consent"] = json!({"analytics": false});
    world.submit(&body).await;
    let latest = world.journey(lead).await.lead;
    assert_eq!(latest.latest.name.unwrap().expose(), "Vitória Nova");
    assert_eq!(latest.latest.phone.unwrap().as_str(), STRANGERS);
    assert_eq!(latest.consents.analytics.unwrap().how, How::Explicit);
    world.drain().await;
    let contact = world.providers.crm_contact(OWN_ID).unwrap();
    assert_eq!(contact["custom_fields"]["phone_claimed"], Value::Null);
    world.finish().await;
}

#[tokio::test]
async fn mailerlite_hears_who_somebody_is_from_their_oldest_lead_alone() {
    let world = world("mailerlite").await;
    let lead = world.submit(&own_form(Some(OWN_ID))).await.lead();
    world.drain().await;
    world.pass(60);
    let other = "8f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b33";
    world.submit(&form("Outra Pessoa", Some(STRANGERS), Some(other))).await;
    world.pass(60);
    world.drain().await;
    let fields = &world.providers.subscriber(EMAIL).unwrap()["fields"];
    assert_eq!((&fields["name"], &fields["phone"]), (&json!("Vitória Segredo"), &json!(NUMBER)));
    assert_eq!(fields["lead_id"], lead.to_string());
    assert!(fields["questionnaire_url"].as_str().unwrap().contains(OWN_ID));
    world.finish().await;
}

#[tokio::test]
async fn a_sixth_new_lead_of_a_day_is_kept_under_the_derived_id() {
    let world = world("none").await;
    let ids: Vec<String> =
        (0..7).map(|number| format!("7f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b2{number}")).collect();
    for (number, id) in ids.iter().enumerate() {
        let mut body = own_form(Some(id));
        body["mainStruggle"] = json!(format!("luta {number}"));
        let kept = world.submit(&body).await.lead();
        assert_eq!(kept.to_string() == *id, number < 5, "{number}");
    }
    let derived = world.submit(&own_form(None)).await.lead();
    assert_eq!(world.journey(derived).await.events.len(), 3);
    world.pass(86_400);
    assert_eq!(world.submit(&own_form(Some(&ids[6]))).await.lead().to_string(), ids[6]);
    assert_eq!(world.submit(&own_form(Some(&ids[0]))).await.lead().to_string(), ids[0]);
    world.finish().await;
}

#[tokio::test]
async fn a_booking_decides_to_whom_its_messages_go() {
    let to = |phone: &str| Some(phone.to_owned());
    let whom = |recipient: Recipient| match recipient {
        Recipient::Number { phone, .. } => Ok(phone.as_str().to_owned()),
        Recipient::Nobody { why } => Err(why),
    };
    // Its own answer comes first, whatever the lead says.
    let world = world("none").await;
    let lead = world.submit(&own_form(Some(OWN_ID))).await.lead();
    take(&world, &booking("INV1", Some(lead), Some(STRANGERS))).await;
    assert_eq!(whom(recipient(&world, lead).await).ok(), to(STRANGERS));
    take(&world, &booking("INV2", Some(lead), None)).await;
    assert_eq!(whom(recipient(&world, lead).await).ok(), to(NUMBER));
    take(&world, &booking("INV3", None, None)).await;
    assert_eq!(whom(recipient(&world, lead).await), Err(NoNumber::BareLink));
    // The newest number of a lead with a random id counts; one form without it disagrees.
    world.pass(1);
    world.submit(&form("Vitória Segredo", None, Some(OWN_ID))).await;
    take(&world, &booking("INV4", Some(lead), None)).await;
    assert_eq!(whom(recipient(&world, lead).await), Err(NoNumber::Disputed));
    world.pass(1);
    world.submit(&form("Vitória Segredo", Some(STRANGERS), Some(OWN_ID))).await;
    take(&world, &booking("INV5", Some(lead), None)).await;
    assert_eq!(whom(recipient(&world, lead).await).ok(), to(STRANGERS));
    // Another lead of the same e-mail with another number disagrees.
    world.submit(&own_form(None)).await;
    take(&world, &booking("INV6", Some(lead), None)).await;
    assert_eq!(whom(recipient(&world, lead).await), Err(NoNumber::Disputed));
    world.finish().await;
}

#[tokio::test]
async fn more_leads_than_are_compared_disagree() {
    let world = world("none").await;
    let lead = world.submit(&own_form(Some(OWN_ID))).await.lead();
    let digest = world.hash.digest("email", EMAIL);
    for number in 0..25 {
        let lead = format!("LEAD#9f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b{number:02x}");
        let pk = format!("ALIAS#email#{}", digest.as_str());
        let item = json!({"pk": {"S": pk}, "sk": {"S": lead}, "at": {"S": world.now()}});
        world.ask_table("PutItem", json!({"Item": item})).await;
    }
    take(&world, &booking("INV1", Some(lead), None)).await;
    let nobody = Recipient::Nobody { why: NoNumber::TooManyLeads };
    assert_eq!(recipient(&world, lead).await, nobody);
    world.finish().await;
}

#[tokio::test]
async fn no_later_form_redirects_a_message_and_an_operator_confirms_a_number() {
    let world = world("whatsapp").await;
    let lead = world.submit(&own_form(Some(OWN_ID))).await.lead();
    take(&world, &booking("INV1", Some(lead), None)).await;
    world.drain().await;
    world.pass(60);
    world.submit(&form("Outra Pessoa", Some(STRANGERS), Some(OWN_ID))).await;
    world.advance(SignedDuration::from_hours(71)).await;
    assert_eq!(numbers(&world), [NUMBER; 2]);

    let mut bare = booking("INV2", None, None);
    bare["payload"]["scheduled_event"]["start_time"] = json!("2031-05-12T17:00:00.000000Z");
    bare["created_at"] = json!(world.now());
    take(&world, &bare).await;
    world.drain().await;
    let states = world.states(lead).await;
    let nobody = states.iter().filter(|state| state.ends_with("skipped no_number_bare_link"));
    assert_eq!(nobody.count(), 1, "{states:?}");
    let body = json!({"leadId": lead, "bookingId": "INV2", "phone": NUMBER});
    let confirmed = world.authorised("whatsapp-automation", &body).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    let again = world.authorised("whatsapp-automation", &body).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    let other = json!({"leadId": lead, "bookingId": "INV2", "phone": STRANGERS});
    assert_eq!(world.authorised("whatsapp-automation", &other).await.status, 409);
    let unknown = json!({"leadId": lead, "bookingId": "INV9", "phone": NUMBER});
    let unknown = world.authorised("whatsapp-automation", &unknown).await;
    assert_eq!((unknown.status, unknown.json()["code"].clone()), (404, json!("booking_not_found")));
    world.advance(SignedDuration::from_hours(120)).await;
    assert!(numbers(&world).iter().all(|number| number == NUMBER), "{:?}", numbers(&world));
    let welcomes = world.states(lead).await;
    let welcomes = welcomes.iter().filter(|state| *state == "whatsapp/welcome delivered").count();
    assert_eq!(welcomes, 2, "one of each booking");
    world.finish().await;
}

#[tokio::test]
async fn a_booking_with_anothers_derived_id_belongs_to_its_own_email() {
    let world = world("none").await;
    let lead = world.submit(&own_form(None)).await.lead();
    let mut body = booking("INV1", Some(lead), Some(STRANGERS));
    body["payload"]["email"] = json!("estranha@example.com");
    take(&world, &body).await;
    let journey = world.journey(lead).await;
    let EventData::Call(CallEvent::BookedElsewhere(elsewhere)) = &journey.events[1].data else {
        panic!("{:?}", journey.events)
    };
    assert_eq!(elsewhere.booking.as_str(), "INV1");
    assert_eq!((journey.bookings.len(), journey.deliveries.len()), (0, 0));
    let digest = world.hash.digest("email", "estranha@example.com");
    let own = world.store.leads_of(("email", &digest), 9).await.unwrap()[0];
    let own = world.journey(own).await;
    assert_eq!(own.events[0].supplied_lead_id, Some(lead));
    assert_eq!(own.bookings.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn an_unticked_box_is_no_revocation_and_stops_no_message_about_a_booked_call() {
    let world = world("whatsapp").await;
    let mut body = own_form(Some(OWN_ID));
    body["consent"] = json!({"whatsapp": false, "marketing": false});
    let lead = world.submit(&body).await.lead();
    take(&world, &booking("INV1", Some(lead), None)).await;
    world.advance(SignedDuration::from_hours(80)).await;
    assert_eq!(numbers(&world), [NUMBER; 3]);
    world.finish().await;
}

#[tokio::test]
async fn the_boxes_of_a_later_form_under_a_derived_id_govern_its_own_deliveries_alone() {
    let world = world("ga4,segment").await;
    let mut first = own_form(None);
    first["consent"] = json!({"analytics": false});
    let lead = world.submit(&first).await.lead();
    world.pass(1);
    let mut later = own_form(None);
    later["mainStruggle"] = json!("vendas");
    later["consent"] = json!({"analytics": true});
    world.submit(&later).await;
    world.drain().await;
    let states = world.states(lead).await;
    assert_eq!(states, ["ga4/event delivered", "segment/event delivered"], "of the later form");
    assert_eq!(
        world.journey(lead).await.lead.consents.analytics.unwrap().decision,
        Decision::Denied
    );
    // A questionnaire has no boxes, so what the first form said counts.
    let mut answers = questionnaire_body();
    answers["leadId"] = json!(lead);
    answers["email"] = json!(EMAIL);
    assert_eq!(world.answer_questionnaire(&answers).await.status, 200);
    world.drain().await;
    let skipped = world.states(lead).await;
    let skipped = skipped.iter().filter(|state| state.ends_with("no_consent_analytics")).count();
    assert_eq!(skipped, 2);
    world.finish().await;
}

#[tokio::test]
async fn robots_and_people_get_the_same_status_and_robots_learn_nothing() {
    let world = world("none").await;
    let lead = world.submit(&own_form(Some(OWN_ID))).await.lead();
    for (id, email) in [
        (lead.to_string(), EMAIL),
        (lead.to_string(), "outra@example.com"),
        ("1f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b99".to_owned(), EMAIL),
    ] {
        let mut answers = questionnaire_body();
        answers["leadId"] = json!(id);
        answers["email"] = json!(email);
        let mut robot = answers.clone();
        robot["website"] = json!("x");
        let robot = world.answer_questionnaire(&robot).await;
        let person = world.answer_questionnaire(&answers).await;
        assert_eq!((robot.status, &robot.body), (person.status, &person.body), "{id} {email}");
    }
    let mut robot = own_form(None);
    robot["website"] = json!("x");
    let given = world.submit(&robot).await.lead();
    assert!(
        given != lead && given != LeadId::from_email(&world.hash, &Email::parse(EMAIL).unwrap())
    );
    world.finish().await;
}

#[tokio::test]
async fn an_operator_takes_an_opt_out_back() {
    let world = world("whatsapp").await;
    let lead = world.submit(&own_form(Some(OWN_ID))).await.lead();
    let from = NUMBER.trim_start_matches('+');
    let stop = whatsapp_inbound(from, "PARAR", world.now().as_second());
    assert_eq!(send_webhook(&world, &stop).await.status, 200);
    world.pass(60);
    let body = json!({"leadId": lead, "phone": NUMBER, "optIn": true});
    assert_eq!(world.authorised("whatsapp-automation", &body).await.status, 200);
    let how = world.journey(lead).await.lead.consents.whatsapp.map(|grant| grant.how);
    assert_eq!(how, Some(How::Restored));
    take(&world, &booking("INV1", Some(lead), None)).await;
    world.advance(SignedDuration::from_hours(80)).await;
    assert_eq!(numbers(&world), [NUMBER; 3]);
    world.finish().await;
}

/// What a stranger does.
#[derive(Clone, Debug)]
enum Act {
    Form { id: Id, phone: bool, boxes: Option<bool>, robot: bool },
    Questionnaire { id: Id, boxes: Option<bool>, robot: bool },
    SiteForm { function: &'static str, id: Id, phone: bool, boxes: Option<bool>, robot: bool },
    Message(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Id {
    None,
    Derived,
    Own(u8),
}

/// How the person became known, and how they book.
#[derive(Clone, Copy, Debug)]
struct Person {
    /// Whether they submit a form, and whether with an id of their own.
    form: Option<bool>,
    /// Whether the booking answers with a number.
    answers: bool,
    /// Whether they book through their own link, if they have one.
    own_link: bool,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let id = || prop_oneof![Just(Id::None), Just(Id::Derived), (0_u8..3).prop_map(Id::Own)];
    let form = (id(), any::<bool>(), any::<Option<bool>>(), prop::bool::weighted(0.2))
        .prop_map(|(id, phone, boxes, robot)| Act::Form { id, phone, boxes, robot });
    let questionnaire = (id(), any::<Option<bool>>(), prop::bool::weighted(0.2))
        .prop_map(|(id, boxes, robot)| Act::Questionnaire { id, boxes, robot });
    let site_form = (
        prop::sample::select(site_forms()),
        id(),
        any::<bool>(),
        any::<Option<bool>>(),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(function, id, phone, boxes, robot)| Act::SiteForm {
            function,
            id,
            phone,
            boxes,
            robot,
        });
    let message = prop::sample::select(vec!["PARAR", "VOLTAR", "oi"]).prop_map(Act::Message);
    prop::collection::vec(
        prop_oneof![3 => form, 1 => questionnaire, 3 => site_form, 1 => message],
        0..5,
    )
}

/// Every form but those that have acts of their own.
fn site_forms() -> Vec<&'static str> {
    let names = funil_lambda::forms::FORMS.iter().map(|one| one.name);
    names.filter(|name| !["lead-submit", "questionnaire-submit"].contains(name)).collect()
}

fn people() -> impl Strategy<Value = Person> {
    (any::<Option<bool>>(), any::<bool>(), any::<bool>())
        .prop_map(|(form, answers, own_link)| Person { form, answers, own_link })
}

/// A form's consent object, with these boxes.
fn consent(boxes: Option<bool>) -> Value {
    boxes.map_or(Value::Null, |ticked| {
        json!({"marketing": ticked, "analytics": ticked, "ads": ticked, "whatsapp": ticked})
    })
}

async fn act(world: &World, act: &Act, number: usize) {
    let derived = LeadId::from_email(&world.hash, &Email::parse(EMAIL).unwrap());
    let id = |id: Id| match id {
        Id::None => None,
        Id::Derived => Some(derived.to_string()),
        Id::Own(own) => Some(format!("8f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b3{own}")),
    };
    let shown = match act {
        Act::Form { id: under, phone, boxes, robot } => {
            let mut body = form("Estranha", phone.then_some(STRANGERS), id(*under).as_deref());
            body["mainStruggle"] = json!(format!("luta {number}"));
            body["consent"] = consent(*boxes);
            body["website"] = json!(if *robot { "x" } else { "" });
            world.submit_from(&format!("203.0.113.{number}"), &body).await
        }
        Act::Questionnaire { id: of, boxes, robot } => {
            let mut body = questionnaire_body();
            body["leadId"] = json!(id(*of).unwrap_or_else(|| derived.to_string()));
            body["email"] = json!(EMAIL);
            body["responses"]["mainGoal"] = json!(format!("meta {number}"));
            body["consent"] = consent(*boxes);
            body["website"] = json!(if *robot { "x" } else { "" });
            world.answer_questionnaire(&body).await
        }
        Act::SiteForm { function, id: under, phone, boxes, robot } => {
            // What this form alone asks is as in its sample.
            let mut body = samples::bodies(function).pop().unwrap()["data"].take();
            let own = json!({
                "lead_id": id(*under), "name": "Estranha", "email": EMAIL,
                "phone": phone.then_some(STRANGERS), "message": format!("mensagem {number}"),
                "marketing_consent": true,
                "consent": consent(*boxes), "website": if *robot { "x" } else { "" },
            });
            body.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            let (from, headers) =
                (format!("203.0.113.{number}"), [("content-type", "application/json")]);
            let body = body.to_string();
            let response =
                world.send_from(&from, function, Method::POST, &headers, body.as_bytes()).await;
            assert_eq!(response.status, 200, "{response:?}");
            response
        }
        Act::Message(text) => {
            let from = STRANGERS.trim_start_matches('+');
            send_webhook(world, &whatsapp_inbound(from, text, world.now().as_second())).await
        }
    };
    let text = String::from_utf8_lossy(&shown.body).into_owned();
    let headers = format!("{:?}", shown.headers);
    for secret in SECRETS {
        assert!(!text.contains(secret) && !headers.contains(secret), "{secret} in {text}");
    }
}

async fn nobody_is_reached_but_the_person(before: &[Act], person: Person, after: &[Act]) {
    let world = world("whatsapp").await;
    let mut number = 0;
    let acts_of = async |acts: &[Act], number: &mut usize| {
        for one in acts {
            world.pass(1);
            act(&world, one, *number).await;
            *number += 1;
        }
    };
    acts_of(before, &mut number).await;
    world.pass(1);
    let id = person.form.map(|own_id| own_id.then_some(OWN_ID));
    let lead = match id {
        Some(id) => Some(world.submit_from("198.51.100.7", &own_form(id)).await.lead()),
        None => None,
    };
    let carried = lead.filter(|_| person.own_link);
    take(&world, &booking("INV1", carried, person.answers.then_some(NUMBER))).await;
    let consents = async || match lead {
        Some(lead) => Some(world.journey(lead).await.lead.consents),
        None => None,
    };
    let decided = consents().await;
    acts_of(after, &mut number).await;
    assert_eq!(consents().await, decided, "no consent of theirs changes");
    let digest = world.hash.digest("phone", "+551187654321");
    let revoked = world.store.revocations_of(("phone", &digest)).await.unwrap();
    assert!(!revoked.purposes.contains_key(&Purpose::Whatsapp));
    world.advance(SignedDuration::from_hours(80)).await;
    for reached in numbers(&world) {
        assert_eq!(reached, NUMBER);
    }
    if person.answers {
        let items = world.items("LEAD#").await;
        let ended: Vec<_> = items.iter().filter(|item| item["type"]["S"] == "delivery").collect();
        assert_eq!(numbers(&world).len(), 3, "nobody keeps their messages from them: {ended:?}");
    }
    world.finish().await;
}

#[test]
fn whatever_a_stranger_sends_no_message_and_no_consent_of_the_person_is_theirs() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config { cases: 32, failure_persistence: None, ..Config::default() };
    let seed = [7; 32];
    let rng = proptest::test_runner::TestRng::from_seed(config.rng_algorithm, &seed);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let drawn = (acts(), people(), acts());
    let result = runner.run(&drawn, |(before, person, after)| {
        runtime.block_on(nobody_is_reached_but_the_person(&before, person, &after));
        Ok(())
    });
    result.unwrap();
}
