//! WhatsApp by its Cloud API: `docs/providers.md` ("WhatsApp").
//!
//! An event destination: template messages about a booked call, at times counted back from the
//! call's start. The API recognises no key of ours, so a repeated request is a second message. A
//! request without a response is settled by a status update (`biz_opaque_callback_data` names the
//! delivery) or by a person. Who the person is comes from the lead; when and where the call is,
//! from the booking as it is when the message is sent.

pub mod account;
mod message;
mod response;

use serde_json::{Value, json};
use url::Url;

use self::account::Account;
use super::repetition::{Repeats, ReplayPolicy};
use super::{Adapter, Connector, Context, DailyLimit, Destination, Kind, Slot, Step, Whose};
use crate::booking::{Call, Place, Recipient};
use crate::check::{Finding, Probe, not_itself, refusal};
use crate::defaults::{NAME_WHEN_UNKNOWN, PREPARATION_PAGE};
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::delivery::{Outcome, Reason, WhenUnknown};
use crate::id::DeliveryName;
use crate::pii::Text;
use crate::settings::{Secret, Settings};
use crate::text::pt_br;
use message::{Message, REMINDER_2H, REMINDER_24H, WELCOME};
use response::judged;

/// WhatsApp: the messages about a booked call.
pub static DESTINATION: Destination = Destination {
    name: "whatsapp",
    function: "whatsapp-automation",
    provider: "whatsapp",
    kind: Kind::Event,
    whose: Whose::Leads,
    deadline_h: 14 * 24,
    when_unknown: WhenUnknown::NeedsPerson,
    replay: ReplayPolicy { repeats: Repeats::Counted, too_old_h: None },
    // The pair rate limit (error 131056) allows about one message in 6 s to one number.
    person_pause_s: Some(6),
    keyed_by_email: false,
    keeps_replies: false,
    follows_bookings: true,
    page_event: None,
    daily_per_number: Some(DailyLimit {
        most: 12,
        variable: "WHATSAPP_DAILY_PER_NUMBER",
        kept: 4,
        kept_for: &[REMINDER_24H.name, REMINDER_2H.name],
    }),
    requests_per_minute: None,
    base_url_variable: "WHATSAPP_BASE_URL",
    local_path: "",
    other_base_urls: &[],
    local_credentials: &[("WHATSAPP_ACCESS_TOKEN", "local-whatsapp")],
    local_settings: &[
        ("WHATSAPP_PHONE_NUMBER_ID", "100000000000001"),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", "200000000000002"),
    ],
    slots: &[WELCOME, REMINDER_24H, REMINDER_2H],
    plan: message::plan,
};

/// What makes its adapter. Only the function that delivers to it links this.
pub static CONNECTOR: Connector = Connector {
    destination: &DESTINATION,
    connect: |settings| Some(Box::new(WhatsApp::connect(settings)?)),
};

/// The longest name in a message, in characters.
const NAME_CHARS_MAX: usize = 60;

struct WhatsApp {
    account: Account,
    /// The id of the number that sends.
    number: String,
    site: Url,
    calendly: Option<Calendly>,
}

/// The calendar's API, for the link of a call that had none yet when it was booked.
struct Calendly {
    base: Url,
    token: Secret,
}

impl WhatsApp {
    fn connect(settings: &mut Settings<'_>) -> Option<Self> {
        let account = Account::read(settings);
        let number = settings.required("WHATSAPP_PHONE_NUMBER_ID").and_then(|id| {
            if id.bytes().all(|byte| byte.is_ascii_digit()) {
                return Some(id);
            }
            settings.problem("WHATSAPP_PHONE_NUMBER_ID must be the number's id, which is digits.")
        });
        let site = settings.url("SITE_URL", None);
        let calendly_base = settings.url("CALENDLY_BASE_URL", Some("https://api.calendly.com"));
        let calendly_token = settings.optional("CALENDLY_API_TOKEN").map(Secret::new);
        let calendly = calendly_base?;
        Some(Self {
            account: account?,
            number: number?.to_owned(),
            site: site?,
            calendly: calendly_token.map(|token| Calendly { base: calendly, token }),
        })
    }

    /// The request for a link that was missing when the call was booked, if the message needs it.
    /// Only a first attempt asks: a calendar that does not respond must not cost the reminder.
    fn link_request(
        &self,
        context: &Context<'_>,
        message: Message,
        call: &Call,
    ) -> Option<Request> {
        let calendly = self.calendly.as_ref()?;
        let missing = match call.place {
            Place::BeingMade { .. } | Place::Unsaid => true,
            Place::Link { .. } | Place::Words { .. } => false,
        };
        if message != Message::Reminder2h || !missing || context.delivery.attempts > 0 {
            return None;
        }
        let event = call.calendar_event.as_ref()?;
        let url = endpoint(&calendly.base, &["scheduled_events", event.as_str()]);
        let bearer = format!("Bearer {}", calendly.token.expose());
        Some(Request::safe(Method::Get, url, None).header("authorization", bearer))
    }

    fn preparation_url(&self, context: &Context<'_>) -> String {
        let mut url = endpoint(&self.site, &[PREPARATION_PAGE]);
        url.query_pairs_mut().append_pair("lead_id", &context.lead.id.to_string());
        url.into()
    }

    /// Where the call is: the link that was just found, the booking's place, or else the page that
    /// prepares for the call.
    fn place(&self, context: &Context<'_>, call: &Call, found: Option<String>) -> String {
        let known = match &call.place {
            Place::Link { url } | Place::BeingMade { url: Some(url) } => Some(url.expose()),
            Place::Words { words } => Some(words.expose()),
            Place::BeingMade { url: None } | Place::Unsaid => None,
        };
        found
            .or_else(|| known.and_then(|text| parameter(text)))
            .unwrap_or_else(|| self.preparation_url(context))
    }

    /// The texts that fill the message's template.
    fn parameters(
        &self,
        context: &Context<'_>,
        (message, call): (Message, &Call),
        name: String,
        link: Option<String>,
    ) -> Vec<String> {
        let starts_at = call.local_start();
        match message {
            Message::Welcome => {
                vec![name, pt_br::day_and_time(&starts_at), self.preparation_url(context)]
            }
            Message::Reminder24h => vec![name, pt_br::time(&starts_at)],
            Message::Reminder2h => {
                vec![name, pt_br::time(&starts_at), self.place(context, call, link)]
            }
        }
    }

    fn send(
        &self,
        context: &Context<'_>,
        message: Message,
        to: &str,
        parameters: &[String],
    ) -> Step {
        let parameters: Vec<Value> =
            parameters.iter().map(|text| json!({"type": "text", "text": text})).collect();
        let delivery = context.delivery;
        let callback = DeliveryName { lead_id: delivery.lead_id, delivery_id: delivery.id };
        let body = json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": to.trim_start_matches('+'),
            "type": "template",
            "template": {
                "name": self.account.template(message),
                "language": {"code": self.account.language},
                "components": [{"type": "body", "parameters": parameters}],
            },
            "biz_opaque_callback_data": callback.to_string(),
        });
        let url = self.account.url(&[&self.number, "messages"]);
        Step::send(self.account.signed(Request::harmful(Method::Post, url, Some(body))))
    }
}

impl Adapter for WhatsApp {
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        let message = Message::ALL.into_iter().find(|message| message.slot() == context.slot);
        let booked = context.bookings.first().and_then(|booking| booking.call.as_ref());
        let Some((message, taken)) = message.zip(message::taken(&context.event.data)) else {
            return Step::Done(Outcome::Rejected(Reason::NotUnderstood));
        };
        let call = booked.unwrap_or(taken.call);
        let (phone, name) = match taken.recipient {
            Some(Recipient::Number { phone, name }) => (phone, name.as_ref()),
            Some(Recipient::Nobody { why }) => {
                return Step::Done(Outcome::Skipped(Reason::NoNumber(*why)));
            }
            // An event that was kept before the recipient was decided at planning.
            None => match &context.lead.latest.phone {
                Some(phone) => (phone, context.lead.latest.name.as_ref().or(taken.invitee)),
                None => return Step::Done(Outcome::Skipped(Reason::NoPhone)),
            },
        };
        if !phone.may_be_mobile() {
            return Step::Done(Outcome::Skipped(Reason::NotMobile));
        }
        let (link, so_far) = match (self.link_request(context, message, call), so_far) {
            (Some(request), []) => return Step::send(request),
            (Some(_), [found, so_far @ ..]) => (join_url(found), so_far),
            (None, so_far) => (None, so_far),
        };
        if let Some(response) = so_far.first() {
            return Step::Done(judged(response));
        }
        let name = greeted(name);
        let parameters = self.parameters(context, (message, call), name, link);
        self.send(context, message, phone.as_str(), &parameters)
    }

    fn requests_max(&self, _slot: &Slot) -> usize {
        // The message, and before it the link of the call, where the calendar can be asked.
        1 + usize::from(self.calendly.is_some())
    }

    fn probes(&self) -> Vec<Probe<'_>> {
        let mut probes = vec![self.account.probe_of_number(&self.number)];
        probes.extend(self.account.probes());
        if let Some(calendly) = &self.calendly {
            probes.push(calendly.probe());
        }
        probes
    }
}

impl Calendly {
    /// Whose token it is.
    fn probe(&self) -> Probe<'_> {
        const SUBJECT: &str = "calendly";

        let url = endpoint(&self.base, &["users", "me"]);
        let bearer = format!("Bearer {}", self.token.expose());
        let request = Request::safe(Method::Get, url, None).header("authorization", bearer);
        Probe::ask(SUBJECT, request, |response| {
            vec![match refusal(SUBJECT, "CALENDLY_API_TOKEN", response) {
                Some(refused) => refused,
                None if response.json().pointer("/resource/uri").is_none() => {
                    not_itself(SUBJECT, "CALENDLY_BASE_URL", "Calendly")
                }
                None => Finding::ok(SUBJECT, "Calendly takes CALENDLY_API_TOKEN"),
            }]
        })
    }
}

/// The link in Calendly's response (`resource.location.join_url`), if it is one.
fn join_url(response: &Response) -> Option<String> {
    let body = response.json();
    let text = body.pointer("/resource/location/join_url")?.as_str()?;
    let url = Url::parse(text.trim()).ok()?;
    (response.succeeded() && matches!(url.scheme(), "http" | "https")).then(|| url.into())
}

/// How to address the person: by their first name, else by a greeting that needs none. Anybody can
/// write a name into a form, so nothing but a word passes.
fn greeted(name: Option<&Text>) -> String {
    let given = name.and_then(|name| first_name(name.expose()));
    given.unwrap_or_else(|| NAME_WHEN_UNKNOWN.to_owned())
}

/// The first word of a name, of at most [`NAME_CHARS_MAX`] characters. `None` where it is not a word:
/// a link, an address, digits.
pub(super) fn first_name(name: &str) -> Option<String> {
    // Marks of text direction would show the rest of the message in another order.
    let is_mark = |c: char| c.is_control() || is_directional(c);
    let plain: String = name.chars().map(|c| if is_mark(c) { ' ' } else { c }).collect();
    let word = plain.split_whitespace().next()?;
    let is_letter =
        |c: char| c.is_alphabetic() || matches!(c, '\'' | '’' | '-' | '\u{300}'..='\u{36f}');
    let is_word = word.chars().all(is_letter) && word.chars().any(char::is_alphabetic);
    is_word.then(|| word.chars().take(NAME_CHARS_MAX).collect())
}

/// Whether a character changes the direction of the text around it, or is not seen at all.
const fn is_directional(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The text in the form that a template takes: one line without tabs or runs of spaces. `None` if
/// nothing is left.
fn parameter(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{adapter, booked, conversation, lead, response};
    use super::*;
    use crate::booking::NoNumber;
    use crate::contact::Phone;
    use crate::event::{CallEvent, Event, EventData};

    const VARIABLES: [(&str, &str); 2] =
        [("WHATSAPP_PHONE_NUMBER_ID", "106540352242922"), ("WHATSAPP_ACCESS_TOKEN", "t0ken")];

    fn whatsapp(more: &[(&str, &str)]) -> Box<dyn Adapter> {
        let variables: Vec<_> = VARIABLES.iter().chain(more).copied().collect();
        adapter("whatsapp", &variables)
    }

    fn talk(slot: &str, event: &Event, responses: &[Response]) -> String {
        let more = [("CALENDLY_API_TOKEN", "calendly-t0ken")];
        conversation(&*whatsapp(&more), ("whatsapp", slot), event, &lead(), responses)
    }

    fn sent() -> Response {
        response(200, &json!({"messaging_product": "whatsapp", "messages": [{"id": "wamid.x"}]}))
    }

    fn call_of(event: &mut Event) -> &mut Call {
        let EventData::Call(CallEvent::Booked(booked)) = &mut event.data else { unreachable!() };
        &mut booked.call
    }

    #[test]
    fn the_three_messages_about_a_call() {
        let mut event = booked();
        call_of(&mut event).place = Place::Link { url: Text::from("https://zoom.us/j/123") };
        assert_snapshot!("whatsapp_welcome", talk("welcome", &event, &[sent()]));
        assert_snapshot!("whatsapp_reminder_24h", talk("reminder_24h", &event, &[sent()]));
        assert_snapshot!("whatsapp_reminder_2h", talk("reminder_2h", &event, &[sent()]));
    }

    #[test]
    fn a_link_that_was_missing_at_booking_is_asked_for() {
        let location = json!({"type": "google_conference", "status": "pushed",
            "join_url": "https://meet.google.com/abc-defg-hij"});
        let found = response(200, &json!({"resource": {"location": location}}));
        assert_snapshot!(talk("reminder_2h", &booked(), &[found, sent()]));
        let early = "https://calendly.com/events/1/google_meet";
        for (place, answer, expected) in [
            (Place::BeingMade { url: Some(Text::from(early)) }, response(404, &Value::Null), early),
            (Place::Unsaid, response(500, &Value::Null), "/preparacao-chamada?lead_id="),
            (
                Place::BeingMade { url: None },
                response(200, &json!({"resource": {"location": {"join_url": "javascript:1"}}})),
                "/preparacao-chamada?lead_id=",
            ),
        ] {
            let mut event = booked();
            call_of(&mut event).place = place;
            let shown = talk("reminder_2h", &event, &[answer, sent()]);
            assert!(shown.contains(expected) && shown.ends_with("=> delivered"), "{shown}");
        }
    }

    #[test]
    fn calendly_is_not_asked_for_a_link_that_is_known_or_not_needed() {
        let words = || Place::Words { words: Text::from("  +55 11 3333-4444\n(ramal  2)\t") };
        let mut event = booked();
        call_of(&mut event).place = words();
        let shown = talk("reminder_2h", &event, &[sent()]);
        assert!(shown.contains("\"+55 11 3333-4444 (ramal 2)\""), "{shown}");
        let mut event = booked();
        call_of(&mut event).calendar_event = None;
        assert!(talk("reminder_2h", &event, &[sent()]).ends_with("=> delivered"));
        for slot in ["welcome", "reminder_24h"] {
            assert!(talk(slot, &booked(), &[sent()]).ends_with("=> delivered"));
        }
        let without_token = whatsapp(&[]);
        let shown = conversation(
            &*without_token,
            ("whatsapp", "reminder_2h"),
            &booked(),
            &lead(),
            &[sent()],
        );
        assert!(shown.contains("/preparacao-chamada?lead_id="), "{shown}");
    }

    #[test]
    fn a_message_goes_to_the_recipient_that_was_decided_whatever_the_lead_says_now() {
        let mut person = lead();
        person.latest.name = Some(Text::from("Outra Pessoa"));
        person.latest.phone = Some(Phone::parse("21 99999-0000").unwrap());
        let show = |recipient: Option<Recipient>, person: &crate::lead::Lead| {
            let mut event = booked();
            let EventData::Call(CallEvent::Booked(call)) = &mut event.data else { unreachable!() };
            call.recipient = recipient;
            conversation(&*whatsapp(&[]), ("whatsapp", "welcome"), &event, person, &[])
        };
        let to = |name: &str| {
            let phone = Phone::parse("11 98765-4321").unwrap();
            Some(Recipient::Number { phone, name: Some(Text::from(name)) })
        };
        let shown = show(to("Ana\n\tMaria    de   Souza "), &person);
        assert!(shown.contains("\"Ana\"") && shown.contains("5511987654321"), "{shown}");
        assert!(show(to(" \n\t "), &person).contains("\"tudo bem\""));
        for why in NoNumber::ALL {
            let shown = show(Some(Recipient::Nobody { why }), &person);
            assert_eq!(shown, format!("=> skipped no_number_{}", why.name()));
        }
    }

    #[test]
    fn a_message_greets_by_the_first_name_and_nothing_else_gets_in() {
        for (name, expected) in [
            ("Ana Maria", Some("Ana")),
            (" \n\tAna\u{202e}\nMaria", Some("Ana")),
            ("D'Ávila Souza", Some("D'Ávila")),
            ("Jose\u{301} Silva", Some("Jose\u{301}")),
            ("https://golpe.example/x Ana", None),
            ("www.golpe.example", None),
            ("ganhe@golpe.example", None),
            ("4004", None),
            ("\u{202e}", None),
            ("", None),
        ] {
            assert_eq!(first_name(name).as_deref(), expected, "{name:?}");
        }
        assert_eq!(first_name(&"a".repeat(99)).map(|name| name.len()), Some(60));
    }

    #[test]
    fn only_a_mobile_number_gets_messages() {
        for (number, may) in [
            ("11 98765-4321", true),
            ("+1 202 555 0143", true),
            ("11 3333-4444", false),
            ("0800 729 0722", false),
            ("4004 1234", false),
        ] {
            let is_mobile = Phone::parse(number).is_ok_and(|phone| phone.may_be_mobile());
            assert_eq!(is_mobile, may, "{number}");
        }
    }

    #[test]
    fn an_event_that_was_kept_before_recipients_were_decided_goes_to_the_lead() {
        let mut person = lead();
        let mut event = booked();
        let EventData::Call(CallEvent::Booked(call)) = &mut event.data else { unreachable!() };
        call.recipient = None;
        let show = |person: &crate::lead::Lead| {
            conversation(&*whatsapp(&[]), ("whatsapp", "welcome"), &event, person, &[])
        };
        assert!(show(&person).contains("5511987654321"));
        person.latest.phone = None;
        assert_eq!(show(&person), "=> skipped no_phone");
    }

    #[test]
    fn templates_and_language_are_configurable() {
        let more = [
            ("WHATSAPP_TEMPLATES", r#"{"welcome":"bem_vinda_v2"}"#),
            ("WHATSAPP_LANGUAGE", "pt_PT"),
            ("WHATSAPP_API_VERSION", "v26.0"),
            ("WHATSAPP_BASE_URL", "https://waba.example/graph"),
        ];
        let show =
            |slot| conversation(&*whatsapp(&more), ("whatsapp", slot), &booked(), &lead(), &[]);
        let shown = show("welcome");
        for expected in
            ["bem_vinda_v2", "pt_PT", "https://waba.example/graph/v26.0/106540352242922/messages"]
        {
            assert!(shown.contains(expected), "{shown}");
        }
        assert!(show("reminder_24h").contains("call_reminder_24h"));
    }

    #[test]
    fn a_wrong_variable_is_named() {
        for (name, value) in [
            ("WHATSAPP_TEMPLATES", r#"{"wellcome":"x"}"#),
            ("WHATSAPP_TEMPLATES", r#"{"welcome":""}"#),
            ("WHATSAPP_API_VERSION", "25"),
            ("WHATSAPP_PHONE_NUMBER_ID", "+55 11"),
        ] {
            let env: crate::settings::Env = VARIABLES
                .into_iter()
                .chain([("SITE_URL", "https://example.com"), (name, value)])
                .collect();
            let mut settings = env.settings();
            let connected = (CONNECTOR.connect)(&mut settings);
            let problem = settings.finish(connected.map(|_| ())).unwrap_err();
            assert!(problem.to_string().contains(name), "{name}={value}: {problem}");
        }
    }
}
