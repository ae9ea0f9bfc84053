//! The delivery functions: `crm-sync`, `ga4-events`, and one for each other destination.
//!
//! A ring or a schedule drains what is due. An authorised `POST {leadId}` brings one lead up to
//! date: where the destination holds state with a sync of its own, else by making the lead's
//! pending deliveries due now. The function's `main.rs` hands in the worker that sends; this file
//! must not know how anything is sent.

use std::sync::Arc;

use funil_core::check::Finding;
use funil_core::clock::after;
use funil_core::delivery::Delivery;
use funil_core::destination::{AliasDigests, Destination, Kind, Whose, plan};
use funil_core::event::{Event, SyncRequested};
use funil_core::form::{Fields, Need};
use funil_core::id::{EventId, LeadId};
use funil_core::lead::Lead;
use funil_core::settings::{ConfigError, Env};
use funil_store::{DeliveryKey, Platform, StoreError, Work, destination_of};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::api::{
    Operation, Presence, count, list, object, text, text_or_null, time_or_null, uuid,
};
use crate::app::App;
use crate::http::check::of_table;
use crate::http::endpoint::{self, Access, HttpEndpoint};
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::intake::doorbell;
use crate::operate::sequence;
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;
use crate::platform::trigger::{Trigger, all_records_handled};

/// Delivers what it is asked to, and returns how many deliveries were settled.
type Worker =
    dyn Fn(Work, Timestamp) -> BoxFuture<'static, Result<usize, StoreError>> + Send + Sync;

/// Checks the destination's account.
type Check = dyn Fn() -> BoxFuture<'static, Vec<Finding>> + Send + Sync;

struct Deliver {
    app: App,
    destination: &'static Destination,
    work: Arc<Worker>,
    check: Arc<Check>,
}

/// Configures the delivery function of `destination`; `work` is its worker, and what checks the
/// destination's account. The error names what either of the two lacks.
pub fn function<W, C>(
    destination: &'static Destination,
    env: &Env,
    platform: &Platform,
    work: Result<(W, C), ConfigError>,
) -> Result<Function, ConfigError>
where
    W: Fn(Work, Timestamp) -> BoxFuture<'static, Result<usize, StoreError>> + Send + Sync + 'static,
    C: Fn() -> BoxFuture<'static, Vec<Finding>> + Send + Sync + 'static,
{
    let mut settings = env.settings();
    let app = App::read(&mut settings, platform);
    let (app, (work, check)) = ConfigError::both(settings.finish(app), work)?;
    let (work, check) = (Arc::new(work), Arc::new(check));
    Ok(endpoint::function(Deliver { app, destination, work, check }))
}

/// What the function of a destination takes and returns.
pub(crate) fn operation(destination: &'static Destination) -> Operation {
    Operation::post(
        destination.function,
        "Delivers what is due, or brings one lead up to date and sends what is pending for it.",
    )
    .authorised()
    .takes(vec![Fields::schema(of_lead_id), doorbell::schema(Need::Required)], Presence::Optional)
    .refuses_fields()
    .returns(
        "What was settled, or what became of the lead's deliveries.",
        json!({"anyOf": returned()}),
    )
    .refuses([Problem::NoSuchLead, Problem::DestinationOff])
}

/// What it returns of what is due, and of one lead.
pub(crate) fn returned() -> Vec<Value> {
    let drained = object([("settled", count())]);
    let delivery = object([
        ("deliveryId", uuid()),
        ("destination", text()),
        ("slot", text()),
        ("state", text()),
        ("reason", text_or_null()),
        ("dueAt", time_or_null()),
        ("attempts", count()),
    ]);
    let of_lead = object([("leadId", uuid()), ("deliveries", list(&delivery))]);
    vec![drained, of_lead]
}

fn of_lead_id(fields: &mut Fields<'_>) -> Option<LeadId> {
    fields.lead_id("leadId").or_else(|| {
        fields.required_text("leadId", 100);
        None
    })
}

impl HttpEndpoint for Deliver {
    fn function(&self) -> &'static str {
        self.destination.function
    }

    fn app(&self) -> &App {
        &self.app
    }

    /// DELETE withdraws the messages about a call, where the destination sends such messages.
    fn methods(&self, _request: &HttpRequest) -> &'static [Method] {
        if self.destination.follows_bookings {
            &[Method::POST, Method::DELETE]
        } else {
            &[Method::POST]
        }
    }

    fn access(&self) -> Access {
        Access::ServiceToken
    }

    async fn respond(
        &self,
        request: &HttpRequest,
        stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        let withdraws = request.method == Method::DELETE;
        if request.body.is_empty() && !withdraws {
            let settled = (self.work)(Work::Due, stop_at).await?;
            return Ok(json_response(StatusCode::OK, &json!({"settled": settled})));
        }
        let (_, body) = guard::form_body(request)?;
        if let Some(work) = self.named(&body).filter(|_| !withdraws) {
            let settled = (self.work)(work, stop_at).await?;
            return Ok(json_response(StatusCode::OK, &json!({"settled": settled})));
        }
        if withdraws {
            self.app.store.ready(&self.app.config.hash_key).await?;
            return sequence::withdraw(&self.app, self.destination, &body).await;
        }
        if self.destination.follows_bookings && sequence::restores(&body) {
            self.app.store.ready(&self.app.config.hash_key).await?;
            return sequence::restore(&self.app, self.destination, &body).await;
        }
        if self.destination.follows_bookings && sequence::is_asked_for(&body) {
            return Box::pin(self.plan_sequence(&body, stop_at)).await;
        }
        self.deliver_lead(&body, stop_at).await
    }

    async fn check(&self) -> Vec<Finding> {
        let now = self.app.platform.clock.now();
        let due = self.app.store.due(self.destination.name, now, 1).await;
        let mut findings = vec![of_table("index due", due, "what is due can be read")];
        findings.extend((self.check)().await);
        findings
    }

    async fn run(&self, trigger: Trigger, stop_at: Timestamp) -> Value {
        match trigger {
            Trigger::Stream(_) => {
                let name = self.function();
                tracing::warn!("{name} does not read the stream; only dispatch does");
                all_records_handled()
            }
            Trigger::Schedule | Trigger::Direct(_) | Trigger::Http(_) => {
                let work = match &trigger {
                    Trigger::Direct(ring) => self.named(ring).unwrap_or(Work::Due),
                    Trigger::Schedule | Trigger::Http(_) | Trigger::Stream(_) => Work::Due,
                };
                match (self.work)(work, stop_at).await {
                    Ok(settled) => json!({"settled": settled}),
                    Err(error) => {
                        let name = self.function();
                        tracing::error!(
                            "the table failed while {name} drained, and what is due stays due: {error}"
                        );
                        json!({"error": "the table failed"})
                    }
                }
            }
        }
    }
}

impl Deliver {
    /// The deliveries of this destination that a ring names, if it names any.
    fn named(&self, body: &Value) -> Option<Work> {
        let mut keys = doorbell::named(body)?;
        keys.retain(|key| destination_of(&key.sk) == Some(self.destination.name));
        Some(Work::Named(keys))
    }

    /// Brings one lead up to date, or delivers now what is pending for it, and responds with what
    /// became of it.
    async fn deliver_lead(
        &self,
        body: &Value,
        stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        let mut fields = Fields::of(body);
        let lead_id = of_lead_id(&mut fields);
        let lead_id = fields.finish(lead_id).map_err(Problem::Fields)?;
        self.ready().await?;
        // A visitor is no lead.
        if self.destination.whose == Whose::Visitors {
            return Err(Problem::NoSuchLead);
        }
        let lead = self.app.store.lead(lead_id).await?.ok_or(Problem::NoSuchLead)?;
        let deliveries = match self.destination.kind {
            Kind::State => self.sync(&lead, stop_at).await?,
            Kind::Event => self.hurry(lead_id, stop_at).await?,
        };
        let deliveries: Vec<Value> = deliveries.iter().map(shown).collect();
        Ok(json_response(StatusCode::OK, &json!({"leadId": lead_id, "deliveries": deliveries})))
    }

    /// Checks that the table is ours and that the destination is on.
    async fn ready(&self) -> Result<(), Problem> {
        self.app.store.ready(&self.app.config.hash_key).await?;
        let is_on = self.app.config.destinations.contains(&self.destination);
        if is_on { Ok(()) } else { Err(Problem::DestinationOff) }
    }

    /// Plans the messages about a call and sends what is due now.
    async fn plan_sequence(
        &self,
        body: &Value,
        stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        self.ready().await?;
        let sequence = Box::pin(sequence::request(&self.app, self.destination, body)).await?;
        if let Err(problem) = self.deliver(sequence.lead_id, sequence.due, stop_at).await {
            // The sequence is kept, so the schedule sends what could not be sent now.
            tracing::warn!(
                lead = %sequence.lead_id,
                "the sequence of lead {} is planned, but what is due could not be sent now: {}",
                sequence.lead_id,
                problem.code()
            );
        }
        Ok(sequence.response)
    }

    /// Accepts a sync of this destination, delivers it, and returns its deliveries. Not by `App::accept`: a sync is
    /// no news of a person, so it has no receipt, no consent and no ring, and counts as no accepted event.
    async fn sync(&self, lead: &Lead, stop_at: Timestamp) -> Result<Vec<Delivery>, Problem> {
        let now = self.app.platform.clock.now();
        let entropy = &*self.app.platform.entropy;
        let data = SyncRequested { destination: self.destination.name.to_owned() };
        let event = Event::new(EventId::sync(now, entropy), lead.id, data, now);
        let aliases = AliasDigests::of(&lead.latest, &self.app.config.hash_key);
        let queue = self.app.config.queue_of(lead.id);
        let planned = plan(&event, &self.app.config.destinations, None, &aliases, queue);
        if planned.is_empty() {
            // It brings nothing that a lead has without an event.
            return self.hurry(lead.id, stop_at).await;
        }
        if !self.app.store.accept_event(&event, &planned, entropy).await? {
            return Err(Problem::NoSuchLead);
        }
        self.deliver(lead.id, planned.iter().map(DeliveryKey::from).collect(), stop_at).await
    }

    /// Makes the lead's pending deliveries due now, and delivers them.
    async fn hurry(&self, lead_id: LeadId, stop_at: Timestamp) -> Result<Vec<Delivery>, Problem> {
        let store = &self.app.store;
        let now = self.app.platform.clock.now();
        let mut hurried = Vec::new();
        for delivery in store.deliveries_of(lead_id, self.destination.name).await? {
            let key = DeliveryKey::from(&delivery);
            if store.hurry(&key, now).await? {
                hurried.push(key);
            }
        }
        self.deliver(lead_id, hurried, stop_at).await
    }

    async fn deliver(
        &self,
        lead_id: LeadId,
        keys: Vec<DeliveryKey>,
        stop_at: Timestamp,
    ) -> Result<Vec<Delivery>, Problem> {
        // The sender waits, so this takes at most 30 s; the schedule does the rest.
        let stop_at = stop_at.min(after(self.app.platform.clock.now(), 30));
        (self.work)(Work::Now(keys.clone()), stop_at).await?;
        let mut deliveries = self.app.store.deliveries_of(lead_id, self.destination.name).await?;
        deliveries.retain(|delivery| keys.iter().any(|key| key.is(delivery.id)));
        Ok(deliveries)
    }
}

fn shown(delivery: &Delivery) -> Value {
    json!({
        "deliveryId": delivery.id,
        "destination": delivery.destination,
        "slot": delivery.slot,
        "state": delivery.state.name(),
        "reason": delivery.reason_text(),
        "dueAt": delivery.due_at(),
        "attempts": delivery.attempts,
    })
}
