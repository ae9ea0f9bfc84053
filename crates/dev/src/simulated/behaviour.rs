//! How a simulated provider treats its requests, and the short text for it.
//!
//! Owns the texts that the console sends and displays (`normal`, `throttle:30`, `status:401`); they
//! are listed in `docs/dev-server.md`. It must not know any provider's API, nor how a response is
//! sent or withheld.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

/// The `Retry-After` of `throttle` without a value, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// What a simulated provider does with a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// `normal`: applies the request and responds, as the real provider does.
    #[default]
    Normal,
    /// `status:401`: applies nothing and responds with this status. `fail` is `status:503`.
    Status(u16),
    /// `answer:{"status":…,"headers":[…],"body":"…"}`: applies nothing and responds with exactly
    /// this.
    StatusWith {
        /// The status of the response.
        status: u16,
        /// The headers, in addition to those that HTTP requires.
        headers: Vec<(String, String)>,
        /// The body, sent as it is.
        body: String,
    },
    /// `throttle`, `throttle:30`: applies nothing and responds 429 with `Retry-After`.
    Throttle {
        /// The value of `Retry-After`, in seconds.
        retry_after_s: u32,
    },
    /// `hang`: applies nothing and does not respond. When it is released, it closes the connection.
    Hang,
    /// `hang-after-effect`: applies the request and does not respond. When it is released, it sends
    /// the response.
    HangAfterEffect,
    /// `garbage`: applies nothing and responds 200 with a body that no API describes.
    Garbage,
    /// `close`: applies nothing and closes the connection without a response.
    CloseConnection,
    /// `close-after-effect`: applies the request and closes the connection without a response.
    CloseAfterEffect,
}

impl Behaviour {
    /// The texts that need no value. There are also `status:…`, `throttle:…` and `answer:…`.
    pub const WORDS: [&str; 8] = [
        "normal",
        "fail",
        "throttle",
        "hang",
        "hang-after-effect",
        "garbage",
        "close",
        "close-after-effect",
    ];

    /// Whether the client gets a response at once.
    pub(super) fn responds(&self) -> bool {
        match self {
            Self::Normal
            | Self::Status(_)
            | Self::StatusWith { .. }
            | Self::Throttle { .. }
            | Self::Garbage => true,
            Self::Hang | Self::HangAfterEffect | Self::CloseConnection | Self::CloseAfterEffect => {
                false
            }
        }
    }
}

/// The value of `answer:`.
#[derive(Serialize, Deserialize)]
struct ExactResponse {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
}

impl fmt::Display for Behaviour {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => out.write_str("normal"),
            Self::Status(503) => out.write_str("fail"),
            Self::Status(status) => write!(out, "status:{status}"),
            Self::StatusWith { status, headers, body } => {
                let response =
                    ExactResponse { status: *status, headers: headers.clone(), body: body.clone() };
                let response = serde_json::to_string(&response).map_err(|_| fmt::Error)?;
                write!(out, "answer:{response}")
            }
            Self::Throttle { retry_after_s: RETRY_AFTER_S } => out.write_str("throttle"),
            Self::Throttle { retry_after_s } => write!(out, "throttle:{retry_after_s}"),
            Self::Hang => out.write_str("hang"),
            Self::HangAfterEffect => out.write_str("hang-after-effect"),
            Self::Garbage => out.write_str("garbage"),
            Self::CloseConnection => out.write_str("close"),
            Self::CloseAfterEffect => out.write_str("close-after-effect"),
        }
    }
}

/// The text is not a behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a behaviour; use one of {words}, status:<200 to 599>, throttle:<seconds> \
     or answer:<JSON>",
    words = Behaviour::WORDS.join(", ")
)]
pub struct UnknownBehaviour(String);

impl FromStr for Behaviour {
    type Err = UnknownBehaviour;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownBehaviour(text.to_owned());
        let text = text.trim();
        let sendable = |status: &u16| (200..600).contains(status);
        if let Some((word, value)) = text.split_once(':') {
            return match word {
                "status" => {
                    value.parse().ok().filter(sendable).map(Self::Status).ok_or_else(unknown)
                }
                "throttle" => value
                    .parse()
                    .map(|retry_after_s| Self::Throttle { retry_after_s })
                    .map_err(|_| unknown()),
                "answer" => serde_json::from_str(value)
                    .ok()
                    .filter(|response: &ExactResponse| sendable(&response.status))
                    .map(|ExactResponse { status, headers, body }| Self::StatusWith {
                        status,
                        headers,
                        body,
                    })
                    .ok_or_else(unknown),
                _ => Err(unknown()),
            };
        }
        match text {
            "normal" => Ok(Self::Normal),
            "fail" => Ok(Self::Status(503)),
            "throttle" => Ok(Self::Throttle { retry_after_s: RETRY_AFTER_S }),
            "hang" => Ok(Self::Hang),
            "hang-after-effect" => Ok(Self::HangAfterEffect),
            "garbage" => Ok(Self::Garbage),
            "close" => Ok(Self::CloseConnection),
            "close-after-effect" => Ok(Self::CloseAfterEffect),
            _ => Err(unknown()),
        }
    }
}

impl Serialize for Behaviour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_behaviour_is_parsed_from_its_text() {
        for (text, behaviour) in [
            ("normal", Behaviour::Normal),
            ("fail", Behaviour::Status(503)),
            ("status:401", Behaviour::Status(401)),
            ("throttle", Behaviour::Throttle { retry_after_s: 1 }),
            ("throttle:30", Behaviour::Throttle { retry_after_s: 30 }),
            ("hang", Behaviour::Hang),
            ("hang-after-effect", Behaviour::HangAfterEffect),
            ("garbage", Behaviour::Garbage),
            ("close", Behaviour::CloseConnection),
            ("close-after-effect", Behaviour::CloseAfterEffect),
            (
                r#"answer:{"status":400,"headers":[["x-a","b:c"]],"body":"{}"}"#,
                Behaviour::StatusWith {
                    status: 400,
                    headers: vec![("x-a".to_owned(), "b:c".to_owned())],
                    body: "{}".to_owned(),
                },
            ),
        ] {
            assert_eq!(text.parse::<Behaviour>().unwrap(), behaviour);
            assert_eq!(behaviour.to_string(), text);
            assert_eq!(serde_json::to_value(&behaviour).unwrap(), text);
        }
        for word in Behaviour::WORDS {
            assert_eq!(word.parse::<Behaviour>().unwrap().to_string(), word);
        }
    }

    #[test]
    fn an_unknown_behaviour_is_refused_with_the_known_ones() {
        for text in ["", "sleep", "status:99", "status:600", "status:", "throttle:-1", "answer:{}"]
        {
            let message = text.parse::<Behaviour>().unwrap_err().to_string();
            assert!(message.contains("hang-after-effect"), "{message}");
        }
    }
}
