//! What `funil setup` makes and checks at the providers that the dev server simulates, and what the doctor
//! says of it.

use std::sync::Arc;

use funil_dev::cli::doctor::DoctorArguments;
use funil_dev::cli::setup::SetupCommand;
use funil_dev::simulated::Providers;
use serde_json::json;
use url::Url;

use crate::{Run, dev_server, doctor, env, line, says, setup};

#[tokio::test]
async fn mailerlite_gets_what_it_lacks_and_nothing_twice() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let base = format!("http://{}/simulated/mailerlite", server.address());
    let env = env(&[
        ("ENVIRONMENT", "local"),
        ("MAILERLITE_BASE_URL", &base),
        ("MAILERLITE_API_KEY", "key"),
        ("MAILERLITE_FIELDS", r#"{"call_date":"data_da_chamada"}"#),
    ]);
    let command =
        || SetupCommand::Mailerlite { webhook: None, groups: vec!["amanda_score_high".into()] };
    let (dry, error) = setup(command(), Run::Dry, &env).await;
    assert_eq!(error, None);
    assert!(dry.contains("would make the field data_da_chamada (date)"), "{dry}");
    assert!(dry.contains("would make the group amanda_score_high"), "{dry}");
    assert!(dry.ends_with("Nothing was changed: this is a dry run. --yes makes it.\n"), "{dry}");
    let (made, error) = setup(command(), Run::ForReal, &env).await;
    assert_eq!(error, None);
    assert_eq!(
        made,
        "made the field data_da_chamada (date)\nmade the group amanda_score_high: 103\n\
         the group marketing is there: 102\nthe group questionnaire is there: 101\n\
         MAILERLITE_GROUPS={\"amanda_score_high\":\"103\",\"marketing\":\"102\",\"questionnaire\":\"101\"}\n"
    );
    let (again, error) = setup(command(), Run::ForReal, &env).await;
    assert_eq!(error, None);
    assert!(!again.contains("made"), "{again}");
    let unknown = SetupCommand::Mailerlite { webhook: None, groups: vec!["vip".into()] };
    assert!(setup(unknown, Run::ForReal, &env).await.1.unwrap().starts_with("vip is no group"));
    for wrong in [r#"{"questionnaire":101}"#, r#"{"questionario":"7"}"#, "{"] {
        let wrong = self::env(&[
            ("ENVIRONMENT", "local"),
            ("MAILERLITE_BASE_URL", &base),
            ("MAILERLITE_API_KEY", "key"),
            ("MAILERLITE_GROUPS", wrong),
        ]);
        let (_, error) = setup(command(), Run::ForReal, &wrong).await;
        assert!(error.unwrap().contains("MAILERLITE_GROUPS must be JSON"));
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn mailerlite_gets_two_webhooks_and_the_doctor_sees_how_they_stand() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let base = format!("http://{}/simulated/mailerlite", server.address());
    let env = env(&[
        ("ENVIRONMENT", "local"),
        ("MAILERLITE_BASE_URL", &base),
        ("MAILERLITE_API_KEY", "key"),
    ]);
    let webhook = Url::parse("https://api.example.com/api/mailerlite-webhook").unwrap();
    let command =
        || SetupCommand::Mailerlite { groups: Vec::new(), webhook: Some(webhook.clone()) };
    let look = async || doctor(&DoctorArguments::default(), &env).await.0;
    assert!(line(&look().await, "no webhook goes to").starts_with("warning"));
    let (dry, error) = setup(command(), Run::Dry, &env).await;
    assert_eq!(error, None);
    assert!(dry.contains("would make a webhook for https://api.example.com"), "{dry}");
    let (made, error) = setup(command(), Run::ForReal, &env).await;
    assert_eq!(error, None);
    let secrets = "MAILERLITE_WEBHOOK_SECRET=mailerlite-secret-1,mailerlite-secret-2";
    assert!(made.contains(secrets), "{made}");
    let well = look().await;
    assert!(line(&well, "MailerLite sends every event to").starts_with("ok"), "{well}");
    let (again, _) = setup(command(), Run::ForReal, &env).await;
    assert_eq!(again.matches("already").count(), 2, "{again}");

    let http = funil_lambda::platform().http;
    let less = json!({"events": ["subscriber.active"], "enabled": true});
    let change = http.put(format!("{base}/webhooks/1")).bearer_auth("key").body(less.to_string());
    assert_eq!(change.send().await.unwrap().status(), 200);
    let lacks = look().await;
    assert!(line(&lacks, "no webhook that is on brings").starts_with("failed"), "{lacks}");
    let (mended, error) = setup(command(), Run::ForReal, &env).await;
    assert_eq!(error, None);
    assert!(mended.contains("lacked subscriber.unsubscribed"), "{mended}");
    assert!(!mended.contains("SECRET"), "its secret stays: {mended}");
    let well = look().await;
    assert!(line(&well, "MailerLite sends every event to").starts_with("ok"), "{well}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn contact2sale_is_told_where_to_report_and_no_token_is_printed() {
    let providers = Providers::new(Arc::new(|| funil_lambda::platform().clock.now().to_string()));
    let base = format!("http://{}/c2s/integration", providers.serve().await.unwrap());
    let variables = [
        ("ENVIRONMENT", "local"),
        ("C2S_BASE_URL", base.as_str()),
        ("C2S_TOKEN", "c2s-t0ken"),
        ("C2S_WEBHOOK_SECRET", "new-webhook-token-01,old-webhook-token-01"),
    ];
    let webhook = Url::parse("https://api.example.com/api/c2s-webhook").unwrap();
    let command = || SetupCommand::C2s { webhook: webhook.clone() };
    let (dry, error) = setup(command(), Run::Dry, &env(&variables)).await;
    assert_eq!((error, providers.c2s_hooks().len()), (None, 0), "{dry}");
    for _ in 0..2 {
        let (made, error) = setup(command(), Run::ForReal, &env(&variables)).await;
        assert_eq!(error, None);
        assert_eq!(made.matches("made the subscription to on_").count(), 3, "{made}");
        assert!(!made.contains("webhook-token") && !made.contains("t0ken"), "{made}");
    }
    let hooks = providers.c2s_hooks();
    let address = "https://api.example.com/api/c2s-webhook?token=new-webhook-token-01";
    assert_eq!(hooks.len(), 3);
    assert!(hooks.iter().all(|(_, url)| url == address), "{hooks:?}");
    let (_, error) = setup(command(), Run::ForReal, &env(&variables[..2])).await;
    let error = error.unwrap();
    assert!(error.contains("C2S_TOKEN") && error.contains("C2S_WEBHOOK_SECRET"), "{error}");
}

#[tokio::test]
async fn brevo_s_key_and_sender_are_checked_and_its_webhook_is_made_once() {
    let providers = Providers::new(Arc::new(|| funil_lambda::platform().clock.now().to_string()));
    let base = format!("http://{}/brevo/v3", providers.serve().await.unwrap());
    let with = |sender: &'static str, secret: &'static str| {
        env(&[
            ("ENVIRONMENT", "local"),
            ("BREVO_BASE_URL", &base),
            ("BREVO_API_KEY", "brevo-key"),
            ("BREVO_SENDER_EMAIL", sender),
            ("BREVO_WEBHOOK_SECRET", secret),
        ])
    };
    let webhook = Url::parse("https://api.example.com/api/brevo-webhook").ok();
    let command = || SetupCommand::Brevo { webhook: webhook.clone() };
    let good = with("contato@example.com", "webhook-token-01");
    let look = async || doctor(&DoctorArguments::default(), &good).await.0;
    assert!(line(&look().await, "hears of a bounce").starts_with("warning"));
    let (dry, error) = setup(command(), Run::Dry, &good).await;
    assert_eq!((error, providers.brevo_webhooks().len()), (None, 0), "{dry}");
    let (made, error) = setup(command(), Run::ForReal, &good).await;
    assert_eq!(error, None);
    assert!(made.contains("the account may send as contato@example.com"), "{made}");
    assert!(made.contains("made a webhook") && !made.contains("token-01"), "{made}");
    let (again, _) = setup(command(), Run::ForReal, &good).await;
    assert!(again.contains("already"), "{again}");
    assert!(line(&look().await, "Brevo reports every bounce").starts_with("ok"));
    let other = with("contato@example.com", "webhook-token-02");
    let (mended, error) = setup(command(), Run::ForReal, &other).await;
    assert_eq!(error, None);
    assert!(mended.contains("mended"), "{mended}");
    let webhooks = providers.brevo_webhooks();
    assert_eq!(webhooks.len(), 1);
    assert_eq!(
        webhooks[0]["url"],
        "https://api.example.com/api/brevo-webhook?token=webhook-token-02"
    );
    let unknown = with("outra@example.com", "webhook-token-01");
    let (_, error) = setup(command(), Run::ForReal, &unknown).await;
    assert!(error.unwrap().starts_with("The account may not send as outra@example.com"));
}

#[tokio::test]
async fn meta_s_token_is_checked_and_a_test_event_sent_with_a_code_alone() {
    let providers = Providers::new(Arc::new(|| funil_lambda::platform().clock.now().to_string()));
    let base = format!("http://{}/meta", providers.serve().await.unwrap());
    let variables = [
        ("ENVIRONMENT", "local"),
        ("META_BASE_URL", base.as_str()),
        ("META_ACCESS_TOKEN", "meta-t0ken"),
        ("META_PIXEL_ID", "1000000000000001"),
        ("META_TEST_EVENT_CODE", "TEST123"),
    ];
    let sent = || providers.meta_events().len();
    let (checked, error) = setup(SetupCommand::Meta, Run::ForReal, &env(&variables[..4])).await;
    assert_eq!((error, sent()), (None, 0));
    assert!(checked.contains("Meta takes META_ACCESS_TOKEN"), "{checked}");
    let (dry, error) = setup(SetupCommand::Meta, Run::Dry, &env(&variables)).await;
    assert_eq!((error, sent()), (None, 0), "{dry}");
    let (made, error) = setup(SetupCommand::Meta, Run::ForReal, &env(&variables)).await;
    assert_eq!((error, sent()), (None, 1), "{made}");
}

#[tokio::test]
async fn whatsapp_gets_templates_and_a_subscription() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let base = format!("http://{}/simulated/whatsapp", server.address());
    let http = funil_lambda::platform().http;
    let apps = format!("{base}/v25.0/2000/subscribed_apps");
    http.delete(&apps).bearer_auth("token").send().await.unwrap();
    let variables = [
        ("ENVIRONMENT", "local"),
        ("WHATSAPP_BASE_URL", &*base),
        ("WHATSAPP_ACCESS_TOKEN", "token"),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", "2000"),
        ("WHATSAPP_TEMPLATES", r#"{"welcome":"bem_vinda"}"#),
    ];
    let (dry, error) = setup(SetupCommand::Whatsapp, Run::Dry, &env(&variables)).await;
    assert_eq!(error, None);
    assert!(dry.contains("would make the template bem_vinda") && dry.contains("dry run"), "{dry}");
    assert!(dry.contains("the template call_reminder_2h is there: APPROVED"), "{dry}");
    let (made, error) = setup(SetupCommand::Whatsapp, Run::ForReal, &env(&variables)).await;
    assert_eq!(error, None);
    assert!(made.contains("made the subscription of the token's app"), "{made}");
    let (again, error) = setup(SetupCommand::Whatsapp, Run::ForReal, &env(&variables)).await;
    assert_eq!(error, None);
    assert!(again.contains("the template bem_vinda is there: PENDING"), "{again}");
    assert!(again.contains("the webhooks go to Simulated"), "{again}");
    let english: Vec<_> = variables
        .into_iter()
        .chain([("WHATSAPP_LANGUAGE", "en_US"), ("WHATSAPP_TEMPLATES", r#"{"welcome":"hi"}"#)])
        .collect();
    let (_, error) = setup(SetupCommand::Whatsapp, Run::ForReal, &env(&english)).await;
    assert!(error.unwrap().starts_with("Our texts are Portuguese"));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_in_a_providers_error_is_not_printed() {
    let base = says(r#"{"error":{"code":190,"message":"Malformed access token s3cr3t"}}"#).await;
    let variables = env(&[
        ("ENVIRONMENT", "local"),
        ("WHATSAPP_BASE_URL", base.as_str()),
        ("WHATSAPP_ACCESS_TOKEN", "s3cr3t"),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", "2000"),
    ]);
    let (out, error) = setup(SetupCommand::Whatsapp, Run::ForReal, &variables).await;
    let error = error.unwrap();
    assert!(
        error.contains("190") && !error.contains("s3cr3t") && !out.contains("s3cr3t"),
        "{error}"
    );
}
