//! What is kept of the replies of Diretrix and of the Work API: an allow-list, and nothing of health, race or family
//! (LGPD, art. 11), which the Work API sends along.
//!
//! Must not know why anybody is looked up.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::contact::Cpf;
use crate::delivery::exchange::Response;
use crate::delivery::{Outcome, Reason, judge};
use crate::pii::Text;
use crate::text::plain;

/// The names and values of what was found. Empty where nothing was.
pub(super) type Found = BTreeMap<String, String>;

/// The name of a CPF among what Diretrix found.
pub(super) const CPF: &str = "cpf";
/// The name under which it is kept how many people had the number or the e-mail, where nobody was chosen.
const CANDIDATES: &str = "candidates";
/// The longest value that is kept, in characters.
const VALUE_CHARS_MAX: usize = 120;
/// How many companies are kept.
const COMPANIES_MAX: usize = 5;

/// What is kept of the Work API's reply: our name, its label in a message, and where it stands.
pub(super) const ALLOWED: [(&str, &str, &str); 8] = [
    ("name", "Nome", "/DadosBasicos/nome"),
    ("birth_date", "Nascimento", "/DadosBasicos/dataNascimento"),
    ("income", "Renda", "/DadosEconomicos/renda"),
    ("purchasing_power", "Poder aquisitivo", "/DadosEconomicos/poderAquisitivo"),
    ("occupation", "Profissão", "/profissao"),
    ("city", "Cidade", "/enderecos/0/cidade"),
    ("state", "UF", "/enderecos/0/uf"),
    ("companies", "Empresas (CNPJ)", "/empresas"),
];

/// Reads who has a number or an e-mail, as Diretrix says it: `[{"nome", "cpf"}]`, and 400 or 404 for nobody. Of several
/// the only one with the lead's first name is meant, and nobody with another first name is: a family shares a phone.
pub(super) fn of_diretrix(response: &Response, name: Option<&Text>) -> Result<Found, Outcome> {
    match response.status {
        200..=299 => {}
        400 | 404 => return Ok(Found::new()),
        _ => return Err(judge(response)),
    }
    let body = response.json();
    let Some(people) = body.as_array() else { return Err(unexpected("no_list")) };
    let first = |text: &str| plain(text.split_whitespace().next().unwrap_or_default());
    let wanted = name.map(|name| first(name.expose())).filter(|name| !name.is_empty());
    let mut meant: Vec<Cpf> = Vec::new();
    for person in people {
        let is_meant = match (&wanted, person["nome"].as_str()) {
            (Some(wanted), Some(name)) => first(name) == *wanted,
            (None, _) | (_, None) => true,
        };
        let cpf = value(&person["cpf"]).and_then(|text| read_cpf(&text));
        if let Some(cpf) = cpf.filter(|cpf| is_meant && !meant.contains(cpf)) {
            meant.push(cpf);
        }
    }
    let mut found = Found::new();
    match meant.as_slice() {
        [cpf] => found.insert(CPF.to_owned(), cpf.as_str().to_owned()),
        [] if people.is_empty() => None,
        _ => found.insert(CANDIDATES.to_owned(), people.len().to_string()),
    };
    Ok(found)
}

/// Reads what is known of a CPF, as the Work API says it.
pub(super) fn of_work_api(response: &Response) -> Result<Found, Outcome> {
    match response.status {
        200..=299 => {}
        404 => return Ok(Found::new()),
        _ => return Err(judge(response)),
    }
    let body = response.json();
    if !body["DadosBasicos"].is_object() {
        // A failure, which it reports with status 200 in words that are not documented: `erro`, `status`, `reason`.
        return Err(unexpected("no_basic_data"));
    }
    let mut found = Found::new();
    for (name, _, pointer) in ALLOWED {
        let Some(at) = body.pointer(pointer) else { continue };
        let text = match at {
            Value::Array(companies) => {
                let numbers = companies.iter().filter_map(|company| value(&company["cnpj"]));
                Some(numbers.take(COMPANIES_MAX).collect::<Vec<_>>().join(", "))
            }
            Value::String(_) | Value::Number(_) => value(at),
            Value::Null | Value::Bool(_) | Value::Object(_) => None,
        };
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            found.insert(name.to_owned(), text);
        }
    }
    Ok(found)
}

/// A CPF that may have lost its leading zeros, as a number does.
fn read_cpf(text: &str) -> Option<Cpf> {
    let is_short = text.len() < 11 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_short { Cpf::parse(&format!("{text:0>11}")).ok() } else { Cpf::parse(text).ok() }
}

fn value(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(VALUE_CHARS_MAX).collect();
    Some(text).filter(|text| !text.is_empty())
}

fn unexpected(what: &'static str) -> Outcome {
    Outcome::Retry { reason: Reason::UnexpectedResponse(what), retry_after_s: None }
}
