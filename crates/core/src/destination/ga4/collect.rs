//! What a page, or Google Tag Manager on it, sends about a visit: read, and cut down to what may go to GA4.
//!
//! Anybody can send it, so the names of events are checked and sizes are bounded. Owns the formats of the dataLayer,
//! and which events are dropped. Which parameters of an event stay is in `collect/parameters.rs`, and what a request
//! says of the browser and of consent is in `collect/page.rs`. Must not know HTTP or the table.

mod page;
mod parameters;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use self::page::{Page, consent_command};
use self::parameters::{PARAMS, PARAMS_MAX, has_money, items, param};
use super::{EVENTS, event_names, limits};
use crate::contact::consent::Decision;
use crate::destination::names::Names;
use crate::event::{PageEvent, PageEvents};
use crate::form::{Fault, FieldError, FieldErrors, LIST};
use crate::hash::HashKey;
use crate::id::LeadId;
use crate::pii::{Text, looks_personal};
use crate::settings::Settings;

pub use self::parameters::{UTM, params};

/// The most events of one request that are kept.
pub const EVENTS_MAX: usize = 25;
/// The most entries that a request may have; what it costs and returns grows with them.
const ENTRIES_MAX: usize = 100;
/// The most that is kept of a request, in bytes of JSON: one item of the table takes it.
const BYTES_MAX: usize = 32 * 1024;
/// How many names `GA4_COLLECT_PARAMS` may add.
const EXTRA_MAX: usize = 50;

/// Reads what pages send.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    /// The parameters that the site takes beside [`PARAMS`].
    extra: Vec<String>,
    /// The names under which our servers send what they send.
    names: Names,
}

/// What was read from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// What may be kept of it. It may have no event.
    pub visit: PageEvents,
    /// Whether the visitor agreed to analytics; `None` where consent mode's state says nothing of it.
    pub analytics: Option<Decision>,
    /// The events that were dropped.
    pub dropped: Vec<Dropped>,
    /// How many values were left out because they looked personal.
    pub stripped: usize,
    /// The place of each kept event among those that came.
    places: Vec<usize>,
    /// The names of the events that our servers send of their leads.
    server_events: BTreeSet<String>,
}

/// An event that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its place among those that came, from 0.
    pub index: usize,
    /// The reason; its name is in the response and in the totals.
    pub why: Why,
}

/// Why an event is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It is no object with a name in `event`.
    NoEvent,
    /// GA4 takes no event of this name: `docs/providers.md` ("GA4").
    Name,
    /// There were more than 25.
    TooMany,
    /// The events of the request together were more than 32 KB.
    TooLarge,
    /// The visitor did not agree to analytics.
    NoConsent,
    /// A robot sent it.
    Robot,
    /// It belongs to a known lead, and our servers send the same event.
    SentByServer,
}

impl Why {
    /// The name in responses and totals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoEvent => "no_event",
            Self::Name => "event_name",
            Self::TooMany => "too_many",
            Self::TooLarge => "too_large",
            Self::NoConsent => "no_consent",
            Self::Robot => "robot",
            Self::SentByServer => "sent_by_server",
        }
    }
}

impl Collector {
    /// Reads `GA4_COLLECT_PARAMS` and `GA4_EVENT_NAMES`.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let extra: Vec<String> =
            settings.list("GA4_COLLECT_PARAMS").into_iter().map(str::to_owned).collect();
        if extra.len() > EXTRA_MAX || !extra.iter().all(|name| limits::is_param_name(name)) {
            return settings.problem(format!(
                "GA4_COLLECT_PARAMS must be at most {EXTRA_MAX} names of GA4's parameters, with commas: letters, \
                 digits and _, a letter first, at most 40 characters."
            ));
        }
        Some(Self { extra, names: event_names(settings)? })
    }

    /// Reads a body: one event in the format of the dataLayer, a list of them, or an object with the list
    /// `events`. `cookies` is the request's `Cookie` header. Events that cannot be kept are
    /// dropped. It is an error if none can be kept.
    pub fn collect(&self, body: &Value, cookies: Option<&str>) -> Result<Collected, FieldErrors> {
        let (envelope, events) = match body {
            Value::Array(events) => (None, events.as_slice()),
            Value::Object(envelope) => match envelope.get("events") {
                None => (None, std::slice::from_ref(body)),
                Some(Value::Array(events)) => (Some(envelope), events.as_slice()),
                Some(_) => return Err(wrong("events", Fault::WrongType(LIST))),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(wrong("events", Fault::Required));
            }
        };
        if events.len() > ENTRIES_MAX {
            return Err(wrong("events", Fault::TooMany(ENTRIES_MAX)));
        }
        let objects: Vec<&Map<String, Value>> =
            envelope.into_iter().chain(events.iter().filter_map(Value::as_object)).collect();
        let commands = events.iter().filter_map(consent_command).collect();
        let page = Page { objects, commands, cookies: cookies.unwrap_or_default() };
        let client_id = page.client_id().ok_or_else(|| wrong("client_id", Fault::Required))?;
        let (mut stripped, mut bytes) = (0, 0);
        let (mut kept, mut places, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        for (index, event) in events.iter().enumerate() {
            match self.event(event, envelope, &mut stripped) {
                Ok(_) if kept.len() == EVENTS_MAX => {
                    dropped.push(Dropped { index, why: Why::TooMany });
                }
                Ok(event) => {
                    let more = Value::Object(event.params.clone()).to_string().len();
                    if bytes + more > BYTES_MAX {
                        dropped.push(Dropped { index, why: Why::TooLarge });
                    } else {
                        bytes += more;
                        kept.push(event);
                        places.push(index);
                    }
                }
                Err(why) => dropped.push(Dropped { index, why }),
            }
        }
        let denied = |decision: Option<Decision>| decision.unwrap_or(Decision::Denied);
        Ok(Collected {
            analytics: page.consent("analytics_storage"),
            visit: PageEvents {
                client_id,
                session_id: page.session_id(),
                ad_user_data: denied(page.consent("ad_user_data")),
                ad_personalization: denied(page.consent("ad_personalization")),
                events: kept,
            },
            dropped,
            stripped,
            places,
            server_events: EVENTS
                .iter()
                .filter_map(|ours| self.names.of(ours))
                .map(str::to_owned)
                .collect(),
        })
    }

    fn event(
        &self,
        event: &Value,
        envelope: Option<&Map<String, Value>>,
        stripped: &mut usize,
    ) -> Result<PageEvent, Why> {
        let own = event.as_object().ok_or(Why::NoEvent)?;
        let name = own.get("event").and_then(Value::as_str).ok_or(Why::NoEvent)?.trim();
        if !limits::is_event_name(name) || looks_personal(name) {
            return Err(Why::Name);
        }
        // For a parameter with several values, the one beside `event` wins over the one in `params`, `eventModel`
        // or `ecommerce`, and both win over one that stands for all events of the request.
        let parts = ["params", "eventModel", "ecommerce"].map(|part| own.get(part));
        let common = envelope.and_then(|envelope| envelope.get("params"));
        let parts = parts.into_iter().chain([common]).flatten().filter_map(Value::as_object);
        let sources: Vec<&Map<String, Value>> = [own].into_iter().chain(parts).collect();
        let said = |name: &str| values_of(&sources, name).next();
        let mut params = Map::new();
        for name in PARAMS.into_iter().chain(self.extra.iter().map(String::as_str)) {
            let Some(value) = said(name) else { continue };
            let value =
                if name == "items" { items(value, stripped) } else { param(name, value, stripped) };
            if let Some(value) = value.filter(|_| params.len() < PARAMS_MAX) {
                params.insert(name.to_owned(), value);
            }
        }
        if !has_money(&params) {
            params.remove("value");
            params.remove("currency");
        }
        // The first value that is an id, in the same order.
        let of_envelope = ["lead_id", "leadId"].into_iter().filter_map(|name| envelope?.get(name));
        let of_event = ["lead_id", "leadId"].into_iter();
        let of_event = of_event.flat_map(|name| values_of(&sources, name));
        let mut leads = of_event.chain(of_envelope);
        let lead_id = leads.find_map(|value| LeadId::parse(value.as_str()?.trim()).ok());
        Ok(PageEvent { name: name.to_owned(), lead_id, params })
    }
}

impl Collected {
    /// The leads of whom there are events that our servers send, once each.
    pub fn leads(&self) -> BTreeSet<LeadId> {
        self.visit.events.iter().filter_map(|event| self.server_lead(event)).collect()
    }

    /// Drops the events that our servers send of these leads.
    #[must_use]
    pub fn without(mut self, known: &BTreeSet<LeadId>) -> Self {
        let of_server = self.visit.events.iter();
        let of_server = of_server
            .map(|event| self.server_lead(event).is_some_and(|lead| known.contains(&lead)));
        let of_server: Vec<bool> = of_server.collect();
        self.drop_where(Why::SentByServer, |at| of_server[at]);
        self
    }

    /// The lead of an event that our servers send too.
    fn server_lead(&self, event: &PageEvent) -> Option<LeadId> {
        event.lead_id.filter(|_| self.server_events.contains(&event.name))
    }

    /// Drops every kept event for this reason, so that nothing is delivered.
    #[must_use]
    pub fn without_all(mut self, why: Why) -> Self {
        self.drop_where(why, |_| true);
        self
    }

    /// Drops the kept events at some places among them.
    fn drop_where(&mut self, why: Why, goes: impl Fn(usize) -> bool) {
        let events = std::mem::take(&mut self.visit.events);
        let places = std::mem::take(&mut self.places);
        for (at, (event, index)) in events.into_iter().zip(places).enumerate() {
            if goes(at) {
                self.dropped.push(Dropped { index, why });
            } else {
                self.visit.events.push(event);
                self.places.push(index);
            }
        }
        self.dropped.sort_by_key(|one| one.index);
    }
}

/// The values that these objects have under a name, in their order. `null` counts as absent.
fn values_of<'v>(
    sources: &[&'v Map<String, Value>],
    name: &str,
) -> impl Iterator<Item = &'v Value> {
    let values = sources.iter().filter_map(move |source| source.get(name));
    values.filter(|value| !value.is_null())
}

/// The key of a visitor in the table, which nobody can compute without the site's key.
pub fn visitor(hash: &HashKey, client_id: &Text) -> LeadId {
    LeadId::derived(hash.id_bytes("ga4_client", client_id.expose()))
}

fn wrong(field: &str, fault: Fault) -> FieldErrors {
    FieldErrors(vec![FieldError { field: field.to_owned(), fault }])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(super) const CLIENT: &str = "123456789.1767225600";
    const LEAD: &str = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";

    pub(super) fn collect(body: &Value) -> Collected {
        Collector::default().collect(body, None).unwrap()
    }

    #[test]
    fn one_event_a_list_and_an_object_with_a_list_say_the_same() {
        let event = json!({"event": "add_to_cart", "ecommerce": {"currency": "brl", "value": "197.50",
            "items": [{"item_id": "SKU-1", "price": 197.5, "secret": "x"}, {"price": 1}]}});
        let consent = json!({"analytics_storage": "granted", "ad_user_data": "granted"});
        let with = |mut event: Value| {
            event["client_id"] = json!(CLIENT);
            event["consent"] = consent.clone();
            event["ga_session_id"] = json!(1_767_225_600);
            event
        };
        let expected = json!({"currency": "BRL", "value": 197.50, "items": [{"item_id": "SKU-1", "price": 197.5}]});
        for body in
            [with(event.clone()), json!([with(event.clone())]), with(json!({"events": [event]}))]
        {
            let Collected { visit, analytics, dropped, stripped, .. } = collect(&body);
            assert_eq!(visit.events.len(), 1);
            assert_eq!(Value::Object(visit.events[0].params.clone()), expected, "{body}");
            assert_eq!(visit.client_id.expose(), CLIENT);
            assert_eq!(visit.session_id.as_deref(), Some("1767225600"));
            assert_eq!(
                (visit.ad_user_data, visit.ad_personalization),
                (Decision::Granted, Decision::Denied)
            );
            assert_eq!((analytics, dropped.len(), stripped), (Some(Decision::Granted), 0, 0));
        }
    }

    #[test]
    fn what_a_call_keeps_and_what_it_may_have_is_bounded() {
        let event = json!({"event": "click"});
        let many = json!({"client_id": CLIENT, "events": vec![event.clone(); ENTRIES_MAX + 1]});
        let refused = Collector::default().collect(&many, None).unwrap_err();
        assert_eq!(refused.0[0].fault, Fault::TooMany(ENTRIES_MAX));
        // One list of items for all events is sent once, and kept with each of them.
        let items = vec![json!({"item_id": "s".repeat(100), "item_name": "n".repeat(100)}); 25];
        let body =
            json!({"client_id": CLIENT, "events": vec![event; 25], "params": {"items": items}});
        let collected = collect(&body);
        assert!(collected.dropped.iter().all(|one| one.why == Why::TooLarge));
        assert_eq!(collected.visit.events.len() + collected.dropped.len(), 25);
        let kept = serde_json::to_string(&collected.visit.events).unwrap().len();
        assert!((20_000..BYTES_MAX + 2_000).contains(&kept), "{kept}");
    }

    #[test]
    fn what_our_servers_send_is_known_by_the_name_that_they_send() {
        let env = [("GA4_EVENT_NAMES", r#"{"generate_lead": "lead_from_server"}"#)];
        let env = env.into_iter().collect::<crate::settings::Env>();
        let collector = Collector::read(&mut env.settings()).unwrap();
        let event = |name: &str| json!({"event": name, "client_id": CLIENT, "lead_id": LEAD});
        let body = json!([event("generate_lead"), event("lead_from_server"), event("purchase")]);
        let collected = collector.collect(&body, None).unwrap();
        let without = collected.without(&[LeadId::parse(LEAD).unwrap()].into());
        let names: Vec<&str> = without.visit.events.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["generate_lead"]);
        assert_eq!(without.dropped.iter().map(|one| one.index).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_is_no_event_is_dropped_by_its_place_and_the_rest_is_kept() {
        let event = |name: &str| json!({"event": name});
        let mut events = vec![
            json!({"ecommerce": {}}),
            json!(7),
            event("gtm.js"),
            event("session_start"),
            event("click"),
            event("ana@example.com"),
            json!({"event": "generate_lead", "leadId": LEAD}),
            event("purchase"),
        ];
        events.extend(vec![event("scroll"); 30]);
        let collected = collect(&json!({"client_id": CLIENT, "events": events}));
        let dropped: Vec<_> =
            collected.dropped.iter().map(|one| (one.index, one.why.name())).collect();
        assert_eq!(
            dropped[..5],
            [
                (0, "no_event"),
                (1, "no_event"),
                (2, "event_name"),
                (3, "event_name"),
                (5, "event_name"),
            ]
        );
        assert_eq!(dropped[5..], [30, 31, 32, 33, 34, 35, 36, 37].map(|index| (index, "too_many")));
        assert_eq!(collected.visit.events.len(), EVENTS_MAX);
        let lead = LeadId::parse(LEAD).unwrap();
        assert_eq!(collected.leads(), [lead].into());
        let without = collected.clone().without(&[lead].into());
        assert!(without.dropped.contains(&Dropped { index: 6, why: Why::SentByServer }));
        assert!(
            without.visit.events.iter().any(|event| event.name == "purchase"),
            "of nobody known"
        );
        let none = collected.without_all(Why::Robot);
        assert!(none.visit.events.is_empty());
        assert_eq!(none.dropped.len(), 38);
        assert!(none.dropped.is_sorted_by_key(|one| one.index));
    }

    #[test]
    fn whatever_comes_ga4_takes_what_is_kept() {
        use proptest::prelude::*;

        fn value() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                any::<f64>().prop_map(Value::from),
                "\\PC{0,120}".prop_map(Value::from),
                prop::sample::select(vec!["BRL", "granted", "https://a.example/x?utm_id=1"])
                    .prop_map(Value::from),
            ];
            leaf.prop_recursive(3, 40, 12, |inner| {
                let names = PARAMS.into_iter().chain([
                    "event",
                    "events",
                    "params",
                    "item_id",
                    "ecommerce",
                    "x",
                ]);
                let names: Vec<&str> = names.collect();
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                    prop::collection::vec((prop::sample::select(names), inner), 0..30).prop_map(
                        |members| {
                            members
                                .into_iter()
                                .map(|(name, value)| (name.to_owned(), value))
                                .collect::<Map<_, _>>()
                                .into()
                        }
                    ),
                ]
            })
        }
        let check = |drawn: Value| {
            let body = json!({"client_id": CLIENT, "events": [drawn.clone(), {"event": "click", "params": drawn}]});
            let event = super::super::visits::tests::event(collect(&body).visit);
            let body = super::super::visits::tests::body_of(&event);
            limits::check(&body).map_err(|limit| TestCaseError::fail(format!("{limit}: {body}")))
        };
        proptest!(|(drawn in value())| check(drawn)?);
    }
}
