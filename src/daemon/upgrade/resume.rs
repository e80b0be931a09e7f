//! The other end: a daemon from the state that the previous program has written.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::process::ExitCode;
use std::sync::Arc;

use circus_core::base::CollectOrdered as _;
use mio::{Interest, Poll, Waker};

use super::check;
use super::exec::{CLIENTS_LIMIT, tell_service_manager};
use super::progress::Upgrade;
use super::state::{self, SavedResources, State};
use circus_core::access::LocalUsers;

use crate::arbiter::{Arbiter, Event, Level, Pid, TimeZones};
use crate::daemon::adopted::Adopted;
use crate::daemon::boot::{open_log, open_network, peers_of};
use crate::daemon::cgroups::Cgroups;
use crate::daemon::children::Children;
use crate::daemon::clock;
use crate::daemon::control::Control;
use crate::daemon::core::Core;
use crate::daemon::descriptors::Reserve;
use crate::daemon::door::{Door, Guests, read_users};
use crate::daemon::environment::Environments;
use crate::daemon::event_loop::Daemon;
use crate::daemon::events::EventPublisher;
use crate::daemon::exec_sink::{ExecSinks, SpawnContext};
use crate::daemon::fd_table::FdTable;
use crate::daemon::hooks::{HookRunner, Hooks};
use crate::daemon::keys::Keys;
use crate::daemon::launch::Launcher;
use crate::daemon::leftovers::Leftovers;
use crate::daemon::log::{Audit, write_stderr};
use crate::daemon::main::turn;
use crate::daemon::notify::Notify;
use crate::daemon::output_messages::OutputMessages;
use crate::daemon::parent::Parent;
use crate::daemon::probes::Probes;
use crate::daemon::resources::Resources;
use crate::daemon::sampling::SampleQueue;
use crate::daemon::signaller::Signaller;
use crate::daemon::sources::{Source, Sources};
use crate::daemon::starting::Starting;
use crate::daemon::state_file::StateFile;
use crate::daemon::survivors;
use crate::daemon::worker_sockets::WorkerSockets;
use crate::net::Context;
use crate::output::{OutputHandle, SavedOutput};
use crate::sys::{self, WayBack};

/// Goes on with the state at this descriptor. It returns when the fleet is stopped.
pub fn go_on(state: RawFd) -> ExitCode {
    match resume_from(state) {
        Ok(daemon) => ExitCode::from(turn(daemon)),
        Err(error) => {
            write_stderr(format!("circusd: error: cannot go on with the state of the previous circusd: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// The daemon from the state at this descriptor, whose file stays open until there is one: the program before may need it
/// again.
fn resume_from(number: RawFd) -> Result<Daemon, String> {
    let mut file = match sys::take_inherited(number) {
        Ok(file) => file,
        // Everything is as it was handed over.
        Err(error) => return Attempt { way_back: WayBack::open(number, &[]) }.at(Err(error)),
    };
    let mut bytes = Vec::new();
    let bytes = file.read_to_end(&mut bytes).map(|_| bytes).map_err(words);
    let read = bytes.and_then(|bytes| state::read(&bytes));
    let numbers = read.as_ref().map(|(state, ..)| state.numbers()).unwrap_or_default();
    let (open, missing): (Vec<RawFd>, Vec<RawFd>) = numbers.into_iter().partition(|number| sys::is_open(*number));
    let missing = missing.first().map_or(Ok(()), |number| Err(format!("descriptor {number} was not handed over")));
    let attempt = Attempt { way_back: WayBack::open(number, &open) };
    let (state, arbiter, output) = attempt.at(read)?;
    attempt.at(missing)?;
    resume(state, arbiter, output, &attempt)
}

/// An attempt to go on with a state.
struct Attempt {
    way_back: Option<WayBack>,
}

impl Attempt {
    /// What this step has come to. Where it has failed, the process becomes the program before, if that is possible: here,
    /// before anything is dropped, as much of what was restored removes its files then.
    fn at<T>(&self, step: Result<T, impl std::fmt::Display>) -> Result<T, String> {
        step.map_err(|error| {
            let error = error.to_string();
            let Some(way_back) = &self.way_back else { return error };
            let failed = way_back.go(&error);
            format!("{error}; and the program before cannot be executed: {failed}")
        })
    }
}

/// A descriptor of the state, which is this process's own from now on. [`state::read`] has seen that none comes twice.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    sys::take_inherited(number).map(File::into)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn resume(state: State, arbiter: Arbiter, output: SavedOutput, attempt: &Attempt) -> Result<Daemon, String> {
    let now = clock::now();
    let State { resources: SavedResources { config, host, .. }, nofile, .. } = &state;
    let (config, host, nofile) = (config.clone(), host.clone(), *nofile);
    let circus = &config.circus;
    let fds = attempt.at(restore_fds(&state))?;
    let parent = attempt.at(Parent::restore(state.parent, take))?;
    let signals = attempt.at(sys::Signals::install())?;
    let log = open_log(circus, state.resources.log_level.as_deref(), state.resources.log_output.as_deref());
    let log = attempt.at(log)?;
    let audit = attempt.at(Audit::open(circus))?;
    let spawner = sys::Spawner::new().map_err(|failure| format!("{}: {}", failure.detail, failure.reason()));
    let spawner = attempt.at(spawner)?;
    drop(sys::become_subreaper());
    attempt.at(sys::end_children_on_abort())?;
    let poll = attempt.at(Poll::new())?;
    let mut sources = Sources::new(attempt.at(poll.registry().try_clone())?);
    let waker = Arc::new(attempt.at(Waker::new(poll.registry(), sources.reserve(Source::Threads)))?);
    let pipes = state.output_fds.iter().map(|(name, number)| Ok((*name, take(*number)?)));
    let pipes = attempt.at(pipes.collect::<io::Result<Vec<_>>>())?.into_iter().collect_map();
    let context = attempt.at(Context::new())?;
    let restored = attempt.at(state.keys.as_ref().map(|saved| Keys::restore(circus, saved)).transpose())?;
    let (keys, no_keys) = restored.map_or((None, None), |(keys, failure)| (Some(keys), failure));
    // Where a user is gone meanwhile, none but circusd's own gets in: the endpoint may be open to all.
    let (users, no_users) = match read_users(circus) {
        Ok(users) => (users, None),
        Err(errors) => {
            (Some(LocalUsers::nobody_else(nix::unistd::geteuid().as_raw(), sys::unmapped())), Some(errors.join("; ")))
        }
    };
    let guests = Guests { keys, users: users.map(Arc::new) };
    let door = attempt.at(Door::open(guests, &context, &mut sources))?;
    let (mut router, mut publisher) = attempt.at(open_network(&context, &fds.control, &fds.events, &door))?;
    router.await_clients(CLIENTS_LIMIT);
    attempt.at(sources.add(Source::Control, &mut router, Interest::READABLE))?;
    attempt.at(sources.add(Source::Events, &mut publisher, Interest::READABLE))?;
    attempt.at(sources.add_fd(Source::Signals, signals.as_fd().as_raw_fd()))?;
    attempt.at(parent.register(&mut sources))?;
    let mut events = EventPublisher::new(publisher);
    events.hold_for(state.subscriptions, now.mono);
    let notify = attempt.at(Notify::restore(state.notify, &mut sources, take))?;
    let peers = attempt.at(peers_of(circus))?;
    let around = SpawnContext { env: host.env.clone().into_iter().collect(), cwd: host.cwd.clone(), nofile };
    let exec_sinks = attempt.at(ExecSinks::restore(around, state.exec_sinks, take))?;
    let worker_sockets = attempt.at(WorkerSockets::restore(state.worker_sockets, take))?;
    let adopted = attempt.at(Adopted::restore(state.adopted, &mut sources, take))?;
    let state_file = circus.state_file.as_deref().filter(|path| !path.is_empty());
    let begin = |path| StateFile::begin(path, arbiter.memories().clone());
    let state_file = attempt.at(state_file.map(begin).transpose())?;
    // Last of all that can fail: from here on lines are read, which the program before would not know of.
    let wakes = Arc::clone(&waker);
    let output = attempt.at(OutputHandle::restore(output, pipes, move || drop(wakes.wake())))?;
    let launcher = Launcher {
        nofile,
        reserve: Reserve::of(nofile),
        environments: Environments::new(host.clone()),
        streams: state.streams.into_iter().collect(),
        output,
        plugin_program: crate::daemon::plugins::program(),
        exec_sinks,
        worker_sockets,
        workers_end_with_circusd: circus.workers_end_with_circusd,
        workers_are_adopted: survivors::are_adopted(circus),
    };
    let mut children = Children::new(spawner);
    state.children.into_iter().for_each(|(pid, owner)| children.insert(pid, owner));
    if let Some(file) = &state_file {
        file.sockets(&fds.sockets);
        arbiter.runs_to_remember().for_each(|(watcher, time)| file.ran(watcher, time));
        state.known_workers.iter().for_each(|(pid, watcher, wid)| file.started(*pid, watcher, *wid));
    }
    let mut arbiter = arbiter.with_time_zones(TimeZones(sys::named_time_zone));
    arbiter.resume(now);
    let saved = state.resources;
    let mut daemon = Daemon {
        core: Core { arbiter, log, audit, now },
        poll,
        sources,
        signals,
        control: Control::new(router, peers, &door),
        door,
        events,
        children,
        leftovers: Leftovers::restore(state.leftovers),
        cgroups: Cgroups::restore(state.cgroups),
        signaller: Signaller::default(),
        starting: Starting::default(),
        launcher,
        parent,
        fds,
        samples: SampleQueue::default(),
        probes: Probes::new(Arc::clone(&waker), nofile),
        notify,
        hooks: Hooks(HookRunner::new(waker, host.clone(), nofile)),
        output_messages: OutputMessages::default(),
        outcome: None,
        upgrade: Upgrade::default(),
        adopted,
        state_file,
        clock_watch: None,
        include_watch: None,
        trim_when_idle: true,
        resources: Resources {
            pidfile: saved.pidfile.map(sys::Pidfile::restore),
            context,
            host,
            origin: saved.origin,
            config,
            problems: saved.problems,
            problems_read: saved.problems_read,
            ring_read: None,
            users_read: None,
            own_umask: saved.own_umask,
            log_level: saved.log_level,
            log_output: saved.log_output,
        },
    };
    // The signals of the program before are pending until now. Children that have ended are collected first of all.
    sys::unblock_signals();
    daemon.reap();
    let pid = Pid(i32::try_from(std::process::id()).unwrap_or_default());
    daemon.core.feed(match sys::upgrade_failure() {
        None => Event::Upgraded { version: check::VERSION.to_owned(), pid },
        Some(reason) => Event::UpgradeFailed { stage: "resume", reason },
    });
    if let Some(reason) = no_keys {
        let text = format!(
            "the keys cannot be read, so that only circusd's own programs get in until reloadconfig can read them: {reason}"
        );
        daemon.core.log(Level::Critical, text);
    }
    if let Some(reason) = no_users {
        let text = format!(
            "ipc_roles cannot be used, so that only root and circusd's own user get in until reloadconfig can use it: {reason}"
        );
        daemon.core.log(Level::Critical, text);
    }
    daemon.control.take_up(state.unread, &mut daemon.door, &mut daemon.core);
    tell_service_manager("READY=1");
    Ok(daemon)
}

fn restore_fds(state: &State) -> Result<FdTable, String> {
    let mut sockets = Vec::new();
    for (saved, number) in &state.sockets {
        sockets.push(sys::ManagedSocket::restore(saved.clone(), take(*number).map_err(words)?));
    }
    // Both before either: an endpoint that is dropped removes its file.
    let (control, events) = (take(state.control.1).map_err(words)?, take(state.events.1).map_err(words)?);
    let endpoint = |saved: &sys::SavedEndpoint, fd| sys::BoundEndpoint::restore(saved.clone(), fd);
    Ok(FdTable::new(sockets, endpoint(&state.control.0, control), endpoint(&state.events.0, events)))
}
