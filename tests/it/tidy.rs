//! What the code must stay like: the direction of dependencies, and documents that agree with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below `folder` with this ending, with its text.
fn files(folder: &Path, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// The folders in `folder`.
fn names_in(folder: &str) -> BTreeSet<String> {
    fs::read_dir(root().join(folder))
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn manifest(folder: &Path) -> toml::Table {
    fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
}

/// The packages that the package in `folder` is built from, without those of its tests.
fn dependencies(folder: &Path) -> BTreeSet<String> {
    manifest(folder)["dependencies"].as_table().unwrap().keys().cloned().collect()
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = [
        ("core", &[][..]),
        ("store", &["funil-core"]),
        ("delivery", &["funil-core", "funil-store"]),
        ("lambda", &["funil-core", "funil-store"]),
        ("dev", &["funil-core", "funil-delivery", "funil-lambda", "funil-store"]),
    ]
    .into();
    assert_eq!(names_in("crates"), allowed.keys().map(|name| (*name).to_owned()).collect());
    for (name, allowed) in allowed {
        let ours = dependencies(&root().join("crates").join(name));
        let ours = ours.iter().filter(|package| package.starts_with("funil-"));
        for package in ours {
            assert!(allowed.contains(&package.as_str()), "{name} must not depend on {package}");
        }
    }
}

#[test]
fn an_intake_function_does_not_link_what_delivers() {
    for name in names_in("functions") {
        let ours = dependencies(&root().join("functions").join(&name));
        let delivers = ours.contains("funil-delivery");
        // `dispatch` delivers alerts.
        let destination = funil_core::destination::ALL.iter().any(|d| d.function == name);
        assert_eq!(delivers, destination || name == "dispatch", "{name}");
    }
}

#[test]
fn only_the_store_names_dynamodb() {
    for name in names_in("crates").iter().filter(|name| *name != "store") {
        let folder = root().join("crates").join(name);
        assert!(!dependencies(&folder).contains("aws-sdk-dynamodb"), "{name}");
        for (path, text) in files(&folder.join("src"), "rs") {
            assert!(!text.contains("aws_sdk_dynamodb"), "{}", path.display());
        }
    }
}

#[test]
fn a_functions_main_is_about_ten_lines_and_has_samples_and_a_place_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for name in names_in("functions") {
        let main = root().join("functions").join(&name).join("src/main.rs");
        let lines = fs::read_to_string(main).unwrap().lines().count();
        assert!(lines <= 16, "{name} has {lines} lines");
        assert!(root().join("events").join(&name).is_dir(), "events/{name}");
        assert!(readme.contains(&format!("`{name}`")), "{name} in README.md");
    }
}

#[test]
fn every_function_is_started_by_the_test_that_they_share() {
    let start: toml::Table = "name = 'start'\npath = '../start.rs'".parse().unwrap();
    for name in names_in("functions") {
        let manifest = manifest(&root().join("functions").join(&name));
        assert_eq!(manifest.get("test"), Some(&vec![start.clone()].into()), "{name}");
    }
}

/// Names of variables that stand in a text as whole words: `CRM_KIND`, `GA4_API_SECRET`.
fn variables(text: &str, quote: char) -> BTreeSet<String> {
    text.split(quote)
        .filter(|word| {
            word.contains('_')
                && !word.ends_with('_')
                && word.starts_with(|c: char| c.is_ascii_uppercase())
                && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_configuration_names_every_variable_and_no_other() {
    // Set by the platform for the runtime, not by whoever configures a site.
    let platform: BTreeSet<String> = ["AWS_LAMBDA_RUNTIME_API".to_owned()].into();
    let mut read = BTreeSet::new();
    for name in ["core", "store", "delivery", "lambda"] {
        for (_, text) in files(&root().join("crates").join(name).join("src"), "rs") {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            read.extend(variables(code, '"'));
        }
    }
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        read.insert(format!("FUNIL_{name}"));
    }
    read.insert("TABLE_NAME".to_owned());
    for destination in funil_core::destination::ALL {
        let name = destination.name.to_ascii_uppercase();
        read.insert(format!("{name}_REQUESTS_PER_MINUTE"));
    }
    let read: BTreeSet<_> = read.difference(&platform).cloned().collect();
    let readme = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let table = readme.split("## Configuration").nth(1).unwrap().split("\n## ").next().unwrap();
    assert_eq!(variables(table, '`'), read);
}

#[test]
fn every_module_says_what_it_owns_and_no_drawer_exists() {
    for folder in ["crates", "functions", "tests"] {
        for (path, text) in files(&root().join(folder), "rs") {
            let shown = path.display();
            assert!(text.starts_with("//!"), "{shown} has no first lines");
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let drawers = ["utils", "util", "common", "helpers", "helper", "misc", "manager"];
            assert!(!drawers.contains(&stem), "{shown}");
            for (index, line) in text.lines().enumerate() {
                let unfinished = ["TO", "FIX"].iter().zip(["DO", "ME"]).any(|(one, two)| {
                    line.contains(&format!("{one}{two}")) && !line.contains("issue")
                });
                assert!(!unfinished, "{shown}:{} names no issue", index + 1);
            }
        }
    }
}
