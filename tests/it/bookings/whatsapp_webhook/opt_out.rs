//! Opt-outs: which words count, for every alias of the person, and what takes one back.

use std::cell::Cell;
use std::future::pending;

use funil_core::contact::consent::{Decision, How};
use funil_core::delivery::{MessageStatus, StateKind};
use funil_core::id::LeadId;
use funil_core::provider::whatsapp::sign;
use funil_core::settings::{ConfigError, Secret};
use funil_dev::simulated::whatsapp_inbound;
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::whatsapp::{call_in, namesake, send_webhook, slot, whatsapp, with_lead};
use super::{FUNCTION, WITHOUT_NINTH_DIGIT, is_revoked, quarantined};
use crate::proxy::{Break, Proxy};
use crate::world::{WHATSAPP_APP_SECRET, World, lead, lead_body};

async fn opt_out(world: &World, from: &str) -> u16 {
    send_webhook(world, &whatsapp_inbound(from, " *Parar* ", world.now().as_second())).await.status
}

/// A message of somebody who is identified by these members.
fn written(text: &str, world: &World, names: &Value, contacts: &Value) -> Value {
    let mut message = json!({"id": "wamid.x", "timestamp": world.now().as_second().to_string(),
        "type": "text", "text": {"body": text}});
    for (name, value) in names.as_object().unwrap() {
        message[name] = value.clone();
    }
    let value = json!({"contacts": contacts, "messages": [message]});
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]})
}

#[tokio::test]
async fn an_opt_out_stops_planned_messages_and_counts_for_a_lead_made_tomorrow() {
    let world = with_lead(whatsapp()).await;
    let other = namesake(&world, 1).await;
    call_in(&world, lead(), 30).await;
    world.pass(6);
    call_in(&world, other, 30).await;
    world.pass(60);
    assert_eq!(opt_out(&world, WITHOUT_NINTH_DIGIT).await, 200);
    for person in [lead(), other] {
        assert!(is_revoked(&world, person).await);
        assert_eq!(
            world.states(person).await,
            [
                "whatsapp/reminder_24h skipped no_consent_whatsapp",
                "whatsapp/reminder_2h skipped no_consent_whatsapp",
                "whatsapp/welcome delivered",
            ]
        );
    }
    // The lead whose id nobody can guess shows it; the other's id anybody can learn.
    let journey = world.journey(lead()).await;
    assert_eq!(journey.lead.consents.whatsapp.map(|grant| grant.how), Some(How::Revoked));
    let proof = journey.consents.iter().find(|consent| consent.form == FUNCTION).unwrap();
    assert_eq!(proof.decisions["whatsapp"].decision, Decision::Denied);
    assert_eq!(world.journey(other).await.lead.consents.whatsapp, None);
    world.pass(86_400);
    let tomorrow = namesake(&world, 2).await;
    call_in(&world, tomorrow, 1).await;
    assert_eq!(world.states(tomorrow).await, ["whatsapp/welcome skipped no_consent_whatsapp"]);
    assert_eq!(world.providers.whatsapp_messages().len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn only_a_word_through_whatsapp_takes_an_opt_out_back() {
    let world = with_lead(whatsapp()).await;
    let stop = whatsapp_inbound("5511987654321", "SAIR", world.now().as_second());
    assert_eq!(send_webhook(&world, &stop).await.status, 200);
    world.pass(600);
    let mut yes = lead_body();
    yes["consent"]["whatsapp"] = json!(true);
    world.submit(&yes).await;
    call_in(&world, lead(), 1).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome skipped no_consent_whatsapp"]);
    for (text, is_back) in [("quero voltar", false), ("Voltar!", true)] {
        let back = whatsapp_inbound("5511987654321", text, world.now().as_second());
        assert_eq!(send_webhook(&world, &back).await.status, 200);
        assert_eq!(!is_revoked(&world, lead()).await, is_back, "{text}");
    }
    let how = world.journey(lead()).await.lead.consents.whatsapp.map(|grant| grant.how);
    assert_eq!(how, Some(How::Explicit), "the decision in the form is newer than the opt-out");
    // Meta repeats the opt-out.
    assert_eq!(send_webhook(&world, &stop).await.status, 200);
    assert!(!is_revoked(&world, lead()).await);
    call_in(&world, lead(), 3).await;
    world.advance(SignedDuration::from_hours(4)).await;
    assert_eq!(world.providers.whatsapp_messages().len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn somebody_without_a_number_is_known_by_their_business_scoped_id() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 30).await;
    let contact = json!([{"wa_id": "5511987654321", "user_id": "BR.1"}]);
    let both = written("oi", &world, &json!({"from": "5511987654321"}), &contact);
    assert_eq!(send_webhook(&world, &both).await.status, 200);
    assert!(!is_revoked(&world, lead()).await);
    // A lead with the same number, made after a webhook had number and id together.
    let later = namesake(&world, 1).await;
    world.pass(60);
    let stop = written("stop", &world, &json!({"from_user_id": "BR.1"}), &json!([]));
    assert_eq!(send_webhook(&world, &stop).await.status, 200);
    assert!(is_revoked(&world, lead()).await && is_revoked(&world, later).await);
    assert_eq!(slot(&world, lead(), "reminder_2h").await.state.kind(), StateKind::Skipped);
    let tomorrow = namesake(&world, 2).await;
    call_in(&world, tomorrow, 1).await;
    assert_eq!(slot(&world, tomorrow, "welcome").await.state.kind(), StateKind::Skipped);
    world.finish().await;
}

#[tokio::test]
async fn an_opt_out_by_id_counts_for_the_number_once_it_is_known() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 30).await;
    let stop = written("Parar.", &world, &json!({"from_user_id": "BR.7"}), &json!([]));
    assert_eq!(send_webhook(&world, &stop).await.status, 200);
    assert!(!is_revoked(&world, lead()).await, "nobody knows whose id it is");
    world.pass(60);
    let mut status = world.providers.whatsapp_messages()[0].status("read", None, 1);
    let update = status.pointer_mut("/entry/0/changes/0/value/statuses/0").unwrap();
    update["recipient_user_id"] = json!("BR.7");
    assert_eq!(send_webhook(&world, &status).await.status, 200);
    assert!(is_revoked(&world, lead()).await);
    let welcome = slot(&world, lead(), "welcome").await;
    assert_eq!(welcome.message, Some(MessageStatus::Read), "the status counts too");
    assert_eq!(slot(&world, lead(), "reminder_24h").await.state.kind(), StateKind::Skipped);
    let tomorrow = namesake(&world, 2).await;
    call_in(&world, tomorrow, 1).await;
    assert_eq!(slot(&world, tomorrow, "welcome").await.state.kind(), StateKind::Skipped);
    world.finish().await;
}

/// Somebody opts out by their id alone, before each request to the table of a message that brings their number.
/// The process of that message goes on, or dies at its next request; then Meta sends the message again.
#[tokio::test]
async fn an_opt_out_by_id_counts_for_a_number_that_comes_at_the_same_time() {
    let world = whatsapp().start().await;
    let (proxy, url) = Proxy::start().await;
    let deployment = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    let mut people = 0;
    let cases = [(false, false), (false, true), (true, false), (true, true)];
    for (dies, has_opted_out_before) in cases {
        for request in 0.. {
            people += 1;
            let number = format!("55119876543{people:02}");
            let person = lead_with(&world, people, &format!("+{number}")).await;
            world.pass(60);
            let id = format!("BR.{people}");
            let contact = json!([{"wa_id": number, "user_id": id}]);
            if has_opted_out_before {
                // The number opted in again, and nobody knows yet that the id is the same person's.
                for (text, names) in [
                    ("parar", json!({"from_user_id": id})),
                    ("parar", json!({"from": number})),
                    ("voltar", json!({"from": number})),
                ] {
                    let message = written(text, &world, &names, &json!([]));
                    assert_eq!(send_webhook(&world, &message).await.status, 200);
                    world.pass(60);
                }
                assert!(!is_revoked(&world, person).await);
            }
            let both = written("oi", &world, &json!({"from": number}), &contact).to_string();
            let stop = written("parar", &world, &json!({"from_user_id": id}), &json!([]));
            let signature = sign(&Secret::new(WHATSAPP_APP_SECRET), both.as_bytes());
            let headers = [("x-hub-signature-256", &*signature)];
            let tell = || deployment.send(FUNCTION, Method::POST, &headers, both.as_bytes());
            let opted_out = Cell::new(false);
            let opt_out = async {
                proxy.held().await;
                assert_eq!(send_webhook(&world, &stop).await.status, 200);
                opted_out.set(true);
                if dies {
                    proxy.break_requests(0..1, 1, Break::HangBefore);
                }
                proxy.let_go();
                if dies {
                    proxy.held().await;
                } else {
                    pending::<()>().await;
                }
            };
            proxy.delay_request(request);
            tokio::select! {
                response = tell() => assert_eq!(response.status, 200),
                () = opt_out => {}
            }
            proxy.mend();
            if !opted_out.get() {
                assert!(request >= 3, "a message that brings a number made {request} requests");
                break;
            }
            assert_eq!(tell().await.status, 200);
            let case = format!("request {request}, dies: {dies}, before: {has_opted_out_before}");
            assert!(is_revoked(&world, person).await, "{case}");
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn an_opt_out_counts_for_every_number_that_came_with_the_id() {
    let world = whatsapp().start().await;
    let numbers = ["5511987654301", "5511987654302"];
    let mut people = Vec::new();
    for (index, number) in numbers.iter().enumerate() {
        people.push(lead_with(&world, index + 1, &format!("+{number}")).await);
        let contact = json!([{"wa_id": number, "user_id": "BR.1"}]);
        let hello = written("oi", &world, &json!({"from": number}), &contact);
        assert_eq!(send_webhook(&world, &hello).await.status, 200);
    }
    let contact = json!([{"wa_id": numbers[0], "user_id": "BR.1"}]);
    let stop = written("parar", &world, &json!({"from": numbers[0]}), &contact);
    assert_eq!(send_webhook(&world, &stop).await.status, 200);
    for person in &people {
        assert!(is_revoked(&world, *person).await);
    }
    // Taken back by one number, it is taken back for that one: somebody else may have the other by now.
    world.pass(60);
    let back = written("voltar", &world, &json!({"from": numbers[0]}), &contact);
    assert_eq!(send_webhook(&world, &back).await.status, 200);
    assert!(!is_revoked(&world, people[0]).await);
    assert!(is_revoked(&world, people[1]).await);
    world.finish().await;
}

#[tokio::test]
async fn an_old_number_takes_no_opt_out_back_that_came_from_the_new_one() {
    let world = with_lead(whatsapp()).await;
    world.pass(60);
    let mut form = lead_body();
    form["phone"] = json!("(21) 98888-7777");
    world.submit(&form).await;
    world.pass(60);
    assert_eq!(opt_out(&world, "5521988887777").await, 200);
    world.pass(60);
    let back = whatsapp_inbound("5511987654321", "VOLTAR", world.now().as_second());
    assert_eq!(send_webhook(&world, &back).await.status, 200);
    let shown = world.journey(lead()).await.lead.consents.whatsapp.unwrap();
    assert_eq!((shown.decision, shown.how), (Decision::Denied, How::Revoked));
    assert!(is_revoked(&world, lead()).await);
    world.finish().await;
}

#[tokio::test]
async fn a_status_update_without_a_number_still_says_whose_an_id_is() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 30).await;
    let mut status = world.providers.whatsapp_messages()[0].status("read", None, 1);
    let update = status.pointer_mut("/entry/0/changes/0/value/statuses/0").unwrap();
    update.as_object_mut().unwrap().remove("recipient_id");
    update["recipient_user_id"] = json!("BR.9");
    assert_eq!(send_webhook(&world, &status).await.status, 200);
    world.pass(60);
    let stop = written("parar", &world, &json!({"from_user_id": "BR.9"}), &json!([]));
    assert_eq!(send_webhook(&world, &stop).await.status, 200);
    assert!(is_revoked(&world, lead()).await);
    assert_eq!(slot(&world, lead(), "reminder_2h").await.state.kind(), StateKind::Skipped);
    world.finish().await;
}

#[tokio::test]
async fn a_call_planned_for_a_number_that_opted_out_gets_no_message() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 30).await;
    let stop = whatsapp_inbound("5521988887777", "PARAR", world.now().as_second());
    assert_eq!(send_webhook(&world, &stop).await.status, 200);
    world.pass(60);
    let mut form = lead_body();
    form["phone"] = json!("(21) 98888-7777");
    world.submit(&form).await;
    // What was planned before goes on to the first number, and what is planned now goes nowhere.
    call_in(&world, lead(), 29).await;
    world.advance(SignedDuration::from_hours(31)).await;
    let states = world.states(lead()).await;
    let skipped = states.iter().filter(|state| state.ends_with("skipped no_consent_whatsapp"));
    assert_eq!((skipped.count(), states.len()), (3, 6), "{states:?}");
    let messages = world.providers.whatsapp_messages();
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|message| message.to == "5511987654321"));
    world.finish().await;
}

/// A lead with this phone.
async fn lead_with(world: &World, number: usize, phone: &str) -> LeadId {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(format!("person{number}@example.com"));
    body["phone"] = json!(phone);
    world.submit_from(&format!("198.51.100.{number}"), &body).await.lead()
}

#[tokio::test]
async fn a_number_that_whatsapp_writes_in_another_way_is_found() {
    let world = whatsapp().start().await;
    for (number, (phone, from)) in [
        ("+52 55 1234 5678", "5215512345678"),
        ("+54 9 11 2345-6789", "5491123456789"),
        ("+54 11 2345-6780", "5491123456780"),
    ]
    .into_iter()
    .enumerate()
    {
        let lead = lead_with(&world, number + 1, phone).await;
        assert!(!is_revoked(&world, lead).await, "{from}");
        assert_eq!(opt_out(&world, from).await, 200);
        assert!(is_revoked(&world, lead).await, "{from}");
    }
    assert!(quarantined(&world).await.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn an_opt_out_that_leads_to_nobody_is_kept_for_a_person() {
    let world = with_lead(whatsapp()).await;
    let contact = json!([{"wa_id": "5511987654321", "user_id": "BR.1"}]);
    let both = written("oi", &world, &json!({"from": "5511987654321"}), &contact);
    assert_eq!(send_webhook(&world, &both).await.status, 200);
    for (names, is_kept) in [
        // A number that may become a lead's.
        (json!({"from": "5521988887777"}), false),
        // Digits that no plan has, with an id that leads to a lead.
        (json!({"from": "15550001234", "from_user_id": "BR.1"}), false),
        (json!({"from": "15550001234"}), true),
        (json!({"from_user_id": "BR.5"}), true),
        (json!({}), true),
    ] {
        let before = quarantined(&world).await.len();
        for text in ["PARAR", "oi", "PARAR"] {
            let stop = written(text, &world, &names, &json!([]));
            assert_eq!(send_webhook(&world, &stop).await.status, 200);
        }
        assert_eq!(quarantined(&world).await.len() - before, usize::from(is_kept), "{names}");
        world.pass(60);
    }
    assert!(quarantined(&world).await.iter().all(|reason| reason == "opt_out_of_nobody"));
    assert!(is_revoked(&world, lead()).await, "by the id");
    world.finish().await;
}

#[tokio::test]
async fn an_opt_out_in_the_second_of_a_forms_consent_wins() {
    for ms in [0, 400] {
        let world = whatsapp().start().await;
        world.looks_at("whatsapp");
        let second = world.now().as_second();
        world.advance(SignedDuration::from_millis(ms)).await;
        let mut form = lead_body();
        form["consent"]["whatsapp"] = json!(true);
        world.submit(&form).await;
        let stop = whatsapp_inbound("5511987654321", "PARAR", second);
        for _ in 0..2 {
            assert_eq!(send_webhook(&world, &stop).await.status, 200);
        }
        let how = world.journey(lead()).await.lead.consents.whatsapp.map(|grant| grant.how);
        assert_eq!(how, Some(How::Revoked), "{ms}");
        call_in(&world, lead(), 1).await;
        assert_eq!(world.states(lead()).await, ["whatsapp/welcome skipped no_consent_whatsapp"]);
        world.finish().await;
    }
}

#[tokio::test]
async fn only_a_message_that_is_a_word_as_a_whole_opts_out() {
    for (texts, words) in [
        (["Não quero mais receber 🙏", "remover, por favor"], None),
        (["Chega!", "me tira da lista"], Some("chega,Me tira da lista")),
    ] {
        let mut plan = whatsapp();
        if let Some(words) = words {
            plan = plan.with("WHATSAPP_OPT_OUT_WORDS", words);
        }
        let world = plan.start().await;
        for (number, text) in texts.into_iter().enumerate() {
            let lead = lead_with(&world, number + 1, &format!("11 98765-432{number}")).await;
            let from = format!("551198765432{number}");
            let mut others = vec!["não consigo parar de rir", "CANCELAR", "quero", "sair daqui"];
            if words.is_some() {
                others.push("PARAR");
            }
            for other in others {
                let message = whatsapp_inbound(&from, other, world.now().as_second());
                assert_eq!(send_webhook(&world, &message).await.status, 200);
            }
            assert!(!is_revoked(&world, lead).await, "{text}");
            let message = whatsapp_inbound(&from, text, world.now().as_second());
            assert_eq!(send_webhook(&world, &message).await.status, 200);
            assert!(is_revoked(&world, lead).await, "{text}");
        }
        world.finish().await;
    }
}

#[tokio::test]
async fn words_that_cannot_be_used_are_refused_at_start() {
    let world = whatsapp().start().await;
    for words in ["chega, !", "voltar", ","] {
        let env = world.env(&[("WHATSAPP_OPT_OUT_WORDS", words)]);
        let made = funil_lambda::webhooks::whatsapp::function(&env, world.platform());
        let ConfigError(problems) = made.map(drop).unwrap_err();
        assert!(problems[0].starts_with("WHATSAPP_OPT_OUT_WORDS"), "{problems:?}");
    }
    world.finish().await;
}
