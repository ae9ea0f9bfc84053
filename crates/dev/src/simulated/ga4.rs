//! The simulated Google Analytics 4 Measurement Protocol.
//!
//! Owns the events that were kept, and the rule that a purchase counts once for each
//! `transaction_id`. Like the real API it responds 204 to everything and silently drops what breaks
//! the protocol; the note of the request says so. See `docs/providers.md` ("GA4"). This module must
//! not know HTTP, nor how a response is withheld.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::Providers;
use super::exchange::{ProviderRequest, ProviderResponse};
use super::ga4_limits::{Broken, broken};

/// The state of all properties.
#[derive(Debug, Default)]
pub(super) struct Ga4 {
    events: Vec<Ga4Event>,
    /// The purchases that were counted, by measurement id and transaction id.
    purchases: BTreeSet<(String, String)>,
}

/// An event that was kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ga4Event {
    /// The measurement id that it was sent to.
    pub measurement_id: String,
    /// The id of the browser.
    pub client_id: String,
    /// The name of the event.
    pub name: String,
    /// The parameters of the event.
    pub params: Value,
    /// The `timestamp_micros` of the event, or else of its request. In microseconds since 1970.
    pub timestamp_micros: Option<i64>,
    /// The whole body of the request, with members such as `consent` and `user_data`.
    pub request: Value,
}

impl Ga4 {
    pub(super) fn response(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        match (request.method(), request.path().as_slice()) {
            ("POST", ["mp", "collect"]) => ProviderResponse::empty(204, self.collect(request)),
            ("POST", ["debug", "mp", "collect"]) => {
                let found: Vec<Value> = broken(request).iter().map(Broken::shown).collect();
                let note = format!("{} validation messages", found.len());
                ProviderResponse::json(200, json!({"validationMessages": found}), note)
            }
            _ => ProviderResponse::empty(404, "refused: no such endpoint"),
        }
    }

    fn collect(&mut self, request: &ProviderRequest<'_>) -> String {
        let query = |name| request.received.query.get(name).filter(|value| !value.is_empty());
        let (Some(measurement_id), Some(_)) = (query("measurement_id"), query("api_secret")) else {
            return "dropped in silence: measurement_id or api_secret is missing".to_owned();
        };
        if let Some(first) = broken(request).first() {
            return format!("dropped in silence: {first}");
        }
        let body = &request.received.body;
        let events = body["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut notes = Vec::new();
        for event in events {
            let name = event["name"].as_str().unwrap_or_default();
            let transaction = event["params"]["transaction_id"].as_str().unwrap_or_default();
            let purchase = (measurement_id.clone(), transaction.to_owned());
            if name == "purchase" && !self.purchases.insert(purchase) {
                notes.push(format!("duplicate transaction_id {transaction} ignored"));
                continue;
            }
            notes.push(format!("kept {name}"));
            self.events.push(Ga4Event {
                measurement_id: measurement_id.clone(),
                client_id: request.text("client_id").unwrap_or_default().to_owned(),
                name: name.to_owned(),
                params: event["params"].clone(),
                timestamp_micros: event["timestamp_micros"]
                    .as_i64()
                    .or_else(|| body["timestamp_micros"].as_i64()),
                request: body.clone(),
            });
        }
        notes.join(", ")
    }
}

impl Providers {
    /// The events that GA4 kept, in order, without repeated purchases.
    pub fn ga4_events(&self) -> Vec<Ga4Event> {
        self.read(|world| world.ga4.events.clone())
    }
}
