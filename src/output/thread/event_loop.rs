//! The thread: wait, read the clocks, apply_command, read and write, settle.
//!
//! Only this file reads the clock, for deadlines and prefixes; everything else here takes the time as an argument.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::Duration;

use circus_core::base::CollectOrdered as _;
use jiff::Timestamp;
use mio::{Events, Poll, Token};
use nix::time::{ClockId, clock_gettime};

use crate::arbiter::Mono;
use crate::output::handle::{Command, Pause};
use crate::output::sink::interface::Clocks;
use crate::output::tail::stream_tail::InFlight;
use crate::output::thread::pump::Pump;
use crate::output::{Message, OutputFd, RestoreError, SavedOutput};

/// The token of the daemon's waker; no source or writer has it.
pub(crate) const WAKE: Token = Token(0);

/// The thread's ends of the channels.
pub(crate) struct Channels {
    pub(crate) inbox: Receiver<Command>,
    pub(crate) outbox: Sender<Message>,
    pub(crate) end: Sender<()>,
    pub(crate) woken: Arc<AtomicBool>,
    pub(crate) load: InFlight,
    pub(crate) wake: Box<dyn Fn() + Send>,
    /// What a thread before has left.
    pub(crate) before: Option<Before>,
    /// Whether that can be gone on with.
    pub(crate) begun: Sender<Result<(), RestoreError>>,
}

/// The state that another thread has left, and its descriptors.
pub(crate) type Before = (SavedOutput, BTreeMap<OutputFd, OwnedFd>);

/// Starts the thread.
pub(crate) fn spawn(poll: Poll, mut channels: Channels) -> io::Result<JoinHandle<()>> {
    crate::background::spawn("output", move || {
        let before = channels.before.take();
        run(poll, &channels, before);
        let _ = channels.end.send(());
        (channels.wake)();
    })
}

fn read_clocks() -> Clocks {
    // The clock cannot fail: every Linux has it.
    let mono = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Clocks { mono: Mono(0).after(mono), wall: Timestamp::now() }
}

fn begin(poll: &Poll, channels: &Channels, before: Option<Before>) -> Result<Pump, RestoreError> {
    let registry = poll.registry().try_clone().map_err(|error| RestoreError::new("the thread", error))?;
    match before {
        None => Ok(Pump::new(registry, channels.load.clone())),
        Some((saved, fds)) => Pump::restore(registry, channels.load.clone(), saved, fds, read_clocks()),
    }
}

fn run(mut poll: Poll, channels: &Channels, before: Option<Before>) {
    let mut events = Events::with_capacity(256);
    let (begun, mut pump) = match begin(&poll, channels, before) {
        Ok(pump) => (Ok(()), pump),
        Err(error) => return drop(channels.begun.send(Err(error))),
    };
    // Without its handle the thread has no receiver left for its messages.
    let _ = channels.begun.send(begun);
    let mut ending: Option<Mono> = None;
    loop {
        let before = read_clocks().mono;
        let deadline = [pump.deadline(before), ending].into_iter().flatten().min();
        if let Err(error) = poll.poll(&mut events, deadline.map(|at| at.since(before)))
            && error.kind() != io::ErrorKind::Interrupted
        {
            pump.warn(format!("output cannot wait for its pipes and channels: {error}"));
            ending = Some(before);
        }
        let now = read_clocks();
        for event in events.iter().filter(|event| event.token() != WAKE) {
            pump.readiness(event, now);
        }
        if let Some(limit) = apply_command(&mut pump, channels, now) {
            ending = Some(ending.unwrap_or(now.mono.after(limit)).min(now.mono.after(limit)));
        }
        pump.turn(now);
        let over = ending.is_some_and(|at| pump.is_finished() || at <= now.mono);
        if over {
            pump.finish(now);
        }
        tell(channels, pump.take_messages());
        if over {
            return;
        }
    }
}

/// Carries out the commands. Returns the time that the thread has left if it has to end.
fn apply_command(pump: &mut Pump, channels: &Channels, now: Clocks) -> Option<Duration> {
    // First the flag, then the channel: a command that comes in between wakes us once more for nothing.
    if !channels.woken.swap(false, Ordering::AcqRel) {
        return None;
    }
    loop {
        match channels.inbox.try_recv() {
            Ok(Command::Shutdown(limit)) => {
                pump.shut_down(now);
                return Some(limit);
            }
            Ok(Command::Pause(pause)) => hold_still(pump, channels, &pause),
            Ok(command) => pump.apply_command(command, now),
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => return Some(Duration::ZERO),
        }
    }
}

/// Says how things stand, and does nothing until the other end goes on or is gone.
fn hold_still(pump: &mut Pump, channels: &Channels, pause: &Pause) {
    tell(channels, pump.take_messages());
    let fds = pump.descriptors().into_iter().map(|(name, fd)| (name, fd.as_raw_fd())).collect_map();
    if pause.state.send((pump.save(), fds)).is_ok() {
        // Nothing is ever sent: the other end is dropped.
        let _ = pause.go_on.recv();
    }
}

fn tell(channels: &Channels, messages: Vec<Message>) {
    if messages.is_empty() {
        return;
    }
    for message in messages {
        // The daemon no longer receives while the handle is being dropped.
        let _ = channels.outbox.send(message);
    }
    (channels.wake)();
}
