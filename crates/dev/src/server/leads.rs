//! The list of leads that were submitted to this dev server, for the console.
//!
//! Owns its own file, because the table is never scanned for leads. It must not know anything about
//! a lead but its id.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use funil_core::id::LeadId;
use serde::{Deserialize, Serialize};

/// A lead and when it was first submitted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Submitted {
    lead_id: LeadId,
    at: String,
}

/// The list of leads, in memory and in its file.
pub(super) struct Leads {
    list: Mutex<(Vec<Submitted>, File)>,
}

impl Leads {
    /// Opens the file, or creates it. Lines that cannot be parsed are skipped.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut list = Vec::new();
        for line in BufReader::new(&file).lines() {
            if let Ok(submitted) = serde_json::from_str(&line?) {
                list.push(submitted);
            }
        }
        Ok(Self { list: Mutex::new((list, file)) })
    }

    /// Adds a lead, unless it is in the list already.
    pub(super) fn add(&self, lead_id: LeadId, at: String) {
        let mut guard = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let (list, file) = &mut *guard;
        if list.iter().any(|known| known.lead_id == lead_id) {
            return;
        }
        let submitted = Submitted { lead_id, at };
        if let Ok(line) = serde_json::to_string(&submitted)
            && let Err(error) = writeln!(file, "{line}")
        {
            tracing::warn!("the lead {lead_id} could not be added to the list's file: {error}");
        }
        list.push(submitted);
    }

    /// The leads, newest first.
    pub(super) fn newest_first(&self) -> Vec<Submitted> {
        let guard = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        guard.0.iter().rev().cloned().collect()
    }
}
