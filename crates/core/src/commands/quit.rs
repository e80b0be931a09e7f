//! `quit`

use super::{
    CommandSpec, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console, props, show,
};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "quit",
    summary: "Stop all watchers and end circusd",
    doc: Doc {
        purpose: "Stops all watchers gracefully, each before the watchers that it needs, and ends circusd. With timeout, \
                  circusd then kills the workers that have not exited. A second quit, or a SIGTERM to circusd, stops all \
                  watchers that still wait for others at once. In circusctl, the option --timeout after quit is this \
                  timeout.",
        reply: "No further keys. With waiting, the answer comes when all processes have exited.",
        message: r#"{"command": "quit", "properties": {"timeout": 60, "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0}"#,
        example: "quit --waiting --timeout 60",
    },
    properties: &[PropertySpec::optional(
        "timeout",
        Kind::Number,
        "Seconds until workers that have not exited are killed. Without it, each worker has its graceful_timeout.",
    )],
    waiting: Waiting::Done,
    role: Role::Admin,
    decode,
    console: ConsoleSpec::call("", &[], message, show::ok),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Quit {
        timeout: props::seconds(properties, "timeout")?,
        waiting: props::flag(properties, "waiting", false),
    })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = console::nothing(invocation)?;
    if let Some(timeout) = invocation.value("timeout") {
        properties.insert("timeout".into(), console::number(timeout, "timeout")?);
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::Invocation;
    use crate::commands::testing::{decoded, expect_usage, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({})), Request::Quit { timeout: None, waiting: false });
        let limited = Request::Quit { timeout: Some(60.0), waiting: true };
        assert_eq!(decoded(&SPEC, json!({"timeout": 60, "waiting": true})), limited);
        assert_eq!(sent(&SPEC, Invocation::default().with_value("timeout", "60")), json!({"timeout": 60.0}));
        assert_eq!(sent(&SPEC, Invocation::default().with_flag("waiting")), json!({"waiting": true}));
        expect_usage(&SPEC, &["now"], "Invalid number of arguments");
        assert_eq!(shown(&SPEC, &[], json!({"status": "ok"})), "ok");
    }
}
