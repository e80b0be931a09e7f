//! What a worker reports of itself, in the words of sd_notify(3).

use std::time::Duration;

/// One thing that a worker reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// `READY=1`
    Ready,
    /// `STATUS=`: what it is doing, for people.
    Status(String),
    /// `STOPPING=1`
    Stopping,
    /// `RELOADING=1`
    Reloading,
    /// `WATCHDOG=1`: it is at work.
    Ping,
    /// `WATCHDOG=trigger`: it is not at work any more.
    Trigger,
    /// `WATCHDOG_USEC=`: the longest time between two pings from now on.
    WatchdogInterval(Duration),
}
