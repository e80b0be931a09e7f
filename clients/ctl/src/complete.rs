//! What may stand at a place of a command line: the one answer behind the shell's tabulator and the completion of bash,
//! zsh and fish. Read from the table of commands; what only the daemon knows is named here and asked for elsewhere.

use super::globals::{ENDPOINT, GLOBAL_OPTIONS, HOST, SSH};
use circus_core::commands::{COMMANDS, CommandSpec, ConsoleOption};
use circus_core::config::options::WATCHER_OPTIONS;
use circus_core::proto::Signal;

/// What may stand somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// This word.
    Word(String),
    /// The name of a host of `hosts.toml`, behind others with commas.
    Host,
    /// The name of a watcher.
    Watcher,
    /// The beginning of topics.
    Topic,
    /// The pid of a process of this watcher.
    PidOf(String),
    /// An option that this watcher shows.
    OptionOf(String),
}

/// What may stand where a line ends, and the endpoint that the line names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choices {
    pub(super) choices: Vec<Choice>,
    pub(super) endpoint: Option<String>,
    /// The hosts that it names.
    pub(super) host: Option<String>,
    /// Whether the daemon is on another machine: completing a word is not worth a login there.
    pub(super) remote: bool,
}

/// What may follow `words`, the words behind `circusctl`, where `typed` has been typed of the next one.
pub(super) fn choices(words: &[String], typed: &str) -> Choices {
    let line = Line::read(words);
    let choices = match (line.open_option, line.command()) {
        (Some(option), _) => values(option),
        (None, _) if typed.starts_with('-') && !line.ended => {
            line.known_options().map(|option| Choice::Word(format!("--{}", option.name))).collect()
        }
        (None, None) => commands(line.words.first().map(String::as_str)),
        (None, Some(spec)) => arguments(spec, line.words.get(1..).unwrap_or_default()),
    };
    Choices { choices, endpoint: line.endpoint, host: line.host, remote: line.remote }
}

/// A line up to the place in question.
#[derive(Default)]
struct Line {
    /// The words that are neither options nor their values.
    words: Vec<String>,
    /// An option whose value is to come.
    open_option: Option<&'static ConsoleOption>,
    /// Whether there was a `--`.
    ended: bool,
    endpoint: Option<String>,
    host: Option<String>,
    remote: bool,
}

impl Line {
    fn read(words: &[String]) -> Self {
        let mut line = Self::default();
        for word in words {
            line.take(word);
        }
        line
    }

    fn take(&mut self, word: &str) {
        if let Some(option) = self.open_option.take() {
            self.note(option, word);
        } else if let Some(name) = word.strip_prefix("--").filter(|_| !self.ended) {
            let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
            let option = self.known_options().find(|option| option.name == name && option.value.is_some());
            match (option, value) {
                (Some(option), Some(value)) => self.note(option, value),
                (Some(option), None) => self.open_option = Some(option),
                (None, _) => self.ended = name.is_empty(),
            }
        } else {
            self.words.push(word.into());
        }
    }

    fn note(&mut self, option: &ConsoleOption, value: &str) {
        if option.name == ENDPOINT {
            self.endpoint = Some(value.into());
        }
        if option.name == HOST {
            self.host = Some(value.into());
        }
        self.remote |= option.name == SSH;
    }

    fn command(&self) -> Option<&'static CommandSpec> {
        let name = self.words.first()?;
        COMMANDS.iter().find(|spec| spec.name == name)
    }

    fn known_options(&self) -> impl Iterator<Item = &'static ConsoleOption> {
        self.command().into_iter().flat_map(CommandSpec::all_options).chain(GLOBAL_OPTIONS)
    }
}

fn word(word: impl Into<String>) -> Choice {
    Choice::Word(word.into())
}

/// Where no command is known yet: all of them, or those that help describes.
fn commands(before: Option<&str>) -> Vec<Choice> {
    let names = COMMANDS.iter().map(|spec| word(spec.name));
    match before {
        None => names.chain(["help", "import", "keygen", "schema"].map(word)).collect(),
        Some("help") => names.collect(),
        Some(_) => Vec::new(),
    }
}

fn values(option: &ConsoleOption) -> Vec<Choice> {
    match option.name {
        "match" => ["glob", "regex", "simple"].map(word).into(),
        "signum" => signals(),
        HOST => vec![Choice::Host],
        _ => Vec::new(),
    }
}

fn signals() -> Vec<Choice> {
    (1..=31).filter_map(|number| Signal(number).name()).map(word).collect()
}

/// The words that a command takes, in order, as its form has them: `NAME [PID] SIGNUM`, `NAME KEY VALUE [KEY VALUE...]`.
fn arguments(spec: &CommandSpec, before: &[String]) -> Vec<Choice> {
    let form: Vec<&str> = spec.console.form.split_whitespace().collect();
    let repeats = form.iter().rposition(|name| name.starts_with('[')).filter(|_| spec.console.form.ends_with("...]"));
    let place = if let Some(first) = repeats.filter(|_| before.len() >= form.len()) {
        first + (before.len() - first) % (form.len() - first)
    } else if spec.console.form.ends_with("...") {
        before.len().min(form.len().saturating_sub(1))
    } else {
        before.len()
    };
    let Some(name) = form.get(place) else { return Vec::new() };
    let mut found = argument(spec, name, before);
    // An optional word may be left out, if another follows.
    if name.starts_with('[')
        && let Some(next) = form.get(place + 1).filter(|_| repeats.is_none())
    {
        found.extend(argument(spec, next, before));
    }
    found
}

fn argument(spec: &CommandSpec, name: &str, before: &[String]) -> Vec<Choice> {
    let watcher = || before.first().cloned().unwrap_or_default();
    match name.trim_matches(|c| "[].".contains(c)) {
        // The one name that must not be there yet.
        "NAME" if spec.name == "add" => Vec::new(),
        "NAME" => vec![Choice::Watcher],
        "PID" => vec![Choice::PidOf(watcher())],
        "SIGNUM" => signals(),
        "TOPIC" => vec![Choice::Topic],
        "OPTION" => {
            ["check_delay", "endpoint", "multicast_endpoint", "pubsub_endpoint", "stats_endpoint"].map(word).into()
        }
        "KEY" if spec.name == "get" => vec![Choice::OptionOf(watcher())],
        "KEY" => WATCHER_OPTIONS.iter().map(|option| word(option.key.trim_end_matches('*'))).collect(),
        "VALUE" if before.last().is_some_and(|key| key == "stop_signal") => signals(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may follow a line, words as themselves. The last word of the line is the one that is being typed.
    fn of(line: &str) -> Vec<String> {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let typed = words.pop().unwrap();
        let shown = |choice: Choice| match choice {
            Choice::Word(word) if word.starts_with(&typed) => Some(word),
            Choice::Word(_) => None,
            other => Some(format!("{other:?}")),
        };
        choices(&words, &typed).choices.into_iter().filter_map(shown).collect()
    }

    #[test]
    fn commands_come_first() {
        assert_eq!(of("").len(), COMMANDS.len() + 4);
        assert_eq!(of("num"), ["numprocesses", "numwatchers"]);
        assert_eq!(of("h"), ["help"]);
        assert_eq!(of("--json --timeout 5 num"), ["numprocesses", "numwatchers"]);
        assert_eq!(of("--endpoint=x num"), ["numprocesses", "numwatchers"]);
        assert_eq!(of("help sig"), ["signal"]);
        assert_eq!(of("nonsense "), [""; 0]);
    }

    #[test]
    fn every_command_is_followed_by_what_its_form_says() {
        for (line, choices) in [
            ("status ", &["Watcher"][..]),
            ("stop x ", &["Watcher"]),
            ("incr w ", &[]),
            ("add ", &[]),
            ("add w ", &[]),
            ("kill w ", &["PidOf(\"w\")"]),
            ("signal w US", &["PidOf(\"w\")", "USR1", "USR2"]),
            ("signal w 5 US", &["USR1", "USR2"]),
            ("signal w 5 USR1 ", &[]),
            ("get w ", &["OptionOf(\"w\")"]),
            ("get w a b ", &["OptionOf(\"w\")"]),
            ("set w nump", &["numprocesses"]),
            ("set w numprocesses ", &[]),
            ("set w numprocesses 3 rlim", &["rlimit_"]),
            ("set w numprocesses 3 stop_signal TE", &["TERM"]),
            ("set w a 1 b 2 c 3 nump", &["numprocesses"]),
            ("listen ", &["Topic"]),
            ("listen a b ", &["Topic"]),
            ("globaloptions c", &["check_delay"]),
            ("numwatchers ", &[]),
        ] {
            assert_eq!(of(line), choices, "{line}");
        }
    }

    #[test]
    fn options_and_their_values() {
        assert_eq!(of("stop --m"), ["--match"]);
        assert_eq!(of("stop --match r"), ["regex"]);
        assert_eq!(of("stop --match regex "), ["Watcher"]);
        assert_eq!(of("kill w --signum US"), ["USR1", "USR2"]);
        assert_eq!(of("kill w 5 --w"), ["--waiting"]);
        assert_eq!(of("--js"), ["--json"]);
        assert_eq!(of("list --end"), ["--endpoint"]);
        assert_eq!(of("list --endpoint "), [""; 0]);
        assert_eq!(of("list --host we"), ["Host"]);
        assert_eq!(of("stop -- --m"), ["Watcher"]);
    }

    #[test]
    fn the_line_s_own_endpoint_is_the_one_to_ask() {
        let words = ["--endpoint", "ipc://x", "stop"].map(str::to_owned);
        assert_eq!(choices(&words, "").endpoint.as_deref(), Some("ipc://x"));
        assert_eq!(choices(&["--endpoint=ipc://y".to_owned()], "").endpoint.as_deref(), Some("ipc://y"));
        assert_eq!(choices(&[], "").endpoint, None);
        assert_eq!(choices(&["--host=web1".to_owned()], "").host.as_deref(), Some("web1"));
        assert!(choices(&["--ssh", "me@there", "stop"].map(str::to_owned), "").remote);
    }

    #[test]
    fn no_command_is_beyond_completion() {
        for spec in COMMANDS {
            for count in 0..6 {
                let words: Vec<String> =
                    std::iter::once(spec.name).chain(vec!["x"; count]).map(str::to_owned).collect();
                drop(choices(&words, ""));
            }
        }
    }
}
