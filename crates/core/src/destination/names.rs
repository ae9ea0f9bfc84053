//! Names of fields or events that an operator may change, because a provider's account knows them
//! by others.
//!
//! Knows no destination.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::settings::Settings;

/// Whether a name may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Omission {
    /// `null` leaves it out.
    Allowed,
    /// Each needs a name.
    Refused,
}

/// The provider's names for ours; `None` leaves one out. Whatever is not here keeps its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<String, Option<String>>);

impl Names {
    /// Reads the variable, which is JSON, ours to theirs. `known` are the names that there are, and
    /// `is_valid` says which the provider takes.
    pub(super) fn read(
        settings: &mut Settings<'_>,
        variable: &str,
        (known, omission): (&[&str], Omission),
        is_valid: fn(&str) -> bool,
    ) -> Option<Self> {
        let Some(text) = settings.optional(variable) else { return Some(Self::default()) };
        let Ok(names) = serde_json::from_str::<BTreeMap<String, Option<String>>>(text) else {
            return settings.problem(format!("{variable} must be JSON with theirs for our names."));
        };
        let unknown: Vec<&str> =
            names.keys().map(String::as_str).filter(|name| !known.contains(name)).collect();
        if !unknown.is_empty() {
            let (unknown, known) = (unknown.join(", "), known.join(", "));
            return settings
                .problem(format!("{variable} has {unknown}, which is none of: {known}."));
        }
        let names = Self(names);
        let mut theirs = BTreeSet::new();
        for ours in known {
            match names.of(ours) {
                None if omission == Omission::Refused => {
                    return settings.problem(format!("{variable} must not leave {ours} out."));
                }
                Some(name) if !is_valid(name) => {
                    return settings.problem(format!(
                        "{variable} has a name for {ours} that the provider does not take."
                    ));
                }
                Some(name) if !theirs.insert(name) => {
                    return settings
                        .problem(format!("{variable} gives two of our names the name {name}."));
                }
                None | Some(_) => {}
            }
        }
        Some(names)
    }

    /// The provider's name for ours. `None` where it is left out.
    pub(super) fn of<'n>(&'n self, ours: &'n str) -> Option<&'n str> {
        self.0.get(ours).map_or(Some(ours), Option::as_deref)
    }

    /// The fields under the provider's names, without those that are left out.
    pub(super) fn rename(&self, fields: Map<String, Value>) -> Map<String, Value> {
        let fields = fields.into_iter();
        fields.filter_map(|(name, value)| Some((self.of(&name)?.to_owned(), value))).collect()
    }
}

/// Whether a text may be the key of a custom field: letters, digits and `_`, at most 100 characters.
pub(super) fn is_field(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Env;

    fn read(text: &str, omission: Omission) -> Result<Names, String> {
        let env: Env = [("X_FIELDS", text)].into_iter().collect();
        let mut settings = env.settings();
        let names =
            Names::read(&mut settings, "X_FIELDS", (&["stage", "score"], omission), is_field);
        settings.finish(names).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_changed_or_left_out() {
        let names = read(r#"{"stage":"estagio","score":null}"#, Omission::Allowed).unwrap();
        let Value::Object(fields) = json!({"stage": 1, "score": 2, "name": 3}) else { return };
        assert_eq!(Value::from(names.rename(fields)), json!({"estagio": 1, "name": 3}));
        let swapped = read(r#"{"stage":"score","score":"stage"}"#, Omission::Refused).unwrap();
        assert_eq!(swapped.of("stage"), Some("score"));
    }

    #[test]
    fn names_that_nobody_knows_and_names_for_two_are_refused() {
        for (text, expected) in [
            ("[]", "must be JSON"),
            (r#"{"stage":1}"#, "must be JSON"),
            (r#"{"stages":"x"}"#, "has stages, which is none of: stage, score."),
            (r#"{"stage":"score"}"#, "two of our names the name score"),
            (r#"{"stage":"x","score":"x"}"#, "two of our names the name x"),
            (r#"{"stage":"a b"}"#, "name for stage that"),
            (r#"{"stage":""}"#, "name for stage that"),
            (r#"{"stage":null}"#, "must not leave stage out"),
        ] {
            let error = read(text, Omission::Refused).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
