//! TLS: of branches, of their brokers.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::rig::{self, Broker, Process, eventually, free_port, program, skipped};

fn openssl(folder: &Path, arguments: &[&str]) {
    let done = Command::new("openssl").current_dir(folder).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// An authority (`ca.pem`), and a certificate of it for 127.0.0.1 (`server.pem`, `server.key`).
fn certificates(folder: &Path) {
    let new = ["req", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "30"];
    let ca = ["-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority"];
    openssl(folder, &[&new[..], &ca[..]].concat());
    openssl(folder, &[&new[..], &["-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server"]].concat());
    fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(folder, &[&sign[..], &["-days", "30", "-extfile", "names", "-out", "server.pem"]].concat());
    for name in ["server.key", "server.pem", "ca.pem"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(folder.join(name), mode).unwrap();
    }
}

/// A branch that trusts the authority, over this broker.
fn branch(folder: &Path, broker: &str, id: &str) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cyme-branch"));
    command.args([&port.to_string(), "-b", broker, "-i", id, "--circus-endpoint", "ipc:///nowhere/control"]);
    command.args(["--circus-pubsub", "ipc:///nowhere/events", "--tls-certificate", "server.pem"]);
    command.args(["--tls-key", "server.key", "-D", id]).current_dir(folder).env("SSL_CERT_FILE", "ca.pem");
    (Process::start(&mut command, &folder.join(format!("{id}.log"))), port)
}

/// What `cyme` says, and its exit status.
fn cyme(folder: &Path, port: u16, trusts: &str, arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(program("cyme"));
    command.current_dir(folder).env("SSL_CERT_FILE", trusts).stderr(Stdio::null());
    let done = command.args(["-u", &format!("https://127.0.0.1:{port}")]).args(arguments).output().unwrap();
    (done.status.code().unwrap(), serde_json::from_slice(&done.stdout).unwrap_or_default())
}

fn two_branches(test: &str, kind: rig::Kind) {
    if !rig::has_broker(test, kind) {
        return;
    }
    if Command::new("openssl").arg("version").output().is_err() {
        return skipped(test, "there is no openssl");
    }
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().into();
    certificates(&path);
    openssl(
        &path,
        &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "x.key", "-out", "x.pem", "-subj", "/CN=x"],
    );
    let broker = Broker::secure(kind, &path);
    let url = broker.url();
    let ((_a, first), (_b, second)) = (branch(&path, &url, "a"), branch(&path, &url, "b"));
    for port in [first, second] {
        eventually("both branches", || {
            (cyme(&path, port, "ca.pem", &["branches"]) == (0, json!(["a", "b"]))).then_some(())
        });
    }
    assert_eq!(cyme(&path, first, "ca.pem", &["apps.add", "foo"]).1["name"], "foo");
    assert_eq!(cyme(&path, second, "ca.pem", &["apps"]), (0, json!(["foo"])));
    // Another authority, and no TLS at all.
    assert_eq!(cyme(&path, second, "x.pem", &["apps"]).0, 3);
    assert_eq!(rig::ask(&format!("http://127.0.0.1:{second}/ping/"), "GET", None).0, 0);
}

#[test]
fn branches_over_redis_with_tls() {
    two_branches("branches_over_redis_with_tls", rig::Kind::Redis);
}

#[test]
fn branches_over_rabbitmq_with_tls() {
    two_branches("branches_over_rabbitmq_with_tls", rig::Kind::Rabbit);
}
