//! `enable` and `disable`

use serde_json::Value;

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console,
    props, selection,
};
use crate::proto::{Fault, Object, Request};

const PROPERTIES: &[PropertySpec] = &[
    PropertySpec::required("name", Kind::Text, "The watcher's name, or a pattern."),
    PropertySpec::optional("match", Kind::Text, "How the name matches: glob (the default), regex or simple."),
    PropertySpec::optional("now", Kind::Boolean, "Also start the watchers, or stop them; default false."),
];

const OPTIONS: &[ConsoleOption] = &[
    ConsoleOption::value("match", "M", "How NAME matches: glob (the default), regex or simple."),
    ConsoleOption::flag("now", "Also start the watchers, or stop them."),
];

pub(super) const ENABLE: CommandSpec = CommandSpec {
    name: "enable",
    summary: "Let watchers start with circusd",
    doc: Doc {
        purpose: "Lets watchers start when circusd starts, whatever autostart says in the file, also after circusd was \
                  started anew where [circus] has a state_file. It starts nothing now, unless --now says so.",
        reply: "remembered: whether it outlives circusd, which it does with a state_file. With now the answer is that of \
                start.",
        message: r#"{"command": "enable", "properties": {"name": "web"}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "remembered": true}"#,
        example: "enable web --now",
    },
    properties: PROPERTIES,
    waiting: Waiting::Up,
    role: Role::Operate,
    decode: |properties| decode(properties, true),
    console: ConsoleSpec::call("NAME...", OPTIONS, message, show).naming(console::every),
};

pub(super) const DISABLE: CommandSpec = CommandSpec {
    name: "disable",
    summary: "Keep watchers from starting with circusd",
    doc: Doc {
        purpose: "Keeps watchers from starting when circusd starts, when all watchers are started, and at a connection \
                  (on_demand), whatever autostart says in the file, also after circusd was started anew where [circus] \
                  has a state_file. Workers that run go on, unless --now says so. start with the watcher's name starts it \
                  all the same, and it stays disabled.",
        reply: "remembered: whether it outlives circusd, which it does with a state_file. With now the answer is that of \
                stop.",
        message: r#"{"command": "disable", "properties": {"name": "web", "now": true, "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "remembered": true}"#,
        example: "disable web --now",
    },
    properties: PROPERTIES,
    waiting: Waiting::Done,
    role: Role::Operate,
    decode: |properties| decode(properties, false),
    console: ConsoleSpec::call("NAME...", OPTIONS, message, show).naming(console::every),
};

fn decode(properties: &Object, enabled: bool) -> Result<Request, Fault> {
    let selection = selection::decode(properties)?.ok_or_else(|| props::missing("name"))?;
    let (now, waiting) = (props::flag(properties, "now", false), props::flag(properties, "waiting", false));
    Ok(Request::Enable { selection, enabled, now, waiting })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = selection::message(invocation)?;
    if !properties.contains_key("name") {
        return Err(UsageError::arguments());
    }
    console::put_flags(&mut properties, invocation, &["now"]);
    Ok(properties)
}

fn show(reply: &Value, _invocation: &Invocation) -> String {
    match reply.get("remembered") {
        Some(Value::Bool(false)) => "ok, until circusd ends: [circus] has no state_file".into(),
        _ => "ok".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, sent, shown};
    use crate::proto::{MatchMethod, Selection};

    #[test]
    fn asked_and_shown() {
        for (spec, enabled) in [(&ENABLE, true), (&DISABLE, false)] {
            let selection = Selection { name: "web".into(), method: MatchMethod::Glob };
            let request = Request::Enable { selection, enabled, now: true, waiting: false };
            assert_eq!(decoded(spec, json!({"name": "web", "now": true})), request);
            assert_eq!(sent(spec, Invocation::new(["web"]).with_flag("now")), json!({"name": "web", "now": true}));
            expect_usage(spec, &[], "Invalid number of arguments");
            assert_eq!(shown(spec, &["web"], json!({"status": "ok", "remembered": true})), "ok");
            let told = shown(spec, &["web"], json!({"status": "ok", "remembered": false}));
            assert_eq!(told, "ok, until circusd ends: [circus] has no state_file");
        }
    }
}
