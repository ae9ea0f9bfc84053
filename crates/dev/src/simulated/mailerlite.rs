//! The simulated MailerLite (the new API, base URL `https://connect.mailerlite.com/api`).
//!
//! Owns the subscribers, the custom fields and groups of the account, the group joins that start automations,
//! and the attempts to resubscribe a person who had left. See `docs/providers.md` ("MailerLite").
//! This module must not know HTTP, nor how a response is withheld. The rate limit is not simulated;
//! tests use [`Behaviour::Throttle`](super::Behaviour::Throttle).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Providers;
use super::exchange::{ProviderRequest, ProviderResponse};

/// The fields that every account has. Others exist once `POST /fields` created them.
const FIELDS: [&str; 8] =
    ["city", "company", "country", "last_name", "name", "phone", "state", "z_i_p"];

const STATUSES: [&str; 5] = ["active", "unsubscribed", "unconfirmed", "bounced", "junk"];

/// The first id that is given to a subscriber. It has 17 digits like real ids, which a double
/// cannot hold.
const FIRST_ID: u64 = 31_986_843_064_993_537;

/// The groups that the account has from the beginning: ids and names. A subscriber may join any id,
/// because the account's owner may have made it since.
const GROUPS: [(&str, &str); 5] = [
    ("101", "questionnaire"),
    ("102", "marketing"),
    ("201", "contact"),
    ("202", "newsletter"),
    ("203", "consultation"),
];
/// The id of the first group that is made.
const FIRST_GROUP: usize = 103;

/// The state of the account.
#[derive(Debug, Default)]
pub(super) struct MailerLite {
    subscribers: Vec<Subscriber>,
    /// The names of the groups that were made, in addition to [`GROUPS`].
    groups: Vec<String>,
    /// The custom fields, in addition to [`FIELDS`].
    fields: BTreeSet<String>,
    /// The webhooks, as they were sent, with their ids.
    webhooks: Vec<Value>,
    joins: Vec<GroupJoin>,
    resubscriptions: Vec<String>,
}

#[derive(Debug)]
struct Subscriber {
    id: String,
    email: String,
    status: String,
    fields: BTreeMap<String, Value>,
    groups: BTreeSet<String>,
    subscribed_at: String,
    unsubscribed_at: Option<String>,
    created_at: String,
    updated_at: String,
    /// `ip_address`, `opted_in_at` and `optin_ip`, as they were sent.
    sent: BTreeMap<&'static str, Value>,
}

/// A subscriber joined a group that they were not in. This starts an automation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupJoin {
    /// When the subscriber joined.
    pub at: String,
    /// The e-mail of the subscriber.
    pub email: String,
    /// The group's numeric id.
    pub group: String,
    /// The status of the subscriber at that time. Automations send e-mails only to `active` ones.
    pub status: String,
    /// The fields of the subscriber at that time, which the automation's e-mails show.
    pub fields: BTreeMap<String, Value>,
}

impl MailerLite {
    pub(super) fn response(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        if !request.has_bearer() {
            return ProviderResponse::refusal(401, "Unauthenticated.");
        }
        match (request.method(), request.path().as_slice()) {
            ("GET", ["subscribers", who]) => match self.find(who) {
                Some(at) => ProviderResponse::json(200, json!({"data": self.shown(at)}), "found"),
                None => not_found(),
            },
            ("POST", ["subscribers"]) => self.upsert(request),
            ("DELETE", ["subscribers", who]) => {
                self.remove(who, ProviderResponse::empty(204, "deleted"))
            }
            ("POST", ["subscribers", who, "forget"]) => self.remove(
                who,
                ProviderResponse::json(200, json!({"message": "Forgotten."}), "forgotten"),
            ),
            ("POST", ["subscribers", who, "groups", group]) => self.join(request, who, group),
            ("DELETE", ["subscribers", who, "groups", group]) => self.leave(who, group),
            ("GET", ["webhooks"]) => {
                ProviderResponse::json(200, json!({"data": self.webhooks}), "listed the webhooks")
            }
            ("POST", ["webhooks"]) => self.make_webhook(request),
            ("PUT", ["webhooks", id]) => self.change_webhook(request, id),
            ("GET", ["fields"]) => {
                let fields: Vec<Value> =
                    self.field_names().map(|key| json!({"key": key, "name": key})).collect();
                ProviderResponse::json(200, json!({"data": fields}), "listed the fields")
            }
            ("GET", ["groups"]) => {
                let groups: Vec<Value> =
                    self.all_groups().map(|(id, name)| json!({"id": id, "name": name})).collect();
                ProviderResponse::json(200, json!({"data": groups}), "listed the groups")
            }
            ("POST", ["groups"]) => match request.text("name") {
                Some(name) => self.make_group(name),
                None => invalid("name", "The name field is required."),
            },
            ("POST", ["fields"]) => match request.text("name") {
                Some(name) => {
                    self.make_field(name);
                    let field = json!({"key": name, "name": name});
                    ProviderResponse::json(
                        201,
                        json!({"data": field}),
                        format!("made the field {name}"),
                    )
                }
                None => invalid("name", "The name field is required."),
            },
            _ => not_found(),
        }
    }

    fn all_groups(&self) -> impl Iterator<Item = (String, &str)> {
        let built_in = GROUPS.into_iter().map(|(id, name)| (id.to_owned(), name));
        let made = self.groups.iter().enumerate();
        built_in.chain(made.map(|(at, name)| ((FIRST_GROUP + at).to_string(), name.as_str())))
    }

    fn make_group(&mut self, name: &str) -> ProviderResponse {
        if self.all_groups().any(|(_, known)| known == name) {
            return invalid("name", "The name has already been taken.");
        }
        let id = (FIRST_GROUP + self.groups.len()).to_string();
        self.groups.push(name.to_owned());
        let group = json!({"id": id, "name": name});
        ProviderResponse::json(201, json!({"data": group}), format!("made the group {name}"))
    }

    fn make_webhook(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let Some(body) = request.object().filter(|body| body.contains_key("url")) else {
            return invalid("url", "The url field is required.");
        };
        let mut webhook = Value::Object(body.clone());
        let id = (self.webhooks.len() + 1).to_string();
        webhook["id"] = json!(id);
        self.webhooks.push(webhook.clone());
        webhook["secret"] = json!(format!("mailerlite-secret-{id}"));
        ProviderResponse::json(201, json!({"data": webhook}), format!("made the webhook {id}"))
    }

    fn change_webhook(&mut self, request: &ProviderRequest<'_>, id: &str) -> ProviderResponse {
        let known = self.webhooks.iter_mut().find(|webhook| webhook["id"] == id);
        let (Some(known), Some(body)) = (known, request.object()) else { return not_found() };
        for (name, value) in body {
            known[name] = value.clone();
        }
        ProviderResponse::json(200, json!({"data": known}), format!("changed the webhook {id}"))
    }

    fn field_names(&self) -> impl Iterator<Item = &str> {
        FIELDS.into_iter().chain(self.fields.iter().map(String::as_str))
    }

    /// Creates a custom field. False if a field with this name exists.
    pub(super) fn make_field(&mut self, name: &str) -> bool {
        !FIELDS.contains(&name) && self.fields.insert(name.to_owned())
    }

    /// The index of the subscriber with this id or e-mail.
    fn find(&self, who: &str) -> Option<usize> {
        self.subscribers.iter().position(|subscriber| {
            !subscriber.id.is_empty()
                && (subscriber.id == who || subscriber.email.eq_ignore_ascii_case(who))
        })
    }

    fn upsert(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let Some(email) = request.text("email") else {
            return invalid("email", "The email field is required.");
        };
        if !is_email(email) {
            return invalid("email", "The email must be a valid email address.");
        }
        let empty = Map::new();
        let body = request.object().unwrap_or(&empty);
        let status = body.get("status").map(|status| status.as_str().unwrap_or_default());
        if status.is_some_and(|status| !STATUSES.contains(&status)) {
            return invalid("status", "The selected status is invalid.");
        }
        let groups = match body.get("groups").map(group_ids) {
            None => Vec::new(),
            Some(Ok(groups)) => groups,
            Some(Err(refusal)) => return refusal,
        };
        let at = day_and_time(&request.received.at);
        let found = self.find(email);
        let index = found.unwrap_or(self.subscribers.len());
        if found.is_none() {
            let id = u64::try_from(index).map_or(FIRST_ID, |index| FIRST_ID + index);
            self.subscribers.push(Subscriber::new(id.to_string(), email, &at));
        }
        let known: BTreeSet<String> = self.field_names().map(str::to_owned).collect();
        let subscriber = &mut self.subscribers[index];
        subscriber.updated_at.clone_from(&at);
        let mut notes = vec![match found {
            Some(_) => format!("updated subscriber {}", subscriber.id),
            None => format!("created subscriber {}", subscriber.id),
        }];
        let mut ignored = Vec::new();
        for (name, value) in body.get("fields").and_then(Value::as_object).into_iter().flatten() {
            if known.contains(name) {
                subscriber.fields.insert(name.clone(), value.clone());
            } else {
                ignored.push(name.as_str());
            }
        }
        for name in ["ip_address", "opted_in_at", "optin_ip"] {
            if let Some(value) = body.get(name) {
                subscriber.sent.insert(name, value.clone());
            }
        }
        if !ignored.is_empty() {
            notes.push(format!("ignored the unknown fields {}", ignored.join(", ")));
        }
        if let Some(status) = status {
            if subscriber.has_left() && status == "active" {
                self.resubscriptions.push(subscriber.email.clone());
                notes.push(format!("RESUBSCRIBED who was {}", subscriber.status));
            }
            if status == "unconfirmed" {
                notes.push("sent the mail that asks for confirmation".to_owned());
            }
            subscriber.become_status(status, &at);
        }
        for group in groups {
            notes.push(self.enter(index, &group, &request.received.at));
        }
        let status = if found.is_some() { 200 } else { 201 };
        ProviderResponse::json(status, json!({"data": self.shown(index)}), notes.join(", "))
    }

    fn join(&mut self, request: &ProviderRequest<'_>, who: &str, group: &str) -> ProviderResponse {
        let Some(index) = self.find(who).filter(|_| is_group_id(group)) else {
            return not_found();
        };
        let note = self.enter(index, group, &request.received.at);
        ProviderResponse::json(200, json!({"data": shown_group(group)}), note)
    }

    fn leave(&mut self, who: &str, group: &str) -> ProviderResponse {
        let Some(index) = self.find(who).filter(|_| is_group_id(group)) else {
            return not_found();
        };
        let was_in = self.subscribers[index].groups.remove(group);
        let verb = if was_in { "left" } else { "was not in" };
        ProviderResponse::empty(204, format!("{verb} group {group}"))
    }

    /// Adds a subscriber to a group and returns a note about it.
    fn enter(&mut self, index: usize, group: &str, at: &str) -> String {
        let subscriber = &mut self.subscribers[index];
        if !subscriber.groups.insert(group.to_owned()) {
            return format!("was already in group {group}");
        }
        self.joins.push(GroupJoin {
            at: at.to_owned(),
            email: subscriber.email.clone(),
            group: group.to_owned(),
            status: subscriber.status.clone(),
            fields: subscriber.fields.clone(),
        });
        format!("joined group {group}")
    }

    fn remove(&mut self, who: &str, done: ProviderResponse) -> ProviderResponse {
        let Some(index) = self.find(who) else {
            return not_found();
        };
        // The entry stays, so that no id is given twice.
        let gone = &mut self.subscribers[index];
        gone.id.clear();
        gone.email.clear();
        gone.fields.clear();
        gone.groups.clear();
        gone.sent.clear();
        done
    }

    /// Sets a status, as the person or MailerLite itself would. False if there is no subscriber
    /// with this e-mail.
    pub(super) fn set_status(&mut self, email: &str, status: &str, at: &str) -> bool {
        let Some(index) = self.find(email) else {
            return false;
        };
        self.subscribers[index].become_status(status, &day_and_time(at));
        true
    }

    fn shown(&self, index: usize) -> Value {
        let subscriber = &self.subscribers[index];
        let fields: Map<String, Value> = self
            .field_names()
            .map(|name| {
                let value = subscriber.fields.get(name).cloned();
                (name.to_owned(), value.unwrap_or_default())
            })
            .collect();
        let sent = |name: &str| subscriber.sent.get(name).cloned().unwrap_or_default();
        json!({
            "id": subscriber.id,
            "email": subscriber.email,
            "status": subscriber.status,
            "source": "api",
            "sent": 0,
            "opens_count": 0,
            "clicks_count": 0,
            "open_rate": 0,
            "click_rate": 0,
            "ip_address": sent("ip_address"),
            "subscribed_at": subscriber.subscribed_at,
            "unsubscribed_at": subscriber.unsubscribed_at,
            "created_at": subscriber.created_at,
            "updated_at": subscriber.updated_at,
            "fields": fields,
            "groups": subscriber.groups.iter().map(|id| shown_group(id)).collect::<Vec<_>>(),
            "opted_in_at": sent("opted_in_at"),
            "optin_ip": sent("optin_ip"),
        })
    }
}

impl Subscriber {
    fn new(id: String, email: &str, at: &str) -> Self {
        Self {
            id,
            email: email.to_owned(),
            status: "active".to_owned(),
            fields: BTreeMap::new(),
            groups: BTreeSet::new(),
            subscribed_at: at.to_owned(),
            unsubscribed_at: None,
            created_at: at.to_owned(),
            updated_at: at.to_owned(),
            sent: BTreeMap::new(),
        }
    }

    fn has_left(&self) -> bool {
        ["unsubscribed", "bounced", "junk"].contains(&self.status.as_str())
    }

    fn become_status(&mut self, status: &str, at: &str) {
        if status != self.status {
            status.clone_into(&mut self.status);
            self.unsubscribed_at = (status == "unsubscribed").then(|| at.to_owned());
        }
    }
}

fn shown_group(id: &str) -> Value {
    json!({"id": id, "name": format!("Group {id}")})
}

fn not_found() -> ProviderResponse {
    ProviderResponse::refusal(404, "Resource not found.")
}

fn invalid(field: &str, message: &str) -> ProviderResponse {
    let body = json!({"message": message, "errors": {field: [message]}});
    ProviderResponse::json(422, body, format!("refused: {message}"))
}

/// Whether a text is a group id, which is a number. A group's name is not accepted.
fn is_group_id(group: &str) -> bool {
    !group.is_empty() && group.bytes().all(|digit| digit.is_ascii_digit())
}

fn group_ids(groups: &Value) -> Result<Vec<String>, ProviderResponse> {
    let Some(groups) = groups.as_array() else {
        return Err(invalid("groups", "The groups must be an array."));
    };
    let ids = groups.iter().enumerate().map(|(at, group)| {
        group.as_str().filter(|id| is_group_id(id)).map(str::to_owned).ok_or_else(|| {
            let field = format!("groups.{at}");
            invalid(&field, &format!("The selected {field} is invalid."))
        })
    });
    ids.collect()
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let clean = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '@' || c == ',')
    };
    clean(local)
        && clean(domain)
        && domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty())
}

/// Converts `2026-01-02T03:04:05.678Z` to MailerLite's format, `2026-01-02 03:04:05`.
fn day_and_time(rfc_3339: &str) -> String {
    rfc_3339.get(..19).unwrap_or(rfc_3339).replace('T', " ")
}

impl Providers {
    /// The MailerLite subscriber with this id or e-mail, in the format of the API's responses.
    pub fn subscriber(&self, id_or_email: &str) -> Option<Value> {
        self.read(|world| {
            let account = &world.mailerlite;
            account.find(id_or_email).map(|index| account.shown(index))
        })
    }

    /// Who joined which MailerLite group, in order.
    pub fn group_joins(&self) -> Vec<GroupJoin> {
        self.read(|world| world.mailerlite.joins.clone())
    }

    /// The e-mails of subscribers who had left and were then sent with a status that subscribes
    /// them again. Each one is a bug, because it is against the will of the person.
    pub fn resubscriptions(&self) -> Vec<String> {
        self.read(|world| world.mailerlite.resubscriptions.clone())
    }
}
