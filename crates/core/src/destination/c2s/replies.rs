//! What is kept of the replies of Diretrix and of the Work API: an allow-list, and nothing of health, race or family
//! (LGPD, art. 11), which the Work API sends along; and nothing of anybody who has not the lead's first name.
//!
//! Must not know why anybody is looked up.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::contact::Cpf;
use crate::delivery::exchange::Response;
use crate::delivery::{Outcome, Reason, judge};
use crate::pii::Text;
use crate::text::plain;

/// What a source knows, by our names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It knows the person.
    Somebody(BTreeMap<String, String>),
    /// It knows nobody with the lead's first name, or more than one person.
    Nobody(BTreeMap<String, String>),
}

/// What an object of the Work API without basic data counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It counts as a failure, so the delivery is tried again.
    TriedAgain,
    /// It means that the Work API does not know the CPF.
    Nobody,
}

/// The name of a CPF among what Diretrix found.
pub(super) const CPF: &str = "cpf";
/// The name under which the Work API's name is kept.
pub(super) const NAME: &str = "name";
/// The name under which it is kept that the CPF belongs to a person of another name.
pub(super) const OTHER_PERSON: &str = "other_person";
/// The name under which it is kept how many people matched, where none of them was chosen.
const CANDIDATES: &str = "candidates";
/// The longest value that is kept, in characters.
const VALUE_CHARS_MAX: usize = 120;
/// How many companies are kept.
const COMPANIES_MAX: usize = 5;

/// What is kept of the Work API's reply: our name, its label in a message, and where it stands.
pub(super) const ALLOWED: [(&str, &str, &str); 8] = [
    (NAME, "Nome", "/DadosBasicos/nome"),
    ("birth_date", "Nascimento", "/DadosBasicos/dataNascimento"),
    ("income", "Renda", "/DadosEconomicos/renda"),
    ("purchasing_power", "Poder aquisitivo", "/DadosEconomicos/poderAquisitivo"),
    ("occupation", "Profissão", "/profissao"),
    ("city", "Cidade", "/enderecos/0/cidade"),
    ("state", "UF", "/enderecos/0/uf"),
    ("companies", "Empresas (CNPJ)", "/empresas"),
];

/// Reads Diretrix's response: a list of the people with this number or e-mail (`[{"nome", "cpf"}]`), or 400 or 404 if
/// there is nobody. Family members share phones, so only a person with the lead's first name counts, and only if there
/// is exactly one.
pub(super) fn of_diretrix(response: &Response, name: &Text) -> Result<Found, Outcome> {
    match response.status {
        200..=299 => {}
        400 | 404 => return Ok(nobody([])),
        _ => return Err(judge(response)),
    }
    let body = response.json();
    let Some(people) = body.as_array() else { return Err(unexpected("no_list")) };
    let mut meant: Vec<Cpf> = Vec::new();
    for person in people.iter().filter(|person| is_meant(&person["nome"], name)) {
        let cpf = value(&person["cpf"]).and_then(|text| read_cpf(&text));
        meant.extend(cpf.filter(|cpf| !meant.contains(cpf)));
    }
    Ok(match meant.as_slice() {
        [cpf] => Found::Somebody([(CPF.to_owned(), cpf.as_str().to_owned())].into()),
        [] if people.is_empty() => nobody([]),
        _ => nobody([(CANDIDATES, people.len().to_string())]),
    })
}

/// Reads what the Work API knows of a CPF. The API responds 200 both when it fails and when it does not know the CPF,
/// with undocumented text in `erro`, `status` or `reason`. `unread` decides what a response without basic data counts
/// as.
pub(super) fn of_work_api(
    response: &Response,
    name: &Text,
    unread: Unread,
) -> Result<Found, Outcome> {
    match response.status {
        200..=299 => {}
        404 => return Ok(nobody([])),
        _ => return Err(judge(response)),
    }
    let body = response.json();
    if !body.is_object() {
        return Err(unexpected("no_object"));
    }
    if !body["DadosBasicos"].is_object() {
        return match unread {
            Unread::TriedAgain => Err(unexpected("no_basic_data")),
            Unread::Nobody => Ok(nobody([])),
        };
    }
    if !is_meant(&body["DadosBasicos"]["nome"], name) {
        return Ok(nobody([(OTHER_PERSON, "yes".to_owned())]));
    }
    let mut found = BTreeMap::new();
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
    Ok(Found::Somebody(found))
}

/// Whether somebody of this name may be the lead: the first names are the same but for accents and case.
fn is_meant(found: &Value, lead: &Text) -> bool {
    let lead = first_name(lead.expose());
    !lead.is_empty() && found.as_str().is_some_and(|found| first_name(found) == lead)
}

/// A first name without accents and case.
pub(super) fn first_name(text: &str) -> String {
    plain(text.split_whitespace().next().unwrap_or_default())
}

fn nobody<const N: usize>(fields: [(&str, String); N]) -> Found {
    Found::Nobody(fields.map(|(name, value)| (name.to_owned(), value)).into())
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
