//! What Netlify wants of a function that was built elsewhere, and what it does not say.
//!
//! Found by running its bundler, `zip-it-and-ship-it` 16.2 (`docs/platforms.md`, "Netlify").

use std::time::Duration;

use funil_core::settings::Env;

use crate::functions;
use crate::server::DevEnvironment;

/// The symbol by which the bundler recognises a binary of Rust's. It leaves out one that lacks it.
pub(super) const RUST_SYMBOL: &str = "rust_eh_personality";
/// What all variables of a site's functions may have together, in bytes.
pub(super) const ENVIRONMENT_MAX: usize = 4096;
/// The name under which `dispatch` is deployed once more, with the schedule: a function with a schedule
/// has no address.
pub(super) const SWEEP: &str = "sweep";

/// The names under which a function is deployed.
pub(super) fn names_of(function: &'static str) -> Vec<&'static str> {
    if function == "dispatch" { vec![function, SWEEP] } else { vec![function] }
}

/// Whether the bundler recognises a binary.
pub(super) fn is_recognised(binary: &[u8]) -> bool {
    binary.windows(RUST_SYMBOL.len()).any(|part| part == RUST_SYMBOL.as_bytes())
}

/// How many bytes the variables have that the functions read and that are set here.
pub(super) fn environment_bytes(env: &Env) -> usize {
    let mut names = std::collections::BTreeSet::new();
    for from in [DevEnvironment::of_nowhere().env(), env.clone()] {
        let (recorded, asked) = from.recording();
        for (_, make) in functions::makes(Duration::ZERO) {
            // An incomplete configuration is refused, after everything was asked for.
            drop(make(&recorded, &funil_lambda::platform()));
        }
        names.extend(asked.names());
    }
    let set = names.iter().filter_map(|name| Some(name.len() + env.get(name)?.len()));
    set.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_functions_read_counts() {
        let env: Env =
            [("SITE_URL", "https://www.example.com"), ("PATH", "/usr/bin")].into_iter().collect();
        assert_eq!(environment_bytes(&env), "SITE_URL".len() + "https://www.example.com".len());
    }

    #[test]
    fn a_stripped_binary_is_not_recognised() {
        assert!(is_recognised(b"\0rust_eh_personality\0"));
        assert!(!is_recognised(b"\0rust_begin_unwind\0"));
    }
}
