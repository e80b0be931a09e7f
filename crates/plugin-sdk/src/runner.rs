//! The trait of plugins, and the loop that calls them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::unistd::{Pid, getppid};

use super::zmq_client::ZmqClient;
use super::{Client, Event};
use circus_client::Subscriber;
use circus_sys::{SignalEvent, Signals};

const SIGNALS: Token = Token(0);
const EVENTS: Token = Token(1);
const SOURCE: Token = Token(2);

/// How often the plugin checks whether the circusd that started it still runs. The kernel reports its end by a signal
/// already; this is for plugins behind a shell.
const PARENT_EVERY: Duration = Duration::from_secs(5);

/// A plugin. Its methods are called one after the other, in one thread.
pub trait Plugin {
    /// The subscription stands, requests can be sent. An error ends the plugin; circusd starts it again, with pauses
    /// that grow.
    fn start(&mut self, client: &mut dyn Client) -> Result<(), String> {
        let _ = client;
        Ok(())
    }

    /// Something happened to a watcher.
    fn on_event(&mut self, event: &Event, client: &mut dyn Client) {
        let _ = (event, client);
    }

    /// When [`on_tick`](Self::on_tick) is to be called, by the clock of [`Client::now`]; `None` is never.
    fn next_tick(&self) -> Option<Duration> {
        None
    }

    /// The time has come.
    fn on_tick(&mut self, client: &mut dyn Client) {
        let _ = client;
    }

    /// A descriptor of its own that is watched. It is asked for once, after `start`.
    fn source(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The descriptor is readable: read until there is nothing left.
    fn on_readable(&mut self, client: &mut dyn Client) {
        let _ = client;
    }

    /// The end: circusd stops, or wants the plugin stopped.
    fn stop(&mut self, client: &mut dyn Client) {
        let _ = client;
    }
}

/// What wakes a plugin.
pub(super) struct Runner {
    poll: Poll,
    signals: Signals,
    subscriber: Subscriber,
    /// The process that has started this one, if that was circusd.
    parent: Option<Pid>,
}

impl Runner {
    pub(super) fn new(mut subscriber: Subscriber, under_circusd: bool) -> io::Result<Self> {
        let parent = under_circusd.then(getppid);
        let poll = Poll::new()?;
        let signals = Signals::install()?;
        poll.registry().register(&mut SourceFd(&signals.as_fd().as_raw_fd()), SIGNALS, Interest::READABLE)?;
        poll.registry().register(&mut subscriber, EVENTS, Interest::READABLE)?;
        Ok(Self { poll, signals, subscriber, parent })
    }

    /// Calls the plugin until it is to end.
    pub(super) fn run(&mut self, plugin: &mut dyn Plugin, client: &mut ZmqClient) -> Result<(), String> {
        plugin.start(client)?;
        let ended = self.turns(plugin, client).map_err(|error| format!("waiting for events failed: {error}"));
        plugin.stop(client);
        ended
    }

    fn turns(&mut self, plugin: &mut dyn Plugin, client: &mut ZmqClient) -> io::Result<()> {
        if let Some(source) = plugin.source() {
            self.poll.registry().register(&mut SourceFd(&source.as_raw_fd()), SOURCE, Interest::READABLE)?;
        }
        let mut events = Events::with_capacity(8);
        // Messages that came before the registration have used up their edge.
        let mut hurry = true;
        loop {
            let limit = if hurry { Some(Duration::ZERO) } else { self.time_left(plugin, client) };
            if let Err(error) = self.poll.poll(&mut events, limit)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            hurry = false;
            if self.is_over() {
                return Ok(());
            }
            if events.iter().any(|event| event.token() == SOURCE) {
                plugin.on_readable(client);
            }
            while let Some((topic, body)) = self.subscriber.try_recv() {
                if let Some(event) = Event::parse(&topic, &body) {
                    plugin.on_event(&event, client);
                }
                // A plugin that is flooded, or asks a daemon that hangs, still ends when it has to.
                if self.is_over() {
                    return Ok(());
                }
            }
            if plugin.next_tick().is_some_and(|at| at <= client.now()) {
                plugin.on_tick(client);
            }
        }
    }

    fn time_left(&self, plugin: &dyn Plugin, client: &ZmqClient) -> Option<Duration> {
        let tick = plugin.next_tick().map(|at| at.saturating_sub(client.now()));
        tick.into_iter().chain(self.parent.map(|_| PARENT_EVERY)).min()
    }

    /// Whether a signal said so, or circusd has gone.
    fn is_over(&mut self) -> bool {
        let mut caught = Vec::new();
        self.signals.read(&mut caught);
        let told = caught.iter().any(|caught| match caught {
            SignalEvent::Terminate(_) | SignalEvent::Reload => true,
            SignalEvent::Child | SignalEvent::Upgrade | SignalEvent::ReopenLogs | SignalEvent::Ignored(_) => false,
        });
        told || self.parent.is_some_and(|parent| parent != getppid())
    }
}
