//! Calendly's subscription: `funil setup` makes it, and the doctor sees how it stands.

mod simulated;

use funil_core::settings::Env;
use funil_dev::cli::doctor::DoctorArguments;
use funil_dev::cli::setup::SetupCommand;
use serde_json::json;
use url::Url;

use crate::{Run, doctor, env, line, setup};
use simulated::{Role, SimulatedCalendly};

const TOKEN: (&str, &str) = ("CALENDLY_API_TOKEN", "calendly-t0ken");
const KEY: (&str, &str) = ("CALENDLY_SIGNING_KEY", "calendly-signing-key-0123");
const NEW_KEYS: &str = "the-new-signing-key-0123,calendly-signing-key-0123";
const WEBHOOK: &str = "https://api.example.com/api/calendar-webhook";

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
