//! Tests of the whole chain: what is asked, what is kept, and how each response is judged.

use insta::assert_snapshot;
use serde_json::json;

use super::super::Known;
use super::super::samples::{adapter, converse, crm_lead, lead, response};
use super::*;
use crate::delivery::Delivery;
use crate::event::Event;
use crate::settings::Env;

const VARIABLES: [(&str, &str); 6] = [
    ("C2S_TOKEN", "t0ken"),
    ("DIRETRIX_BASE_URL", "https://diretrix.example"),
    ("DIRETRIX_USERNAME", "funil"),
    ("DIRETRIX_PASSWORD", "s3cret"),
    ("WORK_API_TOKEN", "w0rk"),
    ("ENRICHMENT_LEGAL_BASIS", "legitimate_interest"),
];

fn talk_with(
    more: &[(&str, &str)],
    event: &Event,
    kept: &mut Vec<KeptReply>,
    responses: &[Response],
) -> String {
    let variables: Vec<_> = VARIABLES.iter().chain(more).copied().collect();
    talk_by(&*adapter("c2s", &variables), event, kept, responses)
}

fn talk_by(
    adapter: &dyn Adapter,
    event: &Event,
    kept: &mut Vec<KeptReply>,
    responses: &[Response],
) -> String {
    talk_after(0, adapter, event, kept, responses)
}

/// What a delivery does after so many tries.
fn talk_after(
    attempts: u32,
    adapter: &dyn Adapter,
    event: &Event,
    kept: &mut Vec<KeptReply>,
    responses: &[Response],
) -> String {
    let mut delivery = Delivery::planned(event, "c2s", "enrichment");
    delivery.attempts = attempts;
    let lead = lead();
    let context = Context {
        lead: &lead,
        revocations: &[],
        event,
        bookings: &[],
        delivery: &delivery,
        slot: &ENRICHMENT,
        oldest: None,
        elder: None,
        known: Known::NotLately,
        kept: &[],
    };
    converse(adapter, context, kept, responses)
}

fn talk(event: &Event, kept: &mut Vec<KeptReply>, responses: &[Response]) -> String {
    talk_with(&[], event, kept, responses)
}

/// An event that brings no CPF.
fn without_cpf() -> Event {
    let mut event = crm_lead();
    let EventData::Deal(DealEvent::Lead(lead)) = &mut event.data else { unreachable!() };
    lead.cpf = None;
    event
}

fn work_api() -> Response {
    let body = json!({
        "status": 200, "foto": "x",
        "DadosBasicos": {"nome": "ANA EXEMPLO", "cpf": "52998224725", "dataNascimento": "01/02/1980",
            "sexo": "F", "cor": "BRANCA", "nomeMae": "MARIA EXEMPLO"},
        "DadosEconomicos": {"renda": 8500.5, "poderAquisitivo": "ALTO", "score": {"valor": 700}},
        "profissao": "Consultora", "empregos": [{"empresa": "X"}],
        "empresas": [{"cnpj": "11222333000181"}, {"cnpj": "22333444000181"}],
        "enderecos": [{"logradouro": "Rua A", "cidade": "São Paulo", "uf": "SP", "cep": "01310100"}],
        "telefones": [{"telefone": "11999990000"}], "parentes": [{"nome": "JOSE"}],
        "beneficios": [{"nome": "X"}], "imunoBiologicos": [{"nome": "VACINA"}],
    });
    response(200, &body)
}

fn taken_by_c2s() -> Response {
    response(201, &json!({"success": true}))
}

#[test]
fn the_whole_chain_keeps_each_reply_and_ends_in_a_message() {
    let nobody = response(404, &Value::Null);
    let by_email =
        response(200, &json!([{"nome": "ANA EXEMPLO DA SILVA", "cpf": "529.982.247-25"}]));
    let replies = [nobody, by_email, work_api(), taken_by_c2s()];
    let shown = talk(&without_cpf(), &mut Vec::new(), &replies);
    assert_snapshot!(shown);
    for forbidden in ["BRANCA", "MARIA", "VACINA", "JOSE", "Rua A", "999990000", "foto"] {
        assert!(!shown.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn a_cpf_that_came_along_is_not_looked_for() {
    assert_snapshot!(talk(&crm_lead(), &mut Vec::new(), &[work_api(), taken_by_c2s()]));
}

#[test]
fn a_retry_and_a_later_event_pay_for_nothing_again() {
    let mut kept = Vec::new();
    let by_phone = response(200, &json!([{"nome": "Ana", "cpf": "52998224725"}]));
    let failed = response(503, &Value::Null);
    let first = talk(&without_cpf(), &mut kept, &[by_phone, failed.clone()]);
    assert!(first.ends_with("=> retry http_503"), "{first}");
    let second = talk(&without_cpf(), &mut kept, &[work_api(), failed]);
    assert!(!second.contains("diretrix") && second.ends_with("=> retry http_503"), "{second}");
    let third = talk(&without_cpf(), &mut kept, &[taken_by_c2s()]);
    assert!(third.starts_with("POST") && third.ends_with("=> delivered"), "{third}");
    let mut later = without_cpf();
    later.id = serde_json::from_value(json!("c2s:a1b2c3:2")).unwrap();
    assert_eq!(talk(&later, &mut kept, &[]), "=> skipped message_of_another");
}

#[test]
fn nobody_found_is_an_outcome() {
    let nobody = || response(400, &Value::Null);
    let mut kept = Vec::new();
    let shown = talk(&without_cpf(), &mut kept, &[nobody(), response(200, &json!([]))]);
    assert!(shown.ends_with("=> skipped missing_cpf"), "{shown}");
    assert_eq!(talk(&without_cpf(), &mut kept, &[]), "=> skipped missing_cpf");
}

/// "Nobody" is paid for once a day: the same lookup is made again on the next day.
#[test]
fn that_nobody_is_found_counts_for_a_day() {
    let nobody = || response(404, &Value::Null);
    let mut kept = Vec::new();
    talk(&without_cpf(), &mut kept, &[nobody(), nobody()]);
    let mut later = without_cpf();
    later.accepted_at = "2026-11-22T09:00:00Z".parse().unwrap();
    let again = talk(&later, &mut kept, &[nobody(), nobody()]);
    assert!(again.contains("Telefone") && again.contains("Email"), "{again}");
}

#[test]
fn of_several_people_only_the_one_with_the_lead_s_first_name_is_meant() {
    let cpfs = ["52998224725", "11144477735"];
    let people = |names: &[&str]| {
        let people = names.iter().zip(cpfs).map(|(name, cpf)| json!({"nome": name, "cpf": cpf}));
        response(200, &Value::Array(people.collect()))
    };
    let found =
        |name: &str, names: &[&str]| match replies::of_diretrix(&people(names), &name.into())
            .unwrap()
        {
            Found::Somebody(found) => found["cpf"].clone(),
            Found::Nobody(found) => format!("{} people", found["candidates"]),
        };
    assert_eq!(found("Ana Exemplo", &["JOSÉ EXEMPLO", "ANA EXEMPLO"]), cpfs[1]);
    assert_eq!(found("josé", &["JOSE EXEMPLO", "ANA"]), cpfs[0]);
    assert_eq!(found("Ana", &["ANA A", "ANA B"]), "2 people");
    assert_eq!(found("Ana", &["MARIA"]), "1 people");
    assert_eq!(found("Ana", &[""]), "1 people");
    // Numbers lose their zeros.
    let short = response(200, &json!([{"nome": "Ana", "cpf": 1_234_567_890}]));
    let expected = Found::Somebody([("cpf".to_owned(), "01234567890".to_owned())].into());
    assert_eq!(replies::of_diretrix(&short, &"Ana".into()).unwrap(), expected);
}

/// A seller gets nothing of somebody else, whoever wrote the CPF into the lead.
#[test]
fn a_cpf_of_somebody_with_another_name_tells_nothing() {
    let mut event = crm_lead();
    let EventData::Deal(DealEvent::Lead(lead)) = &mut event.data else { unreachable!() };
    lead.name = Some("Wanda Exemplo".into());
    let mut kept = Vec::new();
    let shown = talk(&event, &mut kept, &[work_api()]);
    assert!(shown.ends_with("=> skipped missing_same_name"), "{shown}");
    assert!(!shown.contains("ANA") && !shown.contains("8500"), "{shown}");
    assert_eq!(talk(&event, &mut kept, &[]), "=> skipped missing_same_name");
    let EventData::Deal(DealEvent::Lead(lead)) = &mut event.data else { unreachable!() };
    lead.name = None;
    assert_eq!(talk(&event, &mut Vec::new(), &[]), "=> skipped missing_name");
}

/// What the Work API says of a CPF that it does not know may also be a failure, so it is believed after a while.
#[test]
fn a_cpf_that_the_work_api_does_not_know_is_a_short_message() {
    let unknown = || response(200, &json!({"status": "erro", "reason": "CPF não encontrado"}));
    let mut kept = Vec::new();
    let shown = talk(&crm_lead(), &mut kept, &[unknown()]);
    assert!(shown.ends_with("=> retry answer_no_basic_data") && kept.is_empty(), "{shown}");
    let c2s = adapter("c2s", &VARIABLES);
    let answers = [unknown(), taken_by_c2s()];
    let shown = talk_after(UNREAD_TRIES, &*c2s, &crm_lead(), &mut kept, &answers);
    assert!(shown.contains("não disse nada") && shown.ends_with("=> delivered"), "{shown}");
    // When the Work API knows the CPF later, the seller gets the full message.
    let mut later = crm_lead();
    later.accepted_at = "2026-11-22T09:00:00Z".parse().unwrap();
    later.id = serde_json::from_value(json!("c2s:a1b2c3:2")).unwrap();
    let shown = talk(&later, &mut kept, &[work_api(), taken_by_c2s()]);
    assert!(shown.contains("Renda: 8500.5") && shown.ends_with("=> delivered"), "{shown}");
    // After the full message, no short message is sent, even if the name changes.
    let EventData::Deal(DealEvent::Lead(lead)) = &mut later.data else { unreachable!() };
    lead.name = Some(Text::from("Aninha Exemplo"));
    let shown = talk_after(UNREAD_TRIES, &*c2s, &later, &mut kept, &[unknown()]);
    assert!(shown.ends_with("=> skipped message_of_another"), "{shown}");
    // Another spelling of the first name is not a new lookup.
    let EventData::Deal(DealEvent::Lead(lead)) = &mut later.data else { unreachable!() };
    lead.name = Some(Text::from("ANA MARIA"));
    later.id = serde_json::from_value(json!("c2s:a1b2c3:3")).unwrap();
    assert_eq!(talk(&later, &mut kept, &[]), "=> skipped message_of_another");
    let page = response(200, &json!("<html>"));
    let shown = talk(&crm_lead(), &mut Vec::new(), &[page]);
    assert!(shown.ends_with("=> retry answer_no_object"), "{shown}");
}

#[test]
fn without_a_legal_basis_nothing_is_asked() {
    let adapter = adapter("c2s", &[]);
    assert_eq!(
        talk_by(&*adapter, &crm_lead(), &mut Vec::new(), &[]),
        "=> skipped missing_legal_basis"
    );
    let Probe::Known(finding) = adapter.probes().remove(0) else { panic!() };
    assert!(finding.says.contains("ENRICHMENT_LEGAL_BASIS"), "{}", finding.says);
}

#[test]
fn a_message_s_response_is_judged() {
    let outcome = |status, body: &str| {
        let body = Text::from(body);
        let outcome = judged(&Response { status, retry_after_s: None, body });
        let reason = outcome.reason().map(|reason| reason.to_string()).unwrap_or_default();
        format!("{} {reason}", outcome.name())
    };
    for (status, body, expected) in [
        (200, "", "delivered "),
        (201, "{\"success\":true}", "delivered "),
        (200, "{\"success\":false,\"msg\":\"x\"}", "rejected answer_no_success"),
        (200, "<html>", "unknown answer_no_json"),
        (500, "", "unknown http_500"),
        (503, "", "retry http_503"),
        (401, "", "blocked http_401"),
        (404, "", "rejected http_404"),
    ] {
        assert_eq!(outcome(status, body), expected, "{status} {body}");
    }
    let throttled = judged(&response(429, &Value::Null));
    let reason = Reason::Status(429);
    assert_eq!(throttled, Outcome::Retry { reason, retry_after_s: Some(65) });
}

#[test]
fn the_header_and_the_field_of_a_message_are_configurable() {
    let more = [("C2S_AUTH_HEADER", "Authentication"), ("C2S_MESSAGE_FIELD", "message.body")];
    let shown = talk_with(&more, &crm_lead(), &mut Vec::new(), &[work_api()]);
    assert!(shown.contains("authentication: Bearer t0ken"), "{shown}");
    assert!(shown.contains("\"message\": {\n    \"body\": \"Dados"), "{shown}");
}

#[test]
fn a_wrong_or_missing_variable_is_named() {
    let read = |variables: &[(&str, &str)]| {
        let env: Env = variables.iter().copied().collect();
        let mut settings = env.settings();
        let connected = (CONNECTOR.connect)(&mut settings);
        settings.finish(connected.map(|_| ())).unwrap_err().to_string()
    };
    let missing = read(&[("ENRICHMENT_LEGAL_BASIS", "contract")]);
    for (name, _) in &VARIABLES[..5] {
        assert!(missing.contains(name), "{name}: {missing}");
    }
    let wrong = [("ENRICHMENT_LEGAL_BASIS", "because"), ("C2S_AUTH_HEADER", "Token")];
    for (name, value) in wrong {
        let variables: Vec<_> = VARIABLES.into_iter().chain([(name, value)]).collect();
        assert!(read(&variables).contains(name), "{name}");
    }
}
