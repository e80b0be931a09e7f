//! The clocks, read once a turn: the licensed home of reading time in the daemon.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::arbiter::{Mono, Now};

/// What the clocks say.
pub(super) fn now() -> Now {
    let (seconds, nanos) = read(ClockId::CLOCK_MONOTONIC);
    let mono = Mono(u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + u64::try_from(nanos).unwrap_or(0));
    let (seconds, nanos) = read(ClockId::CLOCK_REALTIME);
    Now { mono, unix: seconds as f64 + nanos as f64 / 1e9 }
}

/// How long the machine has been up, asleep or not: the clock by which the kernel tells when a process was created.
pub(super) fn since_boot() -> Duration {
    let (seconds, nanos) = read(ClockId::CLOCK_BOOTTIME);
    Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0))
}

fn read(clock: ClockId) -> (i64, i64) {
    // None of these clocks can fail: all exist on every Linux.
    clock_gettime(clock).map_or((0, 0), |time| (time.tv_sec(), time.tv_nsec()))
}
