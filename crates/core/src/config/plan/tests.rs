//! Plans, by example and by their laws.

use proptest::prelude::*;

use super::*;
use crate::config::options::adjust;
use crate::config::{Args, StreamConfig};

fn watcher(name: &str, change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
    let mut watcher = WatcherConfig { dynamic: false, env: Some([].into()), ..WatcherConfig::new(name, "x", "/") };
    change(&mut watcher);
    watcher
}

fn socket(name: &str, port: u16) -> SocketConfig {
    SocketConfig { port, ..SocketConfig::new(name) }
}

fn config(watchers: Vec<WatcherConfig>, sockets: Vec<SocketConfig>) -> Config {
    Config { circus: CircusConfig::default(), watchers, sockets, include_dirs: Vec::new() }
}

/// The steps that are something to do, in a word each.
fn steps(old: &Config, new: &Config) -> Vec<String> {
    let plan = plan(old, new).unwrap();
    let watchers = plan.watchers.iter().filter(|step| step.change != WatcherChange::Kept);
    let watchers = watchers.map(|step| match &step.change {
        WatcherChange::Kept => unreachable!(),
        WatcherChange::Scaled { from, to } => format!("scale {} {from} {to}", step.name),
        WatcherChange::Adjusted { why, scaled } => format!("adjust {} for {} {scaled:?}", step.name, why.join(", ")),
        WatcherChange::Replaced { why, gracefully, .. } => {
            let how = if *gracefully { "reload" } else { "replace" };
            format!("{how} {} for {}", step.name, why.join(", "))
        }
        WatcherChange::Added { .. } => format!("add {}", step.name),
        WatcherChange::Removed { .. } => format!("remove {}", step.name),
    });
    let sockets = plan.sockets.iter().filter(|step| step.change != SocketChange::Kept);
    let sockets = sockets.map(|step| match &step.change {
        SocketChange::Kept => unreachable!(),
        SocketChange::Adjusted(why) => format!("adjust {} for {}", step.name, why.join(", ")),
        SocketChange::Replaced(why) => format!("reopen {} for {}", step.name, why.join(", ")),
        SocketChange::Added => format!("open {}", step.name),
        SocketChange::Removed => format!("close {}", step.name),
    });
    watchers.chain(sockets).collect()
}

#[test]
fn each_kind_of_change() {
    let old = config(
        vec![watcher("change", |_| {}), watcher("count", |_| {}), watcher("gone", |_| {}), watcher("stay", |_| {})],
        Vec::new(),
    );
    let new = config(
        vec![
            watcher("change", |w| w.working_dir = "/tmp".into()),
            watcher("count", |w| w.numprocesses = 3),
            watcher("fresh", |_| {}),
            watcher("stay", |_| {}),
        ],
        Vec::new(),
    );
    let expected = ["replace change for working_dir", "scale count 1 3", "add fresh", "remove gone"];
    assert_eq!(steps(&old, &new), expected);
    assert_eq!(steps(&new, &new), Vec::<String>::new());
}

#[test]
fn a_key_that_comes_or_goes_is_noticed() {
    let old = config(vec![watcher("w", |_| {})], Vec::new());
    let new = config(vec![watcher("w", |w| drop(w.freeform.insert("colour".into(), "blue".into())))], Vec::new());
    assert_eq!(steps(&old, &new), ["adjust w for colour None"]);
    assert_eq!(steps(&new, &old), ["adjust w for colour None"]);
}

#[test]
fn options_that_are_looked_at_when_needed_are_adjusted() {
    let old = config(vec![watcher("w", |_| {})], Vec::new());
    let steps_of = |change: fn(&mut WatcherConfig)| steps(&old, &config(vec![watcher("w", change)], Vec::new()));
    assert_eq!(steps_of(|w| w.graceful_timeout = 1.0), ["adjust w for graceful_timeout None"]);
    let both = steps_of(|w| (w.priority, w.numprocesses) = (7, 3));
    assert_eq!(both, ["adjust w for priority Some((1, 3))"]);
    assert_eq!(steps_of(|w| (w.priority, w.cmd) = (7, "y".into())), ["replace w for cmd, priority"]);
    assert_eq!(steps_of(|w| w.autostart = false), ["replace w for autostart"]);
    assert_eq!(steps_of(|w| w.env = Some([("A".into(), "1".into())].into())), ["replace w for env.A"]);
}

#[test]
fn a_changed_socket_replaces_those_that_hold_it() {
    let uses = |w: &mut WatcherConfig| w.cmd = "x $(circus.sockets.WEB)".into();
    let watchers = vec![
        watcher("all", |w| w.use_sockets = true),
        watcher("api", |w| w.sockets = vec!["api".into()]),
        watcher("named", uses),
        watcher("none", |_| {}),
        watcher("stdin", |w| w.stdin_socket = Some("web".into())),
    ];
    let old = config(watchers.clone(), vec![socket("api", 1), socket("web", 2)]);
    let mut new = config(watchers, vec![socket("api", 1), socket("web", 3)]);
    let reloads = ["reload all for socket web", "reload named for socket web", "reload stdin for socket web"];
    let reopens = ["reopen web for port"];
    assert_eq!(steps(&old, &new), [&reloads[..], &reopens].concat());
    // Those that differ themselves stop first.
    uses(&mut new.watchers[0]);
    new.watchers[2].numprocesses = 2;
    let expected = [
        "replace all for cmd, socket web",
        "reload named for numprocesses, socket web",
        "reload stdin for socket web",
        "reopen web for port",
    ];
    assert_eq!(steps(&old, &new), expected);
}

#[test]
fn a_socket_at_the_same_address_is_adjusted() {
    let watchers = vec![watcher("w", |w| w.use_sockets = true)];
    let old = config(watchers.clone(), vec![socket("web", 1)]);
    let new = config(watchers, vec![SocketConfig { backlog: 5, blocking: true, ..socket("web", 1) }]);
    assert_eq!(steps(&old, &new), ["adjust web for backlog, blocking"]);
    assert!(same_place(&old.sockets[0], &new.sockets[0]));
    assert!(!same_place(&old.sockets[0], &socket("web", 2)));
}

#[test]
fn a_watcher_cannot_lose_its_socket() {
    let uses = |name: &str| watcher(name, |w| w.args = Some(Args::Text("${socket:web} ${socket:never}".into())));
    let old = config(vec![uses("w")], vec![socket("web", 1)]);
    let new = config(vec![uses("v"), uses("w")], Vec::new());
    let reason = |name| format!("watcher '{name}' uses the socket 'web', which is not in the file any more");
    assert_eq!(plan(&old, &new), Err(vec![reason("v"), reason("w")]));
    // It goes with its watcher.
    assert_eq!(steps(&old, &config(Vec::new(), Vec::new())), ["remove w", "close web"]);
}

#[test]
fn options_of_circus_count_at_once_or_after_a_restart() {
    let old = config(Vec::new(), Vec::new());
    let mut new = old.clone();
    new.circus.check_delay = 1.0;
    new.circus.umask = Some(0o27);
    new.circus.endpoint = "ipc:///x".into();
    let found = plan(&old, &new).unwrap();
    assert_eq!(
        (found.applied.join(" "), found.needs_restart.join(" ")),
        ("check_delay umask".into(), "endpoint".into())
    );
    let applied = in_force(&old.circus, &new.circus);
    assert_eq!(applied, CircusConfig { endpoint: old.circus.endpoint.clone(), ..new.circus.clone() });
    let again = plan(&Config { circus: applied, ..old }, &new).unwrap();
    assert!(again.is_empty());
    assert_eq!(again.needs_restart, ["endpoint"]);
}

#[test]
fn namesakes_keep_their_order() {
    let old = config(vec![watcher("w", |w| w.cmd = "1".into()), watcher("w", |w| w.cmd = "2".into())], Vec::new());
    let new = config(vec![watcher("w", |w| w.cmd = "1".into())], Vec::new());
    assert_eq!(steps(&old, &new), ["remove w"]);
    assert_eq!(steps(&new, &old), ["add w"]);
}

// -- laws ----------------------------------------------------------------------------------------------------------

fn any_watcher() -> impl Strategy<Value = WatcherConfig> {
    let stream = |file: &str| StreamConfig {
        class: "FileStream".into(),
        options: [("filename".to_owned(), file.into())].into(),
    };
    let limits = prop::collection::btree_map("(core|nofile)", prop::option::of(0u64..3), 0..2);
    let words = prop::collection::btree_map("[AB]", "[01]", 0..2);
    (
        ("[abc]", "(x|y \\$\\(circus.sockets.s\\)|z)", 0u32..3, 0i64..2, any::<bool>()),
        (words.clone(), words, limits),
        (prop::option::of("[fg]"), prop::option::of(Just("s".to_owned())), 0u8..3, any::<bool>()),
    )
        .prop_map(
            move |((name, cmd, numprocesses, priority, send_hup), (env, free, limits), (file, stdin, kind, up))| {
                watcher(&name, |w| {
                    (w.cmd, w.numprocesses, w.priority, w.send_hup) = (cmd, numprocesses, priority, send_hup);
                    (w.env, w.freeform, w.rlimits, w.autostart) = (Some(env), free, limits, up);
                    w.stdout_stream = file.as_deref().map(stream);
                    w.stdin_socket = stdin;
                    w.use_sockets = kind == 1;
                    w.sockets = if kind == 2 { vec!["s".into()] } else { Vec::new() };
                })
            },
        )
}

fn any_config() -> impl Strategy<Value = Config> {
    let sockets = ("[st]", 0u16..3, 1i32..3, any::<bool>());
    let sockets =
        sockets.prop_map(|(name, port, backlog, blocking)| SocketConfig { backlog, blocking, ..socket(&name, port) });
    let circus = (0u8..2, prop::option::of(0u32..2), "[pq]", any::<bool>());
    let circus = circus.prop_map(|(delay, umask, endpoint, debug)| CircusConfig {
        check_delay: delay.into(),
        umask,
        endpoint,
        debug,
        ..CircusConfig::default()
    });
    let lists = (prop::collection::vec(any_watcher(), 0..4), prop::collection::vec(sockets, 0..3));
    (circus, lists).prop_map(|(circus, (mut watchers, mut sockets))| {
        watchers.sort_by(|a, b| a.name.cmp(&b.name));
        sockets.sort_by(|a, b| a.name.cmp(&b.name));
        sockets.dedup_by(|a, b| a.name == b.name);
        Config { circus, watchers, sockets, include_dirs: Vec::new() }
    })
}

/// What a plan makes of `old`, taking as little of `new` as it says.
fn carried_out(plan: &ReloadPlan, old: &Config, new: &Config) -> Config {
    let mut watchers = Vec::new();
    for step in &plan.watchers {
        let before = step.old.map(|place| old.watchers[place].clone());
        let after = step.new.map(|place| new.watchers[place].clone());
        match &step.change {
            WatcherChange::Kept => watchers.extend(before),
            WatcherChange::Scaled { from, to } => {
                let before = before.unwrap();
                assert_eq!(before.numprocesses, *from);
                watchers.push(WatcherConfig { numprocesses: *to, ..before });
            }
            WatcherChange::Adjusted { why, scaled } => {
                let mut watcher = before.unwrap();
                adjust(&mut watcher, why, &after.unwrap()).unwrap();
                watcher.numprocesses = scaled.map_or(watcher.numprocesses, |(_, to)| to);
                watchers.push(watcher);
            }
            WatcherChange::Replaced { gracefully, .. } if *gracefully => {
                watchers.push(WatcherConfig { numprocesses: after.unwrap().numprocesses, ..before.unwrap() });
            }
            WatcherChange::Replaced { .. } | WatcherChange::Added { .. } => watchers.extend(after),
            WatcherChange::Removed { .. } => {}
        }
    }
    let named = |config: &Config, name: &str| config.sockets.iter().find(|socket| socket.name == name).cloned();
    let sockets = plan.sockets.iter().filter_map(|step| match &step.change {
        SocketChange::Kept => named(old, &step.name),
        SocketChange::Adjusted(_) | SocketChange::Replaced(_) | SocketChange::Added => named(new, &step.name),
        SocketChange::Removed => None,
    });
    Config {
        circus: in_force(&old.circus, &new.circus),
        watchers,
        sockets: sockets.collect(),
        include_dirs: Vec::new(),
    }
}

proptest! {
    #[test]
    fn a_plan_carried_out_gives_the_new_configuration(old in any_config(), new in any_config()) {
        let Ok(plan) = plan(&old, &new) else { return Ok(()) };
        let result = carried_out(&plan, &old, &new);
        prop_assert_eq!(&result.watchers, &new.watchers);
        prop_assert_eq!(&result.sockets, &new.sockets);
        let again = super::plan(&result, &new).unwrap();
        prop_assert!(again.is_empty(), "{:?}", again);
        prop_assert_eq!(&again.needs_restart, &plan.needs_restart);
        let differs = result.circus != new.circus;
        prop_assert_eq!(differs, !plan.needs_restart.is_empty());
    }

    #[test]
    fn nothing_lies_between_a_configuration_and_itself(config in any_config()) {
        let plan = plan(&config, &config).unwrap();
        prop_assert!(plan.is_empty() && plan.needs_restart.is_empty());
    }

    #[test]
    fn plan_names_each_watcher_once(old in any_config(), new in any_config()) {
        let Ok(plan) = plan(&old, &new) else { return Ok(()) };
        let places = |get: fn(&WatcherStep) -> Option<usize>| {
            let mut places: Vec<usize> = plan.watchers.iter().filter_map(get).collect();
            places.sort_unstable();
            places
        };
        prop_assert_eq!(places(|step| step.old), (0..old.watchers.len()).collect::<Vec<_>>());
        prop_assert_eq!(places(|step| step.new), (0..new.watchers.len()).collect::<Vec<_>>());
    }
}
