//! circusd-stats' command line: the original's, and what is new.

use circus_client::arguments::seconds;
use clap::Parser;

/// Publishes what the processes of a circusd use.
#[derive(Debug, Parser)]
#[command(name = "circusd-stats", disable_version_flag = true, about)]
pub struct Args {
    /// The endpoint at which circusd answers
    #[arg(long, default_value = "tcp://127.0.0.1:5555")]
    pub endpoint: String,
    /// The endpoint at which circusd publishes events
    #[arg(long, default_value = "tcp://127.0.0.1:5556")]
    pub pubsub: String,
    /// The circusd of this machine by its name in hosts.toml, which has both endpoints and the keys
    #[arg(long, value_name = "HOST", conflicts_with_all = ["endpoint", "pubsub"])]
    pub host: Option<String>,
    /// The file of our secret key, where circusd asks for keys (or CIRCUS_CURVE_KEY)
    #[arg(long, value_name = "FILE")]
    pub curve_key: Option<String>,
    /// The file of circusd's public key, or that key (or CIRCUS_CURVE_SERVER_KEY)
    #[arg(long, value_name = "KEY")]
    pub curve_server_key: Option<String>,
    /// The endpoint to publish on
    #[arg(long, default_value = "tcp://127.0.0.1:5557", value_name = "ENDPOINT")]
    pub statspoint: String,
    /// The mode of the socket file of an ipc endpoint, in octal
    #[arg(long, default_value = "600", value_name = "MODE", value_parser = octal)]
    pub endpoint_mode: u32,
    /// The user that owns that file
    #[arg(long, value_name = "USER")]
    pub endpoint_owner: Option<String>,
    /// The users and groups that may subscribe at an ipc endpoint, as ipc_roles of circusd names them
    #[arg(long, value_name = "ROLES", value_parser = roles)]
    pub ipc_roles: Option<String>,
    /// Seconds between two samples of a process, and two messages about it
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = interval)]
    pub interval: f64,
    /// Sample processes even without a subscriber
    #[arg(long)]
    pub always: bool,
    /// Allow an endpoint that other machines can reach
    #[arg(long)]
    pub allow_anyone_on_the_network: bool,
    /// The lowest level that is logged: critical, error, warning, info or debug
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
    /// The destination of the log: a file, or - for standard error
    #[arg(long, default_value = "-", value_name = "FILE")]
    pub log_output: String,
    /// A host to tunnel through (refused: processes of another machine cannot be sampled from here)
    #[arg(long, value_name = "SERVER")]
    pub ssh: Option<String>,
    /// Print the version
    #[arg(long)]
    pub version: bool,
}

fn octal(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).map_err(|_| "it is not an octal number".to_owned())?;
    if mode > 0o777 { Err("it is above 777".into()) } else { Ok(mode) }
}

fn roles(text: &str) -> Result<String, String> {
    circus_core::access::local_roles(text).map(|_| text.to_owned())
}

fn interval(text: &str) -> Result<f64, String> {
    seconds(text, 0.1..=3600.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Args, String> {
        Args::try_parse_from(words.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn the_originals_and_new_ones() {
        let args = read("x --endpoint ipc:///e --pubsub ipc:///p --statspoint ipc:///s --log-level DEBUG").unwrap();
        assert_eq!((args.endpoint.as_str(), args.pubsub.as_str(), args.interval), ("ipc:///e", "ipc:///p", 1.0));
        let args = read("x --interval 0.1 --always --endpoint-mode 660").unwrap();
        assert_eq!((args.interval, args.always, args.endpoint_mode), (0.1, true, 0o660));
        assert_eq!(read("x --host here").unwrap().host.as_deref(), Some("here"));
        let args = read("x --ipc-roles alice:read,@ops:admin").unwrap();
        assert_eq!(args.ipc_roles.as_deref(), Some("alice:read,@ops:admin"));
        for words in [
            "x --host here --pubsub ipc:///p",
            "x --ipc-roles alice:boss",
            "x --ipc-roles ,",
            "x --interval 0.09",
            "x --interval nan",
            "x --interval 3601",
            "x --endpoint-mode 1000",
            "x y",
        ] {
            assert!(read(words).is_err(), "{words}");
        }
    }
}
