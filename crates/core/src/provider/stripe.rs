//! Stripe's webhooks: verified, and parsed into reports about payments.
//!
//! Owns Stripe's signature header, its event names, and what identifies a report; what an object says, in all
//! API versions since 2020-08-27, is in `stripe/report.rs`. The facts are in `docs/providers.md` ("Stripe"). This
//! module must not know how the payer's lead is found, nor what a payment adds up to.

mod report;

use jiff::Timestamp;
use serde_json::Value;

use self::report::{Report, id_of, text};
use super::{NotSigned, NotUnderstood, Verified, event_name};
use crate::event::{DisputeStatus, EventData, Mode, Payer, TransactionId};
use crate::id::{EventId, LeadId};
use crate::json;
use crate::provider::signature;
use crate::settings::Secret;

/// The provider's name in receipts, event ids and the quarantine.
pub const NAME: &str = "stripe";
/// The header with the signature: `t=<unix seconds>,v1=<hex>`.
pub const SIGNATURE_HEADER: &str = "stripe-signature";
/// By how much the signature's time may differ from ours, in seconds: the default of Stripe's own
/// libraries, which allow it in the past only; we allow it in both directions.
pub const TOLERANCE_S: i64 = 300;

/// The events to ask Stripe for.
pub const EVENTS: [&str; 9] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.closed",
    "invoice.paid",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "customer.subscription.created",
];

/// The content of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A report about a payment.
    Payment(Box<PaymentUpdate>),
    /// The name of an event type that is not handled, cut and stripped so that it can be logged.
    Other(String),
}

/// A report about a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentUpdate {
    /// What identifies the report: its type, its object, and what separates two reports of one object. Stripe's
    /// event id is not used, because Stripe may send one change as two events with different ids.
    pub id: EventId,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The lead id that the site wrote into the payment.
    pub named: Option<LeadId>,
    /// Who paid.
    pub payer: Payer,
    /// Stripe's id of the customer.
    pub customer: Option<TransactionId>,
    /// Stripe's ids of the payment: what further reports may name it by.
    pub objects: Vec<TransactionId>,
    /// What happened.
    pub data: EventData,
}

/// Verifies that the raw body is signed with any of the keys, at most [`TOLERANCE_S`] from now. As in
/// Stripe's own libraries a signature is lower-case hex; a header with two timestamps is refused.
pub fn verify<'b>(
    body: &'b [u8],
    header: Option<&str>,
    keys: &[Secret],
    now: Timestamp,
) -> Result<Verified<'b>, NotSigned> {
    let parts =
        header.unwrap_or_default().split(',').filter_map(|part| part.trim().split_once('='));
    let mut times = 0;
    for (name, value) in parts {
        let is_capital = name == "v1" && value.bytes().any(|byte| byte.is_ascii_uppercase());
        times += usize::from(name == "t");
        if is_capital || times > 1 {
            return Err(NotSigned);
        }
    }
    signature::verify_with_time(body, header, keys, now, TOLERANCE_S)
}

/// The header that Stripe would send with a body. Used for samples and tests.
pub fn sign(body: &[u8], key: &Secret, now: Timestamp) -> String {
    signature::sign_with_time(body, key, now)
}

/// Writes a lead's id into a webhook's body as if the site had written it into the payment. Returns
/// whether the body has a place for it.
pub fn name_lead(body: &mut Value, lead: LeadId) -> bool {
    let Some(Value::Object(object)) = body.pointer_mut("/data/object") else { return false };
    let metadata = object.entry("metadata").or_insert(Value::Null);
    if !metadata.is_object() {
        *metadata = Value::Object(serde_json::Map::new());
    }
    metadata["lead_id"] = Value::String(lead.to_string());
    true
}

/// What becomes of the events of Stripe's test mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TestEvents {
    /// They are kept, count for nothing, and nothing is sent to a destination.
    #[default]
    Keep,
    /// They are treated as live ones.
    Deliver,
}

/// Parses a verified webhook.
pub fn parse(
    Verified(body): Verified<'_>,
    test_events: TestEvents,
) -> Result<Parsed, NotUnderstood> {
    let body = json::parse(body).map_err(|_| NotUnderstood("invalid_json"))?;
    if text(&body, "object") != Some("event") {
        // A thin event (`v2.core.event`) names an object and does not hold it.
        return Err(NotUnderstood("not_a_snapshot_event"));
    }
    let name = text(&body, "type").ok_or(NotUnderstood("without_type"))?;
    let Some(topic) = Topic::of(name) else { return Ok(Parsed::Other(event_name(name))) };
    let event_id = text(&body, "id").ok_or(NotUnderstood("without_id"))?;
    let occurred_at = seconds(&body, "created").ok_or(NotUnderstood("without_created"))?;
    let mode = match (body.get("livemode").and_then(Value::as_bool), test_events) {
        (Some(true), _) => Mode::Live,
        (Some(false), TestEvents::Keep) => Mode::Test,
        (Some(false), TestEvents::Deliver) => Mode::TestDelivered,
        (None, _) => return Err(NotUnderstood("without_livemode")),
    };
    let object = body.pointer("/data/object").filter(|object| object.is_object());
    let object = object.ok_or(NotUnderstood("without_object"))?;
    let report = Report { object, mode, occurred_at };
    let id = text(object, "id").ok_or(NotUnderstood("without_object_id"))?;
    let (data, discriminator): (EventData, Option<String>) = match topic {
        Topic::IntentSucceeded => (report.intent()?.into(), None),
        Topic::IntentFailed => {
            // Each try that reached the bank has a charge of its own; of others each report counts.
            let charge = report.failed_charge().unwrap_or(event_id);
            (report.failure()?.into(), Some(charge.to_owned()))
        }
        Topic::InvoicePaid => (report.invoice()?.into(), None),
        Topic::CheckoutCompleted => (report.checkout()?, None),
        Topic::Refunded => {
            let refund = report.refund()?;
            let refunded = refund.refunded.minor.to_string();
            (refund.into(), Some(refunded))
        }
        Topic::DisputeCreated => (report.dispute(DisputeStatus::Opened)?.into(), None),
        Topic::DisputeClosed => {
            let status = match text(object, "status") {
                Some("won") => DisputeStatus::Won,
                Some("lost") => DisputeStatus::Lost,
                Some("warning_closed") => DisputeStatus::WarningClosed,
                Some(_) | None => return Err(NotUnderstood("without_dispute_status")),
            };
            (report.dispute(status)?.into(), None)
        }
        Topic::SubscriptionCreated => (report.subscription()?.into(), None),
    };
    // The two names of a paid invoice are one report.
    let kind = if topic == Topic::InvoicePaid { "invoice.paid" } else { name };
    let identity = [Some(kind), Some(id), discriminator.as_deref()];
    let identity: Vec<&str> = identity.into_iter().flatten().collect();
    Ok(Parsed::Payment(Box::new(PaymentUpdate {
        id: EventId::of_provider(NAME, &identity.join(":")),
        occurred_at,
        named: report.lead_id(),
        payer: report.payer(),
        customer: id_of(object.get("customer")),
        objects: report.objects(),
        data,
    })))
}

/// The events of Stripe's that are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Topic {
    IntentSucceeded,
    IntentFailed,
    InvoicePaid,
    CheckoutCompleted,
    Refunded,
    DisputeCreated,
    DisputeClosed,
    SubscriptionCreated,
}

impl Topic {
    fn of(name: &str) -> Option<Self> {
        match name {
            "payment_intent.succeeded" => Some(Self::IntentSucceeded),
            "payment_intent.payment_failed" => Some(Self::IntentFailed),
            "invoice.paid" | "invoice.payment_succeeded" => Some(Self::InvoicePaid),
            // With Pix, boleto and other delayed methods the money comes after the checkout.
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
                Some(Self::CheckoutCompleted)
            }
            "charge.refunded" => Some(Self::Refunded),
            "charge.dispute.created" => Some(Self::DisputeCreated),
            "charge.dispute.closed" => Some(Self::DisputeClosed),
            "customer.subscription.created" => Some(Self::SubscriptionCreated),
            _ => None,
        }
    }
}

fn seconds(object: &Value, name: &str) -> Option<Timestamp> {
    Timestamp::from_second(object.get(name)?.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contact::Email;
    use crate::event::{Extent, PaymentEvent, PaymentSucceeded, ReportedBy};
    use crate::pii::Text;

    const SECRET: &str = "whsec_test_secret";
    const AT: i64 = 1_700_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn is_signed(body: &str, header: &str, keys: &[&str], now: i64) -> bool {
        let keys: Vec<Secret> = keys.iter().map(|key| Secret::new(*key)).collect();
        verify(body.as_bytes(), Some(header), &keys, at(now)).is_ok()
    }

    /// The vectors of Stripe's own libraries for Node and Python, which agree.
    #[test]
    fn the_vectors_of_stripes_libraries_are_recognised() {
        let plain = "{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\"\n}";
        let header =
            "t=1700000000,v1=4f1cd7feda9826e746b7d482c4badebb657398df1099e1046364f6196a230150";
        assert!(is_signed(plain, header, &[SECRET], AT));
        assert!(!is_signed(&format!("{plain}\n"), header, &[SECRET], AT), "a new line at the end");
        let accents = r#"{"id":"evt_1","object":"event","note":"ação é válida","amount":9900}"#;
        let new = "45eb0c19ece40ca49d5b45ebc885ec0c3731306060a52425740d5f07c20bc042";
        let old = "86a38b97318fcb3771aff2230cc6bdc873b30a314c389582d66c385b899696fb";
        let rotation = format!("t={AT},v1={old},v1={new},v0=deadbeef");
        for keys in [&[SECRET][..], &["whsec_old_secret"], &["whsec_old_secret", SECRET]] {
            assert!(is_signed(accents, &rotation, keys, AT), "{keys:?}");
        }
        assert!(!is_signed(accents, &rotation, &["whsec_another"], AT));
        let body_only = "b5e3ba02cea595991eeed47583ad2c10d691011d035a8fdf0354276bf8701411";
        for header in [
            format!("t={AT},v0={new}"),
            format!("v1={new}"),
            format!("t={AT}"),
            format!("t={AT},v1={body_only}"),
            format!("t={AT},v1={}", new.to_ascii_uppercase()),
            format!("t={AT},t={AT},v1={new}"),
            format!("t={},v1={new}", AT + 1),
            format!("t=x,v1={new}"),
            String::new(),
        ] {
            assert!(!is_signed(accents, &header, &[SECRET], AT), "{header}");
        }
    }

    #[test]
    fn a_signature_is_five_minutes_old_or_early_at_most() {
        let header = sign(b"{}", &Secret::new(SECRET), at(AT));
        for (now, expected) in
            [(AT - 301, false), (AT - 300, true), (AT, true), (AT + 300, true), (AT + 301, false)]
        {
            assert_eq!(is_signed("{}", &header, &[SECRET], now), expected, "{}", now - AT);
        }
    }

    fn event(kind: &str, object: &Value) -> Value {
        json!({
            "id": "evt_1", "object": "event", "api_version": "2026-07-29.dahlia", "created": AT,
            "livemode": true, "type": kind, "data": {"object": object},
        })
    }

    fn read(event: &Value) -> Result<Parsed, NotUnderstood> {
        parse(Verified(event.to_string().as_bytes()), TestEvents::Keep)
    }

    fn update(event: &Value) -> PaymentUpdate {
        match read(event).unwrap() {
            Parsed::Payment(update) => *update,
            Parsed::Other(name) => panic!("{name} is not handled"),
        }
    }

    const LEAD: &str = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";

    fn intent() -> Value {
        json!({
            "id": "pi_1", "object": "payment_intent", "amount": 19_700, "amount_received": 19_700,
            "currency": "brl", "customer": "cus_1", "latest_charge": "ch_1",
            "payment_method_types": ["pix"], "receipt_email": "ana@example.com",
            "metadata": {
                "lead_id": LEAD, "service_id": "mentoria", "service_name": "Mentoria Individual",
                "pricing_tier": "premium", "utm_source": "instagram",
            },
        })
    }

    fn succeeded(update: &PaymentUpdate) -> &PaymentSucceeded {
        let EventData::Payment(PaymentEvent::Succeeded(paid)) = &update.data else {
            panic!("{:?}", update.data)
        };
        paid
    }

    #[test]
    fn a_payment_says_how_much_of_what_and_whose_it_is() {
        let update = update(&event("payment_intent.succeeded", &intent()));
        assert_eq!(update.id.as_str(), "stripe:payment_intent.succeeded:pi_1");
        assert_eq!(update.named.map(|id| id.to_string()).as_deref(), Some(LEAD));
        assert_eq!(update.payer.email, Email::parse("ana@example.com").ok());
        assert_eq!(update.customer, TransactionId::parse("cus_1"));
        let objects: Vec<&str> = update.objects.iter().map(TransactionId::as_str).collect();
        assert_eq!(objects, ["ch_1", "pi_1"]);
        let paid = succeeded(&update);
        assert_eq!(paid.amount.to_string(), "197.00 BRL");
        assert_eq!((paid.mode, paid.reported_by), (Mode::Live, ReportedBy::Payment));
        assert_eq!(paid.method.as_deref(), Some("pix"));
        assert_eq!(paid.purchase.pricing_tier.as_deref(), Some("premium"));
        assert_eq!(paid.purchase.utm.source, Some(Text::from("instagram")));
    }

    #[test]
    fn old_and_new_formats_say_the_same() {
        let mut old = intent();
        old["latest_charge"] = Value::Null;
        old["receipt_email"] = Value::Null;
        old["invoice"] = json!("in_1");
        old["charges"] = json!({"data": [{
            "id": "ch_1", "billing_details": {"email": "ana@example.com", "name": "Ana"},
            "payment_method_details": {"type": "card"},
        }]});
        let update = update(&event("payment_intent.succeeded", &old));
        assert_eq!(update.payer.email, Email::parse("ana@example.com").ok());
        assert!(update.objects.contains(&TransactionId::parse("ch_1").unwrap()));
        let paid = succeeded(&update);
        assert_eq!(paid.reported_by, ReportedBy::PaymentOfInvoice);
        assert_eq!(paid.method.as_deref(), Some("card"));

        for subscription in [
            json!({"subscription": "sub_1", "subscription_details": {"metadata": {"lead_id": LEAD}}}),
            json!({"parent": {"subscription_details": {
                "subscription": "sub_1", "metadata": {"lead_id": LEAD}}}}),
        ] {
            let mut invoice = json!({"id": "in_1", "amount_paid": 9_900, "currency": "brl",
                "customer_email": "ana@example.com", "metadata": {}});
            invoice.as_object_mut().unwrap().extend(subscription.as_object().unwrap().clone());
            let one = self::update(&event("invoice.paid", &invoice));
            let other = self::update(&event("invoice.payment_succeeded", &invoice));
            assert_eq!(one.id, other.id, "two names of one report");
            assert!(one.named.is_some());
            assert!(one.objects.contains(&TransactionId::parse("sub_1").unwrap()));
            assert_eq!(succeeded(&one).reported_by, ReportedBy::Invoice);
        }
    }

    #[test]
    fn two_partial_refunds_of_a_charge_are_two_reports_and_a_repetition_is_none() {
        let refund = |refunded: i64, is_full: bool| {
            let charge = json!({"id": "ch_1", "payment_intent": "pi_1", "amount": 19_700,
                "amount_refunded": refunded, "refunded": is_full, "currency": "brl"});
            update(&event("charge.refunded", &charge))
        };
        let (first, second) = (refund(5_000, false), refund(19_700, true));
        assert_ne!(first.id, second.id);
        assert_eq!(first.id, refund(5_000, false).id);
        let EventData::Payment(PaymentEvent::Refunded(second)) = &second.data else { panic!() };
        assert_eq!(second.refunded.to_string(), "197.00 BRL");
        assert_eq!(second.extent, Extent::Full);
        assert_eq!(second.transaction.as_str(), "pi_1");
    }

    #[test]
    fn each_try_that_failed_is_a_report_of_its_own() {
        let failed = |charge: Value, event_id: &str| {
            let mut intent = intent();
            intent["last_payment_error"] = json!({"code": "card_declined", "charge": charge,
                "decline_code": "insufficient_funds"});
            let mut event = event("payment_intent.payment_failed", &intent);
            event["id"] = json!(event_id);
            update(&event)
        };
        let first = failed(json!("ch_1"), "evt_1");
        assert_eq!(first.id, failed(json!("ch_1"), "evt_2").id);
        assert_ne!(first.id, failed(json!("ch_2"), "evt_3").id);
        assert_ne!(failed(Value::Null, "evt_4").id, failed(Value::Null, "evt_5").id);
        let EventData::Payment(PaymentEvent::Failed(failed)) = &first.data else { panic!() };
        assert_eq!(failed.decline_code.as_deref(), Some("insufficient_funds"));
    }

    #[test]
    fn a_dispute_is_what_its_status_says() {
        for (kind, status, expected) in [
            ("charge.dispute.created", "needs_response", Some(DisputeStatus::Opened)),
            ("charge.dispute.closed", "won", Some(DisputeStatus::Won)),
            ("charge.dispute.closed", "lost", Some(DisputeStatus::Lost)),
            ("charge.dispute.closed", "warning_closed", Some(DisputeStatus::WarningClosed)),
            ("charge.dispute.closed", "on_hold", None),
        ] {
            let dispute = json!({"id": "dp_1", "charge": "ch_1", "payment_intent": "pi_1",
                "amount": 19_700, "currency": "brl", "reason": "fraudulent", "status": status});
            let found = match read(&event(kind, &dispute)) {
                Ok(Parsed::Payment(update)) => {
                    let EventData::Payment(PaymentEvent::Disputed(found)) = update.data else {
                        panic!("{kind}")
                    };
                    Some(found.status)
                }
                Ok(Parsed::Other(_)) => panic!("{kind}"),
                Err(NotUnderstood(_)) => None,
            };
            assert_eq!(found, expected, "{kind} {status}");
        }
    }

    #[test]
    fn what_is_not_handled_is_named_and_what_is_broken_is_not_understood() {
        let other = read(&event("customer.created", &json!({"id": "cus_1"})));
        assert_eq!(other, Ok(Parsed::Other("customer.created".to_owned())));
        let unpaid = json!({"id": "cs_1", "payment_status": "unpaid", "payment_intent": "pi_1"});
        let unpaid = update(&event("checkout.session.completed", &unpaid));
        assert_eq!(unpaid.data.name(), "checkout_completed");
        assert!(unpaid.objects.contains(&TransactionId::parse("pi_1").unwrap()));
        let paid = json!({"id": "cs_1", "payment_status": "paid", "payment_intent": "pi_1",
            "amount_total": 19_700, "currency": "brl", "client_reference_id": LEAD});
        let paid = update(&event("checkout.session.completed", &paid));
        assert!(paid.named.is_some());
        assert_eq!(succeeded(&paid).reported_by, ReportedBy::Checkout);
        // Whoever pays by a link can write this; with a derived id and no e-mail nobody can tell whose it is.
        let mut derived = json!({"id": "cs_1", "payment_status": "paid", "payment_intent": "pi_1",
            "amount_total": 19_700, "currency": "brl",
            "client_reference_id": "708231e0-b004-813a-829e-82a94d4b1a88"});
        let late = event("checkout.session.async_payment_succeeded", &derived);
        assert_eq!(update(&late).named, None);
        derived["customer_details"] = json!({"email": "ana@example.com"});
        assert!(update(&event("checkout.session.completed", &derived)).named.is_some());
        let mut thin = event("payment_intent.succeeded", &intent());
        thin["object"] = json!("v2.core.event");
        let without = |pointer: &str| {
            let mut event = event("payment_intent.succeeded", &intent());
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let parent = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            parent.remove(name);
            event
        };
        for (event, expected) in [
            (thin, "not_a_snapshot_event"),
            (without("/livemode"), "without_livemode"),
            (without("/created"), "without_created"),
            (without("/type"), "without_type"),
            (without("/data/object/id"), "without_object_id"),
            (without("/data/object/currency"), "without_currency"),
            (json!({"object": "event", "type": "invoice.paid"}), "without_id"),
        ] {
            assert_eq!(read(&event), Err(NotUnderstood(expected)));
        }
    }

    #[test]
    fn what_stripe_is_asked_for_is_handled() {
        for name in EVENTS {
            assert!(Topic::of(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_subscription_has_its_plan_and_no_payment() {
        let subscription = json!({"id": "sub_1", "customer": "cus_1", "metadata": {"lead_id": LEAD},
            "items": {"data": [{"quantity": 2, "price":
                {"id": "price_1", "unit_amount": 4_950, "currency": "brl"}}]}});
        let update = update(&event("customer.subscription.created", &subscription));
        let EventData::Payment(PaymentEvent::SubscriptionStarted(started)) = &update.data else {
            panic!()
        };
        assert_eq!(started.plan.as_deref(), Some("price_1"));
        assert_eq!(started.price.map(|price| price.to_string()).as_deref(), Some("99.00 BRL"));
    }
}
