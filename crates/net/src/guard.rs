//! What a listening socket asks of its clients before it lets them in. The context's [`Zap`](super::Zap) handler decides.

use std::time::Duration;

use super::NetError;
use super::curve::SecretKey;
use super::option::{IntOption, set_option};

/// The domain of ZAP that endpoints with keys name. libzmq refuses every client while no handler is there.
pub(super) const KEYS: &str = "circus";
/// The same of endpoints that ask for the user.
pub(super) const USERS: &str = "circus-users";

/// A client that has not said hello for so long is disconnected.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How clients are told apart.
#[derive(Clone, Copy, Debug)]
pub enum Guard<'k> {
    /// By their keys: CURVE, with this key of the server's.
    Keys(&'k SecretKey),
    /// By the users of their processes, as the kernel tells them. Only for ipc: over tcp it lets in none.
    Users,
}

impl Guard<'_> {
    /// Guards a socket that is about to listen.
    pub(super) fn apply(self, socket: &mut zmq::Socket) -> Result<(), NetError> {
        let options = |socket: &zmq::Socket| {
            match self {
                Self::Keys(key) => {
                    socket.set_curve_server(true)?;
                    socket.set_curve_secretkey(key.bytes())?;
                    socket.set_zap_domain(KEYS)?;
                }
                // With a domain, libzmq asks about clients without keys, too, and refuses ZMTP before version 3.
                Self::Users => socket.set_zap_domain(USERS)?,
            }
            socket.set_handshake_ivl(HANDSHAKE.as_millis() as i32)
        };
        options(socket).map_err(NetError::socket("guarding it"))?;
        set_option(socket, IntOption::ZapEnforceDomain, 1).map_err(NetError::socket("guarding it"))
    }

    /// A client's part of the handshake: READY, or HELLO and INITIATE.
    pub(super) fn handshake(self) -> zmq_sys::Handshake {
        let frames = match self {
            Self::Keys(_) => 2,
            Self::Users => 1,
        };
        zmq_sys::Handshake { frames, limit: HANDSHAKE }
    }
}
