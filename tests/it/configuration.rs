//! The same INI files, read by the original and by us, mean the same. What differs on purpose, and how, is shown by
//! `tests/check`; these files stay clear of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use circus::config::{Host, STATS_WATCHER, SocketConfig, load, options};
use serde_json::{Map, Value, json};

use crate::rig::{Circusd, Site, python, run};

/// The files, copied to where the test may write.
fn installed(site: &Site) -> Vec<PathBuf> {
    let to = site.path("dialect");
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/circus/dialect")), &to, site);
    let mut files: Vec<PathBuf> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "ini"));
    files.sort();
    files
}

fn copy(from: &Path, to: &Path, site: &Site) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target, site);
        } else {
            fs::write(target, site.named(&fs::read_to_string(entry.path()).unwrap())).unwrap();
        }
    }
}

/// What we make of a file, in the form of `config.py`.
fn ours(file: &Path, host: &Host) -> Value {
    let loaded = load(file.to_str().unwrap(), host, &circus::sys::Machine);
    let Some(config) = loaded.config else {
        assert!(!loaded.problems.is_empty());
        return json!({"refused": true});
    };
    // Which the original makes when it starts.
    let of_the_file = config.watchers.iter().filter(|watcher| watcher.name != STATS_WATCHER);
    let watchers: Map<String, Value> =
        of_the_file.map(|watcher| (watcher.name.clone(), options::shown(watcher, false).into())).collect();
    let sockets: Map<String, Value> =
        config.sockets.iter().map(|socket| (socket.name.clone(), described(socket))).collect();
    let circus = &config.circus;
    json!({
        "circus": {
            "check_delay": circus.check_delay, "endpoint": circus.endpoint, "pubsub_endpoint": circus.pubsub_endpoint,
            "warmup_delay": circus.warmup_delay, "pidfile": circus.pidfile, "loglevel": circus.loglevel,
            "logoutput": circus.logoutput, "umask": circus.umask, "debug": circus.debug, "statsd": circus.statsd,
        },
        "watchers": watchers,
        "sockets": sockets,
    })
}

fn described(socket: &SocketConfig) -> Value {
    let inet = socket.path.is_none();
    json!({
        "host": inet.then_some(&socket.host), "port": inet.then_some(socket.port), "path": socket.path,
        "backlog": socket.backlog, "so_reuseport": socket.so_reuseport, "replace": socket.replace,
    })
}

/// Numbers are compared as numbers: 5 is 5.0.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|o| same(value, o)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (one, other) => one == other,
    }
}

/// The places where two descriptions differ, three levels down.
fn differences(place: &str, depth: u32, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(one), Value::Object(other)) if depth < 3 => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let nothing = &Value::Null;
                let (one, other) = (one.get(key).unwrap_or(nothing), other.get(key).unwrap_or(nothing));
                differences(&format!("{place} {key}"), depth + 1, one, other, found);
            }
        }
        (one, other) if same(one, other) => {}
        (one, other) => found.push(format!("{place}\n  theirs: {one}\n  ours:   {other}")),
    }
}

#[test]
fn files_mean_what_they_mean_to_the_original() {
    let Some(python) = python("configuration::files_mean_what_they_mean_to_the_original") else { return };
    let site = Site::new();
    let files = installed(&site);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/circus/config.py");
    let output = run(site.command(python).env_clear().env("HOME", "/nobody").arg(script).args(&files));
    let lines: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((output.status, lines.len()), (Some(0), files.len()), "{}", output.stderr);
    let mut found = Vec::new();
    for (file, theirs) in files.iter().zip(&lines) {
        let directory = file.parent().unwrap().to_str().unwrap().to_owned();
        let env = [("HOME".to_owned(), "/nobody".to_owned())].into();
        let ours = ours(file, &Host { env, cwd: directory, ..Host::default() });
        differences(file.file_name().unwrap().to_str().unwrap(), 0, theirs, &ours, &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let refused = lines.iter().filter(|line| line.get("refused").is_some()).count();
    assert_eq!(refused, 1, "what both refuse says nothing about what they mean");
}

/// Arguments and variables as a shell or an INI file would not leave them.
const ODD: &str = "two  blanks, 'quotes', 100 % and $HOME";

#[test]
fn circusd_reads_toml_and_json_with_unchanged_arguments() {
    let toml = format!(
        "[circus]
endpoint = \"ipc://{{dir}}/control\"
pubsub_endpoint = \"ipc://{{dir}}/events\"
pidfile = \"{{dir}}/circusd.pid\"
[watchers.w]
cmd = \"{{knobs}}\"
args = [\"say\", \"{ODD}\"]
env = {{ ODD = \"{ODD}\" }}
"
    );
    let json = json!({
        "circus": {"endpoint": "ipc://{dir}/control", "pubsub_endpoint": "ipc://{dir}/events", "pidfile": "{dir}/circusd.pid"},
        "watchers": {"w": {"cmd": "{knobs}", "args": ["say", ODD], "env": {"ODD": ODD}}},
    });
    for (name, text) in [("circus.toml", toml), ("circus.json", json.to_string())] {
        let site = Site::new();
        let file = site.write(name, &text);
        let checked = site.run_circusd(&["--check", file.to_str().unwrap()]);
        assert_eq!((checked.status, checked.stderr.as_str()), (Some(0), ""), "{checked:?}");
        let circusd = Circusd::start(site, &[file.to_str().unwrap()]);
        let worker = circusd.wait_for_workers("w", 1)[0];
        assert_eq!(worker.argv()[1..], ["say", ODD], "{name}");
        assert_eq!(worker.environment()["ODD"], ODD, "{name}");
    }
    let site = Site::new();
    let file = site.write("circus.toml", "[watchers.w]\ncmd = \"x\"\nnumprocesses = \"many\"\n");
    let refused = site.run_circusd(&["--check", file.to_str().unwrap()]);
    assert!(refused.stdout.contains("circus.toml:3") || refused.stderr.contains("circus.toml:3"), "{refused:?}");
}
