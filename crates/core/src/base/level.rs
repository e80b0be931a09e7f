//! Levels of the log.

use serde::{Deserialize, Serialize};

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Of use when one looks for a fault.
    Debug,
    /// What happens in ordinary operation.
    Info,
    /// Something went wrong and was dealt with.
    Warning,
    /// Something went wrong.
    Error,
    /// The program cannot go on.
    Critical,
}

impl Level {
    /// All, the least important first.
    pub const ALL: [Self; 5] = [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// As options and the original's log write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// The level of this name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_again() {
        for level in Level::ALL {
            assert_eq!(Level::parse(&level.name().to_uppercase()), Some(level));
        }
        assert_eq!(Level::parse("loud"), None);
        assert!(Level::Debug < Level::Critical);
    }
}
