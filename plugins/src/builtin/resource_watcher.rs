//! Restarts a watcher whose processes take too much, or too little, for too long.

use std::collections::BTreeMap;
use std::time::Duration;

use circus_core::proto::Signal;
use circus_plugin_sdk::{Client, Plugin, Settings};
use serde_json::{Map, Value, json};

use crate::builtin::{Registration, boxed};
use crate::support::interval::Interval;
use crate::support::limits::{Counts, Limits, NAMES, Usage, count};
use crate::support::selection::signal;
use crate::support::statsd_client::StatsdClient;

pub(super) const PLUGIN: Registration =
    Registration { name: "resource_watcher", make: |context| boxed(ResourceWatcher::new(&context.settings)) };

/// The plugin.
#[derive(Debug)]
struct ResourceWatcher {
    watcher: String,
    limits: Limits,
    most: u32,
    /// The signal for children, where they are looked at.
    children: Option<Signal>,
    own: Counts,
    of_children: BTreeMap<(i64, i64), Counts>,
    statsd: StatsdClient,
    interval: Interval,
}

impl ResourceWatcher {
    fn new(settings: &Settings) -> Result<Self, String> {
        let watcher = settings.text("watcher").or_else(|| settings.text("service"));
        let signal = signal(settings, "child_signal")?.ok_or("child_signal: is missing")?;
        Ok(Self {
            watcher: watcher.ok_or("watcher: is missing")?.to_owned(),
            limits: Limits::new(settings)?,
            most: settings.needed_number("max_count")?,
            children: settings.flag("process_children")?.then_some(signal),
            own: Counts::default(),
            of_children: BTreeMap::new(),
            statsd: StatsdClient::new(settings)?,
            interval: Interval::new(settings.seconds("loop_rate")?),
        })
    }

    fn bucket(&self, what: &str) -> String {
        format!("_resource_watcher.{}.{what}", self.watcher)
    }

    /// Counts what was passed, there and at statsd.
    fn exceeds(&self, counts: &mut Counts, usage: &Usage) -> bool {
        let passed = self.limits.passed(usage);
        for (name, _) in NAMES.iter().zip(passed).filter(|(_, passed)| *passed) {
            self.statsd.increment(&self.bucket(name));
        }
        let exceeds = count(counts, passed, self.most);
        if exceeds {
            self.statsd.increment(&self.bucket("restarting"));
        }
        exceeds
    }

    fn look(&mut self, stats: &Map<String, Value>, client: &mut dyn Client) {
        let mut own = std::mem::take(&mut self.own);
        // A watcher without a process uses nothing, which is not too little.
        if let Some(usage) = Usage::of(stats.values().filter_map(Value::as_object)) {
            if self.exceeds(&mut own, &usage) {
                client.warn(&format!("{} has exceeded a limit for too long: it is restarted", self.watcher));
                client.restart(&self.watcher);
                self.of_children.clear();
                return;
            }
            self.own = own;
        }
        if let Some(signal) = self.children {
            self.look_at_children(stats, signal, client);
        }
    }

    fn look_at_children(&mut self, stats: &Map<String, Value>, signal: Signal, client: &mut dyn Client) {
        let mut before = std::mem::take(&mut self.of_children);
        for (parent, child, info) in children(stats) {
            let mut counts = before.remove(&(parent, child)).unwrap_or_default();
            let exceeds = Usage::of([info]).is_some_and(|usage| self.exceeds(&mut counts, &usage));
            if exceeds {
                client.warn(&format!(
                    "the child {child} of {} has exceeded a limit for too long: signal {signal}",
                    self.watcher
                ));
                let properties = json!({"name": self.watcher, "pid": parent, "childpid": child, "signum": signal.0});
                client.cast("signal", properties.as_object().cloned().unwrap_or_default());
                counts = Counts::default();
            }
            self.of_children.insert((parent, child), counts);
        }
    }
}

/// Every child: its parent, its pid and its figures.
fn children(stats: &Map<String, Value>) -> impl Iterator<Item = (i64, i64, &Map<String, Value>)> {
    stats.iter().filter_map(|(pid, info)| Some((pid.parse().ok()?, info.get("children")?.as_array()?))).flat_map(
        |(parent, children)| {
            let child = move |child: &'_ Value| child.get("pid").and_then(Value::as_i64).map(|pid| (parent, pid));
            children
                .iter()
                .filter_map(move |info| Some((child(info)?, info.as_object()?)))
                .map(|((a, b), info)| (a, b, info))
        },
    )
}

impl Plugin for ResourceWatcher {
    fn start(&mut self, client: &mut dyn Client) -> Result<(), String> {
        self.interval.begin(client.now());
        Ok(())
    }

    fn next_tick(&self) -> Option<Duration> {
        self.interval.next()
    }

    fn on_tick(&mut self, client: &mut dyn Client) {
        match client.stats(&self.watcher) {
            Ok(stats) => self.look(&stats, client),
            Err(refusal) => {
                client.warn(&format!("no figures of {}: {refusal}", self.watcher));
                self.statsd.increment(&self.bucket("error"));
            }
        }
        self.interval.pass(client.now());
    }
}

#[cfg(test)]
mod tests {
    use circus_plugin_sdk::FakeClient;

    use super::*;
    use crate::support::statsd_client::Listener;

    fn info(cpu: f64, children: &Value) -> Value {
        json!({"cpu": cpu, "mem": 1.0, "mem_info1": "10.00M", "children": children})
    }

    fn looks(settings: &[(&str, &str)], info: &Value, count: usize) -> (Vec<String>, Vec<String>) {
        let listener = Listener::new();
        let settings: Vec<_> = settings.iter().copied().chain([("watcher", "web")]).collect();
        let mut plugin = ResourceWatcher::new(&listener.settings("resource_watcher", &settings)).unwrap();
        let mut client = FakeClient::default();
        client.answer("stats", json!({"status": "ok", "info": info}));
        for _ in 0..count {
            plugin.on_tick(&mut client);
        }
        let mut sent = client.take_sent();
        sent.retain(|sent| !sent.starts_with("stats"));
        (sent, listener.lines())
    }

    #[test]
    fn the_fourth_look_in_a_row_restarts() {
        let busy = json!({"7": info(95.0, &json!([]))});
        assert_eq!(looks(&[], &busy, 3).0, [""; 0]);
        let (sent, lines) = looks(&[], &busy, 4);
        assert_eq!(sent, [r#"restart {"name":"web"}"#]);
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[0], "circus.app.watcher._resource_watcher.web.over_cpu:1|c");
        assert_eq!(lines[4], "circus.app.watcher._resource_watcher.web.restarting:1|c");
        assert_eq!(looks(&[], &busy, 8).0.len(), 2, "then it is counted anew");
    }

    #[test]
    fn watcher_without_processes_is_not_restarted() {
        let limits = [("min_cpu", "1"), ("min_mem", "1M")];
        assert_eq!(looks(&limits, &json!({}), 10).0, [""; 0]);
    }

    #[test]
    fn a_child_is_signalled_and_not_its_watcher() {
        let one = json!([{"pid": 8, "cpu": 99.0, "mem": 1.0, "mem_info1": "1.00M", "children": []}]);
        let stats = json!({"7": info(1.0, &one)});
        let settings = [("process_children", "1"), ("child_signal", "KILL")];
        let (sent, _) = looks(&settings, &stats, 4);
        assert_eq!(sent, [r#"signal {"name":"web","pid":7,"childpid":8,"signum":9}"#]);
        assert_eq!(looks(&[], &stats, 4).0, [""; 0]);
    }

    #[test]
    fn a_watcher_that_is_not_there_is_counted() {
        let listener = Listener::new();
        let mut plugin = ResourceWatcher::new(&listener.settings("resource_watcher", &[("service", "old")])).unwrap();
        plugin.on_tick(&mut FakeClient::default());
        assert_eq!(listener.lines(), ["circus.app.watcher._resource_watcher.old.error:1|c"]);
    }
}
