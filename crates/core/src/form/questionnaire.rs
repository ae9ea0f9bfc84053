//! The questionnaire: its fields and their limits, and what follows it.
//!
//! Owns how answers are parsed, how a repeated submission is recognised, and the next step that
//! follows from a score. It must not know HTTP or the table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contact::Email;
use crate::contact::consent::FormConsent;
use crate::form::{FieldErrors, Fields, Schema, fingerprint};
use crate::id::LeadId;
use crate::pii::{self, Pii, Text};
use crate::score::Answer;
use crate::score::rules::{Rules, Takes};
use crate::text::plain;

/// The answers by question. The questions are personal data too, because a page can send any.
pub type Responses = Pii<BTreeMap<String, Answer>>;

/// A valid submission of the questionnaire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionnaireForm {
    /// The lead that the submission claims to be from.
    pub lead_id: LeadId,
    /// The e-mail address, which must be that of the lead.
    #[serde(with = "pii::stored")]
    pub email: Email,
    /// The name, if the page sends it. It is used for the booking link only.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub name: Option<Text>,
    /// The answers, to known and unknown questions.
    #[serde(with = "pii::stored")]
    pub responses: Responses,
    /// The consent object, if the page sends one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<FormConsent>,
}

/// The maximum number of questions, known or not.
const QUESTIONS_MAX: usize = 50;
/// The length to which an unknown question is cut.
const UNKNOWN_QUESTION_CHARS_MAX: usize = 100;
/// The length to which the answer to an unknown question is cut.
const UNKNOWN_ANSWER_CHARS_MAX: usize = 1000;

impl QuestionnaireForm {
    /// Parses a body with the questions of these rules. The error has all faults.
    pub fn parse(body: &serde_json::Value, rules: &Rules) -> Result<Self, FieldErrors> {
        let mut fields = Fields::of(body);
        let form = Self::read(&mut fields, rules);
        fields.finish(form)
    }

    /// The fields that a body may have.
    pub fn schema(rules: &Rules) -> Schema {
        Fields::schema(|fields| Self::read(fields, rules))
    }

    fn read(fields: &mut Fields<'_>, rules: &Rules) -> Option<Self> {
        let lead_id = fields.required_lead_id("leadId");
        let email = fields.required_email("email");
        let name = fields.text("name", 200);
        let responses =
            fields.required_object("responses", QUESTIONS_MAX, |fields| responses(fields, rules));
        let consent = fields.consent("consent");
        lead_id.zip(email).zip(responses).map(|((lead_id, email), responses)| Self {
            lead_id,
            email,
            name,
            responses,
            consent,
        })
    }

    /// The answer to a question.
    pub fn answer(&self, question: &str) -> Option<&Answer> {
        self.responses.expose().get(question)
    }

    /// A digest of the submission. Two submissions with the same fingerprint are the same request.
    pub fn fingerprint(&self) -> String {
        fingerprint(self)
    }
}

fn responses(fields: &mut Fields<'_>, rules: &Rules) -> Responses {
    let mut read = BTreeMap::new();
    for question in &rules.questions {
        let field = question.field.as_str();
        let answer = match question.takes {
            Takes::Anything => fields.anything(field, UNKNOWN_ANSWER_CHARS_MAX),
            Takes::Number(least, most) => fields.number(field, least, most).map(Answer::Number),
            Takes::Option => fields.choice(field, question.options(), |text| {
                let option = plain(text.trim());
                question.options().any(|known| known == option).then_some(option)
            }),
            Takes::Text(most) => {
                fields.text(field, most).map(|text| Answer::Text(text.expose().clone()))
            }
        };
        read.extend(answer.map(|answer| (field.to_owned(), answer)));
    }
    for name in fields.names() {
        let question: String = name.trim().chars().take(UNKNOWN_QUESTION_CHARS_MAX).collect();
        // A name that was trimmed or cut must not replace a known question.
        if question.is_empty() || rules.question(&question).is_some() {
            continue;
        }
        let answer = fields.anything(name, UNKNOWN_ANSWER_CHARS_MAX);
        read.extend(answer.map(|answer| (question, answer)));
    }
    Pii::new(read)
}

/// What follows the questionnaire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// The lead is asked to book a call.
    CalendarBooking,
    /// The lead is not asked to book a call yet.
    Nurture,
}

impl NextStep {
    /// The next step for a readiness score.
    pub const fn of(score: u8, booking_threshold: u8) -> Self {
        if score >= booking_threshold { Self::CalendarBooking } else { Self::Nurture }
    }

    /// The name in responses and in requests to destinations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CalendarBooking => "calendar_booking",
            Self::Nurture => "nurture",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::score::rules::READINESS;

    fn body(responses: &Value) -> Value {
        json!({
            "leadId": "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11", "email": "Ana@Example.com",
            "responses": responses,
        })
    }

    fn read(responses: &Value) -> QuestionnaireForm {
        QuestionnaireForm::parse(&body(responses), &READINESS.built_in().unwrap()).unwrap()
    }

    fn faults(body: &Value) -> Vec<(String, &'static str)> {
        let rules = READINESS.built_in().unwrap();
        let errors = QuestionnaireForm::parse(body, &rules).unwrap_err().0;
        errors.into_iter().map(|error| (error.field, error.fault.code())).collect()
    }

    #[test]
    fn known_answers_are_parsed_by_their_kind_and_unknown_ones_are_kept() {
        let form = read(&json!({
            "commitment": "8", "urgency": " Imediata ", "mainGoal": " mais tempo ", "weeklyHours": 0,
            "team": 3, "revenue": 7.5, "tools": ["crm", "agenda"], "newsletter": true, "blank": " ",
            " commitment ": 10, "": "x",
        }));
        let kept: Vec<_> =
            form.responses.expose().iter().map(|(q, a)| (q.as_str(), a.text())).collect();
        let kept: Vec<_> = kept.iter().map(|(q, a)| (*q, a.as_str())).collect();
        let expected = [
            ("commitment", "8"),
            ("mainGoal", "mais tempo"),
            ("newsletter", "true"),
            ("revenue", "7.5"),
            ("team", "3"),
            ("tools", r#"["crm","agenda"]"#),
            ("urgency", "imediata"),
            ("weeklyHours", "0"),
        ];
        assert_eq!(kept, expected);
        assert_eq!(form.answer("team"), Some(&Answer::Number(3)));
        let stored = serde_json::to_value(&form).unwrap();
        assert_eq!(serde_json::from_value::<QuestionnaireForm>(stored).unwrap(), form);
        assert!(!format!("{form:?}").contains("team"), "a question is personal data too");
    }

    #[test]
    fn all_faults_are_in_one_error() {
        let wrong = json!({
            "leadId": "no", "email": "no", "name": 7, "consent": 1,
            "responses": {
                "commitment": 11, "urgency": "ontem", "weeklyHours": "muitas", "mainGoal": "x".repeat(2001),
            },
        });
        let expected = [
            ("leadId", "invalid_uuid"),
            ("email", "invalid_email"),
            ("name", "wrong_type"),
            ("responses.commitment", "out_of_range"),
            ("responses.urgency", "unknown_choice"),
            ("responses.weeklyHours", "wrong_type"),
            ("responses.mainGoal", "too_long"),
            ("consent", "wrong_type"),
        ];
        assert_eq!(faults(&wrong), expected.map(|(field, code)| (field.to_owned(), code)));
        let missing = ["leadId", "email", "responses"].map(|field| (field.to_owned(), "required"));
        assert_eq!(faults(&json!({})), missing);
    }

    #[test]
    fn a_questionnaire_has_between_1_and_50_answers() {
        let many = |count: usize| -> Value {
            (0..count)
                .map(|number| (format!("q{number}"), json!(number)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        for (responses, code) in [
            (json!({}), "required"),
            (json!({"commitment": "", "x": null}), "required"),
            (json!([1]), "wrong_type"),
            (many(51), "too_many"),
        ] {
            assert_eq!(faults(&body(&responses)), [("responses".to_owned(), code)]);
        }
        assert_eq!(read(&many(50)).responses.expose().len(), 50);
        let long = read(&json!({"é".repeat(150): "ç".repeat(1500)}));
        let (question, answer) = long.responses.expose().first_key_value().unwrap();
        assert_eq!((question.chars().count(), answer.text().chars().count()), (100, 1000));
    }

    #[test]
    fn a_score_at_the_threshold_leads_to_a_booking() {
        for (score, threshold, name) in
            [(60, 60, "calendar_booking"), (59, 60, "nurture"), (0, 0, "calendar_booking")]
        {
            assert_eq!(NextStep::of(score, threshold).name(), name);
        }
    }
}
