//! How far an event has come, by its deliveries.

use super::{Delivery, State};

/// How far an event has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is kept, and nothing was begun.
    Received,
    /// A delivery was begun, and is not over.
    Processing,
    /// Nothing of it is left to do.
    Completed,
    /// A delivery of it waits for a person.
    Failed,
}

impl Progress {
    /// How far an event with these deliveries has come.
    pub fn of<'d>(deliveries: impl IntoIterator<Item = &'d Delivery>) -> Self {
        let states = deliveries.into_iter().map(|delivery| match &delivery.state {
            State::Dead { .. } => Self::Failed,
            State::Leased { .. } | State::Unconfirmed { .. } => Self::Processing,
            State::Pending { .. } if !delivery.log.is_empty() => Self::Processing,
            State::Pending { .. } => Self::Received,
            State::Unknown { .. } | State::Delivered { .. } | State::Skipped { .. } => {
                Self::Completed
            }
        });
        let states: Vec<Self> = states.collect();
        let by_weight = [Self::Failed, Self::Processing, Self::Received];
        by_weight.into_iter().find(|one| states.contains(one)).unwrap_or(Self::Completed)
    }

    /// The name in the journey.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::delivery::{Reason, StoredReason};
    use crate::destination::samples::crm_lead;

    #[test]
    fn the_least_finished_delivery_decides() {
        let of = |state: State| {
            let mut delivery = Delivery::planned(&crm_lead(), "c2s", "enrichment");
            delivery.state = state;
            delivery
        };
        let at = Timestamp::UNIX_EPOCH;
        let reason = || StoredReason::from(Reason::Unchanged);
        let waiting = of(State::due(at));
        let skipped = of(State::Skipped { at, reason: reason() });
        let dead = of(State::Dead { at, reason: reason() });
        let delivered = of(State::Delivered { at, reason: None });
        for (deliveries, expected) in [
            (vec![], "completed"),
            (vec![&waiting], "received"),
            (vec![&skipped, &delivered], "completed"),
            (vec![&delivered, &waiting], "received"),
            (vec![&waiting, &dead, &delivered], "failed"),
        ] {
            assert_eq!(Progress::of(deliveries).name(), expected);
        }
    }
}
