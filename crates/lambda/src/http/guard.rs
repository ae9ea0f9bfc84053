//! What every HTTP call passes before its endpoint: method, origin, size, content type, token.
//!
//! Owns CORS and how a body is read. Must not know any form.

use funil_core::form::{Locale, from_urlencoded};
use funil_core::json;
use funil_core::settings::Secret;
use http::header::{
    ACCEPT_LANGUAGE, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    AUTHORIZATION, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use crate::http::problem::{Problem, put};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

/// The largest body of a form, in bytes.
pub(crate) const FORM_BYTES_MAX: usize = 64 * 1024;
/// The largest body of a webhook, in bytes.
pub(crate) const WEBHOOK_BYTES_MAX: usize = 256 * 1024;
/// What a form takes.
const FORM_METHODS: &str = "POST, OPTIONS";
/// What a monitor's function takes.
const READ_METHODS: &str = "GET, HEAD";

/// How a form was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// By a script.
    Json,
    /// By a plain HTML form.
    UrlEncoded,
}

/// The answer that a form's method already decides: OPTIONS is answered, POST goes on (`None`),
/// everything else is refused.
pub(crate) fn form_method(request: &HttpRequest) -> Option<Result<HttpResponse, Problem>> {
    if request.method == Method::POST {
        return None;
    }
    if request.method == Method::OPTIONS {
        let mut headers = HeaderMap::new();
        put(&mut headers, http::header::ALLOW, FORM_METHODS);
        put(&mut headers, ACCESS_CONTROL_ALLOW_METHODS, FORM_METHODS);
        put(&mut headers, ACCESS_CONTROL_ALLOW_HEADERS, "content-type, idempotency-key");
        put(&mut headers, ACCESS_CONTROL_MAX_AGE, "86400");
        let body = bytes::Bytes::new();
        return Some(Ok(HttpResponse { status: StatusCode::NO_CONTENT, headers, body }));
    }
    Some(Err(Problem::Method(FORM_METHODS)))
}

/// Lets only a call through that reads.
pub(crate) fn read_method(request: &HttpRequest) -> Result<(), Problem> {
    if request.method == Method::GET || request.method == Method::HEAD {
        Ok(())
    } else {
        Err(Problem::Method(READ_METHODS))
    }
}

/// Reads a form's body.
pub(crate) fn form_body(request: &HttpRequest) -> Result<(Encoding, Value), Problem> {
    if request.body.len() > FORM_BYTES_MAX {
        return Err(Problem::TooLarge(FORM_BYTES_MAX));
    }
    match encoding(header(request, CONTENT_TYPE).unwrap_or_default()) {
        Some(Encoding::Json) => {
            let body = json::parse(&request.body).map_err(Problem::Json)?;
            Ok((Encoding::Json, body))
        }
        Some(Encoding::UrlEncoded) => Ok((Encoding::UrlEncoded, from_urlencoded(&request.body))),
        None => Err(Problem::ContentType),
    }
}

/// The raw bytes of a webhook, which are what its provider signed.
pub(crate) fn webhook_body(request: &HttpRequest) -> Result<&[u8], Problem> {
    if request.method != Method::POST {
        return Err(Problem::Method("POST"));
    }
    if request.body.len() > WEBHOOK_BYTES_MAX {
        return Err(Problem::TooLarge(WEBHOOK_BYTES_MAX));
    }
    Ok(&request.body)
}

/// The two encodings that forms have, in UTF-8 only.
fn encoding(content_type: &str) -> Option<Encoding> {
    let mut parts = content_type.split(';').map(str::trim);
    let encoding = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" => Encoding::Json,
        "application/x-www-form-urlencoded" => Encoding::UrlEncoded,
        _ => return None,
    };
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    charset
        .is_none_or(|c| c.eq_ignore_ascii_case("utf-8") || c.eq_ignore_ascii_case("utf8"))
        .then_some(encoding)
}

/// Adds what a browser on one of the site's own origins needs to read the answer.
pub(crate) fn allow_origin(request: &HttpRequest, origins: &[String], response: &mut HttpResponse) {
    put(&mut response.headers, VARY, "Origin, Accept-Language");
    let Some(origin) = header(request, ORIGIN) else { return };
    if origins.iter().any(|allowed| allowed == origin) {
        put(&mut response.headers, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = "Idempotency-Replayed, Retry-After";
        put(&mut response.headers, ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// The language of the answer.
pub(crate) fn locale(request: &HttpRequest) -> Locale {
    Locale::from_accept_language(header(request, ACCEPT_LANGUAGE))
}

/// A header as text.
pub(crate) fn header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers.get(name)?.to_str().ok()
}

/// Whether the call carries one of the service tokens, compared in constant time.
pub(crate) fn authorised(request: &HttpRequest, tokens: &[Secret]) -> Result<(), Problem> {
    let header = header(request, AUTHORIZATION).unwrap_or_default();
    let (scheme, given) = header.split_once(' ').unwrap_or_default();
    let valid = is_one_of(given.trim(), tokens);
    if valid && scheme.eq_ignore_ascii_case("bearer") { Ok(()) } else { Err(Problem::Unauthorised) }
}

/// Whether a text is one of the secrets, compared in constant time.
pub(crate) fn is_one_of(given: &str, secrets: &[Secret]) -> bool {
    let given = given.as_bytes();
    secrets
        .iter()
        .fold(false, |is_one, secret| is_one | bool::from(secret.expose().as_bytes().ct_eq(given)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_content_types_in_utf8_are_taken() {
        for (content_type, expected) in [
            ("application/json", Some(Encoding::Json)),
            ("Application/JSON; charset=UTF-8", Some(Encoding::Json)),
            ("application/json;charset=\"utf-8\"", Some(Encoding::Json)),
            ("application/x-www-form-urlencoded; charset=utf8", Some(Encoding::UrlEncoded)),
            ("application/json; charset=iso-8859-1", None),
            ("text/plain", None),
            ("multipart/form-data; boundary=x", None),
            ("", None),
        ] {
            assert_eq!(encoding(content_type), expected, "{content_type}");
        }
    }
}
