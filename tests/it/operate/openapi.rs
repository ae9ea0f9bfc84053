//! The OpenAPI document: it is the checked-in one, its examples are valid, and it names every endpoint.
//! Every response in the other tests is compared with it too (`tests/src/contract.rs`).

use std::collections::BTreeSet;

use funil_dev::openapi;
use funil_lambda::api::{Body, operations};
use serde_json::{Value, json};

use funil_tests::contract;

#[test]
fn the_checked_in_document_is_the_present_one() {
    let text = openapi::text(&contract::events()).unwrap();
    assert!(
        text == openapi::CHECKED_IN,
        "docs/openapi.json is old: run `cargo run -- openapi > docs/openapi.json`, and read the difference"
    );
}

#[test]
fn every_function_is_documented_and_no_other() {
    let world = funil_dev::functions::makes(std::time::Duration::ZERO);
    let built: BTreeSet<&str> = world.iter().map(|(name, _)| *name).collect();
    let documented: BTreeSet<&str> = operations().iter().map(|one| one.function).collect();
    assert_eq!(documented, built);
}

#[test]
fn every_example_is_a_valid_body_and_a_wrong_one_is_not() {
    let document = openapi::document(&contract::events()).unwrap();
    let mut checked = 0;
    for operation in operations() {
        if !matches!(operation.body, Body::Fields(..)) {
            continue;
        }
        let (path, method) = (openapi::path(&operation), operation.method.as_str().to_lowercase());
        let body = &document["paths"][&path][&method]["requestBody"]["content"]["application/json"];
        let place = format!("{method} {path} body");
        for (name, example) in body["examples"].as_object().into_iter().flatten() {
            assert_eq!(contract::wrong(&place, &example["value"]), None, "{name}");
            checked += 1;
        }
        assert!(contract::wrong(&place, &json!(7)).is_some(), "{place} takes anything");
    }
    assert!(checked > 5, "{checked} examples");
    let wrong = |body: Value| contract::wrong("post /lead-submit body", &body).is_some();
    let lead = json!({"name": "Ana", "email": "ana@example.com", "businessType": "consultoria"});
    assert!(!wrong(lead.clone()));
    for (field, value) in [
        ("name", json!(" ")),
        ("name", Value::Null),
        ("email", json!(7)),
        ("amandaScore", json!(101)),
        ("mainStruggle", json!("x".repeat(2001))),
        ("consent", json!({"marketing": "perhaps"})),
        ("utm", json!("ig")),
    ] {
        let mut body = lead.clone();
        body[field] = value;
        assert!(wrong(body.clone()), "{body}");
    }
}
