//! The sections `[env]` and `[env:PATTERNS]`: what a worker's environment is made of.
//!
//! `[env]` holds for every watcher, then each matching section in the order of the files, a later value replacing an
//! earlier one. Two kinds of reference work in values:
//!
//! - `$(circus.env.X)`, when the file is read: circusd's own environment, then what the sections have said so far;
//! - `$NAME`, when the environment of a watcher is put together: circusd's own environment, and where that has no such
//!   variable, what the sections have said so far; else nothing. Circus looked in the former alone, so it stays first.
//!   `$$` is a dollar.
//!
//! Values that `copy_env` copies are handed over as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::expand::expand;
use super::fnmatch::fnmatch;
use super::ini::Ini;
use super::python::trim;
use super::{Host, Place, Problem};
use crate::base::CollectOrdered as _;

/// The kernel takes no longer string in an environment (MAX_ARG_STRLEN). It also bounds what references to references
/// can grow to.
const LONGEST_VALUE: usize = 128 * 1024;

/// Every env section of the files, and circusd's own environment.
pub(super) struct Environment<'a> {
    os: &'a BTreeMap<String, String>,
    base: Vec<Variable>,
    sections: Vec<EnvSection<'a>>,
    /// circusd's environment and `[env]` by lower-case name, for `$(circus.env.X)`.
    names: Names,
}

struct EnvSection<'a> {
    patterns: Vec<&'a str>,
    variables: Vec<Variable>,
}

#[derive(Clone)]
struct Variable {
    name: String,
    value: String,
    place: Place,
}

type Names = BTreeMap<String, String>;

/// The environment of one watcher.
pub(super) struct WatcherEnv<'a> {
    global: &'a Names,
    /// What the sections for this watcher say, by lower-case name.
    own: Names,
    /// What its workers get.
    pub(super) variables: BTreeMap<String, String>,
}

/// `$(circus.env.X)` in a text that knows only circusd's own environment, as `include` and `[env]` do.
pub(super) fn expand_os<'t>(text: &'t str, host: &Host) -> Cow<'t, str> {
    let names = lower(&host.env);
    expand(text, |name| look_up(name, &[&names]).map(Cow::Owned))
}

impl<'a> Environment<'a> {
    /// Reads the env sections.
    pub(super) fn new(ini: &'a Ini, host: &'a Host) -> Self {
        let mut names = lower(&host.env);
        let variables = |name: &str| -> Vec<Variable> {
            let section = ini.section(name);
            section.into_iter().flat_map(|section| ini.entries(section)).filter_map(variable).collect()
        };
        let mut base = variables("env");
        for variable in &mut base {
            variable.value = expand(&variable.value, |name| look_up(name, &[&names]).map(Cow::Owned)).into_owned();
        }
        names.extend(base.iter().map(|variable| (variable.name.to_lowercase(), variable.value.clone())));
        let sections = ini.sections().filter_map(|section| {
            let patterns = section.name.strip_prefix("env:")?.split(',').map(trim).collect();
            Some(EnvSection { patterns, variables: variables(&section.name) })
        });
        Self { os: &host.env, base, sections: sections.collect(), names }
    }

    /// The text with `$(circus.env.X)` replaced: circusd's environment and `[env]`.
    pub(super) fn expand<'t>(&self, text: &'t str) -> Cow<'t, str> {
        expand(text, |name| look_up(name, &[&self.names]).map(Cow::Owned))
    }

    /// The environment of a watcher. Values that grow beyond what the kernel takes are problems.
    pub(super) fn of_watcher(&self, name: &str, copy_env: bool, problems: &mut Vec<Problem>) -> WatcherEnv<'_> {
        let matching = self.sections.iter().filter(|section| section.patterns.iter().any(|p| fnmatch(p, name)));
        let mut own = Names::new();
        let mut written = BTreeMap::new();
        for variable in &self.base {
            self.define(variable, &variable.value, &mut written, problems);
        }
        for variable in matching.flat_map(|section| &section.variables) {
            let value =
                expand(&variable.value, |name| look_up(name, &[&own, &self.names]).map(Cow::Owned)).into_owned();
            self.define(variable, &value, &mut written, problems);
            own.insert(variable.name.to_lowercase(), value);
        }
        let mut variables = if copy_env { self.os.clone() } else { BTreeMap::new() };
        variables.extend(written);
        WatcherEnv { global: &self.names, own, variables }
    }

    fn define(
        &self,
        variable: &Variable,
        value: &str,
        written: &mut BTreeMap<String, String>,
        problems: &mut Vec<Problem>,
    ) {
        let value = dollars(value, |name| self.os.get(name).or_else(|| written.get(name)).map(String::as_str));
        if value.len() > LONGEST_VALUE {
            let text =
                format!("the variable {} is longer than the kernel takes ({LONGEST_VALUE} bytes)", variable.name);
            problems.push(Problem::skipped(&variable.place, text));
            return;
        }
        written.insert(variable.name.clone(), trim(&value).into());
    }
}

impl WatcherEnv<'_> {
    /// The text with `$(circus.env.X)` replaced: circusd's environment, `[env]` and the sections of this watcher.
    pub(super) fn expand<'t>(&self, text: &'t str) -> Cow<'t, str> {
        expand(text, |name| look_up(name, &[&self.own, self.global]).map(Cow::Owned))
    }
}

/// A key of an env section as a variable; a key without a name is none.
fn variable(entry: &super::ini::Entry) -> Option<Variable> {
    let name = trim(&entry.key);
    (!name.is_empty()).then(|| Variable { name: name.into(), value: entry.value.clone(), place: entry.place.clone() })
}

fn lower(map: &BTreeMap<String, String>) -> Names {
    map.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect_map()
}

fn look_up(name: &str, layers: &[&Names]) -> Option<String> {
    let name = name.strip_prefix("env.")?;
    layers.iter().find_map(|layer| layer.get(name)).cloned()
}

/// Replaces `$NAME`, upper case alone, with the variable of that name or with nothing, and `$$` with a dollar.
fn dollars<'v>(text: &str, look_up: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, tail) = split_name(after);
        if name.is_empty() {
            out.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        } else {
            out.push_str(look_up(name).unwrap_or_default());
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

/// The names in `$NAME` of a text; one behind `$$` is no reference here, but was one in Circus.
pub(super) fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|after| split_name(after).0).filter(|name| !name.is_empty())
}

/// The variable name that a text begins with, perhaps empty, and what follows it.
fn split_name(text: &str) -> (&str, &str) {
    if !text.starts_with(|c: char| c.is_ascii_uppercase()) {
        return ("", text);
    }
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or(("", text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(env: &[(&str, &str)]) -> Host {
        Host {
            env: env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            cwd: "/".into(),
            ..Host::default()
        }
    }

    /// The environment of a watcher, as `NAME=value` words joined by `|`.
    fn of(text: &str, host: &Host, watcher: &str, copy_env: bool) -> String {
        let (ini, bad) = Ini::parse("f", text);
        assert_eq!(bad, []);
        let mut problems = Vec::new();
        let environment = Environment::new(&ini, host);
        let env = environment.of_watcher(watcher, copy_env, &mut problems);
        assert_eq!(problems, []);
        env.variables.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn sections_apply_in_the_order_of_the_file_and_by_pattern() {
        let text = "[env]\nBASE=base\nOVER=base\n[env:web*, db]\nOVER=matched\nWHO=list\n\
                    [env:web1]\nWHO=only one\nlower=case kept\n[env:*2]\nOVER=last";
        let none = host(&[]);
        assert_eq!(of(text, &none, "web1", false), "BASE=base|OVER=matched|WHO=only one|lower=case kept");
        assert_eq!(of(text, &none, "web2", false), "BASE=base|OVER=last|WHO=list");
        assert_eq!(of(text, &none, "db", false), "BASE=base|OVER=matched|WHO=list");
        assert_eq!(of(text, &none, "Web3", false), "BASE=base|OVER=base");
        assert_eq!(of("[env:]\nA=1", &none, "", false), "A=1");
        assert_eq!(of("[env:]\nA=1", &none, "x", false), "");
    }

    #[test]
    fn dollar_names_in_written_values() {
        let host = host(&[("OUTER", "from outside"), ("USER_X1", "x1")]);
        let text = "[env]\nA=$OUTER/sub\nB=${OUTER}\nC=$lower\nD=$UNSET_NAME.\nE=a$USER_X1-b\nF=$A\n\
                    G=$(circus.env.outer)\nH=50%\nI=$$A $$ $\n";
        assert_eq!(
            of(text, &host, "w", false),
            "A=from outside/sub|B=${OUTER}|C=$lower|D=.|E=ax1-b|F=from outside/sub|G=from outside|H=50%|I=$A $ $"
        );
    }

    #[test]
    fn a_variable_may_extend_itself() {
        let host = host(&[("PATH", "/bin")]);
        let text = "[env]\nPATH=/x:$PATH\nOPTS=-a\n[env:web]\nPATH=/y:$PATH\nOPTS=$OPTS -b\n";
        assert_eq!(of(text, &host, "web", false), "OPTS=-a -b|PATH=/y:/bin");
    }

    #[test]
    fn copied_values_are_handed_over_as_they_are() {
        let host = host(&[("PS1", "$HOME $$ "), ("HOME", "/h")]);
        assert_eq!(of("[env]\nA=$HOME", &host, "w", true), "A=/h|HOME=/h|PS1=$HOME $$ ");
    }

    #[test]
    fn references_in_named_sections_are_expanded() {
        let host = host(&[("OUTER", "o")]);
        let text = "[env]\nA=a\n[env:w]\nA=$(circus.env.a)2\nB=$(circus.env.A)-$(circus.env.outer)-$(circus.env.no)";
        assert_eq!(of(text, &host, "w", false), "A=a2|B=a2-o-$(circus.env.no)");
    }

    #[test]
    fn default_and_blank_names() {
        let text = "[DEFAULT]\ntag=x\n[env]\n B=1\n= nothing\n[env:w]\nA=1";
        assert_eq!(of(text, &host(&[]), "w", false), "A=1|B=1|tag=x");
        assert_eq!(of("[DEFAULT]\ntag=x", &host(&[]), "w", false), "");
    }

    #[test]
    fn variables_of_each_watcher() {
        let host = host(&[("OUTER", "$HOME")]);
        let (ini, _) = Ini::parse("f", "[env]\nA=$OUTER/sub\n[env:v]\nOnly=v only");
        let environment = Environment::new(&ini, &host);
        assert_eq!(environment.expand("$(circus.env.a) $(circus.env.only)"), "$OUTER/sub $(circus.env.only)");
        let env = environment.of_watcher("v", false, &mut Vec::new());
        assert_eq!(env.expand("$(circus.env.a) $(circus.env.only)"), "$OUTER/sub v only");
        assert_eq!(expand_os("$(circus.env.a) $(circus.env.outer)", &host), "$(circus.env.a) $HOME");
    }

    #[test]
    fn values_cannot_grow_for_ever() {
        let text = format!("[env]\nA=0123456789\n[env:w]\nB = {}\nC = $B$B\nD=$C", "$A".repeat(8000));
        let (ini, _) = Ini::parse("f", &text);
        let host = Host::default();
        let mut problems = Vec::new();
        Environment::new(&ini, &host).of_watcher("w", false, &mut problems);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems.first().map(|p| p.line), Some(5));
    }

    proptest! {
        #[test]
        fn any_value_can_be_expanded(text in "([$A-C_a0]|\\PC){0,30}") {
            let value = dollars(&text, |_| None);
            prop_assert!(value.len() <= text.len());
            if !text.contains('$') {
                prop_assert_eq!(value, text);
            }
        }
    }
}
