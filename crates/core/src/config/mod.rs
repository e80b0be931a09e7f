//! Layer 1: the INI dialect and what it means.
//!
//! A file goes through four stages. All are pure: what they need to know of the machine comes through [`Facts`].
//!
//! 1. [`Origin::load`] reads the main file and its includes;
//! 2. `ini` turns text into sections of keys, each with its file and line, and `json` does it for JSON;
//! 3. `assemble` types every key by the tables of [`options`], substitutes variables, and collects every
//!    [`Problem`] instead of stopping at the first;
//! 4. what remains is a [`Config`], plain data.
//!
//! [`Origin::check`] goes further than what a start needs: its rules look for what the machine lacks, and `differences`
//! reports what means something else than in Circus 0.19.
//!
//! At each start of a worker [`argv`] makes its words; a running watcher is changed through [`options`]. When the file
//! is read again, [`plan`] has the difference between the current configuration and the new one.

mod assemble;
mod check;
mod circus;
mod command;
mod defaults;
mod differences;
mod env;
mod expand;
mod facts;
mod fnmatch;
mod foreign;
mod group_limits;
mod hint;
mod hook;
mod httpd;
pub mod import;
mod ini;
mod job;
mod json;
mod load;
mod log_output;
mod model;
mod nearest;
pub mod options;
mod order;
mod own_user;
mod plan;
mod plugin;
mod probe;
mod problem;
mod scaling;
mod schedule;
mod scheduling;
mod schema;
mod section;
mod slots;
mod socket;
mod stats;
mod stop_step;
#[cfg(test)]
mod testing;
mod toml;
mod watcher;
mod words;

use crate::base::python;
pub use check::{DEFAULT_PATH, Report, Totals};
pub use command::{argv, argv_with, named_sockets};
pub use facts::{Facts, File, FileKind, OwnFile};
pub use fnmatch::fnmatch;
pub use group_limits::{Bytes, CpuQuota, GroupFile, GroupLimits};
pub use hook::{Hook, HookKind};
pub use httpd::HTTPD_WATCHER;
pub use load::{Loaded, Origin, check, load};
pub use log_output::{LogOutput, SyslogAddress, SyslogFacility};
pub use model::{
    Account, Args, CircusConfig, Config, Cron, ExitOn, Family, Host, KillMode, Limit, LogFormat, Missed, OnOrphans,
    Orphans, Overlap, Propagate, ReloadMode, Respawn, Room, SocketConfig, SocketType, StreamConfig, WatcherConfig,
    WatcherKind, WatcherOrigin,
};
pub use nearest::{nearest, suggestion};
pub use order::{Needs, fault as order_fault, is_pattern};
pub use plan::{ReloadPlan, SocketChange, SocketStep, WatcherChange, WatcherStep, in_force, plan, same_place};
pub use plugin::{BUILTINS, Builtin, PluginConfig, PluginKey, Runner, SHARED as PLUGIN_KEYS, settle as settle_plugins};
pub use probe::{Checks, Probe, ProbeKind};
pub use problem::{Grade, Place, Problem, Severity};
pub use scaling::{Scale, Scaling};
pub use schedule::Schedule;
pub use scheduling::{Cpus, IoPriority, Scheduling};
pub use schema::schema;
pub use slots::SlotPool;
pub use stats::{STATS_WATCHER, follow_what_runs};
pub use stop_step::{StopStep, schedule as stop_schedule};
pub use watcher::MOST_WATCHERS;
pub use words::split as split_words;
