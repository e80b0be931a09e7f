//! Bytes to envelopes and replies to bytes: JSON as Circus writes it, or MessagePack, answered in kind.
//!
//! The first byte decides: 0x80-0x8f, 0xde and 0xdf begin a MessagePack map and can begin no JSON text. All else is
//! JSON and is answered so.

use std::io;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Body, ClientAddress, ErrNo, EventKind, Fault, Notice, Object, RunReport};
use crate::base::msgpack;

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// JSON, the protocol's own.
    Json,
    /// MessagePack.
    MessagePack,
}

/// A request's `id`, echoed unchanged: any value, kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestId {
    /// None was given: `null` is echoed.
    Absent,
    /// JSON text.
    Json(String),
    /// MessagePack bytes.
    MessagePack(Vec<u8>),
}

/// The longest id, in bytes: each reply repeats it.
const LONGEST_ID: usize = 4096;

impl RequestId {
    fn len(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Json(text) => text.len(),
            Self::MessagePack(bytes) => bytes.len(),
        }
    }
}

/// A request before its command is looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Echoed in the reply.
    pub id: RequestId,
    /// As the client spelled it.
    pub command: String,
    /// `None` where the client wrote `null`; empty where it wrote nothing.
    pub properties: Option<Object>,
    /// Whether no answer is wanted.
    pub cast: bool,
}

/// A message that could not be decoded: the fault to answer with, and the keys that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Undecodable {
    /// The reason.
    pub fault: Fault,
    /// The id where one could be read.
    pub id: RequestId,
    /// Whether no answer is wanted.
    pub cast: bool,
}

/// Decodes a request. Whatever the bytes are, the sender gets an answer that says what is wrong with them.
pub fn decode(payload: &[u8]) -> (Format, Result<Envelope, Undecodable>) {
    match payload.first() {
        Some(0x80..=0x8f | 0xde | 0xdf) => (Format::MessagePack, decode_messagepack(payload)),
        _ => (Format::Json, decode_json(payload)),
    }
}

fn refusal(errno: ErrNo, reason: &str, id: RequestId, cast: bool) -> Undecodable {
    Undecodable { fault: Fault::new(errno, reason), id, cast }
}

fn decode_json(payload: &[u8]) -> Result<Envelope, Undecodable> {
    let invalid = || refusal(ErrNo::InvalidJson, "json invalid", RequestId::Absent, false);
    let text = std::str::from_utf8(payload).map_err(|_| invalid())?.trim();
    // Two steps: what is no JSON at all is errno 1, JSON of another shape errno 3.
    let fields = match serde_json::from_str::<RawFields<'_>>(text) {
        Ok(fields) => fields,
        Err(error) if error.is_data() => {
            return match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => Err(refusal(ErrNo::Message, "the message is not an object", RequestId::Absent, false)),
                Err(_) => Err(invalid()),
            };
        }
        Err(_) => return Err(invalid()),
    };
    let value = |raw: Option<&RawValue>| raw.map(|raw| serde_json::from_str::<Value>(raw.get())).transpose();
    let id = fields.id.map_or(RequestId::Absent, |raw| RequestId::Json(raw.get().to_owned()));
    let (Ok(command), Ok(properties), Ok(kind)) =
        (value(fields.command), value(fields.properties), value(fields.msg_type))
    else {
        return Err(refusal(ErrNo::InvalidJson, "json invalid", id, false));
    };
    envelope(id, command, properties, kind)
}

fn decode_messagepack(payload: &[u8]) -> Result<Envelope, Undecodable> {
    let mut object: Object = msgpack::from_slice(payload)
        .map_err(|_| refusal(ErrNo::InvalidJson, "messagepack invalid", RequestId::Absent, false))?;
    let id = match object.remove("id") {
        None => RequestId::Absent,
        Some(id) => msgpack::to_vec(&id).map_or(RequestId::Absent, RequestId::MessagePack),
    };
    let (command, properties, kind) =
        (object.remove("command"), object.remove("properties"), object.remove("msg_type"));
    envelope(id, command, properties, kind)
}

fn envelope(
    id: RequestId,
    command: Option<Value>,
    properties: Option<Value>,
    kind: Option<Value>,
) -> Result<Envelope, Undecodable> {
    let cast = matches!(&kind, Some(Value::String(kind)) if kind == "cast");
    if id.len() > LONGEST_ID {
        let reason = format!("message invalid 'id' is longer than {LONGEST_ID} bytes");
        return Err(refusal(ErrNo::Message, &reason, RequestId::Absent, cast));
    }
    let command = match command {
        Some(Value::String(command)) => command,
        Some(_) => return Err(refusal(ErrNo::Message, "message invalid 'command' isn't a string", id, cast)),
        None => return Err(refusal(ErrNo::Message, "message invalid 'command' is missing", id, cast)),
    };
    let properties = match properties {
        None => Some(Object::new()),
        Some(Value::Null) => None,
        Some(Value::Object(properties)) => Some(properties),
        Some(_) => return Err(refusal(ErrNo::Message, "message invalid 'properties' isn't an object", id, cast)),
    };
    Ok(Envelope { id, command, properties, cast })
}

/// The top level of a request. Unknown keys are skipped, and of a repeated key the last counts, as in Python.
#[derive(Default)]
struct RawFields<'a> {
    id: Option<&'a RawValue>,
    command: Option<&'a RawValue>,
    properties: Option<&'a RawValue>,
    msg_type: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for RawFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawFields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = RawFields::default();
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    match &*key {
                        "id" => fields.id = Some(map.next_value()?),
                        "command" => fields.command = Some(map.next_value()?),
                        "properties" => fields.properties = Some(map.next_value()?),
                        "msg_type" => fields.msg_type = Some(map.next_value()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Encodes an answer in the format of its request. `time`: in seconds since the epoch.
pub fn encode_reply(client: &ClientAddress, body: &Body, time: f64) -> Vec<u8> {
    match client.format {
        Format::Json => json_reply(&client.id, body, time),
        Format::MessagePack => messagepack_reply(&client.id, body, time),
    }
}

/// An answer as a value, without an `id`.
pub fn reply_value(body: &Body, time: f64) -> Value {
    serde_json::to_value(Fields { body, time, id: None }).unwrap_or_default()
}

fn json_reply(id: &RequestId, body: &Body, time: f64) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, PythonStyle);
    let fields = Fields { body, time, id: None };
    // Serialising plain data into memory cannot fail.
    fields.serialize(&mut serializer).unwrap_or_default();
    out.pop();
    out.extend_from_slice(b", \"id\": ");
    match id {
        RequestId::Json(text) => out.extend_from_slice(ascii(text).as_bytes()),
        RequestId::Absent | RequestId::MessagePack(_) => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    out
}

fn messagepack_reply(id: &RequestId, body: &Body, time: f64) -> Vec<u8> {
    let id = match id {
        RequestId::MessagePack(bytes) => msgpack::from_slice(bytes).unwrap_or(Value::Null),
        RequestId::Absent | RequestId::Json(_) => Value::Null,
    };
    msgpack::to_vec(&Fields { body, time, id: Some(id) }).unwrap_or_default()
}

/// The text of an id with everything beyond ASCII escaped, as the rest of a reply is.
fn ascii(text: &str) -> std::borrow::Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_ascii() { out.push(c) } else { out.push_str(&escaped(c)) }
    }
    out.into()
}

fn escaped(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// A reply's object, in the reference's order of keys; `id` last (added as text in JSON).
struct Fields<'a> {
    body: &'a Body,
    time: f64,
    id: Option<Value>,
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let extra = usize::from(self.id.is_some());
        let time = self.time;
        let mut map = match self.body {
            Body::Ok(properties) => {
                let own_status = properties.contains_key("status");
                let own_time = properties.contains_key("time");
                let len = properties.len() + 2 - usize::from(own_status) - usize::from(own_time) + extra;
                let mut map = serializer.serialize_map(Some(len))?;
                if !own_status {
                    map.serialize_entry("status", "ok")?;
                }
                if !own_time {
                    map.serialize_entry("time", &time)?;
                }
                for (key, value) in properties {
                    map.serialize_entry(key, value)?;
                }
                map
            }
            Body::Error(fault) => {
                let has_details = !fault.details.is_empty();
                let has_failed = !fault.failed.is_empty();
                let more = usize::from(has_details) + usize::from(has_failed);
                let mut map = serializer.serialize_map(Some(5 + more + extra))?;
                map.serialize_entry("status", "error")?;
                map.serialize_entry("reason", &fault.reason)?;
                map.serialize_entry("tb", &())?;
                map.serialize_entry("time", &time)?;
                map.serialize_entry("errno", &(fault.errno as u8))?;
                if has_details {
                    map.serialize_entry("details", &fault.details)?;
                }
                if has_failed {
                    map.serialize_entry("failed", &fault.failed)?;
                }
                map
            }
        };
        if let Some(id) = &self.id {
            map.serialize_entry("id", id)?;
        }
        map.end()
    }
}

/// The two frames of an event: topic and JSON object.
pub fn encode_notice(notice: &Notice) -> (Vec<u8>, Vec<u8>) {
    let kind = if matches!(notice.kind, EventKind::Upgrade { .. }) { "" } else { "watcher." };
    let topic = [kind, &notice.resource, ".", notice.kind.name()].concat();
    (topic.into_bytes(), notice_body(notice))
}

/// Two for every death: so the keys, which are known, do not go through serde.
fn notice_body(notice: &Notice) -> Vec<u8> {
    let mut body = Vec::with_capacity(96);
    body.push(b'{');
    match &notice.kind {
        EventKind::Spawn { process_pid } | EventKind::Kill { process_pid } => {
            entry(&mut body, "\"process_pid\": ", process_pid);
        }
        EventKind::Ready { process_pid, wid } | EventKind::Unhealthy { process_pid, wid, .. } => {
            entry(&mut body, "\"process_pid\": ", process_pid);
            entry(&mut body, ", \"wid\": ", wid);
        }
        EventKind::Reap { process_pid, exit_code, oom } => {
            entry(&mut body, "\"process_pid\": ", process_pid);
            entry(&mut body, ", \"exit_code\": ", exit_code);
            if *oom {
                entry(&mut body, ", \"oom\": ", &true);
            }
        }
        EventKind::HookSuccess { hook } | EventKind::HookFailure { hook, .. } => {
            entry(&mut body, "\"name\": ", hook.name());
        }
        EventKind::RunBegin { trigger } => entry(&mut body, "\"trigger\": ", trigger.name()),
        EventKind::RunEnd(run) => {
            let fields = run.fields();
            let fields = fields.iter().filter(|(key, _)| *key != "reason");
            for (place, (key, value)) in fields.enumerate() {
                let key = format!("{}\"{key}\": ", if place == 0 { "" } else { ", " });
                entry(&mut body, &key, value);
            }
        }
        EventKind::Scale { before, numprocesses, .. } => {
            entry(&mut body, "\"before\": ", before);
            entry(&mut body, ", \"numprocesses\": ", numprocesses);
        }
        EventKind::Upgrade { version } => entry(&mut body, "\"version\": ", version),
        EventKind::ReloadFailed { wid, .. } => entry(&mut body, "\"wid\": ", wid),
        EventKind::Start
        | EventKind::Stop { .. }
        | EventKind::Reload
        | EventKind::Updated
        | EventKind::Add
        | EventKind::Remove => {}
    }
    let time = if body.len() > 1 { ", \"time\": " } else { "\"time\": " };
    entry(&mut body, time, &notice.time);
    if let EventKind::HookFailure { error, .. } = &notice.kind {
        entry(&mut body, ", \"error\": ", error);
    }
    if let EventKind::Stop { reason: Some(reason) }
    | EventKind::Scale { reason, .. }
    | EventKind::Unhealthy { reason, .. }
    | EventKind::RunEnd(RunReport { reason: Some(reason), .. })
    | EventKind::ReloadFailed { reason, .. } = &notice.kind
    {
        entry(&mut body, ", \"reason\": ", reason);
    }
    if let EventKind::ReloadFailed { lines, .. } = &notice.kind {
        entry(&mut body, ", \"lines\": ", lines);
    }
    body.push(b'}');
    body
}

fn entry<T: Serialize + ?Sized>(body: &mut Vec<u8>, key: &str, value: &T) {
    body.extend_from_slice(key.as_bytes());
    // A number or a text can be written, and so can a vector.
    value.serialize(&mut serde_json::Serializer::with_formatter(body, PythonStyle)).unwrap_or_default();
}

/// JSON as Python's `json.dumps` writes it: `", "` and `": "`, and nothing beyond ASCII.
struct PythonStyle;

impl serde_json::ser::Formatter for PythonStyle {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        writer.write_all(ascii(fragment).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn answer(id: RequestId, format: Format, body: Body) -> Vec<u8> {
        let client = ClientAddress { identity: vec![1], delimiter: false, id, format, redacted: false, note: None };
        encode_reply(&client, &body, 1.5)
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    fn fault(payload: &[u8]) -> (u8, String) {
        let undecodable = decode(payload).1.unwrap_err();
        (undecodable.fault.errno as u8, undecodable.fault.reason)
    }

    #[test]
    fn an_ordinary_request() {
        let (format, envelope) =
            decode(br#"  {"id": "x", "command": "List", "properties": {"name": "w"}, "more": 1} "#);
        let envelope = envelope.unwrap();
        assert_eq!((format, envelope.command.as_str(), envelope.cast), (Format::Json, "List", false));
        assert_eq!(envelope.id, RequestId::Json("\"x\"".into()));
        assert_eq!(envelope.properties.unwrap()["name"], "w");
    }

    #[test]
    fn every_malformed_message_has_an_answer() {
        for payload in [&b"{not json"[..], b"", b"   ", b"\xff\xfe\x00", br#"{"id": 1"#] {
            assert_eq!(fault(payload), (1, "json invalid".into()), "{payload:?}");
        }
        for payload in [&b"[1, 2]"[..], b"\"status\"", b"17", b"null"] {
            assert_eq!(fault(payload), (3, "the message is not an object".into()), "{payload:?}");
        }
        assert_eq!(fault(br#"{"id": "z"}"#), (3, "message invalid 'command' is missing".into()));
        assert_eq!(fault(br#"{"command": 3}"#).0, 3);
        assert_eq!(fault(br#"{"command": "list", "properties": [1]}"#).0, 3);
        assert_eq!(fault(b"\x81\xa2id"), (1, "messagepack invalid".into()));
    }

    #[test]
    fn deep_nesting_is_refused_and_not_a_stack_overflow() {
        let deep = format!(r#"{{"command": "list", "properties": {}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(fault(deep.as_bytes()).0, 1);
    }

    #[test]
    fn ids_are_echoed_unchanged() {
        for id in ["17", "{\"a\": [1, null]}", "340282366920938463463374607431768211456", "1.50"] {
            let request = format!(r#"{{"id": {id}, "command": "x"}}"#);
            let envelope = decode(request.as_bytes()).1.unwrap();
            let reply = text(answer(envelope.id, Format::Json, Body::Ok(Object::new())));
            assert_eq!(reply, format!(r#"{{"status": "ok", "time": 1.5, "id": {id}}}"#));
        }
        let accents = decode("{\"id\": \"caf\u{e9} \u{1f600}\", \"command\": \"x\"}".as_bytes()).1.unwrap();
        let reply = text(answer(accents.id, Format::Json, Body::Ok(Object::new())));
        assert_eq!(reply, r#"{"status": "ok", "time": 1.5, "id": "caf\u00e9 \ud83d\ude00"}"#);
    }

    #[test]
    fn replies_are_in_the_order_of_the_reference() {
        let mut properties = Object::new();
        properties.insert("info".into(), serde_json::json!({"b": ["caf\u{e9}", 2.0], "a": null}));
        assert_eq!(
            text(answer(RequestId::Absent, Format::Json, Body::Ok(properties))),
            r#"{"status": "ok", "time": 1.5, "info": {"b": ["caf\u00e9", 2.0], "a": null}, "id": null}"#
        );
        assert_eq!(
            text(answer(RequestId::Absent, Format::Json, Body::Error(Fault::message("program x not found")))),
            r#"{"status": "error", "reason": "program x not found", "tb": null, "time": 1.5, "errno": 3, "id": null}"#
        );
        let failed = vec![Object::from_iter([("watcher".into(), "w".into())])];
        assert_eq!(
            text(answer(RequestId::Absent, Format::Json, Body::Error(Fault { failed, ..Fault::command("w: no") }))),
            r#"{"status": "error", "reason": "w: no", "tb": null, "time": 1.5, "errno": 5, "failed": [{"watcher": "w"}], "id": null}"#
        );
        let mut status = Object::new();
        status.insert("status".into(), "active".into());
        assert_eq!(
            text(answer(RequestId::Absent, Format::Json, Body::Ok(status))),
            r#"{"time": 1.5, "status": "active", "id": null}"#
        );
    }

    #[test]
    fn messagepack_is_answered_in_kind() {
        let request = rmp_serde::to_vec_named(&serde_json::json!({"id": [1, "x"], "command": "list"})).unwrap();
        let (format, envelope) = decode(&request);
        let envelope = envelope.unwrap();
        assert_eq!((format, envelope.command.as_str()), (Format::MessagePack, "list"));
        for body in [Body::Ok(Object::new()), Body::Error(Fault::command("no"))] {
            let reply: Value = rmp_serde::from_slice(&answer(envelope.id.clone(), Format::MessagePack, body)).unwrap();
            assert_eq!(reply["id"], serde_json::json!([1, "x"]));
        }
    }

    #[test]
    fn events_have_the_keys_of_the_reference() {
        let kind = EventKind::Reap { process_pid: 7, exit_code: -9, oom: false };
        let (topic, body) = encode_notice(&Notice { resource: "my_app".into(), kind, time: 2.0 });
        assert_eq!(topic, b"watcher.my_app.reap");
        assert_eq!(text(body), r#"{"process_pid": 7, "exit_code": -9, "time": 2.0}"#);
        let (hook, error) = (crate::proto::HookPoint::AfterStart, "no broker".to_owned());
        for (kind, topic, expected) in [
            (EventKind::Stop { reason: None }, "stop", r#"{"time": 2.0}"#),
            (EventKind::Stop { reason: Some("x".into()) }, "stop", r#"{"time": 2.0, "reason": "x"}"#),
            (EventKind::HookSuccess { hook }, "hook_success", r#"{"name": "after_start", "time": 2.0}"#),
            (
                EventKind::HookFailure { hook, error },
                "hook_failure",
                r#"{"name": "after_start", "time": 2.0, "error": "no broker"}"#,
            ),
        ] {
            let (found, body) = encode_notice(&Notice { resource: "w".into(), kind, time: 2.0 });
            assert_eq!(found, format!("watcher.w.{topic}").into_bytes());
            assert_eq!(text(body), expected);
        }
        let kind = EventKind::Upgrade { version: "1.0".into() };
        let (topic, body) = encode_notice(&Notice { resource: crate::proto::CIRCUSD.into(), kind, time: 2.0 });
        let expected = r#"{"version": "1.0", "time": 2.0}"#.to_owned();
        assert_eq!((text(topic), text(body)), ("circusd.upgrade".to_owned(), expected));
    }

    proptest::proptest! {
        #[test]
        fn decoding_never_panics(payload in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            drop(decode(&payload));
        }
    }
}
