//! What an option of a watcher consists of.

use serde_json::Value;

use super::Kind;
use crate::config::WatcherConfig;

/// What `set` does beside storing the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The value counts from the next time it is looked at.
    Nothing,
    /// Workers are started or stopped until there are as many as asked for.
    Numprocesses,
    /// The workers are replaced by a graceful reload.
    Reload,
    /// The sinks of the output are opened anew; the workers stay.
    Stream,
}

/// Whether the `options` command shows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Always, under its own name.
    Always,
    /// Always, under this name.
    As(&'static str),
    /// Where it is not the default: options that Circus does not have and old clients need not see.
    WhenSet,
    /// Never, as in Circus; `get` answers it.
    Never,
}

/// Which variables `$(circus.env.X)` can name in an option's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// circusd's own environment and `[env]`.
    Global,
    /// Those and the `[env:...]` sections of the watcher.
    Watcher,
    /// None: the text stands for itself.
    Literal,
}

/// The rights with which circusd does what an option asks for. It decides whether a client that may act for one user alone
/// (see `endpoint_owner`) can change the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// It runs, opens and signals nothing by itself: numbers, times, switches.
    Safe,
    /// It says what runs, or as which user and group, with the rights of the workers.
    RunsAsWorker,
    /// It makes circusd run something, or grant workers something, with circusd's own rights.
    RunsAsDaemon,
    /// It makes circusd open, read or pass on something with circusd's own rights: files, directories, sockets, its
    /// standard input, its environment.
    OpensAsDaemon,
    /// It makes circusd signal processes that may belong to another user than the workers, or end with all of them.
    SignalsAsDaemon,
}

/// Whether an option has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does what its description says.
    Works,
    /// It is accepted without effect, for this reason; a warning says so.
    Ignored(&'static str),
    /// Any value but the default is refused, for this reason.
    Refused(&'static str),
}

/// One option of a watcher.
pub struct OptionSpec {
    /// Its name; a name that ends in `*` stands for every name that begins so.
    pub key: &'static str,
    /// The type.
    pub kind: Kind,
    /// The default, as one would write it in a file.
    pub default: &'static str,
    /// What a number counts.
    pub unit: &'static str,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
    /// A value, as one would write it in a file.
    pub example: &'static str,
    /// The rights with which it takes effect.
    pub authority: Authority,
    /// What changing it does.
    pub effect: Effect,
    /// Whether `options` shows it.
    pub listed: Listed,
    /// Which variables its text can name.
    pub scope: Scope,
    /// Whether it has an effect.
    pub support: Support,
    /// The value that a watcher has; `None` where the option exists only when set. The second argument is what
    /// follows the fixed part of a name that ends in `*`.
    pub get: fn(&WatcherConfig, &str) -> Option<Value>,
    /// Stores a value of the option's kind.
    pub put: fn(&mut WatcherConfig, &str, &Value) -> Result<(), String>,
}

impl OptionSpec {
    /// What `key` has behind the fixed part of this option's name; `None` where it is another option.
    pub fn suffix<'k>(&self, key: &'k str) -> Option<&'k str> {
        match self.key.strip_suffix('*') {
            Some(prefix) => key.strip_prefix(prefix),
            None => (key == self.key).then_some(""),
        }
    }

    /// The name under which `options` shows it, if it ever does.
    pub fn shown_as(&self) -> Option<&'static str> {
        match self.listed {
            Listed::Always | Listed::WhenSet => Some(self.key),
            Listed::As(name) => Some(name),
            Listed::Never => None,
        }
    }

    /// Why this value is refused, if it is.
    pub fn refusal(&self, value: &Value) -> Option<&'static str> {
        match self.support {
            Support::Refused(reason) if self.kind.read(self.default).as_ref() != Ok(value) => Some(reason),
            Support::Refused(_) | Support::Ignored(_) | Support::Works => None,
        }
    }
}
