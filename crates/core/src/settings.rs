//! Reading of the configuration from environment variables.
//!
//! [`Settings`] collects every missing or invalid variable, so that a function that refuses to
//! start names all of them in one message. It also owns what production refuses as too weak: short
//! or public secrets, and addresses without TLS. The variables are a map here: only `funil-lambda`
//! reads the process's environment. See `docs/design.md` ("Configuration").

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use subtle::ConstantTimeEq as _;
use url::{Host, Url};

/// The environment variables, as they were when the process started.
#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, String>,
    asked: Option<Asked>,
}

/// The names that an [`Env`] was asked for. Clones of it note in the same list.
#[derive(Clone, Debug, Default)]
pub struct Asked(Arc<Mutex<BTreeSet<String>>>);

impl Asked {
    /// The names so far, whether they are set or not.
    pub fn names(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { variables: variables.collect(), asked: None }
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
        if let Some(asked) = &self.asked {
            asked.note(name);
        }
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// All variables, to start another process with them.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.variables.clone().into_iter()
    }

    /// The same variables, and the list of those that are asked for from now on: what a function reads
    /// is not written down anywhere else.
    pub fn recording(self) -> (Self, Asked) {
        let asked = Asked::default();
        (Self { asked: Some(asked.clone()), ..self }, asked)
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

    /// Whether a text is one of the secrets, compared in constant time.
    pub fn is_one_of(given: &str, secrets: &[Self]) -> bool {
        let given = given.as_bytes();
        secrets.iter().fold(false, |is_one, secret| {
            is_one | bool::from(secret.expose().as_bytes().ct_eq(given))
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The kind of deployment, from `ENVIRONMENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Everything that is planned is sent, and weak configuration is refused.
    Production,
    /// A destination sends only if its `_BASE_URL` is set or `DELIVER_OUTSIDE_PRODUCTION` names it.
    Other,
}

/// The least length of a secret that the site's owner chooses, in bytes.
pub const SECRET_BYTES_MIN: usize = 16;
/// How every secret of the dev server begins. Anybody can read them, so production refuses them.
pub const DEV_SECRET_PREFIX: &str = "local-";

/// Everything that keeps a function from starting, as one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl ConfigError {
    /// Two parts of one configuration. The error names what is wrong with either.
    pub fn both<A, B>(one: Result<A, Self>, other: Result<B, Self>) -> Result<(A, B), Self> {
        match (one, other) {
            (Ok(one), Ok(other)) => Ok((one, other)),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
            (Err(one), Err(other)) => {
                let all: BTreeSet<String> = one.0.into_iter().chain(other.0).collect();
                Err(Self(all.into_iter().collect()))
            }
        }
    }
}

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

    /// The kind of deployment: production if `ENVIRONMENT` is unset.
    pub fn environment(&self) -> Environment {
        match self.env.get("ENVIRONMENT") {
            None => Environment::Production,
            Some(name) if name.eq_ignore_ascii_case("production") => Environment::Production,
            Some(_) => Environment::Other,
        }
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

    /// A required credential that a provider issued.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        let value = self.required(name)?;
        self.not_public(name, value).map(Secret::new)
    }

    /// Required credentials that a provider issued: several by commas, while one is being replaced.
    pub fn issued_secrets(&mut self, name: &str) -> Option<Vec<Secret>> {
        let values = self.list(name);
        if values.is_empty() {
            return self.problem(format!("Set {name}."));
        }
        values.into_iter().map(|value| self.not_public(name, value).map(Secret::new)).collect()
    }

    /// Required credentials that the site's owner chose: several by commas, while one is being
    /// replaced.
    pub fn chosen_secrets(&mut self, name: &str) -> Option<Vec<Secret>> {
        let secrets = self.issued_secrets(name)?;
        if secrets.iter().any(|secret| secret.expose().len() < SECRET_BYTES_MIN) {
            return self.problem(format!(
                "{name} must have at least {SECRET_BYTES_MIN} characters, each one if there are \
                 several. `openssl rand -hex 32` makes a good one."
            ));
        }
        Some(secrets)
    }

    /// Refuses a secret of the dev server in production.
    fn not_public<'v>(&mut self, name: &str, value: &'v str) -> Option<&'v str> {
        let is_public = value.starts_with(DEV_SECRET_PREFIX);
        if is_public && self.environment() == Environment::Production {
            return self.problem(format!(
                "{name} is the dev server's, which anybody can read. Set one of your own."
            ));
        }
        Some(value)
    }

    /// An http or https address; in production https, unless it is on this machine. The variable is
    /// required if there is no default.
    pub fn url(&mut self, name: &str, default: Option<&str>) -> Option<Url> {
        let text = match self.env.get(name).or(default) {
            Some(text) => text,
            None => self.required(name)?,
        };
        match Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
                self.problem(format!("{name} must be an http or https address."))
            }
            Ok(url) if self.environment() == Environment::Production && is_exposed(&url) => {
                self.problem(format!("{name} must be an https address in production."))
            }
            Ok(url) => Some(url),
            Err(_) => self.problem(format!("{name} must be an http or https address.")),
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

/// Whether what is sent to this address, or comes from it, can be read on the way: plain http, but for
/// loopback.
pub(crate) fn is_exposed(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    };
    url.scheme() == "http" && !is_loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problem of reading a variable with this value, outside production and in it.
    fn problems<T>(
        value: &str,
        read: impl Fn(&mut Settings<'_>) -> Option<T>,
    ) -> [Option<String>; 2] {
        ["staging", "production"].map(|environment| {
            let env: Env = [("ENVIRONMENT", environment), ("NAME", value)].into_iter().collect();
            let mut settings = env.settings();
            let value = read(&mut settings);
            settings.finish(value).err().map(|error| error.0.concat())
        })
    }

    #[test]
    fn a_secret_that_is_chosen_is_long_and_none_is_public_in_production() {
        let chosen = |value: &str| problems(value, |settings| settings.chosen_secrets("NAME"));
        let issued = |value: &str| problems(value, |settings| settings.issued_secrets("NAME"));
        let one = |value: &str| problems(value, |settings| settings.secret("NAME"));
        let states = |problems: [Option<String>; 2]| problems.map(|problem| problem.is_some());
        for (value, of_chosen, of_issued) in [
            ("0123456789abcdef", [false, false], [false, false]),
            ("0123456789abcde", [true, true], [false, false]),
            ("0123456789abcdef,short", [true, true], [false, false]),
            ("local-0123456789abcdef", [false, true], [false, true]),
            ("0123456789abcdef,local-0123456789abcdef", [false, true], [false, true]),
            ("", [true, true], [true, true]),
            (" , ", [true, true], [true, true]),
        ] {
            assert_eq!(states(issued(value)), of_issued, "{value}");
            assert_eq!(states(chosen(value)), of_chosen, "{value}");
        }
        assert_eq!(states(one("local-crm")), [false, true]);
        let [_, Some(problem)] = chosen("local-0123456789abcdef") else { panic!("no problem") };
        assert!(problem.contains("NAME") && !problem.contains("0123"), "{problem}");
    }

    #[test]
    fn an_address_without_tls_is_refused_in_production_but_for_loopback() {
        let url = |value: &str| {
            problems(value, |settings| settings.url("NAME", None)).map(|problem| problem.is_some())
        };
        for (value, expected) in [
            ("https://example.com", [false, false]),
            ("http://127.0.0.1:8888", [false, false]),
            ("http://localhost:8888", [false, false]),
            ("http://[::1]:8888", [false, false]),
            ("http://example.com", [false, true]),
            ("http://localhost.example.com", [false, true]),
            ("http://10.0.0.1", [false, true]),
            ("ftp://example.com", [true, true]),
            ("example.com", [true, true]),
        ] {
            assert_eq!(url(value), expected, "{value}");
        }
    }

    #[test]
    fn two_parts_of_a_configuration_name_what_is_wrong_with_either_once() {
        let error = |names: &[&str]| -> Result<(), ConfigError> {
            Err(ConfigError(names.iter().map(|name| (*name).to_owned()).collect()))
        };
        assert_eq!(ConfigError::both(Ok::<_, ConfigError>(1), Ok::<_, ConfigError>(2)), Ok((1, 2)));
        let both = ConfigError::both(error(&["b", "a"]), error(&["c", "a"])).unwrap_err();
        assert_eq!(both.0, ["a", "b", "c"]);
        assert_eq!(ConfigError::both(Ok(1), error(&["a"])).unwrap_err().0, ["a"]);
    }
}
