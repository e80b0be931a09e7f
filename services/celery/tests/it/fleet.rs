//! What `circus-celery init` writes, run by circusd while tasks come in.
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::rig::{self, APP, Broker, Kind, Process, eventually, helper, program};

/// How many tasks come while something is done.
const TASKS: usize = 80;

#[test]
fn no_task_is_lost_over_redis() {
    no_task_is_lost("no_task_is_lost_over_redis", Kind::Redis);
}

#[test]
fn no_task_is_lost_over_rabbitmq() {
    no_task_is_lost("no_task_is_lost_over_rabbitmq", Kind::Rabbit);
}

/// How often each task has begun, and how many have ended.
fn counted(record: &Path) -> (HashMap<String, usize>, usize) {
    let (mut begun, mut ended) = (HashMap::new(), 0);
    for line in fs::read_to_string(record).unwrap_or_default().lines() {
        match line.split_once(' ') {
            Some(("b", number)) => *begun.entry(number.to_owned()).or_insert(0) += 1,
            _ => ended += 1,
        }
    }
    (begun, ended)
}

fn no_task_is_lost(test: &str, kind: Kind) {
    if !rig::is_asked_for(test, kind) {
        return;
    }
    let Some(celery) = rig::celery(test, kind) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (path, record) = (folder.path(), folder.path().join("record"));
    let broker = Broker::start(kind, path);
    let url = broker.url();
    fs::write(path.join("app.py"), APP).unwrap();
    let place = path.to_str().unwrap();
    let made = path.join("made");
    let words = ["init", "app", "--queues", "fast,slow", "--concurrency", "2", "--flower", "0", "--path", place];
    let written = helper(&url, &words).arg("--celery").arg(&celery).arg("--folder").arg(&made).status().unwrap();
    assert!(written.success());
    let again = helper(&url, &words).arg("--celery").arg(&celery).arg("--folder").arg(&made).status().unwrap();
    assert_eq!(again.code(), Some(1), "it overwrites nothing");

    // The serializer pickle, and what only it can carry: the answers of the workers have it too.
    let ini = made.join("celery.ini");
    let text = fs::read_to_string(&ini).unwrap();
    let more = format!("{text}RECORD = {}\nSERIALIZER = pickle\nC_FORCE_ROOT = 1\n", record.display());
    fs::write(&ini, more).unwrap();
    assert!(Command::new(program("circusd")).arg("--check").arg(&ini).status().unwrap().success());
    let circusd = Process::start(Command::new(program("circusd")).arg(&ini), &path.join("circusd.out"));
    let control = format!("ipc://{}/control", made.canonicalize().unwrap().display());
    let ctl = |words: &[&str]| {
        let output =
            Command::new(program("circusctl")).args(["--endpoint", &control, "--timeout", "120"]).args(words).output();
        let output = output.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    };
    let active = ["beat: active", "worker-fast: active", "worker-slow: active"];
    let log = || fs::read_to_string(made.join("circusd.log")).unwrap_or_default();
    let all_active = || {
        let (_, said) = ctl(&["status"]);
        active.iter().all(|line| said.lines().any(|found| found == *line)).then_some(())
    };
    eventually("all are active", all_active);

    let send = |from: usize| {
        let script = format!(
            "import app, datetime\nfor n in range({from}, {}): app.count.apply_async((n, datetime.date.today()), \
             queue=('fast', 'slow')[n % 2])",
            from + TASKS
        );
        let python = celery.with_file_name("python");
        let mut command = Command::new(python);
        command.args(["-c", &script]).current_dir(path).env("CELERY_BROKER_URL", &url).env("SERIALIZER", "pickle");
        assert!(command.env("RECORD", &record).status().unwrap().success());
    };
    let mut sent = 0;
    for (what, words) in [
        ("reload", vec!["reload", "worker-fast", "--waiting"]),
        ("reload", vec!["reload", "worker-slow", "--waiting"]),
        ("incr", vec!["incr", "worker-fast", "1", "--waiting"]),
        ("decr", vec!["decr", "worker-fast", "1", "--waiting"]),
    ] {
        send(sent);
        sent += TASKS;
        let done = ctl(&words);
        assert!(done.0, "{what}: {}\n{}", done.1, log());
    }
    eventually("all tasks have ended", || (counted(&record).1 >= sent).then_some(()));
    let (begun, ended) = counted(&record);
    let twice: Vec<&String> = begun.iter().filter(|(_, times)| **times > 1).map(|(number, _)| number).collect();
    assert_eq!((begun.len(), ended, twice), (sent, sent, vec![]), "{}", log());
    assert!(!log().contains("stopped as it is"), "{}", log());

    // A worker that consumes no more is replaced, though it answers.
    let (_, before) = ctl(&["list", "worker-slow"]);
    assert!(ctl(&["set", "worker-slow", "health_interval", "1"]).0);
    assert_eq!(helper(&url, &["drain", "--pid", before.trim()]).status().unwrap().code(), Some(0));
    eventually("a successor", || (ctl(&["list", "worker-slow"]).1 != before).then_some(()));
    eventually("all are active", all_active);
    assert!(ctl(&["quit", "--waiting"]).0);
    drop(circusd);
}
