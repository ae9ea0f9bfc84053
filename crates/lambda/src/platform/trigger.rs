//! Finds out from the event's JSON what started an invocation: an HTTP request, a batch of the
//! table's stream, a schedule, or a direct invocation.
//!
//! Pure. Must not know what a function does with its trigger, nor the fields of an HTTP event
//! (`request.rs` reads them). Nothing here prints what a person sent.

use std::fmt;

use serde_json::{Value, json};

use crate::platform::request::{HttpEventError, HttpRequest, text_at};

/// What started an invocation.
pub enum Trigger {
    /// An HTTP request, through API Gateway, a Function URL or Netlify.
    Http(HttpRequest),
    /// A batch of the table's stream, in the stream's order.
    Stream(Vec<StreamRecord>),
    /// A schedule: an `EventBridge` rule or schedule, or one of Netlify.
    Schedule,
    /// Any other JSON. Only somebody with the right to invoke the function can send it.
    Direct(Value),
}

/// One record of a batch of the `DynamoDB` stream, as Lambda delivers it
/// (<https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>). What the record lacks, or has
/// in another type, is empty here: one odd record must not fail its batch.
#[derive(Clone, Eq, PartialEq)]
pub struct StreamRecord {
    /// Whether the item is new, and neither changed nor deleted: `eventName` is `INSERT`.
    pub is_new: bool,
    /// The item's partition key.
    pub pk: String,
    /// The item's sort key.
    pub sk: String,
    /// The new image's `due_sk`: when a delivery falls due.
    pub due_at: Option<String>,
    /// Whether the new image has the mark of a delivery that a ring names.
    pub at_once: bool,
}

impl Trigger {
    /// What it is called in logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Stream(_) => "stream",
            Self::Schedule => "schedule",
            Self::Direct(_) => "direct",
        }
    }

    /// Finds out what started an invocation.
    ///
    /// Whatever looks like HTTP is HTTP or an error, never [`Trigger::Direct`]: a direct invocation
    /// has passed the platform's own authorisation, and an HTTP request has not.
    pub fn parse(event: Value) -> Result<Self, HttpEventError> {
        if is_http_v2(&event) {
            return HttpRequest::from_v2(event).map(Self::Http);
        }
        if event.get("httpMethod").is_some() {
            let request = HttpRequest::from_v1(event)?;
            return Ok(if request.is_netlify_schedule() {
                Self::Schedule
            } else {
                Self::Http(request)
            });
        }
        if let Some(records) = stream_records(&event) {
            return Ok(Self::Stream(records.iter().map(StreamRecord::read).collect()));
        }
        if is_event_bridge_schedule(&event) {
            return Ok(Self::Schedule);
        }
        Ok(Self::Direct(event))
    }
}

/// Payload format 2.0, of API Gateway's HTTP APIs and of Function URLs: `version` says so, and the
/// method is in `requestContext.http`
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).
/// A `requestContext` without any method, such as a WebSocket's, counts as well and then fails to
/// parse.
fn is_http_v2(event: &Value) -> bool {
    let context = event.get("requestContext").filter(|context| !context.is_null());
    let has_http = context.is_some_and(|context| context.get("http").is_some());
    let has_method = event.get("httpMethod").is_some();
    has_http || text_at(event, "/version") == Some("2.0") || (context.is_some() && !has_method)
}

/// The records of an event that is a batch of a `DynamoDB` stream. One record of that source is
/// enough: Lambda never mixes sources, and an odd record must not hide the others.
fn stream_records(event: &Value) -> Option<&[Value]> {
    let records = event.get("Records")?.as_array()?;
    let of_dynamodb = |record| text_at(record, "/eventSource") == Some("aws:dynamodb");
    records.iter().any(of_dynamodb).then_some(records)
}

/// A rule's schedule has the source `aws.events`, `EventBridge` Scheduler's default payload
/// `aws.scheduler`; both have the same detail type
/// (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html>).
fn is_event_bridge_schedule(event: &Value) -> bool {
    text_at(event, "/detail-type") == Some("Scheduled Event")
        && matches!(text_at(event, "/source"), Some("aws.events" | "aws.scheduler"))
}

impl StreamRecord {
    fn read(record: &Value) -> Self {
        let text = |pointer| text_at(record, pointer).map(str::to_owned);
        Self {
            is_new: text_at(record, "/eventName") == Some("INSERT"),
            pk: text("/dynamodb/Keys/pk/S").unwrap_or_default(),
            sk: text("/dynamodb/Keys/sk/S").unwrap_or_default(),
            due_at: text("/dynamodb/NewImage/due_sk/S"),
            at_once: record.pointer("/dynamodb/NewImage/at_once").is_some(),
        }
    }
}

/// The response of a stream reader that handled its whole batch
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>). No
/// record is ever reported as failed: each minute's schedule finds what a batch missed.
pub fn all_records_handled() -> Value {
    json!({ "batchItemFailures": [] })
}

/// Prints the kind and what is safe to log: the value of a direct invocation may hold anything.
impl fmt::Debug for Trigger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(request) => formatter.debug_tuple("Http").field(request).finish(),
            Self::Stream(records) => formatter.debug_tuple("Stream").field(&records.len()).finish(),
            Self::Schedule => formatter.write_str("Schedule"),
            Self::Direct(_) => formatter.debug_tuple("Direct").finish_non_exhaustive(),
        }
    }
}

/// Prints no keys: the key of a receipt contains the caller's idempotency key.
impl fmt::Debug for StreamRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StreamRecord").field("is_new", &self.is_new).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kind of trigger as a short text, for tables.
    fn check(event: Value, expected: &str) {
        let original = event.clone();
        let kind = match Trigger::parse(event) {
            Ok(Trigger::Http(request)) => format!("http {:?}", request.payload_format),
            Ok(Trigger::Stream(records)) => format!("stream of {}", records.len()),
            Ok(Trigger::Schedule) => "schedule".to_owned(),
            Ok(Trigger::Direct(value)) => {
                assert_eq!(value, original, "a direct invocation keeps its whole value");
                "direct".to_owned()
            }
            Err(error) => format!("error {:?}: {error}", error.payload_format()),
        };
        assert_eq!(kind, expected, "{original}");
    }

    #[test]
    fn the_event_shows_what_started_the_invocation() {
        let v2 = json!({ "http": { "method": "GET" } });
        check(json!({ "version": "2.0", "requestContext": v2 }), "http HttpV2");
        check(json!({ "requestContext": v2, "httpMethod": "GET" }), "http HttpV2");
        check(json!({ "httpMethod": "GET", "requestContext": null }), "http Netlify");
        check(
            json!({ "httpMethod": "GET", "requestContext": { "identity": { "sourceIp": "::1" } } }),
            "http RestV1",
        );
        check(json!({ "Records": [{ "eventSource": "aws:dynamodb" }] }), "stream of 1");
        check(json!({ "Records": [null, { "eventSource": "aws:dynamodb" }] }), "stream of 2");
        check(json!({ "Records": [{ "eventSource": "aws:sqs" }] }), "direct");
        check(json!({ "Records": [] }), "direct");
        check(json!({ "source": "aws.events", "detail-type": "Scheduled Event" }), "schedule");
        check(json!({ "source": "aws.scheduler", "detail-type": "Scheduled Event" }), "schedule");
        check(json!({ "source": "my.app", "detail-type": "Scheduled Event" }), "direct");
        check(json!({ "source": "aws.events", "detail-type": "Something Else" }), "direct");
        check(json!({ "detail-type": "Scheduled Event" }), "direct");
        check(json!({ "ring": true }), "direct");
    }

    #[test]
    fn json_of_any_other_form_is_a_direct_invocation() {
        for event in [
            json!(null),
            json!(true),
            json!(7),
            json!(-1.5),
            json!(""),
            json!("httpMethod"),
            json!([]),
            json!([{ "httpMethod": "GET" }]),
            json!({}),
            json!({ "Records": null }),
            json!({ "Records": {} }),
            json!({ "Records": [1, "two", [], null] }),
            json!({ "version": 2.0 }),
            json!({ "version": "0", "requestContext": null }),
        ] {
            check(event, "direct");
        }
    }

    /// A direct invocation is trusted, so an HTTP event that cannot be read must not become one.
    #[test]
    fn what_looks_like_http_is_never_a_direct_invocation() {
        let not_v2 = "error HttpV2: the event is not an HTTP request in API Gateway's payload format \
                      2.0";
        check(json!({ "version": "2.0" }), not_v2);
        check(json!({ "requestContext": {} }), not_v2);
        check(json!({ "requestContext": { "connectionId": "a websocket's" } }), not_v2);
        check(json!({ "requestContext": { "http": null } }), not_v2);
        check(json!({ "requestContext": { "http": { "method": "NOT A METHOD" } } }), not_v2);
        check(json!({ "requestContext": { "http": { "method": "POST" } }, "body": {} }), not_v2);

        let no_method = "error Netlify: the event's HTTP method is not a method";
        check(json!({ "httpMethod": null }), no_method);
        check(json!({ "httpMethod": "" }), no_method);
        check(json!({ "httpMethod": 1 }), no_method);
        check(json!({ "httpMethod": "NOT A METHOD" }), no_method);
    }

    #[test]
    fn only_netlify_can_say_that_a_request_is_its_schedule() {
        let request = |context: Value, headers: Value| json!({ "httpMethod": "POST", "path": "/.netlify/functions/sweep", "requestContext": context, "headers": headers });
        let mark = json!({ "X-NF-Event": "Schedule" });
        check(request(json!(null), mark.clone()), "schedule");
        check(request(json!({}), mark.clone()), "schedule");
        check(request(json!({ "identity": { "sourceIp": null } }), mark.clone()), "schedule");
        check(request(json!({ "identity": { "sourceIp": "" } }), mark.clone()), "schedule");
        check(
            request(json!({ "identity": { "sourceIp": "192.0.2.1" } }), mark.clone()),
            "http RestV1",
        );
        let console = json!({ "identity": { "sourceIp": "test-invoke-source-ip" } });
        check(request(console, mark.clone()), "http RestV1");
        check(request(json!({ "apiId": "a1b2c3" }), mark.clone()), "http RestV1");
        check(request(json!({ "elb": { "targetGroupArn": "arn:" } }), mark.clone()), "http RestV1");
        check(request(json!({ "http": { "method": "POST" } }), mark), "http HttpV2");

        // The other functions have an address, where anybody can send the header.
        for path in
            ["/.netlify/functions/crm-sync", "/.netlify/functions/crm-sync/sweep", "/sweep", ""]
        {
            let mut event = request(json!(null), json!({ "X-NF-Event": "Schedule" }));
            event["path"] = json!(path);
            check(event, "http Netlify");
        }
        check(request(json!(null), json!({ "x-nf-event": "submission-created" })), "http Netlify");
        check(request(json!(null), json!({ "x-nf-event": ["schedule", "other"] })), "http Netlify");
        check(request(json!(null), json!({ "x-other": "schedule" })), "http Netlify");
    }

    #[test]
    fn an_odd_stream_record_is_kept_and_empty_where_it_is_odd() {
        let event = json!({ "Records": [
            {
                "eventSource": "aws:dynamodb",
                "eventName": "INSERT",
                "dynamodb": {
                    "Keys": { "pk": { "S": "LEAD#1" }, "sk": { "S": "DELIVERY#crm" } },
                    "NewImage": { "type": { "S": "delivery" }, "due_sk": { "S": "2026" } },
                },
            },
            { "eventName": "INSERT", "dynamodb": {
                "Keys": { "pk": { "N": "1" }, "sk": "text" },
                "NewImage": { "type": { "NULL": true }, "due_sk": [] },
            } },
            { "eventName": "RENAME", "dynamodb": { "NewImage": null } },
            null,
        ] });
        let Ok(Trigger::Stream(records)) = Trigger::parse(event) else {
            panic!("it is a stream");
        };
        let seen: Vec<_> = records
            .iter()
            .map(|record| (record.is_new, &*record.sk, record.due_at.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                (true, "DELIVERY#crm", Some("2026")),
                (true, "", None),
                (false, "", None),
                (false, "", None),
            ]
        );
    }

    #[test]
    fn a_batch_that_was_handled_has_no_failures() {
        assert_eq!(all_records_handled(), json!({ "batchItemFailures": [] }));
    }

    #[test]
    fn neither_a_trigger_nor_an_error_prints_what_a_person_sent() {
        let secret = "ana@example.com";
        let printed = |event: Value| match Trigger::parse(event) {
            Ok(trigger) => format!("{trigger:?}"),
            Err(error) => format!("{error:?} {error}"),
        };
        assert_eq!(printed(json!({ "email": secret })), "Direct(..)");
        let request = json!({ "httpMethod": "PUT", "path": "/p", "body": secret,
            "headers": { "x": secret }, "queryStringParameters": { "q": secret } });
        assert_eq!(printed(request), "Http(HttpRequest { method: PUT, path: \"/p\", .. })");
        let records = json!([{ "eventSource": "aws:dynamodb",
            "dynamodb": { "Keys": { "pk": { "S": secret }, "sk": { "S": secret } } } }]);
        assert_eq!(printed(json!({ "Records": records })), "Stream(1)");
        let Ok(Trigger::Stream(records)) = Trigger::parse(json!({ "Records": records })) else {
            panic!("it is a stream");
        };
        assert_eq!(records[0].sk, secret);
        assert!(!format!("{records:?}").contains(secret));

        let context = json!({ "http": { "method": "POST" } });
        for unreadable in [
            json!({ "httpMethod": secret }),
            json!({ "httpMethod": "POST", "body": { "email": secret } }),
            json!({ "httpMethod": "POST", "body": secret, "isBase64Encoded": true }),
            json!({ "requestContext": context, "body": { "email": secret } }),
            json!({ "requestContext": context, "isBase64Encoded": secret }),
            json!({ "requestContext": context, "body": secret, "isBase64Encoded": true }),
            json!({ "requestContext": { "http": { "method": secret } } }),
        ] {
            assert!(Trigger::parse(unreadable.clone()).is_err(), "{unreadable}");
            assert!(!printed(unreadable).contains(secret));
        }
    }
}
