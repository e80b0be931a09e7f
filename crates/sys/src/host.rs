//! Properties of the machine, read once at start, and process attributes that circusd sets for itself.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd as _};

use circus_core::base::CollectOrdered as _;
use jiff::tz::TimeZone;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{Mode, umask};

use super::raw_text::from_os;
use circus_core::config::Host;

const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// How often the service manager wants to hear of circusd, and of which process that is said.
const WATCHDOG: [&str; 2] = ["WATCHDOG_USEC", "WATCHDOG_PID"];
/// What a service manager has passed is circusd's own: see `fd_store`.
const PASSED: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// Names the descriptor with the state of the circusd that this process was before.
const STATE_FD: &str = "CIRCUSD_STATE_FD";
/// Names the descriptor of that circusd's program.
const PROGRAM_FD: &str = "CIRCUSD_PROGRAM_FD";
/// Says why the next circusd could not go on, so that this one goes on itself.
const FAILED: &str = "CIRCUSD_UPGRADE_FAILED";
/// What an upgrade passes to the next program.
const OF_UPGRADE: [&str; 3] = [STATE_FD, PROGRAM_FD, FAILED];

/// circusd's environment and working directory. Bytes that are no UTF-8 are kept: see `raw_text`.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]
pub fn host() -> Host {
    Host {
        // The service manager's socket is circusd's own: a worker that used it would speak for circusd.
        env: std::env::vars_os()
            .filter(|(name, _)| name != NOTIFY_SOCKET && !is_of_upgrade(name) && !is_passed(name))
            .filter(|(name, _)| WATCHDOG.iter().all(|watchdog| name != *watchdog))
            .map(|(name, value)| (from_os(name), from_os(value)))
            .collect_map(),
        // A directory that was removed has no name; "/" always is one.
        cwd: std::env::current_dir().map_or_else(|_| "/".into(), |directory| from_os(directory.into())),
        programs: programs(),
        room: circus_core::config::Room::default(),
    }
}

fn is_passed(name: &std::ffi::OsStr) -> bool {
    PASSED.iter().any(|passed| name == *passed)
}

fn is_of_upgrade(name: &std::ffi::OsStr) -> bool {
    OF_UPGRADE.iter().any(|passed| name == *passed)
}

/// The socket of the service manager that started circusd, if one waits for READY=1.
#[expect(clippy::disallowed_methods, reason = "the environment as it was at the start")]
pub fn notify_socket() -> Option<String> {
    std::env::var(NOTIFY_SOCKET).ok().filter(|name| !name.is_empty())
}

/// The longest time between two messages `WATCHDOG=1` that the service manager takes (sd_watchdog_enabled(3)); nothing
/// where it wants none of this process.
#[expect(clippy::disallowed_methods, reason = "the environment as it was at the start")]
pub fn watchdog() -> Option<std::time::Duration> {
    let variable = |name: &str| std::env::var(name).ok();
    let [interval, process] = WATCHDOG.map(variable);
    watchdog_of(interval.as_deref(), process.as_deref(), std::process::id())
}

fn watchdog_of(interval: Option<&str>, process: Option<&str>, own: u32) -> Option<std::time::Duration> {
    let is_meant = process.is_none_or(|process| process.parse() == Ok(own));
    let micros = interval?.parse().ok().filter(|micros| *micros > 0 && is_meant)?;
    Some(std::time::Duration::from_micros(micros))
}

/// The number of the descriptor with the state of the circusd that this process was before an upgrade.
#[expect(clippy::disallowed_methods, reason = "the environment as it was at the start")]
pub fn state_fd() -> Option<i32> {
    std::env::var(STATE_FD).ok()?.parse().ok()
}

/// The number of the descriptor with the program that this process was before an upgrade.
#[expect(clippy::disallowed_methods, reason = "the environment as it was at the start")]
pub(super) fn program_fd() -> Option<i32> {
    std::env::var(PROGRAM_FD).ok()?.parse().ok()
}

/// Why the program that this one was to become could not go on with its state: it has become this one again.
#[expect(clippy::disallowed_methods, reason = "the environment as it was at the start")]
pub fn upgrade_failure() -> Option<String> {
    std::env::var(FAILED).ok()
}

/// What the next program of this process gets besides the state.
pub(super) enum Passed<'a> {
    /// The descriptor of the program that this process is now.
    Program(Option<i32>),
    /// Why this program could not go on.
    Failure(&'a str),
}

/// The words and the environment that the next program of this process gets, with the number of the descriptor with the
/// state.
#[expect(clippy::disallowed_methods, reason = "it is handed on as it is")]
pub(super) fn words_and_environment(state: i32, passed: &Passed<'_>) -> (Vec<OsString>, Vec<(OsString, OsString)>) {
    let mut environment: Vec<_> =
        std::env::vars_os().filter(|(name, _)| !is_of_upgrade(name) && !is_passed(name)).collect();
    environment.push((STATE_FD.into(), state.to_string().into()));
    match passed {
        Passed::Program(number) => environment.extend(number.map(|n| (PROGRAM_FD.into(), n.to_string().into()))),
        Passed::Failure(reason) => environment.push((FAILED.into(), reason.into())),
    }
    (std::env::args_os().collect(), environment)
}

/// The system's time zone. Where TZ does not name one it is that of `/etc/localtime`, which is read as it is: jiff's own
/// way looks through the names of all zones, which took two thirds of circusd's start.
#[expect(clippy::disallowed_methods, reason = "the environment as it was at the start")]
pub fn time_zone() -> TimeZone {
    let named = std::env::var_os("TZ").is_some();
    let local = || TimeZone::tzif("Local", &std::fs::read("/etc/localtime").ok()?).ok();
    let zone = if named { None } else { local() };
    zone.unwrap_or_else(TimeZone::system)
}

/// The time zone of this name, from the system's files; without a name the system's own. `None` where there is none.
pub fn named_time_zone(name: Option<&str>) -> Option<TimeZone> {
    const FILES: &str = "/usr/share/zoneinfo";
    let Some(name) = name else { return Some(time_zone()) };
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
    let file = name.split('/').all(is_plain).then(|| std::path::Path::new(FILES).join(name))?;
    TimeZone::tzif(name, &std::fs::read(file).ok()?).ok()
}

/// The directory of our own program, of whatever name it was called by. Nothing where /proc is not there; then programs
/// are looked for in PATH.
fn programs() -> String {
    let program = std::fs::read_link("/proc/self/exe").ok();
    let directory = program.as_deref().and_then(std::path::Path::parent);
    directory.map(|directory| directory.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Opens `/dev/null` for each of descriptors 0, 1 and 2 that is closed. Else the next file circusd opens would get that
/// number, and be written to by what prints there. Before anything is opened.
pub fn sanitize_stdio() -> std::io::Result<()> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        if fcntl(fd, FcntlArg::F_GETFD) == Err(Errno::EBADF) {
            // The kernel gives the lowest number that is free, which is this one since those below are open.
            let null = open("/dev/null", OFlag::O_RDWR, Mode::empty())?;
            if null.as_raw_fd() != fd.as_raw_fd() {
                return Err(Errno::EBADF.into());
            }
            std::mem::forget(null);
        }
    }
    Ok(())
}

/// Sets circusd's umask, which its workers inherit; returns the one before.
pub fn set_umask(mask: u32) -> u32 {
    umask(Mode::from_bits_truncate(mask)).bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alone, shell};

    #[test]
    fn a_watchdog_is_for_one_process() {
        let second = Some(std::time::Duration::from_secs(1));
        for (interval, process, expected) in [
            (Some("1000000"), Some("7"), second),
            (Some("1000000"), None, second),
            (Some("1000000"), Some("8"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(watchdog_of(interval, process, 7), expected, "{interval:?} {process:?}");
        }
    }

    #[test]
    fn the_host_is_this_one() {
        let host = host();
        assert_eq!(host.cwd, std::env::current_dir().unwrap().to_str().unwrap());
        assert!(host.env.contains_key("PATH"));
        assert_eq!(host.programs, std::env::current_exe().unwrap().parent().unwrap().to_str().unwrap());
    }

    #[test]
    fn closed_standard_streams_become_null() {
        alone("host::tests::closed_standard_streams_become_null", || {
            let link = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
            let before = link(1);
            for fd in [0, 2] {
                nix::unistd::close(fd).unwrap();
            }
            sanitize_stdio().unwrap();
            assert_eq!((link(0), link(1), link(2)), ("/dev/null".into(), before, "/dev/null".into()));
        });
    }

    #[test]
    fn children_inherit_the_umask() {
        alone("host::tests::children_inherit_the_umask", || {
            set_umask(0o077);
            assert_eq!(set_umask(0o077), 0o077);
            assert_eq!(crate::testing::output(&mut shell("umask")).0, "0077\n");
        });
    }

    #[test]
    fn the_time_zone_is_the_one_of_the_system() {
        for second in [0, 1_700_000_000, 1_720_000_000] {
            let time = jiff::Timestamp::from_second(second).unwrap();
            let ours = time.to_zoned(time_zone()).strftime("%F %T %z").to_string();
            assert_eq!(ours, time.to_zoned(TimeZone::system()).strftime("%F %T %z").to_string());
        }
    }
}
