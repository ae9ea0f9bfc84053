//! People who pay, known leads and strangers, and what becomes of it: refunds of a part or all of it, disputes
//! that are lost or won.

use funil_core::contact::Email;
use funil_core::id::LeadId;
use funil_core::payment::Transaction;
use serde_json::{Value, json};

use super::Life;
use super::requests::{Sender, Sent};
use crate::simulation::watch::{Kept, Promise};
use crate::stripe;

/// What things cost, in centavos.
const PRICES: [i64; 3] = [9_700, 19_700, 100_000];

/// A payment, as Stripe knows it.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Charge {
    /// The payment's id.
    pub(in crate::simulation) id: String,
    /// The lead that the site wrote into it, or that is made of a stranger.
    pub(in crate::simulation) lead: String,
    paid: i64,
    refunded: i64,
    disputed: bool,
    lost: i64,
    /// The place of its first report in the outbox.
    created: usize,
}

impl Charge {
    /// What is left of it, in centavos.
    pub(in crate::simulation) fn net(&self) -> i64 {
        (self.paid - self.refunded - self.lost).max(0)
    }

    /// How much was paid, in centavos.
    pub(in crate::simulation) const fn paid(&self) -> i64 {
        self.paid
    }

    /// Whether what is kept of a payment is what Stripe knows.
    pub(in crate::simulation) fn is(&self, kept: &Transaction) -> bool {
        kept.id.as_str() == self.id && kept.net() == self.net()
    }
}

impl Life {
    /// Puts a report of Stripe's into the outbox. `event` ends the id of the event that it becomes.
    fn report(&mut self, event: &str, mut body: Value) -> usize {
        body["created"] = json!(self.system.now().as_second());
        let name = body["type"].as_str().unwrap().to_owned();
        let promise = Promise::Form(Kept::Event(format!("stripe:{name}:{event}")));
        let what = format!("{name} of {event}");
        let sent = Sent::post(what, "stripe-webhook", Sender::Provider, body, promise);
        let times = self.system.chance.of(&[1, 1, 1, 2]);
        let delay_ms = self.delay_ms();
        self.send(sent, times, delay_ms)
    }

    /// A known lead pays, or a stranger.
    pub(super) fn pay(&mut self) {
        let chance = self.system.chance.clone();
        let known = self.known_leads();
        let number = self.system.charges.lock().unwrap().len();
        let id = format!("pi_{number}");
        let price = chance.of(&PRICES);
        let mut body = stripe::paid(&id, price);
        let intent = body.pointer_mut("/data/object").unwrap();
        let lead = if known.is_empty() || chance.once_in(6) {
            let email = format!("pagante{number}@example.com");
            let lead = LeadId::from_email(&self.system.hash, &Email::parse(&email).unwrap());
            intent["metadata"].as_object_mut().unwrap().remove("lead_id");
            intent["customer"] = Value::Null;
            intent["billing_details"] = json!({"name": format!("Pagante {number}")});
            intent["receipt_email"] = json!(email);
            lead.to_string()
        } else {
            let (lead, email) = chance.of(&known);
            intent["metadata"]["lead_id"] = json!(lead);
            intent["customer"] = json!(format!("cus_{email}"));
            intent["receipt_email"] = if chance.once_in(2) { json!(email) } else { Value::Null };
            lead
        };
        // A checkout reports the same payment once more, in either order.
        let checkout = format!("cs_{number}");
        let session =
            chance.once_in(2).then(|| stripe::checkout(&checkout, &id, price, &lead, &body));
        let (before, after) = if chance.once_in(2) { (session, None) } else { (None, session) };
        if let Some(session) = before {
            self.report(&checkout, session);
        }
        let created = self.report(&id, body);
        if let Some(session) = after {
            self.report(&checkout, session);
        }
        let charge =
            Charge { id, lead, paid: price, refunded: 0, disputed: false, lost: 0, created };
        self.system.charges.lock().unwrap().push(charge);
    }

    /// A part of a payment is given back, or all that is left of it. Its report may overtake that of the
    /// payment.
    pub(super) fn refund(&mut self) {
        let chance = self.system.chance.clone();
        let all = chance.once_in(3);
        let charge = {
            let mut charges = self.system.charges.lock().unwrap();
            if charges.is_empty() {
                return;
            }
            let at = chance.index(charges.len());
            let charge = &mut charges[at];
            let left = charge.paid - charge.refunded;
            charge.refunded += if all { left } else { left / 3 };
            charge.clone()
        };
        let mut body = stripe::refunded(&charge.id, charge.refunded);
        body["data"]["object"]["metadata"]["lead_id"] = json!(charge.lead);
        self.report(&format!("ch_{}:{}", charge.id, charge.refunded), body);
    }

    /// A payment is disputed and decided about; the two reports are sent in either order. They do not name
    /// the lead, so the payment has to be known.
    pub(super) fn dispute(&mut self) {
        let chance = self.system.chance.clone();
        let is_known =
            |charge: &Charge| self.system.outbox.lock().unwrap()[charge.created].accepted;
        let status = chance.of(&["lost", "won", "warning_closed"]);
        let charge = {
            let mut charges = self.system.charges.lock().unwrap();
            let fits = |charge: &&mut Charge| !charge.disputed && is_known(charge);
            let Some(charge) = charges.iter_mut().find(fits) else { return };
            charge.disputed = true;
            charge.lost = if status == "lost" { charge.paid / 2 } else { 0 };
            charge.clone()
        };
        let mut statuses = ["needs_response", status];
        if chance.once_in(2) {
            statuses.reverse();
        }
        for status in statuses {
            let body = stripe::disputed(&charge.id, charge.paid / 2, status);
            self.report(&format!("dp_{}", charge.id), body);
        }
    }
}
