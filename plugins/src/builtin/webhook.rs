//! Sends chosen events to a web server, one after the other: a POST with a JSON object each. One that fails is sent
//! again, with pauses that grow, and the others wait; what the queue does not hold is dropped and counted.

use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use circus_plugin_sdk::{Client, Event, Names, Plugin, Settings};
use serde_json::{Value, json};
use ureq::Agent;

use crate::builtin::{Registration, boxed};
use crate::support::background::Background;
use crate::support::http_agent::agent;
use crate::support::selection::{Kinds, anchored};
use crate::support::why::{Why, is_failed_exit, of_exit};

pub(super) const PLUGIN: Registration =
    Registration { name: "webhook", make: |context| boxed(Webhook::new(&context.settings)) };

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why an event was not delivered; nothing where it was.
type Outcome = Option<String>;

/// The plugin.
#[derive(Debug)]
struct Webhook {
    kinds: Kinds,
    watchers: regex::Regex,
    /// Deaths are told with what the worker has printed last.
    lines: bool,
    names: Names,
    work: Background<String, Outcome>,
    dropped: u64,
    /// Never used: when it goes, the pauses of the thread end.
    _alive: Sender<()>,
}

/// Where events are sent to, and how often it is tried.
struct Delivery {
    agent: Agent,
    url: String,
    retries: u32,
    /// Waits for the time to pass, and no longer than the plugin lives.
    ended: Receiver<()>,
}

impl Webhook {
    fn new(settings: &Settings) -> Result<Self, String> {
        let (alive, ended) = channel();
        let url = settings.needed("url")?.to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!("url: '{url}' begins neither with http:// nor with https://"));
        }
        let delivery = Delivery {
            agent: agent(settings.seconds("timeout")?),
            url,
            retries: settings.needed_number("max_retry")?,
            ended,
        };
        let work = Background::start(settings.needed_number("queue")?, move |body: String| delivery.deliver(&body));
        Ok(Self {
            kinds: Kinds::new(settings),
            watchers: anchored(settings, "watchers_regex")?,
            lines: settings.flag("lines")?,
            names: Names::default(),
            work: work.map_err(|error| format!("cannot start a thread for requests: {error}"))?,
            dropped: 0,
            _alive: alive,
        })
    }
}

impl Delivery {
    fn deliver(&self, body: &str) -> Outcome {
        let mut attempt = 0;
        loop {
            let why = self.send(body)?;
            if attempt == self.retries {
                return Some(why);
            }
            match self.ended.recv_timeout(pause(attempt)) {
                Err(RecvTimeoutError::Timeout) => attempt += 1,
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Some(why),
            }
        }
    }

    fn send(&self, body: &str) -> Outcome {
        match self.agent.post(&self.url).content_type("application/json").send(body) {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("status {}", answer.status().as_u16())),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// 1, 2, 4 ... seconds.
fn pause(attempt: u32) -> Duration {
    Duration::from_secs(1_u64.checked_shl(attempt).unwrap_or(u64::MAX)).min(LONGEST_PAUSE)
}

/// What is sent: the event's own keys, whose event it is, and of a death what circusd knows about it.
fn body(event: &Event, watcher: &str, why: Why) -> String {
    let mut body = json!({"watcher": watcher, "event": event.kind});
    if let Some(body) = body.as_object_mut() {
        body.extend(event.body.clone());
        body.extend(why.text.map(|text| ("text".to_owned(), Value::from(text))));
        body.extend(why.signal.map(|signal| ("signal".to_owned(), Value::from(signal))));
        body.extend(why.lived.map(|lived| ("lived".to_owned(), Value::from(lived))));
        if !why.lines.is_empty() {
            body.insert("lines".into(), why.lines.into());
        }
    }
    Value::to_string(&body)
}

impl Plugin for Webhook {
    fn on_event(&mut self, event: &Event, client: &mut dyn Client) {
        if !self.kinds.contain(&event.kind) {
            return;
        }
        let watcher = self.names.of(&event.watcher, client);
        if !self.watchers.is_match(&watcher) {
            return;
        }
        let why = if self.lines && is_failed_exit(event) { of_exit(event, &watcher, client) } else { Why::default() };
        if !self.work.push(body(event, &watcher, why)) {
            if self.dropped == 0 {
                client.warn("the server is too slow: the queue is full, and events are dropped");
            }
            self.dropped += 1;
        }
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.work.source())
    }

    fn on_readable(&mut self, client: &mut dyn Client) {
        for outcome in self.work.results() {
            if let Some(why) = outcome {
                client.warn(&format!("an event was not delivered: {why}"));
            }
            // There is room again.
            if self.dropped > 0 {
                client.warn(&format!("{} events were dropped", std::mem::take(&mut self.dropped)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use circus_core::config::Builtin;
    use circus_plugin_sdk::FakeClient;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn plugin(url: &str, more: &[(&str, &str)]) -> Webhook {
        let settings = Settings::new(more.iter().copied().chain([("url", url)]));
        Webhook::new(&settings.with_defaults_of(Builtin::find("webhook").unwrap())).unwrap()
    }

    /// A server that returns these statuses, one for each connection, and records what it received.
    fn server(statuses: &'static [u16]) -> (String, Receiver<String>) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", server.local_addr().unwrap());
        let (told, heard) = channel();
        std::thread::spawn(move || {
            for status in statuses {
                let (mut connection, _) = server.accept().unwrap();
                let mut text = Vec::new();
                let mut buffer = [0; 4096];
                while !text.ends_with(b"}") {
                    let length = connection.read(&mut buffer).unwrap();
                    text.extend(&buffer[..length]);
                }
                told.send(String::from_utf8(text).unwrap()).unwrap();
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                connection.write_all(answer.as_bytes()).unwrap();
            }
        });
        (url, heard)
    }

    fn wait(plugin: &mut Webhook, client: &mut FakeClient) {
        let source = PollFd::new(plugin.work.source(), PollFlags::POLLIN);
        assert_eq!(poll(&mut [source], PollTimeout::from(30_000_u16)), Ok(1));
        plugin.on_readable(client);
    }

    #[test]
    fn chosen_events_are_posted_and_tried_again() {
        let (url, heard) = server(&[500, 204]);
        let mut plugin = plugin(&url, &[("events", "reap"), ("watchers_regex", "web")]);
        let mut client = FakeClient::default();
        for (watcher, kind) in [("web", "spawn"), ("db", "reap"), ("web", "reap")] {
            let event = client.event(watcher, kind, json!({"process_pid": 7, "exit_code": -9}));
            plugin.on_event(&event, &mut client);
        }
        wait(&mut plugin, &mut client);
        assert_eq!(client.take_said(), [""; 0]);
        let requests: Vec<String> = heard.iter().collect();
        assert_eq!(requests.len(), 2);
        let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /hook ") && head.to_lowercase().contains("content-type: application/json"),
            "{head}"
        );
        assert_eq!(body, r#"{"watcher":"web","event":"reap","process_pid":7,"exit_code":-9,"time":0.0}"#);
        assert!(requests[1].ends_with(body));
    }

    #[test]
    fn death_is_told_with_what_the_worker_has_printed() {
        let (url, heard) = server(&[204]);
        let mut plugin = plugin(&url, &[]);
        let mut client = FakeClient::default();
        let event = |pid| {
            let text = format!("worker 1 (pid {pid}) was ended by SIGSEGV");
            json!({"pid": pid, "text": text, "signal": "SIGSEGV", "lived": 0.25})
        };
        let line = |pid, line: &str| json!({"pid": pid, "line": line});
        let lines = [line(6, "before"), line(7, "no table"), line(7, "bye")];
        client.answer("why", json!({"status": "ok", "events": [event(7), event(6)], "lines": lines}));
        let event = client.event("web", "reap", json!({"process_pid": 7, "exit_code": -11}));
        plugin.on_event(&event, &mut client);
        wait(&mut plugin, &mut client);
        let request = heard.recv().unwrap();
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["text"], "worker 1 (pid 7) was ended by SIGSEGV");
        assert_eq!((&body["signal"], &body["lived"]), (&json!("SIGSEGV"), &json!(0.25)));
        assert_eq!(body["lines"], json!(["no table", "bye"]));
    }

    #[test]
    fn failures_are_logged_and_excess_is_dropped() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut plugin = plugin(&format!("http://{free}/"), &[("max_retry", "0"), ("queue", "1")]);
        let mut client = FakeClient::default();
        while plugin.dropped == 0 {
            let event = client.event("w", "stop", json!({}));
            plugin.on_event(&event, &mut client);
        }
        wait(&mut plugin, &mut client);
        let said = client.take_said();
        assert!(said[0].starts_with("the server is too slow"), "{said:?}");
        assert!(said[1].starts_with("an event was not delivered: "), "{said:?}");
        assert_eq!(said[2], "1 events were dropped");
    }

    #[test]
    fn pauses_grow() {
        assert_eq!([0, 1, 2, 5, 6, 99].map(|attempt| pause(attempt).as_secs()), [1, 2, 4, 32, 60, 60]);
    }
}
