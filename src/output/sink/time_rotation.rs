//! TimedRotatingFileStream: when a file is rotated, and which time its new name has.
//!
//! Pure: times and time zones are arguments. The rules are Circus's: S, M, H and D count from when the file was begun; MIDNIGHT and W0 to W6 end with the day, in the calendar of the time zone,
//! so that a day of 23 or 25 hours is a day. A file is rolled by the first line behind its deadline, never by the clock
//! alone, and is named after the beginning of its time.
//!
//! These deadlines are the wall clock's, as calendars are; a clock that is set moves them.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::config::options::RotateWhen;
use crate::output::sink::size_rotation::{Step, first_line};

/// `rotate_when`, `rotate_interval`, `utc` and `backup_count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimeRotation {
    pub(crate) when: RotateWhen,
    /// So many of them; MIDNIGHT and W0 to W6 do not count.
    pub(crate) interval: i64,
    pub(crate) utc: bool,
    /// How many old files are kept; 0: all.
    pub(crate) backup_count: u64,
}

/// How long a file's time is.
enum Length {
    Seconds(i64),
    Days(i64),
}

impl TimeRotation {
    /// The time zone of its days and names.
    pub(crate) fn zone(&self) -> TimeZone {
        if self.utc { TimeZone::UTC } else { TimeZone::system() }
    }

    /// When the time of a file that begins (or was last written) at `begun` is over. Whole seconds, as in the names.
    pub(crate) fn deadline(&self, begun: Timestamp, zone: &TimeZone) -> Timestamp {
        let begun = whole_seconds(begun);
        let midnight = |days| midnight_in(days, begun.to_zoned(zone.clone()));
        match self.when {
            RotateWhen::Midnight => midnight(1),
            RotateWhen::Weekday(day) => {
                let today = begun.to_zoned(zone.clone()).weekday().to_monday_zero_offset();
                midnight((i64::from(day) - i64::from(today)).rem_euclid(7) + 1)
            }
            RotateWhen::Second | RotateWhen::Minute | RotateWhen::Hour | RotateWhen::Day => match self.length() {
                Length::Seconds(seconds) => {
                    begun.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
                }
                Length::Days(days) => midnight(days),
            },
        }
    }

    /// The next step with `lines` at `now` for a file whose time is over at `deadline`. `mid_line`: the file's last
    /// line has no end yet, so what belongs to it goes behind it.
    pub(crate) fn step(deadline: Timestamp, now: Timestamp, mid_line: bool, lines: &[u8]) -> Step {
        if now < deadline {
            Step::Write(lines.len())
        } else if mid_line {
            Step::Write(first_line(lines))
        } else {
            Step::Rotate
        }
    }

    /// What is put behind the name of a file whose time was over at `deadline`: when its time began.
    pub(crate) fn suffix(&self, deadline: Timestamp, zone: &TimeZone) -> String {
        let begun = match self.length() {
            Length::Seconds(seconds) => deadline
                .checked_sub(SignedDuration::from_secs(seconds))
                .unwrap_or(Timestamp::UNIX_EPOCH)
                .to_zoned(zone.clone()),
            Length::Days(days) => {
                let end = deadline.to_zoned(zone.clone());
                end.checked_sub(Span::new().days(days)).unwrap_or(end)
            }
        };
        begun.strftime(self.format()).to_string()
    }

    /// How many digits a suffix has.
    pub(crate) fn digits(&self) -> usize {
        match self.when {
            RotateWhen::Second => 14,
            RotateWhen::Minute => 12,
            RotateWhen::Hour => 10,
            RotateWhen::Day | RotateWhen::Midnight | RotateWhen::Weekday(_) => 8,
        }
    }

    fn format(&self) -> &'static str {
        match self.when {
            RotateWhen::Second => "%Y%m%d%H%M%S",
            RotateWhen::Minute => "%Y%m%d%H%M",
            RotateWhen::Hour => "%Y%m%d%H",
            RotateWhen::Day | RotateWhen::Midnight | RotateWhen::Weekday(_) => "%Y%m%d",
        }
    }

    fn length(&self) -> Length {
        let seconds = |each: i64| Length::Seconds(each.saturating_mul(self.interval));
        match self.when {
            RotateWhen::Second => seconds(1),
            RotateWhen::Minute => seconds(60),
            RotateWhen::Hour => seconds(60 * 60),
            RotateWhen::Day => seconds(24 * 60 * 60),
            RotateWhen::Midnight => Length::Days(1),
            RotateWhen::Weekday(_) => Length::Days(7),
        }
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The beginning of the day that comes so many days later. Where clocks go forward at midnight, that is one o'clock.
fn midnight_in(days: i64, time: Zoned) -> Timestamp {
    let date = time.date().checked_add(Span::new().days(days));
    let midnight = date.and_then(|date| date.to_zoned(time.time_zone().clone()));
    midnight.map_or(Timestamp::MAX, |midnight| midnight.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn every(when: RotateWhen, interval: i64) -> TimeRotation {
        TimeRotation { when, interval, utc: false, backup_count: 0 }
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    /// The deadline of a file begun at this local time, as a local time, and the suffix that it then gets.
    fn plan(schedule: TimeRotation, zone_name: &str, begun: &str) -> (String, String) {
        let zone = zone(zone_name);
        let begun: Timestamp = begun.parse().unwrap();
        let deadline = schedule.deadline(begun, &zone);
        (deadline.to_zoned(zone.clone()).strftime("%F %T").to_string(), schedule.suffix(deadline, &zone))
    }

    #[test]
    fn intervals_count_from_the_beginning_of_the_file() {
        for (when, interval, deadline, suffix) in [
            (RotateWhen::Second, 1, "2024-02-03 04:05:07", "20240203040506"),
            (RotateWhen::Minute, 5, "2024-02-03 04:10:06", "202402030405"),
            (RotateWhen::Hour, 12, "2024-02-03 16:05:06", "2024020304"),
            (RotateWhen::Day, 2, "2024-02-05 04:05:06", "20240203"),
        ] {
            let planned = plan(every(when, interval), "UTC", "2024-02-03T04:05:06.9Z");
            assert_eq!(planned, (deadline.to_owned(), suffix.to_owned()));
        }
    }

    #[test]
    fn a_day_ends_at_its_midnight_however_long_it_was() {
        for (begun, deadline, suffix) in [
            ("2026-11-22T06:42:00+01:00", "2026-11-23 00:00:00", "20261122"),
            // 23 hours, and then 25.
            ("2026-03-29T00:00:00+01:00", "2026-03-30 00:00:00", "20260329"),
            ("2026-10-25T00:00:00+02:00", "2026-10-26 00:00:00", "20261025"),
            // The days before: they are ordinary, but end on another offset's eve.
            ("2026-03-28T12:00:00+01:00", "2026-03-29 00:00:00", "20260328"),
            ("2026-10-24T12:00:00+02:00", "2026-10-25 00:00:00", "20261024"),
        ] {
            let planned = plan(every(RotateWhen::Midnight, 1), "Europe/Berlin", begun);
            assert_eq!(planned, (deadline.to_owned(), suffix.to_owned()), "{begun}");
        }
    }

    #[test]
    fn a_midnight_that_does_not_exist_is_the_first_moment_of_the_day() {
        // Clocks went from 23:59:59 to 01:00.
        let planned = plan(every(RotateWhen::Midnight, 1), "America/Sao_Paulo", "2018-11-03T12:00:00-03:00");
        assert_eq!(planned, ("2018-11-04 01:00:00".into(), "20181103".into()));
    }

    #[test]
    fn a_week_ends_with_its_day_across_a_change_of_the_clocks() {
        // 2026-03-29 is a Sunday, on which the clocks go forward in Berlin.
        for (day, begun, deadline, suffix) in [
            (0, "2026-03-23T12:00:00+01:00", "2026-03-24 00:00:00", "20260317"),
            (0, "2026-03-24T00:00:00+01:00", "2026-03-31 00:00:00", "20260324"),
            (6, "2026-03-24T12:00:00+01:00", "2026-03-30 00:00:00", "20260323"),
            (6, "2026-03-29T12:00:00+02:00", "2026-03-30 00:00:00", "20260323"),
            (2, "2026-03-28T12:00:00+01:00", "2026-04-02 00:00:00", "20260326"),
        ] {
            let planned = plan(every(RotateWhen::Weekday(day), 1), "Europe/Berlin", begun);
            assert_eq!(planned, (deadline.to_owned(), suffix.to_owned()), "W{day} from {begun}");
        }
    }

    #[test]
    fn utc_has_days_of_its_own() {
        let schedule = TimeRotation { utc: true, ..every(RotateWhen::Midnight, 1) };
        assert_eq!(schedule.zone(), TimeZone::UTC);
        let planned = plan(schedule, "UTC", "2026-11-22T00:30:00+01:00");
        assert_eq!(planned, ("2026-11-22 00:00:00".into(), "20261121".into()));
    }

    #[test]
    fn calendar_days_are_not_multiplied() {
        // As in Circus; its manual calls the interval seconds, so 86400 stands in some files.
        let planned = plan(every(RotateWhen::Midnight, 86_400), "UTC", "2024-02-03T04:05:06Z");
        assert_eq!(planned, ("2024-02-04 00:00:00".into(), "20240203".into()));
    }

    #[test]
    fn an_endless_interval_never_ends() {
        let endless = every(RotateWhen::Day, i64::MAX);
        assert_eq!(endless.deadline(Timestamp::UNIX_EPOCH, &TimeZone::UTC), Timestamp::MAX);
        assert_eq!(endless.suffix(Timestamp::MAX, &TimeZone::UTC).len(), endless.digits());
    }

    #[test]
    fn a_file_is_rolled_by_the_first_line_behind_its_deadline() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(TimeRotation::step(at(10), at(9), false, b"a\nb\n"), Step::Write(4));
        assert_eq!(TimeRotation::step(at(10), at(10), false, b"a\nb\n"), Step::Rotate);
        assert_eq!(TimeRotation::step(at(10), at(10), true, b"end\nnext\n"), Step::Write(4), "the line stays whole");
    }

    fn any_when() -> impl Strategy<Value = RotateWhen> {
        prop_oneof![
            Just(RotateWhen::Second),
            Just(RotateWhen::Minute),
            Just(RotateWhen::Hour),
            Just(RotateWhen::Day),
            Just(RotateWhen::Midnight),
            (0u8..7).prop_map(RotateWhen::Weekday),
        ]
    }

    proptest! {
        #[test]
        fn deadlines_are_ahead_and_suffixes_are_digits(
            second in -2_000_000_000i64..10_000_000_000, when in any_when(), interval in 1i64..100, utc: bool,
        ) {
            let schedule = every(when, interval);
            let zone = if utc { TimeZone::UTC } else { zone("America/New_York") };
            let begun = Timestamp::from_second(second).unwrap();
            let deadline = schedule.deadline(begun, &zone);
            prop_assert!(deadline > begun);
            prop_assert_eq!(schedule.deadline(begun, &zone), deadline);
            let suffix = schedule.suffix(deadline, &zone);
            prop_assert_eq!(suffix.len(), schedule.digits());
            prop_assert!(suffix.bytes().all(|byte| byte.is_ascii_digit()));
            // Files in a row have names in that order.
            let next = schedule.deadline(deadline, &zone);
            prop_assert!(next > deadline);
            if zone == TimeZone::UTC || matches!(when, RotateWhen::Midnight | RotateWhen::Weekday(_)) {
                prop_assert!(schedule.suffix(next, &zone) > suffix);
            }
        }
    }
}
