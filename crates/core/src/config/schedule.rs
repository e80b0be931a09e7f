//! `schedule`: when a watcher with `kind = cron` runs.
//!
//! Times come and go as seconds since the epoch, and the time zone is an argument: it is the caller who looks it up.

use std::time::Duration;

use croner::Cron as Pattern;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What stands before an interval.
const EVERY: &str = "@every";
/// The names of patterns, as crontab(5) has them.
const NAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// No interval is longer: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A schedule that could be read, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule(String);

/// What a schedule means.
enum Meaning {
    /// The times that match, on the clock on the wall.
    Pattern(Box<Pattern>),
    /// Intervals, whatever the clock on the wall says.
    Every(Duration),
}

impl Schedule {
    /// Reads a schedule. The error says what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Meaning::Pattern(pattern) = meaning(text)? {
            // Four years and more are looked through: also the 29th of February comes.
            let start = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
            if pattern.find_next_occurrence(&start, false).is_err() {
                return Err(format!("'{text}' never comes"));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The time between two runs, where it follows no clock on the wall.
    pub fn interval(&self) -> Option<Duration> {
        match meaning(&self.0) {
            Ok(Meaning::Every(interval)) => Some(interval),
            Ok(Meaning::Pattern(_)) | Err(_) => None,
        }
    }

    /// The first time after this one; none where there is none any more.
    pub fn after(&self, unix: f64, zone: &TimeZone) -> Option<f64> {
        match meaning(&self.0).ok()? {
            Meaning::Every(interval) => Some(unix + interval.as_secs_f64()),
            Meaning::Pattern(pattern) => {
                #[expect(clippy::cast_possible_truncation, reason = "it saturates, and jiff refuses what is too far")]
                let start = Timestamp::from_second(unix.floor() as i64).ok()?.to_zoned(zone.clone());
                let next = pattern.find_next_occurrence(&start, false).ok()?;
                Some(next.timestamp().as_second() as f64)
            }
        }
    }
}

fn meaning(text: &str) -> Result<Meaning, String> {
    if let Some(interval) = text.strip_prefix(EVERY) {
        return every(interval.trim()).map(Meaning::Every);
    }
    let pattern = match text.strip_prefix('@') {
        None => text,
        Some("reboot") => return Err("@reboot is kind = oneshot, without a schedule".into()),
        Some(_) => {
            let named = NAMES.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
            let names = NAMES.map(|(name, _)| name).join(", ");
            named.map(|(_, pattern)| pattern).ok_or(format!("'{text}' is none of {names} and {EVERY} TIME"))?
        }
    };
    let fields = pattern.split_whitespace().count();
    if fields != 5 {
        return Err(format!(
            "'{text}' has {fields} fields, not five (minute, hour, day of month, month, day of week), as in '0 3 * * *'"
        ));
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let pattern =
        parser.parse(pattern).map_err(|error| format!("'{text}': {}", what_is_wrong(text, &parser, &error)))?;
    Ok(Meaning::Pattern(Box::new(pattern)))
}

/// The field that cannot be read, by trying each alone, and what the parser says of it.
fn what_is_wrong(text: &str, parser: &CronParser, error: &croner::errors::CronError) -> String {
    const FIELDS: [&str; 5] = ["minute", "hour", "day of month", "month", "day of week"];
    let alone = |place: usize, field: &str| {
        let mut fields = ["*"; 5];
        *fields.get_mut(place)? = field;
        parser.parse(&fields.join(" ")).err()
    };
    let mut fields = text.split_whitespace().zip(FIELDS).enumerate();
    fields
        .find_map(|(place, (field, name))| Some(format!("{name} '{field}': {}", words(&alone(place, field)?))))
        .unwrap_or_else(|| words(error))
}

/// The parser's words, without the kind of error before them and the full stop behind.
fn words(error: &croner::errors::CronError) -> String {
    let text = error.to_string();
    let text = text.split_once(": ").map_or(text.as_str(), |(_, text)| text);
    text.trim_end_matches('.').to_lowercase()
}

fn every(text: &str) -> Result<Duration, String> {
    let refused = || format!("'{text}' is no time such as 5m, 90s or 1h 30m, from a second to ten years");
    let interval: SignedDuration = text.parse().map_err(|_| refused())?;
    let interval = Duration::try_from(interval).map_err(|_| refused())?;
    if (Duration::from_secs(1)..=LONGEST).contains(&interval) { Ok(interval) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Berlin, without a database: in summer from the last Sunday of March to the last Sunday of October.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn unix(zoned: &str) -> f64 {
        zoned.parse::<Timestamp>().unwrap().as_second() as f64
    }

    /// The next times after one, as Berlin writes them.
    fn next(schedule: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::read(schedule).unwrap();
        let mut at = unix(after);
        let step = |_| {
            at = schedule.after(at, &berlin()).unwrap();
            let zoned = Timestamp::from_second(at as i64).unwrap().to_zoned(berlin());
            zoned.strftime("%m-%d %H:%M %z").to_string()
        };
        (0..count).map(step).collect()
    }

    #[test]
    fn patterns_follow_the_clock_on_the_wall() {
        assert_eq!(next("0 3 * * *", "2026-01-01T01:59:59Z", 2), ["01-01 03:00 +0100", "01-02 03:00 +0100"]);
        assert_eq!(next("0 3 * * *", "2026-01-01T02:00:00Z", 1), ["01-02 03:00 +0100"], "strictly after");
        assert_eq!(next("*/20 * * * *", "2026-01-01T00:30:30Z", 2), ["01-01 01:40 +0100", "01-01 02:00 +0100"]);
        assert_eq!(next("@daily", "2026-01-01T00:00:00Z", 1), ["01-02 00:00 +0100"]);
        assert_eq!(next("0 12 29 feb *", "2026-01-01T00:00:00Z", 1), ["02-29 12:00 +0100"]);
        // As in every cron: with both days given, either will do.
        assert_eq!(next("0 0 13 * fri", "2026-03-09T00:00:00Z", 2), ["03-13 00:00 +0100", "03-20 00:00 +0100"]);
    }

    /// On 2026-03-29 there is no 02:30.
    #[test]
    fn a_time_that_is_left_out_in_spring_comes_right_after() {
        let times = next("30 2 * * *", "2026-03-28T00:00:00Z", 3);
        assert_eq!(times, ["03-28 02:30 +0100", "03-29 03:00 +0200", "03-30 02:30 +0200"]);
        let times = next("*/30 * * * *", "2026-03-29T00:00:00Z", 3);
        assert_eq!(times, ["03-29 01:30 +0100", "03-29 03:00 +0200", "03-29 03:30 +0200"]);
    }

    /// On 2026-10-25 there is 02:30 twice.
    #[test]
    fn a_time_that_comes_twice_in_autumn_counts_once_and_steps_go_on() {
        let times = next("30 2 * * *", "2026-10-24T23:00:00Z", 2);
        assert_eq!(times, ["10-25 02:30 +0200", "10-26 02:30 +0100"]);
        let times = next("*/30 2 * * *", "2026-10-24T23:00:00Z", 5);
        assert_eq!(times[..2], ["10-25 02:00 +0200", "10-25 02:30 +0200"]);
        assert_eq!(times[2..4], ["10-25 02:00 +0100", "10-25 02:30 +0100"]);
    }

    #[test]
    fn intervals_are_durations() {
        for (text, seconds) in [("5m", 300), ("90s", 90), ("1h 30m", 5400), ("1h30m", 5400), ("1s", 1)] {
            let schedule = Schedule::read(&format!(" @every {text} ")).unwrap();
            assert_eq!(schedule.interval(), Some(Duration::from_secs(seconds)), "{text}");
            assert_eq!(schedule.after(0.5, &TimeZone::UTC), Some(seconds as f64 + 0.5));
        }
        assert_eq!(Schedule::read("@daily").unwrap().interval(), None);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_reason() {
        for (text, reason) in [
            (
                "0 3 * *",
                "'0 3 * *' has 4 fields, not five (minute, hour, day of month, month, day of week), as in '0 3 * * *'",
            ),
            ("", "'' has 0 fields, not five (minute, hour, day of month, month, day of week), as in '0 3 * * *'"),
            ("0 0 31 2 *", "'0 0 31 2 *' never comes"),
            ("@every 5", "'5' is no time such as 5m, 90s or 1h 30m, from a second to ten years"),
            ("@every 0s", "'0s' is no time such as 5m, 90s or 1h 30m, from a second to ten years"),
            ("@reboot", "@reboot is kind = oneshot, without a schedule"),
        ] {
            assert_eq!(Schedule::read(text).unwrap_err(), reason, "{text}");
        }
        let names = Schedule::read("@dayly").unwrap_err();
        assert!(names.starts_with("'@dayly' is none of @yearly, ") && names.ends_with(" and @every TIME"), "{names}");
        for (text, field) in
            [("0 24 * * *", "hour '24': "), ("0 3 * foo *", "month 'foo': "), ("x 3 * * *", "minute 'x': ")]
        {
            let reason = Schedule::read(text).unwrap_err();
            assert!(reason.starts_with(&format!("'{text}': {field}")), "{reason}");
        }
    }
}
