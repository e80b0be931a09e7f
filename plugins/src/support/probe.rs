//! A question that is asked every so often on a thread of its own, one at a time.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use circus_plugin_sdk::Settings;

use crate::support::background::Background;
use crate::support::interval::Interval;

/// The question, and when it is asked.
#[derive(Debug)]
pub(crate) struct Probe<R> {
    interval: Interval,
    work: Background<(), R>,
    /// When the question was asked that is not answered yet.
    asked: Option<Duration>,
}

impl<R: Send + 'static> Probe<R> {
    /// Asks every `loop_rate` seconds.
    pub(crate) fn new(settings: &Settings, ask: impl Fn() -> R + Send + 'static) -> Result<Self, String> {
        let work = Background::start(1, move |()| ask());
        Ok(Self {
            interval: Interval::new(settings.seconds("loop_rate")?),
            work: work.map_err(|error| format!("cannot start a thread for requests: {error}"))?,
            asked: None,
        })
    }

    pub(crate) fn begin(&mut self, now: Duration) {
        self.interval.begin(now);
    }

    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        self.work.source()
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.interval.next()
    }

    /// It is time to ask, unless the last question is still open, however long that takes.
    pub(crate) fn ask(&mut self, now: Duration) {
        self.interval.begin(now);
        if self.asked.is_none() && self.work.push(()) {
            self.asked = Some(now);
        }
    }

    /// The answers that have come, each with the time that it took.
    pub(crate) fn answers(&mut self, now: Duration) -> Vec<(R, Duration)> {
        let asked = &mut self.asked;
        let took = |answer| (answer, asked.take().map_or(Duration::ZERO, |asked| now.saturating_sub(asked)));
        self.work.results().into_iter().map(took).collect()
    }
}
