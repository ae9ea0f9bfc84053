//! MailerLite by its new API: `docs/providers.md` ("MailerLite").
//!
//! A state destination: look the subscriber up, upsert the fields by e-mail, then join the slot's
//! group. Joining starts the automation, so the fields come first. A `status` is never sent, and
//! who left, bounced or complained is left alone, so nothing here resubscribes anybody.

use std::collections::BTreeMap;

use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value, json};
use url::Url;

use super::names::{self, Names, Omission};
use super::repetition::ReplayPolicy;
use super::{Adapter, Context, Destination, Kind, Planned, Slot, Step};
use crate::booking;
use crate::clock::after;
use crate::contact::consent::Purpose;
use crate::defaults;
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::delivery::{Outcome, Reason, WhenUnknown, judge};
use crate::event::{CallEvent, EventData, FormEvent};
use crate::pii::Text;
use crate::score::amanda::Tier;
use crate::settings::{Secret, Settings};
use crate::text::plain;

/// The e-mail with the questionnaire, which the person asked for by submitting the form.
static QUESTIONNAIRE: Slot = Slot::new("questionnaire", Purpose::Contact);
/// Newsletters and offers.
static MARKETING: Slot = Slot::new("marketing", Purpose::MarketingEmail);
/// Fields without a group: after a questionnaire, an event of a call, or a sync.
static PROFILE: Slot = Slot::new("profile", Purpose::Contact);

pub(super) static DESTINATION: Destination = Destination {
    name: "mailerlite",
    function: "mailerlite-sync",
    kind: Kind::State,
    deadline_h: 14 * 24,
    when_unknown: WhenUnknown::Never,
    replay: ReplayPolicy::RECOGNISED,
    person_pause_s: None,
    keyed_by_email: true,
    follows_bookings: false,
    daily_per_number: None,
    requests_per_minute: Some(120),
    base_url_variable: "MAILERLITE_BASE_URL",
    local_path: "",
    local_credentials: &[("MAILERLITE_API_KEY", "local-mailerlite")],
    local_settings: &[("MAILERLITE_GROUPS", r#"{"questionnaire":"101","marketing":"102"}"#)],
    slots: &[QUESTIONNAIRE, MARKETING, PROFILE],
    plan: |event| taken(&event.data),
    connect: |settings| Some(Box::new(MailerLite::connect(settings)?)),
};

/// The slots in which MailerLite takes an event.
fn taken(event: &EventData) -> Vec<Planned> {
    use EventData::{Call, Consent, Deal, Form, Operation, Payment};

    match event {
        Form(event) => taken_of_form(event),
        Call(CallEvent::BookedElsewhere(_) | CallEvent::ChangeRequested(_)) => Vec::new(),
        Call(_) => vec![Planned::state_alone(&PROFILE)],
        Operation(event) if event.sync().is_some() => vec![Planned::state_alone(&PROFILE)],
        Payment(_) | Deal(_) | Consent(_) | Operation(_) => Vec::new(),
    }
}

fn taken_of_form(event: &FormEvent) -> Vec<Planned> {
    if let FormEvent::LeadSubmitted(_) = event {
        vec![(&QUESTIONNAIRE).into(), (&MARKETING).into()]
    } else if let FormEvent::QuestionnaireCompleted(_) = event {
        vec![Planned::state_alone(&PROFILE)]
    } else {
        Vec::new()
    }
}

struct MailerLite {
    base: Url,
    key: Secret,
    site: Url,
    groups: BTreeMap<String, String>,
    fields: Names,
}

/// Our names of the fields.
const FIELDS: [&str; 15] = [
    "name",
    "phone",
    "lead_id",
    "booking_url",
    "amanda_match_score",
    "business_type",
    "traffic_source",
    "signup_date",
    "transformation_stage",
    "questionnaire_completed",
    "transformation_readiness",
    "call_date",
    "call_status",
    "questionnaire_url",
    "questionnaire_deadline",
];

/// Everybody who sent the form and agreed to marketing.
const LANDING_PAGE: &str = "landing_page_leads";
/// The groups of the score's tiers. A lead is in one of them.
const TIERS: [(Tier, &str); 3] = [
    (Tier::High, "amanda_score_high"),
    (Tier::Medium, "amanda_score_medium"),
    (Tier::Low, "amanda_score_low"),
];
/// What the name of a group of a business type begins with; [`group_value`] follows.
const BUSINESS_TYPE: &str = "business_type_";

/// A business type in the name of its group: in lower case, without accents, and with one `_` for
/// each run of other characters.
fn group_value(business_type: &str) -> String {
    let plain = plain(business_type);
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

/// Whether we know a group of this name.
fn is_group(name: &str) -> bool {
    let business_type = name.strip_prefix(BUSINESS_TYPE);
    [QUESTIONNAIRE.name, MARKETING.name, LANDING_PAGE].contains(&name)
        || TIERS.iter().any(|(_, group)| *group == name)
        || business_type.is_some_and(|value| !value.is_empty() && value == group_value(value))
}

impl MailerLite {
    fn connect(settings: &mut Settings<'_>) -> Option<Self> {
        let base = settings.url("MAILERLITE_BASE_URL", Some("https://connect.mailerlite.com/api"));
        let key = settings.secret("MAILERLITE_API_KEY");
        let site = settings.url("SITE_URL", None);
        let groups = settings.required("MAILERLITE_GROUPS").and_then(|text| {
            let groups: Option<BTreeMap<String, String>> = serde_json::from_str(text).ok();
            let complete = groups.filter(|groups| {
                [QUESTIONNAIRE.name, MARKETING.name].iter().all(|name| groups.contains_key(*name))
                    && groups.keys().all(|name| is_group(name))
                    && groups
                        .values()
                        .all(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
            });
            complete.or_else(|| {
                settings.problem(
                    "MAILERLITE_GROUPS must be JSON with the numeric ids, as texts, of the groups \
                     questionnaire and marketing, and of those there are of landing_page_leads, \
                     amanda_score_high, amanda_score_medium, amanda_score_low and \
                     business_type_<value in lower case, without accents, _ between words>.",
                )
            })
        });
        let known = (&FIELDS[..], Omission::Allowed);
        let fields = Names::read(settings, "MAILERLITE_FIELDS", known, names::is_field);
        Some(Self { base: base?, key: key?, site: site?, groups: groups?, fields: fields? })
    }

    fn request(&self, method: Method, segments: &[&str], body: Option<Value>) -> Step {
        let request = Request::safe(method, endpoint(&self.base, segments), body)
            .header("authorization", format!("Bearer {}", self.key.expose()))
            .header("accept", "application/json");
        Step::send(request)
    }

    fn fields(&self, context: &Context<'_>) -> Value {
        let lead = context.lead;
        let latest = &lead.latest;
        let text = |text: Option<&Text>| text.map(|text| text.expose().clone());
        let mut fields = Map::new();
        let mut put = |name: &'static str, value: Option<String>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value.into());
            }
        };
        // Anybody can make a further lead of an e-mail; only the oldest says who its owner is.
        let is_oldest = context.oldest.is_none_or(|oldest| oldest == lead.id);
        if is_oldest {
            put("name", text(latest.name.as_ref()));
            put("phone", latest.phone.as_ref().map(|phone| phone.as_str().to_owned()));
            put("lead_id", Some(lead.id.to_string()));
            put("booking_url", lead.booking_field());
        }
        put(
            "amanda_match_score",
            latest.amanda_score.as_ref().map(|score| score.total.to_string()),
        );
        put("business_type", text(latest.business_type.as_ref()));
        put("traffic_source", text(latest.traffic_source.as_ref()));
        put("signup_date", lead.facts.submitted_at.map(local_time));
        put("transformation_stage", Some(lead.stage().name().to_owned()));
        put("questionnaire_completed", lead.facts.questionnaire_at.map(|_| "yes".to_owned()));
        let readiness = latest.readiness_score.as_ref();
        put("transformation_readiness", readiness.map(|score| score.total.to_string()));
        let booking = booking::current(context.bookings);
        // The date of a withdrawn booking is emptied, so that no automation counts back from it.
        put(
            "call_date",
            booking.map(|booking| {
                let call = booking.call.as_ref().filter(|_| booking.status.stands());
                call.map(|call| field_time(&call.local_start())).unwrap_or_default()
            }),
        );
        put("call_status", booking.map(|booking| booking.status.name().to_owned()));
        if context.slot == &QUESTIONNAIRE {
            let mut url = endpoint(&self.site, &[defaults::QUESTIONNAIRE_PAGE]);
            url.query_pairs_mut().append_pair("lead_id", &lead.id.to_string());
            put("questionnaire_url", is_oldest.then(|| url.to_string()));
            let deadline = after(context.event.occurred_at, defaults::QUESTIONNAIRE_H * 3600);
            put("questionnaire_deadline", Some(local_time(deadline)));
        }
        self.fields.rename(fields).into()
    }

    /// The changes of groups after the upsert, in their order. With the look-up and the upsert these
    /// are at most 8 requests, which is what a delivery may make.
    fn changes(&self, context: &Context<'_>) -> Vec<(Method, &str)> {
        let id = |name: &str| self.groups.get(name).map(String::as_str);
        let mut changes: Vec<_> =
            id(context.slot.name).map(|id| (Method::Post, id)).into_iter().collect();
        if context.slot != &MARKETING {
            return changes;
        }
        let latest = &context.lead.latest;
        let business_type = latest.business_type.as_ref();
        let business_type =
            business_type.map(|text| format!("{BUSINESS_TYPE}{}", group_value(text.expose())));
        let joined = [Some(LANDING_PAGE), business_type.as_deref()];
        changes.extend(joined.into_iter().flatten().filter_map(id).map(|id| (Method::Post, id)));
        if let Some(score) = &latest.amanda_score {
            changes.extend(TIERS.into_iter().filter_map(|(tier, name)| {
                let method = if tier == score.tier { Method::Post } else { Method::Delete };
                Some((method, id(name)?))
            }));
        }
        changes
    }
}

impl Adapter for MailerLite {
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        let Some(email) = &context.lead.latest.email else {
            return Step::Done(Outcome::Rejected(Reason::Missing("email")));
        };
        let [found, rest @ ..] = so_far else {
            return self.request(Method::Get, &["subscribers", email.as_str()], None);
        };
        if found.status != 404 {
            if !found.succeeded() {
                return Step::judged(found);
            }
            match Subscriber::of(found) {
                None => return Step::unreadable("without_subscriber"),
                Some(subscriber) if subscriber.left => {
                    return Step::Done(Outcome::Skipped(Reason::Unsubscribed));
                }
                Some(_) => {}
            }
        }
        let [upserted, rest @ ..] = rest else {
            let body = json!({"email": email.as_str(), "fields": self.fields(context)});
            return self.request(Method::Post, &["subscribers"], Some(body));
        };
        if !upserted.succeeded() {
            return Step::judged(upserted);
        }
        let Some(subscriber) = Subscriber::of(upserted) else {
            return Step::unreadable("without_subscriber");
        };
        let changes = self.changes(context);
        if changes.is_empty() {
            return Step::Done(Outcome::Delivered);
        }
        if subscriber.left {
            // They left since we looked.
            return Step::Done(Outcome::Skipped(Reason::Unsubscribed));
        }
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
}

/// The part of MailerLite's response that we read.
struct Subscriber {
    id: String,
    left: bool,
}

impl Subscriber {
    fn of(response: &Response) -> Option<Self> {
        let body = response.json();
        let data = body.get("data")?;
        let id = data.get("id")?.as_str()?.to_owned();
        let status = data.get("status").and_then(Value::as_str).unwrap_or_default();
        Some(Self { id, left: matches!(status, "unsubscribed" | "bounced" | "junk") })
    }
}

/// A time for the reader of an e-mail whose zone is not known.
fn local_time(at: Timestamp) -> String {
    field_time(&at.to_zoned(defaults::time_zone()))
}

/// A time in the form of MailerLite's date fields.
fn field_time(at: &Zoned) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{
        adapter, booked, bookings, canceled, conversation, conversation_with, lead, qualified,
        questionnaire, response, submitted, sync,
    };
    use super::*;
    use crate::lead::Lead;

    fn mailerlite() -> Box<dyn Adapter> {
        let groups = r#"{"questionnaire":"101","marketing":"102"}"#;
        adapter("mailerlite", &[("MAILERLITE_API_KEY", "k3y"), ("MAILERLITE_GROUPS", groups)])
    }

    fn subscriber(status: &str) -> Value {
        json!({"data": {"id": "31986843064993537", "status": status}})
    }

    fn talk(slot: &str, responses: &[Response]) -> String {
        let event = if slot == "profile" { sync("mailerlite") } else { submitted() };
        conversation(&*mailerlite(), ("mailerlite", slot), &event, &lead(), responses)
    }

    #[test]
    fn the_questionnaire_slot_writes_fields_and_then_joins_its_group() {
        let responses = [
            response(404, &json!({"message": "Resource not found."})),
            response(201, &subscriber("active")),
            response(200, &Value::Null),
        ];
        assert_snapshot!(talk("questionnaire", &responses));
    }

    #[test]
    fn the_marketing_slot_has_no_questionnaire() {
        let responses = [
            response(200, &subscriber("active")),
            response(200, &subscriber("active")),
            response(200, &Value::Null),
        ];
        assert_snapshot!(talk("marketing", &responses));
    }

    #[test]
    fn a_business_type_is_written_as_its_groups_name() {
        for (text, expected) in [
            ("consultoria", "consultoria"),
            ("Saúde & Bem-estar", "saude_bem_estar"),
            ("  E-commerce ", "e_commerce"),
            ("", ""),
        ] {
            assert_eq!(group_value(text), expected, "{text}");
        }
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
            (vec![active(), active(), response(500, &null)], "=> retry http_500"),
            (vec![active(), active(), response(404, &null)], "=> rejected http_404"),
        ] {
            assert_eq!(end(&responses), expected, "{responses:?}");
        }
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
