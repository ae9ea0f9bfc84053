//! Google Analytics 4 by its Measurement Protocol: `docs/providers.md` ("GA4").
//!
//! An event destination. GA4 responds 2xx to whatever arrives and silently drops what breaks its
//! limits, so every request is checked against them here first. It recognises no key of ours: a
//! second request counts twice, so one without a response stays unknown. Only a purchase it knows again, by
//! its transaction. Parameters are an allow-list, and free text passes only if it looks like the name of an
//! option.

pub mod collect;
mod limits;
pub(super) mod visits;

use serde_json::{Value, json};
use url::Url;

use super::names::{Names, Omission};
use super::repetition::{Repeats, ReplayPolicy};
use super::{Adapter, Context, Destination, Kind, Planned, Slot, Step, Whose};
use crate::check::{Finding, Probe, not_itself, refusal};
use crate::clock::after;
use crate::contact::attribution::Attribution;
use crate::contact::consent::{Decision, Purpose, permits};
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::delivery::{Outcome, Reason, WhenUnknown};
use crate::event::{
    CallEvent, Event, EventData, FormEvent, PaymentEvent, PaymentFailed, Purchase, SiteFormKind,
    TransactionId,
};
use crate::hash::sha256_parts;
use crate::id::LeadId;
use crate::lead::Lead;
use crate::money::Money;
use crate::pii::{Text, looks_personal};
use crate::settings::{Secret, Settings};

static EVENT: Slot = Slot::new("event", Purpose::Analytics);

/// The greatest age of an event that GA4 takes, in hours.
const TAKEN_H: i64 = 72;

pub(super) static DESTINATION: Destination = Destination {
    name: "ga4",
    function: "ga4-events",
    provider: "ga4",
    kind: Kind::Event,
    whose: Whose::Leads,
    deadline_h: TAKEN_H,
    when_unknown: WhenUnknown::Final,
    replay: ReplayPolicy { repeats: Repeats::Counted, too_old_h: Some(TAKEN_H) },
    person_pause_s: None,
    keyed_by_email: false,
    keeps_replies: false,
    follows_bookings: false,
    daily_per_number: None,
    requests_per_minute: None,
    base_url_variable: "GA4_BASE_URL",
    local_path: "",
    other_base_urls: &[],
    local_credentials: &[("GA4_API_SECRET", "local-ga4")],
    local_settings: &[("GA4_MEASUREMENT_ID", "G-LOCAL")],
    slots: &[EVENT],
    plan: |event| taken(&event.data).map(|_| planned(event)).into_iter().collect(),
    connect: |settings| Some(Box::new(Ga4::connect(settings)?)),
};

/// The one slot, as long as GA4 takes the event.
fn planned(event: &Event) -> Planned {
    // Whoever reports it may have another clock.
    let happened_at = event.occurred_at.min(event.accepted_at);
    let deadline = Some(after(happened_at, TAKEN_H * 3600));
    Planned { deadline, ..Planned::from(&EVENT) }
}

/// What GA4 takes of an event.
struct Taken<'e> {
    /// Our name of the event, which is GA4's too unless `GA4_EVENT_NAMES` says another.
    name: &'static str,
    params: Vec<(&'static str, Value)>,
    /// The visit in which it happened. `None` if it happened later: then the browser is that of the
    /// first touch, and there is no session.
    visit: Option<&'e Attribution>,
    /// What of the lead goes along.
    of_lead: OfLead,
    /// What GA4 does with a second request.
    repeated: Repeated,
}

/// What of the lead goes along with an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OfLead {
    Nothing,
    /// The traffic source.
    Source,
    /// What led to a payment: traffic source, campaign, session, and the days that it took.
    Conversion,
}

/// What GA4 does with a second request of the same event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeated {
    /// It counts both.
    Counted,
    /// It knows the transaction again: `docs/providers.md` ("GA4").
    Recognised,
}

fn taken(event: &EventData) -> Option<Taken<'_>> {
    use EventData::{Call, Consent, Deal, Form, Operation, Payment, Visit};

    match event {
        Form(event) => generate_lead(event)
            .or_else(|| questionnaire_completed(event))
            .or_else(|| site_form(event)),
        Call(event) => match event {
            CallEvent::Booked(booked) => Some(call(
                "call_scheduled",
                vec![
                    ("booking_kind", booked.kind().into()),
                    ("days_ahead", booked.days_ahead().into()),
                ],
            )),
            CallEvent::Canceled(canceled) if event.is_lost_call() => {
                let by = canceled.by.as_deref().unwrap_or("unknown");
                Some(call("call_canceled", vec![("canceled_by", by.into())]))
            }
            CallEvent::Missed(_) if event.is_lost_call() => Some(call("call_no_show", vec![])),
            CallEvent::Canceled(_)
            | CallEvent::Missed(_)
            | CallEvent::BookedElsewhere(_)
            | CallEvent::ChangeRequested(_) => None,
        },
        Payment(event) => payment(event),
        Deal(_) | Consent(_) | Operation(_) | Visit(_) => None,
    }
}

fn payment(event: &PaymentEvent) -> Option<Taken<'_>> {
    match event {
        PaymentEvent::Succeeded(paid) => {
            let params = money_moved(&paid.transaction, paid.counted?, &paid.purchase);
            let taken = Taken { repeated: Repeated::Recognised, ..conversion("purchase", params) };
            Some(taken)
        }
        PaymentEvent::Refunded(refund) => {
            let params = money_moved(&refund.transaction, refund.counted?, &refund.purchase);
            Some(conversion("refund", params))
        }
        PaymentEvent::Disputed(dispute) => {
            let lost = dispute.counted?;
            let mut params = money_moved(&dispute.transaction, lost, &Purchase::default());
            params.push(("refund_reason", "dispute_lost".into()));
            Some(conversion("refund", params))
        }
        PaymentEvent::Failed(failed) => Some(conversion("payment_failed", failure(failed))),
        PaymentEvent::SubscriptionStarted(_) | PaymentEvent::CheckoutCompleted(_) => None,
    }
}

/// An event of money that came or went.
fn money_moved(
    transaction: &TransactionId,
    money: Money,
    purchase: &Purchase,
) -> Vec<(&'static str, Value)> {
    let mut params = vec![
        ("transaction_id", transaction.as_str().into()),
        ("value", money.number()),
        ("currency", money.currency.as_str().into()),
        ("items", json!([item(money, purchase)])),
    ];
    if let Some(coupon) = of_site(purchase.coupon.as_ref()) {
        params.push(("coupon", coupon.into()));
    }
    params
}

/// What was bought, as GA4's item, which needs an id or a name.
fn item(money: Money, purchase: &Purchase) -> Value {
    let mut item = json!({"price": money.number(), "quantity": 1});
    for (name, value) in [
        ("item_id", &purchase.service_id),
        ("item_name", &purchase.service_name),
        ("item_category", &purchase.service_type),
        ("item_variant", &purchase.pricing_tier),
    ] {
        if let Some(value) = of_site(value.as_ref()) {
            item[name] = value.into();
        }
    }
    if item.get("item_id").or(item.get("item_name")).is_none() {
        item["item_name"] = "payment".into();
    }
    item
}

/// What the site wrote into the payment, unless it looks personal, which GA4 forbids.
fn of_site(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !looks_personal(text))
}

/// A payment that failed has no value: GA4 adds up the values of all events.
fn failure(failed: &PaymentFailed) -> Vec<(&'static str, Value)> {
    let codes = [("failure_code", &failed.code), ("decline_code", &failed.decline_code)];
    let codes = codes.into_iter().filter_map(|(name, code)| Some((name, code.as_deref()?.into())));
    [("transaction_id", failed.transaction.as_str().into())].into_iter().chain(codes).collect()
}

fn conversion(name: &'static str, params: Vec<(&'static str, Value)>) -> Taken<'static> {
    Taken { name, params, visit: None, of_lead: OfLead::Conversion, repeated: Repeated::Counted }
}

fn questionnaire_completed(event: &FormEvent) -> Option<Taken<'_>> {
    let FormEvent::QuestionnaireCompleted(completed) = event else { return None };
    Some(Taken {
        name: "questionnaire_completed",
        params: vec![
            ("transformation_score", completed.score.total.into()),
            ("next_step", completed.next_step.name().into()),
        ],
        visit: None,
        of_lead: OfLead::Nothing,
        repeated: Repeated::Counted,
    })
}

fn generate_lead(event: &FormEvent) -> Option<Taken<'_>> {
    let FormEvent::LeadSubmitted(submitted) = event else { return None };
    let form = &submitted.form;
    let optional = [
        ("session_id", session_id(&form.attribution)),
        ("lead_source", option(form.traffic_source.as_ref())),
        ("source_section", option(form.source_section.as_ref())),
        ("business_type", option(Some(&form.business_type))),
    ];
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?.into())));
    let scores = [
        ("amanda_match_score", submitted.score.total.into()),
        ("amanda_tier", submitted.score.tier.name().into()),
    ];
    Some(Taken {
        name: "generate_lead",
        params: scores.into_iter().chain(optional).collect(),
        visit: Some(&form.attribution),
        of_lead: OfLead::Nothing,
        repeated: Repeated::Counted,
    })
}

/// One of the site's forms: a lead, or a sign-up for the newsletter.
fn site_form(event: &FormEvent) -> Option<Taken<'_>> {
    let submission = event.of_site()?;
    let attribution = &submission.origin.attribution;
    let score = submission.consultation.map(|wanted| &wanted.score);
    let location = submission.origin.location();
    let optional = [
        ("session_id", session_id(attribution).map(Value::from)),
        ("form_type", option(submission.origin.form_type.as_ref()).map(Value::from)),
        ("form_location", location.map(Value::from)),
        ("service_interest", option(submission.service_interest).map(Value::from)),
        ("lead_source", option(attribution.utm.source.as_ref()).map(Value::from)),
        ("consultation_score", score.map(|score| score.total.into())),
        ("consultation_tier", score.map(|score| score.tier.name().into())),
    ];
    Some(Taken {
        name: match submission.form.kind() {
            SiteFormKind::Inquiry => "generate_lead",
            SiteFormKind::SignUp => "newsletter_signup",
        },
        params: optional.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        visit: Some(attribution),
        of_lead: OfLead::Nothing,
        repeated: Repeated::Counted,
    })
}

fn session_id(attribution: &Attribution) -> Option<&str> {
    let session = attribution.ga_session_id.as_ref().filter(|id| digits(id))?;
    Some(session.expose())
}

/// An event of a booked call.
fn call(name: &'static str, params: Vec<(&'static str, Value)>) -> Taken<'static> {
    Taken { name, params, visit: None, of_lead: OfLead::Source, repeated: Repeated::Counted }
}

struct Ga4 {
    base: Url,
    measurement_id: String,
    api_secret: Secret,
    event_names: Names,
}

/// Our names of the events.
pub(super) const EVENTS: [&str; 9] = [
    "generate_lead",
    "questionnaire_completed",
    "newsletter_signup",
    "call_scheduled",
    "call_canceled",
    "call_no_show",
    "purchase",
    "refund",
    "payment_failed",
];

/// Reads GA4's names of our events.
fn event_names(settings: &mut Settings<'_>) -> Option<Names> {
    let events = (&EVENTS[..], Omission::Refused);
    Names::read(settings, "GA4_EVENT_NAMES", events, limits::is_event_name)
}

impl Ga4 {
    fn connect(settings: &mut Settings<'_>) -> Option<Self> {
        let base = settings.url("GA4_BASE_URL", Some("https://www.google-analytics.com"));
        let measurement_id = settings.required("GA4_MEASUREMENT_ID").map(str::to_owned);
        let api_secret = settings.secret("GA4_API_SECRET");
        let event_names = event_names(settings);
        Some(Self {
            base: base?,
            measurement_id: measurement_id?,
            api_secret: api_secret?,
            event_names: event_names?,
        })
    }

    fn url(&self) -> Url {
        let mut url = endpoint(&self.base, &["mp", "collect"]);
        url.query_pairs_mut()
            .append_pair("measurement_id", &self.measurement_id)
            .append_pair("api_secret", self.api_secret.expose());
        url
    }
}

impl Adapter for Ga4 {
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        if let Some(response) = so_far.first() {
            return Step::judged(response);
        }
        let Some(taken) = taken(&context.event.data) else {
            return Step::Done(Outcome::Rejected(Reason::NotUnderstood));
        };
        let repeated = taken.repeated;
        let body = body(context, taken, &self.event_names);
        match limits::check(&body) {
            Ok(()) => {
                let request = match repeated {
                    Repeated::Counted => Request::harmful,
                    Repeated::Recognised => Request::safe,
                };
                Step::send(request(Method::Post, self.url(), Some(body)))
            }
            Err(limit) => Step::Done(Outcome::Rejected(Reason::Limit(limit))),
        }
    }

    fn requests_max(&self, _slot: &Slot) -> usize {
        1
    }

    /// The validation endpoint reads events and keeps none. It looks at neither id nor secret.
    fn probes(&self) -> Vec<Probe<'_>> {
        let names = EVENTS.iter().filter_map(|ours| Some((*ours, self.event_names.of(ours)?)));
        let events: Vec<Value> =
            names.map(|(ours, name)| json!({"name": name, "params": sample(ours)})).collect();
        let body = json!({"client_id": "1.1", "events": events});
        let mut url = endpoint(&self.base, &["debug", "mp", "collect"]);
        url.set_query(self.url().query());
        let validation = Request::safe(Method::Post, url, Some(body));
        let looks_right = self.measurement_id.strip_prefix("G-").is_some_and(|id| {
            !id.is_empty() && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        });
        let id = if looks_right {
            Finding::unchecked(
                "credentials",
                "GA4 never says whether GA4_MEASUREMENT_ID and GA4_API_SECRET are right: it takes \
                 everything. Submit a test form, and look into its report Realtime.",
            )
        } else {
            Finding::failed(
                "credentials",
                "GA4_MEASUREMENT_ID is no measurement id. Set the one of the web stream, as \
                 G-XXXXXXX, and not the stream's number.",
            )
        };
        vec![Probe::Known(id), Probe::ask("events", validation, validated)]
    }
}

/// The parameters without which GA4 does not know an event by its own name.
fn sample(event: &str) -> Value {
    match event {
        "purchase" | "refund" => json!({
            "engagement_time_msec": 100,
            "transaction_id": "check",
            "value": 1,
            "currency": "BRL",
            "items": [{"item_name": "check"}],
        }),
        _ => json!({"engagement_time_msec": 100}),
    }
}

/// What the validation endpoint says of our events.
fn validated(response: &Response) -> Vec<Finding> {
    const SUBJECT: &str = "events";

    if let Some(refused) = refusal(SUBJECT, "GA4_API_SECRET", response) {
        return vec![refused];
    }
    let body = response.json();
    let Some(messages) = body["validationMessages"].as_array() else {
        return vec![not_itself(SUBJECT, "GA4_BASE_URL", "GA4's validation")];
    };
    let described = messages.iter().filter_map(|message| message["description"].as_str());
    let described: Vec<&str> = described.collect();
    if messages.is_empty() {
        return vec![Finding::ok(SUBJECT, "GA4's validation takes every event by its name")];
    }
    let says =
        format!("GA4's validation refuses them; look at GA4_EVENT_NAMES: {}", described.join(" "));
    vec![Finding::failed(SUBJECT, says)]
}

fn body(context: &Context<'_>, taken: Taken<'_>, names: &Names) -> Value {
    let lead = context.lead;
    // Without `engagement_time_msec` the event does not show as user activity; 100 is the
    // documentation's value.
    let mut params = json!({"engagement_time_msec": 100, "lead_id": lead.id});
    let of_lead = of_lead(lead, taken.of_lead, context.event);
    for (name, value) in taken.params.into_iter().chain(of_lead) {
        params[name] = value;
    }
    let ads = match permits(Purpose::Ads, &lead.consents, context.revocations) {
        Decision::Granted => "GRANTED",
        Decision::Denied => "DENIED",
    };
    let touch = taken.visit.or(lead.facts.first_touch.as_ref());
    json!({
        "client_id": client_id(context.event, touch),
        "user_id": lead.id,
        "timestamp_micros": context.event.occurred_at.as_microsecond(),
        "consent": {"ad_user_data": ads, "ad_personalization": ads},
        "events": [{"name": names.of(taken.name), "params": params}],
    })
}

/// What of the lead goes along with an event.
fn of_lead(lead: &Lead, what: OfLead, event: &Event) -> Vec<(&'static str, Value)> {
    let source = option(lead.latest.traffic_source.as_ref()).map(Value::from);
    let touch = lead.facts.first_touch.as_ref();
    let session = touch.and_then(|touch| touch.ga_session_id.as_ref()).filter(|id| digits(id));
    // A payment's own campaign is nearer to it than that of the first visit.
    let of_payment = if let EventData::Payment(PaymentEvent::Succeeded(paid)) = &event.data {
        paid.purchase.utm.campaign.as_ref()
    } else {
        None
    };
    let campaign = of_payment.or_else(|| touch.and_then(|touch| touch.utm.campaign.as_ref()));
    let campaign = option(campaign);
    let is_paid = matches!(event.data, EventData::Payment(PaymentEvent::Succeeded(_)));
    let days = lead.days_to_payment(event.occurred_at).filter(|_| is_paid);
    let named = match what {
        OfLead::Nothing => vec![],
        OfLead::Source => vec![("lead_source", source)],
        OfLead::Conversion => vec![
            ("lead_source", source),
            ("lead_campaign", campaign.map(Value::from)),
            ("session_id", session.map(|id| id.expose().as_str().into())),
            ("days_to_conversion", days.map(Value::from)),
        ],
    };
    named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The browser's client id, or one that is derived from the lead's id: stable, and nothing
/// personal.
fn client_id(event: &Event, touch: Option<&Attribution>) -> String {
    let browser = touch.and_then(|touch| touch.ga_client_id.as_ref());
    let browser = browser.and_then(|id| browser_client_id(id.expose()));
    browser.map_or_else(|| pseudo_client_id(event.lead_id), str::to_owned)
}

/// The id in what the browser sent: the id itself, or the raw value of the cookie `_ga`, which is
/// `GA1.<depth of the domain>.<id>`.
fn browser_client_id(text: &str) -> Option<&str> {
    let in_cookie = text.strip_prefix("GA1.").and_then(|rest| rest.split_once('.'));
    let id = match in_cookie {
        Some((depth, id)) if depth.bytes().all(|b| b.is_ascii_digit() || b == b'-') => id,
        Some(_) | None => text,
    };
    let (number, first_visit) = id.split_once('.')?;
    // Either has at most ten digits, so no CPF can stand for one.
    let is_number = |text: &str| all_digits(text) && text.len() <= 10;
    (is_number(number) && is_number(first_visit)).then_some(id)
}

fn pseudo_client_id(lead_id: LeadId) -> String {
    let digest = sha256_parts(&[&lead_id.to_string()]);
    let number = |at: usize| {
        let bytes = [digest[at], digest[at + 1], digest[at + 2], digest[at + 3]];
        u32::from_be_bytes(bytes)
    };
    format!("{}.{}", number(0), number(4))
}

fn digits(text: &Text) -> bool {
    all_digits(text.expose())
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text, if it looks like the name of an option. GA4 forbids personal data, so e-mails, phones
/// and sentences must not pass.
fn option(text: Option<&Text>) -> Option<&str> {
    let text = text?.expose().as_str();
    let shaped = text.len() <= 40
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && text.bytes().filter(u8::is_ascii_digit).count() <= 6;
    shaped.then_some(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use insta::assert_snapshot;

    use super::super::samples::{
        adapter, booked, canceled, consultation, contacted, conversation, every_event, lead,
        missed, newsletter, paying, payment, payments, qualified, questionnaire, response,
        submitted,
    };
    use super::*;
    use crate::event::{Attendance, Withdrawal};
    use crate::lead::Lead;

    fn ga4() -> Box<dyn Adapter> {
        adapter("ga4", &[("GA4_MEASUREMENT_ID", "G-TEST"), ("GA4_API_SECRET", "s3cr3t")])
    }

    fn talk(event: &Event, responses: &[Response]) -> String {
        conversation(&*ga4(), ("ga4", "event"), event, &lead(), responses)
    }

    #[test]
    fn a_submission_is_a_generate_lead() {
        assert_snapshot!(talk(&submitted(), &[response(204, &Value::Null)]));
    }

    #[test]
    fn the_sites_forms_say_on_which_page_they_were() {
        let responses = [response(204, &Value::Null)];
        assert_snapshot!("contact_submitted", talk(&contacted(), &responses));
        assert_snapshot!("newsletter_requested", talk(&newsletter(), &responses));
        assert_snapshot!("consultation_requested", talk(&consultation(), &responses));
    }

    #[test]
    fn a_questionnaire_is_an_event_of_the_browser_that_came_first() {
        let talk = |lead: &Lead| {
            let responses = [response(204, &Value::Null)];
            conversation(&*ga4(), ("ga4", "event"), &questionnaire(), lead, &responses)
        };
        assert_snapshot!(talk(&qualified()));
        let mut unseen = qualified();
        unseen.facts.first_touch = None;
        assert!(
            talk(&unseen).contains(&pseudo_client_id(unseen.id)),
            "a lead that was made from an invitee"
        );
    }

    #[test]
    fn what_becomes_of_a_call_is_sent_except_the_old_half_of_a_move() {
        let responses = [response(204, &Value::Null)];
        assert_snapshot!("call_scheduled", talk(&booked(), &responses));
        assert_snapshot!("call_canceled", talk(&canceled(), &responses));
        assert_snapshot!("call_no_show", talk(&missed(Attendance::Missed), &responses));
        let mut moved = canceled();
        let EventData::Call(CallEvent::Canceled(half)) = &mut moved.data else { unreachable!() };
        half.withdrawal = Withdrawal::Rescheduled;
        for unsent in [moved, missed(Attendance::MissedTakenBack)] {
            assert_eq!((DESTINATION.plan)(&unsent), []);
        }
    }

    #[test]
    fn a_payment_is_a_purchase_once_and_what_goes_back_is_a_refund() {
        for data in payments() {
            let event = payment(data);
            if taken(&event.data).is_none() {
                assert!(
                    ["subscription_started", "checkout_completed"].contains(&event.data.name())
                );
                continue;
            }
            let responses = [response(204, &Value::Null)];
            let shown = conversation(&*ga4(), ("ga4", "event"), &event, &paying(), &responses);
            assert_snapshot!(event.data.name(), shown);
        }
        for mut data in payments() {
            let EventData::Payment(event) = &mut data else { unreachable!() };
            if event.movement().is_none() {
                continue;
            }
            event.set_counted(None);
            assert_eq!((DESTINATION.plan)(&payment(data)), [], "another report said it");
        }
    }

    #[test]
    fn what_a_site_wrote_into_a_payment_goes_along_unless_it_looks_personal() {
        let mut data = payments().remove(0);
        let EventData::Payment(PaymentEvent::Succeeded(paid)) = &mut data else { unreachable!() };
        paid.purchase.service_id = Some("ana@example.com".to_owned());
        paid.purchase.service_name = Some("Mentoria de Ana, (11) 98765-4321".to_owned());
        paid.purchase.coupon = Some("529.982.247-25".to_owned());
        let shown = conversation(&*ga4(), ("ga4", "event"), &payment(data), &paying(), &[]);
        for absent in ["ana@", "98765", "982.247"] {
            assert!(!shown.contains(absent), "{absent} in {shown}");
        }
        assert!(shown.contains(r#""item_name": "payment""#), "{shown}");
    }

    #[test]
    fn an_event_is_not_sent_when_ga4_no_longer_takes_it() {
        let mut event = payment(payments().remove(0));
        event.accepted_at = after(event.occurred_at, 71 * 3600);
        let planned = (DESTINATION.plan)(&event);
        assert_eq!(planned[0].deadline, Some(after(event.occurred_at, 72 * 3600)));
    }

    #[test]
    fn an_event_has_the_name_that_the_property_knows() {
        let names = r#"{"generate_lead":"lead_form_submit_server"}"#;
        let ga4 = adapter(
            "ga4",
            &[
                ("GA4_MEASUREMENT_ID", "G-TEST"),
                ("GA4_API_SECRET", "s3cr3t"),
                ("GA4_EVENT_NAMES", names),
            ],
        );
        let responses = [response(204, &Value::Null)];
        let shown = conversation(&*ga4, ("ga4", "event"), &submitted(), &lead(), &responses);
        assert!(shown.contains(r#""name": "lead_form_submit_server""#), "{shown}");
        for name in ["session_start", "ga_lead", "1lead", "a-b", &"x".repeat(41)] {
            assert!(!limits::is_event_name(name), "{name}");
        }
        assert!(EVENTS.into_iter().all(limits::is_event_name));
    }

    #[test]
    fn every_event_can_be_renamed() {
        let names = every_event();
        let names: BTreeSet<&str> =
            names.iter().filter_map(|data| taken(data).map(|taken| taken.name)).collect();
        assert_eq!(names, EVENTS.into());
    }

    #[test]
    fn the_raw_cookie_gives_its_client_id() {
        for (text, expected) in [
            ("1357924680.1122334455", Some("1357924680.1122334455")),
            ("GA1.1.1357924680.1122334455", Some("1357924680.1122334455")),
            ("GA1.2-2.1357924680.1122334455", Some("1357924680.1122334455")),
            ("GA1.1.1357924680", None),
            ("GA1.x.1357924680.1122334455", None),
            ("GS1.1.1357924680.1122334455", None),
            ("ana@example.com", None),
        ] {
            assert_eq!(browser_client_id(text), expected, "{text}");
        }
    }

    #[test]
    fn a_response_is_judged_by_its_status() {
        for (status, expected) in [(503, "=> retry http_503"), (403, "=> blocked http_403")] {
            assert!(talk(&submitted(), &[response(status, &Value::Null)]).ends_with(expected));
        }
    }

    #[test]
    fn what_the_browser_made_up_is_left_out() {
        let mut event = submitted();
        let EventData::Form(FormEvent::LeadSubmitted(submission)) = &mut event.data else {
            unreachable!()
        };
        submission.form.attribution.ga_client_id = Some(Text::from("ana@example.com"));
        submission.form.attribution.ga_session_id = Some(Text::from("x"));
        submission.form.business_type = Text::from("ana@example.com");
        submission.form.traffic_source = Some(Text::from("11987654321"));
        submission.form.source_section = Some(Text::from("Rua das Flores 12"));
        let shown = talk(&event, &[]);
        for absent in ["ana@", "session_id", "business_type", "lead_source", "Flores"] {
            assert!(!shown.contains(absent), "{absent} in {shown}");
        }
        assert!(shown.contains(&format!("\"client_id\": \"{}\"", pseudo_client_id(event.lead_id))));
    }
}
