//! The words of a worker's command line.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::expand::expand;
use super::options::named;
use super::words::{quote, split};
use super::{Args, SlotPool, WatcherConfig, python};
use crate::base::CollectOrdered as _;

/// What to execute for the worker `wid` of a watcher. `sockets` has the number of each managed socket that is valid in
/// that worker, by lower-case name.
///
/// In cmd, args and shell_args, `$(circus.NAME)` stands for the worker's wid, its env.X, rlimits.X and sockets.X, and
/// for every option of the watcher that `options` shows. A user that is given by name is inserted by name.
pub fn argv(watcher: &WatcherConfig, wid: u32, sockets: &BTreeMap<String, i32>) -> Result<Vec<String>, String> {
    let first = |slots: &SlotPool| (slots.pool.to_lowercase(), slots.values.first().cloned().unwrap_or_default());
    argv_with(watcher, wid, sockets, &watcher.slots.values().map(first).collect_map())
}

/// The same for a worker that has these values of pools, by the names of pools in lower case: `$(circus.slot.NAME)`.
pub fn argv_with(
    watcher: &WatcherConfig,
    wid: u32,
    sockets: &BTreeMap<String, i32>,
    slots: &BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    let expand = |text| {
        expand(text, |name| match name.strip_prefix("slot.") {
            Some(pool) => slots.get(pool).map(|value| Cow::Owned(value.clone())),
            None => variable(watcher, wid, sockets, name).map(Cow::Owned),
        })
    };
    let cmd = expand(watcher.cmd.as_str());
    if watcher.shell {
        return shell(watcher, &cmd, expand);
    }
    let mut argv = words("cmd", &cmd)?;
    match &watcher.args {
        None => {}
        Some(Args::Text(text)) => argv.extend(words("args", &expand(text))?),
        Some(Args::List(list)) => argv.extend(list.iter().map(|word| expand(word).into_owned())),
    }
    if argv.is_empty() { Err("cmd is empty, so there is nothing to execute".into()) } else { Ok(argv) }
}

/// The managed sockets that a watcher names, in lower case: in cmd, args and shell_args, and in its own options.
pub fn named_sockets(watcher: &WatcherConfig) -> BTreeSet<String> {
    let named = RefCell::new(BTreeSet::new());
    let look = |text: &str| {
        let seen = expand(text, |name| {
            named.borrow_mut().extend(name.strip_prefix("sockets.").map(str::to_owned));
            None
        });
        drop(seen);
    };
    look(&watcher.cmd);
    match &watcher.args {
        None => {}
        Some(Args::Text(text)) => look(text),
        Some(Args::List(list)) => list.iter().for_each(|word| look(word)),
    }
    watcher.shell_args.iter().for_each(|text| look(text));
    let mut named = named.into_inner();
    named.extend(watcher.stdin_socket.iter().chain(&watcher.sockets).map(|name| name.to_lowercase()));
    named
}

/// The script is cmd and args as they are, so that whatever a shell can do works.
fn shell<'w>(
    watcher: &'w WatcherConfig,
    cmd: &str,
    expand: impl Fn(&'w str) -> Cow<'w, str>,
) -> Result<Vec<String>, String> {
    let mut script = cmd.to_owned();
    match &watcher.args {
        None => {}
        Some(Args::Text(text)) if text.is_empty() => {}
        Some(Args::Text(text)) => script.extend([" ", expand(text).as_ref()]),
        Some(Args::List(list)) => script.extend(list.iter().map(|word| format!(" {}", quote(&expand(word))))),
    }
    if python::trim(&script).is_empty() {
        return Err("cmd is empty, so there is nothing to execute".into());
    }
    let mut argv = vec!["/bin/sh".into(), "-c".into(), script];
    if let Some(text) = &watcher.shell_args {
        argv.extend(words("shell_args", &expand(text))?);
    }
    Ok(argv)
}

fn words(option: &str, text: &str) -> Result<Vec<String>, String> {
    split(text).map_err(|error| format!("{option}: {error}"))
}

pub(super) fn variable(
    watcher: &WatcherConfig,
    wid: u32,
    sockets: &BTreeMap<String, i32>,
    name: &str,
) -> Option<String> {
    match name.split_once('.') {
        Some(("sockets", socket)) => sockets.get(socket).map(ToString::to_string),
        Some(("env", variable)) => {
            let env = watcher.env.as_ref()?;
            env.iter().find(|(name, _)| name.to_lowercase() == variable).map(|(_, value)| value.clone())
        }
        Some(("rlimits", limit)) => {
            // RLIM_INFINITY, as Python prints it.
            watcher.rlimits.get(limit).map(|limit| limit.map_or("-1".into(), |limit| limit.to_string()))
        }
        Some(_) => None,
        None if name == "wid" => Some(wid.to_string()),
        None if name == "use_fds" => Some(python::display(&watcher.use_sockets.into())),
        None => match named(watcher, name)? {
            Value::Object(_) => None,
            value => Some(python::display(&value)),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Account, StreamConfig};

    fn watcher(cmd: &str, args: Option<Args>) -> WatcherConfig {
        WatcherConfig { args, ..WatcherConfig::new("w", cmd, "/srv") }
    }

    fn of(watcher: &WatcherConfig) -> Result<Vec<String>, String> {
        argv(watcher, 3, &BTreeMap::from([("web".to_owned(), 5)]))
    }

    fn text(args: &str) -> Option<Args> {
        Some(Args::Text(args.into()))
    }

    #[test]
    fn words_of_cmd_and_args() {
        assert_eq!(of(&watcher("a 'b c'", text("d \"e f\""))).unwrap(), ["a", "b c", "d", "e f"]);
        let list = Some(Args::List(vec!["$(circus.wid)".into(), "a b".into()]));
        assert_eq!(of(&watcher("x", list)).unwrap(), ["x", "3", "a b"]);
        assert_eq!(of(&watcher("", text("y"))).unwrap(), ["y"]);
    }

    #[test]
    fn sockets_that_a_watcher_names() {
        let names = |watcher: &WatcherConfig| named_sockets(watcher).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(names(&watcher("x $(circus.wid)", None)), "");
        assert_eq!(names(&watcher("x $(circus.sockets.Web)((circus.sockets.a))", text("${socket:b}"))), "a b web");
        let list = Some(Args::List(vec!["--fd".into(), "$(CIRCUS.sockets.c)".into()]));
        let mut watcher = watcher("x", list);
        watcher.shell_args = Some("$(circus.sockets.d)".into());
        watcher.stdin_socket = Some("in".into());
        watcher.sockets = vec!["e".into(), "c".into()];
        assert_eq!(names(&watcher), "c d e in");
    }

    #[test]
    fn what_cannot_be_a_command() {
        assert!(of(&watcher("", None)).is_err_and(|error| error.contains("cmd is empty")));
        assert!(of(&watcher("x '", None)).is_err_and(|error| error.starts_with("cmd: ")));
        assert!(of(&watcher("x", text("\\"))).is_err_and(|error| error.starts_with("args: ")));
        let shell = WatcherConfig { shell: true, ..watcher(" ", text("")) };
        assert!(of(&shell).is_err());
    }

    #[test]
    fn variables_of_a_worker() {
        let mut watcher = watcher("x", text("y z"));
        watcher.uid = Some(Account::Number(1));
        watcher.env = Some([("A".to_owned(), "a b".to_owned())].into());
        watcher.rlimits = [("nofile".to_owned(), Some(5)), ("core".to_owned(), None)].into();
        watcher.freeform.insert("colour".into(), "blue".into());
        watcher.stdout_stream = Some(StreamConfig { class: "StdoutStream".into(), options: BTreeMap::new() });
        for (name, value) in [
            ("wid", "3"),
            ("WID", "3"),
            ("shell", "False"),
            ("use_fds", "False"),
            ("args", "y z"),
            ("working_dir", "/srv"),
            ("uid", "1"),
            ("gid", "None"),
            ("executable", "None"),
            ("numprocesses", "1"),
            ("warmup_delay", "0.0"),
            ("graceful_timeout", "30.0"),
            ("stop_signal", "15"),
            ("close_child_stdin", "True"),
            ("stderr_stream_conf", "None"),
            ("env.a", "a b"),
            ("rlimits.nofile", "5"),
            ("rlimits.core", "-1"),
            ("sockets.Web", "5"),
        ] {
            watcher.cmd = format!("x \"$(circus.{name})\"");
            assert_eq!(of(&watcher).unwrap().get(1).map(String::as_str), Some(value), "{name}");
        }
        for name in [
            "name",
            "env",
            "rlimits",
            "autostart",
            "colour",
            "hooks",
            "stdin_socket",
            "sockets.no",
            "stdout_stream_conf",
        ] {
            watcher.cmd = format!("x $(circus.{name})");
            assert_eq!(of(&watcher).unwrap().get(1), Some(&format!("$(circus.{name})")));
        }
    }

    #[test]
    fn the_slides_spelling_of_a_socket() {
        assert_eq!(
            of(&watcher("x --fd ${socket:Web} ${socket:no}", None)).unwrap(),
            ["x", "--fd", "5", "${socket:no}"]
        );
    }

    #[test]
    fn raw_args_are_inserted_once() {
        let watcher = watcher("x", text("$(circus.working_dir) '$(circus.args)'"));
        assert_eq!(of(&watcher).unwrap(), ["x", "/srv", "$(circus.working_dir) $(circus.args)"]);
    }

    #[test]
    fn a_shell_gets_the_text_as_it_is() {
        let shell = |args| WatcherConfig { shell: true, ..watcher("echo $HOME '*' | cat > f$(circus.wid)", args) };
        assert_eq!(of(&shell(None)).unwrap(), ["/bin/sh", "-c", "echo $HOME '*' | cat > f3"]);
        assert_eq!(of(&shell(text("&& x"))).unwrap(), ["/bin/sh", "-c", "echo $HOME '*' | cat > f3 && x"]);
        let list = Some(Args::List(vec!["a b".into(), "c".into()]));
        assert_eq!(of(&shell(list)).unwrap(), ["/bin/sh", "-c", "echo $HOME '*' | cat > f3 'a b' c"]);
        let named = WatcherConfig {
            shell_args: Some("$(circus.wid) \"q r\"".into()),
            ..WatcherConfig { shell: true, ..watcher("echo $0 $1", None) }
        };
        assert_eq!(of(&named).unwrap(), ["/bin/sh", "-c", "echo $0 $1", "3", "q r"]);
        let unused = WatcherConfig { shell_args: Some("x".into()), ..watcher("echo", None) };
        assert_eq!(of(&unused).unwrap(), ["echo"]);
    }

    proptest! {
        #[test]
        fn any_command_is_split_or_refused(cmd in "([ '\"\\\\$(){}]|circus\\.|wid|\\PC){0,30}", shell: bool) {
            let watcher = WatcherConfig { shell, ..watcher(&cmd, text(&cmd)) };
            prop_assert!(of(&watcher).map_or_else(|error| !error.is_empty(), |argv| !argv.is_empty()));
        }
    }
}
