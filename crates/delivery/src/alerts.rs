//! Notifies a person of alerts, at `MONITORING_WEBHOOK_URL` in the format of Slack's incoming webhooks,
//! and in Sentry (`docs/design.md`, "Alerts").
//!
//! An alert that cannot be sent is tried again a minute later for a day. It is never dead, raises no
//! alert, and holds up nothing. Without an address alerts are log lines only. Where there are both, the
//! webhook decides whether it is tried again, because a second message there would be noise.

use std::sync::Arc;

use funil_core::check::Finding;
use funil_core::clock::after;
use funil_core::delivery::exchange::{Method, Request};
use funil_core::settings::{ConfigError, Env, Secret};
use funil_core::site::SiteConfig;
use funil_store::{Alert, AlertKind, AwsConfig, Platform, Store, StoreError, TOTALS_TARGET};
use futures::future::BoxFuture;
use serde_json::json;
use url::Url;

use crate::client::{self, REQUEST_TIMEOUT};
use crate::sentry::{Event, Project};

/// How long an alert that cannot be sent is tried, in seconds.
const TRIED_FOR_S: i64 = 24 * 60 * 60;

/// Sends the alerts of one site.
pub struct Alerts {
    store: Store,
    platform: Platform,
    webhook: Option<Secret>,
    sentry: Option<Project>,
    site: String,
}

impl Alerts {
    /// Reads the configuration. Opens no connection yet.
    pub fn connect(env: &Env, platform: &Platform) -> Result<Self, ConfigError> {
        let mut settings = env.settings();
        let site = SiteConfig::read(&mut settings);
        let aws = AwsConfig::read(&mut settings);
        let webhook = match settings.optional("MONITORING_WEBHOOK_URL") {
            // The address is a credential: whoever knows it can post.
            Some(_) => settings.url("MONITORING_WEBHOOK_URL", None).map(Some),
            None => Some(None),
        };
        let sentry = Project::read(&mut settings);
        let addresses = webhook.zip(sentry);
        let alerts = site.zip(aws).zip(addresses).map(|((site, aws), (webhook, sentry))| Self {
            store: Store::connect(&aws, &site.table, platform),
            platform: platform.clone(),
            webhook: webhook.map(|url| Secret::new(url.to_string())),
            sentry,
            site: site.site_url.host_str().unwrap_or_default().to_owned(),
        });
        settings.finish(alerts)
    }

    /// Sends the alerts that are due. Returns how many were sent or given up.
    pub async fn notify(&self) -> Result<usize, StoreError> {
        let now = self.platform.clock.now();
        let mut notified = 0;
        for alert in self.store.take_alerts(now).await? {
            let news = alert.count - alert.notified;
            if news == 0 {
                self.store.alert_notified(&alert, alert.count, now).await?;
                continue;
            }
            tracing::error!(
                target: TOTALS_TARGET,
                destination = alert.destination,
                kind = alert.kind.name(),
                count = news,
                example = alert.example.as_deref().unwrap_or_default(),
                Alerts = news,
                at_ms = now.as_millisecond(),
                "alert: {}",
                in_words(&alert)
            );
            let is_late = after(alert.since, TRIED_FOR_S) <= now;
            if self.send(&alert, news).await || is_late {
                self.store.alert_notified(&alert, alert.count, now).await?;
                notified += 1;
            }
        }
        Ok(notified)
    }

    /// Sends one alert wherever alerts go. Returns whether nothing is left to do for it.
    async fn send(&self, alert: &Alert, news: i64) -> bool {
        let text = sentence(&self.site, alert, news);
        let posting = self.post(alert, &text);
        let (posted, captured) = futures::join!(posting, self.capture(alert, news, &text));
        posted.or(captured).unwrap_or(true)
    }

    /// Sends an alert to Sentry. Returns whether it was taken; `None` where there is no project.
    async fn capture(&self, alert: &Alert, news: i64, text: &str) -> Option<bool> {
        let project = self.sentry.as_ref()?;
        let event = Event { alert, news, site: &self.site, text };
        match project.send(&self.platform.http, &event, self.platform.clock.now()).await {
            Ok(status) if (200..300).contains(&status) => Some(true),
            Ok(status) => {
                let what = in_words(alert);
                tracing::warn!(status, "Sentry refused the alert {what} with status {status}");
                Some(false)
            }
            Err(_) => {
                tracing::warn!("Sentry did not respond to the alert {}", in_words(alert));
                Some(false)
            }
        }
    }

    /// Posts a message to the webhook. Returns whether it was taken; `None` where there is no webhook.
    async fn post(&self, alert: &Alert, text: &str) -> Option<bool> {
        let url = Url::parse(self.webhook.as_ref()?.expose()).ok()?;
        let body = json!({"text": text});
        let request = Request::safe(Method::Post, url, Some(body));
        let now = self.platform.clock.now();
        match client::send(&self.platform.http, &request, REQUEST_TIMEOUT, now).await {
            Ok(response) if response.succeeded() => Some(true),
            Ok(response) => {
                let status = response.status;
                tracing::warn!(
                    status,
                    "the monitoring webhook refused the alert {} with status {status}",
                    in_words(alert)
                );
                Some(false)
            }
            Err(_) => {
                tracing::warn!(
                    "the monitoring webhook did not respond to the alert {}",
                    in_words(alert)
                );
                Some(false)
            }
        }
    }

    /// The work of `dispatch` that sends alerts, see [`notify`](Self::notify), and where they go.
    pub fn into_work(
        self,
    ) -> (impl Fn() -> BoxFuture<'static, Result<usize, StoreError>> + Send + Sync + 'static, Finding)
    {
        let addresses = self.addresses();
        let alerts = Arc::new(self);
        let notify = move || -> BoxFuture<'static, Result<usize, StoreError>> {
            let alerts = Arc::clone(&alerts);
            Box::pin(async move { alerts.notify().await })
        };
        (notify, addresses)
    }

    /// Where alerts go. Nothing harmless finds out whether they arrive.
    fn addresses(&self) -> Finding {
        const SUBJECT: &str = "alerts";

        match (&self.webhook, &self.sentry) {
            (None, None) => Finding::warning(
                SUBJECT,
                "alerts are only lines of the log, so nobody hears of a dead delivery. Set \
                 MONITORING_WEBHOOK_URL or SENTRY_DSN.",
            ),
            (Some(_), None) => Finding::ok(SUBJECT, "alerts go to MONITORING_WEBHOOK_URL"),
            (None, Some(_)) => Finding::ok(SUBJECT, "alerts go to SENTRY_DSN"),
            (Some(_), Some(_)) => {
                Finding::ok(SUBJECT, "alerts go to MONITORING_WEBHOOK_URL and SENTRY_DSN")
            }
        }
    }
}

/// An alert in a log line.
fn in_words(alert: &Alert) -> String {
    let example = alert.example.as_ref().map(|id| format!(", for example {id}"));
    format!("{} at {}{}", alert.kind.name(), alert.destination, example.unwrap_or_default())
}

/// The message to a person: what happened, how often, and what to do.
fn sentence(site: &str, alert: &Alert, news: i64) -> String {
    let to = &alert.destination;
    let since = alert.first_at.strftime("%H:%M UTC");
    let what = match alert.kind {
        AlertKind::Dead => format!(
            "{news} × a delivery to {to} was given up since {since}. \
             Look with `funil dead list --destination {to}`, mend the cause, and replay."
        ),
        AlertKind::Expired => format!(
            "{news} × a delivery to {to} ran out of time since {since}. \
             Look with `funil dead list --destination {to}`."
        ),
        AlertKind::Blocked => format!(
            "{to} refuses us since {since}: check its credentials, plan and configuration. \
             Nothing is lost; one delivery tries again every 5 minutes."
        ),
        AlertKind::BreakerOpened => format!(
            "{to} failed several times in a row since {since}. \
             Nothing is lost; one delivery tries again every minute."
        ),
        AlertKind::DailyLimit => format!(
            "A number got as many messages by {to} today as it may, and more were planned. \
             Look at the journey of the example; WHATSAPP_DAILY_PER_NUMBER is the limit."
        ),
        AlertKind::Quarantined => format!(
            "A request was put into quarantine: {to}. Look with `funil quarantine list`, \
             then release or drop it."
        ),
        AlertKind::QuarantineExpires => format!(
            "Requests of {to} in quarantine that nobody has looked at are removed in a week. \
             Look with `funil quarantine list --source {to}`."
        ),
        AlertKind::QuarantineFull => format!(
            "{to} put as many requests into quarantine today as it may, and refuses further ones \
             until tomorrow (UTC). QUARANTINE_PER_DAY is the limit. Look with \
             `funil quarantine list --source {to}`."
        ),
        AlertKind::Unsigned => format!(
            "{to} sends requests whose token or signature is wrong, and none is kept. Check that \
             the token or the signing key is the same there and here; a provider switches off what \
             fails for long."
        ),
        AlertKind::CallChange => format!(
            "{news} × somebody asked in a message of {to} to cancel or to move their call since \
             {since}. Nothing was changed: look with `funil journey`, and do it in the calendar."
        ),
        AlertKind::Backlog => format!(
            "Something for {to} has been due for too long since {since}. \
             Check that its function runs each minute."
        ),
    };
    let example =
        alert.example.as_ref().map(|id| format!(" For example {id}.")).unwrap_or_default();
    format!("Funil, {site}: {what}{example}")
}
