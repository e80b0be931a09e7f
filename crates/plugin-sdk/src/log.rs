//! What a plugin logs.

use std::fs::OpenOptions;
use std::io::{self, Write};

pub use circus_core::base::Level;
use circus_core::escape::escaped;

/// How a line of a level begins for circusd: see systemd's sd-daemon(3).
fn prefix(level: Level) -> &'static str {
    match level {
        Level::Debug => "<7>",
        Level::Info => "<6>",
        Level::Warning => "<4>",
        Level::Error => "<3>",
        Level::Critical => "<2>",
    }
}

/// Where lines go.
pub(super) struct Log {
    least: Level,
    /// Whether circusd reads along.
    prefixed: bool,
    out: Box<dyn Write>,
}

impl Log {
    /// A log at this level to standard error, or to a file.
    pub(super) fn open(level: &str, output: &str, prefixed: bool) -> io::Result<Self> {
        let out: Box<dyn Write> = match output {
            "-" => Box::new(io::stderr()),
            path => Box::new(OpenOptions::new().append(true).create(true).open(path)?),
        };
        Ok(Self { least: Level::parse(level).unwrap_or(Level::Info), prefixed: prefixed && output == "-", out })
    }

    pub(super) fn line(&mut self, level: Level, text: &str) {
        if level < self.least {
            return;
        }
        let prefix = if self.prefixed { prefix(level) } else { "" };
        // A failure to log cannot be reported.
        drop(self.out.write_all(format!("{prefix}{}\n", escaped(&text.replace('\n', " "))).as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_filters_and_a_file_has_no_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::open("WARNING", path.to_str().unwrap(), true).unwrap();
        log.line(Level::Info, "not this");
        log.line(Level::Error, "a\nb\u{1b}[2J");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "a b\\u001b[2J\n");
        assert_eq!(prefix(Level::Error), "<3>");
    }
}
