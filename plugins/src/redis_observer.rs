//! Tells statsd the figures of a Redis server every so often, and restarts a watcher when it does not answer.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use circus_plugin_sdk::{Circus, Plugin, Settings};
use redis::{Client, InfoDict, RedisResult, cmd};

use crate::background::Background;
use crate::statsd_client::StatsdClient;
use crate::ticks::Ticks;

/// The figures that are told, by their names in INFO. A server tells some of them or all, by its version.
const OBSERVED: [&str; 22] = [
    "pubsub_channels",
    "connected_slaves",
    "lru_clock",
    "connected_clients",
    "keyspace_misses",
    "used_memory",
    "used_memory_peak",
    "total_commands_processed",
    "used_memory_rss",
    "total_connections_received",
    "pubsub_patterns",
    "used_cpu_sys",
    "used_cpu_sys_children",
    "blocked_clients",
    "used_cpu_user",
    "client_biggest_input_buf",
    "mem_fragmentation_ratio",
    "expired_keys",
    "evicted_keys",
    "client_longest_output_list",
    "uptime_in_seconds",
    "keyspace_hits",
];

/// What the server said, or why it said nothing.
type Outcome = Result<Vec<(&'static str, f64)>, String>;

/// The plugin.
#[derive(Debug)]
pub(crate) struct RedisObserver {
    restart: Option<String>,
    statsd: StatsdClient,
    ticks: Ticks,
    work: Background<(), Outcome>,
    asked: bool,
}

impl RedisObserver {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let client = Client::open(settings.needed("redis_url")?).map_err(|error| format!("redis_url: {error}"))?;
        let timeout = settings.seconds("timeout")?;
        let work = Background::start(1, move |()| ask(&client, timeout).map_err(|error| error.to_string()));
        Ok(Self {
            restart: settings.text("restart_on_timeout").map(str::to_owned),
            statsd: StatsdClient::new(settings)?,
            ticks: Ticks::new(settings.seconds("loop_rate")?),
            work: work.map_err(|error| format!("no thread for requests: {error}"))?,
            asked: false,
        })
    }

    fn ended(&mut self, outcome: Outcome, circus: &mut dyn Circus) {
        match outcome {
            Ok(figures) => {
                figures.into_iter().for_each(|(key, value)| self.statsd.gauge(&format!("redis_stats.{key}"), value))
            }
            Err(why) => {
                circus.warn(&format!("the Redis server does not answer: {why}"));
                self.statsd.increment("redis_stats.error");
                if let Some(watcher) = &self.restart {
                    circus.info(&format!("{watcher} is restarted"));
                    circus.restart(watcher);
                    self.statsd.increment("redis_stats.restart_on_error");
                }
            }
        }
    }
}

fn ask(client: &Client, timeout: Duration) -> RedisResult<Vec<(&'static str, f64)>> {
    let mut connection = client.get_connection_with_timeout(timeout)?;
    connection.set_read_timeout(Some(timeout))?;
    connection.set_write_timeout(Some(timeout))?;
    let info: InfoDict = cmd("INFO").query(&mut connection)?;
    Ok(OBSERVED.iter().filter_map(|key| Some((*key, info.get(key)?))).collect())
}

impl Plugin for RedisObserver {
    fn start(&mut self, circus: &mut dyn Circus) -> Result<(), String> {
        self.ticks.begin(circus.now());
        Ok(())
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.work.source())
    }

    fn on_readable(&mut self, circus: &mut dyn Circus) {
        for outcome in self.work.results() {
            self.asked = false;
            self.ended(outcome, circus);
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        self.ticks.next()
    }

    fn on_tick(&mut self, circus: &mut dyn Circus) {
        self.ticks.pass(circus.now());
        // One at a time, however long it takes.
        self.asked = self.asked || self.work.push(());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use circus_plugin_sdk::FakeCircus;

    use super::*;
    use crate::statsd_client::Listener;

    #[test]
    fn figures_are_told_and_silence_restarts() {
        let listener = Listener::new();
        let settings = listener.settings("redis_observer", &[("restart_on_timeout", "cache")]);
        let (mut plugin, mut circus) = (RedisObserver::new(&settings).unwrap(), FakeCircus::default());
        let name = |rest: &str| format!("circus.redis_observer.watcher.redis_stats.{rest}");
        plugin.ended(Ok(vec![("used_memory", 12.0)]), &mut circus);
        assert_eq!((listener.lines(), circus.take_sent()), (vec![name("used_memory:12|g")], vec![]));
        plugin.ended(Err("timed out".into()), &mut circus);
        assert_eq!(listener.lines(), [name("error:1|c"), name("restart_on_error:1|c")]);
        assert_eq!(circus.take_sent(), [r#"restart {"name":"cache"}"#]);
    }

    #[test]
    fn info_is_read_as_far_as_it_has_figures() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}/0", server.local_addr().unwrap());
        std::thread::spawn(move || {
            let (connection, _) = server.accept().unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let mut answer = connection;
            while let Some(Ok(line)) = lines.next() {
                if line.eq_ignore_ascii_case("INFO") {
                    let text =
                        "# Memory\r\nused_memory:1024\r\nmem_fragmentation_ratio:1.5\r\nredis_version:7.0.15\r\n";
                    answer.write_all(format!("${}\r\n{text}\r\n", text.len()).as_bytes()).unwrap();
                } else if line.eq_ignore_ascii_case("CLIENT") {
                    answer.write_all(b"+OK\r\n").unwrap();
                }
            }
        });
        let figures = ask(&Client::open(url).unwrap(), Duration::from_secs(30)).unwrap();
        assert_eq!(figures, [("used_memory", 1024.0), ("mem_fragmentation_ratio", 1.5)]);
    }

    #[test]
    fn a_server_that_hangs_is_given_up() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::open(format!("redis://{}/", server.local_addr().unwrap())).unwrap();
        assert!(ask(&client, Duration::from_millis(50)).is_err());
    }
}
