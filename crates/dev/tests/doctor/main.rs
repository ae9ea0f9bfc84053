//! `funil doctor` and `funil setup` against a dev server, and against a Calendly on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod calendly;
mod stripe;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use calendly::{Role, SimulatedCalendly};
use funil_core::settings::Env;
use funil_dev::cli::addresses::Addresses;
use funil_dev::cli::doctor::{self, DoctorArguments};
use funil_dev::cli::quarantine::{self, QuarantineCommand};
use funil_dev::cli::setup::{self, SetupArguments, SetupCommand};
use funil_dev::functions;
use funil_dev::server::{DevServer, DevServerOptions};
use funil_dev::simulated::Providers;
use serde_json::json;
use stripe::SimulatedStripe;
use url::Url;

const TOKEN: (&str, &str) = ("CALENDLY_API_TOKEN", "calendly-t0ken");
const KEY: (&str, &str) = ("CALENDLY_SIGNING_KEY", "calendly-signing-key-0123");
const NEW_KEYS: &str = "the-new-signing-key-0123,calendly-signing-key-0123";
const WEBHOOK: &str = "https://api.example.com/api/calendar-webhook";

async fn dev_server(data: &Path) -> DevServer {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options =
        DevServerOptions { listen, data: data.to_owned(), functions_at: None, alerts_to: None };
    DevServer::start(&options, &Env::default()).await.unwrap()
}

/// What the doctor prints, and the error that it ends with.
async fn doctor(arguments: &DoctorArguments, env: &Env) -> (String, Option<String>) {
    let mut out = Vec::new();
    let ended = doctor::run(arguments, env, &funil_lambda::platform(), &mut out).await;
    (String::from_utf8(out).unwrap(), ended.err().map(|error| error.to_string()))
}

/// Whether the setup makes anything.
#[derive(Clone, Copy)]
enum Run {
    Dry,
    ForReal,
}

/// What the setup prints, and the error that it ends with.
async fn setup(command: SetupCommand, run: Run, env: &Env) -> (String, Option<String>) {
    let arguments = SetupArguments { yes: matches!(run, Run::ForReal), command };
    let mut out = Vec::new();
    let ended = setup::run(&arguments, env, &funil_lambda::platform(), &mut out).await;
    (String::from_utf8(out).unwrap(), ended.err().map(|error| error.to_string()))
}

fn env(variables: &[(&str, &str)]) -> Env {
    variables.iter().copied().collect()
}

/// The line of a finding, without the padding of its columns.
fn line(out: &str, subject: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = out.lines().map(words).find(|line| line.contains(subject));
    found.unwrap_or_else(|| panic!("nothing of {subject} in {out}"))
}

#[tokio::test]
async fn the_doctor_finds_the_dev_server_well_from_outside_and_from_its_environment() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let to = Url::parse(&format!("http://{}/api", server.address())).unwrap();
    let arguments = DoctorArguments { to: Some(to), stack_outputs: None };
    let (out, error) = doctor(&arguments, &Env::default()).await;
    assert_eq!(error, None, "{out}");
    for (name, _) in functions::makes(funil_delivery::REQUEST_TIMEOUT) {
        assert!(out.contains(&format!("\n{name}\n")) || out.starts_with(name), "{name}: {out}");
    }
    assert!(out.contains("0 failed") && line(&out, "template welcome").starts_with("ok"), "{out}");

    let wrong = env(&[("SERVICE_TOKEN", "not-the-token")]);
    let (out, error) = doctor(&arguments, &wrong).await;
    assert!(error.unwrap().contains("things do not work"), "{out}");
    assert!(line(&out, "does not take the first SERVICE_TOKEN").starts_with("failed"), "{out}");

    let variables = std::fs::read_to_string(data.path().join("dev.env")).unwrap();
    let variables = variables.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    });
    let local: Env = variables.collect();
    let (out, error) = doctor(&DoctorArguments::default(), &local).await;
    assert_eq!(error, None, "{out}");
    assert!(line(&out, "index dead").starts_with("ok"), "{out}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_doctor_takes_function_urls_from_the_outputs_of_a_stack() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let url = format!("http://{}/api/lead-submit", server.address());
    let outputs = json!([{"OutputKey": "LeadSubmitUrl", "OutputValue": url}]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{}", json!({"Stacks": [{"Outputs": outputs}]})).unwrap();
    let stack_outputs = Some(file.path().to_owned());
    let (out, error) = doctor(&DoctorArguments { to: None, stack_outputs }, &Env::default()).await;
    assert!(error.unwrap().starts_with("3 things do not work"), "{out}");
    assert!(line(&out, "configuration").starts_with("ok"), "{out}");
    assert!(line(&out, "Deploy it, or correct the route").starts_with("failed"), "{out}");
    assert!(line(&out, "where it is not used").starts_with("unchecked"), "{out}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_environment_without_anything_is_told_each_variable_once() {
    let (out, error) = doctor(&DoctorArguments::default(), &Env::default()).await;
    assert!(error.is_some());
    for variable in ["Set HASH_KEY.", "Set SITE_URL.", "Set MAILERLITE_GROUPS."] {
        assert_eq!(out.matches(variable).count(), 1, "{variable}: {out}");
    }
}

#[tokio::test]
async fn an_address_without_functions_is_an_error_and_so_is_one_that_does_not_respond() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let to = Url::parse(&format!("http://{}/api/elsewhere", server.address())).unwrap();
    let arguments = DoctorArguments { to: Some(to), stack_outputs: None };
    let (_, error) = doctor(&arguments, &Env::default()).await;
    assert!(error.unwrap().starts_with("No function of Funil is at this address."));
    server.stop().await.unwrap();
    let to = Some(Url::parse("http://127.0.0.1:9/api").unwrap());
    let (out, _) = doctor(&DoctorArguments { to, stack_outputs: None }, &Env::default()).await;
    assert!(line(&out, "127.0.0.1 does not respond").starts_with("failed"), "{out}");
}

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
async fn calendly_gets_one_subscription_and_the_doctor_sees_how_it_stands() {
    for role in [Role::Owner, Role::Member] {
        let calendly = SimulatedCalendly::start(role).await;
        let base = ("CALENDLY_BASE_URL", calendly.base());
        let env = env(&[TOKEN, KEY, base, ("ENVIRONMENT", "local")]);
        let webhook = || Url::parse(WEBHOOK).unwrap();
        let command = || SetupCommand::Calendly { webhook: webhook(), replace: false };
        let look = async || doctor(&DoctorArguments::default(), &env).await.0;
        let none = look().await;
        assert!(line(&none, "none of the 0 subscriptions").starts_with("failed"), "{none}");
        let (dry, error) = setup(command(), Run::Dry, &env).await;
        assert_eq!((error, calendly.subscriptions().len()), (None, 0));
        assert!(dry.contains("would make a subscription of the"), "{dry}");
        let (made, error) = setup(command(), Run::ForReal, &env).await;
        assert_eq!(error, None, "{made}");
        assert_eq!(calendly.subscriptions()[0]["signing_key"], KEY.1);
        assert_eq!(calendly.subscriptions()[0]["callback_url"], WEBHOOK);
        let well = look().await;
        assert!(line(&well, "Calendly sends every event").starts_with("ok"), "{well}");
        let (again, _) = setup(command(), Run::ForReal, &env).await;
        assert!(again.contains("already"), "{again}");
        assert_eq!(calendly.subscriptions().len(), 1);

        let other = [TOKEN, base, ("ENVIRONMENT", "local"), ("CALENDLY_SIGNING_KEY", NEW_KEYS)];
        let replace = SetupCommand::Calendly { webhook: webhook(), replace: true };
        let (replaced, error) = setup(replace, Run::ForReal, &self::env(&other)).await;
        assert_eq!(error, None, "{replaced}");
        let [now] = &*calendly.subscriptions() else { panic!("{:?}", calendly.subscriptions()) };
        assert_eq!(now["signing_key"], "the-new-signing-key-0123");
        assert_eq!(calendly.most_at_once(), 2, "the new one was there before the old one went");

        calendly.change("retry_started_at", &json!("2026-11-21T12:00:00Z"));
        let tries = look().await;
        assert!(line(&tries, "gets no success").starts_with("warning"), "{tries}");
        calendly.change("state", &json!("disabled"));
        let ended = look().await;
        assert!(line(&ended, "is disabled").starts_with("failed"), "{ended}");
        let (anew, error) = setup(command(), Run::ForReal, &env).await;
        assert_eq!(error, None, "{anew}");
        assert!(anew.contains("removed the subscription") && anew.contains("made a"), "{anew}");
        assert_eq!(calendly.subscriptions().len(), 1);
        calendly.change("events", &json!(["invitee.created"]));
        let lacks = look().await;
        assert!(line(&lacks, "lacks invitee.canceled").starts_with("failed"), "{lacks}");
        calendly.refuse_new();
        let (_, error) = setup(command(), Run::ForReal, &env).await;
        assert!(error.unwrap().contains("No subscription was made, and none was removed."));
        assert_eq!(calendly.subscriptions().len(), 1);
    }
}

#[tokio::test]
async fn a_subscription_of_ones_own_counts_and_one_elsewhere_is_named() {
    let calendly = SimulatedCalendly::start(Role::Owner).await;
    calendly.add_of_user("https://api.example.com/api/calendar-webhook/");
    let base = ("CALENDLY_BASE_URL", calendly.base());
    let env = env(&[TOKEN, KEY, base, ("ENVIRONMENT", "local")]);
    let (out, _) = doctor(&DoctorArguments::default(), &env).await;
    assert!(line(&out, "Calendly sends every event").starts_with("ok"), "{out}");
    let webhook = Url::parse(WEBHOOK).unwrap();
    let command = SetupCommand::Calendly { webhook, replace: false };
    assert!(setup(command, Run::ForReal, &env).await.0.contains("already"));
    let elsewhere = Url::parse("https://other.example.com/calendar-webhook").unwrap();
    let command = SetupCommand::Calendly { webhook: elsewhere, replace: false };
    let (dry, _) = setup(command, Run::Dry, &env).await;
    assert!(dry.contains("There is a subscription of https://api.example.com"), "{dry}");
}

#[tokio::test]
async fn every_page_of_event_types_is_compared_with_the_variable() {
    let calendly = SimulatedCalendly::start(Role::Owner).await;
    let look = async |variables: &[(&str, &str)]| {
        let all: Vec<_> = variables
            .iter()
            .copied()
            .chain([TOKEN, ("CALENDLY_BASE_URL", calendly.base())])
            .collect();
        doctor(&DoctorArguments::default(), &env(&all)).await.0
    };
    let out = look(&[]).await;
    assert!(line(&out, "event_types/AAAA").contains("mentoria"), "{out}");
    assert!(line(&out, "event_types/BBBB").contains("it is switched off at Calendly"), "{out}");
    assert_eq!(out.matches("its bookings are sales calls").count(), 2, "{out}");
    let named = "https://api.calendly.com/event_types/AAAA";
    let out = look(&[("CALENDLY_EVENT_TYPES", named)]).await;
    assert!(line(&out, "event_types/AAAA").contains("are sales calls"), "{out}");
    assert!(line(&out, "event_types/BBBB").contains("are ignored"), "{out}");
    let gone = format!("{named},https://api.calendly.com/event_types/GONE,mentoria");
    let out = look(&[("CALENDLY_EVENT_TYPES", &gone)]).await;
    assert!(line(&out, "event_types/GONE").starts_with("failed"), "{out}");
    assert!(line(&out, "has mentoria; give an address").starts_with("failed"), "{out}");
}

#[tokio::test]
async fn stripe_gets_one_endpoint_and_the_doctor_sees_how_it_stands() {
    let stripe = SimulatedStripe::start().await;
    let (base, key) = (("STRIPE_BASE_URL", stripe.base()), ("STRIPE_API_KEY", "rk_live_t0ken"));
    let env = env(&[key, base, ("ENVIRONMENT", "local")]);
    let webhook = || Url::parse("https://api.example.com/api/stripe-webhook").unwrap();
    let command = || SetupCommand::Stripe { webhook: webhook(), api_version: None };
    let look = async || doctor(&DoctorArguments::default(), &env).await.0;
    let none = look().await;
    assert!(line(&none, "none of the 0 endpoints").starts_with("failed"), "{none}");
    let (dry, error) = setup(command(), Run::Dry, &env).await;
    assert_eq!((error, stripe.endpoints().len()), (None, 0));
    assert!(dry.contains("would make an endpoint for https://api.example.com"), "{dry}");
    let (made, error) = setup(command(), Run::ForReal, &env).await;
    assert_eq!(error, None, "{made}");
    assert!(made.contains("STRIPE_WEBHOOK_SECRET=whsec_told_once"), "{made}");
    assert_eq!(stripe.endpoints()[0]["url"], webhook().as_str());
    let well = look().await;
    assert!(line(&well, "Stripe sends every event to").starts_with("ok"), "{well}");
    let (again, _) = setup(command(), Run::ForReal, &env).await;
    assert!(again.contains("already"), "{again}");

    stripe.set("livemode", &json!(false));
    let test = look().await;
    assert!(line(&test, "of its test mode").starts_with("warning"), "{test}");
    stripe.set("livemode", &json!(true));
    stripe.set(
        "enabled_events",
        &json!(["charge.refunded", "charge.captured", "invoice.payment_succeeded"]),
    );
    let lacks = look().await;
    let lacks = line(&lacks, "lacks payment_intent.succeeded");
    assert!(lacks.starts_with("failed") && lacks.contains("invoice.paid"), "{lacks}");
    stripe.set("status", &json!("disabled"));
    let off = look().await;
    assert!(line(&off, "is disabled").starts_with("failed"), "{off}");
    let (mended, error) = setup(command(), Run::ForReal, &env).await;
    assert_eq!(error, None, "{mended}");
    assert!(mended.contains("it was disabled, and lacked payment_intent.succeeded"), "{mended}");
    let [now] = &*stripe.endpoints() else { panic!("{:?}", stripe.endpoints()) };
    assert!(now["enabled_events"].as_array().unwrap().contains(&json!("charge.captured")));
    let well = look().await;
    assert!(line(&well, "Stripe sends every event to").starts_with("ok"), "{well}");
    let elsewhere = Url::parse("https://old.example.com/api/stripe-webhook").unwrap();
    let version = Some("2024-06-20".to_owned());
    let other = SetupCommand::Stripe { webhook: elsewhere, api_version: version };
    assert_eq!(setup(other, Run::ForReal, &env).await.1, None);
    assert_eq!(stripe.endpoints()[1]["api_version"], "2024-06-20");
    assert_eq!(stripe.endpoints()[0].get("api_version"), None);
    stripe.set("enabled_events", &json!(["*"]));
    assert!(setup(command(), Run::ForReal, &env).await.0.contains("already"));
}

#[tokio::test]
async fn a_key_of_stripes_that_is_of_no_use_is_named_and_never_shown() {
    let stripe = SimulatedStripe::start().await;
    for (key, expected) in [
        ("rk_live_old", "Stripe does not accept STRIPE_API_KEY"),
        ("rk_live_without_rights", "STRIPE_API_KEY may not read webhook endpoints"),
    ] {
        let variables = env(&[("STRIPE_API_KEY", key), ("STRIPE_BASE_URL", stripe.base())]);
        let (out, _) = doctor(&DoctorArguments::default(), &variables).await;
        assert!(line(&out, expected).starts_with("failed"), "{out}");
        assert!(!out.contains(key), "{out}");
    }
    let (out, _) = doctor(&DoctorArguments::default(), &Env::default()).await;
    assert!(line(&out, "set STRIPE_API_KEY").starts_with("unchecked"), "{out}");
}

#[tokio::test]
async fn a_token_that_is_of_no_use_is_named() {
    let look = async |role, token| {
        let calendly = SimulatedCalendly::start(role).await;
        let variables =
            env(&[("CALENDLY_API_TOKEN", token), ("CALENDLY_BASE_URL", calendly.base())]);
        doctor(&DoctorArguments::default(), &variables).await.0
    };
    let out = look(Role::Owner, "old-t0ken").await;
    assert!(
        line(&out, "Calendly does not accept CALENDLY_API_TOKEN").starts_with("failed"),
        "{out}"
    );
    let out = look(Role::Guest, TOKEN.1).await;
    assert!(line(&out, "may not read event types").starts_with("failed"), "{out}");
    assert!(line(&out, "may not read webhook subscriptions").starts_with("failed"), "{out}");
    let (out, _) = doctor(&DoctorArguments::default(), &Env::default()).await;
    assert!(line(&out, "set CALENDLY_API_TOKEN").starts_with("unchecked"), "{out}");
}

/// A server that responds 200 to everything with this body.
async fn says(body: &'static str) -> Url {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}/api", listener.local_addr().unwrap());
    let routes = axum::Router::new().fallback(move || async move { body });
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Url::parse(&base).unwrap()
}

#[tokio::test]
async fn a_site_that_takes_everything_is_not_taken_for_funil() {
    let to = Some(says("<html>welcome</html>").await);
    let (out, error) = doctor(&DoctorArguments { to, stack_outputs: None }, &Env::default()).await;
    assert!(error.is_some() && !out.contains(" ok "), "{out}");
    assert!(line(&out, "what is not Funil's").starts_with("failed"), "{out}");
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

/// A stack has only the functions that are switched on; the others are passed over.
#[tokio::test]
async fn the_quarantine_of_a_stack_with_function_urls_is_listed_and_what_is_not_there_is_named() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let url = format!("http://{}/api/lead-submit", server.address());
    let robot = json!({"name": "R", "email": "r@example.com", "businessType": "x", "website": "y"});
    let platform = funil_lambda::platform();
    let request = platform.http.post(&url).header("content-type", "application/json");
    assert!(request.body(robot.to_string()).send().await.unwrap().status().is_success());
    let outputs = json!([{"OutputKey": "LeadSubmitUrl", "OutputValue": url}]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{}", json!({"Stacks": [{"Outputs": outputs}]})).unwrap();
    let of_stack = Addresses::of_stack(file.path()).unwrap();
    let below = |path: &str| Url::parse(&format!("http://{}{path}", server.address())).unwrap();
    let list = async |to: &Addresses, source: Option<&str>| {
        let source = source.map(str::to_owned);
        let command = QuarantineCommand::List { source, limit: 10 };
        let mut out = Vec::new();
        let ended = quarantine::run(command, to, &Env::default(), &platform, &mut out).await;
        let error = ended.err().map(|error| error.to_string()).unwrap_or_default();
        (String::from_utf8(out).unwrap(), error)
    };
    let (out, error) = list(&of_stack, None).await;
    assert!(out.starts_with("lead-submit/") && error.is_empty(), "{out} {error}");
    let (_, error) = list(&of_stack, Some("stripe")).await;
    assert!(error.contains("name no stripe-webhook"), "{error}");
    let nowhere = Addresses::Below(below("/nowhere"));
    let (out, error) = list(&nowhere, None).await;
    assert!(out.is_empty() && error.contains("See that --to"), "{out} {error}");
    let (_, error) = list(&nowhere, Some("calendly")).await;
    assert!(error.contains("has no function of Funil"), "{error}");
    server.stop().await.unwrap();
}
