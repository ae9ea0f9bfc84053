//! The functions under one environment, and the requests that a test sends them.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use funil_core::clock::{Clock as _, after};
use funil_core::id::LeadId;
use funil_dev::server::front_door;
use funil_lambda::Function;
use funil_lambda::platform::trigger::Trigger;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::{CALLER, ManualClock, SERVICE_TOKEN};
use crate::contract;

/// The response of a function to an HTTP request.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Response {
    fn of(event: &Value) -> Self {
        let (status, headers, body) = front_door::response(event);
        assert_ne!(status, StatusCode::BAD_GATEWAY, "not an HTTP response: {event}");
        Self { status: status.as_u16(), headers, body }
    }

    /// A header, if it has it.
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

    /// Invokes a function with any event. The response to an HTTP request is compared with what is
    /// documented.
    pub async fn invoke(&self, function: &str, event: Value) -> Value {
        let request = match Trigger::parse(event.clone()) {
            Ok(Trigger::Http(request)) => Some(request),
            Ok(Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_)) | Err(_) => None,
        };
        let stop_at = after(self.clock.now(), 60);
        let response = self.function(function).invoke(event, stop_at).await;
        if let Some(request) = request {
            contract::check(function, &request, &Response::of(&response));
        }
        response
    }

    /// Sends a function an HTTP request from `ip`.
    pub async fn send_from(
        &self,
        ip: &str,
        function: &str,
        method: Method,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect();
        self.exchange(ip, (function, ""), (&method, ""), &headers, body).await
    }

    /// Sends a function an HTTP request, at its path or below.
    async fn exchange(
        &self,
        ip: &str,
        (function, below): (&str, &str),
        (method, query): (&Method, &str),
        headers: &HeaderMap,
        body: &[u8],
    ) -> Response {
        let path = format!("/{function}{below}");
        let ip: IpAddr = ip.parse().unwrap();
        let event = front_door::event(method, &path, query, headers, body, ip);
        Response::of(&self.invoke(function, event).await)
    }

    /// Sends a function an HTTP request.
    pub async fn send(
        &self,
        function: &str,
        method: Method,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.send_from(CALLER, function, method, headers, body).await
    }

    /// Sends a function a POST request at a path below its own.
    pub async fn post_below(
        &self,
        function: &str,
        below: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let headers = headers.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        self.exchange(CALLER, (function, below), (&Method::POST, ""), &headers.collect(), body)
            .await
    }

    /// Sends a function a POST request of JSON with a query.
    pub async fn post_with_query(&self, function: &str, query: &str, body: &[u8]) -> Response {
        let json = HeaderValue::from_static("application/json");
        let headers = [(HeaderName::from_static("content-type"), json)].into_iter().collect();
        self.exchange(CALLER, (function, ""), (&Method::POST, query), &headers, body).await
    }

    /// Sends a function a GET request with a query.
    pub async fn get(&self, function: &str, query: &str) -> Response {
        self.exchange(CALLER, (function, ""), (&Method::GET, query), &HeaderMap::new(), b"").await
    }

    /// Sends a function a POST request with the service token.
    pub async fn authorised(&self, function: &str, body: &Value) -> Response {
        self.authorised_as(SERVICE_TOKEN, function, body).await
    }

    /// What `health` says to who shows the service token.
    pub async fn health(&self) -> Value {
        let token = format!("Bearer {SERVICE_TOKEN}");
        let headers = [("authorization", &*token)];
        let response = self.send("health", Method::GET, &headers, b"").await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// Asks a function about what is in quarantine.
    pub async fn quarantine(&self, function: &str, body: &Value) -> Response {
        self.quarantine_as(SERVICE_TOKEN, function, body).await
    }

    /// Asks a function about what is in quarantine, with this token.
    pub async fn quarantine_as(&self, token: &str, function: &str, body: &Value) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let (body, where_to) = (body.to_string(), (function, "/quarantine"));
        self.exchange(CALLER, where_to, (&Method::POST, ""), &headers, body.as_bytes()).await
    }

    /// Sends a function a POST request with this token.
    pub async fn authorised_as(&self, token: &str, function: &str, body: &Value) -> Response {
        let token = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", &*token)];
        self.send(function, Method::POST, &headers, body.to_string().as_bytes()).await
    }

    /// Submits the lead form as the page does.
    pub async fn submit(&self, body: &Value) -> Response {
        self.submit_with(&[], body).await
    }

    /// Submits the questionnaire as the page does.
    pub async fn answer_questionnaire(&self, body: &Value) -> Response {
        self.answer_questionnaire_with(&[], body).await
    }

    /// Submits the questionnaire with more headers.
    pub async fn answer_questionnaire_with(
        &self,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Response {
        self.post("questionnaire-submit", headers, body).await
    }

    /// Posts JSON with more headers.
    pub async fn post(&self, function: &str, headers: &[(&str, &str)], body: &Value) -> Response {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.send(function, Method::POST, &all, body.to_string().as_bytes()).await
    }

    /// Submits the lead form from this address.
    pub async fn submit_from(&self, ip: &str, body: &Value) -> Response {
        let headers = [("content-type", "application/json")];
        self.send_from(ip, "lead-submit", Method::POST, &headers, body.to_string().as_bytes()).await
    }

    /// Submits the lead form with more headers.
    pub async fn submit_with(&self, headers: &[(&str, &str)], body: &Value) -> Response {
        self.post("lead-submit", headers, body).await
    }
}
