//! Configuration: environment variables, read once at start.
//!
//! [`Settings`] notes every missing or bad name, so that a function refuses to start with all of
//! them in one message. Reading the process's environment is the shell's; here it is a map.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use url::Url;

use crate::consent::Purpose;
use crate::destination::{self, Destination};
use crate::hash::HashKey;

/// Environment variables, as they were at start.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[environment]")
    }
}

impl Env {
    /// A variable's value; blank counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// All of them, for a process that is to be started with the same.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.0.clone().into_iter()
    }

    /// Starts reading.
    pub fn settings(&self) -> Settings<'_> {
        Settings { env: self, problems: BTreeSet::new() }
    }
}

/// A credential. It has neither `Display` nor `Serialize`, and its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Marks a text as secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The credential itself, for the one request that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Everything that keeps a function from starting, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The configuration is incomplete. {}", self.0.join(" "))
    }
}

impl std::error::Error for ConfigError {}

/// Reads variables and collects what is wrong with them.
#[derive(Debug)]
pub struct Settings<'e> {
    env: &'e Env,
    problems: BTreeSet<String>,
}

impl<'e> Settings<'e> {
    /// Notes a problem; the answer is always `None`, for `?`.
    pub fn problem<T>(&mut self, sentence: impl Into<String>) -> Option<T> {
        self.problems.insert(sentence.into());
        None
    }

    /// A variable that may be absent.
    pub fn optional(&self, name: &str) -> Option<&'e str> {
        self.env.get(name)
    }

    /// A variable that has to be there.
    pub fn required(&mut self, name: &str) -> Option<&'e str> {
        let value = self.env.get(name);
        if value.is_none() {
            return self.problem(format!("Set {name}."));
        }
        value
    }

    /// A credential that has to be there.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        self.required(name).map(Secret::new)
    }

    /// An address: of the variable, else the default; required where there is no default.
    pub fn url(&mut self, name: &str, default: Option<&str>) -> Option<Url> {
        let text = match self.env.get(name).or(default) {
            Some(text) => text,
            None => self.required(name)?,
        };
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            Ok(_) | Err(_) => self.problem(format!("{name} must be an http or https address.")),
        }
    }

    /// An address that may be absent; `None` if it is there and no address.
    pub fn optional_url(&mut self, name: &str) -> Option<Option<Url>> {
        match self.env.get(name) {
            Some(_) => self.url(name, None).map(Some),
            None => Some(None),
        }
    }

    /// A list separated by commas.
    pub fn list(&self, name: &str) -> Vec<&'e str> {
        let items = self.env.get(name).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).collect()
    }

    /// Hands out what was read, or everything that was wrong.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            Some(_) | None => Err(ConfigError(self.problems.into_iter().collect())),
        }
    }
}

/// Where this deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// The real one: everything listed is delivered.
    Production,
    /// Any other: only what is pointed elsewhere or named is delivered.
    Other,
}

/// What every function of a site shares (design §9).
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// `TABLE_NAME`
    pub table: String,
    /// `DESTINATIONS`
    pub destinations: Vec<&'static Destination>,
    /// `ENVIRONMENT`
    pub environment: Environment,
    /// `DELIVER_OUTSIDE_PRODUCTION`
    pub deliver_outside_production: Vec<&'static Destination>,
    /// `SITE_URL`, without a slash at its end
    pub site_url: Url,
    /// `CORS_ORIGINS`, exact
    pub cors_origins: Vec<String>,
    /// `SERVICE_TOKEN`: any of them opens
    pub service_tokens: Vec<Secret>,
    /// `HASH_KEY`
    pub hash_key: HashKey,
}

impl SiteConfig {
    /// Reads the variables that all functions have.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let table = settings.optional("TABLE_NAME").unwrap_or("funil").to_owned();
        let destinations = settings
            .required("DESTINATIONS")
            .and_then(|_| destination_list(settings, "DESTINATIONS"));
        let outside = destination_list(settings, "DELIVER_OUTSIDE_PRODUCTION");
        let environment = match settings.optional("ENVIRONMENT") {
            None => Environment::Production,
            Some(name) if name.eq_ignore_ascii_case("production") => Environment::Production,
            Some(_) => Environment::Other,
        };
        let site_url = settings.url("SITE_URL", None);
        let cors_origins = settings
            .list("CORS_ORIGINS")
            .iter()
            .map(|o| o.trim_end_matches('/').to_owned())
            .collect();
        let service_tokens: Vec<Secret> =
            settings.list("SERVICE_TOKEN").into_iter().map(Secret::new).collect();
        if service_tokens.is_empty() {
            settings.problem::<()>("Set SERVICE_TOKEN.");
        } else if service_tokens.iter().any(|token| token.expose().len() < 16) {
            settings.problem::<()>("Each SERVICE_TOKEN must have at least 16 characters.");
        }
        let hash_key = settings.required("HASH_KEY").and_then(|text| match HashKey::new(text) {
            Some(key) => Some(key),
            None => settings
                .problem(format!("HASH_KEY must have at least {} characters.", HashKey::BYTES_MIN)),
        });
        Some(Self {
            table,
            destinations: destinations?,
            environment,
            deliver_outside_production: outside?,
            site_url: site_url?,
            cors_origins,
            service_tokens,
            hash_key: hash_key?,
        })
    }
}

fn destination_list(settings: &mut Settings<'_>, name: &str) -> Option<Vec<&'static Destination>> {
    let mut found = Vec::new();
    // `none` says in so many words that nothing is on.
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

/// What intake functions also read.
#[derive(Clone, Debug)]
pub struct IntakeConfig {
    /// `CONSENT_WHEN_ABSENT`: what a form without a consent object is taken to mean.
    pub consent_when_absent: Vec<Purpose>,
    /// `THANK_YOU_URL`: where a plain HTML form goes after its submission.
    pub thank_you_url: Option<Url>,
    /// `CLIENT_IP_HEADER`: the header in which a proxy of your own puts the caller's address.
    pub client_ip_header: Option<String>,
}

impl IntakeConfig {
    /// Reads them.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let mut purposes = Some(Vec::new());
        // An explicit `none` turns the assumption off; blank means unset, as everywhere.
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
        Some(Self {
            consent_when_absent: purposes?,
            thank_you_url: thank_you_url?,
            client_ip_header: settings.optional("CLIENT_IP_HEADER").map(str::to_ascii_lowercase),
        })
    }
}

/// From which readiness score on a lead is asked to book, where `BOOKING_THRESHOLD` says nothing.
const BOOKING_THRESHOLD: u8 = 60;

/// What comes after the questionnaire.
#[derive(Clone, Debug)]
pub struct BookingConfig {
    /// `BOOKING_THRESHOLD`: from which readiness score on a lead is asked to book a call.
    pub threshold: u8,
    /// `CALENDLY_EVENT_URL`: the page where calls are booked.
    pub page: Option<Url>,
}

impl BookingConfig {
    /// Reads them.
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

    fn read(variables: &[(&str, &str)]) -> Result<SiteConfig, ConfigError> {
        let env: Env = variables.iter().copied().collect();
        let mut settings = env.settings();
        let config = SiteConfig::read(&mut settings);
        settings.finish(config)
    }

    #[test]
    fn everything_missing_is_named_at_once() {
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
        assert_eq!(config.environment, Environment::Other);
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn the_booking_threshold_is_a_score() {
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
