//! `tail`

use serde_json::Value;

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console,
    props, python,
};
use crate::proto::{Fault, Object, Request, StreamName, TailRange};

/// How many lines are shown unless the request says.
const LINES: i64 = 10;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "tail",
    summary: "Show what workers print",
    doc: Doc {
        purpose: "Shows the last lines that the workers of a watcher have printed, and with -f new lines as they \
                  come, until it is interrupted. Without a name it shows the lines of all watchers. circusd keeps in \
                  memory the last tail_bytes of output that passes through a stdout_stream or stderr_stream of any \
                  class, also after the watcher has stopped. Workers of a watcher without a stream write to the \
                  output of circusd itself, which circusd does not read. Lines are shown whole: an unfinished line is \
                  shown when it is completed or when its worker exits; a line of more than 64 KiB is shown as several \
                  lines. circusd publishes new lines under output.WATCHER.stdout and output.WATCHER.stderr (see \
                  circus-protocol(7)) while a client subscribes. Workers never wait for readers: a reader that is too \
                  slow misses lines, and circusctl reports on standard error how many.",
        reply: "lines: the lines, oldest first, each with pid, wid, time and line, the text without its line end; \
                bytes that are not UTF-8 are replaced. cursor: the number of bytes that the stream has had so far. \
                missed: the number of bytes after the given cursor that are no longer kept. next: the number of the \
                line that will be published next. began: the time from which cursor and next are counted. If nothing \
                was printed, lines is empty.",
        message: r#"{"command": "tail", "properties": {"name": "web", "stream": "stderr", "lines": 2}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "name": "web", "stream": "stderr", "lines": [{"pid": 4711, "wid": 1, "time": 1699999999.5, "line": "ready"}], "cursor": 6, "missed": 0, "next": 0, "began": 1699999990.5}"#,
        example: "tail -n 20 web",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name."),
        PropertySpec::optional("wid", Kind::Integer, "Only the worker with this number; all without it."),
        PropertySpec::optional("stream", Kind::Text, "stdout or stderr; default stdout."),
        PropertySpec::optional("lines", Kind::Integer, "The number of lines, counted from the end; default 10."),
        PropertySpec::optional(
            "after",
            Kind::Integer,
            "Only lines after this cursor, from an earlier answer or an \
                                                       event.",
        ),
    ],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call(
        "[WATCHER...] [WID]",
        &[
            ConsoleOption::flag("follow", "Also show new lines as they come.").or('f'),
            ConsoleOption::value("lines", "N", "Show the last N lines; default 10.").or('n'),
            ConsoleOption::flag("stderr", "Show standard error instead of standard output."),
            ConsoleOption::flag("raw", "Print control characters unchanged, for programs or colours."),
        ],
        message,
        show,
    )
    .following()
    .naming(console::before_number),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    let name = props::text(properties, "name")?;
    let stream = match props::optional_text(properties, "stream")?.as_deref() {
        None | Some("stdout") => StreamName::Stdout,
        Some("stderr") => StreamName::Stderr,
        Some(_) => return Err(Fault::message("'stream' isn't stdout or stderr")),
    };
    let wid = props::integer(properties, "wid")?
        .map(|wid| u32::try_from(wid).map_err(|_| Fault::message("'wid' isn't the number of a worker")));
    let lines = props::integer(properties, "lines")?.unwrap_or(LINES);
    let range = TailRange {
        lines: usize::try_from(lines).unwrap_or(0),
        wid: wid.transpose()?,
        after: props::integer(properties, "after")?.map(|after| u64::try_from(after).unwrap_or(0)),
    };
    Ok(Request::Tail { name, stream, range })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = match invocation.words() {
        [name] => console::named(name),
        [name, wid] => {
            let mut properties = console::named(name);
            properties.insert("wid".into(), console::integer(wid, "wid")?);
            properties
        }
        _ => return Err(UsageError::arguments()),
    };
    if invocation.flag("stderr") {
        properties.insert("stream".into(), "stderr".into());
    }
    if let Some(lines) = invocation.value("lines") {
        properties.insert("lines".into(), console::integer(lines, "lines")?);
    }
    Ok(properties)
}

fn show(reply: &Value, _invocation: &Invocation) -> String {
    let lines = reply.get("lines").and_then(Value::as_array).into_iter().flatten();
    let texts = lines.map(|line| line.get("line").map(python::display).unwrap_or_default());
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn on_the_wire() {
        let tail = |stream, lines, wid, after| Request::Tail {
            name: "web".into(),
            stream,
            range: TailRange { lines, wid, after },
        };
        assert_eq!(decoded(&SPEC, json!({"name": "web"})), tail(StreamName::Stdout, 10, None, None));
        let all = json!({"name": "web", "stream": "stderr", "lines": 3, "wid": 2, "after": 77});
        assert_eq!(decoded(&SPEC, all), tail(StreamName::Stderr, 3, Some(2), Some(77)));
        let odd = json!({"name": "web", "stream": "stdout", "lines": -3, "after": -1});
        assert_eq!(decoded(&SPEC, odd), tail(StreamName::Stdout, 0, None, Some(0)));
        assert_eq!(refused(&SPEC, json!({})), (3, "message invalid 'name' is missing".into()));
        let reason = "'stream' isn't stdout or stderr".to_owned();
        assert_eq!(refused(&SPEC, json!({"name": "web", "stream": "stdin"})), (3, reason));
        assert_eq!(refused(&SPEC, json!({"name": "web", "wid": "x"})), (3, "'wid' isn't an integer".into()));
        let reason = "'wid' isn't the number of a worker".to_owned();
        assert_eq!(refused(&SPEC, json!({"name": "web", "wid": -1})), (3, reason));
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::new(["web"])), json!({"name": "web"}));
        let all = Invocation::new(["web", "2"]).with_flag("stderr").with_value("lines", "3").with_flag("follow");
        assert_eq!(sent(&SPEC, all), json!({"name": "web", "wid": 2, "stream": "stderr", "lines": 3}));
        expect_usage(&SPEC, &[], "Invalid number of arguments");
        expect_usage(&SPEC, &["web", "x"], "wid: 'x' isn't an integer");
        expect_usage(&SPEC, &["web", "1", "2"], "Invalid number of arguments");
    }

    #[test]
    fn as_circusctl_prints_it() {
        let line = |text: &str| json!({"pid": 1, "wid": 1, "time": 1.5, "line": text});
        assert_eq!(shown(&SPEC, &["web"], json!({"lines": [line("a"), line(""), line("b")]})), "a\n\nb");
    }
}
