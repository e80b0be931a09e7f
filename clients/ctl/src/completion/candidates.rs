//! From what may stand somewhere to words, with the help of the daemon.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Globals;
use crate::complete::{Choice, choices};
use crate::session::Session;
use circus_core::escape::escaped;
use circus_core::proto::{Object, resource_name};

/// Completion does not wait for a daemon that is busy or not there.
const TIMEOUT: Duration = Duration::from_millis(1000);

/// The words that may follow `words` and begin with what is typed.
pub(crate) fn candidates(session: &mut Session<'_>, globals: &Globals, words: &[String], typed: &str) -> Vec<String> {
    let mut line = choices(words, typed);
    let named = Globals { endpoint: line.endpoint, host: line.host, timeout: Some(TIMEOUT), ..Globals::default() };
    let globals = named.or(globals);
    // Of several hosts each has its own watchers.
    let place = session.places(&globals).ok().filter(|places| places.len() == 1).and_then(|mut places| places.pop());
    let near = place.as_ref().is_some_and(|place| place.place.as_ref().is_none_or(|host| host.ssh.is_none()));
    if line.remote || !near {
        line.choices.retain(|choice| matches!(choice, Choice::Word(_) | Choice::Host));
    }
    let globals = place.unwrap_or(globals);
    let mut found: Vec<String> = Vec::new();
    for choice in line.choices {
        match choice {
            Choice::Word(word) => found.push(word),
            Choice::Host => found.extend(session.host_names().iter().map(|name| behind(typed, name))),
            Choice::Watcher => found.extend(watchers(session, &globals)),
            Choice::Topic => found.extend(watchers(session, &globals).iter().map(|name| topic(name))),
            Choice::PidOf(watcher) => found.extend(pids(session, &globals, &watcher)),
            Choice::OptionOf(watcher) => found.extend(options(session, &globals, &watcher)),
        }
    }
    // A word that a terminal would obey cannot be completed; circusd has none.
    found.retain(|word| word.starts_with(typed) && *escaped(word) == **word);
    found.sort_unstable();
    found.dedup();
    found
}

/// A name as the last one of a list with commas.
fn behind(typed: &str, name: &str) -> String {
    typed.rsplit_once(',').map_or_else(|| name.to_owned(), |(before, _)| format!("{before},{name}"))
}

fn topic(watcher: &str) -> String {
    format!("watcher.{}.", resource_name(watcher))
}

fn watchers(session: &mut Session<'_>, globals: &Globals) -> Vec<String> {
    let reply = session.ask(globals, "status", Object::new());
    let names = reply.as_ref().and_then(|reply| reply.get("statuses")?.as_object());
    names.into_iter().flat_map(Object::keys).cloned().collect()
}

fn pids(session: &mut Session<'_>, globals: &Globals, watcher: &str) -> Vec<String> {
    let reply = session.ask(globals, "list", named(watcher));
    let pids = reply.as_ref().and_then(|reply| reply.get("pids")?.as_array());
    pids.into_iter().flatten().map(Value::to_string).collect()
}

fn options(session: &mut Session<'_>, globals: &Globals, watcher: &str) -> Vec<String> {
    let reply = session.ask(globals, "options", named(watcher));
    let options = reply.as_ref().and_then(|reply| reply.get("options")?.as_object());
    options.into_iter().flat_map(Object::keys).cloned().collect()
}

fn named(watcher: &str) -> Object {
    Object::from_iter([("name".to_owned(), json!(watcher))])
}
