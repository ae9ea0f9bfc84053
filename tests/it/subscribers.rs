//! What MailerLite reports of its subscribers, and what follows from it.

use funil_core::clock::after;
use funil_core::contact::consent::{Decision, How, Mailbox, Purpose};
use funil_core::delivery::LEASE_S;
use funil_core::event::EmailStatus;
use funil_core::id::{LeadId, LeaseId};
use funil_core::provider::mailerlite::{self, BATCHED_EVENTS, EVENTS};
use funil_core::settings::Secret;
use funil_dev::simulated::Behaviour;
use funil_store::{Claimed, Claiming, DeliveryKey, Journey, Reported};
use http::Method;
use serde_json::{Value, json};

use crate::mailerlite::{MAILERLITE_SECRET, grouped, report, report_of};
use crate::world::{EMAIL, World, lead, lead_body};

/// A world with the CRM and MailerLite, and the lead's form.
async fn submitted() -> World {
    let world = World::plan().with("DESTINATIONS", "crm,mailerlite").start().await;
    world.looks_at_destinations();
    assert_eq!(world.submit(&lead_body()).await.status, 200);
    world
}

/// What MailerLite reported, in the words of the journey.
fn reported(journey: &Journey) -> Vec<String> {
    let shown = funil_dev::cli::journey::to_json(journey);
    let entries = shown["entries"].as_array().unwrap().iter();
    entries.filter_map(|entry| entry["note"].as_str().map(str::to_owned)).collect()
}

async fn crm_says(world: &World) -> Value {
    world.drain().await;
    world.providers.crm_contact(&lead().to_string()).unwrap()["custom_fields"]["email_status"]
        .clone()
}

#[tokio::test]
async fn who_unsubscribes_or_complains_gets_nothing_that_is_queued_and_the_crm_hears_of_it() {
    for event in ["unsubscribed", "spam_reported"] {
        let world = submitted().await;
        for _ in 0..3 {
            assert_eq!(world.mailerlite(&report(event)).await.json(), json!({"received": true}));
            world.pass(10);
        }
        let states = world.states(lead()).await;
        let withdrawn = "mailerlite/marketing skipped no_consent_marketing_email".to_owned();
        assert!(states.contains(&withdrawn), "{states:?}");
        assert_eq!(crm_says(&world).await, event);
        let journey = world.journey(lead()).await;
        assert_eq!(reported(&journey), [event], "once, however often it is said");
        let marketing = *journey.lead.consents.get(Purpose::MarketingEmail).unwrap();
        assert_eq!((marketing.decision, marketing.how), (Decision::Denied, How::Revoked));
        let proof = journey.consents.last().unwrap();
        assert_eq!(proof.form, "mailerlite-webhook");
        let states = world.states(lead()).await;
        assert!(states.contains(&"mailerlite/questionnaire delivered".to_owned()), "{states:?}");
        let joined = world.providers.group_joins();
        assert_eq!(joined.iter().map(|join| &*join.group).collect::<Vec<_>>(), ["101"]);
        world.drain().await;
        world.finish().await;
    }
}

#[tokio::test]
async fn a_form_that_comes_after_an_unsubscribe_brings_no_newsletter() {
    let world = submitted().await;
    world.drain().await;
    world.mailerlite(&report("unsubscribed")).await;
    world.pass(60);
    let mut again = lead_body();
    again["mainStruggle"] = json!("equipe");
    again["consent"]["marketing"] = json!(true);
    world.submit(&again).await;
    world.drain().await;
    let marketing = world.states(lead()).await;
    let marketing: Vec<_> = marketing.iter().filter(|one| one.contains("/marketing")).collect();
    assert_eq!(
        marketing,
        [
            "mailerlite/marketing delivered",
            "mailerlite/marketing skipped no_consent_marketing_email"
        ]
    );
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn what_a_worker_had_claimed_is_not_sent_after_an_unsubscribe() {
    let world = World::plan().with("DESTINATIONS", "mailerlite").start().await;
    world.looks_at("mailerlite");
    let mut body = lead_body();
    body["consent"] = json!({"marketing": true});
    world.submit(&body).await;
    let journey = world.journey(lead()).await;
    let marketing = journey.deliveries.iter().find(|one| one.slot == "marketing").unwrap();
    let (key, lease) = (DeliveryKey::from(marketing), LeaseId::random(world.entropy()));
    let claimed = world.store.claim(&key, Claiming::Due, lease, world.now()).await.unwrap();
    assert!(matches!(claimed, Claimed::Ours(_)));
    world.mailerlite(&report("unsubscribed")).await;
    world.pass(LEASE_S);
    world.drain().await;
    let states = world.states(lead()).await;
    let skipped = "mailerlite/marketing skipped no_consent_marketing_email".to_owned();
    assert!(states.contains(&skipped), "{states:?}");
    assert!(world.providers.group_joins().iter().all(|join| join.group == "101"));
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_replay_sends_nothing_to_who_unsubscribed_meanwhile() {
    let world = World::plan().with("DESTINATIONS", "mailerlite").start().await;
    world.looks_at("mailerlite");
    world.providers.behave("mailerlite", Behaviour::Status(422));
    world.submit(&lead_body()).await;
    world.drain().await;
    let states = world.states(lead()).await;
    assert!(states.iter().all(|state| state.contains(" dead ")), "{states:?}");
    world.mailerlite(&report("unsubscribed")).await;
    world.providers.behave("mailerlite", Behaviour::Normal);
    let replay = json!({"dryRun": false, "destination": "mailerlite"}).to_string();
    let token = format!("Bearer {}", crate::world::SERVICE_TOKEN);
    let headers = [("content-type", "application/json"), ("authorization", &*token)];
    let response = world.send("dispatch", Method::POST, &headers, replay.as_bytes()).await;
    assert_eq!(response.status, 200, "{response:?}");
    world.pass(60);
    world.drain().await;
    assert!(world.providers.group_joins().iter().all(|join| join.group != "102"));
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn an_address_that_bounces_gets_no_e_mail_until_it_is_active() {
    let world = submitted().await;
    world.mailerlite(&report("bounced")).await;
    assert_eq!(crm_says(&world).await, "bounced");
    let states = world.states(lead()).await;
    for slot in ["questionnaire", "marketing"] {
        let skipped = format!("mailerlite/{slot} skipped bounced");
        assert!(states.contains(&skipped), "{states:?}");
    }
    assert_eq!(world.requests("mailerlite"), Vec::<String>::new());
    // It holds for a lead of the address that is made later.
    let newsletter = json!({"data": {"email": EMAIL, "marketing_consent": true}});
    world.post("newsletter-signup", &[], &newsletter).await;
    world.drain().await;
    assert_eq!(world.requests("mailerlite"), Vec::<String>::new());

    world.pass(60);
    world.mailerlite(&report("active")).await;
    let mut again = lead_body();
    again["mainStruggle"] = json!("equipe");
    world.submit(&again).await;
    assert_eq!(crm_says(&world).await, "active");
    let joined = world.providers.group_joins();
    assert_eq!(joined.len(), 2, "{joined:?}");
    assert_eq!(reported(&world.journey(lead()).await), ["bounced", "active"]);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn who_is_active_again_takes_back_what_was_revoked_and_nothing_else() {
    let world = submitted().await;
    let marketing = async || {
        let consents = world.journey(lead()).await.lead.consents;
        consents.get(Purpose::MarketingEmail).map(|grant| (grant.decision, grant.how))
    };
    for _ in 0..2 {
        // Each time with the same bodies, on one day: MailerLite says no time.
        world.mailerlite(&report("unsubscribed")).await;
        assert_eq!(marketing().await, Some((Decision::Denied, How::Revoked)));
        world.pass(60);
        world.mailerlite(&report("active")).await;
        assert_eq!(marketing().await, Some((Decision::Granted, How::Restored)));
        world.pass(60 * 60);
    }
    let journey = world.journey(lead()).await;
    assert_eq!(reported(&journey), ["unsubscribed", "active", "unsubscribed", "active"]);
    let digest = world.hash.digest("email", EMAIL);
    let known = world.store.revocations_of(("email", &digest)).await.unwrap();
    assert_eq!((known.purposes.len(), known.mailbox), (0, Mailbox::Open));

    let mut unticked = lead_body();
    unticked["email"] = json!("bia@example.com");
    unticked["leadId"] = Value::Null;
    unticked["consent"] = json!({"marketing": false});
    let bia = world.submit(&unticked).await.lead();
    world.mailerlite(&report_of("active", "bia@example.com")).await;
    let consents = world.journey(bia).await.lead.consents;
    let grant = consents.get(Purpose::MarketingEmail).unwrap();
    assert_eq!((grant.decision, grant.how), (Decision::Denied, How::Explicit));
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn the_newsletter_of_somebody_who_confirmed_comes_back() {
    let world = World::plan()
        .with("DESTINATIONS", "mailerlite")
        .with("MAILERLITE_CONFIRMATION", "everybody")
        .start()
        .await;
    world.looks_at("mailerlite");
    let sign_up = async |name: &str| {
        let body = json!({"lead_id": lead(), "data": {"email": EMAIL, "name": name, "marketing_consent": true}});
        assert_eq!(world.post("newsletter-signup", &[], &body).await.status, 200);
        world.drain().await;
        world.pass(60);
    };
    sign_up("Ana").await;
    world.providers.set_status(EMAIL, "unsubscribed");
    world.mailerlite(&report("unsubscribed")).await;
    world.pass(60);
    sign_up("Ana E.").await;
    let asked = world.providers.subscriber(EMAIL).unwrap();
    assert_eq!(asked["status"], "unconfirmed", "MailerLite asks");
    let digest = world.hash.digest("email", EMAIL);
    let known = world.store.revocations_of(("email", &digest)).await.unwrap();
    assert_eq!(known.purposes.len(), 1, "a form takes nothing back");
    world.providers.set_status(EMAIL, "active");
    world.mailerlite(&report("active")).await;
    let known = world.store.revocations_of(("email", &digest)).await.unwrap();
    assert_eq!(known.purposes.len(), 0);
    sign_up("Ana Exemplo").await;
    let states = world.states(lead()).await;
    assert_eq!(states, ["mailerlite/newsletter delivered"; 3]);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn what_changes_nothing_stands_in_the_journey_and_is_planned_for_nobody() {
    let world = submitted().await;
    let planned = world.journey(lead()).await.deliveries.len();
    let noted = [
        report("created"),
        report("updated"),
        grouped("added_to_group", "Mentoria"),
        grouped("added_to_group", "Mentoria"),
        grouped("removed_from_group", "Mentoria"),
        report("automation_triggered"),
        report("automation_completed"),
    ];
    for body in &noted {
        world.pass(1);
        assert_eq!(world.mailerlite(body).await.status, 200);
    }
    let journey = world.journey(lead()).await;
    assert_eq!(journey.deliveries.len(), planned, "nothing is planned");
    assert_eq!(
        reported(&journey),
        [
            "created",
            "updated",
            "added_to_group Mentoria 101",
            "removed_from_group Mentoria 101",
            "automation_triggered",
            "automation_completed",
        ]
    );
    world.pass(24 * 3600);
    world.mailerlite(&report("updated")).await;
    assert_eq!(reported(&world.journey(lead()).await).len(), 7, "another day's is another one");
    world.drain().await;
    world.finish().await;
}

/// No loops: whatever MailerLite reports, MailerLite is sent nothing of it.
#[tokio::test]
async fn no_report_of_mailerlites_is_planned_for_mailerlite() {
    let world = submitted().await;
    world.drain().await;
    let before = world.requests("mailerlite").len();
    for event in EVENTS.iter().chain(&BATCHED_EVENTS) {
        world.pass(60);
        let body = report(event.trim_start_matches("subscriber."));
        assert_eq!(world.mailerlite(&body).await.status, 200, "{event}");
        world.drain().await;
    }
    let journey = world.journey(lead()).await;
    let reported =
        journey.events.iter().filter(|event| event.id.as_str().starts_with("mailerlite:"));
    for event in reported {
        let its = journey.deliveries.iter().filter(|one| one.event_id == event.id);
        let destinations: Vec<_> = its.map(|one| one.destination.as_str()).collect();
        let changes = event.data.name() == "email_changed";
        assert_eq!(
            destinations,
            if changes { vec!["crm"] } else { vec![] },
            "{}",
            event.data.name()
        );
    }
    assert_eq!(world.requests("mailerlite").len(), before);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn each_report_of_an_envelope_stands_alone() {
    let world = submitted().await;
    let deleted = report_of("deleted", "nobody@example.com");
    let envelope = json!({
        "events": [grouped("added_to_group", "Mentoria"), {"event": "subscriber.active"}, deleted,
            {"type": "campaign.sent"}, report("unsubscribed")],
        "total": 5,
    });
    for _ in 0..2 {
        assert_eq!(world.mailerlite(&envelope).await.status, 200);
    }
    let mut found = reported(&world.journey(lead()).await);
    found.sort();
    assert_eq!(found, ["added_to_group Mentoria 101", "unsubscribed"]);
    let listed = world.quarantine("mailerlite-webhook", &json!({"action": "list"})).await.json();
    let listed = listed["requests"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 1, "once");
    assert_eq!(listed[0]["reason"], "unreadable_parts");
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn an_unsubscribe_of_nobody_known_holds_for_the_lead_that_comes_later() {
    let world = World::plan().with("DESTINATIONS", "mailerlite").start().await;
    world.looks_at("mailerlite");
    assert_eq!(world.mailerlite(&report("unsubscribed")).await.status, 200);
    world.pass(60);
    world.submit(&lead_body()).await;
    world.drain().await;
    let states = world.states(lead()).await;
    let skipped = "mailerlite/marketing skipped no_consent_marketing_email".to_owned();
    assert!(states.contains(&skipped), "{states:?}");
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn only_what_mailerlite_signed_counts() {
    let world = submitted().await;
    let body = report("unsubscribed").to_string();
    let right = mailerlite::sign(body.as_bytes(), &Secret::new(MAILERLITE_SECRET));
    let wrong = mailerlite::sign(body.as_bytes(), &Secret::new("another"));
    for (signature, status) in [("", 401), (&*wrong, 401), (&right[..63], 401), (&right, 200)] {
        let headers = [("content-type", "application/json"), ("signature", signature)];
        let send = world.send("mailerlite-webhook", Method::POST, &headers, body.as_bytes());
        assert_eq!(send.await.status, status, "{signature}");
    }
    let base64_only = world.deployment(&[("MAILERLITE_SIGNATURE", "base64")]);
    let headers = [("content-type", "application/json"), ("signature", &*right)];
    let send = base64_only.send("mailerlite-webhook", Method::POST, &headers, body.as_bytes());
    assert_eq!(send.await.status, 401);
    world.drain().await;
    world.finish().await;
}

/// Only so many leads of an e-mail are touched; sending looks at the address.
#[tokio::test]
async fn a_report_touches_every_lead_of_the_address_and_the_journey_says_when() {
    let world = submitted().await;
    let mut other = lead_body();
    other["leadId"] = Value::Null;
    let derived = world.submit(&other).await.lead();
    world.pass(3600);
    let at = world.now();
    world.mailerlite(&report("unsubscribed")).await;
    for lead in [lead(), derived] {
        let journey = world.journey(lead).await;
        assert_eq!(reported(&journey), ["unsubscribed"]);
        let grant = *journey.lead.consents.get(Purpose::MarketingEmail).unwrap();
        assert_eq!((grant.decision, grant.at), (Decision::Denied, at));
        assert!(journey.events.last().unwrap().accepted_at < after(at, 1));
    }
    world.drain().await;
    world.finish().await;
}

/// The decision about marketing on the lead, and whether the address counts as revoked.
async fn marketing(world: &World) -> (Option<(Decision, How)>, bool) {
    let lead = world.journey(lead()).await.lead;
    let known = lead.consents.get(Purpose::MarketingEmail).map(|known| (known.decision, known.how));
    let digest = world.hash.digest("email", EMAIL);
    let revoked = world.store.revocations_of(("email", &digest)).await.unwrap();
    (known, revoked.purposes.contains_key(&Purpose::MarketingEmail))
}

fn envelope(events: &[Value]) -> Value {
    json!({"events": events, "total": events.len()})
}

#[tokio::test]
async fn of_several_reports_of_one_moment_the_last_one_counts() {
    let (granted, restored) = ((Decision::Granted, How::Restored), "active");
    let denied = (Decision::Denied, How::Revoked);
    for (events, decision, is_revoked) in [
        (&["unsubscribed", restored][..], granted, false),
        (&["unsubscribed", restored, "unsubscribed"], denied, true),
        (&[restored, "spam_reported"], denied, true),
    ] {
        let world = World::plan().with("DESTINATIONS", "none").start().await;
        world.submit(&lead_body()).await;
        let events: Vec<Value> = events.iter().map(|event| report(event)).collect();
        assert_eq!(world.mailerlite(&envelope(&events)).await.status, 200);
        assert_eq!(marketing(&world).await, (Some(decision), is_revoked), "{events:?}");
        world.finish().await;
    }
}

/// MailerLite sends a report again after up to 1,000 s, and says no time.
#[tokio::test]
async fn a_report_that_comes_once_more_undoes_no_newer_one() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    world.submit(&lead_body()).await;
    let denied = (Some((Decision::Denied, How::Revoked)), true);
    for event in ["unsubscribed", "active", "unsubscribed"] {
        world.mailerlite(&report(event)).await;
        world.pass(100);
    }
    assert_eq!(marketing(&world).await, denied);
    assert_eq!(world.mailerlite(&report("active")).await.status, 200);
    assert_eq!(marketing(&world).await, denied, "it was sent before");
    world.pass(60 * 60);
    world.mailerlite(&report("active")).await;
    assert_eq!(marketing(&world).await, (Some((Decision::Granted, How::Restored)), false));
    world.finish().await;
}

#[tokio::test]
async fn only_who_is_active_again_gets_e_mails_after_a_bounce() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    world.submit(&lead_body()).await;
    let digest = world.hash.digest("email", EMAIL);
    for event in ["bounced", "deleted", "unsubscribed", "spam_reported"] {
        world.mailerlite(&report(event)).await;
        world.pass(10);
        let known = world.store.revocations_of(("email", &digest)).await.unwrap();
        assert_eq!(known.mailbox, Mailbox::Bounces, "{event}");
    }
    world.mailerlite(&report("active")).await;
    let known = world.store.revocations_of(("email", &digest)).await.unwrap();
    assert_eq!(known.mailbox, Mailbox::Open);
    world.finish().await;
}

#[tokio::test]
async fn who_never_agreed_has_not_agreed_when_they_are_active_again() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut body = lead_body();
    body["consent"] = json!({"marketing": false});
    world.submit(&body).await;
    for event in ["unsubscribed", "active"] {
        world.mailerlite(&report(event)).await;
        world.pass(10);
    }
    assert_eq!(marketing(&world).await, (Some((Decision::Denied, How::Explicit)), false));
    world.finish().await;
}

/// Anybody can make leads of an e-mail whose ids come before the owner's.
#[tokio::test]
async fn the_oldest_lead_hears_a_report_whatever_leads_strangers_made() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut body = lead_body();
    body["leadId"] = json!("ff1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11");
    let own = world.submit(&body).await.lead();
    for number in 0..30 {
        body["leadId"] = json!(format!("00000000-0000-4000-8000-0000000000{number:02}"));
        world.submit_from(&format!("203.0.113.{number}"), &body).await;
        world.pass(6 * 60 * 60);
    }
    for (event, decision) in [("unsubscribed", Decision::Denied), ("active", Decision::Granted)] {
        world.mailerlite(&report(event)).await;
        world.pass(10);
        let known = world.journey(own).await.lead.consents;
        assert_eq!(known.get(Purpose::MarketingEmail).unwrap().decision, decision, "{event}");
    }
    world.finish().await;
}

/// A large envelope does not fit into the time that MailerLite waits: what was taken before is passed over when it
/// comes again.
#[tokio::test]
async fn a_report_that_every_lead_shows_costs_one_write() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    world.submit(&lead_body()).await;
    world.mailerlite(&report("unsubscribed")).await;
    let digest = world.hash.digest("email", EMAIL);
    let status = EmailStatus::Unsubscribed;
    let again = world.store.report_email(&digest, status, "any", world.now()).await.unwrap();
    assert_eq!(again, Reported::Known);
    let other = world.store.report_email(&digest, EmailStatus::Bounced, "any", world.now()).await;
    assert_eq!(other.unwrap(), Reported::News { since: world.now() });
    world.finish().await;
}

#[tokio::test]
async fn a_released_envelope_brings_only_what_could_not_be_read() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    world.submit(&lead_body()).await;
    let mut bad = report("bounced");
    bad["email"] = json!("no address");
    assert_eq!(world.mailerlite(&envelope(&[report("active"), bad])).await.status, 200);
    world.pass(2 * 60 * 60);
    world.mailerlite(&report("unsubscribed")).await;
    let listed = world.quarantine("mailerlite-webhook", &json!({"action": "list"})).await.json();
    let id = &listed["requests"][0]["id"];
    let release =
        json!({"action": "release", "id": id, "set": {"events.1.email": "bia@example.com"}});
    let released = world.quarantine("mailerlite-webhook", &release).await;
    assert_eq!(released.status, 200, "{released:?}");
    let (_, is_revoked) = marketing(&world).await;
    assert!(is_revoked, "the old report that they are active was taken already");
    let digest = world.hash.digest("email", "bia@example.com");
    let bounces = world.store.revocations_of(("email", &digest)).await.unwrap().mailbox;
    assert_eq!(bounces, Mailbox::Bounces);
    world.finish().await;
}

/// The questionnaire makes everybody an active subscriber, also who refused marketing.
#[tokio::test]
async fn nobody_who_refused_marketing_is_joined_unasked_by_a_form_that_anybody_can_send() {
    for (before, joins) in [(false, false), (true, true)] {
        let world = World::plan().with("DESTINATIONS", "mailerlite").start().await;
        world.looks_at("mailerlite");
        let mut body = lead_body();
        body["consent"] = json!({"marketing": before});
        world.submit(&body).await;
        world.drain().await;
        let other = "7f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b99";
        let form = json!({"lead_id": other, "email": EMAIL, "marketing_consent": true});
        world.post("newsletter-signup", &[], &form).await;
        world.drain().await;
        let states = world.states(LeadId::parse(other).unwrap()).await;
        let state = if joins { "delivered" } else { "skipped no_consent_marketing_email" };
        assert!(states.contains(&format!("mailerlite/newsletter {state}")), "{states:?}");
        // With the id of their own form it is their own decision.
        let form = json!({"lead_id": lead(), "email": EMAIL, "marketing_consent": true});
        world.post("newsletter-signup", &[], &form).await;
        world.drain().await;
        let states = world.states(lead()).await;
        assert!(states.contains(&"mailerlite/newsletter delivered".to_owned()), "{states:?}");
        world.finish().await;
    }
}
