//! The simulated Contact2Sale (`/integration`), and beside it Diretrix (`/diretrix`) and the Work API (`/work-api`).
//! All three get the requests of one chain, so one behaviour is set for all of them.
//!
//! Owns the messages and the subscriptions, whom the sources know, and how often each paid source was asked. They know
//! only the people whom they were given, and Diretrix knows no number that ends in `0`, so that each case can be seen
//! by hand. See `docs/providers.md` ("Contact2Sale"). This module must not know HTTP, nor how a response is withheld.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Providers;
use super::exchange::{ProviderRequest, ProviderResponse};
use super::journal::Entry;

/// The actions that can be subscribed to.
const ACTIONS: [&str; 3] = ["on_create_lead", "on_update_lead", "on_close_lead"];

/// The state of the account.
#[derive(Debug, Default)]
pub(super) struct C2s {
    messages: Vec<C2sMessage>,
    /// The addresses that are notified of each action.
    hooks: Vec<(String, String)>,
    people: Vec<Person>,
    /// How often each person was looked up, by source and what was asked.
    lookups: BTreeMap<String, usize>,
}

/// Somebody whom Diretrix and the Work API know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// Their number, of which the last ten digits count.
    #[serde(default)]
    pub phone: String,
    /// Their e-mail.
    #[serde(default)]
    pub email: String,
    /// Their CPF, of eleven digits. Without it they get one that depends on the rest.
    #[serde(default)]
    pub cpf: String,
}

impl Person {
    fn has(&self, by: &str, whose: &str) -> bool {
        match by {
            "Email" => self.email.eq_ignore_ascii_case(whose),
            _ => {
                !whose.ends_with('0')
                    && !self.phone.is_empty()
                    && last_ten(&self.phone) == last_ten(whose)
            }
        }
    }
}

/// A message at a lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct C2sMessage {
    /// Contact2Sale's id of the lead.
    pub lead: String,
    /// What it says.
    pub text: String,
}

impl C2s {
    pub(super) fn response(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let path = request.path();
        match (request.method(), path.as_slice()) {
            ("GET", ["diretrix", "Consultas", "Pessoa", by @ ("Telefone" | "Email"), whose]) => {
                self.diretrix(request, by, whose)
            }
            ("GET", ["work-api"]) => self.work_api(request),
            // No provider has this: a trial gives the sources its people.
            ("POST", ["people"]) => match serde_json::from_value(request.received.body.clone()) {
                Ok(person) => {
                    self.know(person);
                    ProviderResponse::json(200, json!({}), "knows a person")
                }
                Err(_) => refused(422, "a person is name, phone, email and cpf"),
            },
            (_, path) => {
                let path = path.strip_prefix(&["integration"]).unwrap_or(path);
                self.contact2sale(request, path)
            }
        }
    }

    fn contact2sale(&mut self, request: &ProviderRequest<'_>, path: &[&str]) -> ProviderResponse {
        let token = request.received.header("authentication");
        if !request.has_bearer() && token.is_none_or(|token| !token.starts_with("Bearer ")) {
            return refused(401, "invalid token");
        }
        match (request.method(), path) {
            ("GET", ["me"]) => {
                let me =
                    json!({"data": {"type": "user", "id": "1", "attributes": {"name": "Conta"}}});
                ProviderResponse::json(200, me, "the account")
            }
            ("POST", ["leads", "subscribe"]) => {
                let (Some(url), Some(action)) =
                    (request.text("hook_url"), request.text("hook_action"))
                else {
                    return refused(422, "hook_url or hook_action is missing");
                };
                if !ACTIONS.contains(&action) {
                    return refused(422, "hook_action not found");
                }
                let hook = (action.to_owned(), url.to_owned());
                if !self.hooks.contains(&hook) {
                    self.hooks.push(hook);
                }
                let body = json!({"success": true, "message": "Subscribed successfully"});
                ProviderResponse::json(200, body, format!("subscribed to {action}"))
            }
            ("POST", ["leads", lead, "create_message"]) => {
                let Some(text) = request.text("message") else {
                    return refused(422, "message is missing");
                };
                self.messages.push(C2sMessage { lead: (*lead).to_owned(), text: text.to_owned() });
                let note = format!("a message at the lead {lead}");
                ProviderResponse::json(201, json!({"success": true}), note)
            }
            _ => refused(404, "not found"),
        }
    }

    fn diretrix(
        &mut self,
        request: &ProviderRequest<'_>,
        by: &str,
        whose: &str,
    ) -> ProviderResponse {
        let header = request.received.header("authorization");
        if header.is_none_or(|header| !header.starts_with("Basic ")) {
            return ProviderResponse::refusal(401, "unauthorized");
        }
        self.count(&format!("{by} {whose}"));
        let people: Vec<Value> = self
            .people
            .iter()
            .filter(|person| person.has(by, whose))
            .map(|person| json!({"nome": person.name, "cpf": person.cpf}))
            .collect();
        if people.is_empty() {
            return ProviderResponse::refusal(404, "not found");
        }
        let note = format!("found {} by {by}", people.len());
        ProviderResponse::json(200, json!(people), note)
    }

    fn work_api(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let parameter = |name: &str| request.received.query.get(name).map(String::as_str);
        if parameter("token").is_none_or(str::is_empty) {
            return ProviderResponse::refusal(401, "token invalido");
        }
        let (Some("cpf"), Some(cpf)) = (parameter("modulo"), parameter("consulta")) else {
            let failure = json!({"status": "erro", "reason": "modulo desconhecido"});
            return ProviderResponse::json(200, failure, "refused: the module is not known");
        };
        self.count(&format!("cpf {cpf}"));
        let Some(person) = self.people.iter().find(|person| person.cpf == *cpf) else {
            let unknown = json!({"status": "erro", "reason": "CPF não encontrado"});
            return ProviderResponse::json(200, unknown, "does not know the CPF");
        };
        ProviderResponse::json(200, known_of(person), "found what is known of a CPF")
    }

    /// Makes a person known. False if they were before.
    pub(super) fn know(&mut self, mut person: Person) -> bool {
        if person.cpf.is_empty() {
            person.cpf = cpf_of(&format!("{}{}{}", person.name, person.email, person.phone));
        }
        let is_new = !self.people.contains(&person);
        if is_new {
            self.people.push(person);
        }
        is_new
    }

    fn count(&mut self, asked: &str) {
        *self.lookups.entry(asked.to_owned()).or_default() += 1;
    }
}

/// The end of a number, which is the same with and without its country's code.
fn last_ten(phone: &str) -> String {
    let digits: Vec<char> = phone.chars().filter(char::is_ascii_digit).collect();
    digits[digits.len().saturating_sub(10)..].iter().collect()
}

/// What the Work API knows of a person, with what must not be kept.
fn known_of(person: &Person) -> Value {
    json!({
        "status": 200, "foto": "simulated-photo",
        "DadosBasicos": {"nome": person.name.to_uppercase(), "cpf": person.cpf, "dataNascimento": "01/02/1980",
            "sexo": "F", "cor": "simulated-race", "nomeMae": "simulated-mother"},
        "DadosEconomicos": {"renda": "8500.00", "poderAquisitivo": "ALTO", "score": 700},
        "profissao": "Consultora",
        "empresas": [{"cnpj": "11222333000181"}],
        "enderecos": [{"logradouro": "simulated-street", "cidade": "São Paulo", "uf": "SP"}],
        "telefones": [{"telefone": "11999990000"}],
        "parentes": [{"nome": "simulated-relative"}],
        "imunoBiologicos": [{"nome": "simulated-vaccine"}],
    })
}

/// A CPF with right check digits that is always the same for the same text.
fn cpf_of(whose: &str) -> String {
    let sum = whose.bytes().fold(7_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 899_999_999);
    let mut digits: Vec<u64> = format!("{:09}", 100_000_001 + sum % 899_999_998)
        .bytes()
        .map(|b| u64::from(b - b'0'))
        .collect();
    for _ in 0..2 {
        let weights = 2_u64..;
        let sum: u64 = digits.iter().rev().zip(weights).map(|(digit, weight)| digit * weight).sum();
        digits.push(if sum % 11 < 2 { 0 } else { 11 - sum % 11 });
    }
    digits.iter().map(u64::to_string).collect()
}

/// A refusal as Contact2Sale writes it.
fn refused(status: u16, message: &str) -> ProviderResponse {
    let body = json!({"success": false, "msg": message});
    ProviderResponse::json(status, body, format!("refused: {message}"))
}

impl Providers {
    /// Makes Diretrix and the Work API know a person.
    pub fn know_person(&self, person: Person) {
        let mut world = self.shared.lock();
        if world.c2s.know(person.clone()) {
            world.log(&Entry::Person { person });
        }
    }

    /// The messages at Contact2Sale's leads, in order.
    pub fn c2s_messages(&self) -> Vec<C2sMessage> {
        self.read(|world| world.c2s.messages.clone())
    }

    /// The actions that Contact2Sale reports, with the addresses that it reports them to.
    pub fn c2s_hooks(&self) -> Vec<(String, String)> {
        self.read(|world| world.c2s.hooks.clone())
    }

    /// How often each paid source was asked for the same.
    pub fn c2s_lookups(&self) -> BTreeMap<String, usize> {
        self.read(|world| world.c2s.lookups.clone())
    }
}
