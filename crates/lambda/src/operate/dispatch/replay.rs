//! `POST /replay`: dead deliveries, listed, judged and sent again.
//!
//! A dry run unless the body says otherwise. The same as `funil dead replay`, for those who have no
//! command line.

use std::collections::BTreeSet;

use funil_core::destination;
use funil_core::event::Operator;
use funil_core::form::{Fault, FieldErrors, Fields};
use http::StatusCode;
use serde_json::{Value, json};

use super::Dispatch;
use crate::api::{Operation, Presence, flag, list, object, text, text_or_null, time_or_null, uuid};
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::operate::replay::{Candidates, Judged, Selection, replay};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

/// The last part of the path.
pub(super) const PATH: &str = "replay";
/// How many deliveries one request lists, where it does not say.
const LIMIT: i64 = 100;
/// How many it may list or name.
const LIMIT_MAX: usize = 500;
/// The longest reason there may be, in characters.
const REASON_CHARS_MAX: usize = 100;
/// Every field of the body. A misspelt filter would replay more than was meant.
const FIELDS: [&str; 8] =
    ["destination", "reason", "since", "until", "deliveries", "dryRun", "evenDuplicates", "limit"];

/// What a body asks for.
struct Asked {
    selection: Selection,
    dry_run: bool,
    even_duplicates: bool,
    limit: usize,
}

impl Asked {
    fn read(body: &Value) -> Result<Self, FieldErrors> {
        let mut fields = Fields::of(body);
        let asked = Self::read_fields(&mut fields);
        fields.finish(Some(asked))
    }

    fn read_fields(fields: &mut Fields<'_>) -> Self {
        fields.only(&FIELDS);
        let selection = Selection {
            destination: fields.one_of(
                "destination",
                destination::ALL.iter().map(|one| one.name),
                destination::find,
            ),
            reason: fields.text("reason", REASON_CHARS_MAX).map(|reason| reason.expose().clone()),
            since: fields.parsed("since", Fault::Time, |text| text.parse().ok()),
            until: fields.parsed("until", Fault::Time, |text| text.parse().ok()),
            named: fields
                .each("deliveries", LIMIT_MAX, Fault::DeliveryName, |text| text.parse().ok()),
        };
        let limit_max = i64::try_from(LIMIT_MAX).unwrap_or(LIMIT);
        Self {
            selection,
            dry_run: fields.flag("dryRun").unwrap_or(true),
            even_duplicates: fields.flag("evenDuplicates").unwrap_or(false),
            limit: usize::try_from(fields.number("limit", 1, limit_max).unwrap_or(LIMIT))
                .unwrap_or(LIMIT_MAX),
        }
    }
}

/// What a replay takes and returns.
pub(super) fn operation() -> Operation {
    let delivery = object([
        ("lead", uuid()),
        ("delivery", uuid()),
        ("destination", text()),
        ("slot", text()),
        ("reason", text_or_null()),
        ("diedAt", time_or_null()),
        ("safety", text()),
        ("why", text_or_null()),
        ("replayed", flag()),
    ]);
    let returned = object([("dryRun", flag()), ("deliveries", list(&delivery)), ("more", flag())]);
    let summary = "Lists dead deliveries and, unless it is a dry run, makes them due again.";
    let mut operation = Operation::post("dispatch", summary)
        .authorised()
        .takes(vec![Fields::schema(Asked::read_fields)], Presence::Optional)
        .refuses_fields()
        .returns("The selected deliveries.", returned);
    operation.below = PATH;
    operation
}

impl Dispatch {
    /// Lists the selected deliveries and, unless it is a dry run, makes them due again.
    pub(super) async fn replay(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        let body = if request.body.is_empty() { json!({}) } else { guard::form_body(request)?.1 };
        if !body.is_object() {
            return Err(Problem::Json(funil_core::json::JsonError::Syntax));
        }
        let asked = Asked::read(&body).map_err(Problem::Fields)?;
        let store = &self.app.store;
        store.ready(&self.app.config.hash_key).await?;
        let now = self.app.platform.clock.now();
        let mut candidates = Candidates::of(store, asked.selection, now);
        let mut judged = Vec::new();
        let mut more = false;
        while let Some(one) = candidates.next().await? {
            more = judged.len() == asked.limit;
            if more {
                break;
            }
            judged.push(one);
        }
        let mut shown = Vec::new();
        let mut due = BTreeSet::new();
        for one in &judged {
            let replayed = !asked.dry_run
                && replay(store, &self.app.platform, one, asked.even_duplicates, Operator::Http)
                    .await?;
            if replayed {
                let delivery = &one.ended.delivery;
                due.insert(delivery.destination.as_str());
                tracing::info!(
                    destination = delivery.destination,
                    slot = delivery.slot,
                    lead = %delivery.lead_id,
                    delivery = %delivery.id,
                    safety = one.safety.name(),
                    "replayed {}", one.name()
                );
            }
            shown.push(entry(one, replayed));
        }
        self.ring(due.into_iter().filter_map(destination::find)).await;
        let response = json!({"dryRun": asked.dry_run, "deliveries": shown, "more": more});
        Ok(json_response(StatusCode::OK, &response))
    }
}

fn entry(judged: &Judged, replayed: bool) -> Value {
    let delivery = &judged.ended.delivery;
    json!({
        "lead": delivery.lead_id,
        "delivery": delivery.id,
        "destination": delivery.destination,
        "slot": delivery.slot,
        "reason": delivery.reason_text(),
        "diedAt": delivery.settled_at(),
        "safety": judged.safety.name(),
        "why": judged.safety.reason(),
        "replayed": replayed,
    })
}
