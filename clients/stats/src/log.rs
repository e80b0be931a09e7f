//! The log of circusd-stats: a few lines, to standard error or to the end of a file.

use std::io::{self, Write as _};
use std::path::Path;

use circus_core::escape::escaped;
use circus_sys::open_log_file;
use jiff::Timestamp;

/// Where lines go, and which.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<String>,
    /// Whether only errors and warnings are logged.
    terse: bool,
}

impl Log {
    pub(super) fn new(level: &str, output: &str) -> Self {
        let terse = ["warning", "error", "critical"].contains(&level.to_lowercase().as_str());
        // A system log has circusd's own lines; these few are for standard error.
        let is_file = !["-", "stdout"].contains(&output) && !output.starts_with("syslog://");
        Self { file: is_file.then(|| output.to_owned()), terse }
    }

    pub(super) fn info(&self, text: &str) {
        if !self.terse {
            self.line("INFO", text);
        }
    }

    pub(super) fn warning(&self, text: &str) {
        self.line("WARNING", text);
    }

    pub(super) fn error(&self, text: &str) {
        self.line("ERROR", text);
    }

    fn line(&self, level: &str, text: &str) {
        let time = Timestamp::now().to_zoned(circus_sys::time_zone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        let text = escaped(text);
        let line = format!("{time} circusd-stats[{}] [{level}] {text}\n", std::process::id());
        // Opened for each line, so that it is the file of this name. A failure to write cannot be reported.
        let written = match &self.file {
            Some(path) => {
                let file = open_log_file(Path::new(path));
                file.and_then(|mut file| file.write_all(line.as_bytes()))
            }
            None => io::stderr().write_all(line.as_bytes()),
        };
        drop(written);
    }
}
