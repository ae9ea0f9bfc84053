//! The samples in `events/`, and the signatures of the providers that send such requests.
//!
//! Tests that go through all functions take from here what they know of none. It must not know what a
//! function does with a request.

use std::path::Path;

use funil_core::settings::Secret;
use jiff::Timestamp;
use serde_json::Value;

/// The folder with a folder of samples for each function.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events");

/// The names of the samples whose requests are not kept as a person's begin so.
const NOT_KEPT: [&str; 2] = ["invalid", "honeypot"];

/// One sample: `<function>/<name>` in [`FOLDER`].
pub fn read(name: &str) -> Value {
    let path = Path::new(FOLDER).join(name).with_extension("json");
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// The JSON bodies of a function's samples, in the order of their names, but for those that it does not
/// keep as a person's: `invalid-…` and `honeypot`.
pub fn bodies(function: &str) -> Vec<Value> {
    let files = std::fs::read_dir(Path::new(FOLDER).join(function)).unwrap_or_else(|_| {
        panic!("{function} needs a sample in events/{function}");
    });
    let stem = |file: std::io::Result<std::fs::DirEntry>| {
        file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()
    };
    let mut names: Vec<String> = files.map(stem).collect();
    names.retain(|name| NOT_KEPT.iter().all(|kind| !name.starts_with(kind)));
    names.sort();
    let body = |name: String| {
        let event = read(&format!("{function}/{name}"));
        serde_json::from_str(event["body"].as_str()?).ok().filter(Value::is_object)
    };
    names.into_iter().filter_map(body).collect()
}

/// The header that signs a body for a function, where its provider signs; `variable` gives the value of
/// the variable with the key.
pub fn signature(
    function: &str,
    body: &[u8],
    now: Timestamp,
    variable: impl FnOnce(&str) -> String,
) -> Option<(&'static str, String)> {
    let registration = funil_lambda::functions::intake().find(|one| one.name == function)?;
    let signature = registration.signature.as_ref()?;
    let key = Secret::new(&*variable(signature.key_variable));
    Some((signature.header, (signature.sign)(body, &key, now)))
}
