//! `options`

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console,
    props, show,
};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "options",
    summary: "Show all options of a watcher",
    doc: Doc {
        purpose: "Reads the options of a watcher: all options of Circus, the options new in this circusd that are \
                  set, and the keys that only plugins use. circus.ini(5) describes them. env is the environment that \
                  the workers get, with what virtualenv adds.",
        reply: "The options and their values, in the order of their names.",
        message: r#"{"command": "options", "properties": {"name": "web"}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "options": {"cmd": "sleep 60", "graceful_timeout": 30.0, "numprocesses": 2}}"#,
        example: "options web",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name."),
        PropertySpec::optional(
            "all",
            Kind::Boolean,
            "Include options that are not set, with their defaults; default false.",
        ),
    ],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call(
        "NAME...",
        &[ConsoleOption::flag("all", "Include options that are not set, with their defaults.")],
        message,
        show::option_lines,
    )
    .naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Options {
        name: props::text(properties, "name")?,
        all: props::flag(properties, "all", false),
        env: None,
    })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    // The words of this one refusal differ from all others in Circus too.
    let mut properties = console::name(invocation).map_err(|_| UsageError("number of arguments invalid".into()))?;
    console::put_flags(&mut properties, invocation, &["all"]);
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn asked_and_shown() {
        let options = |all| Request::Options { name: "one".into(), all, env: None };
        assert_eq!(decoded(&SPEC, json!({"name": "one", "extra": 1})), options(false));
        assert_eq!(decoded(&SPEC, json!({"name": "one", "all": true})), options(true));
        assert_eq!(sent(&SPEC, Invocation::new(["a1"]).with_flag("all")), json!({"name": "a1", "all": true}));
        assert_eq!(refused(&SPEC, json!({})), (3, "message invalid 'name' is missing".into()));
        assert_eq!(sent(&SPEC, Invocation::new(["a1"])), json!({"name": "a1"}));
        expect_usage(&SPEC, &[], "number of arguments invalid");
        let reply = json!({"options": {"cmd": "sleep 1001", "uid": null, "shell": false, "warmup_delay": 0}});
        assert_eq!(shown(&SPEC, &["a1"], reply), "cmd: sleep 1001\nuid: \nshell: False\nwarmup_delay: 0");
    }
}
