//! The sample events under `events/payload-formats`, one for each payload format: each
//! parses to its trigger with the body that the caller sent, and no event, however broken, panics.

use std::{collections::BTreeMap, fs, path::Path};

use funil_lambda::platform::{
    request::{HttpEventError, HttpRequest, PayloadFormat},
    trigger::Trigger,
};
use serde_json::{Value, json};

const LEAD: &str = concat!(
    r#"{"leadId":"6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11","name":"Ana Exemplo","#,
    r#""email":"ana@example.com","phone":"(11) 98765-4321","businessType":"consultoria","#,
    r#""monthlyRevenue":"10000-30000","workHoursDaily":10,"mainStruggle":"tempo","#,
    r#""consent":{"marketing":true,"analytics":true,"policyVersion":"2026-01"}}"#,
);

const LEAD_AS_A_PLAIN_FORM: &str = concat!(
    "leadId=6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11&name=Ana+Exemplo&email=ana%40example.com",
    "&phone=%2811%29+98765-4321&businessType=consultoria&monthlyRevenue=10000-30000",
    "&workHoursDaily=10&mainStruggle=tempo&consent%5Bmarketing%5D=true",
    "&consent%5Banalytics%5D=true&consent%5BpolicyVersion%5D=2026-01",
);

fn samples() -> BTreeMap<String, Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/payload-formats");
    let files = fs::read_dir(directory).expect("the samples are in the repository");
    files
        .map(|file| {
            let path = file.expect("a directory can be read to its end").path();
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            let text = fs::read(&path).expect("a sample can be read");
            let event = serde_json::from_slice(&text);
            (name.clone(), event.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect()
}

fn sample(name: &str) -> Value {
    samples().remove(name).unwrap_or_else(|| panic!("there is no {name}"))
}

fn request(name: &str) -> HttpRequest {
    match Trigger::parse(sample(name)) {
        Ok(Trigger::Http(request)) => request,
        other => panic!("{name}: {other:?}"),
    }
}

/// A file, and in one line what it must parse to; and the body, for what has one.
fn check(name: &str, expected: &str, body: &str) {
    let (line, seen) = match Trigger::parse(sample(name)).expect(name) {
        Trigger::Http(request) => {
            let ip = request.client_ip.map_or("nobody".to_owned(), |ip| ip.to_string());
            let HttpRequest { payload_format, method, path, .. } = &request;
            (format!("{payload_format:?} {method} {path} from {ip}"), request.body)
        }
        Trigger::Stream(records) => (format!("stream of {}", records.len()), "".into()),
        Trigger::Schedule => ("schedule".to_owned(), "".into()),
        Trigger::Direct(value) => (format!("direct {value}"), "".into()),
    };
    assert_eq!(line, expected, "{name}");
    assert_eq!(seen, body, "{name}");
}

const EXPECTED: [(&str, &str, &str); 15] = [
    ("direct-empty.json", "direct {}", ""),
    ("direct-ring.json", r#"direct {"ring":true}"#, ""),
    ("dynamodb-stream.json", "stream of 4", ""),
    ("eventbridge-schedule.json", "schedule", ""),
    (
        "function-url-base64.json",
        "HttpV2 POST /lead-submit from 203.0.113.10",
        LEAD_AS_A_PLAIN_FORM,
    ),
    ("function-url.json", "HttpV2 POST /lead-submit from 2001:db8:85a3::8a2e:370:7334", LEAD),
    ("get-v2.json", "HttpV2 GET /api/health/webhooks from 203.0.113.10", ""),
    ("http-v2-stage.json", "HttpV2 POST /lead-submit from 203.0.113.10", LEAD),
    ("http-v2.json", "HttpV2 POST /lead-submit from 203.0.113.10", LEAD),
    (
        "netlify-empty-context.json",
        "Netlify POST /.netlify/functions/lead-submit from 203.0.113.77",
        LEAD,
    ),
    ("netlify-schedule.json", "schedule", ""),
    ("netlify.json", "Netlify POST /api/lead-submit from 203.0.113.77", LEAD),
    ("options-preflight-v2.json", "HttpV2 OPTIONS /lead-submit from 203.0.113.10", ""),
    ("rest-v1-base64.json", "RestV1 POST /lead-submit from 198.51.100.23", LEAD),
    ("rest-v1.json", "RestV1 POST /lead-submit from 198.51.100.23", LEAD),
];

#[test]
fn every_sample_parses_to_its_trigger_with_the_body_that_the_caller_sent() {
    let names: Vec<String> = samples().into_keys().collect();
    assert_eq!(names, EXPECTED.map(|(name, ..)| name), "the table lists every file");
    for (name, expected, body) in EXPECTED {
        check(name, expected, body);
    }
}

#[test]
fn every_posted_sample_has_the_headers_that_an_intake_reads() {
    for (name, expected, body) in EXPECTED {
        if !expected.contains(" POST ") {
            continue;
        }
        let request = request(name);
        let header = |header: &str| {
            let values: Vec<_> = request.headers.get_all(header).iter().collect();
            assert_eq!(values.len(), 1, "{name}: {header}");
            values[0].to_str().unwrap().to_owned()
        };
        assert!(header("content-type").starts_with("application/"), "{name}");
        // API Gateway's REST APIs pass no length on.
        if request.payload_format != PayloadFormat::RestV1 {
            assert_eq!(header("content-length"), body.len().to_string(), "{name}");
        }
        assert!(header("accept-language").starts_with("pt-BR"), "{name}");
        assert_eq!(header("origin"), "https://www.example.com", "{name}");
        assert!(!header("host").is_empty(), "{name}");
    }
    assert!(request("http-v2.json").headers["cookie"].to_str().unwrap().starts_with("_ga=GA1.1."));
}

#[test]
fn the_queries_of_the_samples_are_decoded() {
    let query = |name: &str| {
        let pairs = request(name).query;
        pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" & ")
    };
    let staged = "utm_source=instagram & utm_campaign=mentoria 2026 & tag=a,b & tag=c";
    assert_eq!(query("http-v2-stage.json"), staged);
    assert_eq!(query("rest-v1.json"), "tag=a,b & tag=c & utm_source=instagram");
    assert_eq!(query("netlify.json"), "utm_source=instagram");
    assert_eq!(query("get-v2.json"), "provider=stripe & provider=calendly & verbose=");
}

#[test]
fn the_records_of_the_stream_sample_are_read() {
    let Ok(Trigger::Stream(records)) = Trigger::parse(sample("dynamodb-stream.json")) else {
        panic!("it is a stream");
    };
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            let kind = record.sk.split('#').next().unwrap();
            (record.is_new, kind, record.due_at.as_deref())
        })
        .collect();
    assert_eq!(
        rows,
        [
            (true, "DELIVERY", Some("2026-01-15T12:00:00.123Z")),
            (false, "DELIVERY", Some("2026-01-15T12:01:00.456Z")),
            (false, "RATE", None),
            (true, "EVENT", None),
        ]
    );
}

/// Calls `visit` with the event once for each of its values, that value replaced.
fn with_each_value_replaced(event: &Value, by: &Value, visit: &mut dyn FnMut(&str, Value)) {
    let mut pointers = vec![String::new()];
    let mut at = 0;
    while let Some(pointer) = pointers.get(at).cloned() {
        at += 1;
        let children: Vec<String> = match event.pointer(&pointer).expect("it was found there") {
            Value::Object(members) => members.keys().cloned().collect(),
            Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        // No sample's names need more of RFC 6901's escapes than this.
        let escaped = |name: &String| name.replace('~', "~0").replace('/', "~1");
        pointers.extend(children.iter().map(|name| format!("{pointer}/{}", escaped(name))));
        let mut broken = event.clone();
        *broken.pointer_mut(&pointer).expect("the copy has it too") = by.clone();
        visit(&pointer, broken);
    }
}

#[test]
fn no_broken_event_panics_and_none_that_was_http_is_trusted_as_a_direct_invocation() {
    let replacements = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("é\u{0}\r\n"),
        json!([]),
        json!([null]),
        json!([[{ "S": null }], "x"]),
        json!({}),
        json!({ "": { "S": [] } }),
    ];
    let mut tried = 0;
    for (name, expected, _) in EXPECTED {
        let event = sample(name);
        for by in &replacements {
            with_each_value_replaced(&event, by, &mut |pointer, broken| {
                tried += 1;
                let parsed = Trigger::parse(broken);
                let was_http = expected.contains(" from ");
                if was_http && !pointer.is_empty() {
                    assert!(
                        matches!(parsed, Ok(Trigger::Http(_)) | Err(_)),
                        "{name}: {by} at {pointer} gave {parsed:?}"
                    );
                }
            });
        }
    }
    assert!(tried > 3000, "only {tried} broken events were tried");
}

/// What Netlify is known to do, put to the test at every place of its events and API Gateway's.
#[test]
fn a_null_anywhere_but_the_method_leaves_an_event_of_payload_1_a_request() {
    for name in ["netlify.json", "netlify-empty-context.json", "rest-v1.json"] {
        with_each_value_replaced(&sample(name), &Value::Null, &mut |pointer, broken| {
            let parsed = Trigger::parse(broken);
            match pointer {
                "" => assert!(matches!(parsed, Ok(Trigger::Direct(Value::Null)))),
                "/httpMethod" => assert!(matches!(parsed, Err(HttpEventError::Method { .. }))),
                _ => {
                    let Ok(Trigger::Http(request)) = parsed else {
                        panic!("{name}: null at {pointer} gave {parsed:?}")
                    };
                    assert_eq!(request.method, "POST", "{name}: null at {pointer}");
                    let lost_body = pointer == "/body";
                    assert_eq!(request.body.is_empty(), lost_body, "{name}: null at {pointer}");
                    // Without any context there is nothing left of API Gateway to see.
                    let netlify = name != "rest-v1.json" || pointer == "/requestContext";
                    let payload_format =
                        if netlify { PayloadFormat::Netlify } else { PayloadFormat::RestV1 };
                    assert_eq!(request.payload_format, payload_format, "{name}: null at {pointer}");
                }
            }
        });
    }
}

/// Neither must an odd record hide the others of its batch.
#[test]
fn a_null_in_a_record_leaves_the_batch_its_four_records() {
    with_each_value_replaced(&sample("dynamodb-stream.json"), &Value::Null, &mut |at, broken| {
        let parsed = Trigger::parse(broken);
        match at {
            "" | "/Records" => assert!(matches!(parsed, Ok(Trigger::Direct(_))), "null at {at}"),
            _ => assert!(
                matches!(&parsed, Ok(Trigger::Stream(records)) if records.len() == 4),
                "null at {at} gave {parsed:?}"
            ),
        }
    });
}
