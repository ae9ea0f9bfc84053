//! The binary itself, as the platform starts it.

use std::process::Command;

#[test]
fn it_refuses_to_start_and_names_everything_that_is_missing() {
    let output = Command::new(env!("CARGO_BIN_EXE_whatsapp-webhook")).env_clear().output().unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{log}");
    for name in [
        "SITE_URL",
        "SERVICE_TOKEN",
        "HASH_KEY",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "WHATSAPP_APP_SECRET",
        "WHATSAPP_VERIFY_TOKEN",
    ] {
        assert!(log.contains(name), "{name} in {log}");
    }
}
