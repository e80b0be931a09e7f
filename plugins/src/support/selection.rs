//! Which watchers and which events a plugin applies to.

use std::collections::HashMap;

use circus_core::proto::Signal;
use circus_plugin_sdk::{Client, Settings};
use regex::Regex;

/// Watchers by a pattern that their names begin with; never plugins, nor programs that circusd runs for itself.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pattern: Regex,
    /// The watchers that there were at the last question, by name in lower case: whether they are circusd's own.
    internal: HashMap<String, bool>,
}

impl Selection {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        anchored(settings, "watchers_regex").map(|pattern| Self { pattern, internal: HashMap::new() })
    }

    pub(crate) fn contains(&mut self, watcher: &str, client: &mut dyn Client) -> bool {
        !watcher.starts_with("plugin:") && self.pattern.is_match(watcher) && self.is_of_user(watcher, client)
    }

    /// Whether it is known not to be circusd's own.
    fn is_of_user(&mut self, watcher: &str, client: &mut dyn Client) -> bool {
        let name = watcher.to_lowercase();
        if !self.internal.contains_key(&name) {
            match client.internal_by_name() {
                Ok(internal) => self.internal = internal,
                // It is asked again the next time.
                Err(refusal) => client.warn(&format!("{watcher} is left out, as its origin cannot be read: {refusal}")),
            }
        }
        self.internal.get(&name) == Some(&false)
    }
}

/// A pattern that has to match from the beginning of a text.
pub(crate) fn anchored(settings: &Settings, key: &str) -> Result<Regex, String> {
    let text = settings.text(key).unwrap_or(".*");
    // A multi-line error would be several lines of the log.
    Regex::new(&format!("^(?:{text})"))
        .map_err(|error| format!("{key}: '{text}' is not a regular expression: {}", last_line(&error.to_string())))
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text)
}

/// A signal by its name or number, where one is written.
pub(crate) fn signal(settings: &Settings, key: &str) -> Result<Option<Signal>, String> {
    let Some(text) = settings.text(key) else { return Ok(None) };
    let signal = Signal::parse(text).ok().filter(|signal| signal.exists());
    signal.map(Some).ok_or_else(|| format!("{key}: '{text}' is not a signal"))
}

/// Events by their kinds; all of them where none is named.
#[derive(Clone, Debug)]
pub(crate) struct Kinds(Vec<String>);

impl Kinds {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self(settings.list("events"))
    }

    pub(crate) fn contain(&self, kind: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|selection| selection == kind)
    }
}

#[cfg(test)]
mod tests {
    use circus_plugin_sdk::FakeClient;
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_match_from_the_beginning() {
        let mut client = FakeClient::default();
        let statuses = json!({"web-1": "active", "my-web": "active", "plugin:x": "active"});
        client.answer("status", json!({"status": "ok", "statuses": statuses}));
        let mut selection = Selection::new(&Settings::new([("watchers_regex", "web|plugin")])).unwrap();
        for (name, is_selected) in [("web-1", true), ("my-web", false), ("plugin:x", false)] {
            assert_eq!(selection.contains(name, &mut client), is_selected, "{name}");
        }
        let error = Selection::new(&Settings::new([("watchers_regex", "(")])).unwrap_err();
        assert!(error.starts_with("watchers_regex: '(' is not a regular expression: error: unclosed"), "{error}");
    }

    #[test]
    fn watchers_of_circusd_itself_are_never_selected() {
        let mut client = FakeClient::default();
        let statuses = json!({"Any-Name": "active", "web": "active"});
        let details = json!({"Any-Name": {"origin": "internal"}, "web": {"state": "active"}});
        client.answer("status", json!({"status": "ok", "statuses": statuses, "details": details}));
        let mut selection = Selection::new(&Settings::default()).unwrap();
        assert!(!selection.contains("any-name", &mut client) && !selection.contains("any-name", &mut client));
        assert!(selection.contains("web", &mut client));
        assert_eq!(client.take_sent(), [r#"status {"verbose":true}"#], "it is asked once for all");
    }

    #[test]
    fn watcher_of_unknown_origin_is_not_selected() {
        let mut client = FakeClient::default();
        client.answer("status", json!({"status": "error", "reason": "no answer"}));
        client.answer("status", json!({"status": "ok", "statuses": {"old": "active"}}));
        client.answer("status", json!({"status": "ok", "statuses": {"old": "active", "new": "active"}}));
        let mut selection = Selection::new(&Settings::default()).unwrap();
        assert_eq!([(); 3].map(|()| selection.contains("new", &mut client)), [false, false, true]);
        assert_eq!(client.take_said(), ["new is left out, as its origin cannot be read: no answer"]);
        assert!(selection.contains("old", &mut client) && selection.contains("new", &mut client));
        assert_eq!(client.take_sent().len(), 3, "each unknown name is asked about");
    }
}
