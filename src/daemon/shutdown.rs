//! The end of the daemon, or its restart in the same process.

use std::time::Duration;

use super::boot::{StartupError, bind_one, open_network, owner, peers_of, seed};
use super::control::Control;
use super::core::Core;
use super::door::{Door, Guests};
use super::event_loop::Daemon;
use super::events::EventPublisher;
use super::fd_table::FdTable;
use super::log::{self, Audit};
use super::plugins::log_speaker;
use super::sources::{Source, Sources};
use super::state_file;
use super::survivors;
use crate::arbiter::{Arbiter, Event, Level, SinkEvent, TimeZones};
use crate::config::{CircusConfig, Config, Problem, Severity, WatcherConfig};
use crate::net::{Context, Publisher, Router};
use crate::output::Message;
use crate::sys;

/// How long the last replies and events may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the last lines of output may take to be written, at most.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long sinks that block may hold up the end: no longer than workers may, and never long.
fn output_timeout(watchers: &[WatcherConfig]) -> Duration {
    let longest = watchers.iter().map(|watcher| watcher.graceful_timeout).reduce(f64::max);
    longest.map_or(OUTPUT_TIMEOUT, |seconds| Duration::from_secs_f64(seconds.clamp(0.0, OUTPUT_TIMEOUT.as_secs_f64())))
}

/// Everything is stopped: sends what is left to be sent, and removes circusd's files.
pub(super) fn close(mut daemon: Daemon) {
    stop_hooks(&mut daemon);
    let Daemon { mut core, mut control, events, launcher, mut parent, mut signals, .. } = daemon;
    if let Some(end) = core.arbiter.essential_end() {
        parent.ended(&end.watcher);
    }
    core.log(Level::Info, "Arbiter exiting");
    let lost = control.router.flush(FLUSH_TIMEOUT);
    if lost > 0 {
        core.log(Level::Warning, format!("{lost} answers were not read by their clients"));
    }
    let limit = output_timeout(&daemon.resources.config.watchers);
    for message in launcher.output.shutdown(limit) {
        match message {
            Message::Info(text) | Message::Warning(text) => core.log(Level::Warning, text),
            Message::LogLine { speaker, level, line } => log_speaker(&mut core, &speaker, level, &line),
            // No client is left that asked.
            Message::Matched(_) | Message::Synced(_) | Message::Tailed(..) | Message::Output { .. } => {}
        }
    }
    let killed = daemon.leftovers.end_adopted(&daemon.children, &mut signals);
    if !killed.is_empty() {
        let pids: Vec<String> = killed.iter().map(ToString::to_string).collect();
        core.log(Level::Warning, format!("killed processes that workers had left behind: {}", pids.join(", ")));
    }
    daemon.cgroups.note_end();
    daemon.cgroups.tidy(|_| false);
    control.router.close(FLUSH_TIMEOUT);
    events.publisher.close(FLUSH_TIMEOUT);
    if let Some(file) = daemon.state_file {
        file.remove();
    }
    // Nothing answers at the sockets any more.
    daemon.fds.store.follow(&[]);
    drop(daemon.resources.pidfile);
    core.audit.close();
    core.log.close(core.now);
}

/// Begins another life with this configuration, or with the last one that worked.
pub(super) fn restart(daemon: &mut Daemon, config: Option<Config>, problems: &[Problem]) {
    stop_hooks(daemon);
    let Daemon { core, control, door, events, children, launcher, sources, starting, fds, notify, resources, .. } =
        daemon;
    for problem in problems {
        core.log(log::level_of(problem.severity), problem.to_string());
    }
    let mut refusal = None;
    let mut config = match config {
        Some(config) => {
            resources.problems = problems.to_vec();
            config
        }
        None => {
            let text = "the configuration cannot be used; starting again with the previous one";
            core.log(Level::Error, text);
            let errors = problems.iter().filter(|problem| problem.severity == Severity::Fatal);
            refusal = Some(errors.fold(text.to_owned(), |text, problem| format!("{text}; {problem}")));
            resources.config.clone()
        }
    };
    notify.close();
    starting.forget_all(sources);
    let circus = &mut config.circus;
    resources.follow_umask(circus.umask);
    match resources.log_of(circus) {
        Ok(log) => core.replace_log(log),
        Err(error) => core.log(Level::Error, error),
    }
    if Audit::differs(&resources.config.circus, circus) {
        match Audit::open(circus) {
            Ok(audit) => core.audit = audit,
            Err(error) => {
                core.log(Level::Error, format!("the audit log stays as it is: {error}"));
                circus.audit_log.clone_from(&resources.config.circus.audit_log);
                circus.audit_format = resources.config.circus.audit_format;
            }
        }
    }
    let mut network = Network { context: &resources.context, control, door, events, fds, sources };
    network.follow(circus, &resources.config.circus, core);
    launcher.workers_end_with_circusd = circus.workers_end_with_circusd;
    launcher.workers_are_adopted = survivors::are_adopted(circus);
    for error in fds.replace_sockets(&config.sockets) {
        core.log(Level::Error, error);
    }
    resources.config = config.clone();
    launcher.output.retain(config.watchers.iter().map(|watcher| watcher.name.clone()).collect());
    let waiters = core.arbiter.take_restarters();
    let memories = core.arbiter.memories().clone();
    let state_file = config.circus.state_file.as_deref().filter(|path| !path.is_empty());
    let known_runs = state_file.and_then(|path| state_file::runs(path).ok()).unwrap_or_default();
    let arbiter = Arbiter::new(config, resources.host.clone(), seed(core.now));
    core.arbiter = arbiter.with_time_zones(TimeZones(sys::named_time_zone));
    core.arbiter.remember_runs(known_runs);
    core.arbiter.recall(memories);
    core.arbiter.answer_restart(waiters, refusal.as_deref(), core.now);
    // Commands that still read what workers of the life before have printed.
    for (pid, id) in children.exec_sinks() {
        core.feed(Event::SinkCommand(id, SinkEvent::Started { name: String::new(), pid }));
        core.feed(Event::SinkCommand(id, SinkEvent::Closed));
    }
    daemon.samples.abandon();
    daemon.outcome = None;
    daemon.trim_when_idle = true;
}

pub(super) fn stop_hooks(daemon: &mut Daemon) {
    let (hooks, mut parts) = daemon.hooks();
    hooks.stop(&mut parts);
    daemon.probes.close(&mut daemon.sources, &mut daemon.signaller);
    daemon.signaller.kill_queued(&daemon.leftovers);
}

/// The endpoints and what is open there.
struct Network<'a> {
    context: &'a Context,
    control: &'a mut Control,
    door: &'a mut Door,
    events: &'a mut EventPublisher,
    fds: &'a mut FdTable,
    sources: &'a mut Sources,
}

impl Network<'_> {
    /// Moves the endpoints to where `[circus]` has them now; where that fails they stay as they are, and are tried
    /// again the next time.
    fn follow(&mut self, circus: &mut CircusConfig, before: &CircusConfig, core: &mut Core) {
        let places = |circus: &CircusConfig| (circus.endpoint.clone(), circus.pubsub_endpoint.clone());
        let is_guarded = |circus: &CircusConfig| circus.curve_server_key.is_some() || circus.ipc_roles.is_some();
        if (is_guarded(circus) || is_guarded(before) || places(circus) != places(before))
            && let Err(refusal) = self.change(circus, before)
        {
            core.log(Level::Error, format!("the endpoints stay as they are: {refusal}"));
            circus.endpoint.clone_from(&before.endpoint);
            circus.pubsub_endpoint.clone_from(&before.pubsub_endpoint);
            circus.curve_server_key.clone_from(&before.curve_server_key);
            circus.curve_authorized_keys.clone_from(&before.curve_authorized_keys);
            circus.ipc_roles.clone_from(&before.ipc_roles);
        }
    }

    /// Binds what is new, and only when all of it works lets go of the old.
    fn change(&mut self, circus: &CircusConfig, before: &CircusConfig) -> Result<(), StartupError> {
        let guests = Guests::load(circus).map_err(StartupError::Error)?;
        let owner = owner(circus)?;
        let bind = |key, new: &str, old: &str| match new == old {
            true if stays_open_to_others(new, circus, before) => Err(StartupError::Error(format!(
                "{key} = {new} was open to other users, whose connections may wait there: to remove ipc_roles, quit circusd and \
                 start it again"
            ))),
            true => Ok(None),
            false => bind_one(circus, key, new, owner).map(Some),
        };
        let control = bind("endpoint", &circus.endpoint, &before.endpoint)?;
        let events = bind("pubsub_endpoint", &circus.pubsub_endpoint, &before.pubsub_endpoint)?;
        let peers = peers_of(circus)?;
        let previous = std::mem::take(&mut self.door.guests);
        let (router, publisher) = match self.open(guests, control.as_ref(), events.as_ref()) {
            Ok(opened) => opened,
            Err(refusal) => {
                // The endpoints that stay let in the clients that they let in before.
                self.door.guests = previous;
                return Err(refusal);
            }
        };
        self.control.known = self.door.known_for(router.endpoint());
        std::mem::replace(&mut self.control.router, router).close(FLUSH_TIMEOUT);
        std::mem::replace(&mut self.events.publisher, publisher).close(FLUSH_TIMEOUT);
        let kept = [control.is_none().then_some(&self.fds.control), events.is_none().then_some(&self.fds.events)];
        if circus.ipc_roles.is_some() {
            for endpoint in kept.into_iter().flatten() {
                // Guarded since a moment ago, so that all may try.
                endpoint.change_mode(circus.endpoint_mode).map_err(|error| StartupError::Error(error.to_string()))?;
            }
        }
        if let Some(control) = control {
            self.fds.control = control;
            self.control.peers = peers;
        }
        if let Some(events) = events {
            self.fds.events = events;
        }
        Ok(())
    }

    /// Opens the endpoints for these guests, at new sockets or at those that are there, and has the loop watch them.
    fn open(
        &mut self,
        guests: Guests,
        control: Option<&sys::BoundEndpoint>,
        events: Option<&sys::BoundEndpoint>,
    ) -> Result<(Router, Publisher), StartupError> {
        self.door.replace(guests, self.context, self.sources).map_err(StartupError::Error)?;
        let (control, events) = (control.unwrap_or(&self.fds.control), events.unwrap_or(&self.fds.events));
        let (mut router, mut publisher) = open_network(self.context, control, events, self.door)?;
        let watched = self.sources.replace_both(
            (Source::Control, &mut self.control.router, &mut router),
            (Source::Events, &mut self.events.publisher, &mut publisher),
        );
        watched.map_err(|error| StartupError::Error(error.to_string()))?;
        Ok((router, publisher))
    }
}

/// Whether an endpoint of ipc would let in, unasked, who could connect while it asked for users.
fn stays_open_to_others(endpoint: &str, circus: &CircusConfig, before: &CircusConfig) -> bool {
    endpoint.starts_with("ipc://") && before.ipc_roles.is_some() && circus.ipc_roles.is_none()
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
