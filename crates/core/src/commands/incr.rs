//! `incr`

use super::{CommandSpec, ConsoleSpec, Doc, Kind, PropertySpec, Role, console, props, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "incr",
    summary: "Increment the number of processes in a watcher",
    doc: Doc {
        purpose: "Increases the number of processes of a watcher and starts the new ones. If the watcher is stopped, \
                  only the number changes. A singleton keeps its one process.",
        reply: "With waiting, and for a singleton: numprocesses, the number of processes that the watcher should \
                have.",
        message: r#"{"command": "incr", "properties": {"name": "web", "nb": 2, "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "numprocesses": 5}"#,
        example: "incr web 2 --waiting",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name."),
        PropertySpec::optional("nb", Kind::Integer, "How many processes to add; default 1."),
    ],
    waiting: true,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call("NAME... [N]", &[], console::name_and_count, show::process_count)
        .naming(console::before_number),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Incr {
        name: props::text(properties, "name")?,
        nb: props::integer(properties, "nb")?.unwrap_or(1),
        waiting: props::flag(properties, "waiting", false),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::Invocation;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn on_the_wire() {
        let request = |nb, waiting| Request::Incr { name: "a1".into(), nb, waiting };
        assert_eq!(decoded(&SPEC, json!({"name": "a1"})), request(1, false));
        assert_eq!(decoded(&SPEC, json!({"name": "a1", "nb": 2, "waiting": true})), request(2, true));
        assert_eq!(decoded(&SPEC, json!({"name": "a1", "nb": -1})), request(-1, false));
        assert_eq!(refused(&SPEC, json!({"name": "a1", "nb": "x"})), (3, "'nb' isn't an integer".into()));
        assert_eq!(refused(&SPEC, json!({"nb": 1})), (3, "message invalid 'name' is missing".into()));
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::new(["a1"])), json!({"name": "a1"}));
        assert_eq!(sent(&SPEC, Invocation::new(["a1", "2"])), json!({"name": "a1", "nb": 2}));
        assert_eq!(sent(&SPEC, Invocation::new(["a1"]).with_flag("waiting")), json!({"name": "a1", "waiting": true}));
        expect_usage(&SPEC, &[], "Invalid number of arguments");
        expect_usage(&SPEC, &["a1", "1", "2"], "Invalid number of arguments");
        expect_usage(&SPEC, &["a1", "x"], "number of processes: 'x' isn't an integer");
        assert_eq!(shown(&SPEC, &["a1"], json!({"status": "ok"})), "ok");
        assert_eq!(shown(&SPEC, &["a1"], json!({"status": "ok", "numprocesses": 6})), "6");
    }
}
