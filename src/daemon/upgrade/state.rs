//! Everything that the next program has to know, as plain data.

use std::os::fd::{AsRawFd as _, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use circus_core::base::saved::{self, SavedError};

use crate::arbiter::{Arbiter, Pid, WatcherKey};
use crate::config::{Config, Host, Origin, Problem};
use crate::daemon::adopted::SavedAdopted;
use crate::daemon::cgroups::SavedCgroups;
use crate::daemon::children::Owner;
use crate::daemon::control::UnreadRequest;
use crate::daemon::event_loop::Daemon;
use crate::daemon::exec_sink::SavedExecSinks;
use crate::daemon::keys::{Keys, SavedKeys};
use crate::daemon::launch::Streams;
use crate::daemon::leftovers::SavedLeftovers;
use crate::daemon::notify::SavedNotify;
use crate::daemon::parent::SavedParent;
use crate::daemon::resources::Resources;
use crate::daemon::worker_sockets::SavedWorkerSockets;
use crate::output::{OutputFd, Paused, SavedOutput};
use crate::sys;

/// The version of what this file and the saved states of the daemon's parts have in them. A release that changes their
/// shape counts it up. The parts of the core and of the output have versions of their own.
const VERSION: u32 = 1;

/// The version of a state with keys. A circusd that knows none would open the endpoints to all.
const VERSION_WITH_KEYS: u32 = 2;

/// The version of a state with `ipc_roles` or `audit_log`, with keys or without. A circusd that does not know them would
/// do what clients of every user ask for, and log nothing.
const VERSION_WITH_USERS: u32 = 3;

/// The version of the output's part.
const OUTPUT_VERSION: u32 = 1;

/// How long the output thread may take to hold still.
pub(super) const PAUSE_LIMIT: Duration = Duration::from_secs(2);

/// The daemon between two turns.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// As [`Arbiter::save`] writes it.
    #[serde(with = "crate::output::bytes")]
    pub(super) arbiter: Vec<u8>,
    /// As [`SavedOutput`] is written.
    #[serde(with = "crate::output::bytes")]
    pub(super) output: Vec<u8>,
    pub(super) output_fds: Vec<(OutputFd, RawFd)>,
    pub(super) sockets: Vec<(sys::SavedSocket, RawFd)>,
    pub(super) control: (sys::SavedEndpoint, RawFd),
    pub(super) events: (sys::SavedEndpoint, RawFd),
    pub(super) worker_sockets: SavedWorkerSockets,
    pub(super) exec_sinks: SavedExecSinks,
    pub(super) streams: Vec<(WatcherKey, Streams)>,
    pub(super) children: Vec<(Pid, Owner)>,
    pub(super) leftovers: SavedLeftovers,
    #[serde(default)]
    pub(super) cgroups: SavedCgroups,
    pub(super) parent: SavedParent,
    #[serde(default)]
    pub(super) notify: SavedNotify,
    pub(super) adopted: SavedAdopted,
    /// Workers as the state file names them: pid, watcher, number.
    pub(super) known_workers: Vec<(Pid, String, u32)>,
    pub(super) resources: SavedResources,
    pub(super) nofile: sys::OpenFileLimit,
    /// Requests that were received and not looked at.
    pub(super) unread: Vec<UnreadRequest>,
    /// How many subscriptions to events there are.
    pub(super) subscriptions: usize,
    #[serde(default)]
    pub(super) keys: Option<SavedKeys>,
}

/// The configuration and where it comes from.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedResources {
    pub(super) pidfile: Option<PathBuf>,
    pub(super) host: Host,
    pub(super) origin: Origin,
    pub(super) config: Config,
    pub(super) problems: Vec<Problem>,
    pub(super) problems_read: Vec<Problem>,
    pub(super) own_umask: Option<u32>,
    pub(super) log_level: Option<String>,
    pub(super) log_output: Option<String>,
}

impl SavedResources {
    fn of(resources: &Resources) -> Self {
        Self {
            pidfile: resources.pidfile.as_ref().map(|pidfile| pidfile.path().to_owned()),
            host: resources.host.clone(),
            origin: resources.origin.clone(),
            config: resources.config.clone(),
            problems: resources.problems.clone(),
            problems_read: resources.problems_read.clone(),
            own_umask: resources.own_umask,
            log_level: resources.log_level.clone(),
            log_output: resources.log_output.clone(),
        }
    }
}

impl State {
    /// The numbers of all descriptors that are handed over.
    pub(super) fn numbers(&self) -> Vec<RawFd> {
        let output = self.output_fds.iter().map(|(_, number)| *number);
        let sockets = self.sockets.iter().map(|(_, number)| *number).chain([self.control.1, self.events.1]);
        let of_parts = self.worker_sockets.numbers().chain(self.exec_sinks.numbers()).chain(self.parent.numbers());
        let of_parts = of_parts.chain(self.notify.numbers());
        let of_parts = of_parts.chain(self.adopted.numbers());
        output.chain(sockets).chain(of_parts).collect()
    }
}

/// A state as it is handed over.
pub(super) struct SavedState {
    pub(super) bytes: Vec<u8>,
    /// The descriptors that belong to it.
    pub(super) numbers: Vec<RawFd>,
}

/// Writes down the daemon, while its output holds still.
pub(super) fn save(daemon: &Daemon, paused: &Paused, unread: Vec<UnreadRequest>) -> Result<SavedState, String> {
    let Daemon { core, control: _, events, children, leftovers, launcher, parent, notify, fds, resources, .. } = daemon;
    let state = State {
        arbiter: core.arbiter.save().map_err(|error| error.to_string())?,
        output: saved::write(OUTPUT_VERSION, &paused.state).map_err(|error| error.to_string())?,
        output_fds: paused.fds.iter().map(|(name, number)| (*name, *number)).collect(),
        sockets: fds.sockets.iter().map(|socket| (socket.save(), socket.number)).collect(),
        control: (fds.control.save(), fds.control.fd.as_raw_fd()),
        events: (fds.events.save(), fds.events.fd.as_raw_fd()),
        worker_sockets: launcher.worker_sockets.save(),
        exec_sinks: launcher.exec_sinks.save(),
        streams: launcher.streams.iter().map(|(watcher, streams)| (*watcher, streams.clone())).collect(),
        // The program that looks at this state is gone before anything becomes of it.
        children: children.save().into_iter().filter(|(_, owner)| *owner != Owner::UpgradeCheck).collect(),
        leftovers: leftovers.save(),
        cgroups: daemon.cgroups.save(),
        parent: parent.save(),
        notify: notify.save(),
        adopted: daemon.adopted.save(),
        known_workers: core.arbiter.workers(),
        resources: SavedResources::of(resources),
        nofile: launcher.nofile,
        unread,
        subscriptions: events.publisher.standing_subscription_count(),
        keys: daemon.door.guests.keys.as_ref().map(Keys::save),
    };
    let numbers = state.numbers();
    let circus = &state.resources.config.circus;
    let version = match (circus.ipc_roles.is_some() || circus.audit_log.is_some(), state.keys.is_some()) {
        (true, _) => VERSION_WITH_USERS,
        (false, true) => VERSION_WITH_KEYS,
        (false, false) => VERSION,
    };
    let bytes = saved::write(version, &state).map_err(|error| error.to_string())?;
    Ok(SavedState { bytes, numbers })
}

/// Reads a state. Nothing is done with the descriptors and files that it names.
pub(super) fn read(bytes: &[u8]) -> Result<(State, Arbiter, SavedOutput), String> {
    let state: State = match saved::read(VERSION, bytes) {
        Err(SavedError::Version { found: found @ (VERSION_WITH_KEYS | VERSION_WITH_USERS), .. }) => {
            saved::read(found, bytes)
        }
        other => other,
    }
    .map_err(|error| error.to_string())?;
    let arbiter = Arbiter::restore(&state.arbiter).map_err(|error| format!("the core: {error}"))?;
    let output = saved::read(OUTPUT_VERSION, &state.output).map_err(|error| format!("the output: {error}"))?;
    let mut numbers = state.numbers();
    numbers.sort_unstable();
    let count = numbers.len();
    numbers.dedup();
    if numbers.len() != count || numbers.first().is_some_and(|lowest| *lowest < 3) {
        return Err("the state names a descriptor twice, or a standard stream".to_owned());
    }
    Ok((state, arbiter, output))
}
