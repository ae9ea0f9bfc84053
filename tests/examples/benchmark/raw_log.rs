//! Everything that happened, a line of JSON each, with the time since the beginning.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};

pub(crate) struct RawLog {
    begun: Instant,
    file: Mutex<BufWriter<File>>,
}

impl RawLog {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = Mutex::new(BufWriter::new(File::create(path)?));
        Ok(Self { begun: Instant::now(), file })
    }

    pub(crate) fn write(&self, happened: &Value) {
        let at = self.begun.elapsed().as_secs_f64();
        let line = json!({"at": (at * 1000.0).round() / 1000.0, "happened": happened});
        let mut file = self.file.lock().unwrap();
        writeln!(file, "{line}").unwrap();
        file.flush().unwrap();
    }
}
