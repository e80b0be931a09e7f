//! Options of `[circus]` and of sockets, which nothing changes at run time.

use serde_json::Value;

use super::{Kind, Support};

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
}

impl<C> Setting<C> {
    /// Why this value is refused, or accepted without effect.
    pub fn objection(&self, value: &Value) -> Support {
        let is_default = self.kind.read(self.default).as_ref() == Ok(value);
        if is_default { Support::Works } else { self.support }
    }
}

/// A row that is stored in the field of this name: key, kind, default, example, doc.
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
        }
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
        }
    };
}

pub(super) use {field, unused};
