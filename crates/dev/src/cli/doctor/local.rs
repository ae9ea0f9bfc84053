//! The doctor on this machine: every function is made of the environment's variables in this process, and asked
//! to check itself.

use std::collections::BTreeSet;

use funil_core::check::{Finding, Report};
use funil_core::clock::after;
use funil_core::settings::Env;
use funil_core::site::TableConfig;
use funil_delivery::REQUEST_TIMEOUT;
use funil_lambda::functions::intake;
use funil_store::{AwsConfig, Platform, Store};
use serde_json::json;

use super::Section;
use crate::functions;

/// How long a function may take, in seconds.
const TIME_S: i64 = 60;

/// What is found of the variables, of the table, and by each function.
pub(super) async fn sections(env: &Env, platform: &Platform) -> Vec<Section> {
    let mut problems = BTreeSet::new();
    let mut sections = Vec::new();
    for (name, make) in functions::makes(REQUEST_TIMEOUT) {
        let findings = match make(env, platform) {
            Ok(function) => {
                let stop_at = after(platform.clock.now(), TIME_S);
                let found = function.invoke(json!({"check": true}), stop_at).await;
                match serde_json::from_value::<Report>(found) {
                    Ok(report) => report.findings,
                    Err(_) => vec![Finding::failed("check", "it gave no report.")],
                }
            }
            Err(_) if is_left_out(name, env) => {
                let says = "its signing key is not set, so it receives nothing. That is right where the \
                            provider is not used.";
                vec![Finding::unchecked("configuration", says)]
            }
            Err(error) => {
                problems.extend(error.0);
                continue;
            }
        };
        sections.push(Section { name: name.to_owned(), findings });
    }
    let of_variables = if problems.is_empty() {
        vec![Finding::ok("configuration", "everything that the functions need is set")]
    } else {
        let failed = |problem| Finding::failed("configuration", problem);
        problems.into_iter().map(failed).collect()
    };
    let first = Section { name: "variables".to_owned(), findings: of_variables };
    let table = Section { name: "table".to_owned(), findings: table(env, platform).await };
    [first, table].into_iter().chain(sections).collect()
}

/// Whether it is a webhook without a signing key: then its provider is not used.
fn is_left_out(function: &str, env: &Env) -> bool {
    let registration = intake().find(|one| one.name == function);
    let signature = registration.and_then(|one| one.signature.as_ref());
    signature.is_some_and(|signature| env.get(signature.key_variable).is_none())
}

/// The table's settings, which no function reads.
async fn table(env: &Env, platform: &Platform) -> Vec<Finding> {
    let mut settings = env.settings();
    let (table, aws) = (TableConfig::read(&mut settings), AwsConfig::read(&mut settings));
    // What is missing is reported with the variables.
    let Ok((table, aws)) = settings.finish(table.zip(aws)) else { return Vec::new() };
    Store::connect(&aws, &table.name, platform).describe().await
}
