//! A complete plugin in Rust: it counts the exits of each watcher's workers and logs the counts at intervals. Its section is
//! `[plugin:counter]` with `cmd = target/debug/examples/counter` and, optionally, `every = 10`.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use circus_plugin_sdk::{Client, Event, Plugin, main as plugin_main};

struct Counter {
    every: Duration,
    next: Duration,
    deaths: BTreeMap<String, u32>,
}

impl Plugin for Counter {
    fn on_event(&mut self, event: &Event, _client: &mut dyn Client) {
        if event.kind == "reap" {
            *self.deaths.entry(event.watcher.clone()).or_default() += 1;
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        Some(self.next)
    }

    fn on_tick(&mut self, client: &mut dyn Client) {
        self.next = client.now() + self.every;
        client.info(&format!("deaths: {:?}", self.deaths));
    }
}

fn main() -> ExitCode {
    plugin_main(|context| {
        let every = Duration::from_secs_f64(context.settings.number("every")?.unwrap_or(10.0));
        Ok(Box::new(Counter { every, next: every, deaths: BTreeMap::new() }))
    })
}
