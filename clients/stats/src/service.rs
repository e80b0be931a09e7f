//! The loop: wait, read what has arrived, publish what is due.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::args::Args;
use super::clock;
use super::control::{Answer, Control};
use super::doorkeeper::Doorkeeper;
use super::frame::{Aggregate, ProcessFrame, SocketFrame, SocketsFrame, WatcherFrame, WorkerFacts};
use super::frame_sender::FrameSender;
use super::inventory::{Own, Watcher};
use super::log::Log;
use super::process_cache::ProcessCache;
use super::socket_activity::SocketActivity;
use circus_client::{Client, Host, KeyNames, Subscriber, endpoint::reachable};
use circus_core::base::{Mono, Throttle};
use circus_core::config::STATS_WATCHER;
use circus_net::Publisher;
use circus_sys as sys;

const SIGNALS: Token = Token(0);
const CONTROL: Token = Token(1);
const EVENTS: Token = Token(2);
const STATS: Token = Token(3);
const QUESTIONS: Token = Token(4);
/// Sockets of circusd: this, and their number.
const SOCKETS: usize = 16;

/// After this long circusd is asked again, whatever it said of changes: an event may have been lost.
const STALE: Duration = Duration::from_secs(5);

/// Until the predecessor has left the endpoint: a reload starts the new process first.
const HANDOVER: Duration = Duration::from_secs(10);
/// Between two tries, in milliseconds.
const RETRY: u8 = 50;

/// The name under which circusd and its own programs are published.
const OWN: &str = "circus";

/// circusd-stats at work.
pub(super) struct Service {
    poll: Poll,
    signals: sys::Signals,
    control: Control,
    events: Subscriber,
    frame_sender: FrameSender,
    /// Where subscribers are told apart.
    doorkeeper: Option<Doorkeeper>,
    /// Dropped last, since that removes its file.
    _endpoint: sys::BoundEndpoint,
    process_cache: ProcessCache,
    socket_activity: SocketActivity,
    interval: Duration,
    always: bool,
    watchers: Vec<Watcher>,
    /// When they were published.
    told_at: Duration,
    daemon: Option<Own>,
    own: Vec<Own>,
    /// circusd has news.
    dirty: bool,
    /// How often its sockets were published.
    listings: u32,
    /// When metrics are due; none without a subscriber.
    next: Option<Duration>,
    ended: bool,
    /// Connections that subscribed to too much, not logged yet.
    connections_ended: u64,
    ended_log: Throttle,
}

impl Service {
    /// Opens everything; nothing where a signal came first.
    pub(super) fn open(
        args: &Args,
        inherited: BTreeSet<RawFd>,
        mut signals: sys::Signals,
    ) -> Result<Option<Self>, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let env = sys::host().env;
        let names = KeyNames { own: args.curve_key.clone(), server: args.curve_server_key.clone(), descriptor: None };
        let variables = KeyNames::of_environment(|name| env.get(name).cloned());
        let host = args.host.as_ref().map(|name| Host::named(name, &env)).transpose();
        let host = host.map_err(|error| told(&error))?;
        let (names, control, pubsub) = match &host {
            Some(host) => {
                let published = host.here().map_err(|error| told(&error))?;
                (host.keys(names, &variables), &host.endpoint, published)
            }
            None => (names.or(&variables), &args.endpoint, &args.pubsub),
        };
        let inherited_keys = Doorkeeper::keys(&names)?;
        let Some(endpoint) = bind(args, inherited_keys.is_some(), &mut signals)? else { return Ok(None) };
        let poll = Poll::new().map_err(|error| told(&error))?;
        let keys = names.read().map_err(|error| told(&error))?;
        let client = Client::new().map_err(|error| told(&error))?.with_keys(keys);
        let listener = endpoint.fd.try_clone().map_err(|error| told(&error))?;
        let mut doorkeeper = match (endpoint.endpoint.starts_with("tcp://"), inherited_keys, &args.ipc_roles) {
            (true, Some(keys), _) => Some(Doorkeeper::open(client.context(), keys)?),
            (false, _, Some(roles)) => Some(Doorkeeper::open_to_users(client.context(), roles)?),
            (true, None, _) | (false, _, None) => None,
        };
        let guard = doorkeeper.as_ref().map(Doorkeeper::guard);
        let publisher = Publisher::of_figures(client.context(), listener, &endpoint.endpoint, guard);
        let mut publisher = publisher.map_err(|error| told(&error))?;
        if let Some(doorkeeper) = &mut doorkeeper {
            doorkeeper.judge(&mut publisher);
        }
        let control = Control::connect(&client, &reachable(control)).map_err(|error| told(&error))?;
        let events = client.subscribe(&reachable(pubsub), &["watcher."]);
        let registry = poll.registry().try_clone().map_err(|error| told(&error))?;
        let interval = Duration::try_from_secs_f64(args.interval).map_err(|error| told(&error))?;
        let mut service = Self {
            socket_activity: SocketActivity::new(registry, SOCKETS, inherited),
            poll,
            signals,
            control,
            events: events.map_err(|error| told(&error))?,
            frame_sender: FrameSender::new(publisher),
            doorkeeper,
            _endpoint: endpoint,
            process_cache: ProcessCache::new(interval),
            interval,
            always: args.always,
            watchers: Vec::new(),
            told_at: Duration::ZERO,
            daemon: None,
            own: Vec::new(),
            dirty: true,
            listings: 0,
            next: None,
            ended: false,
            connections_ended: 0,
            ended_log: Throttle::default(),
        };
        service.register().map_err(|error| told(&error))?;
        Ok(Some(service))
    }

    fn register(&mut self) -> std::io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&self.signals.as_fd().as_raw_fd()), SIGNALS, Interest::READABLE)?;
        registry.register(&mut self.control.connection, CONTROL, Interest::READABLE)?;
        registry.register(&mut self.events, EVENTS, Interest::READABLE)?;
        if let Some(doorkeeper) = &mut self.doorkeeper {
            registry.register(&mut doorkeeper.zap, QUESTIONS, Interest::READABLE)?;
        }
        registry.register(&mut self.frame_sender.publisher, STATS, Interest::READABLE)
    }

    /// Until a signal, or until there are sockets that only a new process can hold.
    pub(super) fn run(&mut self, log: &Log) {
        let mut events = Events::with_capacity(64);
        let mut hurry = true;
        while !self.ended {
            let now = clock::since_boot();
            let limit = if hurry { Some(Duration::ZERO) } else { self.due(now).map(|due| due.saturating_sub(now)) };
            // An error is an interruption: whatever it was, the next turn looks at everything.
            let _interrupted = self.poll.poll(&mut events, limit);
            let now = clock::since_boot();
            for event in events.iter().filter(|event| event.token().0 >= SOCKETS) {
                self.socket_activity.hit(event.token(), now);
            }
            // Sending may have consumed the edge of ZMQ_FD that announces messages.
            hurry = self.turn(now);
            let mono = Mono(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
            if let Some(doorkeeper) = &mut self.doorkeeper {
                hurry |= doorkeeper.answer(&mut self.frame_sender.publisher, now);
                doorkeeper.tell(mono, log);
            }
            let ended = std::mem::take(&mut self.connections_ended);
            if let Some(count) = self.ended_log.count(ended, mono) {
                log.warning(&format!("disconnected {count} subscribers that subscribed to too much"));
            }
        }
    }

    /// When something is to be done without being asked.
    fn due(&self, now: Duration) -> Option<Duration> {
        // Rounded up: poll counts in milliseconds, and too early would be a turn for nothing.
        let up = Duration::from_millis(1);
        let asking = self.wants_to_ask(now).then(|| self.control.free_at().max(now));
        let stale = self.next.map(|_| now + STALE.saturating_sub(self.control.since_asked(now)));
        [self.next, self.socket_activity.due(), asking, stale].into_iter().flatten().min().map(|due| due + up)
    }

    /// Whether something was sent.
    fn turn(&mut self, now: Duration) -> bool {
        self.take_signals();
        while self.events.try_recv().is_some() {
            self.dirty = true;
        }
        if let Some(news) = self.frame_sender.ready() {
            self.connections_ended += news.ended;
            if let Some(doorkeeper) = &mut self.doorkeeper {
                doorkeeper.refused += news.refused.len() as u64;
            }
        }
        while let Some(told) = self.control.read() {
            self.take(told, now);
        }
        self.follow_subscriptions(now);
        self.socket_activity.wake(now);
        let mut sent = false;
        if self.wants_to_ask(now) && now >= self.control.free_at() {
            self.dirty = false;
            self.control.ask(self.daemon.is_some(), now);
            sent = true;
        }
        if let Some(due) = self.next.filter(|due| *due <= now) {
            self.tell(now);
            // Keeps the phase and skips missed ticks.
            let beat = due + self.interval;
            self.next = Some(if beat > now { beat } else { now + self.interval });
            sent = true;
        }
        sent
    }

    fn take_signals(&mut self) {
        let mut caught = Vec::new();
        self.signals.read(&mut caught);
        // As in the original HUP is an end, too: circusd starts it again.
        self.ended |= caught.iter().any(|caught| match caught {
            sys::SignalEvent::Terminate(_) | sys::SignalEvent::Reload => true,
            sys::SignalEvent::Child
            | sys::SignalEvent::Upgrade
            | sys::SignalEvent::ReopenLogs
            | sys::SignalEvent::Ignored(_) => false,
        });
    }

    /// Whether circusd is to be asked: with a subscriber, and at the start.
    fn wants_to_ask(&self, now: Duration) -> bool {
        let wanted = self.next.is_some() && (self.dirty || self.control.since_asked(now) >= STALE);
        wanted || self.listings == 0
    }

    /// Begins to sample with the first subscriber, and stops with the last.
    fn follow_subscriptions(&mut self, now: Duration) {
        let wanted = self.always || !self.frame_sender.subscriptions.is_empty();
        if wanted == self.next.is_some() {
            return;
        }
        if wanted {
            self.next = Some(now + self.interval);
            self.dirty = true;
            self.track(now);
        } else {
            self.next = None;
            self.process_cache.forget();
        }
        let counts = wanted && (self.always || self.frame_sender.wants("sockets"));
        self.socket_activity.work(counts, now);
    }

    fn take(&mut self, answer: Answer, now: Duration) {
        match answer {
            Answer::Watchers(watchers, own) => {
                self.watchers = watchers;
                self.own = own;
                self.told_at = now;
                self.track(now);
            }
            Answer::Sockets(sockets) => {
                let missing = self.socket_activity.follow(sockets, now);
                self.listings = self.listings.saturating_add(1);
                // One that came later is held by a new process only; circusd starts that at once.
                self.ended |= missing && self.listings > 1 && self.is_a_worker();
            }
            Answer::Daemon(daemon) => self.daemon = Some(daemon),
        }
    }

    fn is_a_worker(&self) -> bool {
        let me = nix::unistd::Pid::this().as_raw();
        self.own.iter().any(|own| own.pid == me)
    }

    /// Takes a first sample of new processes.
    fn track(&mut self, now: Duration) {
        if self.next.is_some() {
            let workers = self.watchers.iter().flat_map(|watcher| &watcher.workers).map(|worker| worker.pid);
            let own = self.daemon.iter().chain(&self.own).map(|own| own.pid);
            self.process_cache.track(workers.chain(own), now);
        }
    }

    // -- figures -----------------------------------------------------------------------------------------------------

    fn tell(&mut self, now: Duration) {
        self.process_cache.begin(now);
        let watchers = std::mem::take(&mut self.watchers);
        for watcher in &watchers {
            if self.always || self.frame_sender.wants(&watcher.name) {
                self.tell_watcher(watcher, now);
            }
        }
        self.watchers = watchers;
        if self.always || self.frame_sender.wants(OWN) {
            self.tell_own();
        }
        self.tell_sockets(now);
        self.process_cache.end();
    }

    fn tell_watcher(&mut self, watcher: &Watcher, now: Duration) {
        let since = now.saturating_sub(self.told_at);
        let mut aggregate = Aggregate::default();
        for worker in &watcher.workers {
            let Some(tree) = self.process_cache.tree(worker.pid) else { continue };
            let Some(known) = self.process_cache.sample(worker.pid) else { continue };
            aggregate.add(known, Some(&tree));
            let uptime = worker.uptime + since.as_secs_f64();
            let facts = WorkerFacts { wid: worker.wid, uptime, tree };
            self.frame_sender.send(
                &watcher.name,
                Some(worker.pid),
                &ProcessFrame { known, name: None, worker: Some(facts) },
            );
        }
        if !aggregate.is_empty() {
            let frame = WatcherFrame { aggregate: &aggregate, watcher: Some(watcher), since };
            self.frame_sender.send(&watcher.name, None, &frame);
        }
    }

    fn tell_own(&mut self) {
        let mut aggregate = Aggregate::default();
        // A circusd-stats that was started by hand is not a watcher, and is published all the same.
        let me = Own { pid: nix::unistd::Pid::this().as_raw(), name: STATS_WATCHER.into() };
        let me = Some(me).filter(|me| !self.own.contains(me));
        for own in self.daemon.iter().chain(&self.own).chain(&me) {
            let Some(known) = self.process_cache.sample(own.pid) else {
                continue;
            };
            aggregate.add(known, None);
            let frame = ProcessFrame { known, name: Some(&own.name), worker: None };
            self.frame_sender.send(OWN, Some(own.pid), &frame);
        }
        if !aggregate.is_empty() {
            let frame = WatcherFrame { aggregate: &aggregate, watcher: None, since: Duration::ZERO };
            self.frame_sender.send(OWN, None, &frame);
        }
        // Perhaps there is another circusd: its pid is to be asked for.
        let gone = |daemon: &Own| !aggregate.has(daemon.pid);
        if self.daemon.as_ref().is_some_and(gone) {
            self.daemon = None;
            self.dirty = true;
        }
    }

    fn tell_sockets(&mut self, now: Duration) {
        self.socket_activity.work(self.always || self.frame_sender.wants("sockets"), now);
        if self.socket_activity.sockets.is_empty() {
            return;
        }
        let mut sum = SocketsFrame::default();
        for watched in &mut self.socket_activity.sockets {
            let (fd, reads) = (watched.socket.fd, std::mem::take(&mut watched.reads));
            let address = watched.socket.address.as_str();
            self.frame_sender.send("sockets", Some(fd), &SocketFrame { fd, subtopic: fd, reads, address });
            sum.reads += reads;
            sum.addresses.push(address);
        }
        self.frame_sender.send("sockets", None, &sum);
    }
}

/// Binds the endpoint, when a predecessor has left it.
fn bind(args: &Args, has_keys: bool, signals: &mut sys::Signals) -> Result<Option<sys::BoundEndpoint>, String> {
    let owner = args.endpoint_owner.as_deref().map(sys::user_id).transpose();
    let owner = owner.map_err(|failure| format!("--endpoint-owner: {}", failure.detail))?;
    let end = clock::since_boot() + HANDOVER;
    let mut caught = Vec::new();
    loop {
        match sys::bind_endpoint(&args.statspoint, Some(args.endpoint_mode), owner) {
            Ok(endpoint) if sys::is_exposed(&endpoint.endpoint) && !has_keys && !args.allow_anyone_on_the_network => {
                return Err(format!(
                    "--statspoint {} can be reached from other machines, without a password: use a loopback address or \
                     ipc://, or --allow-anyone-on-the-network",
                    args.statspoint
                ));
            }
            Ok(endpoint) => return Ok(Some(endpoint)),
            Err(error) if error.errno != Errno::EADDRINUSE as i32 || clock::since_boot() >= end => {
                return Err(error.to_string());
            }
            Err(_) => {}
        }
        // A signal is waited for, at most that long.
        let mut waiting = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _interrupted = poll(&mut waiting, PollTimeout::from(RETRY));
        signals.read(&mut caught);
        if caught.iter().any(|caught| matches!(caught, sys::SignalEvent::Terminate(_))) {
            return Ok(None);
        }
    }
}
