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
fn a_functions_main_is_about_ten_lines_and_has_samples() {
    for name in names_in("functions") {
        let main = root().join("functions").join(&name).join("src/main.rs");
        let lines = fs::read_to_string(main).unwrap().lines().count();
        assert!(lines <= 16, "{name} has {lines} lines");
        assert!(root().join("events").join(&name).is_dir(), "events/{name}");
    }
}

/// The names in the first column of a document's table of functions.
fn functions_listed(document: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let (_, table) = text.split_once("| requested by |").expect(document);
    // After the rest of its first line, up to the end of the table.
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The list of all functions, `docs/functions.md`, is printed.
#[test]
fn every_function_stands_in_the_table_of_the_endpoints_document() {
    let all = names_in("functions");
    assert!(functions_listed("README.md").is_subset(&all));
    let listed = functions_listed("docs/endpoints.md");
    assert!(listed.is_subset(&all), "{listed:?}");
    for name in all.difference(&listed) {
        // The functions that only deliver stand there together.
        let delivers = funil_core::destination::ALL.iter().any(|one| one.function == *name);
        assert!(delivers, "{name} in docs/endpoints.md");
    }
}

#[test]
fn every_destination_has_its_line_in_the_document_about_them() {
    let document = fs::read_to_string(root().join("docs/destinations.md")).unwrap();
    for one in funil_core::destination::ALL {
        let line = format!("| `{}` | `{}` | ", one.name, one.function);
        assert!(document.contains(&line), "{} in docs/destinations.md", one.name);
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

/// The top-level modules of `crates/core`, from the ground up. A module uses only modules of
/// earlier rows.
const MODULES: [&[&str]; 10] = [
    &["clock", "defaults", "hash", "json", "money", "pii", "settings", "text"],
    &["id", "score"],
    &["contact"],
    &["booking", "form", "receipt"],
    &["event"],
    &["payment"],
    &["delivery", "lead"],
    &["check"],
    &["destination", "provider"],
    &["replay", "site"],
];

/// The lines of a formatted file that are neither comments nor for tests only, and the modules for
/// tests only that have a file of their own.
fn code_and_test_modules(text: &str) -> (String, Vec<&str>) {
    let mut code = String::new();
    let mut test_modules = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let start = line.trim_start();
        if start == "#[cfg(test)]" {
            let indent = line.len() - start.len();
            let of_item = |line: &&str| {
                let start = line.trim_start();
                line.len() - start.len() == indent && start.ends_with([';', '}'])
            };
            // Formatted, an item ends with the first line at its own indent that closes it.
            let end = lines.find(of_item).unwrap();
            let words = end.trim_end_matches(';').rsplit_once("mod ");
            test_modules.extend(words.map(|(_, name)| name));
        } else if !start.starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    (code, test_modules)
}

fn row(module: &str) -> Option<usize> {
    MODULES.iter().position(|row| row.contains(&module))
}

/// The top-level modules that a file of core uses, by its paths from the root of the crate.
fn modules_used(code: &str, depth: usize) -> BTreeSet<String> {
    assert!(!code.contains("crate::{"), "one `use` for each module");
    let code = code.replace(&"super::".repeat(depth), "crate::");
    let paths = code.split("crate::").skip(1);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = paths.map(|path| path.split(|c| !is_word(c)).next().unwrap());
    // An inline module's `super` is the file itself, and what it names there is no top-level
    // module.
    names.filter(|name| row(name).is_some()).map(str::to_owned).collect()
}

#[test]
fn the_modules_of_core_stand_one_above_the_other() {
    let src = root().join("crates/core/src");
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    let lines = lib.lines().map(|line| line.strip_prefix("pub ").unwrap_or(line));
    let declared = lines.filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    assert_eq!(declared.collect::<BTreeSet<_>>(), MODULES.concat().into_iter().collect());

    let files = files(&src, "rs");
    let mut for_tests = BTreeSet::new();
    for (path, text) in &files {
        let (_, modules) = code_and_test_modules(text);
        for_tests.extend(modules.iter().map(|name| path.with_extension("").join(name)));
    }
    let mut uses = 0;
    let mut broken = Vec::new();
    for (path, text) in &files {
        let module = path.with_extension("");
        if for_tests.iter().any(|for_tests| module.starts_with(for_tests)) {
            continue;
        }
        let module: Vec<&str> =
            module.strip_prefix(&src).unwrap().iter().map(|name| name.to_str().unwrap()).collect();
        let top_level = module[0];
        for used in modules_used(&code_and_test_modules(text).0, module.len()) {
            let shown = module.join("/");
            if used != top_level {
                uses += 1;
                if row(&used) >= row(top_level) {
                    broken.push(format!("{shown} uses {used}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(uses > 50, "the paths are read: {uses}");
}

#[test]
fn the_architecture_lists_the_modules_of_core_in_their_order() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let listed = architecture.split("top-level modules of the core").nth(1).unwrap();
    // The second paragraph. What a row is about comes after its names and more spaces.
    let listed = listed.split("\n\n").nth(1).unwrap().lines().map(|line| {
        let names = line.trim().split("    ").next().unwrap();
        names.split_whitespace().collect::<Vec<_>>()
    });
    assert_eq!(listed.collect::<Vec<_>>(), MODULES.iter().rev().copied().collect::<Vec<_>>());
}

#[test]
fn paths_of_tests_and_comments_are_no_uses() {
    let text = "use super::id::LeadId;\n// crate::replay\n#[cfg(test)]\npub(crate) mod samples;\n\
        fn f() -> crate::clock::Clock {\n    #[cfg(test)]\n    use crate::site::Site;\n}\n\
        #[cfg(test)]\nmod tests {\n    use crate::event::{\n        Event,\n    };\n}\n\
        fn g(_: crate::pii::Pii<()>) {}\n";
    let (code, modules) = code_and_test_modules(text);
    assert_eq!(modules, ["samples"]);
    assert_eq!(modules_used(&code, 1), ["clock", "id", "pii"].map(str::to_owned).into());
    assert_eq!(modules_used(&code, 2), ["clock", "pii"].map(str::to_owned).into());
}

/// Our Rust and Markdown files.
fn our_texts() -> Vec<(PathBuf, String)> {
    let mut texts = Vec::new();
    for folder in ["crates", "docs", "functions", "tests"] {
        texts.extend(files(&root().join(folder), "rs"));
        texts.extend(files(&root().join(folder), "md"));
    }
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    texts.extend(top.map(|path| (path.clone(), fs::read_to_string(path).unwrap())));
    texts
}

/// Whether a line of a file in a folder at this depth has a relative path that leads out of the
/// repository.
fn leads_outside(line: &str, depth: usize) -> bool {
    line.contains(&"../".repeat(depth + 1))
}

/// Whether a line points to a document by the number of a section. Ours have headings.
fn names_a_section_by_number(line: &str) -> bool {
    let mut after = line.split(".md").skip(1);
    after.any(|rest| rest.trim_start_matches(['`', ')', ',', ' ']).starts_with('§'))
}

#[test]
fn no_file_mentions_a_document_outside_the_repository() {
    let mut found = Vec::new();
    for (path, text) in our_texts() {
        let depth = path.strip_prefix(root()).unwrap().components().count() - 1;
        for (index, line) in text.lines().enumerate() {
            if leads_outside(line, depth) || names_a_section_by_number(line) {
                found.push(format!("{}:{}", path.display(), index + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(leads_outside("../x", 0) && leads_outside("[x](../../x)", 1));
    assert!(!leads_outside("../x", 1) && !names_a_section_by_number("`x.md` (LGPD art. 8 §2)"));
    assert!(names_a_section_by_number(concat!("`x.md", "` §2")));
}

/// Where a document is named and a heading of it in quotes: both.
fn headings_named(text: &str) -> Vec<(&str, &str)> {
    let mentions = text.split("`docs/").skip(1);
    let named = mentions.filter_map(|mention| {
        let (document, rest) = mention.split_once(".md`")?;
        let is_name = document.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        if !is_name {
            return None;
        }
        let (heading, _) =
            rest.trim_start_matches([' ', ',', '(']).strip_prefix('"')?.split_once('"')?;
        Some((document, heading))
    });
    named.collect()
}

#[test]
fn a_comment_that_points_to_a_document_names_a_heading_of_it() {
    let mut count = 0;
    for (path, text) in our_texts() {
        let words = text.split_whitespace().filter(|word| !["//", "///", "//!"].contains(word));
        let text = words.collect::<Vec<_>>().join(" ");
        for (document, heading) in headings_named(&text) {
            let shown = format!("{}: {document}.md, {heading}", path.display());
            let document = root().join("docs").join(document).with_extension("md");
            let document = fs::read_to_string(document).expect(&shown);
            let is_heading = |line: &str| {
                line.starts_with('#') && line.trim_start_matches('#').trim_start() == heading
            };
            assert!(document.lines().any(is_heading), "{shown}");
            count += 1;
        }
    }
    assert!(count > 5, "the comments are read: {count}");
}

#[test]
fn every_file_that_the_documents_name_exists() {
    let folders = ["crates/", "deploy/", "docs/", "events/", "functions/", "tests/"];
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let named = text.split('`').skip(1).step_by(2);
        let paths = named.filter(|word| folders.iter().any(|folder| word.starts_with(folder)));
        let paths: Vec<_> = paths.filter(|path| !path.contains(['<', '*', ' ', '\n'])).collect();
        assert!(document == "README.md" || !paths.is_empty(), "{document} names files");
        for path in paths {
            assert!(root().join(path).exists(), "{document} names {path}");
        }
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
        for (path, text) in files(&root().join("crates").join(name).join("src"), "rs") {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            // A provider may write the names of its events as we write variables.
            let is_provider = path.starts_with(root().join("crates/core/src/provider"));
            if code.contains("Settings") || !is_provider {
                read.extend(variables(code, '"'));
            }
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
    let configuration = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let table = configuration.split("## Variables").nth(1).unwrap().split("\n## ").next().unwrap();
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
