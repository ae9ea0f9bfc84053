//! One report of Stripe's: what its object says, in the formats of all API versions that we read.
//!
//! Must not know which events there are, nor what identifies a report.

use jiff::Timestamp;
use serde_json::Value;

use super::super::NotUnderstood;
use crate::contact::Email;
use crate::contact::attribution::Utm;
use crate::event::{
    CheckoutCompleted, DisputeStatus, EventData, Extent, Mode, Payer, PaymentDisputed,
    PaymentFailed, PaymentRefunded, PaymentSucceeded, Purchase, ReportedBy, SubscriptionStarted,
    TransactionId,
};
use crate::id::LeadId;
use crate::money::{Currency, Money};
use crate::pii::Text;

const NAME_CHARS_MAX: usize = 200;
/// The longest value of Stripe's metadata is 500 characters; analytics takes 100.
const WORD_CHARS_MAX: usize = 100;

/// One event, with its object.
pub(super) struct Report<'v> {
    pub(super) object: &'v Value,
    pub(super) mode: Mode,
    pub(super) occurred_at: Timestamp,
}

impl<'v> Report<'v> {
    pub(super) fn intent(&self) -> Result<PaymentSucceeded, NotUnderstood> {
        let received = self.money("amount_received").or_else(|_| self.money("amount"))?;
        // Old versions name the invoice or say that there is none; new ones do not know it.
        let reported_by = match self.object.get("invoice") {
            Some(Value::String(_) | Value::Object(_)) => ReportedBy::PaymentOfInvoice,
            Some(_) | None => ReportedBy::Payment,
        };
        Ok(self.succeeded(self.transaction("id")?, received, reported_by))
    }

    pub(super) fn invoice(&self) -> Result<PaymentSucceeded, NotUnderstood> {
        let elsewhere = self.object.get("paid_out_of_band") == Some(&Value::Bool(true));
        let reported_by =
            if elsewhere { ReportedBy::InvoicePaidElsewhere } else { ReportedBy::Invoice };
        // Refunds and disputes name the payment, so an invoice that says which one is kept as it.
        let transaction = match id_of(self.object.get("payment_intent")) {
            Some(intent) => intent,
            None => self.transaction("id")?,
        };
        Ok(self.succeeded(transaction, self.money("amount_paid")?, reported_by))
    }

    /// A checkout: a payment if it was paid. One that waits for its money, or begins a subscription, whose
    /// invoices have the amounts, says whose they will be.
    pub(super) fn checkout(&self) -> Result<EventData, NotUnderstood> {
        let is_paid = text(self.object, "payment_status") == Some("paid");
        let Some(intent) = id_of(self.object.get("payment_intent")).filter(|_| is_paid) else {
            let (checkout, purchase) = (self.transaction("id")?, self.purchase());
            return Ok(CheckoutCompleted { checkout, mode: self.mode, purchase }.into());
        };
        let has_invoice = id_of(self.object.get("invoice")).is_some();
        let reported_by =
            if has_invoice { ReportedBy::PaymentOfInvoice } else { ReportedBy::Checkout };
        Ok(self.succeeded(intent, self.money("amount_total")?, reported_by).into())
    }

    fn succeeded(
        &self,
        transaction: TransactionId,
        amount: Money,
        reported_by: ReportedBy,
    ) -> PaymentSucceeded {
        PaymentSucceeded {
            transaction,
            mode: self.mode,
            amount,
            reported_by,
            payer: self.payer(),
            purchase: self.purchase(),
            method: self.method(),
            paid_at: self.occurred_at,
            counted: None,
        }
    }

    pub(super) fn failure(&self) -> Result<PaymentFailed, NotUnderstood> {
        let error = self.object.get("last_payment_error").unwrap_or(&Value::Null);
        Ok(PaymentFailed {
            transaction: self.transaction("id")?,
            mode: self.mode,
            amount: self.money("amount")?,
            payer: self.payer(),
            purchase: self.purchase(),
            code: word(error, "code"),
            decline_code: word(error, "decline_code"),
        })
    }

    pub(super) fn refund(&self) -> Result<PaymentRefunded, NotUnderstood> {
        let refunded = self.money("amount_refunded")?;
        let is_full = self.object.get("refunded") == Some(&Value::Bool(true));
        Ok(PaymentRefunded {
            transaction: self.paid_transaction()?,
            mode: self.mode,
            refunded,
            counted: None,
            extent: if is_full { Extent::Full } else { Extent::Partial },
            payer: self.payer(),
            purchase: self.purchase(),
        })
    }

    pub(super) fn dispute(&self, status: DisputeStatus) -> Result<PaymentDisputed, NotUnderstood> {
        let charge = || id_of(self.object.get("charge"));
        let transaction = id_of(self.object.get("payment_intent")).or_else(charge);
        Ok(PaymentDisputed {
            transaction: transaction.ok_or(NotUnderstood("without_payment"))?,
            mode: self.mode,
            dispute: self.transaction("id")?,
            amount: self.money("amount")?,
            status,
            counted: None,
            reason: word(self.object, "reason"),
        })
    }

    pub(super) fn subscription(&self) -> Result<SubscriptionStarted, NotUnderstood> {
        let item = self.object.pointer("/items/data/0").unwrap_or(&Value::Null);
        let price = item.get("price").or_else(|| item.get("plan")).unwrap_or(&Value::Null);
        let amount =
            price.get("unit_amount").or_else(|| price.get("amount")).and_then(Value::as_i64);
        let currency = text(price, "currency").or_else(|| text(self.object, "currency"));
        let quantity = item.get("quantity").and_then(Value::as_i64).unwrap_or(1);
        let price_of =
            |(minor, currency): (i64, &str)| money(minor.checked_mul(quantity)?, currency).ok();
        Ok(SubscriptionStarted {
            subscription: self.transaction("id")?,
            mode: self.mode,
            plan: id_of(price.get("id")).map(|id| id.as_str().to_owned()),
            price: amount.zip(currency).and_then(price_of),
            purchase: self.purchase(),
        })
    }

    /// The id in a field of the object, which has to be there.
    fn transaction(&self, name: &str) -> Result<TransactionId, NotUnderstood> {
        id_of(self.object.get(name)).ok_or(NotUnderstood("without_object_id"))
    }

    /// The payment of a charge; old charges have none and are it themselves.
    fn paid_transaction(&self) -> Result<TransactionId, NotUnderstood> {
        match id_of(self.object.get("payment_intent")) {
            Some(intent) => Ok(intent),
            None => self.transaction("id"),
        }
    }

    /// The last charge of a payment, by its id or, in old versions, in a list.
    pub(super) fn charge_of_intent(&self) -> Option<&'v str> {
        let latest = self.object.get("latest_charge");
        let of_error = || self.object.pointer("/last_payment_error/charge");
        let of_list = || self.object.pointer("/charges/data/0");
        latest
            .filter(|charge| !charge.is_null())
            .or_else(of_error)
            .or_else(of_list)
            .and_then(id_text)
    }

    /// The charge of the try that failed. The payment's last charge may be that of an earlier one.
    pub(super) fn failed_charge(&self) -> Option<&'v str> {
        match self.object.get("last_payment_error").filter(|error| error.is_object()) {
            Some(error) => error.get("charge").and_then(id_text),
            None => self.charge_of_intent(),
        }
    }

    /// Every id of the object by which further reports may name the payment.
    pub(super) fn objects(&self) -> Vec<TransactionId> {
        let charge = self.charge_of_intent().and_then(TransactionId::parse);
        let fields = ["id", "payment_intent", "charge", "subscription", "invoice"];
        let named = fields.into_iter().filter_map(|field| id_of(self.object.get(field)));
        let parent = self.object.pointer("/parent/subscription_details/subscription");
        let mut objects: Vec<TransactionId> = named.chain(charge).chain(id_of(parent)).collect();
        objects.sort();
        objects.dedup();
        objects
    }

    fn money(&self, name: &str) -> Result<Money, NotUnderstood> {
        let minor = self.object.get(name).and_then(Value::as_i64);
        self.money_of(minor.ok_or(NotUnderstood("without_amount"))?)
    }

    fn money_of(&self, minor: i64) -> Result<Money, NotUnderstood> {
        money(minor, text(self.object, "currency").ok_or(NotUnderstood("without_currency"))?)
    }

    /// What the site wrote into the payment: of the object itself, or of its subscription.
    fn metadata(&self, name: &str) -> Option<&'v str> {
        let places = [
            "/metadata",
            "/subscription_details/metadata",
            "/parent/subscription_details/metadata",
            "/lines/data/0/metadata",
        ];
        places.into_iter().find_map(|place| text(self.object.pointer(place)?, name))
    }

    pub(super) fn lead_id(&self) -> Option<LeadId> {
        let written = self.metadata("lead_id").and_then(|id| LeadId::parse(id).ok());
        if written.is_some() {
            return written;
        }
        let reference = LeadId::parse(text(self.object, "client_reference_id")?).ok()?;
        // The visitor can write it into a payment link, and anybody can learn a derived id: it needs an
        // e-mail to be compared with.
        let is_comparable = !reference.is_derived() || self.payer().email.is_some();
        is_comparable.then_some(reference)
    }

    pub(super) fn payer(&self) -> Payer {
        let object = self.object;
        let charge = object.pointer("/charges/data/0/billing_details");
        let error = object.pointer("/last_payment_error/payment_method/billing_details");
        let details =
            [object.get("customer_details"), object.get("billing_details"), charge, error];
        let of_details = |name: &str| details.iter().flatten().find_map(|one| text(one, name));
        let email =
            ["receipt_email", "customer_email"].into_iter().find_map(|name| text(object, name));
        let email = email.or_else(|| of_details("email")).and_then(|text| Email::parse(text).ok());
        let name = text(object, "customer_name").or_else(|| of_details("name"));
        let cut = |name: &str| Text::new(name.chars().take(NAME_CHARS_MAX).collect());
        Payer { email, name: name.map(cut) }
    }

    fn purchase(&self) -> Purchase {
        let word = |name: &str| self.metadata(name).map(cut_word);
        Purchase {
            service_id: word("service_id"),
            service_name: word("service_name").or_else(|| word("product")),
            service_type: word("service_type"),
            pricing_tier: word("pricing_tier"),
            user_id: word("user_id"),
            coupon: word("coupon"),
            utm: self.utm(),
            dropped: self.dropped(),
        }
    }

    /// The name of the lead id that the site wrote, if it is none.
    fn dropped(&self) -> Vec<String> {
        let is_none = self.metadata("lead_id").is_some_and(|id| LeadId::parse(id).is_err());
        is_none.then(|| "metadata.lead_id".to_owned()).into_iter().collect()
    }

    fn method(&self) -> Option<String> {
        let charge = self.object.pointer("/charges/data/0/payment_method_details/type");
        // Of several that were allowed, nobody knows which was used.
        let allowed = self.object.get("payment_method_types").and_then(Value::as_array);
        let only = allowed.filter(|types| types.len() == 1).and_then(|types| types.first());
        charge.or(only).and_then(Value::as_str).map(cut_word)
    }

    fn utm(&self) -> Utm {
        let text = |name: &str| self.metadata(name).map(|text| Text::new(cut_word(text)));
        Utm {
            source: text("utm_source"),
            medium: text("utm_medium"),
            campaign: text("utm_campaign"),
            term: text("utm_term"),
            content: text("utm_content"),
        }
    }
}

/// An amount in Stripe's units as money. Stripe sends two currencies without minor units as if they had a
/// hundred, and one that has them in whole units.
pub(super) fn money(amount: i64, currency: &str) -> Result<Money, NotUnderstood> {
    let currency = Currency::parse(currency).ok_or(NotUnderstood("without_currency"))?;
    let minor = match currency.as_str() {
        "ISK" | "UGX" if amount % 100 == 0 => amount / 100,
        "ISK" | "UGX" => return Err(NotUnderstood("odd_amount")),
        "MGA" => amount.checked_mul(100).ok_or(NotUnderstood("odd_amount"))?,
        _ => amount,
    };
    if minor < 0 { Err(NotUnderstood("negative_amount")) } else { Ok(Money { minor, currency }) }
}

/// The id of a field, which is the id itself or the whole object.
pub(super) fn id_of(field: Option<&Value>) -> Option<TransactionId> {
    TransactionId::parse(id_text(field?)?)
}

fn id_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| text(value, "id"))
}

/// The trimmed text of a field. Absent, null and blank fields are `None`.
pub(super) fn text<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

fn cut_word(text: &str) -> String {
    text.chars().take(WORD_CHARS_MAX).collect()
}

fn word(object: &Value, name: &str) -> Option<String> {
    text(object, name).map(cut_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_whole_in_every_class_of_currency() {
        for (amount, currency, expected) in [
            (19_700, "brl", Some("197.00 BRL")),
            (5_000, "jpy", Some("5000 JPY")),
            (1_250, "kwd", Some("1.250 KWD")),
            (50_000, "isk", Some("500 ISK")),
            (50_000, "ugx", Some("500 UGX")),
            (50_001, "ugx", None),
            (5_000, "mga", Some("5000.00 MGA")),
            (-1, "brl", None),
            (1, "reais", None),
        ] {
            let found = money(amount, currency).ok().map(|money| money.to_string());
            assert_eq!(found.as_deref(), expected, "{amount} {currency}");
        }
    }
}
