//! `reload`

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console,
    props, show,
};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "reload",
    summary: "Replace the processes of watchers",
    doc: Doc {
        purpose: "Replaces the processes of a watcher, or of all watchers. A graceful reload starts the new processes \
                  before it stops the old ones; with send_hup the processes get SIGHUP instead and stay. The option \
                  reload of the watcher can choose another way. A reload that is not graceful is a restart. A \
                  singleton always stops before its successor starts. A stopped watcher that is named is started. \
                  Without a name, watchers that a command has stopped and watchers with autostart = no stay stopped.",
        reply: "With name and waiting: info, the pids that were stopped, started and kept.",
        message: r#"{"command": "reload", "properties": {"name": "web", "graceful": true, "sequential": true, "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "info": {"stopped": [4711], "started": [4712], "kept": []}}"#,
        example: "reload web --sequential --waiting",
    },
    properties: &[
        PropertySpec::optional("name", Kind::Text, "The watcher's name, not a pattern; all watchers without it."),
        PropertySpec::optional(
            "graceful",
            Kind::Boolean,
            "Start the new processes before the old ones are stopped; default true.",
        ),
        PropertySpec::optional("sequential", Kind::Boolean, "Replace one process at a time; default false."),
    ],
    waiting: Waiting::Up,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call(
        "[NAME...]",
        &[
            ConsoleOption::flag("sequential", "Replace one process after the other."),
            ConsoleOption::flag("terminate", "Stop the old processes first: a reload that is not graceful."),
        ],
        message,
        show::ok,
    )
    .naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Reload {
        name: props::optional_text(properties, "name")?,
        graceful: props::flag(properties, "graceful", true),
        sequential: props::flag(properties, "sequential", false),
        waiting: props::flag(properties, "waiting", false),
    })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = console::optional_name(invocation)?;
    if invocation.flag("terminate") {
        properties.insert("graceful".into(), false.into());
    }
    console::put_flags(&mut properties, invocation, &["sequential"]);
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn on_the_wire() {
        let all = Request::Reload { name: None, graceful: true, sequential: false, waiting: false };
        assert_eq!(decoded(&SPEC, json!({})), all);
        assert_eq!(
            decoded(&SPEC, json!({"name": "a", "graceful": false, "sequential": true, "waiting": true})),
            Request::Reload { name: Some("a".into()), graceful: false, sequential: true, waiting: true }
        );
        assert_eq!(refused(&SPEC, json!({"name": null})), (5, "'name' isn't a string".into()));
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::default()), json!({}));
        let full = Invocation::new(["a1"]).with_flag("terminate").with_flag("sequential").with_flag("waiting");
        assert_eq!(sent(&SPEC, full), json!({"name": "a1", "graceful": false, "sequential": true, "waiting": true}));
        expect_usage(&SPEC, &["a", "b"], "Invalid number of arguments");
        assert_eq!(shown(&SPEC, &[], json!({"status": "ok", "info": {}})), "ok");
    }
}
