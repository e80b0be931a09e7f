//! What lies between the configuration in force and one that was read just now, and what has to be done about it.
//!
//! A watcher is the same if nothing in it differs; if only `numprocesses` does, it is scaled in place; options that `set`
//! applies without new processes are applied so; with any other difference it is replaced, as in Circus. A socket whose
//! address is the same is adjusted while it is open; another is opened anew, and watchers that hold the old one are
//! replaced too. Of `[circus]` some options are applied at once, and the others are named: they count when circusd is
//! started again.

mod describe;

use std::collections::{BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::options::{CIRCUS_OPTIONS, Effect, SOCKET_OPTIONS, Setting, differences, find};
use super::{CircusConfig, Config, SocketConfig, WatcherConfig, named_sockets};
use crate::base::CollectOrdered as _;

/// What becomes of everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReloadPlan {
    /// In the order of the new configuration, then those that it lacks.
    pub watchers: Vec<WatcherStep>,
    /// In the order of the new configuration, then those that it lacks.
    pub sockets: Vec<SocketStep>,
    /// Options of `[circus]` that differ and are applied at once.
    pub applied: Vec<String>,
    /// Options of `[circus]` that differ and count when circusd is started again.
    pub needs_restart: Vec<String>,
}

/// What becomes of a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatcherStep {
    /// Its name.
    pub name: String,
    /// Its place in the old configuration.
    pub old: Option<usize>,
    /// Its place in the new one.
    pub new: Option<usize>,
    /// What becomes of it.
    pub change: WatcherChange,
}

/// What becomes of a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatcherChange {
    /// Nothing differs.
    Kept,
    /// Only the number of its processes differs.
    Scaled {
        /// The number in the old configuration.
        from: u32,
        /// The number in the new one.
        to: u32,
    },
    /// Only options differ that are looked at when they are needed: they count at once, for the processes that run.
    Adjusted {
        /// The options, without `numprocesses`.
        why: Vec<String>,
        /// The number of processes in the old configuration and in the new one, where it differs.
        scaled: Option<(u32, u32)>,
    },
    /// It goes on with the new configuration in new processes.
    Replaced {
        /// The options that differ, and the sockets of its processes that are not what they were.
        why: Vec<String>,
        /// Only sockets differ, and perhaps the number: the new processes may come before the old ones go.
        gracefully: bool,
        /// Whether it starts by itself.
        starts: bool,
    },
    /// It is new.
    Added {
        /// Whether it starts by itself.
        starts: bool,
    },
    /// The new configuration lacks it.
    Removed {
        /// It came by the command `add`.
        dynamic: bool,
    },
}

/// What becomes of a managed socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketStep {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub change: SocketChange,
}

/// What becomes of a managed socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketChange {
    /// Nothing differs.
    Kept,
    /// These options differ, which can be changed while it is open.
    Adjusted(Vec<String>),
    /// These options differ, and it is opened anew.
    Replaced(Vec<String>),
    /// It is new.
    Added,
    /// The new configuration lacks it.
    Removed,
}

impl ReloadPlan {
    /// Whether nothing is to be done. What waits for a restart of circusd may differ.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty()
            && self.watchers.iter().all(|step| step.change == WatcherChange::Kept)
            && self.sockets.iter().all(|step| step.change == SocketChange::Kept)
    }
}

/// What has to be done so that `new` is in force where `old` is. Where something cannot be done at all, that is the error.
pub fn plan(old: &Config, new: &Config) -> Result<ReloadPlan, Vec<String>> {
    let lost = lost_sockets(old, new);
    if !lost.is_empty() {
        return Err(lost);
    }
    let sockets = sockets(&old.sockets, &new.sockets);
    let closing = closing(&sockets);
    let watchers = pairs(&old.watchers, &new.watchers, |watcher| &watcher.name)
        .map(|(name, before, after)| WatcherStep {
            name: name.to_owned(),
            old: before.map(|(place, _)| place),
            new: after.map(|(place, _)| place),
            change: watcher(before.map(|(_, watcher)| watcher), after.map(|(_, watcher)| watcher), &closing),
        })
        .collect();
    let (applied, needs_restart) = split(CIRCUS_OPTIONS, &old.circus, &new.circus);
    Ok(ReloadPlan { watchers, sockets, applied, needs_restart })
}

/// `[circus]` as it is in force when `new` was taken over: options that need a restart stay as they were.
pub fn in_force(old: &CircusConfig, new: &CircusConfig) -> CircusConfig {
    let mut circus = old.clone();
    for setting in CIRCUS_OPTIONS.iter().filter(|setting| setting.is_live(old, new)) {
        (setting.copy)(&mut circus, new);
    }
    circus
}

/// Whether the same open socket can serve for both.
pub fn same_place(one: &SocketConfig, other: &SocketConfig) -> bool {
    let mut anew = SOCKET_OPTIONS.iter().filter(|setting| !setting.is_live(one, other));
    !anew.any(|setting| (setting.differs)(one, other))
}

/// Watchers that name a socket which was there and is not any more.
fn lost_sockets(old: &Config, new: &Config) -> Vec<String> {
    let there = |config: &Config, name: &str| config.sockets.iter().any(|socket| socket.name == name);
    let lost = |watcher: &WatcherConfig| {
        let names = named_sockets(watcher).into_iter().filter(|name| there(old, name) && !there(new, name));
        let text =
            |name| format!("watcher '{}' uses the socket '{name}', which is not in the file any more", watcher.name);
        names.map(text).collect::<Vec<_>>()
    };
    new.watchers.iter().flat_map(lost).collect()
}

fn sockets(old: &[SocketConfig], new: &[SocketConfig]) -> Vec<SocketStep> {
    let change = |before: Option<&SocketConfig>, after: Option<&SocketConfig>| match (before, after) {
        (None, _) => SocketChange::Added,
        (Some(_), None) => SocketChange::Removed,
        (Some(before), Some(after)) => match split(SOCKET_OPTIONS, before, after) {
            (live, anew) if live.is_empty() && anew.is_empty() => SocketChange::Kept,
            // With so_reuseport every worker has one of its own, which only its successor can have otherwise.
            (live, anew) if anew.is_empty() && !before.so_reuseport => SocketChange::Adjusted(live),
            (live, anew) => SocketChange::Replaced([anew, live].concat()),
        },
    };
    pairs(old, new, |socket| &socket.name)
        .map(|(name, before, after)| SocketStep {
            name: name.to_owned(),
            change: change(before.map(|(_, socket)| socket), after.map(|(_, socket)| socket)),
        })
        .collect()
}

/// The sockets that are closed: those that go, and those that are opened anew.
fn closing(steps: &[SocketStep]) -> BTreeSet<&str> {
    let closes = |step: &&SocketStep| match step.change {
        SocketChange::Kept | SocketChange::Adjusted(_) | SocketChange::Added => false,
        SocketChange::Replaced(_) | SocketChange::Removed => true,
    };
    steps.iter().filter(closes).map(|step| step.name.as_str()).collect_set()
}

fn watcher(old: Option<&WatcherConfig>, new: Option<&WatcherConfig>, closing: &BTreeSet<&str>) -> WatcherChange {
    let (old, new) = match (old, new) {
        (None, None) => return WatcherChange::Kept,
        (None, Some(new)) => return WatcherChange::Added { starts: new.autostart },
        (Some(old), None) => return WatcherChange::Removed { dynamic: old.dynamic },
        (Some(old), Some(new)) => (old, new),
    };
    let mut why = differences(old, new);
    let scaled = why.iter().all(|option| option == "numprocesses");
    let held = held(old, closing);
    if held.is_empty() && scaled {
        return match why.is_empty() {
            true => WatcherChange::Kept,
            false => WatcherChange::Scaled { from: old.numprocesses, to: new.numprocesses },
        };
    }
    if held.is_empty() && why.iter().all(|option| is_live(old, new, option)) {
        why.retain(|option| option != "numprocesses");
        let scaled = (old.numprocesses != new.numprocesses).then_some((old.numprocesses, new.numprocesses));
        return WatcherChange::Adjusted { why, scaled };
    }
    why.extend(held.iter().map(|name| format!("socket {name}")));
    WatcherChange::Replaced { why, gracefully: scaled, starts: new.autostart }
}

/// Whether an option that differs can be changed while the processes run.
fn is_live(old: &WatcherConfig, new: &WatcherConfig, option: &str) -> bool {
    // These options take effect at a start.
    if matches!(option, "autostart" | "kind" | "on_demand") {
        return false;
    }
    match find(option) {
        Some((spec, _)) => matches!(spec.effect, Effect::Nothing | Effect::Numprocesses),
        None => old.freeform.contains_key(option) || new.freeform.contains_key(option),
    }
}

/// Those of the closing sockets that a watcher's processes hold. As long as one of them lives, a socket is not closed.
fn held<'n>(watcher: &WatcherConfig, closing: &BTreeSet<&'n str>) -> Vec<&'n str> {
    if closing.is_empty() {
        return Vec::new();
    }
    let inherits_all = watcher.use_sockets && watcher.sockets.is_empty();
    let names = named_sockets(watcher);
    closing.iter().copied().filter(|name| inherits_all || names.contains(*name)).collect()
}

/// The options that differ: those that can be changed in what is there, and the others.
fn split<C>(settings: &[Setting<C>], old: &C, new: &C) -> (Vec<String>, Vec<String>) {
    let differ = settings.iter().filter(|setting| (setting.differs)(old, new));
    let (live, anew): (Vec<_>, Vec<_>) = differ.partition(|setting| setting.is_live(old, new));
    let keys = |settings: Vec<&Setting<C>>| settings.into_iter().map(|setting| setting.key.to_owned()).collect();
    (keys(live), keys(anew))
}

/// One of a list and its place there.
type Placed<'a, T> = Option<(usize, &'a T)>;

/// What has the same name in both, in the order of `new`; then what only `old` has. Of namesakes the first goes with
/// the first, the second with the second.
fn pairs<'a, T>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&'a T) -> &'a str,
) -> impl Iterator<Item = (&'a str, Placed<'a, T>, Placed<'a, T>)> {
    let mut places: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (place, item) in old.iter().enumerate() {
        places.entry(name(item)).or_default().push_back(place);
    }
    let at = |place: usize| old.get(place).map(|item| (place, item));
    let mut found = Vec::with_capacity(new.len());
    for item in new.iter().enumerate() {
        let before = places.get_mut(name(item.1)).and_then(VecDeque::pop_front);
        found.push((name(item.1), before.and_then(at), Some(item)));
    }
    let mut rest: Vec<usize> = places.into_values().flatten().collect();
    rest.sort_unstable();
    let gone = rest.into_iter().filter_map(at).map(|before| (name(before.1), Some(before), None));
    found.extend(gone.collect::<Vec<_>>());
    found.into_iter()
}

#[cfg(test)]
mod tests;
