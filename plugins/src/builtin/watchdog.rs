//! Kills processes that have stopped sending signs of life by UDP. circusd replaces them.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use circus_core::proto::Signal;
use circus_plugin_sdk::{Client, Event, Names, Plugin, Settings};
use regex::Regex;
use serde_json::json;

use crate::builtin::{Registration, boxed};
use crate::support::interval::Interval;
use crate::support::selection::{Selection, anchored, signal};

pub(super) const PLUGIN: Registration =
    Registration { name: "watchdog", make: |context| boxed(WatchDog::new(&context.settings)) };

/// Datagrams that are read before anything else is looked at.
const AT_ONCE: usize = 1000;

/// A process under observation.
#[derive(Debug)]
struct Watched {
    watcher: String,
    heard: Duration,
}

/// The plugin.
#[derive(Debug)]
struct WatchDog {
    selection: Selection,
    message: Regex,
    silence: Duration,
    address: (String, u16),
    signal: Option<Signal>,
    graceful_timeout: Option<f64>,
    socket: Option<UdpSocket>,
    processes: BTreeMap<i64, Watched>,
    names: Names,
    interval: Interval,
}

impl WatchDog {
    fn new(settings: &Settings) -> Result<Self, String> {
        let message = anchored(settings, "msg_regex")?;
        if message.capture_names().all(|name| name != Some("pid")) {
            return Err("msg_regex: has no group (?P<pid>...), which names the process".into());
        }
        let every = settings.seconds("loop_rate")?;
        Ok(Self {
            selection: Selection::new(settings)?,
            message,
            silence: every.saturating_mul(settings.needed_number("max_count")?),
            address: (settings.needed("ip")?.to_owned(), settings.needed_number("port")?),
            signal: signal(settings, "watchers_stop_signal")?,
            graceful_timeout: settings.number("watchers_graceful_timeout")?,
            socket: None,
            processes: BTreeMap::new(),
            names: Names::default(),
            interval: Interval::new(every),
        })
    }

    /// The processes that were there before us.
    fn discover(&mut self, client: &mut dyn Client) -> Result<(), String> {
        let watchers = client.watchers().map_err(|refusal| format!("the watchers cannot be read: {refusal}"))?;
        for watcher in watchers {
            if !self.selection.contains(&watcher, client) {
                continue;
            }
            // One that was removed meanwhile has none.
            for pid in client.pids(&watcher).unwrap_or_default() {
                self.watch(pid, &watcher, client);
            }
        }
        Ok(())
    }

    fn watch(&mut self, pid: i64, watcher: &str, client: &mut dyn Client) {
        self.processes.insert(pid, Watched { watcher: watcher.to_owned(), heard: client.now() });
    }

    fn heard(&mut self, datagram: &[u8], client: &mut dyn Client) {
        let text = String::from_utf8_lossy(datagram);
        let found = self.message.captures(text.trim_end());
        let pid = found.as_ref().and_then(|found| found.name("pid")).map(|pid| pid.as_str().trim());
        let Some(pid) = pid else {
            return client.log(circus_plugin_sdk::Level::Debug, &format!("not a heartbeat: {:?}", text.trim_end()));
        };
        match pid.parse().ok().and_then(|pid: i64| self.processes.get_mut(&pid)) {
            Some(process) => process.heard = client.now(),
            None => client.log(
                circus_plugin_sdk::Level::Debug,
                &format!("a heartbeat of a process that is not watched: {pid:?}"),
            ),
        }
    }

    fn kill(&mut self, pid: i64, watcher: &str, client: &mut dyn Client) {
        client.warn(&format!("{watcher}: process {pid} sends no heartbeats; it is killed"));
        let mut properties = serde_json::Map::new();
        properties.insert("name".into(), watcher.into());
        properties.insert("pid".into(), pid.into());
        properties.extend(self.signal.map(|signal| ("signum".to_owned(), json!(signal.0))));
        properties.extend(self.graceful_timeout.map(|seconds| ("graceful_timeout".to_owned(), json!(seconds))));
        client.cast("kill", properties);
    }
}

impl Plugin for WatchDog {
    fn start(&mut self, client: &mut dyn Client) -> Result<(), String> {
        let (ip, port) = (self.address.0.as_str(), self.address.1);
        let bound = UdpSocket::bind((ip, port)).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        self.socket = Some(bound.map_err(|error| format!("ip, port: cannot listen at {ip}:{port}: {error}"))?);
        client.info(&format!("listening for heartbeats at {ip}:{port} (UDP)"));
        self.interval.begin(client.now());
        self.discover(client)
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(|socket| socket.as_fd())
    }

    fn on_readable(&mut self, client: &mut dyn Client) {
        let mut buffer = [0; 1024];
        for _ in 0..AT_ONCE {
            let Some(socket) = &self.socket else { return };
            match socket.recv(&mut buffer) {
                Ok(length) => self.heard(buffer.get(..length).unwrap_or_default(), client),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn on_event(&mut self, event: &Event, client: &mut dyn Client) {
        let Some(pid) = event.pid().filter(|_| !event.is_of_a_plugin()) else { return };
        match event.kind.as_str() {
            "spawn" => {
                let name = self.names.of(&event.watcher, client);
                if self.selection.contains(&name, client) {
                    self.watch(pid, &name, client);
                }
            }
            "reap" => drop(self.processes.remove(&pid)),
            _ => {}
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        self.interval.next()
    }

    fn on_tick(&mut self, client: &mut dyn Client) {
        // Datagrams in the queue came in time.
        self.on_readable(client);
        let now = client.now();
        let silent = |process: &Watched| now.saturating_sub(process.heard) > self.silence;
        let silent: Vec<i64> =
            self.processes.iter().filter(|(_, process)| silent(process)).map(|(pid, _)| *pid).collect();
        for pid in silent {
            if let Some(process) = self.processes.remove(&pid) {
                self.kill(pid, &process.watcher, client);
            }
        }
        self.interval.pass(now);
    }
}

#[cfg(test)]
mod tests {
    use circus_core::config::Builtin;
    use circus_plugin_sdk::FakeClient;

    use super::*;

    fn made(settings: &[(&str, &str)]) -> Result<WatchDog, String> {
        let settings = settings.iter().copied().chain([("port", "0"), ("loop_rate", "1")]);
        WatchDog::new(&Settings::new(settings).with_defaults_of(Builtin::find("watchdog").unwrap()))
    }

    fn begun(settings: &[(&str, &str)]) -> (WatchDog, FakeClient) {
        let (mut plugin, mut client) = (made(settings).unwrap(), FakeClient::default());
        client.answer("status", json!({"status": "ok", "statuses": {"web": "active", "plugin:w": "active"}}));
        client.answer("list", json!({"status": "ok", "watchers": ["web", "plugin:w"]}));
        client.answer("list", json!({"status": "ok", "pids": [1, 2, 3]}));
        plugin.start(&mut client).unwrap();
        client.take_sent();
        (plugin, client)
    }

    fn seconds(plugin: &mut WatchDog, client: &mut FakeClient, count: u64) -> Vec<String> {
        client.time += Duration::from_secs(count);
        plugin.on_tick(client);
        client.take_sent()
    }

    #[test]
    fn all_silent_processes_are_killed_at_once() {
        let (mut plugin, mut client) = begun(&[("watchers_stop_signal", "QUIT"), ("watchers_graceful_timeout", "2")]);
        assert_eq!(seconds(&mut plugin, &mut client, 3), [""; 0]);
        let address = plugin.socket.as_ref().unwrap().local_addr().unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"2;1700000000.0\n", address).unwrap();
        assert_eq!(
            seconds(&mut plugin, &mut client, 1),
            [
                r#"kill {"name":"web","pid":1,"signum":3,"graceful_timeout":2.0}"#,
                r#"kill {"name":"web","pid":3,"signum":3,"graceful_timeout":2.0}"#
            ]
        );
        assert_eq!(seconds(&mut plugin, &mut client, 4).len(), 1);
    }

    #[test]
    fn processes_come_and_go() {
        let (mut plugin, mut client) = begun(&[("watchers_regex", "web")]);
        for (watcher, kind, pid) in
            [("web", "spawn", 4), ("other", "spawn", 5), ("plugin:w", "spawn", 6), ("web", "reap", 1)]
        {
            let event = client.event(watcher, kind, json!({"process_pid": pid}));
            plugin.on_event(&event, &mut client);
        }
        assert_eq!(plugin.processes.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn garbage_is_no_sign_of_life() {
        let (mut plugin, mut client) = begun(&[]);
        client.time += Duration::from_secs(10);
        for datagram in [b"".as_slice(), b"\xff\xfe", b"2", b"two;1", b"99999999999999999999;1", b"7;1"] {
            plugin.heard(datagram, &mut client);
        }
        assert!(plugin.processes.values().all(|process| process.heard == Duration::ZERO));
        plugin.heard(b" 2 ;1", &mut client);
        assert_eq!(plugin.processes[&2].heard, Duration::from_secs(10));
    }

    #[test]
    fn a_pattern_needs_its_group() {
        assert!(made(&[("msg_regex", "^(.*)$")]).unwrap_err().starts_with("msg_regex: has no group"));
        assert!(made(&[("watchers_stop_signal", "NONE")]).is_err());
    }
}
