//! The plugins that come with circusd, in one program. `[plugin:x]` with `use = NAME` makes circusd run it.
//!
//! Each is a file in `builtin` that registers an implementation of [`circus_plugin_sdk::Plugin`]; `support` is what they
//! share. Names, keys and defaults are declared in [`circus_core::config::BUILTINS`], from which the manual is made too. None of them opens a socket to circusd
//! or reads a clock, so their tests need neither.

use std::io::Write as _;
use std::process::ExitCode;

use circus_core::config::{BUILTINS, Builtin, PLUGIN_KEYS, PluginKey};
use circus_plugin_sdk::{Args, Plugin, PluginContext, run};
use clap::{CommandFactory as _, Parser};

use self::builtin::PLUGINS;

mod builtin;
mod support;

/// circus-plugin: runs one of the plugins that come with circusd.
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
        Some(name) => run(&command.plugin, |context| make(&name, context)),
        // As the original, which exits with 0.
        None => print(&format!("{}\n", Command::command().render_usage())),
    }
}

fn print(text: &str) -> ExitCode {
    // A closed pipe means that the reader has seen enough.
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
fn make(name: &str, context: &PluginContext) -> Result<Box<dyn Plugin>, String> {
    let Some(builtin) = Builtin::find(name) else {
        let shared = PLUGIN_KEYS.iter().any(|key| key.name == name);
        let hint = if shared { String::new() } else { Builtin::nearest(name) };
        return Err(format!("there is no plugin '{name}'{hint}; circus-plugin --list prints those there are"));
    };
    let context = PluginContext { settings: context.settings.clone().with_defaults_of(builtin), ..context.clone() };
    let registration = PLUGINS.iter().find(|registration| registration.name == builtin.name);
    let registration = registration.ok_or_else(|| format!("the plugin '{name}' is declared but not built in"))?;
    (registration.make)(&context).map_err(|text| format!("{name}: {text}"))
}

#[cfg(test)]
mod tests {
    use circus_plugin_sdk::Settings;

    use super::*;

    fn context(settings: &[(&str, &str)]) -> PluginContext {
        PluginContext {
            endpoint: String::new(),
            pubsub_endpoint: String::new(),
            check_delay: 5.0,
            name: None,
            settings: Settings::new(settings.iter().copied()),
        }
    }

    #[test]
    fn declared_plugins_are_made_by_either_name() {
        let needed = context(&[("watcher", "w"), ("url", "http://127.0.0.1:9/"), ("port", "0")]);
        for builtin in BUILTINS {
            assert!(PLUGINS.iter().any(|registration| registration.name == builtin.name), "{}", builtin.name);
            for name in [Some(builtin.name), builtin.class].into_iter().flatten() {
                assert_eq!(make(name, &needed).err(), None, "{name}");
            }
        }
    }

    #[test]
    fn plugin_that_cannot_be_made_is_explained() {
        let error = |name| make(name, &context(&[("attempts", "many")])).err().unwrap();
        assert_eq!(error("flapping"), "flapping: attempts: 'many' is not a valid number");
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
