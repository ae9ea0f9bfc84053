//! The JSON endpoints of the console and of the questionnaire page.
//!
//! Owns the formats that `assets/stage.js` and `assets/questionnaire.js` read, except that of a
//! journey. It must not change anything but the behaviour of a simulated provider.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use funil_core::id::LeadId;
use funil_core::score::rules::{READINESS, Takes};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, messages};
use crate::cli::journey;
use crate::simulated::Behaviour;

/// How many received requests are shown for each provider.
const SHOWN: usize = 30;

pub(super) async fn leads(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({"leads": shared.leads.newest_first()}))
}

pub(super) async fn journey(
    State(shared): State<Arc<Shared>>,
    Path(lead_id): Path<String>,
) -> Response {
    let Ok(lead_id) = LeadId::parse(&lead_id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match shared.store.journey(lead_id).await {
        Ok(Some(found)) => {
            let mut shown = journey::to_json(&found);
            shown["messages"] = json!(messages::of_lead(&shared, lead_id));
            Json(shown).into_response()
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!("the journey of the lead {lead_id} could not be read: {error}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// The questions of the questionnaire, from the rules of the readiness score.
pub(super) async fn questions(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let env = shared.environment.env();
    let rules = READINESS.rules(&mut env.settings());
    let rules = rules.map(|rules| rules.questions).unwrap_or_default();
    let questions: Vec<_> = rules
        .iter()
        .map(|question| {
            let field = &question.field;
            match question.takes {
                Takes::Anything => json!({"field": field, "length": 1000}),
                Takes::Number(min, max) => json!({"field": field, "min": min, "max": max}),
                Takes::Option => {
                    json!({"field": field, "options": question.options().collect::<Vec<_>>()})
                }
                Takes::Text(length) => json!({"field": field, "length": length}),
            }
        })
        .collect();
    Json(json!({"questions": questions}))
}

pub(super) async fn providers(State(shared): State<Arc<Shared>>) -> Json<Value> {
    // Destinations are shown even if they have not received anything.
    let mut names: Vec<String> =
        funil_core::destination::ALL.iter().map(|known| known.name.to_owned()).collect();
    for name in shared.providers.names() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let providers: Vec<_> = names
        .into_iter()
        .map(|name| {
            let mut received = shared.providers.received(&name);
            received.reverse();
            received.truncate(SHOWN);
            let behaviour = shared.providers.behaviour(&name);
            json!({"name": name, "behaviour": behaviour, "received": received})
        })
        .collect();
    Json(json!({"providers": providers}))
}

#[derive(Deserialize)]
pub(super) struct NewBehaviour {
    behaviour: String,
}

pub(super) async fn behave(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Json(wanted): Json<NewBehaviour>,
) -> Response {
    change(&shared, &name, &wanted)
}

/// Changes a behaviour from a shell: `curl -X POST '…/stage/providers/crm?behaviour=fail'`.
pub(super) async fn behave_by_query(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(wanted): Query<NewBehaviour>,
) -> Response {
    change(&shared, &name, &wanted)
}

fn change(shared: &Shared, name: &str, wanted: &NewBehaviour) -> Response {
    if let Ok(behaviour) = wanted.behaviour.parse::<Behaviour>() {
        shared.providers.behave(name, behaviour);
        return StatusCode::NO_CONTENT.into_response();
    }
    let known = Behaviour::WORDS.join(", ");
    let sentence = format!("There is no such behaviour; there are {known}.\n");
    (StatusCode::UNPROCESSABLE_ENTITY, sentence).into_response()
}
