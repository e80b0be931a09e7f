//! CURVE: the keys of a socket. Endpoints of tcp have them.

use zmq::CurveKeyPair;

use super::NetError;

/// A secret key. It is not shown, and it is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Vec<u8>);

impl SecretKey {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// From Z85.
    pub fn parse(text: &str) -> Option<Self> {
        zmq::z85_decode(text).ok().filter(|bytes| bytes.len() == 32).map(Self)
    }

    /// As files have it, in Z85.
    pub fn to_z85(&self) -> String {
        zmq::z85_encode(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}

/// A new pair of keys, the public one in Z85.
pub fn generate() -> Result<(String, SecretKey), NetError> {
    let mut pair = CurveKeyPair::new().map_err(NetError::socket("making keys"))?;
    let public = zmq::z85_encode(&pair.public_key).unwrap_or_default();
    let secret = SecretKey(pair.secret_key.to_vec());
    pair.secret_key.fill(0);
    std::hint::black_box(&pair);
    Ok((public, secret))
}

/// The keys of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKeys {
    /// The server's public key, in Z85.
    pub server: String,
    /// Its own public key, in Z85.
    pub public: String,
    /// Its own secret key.
    pub secret: SecretKey,
}

impl ClientKeys {
    pub(super) fn apply(&self, socket: &zmq::Socket) -> Result<(), NetError> {
        let decoded = |text: &str| zmq::z85_decode(text).unwrap_or_default();
        socket
            .set_curve_serverkey(&decoded(&self.server))
            .and_then(|()| socket.set_curve_publickey(&decoded(&self.public)))
            .and_then(|()| socket.set_curve_secretkey(&self.secret.0))
            .map_err(NetError::socket("setting keys"))
    }
}
