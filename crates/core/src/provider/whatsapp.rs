//! The webhook of WhatsApp's Cloud API: its handshake, its signature and its content.
//!
//! The facts are in `docs/providers.md` ("WhatsApp"). One request has many entries, changes,
//! messages and statuses; each is parsed by itself, so that a malformed one does not affect the
//! others. Every phone field may be absent: people with a username are known only by their
//! business-scoped id. Of the text that a person writes this module must not return more than
//! which of our words it is.

mod words;

use jiff::Timestamp;
use serde_json::Value;

use super::{NotSigned, NotUnderstood, Verified};
use crate::contact::Phone;
use crate::delivery::MessageStatus;
use crate::id::DeliveryName;
use crate::json;
use crate::pii::Text;
use crate::provider::signature;
use crate::settings::Secret;

pub use words::{Word, Words};

/// The provider's name in the quarantine. It is also the name of the destination whose messages it
/// reports on.
pub const NAME: &str = "whatsapp";
/// The header with the signature: `sha256=<hex>`.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";
/// The maximum length of a number, in digits (E.164).
const DIGITS_MAX: usize = 15;
/// The maximum length of a handshake's challenge, in bytes. Meta's challenges are short numbers.
const CHALLENGE_BYTES_MAX: usize = 200;

/// Verifies that the raw body is signed with any of the app's secrets. Meta signs the bytes that it
/// sends, in which all non-ASCII characters are escaped, so a body that was parsed and serialised
/// again would not verify.
pub fn verify<'b>(
    body: &'b [u8],
    header: Option<&str>,
    secrets: &[Secret],
) -> Result<Verified<'b>, NotSigned> {
    let hex = header.and_then(|header| header.trim().strip_prefix("sha256="));
    let signed = hex.is_some_and(|hex| signature::is_signed(secrets, &[body], hex));
    if signed { Ok(Verified(body)) } else { Err(NotSigned) }
}

/// The value of the header that Meta would send with a body. Used for samples and tests.
pub fn sign(secret: &Secret, body: &[u8]) -> String {
    format!("sha256={}", signature::sign(secret, &[body]))
}

/// The handshake with which Meta verifies the address of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake<'q> {
    /// The verify token that the request claims to know.
    pub token: &'q str,
    /// The text to respond with if the token is right.
    pub challenge: &'q str,
}

impl<'q> Handshake<'q> {
    /// Parses the query of a GET request. `None` if it is not a handshake.
    pub fn parse(query: &'q [(String, String)]) -> Option<Self> {
        let value = |wanted: &str| {
            let (_, value) = query.iter().find(|(name, _)| name == wanted)?;
            Some(value.as_str())
        };
        let challenge = value("hub.challenge")?;
        let subscribes = value("hub.mode") == Some("subscribe");
        (subscribes && challenge.len() <= CHALLENGE_BYTES_MAX)
            .then(|| Some(Self { token: value("hub.verify_token")?, challenge }))
            .flatten()
    }
}

/// A phone number, as WhatsApp writes it: digits with the country's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// A number of a numbering plan.
    Valid(Phone),
    /// Digits that no numbering plan has, as far as we know: the plans change.
    Digits(Text),
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let fits = (1..=DIGITS_MAX).contains(&digits.len());
        if !fits || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let valid = Phone::of_whatsapp(digits).map(Self::Valid);
        Some(valid.unwrap_or_else(|_| Self::Digits(Text::from(digits))))
    }

    /// The text whose digest is the number's alias.
    pub fn alias_text(&self) -> String {
        match self {
            Self::Valid(phone) => phone.alias_text(),
            Self::Digits(digits) => format!("+{}", digits.expose()),
        }
    }
}

/// How WhatsApp identifies a person: by phone number, by business-scoped id, or by both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The phone number.
    pub number: Option<Number>,
    /// The business-scoped id, such as `BR.1502576394655843`.
    pub bsuid: Option<Text>,
}

/// A status update of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    /// The delivery that sent the message, from its callback data. `None` if the message is not
    /// ours.
    pub delivery: Option<DeliveryName>,
    /// The new status.
    pub status: MessageStatus,
    /// When the status changed, by WhatsApp's clock.
    pub at: Option<Timestamp>,
    /// The error code of a failed message.
    pub code: Option<u32>,
    /// The recipient of the message.
    pub person: Person,
}

/// A message that a person wrote to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// WhatsApp's id of the message. It holds the sender's number.
    pub id: Option<Text>,
    /// The sender.
    pub person: Person,
    /// When it was sent, by WhatsApp's clock.
    pub at: Option<Timestamp>,
    /// What the message asks of us, where it is nothing but one of our words.
    pub word: Option<Word>,
}

/// The content of one webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updates {
    /// The status updates.
    pub statuses: Vec<StatusUpdate>,
    /// The messages that people wrote.
    pub inbound: Vec<Inbound>,
    /// The codes of errors that do not belong to a message.
    pub errors: Vec<u32>,
    /// How many parts could not be parsed.
    pub unreadable: usize,
}

/// Parses a verified webhook.
pub fn parse(Verified(body): Verified<'_>, words: &Words) -> Result<Updates, NotUnderstood> {
    let body = json::parse(body).map_err(|_| NotUnderstood("not_json"))?;
    if body.get("object").and_then(Value::as_str) != Some("whatsapp_business_account") {
        return Err(NotUnderstood("unknown_object"));
    }
    let mut content = Updates::default();
    for entry in content.list(&body, "entry") {
        for change in content.list(entry, "changes") {
            // Other fields are about templates and the account.
            if text(change, "field") == Some("messages") {
                content.read(&change["value"], words);
            }
        }
    }
    Ok(content)
}

impl Updates {
    /// The list in a member of an object. A member that is not a list counts as unreadable.
    fn list<'v>(&mut self, object: &'v Value, name: &str) -> &'v [Value] {
        match object.get(name) {
            Some(Value::Array(items)) => items,
            None | Some(Value::Null) => &[],
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                self.unreadable += 1;
                &[]
            }
        }
    }

    fn read(&mut self, value: &Value, words: &Words) {
        let contacts: Vec<Person> =
            self.list(value, "contacts").iter().map(|c| person(c, "wa_id", "user_id")).collect();
        for status in self.list(value, "statuses") {
            match status_update(status, &contacts) {
                Read::Update(update) => self.statuses.push(update),
                Read::Other => {}
                Read::Unreadable => self.unreadable += 1,
            }
        }
        for message in self.list(value, "messages") {
            if message.is_object() {
                let person = person(message, "from", "from_user_id").completed(&contacts);
                // Of two words in one message the opt-out counts.
                let said: Vec<Word> = texts(message).filter_map(|text| words.find(text)).collect();
                let opt_out = said.iter().find(|word| **word == Word::OptOut);
                let word = opt_out.or_else(|| said.first()).copied();
                let id = text(message, "id").map(Text::from);
                self.inbound.push(Inbound { id, person, at: time(message), word });
            } else {
                self.unreadable += 1;
            }
        }
        let codes = self.list(value, "errors").iter().filter_map(code);
        self.errors.extend(codes);
    }
}

/// The result of parsing a status.
enum Read {
    Update(StatusUpdate),
    /// A status that is not handled: `played`, `deleted`, `warning`.
    Other,
    Unreadable,
}

fn status_update(status: &Value, contacts: &[Person]) -> Read {
    let Some(name) = text(status, "status") else { return Read::Unreadable };
    let Some(known) = MessageStatus::parse(name) else { return Read::Other };
    let delivery = text(status, "biz_opaque_callback_data").and_then(|text| text.parse().ok());
    let person = person(status, "recipient_id", "recipient_user_id").completed(contacts);
    let errors = status.get("errors").and_then(Value::as_array);
    let code = errors.and_then(|errors| errors.iter().find_map(code));
    Read::Update(StatusUpdate { delivery, status: known, at: time(status), code, person })
}

impl Person {
    /// Adds the number or id that a contact in the same webhook has for this person.
    fn completed(self, contacts: &[Self]) -> Self {
        let same = |contact: &&Self| {
            let number = contact.number.is_some() && contact.number == self.number;
            let bsuid = contact.bsuid.is_some() && contact.bsuid == self.bsuid;
            number || bsuid
        };
        match contacts.iter().find(same) {
            Some(contact) => Self {
                number: self.number.or_else(|| contact.number.clone()),
                bsuid: self.bsuid.or_else(|| contact.bsuid.clone()),
            },
            None => self,
        }
    }
}

/// The person in these two members of an object.
fn person(object: &Value, number: &str, bsuid: &str) -> Person {
    Person {
        number: text(object, number).and_then(Number::parse),
        bsuid: text(object, bsuid).map(Text::from),
    }
}

fn text<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// The time of a message or status: its `timestamp` is a text with Unix seconds.
fn time(part: &Value) -> Option<Timestamp> {
    Timestamp::from_second(text(part, "timestamp")?.parse().ok()?).ok()
}

fn code(error: &Value) -> Option<u32> {
    error.get("code")?.as_u64()?.try_into().ok()
}

/// The texts that a person typed or chose in a message.
fn texts(message: &Value) -> impl Iterator<Item = &str> {
    let pointers = [
        "/text/body",
        "/button/text",
        "/button/payload",
        "/interactive/button_reply/title",
        "/interactive/button_reply/id",
        "/interactive/list_reply/title",
        "/interactive/list_reply/id",
    ];
    pointers.into_iter().filter_map(|pointer| message.pointer(pointer)?.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::event::CallWish;

    #[test]
    fn the_signature_is_verified_over_the_raw_bytes() {
        let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
        let expected = "sha256=02fe0c96d28c59ddb7cf81eff0ca05809b360ba73b63c28210b5906a0a107d1f";
        let keys = [Secret::new("another"), Secret::new("app_secret_123")];
        assert_eq!(sign(&keys[1], body), expected);
        let is_signed =
            |keys: &[Secret], body: &[u8], header: &str| verify(body, Some(header), keys).is_ok();
        assert!(is_signed(&keys, body, expected));
        assert!(is_signed(&keys, body, &format!(" {expected} ")));
        assert!(verify(body, None, &keys).is_err());
        let spaced = br#"{"object": "whatsapp_business_account", "entry": []}"#;
        assert!(!is_signed(&keys, spaced, expected), "the same JSON in other bytes");
        for header in ["", "sha256=", &expected[7..], &expected.replace("sha256", "sha1")] {
            assert!(!is_signed(&keys, body, header), "{header}");
        }
        assert!(!is_signed(&keys[..1], body, expected));
        // Meta escapes what is not ASCII before it signs.
        let escaped = br#"{"name":"Jo\u00e3o"}"#;
        let signed = sign(&keys[1], escaped);
        assert!(is_signed(&keys, escaped, &signed));
        assert!(!is_signed(&keys, "{\"name\":\"João\"}".as_bytes(), &signed));
    }

    #[test]
    fn a_handshake_is_parsed_from_the_query() {
        let query = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let whole = [
            ("hub.mode", "subscribe"),
            ("hub.challenge", "1158201444"),
            ("hub.verify_token", "t0ken"),
        ];
        assert_eq!(
            Handshake::parse(&query(&whole)),
            Some(Handshake { token: "t0ken", challenge: "1158201444" })
        );
        for absent in 0..3 {
            let mut pairs = whole.to_vec();
            pairs.remove(absent);
            assert_eq!(Handshake::parse(&query(&pairs)), None, "{pairs:?}");
        }
        let other = [("hub.mode", "unsubscribe"), whole[1], whole[2]];
        assert_eq!(Handshake::parse(&query(&other)), None);
        let long = "1".repeat(201);
        assert_eq!(Handshake::parse(&query(&[whole[0], ("hub.challenge", &long), whole[2]])), None);
    }

    fn webhook(value: &Value) -> Updates {
        let body = json!({
            "object": "whatsapp_business_account",
            "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}],
        });
        read(body.to_string().as_bytes()).unwrap()
    }

    fn read(body: &[u8]) -> Result<Updates, NotUnderstood> {
        parse(Verified(body), &Words::default())
    }

    #[test]
    fn a_status_update_names_its_delivery_if_the_message_is_ours() {
        let name = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11/0b0a6f1c-2f5e-8d3e-9a53-0d7a6c1f2b11";
        let content = webhook(&json!({"statuses": [
            {"id": "wamid.1", "status": "delivered", "timestamp": "1764093600",
             "recipient_id": "5511987654321", "biz_opaque_callback_data": name},
            {"id": "wamid.2", "status": "failed", "timestamp": 5, "recipient_id": "551187654321",
             "biz_opaque_callback_data": "outbox:1",
             "errors": [{"code": 131_026, "title": "Message undeliverable"}]},
            {"id": "wamid.3", "status": "read"},
            {"id": "wamid.4", "status": "played"},
            {"id": "wamid.5"},
            "status",
        ]}));
        assert_eq!(content.unreadable, 2);
        let updates: Vec<_> = content
            .statuses
            .iter()
            .map(|update| (update.delivery.map(|d| d.to_string()), update.status, update.code))
            .collect();
        assert_eq!(
            updates,
            [
                (Some(name.to_owned()), MessageStatus::Delivered, None),
                (None, MessageStatus::Failed, Some(131_026)),
                (None, MessageStatus::Read, None),
            ]
        );
        assert_eq!(content.statuses[0].at.unwrap().as_second(), 1_764_093_600);
        assert_eq!(content.statuses[1].at, None);
        let phones: Vec<_> = content
            .statuses
            .iter()
            .map(|update| update.person.number.as_ref().map(Number::alias_text))
            .collect();
        assert_eq!(phones[0], phones[1], "with and without the ninth digit");
        assert_eq!(phones[2], None);
    }

    #[test]
    fn a_person_is_identified_by_number_by_id_or_by_both() {
        let content = webhook(&json!({
            "contacts": [
                {"profile": {"name": "Ana"}, "wa_id": "5511987654321", "user_id": "BR.1"},
                {"profile": {"name": "Bia"}, "user_id": "BR.2"},
            ],
            "messages": [
                {"from": "5511987654321", "id": "a", "type": "text", "text": {"body": "oi"}},
                {"from_user_id": "BR.1", "id": "b", "type": "image", "image": {}},
                {"from_user_id": "BR.2", "id": "c", "type": "reaction"},
                {"id": "d", "type": "system"},
            ],
        }));
        let known: Vec<_> = content
            .inbound
            .iter()
            .map(|message| {
                let person = &message.person;
                (person.number.is_some(), person.bsuid.as_ref().map(|id| id.expose().as_str()))
            })
            .collect();
        assert_eq!(
            known,
            [(true, Some("BR.1")), (true, Some("BR.1")), (false, Some("BR.2")), (false, None)]
        );
        assert_eq!(content.unreadable, 0);
    }

    #[test]
    fn a_word_is_recognised_in_any_spelling_and_no_other_text_is() {
        let words = Words::default();
        for text in [
            "PARAR",
            "parar",
            " Parar! ",
            "*SAIR*",
            "sair.",
            "Stop\n",
            "P\u{e1}rar",
            "sai\u{301}r",
            "Pare",
            "pa\u{200b}rar",
            "DESCADASTRAR",
            "remover 🙏🏽",
            "🛑 STOP 🛑",
            "Não quero receber",
            "NAO QUERO MAIS RECEBER!!",
            "parar, por favor",
            "Por favor, sair",
            "quero sair",
            "Quero parar por favor",
            "favor remover",
            "Por favor: não quero mais receber",
        ] {
            assert_eq!(words.find(text), Some(Word::OptOut), "{text:?}");
        }
        for text in [
            "",
            "🙏",
            "não parar",
            "não consigo parar de rir",
            "para",
            "stopped",
            "sair daqui",
            "s a i r",
            "quero",
            "por favor",
            "quero receber",
            "não quero parar",
            "não quero",
            "quero voltar",
            "remarcado",
            "não quero cancelar",
        ] {
            assert_eq!(words.find(text), None, "{text:?}");
        }
        for text in ["VOLTAR", "start", " Iniciar! "] {
            assert_eq!(words.find(text), Some(Word::OptIn), "{text:?}");
        }
        for (text, wish) in [
            ("CANCELAR", CallWish::Cancel),
            ("cancelar por favor", CallWish::Cancel),
            ("Quero remarcar!", CallWish::Move),
        ] {
            assert_eq!(words.find(text), Some(Word::Call(wish)), "{text:?}");
        }
    }

    #[test]
    fn a_site_may_have_other_words_for_opting_out() {
        let words = Words::with_opt_outs(&["Chega!", "me tire daqui", "cancelar"]).unwrap();
        for (text, expected) in [
            ("chega", Some(Word::OptOut)),
            ("Me tire daqui, por favor", Some(Word::OptOut)),
            ("CANCELAR", Some(Word::OptOut)),
            ("remarcar", Some(Word::Call(CallWish::Move))),
            ("parar", None),
            ("voltar", Some(Word::OptIn)),
        ] {
            assert_eq!(words.find(text), expected, "{text}");
        }
        for texts in [&["chega", "!"][..], &["Voltar"], &[]] {
            assert_eq!(Words::with_opt_outs(texts), None, "{texts:?}");
        }
    }

    #[test]
    fn a_number_of_an_unknown_plan_is_its_digits() {
        let alias = |text: &str| Number::parse(text).map(|number| number.alias_text());
        // Mexico dropped the 1 after its code, and WhatsApp did not.
        assert_eq!(alias("5215512345678"), alias("525512345678"));
        assert!(matches!(Number::parse("5215512345678"), Some(Number::Valid(_))));
        // Argentina writes a 9 before mobile numbers from abroad.
        assert_eq!(alias("5491123456789"), alias("541123456789"));
        assert_eq!(alias("15550001234").as_deref(), Some("+15550001234"));
        assert!(matches!(Number::parse("15550001234"), Some(Number::Digits(_))));
        assert_eq!(alias("+5511987654321"), alias("5511987654321"));
        for text in ["ana", "", "+", "55 11", &"1".repeat(16)] {
            assert_eq!(alias(text), None, "{text}");
        }
    }

    #[test]
    fn an_opt_out_is_recognised_wherever_it_stands() {
        for message in [
            json!({"type": "text", "text": {"body": "Sair"}}),
            json!({"type": "button", "button": {"text": "Parar", "payload": "x"}}),
            json!({"type": "button", "button": {"text": "Chega", "payload": "STOP"}}),
            json!({"type": "interactive", "interactive": {"button_reply": {"title": "PARAR"}}}),
            json!({"type": "interactive", "interactive": {"list_reply": {"id": "stop"}}}),
        ] {
            let read = webhook(&json!({"messages": [message]}));
            assert_eq!(read.inbound[0].word, Some(Word::OptOut), "{message}");
        }
    }

    #[test]
    fn a_body_that_is_not_from_whatsapp_is_not_understood() {
        for body in [&b""[..], b"[]", b"{\"object\":\"page\",\"entry\":[]}", b"\xff", b"null"] {
            assert!(read(body).is_err());
        }
        let empty = read(br#"{"object":"whatsapp_business_account"}"#).unwrap();
        assert_eq!(empty, Updates::default());
    }

    #[test]
    fn a_malformed_part_does_not_affect_the_others() {
        let good = json!({"field": "messages", "value": {"statuses": [{"status": "sent"}]}});
        let body = json!({"object": "whatsapp_business_account", "entry": [
            7,
            {"changes": {}},
            {"changes": [null, {"field": "messages", "value": {"messages": "no", "errors": [
                {"code": 130_429}]}}, good, {"field": "account_update", "value": {}}]},
        ]});
        let content = read(body.to_string().as_bytes()).unwrap();
        assert_eq!((content.statuses.len(), content.unreadable), (1, 2));
        assert_eq!(content.errors, [130_429]);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&body));
        }
    }
}
