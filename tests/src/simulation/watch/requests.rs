//! What reaches a provider: only what the person agreed to, nothing harmful twice, nothing about a
//! booking that has ended, and nothing to a number that opted out.
//!
//! What to check is read from the registry of destinations, so a new destination is checked, too.

use std::collections::BTreeMap;

use funil_core::contact::Phone;
use funil_core::contact::consent::Purpose;
use funil_core::delivery::WhenUnknown;
use funil_core::destination::{self, Destination, Slot};
use funil_dev::simulated::Providers;
use jiff::Timestamp;
use serde_json::Value;

use super::consent::Of;
use super::deliveries::Held;
use super::history::{ids_in, text, without_consent};
use super::{ProviderRequest, Watch};

/// How long after its deadline a request may arrive that was marked before it, in milliseconds.
const UNDER_WAY_MS: u128 = 60_000;

/// What stays the same when a harmful request is repeated.
fn harmful_key(request: &ProviderRequest) -> String {
    format!("{} {}", request.path, without_consent(&request.body))
}

impl ProviderRequest {
    fn destination(&self) -> Option<&'static Destination> {
        destination::find(self.path.split('/').nth(1).unwrap_or_default())
    }

    /// Whether an HTML page tells the sender that the request had no effect. Where a person decides
    /// about unknown deliveries, nothing but the API's own error does.
    pub(in super::super) fn is_rejected_by_page(&self) -> bool {
        self.destination().is_some_and(|one| one.when_unknown != WhenUnknown::NeedsPerson)
    }

    /// Whether it must not be repeated once it may have had an effect.
    fn is_harmful(&self) -> bool {
        let no_key = self.destination().is_some_and(|one| one.when_unknown != WhenUnknown::Never);
        // GA4 knows a purchase again by its transaction.
        let is_purchase =
            self.body.pointer("/events/0/name").is_some_and(|name| name == "purchase");
        no_key && self.method == "POST" && !is_purchase
    }
}

impl Watch {
    /// Notes a request that reaches a provider, and checks it.
    pub(in super::super) fn provider_received(
        &mut self,
        request: &ProviderRequest,
        providers: &Providers,
    ) {
        self.number += 1;
        self.counts.provider_requests += 1;
        let ProviderRequest { process, method, path, body } = request;
        self.note(&format!("p{process} {method} {path} {body}"));
        let Some(destination) = request.destination() else { return };
        let whole = format!("{path} {body}");
        let named: Vec<&str> = ids_in(&whole).collect();
        let its = |id: &&&str| {
            let held = self.sk_of.get(**id).map(|sk| &self.deliveries[sk]);
            held.is_some_and(|held| held.destination == destination.name)
        };
        let delivery = named.iter().find(its).map(|id| self.deliveries[&self.sk_of[*id]].clone());
        let lead = delivery.as_ref().map(|held| held.lead.clone()).or_else(|| {
            named.iter().find(|id| self.leads.contains_key(**id)).map(|id| (*id).to_owned())
        });
        let slot = delivery.as_ref().and_then(|held| destination.slot(&held.slot));
        // A request without the delivery's id may be for any of the lead's that the process has.
        let boxes: Vec<BTreeMap<Purpose, bool>> = match &delivery {
            Some(held) => vec![held.boxes.clone()],
            None => self
                .deliveries
                .values()
                .filter(|held| Some(&held.lead) == lead.as_ref())
                .filter(|held| held.destination == destination.name)
                .map(|held| held.boxes.clone())
                .chain([BTreeMap::new()])
                .collect(),
        };
        let slots: &[Slot] = slot.map_or(destination.slots, std::slice::from_ref);
        let email = path.split('/').find(|part| part.contains('@'));
        let of = match (&lead, &email) {
            (Some(lead), _) => Some(Of::Lead(lead)),
            (None, Some(email)) => Some(Of::Email(email)),
            (None, None) => None,
        };
        if let Some(of) = of
            && !boxes.iter().any(|boxes| self.may(*process, &of, slots, boxes))
        {
            let name = destination.name;
            self.problem(format!("{name} got {method} {path}, to which nobody agreed"));
        }
        if destination.name == "mailerlite" {
            self.check_joins(request, providers);
        }
        if request.is_harmful() {
            let key = harmful_key(request);
            if self.harmful.insert(key.clone(), false) == Some(false) {
                self.problem(format!("a request was repeated that may have had an effect: {key}"));
            }
            let marked = |held: &Held| held.mark.is_some_and(|mark| mark.process == *process);
            let is_marked = match (&delivery, &lead) {
                (Some(held), _) => marked(held),
                (None, Some(lead)) => self.deliveries.values().any(|held| {
                    held.lead == *lead && held.destination == destination.name && marked(held)
                }),
                // What pages report names no lead.
                (None, None) => self.deliveries.values().any(|held| {
                    let its = destination::find(&held.destination);
                    its.is_some_and(|one| one.provider == destination.name) && marked(held)
                }),
            };
            if !is_marked {
                self.problem(format!("p{process} sent a harmful request without a mark: {key}"));
            }
        }
        if let Some(held) = &delivery {
            self.check_sent(held, body);
        }
    }

    /// Checks a request for a delivery: it is in time, about a booking that stands, and to a number that
    /// has not opted out.
    fn check_sent(&mut self, held: &Held, body: &Value) {
        let (what, number) =
            (format!("{}/{}", held.destination, held.slot), held.mark.map(|mark| mark.number));
        let late_ms = self.most_skew_ms + UNDER_WAY_MS;
        let latest: Timestamp = held.deadline.parse().unwrap();
        let at = self.time();
        if at.as_millisecond() > latest.as_millisecond() + i64::try_from(late_ms).unwrap() {
            self.problem(format!("{what} was sent at {at}, after {latest}"));
        }
        let Some(marked) = number else { return };
        if let Some(booking) = held.booking.as_ref().and_then(|id| self.bookings.get(id))
            && booking.ended.is_some_and(|ended| ended < marked)
        {
            let status = booking.status.name();
            self.problem(format!("{what} was sent about a call that was {status}"));
        }
        let number = format!("+{}", text(body, "/to"));
        let Ok(phone) = Phone::parse(&number) else { return };
        let digest = self.hash.digest("phone", &phone.alias_text()).as_str().to_owned();
        let revoked = self.revoked(Purpose::Whatsapp, [&digest]);
        if revoked.is_some_and(|revoked| revoked.number < marked) {
            self.problem(format!("{what} was sent to {number}, which opted out"));
        }
        if held.phone.as_ref() != Some(&digest) {
            self.problem(format!("{what} was planned for another number than {number}"));
        }
    }

    /// Checks that whoever joins a group at MailerLite by which they get newsletters agreed to it.
    fn check_joins(&mut self, request: &ProviderRequest, providers: &Providers) {
        let ProviderRequest { process, path, body, .. } = request;
        let one_by_one = path.split_once("/groups/").map(|(_, group)| group.to_owned());
        let email = match &one_by_one {
            Some(_) => {
                let id = path.split('/').nth(3).unwrap_or_default();
                let subscriber = providers.subscriber(id).unwrap_or_default();
                text(&subscriber, "/email").to_owned()
            }
            None => text(body, "/email").to_owned(),
        };
        let with_fields = body["groups"].as_array().into_iter().flatten();
        let with_fields = with_fields.filter_map(|group| group.as_str().map(str::to_owned));
        for group in one_by_one.into_iter().chain(with_fields) {
            let slot = match group.as_str() {
                "102" => "marketing",
                "201" | "203" => "site_form",
                _ => continue,
            };
            let mailerlite = destination::find("mailerlite").unwrap();
            let slots = mailerlite.slot(slot).map_or(&[][..], std::slice::from_ref);
            let boxes = self.boxes_of(slot, &email);
            if !self.may(*process, &Of::Email(&email), slots, &boxes) {
                self.problem(format!("{email} joined the group of {slot} without consent"));
            }
        }
    }

    /// Whether a form allows marketing for its own delivery to this e-mail.
    fn boxes_of(&self, slot: &str, email: &str) -> BTreeMap<Purpose, bool> {
        let purpose = Purpose::MarketingEmail;
        let allows = self.deliveries.values().any(|held| {
            let its = held.slot == slot && self.leads[&held.lead].email == email;
            its && held.boxes.get(&purpose) == Some(&true)
        });
        if allows { [(purpose, true)].into() } else { BTreeMap::new() }
    }

    /// Notes the status that the sender of a request to a provider saw; `None` where no response came.
    pub(in super::super) fn provider_responded(
        &mut self,
        request: &ProviderRequest,
        seen: Option<u16>,
        rejected: bool,
    ) {
        let status = seen.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
        let ProviderRequest { process, method, path, .. } = request;
        self.note(&format!("p{process} {method} {path} <= {status}"));
        if request.is_harmful() && rejected {
            self.harmful.insert(harmful_key(request), true);
        }
    }
}
