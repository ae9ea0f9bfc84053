//! The rules of a score: their file format, and what a file has to fulfil (`docs/scores.md`).
//!
//! The files in `crates/core/rules` are compiled in; a site replaces one by a variable. Must not know what any
//! question means.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

use super::{Answer, Breakdown, Tier, TieredScore};
use crate::settings::Settings;
use crate::text::plain;

/// The highest total. The best bands of all questions add up to it.
pub const TOTAL_MAX: u16 = 100;
/// The most questions that rules may have.
const QUESTIONS_MAX: usize = 50;
/// The longest name of a question, and the longest version, in characters.
const NAME_CHARS_MAX: usize = 60;
/// The longest text that a question may take, in characters.
const TEXT_CHARS_MAX: usize = 5000;

/// A score that we compute.
#[derive(Debug)]
pub struct Score {
    /// Its name: that of its file, and in the command that explains it.
    pub name: &'static str,
    /// The variable that replaces its rules.
    pub variable: &'static str,
    /// Its rules where that is unset.
    default: &'static str,
    /// The questions that its form can ask; `None` where it asks whatever the rules do.
    asks: Option<&'static [&'static str]>,
    /// Whether its total falls into tiers.
    tiers: HasTiers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HasTiers {
    Yes,
    No,
}

/// The score of the landing page's form.
pub static AMANDA: Score = Score {
    name: "amanda",
    variable: "AMANDA_RULES",
    default: include_str!("../../rules/amanda.json"),
    asks: Some(&["businessType", "monthlyRevenue", "workHoursDaily", "mainStruggle"]),
    tiers: HasTiers::Yes,
};

/// The score of the questionnaire.
pub static READINESS: Score = Score {
    name: "readiness",
    variable: "READINESS_RULES",
    default: include_str!("../../rules/readiness.json"),
    asks: None,
    tiers: HasTiers::No,
};

/// The score of the site's form for a consultation.
pub static CONSULTATION: Score = Score {
    name: "consultation",
    variable: "CONSULTATION_RULES",
    default: include_str!("../../rules/consultation.json"),
    asks: Some(&["service", "budget_range", "preferred_dates", "phone"]),
    tiers: HasTiers::Yes,
};

/// Every score.
pub static ALL: &[&Score] = &[&AMANDA, &READINESS, &CONSULTATION];

/// Rules that fulfil everything that rules have to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Their version, which is stored with every score.
    pub version: String,
    /// The questions, scored or not, in the order of the file.
    pub questions: Vec<Question>,
    tiers: Option<Tiers>,
}

/// A question, with the points for its answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The name of its field in the form.
    pub field: String,
    /// The kind of answer that it takes, where the form asks whatever the rules do. Any other answer is a field
    /// error.
    #[serde(default)]
    pub takes: Takes,
    /// The bands, from most to fewest points. An answer that is in none of them gets no points; a question
    /// without bands is not scored.
    #[serde(default)]
    pub bands: Vec<Band>,
}

/// The kind of answer that a question takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// Whatever the form itself takes.
    #[default]
    Anything,
    /// A whole number between these two, inclusive.
    Number(i64, i64),
    /// One of the options of the question's bands.
    Option,
    /// A text of at most this many characters.
    Text(usize),
}

/// A number of points and the answers that get it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Band {
    /// The points of an answer in this band.
    pub points: u8,
    /// The form's options that are in this band, in lower case without accents.
    #[serde(default)]
    pub options: Vec<String>,
    /// Numbers of at least this value are in this band.
    #[serde(default)]
    pub at_least: Option<i64>,
}

/// From which totals on a score is in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tiers {
    high: u8,
    medium: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    questions: Vec<Question>,
    #[serde(default)]
    tiers: Option<Tiers>,
}

/// What is wrong with rules, in a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError(String);

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RulesError {}

/// The points of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained<'r> {
    /// The question, as the rules have it.
    pub question: &'r Question,
    /// The band that its answer is in, if it is in one.
    pub band: Option<&'r Band>,
}

impl Score {
    /// The score with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|score| score.name == name)
    }

    /// The rules of a deployment: those of the variable, else the built-in ones. `None` if they are wrong,
    /// which the settings note.
    pub fn rules(&'static self, settings: &mut Settings<'_>) -> Option<Rules> {
        let text = settings.optional(self.variable).unwrap_or(self.default);
        match self.parse(text) {
            Ok(rules) => Some(rules),
            Err(error) => settings.problem(format!("{}: {error}", self.variable)),
        }
    }

    /// The file of the built-in rules.
    pub const fn file(&self) -> &'static str {
        self.default
    }

    /// The rules of the file in `rules/`, which count where no variable overrides them.
    pub fn built_in(&'static self) -> Result<Rules, RulesError> {
        self.parse(self.default)
    }

    /// Reads rules in the format of `docs/scores.md`. The error says what to correct.
    pub fn parse(&self, text: &str) -> Result<Rules, RulesError> {
        let file: File = serde_json::from_str(text).map_err(|error| {
            RulesError(format!("the rules are no such JSON as docs/scores.md describes: {error}."))
        })?;
        let File { version, mut questions, tiers } = file;
        for band in questions.iter_mut().flat_map(|question| &mut question.bands) {
            for option in &mut band.options {
                *option = plain(option.trim());
            }
        }
        let rules = Rules { version, questions, tiers };
        self.check(&rules).map_err(RulesError)?;
        Ok(rules)
    }

    fn check(&self, rules: &Rules) -> Result<(), String> {
        if !is_name(&rules.version) {
            return Err(format!(
                "version must be 1 to {NAME_CHARS_MAX} letters, digits, -, _ and dots."
            ));
        }
        if rules.questions.is_empty() || rules.questions.len() > QUESTIONS_MAX {
            return Err(format!("there must be 1 to {QUESTIONS_MAX} questions."));
        }
        let mut fields = BTreeSet::new();
        for question in &rules.questions {
            let field = &question.field;
            if !is_name(field) {
                return Err(format!(
                    "the name of each question must be 1 to {NAME_CHARS_MAX} letters, digits, -, _ and dots."
                ));
            }
            if !fields.insert(field) {
                return Err(format!("there is more than one question {field}."));
            }
            if let Some(asks) = self.asks
                && !asks.contains(&field.as_str())
            {
                return Err(format!("the form does not ask {field}; it asks {}.", asks.join(", ")));
            }
            if self.asks.is_some() && question.takes != Takes::Anything {
                return Err(format!("{field}: the form itself says what it takes; remove takes."));
            }
            question.check().map_err(|problem| format!("{field}: {problem}"))?;
        }
        let most: u16 = rules.questions.iter().map(|one| u16::from(one.points_max())).sum();
        if most != TOTAL_MAX {
            return Err(format!(
                "the best bands of all questions add up to {most} points; they must add up to {TOTAL_MAX}."
            ));
        }
        match (self.tiers, rules.tiers) {
            (HasTiers::No, Some(_)) => Err("this score has no tiers.".to_owned()),
            (HasTiers::Yes, None) => {
                Err("tiers is missing: from which total on a score is high, and medium.".to_owned())
            }
            (HasTiers::Yes, Some(Tiers { high, medium }))
                if high > 100 || medium >= high || medium == 0 =>
            {
                Err("tiers: medium must be at least 1 and below high, and high at most 100."
                    .to_owned())
            }
            (HasTiers::Yes, Some(_)) | (HasTiers::No, None) => Ok(()),
        }
    }
}

/// Whether a text is 1 to [`NAME_CHARS_MAX`] characters that are safe in a field's name.
fn is_name(text: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(is_safe)
}

impl Question {
    fn check(&self) -> Result<(), String> {
        let mut options = BTreeSet::new();
        for band in &self.bands {
            if band.options.is_empty() && band.at_least.is_none() {
                return Err("a band needs options, or atLeast.".to_owned());
            }
            for option in &band.options {
                if option.is_empty() || !options.insert(option) {
                    return Err(format!(
                        "the option {option:?} is empty, or in more than one band."
                    ));
                }
            }
        }
        if !self.bands.is_sorted_by(|one, next| one.points > next.points) {
            return Err("its bands must go from most to fewest points, each with fewer than the \
                        one before."
                .to_owned());
        }
        let least: Vec<i64> = self.bands.iter().filter_map(|band| band.at_least).collect();
        if !least.is_sorted_by(|one, next| one > next) {
            return Err("its bands must go from the highest atLeast to the lowest.".to_owned());
        }
        let fits = match self.takes {
            Takes::Anything => true,
            Takes::Number(from, to) => {
                from < to && options.is_empty() && least.iter().all(|one| (from..=to).contains(one))
            }
            Takes::Option => !options.is_empty() && least.is_empty(),
            Takes::Text(most) => self.bands.is_empty() && (1..=TEXT_CHARS_MAX).contains(&most),
        };
        if fits {
            return Ok(());
        }
        Err(format!(
            "its bands do not fit what it takes. A number needs its range, and bands with atLeast within it; \
             an option needs bands with options alone; a text has no bands, and at most {TEXT_CHARS_MAX} \
             characters."
        ))
    }

    /// Whether a form takes this answer.
    pub fn takes_answer(&self, answer: &str) -> bool {
        match self.takes {
            Takes::Anything => true,
            Takes::Number(from, to) => {
                answer.trim().parse().is_ok_and(|answer: i64| (from..=to).contains(&answer))
            }
            Takes::Option => self.options().any(|option| option == plain(answer.trim())),
            Takes::Text(most) => answer.chars().count() <= most,
        }
    }

    /// Its options. Empty for a question that takes a number or text.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        self.bands.iter().flat_map(|band| &band.options).map(String::as_str)
    }

    /// Whether its answers get points.
    pub fn is_scored(&self) -> bool {
        !self.bands.is_empty()
    }

    /// The highest number of points that an answer can get.
    pub fn points_max(&self) -> u8 {
        self.bands.first().map_or(0, |best| best.points)
    }

    /// The band of an answer. A missing or unknown answer is in none.
    fn band(&self, answer: Option<&Answer>) -> Option<&Band> {
        let answer = answer?;
        let option = plain(answer.text().trim());
        let number = answer.number();
        self.bands.iter().find(|band| {
            band.options.contains(&option)
                || band.at_least.zip(number).is_some_and(|(least, number)| number >= least)
        })
    }
}

impl Rules {
    /// The questions that are scored.
    pub fn scored(&self) -> impl Iterator<Item = &Question> {
        self.questions.iter().filter(|question| question.is_scored())
    }

    /// The question with this field.
    pub fn question(&self, field: &str) -> Option<&Question> {
        self.questions.iter().find(|question| question.field == field)
    }

    /// Which band the answer to each scored question is in. `answer` finds the answer to the question with
    /// this field.
    pub fn explain(&self, answer: impl Fn(&str) -> Option<Answer>) -> Vec<Explained<'_>> {
        let explained = self.scored().map(|question| {
            let answer = answer(&question.field);
            Explained { question, band: question.band(answer.as_ref()) }
        });
        explained.collect()
    }

    /// The points for each scored question.
    pub(super) fn breakdown(&self, answer: impl Fn(&str) -> Option<Answer>) -> Breakdown {
        let explained = self.explain(answer).into_iter();
        explained.map(|one| (one.question.field.clone(), one.points())).collect()
    }

    /// Scores answers in tiers. `answer` finds the answer to the question with this field.
    pub fn tiered(&self, answer: impl Fn(&str) -> Option<Answer>) -> TieredScore {
        let breakdown = self.breakdown(answer);
        let total = breakdown.values().sum();
        TieredScore { total, tier: self.tier(total), breakdown, rules: self.version.clone() }
    }

    /// The tier of a total; the lowest where the score has none.
    pub fn tier(&self, total: u8) -> Tier {
        match self.tiers {
            Some(tiers) if total >= tiers.high => Tier::High,
            Some(tiers) if total >= tiers.medium => Tier::Medium,
            Some(_) | None => Tier::Low,
        }
    }

    /// Whether a total falls into tiers.
    pub const fn has_tiers(&self) -> bool {
        self.tiers.is_some()
    }
}

impl Explained<'_> {
    /// The points of the answer.
    pub fn points(&self) -> u8 {
        self.band.map_or(0, |band| band.points)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::{Value, json};

    use super::*;

    /// A change of rules.
    type Change<'c> = &'c dyn Fn(&mut Value);

    fn changed(score: &Score, change: Change<'_>) -> Result<Rules, RulesError> {
        let mut rules: Value = serde_json::from_str(score.default).unwrap();
        change(&mut rules);
        score.parse(&rules.to_string())
    }

    #[test]
    fn the_built_in_rules_fulfil_everything() {
        for score in ALL {
            let rules = score.built_in().unwrap();
            assert!(rules.version.starts_with(score.name), "{}", rules.version);
        }
    }

    #[test]
    fn rules_that_do_not_add_up_are_refused_with_what_to_do() {
        let bands = |points: &[u8]| {
            let bands = points.iter().enumerate();
            let bands =
                bands.map(|(at, points)| json!({"points": points, "options": [format!("o{at}")]}));
            Value::Array(bands.collect())
        };
        let first = |field: &str, value: Value| {
            let field = field.to_owned();
            move |rules: &mut Value| rules["questions"][0][&field] = value.clone()
        };
        let cases: [(&str, Change<'_>); 15] = [
            ("add up to 90 points", &first("bands", bands(&[10]))),
            ("from most to fewest", &first("bands", bands(&[20, 20]))),
            ("a band needs options", &first("bands", json!([{"points": 20}]))),
            (
                "more than one band",
                &first(
                    "bands",
                    json!([
                        {"points": 20, "options": ["Serviços"]}, {"points": 10, "options": ["servicos"]},
                    ]),
                ),
            ),
            (
                "highest atLeast",
                &first(
                    "bands",
                    json!([{"points": 20, "atLeast": 5}, {"points": 10, "atLeast": 9}]),
                ),
            ),
            ("remove takes", &first("takes", json!("option"))),
            ("more than one question", &first("field", json!("monthlyRevenue"))),
            ("does not ask shoeSize", &first("field", json!("shoeSize"))),
            ("name of each question", &first("field", json!(""))),
            ("version must be", &|rules| rules["version"] = json!("a b")),
            ("tiers is missing", &|rules| rules["tiers"] = Value::Null),
            ("below high", &|rules| rules["tiers"]["medium"] = json!(80)),
            ("1 to 50 questions", &|rules| rules["questions"] = json!([])),
            ("no such JSON", &|rules| rules["weights"] = json!({})),
            ("no such JSON", &|rules| rules["questions"][0]["bands"][0]["points"] = json!(256)),
        ];
        for (says, change) in cases {
            let error = changed(&AMANDA, &|rules| change(rules));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
        let error =
            changed(&READINESS, &|rules| rules["tiers"] = json!({"high": 80, "medium": 50}));
        assert!(error.unwrap_err().to_string().contains("no tiers"));
        let error =
            changed(&READINESS, &|rules| rules["questions"][0]["takes"]["number"] = json!([1, 5]));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("commitment: ") && error.contains("do not fit"), "{error}");
    }

    #[test]
    fn options_are_compared_without_case_and_accents() {
        let rules = changed(&AMANDA, &|rules| {
            rules["questions"][0]["bands"] = json!([{"points": 20, "options": [" Saúde "]}]);
        });
        let rules = rules.unwrap();
        let answer = Answer::Text("SAUDE".to_owned());
        let explained = rules.explain(|field| (field == "businessType").then(|| answer.clone()));
        assert_eq!(explained[0].points(), 20);
    }

    /// The rules as the tables in `docs/` show them.
    fn documented(rules: &Rules) -> String {
        let mut rows = format!("Rules version: `{}`\n\n", rules.version);
        rows.push_str("| question | points | options | or a number from |\n|---|---|---|---|\n");
        for question in rules.scored() {
            for band in &question.bands {
                let from = band.at_least.map_or_else(|| "-".to_owned(), |least| least.to_string());
                let options = if band.options.is_empty() { "-" } else { &band.options.join(", ") };
                let (field, points) = (&question.field, band.points);
                writeln!(rows, "| `{field}` | {points} | {options} | {from} |").unwrap();
            }
            writeln!(rows, "| `{}` | 0 | anything else | - |", question.field).unwrap();
        }
        rows
    }

    #[test]
    fn the_documents_show_the_built_in_rules() {
        for score in ALL {
            let path = format!("{}/../../docs/{}-score.md", env!("CARGO_MANIFEST_DIR"), score.name);
            let document = std::fs::read_to_string(&path).unwrap();
            let rows = documented(&score.built_in().unwrap());
            assert!(document.contains(&rows), "{path} should hold:\n\n{rows}");
        }
    }

    #[test]
    fn the_document_shows_what_each_question_takes() {
        let document = include_str!("../../../../docs/readiness-score.md");
        let mut questions = "| question | takes |\n|---|---|\n".to_owned();
        for question in &READINESS.built_in().unwrap().questions {
            let takes = match question.takes {
                Takes::Anything => "anything".to_owned(),
                Takes::Number(least, most) => format!("a whole number from {least} to {most}"),
                Takes::Option => question.options().collect::<Vec<_>>().join(", "),
                Takes::Text(most) => format!("text of at most {most} characters; not scored"),
            };
            writeln!(questions, "| `{}` | {takes} |", question.field).unwrap();
        }
        assert!(
            document.contains(&questions),
            "docs/readiness-score.md should hold:\n\n{questions}"
        );
    }
}
