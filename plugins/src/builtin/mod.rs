//! The built-in plugins: a file each, which registers itself in the list below.

use circus_plugin_sdk::{Plugin, PluginContext};

mod command_reloader;
mod flapping;
mod full_stats;
mod http_observer;
mod logger;
mod notify;
mod prometheus;
mod redis_observer;
mod resource_watcher;
mod statsd;
mod watchdog;
mod webhook;

/// Every built-in plugin.
pub(crate) const PLUGINS: &[Registration] = &[
    command_reloader::PLUGIN,
    flapping::PLUGIN,
    full_stats::PLUGIN,
    http_observer::PLUGIN,
    logger::PLUGIN,
    notify::PLUGIN,
    prometheus::PLUGIN,
    redis_observer::PLUGIN,
    resource_watcher::PLUGIN,
    statsd::PLUGIN,
    watchdog::PLUGIN,
    webhook::PLUGIN,
];

/// A built-in plugin. Its keys are declared in `circus_core::config::BUILTINS`, where `circusd --check` needs them.
pub(crate) struct Registration {
    /// Its name in that table.
    pub(crate) name: &'static str,
    /// Makes it from what its section says; what the section lacks has its default.
    pub(crate) make: fn(&PluginContext) -> Result<Box<dyn Plugin>, String>,
}

fn boxed<P: Plugin + 'static>(made: Result<P, String>) -> Result<Box<dyn Plugin>, String> {
    made.map(|plugin| Box::new(plugin) as Box<dyn Plugin>)
}
