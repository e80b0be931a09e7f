//! Several circusds, and perhaps a branch of Cyme beside each.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use circus_test_support::{Kind, has_broker, has_programs};

use crate::rig::{Process, Rig, eventually, free_port, program};

/// The token of all branches of these tests.
pub(crate) const TOKEN: &str = "fleet-0123456789abcdef";

/// `NAME` stands for the name of the circusd.
const INI: &str = "[circus]\nendpoint = ipc://FOLDER/NAME.control\npubsub_endpoint = ipc://FOLDER/NAME.events\n\
    stats_endpoint = ipc://FOLDER/NAME.stats\nloglevel = info\n\
    [watcher:web]\ncmd = sleep 1000\ngraceful_timeout = 5\n\
    [watcher:talk]\ncmd = sh -c 'echo trouble at NAME >&2; n=0; while :; do n=$((n+1)); echo NAME line $n; sleep 0.3; done'\n\
    stdout_stream.class = FileStream\nstdout_stream.filename = FOLDER/NAME.out\n\
    stderr_stream.class = FileStream\nstderr_stream.filename = FOLDER/NAME.err\n";

/// A circusd in the folder of a rig, and its branch.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) branch: Option<Process>,
    pub(crate) circusd: Option<Process>,
    /// Where the branch listens.
    pub(crate) port: u16,
}

impl Site {
    pub(crate) fn start(rig: &Rig, name: &'static str) -> Self {
        let folder = rig.path("");
        let ini = INI.replace("FOLDER", folder.to_str().unwrap().trim_end_matches('/')).replace("NAME", name);
        fs::write(rig.path(&format!("{name}.ini")), ini).unwrap();
        let mut site = Self { name, branch: None, circusd: None, port: free_port() };
        site.start_circusd(rig);
        site
    }

    pub(crate) fn start_circusd(&mut self, rig: &Rig) {
        self.circusd = None;
        let mut command = Command::new(program("circusd"));
        command.arg(rig.path(&format!("{}.ini", self.name))).current_dir(rig.path(""));
        self.circusd = Some(Process::start(&mut command, &self.log(rig, "circusd")));
        eventually("circusd listens", || UnixStream::connect(self.socket(rig, "control")).ok());
    }

    pub(crate) fn socket(&self, rig: &Rig, what: &str) -> PathBuf {
        rig.path(&format!("{}.{what}", self.name))
    }

    pub(crate) fn endpoint(&self, rig: &Rig, what: &str) -> String {
        format!("ipc://{}", self.socket(rig, what).display())
    }

    fn log(&self, rig: &Rig, what: &str) -> PathBuf {
        rig.path(&format!("{}-{what}.log", self.name))
    }

    /// A branch over this broker, with more arguments.
    pub(crate) fn start_branch(&mut self, rig: &Rig, broker: &str, arguments: &[&str]) {
        self.branch = None;
        let mut command = Command::new(program("cyme-branch"));
        command.args([&format!("127.0.0.1:{}", self.port), "-i", self.name, "-b", broker, "--label", "test"]);
        command.arg("-D").arg(rig.path(&format!("{}-branch", self.name)));
        command.args(["--circus-endpoint", &self.endpoint(rig, "control")]);
        command.args(["--circus-pubsub", &self.endpoint(rig, "events")]);
        command.arg("--token-file").arg(token_file(rig, "fleet.token", TOKEN)).args(arguments);
        self.branch = Some(Process::start(&mut command, &self.log(rig, "branch")));
        let listens = || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok();
        eventually("the branch listens", listens);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// A file with a token.
pub(crate) fn token_file(rig: &Rig, name: &str, token: &str) -> PathBuf {
    let path = rig.path(name);
    fs::write(&path, format!("{token}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Whether there are branches and a broker; a test without them says so.
pub(crate) fn has_fleet(test: &str) -> bool {
    has_programs(test, &["cyme-branch"]) && has_broker(test, Kind::Redis)
}
