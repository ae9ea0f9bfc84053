//! What `lead-submit` refuses and how.

use std::time::Duration;

use funil_core::destination;
use funil_store::TablePatience;
use http::Method;
use serde_json::{Value, json};

use crate::proxy::{Break, Proxy};
use crate::world::{Response, World, lead, lead_body};

const JSON: (&str, &str) = ("content-type", "application/json");
const PORTUGUESE: (&str, &str) = ("accept-language", "pt-BR,pt;q=0.9,en;q=0.8");
/// A text that no response may contain.
const PLANTED: &str = "zqx7planted";

/// A world without destinations.
pub(super) async fn intake() -> World {
    World::plan().with("DESTINATIONS", "none").start().await
}

async fn post(world: &World, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
    world.send("lead-submit", Method::POST, headers, body.as_ref()).await
}

/// The code of a problem, once its members are checked to be those of RFC 9457.
pub(super) fn code(response: &Response) -> String {
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let problem = response.json();
    assert_eq!(problem["status"], response.status);
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("urn:funil:problem:{code}"));
    for text in ["title", "detail"] {
        assert!(!problem[text].as_str().unwrap().is_empty());
    }
    code.to_owned()
}

#[tokio::test]
async fn all_field_errors_come_at_once_in_the_callers_language() {
    let world = intake().await;
    let body = json!({
        "leadId": "no", "name": " ", "email": "ana@", "phone": "123", "amandaScore": 101,
        "consent": {"marketing": "perhaps"}, "mainStruggle": "x".repeat(2001),
    });
    let expected = [
        ("name", "required", "Fill in this field.", "Preencha este campo."),
        ("email", "invalid_email", "Enter a valid e-mail address.", "Informe um e-mail válido."),
        (
            "phone",
            "invalid_phone",
            "Enter a valid phone number with its area code, such as (11) 98765-4321.",
            "Informe um telefone válido com DDD, como (11) 98765-4321.",
        ),
        ("businessType", "required", "Fill in this field.", "Preencha este campo."),
        (
            "mainStruggle",
            "too_long",
            "Use at most 2000 characters.",
            "Use no máximo 2000 caracteres.",
        ),
        (
            "amandaScore",
            "out_of_range",
            "Enter a number from 0 to 100.",
            "Informe um número de 0 a 100.",
        ),
        ("consent.marketing", "wrong_type", "Send true or false.", "Envie verdadeiro ou falso."),
    ];
    for (headers, portuguese) in [(vec![], false), (vec![PORTUGUESE], true)] {
        let response = world.submit_with(&headers, &body).await;
        assert_eq!((response.status, &*code(&response)), (422, "invalid_fields"));
        let expected: Vec<Value> = expected
            .iter()
            .map(|(field, code, en, pt)| {
                json!({"field": field, "code": code, "message": if portuguese { pt } else { en }})
            })
            .collect();
        assert_eq!(response.json()["errors"], json!(expected));
    }
    world.finish().await;
}

#[tokio::test]
async fn a_problem_is_written_in_the_callers_language() {
    let world = intake().await;
    for (headers, title) in [
        (vec![JSON], "The body is not valid JSON"),
        (vec![JSON, PORTUGUESE], "O corpo não é JSON válido"),
        (vec![JSON, ("accept-language", "de")], "The body is not valid JSON"),
    ] {
        let response = post(&world, &headers, "{").await;
        assert_eq!(response.json()["title"], title);
        assert_eq!(response.header("vary"), Some("Origin, Accept-Language"));
    }
    world.finish().await;
}

#[tokio::test]
async fn only_post_and_options_are_allowed() {
    let world = intake().await;
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD] {
        let response = world.send("lead-submit", method, &[], b"").await;
        assert_eq!((response.status, &*code(&response)), (405, "method_not_allowed"));
        assert_eq!(response.header("allow"), Some("POST, OPTIONS"));
    }
    world.finish().await;
}

#[tokio::test]
async fn a_preflight_from_the_sites_own_origin_is_allowed_and_from_another_is_not() {
    let world = intake().await;
    for (origin, allowed) in [
        ("https://www.example.com", Some("https://www.example.com")),
        ("https://www.example.com.evil.example", None),
        ("https://evil.example", None),
        ("http://www.example.com", None),
        ("null", None),
    ] {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let response = world.send("lead-submit", Method::OPTIONS, &headers, b"").await;
        assert_eq!(response.status, 204);
        assert!(response.body.is_empty());
        assert_eq!(response.header("access-control-allow-origin"), allowed, "{origin}");
        assert_eq!(response.header("access-control-allow-methods"), Some("POST, OPTIONS"));
        let names = response.header("access-control-allow-headers").unwrap();
        assert!(names.contains("content-type") && names.contains("idempotency-key"));
        assert!(response.header("vary").unwrap().contains("Origin"));
        assert_eq!(response.header("access-control-allow-credentials"), None);
    }
    world.finish().await;
}

#[tokio::test]
async fn only_the_sites_own_pages_can_read_responses() {
    let world = intake().await;
    for (body, status) in [(lead_body(), 200), (json!({}), 422)] {
        for (origin, allowed) in
            [("https://www.example.com", true), ("https://evil.example", false)]
        {
            let response = world.submit_with(&[("origin", origin)], &body).await;
            assert_eq!(response.status, status);
            let header = response.header("access-control-allow-origin");
            assert_eq!(header, allowed.then_some(origin));
            let exposed = response.header("access-control-expose-headers");
            assert_eq!(exposed, allowed.then_some("Idempotency-Replayed, Retry-After"));
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn a_body_of_more_than_64_kib_is_too_large() {
    let world = intake().await;
    let mut body = lead_body();
    body["padding"] = json!("");
    let room = 64 * 1024 - body.to_string().len();
    body["padding"] = json!("x".repeat(room));
    assert_eq!(body.to_string().len(), 64 * 1024);
    assert_eq!(world.submit(&body).await.status, 200);
    body["padding"] = json!("x".repeat(room + 1));
    let response = world.submit(&body).await;
    assert_eq!((response.status, &*code(&response)), (413, "body_too_large"));
    world.finish().await;
}

#[tokio::test]
async fn other_content_types_and_charsets_are_refused() {
    let world = intake().await;
    let body = lead_body().to_string();
    for content_type in [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/json; charset=iso-8859-1",
        "",
    ] {
        let response = post(&world, &[("content-type", content_type)], &body).await;
        assert_eq!((response.status, &*code(&response)), (415, "unsupported_content_type"));
    }
    assert_eq!(post(&world, &[], &body).await.status, 415);
    let utf8 = [("content-type", "Application/JSON; charset=UTF-8")];
    assert_eq!(post(&world, &utf8, &body).await.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn json_that_two_parsers_could_read_differently_is_refused() {
    let world = intake().await;
    let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let lead = lead_body().to_string();
    let with = |member: &str| format!("{},{member}}}", &lead[..lead.len() - 1]);
    for (body, expected) in [
        (String::new(), "invalid_json"),
        ("{".to_owned(), "invalid_json"),
        ("{'name': 'Ana'}".to_owned(), "invalid_json"),
        (format!("{lead} {lead}"), "invalid_json"),
        (format!("{lead},"), "invalid_json"),
        (with(r#""email":"bia@example.com""#), "duplicate_key"),
        (with(r#""x":{"a":1,"\u0061":2}"#), "duplicate_key"),
        (with(&format!(r#""x":{}"#, deep(32))), "too_deep"),
        (deep(60_000 / 2), "too_deep"),
    ] {
        let response = post(&world, &[JSON], &body).await;
        assert_eq!((response.status, &*code(&response)), (400, expected), "{body:.80}");
    }
    let response = post(&world, &[JSON], b"{\"name\":\"\xff\xfe\"}").await;
    assert_eq!((response.status, &*code(&response)), (400, "invalid_json"));
    assert_eq!(post(&world, &[JSON], with(&format!(r#""x":{}"#, deep(31)))).await.status, 200);
    for not_an_object in ["[]", "null", "1", "\"text\""] {
        assert_eq!(post(&world, &[JSON], not_an_object).await.status, 422, "{not_an_object}");
    }
    world.finish().await;
}

#[tokio::test]
async fn an_invalid_idempotency_key_is_refused() {
    let world = intake().await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", &long, "chave-é"] {
        let response = world.submit_with(&[("idempotency-key", key)], &lead_body()).await;
        assert_eq!((response.status, &*code(&response)), (400, "invalid_idempotency_key"), "{key}");
    }
    assert!(world.store.journey(lead()).await.unwrap().is_none());
    world.finish().await;
}

#[tokio::test]
async fn no_problem_repeats_anything_that_was_sent() {
    let world = intake().await;
    let wrong = json!({
        "leadId": PLANTED, "name": [PLANTED], "email": PLANTED, "phone": PLANTED,
        "businessType": PLANTED.repeat(30), "amandaScore": PLANTED, "utm": PLANTED,
        "consent": {"marketing": PLANTED, PLANTED: true}, PLANTED: {PLANTED: PLANTED},
        "mainStruggle": PLANTED.repeat(300),
    });
    let mut reused = lead_body();
    reused["name"] = json!(PLANTED);
    let key = ("idempotency-key", PLANTED);
    assert_eq!(world.submit_with(&[key], &lead_body()).await.status, 200);
    let planted_type = format!("application/{PLANTED}");
    let planted_key = format!("{PLANTED}é");
    let twice = format!(r#"{{"{PLANTED}":1,"{PLANTED}":2}}"#);
    let large = PLANTED.repeat(10_000);
    let responses = [
        (422, world.submit(&wrong).await),
        (422, world.submit_with(&[key], &reused).await),
        (400, world.submit_with(&[("idempotency-key", &planted_key)], &lead_body()).await),
        (400, post(&world, &[JSON], PLANTED).await),
        (400, post(&world, &[JSON], &twice).await),
        (413, post(&world, &[JSON], &large).await),
        (415, post(&world, &[("content-type", &planted_type)], PLANTED).await),
        (405, world.send("lead-submit", PLANTED.parse().unwrap(), &[], b"").await),
        (401, world.authorised_as(PLANTED, "crm-sync", &json!({"leadId": PLANTED})).await),
        (422, world.authorised("crm-sync", &json!({"leadId": PLANTED})).await),
    ];
    for (status, response) in responses {
        assert_eq!(response.status, status, "{response:?}");
        code(&response);
        let shown = format!("{:?} {:?}", response.headers, response.body);
        assert!(!shown.contains(PLANTED), "{shown}");
    }
    world.finish().await;
}

/// The lead of another person for each number.
pub(super) fn somebody(number: usize) -> Value {
    let mut body = lead_body();
    body["email"] = json!(format!("somebody{number}@example.com"));
    body["leadId"] = Value::Null;
    body
}

/// A table that hangs holds up no response that does not need it.
#[tokio::test]
async fn a_request_that_needs_no_table_waits_for_none() {
    let (proxy, url) = Proxy::start().await;
    let mut world = intake().await;
    world.set_table_patience(TablePatience {
        totals: Duration::from_millis(50),
        ..TablePatience::default()
    });
    let hanging = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    proxy.break_requests(0..99, 99, Break::HangBefore);
    let large = vec![b' '; 70 * 1024];
    let refused = async {
        let put = hanging.send("lead-submit", Method::PUT, &[JSON], b"{}").await;
        let large = hanging.send("lead-submit", Method::POST, &[JSON], &large).await;
        (put.status, large.status)
    };
    // The table's own patience is 3 s for a try.
    let refused = tokio::time::timeout(Duration::from_secs(2), refused).await;
    assert_eq!(refused.expect("it waited for the table"), (405, 413));
    world.finish().await;
}

#[tokio::test]
async fn without_a_table_a_form_is_refused_and_nothing_is_kept() {
    let world = intake().await;
    let down = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")]);
    let response = down.submit(&lead_body()).await;
    assert_eq!((response.status, &*code(&response)), (503, "unavailable"));
    assert_eq!(response.header("retry-after"), Some("5"));
    assert!(world.store.journey(lead()).await.unwrap().is_none());
    assert_eq!(world.items("RECEIPT#").await, [Value::Null; 0]);
    // Field errors are found without the table.
    assert_eq!(down.submit(&json!({})).await.status, 422);
    world.finish().await;
}

#[tokio::test]
async fn a_deployment_with_another_hash_key_accepts_and_delivers_nothing() {
    let world = intake().await;
    let submitted = world.submit(&lead_body()).await;
    let wrong = world.deployment(&[("HASH_KEY", "another-key-of-16-and-more")]);
    let request = json!({"leadId": submitted.lead()});
    let mut responses =
        vec![wrong.submit(&somebody(1)).await, wrong.authorised("dispatch", &json!({})).await];
    for destination in destination::ALL {
        responses.push(wrong.authorised(destination.function, &request).await);
    }
    for response in responses {
        assert_eq!((response.status, &*code(&response)), (503, "unavailable"));
        assert!(response.header("retry-after").is_some());
    }
    for function in destination::ALL.iter().map(|one| one.function).chain(["dispatch"]) {
        let rung = wrong.invoke(function, json!({"ring": true})).await;
        assert_eq!(rung, json!({"error": "the table failed"}), "{function}");
    }
    assert_eq!(world.items("LEAD#").await.len(), 3, "the lead, its event and its consent");
    assert_eq!(world.submit(&somebody(2)).await.status, 200, "the right key still works");
    world.finish().await;
}
