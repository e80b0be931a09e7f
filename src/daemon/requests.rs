//! From bytes to events: what is wrong with a message is answered here, the rest is the arbiter's.

use serde_json::Value;

use super::turn::Daemon;
use crate::arbiter::{Event, Level};
use crate::commands;
use crate::proto::{Body, Fault, Object, Reply, ReplyTo, Request, RequestId, SpawnError, decode, encode_reply};
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
        number(options, "uid", sys::user_id, |name| format!("{name:?} isn't a valid user name"))?;
        number(options, "gid", sys::group_id, |name| format!("No such group: {name:?}"))?;
    }
    Ok(request)
}

fn number(
    options: &mut Object,
    key: &str,
    look_up: fn(&str) -> Result<u32, SpawnError>,
    unknown: fn(&str) -> String,
) -> Result<(), Fault> {
    if let Some(value) = options.get_mut(key)
        && let Value::String(name) = value
    {
        let number = look_up(name).map_err(|_| Fault::command(unknown(name).replace('"', "'")))?;
        *value = number.into();
    }
    Ok(())
}
