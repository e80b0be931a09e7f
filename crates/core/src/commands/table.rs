//! The table of commands, and the way from an envelope to a request.

use crate::proto::{Envelope, ErrNo, Fault, Object, Request};

use super::python::quoted;
use super::{
    CommandSpec, add, decr, dstats, enable, get, globaloptions, incr, kill, list, listen, listsockets, numprocesses,
    numwatchers, options, props, quit, reload, reloadconfig, reopenlogs, restart, rm, run, set, signal, start, stats,
    status, stop, tail, upgrade, wait, why,
};

/// Every command, in alphabetical order.
pub const COMMANDS: &[CommandSpec] = &[
    add::SPEC,
    decr::SPEC,
    enable::DISABLE,
    dstats::SPEC,
    enable::ENABLE,
    get::SPEC,
    globaloptions::SPEC,
    incr::SPEC,
    kill::SPEC,
    list::SPEC,
    listen::SPEC,
    listsockets::SPEC,
    numprocesses::SPEC,
    numwatchers::SPEC,
    options::SPEC,
    quit::SPEC,
    reload::SPEC,
    reloadconfig::SPEC,
    reopenlogs::SPEC,
    restart::SPEC,
    rm::SPEC,
    run::SPEC,
    set::SPEC,
    signal::SPEC,
    start::SPEC,
    stats::SPEC,
    status::SPEC,
    stop::SPEC,
    tail::SPEC,
    upgrade::SPEC,
    wait::SPEC,
    why::SPEC,
];

/// The command of this name, in any case.
pub fn find(name: &str) -> Option<&'static CommandSpec> {
    // Folded as Unicode would, so that no spelling that the reference accepts is lost; longer names are not ours.
    let name = name.to_lowercase();
    COMMANDS.iter().find(|spec| spec.name == name)
}

/// Turns an envelope into a request, or says what is wrong with it.
pub fn decode(envelope: &Envelope) -> Result<Request, Fault> {
    let Some(spec) = find(&envelope.command) else {
        let reason = format!("unknown command: {}", quoted(&envelope.command));
        return Err(Fault::new(ErrNo::UnknownCommand, reason));
    };
    match &envelope.properties {
        Some(properties) => decode_properties(spec, properties),
        None if spec.all_properties().next().is_none() => decode_properties(spec, &Object::new()),
        None => Err(Fault::command("'properties' is null where an object is expected")),
    }
}

fn decode_properties(spec: &CommandSpec, properties: &Object) -> Result<Request, Fault> {
    let missing = spec.properties.iter().find(|property| property.required && !properties.contains_key(property.name));
    match missing {
        Some(property) => Err(props::missing(property.name)),
        None => (spec.decode)(properties),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::commands::{Action, command_help};
    use crate::proto::RequestId;

    fn envelope(command: &str, properties: Option<Object>) -> Envelope {
        Envelope { id: RequestId::Absent, command: command.into(), properties, cast: false }
    }

    fn refused(command: &str, properties: Value) -> (u8, String) {
        let properties = match properties {
            Value::Object(properties) => Some(properties),
            _ => None,
        };
        let fault = decode(&envelope(command, properties)).unwrap_err();
        (fault.errno as u8, fault.reason)
    }

    #[test]
    fn the_table_is_in_order_and_documented() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        for spec in COMMANDS {
            let texts = [spec.summary, spec.doc.purpose, spec.doc.reply, spec.doc.example];
            assert!(texts.iter().all(|text| !text.is_empty()), "{}", spec.name);
            assert!(!spec.summary.contains('\n') && !spec.summary.ends_with('.'), "{}", spec.name);
            assert!(spec.doc.purpose.ends_with('.') && spec.doc.reply.ends_with('.'), "{}", spec.name);
            assert!(spec.properties.iter().all(|property| property.doc.ends_with('.')), "{}", spec.name);
            assert!(spec.properties.iter().all(|property| property.name != "waiting"), "{}", spec.name);
            let help = command_help(spec);
            assert!(spec.all_properties().all(|property| help.contains(property.name)), "{}", spec.name);
        }
    }

    #[test]
    fn every_example_message_decodes_with_documented_properties() {
        for spec in COMMANDS {
            let message: Object = serde_json::from_str(spec.doc.message).unwrap();
            assert_eq!(message["command"], spec.name);
            let properties = message["properties"].as_object().unwrap();
            for key in properties.keys() {
                assert!(spec.all_properties().any(|property| property.name == key), "{} {key}", spec.name);
            }
            let decoded = decode(&envelope(spec.name, Some(properties.clone())));
            match spec.console.action {
                Action::Call { .. } => assert!(decoded.is_ok(), "{}: {decoded:?}", spec.name),
                Action::Subscribe | Action::Await => assert!(decoded.is_err(), "{}", spec.name),
            }
            let answer: Object = serde_json::from_str(spec.doc.answer).unwrap();
            assert!(answer.contains_key("status"), "{}", spec.name);
        }
    }

    #[test]
    fn each_required_property_is_missed_by_name() {
        for spec in COMMANDS {
            let mut given = Object::new();
            for property in spec.properties.iter().filter(|property| property.required) {
                let expected = (3, format!("message invalid '{}' is missing", property.name));
                assert_eq!(refused(spec.name, Value::Object(given.clone())), expected);
                given.insert(property.name.into(), json!("x"));
            }
        }
    }

    #[test]
    fn commands_are_found_in_any_case() {
        for name in ["numwatchers", "NumWatchers", "NUMWATCHERS"] {
            assert_eq!(decode(&envelope(name, Some(Object::new()))), Ok(Request::NumWatchers));
        }
    }

    #[test]
    fn unknown_commands_are_quoted_as_python_does() {
        for (name, shown) in [
            ("nonsense", "'nonsense'"),
            ("It's", "\"It's\""),
            ("a'b\"c", r#"'a\'b"c'"#),
            ("café", "'café'"),
            ("a\nb", r"'a\nb'"),
            ("", "''"),
        ] {
            assert_eq!(refused(name, json!({})), (2, format!("unknown command: {shown}")));
        }
    }

    #[test]
    fn null_properties_serve_commands_that_have_none() {
        assert_eq!(decode(&envelope("numwatchers", None)), Ok(Request::NumWatchers));
        assert_eq!(decode(&envelope("listsockets", None)), Ok(Request::ListSockets));
        for name in ["list", "options", "quit", "status", "stop"] {
            let (errno, reason) = refused(name, Value::Null);
            assert_eq!((errno, reason.as_str()), (5, "'properties' is null where an object is expected"), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn decoding_never_panics(
            name in "[a-z]{2,8}|.{0,12}",
            key in "[a-z_]{0,8}",
            text in ".{0,12}",
            n in proptest::num::f64::ANY,
        ) {
            for value in [json!(text), json!(n), json!([text]), json!({"a": n}), Value::Null, json!(true)] {
                for spec in COMMANDS {
                    let mut properties: Object =
                        spec.all_properties().map(|property| (property.name.to_owned(), value.clone())).collect();
                    properties.insert(key.clone(), value.clone());
                    drop(decode(&envelope(spec.name, Some(properties))));
                }
                drop(decode(&envelope(&name, None)));
            }
        }
    }
}
