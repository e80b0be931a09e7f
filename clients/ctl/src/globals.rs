//! The options of circusctl itself.

use std::time::Duration;

use circus_client::Host;
use circus_core::commands::ConsoleOption;

/// The options of circusctl itself. They stand before or after the command.
pub const GLOBAL_OPTIONS: &[ConsoleOption] = &[
    ConsoleOption::value(
        CURVE_KEY,
        "FILE",
        "the file of our secret key, where circusd asks for keys (default CIRCUS_CURVE_KEY)",
    ),
    ConsoleOption::value(
        CURVE_SERVER_KEY,
        "KEY",
        "the file of circusd's public key, or that key (default CIRCUS_CURVE_SERVER_KEY)",
    ),
    ConsoleOption::value(
        ENDPOINT,
        "ENDPOINT",
        "the endpoint of circusd (default CIRCUSCTL_ENDPOINT, or else tcp://127.0.0.1:5555)",
    ),
    ConsoleOption::flag(HELP, "show help and exit").or('h'),
    ConsoleOption::value(
        HOST,
        "HOST",
        "the host by its name in hosts.toml; several with commas, a pattern, or a group (default CIRCUS_HOST)",
    ),
    ConsoleOption::flag(JSON, "print replies as JSON"),
    ConsoleOption::flag(PRETTIFY, "with --json: in several lines, keys sorted"),
    ConsoleOption::value(SSH, "SSH", "connect through this SSH server (user@host:port)"),
    ConsoleOption::value(SSH_KEYFILE, "SSH_KEYFILE", "the private key for the SSH server"),
    ConsoleOption::value(TIMEOUT, "TIMEOUT", "seconds to wait for an answer (default 5)"),
    ConsoleOption::flag(VERSION, "print the version and exit"),
];

pub(super) const CURVE_KEY: &str = "curve-key";
pub(super) const CURVE_SERVER_KEY: &str = "curve-server-key";
pub(super) const ENDPOINT: &str = "endpoint";
pub(super) const HELP: &str = "help";
pub(super) const HOST: &str = "host";
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
    /// The hosts, as they are named in `hosts.toml`.
    pub host: Option<String>,
    /// The one host that is meant, when it has been looked up.
    pub place: Option<Box<Host>>,
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
    /// The file of our secret key.
    pub curve_key: Option<String>,
    /// The file of circusd's public key, or that key.
    pub curve_server_key: Option<String>,
}

impl Globals {
    /// These, and what they leave open as in `other`.
    pub(super) fn or(self, other: &Self) -> Self {
        let anywhere = self.host.is_none() && self.endpoint.is_none();
        Self {
            place: self.place.or_else(|| other.place.clone().filter(|_| anywhere)),
            host: self.host.or_else(|| other.host.clone().filter(|_| anywhere)),
            endpoint: self.endpoint.or_else(|| other.endpoint.clone().filter(|_| anywhere)),
            timeout: self.timeout.or(other.timeout),
            json: self.json || other.json,
            prettify: self.prettify || other.prettify,
            ssh: self.ssh.or_else(|| other.ssh.clone()),
            ssh_keyfile: self.ssh_keyfile.or_else(|| other.ssh_keyfile.clone()),
            curve_key: self.curve_key.or_else(|| other.curve_key.clone()),
            curve_server_key: self.curve_server_key.or_else(|| other.curve_server_key.clone()),
        }
    }
}
