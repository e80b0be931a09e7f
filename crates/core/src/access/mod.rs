//! What each client may do, where circusd tells clients apart: the keys that are authorized, and what each may touch.
//!
//! A key of CURVE ([`PublicKey`]) stands in a [`KeyRing`] with a name, a [`Role`] and a [`Scope`], and a local user among the
//! [`LocalUsers`]. What a request needs is declared in `COMMANDS`; [`authorize`](crate::arbiter::authorize) compares the
//! two. A subscription is judged here.

mod audit;
mod certificate;
mod key;
mod local;
mod redact;
mod ring;
mod scope;

pub use audit::{AuditResult, Audited};
pub use certificate::Certificate;
pub use key::PublicKey;
pub use local::{GroupMembers, Holder, LocalPeer, LocalRole, LocalUsers, Unmapped, local_roles};
pub use redact::redacted;
pub use ring::{Key, KeyRing, RingFile};
pub use scope::Scope;

use std::sync::Arc;

use crate::commands::Role;

/// The name of the key that circusd's own programs have, circusd-stats and plugins. No key in a file can have it.
pub const OWN_PROGRAMS: &str = "circusd's own programs";

/// What a client is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What messages call the client: the name of its key, or its user.
    pub name: String,
    /// The highest role that it has.
    pub role: Role,
    /// The watchers that it may touch.
    pub watchers: Scope,
}

/// What the clients of an endpoint are known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// By keys.
    Keys(Arc<KeyRing>),
    /// By the users of their processes.
    Users(Arc<LocalUsers>),
}

impl Known {
    /// What a client is allowed that has this key, or is this process; nothing where it is not known.
    pub fn grant(&self, key: Option<&str>, process: Option<LocalPeer>) -> Option<&Arc<Grant>> {
        match self {
            Self::Keys(ring) => ring.find(&PublicKey::parse(key?)?),
            Self::Users(users) => users.find(process?),
        }
    }
}
