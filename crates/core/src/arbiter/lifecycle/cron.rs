//! Watchers that run by a schedule (`kind = cron`).
//!
//! One that was started is armed: stopped, with a timer for its next run, until it is told to stop. A run is an operation like
//! any other, and ends as runs do (`lifecycle::runs`). [`next`] and [`at_due`] decide; [`Arbiter::update_schedule`] brings
//! the timer in line with what a watcher is, after each change of it.
//!
//! A pattern follows the clock on the wall. When that clock was set, [`Arbiter::note_clock`] sees it by its distance to the
//! monotonic one, and the next runs are found anew. Intervals (`@every`) follow the monotonic clock.

use jiff::tz::TimeZone;

use crate::arbiter::action::Action;
use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::runs::NextRun;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState, is_idle};
use crate::arbiter::ids::WatcherKey;
use crate::arbiter::lifecycle::stop;
use crate::arbiter::operate::operation::OperationKind;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::{Now, seconds};
use crate::arbiter::time_zones::TimeZones;
use crate::arbiter::timers::Timer;
use crate::base::Level;
use crate::config::{Missed, Overlap, Schedule, WatcherKind};
use crate::proto::RunTrigger;

/// A run that is so many seconds late is not missed: a busy machine, or a clock that was corrected.
const TOLERANCE: f64 = 60.0;
/// So many seconds may the clock on the wall be set back without runs that were being repeated.
const LONGEST_STEP_BACK: f64 = 3.0 * 3600.0;
/// A clock on the wall that has gone so many seconds more or less than the monotonic one was set.
const STEP: f64 = 1.0;
/// What floating point numbers lose.
const ROUNDING: f64 = 0.001;

/// A time at which a watcher is to run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Due {
    time: f64,
    /// It has passed, and nothing ran.
    is_missed: bool,
}

/// When a watcher is to run next, all in seconds since the epoch. `since` is the last time that was due, or when it began
/// to wait.
fn next(schedule: &Schedule, zone: &TimeZone, missed: Missed, since: f64, now: f64) -> Option<Due> {
    let since = if since - now > LONGEST_STEP_BACK { now } else { since };
    let time = schedule.after(since, zone)?;
    if time >= now - TOLERANCE {
        return Some(Due { time, is_missed: false });
    }
    match missed {
        Missed::Run => Some(Due { time, is_missed: true }),
        Missed::Skip => Some(Due { time: schedule.after(now, zone)?, is_missed: false }),
    }
}

/// What is done when a run is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It begins.
    Run,
    /// It does not take place.
    Skip,
    /// It begins when the one under way is over.
    Queue,
    /// The one under way is stopped, and it begins then.
    Replace,
}

/// Decides about a run that is due. `waits`: one is to follow the one under way already.
fn at_due(overlap: Overlap, under_way: bool, waits: bool) -> Step {
    match overlap {
        _ if !under_way => Step::Run,
        Overlap::Skip => Step::Skip,
        Overlap::Queue if waits => Step::Skip,
        Overlap::Queue => Step::Queue,
        Overlap::Kill => Step::Replace,
    }
}

/// How far the clock on the wall is ahead of the monotonic one, in seconds.
fn distance(now: Now) -> f64 {
    now.unix - now.mono.0 as f64 / 1e9
}

/// A watcher was started: from now on it runs as its schedule says.
pub(in crate::arbiter) fn arm(w: &mut Watcher, cx: &mut Cx<'_>) {
    w.runs.armed = true;
    if w.runs.since.is_none() {
        w.runs.since = Some(cx.now.unix);
        cx.act(Action::RememberRun { watcher: w.name().to_owned(), time: cx.now.unix });
    }
    cx.follow_ups.push_back(FollowUp::CameUp(w.key));
}

/// It is told to stop.
pub(in crate::arbiter) fn disarm(w: &mut Watcher) {
    (w.runs.armed, w.runs.since, w.runs.follows) = (false, None, None);
}

impl Arbiter {
    /// The same arbiter, which finds time zones so.
    #[must_use]
    pub fn with_time_zones(mut self, zones: TimeZones) -> Self {
        self.time_zones = zones;
        self
    }

    /// Tells when watchers of these names were due the last time, as an earlier circusd has remembered it.
    pub fn remember_runs(&mut self, runs: impl IntoIterator<Item = (String, f64)>) {
        for (name, time) in runs {
            if let Ok(watcher) = self.fleet.named_mut(&name)
                && watcher.config.kind == WatcherKind::Cron
            {
                watcher.runs.since = Some(time);
            }
        }
    }

    /// What a later circusd should know of the schedules: which watcher was due when.
    pub fn runs_to_remember(&self) -> impl Iterator<Item = (&str, f64)> {
        self.fleet.shown().filter_map(|watcher| Some((watcher.name(), watcher.runs.since?)))
    }

    /// Brings the timer of a watcher's next run in line with whether it has one.
    pub(in crate::arbiter) fn update_schedule(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.fleet.watchers.get_mut(&key) else { return };
        let cron = &watcher.config.cron;
        let schedule = cron.schedule.as_ref().filter(|_| watcher.runs.armed && self.phase.is_running());
        let Some(schedule) = schedule else {
            if watcher.runs.next.take().is_some() {
                self.timers.cancel(Timer::Run(key));
            }
            return;
        };
        let of = (schedule.clone(), cron.timezone.clone());
        if watcher.runs.next.as_ref().is_some_and(|next| next.of == of) {
            return;
        }
        self.timers.cancel(Timer::Run(key));
        let has_changed = watcher.runs.next.take().is_some();
        let zone = (self.time_zones.0)(cron.timezone.as_deref());
        if zone.is_none() {
            let name = cron.timezone.as_deref().unwrap_or_default();
            let text = format!("{}: there is no time zone '{name}' on this machine, UTC is used", watcher.name());
            self.outbox.log(Level::Error, text);
        }
        let zone = zone.unwrap_or(TimeZone::UTC);
        // A new schedule is none that was missed.
        let since = if has_changed { now.unix } else { watcher.runs.since.unwrap_or(now.unix) };
        watcher.runs.since = Some(since);
        let interval = schedule.interval();
        let Some(due) = next(schedule, &zone, cron.missed, since, now.unix) else {
            return self.outbox.log(Level::Warning, format!("{}: its schedule has no further time", watcher.name()));
        };
        let most = seconds(cron.jitter).as_millis();
        let jitter = self.rng.up_to(u64::try_from(most).unwrap_or(u64::MAX)) as f64 / 1e3;
        let at = if due.is_missed { due.time } else { due.time + jitter };
        self.timers.set(Timer::Run(key), now.mono.after(seconds(at - now.unix)));
        self.clock_distance.get_or_insert(distance(now));
        let is_by_wall = interval.is_none();
        if is_by_wall && !self.watches_clock {
            self.watches_clock = true;
            self.outbox.act(Action::WatchClock);
        }
        watcher.runs.next = Some(NextRun { due: due.time, at, is_missed: due.is_missed, is_by_wall, of });
    }

    /// The next run of a watcher is due, unless the clock on the wall says otherwise.
    pub(in crate::arbiter) fn run_due(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.fleet.watchers.get_mut(&key) else { return };
        let Some(next) = watcher.runs.next.take().filter(|_| self.phase.is_running()) else { return };
        if next.is_by_wall && now.unix + ROUNDING < next.at {
            self.timers.set(Timer::Run(key), now.mono.after(seconds(next.at - now.unix)));
            watcher.runs.next = Some(next);
            return;
        }
        let late = next.is_by_wall && now.unix - next.at > TOLERANCE;
        // A run that was missed several times is made up for once, and intervals begin anew.
        let since = if late || !next.is_by_wall { now.unix } else { next.due };
        watcher.runs.since = Some(since);
        let name = watcher.name().to_owned();
        self.outbox.act(Action::RememberRun { watcher: name.clone(), time: since });
        let trigger = if next.is_missed || late { RunTrigger::Missed } else { RunTrigger::Schedule };
        let under_way = !is_idle(watcher);
        // circusd itself was held up for long.
        let left_out = late && !next.is_missed && watcher.config.cron.missed == Missed::Skip;
        let step = match left_out {
            true => Step::Skip,
            false => at_due(watcher.config.cron.overlap, under_way, watcher.runs.follows.is_some()),
        };
        match step {
            Step::Skip => {
                watcher.runs.skipped += 1;
                let why = if left_out { "its time has passed" } else { "the one before is not over" };
                self.outbox.log(Level::Warning, format!("{name}: run skipped, {why}"));
            }
            Step::Run | Step::Queue | Step::Replace => watcher.runs.follows = Some(trigger),
        }
        match step {
            Step::Run => self.submit(key, OperationKind::Run, Vec::new(), now),
            Step::Replace => {
                self.outbox.log(Level::Warning, format!("{name}: run stopped, the next one is due"));
                self.with_and_advance(key, now, |w, cx| {
                    if w.is_up() {
                        stop::begin(w, cx);
                    }
                });
            }
            Step::Skip | Step::Queue => {}
        }
        self.update_schedule(key, now);
    }

    /// A run that was to follow another begins.
    pub(in crate::arbiter) fn run_next(&mut self, key: WatcherKey, now: Now) {
        let follows = |w: &Watcher| w.runs.follows.is_some() && w.state == WatcherState::Stopped;
        if self.phase.is_running() && self.fleet.get(key).is_some_and(follows) {
            self.submit(key, OperationKind::Run, Vec::new(), now);
        }
    }

    /// Looks at the clocks. Where that on the wall was set, runs by it are found anew; intervals go on.
    pub(in crate::arbiter) fn note_clock(&mut self, now: Now) {
        // Nothing runs by a schedule yet.
        let Some(before) = self.clock_distance else { return };
        let distance = distance(now);
        let step = distance - before;
        if step.abs() < STEP {
            return;
        }
        self.clock_distance = Some(distance);
        for key in self.fleet.keys() {
            let Some(watcher) = self.fleet.watchers.get_mut(&key) else { continue };
            match &mut watcher.runs.next {
                Some(next) if !next.is_by_wall => {
                    next.at += step;
                    next.due += step;
                    watcher.runs.since = watcher.runs.since.map(|since| since + step);
                }
                Some(_) => {
                    watcher.runs.next = None;
                    self.timers.cancel(Timer::Run(key));
                    self.update_schedule(key, now);
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3600.0;

    fn due(missed: Missed, since: f64, now: f64) -> (f64, bool) {
        let schedule = Schedule::read("0 * * * *").unwrap();
        let due = next(&schedule, &TimeZone::UTC, missed, since, now).unwrap();
        (due.time, due.is_missed)
    }

    #[test]
    fn next_run_follows_the_last_one() {
        for missed in [Missed::Run, Missed::Skip] {
            assert_eq!(due(missed, 0.0, 5.0), (HOUR, false));
            assert_eq!(due(missed, HOUR, HOUR + 5.0), (2.0 * HOUR, false));
            assert_eq!(due(missed, 0.0, HOUR + 59.0), (HOUR, false), "it is late, and takes place");
        }
    }

    #[test]
    fn missed_runs_are_made_up_for_once_or_left_out() {
        assert_eq!(due(Missed::Run, 0.0, 5.5 * HOUR), (HOUR, true));
        assert_eq!(due(Missed::Skip, 0.0, 5.5 * HOUR), (6.0 * HOUR, false));
    }

    #[test]
    fn clock_that_is_set_back_repeats_no_run_unless_it_was_far_off() {
        assert_eq!(due(Missed::Skip, 10.0 * HOUR, 8.5 * HOUR), (11.0 * HOUR, false));
        assert_eq!(due(Missed::Skip, 10.0 * HOUR, 5.5 * HOUR), (6.0 * HOUR, false));
    }

    #[test]
    fn what_is_done_at_an_overlap() {
        for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Kill] {
            assert_eq!(at_due(overlap, false, false), Step::Run);
        }
        assert_eq!(at_due(Overlap::Skip, true, false), Step::Skip);
        assert_eq!(at_due(Overlap::Queue, true, false), Step::Queue);
        assert_eq!(at_due(Overlap::Queue, true, true), Step::Skip);
        assert_eq!(at_due(Overlap::Kill, true, true), Step::Replace);
    }
}
