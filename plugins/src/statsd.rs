//! Counts every event at statsd.

use circus_plugin_sdk::{Circus, Event, Plugin, Settings};

use crate::statsd_client::StatsdClient;

/// The plugin.
#[derive(Debug)]
pub(crate) struct StatsdEmitter(StatsdClient);

impl StatsdEmitter {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        StatsdClient::new(settings).map(Self)
    }
}

impl Plugin for StatsdEmitter {
    fn on_event(&mut self, event: &Event, _circus: &mut dyn Circus) {
        self.0.increment(&format!("{}.{}", event.watcher, event.kind));
    }
}

#[cfg(test)]
mod tests {
    use circus_plugin_sdk::FakeCircus;
    use serde_json::json;

    use super::*;
    use crate::statsd_client::Listener;

    #[test]
    fn an_event_is_a_count() {
        let listener = Listener::new();
        let mut plugin = StatsdEmitter::new(&listener.settings("statsd", &[])).unwrap();
        let mut circus = FakeCircus::default();
        for watcher in ["web", "plugin:x"] {
            let event = circus.event(watcher, "reap", json!({"process_pid": 1}));
            plugin.on_event(&event, &mut circus);
        }
        assert_eq!(listener.lines(), ["circus.app.watcher.web.reap:1|c", "circus.app.watcher.plugin_x.reap:1|c"]);
    }
}
