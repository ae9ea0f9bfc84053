//! Tests of the simulated Contact2Sale, Diretrix and Work API.

use serde_json::{Value, json};

use super::{Caller, Received};

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
async fn diretrix_gives_everybody_a_cpf_of_their_own_but_some() {
    let caller = Caller::new().await;
    let basic = [("authorization", "Basic eDp5")];
    let ask = async |whose: &str| {
        let path = format!("GET /c2s/diretrix/Consultas/Pessoa/{whose}");
        caller.ask_with(&path, Value::Null, &basic).await
    };
    let phone = ask("Telefone/11987654321").await;
    let email = ask("Email/ana@example.com").await;
    let cpf = |found: &Received| {
        let text = found.body[0]["cpf"].as_str().unwrap().to_owned();
        funil_core::contact::Cpf::parse(&text).unwrap();
        text
    };
    assert_ne!(cpf(&phone), cpf(&email));
    assert_eq!(cpf(&phone), cpf(&ask("Telefone/11987654321").await));
    assert_eq!(ask("Telefone/11987654320").await.status, 404);
    assert_eq!(ask("Email/ninguem@example.com").await.status, 404);
    assert_eq!(caller.providers.c2s_lookups()["Telefone 11987654321"], 2);
}

#[tokio::test]
async fn the_work_api_fails_with_status_200() {
    let caller = Caller::new().await;
    let known =
        caller.ask("GET /c2s/work-api?token=t&modulo=cpf&consulta=52998224725", Value::Null).await;
    assert_eq!(known.body["DadosBasicos"]["cpf"], "52998224725");
    let wrong = caller.ask("GET /c2s/work-api?token=t&modulo=tel&consulta=1", Value::Null).await;
    assert_eq!((wrong.status, wrong.body["status"].as_str()), (200, Some("erro")));
    assert_eq!(caller.ask("GET /c2s/work-api", Value::Null).await.status, 401);
}
