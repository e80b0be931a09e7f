//! `why`

use serde_json::Value;

use super::{CommandSpec, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, Waiting, console, props, report};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "why",
    summary: "Tell what went wrong in a watcher, and what its worker printed last",
    doc: Doc {
        purpose: "Shows the last 20 things that went wrong in a watcher, the oldest first, and what circusd did about \
                  each: workers that exited by themselves, with the exit status or signal and how long they had run; \
                  starts that failed, with the stage and the error; failed health checks and hooks; workers that had \
                  to be killed; failed reloads; watchers that the watcher waits for. Below them are the last 10 lines \
                  that the worker of the latest of these printed, of stdout and stderr, if the watcher has a \
                  stdout_stream or stderr_stream. Exits that a command or circusd itself asked for are not listed. \
                  circusd keeps this in memory; an upgrade keeps it, a restart of circusd does not.",
        reply: "health and reason are those of status --verbose. events: each with event (exit, failure, killed, \
                reload_failed, started or stopped), time (seconds since the epoch), wid (null for the watcher \
                itself), text (the event in words) and times (how often in a row). An exit also has pid, exit_code, \
                signal (null if no signal ended it), lived in seconds and, if it is true, oom: the kernel has killed it because \
                memory ran out; a failure has stage and the same keys as in \
                status --verbose. wait is how many seconds the next start was delayed; gave_up is true if there was \
                no next start. worker has the wid and, if known, the pid of the worker whose lines follow; null means \
                all workers. lines: the lines, each with stream, pid, wid, time and line. output_kept is false if no \
                stream passes through circusd, so that there are no lines.",
        message: r#"{"command": "why", "properties": {"name": "web"}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "name": "web", "state": "active", "health": "backing off", "reason": "worker 1 was ended by SIGSEGV after 200 ms", "restarts": 1, "events": [{"event": "exit", "time": 1699999999.5, "wid": 1, "pid": 4711, "exit_code": -11, "signal": "SIGSEGV", "lived": 0.2, "times": 1, "wait": 0.1, "text": "worker 1 (pid 4711) was ended by SIGSEGV after 200 ms; the next start waited 100 ms"}], "worker": {"wid": 1, "pid": 4711}, "output_kept": true, "lines": [{"stream": "stderr", "pid": 4711, "wid": 1, "time": 1699999999.4, "line": "no such table"}]}"#,
        example: "why web",
    },
    properties: &[PropertySpec::required("name", Kind::Text, "The watcher's name.")],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call("NAME...", &[], console::name, show).naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Why { name: props::text(properties, "name")? })
}

fn show(reply: &Value, _invocation: &Invocation) -> String {
    reply.as_object().map(report::why_in_words).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({"name": "web"})), Request::Why { name: "web".into() });
        assert_eq!(refused(&SPEC, json!({})), (3, "message invalid 'name' is missing".into()));
        assert_eq!(sent(&SPEC, Invocation::new(["web"])), json!({"name": "web"}));
        expect_usage(&SPEC, &[], "Invalid number of arguments");
        let reply: Value = serde_json::from_str(SPEC.doc.answer).unwrap();
        assert_eq!(
            shown(&SPEC, &["web"], reply).lines().collect::<Vec<_>>(),
            [
                "web: backing off: worker 1 was ended by SIGSEGV after 200 ms",
                "  500 ms ago: worker 1 (pid 4711) was ended by SIGSEGV after 200 ms; the next start waited 100 ms",
                "  the last lines of worker 1 (pid 4711):",
                "    stderr: no such table",
            ]
        );
    }

    #[test]
    fn watcher_without_trouble_and_without_output() {
        let reply = json!({"name": "web", "health": "ready", "reason": null, "events": [], "worker": null,
                           "output_kept": false, "lines": [], "time": 5.0});
        assert_eq!(shown(&SPEC, &["web"], reply), "web: ready\n  nothing has gone wrong");
        let reply = json!({"name": "web", "health": "ready", "worker": null, "output_kept": false, "lines": [],
                           "events": [{"text": "started", "time": 4.0}], "time": 5.0});
        assert_eq!(
            shown(&SPEC, &["web"], reply).lines().last(),
            Some("  its output is not kept: set stderr_stream.class = MemoryStream to see the last lines here")
        );
    }
}
