//! `template.yaml` and the code agree: functions, variables, the table, what rings whom.
//!
//! The permissions of the functions are shown by all the other tests: the emulator's front refuses what
//! the template does not permit (`tests/src/permissions.rs`), and `.ci/run` finds what nobody needs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use funil_core::destination;
use funil_dev::functions;
use funil_tests::permissions::Permissions;
use funil_tests::template::{Template, TemplateFunction, text};
use serde_json::{Value, json};

use crate::world::{World, all_destinations, lead_body};

/// Variables that a function reads and the template leaves out, with the reason.
const NOT_SET: [(&str, &str); 8] = [
    ("AWS_REGION", "Lambda sets it"),
    ("AWS_ACCESS_KEY_ID", "Lambda sets it, from the function's role"),
    ("AWS_SECRET_ACCESS_KEY", "Lambda sets it, from the function's role"),
    ("AWS_SESSION_TOKEN", "Lambda sets it, from the function's role"),
    ("FUNIL_AWS_REGION", "for Netlify"),
    ("FUNIL_AWS_ACCESS_KEY_ID", "for Netlify"),
    ("CLIENT_IP_HEADER", "for a proxy of one's own, which would have to be the only way in"),
    ("DOORBELL_URL", "there is a stream"),
];

fn of_template() -> BTreeMap<String, TemplateFunction> {
    Template::read().functions().map(|function| (function.name.clone(), function)).collect()
}

#[test]
fn the_template_has_every_function_and_no_other() {
    let built: BTreeSet<String> =
        functions::makes(Duration::ZERO).into_iter().map(|(name, _)| name.to_owned()).collect();
    let deployed = of_template();
    assert_eq!(deployed.keys().cloned().collect::<BTreeSet<_>>(), built);
    for (name, function) in deployed {
        let properties = &function.properties;
        assert_eq!(properties["CodeUri"], format!("target/package/{name}.zip"));
        assert_eq!(properties["FunctionUrlConfig"], json!({"AuthType": "NONE"}), "{name}");
        let delivers = destination::ALL.iter().any(|one| one.function == name);
        let long = delivers || name == "dispatch";
        assert_eq!(properties["Timeout"], if long { json!(60) } else { Value::Null }, "{name}");
        let invoked_once = json!({"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60});
        let how = if delivers { invoked_once } else { Value::Null };
        assert_eq!(properties["EventInvokeConfig"], how, "{name}");
    }
}

#[tokio::test]
async fn each_function_gets_the_variables_that_it_reads_and_no_other() {
    let world = World::new().await;
    let deployed = of_template();
    let not_set: BTreeSet<&str> = NOT_SET.iter().map(|(name, _)| *name).collect();
    let mut read_by_any = BTreeSet::new();
    for (name, make) in functions::makes(Duration::ZERO) {
        // As on AWS, where the doorbell is the Lambda API.
        let all = all_destinations();
        let on_aws =
            [("DESTINATIONS", &*all), ("DOORBELL_URL", ""), ("DOORBELL_FUNCTION_PREFIX", "funil-")];
        let (env, asked) = world.env(&on_aws).recording();
        make(&env, world.platform()).unwrap();
        let asked = asked.names();
        let given: BTreeSet<String> = deployed[name].variables.keys().cloned().collect();
        let missing: Vec<_> =
            asked.difference(&given).filter(|one| !not_set.contains(one.as_str())).collect();
        assert!(missing.is_empty(), "template.yaml does not give {name} {missing:?}");
        let of_log = "LOG_LEVEL".to_owned();
        let unread: Vec<_> = given.difference(&asked).filter(|one| **one != of_log).collect();
        assert!(unread.is_empty(), "template.yaml gives {name} {unread:?}, which it does not read");
        read_by_any.extend(asked);
    }
    for name in not_set {
        assert!(read_by_any.contains(name), "{name} is not read by any function");
    }
    world.finish().await;
}

#[test]
fn a_providers_credential_comes_from_the_secret_under_its_own_name() {
    let of_destinations = destination::ALL.iter().flat_map(|one| one.local_credentials);
    let of_intake = funil_lambda::functions::intake().flat_map(|one| one.variables);
    let credentials: BTreeSet<&str> =
        of_destinations.chain(of_intake).map(|(name, _)| *name).collect();
    let mut resolved = BTreeSet::new();
    for function in of_template().into_values() {
        for (name, value) in function.variables {
            // One that is not always there stands in a condition.
            let tagged = value.as_object().and_then(|tagged| tagged.values().next());
            let parts = tagged.and_then(Value::as_array);
            let value = parts.map_or_else(|| text(&value), |parts| text(&parts[1]));
            if value.contains("resolve:") {
                let of_secret =
                    format!("{{{{resolve:secretsmanager:${{SecretName}}:SecretString:{name}}}}}");
                assert_eq!(value, of_secret, "{}", function.name);
                resolved.insert(name);
            }
        }
    }
    assert_eq!(resolved.iter().map(String::as_str).collect::<BTreeSet<_>>(), credentials);
}

#[test]
fn the_configuration_document_has_each_switch_and_each_credential_of_the_template() {
    let document = include_str!("../../docs/configuration.md");
    let (_, section) = document.split_once("\n### Switches on AWS\n").unwrap();
    let section = section.split("\n### ").next().unwrap();
    let template = Template::read();
    let parameters = template.at("/Parameters").as_object().unwrap();
    let is_switch = |one: &Value| one["AllowedValues"] == json!(["on", "off"]);
    let switches: Vec<_> = parameters.iter().filter(|(_, one)| is_switch(one)).collect();
    assert!(switches.len() > destination::ALL.len(), "one for each destination, and webhooks");
    for (name, _) in switches {
        assert!(section.contains(&format!("\n| `{name}`")), "{name}");
    }
    let of_destinations = destination::ALL.iter().flat_map(|one| one.local_credentials);
    let of_intake = funil_lambda::functions::intake().flat_map(|one| one.variables);
    for (name, _) in of_destinations.chain(of_intake) {
        assert!(section.contains(&format!("`{name}`")), "{name}");
    }
}

/// CloudFormation refuses a template in which they do not.
#[test]
fn parameters_and_resources_have_names_of_their_own() {
    let template = Template::read();
    let names = |part: &str| -> BTreeSet<String> {
        template.at(part).as_object().unwrap().keys().cloned().collect()
    };
    let both: Vec<String> =
        names("/Parameters").intersection(&names("/Resources")).cloned().collect();
    assert_eq!(both, [""; 0]);
}

#[tokio::test]
async fn the_table_has_the_keys_and_indexes_that_the_code_creates() {
    let world = World::new().await;
    let created = world.ask_table("DescribeTable", json!({})).await["Table"].clone();
    let template = Template::read();
    let table = template.at("/Resources/Table/Properties");
    let sorted = |all: &Value, by: &str| {
        let mut all = all.as_array().unwrap().clone();
        all.sort_by_key(|one| one[by].as_str().unwrap().to_owned());
        all
    };
    assert_eq!(table["KeySchema"], created["KeySchema"]);
    assert_eq!(
        sorted(&table["AttributeDefinitions"], "AttributeName"),
        sorted(&created["AttributeDefinitions"], "AttributeName")
    );
    let shown = |indexes: &Value| {
        let parts = ["IndexName", "KeySchema", "Projection"];
        let of = |index: &Value| parts.map(|part| index[part].clone());
        sorted(indexes, "IndexName").iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(shown(&table["GlobalSecondaryIndexes"]), shown(&created["GlobalSecondaryIndexes"]));
    let ttl = world.ask_table("DescribeTimeToLive", json!({})).await;
    let ttl = &ttl["TimeToLiveDescription"]["AttributeName"];
    assert_eq!(table["TimeToLiveSpecification"], json!({"AttributeName": ttl, "Enabled": true}));
    assert_eq!(table["StreamSpecification"], json!({"StreamViewType": "NEW_IMAGE"}));
    assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
    assert_eq!(table["SSESpecification"]["SSEEnabled"], true);
    assert_eq!(table["DeletionProtectionEnabled"], true);
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        assert_eq!(template.at("/Resources/Table")[policy], "Retain");
    }
    world.finish().await;
}

#[tokio::test]
async fn dispatch_hears_of_every_new_delivery_and_may_invoke_every_delivery_function() {
    let dispatch = of_template().remove("dispatch").unwrap();
    let events = &dispatch.properties["Events"];
    assert_eq!(events["EachMinute"]["Properties"]["Schedule"], "rate(1 minute)");
    let stream = &events["Stream"]["Properties"];
    assert_eq!(stream["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    assert_eq!(stream["BisectBatchOnFunctionError"], true);
    let pattern = stream["FilterCriteria"]["Filters"][0]["Pattern"].as_str().unwrap();
    let pattern: Value = serde_json::from_str(pattern).unwrap();
    let kind = &pattern["dynamodb"]["NewImage"]["type"]["S"][0];
    assert_eq!(
        pattern,
        json!({
            "eventName": ["INSERT"],
            "dynamodb": {"NewImage": {"type": {"S": [kind]}}},
        })
    );
    let world = World::new().await;
    world.looks_at_destinations();
    let lead = world.submit(&lead_body()).await.lead();
    let deliveries = world.items(&format!("LEAD#{lead}")).await;
    let deliveries =
        deliveries.iter().filter(|item| item["sk"]["S"].as_str().unwrap().starts_with("DELIVERY#"));
    let kinds: BTreeSet<&str> =
        deliveries.map(|item| item["type"]["S"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from([kind.as_str().unwrap()]));
    world.drain().await;
    world.finish().await;

    let invokes = dispatch
        .statements
        .iter()
        .find(|statement| statement["Action"] == json!(["lambda:InvokeFunction"]));
    let rung: BTreeSet<String> = invokes.unwrap()["Resource"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| text(resource).rsplit_once("${AWS::StackName}-").unwrap().1.to_owned())
        .collect();
    let delivering = destination::ALL.iter().map(|one| one.function.to_owned()).collect();
    assert_eq!(rung, delivering);
    assert_eq!(text(&dispatch.variables["DOORBELL_FUNCTION_PREFIX"]), "${AWS::StackName}-");
    assert_eq!(dispatch.variables["RINGS"], "stream");
}

/// `.ci/run` runs it after all the other tests, of which each notes the permissions that it needed.
#[test]
#[ignore = "needs FUNIL_PERMISSIONS_USED, which a run of all tests has written"]
fn no_function_may_do_what_none_of_its_kind_does() {
    let kind = |function: &str| {
        let registered = funil_lambda::functions::intake().find(|one| one.name == function);
        let delivers = destination::ALL.iter().find(|one| one.function == function);
        match (registered, delivers) {
            (Some(intake), _) if intake.quarantine_source.is_none() => function.to_owned(),
            (Some(intake), _) if intake.signature.is_none() => "forms".to_owned(),
            (Some(_), _) => "webhooks".to_owned(),
            // WhatsApp's function plans and withdraws messages beside delivering them.
            (_, Some(one)) if one.daily_per_number.is_none() => "delivery".to_owned(),
            (_, _) => function.to_owned(),
        }
    };
    let unneeded = Permissions::read().unneeded(&Permissions::used(), kind);
    assert!(unneeded.is_empty(), "{unneeded:#?}");
}

/// On Netlify one user has the permissions of all functions.
#[test]
fn the_documents_permit_on_netlify_what_the_functions_do() {
    let document = include_str!("../../docs/deploy-netlify.md");
    let start = document.find("make a user for Netlify that may use").unwrap();
    let sentence = &document[start..][..document[start..].find("on the table").unwrap()];
    let documented: BTreeSet<&str> = sentence
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|action| action.strip_prefix("dynamodb:").unwrap_or(action))
        .collect();
    let template = Template::read();
    let statements = template.functions().flat_map(|function| function.statements);
    let actions: BTreeSet<String> = statements
        .filter_map(|statement| statement["Action"].as_array().cloned())
        .flatten()
        .filter_map(|action| Some(action.as_str()?.strip_prefix("dynamodb:")?.to_owned()))
        // Netlify has no stream.
        .filter(|action| !action.contains("Stream") && !action.contains("Shard"))
        .filter(|action| action != "GetRecords")
        .collect();
    assert_eq!(documented, actions.iter().map(String::as_str).collect());
}
