//! Google Analytics 4 by its Measurement Protocol: `docs/providers.md` ("GA4").
//!
//! An event destination. GA4 responds 2xx to whatever arrives and silently drops what breaks its
//! limits, so every request is checked against them here first. It recognises no key of ours: a
//! second request counts twice, so one without a response stays unknown. Only a purchase it knows again, by
//! its transaction. Parameters are an allow-list, and free text passes only if it looks like the name of an
//! option.

pub mod collect;
mod event;
mod lead;
mod limits;
pub mod visits;

use serde_json::{Value, json};
use url::Url;

use self::event::{Repeated, Taken, taken};
use self::lead::{all_digits, browser_client_id, client_id, of_lead};
use super::names::{Names, Omission};
use super::repetition::{Repeats, ReplayPolicy};
use super::{Adapter, Connector, Context, Destination, Kind, Planned, Slot, Step, Whose};
use crate::check::{Finding, Probe, not_itself, refusal};
use crate::clock::after;
use crate::contact::consent::{Decision, Purpose, permits};
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::delivery::{Outcome, Reason, WhenUnknown};
use crate::event::Event;
use crate::settings::{Secret, Settings};

pub(super) use self::event::EVENTS;

static EVENT: Slot = Slot::new("event", Purpose::Analytics);

/// The greatest age of an event that GA4 takes, in hours.
const TAKEN_H: i64 = 72;

/// GA4: the events of a lead, by the Measurement Protocol.
pub static DESTINATION: Destination = Destination {
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
    page_event: None,
    daily_per_number: None,
    requests_per_minute: None,
    base_url_variable: "GA4_BASE_URL",
    local_path: "",
    other_base_urls: &[],
    local_credentials: &[("GA4_API_SECRET", "local-ga4")],
    local_settings: &[("GA4_MEASUREMENT_ID", "G-LOCAL")],
    slots: &[EVENT],
    plan: |event| taken(&event.data).map(|_| planned(event)).into_iter().collect(),
};

/// What makes its adapter. Only the function that delivers to it links this.
pub static CONNECTOR: Connector = Connector {
    destination: &DESTINATION,
    connect: |settings| Some(Box::new(Ga4::connect(settings)?)),
};

/// The one slot, as long as GA4 takes the event.
fn planned(event: &Event) -> Planned {
    // Whoever reports it may have another clock.
    let happened_at = event.occurred_at.min(event.accepted_at);
    let deadline = Some(after(happened_at, TAKEN_H * 3600));
    Planned { deadline, ..Planned::from(&EVENT) }
}

struct Ga4 {
    base: Url,
    measurement_id: String,
    api_secret: Secret,
    event_names: Names,
}

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use insta::assert_snapshot;

    use super::super::samples::{
        adapter, booked, canceled, consultation, contacted, conversation, every_event, lead,
        missed, moves_money, newsletter, paying, payment, payments, qualified, questionnaire,
        response, submitted,
    };
    use super::lead::pseudo_client_id;
    use super::*;
    use crate::event::{Attendance, Withdrawal};
    use crate::event::{CallEvent, EventData, FormEvent, PaymentEvent};
    use crate::lead::Lead;
    use crate::pii::Text;

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
                assert!(!moves_money(&event.data), "{}", event.data.name());
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
