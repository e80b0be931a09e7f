//! The end of a life of the daemon: for good, or to begin another in the same process.

use std::time::Duration;

use super::boot::{StartupError, bind_one, open_network, owner, peers_of, seed};
use super::event_loop::Daemon;
use super::main::log_level_of;
use super::plugins::log_speaker;
use super::sources::Source;
use crate::arbiter::{Arbiter, Level};
use crate::config::{CircusConfig, Config, Problem, WatcherConfig};
use crate::output::Message;

/// How long the last answers and events may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the last lines of output may take to be written, at most.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long sinks that block may hold up the end: no longer than workers may, and never long.
fn output_timeout(watchers: &[WatcherConfig]) -> Duration {
    let longest = watchers.iter().map(|watcher| watcher.graceful_timeout).reduce(f64::max);
    longest.map_or(OUTPUT_TIMEOUT, |seconds| Duration::from_secs_f64(seconds.clamp(0.0, OUTPUT_TIMEOUT.as_secs_f64())))
}

impl Daemon {
    /// Everything is stopped: the last words go out, and what was on the file system goes.
    pub(super) fn close(mut self) {
        self.stop_hooks();
        if let Some(end) = self.arbiter.essential_end() {
            self.parent.ended(&end.watcher);
        }
        self.log_line(Level::Info, "Arbiter exiting");
        let lost = self.router.flush(FLUSH_TIMEOUT);
        if lost > 0 {
            self.log_line(Level::Warning, &format!("{lost} answers were not read by their clients"));
        }
        let limit = output_timeout(&self.resources.config.watchers);
        for message in self.launcher.output.shutdown(limit) {
            match message {
                Message::Info(text) | Message::Warning(text) => self.log.line(Level::Warning, self.now.unix, &text),
                Message::Told { speaker, level, line } => {
                    log_speaker(&mut self.log, self.now.unix, &speaker, level, &line)
                }
                // Nobody is left who asked.
                Message::Synced(_) | Message::Tailed(..) | Message::Output { .. } => {}
            }
        }
        let killed = self.leftovers.end_adopted(&self.proc, &mut self.signals);
        if !killed.is_empty() {
            let pids: Vec<String> = killed.iter().map(ToString::to_string).collect();
            let text = format!("killed processes that workers had left behind: {}", pids.join(", "));
            self.log.line(Level::Warning, self.now.unix, &text);
        }
        self.router.close(FLUSH_TIMEOUT);
        self.publisher.close(FLUSH_TIMEOUT);
        drop(self.resources.pidfile);
        self.log.close();
    }

    /// Begins another life with this configuration, or with the last one that worked.
    pub(super) fn restart(&mut self, config: Option<Config>, problems: &[Problem]) {
        for problem in problems {
            self.log_line(log_level_of(problem.severity), &problem.to_string());
        }
        let config = match config {
            Some(config) => {
                self.resources.problems = problems.to_vec();
                config
            }
            None => {
                self.log_line(Level::Error, "the configuration cannot be used; starting again with the one before");
                self.resources.config.clone()
            }
        };
        self.outcome = None;
        self.trim_when_idle = true;
        self.forget_launches();
        self.stop_hooks();
        let mut config = config;
        self.follow(&mut config.circus);
        self.launcher.workers_end_with_circusd = config.circus.workers_end_with_circusd;
        for error in self.fds.replace_sockets(&config.sockets) {
            self.log_line(Level::Error, &error);
        }
        self.resources.config = config.clone();
        self.samples.abandon();
        self.launcher.output.retain(config.watchers.iter().map(|watcher| watcher.name.clone()).collect());
        self.arbiter = Arbiter::new(config, self.resources.host.clone(), seed(self.now));
    }

    /// Takes over what `[circus]` says now; what fails stays as it was, and is tried again the next time.
    fn follow(&mut self, circus: &mut CircusConfig) {
        self.resources.follow_umask(circus.umask);
        match self.resources.log_of(circus) {
            Ok(log) => self.log = log,
            Err(error) => self.log_line(Level::Error, &error),
        }
        let before = self.resources.config.circus.clone();
        if (&circus.endpoint, &circus.pubsub_endpoint) != (&before.endpoint, &before.pubsub_endpoint)
            && let Err(refusal) = self.move_endpoints(circus, &before)
        {
            self.log_line(Level::Error, &format!("the endpoints stay as they are: {refusal}"));
            (circus.endpoint, circus.pubsub_endpoint) = (before.endpoint, before.pubsub_endpoint);
        }
    }

    /// Binds what is new, and only when all of it works lets go of the old.
    fn move_endpoints(&mut self, circus: &CircusConfig, before: &CircusConfig) -> Result<(), StartupError> {
        let owner = owner(circus)?;
        let bind = |key, new: &str, old: &str| {
            if new == old { Ok(None) } else { bind_one(circus, key, new, owner).map(Some) }
        };
        let control = bind("endpoint", &circus.endpoint, &before.endpoint)?;
        let events = bind("pubsub_endpoint", &circus.pubsub_endpoint, &before.pubsub_endpoint)?;
        let peers = peers_of(circus)?;
        let (router, publisher) = open_network(
            &self.resources.context,
            control.as_ref().unwrap_or(&self.fds.control),
            events.as_ref().unwrap_or(&self.fds.events),
        )?;
        let (mut router, mut publisher) = (router, publisher);
        let watched = self.sources.replace(Source::Control, &mut self.router, &mut router);
        watched
            .and_then(|()| self.sources.replace(Source::Events, &mut self.publisher, &mut publisher))
            .map_err(|error| StartupError::Error(error.to_string()))?;
        std::mem::replace(&mut self.router, router).close(FLUSH_TIMEOUT);
        std::mem::replace(&mut self.publisher, publisher).close(FLUSH_TIMEOUT);
        if let Some(control) = control {
            self.fds.control = control;
            self.resources.peers = peers;
        }
        if let Some(events) = events {
            self.fds.events = events;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(graceful_timeouts: &[f64]) -> Duration {
        let watcher =
            |seconds: &f64| WatcherConfig { graceful_timeout: *seconds, ..WatcherConfig::new("w", "true", "/") };
        output_timeout(&graceful_timeouts.iter().map(watcher).collect::<Vec<_>>())
    }

    #[test]
    fn a_blocked_sink_delays_the_end_no_longer_than_a_worker() {
        assert_eq!(timeout(&[0.1, 0.3]), Duration::from_millis(300));
        assert_eq!(timeout(&[0.1, 30.0]), OUTPUT_TIMEOUT);
        assert_eq!(timeout(&[]), OUTPUT_TIMEOUT);
        assert_eq!(timeout(&[f64::NAN, -1.0]), Duration::ZERO);
    }
}
