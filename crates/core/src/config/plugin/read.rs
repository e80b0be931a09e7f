//! The sections `[plugin:NAME]`, as watchers.

use std::collections::BTreeMap;

use super::settle::settle_one;
use super::{Builtin, PluginConfig, Runner, SHARED};
use crate::base::CollectOrdered as _;
use crate::config::env::WatcherEnv;
use crate::config::ini::{Entry, Section};
use crate::config::nearest::suggestion;
use crate::config::options::{WATCHER_OPTIONS, contradiction, find};
use crate::config::section::{Source, named};
use crate::config::watcher::{Watcher, Watchers, environment, option, stream};
use crate::config::{CircusConfig, Problem, Severity, WatcherConfig, WatcherOrigin, python};

/// A plugin is not passed the keys that say how it is started.
const OF_THE_RUNNER: [&str; 5] = ["use", "cmd", "args", "python", "python_runner"];
/// Options of watchers that mean something to a plugin, or nothing at all here.
const OF_THE_PLUGIN: [&str; 4] = ["max_retry", "retry_in", "env", "name"];

/// Reads every plugin. One with an error is left out, after all its errors are noted.
pub(in crate::config) fn read<'a>(source: &mut Source<'a>, circus: &CircusConfig) -> Watchers<'a> {
    let ini = source.ini;
    let mut plugins = Watchers::default();
    for section in ini.sections().filter(|section| section.name.starts_with("plugin:")) {
        if ini.entries(section).next().is_none() {
            let text = format!("[{}] has no keys, so there is no such plugin", section.name);
            source.problems.push(Problem::warning(&section.place, text));
            continue;
        }
        if let Some((mut config, is_sound)) = read_one(source, section) {
            settle_one(&mut config, circus);
            if is_sound { &mut plugins.sound } else { &mut plugins.unsound }.push(Watcher { config, section });
        }
    }
    plugins.sound.sort_by(|a, b| a.config.name.cmp(&b.config.name));
    plugins
}

/// The plugin as a watcher, and whether it is without errors.
fn read_one(source: &mut Source<'_>, section: &Section) -> Option<(WatcherConfig, bool)> {
    let before = source.problems.len();
    let ini = source.ini;
    let entry = |key: &str| ini.entries(section).find(|entry| entry.key == key);
    let copy_env = entry("copy_env").and_then(|entry| python::boolean(&source.environment.expand(&entry.value)));
    let env = source.environment.of_watcher(&section.name, copy_env.unwrap_or(true), &mut source.problems);
    let mut watcher = WatcherConfig::new(&section.name, "", &source.host.cwd);
    (watcher.dynamic, watcher.singleton, watcher.priority, watcher.copy_env) = (false, true, 1, true);
    let words = Words { entry: &entry, env: &env };
    let runner = runner(source, section, &words);
    // A script waits for its children, which the signal has to reach for it to end.
    watcher.stop_children = runner == Some(Runner::Command);
    for entry in ini.entries(section) {
        if is_of_the_watcher(&entry.key, runner.as_ref()) {
            option(source, section, entry, &env, &mut watcher);
        } else {
            misspelt(source, section, entry, runner.as_ref());
        }
    }
    watcher.autostart &= words.flag(source, section, "active", true);
    let settings = settings(source, section, &env);
    if let Some(socket) = runner.as_ref().and_then(|runner| socket(runner, &settings)) {
        watcher.stdin_socket = Some(socket);
    }
    watcher.env = Some(environment(env.variables, entry("env")));
    if watcher.working_dir.is_empty() {
        watcher.working_dir.clone_from(&source.host.cwd);
    }
    if let Some(text) = contradiction(&watcher) {
        source.problems.push(Problem::skipped(&section.place, format!("[{}] {text}", section.name)));
    }
    stream(source, section, "stdout_stream", &mut watcher.stdout_stream);
    stream(source, section, "stderr_stream", &mut watcher.stderr_stream);
    let is_sound = source.problems.iter().skip(before).all(|problem| problem.severity < Severity::Skipped);
    watcher.plugin = Some(PluginConfig { runner: runner?, settings });
    watcher.origin = WatcherOrigin::Plugin;
    watcher.declared = Some(section.place.shown());
    Some((watcher, is_sound))
}

/// What stands in a section, with its variables replaced.
struct Words<'w, 'i> {
    entry: &'w dyn Fn(&str) -> Option<&'i Entry>,
    env: &'w WatcherEnv<'w>,
}

impl Words<'_, '_> {
    fn text(&self, key: &str) -> Option<String> {
        let text = shown((self.entry)(key)?, self.env);
        (!text.is_empty()).then_some(text)
    }

    fn flag(&self, source: &mut Source<'_>, section: &Section, key: &str, default: bool) -> bool {
        let (Some(entry), Some(text)) = ((self.entry)(key), self.text(key)) else { return default };
        python::boolean(&text).unwrap_or_else(|| {
            let text = format!("{}: '{text}' is neither yes nor no", named(section, key));
            source.problems.push(Problem::skipped(&entry.place, text));
            default
        })
    }
}

/// A value as text, with its variables replaced; JSON has none.
fn shown(entry: &Entry, env: &WatcherEnv<'_>) -> String {
    if entry.json.is_some() { entry.value.clone() } else { env.expand(&entry.value).into_owned() }
}

/// Which program the section means. Without one, a problem says why.
fn runner(source: &mut Source<'_>, section: &Section, words: &Words<'_, '_>) -> Option<Runner> {
    let by_python = words.flag(source, section, "python_runner", false);
    let mut refuse = |key: &str, text: &str| {
        let place = section.get(key).map_or(&section.place, |entry| &entry.place);
        source.problems.push(Problem::skipped(place, format!("{}: {text}", named(section, key))));
    };
    let (name, by_command) = (words.text("use"), words.text("cmd").is_some());
    let name = match (name, by_command) {
        (None, true) => return Some(Runner::Command),
        (Some(name), false) => name,
        (Some(_), true) => {
            refuse("cmd", "use already names the plugin; write only one of the two");
            return None;
        }
        (None, false) => {
            refuse("use", "is missing: the name of a plugin, of a Python class, or cmd with a command");
            return None;
        }
    };
    let known = Builtin::find(&name);
    let class = known.map_or(Some(name.as_str()), |builtin| builtin.class);
    match (class, known) {
        (Some(class), _) if (by_python || known.is_none()) && class.contains('.') => {
            let python = words.text("python").unwrap_or_else(|| "python3".into());
            Some(Runner::Python { python, class: class.to_owned() })
        }
        (_, Some(_)) if !by_python => Some(Runner::Builtin(name)),
        (_, Some(_)) => {
            refuse("python_runner", &format!("{name} is not a plugin of Circus, so Python has no such class"));
            None
        }
        (_, None) => {
            refuse("use", &format!("there is no plugin '{name}'{}", Builtin::nearest(&name)));
            None
        }
    }
}

/// The managed socket at which a plugin of ours listens. It is standard input, so that no number has to be passed.
fn socket(runner: &Runner, settings: &BTreeMap<String, String>) -> Option<String> {
    let Runner::Builtin(name) = runner else { return None };
    let listens = Builtin::find(name)?.keys.iter().any(|key| key.name == "socket");
    settings.get("socket").filter(|name| listens && !name.is_empty()).map(|name| name.to_lowercase())
}

/// Whether a key is an option of the watcher that the plugin is.
fn is_of_the_watcher(key: &str, runner: Option<&Runner>) -> bool {
    match key {
        "cmd" | "args" => runner == Some(&Runner::Command),
        key if key.starts_with("stdout_stream") || key.starts_with("stderr_stream") => true,
        key => find(key).is_some() && !OF_THE_PLUGIN.contains(&key),
    }
}

/// What a plugin is passed: the keys of its section, and its name.
fn settings(source: &Source<'_>, section: &Section, env: &WatcherEnv<'_>) -> BTreeMap<String, String> {
    let is_passed = |entry: &&Entry| {
        // In JSON it is the environment of the process, which is a part of no plugin's configuration.
        let env = entry.key == "env" && entry.json.is_some();
        !env && !OF_THE_RUNNER.contains(&entry.key.as_str())
    };
    let passed = source.ini.entries(section).filter(is_passed);
    let mut settings: BTreeMap<_, _> = passed.map(|entry| (entry.key.clone(), shown(entry, env))).collect_map();
    settings.insert("name".into(), section.name.clone());
    settings
}

/// The keys of our own plugins are known; what others take, only they know.
fn misspelt(source: &mut Source<'_>, section: &Section, entry: &Entry, runner: Option<&Runner>) {
    let Some(Runner::Builtin(name)) = runner else { return };
    let Some(builtin) = Builtin::find(name) else { return };
    let keys = builtin.keys.iter().chain(SHARED).map(|key| key.name);
    let known = keys.clone().chain(OF_THE_PLUGIN).any(|key| key == entry.key);
    if known || source.ini.is_default(entry) {
        return;
    }
    let hint = suggestion(&entry.key, keys.chain(WATCHER_OPTIONS.iter().map(|spec| spec.key)));
    let text = format!("unknown key '{}' in [{}]{hint}", entry.key, section.name);
    source.problems.push(Problem::warning(&entry.place, text));
}
