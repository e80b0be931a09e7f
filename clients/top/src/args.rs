//! circus-top's command line: the original's, and what is new.

use std::time::Duration;

use circus_client::arguments::seconds;
use clap::Parser;

/// Shows what the processes of a circusd do and use.
#[derive(Debug, Parser)]
#[command(name = "circus-top", disable_version_flag = true, about)]
pub struct Args {
    /// The endpoint of circusd-stats; by default circusd reports it (tcp://127.0.0.1:5557)
    #[arg(long)]
    pub endpoint: Option<String>,
    /// The endpoint at which circusd answers (or CIRCUSCTL_ENDPOINT; tcp://127.0.0.1:5555)
    #[arg(long, value_name = "ENDPOINT")]
    pub control: Option<String>,
    /// The endpoint of circusd's events; by default circusd reports it (tcp://127.0.0.1:5556)
    #[arg(long, value_name = "ENDPOINT")]
    pub pubsub: Option<String>,
    /// The host by its name in hosts.toml, which has the endpoints and keys (or CIRCUS_HOST); of several (web1,web2, web*
    /// or a group) one is shown at a time, and Tab turns to the next
    #[arg(long, value_name = "HOST", conflicts_with_all = ["endpoint", "control", "pubsub"])]
    pub host: Option<String>,
    /// A host to tunnel through, in the format user@host:port
    #[arg(long, value_name = "SERVER")]
    pub ssh: Option<String>,
    /// The private key file for the ssh server
    #[arg(long = "ssh_keyfile", value_name = "FILE")]
    pub ssh_keyfile: Option<String>,
    /// The file of our secret key, where circusd asks for keys (or CIRCUS_CURVE_KEY)
    #[arg(long, value_name = "FILE")]
    pub curve_key: Option<String>,
    /// The file of circusd's public key, or that key (or CIRCUS_CURVE_SERVER_KEY)
    #[arg(long, value_name = "KEY")]
    pub curve_server_key: Option<String>,
    /// Seconds after which a process without messages is no longer shown
    #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = timeout)]
    pub process_timeout: Duration,
    /// Print everything once, as a table, and exit
    #[arg(long)]
    pub once: bool,
    /// Print everything once, as JSON, and exit
    #[arg(long)]
    pub json: bool,
    /// Print the version
    #[arg(long)]
    pub version: bool,
}

fn timeout(text: &str) -> Result<Duration, String> {
    seconds(text, 1.0..=3600.0).map(Duration::from_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Args, String> {
        Args::try_parse_from(words.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn the_originals_and_new_ones() {
        let args = read("x --endpoint ipc:///s --ssh me@there --process-timeout 5").unwrap();
        assert_eq!((args.endpoint.as_deref(), args.ssh.as_deref()), (Some("ipc:///s"), Some("me@there")));
        assert_eq!(args.process_timeout, Duration::from_secs(5));
        let args = read("x --control ipc:///c --pubsub ipc:///p --json").unwrap();
        assert!(args.json && !args.once && args.endpoint.is_none());
        assert_eq!(read("x --host web1").unwrap().host.as_deref(), Some("web1"));
        for words in ["x --host a --control ipc:///c", "x --process-timeout 0.5", "x --process-timeout nan", "x word"] {
            assert!(read(words).is_err(), "{words}");
        }
    }
}
