//! A simulated Stripe: what is paid on `/pagamento`, given back and disputed there, and the signed webhooks about
//! it.
//!
//! The webhooks have Stripe's format (`docs/providers.md`, "Stripe") and are sent to `stripe-webhook`. Payments
//! are kept in memory only. This module must not know what Funil does with a webhook.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use funil_core::provider::stripe;
use funil_core::settings::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Shared, functions_route};

/// The function that receives the webhooks.
const WEBHOOK: &str = "stripe-webhook";
/// The version of the API whose format the webhooks have.
const API_VERSION: &str = "2026-07-29.dahlia";

/// All payments, in the order in which they were tried.
#[derive(Debug, Default)]
pub(super) struct Checkout(Mutex<Vec<Payment>>);

/// One payment, in centavos.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    id: String,
    name: String,
    email: String,
    lead_id: Option<String>,
    product: Product,
    amount: i64,
    refunded: i64,
    tried_at: Timestamp,
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Declined,
    Paid,
    Disputed,
    Lost,
}

/// What the page sells.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Product {
    Workshop,
    Mentoring,
    Enterprise,
}

impl Product {
    /// Its price in centavos, id, name, kind and tier, as the site would write them into the payment.
    const fn described(self) -> (i64, [&'static str; 4]) {
        match self {
            Self::Workshop => (9_700, ["oficina", "Oficina do dia livre", "oficina", "basic"]),
            Self::Mentoring => {
                (99_700, ["mentoria-seja-livre", "Mentoria Seja Livre", "mentoria", "premium"])
            }
            Self::Enterprise => {
                (499_700, ["mentoria-equipe", "Mentoria com a equipe", "mentoria", "enterprise"])
            }
        }
    }
}

/// An action of a person on the page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Action {
    /// Pays, or is declined.
    Pay(NewPayment),
    /// Gives a part of a payment back, or all that is left of it.
    Refund {
        /// The id of the payment in the simulated Stripe.
        id: String,
        /// Whether all that is left is given back, and not a part.
        #[serde(default)]
        all: bool,
    },
    /// Disputes a payment at the bank.
    Dispute {
        /// The id of the payment in the simulated Stripe.
        id: String,
    },
    /// The bank decides for the payer.
    LoseDispute {
        /// The id of the payment in the simulated Stripe.
        id: String,
    },
}

/// The details of a new payment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewPayment {
    name: String,
    email: String,
    #[serde(default)]
    lead_id: Option<String>,
    product: Product,
    /// Whether the bank declines it.
    #[serde(default)]
    declined: bool,
}

/// The payments, newest first.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let mut paid = shared.checkout.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    paid.reverse();
    Json(json!({"payments": paid}))
}

/// Applies an action and sends the webhooks that Stripe would send. The response has the status with which
/// Funil responded to each.
pub(super) async fn act(State(shared): State<Arc<Shared>>, Json(action): Json<Action>) -> Response {
    let now = shared.platform.clock.now();
    let id = shared.platform.entropy.uuid_v4().simple().to_string();
    let Some(webhooks) = shared.checkout.apply(action, &id, now) else {
        return (StatusCode::NOT_FOUND, "There is no such payment that this can be done with.\n")
            .into_response();
    };
    let mut sent = Vec::new();
    for webhook in webhooks {
        let body = webhook.to_string();
        let key = Secret::new(shared.environment.variable("STRIPE_WEBHOOK_SECRET"));
        let signature = stripe::sign(body.as_bytes(), &key, now);
        let header = stripe::SIGNATURE_HEADER;
        let status =
            functions_route::webhook(&shared, WEBHOOK, header, &signature, body).await.as_u16();
        sent.push(json!({"event": webhook["type"], "status": status}));
    }
    Json(json!({"webhooks": sent})).into_response()
}

impl Checkout {
    /// The webhooks of an action. `None` if its payment does not stand as it needs.
    fn apply(&self, action: Action, id: &str, now: Timestamp) -> Option<Vec<Value>> {
        let mut payments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let event = |kind: &str, object: Value| event(kind, &object, id, now);
        Some(match action {
            Action::Pay(new) => {
                let (amount, _) = new.product.described();
                let payment = Payment {
                    id: format!("pi_{id}"),
                    name: new.name,
                    email: new.email,
                    lead_id: new.lead_id,
                    product: new.product,
                    amount,
                    refunded: 0,
                    tried_at: now,
                    status: if new.declined { Status::Declined } else { Status::Paid },
                };
                let webhooks = if new.declined {
                    vec![event("payment_intent.payment_failed", intent(&payment))]
                } else {
                    vec![
                        event("payment_intent.succeeded", intent(&payment)),
                        event("checkout.session.completed", session(&payment)),
                    ]
                };
                payments.push(payment);
                webhooks
            }
            Action::Refund { id, all } => {
                let payment = find(&mut payments, &id, Status::Paid)
                    .filter(|one| one.refunded < one.amount)?;
                let left = payment.amount - payment.refunded;
                payment.refunded += if all { left } else { left.min(payment.amount / 4) };
                vec![event("charge.refunded", charge(payment))]
            }
            Action::Dispute { id } => {
                let payment = find(&mut payments, &id, Status::Paid)?;
                payment.status = Status::Disputed;
                vec![event("charge.dispute.created", dispute(payment, "needs_response"))]
            }
            Action::LoseDispute { id } => {
                let payment = find(&mut payments, &id, Status::Disputed)?;
                payment.status = Status::Lost;
                vec![event("charge.dispute.closed", dispute(payment, "lost"))]
            }
        })
    }
}

/// A payment that stands as an action needs.
fn find<'p>(payments: &'p mut [Payment], id: &str, is: Status) -> Option<&'p mut Payment> {
    payments.iter_mut().find(|one| one.id == id && one.status == is)
}

fn event(kind: &str, object: &Value, id: &str, now: Timestamp) -> Value {
    json!({
        "id": format!("evt_{id}_{}", kind.replace('.', "_")),
        "object": "event",
        "api_version": API_VERSION,
        "created": now.as_second(),
        "livemode": true,
        "pending_webhooks": 1,
        "request": {"id": null, "idempotency_key": null},
        "type": kind,
        "data": {"object": object},
    })
}

/// What the site writes into the payment.
fn metadata(payment: &Payment) -> Value {
    let (_, [id, name, kind, tier]) = payment.product.described();
    let mut metadata = json!({
        "service_id": id, "service_name": name, "service_type": kind, "pricing_tier": tier,
    });
    if let Some(lead_id) = &payment.lead_id {
        metadata["lead_id"] = json!(lead_id);
    }
    metadata
}

fn intent(payment: &Payment) -> Value {
    let declined = payment.status == Status::Declined;
    let error = json!({
        "charge": payment.id.replacen("pi_", "ch_", 1),
        "code": "card_declined",
        "decline_code": "insufficient_funds",
        "type": "card_error",
    });
    json!({
        "id": payment.id,
        "object": "payment_intent",
        "amount": payment.amount,
        "amount_received": if declined { 0 } else { payment.amount },
        "currency": "brl",
        "latest_charge": payment.id.replacen("pi_", "ch_", 1),
        "last_payment_error": declined.then_some(error),
        "metadata": metadata(payment),
        "payment_method_types": ["card"],
        "receipt_email": payment.email,
        "status": if declined { "requires_payment_method" } else { "succeeded" },
    })
}

fn session(payment: &Payment) -> Value {
    json!({
        "id": payment.id.replacen("pi_", "cs_", 1),
        "object": "checkout.session",
        "amount_total": payment.amount,
        "client_reference_id": payment.lead_id,
        "currency": "brl",
        "customer_details": {"email": payment.email, "name": payment.name},
        "metadata": metadata(payment),
        "mode": "payment",
        "payment_intent": payment.id,
        "payment_status": "paid",
        "status": "complete",
    })
}

fn charge(payment: &Payment) -> Value {
    json!({
        "id": payment.id.replacen("pi_", "ch_", 1),
        "object": "charge",
        "amount": payment.amount,
        "amount_refunded": payment.refunded,
        "billing_details": {"email": payment.email, "name": payment.name},
        "currency": "brl",
        "metadata": metadata(payment),
        "payment_intent": payment.id,
        "refunded": payment.refunded == payment.amount,
    })
}

fn dispute(payment: &Payment, status: &str) -> Value {
    json!({
        "id": payment.id.replacen("pi_", "dp_", 1),
        "object": "dispute",
        "amount": payment.amount,
        "charge": payment.id.replacen("pi_", "ch_", 1),
        "currency": "brl",
        "payment_intent": payment.id,
        "reason": "fraudulent",
        "status": status,
    })
}
