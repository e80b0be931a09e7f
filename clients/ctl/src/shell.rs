//! circusctl without a command: a prompt, one command a line.

use std::cell::RefCell;
use std::io;

use super::editor::{Editor, Line};
use super::perform::perform;
use super::session::{Session, emit};
use super::{Exit, Globals, Outcome, Streams, args, text};
use circus_core::commands::{self, COMMANDS, Invocation};
use circus_core::config::suggestion;

const PROMPT: &str = "(circusctl) ";

/// Greets with the version and the state of the watchers, then obeys line by line until `exit` or the end of the input.
/// At a terminal `quit`, which ends circusd, is confirmed first.
///
/// A line that is not of the grammar ends the shell, as in Circus, so that a script does not run on after a typo in an
/// option. What the daemon refuses is printed and changes nothing.
pub(super) fn run(session: &mut Session<'_>, globals: &Globals, streams: &mut Streams<'_>) -> io::Result<Exit> {
    writeln!(streams.output, "{}", text::VERSION)?;
    if let Some(status) = commands::find("status") {
        let outcome = session.call(&Globals { json: false, ..globals.clone() }, status, &Invocation::default());
        if emit(&outcome, session.look(), streams)? == Exit::Failure {
            return Ok(Exit::Failure);
        }
    }
    if session.is_interactive() {
        let session = RefCell::new(session);
        let mut editor = Editor::new(&session, globals)?;
        return obey_all(&session, globals, streams, &mut |_, prompt| editor.next_line(prompt));
    }
    obey_all(&RefCell::new(session), globals, streams, &mut next_line)
}

fn obey_all<'s>(
    session: &RefCell<&'s mut Session<'_>>,
    globals: &Globals,
    streams: &mut Streams<'_>,
    next_line: &mut dyn FnMut(&mut Streams<'_>, &str) -> io::Result<Line>,
) -> io::Result<Exit> {
    loop {
        let line = match next_line(streams, PROMPT)? {
            Line::End => break,
            Line::Abandoned => continue,
            Line::Text(line) => line.trim().to_owned(),
        };
        match line.as_str() {
            "" => {}
            "EOF" | "exit" => return Ok(Exit::Success),
            line => {
                if is_quit(line) && session.borrow().is_interactive() && !confirmed(streams, next_line)? {
                    continue;
                }
                if obey(&mut session.borrow_mut(), globals, line, streams)? == Exit::Usage {
                    return Ok(Exit::Usage);
                }
            }
        }
    }
    Ok(Exit::Success)
}

fn is_quit(line: &str) -> bool {
    line.split_whitespace().next() == Some("quit") && !line.contains("--help")
}

fn confirmed(
    streams: &mut Streams<'_>,
    next_line: &mut dyn FnMut(&mut Streams<'_>, &str) -> io::Result<Line>,
) -> io::Result<bool> {
    let question = "quit stops circusd and all its workers; exit leaves circusctl. Stop circusd? [y/N] ";
    let answer = next_line(streams, question)?;
    Ok(matches!(answer, Line::Text(answer) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())))
}

/// The next line of a file or a pipe. At its end the prompt's line ends too, as it does at a terminal.
fn next_line(streams: &mut Streams<'_>, prompt: &str) -> io::Result<Line> {
    streams.output.write_all(prompt.as_bytes())?;
    streams.output.flush()?;
    let mut line = Vec::new();
    let read = streams.input.read_until(b'\n', &mut line)?;
    if read > 0 {
        return Ok(Line::Text(String::from_utf8_lossy(&line).into_owned()));
    }
    writeln!(streams.output)?;
    Ok(Line::End)
}

fn obey(session: &mut Session<'_>, globals: &Globals, line: &str, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let Some(words) = shlex::split(line) else {
        let outcome = Outcome::failed(Exit::Failure, "error: a quotation is not closed\n".into());
        return emit(&outcome, session.look(), streams);
    };
    match words.first().map(String::as_str) {
        Some("help" | "?") => emit(&help(words.get(1)), session.look(), streams),
        Some(name) if COMMANDS.iter().any(|spec| spec.name == name) => {
            let parsed = args::parse(&words);
            perform(session, parsed, globals, streams)
        }
        first => {
            let known = COMMANDS.iter().map(|spec| spec.name).chain(["exit", "help"]);
            let near = suggestion(first.unwrap_or_default(), known);
            emit(&Outcome::done(&format!("*** Unknown syntax: {line}{near}")), session.look(), streams)
        }
    }
}

fn help(topic: Option<&String>) -> Outcome {
    let Some(topic) = topic else {
        return Outcome::done(format!("Commands:\n{}", commands::command_list()).trim_end());
    };
    match COMMANDS.iter().find(|spec| spec.name == topic) {
        Some(spec) => Outcome::done(commands::command_help(spec).trim_end()),
        None => {
            let near = suggestion(topic, COMMANDS.iter().map(|spec| spec.name));
            Outcome::done(&format!("*** No help on {topic}{near}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::testing::{FakeDaemon, Seen};
    use circus_client::{ClientError, Wait};

    const STATUS: &str = r#"{"status": "ok", "statuses": {"a1": "active", "My App": "active"}}"#;
    const GREETING: &str = concat!("circusctl ", env!("CARGO_PKG_VERSION"), "\nMy App: active\na1: active\n");

    /// What the shell prints after its greeting.
    fn session(input: &'static str, replies: &[&str]) -> Seen {
        let mut daemon = FakeDaemon::answering([STATUS].iter().chain(replies).copied());
        daemon.input = input;
        let seen = daemon.run("");
        Seen { stdout: seen.stdout.strip_prefix(GREETING).unwrap().to_owned(), ..seen }
    }

    fn seen(stdout: &str, stderr: &str, exit: u8) -> Seen {
        Seen { stdout: stdout.into(), stderr: stderr.into(), exit }
    }

    #[test]
    fn one_command_a_line_until_eof() {
        let list = r#"{"status": "ok", "watchers": ["a1", "my app"]}"#;
        let replies = [list, r#"{"status": "active"}"#, r#"{"status": "ok"}"#];
        let output = "(circusctl) a1,my app\n(circusctl) active\n(circusctl) ok\n(circusctl) *** Unknown syntax: foo\n\
                      (circusctl) (circusctl) ";
        assert_eq!(session("list\nstatus a1\nincr a1\nfoo\n\nEOF\n", &replies), seen(output, "", 0));
        assert_eq!(session("list", &[list]), seen("(circusctl) a1,my app\n(circusctl) \n", "", 0));
        assert_eq!(session("\n", &[]), seen("(circusctl) (circusctl) \n", "", 0));
    }

    #[test]
    fn empty_line_does_nothing_and_exit_leaves() {
        let replies = [r#"{"numwatchers": 2}"#];
        assert_eq!(session("numwatchers\n\n", &replies), seen("(circusctl) 2\n(circusctl) (circusctl) \n", "", 0));
        assert_eq!(session("exit\nnumwatchers\n", &[]), seen("(circusctl) ", "", 0));
    }

    #[test]
    fn misspelled_command_gets_a_suggestion() {
        let output = "(circusctl) *** Unknown syntax: stauts; did you mean 'status'?\n\
                      (circusctl) *** No help on stauts; did you mean 'status'?\n(circusctl) \n";
        assert_eq!(session("stauts\nhelp stauts\n", &[]), seen(output, "", 0));
    }

    #[test]
    fn mistakes_do_not_end_the_shell() {
        let nope = r#"{"status": "error", "reason": "program nope not found"}"#;
        assert_eq!(
            session("decr\nstatus nope\nlist 'a\n", &[nope]),
            seen(
                "(circusctl) (circusctl) (circusctl) (circusctl) \n",
                "Invalid number of arguments\nusage: circusctl decr NAME... [N] [--waiting]\nerror: program nope not found\nerror: a quotation is not closed\n",
                0
            )
        );
    }

    #[test]
    fn a_syntax_error_does() {
        let usage = "usage: circusctl list [NAME...]\ncircusctl: error: unrecognized arguments: --zork\n";
        assert_eq!(session("list --zork\nlist\n", &[]), seen("(circusctl) ", usage, 2));
    }

    #[test]
    fn help_within_the_shell() {
        let help = session("help\nhelp numwatchers\nhelp foo\n", &[]);
        assert!(help.stdout.starts_with("(circusctl) Commands:\n  add "), "{}", help.stdout);
        assert!(help.stdout.contains("(circusctl) Count the watchers\n====="), "{}", help.stdout);
        assert!(help.stdout.ends_with("(circusctl) *** No help on foo\n(circusctl) \n"), "{}", help.stdout);
    }

    #[test]
    fn words_split_as_in_a_shell_options_hold_for_a_line() {
        let mut daemon = FakeDaemon::answering([STATUS, r#"{"status": "active"}"#]);
        daemon.input = "status 'my app' --timeout 60 --json\n";
        let seen = daemon.run("--endpoint ipc://x");
        assert!(seen.stdout.ends_with("(circusctl) {\"status\": \"active\"}\n(circusctl) \n"), "{}", seen.stdout);
        let heard = daemon.heard.borrow();
        assert_eq!((heard[1].endpoint.as_str(), heard[1].wait), ("ipc://x", Wait::AtMost(Duration::from_secs(60))));
        assert_eq!(heard[1].request["properties"]["name"], "my app");
        assert_eq!((&heard[0].request["id"], &heard[1].request["id"]), (&"id-1".into(), &"id-2".into()));
    }

    #[test]
    fn without_a_daemon_there_is_no_shell() {
        let mut daemon =
            FakeDaemon::failing(ClientError::Timeout { endpoint: "e".into(), limit: Duration::from_secs(5) });
        daemon.input = "list\n";
        let seen = daemon.run("");
        assert!(seen.stderr.starts_with("Timed out.\n"), "{}", seen.stderr);
        assert_eq!(seen.exit, 1);
    }
}
