//! The control endpoint: decodes requests into events. It answers invalid messages itself; the arbiter answers all others.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::Core;
use super::door::{self, Door};
use super::environment;
use crate::arbiter::{Arbiter, Event, Level, Principal};
use crate::commands::{self, Role};
use crate::config::options::{AccountKind, named_files, resolve_accounts};
use crate::net::{Incoming, Payload, Peer, RETRY_EVERY, Router};
use crate::output::check_file;
use crate::proto::{
    Body, ClientAddress, Envelope, ErrNo, Fault, Object, ReplyTo, Request, RequestId, decode, encode_reply,
};
use crate::sys;
use circus_core::access::{AuditResult, Audited, Known, LocalPeer, redacted};
use circus_core::base::Throttle;

/// A frame beyond this size is rare, and the values that it was made from or into leave much to give back.
const LARGE_FRAME: usize = 64 << 10;

/// The control endpoint.
pub(super) struct Control {
    pub(super) router: Router,
    /// The user that requests which arrive are made for.
    pub(super) peers: Principal,
    /// The clients that are let in, where the endpoint tells them apart.
    pub(super) known: Option<Known>,
    /// Answers that were dropped, as far as they were counted.
    dropped: u64,
    dropped_log: Throttle,
    had_large_frame: bool,
}

/// A request that was received and not looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct UnreadRequest {
    identity: Vec<u8>,
    delimiter: bool,
    #[serde(with = "crate::output::bytes")]
    frame: Vec<u8>,
    /// The client's address.
    peer: Option<String>,
    /// The client's key.
    #[serde(default)]
    key: Option<String>,
    /// The client's process.
    #[serde(default)]
    process: Option<LocalPeer>,
}

impl Control {
    pub(super) fn new(router: Router, peers: Principal, door: &Door) -> Self {
        let known = door.known_for(router.endpoint());
        Self { router, peers, known, dropped: 0, dropped_log: Throttle::default(), had_large_frame: false }
    }

    /// Logs how many answers were dropped, at most every few seconds.
    pub(super) fn log_dropped(&mut self, core: &mut Core) {
        let dropped = self.router.counters().overflowed;
        let more = dropped - std::mem::replace(&mut self.dropped, dropped);
        if let Some(count) = self.dropped_log.count(more, core.now.mono) {
            core.log(Level::Warning, format!("dropped {count} answers to clients that do not read them"));
        }
    }

    /// Whether a large request came, or a large answer went, since the last call: what it needed can be given back.
    pub(super) fn take_large_frame(&mut self) -> bool {
        std::mem::take(&mut self.had_large_frame)
    }

    /// Takes up requests, so many at most. Whether more may be left.
    pub(super) fn take_requests(&mut self, most: usize, door: &mut Door, core: &mut Core) -> bool {
        for _ in 0..most {
            let Some(incoming) = self.router.recv() else { return false };
            self.take(incoming, None, door, core);
        }
        true
    }

    /// Takes requests out of the endpoint for another process, which is to take them up.
    pub(super) fn take_unread(&mut self) -> Vec<UnreadRequest> {
        let mut unread = Vec::new();
        while let Some(Incoming { identity, delimiter, payload }) = self.router.recv() {
            if let Payload::Frame(frame) = payload {
                let Peer { address: peer, key, process } = self.router.peer();
                unread.push(UnreadRequest { identity, delimiter, frame, peer, key, process });
            }
        }
        unread
    }

    /// Takes up requests that another process has taken out of the endpoint.
    pub(super) fn take_up(&mut self, unread: Vec<UnreadRequest>, door: &mut Door, core: &mut Core) {
        for UnreadRequest { identity, delimiter, frame, peer, key, process } in unread {
            let peer = Some(Peer { key, process, address: peer });
            self.take(Incoming { identity, delimiter, payload: Payload::Frame(frame) }, peer, door, core);
        }
    }

    fn take(&mut self, incoming: Incoming, sender: Option<Peer>, door: &mut Door, core: &mut Core) {
        let Incoming { identity, delimiter, payload: Payload::Frame(frame) } = incoming else { return };
        self.had_large_frame |= frame.len() > LARGE_FRAME;
        let (format, decoded) = decode(&frame);
        // Where clients are not told apart, nothing is asked about them: each question costs.
        let sender = sender.or_else(|| self.known.is_some().then(|| self.router.peer()));
        let (mut principal, mut revoked) = (None, None);
        if let Some(known) = &self.known {
            match sender.as_ref().and_then(|sender| door::grant(known, sender)) {
                Some(grant) => principal = Some(Principal::Granted(Arc::clone(grant))),
                None => revoked = Some(door::revoked(known)),
            }
        }
        let redacted = revoked.is_some() || principal.as_ref().is_some_and(|principal| !principal.sees_everything());
        let to = |id: RequestId, cast: bool, note: Option<Box<str>>| match cast {
            true => ReplyTo::Discard,
            false => ReplyTo::Client(ClientAddress { identity, delimiter, id, format, redacted, note }),
        };
        if let Some(fault) = revoked {
            if let Ok(envelope) = &decoded {
                let audited = self.audited(envelope, None, sender.as_ref());
                core.tell_audit(&audited, &AuditResult::Denied(fault.reason.clone()));
            }
            let at = peer(sender.and_then(|sender| sender.address));
            door.log_refused(&format!("a request of {at}, which was let in and is not authorized any more"), core);
            let (id, cast) = match decoded {
                Ok(envelope) => (envelope.id, envelope.cast),
                Err(undecodable) => (undecodable.id, undecodable.cast),
            };
            return self.refuse(&to(id, cast, None), fault, core);
        }
        let envelope = match decoded {
            Ok(envelope) => envelope,
            Err(undecodable) => {
                return self.refuse(&to(undecodable.id, undecodable.cast, None), undecodable.fault, core);
            }
        };
        let changes = changes(&envelope);
        let sender = sender.or_else(|| changes.then(|| self.router.peer()));
        let request = accept(&envelope, principal.as_ref().unwrap_or(&self.peers), &core.arbiter);
        let result = match &request {
            Ok(_) if changes && envelope.cast => Some(AuditResult::Accepted),
            Err(Refusal::Denied(fault)) => Some(AuditResult::Denied(fault.reason.clone())),
            Err(Refusal::Unusable(fault)) if changes => Some(AuditResult::Answered(Some(fault.errno))),
            Ok(_) | Err(Refusal::Unusable(_)) => None,
        };
        let asked_by = || {
            let at = peer(sender.as_ref().and_then(|sender| sender.address.clone()));
            match &principal {
                Some(Principal::Granted(grant)) => format!("{} at {at}", grant.name),
                _ => at,
            }
        };
        match &request {
            // A client may be denied as often as it likes: a few are logged.
            Err(Refusal::Denied(_)) if changes => {
                door.log_refused(&requested(&envelope, &asked_by()), core);
            }
            _ => log_change(&envelope, core, asked_by),
        }
        let mut note = None;
        if core.audit.is_on() && (changes || result.is_some()) {
            // A request that only asks is told of where it is denied, and then its client is not known yet.
            let sender = sender.unwrap_or_else(|| self.router.peer());
            let by = match &principal {
                Some(Principal::Granted(grant)) => Some(grant.name.as_str()),
                Some(Principal::Daemon | Principal::User(_)) | None => None,
            };
            let audited = self.audited(&envelope, by, Some(&sender));
            match result {
                Some(result) => core.tell_audit(&audited, &result),
                None => note = Some(audited.note()),
            }
        }
        let to = to(envelope.id, envelope.cast, note);
        match request {
            Ok(request) => {
                if core.log.takes(Level::Debug) {
                    // Without what it says: options hold passwords.
                    core.log(Level::Debug, format!("got request {}", envelope.command));
                }
                core.feed(Event::Request(Box::new(to), request));
            }
            Err(refusal) => self.refuse(&to, refusal.fault(), core),
        }
    }

    /// What the audit log tells of a request.
    fn audited(&self, envelope: &Envelope, by: Option<&str>, sender: Option<&Peer>) -> Audited {
        let address = sender.and_then(|sender| sender.address.as_deref());
        // At an endpoint of tcp an address that looks like a process is a client's claim.
        let of_address = || address.filter(|_| self.router.endpoint().starts_with("ipc://")).and_then(LocalPeer::parse);
        let process = sender.and_then(|sender| sender.process).or_else(of_address);
        Audited::new(envelope, by, process, address)
    }

    fn refuse(&mut self, to: &ReplyTo, fault: Fault, core: &mut Core) {
        if let ReplyTo::Client(client) = to {
            self.reply(client, &Body::Error(fault), core.now.unix, core);
        }
    }

    /// Sends a client its reply.
    pub(super) fn reply(&mut self, client: &ClientAddress, body: &Body, time: f64, core: &mut Core) {
        if let Some(note) = &client.note {
            core.tell_audit(&Audited::of_note(note), &AuditResult::of(body));
        }
        let frame = if client.redacted {
            encode_reply(client, &redacted(body), time)
        } else {
            encode_reply(client, body, time)
        };
        self.had_large_frame |= frame.len() > LARGE_FRAME;
        self.router.send(&client.identity, client.delimiter, frame);
    }

    /// How soon replies that wait for a slow reader are to be tried again, even where libzmq says nothing.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        (self.router.pending() > 0).then_some(RETRY_EVERY)
    }
}

/// What a message asks for, where `principal` may have it and it can be done. Nothing is looked up for a request that is
/// not authorized: the answers would reveal what circusd's user can see.
pub(super) fn accept(envelope: &Envelope, principal: &Principal, arbiter: &Arbiter) -> Result<Request, Refusal> {
    let request = commands::decode(envelope).map_err(Refusal::Unusable)?;
    // The decoder has refused commands that are not in the table.
    let role = commands::find(&envelope.command).map_or(Role::Admin, |spec| spec.role);
    arbiter.authorize(principal, role, &request).map_err(|denial| Refusal::Denied(denial.into()))?;
    looked_up(with_environment(request, arbiter)).and_then(with_files).map_err(Refusal::Unusable)
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The client may not have it.
    Denied(Fault),
    /// It cannot be done.
    Unusable(Fault),
}

impl Refusal {
    /// What the client is told.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Denied(fault) | Self::Unusable(fault) => fault,
        }
    }
}

/// Whether a request changes something.
pub(super) fn changes(envelope: &Envelope) -> bool {
    commands::find(&envelope.command).is_some_and(|spec| spec.role != Role::Read)
}

/// The environment of workers that run in a virtual environment has to be looked at before it can be shown.
fn with_environment(mut request: Request, arbiter: &Arbiter) -> Request {
    let shown = match &mut request {
        Request::Options { name, env, .. } => Some((name, env)),
        Request::Get { name, keys, env } if keys.iter().any(|key| key == "env") => Some((name, env)),
        _ => None,
    };
    if let Some((name, env)) = shown
        && let Some(config) = arbiter.config_of(name)
    {
        *env = environment::in_virtualenv(config);
    }
    request
}

/// Logs a request that changes something, and where it comes from: the watcher's name, but no value, which may be a
/// secret.
pub(super) fn log_change(envelope: &Envelope, core: &mut Core, asked_by: impl FnOnce() -> String) {
    if changes(envelope) && core.log.takes(Level::Info) {
        core.log(Level::Info, requested(envelope, &asked_by()));
    }
}

/// `set "web" requested by alice at 127.0.0.1`
fn requested(envelope: &Envelope, by: &str) -> String {
    let name = envelope.properties.as_ref().and_then(|properties| properties.get("name")?.as_str());
    let of = name.map(|name| format!(" {name:?}")).unwrap_or_default();
    format!("{}{of} requested by {by}", envelope.command)
}

/// A client as the log names it. libzmq knows an address, and behind an ipc endpoint the user, group and process.
fn peer(address: Option<String>) -> String {
    let Some(address) = address else { return "an unknown client".to_owned() };
    match LocalPeer::parse(&address) {
        Some(LocalPeer { uid, pid, .. }) => format!("uid {uid}, pid {pid}"),
        None => address,
    }
}

/// A stream to a file that cannot be written is refused at once, so that the client hears of it.
fn with_files(request: Request) -> Result<Request, Fault> {
    if let Request::Set { options, .. } | Request::Add { options, .. } = &request {
        for (option, file) in named_files(options) {
            check_file(file).map_err(|text| Fault::new(ErrNo::Os, format!("'{option}': {text}")))?;
        }
    }
    Ok(request)
}

/// What the system has to be asked about a request: users and groups have to exist, `set` stores them as numbers, and a
/// virtual environment has to be one.
fn looked_up(mut request: Request) -> Result<Request, Fault> {
    if let Request::Add { options, .. } | Request::Set { options, .. } = &request {
        check_virtualenv(options)?;
        check_time_zone(options)?;
    }
    let look_up = |kind, name: &str| match kind {
        AccountKind::User => sys::user_id(name).ok(),
        AccountKind::Group => sys::group_id(name).ok(),
    };
    match &mut request {
        Request::Set { options, .. } => resolve_accounts(options, look_up)?,
        // A watcher that is added keeps the names.
        Request::Add { options, .. } => resolve_accounts(&mut options.clone(), look_up)?,
        _ => {}
    }
    Ok(request)
}

fn check_virtualenv(options: &Object) -> Result<(), Fault> {
    let text = |key: &str| options.get(key).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    match text("virtualenv").map(|root| sys::Virtualenv::find(root, text("virtualenv_py_ver"))) {
        Some(Err(reason)) => Err(Fault::command(format!("'virtualenv': {reason}"))),
        Some(Ok(_)) | None => Ok(()),
    }
}

fn check_time_zone(options: &Object) -> Result<(), Fault> {
    let name = options.get("timezone").and_then(serde_json::Value::as_str).filter(|name| !name.is_empty());
    match name.filter(|name| sys::named_time_zone(Some(name)).is_none()) {
        Some(name) => Err(Fault::command(format!("'timezone': there is no time zone '{name}' on this machine"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_is_a_user_and_process_or_an_address() {
        for (address, shown) in [
            (Some("localhost:1000:100:4711"), "uid 1000, pid 4711"),
            (Some(":0:0:1"), "uid 0, pid 1"),
            (Some("127.0.0.1"), "127.0.0.1"),
            (Some("fe80::1:2:3"), "fe80::1:2:3"),
            (None, "an unknown client"),
        ] {
            assert_eq!(peer(address.map(str::to_owned)), shown);
        }
    }
}
