//! The account at Contact2Sale: its token, and the requests about it.
//!
//! Must not know whom a lead is, nor what becomes of a message.

use serde_json::json;
use url::Url;

use crate::delivery::exchange::{Method, Request, endpoint};
use crate::settings::{Secret, Settings};

/// An account, with its token.
#[derive(Clone, Debug)]
pub struct Account {
    base: Url,
    token: Secret,
    /// The header of the token: integrators use both.
    header: &'static str,
}

impl Account {
    /// Reads `C2S_TOKEN`, the header that it goes into, and where the API is.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let base = settings.url("C2S_BASE_URL", Some("https://api.contact2sale.com/integration"));
        let token = settings.secret("C2S_TOKEN");
        let header = match settings.optional("C2S_AUTH_HEADER") {
            None | Some("Authorization") => Some("authorization"),
            Some("Authentication") => Some("authentication"),
            Some(_) => settings.problem("C2S_AUTH_HEADER must be Authorization or Authentication."),
        };
        Some(Self { base: base?, token: token?, header: header? })
    }

    /// Whose token it is.
    pub fn me(&self) -> Request {
        self.signed(Request::safe(Method::Get, endpoint(&self.base, &["me"]), None))
    }

    /// Subscribes an address to an action. The same request twice makes one subscription, as far as is known.
    pub fn subscribe(&self, action: &str, hook: &Url) -> Request {
        let body = json!({"hook_url": hook.as_str(), "hook_action": action});
        let url = endpoint(&self.base, &["leads", "subscribe"]);
        self.signed(Request::safe(Method::Post, url, Some(body)))
    }

    /// Writes a message at a lead. `field` says where its text stands, as names from the outside in.
    pub(super) fn message(&self, lead: &str, field: &[String], text: &str) -> Request {
        let body = field.iter().rev().fold(json!(text), |inside, name| json!({name: inside}));
        let url = endpoint(&self.base, &["leads", lead, "create_message"]);
        self.signed(Request::harmful(Method::Post, url, Some(body)))
    }

    fn signed(&self, request: Request) -> Request {
        request.header(self.header, format!("Bearer {}", self.token.expose()))
    }
}
