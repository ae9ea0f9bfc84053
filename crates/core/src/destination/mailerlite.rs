//! MailerLite by its new API: `docs/providers.md` ("MailerLite").
//!
//! A state destination: one upsert by e-mail has the fields and the groups that the slot joins, and a
//! look-up comes before it where MailerLite has not confirmed the subscriber lately. Joining starts the
//! automation. Who left, bounced or complained is left alone, so nothing here resubscribes anybody: the only
//! `status` that is ever sent is `unconfirmed`, for a sign-up to the newsletter (`newsletter.rs`).

pub mod account;
mod customer;
mod fields;
mod groups;
mod newsletter;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;

use self::account::Account;
use self::customer::Tiers;
use self::groups::{GROUPS, GROUPS_ARE};
use self::newsletter::{Confirmation, Status, Writing};
use super::repetition::ReplayPolicy;
use super::{Adapter, Connector, Context, Destination, Kind, Known, Planned, Slot, Step, Whose};
use crate::check::Probe;
use crate::contact::consent::Purpose;
use crate::delivery::exchange::{Method, Response};
use crate::delivery::{Outcome, Reason, WhenUnknown, judge};
use crate::event::{CallEvent, EventData, FormEvent, PaymentEvent, SiteFormKind, SiteSubmission};
use crate::settings::Settings;

pub use self::fields::FIELDS;
pub use self::groups::{configured_groups, is_group};

/// The e-mail with the questionnaire, which the person asked for by submitting the form.
static QUESTIONNAIRE: Slot = Slot::new("questionnaire", Purpose::Contact).by_email();
/// Newsletters and offers.
static MARKETING: Slot = Slot::new("marketing", Purpose::MarketingEmail).by_email();
/// Fields without a group: after a questionnaire, an event of a call, or a sync.
static PROFILE: Slot = Slot::new("profile", Purpose::Contact);
/// The fields and the group of somebody who sent one of the site's forms and agreed to marketing.
static SITE_FORM: Slot = Slot::new("site_form", Purpose::MarketingEmail).by_email();
/// The newsletter, or MailerLite's mail that asks whether the person wants it. They asked for it by the form,
/// so its purpose is to respond; whether they get the newsletter itself is decided here.
static NEWSLETTER: Slot =
    Slot::new("newsletter", Purpose::Contact).asks_for(Purpose::MarketingEmail).by_email();
/// The fields and the group of a customer. Its purpose is `contact`, because they belong to the contract.
static CUSTOMER: Slot = Slot::new("customer", Purpose::Contact).by_email();

/// MailerLite: the state of each subscriber, with its groups.
pub static DESTINATION: Destination = Destination {
    name: "mailerlite",
    function: "mailerlite-sync",
    provider: "mailerlite",
    kind: Kind::State,
    whose: Whose::Leads,
    deadline_h: 14 * 24,
    when_unknown: WhenUnknown::Never,
    replay: ReplayPolicy::RECOGNISED,
    person_pause_s: None,
    keyed_by_email: true,
    keeps_replies: false,
    follows_bookings: false,
    page_event: None,
    daily_per_number: None,
    requests_per_minute: Some(120),
    base_url_variable: "MAILERLITE_BASE_URL",
    local_path: "",
    other_base_urls: &[],
    local_credentials: &[("MAILERLITE_API_KEY", "local-mailerlite")],
    local_settings: &[(
        "MAILERLITE_GROUPS",
        r#"{"questionnaire":"101","marketing":"102","contact":"201","newsletter":"202","consultation":"203"}"#,
    )],
    slots: &[QUESTIONNAIRE, MARKETING, PROFILE, CUSTOMER, SITE_FORM, NEWSLETTER],
    plan: |event| taken(&event.data),
};

/// What makes its adapter. Only the function that delivers to it links this.
pub static CONNECTOR: Connector = Connector {
    destination: &DESTINATION,
    connect: |settings| Some(Box::new(MailerLite::connect(settings)?)),
};

/// The slots in which MailerLite takes an event.
fn taken(event: &EventData) -> Vec<Planned> {
    use EventData::{Call, Consent, Deal, Form, Operation, Payment, Visit};

    match event {
        Form(event) => taken_of_form(event),
        Call(CallEvent::BookedElsewhere(_) | CallEvent::ChangeRequested(_)) => Vec::new(),
        Call(_) => vec![Planned::state_alone(&PROFILE)],
        Operation(event) if event.sync().is_some() => vec![Planned::state_alone(&PROFILE)],
        Payment(event) if changes_customer(event) => vec![(&CUSTOMER).into()],
        Payment(_) | Deal(_) | Consent(_) | Operation(_) | Visit(_) => Vec::new(),
    }
}

/// Whether the customer's group may be another one after a report.
fn changes_customer(event: &PaymentEvent) -> bool {
    event.movement().is_some_and(|movement| movement.counted().is_some())
}

fn taken_of_form(event: &FormEvent) -> Vec<Planned> {
    if let FormEvent::LeadSubmitted(_) = event {
        vec![(&QUESTIONNAIRE).into(), (&MARKETING).into()]
    } else if let FormEvent::QuestionnaireCompleted(_) = event {
        vec![Planned::state_alone(&PROFILE)]
    } else {
        let slot = event.of_site().map(|submission| match submission.form.kind() {
            SiteFormKind::Inquiry => &SITE_FORM,
            SiteFormKind::SignUp => &NEWSLETTER,
        });
        slot.map(Planned::from).into_iter().collect()
    }
}

/// What one of the site's forms says, if the event is one.
fn of_site(event: &EventData) -> Option<SiteSubmission<'_>> {
    let EventData::Form(event) = event else { return None };
    event.of_site()
}

/// Whether this is the oldest lead of its e-mail. Anybody can create another lead with the same e-mail, so only the
/// oldest one decides the subscriber's data.
fn is_oldest(context: &Context<'_>) -> bool {
    context.oldest.is_none_or(|oldest| oldest == context.lead.id)
}

struct MailerLite {
    account: Account,
    site: Url,
    groups: BTreeMap<String, String>,
    tiers: Tiers,
    joining: Joining,
    confirmation: Confirmation,
}

/// How a subscriber joins groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joining {
    /// With the upsert that brings the fields.
    WithFields,
    /// By a request for each group after the upsert.
    OneByOne,
}

impl Joining {
    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        match settings.optional("MAILERLITE_JOINING").unwrap_or("upsert") {
            "upsert" => Some(Self::WithFields),
            "assign" => Some(Self::OneByOne),
            _ => settings.problem("MAILERLITE_JOINING must be upsert or assign."),
        }
    }
}

impl MailerLite {
    fn connect(settings: &mut Settings<'_>) -> Option<Self> {
        let account = Account::read(settings);
        let site = settings.url("SITE_URL", None);
        let groups = match settings.required(GROUPS) {
            Some(_) => configured_groups(settings).and_then(|groups| {
                let is_complete = [QUESTIONNAIRE.name, MARKETING.name]
                    .iter()
                    .all(|name| groups.contains_key(*name));
                if is_complete { Some(groups) } else { settings.problem(GROUPS_ARE) }
            }),
            None => None,
        };
        let tiers = Tiers::read(settings);
        let joining = Joining::read(settings);
        let confirmation = Confirmation::read(settings);
        Some(Self {
            account: account?,
            site: site?,
            groups: groups?,
            tiers: tiers?,
            joining: joining?,
            confirmation: confirmation?,
        })
    }

    fn request(&self, method: Method, segments: &[&str], body: Option<Value>) -> Step {
        Step::send(self.account.request(method, segments, body))
    }

    /// The upsert, whose own groups are those that the subscriber joins with it.
    fn upsert(&self, context: &Context<'_>, email: &str, writing: Writing) -> Step {
        let mut body = json!({"email": email, "fields": self.fields(context)});
        if writing == Writing::Unconfirmed {
            body["status"] = "unconfirmed".into();
        }
        let joins = self.joins(context);
        if self.joining == Joining::WithFields && !joins.is_empty() {
            body["groups"] = joins.into();
        }
        self.request(Method::Post, &["subscribers"], Some(body))
    }
}

impl Adapter for MailerLite {
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        let Some(email) = &context.lead.latest.email else {
            return Step::Done(Outcome::Rejected(Reason::Missing("email")));
        };
        let is_newsletter = context.slot == &NEWSLETTER;
        let (writing, so_far) = match (context.known, so_far) {
            // The two deliveries of a form follow each other, and need one look-up.
            (Known::Lately, so_far) if !is_newsletter => (Writing::AsTheyAre, so_far),
            (_, []) => return self.request(Method::Get, &["subscribers", email.as_str()], None),
            (_, [found, rest @ ..]) => {
                let status = match Subscriber::looked_up(found) {
                    Ok(status) => status,
                    Err(step) => return step,
                };
                let writing = if is_newsletter {
                    newsletter::writing(context, status, self.confirmation)
                } else if status.has_left() {
                    Err(Reason::Unsubscribed)
                } else {
                    Ok(Writing::AsTheyAre)
                };
                match writing {
                    Ok(writing) => (writing, rest),
                    Err(reason) => return Step::Done(Outcome::Skipped(reason)),
                }
            }
        };
        let [upserted, rest @ ..] = so_far else {
            return self.upsert(context, email.as_str(), writing);
        };
        if !upserted.succeeded() {
            return Step::judged(upserted);
        }
        let Some(subscriber) = Subscriber::of(upserted) else {
            return Step::unreadable("without_subscriber");
        };
        if subscriber.status.has_left() {
            // They left since we looked.
            return Step::Done(Outcome::Skipped(Reason::Unsubscribed));
        }
        let changes = self.changes(context, &subscriber);
        for (index, (method, group)) in changes.into_iter().enumerate() {
            let Some(response) = rest.get(index) else {
                // The API wants a length and a content type of every POST.
                let body = (method == Method::Post).then(|| json!({}));
                return self.request(
                    method,
                    &["subscribers", &subscriber.id, "groups", group],
                    body,
                );
            };
            // 404 on leaving: they were not in the group.
            let is_done = judge(response) == Outcome::Delivered
                || method == Method::Delete && response.status == 404;
            if !is_done {
                return Step::judged(response);
            }
        }
        Step::Done(Outcome::Delivered)
    }

    fn requests_max(&self, slot: &Slot) -> usize {
        let joins = match (self.joining, slot) {
            (Joining::WithFields, _) => 0,
            // The slot's own group, the landing page's, the business type's and the tier's.
            (Joining::OneByOne, slot) if *slot == MARKETING => 4,
            (Joining::OneByOne, slot) => usize::from(*slot != PROFILE),
        };
        let leaves = self.leaves_max(slot);
        // The look-up and the upsert come first.
        2 + joins + leaves
    }

    fn probes(&self) -> Vec<Probe<'_>> {
        vec![
            Probe::ask("fields", self.account.list_fields(1), |response| {
                account::check_fields(&self.account, response)
            }),
            Probe::ask("groups", self.account.list_groups(1), |response| {
                account::check_groups(&self.groups, response)
            }),
        ]
    }

    fn state(&self, context: &Context<'_>) -> Option<String> {
        Some(Value::from(Self::profile(context)).to_string())
    }
}

/// The part of MailerLite's response that we read.
struct Subscriber {
    id: String,
    status: Status,
    /// The ids of their groups, where the response lists them.
    groups: Option<Vec<String>>,
}

impl Subscriber {
    fn of(response: &Response) -> Option<Self> {
        let body = response.json();
        let data = body.get("data")?;
        let id = data.get("id")?.as_str()?.to_owned();
        let status = data.get("status").and_then(Value::as_str).unwrap_or_default();
        let groups = data.get("groups").and_then(Value::as_array).map(|groups| {
            let ids = groups.iter().filter_map(|group| group.get("id")?.as_str());
            ids.map(str::to_owned).collect()
        });
        Some(Self { id, status: Status::of(status), groups })
    }

    /// The status that a look-up found.
    fn looked_up(found: &Response) -> Result<Status, Step> {
        if found.status == 404 {
            return Ok(Status::Unknown);
        }
        if !found.succeeded() {
            return Err(Step::judged(found));
        }
        let subscriber = Self::of(found).ok_or_else(|| Step::unreadable("without_subscriber"))?;
        Ok(subscriber.status)
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{
        adapter, booked, bookings, canceled, contacted, conversation, conversation_known,
        conversation_with, lead, newsletter, paying, payment, payments, qualified, questionnaire,
        response, submitted, sync,
    };
    use super::*;
    use crate::clock::after;
    use crate::event::{FirstForms, SiteForm};
    use crate::hash::HashKey;
    use crate::id::LeadId;
    use crate::lead::Lead;

    const GROUPS: &str = r#"{"questionnaire":"101","marketing":"102"}"#;

    fn mailerlite_with(groups: &str, joining: &str) -> Box<dyn Adapter> {
        let variables = [
            ("MAILERLITE_API_KEY", "k3y"),
            ("MAILERLITE_GROUPS", groups),
            ("MAILERLITE_JOINING", joining),
        ];
        adapter("mailerlite", &variables)
    }

    fn mailerlite() -> Box<dyn Adapter> {
        mailerlite_with(GROUPS, "upsert")
    }

    fn subscriber(status: &str) -> Value {
        json!({"data": {"id": "31986843064993537", "status": status}})
    }

    fn talk(slot: &str, responses: &[Response]) -> String {
        let event = if slot == "profile" { sync("mailerlite") } else { submitted() };
        conversation(&*mailerlite(), ("mailerlite", slot), &event, &lead(), responses)
    }

    #[test]
    fn the_questionnaire_slot_writes_fields_and_joins_its_group_with_them() {
        let responses = [
            response(404, &json!({"message": "Resource not found."})),
            response(201, &subscriber("active")),
        ];
        assert_snapshot!(talk("questionnaire", &responses));
    }

    #[test]
    fn groups_can_be_joined_one_by_one_after_the_fields() {
        let responses = [
            response(404, &json!({"message": "Resource not found."})),
            response(201, &subscriber("active")),
            response(200, &Value::Null),
        ];
        let slot = ("mailerlite", "questionnaire");
        let adapter = mailerlite_with(GROUPS, "assign");
        assert_snapshot!(conversation(&*adapter, slot, &submitted(), &lead(), &responses));
    }

    #[test]
    fn who_was_confirmed_lately_is_not_looked_up() {
        let slot = ("mailerlite", "marketing");
        let talk = |status: &str| {
            let known = (&[][..], Known::Lately);
            let responses = [response(200, &subscriber(status))];
            conversation_known(known, &*mailerlite(), slot, &submitted(), &lead(), &responses)
        };
        let shown = talk("active");
        assert!(shown.starts_with("POST ") && shown.ends_with("=> delivered"), "{shown}");
        assert!(talk("unsubscribed").ends_with("=> skipped unsubscribed"));
    }

    #[test]
    fn a_lead_leaves_the_groups_of_the_other_tiers_that_they_are_in() {
        let groups = r#"{"questionnaire":"101","marketing":"102","amanda_score_high":"103",
            "amanda_score_medium":"104","amanda_score_low":"105"}"#;
        let in_groups = |ids: &[&str]| {
            let groups: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
            json!({"data": {"id": "7", "status": "active", "groups": groups}})
        };
        let slot = ("mailerlite", "marketing");
        let talk = |upserted: &Value, leaves: usize| {
            let mut responses = vec![response(404, &Value::Null), response(200, upserted)];
            responses.extend((0..leaves).map(|_| response(404, &Value::Null)));
            let adapter = mailerlite_with(groups, "upsert");
            conversation(&*adapter, slot, &submitted(), &lead(), &responses)
        };
        let shown = talk(&in_groups(&["102", "103", "105"]), 1);
        assert!(
            shown.contains("DELETE https://connect.mailerlite.com/api/subscribers/7/groups/105")
        );
        assert!(talk(&in_groups(&["102", "103"]), 0).ends_with("=> delivered"));
        let unlisted = json!({"data": {"id": "7", "status": "active"}});
        assert!(talk(&unlisted, 2).ends_with("=> delivered"), "both where nothing is listed");
    }

    #[test]
    fn no_slot_makes_more_requests_than_it_says() {
        let groups = r#"{"questionnaire":"1","marketing":"2","landing_page_leads":"3",
            "amanda_score_high":"4","amanda_score_medium":"5","amanda_score_low":"6",
            "business_type_consultoria":"7","customers_vip":"8","customers_premium":"9",
            "customers_standard":"10","sells_mentoria_individual":"11","sells_mentoria":"12"}"#;
        for (joining, most) in [("upsert", [2, 4, 2, 7]), ("assign", [3, 8, 2, 8])] {
            let adapter = mailerlite_with(groups, joining);
            for (slot, most) in DESTINATION.slots.iter().zip(most) {
                assert_eq!(adapter.requests_max(slot), most, "{joining} {}", slot.name);
                let mut responses = vec![response(404, &Value::Null)];
                responses.push(response(200, &subscriber("active")));
                // A customer is in one of the three groups, or has bought nothing.
                let made = if *slot == CUSTOMER { most - 1 } else { most };
                responses.extend((2..made).map(|_| response(200, &Value::Null)));
                let slot = ("mailerlite", slot.name);
                let shown = conversation(&*adapter, slot, &submitted(), &paying(), &responses);
                assert!(shown.ends_with("=> delivered"), "{joining} {slot:?}: {shown}");
            }
        }
    }

    #[test]
    fn the_marketing_slot_has_no_questionnaire() {
        let responses =
            [response(200, &subscriber("active")), response(200, &subscriber("active"))];
        assert_snapshot!(talk("marketing", &responses));
    }

    fn with_forms(confirmation: &str) -> Box<dyn Adapter> {
        let groups =
            r#"{"questionnaire":"101","marketing":"102","contact":"301","newsletter":"302"}"#;
        adapter(
            "mailerlite",
            &[
                ("MAILERLITE_API_KEY", "k3y"),
                ("MAILERLITE_GROUPS", groups),
                ("MAILERLITE_CONFIRMATION", confirmation),
            ],
        )
    }

    #[test]
    fn a_contact_joins_its_own_group_with_what_the_form_said() {
        let known = response(200, &subscriber("active"));
        let slot = ("mailerlite", "site_form");
        let responses = [known.clone(), known];
        let (event, mut lead) = (contacted(), lead());
        let submission = of_site(&event.data).unwrap();
        lead.latest.company = submission.company.cloned();
        lead.latest.service_interest = submission.service_interest.cloned();
        let talk = |lead: &Lead| conversation(&*with_forms("new"), slot, &event, lead, &responses);
        assert_snapshot!(talk(&lead));
        // A later form under an id that anybody can learn says nothing of the person.
        lead.id =
            LeadId::from_email(&HashKey::new("a hash key of a test").unwrap(), submission.email);
        lead.first_forms = FirstForms::only(SiteForm::Contact, after(event.occurred_at, -60));
        let said = talk(&lead);
        assert!(!said.contains("form_type") && !said.contains("utm_source"), "{said}");
    }

    #[test]
    fn a_sign_up_of_somebody_new_is_for_mailerlite_to_confirm() {
        let slot = ("mailerlite", "newsletter");
        let talk = |confirmation: &str, responses: &[Response]| {
            let adapter = with_forms(confirmation);
            conversation(&*adapter, slot, &newsletter(), &lead(), responses)
        };
        let written = response(201, &subscriber("unconfirmed"));
        let new = [response(404, &Value::Null), written.clone()];
        assert_snapshot!(talk("new", &new));
        assert!(!talk("nobody", &new).contains("\"status\""));
        let left = [response(200, &subscriber("unsubscribed")), written];
        assert!(talk("everybody", &left).contains("\"status\": \"unconfirmed\""));
        assert!(talk("new", &left[..1]).ends_with("=> skipped unsubscribed"));
        let refused = [left[0].clone(), left[0].clone()];
        assert!(talk("everybody", &refused).ends_with("=> skipped unsubscribed"));
    }

    #[test]
    fn a_sync_joins_nothing() {
        let responses =
            [response(200, &subscriber("active")), response(200, &subscriber("active"))];
        let shown = talk("profile", &responses);
        assert!(shown.ends_with("=> delivered"), "{shown}");
        assert!(!shown.contains("/groups/"), "{shown}");
    }

    #[test]
    fn a_questionnaire_writes_its_fields_and_joins_nothing() {
        let responses =
            [response(200, &subscriber("active")), response(200, &subscriber("active"))];
        let slot = ("mailerlite", "profile");
        let talk =
            |lead: &Lead| conversation(&*mailerlite(), slot, &questionnaire(), lead, &responses);
        assert_snapshot!(talk(&qualified()));
        let mut fallen = qualified();
        fallen.latest.booking_url = None;
        assert!(
            talk(&fallen).contains(r#""booking_url": """#),
            "a link no longer earned is emptied"
        );
    }

    #[test]
    fn a_call_writes_its_date_and_a_cancellation_empties_it() {
        let responses =
            [response(200, &subscriber("active")), response(200, &subscriber("active"))];
        let talk = |events: &[&crate::event::Event]| {
            let slot = ("mailerlite", "profile");
            let bookings = bookings(events);
            conversation_with(&bookings, &*mailerlite(), slot, events[0], &lead(), &responses)
        };
        assert_snapshot!(talk(&[&booked()]));
        let shown = talk(&[&booked(), &canceled()]);
        assert!(shown.contains(r#""call_date": """#), "{shown}");
        assert!(shown.contains(r#""call_status": "canceled""#), "{shown}");
    }

    #[test]
    fn who_paid_joins_one_group_of_customers_and_leaves_what_sells_it() {
        let groups = r#"{"questionnaire":"1","marketing":"2","customers_vip":"8",
            "customers_premium":"9","customers_standard":"10","sells_mentoria_individual":"11"}"#;
        let talk = |lead: &Lead, leaves: usize| {
            let mut responses =
                vec![response(200, &subscriber("active")), response(200, &subscriber("active"))];
            responses.extend((0..leaves).map(|_| response(204, &Value::Null)));
            let slot = ("mailerlite", "customer");
            let paid = payment(payments().remove(0));
            let adapter = mailerlite_with(groups, "upsert");
            conversation(&*adapter, slot, &paid, lead, &responses)
        };
        assert_snapshot!(talk(&paying(), 3));
        let mut refunded = paying();
        refunded.spent.clear();
        refunded.payments.purchase.as_mut().unwrap().left.minor = 0;
        let shown = talk(&refunded, 3);
        assert!(!shown.contains("\"groups\""), "{shown}");
        for left in ["8", "9", "10"] {
            assert!(shown.contains(&format!("/groups/{left} ")), "{left}: {shown}");
        }
    }

    #[test]
    fn nothing_resubscribes_anybody() {
        for status in ["unsubscribed", "bounced", "junk"] {
            let shown = talk("marketing", &[response(200, &subscriber(status))]);
            assert!(shown.ends_with("=> skipped unsubscribed"), "{shown}");
            assert!(!shown.contains("POST"), "{shown}");
            let left_since = [response(404, &Value::Null), response(200, &subscriber(status))];
            let shown = talk("questionnaire", &left_since);
            assert!(shown.ends_with("=> skipped unsubscribed"), "{shown}");
            assert!(!shown.contains("\"status\""), "{shown}");
        }
    }

    #[test]
    fn every_kind_of_response_is_judged() {
        let end = |responses: &[Response]| {
            talk("questionnaire", responses).lines().last().unwrap_or_default().to_owned()
        };
        let active = || response(200, &subscriber("active"));
        let null = Value::Null;
        for (responses, expected) in [
            (vec![response(401, &null)], "=> blocked http_401"),
            (vec![response(429, &null)], "=> retry http_429"),
            (vec![response(200, &json!("<html>"))], "=> retry answer_without_subscriber"),
            (vec![active(), response(422, &null)], "=> rejected http_422"),
            (vec![active(), response(200, &json!({}))], "=> retry answer_without_subscriber"),
        ] {
            assert_eq!(end(&responses), expected, "{responses:?}");
        }
        let slot = ("mailerlite", "questionnaire");
        let joining = |status: u16| {
            let responses = [active(), active(), response(status, &null)];
            let adapter = mailerlite_with(GROUPS, "assign");
            conversation(&*adapter, slot, &submitted(), &lead(), &responses)
        };
        assert!(joining(500).ends_with("=> retry http_500"));
        assert!(joining(404).ends_with("=> rejected http_404"));
    }

    #[test]
    fn groups_without_the_two_we_need_are_refused() {
        for groups in [
            "",
            "[]",
            r#"{"questionnaire":"1"}"#,
            r#"{"questionnaire":"1","marketing":"2","vip":"3"}"#,
            r#"{"questionnaire":"1","marketing":"2","business_type_Médica":"3"}"#,
            r#"{"questionnaire":"a","marketing":"2"}"#,
        ] {
            let env: crate::settings::Env = [
                ("SITE_URL", "https://example.com"),
                ("MAILERLITE_API_KEY", "k3y"),
                ("MAILERLITE_GROUPS", groups),
            ]
            .into_iter()
            .collect();
            let mut settings = env.settings();
            let connected = MailerLite::connect(&mut settings).map(|_| ());
            let error = settings.finish(connected).unwrap_err().to_string();
            assert!(error.contains("MAILERLITE_GROUPS"), "{groups}: {error}");
        }
    }
}
