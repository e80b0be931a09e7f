//! The description of the interface, against the interface: schemathesis makes requests from it.
use std::path::PathBuf;
use std::process::Command;

use crate::rig::{self, Broker, Process, eventually, free_port, skipped};

/// Routes that wait: for a result, for circusd, for a worker. Those that make or change an instance without waiting are
/// among the rest.
const WAITING: &str = r"/(wait|watchers|events|healthz)|^/\{app\}/instances/(\{instance\}.*)?$";

#[test]
fn the_document_tells_what_is_answered() {
    let test = "the_document_tells_what_is_answered";
    let program = std::env::var_os("CIRCUS_TEST_SCHEMATHESIS").map(PathBuf::from).filter(|path| path.is_file());
    let Some(program) = program else { return skipped(test, "CIRCUS_TEST_SCHEMATHESIS names no program schemathesis") };
    if let Some(missing) = rig::missing(rig::Kind::Redis) {
        return skipped(test, missing);
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(rig::Kind::Redis, folder.path());
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cyme-branch"));
    command.args([&port.to_string(), "-b", &broker.url(), "-i", "alone", "-D", "branch"]).current_dir(folder.path());
    command.args(["--circus-endpoint", "ipc:///nowhere/control", "--circus-pubsub", "ipc:///nowhere/events"]);
    let _branch = Process::start(&mut command, &folder.path().join("branch.log"));
    let url = format!("http://127.0.0.1:{port}");
    eventually("the branch answers", || (rig::ask(&format!("{url}/branches/"), "GET", None).0 == 200).then_some(()));

    let mut command = Command::new(program);
    command.args(["run", &format!("{url}/openapi.json"), "--phases", "fuzzing,stateful", "--seed", "1", "--no-color"]);
    command.args(["--max-examples", "15", "--request-timeout", "70", "--workers", "4"]);
    command.args(["--suppress-health-check", "all", "--exclude-path-regex", WAITING, "--checks"]);
    command.arg("not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance");
    let done = command.current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("Fuzzing") && said.contains("passed"), "{said}");
}
