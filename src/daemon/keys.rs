//! Keys of CURVE, where `[circus]` has them: circusd's own, those of its clients, and that of its own programs.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

use circus_core::access::{KeyRing, PublicKey};
use serde::{Deserialize, Serialize};

use crate::config::{CircusConfig, STATS_WATCHER, WatcherConfig, WatcherOrigin};
use crate::net::{SecretKey, generate};
use crate::sys;

/// The variable by which circusd's own programs find their keys.
const VARIABLE: &str = "CIRCUS_CURVE_FD";

/// The keys, and what goes with them.
#[derive(Debug)]
pub(super) struct Keys {
    server: SecretKey,
    /// Its public half.
    server_public: PublicKey,
    own_public: PublicKey,
    own_secret: SecretKey,
    ring: Arc<KeyRing>,
    /// What circusd-stats inherits, and what plugins do.
    for_stats: File,
    for_plugins: File,
}

/// Keys for the next program of this process, which reads the files again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedKeys {
    server: String,
    server_public: String,
    own_public: String,
    own_secret: String,
}

/// The authorized keys of a configuration, as they are now.
pub(super) fn read_ring(circus: &CircusConfig) -> Result<KeyRing, Vec<String>> {
    match circus.curve_authorized_keys.as_deref() {
        Some(path) => sys::read_key_ring(Path::new(path))
            .map_err(|errors| errors.iter().map(|error| format!("curve_authorized_keys: {error}")).collect()),
        None => Ok(KeyRing::default()),
    }
}

fn read_server_key(path: &str) -> Result<(SecretKey, PublicKey), String> {
    let certificate = sys::read_secret_key(Path::new(path))?;
    let secret = certificate.secret.as_deref().and_then(SecretKey::parse);
    let secret = secret.ok_or_else(|| format!("{path}: it has no secret-key of 40 characters"))?;
    let public = certificate.public.as_deref().and_then(PublicKey::parse);
    let public = public.ok_or_else(|| format!("{path}: it has no public-key of 40 characters"))?;
    Ok((secret, public))
}

/// The first reason why the keys of a configuration cannot be used.
pub(super) fn check(circus: &CircusConfig) -> Result<(), String> {
    let Some(path) = circus.curve_server_key.as_deref() else { return Ok(()) };
    read_server_key(path).map_err(|reason| format!("curve_server_key: {reason}"))?;
    read_ring(circus).map(drop).map_err(|errors| errors.join("; "))
}

impl Keys {
    /// The keys of a configuration, where it has some.
    pub(super) fn load(circus: &CircusConfig) -> Result<Option<Self>, String> {
        let Some(path) = circus.curve_server_key.as_deref() else { return Ok(None) };
        let server = read_server_key(path).map_err(|reason| format!("curve_server_key: {reason}"))?;
        let ring = read_ring(circus).map_err(|errors| errors.join("; "))?;
        let (public, secret) = generate().map_err(|error| error.to_string())?;
        let public = PublicKey::parse(&public).ok_or("a new key is none")?;
        Self::new(circus, server, (public, secret), ring).map(Some)
    }

    fn new(
        circus: &CircusConfig,
        (server, server_public): (SecretKey, PublicKey),
        (own_public, own_secret): (PublicKey, SecretKey),
        mut ring: KeyRing,
    ) -> Result<Self, String> {
        ring.admit_own(own_public);
        let authorized = circus.curve_authorized_keys.as_deref().unwrap_or_default();
        let text = format!("{server_public} {own_public} {}\n", own_secret.to_z85());
        let sealed = |text: &str| sys::sealed(text.as_bytes()).map_err(|error| format!("a file in memory: {error}"));
        Ok(Self {
            for_stats: sealed(&format!("{text}{}\n{authorized}\n", server.to_z85()))?,
            for_plugins: sealed(&text)?,
            server,
            server_public,
            own_public,
            own_secret,
            ring: Arc::new(ring),
        })
    }

    pub(super) fn save(&self) -> SavedKeys {
        SavedKeys {
            server: self.server.to_z85(),
            server_public: self.server_public.to_string(),
            own_public: self.own_public.to_string(),
            own_secret: self.own_secret.to_z85(),
        }
    }

    /// Goes on with keys: the files are read again. Where that fails, the second is why, and only circusd's own programs
    /// get in until `reloadconfig` can read them.
    pub(super) fn restore(circus: &CircusConfig, saved: &SavedKeys) -> Result<(Self, Option<String>), String> {
        let none = || "the state has no keys".to_owned();
        let secret = |text: &str| SecretKey::parse(text).ok_or_else(none);
        let public = |text: &str| PublicKey::parse(text).ok_or_else(none);
        let own = (public(&saved.own_public)?, secret(&saved.own_secret)?);
        let file = circus.curve_server_key.as_deref().ok_or_else(none).and_then(read_server_key);
        let (server, mut failure) = match file {
            Ok(server) => (server, None),
            Err(reason) => ((secret(&saved.server)?, public(&saved.server_public)?), Some(reason)),
        };
        let ring = read_ring(circus).unwrap_or_else(|errors| {
            failure = Some(errors.join("; "));
            KeyRing::default()
        });
        Ok((Self::new(circus, server, own, ring)?, failure))
    }

    /// The secret key of the endpoints.
    pub(super) fn server(&self) -> &SecretKey {
        &self.server
    }

    /// The keys of clients.
    pub(super) fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Other keys of clients count from now on.
    pub(super) fn replace_ring(&mut self, mut ring: KeyRing) {
        ring.admit_own(self.own_public);
        self.ring = Arc::new(ring);
    }

    /// What a program of circusd's own inherits: the descriptor, at its number.
    pub(super) fn passed_to(&self, config: &WatcherConfig) -> Option<(RawFd, BorrowedFd<'_>)> {
        let file = match config.origin {
            WatcherOrigin::User => return None,
            // It publishes with circusd's own key; the console is a client.
            WatcherOrigin::Internal if config.name == STATS_WATCHER => &self.for_stats,
            WatcherOrigin::Internal | WatcherOrigin::Plugin => &self.for_plugins,
        };
        Some((file.as_raw_fd(), file.as_fd()))
    }
}

/// Tells a program where its keys are.
pub(super) fn tell(number: RawFd, env: &mut Vec<(String, String)>) {
    env.retain(|(name, _)| name != VARIABLE);
    env.push((VARIABLE.to_owned(), number.to_string()));
}
