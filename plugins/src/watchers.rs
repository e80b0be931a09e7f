//! Which watchers and which events a plugin is about.

use circus_core::proto::Signal;
use circus_plugin_sdk::Settings;
use regex::Regex;

/// Watchers by a pattern that their names begin with. Plugins and the programs of circusd itself are never meant.
#[derive(Clone, Debug)]
pub(crate) struct Chosen(Regex);

/// What circusd runs for its own ends.
const OURS: [&str; 2] = ["circusd-stats", "circushttpd"];

impl Chosen {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        anchored(settings, "watchers_regex").map(Self)
    }

    pub(crate) fn contain(&self, watcher: &str) -> bool {
        !watcher.starts_with("plugin:") && !OURS.contains(&watcher) && self.0.is_match(watcher)
    }
}

/// A pattern that has to match from the beginning of a text.
pub(crate) fn anchored(settings: &Settings, key: &str) -> Result<Regex, String> {
    let text = settings.text(key).unwrap_or(".*");
    // A multi-line error would be several lines of the log.
    Regex::new(&format!("^(?:{text})"))
        .map_err(|error| format!("{key}: '{text}' is no pattern: {}", last_line(&error.to_string())))
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text)
}

/// A signal by its name or number, where one is written.
pub(crate) fn signal(settings: &Settings, key: &str) -> Result<Option<Signal>, String> {
    let Some(text) = settings.text(key) else { return Ok(None) };
    let signal = Signal::parse(text).ok().filter(|signal| signal.exists());
    signal.map(Some).ok_or_else(|| format!("{key}: '{text}' is no signal"))
}

/// Events by their kinds; all of them where none is named.
#[derive(Clone, Debug)]
pub(crate) struct Kinds(Vec<String>);

impl Kinds {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self(settings.list("events"))
    }

    pub(crate) fn contain(&self, kind: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|chosen| chosen == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_from_the_beginning_and_never_a_plugin() {
        let chosen = Chosen::new(&Settings::new([("watchers_regex", "web|plugin")])).unwrap();
        assert!(chosen.contain("web-1") && !chosen.contain("my-web") && !chosen.contain("plugin:x"));
        let all = Chosen::new(&Settings::default()).unwrap();
        assert!(all.contain("any") && !all.contain("circusd-stats"));
        let error = Chosen::new(&Settings::new([("watchers_regex", "(")])).unwrap_err();
        assert!(error.starts_with("watchers_regex: '(' is no pattern: error: unclosed group"), "{error}");
    }
}
