//! `funil score`: explains a score for given answers, and checks the rules of one.
//!
//! The rules are those of `--rules`, else of the score's variable, else the built-in ones. Must not know what
//! any question means.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use funil_core::form::Locale;
use funil_core::form::consultation::ConsultationForm;
use funil_core::form::lead::LeadForm;
use funil_core::form::questionnaire::QuestionnaireForm;
use funil_core::score::Answer;
use funil_core::score::rules::{ALL, AMANDA, READINESS, Rules, Score};
use funil_core::settings::Env;
use jiff::Timestamp;
use serde_json::Value;

use super::Failure;

/// What to explain.
#[derive(Args, Debug)]
pub struct ScoreArguments {
    /// The score: amanda, readiness or consultation.
    name: String,
    /// Answers, as `<question>=<answer>`.
    answers: Vec<String>,
    /// A file with the body of the form, as JSON that its function takes.
    #[arg(long)]
    body: Option<PathBuf>,
    /// A file with rules. Without it those of the score's variable count, then the built-in ones.
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Print the rules in one line, for the variable, instead of explaining a score.
    #[arg(long)]
    one_line: bool,
}

/// Explains a score, or prints its rules in one line.
pub fn run(arguments: &ScoreArguments, env: &Env) -> Result<String, Failure> {
    let score = Score::find(&arguments.name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|score| score.name).collect();
        format!("There is no score {}; there are {}.", arguments.name, names.join(", "))
    })?;
    let text = match &arguments.rules {
        Some(file) => Some(read(file)?),
        None => env.get(score.variable).map(str::to_owned),
    };
    let rules = match &text {
        Some(text) => score.parse(text)?,
        None => score.built_in()?,
    };
    if arguments.one_line {
        let text = text.unwrap_or_else(|| score.file().to_owned());
        let tree: Value = serde_json::from_str(&text)?;
        return Ok(format!("{tree}\n"));
    }
    let mut answers = match &arguments.body {
        Some(file) => answers_of(score, &rules, &serde_json::from_str(&read(file)?)?)?,
        None => BTreeMap::new(),
    };
    for pair in &arguments.answers {
        let (question, answer) = pair
            .split_once('=')
            .ok_or_else(|| format!("Give an answer as <question>=<answer>, not {pair}."))?;
        let Some(known) = rules.question(question) else {
            let known: Vec<&str> = rules.questions.iter().map(|one| one.field.as_str()).collect();
            return Err(format!(
                "The rules have no question {question}; they have {}.",
                known.join(", ")
            )
            .into());
        };
        if !known.takes_answer(answer) {
            return Err(format!("The form refuses {answer} as an answer to {question}.").into());
        }
        answers.insert(question.to_owned(), Answer::Text(answer.to_owned()));
    }
    Ok(explained(&rules, &answers))
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()).into())
}

/// The answers in the body of a form, as its function reads them. A date that has passed counts too.
fn answers_of(
    score: &Score,
    rules: &Rules,
    body: &Value,
) -> Result<BTreeMap<String, Answer>, Failure> {
    let fields = rules.questions.iter().map(|question| question.field.as_str());
    let with = |answer: &dyn Fn(&str) -> Option<Answer>| {
        fields.filter_map(|field| Some((field.to_owned(), answer(field)?))).collect()
    };
    let read = if score.name == AMANDA.name {
        LeadForm::parse(body).map(|form| {
            let answers = form.answers();
            with(&|field| answers.to(field).cloned())
        })
    } else if score.name == READINESS.name {
        QuestionnaireForm::parse(body, rules).map(|form| with(&|field| form.answer(field).cloned()))
    } else {
        let at = Timestamp::UNIX_EPOCH;
        ConsultationForm::parse(body, at).map(|form| with(&|field| form.answer(field)))
    };
    read.map_err(|errors| {
        let said = errors.0.iter();
        let said = said.map(|one| format!("{}: {}", one.field, one.fault.message(Locale::En)));
        let said: Vec<String> = said.collect();
        format!("The form's function refuses this body. {}", said.join(" ")).into()
    })
}

fn explained(rules: &Rules, answers: &BTreeMap<String, Answer>) -> String {
    let mut text = format!("rules {}\n", rules.version);
    let mut total = 0;
    for one in rules.explain(|field| answers.get(field).cloned()) {
        let question = one.question;
        let (points, most) = (one.points(), question.points_max());
        total += points;
        let answer = answers.get(&question.field).map(Answer::text);
        let why = match (&answer, one.band) {
            (None, _) => "no answer".to_owned(),
            (Some(answer), None) => format!("{answer:?} is in no band"),
            (Some(answer), Some(band)) => {
                let mut of = band.options.clone();
                of.extend(band.at_least.map(|least| format!("{least} or more")));
                format!("{answer:?} is one of: {}", of.join(", "))
            }
        };
        writeln!(text, "  {:<20} {points:>3} of {most:<3}  {why}", question.field)
            .expect("writing to a String cannot fail");
    }
    let tier = if rules.has_tiers() { rules.tier(total).name() } else { "" };
    let end = format!("  {:<20} {total:>3} of 100  {tier}", "total");
    text + end.trim_end() + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(words: &[&str], env: &[(&str, &str)]) -> Result<String, String> {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            score: ScoreArguments,
        }
        let words = ["score"].into_iter().chain(words.iter().copied());
        let cli = <Cli as clap::Parser>::try_parse_from(words).unwrap();
        let env: Env = env.iter().copied().collect();
        super::run(&cli.score, &env).map_err(|error| error.to_string())
    }

    #[test]
    fn each_question_shows_its_answer_and_why_it_got_its_points() {
        let shown = run(&["amanda", "businessType=Saúde", "monthlyRevenue=15000"], &[]).unwrap();
        assert_eq!(
            shown,
            "rules amanda-2026-11\n  \
             businessType          20 of 20   \"Saúde\" is one of: servicos, consultoria, saude, educacao, mentoria\n  \
             monthlyRevenue        18 of 35   \"15000\" is one of: 10000-30000, 10000 or more\n  \
             workHoursDaily         0 of 25   no answer\n  \
             mainStruggle           0 of 20   no answer\n  \
             total                 38 of 100  low\n"
        );
    }

    #[test]
    fn a_file_or_the_variable_replaces_the_rules_and_wrong_ones_are_explained() {
        let one_line = run(&["readiness", "--one-line"], &[]).unwrap();
        assert_eq!(one_line.lines().count(), 1);
        let other = one_line.replace("readiness-2026-11", "ours-2027-01");
        let shown = run(&["readiness", "commitment=9"], &[("READINESS_RULES", &other)]).unwrap();
        assert!(shown.starts_with("rules ours-2027-01\n"), "{shown}");
        assert!(shown.contains("total                 30 of 100\n"), "{shown}");
        let wrong = one_line.replace("\"points\":30", "\"points\":40");
        let error = run(&["readiness"], &[("READINESS_RULES", &wrong)]).unwrap_err();
        assert!(error.contains("add up to 110"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let (rules, body) = (folder.path().join("rules.json"), folder.path().join("body.json"));
        std::fs::write(&rules, &other).unwrap();
        let lead = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
        let form = |commitment: i64| json!({"leadId": lead, "email": "ana@example.com", "responses": {"commitment": commitment}});
        std::fs::write(&body, form(7).to_string()).unwrap();
        let (rules, body) = (rules.to_str().unwrap(), body.to_str().unwrap());
        let shown = run(&["readiness", "--rules", rules, "--body", body], &[]).unwrap();
        assert!(shown.starts_with("rules ours") && shown.contains("22 of 30"), "{shown}");
        std::fs::write(body, form(99).to_string()).unwrap();
        let error = run(&["readiness", "--body", body], &[]).unwrap_err();
        assert!(error.contains("responses.commitment: "), "{error}");
    }

    #[test]
    fn a_body_is_read_as_its_function_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let body = folder.path().join("body.json");
        let form = json!({"data": {
            "name": "Ana", "email": "ana@example.com", "phone": "11987654321",
            "service": "mentoria-individual", "preferred_dates": "2026-12-01, 2026-12-02",
        }});
        std::fs::write(&body, form.to_string()).unwrap();
        let shown = run(&["consultation", "--body", body.to_str().unwrap()], &[]).unwrap();
        assert!(
            shown.contains("preferred_dates       10 of 15   \"2\" is one of: 2 or more"),
            "{shown}"
        );
        assert!(
            shown.contains("phone                  5 of 5    \"given\" is one of: given"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (words, says) in [
            (
                &["height"][..],
                "There is no score height; there are amanda, readiness, consultation",
            ),
            (&["amanda", "height=1"], "no question height; they have businessType"),
            (&["amanda", "tempo"], "as <question>=<answer>"),
            (&["readiness", "commitment=99"], "refuses 99 as an answer to commitment"),
            (&["amanda", "--rules", "/nowhere.json"], "/nowhere.json cannot be read"),
        ] {
            let error = run(words, &[]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
