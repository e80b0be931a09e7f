//! What an operator has decided about a watcher, which outlives circusd where there is a `state_file`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::arbiter::fleet::watcher::Watcher;

/// By the lower-case names of watchers.
pub type Memories = BTreeMap<String, Memory>;

/// What is remembered of one watcher.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// `enable` or `disable`, in place of what its `autostart` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::arbiter) enabled: Option<bool>,
    /// It was told to stop (`remember`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::arbiter) stopped: bool,
    /// How many processes a client wants (`remember`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::arbiter) numprocesses: Option<Count>,
}

/// A number of processes, and the one of the file that it stands in place of: when that changes, the file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Count {
    pub(in crate::arbiter) file: u32,
    pub(in crate::arbiter) wanted: u32,
}

impl Memory {
    pub(in crate::arbiter) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Makes a watcher of the file what it was before circusd ended.
    pub(in crate::arbiter) fn apply(&self, w: &mut Watcher) {
        w.enabled = self.enabled;
        let (file_starts, file_wants) = (w.baseline().autostart, w.baseline().numprocesses);
        let autostart = self.enabled.unwrap_or(file_starts);
        let wanted = self.numprocesses.filter(|count| w.config.remember && count.file == file_wants);
        let wanted = wanted.map_or(w.config.numprocesses, |count| count.wanted);
        if (w.config.autostart, w.config.numprocesses) != (autostart, wanted) {
            let config = Arc::make_mut(&mut w.config);
            (config.autostart, config.numprocesses) = (autostart, wanted);
        }
    }
}
