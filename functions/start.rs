//! The binary itself, as the platform starts it: without variables it names everything that it lacks.
//!
//! Every function's package has this file as its test `start`. A package with such a test is also what
//! makes `cargo test --workspace` build the binaries that `tests/it/binaries.rs` runs.

use std::process::Command;

/// What every function needs.
const SHARED: [&str; 5] =
    ["SITE_URL", "SERVICE_TOKEN", "HASH_KEY", "AWS_REGION", "AWS_ACCESS_KEY_ID"];

/// A variable, and the wrong value that it is given here, if any.
type Variable = (&'static str, Option<&'static str>);

/// What a function needs besides, or reads and refuses.
const OWN: [(&str, &[Variable]); 3] = [
    ("calendar-webhook", &[("CALENDLY_SIGNING_KEY", None)]),
    (
        "questionnaire-submit",
        &[("BOOKING_THRESHOLD", Some("101")), ("CALENDLY_EVENT_URL", Some("calendly"))],
    ),
    ("whatsapp-webhook", &[("WHATSAPP_APP_SECRET", None), ("WHATSAPP_VERIFY_TOKEN", None)]),
];

#[test]
fn it_refuses_to_start_and_names_everything_that_is_missing_or_wrong() {
    let function = env!("CARGO_PKG_NAME");
    let own = OWN.iter().find(|(name, _)| *name == function).map_or(&[][..], |(_, own)| *own);
    let wrong = own.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let output = Command::new(env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME"))))
        .env_clear()
        .envs(wrong)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{log}");
    for name in SHARED.iter().chain(own.iter().map(|(name, _)| name)) {
        assert!(log.contains(name), "{name} in {log}");
    }
}
