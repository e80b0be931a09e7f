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
    summary: "Replace the program of circusd while its workers go on",
    doc: Doc {
        purpose: "circusd becomes another build of itself. Its pid, its sockets, its workers and what they print are \
                  kept, and so are requests that wait for an answer; hooks that do not end within a second are run \
                  again. First the new program is run with --check-state: it has to read the state of this circusd. On \
                  any doubt nothing happens, and the error says at which stage and why. Clients are disconnected for a \
                  moment and reconnect by themselves; then the event circusd.upgrade is published. SIGUSR2 does the \
                  same. Only for circusd's own user and root.",
        reply: "When the new program is at work: its version, and the pid, which has not changed. The reason of an error \
                names the stage: program, check, state or exec.",
        message: r#"{"command": "upgrade", "properties": {"binary": "/usr/local/bin/circusd"}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "version": "0.1.0", "pid": 4711}"#,
        example: "upgrade",
    },
    properties: &[PropertySpec::optional(
        BINARY,
        Kind::Text,
        "The path of the new program; without it the file that circusd was started from, as it is now.",
    )],
    waiting: Waiting::No,
    role: Role::Admin,
    decode,
    console: ConsoleSpec::call(
        "",
        &[ConsoleOption::value(BINARY, "PATH", "The new program; without it circusd's own file, as it is now.")],
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
