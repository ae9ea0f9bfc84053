//! What is asked about a submission that may be spam, and where one that is goes.
//!
//! Owns how often one text may be sent, and what it costs that a token cannot be checked. Which signs
//! make a submission spam is in `funil_core::form::spam`. Must not know any form's fields.

use funil_core::form::{Caught, Honeypot, Token, spam};
use funil_core::hash::Digest;
use funil_core::site::Rate;
use funil_store::{
    Accepted, AlertKind, Price, Quarantined, RateLimit, RateVerdict, StoredResponse,
};
use http::header::CONTENT_TYPE;
use jiff::Timestamp;

use super::submission::{Sent, Submission};
use super::turnstile::Turnstile;
use super::{DAY_S, Form, Intake};
use crate::http::guard;
use crate::http::problem::Problem;
use crate::intake::quarantine;
use crate::platform::request::HttpRequest;

/// How often the same text may be sent in a day, by all senders together, before it is a sign of spam.
const SAME_TEXTS_A_DAY: i64 = 3;

impl Intake {
    /// What becomes of the token of a form. Where nobody can check it, one address may send a fifth of what it
    /// usually may.
    pub(super) async fn token<F: Form>(
        &self,
        sent: &Sent<F::Content>,
        caller: &Digest,
        now: Timestamp,
    ) -> Result<Token, Problem> {
        let Turnstile::On(site) = &self.turnstile else { return Ok(Token::NotAsked) };
        // What is quarantined anyway needs no check.
        let (Some(given), Honeypot::Empty) = (&sent.spam.token, sent.spam.honeypot) else {
            return Ok(Token::Missing);
        };
        let fingerprint = F::fingerprint(&sent.content);
        let token = site.verify(&self.app.platform, F::NAME, given, &fingerprint).await;
        if token == Token::Unchecked {
            let Rate { requests, window_s } = self.config.rates.of(F::RATE);
            let limit = RateLimit { requests: (requests / 5).max(1), window_s };
            let (scope, entropy) = (format!("{}#unchecked", F::NAME), &*self.app.platform.entropy);
            let rate = self.app.store.rate(&scope, caller, limit, Price::Whole, now, entropy);
            if let RateVerdict::Refused { retry_after_s } = rate.await? {
                return Err(Problem::RateLimited { retry_after_s });
            }
        }
        Ok(token)
    }

    /// Whether others wrote the same text today: the fourth who does repeats it.
    pub(super) async fn is_repeated<F: Form>(
        &self,
        content: &F::Content,
        now: Timestamp,
    ) -> Result<bool, Problem> {
        let Some(text) = F::free_text(content).and_then(spam::compared) else { return Ok(false) };
        let digest = self.hash().monthly_digest(now, "text", &text);
        let limit = RateLimit { requests: SAME_TEXTS_A_DAY, window_s: DAY_S };
        let (scope, entropy) = (format!("{}#text", F::NAME), &*self.app.platform.entropy);
        let rate = self.app.store.rate(&scope, &digest, limit, Price::Whole, now, entropy).await?;
        Ok(rate != RateVerdict::Passes)
    }

    /// Gives a robot the usual response, and keeps its submission for a person to look at, with the reason. Anybody can
    /// send such submissions, so they have a limit for each day; beyond it nothing is kept, and the
    /// response says so.
    pub(super) async fn quarantine<C>(
        &self,
        submission: &Submission<C>,
        response: StoredResponse,
        caught: &Caught,
        request: &HttpRequest,
    ) -> Result<(Accepted, StoredResponse), Problem> {
        let (source, most, now) = (submission.form, self.config.quarantine_per_day, submission.now);
        if !self.app.store.count_quarantined(source, most, now).await? {
            let kind = AlertKind::QuarantineFull;
            self.app.store.alert_once_a_day(source, kind, None, now).await?;
            let retry_after_s = DAY_S - now.as_second().rem_euclid(DAY_S);
            return Err(Problem::RateLimited { retry_after_s });
        }
        let mut receipt = submission.receipt(response);
        // These receipts stand apart from real ones: a person whose browser filled the honeypot by
        // itself must be able to send the same form again.
        receipt.key.scope = format!("{}#aside", receipt.key.scope);
        let quarantined = Quarantined {
            source: submission.form,
            reason: &caught.reason(),
            content_type: guard::header(request, CONTENT_TYPE).unwrap_or_default(),
            body: &request.body,
            email_digest: submission.aliases.email.as_ref(),
            original: Some(&submission.receipt_key),
            days: self.app.config.quarantine_days,
        };
        let accepted = quarantine::keep(&self.app, &quarantined, &receipt, now).await?;
        // Nothing is due. It rings all the same, so that a robot cannot recognise its response by
        // being faster.
        if accepted == Accepted::Kept {
            self.app.ring(&[]).await;
        }
        Ok((accepted, receipt.response))
    }
}
