//! Marked personal data, the events that carry it, and the search for it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::*;

pub(super) const LEAD_ID: &str = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
pub(super) const IP: &str = "198.51.100.177";
pub(super) const KEY: &str = "qzidempotencykey-0123";
pub(super) const EMAIL: &str = "qzlocal.part@qzdomain.example";

/// What must not be found in a log: everything that a person or a browser sent.
pub(super) const PERSONAL: [&str; 46] = [
    "qzcanceler",
    "qzreason",
    "qzquestion",
    "qzanswer",
    "qzgoal",
    "qzlinkname",
    "qzname",
    "qzsurname",
    "qzlocal",
    "qzdomain",
    EMAIL,
    "97531-8642",
    "975318642",
    "75318642",
    "qzbusiness",
    "qzrevenue",
    "qzhours",
    "qzstruggle",
    "qzsection",
    "qztraffic",
    "qzutmsource",
    "qzutmmedium",
    "qzutmcampaign",
    "qzutmterm",
    "qzutmcontent",
    "qzpage",
    "qzquery",
    "qzreferrer",
    "1357924680.1122334455",
    "1357924680",
    "1122334455",
    "1763675111",
    "1596403881999",
    "1116446470",
    "qzfbclid",
    "qzpolicy",
    "qzunknown",
    "qzhoneypot",
    "qzwrong",
    "qzmethod",
    "qztoken",
    "qzcookie",
    "qzorigin",
    "qzagent",
    KEY,
    IP,
];

pub(super) fn marked_body() -> Value {
    json!({
        "leadId": LEAD_ID, "name": "Qzname Qzsurname", "email": EMAIL,
        "phone": "(11) 97531-8642", "businessType": "qzbusiness", "monthlyRevenue": "qzrevenue",
        "workHoursDaily": "qzhours", "mainStruggle": "qzstruggle: \"tempo\" & família",
        "sourceSection": "qzsection", "trafficSource": "qztraffic",
        "utm": {
            "source": "qzutmsource", "medium": "qzutmmedium", "campaign": "qzutmcampaign",
            "term": "qzutmterm", "content": "qzutmcontent",
        },
        "pageUrl": "https://www.example.com/qzpage?qzquery=1&email=qzlocal.part%40qzdomain.example",
        "referrer": "https://qzreferrer.example/?q=qzquery",
        "gaClientId": "1357924680.1122334455", "gaSessionId": "1763675111",
        "fbp": "fb.1.1596403881999.1116446470", "fbc": "fb.1.1596403881999.qzfbclid",
        "consent": {
            "marketing": true, "analytics": true, "ads": true, "whatsapp": true,
            "policyVersion": "qzpolicy",
        },
        "unknown": "qzunknown",
    })
}

/// A booking of the same person.
pub(super) fn marked_booking() -> Value {
    marked_webhook(crate::calendly::created("INV1"))
}

/// The cancellation of that booking, with what the person wrote about it.
pub(super) fn marked_cancellation() -> Value {
    let mut body = marked_webhook(crate::calendly::canceled("INV1"));
    body["payload"]["cancellation"]["canceled_by"] = json!("Qzcanceler");
    body["payload"]["cancellation"]["reason"] = json!("qzreason: viagem");
    body
}

/// A no-show of that booking, with the whole invitee, as Calendly also sends it.
pub(super) fn marked_no_show() -> Value {
    let mut body = marked_booking();
    body["event"] = json!("invitee_no_show.created");
    body["created_at"] = json!("2031-05-08T18:00:00.000000Z");
    body
}

/// A webhook with marks in everything that the invitee wrote.
fn marked_webhook(mut body: Value) -> Value {
    body["payload"]["email"] = json!(EMAIL);
    body["payload"]["name"] = json!("Qzname Qzsurname");
    body["payload"]["text_reminder_number"] = json!("+55 11 97531-8642");
    body["payload"]["tracking"]["utm_content"] = json!("qzutmcontent");
    body["payload"]["questions_and_answers"] =
        json!([{"question": "qzquestion", "answer": "qzanswer", "position": 0}]);
    body["payload"]["scheduled_event"]["location"]["join_url"] = json!("https://qzpage.example/1");
    body
}

/// The same lead's answers, with a question that we do not know and a name from the page.
pub(super) fn marked_questionnaire() -> Value {
    json!({
        "leadId": LEAD_ID, "email": EMAIL, "name": "Qzlinkname",
        "responses": {
            "commitment": 9, "urgency": "imediata", "investmentRange": "acima-10000",
            "mainGoal": "qzgoal: menos horas", "qzquestion": "qzanswer",
        },
    })
}

/// An HTTP request with marks wherever there is room for them.
pub(super) fn http_event(body: &str) -> Value {
    let mut event = sample_event("http-v2", &Value::Null);
    event["body"] = Value::from(body);
    event["rawQueryString"] = json!("utm_source=qzutmsource&qzquery=1");
    event["cookies"] = json!(["_ga=GA1.1.1357924680.1122334455", "session=qzcookie"]);
    event["requestContext"]["http"]["sourceIp"] = json!(IP);
    event["requestContext"]["http"]["userAgent"] = json!("QzAgent/7.7");
    for (name, value) in [
        ("user-agent", "QzAgent/7.7"),
        ("x-forwarded-for", IP),
        ("referer", "https://www.example.com/qzpage?qzquery=1"),
        ("origin", "https://qzorigin.example"),
        ("cookie", "session=qzcookie"),
        ("idempotency-key", KEY),
    ] {
        event["headers"][name] = json!(value);
    }
    event
}

/// The request of a monitor that has the token, with marks in what it need not send.
pub(super) fn authorised_get() -> Value {
    let mut event = http_event("");
    event["requestContext"]["http"]["method"] = json!("GET");
    with(event, "authorization", "Bearer qsservicetoken0123456789")
}

/// Panics if a text holds anything personal or any credential.
pub(super) fn assert_nothing_in(whose: &str, text: &str) {
    let secrets = secrets();
    let secrets = secrets.iter().flat_map(|(_, value)| value.split(','));
    let in_addresses = SECRET_ADDRESSES.map(|(_, _, secret)| secret);
    for secret in PERSONAL.into_iter().chain(secrets).chain(in_addresses) {
        if let Some(form) = found(secret, text) {
            panic!("{whose} reveals {secret:?} as {form:?}: {text}");
        }
    }
}

/// The encoding of `wanted` that is in `text`, if there is one.
fn found(wanted: &str, text: &str) -> Option<String> {
    let url = reqwest::Url::parse_with_params("http://a", [("", wanted)]).unwrap();
    let bytes: Vec<String> = wanted.bytes().map(|byte| byte.to_string()).collect();
    let plain = [
        wanted.to_owned(),
        url.query().unwrap().trim_start_matches('=').to_owned(),
        bytes.join(", "),
        bytes.join(","),
    ];
    let lower = text.to_lowercase();
    let mut plain = plain.into_iter().filter(|form| lower.contains(&form.to_lowercase()));
    // In base64 a text looks different at each of the three places in a group.
    let spellings = [wanted.to_owned(), wanted.to_lowercase(), wanted.to_uppercase()];
    let mut encoded = spellings.iter().flat_map(|wanted| {
        (0..3).flat_map(move |before| {
            let padded = [vec![b'-'; before], wanted.clone().into_bytes()].concat();
            let begin = [0, 2, 3][before];
            // The last character of a group that is not full depends on what follows.
            let end = padded.len() * 8 / 6;
            [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)]
                .map(|encoded| encoded[begin..end].to_owned())
        })
    });
    plain.next().or_else(|| encoded.find(|form| text.contains(form)))
}

#[test]
fn the_search_sees_through_encodings() {
    let body = marked_body().to_string();
    let bytes: Vec<u8> = body.clone().into_bytes();
    for (what, text) in [
        ("JSON", body.clone()),
        (
            "a query",
            reqwest::Url::parse_with_params("http://a", [("e", EMAIL)]).unwrap().to_string(),
        ),
        ("capitals", body.to_uppercase()),
        ("base64", STANDARD_NO_PAD.encode(&body)),
        ("base64, one further", STANDARD_NO_PAD.encode(format!("1{body}"))),
        ("base64, two further", URL_SAFE_NO_PAD.encode(format!("12{body}"))),
        ("bytes", format!("{bytes:?}")),
    ] {
        assert!(found(EMAIL, &text).is_some(), "{what}: {text}");
    }
    assert_eq!(found(EMAIL, r#"{"lead":"6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11"}"#), None);
}
