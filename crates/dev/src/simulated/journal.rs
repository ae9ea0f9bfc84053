//! The file with what the simulated providers received.
//!
//! Owns the format of the file: one JSON object on each line, for each request and for each change
//! by hand. The state of the providers is restored by applying the entries in order. This module
//! must not know what an entry does to a provider.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::c2s::Person;
use super::received::Received;

/// An entry, which is one line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Entry {
    /// A request.
    #[serde(rename = "call")]
    Request {
        received: Box<Received>,
        /// The length of the body in bytes, as it was received.
        size: usize,
        /// Whether the request was applied, so that a restart applies it again.
        applied: bool,
    },
    /// The status of a MailerLite subscriber was set by hand.
    Status { at: String, email: String, status: String },
    /// A custom field was created in the MailerLite account.
    Field { name: String },
    /// The sources of the enrichment were given a person.
    Person { person: Person },
}

impl Entry {
    /// The entry in words, for log lines. Without the e-mail and the path, which may have one.
    fn name(&self) -> String {
        match self {
            Self::Request { received, .. } => {
                format!("the request to {} of {}", received.provider, received.at)
            }
            Self::Status { at, status, .. } => format!("the status {status} of {at}"),
            Self::Field { name } => format!("the field {name}"),
            Self::Person { .. } => "a person whom Diretrix knows".to_owned(),
        }
    }
}

/// The file, open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

impl Journal {
    /// Opens or creates the file and reads its entries. A last line that is incomplete after a
    /// crash is removed.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Entry>)> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let entries = bytes[..whole]
            .split_inclusive(|byte| *byte == b'\n')
            .enumerate()
            .map(|(line, entry)| {
                serde_json::from_slice(entry).map_err(|error| {
                    let path = path.display();
                    let why = format!("line {} of {path} is not an entry: {error}", line + 1);
                    io::Error::new(io::ErrorKind::InvalidData, why)
                })
            })
            .collect::<io::Result<_>>()?;
        let end = u64::try_from(whole).map_err(io::Error::other)?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok((Self { file }, entries))
    }

    /// Appends an entry. A failure is only logged.
    pub(super) fn append(&mut self, entry: &Entry) {
        let written = serde_json::to_string(entry).map_err(io::Error::from).and_then(|mut line| {
            line.push('\n');
            self.file.write_all(line.as_bytes())
        });
        if let Err(error) = written {
            tracing::warn!(
                "{} was not written to the simulated providers' file: {error}",
                entry.name()
            );
        }
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) {
        if let Err(error) = self.file.set_len(0).and_then(|()| self.file.rewind()) {
            tracing::warn!("the simulated providers' file could not be emptied: {error}");
        }
    }
}
