//! Refusals, as RFC 9457 problem details.
//!
//! `detail` is for the caller, in their language. It never repeats what they sent and shows nothing
//! internal. A table that failed is logged once, by the endpoint's frame.

use funil_core::form::{FieldErrors, Locale};
use funil_core::json::JsonError;
use funil_store::StoreError;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http::guard;
use crate::platform::response::HttpResponse;

/// When to send again what is not kept, in seconds.
pub(crate) const RETRY_AFTER_S: &str = "5";

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The body is not what its content type says.
    Json(JsonError),
    /// The event of the platform cannot be read as a request.
    Unreadable,
    /// Fields are missing or wrong.
    Fields(FieldErrors),
    /// The idempotency key cannot be read.
    IdempotencyKey,
    /// The idempotency key was used for another content.
    KeyReused,
    /// The method is not one of these.
    Method(&'static [Method]),
    /// The content type or the charset is not supported.
    ContentType,
    /// The body has more bytes than this.
    TooLarge(usize),
    /// The caller sent too many requests.
    RateLimited {
        /// How long to wait, in seconds.
        retry_after_s: i64,
    },
    /// The request has no valid service token.
    Unauthorised,
    /// The request is not signed by its provider.
    Unsigned(StatusCode),
    /// The handshake does not have the configured token.
    WrongVerifyToken,
    /// The booking id belongs to another call.
    BookingKnown,
    /// No lead has this id, or not with this e-mail.
    NoSuchLead,
    /// The lead has no such booking.
    NoSuchBooking,
    /// The address names a CRM that is not known.
    NoSuchCrm,
    /// No such request is in quarantine.
    NotInQuarantine,
    /// A request in quarantine is still not understood, for this reason.
    NotUnderstood(&'static str),
    /// The destination is not listed in `DESTINATIONS`.
    DestinationOff,
    /// The table did not do what it was asked, or is not the one of this `HASH_KEY`.
    Table(StoreError),
    /// Not all of the request could be kept, for a reason that was logged.
    Unavailable,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::Table(error)
    }
}

impl Problem {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Json(_) | Self::Unreadable | Self::IdempotencyKey => StatusCode::BAD_REQUEST,
            Self::Fields(_) | Self::KeyReused | Self::NotUnderstood(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unauthorised => StatusCode::UNAUTHORIZED,
            Self::Unsigned(status) => *status,
            Self::WrongVerifyToken => StatusCode::FORBIDDEN,
            Self::NoSuchLead | Self::NoSuchBooking | Self::NoSuchCrm | Self::NotInQuarantine => {
                StatusCode::NOT_FOUND
            }
            Self::BookingKnown | Self::DestinationOff => StatusCode::CONFLICT,
            Self::Table(_) | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Json(JsonError::Syntax) => "invalid_json",
            Self::Json(JsonError::DuplicateKey) => "duplicate_key",
            Self::Json(JsonError::TooDeep) => "too_deep",
            Self::Unreadable => "unreadable_request",
            Self::Fields(_) => "invalid_fields",
            Self::IdempotencyKey => "invalid_idempotency_key",
            Self::KeyReused => "idempotency_key_reused",
            Self::Method(_) => "method_not_allowed",
            Self::ContentType => "unsupported_content_type",
            Self::TooLarge(_) => "body_too_large",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unauthorised => "unauthorized",
            Self::Unsigned(_) => "not_signed",
            Self::WrongVerifyToken => "wrong_verify_token",
            Self::BookingKnown => "booking_known",
            Self::NoSuchLead => "lead_not_found",
            Self::NoSuchBooking => "booking_not_found",
            Self::NoSuchCrm => "crm_not_found",
            Self::NotInQuarantine => "not_in_quarantine",
            Self::NotUnderstood(_) => "not_understood",
            Self::DestinationOff => "destination_off",
            Self::Table(_) | Self::Unavailable => "unavailable",
        }
    }

    /// The title and the detail in a language.
    #[expect(clippy::too_many_lines, reason = "one sentence for each problem, in two languages")]
    fn words(&self, locale: Locale) -> (String, String) {
        let (en, pt) = match self {
            Self::Json(JsonError::Syntax) => (
                ("The body is not valid JSON", "Send one JSON object in UTF-8."),
                ("O corpo não é JSON válido", "Envie um objeto JSON em UTF-8."),
            ),
            Self::Json(JsonError::DuplicateKey) => (
                ("The body names a key twice", "Send each key of an object once."),
                ("O corpo repete uma chave", "Envie cada chave de um objeto uma só vez."),
            ),
            Self::Json(JsonError::TooDeep) => (
                ("The body nests too deeply", "Send at most 32 levels of nesting."),
                ("O corpo tem níveis demais", "Envie no máximo 32 níveis."),
            ),
            Self::Unreadable => (
                ("The request cannot be read", "Send a plain HTTP request."),
                ("A requisição não pôde ser lida", "Envie uma requisição HTTP comum."),
            ),
            Self::Fields(_) => (
                ("Some fields are not valid", "Correct the fields in `errors` and send again."),
                ("Alguns campos não são válidos", "Corrija os campos em `errors` e envie de novo."),
            ),
            Self::IdempotencyKey => (
                ("The Idempotency-Key cannot be read", "Send 1 to 255 visible ASCII characters."),
                (
                    "A Idempotency-Key não pôde ser lida",
                    "Envie de 1 a 255 caracteres ASCII visíveis.",
                ),
            ),
            Self::KeyReused => (
                (
                    "This Idempotency-Key was used for another content",
                    "Use a new key for a new submission.",
                ),
                (
                    "Esta Idempotency-Key já foi usada com outro conteúdo",
                    "Use uma chave nova para um envio novo.",
                ),
            ),
            Self::Method(_) => (
                ("This method is not allowed", "Use a method listed in the Allow header."),
                ("Este método não é permitido", "Use um método listado no cabeçalho Allow."),
            ),
            Self::ContentType => (
                (
                    "This content type is not supported",
                    "Send application/json in UTF-8, or another type that docs/endpoints.md names for this endpoint.",
                ),
                (
                    "Este tipo de conteúdo não é aceito",
                    "Envie application/json em UTF-8, ou outro tipo que docs/endpoints.md indique para este endpoint.",
                ),
            ),
            Self::TooLarge(bytes_max) => {
                return match locale {
                    Locale::En => (
                        "The body is too large".to_owned(),
                        format!("Send at most {bytes_max} bytes."),
                    ),
                    Locale::PtBr => (
                        "O corpo é grande demais".to_owned(),
                        format!("Envie no máximo {bytes_max} bytes."),
                    ),
                };
            }
            Self::RateLimited { .. } => (
                ("Too many submissions", "Wait as long as Retry-After says and send again."),
                ("Envios demais", "Aguarde o tempo de Retry-After e envie de novo."),
            ),
            Self::Unauthorised => (
                ("A service token is needed", "Send Authorization: Bearer with a SERVICE_TOKEN."),
                ("Falta um token de serviço", "Envie Authorization: Bearer com um SERVICE_TOKEN."),
            ),
            Self::Unsigned(_) => (
                (
                    "The signature or token is missing or wrong",
                    "Sign the raw body, at the present time, or send this endpoint's token.",
                ),
                (
                    "A assinatura ou o token falta ou está errado",
                    "Assine o corpo, no horário atual, ou envie o token deste endpoint.",
                ),
            ),
            Self::WrongVerifyToken => (
                ("The verify token is not the configured one", "Check hub.verify_token."),
                ("O token de verificação não é o configurado", "Confira hub.verify_token."),
            ),
            Self::NoSuchBooking => (
                (
                    "The lead has no such booking",
                    "Check bookingId with `funil journey`, or send startTime to plan messages.",
                ),
                (
                    "O lead não tem esse agendamento",
                    "Confira bookingId com `funil journey`, ou envie startTime.",
                ),
            ),
            Self::BookingKnown => (
                (
                    "This booking is known as another call",
                    "Withdraw it with DELETE, and plan the new call under another bookingId.",
                ),
                (
                    "Este agendamento já existe com outra chamada",
                    "Retire-o com DELETE e planeje a nova chamada com outro bookingId.",
                ),
            ),
            Self::NoSuchLead => (
                ("There is no such lead", "Check the leadId and, where one is sent, the e-mail."),
                ("Este lead não existe", "Confira o leadId e, se houver, o e-mail."),
            ),
            Self::NoSuchCrm => (
                (
                    "The path names no CRM that is known",
                    "Name one as the last part, or none for the standard format; the endpoint's documentation lists them.",
                ),
                (
                    "O caminho não nomeia um CRM conhecido",
                    "Nomeie um na última parte, ou nenhum para o formato padrão; a documentação do endpoint os lista.",
                ),
            ),
            Self::NotInQuarantine => (
                (
                    "No such request is in quarantine",
                    "List what is there; it may have been released, dropped or removed.",
                ),
                (
                    "Não há essa requisição em quarentena",
                    "Liste o que há; ela pode ter sido liberada, descartada ou removida.",
                ),
            ),
            Self::NotUnderstood(_) => (
                (
                    "The request is still not understood",
                    "See `reason`; correct the request with `set` and `lead`, or drop it.",
                ),
                (
                    "A requisição ainda não foi entendida",
                    "Veja `reason`; corrija com `set` e `lead`, ou descarte.",
                ),
            ),
            Self::DestinationOff => (
                ("This destination is off", "List it in DESTINATIONS on all functions."),
                ("Este destino está desligado", "Liste-o em DESTINATIONS em todas as funções."),
            ),
            Self::Table(_) | Self::Unavailable => (
                (
                    "Not available right now",
                    "Send the same request again shortly; if it was kept, you get its answer.",
                ),
                (
                    "Indisponível no momento",
                    "Envie a mesma requisição de novo em instantes; se ela foi guardada, a resposta vem.",
                ),
            ),
        };
        let (title, detail) = match locale {
            Locale::En => en,
            Locale::PtBr => pt,
        };
        (title.to_owned(), detail.to_owned())
    }

    /// The problem as a response.
    pub(crate) fn response(&self, locale: Locale) -> HttpResponse {
        let (title, detail) = self.words(locale);
        let mut body = json!({
            "type": format!("urn:funil:problem:{}", self.code()),
            "title": title,
            "status": self.status().as_u16(),
            "detail": detail,
            "code": self.code(),
        });
        if let Self::Fields(errors) = self {
            body["errors"] = errors
                .0
                .iter()
                .map(|error| {
                    json!({
                        "field": error.field,
                        "code": error.fault.code(),
                        "message": error.fault.message(locale),
                    })
                })
                .collect();
        }
        if let Self::NotUnderstood(reason) = self {
            body["reason"] = json!(reason);
        }
        let mut response = json_response(self.status(), &body);
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::Method(allowed) => {
                put(&mut response.headers, ALLOW, &guard::list(allowed));
            }
            Self::RateLimited { retry_after_s } => {
                put(&mut response.headers, RETRY_AFTER, &retry_after_s.to_string());
            }
            Self::Table(_) | Self::Unavailable => {
                put(&mut response.headers, RETRY_AFTER, RETRY_AFTER_S);
            }
            Self::Unauthorised => {
                put(&mut response.headers, http::header::WWW_AUTHENTICATE, "Bearer");
            }
            Self::Json(_)
            | Self::Unreadable
            | Self::Fields(_)
            | Self::IdempotencyKey
            | Self::KeyReused
            | Self::ContentType
            | Self::TooLarge(_)
            | Self::Unsigned(_)
            | Self::WrongVerifyToken
            | Self::BookingKnown
            | Self::NoSuchLead
            | Self::NoSuchBooking
            | Self::NoSuchCrm
            | Self::NotInQuarantine
            | Self::NotUnderstood(_)
            | Self::DestinationOff => {}
        }
        response
    }
}

/// A JSON response that nobody may cache.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> HttpResponse {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    HttpResponse { status, headers, body: body.to_string().into() }
}

/// Sets a header. A value that is not valid in a header is left out.
pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
