//! `status`

use serde_json::Value;

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, console, props,
    python, report, show,
};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "status",
    summary: "Get the status of a watcher or all watchers",
    doc: Doc {
        purpose: "Tells the state of one watcher, or of all: stopped, starting, active or stopping. With verbose it \
                  tells why as well: what waits out a back-off after what, the last exit, the last failed start.",
        reply: "With a name the state stands in status itself, in place of ok. Without one: statuses, by name. With \
                verbose also details, of the watcher or by name: wanted, running, starting, stopping and not_replaced \
                count workers; operation and queued name what is being done; backing_off lists the places that wait \
                (wid, times in a row, wait and left in seconds, and exit_code or stage, errno, error and detail); \
                waits_for the sockets whose next connection starts it, after rests seconds; spawned, reaped, failed \
                and restarts (workers that died unasked and were made up for) count since its beginning; uptime is \
                the time since it was started, processes lists its workers (pid, wid and uptime); last_exit and last_failure are null where there was none.",
        message: r#"{"command": "status", "properties": {"name": "web"}}"#,
        answer: r#"{"status": "active", "time": 1700000000.0}"#,
        example: "status web",
    },
    properties: &[
        PropertySpec::optional("name", Kind::Text, "The watcher's name; all watchers without it."),
        PropertySpec::optional("verbose", Kind::Boolean, "Also why; default false."),
    ],
    waiting: false,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call(
        "[NAME]",
        &[ConsoleOption::flag("verbose", "Also say why: back-offs, the last exit, the last failed start, counts.")],
        message,
        show,
    ),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Status {
        name: props::optional_text(properties, "name")?,
        verbose: props::flag(properties, "verbose", false),
    })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = console::optional_name(invocation)?;
    console::put_flags(&mut properties, invocation, &["verbose"]);
    Ok(properties)
}

fn show(reply: &Value, invocation: &Invocation) -> String {
    if let Some(details) = reply.get("details").and_then(Value::as_object) {
        let time = reply.get("time").and_then(Value::as_f64).unwrap_or_default();
        return match invocation.words() {
            [name, ..] => report::watcher(name, details, time),
            [] => report::all(details, time),
        };
    }
    let Some(statuses) = reply.get("statuses").and_then(Value::as_object) else {
        return show::field(reply, "status");
    };
    let mut lines: Vec<_> = statuses.iter().collect();
    lines.sort_unstable_by_key(|(name, _)| name.as_str());
    lines.iter().map(|(name, state)| format!("{name}: {}", python::display(state))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({})), Request::Status { name: None, verbose: false });
        assert_eq!(
            decoded(&SPEC, json!({"name": "café", "verbose": true})),
            Request::Status { name: Some("café".into()), verbose: true }
        );
        assert_eq!(refused(&SPEC, json!({"name": {}})), (5, "'name' isn't a string".into()));
        assert_eq!(sent(&SPEC, Invocation::new(["two words"])), json!({"name": "two words"}));
        assert_eq!(sent(&SPEC, Invocation::default().with_flag("verbose")), json!({"verbose": true}));
        expect_usage(&SPEC, &["a", "b"], "Invalid number of arguments");
        let all = json!({"status": "ok", "statuses": {"a1": "active", "solo": "stopped", "My App": "active"}});
        assert_eq!(shown(&SPEC, &[], all), "My App: active\na1: active\nsolo: stopped");
        assert_eq!(shown(&SPEC, &["a1"], json!({"status": "stopping"})), "stopping");
    }
}
