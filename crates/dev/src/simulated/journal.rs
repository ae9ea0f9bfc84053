//! The file in which the local stage keeps what its providers received.
//!
//! Owns the lines: one JSON object per call or per change made by hand, from which the state is
//! made again by applying them in order. It must not know what an entry does to a provider.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::received::Received;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Entry {
    /// A call.
    #[serde(rename = "call")]
    Request {
        received: Box<Received>,
        /// The body's length as it came.
        size: usize,
        /// Whether it was applied, and so is to be applied again.
        applied: bool,
    },
    /// A subscriber's status set by hand.
    Status { at: String, email: String, status: String },
    /// A field `MailerLite` was told to know.
    Field { name: String },
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

impl Journal {
    /// Opens or creates the file and reads its entries. A last line that a crash tore is cut off.
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

    /// Appends an entry. A failure is told in the log; the call goes on.
    pub(super) fn append(&mut self, entry: &Entry) {
        let written = serde_json::to_string(entry).map_err(io::Error::from).and_then(|mut line| {
            line.push('\n');
            self.file.write_all(line.as_bytes())
        });
        if let Err(error) = written {
            tracing::warn!(%error, "a simulated provider's call was not written to its file");
        }
    }

    /// Forgets every entry.
    pub(super) fn clear(&mut self) {
        if let Err(error) = self.file.set_len(0).and_then(|()| self.file.rewind()) {
            tracing::warn!(%error, "the simulated providers' file could not be emptied");
        }
    }
}
