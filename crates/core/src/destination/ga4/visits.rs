//! What pages report of visits, as a destination of its own: `docs/providers.md` ("GA4").
//!
//! Its deliveries are of visitors, who are no leads, and stand in a queue of their own: however many pages report,
//! no lead's delivery waits behind them. Must not know how a page reports.

use serde_json::{Value, json};

use super::{EVENT, Ga4, TAKEN_H, limits, planned};
use crate::check::Probe;
use crate::contact::consent::Decision;
use crate::delivery::exchange::{Method, Request, Response};
use crate::delivery::{Outcome, Reason, WhenUnknown};
use crate::destination::repetition::{Repeats, ReplayPolicy};
use crate::destination::{Adapter, Connector, Context, Destination, Kind, Slot, Step, Whose};
use crate::event::{Event, EventData, PageEvents, VisitEvent};

/// GA4: the events that pages report of visitors.
pub static DESTINATION: Destination = Destination {
    name: "ga4_visits",
    function: "ga4-visits",
    provider: "ga4",
    kind: Kind::Event,
    whose: Whose::Visitors,
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
    connect: |settings| Some(Box::new(Visits(Ga4::connect(settings)?))),
};

fn taken(event: &EventData) -> Option<&PageEvents> {
    match event {
        EventData::Visit(VisitEvent::PageEvents(events)) => Some(events),
        EventData::Form(_)
        | EventData::Call(_)
        | EventData::Payment(_)
        | EventData::Deal(_)
        | EventData::Consent(_)
        | EventData::Operation(_) => None,
    }
}

struct Visits(Ga4);

impl Adapter for Visits {
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        if let Some(response) = so_far.first() {
            return Step::judged(response);
        }
        let Some(events) = taken(&context.event.data) else {
            return Step::Done(Outcome::Rejected(Reason::NotUnderstood));
        };
        let body = body(context.event, events);
        match limits::check(&body) {
            Ok(()) => Step::send(Request::harmful(Method::Post, self.0.url(), Some(body))),
            Err(limit) => Step::Done(Outcome::Rejected(Reason::Limit(limit))),
        }
    }

    fn requests_max(&self, _slot: &Slot) -> usize {
        1
    }

    fn probes(&self) -> Vec<Probe<'_>> {
        self.0.probes()
    }
}

fn body(event: &Event, page: &PageEvents) -> Value {
    let events: Vec<Value> = page
        .events
        .iter()
        .map(|one| {
            // Without it an event does not show as user activity; 100 is the documentation's value.
            let mut params = json!({"engagement_time_msec": 100});
            for (name, value) in &one.params {
                params[name] = value.clone();
            }
            if let Some(session) = &page.session_id {
                params["session_id"] = session.as_str().into();
            }
            if let Some(lead) = one.lead_id {
                params["lead_id"] = json!(lead);
            }
            json!({"name": one.name, "params": params})
        })
        .collect();
    let granted = |decision| match decision {
        Decision::Granted => "GRANTED",
        Decision::Denied => "DENIED",
    };
    json!({
        "client_id": page.client_id.expose(),
        "timestamp_micros": event.occurred_at.as_microsecond(),
        "consent": {
            "ad_user_data": granted(page.ad_user_data),
            "ad_personalization": granted(page.ad_personalization),
        },
        "events": events,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::destination::samples::{adapter, conversation, page_events, response, submitted};
    use crate::lead::Lead;

    pub(in super::super) fn event(events: PageEvents) -> Event {
        Event { data: VisitEvent::PageEvents(Box::new(events)).into(), ..submitted() }
    }

    pub(in super::super) fn body_of(event: &Event) -> Value {
        body(event, taken(&event.data).unwrap())
    }

    #[test]
    fn a_page_s_events_go_along_with_the_browser_s_ids_and_its_consent() {
        let adapter =
            adapter("ga4_visits", &[("GA4_MEASUREMENT_ID", "G-ABC"), ("GA4_API_SECRET", "s3cret")]);
        let event = event(page_events());
        let visitor = Lead::visitor(event.lead_id, event.accepted_at);
        let slot = ("ga4_visits", "event");
        let responses = [response(204, &Value::Null)];
        assert_snapshot!(conversation(&*adapter, slot, &event, &visitor, &responses));
    }
}
