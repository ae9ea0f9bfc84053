//! The real clock, randomness and environment. They are read in this file and nowhere else.

use std::sync::Arc;

use funil_core::clock::{Clock, Entropy};
use funil_core::settings::Env;
use funil_store::Platform;
use jiff::Timestamp;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the platform's clock")]
        let now = Timestamp::now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        bytes
    }
}

/// The platform of a real process.
pub fn platform() -> Platform {
    Platform::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
}

/// The process's environment variables, without those that are not text.
pub fn process_environment() -> Env {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
