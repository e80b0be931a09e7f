//! The description of the interface, against the interface: schemathesis makes requests from it.
use std::path::PathBuf;
use std::process::Command;

use circus_cyme::core::openapi;

use crate::rig::{self, Broker, Process, eventually, free_port, played, skipped};

/// What a branch must not answer, whatever it is asked.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// A result that there is none of is waited for no longer than this.
const ANY: &str = "[parameters]\n\"query.timeout\" = \"0.1\"\n";
/// Names of what there is, since those of schemathesis's own seldom are. Of events there are some.
const NAMES: &str = r#"
"path.app" = "foo"
"path.instance" = "i1"
"path.queue" = "q1"
"path.branch" = "alone"
"path.watcher" = "cyme-i1"
"query.after" = "0"
"query.branch" = "alone"
"#;

#[test]
fn the_document_tells_what_is_answered() {
    let test = "the_document_tells_what_is_answered";
    let program = std::env::var_os("CIRCUS_TEST_SCHEMATHESIS").map(PathBuf::from).filter(|path| path.is_file());
    let Some(program) = program else { return skipped(test, "CIRCUS_TEST_SCHEMATHESIS names no program schemathesis") };
    if !rig::has_broker(test, rig::Kind::Redis) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(rig::Kind::Redis, folder.path());
    played::workers(&broker.url());
    let [control, events] = played::circusd();
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cyme-branch"));
    command.args([&port.to_string(), "-b", &broker.url(), "-i", "alone", "-D", "branch", "--drain", "0"]);
    command.args(["--circus-endpoint", &control, "--circus-pubsub", &events, "--celery", "true"]);
    let _branch = Process::start(command.current_dir(folder.path()), &folder.path().join("branch.log"));
    let url = format!("http://127.0.0.1:{port}");
    eventually("the branch works", || (rig::ask(&format!("{url}/healthz"), "GET", None).0 == 200).then_some(()));
    for path in ["/foo/", "/foo/queues/q1/", "/foo/instances/i1/"] {
        assert_eq!(rig::ask(&format!("{url}{path}"), "PUT", None).0, 201, "{path}");
    }

    for (name, parameters) in [("any.toml", ANY.to_owned()), ("names.toml", format!("{ANY}{NAMES}"))] {
        std::fs::write(folder.path().join(name), parameters).unwrap();
        let mut command = Command::new(&program);
        command.args(["--config-file", name, "run", &format!("{url}/openapi.json"), "--phases", "fuzzing,stateful"]);
        command.args([
            "--seed",
            "1",
            "--no-color",
            "--max-examples",
            "15",
            "--request-timeout",
            "70",
            "--workers",
            "4",
        ]);
        command.args(["--suppress-health-check", "all", "--checks", CHECKS]);
        let done = command.current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&done.stderr));
        // All but the one that gives the description. With given names there are fewer requests that can be made: where they
        // come to an end, schemathesis skips some.
        let all = openapi::operations() - 1;
        let told = if name == "any.toml" { format!("Tested: {all}\n") } else { format!("Selected: {all}/{all}\n") };
        assert!(said.contains(&told), "{name}: not '{told}': {said}");
    }
}
