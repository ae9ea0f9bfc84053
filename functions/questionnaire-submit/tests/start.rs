//! The binary itself, as the platform starts it.

use std::process::Command;

#[test]
fn it_refuses_to_start_and_names_everything_that_is_missing_or_wrong() {
    let mut binary = Command::new(env!("CARGO_BIN_EXE_questionnaire-submit"));
    let wrong = [("BOOKING_THRESHOLD", "101"), ("CALENDLY_EVENT_URL", "calendly")];
    let output = binary.env_clear().envs(wrong).output().unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{log}");
    for name in ["SITE_URL", "HASH_KEY", "AWS_REGION", "BOOKING_THRESHOLD", "CALENDLY_EVENT_URL"] {
        assert!(log.contains(name), "{name} in {log}");
    }
}
