//! The script that sends a page's forms: it is made of the present source, is as small as it promises, has the hash
//! that its document names, and the dev server's pages with a form use it. What it does in a browser is in
//! `tests/browser`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use funil_core::hash::sha256_hex;
use funil_lambda::forms::FORMS;
use sha2::{Digest, Sha384};

const SCRIPT: &str = include_str!("../../docs/funil.js");
const DOCUMENT: &str = include_str!("../../docs/funil-js.md");
const SOURCE: &str = include_str!("../../page/funil.ts");

#[test]
fn the_script_is_made_of_the_present_source() {
    let first = SCRIPT.lines().next().unwrap();
    let digest = &sha256_hex(SOURCE.as_bytes())[..12];
    assert!(first.ends_with(digest), "run \"npm run build\" in page/: {first} is not {digest}");
}

#[test]
fn the_script_has_at_most_4_kb() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(SCRIPT.as_bytes()).unwrap();
    let length = gzip.finish().unwrap().len();
    assert!(length <= 4096, "{length} bytes gzipped");
}

#[test]
fn the_document_names_the_script_s_hash() {
    let hash = format!("sha384-{}", BASE64_STANDARD.encode(Sha384::digest(SCRIPT)));
    let named: Vec<&str> = DOCUMENT.split('"').filter(|text| text.starts_with("sha384-")).collect();
    assert_eq!(named, [hash]);
}

/// The dev server's pages are those of the first customer's site; a form that their site does not have needs none.
#[test]
fn every_page_with_a_form_uses_the_script_and_works_without_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/dev/assets");
    let pages: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "html"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let forms: BTreeSet<&str> = FORMS.iter().map(|form| form.name).collect();
    let mut sent: BTreeSet<&str> = BTreeSet::new();
    for page in pages {
        for rest in page.split("data-funil=\"").skip(1) {
            let name = rest.split('"').next().unwrap();
            let tag = format!("data-funil=\"{name}\" method=\"post\" action=\"/api/{name}\"");
            assert!(page.contains(&tag), "{name}");
            assert!(page.contains("src=\"/assets/funil.js\" defer"), "{name}");
            sent.insert(*forms.get(name).unwrap_or_else(|| panic!("{name} is no form")));
        }
    }
    assert!(sent.len() >= 5, "{sent:?}");
}
