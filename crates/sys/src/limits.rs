//! Resource limits: their names, and circusd's own number of open files.

use std::path::Path;

use circus_core::config::{Limit, Room};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::cgroup::own_folder;

/// A soft and a hard limit on open files. `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFileLimit {
    /// What is enforced.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

/// The number of a `RLIMIT_*`, and its type in libc's signatures (glibc's differs from the others').
pub(super) type ResourceNumber = i32;

const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

/// The kernel's number of the limit with this name: `nofile`, `NOFILE` or `RLIMIT_NOFILE`.
pub(super) fn resource(name: &str) -> Option<ResourceNumber> {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    // BSD's other name for the same limit, which Python has too.
    let bare = if bare == "ofile" { "nofile" } else { bare };
    NAMES.iter().find(|(known, _)| *known == bare).map(|(_, resource)| *resource as ResourceNumber)
}

/// circusd's own limits on open files, as they are now.
pub fn nofile() -> std::io::Result<OpenFileLimit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(OpenFileLimit { soft, hard })
}

/// Raises circusd's own soft limit on open files to the hard one, since each worker costs it pipes. Returns what it was
/// before: children are given that (see [`Launch::nofile`](super::Launch)), for some close every possible descriptor
/// at their start and others still use `select`.
pub fn raise_nofile() -> std::io::Result<OpenFileLimit> {
    let before = nofile()?;
    if before.soft < before.hard {
        setrlimit(Resource::RLIMIT_NOFILE, before.hard, before.hard)?;
    }
    Ok(before)
}

/// What workers may have together, where circusd keeps so many of its descriptors for itself.
pub fn room(nofile: OpenFileLimit, reserved: u64) -> Room {
    let limit = |most: u64, name: &str| Limit { most, name: name.to_owned() };
    let number = |path: &Path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    // Where the limit is the user's, it counts for this user alone, and not for root.
    let of_user = (!nix::unistd::geteuid().is_root()).then(|| getrlimit(Resource::RLIMIT_NPROC).ok()).flatten();
    let of_user = of_user.filter(|(soft, _)| *soft != nix::libc::RLIM_INFINITY);
    let of_group = own_folder().ok().and_then(|folder| number(&folder.join("pids.max")));
    let processes = [
        of_user.map(|(soft, _)| limit(soft, "RLIMIT_NPROC")),
        of_group.map(|most| limit(most, "pids.max of circusd's control group")),
        number(Path::new("/proc/sys/kernel/pid_max")).map(|most| limit(most, "kernel.pid_max")),
    ];
    Room {
        descriptors: Some(limit(nofile.hard.saturating_sub(reserved), "RLIMIT_NOFILE")),
        processes: processes.into_iter().flatten().min_by_key(|limit| limit.most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::alone;

    #[test]
    fn names_in_every_spelling() {
        for name in ["nofile", "NOFILE", "RLIMIT_NOFILE", "rlimit_nofile", "ofile"] {
            assert_eq!(resource(name), Some(7), "{name}");
        }
        assert_eq!(resource("core"), Some(4));
        assert_eq!(resource("nonsense"), None);
        assert_eq!(resource(""), None);
    }

    #[test]
    fn the_soft_limit_is_raised_and_the_old_one_remembered() {
        alone("limits::tests::the_soft_limit_is_raised_and_the_old_one_remembered", || {
            let hard = nofile().unwrap().hard;
            setrlimit(Resource::RLIMIT_NOFILE, 200, hard).unwrap();
            assert_eq!(raise_nofile().unwrap(), OpenFileLimit { soft: 200, hard });
            assert_eq!(nofile().unwrap(), OpenFileLimit { soft: hard, hard });
        });
    }
}
