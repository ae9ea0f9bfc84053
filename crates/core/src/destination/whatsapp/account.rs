//! What Funil needs of a WhatsApp Business account beside its number: templates and the subscription of an app
//! to its webhook; how they are found, and how they are made.
//!
//! `docs/providers.md` ("WhatsApp"). Knows neither leads nor events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use url::Url;

use super::super::graph;
use super::message::{self, Message};
use crate::check::{Finding, Probe, member, not_itself, refusal};
use crate::defaults::TEMPLATE_LANGUAGE;
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::settings::{Secret, Settings};

/// The variable with the id of the WhatsApp Business account.
const ACCOUNT: &str = "WHATSAPP_BUSINESS_ACCOUNT_ID";
/// What a check of the webhook is called.
const WEBHOOK: &str = "webhook";
/// The variable with the API's address.
const BASE_URL: &str = "WHATSAPP_BASE_URL";

/// The API with its token, and our templates.
#[derive(Debug)]
pub struct Account {
    /// The API's address with the version in its path.
    base: Url,
    token: Secret,
    /// The id of the WhatsApp Business account, which only checks and the setup need.
    id: Option<String>,
    templates: BTreeMap<String, String>,
    pub(super) language: String,
}

/// A template that messages need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template(Message);

impl Template {
    /// The templates of all messages.
    pub fn all() -> impl Iterator<Item = Self> {
        Message::ALL.into_iter().map(Self)
    }

    /// Which message it is for.
    pub const fn slot(self) -> &'static str {
        self.0.slot().name
    }

    /// What a check of it is called.
    const fn subject(self) -> &'static str {
        match self.0 {
            Message::Welcome => "template welcome",
            Message::Reminder24h => "template reminder_24h",
            Message::Reminder2h => "template reminder_2h",
        }
    }

    /// How many variables its text has.
    const fn variables(self) -> usize {
        self.0.examples().len()
    }

    /// Its text in Portuguese.
    pub const fn text(self) -> &'static str {
        self.0.text()
    }
}

impl Account {
    /// Reads the token, the account, the version of the Graph API and the templates. `None` if a variable is missing or
    /// wrong, which the settings note.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let base = settings.url(BASE_URL, Some("https://graph.facebook.com"));
        let version = graph::version(settings, "WHATSAPP_API_VERSION");
        let token = settings.secret("WHATSAPP_ACCESS_TOKEN");
        let id = match settings.optional(ACCOUNT) {
            None => Some(None),
            Some(id) if id.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(id.to_owned())),
            Some(_) => {
                settings.problem(format!("{ACCOUNT} must be the account's id, which is digits."))
            }
        };
        let templates = message::templates(settings);
        let language =
            settings.optional("WHATSAPP_LANGUAGE").unwrap_or(TEMPLATE_LANGUAGE).to_owned();
        Some(Self {
            base: endpoint(&base?, &[version?]),
            token: token?,
            id: id?,
            templates: templates?,
            language,
        })
    }

    /// The id of the WhatsApp Business account, if it is configured.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The language of the templates, as `pt_BR`.
    pub fn language(&self) -> &str {
        &self.language
    }

    pub(super) fn url(&self, segments: &[&str]) -> Url {
        endpoint(&self.base, segments)
    }

    pub(super) fn signed(&self, request: Request) -> Request {
        request.header("authorization", format!("Bearer {}", self.token.expose()))
    }

    /// The name of a message's template.
    pub(super) fn template(&self, message: Message) -> &str {
        self.templates.get(message.slot().name).map_or(message.template(), String::as_str)
    }

    /// The name of a template in the account.
    pub fn name_of(&self, template: Template) -> &str {
        self.template(template.0)
    }

    /// Looks a template up by its name, in every language that it has.
    pub fn find_template(&self, id: &str, template: Template) -> Request {
        let mut url = self.url(&[id, "message_templates"]);
        url.query_pairs_mut()
            .append_pair("name", self.name_of(template))
            .append_pair("limit", "100");
        self.signed(Request::safe(Method::Get, url, None))
    }

    /// Submits a template with its Portuguese text for review.
    pub fn make_template(&self, id: &str, template: Template) -> Request {
        let body = json!({
            "name": self.name_of(template),
            "language": self.language,
            "category": "UTILITY",
            "components": [{
                "type": "BODY",
                "text": template.text(),
                "example": {"body_text": [template.0.examples()]},
            }],
        });
        let url = self.url(&[id, "message_templates"]);
        self.signed(Request::harmful(Method::Post, url, Some(body)))
    }

    /// Lists the apps that get the account's webhooks.
    pub fn list_subscriptions(&self, id: &str) -> Request {
        self.signed(Request::safe(Method::Get, self.url(&[id, "subscribed_apps"]), None))
    }

    /// Subscribes the token's app to the account's webhooks, at the address that the app itself has.
    pub fn subscribe(&self, id: &str) -> Request {
        let url = self.url(&[id, "subscribed_apps"]);
        self.signed(Request::safe(Method::Post, url, Some(json!({}))))
    }

    /// Looks at the number that sends.
    pub(super) fn probe_of_number<'a>(&'a self, number: &'a str) -> Probe<'a> {
        const SUBJECT: &str = "credentials";

        let mut url = self.url(&[number]);
        url.query_pairs_mut().append_pair("fields", "id,quality_rating");
        let request = self.signed(Request::safe(Method::Get, url, None));
        Probe::ask(SUBJECT, request, move |response| {
            let names = ("WHATSAPP_ACCESS_TOKEN", "WHATSAPP_PHONE_NUMBER_ID");
            if let Some(refused) = refused(SUBJECT, names, response) {
                return vec![refused];
            }
            let body = response.json();
            if member(&body, "id").as_deref() != Some(number) {
                return vec![not_itself(SUBJECT, BASE_URL, "WhatsApp")];
            }
            vec![match body["quality_rating"].as_str() {
                Some("RED") => Finding::warning(
                    SUBJECT,
                    "WhatsApp takes the token, and rates the number RED: people block or report it. It \
                     may soon send less, or nothing.",
                ),
                Some(_) | None => Finding::ok(
                    SUBJECT,
                    "WhatsApp takes WHATSAPP_ACCESS_TOKEN for WHATSAPP_PHONE_NUMBER_ID",
                ),
            }]
        })
    }

    /// Looks at the templates and the webhook, if the account is known.
    pub(super) fn probes(&self) -> Vec<Probe<'_>> {
        let Some(id) = self.id() else {
            let says = format!(
                "set {ACCOUNT}, and a check looks at the templates and at the webhook. No message needs \
                 it."
            );
            return vec![Probe::Known(Finding::unchecked("templates", says))];
        };
        let of_templates = Template::all().map(|template| {
            Probe::ask(template.subject(), self.find_template(id, template), move |response| {
                vec![self.check_template(template, response)]
            })
        });
        let webhook = Probe::ask(WEBHOOK, self.list_subscriptions(id), check_subscriptions);
        of_templates.chain([webhook]).collect()
    }

    /// What a list of templates says of one of ours.
    fn check_template(&self, template: Template, response: &Response) -> Finding {
        let subject = template.subject();
        let names = ("WHATSAPP_ACCESS_TOKEN", ACCOUNT);
        if let Some(refused) = refused(subject, names, response) {
            return refused;
        }
        let (name, language) = (self.name_of(template), &self.language);
        let body = response.json();
        let Some(all) = body["data"].as_array() else {
            return not_itself(subject, BASE_URL, "WhatsApp");
        };
        let of_name: Vec<&Value> = all.iter().filter(|one| one["name"] == name).collect();
        let Some(found) = of_name.iter().find(|one| one["language"] == language.as_str()) else {
            let languages: Vec<&str> =
                of_name.iter().filter_map(|one| one["language"].as_str()).collect();
            return Finding::failed(
                subject,
                if languages.is_empty() {
                    format!(
                        "the account has no template {name}. `funil setup whatsapp` submits one; \
                         WHATSAPP_TEMPLATES gives it another name."
                    )
                } else {
                    format!(
                        "the template {name} is there in {}, and not in {language}, the language of \
                         WHATSAPP_LANGUAGE.",
                        languages.join(", ")
                    )
                },
            );
        };
        if let Some(says) = wrong_variables(found, template.variables()) {
            return Finding::failed(subject, format!("the template {name} {says}"));
        }
        match found["status"].as_str() {
            Some("APPROVED") => Finding::ok(subject, format!("{name} is approved in {language}")),
            Some(status) => Finding::failed(
                subject,
                format!(
                    "the template {name} is {status}, so its messages are refused. Look at it in \
                         the WhatsApp Manager."
                ),
            ),
            None => {
                Finding::unchecked(subject, format!("WhatsApp does not say how {name} stands."))
            }
        }
    }
}

/// How a template stands in the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there, with this status in WhatsApp's words.
    There(String),
    /// It is not there.
    Missing,
}

/// How the template of this name and language stands, by a list. `None` where it is no list.
pub fn standing(response: &Response, name: &str, language: &str) -> Option<Standing> {
    let body = response.json();
    let all = body["data"].as_array().filter(|_| response.succeeded())?;
    let found = all.iter().find(|one| one["name"] == name && one["language"] == language);
    Some(found.map_or(Standing::Missing, |found| {
        Standing::There(found["status"].as_str().unwrap_or("there").to_owned())
    }))
}

/// The names of the apps that a list of subscriptions has. `None` where it is no list.
pub fn subscribed(response: &Response) -> Option<Vec<String>> {
    let body = response.json();
    let apps = body["data"].as_array().filter(|_| response.succeeded())?;
    let name = |app: &Value| {
        let name = app.pointer("/whatsapp_business_api_data/name").and_then(Value::as_str);
        name.unwrap_or("an app").to_owned()
    };
    Some(apps.iter().map(name).collect())
}

fn check_subscriptions(response: &Response) -> Vec<Finding> {
    let names = ("WHATSAPP_ACCESS_TOKEN", ACCOUNT);
    if let Some(refused) = refused(WEBHOOK, names, response) {
        return vec![refused];
    }
    let Some(apps) = subscribed(response) else {
        return vec![not_itself(WEBHOOK, BASE_URL, "WhatsApp")];
    };
    if apps.is_empty() {
        let says = "no app gets the account's webhooks, so opt-outs and statuses never come. `funil setup \
                    whatsapp` subscribes the token's app.";
        return vec![Finding::failed(WEBHOOK, says)];
    }
    let body = response.json();
    let addresses = body["data"].as_array().into_iter().flatten();
    let addresses: BTreeSet<&str> =
        addresses.filter_map(|app| app["override_callback_uri"].as_str()).collect();
    let addresses: Vec<&str> = addresses.into_iter().collect();
    let at = if addresses.is_empty() {
        "the addresses that the apps have in their dashboards".to_owned()
    } else {
        addresses.join(", ")
    };
    // Whose app it is and where it sends, no request with this token says.
    let says = format!(
        "the account's webhooks go to {}, at {at}. See that one of them is your app, that its address is \
         that of whatsapp-webhook, and that it has the field messages.",
        apps.join(", ")
    );
    vec![Finding::unchecked(WEBHOOK, says)]
}

/// What is wrong with the response, of Graph's own form or not.
fn refused(
    subject: &'static str,
    (token, id): (&str, &str),
    response: &Response,
) -> Option<Finding> {
    graph::finding(subject, (token, id), response).or_else(|| refusal(subject, token, response))
}

/// The buttons that need a parameter in each message.
const FILLED_BUTTONS: [&str; 3] = ["copy_code", "otp", "flow"];

/// What is wrong with what a template leaves open, if something is: a message fills the variables of the
/// body, by their numbers, and nothing else.
fn wrong_variables(template: &Value, wanted: usize) -> Option<String> {
    let is = |value: &Value, word: &str| {
        value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(word))
    };
    let components = template["components"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut body = BTreeSet::new();
    for component in components {
        if is(&component["type"], "body") {
            body = placeholders(component["text"].as_str().unwrap_or_default());
            continue;
        }
        let has_media = is(&component["type"], "header") && !is(&component["format"], "text");
        let mut buttons = component["buttons"].as_array().into_iter().flatten();
        let is_filled = buttons.any(|one| FILLED_BUTTONS.iter().any(|kind| is(&one["type"], kind)));
        if has_media || is_filled || !placeholders(&component.to_string()).is_empty() {
            return Some(
                "has a header or a button that each message has to fill, and no message does. Remove it."
                    .to_owned(),
            );
        }
    }
    if body.iter().any(|name| name.parse::<usize>().is_err()) {
        return Some(
            "has variables with names; a message fills {{1}}, {{2}} and so on.".to_owned(),
        );
    }
    let count = body.len();
    (count != wanted).then(|| {
        format!("has {count} variables, and the message fills {wanted}. Correct its text.")
    })
}

/// What stands between double braces.
fn placeholders(text: &str) -> BTreeSet<String> {
    let parts = text.split("{{").skip(1);
    parts.filter_map(|part| Some(part.split_once("}}")?.0.trim().to_owned())).collect()
}
