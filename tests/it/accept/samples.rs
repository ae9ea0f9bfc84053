//! Every sample in `events/` at its function, signed where its provider signs. The samples of payload
//! formats have tests of their own, in [`super::payload_formats`].

use std::collections::BTreeSet;

use funil_core::destination;
use funil_dev::server::front_door;
use serde_json::{Value, json};

use crate::samples::{self, FOLDER, read};
use crate::world::World;

/// Every sample that is an HTTP request, in an order in which each has what it needs, with the status
/// and a part of the body of its response.
const REQUESTS: &[(&str, u16, &str)] = &[
    ("lead-submit/high-score", 200, "\"tier\":\"high\""),
    ("lead-submit/low-score-no-consent", 200, "\"tier\":\"low\""),
    ("lead-submit/everything-denied", 200, "\"leadId\":"),
    ("lead-submit/plain-html-form", 200, "<h1>Obrigado! Recebemos o seu formulário.</h1>"),
    ("lead-submit/honeypot", 200, "\"leadId\":"),
    ("lead-submit/invalid-fields", 422, "\"field\":\"email\""),
    ("questionnaire-submit/high-score", 200, "\"nextStep\":\"calendar_booking\""),
    ("questionnaire-submit/low-score", 200, "\"nextStep\":\"nurture\""),
    ("questionnaire-submit/invalid-fields", 422, "responses.weeklyHours"),
    ("questionnaire-submit/wrong-email", 404, "lead_not_found"),
    ("contact-submit/message", 200, "Recebemos a sua mensagem"),
    ("contact-submit/plain-html-form", 200, "<h1>Obrigado! Recebemos a sua mensagem.</h1>"),
    ("contact-submit/dropped-fields", 200, "\"planned\":[]"),
    ("contact-submit/invalid-fields", 422, "data.email"),
    ("contact-submit/honeypot", 200, "\"submission_id\":\"form:contact-submit:"),
    ("newsletter-signup/signup", 200, "\"success\":true"),
    ("newsletter-signup/plain-html-form", 200, "<h1>Obrigado! Se for preciso confirmar"),
    ("newsletter-signup/invalid-without-consent", 422, "consent_required"),
    (
        "consultation-booking/qualified",
        200,
        "\"booking_url\":\"https://calendly.com/amanda/diagnostico",
    ),
    ("consultation-booking/plain-html-form", 200, "<h1>Obrigado! Recebemos o seu pedido.</h1>"),
    ("consultation-booking/invalid-past-date", 422, "data.preferred_dates.0"),
    ("calendar-webhook/created", 200, RECEIVED),
    ("calendar-webhook/no-show", 200, RECEIVED),
    ("calendar-webhook/canceled", 200, RECEIVED),
    ("calendar-webhook/rescheduled-1-old", 200, RECEIVED),
    ("calendar-webhook/rescheduled-2-new", 200, RECEIVED),
    ("calendar-webhook/other-event", 200, RECEIVED),
    ("stripe-webhook/payment-failed", 200, RECEIVED),
    ("stripe-webhook/payment-succeeded", 200, RECEIVED),
    ("stripe-webhook/refund-partial", 200, RECEIVED),
    ("stripe-webhook/refund-full", 200, RECEIVED),
    ("stripe-webhook/dispute-created", 200, RECEIVED),
    ("stripe-webhook/dispute-lost", 200, RECEIVED),
    ("stripe-webhook/checkout-payment", 200, RECEIVED),
    ("stripe-webhook/checkout-completed", 200, RECEIVED),
    ("stripe-webhook/payment-link-completed", 200, RECEIVED),
    ("stripe-webhook/invoice-paid", 200, RECEIVED),
    ("stripe-webhook/subscription-created", 200, RECEIVED),
    ("stripe-webhook/other-event", 200, RECEIVED),
    ("mailerlite-webhook/added-to-group", 200, RECEIVED),
    ("mailerlite-webhook/bounced", 200, RECEIVED),
    ("mailerlite-webhook/active", 200, RECEIVED),
    ("mailerlite-webhook/unsubscribed", 200, RECEIVED),
    ("mailerlite-webhook/batch", 200, RECEIVED),
    ("deal-webhook/qualified", 200, RECEIVED),
    ("deal-webhook/committed", 200, RECEIVED),
    ("deal-webhook/md5-digests", 200, RECEIVED),
    ("deal-webhook/without-a-status", 202, RECEIVED),
    ("deal-webhook/pipedrive-person", 200, RECEIVED),
    ("deal-webhook/pipedrive-won", 200, RECEIVED),
    ("c2s-webhook/created", 200, "\"processed\":1"),
    ("c2s-webhook/with-a-cpf", 200, "\"processed\":1"),
    ("c2s-webhook/batch-of-three", 200, "\"processed\":3"),
    ("c2s-webhook/without-updated-at", 400, "without_updated_at"),
    ("c2s-webhook/bad-timestamp", 400, "bad_updated_at"),
    ("brevo-webhook/hard-bounce", 200, RECEIVED),
    ("brevo-webhook/soft-bounce", 200, RECEIVED),
    ("brevo-webhook/other-event", 200, RECEIVED),
    ("brevo-webhook/without-an-event", 200, RECEIVED),
    ("ga4-collect/page-view", 200, "\"accepted\":1"),
    ("ga4-collect/batch", 200, "\"accepted\":3"),
    ("ga4-collect/beacon", 200, "\"accepted\":1"),
    ("ga4-collect/denied", 200, "no_consent"),
    ("ga4-collect/personal", 200, "\"stripped\":1"),
    ("ga4-collect/robot", 200, "\"reason\":\"robot\""),
    ("ga4-collect/invalid-no-client-id", 422, "client_id"),
    ("whatsapp-automation/plan", 200, "\"slot\":\"welcome\""),
    ("whatsapp-automation/withdraw", 200, "\"withdrawn\":[\"sample-call\"]"),
    ("whatsapp-webhook/verify", 200, "1158201444"),
    ("whatsapp-webhook/delivered", 200, RECEIVED),
    ("whatsapp-webhook/failed", 200, RECEIVED),
    ("whatsapp-webhook/opt-out", 200, RECEIVED),
    ("dispatch/replay", 200, "\"dryRun\":true"),
    ("health/get", 200, "\"status\":\"ok\""),
    ("metrics/get", 200, "funil_pending_deliveries"),
];

/// The response to a webhook.
const RECEIVED: &str = "{\"received\":true}";

/// The samples that are no HTTP requests, with the results of their functions: `dispatch` and the
/// delivery functions are rung, and the first gets the table's stream.
fn others() -> Vec<(String, Value)> {
    let mut others = vec![("dispatch/stream".to_owned(), json!({"batchItemFailures": []}))];
    for name in ["ring", "schedule"] {
        others.push((format!("dispatch/{name}"), json!({"rung": []})));
        for one in destination::ALL {
            others.push((format!("{}/{name}", one.function), json!({"settled": 0})));
        }
    }
    others
}

fn function_of(sample: &str) -> &str {
    sample.split('/').next().unwrap()
}

/// The event with the signature of its function's provider, if that signs.
fn signed(world: &World, function: &str, mut event: Value) -> Value {
    let env = world.env(&[]);
    let key = |variable: &str| env.settings().list(variable)[0].to_owned();
    if let Some(body) = event["body"].as_str()
        && let Some((header, value)) =
            samples::signature(function, body.as_bytes(), world.now(), key)
    {
        event["headers"][header] = json!(value);
    }
    event
}

#[test]
fn every_sample_has_an_expected_response() {
    let listed = REQUESTS.iter().map(|(name, ..)| (*name).to_owned());
    let listed: BTreeSet<String> =
        listed.chain(others().into_iter().map(|(name, _)| name)).collect();
    let mut files = BTreeSet::new();
    for folder in std::fs::read_dir(FOLDER).unwrap().map(|folder| folder.unwrap().path()) {
        for file in std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()) {
            assert_eq!(file.extension().unwrap(), "json", "{}", file.display());
            let name = file.strip_prefix(FOLDER).unwrap().with_extension("");
            files.insert(name.to_str().unwrap().to_owned());
        }
    }
    files.retain(|name| function_of(name) != "payload-formats");
    assert_eq!(files, listed);
}

#[tokio::test]
async fn every_sample_gets_the_response_that_its_name_says() {
    let world = World::plan()
        .with("DESTINATIONS", "whatsapp,ga4_visits")
        .with("CALENDLY_EVENT_URL", "https://calendly.com/amanda/diagnostico")
        // What the samples are authorised with is the dev server's.
        .with("ENVIRONMENT", "preview")
        .with("SERVICE_TOKEN", "local-stage-service-token")
        .with("WHATSAPP_VERIFY_TOKEN", "local-stage-verify-token")
        .with("DEAL_API_KEY", "local-stage-deal-key")
        .start()
        .await;
    world.looks_at("whatsapp");
    world.looks_at("ga4");
    for &(name, status, shown) in REQUESTS {
        let function = function_of(name);
        let event = signed(&world, function, read(name));
        let (got, _, body) = front_door::response(&world.invoke(function, event).await);
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(got, status, "{name}: {body}");
        assert!(body.contains(shown), "{name}: {body}");
        // Messages to one number are six seconds apart.
        world.pass(10);
        world.drain().await;
    }
    let quarantined = world.items("QUARANTINE#").await;
    let mut sources: Vec<&str> =
        quarantined.iter().map(|one| one["pk"]["S"].as_str().unwrap()).collect();
    sources.sort_unstable();
    let aside = ["brevo", "c2s", "c2s", "contact-submit", "deal", "lead-submit"];
    let aside = aside.map(|source| format!("QUARANTINE#{source}"));
    assert_eq!(sources, aside, "only the robots' forms, and what is not understood");

    // At once, because a drain that finds nothing looks again for 2 s.
    let invocations = others().into_iter().map(|(name, expected)| {
        let world = &world;
        async move {
            let response = world.invoke(function_of(&name), read(&name)).await;
            assert_eq!(response, expected, "{name}");
        }
    });
    futures::future::join_all(invocations).await;
    world.finish().await;
}
