//! What transactions keep: each accepted event with its lead, its bookings and its deliveries.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a new event is checked by what holds for all events"
)]

use std::collections::{BTreeMap, BTreeSet};

use funil_core::booking::{Attendance, BookingStatus, StatusChange};
use funil_core::contact::consent::{Decision, FormConsent, Purpose};
use funil_core::contact::{Email, Phone};
use funil_core::event::{
    CallEvent, ConsentEffect, ConsentEvent, DealEvent, EventData, FormEvent, Invitee,
    OperationEvent, PaymentEvent,
};
use funil_core::id::LeadId;
use funil_core::lead::Stage;
use funil_core::score::Answer;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::history::{plain, text};
use super::{GOAL, Kept, Known, NAME, Watch};

/// A booking, as the table has it.
#[derive(Clone, Debug)]
pub(in super::super) struct Booked {
    pub(in super::super) lead: String,
    pub(in super::super) status: BookingStatus,
    /// How it was withdrawn, and when.
    withdrawn: Option<(BookingStatus, Timestamp)>,
    /// The newest report about whether the person came.
    word: Option<(Attendance, Timestamp)>,
    /// Every status that an event gave it.
    pub(in super::super) ever: BTreeSet<&'static str>,
    /// The number of the request since which it does not stand.
    pub(super) ended: Option<u64>,
}

impl Watch {
    /// A transaction takes effect: deliveries are withdrawn, consent is revoked, or an event is kept.
    pub(super) fn committed(&mut self, request: &Value) {
        let writes = request["TransactItems"].as_array().unwrap();
        for update in writes.iter().filter_map(|write| write.get("Update")) {
            let sk = text(update, "/Key/sk/S");
            if sk.starts_with("DELIVERY#")
                && update["ExpressionAttributeValues"].get(":skipped").is_some()
            {
                self.withdrawn(sk);
            } else if sk == "LEAD" && update["ExpressionAttributeValues"].get(":grant").is_some() {
                self.lead_revoked(update);
            }
        }
        let puts: Vec<Value> =
            writes.iter().filter_map(|write| write.pointer("/Put/Item").map(plain)).collect();
        let Some(event) = puts.iter().find(|item| item["type"] == "event") else { return };
        let (lead, sk) = (text(event, "/lead_id").to_owned(), text(event, "/sk").to_owned());
        // The SDK may repeat a transaction that has gone through; the repetition changes nothing.
        if !self.events.insert(format!("{lead} {sk}")) {
            return;
        }
        for item in puts.iter().filter(|item| item["type"] == "alias") {
            if let Some(digest) = text(item, "/pk").strip_prefix("ALIAS#phone#") {
                self.leads.entry(lead.clone()).or_default().phones.insert(digest.to_owned());
            }
        }
        let data = json!({"event": event["event"], "data": event["data"]});
        let Ok(data) = serde_json::from_value::<EventData>(data) else {
            return self.problem(format!("an event that cannot be read: {event}"));
        };
        let derived = LeadId::parse(&lead).is_ok_and(LeadId::is_derived);
        let boxes = self.boxes_of_form(&data).filter(|_| derived).unwrap_or_default();
        for item in puts.iter().filter(|item| item["type"] == "delivery") {
            self.planned(&lead, text(item, "/sk"), item, &boxes);
        }
        let id = text(event, "/event_id").to_owned();
        self.kept_once(&id, &data);
        self.learn(&lead, &data);
        self.leads.get_mut(&lead).unwrap().events.insert(sk);
        let written: BTreeSet<&str> = writes
            .iter()
            .filter_map(|write| text(write, "/Update/Key/sk/S").strip_prefix("BOOKING#"))
            .collect();
        let changes = data.bookings();
        for change in changes.iter().filter(|change| written.contains(change.id.as_str())) {
            let number = self.number;
            let booking = self.bookings.entry(change.id.to_string()).or_insert_with(|| Booked {
                lead: lead.clone(),
                status: BookingStatus::Booked,
                withdrawn: None,
                word: None,
                ever: BTreeSet::new(),
                ended: None,
            });
            let elsewhere = booking.lead != lead;
            let at = text(event, "/occurred_at").parse().unwrap();
            match change.status {
                StatusChange::BookedIfNew => {}
                StatusChange::Withdrawn(status) => booking.withdrawn = Some((status, at)),
                StatusChange::Attended(attendance) => booking.word = Some((attendance, at)),
            }
            let (given, since) = booking
                .withdrawn
                .map_or((BookingStatus::Booked, None), |known| (known.0, Some(known.1)));
            booking.status = given.with_attendance(since, booking.word);
            if !matches!(change.status, StatusChange::BookedIfNew) {
                booking.ever.insert(booking.status.name());
                let stands = booking.status.stands();
                booking.ended = (!stands).then_some(booking.ended.unwrap_or(number));
            }
            if elsewhere {
                self.problem(format!("booking {} belongs to two leads", change.id));
            }
        }
        self.note_denials();
    }

    /// Checks that what was sent once is kept once: a form for as long as its receipt lives, a
    /// provider's webhook for ever.
    fn kept_once(&mut self, id: &str, data: &EventData) {
        let (name, memory_ms) = match data {
            EventData::Form(FormEvent::QuestionnaireCompleted(completed)) => {
                let goal = completed.form.answer("mainGoal").map(Answer::text);
                let number = goal.and_then(|goal| number_after(&goal, GOAL));
                (number.map(Kept::Questionnaire), self.same_form_ms)
            }
            EventData::Form(_) => (number_of(data).map(Kept::Submission), self.same_form_ms),
            EventData::Operation(
                OperationEvent::SyncRequested(_)
                | OperationEvent::DeliveryReplayed(_)
                | OperationEvent::DeliverySettled(_),
            ) => (None, 0),
            // An event of a provider, or of an operator about a call, always has the same id.
            _ => (Some(Kept::Event(id.to_owned())), u128::MAX),
        };
        let Some(name) = name else {
            return self.problem(format!("{id} was kept, and nobody sent it"));
        };
        let now = self.now();
        let before = self.kept.entry(name.clone()).or_default();
        let again = before.iter().any(|at| now - at < memory_ms);
        before.push(now);
        if again {
            self.problem(format!("{name:?} was kept twice"));
        }
    }

    /// Learns what an event says about its lead.
    fn learn(&mut self, lead: &str, data: &EventData) {
        let mut known = self.leads.get(lead).cloned().unwrap_or_default();
        match data {
            EventData::Form(FormEvent::QuestionnaireCompleted(_)) => {
                known.stage = known.stage.max(Some(Stage::QuestionnaireComplete));
            }
            EventData::Form(_) => self.learn_of_form(lead, &mut known, data),
            EventData::Payment(PaymentEvent::Succeeded(paid)) => {
                known.stage = known.stage.max(Some(Stage::Customer));
                if let Some(email) = &paid.payer.email {
                    known.choices.entry(Purpose::Contact).or_insert(true);
                    if known.email.is_empty() {
                        self.set_email(&mut known, email.as_str());
                    }
                }
                if let Some(name) = &paid.payer.name
                    && known.name.is_empty()
                {
                    known.name.clone_from(name.expose());
                }
            }
            EventData::Call(CallEvent::Booked(booked)) => {
                self.invited(&mut known, &booked.invitee, true);
            }
            EventData::Call(CallEvent::Canceled(canceled)) => {
                self.invited(&mut known, &canceled.invitee, true);
            }
            EventData::Operation(
                OperationEvent::SequenceRequested(_) | OperationEvent::SequenceWithdrawn(_),
            ) => {
                known.by_hand = true;
            }
            EventData::Consent(ConsentEvent::EmailChanged(changed))
                if changed.status.consent() == ConsentEffect::Revokes =>
            {
                known.choices.insert(Purpose::MarketingEmail, false);
            }
            // Whom Contact2Sale reports may be contacted.
            EventData::Deal(DealEvent::Lead(_)) => {
                known.choices.entry(Purpose::Contact).or_insert(true);
            }
            // The operator states that whom the CRM reports agreed to ads, where they did not decide.
            EventData::Deal(_) => {
                known.choices.entry(Purpose::Contact).or_insert(true);
                known.choices.entry(Purpose::Ads).or_insert(true);
            }
            // Other events say nothing about who the lead is.
            _ => {}
        }
        if !known.email.is_empty() {
            let oldest = self.oldest.entry(known.email.clone());
            oldest.or_insert_with(|| lead.to_owned());
        }
        self.leads.insert(lead.to_owned(), known);
    }

    /// Learns what a form that makes leads says about its lead.
    fn learn_of_form(&self, lead: &str, known: &mut Known, data: &EventData) {
        let Some((email, name, phone)) = person_of(data) else { return };
        let derived = LeadId::parse(lead).is_ok_and(LeadId::is_derived);
        // Anybody can send a form under a derived id: only the first one says who the person is and what they
        // agreed to, and it replaces nothing.
        let is_later = derived && std::mem::replace(&mut known.has_form, true);
        self.set_email(known, email.as_str());
        if !is_later {
            if !derived || known.name.is_empty() {
                name.clone_into(&mut known.name);
            }
            if let Some(phone) = phone
                && (!derived || known.phone.is_none())
            {
                self.set_phone(known, &phone.alias_text());
            }
            known.choices.extend(self.boxes_of_form(data).unwrap_or_default());
            if number_of(data).is_some_and(|sent| self.submissions[sent].assumes) {
                known.choices.entry(Purpose::Analytics).or_insert(true);
            }
        }
        known.choices.entry(Purpose::Contact).or_insert(true);
    }

    /// Learns what a booking says about a lead, where the lead's own forms say nothing.
    fn invited(&self, known: &mut Known, invitee: &Invitee, contact: bool) {
        if known.email.is_empty()
            && let Some(email) = &invitee.email
        {
            self.set_email(known, email.as_str());
        }
        if known.name.is_empty()
            && let Some(name) = &invitee.name
        {
            known.name.clone_from(name.expose());
        }
        if known.phone.is_none()
            && let Some(phone) = &invitee.phone
        {
            self.set_phone(known, &phone.alias_text());
        }
        known.stage = known.stage.max(Some(Stage::CallScheduled));
        known.choices.entry(Purpose::Contact).or_insert(contact);
    }

    /// The boxes of a lead's form, ticked or not.
    fn boxes_of_form(&self, data: &EventData) -> Option<BTreeMap<Purpose, bool>> {
        self.submissions[number_of(data)?].consent.clone()
    }

    /// The consent boxes of a lead's form, which its own deliveries heed.
    pub(in super::super) fn consent_of_form(&self, data: &EventData) -> Option<FormConsent> {
        let boxes = self.boxes_of_form(data)?;
        let answers = boxes.into_iter().map(|(purpose, ticked)| {
            (purpose, if ticked { Decision::Granted } else { Decision::Denied })
        });
        Some(FormConsent { answers: answers.collect(), policy_version: None })
    }

    fn set_email(&self, known: &mut Known, email: &str) {
        email.clone_into(&mut known.email);
        self.hash.digest("email", email).as_str().clone_into(&mut known.email_digest);
    }

    fn set_phone(&self, known: &mut Known, number: &str) {
        let digest = self.hash.digest("phone", number).as_str().to_owned();
        known.phone = Some(digest);
    }
}

/// What a form that makes leads says of the person.
fn person_of(data: &EventData) -> Option<(&Email, &str, Option<&Phone>)> {
    let EventData::Form(event) = data else { return None };
    if let FormEvent::LeadSubmitted(submitted) = event {
        let form = &submitted.form;
        return Some((&form.email, form.name.expose(), form.phone.as_ref()));
    }
    let said = event.of_site()?;
    Some((said.email, said.name?.expose(), said.phone))
}

/// The number of a form that makes leads, which stands in its name.
fn number_of(data: &EventData) -> Option<usize> {
    person_of(data).and_then(|(_, name, _)| number_after(name, NAME))
}

/// The number that follows `mark` in a text and ends it.
fn number_after(text: &str, mark: &str) -> Option<usize> {
    text.split(mark).nth(1)?.parse().ok()
}
