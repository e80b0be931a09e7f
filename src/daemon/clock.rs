//! The clocks, read once a turn: the one place of the daemon that does.

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
