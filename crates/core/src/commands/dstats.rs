//! `dstats`

use serde_json::Value;

use super::{CommandSpec, ConsoleSpec, Doc, Invocation, Role, Table, Waiting, console, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "dstats",
    summary: "Show what circusd itself uses",
    doc: Doc {
        purpose: "Reports what circusd itself uses. cpu is its share of one processor since the previous dstats, or \
                  since circusd started.",
        reply: "info: the figures of circusd, in the form that stats has. Its children are left out: stats reports \
                them.",
        message: r#"{"command": "dstats", "properties": {}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "info": {"mem_info1": "2.11M", "mem_info2": "8.44M", "cpu": 0.1, "mem": 0.013, "ctime": "0:00.05", "pid": 4700, "username": "root", "nice": 0, "create_time": 1699999990.5, "age": 9.5, "cmdline": "circusd", "children": []}}"#,
        example: "dstats",
    },
    properties: &[],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call("", &[], console::nothing, show).with_table(Table {
        flag: None,
        header: show::PROCESS_HEADER,
        rows: |reply, _| Some(show::process_rows("circusd", reply.get("info")?)),
    }),
};

fn decode(_properties: &Object) -> Result<Request, Fault> {
    Ok(Request::DStats)
}

fn show(reply: &Value, _invocation: &Invocation) -> String {
    let none = Value::Null;
    let info = reply.get("info").unwrap_or(&none);
    let mut lines = vec!["Main Process:".to_owned(), format!("    {}", show::process_line(info))];
    let children: Vec<String> =
        show::children(info).iter().map(|child| format!("    {}", show::process_line(child))).collect();
    if !children.is_empty() {
        lines.push("Children:".into());
        lines.extend(children);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({})), Request::DStats);
        assert_eq!(sent(&SPEC, Invocation::default()), json!({}));
        expect_usage(&SPEC, &["a"], "Invalid number of arguments");
        let info = |children: &[Value]| {
            json!({"mem_info1": "30.90M", "mem_info2": "118.51M", "cpu": 0.0, "mem": 0.128, "ctime": "0:00.13",
                   "pid": 4630, "username": "root", "nice": 0, "cmdline": "circusd", "children": children})
        };
        let line = "    4630  circusd root 0 30.90M 118.51M 0.0 0.128 0:00.13";
        assert_eq!(shown(&SPEC, &[], json!({"info": info(&[])})), format!("Main Process:\n{line}"));
        assert_eq!(
            shown(&SPEC, &[], json!({"info": info(&[info(&[])])})),
            format!("Main Process:\n{line}\nChildren:\n{line}")
        );
    }
}
