//! Sentry: an alert as an event in an envelope (<https://develop.sentry.dev/sdk/data-model/envelopes/>).
//!
//! Knows Sentry's format and nothing of how often alerts are tried.

use std::time::Duration;

use funil_core::hash::sha256_hex;
use funil_core::settings::{Environment, Secret, Settings};
use funil_store::Alert;
use jiff::Timestamp;
use serde_json::json;
use url::Url;

use crate::client::{self, NoResponse};

/// How long Sentry may take. The webhook's alerts wait for it, one after another.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A Sentry project (<https://docs.sentry.io/concepts/key-terms/dsn-explainer/>).
#[derive(Debug)]
pub(crate) struct Project {
    /// The address to which envelopes are posted.
    envelopes: Secret,
    /// The header with the project's public key.
    credentials: Secret,
    environment: &'static str,
}

impl Project {
    /// Reads `SENTRY_DSN`, `https://<key>@<host>/<project>`. `Some(None)` where it is not set.
    #[expect(clippy::option_option, reason = "invalid and absent are different")]
    pub(crate) fn read(settings: &mut Settings<'_>) -> Option<Option<Self>> {
        let Some(dsn) = settings.optional_url("SENTRY_DSN")? else { return Some(None) };
        let environment = match settings.environment() {
            Environment::Production => "production",
            Environment::Other => "other",
        };
        Self::of(&dsn, environment).map(Some).or_else(|| {
            settings.problem("SENTRY_DSN must look like https://<key>@<host>/<project>.")
        })
    }

    fn of(dsn: &Url, environment: &'static str) -> Option<Self> {
        let key = Some(dsn.username()).filter(|key| !key.is_empty())?;
        let (path, project) = dsn.path().trim_end_matches('/').rsplit_once('/')?;
        if project.is_empty() {
            return None;
        }
        let mut envelopes = dsn.clone();
        envelopes.set_username("").ok()?;
        envelopes.set_password(None).ok()?;
        envelopes.set_query(None);
        envelopes.set_path(&format!("{path}/api/{project}/envelope/"));
        let credentials =
            format!("Sentry sentry_version=7, sentry_client=funil/1, sentry_key={key}");
        Some(Self {
            envelopes: Secret::new(envelopes),
            credentials: Secret::new(credentials),
            environment,
        })
    }

    /// Sends an alert. Returns the status of the response.
    pub(crate) async fn send(
        &self,
        http: &reqwest::Client,
        event: &Event<'_>,
        now: Timestamp,
    ) -> Result<u16, NoResponse> {
        let request = http
            .post(self.envelopes.expose())
            .timeout(TIMEOUT)
            .header("x-sentry-auth", self.credentials.expose())
            .header("content-type", "application/x-sentry-envelope")
            .body(event.envelope(self.environment, now));
        Ok(client::receive(request, now).await?.status)
    }
}

/// An alert as Sentry gets it.
pub(crate) struct Event<'a> {
    pub(crate) alert: &'a Alert,
    /// How many occurrences it is about.
    pub(crate) news: i64,
    /// The site's host, which the event has as `server_name`.
    pub(crate) site: &'a str,
    /// The message to a person, which holds ids but nothing personal.
    pub(crate) text: &'a str,
}

impl Event<'_> {
    /// The envelope. A repeated alert has the id that it had, by which Sentry recognises it.
    fn envelope(&self, environment: &str, now: Timestamp) -> String {
        let Alert { destination, kind, since, count, example, .. } = self.alert;
        let kind = kind.name();
        let mut id =
            sha256_hex(format!("{} {destination} {kind} {since} {count}", self.site).as_bytes());
        id.truncate(32);
        let event = json!({
            "event_id": id,
            "timestamp": now.to_string(),
            "platform": "other",
            "level": "error",
            "logger": "funil",
            "environment": environment,
            "server_name": self.site,
            "message": {"formatted": self.text},
            "tags": {"kind": kind, "destination": destination},
            "extra": {"count": self.news, "example": example},
            "fingerprint": ["funil", kind, destination],
        });
        let event = event.to_string();
        let header = json!({"event_id": id, "sent_at": now.to_string()});
        let item =
            json!({"type": "event", "length": event.len(), "content_type": "application/json"});
        // A line feed ends each line, and no carriage return: the length counts bytes.
        format!("{header}\n{item}\n{event}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dsn: &str) -> Option<(String, String)> {
        let project = Project::of(&Url::parse(dsn).unwrap(), "production")?;
        Some((project.envelopes.expose().to_owned(), project.credentials.expose().to_owned()))
    }

    #[test]
    fn a_dsn_names_the_address_and_the_key() {
        let key = "Sentry sentry_version=7, sentry_client=funil/1, sentry_key=abc";
        for (dsn, envelopes) in [
            ("https://abc@o1.ingest.sentry.io/42", "https://o1.ingest.sentry.io/api/42/envelope/"),
            ("https://abc:old@sentry.io/42", "https://sentry.io/api/42/envelope/"),
            (
                "https://abc@example.com:8443/a/b/42/",
                "https://example.com:8443/a/b/api/42/envelope/",
            ),
        ] {
            assert_eq!(of(dsn), Some((envelopes.to_owned(), key.to_owned())), "{dsn}");
        }
        for dsn in [
            "https://o1.ingest.sentry.io/42",
            "https://abc@o1.ingest.sentry.io",
            "https://abc@sentry.io/",
        ] {
            assert_eq!(of(dsn), None, "{dsn}");
        }
    }
}
