//! The clocks, read once a turn: the licensed home of reading time in the daemon.

use nix::time::{ClockId, clock_gettime};

use crate::arbiter::{Mono, Now};

/// What the clocks say.
pub(super) fn now() -> Now {
    let read = |clock| {
        // Neither clock can fail: both exist on every Linux.
        clock_gettime(clock).map_or((0, 0), |time| (time.tv_sec(), time.tv_nsec()))
    };
    let (seconds, nanos) = read(ClockId::CLOCK_MONOTONIC);
    let mono = Mono(u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + u64::try_from(nanos).unwrap_or(0));
    let (seconds, nanos) = read(ClockId::CLOCK_REALTIME);
    Now { mono, unix: seconds as f64 + nanos as f64 / 1e9 }
}
