//! Where deployed functions are: below one base address, or each at its own Function URL.
//!
//! Must not know what any function does.

use std::fs;
use std::io;
use std::path::Path;

use funil_core::delivery::exchange::endpoint;
use serde_json::Value;
use url::Url;

use crate::cli::Failure;

/// Where the deployed functions are.
#[derive(Clone, Debug)]
pub enum Addresses {
    /// Each below this one, under its name.
    Below(Url),
    /// Each at its Function URL, as the outputs of a stack name it: `LeadSubmitUrl`.
    OfStack(Value),
}

impl Addresses {
    /// Reads the outputs of a stack.
    pub fn of_stack(file: &Path) -> Result<Self, Failure> {
        let text = if file.as_os_str() == "-" {
            io::read_to_string(io::stdin())?
        } else {
            fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?
        };
        let outputs = serde_json::from_str(&text)
            .map_err(|_| "The stack's outputs are no JSON; give what describe-stacks prints.")?;
        Ok(Self::OfStack(outputs))
    }

    /// A function's address, if it has one.
    pub fn of(&self, function: &str) -> Option<Url> {
        match self {
            Self::Below(base) => Some(endpoint(base, &[function])),
            Self::OfStack(described) => {
                let words = function.split('-').map(|word| {
                    let (first, rest) = word.split_at_checked(1).unwrap_or_default();
                    first.to_ascii_uppercase() + rest
                });
                let key = words.collect::<String>() + "Url";
                let outputs = described.pointer("/Stacks/0/Outputs")?.as_array()?;
                let output = outputs.iter().find(|output| output["OutputKey"] == key.as_str())?;
                Url::parse(output["OutputValue"].as_str()?).ok()
            }
        }
    }
}
