//! Sends statsd the metrics of a Redis server every so often, and restarts a watcher when the server does not answer.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use circus_plugin_sdk::{Client, Plugin, Settings};
use redis::{InfoDict, RedisResult, cmd};

use crate::builtin::{Registration, boxed};
use crate::support::probe::Probe;
use crate::support::statsd_client::StatsdClient;

pub(super) const PLUGIN: Registration =
    Registration { name: "redis_observer", make: |context| boxed(RedisObserver::new(&context.settings)) };

/// The metrics that are sent, by their names in INFO. Which of them a server has depends on its version.
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
struct RedisObserver {
    restart: Option<String>,
    statsd: StatsdClient,
    probe: Probe<Outcome>,
}

impl RedisObserver {
    fn new(settings: &Settings) -> Result<Self, String> {
        let server =
            redis::Client::open(settings.needed("redis_url")?).map_err(|error| format!("redis_url: {error}"))?;
        let timeout = settings.seconds("timeout")?;
        Ok(Self {
            restart: settings.text("restart_on_timeout").map(str::to_owned),
            statsd: StatsdClient::new(settings)?,
            probe: Probe::new(settings, move || ask(&server, timeout).map_err(|error| error.to_string()))?,
        })
    }

    fn answered(&mut self, outcome: Outcome, client: &mut dyn Client) {
        match outcome {
            Ok(metrics) => {
                metrics.into_iter().for_each(|(key, value)| self.statsd.gauge(&format!("redis_stats.{key}"), value));
            }
            Err(reason) => {
                client.warn(&format!("the Redis server does not answer: {reason}"));
                self.statsd.increment("redis_stats.error");
                if let Some(watcher) = &self.restart {
                    client.info(&format!("restarting {watcher}"));
                    client.restart(watcher);
                    self.statsd.increment("redis_stats.restart_on_error");
                }
            }
        }
    }
}

fn ask(server: &redis::Client, timeout: Duration) -> RedisResult<Vec<(&'static str, f64)>> {
    let mut connection = server.get_connection_with_timeout(timeout)?;
    connection.set_read_timeout(Some(timeout))?;
    connection.set_write_timeout(Some(timeout))?;
    let info: InfoDict = cmd("INFO").query(&mut connection)?;
    Ok(OBSERVED.iter().filter_map(|key| Some((*key, info.get(key)?))).collect())
}

impl Plugin for RedisObserver {
    fn start(&mut self, client: &mut dyn Client) -> Result<(), String> {
        self.probe.begin(client.now());
        Ok(())
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.probe.source())
    }

    fn on_readable(&mut self, client: &mut dyn Client) {
        for (outcome, _) in self.probe.answers(client.now()) {
            self.answered(outcome, client);
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
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use circus_plugin_sdk::FakeClient;

    use super::*;
    use crate::support::statsd_client::Listener;

    #[test]
    fn metrics_are_sent_and_silence_restarts() {
        let listener = Listener::new();
        let settings = listener.settings("redis_observer", &[("restart_on_timeout", "cache")]);
        let (mut plugin, mut client) = (RedisObserver::new(&settings).unwrap(), FakeClient::default());
        let name = |rest: &str| format!("circus.redis_observer.watcher.redis_stats.{rest}");
        plugin.answered(Ok(vec![("used_memory", 12.0)]), &mut client);
        assert_eq!((listener.lines(), client.take_sent()), (vec![name("used_memory:12|g")], vec![]));
        plugin.answered(Err("timed out".into()), &mut client);
        assert_eq!(listener.lines(), [name("error:1|c"), name("restart_on_error:1|c")]);
        assert_eq!(client.take_sent(), [r#"restart {"name":"cache"}"#]);
    }

    #[test]
    fn known_metrics_of_info_are_read() {
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
        let figures = ask(&redis::Client::open(url).unwrap(), Duration::from_secs(30)).unwrap();
        assert_eq!(figures, [("used_memory", 1024.0), ("mem_fragmentation_ratio", 1.5)]);
    }

    #[test]
    fn hanging_server_times_out() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = redis::Client::open(format!("redis://{}/", server.local_addr().unwrap())).unwrap();
        assert!(ask(&client, Duration::from_millis(50)).is_err());
    }
}
