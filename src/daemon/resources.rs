//! What the daemon has for its whole lifetime.

use circus_core::access::{KeyRing, LocalUsers};

use crate::config::{Config, Host, Origin, Problem};
use crate::net::Context;
use crate::sys;

/// The configuration that is in force, where it comes from, and what is closed at the end.
pub(super) struct Resources {
    pub(super) pidfile: Option<sys::Pidfile>,
    pub(super) context: Context,
    pub(super) host: Host,
    /// Where the configuration comes from.
    pub(super) origin: Origin,
    /// What is in force.
    pub(super) config: Config,
    /// What is wrong with the file that is in force.
    pub(super) problems: Vec<Problem>,
    /// What is wrong with the file that was read last.
    pub(super) problems_read: Vec<Problem>,
    /// The keys of clients in the files that were read last.
    pub(super) ring_read: Option<KeyRing>,
    /// The users in the configuration that was read last, as they were found then.
    pub(super) users_read: Option<LocalUsers>,
    /// The umask that circusd was started with, once it was changed.
    pub(super) own_umask: Option<u32>,
    /// What the command line overrides.
    pub(super) log_level: Option<String>,
    pub(super) log_output: Option<String>,
}

impl Resources {
    /// Where the configuration file is; `None` for a text that came through a descriptor.
    pub(super) fn directory_of_file(&self) -> Option<String> {
        let Origin::File(file) = &self.origin else { return None };
        let directory = std::path::Path::new(file).parent()?;
        Some(std::path::Path::new(&self.host.cwd).join(directory).to_string_lossy().into_owned())
    }
}
