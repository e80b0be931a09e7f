//! The start: from a configuration to a daemon that is ready to run its loop.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use mio::{Interest, Poll, Waker};

use super::adopted::Adopted;
use super::args::Args;
use super::authz::peers;
use super::cgroups::Cgroups;
use super::children::Children;
use super::clock;
use super::control::Control;
use super::core::Core;
use super::descriptors::{self, Reserve};
use super::door::{Door, Guests};
use super::environment::Environments;
use super::event_loop::Daemon;
use super::events::EventPublisher;
use super::exec_sink::{ExecSinks, SpawnContext};
use super::fd_store;
use super::fd_table::FdTable;
use super::hooks::{HookRunner, Hooks};
use super::launch::Launcher;
use super::leftovers::Leftovers;
use super::log::{self, Audit, Log};
use super::notify::Notify;
use super::output_messages::OutputMessages;
use super::parent::Parent;
use super::probes::Probes;
use super::resources::Resources;
use super::sampling::SampleQueue;
use super::signaller::Signaller;
use super::sources::{Source, Sources};
use super::starting::Starting;
use super::state_file::{self, StateFile};
use super::survivors::{self, Survivors};
use super::upgrade::progress::Upgrade;
use super::worker_sockets::WorkerSockets;

use crate::arbiter::{Arbiter, Level, Principal, TimeZones};
use crate::config::{CircusConfig, Config, Host, LogOutput, Origin, Problem};
use crate::net::{Context, Publisher, Router};
use crate::output::OutputHandle;
use crate::sys;

/// Why circusd does not start.
#[derive(Debug)]
pub(super) enum StartupError {
    /// For standard error.
    Error(String),
    /// The configuration cannot be used.
    Problems(Vec<Problem>),
    /// The pidfile: as in Circus, on standard output too, unless that is the same place.
    Pidfile(String),
}

impl std::fmt::Display for StartupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(text) | Self::Pidfile(text) => f.write_str(text),
            Self::Problems(problems) => problems.iter().try_for_each(|problem| write!(f, "{problem}; ")),
        }
    }
}

impl StartupError {
    /// Says so.
    pub(super) fn print(&self) {
        match self {
            Self::Error(text) => log::write_stderr(format!("circusd: error: {text}\n")),
            Self::Pidfile(text) => {
                if !is_one_file(std::io::stdout().as_fd(), std::io::stderr().as_fd()) {
                    drop(writeln!(std::io::stdout(), "{text}"));
                }
                log::write_stderr(format!("circusd: error: {text}\n"));
            }
            Self::Problems(problems) => {
                log::write_stderr(problems.iter().map(|problem| problem.diagnostic() + "\n").collect());
            }
        }
    }
}

/// Whether what is written to either comes out at the same place, such as a terminal.
fn is_one_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let name = |fd: BorrowedFd<'_>| {
        let metadata = File::from(fd.try_clone_to_owned().ok()?).metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    name(one).is_some_and(|file| name(other) == Some(file))
}

fn error(text: impl std::fmt::Display) -> StartupError {
    StartupError::Error(text.to_string())
}

/// The same with what could not be done, as the kernel's words alone say nothing about that.
fn cannot<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> StartupError {
    move |reason| StartupError::Error(format!("cannot {what}: {reason}"))
}

/// The two listening endpoints, bound before anything of another circusd could be touched.
struct Endpoints {
    control: sys::BoundEndpoint,
    events: sys::BoundEndpoint,
    peers: Principal,
}

/// Everything up to the first turn.
///
/// Another circusd that is at work is noticed (by the pidfile, by the endpoints) before the managed sockets are opened:
/// `replace` would take its files away. Yet the managed sockets are to be 3, 4, ..., so those numbers are held meanwhile.
pub(super) fn boot(
    args: &Args,
    origin: Origin,
    config: Config,
    host: Host,
    problems: Vec<Problem>,
    parent: &mut Parent,
) -> Result<Daemon, StartupError> {
    // Their numbers are the lowest ones: nothing else may have them.
    let passed = sys::take_passed();
    let circus = &config.circus;
    let nofile = sys::raise_nofile().map_err(cannot("raise the limit of open files"))?;
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    descriptors::suffice(nofile, open, config.sockets.len()).map_err(error)?;
    let host = Host { room: sys::room(nofile, Reserve::of(nofile).reserved()), ..host };
    sys::end_children_on_abort().map_err(cannot("prepare for a crash"))?;
    let placeholders = hold_numbers(config.sockets.len())?;
    // From here on a SIGTERM is taken up by the first turn, so that nothing of what follows is left behind.
    let signals = sys::Signals::install().map_err(cannot("take up signals"))?;
    let own_umask = circus.umask.map(sys::set_umask);
    refuse_unsafe_places(circus, args.pidfile.as_deref(), args.log_output.as_deref()).map_err(StartupError::Error)?;
    let mut log = open_log(circus, args.log_level.as_deref(), args.log_output.as_deref()).map_err(error)?;
    let audit = Audit::open(circus).map_err(StartupError::Error)?;
    let now = clock::now();
    if args.daemon {
        log.spare_the_caller(now);
    }
    for problem in &problems {
        log.line(log::level_of(problem.severity), now, problem.to_string());
    }
    // A circusd that was killed has left its files, if it had any.
    let may_follow_another = survivors::may_exist(args.pidfile.as_deref().or(circus.pidfile.as_deref()), circus);
    let pidfile = claim_pidfile(args.pidfile.as_deref().or(circus.pidfile.as_deref()))?;
    let guests = Guests::load(circus).map_err(StartupError::Error)?;
    let Endpoints { control, events, peers } = bind(circus)?;
    drop(placeholders);
    let (stored, stale) = fd_store::take_back(passed, &config.sockets);
    if !stored.is_empty() {
        let names: Vec<&str> = stored.iter().map(|socket| socket.name.as_str()).collect();
        log.line(Level::Info, now, format!("sockets taken back from the service manager: {}", names.join(", ")));
    }
    let Survivors { adopted, taken } =
        survivors::deal_with(&config, stored, &mut log, now).map_err(StartupError::Error)?;
    let has_survivors = !adopted.is_empty();
    let sockets = sys::open_rest(&config.sockets, taken).map_err(error)?;
    let survivors =
        if may_follow_another && !has_survivors { survivors::warnings(&config, &sockets) } else { Vec::new() };
    for warning in survivors {
        log.line(Level::Warning, now, warning);
    }
    log.line(Level::Info, now, "Registering signals...");
    log.line(Level::Info, now, format!("Starting master on pid {}", std::process::id()));
    let spawner = sys::Spawner::new().map_err(|failure| error(format!("{}: {}", failure.detail, failure.reason())))?;
    // Without it, as before Linux 3.4, orphans go to PID 1, and are looked for instead of collected.
    drop(sys::become_subreaper());
    const WATCH: &str = "watch descriptors";
    let poll = Poll::new().map_err(cannot(WATCH))?;
    let mut sources = Sources::new(poll.registry().try_clone().map_err(cannot(WATCH))?);
    let waker = Arc::new(Waker::new(poll.registry(), sources.reserve(Source::Threads)).map_err(cannot(WATCH))?);
    let wakes = Arc::clone(&waker);
    let output = OutputHandle::start(move || drop(wakes.wake())).map_err(cannot("start the output thread"))?;
    let probes = Probes::new(Arc::clone(&waker), nofile);
    let hooks = HookRunner::new(waker, host.clone(), nofile);
    let context = Context::new().map_err(cannot("start libzmq"))?;
    let fds = FdTable::new(sockets, control, events);
    fds.store.forget(&stale);
    let door = Door::open(guests, &context, &mut sources).map_err(StartupError::Error)?;
    let (mut router, mut publisher) = open_network(&context, &fds.control, &fds.events, &door)?;
    sources.add(Source::Control, &mut router, Interest::READABLE).map_err(cannot(WATCH))?;
    sources.add(Source::Events, &mut publisher, Interest::READABLE).map_err(cannot(WATCH))?;
    sources.add_fd(Source::Signals, signals.as_fd().as_raw_fd()).map_err(cannot(WATCH))?;
    parent.register(&mut sources).map_err(cannot("watch the parent"))?;
    parent.listening(&fds.control.endpoint);
    log.line(Level::Debug, now, format!("holding {}", fds.describe()));
    let around = SpawnContext { env: host.env.clone().into_iter().collect(), cwd: host.cwd.clone(), nofile };
    let exec_sinks = ExecSinks::new(around);
    let path = circus.state_file.as_deref().filter(|path| !path.is_empty());
    let memories = path.map(state_file::memories).transpose().map_err(StartupError::Error)?.unwrap_or_default();
    let known_runs = path.map(state_file::runs).transpose().map_err(StartupError::Error)?.unwrap_or_default();
    let state_file = path
        .map(|path| StateFile::begin(path, memories.clone()))
        .transpose()
        .map_err(cannot("begin the state_file"))?;
    if let Some(file) = &state_file {
        file.sockets(&fds.sockets);
    }
    let mut arbiter =
        Arbiter::new(config.clone(), host.clone(), seed(now)).with_time_zones(TimeZones(sys::named_time_zone));
    arbiter.recall(memories);
    arbiter.remember_runs(known_runs);
    if let Some(file) = &state_file {
        arbiter.runs_to_remember().for_each(|(watcher, time)| file.ran(watcher, time));
    }
    Ok(Daemon {
        core: Core { arbiter, log, audit, now },
        poll,
        sources,
        signals,
        control: Control::new(router, peers, &door),
        door,
        events: EventPublisher::new(publisher),
        children: Children::new(spawner),
        leftovers: Leftovers::default(),
        cgroups: Cgroups::default(),
        signaller: Signaller::default(),
        starting: Starting::default(),
        launcher: Launcher {
            nofile,
            reserve: Reserve::of(nofile),
            environments: Environments::new(host.clone()),
            streams: std::collections::HashMap::new(),
            output,
            plugin_program: super::plugins::program(),
            exec_sinks,
            worker_sockets: WorkerSockets::default(),
            workers_end_with_circusd: circus.workers_end_with_circusd,
            workers_are_adopted: survivors::are_adopted(circus),
        },
        parent: std::mem::take(parent),
        fds,
        samples: SampleQueue::default(),
        hooks: Hooks(hooks),
        probes,
        notify: Notify::default(),
        output_messages: OutputMessages::default(),
        outcome: None,
        upgrade: Upgrade::default(),
        adopted: Adopted::new(adopted),
        state_file,
        clock_watch: None,
        include_watch: None,
        trim_when_idle: true,
        resources: Resources {
            pidfile,
            context,
            host,
            origin,
            config,
            problems,
            problems_read: Vec::new(),
            ring_read: None,
            users_read: None,
            own_umask,
            log_level: args.log_level.clone(),
            log_output: args.log_output.clone(),
        },
    })
}

/// Opens something at each of the next `count` numbers.
fn hold_numbers(count: usize) -> Result<Vec<File>, StartupError> {
    (0..count).map(|_| File::open("/dev/null").map_err(cannot("open /dev/null"))).collect()
}

pub(super) fn open_log(circus: &CircusConfig, level: Option<&str>, output: Option<&str>) -> Result<Log, String> {
    let level = level.or(circus.loglevel.as_deref()).unwrap_or("info");
    let output = output.or(circus.logoutput.as_deref()).unwrap_or("-");
    Log::open(output, log::level(level), circus.log_format)
}

pub(super) fn claim_pidfile(path: Option<&str>) -> Result<Option<sys::Pidfile>, StartupError> {
    let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(None) };
    let pid = nix::unistd::getpid();
    sys::Pidfile::claim(path, pid).map(Some).map_err(|failure| StartupError::Pidfile(failure.to_string()))
}

/// Root's circusd writes its own files only where no other user could put something else in their way.
pub(super) fn refuse_unsafe_places(
    circus: &CircusConfig,
    pidfile: Option<&str>,
    log_output: Option<&str>,
) -> Result<(), String> {
    let log = log_output.or(circus.logoutput.as_deref()).and_then(|output| LogOutput::parse(output).ok());
    let log = match &log {
        Some(LogOutput::File(path)) => Some(path.as_str()),
        Some(LogOutput::Stderr | LogOutput::Syslog(..)) | None => None,
    };
    let files = [
        ("pidfile", pidfile.or(circus.pidfile.as_deref())),
        ("state_file", circus.state_file.as_deref()),
        ("audit_log", circus.audit_log.as_deref()),
        ("curve_server_key", circus.curve_server_key.as_deref()),
        ("curve_authorized_keys", circus.curve_authorized_keys.as_deref()),
        ("logoutput", log.filter(|path| !path.starts_with("/dev/") && !path.starts_with("/proc/"))),
    ];
    for (key, path) in files {
        let place = path.filter(|path| !path.is_empty()).and_then(|path| sys::unsafe_place(std::path::Path::new(path)));
        if let Some(reason) = place {
            return Err(format!("{key} = {}: {reason}", path.unwrap_or_default()));
        }
    }
    Ok(())
}

/// The owner of the files of ipc endpoints.
pub(super) fn owner(circus: &CircusConfig) -> Result<Option<u32>, StartupError> {
    let Some(name) = circus.endpoint_owner.as_deref() else { return Ok(None) };
    sys::user_id(name).map(Some).map_err(|failure| error(format!("endpoint_owner: {}", failure.detail)))
}

/// The user that requests at the control endpoint are made for.
pub(super) fn peers_of(circus: &CircusConfig) -> Result<Principal, StartupError> {
    peers(circus).map_err(|failure| error(format!("endpoint_owner: {}", failure.detail)))
}

/// Binds the control and the event endpoint, unless other machines could reach them.
fn bind(circus: &CircusConfig) -> Result<Endpoints, StartupError> {
    let owner = owner(circus)?;
    Ok(Endpoints {
        control: bind_one(circus, "endpoint", &circus.endpoint, owner)?,
        events: bind_one(circus, "pubsub_endpoint", &circus.pubsub_endpoint, owner)?,
        peers: peers_of(circus)?,
    })
}

pub(super) fn bind_one(
    circus: &CircusConfig,
    key: &str,
    endpoint: &str,
    owner: Option<u32>,
) -> Result<sys::BoundEndpoint, StartupError> {
    let bound = sys::bind_endpoint(endpoint, Some(circus.endpoint_mode), owner).map_err(error)?;
    let is_safe = circus.curve_server_key.is_some();
    if sys::is_exposed(&bound.endpoint) && !is_safe && !circus.allow_anyone_on_the_network_to_control_this_machine {
        let risk = if key == "endpoint" { "run any command as this user" } else { "read what workers print" };
        return Err(error(format!(
            "{key} = {endpoint} can be reached from other machines, which could {risk}: use an ipc:// or a loopback \
             address, or keys (curve_server_key and curve_authorized_keys) (or set allow_anyone_on_the_network_to_control_this_machine = True)"
        )));
    }
    Ok(bound)
}

pub(super) fn open_network(
    context: &Context,
    control: &sys::BoundEndpoint,
    events: &sys::BoundEndpoint,
    door: &Door,
) -> Result<(Router, Publisher), StartupError> {
    // libzmq closes what it is given.
    let listener = control.fd.try_clone().map_err(cannot("hand the control endpoint over"))?;
    let guard = door.guard_for(&control.endpoint);
    let router = Router::new(context, listener, &control.endpoint, guard).map_err(error)?;
    let listener = events.fd.try_clone().map_err(cannot("hand the event endpoint over"))?;
    let guard = door.guard_for(&events.endpoint);
    let mut publisher = Publisher::of_events(context, listener, &events.endpoint, guard).map_err(error)?;
    door.judge(&mut publisher);
    Ok((router, publisher))
}

/// Different for each daemon: spreads the deadlines of several on one machine.
pub(super) fn seed(now: crate::arbiter::Now) -> u64 {
    now.mono.0 ^ now.unix.to_bits() ^ u64::from(std::process::id())
}
