//! `numwatchers`

use serde_json::Value;

use super::{CommandSpec, ConsoleSpec, Doc, Invocation, Role, Waiting, console, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "numwatchers",
    summary: "Count the watchers",
    doc: Doc {
        purpose: "Counts the watchers.",
        reply: "numwatchers.",
        message: r#"{"command": "numwatchers", "properties": {}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "numwatchers": 3}"#,
        example: "numwatchers",
    },
    properties: &[],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call("", &[], console::nothing, show),
};

fn decode(_properties: &Object) -> Result<Request, Fault> {
    Ok(Request::NumWatchers)
}

fn show(reply: &Value, _invocation: &Invocation) -> String {
    show::field(reply, "numwatchers")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({"pad": "x"})), Request::NumWatchers);
        assert_eq!(sent(&SPEC, Invocation::default()), json!({}));
        expect_usage(&SPEC, &["a"], "Invalid number of arguments");
        assert_eq!(shown(&SPEC, &[], json!({"numwatchers": 3})), "3");
    }
}
