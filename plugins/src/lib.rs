//! The plugins that come with circusd, in one program. `[plugin:x]` with `use = NAME` makes circusd run it.
//!
//! Each is a file of its own here and an implementation of [`circus_plugin_sdk::Plugin`]; its name, keys and defaults are
//! declared in [`circus_core::config::BUILTINS`], from which its manual is made too. None of them opens a socket to circusd
//! or reads a clock, so their tests need neither.

use std::io::Write as _;
use std::process::ExitCode;

use circus_core::config::{BUILTINS, Builtin, PLUGIN_KEYS, PluginKey};
use circus_plugin_sdk::{Args, Plugin, Surroundings, run};
use clap::{CommandFactory as _, Parser};

mod background;
mod command_reloader;
mod flapping;
mod full_stats;
mod http_observer;
mod limits;
mod logger;
mod prometheus;
mod redis_observer;
mod resource_watcher;
mod responder;
mod sizes;
mod stamps;
mod statsd;
mod statsd_client;
mod ticks;
mod watchdog;
mod watchers;
mod webhook;

/// Runs one of the plugins that come with circusd.
#[derive(Debug, Parser)]
#[command(name = "circus-plugin", about)]
struct Command {
    #[command(flatten)]
    plugin: Args,
    /// Print the plugins and their keys
    #[arg(long)]
    list: bool,
    /// Print the version
    #[arg(long)]
    version: bool,
}

/// circus-plugin, from its command line to its exit status.
pub fn main() -> ExitCode {
    let command = Command::parse();
    if command.version {
        return print(concat!(env!("CARGO_PKG_VERSION"), "\n"));
    }
    if command.list {
        return print(&BUILTINS.iter().map(listed).collect::<String>());
    }
    match command.plugin.plugin.clone() {
        Some(name) => run(&command.plugin, |surroundings| make(&name, surroundings)),
        // As the original, which exits with 0.
        None => print(&format!("{}\n", Command::command().render_usage())),
    }
}

fn print(text: &str) -> ExitCode {
    // Whoever closed our output has seen enough.
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

fn listed(builtin: &Builtin) -> String {
    let class = builtin.class.map(|class| format!(" ({class})")).unwrap_or_default();
    let key = |key: &PluginKey| {
        let default = if key.default.is_empty() { String::new() } else { format!(" [{}]", key.default) };
        format!("    {}{default}: {}\n", key.name, key.doc)
    };
    let keys: String = builtin.keys.iter().map(key).collect();
    format!("{}{class}\n  {}\n{keys}", builtin.name, builtin.about)
}

/// The plugin of this name, with what its section says.
fn make(name: &str, surroundings: &Surroundings) -> Result<Box<dyn Plugin>, String> {
    let Some(builtin) = Builtin::find(name) else {
        let shared = PLUGIN_KEYS.iter().any(|key| key.name == name);
        let hint = if shared { String::new() } else { Builtin::nearest(name) };
        return Err(format!("no plugin is called '{name}'{hint}; circus-plugin --list prints those there are"));
    };
    let settings = surroundings.settings.clone().with_defaults_of(builtin);
    let made = match builtin.name {
        "flapping" => boxed(flapping::Flapping::new(&settings, surroundings.check_delay)),
        "resource_watcher" => boxed(resource_watcher::ResourceWatcher::new(&settings)),
        "command_reloader" => boxed(command_reloader::CommandReloader::new(&settings)),
        "statsd" => boxed(statsd::StatsdEmitter::new(&settings)),
        "full_stats" => boxed(full_stats::FullStats::new(&settings)),
        "redis_observer" => boxed(redis_observer::RedisObserver::new(&settings)),
        "http_observer" => boxed(http_observer::HttpObserver::new(&settings)),
        "watchdog" => boxed(watchdog::WatchDog::new(&settings)),
        "logger" => boxed(logger::Logger::new(&settings)),
        "webhook" => boxed(webhook::Webhook::new(&settings)),
        "prometheus" => boxed(prometheus::Prometheus::new(&settings)),
        other => Err(format!("the plugin '{other}' is declared and not there")),
    };
    made.map_err(|text| format!("{name}: {text}"))
}

fn boxed<P: Plugin + 'static>(made: Result<P, String>) -> Result<Box<dyn Plugin>, String> {
    made.map(|plugin| Box::new(plugin) as Box<dyn Plugin>)
}

#[cfg(test)]
mod tests {
    use circus_plugin_sdk::Settings;

    use super::*;

    fn surroundings(settings: &[(&str, &str)]) -> Surroundings {
        Surroundings {
            endpoint: String::new(),
            pubsub_endpoint: String::new(),
            check_delay: 5.0,
            name: None,
            settings: Settings::new(settings.iter().copied()),
        }
    }

    #[test]
    fn every_declared_plugin_can_be_made_by_either_name() {
        let needed = surroundings(&[("watcher", "w"), ("url", "http://127.0.0.1:9/"), ("port", "0")]);
        for builtin in BUILTINS {
            for name in [Some(builtin.name), builtin.class].into_iter().flatten() {
                assert_eq!(make(name, &needed).err(), None, "{name}");
            }
        }
    }

    #[test]
    fn what_cannot_be_made_is_explained() {
        let error = |name| make(name, &surroundings(&[("attempts", "many")])).err().unwrap();
        assert_eq!(error("flapping"), "flapping: attempts: 'many' is no such number");
        assert!(error("flaping").contains("did you mean 'flapping'"), "{}", error("flaping"));
        assert_eq!(error("resource_watcher"), "resource_watcher: watcher: is missing");
        assert_eq!(error("webhook"), "webhook: url: is missing");
    }

    #[test]
    fn the_list_names_every_key() {
        let text: String = BUILTINS.iter().map(listed).collect();
        assert!(text.contains("flapping (circus.plugins.flapping.Flapping)") && text.contains("    attempts [2]: "));
    }
}
