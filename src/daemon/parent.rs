//! The parent of circusd, if it wants reports about the start, or circusd has to end with it.
//!
//! Reports go through the descriptor of `--ready-fd`, as lines `KEY=VALUE`: circusd(1) has them all. A service
//! manager gets its own through NOTIFY_SOCKET.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::args::Args;
use super::core::Core;
use super::sources::{Source, Sources};
use crate::arbiter::{Intent, Level, Mono};
use crate::sys;

/// How long everything may take to stop when the parent has ended, before what remains is killed: after the parent
/// no user may be left to do that.
const GRACE: Duration = Duration::from_secs(10);

/// The process that started circusd.
#[derive(Debug, Default)]
pub(super) struct Parent {
    ready: Option<File>,
    notify: Option<String>,
    handle: Option<OwnedFd>,
    /// When what remains is killed.
    kill_at: Option<Mono>,
    has_reported_ready: bool,
    watchdog: Option<Watchdog>,
}

/// A service manager that wants to hear that the loop turns (`WatchdogSec` of systemd).
#[derive(Debug)]
struct Watchdog {
    socket: String,
    /// Half of the time after which the manager gives circusd up.
    every: Duration,
    next: Option<Mono>,
}

impl Watchdog {
    fn of_environment() -> Option<Self> {
        Some(Self { socket: sys::notify_socket()?, every: sys::watchdog()? / 2, next: None })
    }

    /// Says it when it is time.
    fn look(&mut self, now: Mono) {
        if self.next.is_none_or(|at| at <= now) {
            // A manager that has gone waits for nothing.
            drop(sys::notify(&self.socket, "WATCHDOG=1"));
            self.next = Some(now.after(self.every));
        }
    }
}

/// The same as plain data, with the numbers of the descriptors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedParent {
    ready: Option<RawFd>,
    handle: Option<RawFd>,
    kill_at: Option<Mono>,
    has_reported_ready: bool,
}

impl SavedParent {
    /// The numbers of all descriptors.
    pub(super) fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.ready.into_iter().chain(self.handle)
    }
}

impl Parent {
    /// For another process.
    pub(super) fn save(&self) -> SavedParent {
        let (ready, handle) =
            (self.ready.as_ref().map(AsRawFd::as_raw_fd), self.handle.as_ref().map(AsRawFd::as_raw_fd));
        SavedParent { ready, handle, kill_at: self.kill_at, has_reported_ready: self.has_reported_ready }
    }

    /// Goes on with that of another process. `take` gives the descriptor of a number.
    pub(super) fn restore(
        saved: SavedParent,
        mut take: impl FnMut(RawFd) -> std::io::Result<OwnedFd>,
    ) -> std::io::Result<Self> {
        let SavedParent { ready, handle, kill_at, has_reported_ready } = saved;
        let ready = ready.map(&mut take).transpose()?.map(File::from);
        let notify = if has_reported_ready { None } else { sys::notify_socket() };
        let (handle, watchdog) = (handle.map(take).transpose()?, Watchdog::of_environment());
        Ok(Self { ready, notify, handle, kill_at, has_reported_ready, watchdog })
    }

    /// The parent that the command line speaks of, and the service manager of the environment.
    pub(super) fn new(args: &Args, notify: Option<String>) -> Result<Self, String> {
        let ready = args.ready_fd.map(sys::take_inherited).transpose();
        let ready = ready.map_err(|error| format!("--ready-fd: the descriptor cannot be used: {error}"))?;
        let handle = args.end_with_parent.map(sys::watch_parent).transpose();
        let handle = handle.map_err(|error| format!("--end-with-parent: {error}"))?;
        let watchdog = Watchdog::of_environment();
        Ok(Self { ready, notify, handle, kill_at: None, has_reported_ready: false, watchdog })
    }

    /// Has the loop wake up when the parent ends.
    pub(super) fn register(&self, sources: &mut Sources) -> std::io::Result<()> {
        let Some(handle) = &self.handle else { return Ok(()) };
        sources.add_fd(Source::Parent, handle.as_fd().as_raw_fd())
    }

    /// Requests are answered at this endpoint.
    pub(super) fn listening(&mut self, endpoint: &str) {
        self.report("ENDPOINT", endpoint);
        self.report("LISTENING", "1");
    }

    /// Reports once that the fleet has been started.
    pub(super) fn report_started(&mut self, core: &Core) {
        let waits = !self.has_reported_ready && (self.ready.is_some() || self.notify.is_some());
        if !waits || !core.arbiter.has_started() {
            return;
        }
        self.has_reported_ready = true;
        self.report("READY", "1");
        if let Some(socket) = self.notify.take() {
            // A manager that has gone waits for nothing.
            drop(sys::notify(&socket, "READY=1"));
        }
    }

    /// circusd does not start.
    pub(super) fn refused(&mut self, why: &str) {
        self.report("ERROR", why);
    }

    /// An essential watcher has ended circusd.
    pub(super) fn ended(&mut self, watcher: &str) {
        self.report("ENDED", watcher);
    }

    /// What follows where the parent has ended, and when the time after that is over.
    pub(super) fn look(&mut self, ready: &[Source], sources: &mut Sources, core: &mut Core) -> Option<Intent> {
        if ready.contains(&Source::Parent)
            && let Some(handle) = self.handle.take()
        {
            drop(sources.remove_fd(Source::Parent, handle.as_fd().as_raw_fd()));
            self.kill_at = Some(core.now.mono.after(GRACE));
            core.log(Level::Warning, "the process that has started circusd has ended, so circusd ends");
            return Some(Intent::Quit);
        }
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.look(core.now.mono);
        }
        // The second request to end kills the processes that have not ended by then.
        self.kill_at.take_if(|at| *at <= core.now.mono).map(|_| Intent::Quit)
    }

    /// When what remains is to be killed, or the service manager is to hear of circusd.
    pub(super) fn next_due(&self) -> Option<Mono> {
        let watchdog = self.watchdog.as_ref().and_then(|watchdog| watchdog.next);
        self.kill_at.into_iter().chain(watchdog).min()
    }

    fn report(&mut self, key: &str, value: &str) {
        let Some(ready) = &mut self.ready else { return };
        let line = format!("{key}={}\n", value.replace('\n', "; "));
        // A parent that reads no more needs no more. The lines are few and short, so the pipe never fills.
        if ready.write_all(line.as_bytes()).is_err() {
            self.ready = None;
        }
    }
}
