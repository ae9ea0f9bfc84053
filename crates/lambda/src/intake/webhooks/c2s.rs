//! `c2s-webhook`: Contact2Sale reports its leads, one by one or hundreds at once.
//!
//! Each event of a request stands alone: it is kept with its own lead in a transaction of its own, once however often
//! it comes, or is quarantined for a person, and the response says of each what became of it. Events of one of
//! Contact2Sale's leads are taken in their order, and too many of them are worked on later. Contacts no provider.

use std::collections::BTreeMap;
use std::net::IpAddr;

use funil_core::clock::after;
use funil_core::contact::consent::{ConsentChanges, Purpose};
use funil_core::destination;
use funil_core::hash::{Digest, sha256_hex};
use funil_core::lead::LeadChanges;
use funil_core::provider::c2s::{self, Part, Report as Parsed};
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::settings::{ConfigError, Env, Secret, Settings};
use funil_core::site::Rate;
use funil_store::{Accepted, Platform, RateLimit, StoreError};
use futures::StreamExt as _;
use http::{HeaderName, StatusCode};
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::api::{Operation, Returned, count, list, object, text, with};
use crate::app::App;
use crate::functions::{KeyIssuer, Registration, Signature};
use crate::http::guard;
use crate::intake::identify::{Hints, Writer};
use crate::intake::webhook::{self, Arrival, Kept, Report, Webhook, receipt};
use crate::platform::request::HttpRequest;

const SECRET: &str = "C2S_WEBHOOK_SECRET";
const ALLOWED_IPS: &str = "C2S_ALLOWED_IPS";
const LEAD_RATE: &str = "C2S_LEAD_RATE";
const LEGAL_BASIS: &str = "ENRICHMENT_LEGAL_BASIS";
/// How many events of one of Contact2Sale's leads are worked on in how many seconds, unless `C2S_LEAD_RATE` says
/// otherwise.
const LEAD_RATE_DEFAULT: Rate = Rate { requests: 10, window_s: 60 };
/// For how long an event of a lead that has too many is put off at most, in seconds.
const PUT_OFF_S_MAX: i64 = 60 * 60;
/// The kind of alias under which the lead of one of Contact2Sale's leads is found again.
const ALIAS: &str = "c2s_lead";
/// How many events of one request are worked on at once.
const SIDE_BY_SIDE: usize = 16;
/// For how long events of one request are begun, in seconds.
const BEGINS_FOR_S: i64 = 20;
/// No event is begun with less time left than this, in seconds.
const PART_S: i64 = 4;
/// How often a lead is looked for again because another event wrote to it meanwhile.
const TRIES: usize = 5;

/// `c2s-webhook`: Contact2Sale signs nothing, so its requests carry a token, also in the address.
pub static REGISTRATION: Registration = Registration {
    name: "c2s-webhook",
    quarantine_source: Some(c2s::NAME),
    variables: &[(SECRET, "local-stage-c2s-secret")],
    signature: Some(Signature {
        key_variable: SECRET,
        issued_by: KeyIssuer::Owner,
        header: c2s::TOKEN_HEADER,
        sign: |_, secret, _| secret.expose().to_owned(),
    }),
};

struct C2sWebhook {
    app: App,
    tokens: Vec<Secret>,
    /// The networks that requests may come from; all of them, if the list is empty.
    allowed: Vec<IpNet>,
    lead_rate: RateLimit,
    /// Whether leads are looked up at all.
    looks_up: bool,
}

/// Makes `c2s-webhook`. Of its own it reads the tokens, the networks that requests may come from, the rate of one lead,
/// and whether people are looked up.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let app = App::read_intake(&mut settings, platform);
    let tokens = settings.chosen_secrets(SECRET);
    let allowed = allowed(&mut settings);
    let lead_rate = Rate::read(&mut settings, LEAD_RATE, LEAD_RATE_DEFAULT);
    let has_basis = settings.optional(LEGAL_BASIS).is_some();
    let endpoint = app.zip(tokens).zip(allowed).zip(lead_rate);
    let endpoint = endpoint.map(|(((app, tokens), allowed), rate)| {
        let lead_rate = RateLimit { requests: rate.requests, window_s: rate.window_s };
        let is_on =
            destination::find(c2s::NAME).is_some_and(|one| app.config.destinations.contains(&one));
        C2sWebhook { app, tokens, allowed, lead_rate, looks_up: is_on && has_basis }
    });
    settings.finish(endpoint).map(webhook::function)
}

fn allowed(settings: &mut Settings<'_>) -> Option<Vec<IpNet>> {
    let read = |text: &str| {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(address)
    };
    let networks: Option<Vec<IpNet>> = settings.list(ALLOWED_IPS).into_iter().map(read).collect();
    networks.or_else(|| {
        settings.problem(format!(
            "{ALLOWED_IPS} must be a list of addresses and networks, such as 203.0.113.7,198.51.100.0/24."
        ))
    })
}

pub(crate) fn operations() -> Vec<Operation> {
    let summary = "Records the leads that Contact2Sale reports, one or up to 500 at once.";
    let mut operation = webhook::operation::<C2sWebhook>(&REGISTRATION, summary);
    let result = object([("index", count()), ("status", json!({"enum": Done::NAMES}))]);
    let result =
        with(result, [("id", text()), ("action", text()), ("eventId", text()), ("error", text())]);
    let report = object([
        ("received", count()),
        ("processed", count()),
        ("duplicates", count()),
        ("failed", count()),
        ("results", list(&result)),
    ]);
    let returned = |status, when, headers| Returned {
        status,
        when,
        content: Some(("application/json", report.clone())),
        headers,
    };
    operation.returns = vec![
        returned(200, "At least one event is kept, or was kept before.", &[]),
        returned(400, "No event is understood; each waits for a person.", &[]),
        returned(
            503,
            "Some events are not kept, and the same request has to come again.",
            &["Retry-After"],
        ),
    ];
    operation.query = &[c2s::TOKEN_PARAMETER];
    vec![operation]
}

/// What became of an event.
enum Done {
    Received,
    Duplicate,
    /// It waits for a person, for this reason.
    Aside(NotUnderstood),
    /// It is not kept, and has to come again.
    Unavailable,
    /// It was not begun, because the time was up.
    NotReached,
}

impl Done {
    /// What the response says of an event.
    const NAMES: [&str; 4] = ["received", "duplicate", "failed", "not_reached"];

    const fn name(&self) -> &'static str {
        let [received, duplicate, failed, not_reached] = Self::NAMES;
        match self {
            Self::Received => received,
            Self::Duplicate => duplicate,
            Self::Aside(_) | Self::Unavailable => failed,
            Self::NotReached => not_reached,
        }
    }

    const fn error(&self) -> Option<&'static str> {
        match self {
            Self::Received | Self::Duplicate => None,
            Self::Aside(why) => Some(why.0),
            Self::Unavailable => Some("unavailable"),
            Self::NotReached => Some("time_is_up"),
        }
    }
}

impl Webhook for C2sWebhook {
    const NAME: &'static str = REGISTRATION.name;
    const PROVIDER: &'static str = c2s::NAME;
    const BODY_BYTES_MAX: usize = 1024 * 1024;
    const QUARANTINED_STATUS: StatusCode = StatusCode::BAD_REQUEST;
    type Parsed = Vec<Part>;

    fn app(&self) -> &App {
        &self.app
    }

    /// Contact2Sale can set no header, so the token may stand in the address. Where there is a list of addresses, the
    /// request has to come from one, too.
    fn verify<'r>(
        &self,
        request: &'r HttpRequest,
        _now: Timestamp,
    ) -> Result<Verified<'r>, NotSigned> {
        let header = guard::header(request, HeaderName::from_static(c2s::TOKEN_HEADER));
        let in_address = guard::parameter(request, c2s::TOKEN_PARAMETER);
        let verified = c2s::verify(&request.body, [header, in_address], &self.tokens)?;
        let ip = request.client_ip.map(|ip| ip.to_canonical());
        let is_allowed = |network: &IpNet| ip.is_some_and(|ip| network.contains(&ip));
        if self.allowed.is_empty() || self.allowed.iter().any(is_allowed) {
            return Ok(verified);
        }
        tracing::warn!(
            function = Self::NAME,
            "{} refused a request with the right token, because {ALLOWED_IPS} does not list the address that it came from",
            Self::NAME
        );
        Err(NotSigned)
    }

    fn parse(&self, verified: Verified<'_>, _: &str) -> Result<Vec<Part>, NotUnderstood> {
        c2s::parse(verified)
    }

    fn quarantined_response(why: NotUnderstood) -> Value {
        let result = json!({"index": 0, "status": "failed", "error": why.0});
        json!({"received": 1, "processed": 0, "duplicates": 0, "failed": 1, "results": [result]})
    }

    async fn keep(&self, parts: &Vec<Part>, arrival: &Arrival) -> Result<Kept, StoreError> {
        if arrival.released.is_some() {
            return self.keep_released(parts, arrival).await;
        }
        if parts.len() > c2s::EVENTS_MAX {
            return Ok(Kept::Quarantine(NotUnderstood("too_many_events")));
        }
        Ok(response(parts, &self.take_all(parts, arrival).await))
    }
}

impl C2sWebhook {
    /// Keeps what a person releases from quarantine: either one event, or a whole request that had more than
    /// [`c2s::EVENTS_MAX`] events. An event that is still not understood stays in quarantine.
    async fn keep_released(&self, parts: &[Part], arrival: &Arrival) -> Result<Kept, StoreError> {
        if let Some(why) = parts.iter().find_map(|part| part.event.as_ref().err()) {
            return Ok(Kept::Quarantine(*why));
        }
        if let [Part { event: Ok(event), .. }] = parts {
            return Ok(Kept::Accepted(event.id.clone(), self.take(event, arrival).await?));
        }
        // Of several events, the first one that is kept must not remove the whole request from quarantine.
        let arrival = Arrival { released: None, ..*arrival };
        let done = self.take_all(parts, &arrival).await;
        let incomplete =
            done.iter().any(|done| matches!(done, Done::Unavailable | Done::NotReached));
        Ok(Kept::Parts { incomplete, quarantine: None })
    }

    /// Takes the events of each lead in their order, and several leads at once.
    async fn take_all(&self, parts: &[Part], arrival: &Arrival) -> Vec<Done> {
        let mut of_leads: BTreeMap<(Option<&str>, usize), Vec<usize>> = BTreeMap::new();
        for (index, part) in parts.iter().enumerate() {
            let lead = part.lead.as_ref().map(funil_core::event::CrmId::as_str);
            // An event without a lead stands for itself.
            let place = if lead.is_some() { 0 } else { index };
            of_leads.entry((lead, place)).or_default().push(index);
        }
        let taken = futures::stream::iter(of_leads.into_values())
            .map(|places| self.take_in_order(parts, places, arrival));
        let taken: Vec<Vec<(usize, Done)>> = taken.buffer_unordered(SIDE_BY_SIDE).collect().await;
        let mut taken: Vec<(usize, Done)> = taken.into_iter().flatten().collect();
        taken.sort_by_key(|(index, _)| *index);
        taken.into_iter().map(|(_, done)| done).collect()
    }

    async fn take_in_order(
        &self,
        parts: &[Part],
        places: Vec<usize>,
        arrival: &Arrival,
    ) -> Vec<(usize, Done)> {
        let mut taken = Vec::with_capacity(places.len());
        for place in places {
            let Some(part) = parts.get(place) else { continue };
            let now = self.app.platform.clock.now();
            let is_late = now >= after(arrival.now, BEGINS_FOR_S);
            let done = if is_late || after(now, PART_S) > arrival.stop_at {
                Done::NotReached
            } else {
                self.take_part(part, arrival).await
            };
            taken.push((place, done));
        }
        taken
    }

    /// Takes an event, or quarantines it for a person.
    async fn take_part(&self, part: &Part, arrival: &Arrival) -> Done {
        let event = match &part.event {
            Ok(event) => event,
            Err(why) => {
                let body = part.raw.expose().as_bytes();
                let part = (body, "application/json");
                return match webhook::quarantine_request::<Self>(&self.app, part, *why, arrival.now)
                    .await
                {
                    Ok(_) => Done::Aside(*why),
                    Err(error) => {
                        tracing::warn!(
                            function = Self::NAME,
                            "the event of Contact2Sale with the SHA-256 {} is not understood ({}), could not be put \
                             into quarantine, and has to come again: {error}",
                            sha256_hex(body),
                            why.0
                        );
                        Done::Unavailable
                    }
                };
            }
        };
        match self.take(event, arrival).await {
            Ok(Accepted::Kept) => Done::Received,
            Ok(Accepted::Duplicate(_)) => {
                webhook::count_duplicate::<Self>(&self.app, &event.id, arrival.now);
                Done::Duplicate
            }
            Ok(
                accepted @ (Accepted::Overtaken
                | Accepted::NoSuchLead
                | Accepted::OtherEmail
                | Accepted::KeyReused
                | Accepted::KeyOfAnother
                | Accepted::NotInQuarantine
                | Accepted::Exists(_)
                | Accepted::TooManyNewLeads),
            ) => {
                tracing::info!(
                    function = Self::NAME,
                    event = %event.id,
                    "{} did not keep {}, which has to come again, because {}",
                    Self::NAME,
                    event.id,
                    webhook::why_not_kept(&accepted)
                );
                Done::Unavailable
            }
            Err(error) => {
                tracing::warn!(
                    function = Self::NAME,
                    event = %event.id,
                    "{} could not keep {}, which has to come again: {error}",
                    Self::NAME,
                    event.id
                );
                Done::Unavailable
            }
        }
    }

    async fn take(&self, parsed: &Parsed, arrival: &Arrival) -> Result<Accepted, StoreError> {
        let receipt = receipt(c2s::NAME, &[parsed.id.as_str()]);
        // Duplicates are recognised here, before the event counts against its lead's rate. The transaction checks
        // again.
        if let Some(known) = self.app.store.receipt(&receipt, arrival.now).await? {
            return Ok(known);
        }
        let hash = &self.app.config.hash_key;
        let alias: (&'static str, Digest) = (ALIAS, hash.digest(ALIAS, parsed.lead.lead.as_str()));
        let mut data = parsed.lead.clone();
        if self.looks_up {
            data.not_before = self.not_before(&alias.1, arrival.now).await?;
        } else {
            // Only the look-up of people needs these fields, so they are not kept without it.
            (data.cpf, data.name, data.email, data.phone) = (None, None, None, None);
        }
        let objects = [alias];
        let hints = Hints {
            objects: &objects,
            lead_ids: &[],
            written_by: Writer::Site,
            email: parsed.contact.email.as_ref(),
            source: c2s::NAME,
        };
        let changes = LeadChanges::of_contact(&parsed.contact);
        for _ in 0..TRIES {
            let found = self.app.identify(&hints, changes.clone()).await?;
            let lead = found.unwrap_or_else(|| self.app.lead_of_objects(&hints, changes.clone()));
            let report = Report {
                id: parsed.id.clone(),
                occurred_at: data.updated_at.min(arrival.now),
                data: data.clone().into(),
                consent: ConsentChanges::of_operator(&[Purpose::Contact], arrival.now),
            };
            let incoming = report.of::<Self>(lead, &receipt, arrival);
            let accepted = self.app.accept(&incoming, arrival.now).await?;
            if accepted != Accepted::Overtaken {
                return Ok(accepted);
            }
        }
        Ok(Accepted::Overtaken)
    }

    /// When an event of a lead is worked on, if not at once.
    async fn not_before(
        &self,
        lead: &Digest,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (store, entropy) = (&self.app.store, &*self.app.platform.entropy);
        let bucket = (ALIAS, lead);
        let at = store.reserve(bucket, self.lead_rate, PUT_OFF_S_MAX, now, entropy).await?;
        Ok(Some(at).filter(|at| *at > now))
    }
}

/// The response, which says of each event what became of it.
fn response(parts: &[Part], done: &[Done]) -> Kept {
    let of = |wanted: fn(&Done) -> bool| done.iter().filter(|done| wanted(done)).count();
    let processed = of(|done| matches!(done, Done::Received));
    let duplicates = of(|done| matches!(done, Done::Duplicate));
    let comes_again = of(|done| matches!(done, Done::Unavailable | Done::NotReached));
    let results = parts.iter().zip(done).enumerate().map(|(index, (part, done))| {
        let mut result = json!({"index": index, "status": done.name()});
        if let Some(id) = &part.lead {
            result["id"] = json!(id.as_str());
        }
        if let Some(action) = &part.action {
            result["action"] = json!(action);
        }
        if let Ok(event) = &part.event {
            result["eventId"] = json!(event.id);
        }
        if let Some(error) = done.error() {
            result["error"] = json!(error);
        }
        result
    });
    let body = json!({
        "received": parts.len(),
        "processed": processed,
        "duplicates": duplicates,
        "failed": parts.len() - processed - duplicates,
        "results": results.collect::<Vec<_>>(),
    });
    let status = match (comes_again, processed + duplicates) {
        (1.., _) => StatusCode::SERVICE_UNAVAILABLE,
        (0, 0) => StatusCode::BAD_REQUEST,
        (0, 1..) => StatusCode::OK,
    };
    Kept::Said { status, body }
}
