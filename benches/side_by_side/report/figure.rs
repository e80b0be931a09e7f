//! What is measured.

/// A figure. The order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    StartAll,
    StartFirst,
    RespawnP50,
    RespawnP99,
    Storm,
    StatusP50,
    StatusP99,
    Requests,
    Incr,
    StopAll,
    LogRate,
    LogCpu,
    TornLines,
    StatsCpu,
    Memory,
    IdleSwitches,
    IdleCpu,
    LeftBehind,
    Ready,
    Client,
}

/// How a figure is told.
pub(crate) struct Words {
    /// In the JSON.
    pub(crate) key: &'static str,
    /// In the table.
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// Digits behind the point.
    pub(crate) digits: usize,
}

const fn words(key: &'static str, title: &'static str, unit: &'static str, digits: usize) -> Words {
    Words { key, title, unit, digits }
}

impl Figure {
    pub(crate) const ALL: &[Self] = &[
        Self::StartAll,
        Self::StartFirst,
        Self::RespawnP50,
        Self::RespawnP99,
        Self::Storm,
        Self::StatusP50,
        Self::StatusP99,
        Self::Requests,
        Self::Incr,
        Self::StopAll,
        Self::LogRate,
        Self::LogCpu,
        Self::TornLines,
        Self::StatsCpu,
        Self::Memory,
        Self::IdleSwitches,
        Self::IdleCpu,
        Self::LeftBehind,
        Self::Ready,
        Self::Client,
    ];

    pub(crate) fn words(self) -> Words {
        match self {
            Self::StartAll => words("start_all_ms", "started -> all workers running", "ms", 1),
            Self::StartFirst => words("start_first_ms", "started -> first worker running", "ms", 1),
            Self::RespawnP50 => words("respawn_p50_ms", "worker killed -> new one running, p50", "ms", 2),
            Self::RespawnP99 => words("respawn_p99_ms", "the same, p99", "ms", 2),
            Self::Storm => words("storm_ms", "all killed at once -> all back", "ms", 1),
            Self::StatusP50 => words("status_p50_us", "`status` round trip, p50", "us", 0),
            Self::StatusP99 => words("status_p99_us", "the same, p99", "us", 0),
            Self::Requests => words("requests_per_s", "requests, 8 clients, pipelined", "1/s", 0),
            Self::Incr => words("incr_p50_ms", "`incr` -> one more running, p50", "ms", 2),
            Self::StopAll => words("stop_all_ms", "SIGTERM -> all stopped, and it has ended", "ms", 1),
            Self::LogRate => words("log_mb_per_s", "output of 4 workers into one file", "MB/s", 0),
            Self::LogCpu => words("log_cpu_s_per_gb", "its processor time for that", "s/GB", 2),
            Self::TornLines => words("torn_lines", "lines torn by another's", "", 0),
            Self::StatsCpu => words("stats_cpu_ms_per_s", "statistics of each worker, each second", "ms/s", 2),
            Self::Memory => words("memory_mib", "memory of the manager (PSS)", "MiB", 2),
            Self::IdleSwitches => words("idle_wakeups_per_min", "wake-ups while idle", "1/min", 0),
            Self::IdleCpu => words("idle_cpu_ms_per_s", "processor time while idle", "ms/s", 2),
            Self::LeftBehind => words("left_behind", "processes left behind at the end", "", 0),
            Self::Ready => words("ready_ms", "started -> first request answered, no worker", "ms", 2),
            Self::Client => words("client_ms", "a client as a process: start, ask, end", "ms", 2),
        }
    }

    /// What this figure costs for each worker, in thousandths of its unit, where that is a sensible question.
    pub(crate) fn per_worker(self) -> bool {
        matches!(self, Self::StartAll | Self::Storm | Self::StatsCpu)
    }
}
