//! Requests of the command line to a provider, with a person's own credentials.

use funil_core::delivery::exchange::{Request, Response};
use funil_delivery::{NoResponse, REQUEST_TIMEOUT};
use funil_store::Platform;
use url::form_urlencoded::Serializer;

use crate::cli::Failure;

/// Sends a request, and returns its response whatever it is.
pub(super) async fn send(platform: &Platform, request: &Request) -> Result<Response, Failure> {
    received(platform, request, funil_delivery::outgoing(&platform.http, request, REQUEST_TIMEOUT))
        .await
}

/// Sends a request whose body is a form, and returns its response whatever it is.
pub(super) async fn send_form(
    platform: &Platform,
    request: &Request,
    form: &[(String, String)],
) -> Result<Response, Failure> {
    let body = Serializer::new(String::new()).extend_pairs(form).finish();
    let outgoing = funil_delivery::outgoing(&platform.http, request, REQUEST_TIMEOUT)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    received(platform, request, outgoing).await
}

async fn received(
    platform: &Platform,
    request: &Request,
    outgoing: reqwest::RequestBuilder,
) -> Result<Response, Failure> {
    let host = request.url.authority().to_owned();
    let received = funil_delivery::receive(outgoing, platform.clock.now()).await;
    received.map_err(|error| {
        match error {
            NoResponse::Connect => format!("No connection to {host}. See that its address is right."),
            NoResponse::Timeout => format!("{host} does not respond in time. Run this again."),
            NoResponse::Broken => format!(
                "The connection to {host} broke, so nobody knows what it did. Run this again: it makes \
                 only what is missing."
            ),
        }
        .into()
    })
}

/// The error of a response that is no success. Of Graph's errors only the code is shown, because their text
/// may repeat the token.
pub(super) fn refused(what: &str, response: &Response) -> Failure {
    let (status, body) = (response.status, response.json());
    let says = if let Some(code) = body.pointer("/error/code") {
        format!("Meta's code is {code}.")
    } else {
        // Contact2Sale calls it `msg`.
        let says = body["message"].as_str().or_else(|| body["msg"].as_str());
        says.unwrap_or_default().to_owned()
    };
    format!("{what} was refused with status {status}. {says}").trim_end().into()
}

/// An address without its query and the slash at its end.
pub(super) fn path(address: &str) -> &str {
    address.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/')
}
