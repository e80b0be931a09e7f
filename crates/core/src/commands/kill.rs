//! `kill`

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console,
    props, show,
};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "kill",
    summary: "Stop processes of a watcher; they are replaced",
    doc: Doc {
        purpose: "Stops processes of a watcher, as stop does: each gets the stop signal, and SIGKILL if it has not \
                  exited after graceful_timeout. circusd replaces them, like all processes that exit. To send only a \
                  signal, use the command signal.",
        reply: "No further keys.",
        message: r#"{"command": "kill", "properties": {"name": "web", "pid": 4711, "signum": "INT", "graceful_timeout": 2.5, "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0}"#,
        example: "kill web 4711 --signum INT --waiting",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name."),
        PropertySpec::optional("pid", Kind::Pid, "The process; all processes of the watcher without it."),
        PropertySpec::optional("signum", Kind::Signal, "The signal to send first; default the watcher's stop_signal."),
        PropertySpec::optional(
            "graceful_timeout",
            Kind::Number,
            "Seconds until SIGKILL; default the watcher's graceful_timeout.",
        ),
    ],
    waiting: Waiting::Done,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call(
        "NAME... [PID]",
        &[
            ConsoleOption::value("signum", "S", "The signal to send first, by number or name."),
            ConsoleOption::value("graceful_timeout", "T", "Seconds until SIGKILL."),
        ],
        message,
        show::ok,
    )
    .naming(console::before_number),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Kill {
        name: props::text(properties, "name")?,
        signum: props::optional_signal(properties, "signum")?,
        pid: props::pid(properties, "pid")?,
        graceful_timeout: props::seconds(properties, "graceful_timeout")?,
        waiting: props::flag(properties, "waiting", false),
    })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let (name, pid) = match invocation.words() {
        [name] => (name, None),
        [name, pid] => (name, Some(pid)),
        _ => return Err(UsageError::arguments()),
    };
    let mut properties = console::named(name);
    if let Some(pid) = pid {
        properties.insert("pid".into(), console::integer(pid, "pid")?);
    }
    if let Some(signum) = invocation.value("signum") {
        console::check_signal(signum)?;
        properties.insert("signum".into(), signum.into());
    }
    if let Some(timeout) = invocation.value("graceful_timeout") {
        properties.insert("graceful_timeout".into(), console::number(timeout, "graceful_timeout")?);
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};
    use crate::proto::Signal;

    #[test]
    fn on_the_wire() {
        let kill = |pid, signum: Option<i32>, graceful_timeout, waiting| Request::Kill {
            name: "a2".into(),
            pid,
            signum: signum.map(Signal),
            graceful_timeout,
            waiting,
        };
        assert_eq!(decoded(&SPEC, json!({"name": "a2"})), kill(None, None, None, false));
        assert_eq!(
            decoded(
                &SPEC,
                json!({"name": "a2", "pid": "17", "signum": "INT", "graceful_timeout": "1.5", "waiting": 1})
            ),
            kill(Some(17), Some(2), Some(1.5), true)
        );
        let nulls = json!({"name": "a2", "pid": null, "signum": null, "graceful_timeout": null});
        assert_eq!(decoded(&SPEC, nulls), kill(None, None, None, false));
    }

    #[test]
    fn refusals() {
        for (properties, errno, reason) in [
            (json!({}), 3, "message invalid 'name' is missing"),
            (json!({"signum": 9}), 3, "message invalid 'name' is missing"),
            (json!({"name": "a2", "pid": "x"}), 5, "'pid' isn't a process id"),
            (json!({"name": "a2", "signum": "FOO"}), 5, "no signal is called 'SIGFOO'"),
            (json!({"name": "a2", "signum": "+"}), 3, "signal invalid"),
            (json!({"name": "a2", "graceful_timeout": "soon"}), 3, "'graceful_timeout' isn't a number"),
        ] {
            assert_eq!(refused(&SPEC, properties), (errno, reason.into()));
        }
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::new(["solo"])), json!({"name": "solo"}));
        let full = Invocation::new(["solo", "5194"])
            .with_value("signum", "INT")
            .with_value("graceful_timeout", "1")
            .with_flag("waiting");
        assert_eq!(
            sent(&SPEC, full),
            json!({"name": "solo", "pid": 5194, "signum": "INT", "graceful_timeout": 1.0, "waiting": true})
        );
        expect_usage(&SPEC, &[], "Invalid number of arguments");
        expect_usage(&SPEC, &["solo", "x"], "pid: 'x' isn't an integer");
        let soon = message(&Invocation::new(["solo"]).with_value("graceful_timeout", "soon"));
        assert_eq!(soon, Err(UsageError("graceful_timeout: 'soon' isn't a number".into())));
        assert_eq!(shown(&SPEC, &["solo"], json!({"status": "ok"})), "ok");
    }
}
