//! The simulated CRM, with the three request formats of `CRM_KIND` at once.
//!
//! Owns the contacts, which requests of all three formats (`webhook`, `contacts`, `leads`) write,
//! the responses that were sent for each `Idempotency-Key`, and the automations that were started.
//! See `docs/providers.md` ("CRM"). This module must not know HTTP, nor how a response is withheld.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Providers;
use super::exchange::{ProviderRequest, ProviderResponse};

/// The state of the CRM.
#[derive(Debug, Default)]
pub(super) struct Crm {
    /// The contacts by the id that the request gave them (`external_id` or `lead_id`).
    contacts: BTreeMap<String, Contact>,
    last_id: u64,
    /// The responses by idempotency key.
    responded: BTreeMap<String, ProviderResponse>,
    /// The idempotency keys whose automations were started.
    triggered: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Contact {
    id: String,
    fields: Map<String, Value>,
    purchases: Vec<Value>,
    triggers: BTreeMap<String, u32>,
}

impl Contact {
    fn shown(&self) -> Value {
        let mut fields = self.fields.clone();
        fields.insert("id".to_owned(), Value::from(self.id.clone()));
        Value::Object(fields)
    }
}

impl Crm {
    pub(super) fn response(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        if !request.has_bearer() {
            return ProviderResponse::refusal(401, "Unauthorized.");
        }
        match (request.method(), request.path().as_slice()) {
            ("POST", []) => self.once(request, Self::webhook),
            ("GET", ["contacts"]) => self.list(request),
            ("POST", ["contacts"]) => self.create(request),
            ("PUT" | "PATCH", ["contacts", id]) => self.update(request, id),
            ("POST", ["leads"]) => self.once(request, Self::lead),
            ("POST", ["leads", lead_id, "purchase"]) => {
                self.once(request, |crm, request| crm.purchase(request, lead_id))
            }
            _ => ProviderResponse::refusal(404, "Not found."),
        }
    }

    /// Applies a request, unless its idempotency key was seen before. Then nothing changes and the
    /// stored response is returned.
    fn once(
        &mut self,
        request: &ProviderRequest<'_>,
        apply: impl FnOnce(&mut Self, &ProviderRequest<'_>) -> ProviderResponse,
    ) -> ProviderResponse {
        let Some(key) = request.received.header("idempotency-key") else {
            return apply(self, request);
        };
        if let Some(response) = self.responded.get(key) {
            let note = "repeated Idempotency-Key ignored".to_owned();
            return ProviderResponse { note, ..response.clone() };
        }
        let response = apply(self, request);
        if response.is_success() {
            self.responded.insert(key.to_owned(), response.clone());
        }
        response
    }

    fn webhook(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let Some(external_id) = request.text("external_id") else {
            return ProviderResponse::refusal(422, "external_id is required.");
        };
        let (id, _, note) = self.upsert(request, external_id);
        ProviderResponse::json(200, json!({"id": id}), note)
    }

    fn list(&self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let asked = request.received.query.get("external_id");
        let found: Vec<Value> = self
            .contacts
            .iter()
            .filter(|(external_id, _)| asked.is_none_or(|asked| asked == *external_id))
            .map(|(_, contact)| contact.shown())
            .collect();
        let note = format!("found {}", found.len());
        ProviderResponse::json(200, json!({"contacts": found}), note)
    }

    fn create(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let Some(external_id) = request.text("external_id") else {
            return ProviderResponse::refusal(422, "external_id is required.");
        };
        if self.contacts.contains_key(external_id) {
            return ProviderResponse::refusal(409, "A contact with this external_id exists.");
        }
        let (id, _, note) = self.upsert(request, external_id);
        ProviderResponse::json(201, json!({"id": id}), note)
    }

    fn update(&mut self, request: &ProviderRequest<'_>, id: &str) -> ProviderResponse {
        let Some((external_id, _)) = self.contacts.iter().find(|(_, contact)| contact.id == id)
        else {
            return ProviderResponse::refusal(404, "Contact not found.");
        };
        if request.object().is_none() {
            return ProviderResponse::refusal(422, "The body must be a JSON object.");
        }
        let external_id = external_id.clone();
        if request.text("external_id").is_some_and(|sent| sent != external_id) {
            return ProviderResponse::refusal(422, "external_id cannot be changed.");
        }
        let (id, _, note) = self.upsert(request, &external_id);
        ProviderResponse::json(200, json!({"id": id}), note)
    }

    fn lead(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let Some(lead_id) = request.text("lead_id") else {
            return ProviderResponse::refusal(422, "lead_id is required.");
        };
        let (id, created, note) = self.upsert(request, lead_id);
        if created {
            ProviderResponse::json(201, json!({"id": id, "status": "created"}), note)
        } else {
            ProviderResponse::json(200, json!({"id": id, "status": "updated"}), note)
        }
    }

    fn purchase(&mut self, request: &ProviderRequest<'_>, lead_id: &str) -> ProviderResponse {
        let Some(transaction) = request.object().and_then(|body| body.get("transaction")) else {
            return ProviderResponse::refusal(422, "transaction is required.");
        };
        let Some(contact) = self.contacts.get_mut(lead_id) else {
            return ProviderResponse::refusal(404, "Lead not found.");
        };
        contact.purchases.push(transaction.clone());
        let stage = request.text("stage").unwrap_or("customer");
        contact.fields.insert("stage".to_owned(), Value::from(stage));
        let note =
            format!("recorded purchase {} of contact {}", contact.purchases.len(), contact.id);
        ProviderResponse::json(200, json!({"id": contact.id, "status": stage}), note)
    }

    /// Merges the body into the contact and starts its automations. Returns the contact's id,
    /// whether the contact is new, and a note.
    fn upsert(
        &mut self,
        request: &ProviderRequest<'_>,
        external_id: &str,
    ) -> (String, bool, String) {
        let created = !self.contacts.contains_key(external_id);
        let contact = self.contacts.entry(external_id.to_owned()).or_default();
        if created {
            self.last_id += 1;
            contact.id = self.last_id.to_string();
        }
        let body = request.object().cloned().unwrap_or_default();
        let first = request
            .received
            .header("idempotency-key")
            .is_none_or(|key| self.triggered.insert(key.to_owned()));
        let triggers: Vec<&str> = body
            .get("automation_triggers")
            .and_then(Value::as_array)
            .filter(|_| first)
            .map(|triggers| triggers.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        for trigger in &triggers {
            *contact.triggers.entry((*trigger).to_owned()).or_default() += 1;
        }
        let verb = if created { "created" } else { "updated" };
        let mut note = format!("{verb} contact {}", contact.id);
        if !triggers.is_empty() {
            note = format!("{note}, started {}", triggers.join(", "));
        }
        // A request cannot set the CRM's own id.
        merge(&mut contact.fields, body.into_iter().filter(|(name, _)| name != "id"));
        (contact.id.clone(), created, note)
    }
}

/// Merges objects member by member. Values that are not objects are replaced.
fn merge(into: &mut Map<String, Value>, from: impl IntoIterator<Item = (String, Value)>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(members)), Value::Object(more)) => merge(members, more),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

impl Providers {
    /// The CRM's contact with this `external_id` or `lead_id`, including the CRM's own `id`.
    pub fn crm_contact(&self, external_id: &str) -> Option<Value> {
        self.read(|world| world.crm.contacts.get(external_id).map(Contact::shown))
    }

    /// How many contacts the CRM has.
    pub fn crm_contact_count(&self) -> usize {
        self.read(|world| world.crm.contacts.len())
    }

    /// How often each automation was started for this contact.
    pub fn crm_triggers(&self, external_id: &str) -> BTreeMap<String, u32> {
        self.read(|world| {
            let contact = world.crm.contacts.get(external_id);
            contact.map(|contact| contact.triggers.clone()).unwrap_or_default()
        })
    }

    /// The transactions that `POST /leads/{lead_id}/purchase` recorded, including repeated ones.
    pub fn crm_purchases(&self, lead_id: &str) -> Vec<Value> {
        self.read(|world| {
            let contact = world.crm.contacts.get(lead_id);
            contact.map(|contact| contact.purchases.clone()).unwrap_or_default()
        })
    }
}
