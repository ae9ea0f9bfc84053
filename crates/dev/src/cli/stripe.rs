//! Stripe's API with a key of the account: the endpoints to which it sends its webhooks.
//!
//! `docs/providers.md` ("Stripe"). Takes its parameters as a form, not as JSON. Must not know what any function
//! does with an event.

use std::collections::BTreeSet;

use funil_core::delivery::exchange::{Method, Request, Response, endpoint};
use funil_core::provider::stripe::EVENTS;
use funil_core::settings::{Secret, Settings};
use funil_store::Platform;
use serde::Deserialize;
use url::Url;

use crate::cli::{Failure, provider};

/// How many endpoints one page has; an account has at most 16 of each mode.
const PAGE: &str = "100";

/// Stripe's API, with a key.
pub(super) struct Stripe<'a> {
    base: Url,
    key: Secret,
    platform: &'a Platform,
}

/// An endpoint of the account: `GET /v1/webhook_endpoints`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Endpoint {
    /// Its id.
    pub(super) id: String,
    /// Where the webhooks go.
    pub(super) url: String,
    /// `enabled` or `disabled`.
    pub(super) status: String,
    /// The events that it has; `*` for all.
    pub(super) enabled_events: BTreeSet<String>,
    /// Whether it gets live events; otherwise it gets those of the test mode.
    pub(super) livemode: bool,
}

impl Endpoint {
    /// Whether it sends to `webhook`, whatever stands after its path.
    pub(super) fn goes_to(&self, webhook: &Url) -> bool {
        provider::path(&self.url) == provider::path(webhook.as_str())
    }

    /// Whether it sends to a function of this kind, at whatever address.
    pub(super) fn goes_to_one(&self) -> bool {
        provider::path(&self.url).ends_with("/stripe-webhook")
    }

    /// Whether Stripe sends it anything.
    pub(super) fn is_enabled(&self) -> bool {
        self.status == "enabled"
    }

    /// The events that it lacks.
    pub(super) fn lacks(&self) -> Vec<&'static str> {
        let has = |event: &str| self.enabled_events.contains(event);
        EVENTS.into_iter().filter(|event| !has("*") && !has(event)).collect()
    }
}

#[derive(Deserialize)]
struct List {
    data: Vec<Endpoint>,
}

impl<'a> Stripe<'a> {
    pub(super) fn read(settings: &mut Settings<'_>, platform: &'a Platform) -> Option<Self> {
        let base = settings.url("STRIPE_BASE_URL", Some("https://api.stripe.com"));
        let key = settings.required("STRIPE_API_KEY").map(Secret::new);
        Some(Self { base: base?, key: key?, platform })
    }

    /// The endpoints of the key's mode.
    pub(super) async fn endpoints(&self) -> Result<Vec<Endpoint>, Failure> {
        let mut url = self.url(&[]);
        url.query_pairs_mut().append_pair("limit", PAGE);
        let request = Request::safe(Method::Get, url, None).header("authorization", self.bearer());
        let response = provider::send(self.platform, &request).await?;
        let response = succeeded(response, "read")?;
        let list: List = serde_json::from_value(response.json())
            .map_err(|_| "STRIPE_BASE_URL does not respond as Stripe does.")?;
        Ok(list.data)
    }

    /// Makes an endpoint, and returns the secret with which Stripe signs what it sends there. Stripe shows it
    /// only now.
    pub(super) async fn make(
        &self,
        webhook: &Url,
        api_version: Option<&str>,
    ) -> Result<String, Failure> {
        let mut form = events(EVENTS);
        form.extend(api_version.map(|version| ("api_version".to_owned(), version.to_owned())));
        form.push(("url".to_owned(), webhook.to_string()));
        form.push(("description".to_owned(), "Funil".to_owned()));
        let response = self.post(&[], &form).await?;
        let secret = response.json()["secret"].as_str().map(str::to_owned);
        secret.ok_or_else(|| {
            "Stripe made the endpoint and returned no secret. Look for it in Stripe's dashboard.".into()
        })
    }

    /// Gives an endpoint the events that it lacks, and switches it on. Its secret stays.
    pub(super) async fn mend(&self, found: &Endpoint) -> Result<(), Failure> {
        let all: BTreeSet<&str> =
            found.enabled_events.iter().map(String::as_str).chain(found.lacks()).collect();
        let mut form = events(all);
        form.push(("disabled".to_owned(), "false".to_owned()));
        self.post(&[&found.id], &form).await.map(|_| ())
    }

    async fn post(&self, below: &[&str], form: &[(String, String)]) -> Result<Response, Failure> {
        let request = Request::harmful(Method::Post, self.url(below), None)
            .header("authorization", self.bearer());
        succeeded(provider::send_form(self.platform, &request, form).await?, "write")
    }

    fn url(&self, below: &[&str]) -> Url {
        endpoint(&self.base, &[&["v1", "webhook_endpoints"], below].concat())
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.key.expose())
    }
}

fn events<'e>(names: impl IntoIterator<Item = &'e str>) -> Vec<(String, String)> {
    names.into_iter().map(|name| ("enabled_events[]".to_owned(), name.to_owned())).collect()
}

/// Stripe's text of an error may repeat a part of the key, so only its code is shown.
fn succeeded(response: Response, right: &str) -> Result<Response, Failure> {
    let code = response.json()["error"]["code"].as_str().unwrap_or("no code").to_owned();
    match response.status {
        _ if response.succeeded() => Ok(response),
        401 => Err("Stripe does not accept STRIPE_API_KEY; make a new one.".into()),
        403 => Err(format!(
            "STRIPE_API_KEY may not {right} webhook endpoints; give the restricted key the right \
             Webhook Endpoints: {right}."
        )
        .into()),
        status => Err(format!("Stripe responded {status} ({code}).").into()),
    }
}
