//! `set` and `add`: checking the options of a request, and applying them to a configuration.

use serde_json::Value;

use super::streams::{file_of, settle};
use super::{Effect, OptionSpec, find};
use crate::config::{Args, Host, KillMode, WatcherConfig, job, python, scaling, words};
use crate::proto::{Fault, HookPoint, Object};

/// Checks the types of options before any of them is applied. The names that are no options are handed back: for `add`
/// they are errors, for `set` they may be freeform options that the watcher has.
pub fn validate(options: &Object) -> Result<Vec<String>, Fault> {
    let mut unknown = Vec::new();
    for (key, value) in options {
        match find(key) {
            None => unknown.push(key.clone()),
            Some((spec, _)) => check(spec, key, value)?,
        }
    }
    Ok(unknown)
}

/// Changes options, and says what each change does. They are judged together, as one may be of no use without the
/// other; on a fault the watcher is as it was.
pub fn apply(watcher: &mut WatcherConfig, changes: &Object, host: &Host) -> Result<Vec<Effect>, Fault> {
    let mut changed = watcher.clone();
    let mut effects = Vec::with_capacity(changes.len());
    for (key, value) in changes {
        effects.push(apply_one(&mut changed, key, value, host)?);
    }
    settle_streams(&mut changed)?;
    if let Some(text) = impossible(&changed) {
        return Err(Fault::command(text));
    }
    *watcher = changed;
    Ok(effects)
}

fn apply_one(watcher: &mut WatcherConfig, key: &str, value: &Value, host: &Host) -> Result<Effect, Fault> {
    if let Some(text) = watcher.freeform.get_mut(key) {
        *text = python::display(value);
        return Ok(Effect::Nothing);
    }
    let (spec, suffix) = find(key).ok_or_else(|| unknown(key))?;
    check(spec, key, value)?;
    let had_stream = if key.starts_with("stderr") { &watcher.stderr_stream } else { &watcher.stdout_stream }.is_some();
    put(watcher, spec, (key, suffix), value)?;
    if key == "copy_env" {
        copy_env(watcher, host);
    }
    Ok(match spec.effect {
        // Workers that run without a pipe cannot be given one.
        Effect::Stream if !had_stream => Effect::Reload,
        effect @ (Effect::Stream | Effect::Nothing | Effect::Numprocesses | Effect::Reload) => effect,
    })
}

/// Gives these options of a watcher the values that they have in another configuration of it. `numprocesses` is not among
/// them.
pub fn adjust(watcher: &mut WatcherConfig, keys: &[String], to: &WatcherConfig) -> Result<(), String> {
    for key in keys {
        let point = key.strip_prefix("hooks.").and_then(HookPoint::parse);
        let freeform = watcher.freeform.contains_key(key) || to.freeform.contains_key(key);
        if let Some(variable) = key.strip_prefix("slot.") {
            watcher.slots.remove(variable);
            watcher.slots.extend(to.slots.get(variable).map(|slots| (variable.to_owned(), slots.clone())));
            continue;
        }
        match (point, find(key).filter(|_| !freeform)) {
            (Some(point), _) => {
                watcher.hooks.remove(&point);
                watcher.hooks.extend(to.hooks.get(&point).map(|hook| (point, hook.clone())));
            }
            (None, Some((spec, suffix))) => {
                let value = (spec.get)(to, suffix).unwrap_or_default();
                (spec.put)(watcher, suffix, &value).map_err(|text| format!("'{key}': {text}"))?;
            }
            (None, None) => {
                watcher.freeform.remove(key);
                watcher.freeform.extend(to.freeform.get(key).map(|value| (key.clone(), value.clone())));
            }
        }
    }
    // `singleton` may be one of these options. A number that it allows stays as a client has set it.
    if watcher.singleton && watcher.numprocesses > 1 {
        watcher.numprocesses = to.numprocesses;
    }
    Ok(())
}

/// The watcher that `add` asks for.
pub fn from_add(
    name: &str,
    cmd: &str,
    args: Option<&Value>,
    options: &Object,
    host: &Host,
) -> Result<WatcherConfig, Fault> {
    if let Some(key) = validate(options)?.first() {
        return Err(unknown(key));
    }
    let mut watcher = WatcherConfig::new(name, cmd, &host.cwd);
    watcher.args = args.map_or(Ok(None), add_args)?;
    for (key, value) in options {
        let (spec, suffix) = find(key).ok_or_else(|| unknown(key))?;
        put(&mut watcher, spec, (key, suffix), value)?;
    }
    settle_streams(&mut watcher)?;
    if watcher.copy_env {
        copy_env(&mut watcher, host);
    }
    watcher.settle_number();
    if watcher.singleton && watcher.numprocesses > 1 {
        let count = watcher.numprocesses;
        return Err(Fault::command(format!("Cannot have {count} processes with a singleton watcher")));
    }
    match impossible(&watcher) {
        Some(text) => Err(Fault::command(text)),
        None => Ok(watcher),
    }
}

/// What kind of name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// `uid`
    User,
    /// `gid`
    Group,
}

/// Replaces the names of `uid` and `gid` in the options of a `set` by numbers, as the original does at once so that a
/// wrong name is refused at once. Looking up is the caller's: it reads the disk, or asks the network.
pub fn resolve_accounts(options: &mut Object, look_up: impl Fn(AccountKind, &str) -> Option<u32>) -> Result<(), Fault> {
    for (key, kind) in [("uid", AccountKind::User), ("gid", AccountKind::Group)] {
        let Some(value) = options.get_mut(key) else { continue };
        let Some(name) = value.as_str() else { continue };
        let number =
            python::int(name).ok().and_then(|number| u32::try_from(number).ok()).filter(|number| *number < u32::MAX);
        *value = number.or_else(|| look_up(kind, name)).ok_or_else(|| no_account(kind, name))?.into();
    }
    Ok(())
}

/// The files that the streams in the options of a `set` or an `add` name, with the option that names them. Whether they
/// can be written is for the caller to see, which may read the disk.
pub fn named_files(options: &Object) -> impl Iterator<Item = (String, &str)> {
    options.iter().filter_map(|(key, value)| match (key.as_str(), value) {
        ("stdout_stream.filename" | "stderr_stream.filename", Value::String(file)) => {
            Some((key.clone(), file.as_str()))
        }
        ("stdout_stream" | "stderr_stream", stream) => Some((format!("{key}.filename"), file_of(stream)?)),
        _ => None,
    })
}

fn no_account(kind: AccountKind, name: &str) -> Fault {
    let name = python::repr(&name.into());
    Fault::command(match kind {
        AccountKind::User => format!("{name} isn't a valid user name"),
        AccountKind::Group => format!("No such group: {name}"),
    })
}

/// Why the options of a watcher cannot all hold, if they cannot, with its kind or at all.
fn impossible(watcher: &WatcherConfig) -> Option<String> {
    contradiction(watcher).or_else(|| job::fault(watcher).map(|(key, text)| format!("'{key}': {text}")))
}

/// Why the options of a watcher cannot all hold, if they cannot.
pub(in crate::config) fn contradiction(watcher: &WatcherConfig) -> Option<String> {
    if watcher.singleton && watcher.numprocesses > 1 {
        return Some("Singleton watcher has a single process".into());
    }
    if let Some(text) = scaling::fault(watcher) {
        return Some(text);
    }
    if let Some(text) = watcher.lacks_slots(watcher.numprocesses) {
        return Some(format!("numprocesses: {text}"));
    }
    if watcher.stop_children && watcher.kill_mode != KillMode::Mixed {
        let mode = watcher.kill_mode.name();
        return Some(format!(
            "stop_children is for kill_mode = mixed: kill_mode = {mode} says which processes get the signal"
        ));
    }
    if let (false, Some(file)) = (watcher.cgroup, watcher.group_limits.files().first()) {
        return Some(format!("{} needs cgroup = yes", file.option));
    }
    if watcher.kill_mode == KillMode::Cgroup && !watcher.cgroup {
        return Some("kill_mode = cgroup needs cgroup = yes".into());
    }
    if watcher.copy_path && !watcher.copy_env {
        return Some("copy_env and copy_path must have the same value".into());
    }
    if watcher.checks.pattern().is_some() && watcher.stdout_stream.is_none() && watcher.stderr_stream.is_none() {
        return Some("ready = log: needs stdout_stream or stderr_stream: circusd reads no other output".into());
    }
    if watcher.virtualenv.is_some() && !watcher.copy_env {
        return Some("copy_env must be True to use virtualenv".into());
    }
    None
}

fn check(spec: &OptionSpec, key: &str, value: &Value) -> Result<(), Fault> {
    if spec.key == "slot.*" {
        return Err(Fault::command(format!("'{key}' cannot be set: its values stand in the file; run reloadconfig")));
    }
    spec.kind.check(key, value).map_err(Fault::message)?;
    match spec.refusal(value) {
        Some(reason) => Err(Fault::command(format!("'{key}' is refused: {reason}"))),
        None => Ok(()),
    }
}

fn put(
    watcher: &mut WatcherConfig,
    spec: &OptionSpec,
    (key, suffix): (&str, &str),
    value: &Value,
) -> Result<(), Fault> {
    (spec.put)(watcher, suffix, value).map_err(|text| Fault::command(format!("'{key}': {text}")))
}

fn settle_streams(watcher: &mut WatcherConfig) -> Result<(), Fault> {
    let streams = [("stdout_stream", &mut watcher.stdout_stream), ("stderr_stream", &mut watcher.stderr_stream)];
    for (key, stream) in streams {
        stream.as_mut().map_or(Ok(()), |stream| settle(key, stream)).map_err(Fault::command)?;
    }
    Ok(())
}

fn unknown(key: &str) -> Fault {
    Fault::message(format!("unknown key '{key}'"))
}

fn add_args(args: &Value) -> Result<Option<Args>, Fault> {
    match args {
        Value::Null => Ok(None),
        Value::String(text) => words::split(text)
            .map(|_| Some(Args::Text(text.clone())))
            .map_err(|text| Fault::command(format!("'args': {text}"))),
        Value::Array(words) => Ok(Some(Args::List(words.iter().map(python::display).collect()))),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(Fault::message("'args' isn't a string or a list of strings"))
        }
    }
}

/// Puts circusd's own environment below a watcher's, or takes it away: every variable that is as circusd has it.
fn copy_env(watcher: &mut WatcherConfig, host: &Host) {
    if watcher.copy_env {
        let own = watcher.env.take().unwrap_or_default();
        let mut env = host.env.clone();
        env.extend(own);
        watcher.env = Some(env);
    } else if let Some(env) = &mut watcher.env {
        env.retain(|name, value| host.env.get(name) != Some(value));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::ErrNo;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    fn host() -> Host {
        Host { env: [("HOME".to_owned(), "/h".to_owned())].into(), cwd: "/work".into(), ..Host::default() }
    }

    fn watcher() -> WatcherConfig {
        WatcherConfig { dynamic: false, env: Some([].into()), ..WatcherConfig::new("w", "x", "/") }
    }

    fn apply(watcher: &mut WatcherConfig, key: &str, value: &Value, host: &Host) -> Result<Effect, Fault> {
        let changes = [(key.to_owned(), value.clone())].into_iter().collect();
        super::apply(watcher, &changes, host).map(|effects| effects[0])
    }

    /// The refusal of one option, as `set` would answer it.
    fn refusal(key: &str, value: Value) -> (u8, String) {
        let mut watcher = watcher();
        let before = watcher.clone();
        let fault = apply(&mut watcher, key, &value, &host()).unwrap_err();
        assert_eq!(watcher, before, "{key}");
        (fault.errno as u8, fault.reason)
    }

    #[test]
    fn refusals_have_the_texts_of_circus() {
        for (key, value, reason) in [
            ("numprocesses", json!("2"), "'numprocesses' isn't an integer"),
            ("numprocesses", json!(1.5), "'numprocesses' isn't an integer"),
            ("max_age", json!(null), "'max_age' isn't an integer"),
            ("stop_signal", json!("TERM"), "'stop_signal' isn't an integer"),
            ("stop_signal", json!("TERM, 5:X"), "'stop_signal': no signal is called SIGX"),
            ("warmup_delay", json!("soon"), "'warmup_delay' isn't a number"),
            ("graceful_timeout", json!("3"), "'graceful_timeout' isn't a number"),
            ("retry_in", json!({}), "'retry_in' isn't a number"),
            ("uid", json!(1.5), "'uid' isn't an integer or string"),
            ("gid", json!(null), "'gid' isn't an integer or string"),
            ("send_hup", json!(1), "'send_hup' isn't a valid boolean"),
            ("close_child_stderr", json!(2), "'close_child_stderr' isn't a valid boolean"),
            ("singleton", json!("x"), "'singleton' isn't a valid boolean"),
            ("env", json!("A=1"), "'env' isn't a valid object"),
            ("env", json!({"A": 1}), "'A' isn't a string"),
            ("hooks", json!("x"), "'x' isn't a valid hook dict"),
            ("hooks", json!({"x": 1}), "Unknown hook {'x': 1}"),
            ("stdout_stream", json!("x"), "'stdout_stream' isn't a valid object"),
            ("stderr_stream", json!({"filename": "x"}), "'stderr_stream' must have a 'class' key"),
            ("rlimit_zork", json!(1), "'rlimit_zork' isn't a valid rlimit setting"),
            ("rlimit_nofile", json!("many"), "'many' rlimit value isn't a valid int"),
            ("name", json!("two"), "unknown key 'name'"),
            ("nonsense", json!(1), "unknown key 'nonsense'"),
        ] {
            assert_eq!(refusal(key, value), (ErrNo::Message as u8, reason.into()));
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_reason() {
        for (key, value, reason) in [
            ("hooks", json!({"before_start": 1}), "'hooks': 1 is not a hook"),
            ("hooks.before_start", json!("exec:"), "'hooks.before_start': a command is missing"),
            ("hook_timeout", json!(0), "'hook_timeout': 0 is not greater than 0"),
            ("virtualenv", json!("/v"), "copy_env must be True to use virtualenv"),
            ("rlimit_core", json!(-2), "'rlimit_core': -2 is out of range"),
            ("uid", json!(-1), "'uid': -1 is out of range"),
            (
                "stdout_stream.max_bytes",
                json!(5),
                "stream configuration invalid: stdout_stream has neither a class nor a filename",
            ),
        ] {
            assert_eq!(refusal(key, value), (ErrNo::Command as u8, reason.into()));
        }
        assert_eq!(apply(&mut watcher(), "hooks", &json!({}), &host()), Ok(Effect::Nothing));
    }

    #[test]
    fn every_set_has_its_effect() {
        for (key, value, effect) in [
            ("numprocesses", json!(3), Effect::Numprocesses),
            ("warmup_delay", json!(1.5), Effect::Nothing),
            ("stop_signal", json!(10), Effect::Nothing),
            ("stop_signal", json!("TERM, 60:QUIT"), Effect::Nothing),
            ("max_retry", json!(9), Effect::Nothing),
            ("priority", json!(1), Effect::Nothing),
            ("on_demand", json!(true), Effect::Nothing),
            ("respawn", json!("on-failure"), Effect::Nothing),
            ("success_codes", json!([0, 3]), Effect::Nothing),
            ("executable", json!("/bin/busybox"), Effect::Reload),
            ("autostart", json!(true), Effect::Nothing),
            ("retry_in", json!(2.5), Effect::Nothing),
            ("cmd", json!("y"), Effect::Reload),
            ("args", json!(["a", "b"]), Effect::Reload),
            ("rlimit_nofile", json!(100), Effect::Reload),
            ("use_sockets", json!(true), Effect::Reload),
            ("close_child_stdout", json!(true), Effect::Reload),
            ("stdout_stream.filename", json!("/f"), Effect::Reload),
        ] {
            let mut watcher = watcher();
            assert_eq!(apply(&mut watcher, key, &value, &host()), Ok(effect), "{key}");
            assert!(super::super::get(&watcher, key).is_some(), "{key}");
        }
    }

    #[test]
    fn a_stream_keeps_its_class_when_a_key_changes() {
        let mut watcher = watcher();
        let (host, key) = (host(), "stdout_stream");
        let stream = json!({"class": "StdoutStream", "time_format": "%H"});
        assert_eq!(apply(&mut watcher, key, &stream, &host), Ok(Effect::Reload));
        assert_eq!(apply(&mut watcher, "stdout_stream.time_format", &json!("%M"), &host), Ok(Effect::Stream));
        let stream = watcher.stdout_stream.unwrap();
        assert_eq!((stream.class.as_str(), stream.options.get("time_format")), ("StdoutStream", Some(&json!("%M"))));
    }

    #[test]
    fn keys_of_a_stream_that_need_each_other_are_set_together() {
        let mut watcher = watcher();
        let file = json!({"stdout_stream.filename": "/f"});
        assert_eq!(super::apply(&mut watcher, &object(file), &host()), Ok(vec![Effect::Reload]));
        let class = ("stdout_stream.class".to_owned(), json!("TimedRotatingFileStream"));
        let alone = super::apply(&mut watcher, &[class.clone()].into_iter().collect(), &host()).unwrap_err();
        assert!(alone.reason.starts_with("stdout_stream.rotate_when is missing"), "{}", alone.reason);
        let both = [class, ("stdout_stream.rotate_when".to_owned(), json!("midnight"))].into_iter().collect();
        assert_eq!(super::apply(&mut watcher, &both, &host()), Ok(vec![Effect::Stream, Effect::Stream]));
        assert_eq!(watcher.stdout_stream.unwrap().class, "TimedRotatingFileStream");
    }

    #[test]
    fn a_first_stream_of_several_keys_reloads() {
        let changes = object(json!({"stderr_stream.class": "FancyStdoutStream", "stderr_stream.color": "red"}));
        let effects = super::apply(&mut watcher(), &changes, &host()).unwrap();
        assert!(effects.contains(&Effect::Reload));
    }

    #[test]
    fn numprocesses_has_a_floor_and_a_singleton_a_ceiling() {
        let mut watcher = watcher();
        apply(&mut watcher, "numprocesses", &json!(-3), &host()).unwrap();
        assert_eq!(watcher.numprocesses, 0);
        apply(&mut watcher, "singleton", &json!(true), &host()).unwrap();
        let fault = apply(&mut watcher, "numprocesses", &json!(2), &host()).unwrap_err();
        assert_eq!(fault, Fault::command("Singleton watcher has a single process"));
        assert_eq!(watcher.numprocesses, 0);
    }

    #[test]
    fn freeform_options_are_replaced() {
        let mut watcher = watcher();
        watcher.freeform.insert("colour".into(), "blue".into());
        assert_eq!(apply(&mut watcher, "colour", &json!("red"), &host()), Ok(Effect::Nothing));
        assert_eq!(watcher.freeform.get("colour").map(String::as_str), Some("red"));
    }

    #[test]
    fn copy_env_puts_circusds_environment_below() {
        let mut watcher = watcher();
        apply(&mut watcher, "env", &json!({"A": "1"}), &host()).unwrap();
        apply(&mut watcher, "copy_env", &json!(true), &host()).unwrap();
        let names = |watcher: &WatcherConfig| watcher.env.as_ref().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&watcher), ["A", "HOME"]);
        apply(&mut watcher, "copy_env", &json!(false), &host()).unwrap();
        assert_eq!(names(&watcher), ["A"]);
    }

    #[test]
    fn validate_leaves_unknown_names_to_the_caller() {
        let options = object(json!({"colour": 1, "numprocesses": 2, "zork": null}));
        assert_eq!(validate(&options), Ok(vec!["colour".into(), "zork".into()]));
        assert!(validate(&object(json!({"colour": 1, "shell": 1}))).is_err());
    }

    #[test]
    fn add_makes_a_watcher() {
        let options = object(json!({
            "numprocesses": 2, "env": {"A": "1"}, "copy_env": true, "rlimit_nofile": 5, "rlimit_core": null,
            "stdout_stream": {"class": "FileStream", "filename": "/f"}, "priority": 7,
        }));
        let watcher = from_add("W", "x", Some(&json!("a 'b c'")), &options, &host()).unwrap();
        assert_eq!(watcher.args, Some(Args::Text("a 'b c'".into())));
        assert_eq!((watcher.numprocesses, watcher.priority, watcher.dynamic), (2, 7, true));
        assert_eq!(watcher.working_dir, "/work");
        assert_eq!(watcher.env, Some([("A".into(), "1".into()), ("HOME".into(), "/h".into())].into()));
        assert_eq!(watcher.rlimits, [("core".to_owned(), None), ("nofile".to_owned(), Some(5))].into());
        let plain = from_add("W", "x", Some(&json!(null)), &Object::new(), &host()).unwrap();
        assert_eq!((plain.args, plain.env, plain.stdout_stream), (None, None, None));
    }

    #[test]
    fn add_refuses() {
        let add = |args: Option<Value>, options: Value| {
            let fault = from_add("w", "x", args.as_ref(), &object(options), &host()).unwrap_err();
            (fault.errno as u8, fault.reason)
        };
        assert_eq!(add(None, json!({"nonsense": 1})), (3, "unknown key 'nonsense'".into()));
        assert_eq!(add(None, json!({"stdout_stream": {}})), (3, "'stdout_stream' must have a 'class' key".into()));
        assert_eq!(
            add(None, json!({"singleton": true, "numprocesses": 3})),
            (5, "Cannot have 3 processes with a singleton watcher".into())
        );
        assert_eq!(add(Some(json!("'")), json!({})), (5, "'args': a single quote (') is never closed".into()));
        assert_eq!(add(Some(json!(5)), json!({})), (3, "'args' isn't a string or a list of strings".into()));
    }

    #[test]
    fn files_that_streams_name() {
        let options = object(json!({
            "stdout_stream.filename": "/a", "stderr_stream": {"class": "circus.stream.WatchedFileStream", "filename": "b"},
            "stderr_stream.filename": 3, "stdout_stream": {"class": "StdoutStream", "filename": "/c"}, "cmd": "/d",
        }));
        let files: Vec<_> = named_files(&options).collect();
        let named = |option: &str, file| (option.to_owned(), file);
        assert_eq!(files, [named("stdout_stream.filename", "/a"), named("stderr_stream.filename", "b")]);
    }

    #[test]
    fn names_of_accounts_become_numbers_or_are_refused() {
        let look_up = |kind, name: &str| (kind == AccountKind::User && name == "daemon").then_some(1);
        let mut options = object(json!({"uid": "daemon", "gid": "7", "cmd": "x"}));
        resolve_accounts(&mut options, look_up).unwrap();
        assert_eq!(Value::Object(options), json!({"uid": 1, "gid": 7, "cmd": "x"}));
        let refused = |options: Value| resolve_accounts(&mut object(options), look_up).unwrap_err().reason;
        assert_eq!(refused(json!({"uid": "nobody_here"})), "'nobody_here' isn't a valid user name");
        assert_eq!(refused(json!({"gid": "daemon"})), "No such group: 'daemon'");
    }
}
