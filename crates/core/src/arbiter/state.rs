//! The state of the arbiter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::arbiter::cx::FollowUp;
use crate::arbiter::event::SocketInfo;
use crate::arbiter::fleet::memory::Memories;
use crate::arbiter::fleet::pools::Pools;
use crate::arbiter::fleet::registry::Fleet;
use crate::arbiter::ids::{JobId, WatcherKey};
use crate::arbiter::lifecycle::python_hosts::PythonHosts;
use crate::arbiter::lifecycle::sink_commands::SinkCommands;
use crate::arbiter::operate::job::Jobs;
use crate::arbiter::operate::phase::{EssentialEnd, Phase};
use crate::arbiter::operate::walk::Schedule;
use crate::arbiter::outbox::{Outbox, Pids};
use crate::arbiter::requests::pending::{FailedReload, PendingStats, PendingTail, PendingWhy, Reconfigurations};
use crate::arbiter::rng::Rng;
use crate::arbiter::time_zones::TimeZones;
use crate::arbiter::timers::Timers;
use crate::base::CollectOrdered as _;
use crate::config::{CircusConfig, Host, SocketConfig};
use crate::proto::ReplyTo;

/// The managed sockets.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Sockets {
    pub(in crate::arbiter) open: Vec<SocketInfo>,
    pub(in crate::arbiter) numbers: BTreeMap<String, i32>,
    /// What the file says of them.
    pub(in crate::arbiter) configs: Vec<SocketConfig>,
    /// Those that are watched, and which watchers wait there for a connection.
    pub(in crate::arbiter) watched: BTreeMap<String, BTreeSet<WatcherKey>>,
}

impl Sockets {
    pub(in crate::arbiter) fn opened(&mut self, sockets: Vec<SocketInfo>) {
        self.numbers = sockets.iter().map(|socket| (socket.name.clone(), socket.number)).collect_map();
        self.open = sockets;
    }
}

/// The core: a pure state machine. See the module's documentation for the model.
///
/// Between two turns, when its actions are drained, all of it is plain data that another daemon can go on with (see
/// [`Arbiter::save`] and [`Arbiter::resume`]).
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Arbiter {
    pub(in crate::arbiter) circus: CircusConfig,
    pub(in crate::arbiter) host: Host,
    pub(in crate::arbiter) phase: Phase,
    pub(in crate::arbiter) fleet: Fleet,
    pub(in crate::arbiter) pids: Pids,
    pub(in crate::arbiter) hosts: PythonHosts,
    pub(in crate::arbiter) sink_commands: SinkCommands,
    pub(in crate::arbiter) sockets: Sockets,
    pub(in crate::arbiter) timers: Timers,
    pub(in crate::arbiter) rng: Rng,
    pub(in crate::arbiter) jobs: Jobs,
    pub(in crate::arbiter) schedule: Schedule,
    pub(in crate::arbiter) outbox: Outbox,
    /// Where the answer of the upgrade that is under way goes.
    #[serde(default)]
    pub(in crate::arbiter) upgrade: Option<ReplyTo>,
    /// The essential watcher whose end ends circusd.
    pub(in crate::arbiter) essential_end: Option<EssentialEnd>,
    /// Empty between two calls.
    #[serde(skip)]
    pub(in crate::arbiter) follow_ups: VecDeque<FollowUp>,
    /// How far the clock on the wall is ahead of the monotonic one, in seconds, once some watcher runs by a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::arbiter) clock_distance: Option<f64>,
    /// The daemon reports when the clock on the wall was set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::arbiter) watches_clock: bool,
    /// The daemon's: a state has none.
    #[serde(skip)]
    pub(in crate::arbiter) time_zones: TimeZones,
    pub(in crate::arbiter) reconfigurations: Reconfigurations,
    pub(in crate::arbiter) pending_stats: PendingStats,
    pub(in crate::arbiter) tails: BTreeMap<JobId, PendingTail>,
    /// Requests that are answered when circusd has started anew, and what starts by itself has come up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::arbiter) restarters: Vec<ReplyTo>,
    /// What operators have decided about watchers, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::arbiter) memories: Memories,
    /// Those whose answers wait for lines of output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::arbiter) failed_reloads: Vec<FailedReload>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::arbiter) whys: Vec<PendingWhy>,
    /// Which worker has which value of a pool.
    #[serde(default, skip_serializing_if = "Pools::is_empty")]
    pub(in crate::arbiter) pools: Pools,
}
