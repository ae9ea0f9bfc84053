//! What a page, or Google Tag Manager on it, sends about a visit: read, and cut down to what may go to GA4.
//!
//! Anybody can send it, so names, parameters and sizes are an allow-list, and what looks like an e-mail, a phone
//! number or a CPF is left out and counted. Owns the formats of the dataLayer, of GA4's cookies and of consent
//! mode. Must not know HTTP or the table.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};
use url::Url;

use super::{EVENTS, all_digits, browser_client_id, event_names, limits};
use crate::contact::consent::Decision;
use crate::destination::names::Names;
use crate::event::{PageEvent, PageEvents};
use crate::form::{Fault, FieldError, FieldErrors, LIST};
use crate::hash::HashKey;
use crate::id::LeadId;
use crate::pii::{Text, looks_personal, path_looks_personal};
use crate::settings::Settings;

/// The most events of one request that are kept.
pub const EVENTS_MAX: usize = 25;
/// The most entries that a request may have; what it costs and returns grows with them.
const ENTRIES_MAX: usize = 100;
/// The most that is kept of a request, in bytes of JSON: one item of the table takes it.
const BYTES_MAX: usize = 32 * 1024;
/// How many parameters of an event are kept beside those that are added when it is sent.
const PARAMS_MAX: usize = 22;
/// How many items of an event are kept.
const ITEMS_MAX: usize = 25;
/// A session's id is the second in which it began.
const SESSION_DIGITS_MAX: usize = 10;
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
/// Those that are amounts or durations, whose texts are read as numbers.
const AMOUNTS: [&str; 7] =
    ["discount", "engagement_time_msec", "price", "quantity", "shipping", "tax", "value"];
/// The parameters of a campaign that stay in an address (<https://support.google.com/analytics/answer/10917952>).
pub const UTM: [&str; 9] = [
    "utm_campaign",
    "utm_content",
    "utm_creative_format",
    "utm_id",
    "utm_marketing_tactic",
    "utm_medium",
    "utm_source",
    "utm_source_platform",
    "utm_term",
];
/// A number has fewer than ten digits before the point, as no phone number with its area code has.
const NUMBER_BELOW: f64 = 1e9;
/// Numbers are rounded to thousandths: what a page's arithmetic leaves behind them is noise.
const NUMBER_PARTS: f64 = 1_000.0;

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

    /// Drops every event.
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

/// The names of what goes along, of an event and of its items.
pub fn params() -> impl Iterator<Item = &'static str> {
    PARAMS.into_iter().chain(ITEM_PARAMS)
}

/// The key of a visitor in the table, which nobody can compute without the site's key.
pub fn visitor(hash: &HashKey, client_id: &Text) -> LeadId {
    LeadId::derived(hash.id_bytes("ga4_client", client_id.expose()))
}

fn wrong(field: &str, fault: Fault) -> FieldErrors {
    FieldErrors(vec![FieldError { field: field.to_owned(), fault }])
}

/// What a request says of the browser and of consent, in any of its objects.
struct Page<'b> {
    objects: Vec<&'b Map<String, Value>>,
    /// The states of consent mode's commands, in their order.
    commands: Vec<&'b Value>,
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

    /// The session id: the one that the body states, or else the one in the cookie `_ga_<stream>`, if there is
    /// exactly one such cookie. Google does not document the cookie's format.
    fn session_id(&self) -> Option<String> {
        let said = match self.said(&["session_id", "sessionId", "ga_session_id"]) {
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
        };
        let of_cookie = || {
            // On the functions' own site a cookie comes twice: in the body and with the request.
            let sessions: BTreeSet<Option<&str>> =
                self.cookie(|name| name.starts_with("_ga_")).into_iter().map(of_stream).collect();
            let session = sessions.first().filter(|_| sessions.len() == 1)?;
            session.map(str::to_owned)
        };
        said.or_else(of_cookie).filter(|id| all_digits(id) && id.len() <= SESSION_DIGITS_MAX)
    }

    /// What the visitor decided of one type of storage. A denial anywhere counts, and so does a state that
    /// cannot be read; of consent mode's commands the last one does.
    fn consent(&self, of: &str) -> Option<Decision> {
        let inner = self.objects.iter().filter_map(|one| one.get("params")?.get("consent"));
        let states = self.objects.iter().filter_map(|one| one.get("consent")).chain(inner);
        let states = states.filter(|value| !value.is_null());
        let last = self.commands.iter().rev().find_map(|state| decision(state, of));
        let said: Vec<Decision> =
            states.filter_map(|state| decision(state, of)).chain(last).collect();
        if said.contains(&Decision::Denied) {
            Some(Decision::Denied)
        } else {
            said.first().copied()
        }
    }
}

/// The session in the cookie of a data stream.
fn of_stream(cookie: &str) -> Option<&str> {
    let mut parts = cookie.splitn(3, '.');
    let version = parts.next()?;
    let session = parts.nth(1)?;
    match version {
        "GS1" => session.split('.').next(),
        _ => session.strip_prefix('s')?.split('$').next(),
    }
}

/// The state that a command of consent mode sets, as gtag pushes it: `["consent", "update", {…}]`, or the
/// `arguments` of a function, which JSON turns into an object with the names `0`, `1` and `2`.
fn consent_command(entry: &Value) -> Option<&Value> {
    let at = |index: usize| match entry {
        Value::Array(parts) => parts.get(index),
        Value::Object(parts) => parts.get(&index.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    (at(0)?.as_str()? == "consent").then(|| at(2)).flatten()
}

/// What a state of consent mode says of one type. What is not understood is no agreement.
fn decision(state: &Value, of: &str) -> Option<Decision> {
    let Some(state) = state.as_object() else { return Some(Decision::Denied) };
    let mut types = state.iter().filter(|(name, _)| name.trim().eq_ignore_ascii_case(of));
    match types.next()?.1 {
        Value::Null => None,
        Value::Bool(true) => Some(Decision::Granted),
        Value::String(text) if text.trim().eq_ignore_ascii_case("granted") => {
            Some(Decision::Granted)
        }
        Value::Bool(false)
        | Value::String(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_) => Some(Decision::Denied),
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
        Value::Number(number) => return self::number(number, stripped),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    if text.is_empty() {
        return None;
    }
    if AMOUNTS.contains(&name)
        && let Ok(number) = serde_json::from_str::<Number>(&text)
    {
        return self::number(&number, stripped);
    }
    let text = if ADDRESSES.contains(&name) { address(&text, stripped)? } else { text };
    if !ADDRESSES.contains(&name) && looks_personal(&text) {
        *stripped += 1;
        return None;
    }
    let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
    Some(Value::String(if name == "currency" { text.to_ascii_uppercase() } else { text }))
}

/// A number as it may be kept. One that could be somebody's is counted instead.
fn number(number: &Number, stripped: &mut usize) -> Option<Value> {
    let rounded = match number.as_i64() {
        Some(_) => number.clone(),
        None => Number::from_f64((number.as_f64()? * NUMBER_PARTS).round() / NUMBER_PARTS)?,
    };
    if rounded.as_f64()?.abs() >= NUMBER_BELOW || looks_personal(&rounded.to_string()) {
        *stripped += 1;
        return None;
    }
    Some(Value::Number(rounded))
}

/// The address of a page without what can be somebody's: its site and path, and the campaign.
fn address(text: &str, stripped: &mut usize) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let mut kept = url.clone();
    kept.set_query(None);
    kept.set_fragment(None);
    kept.set_username("").ok()?;
    kept.set_password(None).ok()?;
    if url.domain().is_some_and(looks_personal) {
        *stripped += 1;
        return None;
    }
    if path_looks_personal(url.path()) {
        *stripped += 1;
        kept.set_path("");
    }
    for (name, value) in url.query_pairs() {
        if looks_personal(&value) || looks_personal(&name) {
            *stripped += 1;
        } else if UTM.contains(&name.as_ref()) {
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
        for none in ["", "_ga=ana@example.com", "_ga=GA1.1.x", "_ga=GA1.1.52998224725.1"] {
            assert_eq!(read(none), None, "{none}");
        }
        let body = json!({"event": "click", "cookies": {"_ga": format!("GA1.2.{CLIENT}"), "_ga_ABC": "GS2.1.s7$o1"}});
        let collected = collect(&body);
        assert_eq!(collected.visit.session_id.as_deref(), Some("7"));
        let same_site = Collector::default().collect(&body, Some("_ga_ABC=GS2.1.s7$o2"));
        assert_eq!(same_site.unwrap().visit.session_id.as_deref(), Some("7"));
    }

    #[test]
    fn any_denial_counts_and_of_consent_mode_s_commands_the_last() {
        let state = |state: &str| json!({"analytics_storage": state});
        let event =
            |consent: Value| json!({"event": "click", "client_id": CLIENT, "consent": consent});
        let default = json!(["consent", "default", state("denied")]);
        let arguments = json!({"0": "consent", "1": "update", "2": state("granted")});
        let (granted, denied) = (Some(Decision::Granted), Some(Decision::Denied));
        for (body, expected) in [
            (event(Value::Null), None),
            (event(json!({})), None),
            (event(json!({"analytics_storage": null})), None),
            (event(state("granted")), granted),
            (event(json!({"analytics_storage": 1})), denied),
            (event(json!(false)), denied),
            (event(json!("denied")), denied),
            (json!([event(state("granted")), event(state("denied"))]), denied),
            (json!({"events": [event(state("denied"))], "consent": state("granted")}), denied),
            (json!([default, event(Value::Null)]), denied),
            (json!([default, arguments, event(Value::Null)]), granted),
            (json!([arguments, default, event(Value::Null)]), denied),
            (json!([default, arguments, event(state("denied"))]), denied),
            (json!([["consent", "update", "x"], event(state("granted"))]), denied),
        ] {
            assert_eq!(collect(&body).analytics, expected, "{body}");
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
            json!({"page_referrer": "https://example.com/?utm_source=ana%2540example.com"}),
            json!({"page_title": "ana%2540example.com"}),
            json!({"value": 52_998_224_725_i64, "currency": "BRL"}),
            json!({"value": "52998224725", "currency": "BRL"}),
            json!({"value": 529_982_247.25, "currency": "BRL"}),
            json!({"form_step": -52_998_224_725_i64}),
            json!({"ecommerce": {"items": [{"item_id": "SKU-1", "price": 1e126}]}}),
        ] {
            let (kept, stripped) = params(&personal);
            assert_eq!(stripped, 1, "{personal}");
            let text = kept.to_string();
            assert!(
                !text.contains("ana") && !text.contains("98765") && !text.contains("529"),
                "{text}"
            );
        }
        let address = "https://ana:secret@example.com/lp?utm_source=ig&utm_campaign=maio&x=1&utm_id=1&utm_ana=1#top";
        let (kept, stripped) = params(&json!({"page_location": address}));
        let expected = "https://example.com/lp?utm_source=ig&utm_campaign=maio&utm_id=1";
        assert_eq!((kept, stripped), (json!({"page_location": expected}), 0));
        let dated = json!({"page_location": "https://example.com/blog/2026/11/30/10-dicas"});
        assert_eq!(params(&dated), (dated, 0));
        let amounts = json!({"value": 33.333_333_333_333_336, "currency": "BRL", "engagement_time_msec": 987_654_321, "form_step": 1e-200});
        let rounded = json!({"value": 33.333, "currency": "BRL", "engagement_time_msec": 987_654_321, "form_step": 0.0});
        assert_eq!(params(&amounts), (rounded, 0));
    }

    #[test]
    fn only_what_is_listed_goes_along_in_the_format_that_ga4_takes() {
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
