//! Meta by its Conversions API: `docs/providers.md` ("Meta and Graph").
//!
//! An event destination for people who agreed to ads. It sends `Lead` for a form and a qualified deal, `Schedule` for a
//! new booking, and `Purchase` for a payment and a committed deal. The `event_id` is the delivery's id; Meta drops a
//! second event with it for 48 hours, also one from the page's Pixel. Form events are `website` events. Webhooks have
//! no browser, so their events are `system_generated`, without address and user agent; the browser ids of the first
//! visit connect them to the click. Everything that identifies the person is normalised and hashed by Meta's rules.

use icu_normalizer::ComposingNormalizerBorrowed;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::Url;

use super::repetition::{Repeats, ReplayPolicy};
use super::{Adapter, Connector, Context, Destination, Kind, Planned, Slot, Step, Whose, graph};
use crate::check::{Finding, Probe, not_itself};
use crate::clock::after;
use crate::contact::attribution::Attribution;
use crate::contact::consent::Purpose;
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::delivery::{Outcome, Reason, WhenUnknown, judge};
use crate::event::{
    DealChanged, DealEvent, DealStage, Digests, Event, EventData, FormEvent, PaymentEvent,
    PaymentSucceeded, SiteFormKind,
};
use crate::hash::sha256_hex;
use crate::lead::Lead;
use crate::pii::{Text, looks_personal, path_looks_personal};
use crate::settings::{Secret, Settings};

pub(super) static LEAD: Slot = Slot::new("lead", Purpose::Ads);
static SCHEDULE: Slot = Slot::new("schedule", Purpose::Ads);
static PURCHASE: Slot = Slot::new("purchase", Purpose::Ads);

/// The greatest age of an event, in hours. Meta refuses the whole request for an older one.
const TAKEN_H: i64 = 7 * 24;
/// How long Meta recognises an `event_id`, in hours.
const RECOGNISED_H: i64 = 48;

/// Meta: the events that ads are optimised by, by the Conversions API.
pub static DESTINATION: Destination = Destination {
    name: "meta",
    function: "meta-events",
    provider: "meta",
    kind: Kind::Event,
    whose: Whose::Leads,
    deadline_h: TAKEN_H,
    when_unknown: WhenUnknown::Never,
    replay: ReplayPolicy {
        repeats: Repeats::RecognisedFor { hours: RECOGNISED_H },
        too_old_h: Some(TAKEN_H),
    },
    person_pause_s: None,
    keyed_by_email: false,
    keeps_replies: false,
    follows_bookings: false,
    page_event: Some(&LEAD),
    daily_per_number: None,
    requests_per_minute: None,
    base_url_variable: "META_BASE_URL",
    local_path: "",
    other_base_urls: &[],
    local_credentials: &[("META_ACCESS_TOKEN", "local-meta")],
    local_settings: &[("META_PIXEL_ID", "1000000000000001")],
    slots: &[LEAD, SCHEDULE, PURCHASE],
    plan,
};

/// What makes its adapter. Only the function that delivers to it links this.
pub static CONNECTOR: Connector = Connector {
    destination: &DESTINATION,
    connect: |settings| Some(Box::new(Meta(Dataset::read(settings)?))),
};

/// What Meta takes of an event.
struct Taken<'e> {
    slot: &'static Slot,
    /// Meta's name of it.
    name: &'static str,
    /// What is sent of it beside the person.
    custom_data: Option<Value>,
    /// The page from which it came.
    visit: Option<&'e Attribution>,
    /// What of the person came as digests.
    digests: Option<&'e Digests>,
}

impl Taken<'_> {
    const fn new(slot: &'static Slot, name: &'static str) -> Self {
        Self { slot, name, custom_data: None, visit: None, digests: None }
    }
}

/// The events that Meta gets: every form that makes a lead, every new booking (one that replaces another is not a
/// second conversion), every payment once, and deals that are qualified or committed.
fn taken(event: &EventData) -> Option<Taken<'_>> {
    use EventData::{Call, Consent, Deal, Form, Operation, Payment, Visit};

    match event {
        Form(form) => {
            let site_form = form.of_site().map(|submission| submission.form.kind());
            let makes_lead = matches!(form, FormEvent::LeadSubmitted(_));
            (makes_lead || site_form == Some(SiteFormKind::Inquiry))
                .then(|| Taken { visit: form.attribution(), ..Taken::new(&LEAD, "Lead") })
        }
        Call(event) => {
            event.booked().filter(|booked| booked.instead_of.is_none())?;
            Some(Taken::new(&SCHEDULE, "Schedule"))
        }
        Payment(PaymentEvent::Succeeded(paid)) => {
            let custom_data = Some(bought(paid)?);
            Some(Taken { custom_data, ..Taken::new(&PURCHASE, "Purchase") })
        }
        Deal(DealEvent::Changed(deal)) => {
            let taken = match deal.stage {
                DealStage::Qualified => Taken::new(&LEAD, "Lead"),
                DealStage::Committed => Taken::new(&PURCHASE, "Purchase"),
                DealStage::Other => return None,
            };
            Some(Taken { custom_data: Some(of_deal(deal)), digests: Some(&deal.digests), ..taken })
        }
        Payment(_) | Deal(_) | Consent(_) | Operation(_) | Visit(_) => None,
    }
}

/// What Meta is sent of a deal: which CRM reported it, and what it is worth.
fn of_deal(deal: &DealChanged) -> Value {
    let mut data = json!({"event_source": "crm", "lead_event_source": deal.crm});
    if let Some(value) = deal.value {
        data["value"] = value.number();
        data["currency"] = json!(value.currency);
    }
    data
}

/// How much was paid for what. `None` where another report of the payment says it.
fn bought(paid: &PaymentSucceeded) -> Option<Value> {
    let amount = paid.counted?;
    let mut data = json!({
        "value": amount.number(),
        "currency": amount.currency,
        "order_id": paid.transaction,
    });
    // Meta takes personal data hashed and in its own fields alone.
    let of_site = |text: &Option<String>| text.clone().filter(|text| !looks_personal(text));
    if let Some(id) = of_site(&paid.purchase.service_id) {
        data["content_ids"] = json!([id]);
        data["content_type"] = json!("product");
    }
    if let Some(name) = of_site(&paid.purchase.service_name) {
        data["content_name"] = json!(name);
    }
    Some(data)
}

fn plan(event: &Event) -> Vec<Planned> {
    let deadline = Some(after(event.occurred_at, TAKEN_H * 3600));
    let planned = taken(&event.data);
    let planned = planned.map(|taken| Planned { deadline, ..Planned::from(taken.slot) });
    planned.into_iter().collect()
}

/// A dataset (Pixel) of the Meta account, with its token and the code of the Test Events tool, if one is set.
#[derive(Clone, Debug)]
pub struct Dataset {
    events_url: Url,
    token: Secret,
    test_event_code: Option<String>,
}

impl Dataset {
    /// Reads `META_PIXEL_ID`, `META_ACCESS_TOKEN`, `META_TEST_EVENT_CODE` and where the Graph API is.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let base = settings.url("META_BASE_URL", Some("https://graph.facebook.com"));
        let version = graph::version(settings, "META_API_VERSION");
        let token = settings.secret("META_ACCESS_TOKEN");
        let pixel = settings.required("META_PIXEL_ID").and_then(|pixel| {
            let is_id = pixel.bytes().all(|byte| byte.is_ascii_digit());
            if is_id { Some(pixel) } else { settings.problem("META_PIXEL_ID must be a number.") }
        });
        let test_event_code = settings.optional("META_TEST_EVENT_CODE").map(str::to_owned);
        let events_url = endpoint(&base?, &[version?, pixel?, "events"]);
        Some(Self { events_url, token: token?, test_event_code })
    }

    /// An event of nobody for the Test Events tool, which counts for nothing. `None` without a code of that tool.
    pub fn test_event(&self, now: Timestamp) -> Option<Request> {
        self.test_event_code.as_ref()?;
        let nobody = sha256_hex(b"funil-setup-test");
        let event = json!({
            "event_name": "Lead",
            "event_time": now.as_second(),
            "event_id": format!("funil-setup-{}", now.as_second()),
            "action_source": "system_generated",
            "user_data": {"external_id": [nobody]},
        });
        Some(self.events(&[event]))
    }

    fn events(&self, events: &[Value]) -> Request {
        let mut body = json!({"data": events});
        if let Some(code) = self.test_event_code.as_ref().filter(|_| !events.is_empty()) {
            body["test_event_code"] = Value::from(code.as_str());
        }
        Request::safe(Method::Post, self.events_url.clone(), Some(body))
            .header("authorization", format!("Bearer {}", self.token.expose()))
    }
}

struct Meta(Dataset);

impl Adapter for Meta {
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        if let Some(response) = so_far.first() {
            return Step::Done(judged(response));
        }
        let Some(taken) = taken(&context.event.data) else {
            return Step::Done(Outcome::Rejected(Reason::NotUnderstood));
        };
        // Meta refuses a purchase without a known value.
        let worth = taken.custom_data.as_ref().and_then(|data| data.get("value"));
        if *taken.slot == PURCHASE && worth.is_none() {
            return Step::Done(Outcome::Skipped(Reason::Missing("value")));
        }
        let mut event = json!({
            "event_name": taken.name,
            "event_time": context.event.occurred_at.as_second(),
            "event_id": context.delivery.id.to_string(),
            "action_source": "system_generated",
            "user_data": user_data(context.lead, taken.visit, taken.digests),
        });
        // The website's events need the page and the browser.
        let page = taken.visit.and_then(page_of).zip(context.event.user_agent.as_ref());
        if let Some((page, agent)) = page {
            event["action_source"] = json!("website");
            event["event_source_url"] = json!(page);
            event["user_data"]["client_user_agent"] = json!(agent.expose());
        }
        if let Some(data) = taken.custom_data {
            event["custom_data"] = data;
        }
        Step::send(self.0.events(&[event]))
    }

    fn requests_max(&self, _slot: &Slot) -> usize {
        1
    }

    /// A request without any event, which Meta has to refuse: for the token, the pixel, or the lack of
    /// events.
    fn probes(&self) -> Vec<Probe<'_>> {
        const SUBJECT: &str = "credentials";

        let mut probes = vec![Probe::ask(SUBJECT, self.0.events(&[]), |response| {
            let names = ("META_ACCESS_TOKEN", "META_PIXEL_ID");
            vec![match graph::finding(SUBJECT, names, response) {
                Some(finding) => finding,
                // Nothing was sent, so a success is not Meta's.
                None if response.succeeded() => not_itself(SUBJECT, "META_BASE_URL", "Meta"),
                None => Finding::ok(SUBJECT, "Meta takes META_ACCESS_TOKEN for META_PIXEL_ID"),
            }]
        })];
        if self.0.test_event_code.is_some() {
            let says = "META_TEST_EVENT_CODE is set, so Meta shows events in its Test Events tool and \
                        counts none. Remove it once you have seen them.";
            probes.push(Probe::Known(Finding::warning("test events", says)));
        }
        probes
    }
}

/// The address of a page without its query, which may hold anything; none that looks personal.
fn page_of(visit: &Attribution) -> Option<String> {
    let mut page = Url::parse(visit.page_url.as_ref()?.expose()).ok()?;
    page.set_query(None);
    page.set_fragment(None);
    let is_plain = page.username().is_empty() && page.password().is_none();
    (is_plain && !path_looks_personal(page.path())).then(|| page.to_string())
}

/// Who the person is: hashed, except the browser's own ids. Of the first visit, if the event has none of its own.
fn user_data(
    lead: &Lead,
    visit: Option<&Attribution>,
    digests: Option<&Digests>,
) -> Map<String, Value> {
    let latest = &lead.latest;
    let words: Vec<&str> =
        latest.name.iter().flat_map(|name| name.expose().split_whitespace()).collect();
    let last = (words.len() > 1).then(|| words.last()).flatten();
    let hashed = [
        ("em", latest.email.as_ref().map(|email| email.as_str().to_owned())),
        ("ph", latest.phone.as_ref().map(|phone| digits(phone.as_str()))),
        ("fn", words.first().map(|word| letters(word))),
        ("ln", last.map(|word| letters(word))),
        ("external_id", Some(lead.id.to_string())),
    ];
    let hashed = hashed.into_iter().filter_map(|(name, value)| {
        let own = value.filter(|value| !value.is_empty());
        let own = own.map(|value| sha256_hex(value.as_bytes()));
        let came = digests.and_then(|digests| digest(digests, name));
        let mut values: Vec<String> = own.into_iter().chain(came).collect();
        values.dedup();
        (!values.is_empty()).then(|| (name.to_owned(), json!(values)))
    });
    let touch = visit.or(lead.facts.first_touch.as_ref());
    let ids = [
        ("fbc", touch.and_then(|touch| touch.fbc.as_ref())),
        ("fbp", touch.and_then(|touch| touch.fbp.as_ref())),
    ];
    let ids = ids.into_iter().filter_map(|(name, id)| {
        Some((name.to_owned(), Value::from(id.filter(|id| is_browser_id(id))?.expose().as_str())))
    });
    hashed.chain(ids).collect()
}

/// What came as a digest, by Meta's name of it.
fn digest(digests: &Digests, name: &str) -> Option<String> {
    let digest = match name {
        "em" => &digests.email,
        "ph" => &digests.phone,
        "fn" => &digests.first_name,
        "ln" => &digests.last_name,
        _ => &None,
    };
    digest.as_ref().map(|digest| digest.expose().clone())
}

fn digits(phone: &str) -> String {
    phone.chars().filter(char::is_ascii_digit).collect()
}

/// A name in lower case without punctuation or spaces, with its accents, each composed with its
/// letter: some keyboards send the two apart, which would be another hash.
fn letters(name: &str) -> String {
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(name);
    composed.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Whether the text has the form `fb.<subdomain index>.<milliseconds>.<id>`. A browser may send
/// anything, and Meta refuses a whole request for an id of another form.
fn is_browser_id(id: &Text) -> bool {
    let parts: Vec<&str> = id.expose().splitn(4, '.').collect();
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match parts.as_slice() {
        ["fb", index, at, rest] => {
            number(index)
                && number(at)
                && !rest.is_empty()
                && rest.bytes().all(|byte| byte.is_ascii_graphic())
        }
        _ => false,
    }
}

/// Judges by the API's own error code, or by the status if there is none.
fn judged(response: &Response) -> Outcome {
    let body = response.json();
    let Some(error) = graph::Error::of(&body) else {
        let judged = judge(response);
        let taken = body["events_received"].as_u64().is_some_and(|count| count > 0);
        if judged == Outcome::Delivered && !taken {
            let reason = Reason::UnexpectedResponse("without_events_received");
            return Outcome::Retry { reason, retry_after_s: None };
        }
        return judged;
    };
    if let Some(outcome) = error.judged(response.retry_after_s) {
        return outcome;
    }
    // An unlisted code says less than the status.
    match judge(response) {
        Outcome::Rejected(_) => Outcome::Rejected(Reason::Failed(error.code)),
        Outcome::Delivered => graph::outage(error.code, response.retry_after_s),
        judged @ (Outcome::Retry { .. }
        | Outcome::Blocked(_)
        | Outcome::Skipped(_)
        | Outcome::Expired
        | Outcome::Unknown(_)
        | Outcome::Released { .. }) => judged,
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{
        adapter, booked, canceled, committed, conversation, lead, paying, payment, payments,
        response, submitted,
    };
    use super::*;
    use crate::booking::BookingId;
    use crate::contact::{Email, Phone};
    use crate::event::CallEvent;

    fn talk(more: &[(&str, &str)], responses: &[Response]) -> String {
        let variables = [("META_PIXEL_ID", "1234567890"), ("META_ACCESS_TOKEN", "t0ken")];
        let variables: Vec<_> = variables.iter().chain(more).copied().collect();
        let meta = adapter("meta", &variables);
        conversation(&*meta, ("meta", "schedule"), &booked(), &lead(), responses)
    }

    #[test]
    fn a_booking_is_a_schedule_of_a_hashed_person() {
        let taken = [response(200, &json!({"events_received": 1, "messages": []}))];
        assert_snapshot!(talk(&[], &taken));
        let more = [("META_TEST_EVENT_CODE", "TEST123"), ("META_API_VERSION", "v26.0")];
        let shown = talk(&more, &taken);
        assert!(shown.contains("https://graph.facebook.com/v26.0/1234567890/events"), "{shown}");
        assert!(shown.contains(r#""test_event_code": "TEST123""#), "{shown}");
    }

    #[test]
    fn a_payment_is_a_purchase_with_its_value() {
        let taken = [response(200, &json!({"events_received": 1, "messages": []}))];
        let meta =
            adapter("meta", &[("META_PIXEL_ID", "1234567890"), ("META_ACCESS_TOKEN", "t0ken")]);
        let mut events = payments().into_iter().map(payment);
        let paid = events.next().unwrap();
        assert_snapshot!(conversation(&*meta, ("meta", "purchase"), &paid, &paying(), &taken));
        for other in events {
            assert_eq!(plan(&other), [], "{}", other.data.name());
        }
    }

    fn of_form(agent: Option<&str>) -> String {
        let event = Event { user_agent: agent.map(Text::from), ..submitted() };
        let meta =
            adapter("meta", &[("META_PIXEL_ID", "1234567890"), ("META_ACCESS_TOKEN", "t0ken")]);
        let taken = [response(200, &json!({"events_received": 1, "messages": []}))];
        conversation(&*meta, ("meta", "lead"), &event, &lead(), &taken)
    }

    #[test]
    fn a_form_is_a_lead_of_the_website_where_its_browser_is_known() {
        assert_snapshot!(of_form(Some("Mozilla/5.0 (X11; Linux x86_64)")));
        let unknown = of_form(None);
        assert!(unknown.contains("system_generated") && !unknown.contains("event_source_url"));
        let newsletter = super::super::samples::newsletter();
        assert_eq!(plan(&newsletter), []);
    }

    fn of_deal(change: impl FnOnce(&mut DealChanged), lead: &Lead) -> String {
        let mut event = committed();
        let EventData::Deal(DealEvent::Changed(deal)) = &mut event.data else { unreachable!() };
        change(deal);
        let slot = plan(&event).first().map_or("", |planned| planned.slot.name);
        let meta =
            adapter("meta", &[("META_PIXEL_ID", "1234567890"), ("META_ACCESS_TOKEN", "t0ken")]);
        let taken = response(200, &json!({"events_received": 1, "messages": []}));
        let of_deal = taken_of(&event);
        let taken = of_deal.then_some(taken).into_iter().collect::<Vec<_>>();
        conversation(&*meta, ("meta", slot), &event, lead, &taken)
    }

    /// Whether a deal is sent at all.
    fn taken_of(event: &Event) -> bool {
        matches!(&event.data, EventData::Deal(DealEvent::Changed(deal))
            if deal.stage == DealStage::Qualified || deal.value.is_some())
    }

    #[test]
    fn a_deal_is_a_lead_or_a_purchase_of_the_crm() {
        assert_snapshot!(of_deal(|_| {}, &lead()));
        let qualified = of_deal(|deal| deal.stage = DealStage::Qualified, &lead());
        assert!(qualified.contains(r#""event_name": "Lead""#), "{qualified}");
        let worthless = of_deal(|deal| deal.value = None, &lead());
        assert_eq!(worthless, "=> skipped missing_value");
        let mut other = committed();
        let EventData::Deal(DealEvent::Changed(deal)) = &mut other.data else { unreachable!() };
        deal.stage = DealStage::Other;
        assert_eq!(plan(&other), []);
    }

    #[test]
    fn digests_of_a_crm_go_along_as_they_are() {
        let hash = sha256_hex(b"maria@example.com");
        let mut nobody = lead();
        nobody.latest = crate::lead::LeadLatest::default();
        let digests = Digests { email: Some(Text::from(&*hash)), ..Digests::default() };
        let shown = of_deal(|deal| deal.digests = digests, &nobody);
        assert!(shown.contains(&hash), "{shown}");
        let alone = of_deal(|_| {}, &nobody);
        assert!(!alone.contains(r#""em""#) && alone.contains(r#""external_id""#), "{alone}");
    }

    #[test]
    fn a_moved_or_canceled_call_is_no_conversion() {
        let mut moved = booked();
        let EventData::Call(CallEvent::Booked(booking)) = &mut moved.data else { unreachable!() };
        booking.instead_of = Some(BookingId::parse("OLD").unwrap());
        assert_eq!(plan(&moved), []);
        assert_eq!(plan(&canceled()), []);
        let planned = plan(&booked());
        assert_eq!(planned[0].deadline.unwrap().to_string(), "2026-11-28T12:00:00Z");
    }

    /// The vectors are from Meta's documentation and, where it has none, from its SDKs.
    #[test]
    fn a_person_is_hashed_by_metas_rules() {
        let of = |name: &str, email: &str, phone: &str| {
            let mut lead = lead();
            lead.latest.name = Some(Text::from(name));
            lead.latest.email = Some(Email::parse(email).unwrap());
            lead.latest.phone = Some(Phone::parse(phone).unwrap());
            user_data(&lead, None, None)
        };
        let someone = of("João Conceição", "John_Smith@gmail.com", "+1 650 555 1212");
        for (field, expected) in [
            ("em", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"),
            ("fn", "d147147c3dcbe0ac2756b42297dd7f013f8b2fa6178e209c3f74dc7d752243ef"),
            ("ln", "01984f463a1681c5827b11a006db945028014d595133776dd6b6a68cd06260fd"),
        ] {
            assert_eq!(someone[field], json!([expected]), "{field}");
        }
        let hash = |text: &str| sha256_hex(text.as_bytes());
        let phone = "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176";
        assert_eq!(hash(&digits("+16505551212")), phone);
        let email = "  Maria.Silva+teste@Exemplo.com.BR ";
        let brazilian = of("Valéry", email, "(11) 98765-4321");
        for (field, expected) in [
            ("em", "234148f6ee7a5064112e597463087c3a7a7383e27dad89fd8996300c9861ee37"),
            ("ph", "029c7290f14c4516673508635f0519db95f7daf42057fd0e4ad1de84c5408a66"),
            ("fn", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
        ] {
            assert_eq!(brazilian[field], json!([expected]), "{field}");
        }
        assert_eq!(brazilian.get("ln"), None);
        for (name, expected) in [
            ("Mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
            ("정", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14"),
        ] {
            assert_eq!(hash(&letters(name)), expected, "{name}");
        }
        assert_eq!(letters("D'Ávila"), "dávila");
        assert_eq!(letters("Joa\u{303}o"), "joão", "a decomposed accent");
        assert_eq!(
            hash("lead_0001"),
            "734c472e566edce0daa9607a07c331d4e79746fb81d70c255f7711e9d037dd6f"
        );
    }

    #[test]
    fn a_browser_id_of_another_form_is_left_out() {
        for (id, expected) in [
            ("fb.1.1596403881668.1116446470", true),
            ("fb.1.1554763741205.AbCdEf_gh-1.2", true),
            ("fb.1.1554763741205.", false),
            ("fb.x.1554763741205.1", false),
            ("fb.1.1.a b", false),
            ("ana@example.com", false),
            ("", false),
        ] {
            assert_eq!(is_browser_id(&Text::from(id)), expected, "{id}");
        }
    }

    #[test]
    fn every_kind_of_response_is_judged() {
        let error = |code: u32| json!({"error": {"code": code, "message": "x"}});
        let wrong_id = json!({"error": {"code": 100, "error_subcode": 33}});
        let passing = json!({"error": {"code": 99, "is_transient": true}});
        for (response, expected) in [
            (
                response(200, &json!({"events_received": 0})),
                "=> retry answer_without_events_received",
            ),
            (response(200, &json!("<html>")), "=> retry answer_without_events_received"),
            (response(400, &error(190)), "=> blocked failed_190"),
            (response(403, &error(200)), "=> blocked failed_200"),
            (response(400, &error(299)), "=> blocked failed_299"),
            (response(403, &error(10)), "=> blocked failed_10"),
            (response(400, &error(100)), "=> rejected failed_100"),
            (response(400, &wrong_id), "=> blocked failed_100"),
            (response(400, &error(368)), "=> blocked failed_368"),
            (response(500, &error(1)), "=> retry outage_1"),
            (response(400, &error(4)), "=> retry outage_4"),
            (response(400, &error(32)), "=> retry outage_32"),
            (response(400, &error(613)), "=> retry outage_613"),
            (response(400, &error(80_004)), "=> retry outage_80004"),
            (response(400, &passing), "=> retry outage_99"),
            (response(400, &error(99)), "=> rejected failed_99"),
            (response(200, &error(99)), "=> retry outage_99"),
            (response(503, &Value::Null), "=> retry http_503"),
            (response(401, &Value::Null), "=> blocked http_401"),
            (response(400, &Value::Null), "=> rejected http_400"),
        ] {
            let shown = talk(&[], std::slice::from_ref(&response));
            assert!(shown.ends_with(expected), "{expected} for {response:?}");
        }
    }
}
