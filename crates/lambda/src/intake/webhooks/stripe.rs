//! `stripe-webhook`: Stripe reports that something was paid, refused, given back or disputed.
//!
//! Finds the lead of the payment and keeps what happened, with what the payment adds up to; somebody who paid
//! and is no lead becomes one. Contacts no provider (`docs/providers.md`, "Stripe").

use funil_core::contact::consent::ConsentChanges;
use funil_core::event::{EventData, PaymentEvent};
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::lead::LeadChanges;
use funil_core::payment::{Revenue, Transaction};
use funil_core::provider::stripe::{self, Parsed, PaymentUpdate, TestEvents};
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::settings::{ConfigError, Env, Secret, Settings};
use funil_store::{
    Accepted, LatestChange, PaymentChange, Platform, Price, RateLimit, RateVerdict, StoreError,
    TransactionChange,
};
use http::{HeaderName, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::Function;
use crate::api::Operation;
use crate::app::App;
use crate::functions::{KeyIssuer, Registration, Signature};
use crate::http::guard;
use crate::intake::identify::{Hints, Identified, Writer};
use crate::intake::webhook::{self, Arrival, Kept, Report, Webhook, receipt};
use crate::platform::request::HttpRequest;

const SECRET: &str = "STRIPE_WEBHOOK_SECRET";
const REVENUE: &str = "STRIPE_REVENUE";
const TEST_EVENTS: &str = "STRIPE_TEST_EVENTS";
const SIGNATURE: HeaderName = HeaderName::from_static(stripe::SIGNATURE_HEADER);
/// The kind of alias under which the lead of a payment, a charge, an invoice or a subscription is found
/// again.
const PAYMENT: &str = "stripe_payment";
/// The kind of alias under which the lead of a customer is found again.
const CUSTOMER: &str = "stripe_customer";
/// For how long Stripe gets 503 for a report of an unknown payer, so that it sends it again: another report that names
/// the payer, such as the checkout's, may arrive in that time.
const KNOWN_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// How many failed payments of one lead are kept at once. After that, one more is kept each time this fraction of a day
/// has passed.
const FAILED_A_DAY: i64 = 20;
const DAY_S: i64 = 24 * 3600;
/// How often a payment and its lead are read again because another report changed them meanwhile. Stripe
/// sends the reports of one payment at once: as the payment itself, its invoice and its checkout.
const TRIES: usize = 5;

/// `stripe-webhook`: Stripe signs its requests with the secret of the endpoint.
pub static REGISTRATION: Registration = Registration {
    name: "stripe-webhook",
    quarantine_source: Some(stripe::NAME),
    variables: &[(SECRET, "local-stage-stripe-secret")],
    signature: Some(Signature {
        key_variable: SECRET,
        issued_by: KeyIssuer::Provider,
        header: stripe::SIGNATURE_HEADER,
        sign: stripe::sign,
    }),
};

struct StripeWebhook {
    app: App,
    secrets: Vec<Secret>,
    revenue: Revenue,
    test_events: TestEvents,
}

/// Makes `stripe-webhook`. Of its own it reads the signing secrets, and what counts as revenue and as a test.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let app = App::read_intake(&mut settings, platform);
    let secrets = settings.issued_secrets(SECRET);
    let revenue = revenue(&mut settings);
    let test_events = test_events(&mut settings);
    let endpoint = app.zip(secrets).zip(revenue).zip(test_events);
    let endpoint = endpoint.map(|(((app, secrets), revenue), test_events)| StripeWebhook {
        app,
        secrets,
        revenue,
        test_events,
    });
    settings.finish(endpoint).map(webhook::function)
}

fn revenue(settings: &mut Settings<'_>) -> Option<Revenue> {
    match settings.optional(REVENUE) {
        None | Some("payments") => Some(Revenue::Payments),
        Some("invoices") => Some(Revenue::Invoices),
        Some(_) => settings.problem(format!("{REVENUE} must be payments or invoices.")),
    }
}

fn test_events(settings: &mut Settings<'_>) -> Option<TestEvents> {
    match settings.optional(TEST_EVENTS) {
        None | Some("keep") => Some(TestEvents::Keep),
        Some("deliver") => Some(TestEvents::Deliver),
        Some(_) => settings.problem(format!("{TEST_EVENTS} must be keep or deliver.")),
    }
}

pub(crate) fn operations() -> Vec<Operation> {
    let summary = "Records a payment, a refund or a dispute that Stripe reports.";
    vec![webhook::operation::<StripeWebhook>(&REGISTRATION, summary)]
}

impl Webhook for StripeWebhook {
    const NAME: &'static str = REGISTRATION.name;
    const PROVIDER: &'static str = stripe::NAME;
    /// Stripe shows the status of each try to the account's owner, and calls a wrong signature a bad
    /// request itself.
    const UNSIGNED: StatusCode = StatusCode::BAD_REQUEST;
    type Parsed = Parsed;

    fn app(&self) -> &App {
        &self.app
    }

    fn verify<'r>(
        &self,
        request: &'r HttpRequest,
        now: Timestamp,
    ) -> Result<Verified<'r>, NotSigned> {
        stripe::verify(&request.body, guard::header(request, SIGNATURE), &self.secrets, now)
    }

    fn parse(&self, verified: Verified<'_>, _: &str) -> Result<Parsed, NotUnderstood> {
        stripe::parse(verified, self.test_events)
    }

    async fn keep(&self, parsed: &Parsed, arrival: &Arrival) -> Result<Kept, StoreError> {
        match parsed {
            Parsed::Other(event) => Ok(Kept::Ignored { event: event.clone() }),
            Parsed::Payment(update) => Box::pin(self.keep_payment(update, arrival)).await,
        }
    }

    fn name_lead(body: &mut Value, lead: LeadId) -> bool {
        stripe::name_lead(body, lead)
    }
}

/// Whether a report of a stranger makes a lead of them. A test does not, nor does a checkout that is not paid.
const fn makes_a_lead(event: &PaymentEvent) -> bool {
    !matches!(event, PaymentEvent::CheckoutCompleted(_)) && event.mode().counts()
}

impl StripeWebhook {
    async fn keep_payment(
        &self,
        update: &PaymentUpdate,
        arrival: &Arrival,
    ) -> Result<Kept, StoreError> {
        let EventData::Payment(event) = &update.data else {
            return Ok(Kept::Quarantine(NotUnderstood("no_payment")));
        };
        for _ in 0..TRIES {
            let lead = self.lead_of(update, event).await?;
            let is_known = lead.as_ref().is_some_and(|lead| lead.known.is_some());
            if !is_known && !makes_a_lead(event) {
                let event = event.name();
                return Ok(Kept::Ignored { event: format!("{event} of nobody known") });
            }
            let Some(lead) = lead else {
                let age = arrival.now.duration_since(update.occurred_at);
                if age < KNOWN_WITHIN && arrival.released.is_none() {
                    return Ok(Kept::Parts { incomplete: true, quarantine: None });
                }
                return Ok(Kept::Quarantine(NotUnderstood("of_nobody_known")));
            };
            if !self.may_fail(event, lead.id, arrival.now).await? {
                return Ok(Kept::Ignored {
                    event: format!("{} beyond what is kept of one lead", event.name()),
                });
            }
            let (event, change) = match self.change(&lead, event, update.occurred_at).await? {
                Ok(changed) => changed,
                Err(why) => return Ok(Kept::Quarantine(why)),
            };
            let accepted = self.accept(update, event, arrival, lead, &change).await?;
            if accepted != Accepted::Overtaken {
                return Ok(Kept::Accepted(update.id.clone(), accepted));
            }
        }
        Ok(Kept::Accepted(update.id.clone(), Accepted::Overtaken))
    }

    /// The lead of a report: of an object that is known, else of the id that the site wrote into the
    /// payment, else of the customer, else of the e-mail.
    async fn lead_of(
        &self,
        update: &PaymentUpdate,
        event: &PaymentEvent,
    ) -> Result<Option<Identified>, StoreError> {
        let hash = &self.app.config.hash_key;
        let mut objects: Vec<(&'static str, Digest)> =
            update.objects.iter().map(|id| (PAYMENT, hash.digest(PAYMENT, id.as_str()))).collect();
        let customer =
            update.customer.as_ref().map(|id| (CUSTOMER, hash.digest(CUSTOMER, id.as_str())));
        // An id that is derived from another e-mail than the payer's counts for nothing.
        let own = update.payer.email.as_ref().map(|email| LeadId::from_email(hash, email));
        let named = update.named.filter(|id| !id.is_derived() || own.is_none_or(|own| own == *id));
        let known = self.app.store.known_leads(named.as_slice()).await?;
        // One customer may pay for several people, so what the site wrote counts before it.
        if known.is_empty() {
            objects.extend(customer.clone());
        }
        let hints = Hints {
            objects: &objects,
            lead_ids: named.as_slice(),
            written_by: Writer::Site,
            email: update.payer.email.as_ref(),
            source: stripe::NAME,
        };
        let changes = LeadChanges::of_payment(event, &update.payer, self.revenue);
        let Some(mut lead) = self.app.identify(&hints, changes).await? else { return Ok(None) };
        // A payment stays with the lead that its first report came to; the journey says what this one named.
        lead.elsewhere = update.named.filter(|id| *id != lead.id);
        if let Some((kind, digest)) = customer.filter(|_| !known.is_empty()) {
            let owners = self.app.store.leads_of((kind, &digest), 1).await?;
            if owners.first().is_none_or(|owner| *owner == lead.id) {
                lead.objects.push((kind, digest));
            }
        }
        Ok(Some(lead))
    }

    /// Whether a report is kept: strangers try cards by the thousand, and each try is an event.
    async fn may_fail(
        &self,
        event: &PaymentEvent,
        lead: LeadId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if !matches!(event, PaymentEvent::Failed(_)) {
            return Ok(true);
        }
        let payer = self.app.config.hash_key.digest("failed", &lead.to_string());
        let limit = RateLimit { requests: FAILED_A_DAY, window_s: DAY_S };
        let entropy = &*self.app.platform.entropy;
        let store = &self.app.store;
        let verdict = store.rate(Self::NAME, &payer, limit, Price::Whole, now, entropy).await?;
        Ok(verdict == RateVerdict::Passes)
    }

    /// The report with what it counts for, and what it changes on its payment and on the lead's newest
    /// payments.
    async fn change(
        &self,
        lead: &Identified,
        event: &PaymentEvent,
        occurred_at: Timestamp,
    ) -> Result<Result<(PaymentEvent, PaymentChange), NotUnderstood>, StoreError> {
        let mut event = event.clone();
        let latest = lead.known.as_ref().map(|known| known.payments.clone()).unwrap_or_default();
        latest.fill(&mut event);
        let transaction = match Transaction::of(&event, self.revenue) {
            None => None,
            Some(new) => {
                let before = self.app.store.transaction_of(lead.id, &new.id).await?;
                let after = match &before {
                    None => new,
                    Some(known) => match known.transaction.clone().with(&event) {
                        Some(after) => after,
                        None => return Ok(Err(NotUnderstood("of_another_currency"))),
                    },
                };
                after.note(before.as_ref().map(|known| &known.transaction), &mut event);
                Some(TransactionChange { before, after })
            }
        };
        let payment = transaction.as_ref().map(|change| &change.after);
        let after = latest.with(&event, occurred_at, payment);
        let lead_version = lead.known.as_ref().map(|known| known.version);
        let latest = (after != latest).then_some(LatestChange { lead_version, after });
        Ok(Ok((event, PaymentChange { transaction, latest })))
    }

    async fn accept(
        &self,
        update: &PaymentUpdate,
        event: PaymentEvent,
        arrival: &Arrival,
        lead: Identified,
        change: &PaymentChange,
    ) -> Result<Accepted, StoreError> {
        let now = arrival.now;
        let receipt = receipt(stripe::NAME, &[update.id.as_str()]);
        // Only somebody who paid grants `contact`: a person who only tried may have typed another person's e-mail.
        let consent = if event.has_paid() && update.payer.email.is_some() {
            ConsentChanges::of_contract(now)
        } else {
            ConsentChanges::default()
        };
        let report = Report {
            id: update.id.clone(),
            occurred_at: update.occurred_at,
            data: event.into(),
            consent,
        };
        let incoming = report.of::<Self>(lead, &receipt, arrival);
        self.app.accept_payment(&incoming, change, now).await
    }
}
