//! Stripe as a caller: the bodies of its webhooks, signed by the world's clock.
//!
//! The payload formats are those of `docs/providers.md` ("Stripe"). It must not know what becomes of a payment.

use funil_core::clock::Clock as _;
use funil_core::provider::stripe;
use funil_core::settings::Secret;
use http::Method;
use serde_json::{Value, json};

use crate::world::{EMAIL, LEAD, Response, World};

/// The site's `STRIPE_WEBHOOK_SECRET`.
pub const STRIPE_SECRET: &str = "tests-stage-stripe-secret";

/// An event of this type about this object, live.
pub fn event(id: &str, kind: &str, object: &Value) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2026-07-29.dahlia", "created": 1_935_835_200,
        "livemode": true, "pending_webhooks": 1, "type": kind, "data": {"object": object},
    })
}

/// A payment of the world's lead, which the site wrote its id into.
pub fn paid(payment: &str, minor: i64) -> Value {
    let intent = json!({
        "id": payment, "object": "payment_intent", "amount": minor, "amount_received": minor,
        "currency": "brl", "customer": "cus_1", "latest_charge": format!("ch_{payment}"),
        "payment_method_types": ["card"], "receipt_email": EMAIL,
        "metadata": {"lead_id": LEAD, "service_id": "mentoria", "pricing_tier": "premium"},
    });
    event(&format!("evt_{payment}"), "payment_intent.succeeded", &intent)
}

/// The checkout of a payment that [`paid`] made, whose payer is the payment's.
pub fn checkout(id: &str, payment: &str, minor: i64, lead: &str, paid: &Value) -> Value {
    let intent = &paid["data"]["object"];
    let session = json!({
        "id": id, "object": "checkout.session", "amount_total": minor, "currency": "brl",
        "client_reference_id": lead, "customer": intent["customer"], "metadata": {},
        "customer_details": {"email": intent["receipt_email"], "name": intent["billing_details"]["name"]},
        "mode": "payment", "payment_intent": payment, "payment_status": "paid",
    });
    event(&format!("evt_{id}"), "checkout.session.completed", &session)
}

/// A try of the world's lead to pay that was refused.
pub fn failed(payment: &str, minor: i64) -> Value {
    let intent = json!({
        "id": payment, "object": "payment_intent", "amount": minor, "currency": "brl",
        "customer": "cus_1", "latest_charge": format!("ch_{payment}"), "receipt_email": EMAIL,
        "last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds",
            "charge": format!("ch_{payment}")},
        "metadata": {"lead_id": LEAD},
    });
    event(&format!("evt_failed_{payment}"), "payment_intent.payment_failed", &intent)
}

/// The beginning of a subscription of the world's lead.
pub fn subscribed(subscription: &str) -> Value {
    let object = json!({
        "id": subscription, "object": "subscription", "customer": "cus_1", "currency": "brl",
        "items": {"data": [{"quantity": 1, "price":
            {"id": "price_1", "unit_amount": 9_900, "currency": "brl"}}]},
        "metadata": {"lead_id": LEAD, "pricing_tier": "premium"},
    });
    event(&format!("evt_{subscription}"), "customer.subscription.created", &object)
}

/// A refund of the payment [`paid`]. `refunded` is the sum of all refunds so far.
pub fn refunded(payment: &str, refunded: i64) -> Value {
    let charge = json!({
        "id": format!("ch_{payment}"), "object": "charge", "amount_refunded": refunded,
        "refunded": false, "currency": "brl", "payment_intent": payment, "metadata": {},
    });
    event(&format!("evt_{payment}_{refunded}"), "charge.refunded", &charge)
}

/// A dispute of it, as it stands.
pub fn disputed(payment: &str, minor: i64, status: &str) -> Value {
    let kind = match status {
        "won" | "lost" | "warning_closed" => "charge.dispute.closed",
        _ => "charge.dispute.created",
    };
    let dispute = json!({
        "id": format!("dp_{payment}"), "object": "dispute", "amount": minor, "currency": "brl",
        "charge": format!("ch_{payment}"), "payment_intent": payment, "reason": "fraudulent",
        "status": status,
    });
    event(&format!("evt_{payment}_{status}"), kind, &dispute)
}

impl World {
    /// Sends a webhook of Stripe's, signed now.
    pub async fn stripe(&self, body: &Value) -> Response {
        let body = body.to_string();
        let signature =
            stripe::sign(body.as_bytes(), &Secret::new(STRIPE_SECRET), self.clock.now());
        self.stripe_signed(&signature, body.as_bytes()).await
    }

    /// Sends bytes to `stripe-webhook` with this signature.
    pub async fn stripe_signed(&self, signature: &str, body: &[u8]) -> Response {
        let headers = [("content-type", "application/json"), (stripe::SIGNATURE_HEADER, signature)];
        self.send("stripe-webhook", Method::POST, &headers, body).await
    }
}
