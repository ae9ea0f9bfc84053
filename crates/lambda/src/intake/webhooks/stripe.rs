//! `stripe-webhook`: Stripe reports that something was paid, refused, given back or disputed.
//!
//! Finds the lead of the payment and keeps what happened, with what the payment adds up to; somebody who paid
//! and is no lead becomes one. Contacts no provider (`docs/providers.md`, "Stripe").

use funil_core::contact::consent::ConsentChanges;
use funil_core::event::{Event, EventData, PaymentEvent};
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::lead::LeadChanges;
use funil_core::payment::{Revenue, Transaction};
use funil_core::provider::stripe::{self, Parsed, PaymentUpdate};
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::settings::{ConfigError, Env, Secret, Settings};
use funil_store::{
    Accepted, ConsentEvidence, KnownTransaction, Platform, StoreError, TransactionChange,
};
use http::{HeaderName, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::Function;
use crate::api::Operation;
use crate::app::App;
use crate::functions::{Registration, Signature};
use crate::http::guard;
use crate::intake::accept::Incoming;
use crate::intake::identify::{Hints, Identified, Writer};
use crate::intake::webhook::{self, Arrival, Kept, Webhook, receipt};
use crate::platform::request::HttpRequest;

const SECRET: &str = "STRIPE_WEBHOOK_SECRET";
const REVENUE: &str = "STRIPE_REVENUE";
const SIGNATURE: HeaderName = HeaderName::from_static(stripe::SIGNATURE_HEADER);
/// The kind of alias under which the lead of a payment, a charge, an invoice or a subscription is found
/// again.
const PAYMENT: &str = "stripe_payment";
/// The kind of alias under which the lead of a customer is found again.
const CUSTOMER: &str = "stripe_customer";
/// For how long Stripe is asked to repeat a report of nobody who is known: the report that names them, as that
/// of the checkout, may be on its way.
const KNOWN_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// How often a payment is read again because another report changed it meanwhile.
const TRIES: usize = 3;

/// What is known of the function without starting it.
pub static REGISTRATION: Registration = Registration {
    name: "stripe-webhook",
    quarantine_source: stripe::NAME,
    variables: &[(SECRET, "local-stage-stripe-secret")],
    signature: Some(Signature {
        key_variable: SECRET,
        header: stripe::SIGNATURE_HEADER,
        sign: stripe::sign,
    }),
};

struct StripeWebhook {
    app: App,
    secrets: Vec<Secret>,
    revenue: Revenue,
}

/// Configures the function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let app = App::read_intake(&mut settings, platform);
    let secrets = settings.issued_secrets(SECRET);
    let revenue = revenue(&mut settings);
    let endpoint = app.zip(secrets).zip(revenue);
    let endpoint =
        endpoint.map(|((app, secrets), revenue)| StripeWebhook { app, secrets, revenue });
    settings.finish(endpoint).map(webhook::function)
}

fn revenue(settings: &mut Settings<'_>) -> Option<Revenue> {
    match settings.optional(REVENUE) {
        None | Some("payments") => Some(Revenue::Payments),
        Some("invoices") => Some(Revenue::Invoices),
        Some(_) => settings.problem(format!("{REVENUE} must be payments or invoices.")),
    }
}

/// What it takes and returns.
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

    fn parse(&self, verified: Verified<'_>) -> Result<Parsed, NotUnderstood> {
        stripe::parse(verified)
    }

    async fn keep(&self, parsed: &Parsed, arrival: &Arrival) -> Result<Kept, StoreError> {
        match parsed {
            Parsed::Other(event) => Ok(Kept::Ignored { event: event.clone() }),
            Parsed::Payment(update) => self.keep_payment(update, arrival).await,
        }
    }

    fn name_lead(body: &mut Value, lead: LeadId) -> bool {
        stripe::name_lead(body, lead)
    }
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
            let Some(lead) = self.lead_of(update, event).await? else {
                let age = arrival.now.duration_since(update.occurred_at);
                if age < KNOWN_WITHIN && arrival.released.is_none() {
                    return Ok(Kept::Parts { incomplete: true, quarantine: None });
                }
                return Ok(Kept::Quarantine(NotUnderstood("of_nobody_known")));
            };
            let change = match self.change(lead.id, event).await? {
                Ok(change) => change,
                Err(why) => return Ok(Kept::Quarantine(why)),
            };
            match self.accept(update, arrival, lead, change.as_ref()).await? {
                Accepted::Overtaken => {}
                accepted @ (Accepted::Kept
                | Accepted::Duplicate(_)
                | Accepted::KeyReused
                | Accepted::KeyOfAnother
                | Accepted::OtherEmail
                | Accepted::NoSuchLead
                | Accepted::Exists(_)
                | Accepted::NotInQuarantine
                | Accepted::TooManyNewLeads) => return Ok(Kept::Accepted(accepted)),
            }
        }
        Ok(Kept::Accepted(Accepted::Overtaken))
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
        // One customer may pay for several people, so what the site wrote counts before it.
        let named = self.app.store.known_leads(update.named.as_slice()).await?;
        let named: Vec<LeadId> = named.into_iter().map(|lead| lead.id).collect();
        if named.is_empty() {
            objects.extend(customer.clone());
        }
        let hints = Hints {
            objects: &objects,
            lead_ids: &named,
            written_by: Writer::Site,
            email: update.payer.email.as_ref(),
            source: stripe::NAME,
        };
        let changes = LeadChanges::of_payment(event, &update.payer);
        let Some(mut lead) = self.app.identify(&hints, changes).await? else { return Ok(None) };
        if let Some((kind, digest)) = customer.filter(|_| !named.is_empty()) {
            let owners = self.app.store.leads_of((kind, &digest), 1).await?;
            if owners.first().is_none_or(|owner| *owner == lead.id) {
                lead.objects.push((kind, digest));
            }
        }
        Ok(Some(lead))
    }

    /// What a report changes on its payment; the inner `None` where it moves no money.
    async fn change(
        &self,
        lead: LeadId,
        event: &PaymentEvent,
    ) -> Result<Result<Option<TransactionChange>, NotUnderstood>, StoreError> {
        let Some(new) = Transaction::of(event, self.revenue) else { return Ok(Ok(None)) };
        let known: Option<KnownTransaction> = self.app.store.transaction_of(lead, &new.id).await?;
        let after = match &known {
            None => Some(new),
            Some(known) => known.transaction.clone().with(event),
        };
        Ok(match after {
            Some(after) => Ok(Some(TransactionChange { before: known, after })),
            None => Err(NotUnderstood("of_another_currency")),
        })
    }

    async fn accept(
        &self,
        update: &PaymentUpdate,
        arrival: &Arrival,
        lead: Identified,
        change: Option<&TransactionChange>,
    ) -> Result<Accepted, StoreError> {
        let now = arrival.now;
        let receipt = receipt(stripe::NAME, &[update.id.as_str()]);
        // Somebody who pays has a contract. Whoever only tries can give anybody's e-mail.
        let has_paid = matches!(&update.data, EventData::Payment(event) if event.has_paid());
        let consent = if has_paid && update.payer.email.is_some() {
            ConsentChanges::of_contract(now)
        } else {
            ConsentChanges::default()
        };
        let incoming = Incoming {
            function: Self::NAME,
            event: Event {
                id: update.id.clone(),
                lead_id: lead.id,
                occurred_at: update.occurred_at,
                accepted_at: now,
                supplied_lead_id: lead.elsewhere,
                signs: Vec::new(),
                data: update.data.clone(),
            },
            lead: lead.write,
            changes: lead.changes,
            consent,
            explicit_consent: None,
            evidence: ConsentEvidence { form: Self::NAME.to_owned(), ..Default::default() },
            receipt: &receipt,
            aliases: lead.aliases,
            beside: None,
            other_aliases: lead.objects,
            person: lead.person,
            released: arrival.released.clone(),
        };
        self.app.accept_payment(&incoming, change, now).await
    }
}
