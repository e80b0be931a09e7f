//! What circusd passes to a plugin at its start: arguments, as in Circus, and variables.

use std::collections::BTreeMap;

use circus_client::Host;
use clap::Parser;

use super::Settings;

/// The arguments of a plugin. The variables that circusd sets say the same; an argument wins.
#[derive(Clone, Debug, Default, Parser)]
#[command(disable_version_flag = true)]
pub struct Args {
    /// The control endpoint of circusd
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// The endpoint at which circusd publishes events
    #[arg(long, value_name = "ENDPOINT")]
    pub pubsub: Option<String>,
    /// The circusd by its name in hosts.toml, which has both endpoints and the keys
    #[arg(long, value_name = "HOST", conflicts_with_all = ["endpoint", "pubsub"])]
    pub host: Option<String>,
    /// The file of our secret key, where circusd asks for keys
    #[arg(long, value_name = "FILE")]
    pub curve_key: Option<String>,
    /// The file of circusd's public key, or that key
    #[arg(long, value_name = "KEY")]
    pub curve_server_key: Option<String>,
    /// The keys of the plugin, key:value with ::: between them
    #[arg(long, value_name = "CONFIG")]
    pub config: Option<String>,
    /// check_delay of circusd
    #[arg(long, value_name = "SECONDS")]
    pub check_delay: Option<f64>,
    /// The lowest level that is logged: error, warning, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// The destination of the log: a file, or - for standard error
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub log_output: String,
    /// A host to tunnel through (refused: start the tunnel with ssh -L and name its end)
    #[arg(long, value_name = "HOST")]
    pub ssh: Option<String>,
    /// The plugin
    pub plugin: Option<String>,
}

/// The endpoints and the configuration of a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginContext {
    /// The control endpoint.
    pub endpoint: String,
    /// Where events are published.
    pub pubsub_endpoint: String,
    /// The longest pause that circusd's back-off makes, in seconds.
    pub check_delay: f64,
    /// The name of its watcher, where circusd has started it.
    pub name: Option<String>,
    /// The keys of its section.
    pub settings: Settings,
}

impl PluginContext {
    /// From arguments and environment.
    pub(super) fn new(args: &Args, env: &BTreeMap<String, String>, host: Option<&Host>) -> Result<Self, String> {
        if args.ssh.is_some() {
            return Err(
                "--ssh: a plugin makes no tunnel; start one with ssh -L and name its end as the endpoint".into()
            );
        }
        let variable = |name: &str| env.get(name).filter(|value| !value.is_empty());
        let either = |argument: &Option<String>, name: &str, default: &str| {
            argument.clone().or_else(|| variable(name).cloned()).unwrap_or_else(|| default.to_owned())
        };
        let delay = match (args.check_delay, variable("CIRCUS_CHECK_DELAY")) {
            (Some(delay), _) => delay,
            (None, Some(text)) => text.parse().map_err(|_| format!("CIRCUS_CHECK_DELAY: '{text}' is not a number"))?,
            (None, None) => 5.0,
        };
        let published = host.map(Host::here).transpose().map_err(|error| error.to_string())?.cloned();
        let (endpoint, pubsub) = (host.map(|host| host.endpoint.clone()), published);
        let (endpoint, pubsub) = (args.endpoint.clone().or(endpoint), args.pubsub.clone().or(pubsub));
        Ok(Self {
            endpoint: either(&endpoint, "CIRCUS_ENDPOINT", "tcp://127.0.0.1:5555"),
            pubsub_endpoint: either(&pubsub, "CIRCUS_PUBSUB_ENDPOINT", "tcp://127.0.0.1:5556"),
            check_delay: delay,
            name: variable("CIRCUS_PLUGIN_NAME").cloned(),
            settings: settings(args.config.as_deref(), variable("CIRCUS_PLUGIN_CONFIG"))?,
        })
    }
}

/// The variable is exact, while some values are ambiguous in the argument; but if both are set by hand, the argument counts.
fn settings(argument: Option<&str>, variable: Option<&String>) -> Result<Settings, String> {
    let argument = argument.map(Settings::parse);
    let Some(variable) = variable else { return Ok(argument.unwrap_or_default()) };
    let values: BTreeMap<String, String> = serde_json::from_str(variable)
        .map_err(|error| format!("CIRCUS_PLUGIN_CONFIG: is not an object of strings: {error}"))?;
    let exact = Settings::new(values);
    let same = argument.as_ref().is_none_or(|argument| argument.text("name") == exact.text("name"));
    Ok(if same { exact } else { argument.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(args: &[&str], env: &[(&str, &str)]) -> Result<PluginContext, String> {
        let args = Args::parse_from(["x"].iter().chain(args));
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        PluginContext::new(&args, &env, None)
    }

    #[test]
    fn variables_arguments_and_defaults() {
        let alone = made(&[], &[]).unwrap();
        assert_eq!((alone.endpoint.as_str(), alone.check_delay, alone.name), ("tcp://127.0.0.1:5555", 5.0, None));
        let env = [
            ("CIRCUS_ENDPOINT", "ipc:///a"),
            ("CIRCUS_CHECK_DELAY", "2.5"),
            ("CIRCUS_PLUGIN_NAME", "plugin:x"),
            ("CIRCUS_PLUGIN_CONFIG", r#"{"a": "b:::c:d", "name": "plugin:x"}"#),
        ];
        let under = made(&["--pubsub", "ipc:///b", "--config", "a:b:::c:d:::name:plugin:x", "logger"], &env).unwrap();
        assert_eq!((under.endpoint.as_str(), under.pubsub_endpoint.as_str()), ("ipc:///a", "ipc:///b"));
        assert_eq!((under.check_delay, under.settings.text("a")), (2.5, Some("b:::c:d")));
        let by_hand = made(&["--config", "a:1"], &env).unwrap();
        assert_eq!(by_hand.settings.text("a"), Some("1"));
    }

    #[test]
    fn a_host_has_the_endpoints() {
        let host = Host { endpoint: "tcp://h:1".into(), pubsub_endpoint: Some("tcp://h:2".into()), ..Host::default() };
        let env = [("CIRCUS_ENDPOINT".to_owned(), "ipc:///a".to_owned())].into();
        let made = |host: &Host| PluginContext::new(&Args::parse_from(["x", "--host", "h"]), &env, Some(host));
        let context = made(&host).unwrap();
        assert_eq!((context.endpoint.as_str(), context.pubsub_endpoint.as_str()), ("tcp://h:1", "tcp://h:2"));
        let error = made(&Host { pubsub_endpoint: None, name: "h".into(), ..host }).unwrap_err();
        assert_eq!(error, "--host: h has no pubsub_endpoint in hosts.toml");
    }

    #[test]
    fn errors_are_explained() {
        assert!(made(&[], &[("CIRCUS_PLUGIN_CONFIG", "[]")]).unwrap_err().starts_with("CIRCUS_PLUGIN_CONFIG"));
        assert!(made(&[], &[("CIRCUS_CHECK_DELAY", "x")]).is_err());
        assert!(made(&["--ssh", "h"], &[]).is_err());
    }
}
