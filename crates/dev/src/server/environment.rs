//! The environment variables of the dev server.
//!
//! They are fixed, and none is a real secret. This module must not take credentials from the
//! process's environment.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use funil_core::destination;
use funil_core::hash::HashKey;
use funil_core::settings::{ConfigError, Env, Secret};
use funil_lambda::functions::intake;

use super::DevServerOptions;

/// The name of the dev server's table.
pub const TABLE: &str = "funil";

/// The dev server's `SERVICE_TOKEN`.
pub const DEV_SERVICE_TOKEN: &str = "local-stage-service-token";
/// The dev server's `HASH_KEY`.
pub const DEV_HASH_KEY: &str = "local-stage-hash-key";

/// The variables that are taken from the process's environment. There must be no credentials among
/// them: with those of a real account, demonstrations would be sent to real people.
const OVERRIDES: [&str; 34] = [
    "AMANDA_RULES",
    "BACKLOG_ALERT_SECONDS",
    "BOOKING_THRESHOLD",
    "C2S_ALLOWED_IPS",
    "C2S_LEAD_RATE",
    "CALENDLY_EVENT_TYPES",
    "CONSENT_WHEN_ABSENT",
    "CONSULTATION_RULES",
    "CRM_BASE_TAGS",
    "CRM_CURRENCY",
    "CRM_FIELDS",
    "CRM_KIND",
    "DESTINATIONS",
    "DEAL_PURPOSES",
    "DEAL_STATUSES",
    "DUE_SHARDS",
    "ENRICHMENT_LEGAL_BASIS",
    "GA4_COLLECT_PARAMS",
    "GA4_EVENT_NAMES",
    "LOG_LEVEL",
    "MAILERLITE_CONFIRMATION",
    "MAILERLITE_CUSTOMER_TIERS",
    "MAILERLITE_GROUPS",
    "MAILERLITE_VIP_FROM",
    "QUARANTINE_PER_DAY",
    "RATE_LEAD_FORMS",
    "RATE_SITE_FORMS",
    "RATE_TAGS",
    "READINESS_RULES",
    "RINGS",
    "STRIPE_REVENUE",
    "STRIPE_TEST_EVENTS",
    "THANK_YOU_URL",
    "TURNSTILE_SECRET_KEY",
];

/// The variables with which functions use a dev server.
#[derive(Clone, Debug)]
pub struct DevEnvironment(BTreeMap<String, String>);

impl DevEnvironment {
    pub(super) fn new(address: SocketAddr, options: &DevServerOptions, overrides: &Env) -> Self {
        let base = format!("http://{address}");
        let doorbell = options.functions_at.as_ref().map_or_else(
            || format!("{base}/api"),
            |url| url.as_str().trim_end_matches('/').to_owned(),
        );
        let mut variables: BTreeMap<String, String> = [
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", base.clone()),
            ("AWS_REGION", "sa-east-1".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("CALENDLY_EVENT_URL", format!("{base}/agenda")),
            ("CORS_ORIGINS", format!("{base},http://localhost:{}", address.port())),
            ("DOORBELL_URL", doorbell),
            ("ENVIRONMENT", "local".to_owned()),
            ("HASH_KEY", DEV_HASH_KEY.to_owned()),
            ("RINGS", "http".to_owned()),
            ("SERVICE_TOKEN", DEV_SERVICE_TOKEN.to_owned()),
            ("SITE_URL", base.clone()),
            ("TABLE_NAME", TABLE.to_owned()),
            ("THANK_YOU_URL", format!("{base}/stage")),
            ("TURNSTILE_BASE_URL", format!("{base}/simulated/turnstile")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for (name, value) in intake().flat_map(|registration| registration.variables) {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        for destination in destination::ALL {
            let simulated =
                format!("{base}/simulated/{}{}", destination.provider, destination.local_path);
            variables.insert(destination.base_url_variable.to_owned(), simulated);
            let provider = format!("{base}/simulated/{}", destination.provider);
            for (name, path) in destination.other_base_urls {
                variables.insert((*name).to_owned(), format!("{provider}{path}"));
            }
            for (name, value) in destination.local_variables() {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
        let names: Vec<_> = destination::ALL.iter().map(|destination| destination.name).collect();
        variables.insert("DESTINATIONS".to_owned(), names.join(","));
        let rates = destination::ALL.iter().map(|one| one.requests_per_minute_variable());
        for name in OVERRIDES.into_iter().map(str::to_owned).chain(rates) {
            if let Some(value) = overrides.get(&name) {
                variables.insert(name, value.to_owned());
            }
        }
        if let Some(url) = &options.alerts_to {
            variables.insert("MONITORING_WEBHOOK_URL".to_owned(), url.to_string());
        }
        Self(variables)
    }

    /// That of a dev server that is not there: enough for a function to start.
    pub fn of_nowhere() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let options = DevServerOptions {
            listen: nowhere,
            data: PathBuf::new(),
            functions_at: None,
            alerts_to: None,
        };
        Self::new(nowhere, &options, &Env::default())
    }

    pub(super) fn variable(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn token(&self) -> Secret {
        Secret::new(self.variable("SERVICE_TOKEN"))
    }

    /// The `HASH_KEY` in the type that the store takes.
    pub(super) fn hash_key(&self) -> Result<HashKey, ConfigError> {
        HashKey::new(self.variable("HASH_KEY"))
            .ok_or_else(|| ConfigError(vec!["HASH_KEY is too short.".to_owned()]))
    }

    /// The variables as an environment.
    pub fn env(&self) -> Env {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// The variables with the emulator's own address, for functions in the process of the dev
    /// server.
    pub(super) fn with_emulator(&self, endpoint: &str) -> Env {
        let mut variables = self.0.clone();
        variables.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), endpoint.to_owned());
        variables.into_iter().collect()
    }

    /// The variables by their names.
    pub fn into_variables(self) -> BTreeMap<String, String> {
        self.0
    }

    /// Writes `dev.env`, for `cargo lambda watch --env-file` and for a shell.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let lines: Vec<_> =
            self.0.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        std::fs::write(folder.join("dev.env"), lines.join("\n") + "\n")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use funil_core::settings::DEV_SECRET_PREFIX;

    use super::*;

    /// By this production recognises them.
    #[test]
    fn every_secret_begins_as_those_of_the_dev_server_do() {
        let options = DevServerOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data: PathBuf::new(),
            functions_at: None,
            alerts_to: None,
        };
        let environment = DevEnvironment::new(options.listen, &options, &Env::default());
        let of_intake = intake().flat_map(|one| one.variables).map(|(name, _)| *name);
        let of_destinations =
            destination::ALL.iter().flat_map(|one| one.local_credentials).map(|(name, _)| *name);
        for name in of_intake.chain(of_destinations).chain(["SERVICE_TOKEN", "HASH_KEY"]) {
            let value = environment.variable(name);
            assert!(value.starts_with(DEV_SECRET_PREFIX), "{name}");
        }
    }
}
