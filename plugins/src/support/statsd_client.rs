//! Figures for a statsd server: UDP, a line each.

use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};

use circus_plugin_sdk::Settings;

/// A statsd server and the first words of every name.
#[derive(Debug)]
pub(crate) struct StatsdClient {
    socket: UdpSocket,
    prefix: String,
    /// What is added to each line; empty for a rate of 1.
    rate: String,
}

impl StatsdClient {
    /// The server that a section names.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let (host, port) = (settings.needed("host")?, settings.needed_number::<u16>("port")?);
        let rate: f64 = settings.needed_number("sample_rate")?;
        let app = settings.needed("application_name")?;
        let socket = connect(host, port)?;
        let rate = if (rate - 1.0).abs() < f64::EPSILON { String::new() } else { format!("|@{rate}") };
        Ok(Self { socket, prefix: format!("circus.{}.watcher", clean(app)), rate })
    }

    /// Counts one.
    pub(crate) fn increment(&self, bucket: &str) {
        self.send(bucket, "1|c");
    }

    /// Sends a gauge.
    pub(crate) fn gauge(&self, bucket: &str, value: f64) {
        self.send(bucket, &format!("{value}|g"));
    }

    /// Sends a timing.
    pub(crate) fn timed(&self, bucket: &str, milliseconds: u128) {
        self.send(bucket, &format!("{milliseconds}|ms"));
    }

    fn send(&self, bucket: &str, value: &str) {
        let line = format!("{}.{}:{value}{}", self.prefix, clean(bucket), self.rate);
        // Statistics are sent without knowing whether a server listens.
        drop(self.socket.send(line.as_bytes()));
    }
}

fn connect(host: &str, port: u16) -> Result<UdpSocket, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("host: statsd at {host}:{port} cannot be sent to: {error}");
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|error| cannot(&error))?.collect();
    // As in the original, which knew no other; `localhost` is often both, and statsd mostly listens here.
    let address = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
    let Some(address) = address else { return Err(cannot(&"it has no address")) };
    let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own).map_err(|error| cannot(&error))?;
    socket.connect(address).map_err(|error| cannot(&error))?;
    socket.set_nonblocking(true).map_err(|error| cannot(&error))?;
    Ok(socket)
}

/// A name that cannot be taken for the end of the name.
fn clean(bucket: &str) -> String {
    bucket.chars().map(|c| if matches!(c, ':' | '|' | '@' | '#') || c.is_whitespace() { '_' } else { c }).collect()
}

/// A statsd server for tests.
#[cfg(test)]
pub(crate) struct Listener(UdpSocket);

#[cfg(test)]
impl Listener {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// What has come: over loopback it is there when it was sent.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut buffer = [0; 1500];
        let mut next =
            || self.0.recv(&mut buffer).ok().map(|length| String::from_utf8(buffer[..length].to_vec()).unwrap());
        std::iter::from_fn(&mut next).collect()
    }

    /// These settings of a plugin, and this server.
    pub(crate) fn settings(&self, plugin: &str, more: &[(&str, &str)]) -> Settings {
        let port = self.0.local_addr().unwrap().port().to_string();
        let all = more.iter().copied().chain([("port", port.as_str())]);
        Settings::new(all).with_defaults_of(circus_core::config::Builtin::find(plugin).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_statsd() {
        let listener = Listener::new();
        let client = StatsdClient::new(&listener.settings("statsd", &[])).unwrap();
        client.increment("web.spawn");
        client.gauge("x", 1.5);
        client.gauge("x", 3.0);
        client.timed("my watcher:1|g", 7);
        assert_eq!(
            listener.lines(),
            [
                "circus.app.watcher.web.spawn:1|c",
                "circus.app.watcher.x:1.5|g",
                "circus.app.watcher.x:3|g",
                "circus.app.watcher.my_watcher_1_g:7|ms"
            ]
        );
        let rated = listener.settings("statsd", &[("sample_rate", "0.5"), ("application_name", "a")]);
        StatsdClient::new(&rated).unwrap().increment("y");
        assert_eq!(listener.lines(), ["circus.a.watcher.y:1|c|@0.5"]);
    }

    #[test]
    fn a_host_that_does_not_exist_is_named() {
        let settings = Listener::new().settings("statsd", &[("host", "no such host")]);
        assert!(StatsdClient::new(&settings).unwrap_err().starts_with("host: statsd at no such host:"));
    }
}
