//! `set`

use serde_json::Value;

use super::{
    CommandSpec, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console, props, python,
    show,
};
use crate::config::options::{self, WATCHER_OPTIONS};
use crate::config::suggestion;
use crate::proto::{Fault, Object, Request, Signal};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "set",
    summary: "Change options of a watcher",
    doc: Doc {
        purpose: "Changes options of a watcher. All values are checked before any is applied. If a change needs new \
                  processes, the watcher is reloaded gracefully. If the new processes do not come up, the old ones go \
                  on running, but the watcher keeps the new values. No file is changed.",
        reply: "No further keys.",
        message: r#"{"command": "set", "properties": {"name": "web", "options": {"numprocesses": 3, "graceful_timeout": 2.5}, "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0}"#,
        example: "set web numprocesses 3 graceful_timeout 2.5 --waiting",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name."),
        PropertySpec::required("options", Kind::Object, "The options and their new values; see circus.ini(5)."),
    ],
    waiting: Waiting::Up,
    role: Role::Admin,
    decode,
    console: ConsoleSpec::call("NAME KEY VALUE [KEY VALUE...]", &[], message, show::ok).naming(console::first),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    let name = props::text(properties, "name")?;
    let options = props::options(properties)?.ok_or_else(|| props::missing("options"))?;
    Ok(Request::Set { name, options, waiting: props::flag(properties, "waiting", false) })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let [name, pairs @ ..] = invocation.words() else {
        return Err(UsageError::arguments());
    };
    let (pairs, rest) = pairs.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(UsageError::arguments());
    }
    let mut options = Object::new();
    for [key, text] in pairs {
        let key = key.to_lowercase();
        let value = console_value(&key, text)?;
        options.insert(key, value);
    }
    let mut properties = console::named(name);
    properties.insert("options".into(), options.into());
    Ok(properties)
}

/// An option's value from its text, typed as the wire wants it.
fn console_value(key: &str, text: &str) -> Result<Value, UsageError> {
    match options::find(key) {
        Some((spec, _)) => typed(spec.kind, key, text),
        // An option of a plugin: only the daemon knows them all.
        None if key.contains('.') => Ok(text.into()),
        None => {
            let hint = suggestion(key, WATCHER_OPTIONS.iter().map(|spec| spec.key));
            Err(UsageError(format!("unknown key {}{hint}", python::quoted(key))))
        }
    }
}

fn typed(kind: options::Kind, key: &str, text: &str) -> Result<Value, UsageError> {
    use options::Kind;
    match kind {
        Kind::Int => console::integer(text, key).and_then(|number| count(key, number)),
        Kind::Seconds | Kind::WholeSeconds => console::number(text, key).and_then(|number| at_least_0(key, number)),
        Kind::Bool => boolean(text, key),
        Kind::Respawn if text.trim().eq_ignore_ascii_case("on-failure") => Ok("on-failure".into()),
        Kind::Respawn => boolean(text, key),
        Kind::Reload if text.trim().is_empty() => Ok(Value::Null),
        Kind::Orphans | Kind::Reload | Kind::Propagate => Ok(text.trim().to_lowercase().into()),
        Kind::Signal => {
            console::check_signal(text)?;
            if text.contains(',') {
                return kind.read(text).map_err(|error| UsageError(format!("{key}: {error}")));
            }
            let signal = Signal::parse(text).map_err(|_| UsageError(format!("{key}: '{text}' isn't a signal")))?;
            Ok(signal.0.into())
        }
        Kind::Account => Ok(text.parse::<u32>().map_or_else(|_| text.into(), Value::from)),
        Kind::Env => environment(text),
        Kind::Limit | Kind::Within(..) if text.trim().is_empty() => Ok(Value::Null),
        Kind::Limit | Kind::Within(..) => console::integer(text, key),
        Kind::Stream | Kind::Hooks => object(key, text),
        Kind::Octal | Kind::OneOf(_) => kind.read(text).map_err(|error| UsageError(format!("{key}: {error}"))),
        Kind::Text | Kind::Args | Kind::Names | Kind::Codes | Kind::StreamKey | Kind::Hook => Ok(text.into()),
    }
}

/// The wire takes a negative number of workers as 0, as the original does; at a console it is a slip, and would end all.
fn count(key: &str, number: Value) -> Result<Value, UsageError> {
    if key == "numprocesses" { at_least_0(key, number) } else { Ok(number) }
}

fn at_least_0(key: &str, number: Value) -> Result<Value, UsageError> {
    if number.as_f64().is_some_and(|number| number < 0.0) {
        return Err(UsageError(format!("{key}: {number} is less than 0")));
    }
    Ok(number)
}

fn boolean(text: &str, key: &str) -> Result<Value, UsageError> {
    python::boolean(text).map(Value::from).ok_or_else(|| UsageError(format!("{key}: '{text}' isn't a boolean")))
}

fn object(key: &str, text: &str) -> Result<Value, UsageError> {
    let object = serde_json::from_str::<Object>(text);
    object.map(Value::Object).map_err(|error| UsageError(format!("{key}: not a JSON object: {error}")))
}

/// `K=V,K2=V2`, as `options` shows an environment, or a JSON object where a value has a comma.
fn environment(text: &str) -> Result<Value, UsageError> {
    let text = text.trim();
    if text.starts_with('{') {
        return object("env", text);
    }
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), Value::from(value))),
        None => Err(UsageError(format!("env: '{pair}' isn't NAME=VALUE"))),
    });
    pairs.collect::<Result<Object, _>>().map(Value::Object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn on_the_wire() {
        let set = |options: Value, waiting| Request::Set {
            name: "a1".into(),
            options: options.as_object().cloned().unwrap(),
            waiting,
        };
        assert_eq!(decoded(&SPEC, json!({"name": "a1", "options": {}})), set(json!({}), false));
        assert_eq!(
            decoded(&SPEC, json!({"name": "a1", "options": {"zork": 1}, "waiting": true})),
            set(json!({"zork": 1}), true)
        );
        for (properties, reason) in [
            (json!({"options": {}}), "message invalid 'name' is missing"),
            (json!({"name": "a1"}), "message invalid 'options' is missing"),
            (json!({"name": "a1", "options": "x"}), "'options' property should be an object"),
            (json!({"name": "a1", "options": ["a"]}), "'options' property should be an object"),
            (json!({"name": "a1", "options": null}), "'options' property should be an object"),
        ] {
            assert_eq!(refused(&SPEC, properties), (3, reason.into()));
        }
    }

    #[test]
    fn values_are_typed_by_their_key() {
        for (key, text, value) in [
            ("numprocesses", "2", json!(2)),
            ("max_retry", "-1", json!(-1)),
            ("graceful_timeout", "2", json!(2.0)),
            ("warmup_delay", "0.5", json!(0.5)),
            ("send_hup", "True", json!(true)),
            ("autostart", "off", json!(false)),
            ("respawn", "no", json!(false)),
            ("respawn", "On-Failure", json!("on-failure")),
            ("success_codes", "0, 3", json!("0, 3")),
            ("stop_signal", "INT", json!(2)),
            ("stop_signal", "sigusr1", json!(10)),
            ("stop_signal", "term,60:quit", json!("TERM, 60:QUIT")),
            ("uid", "daemon", json!("daemon")),
            ("gid", "2", json!(2)),
            ("cmd", "sleep 1", json!("sleep 1")),
            ("args", "12", json!("12")),
            ("env", "A=1,B=two words", json!({"A": "1", "B": "two words"})),
            ("env", "A=b=c", json!({"A": "b=c"})),
            ("env", "", json!({})),
            ("env", r#"{"A": "1,2"}"#, json!({"A": "1,2"})),
            ("rlimit_nofile", "500", json!(500)),
            ("rlimit_core", "", json!(null)),
            ("hooks.before_start", "a.b", json!("a.b")),
            ("stdout_stream.filename", "/tmp/x", json!("/tmp/x")),
            ("flapping.window", "3", json!("3")),
        ] {
            assert_eq!(console_value(key, text), Ok(value), "{key} {text}");
        }
    }

    #[test]
    fn every_option_can_be_set_from_its_example() {
        for spec in WATCHER_OPTIONS {
            let key = spec.key.replace("hooks.*", "hooks.before_start").replace(".*", ".filename");
            let key = key.replace("rlimit_*", "rlimit_nofile");
            let value = console_value(&key, spec.example).unwrap();
            assert_eq!(spec.kind.check(&key, &value), Ok(()), "{key}");
        }
    }

    #[test]
    fn values_that_do_not_fit() {
        for (key, text, reason) in [
            ("zork", "1", "unknown key 'zork'"),
            ("numproceses", "1", "unknown key 'numproceses'; did you mean 'numprocesses'?"),
            ("hooks", "a.b", "hooks: not a JSON object: expected value at line 1 column 1"),
            ("up", "1", "unknown key 'up'"),
            ("numprocesses", "x", "numprocesses: 'x' isn't an integer"),
            ("graceful_timeout", "soon", "graceful_timeout: 'soon' isn't a number"),
            ("graceful_timeout", "inf", "graceful_timeout: 'inf' isn't a number"),
            ("shell", "maybe", "shell: 'maybe' isn't a boolean"),
            ("stop_signal", "FOO", "stop_signal: 'FOO' isn't a signal"),
            ("stop_signal", "TERM,QUIT", "stop_signal: 'QUIT' needs the seconds before it, as in 60:QUIT"),
            ("env", "A", "env: 'A' isn't NAME=VALUE"),
            ("rlimit_nofile", "many", "rlimit_nofile: 'many' isn't an integer"),
        ] {
            assert_eq!(console_value(key, text), Err(UsageError(reason.into())), "{key} {text}");
        }
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(
            sent(&SPEC, Invocation::new(["a1", "NumProcesses", "3", "graceful_timeout", "2.5"]).with_flag("waiting")),
            json!({"name": "a1", "options": {"numprocesses": 3, "graceful_timeout": 2.5}, "waiting": true})
        );
        for words in [&[] as &[&str], &["a1"], &["a1", "numprocesses"], &["a1", "cmd", "x", "args"]] {
            expect_usage(&SPEC, words, "Invalid number of arguments");
        }
        expect_usage(&SPEC, &["a1", "zork", "1"], "unknown key 'zork'");
        expect_usage(&SPEC, &["a1", "numprocesses", "-1"], "numprocesses: -1 is less than 0");
        expect_usage(&SPEC, &["a1", "graceful_timeout", "-3"], "graceful_timeout: -3.0 is less than 0");
        expect_usage(&SPEC, &["a1", "stop_signal", "99"], "'99' isn't a signal: the numbers are 1 to 64");
        assert_eq!(shown(&SPEC, &["a1"], json!({"status": "ok"})), "ok");
    }
}
