//! The configuration of a site: what all functions share, and what intake functions read in
//! addition.
//!
//! Owns the names and rules of these variables; `docs/configuration.md` describes them. It must not
//! know the variables of any destination.

use url::Url;

use crate::contact::consent::Purpose;
use crate::destination::{self, Destination};
use crate::hash::HashKey;
use crate::settings::{Secret, Settings};

/// The kind of deployment, from `ENVIRONMENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Everything that is planned is sent.
    Production,
    /// A destination sends only if its `_BASE_URL` is set or `DELIVER_OUTSIDE_PRODUCTION` names it.
    Other,
}

/// The configuration that every function of a site shares.
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// `TABLE_NAME`: the DynamoDB table.
    pub table: String,
    /// `DESTINATIONS`: the destinations that are on.
    pub destinations: Vec<&'static Destination>,
    /// `ENVIRONMENT`: production if it is unset.
    pub environment: Environment,
    /// `DELIVER_OUTSIDE_PRODUCTION`: the destinations that send for real outside production.
    pub deliver_outside_production: Vec<&'static Destination>,
    /// `SITE_URL`: the address of the site.
    pub site_url: Url,
    /// `CORS_ORIGINS`: the exact origins that may send forms, without a slash at the end.
    pub cors_origins: Vec<String>,
    /// `SERVICE_TOKEN`: the tokens of authorised requests. Any one of them is accepted.
    pub service_tokens: Vec<Secret>,
    /// `HASH_KEY`: the key of digests.
    pub hash_key: HashKey,
}

impl SiteConfig {
    /// Reads the configuration. What is missing or invalid is recorded in `settings`.
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
    /// `RATE_LEAD_FORMS`: how many submissions one address may send to one form, in how many seconds.
    pub rate: (i64, i64),
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
        let rate = match settings.optional("RATE_LEAD_FORMS") {
            None => Some(RATE_LEAD_FORMS),
            Some(text) => rate(text).or_else(|| {
                settings.problem(
                    "RATE_LEAD_FORMS must be submissions and seconds, such as 10/60, both at least 1.",
                )
            }),
        };
        Some(Self {
            consent_when_absent: purposes?,
            thank_you_url: thank_you_url?,
            client_ip_header: settings.optional("CLIENT_IP_HEADER").map(str::to_ascii_lowercase),
            rate: rate?,
        })
    }
}

/// The default of `RATE_LEAD_FORMS`.
const RATE_LEAD_FORMS: (i64, i64) = (10, 60);

/// Reads a rate such as `10/60`.
fn rate(text: &str) -> Option<(i64, i64)> {
    let (requests, seconds) = text.split_once('/')?;
    let whole = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number > 0);
    Some((whole(requests)?.into(), whole(seconds)?.into()))
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
        assert_eq!(config.environment, Environment::Other);
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
