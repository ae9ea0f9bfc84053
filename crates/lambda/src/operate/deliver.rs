//! The delivery functions: `crm-sync`, `mailerlite-sync`, `ga4-events`, `segment-sync`,
//! `whatsapp-automation`.
//!
//! A ring and a schedule drain what is due. An authorised `POST {leadId}` brings one lead up to date:
//! with a sync of its own where the destination holds state, else by making its pending deliveries
//! due now. How anything is sent is given by the function's `main.rs`; this file must not know it.

use std::sync::Arc;

use funil_core::clock::after;
use funil_core::delivery::Delivery;
use funil_core::destination::{AliasDigests, Destination, Kind, plan};
use funil_core::event::{Event, EventData, SyncRequested};
use funil_core::form::Fields;
use funil_core::id::{EventId, LeadId};
use funil_core::lead::Lead;
use funil_core::settings::{ConfigError, Env};
use funil_store::{DeliveryKey, Platform, StoreError};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::app::Site;
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::operate::sequence;
use crate::platform::function::Response;
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;
use crate::platform::trigger::{Trigger, batch_item_failures};

/// One delivery, or everything that is due; answers how many were settled.
type Work = dyn Fn(Option<DeliveryKey>, Timestamp) -> BoxFuture<'static, Result<usize, StoreError>>
    + Send
    + Sync;

#[derive(Clone)]
struct Deliver {
    site: Site,
    destination: &'static Destination,
    work: Arc<Work>,
}

/// Configures the delivery function of `destination`; `work` is its worker.
pub fn function<W>(
    destination: &'static Destination,
    env: &Env,
    platform: &Platform,
    work: W,
) -> Result<Function, ConfigError>
where
    W: Fn(Option<DeliveryKey>, Timestamp) -> BoxFuture<'static, Result<usize, StoreError>>
        + Send
        + Sync
        + 'static,
{
    let mut settings = env.settings();
    let site = Site::read(&mut settings, platform);
    let endpoint = site.map(|site| Deliver { site, destination, work: Arc::new(work) });
    let endpoint = settings.finish(endpoint)?;
    Ok(Function::new(destination.function, move |trigger, stop_at| {
        let endpoint = endpoint.clone();
        async move { endpoint.handle(trigger, stop_at).await }
    }))
}

impl Deliver {
    async fn handle(&self, trigger: Trigger, stop_at: Timestamp) -> Response {
        match trigger {
            Trigger::Http(request) => {
                let responded = self.request(&request, stop_at).await;
                Response::Http(
                    responded.unwrap_or_else(|problem| problem.response(guard::locale(&request))),
                )
            }
            Trigger::Schedule | Trigger::Direct(_) => match (self.work)(None, stop_at).await {
                Ok(settled) => Response::Value(json!({"settled": settled})),
                Err(error) => {
                    tracing::error!(error = %error, "the table failed; what is due stays due");
                    Response::Value(json!({"error": "the table failed"}))
                }
            },
            Trigger::Stream(_) => {
                tracing::warn!("only dispatch reads the stream; take it off this function");
                Response::Value(batch_item_failures(&[]))
            }
        }
    }

    async fn request(
        &self,
        request: &HttpRequest,
        stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        let takes_sequences = sequence::are_of(self.destination);
        let withdraws = takes_sequences && request.method == Method::DELETE;
        if request.method != Method::POST && !withdraws {
            return Err(Problem::Method(if takes_sequences { "POST, DELETE" } else { "POST" }));
        }
        guard::authorised(request, &self.site.config.service_tokens)?;
        if request.body.is_empty() && !withdraws {
            let settled = (self.work)(None, stop_at).await?;
            return Ok(json_response(StatusCode::OK, &json!({"settled": settled})));
        }
        let (_, body) = guard::form_body(request)?;
        if withdraws {
            self.site.store.ready(&self.site.config.hash_key).await?;
            return sequence::withdraw(&self.site, &body).await;
        }
        if takes_sequences && sequence::is_asked_for(&body) {
            return self.plan_sequence(&body, stop_at).await;
        }
        let mut fields = Fields::of(&body);
        let lead_id = fields.lead_id("leadId").or_else(|| {
            fields.required_text("leadId", 100);
            None
        });
        let lead_id = fields.finish(lead_id).map_err(Problem::Fields)?;
        self.ready().await?;
        let lead = self.site.store.lead(lead_id).await?.ok_or(Problem::NoSuchLead)?;
        let deliveries = match self.destination.kind {
            Kind::State => self.sync(&lead, stop_at).await?,
            Kind::Event => self.hurry(lead_id, stop_at).await?,
        };
        let deliveries: Vec<Value> = deliveries.iter().map(shown).collect();
        Ok(json_response(StatusCode::OK, &json!({"leadId": lead_id, "deliveries": deliveries})))
    }

    /// The table is ours and the destination is on.
    async fn ready(&self) -> Result<(), Problem> {
        self.site.store.ready(&self.site.config.hash_key).await?;
        let is_on = self.site.config.destinations.contains(&self.destination);
        if is_on { Ok(()) } else { Err(Problem::DestinationOff) }
    }

    /// Plans the messages about a call and sends what is due now.
    async fn plan_sequence(
        &self,
        body: &Value,
        stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        self.ready().await?;
        let sequence = sequence::request(&self.site, body).await?;
        if let Err(problem) = self.deliver(sequence.lead_id, sequence.due, stop_at).await {
            // It is kept: the schedule sends what we could not.
            tracing::warn!(
                ?problem,
                "the sequence is planned, and nothing of it could be sent now"
            );
        }
        Ok(sequence.response)
    }

    /// Accepts a sync of this destination, delivers it, and tells where it stands.
    async fn sync(&self, lead: &Lead, stop_at: Timestamp) -> Result<Vec<Delivery>, Problem> {
        let now = self.site.platform.clock.now();
        let entropy = &*self.site.platform.entropy;
        let data = SyncRequested { destination: self.destination.name.to_owned() };
        let event = Event {
            id: EventId::sync(now, entropy),
            lead_id: lead.id,
            occurred_at: now,
            accepted_at: now,
            supplied_lead_id: None,
            data: EventData::SyncRequested(data),
        };
        let aliases = AliasDigests::of(&lead.latest, &self.site.config.hash_key);
        let planned = plan(&event, &self.site.config.destinations, None, &aliases);
        if !self.site.store.accept_event(&event, &planned, entropy).await? {
            return Err(Problem::NoSuchLead);
        }
        self.deliver(lead.id, planned.iter().map(DeliveryKey::from).collect(), stop_at).await
    }

    /// Makes the lead's pending deliveries due now, and delivers them.
    async fn hurry(&self, lead_id: LeadId, stop_at: Timestamp) -> Result<Vec<Delivery>, Problem> {
        let store = &self.site.store;
        let now = self.site.platform.clock.now();
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
        // The caller waits: half of the function's time, and the rest belongs to the schedule.
        let stop_at = stop_at.min(after(self.site.platform.clock.now(), 30));
        for key in &keys {
            (self.work)(Some(key.clone()), stop_at).await?;
        }
        let mut deliveries = self.site.store.deliveries_of(lead_id, self.destination.name).await?;
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
