//! `[watcher:NAME]`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::env::WatcherEnv;
use super::ini::{Entry, Section};
use super::nearest::suggestion;
use super::options::{
    Field as _, Kind, OptionSpec, Scope, Support, WATCHER_OPTIONS, contradiction, find, idle_key, replace_python_class,
    settle,
};
use super::section::{Source, named};
use super::{Place, Problem, Severity, StreamConfig, WatcherConfig, job, python, slots};
use crate::escape::unfit_for_a_name;
use crate::proto::HookPoint;

/// A watcher, and the lines that later checks may have to name.
pub(super) struct Watcher<'a> {
    pub(super) config: WatcherConfig,
    pub(super) section: &'a Section,
}

/// What could be read.
#[derive(Default)]
pub(super) struct Watchers<'a> {
    /// The valid ones, sorted by name.
    pub(super) sound: Vec<Watcher<'a>>,
    /// Those with errors, which are left out.
    pub(super) unsound: Vec<Watcher<'a>>,
}

/// More watchers than anybody names, and few enough for a reply that lists them.
pub const MOST_WATCHERS: usize = 10_000;

/// Known to Circus or its manual, without effect in either program, and kept like any other unknown key.
const DEAD_KEYS: [&str; 6] = ["check_flapping", "loop", "prereload_fn", "refresh_time", "retry_in", "stream_backend"];

/// Reads every watcher. One with an error is left out, after all its errors are noted.
pub(super) fn read<'a>(source: &mut Source<'a>) -> Watchers<'a> {
    let ini = source.ini;
    let mut watchers = Watchers::default();
    for section in ini.sections() {
        let Some(name) = section.name.strip_prefix("watcher:") else { continue };
        if ini.entries(section).next().is_none() {
            let text = format!("[{}] has no keys, so there is no such watcher", section.name);
            source.problems.push(Problem::warning(&section.place, text));
            continue;
        }
        if watchers.sound.len() >= MOST_WATCHERS {
            let text = format!("[{}] is left out: there are {MOST_WATCHERS} watchers already", section.name);
            source.problems.push(Problem::skipped(&section.place, text));
            continue;
        }
        let (config, is_sound) = read_one(source, section, name);
        if is_sound { &mut watchers.sound } else { &mut watchers.unsound }.push(Watcher { config, section });
    }
    if !ini.keeps_order {
        watchers.sound.sort_by(|a, b| a.config.name.cmp(&b.config.name));
    }
    warn_of_namesakes(source, &watchers.sound);
    watchers
}

impl Watcher<'_> {
    /// A problem with one of the watcher's keys, which leaves the watcher out.
    pub(super) fn problem(&self, key: &str, text: &str) -> Problem {
        Problem::skipped(self.place(key), format!("{}: {text}", named(self.section, key)))
    }

    /// Something about one of the watcher's keys that its author should know.
    pub(super) fn warning(&self, key: &str, text: &str) -> Problem {
        Problem::warning(self.place(key), format!("{}: {text}", named(self.section, key)))
    }

    fn place(&self, key: &str) -> &Place {
        self.section.get(key).map_or(&self.section.place, |entry| &entry.place)
    }
}

/// The watcher, and whether it is without errors.
fn read_one(source: &mut Source<'_>, section: &Section, name: &str) -> (WatcherConfig, bool) {
    let entry = |key: &str| source.ini.entries(section).find(|entry| entry.key == key);
    let name = entry("name").map_or(name, |entry| &entry.value);
    let copy_env = entry("copy_env").and_then(|entry| python::boolean(&source.environment.expand(&entry.value)));

    let before = source.problems.len();
    let env = source.environment.of_watcher(name, copy_env.unwrap_or(false), &mut source.problems);
    let mut watcher = WatcherConfig::new(name, "", &source.host.cwd);
    watcher.dynamic = false;
    watcher.declared = Some(entry("cmd").map_or(&section.place, |entry| &entry.place).shown());
    watcher.args = Option::read(&Value::from("")).unwrap_or_default();
    for entry in source.ini.entries(section) {
        option(source, section, entry, &env, &mut watcher);
    }
    watcher.env = Some(environment(env.variables, entry("env")));
    if watcher.working_dir.is_empty() {
        watcher.working_dir.clone_from(&source.host.cwd);
    }
    if let Some(character) = unfit_for_a_name(name) {
        let text = format!("a watcher's name cannot have the character {}", character.escape_unicode());
        source.problems.push(Problem::skipped(&section.place, text));
    }
    slots::fill(source, section, &mut watcher);
    watcher.settle_number();
    for (key, without) in watcher.scaling.idle() {
        let Some(entry) = entry(key) else { continue };
        let text = format!("{}: has no effect without {without}", named(section, &entry.key));
        source.problems.push(Problem::warning(&entry.place, text));
    }
    if let Some(text) = contradiction(&watcher) {
        let text = format!("[{}] {text}", section.name);
        source.problems.push(Problem::skipped(&section.place, text));
    }
    if let Some((key, text)) = job::fault(&watcher) {
        let place = entry(key).or_else(|| entry("kind")).map_or(&section.place, |entry| &entry.place);
        source.problems.push(Problem::skipped(place, format!("{}: {text}", named(section, key))));
    }
    for entry in job::idle(&watcher).filter_map(&entry) {
        let text = format!("{}: has no effect without kind = cron", named(section, &entry.key));
        source.problems.push(Problem::warning(&entry.place, text));
    }
    if let (Some(entry), true, false) = (entry("shell_args"), watcher.shell_args.is_some(), watcher.shell) {
        let text = format!("{}: has no effect without shell = yes", named(section, &entry.key));
        source.problems.push(Problem::warning(&entry.place, text));
    }
    stream(source, section, "stdout_stream", &mut watcher.stdout_stream);
    stream(source, section, "stderr_stream", &mut watcher.stderr_stream);
    let is_sound = source.problems.iter().skip(before).all(|problem| problem.severity < Severity::Skipped);
    (watcher, is_sound)
}

/// Stores what a key of a watcher says, or notes what is wrong with it.
pub(super) fn option(
    source: &mut Source<'_>,
    section: &Section,
    entry: &Entry,
    env: &WatcherEnv<'_>,
    watcher: &mut WatcherConfig,
) {
    let key = entry.key.as_str();
    let error = |text: String| Problem::skipped(&entry.place, format!("{}: {text}", named(section, key)));
    match find(key) {
        _ if key == "name" => {}
        // It is a part of the environment: see `environment`.
        Some((spec, _)) if spec.key == "env" && entry.json.is_some() => {
            source.problems.extend(entry.json.as_ref().and_then(env_problem).map(error));
        }
        Some((spec, _)) if spec.key == "env" => {
            let text = format!("{}: is ignored; write variables in sections [env] and [env:NAME]", named(section, key));
            source.problems.push(Problem::warning(&entry.place, text));
        }
        Some((spec, point)) if spec.kind == Kind::Hook && HookPoint::parse(point).is_none() => {
            let hint = suggestion(point, HookPoint::ALL.map(HookPoint::name));
            let text = format!("{}: there is no such hook{hint}", named(section, key));
            source.problems.push(Problem::warning(&entry.place, text));
        }
        Some((spec, suffix)) => match typed(source, spec, entry, env) {
            Err(text) => source.problems.push(error(text)),
            Ok(value) => {
                source.problems.extend(spec.refusal(&value).map(|reason| error(format!("refused: {reason}"))));
                if let Support::Ignored(reason) = spec.support {
                    let text = format!("{}: {reason}", named(section, key));
                    source.problems.push(Problem::warning(&entry.place, text));
                }
                source.problems.extend((spec.put)(watcher, suffix, &value).err().map(error));
            }
        },
        None if key.starts_with("stdout_stream") || key.starts_with("stderr_stream") => {
            let (stream, _) = key.split_at_checked("stdout_stream".len()).unwrap_or((key, ""));
            source
                .problems
                .push(error(format!("is not a key of a stream; write {stream}.KEY, such as {stream}.filename")));
        }
        None => {
            warn_of_freeform(source, section, entry);
            let value = if entry.json.is_some() { entry.value.clone() } else { env.expand(&entry.value).into_owned() };
            watcher.freeform.insert(key.into(), value);
        }
    }
}

/// The variables of a watcher's workers: what the env sections say, and in JSON what its key env does.
pub(super) fn environment(mut variables: BTreeMap<String, String>, entry: Option<&Entry>) -> BTreeMap<String, String> {
    let own = entry.and_then(|entry| entry.json.as_ref()).and_then(Value::as_object);
    for (name, value) in own.into_iter().flatten() {
        match value {
            Value::String(text) => drop(variables.insert(name.clone(), text.clone())),
            // A value of another type has been refused.
            _ => drop(variables.remove(name)),
        }
    }
    variables
}

fn env_problem(value: &Value) -> Option<String> {
    let Some(variables) = value.as_object() else { return Some("is not an object of strings".into()) };
    let wrong = variables.iter().find(|(_, value)| !value.is_string() && !value.is_null());
    wrong.map(|(name, _)| format!("the variable {name} is neither a string nor null"))
}

fn typed(source: &Source<'_>, spec: &OptionSpec, entry: &Entry, env: &WatcherEnv<'_>) -> Result<Value, String> {
    if let Some(value) = &entry.json {
        return spec.kind.given(&entry.key, value);
    }
    let text = match spec.scope {
        Scope::Global => source.environment.expand(&entry.value),
        Scope::Watcher => env.expand(&entry.value),
        Scope::Literal => Cow::Borrowed(entry.value.as_str()),
    };
    spec.kind.read(&text)
}

/// What the keys of a stream mean together.
pub(super) fn stream(source: &mut Source<'_>, section: &Section, key: &str, stream: &mut Option<StreamConfig>) {
    let (Some(stream), ini) = (stream, source.ini) else { return };
    let entries = || ini.entries(section).filter_map(|entry| Some((entry, entry.key.strip_prefix(key)?)));
    let place = entries().next().map_or(&section.place, |(entry, _)| &entry.place);
    if let Some(text) = replace_python_class(key, stream) {
        source.problems.push(Problem::warning(place, format!("[{}] {text}", section.name)));
    }
    if let Err(text) = settle(key, stream) {
        source.problems.push(Problem::skipped(place, format!("[{}] {text}", section.name)));
        return;
    }
    // Keys of [DEFAULT] are meant for streams of several classes.
    source.problems.extend(entries().filter(|(entry, _)| !ini.is_default(entry)).filter_map(|(entry, name)| {
        let text = idle_key(stream, name.strip_prefix('.')?)?;
        Some(Problem::warning(&entry.place, format!("{}: {text}", named(section, &entry.key))))
    }));
}

/// Plugins define keys of their own, which have a dot in them; other unknown keys are probably misspelt.
fn warn_of_freeform(source: &mut Source<'_>, section: &Section, entry: &Entry) {
    let key = entry.key.as_str();
    if DEAD_KEYS.contains(&key) {
        return;
    }
    let prefixes = ["hooks", "stdout_stream", "stderr_stream"];
    match key.split_once('.') {
        Some((prefix, _)) if suggestion(prefix, prefixes).is_empty() => {}
        Some((prefix, _)) => {
            let hint = suggestion(prefix, prefixes);
            let text = format!("unknown key '{key}' in [{}]{hint}", section.name);
            source.problems.push(Problem::warning(&entry.place, text));
        }
        None => source.unknown_key(section, entry, WATCHER_OPTIONS.iter().map(|spec| spec.key)),
    }
}

/// Commands find watchers by their names in lower case, so of two namesakes they reach only one.
fn warn_of_namesakes(source: &mut Source<'_>, watchers: &[Watcher<'_>]) {
    let mut seen = std::collections::HashMap::new();
    for watcher in watchers {
        let name = watcher.config.name.to_lowercase();
        if let Some(other) = seen.insert(name, &watcher.config.name) {
            let text =
                format!("'{}' and '{other}' differ only in case: commands reach only one of them", watcher.config.name);
            source.problems.push(Problem::warning(&watcher.section.place, text));
        }
    }
}
