//! The binary itself, as the platform starts it: without variables it names everything that it lacks.
//!
//! Every function's package has this file as its test `start`. A package with such a test is also what
//! makes `cargo test --workspace` build the binaries that `tests/it/binaries.rs` runs.

use std::process::Command;

/// What every function needs.
const SHARED: [&str; 5] =
    ["SITE_URL", "SERVICE_TOKEN", "HASH_KEY", "AWS_REGION", "AWS_ACCESS_KEY_ID"];

/// Variables that a function may lack but refuses when they are wrong, with a wrong value for each.
const WRONG: [(&str, &[(&str, &str)]); 1] =
    [("questionnaire-submit", &[("BOOKING_THRESHOLD", "101"), ("CALENDLY_EVENT_URL", "calendly")])];

#[test]
fn it_refuses_to_start_and_names_everything_that_is_missing_or_wrong() {
    let function = env!("CARGO_PKG_NAME");
    let wrong = WRONG.iter().find(|(name, _)| *name == function).map_or(&[][..], |(_, own)| *own);
    let registered = funil_lambda::functions::intake().find(|known| known.name == function);
    let own = registered.map_or(&[][..], |registration| registration.variables);
    let output = Command::new(env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME"))))
        .env_clear()
        .envs(wrong.iter().copied())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{log}");
    for name in SHARED.iter().chain(own.iter().chain(wrong).map(|(name, _)| name)) {
        assert!(log.contains(name), "{name} in {log}");
    }
}
