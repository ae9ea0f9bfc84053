//! The leads of Contact2Sale, looked up: what is asked, what is kept, and what a seller reads.

use super::*;

/// What must never be kept or sent: race, health, family, the address and the photo.
const FORBIDDEN: [&str; 6] = [
    "simulated-race",
    "simulated-vaccine",
    "simulated-mother",
    "simulated-relative",
    "simulated-street",
    "simulated-photo",
];

async fn enriching() -> World {
    let world = world("c2s").await;
    make_known(&world, "5511987654321", "a1@example.com");
    world.looks_at("c2s");
    world
}

/// Lets the worker go on until nothing is due for a day.
async fn work_off(world: &World) {
    for _ in 0..30 {
        world.drain().await;
        world.advance(SignedDuration::from_mins(10)).await;
    }
}

#[tokio::test]
async fn a_lead_is_looked_up_once_and_a_seller_reads_one_message() {
    let world = enriching().await;
    assert_eq!(report(&world, &created("a1")).await.status, 200);
    let lead = world.the_lead().await;
    assert_eq!(status_of(&world, lead, 0).await, "received");
    world.drain().await;
    // Contact2Sale reports the message as a change.
    for minute in 1..4 {
        let at = format!("2031-05-05T11:0{minute}:00Z");
        assert_eq!(report(&world, &event("a1", "on_update_lead", &at)).await.status, 200);
    }
    work_off(&world).await;
    let messages = world.providers.c2s_messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0].lead, "a1");
    for expected in ["Diretrix, pelo telefone", "Renda: 8500.00", "UF: SP", "legítimo interesse"] {
        assert!(messages[0].text.contains(expected), "{expected}: {messages:?}");
    }
    let lookups = world.providers.c2s_lookups();
    assert_eq!(lookups.values().collect::<Vec<_>>(), [&1, &1], "{lookups:?}");
    let states = world.states(lead).await;
    let another = "c2s/enrichment skipped message_of_another";
    assert_eq!(states, ["c2s/enrichment delivered", another, another, another]);
    assert_eq!(status_of(&world, lead, 0).await, "completed");

    let journey = world.journey(lead).await;
    let shown = funil_dev::cli::journey::to_json(&journey);
    let steps: Vec<&str> =
        journey.replies.iter().map(|one| one.step.split(':').next().unwrap()).collect();
    assert_eq!(steps, ["diretrix_phone", "message", "work_api"]);
    assert_eq!(journey.replies[2].field("legal_basis"), Some("legitimate_interest"));
    assert_eq!(journey.replies[2].field("occupation"), Some("Consultora"));
    let stored: String = world.items("").await.iter().map(Value::to_string).collect();
    for forbidden in FORBIDDEN {
        assert!(
            !stored.contains(forbidden) && !messages[0].text.contains(forbidden),
            "{forbidden}"
        );
    }
    assert!(funil_dev::cli::journey::to_text(&journey).contains("work_api"), "{shown}");
    world.finish().await;
}

/// The status of an event in the journey, by its place.
async fn status_of(world: &World, lead: LeadId, place: usize) -> String {
    let shown = funil_dev::cli::journey::to_json(&world.journey(lead).await);
    let entries = shown["entries"].as_array().unwrap().iter();
    let events: Vec<&Value> = entries.filter(|entry| entry["kind"] == "event").collect();
    events[place]["status"].as_str().unwrap().to_owned()
}

/// However the sources and Contact2Sale fail, nothing is paid twice, and a seller reads at most one message.
#[tokio::test]
async fn no_failure_makes_a_second_payment_or_a_second_message() {
    for place in 0..4 {
        for failure in [
            Behaviour::Status(500),
            Behaviour::Status(503),
            Behaviour::Throttle { retry_after_s: 60 },
            Behaviour::Garbage,
            Behaviour::CloseAfterEffect,
        ] {
            let title = format!("request {place}, {failure:?}");
            let world = enriching().await;
            let mut body = created("a1");
            // Nobody has this number, so the e-mail is asked for as well.
            body["attributes"]["customer"]["phone"] = json!("5511987654320");
            assert_eq!(report(&world, &body).await.status, 200);
            let before = std::iter::repeat_n(Behaviour::Normal, place);
            world.providers.script("c2s", before.chain([failure.clone()]));
            work_off(&world).await;
            let state = world.states(world.the_lead().await).await.remove(0);
            let messages = world.providers.c2s_messages().len();
            let lost = place == 3
                && matches!(
                    failure,
                    Behaviour::Status(500) | Behaviour::Garbage | Behaviour::CloseAfterEffect
                );
            if lost {
                assert!(state.starts_with("c2s/enrichment dead"), "{title}: {state}");
                assert_eq!(status_of(&world, world.the_lead().await, 0).await, "failed");
                assert!(messages <= 1, "{title}");
            } else {
                assert_eq!((state.as_str(), messages), ("c2s/enrichment delivered", 1), "{title}");
            }
            for (asked, count) in world.providers.c2s_lookups() {
                // A source that gave no reply is asked again; one that gave one is not.
                let gave_none = matches!(failure, Behaviour::Garbage | Behaviour::CloseAfterEffect);
                assert!(count == 1 || count == 2 && gave_none, "{title}: {asked} {count}");
            }
            world.finish().await;
        }
    }
}

#[tokio::test]
async fn nobody_found_is_an_outcome_and_sends_nothing() {
    let world = enriching().await;
    let mut body = created("ninguem");
    body["attributes"]["customer"]["phone"] = json!("5511987654320");
    assert_eq!(report(&world, &body).await.status, 200);
    work_off(&world).await;
    let lead = world.the_lead().await;
    assert_eq!(world.states(lead).await, ["c2s/enrichment skipped missing_cpf"]);
    assert_eq!(status_of(&world, lead, 0).await, "completed");
    assert_eq!(world.providers.c2s_messages(), []);
    world.finish().await;
}

/// Anybody can write another one's number or CPF into a form.
#[tokio::test]
async fn nothing_is_kept_or_sent_of_somebody_with_another_name() {
    for (cpf, expected) in [("", "missing_cpf"), ("529.982.247-25", "missing_same_name")] {
        let world = world("c2s").await;
        world.looks_at("c2s");
        world.providers.know_person(Person {
            name: "BRUNO EXEMPLO".to_owned(),
            phone: "11987654321".to_owned(),
            email: "a1@example.com".to_owned(),
            cpf: "52998224725".to_owned(),
        });
        let mut body = created("a1");
        body["attributes"]["customer"]["cpf"] = json!(cpf);
        assert_eq!(report(&world, &body).await.status, 200);
        work_off(&world).await;
        let lead = world.the_lead().await;
        assert_eq!(world.states(lead).await, [format!("c2s/enrichment skipped {expected}")]);
        assert_eq!(world.providers.c2s_messages(), []);
        let stored: String = world.items("LEAD#").await.iter().map(Value::to_string).collect();
        for forbidden in ["BRUNO", "8500.00", "Consultora"] {
            assert!(!stored.contains(forbidden), "{forbidden}");
        }
        world.finish().await;
    }
}

#[tokio::test]
async fn a_cpf_that_comes_along_is_kept_only_where_something_needs_it() {
    for (destinations, basis, kept) in
        [("c2s", "contract", true), ("none", "contract", false), ("c2s", "", false)]
    {
        let plan = World::plan().with("DESTINATIONS", destinations);
        let world = plan.with("ENRICHMENT_LEGAL_BASIS", basis).start().await;
        let mut body = created("a1");
        body["attributes"]["description"] = json!("CPF 529.982.247-25");
        assert_eq!(report(&world, &body).await.status, 200);
        let stored: String = world.items("LEAD#").await.iter().map(Value::to_string).collect();
        assert_eq!(stored.contains("52998224725"), kept, "{destinations} {basis}");
        if kept {
            let (name, cpf) = ("Nina Exemplo".to_owned(), "52998224725".to_owned());
            let nobody = String::new;
            let person = Person { name, phone: nobody(), email: nobody(), cpf };
            world.providers.know_person(person);
            world.looks_at("c2s");
            work_off(&world).await;
            let lookups = world.providers.c2s_lookups();
            assert_eq!(lookups.keys().collect::<Vec<_>>(), ["cpf 52998224725"]);
        }
        world.drain().await;
        world.finish().await;
    }
}

#[tokio::test]
async fn without_a_legal_basis_nobody_is_looked_up_and_the_journey_says_why() {
    let plan = World::plan().with("DESTINATIONS", "c2s").without("ENRICHMENT_LEGAL_BASIS");
    let world = plan.without("C2S_TOKEN").without("WORK_API_TOKEN").start().await;
    assert_eq!(report(&world, &created("a1")).await.status, 200);
    world.drain().await;
    let states = world.states(world.the_lead().await).await;
    assert_eq!(states, ["c2s/enrichment skipped missing_legal_basis"]);
    assert_eq!(world.requests("c2s"), [""; 0]);
    world.finish().await;
}

#[tokio::test]
async fn who_revoked_contact_is_not_looked_up() {
    let world = enriching().await;
    assert_eq!(report(&world, &created("a1")).await.status, 200);
    let digest = world.hash.digest("email", "a1@example.com");
    let purpose = funil_core::contact::consent::Purpose::Contact;
    world.store.revoke("email", &digest, purpose, world.now()).await.unwrap();
    work_off(&world).await;
    let states = world.states(world.the_lead().await).await;
    assert_eq!(states, ["c2s/enrichment skipped no_consent_contact"]);
    assert_eq!(world.requests("c2s"), [""; 0]);
    world.finish().await;
}

/// A lead that changes all the time is kept each time, and worked on later: ten times in a minute.
#[tokio::test]
async fn too_many_events_of_one_lead_are_put_off_and_none_is_dropped() {
    let world = enriching().await;
    let batch: Vec<Value> = (0..25)
        .map(|second| event("a1", "on_update_lead", &format!("2031-05-05T11:00:{second:02}Z")))
        .chain([created("b1")])
        .collect();
    assert_eq!(counts(&report(&world, &json!(batch)).await), [26, 26, 0, 0]);
    let lead = lead_of(&world, "a1@example.com").await;
    let now = world.now();
    let due: Vec<i64> = world
        .journey(lead)
        .await
        .deliveries
        .iter()
        .map(|one| one.due_at().unwrap().as_second() - now.as_second())
        .collect();
    assert_eq!(due.iter().filter(|due| **due <= 0).count(), 10, "{due:?}");
    assert_eq!(due.iter().max(), Some(&90), "{due:?}");
    let other = world.journey(lead_of(&world, "b1@example.com").await).await;
    assert!(other.deliveries[0].due_at().unwrap() <= now, "another lead does not wait");
    // The same again takes nothing from the bucket.
    assert_eq!(counts(&report(&world, &json!(batch)).await), [26, 0, 26, 0]);
    work_off(&world).await;
    let open = |state: &String| state.contains("pending") || state.contains("leased");
    assert!(!world.states(lead).await.iter().any(open));
    assert_eq!(world.providers.c2s_messages().len(), 2);
    world.finish().await;
}

/// Two of Contact2Sale's leads of one person: each gets a message, and the person is paid for once.
#[tokio::test]
async fn a_person_with_two_leads_is_looked_up_once() {
    let world = enriching().await;
    let mut second = created("a2");
    second["attributes"]["customer"]["email"] = json!("a1@example.com");
    assert_eq!(counts(&report(&world, &json!([created("a1"), second])).await), [2, 2, 0, 0]);
    work_off(&world).await;
    let mut leads: Vec<String> =
        world.providers.c2s_messages().into_iter().map(|message| message.lead).collect();
    leads.sort();
    assert_eq!(leads, ["a1", "a2"]);
    assert!(world.providers.c2s_lookups().values().all(|count| *count == 1));
    world.the_lead().await;
    world.finish().await;
}

/// An authorised `POST` with a lead sends what waits, and plans nothing that no event is behind.
#[tokio::test]
async fn an_authorised_request_hurries_what_waits() {
    let world = enriching().await;
    assert_eq!(report(&world, &created("a1")).await.status, 200);
    let lead = world.the_lead().await;
    let response = world.authorised("lead-enrichment", &json!({"leadId": lead})).await;
    assert_eq!(response.json()["deliveries"][0]["state"], "delivered", "{response:?}");
    let again = world.authorised("lead-enrichment", &json!({"leadId": lead})).await;
    assert_eq!(again.json()["deliveries"], json!([]));
    assert_eq!(world.providers.c2s_messages().len(), 1);
    world.finish().await;
}
