//! The first customer's content: what another customer would name, word or set otherwise.
//!
//! Where a variable replaces a value, its comment names the variable; the others change here. The
//! rules of the scores are content too and are in `crates/core/rules`. Knows no destination.

use jiff::tz::{self, TimeZone};

/// The time zone of the business, for people whose own is not known.
pub(crate) const fn time_zone() -> TimeZone {
    tz::get!("America/Sao_Paulo")
}

/// The page of the questionnaire, under `SITE_URL`.
pub(crate) const QUESTIONNAIRE_PAGE: &str = "questionario";
/// How long the questionnaire stays open after a submission, in hours.
pub(crate) const QUESTIONNAIRE_H: i64 = 48;
/// The page that prepares for a call, under `SITE_URL`.
pub(crate) const PREPARATION_PAGE: &str = "preparacao-chamada";

/// The tags of every lead in the CRM. `CRM_BASE_TAGS` replaces them.
pub(crate) const CRM_BASE_TAGS: &[&str] = &["landing_page_lead", "mentoria_seja_livre"];
/// The CRM's automation for a lead of the highest tier, which a person follows up.
pub(crate) const HIGH_PRIORITY_AUTOMATION: &str = "high_priority_follow_up";
/// The CRM's automation for any other lead.
pub(crate) const STANDARD_AUTOMATION: &str = "standard_nurture";

/// The template of the message at booking. `WHATSAPP_TEMPLATES` replaces it.
pub(crate) const WELCOME_TEMPLATE: &str = "welcome_booking_confirmation";
/// The template of the reminder a day before the call. `WHATSAPP_TEMPLATES` replaces it.
pub(crate) const REMINDER_24H_TEMPLATE: &str = "call_reminder_24h";
/// The template of the reminder two hours before the call. `WHATSAPP_TEMPLATES` replaces it.
pub(crate) const REMINDER_2H_TEMPLATE: &str = "call_reminder_2h";
/// The language of the templates. `WHATSAPP_LANGUAGE` replaces it.
pub(crate) const TEMPLATE_LANGUAGE: &str = "pt_BR";
/// What stands in a template for the name of a person whose name is not known.
pub(crate) const NAME_WHEN_UNKNOWN: &str = "tudo bem";

/// The text of the template of the message at booking: name, day and time, page that prepares. It neither
/// begins nor ends with a variable, which WhatsApp refuses.
pub(crate) const WELCOME_TEXT: &str = "Olá, {{1}}! Sua chamada está marcada para {{2}}. \
    Prepare-se para ela por aqui: {{3}} . Até breve!";
/// An example of each of its variables.
pub(crate) const WELCOME_EXAMPLES: &[&str] = &[
    "Ana",
    "terça-feira, 25 de novembro às 15h",
    "https://www.example.com/preparacao-chamada?lead_id=018f3c5e",
];
/// The text of the template of the reminder a day before the call: name, time.
pub(crate) const REMINDER_24H_TEXT: &str = "Olá, {{1}}! Nossa chamada é amanhã, às {{2}}. Se precisar mudar o horário, responda a esta mensagem.";
/// An example of each of its variables.
pub(crate) const REMINDER_24H_EXAMPLES: &[&str] = &["Ana", "15h"];
/// The text of the template of the reminder two hours before the call: name, time, where.
pub(crate) const REMINDER_2H_TEXT: &str =
    "Olá, {{1}}! Nossa chamada é hoje, às {{2}}. Entre por aqui: {{3}} . Até já!";
/// An example of each of its variables.
pub(crate) const REMINDER_2H_EXAMPLES: &[&str] =
    &["Ana", "15h", "https://meet.google.com/abc-defg-hij"];
