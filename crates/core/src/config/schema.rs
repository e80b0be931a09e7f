//! The JSON schema of a configuration in JSON or TOML, made from the tables of options.
//!
//! It is of draft 2020-12. An option that is no text takes the type that the control protocol gives it, and a text that is
//! read as in a file.

use serde_json::{Map, Value, json};

use super::options::{CIRCUS_OPTIONS, Kind, SOCKET_OPTIONS, WATCHER_OPTIONS};

/// The schema, as an object.
pub fn schema() -> Value {
    let circus = CIRCUS_OPTIONS.iter().map(|option| row(option.key, option.kind, option.doc, option.default));
    let sockets = SOCKET_OPTIONS.iter().map(|option| row(option.key, option.kind, option.doc, option.default));
    let rows = WATCHER_OPTIONS.iter().filter(|option| !option.key.ends_with('*'));
    let rows = rows.map(|option| row(option.key, option.kind, option.doc, option.default));
    let families = WATCHER_OPTIONS.iter().filter_map(|option| Some((option.key.strip_suffix('*')?, option)));
    let families = families.map(|(start, option)| {
        let (_, value) = row(option.key, option.kind, option.doc, option.default);
        (format!("^{}", start.replace('.', "\\.")), value)
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A configuration of circusd in JSON or TOML",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            // Editors write it.
            "$schema": {"type": "string"},
            "circus": object(circus.collect()),
            "watchers": items("watcher"),
            "sockets": items("socket"),
            "plugins": items("plugin"),
            "slots": items("slots"),
        },
        "$defs": {
            // An unknown option is kept for plugins and clients, as in Circus.
            "watcher": {
                "type": "object",
                "properties": name().into_iter().chain(rows).collect::<Map<_, _>>(),
                "patternProperties": families.collect::<Map<_, _>>(),
            },
            "socket": object(name().into_iter().chain(sockets).collect()),
            "plugin": {
                "type": "object",
                "properties": {"use": {"type": "string", "description": "The plugin: its name or its class."}},
                "required": ["use"],
            },
            "slots": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "values": value(Kind::Names)},
                "required": ["values"],
                "additionalProperties": false,
            },
        },
    })
}

/// The key that items of a list have.
fn name() -> [(String, Value); 1] {
    [("name".to_owned(), json!({"type": "string"}))]
}

fn object(properties: Map<String, Value>) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

/// Items of this definition: a list of them with names, or an object by their names.
fn items(of: &str) -> Value {
    let reference = format!("#/$defs/{of}");
    json!({"anyOf": [
        {"type": "object", "additionalProperties": {"$ref": reference, "not": {"required": ["name"]}}},
        {"type": "array", "items": {"$ref": reference, "required": ["name"]}},
    ]})
}

fn row(key: &str, kind: Kind, doc: &str, default: &str) -> (String, Value) {
    let mut value = value(kind);
    value["description"] = doc.into();
    if !default.is_empty() {
        value["default"] = kind.read(default).unwrap_or_else(|_| default.into());
    }
    (key.to_owned(), value)
}

/// What an option of this kind may be.
fn value(kind: Kind) -> Value {
    let words = |words: &[&str]| json!({"enum": words});
    match kind {
        Kind::Text | Kind::StreamKey => json!({"type": ["string", "number", "boolean"]}),
        Kind::Bool => json!({"type": ["boolean", "string", "integer"]}),
        Kind::Respawn => json!({"type": ["boolean", "string"]}),
        Kind::Orphans => words(&["end", "keep"]),
        Kind::Reload => words(&["overlap", "exclusive", "hup"]),
        Kind::Propagate => words(&["restart", "stop", "none"]),
        Kind::OneOf(known) => words(known.all),
        Kind::Codes => json!({"type": ["integer", "string", "array"], "items": {"type": "integer"}}),
        Kind::Int | Kind::Octal | Kind::Signal | Kind::Account => json!({"type": ["integer", "string"]}),
        Kind::Seconds | Kind::WholeSeconds => json!({"type": ["number", "string"]}),
        Kind::Args | Kind::Names => json!({"type": ["string", "array"], "items": {"type": "string"}}),
        Kind::Env => json!({"type": "object", "additionalProperties": {"type": ["string", "null"]}}),
        Kind::Within(first, last) => {
            json!({"type": ["integer", "string", "null"], "minimum": first, "maximum": last})
        }
        Kind::Limit => json!({"type": ["integer", "string", "null"]}),
        Kind::Stream | Kind::Hooks => json!({"type": "object"}),
        Kind::Hook => json!({"type": ["string", "array"]}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_there_with_its_type() {
        let schema = schema();
        let watcher = &schema["$defs"]["watcher"];
        for option in WATCHER_OPTIONS {
            let row = match option.key.strip_suffix('*') {
                Some(start) => &watcher["patternProperties"][format!("^{}", start.replace('.', "\\."))],
                None => &watcher["properties"][option.key],
            };
            assert_eq!(row["description"], option.doc, "{}", option.key);
            assert!(row["type"].is_array() || row["type"].is_string() || row["enum"].is_array(), "{}", option.key);
        }
        for option in CIRCUS_OPTIONS {
            assert_eq!(schema["properties"]["circus"]["properties"][option.key]["description"], option.doc);
        }
        assert_eq!(watcher["properties"]["numprocesses"]["default"], 1);
        assert_eq!(watcher["properties"]["kind"]["enum"], json!(["service", "oneshot", "cron"]));
        assert!(watcher["patternProperties"]["^rlimit_"].is_object());
    }

    #[test]
    fn defaults_and_examples_are_of_their_types() {
        let is_of = |value: &Value, schema: &Value| match &schema["enum"] {
            Value::Array(words) => words.contains(value),
            _ => {
                let types: Vec<&str> = match &schema["type"] {
                    Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
                    single => single.as_str().into_iter().collect(),
                };
                types.contains(&match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(number) if number.is_f64() => "number",
                    Value::Number(_) if types.contains(&"number") => "number",
                    Value::Number(_) => "integer",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                })
            }
        };
        let rows = WATCHER_OPTIONS.iter().map(|option| (option.key, option.kind, option.default, option.example));
        for (key, kind, default, example) in rows.filter(|(_, kind, ..)| !matches!(kind, Kind::Stream | Kind::Hooks)) {
            for text in [default, example].into_iter().filter(|text| !text.is_empty()) {
                if let Ok(read) = kind.read(text) {
                    assert!(is_of(&read, &value(kind)), "{key}: {read}");
                }
            }
        }
    }
}
