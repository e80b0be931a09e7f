//! circusctl's command line, as a grammar made from the table of commands.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::globals::{
    CURVE_KEY, CURVE_SERVER_KEY, ENDPOINT, GLOBAL_OPTIONS, HELP, HOST, JSON, PRETTIFY, SSH, SSH_KEYFILE, TIMEOUT,
    VERSION,
};
use super::import::Import;
use super::keygen::Keygen;
use super::{Completion, Globals};
use circus_core::commands::{COMMANDS, CommandSpec, ConsoleOption, Invocation};
use circus_core::config::{nearest, suggestion};

/// The words after a command. In capitals, so that no option has this id.
const WORDS: &str = "WORDS";

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// A command.
    Command(Globals, &'static CommandSpec, Invocation),
    /// No command: the shell.
    Shell(Globals),
    /// Help, of one command or of all.
    Help(Option<&'static CommandSpec>),
    /// The version.
    Version,
    /// A script for a shell, or what the script asks for.
    Completion(Completion),
    /// A pair of keys.
    Keygen(Keygen),
    /// A file of another manager, as an INI file.
    Import(Import),
    /// Print the JSON schema of a configuration.
    Schema,
}

/// A command line that is not of the grammar, and the command that it is about: exit status 2.
#[derive(Clone, Debug)]
pub struct SyntaxError(pub String, pub Option<&'static CommandSpec>);

impl PartialEq for SyntaxError {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// Reads a command line, without the program's name.
pub fn parse(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Parsed, SyntaxError> {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    if let [first, rest @ ..] = args.as_slice()
        && first == "completion"
    {
        // The following words may be any line, so the grammar does not parse them.
        let words = rest.iter().map(|word| word.to_string_lossy().into_owned());
        return Ok(Parsed::Completion(Completion(words.collect())));
    }
    if let [first, rest @ ..] = args.as_slice()
        && first == "keygen"
    {
        return Keygen::parse(rest).map(Parsed::Keygen);
    }
    if let [first, rest @ ..] = args.as_slice()
        && first == "import"
    {
        return Import::parse(rest).map(Parsed::Import);
    }
    if let [first, rest @ ..] = args.as_slice()
        && first == "schema"
    {
        return match rest {
            [] => Ok(Parsed::Schema),
            [word, ..] => Err(SyntaxError(format!("schema takes no '{}'", word.to_string_lossy()), None)),
        };
    }
    let matches = grammar().try_get_matches_from(&args).map_err(|error| explain(&error, &args))?;
    let (name, inner) = match matches.subcommand() {
        None => return parsed_without_command(&Levels { outer: &matches, inner: None }),
        Some((name, inner)) => (name, inner),
    };
    let levels = Levels { outer: &matches, inner: Some(inner) };
    if levels.flag(VERSION) {
        return Ok(Parsed::Version);
    }
    let Some(spec) = COMMANDS.iter().find(|spec| spec.name == name) else {
        return help_about(words(inner).first());
    };
    if levels.flag(HELP) {
        return Ok(Parsed::Help(Some(spec)));
    }
    if let Some(option) = swallowed_option(spec, inner) {
        return Err(SyntaxError(
            format!("--{option} is part of the watcher's command: put it before {name}, or '--' before the command"),
            Some(spec),
        ));
    }
    let (mut globals, mut invocation) = (globals(&levels)?, invocation(spec, inner));
    if spec.name == "quit"
        && let (Some(limit), Some(text)) = (globals.timeout, inner.get_one::<String>(TIMEOUT))
    {
        // How long the watchers may take to stop: the answer comes a moment after that.
        invocation = invocation.with_value(TIMEOUT, text);
        globals.timeout = Some(limit + AFTER_END);
    }
    Ok(Parsed::Command(globals, spec, invocation))
}

/// How long the answer to `quit --timeout` may take when the time is over.
const AFTER_END: Duration = Duration::from_secs(5);

fn parsed_without_command(levels: &Levels<'_>) -> Result<Parsed, SyntaxError> {
    if levels.flag(VERSION) {
        Ok(Parsed::Version)
    } else if levels.flag(HELP) {
        Ok(Parsed::Help(None))
    } else {
        globals(levels).map(Parsed::Shell)
    }
}

fn help_about(topic: Option<&String>) -> Result<Parsed, SyntaxError> {
    match topic {
        None => Ok(Parsed::Help(None)),
        Some(topic) => match COMMANDS.iter().find(|spec| spec.name == topic) {
            Some(spec) => Ok(Parsed::Help(Some(spec))),
            None => {
                let near = suggestion(topic, COMMANDS.iter().map(|spec| spec.name));
                Err(SyntaxError(format!("no command is called '{topic}'{near}"), None))
            }
        },
    }
}

fn grammar() -> Command {
    let bare = |name: &'static str| Command::new(name).disable_help_flag(true).disable_version_flag(true);
    let words = || Arg::new(WORDS).num_args(0..).allow_negative_numbers(true);
    let subcommand = |spec: &'static CommandSpec| {
        bare(spec.name).args(GLOBAL_OPTIONS.iter().chain(spec.all_options()).map(argument)).arg(words())
    };
    bare("circusctl")
        .no_binary_name(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .args(GLOBAL_OPTIONS.iter().map(argument))
        .subcommands(COMMANDS.iter().map(subcommand))
        .subcommand(bare("help").args(GLOBAL_OPTIONS.iter().map(argument)).arg(words()))
}

fn argument(option: &'static ConsoleOption) -> Arg {
    let action = if option.value.is_some() { ArgAction::Set } else { ArgAction::SetTrue };
    let argument =
        Arg::new(option.name).long(option.name).action(action).allow_negative_numbers(option.value.is_some());
    match option.short {
        Some(letter) => argument.short(letter),
        None => argument,
    }
}

/// The matches before the command and those after it, which count for more.
///
/// clap's own global arguments would hide on which side an option stood, and `add` must know.
struct Levels<'a> {
    outer: &'a ArgMatches,
    inner: Option<&'a ArgMatches>,
}

impl Levels<'_> {
    fn flag(&self, name: &str) -> bool {
        self.outer.get_flag(name) || self.inner.is_some_and(|inner| inner.get_flag(name))
    }

    fn value(&self, name: &str) -> Option<&String> {
        let inner = self.inner.and_then(|inner| inner.get_one::<String>(name));
        inner.or_else(|| self.outer.get_one::<String>(name))
    }
}

fn globals(levels: &Levels<'_>) -> Result<Globals, SyntaxError> {
    let (endpoint, host) = (levels.value(ENDPOINT).cloned(), levels.value(HOST).cloned());
    if endpoint.is_some() && host.is_some() {
        return Err(SyntaxError("argument --host: not allowed with argument --endpoint".into(), None));
    }
    Ok(Globals {
        endpoint,
        host,
        place: None,
        timeout: levels.value(TIMEOUT).map(|text| seconds(text)).transpose()?,
        json: levels.flag(JSON),
        prettify: levels.flag(PRETTIFY),
        ssh: levels.value(SSH).cloned(),
        ssh_keyfile: levels.value(SSH_KEYFILE).cloned(),
        curve_key: levels.value(CURVE_KEY).cloned(),
        curve_server_key: levels.value(CURVE_SERVER_KEY).cloned(),
    })
}

fn seconds(text: &str) -> Result<Duration, SyntaxError> {
    let whole = text.trim().parse::<u32>();
    whole
        .map(|seconds| Duration::from_secs(seconds.into()))
        .map_err(|_| SyntaxError(format!("argument --timeout: invalid int value: '{text}'"), None))
}

fn words(matches: &ArgMatches) -> Vec<String> {
    matches.get_many::<String>(WORDS).into_iter().flatten().cloned().collect()
}

fn invocation(spec: &CommandSpec, matches: &ArgMatches) -> Invocation {
    spec.all_options().fold(Invocation::new(words(matches)), |invocation, option| match option.value {
        None if matches.get_flag(option.name) => invocation.with_flag(option.name),
        None => invocation,
        Some(_) => match matches.get_one::<String>(option.name) {
            Some(value) => invocation.with_value(option.name, value),
            None => invocation,
        },
    })
}

/// An option of circusctl's that stands behind the first word of a watcher's command, and may well be meant for it.
fn swallowed_option(spec: &CommandSpec, matches: &ArgMatches) -> Option<&'static str> {
    let command = matches.indices_of(WORDS).filter(|_| spec.console.takes_command)?.nth(1)?;
    let given = |name| matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
    let mut names = GLOBAL_OPTIONS.iter().map(|option| option.name);
    names.find(|name| given(name) && matches.index_of(name).is_some_and(|index| index > command))
}

/// clap's errors in the words of the original.
fn explain(error: &clap::Error, args: &[OsString]) -> SyntaxError {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    // clap does not say within which command it stopped.
    let spec = args.iter().find_map(|arg| COMMANDS.iter().find(|spec| arg == spec.name));
    let reason = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand);
            let known =
                COMMANDS.iter().map(|spec| spec.name).chain(["help", "completion", "import", "keygen", "schema"]);
            format!("unrecognized arguments: {word}{}", suggestion(&word, known))
        }
        ErrorKind::UnknownArgument => {
            let mut word = context(ContextKind::InvalidArg);
            let options = spec.into_iter().flat_map(CommandSpec::all_options).chain(GLOBAL_OPTIONS);
            let near = word.strip_prefix("--").and_then(|name| nearest(name, options.map(|option| option.name)));
            let advice = match near {
                Some(near) => format!("; did you mean '--{near}'?"),
                None if spec.is_some_and(|spec| spec.console.takes_command) => {
                    " (put '--' before the watcher's command)".into()
                }
                None if !word.starts_with("--") => {
                    // clap takes the name apart, letter by letter.
                    let whole = args.iter().filter_map(|arg| arg.to_str()).find(|arg| arg.starts_with(&word));
                    word = whole.unwrap_or(&word).to_owned();
                    " (put '--' before a name that begins with a dash)".into()
                }
                None => String::new(),
            };
            format!("unrecognized arguments: {word}{advice}")
        }
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            let argument = context(ContextKind::InvalidArg);
            format!("argument {}: expected one argument", argument.split(' ').next().unwrap_or_default())
        }
        ErrorKind::TooManyValues => {
            let (argument, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
            format!("argument {argument}: ignored explicit argument '{value}'")
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".into(),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    SyntaxError(reason, spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use circus_core::commands::{self, Action};
    use circus_core::proto::{Envelope, RequestId};

    fn command(line: &str) -> (Globals, &'static str, Invocation) {
        match parse(shlex::split(line).unwrap()) {
            Ok(Parsed::Command(globals, spec, invocation)) => (globals, spec.name, invocation),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &str) -> String {
        parse(shlex::split(line).unwrap()).unwrap_err().0
    }

    #[test]
    fn the_grammar_is_sound() {
        grammar().debug_assert();
    }

    #[test]
    fn schema_takes_nothing() {
        assert!(matches!(parse(["schema"]), Ok(Parsed::Schema)));
        assert_eq!(parse(["schema", "x"]).map(drop), Err(SyntaxError("schema takes no 'x'".into(), None)));
    }

    #[test]
    fn options_stand_anywhere() {
        let globals = Globals {
            endpoint: Some("ipc://x".into()),
            timeout: Some(Duration::from_secs(7)),
            json: true,
            prettify: true,
            ssh: Some("me@there".into()),
            ssh_keyfile: Some("key".into()),
            ..Globals::default()
        };
        for line in [
            "--endpoint ipc://x --timeout 7 --json --prettify --ssh me@there --ssh_keyfile key list a1",
            "list a1 --endpoint ipc://x --timeout=7 --json --prettify --ssh me@there --ssh_keyfile key",
            "--json list --endpoint=ipc://x a1 --ssh=me@there --timeout 7 --prettify --ssh_keyfile=key",
            "--endpoint ipc://y --ssh me@there list a1 --endpoint ipc://x --timeout 7 --json --prettify --ssh_keyfile key",
        ] {
            assert_eq!(command(line), (globals.clone(), "list", Invocation::new(["a1"])), "{line}");
        }
        let signal = Invocation::new(["a1", "CONT"]).with_flag("recursive");
        for line in ["signal a1 --recursive CONT", "signal --recursive a1 CONT", "signal a1 CONT --recursive"] {
            assert_eq!(command(line), (Globals::default(), "signal", signal.clone()), "{line}");
        }
    }

    #[test]
    fn every_command_takes_its_options() {
        for spec in COMMANDS {
            let mut line = vec![spec.name.to_owned(), "word".to_owned()];
            let mut expected = Invocation::new(["word"]);
            for option in spec.all_options() {
                line.push(format!("--{}", option.name));
                if option.value.is_some() {
                    line.push("v".into());
                    expected = expected.with_value(option.name, "v");
                } else {
                    expected = expected.with_flag(option.name);
                }
            }
            let Ok(Parsed::Command(_, found, invocation)) = parse(&line) else { panic!("{line:?}") };
            assert_eq!((found.name, invocation), (spec.name, expected));
        }
    }

    #[test]
    fn examples_decode_and_their_answers_are_shown() {
        for spec in COMMANDS {
            let (_, name, invocation) = command(spec.doc.example);
            assert_eq!(name, spec.name);
            let Action::Call { show, .. } = spec.console.action else { continue };
            let properties = Some(commands::message(spec, &invocation).unwrap());
            let envelope = Envelope { id: RequestId::Absent, command: name.into(), properties, cast: false };
            assert!(commands::decode(&envelope).is_ok(), "{name}");
            let answer = serde_json::from_str(spec.doc.answer).unwrap();
            assert!(!show(&answer, &invocation).is_empty(), "{name}");
        }
    }

    #[test]
    fn words_may_be_empty_or_negative() {
        assert_eq!(command("stop -- -dash").2, Invocation::new(["-dash"]));
        assert_eq!(command("stop --waiting -- -dash web").2, Invocation::new(["-dash", "web"]).with_flag("waiting"));
        assert_eq!(command("set a1 max_retry -1").2, Invocation::new(["a1", "max_retry", "-1"]));
        assert_eq!(command("set a1 args ''").2, Invocation::new(["a1", "args", ""]));
        assert_eq!(command("set a1 args -- --verbose").2, Invocation::new(["a1", "args", "--verbose"]));
    }

    #[test]
    fn a_watcher_s_command_keeps_its_own_options() {
        let web = Invocation::new(["web", "gunicorn", "--timeout", "30"]);
        assert_eq!(command("add web -- gunicorn --timeout 30").2, web);
        assert_eq!(command("add web 'gunicorn --timeout 30'").2, Invocation::new(["web", "gunicorn --timeout 30"]));
        let swallowed = "--timeout is part of the watcher's command: put it before add, or '--' before the command";
        assert_eq!(refused("add web gunicorn --timeout 30"), swallowed);
        assert_eq!(
            command("add new2 sleep 2002 --start").2,
            Invocation::new(["new2", "sleep", "2002"]).with_flag("start")
        );
        assert_eq!(command("add --timeout 30 web sleep 1").0.timeout, Some(Duration::from_secs(30)));
    }

    #[test]
    fn help_and_version_in_every_place() {
        for line in ["--version", "--version list", "list --version"] {
            assert!(matches!(parse(line.split(' ')), Ok(Parsed::Version)), "{line}");
        }
        for line in ["--help", "-h", "help"] {
            assert!(matches!(parse(line.split(' ')), Ok(Parsed::Help(None))), "{line}");
        }
        for line in ["--help list", "list --help", "list -h a b", "help list"] {
            let Ok(Parsed::Help(Some(spec))) = parse(line.split(' ')) else { panic!("{line}") };
            assert_eq!(spec.name, "list");
        }
        assert!(matches!(parse([""; 0]), Ok(Parsed::Shell(_))));
        assert!(matches!(parse(["--json"]), Ok(Parsed::Shell(Globals { json: true, .. }))));
    }

    #[test]
    fn refusals() {
        for (line, reason) in [
            ("foo", "unrecognized arguments: foo"),
            ("lst", "unrecognized arguments: lst; did you mean 'list'?"),
            ("stauts", "unrecognized arguments: stauts; did you mean 'status'?"),
            ("up", "unrecognized arguments: up"),
            ("list --jsno", "unrecognized arguments: --jsno; did you mean '--json'?"),
            ("stop x --wating", "unrecognized arguments: --wating; did you mean '--waiting'?"),
            ("help stauts", "no command is called 'stauts'; did you mean 'status'?"),
            ("list --zork", "unrecognized arguments: --zork"),
            ("stop -dash", "unrecognized arguments: -dash (put '--' before a name that begins with a dash)"),
            ("--zork", "unrecognized arguments: --zork"),
            ("add x sh -c foo", "unrecognized arguments: -c (put '--' before the watcher's command)"),
            ("list --timeout x", "argument --timeout: invalid int value: 'x'"),
            ("--timeout -1 list", "argument --timeout: invalid int value: '-1'"),
            ("list --endpoint", "argument --endpoint: expected one argument"),
            ("stop a1 --match", "argument --match: expected one argument"),
            ("list --json=5", "argument --json: ignored explicit argument '5'"),
            ("list --host a --endpoint ipc://b", "argument --host: not allowed with argument --endpoint"),
            ("help foo", "no command is called 'foo'"),
        ] {
            assert_eq!(refused(line), reason, "{line}");
        }
    }
}
