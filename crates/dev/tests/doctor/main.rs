//! `funil doctor` and `funil setup`: against a dev server, and against providers on loopback.
//!
//! What the doctor says of a whole deployment is here, and what a provider lacks in the modules below.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod calendly;
mod providers;
mod stripe;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use funil_core::settings::Env;
use funil_dev::cli::addresses::Addresses;
use funil_dev::cli::doctor::{self, DoctorArguments};
use funil_dev::cli::quarantine::{self, QuarantineCommand};
use funil_dev::cli::setup::{self, SetupArguments, SetupCommand};
use funil_dev::functions;
use funil_dev::server::{DevServer, DevServerOptions};
use serde_json::json;
use url::Url;

async fn dev_server(data: &Path) -> DevServer {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options =
        DevServerOptions { listen, data: data.to_owned(), functions_at: None, alerts_to: None };
    DevServer::start(&options, &Env::default()).await.unwrap()
}

/// What the doctor prints, and the error that it ends with.
async fn doctor(arguments: &DoctorArguments, env: &Env) -> (String, Option<String>) {
    let mut out = Vec::new();
    let ended = doctor::run(arguments, env, &funil_lambda::platform(), &mut out).await;
    (String::from_utf8(out).unwrap(), ended.err().map(|error| error.to_string()))
}

/// Whether the setup makes anything.
#[derive(Clone, Copy)]
enum Run {
    Dry,
    ForReal,
}

/// What the setup prints, and the error that it ends with.
async fn setup(command: SetupCommand, run: Run, env: &Env) -> (String, Option<String>) {
    let arguments = SetupArguments { yes: matches!(run, Run::ForReal), command };
    let mut out = Vec::new();
    let ended = setup::run(&arguments, env, &funil_lambda::platform(), &mut out).await;
    (String::from_utf8(out).unwrap(), ended.err().map(|error| error.to_string()))
}

fn env(variables: &[(&str, &str)]) -> Env {
    variables.iter().copied().collect()
}

/// The line of a finding, without the padding of its columns.
fn line(out: &str, subject: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = out.lines().map(words).find(|line| line.contains(subject));
    found.unwrap_or_else(|| panic!("nothing of {subject} in {out}"))
}

#[tokio::test]
async fn the_doctor_finds_the_dev_server_well_from_outside_and_from_its_environment() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let to = Url::parse(&format!("http://{}/api", server.address())).unwrap();
    let arguments = DoctorArguments { to: Some(to), stack_outputs: None };
    let (out, error) = doctor(&arguments, &Env::default()).await;
    assert_eq!(error, None, "{out}");
    for (name, _) in functions::makes(funil_delivery::REQUEST_TIMEOUT) {
        assert!(out.contains(&format!("\n{name}\n")) || out.starts_with(name), "{name}: {out}");
    }
    assert!(out.contains("0 failed") && line(&out, "template welcome").starts_with("ok"), "{out}");

    let wrong = env(&[("SERVICE_TOKEN", "not-the-token")]);
    let (out, error) = doctor(&arguments, &wrong).await;
    assert!(error.unwrap().contains("things do not work"), "{out}");
    assert!(line(&out, "does not take the first SERVICE_TOKEN").starts_with("failed"), "{out}");

    let variables = std::fs::read_to_string(data.path().join("dev.env")).unwrap();
    let variables = variables.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    });
    let local: Env = variables.collect();
    let (out, error) = doctor(&DoctorArguments::default(), &local).await;
    assert_eq!(error, None, "{out}");
    assert!(line(&out, "index dead").starts_with("ok"), "{out}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_doctor_takes_function_urls_from_the_outputs_of_a_stack() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let url = format!("http://{}/api/lead-submit", server.address());
    let outputs = json!([{"OutputKey": "LeadSubmitUrl", "OutputValue": url}]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{}", json!({"Stacks": [{"Outputs": outputs}]})).unwrap();
    let stack_outputs = Some(file.path().to_owned());
    let (out, error) = doctor(&DoctorArguments { to: None, stack_outputs }, &Env::default()).await;
    assert!(error.unwrap().starts_with("3 things do not work"), "{out}");
    assert!(line(&out, "configuration").starts_with("ok"), "{out}");
    assert!(line(&out, "Deploy it, or correct the route").starts_with("failed"), "{out}");
    assert!(line(&out, "where it is not used").starts_with("unchecked"), "{out}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_environment_without_anything_is_told_each_variable_once() {
    let (out, error) = doctor(&DoctorArguments::default(), &Env::default()).await;
    assert!(error.is_some());
    for variable in ["Set HASH_KEY.", "Set SITE_URL.", "Set MAILERLITE_GROUPS."] {
        assert_eq!(out.matches(variable).count(), 1, "{variable}: {out}");
    }
}

#[tokio::test]
async fn an_address_without_functions_is_an_error_and_so_is_one_that_does_not_respond() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let to = Url::parse(&format!("http://{}/api/elsewhere", server.address())).unwrap();
    let arguments = DoctorArguments { to: Some(to), stack_outputs: None };
    let (_, error) = doctor(&arguments, &Env::default()).await;
    assert!(error.unwrap().starts_with("No function of Funil is at this address."));
    server.stop().await.unwrap();
    let to = Some(Url::parse("http://127.0.0.1:9/api").unwrap());
    let (out, _) = doctor(&DoctorArguments { to, stack_outputs: None }, &Env::default()).await;
    assert!(line(&out, "127.0.0.1 does not respond").starts_with("failed"), "{out}");
}

/// A server that responds 200 to everything with this body.
async fn says(body: &'static str) -> Url {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}/api", listener.local_addr().unwrap());
    let routes = axum::Router::new().fallback(move || async move { body });
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Url::parse(&base).unwrap()
}

#[tokio::test]
async fn a_site_that_takes_everything_is_not_taken_for_funil() {
    let to = Some(says("<html>welcome</html>").await);
    let (out, error) = doctor(&DoctorArguments { to, stack_outputs: None }, &Env::default()).await;
    assert!(error.is_some() && !out.contains(" ok "), "{out}");
    assert!(line(&out, "what is not Funil's").starts_with("failed"), "{out}");
}

/// A stack has only the functions that are switched on; the others are passed over.
#[tokio::test]
async fn the_quarantine_of_a_stack_with_function_urls_is_listed_and_what_is_not_there_is_named() {
    let data = tempfile::tempdir().unwrap();
    let server = dev_server(data.path()).await;
    let url = format!("http://{}/api/lead-submit", server.address());
    let robot = json!({"name": "R", "email": "r@example.com", "businessType": "x", "website": "y"});
    let platform = funil_lambda::platform();
    let request = platform.http.post(&url).header("content-type", "application/json");
    assert!(request.body(robot.to_string()).send().await.unwrap().status().is_success());
    let outputs = json!([{"OutputKey": "LeadSubmitUrl", "OutputValue": url}]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{}", json!({"Stacks": [{"Outputs": outputs}]})).unwrap();
    let of_stack = Addresses::of_stack(file.path()).unwrap();
    let below = |path: &str| Url::parse(&format!("http://{}{path}", server.address())).unwrap();
    let list = async |to: &Addresses, source: Option<&str>| {
        let source = source.map(str::to_owned);
        let command = QuarantineCommand::List { source, limit: 10 };
        let mut out = Vec::new();
        let ended = quarantine::run(command, to, &Env::default(), &platform, &mut out).await;
        let error = ended.err().map(|error| error.to_string()).unwrap_or_default();
        (String::from_utf8(out).unwrap(), error)
    };
    let (out, error) = list(&of_stack, None).await;
    assert!(out.starts_with("lead-submit/") && error.is_empty(), "{out} {error}");
    let (_, error) = list(&of_stack, Some("stripe")).await;
    assert!(error.contains("name no stripe-webhook"), "{error}");
    let nowhere = Addresses::Below(below("/nowhere"));
    let (out, error) = list(&nowhere, None).await;
    assert!(out.is_empty() && error.contains("See that --to"), "{out} {error}");
    let (_, error) = list(&nowhere, Some("calendly")).await;
    assert!(error.contains("has no function of Funil"), "{error}");
    server.stop().await.unwrap();
}
