//! The process becomes the new program.

use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use mio::Interest;
use nix::poll::{PollTimeout, poll};

use super::progress::{Failure, Upgrade};
use super::state;
use crate::arbiter::{Event, Level};
use crate::daemon::boot::open_network;
use crate::daemon::control::{Control, UnreadRequest};
use crate::daemon::core::Core;
use crate::daemon::door::Door;
use crate::daemon::event_loop::Daemon;
use crate::daemon::events::EventPublisher;
use crate::daemon::fd_table::FdTable;
use crate::daemon::output_messages::pass_on;
use crate::daemon::shutdown::stop_hooks;
use crate::daemon::sources::{Source, Sources};
use crate::net::{Context, Publisher, Router};
use crate::output::{Message, Paused};
use crate::proto::Signal;
use crate::sys;

/// How long answers and events that clients do not read may hold up the upgrade.
const FLUSH_LIMIT: Duration = Duration::from_millis(200);
/// How long clients that come back are waited for with their answers.
pub(super) const CLIENTS_LIMIT: Duration = Duration::from_secs(10);

/// So often output is paused and goes on before it is given up: lines that were asked for come in between.
const PAUSES: usize = 100;

/// Hands everything over to the new program. Returns only where that fails, and the daemon goes on.
pub(in crate::daemon) fn hand_over(mut daemon: Daemon) -> Daemon {
    daemon.outcome = None;
    let Upgrade::Settling { program, .. } = std::mem::take(&mut daemon.upgrade) else { return daemon };
    end_what_cannot_be_handed_over(&mut daemon);
    let (mut daemon, (stage, reason)) = try_hand_over(daemon, &program);
    daemon.core.feed(Event::UpgradeFailed { stage, reason });
    // The work that was ended for the new program's sake is started again.
    let watched: Vec<String> = daemon.fds.sockets.iter().map(|socket| socket.name.clone()).collect();
    for name in watched {
        drop(daemon.fds.watch_socket(&mut daemon.sources, &name, false));
    }
    daemon.core.arbiter.resume(daemon.core.now);
    daemon
}

/// Launches that have not reached their program, and hooks: both are begun again.
fn end_what_cannot_be_handed_over(daemon: &mut Daemon) {
    settle(daemon);
    for pid in daemon.starting.pids() {
        daemon.children.disown(pid);
        let _gone = sys::send(nix::unistd::Pid::from_raw(pid.0), Signal::KILL);
    }
    daemon.starting.forget_all(&mut daemon.sources);
    daemon.samples.abandon();
    stop_hooks(daemon);
    settle(daemon);
}

/// Does everything that is to be done already.
fn settle(daemon: &mut Daemon) {
    loop {
        daemon.execute_all();
        let (hooks, mut parts) = daemon.hooks();
        if !hooks.take_event(&mut parts) {
            break;
        }
    }
    daemon.signaller.kill_queued(&daemon.leftovers);
    daemon.events.flush();
}

fn try_hand_over(mut daemon: Daemon, program: &Path) -> (Daemon, Failure) {
    let Some(paused) = pause(&mut daemon) else {
        return (daemon, ("state", "the output thread does not answer".to_owned()));
    };
    let unread = daemon.control.take_unread();
    let (file, numbers) = match save(&daemon, &paused, unread.clone()) {
        Ok(saved) => saved,
        Err(failure) => {
            daemon.control.take_up(unread, &mut daemon.door, &mut daemon.core);
            return (daemon, failure);
        }
    };
    let shown = program.display();
    daemon.core.log(Level::Info, format!("executing {shown}"));
    daemon.core.log.flush_all(daemon.core.now);
    daemon.core.audit.flush();
    tell_service_manager("RELOADING=1");
    // libzmq sends what is left to be sent and ends its threads. The listening sockets stay: a client that connects
    // meanwhile waits there.
    drop(daemon.sources.remove(Source::Control, &mut daemon.control.router));
    drop(daemon.sources.remove(Source::Events, &mut daemon.events.publisher));
    daemon.door.shut(&mut daemon.sources);
    let Control { mut router, peers, .. } = daemon.control;
    let _unread = router.flush(FLUSH_LIMIT);
    router.close(FLUSH_LIMIT);
    daemon.events.publisher.close(FLUSH_LIMIT);
    drop(daemon.resources.context);
    let error = sys::become_program(program, file.as_raw_fd(), &numbers, &mut daemon.signals);
    drop(paused);
    let (context, mut router, mut publisher) =
        connect_again(&daemon.fds, &mut daemon.door, &mut daemon.sources, &mut daemon.core);
    router.await_clients(CLIENTS_LIMIT);
    for watched in [
        daemon.sources.add(Source::Control, &mut router, Interest::READABLE),
        daemon.sources.add(Source::Events, &mut publisher, Interest::READABLE),
    ] {
        if let Err(error) = watched {
            daemon.core.log(Level::Critical, format!("an endpoint cannot be watched: {error}"));
        }
    }
    daemon.control = Control::new(router, peers, &daemon.door);
    daemon.control.take_up(unread, &mut daemon.door, &mut daemon.core);
    daemon.events = EventPublisher::new(publisher);
    daemon.resources.context = context;
    tell_service_manager("READY=1");
    (daemon, ("exec", format!("{shown}: {error}")))
}

/// The endpoints of the daemon that goes on. Where they cannot be opened, because descriptors have run out, say, it is
/// tried until they can.
fn connect_again(
    fds: &FdTable,
    door: &mut Door,
    sources: &mut Sources,
    core: &mut Core,
) -> (Context, Router, Publisher) {
    loop {
        let opened = Context::new().map_err(|error| error.to_string()).and_then(|context| {
            door.shut(sources);
            let guests = std::mem::take(&mut door.guests);
            door.replace(guests, &context, sources)?;
            let (router, publisher) =
                open_network(&context, &fds.control, &fds.events, door).map_err(|error| error.to_string())?;
            Ok((context, router, publisher))
        });
        match opened {
            Ok(opened) => return opened,
            Err(error) => core.log(Level::Critical, format!("the endpoints cannot be opened: {error}")),
        }
        let _interrupted = poll(&mut [], PollTimeout::from(100_u8));
    }
}

type Saved = (std::fs::File, Vec<std::os::fd::RawFd>);

fn save(daemon: &Daemon, paused: &Paused, unread: Vec<UnreadRequest>) -> Result<Saved, Failure> {
    let saved = state::save(daemon, paused, unread).map_err(|reason| ("state", reason))?;
    let file = sys::sealed(&saved.bytes).map_err(|error| ("state", error.to_string()))?;
    Ok((file, saved.numbers))
}

/// Has the output thread hold still, when it has nothing more to say.
fn pause(daemon: &mut Daemon) -> Option<Paused> {
    for _ in 0..PAUSES {
        let paused = daemon.launcher.output.pause(state::PAUSE_LIMIT)?;
        let messages = daemon.launcher.output.take_messages();
        let answers = messages.iter().any(|message| matches!(message, Message::Tailed(..)));
        let Daemon { core, events, control, .. } = &mut *daemon;
        pass_on(messages, control, events, core);
        if !answers {
            return Some(paused);
        }
        // The actions that follow from an answer may concern the output thread again.
        drop(paused);
        settle(daemon);
    }
    None
}

/// The service manager that waits for `READY=1`, where one has started circusd.
pub(super) fn tell_service_manager(text: &str) {
    if let Some(socket) = sys::notify_socket() {
        drop(sys::notify(&socket, text));
    }
}
