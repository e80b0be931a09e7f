//! From bytes to events: what is wrong with a message is answered here, the rest is the arbiter's.

use super::turn::Daemon;
use crate::arbiter::{Event, Level};
use crate::commands;
use crate::config::options::{AccountKind, resolve_accounts};
use crate::proto::{Body, Fault, Reply, ReplyTo, Request, RequestId, decode, encode_reply};
use crate::sys;

impl Daemon {
    pub(super) fn request(&mut self, identity: Vec<u8>, delimiter: bool, frame: &[u8]) {
        let (format, decoded) = decode(frame);
        let address = |id: RequestId, cast: bool| ReplyTo { identity, delimiter, id, format, cast };
        let envelope = match decoded {
            Ok(envelope) => envelope,
            Err(undecodable) => {
                return self.refuse(address(undecodable.id, undecodable.cast), undecodable.fault);
            }
        };
        let request = commands::decode(&envelope).and_then(with_numbers);
        let to = address(envelope.id, envelope.cast);
        match request {
            Ok(request) => {
                if self.log.takes(Level::Debug) {
                    self.say(Level::Debug, &format!("got request {request:?}"));
                }
                self.feed(Event::Request(Box::new(to), request));
            }
            Err(fault) => self.refuse(to, fault),
        }
    }

    fn refuse(&mut self, to: ReplyTo, fault: Fault) {
        if !to.cast {
            let reply = Reply { to, body: Body::Error(fault), time: self.now.unix };
            self.router.send(&reply.to.identity, reply.to.delimiter, encode_reply(&reply));
        }
    }
}

/// `set` stores users and groups as numbers: names are looked up here, where the system may be asked.
fn with_numbers(mut request: Request) -> Result<Request, Fault> {
    if let Request::Set { options, .. } = &mut request {
        resolve_accounts(options, |kind, name| match kind {
            AccountKind::User => sys::user_id(name).ok(),
            AccountKind::Group => sys::group_id(name).ok(),
        })?;
    }
    Ok(request)
}
