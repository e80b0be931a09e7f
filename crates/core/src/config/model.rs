//! The typed configuration: what a file means. Plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::defaults::{is_httpd_host, is_httpd_port};
use super::{Checks, Hook, PluginConfig, Scaling, Schedule, python};
use crate::proto::{HookPoint, Signal};

/// What a configuration file and the machine it is read on mean together.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Config {
    /// `[circus]`.
    pub circus: CircusConfig,
    /// `[watcher:NAME]`, sorted by name.
    pub watchers: Vec<WatcherConfig>,
    /// `[socket:NAME]`, sorted by name.
    pub sockets: Vec<SocketConfig>,
    /// The directories that `include_dir` names, whether they exist or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include_dirs: Vec<PathBuf>,
}

/// Facts of the machine that a configuration refers to, read once at start.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Host {
    /// circusd's own environment: `copy_env`, `$(circus.env.X)`, `$NAME`.
    pub env: BTreeMap<String, String>,
    /// circusd's working directory: the default of `working_dir`.
    pub cwd: String,
    /// Where circusd's own program is, and those that belong to it: circusd-stats, circushttpd.
    pub programs: String,
    /// What its workers may have together.
    #[serde(default, skip_serializing_if = "Room::is_unlimited")]
    pub room: Room,
}

/// What all workers may have together, as far as that is limited.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Room {
    /// Descriptors of circusd for their output.
    pub descriptors: Option<Limit>,
    /// Processes.
    pub processes: Option<Limit>,
}

impl Room {
    fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// A limit of the machine or of circusd's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What is allowed.
    pub most: u64,
    /// What it is called: `RLIMIT_NOFILE`.
    pub name: String,
}

/// `[circus]`. A state that an older circusd has written lacks the newer options: they have their defaults then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CircusConfig {
    /// Seconds: bounds the back-off of crash loops.
    pub check_delay: f64,
    /// The control endpoint.
    pub endpoint: String,
    /// The owner of an ipc control endpoint: a user name or uid.
    pub endpoint_owner: Option<String>,
    /// The mode of an ipc endpoint.
    pub endpoint_mode: u32,
    /// Roles of local users at endpoints of ipc, as [`local_roles`](crate::access::local_roles) reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_roles: Option<String>,
    /// Where events are published.
    pub pubsub_endpoint: String,
    /// Whether circusd-stats runs.
    pub statsd: bool,
    /// Whether it is silent.
    pub statsd_close_outputs: bool,
    /// Where it publishes.
    pub stats_endpoint: String,
    /// Seconds between two of its looks at a process.
    pub stats_interval: f64,
    /// Whether it looks also while no client subscribes.
    pub stats_always: bool,
    /// Whether the console runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub httpd: bool,
    /// Whether it is silent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub httpd_close_outputs: bool,
    /// The host, or the path, of its socket.
    #[serde(skip_serializing_if = "is_httpd_host")]
    pub httpd_host: String,
    /// The port of its socket.
    #[serde(skip_serializing_if = "is_httpd_port")]
    pub httpd_port: u16,
    /// UDP discovery; none where empty.
    pub multicast_endpoint: String,
    /// The umask of circusd and its workers.
    pub umask: Option<u32>,
    /// Seconds between the starts of two watchers.
    pub warmup_delay: f64,
    /// Verbose plugins.
    pub debug: bool,
    /// The file with circusd's pid.
    pub pidfile: Option<String>,
    /// critical, error, warning, info or debug.
    pub loglevel: Option<String>,
    /// `-` (standard error), a file, a syslog URL.
    pub logoutput: Option<String>,
    /// How its lines are written.
    #[serde(default)]
    pub log_format: LogFormat,
    /// The file to which it is written which client has changed what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_log: Option<String>,
    /// How its lines are written.
    #[serde(default, skip_serializing_if = "LogFormat::is_text")]
    pub audit_format: LogFormat,
    /// Held for clients that ask; has no effect.
    pub fqdn_prefix: Option<String>,
    /// Accept endpoints that other machines can reach.
    pub allow_anyone_on_the_network_to_control_this_machine: bool,
    /// The Python that runs hooks.
    pub python: Option<String>,
    /// Refuse to start when any watcher or socket has an error.
    pub strict: bool,
    /// The file of the secret key that the endpoints of tcp have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve_server_key: Option<String>,
    /// The file or directory of the keys of their clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve_authorized_keys: Option<String>,
    /// Which end of an essential watcher ends circusd.
    pub exit_on: ExitOn,
    /// Whether workers get SIGTERM when circusd is killed.
    pub workers_end_with_circusd: bool,
    /// Where it is written down which workers live.
    #[serde(default)]
    pub state_file: Option<String>,
    /// What is done with the workers of a circusd that was killed.
    #[serde(default)]
    pub on_orphans: OnOrphans,
    /// Whether the configuration is read again when a file of `include_dir` has changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watch: bool,
}

/// What the next circusd does with the workers of one that was killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnOrphans {
    /// They are stopped before anything is started.
    #[default]
    End,
    /// They go on as its own.
    Adopt,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// As Circus writes it.
    #[default]
    Text,
    /// An object.
    Json,
}

impl LogFormat {
    fn is_text(&self) -> bool {
        *self == Self::Text
    }
}

/// Which end of an essential watcher ends circusd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitOn {
    /// Of its last worker, with whatever exit status.
    End,
    /// Of its last worker by a signal or with an exit status that is none of `success_codes`, and where none starts.
    Failure,
}

/// A watcher's `args`: text that is split into words, or the words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Args {
    /// Split as a POSIX shell would.
    Text(String),
    /// Passed as they are.
    List(Vec<String>),
}

/// A user or group: a number, or a name that is looked up at each spawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Account {
    /// By number.
    Number(u32),
    /// By name.
    Name(String),
}

impl Account {
    /// The number, where it is one: a name of digits is a number, as in Circus.
    pub fn number(&self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => python::int(name).ok().and_then(|number| u32::try_from(number).ok()),
        }
    }
}

/// `stdout_stream.*` or `stderr_stream.*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamConfig {
    /// `FileStream`, `StdoutStream`, ...
    pub class: String,
    /// The other keys, as they were written.
    pub options: BTreeMap<String, Value>,
}

/// Which workers of a watcher are replaced when they have exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Respawn {
    /// All.
    Always,
    /// Those that circusd brought about, and those with an exit status that is none of `success_codes`.
    OnFailure,
    /// None: the watcher stops with its last worker.
    Never,
}

/// Where a watcher comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatcherOrigin {
    /// A section `[watcher:NAME]`, or `add`.
    User,
    /// A section `[plugin:NAME]`.
    Plugin,
    /// circusd itself: one of its own programs.
    Internal,
}

impl WatcherOrigin {
    /// As `status` with `verbose` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Plugin => "plugin",
            Self::Internal => "internal",
        }
    }

    /// Whether these details of a watcher, as `status` with `verbose` has them, are of one of circusd's own programs.
    pub fn is_internal(details: &serde_json::Value) -> bool {
        details.get("origin").and_then(serde_json::Value::as_str) == Some(Self::Internal.name())
    }
}

/// What becomes of the processes that a worker leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Orphans {
    /// They get the stop signal, and SIGKILL where they do not end.
    End,
    /// They live on.
    Keep,
}

/// To which processes the signals of a stop go, SIGKILL included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillMode {
    /// The stop signal to the worker, and to its children with `stop_children`; SIGKILL as [`Self::Tree`].
    #[default]
    Mixed,
    /// To the worker alone.
    Process,
    /// To its process group.
    Group,
    /// To the worker, its process group, its session and all that descend from these.
    Tree,
    /// To all processes of its control group.
    Cgroup,
}

impl KillMode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::Mixed, Self::Process, Self::Group, Self::Tree, Self::Cgroup];

    /// As the option has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Process => "process",
            Self::Group => "group",
            Self::Tree => "tree",
            Self::Cgroup => "cgroup",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_mixed(&self) -> bool {
        *self == Self::Mixed
    }
}

/// What reaches a watcher from those that it requires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagate {
    /// It stops with them, starts when they are up again, and restarts when they were replaced.
    #[default]
    Restart,
    /// It stops with them, and stays so.
    Stop,
    /// Nothing.
    None,
}

impl Propagate {
    fn is_default(&self) -> bool {
        *self == Self::Restart
    }
}

/// How a reload replaces the processes of a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReloadMode {
    /// The new ones start before the old ones stop.
    Overlap,
    /// One after the other: each stops before its successor starts.
    Exclusive,
    /// They get SIGHUP, and stay.
    Hup,
}

/// What the processes of a watcher are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatcherKind {
    /// They run until they are told to stop.
    #[default]
    Service,
    /// One process does its work and ends.
    Oneshot,
    /// The same, at the times of a schedule.
    Cron,
}

impl WatcherKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Service, Self::Oneshot, Self::Cron];

    /// As the option has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Oneshot => "oneshot",
            Self::Cron => "cron",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_service(&self) -> bool {
        *self == Self::Service
    }
}

/// What is done when a run is due and the one before is not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overlap {
    /// The new one does not take place.
    #[default]
    Skip,
    /// It begins when the other is over; at most one waits.
    Queue,
    /// The other is stopped, and it begins then.
    Kill,
}

/// What is done about runs that were due while nothing could run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missed {
    /// Nothing.
    #[default]
    Skip,
    /// One run makes up for all of them.
    Run,
}

/// When a watcher with `kind = cron` runs. Each field's meaning stands in `WATCHER_OPTIONS`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each option is described once, in config::WATCHER_OPTIONS")]
pub struct Cron {
    pub schedule: Option<Schedule>,
    /// `None`: that of the machine.
    pub timezone: Option<String>,
    pub overlap: Overlap,
    pub missed: Missed,
    pub jitter: f64,
}

impl Cron {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_unset(number: &u32) -> bool {
    *number == 0
}

/// `[watcher:NAME]`, or what `add` made. Each field's meaning, unit and default stand in `WATCHER_OPTIONS`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each option is described once, in config::WATCHER_OPTIONS")]
pub struct WatcherConfig {
    pub name: String,
    pub cmd: String,
    #[serde(default, skip_serializing_if = "WatcherKind::is_service")]
    pub kind: WatcherKind,
    /// `schedule`, `timezone`, `overlap`, `missed` and `jitter`.
    #[serde(default, skip_serializing_if = "Cron::is_default")]
    pub cron: Cron,
    /// `None` only for watchers made by `add` without arguments.
    pub args: Option<Args>,
    pub numprocesses: u32,
    pub warmup_delay: f64,
    pub executable: Option<String>,
    pub working_dir: String,
    pub shell: bool,
    pub shell_args: Option<String>,
    pub uid: Option<Account>,
    pub gid: Option<Account>,
    pub copy_env: bool,
    pub copy_path: bool,
    /// What the child gets, complete; `None` only for watchers made by `add` without an environment.
    pub env: Option<BTreeMap<String, String>>,
    pub send_hup: bool,
    /// `None`: as `send_hup` and `singleton` say.
    pub reload: Option<ReloadMode>,
    /// 0: all at once.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub reload_batch: u32,
    /// 0: no bound.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub reload_surge: u32,
    pub stop_signal: Signal,
    /// The signals that follow the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_steps: Vec<super::StopStep>,
    pub stop_children: bool,
    #[serde(default, skip_serializing_if = "KillMode::is_mixed")]
    pub kill_mode: KillMode,
    pub orphans: Orphans,
    pub max_retry: i64,
    pub graceful_timeout: f64,
    pub priority: i64,
    /// The names, or patterns of names, of the watchers that must be up before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// The same, of watchers without which this one is of no use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// What a stop, or a replacement, of one of those does to this one.
    #[serde(default, skip_serializing_if = "Propagate::is_default")]
    pub propagate: Propagate,
    pub singleton: bool,
    pub use_sockets: bool,
    /// `sockets = a, b`: only these, with LISTEN_FDS.
    pub sockets: Vec<String>,
    pub on_demand: bool,
    /// Seconds without a connection after which a watcher with `on_demand` stops; 0 for never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub idle_timeout: f64,
    pub respawn: Respawn,
    /// The exit statuses that are no failure.
    pub success_codes: Vec<u8>,
    pub autostart: bool,
    /// Whether `stop`, `incr` and `decr` outlive circusd.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remember: bool,
    /// Whether no program that a worker executes gains rights.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privs: bool,
    /// Whether each worker has a control group of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cgroup: bool,
    /// `memory_max`, `memory_high`, `cpu_max`, `pids_max` and `io_weight`.
    #[serde(default, skip_serializing_if = "super::GroupLimits::is_default")]
    pub group_limits: super::GroupLimits,
    /// `nice`, `ionice`, `cpu_affinity` and `oom_score_adj`.
    #[serde(default, skip_serializing_if = "super::Scheduling::is_default")]
    pub scheduling: super::Scheduling,
    pub essential: bool,
    pub max_age: i64,
    pub max_age_variance: i64,
    pub min_uptime: f64,
    /// By lower-case name without `rlimit_`; `None` is unlimited.
    pub rlimits: BTreeMap<String, Option<u64>>,
    /// By the names of variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slots: BTreeMap<String, super::SlotPool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<String>,
    pub stdin_socket: Option<String>,
    pub virtualenv: Option<String>,
    pub virtualenv_py_ver: Option<String>,
    pub close_child_stdin: bool,
    pub close_child_stdout: bool,
    pub close_child_stderr: bool,
    pub stdout_stream: Option<StreamConfig>,
    pub stderr_stream: Option<StreamConfig>,
    pub tail_bytes: u32,
    pub hooks: BTreeMap<HookPoint, Hook>,
    pub hook_timeout: f64,
    /// `ready*` and `health*`.
    #[serde(default, skip_serializing_if = "Checks::are_default")]
    pub checks: Checks,
    /// `scale*` and `drain*`.
    #[serde(default, skip_serializing_if = "Scaling::are_default")]
    pub scaling: Scaling,
    pub origin: WatcherOrigin,
    /// The line of a file that says what it runs, as `FILE:LINE`; none where it came by `add`.
    #[serde(default)]
    pub declared: Option<String>,
    /// Made by `add`: some options are then shown as null where a file's watcher shows an empty value.
    pub dynamic: bool,
    /// What makes it a plugin.
    pub plugin: Option<PluginConfig>,
    /// Keys that are no options of ours, kept for plugins and shown by `options`.
    pub freeform: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

/// The address family of a managed socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// AF_INET
    Inet,
    /// AF_INET6
    Inet6,
    /// AF_UNIX
    Unix,
}

/// The type of a managed socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketType {
    /// SOCK_STREAM
    Stream,
    /// SOCK_DGRAM
    Datagram,
    /// SOCK_RAW
    Raw,
    /// SOCK_RDM
    Rdm,
    /// SOCK_SEQPACKET
    SeqPacket,
}

/// `[socket:NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketConfig {
    /// Lower case.
    pub name: String,
    /// A host name or address.
    pub host: String,
    /// 0 lets the kernel choose.
    pub port: u16,
    /// AF_INET, AF_INET6 or AF_UNIX.
    pub family: Family,
    /// SOCK_STREAM ...
    pub kind: SocketType,
    /// A protocol name of /etc/protocols.
    pub proto: Option<String>,
    /// The length of the queue of connections.
    pub backlog: i32,
    /// The path of a unix socket.
    pub path: Option<String>,
    /// Bits that a unix socket's mode lacks.
    pub umask: u32,
    /// Whether an existing path is unlinked first.
    pub replace: bool,
    /// SO_BINDTODEVICE.
    pub interface: Option<String>,
    /// Each worker that names it gets a socket of its own.
    pub so_reuseport: bool,
    /// Whether accept blocks.
    pub blocking: bool,
}
