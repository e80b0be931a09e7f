//! `signal`

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console,
    props, show,
};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "signal",
    summary: "Send a signal to processes of a watcher",
    doc: Doc {
        purpose: "Sends a signal to processes of a watcher, or to their children, and does nothing else: circusd \
                  publishes no event, and does not kill a process that does not exit. To stop processes, use the \
                  command kill.",
        reply: "No further keys. A pid that is no process of the watcher is ignored; circusctl refuses it.",
        message: r#"{"command": "signal", "properties": {"name": "web", "pid": 4711, "signum": "HUP", "recursive": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0}"#,
        example: "signal web 4711 HUP --recursive",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name."),
        PropertySpec::required("signum", Kind::Signal, "The signal."),
        PropertySpec::optional("pid", Kind::Pid, "The process; all processes of the watcher without it."),
        PropertySpec::optional("childpid", Kind::Pid, "Only this child of the process; needs pid."),
        PropertySpec::optional("children", Kind::Boolean, "Signal the children instead of the process; default false."),
        PropertySpec::optional(
            "recursive",
            Kind::Boolean,
            "Signal the process and all its descendants; default false.",
        ),
    ],
    waiting: Waiting::No,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call(
        "NAME... [PID] SIGNUM",
        &[
            ConsoleOption::flag("children", "Signal the children instead of the process."),
            ConsoleOption::flag("recursive", "Signal the process and all its descendants."),
        ],
        message,
        show::ok,
    )
    .naming(console::before_signal),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    let name = props::text(properties, "name")?;
    let signum = props::signal(properties, "signum")?;
    let pid = props::pid(properties, "pid")?;
    let childpid = props::pid(properties, "childpid")?;
    if childpid.is_some() && pid.is_none() {
        return Err(Fault::command("cannot specify childpid without pid"));
    }
    Ok(Request::Signal {
        name,
        signum,
        pid,
        childpid,
        children: props::flag(properties, "children", false),
        recursive: props::flag(properties, "recursive", false),
    })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let (name, pid, signum) = match invocation.words() {
        [name, signum] => (name, None, signum),
        [name, pid, signum] => (name, Some(pid), signum),
        _ => return Err(UsageError::arguments()),
    };
    let mut properties = console::named(name);
    if let Some(pid) = pid {
        properties.insert("pid".into(), console::integer(pid, "pid")?);
    }
    properties.insert("signum".into(), signum.as_str().into());
    console::check_signal(signum)?;
    console::put_flags(&mut properties, invocation, &["children", "recursive"]);
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
        let signal = |number, pid, childpid, children, recursive| Request::Signal {
            name: "a2".into(),
            signum: Signal(number),
            pid,
            childpid,
            children,
            recursive,
        };
        assert_eq!(decoded(&SPEC, json!({"name": "a2", "signum": 0})), signal(0, None, None, false, false));
        assert_eq!(
            decoded(&SPEC, json!({"name": "a2", "signum": "usr2", "pid": "17", "childpid": 18})),
            signal(12, Some(17), Some(18), false, false)
        );
        assert_eq!(
            decoded(&SPEC, json!({"name": "a2", "signum": "28", "children": true, "recursive": true, "child_pid": 1})),
            signal(28, None, None, true, true)
        );
    }

    #[test]
    fn refusals() {
        for (properties, errno, reason) in [
            (json!({"name": "a2"}), 3, "message invalid 'signum' is missing"),
            (json!({"signum": 1}), 3, "message invalid 'name' is missing"),
            (json!({"name": "a2", "signum": "+"}), 3, "signal invalid"),
            (json!({"name": "a2", "signum": "nonsense"}), 5, "no signal is called 'SIGNONSENSE'"),
            (json!({"name": "a2", "signum": 18, "childpid": 5}), 5, "cannot specify childpid without pid"),
            (json!({"name": "a2", "signum": 18, "pid": "x"}), 5, "'pid' isn't a process id"),
        ] {
            assert_eq!(refused(&SPEC, properties), (errno, reason.into()));
        }
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::new(["a1", "CONT"])), json!({"name": "a1", "signum": "CONT"}));
        assert_eq!(
            sent(&SPEC, Invocation::new(["solo", "4642", "CONT"]).with_flag("children").with_flag("recursive")),
            json!({"name": "solo", "pid": 4642, "signum": "CONT", "children": true, "recursive": true})
        );
        expect_usage(&SPEC, &["a1"], "Invalid number of arguments");
        expect_usage(&SPEC, &["a1", "x", "CONT"], "pid: 'x' isn't an integer");
        assert_eq!(shown(&SPEC, &["a1"], json!({"status": "ok"})), "ok");
    }
}
