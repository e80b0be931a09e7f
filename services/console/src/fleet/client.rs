//! Requests to a branch of Cyme, each over a connection of its own: they are few, and a stream lasts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::core::fleet::{Call, Message, Messages, denied};

/// So long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// A branch says within this time that a stream stands, or why it does not: it may wait for the first event, and for
/// another branch.
const OPEN: Duration = Duration::from_secs(90);
/// A stream says something at least every 15 seconds. One that is silent for so long has ended unheard.
const SILENT: Duration = Duration::from_secs(60);
/// The longest answer, in bytes.
const LONGEST: usize = 1 << 26;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// None in time; the branch may work on it.
    Late,
    /// The branch cannot be reached, or has broken off.
    Lost(String),
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Late => "the branch does not answer in time".into(),
            Failure::Lost(reason) => reason,
        }
    }
}

/// Where a branch listens.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    secure: bool,
    host: String,
    port: u16,
    /// The path of a proxy before it; empty, or `/cyme`.
    prefix: String,
}

impl Address {
    /// Reads a URL: http or https, a host, perhaps a port and a path.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("a URL begins with http:// or https://".into()),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err("it has more than a host, a port and a path".into());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    /// The host and the port, as a Host header has them.
    pub fn place(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether what is sent there can be read on its way.
    pub fn is_open(&self) -> bool {
        !self.secure && !circus_web::is_local(&self.place())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(to, "{scheme}://{}{}/", self.place(), self.prefix)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

/// A branch, for requests.
pub struct Client {
    address: Address,
    token: Option<String>,
    tls: Option<TlsConnector>,
}

impl Client {
    /// A client with this token. Over TLS, the authorities count that the machine trusts, or those of SSL_CERT_FILE.
    ///
    /// # Errors
    /// Where TLS cannot be had, or the token does not fit into a header.
    pub fn new(address: Address, token: Option<String>) -> Result<Self, String> {
        if token.as_ref().is_some_and(|token| header::HeaderValue::from_str(token).is_err()) {
            return Err("the token has characters that no header can have".into());
        }
        let tls = address.secure.then(trusting).transpose()?;
        Ok(Self { address, token, tls })
    }

    /// What it shows to the branch.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The status and the body of an answer, which comes within `patience`.
    ///
    /// # Errors
    /// Where none comes.
    pub async fn ask(&self, call: &Call, patience: Duration) -> Result<(u16, Value), Failure> {
        let answer = async {
            let (connection, status, body) = self.send(call, "application/json").await?;
            let body = Limited::new(body, LONGEST).collect().await.map_err(|error| Failure::Lost(error.to_string()))?;
            drop(connection);
            // An answer without a body, or one for people, has a status.
            Ok((status, serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null)))
        };
        timeout(patience, answer).await.unwrap_or(Err(Failure::Late))
    }

    /// Server-sent events.
    ///
    /// # Errors
    /// Where the branch refuses, or is not there.
    pub async fn listen(&self, call: &Call) -> Result<Listening, String> {
        let opened = timeout(OPEN, self.send(call, "text/event-stream")).await.unwrap_or(Err(Failure::Late));
        let (connection, status, body) = opened?;
        if status != 200 {
            return Err(denied(status, None));
        }
        Ok(Listening { _connection: connection, body, messages: Messages::default() })
    }

    async fn send(&self, call: &Call, accept: &'static str) -> Result<(Connection, u16, Incoming), Failure> {
        let lost = |error: &dyn fmt::Display| {
            Failure::Lost(format!("the branch at {} cannot be reached: {error}", self.address))
        };
        let Address { host, port, prefix, .. } = &self.address;
        let connect = timeout(CONNECT, TcpStream::connect((host.as_str(), *port)));
        let stream = connect.await.map_err(|_| lost(&"it does not answer"))?.map_err(|error| lost(&error))?;
        let mut request = Request::builder().method(call.method).uri(format!("{prefix}{}", call.path));
        request = request.header(header::HOST, self.address.place()).header(header::ACCEPT, accept);
        request = request.header(header::CONNECTION, "close");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| lost(&error))?;
        let Some(tls) = &self.tls else {
            return exchange(TokioIo::new(stream), request).await.map_err(|error| lost(&error));
        };
        let name = ServerName::try_from(host.clone()).map_err(|error| lost(&error))?;
        let shaken = timeout(CONNECT, tls.connect(name, stream));
        let stream = shaken.await.map_err(|_| lost(&"it does not answer"))?.map_err(|error| lost(&error))?;
        exchange(TokioIo::new(stream), request).await.map_err(|error| lost(&error))
    }
}

fn trusting() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection, which ends with this.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange<T>(stream: T, request: Request<Empty<Bytes>>) -> Result<(Connection, u16, Incoming), hyper::Error>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    // What goes wrong with it is told by the request.
    let connection = Connection(tokio::spawn(async move { drop(connection.await) }));
    let response = sender.send_request(request).await?;
    Ok((connection, response.status().as_u16(), response.into_body()))
}

/// Events that come.
pub struct Listening {
    _connection: Connection,
    body: Incoming,
    messages: Messages,
}

impl Listening {
    /// The events that come next; none where the branch only shows that it is there.
    ///
    /// # Errors
    /// Where the stream has ended.
    pub async fn next(&mut self) -> Result<Vec<Message>, String> {
        let frame = timeout(SILENT, self.body.frame()).await.map_err(|_| "the branch is silent")?;
        let frame = frame.ok_or("the branch has ended the stream")?.map_err(|error| error.to_string())?;
        frame.data_ref().map_or(Ok(Vec::new()), |piece| self.messages.read(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_branches() {
        let shown = |text: &str| Address::read(text).map(|address| address.to_string());
        for (text, wanted) in [
            ("http://127.0.0.1:8008", "http://127.0.0.1:8008/"),
            ("http://127.0.0.1:8008/", "http://127.0.0.1:8008/"),
            ("https://cyme.example", "https://cyme.example:443/"),
            ("http://[::1]:8008/cyme/", "http://[::1]:8008/cyme/"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(wanted));
        }
        for wrong in ["127.0.0.1:8008", "/x", "ftp://h/", "http://u:p@h/", "http://h/?a=b", "http:///", ""] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
        let open = |text: &str| Address::read(text).unwrap().is_open();
        assert!(open("http://10.0.0.1:8000") && !open("http://[::1]:8000") && !open("https://10.0.0.1:8000"));
    }

    #[tokio::test]
    async fn a_branch_that_is_not_there_is_named() {
        let client = Client::new(Address::read("http://127.0.0.1:1").unwrap(), None).unwrap();
        let call = Call { method: "GET", path: "/machines/".into() };
        let failure = client.ask(&call, Duration::from_secs(60)).await.unwrap_err();
        assert!(String::from(failure).starts_with("the branch at http://127.0.0.1:1/ cannot be reached: "));
        assert!(client.listen(&call).await.is_err());
        assert!(Client::new(Address::read("http://h").unwrap(), Some("a\nb".into())).is_err());
    }
}
