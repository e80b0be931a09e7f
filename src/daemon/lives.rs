//! The end of a life of the daemon: for good, or to begin another in the same process.

use std::time::Duration;

use super::boot::{Refusal, bind_one, open_network, owner, seed};
use super::main::weight;
use super::plugins::tell;
use super::turn::Daemon;
use crate::arbiter::{Arbiter, Level};
use crate::config::{CircusConfig, Config, Problem};
use crate::output::Message;

/// How long the last answers and events may take to leave.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long the last lines of output may take to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

impl Daemon {
    /// Everything is stopped: the last words go out, and what was on the file system goes.
    pub(super) fn close(mut self) {
        self.end_hooks();
        self.say(Level::Info, "Arbiter exiting");
        let lost = self.router.flush(LAST_WORDS);
        if lost > 0 {
            self.say(Level::Warning, &format!("{lost} answers were not read by their clients"));
        }
        for message in self.launcher.output.shutdown(LAST_LINES) {
            match message {
                Message::Info(text) | Message::Warning(text) => self.log.line(Level::Warning, self.now.unix, &text),
                Message::Told { speaker, line } => tell(&mut self.log, self.now.unix, &speaker, &line),
                // Nobody is left who asked.
                Message::Synced(_) | Message::Tailed(..) | Message::Output { .. } => {}
            }
        }
        self.router.close(LAST_WORDS);
        self.publisher.close(LAST_WORDS);
        drop(self.kept.pidfile);
    }

    /// Begins another life with this configuration, or with the last one that worked.
    pub(super) fn begin_anew(&mut self, config: Option<Config>, problems: &[Problem]) {
        for problem in problems {
            self.say(weight(problem.severity), &problem.to_string());
        }
        let config = match config {
            Some(config) => {
                self.kept.problems = problems.to_vec();
                config
            }
            None => {
                self.say(Level::Error, "the configuration cannot be used; starting again with the one before");
                self.kept.config.clone()
            }
        };
        self.outcome = None;
        self.unpacking = true;
        self.forget_launches();
        self.end_hooks();
        let mut config = config;
        self.follow(&mut config.circus);
        self.replace_sockets(&config.sockets);
        self.kept.config = config.clone();
        self.samples.abandon();
        self.launcher.output.retain(config.watchers.iter().map(|watcher| watcher.name.clone()).collect());
        self.arbiter = Arbiter::new(config, self.kept.host.clone(), seed(self.now));
    }

    /// Takes over what `[circus]` says now; what fails stays as it was, and is tried again the next time.
    fn follow(&mut self, circus: &mut CircusConfig) {
        self.follow_umask(circus.umask);
        match self.log_of(circus) {
            Ok(log) => self.log = log,
            Err(error) => self.say(Level::Error, &error),
        }
        let before = self.kept.config.circus.clone();
        if (&circus.endpoint, &circus.pubsub_endpoint) != (&before.endpoint, &before.pubsub_endpoint)
            && let Err(refusal) = self.move_endpoints(circus, &before)
        {
            self.say(Level::Error, &format!("the endpoints stay as they are: {refusal}"));
            (circus.endpoint, circus.pubsub_endpoint) = (before.endpoint, before.pubsub_endpoint);
        }
    }

    /// Binds what is new, and only when all of it works lets go of the old.
    fn move_endpoints(&mut self, circus: &CircusConfig, before: &CircusConfig) -> Result<(), Refusal> {
        let owner = owner(circus)?;
        let bind = |key, new: &str, old: &str| {
            if new == old { Ok(None) } else { bind_one(circus, key, new, owner).map(Some) }
        };
        let control = bind("endpoint", &circus.endpoint, &before.endpoint)?;
        let events = bind("pubsub_endpoint", &circus.pubsub_endpoint, &before.pubsub_endpoint)?;
        let kept = &mut self.kept;
        let (router, publisher) = open_network(
            &kept.context,
            control.as_ref().unwrap_or(&kept.control),
            events.as_ref().unwrap_or(&kept.events),
            &self.poll,
            &mut self.registry,
        )?;
        drop(self.poll.registry().deregister(&mut self.router));
        drop(self.poll.registry().deregister(&mut self.publisher));
        std::mem::replace(&mut self.router, router).close(LAST_WORDS);
        std::mem::replace(&mut self.publisher, publisher).close(LAST_WORDS);
        if let Some(control) = control {
            kept.control = control;
        }
        if let Some(events) = events {
            kept.events = events;
        }
        Ok(())
    }
}
