use serde_json::json;

use super::*;
use crate::arbiter::state::Arbiter;
use crate::config::options::WATCHER_OPTIONS;
use crate::proto::{MatchMethod, Signal, TailRange};

const ALICE: u32 = 1001;
const BOB: u32 = 1002;

fn alice() -> Principal {
    Principal::User(User {
        is_daemon: false,
        uid: ALICE,
        name: Some("alice".into()),
        groups: vec![(ALICE, Some("alice".into())), (44, Some("video".into()))],
    })
}

/// What the workers of a watcher can run as, and whether that is alice.
fn effective_users() -> Vec<(Option<Account>, bool)> {
    let name = |name: &str| Some(Account::Name(name.into()));
    vec![
        (None, false),
        (name("root"), false),
        (Some(Account::Number(0)), false),
        (name("0"), false),
        (name("alice"), true),
        (Some(Account::Number(ALICE)), true),
        (name("1001"), true),
        (name("bob"), false),
        (Some(Account::Number(BOB)), false),
        (name("1002"), false),
        (name("Alice"), false),
        (name("alice "), false),
    ]
}

fn watcher(uid: Option<Account>) -> WatcherConfig {
    WatcherConfig { uid, ..WatcherConfig::new("w", "x", "/") }
}

fn object(options: Value) -> Object {
    options.as_object().cloned().unwrap()
}

fn set(options: Value) -> Request {
    Request::Set { name: "w".into(), options: object(options), waiting: false }
}

fn add(options: Value) -> Request {
    let options = object(options);
    Request::Add { name: "w".into(), cmd: "x".into(), args: None, options, start: false, waiting: false }
}

fn allowed(principal: &Principal, request: &Request, watchers: &[&WatcherConfig]) -> bool {
    authorize(principal, Role::Admin, request, &Facts { watchers: watchers.to_vec() }).is_ok()
}

/// The declared authority, once more: a changed row of the table has to be meant.
fn declared(key: &str) -> Authority {
    match key {
        "args" | "cmd" | "drain" | "env" | "executable" | "gid" | "health" | "ready" | "scale" | "shell"
        | "shell_args" | "slot.*" | "uid" => Authority::RunsAsWorker,
        "cgroup" | "copy_path" | "cpu_affinity" | "cpu_max" | "hooks" | "hooks.*" | "io_weight" | "ionice"
        | "memory_high" | "memory_max" | "nice" | "no_new_privs" | "oom_score_adj" | "pids_max" | "rlimit_*" => {
            Authority::RunsAsDaemon
        }
        "close_child_stdin" | "copy_env" | "env_file" | "on_demand" | "sockets" | "stderr_stream"
        | "stderr_stream.*" | "stdin_socket" | "stdout_stream" | "stdout_stream.*" | "use_sockets" | "virtualenv"
        | "virtualenv_py_ver" | "working_dir" => Authority::OpensAsDaemon,
        "essential" | "kill_mode" | "orphans" | "stop_children" => Authority::SignalsAsDaemon,
        "after" | "autostart" | "drain_timeout" | "scale_down_after" | "scale_interval" | "scale_max" | "scale_min"
        | "scale_target" | "scale_timeout" | "close_child_stderr" | "close_child_stdout" | "graceful_timeout"
        | "health_interval" | "health_retries" | "health_start_delay" | "health_timeout" | "hook_timeout" | "kind"
        | "idle_timeout" | "max_age" | "max_age_variance" | "max_retry" | "min_uptime" | "numprocesses"
        | "priority" | "propagate" | "remember" | "requires" | "ready_interval" | "ready_timeout" | "reload"
        | "reload_batch" | "reload_surge" | "respawn" | "retry_in" | "send_hup" | "singleton" | "stop_signal"
        | "success_codes" | "tail_bytes" | "warmup_delay" | "jitter" | "missed" | "overlap" | "schedule"
        | "timezone" => Authority::Safe,
        other => panic!("no authority is declared here for '{other}'"),
    }
}

/// A key and a value that the option takes.
fn example(key: &str) -> (String, Value) {
    let value = match key {
        "uid" => json!("alice"),
        "gid" => json!("video"),
        "stdout_stream" | "stderr_stream" => json!({"class": "FileStream", "filename": "/etc/cron.d/x"}),
        "env" => json!({"LD_PRELOAD": "/home/alice/x.so"}),
        _ => json!("x"),
    };
    let suffix = match key {
        "hooks.*" => "before_start",
        "rlimit_*" => "nofile",
        _ => "filename",
    };
    (key.replace('*', suffix), value)
}

#[test]
fn options_are_judged_by_authority_and_effective_user() {
    for spec in WATCHER_OPTIONS {
        assert_eq!(spec.authority, declared(spec.key), "{}", spec.key);
        let (key, value) = example(spec.key);
        let request = set(json!({key: value}));
        let harmless = matches!(spec.authority, Authority::Safe | Authority::RunsAsWorker);
        for (uid, is_alice) in effective_users() {
            let watcher = watcher(uid);
            assert!(allowed(&Principal::Daemon, &request, &[&watcher]), "{}", spec.key);
            let expected = is_alice && harmless;
            assert_eq!(allowed(&alice(), &request, &[&watcher]), expected, "{} of {:?}", spec.key, watcher.uid);
        }
    }
}

#[test]
fn each_option_is_judged_in_a_new_watcher() {
    for spec in WATCHER_OPTIONS.iter().filter(|spec| spec.key != "uid") {
        let (key, value) = example(spec.key);
        let harmless = matches!(spec.authority, Authority::Safe | Authority::RunsAsWorker);
        for (uid, is_alice) in effective_users() {
            let mut options = object(json!({&key: &value}));
            options.extend(uid.as_ref().map(|uid| ("uid".to_owned(), shown(uid))));
            let request = add(options.into());
            assert!(allowed(&Principal::Daemon, &request, &[]), "{}", spec.key);
            assert_eq!(allowed(&alice(), &request, &[]), is_alice && harmless, "{} as {uid:?}", spec.key);
        }
    }
}

fn shown(account: &Account) -> Value {
    match account {
        Account::Number(number) => (*number).into(),
        Account::Name(name) => name.as_str().into(),
    }
}

#[test]
fn a_watcher_cannot_be_moved_to_another_user_or_group() {
    let own = watcher(Some(Account::Number(ALICE)));
    for (options, expected) in [
        (json!({"uid": ALICE}), true),
        (json!({"uid": "alice"}), true),
        (json!({"uid": BOB}), false),
        (json!({"uid": "bob", "cmd": "id"}), false),
        (json!({"uid": 0}), false),
        (json!({"uid": null}), false),
        (json!({"uid": ""}), false),
        (json!({"uid": -1}), false),
        (json!({"uid": {}}), false),
        (json!({"gid": "shadow"}), false),
        (json!({"gid": 42}), false),
        (json!({"gid": 0}), false),
        (json!({"gid": ""}), false),
        (json!({"gid": "44"}), true),
        (json!({"gid": "alice", "cmd": "id"}), true),
        (json!({"new_in_the_next_release": 1}), false),
        (json!({"max_retry": 1, "hooks.before_start": "exec:id"}), false),
    ] {
        assert_eq!(allowed(&alice(), &set(options.clone()), &[&own]), expected, "{options}");
    }
}

#[test]
fn owner_cannot_use_rights_that_root_gave_a_watcher() {
    let group = WatcherConfig { gid: Some(Account::Name("shadow".into())), ..watcher(Some(Account::Number(ALICE))) };
    assert!(!allowed(&alice(), &set(json!({"cmd": "cat /etc/shadow"})), &[&group]));
    assert!(allowed(&alice(), &set(json!({"numprocesses": 2})), &[&group]));
    let hook = crate::config::Hook { run: "a.b".into(), ignore_failure: false };
    let mut hooked = watcher(Some(Account::Number(ALICE)));
    hooked.hooks.insert(crate::proto::HookPoint::BeforeStart, hook);
    assert!(!allowed(&alice(), &set(json!({"env": {"PYTHONPATH": "/home/alice"}})), &[&hooked]));
    assert!(allowed(&alice(), &set(json!({"cmd": "x"})), &[&hooked]));
}

#[test]
fn streams_that_open_nothing_are_allowed_to_all() {
    let own = watcher(Some(Account::Number(ALICE)));
    for (stream, expected) in [
        (json!({"class": "MemoryStream"}), true),
        (json!({"class": "circus.stream.StdoutStream"}), true),
        (json!({"class": "FancyStdoutStream", "color": "red"}), true),
        (json!({"class": "FileStream"}), false),
        (json!({"class": "WatchedFileStream", "filename": "x"}), false),
        (json!({"class": "exec", "command": "id"}), false),
        (json!({"filename": "x"}), false),
        (json!({"class": 1}), false),
        (json!("MemoryStream"), false),
    ] {
        assert_eq!(allowed(&alice(), &set(json!({"stdout_stream": stream})), &[&own]), expected, "{stream}");
    }
    assert!(!allowed(&alice(), &set(json!({"stdout_stream.class": "FileStream"})), &[&own]));
}

/// Every request but `add` and `set`, and how it is judged: always, by the effective user, or never.
fn requests() -> Vec<(Request, Option<bool>)> {
    let name = || "w".to_owned();
    let selection = || Some(Selection { name: "w".into(), method: MatchMethod::Glob });
    let signal = |childpid, children, recursive| Request::Signal {
        name: "w".into(),
        signum: Signal(15),
        pid: Some(7),
        childpid,
        children,
        recursive,
    };
    let waiting = false;
    let (always, by_user, never) = (Some(true), None, Some(false));
    vec![
        (Request::DStats, always),
        (Request::GlobalOptions { option: None }, always),
        (Request::List { name: None }, always),
        (Request::ListSockets, always),
        (Request::NumProcesses { name: None }, always),
        (Request::NumWatchers, always),
        (Request::Stats { name: None, process: None, extended: false }, always),
        (Request::Status { name: None, verbose: true }, always),
        (Request::Decr { name: name(), nb: 1, waiting }, by_user),
        (Request::Incr { name: name(), nb: 1, waiting }, by_user),
        (Request::Get { name: name(), keys: vec!["env".into()], env: None }, by_user),
        (Request::Options { name: name(), all: true, env: None }, by_user),
        (Request::Kill { name: name(), pid: None, signum: None, graceful_timeout: None, waiting }, by_user),
        (Request::Reload { name: Some(name()), graceful: true, sequential: false, waiting }, by_user),
        (Request::Reload { name: None, graceful: true, sequential: false, waiting }, by_user),
        (Request::Restart { selection: selection(), waiting }, by_user),
        (Request::Rm { name: name(), nostop: true, waiting }, by_user),
        (Request::Start { selection: selection(), waiting }, by_user),
        (Request::Start { selection: None, waiting }, by_user),
        (Request::Stop { selection: selection(), waiting }, by_user),
        (Request::Stop { selection: None, waiting }, by_user),
        (
            Request::Tail {
                name: name(),
                stream: StreamName::Stdout,
                range: TailRange { lines: 1, wid: None, after: None },
            },
            by_user,
        ),
        (Request::Why { name: name() }, by_user),
        (signal(None, false, false), by_user),
        (signal(Some(9), false, false), never),
        (signal(None, true, false), never),
        (signal(None, false, true), never),
        (Request::Quit { timeout: None, waiting }, never),
        (Request::ReloadConfig { dry_run: true, prune: false, waiting }, never),
        (Request::ReopenLogs, never),
        (Request::Upgrade { binary: None }, never),
        (Request::Upgrade { binary: Some("/home/alice/circusd".into()) }, never),
        (Request::Restart { selection: None, waiting }, never),
    ]
}

#[test]
fn requests_are_judged_by_the_users_of_their_watchers() {
    let own = watcher(Some(Account::Name("alice".into())));
    for (request, expected) in requests() {
        for (uid, is_alice) in effective_users() {
            let watcher = watcher(uid);
            assert!(allowed(&Principal::Daemon, &request, &[&watcher]));
            assert_eq!(allowed(&alice(), &request, &[&watcher]), expected.unwrap_or(is_alice), "{request:?}");
            // One of several is enough.
            assert_eq!(allowed(&alice(), &request, &[&own, &watcher]), expected.unwrap_or(is_alice), "{request:?}");
        }
    }
}

#[test]
fn root_as_endpoint_owner_is_held_to_its_uid() {
    let root = Principal::User(User { is_daemon: true, uid: 0, name: Some("root".into()), groups: Vec::new() });
    let any = watcher(Some(Account::Name("bob".into())));
    for (request, expected) in [
        (add(json!({})), false),
        (add(json!({"uid": "bob"})), false),
        (add(json!({"uid": "root", "hooks.before_start": "exec:id"})), true),
        (set(json!({"cmd": "x"})), true),
        (set(json!({"uid": 7})), false),
        (Request::Quit { timeout: None, waiting: false }, true),
    ] {
        assert_eq!(allowed(&root, &request, &[&any]), expected, "{request:?}");
    }
}

/// An arbiter of watchers, each with the user that its workers run as.
fn arbiter_of(watchers: &[(&str, Option<&str>)]) -> Arbiter {
    let watchers = watchers.iter().map(|(name, user)| WatcherConfig {
        uid: user.map(|user| Account::Name(user.into())),
        ..WatcherConfig::new(name, "x", "/")
    });
    let config = crate::config::Config {
        include_dirs: Vec::new(),
        circus: crate::config::CircusConfig::default(),
        watchers: watchers.collect(),
        sockets: Vec::new(),
    };
    Arbiter::new(config, crate::config::Host::default(), 7)
}

#[test]
fn the_arbiter_finds_what_a_request_touches() {
    let arbiter = arbiter_of(&[("web", Some("alice")), ("web2", Some("alice")), ("db", Some("bob")), ("plain", None)]);
    let stop =
        |name: &str, method| Request::Stop { selection: Some(Selection { name: name.into(), method }), waiting: false };
    for (request, expected) in [
        (stop("WEB", MatchMethod::Simple), true),
        (stop("web*", MatchMethod::Glob), true),
        (stop("*", MatchMethod::Glob), false),
        (stop("web|db", MatchMethod::Regex), false),
        (stop("plain", MatchMethod::Simple), false),
        (Request::Stop { selection: None, waiting: false }, false),
        (Request::Rm { name: "Db".into(), nostop: false, waiting: false }, false),
    ] {
        assert_eq!(arbiter.authorize(&alice(), Role::Admin, &request).is_ok(), expected, "{request:?}");
        assert_eq!(arbiter.authorize(&Principal::Daemon, Role::Admin, &request), Ok(()));
    }
    for (topic, expected) in [("output.web.stdout", true), ("output.db.stdout", false), ("output.none.stdout", false)] {
        assert_eq!(arbiter.may_follow(&alice(), topic), expected, "{topic}");
        assert!(arbiter.may_follow(&Principal::Daemon, topic));
    }
}

#[test]
fn owner_hears_no_texts_of_other_watchers() {
    use crate::proto::{EventKind, HookPoint, Notice, RunReport, RunResult, RunTrigger};
    let arbiter = arbiter_of(&[("My Web", Some("alice")), ("db", Some("bob")), ("plain", None)]);
    let text = || "secret".to_owned();
    let run = RunReport {
        result: RunResult::Failure,
        exit_code: Some(1),
        began: 1.0,
        duration: 1.0,
        attempts: 1,
        trigger: RunTrigger::Start,
        reason: Some(text()),
    };
    for kind in [
        EventKind::Unhealthy { process_pid: 7, wid: 1, reason: text() },
        EventKind::Stop { reason: Some(text()) },
        EventKind::RunEnd(run),
        EventKind::ReloadFailed { wid: Some(1), reason: text(), lines: vec![text()] },
        EventKind::HookFailure { hook: HookPoint::AfterStart, error: text() },
    ] {
        for (resource, is_shown) in [("my_web", true), ("db", false), ("plain", false), ("none", false)] {
            let notice = Notice { resource: resource.into(), kind: kind.clone(), time: 1.0 };
            let shown = arbiter.shown_to(&alice(), notice.clone());
            let body = String::from_utf8(crate::proto::encode_notice(&shown).1).unwrap();
            assert_eq!(body.contains("secret"), is_shown, "{resource}: {body}");
            assert_eq!(shown.kind.name(), kind.name());
            for sees_all in [Principal::Daemon, key(Role::Read, &[])] {
                assert_eq!(arbiter.shown_to(&sees_all, notice.clone()), notice);
            }
        }
    }
    let reap =
        Notice { resource: "db".into(), kind: EventKind::Reap { process_pid: 1, exit_code: 0, oom: false }, time: 1.0 };
    assert_eq!(arbiter.shown_to(&alice(), reap.clone()), reap);
}

fn key(role: Role, watchers: &[&str]) -> Principal {
    let watchers = crate::access::Scope::of(watchers.iter().copied());
    Principal::Granted(Arc::new(Grant { name: "k".into(), role, watchers }))
}

#[test]
fn every_command_takes_its_role() {
    for spec in crate::commands::COMMANDS {
        for role in [Role::Read, Role::Operate, Role::Admin] {
            let judged = |principal: &Principal| {
                authorize(principal, spec.role, &Request::NumWatchers, &Facts::default()).is_ok()
            };
            assert_eq!(judged(&key(role, &[])), role >= spec.role, "{} by {}", spec.name, role.name());
            assert_eq!(judged(&key(role, &["web*"])), role >= spec.role, "{} by {}", spec.name, role.name());
            assert!(judged(&Principal::Daemon));
        }
    }
}

/// Whatever the watcher runs as, and whatever the option: only `admin` changes one, and only where its watchers say so.
#[test]
fn every_option_takes_admin_of_every_user() {
    for spec in WATCHER_OPTIONS {
        let (option, value) = example(spec.key);
        for (uid, _) in effective_users() {
            let watcher = watcher(uid);
            let requests = [("set", set(json!({&option: &value}))), ("add", add(json!({&option: &value})))];
            for (command, request) in requests {
                let takes = crate::commands::find(command).unwrap().role;
                for role in [Role::Read, Role::Operate, Role::Admin] {
                    for (watchers, fits) in [(&[][..], true), (&["w"], true), (&["x"], false)] {
                        let facts = Facts { watchers: vec![&watcher] };
                        let judged = authorize(&key(role, watchers), takes, &request, &facts).is_ok();
                        let expected = role == Role::Admin && fits;
                        assert_eq!(judged, expected, "{command} {option} by {} of {watchers:?}", role.name());
                    }
                }
            }
        }
    }
}

/// `requests()` name the watcher `w`, or every watcher.
#[test]
fn key_touches_its_own_watchers_only() {
    let w = watcher(None);
    for (request, _) in requests() {
        let judged = |watchers: &[&str]| allowed(&key(Role::Admin, watchers), &request, &[&w]);
        assert!(judged(&[]), "{request:?}");
        let of_all = matches!(request, Request::DStats | Request::GlobalOptions { .. } | Request::NumWatchers);
        assert_eq!(judged(&["x"]), of_all, "{request:?}");
        let named = match &request {
            Request::ListSockets
            | Request::ReopenLogs
            | Request::Quit { .. }
            | Request::ReloadConfig { .. }
            | Request::Upgrade { .. } => false,
            Request::List { name }
            | Request::NumProcesses { name }
            | Request::Reload { name, .. }
            | Request::Stats { name, .. }
            | Request::Status { name, .. } => name.is_some(),
            Request::Restart { selection, .. } | Request::Start { selection, .. } | Request::Stop { selection, .. } => {
                selection.is_some()
            }
            _ => true,
        };
        assert_eq!(judged(&["w"]), named, "{request:?}");
    }
}

#[test]
fn selection_is_judged_by_what_it_selects() {
    let (w, other) = (watcher(None), WatcherConfig { name: "other".into(), ..watcher(None) });
    let selection = Some(Selection { name: "*".into(), method: MatchMethod::Glob });
    let request = Request::Stop { selection, waiting: false };
    let judged = |watchers: &[&WatcherConfig]| {
        let facts = Facts { watchers: watchers.to_vec() };
        authorize(&key(Role::Operate, &["w"]), Role::Operate, &request, &facts).is_ok()
    };
    assert!(judged(&[&w]));
    assert!(!judged(&[&w, &other]));
    // Nothing is selected, and nothing is told of that.
    assert!(!judged(&[]));
}

#[test]
fn arguments_are_for_admin() {
    for (role, sees) in [(Role::Read, false), (Role::Operate, false), (Role::Admin, true)] {
        assert_eq!(key(role, &[]).sees_everything(), sees);
    }
    assert!(Principal::Daemon.sees_everything() && alice().sees_everything());
}
