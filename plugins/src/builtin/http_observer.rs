//! Requests a page every so often, sends statsd the time that it took, and restarts a watcher when it fails.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use circus_plugin_sdk::{Client, Plugin, Settings};
use ureq::Agent;

use crate::builtin::{Registration, boxed};
use crate::support::http_agent::agent;
use crate::support::probe::Probe;
use crate::support::statsd_client::StatsdClient;

pub(super) const PLUGIN: Registration =
    Registration { name: "http_observer", make: |context| boxed(HttpObserver::new(&context.settings)) };

/// How a request ended: the status, or why there is none.
type Outcome = Result<u16, String>;

/// The status that the original sends to statsd if there was none.
const NO_ANSWER: u16 = 599;

/// The plugin.
#[derive(Debug)]
struct HttpObserver {
    url: String,
    restart: Option<String>,
    statsd: StatsdClient,
    probe: Probe<Outcome>,
}

impl HttpObserver {
    fn new(settings: &Settings) -> Result<Self, String> {
        let url = settings.needed("check_url")?.to_owned();
        let agent = agent(settings.seconds("timeout")?);
        let page = url.clone();
        Ok(Self {
            url,
            restart: settings.text("restart_on_error").map(str::to_owned),
            statsd: StatsdClient::new(settings)?,
            probe: Probe::new(settings, move || request(&agent, &page))?,
        })
    }

    fn answered(&mut self, outcome: Outcome, took: Duration, client: &mut dyn Client) {
        let (status, reason) = match outcome {
            Ok(status) if status < 400 => return self.statsd.timed("http_stats.request_time", took.as_millis()),
            Ok(status) => (status, format!("status {status}")),
            Err(reason) => (NO_ANSWER, reason),
        };
        client.warn(&format!("{}: {reason}", self.url));
        self.statsd.increment("http_stats.error");
        self.statsd.increment(&format!("http_stats.error.{status}"));
        if let Some(watcher) = &self.restart {
            client.info(&format!("restarting {watcher}"));
            client.restart(watcher);
            self.statsd.increment("http_stats.restart_on_error");
        }
    }
}

fn request(agent: &Agent, url: &str) -> Outcome {
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    // A server that hangs in the middle of its answer hangs as well.
    std::io::copy(&mut answer.body_mut().as_reader(), &mut std::io::sink()).map_err(|error| error.to_string())?;
    Ok(answer.status().as_u16())
}

impl Plugin for HttpObserver {
    fn start(&mut self, client: &mut dyn Client) -> Result<(), String> {
        self.probe.begin(client.now());
        Ok(())
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.probe.source())
    }

    fn on_readable(&mut self, client: &mut dyn Client) {
        for (outcome, took) in self.probe.answers(client.now()) {
            self.answered(outcome, took, client);
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        self.probe.next()
    }

    fn on_tick(&mut self, client: &mut dyn Client) {
        self.probe.ask(client.now());
    }
}

#[cfg(test)]
mod tests {
    use circus_plugin_sdk::FakeClient;

    use super::*;
    use crate::support::statsd_client::Listener;

    fn after(outcome: Outcome) -> (Vec<String>, Vec<String>) {
        let listener = Listener::new();
        let settings = listener.settings("http_observer", &[("restart_on_error", "web")]);
        let (mut plugin, mut client) = (HttpObserver::new(&settings).unwrap(), FakeClient::default());
        plugin.answered(outcome, Duration::from_millis(1234), &mut client);
        (client.take_sent(), listener.lines())
    }

    #[test]
    fn an_answer_is_timed_and_anything_else_restarts() {
        let name = |rest: &str| format!("circus.http_observer.watcher.http_stats.{rest}");
        assert_eq!(after(Ok(200)), (vec![], vec![name("request_time:1234|ms")]));
        for (outcome, status) in [(Ok(503), 503), (Err("timeout".into()), 599)] {
            let lines = vec![name("error:1|c"), name(&format!("error.{status}:1|c")), name("restart_on_error:1|c")];
            assert_eq!(after(outcome), (vec![r#"restart {"name":"web"}"#.to_owned()], lines));
        }
    }

    #[test]
    fn closed_port_is_an_error() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(request(&agent(Duration::from_secs(5)), &format!("http://{free}/")).is_err());
    }

    #[test]
    fn hanging_server_times_out() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let error = request(&agent(Duration::from_millis(50)), &url).unwrap_err();
        assert!(error.contains("timeout"), "{error}");
    }
}
