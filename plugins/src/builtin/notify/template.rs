//! The text of a message: a template whose names are replaced.

use serde_json::{Value, json};

/// What a message tells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) watcher: String,
    /// `failed`, `still fails` or `is back to normal`.
    pub(super) state: &'static str,
    pub(super) text: String,
    /// How often it has failed.
    pub(super) count: u64,
    /// What the worker has printed last.
    pub(super) lines: Vec<String>,
    /// The signal that ended it.
    pub(super) signal: Option<String>,
    /// For how many seconds it had run.
    pub(super) lived: Option<f64>,
}

impl Facts {
    /// For the history.
    pub(super) fn json(&self) -> Value {
        let Self { watcher, state, text, count, lines, signal, lived } = self;
        json!({"watcher": watcher, "state": state, "text": text, "count": count, "signal": signal, "lived": lived, "lines": lines})
    }

    fn value(&self, name: &str, host: &str) -> Option<String> {
        Some(match name {
            "watcher" => self.watcher.clone(),
            "state" => self.state.to_owned(),
            "text" => self.text.clone(),
            "count" => self.count.to_string(),
            "lines" => self.lines.join("\n"),
            "signal" => self.signal.clone().unwrap_or_default(),
            "lived" => self.lived.map(|seconds| format!("{seconds:.1}")).unwrap_or_default(),
            "host" => host.to_owned(),
            _ => return None,
        })
    }
}

const NAMES: [&str; 8] = ["watcher", "state", "text", "count", "lines", "signal", "lived", "host"];

/// What stands in a message.
#[derive(Debug)]
enum Part {
    Text(String),
    Name(String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
    host: String,
    /// Values are escaped as in strings of JSON.
    is_json: bool,
}

/// What services for messages take.
const USUAL_JSON: &str = r#"{"text": "$(host): $(watcher) $(state): $(text)\n$(lines)"}"#;
const USUAL: &str = "$(host): $(watcher) $(state): $(text)\n$(lines)";

impl Template {
    pub(super) fn new(text: Option<&str>, is_json: bool) -> Result<Self, String> {
        let text = text.unwrap_or(if is_json { USUAL_JSON } else { USUAL });
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("$(") {
            let (name, behind) = after.split_once(')').unwrap_or((after, ""));
            if !NAMES.contains(&name) {
                let names: Vec<String> = NAMES.iter().map(|name| format!("$({name})")).collect();
                return Err(format!("template: '$({name})' is none of {}", names.join(", ")));
            }
            parts.extend([Part::Text(before.to_owned()), Part::Name(name.to_owned())]);
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self { parts, host: host.trim().to_owned(), is_json })
    }

    /// The message. Of those that were left out before, the text says so.
    pub(super) fn fill(&self, facts: &Facts, left_out: u64) -> String {
        let more = if left_out > 0 { format!(" ({left_out} messages were left out)") } else { String::new() };
        let value = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Name(name) => self.escaped(&facts.value(name, &self.host).unwrap_or_default()),
        };
        let text: String = self.parts.iter().map(value).collect();
        if !self.is_json {
            return text.trim_end().to_owned() + &more;
        }
        // Behind the last text, so that what is sent stays an object.
        let has_text = self.parts.iter().any(|part| matches!(part, Part::Name(name) if name == "text"));
        if more.is_empty() || !has_text {
            return text;
        }
        let told = Facts { text: facts.text.clone() + &more, ..facts.clone() };
        self.fill(&told, 0)
    }

    fn escaped(&self, text: &str) -> String {
        if !self.is_json {
            return text.to_owned();
        }
        let quoted = Value::from(text).to_string();
        quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            watcher: "my \"web\"".into(),
            state: "failed",
            text: "died".into(),
            count: 2,
            lines: vec!["no table".into(), "bye\\".into()],
            signal: Some("SIGSEGV".into()),
            lived: Some(0.25),
        }
    }

    #[test]
    fn names_are_replaced() {
        let template =
            Template::new(Some("$(watcher) $(state): $(text), $(count), $(signal) $(lived)s $"), false).unwrap();
        assert_eq!(template.fill(&facts(), 0), "my \"web\" failed: died, 2, SIGSEGV 0.2s $");
        assert_eq!(Template::new(Some("x"), false).unwrap().fill(&facts(), 3), "x (3 messages were left out)");
    }

    #[test]
    fn what_is_sent_as_json_is_json_whatever_workers_print() {
        let message = Template::new(None, true).unwrap().fill(&facts(), 7);
        let message: Value = serde_json::from_str(&message).unwrap();
        let text = message["text"].as_str().unwrap();
        assert!(text.ends_with(": my \"web\" failed: died (7 messages were left out)\nno table\nbye\\"), "{text}");
    }
}
