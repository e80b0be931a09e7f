//! What is known of a watcher that starts with a connection, and stops without any.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::arbiter::time::Mono;

/// What a watcher knows of its waiting for connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Activation {
    /// The sockets that are watched for it now.
    pub(in crate::arbiter) sockets: BTreeSet<String>,
    /// It does not wait again before then.
    pub(in crate::arbiter) rests_until: Option<Mono>,
    /// How often in a row it was started and came to nothing.
    pub(in crate::arbiter) failures: u32,
    /// Whether it has connections, where it stops without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::arbiter) idle: Option<Idle>,
}

/// How a worker of an on_demand watcher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::arbiter) enum RunResult {
    /// It lived long enough.
    Good,
    /// It exited early, with success.
    Brief,
    /// It exited early, or could not be started.
    Bad,
}

/// What is known of a watcher's connections.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Idle {
    pub(in crate::arbiter) stage: Stage,
    /// The `idle_timeout` that it goes by.
    pub(in crate::arbiter) timeout: f64,
}

/// See the drawing in `lifecycle::idle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Stage {
    Busy,
    Listening,
    Looking {
        /// None was open, and none has come, for `idle_timeout`.
        last: bool,
    },
}
