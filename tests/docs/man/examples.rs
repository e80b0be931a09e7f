//! The examples of options are lines of a file that loads.

use std::collections::BTreeMap;
use std::fs;

use circus::commands::{self, Invocation};
use circus::config::options::{CIRCUS_OPTIONS, Kind, OptionSpec, SOCKET_OPTIONS, Support, WATCHER_OPTIONS, validate};
use circus::config::{Host, load};
use serde_json::Value;

/// How an option's example is written in a file; `None` where the option stands in requests alone.
pub(crate) fn written(spec: &OptionSpec) -> Option<(String, &'static str)> {
    if [Kind::Env, Kind::Stream, Kind::Hooks].contains(&spec.kind) {
        return None;
    }
    let key = match spec.key {
        "hooks.*" => "hooks.before_start".to_owned(),
        "rlimit_*" => "rlimit_nofile".to_owned(),
        key => key.replace("_stream.*", "_stream.filename"),
    };
    Some((key, spec.example))
}

/// What loading says of a file with these sections, in a directory that has what examples name.
fn problems(sections: &str) -> Vec<String> {
    let site = tempfile::tempdir().unwrap();
    let path = |name: &str| site.path().join(name);
    fs::create_dir(path("conf.d")).unwrap();
    fs::create_dir_all(path("venv/lib/python3.11/site-packages")).unwrap();
    for name in ["conf.d/one.ini", "more.ini"] {
        fs::write(path(name), "").unwrap();
    }
    fs::create_dir_all(path("venv/lib/python3.11/site-packages")).unwrap();
    let sections = sections.replace("/srv/venv", path("venv").to_str().unwrap());
    fs::write(path("circus.ini"), sections).unwrap();
    let host = Host { env: BTreeMap::new(), cwd: site.path().to_str().unwrap().to_owned(), ..Host::default() };
    let loaded = load(path("circus.ini").to_str().unwrap(), &host, &circus::sys::Machine);
    loaded.problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_loads(sections: &str, support: Support) {
    let problems = problems(sections);
    match support {
        Support::Works => assert_eq!(problems, [""; 0], "{sections}"),
        Support::Ignored(reason) | Support::Refused(reason) => {
            assert!(problems.iter().any(|problem| problem.contains(reason)), "{sections}: {problems:?}");
        }
    }
}

#[test]
fn those_of_watchers() {
    for spec in WATCHER_OPTIONS {
        let Some((key, value)) = written(spec) else { continue };
        // Sections that an example needs besides its own lines: connections start services alone.
        let needs = [("cmd", "x $(circus.sockets.web)"), ("copy_env", "yes"), ("shell", "yes"), ("use_sockets", "yes")];
        let own: &[(&str, &str)] = match key.as_str() {
            "kind" => &[],
            "jitter" | "missed" | "overlap" | "schedule" | "timezone" => &[("kind", "cron"), ("schedule", "@daily")],
            "cpu_max" | "io_weight" | "memory_high" | "memory_max" | "pids_max" => &[("cgroup", "yes")],
            "drain_timeout" => &[("drain", "exec:x")],
            key if key.starts_with("scale") => &[("scale", "queue"), ("scale_max", "8")],
            _ => &[("on_demand", "yes")],
        };
        let needs = needs.iter().chain(own).filter(|(need, _)| *need != key);
        let needs: String = needs.map(|(need, value)| format!("{need} = {value}\n")).collect();
        let others = "[slots:gpu]\nvalues = 0, 1\n[watcher:broker]\ncmd = x\n[watcher:db-1]\ncmd = x\n[circus]\nstate_file = state\n";
        let rest = format!("{needs}[socket:web]\nport = 0\n[socket:api]\nport = 0\n{others}");
        assert_loads(&format!("[watcher:w]\n{key} = {value}\n{rest}"), spec.support);
    }
}

#[test]
fn those_that_stand_in_requests_alone() {
    for spec in WATCHER_OPTIONS.iter().filter(|spec| written(spec).is_none()) {
        let properties: Value = if spec.kind == Kind::Env {
            let words = Invocation::new(["web", spec.key, spec.example]);
            commands::message(commands::find("set").unwrap(), &words).unwrap()["options"].clone()
        } else {
            serde_json::from_str(&format!("{{\"{}\": {}}}", spec.key, spec.example)).unwrap()
        };
        let checked = validate(properties.as_object().unwrap());
        match spec.support {
            Support::Refused(reason) => assert!(checked.unwrap_err().reason.contains(reason), "{}", spec.key),
            Support::Works | Support::Ignored(_) => assert_eq!(checked, Ok(Vec::new()), "{}", spec.key),
        }
    }
}

#[test]
fn those_of_circus_and_of_sockets() {
    for setting in CIRCUS_OPTIONS {
        let rest = "[watcher:w]\ncmd = x\n";
        // They come in a pair.
        let other = match setting.key {
            "curve_authorized_keys" => "curve_server_key = /k\n",
            "curve_server_key" => "curve_authorized_keys = /k\n",
            "ipc_roles" => "endpoint = ipc:///c\npubsub_endpoint = ipc:///e\n",
            _ => "",
        };
        assert_loads(&format!("[circus]\n{} = {}\n{other}{rest}", setting.key, setting.example), setting.support);
    }
    for setting in SOCKET_OPTIONS {
        let rest = "[watcher:w]\ncmd = x\n";
        assert_loads(&format!("[socket:s]\n{} = {}\n{rest}", setting.key, setting.example), setting.support);
    }
}

/// The examples of the pages themselves: everything between `.EX` and `.EE` that begins like a file.
#[test]
fn those_of_the_page() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/circus.ini.5")).unwrap();
    let blocks: Vec<String> = page
        .split(".EX\n")
        .skip(1)
        .filter_map(|rest| rest.split_once(".EE"))
        .map(|(block, _)| block.replace("\\-", "-").replace("\\e", "\\").replace("\\(aq", "'").replace("\\&", ""))
        .filter(|block| block.starts_with('['))
        .collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        assert_eq!(problems(&block), [""; 0], "{block}");
    }
}
