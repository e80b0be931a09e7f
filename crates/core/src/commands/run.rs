//! `run`

use super::{CommandSpec, ConsoleSpec, Doc, Kind, PropertySpec, Role, Waiting, console, props, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "run",
    summary: "Run a watcher that is no service once, now",
    doc: Doc {
        purpose: "Runs a watcher with kind = oneshot or cron now, whatever its schedule says. If a run is under way \
                  already, the request means that run. With waiting the reply comes when the run has ended; circusctl \
                  prints the result, and exits with 3 if the run has failed.",
        reply: "With waiting: info, the pids that were started and kept, and run: result (success), exit_code, began \
                (seconds since the epoch), duration in seconds, attempts (how many processes it took), trigger and \
                reason. A run that has failed or was stopped is an error; failed has the exit_code.",
        message: r#"{"command": "run", "properties": {"name": "migrate", "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000003.0, "info": {"started": [4711], "kept": [], "run": {"result": "success", "exit_code": 0, "began": 1700000000.0, "duration": 3.0, "attempts": 1, "trigger": "request", "reason": null}}}"#,
        example: "run migrate --waiting",
    },
    properties: &[PropertySpec::required("name", Kind::Text, "The watcher's name.")],
    waiting: Waiting::Up,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call("NAME...", &[], console::name, show::run).naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Run { name: props::text(properties, "name")?, waiting: props::flag(properties, "waiting", false) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::Invocation;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn asked_and_shown() {
        let request = Request::Run { name: "migrate".into(), waiting: true };
        assert_eq!(decoded(&SPEC, json!({"name": "migrate", "waiting": true})), request);
        assert_eq!(refused(&SPEC, json!({"name": 5})), (5, "'name' isn't a string".into()));
        assert_eq!(sent(&SPEC, Invocation::new(["migrate"])), json!({"name": "migrate"}));
        expect_usage(&SPEC, &[], "Invalid number of arguments");
        assert_eq!(shown(&SPEC, &["migrate"], json!({"status": "ok"})), "ok");
        let run = json!({"result": "success", "exit_code": 0, "duration": 3.0, "attempts": 2});
        let reply = json!({"status": "ok", "info": {"started": [1], "kept": [], "run": run}});
        assert_eq!(shown(&SPEC, &["migrate"], reply), "success: exited with status 0 after 3.0 s, 2 attempts");
    }
}
