//! Kills processes that have stopped sending signs of life by UDP. circusd replaces them.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use circus_core::proto::Signal;
use circus_plugin_sdk::{Circus, Event, Names, Plugin, Settings};
use regex::Regex;
use serde_json::json;

use crate::ticks::Ticks;
use crate::watchers::{Chosen, anchored, signal};

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
pub(crate) struct WatchDog {
    chosen: Chosen,
    message: Regex,
    silence: Duration,
    address: (String, u16),
    signal: Option<Signal>,
    graceful_timeout: Option<f64>,
    socket: Option<UdpSocket>,
    processes: BTreeMap<i64, Watched>,
    names: Names,
    ticks: Ticks,
}

impl WatchDog {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let message = anchored(settings, "msg_regex")?;
        if message.capture_names().all(|name| name != Some("pid")) {
            return Err("msg_regex: has no group (?P<pid>...), which says whose sign of life it is".into());
        }
        let every = settings.seconds("loop_rate")?;
        Ok(Self {
            chosen: Chosen::new(settings)?,
            message,
            silence: every.saturating_mul(settings.needed_number("max_count")?),
            address: (settings.needed("ip")?.to_owned(), settings.needed_number("port")?),
            signal: signal(settings, "watchers_stop_signal")?,
            graceful_timeout: settings.number("watchers_graceful_timeout")?,
            socket: None,
            processes: BTreeMap::new(),
            names: Names::default(),
            ticks: Ticks::new(every),
        })
    }

    /// The processes that were there before us.
    fn discover(&mut self, circus: &mut dyn Circus) -> Result<(), String> {
        let watchers = circus.watchers().map_err(|refusal| format!("the watchers cannot be read: {refusal}"))?;
        for watcher in watchers {
            if !self.chosen.contain(&watcher) {
                continue;
            }
            // One that was removed meanwhile has none.
            for pid in circus.pids(&watcher).unwrap_or_default() {
                self.watch(pid, &watcher, circus);
            }
        }
        Ok(())
    }

    fn watch(&mut self, pid: i64, watcher: &str, circus: &mut dyn Circus) {
        self.processes.insert(pid, Watched { watcher: watcher.to_owned(), heard: circus.now() });
    }

    fn heard(&mut self, datagram: &[u8], circus: &mut dyn Circus) {
        let text = String::from_utf8_lossy(datagram);
        let found = self.message.captures(text.trim_end());
        let pid = found.as_ref().and_then(|found| found.name("pid")).map(|pid| pid.as_str().trim());
        let Some(pid) = pid else {
            return circus.log(circus_plugin_sdk::Level::Debug, &format!("no sign of life: {:?}", text.trim_end()));
        };
        match pid.parse().ok().and_then(|pid: i64| self.processes.get_mut(&pid)) {
            Some(process) => process.heard = circus.now(),
            None => circus.log(
                circus_plugin_sdk::Level::Debug,
                &format!("a sign of life of a process that is not watched: {pid:?}"),
            ),
        }
    }

    fn kill(&mut self, pid: i64, watcher: &str, circus: &mut dyn Circus) {
        circus.warn(&format!("{watcher}: process {pid} is silent; it is killed"));
        let mut properties = serde_json::Map::new();
        properties.insert("name".into(), watcher.into());
        properties.insert("pid".into(), pid.into());
        properties.extend(self.signal.map(|signal| ("signum".to_owned(), json!(signal.0))));
        properties.extend(self.graceful_timeout.map(|seconds| ("graceful_timeout".to_owned(), json!(seconds))));
        circus.cast("kill", properties);
    }
}

impl Plugin for WatchDog {
    fn start(&mut self, circus: &mut dyn Circus) -> Result<(), String> {
        let (ip, port) = (self.address.0.as_str(), self.address.1);
        let bound = UdpSocket::bind((ip, port)).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        self.socket = Some(bound.map_err(|error| format!("ip, port: cannot listen at {ip}:{port}: {error}"))?);
        circus.info(&format!("listening for signs of life at {ip}:{port} (UDP)"));
        self.ticks.begin(circus.now());
        self.discover(circus)
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(|socket| socket.as_fd())
    }

    fn on_readable(&mut self, circus: &mut dyn Circus) {
        let mut buffer = [0; 1024];
        for _ in 0..AT_ONCE {
            let Some(socket) = &self.socket else { return };
            match socket.recv(&mut buffer) {
                Ok(length) => self.heard(buffer.get(..length).unwrap_or_default(), circus),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn on_event(&mut self, event: &Event, circus: &mut dyn Circus) {
        let Some(pid) = event.pid().filter(|_| !event.is_of_a_plugin()) else { return };
        match event.kind.as_str() {
            "spawn" => {
                let name = self.names.of(&event.watcher, circus);
                if self.chosen.contain(&name) {
                    self.watch(pid, &name, circus);
                }
            }
            "reap" => drop(self.processes.remove(&pid)),
            _ => {}
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        self.ticks.next()
    }

    fn on_tick(&mut self, circus: &mut dyn Circus) {
        // What waits to be read was said in time.
        self.on_readable(circus);
        let now = circus.now();
        let silent = |process: &Watched| now.saturating_sub(process.heard) > self.silence;
        let silent: Vec<i64> =
            self.processes.iter().filter(|(_, process)| silent(process)).map(|(pid, _)| *pid).collect();
        for pid in silent {
            if let Some(process) = self.processes.remove(&pid) {
                self.kill(pid, &process.watcher, circus);
            }
        }
        self.ticks.pass(now);
    }
}

#[cfg(test)]
mod tests {
    use circus_core::config::Builtin;
    use circus_plugin_sdk::FakeCircus;

    use super::*;

    fn made(settings: &[(&str, &str)]) -> Result<WatchDog, String> {
        let settings = settings.iter().copied().chain([("port", "0"), ("loop_rate", "1")]);
        WatchDog::new(&Settings::new(settings).with_defaults_of(Builtin::find("watchdog").unwrap()))
    }

    fn begun(settings: &[(&str, &str)]) -> (WatchDog, FakeCircus) {
        let (mut plugin, mut circus) = (made(settings).unwrap(), FakeCircus::default());
        circus.answer("list", json!({"status": "ok", "watchers": ["web", "plugin:w"]}));
        circus.answer("list", json!({"status": "ok", "pids": [1, 2, 3]}));
        plugin.start(&mut circus).unwrap();
        circus.take_sent();
        (plugin, circus)
    }

    fn seconds(plugin: &mut WatchDog, circus: &mut FakeCircus, count: u64) -> Vec<String> {
        circus.time += Duration::from_secs(count);
        plugin.on_tick(circus);
        circus.take_sent()
    }

    #[test]
    fn everybody_who_is_silent_is_killed_in_one_look() {
        let (mut plugin, mut circus) = begun(&[("watchers_stop_signal", "QUIT"), ("watchers_graceful_timeout", "2")]);
        assert_eq!(seconds(&mut plugin, &mut circus, 3), [""; 0]);
        let address = plugin.socket.as_ref().unwrap().local_addr().unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"2;1700000000.0\n", address).unwrap();
        assert_eq!(
            seconds(&mut plugin, &mut circus, 1),
            [
                r#"kill {"name":"web","pid":1,"signum":3,"graceful_timeout":2.0}"#,
                r#"kill {"name":"web","pid":3,"signum":3,"graceful_timeout":2.0}"#
            ]
        );
        assert_eq!(seconds(&mut plugin, &mut circus, 4).len(), 1);
    }

    #[test]
    fn processes_come_and_go() {
        let (mut plugin, mut circus) = begun(&[("watchers_regex", "web")]);
        for (watcher, kind, pid) in
            [("web", "spawn", 4), ("other", "spawn", 5), ("plugin:w", "spawn", 6), ("web", "reap", 1)]
        {
            let event = circus.event(watcher, kind, json!({"process_pid": pid}));
            plugin.on_event(&event, &mut circus);
        }
        assert_eq!(plugin.processes.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn garbage_is_no_sign_of_life() {
        let (mut plugin, mut circus) = begun(&[]);
        circus.time += Duration::from_secs(10);
        for datagram in [b"".as_slice(), b"\xff\xfe", b"2", b"two;1", b"99999999999999999999;1", b"7;1"] {
            plugin.heard(datagram, &mut circus);
        }
        assert!(plugin.processes.values().all(|process| process.heard == Duration::ZERO));
        plugin.heard(b" 2 ;1", &mut circus);
        assert_eq!(plugin.processes[&2].heard, Duration::from_secs(10));
    }

    #[test]
    fn a_pattern_needs_its_group() {
        assert!(made(&[("msg_regex", "^(.*)$")]).unwrap_err().starts_with("msg_regex: has no group"));
        assert!(made(&[("watchers_stop_signal", "NONE")]).is_err());
    }
}
