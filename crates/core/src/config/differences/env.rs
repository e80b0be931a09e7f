//! References in env sections.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::super::env::references;
use super::super::expand::expand;
use super::super::ini::{Entry, Ini, Section};
use super::super::section::named;
use super::super::{Host, Problem};

/// Notes about every env section, `[env]` first, as they count.
pub(super) fn notes(ini: &Ini, host: &Host, notes: &mut Vec<Problem>) {
    let base = ini.section("env");
    let named = ini.sections().filter(|section| section.name.starts_with("env:"));
    let mut defined = BTreeSet::new();
    for section in base.into_iter().chain(named) {
        for entry in ini.entries(section).filter(|entry| !ini.is_default(entry)) {
            if section.name != "env" {
                notes.extend(reference(section, entry));
            }
            notes.extend(dollars(section, entry, host, &defined));
            defined.insert(entry.key.as_str());
        }
    }
}

fn reference(section: &Section, entry: &Entry) -> Option<Problem> {
    let replaced = expand(&entry.value, |name| name.starts_with("env.").then_some(Cow::Borrowed("")));
    (replaced != entry.value).then(|| {
        let key = named(section, &entry.key);
        let text = format!("{key}: $(circus.env.NAME) is replaced; 0.19 did not replace it in sections [env:NAME]");
        Problem::note(&entry.place, text)
    })
}

fn dollars(section: &Section, entry: &Entry, host: &Host, defined: &BTreeSet<&str>) -> Option<Problem> {
    let key = named(section, &entry.key);
    if entry.value.contains("$$") {
        let text = format!("{key}: $$ stands for one dollar sign; 0.19 kept both");
        return Some(Problem::note(&entry.place, text));
    }
    let name = references(&entry.value).find(|name| !host.env.contains_key(*name) && defined.contains(name))?;
    let text = format!(
        "{key}: ${name} is replaced by the value of the env sections; 0.19 used only circusd's own environment, \
        which lacks it"
    );
    Some(Problem::note(&entry.place, text))
}

/// What `copy_env` hands over as it is, and 0.19 did not.
pub(super) fn copied(section: &Section, entry: &Entry, host: &Host) -> Option<Problem> {
    let names: Vec<&str> = host
        .env
        .iter()
        .filter(|(_, value)| references(value).next().is_some())
        .map(|(name, _)| name.as_str())
        .take(3)
        .collect();
    (!names.is_empty()).then(|| {
        let key = named(section, &entry.key);
        let text = format!(
            "{key}: copied variables stay as they are; 0.19 replaced $NAME in them (here and now in {})",
            names.join(", ")
        );
        Problem::note(&entry.place, text)
    })
}
