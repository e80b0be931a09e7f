//! `cyme completion SHELL`: a script for a shell, which asks this program again for the words that may come next.

use std::time::Duration;

use clap::CommandFactory as _;
use serde_json::Value;

use super::{Args, Branch, Call, segment};

/// Completion does not wait for a branch that is busy or not there.
const ANSWER: Duration = Duration::from_secs(1);
const SCRIPTS: [(&str, &str); 3] = [
    ("bash", include_str!("completion/cyme.bash")),
    ("fish", include_str!("completion/cyme.fish")),
    ("zsh", include_str!("completion/cyme.zsh")),
];
/// The commands.
const COMMANDS: &[&str] = &[
    "apps",
    "apps.add",
    "apps.all",
    "apps.delete",
    "apps.get",
    "branches",
    "branches.all",
    "branches.get",
    "completion",
    "consumers",
    "consumers.add",
    "consumers.all",
    "consumers.delete",
    "fleet",
    "instances",
    "instances.add",
    "instances.all",
    "instances.autoscale",
    "instances.delete",
    "instances.disable",
    "instances.enable",
    "instances.get",
    "instances.restart",
    "instances.stats",
    "queues",
    "queues.add",
    "queues.all",
    "queues.delete",
    "queues.get",
    "singleton",
];
const ORDERS: &[&str] = &["decr", "incr", "reload", "restart", "signal", "start", "status", "stop"];

/// What may stand at a place.
#[derive(Debug, PartialEq)]
enum Wanted {
    Words(Vec<String>),
    /// The names that a branch lists at this path.
    Listed(String),
}

/// What is printed, or what is wrong.
pub(super) fn run(words: &[String], branch: &Branch) -> Result<String, String> {
    match words {
        [form, before @ .., typed] if form == "words" => {
            let found = match wanted(before, typed) {
                Wanted::Words(words) => words,
                Wanted::Listed(path) => listed(branch, path),
            };
            let shown = |word: &String| word.starts_with(typed) && *circus_core::escape::escaped(word) == **word;
            Ok(found.into_iter().filter(shown).map(|word| word + "\n").collect())
        }
        [shell] if SCRIPTS.iter().any(|(name, _)| name == shell) => {
            Ok(SCRIPTS.iter().find(|(name, _)| name == shell).map_or(String::new(), |(_, script)| (*script).to_owned()))
        }
        _ => Err("completion needs the name of a shell: bash, fish, zsh".into()),
    }
}

fn listed(branch: &Branch, path: String) -> Vec<String> {
    let call = Call { method: "GET", path, params: Vec::new() };
    let Ok((200, body)) = branch.send_within(&call, ANSWER) else { return Vec::new() };
    let list: Value = serde_json::from_str(&body).unwrap_or_default();
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What may stand behind these words.
fn wanted(before: &[String], typed: &str) -> Wanted {
    let words = |list: &[&str]| Wanted::Words(list.iter().map(|word| (*word).to_owned()).collect());
    let takes_value = |word: &str| {
        matches!(
            word,
            "-a" | "--app" | "-F" | "--format" | "-u" | "--url" | "--machines" | "--watchers" | "--token-file"
        )
    };
    let (mut positional, mut app, mut option) = (Vec::new(), None, None);
    for word in before {
        match option.take() {
            Some("-a" | "--app") => app = Some(segment(word)),
            Some(_) => {}
            None if takes_value(word) => option = Some(word.as_str()),
            None if word.starts_with('-') => {}
            None => positional.push(word.as_str()),
        }
    }
    match option {
        Some("-a" | "--app") => return Wanted::Listed("/".into()),
        Some("-F" | "--format") => return words(&["json", "jsonp"]),
        Some("--machines") => return Wanted::Listed("/branches/".into()),
        Some(_) => return words(&[]),
        None => {}
    }
    if typed.starts_with('-') {
        let command = Args::command();
        let long = command.get_arguments().filter_map(|argument| argument.get_long());
        return Wanted::Words(long.chain(["help", "version"]).map(|name| format!("--{name}")).collect());
    }
    let Some((first, rest)) = positional.split_first() else { return words(COMMANDS) };
    let (kind, action) = first.split_once('.').unwrap_or((first, "all"));
    let of_app = |what: &str| app.as_ref().map_or(words(&[]), |app| Wanted::Listed(format!("/{app}/{what}/")));
    match (kind, action, rest.len()) {
        ("completion", _, 0) => words(&["bash", "fish", "zsh"]),
        ("fleet", _, 0) => words(ORDERS),
        ("branches", "get", 0) => Wanted::Listed("/branches/".into()),
        ("apps", "get" | "delete" | "add", 0) => Wanted::Listed("/".into()),
        ("instances", action, 0) if action != "all" && action != "add" => of_app("instances"),
        ("consumers", _, 0) => of_app("instances"),
        ("queues", "get" | "delete" | "add", 0) | ("consumers", "add" | "delete", 1) => of_app("queues"),
        _ => words(&[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str) -> Wanted {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let typed = words.pop().unwrap();
        wanted(&words, &typed)
    }

    #[test]
    fn what_may_come_next() {
        let words = |list: &[&str]| Wanted::Words(list.iter().map(|word| (*word).to_owned()).collect());
        let listed = |path: &str| Wanted::Listed(path.into());
        for (line, expected) in [
            ("", words(COMMANDS)),
            ("-n inst", words(COMMANDS)),
            ("instances.get -a foo ", listed("/foo/instances/")),
            ("instances.get ", words(&[])),
            ("consumers.add --app a/b i ", listed("/a%2Fb/queues/")),
            ("queues.get -a foo q", listed("/foo/queues/")),
            ("apps.get ", listed("/")),
            ("instances -a ", listed("/")),
            ("branches.get ", listed("/branches/")),
            ("fleet ", words(ORDERS)),
            ("fleet status --machines ", listed("/branches/")),
            ("-F ", words(&["json", "jsonp"])),
            ("--url ", words(&[])),
        ] {
            assert_eq!(after(line), expected, "{line}");
        }
        let Wanted::Words(options) = after("fleet --r") else { panic!() };
        assert!(options.contains(&"--rolling".to_owned()) && options.contains(&"--help".to_owned()), "{options:?}");
    }

    /// The commands are those of the help and of the requests.
    #[test]
    fn every_command_is_known() {
        for command in COMMANDS {
            let (kind, action) = command.split_once('.').unwrap_or((command, ""));
            let line = super::super::HELP.lines().find(|line| line.starts_with(kind));
            assert!(line.is_some() || kind == "completion", "{command}");
            let known = super::super::HELP.contains(&format!("{action} ")) || super::super::HELP.contains(action);
            assert!(known, "{command}");
        }
    }

    #[test]
    fn scripts_and_words_are_printed() {
        let branch = Branch { url: "http://127.0.0.1:9".into(), token: None };
        let run = |line: &str| run(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), &branch);
        assert_eq!(run("words fl"), Ok("fleet\n".into()));
        assert_eq!(run("words apps.get "), Ok(String::new()), "no branch answers");
        for shell in ["bash", "fish", "zsh"] {
            assert!(run(shell).unwrap().contains("completion words"), "{shell}");
        }
        assert!(run("tcsh").is_err());
    }
}
