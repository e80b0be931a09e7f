//! `reopenlogs`

use super::{CommandSpec, ConsoleSpec, Doc, Role, Waiting, console, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "reopenlogs",
    summary: "Open the files of all streams again, after another program has moved them",
    doc: Doc {
        purpose: "Opens the files and FIFOs that streams write to again by their names, for a program such as logrotate \
                  that has moved them. Workers are not affected. A file that cannot be opened is logged, and its stream \
                  goes on with the file that it has. SIGUSR1 to circusd does the same. A WatchedFileStream does not need \
                  it, and neither does the log of circusd.",
        reply: "No further keys.",
        message: r#"{"command": "reopenlogs", "properties": {}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0}"#,
        example: "reopenlogs",
    },
    properties: &[],
    waiting: Waiting::No,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call("", &[], console::nothing, show::ok),
};

fn decode(_properties: &Object) -> Result<Request, Fault> {
    Ok(Request::ReopenLogs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::Invocation;
    use crate::commands::testing::{decoded, expect_usage, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({})), Request::ReopenLogs);
        assert_eq!(sent(&SPEC, Invocation::default()), json!({}));
        expect_usage(&SPEC, &["web"], "Invalid number of arguments");
        assert_eq!(shown(&SPEC, &[], json!({"status": "ok"})), "ok");
    }
}
