//! Rules of a site's own, from the variable to what the CRM gets.

use funil_dev::functions::makes;
use serde_json::{Value, json};

use crate::world::{World, lead, lead_body, questionnaire_body};

fn amanda() -> Value {
    json!({
        "version": "ours-1",
        "questions": [
            {"field": "businessType", "bands": [{"points": 60, "options": ["Consultoria"]}]},
            {"field": "workHoursDaily", "bands": [{"points": 40, "atLeast": 8}, {"points": 9, "atLeast": 1}]},
        ],
        "tiers": {"high": 90, "medium": 60},
    })
}

fn readiness() -> Value {
    json!({
        "version": "ours-2",
        "questions": [
            {"field": "team", "takes": {"number": [0, 50]}, "bands": [{"points": 70, "atLeast": 2}]},
            {"field": "when", "takes": "option", "bands": [{"points": 30, "options": ["já"]}]},
        ],
    })
}

#[tokio::test]
async fn rules_of_a_site_s_own_score_its_forms_and_reach_the_crm() {
    let world = World::plan()
        .with("DESTINATIONS", "crm")
        .with("AMANDA_RULES", &amanda().to_string())
        .with("READINESS_RULES", &readiness().to_string())
        .start()
        .await;
    world.looks_at("crm");
    let scored = world.submit(&lead_body()).await.json();
    assert_eq!((&scored["amandaScore"], &scored["tier"]), (&json!(100), &json!("high")));
    let mut body = questionnaire_body();
    body["responses"] = json!({"team": 60, "when": "nunca"});
    let refused = world.answer_questionnaire(&body).await;
    assert_eq!(refused.status, 422);
    let fields: Vec<_> = refused.json()["errors"].as_array().unwrap().clone();
    let fields: Vec<_> = fields.iter().map(|error| error["field"].clone()).collect();
    assert_eq!(fields, ["responses.team", "responses.when"]);
    body["responses"] = json!({"team": 3, "when": "JA", "commitment": 10});
    let scored = world.answer_questionnaire(&body).await.json();
    assert_eq!(scored["transformationScore"], 100, "commitment is no question of theirs");
    world.drain().await;
    let contact = world.providers.crm_contact(&lead().to_string()).unwrap();
    let fields = &contact["custom_fields"];
    assert_eq!(fields["amanda_score_rules"], "ours-1");
    assert_eq!(fields["amanda_score_breakdown"], json!({"businessType": 60, "workHoursDaily": 40}));
    assert_eq!(fields["transformation_score_rules"], "ours-2");
    let responses = json!({"team": 3, "when": "ja", "commitment": 10});
    assert_eq!(fields["detailed_responses"], responses);
    assert_eq!(world.providers.crm_triggers(&lead().to_string()).len(), 1);
    let shown = funil_dev::cli::journey::to_json(&world.journey(lead()).await);
    let first =
        json!({"criterion": "businessType", "answer": "consultoria", "points": 60, "max": null});
    assert_eq!(shown["lead"]["amandaScore"]["breakdown"][0], first);
    world.finish().await;
}

#[tokio::test]
async fn a_function_refuses_to_start_with_rules_that_do_not_hold_together() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut rules = amanda();
    rules["questions"][1]["bands"][0]["points"] = json!(41);
    for (function, variable, text, says) in [
        ("lead-submit", "AMANDA_RULES", rules.to_string(), "add up to 101 points"),
        ("lead-submit", "AMANDA_RULES", "[]".to_owned(), "docs/scores.md"),
        ("questionnaire-submit", "READINESS_RULES", amanda().to_string(), "no tiers"),
        ("consultation-booking", "CONSULTATION_RULES", amanda().to_string(), "does not ask"),
    ] {
        let env = world.env(&[(variable, &text)]);
        let mut makes = makes(std::time::Duration::ZERO).into_iter();
        let (_, make) = makes.find(|(name, _)| *name == function).unwrap();
        let error = make(&env, &funil_lambda::platform()).err().unwrap().to_string();
        assert!(error.contains(variable) && error.contains(says), "{error}");
    }
    world.finish().await;
}
