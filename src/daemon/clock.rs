//! The clocks, which the daemon reads only here, once per turn.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};

use crate::arbiter::{Mono, Now};

/// What the clocks say.
pub(super) fn now() -> Now {
    let (seconds, nanos) = read(ClockId::CLOCK_MONOTONIC);
    let mono = Mono(u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + u64::try_from(nanos).unwrap_or(0));
    let (seconds, nanos) = read(ClockId::CLOCK_REALTIME);
    Now { mono, unix: seconds as f64 + nanos as f64 / 1e9 }
}

fn read(clock: ClockId) -> (i64, i64) {
    // None of these clocks can fail: all exist on every Linux.
    clock_gettime(clock).map_or((0, 0), |time| (time.tv_sec(), time.tv_nsec()))
}

/// Tells when the clock on the wall was set, also as the machine wakes up: a timer that is never due, which the kernel
/// cancels then.
#[derive(Debug)]
pub(super) struct ClockWatch(TimerFd);

impl ClockWatch {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let watch = Self(TimerFd::new(TimerClock::CLOCK_REALTIME, flags)?);
        watch.renew()?;
        Ok(watch)
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }

    /// To be called each time that it is readable.
    pub(super) fn renew(&self) -> io::Result<()> {
        // That it was cancelled is an error, and the news.
        let _cancelled = nix::unistd::read(self.0.as_fd(), &mut [0; 8]);
        let never = Expiration::OneShot(TimeSpec::seconds(i64::from(i32::MAX)));
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        Ok(self.0.set(never, flags)?)
    }
}
