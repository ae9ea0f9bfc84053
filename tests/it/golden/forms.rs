//! The first part of the walk: accepted forms, rejected forms, and the questionnaire.

use http::Method;
use serde_json::{Value, json};

use super::walk::{JSON, Walk};
use crate::world::{LEAD, lead_body, questionnaire_body};

/// The id of the lead who sends a plain HTML form.
pub(super) const OF_HTML: &str = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b12";
/// The id of the lead who agrees to nothing.
const WHO_DENIES: &str = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b13";
/// The header by which a browser names itself.
const BROWSER: (&str, &str) = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
/// The origin of the customer's site.
const ORIGIN: (&str, &str) = ("origin", "https://www.example.com");
/// The idempotency key of the first form.
pub(super) const KEY: (&str, &str) =
    ("idempotency-key", "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"");
/// The languages of a person who reads Portuguese.
pub(super) const PORTUGUESE: (&str, &str) = ("accept-language", "pt-BR,pt;q=0.9,en;q=0.5");

/// Title, method, headers and body of a request that is rejected.
type Rejected<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

/// A form in which every field is filled.
pub(super) fn whole() -> Value {
    let mut body = lead_body();
    body["consent"]["ads"] = json!(true);
    body["consent"]["whatsapp"] = json!(true);
    body["amandaScore"] = json!(88);
    body["utm"] = json!({
        "source": "instagram", "medium": "social", "campaign": "lançamento", "term": "mentoria",
        "content": "video-1",
    });
    body["pageUrl"] = json!("https://www.example.com/?utm_source=instagram");
    body["referrer"] = json!("https://l.instagram.com/");
    body["gaSessionId"] = json!(1_767_225_600);
    body["fbp"] = json!("fb.1.1767225600000.1098115397");
    body["fbc"] = json!("fb.1.1767225600000.AbCdEfGh");
    body
}

/// A form of another person.
pub(super) fn of(name: &str, phone: Option<&str>) -> Value {
    json!({
        "name": name,
        "email": format!("{}@example.com", name.to_lowercase()),
        "phone": phone,
        "businessType": "loja",
        "consent": {"marketing": true, "analytics": true, "whatsapp": true},
    })
}

/// Walks this part.
pub(super) async fn walk(walk: &mut Walk) {
    accepted(walk).await;
    rejected(walk).await;
    questionnaire(walk).await;
}

async fn accepted(walk: &mut Walk) {
    let lead_submit = ("POST", "lead-submit");
    let page = [JSON, BROWSER, ORIGIN, KEY];
    let body = whole().to_string();
    walk.send("a form with everything", lead_submit, &page, body.as_bytes()).await;
    walk.work().await;
    walk.send("the same again", lead_submit, &page, body.as_bytes()).await;
    let minimal = json!({"name": "Bia", "email": "Bia@Example.com", "businessType": "outro"});
    walk.post("a form with the least", "lead-submit", &minimal).await;
    for (title, function) in [
        ("the schedule of the CRM", "crm-sync"),
        ("the schedule of GA4", "ga4-events"),
        ("the schedule of Segment", "segment-sync"),
    ] {
        walk.schedule(title, function).await;
    }
    walk.work().await;
    walk.post("the same again, without a key", "lead-submit", &minimal).await;

    let html = format!(
        "leadId={OF_HTML}&name=Caio+Exemplo&email=caio%40example.com&phone=%2821%29+99876-5432\
         &businessType=servi%C3%A7os&monthlyRevenue=30000-50000&workHoursDaily=12\
         &mainStruggle=equipe&utm%5Bsource%5D=google&consent.marketing=on&consent.analytics=on\
         &consent.whatsapp=on&website="
    );
    let plain = [("content-type", "application/x-www-form-urlencoded"), BROWSER];
    walk.send("a plain HTML form", lead_submit, &plain, html.as_bytes()).await;
    walk.work().await;
    walk.send("the same again", lead_submit, &plain, html.as_bytes()).await;

    let mut other = of("Davi", Some("+55 31 99123-4567"));
    other["leadId"] = json!(LEAD);
    walk.post("a leadId that belongs to another e-mail", "lead-submit", &other).await;
    walk.work().await;
    let mut robot = of("Robot", None);
    robot["website"] = json!("https://spam.example.com");
    walk.post("a honeypot", "lead-submit", &robot).await;
    let mut denies = of("Eva", Some("(41) 99888-7777"));
    denies["leadId"] = json!(WHO_DENIES);
    denies["consent"] = json!({
        "marketing": false, "analytics": false, "ads": false, "whatsapp": false,
        "policyVersion": "2026-01",
    });
    walk.post("somebody who agrees to nothing", "lead-submit", &denies).await;
    walk.work().await;
    let mut anew = whole();
    anew["mainStruggle"] = json!("equipe");
    anew["utm"] = json!({"source": "newsletter"});
    anew["trafficSource"] = json!("email");
    walk.post("the first lead anew, from elsewhere", "lead-submit", &anew).await;
    walk.work().await;
}

async fn rejected(walk: &mut Walk) {
    let large = format!(r#"{{"name":"{}"}}"#, "a".repeat(64 * 1024));
    let deep = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
    let faults = json!({
        "leadId": "no", "email": "no", "phone": "no", "amandaScore": 101, "name": 7,
        "mainStruggle": "a".repeat(2001), "consent": {"marketing": "perhaps"}, "utm": 7,
    });
    let faults = faults.to_string();
    let mut reused = whole();
    reused["mainStruggle"] = json!("dinheiro");
    let reused = reused.to_string();
    let requests: [Rejected<'_>; 10] = [
        ("no JSON", "POST", &[JSON], "{"),
        ("a key twice", "POST", &[JSON], r#"{"name":"a","name":"b"}"#),
        ("too deep", "POST", &[JSON], &deep),
        ("an idempotency key that is none", "POST", &[JSON, ("idempotency-key", "")], "{}"),
        ("invalid fields", "POST", &[JSON], &faults),
        ("nothing in it", "POST", &[JSON], "{}"),
        ("a key reused", "POST", &[JSON, KEY], &reused),
        ("another method", "PUT", &[JSON], "{}"),
        ("another content type", "POST", &[("content-type", "text/plain")], "{}"),
        ("too large", "POST", &[JSON], &large),
    ];
    for (title, method, headers, body) in requests {
        let to = (method, "lead-submit");
        walk.send(title, to, &[headers, &[ORIGIN]].concat(), body.as_bytes()).await;
        let title = format!("{title}, in Portuguese");
        walk.send(&title, to, &[headers, &[PORTUGUESE]].concat(), body.as_bytes()).await;
    }
    for (title, origin) in [
        ("a preflight", ORIGIN),
        ("a preflight from elsewhere", ("origin", "https://elsewhere.example.org")),
    ] {
        walk.send(title, ("OPTIONS", "lead-submit"), &[origin], b"").await;
    }
    let unreadable = json!({
        "version": "2.0", "body": "%", "isBase64Encoded": true, "headers": {},
        "requestContext": {"http": {"method": "POST", "path": "/lead-submit"}},
    });
    let response = walk.world.invoke("lead-submit", unreadable).await;
    walk.note_text("an event that is no HTTP request", &format!("{response:#}"));
    let response = walk.world.invoke("lead-submit", json!({"ring": true})).await;
    walk.note_text("a ring at a form", &response.to_string());

    let again = json!({"name": "Bia", "email": "bia@example.com", "businessType": "outro"});
    for _ in 0..10 {
        walk.world.submit_from("203.0.113.77", &again).await;
    }
    let response = walk.world.submit_from("203.0.113.77", &again).await;
    walk.note("too many", &response);
    let (headers, body) = ([JSON, PORTUGUESE], again.to_string());
    let response = walk.world.send_from(
        "203.0.113.77",
        "lead-submit",
        Method::POST,
        &headers,
        body.as_bytes(),
    );
    let response = response.await;
    walk.note("too many, in Portuguese", &response);
    let strange = walk.world.deployment(&[("HASH_KEY", "another-key-of-16-and-more")]);
    let response = strange.submit(&again).await;
    walk.note("a table of another key", &response);
    let response = strange.submit_with(&[PORTUGUESE], &again).await;
    walk.note("a table of another key, in Portuguese", &response);
}

async fn questionnaire(walk: &mut Walk) {
    let function = "questionnaire-submit";
    walk.world.pass(600);
    let qualifies = questionnaire_body();
    let post = ("POST", function);
    let body = qualifies.to_string();
    walk.send("a questionnaire that qualifies", post, &[JSON, BROWSER, ORIGIN], body.as_bytes())
        .await;
    walk.work().await;
    walk.post("the same questionnaire again", function, &qualifies).await;
    let fails = json!({
        "leadId": OF_HTML, "email": "caio@example.com", "name": "Caio",
        "responses": {"commitment": 2, "urgency": "ontem", "pets": ["gato", 2], "team": 3},
        "consent": {"marketing": false},
    });
    walk.post("a questionnaire with a choice that is none", function, &fails).await;
    let mut fails = fails;
    fails["responses"]["urgency"] = Value::Null;
    walk.post("a questionnaire that does not qualify", function, &fails).await;
    walk.work().await;
    let html = format!(
        "leadId={LEAD}&email=ana%40example.com&name=Ana&responses.commitment=10\
         &responses.urgency=imediata&responses.weeklyHours=10&responses.mainGoal=Tempo"
    );
    let plain = [("content-type", "application/x-www-form-urlencoded"), BROWSER];
    walk.send("a questionnaire as a plain HTML form", post, &plain, html.as_bytes()).await;
    walk.work().await;
    let mut unknown = qualifies.clone();
    unknown["email"] = json!("nobody@example.com");
    walk.post("a questionnaire of nobody", function, &unknown).await;
    let body = unknown.to_string();
    walk.send("the same in Portuguese", post, &[JSON, PORTUGUESE], body.as_bytes()).await;
    walk.post("an empty questionnaire", function, &json!({})).await;
    walk.send("a preflight of the questionnaire", ("OPTIONS", function), &[ORIGIN], b"").await;
}
