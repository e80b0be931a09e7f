//! Where and why the start of a process failed.

use serde::{Deserialize, Serialize};

/// The step of a process's start that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Stage {
    /// The command line: empty, or quotes that do not close.
    Command,
    /// The user or group name is not known.
    User,
    /// A socket that the watcher names does not exist.
    Socket,
    /// Pipes for its output.
    Pipe,
    /// Creating the process.
    Fork,
    /// A session of its own.
    Setsid,
    /// Descriptors 0, 1, 2 and the sockets.
    Descriptors,
    /// The working directory.
    Chdir,
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
    pub const ALL: [Self; 14] = [
        Self::Command,
        Self::User,
        Self::Socket,
        Self::Pipe,
        Self::Fork,
        Self::Setsid,
        Self::Descriptors,
        Self::Chdir,
        Self::Rlimit,
        Self::Groups,
        Self::Gid,
        Self::Uid,
        Self::Close,
        Self::Exec,
    ];

    /// The stage with this number, as a child reports it.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// What the program was doing, as in "failed to ...".
    pub fn doing(self) -> &'static str {
        match self {
            Self::Command => "understand the command line",
            Self::User => "look up the user or group",
            Self::Socket => "find the socket",
            Self::Pipe => "open pipes for the output",
            Self::Fork => "create a process",
            Self::Setsid => "start a session",
            Self::Descriptors => "arrange the descriptors",
            Self::Chdir => "change to the working directory",
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
    /// What the kernel said, as Python prints it: `[Errno 2] No such file or directory`.
    pub fn reason(&self) -> String {
        let text = std::io::Error::from_raw_os_error(self.errno).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        format!("[Errno {}] {text}", self.errno)
    }
}
