//! circusctl's side of a command: a command line becomes a message, an answer becomes text.

use serde_json::Value;

use super::CommandSpec;
use crate::proto::Object;

/// How circusctl speaks of a command.
#[derive(Debug)]
pub struct ConsoleSpec {
    /// The words after the command, as help shows them: `NAME [PID] SIGNUM`.
    pub form: &'static str,
    /// The options, without `--waiting`, which every command with `waiting` has.
    pub options: &'static [ConsoleOption],
    /// Whether a refusal is printed without `error: ` before it.
    pub bare_errors: bool,
    /// Whether the words from the second on are a command line of their own, whose options are not circusctl's.
    pub takes_command: bool,
    /// With the flag `follow`, the answer is only the beginning: what comes after it is subscribed to.
    pub follows: bool,
    /// How many of the words, from the first on, are names of watchers that circusctl takes several of. The message is
    /// made for each of them, with the words behind them.
    pub names: NamesFn,
    /// How answers look at a terminal, where that is a table.
    pub table: Option<Table>,
    /// What is done with them.
    pub action: Action,
}

/// A table at a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// A flag of the message that the table needs.
    pub flag: Option<&'static str>,
    /// The heads of its columns.
    pub header: &'static [&'static str],
    /// The rows of an answer; `None` where the answer is not one for a table.
    pub rows: fn(&Value, &Invocation) -> Option<Vec<Vec<String>>>,
}

/// Counts the names among the words of a command line.
pub type NamesFn = fn(&[String]) -> usize;

/// What circusctl does for a command.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// A request and its answer.
    Call {
        /// The properties of the message.
        message: MessageFn,
        /// An answer that is no error, as text without its last line end.
        show: ShowFn,
    },
    /// A subscription to events; the words are topics.
    Subscribe,
    /// Circusctl waits, with a subscription and requests of other commands.
    Await,
}

/// Makes the properties of a message from a command line.
pub type MessageFn = fn(&Invocation) -> Result<Object, UsageError>;
/// Makes text from an answer.
pub type ShowFn = fn(&Value, &Invocation) -> String;

/// An option of a command: a flag, or one with a value.
#[derive(Debug)]
pub struct ConsoleOption {
    /// Without its dashes.
    pub name: &'static str,
    /// The letter that may stand for it.
    pub short: Option<char>,
    /// The value's name in help; `None` for a flag.
    pub value: Option<&'static str>,
    /// What it does.
    pub doc: &'static str,
}

/// A command line after parsing: the words and options of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    words: Vec<String>,
    options: Vec<(&'static str, Option<String>)>,
}

/// A command line that cannot become a message: the reason, as it is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

/// The option of every command that honours `waiting`.
const WAITING: ConsoleOption =
    ConsoleOption::flag("waiting", "Wait until the work is done; without --timeout, as long as circusd answers.");

impl ConsoleSpec {
    /// A request and its answer.
    pub(super) const fn call(
        form: &'static str,
        options: &'static [ConsoleOption],
        message: MessageFn,
        show: ShowFn,
    ) -> Self {
        Self {
            form,
            options,
            bare_errors: false,
            takes_command: false,
            follows: false,
            names: |_| 0,
            table: None,
            action: Action::Call { message, show },
        }
    }

    /// A subscription to events.
    pub(super) const fn subscription(form: &'static str) -> Self {
        Self {
            form,
            options: &[],
            bare_errors: false,
            takes_command: false,
            follows: false,
            names: |_| 0,
            table: None,
            action: Action::Subscribe,
        }
    }

    /// Something that circusctl waits for.
    pub(super) const fn awaiting(form: &'static str, options: &'static [ConsoleOption]) -> Self {
        Self { options, action: Action::Await, ..Self::subscription(form) }
    }

    /// Several watchers may be named.
    pub(super) const fn naming(self, names: NamesFn) -> Self {
        Self { names, ..self }
    }

    /// At a terminal answers are a table.
    pub(super) const fn with_table(self, table: Table) -> Self {
        Self { table: Some(table), ..self }
    }

    /// Refusals are printed as they are.
    pub(super) const fn with_bare_errors(self) -> Self {
        Self { bare_errors: true, ..self }
    }

    /// With the flag `follow` what comes after the answer is subscribed to.
    pub(super) const fn following(self) -> Self {
        Self { follows: true, ..self }
    }

    /// The words from the second on are a command line of their own.
    pub(super) const fn taking_a_command(self) -> Self {
        Self { takes_command: true, ..self }
    }
}

impl ConsoleOption {
    /// An option without a value.
    pub const fn flag(name: &'static str, doc: &'static str) -> Self {
        Self { name, short: None, value: None, doc }
    }

    /// An option with a value.
    pub const fn value(name: &'static str, value: &'static str, doc: &'static str) -> Self {
        Self { name, short: None, value: Some(value), doc }
    }

    /// With a letter for it.
    pub const fn or(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }
}

impl Invocation {
    /// These words and no options.
    pub fn new(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { words: words.into_iter().map(Into::into).collect(), options: Vec::new() }
    }

    /// With this flag as well.
    #[must_use]
    pub fn with_flag(mut self, name: &'static str) -> Self {
        self.options.push((name, None));
        self
    }

    /// With this option and its value as well.
    #[must_use]
    pub fn with_value(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.options.push((name, Some(value.into())));
        self
    }

    /// The same options behind other words.
    #[must_use]
    pub fn with_words(&self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { words: words.into_iter().map(Into::into).collect(), options: self.options.clone() }
    }

    /// The words after the command.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether the option was given.
    pub fn flag(&self, name: &str) -> bool {
        self.options.iter().any(|(given, _)| *given == name)
    }

    /// The value of the option, where it was given.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(given, _)| *given == name).and_then(|(_, value)| value.as_deref())
    }
}

impl UsageError {
    /// Too few or too many words.
    pub fn arguments() -> Self {
        Self("Invalid number of arguments".into())
    }
}

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl CommandSpec {
    /// Every option that circusctl takes for the command.
    pub fn all_options(&self) -> impl Iterator<Item = &'static ConsoleOption> {
        let waiting: &'static [ConsoleOption] = if self.waiting.is_offered() { &[WAITING] } else { &[] };
        self.console.options.iter().chain(waiting)
    }
}

/// The properties of the message that a command line stands for. For a subscription there are none.
pub fn message(spec: &CommandSpec, invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = match spec.console.action {
        Action::Call { message, .. } => message(invocation)?,
        Action::Subscribe | Action::Await => Object::new(),
    };
    if spec.waiting.is_offered() && invocation.flag(WAITING.name) {
        properties.insert(WAITING.name.into(), true.into());
    }
    Ok(properties)
}

/// Every word names a watcher.
pub(super) fn every(words: &[String]) -> usize {
    words.len()
}

/// The first word names watchers, by a pattern if there are several.
pub(super) fn first(words: &[String]) -> usize {
    words.len().min(1)
}

/// Every word names a watcher, but a number behind the first: `NAME... [N]`, `NAME... [PID]`.
pub(super) fn before_number(words: &[String]) -> usize {
    match words {
        [_, .., last] if last.trim().parse::<i64>().is_ok() => words.len() - 1,
        _ => words.len(),
    }
}

/// `NAME... [PID] SIGNUM`
pub(super) fn before_signal(words: &[String]) -> usize {
    words.split_last().map_or(0, |(_, words)| before_number(words))
}

/// No words.
pub(super) fn nothing(invocation: &Invocation) -> Result<Object, UsageError> {
    match invocation.words() {
        [] => Ok(Object::new()),
        _ => Err(UsageError::arguments()),
    }
}

/// `NAME`
pub(super) fn name(invocation: &Invocation) -> Result<Object, UsageError> {
    match invocation.words() {
        [name] => Ok(named(name)),
        _ => Err(UsageError::arguments()),
    }
}

/// `[NAME]`
pub(super) fn optional_name(invocation: &Invocation) -> Result<Object, UsageError> {
    match invocation.words() {
        [] => Ok(Object::new()),
        [name] => Ok(named(name)),
        _ => Err(UsageError::arguments()),
    }
}

/// An object with a `name`.
pub(super) fn named(name: &str) -> Object {
    Object::from_iter([("name".to_owned(), Value::from(name))])
}

/// A word that must be a whole number.
pub(super) fn integer(word: &str, what: &str) -> Result<Value, UsageError> {
    word.trim().parse::<i64>().map(Value::from).map_err(|_| UsageError(format!("{what}: '{word}' isn't an integer")))
}

/// A word that must be a number.
pub(super) fn number(word: &str, what: &str) -> Result<Value, UsageError> {
    let number = word.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.map(Value::from).ok_or_else(|| UsageError(format!("{what}: '{word}' isn't a number")))
}

/// A number beyond those that the kernel has is refused here: the wire takes it, as ever, and nothing happens. A name is
/// for the daemon to know.
pub(super) fn check_signal(word: &str) -> Result<(), UsageError> {
    match word.trim().parse::<i64>() {
        Ok(number) if !(0..=64).contains(&number) => {
            Err(UsageError(format!("'{word}' isn't a signal: the numbers are 1 to 64")))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Marks the flags that were given as true.
pub(super) fn put_flags(properties: &mut Object, invocation: &Invocation, names: &[&str]) {
    for name in names.iter().filter(|name| invocation.flag(name)) {
        properties.insert((*name).to_owned(), true.into());
    }
}

/// `NAME [N]`
pub(super) fn name_and_count(invocation: &Invocation) -> Result<Object, UsageError> {
    match invocation.words() {
        [name] => Ok(named(name)),
        [name, count] => {
            let mut properties = named(name);
            let number = integer(count, "number of processes")?;
            if number.as_i64().is_some_and(|number| number < 1) {
                return Err(UsageError(format!("number of processes: {number} is less than 1")));
            }
            properties.insert("nb".into(), number);
            Ok(properties)
        }
        _ => Err(UsageError::arguments()),
    }
}
