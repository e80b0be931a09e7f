//! What the keys of a stream mean. In a file every value is text; on the wire it may be a number or a boolean as well.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{StreamConfig, python};

/// `rotate_when`: what a TimedRotatingFileStream counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RotateWhen {
    /// `S`
    Second,
    /// `M`
    Minute,
    /// `H`
    Hour,
    /// `D`: 24 hours from when the file was begun.
    Day,
    /// `MIDNIGHT`: the end of each day.
    Midnight,
    /// `W0` (Monday) to `W6`: the end of this day of each week.
    Weekday(u8),
}

impl RotateWhen {
    fn parse(text: &str) -> Option<Self> {
        let text = python::trim(text).to_ascii_uppercase();
        match text.as_str() {
            "S" => Some(Self::Second),
            "M" => Some(Self::Minute),
            "H" => Some(Self::Hour),
            "D" => Some(Self::Day),
            "MIDNIGHT" => Some(Self::Midnight),
            _ => text.strip_prefix('W').and_then(weekday).map(Self::Weekday),
        }
    }
}

/// A piece of `prefix`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrefixPart {
    /// As it stands.
    Text(String),
    /// `$(name)`: the watcher's name.
    Name,
    /// `$(wid)`: the worker's number.
    Wid,
    /// `$(pid)`: the worker's pid.
    Pid,
    /// `$(stream)`: stdout or stderr.
    Stream,
    /// `$(time)`: the time, as `time_format` says.
    Time,
}

/// What a prefix may name.
const PREFIX_NAMES: [(&str, PrefixPart); 5] = [
    ("$(name)", PrefixPart::Name),
    ("$(wid)", PrefixPart::Wid),
    ("$(pid)", PrefixPart::Pid),
    ("$(stream)", PrefixPart::Stream),
    ("$(time)", PrefixPart::Time),
];

fn prefix_parts(text: &str) -> Result<Vec<PrefixPart>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$(") {
        if !before.is_empty() {
            parts.push(PrefixPart::Text(before.to_owned()));
        }
        let end = after.find(')').map_or(after.len(), |at| at + 1);
        let (name, behind) = after.split_at_checked(end).unwrap_or((after, ""));
        let known = PREFIX_NAMES.iter().find(|(known, _)| known.strip_prefix("$(") == Some(name));
        let Some((_, part)) = known else {
            let names: Vec<&str> = PREFIX_NAMES.iter().map(|(name, _)| *name).collect();
            return Err(format!("prefix: '$({name}' is none of {}", names.join(", ")));
        };
        parts.push(part.clone());
        rest = behind;
    }
    // A file cannot have a blank at the end of a value.
    let end = if rest.is_empty() || !rest.ends_with(char::is_whitespace) { " " } else { "" };
    parts.push(PrefixPart::Text(format!("{rest}{end}")));
    Ok(parts)
}

fn weekday(digit: &str) -> Option<u8> {
    digit.parse().ok().filter(|day| digit.len() == 1 && *day <= 6)
}

/// Values, by their keys. Errors name the key and what is wrong with its value.
impl StreamConfig {
    /// A text; an empty one is none.
    pub fn text(&self, key: &str) -> Result<Option<&str>, String> {
        match self.options.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(other) => Err(format!("{key}: {} is not a text", python::repr(other))),
        }
    }

    /// A whole number.
    pub fn whole(&self, key: &str, default: i64) -> Result<i64, String> {
        let read = match self.options.get(key) {
            None | Some(Value::Null) => return Ok(default),
            Some(Value::String(text)) => python::int(text).ok(),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
        };
        read.ok_or_else(|| format!("{key}: {} is not a whole number", self.shown(key)))
    }

    /// A whole number of which the negative ones mean 0.
    pub fn size(&self, key: &str) -> Result<u64, String> {
        Ok(u64::try_from(self.whole(key, 0)?).unwrap_or(0))
    }

    /// A boolean; without one, no.
    pub fn flag(&self, key: &str) -> Result<bool, String> {
        let read = match self.options.get(key) {
            None | Some(Value::Null) => Some(false),
            Some(Value::Bool(flag)) => Some(*flag),
            Some(Value::String(text)) if text.is_empty() => Some(false),
            Some(Value::String(text)) => python::boolean(text),
            Some(Value::Number(number)) => number.as_i64().map(|number| number != 0),
            Some(Value::Array(_) | Value::Object(_)) => None,
        };
        read.ok_or_else(|| format!("{key}: {} is not a boolean (yes or no)", self.shown(key)))
    }

    /// `prefix`, in pieces. A blank follows it.
    pub fn prefix(&self) -> Result<Option<Vec<PrefixPart>>, String> {
        self.text("prefix")?.map(prefix_parts).transpose()
    }

    /// Whether `format` is json.
    pub fn is_json(&self) -> Result<bool, String> {
        match self.text("format")?.map(python::trim) {
            None | Some("text") => Ok(false),
            Some("json") => Ok(true),
            Some(other) => Err(format!("format: '{other}' is neither text nor json")),
        }
    }

    /// `rotate_when`, which has no default.
    pub fn rotate_when(&self) -> Result<RotateWhen, String> {
        const CHOICE: &str = "S, M, H, D, MIDNIGHT or W0 to W6";
        let text = self.text("rotate_when")?.ok_or_else(|| format!("rotate_when is missing; write {CHOICE}"))?;
        RotateWhen::parse(text).ok_or_else(|| format!("rotate_when: '{text}' is not {CHOICE}"))
    }

    /// `rotate_interval`: so many of what `rotate_when` counts.
    pub fn rotate_interval(&self) -> Result<i64, String> {
        let interval = self.whole("rotate_interval", 1)?;
        if interval > 0 { Ok(interval) } else { Err(format!("rotate_interval: {interval} is less than 1")) }
    }

    fn shown(&self, key: &str) -> String {
        python::repr(self.options.get(key).unwrap_or(&Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(key: &str, value: Value) -> StreamConfig {
        StreamConfig { class: "FileStream".into(), options: [(key.to_owned(), value)].into() }
    }

    #[test]
    fn numbers_are_read_from_files_and_from_the_wire() {
        for (value, means) in [(json!("25"), 25), (json!(25), 25), (json!(" 1_000 "), 1000), (json!(null), 7)] {
            assert_eq!(with("k", value).whole("k", 7), Ok(means));
        }
        assert_eq!(with("k", json!("-3")).size("k"), Ok(0));
        assert_eq!(with("k", json!("ten")).size("k"), Err("k: 'ten' is not a whole number".into()));
        assert_eq!(with("k", json!(true)).size("k"), Err("k: True is not a whole number".into()));
        assert_eq!(with("k", json!(1.5)).size("k"), Err("k: 1.5 is not a whole number".into()));
    }

    #[test]
    fn the_text_false_is_false() {
        for (value, means) in [
            (json!("False"), false),
            (json!("no"), false),
            (json!(""), false),
            (json!(null), false),
            (json!(0), false),
            (json!("True"), true),
            (json!(true), true),
            (json!(1), true),
        ] {
            assert_eq!(with("utc", value).flag("utc"), Ok(means));
        }
        assert_eq!(with("utc", json!("GMT")).flag("utc"), Err("utc: 'GMT' is not a boolean (yes or no)".into()));
    }

    #[test]
    fn prefix_is_read_in_pieces() {
        let parts = |text: &str| with("prefix", json!(text)).prefix();
        let text = |text: &str| PrefixPart::Text(text.into());
        assert_eq!(parts("$(name)[$(wid)]"), Ok(Some(vec![PrefixPart::Name, text("["), PrefixPart::Wid, text("] ")])));
        assert_eq!(parts("> "), Ok(Some(vec![text("> ")])), "it has its blank");
        assert_eq!(parts("$(time)"), Ok(Some(vec![PrefixPart::Time, text(" ")])));
        assert_eq!(parts(""), Ok(None));
        for wrong in ["$(", "$(wid", "$(WID)", "$(é)", "$()"] {
            assert!(parts(wrong).is_err_and(|error| error.starts_with("prefix: '$(")), "{wrong}");
        }
    }

    #[test]
    fn rotate_when_is_read_in_any_case() {
        for (text, means) in [
            ("S", RotateWhen::Second),
            ("m", RotateWhen::Minute),
            ("h", RotateWhen::Hour),
            ("D", RotateWhen::Day),
            ("midnight", RotateWhen::Midnight),
            ("W0", RotateWhen::Weekday(0)),
            ("w6", RotateWhen::Weekday(6)),
        ] {
            assert_eq!(with("rotate_when", json!(text)).rotate_when(), Ok(means));
        }
        for text in ["W", "W7", "W+1", "W01", "hourly", "WX"] {
            let error = format!("rotate_when: '{text}' is not S, M, H, D, MIDNIGHT or W0 to W6");
            assert_eq!(with("rotate_when", json!(text)).rotate_when(), Err(error));
        }
        let error = with("rotate_when", json!("")).rotate_when().unwrap_err();
        assert_eq!(error, "rotate_when is missing; write S, M, H, D, MIDNIGHT or W0 to W6");
    }

    #[test]
    fn an_interval_that_never_ends_or_never_begins_is_refused() {
        assert_eq!(with("rotate_interval", json!("2")).rotate_interval(), Ok(2));
        for interval in [0, -1] {
            let error = format!("rotate_interval: {interval} is less than 1");
            assert_eq!(with("rotate_interval", json!(interval)).rotate_interval(), Err(error));
        }
    }
}
