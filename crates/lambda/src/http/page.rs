//! The page that a visitor sees after a plain HTML form, where the site has no page of its own for it.
//!
//! It is made of the JSON response, so that a duplicate, which has its receipt's JSON, shows the same page.
//! Must not know any form.

use askama::Template;
use funil_core::form::Locale;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use crate::http::problem::put;
use crate::platform::response::HttpResponse;

/// What the page may load and where it may be shown: it has a style, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";
/// The members of responses that hold the address at which a visitor chooses a time.
const BOOKING_LINKS: [&str; 2] = ["bookingUrl", "booking_url"];

#[derive(Template)]
#[template(path = "form.html")]
struct FormPage<'r> {
    language: &'static str,
    title: &'r str,
    faults: Vec<ShownFault<'r>>,
    advice: Option<&'static str>,
    link: Option<Link<'r>>,
}

struct ShownFault<'r> {
    field: &'r str,
    message: &'r str,
}

struct Link<'r> {
    address: &'r str,
    text: &'static str,
}

/// Replaces the JSON of a response with a page that says the same to a visitor. A response without JSON,
/// such as a redirection, stays as it is.
pub(crate) fn show(response: &mut HttpResponse, locale: Locale) {
    let Ok(body) = serde_json::from_slice::<Value>(&response.body) else { return };
    let Ok(html) = page(response.status, &body, locale).render() else { return };
    response.body = html.into();
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    put(&mut response.headers, CONTENT_SECURITY_POLICY, POLICY);
}

fn page(status: StatusCode, body: &Value, locale: Locale) -> FormPage<'_> {
    let said = |name: &str| body.get(name).and_then(Value::as_str);
    let faults = body.get("errors").and_then(Value::as_array).into_iter().flatten();
    let faults = faults.filter_map(|fault| {
        let field = fault.get("field")?.as_str()?;
        Some(ShownFault { field: label(field, locale), message: fault.get("message")?.as_str()? })
    });
    let link = BOOKING_LINKS.iter().find_map(|name| said(name));
    let title = if status.is_success() {
        said("message").unwrap_or(match locale {
            Locale::En => "Thank you. We have received your form.",
            Locale::PtBr => "Obrigado! Recebemos o seu formulário.",
        })
    } else {
        said("title").unwrap_or_default()
    };
    FormPage {
        language: match locale {
            Locale::En => "en",
            Locale::PtBr => "pt-BR",
        },
        title,
        faults: faults.collect(),
        advice: advice(status, locale),
        link: link.map(|address| Link {
            address,
            text: match locale {
                Locale::En => "Choose a time for our conversation",
                Locale::PtBr => "Escolha um horário para a nossa conversa",
            },
        }),
    }
}

/// What a visitor can do about a refusal; a problem's own detail speaks to whoever writes the form.
const fn advice(status: StatusCode, locale: Locale) -> Option<&'static str> {
    let (en, pt) = match status {
        StatusCode::UNPROCESSABLE_ENTITY => (
            "Go back to the form, correct it and send it again.",
            "Volte ao formulário, corrija e envie de novo.",
        ),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => (
            "Wait a little, go back to the form and send it again.",
            "Espere um pouco, volte ao formulário e envie de novo.",
        ),
        _ if status.as_u16() >= 400 => {
            ("Go back to the form and try again.", "Volte ao formulário e tente de novo.")
        }
        _ => return None,
    };
    Some(match locale {
        Locale::En => en,
        Locale::PtBr => pt,
    })
}

/// The words for a field that visitors of the usual forms know; else the name that the form gave it.
fn label(field: &str, locale: Locale) -> &str {
    let (en, pt) = match field.strip_prefix("data.").unwrap_or(field) {
        "name" => ("Name", "Nome"),
        "email" => ("E-mail", "E-mail"),
        "phone" => ("Phone", "Telefone"),
        "company" => ("Company", "Empresa"),
        "message" => ("Message", "Mensagem"),
        "service" | "service_interest" => ("Service", "Serviço"),
        "budget_range" => ("Budget", "Orçamento"),
        "marketing_consent" => ("Consent", "Consentimento"),
        "businessType" => ("Business", "Negócio"),
        dates if dates.starts_with("preferred_dates") => ("Dates", "Datas"),
        other => (other, other),
    };
    match locale {
        Locale::En => en,
        Locale::PtBr => pt,
    }
}
