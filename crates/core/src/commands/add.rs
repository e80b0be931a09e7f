//! `add`

use serde_json::Value;

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console,
    props, python, show,
};
use crate::escape::unfit_for_a_name;
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "add",
    summary: "Add a watcher",
    doc: Doc {
        purpose: "Adds a watcher. It stays stopped unless start is true. The watcher exists until it is removed or \
                  circusd ends; no file is changed.",
        reply: "With start and waiting: the pids of the processes that were started.",
        message: r#"{"command": "add", "properties": {"name": "web", "cmd": "python -m http.server", "options": {"numprocesses": 2}, "start": true, "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "started": [4711, 4712], "kept": []}"#,
        example: "add --start web sleep 60",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name. Names are unique, regardless of case."),
        PropertySpec::required("cmd", Kind::Text, "The command. Without args it also has the arguments."),
        PropertySpec::optional(
            "args",
            Kind::Words,
            "The arguments. A string is split into words as by a shell; a list is taken as it is.",
        ),
        PropertySpec::optional("options", Kind::Object, "Options of the watcher, as for set."),
        PropertySpec::optional("start", Kind::Boolean, "Start the watcher at once; default false."),
    ],
    waiting: Waiting::Up,
    role: Role::Admin,
    decode,
    console: ConsoleSpec::call(
        "NAME CMD...",
        &[ConsoleOption::flag("start", "Start the watcher at once.")],
        message,
        show::ok,
    )
    .taking_a_command(),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    let name = props::text(properties, "name")?;
    if name.is_empty() {
        return Err(Fault::message("'name' is empty: a watcher needs a name"));
    }
    if let Some(character) = unfit_for_a_name(&name) {
        let shown = character.escape_unicode();
        return Err(Fault::message(format!("'name' has a character that names cannot have: {shown}")));
    }
    Ok(Request::Add {
        name,
        cmd: props::text(properties, "cmd")?,
        args: args(properties)?,
        options: props::options(properties)?.unwrap_or_default(),
        start: props::flag(properties, "start", false),
        waiting: props::flag(properties, "waiting", false),
    })
}

/// A string, or a list of strings; numbers in a list are written out.
fn args(properties: &Object) -> Result<Option<Value>, Fault> {
    match props::given(properties, "args") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str().into())),
        Some(Value::Array(list)) => list.iter().map(word).collect::<Result<Vec<_>, _>>().map(|list| Some(list.into())),
        Some(_) => Err(Fault::command("'args' isn't a string or a list")),
    }
}

fn word(value: &Value) -> Result<Value, Fault> {
    match value {
        Value::String(_) | Value::Number(_) => Ok(python::display(value).into()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(Fault::command(format!("'args' should hold strings, not {}", python::repr(value))))
        }
    }
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let [name, cmd @ ..] = invocation.words() else {
        return Err(UsageError::arguments());
    };
    if cmd.is_empty() {
        return Err(UsageError::arguments());
    }
    let mut properties = console::named(name);
    properties.insert("cmd".into(), cmd.join(" ").into());
    console::put_flags(&mut properties, invocation, &["start"]);
    Ok(properties)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_cannot_forge_a_line_or_drive_a_terminal() {
        use crate::commands::testing::refused;
        for name in ["a\nb", "a\x1b[2J", "a\0", "a\r", "a\u{9b}", "a\u{202e}b", "a\tb"] {
            let fault = refused(&super::SPEC, serde_json::json!({"name": name, "cmd": "x"}));
            assert!(fault.1.starts_with("'name' has a character that names cannot have: \\u{"), "{}", fault.1);
        }
    }

    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent};

    #[test]
    fn on_the_wire() {
        let add = |args, options: Value, start, waiting| Request::Add {
            name: "n".into(),
            cmd: "c".into(),
            args,
            options: options.as_object().cloned().unwrap(),
            start,
            waiting,
        };
        assert_eq!(decoded(&SPEC, json!({"name": "n", "cmd": "c"})), add(None, json!({}), false, false));
        let full = json!({"name": "n", "cmd": "c", "args": ["a b", 1], "options": {"shell": true},
                          "start": 1, "waiting": true});
        assert_eq!(decoded(&SPEC, full), add(Some(json!(["a b", "1"])), json!({"shell": true}), true, true));
        assert_eq!(
            decoded(&SPEC, json!({"name": "n", "cmd": "c", "args": "x y"})),
            add(Some(json!("x y")), json!({}), false, false)
        );
        assert_eq!(decoded(&SPEC, json!({"name": "n", "cmd": "c", "args": null})), add(None, json!({}), false, false));
    }

    #[test]
    fn refusals() {
        for (properties, errno, reason) in [
            (json!({"cmd": "x"}), 3, "message invalid 'name' is missing"),
            (json!({"name": "n"}), 3, "message invalid 'cmd' is missing"),
            (json!({"name": "", "cmd": "x"}), 3, "'name' is empty: a watcher needs a name"),
            (json!({"name": 5, "cmd": "x"}), 5, "'name' isn't a string"),
            (json!({"name": "n", "cmd": ["x"]}), 5, "'cmd' isn't a string"),
            (json!({"name": "n", "cmd": "x", "args": 5}), 5, "'args' isn't a string or a list"),
            (json!({"name": "n", "cmd": "x", "args": [[1]]}), 5, "'args' should hold strings, not [1]"),
            (json!({"name": "n", "cmd": "x", "options": []}), 3, "'options' property should be an object"),
            (json!({"name": "n", "cmd": "x", "options": null}), 3, "'options' property should be an object"),
        ] {
            assert_eq!(refused(&SPEC, properties), (errno, reason.into()));
        }
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::new(["new", "sleep", "2001"])), json!({"name": "new", "cmd": "sleep 2001"}));
        assert_eq!(
            sent(&SPEC, Invocation::new(["new", "sleep 1"]).with_flag("start").with_flag("waiting")),
            json!({"name": "new", "cmd": "sleep 1", "start": true, "waiting": true})
        );
        expect_usage(&SPEC, &[], "Invalid number of arguments");
        expect_usage(&SPEC, &["x"], "Invalid number of arguments");
    }
}
