//! How a simulated provider treats its calls, and the short text that says it.
//!
//! Owns the words of the stage page and of its query (`normal`, `throttle:30`, `status:401`). It
//! must not know any provider's interface, nor how an answer is sent or withheld.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The seconds a throttling provider asks for when none are said.
const RETRY_AFTER_S: u32 = 1;

/// What a simulated provider does with a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// As the real one: applies the call and answers. `normal`
    #[default]
    Normal,
    /// Applies nothing and answers this status. `status:401`; 503 is also `fail`
    Status(u16),
    /// Applies nothing and answers exactly this. `answer:{"status":…,"headers":[…],"body":"…"}`
    StatusWith {
        /// The status of the answer.
        status: u16,
        /// Its headers, besides what HTTP needs.
        headers: Vec<(String, String)>,
        /// Its body, sent as it is.
        body: String,
    },
    /// Applies nothing and answers 429 with `Retry-After`. `throttle`, `throttle:30`
    Throttle {
        /// The seconds in `Retry-After`.
        retry_after_s: u32,
    },
    /// Applies nothing and does not answer; released, it closes the connection. `hang`
    Hang,
    /// Applies the call and does not answer; released, it answers after all.
    /// `hang-after-effect`
    HangAfterEffect,
    /// Applies nothing and answers 200 with a body no interface describes. `garbage`
    Garbage,
    /// Applies nothing and closes the connection without an answer. `close`
    CloseConnection,
    /// Applies the call and closes the connection without an answer. `close-after-effect`
    CloseAfterEffect,
}

impl Behaviour {
    /// The words a page can offer; `status:…`, `throttle:…` and `answer:…` take a value besides.
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

    /// Whether the caller gets an answer at once.
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
struct Answer {
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
                    Answer { status: *status, headers: headers.clone(), body: body.clone() };
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

/// A text that says no behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a behaviour: say one of {words}, status:<200 to 599>, throttle:<seconds> \
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
                    .filter(|response: &Answer| sendable(&response.status))
                    .map(|Answer { status, headers, body }| Self::StatusWith {
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

impl<'de> Deserialize<'de> for Behaviour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_behaviour_is_read_back_from_its_text() {
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
    fn a_text_that_says_no_behaviour_is_refused_with_what_can_be_said() {
        for text in ["", "sleep", "status:99", "status:600", "status:", "throttle:-1", "answer:{}"]
        {
            let message = text.parse::<Behaviour>().unwrap_err().to_string();
            assert!(message.contains("hang-after-effect"), "{message}");
        }
    }
}
