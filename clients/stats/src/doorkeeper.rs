//! Which clients may subscribe, where circusd tells them apart: by keys, whose files circusd names, or by users.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use circus_client::KeyNames;
use circus_core::access::{KeyRing, Known};
use circus_core::base::{Mono, Throttle};
use circus_net::{Context, Guard, Judge, Peer, Publisher, SecretKey, Zap};
use circus_sys as sys;

use super::log::Log;

/// The files are read again so often, while subscribers come or are there.
const AGAIN: Duration = Duration::from_secs(1);

/// What circusd has handed over.
pub(super) struct Keys {
    secret: SecretKey,
    authorized: PathBuf,
}

/// Lets subscribers in, and decides what each may hear.
pub(super) struct Doorkeeper {
    pub(super) zap: Zap,
    /// Where keys count.
    keys: Option<Keys>,
    known: Known,
    read_at: Duration,
    failure: Option<String>,
    /// Clients and subscriptions that were refused, not told of yet.
    pub(super) refused: u64,
    refused_log: Throttle,
    failure_log: Throttle,
}

impl Doorkeeper {
    /// The keys of the endpoint, where circusd has handed them over.
    pub(super) fn keys(names: &KeyNames) -> Result<Option<Keys>, String> {
        let Some(number) = &names.descriptor else { return Ok(None) };
        let wrong = |error: &dyn std::fmt::Display| format!("descriptor {number}: {error}");
        let text = number
            .parse()
            .map_err(|error| wrong(&error))
            .and_then(|number| sys::read_inherited(number).map_err(|error| wrong(&error)))?;
        let mut lines = text.lines().skip(1);
        let (Some(secret), Some(path)) = (lines.next(), lines.next()) else { return Ok(None) };
        let secret = SecretKey::parse(secret).ok_or_else(|| wrong(&"it has no key of the endpoint"))?;
        Ok(Some(Keys { secret, authorized: path.into() }))
    }

    /// Begins to let subscribers in that have keys.
    pub(super) fn open(context: &Context, keys: Keys) -> Result<Self, String> {
        let known = Known::Keys(Arc::new(read(&keys.authorized)?));
        Self::new(context, Some(keys), known)
    }

    /// Begins to let subscribers in whose users `ipc_roles` names.
    pub(super) fn open_to_users(context: &Context, ipc_roles: &str) -> Result<Self, String> {
        let users = sys::local_users(ipc_roles).map_err(|errors| format!("--ipc-roles: {}", errors.join("; ")))?;
        Self::new(context, None, Known::Users(Arc::new(users)))
    }

    fn new(context: &Context, keys: Option<Keys>, known: Known) -> Result<Self, String> {
        let zap = Zap::new(context).map_err(|error| error.to_string())?;
        Ok(Self {
            zap,
            keys,
            known,
            read_at: Duration::ZERO,
            failure: None,
            refused: 0,
            refused_log: Throttle::default(),
            failure_log: Throttle::default(),
        })
    }

    /// How the endpoint tells subscribers apart.
    pub(super) fn guard(&self) -> Guard<'_> {
        self.keys.as_ref().map_or(Guard::Users, |keys| Guard::Keys(&keys.secret))
    }

    /// Has the publisher's subscriptions judged by what counts now.
    pub(super) fn judge(&mut self, publisher: &mut Publisher) {
        let known = self.known.clone();
        let judge = move |peer: &Peer, prefix: &[u8]| {
            let grant = known.grant(peer.key.as_deref(), peer.process);
            grant.is_some_and(|grant| grant.watchers.covers(prefix))
        };
        publisher.judge_by(Some(Box::new(judge) as Judge));
    }

    /// Answers clients that want to connect, and looks after those that have. Whether more wait.
    pub(super) fn answer(&mut self, publisher: &mut Publisher, now: Duration) -> bool {
        let asked = self.zap.ready();
        if let Some(keys) = &self.keys
            && (asked || publisher.subscription_count() > 0)
            && now.saturating_sub(self.read_at) >= AGAIN
        {
            self.read_at = now;
            match read(&keys.authorized).map(|ring| Known::Keys(Arc::new(ring))) {
                Ok(known) if known != self.known => {
                    self.known = known;
                    self.judge(publisher);
                }
                Ok(_) => self.failure = None,
                // The previous keys remain in force, as with circusd.
                Err(reason) => self.failure = Some(reason),
            }
        }
        let (known, refused) = (&self.known, &mut self.refused);
        self.zap.answer(|candidate| {
            let grant = known.grant(candidate.key().as_deref(), candidate.process());
            *refused += u64::from(grant.is_none());
            grant.map(|grant| grant.name.clone())
        })
    }

    /// Logs what went wrong, at most every few seconds.
    pub(super) fn tell(&mut self, now: Mono, log: &Log) {
        if let Some(count) = self.refused_log.count(std::mem::take(&mut self.refused), now) {
            log.warning(&format!(
                "refused {count} clients or subscriptions whose keys or users are not authorized for them"
            ));
        }
        if let Some(reason) = self.failure.take()
            && self.failure_log.admit(now)
        {
            log.warning(&format!("the keys cannot be read again, so those of before count: {reason}"));
        }
    }
}

fn read(path: &Path) -> Result<KeyRing, String> {
    sys::read_key_ring(path).map_err(|errors| errors.join("; "))
}
