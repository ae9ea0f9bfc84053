//! Tests of the simulated Contact2Sale, Diretrix and Work API.

use serde_json::{Value, json};

use super::Caller;

#[tokio::test]
async fn a_message_needs_a_token_and_a_text() {
    let caller = Caller::new().await;
    let message = "POST /c2s/integration/leads/a1/create_message";
    let nobody = caller.ask_with(message, json!({"message": "Oi"}), &[]).await;
    assert_eq!(nobody.status, 401);
    assert_eq!(caller.ask(message, json!({"text": "Oi"})).await.status, 422);
    let taken = caller.ask(message, json!({"message": "Oi"})).await;
    assert_eq!((taken.status, &taken.body["success"]), (201, &json!(true)));
    let messages = caller.providers.c2s_messages();
    assert_eq!((messages.len(), messages[0].lead.as_str()), (1, "a1"));
}

#[tokio::test]
async fn only_known_actions_are_subscribed_to() {
    let caller = Caller::new().await;
    let subscribe = "POST /c2s/integration/leads/subscribe";
    let hook = |action: &str| json!({"hook_url": "https://x.example/c2s", "hook_action": action});
    assert_eq!(caller.ask(subscribe, hook("lead.created")).await.status, 422);
    for _ in 0..2 {
        assert_eq!(caller.ask(subscribe, hook("on_create_lead")).await.status, 200);
    }
    assert_eq!(caller.providers.c2s_hooks().len(), 1);
}

#[tokio::test]
async fn the_sources_know_only_whom_they_were_told_of() {
    let caller = Caller::new().await;
    let basic = [("authorization", "Basic eDp5")];
    let ask = async |whose: &str| {
        let path = format!("GET /c2s/diretrix/Consultas/Pessoa/{whose}");
        caller.ask_with(&path, Value::Null, &basic).await
    };
    assert_eq!(ask("Telefone/11987654321").await.status, 404);
    let ana = json!({"name": "Ana Exemplo", "phone": "+5511987654321", "email": "ana@example.com"});
    assert_eq!(caller.ask("POST /c2s/people", ana).await.status, 200);
    let bia = json!({"name": "Bia Exemplo", "phone": "11 98765-4321"});
    assert_eq!(caller.ask("POST /c2s/people", bia).await.status, 200);
    assert_eq!(caller.ask("POST /c2s/people", json!({"phone": "1"})).await.status, 422);

    let phone = ask("Telefone/11987654321").await;
    let names: Vec<&Value> =
        phone.body.as_array().unwrap().iter().map(|one| &one["nome"]).collect();
    assert_eq!(names, ["Ana Exemplo", "Bia Exemplo"], "a family shares a phone");
    let cpf = phone.body[0]["cpf"].as_str().unwrap();
    assert_eq!(funil_core::contact::Cpf::parse(cpf).unwrap().as_str(), cpf);
    assert_ne!(phone.body[1]["cpf"], cpf);
    assert_eq!(ask("Email/ana@example.com").await.body, json!([phone.body[0]]));
    assert_eq!(ask("Email/bia@example.com").await.status, 404);
    assert_eq!(caller.providers.c2s_lookups()["Telefone 11987654321"], 2);

    let of = async |cpf: &str| {
        let path = format!("GET /c2s/work-api?token=t&modulo=cpf&consulta={cpf}");
        caller.ask(&path, Value::Null).await
    };
    assert_eq!(of(cpf).await.body["DadosBasicos"]["nome"], "ANA EXEMPLO");
    let unknown = of("52998224725").await;
    assert_eq!((unknown.status, &unknown.body["status"]), (200, &json!("erro")));
}

#[tokio::test]
async fn no_number_that_ends_in_0_is_known() {
    let caller = Caller::new().await;
    let person = json!({"name": "Ana Exemplo", "phone": "11987654320"});
    assert_eq!(caller.ask("POST /c2s/people", person).await.status, 200);
    let path = "GET /c2s/diretrix/Consultas/Pessoa/Telefone/11987654320";
    let basic = [("authorization", "Basic eDp5")];
    assert_eq!(caller.ask_with(path, Value::Null, &basic).await.status, 404);
}

#[tokio::test]
async fn the_work_api_fails_with_status_200() {
    let caller = Caller::new().await;
    let wrong = caller.ask("GET /c2s/work-api?token=t&modulo=tel&consulta=1", Value::Null).await;
    assert_eq!((wrong.status, wrong.body["status"].as_str()), (200, Some("erro")));
    assert_eq!(caller.ask("GET /c2s/work-api", Value::Null).await.status, 401);
}
