//! WhatsApp: the status updates of each message that it accepted, what people write back, and the
//! messages that an operator plans and withdraws by hand.

use funil_core::clock::after;
use funil_core::contact::Phone;
use http::Method;
use serde_json::{Value, json};

use super::Life;
use super::forms::{PEOPLE, phone};
use super::requests::{Sender, Sent};
use crate::simulation::watch::Promise;

/// The status updates that a message may get.
const FATES: [&[&str]; 8] = [
    &["sent", "delivered", "read"],
    &["sent", "delivered", "read"],
    &["sent", "delivered"],
    &["sent"],
    &["read"],
    &[],
    &["failed"],
    &["sent", "failed"],
];
/// The code of a message that failed because its recipient has no WhatsApp.
const UNDELIVERABLE: u32 = 131_026;

fn bsuid(person: u64) -> String {
    format!("BR.{}", if person == 4 { 3 } else { person })
}

impl Life {
    /// WhatsApp sends the status updates of the messages that it accepted since the last time: in any
    /// order, some twice, some late.
    pub(super) fn send_status_updates(&mut self) {
        let chance = self.system.chance.clone();
        let messages = self.system.front.providers.whatsapp_messages();
        let second = self.system.now().as_second();
        for message in messages.into_iter().skip(self.messages_drawn) {
            self.messages_drawn += 1;
            let fate = chance.of(&FATES);
            let name = message.callback_data.clone().unwrap_or_default();
            self.system.fates.lock().unwrap().insert(name, fate);
            for (step, status) in fate.iter().enumerate() {
                let code = (*status == "failed").then_some(UNDELIVERABLE);
                let at = second + i64::try_from(step).unwrap();
                let mut body = message.status(status, code, at);
                let update = body.pointer_mut("/entry/0/changes/0/value/statuses/0").unwrap();
                let digits = message.to.as_str();
                let person = (0..PEOPLE).find(|person| phone(*person).ends_with(digits));
                if let Some(person) = person.filter(|_| chance.once_in(3)) {
                    update["recipient_user_id"] = json!(bsuid(person));
                    if chance.once_in(2) {
                        update.as_object_mut().unwrap().remove("recipient_id");
                    }
                }
                let what = format!("status {status} of message {}", self.messages_drawn);
                let promise = Promise::Nothing;
                let sent = Sent::post(what, "whatsapp-webhook", Sender::Provider, body, promise);
                let times = chance.of(&[1, 1, 1, 2]);
                let delay_ms = self.delay_ms();
                self.send(sent, times, delay_ms);
            }
        }
    }

    /// Somebody writes a message, mostly an opt-out; they are known by their number, by a
    /// business-scoped id or by both.
    pub(super) fn write(&mut self) {
        let chance = self.system.chance.clone();
        let person = chance.below(PEOPLE);
        let opts_out = !chance.once_in(3);
        let text = if opts_out {
            chance.of(&["PARAR", "Sair.", " stop ", "Não quero mais receber, por favor"])
        } else {
            chance.of(&["Olá", "não consigo parar de rir", "CANCELAR", "Quero remarcar!"])
        };
        let second = self.system.now().as_second();
        let digits = phone(person).trim_start_matches('+').to_owned();
        let (by_phone, by_id) = chance.of(&[(true, false), (true, true), (false, true)]);
        let mut message = json!({
            "id": format!("wamid.in{second}"), "timestamp": second.to_string(),
            "type": "text", "text": {"body": text},
        });
        if by_phone {
            message["from"] = json!(digits);
        } else {
            message["from_user_id"] = json!(bsuid(person));
        }
        let contacts: Vec<Value> = (by_phone && by_id)
            .then(|| json!({"wa_id": digits, "user_id": bsuid(person)}))
            .into_iter()
            .collect();
        let value = json!({"contacts": contacts, "messages": [message]});
        let body = json!({
            "object": "whatsapp_business_account",
            "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}],
        });
        let alias = Phone::parse(&phone(person)).unwrap().alias_text();
        let promise = Promise::Message {
            phone: by_phone.then_some(alias),
            bsuid: by_id.then(|| bsuid(person)),
            opts_out,
        };
        let what = format!("{text:?} of {digits}");
        let sent = Sent::post(what, "whatsapp-webhook", Sender::Provider, body, promise);
        let times = chance.of(&[1, 1, 1, 2]);
        let delay_ms = self.delay_ms();
        self.send(sent, times, delay_ms);
    }

    /// An operator plans the messages about a call that the calendar does not know, or withdraws some.
    pub(super) fn plan_by_hand(&mut self) {
        let chance = self.system.chance.clone();
        let known = self.known_leads();
        if known.is_empty() {
            return;
        }
        let again = !self.by_hand.is_empty() && chance.once_in(2);
        if again {
            let (number, lead, booking) = chance.of(&self.by_hand);
            if chance.once_in(3) {
                self.send_again(number, 0);
                return;
            }
            let body = json!({"leadId": lead, "bookingId": booking});
            self.withdraw_by_hand(body, Promise::Withdrawn { booking });
            return;
        }
        let (lead, _) = chance.of(&known);
        if chance.once_in(12) {
            self.withdraw_by_hand(json!({"leadId": lead}), Promise::Nothing);
            return;
        }
        let booking = format!("HAND{}", self.by_hand.len());
        let start = after(self.system.now(), chance.of(&[1, 4, 26, 49]) * 3600);
        let body = json!({
            "leadId": lead, "bookingId": booking, "startTime": start,
            "joinUrl": "https://zoom.us/j/1",
        });
        let what = format!("a plan for {booking}");
        let sent =
            Sent::post(what, "whatsapp-automation", Sender::Operator, body, Promise::Nothing);
        let early = chance.once_in(6);
        let number = self.send(sent, usize::from(!early), 0);
        self.by_hand.push((number, lead.clone(), booking.clone()));
        if early {
            // Withdrawn before it is planned.
            let body = json!({"leadId": lead, "bookingId": booking});
            self.withdraw_by_hand(body, Promise::Withdrawn { booking });
            self.send_again(number, 5_000);
        }
    }

    fn withdraw_by_hand(&mut self, body: Value, promise: Promise) {
        let what = format!("a withdrawal for {}", body["bookingId"]);
        let mut sent = Sent::post(what, "whatsapp-automation", Sender::Operator, body, promise);
        sent.method = Method::DELETE;
        self.send(sent, 1, 0);
    }
}
