//! What a plugin logs.

use std::fs::OpenOptions;
use std::io::{self, Write};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For who looks for a fault.
    Debug,
    /// Worth knowing.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Something does not work.
    Error,
}

impl Level {
    /// A level by its name; `info` where there is no such level.
    fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "debug" => Self::Debug,
            "warning" => Self::Warning,
            "error" | "critical" => Self::Error,
            _ => Self::Info,
        }
    }

    /// How a line of it begins for circusd: see systemd's sd-daemon(3).
    fn prefix(self) -> &'static str {
        match self {
            Self::Debug => "<7>",
            Self::Info => "<6>",
            Self::Warning => "<4>",
            Self::Error => "<3>",
        }
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
        Ok(Self { least: Level::named(level), prefixed: prefixed && output == "-", out })
    }

    pub(super) fn line(&mut self, level: Level, text: &str) {
        if level < self.least {
            return;
        }
        let prefix = if self.prefixed { level.prefix() } else { "" };
        // There is nobody to tell.
        drop(self.out.write_all(format!("{prefix}{}\n", text.replace('\n', " ")).as_bytes()));
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
        log.line(Level::Error, "a\nb");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "a b\n");
        assert_eq!(Level::Error.prefix(), "<3>");
    }
}
