//! What about a form's request looks like spam, and what quarantines it (`docs/spam.md`).
//!
//! Owns the honeypot, the names of the fields that a page sends for this, and the heuristics about texts. A sign
//! alone refuses nobody. Must not know any form, nor who checks a token.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::settings::Secret;
use crate::text::plain;

/// With so many signs together a submission is quarantined.
pub const SIGNS_CAUGHT: usize = 3;
/// A form that was filled in less time than this, in milliseconds, was hardly read.
const TOO_FAST_MS: i64 = 3_000;
/// So many links in what a person typed are a sign.
const LINKS: usize = 3;
/// So many of one character in a row are a sign.
const RUN: usize = 12;
/// Of so many words no one may be more than half.
const WORDS: usize = 10;
/// The longest token that is checked, in characters: Turnstile's own limit.
const TOKEN_CHARS_MAX: usize = 2048;

/// Whether the honeypot was filled in: the field `website`, which the page hides from people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honeypot {
    /// The field is empty or absent, as a person leaves it.
    Empty,
    /// The field is filled in, most likely by a robot.
    Filled,
}

/// Something about a form's request that a person's browser does not usually do. None of them refuses
/// a form by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpamSign {
    /// A plain HTML form was posted from a page of another site.
    ForeignOrigin,
    /// It was filled in less than three seconds.
    TooFast,
    /// It has many links, or one where a name belongs.
    Links,
    /// It says the same again and again, or others said the same today.
    Repetition,
    /// It has no token, though the site asks for one.
    NoToken,
    /// It has a token, and the service that checks it did not respond.
    TokenUnchecked,
}

impl SpamSign {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ForeignOrigin,
        Self::TooFast,
        Self::Links,
        Self::Repetition,
        Self::NoToken,
        Self::TokenUnchecked,
    ];

    /// The name in the table, in the journey and in the CRM.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForeignOrigin => "foreign_origin",
            Self::TooFast => "too_fast",
            Self::Links => "links",
            Self::Repetition => "repetition",
            Self::NoToken => "no_token",
            Self::TokenUnchecked => "token_unchecked",
        }
    }
}

/// What became of the token of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The site asks for none.
    NotAsked,
    /// The form has none.
    Missing,
    /// Turnstile accepted it.
    Valid,
    /// Turnstile rejected it.
    Rejected,
    /// The service that checks it did not respond.
    Unchecked,
}

/// Why a submission is quarantined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caught {
    /// The honeypot was filled.
    Honeypot,
    /// The token was rejected.
    Token,
    /// Three signs or more came together.
    Signs(Vec<SpamSign>),
}

impl Caught {
    /// What quarantines a submission, if anything does.
    pub fn of(honeypot: Honeypot, token: Token, signs: &[SpamSign]) -> Option<Self> {
        match (honeypot, token) {
            (Honeypot::Filled, _) => Some(Self::Honeypot),
            (Honeypot::Empty, Token::Rejected) => Some(Self::Token),
            (Honeypot::Empty, _) if signs.len() >= SIGNS_CAUGHT => {
                Some(Self::Signs(signs.to_vec()))
            }
            (Honeypot::Empty, _) => None,
        }
    }

    /// The reason in the quarantine: `honeypot`, `token_rejected`, or the names of the signs.
    pub fn reason(&self) -> String {
        match self {
            Self::Honeypot => "honeypot".to_owned(),
            Self::Token => "token_rejected".to_owned(),
            Self::Signs(signs) => {
                let names: Vec<&str> = signs.iter().map(|sign| sign.name()).collect();
                format!("signs {}", names.join(" "))
            }
        }
    }
}

/// What a form's body has for this.
#[derive(Clone, Debug)]
pub struct SpamFields {
    /// The honeypot.
    pub honeypot: Honeypot,
    /// The token of Turnstile's widget.
    pub token: Option<Secret>,
    /// The signs in the body itself.
    pub signs: Vec<SpamSign>,
}

impl SpamFields {
    /// Reads a body, and its object `data`. What cannot be read counts as absent.
    pub fn of(body: &Value) -> Self {
        let parts: Vec<&Value> = [Some(body), body.get("data")].into_iter().flatten().collect();
        let said = |names: &[&str]| {
            let values = parts.iter().flat_map(|part| names.iter().map(|name| part.get(*name)));
            values.flatten().find(|value| !value.is_null())
        };
        let is_filled = |part: &&Value| match part.get("website") {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !text.trim().is_empty(),
            Some(_) => true,
        };
        let filled = parts.iter().any(is_filled);
        let token = said(&["cf-turnstile-response", "turnstile_token", "turnstileToken"]);
        let token = token.and_then(Value::as_str).map(str::trim);
        let token = token.filter(|token| !token.is_empty() && token.len() <= TOKEN_CHARS_MAX);
        let elapsed_ms = match said(&["elapsed_ms", "elapsedMs"]) {
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
        };
        let mut signs = Vec::new();
        if elapsed_ms.is_some_and(|ms| (0..TOO_FAST_MS).contains(&ms)) {
            signs.push(SpamSign::TooFast);
        }
        let typed = typed(body);
        let links: usize = typed.iter().map(|(_, text)| links(text)).sum();
        if links >= LINKS || typed.iter().any(|(name, text)| *name == "name" && links_any(text)) {
            signs.push(SpamSign::Links);
        }
        if typed.iter().any(|(_, text)| repeats_itself(text)) {
            signs.push(SpamSign::Repetition);
        }
        Self {
            honeypot: if filled { Honeypot::Filled } else { Honeypot::Empty },
            token: token.map(Secret::new),
            signs,
        }
    }
}

/// The members that no person types, by how their names begin.
const NOT_TYPED: [&str; 18] = [
    "page",
    "referrer",
    "utm",
    "fb",
    "ga",
    "lead",
    "timestamp",
    "time_zone",
    "consent",
    "cf-",
    "turnstile",
    "elapsed",
    "website",
    "form_type",
    "source",
    "traffic",
    "policy",
    "marketing",
];

/// The texts that a person typed, by the names of their fields, whatever objects they are in.
fn typed(body: &Value) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut open = vec![("", body)];
    while let Some((name, value)) = open.pop() {
        match value {
            Value::String(text) => found.push((name, text.as_str())),
            Value::Array(items) => open.extend(items.iter().map(|item| (name, item))),
            Value::Object(members) => open.extend(members.iter().filter_map(|(name, value)| {
                let is_typed = !NOT_TYPED.iter().any(|start| name.starts_with(start));
                is_typed.then_some((name.as_str(), value))
            })),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    found
}

/// How many links a text has.
fn links(text: &str) -> usize {
    let text = text.to_lowercase();
    let with_scheme = text.matches("://").count();
    let bare = text.matches("www.").count() - text.matches("://www.").count();
    with_scheme + bare + text.matches("[url").count()
}

fn links_any(text: &str) -> bool {
    links(text) > 0
}

/// Whether a text is little but one character or one word.
fn repeats_itself(text: &str) -> bool {
    let mut run = 0;
    let mut last = None;
    for c in text.chars() {
        run = if last == Some(c) { run + 1 } else { 1 };
        last = Some(c);
        if run >= RUN && !c.is_whitespace() && !matches!(c, '-' | '_' | '=' | '.' | '*') {
            return true;
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut words = 0;
    for word in text.split_whitespace() {
        *counts.entry(word).or_default() += 1;
        words += 1;
    }
    words >= WORDS && counts.values().any(|count| count * 2 > words)
}

/// A text as it is compared with what others wrote: without case, accents, digits and punctuation. `None` where too
/// little is left to tell it from others.
pub fn compared(text: &str) -> Option<String> {
    let words = plain(text);
    let words: String = words.chars().map(|c| if c.is_alphabetic() { c } else { ' ' }).collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    (words.len() >= 8).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_honeypot_is_filled_unless_it_is_blank_or_absent() {
        for (body, expected) in [
            (json!({}), Honeypot::Empty),
            (json!({"website": " "}), Honeypot::Empty),
            (json!({"website": null}), Honeypot::Empty),
            (json!({"website": "http://spam.example"}), Honeypot::Filled),
            (json!({"website": 1}), Honeypot::Filled),
            (json!({"data": {"website": ""}}), Honeypot::Empty),
            (json!({"website": "", "data": {"website": "x"}}), Honeypot::Filled),
        ] {
            assert_eq!(SpamFields::of(&body).honeypot, expected, "{body}");
        }
    }

    #[test]
    fn each_sign_has_its_cause_and_what_people_write_has_none() {
        use SpamSign::{Links, Repetition, TooFast};

        let seo = "Rank first! http://a.example https://b.example www.c.example";
        for (body, expected) in [
            (
                json!({"message": "Olá, quanto custa? Meu site é https://www.exemplo.com.br"}),
                vec![],
            ),
            (json!({"message": "Não sei... =================== Obrigado!!!"}), vec![]),
            (json!({"message": seo}), vec![Links]),
            (json!({"data": {"message": seo}}), vec![Links]),
            (json!({"data": {"name": "Win www.spam.example"}}), vec![Links]),
            (json!({"message": "[url=x]a[/url] [URL=y]b[/URL] [url]c[/url]"}), vec![Links]),
            (json!({"page_url": seo, "utm_params": {"utm_term": seo}}), vec![]),
            (json!({"message": "aaaaaaaaaaaa"}), vec![Repetition]),
            (json!({"message": "buy buy buy buy buy buy now buy it buy"}), vec![Repetition]),
            (json!({"responses": {"mainGoal": "xxxxxxxxxxxxxxx"}}), vec![Repetition]),
            (json!({"elapsed_ms": 900}), vec![TooFast]),
            (json!({"data": {"elapsedMs": "2999"}}), vec![TooFast]),
            (json!({"elapsed_ms": 3000}), vec![]),
            (json!({"elapsed_ms": -1}), vec![]),
            (json!({"elapsed_ms": "soon"}), vec![]),
        ] {
            assert_eq!(SpamFields::of(&body).signs, expected, "{body}");
        }
    }

    #[test]
    fn three_signs_a_rejected_token_or_the_honeypot_quarantine_a_form() {
        use SpamSign::{Links, NoToken, TooFast};

        let of = |honeypot, token, signs: &[SpamSign]| {
            Caught::of(honeypot, token, signs).map(|caught| caught.reason())
        };
        let (empty, filled) = (Honeypot::Empty, Honeypot::Filled);
        assert_eq!(of(empty, Token::NotAsked, &[]), None);
        assert_eq!(of(empty, Token::Missing, &[NoToken, TooFast]), None);
        let reason = of(empty, Token::Missing, &[TooFast, Links, NoToken]);
        assert_eq!(reason.as_deref(), Some("signs too_fast links no_token"));
        assert_eq!(of(empty, Token::Rejected, &[]).as_deref(), Some("token_rejected"));
        assert_eq!(of(filled, Token::Valid, &[]).as_deref(), Some("honeypot"));
        assert_eq!(of(empty, Token::Unchecked, &[SpamSign::TokenUnchecked]), None);
    }

    #[test]
    fn a_text_is_compared_by_its_words() {
        let one = "Olá! Vi o seu site, e posso levá-lo ao topo do Google (10 dias).";
        let other = "ola vi o seu SITE e posso leva-lo ao topo do google 99 dias";
        assert_eq!(compared(one), compared(other));
        assert_eq!(compared("Quanto custa a mentoria?"), None, "too short to tell");
    }

    #[test]
    fn the_token_is_read_under_the_name_of_turnstiles_widget() {
        let token =
            |body: &Value| SpamFields::of(body).token.map(|token| token.expose().to_owned());
        assert_eq!(token(&json!({"cf-turnstile-response": " t0k3n "})).as_deref(), Some("t0k3n"));
        assert_eq!(token(&json!({"data": {"turnstile_token": "x"}})).as_deref(), Some("x"));
        for none in [json!({}), json!({"cf-turnstile-response": ""}), json!({"turnstile_token": 7})]
        {
            assert_eq!(token(&none), None, "{none}");
        }
        let long = json!({"turnstile_token": "t".repeat(2049)});
        assert_eq!(token(&long), None);
    }
}
