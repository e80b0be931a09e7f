//! How long a slot, or a watcher, waits before the next try: 100 ms, doubled each time, within check_delay.

use std::time::Duration;

use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::history::Backoff;
use crate::arbiter::fleet::slots::back_off;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::Wid;
use crate::arbiter::lifecycle::announce;
use crate::arbiter::outcome::Cause;
use crate::arbiter::rng::Rng;
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;

/// The bound where check_delay gives none.
const DEFAULT_BOUND: Duration = Duration::from_secs(5);

/// How long the `k`-th wait in a row lasts, 10 % more or less so that many do not end together.
pub(in crate::arbiter) fn wait(k: u32, cx: &mut Cx<'_>) -> Duration {
    pause(k, cx.circus.check_delay, cx.rng)
}

/// The same for what is no watcher's.
pub(in crate::arbiter) fn pause(k: u32, check_delay: f64, rng: &mut Rng) -> Duration {
    let bound = seconds(check_delay);
    let bound = if bound.is_zero() { DEFAULT_BOUND } else { bound };
    back_off(k, bound).mul_f64(rng.around_one(0.1))
}

/// Makes a slot wait before its next worker: for the `k`-th time, after the cause came so many times in a row.
pub(in crate::arbiter) fn begin(
    w: &mut Watcher,
    wid: Wid,
    cause: Cause,
    (times, k): (u32, u32),
    cx: &mut Cx<'_>,
) -> Duration {
    let wait = wait(k, cx);
    w.failures.note(Some(wid), cause.clone(), cx.now);
    w.history.chronicle.waits(wid, &cause, times, wait, cx.now);
    w.slots.back_off(wid, Backoff { cause, times, wait });
    cx.timers.set(Timer::Retry(w.key, wid), cx.mono().after(wait));
    wait
}

/// The slot of a worker that exits again and again waits, for the `k`-th time.
pub(in crate::arbiter) fn begin_after_exit(
    w: &mut Watcher,
    wid: Wid,
    exit_code: i32,
    (lived, times, k): (Duration, u32, u32),
    cx: &mut Cx<'_>,
) {
    w.slots.tried(wid);
    let wait = begin(w, wid, Cause::Exit { exit_code, lived }, (times, k), cx);
    announce::backs_off(w, wid.0, exit_code, (lived, times, wait), cx);
}
