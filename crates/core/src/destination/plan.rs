//! Which deliveries an event makes: one for each slot that an enabled destination wants. Must not know any
//! destination, nor how a delivery is sent.

use super::Destination;
use crate::clock::after;
use crate::contact::consent::FormConsent;
use crate::delivery::{Delivery, Queue, Start, State};
use crate::event::{Event, EventData};
use crate::hash::{Digest, HashKey};
use crate::lead::LeadLatest;

/// Keyed digests of a person's aliases. A delivery carries them, so that revocations are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AliasDigests {
    /// The digest of the e-mail.
    pub email: Option<Digest>,
    /// The digest of the phone, of a Brazilian mobile without its ninth digit.
    pub phone: Option<Digest>,
}

impl AliasDigests {
    /// The digests of this e-mail and phone.
    pub fn of(latest: &LeadLatest, hash: &HashKey) -> Self {
        Self {
            email: latest.email.as_ref().map(|email| hash.digest("email", email.as_str())),
            phone: latest.phone.as_ref().map(|phone| hash.digest("phone", &phone.alias_text())),
        }
    }
}

/// Plans the deliveries of an event: one for each slot that an enabled destination wants, except
/// those whose purpose the consent object of the same request denies. A payment of a provider's test mode
/// has none.
pub fn plan(
    event: &Event,
    enabled: &[&'static Destination],
    consent: Option<&FormConsent>,
    aliases: &AliasDigests,
    queue: Queue,
) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    if let EventData::Payment(payment) = &event.data
        && !payment.mode().counts()
    {
        return deliveries;
    }
    for destination in enabled {
        if let EventData::Operation(operation) = &event.data
            && operation.sync().is_some_and(|sync| sync.destination != destination.name)
        {
            continue;
        }
        for planned in (destination.plan)(event) {
            if consent.is_some_and(|consent| planned.slot.denied_by(consent)) {
                continue;
            }
            let mut delivery = Delivery::planned(event, destination.name, planned.slot.name);
            delivery.shard = queue.shard;
            if planned.due_at.is_none_or(|due_at| due_at <= event.accepted_at) {
                delivery.start = queue.start;
            }
            if let Some(due_at) = planned.due_at
                && delivery.start == Start::WhenDue
            {
                delivery.state = State::due(due_at);
            }
            let usual = after(event.accepted_at, destination.deadline_h * 3600);
            delivery.deadline = planned.deadline.unwrap_or(usual);
            delivery.booking = planned.booking;
            delivery.effect = planned.effect;
            delivery.email_digest.clone_from(&aliases.email);
            delivery.phone_digest.clone_from(&aliases.phone);
            deliveries.push(delivery);
        }
    }
    deliveries
}

/// The names of the enabled destinations that want an event, except where the consent object of the same
/// request denies every purpose of what they want.
pub fn wanted(
    event: &Event,
    enabled: &[&'static Destination],
    consent: Option<&FormConsent>,
) -> Vec<&'static str> {
    let wants = |destination: &&&'static Destination| {
        let planned =
            plan(event, &[destination], consent, &AliasDigests::default(), Queue::default());
        !planned.is_empty()
    };
    enabled.iter().filter(wants).map(|destination| destination.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::consent::{Decision, Purpose};
    use crate::destination::{ALL, samples};
    use crate::event::Attendance;

    fn planned(event: &Event, consent: Option<&FormConsent>) -> Vec<String> {
        plan(event, ALL, consent, &AliasDigests::default(), Queue::default())
            .iter()
            .map(|delivery| format!("{}/{}", delivery.destination, delivery.slot))
            .collect()
    }

    /// A destination gets only what it names, so a new event shows here which destinations plan it.
    #[test]
    fn every_event_is_planned_for_the_destinations_that_take_it() {
        let rows = samples::every_event().into_iter().map(|data| {
            let event = Event { data, ..samples::submitted() };
            format!("{}: {}", event.data.name(), planned(&event, None).join(" "))
        });
        let table: Vec<String> = rows.collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn planning_leaves_out_only_what_the_same_request_denies() {
        let event = samples::submitted();
        let everything = [
            "crm/lead",
            "mailerlite/questionnaire",
            "mailerlite/marketing",
            "ga4/event",
            "segment/event",
            "meta/lead",
        ];
        assert_eq!(planned(&event, None), everything);
        let unanswered = FormConsent { answers: [].into(), policy_version: None };
        assert_eq!(planned(&event, Some(&unanswered)), everything, "no answer is no denial");
        let denied = FormConsent {
            answers: [
                (Purpose::Analytics, Decision::Denied),
                (Purpose::MarketingEmail, Decision::Denied),
                (Purpose::Ads, Decision::Denied),
            ]
            .into(),
            policy_version: None,
        };
        assert_eq!(planned(&event, Some(&denied)), ["crm/lead", "mailerlite/questionnaire"]);
    }

    #[test]
    fn a_questionnaire_goes_to_state_destinations_and_analytics() {
        let everywhere = ["crm/lead", "mailerlite/profile", "ga4/event", "segment/event"];
        assert_eq!(planned(&samples::questionnaire(), None), everywhere);
    }

    #[test]
    fn an_event_of_a_call_is_planned_where_it_matters() {
        let state = ["crm/lead", "mailerlite/profile"];
        let all = [&state[..], &["ga4/event", "segment/event"]].concat();
        let of_calls = |event: &Event| {
            let planned = planned(event, None);
            planned.into_iter().filter(|one| !one.starts_with("whatsapp/")).collect::<Vec<_>>()
        };
        let booked = [&all[..], &["meta/schedule"]].concat();
        assert_eq!(of_calls(&samples::booked()), booked);
        assert_eq!(of_calls(&samples::canceled()), all);
        assert_eq!(of_calls(&samples::missed(Attendance::Missed)), all);
        assert_eq!(of_calls(&samples::missed(Attendance::MissedTakenBack)), state);
    }

    #[test]
    fn a_sequence_is_planned_for_messages_alone_and_a_decision_for_nothing() {
        let messages = ["whatsapp/welcome", "whatsapp/reminder_24h", "whatsapp/reminder_2h"];
        for data in samples::every_event() {
            let expected: &[&str] = match data.name() {
                "sequence_requested" => &messages,
                "sequence_withdrawn" | "delivery_replayed" | "delivery_settled" => &[],
                _ => continue,
            };
            assert_eq!(planned(&Event { data, ..samples::submitted() }, None), expected);
        }
    }

    #[test]
    fn a_sync_is_planned_for_its_destination_alone() {
        assert_eq!(planned(&samples::sync("crm"), None), ["crm/lead"]);
        assert_eq!(planned(&samples::sync("mailerlite"), None), ["mailerlite/profile"]);
    }
}
