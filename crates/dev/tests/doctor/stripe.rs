//! Stripe's endpoint: `funil setup` makes it, and the doctor sees how it stands.

mod simulated;

use funil_core::settings::Env;
use funil_dev::cli::doctor::DoctorArguments;
use funil_dev::cli::setup::SetupCommand;
use serde_json::json;
use url::Url;

use crate::{Run, doctor, env, line, setup};
use simulated::SimulatedStripe;

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
