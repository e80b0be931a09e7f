//! The options of circusctl itself.

use std::time::Duration;

use circus_core::commands::ConsoleOption;

/// The options of circusctl itself. They stand before or after the command.
pub const GLOBAL_OPTIONS: &[ConsoleOption] = &[
    ConsoleOption::value(ENDPOINT, "ENDPOINT", "connection endpoint (or CIRCUSCTL_ENDPOINT; tcp://127.0.0.1:5555)"),
    ConsoleOption::flag(HELP, "Show help and exit").or('h'),
    ConsoleOption::flag(JSON, "output to JSON"),
    ConsoleOption::flag(PRETTIFY, "prettify output"),
    ConsoleOption::value(SSH, "SSH", "SSH Server in the format user@host:port"),
    ConsoleOption::value(SSH_KEYFILE, "SSH_KEYFILE", "the path to the keyfile to authorise the user"),
    ConsoleOption::value(TIMEOUT, "TIMEOUT", "connection timeout in seconds (5)"),
    ConsoleOption::flag(VERSION, "display version and exit"),
];

pub(super) const ENDPOINT: &str = "endpoint";
pub(super) const HELP: &str = "help";
pub(super) const JSON: &str = "json";
pub(super) const PRETTIFY: &str = "prettify";
pub(super) const SSH: &str = "ssh";
pub(super) const SSH_KEYFILE: &str = "ssh_keyfile";
pub(super) const TIMEOUT: &str = "timeout";
pub(super) const VERSION: &str = "version";

/// The options of circusctl itself, as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// The endpoint.
    pub endpoint: Option<String>,
    /// How long a reply is waited for.
    pub timeout: Option<Duration>,
    /// Print replies as they are.
    pub json: bool,
    /// With `json`: in many lines, keys sorted.
    pub prettify: bool,
    /// The server to go through.
    pub ssh: Option<String>,
    /// The key for it.
    pub ssh_keyfile: Option<String>,
}

impl Globals {
    /// These, and what they leave open as in `other`.
    pub(super) fn or(self, other: &Self) -> Self {
        Self {
            endpoint: self.endpoint.or_else(|| other.endpoint.clone()),
            timeout: self.timeout.or(other.timeout),
            json: self.json || other.json,
            prettify: self.prettify || other.prettify,
            ssh: self.ssh.or_else(|| other.ssh.clone()),
            ssh_keyfile: self.ssh_keyfile.or_else(|| other.ssh_keyfile.clone()),
        }
    }
}
