//! The configuration of a site: what all functions share, and what intake functions read in
//! addition.
//!
//! Owns the names and rules of these variables; `docs/configuration.md` describes them. It must not
//! know the variables of any destination.

use url::Url;

use crate::contact::consent::Purpose;
use crate::delivery::{Queue, SHARDS_MAX, SWEPT_AFTER_S, Shard, Shards, Start};
use crate::destination::{self, Destination};
use crate::hash::HashKey;
use crate::id::LeadId;
use crate::settings::{Environment, Secret, Settings, is_exposed};

/// The configuration that every function of a site shares.
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// `TABLE_NAME`: the DynamoDB table.
    pub table: String,
    /// `DESTINATIONS`: the destinations that are on.
    pub destinations: Vec<&'static Destination>,
    /// `SITE_URL`: the address of the site.
    pub site_url: Url,
    /// `CORS_ORIGINS`: the exact origins that may send forms, without a slash at the end.
    pub cors_origins: Vec<String>,
    /// `SERVICE_TOKEN`: the tokens of authorised requests. Any one of them is accepted.
    pub service_tokens: Vec<Secret>,
    /// `HASH_KEY`: the key of digests.
    pub hash_key: HashKey,
    /// `RETENTION_QUARANTINE`: for how many days a request is kept in quarantine.
    pub quarantine_days: i64,
    /// `RETENTION_DELIVERIES`: for how many days a delivery is kept after it was settled.
    pub delivery_days: i64,
    /// `RINGS`: whether rings name the deliveries that they are for.
    pub rings: Rings,
    /// `DUE_SHARDS`: over how many shards deliveries are spread.
    pub due_shards: Shards,
}

/// What makes a table.
#[derive(Clone, Debug)]
pub struct TableConfig {
    /// `TABLE_NAME`: its name.
    pub name: String,
    /// `HASH_KEY`: the key of digests, which is permanent for a table.
    pub hash_key: HashKey,
}

impl TableConfig {
    /// Reads the configuration. What is missing or invalid is recorded in `settings`.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let name = settings.optional("TABLE_NAME").unwrap_or(DEFAULT_TABLE).to_owned();
        let hash_key = settings.secret("HASH_KEY").and_then(|secret| {
            HashKey::new(secret.expose()).or_else(|| {
                let least = HashKey::BYTES_MIN;
                settings.problem(format!("HASH_KEY must have at least {least} characters."))
            })
        });
        Some(Self { name, hash_key: hash_key? })
    }
}

/// The table's name where `TABLE_NAME` is not set.
pub const DEFAULT_TABLE: &str = "funil";

/// Whether rings name the deliveries that they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rings {
    /// They do not: what is due at once is found by the index.
    None,
    /// Those of `dispatch` do, which reads the table's stream.
    Stream,
    /// Those of intake do, and `dispatch` passes them on.
    Http,
}

impl Rings {
    /// How old a due delivery is before a sweep takes it, in seconds.
    pub const fn swept_after_s(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Stream | Self::Http => SWEPT_AFTER_S,
        }
    }

    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        match settings.optional("RINGS").unwrap_or("none") {
            "none" => Some(Self::None),
            "stream" => Some(Self::Stream),
            "http" if settings.optional("DOORBELL_URL").is_none() => {
                settings.problem("RINGS=http needs DOORBELL_URL, by which intake rings dispatch.")
            }
            "http" => Some(Self::Http),
            _ => settings.problem("RINGS must be none, stream or http."),
        }
    }
}

impl SiteConfig {
    /// Reads the configuration. What is missing or invalid is recorded in `settings`.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let table = TableConfig::read(settings);
        let destinations = settings
            .required("DESTINATIONS")
            .and_then(|_| destination_list(settings, "DESTINATIONS"));
        // Only the worker of a destination reads it, but a misspelt name is refused everywhere.
        let outside = destination_list(settings, "DELIVER_OUTSIDE_PRODUCTION").map(drop);
        let site_url = settings.url("SITE_URL", None);
        let service_tokens = settings.chosen_secrets("SERVICE_TOKEN");
        let cors_origins = cors_origins(settings);
        let quarantine_days = whole(settings, "RETENTION_QUARANTINE", QUARANTINE_DAYS);
        let delivery_days = delivery_days(settings);
        let rings = Rings::read(settings);
        let due_shards = due_shards(settings);
        let TableConfig { name: table, hash_key } = table?;
        Some(Self {
            table,
            delivery_days: delivery_days?,
            rings: rings?,
            due_shards: due_shards?,
            destinations: outside.and(destinations)?,
            site_url: site_url?,
            cors_origins: cors_origins?,
            service_tokens: service_tokens?,
            hash_key,
            quarantine_days: quarantine_days?,
        })
    }
}

impl SiteConfig {
    /// Where the deliveries of a lead stand, and how those start that are due at once.
    pub fn queue_of(&self, lead: LeadId) -> Queue {
        let start = match self.rings {
            Rings::None => Start::WhenDue,
            Rings::Stream | Rings::Http => Start::AtOnce,
        };
        Queue { start, ..self.swept_queue_of(lead) }
    }

    /// Where deliveries stand that no ring announces: the sweep finds them when they are due.
    pub fn swept_queue_of(&self, owner: LeadId) -> Queue {
        let shard = Shard::of(owner, &self.hash_key, self.due_shards);
        Queue { shard, start: Start::WhenDue }
    }
}

fn due_shards(settings: &mut Settings<'_>) -> Option<Shards> {
    let Some(text) = settings.optional("DUE_SHARDS") else { return Some(Shards::ONE) };
    text.parse().ok().and_then(Shards::new).or_else(|| {
        settings.problem(format!("DUE_SHARDS must be a whole number from 1 to {SHARDS_MAX}."))
    })
}

/// The default of `RETENTION_QUARANTINE`.
const QUARANTINE_DAYS: i64 = 90;
/// The default of `RETENTION_DELIVERIES`.
pub const DELIVERY_DAYS: i64 = 400;
/// The least that `RETENTION_DELIVERIES` may be: providers repeat requests for days, and people ask about
/// what they got for weeks.
const DELIVERY_DAYS_MIN: i64 = 90;
/// The default of `QUARANTINE_PER_DAY`.
const QUARANTINE_PER_DAY: i64 = 1000;

fn delivery_days(settings: &mut Settings<'_>) -> Option<i64> {
    let name = "RETENTION_DELIVERIES";
    let days = whole(settings, name, DELIVERY_DAYS)?;
    if days < DELIVERY_DAYS_MIN {
        return settings.problem(format!("{name} must be at least {DELIVERY_DAYS_MIN} days."));
    }
    Some(days)
}

/// A whole number above zero.
fn whole(settings: &mut Settings<'_>, name: &str, default: i64) -> Option<i64> {
    match settings.optional(name).map(str::parse::<u32>) {
        None => Some(default),
        Some(Ok(number)) if number > 0 => Some(number.into()),
        Some(_) => settings.problem(format!("{name} must be a whole number above zero.")),
    }
}

/// The origins of `CORS_ORIGINS`. In production none may be changed on its way to the browser.
fn cors_origins(settings: &mut Settings<'_>) -> Option<Vec<String>> {
    let origins = settings.list("CORS_ORIGINS").into_iter().map(|one| one.trim_end_matches('/'));
    let origins: Vec<&str> = origins.collect();
    let is_exposed = |origin: &&str| Url::parse(origin).is_ok_and(|url| is_exposed(&url));
    if settings.environment() == Environment::Production && origins.iter().any(is_exposed) {
        return settings.problem("CORS_ORIGINS must be https origins in production.");
    }
    Some(origins.into_iter().map(str::to_owned).collect())
}

fn destination_list(settings: &mut Settings<'_>, name: &str) -> Option<Vec<&'static Destination>> {
    let mut found = Vec::new();
    // `none` states explicitly that nothing is on.
    for item in settings.list(name).into_iter().filter(|item| *item != "none") {
        if let Some(destination) = destination::find(item) {
            if !found.contains(&destination) {
                found.push(destination);
            }
        } else {
            let known: Vec<_> = destination::ALL.iter().map(|known| known.name).collect();
            return settings.problem(format!(
                "{name} names a destination that does not exist; there are {}.",
                known.join(", ")
            ));
        }
    }
    Some(found)
}

/// The configuration of the functions that accept forms.
#[derive(Clone, Debug)]
pub struct IntakeConfig {
    /// `CONSENT_WHEN_ABSENT`: the purposes that a form without a consent object is assumed to
    /// grant.
    pub consent_when_absent: Vec<Purpose>,
    /// `THANK_YOU_URL`: where a plain HTML form is redirected after its submission.
    pub thank_you_url: Option<Url>,
    /// `CLIENT_IP_HEADER`: the lower-case name of the header in which a proxy of the site puts the
    /// client's address.
    pub client_ip_header: Option<String>,
    /// `NETLIFY_REWRITE_SECRET`: the secrets of Netlify's signed rewrite. A request that is signed with one
    /// of them names the visitor's address.
    pub rewrite_secrets: Vec<Secret>,
    /// How many requests one address may send to one endpoint.
    pub rates: Rates,
    /// `QUARANTINE_PER_DAY`: how many requests one form puts into quarantine in a day. Anybody can
    /// send them.
    pub quarantine_per_day: i64,
}

/// The kinds of endpoints that anybody may use, each with a limit for one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateClass {
    /// The forms that make a lead or lead it on.
    LeadForms,
    /// The site's other forms.
    SiteForms,
    /// What a browser or a tag manager reports.
    Tags,
}

impl RateClass {
    /// Every class, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::LeadForms, Self::SiteForms, Self::Tags];

    /// The variable with the limit.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::LeadForms => "RATE_LEAD_FORMS",
            Self::SiteForms => "RATE_SITE_FORMS",
            Self::Tags => "RATE_TAGS",
        }
    }

    /// The limit if the variable is unset.
    const fn default_rate(self) -> Rate {
        match self {
            Self::LeadForms => Rate { requests: 10, window_s: 60 },
            Self::SiteForms => Rate { requests: 100, window_s: 900 },
            Self::Tags => Rate { requests: 1000, window_s: 900 },
        }
    }
}

/// How many requests in how many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The number of requests.
    pub requests: i64,
    /// The window, in seconds.
    pub window_s: i64,
}

impl Rate {
    /// Parses a rate such as `10/60`.
    fn parse(text: &str) -> Option<Self> {
        let (requests, seconds) = text.split_once('/')?;
        let whole = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number > 0);
        Some(Self { requests: whole(requests)?.into(), window_s: whole(seconds)?.into() })
    }

    /// Reads a rate, or takes the default where the variable is unset.
    pub fn read(settings: &mut Settings<'_>, name: &str, default: Self) -> Option<Self> {
        let Some(text) = settings.optional(name) else { return Some(default) };
        Self::parse(text).or_else(|| {
            settings.problem(format!(
                "{name} must be requests and seconds, such as 10/60, both at least 1."
            ))
        })
    }
}

/// The limit of each [`RateClass`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates([Rate; 3]);

impl Rates {
    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let [lead_forms, site_forms, tags] = RateClass::ALL
            .map(|class| Rate::read(settings, class.variable(), class.default_rate()));
        Some(Self([lead_forms?, site_forms?, tags?]))
    }

    /// The limit of a class.
    pub const fn of(&self, class: RateClass) -> Rate {
        let [lead_forms, site_forms, tags] = self.0;
        match class {
            RateClass::LeadForms => lead_forms,
            RateClass::SiteForms => site_forms,
            RateClass::Tags => tags,
        }
    }
}

impl IntakeConfig {
    /// Reads the configuration. What is missing or invalid is recorded in `settings`.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let mut purposes = Some(Vec::new());
        // Only an explicit `none` turns the assumption off: a blank variable counts as unset.
        let listed = settings.list("CONSENT_WHEN_ABSENT");
        let listed = if listed.is_empty() { vec!["analytics"] } else { listed };
        for name in listed.into_iter().filter(|name| *name != "none") {
            if let Some(purpose) = Purpose::parse(name) {
                if let Some(purposes) = purposes.as_mut() {
                    purposes.push(purpose);
                }
            } else {
                purposes = settings.problem(
                    "CONSENT_WHEN_ABSENT takes marketing_email, whatsapp, analytics, ads or none.",
                );
                break;
            }
        }
        let thank_you_url = settings.optional_url("THANK_YOU_URL");
        let rates = Rates::read(settings);
        let rewrite_secrets = if settings.optional("NETLIFY_REWRITE_SECRET").is_some() {
            settings.chosen_secrets("NETLIFY_REWRITE_SECRET")
        } else {
            Some(Vec::new())
        };
        let quarantine_per_day = whole(settings, "QUARANTINE_PER_DAY", QUARANTINE_PER_DAY);
        Some(Self {
            consent_when_absent: purposes?,
            thank_you_url: thank_you_url?,
            client_ip_header: settings.optional("CLIENT_IP_HEADER").map(str::to_ascii_lowercase),
            rewrite_secrets: rewrite_secrets?,
            rates: rates?,
            quarantine_per_day: quarantine_per_day?,
        })
    }
}

/// The default of `BOOKING_THRESHOLD`.
const BOOKING_THRESHOLD: u8 = 60;

/// The configuration of what follows the questionnaire.
#[derive(Clone, Debug)]
pub struct BookingConfig {
    /// `BOOKING_THRESHOLD`: the lowest readiness score with which a lead is asked to book a call.
    pub threshold: u8,
    /// `CALENDLY_EVENT_URL`: the page where calls are booked. Without it there are no booking
    /// links.
    pub page: Option<Url>,
}

impl BookingConfig {
    /// Reads the configuration. What is missing or invalid is recorded in `settings`.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let threshold = match settings.optional("BOOKING_THRESHOLD").map(str::parse) {
            None => Some(BOOKING_THRESHOLD),
            Some(Ok(score @ 0..=100)) => Some(score),
            Some(_) => settings.problem("BOOKING_THRESHOLD must be a whole number from 0 to 100."),
        };
        let page = settings.optional_url("CALENDLY_EVENT_URL");
        Some(Self { threshold: threshold?, page: page? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{ConfigError, Env};

    fn read(variables: &[(&str, &str)]) -> Result<SiteConfig, ConfigError> {
        let env: Env = variables.iter().copied().collect();
        let mut settings = env.settings();
        let config = SiteConfig::read(&mut settings);
        settings.finish(config)
    }

    #[test]
    fn all_missing_variables_are_named_in_one_error() {
        let error = read(&[("DESTINATIONS", "crm,fax")]).unwrap_err().to_string();
        for name in ["SITE_URL", "SERVICE_TOKEN", "HASH_KEY", "DESTINATIONS"] {
            assert!(error.contains(name), "{name} in {error}");
        }
        assert!(!error.contains("fax"), "a value is never echoed");
    }

    #[test]
    fn a_complete_configuration_is_read() {
        let config = read(&[
            ("DESTINATIONS", "crm, ga4"),
            ("SITE_URL", "https://example.com"),
            ("SERVICE_TOKEN", "0123456789abcdef,fedcba9876543210"),
            ("HASH_KEY", "0123456789abcdef"),
            ("CORS_ORIGINS", "https://example.com/, https://www.example.com"),
            ("ENVIRONMENT", "preview"),
        ])
        .unwrap();
        assert_eq!(config.table, "funil");
        assert_eq!(config.service_tokens.len(), 2);
        assert_eq!(config.cors_origins, ["https://example.com", "https://www.example.com"]);
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn the_booking_threshold_is_a_whole_number_up_to_100() {
        let booking = |variables: &[(&str, &str)]| {
            let env: Env = variables.iter().copied().collect();
            let mut settings = env.settings();
            let config = BookingConfig::read(&mut settings);
            settings.finish(config).map(|config| config.threshold)
        };
        assert_eq!(booking(&[]), Ok(60));
        assert_eq!(booking(&[("BOOKING_THRESHOLD", "0")]), Ok(0));
        assert_eq!(booking(&[("BOOKING_THRESHOLD", "100")]), Ok(100));
        for wrong in ["101", "-1", "59.5", "high", "256"] {
            let error = booking(&[("BOOKING_THRESHOLD", wrong)]).unwrap_err().to_string();
            assert!(error.contains("BOOKING_THRESHOLD"), "{error}");
        }
        assert!(booking(&[("CALENDLY_EVENT_URL", "calendly.com/x")]).is_err());
    }
}
