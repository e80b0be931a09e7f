//! The input of a hook: variables and JSON for a command, arguments for a Python function.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::arbiter::{HookCall, HookSubject};
use crate::config::{WatcherConfig, options};
use crate::proto::{HookPoint, Object};

/// Where circusd is reached.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Place {
    pub(in crate::daemon) endpoint: String,
    pub(in crate::daemon) pubsub_endpoint: String,
    pub(in crate::daemon) stats_endpoint: String,
    pub(in crate::daemon) check_delay: f64,
}

/// The environment of a command: circusd's own, and what it is about.
pub(super) fn environment(
    own: &BTreeMap<String, String>,
    place: &Place,
    call: &HookCall,
    point: HookPoint,
) -> Vec<(String, String)> {
    let HookSubject { pid, wid, signum, exit_code, time, stats: _ } = &call.subject;
    let told = [
        ("CIRCUS_HOOK", Some(point.name().to_owned())),
        ("CIRCUS_WATCHER", Some(call.config.name.clone())),
        ("CIRCUS_PID", pid.map(|pid| pid.0.to_string())),
        ("CIRCUS_WID", wid.map(|wid| wid.0.to_string())),
        ("CIRCUS_SIGNUM", signum.map(|signal| signal.0.to_string())),
        ("CIRCUS_EXIT_CODE", exit_code.map(|code| code.to_string())),
        ("CIRCUS_TIME", time.map(|time| time.to_string())),
        ("CIRCUS_HOOK_TIMEOUT", Some(call.config.hook_timeout.to_string())),
        ("CIRCUS_ENDPOINT", Some(place.endpoint.clone())),
        ("CIRCUS_PUBSUB_ENDPOINT", Some(place.pubsub_endpoint.clone())),
        ("CIRCUS_STATS_ENDPOINT", Some(place.stats_endpoint.clone())),
    ];
    let mut env = own.clone();
    for (name, value) in told {
        // A variable without a value here is not inherited from circusd's own environment.
        env.remove(name);
        env.extend(value.map(|value| (name.to_owned(), value)));
    }
    env.into_iter().collect()
}

/// The same for a command's standard input, and the watcher's options.
pub(super) fn json(place: &Place, call: &HookCall, point: HookPoint) -> Vec<u8> {
    let mut brief = Object::new();
    brief.insert("hook".into(), point.name().into());
    brief.insert("watcher".into(), call.config.name.as_str().into());
    brief.extend(particulars(&call.subject));
    brief.insert("options".into(), options::shown(&call.config, false).into());
    brief.insert("hook_timeout".into(), call.config.hook_timeout.into());
    brief.extend(place.facts());
    let mut text = Value::Object(brief).to_string().into_bytes();
    text.push(b'\n');
    text
}

fn particulars(subject: &HookSubject) -> Object {
    let HookSubject { pid, wid, signum, exit_code, time, stats } = subject;
    let told = [
        ("pid", pid.map(|pid| pid.0.into())),
        ("wid", wid.map(|wid| wid.0.into())),
        ("signum", signum.map(|signal| signal.0.into())),
        ("exit_code", exit_code.map(Value::from)),
        ("time", time.map(Value::from)),
        ("stats", stats.clone().map(Value::Object)),
    ];
    told.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// What a Python function gets besides the watcher and the arbiter, named as the original names it.
pub(super) fn keywords(subject: &HookSubject, point: HookPoint) -> Object {
    let mut told = particulars(subject);
    // The original's functions know nothing of it.
    told.remove("wid");
    match point {
        HookPoint::BeforeReap | HookPoint::AfterReap => {
            let pid = told.remove("pid").unwrap_or_default();
            told.insert("process_pid".into(), pid);
            if point == HookPoint::BeforeReap {
                told.remove("exit_code");
            } else {
                // The original's word for a process that was collected already, which ours always is.
                told.insert("process_status".into(), Value::Null);
            }
        }
        HookPoint::BeforeStart
        | HookPoint::AfterStart
        | HookPoint::BeforeSpawn
        | HookPoint::AfterSpawn
        | HookPoint::BeforeStop
        | HookPoint::AfterStop
        | HookPoint::BeforeSignal
        | HookPoint::AfterSignal
        | HookPoint::ExtendedStats => {}
    }
    told
}

/// A watcher as a Python function sees it: every option, and those that `options` shows.
pub(super) fn snapshot(config: &WatcherConfig) -> Value {
    let fixed = options::WATCHER_OPTIONS.iter().filter(|spec| !spec.key.ends_with('*'));
    let mut all: Object = fixed.filter_map(|spec| Some((spec.key.to_owned(), (spec.get)(config, "")?))).collect();
    let shown = options::shown(config, false);
    all.extend(shown.iter().map(|(key, value)| (key.clone(), value.clone())));
    let limits = config.rlimits.iter().map(|(name, limit)| (name.clone(), (*limit).into()));
    all.insert("rlimits".into(), limits.collect::<Object>().into());
    json!({"all": all, "options": shown})
}

impl Place {
    pub(super) fn facts(&self) -> Object {
        let facts = [
            ("endpoint", self.endpoint.as_str().into()),
            ("pubsub_endpoint", self.pubsub_endpoint.as_str().into()),
            ("stats_endpoint", self.stats_endpoint.as_str().into()),
            ("check_delay", self.check_delay.into()),
        ];
        facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
