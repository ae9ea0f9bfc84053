//! What one number may get: one message in a while, and so many in a day, whatever leads they are about.
//!
//! Must not know what a message says, nor how it is sent.

use funil_core::delivery::{Outcome, Reason};
use funil_core::destination::Context;
use funil_core::hash::Digest;
use funil_store::{AlertKind, Price, RateLimit, RateVerdict, StoreError};
use jiff::Timestamp;

use crate::attempt::Handler;

impl Handler {
    /// The outcome of a message that its number may not get now: a moment after another one, or as one
    /// too many of the day.
    pub(crate) async fn too_many(
        &self,
        context: &Context<'_>,
        now: Timestamp,
    ) -> Result<Option<Outcome>, StoreError> {
        let name = self.destination.name;
        let Some(number) = self.number(context) else { return Ok(None) };
        if let Some(pause_s) = self.destination.person_pause_s {
            let one = RateLimit { requests: 1, window_s: pause_s };
            let verdict = self
                .store
                .rate(name, &number, one, Price::Whole, now, &*self.platform.entropy)
                .await?;
            if let RateVerdict::Refused { retry_after_s } = verdict {
                let after_s = retry_after_s.max(1);
                return Ok(Some(Outcome::Released { reason: Reason::TooSoon, after_s }));
            }
        }
        let limit = self.destination.daily_per_number.zip(self.daily_per_number);
        let Some((limit, most)) = limit else { return Ok(None) };
        let is_kept_for = limit.kept_for.contains(&context.slot.name);
        let most = if is_kept_for { most } else { most - limit.kept };
        if self.store.count_message(&number, context.delivery, most, now).await? {
            return Ok(None);
        }
        let (kind, example) = (AlertKind::DailyLimit, context.delivery.name().to_string());
        self.store.alert_once_a_day(name, kind, Some(&example), now).await?;
        Ok(Some(Outcome::Skipped(Reason::DailyLimit)))
    }

    /// The digest of the number that a message goes to.
    fn number(&self, context: &Context<'_>) -> Option<Digest> {
        if context.event.data.recipient().is_some() {
            return context.delivery.phone_digest.clone();
        }
        let phone = context.lead.latest.phone.as_ref()?;
        Some(self.hash_key.digest("phone", &phone.alias_text()))
    }
}
