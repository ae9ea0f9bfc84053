//! The list of all functions, `docs/functions.md`: what each does, which variables it reads, and which it
//! cannot start without.
//!
//! What a function does is what its first operation says; the variables are found by starting it. Must not
//! know any variable's meaning.

use std::collections::BTreeSet;

use funil_core::destination;
use funil_core::settings::{DEV_SECRET_PREFIX, Env};
use funil_delivery::REQUEST_TIMEOUT;
use funil_lambda::{Function, api};
use funil_store::Platform;

use crate::functions::{Make, makes};
use crate::server::DevEnvironment;

/// The document as it was last printed.
pub const CHECKED_IN: &str = include_str!("../../../docs/functions.md");

const BEFORE: &str = "\
# The functions

`cargo run -- functions` prints this document; do not edit it. It makes each function with `ENVIRONMENT=production` and
notes which variables it asks for. `dispatch` starts with `DOORBELL_FUNCTION_PREFIX` in place of `DOORBELL_URL`, too.
`LOG_LEVEL` is read by all, before they start. [endpoints.md](endpoints.md) has the endpoint of each function,
[configuration.md](configuration.md#variables) what each variable means.

";

/// Each is asked for only where another one is, or is not, set.
const ALSO: [&[(&str, &str)]; 3] = [
    &[],
    &[("CRM_KIND", "contacts")],
    &[("DOORBELL_URL", ""), ("DOORBELL_FUNCTION_PREFIX", "funil-")],
];

/// What a function reads.
struct Reads {
    name: &'static str,
    required: BTreeSet<String>,
    all: BTreeSet<String>,
}

/// An environment with which every function starts in production, but for one variable.
fn env(more: &[(&str, &str)], without: Option<&str>) -> Env {
    let mut variables = DevEnvironment::of_nowhere().into_variables();
    for value in variables.values_mut() {
        *value = value.replace(DEV_SECRET_PREFIX, "of-our-own-").replace("http://", "https://");
    }
    let production = [("ENVIRONMENT", "production"), ("RINGS", "none")];
    for (name, value) in production.iter().chain(more) {
        variables.insert((*name).to_owned(), (*value).to_owned());
    }
    variables.retain(|name, _| Some(&**name) != without);
    variables.into_iter().collect()
}

fn reads(name: &'static str, make: &Make, platform: &Platform) -> Reads {
    let mut all = BTreeSet::new();
    for more in ALSO {
        let (env, asked) = env(more, None).recording();
        // What lacks a variable has asked for it all the same.
        drop(make(&env, platform));
        all.extend(asked.names());
    }
    let starts = |made: Result<Function, _>| made.is_ok();
    let is_required = |name: &&String| !starts(make(&env(&[], Some(name)), platform));
    let required = all.iter().filter(is_required).cloned().collect();
    Reads { name, required, all }
}

fn list<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What a function does, in a sentence.
fn does(name: &str) -> String {
    if let Some(one) = destination::ALL.iter().find(|one| one.function == name) {
        let also = if one.follows_bookings { ", and plans messages about a call" } else { "" };
        return format!("Delivers what is due for the destination `{}`{also}.", one.name);
    }
    if name == "dispatch" {
        return "Rings the delivery functions that have something due, notifies a person, and replays.".to_owned();
    }
    let operations = api::operations();
    let first = operations.iter().find(|one| one.function == name);
    first.map(|operation| operation.summary.to_owned()).unwrap_or_default()
}

/// The document, in Markdown: what all functions read, and what each does and reads besides.
pub fn text(platform: &Platform) -> String {
    let functions: Vec<Reads> = makes(REQUEST_TIMEOUT)
        .into_iter()
        .map(|(name, make)| reads(name, &make, platform))
        .collect();
    let by_all = |of: fn(&Reads) -> &BTreeSet<String>| -> BTreeSet<String> {
        let mut sets = functions.iter().map(|one| of(one).clone());
        let first = sets.next().unwrap_or_default();
        sets.fold(first, |common, set| common.intersection(&set).cloned().collect())
    };
    let (required, all) = (by_all(|one| &one.required), by_all(|one| &one.all));
    let row = |name: &str, does: &str, required: String, others: String| {
        format!("| {name} | {does} | {required} | {others} |\n")
    };
    let mut text = BEFORE.to_owned();
    text += "| function | does | cannot start without | reads too |\n|---|---|---|---|\n";
    text += &row(
        "each",
        "This is what all of them read.",
        list(required.iter()),
        list(all.difference(&required)),
    );
    for one in &functions {
        let own = one.required.difference(&required);
        let others = one.all.difference(&one.required).filter(|name| !all.contains(*name));
        text += &row(&format!("`{}`", one.name), &does(one.name), list(own), list(others));
    }
    text
}
