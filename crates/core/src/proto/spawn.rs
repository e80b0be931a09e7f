//! Where and why the start of a process failed.

use serde::{Deserialize, Serialize};

use crate::base::errno;

/// The step of a process's start that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Stage {
    /// The command line: empty, or quotes that do not close.
    Command,
    /// The environment: a virtual environment that is none, a python3 that says nothing.
    Environment,
    /// The user or group name is not known.
    User,
    /// A socket that the watcher names: it does not exist, or none can be made for the worker.
    Socket,
    /// Pipes for its output.
    Pipe,
    /// Its control group.
    Cgroup,
    /// Creating the process.
    Fork,
    /// A session of its own.
    Setsid,
    /// Descriptors 0, 1, 2 and the sockets.
    Descriptors,
    /// The working directory.
    Chdir,
    /// The nice value.
    Nice,
    /// The priority at disks.
    Ionice,
    /// The processors that it may run on.
    CpuAffinity,
    /// How readily it is killed when memory runs out.
    OomScoreAdj,
    /// A resource limit.
    Rlimit,
    /// The supplementary groups.
    Groups,
    /// The group.
    Gid,
    /// The user.
    Uid,
    /// Closing what the child must not have.
    Close,
    /// The program itself.
    Exec,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 20] = [
        Self::Command,
        Self::Environment,
        Self::User,
        Self::Socket,
        Self::Pipe,
        Self::Cgroup,
        Self::Fork,
        Self::Setsid,
        Self::Descriptors,
        Self::Chdir,
        Self::Nice,
        Self::Ionice,
        Self::CpuAffinity,
        Self::OomScoreAdj,
        Self::Rlimit,
        Self::Groups,
        Self::Gid,
        Self::Uid,
        Self::Close,
        Self::Exec,
    ];

    /// The stage of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// The stage with this number, as a child reports it.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Environment => "environment",
            Self::User => "user",
            Self::Socket => "socket",
            Self::Pipe => "pipe",
            Self::Cgroup => "cgroup",
            Self::Fork => "fork",
            Self::Setsid => "setsid",
            Self::Descriptors => "descriptors",
            Self::Chdir => "chdir",
            Self::Nice => "nice",
            Self::Ionice => "ionice",
            Self::CpuAffinity => "cpu_affinity",
            Self::OomScoreAdj => "oom_score_adj",
            Self::Rlimit => "rlimit",
            Self::Groups => "groups",
            Self::Gid => "gid",
            Self::Uid => "uid",
            Self::Close => "close",
            Self::Exec => "exec",
        }
    }

    /// What the program was doing, as in "failed to ...".
    pub fn doing(self) -> &'static str {
        match self {
            Self::Command => "parse the command line",
            Self::Environment => "prepare the environment",
            Self::User => "look up the user or group",
            Self::Socket => "open the socket",
            Self::Pipe => "open pipes for the output",
            Self::Cgroup => "give it a control group",
            Self::Fork => "create a process",
            Self::Setsid => "start a session",
            Self::Descriptors => "arrange the descriptors",
            Self::Chdir => "change to the working directory",
            Self::Nice => "set the nice value",
            Self::Ionice => "set the priority at disks",
            Self::CpuAffinity => "choose the processors",
            Self::OomScoreAdj => "set the score for a lack of memory",
            Self::Rlimit => "set a resource limit",
            Self::Groups => "set the supplementary groups",
            Self::Gid => "change to the group",
            Self::Uid => "change to the user",
            Self::Close => "close inherited descriptors",
            Self::Exec => "execute the program",
        }
    }
}

/// A failed start: the stage, the error number, and what it was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnError {
    /// The step that failed.
    pub stage: Stage,
    /// The kernel's error number; 0 where the failure is not the kernel's.
    pub errno: i32,
    /// What it was about: a path, a user, a limit.
    pub detail: String,
}

impl SpawnError {
    /// The error number's name, `ENOENT`; `None` where the kernel had no part in it.
    pub fn errno_name(&self) -> Option<String> {
        (self.errno != 0).then(|| errno::name(self.errno))
    }

    /// What failed, about what, and what the kernel said.
    pub fn describe(&self) -> String {
        let Self { stage, errno, detail } = self;
        let doing = stage.doing();
        if *errno == 0 {
            format!("failed to {doing}: {detail}")
        } else {
            format!("failed to {doing}: {detail} ({})", self.reason())
        }
    }

    /// What the kernel said, as Python prints it: `[Errno 2] No such file or directory`.
    pub fn reason(&self) -> String {
        let text = std::io::Error::from_raw_os_error(self.errno).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        format!("[Errno {}] {text}", self.errno)
    }
}
