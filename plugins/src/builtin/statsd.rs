//! Counts every event at statsd.

use circus_plugin_sdk::{Client, Event, Plugin, Settings};

use crate::builtin::{Registration, boxed};
use crate::support::statsd_client::StatsdClient;

pub(super) const PLUGIN: Registration =
    Registration { name: "statsd", make: |context| boxed(StatsdEmitter::new(&context.settings)) };

/// The plugin.
#[derive(Debug)]
struct StatsdEmitter(StatsdClient);

impl StatsdEmitter {
    fn new(settings: &Settings) -> Result<Self, String> {
        StatsdClient::new(settings).map(Self)
    }
}

impl Plugin for StatsdEmitter {
    fn on_event(&mut self, event: &Event, _client: &mut dyn Client) {
        self.0.increment(&format!("{}.{}", event.watcher, event.kind));
    }
}

#[cfg(test)]
mod tests {
    use circus_plugin_sdk::FakeClient;
    use serde_json::json;

    use super::*;
    use crate::support::statsd_client::Listener;

    #[test]
    fn an_event_is_a_count() {
        let listener = Listener::new();
        let mut plugin = StatsdEmitter::new(&listener.settings("statsd", &[])).unwrap();
        let mut client = FakeClient::default();
        for watcher in ["web", "plugin:x"] {
            let event = client.event(watcher, "reap", json!({"process_pid": 1}));
            plugin.on_event(&event, &mut client);
        }
        assert_eq!(listener.lines(), ["circus.app.watcher.web.reap:1|c", "circus.app.watcher.plugin_x.reap:1|c"]);
    }
}
