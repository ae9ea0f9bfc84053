//! What every endpoint takes and returns, as data. The OpenAPI document is made of it, and every response in
//! the tests is compared with it; no function uses it.
//!
//! What a body may have comes from the parsers, and what a refusal looks like from the problems
//! themselves. Must not know how any of it is written down.

use funil_core::destination;
use funil_core::form::Schema;
use funil_core::json::JsonError;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http::check;
use crate::http::problem::Problem;
use crate::intake::{form, forms, quarantine, tags, webhooks};
use crate::operate::{deliver, dispatch, health, metrics, sequence};

/// One method of one path.
#[derive(Debug)]
pub struct Operation {
    /// The function's name, which is its path.
    pub function: &'static str,
    /// What follows in the path, without a slash; mostly nothing.
    pub below: &'static str,
    /// The HTTP method; each method of a path is an operation of its own.
    pub method: Method,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Who may use it.
    pub caller: Caller,
    /// What the body of a request may be.
    pub body: Body,
    /// The headers that it reads beside those of its body and its caller.
    pub headers: &'static [RequestHeader],
    /// The headers that each of its responses may have.
    pub response_headers: &'static [&'static str],
    /// The parameters of its query.
    pub query: &'static [&'static str],
    /// Its responses that are no problems.
    pub returns: Vec<Returned>,
    /// Its responses that are problems. Every operation has the one for a table that does not respond.
    pub refusals: Vec<Refusal>,
    /// Who gets a page instead of JSON.
    pub pages: Pages,
}

/// Who gets a page instead of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Every caller gets JSON.
    ForNobody,
    /// A browser that posted a plain HTML form.
    ForBrowsers,
}

/// A header that an operation reads.
#[derive(Debug)]
pub struct RequestHeader {
    /// Its name, as the documentation shows it.
    pub name: &'static str,
    /// A regular expression of what it may be.
    pub pattern: &'static str,
    /// What the header does, in a sentence for the documentation.
    pub meaning: &'static str,
}

/// Who may use an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Anybody, without a token or a signature.
    Anybody,
    /// Anybody; who shows a service token gets more.
    AnybodyOrServiceToken,
    /// Who shows a service token.
    ServiceToken,
    /// A provider, whose signature or token is in this header.
    Provider(&'static str),
}

/// What a request's body may be.
#[derive(Debug)]
pub enum Body {
    /// The request has no body.
    None,
    /// Fields, as JSON or from an HTML form, as one of these schemas says.
    Fields(Vec<Schema>, Presence),
    /// What a provider sends, as JSON.
    OfProvider,
    /// Events in the format of the dataLayer, as JSON.
    OfTags,
}

/// Whether a body may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A request without a body is accepted.
    Optional,
    /// A request without a body is refused.
    Required,
}

/// A response that is no problem.
#[derive(Debug)]
pub struct Returned {
    /// The HTTP status.
    pub status: u16,
    /// In which case this response is sent, for the documentation.
    pub when: &'static str,
    /// Its content type and, of JSON, its schema; none where it has no body.
    pub content: Option<(&'static str, Value)>,
    /// The headers that it may have.
    pub headers: &'static [&'static str],
}

/// A response with a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The member `code` of the body, by which programs tell problems apart.
    pub code: &'static str,
    /// Its title in English.
    pub title: String,
    /// The headers that it has beside those of every problem.
    pub headers: Vec<String>,
}

impl Operation {
    /// A `POST` of JSON without a body.
    pub(crate) fn post(function: &'static str, summary: &'static str) -> Self {
        Self {
            function,
            below: "",
            method: Method::POST,
            summary,
            caller: Caller::Anybody,
            body: Body::None,
            headers: &[],
            response_headers: &[],
            query: &[],
            returns: Vec::new(),
            refusals: refusals([Problem::Unavailable]),
            pages: Pages::ForNobody,
        }
    }

    /// Adds the responses with these problems to those that the documentation lists.
    pub(crate) fn refuses<const N: usize>(mut self, problems: [Problem; N]) -> Self {
        self.refusals.extend(refusals(problems));
        self
    }

    /// Requires a service token.
    pub(crate) fn authorised(mut self) -> Self {
        self.caller = Caller::ServiceToken;
        self.refuses([Problem::Unauthorised])
    }

    /// Says that the body has these fields, and adds the problems that such a body may have.
    pub(crate) fn takes(mut self, schemas: Vec<Schema>, presence: Presence) -> Self {
        self.body = Body::Fields(schemas, presence);
        self.refuses([
            Problem::Json(JsonError::Syntax),
            Problem::Json(JsonError::DuplicateKey),
            Problem::Json(JsonError::TooDeep),
            Problem::ContentType,
            Problem::TooLarge(0),
        ])
    }

    /// Refuses fields that are missing or wrong.
    pub(crate) fn refuses_fields(self) -> Self {
        self.refuses([Problem::Fields(funil_core::form::FieldErrors(Vec::new()))])
    }

    /// Returns JSON with status 200.
    pub(crate) fn returns(mut self, when: &'static str, schema: Value) -> Self {
        let content = Some(("application/json", schema));
        self.returns.push(Returned { status: 200, when, content, headers: &[] });
        self
    }
}

fn refusals<const N: usize>(problems: [Problem; N]) -> Vec<Refusal> {
    problems.into_iter().map(|problem| problem.refusal()).collect()
}

/// A schema of an object with these members, all of which it has.
pub(crate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let (mut names, mut properties) = (Vec::new(), serde_json::Map::new());
    for (name, schema) in members {
        names.push(name);
        properties.insert(name.to_owned(), schema);
    }
    json!({"type": "object", "required": names, "properties": properties})
}

/// Adds members that an object need not have.
pub(crate) fn with<const N: usize>(mut object: Value, members: [(&str, Value); N]) -> Value {
    for (name, schema) in members {
        object["properties"][name] = schema;
    }
    object
}

/// A schema of a list.
pub(crate) fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

/// A schema of a text.
pub(crate) fn text() -> Value {
    json!({"type": "string"})
}

/// A schema of a text that may be missing.
pub(crate) fn text_or_null() -> Value {
    json!({"type": ["string", "null"]})
}

/// A schema of a time in RFC 3339 that may be missing.
pub(crate) fn time_or_null() -> Value {
    json!({"type": ["string", "null"], "format": "date-time"})
}

/// A schema of a UUID.
pub(crate) fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

/// A schema of a boolean.
pub(crate) fn flag() -> Value {
    json!({"type": "boolean"})
}

/// A schema of a whole number from 0 on.
pub(crate) fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// The schemas that operations name, by their names.
pub fn schemas() -> [(&'static str, Value); 1] {
    [(check::REPORT, check::schema())]
}

/// Every operation of every function.
pub fn operations() -> Vec<Operation> {
    let of_forms = forms::OPERATIONS.iter().flat_map(|operation| {
        let operation = operation();
        let preflight = form::preflight(&operation);
        [operation, preflight]
    });
    let of_webhooks = webhooks::OPERATIONS.iter().flat_map(|operations| operations());
    let of_tags = tags::OPERATIONS.iter().flat_map(|operation| {
        let operation = operation();
        let preflight = form::preflight(&operation);
        [operation, preflight]
    });
    let kept = crate::functions::intake().filter(|one| one.quarantine_source.is_some());
    let of_quarantine = kept.map(|one| {
        let mut operation = quarantine::operation(one.name);
        if forms::FORMS.iter().any(|form| form.name == one.name) {
            operation.response_headers = form::CORS;
            // A form is released as if it came now.
            operation = operation.refuses([Problem::NoSuchLead, Problem::KeyReused]);
        }
        operation
    });
    let of_destinations = destination::ALL.iter().flat_map(|one| {
        let mut operations = vec![deliver::operation(one)];
        if one.follows_bookings {
            operations[0].body = Body::Fields(sequence::schemas(), Presence::Optional);
            operations[0].refusals.extend(sequence::refusals());
            operations[0].returns = vec![sequence::returned(deliver::returned())];
            operations.push(sequence::withdrawal(one.function));
        }
        operations
    });
    of_forms
        .chain(of_webhooks)
        .chain(of_tags)
        .chain(of_quarantine)
        .chain(of_destinations)
        .chain(dispatch::operations())
        .chain(health::operations())
        .chain(metrics::operations())
        .map(check::documented)
        .collect()
}

impl Problem {
    /// What the response with this problem looks like.
    pub(crate) fn refusal(&self) -> Refusal {
        let response = self.response(funil_core::form::Locale::En);
        let of_all = ["content-type", "cache-control"];
        let headers = response.headers.keys().map(http::HeaderName::as_str);
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        Refusal {
            status: response.status.as_u16(),
            code: self.code(),
            title: body["title"].as_str().unwrap_or_default().to_owned(),
            headers: headers.filter(|name| !of_all.contains(name)).map(str::to_owned).collect(),
        }
    }
}

/// The response to a request whose method the path does not have, which is no operation.
pub fn wrong_method() -> Refusal {
    Problem::Method(&[]).refusal()
}

/// Of a response's status, whether it is a success.
pub fn is_success(status: u16) -> bool {
    StatusCode::from_u16(status).is_ok_and(|status| status.is_success())
}
