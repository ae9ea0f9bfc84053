//! Every `curl` of the documentation that asks the dev server is run, and its response is the documented one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::{Ipv4Addr, SocketAddr};

use funil_core::destination;
use funil_core::settings::Env;
use funil_delivery::REQUEST_TIMEOUT;
use funil_dev::cli::send::send;
use funil_dev::functions;
use funil_dev::server::{DevServer, DevServerOptions};
use http::Method;
use serde_json::Value;

const DOCUMENTS: [(&str, &str); 4] = [
    ("README.md", include_str!("../../../README.md")),
    ("README.pt-BR.md", include_str!("../../../README.pt-BR.md")),
    ("docs/endpoints.md", include_str!("../../../docs/endpoints.md")),
    ("docs/stripe.md", STRIPE),
];
const STRIPE: &str = include_str!("../../../docs/stripe.md");
/// The address in the documentation.
const ADDRESS: &str = "http://127.0.0.1:8888";

/// How a command begins that sends samples.
const SEND: &str = "cargo run -- send ";

/// An example: the command, and the response that follows it, if one does.
struct Example {
    of: &'static str,
    command: String,
    response: Option<String>,
}

/// The indented blocks of a document, with an empty one wherever text stands between two.
fn blocks(document: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut in_block = false;
    for line in document.lines() {
        match line.strip_prefix("    ") {
            Some(code) if in_block => {
                let block = blocks.last_mut().unwrap();
                block.push('\n');
                block.push_str(code);
            }
            Some(code) => blocks.push(code.to_owned()),
            // What is no code ends the pair of a command and its response.
            None if !line.is_empty() => blocks.push(String::new()),
            None => {}
        }
        in_block = line.starts_with("    ");
    }
    blocks
}

/// The indented blocks that are a request to the dev server, with the block that follows.
fn examples(of: &'static str, document: &str) -> Vec<Example> {
    let blocks = blocks(document);
    let is_asked = |block: &str| {
        block.starts_with("curl ") && block.contains(ADDRESS) || block.starts_with(SEND)
    };
    let pairs = blocks.iter().zip(blocks.iter().skip(1).map(Some).chain([None]));
    let asked = pairs.filter(|(block, _)| is_asked(block)).map(|(block, next)| Example {
        of,
        command: block.clone(),
        response: next.filter(|next| next.starts_with('{')).cloned(),
    });
    asked.collect()
}

/// The words of a shell command: single quotes keep what is in them, and a backslash joins lines.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in command.replace("\\\n", " ").split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

struct Asked {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

fn asked(command: &str) -> Asked {
    let words = words(command);
    let mut asked =
        Asked { method: Method::GET, path: String::new(), headers: Vec::new(), body: None };
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-X" => asked.method = words.next().unwrap().parse().unwrap(),
            "-H" => {
                let (name, value) = words.next().unwrap().split_once(": ").unwrap();
                asked.headers.push((name.to_owned(), value.to_owned()));
            }
            "-d" => {
                asked.body = words.next().cloned();
                asked.method = Method::POST;
            }
            url => url.strip_prefix(ADDRESS).unwrap().clone_into(&mut asked.path),
        }
    }
    asked
}

/// Whether a response is the documented one, where `…` stands for anything and space for nothing.
fn is_like(response: &str, documented: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let (mut rest, documented) = (&*plain(response), plain(documented));
    for (index, part) in documented.split('…').enumerate() {
        match rest.find(part) {
            Some(at) if index > 0 || at == 0 => rest = &rest[at + part.len()..],
            Some(_) | None => return false,
        }
    }
    rest.is_empty()
}

/// What a request to Stripe writes into a payment, as names and values.
fn written(block: &str) -> Vec<(String, String)> {
    let decoded: Vec<String> = match block.split_once('?') {
        Some((_, query)) if block.starts_with("https://") => {
            query.split('&').map(str::to_owned).collect()
        }
        Some(_) | None => words(block),
    };
    let pairs = decoded.iter().filter_map(|word| word.split_once('='));
    let named = pairs.filter_map(|(name, value)| {
        let name = match name.rsplit_once("metadata][").or_else(|| name.rsplit_once("metadata[")) {
            Some((_, key)) => key.trim_end_matches(']'),
            None if name == "client_reference_id" => name,
            None => return None,
        };
        Some((name.to_owned(), value.to_owned()))
    });
    named.collect()
}

/// Each example of how a site writes a lead into a payment is followed by what Stripe sends of it.
#[test]
fn what_a_site_writes_into_a_payment_stands_in_the_sample_that_follows() {
    let blocks = blocks(STRIPE);
    let mut seen = 0;
    for pair in blocks.windows(2) {
        let [request, sent] = pair else { continue };
        let Some(files) = sent.strip_prefix(SEND).filter(|_| request.contains("stripe.com")) else {
            continue;
        };
        let written = written(request);
        assert!(written.iter().any(|(name, _)| name.ends_with("_id")), "{request}");
        for file in files.split_whitespace() {
            let path = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
            let sample: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let body: Value = serde_json::from_str(sample["body"].as_str().unwrap()).unwrap();
            let object = &body["data"]["object"];
            let places = ["/metadata", "/parent/subscription_details/metadata"];
            let is_session = object["object"] == "checkout.session";
            for (name, value) in &written {
                let stands = if name == "client_reference_id" {
                    !is_session || object[name] == value.as_str()
                } else {
                    let of_place = |place| object.pointer(place).map(|data| &data[name]);
                    places.into_iter().filter_map(of_place).any(|found| found == value.as_str())
                };
                assert!(stands, "{file}: {name}");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 4, "a payment intent, a checkout, a payment link and a subscription");
}

#[tokio::test]
async fn every_request_of_the_documentation_gets_the_documented_response() {
    let data = tempfile::tempdir().unwrap();
    let options = DevServerOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        data: data.path().to_owned(),
        functions_at: None,
        alerts_to: None,
    };
    let server = DevServer::start(&options, &Env::default()).await.unwrap();
    let http = funil_lambda::platform().http;
    let all: Vec<Example> = DOCUMENTS.iter().flat_map(|(of, text)| examples(of, text)).collect();
    let is_shown = |function: &str| {
        let (asked, sent) = (format!("/api/{function}"), format!("events/{function}/"));
        all.iter().any(|one| one.command.contains(&asked) || one.command.contains(&sent))
    };
    // The delivery functions are asked alike.
    let delivers = |function: &str| destination::ALL.iter().any(|one| one.function == function);
    for (function, _) in functions::makes(REQUEST_TIMEOUT) {
        assert!(is_shown(function) || delivers(function), "no example asks {function}");
    }
    assert!(destination::ALL.iter().any(|one| is_shown(one.function)), "no delivery function");
    let mut lead = String::new();
    for Example { of, command, response: documented } in all {
        if let Some(files) = command.strip_prefix(SEND) {
            // What a person types is typed at the root of the repository.
            for file in files.split('#').next().unwrap_or_default().split_whitespace() {
                let path = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
                let to = format!("http://{}/api", server.address()).parse().unwrap();
                let platform = funil_lambda::platform();
                let sent = send(path.as_ref(), &to, &Env::default(), &platform).await.unwrap();
                assert!(sent.status < 300, "{of}: {file}: {} {}", sent.status, sent.body);
            }
            continue;
        }
        let Asked { method, path, headers, body } = asked(&command);
        let url = format!("http://{}{path}", server.address());
        let mut request = http.request(method, url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            // The lead that the documentation made before.
            request = request.body(body.replacen("\"leadId\": \"…\"", &lead, 1));
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap();
        assert!(status.is_success(), "{of}: {command}\n{status} {text}");
        if let Some(id) =
            serde_json::from_str::<Value>(&text).unwrap_or_default()["leadId"].as_str()
        {
            lead = format!("\"leadId\": \"{id}\"");
        }
        if let Some(documented) = documented {
            assert!(is_like(&text, &documented), "{of}: {command}\n{text}\nis not\n{documented}");
        }
    }
    server.stop().await.unwrap();
}

#[test]
fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
    assert!(is_like(r#"{"a":"1","b":[1,2]}"#, r#"{"a":"…", "b":[…]}"#));
    assert!(!is_like(r#"{"a":"1","c":[1,2]}"#, r#"{"a":"…","b":[…]}"#));
    assert!(!is_like(r#"{"a":"1","b":2}"#, r#"{"a":"…"}"#));
}
