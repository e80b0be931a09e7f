//! The door: which clients of the endpoints are let in, and what each is granted. Where it has neither keys nor users, all
//! that reach an endpoint are.

use std::io;
use std::sync::Arc;

use circus_core::access::{Grant, Known, LocalUsers};
use circus_core::base::Throttle;
use mio::Interest;

use super::core::Core;
use super::keys::Keys;
use super::sources::{Source, Sources};
use crate::arbiter::Level;
use crate::config::CircusConfig;
use crate::net::{Context, Guard, Judge, Peer, Publisher, Zap, turned_away};
use crate::proto::Fault;
use crate::sys;

/// What clients are let in by.
#[derive(Debug, Default)]
pub(super) struct Guests {
    /// Keys, at endpoints of tcp.
    pub(super) keys: Option<Keys>,
    /// Users, at endpoints of ipc.
    pub(super) users: Option<Arc<LocalUsers>>,
}

/// The door, with the handler of ZAP, which is there while a client has to be asked about.
#[derive(Default)]
pub(super) struct Door {
    pub(super) guests: Guests,
    zap: Option<Zap>,
    refused: Throttle<3>,
    /// Connections that were closed because of what they cost, as far as they were counted.
    turned_away: u64,
    turned_away_log: Throttle,
}

/// The users of a configuration, as the system knows them now.
pub(super) fn read_users(circus: &CircusConfig) -> Result<Option<LocalUsers>, Vec<String>> {
    let users = circus.ipc_roles.as_deref().map(sys::local_users).transpose();
    users.map_err(|errors| errors.iter().map(|error| format!("ipc_roles: {error}")).collect())
}

impl Guests {
    /// Those of a configuration.
    pub(super) fn load(circus: &CircusConfig) -> Result<Self, String> {
        let users = read_users(circus).map_err(|errors| errors.join("; "))?;
        Ok(Self { keys: Keys::load(circus)?, users: users.map(Arc::new) })
    }
}

impl Door {
    /// For these guests. It has to be there before the endpoints are.
    pub(super) fn open(guests: Guests, context: &Context, sources: &mut Sources) -> Result<Self, String> {
        let mut door = Self { guests, ..Self::default() };
        door.answer_from_now_on(context, sources)?;
        Ok(door)
    }

    /// For other guests from now on.
    pub(super) fn replace(&mut self, guests: Guests, context: &Context, sources: &mut Sources) -> Result<(), String> {
        self.guests = guests;
        self.answer_from_now_on(context, sources)
    }

    fn answer_from_now_on(&mut self, context: &Context, sources: &mut Sources) -> Result<(), String> {
        let asks = self.guests.keys.is_some() || self.guests.users.is_some();
        if asks && self.zap.is_none() {
            let mut zap = Zap::new(context).map_err(|error| error.to_string())?;
            sources.add(Source::Door, &mut zap, Interest::READABLE).map_err(|error: io::Error| error.to_string())?;
            self.zap = Some(zap);
        }
        Ok(())
    }

    /// Lets no more clients in: the context is about to end.
    pub(super) fn shut(&mut self, sources: &mut Sources) {
        if let Some(mut zap) = self.zap.take() {
            drop(sources.remove(Source::Door, &mut zap));
        }
    }

    /// How an endpoint tells its clients apart, where it does.
    pub(super) fn guard_for(&self, endpoint: &str) -> Option<Guard<'_>> {
        if endpoint.starts_with("tcp://") {
            self.guests.keys.as_ref().map(|keys| Guard::Keys(keys.server()))
        } else {
            self.guests.users.as_ref().map(|_| Guard::Users)
        }
    }

    /// The clients of an endpoint, where it tells them apart.
    pub(super) fn known_for(&self, endpoint: &str) -> Option<Known> {
        if endpoint.starts_with("tcp://") {
            self.guests.keys.as_ref().map(|keys| Known::Keys(Arc::clone(keys.ring())))
        } else {
            self.guests.users.clone().map(Known::Users)
        }
    }

    /// Has subscriptions judged by the guests that there are now.
    pub(super) fn judge(&self, publisher: &mut Publisher) {
        let judge = self.known_for(publisher.endpoint()).map(|known| {
            let judge = move |peer: &Peer, prefix: &[u8]| {
                grant(&known, peer).is_some_and(|grant| grant.watchers.covers(prefix))
            };
            Box::new(judge) as Judge
        });
        publisher.judge_by(judge);
    }

    /// Answers clients that want to connect. Whether more wait.
    pub(super) fn answer(&mut self, core: &mut Core) -> bool {
        let Some(zap) = &mut self.zap else { return false };
        let Guests { keys, users } = &self.guests;
        let keys = keys.as_ref().map(|keys| Known::Keys(Arc::clone(keys.ring())));
        let users = users.clone().map(Known::Users);
        let mut refused = Vec::new();
        let more = zap.answer(|candidate| {
            let process = candidate.process();
            let known = if process.is_some() { &users } else { &keys };
            let grant = known.as_ref().and_then(|known| known.grant(candidate.key().as_deref(), process));
            if grant.is_none() {
                refused.push(match process {
                    Some(_) => format!("a client whose user ipc_roles does not name: {candidate}"),
                    None => format!("a client whose key is not in curve_authorized_keys: {candidate}"),
                });
            }
            grant.map(|grant| grant.name.clone())
        });
        for client in refused {
            self.log_refused(&client, core);
        }
        more
    }

    /// Logs how many connections were closed because of what they cost, at most every few seconds.
    pub(super) fn log_turned_away(&mut self, core: &mut Core) {
        let closed = turned_away();
        let more = closed - std::mem::replace(&mut self.turned_away, closed);
        if let Some(count) = self.turned_away_log.count(more, core.now.mono) {
            let text = format!("closed {count} connections whose peers have too many or send too much");
            core.log(Level::Warning, text);
        }
    }

    /// Logs that a client was refused, a few in ten seconds.
    pub(super) fn log_refused(&mut self, what: &str, core: &mut Core) {
        if self.refused.admit(core.now.mono) {
            let more = match self.refused.take_left_out() {
                0 => String::new(),
                more => format!(" ({more} more since)"),
            };
            core.log(Level::Warning, format!("refused {what}{more}"));
        }
    }
}

/// What a peer is granted.
pub(super) fn grant<'k>(known: &'k Known, peer: &Peer) -> Option<&'k Arc<Grant>> {
    known.grant(peer.key.as_deref(), peer.process)
}

/// What a client is told that was let in when it connected, and would not be now.
pub(super) fn revoked(known: &Known) -> Fault {
    Fault::message(match known {
        Known::Keys(_) => "not allowed: this key is not authorized any more",
        Known::Users(_) => "not allowed: ipc_roles names neither this user nor a group of it any more",
    })
}
