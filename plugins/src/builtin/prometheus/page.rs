//! The page: OpenMetrics text.

use super::snapshot::{LastRun, Snapshot, Socket, Usage, Watcher};
use super::tally::{BOUNDS, Histogram};
use circus_core::commands::Health;
use circus_core::proto::Signal;

/// What the page says that it is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The states of a watcher.
const STATES: [&str; 4] = ["active", "starting", "stopping", "stopped"];

/// The page with these metrics.
pub(crate) fn render(snapshot: &Snapshot) -> String {
    let mut page = Page::default();
    let watchers = &snapshot.watchers;
    states(&mut page, watchers);
    workers(&mut page, watchers);
    used(&mut page, watchers);
    past(&mut page, watchers);
    runs(&mut page, watchers);
    respawns(&mut page, watchers);
    sockets(&mut page, &snapshot.sockets);
    daemon(&mut page, snapshot.daemon);
    page.0 + "# EOF\n"
}

fn states(page: &mut Page, watchers: &[Watcher]) {
    let with = |state: &str| watchers.iter().filter(|watcher| watcher.state == state).count() as f64;
    let counts = STATES.iter().map(|state| sample(&[("state", state)], with(state)));
    page.family("circus_watchers", Kind::Gauge, "", "Watchers, by their state.", counts);
    let of = |watcher: &Watcher| {
        STATES.map(|state| {
            let labels = [("watcher", watcher.name.as_str()), ("circus_watcher_state", state)];
            sample(&labels, f64::from(u8::from(watcher.state == state)))
        })
    };
    let help = "1 for the state that each watcher is in, 0 for the others.";
    page.family("circus_watcher_state", Kind::StateSet, "", help, watchers.iter().flat_map(of));
    let of = |watcher: &Watcher| {
        Health::ALL.map(Health::name).map(|health| {
            let labels = [("watcher", watcher.name.as_str()), ("circus_watcher_health", health)];
            sample(&labels, f64::from(u8::from(watcher.health == health)))
        })
    };
    let help = "How each watcher fares: 1 at the word that circusctl status shows at a terminal.";
    page.family("circus_watcher_health", Kind::StateSet, "", help, watchers.iter().flat_map(of));
}

fn workers(page: &mut Page, watchers: &[Watcher]) {
    let of = |watcher: &Watcher| {
        [("running", watcher.running), ("starting", watcher.starting), ("stopping", watcher.stopping)]
            .map(|(state, count)| sample(&[("watcher", &watcher.name), ("state", state)], count as f64))
    };
    let help = "Processes that circusd has started for each watcher, by their state.";
    page.family("circus_watcher_processes", Kind::Gauge, "", help, watchers.iter().flat_map(of));
    let ready = |watcher: &Watcher| {
        let row = |(wid, ready): &(u64, bool)| {
            let labels = [("watcher", watcher.name.as_str()), ("wid", &wid.to_string())];
            sample(&labels, f64::from(u8::from(*ready)))
        };
        watcher.ready.iter().map(row).collect::<Vec<_>>()
    };
    let help = "Whether each worker is ready, where the watcher says how that shows.";
    page.family("circus_worker_ready", Kind::Gauge, "", help, watchers.iter().flat_map(ready));
    let mut gauge = |name, unit, help, of: fn(&Watcher) -> Option<f64>| {
        page.family(name, Kind::Gauge, unit, help, each(watchers, of));
    };
    gauge("circus_watcher_processes_wanted", "", "Processes that each watcher wants: numprocesses.", |w| {
        Some(w.wanted as f64)
    });
    gauge("circus_watcher_backing_off", "", "Processes that are started again after a pause.", |w| {
        Some(w.backing_off as f64)
    });
    gauge("circus_watcher_back_off_seconds", "seconds", "The longest of these pauses.", |w| Some(w.back_off));
    gauge("circus_watcher_uptime_seconds", "seconds", "The time since the watcher was started.", |w| w.uptime);
}

fn used(page: &mut Page, watchers: &[Watcher]) {
    let cpu = each(watchers, |w| Some(w.usage?.cpu));
    let help = "Processor time of each watcher's processes and their descendants, including those that have exited.";
    page.family("circus_watcher_cpu_seconds", Kind::Counter, "seconds", help, cpu);
    let mut gauge = |name, unit, help, of: fn(&Watcher) -> Option<f64>| {
        page.family(name, Kind::Gauge, unit, help, each(watchers, of));
    };
    gauge(
        "circus_watcher_resident_memory_bytes",
        "bytes",
        "Resident memory of each watcher's processes and their descendants; shared memory counts for each.",
        |w| Some(w.usage?.resident as f64),
    );
    gauge("circus_watcher_open_fds", "", "Open descriptors of each watcher's processes and their descendants.", |w| {
        Some(w.usage?.fds? as f64)
    });
    gauge("circus_watcher_threads", "", "Threads of each watcher's processes and their descendants.", |w| {
        Some(w.usage?.threads as f64)
    });
}

fn past(page: &mut Page, watchers: &[Watcher]) {
    let mut counter = |name, help, of: fn(&Watcher) -> Option<f64>| {
        page.family(name, Kind::Counter, "", help, each(watchers, of));
    };
    counter("circus_watcher_spawns", "Processes that were started.", |w| Some(w.spawned as f64));
    counter("circus_watcher_spawn_failures", "Starts that failed.", |w| Some(w.failed as f64));
    counter("circus_watcher_restarts", "Workers that exited unexpectedly and were replaced.", |w| {
        Some(w.restarts as f64)
    });
    counter("circus_watcher_reloads", "Graceful reloads since the plugin was started.", |w| {
        Some(w.tally.reloads as f64)
    });
    counter(
        "circus_watcher_unhealthy_workers",
        "Workers that failed their health checks since the plugin was started.",
        |w| Some(w.tally.unhealthy as f64),
    );
    let exits = watchers.iter().flat_map(|watcher| {
        watcher.tally.exits.iter().map(|(code, count)| {
            let (how, which) = ended(*code);
            sample(&[("watcher", &watcher.name), (how, &which)], *count as f64)
        })
    });
    let help = "Processes that exited since the plugin was started, by exit status or signal.";
    page.family("circus_watcher_exits", Kind::Counter, "", help, exits);
}

fn runs(page: &mut Page, watchers: &[Watcher]) {
    let of = |watcher: &Watcher| {
        let counts =
            watcher.runs.map(|runs| [("success", runs.succeeded), ("failure", runs.failed), ("skipped", runs.skipped)]);
        let row = |(result, count)| sample(&[("watcher", &watcher.name), ("result", result)], count as f64);
        counts.into_iter().flatten().map(row).collect::<Vec<_>>()
    };
    let help = "Runs of each watcher that is no service, by what they came to.";
    page.family("circus_watcher_runs", Kind::Counter, "", help, watchers.iter().flat_map(of));
    let mut gauge = |name, unit, help, of: fn(LastRun) -> f64| {
        let rows = watchers.iter().filter_map(|w| Some(sample(&[("watcher", &w.name)], of(w.runs?.last?))));
        page.family(name, Kind::Gauge, unit, help, rows);
    };
    let help = "Whether the last run that is over succeeded: 1 or 0.";
    gauge("circus_watcher_last_run_success", "", help, |run| f64::from(u8::from(run.succeeded)));
    let help = "When the last run that is over began, since the epoch.";
    gauge("circus_watcher_last_run_timestamp_seconds", "seconds", help, |run| run.began);
    gauge("circus_watcher_last_run_duration_seconds", "seconds", "How long it took.", |run| run.duration);
    let next = watchers.iter().filter_map(|w| Some(sample(&[("watcher", &w.name)], w.runs?.next?)));
    let help = "When the next run begins by its schedule, since the epoch.";
    page.family("circus_watcher_next_run_timestamp_seconds", Kind::Gauge, "seconds", help, next);
}

/// How a process ended: by which exit status, or which signal.
fn ended(code: i64) -> (&'static str, String) {
    match i32::try_from(code) {
        Ok(code) if code < 0 => ("signal", Signal(code.saturating_neg()).to_string()),
        Ok(_) | Err(_) => ("code", code.to_string()),
    }
}

fn respawns(page: &mut Page, watchers: &[Watcher]) {
    let seen = watchers.iter().filter(|watcher| watcher.tally.respawns.count > 0);
    let samples = seen.flat_map(|watcher| histogram(&watcher.name, &watcher.tally.respawns));
    let help = "The time from an unexpected exit to the next process of the watcher, since the plugin was started. A \
        process that is replaced in the turn of circusd's loop that notices its exit counts as 0.";
    page.family("circus_watcher_respawn_seconds", Kind::Histogram, "seconds", help, samples);
}

fn histogram(watcher: &str, histogram: &Histogram) -> Vec<Sample> {
    let mut below = 0;
    let mut samples = Vec::new();
    for (bound, count) in BOUNDS.iter().zip(histogram.classes) {
        below += count;
        // A class is named by a float: 1.0, not 1.
        samples.push(part("_bucket", &[("watcher", watcher), ("le", &format!("{bound:?}"))], below as f64));
    }
    samples.push(part("_bucket", &[("watcher", watcher), ("le", "+Inf")], histogram.count as f64));
    samples.push(part("_count", &[("watcher", watcher)], histogram.count as f64));
    samples.push(part("_sum", &[("watcher", watcher)], histogram.sum));
    samples
}

fn sockets(page: &mut Page, sockets: &[Socket]) {
    let of = |figure: fn(&Socket) -> Option<u64>| {
        let row = move |socket: &Socket| Some(sample(&[("socket", &socket.name)], figure(socket)? as f64));
        sockets.iter().filter_map(row).collect::<Vec<_>>()
    };
    let help = "Connections that wait to be accepted.";
    page.family("circus_socket_queue_length", Kind::Gauge, "", help, of(|socket| socket.queue));
    let help = "The maximum number of waiting connections: the backlog of the socket, which the kernel limits to \
        net.core.somaxconn.";
    page.family("circus_socket_backlog", Kind::Gauge, "", help, of(|socket| socket.backlog));
}

fn daemon(page: &mut Page, usage: Option<Usage>) {
    let mut figure = |name, kind, unit, help, of: fn(Usage) -> Option<f64>| {
        page.family(name, kind, unit, help, usage.and_then(of).map(|value| sample(&[], value)));
    };
    let cpu = |usage: Usage| Some(usage.cpu);
    figure("circus_daemon_cpu_seconds", Kind::Counter, "seconds", "Processor time of circusd itself.", cpu);
    let resident = |usage: Usage| Some(usage.resident as f64);
    figure("circus_daemon_resident_memory_bytes", Kind::Gauge, "bytes", "Resident memory of circusd itself.", resident);
    let fds = |usage: Usage| usage.fds.map(|fds| fds as f64);
    figure("circus_daemon_open_fds", Kind::Gauge, "", "Open descriptors of circusd itself.", fds);
    let threads = |usage: Usage| Some(usage.threads as f64);
    figure("circus_daemon_threads", Kind::Gauge, "", "Threads of circusd itself.", threads);
}

/// A figure of each watcher that has it.
fn each(watchers: &[Watcher], of: fn(&Watcher) -> Option<f64>) -> impl Iterator<Item = Sample> {
    watchers.iter().filter_map(move |watcher| Some(sample(&[("watcher", &watcher.name)], of(watcher)?)))
}

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
    StateSet,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::StateSet => "stateset",
            Self::Histogram => "histogram",
        }
    }

    /// What a sample's name has that its family's has not.
    fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Gauge | Self::StateSet | Self::Histogram => "",
        }
    }
}

/// A line, but for the name of its family.
struct Sample {
    part: &'static str,
    labels: String,
    value: f64,
}

fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
    part("", labels, value)
}

fn part(part: &'static str, labels: &[(&str, &str)], value: f64) -> Sample {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
    Sample { part, labels, value }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[derive(Default)]
struct Page(String);

impl Page {
    /// Adds a family, unless it has no metrics.
    fn family(&mut self, name: &str, kind: Kind, unit: &str, help: &str, samples: impl IntoIterator<Item = Sample>) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.line(format_args!("# TYPE {name} {}", kind.name()));
        if !unit.is_empty() {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {help}"));
        for Sample { part, labels, value } in samples {
            self.line(format_args!("{name}{part}{}{labels} {value}", kind.suffix()));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.extend([std::fmt::format(line).as_str(), "\n"]);
    }
}

#[cfg(test)]
mod tests;
