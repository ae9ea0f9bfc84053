//! `deal-webhook/<crm>`: a CRM reports that a deal came to a status.
//!
//! Finds the lead of the deal, or makes one, and keeps what happened. Which CRMs there are, and what each says, is in
//! `funil_core::provider::deals`. Contacts no provider.

use funil_core::contact::LEADS_COMPARED;
use funil_core::contact::consent::{ConsentChanges, Purpose};
use funil_core::lead::LeadChanges;
use funil_core::provider::deals::{self, Crm, Parsed, Statuses};
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::settings::{ConfigError, Env, Secret, Settings};
use funil_store::{Accepted, Platform, StoreError};
use http::header::CONTENT_TYPE;
use http::{HeaderName, StatusCode};
use jiff::Timestamp;

use crate::Function;
use crate::api::{Operation, RequestHeader};
use crate::app::App;
use crate::functions::{KeyIssuer, Registration, Signature};
use crate::http::guard;
use crate::http::problem::Problem;
use crate::intake::identify::{Hints, Identified, Writer};
use crate::intake::webhook::{self, Arrival, Kept, Report, Webhook, receipt};
use crate::platform::request::HttpRequest;

const KEY: &str = "DEAL_API_KEY";
const PURPOSES: &str = "DEAL_PURPOSES";
/// The kind of alias under which the lead of a CRM's contact is found again.
const CONTACT: &str = "deal_contact";
/// The parameters by which the quarantine's content type keeps the CRM and the event.
const CRM_PARAMETER: &str = "crm";
const EVENT_PARAMETER: &str = "event";
/// The longest name of an event, in characters.
const EVENT_CHARS_MAX: usize = 60;
/// How often a lead is looked for again because another report wrote to it meanwhile.
const TRIES: usize = 5;

/// `deal-webhook`: no CRM signs its requests, so they carry a key.
pub static REGISTRATION: Registration = Registration {
    name: "deal-webhook",
    quarantine_source: Some(deals::NAME),
    variables: &[(KEY, "local-stage-deal-key")],
    signature: Some(Signature {
        key_variable: KEY,
        issued_by: KeyIssuer::Owner,
        header: deals::KEY_HEADER,
        sign: |_, secret, _| secret.expose().to_owned(),
    }),
};

struct DealWebhook {
    app: App,
    keys: Vec<Secret>,
    statuses: Statuses,
    /// What the operator states that the CRM's contacts agreed to.
    purposes: Vec<Purpose>,
}

/// Makes `deal-webhook`. Of its own it reads the keys, the names of statuses and the purposes of the consent.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let app = App::read_intake(&mut settings, platform);
    let keys = settings.chosen_secrets(KEY);
    let statuses = Statuses::read(&mut settings);
    let purposes = purposes(&mut settings);
    let endpoint = app.zip(keys).zip(statuses).zip(purposes);
    let endpoint = endpoint.map(|(((app, keys), statuses), purposes)| DealWebhook {
        app,
        keys,
        statuses,
        purposes,
    });
    settings.finish(endpoint).map(webhook::function)
}

fn purposes(settings: &mut Settings<'_>) -> Option<Vec<Purpose>> {
    let named = settings.list(PURPOSES);
    if named.is_empty() {
        return Some(vec![Purpose::Contact]);
    }
    let read: Option<Vec<Purpose>> = named.into_iter().map(Purpose::parse).collect();
    read.or_else(|| {
        let known = Purpose::ALL.map(Purpose::name).join(", ");
        settings.problem(format!("{PURPOSES} must be a list of these: {known}."))
    })
}

pub(crate) fn operations() -> Vec<Operation> {
    let summary = "Records a deal's status that a CRM reports.";
    let operation = webhook::operation::<DealWebhook>(&REGISTRATION, summary);
    let mut operation = operation.refuses([Problem::NoSuchCrm]);
    operation.headers = &[RequestHeader {
        name: deals::EVENT_HEADER,
        pattern: "^[A-Za-z0-9._-]+$",
        meaning: "What happened; nothing is kept of what does not begin with `deal`.",
    }];
    vec![operation]
}

/// The CRM that the address names.
fn crm_of(request: &HttpRequest) -> Option<&'static Crm> {
    let last = request.path.trim_end_matches('/').rsplit('/').next();
    deals::find(last.filter(|last| !last.is_empty() && *last != REGISTRATION.name))
}

/// A parameter of a content type.
fn parameter<'t>(content_type: &'t str, name: &str) -> Option<&'t str> {
    let mut parameters = content_type.split(';').filter_map(|one| one.trim().split_once('='));
    parameters.find(|(key, _)| *key == name).map(|(_, value)| value)
}

impl Webhook for DealWebhook {
    const NAME: &'static str = REGISTRATION.name;
    const PROVIDER: &'static str = deals::NAME;
    const QUARANTINED_STATUS: StatusCode = StatusCode::ACCEPTED;
    type Parsed = Parsed;

    fn app(&self) -> &App {
        &self.app
    }

    fn admit(&self, request: &HttpRequest) -> Result<(), Problem> {
        crm_of(request).map(|_| ()).ok_or(Problem::NoSuchCrm)
    }

    fn content_type(&self, request: &HttpRequest) -> String {
        let kind = guard::header(request, CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let event = HeaderName::from_static(deals::EVENT_HEADER);
        let event = guard::header(request, event).unwrap_or_default();
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
        let event: String = event.chars().filter(is_plain).take(EVENT_CHARS_MAX).collect();
        let crm = crm_of(request).map_or("", |crm| crm.name);
        format!("{kind};{CRM_PARAMETER}={crm};{EVENT_PARAMETER}={event}")
    }

    fn verify<'r>(
        &self,
        request: &'r HttpRequest,
        _now: Timestamp,
    ) -> Result<Verified<'r>, NotSigned> {
        let header = |name: &str| {
            let value = request.headers.get(name)?.to_str().ok()?;
            Some(value.trim().to_owned())
        };
        crm_of(request).ok_or(NotSigned)?.verify(&request.body, &header, &self.keys)
    }

    fn parse(&self, verified: Verified<'_>, content_type: &str) -> Result<Parsed, NotUnderstood> {
        let crm = deals::find(parameter(content_type, CRM_PARAMETER));
        let event = parameter(content_type, EVENT_PARAMETER).unwrap_or_default();
        crm.ok_or(NotUnderstood("crm_not_known"))?.parse(verified, event, &self.statuses)
    }

    async fn keep(&self, parsed: &Parsed, arrival: &Arrival) -> Result<Kept, StoreError> {
        let report = match parsed {
            Parsed::Other(event) => return Ok(Kept::Ignored { event: event.clone() }),
            Parsed::Report(report) => report,
        };
        for _ in 0..TRIES {
            let Some(lead) = self.lead_of(report).await? else {
                let event = format!("{} of nobody known", report.data.name());
                return Ok(Kept::Ignored { event });
            };
            let kept = Report {
                id: report.id.clone(),
                // Meta takes nothing of the future.
                occurred_at: report.occurred_at.unwrap_or(arrival.now).min(arrival.now),
                data: report.data.clone(),
                consent: ConsentChanges::of_operator(&self.purposes, arrival.now),
            };
            let receipt = receipt(deals::NAME, &[report.id.as_str()]);
            let incoming = kept.of::<Self>(lead, &receipt, arrival);
            let accepted = self.app.accept(&incoming, arrival.now).await?;
            if accepted != Accepted::Overtaken {
                return Ok(Kept::Accepted(report.id.clone(), accepted));
            }
        }
        Ok(Kept::Accepted(report.id.clone(), Accepted::Overtaken))
    }
}

impl DealWebhook {
    /// Finds the lead of a report: the contact's lead, or else the lead of the e-mail. If the report has another e-mail
    /// than the contact's lead, the lead of that e-mail is used, now and for the contact's later reports, so that
    /// nobody gets an e-mail about another person's deal. A deal whose contact has only an id creates a lead without
    /// an e-mail.
    async fn lead_of(&self, report: &deals::Report) -> Result<Option<Identified>, StoreError> {
        let (hash, store) = (&self.app.config.hash_key, &self.app.store);
        let email = report.contact.email.as_ref();
        let id = report.contact.id.as_ref().map(|id| format!("{}:{}", report.crm, id.as_str()));
        let contact = id.map(|id| (CONTACT, hash.digest(CONTACT, &id)));
        let mut leads = Vec::new();
        if let Some((kind, digest)) = &contact {
            // The one that was linked last first.
            let ids = store.leads_of((*kind, digest), LEADS_COMPARED).await?;
            leads = store.known_leads(&ids).await?;
        }
        let current = leads.first();
        let known = current.and_then(|lead| lead.latest.email.as_ref());
        let moves = email.is_some() && known.is_some() && known != email;
        let is_shared = moves || leads.len() > 1;
        let (owned, shared): (Vec<_>, Vec<_>) = contact.into_iter().partition(|_| !is_shared);
        let carried: Vec<_> =
            current.filter(|_| email.is_none()).map(|lead| lead.id).into_iter().collect();
        let hints = Hints {
            objects: &owned,
            lead_ids: &carried,
            written_by: Writer::Site,
            email,
            source: report.crm,
        };
        let changes = LeadChanges::of_contact(&report.contact);
        let mut found = self.app.identify(&hints, changes.clone()).await?;
        if let Some(found) = &mut found {
            found.shared = shared;
        }
        Ok(found
            .or_else(|| report.deal.is_some().then(|| self.app.lead_of_objects(&hints, changes))))
    }
}
