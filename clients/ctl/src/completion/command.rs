//! `AUTO_COMPLETE` and the hidden command `completion`.

use super::candidates;
use crate::session::Session;
use crate::words::typed;
use crate::{Exit, Globals, Outcome, text};

/// What the environment asks to be completed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutoComplete {
    /// `COMP_WORDS`: the line, with blanks between its words.
    pub words: String,
    /// `COMP_CWORD`: the number of the word in question; the program is word 0.
    pub word: usize,
}

/// What the hidden command was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion(pub(crate) Vec<String>);

const SCRIPTS: [(&str, &str); 3] = [
    ("bash", include_str!("circusctl.bash")),
    ("fish", include_str!("circusctl.fish")),
    ("zsh", include_str!("circusctl.zsh")),
];

/// In one line, as the original has it.
pub(crate) fn auto_complete(session: &mut Session<'_>, asked: &AutoComplete) -> Outcome {
    let words: Vec<String> = asked.words.split_whitespace().skip(1).map(str::to_owned).collect();
    let at = asked.word.saturating_sub(1).min(words.len());
    let (before, rest) = words.split_at_checked(at).unwrap_or((&words, &[]));
    let typed = rest.first().map_or("", String::as_str);
    Outcome::done(&candidates(session, &Globals::default(), before, typed).join(" "))
}

/// Prints a script, or for one of the scripts the candidates, one a line.
pub(crate) fn complete(session: &mut Session<'_>, Completion(words): &Completion) -> Outcome {
    let (before, typed) = match words.as_slice() {
        [shell] if SCRIPTS.iter().any(|(name, _)| name == shell) => {
            let script = SCRIPTS.iter().find(|(name, _)| name == shell).map_or("", |(_, script)| script);
            return Outcome::done(script.trim_end());
        }
        [form, line] if form == "line" => {
            let line = typed(line);
            // The first word is the program.
            (line.words.into_iter().skip(1).collect(), line.word)
        }
        [form, before @ .., last] if form == "words" => (before.to_vec(), last.clone()),
        _ => {
            let known: Vec<&str> = SCRIPTS.iter().map(|(name, _)| *name).collect();
            let reason = format!("completion needs the name of a shell: {}", known.join(", "));
            return Outcome::failed(Exit::Usage, text::syntax(&reason, None));
        }
    };
    let found = candidates(session, &Globals::default(), &before, &typed);
    Outcome {
        exit: Exit::Success,
        stdout: found.iter().map(|word| format!("{word}\n")).collect(),
        stderr: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{FakeDaemon, Seen};
    use circus_client::Wait;

    const STATUS: &str =
        r#"{"status": "ok", "statuses": {"Two Words": "active", "one": "active", "other": "stopped"}}"#;

    fn printed(stdout: &str) -> Seen {
        Seen { stdout: stdout.into(), stderr: String::new(), exit: 0 }
    }

    fn auto(words: &str, word: usize, replies: &[&str]) -> Seen {
        let mut daemon = FakeDaemon::answering(replies.iter().copied());
        daemon.environment.auto_complete = Some(AutoComplete { words: words.into(), word });
        daemon.run("whatever --is given")
    }

    #[test]
    fn the_original_s_contract() {
        assert_eq!(auto("circusctl num", 1, &[]), printed("numprocesses numwatchers\n"));
        assert_eq!(auto("circusctl list nonsense", 1, &[]), printed("list listen listsockets\n"));
        assert_eq!(auto("circusctl help ", 2, &[]).stdout.split(' ').next(), Some("add"));
        assert_eq!(auto("circusctl nonsense x", 2, &[]), printed("\n"));
        assert_eq!(auto("circusctl stop o", 2, &[STATUS]), printed("one other\n"));
        assert_eq!(auto("", 7, &[]).exit, 0);
    }

    #[test]
    fn candidates_for_the_scripts_one_a_line() {
        let run = |line: &str, replies: &[&str]| FakeDaemon::answering(replies.iter().copied()).run(line);
        assert_eq!(run("completion line 'circusctl num'", &[]), printed("numprocesses\nnumwatchers\n"));
        assert_eq!(run("completion line 'circusctl stop '", &[STATUS]), printed("Two Words\none\nother\n"));
        assert_eq!(run("completion words stop --match regex ''", &[STATUS]), printed("Two Words\none\nother\n"));
        assert_eq!(run("completion line 'x/circusctl stop \"Two W'", &[STATUS]), printed("Two Words\n"));
        assert_eq!(
            run("completion words listen ''", &[STATUS]),
            printed("watcher.one.\nwatcher.other.\nwatcher.two_words.\n")
        );
        let pids = r#"{"status": "ok", "pids": [17, 170, 4]}"#;
        assert_eq!(run("completion words kill one 17", &[pids]), printed("17\n170\n"));
        let options = r#"{"status": "ok", "options": {"cmd": "x", "copy_env": false}}"#;
        assert_eq!(run("completion words get one c", &[options]), printed("cmd\ncopy_env\n"));
    }

    #[test]
    fn a_daemon_that_does_not_answer_has_no_watchers() {
        let mut silent = FakeDaemon::failing(crate::testing::unreachable());
        assert_eq!(silent.run("completion words stop ''"), printed(""));
        let refusing = FakeDaemon::answering([r#"{"status": "error", "reason": "no", "errno": 5}"#]);
        assert_eq!({ refusing }.run("completion words list ''"), printed(""));
    }

    #[test]
    fn completion_asks_the_endpoint_of_the_line_briefly() {
        let mut daemon = FakeDaemon::answering([STATUS]);
        daemon.run("completion words --endpoint ipc://there stop ''");
        let heard = daemon.heard.borrow();
        assert_eq!((heard[0].endpoint.as_str(), heard[0].wait), ("ipc://there", Wait::AtMost(Duration::from_secs(1))));
    }

    #[test]
    fn scripts() {
        for (shell, script) in SCRIPTS {
            let seen = FakeDaemon::default().run(&format!("completion {shell}"));
            assert_eq!(seen, printed(script));
            assert!(script.contains(&format!("`circusctl completion {shell}`")), "{shell}");
        }
        let seen = FakeDaemon::default().run("completion tcsh");
        assert!(seen.stderr.ends_with("completion needs the name of a shell: bash, fish, zsh\n"), "{seen:?}");
        assert_eq!(seen.exit, 2);
    }
}
