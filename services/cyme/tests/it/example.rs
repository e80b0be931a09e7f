//! What examples/cyme shows, run as it stands, but at ports that are free.
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::rig::{Kind, Process, ask, eventually, free_port, needs, program, same};
use serde_json::json;

#[test]
fn the_session_of_the_introduction() {
    let Some(celery) = needs("the_session_of_the_introduction", Kind::Redis) else { return };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/cyme");
    let folder = tempfile::tempdir().unwrap();
    let mut ini = fs::read_to_string(example.join("cyme.ini")).unwrap();
    let ports: Vec<String> = (0..3).map(|_| free_port().to_string()).collect();
    for (known, port) in ["6380", "8001", "8002"].iter().zip(&ports) {
        ini = ini.replace(known, port);
    }
    fs::write(folder.path().join("cyme.ini"), ini).unwrap();
    fs::create_dir(folder.path().join("target")).unwrap();

    let circusd = program("circusd");
    let programs = [circusd.parent().unwrap(), celery.parent().unwrap()];
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(programs.map(Into::into).into_iter().chain(env::split_paths(&path))).unwrap();
    let mut command = Command::new(&circusd);
    command.arg("cyme.ini").current_dir(folder.path()).env("PATH", path);
    let _circusd = Process::start(&mut command, &folder.path().join("circusd.log"));
    let branches = [format!("http://127.0.0.1:{}", ports[1]), format!("http://127.0.0.1:{}", ports[2])];
    eventually("both branches", || {
        same(ask(&format!("{}/branches/", branches[0]), "GET", None).1, json!(["branch1", "branch2"]))
    });

    let session =
        Command::new(example.join("session.sh")).env("BRANCH1", &branches[0]).env("BRANCH2", &branches[1]).output();
    let session = session.unwrap();
    let said = String::from_utf8_lossy(&session.stdout);
    assert!(session.status.success(), "{said}{}", String::from_utf8_lossy(&session.stderr));
    for expected in [
        r#"{"name":"foo","broker":"redis://127.0.0.1:"#,
        r#""queues":[],"max_concurrency":1,"min_concurrency":1,"is_enabled":true"#,
        r#"{"name":"tasks","exchange":"tasks","exchange_type":null,"routing_key":"tasks","options":null} (201)"#,
        r#"["tasks"] (200)"#,
        r#"{"ok":"ok"} (201)"#,
        r#"{"result":{"status_code":200"#,
        r#"{"max":2,"min":1} (200)"#,
        "[] (200)",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}
