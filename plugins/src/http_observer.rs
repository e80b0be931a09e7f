//! Asks for a page every so often, tells statsd how long it took, and restarts a watcher when it fails.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use circus_plugin_sdk::{Circus, Plugin, Settings};
use ureq::Agent;

use crate::background::Background;
use crate::statsd_client::StatsdClient;
use crate::ticks::Ticks;

/// How a request ended: the status, or why there is none.
type Outcome = Result<u16, String>;

/// The status that the original tells statsd where there was none.
const NO_ANSWER: u16 = 599;

/// The plugin.
#[derive(Debug)]
pub(crate) struct HttpObserver {
    url: String,
    restart: Option<String>,
    statsd: StatsdClient,
    ticks: Ticks,
    work: Background<(), Outcome>,
    /// When the request was begun that is under way.
    asked: Option<Duration>,
}

impl HttpObserver {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let url = settings.needed("check_url")?.to_owned();
        let agent = agent(settings.seconds("timeout")?);
        let asked = url.clone();
        let work = Background::start(1, move |()| ask(&agent, &asked));
        Ok(Self {
            url,
            restart: settings.text("restart_on_error").map(str::to_owned),
            statsd: StatsdClient::new(settings)?,
            ticks: Ticks::new(settings.seconds("loop_rate")?),
            work: work.map_err(|error| format!("no thread for requests: {error}"))?,
            asked: None,
        })
    }

    fn ended(&mut self, outcome: Outcome, circus: &mut dyn Circus) {
        let took = self.asked.take().map_or(Duration::ZERO, |asked| circus.now().saturating_sub(asked));
        let (status, why) = match outcome {
            Ok(status) if status < 400 => return self.statsd.timed("http_stats.request_time", took.as_millis()),
            Ok(status) => (status, format!("status {status}")),
            Err(why) => (NO_ANSWER, why),
        };
        circus.warn(&format!("{}: {why}", self.url));
        self.statsd.increment("http_stats.error");
        self.statsd.increment(&format!("http_stats.error.{status}"));
        if let Some(watcher) = &self.restart {
            circus.info(&format!("{watcher} is restarted"));
            circus.restart(watcher);
            self.statsd.increment("http_stats.restart_on_error");
        }
    }
}

/// A client that gives up in time, and takes any status for an answer.
pub(crate) fn agent(timeout: Duration) -> Agent {
    Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).build().into()
}

fn ask(agent: &Agent, url: &str) -> Outcome {
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    // A server that hangs in the middle of its answer hangs as well.
    std::io::copy(&mut answer.body_mut().as_reader(), &mut std::io::sink()).map_err(|error| error.to_string())?;
    Ok(answer.status().as_u16())
}

impl Plugin for HttpObserver {
    fn start(&mut self, circus: &mut dyn Circus) -> Result<(), String> {
        self.ticks.begin(circus.now());
        Ok(())
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.work.source())
    }

    fn on_readable(&mut self, circus: &mut dyn Circus) {
        for outcome in self.work.results() {
            self.ended(outcome, circus);
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        self.ticks.next()
    }

    fn on_tick(&mut self, circus: &mut dyn Circus) {
        let now = circus.now();
        self.ticks.pass(now);
        // One at a time, however long it takes.
        if self.asked.is_none() && self.work.push(()) {
            self.asked = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use circus_plugin_sdk::FakeCircus;

    use super::*;
    use crate::statsd_client::Listener;

    fn after(outcome: Outcome) -> (Vec<String>, Vec<String>) {
        let listener = Listener::new();
        let settings = listener.settings("http_observer", &[("restart_on_error", "web")]);
        let (mut plugin, mut circus) = (HttpObserver::new(&settings).unwrap(), FakeCircus::default());
        plugin.asked = Some(Duration::ZERO);
        circus.time = Duration::from_millis(1234);
        plugin.ended(outcome, &mut circus);
        (circus.take_sent(), listener.lines())
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
    fn nobody_listens() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(&agent(Duration::from_secs(5)), &format!("http://{free}/")).is_err());
    }

    #[test]
    fn a_server_that_hangs_is_given_up() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let error = ask(&agent(Duration::from_millis(50)), &url).unwrap_err();
        assert!(error.contains("timeout"), "{error}");
    }
}
