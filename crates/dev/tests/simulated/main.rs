//! Tests of the simulated providers over real HTTP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod behaviour;
mod c2s;
mod crm;
mod ga4;
mod log;
mod mailerlite;
mod meta;
mod segment;
mod server;
mod whatsapp;

use std::net::SocketAddr;
use std::sync::Arc;

use funil_dev::simulated::{Clock, Providers};
use serde_json::Value;

const NOW: &str = "2026-01-02T03:04:05.678Z";

fn clock() -> Clock {
    Arc::new(|| NOW.to_owned())
}

/// A client and the providers that it sends requests to.
struct Caller {
    providers: Providers,
    address: SocketAddr,
    client: reqwest::Client,
}

/// A response as the tests check it.
#[derive(Debug)]
struct Received {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

/// The headers and the body of a request.
#[derive(Default)]
struct Sent<'a> {
    headers: &'a [(&'a str, &'a str)],
    body: String,
}

impl Caller {
    async fn new() -> Self {
        Self::of(Providers::new(clock())).await
    }

    async fn of(providers: Providers) -> Self {
        let address = providers.serve().await.unwrap();
        Self { providers, address, client: funil_lambda::platform().http }
    }

    /// Sends a request. It is an error if there is no response.
    async fn send(&self, request: &str, sent: Sent<'_>) -> reqwest::Result<Received> {
        let (method, path) = request.split_once(' ').unwrap();
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method.parse().unwrap(), url).body(sent.body);
        for (name, value) in sent.headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Received { status, headers, body })
    }

    /// Sends JSON with a bearer token.
    async fn ask(&self, request: &str, body: Value) -> Received {
        self.ask_with(request, body, &[("authorization", "Bearer t0ken")]).await
    }

    async fn ask_with(&self, request: &str, body: Value, headers: &[(&str, &str)]) -> Received {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(request, Sent { headers, body }).await.unwrap()
    }

    /// The note of the last request that a provider received.
    fn note(&self, provider: &str) -> String {
        self.providers.received(provider).pop().unwrap().note
    }
}
