//! Simulated CRMs: what a seller does on `/crm`, and the webhooks about it with their tokens.
//!
//! Contact2Sale reports its leads, and a CRM that lets its owner choose what it sends reports deals
//! (`docs/endpoints.md`). Nothing is kept here. This module must not know what Funil does with a webhook.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use funil_core::hash::sha256_hex;
use funil_core::provider::{Verified, c2s, deals};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, functions_route};
use crate::simulated::Person;

/// What a seller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    LeadCreated,
    LeadUpdated,
    LeadClosed,
    DealQualified,
    DealCommitted,
}

/// What a seller does, and with whom.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Done {
    action: Action,
    name: String,
    email: String,
    #[serde(default)]
    phone: String,
    /// A CPF, which Contact2Sale sends along.
    #[serde(default)]
    cpf: String,
}

/// Makes the simulated sources know the people whom Contact2Sale reports.
pub(super) fn make_known(shared: &Shared, reported: &[u8]) {
    for part in c2s::parse(Verified::released(reported)).unwrap_or_default() {
        let Ok(report) = part.event else { continue };
        let Some(name) = report.lead.name else { continue };
        shared.providers.know_person(Person {
            name: name.expose().to_owned(),
            phone: report.lead.phone.map(|one| one.as_str().to_owned()).unwrap_or_default(),
            email: report.lead.email.map(|one| one.as_str().to_owned()).unwrap_or_default(),
            cpf: report.lead.cpf.map(|one| one.as_str().to_owned()).unwrap_or_default(),
        });
    }
}

/// Sends the webhook that a CRM would send. The response has the status and the body of Funil's.
pub(super) async fn act(State(shared): State<Arc<Shared>>, Json(done): Json<Done>) -> Json<Value> {
    let now = shared.platform.clock.now();
    // The same person has one lead and one deal in each CRM.
    let id = sha256_hex(done.email.trim().to_lowercase().as_bytes())[..12].to_owned();
    let action = match done.action {
        Action::LeadCreated => Some("on_create_lead"),
        Action::LeadUpdated => Some("on_update_lead"),
        Action::LeadClosed => Some("on_close_lead"),
        Action::DealQualified | Action::DealCommitted => None,
    };
    let (function, header, variable, body) = if let Some(action) = action {
        let customer = json!({
            "name": done.name, "email": done.email, "phone": done.phone, "cpf": done.cpf,
        });
        let body = json!({"hook_action": action, "timestamp": now, "data": {
                "type": "lead", "id": id, "attributes": {
                    "customer": customer, "lead_status": {"alias": "novo"}, "updated_at": now}}});
        ("c2s-webhook", c2s::TOKEN_HEADER, "C2S_WEBHOOK_SECRET", body)
    } else {
        let is_qualified = done.action == Action::DealQualified;
        let (first, last) = done.name.split_once(' ').unwrap_or((&done.name, ""));
        let body = json!({"status": "success", "message": "Deal status changed", "data": {
                "dealId": id,
                "customer": {"contactId": id, "firstName": first, "lastName": last,
                    "email": done.email, "phoneNumber": done.phone},
                "dealDetails": {"dealName": "Apartamento em Moema", "dealValue": "950000.00",
                    "currency": "BRL", "status": if is_qualified { "Qualified" } else { "Committed" },
                    "closingDate": "2026-12-15", "updatedAt": now},
                "propertyInformation": {"endereço": "Rua das Flores, 100", "quartos": 3}}});
        ("deal-webhook", deals::KEY_HEADER, "DEAL_API_KEY", body)
    };
    let token = shared.environment.variable(variable).to_owned();
    let status =
        functions_route::webhook(&shared, function, header, &token, body.to_string()).await;
    if status.is_success() {
        let sent = json!({"email": done.email}).to_string();
        functions_route::add_lead(&shared, sent.as_bytes(), b"").await;
    }
    Json(json!({"function": function, "status": status.as_u16()}))
}
