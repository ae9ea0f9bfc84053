//! The format of a CRM that lets its owner choose what it sends: by its own automation, or by Make, n8n or Zapier.
//!
//! `{status, message, data{dealId, customer{contactId, firstName, lastName, email, phoneNumber}, dealDetails{dealName,
//! dealValue, currency, status, closingDate}, propertyInformation{…}}}` with the headers `x-api-key` and `x-event`.

use jiff::civil::Date;
use serde_json::Value;

use super::{
    Crm, KEY_HEADER, NotUnderstood, Parsed, Person, Report, STATUS_CHARS_MAX, Statuses,
    TEXT_CHARS_MAX,
};
use super::{cut, event_id, moment, property, text, worth};
use crate::event::{CrmId, DealChanged};
use crate::json;
use crate::money::Currency;
use crate::pii::Text;
use crate::provider::event_name;

pub(super) static CRM: Crm = Crm { name: "standard", key: |header| header(KEY_HEADER), parse };

/// Fields that may tell two transitions of a deal to one status apart, at the top, in `data` and in `dealDetails`.
const TRANSITION: [&str; 3] = ["transitionId", "transition_id", "eventId"];
/// Fields that may say when it happened.
const MOMENT: [&str; 5] = ["occurredAt", "changedAt", "updatedAt", "updated_at", "timestamp"];

fn parse(body: &[u8], event: &str, statuses: &Statuses) -> Result<Parsed, NotUnderstood> {
    let tree = json::parse(body).map_err(|_| NotUnderstood("invalid_json"))?;
    if !event.is_empty() && !event.to_ascii_lowercase().starts_with("deal") {
        return Ok(Parsed::Other(event_name(event)));
    }
    let data = tree.get("data").filter(|data| data.is_object());
    let data = data.ok_or(NotUnderstood("without_data"))?;
    let deal = text(Some(data), "dealId").ok_or(NotUnderstood("without_deal_id"))?;
    let deal = CrmId::parse(&deal).ok_or(NotUnderstood("deal_id_not_plain"))?;
    let details = data.get("dealDetails");
    let status = text(details, "status").or_else(|| text(Some(data), "status"));
    let status = cut(&status.ok_or(NotUnderstood("without_status"))?, STATUS_CHARS_MAX);

    let customer = data.get("customer");
    let mut person = Person::default();
    person.contact.id = text(customer, "contactId").as_deref().and_then(CrmId::parse);
    let field = |name: &str| (format!("data.customer.{name}"), text(customer, name));
    let (first, last) = (field("firstName"), field("lastName"));
    person.names((&first.0, first.1.as_deref()), (&last.0, last.1.as_deref()));
    let (name, email) = field("email");
    person.email(&name, email.as_deref());
    let (name, phone) = field("phoneNumber");
    person.phone(&name, phone.as_deref());
    let Person { contact, mut dropped } = person;
    if contact.id.is_none() && contact.email.is_none() {
        return Err(NotUnderstood("of_nobody"));
    }

    // A number's own digits, so that no float comes between.
    let amount = json::literal(body, &["data", "dealDetails", "dealValue"]);
    let currency =
        text(details, "currency").as_deref().map_or(Some(Currency::BRL), Currency::parse);
    let value = amount.as_deref().and_then(|amount| worth(amount, currency?));
    if value.is_none() && amount.is_some() {
        dropped.push("data.dealDetails.dealValue".to_owned());
    }
    let closing = text(details, "closingDate");
    let closes_on: Option<Date> = closing.as_deref().and_then(|text| text.get(..10)?.parse().ok());
    if closes_on.is_none() && closing.is_some() {
        dropped.push("data.dealDetails.closingDate".to_owned());
    }
    let said = |names: &[&str]| {
        let places = [Some(&tree), Some(data), details];
        names.iter().find_map(|name| places.into_iter().find_map(|place| text(place, name)))
    };
    let at = said(&MOMENT);
    // One moment may be written in several ways.
    let in_utc =
        || at.as_deref().map(|at| moment(at).map_or_else(|| at.to_owned(), |at| at.to_string()));
    let transition = said(&TRANSITION).or_else(in_utc);
    let changed = DealChanged {
        crm: CRM.name.to_owned(),
        deal: deal.clone(),
        stage: statuses.stage(&status),
        name: text(details, "dealName").map(|name| Text::new(cut(&name, TEXT_CHARS_MAX))),
        value,
        closes_on,
        property: property(data.get("propertyInformation").filter(|value| **value != Value::Null)),
        digests: contact.digests.clone(),
        dropped,
        status,
    };
    Ok(Parsed::Report(Box::new(Report {
        // The name of the event says nothing that the status does not, and some senders set none.
        id: event_id(CRM.name, "", deal.as_str(), &changed.status, transition.as_deref(), body),
        crm: CRM.name,
        deal: Some(deal),
        occurred_at: at.as_deref().and_then(moment),
        contact,
        data: changed.into(),
    })))
}
