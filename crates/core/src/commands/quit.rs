//! `quit`

use super::{CommandSpec, ConsoleSpec, Doc, Role, Waiting, console, props, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "quit",
    summary: "Quit the arbiter immediately",
    doc: Doc {
        purpose: "Stops all watchers gracefully and ends circusd.",
        reply: "Nothing more. With waiting it is sent when all processes have exited.",
        message: r#"{"command": "quit", "properties": {"waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0}"#,
        example: "quit --waiting",
    },
    properties: &[],
    waiting: Waiting::Done,
    role: Role::Admin,
    decode,
    console: ConsoleSpec::call("", &[], console::nothing, show::ok),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Quit { waiting: props::flag(properties, "waiting", false) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::Invocation;
    use crate::commands::testing::{decoded, expect_usage, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({})), Request::Quit { waiting: false });
        assert_eq!(decoded(&SPEC, json!({"waiting": true})), Request::Quit { waiting: true });
        assert_eq!(sent(&SPEC, Invocation::default().with_flag("waiting")), json!({"waiting": true}));
        expect_usage(&SPEC, &["now"], "Invalid number of arguments");
        assert_eq!(shown(&SPEC, &[], json!({"status": "ok"})), "ok");
    }
}
