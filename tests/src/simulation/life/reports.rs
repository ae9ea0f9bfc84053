//! What tools report of people: MailerLite and Brevo of their subscribers, a CRM of its deals, Contact2Sale of
//! its leads; and the samples of each webhook whose requests are not drawn.
//!
//! Must not know what becomes of a report.

use funil_core::provider::{Verified, c2s, deals};
use funil_dev::simulated::Person;
use funil_lambda::webhooks::WEBHOOKS;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Life;
use super::requests::{Sender, Sent};
use crate::mailerlite::report_of;
use crate::samples;
use crate::simulation::watch::{Kept, Promise};

/// The webhooks whose requests are drawn. Of any other its samples are sent.
const DRAWN_WEBHOOKS: [&str; 7] = [
    "calendar-webhook",
    "whatsapp-webhook",
    "stripe-webhook",
    "mailerlite-webhook",
    "deal-webhook",
    "c2s-webhook",
    "brevo-webhook",
];

/// The functions of the webhooks whose samples are sent.
fn undrawn() -> impl Iterator<Item = &'static str> {
    WEBHOOKS.iter().map(|webhook| webhook.name).filter(|name| !DRAWN_WEBHOOKS.contains(name))
}

/// Whether there is a webhook whose samples are sent.
pub(in crate::simulation) fn sends_samples() -> bool {
    undrawn().next().is_some()
}

impl Life {
    /// The providers of webhooks that nothing here draws send their samples, some twice, at any time.
    pub(super) fn send_samples(&mut self) {
        for function in undrawn() {
            for (number, body) in samples::bodies(function).into_iter().enumerate() {
                let what = format!("sample {number} of {function}");
                let sent = Sent::post(what, function, Sender::Provider, body, Promise::Nothing);
                let times = 1 + self.system.chance.index(2);
                let after_ms = self.delay_ms();
                self.send(sent, times, after_ms);
            }
        }
    }

    /// MailerLite reports something of a subscriber, late or more than once, as networks have it.
    pub(super) fn subscriber_report(&mut self, event: &str, email: &str) {
        let promise = if ["unsubscribed", "spam_reported"].contains(&event) {
            Promise::Unsubscribed { email: email.to_owned() }
        } else {
            Promise::Nothing
        };
        let times = if self.system.chance.once_in(3) { 2 } else { 1 };
        let of_brevo = match event {
            "unsubscribed" => Some("unsubscribed"),
            "spam_reported" => Some("spam"),
            "updated" => Some("soft_bounce"),
            _ => None,
        };
        let sent = match of_brevo {
            Some(name) if self.system.chance.once_in(2) => Sent::post(
                format!("Brevo's {name} of {email}"),
                "brevo-webhook",
                Sender::Provider,
                json!({"event": name, "email": email, "ts_event": self.system.now().as_second()}),
                promise,
            ),
            Some(_) | None => Sent::post(
                format!("MailerLite's {event} of {email}"),
                "mailerlite-webhook",
                Sender::Provider,
                report_of(event, email),
                promise,
            ),
        };
        let after_ms = self.delay_ms();
        self.send(sent, times, after_ms);
    }

    /// The CRM reports that somebody's deal came to a status, maybe once more.
    pub(super) fn deal(&mut self) {
        let chance = self.system.chance.clone();
        let known = self.known_leads();
        if known.is_empty() {
            return;
        }
        let (_, email) = chance.of(&known);
        let deal = format!("D{}", chance.below(6));
        let status = chance.of(&["Qualified", "Committed", "Perdido"]);
        let body = json!({"data": {
            "dealId": deal, "customer": {"contactId": email.replace('@', "."), "email": email},
            "dealDetails": {"status": status, "dealValue": 1_000, "currency": "BRL"},
        }});
        let crm = deals::find(None).unwrap();
        let bytes = body.to_string();
        let verified = Verified::released(bytes.as_bytes());
        let parsed = crm.parse(verified, "", &deals::Statuses::default());
        let Ok(deals::Parsed::Report(report)) = parsed else { unreachable!() };
        let promise = Promise::Form(Kept::Event(report.id.as_str().to_owned()));
        let what = format!("{deal} of {email} is {status}");
        let sent = Sent::post(what, "deal-webhook", Sender::Provider, body, promise);
        let times = chance.of(&[1, 1, 2]);
        let after_ms = self.delay_ms();
        self.send(sent, times, after_ms);
    }

    /// Contact2Sale reports up to three changes of its leads, maybe once more.
    pub(super) fn report_crm_leads(&mut self) {
        let chance = self.system.chance.clone();
        let known = self.known_leads();
        if known.is_empty() {
            return;
        }
        let events: Vec<Value> = (0..=chance.below(3))
            .map(|_| {
                let (_, email) = chance.of(&known);
                // Contact2Sale has two leads of somebody, and tells the time by the minute.
                let lead = format!("{}{}", email.replace('@', "."), chance.below(2));
                let action = chance.of(&["on_create_lead", "on_update_lead", "on_close_lead"]);
                let minute = self.system.now().as_second() / 60 * 60;
                let at = Timestamp::from_second(minute).unwrap();
                let phone = format!("55119876543{}", chance.below(3) + 20);
                let name = "Nina Exemplo".to_owned();
                let known = [(String::new(), email.clone()), (phone.clone(), String::new())];
                for (phone, email) in known {
                    let (name, cpf) = (name.clone(), String::new());
                    let person = Person { name, phone, email, cpf };
                    self.system.front.providers.know_person(person);
                }
                json!({"id": lead, "hook_action": action, "attributes": {
                    "customer": {"name": name, "email": email, "phone": phone}, "updated_at": at}})
            })
            .collect();
        let body = json!(events);
        let bytes = body.to_string();
        let parts = c2s::parse(Verified::released(bytes.as_bytes())).unwrap();
        let ids = parts.iter().map(|part| part.event.as_ref().unwrap().id.as_str().to_owned());
        let promise = Promise::Events(ids.collect());
        let what = format!("{} changes of Contact2Sale's leads", events.len());
        let sent = Sent::post(what, "c2s-webhook", Sender::Provider, body, promise);
        let times = chance.of(&[1, 1, 2]);
        let after_ms = self.delay_ms();
        self.send(sent, times, after_ms);
    }
}
