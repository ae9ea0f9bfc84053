//! The account at Brevo: its key, its senders and its webhooks.
//!
//! Must not know what an e-mail says.

use serde_json::{Value, json};
use url::Url;

use crate::check::member;
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::settings::{Secret, Settings};

/// An account, with its key.
#[derive(Clone, Debug)]
pub struct Account {
    base: Url,
    key: Secret,
}

/// A webhook of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Brevo's id of it.
    pub id: String,
    /// The address that Brevo sends its reports to.
    pub url: String,
    /// What it reports, by the names of the API.
    pub events: Vec<String>,
}

impl Account {
    /// Reads `BREVO_API_KEY`, and where the API is.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let base = settings.url("BREVO_BASE_URL", Some("https://api.brevo.com/v3"));
        let key = settings.secret("BREVO_API_KEY");
        Some(Self { base: base?, key: key? })
    }

    /// Whose key it is.
    pub fn me(&self) -> Request {
        self.get(&["account"])
    }

    /// The senders that the account may use.
    pub fn list_senders(&self) -> Request {
        self.get(&["senders"])
    }

    /// The webhooks about e-mails like ours.
    pub fn list_webhooks(&self) -> Request {
        let mut url = endpoint(&self.base, &["webhooks"]);
        url.query_pairs_mut().append_pair("type", "transactional");
        self.signed(Request::safe(Method::Get, url, None))
    }

    /// Makes a webhook that reports these events.
    pub fn make_webhook(&self, url: &Url, events: &[&str]) -> Request {
        let body = json!({
            "type": "transactional", "description": "Funil", "url": url.as_str(), "events": events,
        });
        let url = endpoint(&self.base, &["webhooks"]);
        self.signed(Request::safe(Method::Post, url, Some(body)))
    }

    /// Gives a webhook this address and these events.
    pub fn mend_webhook(&self, id: &str, url: &Url, events: &[&str]) -> Request {
        let body = json!({"url": url.as_str(), "events": events});
        let url = endpoint(&self.base, &["webhooks", id]);
        self.signed(Request::safe(Method::Put, url, Some(body)))
    }

    pub(super) fn template(&self, id: u32) -> Request {
        self.get(&["smtp", "templates", &id.to_string()])
    }

    pub(super) fn send(&self, email: Value) -> Request {
        let url = endpoint(&self.base, &["smtp", "email"]);
        self.signed(Request::harmful(Method::Post, url, Some(email)))
    }

    fn get(&self, path: &[&str]) -> Request {
        self.signed(Request::safe(Method::Get, endpoint(&self.base, path), None))
    }

    fn signed(&self, request: Request) -> Request {
        request.header("api-key", self.key.expose())
    }
}

/// Whether the account may send as somebody. `None` if the response is no list of senders.
pub fn may_send_as(response: &Response, sender: &str) -> Option<bool> {
    let body = response.json();
    let senders = body["senders"].as_array()?;
    Some(senders.iter().any(|one| {
        let is_theirs =
            one["email"].as_str().is_some_and(|email| email.eq_ignore_ascii_case(sender));
        is_theirs && one["active"] != Value::Bool(false)
    }))
}

/// The webhooks of a list. `None` if the response is no list. Brevo responds 404 where there is none.
pub fn webhooks(response: &Response) -> Option<Vec<Webhook>> {
    if response.status == 404 {
        return Some(Vec::new());
    }
    let body = response.json();
    let listed = body["webhooks"].as_array()?.iter().filter_map(|one| {
        let events = one["events"].as_array().into_iter().flatten();
        Some(Webhook {
            id: member(one, "id")?,
            url: member(one, "url")?,
            events: events.filter_map(|event| Some(event.as_str()?.to_owned())).collect(),
        })
    });
    response.succeeded().then(|| listed.collect())
}
