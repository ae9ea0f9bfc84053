//! Reading of the configuration from environment variables.
//!
//! [`Settings`] collects every missing or invalid variable, so that a function that refuses to
//! start names all of them in one message. The variables are a map here: only `funil-lambda` reads
//! the process's environment. See `docs/design.md` ("Configuration").

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use url::Url;

/// The environment variables, as they were when the process started.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[environment]")
    }
}

impl Env {
    /// The trimmed value of a variable. A blank value counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// All variables, to start another process with them.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.0.clone().into_iter()
    }

    /// Starts reading a configuration from these variables.
    pub fn settings(&self) -> Settings<'_> {
        Settings { env: self, problems: BTreeSet::new() }
    }
}

/// A credential. It implements neither `Display` nor `Serialize`, and its `Debug` prints
/// `[secret]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The credential itself. The caller is responsible for not logging it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Everything that keeps a function from starting, as one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The configuration is incomplete. {}", self.0.join(" "))
    }
}

impl std::error::Error for ConfigError {}

/// Reads variables and collects what is missing or invalid.
#[derive(Debug)]
pub struct Settings<'e> {
    env: &'e Env,
    problems: BTreeSet<String>,
}

impl<'e> Settings<'e> {
    /// Records a problem. Always returns `None`, so that it can end an expression or be used with
    /// `?`.
    pub fn problem<T>(&mut self, sentence: impl Into<String>) -> Option<T> {
        self.problems.insert(sentence.into());
        None
    }

    /// An optional variable.
    pub fn optional(&self, name: &str) -> Option<&'e str> {
        self.env.get(name)
    }

    /// A required variable.
    pub fn required(&mut self, name: &str) -> Option<&'e str> {
        let value = self.env.get(name);
        if value.is_none() {
            return self.problem(format!("Set {name}."));
        }
        value
    }

    /// A required credential.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        self.required(name).map(Secret::new)
    }

    /// An http or https address. The variable is required if there is no default.
    pub fn url(&mut self, name: &str, default: Option<&str>) -> Option<Url> {
        let text = match self.env.get(name).or(default) {
            Some(text) => text,
            None => self.required(name)?,
        };
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            Ok(_) | Err(_) => self.problem(format!("{name} must be an http or https address.")),
        }
    }

    /// An optional http or https address: `Some(None)` if the variable is unset, and `None` if it
    /// is not an address.
    pub fn optional_url(&mut self, name: &str) -> Option<Option<Url>> {
        match self.env.get(name) {
            Some(_) => self.url(name, None).map(Some),
            None => Some(None),
        }
    }

    /// A list separated by commas, without empty entries.
    pub fn list(&self, name: &str) -> Vec<&'e str> {
        let items = self.env.get(name).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).collect()
    }

    /// Returns the configuration, or an error with every problem that was recorded.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            Some(_) | None => Err(ConfigError(self.problems.into_iter().collect())),
        }
    }
}
