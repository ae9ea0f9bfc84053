//! What a payment adds up to: what was paid, given back and lost of one transaction, whatever the order in which
//! it is reported.
//!
//! Each report either raises a figure to the highest value seen, or sets something final. So duplicates, and reports
//! in another order, lead to the same result. Must not know any provider, nor where a transaction is kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{
    DisputeStatus, Mode, Movement, PaymentEvent, Purchase, ReportedBy, TransactionId,
};
use crate::money::{Currency, Money};

/// Which reports of a payment count as revenue, where one payment is reported as itself and as an invoice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revenue {
    /// Payments count. An invoice counts only if it was paid outside the provider, because then there is no payment
    /// to report it.
    #[default]
    Payments,
    /// Invoices count, and payments only where nothing says that an invoice reports them too.
    Invoices,
}

impl Revenue {
    /// Whether a report counts.
    pub const fn counts(self, reported_by: ReportedBy) -> bool {
        match (self, reported_by) {
            // A checkout is known by its payment's id, so the two are one.
            (_, ReportedBy::InvoicePaidElsewhere | ReportedBy::Checkout)
            | (Self::Payments, ReportedBy::Payment | ReportedBy::PaymentOfInvoice)
            | (Self::Invoices, ReportedBy::Payment | ReportedBy::Invoice) => true,
            (Self::Payments, ReportedBy::Invoice)
            | (Self::Invoices, ReportedBy::PaymentOfInvoice) => false,
        }
    }
}

/// How a dispute of a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// How much is disputed, in minor units.
    pub minor: i64,
    /// How it stands. What was decided stays decided.
    pub status: DisputeStatus,
}

/// What one transaction adds up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The provider's id of the payment, or of the invoice that was paid without one.
    pub id: TransactionId,
    /// Whose money it is.
    pub mode: Mode,
    /// The currency of all its amounts. A report in another one is not understood.
    pub currency: Currency,
    /// What was paid, in minor units; absent until a report says so that counts as revenue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<i64>,
    /// The highest sum that was given back, in minor units.
    #[serde(default)]
    pub refunded: i64,
    /// Its disputes, by the provider's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disputes: BTreeMap<TransactionId, Dispute>,
    /// When it was paid, by the provider's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Timestamp>,
}

impl Transaction {
    /// What a report says of a transaction of which nothing else is known. `None` for a report that moves
    /// no money.
    pub fn of(event: &PaymentEvent, revenue: Revenue) -> Option<Self> {
        let movement = event.movement()?;
        if let Movement::Paid(paid) = movement
            && !revenue.counts(paid.reported_by)
        {
            return None;
        }
        let nothing = Self {
            id: movement.transaction().clone(),
            mode: event.mode(),
            currency: movement.amount().currency,
            paid: None,
            refunded: 0,
            disputes: BTreeMap::new(),
            paid_at: None,
        };
        nothing.with(event)
    }

    /// The transaction after a report. `None` if the report is in another currency, which no payment
    /// changes.
    pub fn with(mut self, event: &PaymentEvent) -> Option<Self> {
        match event.movement() {
            Some(Movement::Paid(paid)) => {
                let minor = self.in_currency(paid.amount)?;
                self.paid = self.paid.max(Some(minor));
                self.paid_at = match self.paid_at {
                    Some(known) => Some(known.min(paid.paid_at)),
                    None => Some(paid.paid_at),
                };
            }
            Some(Movement::Refunded(refund)) => {
                self.refunded = self.refunded.max(self.in_currency(refund.refunded)?);
            }
            Some(Movement::Disputed(report)) => {
                let minor = self.in_currency(report.amount)?;
                let known = self.disputes.get(&report.dispute);
                let is_decided = known.is_some_and(|known| known.status != DisputeStatus::Opened);
                if !is_decided {
                    let dispute = Dispute { minor, status: report.status };
                    self.disputes.insert(report.dispute.clone(), dispute);
                }
            }
            None => {}
        }
        Some(self)
    }

    fn in_currency(&self, money: Money) -> Option<i64> {
        (money.currency == self.currency).then_some(money.minor)
    }

    /// What is left of it: what was paid, without what was given back and what was lost in a dispute, in
    /// minor units. Nothing as long as no payment is known, and nothing for a test.
    pub fn net(&self) -> i64 {
        let Some(paid) = self.paid.filter(|_| self.mode.counts()) else { return 0 };
        paid.saturating_sub(self.gone())
    }

    /// What was given back and lost of it, in minor units: not more than was paid, where that is known.
    fn gone(&self) -> i64 {
        let lost = self.disputes.values().filter(|dispute| dispute.status == DisputeStatus::Lost);
        let lost: i64 = lost.map(|dispute| dispute.minor).fold(0, i64::saturating_add);
        self.refunded.saturating_add(lost).min(self.paid.unwrap_or(i64::MAX))
    }

    /// Writes on a report what it added to its payment, which is `self` with the report and `before` without it. So
    /// each part of a payment is sent to destinations once, whatever the order and the number of its reports.
    pub fn note(&self, before: Option<&Self>, event: &mut PaymentEvent) {
        let gone = self.gone().saturating_sub(before.map_or(0, Self::gone));
        let gone = (gone > 0).then_some(Money { minor: gone, currency: self.currency });
        let counted = match event.movement() {
            Some(Movement::Paid(paid)) => {
                let is_first = before.is_none_or(|before| before.paid.is_none());
                Some(paid.amount).filter(|paid| is_first && paid.minor > 0)
            }
            Some(Movement::Refunded(_) | Movement::Disputed(_)) => gone,
            None => return,
        };
        event.set_counted(counted);
    }
}

/// The newest payment, refund, dispute and subscription of a lead, by the provider's clock: what is sent to a
/// destination that holds one state for each lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestPayments {
    /// When the earliest payment was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The newest payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchase: Option<LatestPurchase>,
    /// The newest refund.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<LatestRefund>,
    /// The newest dispute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<LatestDispute>,
    /// The newest subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<LatestSubscription>,
}

/// The newest payment of a lead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestPurchase {
    /// When it was paid.
    pub at: Timestamp,
    /// Its id.
    pub transaction: TransactionId,
    /// How much was paid.
    pub amount: Money,
    /// What is left of it, without what was given back and lost.
    pub left: Money,
    /// How it was paid, in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The service that it paid for, as far as the report or the subscription says.
    #[serde(default)]
    pub bought: Purchase,
}

/// The newest refund of a lead's payments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestRefund {
    /// When it was made.
    pub at: Timestamp,
    /// The payment's id.
    pub transaction: TransactionId,
    /// How much of the payment was given back in all.
    pub refunded: Money,
}

/// The newest dispute of a lead's payments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestDispute {
    /// When it was opened or decided.
    pub at: Timestamp,
    /// The payment's id.
    pub transaction: TransactionId,
    /// How much is disputed.
    pub amount: Money,
    /// How it stands.
    pub status: DisputeStatus,
    /// Why, in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The newest subscription of a lead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestSubscription {
    /// When it began.
    pub at: Timestamp,
    /// Its id.
    pub subscription: TransactionId,
    /// The provider's name of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What each period costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// What is bought by it.
    #[serde(default)]
    pub bought: Purchase,
}

/// How far the reports of one payment are apart at most, in seconds.
const ONE_PAYMENT_S: i64 = 24 * 3600;

impl LatestPayments {
    /// Copies what the newest subscription sells into a payment that does not say so itself: the payment of an
    /// invoice, or one with the subscription's price.
    pub fn fill(&self, event: &mut PaymentEvent) {
        let PaymentEvent::Succeeded(paid) = event else { return };
        let Some(subscription) = &self.subscription else { return };
        let is_its = paid.reported_by == ReportedBy::PaymentOfInvoice
            || subscription.price.is_some_and(|price| price == paid.amount);
        if is_its && paid.purchase.is_silent() {
            paid.purchase = subscription.bought.clone();
        }
    }

    /// The newest of each after a report. `at` is its time, and `payment` what the payment adds up to with it,
    /// for one that moves money.
    #[must_use]
    pub fn with(&self, event: &PaymentEvent, at: Timestamp, payment: Option<&Transaction>) -> Self {
        let mut latest = self.clone();
        if !event.mode().counts() {
            return latest;
        }
        match (event, payment) {
            (PaymentEvent::Succeeded(paid), Some(payment)) if paid.amount.minor > 0 => {
                latest.since = Some(latest.since.map_or(paid.paid_at, |at| at.min(paid.paid_at)));
                let new = LatestPurchase {
                    at: payment.paid_at.unwrap_or(paid.paid_at),
                    transaction: paid.transaction.clone(),
                    amount: paid.amount,
                    left: paid.amount,
                    method: paid.method.clone(),
                    bought: paid.purchase.clone(),
                };
                latest.purchase = Some(match latest.purchase {
                    Some(known) => known.or_newer(new),
                    None => new,
                });
            }
            (PaymentEvent::Refunded(refund), _) => {
                let new = LatestRefund {
                    at,
                    transaction: refund.transaction.clone(),
                    refunded: refund.refunded,
                };
                let rank = |one: &LatestRefund| (one.at, one.refunded.minor);
                let is_newest = latest.refund.as_ref().is_none_or(|known| rank(known) < rank(&new));
                if is_newest {
                    latest.refund = Some(new);
                }
            }
            (PaymentEvent::Disputed(dispute), _) => {
                let new = LatestDispute {
                    at,
                    transaction: dispute.transaction.clone(),
                    amount: dispute.amount,
                    status: dispute.status,
                    reason: dispute.reason.clone(),
                };
                // A decision in the second in which the dispute was opened counts as newer.
                let rank = |one: &LatestDispute| (one.at, one.status != DisputeStatus::Opened);
                let is_newest =
                    latest.dispute.as_ref().is_none_or(|known| rank(known) < rank(&new));
                if is_newest {
                    latest.dispute = Some(new);
                }
            }
            (PaymentEvent::SubscriptionStarted(started), _) => {
                let new = LatestSubscription {
                    at,
                    subscription: started.subscription.clone(),
                    plan: started.plan.clone(),
                    price: started.price,
                    bought: started.purchase.clone(),
                };
                let is_newest = latest.subscription.as_ref().is_none_or(|known| known.at < at);
                if is_newest {
                    latest.subscription = Some(new);
                }
            }
            // A report that counts elsewhere may say what was bought, such as an invoice.
            (PaymentEvent::Succeeded(paid), None) => {
                if let Some(known) = &mut latest.purchase
                    && known.bought.is_silent()
                    && known.amount == paid.amount
                    && (known.at.as_second() - paid.paid_at.as_second()).abs() <= ONE_PAYMENT_S
                {
                    known.bought = paid.purchase.clone();
                }
            }
            // A payment of nothing, and every other report, changes none of these.
            _ => {}
        }
        if let (Some(purchase), Some(payment)) = (&mut latest.purchase, payment)
            && purchase.transaction == payment.id
        {
            purchase.left.minor = payment.net();
        }
        latest
    }
}

impl LatestPurchase {
    /// The newer of two, and of two reports of one payment the first, with what only the second says.
    fn or_newer(mut self, new: Self) -> Self {
        if self.transaction != new.transaction {
            let rank = |one: &Self| (one.at, one.transaction.clone());
            return if rank(&self) < rank(&new) { new } else { self };
        }
        self.at = self.at.min(new.at);
        self.amount.minor = self.amount.minor.max(new.amount.minor);
        self.method = self.method.or(new.method);
        self.bought = self.bought.or(new.bought);
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{
        Extent, Payer, PaymentDisputed, PaymentRefunded, PaymentSucceeded, Purchase,
    };

    fn brl(minor: i64) -> Money {
        Money { minor, currency: Currency::BRL }
    }

    fn id(text: &str) -> TransactionId {
        TransactionId::parse(text).unwrap()
    }

    fn paid(minor: i64, reported_by: ReportedBy) -> PaymentEvent {
        PaymentEvent::Succeeded(Box::new(PaymentSucceeded {
            transaction: id("pi_1"),
            mode: Mode::Live,
            amount: brl(minor),
            reported_by,
            payer: Payer::default(),
            purchase: Purchase::default(),
            method: None,
            paid_at: Timestamp::UNIX_EPOCH,
            counted: None,
        }))
    }

    fn refunded(minor: i64) -> PaymentEvent {
        PaymentEvent::Refunded(Box::new(PaymentRefunded {
            transaction: id("pi_1"),
            mode: Mode::Live,
            refunded: brl(minor),
            counted: None,
            extent: Extent::Partial,
            payer: Payer::default(),
            purchase: Purchase::default(),
        }))
    }

    fn disputed(dispute: &str, minor: i64, status: DisputeStatus) -> PaymentEvent {
        PaymentEvent::Disputed(Box::new(PaymentDisputed {
            transaction: id("pi_1"),
            mode: Mode::Live,
            dispute: id(dispute),
            amount: brl(minor),
            status,
            counted: None,
            reason: None,
        }))
    }

    fn sum(events: &[PaymentEvent]) -> i64 {
        let mut all: Option<Transaction> = None;
        for event in events {
            all = match all {
                None => Transaction::of(event, Revenue::Payments),
                Some(known) => Some(known.with(event).unwrap()),
            };
        }
        all.map_or(0, |all| all.net())
    }

    #[test]
    fn a_payment_is_worth_what_is_left_of_it() {
        use DisputeStatus::{Lost, Opened, WarningClosed, Won};

        let paid = || paid(19_700, ReportedBy::Payment);
        for (events, expected) in [
            (vec![paid()], 19_700),
            (vec![paid(), paid()], 19_700),
            (vec![paid(), refunded(5_000)], 14_700),
            (vec![paid(), refunded(19_700), refunded(5_000)], 0),
            (vec![refunded(5_000)], 0),
            (vec![paid(), disputed("dp_1", 19_700, Opened)], 19_700),
            (vec![paid(), disputed("dp_1", 19_700, Lost), disputed("dp_1", 19_700, Opened)], 0),
            (vec![paid(), disputed("dp_1", 19_700, Won)], 19_700),
            (vec![paid(), disputed("dp_1", 19_700, WarningClosed)], 19_700),
            (vec![paid(), refunded(10_000), disputed("dp_1", 19_700, Lost)], 0),
        ] {
            assert_eq!(sum(&events), expected, "{events:?}");
        }
    }

    #[test]
    fn one_payment_counts_once_whatever_reports_it() {
        use ReportedBy::{Checkout, Invoice, InvoicePaidElsewhere, Payment, PaymentOfInvoice};

        let counted = |revenue: Revenue| {
            [Payment, PaymentOfInvoice, Invoice, InvoicePaidElsewhere, Checkout]
                .into_iter()
                .filter(|by| revenue.counts(*by))
                .collect::<Vec<_>>()
        };
        let payments = [Payment, PaymentOfInvoice, InvoicePaidElsewhere, Checkout];
        assert_eq!(counted(Revenue::Payments), payments);
        assert_eq!(counted(Revenue::Invoices), [Payment, Invoice, InvoicePaidElsewhere, Checkout]);
        assert_eq!(Transaction::of(&paid(1, Invoice), Revenue::Payments), None);
    }

    #[test]
    fn a_test_is_worth_nothing_and_another_currency_is_refused() {
        let mut test = Transaction::of(&paid(100, ReportedBy::Payment), Revenue::Payments).unwrap();
        test.mode = Mode::Test;
        assert_eq!(test.net(), 0);
        test.currency = Currency::parse("usd").unwrap();
        assert_eq!(test.with(&refunded(1)), None);
    }

    proptest! {
        /// Reports come in any order and more than once; disputes are opened before they are decided, and
        /// the decision stays.
        #[test]
        fn the_order_of_reports_and_their_repetition_change_nothing(
            order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
            repeated in proptest::collection::vec(0..6_usize, 0..6),
        ) {
            let events = [
                paid(19_700, ReportedBy::Payment),
                refunded(1_000),
                refunded(3_000),
                disputed("dp_1", 5_000, DisputeStatus::Opened),
                disputed("dp_1", 5_000, DisputeStatus::Lost),
                disputed("dp_2", 700, DisputeStatus::Won),
            ];
            let sequence: Vec<PaymentEvent> =
                order.iter().chain(&repeated).map(|at| events[*at].clone()).collect();
            prop_assert_eq!(sum(&sequence), 19_700 - 3_000 - 5_000);
        }
    }
}
