//! Payments, as a payment provider reports them: succeeded, failed, refunded, disputed; and subscriptions.
//!
//! Nothing here says what a payment adds up to with its refunds: reports come in any order, and the sum is
//! kept with the transaction.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::group::event_group;
use crate::contact::Email;
use crate::contact::attribution::Utm;
use crate::money::Money;
use crate::pii::{self, Text};

event_group! {
    /// A payment provider reported something about a payment.
    PaymentEvent in EventData::Payment {
        /// Money was paid.
        "payment_succeeded" => Succeeded(PaymentSucceeded),
        /// A payment was tried and refused.
        "payment_failed" => Failed(PaymentFailed),
        /// A part of a payment, or all of it, was given back.
        "payment_refunded" => Refunded(PaymentRefunded),
        /// The payer's bank disputes a payment, or has decided about it.
        "payment_disputed" => Disputed(PaymentDisputed),
        /// A subscription began. It is no payment.
        "subscription_started" => SubscriptionStarted(SubscriptionStarted),
        /// A checkout was completed whose money comes later, or by a subscription's invoices.
        "checkout_completed" => CheckoutCompleted(CheckoutCompleted),
    }
}

impl PaymentEvent {
    /// Whose money it is.
    pub const fn mode(&self) -> Mode {
        match self {
            Self::Succeeded(event) => event.mode,
            Self::Failed(event) => event.mode,
            Self::Refunded(event) => event.mode,
            Self::Disputed(event) => event.mode,
            Self::SubscriptionStarted(event) => event.mode,
            Self::CheckoutCompleted(event) => event.mode,
        }
    }

    /// The report as one that moves money; `None` for one that moves none.
    pub const fn movement(&self) -> Option<Movement<'_>> {
        match self {
            Self::Succeeded(event) => Some(Movement::Paid(event)),
            Self::Refunded(event) => Some(Movement::Refunded(event)),
            Self::Disputed(event) => Some(Movement::Disputed(event)),
            Self::Failed(_) | Self::SubscriptionStarted(_) | Self::CheckoutCompleted(_) => None,
        }
    }

    /// Writes what a report that moves money added to its payment.
    pub const fn set_counted(&mut self, counted: Option<Money>) {
        match self {
            Self::Succeeded(event) => event.counted = counted,
            Self::Refunded(event) => event.counted = counted,
            Self::Disputed(event) => event.counted = counted,
            Self::Failed(_) | Self::SubscriptionStarted(_) | Self::CheckoutCompleted(_) => {}
        }
    }

    /// The names of what the site wrote into the payment, and that was dropped.
    pub fn dropped(&self) -> &[String] {
        match self {
            Self::Succeeded(event) => &event.purchase.dropped,
            Self::Failed(event) => &event.purchase.dropped,
            Self::Refunded(event) => &event.purchase.dropped,
            Self::SubscriptionStarted(event) => &event.purchase.dropped,
            Self::CheckoutCompleted(event) => &event.purchase.dropped,
            Self::Disputed(_) => &[],
        }
    }

    /// Whether money was paid. False for a test that counts for nothing, and for the zero invoice of a free trial.
    pub const fn has_paid(&self) -> bool {
        match self.movement() {
            Some(Movement::Paid(event)) => event.mode.counts() && event.amount.minor > 0,
            Some(Movement::Refunded(_) | Movement::Disputed(_)) | None => false,
        }
    }
}

/// A report that moves money.
#[derive(Clone, Copy, Debug)]
pub enum Movement<'e> {
    /// Somebody paid.
    Paid(&'e PaymentSucceeded),
    /// Money was given back.
    Refunded(&'e PaymentRefunded),
    /// The payer's bank disputes a payment, or has decided about it.
    Disputed(&'e PaymentDisputed),
}

impl<'e> Movement<'e> {
    /// The payment whose money it is.
    pub const fn transaction(self) -> &'e TransactionId {
        match self {
            Self::Paid(event) => &event.transaction,
            Self::Refunded(event) => &event.transaction,
            Self::Disputed(event) => &event.transaction,
        }
    }

    /// The sum that is reported.
    pub const fn amount(self) -> Money {
        match self {
            Self::Paid(event) => event.amount,
            Self::Refunded(event) => event.refunded,
            Self::Disputed(event) => event.amount,
        }
    }

    /// What it added to its payment, which an earlier report may have said already.
    pub const fn counted(self) -> Option<Money> {
        match self {
            Self::Paid(event) => event.counted,
            Self::Refunded(event) => event.counted,
            Self::Disputed(event) => event.counted,
        }
    }
}

/// Whether money was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Money was really moved.
    Live,
    /// No money was moved, because somebody tests the integration. The event counts for nothing, and nothing is sent
    /// to a destination.
    Test,
    /// No money was moved, but the operator wants tests to be treated as live payments.
    TestDelivered,
}

impl Mode {
    /// Whether it counts: for the lead, its sums and every destination.
    pub const fn counts(self) -> bool {
        match self {
            Self::Live | Self::TestDelivered => true,
            Self::Test => false,
        }
    }
}

/// The provider's id of what a payment, its refunds and its disputes have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransactionId(String);

impl TransactionId {
    /// The longest id, in characters.
    const CHARS_MAX: usize = 100;

    /// Reads an id: letters, digits and `_`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = (1..=Self::CHARS_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        valid.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who paid, as the provider knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    /// The e-mail, which may not be the lead's.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub email: Option<Email>,
    /// The name, as it was given at the checkout.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub name: Option<Text>,
}

/// What was bought, as the site wrote it into the payment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    /// The site's id of the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<String>,
    /// The site's name of the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// The site's name of the kind of product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// The tier that was bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing_tier: Option<String>,
    /// The site's id of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The coupon that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<String>,
    /// The campaign.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub utm: Utm,
    /// The names of what else the site wrote, and that was dropped because it could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

impl Purchase {
    /// This, with what only the other one says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            service_id: self.service_id.or(other.service_id),
            service_name: self.service_name.or(other.service_name),
            service_type: self.service_type.or(other.service_type),
            pricing_tier: self.pricing_tier.or(other.pricing_tier),
            user_id: self.user_id.or(other.user_id),
            coupon: self.coupon.or(other.coupon),
            utm: if is_empty(&self.utm) { other.utm } else { self.utm },
            dropped: self.dropped,
        }
    }
}

impl Purchase {
    /// Whether the site wrote nothing of what was bought.
    pub fn is_silent(&self) -> bool {
        *self == Self { dropped: self.dropped.clone(), ..Self::default() }
    }
}

fn is_empty(utm: &Utm) -> bool {
    *utm == Utm::default()
}

/// By which of the provider's objects a payment was reported. One payment may be reported by several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportedBy {
    /// The payment itself, of which nothing says that it is an invoice's.
    Payment,
    /// The payment itself, which is an invoice's.
    PaymentOfInvoice,
    /// An invoice that was paid through the provider, which reports the payment too.
    Invoice,
    /// An invoice that was paid without the provider.
    InvoicePaidElsewhere,
    /// A checkout, which is kept under its payment, so that the two count once.
    Checkout,
}

/// Money was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentSucceeded {
    /// The provider's id of the payment.
    pub transaction: TransactionId,
    /// Whose money it is.
    pub mode: Mode,
    /// How much was paid.
    pub amount: Money,
    /// The object that reported it, which decides whether it counts as revenue.
    pub reported_by: ReportedBy,
    /// Who paid.
    #[serde(default)]
    pub payer: Payer,
    /// What was bought.
    #[serde(default)]
    pub purchase: Purchase,
    /// How it was paid, in the provider's words: `card`, `pix`, `boleto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// When it was paid, by the provider's clock.
    pub paid_at: Timestamp,
    /// What it adds to what was paid. Absent where another report of the payment did so before, or counts
    /// instead of this one. Noted when the event is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Money>,
}

/// A payment was tried and refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentFailed {
    /// The provider's id of the payment.
    pub transaction: TransactionId,
    /// Whose money it is.
    pub mode: Mode,
    /// How much it was to be.
    pub amount: Money,
    /// Who tried to pay.
    #[serde(default)]
    pub payer: Payer,
    /// What was to be bought.
    #[serde(default)]
    pub purchase: Purchase,
    /// Why, as the provider's code: `card_declined`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why the bank refused it, as the provider's code: `insufficient_funds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline_code: Option<String>,
}

/// Whether all of a payment was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// A part of the payment.
    Partial,
    /// The whole payment.
    Full,
}

/// A part of a payment, or all of it, was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRefunded {
    /// The provider's id of the payment.
    pub transaction: TransactionId,
    /// Whose money it is.
    pub mode: Mode,
    /// How much was given back in all, this refund included.
    pub refunded: Money,
    /// By how much that is more than earlier reports said. Absent where it is not. Noted when the event is
    /// accepted, because reports come in any order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Money>,
    /// Whether nothing is left.
    pub extent: Extent,
    /// Who had paid.
    #[serde(default)]
    pub payer: Payer,
    /// What had been bought.
    #[serde(default)]
    pub purchase: Purchase,
}

/// How a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    /// It was opened. The money is not lost yet.
    Opened,
    /// The bank decided for us, so the payment stands.
    Won,
    /// The bank decided for the payer, so the money is lost.
    Lost,
    /// An inquiry that became no dispute.
    WarningClosed,
}

impl DisputeStatus {
    /// The name that destinations are sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Won => "won",
            Self::Lost => "lost",
            Self::WarningClosed => "warning_closed",
        }
    }
}

/// The payer's bank disputes a payment, or has decided about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentDisputed {
    /// The provider's id of the payment.
    pub transaction: TransactionId,
    /// Whose money it is.
    pub mode: Mode,
    /// The provider's id of the dispute.
    pub dispute: TransactionId,
    /// How much is disputed.
    pub amount: Money,
    /// How the dispute stands at this report.
    pub status: DisputeStatus,
    /// What was lost by it. Absent unless it is lost. Noted when the event is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Money>,
    /// Why, in the provider's words: `fraudulent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A subscription began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionStarted {
    /// The provider's id of the subscription.
    pub subscription: TransactionId,
    /// Whose money it will be.
    pub mode: Mode,
    /// The provider's id of the plan, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What each period costs, if the provider says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// What was bought.
    #[serde(default)]
    pub purchase: Purchase,
}

/// A checkout was completed whose money comes later, as with Pix and boleto, or by a subscription's invoices. It
/// says whose the payment will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutCompleted {
    /// The provider's id of the checkout.
    pub checkout: TransactionId,
    /// Whose money it will be.
    pub mode: Mode,
    /// What is bought.
    #[serde(default)]
    pub purchase: Purchase,
}
