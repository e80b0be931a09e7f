//! Signals by number and by name.

use serde::{Deserialize, Serialize};

/// A signal number. Any number can be named on the wire; the kernel says whether it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signal(pub i32);

/// Why a text is no signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalError {
    /// The text has not the shape of a signal.
    Invalid,
    /// It looks like a name, but no signal has it. Carries the name with its `SIG`.
    Unknown(String),
}

// signal(7), the numbers of x86, ARM and most others. SIGRTMIN is glibc's: it keeps 32 and 33 for itself.
const NAMES: [(&str, i32); 36] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

impl Signal {
    /// SIGHUP.
    pub const HUP: Self = Self(1);
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM, the default stop signal.
    pub const TERM: Self = Self(15);

    /// Reads a number, or a name with or without `SIG`, in any case, with `+N` behind it: `15`, `term`, `SIGRTMIN+3`.
    pub fn parse(text: &str) -> Result<Self, SignalError> {
        let text = text.trim();
        if let Ok(number) = text.parse::<i32>() {
            return Ok(Self(number));
        }
        let (name, offset) = match text.split_once('+') {
            None => (text, 0),
            Some((name, offset)) => (name, offset.trim().parse::<i32>().map_err(|_| SignalError::Invalid)?),
        };
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(SignalError::Invalid);
        }
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        match NAMES.iter().find(|(known, _)| *known == bare) {
            Some((_, number)) => Ok(Self(number.saturating_add(offset))),
            None => Err(SignalError::Unknown(format!("SIG{bare}"))),
        }
    }

    /// Whether the kernel has a signal of this number; 0 asks only whether a process is there.
    pub fn exists(self) -> bool {
        (0..=64).contains(&self.0)
    }

    /// The name without `SIG`, where the number has one.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(_, number)| *number == self.0).map(|(name, _)| *name)
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// How a process ended, in words that follow a verb: `by SIGKILL`, or `exit status 3`. A signal is a negative number.
pub fn exit_words(exit_code: i32) -> String {
    if exit_code < 0 { format!("by {}", Signal(-exit_code)) } else { format!("exit status {exit_code}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_spelling() {
        for (text, number) in [("15", 15), ("term", 15), ("SigTerm", 15), ("SIGRTMIN+3", 37), (" kill ", 9), ("0", 0)] {
            assert_eq!(Signal::parse(text), Ok(Signal(number)), "{text}");
        }
    }

    #[test]
    fn what_is_no_signal() {
        for text in ["!", "", "TERM+x", "a b", "TERM TERM"] {
            assert_eq!(Signal::parse(text), Err(SignalError::Invalid), "{text}");
        }
        assert_eq!(Signal::parse("nonsense"), Err(SignalError::Unknown("SIGNONSENSE".into())));
    }

    #[test]
    fn names_are_shown() {
        assert_eq!(Signal(9).to_string(), "SIGKILL");
        assert_eq!(Signal(4000).to_string(), "signal 4000");
        assert_eq!([exit_words(-9), exit_words(3)], ["by SIGKILL", "exit status 3"]);
    }
}
