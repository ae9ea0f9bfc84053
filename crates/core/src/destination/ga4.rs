//! Google Analytics 4, Measurement Protocol (`provider-apis.md` §1).
//!
//! An event destination. GA4 answers 2xx to whatever arrives and drops silently what breaks its
//! limits, so every request is checked against them here first. It has no key of ours (but for
//! `purchase`): repeating is harmful, and a doubtful send stays unknown. Parameters are an
//! allow-list, and free text passes only if it looks like an option's name.

mod limits;

use serde_json::{Value, json};
use url::Url;

use super::repetition::{Repeats, ReplayPolicy};
use super::{Adapter, Context, Destination, Kind, Slot, Step};
use crate::contact::attribution::Attribution;
use crate::contact::consent::{Decision, Purpose, permits};
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::delivery::{Outcome, Reason, WhenUnknown};
use crate::event::{Event, EventData, LeadSubmitted, QuestionnaireCompleted};
use crate::hash::sha256_parts;
use crate::id::LeadId;
use crate::pii::Text;
use crate::settings::{Secret, Settings};

static EVENT: Slot = Slot::new("event", Purpose::Analytics);

/// Older events are not taken (reference: `timestamp_micros`, at most 72 h back).
const TAKEN_H: i64 = 72;

pub(super) static DESTINATION: Destination = Destination {
    name: "ga4",
    function: "ga4-events",
    kind: Kind::Event,
    deadline_h: TAKEN_H,
    when_unknown: WhenUnknown::Final,
    replay: ReplayPolicy { repeats: |_| Repeats::Counted, too_old_h: Some(TAKEN_H) },
    person_pause_s: None,
    follows_bookings: false,
    requests_per_minute: None,
    base_url_variable: "GA4_BASE_URL",
    local_path: "",
    local_variables: &[("GA4_API_SECRET", "local-ga4"), ("GA4_MEASUREMENT_ID", "G-LOCAL")],
    slots: &[EVENT],
    plan: |event| match event.data {
        EventData::LeadSubmitted(_)
        | EventData::QuestionnaireCompleted(_)
        | EventData::CallBooked(_) => vec![(&EVENT).into()],
        EventData::CallCanceled(_) | EventData::CallMissed(_) => {
            event.data.is_lost_call().then(|| (&EVENT).into()).into_iter().collect()
        }
        EventData::SequenceRequested(_)
        | EventData::SequenceWithdrawn(_)
        | EventData::SyncRequested(_)
        | EventData::DeliveryReplayed(_)
        | EventData::DeliverySettled(_) => Vec::new(),
    },
    connect: |settings| Some(Box::new(Ga4::connect(settings)?)),
};

struct Ga4 {
    base: Url,
    measurement_id: String,
    api_secret: Secret,
}

impl Ga4 {
    fn connect(settings: &mut Settings<'_>) -> Option<Self> {
        let base = settings.url("GA4_BASE_URL", Some("https://www.google-analytics.com"));
        let measurement_id = settings.required("GA4_MEASUREMENT_ID").map(str::to_owned);
        let api_secret = settings.secret("GA4_API_SECRET");
        Some(Self { base: base?, measurement_id: measurement_id?, api_secret: api_secret? })
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
        let body = match &context.event.data {
            EventData::LeadSubmitted(submitted) => generate_lead(context, submitted),
            EventData::QuestionnaireCompleted(completed) => {
                questionnaire_completed(context, completed)
            }
            EventData::CallBooked(booked) => call(
                context,
                "call_scheduled",
                &[
                    ("booking_kind", booked.kind().into()),
                    ("days_ahead", booked.days_ahead().into()),
                ],
            ),
            EventData::CallCanceled(canceled) => {
                let by = canceled.by.as_deref().unwrap_or("unknown");
                call(context, "call_canceled", &[("canceled_by", by.into())])
            }
            EventData::CallMissed(_) => call(context, "call_no_show", &[]),
            EventData::SequenceRequested(_)
            | EventData::SequenceWithdrawn(_)
            | EventData::SyncRequested(_)
            | EventData::DeliveryReplayed(_)
            | EventData::DeliverySettled(_) => {
                return Step::Done(Outcome::Rejected(Reason::NotUnderstood));
            }
        };
        match limits::check(&body) {
            Ok(()) => Step::send(Request::harmful(Method::Post, self.url(), Some(body))),
            Err(limit) => Step::Done(Outcome::Rejected(Reason::Limit(limit))),
        }
    }
}

fn generate_lead(context: &Context<'_>, submitted: &LeadSubmitted) -> Value {
    let form = &submitted.form;
    let mut params = json!({
        // Without it the event does not show as user activity; 100 is the documentation's value.
        "engagement_time_msec": 100,
        "lead_id": context.lead.id,
        "amanda_score": submitted.score.total,
        "amanda_tier": submitted.score.tier.name(),
    });
    let session = form.attribution.ga_session_id.as_ref().filter(|id| digits(id));
    let optional = [
        ("session_id", session.map(|id| id.expose().as_str())),
        ("lead_source", option(form.traffic_source.as_ref())),
        ("source_section", option(form.source_section.as_ref())),
        ("business_type", option(Some(&form.business_type))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            params[name] = Value::from(value);
        }
    }
    let event = json!({"name": "generate_lead", "params": params});
    envelope(context, &client_id(context.event, Some(&form.attribution)), &event)
}

fn questionnaire_completed(context: &Context<'_>, completed: &QuestionnaireCompleted) -> Value {
    let params = [
        ("transformation_score", completed.score.total.into()),
        ("next_step", completed.next_step.name().into()),
    ];
    later(context, "questionnaire_completed", &params)
}

/// Something about a booked call.
fn call(context: &Context<'_>, name: &str, params: &[(&str, Value)]) -> Value {
    let source = option(context.lead.latest.traffic_source.as_ref());
    let source = source.map(|source| ("lead_source", source.into()));
    later(context, name, &params.iter().cloned().chain(source).collect::<Vec<_>>())
}

/// The visit in which the lead was made is over, so there is no session, but the browser is the same.
fn later(context: &Context<'_>, name: &str, params: &[(&str, Value)]) -> Value {
    let mut all = json!({"engagement_time_msec": 100, "lead_id": context.lead.id});
    for (name, value) in params {
        all[*name] = value.clone();
    }
    let event = json!({"name": name, "params": all});
    let first_touch = context.lead.facts.first_touch.as_ref();
    envelope(context, &client_id(context.event, first_touch), &event)
}

fn envelope(context: &Context<'_>, client_id: &str, event: &Value) -> Value {
    let ads = match permits(Purpose::Ads, &context.lead.consents, context.revocations) {
        Decision::Granted => "GRANTED",
        Decision::Denied => "DENIED",
    };
    json!({
        "client_id": client_id,
        "user_id": context.lead.id,
        "timestamp_micros": context.event.occurred_at.as_microsecond(),
        "consent": {"ad_user_data": ads, "ad_personalization": ads},
        "events": [event],
    })
}

/// The browser's client id; without one, a stable pseudo id of the lead, never of the time.
fn client_id(event: &Event, touch: Option<&Attribution>) -> String {
    let browser = touch.and_then(|touch| touch.ga_client_id.as_ref());
    match browser.filter(|id| {
        id.expose().split_once('.').is_some_and(|(a, b)| all_digits(a) && all_digits(b))
    }) {
        Some(id) => id.expose().clone(),
        None => pseudo_client_id(event.lead_id),
    }
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

/// A text that is the name of an option, so no e-mail, phone or sentence: GA4 forbids personal data.
fn option(text: Option<&Text>) -> Option<&str> {
    let text = text?.expose().as_str();
    let shaped = text.len() <= 40
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && text.bytes().filter(u8::is_ascii_digit).count() <= 6;
    shaped.then_some(text)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{
        adapter, booked, canceled, conversation, lead, missed, qualified, questionnaire, response,
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
    fn a_questionnaire_is_an_event_of_the_browser_that_came_first() {
        let talk = |lead: &Lead| {
            let responses = [response(204, &Value::Null)];
            conversation(&*ga4(), ("ga4", "event"), &questionnaire(), lead, &responses)
        };
        assert_snapshot!(talk(&qualified()));
        let mut unseen = qualified();
        unseen.facts.first_touch = None;
        assert!(talk(&unseen).contains(&pseudo_client_id(unseen.id)), "made from an invitee");
    }

    #[test]
    fn what_becomes_of_a_call_is_told_but_for_a_move_s_old_half() {
        let answered = [response(204, &Value::Null)];
        assert_snapshot!("call_scheduled", talk(&booked(), &answered));
        assert_snapshot!("call_canceled", talk(&canceled(), &answered));
        assert_snapshot!("call_no_show", talk(&missed(Attendance::Missed), &answered));
        let mut moved = canceled();
        let EventData::CallCanceled(half) = &mut moved.data else { unreachable!() };
        half.withdrawal = Withdrawal::Rescheduled;
        for untold in [moved, missed(Attendance::MissedTakenBack)] {
            assert_eq!((DESTINATION.plan)(&untold), []);
        }
    }

    #[test]
    fn answers_are_judged_by_status() {
        for (status, expected) in [(503, "=> retry http_503"), (403, "=> blocked http_403")] {
            assert!(talk(&submitted(), &[response(status, &Value::Null)]).ends_with(expected));
        }
    }

    #[test]
    fn what_the_browser_made_up_is_left_out() {
        let mut event = submitted();
        let EventData::LeadSubmitted(submission) = &mut event.data else { unreachable!() };
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
