//! Configuration: environment variables, read once at start.
//!
//! [`Settings`] notes every missing or bad name, so that a function refuses to start with all of
//! them in one message. Reading the process's environment is the shell's; here it is a map.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use url::Url;

/// Environment variables, as they were at start.
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
    /// A variable's value; blank counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// All of them, for a process that is to be started with the same.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.0.clone().into_iter()
    }

    /// Starts reading.
    pub fn settings(&self) -> Settings<'_> {
        Settings { env: self, problems: BTreeSet::new() }
    }
}

/// A credential. It has neither `Display` nor `Serialize`, and its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Marks a text as secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The credential itself, for the one request that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Everything that keeps a function from starting, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The configuration is incomplete. {}", self.0.join(" "))
    }
}

impl std::error::Error for ConfigError {}

/// Reads variables and collects what is wrong with them.
#[derive(Debug)]
pub struct Settings<'e> {
    env: &'e Env,
    problems: BTreeSet<String>,
}

impl<'e> Settings<'e> {
    /// Notes a problem; the answer is always `None`, for `?`.
    pub fn problem<T>(&mut self, sentence: impl Into<String>) -> Option<T> {
        self.problems.insert(sentence.into());
        None
    }

    /// A variable that may be absent.
    pub fn optional(&self, name: &str) -> Option<&'e str> {
        self.env.get(name)
    }

    /// A variable that has to be there.
    pub fn required(&mut self, name: &str) -> Option<&'e str> {
        let value = self.env.get(name);
        if value.is_none() {
            return self.problem(format!("Set {name}."));
        }
        value
    }

    /// A credential that has to be there.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        self.required(name).map(Secret::new)
    }

    /// An address: of the variable, else the default; required where there is no default.
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

    /// An address that may be absent; `None` if it is there and no address.
    pub fn optional_url(&mut self, name: &str) -> Option<Option<Url>> {
        match self.env.get(name) {
            Some(_) => self.url(name, None).map(Some),
            None => Some(None),
        }
    }

    /// A list separated by commas.
    pub fn list(&self, name: &str) -> Vec<&'e str> {
        let items = self.env.get(name).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).collect()
    }

    /// Hands out what was read, or everything that was wrong.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            Some(_) | None => Err(ConfigError(self.problems.into_iter().collect())),
        }
    }
}
