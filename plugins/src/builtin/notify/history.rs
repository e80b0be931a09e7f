//! The last messages, in a file: a JSON object in each line, the oldest first.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use circus_plugin_sdk::Settings;
use serde_json::Value;

use crate::builtin::notify::template::Facts;

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    file: Option<PathBuf>,
    most: usize,
    lines: VecDeque<String>,
}

impl History {
    /// Goes on with what the file has.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let (file, most) = (settings.text("history").map(PathBuf::from), settings.needed_number("history_size")?);
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let mut new = Self { file, most, lines: text.lines().map(str::to_owned).collect() };
        new.bound();
        Ok(new)
    }

    fn bound(&mut self) {
        while self.lines.len() > self.most {
            self.lines.pop_front();
        }
    }

    /// Adds a message. The file is replaced as a whole, so that it is never cut off.
    pub(super) fn add(&mut self, facts: &Facts, left_out: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut line = facts.json();
        if let Some(line) = line.as_object_mut() {
            line.insert("time".into(), now().into());
            line.insert("left_out".into(), left_out.into());
        }
        self.lines.push_back(Value::to_string(&line));
        let file = file.clone();
        self.bound();
        let mut new = file.clone().into_os_string();
        new.push(".new");
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&new, text)?;
        std::fs::rename(new, file)
    }
}

#[expect(clippy::disallowed_methods, reason = "the history is for people, who want the clock on the wall")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_bounded_and_outlives_the_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history");
        let settings = Settings::new([("history", file.to_str().unwrap()), ("history_size", "3")]);
        let facts = |count| Facts {
            watcher: "w".into(),
            state: "failed",
            text: String::new(),
            count,
            lines: Vec::new(),
            signal: None,
            lived: None,
        };
        for count in 0..5 {
            // Each time another plugin.
            History::new(&settings).unwrap().add(&facts(count), 0).unwrap();
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let counts: Vec<u64> =
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["count"].as_u64().unwrap()).collect();
        assert_eq!(counts, [2, 3, 4]);
    }
}
