//! The command line of a plugin, and the variables that it finds circusd by.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::{PluginConfig, Runner};
use crate::base::CollectOrdered as _;
use crate::config::words::quote;
use crate::config::{CircusConfig, Config, WatcherConfig};
use crate::proto::reachable;

/// Runs a class of the original's kind: see the file itself.
const BRIDGE: &str = include_str!("../../../../../python/bridges/plugin.py");

/// Gives every plugin its command line and its variables, for `circus` as it is in force.
pub fn settle(config: &mut Config, circus: &CircusConfig) {
    for watcher in &mut config.watchers {
        settle_one(watcher, circus);
    }
}

/// The same for one watcher.
pub(super) fn settle_one(watcher: &mut WatcherConfig, circus: &CircusConfig) {
    let Some(plugin) = &watcher.plugin else { return };
    if let Some(cmd) = command_line(plugin, circus) {
        watcher.cmd = cmd;
    }
    let variables = variables(&watcher.name, plugin, circus);
    watcher.env.get_or_insert_default().extend(variables);
}

fn command_line(plugin: &PluginConfig, circus: &CircusConfig) -> Option<String> {
    let (mut words, name) = match &plugin.runner {
        Runner::Command => return None,
        Runner::Builtin(name) => (vec!["circus-plugin".to_owned()], name),
        Runner::Python { python, class } => (vec![python.clone(), "-c".into(), BRIDGE.into()], class),
    };
    let mut option = |name: &str, value: &dyn Display| words.extend([format!("--{name}"), value.to_string()]);
    option("endpoint", &reachable(&circus.endpoint));
    option("pubsub", &reachable(&circus.pubsub_endpoint));
    option("check-delay", &circus.check_delay);
    // Not `--config`, as in Circus: settings hold passwords, and every user of the machine reads command lines. They are in
    // the environment.
    if circus.debug {
        option("log-level", &"DEBUG");
    } else if let Some(level) = &circus.loglevel {
        option("log-level", level);
    }
    words.push(name.clone());
    Some(words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "))
}

fn variables(name: &str, plugin: &PluginConfig, circus: &CircusConfig) -> BTreeMap<String, String> {
    let settings: serde_json::Map<_, _> =
        plugin.settings.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let endpoint = reachable(&circus.endpoint);
    let variables = [
        ("CIRCUS_ENDPOINT", endpoint.clone()),
        // So that circusctl in a plugin needs no option.
        ("CIRCUSCTL_ENDPOINT", endpoint),
        ("CIRCUS_PUBSUB_ENDPOINT", reachable(&circus.pubsub_endpoint)),
        ("CIRCUS_STATS_ENDPOINT", reachable(&circus.stats_endpoint)),
        ("CIRCUS_CHECK_DELAY", circus.check_delay.to_string()),
        ("CIRCUS_PLUGIN_NAME", name.to_owned()),
        ("CIRCUS_PLUGIN_CONFIG", serde_json::Value::Object(settings).to_string()),
    ];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect_map()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::split_words;

    fn plugin(runner: Runner, settings: &[(&str, &str)]) -> WatcherConfig {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let plugin = Some(PluginConfig { runner, settings });
        WatcherConfig { plugin, ..WatcherConfig::new("plugin:p", "", "/") }
    }

    fn settled(mut watcher: WatcherConfig, circus: &CircusConfig) -> (Vec<String>, BTreeMap<String, String>) {
        settle_one(&mut watcher, circus);
        (split_words(&watcher.cmd).unwrap(), watcher.env.unwrap())
    }

    #[test]
    fn a_plugin_of_ours_has_the_originals_arguments_and_no_settings_among_them() {
        let watcher = plugin(
            Runner::Builtin("flapping".into()),
            &[("attempts", "3"), ("name", "plugin:p"), ("note", "it's \"a\" $1")],
        );
        let (argv, env) = settled(watcher, &CircusConfig { loglevel: Some("info".into()), ..CircusConfig::default() });
        assert_eq!(
            argv,
            [
                "circus-plugin",
                "--endpoint",
                "tcp://127.0.0.1:5555",
                "--pubsub",
                "tcp://127.0.0.1:5556",
                "--check-delay",
                "5",
                "--log-level",
                "info",
                "flapping",
            ]
        );
        let config: serde_json::Value = serde_json::from_str(&env["CIRCUS_PLUGIN_CONFIG"]).unwrap();
        assert_eq!(config, serde_json::json!({"attempts": "3", "name": "plugin:p", "note": "it's \"a\" $1"}));
        assert_eq!((env["CIRCUS_PLUGIN_NAME"].as_str(), env["CIRCUS_CHECK_DELAY"].as_str()), ("plugin:p", "5"));
    }

    #[test]
    fn a_python_class_is_the_last_word_behind_the_bridge() {
        let runner = Runner::Python { python: "/opt/my env/bin/python".into(), class: "my.Plugin".into() };
        let (argv, _) = settled(plugin(runner, &[]), &CircusConfig { debug: true, ..CircusConfig::default() });
        assert_eq!((argv[0].as_str(), argv[1].as_str(), argv[2].as_str()), ("/opt/my env/bin/python", "-c", BRIDGE));
        assert_eq!(argv[argv.len() - 3..], ["--log-level", "DEBUG", "my.Plugin"]);
        // Variables in a command are substituted at each start.
        assert!(!BRIDGE.contains("$(") && !BRIDGE.contains("((circus"));
    }

    #[test]
    fn a_command_is_what_it_is() {
        let mut watcher = plugin(Runner::Command, &[]);
        watcher.cmd = "sh 'my plugin'".into();
        let (argv, env) = settled(watcher, &CircusConfig::default());
        assert_eq!(argv, ["sh", "my plugin"]);
        assert_eq!(env["CIRCUS_STATS_ENDPOINT"], "tcp://127.0.0.1:5557");
    }
}
