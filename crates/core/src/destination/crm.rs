//! The CRM, in one of three request formats (`CRM_KIND`): `docs/providers.md` ("CRM").
//!
//! A state destination: each delivery brings the whole lead under its external id, without an
//! idempotency key because the state may differ between tries. The requests for an automation, a note and a purchase
//! belong to the event that they are about. The event's own delivery sends them after the upsert, with the
//! delivery's id as key and a body that depends on the event alone. 409 means that the CRM has it.

pub(super) mod payload;

use serde_json::{Value, json};
use url::Url;

use super::names::{self, Names, Omission};
use super::repetition::ReplayPolicy;
use super::{Adapter, Connector, Context, Destination, Kind, Planned, Slot, Step, Whose};
use crate::check::{Finding, Probe, not_itself, refusal};
use crate::contact::Phone;
use crate::contact::consent::Purpose;
use crate::defaults::{CRM_BASE_TAGS, HIGH_PRIORITY_AUTOMATION, STANDARD_AUTOMATION};
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::delivery::{Outcome, Reason, WhenUnknown, judge};
use crate::event::{
    CallEvent, ConsentEvent, EventData, FormEvent, PaymentEvent, PaymentFailed, PaymentSucceeded,
    SiteFormKind, SiteSubmission,
};
use crate::money::Currency;
use crate::score::{Answer, Tier};
use crate::settings::{Secret, Settings};

/// What a check of the key is called.
const CREDENTIALS: &str = "credentials";

static LEAD: Slot = Slot::new("lead", Purpose::Contact);

/// The CRM: the state of each lead, in the format of `CRM_KIND`.
pub static DESTINATION: Destination = Destination {
    name: "crm",
    function: "crm-sync",
    provider: "crm",
    kind: Kind::State,
    whose: Whose::Leads,
    deadline_h: 14 * 24,
    when_unknown: WhenUnknown::Never,
    replay: ReplayPolicy::RECOGNISED,
    person_pause_s: None,
    keyed_by_email: false,
    keeps_replies: false,
    follows_bookings: false,
    page_event: None,
    daily_per_number: None,
    requests_per_minute: None,
    base_url_variable: "CRM_BASE_URL",
    local_path: "",
    other_base_urls: &[],
    local_credentials: &[("CRM_API_KEY", "local-crm")],
    local_settings: &[],
    slots: &[LEAD],
    plan: |event| taken(&event.data).map(|taken| taken.planned()).into_iter().collect(),
};

/// What makes its adapter. Only the function that delivers to it links this.
pub static CONNECTOR: Connector = Connector {
    destination: &DESTINATION,
    connect: |settings| Some(Box::new(Crm::connect(settings)?)),
};

/// What the CRM takes of an event: the lead's present state, always, and what belongs to the event alone.
struct Taken<'e> {
    own: Option<Own<'e>>,
}

/// What belongs to an event, and is sent once, after the lead's state.
enum Own<'e> {
    /// What a form or a refused payment causes: a note for whoever looks at the lead, an automation that starts,
    /// or both.
    Said { note: Option<String>, automation: Option<&'static str> },
    /// A purchase. Only the format `leads` has a request for it; the others have the lead's fields.
    Purchase(&'e PaymentSucceeded),
}

impl Taken<'_> {
    fn planned(&self) -> Planned {
        if self.own.is_some() { (&LEAD).into() } else { Planned::state_alone(&LEAD) }
    }
}

fn taken(event: &EventData) -> Option<Taken<'_>> {
    use EventData::{Call, Consent, Deal, Form, Operation, Payment, Visit};

    match event {
        Form(event) => Some(Taken { own: own_of_form(event) }),
        Payment(event) => taken_of_payment(event),
        Deal(_)
        | Visit(_)
        | Consent(ConsentEvent::SubscriberNoted(_))
        | Call(CallEvent::BookedElsewhere(_) | CallEvent::ChangeRequested(_)) => None,
        Call(_) | Consent(ConsentEvent::EmailChanged(_)) => Some(Taken { own: None }),
        Operation(event) => event.sync().map(|_| Taken { own: None }),
    }
}

/// What the CRM takes of a payment. A report that repeats an earlier one is not sent.
fn taken_of_payment(event: &PaymentEvent) -> Option<Taken<'_>> {
    let own = match event {
        PaymentEvent::Succeeded(paid) => paid.counted.map(|_| Some(Own::Purchase(paid))),
        PaymentEvent::Failed(failed) => {
            Some(Some(Own::Said { note: Some(note_of(failed)), automation: None }))
        }
        PaymentEvent::Refunded(refund) => refund.counted.map(|_| None),
        PaymentEvent::Disputed(_) | PaymentEvent::SubscriptionStarted(_) => Some(None),
        PaymentEvent::CheckoutCompleted(_) => None,
    };
    Some(Taken { own: own? })
}

/// The note that the CRM gets about a failed payment: the amount, and the provider's codes for the reason.
fn note_of(failed: &PaymentFailed) -> String {
    let codes = [&failed.code, &failed.decline_code].into_iter().flatten().cloned();
    let parts: Vec<String> = [failed.amount.to_string()].into_iter().chain(codes).collect();
    format!("payment_failed: {}", parts.join(", "))
}

fn own_of_form(event: &FormEvent) -> Option<Own<'_>> {
    let note = event.of_site().and_then(|submission| note_of_form(&submission));
    let automation = automation(event);
    (note.is_some() || automation.is_some()).then_some(Own::Said { note, automation })
}

/// What the person wrote, with everything else that they typed: a later form of a lead whose id anybody can
/// learn changes none of its fields. `None` for a sign-up to the newsletter, which needs no reply.
fn note_of_form(submission: &SiteSubmission<'_>) -> Option<String> {
    if submission.form.kind() == SiteFormKind::SignUp {
        return None;
    }
    let wanted = submission.consultation.map(|wanted| &wanted.form);
    let dates = wanted.map(|wanted| wanted.dates().join(", ")).filter(|dates| !dates.is_empty());
    let budget = wanted.and_then(|wanted| wanted.budget_range.as_ref()).map(Answer::text);
    let lines = [
        ("form_type", Some(submission.form_type())),
        ("name", submission.name.map(|text| text.expose().as_str())),
        ("phone", submission.phone.map(Phone::as_str)),
        ("company", submission.company.map(|text| text.expose().as_str())),
        ("service_interest", submission.service_interest.map(|text| text.expose().as_str())),
        ("budget_range", budget.as_deref()),
        ("preferred_dates", dates.as_deref()),
        ("time_zone", wanted.and_then(|wanted| wanted.time_zone.as_deref())),
        ("message", submission.message.map(|text| text.expose().as_str())),
    ];
    let lines = lines.into_iter().filter_map(|(name, text)| Some(format!("{name}: {}", text?)));
    Some(lines.collect::<Vec<_>>().join("\n"))
}

fn automation(event: &FormEvent) -> Option<&'static str> {
    let score = if let FormEvent::LeadSubmitted(submitted) = event {
        &submitted.score
    } else {
        &event.of_site()?.consultation?.score
    };
    Some(match score.tier {
        Tier::High => HIGH_PRIORITY_AUTOMATION,
        Tier::Medium | Tier::Low => STANDARD_AUTOMATION,
    })
}

/// How requests to the CRM are written, which `CRM_KIND` chooses.
#[derive(Clone, Copy)]
enum Format {
    /// Posts everything to one address.
    Webhook,
    /// Finds a contact, then creates or updates it by id.
    Contacts,
    /// Upserts by `lead_id` with `POST /leads`.
    Leads,
}

struct Crm {
    format: Format,
    base: Url,
    key: Secret,
    base_tags: Vec<String>,
    currency: Currency,
    fields: Names,
}

impl Crm {
    fn connect(settings: &mut Settings<'_>) -> Option<Self> {
        let format = match settings.optional("CRM_KIND") {
            None | Some("webhook") => Some(Format::Webhook),
            Some("contacts") => Some(Format::Contacts),
            Some("leads") => Some(Format::Leads),
            Some(_) => settings.problem("CRM_KIND must be webhook, contacts or leads."),
        };
        let base = settings.url("CRM_BASE_URL", None);
        let key = settings.secret("CRM_API_KEY");
        let mut base_tags = settings.list("CRM_BASE_TAGS");
        if base_tags.is_empty() {
            base_tags = CRM_BASE_TAGS.to_vec();
        }
        let base_tags = base_tags.into_iter().map(str::to_owned).collect();
        let currency = match settings.optional("CRM_CURRENCY").map(Currency::parse) {
            None => Some(Currency::BRL),
            Some(Some(currency)) => Some(currency),
            Some(None) => settings.problem("CRM_CURRENCY must be three letters, as BRL."),
        };
        let known = (&payload::FIELDS[..], Omission::Allowed);
        let fields = Names::read(settings, "CRM_FIELDS", known, names::is_field);
        Some(Self {
            format: format?,
            base: base?,
            key: key?,
            base_tags,
            currency: currency?,
            fields: fields?,
        })
    }

    /// How the account names and counts what the CRM is sent.
    fn account(&self) -> payload::Account<'_> {
        payload::Account {
            base_tags: &self.base_tags,
            currency: self.currency,
            fields: &self.fields,
        }
    }

    fn request(&self, method: Method, url: Url, body: Option<Value>) -> Request {
        Request::safe(method, url, body)
            .header("authorization", format!("Bearer {}", self.key.expose()))
    }

    fn webhook(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        let post = |body| self.request(Method::Post, self.base.clone(), Some(body));
        let [upserted, rest @ ..] = so_far else {
            return Step::send(post(payload::contact(context, &self.account())));
        };
        if !accepted(upserted) {
            return refused(upserted);
        }
        then_own(context, rest, |own| Some(post(own_of_contact(context, own)?)))
    }

    fn contacts(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        let contacts = endpoint(&self.base, &["contacts"]);
        let find = || {
            let mut url = contacts.clone();
            url.query_pairs_mut().append_pair("external_id", &context.lead.id.to_string());
            Step::send(self.request(Method::Get, url, None))
        };
        let [found, rest @ ..] = so_far else { return find() };
        let contact = match found_contact(found) {
            Ok(contact) => contact,
            Err(step) => return step,
        };
        let Some(contact) = contact else {
            let [created, rest @ ..] = rest else {
                let body = payload::contact(context, &self.account());
                return Step::send(self.request(Method::Post, contacts.clone(), Some(body)));
            };
            if created.status == 409 {
                // It was created since we looked: look again and update it.
                let [found, rest @ ..] = rest else { return find() };
                return match found_contact(found) {
                    Ok(Some(contact)) => self.update_contact(context, &contact, rest),
                    // The CRM has the e-mail, but not under our id: a person has to link the two.
                    Ok(None) => Step::Done(Outcome::Rejected(Reason::UnexpectedResponse(
                        "conflict_without_contact",
                    ))),
                    Err(step) => step,
                };
            }
            if !created.succeeded() {
                return Step::judged(created);
            }
            return match id_text(created.json().get("id")) {
                Some(id) => self.own_of_contact(context, &id, rest),
                None => Step::unreadable("without_id"),
            };
        };
        self.update_contact(context, &contact, rest)
    }

    fn update_contact(&self, context: &Context<'_>, id: &str, so_far: &[Response]) -> Step {
        let [updated, rest @ ..] = so_far else {
            let url = endpoint(&self.base, &["contacts", id]);
            let body = payload::contact(context, &self.account());
            return Step::send(self.request(Method::Put, url, Some(body)));
        };
        if !accepted(updated) {
            return refused(updated);
        }
        self.own_of_contact(context, id, rest)
    }

    fn own_of_contact(&self, context: &Context<'_>, id: &str, so_far: &[Response]) -> Step {
        then_own(context, so_far, |own| {
            let url = endpoint(&self.base, &["contacts", id]);
            Some(self.request(Method::Put, url, Some(own_of_contact(context, own)?)))
        })
    }

    fn leads(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        let lead_id = context.lead.id.to_string();
        let post = |path: &[&str], body| {
            self.request(Method::Post, endpoint(&self.base, path), Some(body))
                .header("x-api-version", "2023-10")
        };
        let [upserted, rest @ ..] = so_far else {
            return Step::send(post(&["leads"], payload::lead(context, &self.account())));
        };
        if !accepted(upserted) {
            return refused(upserted);
        }
        then_own(context, rest, |own| {
            Some(match own {
                Own::Said { note, automation } => {
                    let ids = json!({"lead_id": lead_id, "submission_id": context.event.id});
                    post(&["leads"], said(ids, note, automation))
                }
                Own::Purchase(paid) => {
                    let body = payload::purchase(context.lead, paid);
                    post(&["leads", &lead_id, "purchase"], body)
                }
            })
        })
    }
}

impl Adapter for Crm {
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        match self.format {
            Format::Webhook => self.webhook(context, so_far),
            Format::Contacts => self.contacts(context, so_far),
            Format::Leads => self.leads(context, so_far),
        }
    }

    fn requests_max(&self, _slot: &Slot) -> usize {
        match self.format {
            // The upsert and what belongs to the event.
            Format::Webhook | Format::Leads => 2,
            // A search, a contact that exists after all, a second search, its update, and what belongs
            // to the event.
            Format::Contacts => 5,
        }
    }

    /// Searches for a lead that does not exist. The format `webhook` has no request without an effect.
    fn probes(&self) -> Vec<Probe<'_>> {
        let (path, parameter) = match self.format {
            Format::Webhook => {
                let says = "a CRM of the kind webhook has no request that starts nothing. Submit a \
                            test form, and look for it there.";
                return vec![Probe::Known(Finding::unchecked(CREDENTIALS, says))];
            }
            Format::Contacts => ("contacts", "external_id"),
            Format::Leads => ("leads", "lead_id"),
        };
        let mut url = endpoint(&self.base, &[path]);
        url.query_pairs_mut().append_pair(parameter, "00000000-0000-0000-0000-000000000000");
        vec![Probe::ask(CREDENTIALS, self.request(Method::Get, url, None), move |response| {
            let found = match response.status {
                404 | 405 => Finding::unchecked(
                    CREDENTIALS,
                    "the CRM is there, and does not say whether it takes CRM_API_KEY. Submit a test \
                     form, and look for it there.",
                ),
                _ => match refusal(CREDENTIALS, "CRM_API_KEY", response) {
                    Some(refused) => refused,
                    None if path == "contacts" && found_contact(response).is_err() => {
                        not_itself(CREDENTIALS, "CRM_BASE_URL", "such a CRM")
                    }
                    None => Finding::ok(CREDENTIALS, "the CRM takes CRM_API_KEY"),
                },
            };
            vec![found]
        })]
    }
}

/// What belongs to the event alone, in the formats `webhook` and `contacts`. `None` where the lead's fields
/// say it.
fn own_of_contact(context: &Context<'_>, own: Own<'_>) -> Option<Value> {
    let id = context.lead.id;
    match own {
        Own::Said { note, automation } => Some(said(json!({"external_id": id}), note, automation)),
        Own::Purchase(_) => None,
    }
}

fn said(mut body: Value, note: Option<String>, automation: Option<&str>) -> Value {
    if let Some(note) = note {
        body["note"] = note.into();
    }
    if let Some(name) = automation {
        body["automation_triggers"] = json!([name]);
    }
    body
}

/// The step after the upsert: sends what belongs to the event alone, if something does and the format has a
/// request for it.
fn then_own(
    context: &Context<'_>,
    so_far: &[Response],
    request: impl FnOnce(Own<'_>) -> Option<Request>,
) -> Step {
    let own = taken(&context.event.data).and_then(|taken| taken.own);
    let Some(request) = own.and_then(request) else {
        return Step::Done(Outcome::Delivered);
    };
    match so_far.first() {
        None => Step::send(request.header("idempotency-key", context.delivery.id.to_string())),
        Some(triggered) if accepted(triggered) => Step::Done(Outcome::Delivered),
        Some(triggered) => refused(triggered),
    }
}

fn accepted(response: &Response) -> bool {
    response.status == 409 || judge(response) == Outcome::Delivered && !says_no(response)
}

/// Whether the body says no, whatever the status says.
fn says_no(response: &Response) -> bool {
    response.json().get("success") == Some(&Value::Bool(false))
}

/// How a delivery ends whose request was not accepted.
fn refused(response: &Response) -> Step {
    if response.succeeded() && says_no(response) {
        return Step::unreadable("without_success");
    }
    Step::judged(response)
}

/// The id of the contact that a search found, if it found one.
fn found_contact(response: &Response) -> Result<Option<String>, Step> {
    if response.status == 404 {
        return Ok(None);
    }
    if !response.succeeded() {
        return Err(Step::judged(response));
    }
    let body = response.json();
    let Some(contacts) = body.get("contacts").and_then(Value::as_array) else {
        return Err(Step::unreadable("without_contacts"));
    };
    match contacts.first() {
        None => Ok(None),
        Some(contact) => match id_text(contact.get("id")) {
            Some(id) => Ok(Some(id)),
            None => Err(Step::unreadable("without_id")),
        },
    }
}

fn id_text(id: Option<&Value>) -> Option<String> {
    match id? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{
        adapter, booked, bookings, consultation, contacted, conversation, conversation_with, lead,
        moves_money, newsletter, paying, payment, payments, qualified, questionnaire, response,
        submitted, sync,
    };
    use super::*;
    use crate::clock::after;
    use crate::delivery::Effect;
    use crate::event::Event;

    fn crm(kind: &str) -> Box<dyn Adapter> {
        let base = "https://crm.example.com/api";
        adapter("crm", &[("CRM_KIND", kind), ("CRM_BASE_URL", base), ("CRM_API_KEY", "k3y")])
    }

    fn talk(kind: &str, event: &Event, responses: &[Response]) -> String {
        conversation(&*crm(kind), ("crm", "lead"), event, &lead(), responses)
    }

    #[test]
    fn webhook_upserts_and_then_triggers() {
        let responses = [response(200, &json!({"id": "1"})), response(200, &Value::Null)];
        assert_snapshot!(talk("webhook", &submitted(), &responses));
    }

    #[test]
    fn what_a_person_wrote_is_a_note_as_they_wrote_it() {
        let response = response(200, &json!({"id": "1"}));
        for kind in ["webhook", "leads"] {
            let shown = talk(kind, &contacted(), &[response.clone(), response.clone()]);
            assert_snapshot!(format!("contact_submitted_{kind}"), shown);
        }
        let shown = talk("webhook", &consultation(), &[response.clone(), response.clone()]);
        assert_snapshot!("consultation_requested_webhook", shown);
        let shown = talk("webhook", &newsletter(), std::slice::from_ref(&response));
        assert!(shown.ends_with("=> delivered"), "a sign-up says nothing of its own: {shown}");
    }

    #[test]
    fn contacts_creates_what_it_does_not_find() {
        let responses = [
            response(200, &json!({"contacts": []})),
            response(201, &json!({"id": 7})),
            response(200, &Value::Null),
        ];
        assert_snapshot!(talk("contacts", &submitted(), &responses));
    }

    #[test]
    fn contacts_updates_what_it_finds_and_a_sync_triggers_nothing() {
        let responses =
            [response(200, &json!({"contacts": [{"id": "c/7"}]})), response(200, &Value::Null)];
        assert_snapshot!(talk("contacts", &sync("crm"), &responses));
    }

    /// Only the format `leads` has the purchase request; every format has a note.
    #[test]
    fn a_payment_is_the_leads_state_and_what_belongs_to_the_event() {
        for (kind, data) in [
            ("webhook", &payments()[0]),
            ("leads", &payments()[0]),
            ("webhook", &payments()[1]),
            ("contacts", &payments()[1]),
            ("leads", &payments()[1]),
        ] {
            let event = payment(data.clone());
            let mut responses = vec![response(200, &Value::Null)];
            if kind == "contacts" {
                responses.insert(0, response(200, &json!({"contacts": [{"id": "7"}]})));
            }
            if (kind, event.data.name()) != ("webhook", "payment_succeeded") {
                responses.push(response(200, &Value::Null));
            }
            let name = format!("{}_{kind}", event.data.name());
            let shown = conversation(&*crm(kind), ("crm", "lead"), &event, &paying(), &responses);
            assert_snapshot!(name, shown);
        }
    }

    #[test]
    fn refunds_disputes_and_plans_are_the_leads_state() {
        let mut lead = paying();
        for data in payments().split_off(2) {
            let event = payment(data.clone());
            if (DESTINATION.plan)(&event).is_empty() {
                assert!(!moves_money(&event.data), "{}", event.data.name());
                continue;
            }
            assert_eq!((DESTINATION.plan)(&event)[0].effect, Effect::StateAlone);
            let EventData::Payment(event) = data else { unreachable!() };
            let at = after(payment(event.clone().into()).occurred_at, 60);
            lead.payments = lead.payments.with(&event, at, None);
        }
        let currency = |name| [("CRM_CURRENCY", name)];
        for (name, variables) in [("in_brl", &currency("BRL")), ("in_usd", &currency("USD"))] {
            let base = "https://crm.example.com/api";
            let always = [("CRM_BASE_URL", base), ("CRM_API_KEY", "k3y")];
            let variables: Vec<_> = always.iter().chain(variables).copied().collect();
            let crm = adapter("crm", &variables);
            let event = payment(payments().remove(2));
            let responses = [response(200, &Value::Null)];
            let shown = conversation(&*crm, ("crm", "lead"), &event, &lead, &responses);
            assert_snapshot!(format!("given_back_{name}"), shown);
        }
    }

    #[test]
    fn leads_upserts_and_then_triggers() {
        let responses = [response(409, &Value::Null), response(201, &Value::Null)];
        assert_snapshot!(talk("leads", &submitted(), &responses));
    }

    #[test]
    fn a_questionnaire_is_sent_with_its_score_its_answers_and_the_link() {
        let ok = || response(200, &json!({"id": "1"}));
        let found = response(200, &json!({"contacts": [{"id": "7"}]}));
        for (kind, responses) in
            [("webhook", vec![ok()]), ("contacts", vec![found, ok()]), ("leads", vec![ok()])]
        {
            let shown = conversation(
                &*crm(kind),
                ("crm", "lead"),
                &questionnaire(),
                &qualified(),
                &responses,
            );
            assert_snapshot!(format!("questionnaire_{kind}"), shown);
        }
    }

    #[test]
    fn a_booked_call_is_sent_with_its_date() {
        let ok = || response(200, &json!({"id": "1"}));
        let found = response(200, &json!({"contacts": [{"id": "7"}]}));
        for (kind, responses) in
            [("webhook", vec![ok()]), ("contacts", vec![found, ok()]), ("leads", vec![ok()])]
        {
            let bookings = bookings(&[&booked()]);
            let slot = ("crm", "lead");
            let shown =
                conversation_with(&bookings, &*crm(kind), slot, &booked(), &lead(), &responses);
            assert_snapshot!(format!("booked_{kind}"), shown);
        }
    }

    #[test]
    fn every_kind_of_response_is_judged() {
        let end = |kind: &str, responses: &[Response]| {
            let shown = talk(kind, &submitted(), responses);
            shown.lines().last().unwrap_or_default().to_owned()
        };
        let ok = || response(200, &json!({}));
        let none = || response(200, &json!({"contacts": []}));
        for (kind, responses, expected) in [
            ("webhook", vec![response(500, &Value::Null)], "=> retry http_500"),
            ("webhook", vec![response(401, &Value::Null)], "=> blocked http_401"),
            ("webhook", vec![response(422, &Value::Null)], "=> rejected http_422"),
            ("webhook", vec![response(409, &Value::Null), ok()], "=> delivered"),
            (
                "webhook",
                vec![response(200, &json!({"success": false}))],
                "=> retry answer_without_success",
            ),
            ("webhook", vec![ok(), response(429, &Value::Null)], "=> retry http_429"),
            ("webhook", vec![ok(), response(409, &Value::Null)], "=> delivered"),
            ("contacts", vec![response(503, &Value::Null)], "=> retry http_503"),
            ("contacts", vec![response(200, &json!("<html>"))], "=> retry answer_without_contacts"),
            ("contacts", vec![none(), response(400, &Value::Null)], "=> rejected http_400"),
            ("contacts", vec![none(), ok()], "=> retry answer_without_id"),
            (
                "contacts",
                vec![none(), response(409, &Value::Null), none()],
                "=> rejected answer_conflict_without_contact",
            ),
            (
                "contacts",
                vec![
                    none(),
                    response(409, &Value::Null),
                    response(200, &json!({"contacts": [{"id": 1}]})),
                    ok(),
                    ok(),
                ],
                "=> delivered",
            ),
            ("leads", vec![response(402, &Value::Null)], "=> blocked http_402"),
            ("leads", vec![ok(), ok()], "=> delivered"),
        ] {
            assert_eq!(end(kind, &responses), expected, "{kind}: {responses:?}");
        }
    }

    #[test]
    fn a_low_score_is_nurtured() {
        let mut event = submitted();
        let started = |event: &Event| match taken(&event.data).unwrap().own {
            Some(Own::Said { automation, .. }) => automation,
            Some(Own::Purchase(_)) | None => None,
        };
        assert_eq!(started(&event), Some("high_priority_follow_up"));
        let EventData::Form(FormEvent::LeadSubmitted(submission)) = &mut event.data else {
            unreachable!()
        };
        submission.score.tier = Tier::Medium;
        assert_eq!(started(&event), Some("standard_nurture"));
    }
}
