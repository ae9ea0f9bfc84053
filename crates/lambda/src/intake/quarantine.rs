//! Requests that are quarantined for a person, and the authorised `POST …/quarantine`, by which the
//! person lists, shows, releases or drops them.
//!
//! Releasing one accepts it as if it came now, once, with what the person corrects. Must not know
//! how any endpoint reads or keeps a request: each one [`Releases`] its own.

use std::future::Future;

use funil_core::form::{Fault, FieldError, FieldErrors, Fields};
use funil_core::id::{LeadId, QuarantineId, QuarantineName};
use funil_core::json::JsonError;
use funil_store::{
    Accepted, AlertKind, QuarantineEntry, Quarantined, QuarantinedRequest, Receipt, StoreError,
};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::{Operation, Presence, flag, list, object, text, time_or_null, uuid, with};
use crate::app::App;
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

/// The last part of the path.
const PATH: &str = "quarantine";
/// How many requests a list has, where it does not say.
const LIMIT: i64 = 100;
/// How many it may have.
const LIMIT_MAX: i64 = 500;
/// How deep a corrected field may lie.
const DEPTH_MAX: usize = 16;
/// What a person may want.
const ACTIONS: [&str; 4] = ["list", "show", "release", "drop"];
/// The longest name of an action, in characters.
const ACTION_CHARS_MAX: usize = 20;
/// Every field of the body.
const FIELDS: [&str; 6] = ["action", "id", "limit", "after", "lead", "set"];

/// An endpoint whose requests may be quarantined and released.
pub(crate) trait Releases: Sync {
    /// The source under which they are quarantined.
    fn source(&self) -> &'static str;

    /// Accepts a quarantined request as if it came now. It must end in quarantine in the same
    /// transaction, or be safe to release twice.
    fn release(
        &self,
        request: &QuarantinedRequest,
        corrections: &Corrections,
        stop_at: Timestamp,
    ) -> impl Future<Output = Result<Released, Problem>> + Send;
}

/// What became of a request that was released.
pub(crate) enum Released {
    /// It is kept, and gone from quarantine. The body is that of the response which its sender would
    /// have got.
    Accepted(Value),
    /// The same was accepted before, or every part of it is kept.
    AlreadyKept,
}

/// What a person corrects in a request before it is released.
#[derive(Debug, Default)]
pub(crate) struct Corrections {
    /// The lead that it is about.
    pub(crate) lead: Option<LeadId>,
    /// Fields of the body, by their path: `data.email`, `entry.0.id`. `null` removes one.
    set: Map<String, Value>,
}

impl Corrections {
    /// Whether there is nothing to correct.
    pub(crate) fn is_empty(&self) -> bool {
        self.lead.is_none() && self.set.is_empty()
    }

    /// Corrects the fields of a body. A path that leads nowhere is the person's mistake, and nothing is
    /// released.
    pub(crate) fn apply(&self, body: &mut Value) -> Result<(), Problem> {
        for (path, value) in &self.set {
            let parts: Vec<&str> = path.split('.').collect();
            let corrected = match parts.split_last() {
                Some((last, parts)) if parts.len() < DEPTH_MAX => correct(body, parts, last, value),
                Some(_) | None => None,
            };
            corrected.ok_or_else(|| field_error(&format!("set.{path}"), Fault::Unexpected))?;
        }
        Ok(())
    }
}

/// Corrects one field. `None` if its path leads nowhere.
fn correct(body: &mut Value, parts: &[&str], last: &str, value: &Value) -> Option<()> {
    if value.is_null() {
        return remove(parts.iter().try_fold(body, |inside, part| present(inside, part))?, last);
    }
    let inside = parts.iter().try_fold(body, |inside, part| member(inside, part))?;
    *member(inside, last)? = value.clone();
    Some(())
}

/// The member of an object, which is made where it is missing, or of a list, where it has it.
fn member<'v>(inside: &'v mut Value, name: &str) -> Option<&'v mut Value> {
    if inside.is_null() {
        *inside = json!({});
    }
    match inside {
        Value::Object(members) => Some(members.entry(name).or_insert(Value::Null)),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            present(inside, name)
        }
    }
}

/// The member of an object or of a list, where it has it.
fn present<'v>(inside: &'v mut Value, name: &str) -> Option<&'v mut Value> {
    match inside {
        Value::Object(members) => members.get_mut(name),
        Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Removes a member, where there is one.
fn remove(inside: &mut Value, name: &str) -> Option<()> {
    match inside {
        Value::Object(members) => members.remove(name).map(drop),
        Value::Array(items) => {
            let index = name.parse().ok().filter(|index| *index < items.len())?;
            drop(items.remove(index));
            Some(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

pub(crate) fn field_error(field: &str, fault: Fault) -> Problem {
    Problem::Fields(FieldErrors(vec![FieldError { field: field.to_owned(), fault }]))
}

/// Puts a request into quarantine for a person, who is notified of the first of each source and reason in a day
/// (UTC). The alert is written first, so that nothing is quarantined unnoticed.
pub(crate) async fn keep(
    app: &App,
    request: &Quarantined<'_>,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    let (source, reason) = (request.source, request.reason);
    let kind = reason.split(' ').next().unwrap_or_default();
    let about = format!("{source}/{kind}");
    app.store.alert_once_a_day(&about, AlertKind::Quarantined, None, now).await?;
    let entropy = &*app.platform.entropy;
    let id = QuarantineId::new(now, entropy);
    let accepted = app.store.quarantine(id, request, receipt, now, entropy).await?;
    if accepted == Accepted::Kept {
        tracing::warn!(source, reason, id = %id, "put {source}/{id} into quarantine: {reason}");
    }
    Ok(accepted)
}

/// The methods of that path.
pub(crate) const METHODS: &[Method] = &[Method::POST];

/// Whether a request is about what is in quarantine.
pub(crate) fn is_meant(request: &HttpRequest) -> bool {
    request.path.trim_end_matches('/').rsplit('/').next() == Some(PATH)
}

/// What a person wants.
enum Action {
    List { limit: usize, after: Option<QuarantineId> },
    Show(QuarantineId),
    Release(QuarantineId, Corrections),
    Drop(QuarantineId),
}

impl Action {
    fn read(body: &Value) -> Result<Self, FieldErrors> {
        let mut fields = Fields::of(body);
        fields.only(&FIELDS);
        let find = |text: &str| ACTIONS.into_iter().find(|known| *known == text);
        let named = fields.required_text("action", ACTION_CHARS_MAX).is_some();
        let action = named.then(|| fields.one_of("action", ACTIONS, find)).flatten();
        let mut action = action.and_then(|action| Self::read_of(action, &mut fields));
        if let Some(Self::Release(_, corrections)) = &mut action {
            let set = body.get("set").and_then(Value::as_object);
            corrections.set = set.cloned().unwrap_or_default();
        }
        fields.finish(action)
    }

    /// Reads what an action needs, but for the corrections of a release.
    fn read_of(action: &str, fields: &mut Fields<'_>) -> Option<Self> {
        let id = |fields: &mut Fields<'_>, name: &str| {
            fields.parsed(name, Fault::Uuid, |text| QuarantineId::parse(text).ok())
        };
        let required = |fields: &mut Fields<'_>| match id(fields, "id") {
            Some(id) => Some(id),
            None => fields.required_text("id", 100).and(None),
        };
        match action {
            "list" => {
                let limit = fields.number("limit", 1, LIMIT_MAX).unwrap_or(LIMIT);
                let limit = usize::try_from(limit).unwrap_or_default();
                Some(Self::List { limit, after: id(fields, "after") })
            }
            "show" => required(fields).map(Self::Show),
            "drop" => required(fields).map(Self::Drop),
            _ => {
                let lead = fields.lead_id("lead");
                fields.object("set", |_| ());
                let set = Map::new();
                required(fields).map(|id| Self::Release(id, Corrections { lead, set }))
            }
        }
    }
}

/// What each action returns.
fn responses() -> [Value; 4] {
    let entry = || {
        object([
            ("id", uuid()),
            ("source", text()),
            ("at", time_or_null()),
            ("reason", text()),
            ("contentType", text()),
            ("readAt", time_or_null()),
            ("expiresAt", time_or_null()),
        ])
    };
    let mut shown = with(entry(), [("body", text())]);
    shown["required"] = json!(["id", "source", "body"]);
    [
        object([("requests", list(&entry())), ("more", flag())]),
        shown,
        with(
            object([("released", flag())]),
            [("response", json!({"type": "object"})), ("alreadyKept", flag())],
        ),
        object([("dropped", flag())]),
    ]
}

/// What `POST …/quarantine` of a function takes and returns.
pub(crate) fn operation(function: &'static str) -> Operation {
    let schemas = ACTIONS.into_iter().map(|action| {
        Fields::schema(|fields| {
            fields.only(&FIELDS);
            fields.required_text("action", ACTION_CHARS_MAX);
            fields.one_of("action", [action], |_| Some(()));
            Action::read_of(action, fields);
        })
    });
    let mut operation = Operation::post(
        function,
        "Lists, shows, releases or drops what is quarantined for a person.",
    )
    .authorised()
    .takes(schemas.collect(), Presence::Required)
    .returns("It is done.", json!({"anyOf": responses()}))
    .refuses_fields()
    .refuses([Problem::NotInQuarantine, Problem::NotUnderstood("")]);
    operation.below = PATH;
    operation
}

/// Responds to `POST …/quarantine`.
pub(crate) async fn respond<R: Releases>(
    endpoint: &R,
    app: &App,
    request: &HttpRequest,
    stop_at: Timestamp,
) -> Result<HttpResponse, Problem> {
    let source = endpoint.source();
    guard::authorised(request, &app.config.service_tokens)?;
    let (_, body) = guard::form_body(request)?;
    if !body.is_object() {
        return Err(Problem::Json(JsonError::Syntax));
    }
    let action = Action::read(&body).map_err(Problem::Fields)?;
    app.store.ready(&app.config.hash_key).await?;
    let name = |id| QuarantineName { source: source.to_owned(), id };
    let response = match action {
        Action::List { limit, after } => {
            let mut page = app.store.quarantine_page(source, after, limit + 1).await?;
            let more = page.len() > limit;
            page.truncate(limit);
            json!({"requests": page.iter().map(shown).collect::<Vec<_>>(), "more": more})
        }
        Action::Show(id) => {
            let found = look(app, &name(id)).await?;
            app.store.quarantine_read(&name(id), app.platform.clock.now()).await?;
            let mut response = shown(&found.entry);
            response["body"] = json!(String::from_utf8_lossy(&found.body));
            response
        }
        Action::Drop(id) => {
            if !app.store.drop_quarantined(&name(id)).await? {
                return Err(Problem::NotInQuarantine);
            }
            tracing::info!(source, id = %id, "dropped {source}/{id} from quarantine");
            json!({"dropped": true})
        }
        Action::Release(id, corrections) => {
            let found = look(app, &name(id)).await?;
            let released = endpoint.release(&found, &corrections, stop_at).await?;
            // What was released in a transaction is gone already; its further parts are not.
            app.store.drop_quarantined(&name(id)).await?;
            match released {
                Released::Accepted(response) => {
                    tracing::info!(source, id = %id, "released {source}/{id} from quarantine");
                    json!({"released": true, "response": response})
                }
                Released::AlreadyKept => {
                    tracing::info!(
                        source,
                        id = %id,
                        "removed {source}/{id} from quarantine, because the same was kept before"
                    );
                    json!({"released": true, "alreadyKept": true})
                }
            }
        }
    };
    Ok(json_response(StatusCode::OK, &response))
}

async fn look(app: &App, name: &QuarantineName) -> Result<QuarantinedRequest, Problem> {
    app.store.quarantined(name).await?.ok_or(Problem::NotInQuarantine)
}

fn shown(entry: &QuarantineEntry) -> Value {
    json!({
        "id": entry.name.id.to_string(),
        "source": entry.name.source,
        "at": entry.name.id.at(),
        "reason": entry.reason,
        "contentType": entry.content_type,
        "readAt": entry.read_at,
        "expiresAt": entry.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corrected(mut body: Value, set: Value) -> Option<Value> {
        let Value::Object(set) = set else { panic!("{set}") };
        Corrections { lead: None, set }.apply(&mut body).ok().map(|()| body)
    }

    #[test]
    fn fields_are_corrected_by_their_path() {
        let body = || json!({"a": {"b": 1}, "list": [{"c": 1}, 2], "text": "x"});
        for (set, expected) in [
            (json!({"a.b": 2}), Some(json!({"a": {"b": 2}, "list": [{"c": 1}, 2], "text": "x"}))),
            (
                json!({"list.0.c": [3], "new.deep": true}),
                Some(json!({"a": {"b": 1}, "list": [{"c": [3]}, 2], "text": "x",
                            "new": {"deep": true}})),
            ),
            (json!({"a": null, "list.1": null}), Some(json!({"list": [{"c": 1}], "text": "x"}))),
            (json!({"gone": null}), None),
            (json!({"gone.deep": null}), None),
            (json!({"text.deep": null}), None),
            (json!({"list.9": null}), None),
            (
                json!({"a": {"x/y": 1}, "a.x/y": null}),
                Some(json!({"a": {}, "list": [{"c": 1}, 2],
                                                                "text": "x"})),
            ),
            (json!({"text.deep": 1}), None),
            (json!({"list.9": 1}), None),
            (json!({"list.x": 1}), None),
            (json!({(["a"; 20].join(".")): 1}), None),
        ] {
            assert_eq!(corrected(body(), set.clone()), expected, "{set}");
        }
    }
}
