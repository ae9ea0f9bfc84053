//! What Netlify wants of a function that was built elsewhere, and what it does not say.
//!
//! Found by running its bundler, `zip-it-and-ship-it` 16.2 (`docs/platforms.md`, "Netlify").

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

/// Whether a binary needs a C library of the system's. Which one Netlify's functions have is not known.
pub(super) fn is_dynamic(binary: &[u8]) -> bool {
    binary.windows(b"libc.so.6".len()).any(|part| part == b"libc.so.6")
}

/// Whether the bundler recognises a binary.
pub(super) fn is_recognised(binary: &[u8]) -> bool {
    binary.windows(RUST_SYMBOL.len()).any(|part| part == RUST_SYMBOL.as_bytes())
}

/// How many bytes the variables of a file have, which has `NAME=value` lines.
pub(super) fn environment_bytes(file: &str) -> usize {
    let lines = file.lines().filter(|line| !line.trim_start().starts_with('#'));
    // A line without a name goes on with the value before it.
    lines
        .map(|line| {
            line.split_once('=').map_or(line.len(), |(name, value)| name.len() + value.len())
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_of_a_file_counts() {
        let file = "SITE_URL=https://www.example.com\n# not this one=1\n\nRINGS=http\n";
        let expected = "SITE_URL".len() + "https://www.example.com".len() + "RINGShttp".len();
        assert_eq!(environment_bytes(file), expected);
    }

    #[test]
    fn a_stripped_binary_is_not_recognised() {
        assert!(is_recognised(b"\0rust_eh_personality\0"));
        assert!(!is_recognised(b"\0rust_begin_unwind\0"));
    }
}
