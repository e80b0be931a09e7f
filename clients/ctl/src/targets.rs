//! A command line that names several watchers, as one command for each.

use circus_core::commands::{CommandSpec, Invocation, matcher};
use circus_core::proto::{MatchMethod, Selection};

/// One command of those that a line stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Single {
    /// What its answer is headed with; nothing where it is the only one.
    pub(super) label: Option<String>,
    pub(super) invocation: Invocation,
}

/// Whether a line needs the names of all watchers to be split.
pub(super) fn needs_names(spec: &CommandSpec, invocation: &Invocation) -> bool {
    !matches_itself(spec) && names(spec, invocation).iter().any(|name| is_pattern(name))
}

/// The commands that a line stands for; the pattern that matches no watcher is the error. `watchers` are the names of all,
/// in lower case.
pub(super) fn split(spec: &CommandSpec, invocation: &Invocation, watchers: &[String]) -> Result<Vec<Single>, String> {
    let names = names(spec, invocation);
    let rest = invocation.words().get(names.len()..).unwrap_or_default();
    if let ([] | [_], false) = (names, needs_names(spec, invocation)) {
        return Ok(vec![Single { label: None, invocation: invocation.clone() }]);
    }
    let mut found: Vec<String> = Vec::new();
    for name in names {
        let meant =
            if is_pattern(name) && !matches_itself(spec) { matching(name, watchers) } else { vec![name.clone()] };
        if meant.is_empty() {
            return Err(name.clone());
        }
        for name in meant {
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    let single = |name: String| {
        let words = std::iter::once(name.clone()).chain(rest.iter().cloned());
        Single { invocation: invocation.with_words(words), label: Some(name) }
    };
    Ok(found.into_iter().map(single).collect())
}

fn names<'i>(spec: &CommandSpec, invocation: &'i Invocation) -> &'i [String] {
    let words = invocation.words();
    words.get(..(spec.console.names)(words)).unwrap_or_default()
}

/// Whether the daemon matches patterns for this command itself.
fn matches_itself(spec: &CommandSpec) -> bool {
    spec.all_options().any(|option| option.name == "match")
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// The watchers that a pattern means: itself, where one has this very name.
fn matching(pattern: &str, watchers: &[String]) -> Vec<String> {
    if watchers.contains(&pattern.to_lowercase()) {
        return vec![pattern.to_owned()];
    }
    let selection = Selection { name: pattern.to_owned(), method: MatchMethod::Glob };
    let Ok(matches) = matcher(&selection) else { return Vec::new() };
    watchers.iter().filter(|name| matches(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use circus_core::commands::find;

    fn words(line: &str) -> Result<Vec<String>, String> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let invocation = Invocation::new(rest.split_whitespace());
        let watchers = ["db", "web1", "web2", "x[1]"].map(str::to_owned);
        let singles = split(find(command).unwrap(), &invocation, &watchers)?;
        Ok(singles.into_iter().map(|single| single.invocation.words().join(" ")).collect())
    }

    #[test]
    fn several_names_and_patterns() {
        for (line, expected) in [
            ("stop", &[""][..]),
            ("stop web1 db web1", &["web1", "db"]),
            // The daemon matches these itself.
            ("stop web*", &["web*"]),
            ("stop web* db", &["web*", "db"]),
            ("reload web*", &["web1", "web2"]),
            ("status db web?", &["db", "web1", "web2"]),
            ("options x[1]", &["x[1]"]),
            ("rm db", &["db"]),
            ("incr web1 db 2", &["web1 2", "db 2"]),
            ("incr web1 2", &["web1 2"]),
            ("signal web* db HUP", &["web1 HUP", "web2 HUP", "db HUP"]),
            ("signal web1 4711 HUP", &["web1 4711 HUP"]),
            ("kill web1 db", &["web1", "db"]),
            ("set web* numprocesses 3", &["web1 numprocesses 3", "web2 numprocesses 3"]),
            ("get web* cmd env", &["web1 cmd env", "web2 cmd env"]),
            ("add w* sleep 1", &["w* sleep 1"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        assert_eq!(words("reload db zz*"), Err("zz*".into()));
    }
}
