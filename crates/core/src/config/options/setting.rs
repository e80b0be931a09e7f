//! Options of `[circus]` and of sockets. At run time only `reloadconfig` changes them.

use serde_json::Value;

use super::{Kind, Support};

/// What it takes to change an option of something that is in use, `C` being what its section means.
pub enum Change<C: 'static> {
    /// It is done to what is there.
    Live,
    /// It counts from the next beginning: a socket is opened anew, circusd is restarted.
    Anew,
    /// It is done to what is there where this holds of what is in force and what takes its place.
    LiveWhere(fn(&C, &C) -> bool),
}

/// One option of a `[circus]` or `[socket:NAME]` section, `C` being what the section means.
pub struct Setting<C: 'static> {
    /// Its name.
    pub key: &'static str,
    /// The type.
    pub kind: Kind,
    /// The default, as one would write it.
    pub default: &'static str,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
    /// A value, as one would write it.
    pub example: &'static str,
    /// Whether it has an effect.
    pub support: Support,
    /// Stores a value of the option's kind.
    pub put: fn(&mut C, &Value) -> Result<(), String>,
    /// What it takes to change it.
    pub change: Change<C>,
    /// Whether two sections mean different things by it.
    pub differs: fn(&C, &C) -> bool,
    /// Makes the first section mean what the second does.
    pub copy: fn(&mut C, &C),
}

impl<C> Setting<C> {
    /// Whether the change from the first section to the second is done to what is there.
    pub fn is_live(&self, from: &C, to: &C) -> bool {
        match self.change {
            Change::Live => true,
            Change::Anew => false,
            Change::LiveWhere(holds) => holds(from, to),
        }
    }

    /// Why this value is refused, or accepted without effect.
    pub fn objection(&self, value: &Value) -> Support {
        let is_default = self.kind.read(self.default).as_ref() == Ok(value);
        if is_default { Support::Works } else { self.support }
    }
}

/// A row that is stored in the field of this name: key, kind, default, example, doc. Unless it says otherwise, a change
/// of it counts anew.
macro_rules! field {
    ($key:ident, $kind:ident, $default:expr, $example:expr, $doc:expr) => {
        Setting {
            key: stringify!($key),
            kind: Kind::$kind,
            default: $default,
            doc: $doc,
            example: $example,
            support: Support::Works,
            put: |section, value| store(&mut section.$key, value),
            change: crate::config::options::Change::Anew,
            differs: |one, other| one.$key != other.$key,
            copy: |to, from| to.$key.clone_from(&from.$key),
        }
    };
}

/// The same for an option that is changed in what is there.
macro_rules! live {
    ($($row:tt)*) => {
        Setting { change: crate::config::options::Change::Live, ..field!($($row)*) }
    };
}

/// A row that is checked and has no field: key, kind, default, example, doc, support.
macro_rules! unused {
    ($key:ident, $kind:ident, $default:expr, $example:expr, $doc:expr, $support:expr) => {
        Setting {
            key: stringify!($key),
            kind: Kind::$kind,
            default: $default,
            doc: $doc,
            example: $example,
            support: $support,
            put: |_, _| Ok(()),
            change: crate::config::options::Change::Live,
            differs: |_, _| false,
            copy: |_, _| {},
        }
    };
}

pub(super) use {field, live, unused};
