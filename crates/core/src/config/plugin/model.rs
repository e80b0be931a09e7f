//! What makes a watcher a plugin. Plain data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What `[plugin:NAME]` says beside the options of a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginConfig {
    /// Which program it is.
    pub runner: Runner,
    /// The keys of its section that it is passed.
    pub settings: BTreeMap<String, String>,
}

/// Which program a plugin is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Runner {
    /// `circus-plugin` with this name.
    Builtin(String),
    /// The watcher's `cmd` as it stands.
    Command,
    /// A Python class.
    Python {
        /// The interpreter.
        python: String,
        /// Its dotted name.
        class: String,
    },
}
