//! Brevo, by which people get e-mails about what they bought: `docs/providers.md` ("Brevo").
//!
//! An event destination: one e-mail with the details of what is sold, when a deal is committed. It is made by a template
//! of the account, or by our own HTML and text, which are in `templates/` and escape everything. Brevo knows a key of
//! ours for half an hour at most, so a request that got no response is never repeated by itself.

pub mod account;

use askama::Template;
use serde_json::{Map, Value, json};

use super::repetition::{Repeats, ReplayPolicy};
use super::whatsapp::first_name;
use super::{Adapter, Connector, Context, Destination, Kind, Slot, Step, Whose};
use crate::check::{Finding, Probe, not_itself, refusal};
use crate::contact::Email;
use crate::contact::consent::Purpose;
use crate::delivery::exchange::Response;
use crate::delivery::{Outcome, Reason, WhenUnknown, judge};
use crate::event::{DealChanged, DealEvent, DealStage, EventData};
use crate::money::{Currency, Money};
use crate::pii::Pii;
use crate::settings::Settings;
use account::Account;

static PROPERTY_DETAILS: Slot = Slot::new("property_details", Purpose::Contact)
    .by_email()
    .unless_revoked(Purpose::MarketingEmail);

/// How long a delivery is worth sending, in hours: details of last week's purchase surprise nobody.
const WORTH_H: i64 = 7 * 24;
/// The longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 150;

/// Brevo: the e-mail that a person gets about a committed deal.
pub static DESTINATION: Destination = Destination {
    name: "brevo",
    function: "brevo-email",
    provider: "brevo",
    kind: Kind::Event,
    whose: Whose::Leads,
    deadline_h: WORTH_H,
    when_unknown: WhenUnknown::NeedsPerson,
    replay: ReplayPolicy { repeats: Repeats::Counted, too_old_h: None },
    person_pause_s: None,
    keyed_by_email: false,
    keeps_replies: false,
    follows_bookings: false,
    page_event: None,
    daily_per_number: None,
    requests_per_minute: None,
    base_url_variable: "BREVO_BASE_URL",
    local_path: "/v3",
    other_base_urls: &[],
    local_credentials: &[("BREVO_API_KEY", "local-brevo")],
    local_settings: &[("BREVO_SENDER_EMAIL", "contato@example.com")],
    slots: &[PROPERTY_DETAILS],
    plan: |event| taken(&event.data).map(|_| (&PROPERTY_DETAILS).into()).into_iter().collect(),
};

/// What makes its adapter. Only the function that delivers to it links this.
pub static CONNECTOR: Connector = Connector {
    destination: &DESTINATION,
    connect: |settings| Some(Box::new(Brevo::connect(settings)?)),
};

/// Brevo takes the deals that a person decided on.
fn taken(event: &EventData) -> Option<&DealChanged> {
    use EventData::{Call, Consent, Deal, Form, Operation, Payment, Visit};

    match event {
        Deal(DealEvent::Changed(deal)) => (deal.stage == DealStage::Committed).then_some(deal),
        Deal(_) | Form(_) | Call(_) | Payment(_) | Consent(_) | Operation(_) | Visit(_) => None,
    }
}

struct Brevo {
    account: Account,
    sender: Email,
    sender_name: String,
    /// The account's own template; ours without it.
    template: Option<u32>,
}

impl Brevo {
    fn connect(settings: &mut Settings<'_>) -> Option<Self> {
        let account = Account::read(settings);
        let sender = settings.required("BREVO_SENDER_EMAIL").and_then(|text| {
            Email::parse(text)
                .ok()
                .or_else(|| settings.problem("BREVO_SENDER_EMAIL must be an e-mail address."))
        });
        let template = match settings.optional("BREVO_TEMPLATE_ID").map(str::parse) {
            None => Some(None),
            Some(Ok(id)) => Some(Some(id)),
            Some(Err(_)) => settings.problem("BREVO_TEMPLATE_ID must be the number of a template."),
        };
        let sender_name = settings.optional("BREVO_SENDER_NAME").unwrap_or_default().to_owned();
        Some(Self { account: account?, sender: sender?, sender_name, template: template? })
    }

    /// The request's body. `None` if one of our templates cannot be filled in: nobody gets an empty e-mail.
    fn email(&self, context: &Context<'_>, deal: &DealChanged, to: &Email) -> Option<Value> {
        // Anybody can write a name into a form, so nothing of it but a word gets into an e-mail.
        let name = context.lead.latest.name.as_ref();
        let name = name.and_then(|name| first_name(name.expose()));
        let mut sender = json!({"email": self.sender.as_str()});
        if !self.sender_name.is_empty() {
            sender["name"] = json!(self.sender_name);
        }
        let mut body = json!({
            "sender": sender,
            "to": [{"email": to.as_str()}],
            // Brevo drops a repetition with the same key for half an hour.
            "headers": {"idempotencyKey": context.delivery.id.to_string()},
            "tags": [PROPERTY_DETAILS.name],
        });
        let details = Details::of(deal, name.as_deref(), self.sender_name.as_str());
        if let Some(id) = self.template {
            body["templateId"] = json!(id);
            body["params"] = details.params(deal);
        } else {
            body["subject"] = json!(details.subject());
            body["htmlContent"] = json!(Html { of: &details }.render().ok()?);
            body["textContent"] = json!(Plain { of: &details }.render().ok()?);
        }
        Some(body)
    }
}

impl Adapter for Brevo {
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        if let Some(response) = so_far.first() {
            return Step::Done(judged(response));
        }
        let Some(deal) = taken(&context.event.data) else {
            return Step::Done(Outcome::Rejected(Reason::NotUnderstood));
        };
        let Some(to) = &context.lead.latest.email else {
            return Step::Done(Outcome::Skipped(Reason::Missing("email")));
        };
        let Some(email) = self.email(context, deal, to) else {
            return Step::Done(Outcome::Rejected(Reason::Missing("text")));
        };
        Step::send(self.account.send(email))
    }

    fn requests_max(&self, _slot: &Slot) -> usize {
        1
    }

    /// The account, and the template if there is one.
    fn probes(&self) -> Vec<Probe<'_>> {
        const SUBJECT: &str = "credentials";

        let mut probes = vec![Probe::ask(SUBJECT, self.account.me(), |response| {
            vec![match refusal(SUBJECT, "BREVO_API_KEY", response) {
                Some(finding) => finding,
                None if response.json()["email"].is_string() => {
                    Finding::ok(SUBJECT, "Brevo takes BREVO_API_KEY")
                }
                None => not_itself(SUBJECT, "BREVO_BASE_URL", "Brevo"),
            }]
        })];
        if let Some(id) = self.template {
            probes.push(Probe::ask("template", self.account.template(id), move |response| {
                let is_active = response.json()["isActive"].as_bool();
                vec![match is_active {
                    Some(true) => Finding::ok("template", format!("template {id} is active")),
                    Some(false) => {
                        Finding::failed("template", format!("Activate the template {id} in Brevo."))
                    }
                    None => Finding::failed(
                        "template",
                        format!(
                            "Brevo has no template {id}: set BREVO_TEMPLATE_ID to one that it has."
                        ),
                    ),
                }]
            }));
        }
        probes
    }
}

/// After a response that is not clear the e-mail may have been sent. The outcome is unknown then, because no person may
/// get an e-mail twice.
fn judged(response: &Response) -> Outcome {
    let has_id = response.json()["messageId"].is_string();
    match response.status {
        200..=299 if has_id => Outcome::Delivered,
        200..=299 => Outcome::Unknown(Reason::UnexpectedResponse("without_message_id")),
        // The credits are used up, which is nothing about this e-mail.
        402 => Outcome::Blocked(Reason::Status(402)),
        500 | 502 | 504 => Outcome::Unknown(Reason::Status(response.status)),
        _ => judge(response),
    }
}

/// An amount as it is written in Brazil: `R$ 12.500.000,00`.
fn in_portuguese(money: Money) -> String {
    let decimal = money.decimal();
    let (units, parts) = decimal.split_once('.').unwrap_or((&decimal, ""));
    let mut grouped = String::new();
    for (place, digit) in units.chars().enumerate() {
        let left = units.len() - place;
        if place > 0 && left.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push('.');
        }
        grouped.push(digit);
    }
    let comma = if parts.is_empty() { "" } else { "," };
    match money.currency {
        Currency::BRL => format!("R$ {grouped}{comma}{parts}"),
        other => format!("{other} {grouped}{comma}{parts}"),
    }
}

/// What an e-mail says.
struct Details<'d> {
    first_name: Option<&'d str>,
    deal: Option<&'d str>,
    lines: Vec<(&'d str, String)>,
    sender: &'d str,
}

impl<'d> Details<'d> {
    fn of(deal: &'d DealChanged, first_name: Option<&'d str>, sender: &'d str) -> Self {
        let mut lines: Vec<(&str, String)> = Vec::new();
        if let Some(value) = deal.value {
            lines.push(("Valor", in_portuguese(value)));
        }
        if let Some(day) = deal.closes_on {
            lines.push(("Fechamento", day.strftime("%d/%m/%Y").to_string()));
        }
        let property = deal.property.iter().flat_map(Pii::expose);
        lines.extend(property.map(|(name, value)| (name.as_str(), value.clone())));
        Self {
            first_name,
            deal: deal.name.as_ref().map(|name| name.expose().as_str()),
            lines,
            sender,
        }
    }

    fn subject(&self) -> String {
        let subject = match self.deal {
            Some(deal) => format!("Detalhes de {deal}"),
            None => "Detalhes do imóvel".to_owned(),
        };
        subject.chars().take(SUBJECT_CHARS_MAX).collect()
    }

    /// What the account's own template gets: `{{params.first_name}}`, `{{params.property.address}}`.
    fn params(&self, deal: &DealChanged) -> Value {
        let mut property = Map::new();
        for (name, value) in deal.property.iter().flat_map(Pii::expose) {
            property.insert(name.clone(), json!(value));
        }
        json!({
            "first_name": self.first_name,
            "deal_name": self.deal,
            "value": deal.value.map(|value| value.decimal()),
            "currency": deal.value.map(|value| value.currency),
            "closes_on": deal.closes_on,
            "property": property,
        })
    }
}

#[derive(Template)]
#[template(path = "property_details.html")]
struct Html<'d> {
    of: &'d Details<'d>,
}

#[derive(Template)]
#[template(path = "property_details.txt")]
struct Plain<'d> {
    of: &'d Details<'d>,
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{adapter, committed, conversation, lead, response, submitted};
    use super::*;
    use crate::event::Event;
    use crate::pii::Text;

    fn talk(more: &[(&str, &str)], event: &Event, responses: &[Response]) -> String {
        let variables = [
            ("BREVO_API_KEY", "xkeysib-1"),
            ("BREVO_SENDER_EMAIL", "contato@example.com"),
            ("BREVO_SENDER_NAME", "Imobiliária Exemplo"),
        ];
        let variables: Vec<_> = variables.iter().chain(more).copied().collect();
        let brevo = adapter("brevo", &variables);
        conversation(&*brevo, ("brevo", "property_details"), event, &lead(), responses)
    }

    fn sent() -> Response {
        response(201, &json!({"messageId": "<1@smtp-relay.example>"}))
    }

    #[test]
    fn a_committed_deal_is_an_e_mail_with_its_details() {
        assert_snapshot!(talk(&[], &committed(), &[sent()]));
    }

    #[test]
    fn the_account_s_own_template_gets_the_details_as_parameters() {
        assert_snapshot!(talk(&[("BREVO_TEMPLATE_ID", "7")], &committed(), &[sent()]));
    }

    #[test]
    fn an_amount_is_written_as_in_brazil() {
        for (minor, currency, expected) in [
            (1_250_000_000, "BRL", "R$ 12.500.000,00"),
            (95_000_050, "BRL", "R$ 950.000,50"),
            (100, "BRL", "R$ 1,00"),
            (-12_345_600, "USD", "USD -123.456,00"),
            (5_000, "JPY", "JPY 5.000"),
        ] {
            let money = Money { minor, currency: Currency::parse(currency).unwrap() };
            assert_eq!(in_portuguese(money), expected);
        }
    }

    #[test]
    fn what_a_crm_writes_is_escaped() {
        let mut event = committed();
        let EventData::Deal(DealEvent::Changed(deal)) = &mut event.data else { unreachable!() };
        deal.name = Some(Text::from("<script>alert(1)</script>"));
        let shown = talk(&[], &event, &[sent()]);
        let html = shown.lines().find(|line| line.contains("htmlContent")).unwrap();
        assert!(!html.contains("<script>") && html.contains("script"), "{html}");
        let mut claimed = lead();
        claimed.latest.name = Some(Text::from("http://evil.example Ana"));
        let brevo = adapter(
            "brevo",
            &[("BREVO_API_KEY", "x"), ("BREVO_SENDER_EMAIL", "contato@example.com")],
        );
        let slot = ("brevo", "property_details");
        let shown = conversation(&*brevo, slot, &event, &claimed, &[sent()]);
        assert!(!shown.contains("evil"), "{shown}");
    }

    #[test]
    fn only_a_committed_deal_of_somebody_with_an_e_mail_is_one() {
        assert_eq!((DESTINATION.plan)(&submitted()), []);
        let mut nobody = lead();
        nobody.latest.email = None;
        let brevo = adapter(
            "brevo",
            &[("BREVO_API_KEY", "x"), ("BREVO_SENDER_EMAIL", "contato@example.com")],
        );
        let shown =
            conversation(&*brevo, ("brevo", "property_details"), &committed(), &nobody, &[]);
        assert_eq!(shown, "=> skipped missing_email");
    }

    #[test]
    fn every_kind_of_response_is_judged() {
        for (status, body, expected) in [
            (201, json!({"messageId": "<1@x>"}), "=> delivered"),
            (201, json!({}), "=> unknown answer_without_message_id"),
            (500, Value::Null, "=> unknown http_500"),
            (503, Value::Null, "=> retry http_503"),
            (429, Value::Null, "=> retry http_429"),
            (400, json!({"code": "invalid_parameter"}), "=> rejected http_400"),
            (401, json!({"code": "unauthorized"}), "=> blocked http_401"),
            (402, json!({"code": "not_enough_credits"}), "=> blocked http_402"),
        ] {
            let shown = talk(&[], &committed(), &[response(status, &body)]);
            assert!(shown.ends_with(expected), "{status}: {shown}");
        }
    }
}
