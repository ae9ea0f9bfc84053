//! What a function needs to start, and what production refuses.

use std::collections::{BTreeMap, BTreeSet};

use funil_core::destination;
use funil_core::settings::{ConfigError, Env};
use funil_delivery::{Alerts, REQUEST_TIMEOUT, Worker};
use funil_dev::{function_list, functions};
use funil_lambda::Function;
use funil_lambda::forms::FORMS;
use funil_lambda::functions::{KeyIssuer, intake};

use crate::world::{World, all_destinations};

/// The keys of signatures that their provider issues, so that the owner does not choose how long they are.
fn issued() -> Vec<&'static str> {
    let signatures = intake().filter_map(|one| one.signature.as_ref());
    let issued = signatures.filter(|signature| signature.issued_by == KeyIssuer::Provider);
    issued.map(|signature| signature.key_variable).collect()
}

/// The sentences of the error with which nothing starts.
fn refusal(result: Result<Vec<Function>, ConfigError>) -> String {
    result.map(drop).unwrap_err().0.join(" ")
}

#[tokio::test]
async fn production_takes_no_secret_of_the_dev_server() {
    let world = World::new().await;
    let of_intake = intake().flat_map(|one| one.variables);
    let of_destinations = destination::ALL.iter().flat_map(|one| one.local_credentials);
    let own =
        [("SERVICE_TOKEN", "local-stage-service-token"), ("HASH_KEY", "local-stage-hash-key")];
    let all = destination::ALL.iter().map(|one| one.name).collect::<Vec<_>>().join(",");
    for (name, value) in of_intake.chain(of_destinations).chain(&own) {
        let env = |environment| {
            world.env(&[("DESTINATIONS", &all), ("ENVIRONMENT", environment), (name, value)])
        };
        let error = refusal(functions::all(&env("production"), world.platform()));
        assert!(error.contains(&format!("{name} is the dev server's")), "{name}: {error}");
        assert!(!error.contains(value), "a value is never echoed: {error}");
        functions::all(&env("preview"), world.platform()).map(drop).unwrap();
    }
    world.finish().await;
}

#[tokio::test]
async fn production_takes_no_short_secret_and_no_address_without_tls() {
    let world = World::new().await;
    let all = destination::ALL.iter().map(|one| one.name).collect::<Vec<_>>().join(",");
    let addresses = destination::ALL.iter().map(|one| one.base_url_variable);
    let others = destination::ALL.iter().flat_map(|one| one.other_base_urls);
    let addresses = addresses.chain(others.map(|(name, _)| *name)).chain([
        "SITE_URL",
        "THANK_YOU_URL",
        "CALENDLY_EVENT_URL",
        "CORS_ORIGINS",
        "DOORBELL_URL",
        "MONITORING_WEBHOOK_URL",
        "SENTRY_DSN",
        "AWS_ENDPOINT_URL_DYNAMODB",
    ]);
    let of_intake = intake().flat_map(|one| one.variables).map(|(name, _)| *name);
    let issued = issued();
    let secrets = of_intake.filter(|name| !issued.contains(name)).chain([
        "SERVICE_TOKEN",
        "HASH_KEY",
        "NETLIFY_REWRITE_SECRET",
    ]);
    let weak = addresses.map(|name| (name, "http://10.1.2.3"));
    for (name, value) in weak.chain(secrets.map(|name| (name, "fifteen-letters"))) {
        let env = world.env(&[("DESTINATIONS", &all), (name, value)]);
        let error = refusal(functions::all(&env, world.platform()));
        assert!(error.contains(name), "{name}: {error}");
        assert!(!error.contains(value), "a value is never echoed: {error}");
    }
    for name in issued {
        let env = world.env(&[("DESTINATIONS", &all), (name, "fifteen-letters")]);
        functions::all(&env, world.platform()).map(drop).unwrap();
    }
    world.finish().await;
}

/// What each function of a destination, and `dispatch`, say that they need.
fn refusals(env: &Env, world: &World) -> Vec<(&'static str, String)> {
    let platform = world.platform();
    let alerts = Alerts::connect(env, platform).map(Alerts::into_work);
    let dispatch = funil_lambda::dispatch(env, platform, alerts).map(|made| vec![made]);
    let delivering = destination::CONNECTORS.iter().map(|connector| {
        let worker = Worker::connect(connector, env, platform).map(Worker::into_work);
        let made = funil_lambda::delivery_function(connector.destination, env, platform, worker);
        (connector.destination.function, refusal(made.map(|made| vec![made])))
    });
    delivering.chain([("dispatch", refusal(dispatch))]).collect()
}

#[tokio::test]
async fn a_function_names_everything_that_it_lacks_at_once() {
    let world = World::new().await;
    let general = ["SITE_URL", "SERVICE_TOKEN", "HASH_KEY", "AWS_REGION", "AWS_ACCESS_KEY_ID"];
    let all = destination::ALL.iter().map(|one| one.name).collect::<Vec<_>>().join(",");
    for (function, error) in refusals(&Env::default(), &world) {
        for name in general.iter().chain(&["DESTINATIONS"]) {
            assert!(error.contains(name), "{function} does not name {name}: {error}");
        }
    }
    // Without a legal basis nobody is looked up, and no credential is needed for it.
    let basis = ("ENRICHMENT_LEGAL_BASIS", "contract");
    let on: Env = [("DESTINATIONS", all.as_str()), basis].into_iter().collect();
    for env in [[basis].into_iter().collect(), on] {
        for (function, error) in refusals(&env, &world) {
            for name in general {
                assert!(error.contains(name), "{function} does not name {name}: {error}");
            }
            let credentials = destination::ALL.iter().filter(|one| one.function == function);
            for (name, _) in credentials.flat_map(|one| one.local_credentials) {
                assert!(error.contains(name), "{function} does not name {name}: {error}");
            }
            let rings = function == "dispatch";
            assert_eq!(error.contains("DOORBELL_URL"), rings, "{function}: {error}");
        }
    }
    let intake: Env =
        [("DOORBELL_URL", "not an address"), ("RATE_LEAD_FORMS", "none")].into_iter().collect();
    for (_, make) in funil_lambda::functions::make() {
        let Err(error) = make(&intake, world.platform()) else { panic!("it started") };
        let error = error.0.join(" ");
        for name in general {
            assert!(error.contains(name), "{error}");
        }
    }
    world.finish().await;
}

/// The functions that the documentation says read a variable; what else reads it is in words that begin with
/// `funil` and are no functions.
fn documented(of: &str) -> BTreeSet<&'static str> {
    let all = || functions::makes(REQUEST_TIMEOUT).into_iter().map(|(name, _)| name);
    let forms = || FORMS.iter().map(|form| form.name);
    let intake = || intake().map(|one| one.name);
    let delivery = || destination::ALL.iter().map(|one| one.function);
    of.split(", ")
        .flat_map(|word| match word {
            "all" => all().collect::<Vec<_>>(),
            "the forms" => forms().collect(),
            "the delivery functions" => delivery().collect(),
            "the functions that plan deliveries" => intake().chain(delivery()).collect(),
            command if command.starts_with('`') => Vec::new(),
            name => {
                let found: Vec<_> = all().filter(|known| *known == name).collect();
                assert_eq!(found.len(), 1, "{name} is no function");
                found
            }
        })
        .collect()
}

/// The column is compared with what the functions ask for when they start, so it cannot lie.
#[tokio::test]
async fn the_documentation_says_which_functions_read_each_variable() {
    let world = World::plan().with("DESTINATIONS", &all_destinations()).start().await;
    let mut read: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    // Each of these is asked for only where another one is, or is not, set.
    for more in [
        &[][..],
        &[("DOORBELL_URL", ""), ("DOORBELL_FUNCTION_PREFIX", "funil-")],
        &[("CRM_KIND", "contacts"), ("ENVIRONMENT", "staging")],
    ] {
        for (name, make) in functions::makes(REQUEST_TIMEOUT) {
            let (env, asked) = world.env(more).recording();
            drop(make(&env, world.platform()));
            for variable in asked.names() {
                read.entry(variable).or_default().insert(name);
            }
        }
    }
    let text = include_str!("../../../docs/configuration.md");
    let rows = text.split("## Variables").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut rows_read = 0;
    for row in rows.lines().filter(|row| row.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let of = documented(cells[1]);
        for variable in cells[0].split('`').filter(|part| part.contains('_')) {
            let found = read.get(variable).cloned().unwrap_or_default();
            // The site's settings are read by all, and some have an effect only in a few.
            let by_all = found.len() == functions::makes(REQUEST_TIMEOUT).len();
            let is_subset = by_all || found.is_subset(&of);
            assert!(is_subset, "{variable} is read by {found:?}, not only by {of:?}");
            let names_one = of.len() == 1;
            assert!(!names_one || found == of, "{variable} is not read by {of:?}");
            rows_read += 1;
        }
    }
    assert!(rows_read > 60, "the rows are read: {rows_read}");
    world.finish().await;
}

/// The list is made by starting each function; what it says is required the table of meanings says too.
#[tokio::test]
async fn the_documentation_has_the_list_of_all_functions() {
    let world = World::new().await;
    let list = function_list::text(world.platform());
    assert!(
        list == function_list::CHECKED_IN,
        "docs/functions.md is old: run `cargo run -q -- functions > docs/functions.md`"
    );
    let text = include_str!("../../../docs/configuration.md");
    let meanings = text.split("## Variables").nth(1).unwrap();
    let mut looked_at = 0;
    let rows = list.lines().filter(|line| line.starts_with("| `") || line.starts_with("| each "));
    for row in rows {
        assert!(!row.contains("|  |"), "{row}");
        let required = row.split(" | ").nth(2).unwrap();
        for name in required.split('`').filter(|name| name.contains('_')) {
            let is_its = |row: &&str| row.contains(&format!("`{name}`"));
            let meaning = meanings.lines().find(is_its).unwrap_or_default();
            assert!(
                meaning.contains("required"),
                "{name} is required, and its row says: {meaning}"
            );
            looked_at += 1;
        }
    }
    assert!(looked_at > 15, "{looked_at}");
    world.finish().await;
}
