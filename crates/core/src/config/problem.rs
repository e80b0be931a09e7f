//! What is wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::escape::escaped;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Counted from 1; 0 is the file as a whole.
    pub line: u32,
}

impl Place {
    /// `FILE:LINE`.
    pub(super) fn shown(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// What a problem keeps from happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Nothing, and nothing is wrong: it only means something else than it did in Circus 0.19.
    Note,
    /// Nothing: the daemon starts, but something is probably not meant as it is written.
    Warning,
    /// The watcher, socket, plugin or included file is left out.
    Skipped,
    /// The daemon does not start.
    Fatal,
}

/// How a reader should take a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// Something does not start.
    Error,
    /// Something is probably not meant as it is written.
    Warning,
    /// Something differs from Circus 0.19.
    Note,
}

impl Grade {
    /// As it is written before a message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it keeps from happening.
    pub severity: Severity,
    /// The file.
    pub file: Arc<str>,
    /// The line, from 1; 0 where the file as a whole is meant.
    pub line: u32,
    /// What is wrong and what to do, in words.
    pub text: String,
}

impl Problem {
    /// A problem at this place.
    pub fn new(severity: Severity, place: &Place, text: impl Into<String>) -> Self {
        Self { severity, file: Arc::clone(&place.file), line: place.line, text: text.into() }
    }

    /// How a reader should take it.
    pub fn grade(&self) -> Grade {
        match self.severity {
            Severity::Fatal | Severity::Skipped => Grade::Error,
            Severity::Warning => Grade::Warning,
            Severity::Note => Grade::Note,
        }
    }

    /// A line as compilers print it: with its level. Values may be of several lines, and this is one. In a log, which
    /// has levels of its own and escapes for itself, the plain form is enough.
    pub fn diagnostic(&self) -> String {
        let line = format!("{}: {}: {}", self.place(), self.grade().name(), self.text);
        escaped(&line).into_owned()
    }

    /// For programs: editors and CI.
    pub fn json(&self) -> Value {
        json!({"file": &*self.file, "line": self.line, "level": self.grade().name(), "text": self.text})
    }

    fn place(&self) -> String {
        match self.line {
            0 => self.file.to_string(),
            line => format!("{}:{line}", self.file),
        }
    }

    /// Whether it is the same thing, perhaps in another line by now.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.severity, &self.file, &self.text) == (other.severity, &other.file, &other.text)
    }

    pub(super) fn note(place: &Place, text: impl Into<String>) -> Self {
        Self::new(Severity::Note, place, text)
    }

    pub(super) fn warning(place: &Place, text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, place, text)
    }

    pub(super) fn skipped(place: &Place, text: impl Into<String>) -> Self {
        Self::new(Severity::Skipped, place, text)
    }

    pub(super) fn fatal(place: &Place, text: impl Into<String>) -> Self {
        Self::new(Severity::Fatal, place, text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_like_a_compilers() {
        let place = |line| Place { file: "web.ini".into(), line };
        assert_eq!(Problem::warning(&place(7), "unknown key 'x'").to_string(), "web.ini:7: unknown key 'x'");
        assert_eq!(Problem::fatal(&place(0), "is a directory").to_string(), "web.ini: is a directory");
        assert_eq!(Problem::note(&place(7), "x").diagnostic(), "web.ini:7: note: x");
        assert_eq!(Problem::fatal(&place(0), "x").diagnostic(), "web.ini: error: x");
        let forged = Problem::fatal(&place(3), "'9\nweb.ini:4: note: all is well' is not a signal\u{1b}[2J");
        let shown = "web.ini:3: error: '9\\nweb.ini:4: note: all is well' is not a signal\\u001b[2J";
        assert_eq!(forged.diagnostic(), shown);
    }
}
