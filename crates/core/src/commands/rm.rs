//! `rm`

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console,
    props, show,
};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "rm",
    summary: "Remove a watcher",
    doc: Doc {
        purpose: "Removes a watcher and stops its processes. With nostop the processes go on running, and circusd no \
                  longer manages them.",
        reply: "No further keys.",
        message: r#"{"command": "rm", "properties": {"name": "web", "nostop": false, "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0}"#,
        example: "rm web --waiting",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name."),
        PropertySpec::optional("nostop", Kind::Boolean, "Let the processes go on running; default false."),
    ],
    waiting: Waiting::Done,
    role: Role::Admin,
    decode,
    console: ConsoleSpec::call(
        "NAME...",
        &[ConsoleOption::flag("nostop", "Let the processes go on running.")],
        message,
        show::ok,
    )
    .naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Rm {
        name: props::text(properties, "name")?,
        nostop: props::flag(properties, "nostop", false),
        waiting: props::flag(properties, "waiting", false),
    })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = console::name(invocation)?;
    console::put_flags(&mut properties, invocation, &["nostop"]);
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn asked_and_shown() {
        let rm = |nostop, waiting| Request::Rm { name: "n1".into(), nostop, waiting };
        assert_eq!(decoded(&SPEC, json!({"name": "n1"})), rm(false, false));
        assert_eq!(decoded(&SPEC, json!({"name": "n1", "nostop": true, "waiting": true})), rm(true, true));
        assert_eq!(refused(&SPEC, json!({})), (3, "message invalid 'name' is missing".into()));
        assert_eq!(sent(&SPEC, Invocation::new(["n1"])), json!({"name": "n1"}));
        assert_eq!(
            sent(&SPEC, Invocation::new(["n1"]).with_flag("nostop").with_flag("waiting")),
            json!({"name": "n1", "nostop": true, "waiting": true})
        );
        expect_usage(&SPEC, &[], "Invalid number of arguments");
        assert_eq!(shown(&SPEC, &["n1"], json!({"status": "ok"})), "ok");
    }
}
