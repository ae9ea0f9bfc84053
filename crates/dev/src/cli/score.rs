//! `funil score`: explains a score for given answers, and checks the rules of one.
//!
//! The rules are those of `--rules`, else of the score's variable, else the built-in ones. Must not know what
//! any question means.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use funil_core::score::Answer;
use funil_core::score::rules::{ALL, Rules, Score};
use funil_core::settings::Env;
use serde_json::Value;

use super::Failure;

/// What to explain.
#[derive(Args, Debug)]
pub struct ScoreArguments {
    /// The score: amanda, readiness or consultation.
    name: String,
    /// Answers, as <question>=<answer>.
    answers: Vec<String>,
    /// A file with the body of the form, as JSON: its fields, or those of its `responses` or `data`, are
    /// the answers.
    #[arg(long)]
    body: Option<PathBuf>,
    /// A file with rules. Without it the score's variable counts counts, then the built-in rules.
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
        Some(file) => answers_of(&serde_json::from_str(&read(file)?)?),
        None => BTreeMap::new(),
    };
    for pair in &arguments.answers {
        let (question, answer) = pair
            .split_once('=')
            .ok_or_else(|| format!("Give an answer as <question>=<answer>, not {pair}."))?;
        if rules.question(question).is_none() {
            let known: Vec<&str> = rules.questions.iter().map(|one| one.field.as_str()).collect();
            return Err(format!(
                "The rules have no question {question}; they have {}.",
                known.join(", ")
            )
            .into());
        }
        answers.insert(question.to_owned(), Answer::Text(answer.to_owned()));
    }
    Ok(explained(&rules, &answers))
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()).into())
}

/// The answers in the body of a form: its own fields, and those of the objects that forms put answers into.
fn answers_of(body: &Value) -> BTreeMap<String, Answer> {
    let nested = ["responses", "data"].into_iter().filter_map(|name| body.get(name));
    let objects = [body].into_iter().chain(nested).filter_map(Value::as_object);
    let answers = objects.flatten().filter_map(|(name, value)| {
        let answer = match value {
            Value::Number(number) => Answer::Number(number.as_i64()?),
            Value::String(text) => Answer::Text(text.clone()),
            Value::Array(list) => Answer::Number(i64::try_from(list.len()).ok()?),
            Value::Null | Value::Bool(_) | Value::Object(_) => return None,
        };
        Some((name.clone(), answer))
    });
    answers.collect()
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
        std::fs::write(&body, r#"{"leadId": "x", "responses": {"commitment": 7}}"#).unwrap();
        let (rules, body) = (rules.to_str().unwrap(), body.to_str().unwrap());
        let shown = run(&["readiness", "--rules", rules, "--body", body], &[]).unwrap();
        assert!(shown.starts_with("rules ours") && shown.contains("22 of 30"), "{shown}");
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
            (&["amanda", "--rules", "/nowhere.json"], "/nowhere.json cannot be read"),
        ] {
            let error = run(words, &[]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
