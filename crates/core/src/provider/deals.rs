//! The CRMs whose webhooks report deals, one file each: how one proves itself, and what it says.
//!
//! Owns the registry of them, what a status is called in the operator's CRM, and how a person's data are read, which
//! may come as digests. A new CRM is a file in `deals/` and its entry in [`ALL`]. Must not know how a deal's lead is
//! found, nor what any destination does with it.

mod pipedrive;
mod standard;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{NotSigned, NotUnderstood, Verified};
use crate::contact::{Email, Phone};
use crate::event::{Contact, CrmId, DealStage, Digests, EventData, PROPERTY_MAX};
use crate::hash::sha256_hex;
use crate::id::EventId;
use crate::money::{Currency, Money};
use crate::pii::{Pii, Text};
use crate::settings::{Secret, Settings};

/// The scope of receipts, event ids and the quarantine.
pub const NAME: &str = "deal";
/// The header with the key, of CRMs that have no way of their own.
pub const KEY_HEADER: &str = "x-api-key";
/// The header with the name of what happened.
pub const EVENT_HEADER: &str = "x-event";
/// The longest text that is kept of a deal, in characters.
const TEXT_CHARS_MAX: usize = 500;
/// The longest name of a status, in characters.
const STATUS_CHARS_MAX: usize = 100;

/// Reads a header of a request.
pub type Header<'h> = dyn Fn(&str) -> Option<String> + 'h;

/// Every CRM. The first one is meant where the address names none.
pub static ALL: &[&Crm] = &[&standard::CRM, &pipedrive::CRM];

/// A CRM that reports deals.
#[derive(Debug)]
pub struct Crm {
    /// Its name in the endpoint's path, in receipts, in the journey and at Meta.
    pub name: &'static str,
    /// Takes the key out of a request's headers.
    key: fn(&Header<'_>) -> Option<String>,
    /// Reads a verified body; the second text is that of [`EVENT_HEADER`].
    parse: fn(&[u8], &str, &Statuses) -> Result<Parsed, NotUnderstood>,
}

/// Finds a CRM by its name in the path. None is the first.
pub fn find(name: Option<&str>) -> Option<&'static Crm> {
    match name {
        None => ALL.first().copied(),
        Some(name) => ALL.iter().copied().find(|crm| crm.name == name),
    }
}

impl Crm {
    /// Verifies that a request carries one of the keys. `header` reads a header of the request.
    pub fn verify<'b>(
        &self,
        body: &'b [u8],
        header: &Header<'_>,
        keys: &[Secret],
    ) -> Result<Verified<'b>, NotSigned> {
        let given = (self.key)(header).unwrap_or_default();
        if Secret::is_one_of(&given, keys) { Ok(Verified(body)) } else { Err(NotSigned) }
    }

    /// Reads a verified request.
    pub fn parse(
        &self,
        Verified(body): Verified<'_>,
        event: &str,
        statuses: &Statuses,
    ) -> Result<Parsed, NotUnderstood> {
        (self.parse)(body, event, statuses)
    }
}

/// What a webhook says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Something about a deal or a contact.
    Report(Box<Report>),
    /// The name of something that is not handled, cut and stripped so that it can be logged.
    Other(String),
}

/// Something that a CRM reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What identifies it: the deal, its status and the transition, so that a deal that comes back to a status
    /// counts again.
    pub id: EventId,
    /// The name of the CRM, as in the webhook's path.
    pub crm: &'static str,
    /// The CRM's id of the deal; none of a report about a contact.
    pub deal: Option<CrmId>,
    /// When it happened, if the CRM says so.
    pub occurred_at: Option<Timestamp>,
    /// Whose deal it is.
    pub contact: Contact,
    /// What happened.
    pub data: EventData,
}

/// Which statuses mean something, by what the operator's CRM calls them: `DEAL_STATUSES`.
#[derive(Clone, Debug)]
pub struct Statuses(BTreeMap<String, DealStage>);

impl Statuses {
    /// The variable, as `Qualificado=qualified,Fechado=committed`.
    const VARIABLE: &str = "DEAL_STATUSES";

    /// Reads `DEAL_STATUSES`, which adds to what the CRMs call them by themselves.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let mut named = Self::default();
        for entry in settings.list(Self::VARIABLE) {
            let stage = match entry
                .rsplit_once('=')
                .map(|(name, stage)| (name.trim(), stage.trim()))
            {
                Some((name, "qualified")) if !name.is_empty() => (name, DealStage::Qualified),
                Some((name, "committed")) if !name.is_empty() => (name, DealStage::Committed),
                Some((name, "other")) if !name.is_empty() => (name, DealStage::Other),
                Some(_) | None => {
                    return settings.problem(format!(
                        "{} must be a list like Qualificado=qualified,Fechado=committed; what a status means is \
                         qualified, committed or other.",
                        Self::VARIABLE
                    ));
                }
            };
            named.0.insert(stage.0.to_lowercase(), stage.1);
        }
        Some(named)
    }

    /// What a status means.
    fn stage(&self, status: &str) -> DealStage {
        self.0.get(&status.trim().to_lowercase()).copied().unwrap_or(DealStage::Other)
    }
}

impl Default for Statuses {
    /// `Qualified` and `Committed` by their English names.
    fn default() -> Self {
        let known = [("qualified", DealStage::Qualified), ("committed", DealStage::Committed)];
        Self(known.map(|(name, stage)| (name.to_owned(), stage)).into())
    }
}

/// A person's data as they are read, with the names of what had to be dropped.
#[derive(Default)]
struct Person {
    contact: Contact,
    dropped: Vec<String>,
}

/// A text as a CRM sends it of a person.
enum Sent {
    Plain(String),
    /// A SHA-256 digest.
    Digest(Text),
    /// A digest of another kind, or what is longer than any value.
    Nothing,
}

impl Sent {
    fn of(text: &str) -> Self {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (is_hex, text.len()) {
            (true, 64) => Self::Digest(Text::new(text.to_ascii_lowercase())),
            // MD5's length, which Meta would take for a digest and never find anybody by.
            (true, 32) => Self::Nothing,
            _ if text.chars().count() > TEXT_CHARS_MAX => Self::Nothing,
            _ => Self::Plain(text.to_owned()),
        }
    }
}

impl Person {
    fn email(&mut self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        match Sent::of(text) {
            Sent::Digest(digest) => self.contact.digests.email = Some(digest),
            Sent::Plain(text) => match Email::parse(&text) {
                Ok(email) => self.contact.email = Some(email),
                Err(_) => self.drop(name),
            },
            Sent::Nothing => self.drop(name),
        }
    }

    fn phone(&mut self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        match Sent::of(text) {
            Sent::Digest(digest) => self.contact.digests.phone = Some(digest),
            Sent::Plain(text) => match Phone::parse(&text) {
                Ok(phone) => self.contact.phone = Some(phone),
                Err(_) => self.drop(name),
            },
            Sent::Nothing => self.drop(name),
        }
    }

    /// The first and the last name, each with the name of its field.
    fn names(&mut self, first: (&str, Option<&str>), last: (&str, Option<&str>)) {
        let mut words = Vec::new();
        for (place, (name, text)) in [first, last].into_iter().enumerate() {
            let Some(text) = text else { continue };
            match Sent::of(text) {
                Sent::Plain(text) => words.push(text),
                Sent::Digest(digest) => {
                    let Digests { first_name, last_name, .. } = &mut self.contact.digests;
                    *(if place == 0 { first_name } else { last_name }) = Some(digest);
                }
                Sent::Nothing => self.drop(name),
            }
        }
        self.contact.name = Some(words.join(" ")).filter(|name| !name.is_empty()).map(Text::new);
    }

    fn drop(&mut self, name: &str) {
        self.dropped.push(name.to_owned());
    }
}

/// The trimmed text of a field, or its number as text. Absent, null and blank fields are `None`.
fn text(object: Option<&Value>, name: &str) -> Option<String> {
    let text = match object?.get(name)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(chars_max).collect()
}

/// A deal's value. A negative amount is read as none.
fn worth(amount: &str, currency: Currency) -> Option<Money> {
    Money::parse(amount, currency).filter(|worth| worth.minor >= 0)
}

/// A moment, in RFC 3339 or as seconds since 1970.
fn moment(text: &str) -> Option<Timestamp> {
    let seconds = || Timestamp::from_second(text.parse().ok()?).ok();
    text.parse().ok().or_else(seconds)
}

/// What is sold: the texts and numbers of an object. The entries of a nested object are named `<outer>.<inner>`.
fn property(object: Option<&Value>) -> Option<Pii<BTreeMap<String, String>>> {
    fn add(kept: &mut BTreeMap<String, String>, name: &str, value: &Value, depth: usize) {
        let text = match value {
            Value::String(text) => cut(text.trim(), TEXT_CHARS_MAX),
            Value::Number(number) => number.to_string(),
            Value::Bool(is) => is.to_string(),
            Value::Object(inner) if depth == 0 => {
                for (inner, value) in inner {
                    add(kept, &format!("{name}.{inner}"), value, depth + 1);
                }
                return;
            }
            Value::Null | Value::Array(_) | Value::Object(_) => return,
        };
        if !text.is_empty() && kept.len() < PROPERTY_MAX {
            kept.insert(cut(name, STATUS_CHARS_MAX), text);
        }
    }
    let mut kept = BTreeMap::new();
    for (name, value) in object?.as_object()? {
        add(&mut kept, name, value, 0);
    }
    Some(kept).filter(|kept| !kept.is_empty()).map(Pii::new)
}

/// The id of a report. `transition` separates two reports of the same deal and status. Without it the digest of the
/// body is used, so a request that is sent again is a duplicate.
fn event_id(
    crm: &str,
    event: &str,
    deal: &str,
    status: &str,
    transition: Option<&str>,
    body: &[u8],
) -> EventId {
    let transition = transition.map_or_else(|| sha256_hex(body), str::to_owned);
    let parts = [event, &status.to_lowercase(), &transition]
        .map(|part| format!("{}:{part}", part.len()))
        .join(";");
    let digest = sha256_hex(parts.as_bytes());
    EventId::of_provider(NAME, &format!("{crm}:{deal}:{}", &digest[..16]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{DealChanged, DealEvent};
    use crate::settings::Env;

    fn read(crm: &str, body: &str, event: &str) -> Result<Parsed, NotUnderstood> {
        find(Some(crm)).unwrap().parse(Verified(body.as_bytes()), event, &Statuses::default())
    }

    fn report(crm: &str, body: &Value) -> Report {
        report_of(crm, body, "deal.updated")
    }

    fn report_of(crm: &str, body: &Value, event: &str) -> Report {
        match read(crm, &body.to_string(), event).unwrap() {
            Parsed::Report(report) => *report,
            Parsed::Other(name) => panic!("{name} is not handled"),
        }
    }

    fn deal(report: &Report) -> &DealChanged {
        let EventData::Deal(DealEvent::Changed(deal)) = &report.data else {
            panic!("{} is no deal", report.data.name())
        };
        deal
    }

    fn standard() -> Value {
        json!({"status": "success", "message": "ok", "data": {
            "dealId": "D1",
            "customer": {
                "contactId": 77, "firstName": " Maria ", "lastName": "Exemplo",
                "email": "Maria@Example.com", "phoneNumber": "11 98765-4321",
            },
            "dealDetails": {
                "dealName": "Cobertura", "dealValue": "12500000.00", "currency": "BRL",
                "status": "qualified", "closingDate": "2026-02-15T00:00:00Z",
            },
            "propertyInformation": {"bedrooms": 4, "address": {"city": "São Paulo"}, "x": null},
        }})
    }

    #[test]
    fn the_standard_format_is_read() {
        let report = report("standard", &standard());
        let read = deal(&report);
        assert_eq!((read.stage, read.status.as_str()), (DealStage::Qualified, "qualified"));
        assert_eq!(read.value.unwrap().to_string(), "12500000.00 BRL");
        assert_eq!(read.closes_on.unwrap().to_string(), "2026-02-15");
        let property = read.property.as_ref().unwrap().expose();
        assert_eq!(property["address.city"], "São Paulo");
        assert_eq!((property["bedrooms"].as_str(), property.len()), ("4", 2));
        assert_eq!(read.dropped, [""; 0]);
        let contact = &report.contact;
        assert_eq!(contact.id.as_ref().unwrap().as_str(), "77");
        assert_eq!(contact.name.as_ref().unwrap().expose(), "Maria Exemplo");
        assert_eq!(contact.email.as_ref().unwrap().as_str(), "maria@example.com");
        assert_eq!(contact.phone.as_ref().unwrap().as_str(), "+5511987654321");
    }

    #[test]
    fn an_amount_is_what_the_document_says_and_no_float() {
        let with = |value: &str| {
            let body = standard().to_string().replace(r#""12500000.00""#, value);
            let Ok(Parsed::Report(report)) = read("standard", &body, "") else { panic!() };
            let dropped = deal(&report).dropped.clone();
            (deal(&report).value.map(|value| value.minor), dropped)
        };
        assert_eq!(with("12500000.00"), (Some(1_250_000_000), vec![]));
        assert_eq!(with("90071992547409.93"), (Some(9_007_199_254_740_993), vec![]));
        assert_eq!(with("null"), (None, vec![]));
        let dropped = vec!["data.dealDetails.dealValue".to_owned()];
        for wrong in ["0.001", "1e9", "\"12.500.000,00\"", "\"muito\"", "-1"] {
            assert_eq!(with(wrong), (None, dropped.clone()), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_anybodys_is_dropped_and_digests_are_told_apart() {
        let md5 = "5f4dcc3b5aa765d61d8327deb882cf99";
        let sha = "234148F6EE7A5064112E597463087C3A7A7383E27DAD89FD8996300C9861EE37";
        let with = |text: &str| {
            let mut body = standard();
            for name in ["firstName", "lastName", "email", "phoneNumber"] {
                body["data"]["customer"][name] = json!(text);
            }
            let report = report("standard", &body);
            let dropped = deal(&report).dropped.len();
            (report.contact, dropped)
        };
        let (contact, dropped) = with(md5);
        assert_eq!((contact.digests.is_empty(), contact.email, dropped), (true, None, 4));
        let (contact, dropped) = with(sha);
        assert_eq!(contact.digests.email.unwrap().expose(), &sha.to_lowercase());
        assert_eq!((contact.name, contact.phone, dropped), (None, None, 0));
        let (contact, dropped) = with("+55 11 0000-0000");
        assert_eq!((contact.phone, contact.email, dropped), (None, None, 2));
    }

    #[test]
    fn a_deal_that_comes_back_to_a_status_is_another_report() {
        let id = |body: &Value| report("standard", body).id;
        let once = id(&standard());
        assert_eq!(id(&standard()), once, "the same is sent again");
        let mut back = standard();
        back["data"]["dealDetails"]["updatedAt"] = json!("2026-01-15T12:00:00Z");
        let first = id(&back);
        back["message"] = json!("sent again in other words");
        assert_eq!(id(&back), first, "the same transition");
        back["data"]["dealDetails"]["updatedAt"] = json!("2026-01-15T09:00:00-03:00");
        back["data"]["dealDetails"]["status"] = json!("QUALIFIED");
        assert_eq!(id(&back), first, "the same moment and status, in other words");
        assert_eq!(report_of("standard", &back, "").id, first, "whatever the event is called");
        back["data"]["dealDetails"]["status"] = json!("qualified");
        back["data"]["dealDetails"]["updatedAt"] = json!("2026-01-16T12:00:00Z");
        assert_ne!(id(&back), first);
        back["data"]["dealDetails"]["status"] = json!("Committed");
        let committed = id(&back);
        assert_ne!(committed, first);
    }

    #[test]
    fn what_is_not_a_deal_is_named_and_what_is_broken_is_not_understood() {
        assert_eq!(
            read("standard", "{}", "contact.created"),
            Ok(Parsed::Other("contact.created".into()))
        );
        for (pointer, why) in [
            ("/data/dealId", "without_deal_id"),
            ("/data/dealDetails", "without_status"),
            ("/data", "without_data"),
            ("/data/customer", "of_nobody"),
        ] {
            let mut body = standard();
            *body.pointer_mut(pointer).unwrap() = Value::Null;
            assert_eq!(
                read("standard", &body.to_string(), ""),
                Err(NotUnderstood(why)),
                "{pointer}"
            );
        }
        assert_eq!(read("standard", "[", ""), Err(NotUnderstood("invalid_json")));
        let mut body = standard();
        body["data"]["dealId"] = json!("a b");
        assert_eq!(
            read("standard", &body.to_string(), ""),
            Err(NotUnderstood("deal_id_not_plain"))
        );
    }

    fn pipedrive(entity: &str, data: &Value, previous: &Value) -> Value {
        json!({"meta": {"action": "change", "entity": entity, "version": "2.0", "id": "e1",
            "timestamp": "2026-01-15T17:00:00.000Z"}, "data": data, "previous": previous})
    }

    #[test]
    fn pipedrive_s_deals_and_persons_are_read() {
        let won = json!({"id": 501, "title": "Moema", "value": 950_000.5, "currency": "BRL",
            "status": "won", "stage_id": 5, "person_id": 88, "expected_close_date": "2026-01-30"});
        let read_won = report("pipedrive", &pipedrive("deal", &won, &json!({"status": "open"})));
        assert_eq!(deal(&read_won).stage, DealStage::Committed);
        assert_eq!(deal(&read_won).value.unwrap().minor, 95_000_050);
        assert_eq!(read_won.contact.id.unwrap().as_str(), "88");
        let mut open = won.clone();
        open["status"] = json!("open");
        let staged = report("pipedrive", &pipedrive("deal", &open, &json!({"stage_id": 4})));
        assert_eq!(
            (deal(&staged).stage, deal(&staged).status.as_str()),
            (DealStage::Other, "stage_5")
        );
        let renamed = pipedrive("deal", &open, &json!({"title": "Antes"}));
        assert!(matches!(read("pipedrive", &renamed.to_string(), ""), Ok(Parsed::Other(_))));
        let person = json!({"id": 88, "first_name": "Nina", "last_name": "Exemplo",
            "emails": [{"value": "other@example.com"}, {"value": "nina@example.com", "primary": true}],
            "phones": [{"value": "0000", "primary": true}]});
        let person = report("pipedrive", &pipedrive("person", &person, &Value::Null));
        assert_eq!(person.contact.email.unwrap().as_str(), "nina@example.com");
        let EventData::Deal(DealEvent::Contact(noted)) = &person.data else { panic!() };
        assert_eq!(noted.dropped, ["data.phones"]);
    }

    #[test]
    fn each_crm_proves_itself_in_its_own_way() {
        let keys = [Secret::new("one"), Secret::new("two")];
        let verified = |crm: &str, name: &str, value: &str| {
            let header = |asked: &str| (asked == name).then(|| value.to_owned());
            find(Some(crm)).unwrap().verify(b"{}", &header, &keys).is_ok()
        };
        assert!(verified("standard", "x-api-key", "two"));
        for wrong in ["", "three", "onetwo", "one,two"] {
            assert!(!verified("standard", "x-api-key", wrong), "{wrong}");
        }
        assert!(verified("pipedrive", "authorization", "Basic ZnVuaWw6b25l"), "funil:one");
        assert!(!verified("pipedrive", "authorization", "Bearer one"));
        assert!(!verified("pipedrive", "x-api-key", "one"));
    }

    #[test]
    fn the_operator_says_what_their_crm_s_statuses_mean() {
        let read = |text: &str| {
            let env: Env = [("DEAL_STATUSES", text)].into_iter().collect();
            let mut settings = env.settings();
            let statuses = Statuses::read(&mut settings);
            settings.finish(statuses)
        };
        let statuses =
            read("Qualificado=qualified, stage_5=qualified,Fechado = committed").unwrap();
        for (name, stage) in [
            ("QUALIFICADO", DealStage::Qualified),
            ("stage_5", DealStage::Qualified),
            ("fechado", DealStage::Committed),
            ("Committed", DealStage::Committed),
            ("perdido", DealStage::Other),
        ] {
            assert_eq!(statuses.stage(name), stage, "{name}");
        }
        assert!(
            read("Fechado").is_err()
                && read("Fechado=sold").is_err()
                && read("=qualified").is_err()
        );
    }

    #[test]
    fn crms_have_names_of_their_own() {
        for (index, one) in ALL.iter().enumerate() {
            assert!(ALL[index + 1..].iter().all(|other| other.name != one.name));
            assert_eq!(find(Some(one.name)).unwrap().name, one.name);
        }
        assert_eq!(find(None).unwrap().name, "standard");
        assert!(find(Some("hubspot")).is_none());
    }
}
