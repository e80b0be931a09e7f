//! The shape of a command's declaration.

use crate::proto::{Fault, Object, Request};

use super::ConsoleSpec;

/// A command, declared once.
#[derive(Debug)]
pub struct CommandSpec {
    /// Lower case; the wire accepts any case.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What help and the manual say beyond the properties.
    pub doc: Doc,
    /// The properties of the message, without `waiting`. Required ones are missed in this order.
    pub properties: &'static [PropertySpec],
    /// What a client can wait for with the property `waiting`.
    pub waiting: Waiting,
    /// What a client must be allowed to do.
    pub role: Role,
    /// The properties as a request. Required properties are there when it is called.
    pub decode: fn(&Object) -> Result<Request, Fault>,
    /// How circusctl speaks of the command.
    pub console: ConsoleSpec,
}

/// What the answer to a command with `waiting` comes after, in place of the beginning of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The command has no `waiting`.
    No,
    /// The work is done: processes are gone, say.
    Done,
    /// The new workers have come up, or have not, which is an error.
    Up,
}

/// The text of a command's help that nothing else can be derived from.
#[derive(Debug)]
pub struct Doc {
    /// What it is for and how it behaves, in paragraphs.
    pub purpose: &'static str,
    /// What the answer holds.
    pub reply: &'static str,
    /// A message, as JSON without `id`.
    pub message: &'static str,
    /// The answer to it.
    pub answer: &'static str,
    /// A command line of circusctl, without `circusctl`.
    pub example: &'static str,
}

/// A property of a message.
#[derive(Debug)]
pub struct PropertySpec {
    /// Its key.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Whether the message is refused without it.
    pub required: bool,
    /// What it means, and what its absence means.
    pub doc: &'static str,
}

/// What values a property takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// A string or a list of strings.
    Words,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Read as Python would: null, false, 0 and what is empty are false, all else is true.
    Boolean,
    /// An object.
    Object,
    /// A signal: a number, or a name with or without `SIG`.
    Signal,
    /// A process id: a number, or a string that holds one.
    Pid,
}

/// What a client has to be allowed to do, where keys distinguish clients. Each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Ask.
    Read,
    /// Start, stop and signal what is configured.
    Operate,
    /// Change what is configured, and end the daemon.
    Admin,
}

/// The property of a command with [`Waiting::Done`].
const DONE: PropertySpec = PropertySpec::optional(
    "waiting",
    Kind::Boolean,
    "Answer when the work is done, not when it has begun. Default false.",
);

/// The property of a command with [`Waiting::Up`].
const UP: PropertySpec = PropertySpec::optional(
    "waiting",
    Kind::Boolean,
    "Answer when the work is done, not when it has begun. If workers did not come up, the answer is an error, and its \
    key failed lists them with the reasons. Default false.",
);

impl CommandSpec {
    /// Every property, `waiting` among them.
    pub fn all_properties(&self) -> impl Iterator<Item = &'static PropertySpec> {
        let waiting: &'static [PropertySpec] = match self.waiting {
            Waiting::No => &[],
            Waiting::Done => &[DONE],
            Waiting::Up => &[UP],
        };
        self.properties.iter().chain(waiting)
    }
}

impl Waiting {
    /// Whether the command takes `waiting`.
    pub fn is_offered(self) -> bool {
        self != Self::No
    }
}

impl PropertySpec {
    /// A property that the message must have.
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, required: true, doc }
    }

    /// A property that the message may have.
    pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, required: false, doc }
    }
}

impl Kind {
    /// As help shows it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Texts => "list of strings",
            Self::Words => "string or list of strings",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Signal => "signal number or name",
            Self::Pid => "process id",
        }
    }
}

impl Role {
    /// As configuration and help spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Read, Self::Operate, Self::Admin].into_iter().find(|role| role.name() == name)
    }
}
