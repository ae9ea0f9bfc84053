//! The container for Google Tag Manager and the document about it: the container is one that Tag Manager imports,
//! and what the document pushes is what the functions take. What the tags do in a browser is in `tests/browser`.

use std::collections::BTreeSet;

use funil_core::destination::ga4::collect;
use serde_json::Value;

use crate::world::World;

const DOCUMENT: &str = include_str!("../../docs/gtm.md");

fn container() -> Value {
    let text = include_str!("../../docs/gtm-container.json");
    serde_json::from_str::<Value>(text).unwrap()["containerVersion"].clone()
}

fn list<'c>(container: &'c Value, of: &str) -> &'c Vec<Value> {
    container[of].as_array().unwrap()
}

fn names(of: &[Value]) -> BTreeSet<&str> {
    let names: BTreeSet<&str> = of.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), of.len(), "a name is there twice");
    names
}

fn parameter<'c>(of: &'c Value, key: &str) -> &'c str {
    let mut parameters = of["parameter"].as_array().unwrap().iter();
    let found = parameters.find(|one| one["key"] == key).unwrap();
    found["value"].as_str().unwrap()
}

/// The variables that a text refers to.
fn references(text: &str) -> Vec<&str> {
    text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()).collect()
}

#[test]
fn the_container_has_the_format_of_an_export() {
    let whole: Value = serde_json::from_str(include_str!("../../docs/gtm-container.json")).unwrap();
    assert_eq!(whole["exportFormatVersion"], 2);
    assert!(whole["exportTime"].is_string());
    let container = container();
    let (account, id) = (&container["accountId"], &container["containerId"]);
    assert_eq!(container["container"]["usageContext"], serde_json::json!(["WEB"]));
    for (kind, key) in [("tag", "tagId"), ("trigger", "triggerId"), ("variable", "variableId")] {
        let of_kind = list(&container, kind);
        let ids: BTreeSet<&str> = of_kind.iter().map(|one| one[key].as_str().unwrap()).collect();
        assert_eq!(ids.len(), of_kind.len(), "{kind}");
        names(of_kind);
        for one in of_kind {
            assert_eq!((&one["accountId"], &one["containerId"]), (account, id), "{one}");
            assert!(one["fingerprint"].is_string() && one["type"].is_string(), "{one}");
        }
    }
    for parameter in list(&container, "tag").iter().chain(list(&container, "variable")) {
        for one in parameter["parameter"].as_array().unwrap() {
            let kind = one["type"].as_str().unwrap();
            assert!(["TEMPLATE", "BOOLEAN", "INTEGER"].contains(&kind), "{one}");
            assert!(one["key"].is_string() && one["value"].is_string(), "{one}");
        }
    }
    assert!(list(&container, "tag").iter().all(|tag| tag["type"] == "html"), "no tag of Google's");
}

#[test]
fn every_tag_fires_and_refers_to_what_there_is() {
    let container = container();
    let triggers = list(&container, "trigger");
    let variables = list(&container, "variable");
    let built_in =
        list(&container, "builtInVariable").iter().map(|one| one["name"].as_str().unwrap());
    let known: BTreeSet<&str> = names(variables).into_iter().chain(built_in).collect();
    let mut used = BTreeSet::new();
    for tag in list(&container, "tag") {
        let fires: Vec<&str> = tag["firingTriggerId"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap())
            .collect();
        assert!(!fires.is_empty());
        for id in fires {
            assert!(triggers.iter().any(|one| one["triggerId"] == id), "{tag}");
            used.insert(id);
        }
        for name in references(parameter(tag, "html")) {
            assert!(known.contains(name), "{name} in {}", tag["name"]);
        }
    }
    assert_eq!(used.len(), triggers.len(), "every trigger fires something");
}

/// Every push of the document has its tag. A form that no page sends by Tag Manager needs none.
#[tokio::test]
async fn what_the_document_pushes_is_what_the_functions_take() {
    let container = container();
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let blocks = DOCUMENT.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut pushed = BTreeSet::new();
    for block in blocks {
        let push: Value = serde_json::from_str(block).unwrap();
        let event = push["event"].as_str().unwrap();
        let function = event.strip_prefix("funil_").unwrap().replace('_', "-");
        let of_event = |one: &&Value| one["customEventFilter"][0]["parameter"][1]["value"] == event;
        let trigger = list(&container, "trigger").iter().find(of_event).unwrap();
        let fires = |one: &&Value| one["firingTriggerId"][0] == trigger["triggerId"];
        let tag = list(&container, "tag").iter().find(fires).unwrap();
        assert!(parameter(tag, "html").contains(&format!("'{function}'")), "{tag}");
        let response = world.post(&function, &[], &push["funil"]).await;
        assert_eq!(response.status, 200, "{function}: {response:?}");
        pushed.insert(function);
    }
    let forms: BTreeSet<String> =
        funil_lambda::forms::FORMS.iter().map(|form| form.name.to_owned()).collect();
    assert!(pushed.len() >= 5 && pushed.is_subset(&forms), "{pushed:?}");
    world.finish().await;
}

#[test]
fn the_document_lists_what_goes_along() {
    let (_, section) = DOCUMENT.split_once("## What goes along\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let named: BTreeSet<&str> = section.split('`').skip(1).step_by(2).collect();
    let listed = collect::params().chain(collect::UTM);
    let listed = listed.chain(["GA4_COLLECT_PARAMS", "stripped"]).collect();
    assert_eq!(named, listed);
}
