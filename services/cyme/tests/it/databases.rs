//! The state of branches, on servers.
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use circus_cyme::core::{App, Change, Instance, Model, Queue};
use circus_cyme::store::Store;
use serde_json::json;

use crate::rig::{LIMIT, Process, free_port, skipped};

/// The programs of the newest PostgreSQL that is installed.
fn postgres() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|version| version.path().join("bin")).collect();
    versions.retain(|programs| programs.join("initdb").is_file());
    versions.sort();
    versions.pop()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0\n")
}

/// A program, by its user where this one is root: neither server runs as root.
fn command(program: &Path, user: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(program);
    command
}

/// A folder that this user may write to.
fn home(user: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if is_root() {
        let owner = format!("{user}:{user}");
        assert!(Command::new("chown").arg(owner).arg(folder.path()).status().unwrap().success());
    }
    folder
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn postgresql_keeps_the_state() {
    let Some(programs) = postgres() else { return skipped("postgresql_keeps_the_state", "there is no PostgreSQL") };
    let folder = home("postgres");
    let data = folder.path().join("data");
    let mut initdb = command(&programs.join("initdb"), "postgres");
    run(initdb.arg("-D").arg(&data).args(["-U", "cyme", "-A", "trust", "-E", "UTF8", "--no-sync"]));
    let port = free_port();
    let mut server = command(&programs.join("postgres"), "postgres");
    server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-F", "-k"]).arg(folder.path());
    let log = tempfile::tempdir().unwrap();
    let _server = Process::start(&mut server, &log.path().join("postgres.log"));
    keeps(&format!("postgres://cyme@127.0.0.1:{port}/postgres"));
}

#[test]
fn mariadb_keeps_the_state() {
    let server = Path::new("/usr/sbin/mariadbd");
    if !server.is_file() {
        return skipped("mariadb_keeps_the_state", "there is no MariaDB");
    }
    let folder = home("mysql");
    let (data, socket) = (folder.path().join("data"), folder.path().join("socket"));
    let mut install = command(Path::new("mariadb-install-db"), "mysql");
    run(install.arg("--no-defaults").arg(format!("--datadir={}", data.display())).arg("--skip-test-db"));
    let port = free_port();
    let start = folder.path().join("start.sql");
    fs::write(
        &start,
        "CREATE DATABASE cyme;\nCREATE USER me@localhost IDENTIFIED BY 'p@ss';\nGRANT ALL ON cyme.* TO me@localhost;\n",
    )
    .unwrap();
    let mut server = command(server, "mysql");
    server.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
    server.arg(format!("--socket={}", socket.display())).arg(format!("--port={port}"));
    server.args(["--bind-address=127.0.0.1", "--skip-name-resolve=OFF", "--innodb-flush-log-at-trx-commit=0"]);
    server.arg(format!("--init-file={}", start.display()));
    let log = tempfile::tempdir().unwrap();
    let _server = Process::start(&mut server, &log.path().join("mariadb.log"));
    keeps(&format!("mariadb://me:p%40ss@127.0.0.1:{port}/cyme"));
}

fn keeps(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let end = tokio::time::Instant::now() + LIMIT;
        let connect = async |branch: &'static str| loop {
            match Store::connect(url, branch).await {
                Ok(store) => return store,
                Err(error) => assert!(tokio::time::Instant::now() < end, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        // Two branches begin at once, and share the table.
        let (a, b) = tokio::join!(connect("a"), connect("b"));
        let queue = Queue {
            name: "q\u{e9}".into(),
            options: json!({"durable": true}).as_object().cloned(),
            ..Queue::default()
        };
        let instance = |name: &str| {
            Box::new(Instance {
                name: name.into(),
                queues: vec![queue.clone()],
                is_enabled: true,
                created_at: 1.5e9,
                arguments: Some("x".repeat(4000)),
                ..Instance::default()
            })
        };
        let app = App { name: "foo".into(), uid: "u".into(), ..App::default() };
        let mut wanted = Model::default();
        for change in [
            Change::PutApp(app.clone()),
            Change::PutApp(App { broker: Some("amqp://h".into()), ..app }),
            Change::PutQueue(queue.clone()),
            Change::PutInstance(instance("i")),
            Change::PutInstance(instance("I")),
            Change::PutInstance(instance("j")),
            Change::DropInstance("j".into()),
        ] {
            wanted.apply(&change);
            a.keep(&change).await.unwrap();
        }
        b.keep(&Change::PutQueue(queue.clone())).await.unwrap();
        b.keep(&Change::DropApp("foo".into())).await.unwrap();
        a.close().await;
        assert_eq!(connect("a").await.load().await.unwrap(), wanted);
        let of_b = b.load().await.unwrap();
        assert_eq!((of_b.queues.len(), of_b.instances.len()), (1, 0));
    });
}
