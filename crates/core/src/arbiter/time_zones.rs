//! Time zones, which the daemon knows.

use jiff::tz::TimeZone;

/// The time zones that the daemon knows: that of a name, or the local one.
#[derive(Clone, Copy, Debug)]
pub struct TimeZones(pub fn(Option<&str>) -> Option<TimeZone>);

impl Default for TimeZones {
    fn default() -> Self {
        Self(|_| Some(TimeZone::UTC))
    }
}

/// They are the machine's, and no part of a state.
impl PartialEq for TimeZones {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}
