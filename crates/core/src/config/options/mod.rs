//! Every option, declared once.
//!
//! [`WATCHER_OPTIONS`], [`CIRCUS_OPTIONS`] and [`SOCKET_OPTIONS`] say what can be written under `[watcher:NAME]`,
//! `[circus]` and `[socket:NAME]`. From the first also come what `add` and `set` accept and how they refuse, what
//! changing an option does to running workers, and what `get` and `options` answer. From all three comes what `reloadconfig`
//! finds different between two files.

mod change;
mod circus;
mod difference;
mod field;
mod hooks;
mod kind;
mod probes;
mod reply;
mod setting;
mod socket;
mod spec;
mod stop_signals;
mod stream_sinks;
mod stream_values;
mod streams;
mod table;

pub use change::{AccountKind, adjust, apply, from_add, named_files, resolve_accounts, validate};
pub use circus::CIRCUS_OPTIONS;
pub use kind::Kind;
pub(super) use reply::named;
pub use reply::{get, shown};
pub use setting::{Change, Setting};
pub use socket::SOCKET_OPTIONS;
pub use spec::{Authority, Effect, Listed, OptionSpec, Scope, Support};
pub use stream_sinks::{Keeping, OnFull, SyslogForm, SyslogTarget};
pub use stream_values::{PrefixPart, RotateWhen};
pub use streams::{is_stream_key, opens_nothing};
pub use table::{WATCHER_OPTIONS, find};

pub(super) use change::contradiction;
pub(super) use difference::differences;
pub(super) use field::Field;
pub(super) use streams::{idle_key, regular_file, replace_python_class, settle};
