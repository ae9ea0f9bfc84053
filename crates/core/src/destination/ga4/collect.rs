//! What a page, or Google Tag Manager on it, sends about a visit: read, and cut down to what may go to GA4.
//!
//! Anybody can send it, so names, parameters and sizes are an allow-list, and what looks like an e-mail, a phone
//! number or a CPF is left out and counted. Owns the shapes of the dataLayer, of GA4's cookies and of consent
//! mode. Must not know HTTP or the table.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use url::Url;

use super::{EVENTS, all_digits, browser_client_id, limits};
use crate::contact::consent::Decision;
use crate::event::{PageEvent, PageEvents};
use crate::form::{Fault, FieldError, FieldErrors, LIST};
use crate::hash::HashKey;
use crate::id::LeadId;
use crate::pii::{Text, looks_personal};
use crate::settings::Settings;

/// The most events of one call that are kept.
pub const EVENTS_MAX: usize = 25;
/// How many parameters of an event are kept beside those that are added when it is sent.
const PARAMS_MAX: usize = 22;
/// How many items of an event are kept.
const ITEMS_MAX: usize = 25;
/// The length to which a text is cut, in characters.
const TEXT_CHARS_MAX: usize = 100;
/// How many names `GA4_COLLECT_PARAMS` may add.
const EXTRA_MAX: usize = 50;

/// The parameters that go along, of the events that GA4 documents, and of forms.
const PARAMS: [&str; 49] = [
    "affiliation",
    "button_text",
    "campaign",
    "content",
    "content_group",
    "content_id",
    "content_type",
    "coupon",
    "creative_name",
    "creative_slot",
    "currency",
    "engagement_time_msec",
    "file_extension",
    "file_name",
    "form_id",
    "form_location",
    "form_name",
    "form_step",
    "form_type",
    "item_list_id",
    "item_list_name",
    "items",
    "language",
    "lead_source",
    "link_domain",
    "link_id",
    "link_text",
    "link_url",
    "medium",
    "method",
    "outbound",
    "page_location",
    "page_referrer",
    "page_title",
    "payment_type",
    "percent_scrolled",
    "promotion_id",
    "promotion_name",
    "search_term",
    "shipping",
    "shipping_tier",
    "source",
    "source_section",
    "tax",
    "term",
    "transaction_id",
    "value",
    "video_provider",
    "video_title",
];
/// What goes along of an item.
const ITEM_PARAMS: [&str; 16] = [
    "affiliation",
    "coupon",
    "discount",
    "index",
    "item_brand",
    "item_category",
    "item_category2",
    "item_category3",
    "item_id",
    "item_list_id",
    "item_list_name",
    "item_name",
    "item_variant",
    "price",
    "promotion_id",
    "quantity",
];
/// Those that are addresses of pages, of which only the campaign parameters stay.
const ADDRESSES: [&str; 3] = ["page_location", "page_referrer", "link_url"];
/// Those that are amounts or durations, of which no number is somebody's.
const AMOUNTS: [&str; 7] =
    ["discount", "engagement_time_msec", "price", "quantity", "shipping", "tax", "value"];

/// Reads what pages send.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    /// The parameters that the site takes beside [`PARAMS`].
    extra: Vec<String>,
}

/// What a call brought.
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
}

/// An event that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its place among those that came, from 0.
    pub index: usize,
    /// Why.
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
    /// The visitor did not agree to analytics.
    NoConsent,
    /// A robot sent it.
    Robot,
    /// It is of a lead, of whom our servers send it.
    SentByServer,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NoEvent,
        Self::Name,
        Self::TooMany,
        Self::NoConsent,
        Self::Robot,
        Self::SentByServer,
    ];

    /// The name in responses and totals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoEvent => "no_event",
            Self::Name => "event_name",
            Self::TooMany => "too_many",
            Self::NoConsent => "no_consent",
            Self::Robot => "robot",
            Self::SentByServer => "sent_by_server",
        }
    }
}

impl Collector {
    /// Reads `GA4_COLLECT_PARAMS`.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let extra: Vec<String> =
            settings.list("GA4_COLLECT_PARAMS").into_iter().map(str::to_owned).collect();
        if extra.len() > EXTRA_MAX || !extra.iter().all(|name| limits::is_param_name(name)) {
            return settings.problem(format!(
                "GA4_COLLECT_PARAMS must be at most {EXTRA_MAX} names of GA4's parameters, with commas: letters, \
                 digits and _, a letter first, at most 40 characters."
            ));
        }
        Some(Self { extra })
    }

    /// Reads a body: one event in the shape of the dataLayer, a list of them, or an object with the list
    /// `events`. `cookies` is the request's `Cookie` header. What cannot be kept is dropped; the error is
    /// that nothing could be.
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
        let objects: Vec<&Map<String, Value>> =
            envelope.into_iter().chain(events.iter().filter_map(Value::as_object)).collect();
        let page = Page { objects, cookies: cookies.unwrap_or_default() };
        let client_id = page.client_id().ok_or_else(|| wrong("client_id", Fault::Required))?;
        let mut stripped = 0;
        let (mut kept, mut places, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        for (index, event) in events.iter().enumerate() {
            match self.event(event, envelope, &mut stripped) {
                Ok(event) if kept.len() < EVENTS_MAX => {
                    kept.push(event);
                    places.push(index);
                }
                Ok(_) => dropped.push(Dropped { index, why: Why::TooMany }),
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
        // An event's own words come before those of its parts, and both before what all events have.
        let parts = ["params", "eventModel", "ecommerce"].map(|part| own.get(part));
        let common = envelope.and_then(|envelope| envelope.get("params"));
        let parts = parts.into_iter().chain([common]).flatten().filter_map(Value::as_object);
        let sources: Vec<&Map<String, Value>> = [own].into_iter().chain(parts).collect();
        let said = |name: &str| {
            sources.iter().find_map(|source| source.get(name)).filter(|value| !value.is_null())
        };
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
        let lead = said("lead_id").or_else(|| envelope?.get("lead_id")).and_then(Value::as_str);
        Ok(PageEvent {
            name: name.to_owned(),
            lead_id: lead.and_then(|id| LeadId::parse(id).ok()),
            params,
        })
    }
}

impl Collected {
    /// The leads of whom there are events that our servers send, once each.
    pub fn leads(&self) -> BTreeSet<LeadId> {
        self.visit.events.iter().filter_map(server_lead).collect()
    }

    /// Drops the events that our servers send of these leads.
    #[must_use]
    pub fn without(mut self, known: &BTreeSet<LeadId>) -> Self {
        self.drop_where(Why::SentByServer, |event| {
            server_lead(event).is_some_and(|lead| known.contains(&lead))
        });
        self
    }

    /// Drops every event.
    #[must_use]
    pub fn without_all(mut self, why: Why) -> Self {
        self.drop_where(why, |_| true);
        self
    }

    fn drop_where(&mut self, why: Why, goes: impl Fn(&PageEvent) -> bool) {
        let events = std::mem::take(&mut self.visit.events);
        let places = std::mem::take(&mut self.places);
        for (event, index) in events.into_iter().zip(places) {
            if goes(&event) {
                self.dropped.push(Dropped { index, why });
            } else {
                self.visit.events.push(event);
                self.places.push(index);
            }
        }
        self.dropped.sort_by_key(|one| one.index);
    }
}

/// The names of what goes along, of an event and of its items.
pub fn params() -> impl Iterator<Item = &'static str> {
    PARAMS.into_iter().chain(ITEM_PARAMS)
}

/// The key of a visitor in the table, which nobody can compute without the site's key.
pub fn visitor(hash: &HashKey, client_id: &Text) -> LeadId {
    LeadId::derived(hash.id_bytes("ga4_client", client_id.expose()))
}

/// The lead of an event that our servers send too.
fn server_lead(event: &PageEvent) -> Option<LeadId> {
    event.lead_id.filter(|_| EVENTS.contains(&event.name.as_str()))
}

fn wrong(field: &str, fault: Fault) -> FieldErrors {
    FieldErrors(vec![FieldError { field: field.to_owned(), fault }])
}

/// What a call says of the browser and of consent, in whichever of its objects it stands.
struct Page<'b> {
    objects: Vec<&'b Map<String, Value>>,
    cookies: &'b str,
}

impl<'b> Page<'b> {
    fn said(&self, names: &[&str]) -> Option<&'b Value> {
        let values = self.objects.iter().flat_map(|one| names.iter().map(|name| one.get(*name)));
        values.flatten().find(|value| !value.is_null())
    }

    /// A cookie of the request, or of the object `cookies` of the body.
    fn cookie(&self, is_it: impl Fn(&str) -> bool) -> Vec<&'b str> {
        let header = self.cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
        let sent = self.said(&["cookies"]).and_then(Value::as_object).into_iter().flatten();
        let sent = sent.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        sent.chain(header).filter(|(name, _)| is_it(name)).map(|(_, value)| value).collect()
    }

    fn client_id(&self) -> Option<Text> {
        let said = self.said(&["client_id", "clientId", "ga_client_id", "_ga"]);
        let said = said.and_then(Value::as_str).and_then(|text| browser_client_id(text.trim()));
        let id = said
            .or_else(|| self.cookie(|name| name == "_ga").into_iter().find_map(browser_client_id));
        id.map(Text::from)
    }

    /// The id of the session: as it is said, or from the cookie of the one data stream that there is. Google does
    /// not document its layout.
    fn session_id(&self) -> Option<String> {
        let said = match self.said(&["session_id", "sessionId", "ga_session_id"]) {
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
        };
        let of_cookie = || {
            let streams = self.cookie(|name| name.starts_with("_ga_"));
            let [stream] = streams.as_slice() else { return None };
            let mut parts = stream.splitn(3, '.');
            let version = parts.next()?;
            let session = parts.nth(1)?;
            let session = match version {
                "GS1" => session.split('.').next()?,
                _ => session.strip_prefix('s')?.split('$').next()?,
            };
            Some(session.to_owned())
        };
        said.or_else(of_cookie).filter(|id| all_digits(id))
    }

    fn consent(&self, of: &str) -> Option<Decision> {
        match self.said(&["consent"])?.as_object()?.get(of)? {
            Value::Bool(true) => Some(Decision::Granted),
            Value::Bool(false) => Some(Decision::Denied),
            Value::String(text) if text.trim().eq_ignore_ascii_case("granted") => {
                Some(Decision::Granted)
            }
            // What is not understood is no agreement.
            Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Some(Decision::Denied)
            }
            Value::Null => None,
        }
    }
}

/// Whether an event has an amount with its currency, without which GA4 takes neither.
fn has_money(params: &Map<String, Value>) -> bool {
    let currency = params.get("currency").and_then(Value::as_str).unwrap_or_default();
    params.get("value").is_some_and(Value::is_number)
        && currency.len() == 3
        && currency.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// A parameter as it may be kept. One that looks personal is counted instead.
fn param(name: &str, value: &Value, stripped: &mut usize) -> Option<Value> {
    let text = match value {
        Value::Number(number)
            if AMOUNTS.contains(&name) || !looks_personal(&number.to_string()) =>
        {
            return Some(value.clone());
        }
        Value::Number(_) => {
            *stripped += 1;
            return None;
        }
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    if text.is_empty() {
        return None;
    }
    if AMOUNTS.contains(&name)
        && let Ok(number) = serde_json::from_str::<serde_json::Number>(&text)
    {
        return Some(Value::Number(number));
    }
    let text = if ADDRESSES.contains(&name) { address(&text, stripped)? } else { text };
    if looks_personal(&text) {
        *stripped += 1;
        return None;
    }
    let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
    Some(Value::String(if name == "currency" { text.to_ascii_uppercase() } else { text }))
}

/// The address of a page without what can be somebody's: its site and path, and the campaign.
fn address(text: &str, stripped: &mut usize) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let mut kept = url.clone();
    kept.set_query(None);
    kept.set_fragment(None);
    kept.set_username("").ok()?;
    kept.set_password(None).ok()?;
    let is_personal = |text: &str| looks_personal(&percent_decode_str(text).decode_utf8_lossy());
    if is_personal(url.path()) {
        *stripped += 1;
        kept.set_path("");
    }
    for (name, value) in url.query_pairs() {
        if looks_personal(&value) || looks_personal(&name) {
            *stripped += 1;
        } else if name.starts_with("utm_") {
            kept.query_pairs_mut().append_pair(&name, &value);
        }
    }
    Some(kept.into())
}

/// The list of items as it may be kept.
fn items(value: &Value, stripped: &mut usize) -> Option<Value> {
    let items = value.as_array()?.iter().filter_map(Value::as_object).take(ITEMS_MAX);
    let items: Vec<Value> = items
        .filter_map(|item| {
            let kept = ITEM_PARAMS.into_iter().filter_map(|name| {
                Some((name.to_owned(), param(name, item.get(name)?, stripped)?))
            });
            let kept: Map<String, Value> = kept.collect();
            let is_named = kept.contains_key("item_id") || kept.contains_key("item_name");
            is_named.then_some(Value::Object(kept))
        })
        .collect();
    (!items.is_empty()).then_some(Value::Array(items))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CLIENT: &str = "123456789.1767225600";
    const LEAD: &str = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";

    fn collect(body: &Value) -> Collected {
        Collector::default().collect(body, None).unwrap()
    }

    /// The parameters that are kept of an event, and how many values looked personal.
    fn params(event: &Value) -> (Value, usize) {
        let mut event = event.clone();
        event["event"] = json!("click");
        event["client_id"] = json!(CLIENT);
        let collected = collect(&event);
        (Value::Object(collected.visit.events[0].params.clone()), collected.stripped)
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
    fn the_browser_s_ids_come_from_the_body_or_from_its_cookies() {
        let event = json!({"event": "click"});
        let read = |cookies: &str| {
            let collected = Collector::default().collect(&event, Some(cookies));
            collected.ok().map(|one| (one.visit.client_id.expose().clone(), one.visit.session_id))
        };
        let id = |session: Option<&str>| Some((CLIENT.to_owned(), session.map(str::to_owned)));
        let ga = format!("_ga=GA1.1.{CLIENT}");
        assert_eq!(read(&ga), id(None));
        let first = format!("a=b; {ga}; _ga_ABC=GS1.1.1767225601.3.1.1767225700.0.0.0");
        assert_eq!(read(&first), id(Some("1767225601")));
        let second = format!("{ga}; _ga_ABC=GS2.1.s1767225602$o3$g1$t1767225700");
        assert_eq!(read(&second), id(Some("1767225602")));
        assert_eq!(
            read(&format!("{second}; _ga_DEF=GS1.1.5.1")),
            id(None),
            "whose session is not known"
        );
        for none in ["", "_ga=ana@example.com", "_ga=GA1.1.x"] {
            assert_eq!(read(none), None, "{none}");
        }
        let body = json!({"event": "click", "cookies": {"_ga": format!("GA1.2.{CLIENT}"), "_ga_ABC": "GS2.1.s7$o1"}});
        let collected = collect(&body);
        assert_eq!(collected.visit.session_id.as_deref(), Some("7"));
    }

    #[test]
    fn what_looks_personal_is_left_out_and_counted() {
        for personal in [
            json!({"page_title": "Obrigada, ana@example.com"}),
            json!({"search_term": "(11) 98765-4321"}),
            json!({"content_id": "529.982.247-25"}),
            json!({"form_id": 52_998_224_725_i64}),
            json!({"ecommerce": {"items": [{"item_id": "SKU-1", "item_name": "ana@example.com"}]}}),
            json!({"page_location": "https://example.com/?email=ana%40example.com"}),
            json!({"page_location": "https://example.com/u/ana%40example.com/x"}),
            json!({"page_referrer": "https://example.com/?utm_source=ana%40example.com"}),
        ] {
            let (kept, stripped) = params(&personal);
            assert_eq!(stripped, 1, "{personal}");
            let text = kept.to_string();
            assert!(
                !text.contains("ana") && !text.contains("98765") && !text.contains("529"),
                "{text}"
            );
        }
        let address =
            "https://ana:secret@example.com/lp?utm_source=ig&utm_campaign=maio&x=1&utm_id=1#top";
        let (kept, stripped) = params(&json!({"page_location": address}));
        let expected = "https://example.com/lp?utm_source=ig&utm_campaign=maio&utm_id=1";
        assert_eq!((kept, stripped), (json!({"page_location": expected}), 0));
        let amounts = json!({"value": 12_345_678_901.5, "currency": "BRL", "engagement_time_msec": 12_345_678_901_i64});
        assert_eq!(params(&amounts), (amounts, 0));
    }

    #[test]
    fn only_what_is_listed_goes_along_in_the_shape_that_ga4_takes() {
        let (kept, stripped) = params(&json!({
            "email": "x", "gtm.uniqueEventId": 7, "method": " form ", "outbound": true, "form_name": "",
            "page_title": "t".repeat(150), "link_url": "javascript:alert(1)", "params": {"method": "later", "form_id": "f"},
            "value": 10, "items": {}, "content_type": ["x"],
        }));
        let expected = json!({"method": "form", "outbound": "true", "page_title": "t".repeat(100), "form_id": "f"});
        assert_eq!((kept, stripped), (expected, 0));
        let env = [("GA4_COLLECT_PARAMS", "plan, my_param")]
            .into_iter()
            .collect::<crate::settings::Env>();
        let mut settings = env.settings();
        let collector = Collector::read(&mut settings).unwrap();
        let event = json!({"event": "click", "client_id": CLIENT, "plan": "gold", "other": "x"});
        let collected = collector.collect(&event, None).unwrap();
        assert_eq!(
            Value::Object(collected.visit.events[0].params.clone()),
            json!({"plan": "gold"})
        );
        let env = [("GA4_COLLECT_PARAMS", "ga_x")].into_iter().collect::<crate::settings::Env>();
        assert!(Collector::read(&mut env.settings()).is_none());
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
            json!({"event": "generate_lead", "lead_id": LEAD}),
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
