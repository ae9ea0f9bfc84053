//! `ga4-collect`: events of pages for GA4, from the browser or from Google Tag Manager.
//!
//! Anybody can send them, at any rate. So a request costs one write beside that of its rate limit, a robot's
//! request costs none, and its delivery does not wait where leads' deliveries wait. What may go to GA4 is decided in
//! [`funil_core::destination::ga4::collect`]. Must not know any event.

use std::collections::BTreeSet;

use funil_core::contact::consent::{Decision, Purpose};
use funil_core::destination::ga4::collect::{Collected, Collector, Why, visitor};
use funil_core::destination::{AliasDigests, Whose, plan};
use funil_core::event::{Event, VisitEvent};
use funil_core::id::{EventId, LeadId};
use funil_core::json;
use funil_core::settings::{ConfigError, Env};
use funil_core::site::RateClass;
use funil_store::{Count, Platform, StoreError};
use http::header::{CONTENT_TYPE, COOKIE, USER_AGENT};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::api::{Body, Operation, count, list, object, text};
use crate::app::App;
use crate::functions::Registration;
use crate::http::endpoint::{self, Access, HttpEndpoint};
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::intake::form::{CORS, Intake, METHODS};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

/// The largest body, in bytes: a browser's beacon holds at most as many.
const BYTES_MAX: usize = 64 * 1024;

/// `ga4-collect`, which anybody may post to.
pub static REGISTRATION: Registration =
    Registration { name: "ga4-collect", quarantine_source: None, variables: &[], signature: None };

struct Ga4Collect {
    intake: Intake,
    collector: Collector,
}

/// Makes `ga4-collect`. Of its own it reads the names of events and parameters.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let intake = Intake::read_of_tags(&mut settings, platform);
    let collector = Collector::read(&mut settings);
    let endpoint = intake.zip(collector);
    let endpoint = endpoint.map(|(intake, collector)| Ga4Collect { intake, collector });
    settings.finish(endpoint).map(endpoint::function)
}

pub(crate) fn operation() -> Operation {
    let dropped = object([("index", count()), ("reason", text())]);
    let returned =
        object([("accepted", count()), ("dropped", list(&dropped)), ("stripped", count())]);
    let mut operation = Operation::post(REGISTRATION.name, "Takes events of pages for GA4.")
        .refuses_fields()
        .refuses([
            Problem::TooLarge(0),
            Problem::ContentType,
            Problem::Json(json::JsonError::Syntax),
            Problem::RateLimited { retry_after_s: 0 },
            Problem::DestinationOff,
        ])
        .returns("What was kept, and what was dropped or left out.", returned);
    operation.body = Body::OfTags;
    operation.response_headers = CORS;
    operation
}

impl HttpEndpoint for Ga4Collect {
    fn function(&self) -> &'static str {
        REGISTRATION.name
    }

    fn app(&self) -> &App {
        &self.intake.app
    }

    fn methods(&self, _request: &HttpRequest) -> &'static [Method] {
        METHODS
    }

    fn access(&self) -> Access {
        Access::Public
    }

    fn body_bytes_max(&self) -> usize {
        BYTES_MAX
    }

    async fn respond(
        &self,
        request: &HttpRequest,
        _stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        if request.method == Method::OPTIONS {
            return Ok(guard::preflight(METHODS));
        }
        let (intake, now) = (&self.intake, self.intake.app.platform.clock.now());
        if is_robot(request)
            && let Ok(collected) = self.read(request)
        {
            return Ok(self.response(&collected.without_all(Why::Robot)));
        }
        let (caller, class) = (intake.caller(request, now), RateClass::Tags);
        let collected = match self.read(request) {
            Ok(collected) => collected,
            Err(problem) => {
                let name = REGISTRATION.name;
                return Err(intake.pass_invalid(name, class, &caller, problem, now).await);
            }
        };
        intake.pass(REGISTRATION.name, class, &caller, now).await?;
        self.keep(collected, now).await
    }

    fn finish(&self, request: &HttpRequest, response: &mut HttpResponse) {
        guard::allow_origin(request, &self.app().config.cors_origins, response);
    }
}

impl Ga4Collect {
    /// Reads a body. A browser's beacon says that it is plain text, so that it need not ask first.
    fn read(&self, request: &HttpRequest) -> Result<Collected, Problem> {
        let kind = guard::header(request, CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !["application/json", "text/plain", ""].contains(&kind.as_str()) {
            return Err(Problem::ContentType);
        }
        let body = json::parse(&request.body).map_err(Problem::Json)?;
        self.collector.collect(&body, guard::header(request, COOKIE)).map_err(Problem::Fields)
    }

    async fn keep(&self, collected: Collected, now: Timestamp) -> Result<HttpResponse, Problem> {
        let app = &self.intake.app;
        let assumed = self.intake.config.consent_when_absent.contains(&Purpose::Analytics);
        let agreed = collected.analytics.map_or(assumed, |said| said == Decision::Granted);
        if !agreed {
            return Ok(self.response(&collected.without_all(Why::NoConsent)));
        }
        let known = self.known(&collected.leads()).await?;
        let collected = collected.without(&known);
        if collected.visit.events.is_empty() {
            return Ok(self.response(&collected));
        }
        let id = visitor(&app.config.hash_key, &collected.visit.client_id);
        let event_id = EventId::form(REGISTRATION.name, now, &*app.platform.entropy);
        let data = VisitEvent::PageEvents(Box::new(collected.visit.clone()));
        let event = Event::new(event_id, id, data, now);
        let enabled = app.config.destinations.iter().copied();
        let enabled: Vec<_> = enabled.filter(|one| one.whose == Whose::Visitors).collect();
        // A ring for each request would cost more than the request: the schedule's sweep finds them all at once.
        let queue = app.config.swept_queue_of(id);
        let planned = plan(&event, &enabled, None, &AliasDigests::default(), queue);
        let Some(delivery) = planned.first() else { return Err(Problem::DestinationOff) };
        app.store.keep_visit(&event, delivery).await?;
        Ok(self.response(&collected))
    }

    /// Which of these leads exist: at most as many are asked for as events of a request are kept.
    async fn known(&self, leads: &BTreeSet<LeadId>) -> Result<BTreeSet<LeadId>, StoreError> {
        let leads: Vec<LeadId> = leads.iter().copied().collect();
        let known = self.intake.app.store.known_leads(&leads).await?;
        Ok(known.into_iter().map(|lead| lead.id).collect())
    }

    fn response(&self, collected: &Collected) -> HttpResponse {
        let totals = &self.intake.app.platform.totals;
        let accepted = collected.visit.events.len();
        totals.add(Count::PageEvents("kept"), accepted);
        totals.add(Count::PageEvents("stripped"), collected.stripped);
        for one in &collected.dropped {
            totals.count(Count::PageEvents(one.why.name()));
        }
        let dropped = collected.dropped.iter();
        let dropped = dropped.map(|one| json!({"index": one.index, "reason": one.why.name()}));
        let body = json!({
            "accepted": accepted,
            "dropped": dropped.collect::<Vec<Value>>(),
            "stripped": collected.stripped,
        });
        json_response(StatusCode::OK, &body)
    }
}

/// Whether a robot says that it is one, or the caller does not say what it is, as every browser does.
fn is_robot(request: &HttpRequest) -> bool {
    guard::header(request, USER_AGENT).is_none_or(|agent| {
        let agent = agent.trim();
        // A browser that is driven by a program is no person's, although the library's list names only some of
        // them. The list also takes phones of a maker whose name ends in "bot" for robots; those are excepted here.
        let automated = ["Headless", "Lighthouse"].iter().any(|name| agent.contains(name));
        agent.is_empty() || automated || iscrawl::is_crawler(&agent.replace("CUBOT", ""))
    })
}
