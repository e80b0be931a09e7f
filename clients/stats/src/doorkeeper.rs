//! Keys of subscribers, where circusd has keys: circusd hands over where they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use circus_client::KeyNames;
use circus_core::access::{KeyRing, PublicKey};
use circus_core::base::{Mono, Throttle};
use circus_net::{Context, Judge, Peer, Publisher, SecretKey, Zap};
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
    keys: Keys,
    ring: Arc<KeyRing>,
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

    /// Begins to let subscribers in.
    pub(super) fn open(context: &Context, keys: Keys) -> Result<Self, String> {
        let ring = read(&keys.authorized)?;
        let zap = Zap::new(context).map_err(|error| error.to_string())?;
        Ok(Self {
            zap,
            keys,
            ring: Arc::new(ring),
            read_at: Duration::ZERO,
            failure: None,
            refused: 0,
            refused_log: Throttle::default(),
            failure_log: Throttle::default(),
        })
    }

    /// The secret key of the endpoint.
    pub(super) fn key(&self) -> &SecretKey {
        &self.keys.secret
    }

    /// Has the publisher's subscriptions judged by the keys that there are now.
    pub(super) fn judge(&mut self, publisher: &mut Publisher) {
        let ring = Arc::clone(&self.ring);
        let judge = move |peer: &Peer, prefix: &[u8]| {
            let grant = peer.key.as_deref().and_then(PublicKey::parse).and_then(|key| ring.find(&key));
            grant.is_some_and(|grant| grant.watchers.covers(prefix))
        };
        publisher.judge_by(Some(Box::new(judge) as Judge));
    }

    /// Answers clients that want to connect, and looks after those that have. Whether more wait.
    pub(super) fn answer(&mut self, publisher: &mut Publisher, now: Duration) -> bool {
        let asked = self.zap.ready();
        if (asked || publisher.subscription_count() > 0) && now.saturating_sub(self.read_at) >= AGAIN {
            self.read_at = now;
            match read(&self.keys.authorized) {
                Ok(ring) if ring != *self.ring => {
                    self.ring = Arc::new(ring);
                    self.judge(publisher);
                }
                Ok(_) => self.failure = None,
                // Those that there were go on to count, as with circusd.
                Err(reason) => self.failure = Some(reason),
            }
        }
        let (ring, refused) = (&self.ring, &mut self.refused);
        self.zap.answer(|candidate| {
            let grant = ring.find(&candidate.key);
            *refused += u64::from(grant.is_none());
            grant.map(|grant| grant.name.clone())
        })
    }

    /// Logs what went wrong, at most every few seconds.
    pub(super) fn tell(&mut self, now: Mono, log: &Log) {
        if let Some(count) = self.refused_log.count(std::mem::take(&mut self.refused), now) {
            log.warning(&format!("refused {count} clients or subscriptions whose keys are not authorized for them"));
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
