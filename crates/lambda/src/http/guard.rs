//! The checks that endpoints apply to a request: origin, content type, language, service token.
//!
//! Owns CORS and how a form's body is read. Must not know any form.

use funil_core::form::{Locale, from_urlencoded};
use funil_core::json;
use funil_core::settings::Secret;
use funil_core::site::SiteConfig;
use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use serde_json::Value;

use crate::http::problem::{Problem, put};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

/// How a form was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As JSON, which a script sends.
    Json,
    /// As `application/x-www-form-urlencoded`, which a plain HTML form sends.
    UrlEncoded,
}

/// The response to a browser that asks, before it sends a form from another origin, whether it may.
pub(crate) fn preflight(methods: &[Method]) -> HttpResponse {
    let mut headers = HeaderMap::new();
    put(&mut headers, http::header::ALLOW, &list(methods));
    put(&mut headers, ACCESS_CONTROL_ALLOW_METHODS, &list(methods));
    put(&mut headers, ACCESS_CONTROL_ALLOW_HEADERS, "content-type, idempotency-key");
    put(&mut headers, ACCESS_CONTROL_MAX_AGE, "86400");
    HttpResponse { status: StatusCode::NO_CONTENT, headers, body: bytes::Bytes::new() }
}

/// Methods as headers list them.
pub(crate) fn list(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

/// Reads the body of a request as JSON, or as a plain HTML form turned into the same tree.
pub(crate) fn form_body(request: &HttpRequest) -> Result<(Encoding, Value), Problem> {
    read_form(header(request, CONTENT_TYPE).unwrap_or_default(), &request.body)
}

/// Reads a body of this content type as JSON, or as a plain HTML form turned into the same tree.
pub(crate) fn read_form(content_type: &str, body: &[u8]) -> Result<(Encoding, Value), Problem> {
    match encoding_of(content_type) {
        Some(Encoding::Json) => Ok((Encoding::Json, json::parse(body).map_err(Problem::Json)?)),
        Some(Encoding::UrlEncoded) => Ok((Encoding::UrlEncoded, from_urlencoded(body))),
        None => Err(Problem::ContentType),
    }
}

/// How a request's form was encoded.
pub(crate) fn encoding(request: &HttpRequest) -> Option<Encoding> {
    encoding_of(header(request, CONTENT_TYPE)?)
}

/// Whether the caller shows what it gets to a person: a browser that navigates names HTML among the types
/// that it takes. Who names no types takes any.
pub(crate) fn takes_html(request: &HttpRequest) -> bool {
    header(request, ACCEPT).is_none_or(|accepted| {
        let mut types = accepted.split(',').filter_map(|one| one.split(';').next());
        types.any(|one| one.trim().eq_ignore_ascii_case("text/html"))
    })
}

/// Whether the caller is a browser that posted a plain HTML form, in any of the encodings that such a form can
/// have, and says that it shows the response.
pub(crate) fn shows_html(request: &HttpRequest) -> bool {
    let kind = header(request, CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"].contains(&&*kind)
        && request.headers.contains_key(ACCEPT)
        && takes_html(request)
}

/// The two encodings that forms have, in UTF-8 only.
fn encoding_of(content_type: &str) -> Option<Encoding> {
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

/// Adds the headers that a browser on one of the site's own origins needs to read the response.
pub(crate) fn allow_origin(request: &HttpRequest, origins: &[String], response: &mut HttpResponse) {
    put(&mut response.headers, VARY, "Origin, Accept-Language");
    let Some(origin) = header(request, ORIGIN) else { return };
    if origins.iter().any(|allowed| allowed == origin) {
        put(&mut response.headers, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = "Idempotency-Replayed, Retry-After";
        put(&mut response.headers, ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// Whether the request names the origin of another site's page: none that is listed, nor the one of
/// `SITE_URL`, nor that of the host it was sent to, nor `null`, which a browser sends for a page
/// without an origin. Any script can forge it, so it refuses nobody.
pub(crate) fn is_of_another_site(request: &HttpRequest, site: &SiteConfig) -> bool {
    let Some(origin) = header(request, ORIGIN).filter(|origin| *origin != "null") else {
        return false;
    };
    let own_host = header(request, HOST);
    let host = origin.split_once("://").map(|(_, host)| host);
    let is_own = site.cors_origins.iter().any(|listed| listed == origin)
        || site.site_url.origin().ascii_serialization() == origin
        || host.is_some() && host == own_host;
    !is_own
}

/// The language of the response.
pub(crate) fn locale(request: &HttpRequest) -> Locale {
    Locale::from_accept_language(header(request, ACCEPT_LANGUAGE))
}

/// A header as text.
pub(crate) fn header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers.get(name)?.to_str().ok()
}

/// The first value of a parameter of the address.
pub(crate) fn parameter<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    let found = request.query.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// Checks that the request carries one of the service tokens, compared in constant time.
pub(crate) fn authorised(request: &HttpRequest, tokens: &[Secret]) -> Result<(), Problem> {
    let header = header(request, AUTHORIZATION).unwrap_or_default();
    let (scheme, given) = header.split_once(' ').unwrap_or_default();
    let valid = Secret::is_one_of(given.trim(), tokens);
    if valid && scheme.eq_ignore_ascii_case("bearer") { Ok(()) } else { Err(Problem::Unauthorised) }
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
            assert_eq!(encoding_of(content_type), expected, "{content_type}");
        }
    }
}
