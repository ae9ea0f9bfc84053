//! What `lead-submit` refuses, and how it says so; what it hides from robots.

use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, CALLER, World, lead, lead_body};

const JSON: (&str, &str) = ("content-type", "application/json");
const PORTUGUESE: (&str, &str) = ("accept-language", "pt-BR,pt;q=0.9,en;q=0.8");
/// What no answer may ever contain.
const PLANTED: &str = "zqx7planted";

/// A world in which nothing is ever delivered.
async fn intake() -> World {
    World::plan().with("DESTINATIONS", "none").start().await
}

async fn post(world: &World, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    world.call("lead-submit", Method::POST, headers, body.as_ref()).await
}

/// The code of a problem, which has the shape of RFC 9457.
fn code(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status);
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("urn:funil:problem:{code}"));
    for text in ["title", "detail"] {
        assert!(!problem[text].as_str().unwrap().is_empty());
    }
    code.to_owned()
}

#[tokio::test]
async fn all_faults_come_at_once_in_the_callers_language() {
    let world = intake().await;
    let body = json!({
        "leadId": "no", "name": " ", "email": "ana@", "phone": "123", "amandaScore": 101,
        "consent": {"marketing": "perhaps"}, "mainStruggle": "x".repeat(2001),
    });
    let expected = [
        ("leadId", "invalid_uuid", "Send a UUID.", "Envie um UUID."),
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
        let answer = world.submit_with(&headers, &body).await;
        assert_eq!((answer.status, &*code(&answer)), (422, "invalid_fields"));
        let expected: Vec<Value> = expected
            .iter()
            .map(|(field, code, en, pt)| {
                json!({"field": field, "code": code, "message": if portuguese { pt } else { en }})
            })
            .collect();
        assert_eq!(answer.json()["errors"], json!(expected));
    }
    world.finish().await;
}

#[tokio::test]
async fn a_problem_speaks_both_languages() {
    let world = intake().await;
    for (headers, title) in [
        (vec![JSON], "The body is not valid JSON"),
        (vec![JSON, PORTUGUESE], "O corpo não é JSON válido"),
        (vec![JSON, ("accept-language", "de")], "The body is not valid JSON"),
    ] {
        let answer = post(&world, &headers, "{").await;
        assert_eq!(answer.json()["title"], title);
        assert_eq!(answer.header("vary"), Some("Origin, Accept-Language"));
    }
    world.finish().await;
}

#[tokio::test]
async fn only_post_and_options_are_allowed() {
    let world = intake().await;
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD] {
        let answer = world.call("lead-submit", method, &[], b"").await;
        assert_eq!((answer.status, &*code(&answer)), (405, "method_not_allowed"));
        assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
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
        let answer = world.call("lead-submit", Method::OPTIONS, &headers, b"").await;
        assert_eq!(answer.status, 204);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin}");
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST, OPTIONS"));
        let names = answer.header("access-control-allow-headers").unwrap();
        assert!(names.contains("content-type") && names.contains("idempotency-key"));
        assert!(answer.header("vary").unwrap().contains("Origin"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    world.finish().await;
}

#[tokio::test]
async fn every_answer_can_be_read_by_the_sites_own_pages_alone() {
    let world = intake().await;
    for (body, status) in [(lead_body(), 200), (json!({}), 422)] {
        for (origin, allowed) in
            [("https://www.example.com", true), ("https://evil.example", false)]
        {
            let answer = world.submit_with(&[("origin", origin)], &body).await;
            assert_eq!(answer.status, status);
            let header = answer.header("access-control-allow-origin");
            assert_eq!(header, allowed.then_some(origin));
            let exposed = answer.header("access-control-expose-headers");
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
    let answer = world.submit(&body).await;
    assert_eq!((answer.status, &*code(&answer)), (413, "body_too_large"));
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
        let answer = post(&world, &[("content-type", content_type)], &body).await;
        assert_eq!((answer.status, &*code(&answer)), (415, "unsupported_content_type"));
    }
    assert_eq!(post(&world, &[], &body).await.status, 415);
    let utf8 = [("content-type", "Application/JSON; charset=UTF-8")];
    assert_eq!(post(&world, &utf8, &body).await.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn json_that_two_readers_could_read_differently_is_refused() {
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
        let answer = post(&world, &[JSON], &body).await;
        assert_eq!((answer.status, &*code(&answer)), (400, expected), "{body:.80}");
    }
    let answer = post(&world, &[JSON], b"{\"name\":\"\xff\xfe\"}").await;
    assert_eq!((answer.status, &*code(&answer)), (400, "invalid_json"));
    assert_eq!(post(&world, &[JSON], with(&format!(r#""x":{}"#, deep(31)))).await.status, 200);
    for not_an_object in ["[]", "null", "1", "\"text\""] {
        assert_eq!(post(&world, &[JSON], not_an_object).await.status, 422, "{not_an_object}");
    }
    world.finish().await;
}

#[tokio::test]
async fn an_idempotency_key_that_cannot_be_read_is_a_problem() {
    let world = intake().await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", &long, "chave-é"] {
        let answer = world.submit_with(&[("idempotency-key", key)], &lead_body()).await;
        assert_eq!((answer.status, &*code(&answer)), (400, "invalid_idempotency_key"), "{key}");
    }
    assert!(world.store.journey(lead()).await.unwrap().is_none());
    world.finish().await;
}

#[tokio::test]
async fn no_problem_echoes_anything_of_what_was_sent() {
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
    let answers = [
        (422, world.submit(&wrong).await),
        (422, world.submit_with(&[key], &reused).await),
        (400, world.submit_with(&[("idempotency-key", &planted_key)], &lead_body()).await),
        (400, post(&world, &[JSON], PLANTED).await),
        (400, post(&world, &[JSON], &twice).await),
        (413, post(&world, &[JSON], &large).await),
        (415, post(&world, &[("content-type", &planted_type)], PLANTED).await),
        (405, world.call("lead-submit", PLANTED.parse().unwrap(), &[], b"").await),
        (401, world.authorised_as(PLANTED, "crm-sync", &json!({"leadId": PLANTED})).await),
        (422, world.authorised("crm-sync", &json!({"leadId": PLANTED})).await),
    ];
    for (status, answer) in answers {
        assert_eq!(answer.status, status, "{answer:?}");
        code(&answer);
        let shown = format!("{:?} {:?}", answer.headers, answer.body);
        assert!(!shown.contains(PLANTED), "{shown}");
    }
    world.finish().await;
}

/// The lead of somebody else than all before.
fn somebody(number: usize) -> Value {
    let mut body = lead_body();
    body["email"] = json!(format!("somebody{number}@example.com"));
    body["leadId"] = Value::Null;
    body
}

#[tokio::test]
async fn the_eleventh_call_of_a_minute_waits_as_long_as_it_is_told() {
    let world = intake().await;
    for number in 0..10 {
        assert_eq!(world.submit(&somebody(number)).await.status, 200);
    }
    let refused = world.submit(&somebody(10)).await;
    assert_eq!((refused.status, &*code(&refused)), (429, "rate_limited"));
    let retry_after_s: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=7).contains(&retry_after_s), "{retry_after_s}");
    let kept = world.items("LEAD#").await;
    assert_eq!(kept.iter().filter(|item| item["type"]["S"] == "lead").count(), 10);

    assert_eq!(world.submit_from("203.0.113.11", &somebody(10)).await.status, 200);
    let spoofed = [("x-forwarded-for", "198.51.100.7"), ("x-real-ip", "198.51.100.7")];
    let spoofed = world.submit_with(&spoofed, &somebody(11)).await;
    assert_eq!(spoofed.status, 429, "what a caller says of itself is not believed");

    world.pass(retry_after_s);
    assert_eq!(world.submit(&somebody(12)).await.status, 200);
    assert_eq!(world.submit(&somebody(13)).await.status, 429, "one place was free again");
    world.pass(60);
    for number in 14..24 {
        assert_eq!(world.submit(&somebody(number)).await.status, 200, "{number}");
    }
    assert_eq!(world.submit(&somebody(24)).await.status, 429);
    world.finish().await;
}

#[tokio::test]
async fn a_refused_call_does_not_make_the_caller_wait_longer() {
    let world = intake().await;
    for number in 0..10 {
        world.submit(&somebody(number)).await;
    }
    for number in 10..30 {
        let refused = world.submit(&somebody(number)).await;
        assert_eq!(refused.header("retry-after"), Some("7"));
    }
    world.pass(7);
    assert_eq!(world.submit(&somebody(30)).await.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn ten_of_thirty_calls_at_once_pass() {
    let world = intake().await;
    let bodies: Vec<Value> = (0..30).map(somebody).collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| world.submit(body))).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert_eq!((passed, refused), (10, 20));
    world.finish().await;
}

#[tokio::test]
async fn a_proxy_of_the_sites_own_is_believed_where_it_is_named() {
    let world = World::plan()
        .with("DESTINATIONS", "none")
        .with("CLIENT_IP_HEADER", "X-Real-IP")
        .start()
        .await;
    for caller in ["198.51.100.1", "198.51.100.2"] {
        for number in 0..10 {
            let answer = world.submit_with(&[("x-real-ip", caller)], &somebody(number)).await;
            assert_eq!(answer.status, 200);
        }
        let answer = world.submit_with(&[("x-real-ip", caller)], &somebody(10)).await;
        assert_eq!(answer.status, 429);
    }
    world.finish().await;
}

#[tokio::test]
async fn without_a_table_a_form_says_no_and_nothing_is_kept() {
    let world = intake().await;
    let down = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")]);
    let answer = down.submit(&lead_body()).await;
    assert_eq!((answer.status, &*code(&answer)), (503, "unavailable"));
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert!(world.store.journey(lead()).await.unwrap().is_none());
    assert_eq!(world.items("RECEIPT#").await, [Value::Null; 0]);
    // What is wrong with the call is said without the table.
    assert_eq!(down.submit(&json!({})).await.status, 422);
    world.finish().await;
}

#[tokio::test]
async fn another_hash_key_on_the_same_table_serves_nothing() {
    let world = intake().await;
    let submitted = world.submit(&lead_body()).await;
    let wrong = world.deployment(&[("HASH_KEY", "another-key-of-16-and-more")]);
    let call = json!({"leadId": submitted.lead()});
    let mut answers =
        vec![wrong.submit(&somebody(1)).await, wrong.authorised("dispatch", &json!({})).await];
    for function in ["crm-sync", "mailerlite-sync", "ga4-events", "segment-sync"] {
        answers.push(wrong.authorised(function, &call).await);
    }
    for answer in answers {
        assert_eq!((answer.status, &*code(&answer)), (503, "unavailable"));
        assert!(answer.header("retry-after").is_some());
    }
    for function in ["dispatch", "crm-sync", "ga4-events"] {
        let rung = wrong.invoke(function, json!({"ring": true})).await;
        assert_eq!(rung, json!({"error": "the table failed"}));
    }
    assert_eq!(world.items("LEAD#").await.len(), 3, "the lead, its event and its consent");
    assert_eq!(world.submit(&somebody(2)).await.status, 200, "the right key goes on");
    world.finish().await;
}

/// What a robot could tell two answers apart by: the shape of the body, not the ids in it.
fn shape(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<String>) {
    let headers = answer.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let keys = answer.json().as_object().unwrap().keys().cloned().collect();
    (answer.status, headers.collect(), keys)
}

#[tokio::test]
async fn a_robot_gets_the_usual_answer_and_is_set_aside() {
    let world = World::new().await;
    world.expect_one_lead();
    let real = world.submit(&lead_body()).await;
    let mut robot = somebody(1);
    robot["website"] = json!("https://spam.example");
    let caught = world.submit(&robot).await;
    assert_eq!(shape(&caught), shape(&real));
    assert!(world.store.journey(caught.lead()).await.unwrap().is_none(), "nothing is planned");
    let quarantined = world.items("QUARANTINE#lead-submit").await;
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0]["reason"]["S"], "honeypot");
    assert!(!quarantined[0].to_string().contains("somebody1"), "it is not readable in the table");
    assert_eq!(world.items("ALIAS#").await.len(), 2, "those of the real lead");

    let (again, real_again) = (world.submit(&robot).await, world.submit(&lead_body()).await);
    assert_eq!(shape(&again), shape(&real_again));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.body, caught.body);
    assert_eq!(world.items("QUARANTINE#lead-submit").await.len(), 1);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_robots_answer_carries_the_id_and_score_that_a_lead_would_have() {
    let world = intake().await;
    let mut robot = lead_body();
    robot["website"] = json!("https://spam.example");
    let caught = world.submit(&robot).await;
    assert_eq!(caught.lead(), lead());
    assert_eq!(caught.json()["amandaScore"], 76);
    // The blank field of a person is no sign of anything.
    let mut person = somebody(1);
    person["website"] = json!("  ");
    let accepted = world.submit(&person).await.lead();
    assert_eq!(world.journey(accepted).await.events.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn robots_count_against_the_rate_limit_of_their_address() {
    let world = intake().await;
    for number in 0..10 {
        let mut robot = somebody(number);
        robot["website"] = json!("x");
        assert_eq!(world.submit_from(CALLER, &robot).await.status, 200);
    }
    assert_eq!(world.submit(&lead_body()).await.status, 429);
    world.finish().await;
}

#[tokio::test]
async fn a_person_whose_browser_filled_the_trap_is_kept_when_they_send_it_again() {
    let world = intake().await;
    let mut caught = lead_body();
    caught["website"] = json!("https://ana.example");
    world.submit(&caught).await;
    let kept = world.submit(&lead_body()).await;
    assert_eq!((kept.status, kept.header("idempotency-replayed")), (200, None));
    assert_eq!(world.journey(lead()).await.events.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn callers_of_one_ipv6_network_share_a_limit() {
    let world = intake().await;
    for number in 0..10 {
        let caller = format!("2001:db8:1:2::{number:x}");
        assert_eq!(world.submit_from(&caller, &somebody(number)).await.status, 200);
    }
    assert_eq!(world.submit_from("2001:db8:1:2:ffff::1", &somebody(10)).await.status, 429);
    assert_eq!(world.submit_from("2001:db8:1:3::1", &somebody(10)).await.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn a_long_silence_earns_no_more_calls() {
    let world = intake().await;
    world.submit(&somebody(0)).await;
    world.pass(3600);
    let bodies: Vec<Value> = (1..13).map(somebody).collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| world.submit(body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 10);
    world.finish().await;
}
