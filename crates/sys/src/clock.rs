//! The clock that counts since boot.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How long the machine has been up, asleep or not: the clock in which the kernel reports when a process was created.
pub fn since_boot() -> Duration {
    // The clock cannot fail: it exists on every Linux.
    let (seconds, nanos) =
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or((0, 0), |time| (time.tv_sec(), time.tv_nsec()));
    Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0))
}
