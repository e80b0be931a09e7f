//! The graphs: how munin is to draw each, and its figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::names::{TOTAL, fields, label};
use super::replies::{Replies, Socket, Watcher};

/// A graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Graph {
    Cpu,
    Memory,
    Processes,
    Restarts,
    Unready,
    Runs,
    Sockets,
}

/// How memory is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// What each process has in RAM: pages that several share count for each of them.
    Resident,
    /// Shared pages in proportion: the kernel goes through all memory, and only the user of a process may ask.
    Proportional,
}

impl Memory {
    /// As `env.memory` says.
    pub(super) fn of(env: &BTreeMap<String, String>) -> Self {
        let is_proportional = env.get("memory").is_some_and(|value| value.eq_ignore_ascii_case("pss"));
        if is_proportional { Self::Proportional } else { Self::Resident }
    }

    fn info(self) -> &'static str {
        match self {
            Self::Resident => {
                "graph_title Circus: memory\n\
                 graph_info Memory (RSS) of each watcher's workers and all their descendants; pages that processes share \
                 count for each of them.\n"
            }
            Self::Proportional => {
                "graph_title Circus: memory (PSS)\n\
                 graph_info Memory (PSS) of each watcher's workers and all their descendants; pages that processes share \
                 count in proportion.\n"
            }
        }
    }
}

impl Graph {
    pub(super) const ALL: [Self; 7] =
        [Self::Cpu, Self::Memory, Self::Processes, Self::Restarts, Self::Runs, Self::Sockets, Self::Unready];

    /// What stands after `circus_` in its name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "mem",
            Self::Processes => "procs",
            Self::Restarts => "restarts",
            Self::Runs => "runs",
            Self::Unready => "unready",
            Self::Sockets => "sockets",
        }
    }

    /// The graphs of a link of this name: one, or all. `circus_cpu_shop` is another `circus_cpu`, for another circusd.
    pub(super) fn named(name: &str) -> Option<Vec<Self>> {
        let Some(rest) = name.strip_prefix("circus_") else {
            return matches!(name, "circus" | "circus-munin").then(|| Self::ALL.to_vec());
        };
        let suffix = rest.split('_').next().unwrap_or_default();
        Self::ALL.into_iter().find(|graph| graph.suffix() == suffix).map(|graph| vec![graph])
    }

    fn head(self) -> &'static str {
        match self {
            Self::Cpu => {
                "graph_title Circus: processor\n\
                 graph_args --base 1000 --lower-limit 0\n\
                 graph_vlabel % of one processor\n\
                 graph_info Processor time that each watcher's workers and all their descendants use.\n"
            }
            Self::Memory => {
                "graph_args --base 1024 --lower-limit 0\n\
                 graph_vlabel bytes in RAM\n"
            }
            Self::Processes => {
                "graph_title Circus: processes\n\
                 graph_args --base 1000 --lower-limit 0\n\
                 graph_vlabel processes\n\
                 graph_info Each watcher's workers and all their descendants.\n"
            }
            Self::Restarts => {
                "graph_title Circus: restarts\n\
                 graph_args --base 1000 --lower-limit 0\n\
                 graph_period minute\n\
                 graph_vlabel restarts per ${graph_period}\n\
                 graph_info Workers that exited unexpectedly and were replaced.\n"
            }
            Self::Unready => {
                "graph_title Circus: workers that are not ready\n\
                 graph_args --base 1000 --lower-limit 0\n\
                 graph_vlabel workers\n\
                 graph_info Workers that run and are not ready, of watchers that say how readiness shows.\n"
            }
            Self::Runs => {
                "graph_title Circus: runs that failed\n\
                 graph_args --base 1000 --lower-limit 0\n\
                 graph_vlabel 1 = failed\n\
                 graph_info Whether the last run has failed, of each watcher that runs once or by a schedule.\n"
            }
            Self::Sockets => {
                "graph_title Circus: sockets\n\
                 graph_args --base 1000 --lower-limit 0\n\
                 graph_vlabel waiting connections\n\
                 graph_info Connections to each socket of circusd that no worker has accepted yet.\n"
            }
        }
    }

    /// How a field of it is drawn, and that of the total.
    fn drawing(self) -> (&'static str, &'static str) {
        match self {
            Self::Cpu | Self::Restarts => ("DERIVE", "AREASTACK"),
            Self::Memory | Self::Processes | Self::Unready => ("GAUGE", "AREASTACK"),
            Self::Runs | Self::Sockets => ("GAUGE", "LINE1"),
        }
    }

    fn figure(self, watcher: &Watcher, memory: Memory) -> Option<u64> {
        match self {
            // A hundredth of a second each second is one per cent.
            Self::Cpu => watcher.cpu,
            Self::Memory if memory == Memory::Proportional => watcher.proportional,
            Self::Memory => watcher.memory,
            Self::Processes => watcher.processes,
            Self::Restarts => watcher.restarts,
            Self::Unready => watcher.unready,
            Self::Runs => watcher.last_run.flatten().map(u64::from),
            Self::Sockets => None,
        }
    }

    fn rows(self, replies: &Replies, memory: Memory) -> Vec<Row> {
        let unnamed = match self {
            Self::Sockets => replies.sockets.iter().flatten().map(socket).collect(),
            Self::Runs => {
                let jobs = replies.watchers.iter().flatten().filter(|watcher| watcher.last_run.is_some());
                jobs.map(|watcher| self.row(watcher, memory)).collect()
            }
            Self::Cpu | Self::Memory | Self::Processes | Self::Restarts | Self::Unready => {
                replies.watchers.iter().flatten().map(|watcher| self.row(watcher, memory)).collect::<Vec<_>>()
            }
        };
        let fields = fields(unnamed.iter().map(|row| row.label.as_str()));
        unnamed.into_iter().zip(fields).map(|(row, field)| Row { field, ..row }).collect()
    }

    fn row(self, watcher: &Watcher, memory: Memory) -> Row {
        Row { label: watcher.name.clone(), value: self.figure(watcher, memory), ..Row::default() }
    }
}

/// A line of a graph.
#[derive(Clone, Debug, Default)]
struct Row {
    field: String,
    label: String,
    info: Option<String>,
    value: Option<u64>,
}

fn socket(socket: &Socket) -> Row {
    let room = socket.backlog.map(|backlog| format!(", room for {backlog}")).unwrap_or_default();
    let info = Some(format!("{}{room}", socket.address));
    Row { label: socket.name.clone(), info, value: socket.waiting, ..Row::default() }
}

/// The sum of what is known; unknown where nothing is.
fn total(rows: &[Row]) -> Option<u64> {
    rows.iter().filter_map(|row| row.value).reduce(u64::saturating_add)
}

/// How munin is to draw the graph. The environment may have limits, as `web_warning` or `critical`.
pub(super) fn config(graph: Graph, replies: &Replies, env: &BTreeMap<String, String>) -> String {
    let memory = Memory::of(env);
    let info = if graph == Graph::Memory { memory.info() } else { "" };
    let mut text = format!("{info}{}graph_category processes\ngraph_scale yes\n", graph.head());
    let (kind, draw) = graph.drawing();
    let total = Row { field: TOTAL.into(), label: TOTAL.into(), ..Row::default() };
    for (row, draw) in graph.rows(replies, memory).iter().map(|row| (row, draw)).chain([(&total, "LINE1")]) {
        let mut put = |key: &str, value: &str| {
            // A string can always be written to.
            let _written = writeln!(text, "{}.{key} {value}", row.field);
        };
        put("label", &label(&row.label));
        put("type", kind);
        put("min", "0");
        put("draw", draw);
        if let Some(info) = &row.info {
            put("info", &label(info));
        }
        for limit in ["warning", "critical"] {
            let own = env.get(&format!("{}_{limit}", row.field));
            if let Some(value) = own.or_else(|| env.get(limit)).filter(|value| is_limit(value)) {
                put(limit, value);
            }
        }
    }
    text
}

/// A limit is a number, or a lowest and a highest with a colon between.
fn is_limit(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | '-'))
}

/// The figures.
pub(super) fn values(graph: Graph, replies: &Replies, memory: Memory) -> String {
    let rows = graph.rows(replies, memory);
    let total = Row { field: TOTAL.into(), value: total(&rows), ..Row::default() };
    let line = |row: &Row| {
        let value = row.value.map_or_else(|| "U".to_owned(), |value| value.to_string());
        format!("{}.value {value}\n", row.field)
    };
    rows.iter().chain([&total]).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies() -> Replies {
        let web = Watcher {
            name: "My App".into(),
            cpu: Some(1234),
            memory: Some(2048),
            proportional: Some(1024),
            processes: Some(3),
            restarts: Some(1),
            unready: Some(2),
            last_run: None,
        };
        let idle = Watcher { name: "idle".into(), processes: Some(0), restarts: Some(0), ..Watcher::default() };
        let job = |name: &str, last| Watcher { name: name.into(), last_run: Some(last), ..Watcher::default() };
        let jobs = [job("backup", Some(true)), job("migrate", Some(false)), job("new", None)];
        let socket = Socket { name: "web".into(), address: "h:80".into(), backlog: Some(9), waiting: Some(2) };
        let unix = Socket { name: "ux".into(), address: "/x".into(), backlog: None, waiting: None };
        let watchers = [web, idle].into_iter().chain(jobs).collect();
        Replies { watchers: Some(watchers), sockets: Some(vec![socket, unix]) }
    }

    #[test]
    fn names_of_links() {
        assert_eq!(Graph::named("circus"), Some(Graph::ALL.to_vec()));
        assert_eq!(Graph::named("circus_cpu"), Some(vec![Graph::Cpu]));
        assert_eq!(Graph::named("circus_restarts_shop"), Some(vec![Graph::Restarts]));
        assert_eq!(["circus_", "cpu", "circus_x", ""].map(Graph::named), [const { None }; 4]);
    }

    #[test]
    fn only_what_runs_once_or_by_a_schedule_has_runs() {
        assert_eq!(
            values(Graph::Runs, &replies(), Memory::Resident),
            "backup.value 1\nmigrate.value 0\nnew.value U\ntotal.value 1\n"
        );
    }

    #[test]
    fn figures_and_what_is_unknown() {
        // The jobs have no such figures.
        let values = |graph, replies: &Replies, memory| {
            let text = values(graph, replies, memory);
            let is_job = |line: &&str| ["backup.", "migrate.", "new."].iter().any(|start| line.starts_with(start));
            text.split_inclusive('\n').filter(|line| !is_job(line)).collect::<String>()
        };
        assert_eq!(
            values(Graph::Cpu, &replies(), Memory::Resident),
            "My_App.value 1234\nidle.value U\ntotal.value 1234\n"
        );
        assert_eq!(
            values(Graph::Processes, &replies(), Memory::Resident),
            "My_App.value 3\nidle.value 0\ntotal.value 3\n"
        );
        assert_eq!(
            values(Graph::Unready, &replies(), Memory::Resident),
            "My_App.value 2\nidle.value U\ntotal.value 2\n"
        );
        assert_eq!(values(Graph::Sockets, &replies(), Memory::Resident), "web.value 2\nux.value U\ntotal.value 2\n");
        for graph in Graph::ALL {
            assert_eq!(values(graph, &Replies::default(), Memory::Resident), "total.value U\n");
            assert!(config(graph, &Replies::default(), &BTreeMap::new()).contains("total.label total\n"));
        }
    }

    #[test]
    fn a_configuration_has_all_its_fields_and_the_limits() {
        let env = [("My_App_warning", "50:90"), ("critical", "99"), ("warning", "x\ny")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let text = config(Graph::Memory, &replies(), &env);
        assert!(text.starts_with("graph_title Circus: memory\ngraph_info Memory (RSS) of each "), "{text}");
        let pss = config(Graph::Memory, &replies(), &[("memory".to_owned(), "pss".to_owned())].into());
        assert!(pss.starts_with("graph_title Circus: memory (PSS)\n"), "{pss}");
        assert!(values(Graph::Memory, &replies(), Memory::Proportional).starts_with("My_App.value 1024\n"));
        assert!(text.contains(
            "My_App.label My App\nMy_App.type GAUGE\nMy_App.min 0\nMy_App.draw AREASTACK\nMy_App.warning 50:90\nMy_App.critical 99\n"
        ));
        assert!(text.contains("total.draw LINE1\ntotal.critical 99\n") && !text.contains("total.warning"), "{text}");
        let text = config(Graph::Sockets, &replies(), &BTreeMap::new());
        assert!(text.contains("web.info h:80, room for 9\n"), "{text}");
        for graph in Graph::ALL {
            let text = config(graph, &replies(), &BTreeMap::new());
            for line in values(graph, &replies(), Memory::Resident).lines() {
                let (field, _) = line.split_once('.').unwrap();
                assert!(text.contains(&format!("{field}.type ")), "{field}");
            }
        }
    }
}
