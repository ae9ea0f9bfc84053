//! The functions under one environment, and the requests that a test sends them.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use funil_core::clock::{Clock as _, after};
use funil_core::id::LeadId;
use funil_dev::server::front_door;
use funil_lambda::Function;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::{CALLER, ManualClock, SERVICE_TOKEN};

/// An answer of a function to an HTTP call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    fn of(event: &Value) -> Self {
        let (status, headers, body) = front_door::answer(event);
        assert_ne!(status, StatusCode::BAD_GATEWAY, "not an HTTP answer: {event}");
        Self { status: status.as_u16(), headers, body }
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The lead that a submission was accepted as.
    pub fn lead(&self) -> LeadId {
        assert_eq!(self.status, 200, "{self:?}");
        LeadId::parse(self.json()["leadId"].as_str().unwrap()).unwrap()
    }
}

/// All functions under one environment.
pub struct Deployment {
    pub(super) functions: Vec<Function>,
    pub(super) clock: Arc<ManualClock>,
}

impl Deployment {
    /// A function by its name.
    pub fn function(&self, name: &str) -> &Function {
        self.functions.iter().find(|function| function.name == name).unwrap()
    }

    /// All of them.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// Invokes a function with any event.
    pub async fn invoke(&self, function: &str, event: Value) -> Value {
        let stop_at = after(self.clock.now(), 60);
        self.function(function).invoke(event, stop_at).await
    }

    /// Calls a function over HTTP, as a caller at `ip`.
    pub async fn call_from(
        &self,
        ip: &str,
        function: &str,
        method: Method,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect();
        let ip: IpAddr = ip.parse().unwrap();
        let path = format!("/{function}");
        let event = front_door::event(&method, &path, "", &headers, body, ip);
        Answer::of(&self.invoke(function, event).await)
    }

    /// Calls a function over HTTP.
    pub async fn call(
        &self,
        function: &str,
        method: Method,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.call_from(CALLER, function, method, headers, body).await
    }

    /// Asks a function for something, with a query.
    pub async fn get(&self, function: &str, query: &str) -> Answer {
        let path = format!("/{function}");
        let ip: IpAddr = CALLER.parse().unwrap();
        let event = front_door::event(&Method::GET, &path, query, &HeaderMap::new(), b"", ip);
        Answer::of(&self.invoke(function, event).await)
    }

    /// Calls a function as one who knows the service token does.
    pub async fn authorised(&self, function: &str, body: &Value) -> Answer {
        self.authorised_as(SERVICE_TOKEN, function, body).await
    }

    /// Calls a function with some token.
    pub async fn authorised_as(&self, token: &str, function: &str, body: &Value) -> Answer {
        let token = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", &*token)];
        self.call(function, Method::POST, &headers, body.to_string().as_bytes()).await
    }

    /// Submits a lead as the page does.
    pub async fn submit(&self, body: &Value) -> Answer {
        self.submit_with(&[], body).await
    }

    /// Answers the questionnaire as the page does.
    pub async fn answer_questionnaire(&self, body: &Value) -> Answer {
        self.answer_questionnaire_with(&[], body).await
    }

    /// Answers the questionnaire with more headers.
    pub async fn answer_questionnaire_with(
        &self,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        self.post("questionnaire-submit", headers, body).await
    }

    /// Posts JSON with more headers.
    async fn post(&self, function: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.call(function, Method::POST, &all, body.to_string().as_bytes()).await
    }

    /// Submits a lead from another address.
    pub async fn submit_from(&self, ip: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.call_from(ip, "lead-submit", Method::POST, &headers, body.to_string().as_bytes()).await
    }

    /// Submits a lead with more headers.
    pub async fn submit_with(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.post("lead-submit", headers, body).await
    }
}
