//! From bytes to events: what is wrong with a message is answered here, the rest is the arbiter's.

use super::event_loop::Daemon;
use crate::arbiter::{Event, Level, Principal};
use crate::commands::{self, Role};
use crate::config::options::{AccountKind, named_files, resolve_accounts};
use crate::output::check_file;
use crate::proto::{
    Body, ClientAddress, Envelope, ErrNo, Fault, Object, Reply, ReplyTo, Request, RequestId, decode, encode_reply,
    reply_value,
};
use crate::sys;

impl Daemon {
    pub(super) fn request(&mut self, identity: Vec<u8>, delimiter: bool, frame: &[u8]) {
        let (format, decoded) = decode(frame);
        let address = |id: RequestId, cast: bool| match cast {
            true => ReplyTo::Discard,
            false => ReplyTo::Client(ClientAddress { identity, delimiter, id, format }),
        };
        let envelope = match decoded {
            Ok(envelope) => envelope,
            Err(undecodable) => {
                return self.refuse(address(undecodable.id, undecodable.cast), undecodable.fault);
            }
        };
        self.log_change(&envelope, |daemon| peer(daemon.router.peer()));
        let request = self.accept(&envelope, &self.resources.peers);
        let to = address(envelope.id, envelope.cast);
        match request {
            Ok(request) => {
                if self.log.takes(Level::Debug) {
                    self.log_line(Level::Debug, &format!("got request {request:?}"));
                }
                self.feed(Event::Request(Box::new(to), request));
            }
            Err(fault) => self.refuse(to, fault),
        }
    }

    /// What a message asks for, where `principal` may have it and it can be done. Nothing is looked up for a request
    /// that is not authorized: the answers would tell what circusd's user can see.
    pub(super) fn accept(&self, envelope: &Envelope, principal: &Principal) -> Result<Request, Fault> {
        let request = commands::decode(envelope)?;
        self.arbiter.authorize(principal, &request)?;
        looked_up(request).and_then(with_files)
    }

    /// Logs who asks for what, where that changes something: the watcher's name, but no value, which may be a secret.
    pub(super) fn log_change(&mut self, envelope: &Envelope, asked_by: impl FnOnce(&mut Self) -> String) {
        let changes = commands::find(&envelope.command).is_some_and(|spec| spec.role != Role::Read);
        if changes && self.log.takes(Level::Info) {
            let asked_by = asked_by(self);
            let name = envelope.properties.as_ref().and_then(|properties| properties.get("name")?.as_str());
            let of = name.map(|name| format!(" {name:?}")).unwrap_or_default();
            self.log_line(Level::Info, &format!("{}{of} asked by {asked_by}", envelope.command));
        }
    }

    fn refuse(&mut self, to: ReplyTo, fault: Fault) {
        self.reply(&Reply { to, body: Body::Error(fault), time: self.now.unix });
    }

    /// Sends an answer where it belongs.
    pub(super) fn reply(&mut self, reply: &Reply) {
        match &reply.to {
            ReplyTo::Client(client) => {
                let frame = encode_reply(client, &reply.body, reply.time);
                self.router.send(&client.identity, client.delimiter, frame);
            }
            ReplyTo::Hook { host, number } => {
                self.answer_hook(*host, *number, &reply_value(&reply.body, reply.time));
            }
            ReplyTo::Discard => {}
        }
    }
}

/// A client as the log names it. libzmq knows an address, and behind an ipc endpoint the user, group and process.
fn peer(address: Option<String>) -> String {
    let Some(address) = address else { return "an unknown client".to_owned() };
    let mut parts = address.rsplitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(pid), Some(_), Some(uid), Some("localhost" | "")) => format!("uid {uid}, pid {pid}"),
        _ => address,
    }
}

/// A stream to a file that cannot be written is refused while somebody is there to hear it.
fn with_files(request: Request) -> Result<Request, Fault> {
    if let Request::Set { options, .. } | Request::Add { options, .. } = &request {
        for (option, file) in named_files(options) {
            check_file(file).map_err(|text| Fault::new(ErrNo::Os, format!("'{option}': {text}")))?;
        }
    }
    Ok(request)
}

/// What the system has to be asked about a request: `set` stores users and groups as numbers, and a virtual
/// environment has to be one.
fn looked_up(mut request: Request) -> Result<Request, Fault> {
    if let Request::Add { options, .. } | Request::Set { options, .. } = &request {
        check_virtualenv(options)?;
    }
    if let Request::Set { options, .. } = &mut request {
        resolve_accounts(options, |kind, name| match kind {
            AccountKind::User => sys::user_id(name).ok(),
            AccountKind::Group => sys::group_id(name).ok(),
        })?;
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
