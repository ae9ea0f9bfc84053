//! The registry of functions agrees with the functions it lists.

use std::collections::BTreeSet;

use funil_core::settings::Env;
use funil_lambda::functions::{intake, make};

// Production refuses the dev server's values of a function's own variables.
const SHARED: [(&str, &str); 8] = [
    ("AWS_ACCESS_KEY_ID", "access"),
    ("AWS_REGION", "sa-east-1"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("DESTINATIONS", "none"),
    ("ENVIRONMENT", "preview"),
    ("HASH_KEY", "0123456789abcdef"),
    ("SERVICE_TOKEN", "0123456789abcdef"),
    ("SITE_URL", "https://www.example.com"),
];

fn env(without: Option<&str>) -> Env {
    let own = intake().flat_map(|registration| registration.variables.iter().copied());
    let variables = SHARED.into_iter().chain(own);
    variables.filter(|(name, _)| Some(*name) != without).collect()
}

#[test]
fn every_function_is_made_from_the_variables_that_its_registration_lists() {
    let platform = funil_lambda::platform();
    let mut made = BTreeSet::new();
    for (name, make) in make() {
        assert_eq!(make(&env(None), &platform).unwrap().name, name);
        made.insert(name);
    }
    let registered = intake().map(|registration| registration.name);
    let expected: BTreeSet<&str> = registered.chain(["health", "metrics"]).collect();
    assert_eq!(made, expected);
}

#[test]
fn a_function_refuses_to_start_without_any_one_of_its_own_variables() {
    let platform = funil_lambda::platform();
    for registration in intake() {
        for (variable, _) in registration.variables {
            let env = env(Some(variable));
            let errors: Vec<String> = make()
                .filter_map(|(_, make)| make(&env, &platform).err())
                .map(|error| error.to_string())
                .collect();
            assert_eq!(errors.len(), 1, "{variable} is needed by {} alone", registration.name);
            assert!(errors[0].contains(variable), "{variable} in {}", errors[0]);
        }
    }
}

#[test]
fn a_signature_is_made_with_a_variable_that_the_function_needs() {
    for registration in intake() {
        if let Some(signature) = &registration.signature {
            let variables: Vec<&str> =
                registration.variables.iter().map(|(name, _)| *name).collect();
            assert!(variables.contains(&signature.key_variable), "{}", registration.name);
        }
    }
}
