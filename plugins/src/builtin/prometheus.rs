//! Serves OpenMetrics over HTTP, for Prometheus and the like: `GET /metrics`.
//!
//! What is asked for at each visit: the state of watchers and sockets from circusd, the figures of processes from the
//! kernel. What has to be seen as it happens is counted from the events, since the plugin began.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use circus_core::proto::{Object, resource_name};
use circus_plugin_sdk::{Client, Event, Plugin, Refusal, Settings};
use serde_json::Value;
use socket2::{Socket, Type};

use self::page::{CONTENT_TYPE, render};
use self::snapshot::Snapshot;
use self::tally::Tallies;
use self::usage::ProcessCache;
use crate::builtin::{Registration, boxed};
use crate::support::http_server::HttpServer;

pub(super) const PLUGIN: Registration =
    Registration { name: "prometheus", make: |context| boxed(Prometheus::new(&context.settings)) };

mod page;
mod queues;
mod snapshot;
mod tally;
mod usage;

/// The plugin.
#[derive(Debug)]
struct Prometheus {
    place: Place,
    /// Since `start`.
    http_server: Option<HttpServer>,
    tallies: Tallies,
    process_cache: ProcessCache,
}

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// At a socket of circusd, which is our standard input.
    Handed(String),
    /// At one of our own.
    Own(SocketAddr),
}

impl Prometheus {
    fn new(settings: &Settings) -> Result<Self, String> {
        let place = match settings.text("socket") {
            Some(name) => Place::Handed(name.to_owned()),
            None => Place::Own(address(settings.needed("listen")?.trim())?),
        };
        Ok(Self { place, http_server: None, tallies: Tallies::default(), process_cache: ProcessCache::default() })
    }

    /// Everything at this moment.
    fn snapshot(&mut self, client: &mut dyn Client) -> Result<Snapshot, Refusal> {
        let verbose = Object::from_iter([("verbose".to_owned(), Value::Bool(true))]);
        let status = client.call("status", verbose)?;
        let mut watchers = snapshot::watchers(&status)
            .ok_or_else(|| Refusal { errno: None, reason: "status --verbose has no details".into() })?;
        self.process_cache.look(&mut watchers);
        for watcher in &mut watchers {
            watcher.tally = self.tallies.of(&resource_name(&watcher.name), watcher.is_complete());
        }
        // Without these the page is shorter.
        let mut sockets =
            client.call("listsockets", Object::new()).map_or_else(|_| Vec::new(), |a| snapshot::sockets(&a));
        let daemon = client.call("dstats", Object::new()).ok().and_then(|answer| snapshot::daemon(&answer));
        if let Some(pid) = daemon {
            queues::look(pid, &mut sockets);
        }
        Ok(Snapshot { watchers, sockets, daemon: daemon.and_then(|pid| self.process_cache.alone(pid)) })
    }

    fn turn(&mut self, client: &mut dyn Client) {
        if !self.http_server.as_mut().is_some_and(|http_server| http_server.turn(client.now())) {
            return;
        }
        let page = self.snapshot(client).map(|snapshot| render(&snapshot));
        let page = page.map_err(|refusal| format!("circusd does not answer: {refusal}"));
        if let Some(http_server) = &mut self.http_server {
            http_server.answer(page.as_deref().map_err(String::as_str), CONTENT_TYPE);
        }
    }
}

impl Plugin for Prometheus {
    fn start(&mut self, client: &mut dyn Client) -> Result<(), String> {
        let (listener, said) = match &self.place {
            Place::Handed(name) => (handed(name)?, format!("at the socket {name}")),
            Place::Own(address) => {
                let listener = TcpListener::bind(address).map_err(|error| format!("listen: {address}: {error}"))?;
                let address = listener.local_addr().unwrap_or(*address);
                if !is_loopback(address.ip()) {
                    client.warn(&format!(
                        "every client that reaches {address} can read the metrics: restrict access to it"
                    ));
                }
                (listener.into(), format!("at http://{address}/metrics"))
            }
        };
        self.http_server = Some(HttpServer::new(listener).map_err(|error| format!("{said}: {error}"))?);
        client.info(&format!("the metrics are {said}"));
        Ok(())
    }

    fn on_event(&mut self, event: &Event, _client: &mut dyn Client) {
        self.tallies.on_event(event);
    }

    fn next_tick(&self) -> Option<Duration> {
        self.http_server.as_ref().and_then(HttpServer::next)
    }

    fn on_tick(&mut self, client: &mut dyn Client) {
        self.turn(client);
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        self.http_server.as_ref().map(HttpServer::source)
    }

    fn on_readable(&mut self, client: &mut dyn Client) {
        self.turn(client);
    }
}

/// The socket that circusd has given us.
fn handed(name: &str) -> Result<Socket, String> {
    let input = std::io::stdin().as_fd().try_clone_to_owned();
    let socket = Socket::from(input.map_err(|error| format!("socket: {name}: {error}"))?);
    let listens = socket.r#type().is_ok_and(|kind| kind == Type::STREAM) && socket.is_listener().unwrap_or(false);
    let text = || format!("socket: {name}: circusd gave us no socket that accepts connections");
    listens.then_some(socket).ok_or_else(text)
}

/// An address of `listen`. A port alone is one of this machine's; every address has to be asked for by name.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    if text.starts_with("*:") {
        return Err(format!("listen: '{text}': write 0.0.0.0 or [::] to listen on all addresses"));
    }
    let mut found = text.to_socket_addrs().map_err(|error| format!("listen: '{text}' is not ADDRESS:PORT: {error}"))?;
    found.next().ok_or_else(|| format!("listen: '{text}' has no address"))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use circus_core::config::Builtin;
    use circus_plugin_sdk::FakeClient;
    use serde_json::json;

    use super::*;

    fn plugin(settings: &[(&str, &str)]) -> Result<Prometheus, String> {
        let settings = Settings::new(settings.iter().copied());
        Prometheus::new(&settings.with_defaults_of(Builtin::find("prometheus").unwrap()))
    }

    #[test]
    fn strangers_have_to_be_named() {
        let place = |listen| plugin(&[("listen", listen)]).map(|plugin| plugin.place);
        for own in ["9100", ":9100", "127.0.0.1:9100"] {
            assert_eq!(place(own), Ok(Place::Own("127.0.0.1:9100".parse().unwrap())), "{own}");
        }
        assert_eq!(place("0.0.0.0:1"), Ok(Place::Own("0.0.0.0:1".parse().unwrap())));
        assert!(matches!(plugin(&[]).unwrap().place, Place::Own(address) if address.ip().is_loopback()));
        assert!(place("*:9100").unwrap_err().contains("0.0.0.0"));
        assert!(place("nonsense").unwrap_err().starts_with("listen: 'nonsense' is not ADDRESS:PORT"));
        assert_eq!(plugin(&[("socket", "web")]).unwrap().place, Place::Handed("web".into()));
    }

    /// What a visitor gets.
    fn visit(plugin: &mut Prometheus, client: &mut FakeClient) -> String {
        let said = client.take_said().join("\n");
        let address = said.split("http://").nth(1).unwrap().strip_suffix("/metrics").unwrap();
        let mut visitor = TcpStream::connect(address).unwrap();
        visitor.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        visitor.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        // The runner calls at once after the start, as it does here; over loopback what was sent is there.
        plugin.on_tick(client);
        let mut text = String::new();
        visitor.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn events_and_answers_become_a_page() {
        let mut plugin = plugin(&[("listen", "0")]).unwrap();
        let mut client = FakeClient::default();
        client.answer("status", json!({"status": "ok", "details": {"My Web": {"state": "active", "restarts": 2}}}));
        plugin.start(&mut client).unwrap();
        let event = client.event("my_web", "reap", json!({"process_pid": 7, "exit_code": 3}));
        plugin.on_event(&event, &mut client);
        let text = visit(&mut plugin, &mut client);
        assert!(text.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
        assert!(text.contains("\ncircus_watcher_exits_total{watcher=\"My Web\",code=\"3\"} 1\n"), "{text}");
        assert!(text.contains("\ncircus_watcher_restarts_total{watcher=\"My Web\"} 2\n"), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }

    #[test]
    fn without_circusd_there_is_a_reason() {
        let mut plugin = plugin(&[("listen", "0")]).unwrap();
        let mut client = FakeClient::default();
        plugin.start(&mut client).unwrap();
        let text = visit(&mut plugin, &mut client);
        assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("circusd does not answer: "), "{text}");
    }
}
