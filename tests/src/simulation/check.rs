//! What must hold at the end of a simulation, when nothing is open.

mod calls;
mod messages;
mod payments;

use std::collections::{BTreeMap, BTreeSet};

use funil_core::booking::Recipient;
use funil_core::clock::after;
use funil_core::contact::consent::Purpose;
use funil_core::delivery::{Delivery, Effect, Queue, StateKind, WhenUnknown};
use funil_core::destination::{self, AliasDigests, Slot};
use funil_core::event::{CallEvent, Event, EventData, FormEvent};
use funil_core::id::LeadId;
use funil_dev::simulated::Ga4Event;
use funil_store::{DeliveryKey, Journey};

use super::life::sends_samples;
use super::system::System;
use super::watch::{Known, VISIT};

/// Checks every lead and what the providers have, and notes in the watch what does not hold.
pub(super) async fn check(system: &System) {
    let leads = system.watch.lock().unwrap().leads.clone();
    let mut problems = Vec::new();
    let mut journeys = BTreeMap::new();
    for (lead, known) in &leads {
        let id = LeadId::parse(lead).unwrap();
        let Some(journey) = system.store.journey(id).await.unwrap() else {
            problems.push(format!("{lead} is lost"));
            continue;
        };
        if journey.events.len() != known.events.len() || journey.unread > 0 {
            problems.push(format!("{lead}: some of {} events are lost", known.events.len()));
        }
        for delivery in &journey.deliveries {
            if let Some(problem) = wrong(system, known, &journey, delivery) {
                problems.push(format!("{lead}: {problem}"));
            }
            count(system, delivery.state.kind());
        }
        problems.extend(planned(system, lead, &journey));
        problems.extend(arrived(system, lead, known, &journey));
        journeys.insert(lead.clone(), journey);
    }
    problems.extend(calls::check(system, &leads, &journeys));
    problems.extend(messages::check(system, &journeys));
    problems.extend(payments::check(system, &journeys));
    problems.extend(at_providers(system, &leads, &journeys));
    problems.extend(visits(system).await);
    let mut watch = system.watch.lock().unwrap();
    watch.counts.leads = u64::try_from(leads.len()).unwrap();
    let events: usize = leads.values().map(|known| known.events.len()).sum();
    watch.counts.events = u64::try_from(events).unwrap();
    for problem in problems {
        watch.problem(problem);
    }
}

/// Checks that every event of a page ended, and that GA4 counted none more often than it was kept.
async fn visits(system: &System) -> Vec<String> {
    let (kept, keys) = {
        let watch = system.watch.lock().unwrap();
        (watch.visits.clone(), watch.visitors.iter().cloned().collect::<Vec<_>>())
    };
    let mut problems = Vec::new();
    let ended = system.store.ended(&keys).await.unwrap();
    if ended.len() != keys.len() {
        problems.push(format!("of {} page events {} are there", keys.len(), ended.len()));
    }
    for one in ended {
        let state = one.delivery.state.kind();
        if matches!(state, StateKind::Pending | StateKind::Leased | StateKind::Skipped) {
            problems.push(format!("a page event ended {}", one.delivery.state.name()));
        }
        count(system, state);
    }
    let counted = system.front.providers.ga4_events();
    for (number, kept) in kept.into_iter().enumerate() {
        let its = |one: &&Ga4Event| one.params["content_id"] == format!("{VISIT}{number}");
        let counted = counted.iter().filter(its).count();
        if counted > kept {
            problems.push(format!("GA4 counted page event {number} {counted} times of {kept}"));
        }
    }
    problems
}

fn count(system: &System, state: StateKind) {
    let counts = &mut system.watch.lock().unwrap().counts;
    match state {
        StateKind::Delivered => counts.delivered += 1,
        StateKind::Skipped => counts.skipped += 1,
        StateKind::Unknown => counts.unknown += 1,
        StateKind::Dead => counts.dead += 1,
        StateKind::Pending | StateKind::Leased => {}
    }
}

/// Whether a delivery waits for a person when it may have been sent. What becomes of such a delivery is
/// checked in [`messages`].
fn needs_person(delivery: &Delivery) -> bool {
    destination::find(&delivery.destination)
        .is_some_and(|one| one.when_unknown == WhenUnknown::NeedsPerson)
}

/// Whether a destination does not take an event any more because a webhook's sample, which is sent as it is, says
/// that it happened long ago.
fn is_of_old_sample(journey: &Journey, delivery: &Delivery, reason: &str) -> bool {
    const LONG_S: i64 = 60 * 24 * 3600;

    let is_old = |event: &&Event| after(event.occurred_at, LONG_S) < event.accepted_at;
    let mut its = journey.events.iter().filter(|event| event.id == delivery.event_id);
    sends_samples() && reason == "deadline_passed" && its.any(|event| is_old(&event))
}

/// Why a delivery should not have ended as it did.
fn wrong(system: &System, known: &Known, journey: &Journey, delivery: &Delivery) -> Option<String> {
    let Some(destination) = destination::find(&delivery.destination) else {
        return Some(format!("{} is no destination", delivery.destination));
    };
    let reason = delivery.reason_text().unwrap_or_default();
    let fine = match delivery.state.kind() {
        StateKind::Delivered => true,
        StateKind::Unknown => destination.when_unknown == WhenUnknown::Final,
        StateKind::Skipped => {
            may_be_skipped(system, known, journey, delivery, destination.slot(&delivery.slot))
        }
        StateKind::Dead => needs_person(delivery) || is_of_old_sample(journey, delivery, &reason),
        StateKind::Pending | StateKind::Leased => false,
    };
    let (to, slot, state) = (&delivery.destination, &delivery.slot, delivery.state.name());
    (!fine).then(|| format!("{to}/{slot} ended {state} {reason}"))
}

/// Whether the reason why a delivery was skipped was true at some moment.
fn may_be_skipped(
    system: &System,
    known: &Known,
    journey: &Journey,
    delivery: &Delivery,
    slot: Option<&Slot>,
) -> bool {
    let watch = system.watch.lock().unwrap();
    let reason = delivery.reason_text().unwrap_or_default();
    if reason == "unsubscribed" {
        return delivery.destination == "mailerlite" && watch.left.contains(&known.email);
    }
    // A newer delivery of the slot brought the lead's state.
    if reason == "superseded" {
        let key = DeliveryKey::from(delivery);
        return delivery.effect == Effect::StateAlone
            && journey.deliveries.iter().any(|other| {
                let delivered = other.state.kind() == StateKind::Delivered;
                let same =
                    (&other.destination, &other.slot) == (&delivery.destination, &delivery.slot);
                delivered && same && DeliveryKey::from(other) > key
            });
    }
    // Its message was sent, or began to be, with another event of the same lead.
    if reason == "message_of_another" {
        return delivery.destination == "c2s"
            && journey.replies.iter().any(|kept| kept.step.contains("message:"));
    }
    // What MailerLite has is checked at the end.
    if reason == "unchanged" {
        return delivery.destination == "mailerlite"
            && delivery.effect == Effect::StateAlone
            && journey.deliveries.iter().any(|other| {
                other.destination == "mailerlite" && other.state.kind() == StateKind::Delivered
            });
    }
    // WhatsApp said of another message that the number gets none.
    if reason == "failed_131026" {
        return journey.deliveries.iter().any(|other| {
            let dead = other.state.kind() == StateKind::Dead;
            let same = other.phone_digest == delivery.phone_digest;
            dead && same && other.reason_text().as_deref() == Some(&*reason)
        });
    }
    if let Some(why) = reason.strip_prefix("no_number_") {
        return has_no_number(journey, delivery, why);
    }
    if let Some(status) = reason.strip_prefix("booking_") {
        let booking = delivery.booking.as_ref().and_then(|id| watch.bookings.get(id.as_str()));
        return booking.is_some_and(|booking| booking.ever.contains(status));
    }
    let purpose = reason.strip_prefix("no_consent_").and_then(Purpose::parse);
    let (Some(purpose), Some(slot)) = (purpose, slot) else { return false };
    let opted_out =
        || delivery.phone_digest.as_ref().is_some_and(|of| watch.opted_out(of.as_str()));
    // The newsletter's slot asks by itself whether the e-mail's owner, who is its oldest lead, agreed.
    let is_newsletter = slot.name == "newsletter" && purpose == Purpose::MarketingEmail;
    let is_owner = watch.oldest.get(&known.email) == Some(&delivery.lead_id.to_string());
    let agreed = is_owner && known.choices.get(&purpose) == Some(&true);
    is_newsletter && !agreed
        || (slot.purpose == purpose || is_newsletter) && known.ever_denied.contains(&purpose)
        || slot.unless_revoked == Some(purpose)
            && (opted_out() || known.ever_denied.contains(&purpose))
}

/// Whether it was decided at planning that a message goes to nobody, for this reason.
fn has_no_number(journey: &Journey, delivery: &Delivery, why: &str) -> bool {
    let mut events = journey.events.iter();
    let event = events.find(|event| event.id == delivery.event_id);
    let Some(event) = event else { return false };
    let recipient = event.data.recipient();
    let own = matches!(&event.data, EventData::Call(CallEvent::Booked(booked)) if booked.invitee.phone.is_some());
    let decided = matches!(recipient, Some(Recipient::Nobody { why: kept }) if kept.name() == why);
    decided && !own
}

/// Checks that each event has a delivery for every slot that a destination wants of it, and no other.
fn planned(system: &System, lead: &str, journey: &Journey) -> Vec<String> {
    let watch = system.watch.lock().unwrap();
    let mut problems = Vec::new();
    for event in &journey.events {
        let consent = watch.consent_of_form(&event.data);
        let (aliases, queue) = (AliasDigests::default(), Queue::default());
        let wanted = destination::plan(event, destination::ALL, consent.as_ref(), &aliases, queue);
        let name = |delivery: &Delivery| format!("{}/{}", delivery.destination, delivery.slot);
        let found: BTreeSet<String> =
            journey.deliveries.iter().filter(|d| d.event_id == event.id).map(name).collect();
        let all: BTreeSet<String> = wanted.iter().map(name).collect();
        // A call that had ended before its booking arrived gets no messages.
        let had_ended = |delivery: &Delivery| {
            let booking = delivery.booking.as_ref().and_then(|id| watch.bookings.get(id.as_str()));
            booking.is_some_and(|booking| booking.ever.iter().any(|status| *status != "booked"))
        };
        let least: BTreeSet<String> =
            wanted.iter().filter(|delivery| !had_ended(delivery)).map(name).collect();
        if !found.is_subset(&all) || !least.is_subset(&found) {
            problems.push(format!("{lead}: {} has {found:?}, not {all:?}", event.id));
        }
    }
    problems
}

/// Checks what the CRM and GA4 have of a lead.
fn arrived(system: &System, lead: &str, known: &Known, journey: &Journey) -> Vec<String> {
    let mut problems = Vec::new();
    let providers = &system.front.providers;
    let submitted = |delivery: &&Delivery| {
        let event = journey.events.iter().find(|event| event.id == delivery.event_id);
        event.is_some_and(|event| {
            let EventData::Form(form) = &event.data else { return false };
            let is_lead = matches!(form, FormEvent::LeadSubmitted(_));
            is_lead || matches!(form, FormEvent::ConsultationRequested(_))
        })
    };
    let crm = journey.deliveries.iter().filter(|d| d.destination == "crm");
    let expected = crm.filter(|d| d.state.kind() == StateKind::Delivered).filter(submitted).count();
    let triggers: u32 = providers.crm_triggers(lead).values().sum();
    if usize::try_from(triggers).unwrap() != expected {
        problems.push(format!("{lead}: {triggers} automations for {expected} forms"));
    }
    let contact = providers.crm_contact(lead).unwrap_or_default();
    let is_other = receives("crm", journey) && contact["name"] != known.name.as_str();
    if is_other && !system.clocks_are_wrong {
        problems.push(format!("{lead}: the CRM has {}, not {}", contact["name"], known.name));
    }
    let counted = providers.ga4_events();
    let counted: Vec<_> = counted.iter().filter(|one| one.request["user_id"] == *lead).collect();
    let mut once: Vec<String> = counted
        .iter()
        .map(|one| format!("{} {:?} {}", one.name, one.timestamp_micros, one.params))
        .collect();
    once.sort();
    once.dedup();
    // It may have fewer, because GA4's response is 2xx even for what it does not count.
    let most = journey.deliveries.iter().filter(|d| d.destination == "ga4").count();
    if once.len() != counted.len() || counted.len() > most {
        problems.push(format!("{lead}: GA4 counted {} of {most} events", counted.len()));
    }
    problems
}

/// Whether a destination receives anything of a lead. It does not where it takes none of the lead's events.
fn receives(destination: &str, journey: &Journey) -> bool {
    journey.deliveries.iter().any(|delivery| delivery.destination == destination)
}

/// Whether one of the site's forms is none of MailerLite's business, because the person did not agree to
/// marketing: then MailerLite need not know of the lead, or what the form changed on it.
fn has_form_that_mailerlite_does_not_get(journey: &Journey) -> bool {
    journey.events.iter().any(|event| {
        let EventData::Form(form) = &event.data else { return false };
        let its = |delivery: &&Delivery| {
            delivery.event_id == event.id && delivery.destination == "mailerlite"
        };
        let mut its = journey.deliveries.iter().filter(its);
        form.of_site().is_some()
            && !its.any(|delivery| delivery.state.kind() == StateKind::Delivered)
    })
}

/// Checks what the providers have of all leads.
fn at_providers(
    system: &System,
    leads: &BTreeMap<String, Known>,
    journeys: &BTreeMap<String, Journey>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let providers = &system.front.providers;
    let at_crm = journeys.values().filter(|journey| receives("crm", journey)).count();
    if providers.crm_contact_count() != at_crm {
        let contacts = providers.crm_contact_count();
        problems.push(format!("the CRM has {contacts} contacts, not {at_crm}"));
    }
    let all = || journeys.values().flat_map(|journey| &journey.deliveries);
    let delivered = |name: &str| {
        all().filter(|d| d.destination == name && d.state.kind() == StateKind::Delivered).count()
    };
    // There may be more: a delivery arrives, its response is lost, and the consent is revoked before the
    // next try.
    let kept = providers.segment_messages().len();
    if kept < 2 * delivered("segment") {
        problems.push(format!("Segment kept {kept} messages, not {}", 2 * delivered("segment")));
    }
    // Meta recognises a duplicate by the event's id, which is that of its delivery.
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for event in providers.meta_events() {
        let id = event["event_id"].as_str().unwrap_or_default().to_owned();
        *counted.entry(id).or_default() += 1;
    }
    let ids = all().filter(|delivery| delivery.destination == "meta");
    let ids: BTreeMap<String, StateKind> =
        ids.map(|d| (d.id.to_string(), d.state.kind())).collect();
    for (id, times) in &counted {
        if *times != 1 || !ids.contains_key(id) {
            problems.push(format!("Meta counted {id} {times} times"));
        }
    }
    for (id, state) in &ids {
        if *state == StateKind::Delivered && !counted.contains_key(id) {
            problems.push(format!("Meta has no event {id}"));
        }
    }
    // A seller reads one message about each person at each of Contact2Sale's leads.
    let mut read = BTreeSet::new();
    for message in providers.c2s_messages() {
        let about = message.text.lines().nth(1).unwrap_or_default().to_owned();
        if !read.insert((message.lead.clone(), about)) {
            problems.push(format!("Contact2Sale has two messages at {}", message.lead));
        }
    }
    if read.len() < delivered("c2s") {
        let (messages, delivered) = (read.len(), delivered("c2s"));
        problems.push(format!("Contact2Sale has {messages} messages of {delivered} deliveries"));
    }
    let oldest = system.watch.lock().unwrap().oldest.clone();
    for (email, lead) in &oldest {
        let Some(known) = leads.get(lead) else { continue };
        let receives_nothing = |journey: &Journey| {
            !receives("mailerlite", journey) || has_form_that_mailerlite_does_not_get(journey)
        };
        if journeys.get(lead).is_some_and(receives_nothing) {
            continue;
        }
        let subscriber = providers.subscriber(email).unwrap_or_default();
        let field = |name: &str| subscriber["fields"][name].as_str().unwrap_or_default().to_owned();
        let (name, id) = (field("name"), field("lead_id"));
        let left = system.watch.lock().unwrap().left.contains(email);
        if (name != known.name || id != *lead) && !left && !system.clocks_are_wrong {
            let name_of_oldest = &known.name;
            problems.push(format!("MailerLite has {name:?} for {email}, not {name_of_oldest:?}"));
        }
        let is_only = leads.values().filter(|other| other.email == known.email).count() == 1;
        let stage = journeys.get(lead).map(|journey| journey.lead.stage().name());
        let theirs = field("transformation_stage");
        if is_only
            && stage.is_some_and(|stage| stage != theirs)
            && !left
            && !system.clocks_are_wrong
        {
            problems.push(format!("MailerLite has stage {theirs:?} of {lead}, not {stage:?}"));
        }
    }
    for email in providers.resubscriptions() {
        problems.push(format!("{email} was subscribed again"));
    }
    problems
}
