//! Sends statsd the figures of each watcher's processes.

use std::time::Duration;

use circus_plugin_sdk::{Client, Plugin, Settings};
use serde_json::Value;

use crate::builtin::{Registration, boxed};
use crate::support::interval::Interval;
use crate::support::process_metrics::ProcessMetrics;
use crate::support::statsd_client::StatsdClient;

pub(super) const PLUGIN: Registration =
    Registration { name: "full_stats", make: |context| boxed(FullStats::new(&context.settings)) };

/// The plugin.
#[derive(Debug)]
struct FullStats {
    statsd: StatsdClient,
    interval: Interval,
}

impl FullStats {
    fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self { statsd: StatsdClient::new(settings)?, interval: Interval::new(settings.seconds("loop_rate")?) })
    }
}

impl Plugin for FullStats {
    fn start(&mut self, client: &mut dyn Client) -> Result<(), String> {
        self.interval.begin(client.now());
        Ok(())
    }

    fn next_tick(&self) -> Option<Duration> {
        self.interval.next()
    }

    fn on_tick(&mut self, client: &mut dyn Client) {
        match client.all_stats() {
            Err(refusal) => {
                client.warn(&format!("no statistics: {refusal}"));
                self.statsd.increment("_stats.error");
            }
            Ok(infos) => {
                for (watcher, info) in infos.iter().filter(|(watcher, _)| !watcher.starts_with("plugin:")) {
                    for (figure, value) in figures(info) {
                        self.statsd.gauge(&format!("_stats.{watcher}.{figure}"), value);
                    }
                }
            }
        }
        self.interval.pass(client.now());
    }
}

/// The figures of a watcher. A process that has just exited has no figures, and adds nothing.
fn figures(info: &Value) -> Vec<(&'static str, f64)> {
    let entries = || info.as_object().into_iter().flatten();
    let processes = || entries().filter_map(|(_, process)| process.as_object());
    let mut told = Vec::new();
    if let Some(count) = entries().find(|(key, _)| *key == "spawn_count").and_then(|(_, count)| count.as_f64()) {
        told.push(("spawn_count", count));
    }
    told.push(("watchers_num", processes().count() as f64));
    let metrics: Vec<ProcessMetrics> = processes().map(ProcessMetrics::of).collect();
    type Figure = fn(&ProcessMetrics) -> Option<f64>;
    let of_each: [(Figure, _, _); 3] = [
        (|process| process.cpu, "cpu_max", "cpu_sum"),
        (|process| process.percent, "mem_pct_max", "mem_pct_sum"),
        (|process| process.bytes, "mem_max", "mem_sum"),
    ];
    for (value, greatest, sum) in of_each {
        let values: Vec<f64> = metrics.iter().filter_map(value).collect();
        if let Some(most) = values.iter().copied().reduce(f64::max) {
            told.extend([(greatest, most), (sum, values.iter().sum())]);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use circus_plugin_sdk::FakeClient;
    use serde_json::json;

    use super::*;
    use crate::support::statsd_client::Listener;

    #[test]
    fn figures_of_a_watcher() {
        let info = json!({
            "1": {"cpu": 1.5, "mem": 0.5, "mem_info1": "1.00M"},
            "2": {"cpu": 0.5, "mem": 0.25, "mem_info1": "512B"},
            "3": {"cpu": "N/A", "mem": "N/A", "mem_info1": "N/A"},
            "spawn_count": 7
        });
        assert_eq!(
            figures(&info),
            [
                ("spawn_count", 7.0),
                ("watchers_num", 3.0),
                ("cpu_max", 1.5),
                ("cpu_sum", 2.0),
                ("mem_pct_max", 0.5),
                ("mem_pct_sum", 0.75),
                ("mem_max", 1_048_576.0),
                ("mem_sum", 1_049_088.0)
            ]
        );
        assert_eq!(figures(&json!({})), [("watchers_num", 0.0)]);
    }

    #[test]
    fn plugins_are_left_out_and_a_refusal_is_counted() {
        let listener = Listener::new();
        let mut plugin = FullStats::new(&listener.settings("full_stats", &[("loop_rate", "2")])).unwrap();
        let mut client = FakeClient::default();
        client.answer("stats", json!({"status": "ok", "infos": {"web": {}, "plugin:x": {}}}));
        client.answer("stats", json!({"status": "error", "reason": "no", "errno": 5}));
        plugin.start(&mut client).unwrap();
        assert_eq!(plugin.next_tick(), Some(Duration::from_secs(2)));
        plugin.on_tick(&mut client);
        assert_eq!(listener.lines(), ["circus.app.watcher._stats.web.watchers_num:0|g"]);
        plugin.on_tick(&mut client);
        assert_eq!(listener.lines(), ["circus.app.watcher._stats.error:1|c"]);
    }
}
