//! `upgrade`

use serde_json::Value;

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console,
    props, show,
};
use crate::proto::{Fault, Object, Request};

const BINARY: &str = "binary";

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "upgrade",
    summary: "Replace the program of circusd; workers go on running",
    doc: Doc {
        purpose: "Replaces the program of circusd, for example by a newer version. circusd keeps its pid, its \
                  sockets, its workers, their output and the requests that wait for an answer. Hooks that do not end \
                  within a second are run again. circusd first runs the new program with --check-state, to check that \
                  it can read the state of this circusd. If anything fails, nothing changes, and the error names the \
                  stage and the reason. Clients are disconnected for a moment and reconnect by themselves; then \
                  circusd publishes the event circusd.upgrade. The signal USR2 does the same. Only the user of \
                  circusd and root may do this.",
        reply: "When the new program runs: its version, and the pid, which has not changed. The reason of an error \
                names the stage: program, check, state or exec.",
        message: r#"{"command": "upgrade", "properties": {"binary": "/usr/local/bin/circusd"}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "version": "0.1.0", "pid": 4711}"#,
        example: "upgrade",
    },
    properties: &[PropertySpec::optional(
        BINARY,
        Kind::Text,
        "The path of the new program. Without it, the file from which circusd was started, as it is now.",
    )],
    waiting: Waiting::No,
    role: Role::Admin,
    decode,
    console: ConsoleSpec::call(
        "",
        &[ConsoleOption::value(BINARY, "PATH", "The new program; without it, the file of circusd as it is now.")],
        message,
        shown,
    ),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    let binary = props::optional_text(properties, BINARY)?;
    if binary.as_ref().is_some_and(|path| !path.starts_with('/') || path.contains('\0')) {
        return Err(Fault::message("'binary' must be an absolute path"));
    }
    Ok(Request::Upgrade { binary })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = console::nothing(invocation)?;
    if let Some(path) = invocation.value(BINARY) {
        properties.insert(BINARY.into(), path.into());
    }
    Ok(properties)
}

fn shown(reply: &Value, _invocation: &Invocation) -> String {
    format!("ok: version {}, pid {}", show::field(reply, "version"), show::field(reply, "pid"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({})), Request::Upgrade { binary: None });
        let binary = Some("/opt/circusd".to_owned());
        assert_eq!(decoded(&SPEC, json!({"binary": "/opt/circusd"})), Request::Upgrade { binary });
        assert_eq!(refused(&SPEC, json!({"binary": "circusd"})), (3, "'binary' must be an absolute path".into()));
        assert_eq!(sent(&SPEC, Invocation::default()), json!({}));
        expect_usage(&SPEC, &["now"], "Invalid number of arguments");
        let answer = json!({"status": "ok", "version": "0.2.0", "pid": 7});
        assert_eq!(shown(&SPEC, &[], answer), "ok: version 0.2.0, pid 7");
    }
}
