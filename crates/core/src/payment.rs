//! What a payment adds up to: what was paid, given back and lost of one transaction, whatever the order in which
//! it is reported.
//!
//! Each report only raises a figure to the highest that was seen, or sets what is final, so a repetition and
//! another order change nothing. Must not know any provider, nor where a transaction is kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{DisputeStatus, Mode, PaymentEvent, ReportedBy, TransactionId};
use crate::money::{Currency, Money};

/// Which reports of a payment count as revenue, where one payment is reported as itself and as an invoice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revenue {
    /// Payments count, and of invoices only those that were paid without the provider: no payment reports
    /// them.
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
    /// Its id.
    pub id: TransactionId,
    /// Whose money it is.
    pub mode: Mode,
    /// Its currency.
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
        let (id, amount) = match event {
            PaymentEvent::Succeeded(paid) if revenue.counts(paid.reported_by) => {
                (&paid.transaction, paid.amount)
            }
            PaymentEvent::Refunded(refund) => (&refund.transaction, refund.refunded),
            PaymentEvent::Disputed(dispute) => (&dispute.transaction, dispute.amount),
            PaymentEvent::Succeeded(_)
            | PaymentEvent::Failed(_)
            | PaymentEvent::SubscriptionStarted(_) => return None,
        };
        let nothing = Self {
            id: id.clone(),
            mode: event.mode(),
            currency: amount.currency,
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
        match event {
            PaymentEvent::Succeeded(paid) => {
                let minor = self.in_currency(paid.amount)?;
                self.paid = self.paid.max(Some(minor));
                self.paid_at = match self.paid_at {
                    Some(known) => Some(known.min(paid.paid_at)),
                    None => Some(paid.paid_at),
                };
            }
            PaymentEvent::Refunded(refund) => {
                self.refunded = self.refunded.max(self.in_currency(refund.refunded)?);
            }
            PaymentEvent::Disputed(report) => {
                let minor = self.in_currency(report.amount)?;
                let known = self.disputes.get(&report.dispute);
                let is_decided = known.is_some_and(|known| known.status != DisputeStatus::Opened);
                if !is_decided {
                    let dispute = Dispute { minor, status: report.status };
                    self.disputes.insert(report.dispute.clone(), dispute);
                }
            }
            PaymentEvent::Failed(_) | PaymentEvent::SubscriptionStarted(_) => {}
        }
        Some(self)
    }

    fn in_currency(&self, money: Money) -> Option<i64> {
        (money.currency == self.currency).then_some(money.minor)
    }

    /// What is left of it: what was paid, without what was given back and what was lost in a dispute, in
    /// minor units. Nothing as long as no payment is known, and nothing for a test.
    pub fn net(&self) -> i64 {
        let Some(paid) = self.paid.filter(|_| self.mode == Mode::Live) else { return 0 };
        let lost = self.disputes.values().filter(|dispute| dispute.status == DisputeStatus::Lost);
        let lost: i64 = lost.map(|dispute| dispute.minor).fold(0, i64::saturating_add);
        paid.saturating_sub(self.refunded).saturating_sub(lost).max(0)
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
        }))
    }

    fn refunded(minor: i64) -> PaymentEvent {
        PaymentEvent::Refunded(Box::new(PaymentRefunded {
            transaction: id("pi_1"),
            mode: Mode::Live,
            refunded: brl(minor),
            delta: None,
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
