//! `[slots:NAME]`: values of which each worker gets one of its own, such as the numbers of graphics cards.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ini::Section;
use super::nearest::suggestion;
use super::section::{Source, named};
use super::watcher::Watcher;
use super::{Problem, WatcherConfig};
use crate::base::CollectOrdered as _;

/// The values that a watcher's workers share out, as its option `slot.NAME` names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotPool {
    /// The name of the section.
    pub pool: String,
    /// What it says.
    pub values: Vec<String>,
}

impl WatcherConfig {
    /// Why so many workers cannot have a value each, if they cannot.
    pub fn lacks_slots(&self, workers: u32) -> Option<String> {
        let short = self.slots.values().find(|slots| slots.values.len() < workers as usize)?;
        let (pool, count) = (&short.pool, short.values.len());
        Some(format!("{workers} workers need a value each, and [slots:{pool}] has {count}"))
    }
}

/// Gives the watcher the values that its `slot.NAME` name.
pub(super) fn fill(source: &mut Source<'_>, section: &Section, watcher: &mut WatcherConfig) {
    let ini = source.ini;
    for (variable, slots) in &mut watcher.slots {
        let key = format!("slot.{variable}");
        let place = section.get(&key).map_or(&section.place, |entry| &entry.place);
        let Some(pool) = ini.section(&format!("slots:{}", slots.pool)) else {
            let pools = ini.sections().filter_map(|other| other.name.strip_prefix("slots:"));
            let hint = suggestion(&slots.pool, pools);
            let text = format!("{}: there is no section [slots:{}]{hint}", named(section, &key), slots.pool);
            source.problems.push(Problem::skipped(place, text));
            continue;
        };
        match values(source, pool) {
            Ok(values) => slots.values = values,
            Err(error) => {
                let text = format!("{}: [{}] {error}", named(section, &key), pool.name);
                source.problems.push(Problem::skipped(place, text));
            }
        }
    }
}

/// The values of a section. Each is there once.
fn values(source: &Source<'_>, section: &Section) -> Result<Vec<String>, String> {
    let entry = section.get("values").ok_or("has no values")?;
    let values: Vec<String> = match &entry.json {
        Some(Value::Array(values)) => values.iter().map(super::python::display).collect(),
        Some(_) => return Err("values: is not a list".into()),
        None => {
            let text = source.environment.expand(&entry.value);
            text.split([',', '\n']).map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
        }
    };
    if values.is_empty() {
        return Err("has no values".into());
    }
    let mut seen = BTreeSet::new();
    match values.iter().find(|value| !seen.insert(value.as_str())) {
        Some(twice) => Err(format!("values: '{twice}' is there twice")),
        None => Ok(values),
    }
}

/// What is wrong with the sections themselves, and pools that have too few values for all watchers that start.
pub(super) fn warnings(source: &mut Source<'_>, watchers: &[Watcher<'_>]) {
    let ini = source.ini;
    for section in ini.sections().filter(|section| section.name.starts_with("slots:")) {
        for entry in ini.entries(section).filter(|entry| entry.key != "values") {
            source.unknown_key(section, entry, ["values"]);
        }
    }
    let mut wanted: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for config in watchers.iter().map(|watcher| &watcher.config).filter(|config| config.autostart) {
        let pools: BTreeMap<&str, usize> =
            config.slots.values().map(|slots| (slots.pool.as_str(), slots.values.len())).collect_map();
        for (pool, count) in pools {
            let wanted = wanted.entry(pool).or_insert((0, count));
            wanted.0 += config.numprocesses as usize;
        }
    }
    for (pool, (wanted, count)) in wanted {
        let Some(section) = ini.section(&format!("slots:{pool}")).filter(|_| wanted > count) else { continue };
        let text = format!(
            "[slots:{pool}] values: the watchers that start with circusd have {wanted} workers together, and there are \
             {count} values; those that get none wait"
        );
        source.problems.push(Problem::warning(&section.place, text));
    }
}
