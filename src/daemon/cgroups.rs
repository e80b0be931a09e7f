//! The control groups of workers: made before a worker starts, read when it has ended, removed when nothing is left in it.

use std::collections::HashMap;
use std::path::PathBuf;

use nix::unistd::Pid as SysPid;
use serde::{Deserialize, Serialize};

use crate::arbiter::{Launch, Pid};
use crate::proto::{SpawnError, Stage};
use crate::sys::{Cgroup, CgroupHome};

/// See the module.
#[derive(Default)]
pub(super) struct Cgroups {
    /// Looked for when the first worker needs a group.
    home: Option<CgroupHome>,
    /// By the pid of the worker, until nothing of it is left.
    groups: HashMap<Pid, Cgroup>,
    /// Those that have processes in them although their workers are gone (`orphans = keep`).
    left: Vec<Cgroup>,
    /// A process has ended since the last look.
    is_due: bool,
}

/// The same as plain data.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedCgroups {
    groups: Vec<(Pid, PathBuf)>,
    left: Vec<PathBuf>,
}

impl Cgroups {
    /// For another process.
    pub(super) fn save(&self) -> SavedCgroups {
        let folder = |group: &Cgroup| group.folder().to_owned();
        let groups = self.groups.iter().map(|(pid, group)| (*pid, folder(group)));
        SavedCgroups { groups: groups.collect(), left: self.left.iter().map(folder).collect() }
    }

    /// Goes on with those of another process.
    pub(super) fn restore(saved: SavedCgroups) -> Self {
        let groups = saved.groups.into_iter().map(|(pid, folder)| (pid, Cgroup::at(folder)));
        let left = saved.left.into_iter().map(Cgroup::at).collect();
        Self { home: None, groups: groups.collect(), left, is_due: true }
    }

    /// Makes the group of a worker that is about to start, if its watcher wants one.
    pub(super) fn make(&mut self, launch: &Launch) -> Result<Option<Cgroup>, SpawnError> {
        let config = &launch.config;
        if !config.cgroup {
            return Ok(None);
        }
        let home = match &self.home {
            Some(home) => home,
            None => {
                let refused = |detail| SpawnError { stage: Stage::Cgroup, errno: 0, detail };
                let home = CgroupHome::find().map_err(refused)?;
                home.sweep();
                self.home.insert(home)
            }
        };
        home.make(&config.name, launch.wid.0, launch.worker.serial, &config.group_limits.files()).map(Some)
    }

    /// A worker was started in this group.
    pub(super) fn started(&mut self, pid: Pid, group: Cgroup) {
        self.left.extend(self.groups.insert(pid, group));
    }

    /// A worker that an earlier circusd has started is one of this circusd.
    pub(super) fn adopted(&mut self, pid: Pid) {
        if let Some(group) = Cgroup::of(SysPid::from_raw(pid.0)) {
            self.started(pid, group);
        }
    }

    /// The group of this worker, or of what is left of it.
    pub(super) fn of(&self, pid: Pid) -> Option<&Cgroup> {
        self.groups.get(&pid)
    }

    /// Whether the kernel has killed a process of this worker because memory ran out.
    pub(super) fn ran_out_of_memory(&self, pid: Pid) -> bool {
        self.of(pid).is_some_and(|group| group.oom_kills() > 0)
    }

    /// A process has ended, or may have.
    pub(super) fn note_end(&mut self) {
        self.is_due = true;
    }

    /// Removes the groups of workers that are gone, as far as they are empty, if any process has ended.
    pub(super) fn tidy(&mut self, is_there: impl Fn(Pid) -> bool) {
        if !std::mem::take(&mut self.is_due) {
            return;
        }
        let gone = self.groups.extract_if(|pid, _| !is_there(*pid)).map(|(_, group)| group);
        self.left.extend(gone);
        self.left.retain(|group| !group.remove());
    }
}
