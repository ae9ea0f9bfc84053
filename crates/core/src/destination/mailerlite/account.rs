//! What Funil needs of a MailerLite account beside subscribers: custom fields, groups and webhooks; how they are
//! found, and how they are made.
//!
//! `docs/providers.md` ("MailerLite"). Knows neither leads nor events.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;

use super::super::names::{self, Names, Omission};
use super::FIELDS;
use crate::check::{Finding, member, not_itself, refusal};
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::settings::{Secret, Settings};

/// How many items a page of a list has; an account has at most about as many groups and fields.
const PAGE: &str = "100";
/// The fields that every account has.
pub const BUILT_IN: [&str; 2] = ["name", "phone"];

/// An account, with its key and its names of our fields.
#[derive(Debug)]
pub struct Account {
    base: Url,
    key: Secret,
    pub(super) fields: Names,
}

/// A custom field that the account needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its key in the account, of which MailerLite makes its name.
    pub key: String,
    /// Its type in MailerLite's words.
    pub kind: &'static str,
}

/// The items of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What was asked for of each: a field's key, a group's id by its name.
    pub items: Vec<(String, String)>,
    /// How many pages the list has.
    pub last_page: u64,
}

/// How a webhook brings its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// Each by a request of its own.
    EachByItself,
    /// Several in one request.
    InEnvelopes,
}

/// A webhook that the account has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// MailerLite's id of it, by which it is changed.
    pub id: String,
    /// The address that its requests go to.
    pub url: String,
    /// Whether MailerLite sends anything to it.
    pub enabled: bool,
    /// How it brings its events.
    pub sends: Sends,
    /// The event types that it brings, such as `subscriber.unsubscribed`.
    pub events: Vec<String>,
}

/// A webhook that the account needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookWanted<'a> {
    /// The address that its requests go to.
    pub url: &'a str,
    /// How it brings its events.
    pub sends: Sends,
    /// The event types that it brings.
    pub events: Vec<&'a str>,
}

impl WebhookWanted<'_> {
    fn body(&self) -> Value {
        json!({
            "name": "Funil",
            "url": self.url,
            "events": self.events,
            "enabled": true,
            "batchable": self.sends == Sends::InEnvelopes,
        })
    }
}

impl Account {
    /// Reads the API key and the names of the fields (`MAILERLITE_API_KEY`, `MAILERLITE_FIELDS`).
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let base = settings.url("MAILERLITE_BASE_URL", Some("https://connect.mailerlite.com/api"));
        let key = settings.secret("MAILERLITE_API_KEY");
        let known = (&FIELDS[..], Omission::Allowed);
        let fields = Names::read(settings, "MAILERLITE_FIELDS", known, names::is_field);
        Some(Self { base: base?, key: key?, fields: fields? })
    }

    pub(super) fn request(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<Value>,
    ) -> Request {
        Request::safe(method, endpoint(&self.base, segments), body)
            .header("authorization", format!("Bearer {}", self.key.expose()))
            .header("accept", "application/json")
    }

    fn list(&self, what: &str, page: u64) -> Request {
        let mut request = self.request(Method::Get, &[what], None);
        let mut query = request.url.query_pairs_mut();
        query.append_pair("limit", PAGE).append_pair("page", &page.to_string());
        drop(query);
        request
    }

    /// Lists a page of the account's custom fields, counted from 1.
    pub fn list_fields(&self, page: u64) -> Request {
        self.list("fields", page)
    }

    /// Lists a page of the account's groups, counted from 1.
    pub fn list_groups(&self, page: u64) -> Request {
        self.list("groups", page)
    }

    /// Makes a field.
    pub fn make_field(&self, field: &Field) -> Request {
        let body = json!({"name": field.key, "type": field.kind});
        self.request(Method::Post, &["fields"], Some(body))
    }

    /// Makes a group.
    pub fn make_group(&self, name: &str) -> Request {
        self.request(Method::Post, &["groups"], Some(json!({"name": name})))
    }

    /// Lists a page of the account's webhooks, counted from 1.
    pub fn list_webhooks(&self, page: u64) -> Request {
        self.list("webhooks", page)
    }

    /// Makes a webhook.
    pub fn make_webhook(&self, wanted: &WebhookWanted<'_>) -> Request {
        self.request(Method::Post, &["webhooks"], Some(wanted.body()))
    }

    /// Makes of a webhook what is wanted. Its secret stays.
    pub fn change_webhook(&self, id: &str, wanted: &WebhookWanted<'_>) -> Request {
        self.request(Method::Put, &["webhooks", id], Some(wanted.body()))
    }

    /// The custom fields that are sent and that the list does not have.
    pub fn missing_fields(&self, listed: &Listed) -> Vec<Field> {
        let is_there = |key: &str| {
            BUILT_IN.contains(&key) || listed.items.iter().any(|(known, _)| known == key)
        };
        let sent = FIELDS.iter().filter_map(|ours| Some((*ours, self.fields.of(ours)?)));
        let missing = sent.filter(|(_, key)| !is_there(key));
        missing.map(|(ours, key)| Field { key: key.to_owned(), kind: kind(ours) }).collect()
    }
}

/// The type of a field. With dates of the type `date` an automation can count back from a call.
fn kind(ours: &str) -> &'static str {
    match ours {
        "amanda_match_score" | "transformation_readiness" | "transaction_amount" => "number",
        "signup_date" | "call_date" | "questionnaire_deadline" | "purchase_date" => "date",
        _ => "text",
    }
}

/// The keys and names of a list of fields.
pub fn fields_of(response: &Response) -> Option<Listed> {
    listed(response, "key")
}

/// The ids and names of a list of groups.
pub fn groups_of(response: &Response) -> Option<Listed> {
    listed(response, "id")
}

/// The id of the group, or the key of the field, that was made.
pub fn made(response: &Response, name: &str) -> Option<String> {
    member(response.json().get("data")?, name).filter(|_| response.succeeded())
}

/// The webhooks of a list, and how many pages it has.
pub fn webhooks_of(response: &Response) -> Option<(Vec<Webhook>, u64)> {
    let body = response.json();
    let data = body.get("data").filter(|_| response.succeeded())?.as_array()?;
    let webhook = |item: &Value| {
        let events = item["events"].as_array()?.iter();
        let is = |name: &str| item[name].as_bool().unwrap_or_default();
        Some(Webhook {
            id: member(item, "id")?,
            url: member(item, "url")?,
            enabled: is("enabled"),
            sends: if is("batchable") { Sends::InEnvelopes } else { Sends::EachByItself },
            events: events.filter_map(|event| event.as_str().map(str::to_owned)).collect(),
        })
    };
    Some((data.iter().filter_map(webhook).collect(), last_page(&body)))
}

/// The secret of the webhook that was made.
pub fn made_secret(response: &Response) -> Option<String> {
    made(response, "secret")
}

fn last_page(body: &Value) -> u64 {
    body.pointer("/meta/last_page").and_then(Value::as_u64).unwrap_or(1)
}

fn listed(response: &Response, first: &str) -> Option<Listed> {
    let body = response.json();
    let data = body.get("data").filter(|_| response.succeeded())?.as_array()?;
    let pair = |item: &Value| Some((member(item, first)?, member(item, "name")?));
    Some(Listed { items: data.iter().filter_map(pair).collect(), last_page: last_page(&body) })
}

/// What a check says of the list of fields.
pub(super) fn check_fields(account: &Account, response: &Response) -> Vec<Finding> {
    const SUBJECT: &str = "fields";

    if let Some(refused) = refusal(SUBJECT, "MAILERLITE_API_KEY", response) {
        return vec![refused];
    }
    let Some(listed) = fields_of(response) else { return vec![unreadable(SUBJECT)] };
    let missing: Vec<String> =
        account.missing_fields(&listed).into_iter().map(|field| field.key).collect();
    vec![if missing.is_empty() {
        Finding::ok(SUBJECT, "the account has every field that is sent")
    } else if listed.last_page > 1 {
        further_pages(SUBJECT)
    } else {
        Finding::failed(
            SUBJECT,
            format!(
                "the account lacks {}, so MailerLite ignores what is sent in them. `funil setup \
                 mailerlite` makes them; MAILERLITE_FIELDS gives them other names, or null to leave one \
                 out.",
                missing.join(", ")
            ),
        )
    }]
}

/// What a check says of the list of groups.
pub(super) fn check_groups(groups: &BTreeMap<String, String>, response: &Response) -> Vec<Finding> {
    const SUBJECT: &str = "groups";

    if let Some(refused) = refusal(SUBJECT, "MAILERLITE_API_KEY", response) {
        return vec![refused];
    }
    let Some(listed) = groups_of(response) else { return vec![unreadable(SUBJECT)] };
    let is_missing = |id: &String| !listed.items.iter().any(|(known, _)| known == id);
    let missing: Vec<&str> =
        groups.iter().filter(|(_, id)| is_missing(id)).map(|(name, _)| name.as_str()).collect();
    vec![if missing.is_empty() {
        Finding::ok(SUBJECT, "the account has every group of MAILERLITE_GROUPS")
    } else if listed.last_page > 1 {
        further_pages(SUBJECT)
    } else {
        Finding::failed(
            SUBJECT,
            format!(
                "the account has no group with the ids of {}, so their automations do not start. Correct \
                 MAILERLITE_GROUPS; `funil setup mailerlite` prints the ids.",
                missing.join(", ")
            ),
        )
    }]
}

fn unreadable(subject: &'static str) -> Finding {
    not_itself(subject, "MAILERLITE_BASE_URL", "MailerLite")
}

fn further_pages(subject: &'static str) -> Finding {
    let says = format!("the account has more than {PAGE} of them. Look for them in MailerLite.");
    Finding::unchecked(subject, says)
}
