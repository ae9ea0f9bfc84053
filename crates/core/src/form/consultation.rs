//! The site's form for a consultation: what somebody wants to talk about, and when.
//!
//! Owns its fields, their limits, and how a date that a person would like is read. It must not know HTTP, the
//! table or the score.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contact::MESSAGE_CHARS_MAX;
use super::site::{Layout, Origin, marketing_box};
use crate::contact::consent::{Decision, FormConsent};
use crate::contact::{Email, Phone};
use crate::defaults;
use crate::form::{Fault, FieldErrors, Fields, Schema, fingerprint};
use crate::pii::{self, Text};
use crate::score::Answer;

/// The most dates that a person may offer.
const DATES_MAX: usize = 10;

/// A date that a person would like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferredDate {
    /// A day, in the person's time zone.
    Day(Date),
    /// A point in time, read with its offset or in their time zone.
    At(Timestamp),
}

impl PreferredDate {
    /// Reads a day (`2026-12-01`), a time of the time zone (`2026-12-01T15:00`) or a moment with its offset
    /// (`2026-12-01T15:00:00-03:00`), if it is in the future.
    fn parse(text: &str, zone: &TimeZone, now: Timestamp) -> Option<Self> {
        let text = text.trim();
        // A time zone in brackets would be passed over.
        if text.contains('[') {
            return None;
        }
        let date = if let Ok(at) = text.parse::<Timestamp>() {
            Self::At(at)
        } else if text.contains(['T', ' ']) {
            Self::At(text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok()?.timestamp())
        } else {
            Self::Day(text.parse().ok()?)
        };
        let is_ahead = match date {
            Self::Day(day) => day >= now.to_zoned(zone.clone()).date(),
            Self::At(at) => at > now,
        };
        is_ahead.then_some(date)
    }

    /// The date for a reader in a time zone: `2026-12-01` or `2026-12-01T15:00:00-03:00`.
    fn shown(self, zone: &TimeZone) -> String {
        match self {
            Self::Day(day) => day.to_string(),
            Self::At(at) => at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        }
    }
}

/// A valid request for a consultation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsultationForm {
    /// What came along.
    pub origin: Origin,
    /// The person's name, as they wrote it.
    #[serde(with = "pii::stored")]
    pub name: Text,
    /// The person's e-mail address.
    #[serde(with = "pii::stored")]
    pub email: Email,
    /// The person's phone number.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub phone: Option<Phone>,
    /// The company that they write for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub company: Option<Text>,
    /// The service that they want.
    #[serde(with = "pii::stored")]
    pub service: Text,
    /// What they can spend: a number, or one of the form's ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_range: Option<Answer>,
    /// The days and times that suit them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferred_dates: Vec<PreferredDate>,
    /// The IANA name of their time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The message, as they wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub message: Option<Text>,
    /// The box for marketing, if the form sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marketing: Option<Decision>,
}

impl ConsultationForm {
    /// Parses a body that comes now. The error has all faults.
    pub fn parse(body: &Value, now: Timestamp) -> Result<Self, FieldErrors> {
        let mut fields = Fields::of(body);
        let form = Self::read(&mut fields, Layout::of(body), now);
        fields.finish(form)
    }

    /// The fields that a body may have, in both layouts.
    pub fn schemas() -> Vec<Schema> {
        Layout::schemas(|fields, layout| Self::read(fields, layout, Timestamp::UNIX_EPOCH))
    }

    fn read(fields: &mut Fields<'_>, layout: Layout, now: Timestamp) -> Option<Self> {
        let mut origin = Origin::read(fields);
        let form = layout.typed(fields, |fields| {
            let name = fields.required_name("name", 200);
            let email = fields.required_email("email");
            let phone = fields.phone("phone");
            let company = fields.text("company", 200);
            let service = fields.required_text("service", 200);
            let budget_range = fields.answer("budget_range", 100);
            // No person types it: a browser names it, or a page has it fixed.
            let time_zone = fields.or_dropped("time_zone", |fields, name| {
                fields.parsed(name, Fault::TimeZone, |text| {
                    TimeZone::get(text).is_ok().then(|| text.to_owned())
                })
            });
            let zone = zone(time_zone.as_deref());
            let preferred_dates =
                fields.listed("preferred_dates", DATES_MAX, Fault::FutureDate, |text| {
                    PreferredDate::parse(text, &zone, now)
                });
            let message = fields.text("message", MESSAGE_CHARS_MAX);
            let marketing = marketing_box(fields);
            name.zip(email).zip(service).map(|((name, email), service)| Self {
                origin: Origin::default(),
                name,
                email,
                phone,
                company,
                service,
                budget_range,
                preferred_dates,
                time_zone,
                message,
                marketing,
            })
        })?;
        origin.dropped = fields.dropped();
        Some(Self { origin, ..form })
    }

    /// What the form decides about consent.
    pub fn consent(&self) -> Option<FormConsent> {
        self.origin.consent_with(self.marketing)
    }

    /// The dates that the person would like, for a reader in their time zone; of the business where theirs
    /// is not known.
    pub fn dates(&self) -> Vec<String> {
        let zone = zone(self.time_zone.as_deref());
        self.preferred_dates.iter().map(|date| date.shown(&zone)).collect()
    }

    /// The answer to a question of the score: `service`, `budget_range`, `preferred_dates` (how many) or
    /// `phone` (`given`).
    pub fn answer(&self, question: &str) -> Option<Answer> {
        match question {
            "service" => Some(Answer::Text(self.service.expose().clone())),
            "budget_range" => self.budget_range.clone(),
            "preferred_dates" => i64::try_from(self.preferred_dates.len()).ok().map(Answer::Number),
            "phone" => self.phone.as_ref().map(|_| Answer::Text("given".to_owned())),
            _ => None,
        }
    }

    /// A digest of the submission. Two submissions with the same fingerprint are the same request.
    pub fn fingerprint(&self) -> String {
        fingerprint(&Self { origin: self.origin.without_circumstances(), ..self.clone() })
    }
}

fn zone(name: Option<&str>) -> TimeZone {
    name.and_then(|name| TimeZone::get(name).ok()).unwrap_or_else(defaults::time_zone)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::form::from_urlencoded;

    fn now() -> Timestamp {
        "2026-11-21T02:30:00Z".parse().unwrap()
    }

    fn body(dates: &Value) -> Value {
        json!({"data": {
            "name": "Ana Exemplo", "email": "ana@example.com", "service": "mentoria-individual",
            "time_zone": "America/New_York", "preferred_dates": dates,
        }})
    }

    #[test]
    fn dates_are_read_in_the_person_s_time_zone() {
        let dates = json!([
            "2026-11-20",
            "2026-12-01T15:00",
            "2026-12-02 09:30",
            "2026-12-03T12:00:00-03:00"
        ]);
        let form = ConsultationForm::parse(&body(&dates), now()).unwrap();
        // It is still the 20th in New York.
        assert_eq!(
            form.dates(),
            [
                "2026-11-20",
                "2026-12-01T15:00:00-05:00",
                "2026-12-02T09:30:00-05:00",
                "2026-12-03T10:00:00-05:00",
            ]
        );
    }

    #[test]
    fn a_date_that_is_past_or_none_is_refused_by_its_place() {
        let dates = json!(["2026-11-19", "2026-12-01", "amanhã", "2026-11-20T21:00", 7]);
        let errors = ConsultationForm::parse(&body(&dates), now()).unwrap_err().0;
        let found: Vec<_> = errors.iter().map(|e| (e.field.as_str(), e.fault.code())).collect();
        let wrong = |field| (field, "no_future_date");
        assert_eq!(
            found,
            [
                wrong("data.preferred_dates.0"),
                wrong("data.preferred_dates.2"),
                wrong("data.preferred_dates.3"),
                wrong("data.preferred_dates.4"),
            ]
        );
        for in_brackets in ["2099-12-01T15:00[America/New_York]", "2099-12-01[x]"] {
            assert!(ConsultationForm::parse(&body(&json!([in_brackets])), now()).is_err());
        }
        let many = json!(vec!["2026-12-01"; 11]);
        let errors = ConsultationForm::parse(&body(&many), now()).unwrap_err().0;
        assert_eq!(errors[0].fault.code(), "too_many");
    }

    #[test]
    fn a_plain_html_form_sends_its_dates_as_one_text() {
        let form = b"name=Ana&email=ana%40example.com&service=palestra&preferred_dates=2026-12-01T15%3A00%2C+2026-12-02";
        let form = ConsultationForm::parse(&from_urlencoded(form), now()).unwrap();
        assert_eq!(form.dates(), ["2026-12-01T15:00:00-03:00", "2026-12-02"]);
        let inputs = b"name=Ana&email=ana%40example.com&service=palestra&preferred_dates%5B%5D=2026-12-01T15%3A00\
            &preferred_dates%5B%5D=&preferred_dates%5B%5D=2026-12-02";
        assert_eq!(
            ConsultationForm::parse(&from_urlencoded(inputs), now()).unwrap().dates(),
            form.dates()
        );
    }

    #[test]
    fn a_time_zone_that_is_none_is_dropped_and_noted() {
        let mut body = body(&json!("2026-12-01T15:00"));
        body["data"]["time_zone"] = json!("Mars/Olympus");
        body["timestamp"] = json!("?");
        let form = ConsultationForm::parse(&body, now()).unwrap();
        assert_eq!(form.dates(), ["2026-12-01T15:00:00-03:00"], "the business's time zone");
        assert_eq!(form.origin.dropped, ["timestamp", "data.time_zone"]);
    }
}
