//! The error numbers of the protocol, and the fault that carries one to a client.

use serde::{Deserialize, Serialize};

use super::Object;

/// The `errno` of an error reply. The numbers are Circus's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum ErrNo {
    /// Not specified.
    NotSpecified = 0,
    /// The message is not JSON (or MessagePack).
    InvalidJson = 1,
    /// No command has this name.
    UnknownCommand = 2,
    /// The message is not of the command's form, or names a watcher that does not exist.
    Message = 3,
    /// The operating system refused.
    Os = 4,
    /// The command cannot be carried out now, or failed.
    Command = 5,
    /// A command that was waited for failed.
    BadMessageData = 6,
}

/// Why a request is refused: what an error reply says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The number.
    pub errno: ErrNo,
    /// The reason, in words.
    pub reason: String,
    /// What is wrong in particular, a sentence each: the lines of a file, say.
    #[serde(default)]
    pub details: Vec<String>,
    /// The workers and watchers that did not come up, each as the fields of an answer.
    #[serde(default)]
    pub failed: Vec<Object>,
}

impl Fault {
    /// A fault with this number and reason.
    pub fn new(errno: ErrNo, reason: impl Into<String>) -> Self {
        Self { errno, reason: shortened(reason.into()), details: Vec::new(), failed: Vec::new() }
    }

    /// errno 6: a command that was well-formed failed. Circus's clients know the fixed reason; ours read on.
    pub fn server(details: Vec<String>) -> Self {
        Self { details, ..Self::new(ErrNo::BadMessageData, "server error") }
    }

    /// errno 3: the message is not of the command's form.
    pub fn message(reason: impl Into<String>) -> Self {
        Self::new(ErrNo::Message, reason)
    }

    /// errno 5: the command cannot be carried out.
    pub fn command(reason: impl Into<String>) -> Self {
        Self::new(ErrNo::Command, reason)
    }
}

/// The longest reason, in bytes: it may quote what a client sent, which must not come back whole for every client that
/// sends much and reads nothing.
const LONGEST_REASON: usize = 4096;

fn shortened(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        reason.push('…');
        reason.shrink_to_fit();
    }
    reason
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_does_not_bring_a_large_request_back() {
        assert_eq!(Fault::message("é".repeat(2048)).reason, "é".repeat(2048));
        let long = Fault::message(format!("x{}", "é".repeat(500_000))).reason;
        assert!(long.len() <= LONGEST_REASON + 3 && long.ends_with("é…"), "{}", long.len());
    }
}
