//! The user that requests at the control endpoint act for.

use crate::arbiter::{Principal, User};
use crate::config::CircusConfig;
use crate::proto::SpawnError;
use crate::sys;

/// The peers of an ipc endpoint that belongs to a user act for that user; all others are taken for circusd's own.
pub(super) fn peers(circus: &CircusConfig) -> Result<Principal, SpawnError> {
    let ipc = circus.endpoint.starts_with("ipc://");
    let Some(owner) = circus.endpoint_owner.as_deref().filter(|_| ipc) else { return Ok(Principal::Daemon) };
    let identity = sys::identity(owner)?;
    let is_daemon = identity.uid == nix::unistd::geteuid().as_raw();
    let sys::Identity { uid, name, groups } = identity;
    Ok(Principal::User(User { is_daemon, uid, name: Some(name), groups }))
}
