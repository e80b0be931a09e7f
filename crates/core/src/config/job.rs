//! What watchers of the different kinds (`kind`) cannot have.

use super::{Cron, WatcherConfig, WatcherKind};

/// Why these options of a watcher cannot hold with its kind, and which of them is to be blamed.
pub(super) fn fault(watcher: &WatcherConfig) -> Option<(&'static str, String)> {
    let kind = watcher.kind.name();
    let is_scheduled = watcher.cron.schedule.is_some();
    match watcher.kind {
        WatcherKind::Service | WatcherKind::Oneshot if is_scheduled => {
            return Some(("schedule", "needs kind = cron".into()));
        }
        WatcherKind::Cron if !is_scheduled => {
            return Some(("kind", "cron needs a schedule, such as schedule = 0 3 * * * or @every 5m".into()));
        }
        WatcherKind::Cron if watcher.essential => {
            return Some(("essential", "a watcher with kind = cron always has another run to come".into()));
        }
        WatcherKind::Service => return None,
        WatcherKind::Oneshot | WatcherKind::Cron => {}
    }
    if watcher.numprocesses != 1 {
        return Some(("numprocesses", format!("kind = {kind} runs one process, not {}", watcher.numprocesses)));
    }
    let of_services = [
        ("ready", watcher.checks.ready.is_some()),
        ("health", watcher.checks.health.is_some()),
        ("on_demand", watcher.on_demand),
        ("scale", watcher.scaling.scale.is_some()),
        ("max_age", watcher.max_age > 0),
    ];
    let (key, _) = of_services.into_iter().find(|(_, is_set)| *is_set)?;
    Some((key, format!("is for services, and kind = {kind} is none")))
}

/// The options that have no effect with another kind than cron, as far as they are set.
pub(super) fn idle(watcher: &WatcherConfig) -> impl Iterator<Item = &'static str> {
    let (set, plain) = (&watcher.cron, Cron::default());
    let of_cron = [
        ("timezone", set.timezone != plain.timezone),
        ("overlap", set.overlap != plain.overlap),
        ("missed", set.missed != plain.missed),
        ("jitter", set.jitter > 0.0),
    ];
    let is_cron = watcher.kind == WatcherKind::Cron;
    of_cron.into_iter().filter(move |(_, is_set)| *is_set && !is_cron).map(|(key, _)| key)
}
