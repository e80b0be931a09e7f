//! URLs of brokers.

use std::fmt;

use serde_json::{Value, json};

/// The parts of a broker's URL, as `broker_info` shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// `redis`, `amqp`, ...
    pub scheme: String,
    /// The user; empty without.
    pub userid: String,
    /// The password; empty without.
    pub password: String,
    /// The host; of a unix socket its path.
    pub hostname: String,
    /// The port; that of the scheme without.
    pub port: u16,
    /// What stands after the host: the virtual host, or the number of the database.
    pub virtual_host: String,
}

/// The largest part of a message over AMQP, in bytes: lapin has buffers for 32 of them, in both directions.
const FRAME: u32 = 16_384;
/// The schemes that are known, with their ports.
const SCHEMES: &[(&str, u16)] =
    &[("amqp", 5672), ("amqps", 5671), ("pyamqp", 5672), ("redis", 6379), ("rediss", 6379), (SOCKET, 0), ("memory", 0)];
/// A Redis at a unix socket, as kombu writes it: `redis+socket://[USER[:PASSWORD]@]/PATH[?virtual_host=N]`.
const SOCKET: &str = "redis+socket";

impl BrokerUrl {
    /// The parts of a URL, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("'{text}' is not a URL"))?;
        let default = SCHEMES.iter().find(|(name, _)| *name == scheme).map(|(_, port)| *port);
        let default = default.ok_or_else(|| format!("'{scheme}' is not a scheme of a broker"))?;
        if scheme == SOCKET {
            return Self::of_socket(rest);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (userid, password) = user.split_once(':').unwrap_or((user, ""));
        let (hostname, port) = host_and_port(place)?;
        let virtual_host = match (scheme.starts_with("redis"), path) {
            (true, "") => "0".into(),
            (false, "") => "/".into(),
            (_, path) => path.to_owned(),
        };
        Ok(Self {
            scheme: scheme.to_owned(),
            userid: decoded(userid),
            password: decoded(password),
            hostname,
            port: port.unwrap_or(default),
            virtual_host,
        })
    }

    fn of_socket(rest: &str) -> Result<Self, String> {
        let (user, place) =
            rest.split_once("@/").map_or(("", rest.to_owned()), |(user, path)| (user, format!("/{path}")));
        let (path, query) = place.split_once('?').unwrap_or((&place, ""));
        if path.is_empty() {
            return Err(format!("'{SOCKET}://{rest}' names no socket"));
        }
        let (userid, password) = user.split_once(':').unwrap_or((user, ""));
        let database = query.split('&').find_map(|pair| pair.strip_prefix("virtual_host=")).unwrap_or("0");
        Ok(Self {
            scheme: SOCKET.to_owned(),
            userid: decoded(userid),
            password: decoded(password),
            hostname: decoded(path),
            port: 0,
            virtual_host: database.trim_start_matches('/').to_owned(),
        })
    }

    /// The parts as a JSON object.
    pub fn info(&self) -> Value {
        json!({"hostname": self.hostname, "port": self.port, "userid": self.userid, "password": self.password,
               "virtual_host": self.virtual_host, "transport": self.scheme})
    }

    /// As RabbitMQ's clients write it, with the time in seconds between two signs of life, and that for connecting.
    pub fn amqp(&self, heartbeat: u16, connect: std::time::Duration) -> String {
        let scheme = if self.scheme == "amqps" { "amqps" } else { "amqp" };
        let text = |text: &str, default: &str| encoded(if text.is_empty() { default } else { text });
        let (user, password) = (text(&self.userid, "guest"), text(&self.password, "guest"));
        let host = if self.hostname.contains(':') { format!("[{}]", self.hostname) } else { self.hostname.clone() };
        let place = encoded(&decoded(self.virtual_host.split('?').next().unwrap_or("/")));
        let connect = connect.as_millis();
        format!(
            "{scheme}://{user}:{password}@{host}:{}/{place}?heartbeat={heartbeat}&connection_timeout={connect}&frame_max={FRAME}",
            self.port
        )
    }

    /// As clients of Redis write it.
    pub fn redis(&self) -> String {
        if self.scheme != SOCKET {
            return self.to_string();
        }
        let path: Vec<String> = self.hostname.split('/').map(encoded).collect();
        let mut url = format!("unix://{}?db={}", path.join("/"), self.database());
        for (name, value) in [("user", &self.userid), ("pass", &self.password)] {
            if !value.is_empty() {
                url.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        url
    }

    /// Whether it is a Redis's.
    pub fn is_redis(&self) -> bool {
        matches!(self.scheme.as_str(), "redis" | "rediss" | SOCKET)
    }

    /// Whether it is RabbitMQ's.
    pub fn is_amqp(&self) -> bool {
        matches!(self.scheme.as_str(), "amqp" | "amqps" | "pyamqp")
    }

    /// The number of the database of a Redis URL.
    pub fn database(&self) -> u32 {
        self.virtual_host.parse().unwrap_or(0)
    }
}

fn host_and_port(place: &str) -> Result<(String, Option<u16>), String> {
    if place.is_empty() {
        return Ok(("localhost".into(), None));
    }
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| format!("'{place}' is not a host"))?;
        return Ok((host.into(), rest.strip_prefix(':').map(port).transpose()?));
    }
    match place.split_once(':') {
        Some((host, number)) => Ok((host.into(), Some(port(number)?))),
        None => Ok((place.into(), None)),
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("'{text}' is not a port"))
}

/// A text with its `%xx` replaced; bytes that are not UTF-8 become replacement characters.
pub fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text as it can stand in a URL: every byte that has a meaning there becomes `%xx`.
pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if !self.userid.is_empty() || !self.password.is_empty() {
            write!(f, "{}:{}@", encoded(&self.userid), encoded(&self.password))?;
        }
        if self.scheme == SOCKET {
            return write!(f, "{}?virtual_host={}", self.hostname, self.virtual_host);
        }
        match self.hostname.contains(':') {
            true => write!(f, "[{}]:{}/{}", self.hostname, self.port, self.virtual_host),
            false => write!(f, "{}:{}/{}", self.hostname, self.port, self.virtual_host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let url = BrokerUrl::parse("amqp://guest:g%40st@localhost:5673//").unwrap();
        assert_eq!((url.hostname.as_str(), url.port, url.virtual_host.as_str()), ("localhost", 5673, "/"));
        assert_eq!((url.userid.as_str(), url.password.as_str()), ("guest", "g@st"));
        assert_eq!(url.to_string(), "amqp://guest:g%40st@localhost:5673//");
        let url = BrokerUrl::parse("redis://127.0.0.1/3").unwrap();
        assert_eq!((url.port, url.database()), (6379, 3));
        assert_eq!(BrokerUrl::parse("redis://h").unwrap().virtual_host, "0");
        assert_eq!(BrokerUrl::parse("redis://[::1]:7/2").unwrap().to_string(), "redis://[::1]:7/2");
    }

    #[test]
    fn as_clients_of_rabbitmq_write_it() {
        let amqp = |text: &str| BrokerUrl::parse(text).unwrap().amqp(5, std::time::Duration::from_secs(2));
        let end = "?heartbeat=5&connection_timeout=2000&frame_max=16384";
        assert_eq!(amqp("amqp://h"), format!("amqp://guest:guest@h:5672/%2F{end}"));
        assert_eq!(amqp("pyamqp://me:p%40ss@h:1//"), format!("amqp://me:p%40ss@h:1/%2F{end}"));
        assert_eq!(amqp("amqps://h/a%2Fb?x=y"), format!("amqps://guest:guest@h:5671/a%2Fb{end}"));
    }

    #[test]
    fn a_redis_at_a_unix_socket() {
        let url = BrokerUrl::parse("redis+socket:///srv/a b/redis.sock").unwrap();
        assert_eq!((url.hostname.as_str(), url.database()), ("/srv/a b/redis.sock", 0));
        assert_eq!(url.redis(), "unix:///srv/a%20b/redis.sock?db=0");
        let url = BrokerUrl::parse("redis+socket://:p%40ss@/run/redis.sock?virtual_host=3").unwrap();
        assert_eq!((url.password.as_str(), url.database()), ("p@ss", 3));
        assert_eq!(url.redis(), "unix:///run/redis.sock?db=3&pass=p%40ss");
        assert_eq!(url.to_string(), "redis+socket://:p%40ss@/run/redis.sock?virtual_host=3");
        assert_eq!(BrokerUrl::parse("redis://h:7/2").unwrap().redis(), "redis://h:7/2");
        assert!(BrokerUrl::parse("redis+socket://").is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("localhost", "'localhost' is not a URL"),
            ("http://x", "'http' is not a scheme of a broker"),
            ("redis://x:y", "'y' is not a port"),
            ("redis://[::1", "'[::1' is not a host"),
        ] {
            assert_eq!(BrokerUrl::parse(text).unwrap_err(), reason);
        }
    }

    #[test]
    fn percent_signs() {
        assert_eq!(decoded("a%20b%zz%4"), "a b%zz%4");
        assert_eq!(encoded("a b/é"), "a%20b%2F%C3%A9");
    }
}
