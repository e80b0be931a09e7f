use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take. Only a test that fails takes it, so it allows for a machine that is busy with others.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The value that this gives, within [`LIMIT`]. It is tried every 50 ms, so it may cost as much as a request or a short
/// command.
///
/// # Panics
///
/// After the limit, with `what` has not come about.
#[track_caller]
pub fn eventually<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    look_until(LIMIT, Duration::from_millis(50), attempt).unwrap_or_else(|| panic!("not in time: {what}"))
}

/// Looks until there is something, at least once and at most for `limit`, with this pause between two looks.
pub fn look_until<T>(limit: Duration, pause: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(pause);
    }
}
