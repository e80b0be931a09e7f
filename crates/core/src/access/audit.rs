//! What the audit log tells of a request: which client wanted what, and what came of it. Values of options, arguments and
//! environments are no part of it, nor are the reasons of errors, which may quote them.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::LocalPeer;
use crate::config::LogFormat;
use crate::escape::escaped;
use crate::proto::{Body, Envelope, ErrNo};

/// A text of a client's is cut after so many characters.
const LONGEST_TEXT: usize = 256;
/// So many names of options are told of.
const MOST_OPTIONS: usize = 64;

/// A request and its client, until it is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    command: String,
    /// The watcher, or the pattern of watchers, or the program of an upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The names of the options that are set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
    /// The key or the entry of `ipc_roles` that the client is known by.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditResult {
    /// It was answered so.
    Answered(Option<ErrNo>),
    /// It is carried out, and its client wants no answer.
    Accepted,
    /// The client may not have it.
    Denied(String),
}

impl AuditResult {
    /// Of an answer.
    pub fn of(body: &Body) -> Self {
        Self::Answered(match body {
            Body::Ok(_) => None,
            Body::Error(fault) => Some(fault.errno),
        })
    }
}

impl Audited {
    /// Of a request that came from this client, whose address is told where it is no process of this machine.
    pub fn new(envelope: &Envelope, by: Option<&str>, process: Option<LocalPeer>, address: Option<&str>) -> Self {
        let property = |name: &str| envelope.properties.as_ref().and_then(|properties| properties.get(name));
        let text = |name: &str| property(name).and_then(Value::as_str).map(cut);
        let options = property("options").and_then(Value::as_object);
        Self {
            command: cut(&envelope.command),
            target: text("name").or_else(|| text("program")),
            options: options.into_iter().flat_map(Map::keys).take(MOST_OPTIONS).map(|key| cut(key)).collect(),
            by: by.map(cut),
            uid: process.map(|process| process.uid),
            pid: process.map(|process| process.pid),
            address: address.filter(|_| process.is_none()).map(cut),
        }
    }

    /// As text, to wait with a request for its answer.
    pub fn note(&self) -> Box<str> {
        serde_json::to_string(self).unwrap_or_default().into()
    }

    /// From that text.
    pub fn of_note(note: &str) -> Self {
        serde_json::from_str(note).unwrap_or_default()
    }

    /// The line, without its time: `key=value`, or what an object has behind its brace.
    pub fn line(&self, result: &AuditResult, format: LogFormat) -> String {
        let mut fields: Vec<(&str, Value)> = vec![("command", self.command.as_str().into())];
        fields.extend(self.target.as_deref().map(|target| ("target", target.into())));
        if !self.options.is_empty() {
            let options = match format {
                LogFormat::Text => self.options.join(",").into(),
                LogFormat::Json => self.options.clone().into(),
            };
            fields.push(("options", options));
        }
        fields.extend(self.by.as_deref().map(|by| ("by", by.into())));
        fields.extend(self.uid.map(|uid| ("uid", uid.into())));
        fields.extend(self.pid.map(|pid| ("pid", pid.into())));
        fields.extend(self.address.as_deref().map(|address| ("address", address.into())));
        let (word, more): (_, Option<(&str, Value)>) = match result {
            AuditResult::Answered(None) => ("ok", None),
            AuditResult::Answered(Some(errno)) => ("error", Some(("errno", (*errno as u8).into()))),
            AuditResult::Accepted => ("accepted", None),
            AuditResult::Denied(reason) => ("denied", Some(("reason", cut(reason).into()))),
        };
        fields.push(("result", word.into()));
        fields.extend(more);
        let mut line = String::new();
        for (key, value) in fields {
            // Writing to a String cannot fail.
            let _written = match (format, &value) {
                (LogFormat::Json, _) => write!(line, ",\"{key}\":{value}"),
                (LogFormat::Text, Value::String(text)) if is_plain(text) => write!(line, " {key}={text}"),
                (LogFormat::Text, value) => write!(line, " {key}={value}"),
            };
        }
        line
    }
}

/// Whether a text needs no quotes.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/,@*?".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

/// What a client may have chosen is cut, and drives no terminal.
fn cut(text: &str) -> String {
    escaped(text).chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::{Fault, RequestId};

    fn envelope(command: &str, properties: &Value) -> Envelope {
        Envelope {
            id: RequestId::Absent,
            command: command.into(),
            properties: properties.as_object().cloned(),
            cast: false,
        }
    }

    #[test]
    fn line_has_names_and_no_values() {
        let properties = json!({
            "name": "web 1", "waiting": true,
            "options": {"cmd": "serve --password secret", "env": {"TOKEN": "secret"}, "args": ["secret"]},
        });
        let process = LocalPeer { uid: 1000, gid: 100, pid: 4711 };
        let audited = Audited::new(&envelope("set", &properties), Some("alice"), Some(process), Some("localhost:1"));
        let audited = Audited::of_note(&audited.note());
        let error = AuditResult::of(&Body::Error(Fault::message("'secret' is no number")));
        assert_eq!(
            audited.line(&error, LogFormat::Text),
            " command=set target=\"web 1\" options=cmd,env,args by=alice uid=1000 pid=4711 result=error errno=3"
        );
        assert_eq!(
            audited.line(&AuditResult::of(&Body::Ok(Map::new())), LogFormat::Json),
            ",\"command\":\"set\",\"target\":\"web 1\",\"options\":[\"cmd\",\"env\",\"args\"],\"by\":\"alice\",\
             \"uid\":1000,\"pid\":4711,\"result\":\"ok\""
        );
    }

    #[test]
    fn nothing_of_a_client_forges_a_line() {
        let properties =
            json!({"name": format!("a\nresult=ok\u{1b}[2J\u{202e}\" x={}", "y".repeat(1000)), "options": {"k\n": 1}});
        let audited = Audited::new(&envelope("rm", &properties), None, None, Some("10.0.0.1"));
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = audited.line(&AuditResult::Denied("no\n\u{7}".into()), format);
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
            assert!(line.len() < 1000 && line.contains("10.0.0.1") && line.contains("denied"), "{line}");
        }
        let text = audited.line(&AuditResult::Accepted, LogFormat::Text);
        assert!(text.starts_with(" command=rm target=\"a\\\\nresult=ok\\\\u001b[2J\\\\u202e\\\" x=yyy"), "{text}");
        assert!(text.ends_with(" options=\"k\\\\n\" address=10.0.0.1 result=accepted"), "{text}");
    }
}
