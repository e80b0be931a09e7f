//! Keys of CURVE: which clients get in over tcp, what each may do, and that a key that is revoked does nothing more.

use std::os::unix::fs::PermissionsExt as _;

use circus::net::{ClientKeys, SecretKey};
use circus::sys::{read_public_key, read_secret_key};
use nix::sys::signal::Signal;

use crate::rig::{Circusd, Output, Site, built, free_port, python, run, wait_until};

/// A site with keys of circusd and of these clients: name, role, watchers.
pub(crate) struct Keyed {
    pub(crate) control: u16,
    pub(crate) events: u16,
    pub(crate) stats: u16,
}

impl Keyed {
    pub(crate) fn prepare(site: &Site, clients: &[(&str, &str, &str)]) -> Self {
        let keys = site.path("keys");
        std::fs::create_dir(&keys).unwrap();
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o755)).unwrap();
        keygen(site, &["server"]);
        for (name, role, watchers) in clients {
            keygen(site, &["--role", role, "--watchers", watchers, name]);
            std::fs::copy(site.path(&format!("{name}.key")), keys.join(format!("{name}.key"))).unwrap();
        }
        Self { control: free_port(), events: free_port(), stats: free_port() }
    }

    pub(crate) fn sections(&self, rest: &str) -> String {
        format!(
            "[circus]
            endpoint = tcp://127.0.0.1:{}
            pubsub_endpoint = tcp://0.0.0.0:{}
            stats_endpoint = tcp://127.0.0.1:{}
            curve_server_key = {{dir}}/server.key_secret
            curve_authorized_keys = {{dir}}/keys
            {rest}",
            self.control, self.events, self.stats
        )
    }

    /// The keys of a client, for a socket of the test's own.
    pub(crate) fn keys_of(&self, site: &Site, name: &str) -> ClientKeys {
        let own = read_secret_key(&site.path(&format!("{name}.key_secret"))).unwrap();
        let server = read_public_key(&site.path("server.key")).unwrap().public.unwrap();
        let secret = SecretKey::parse(own.secret.as_deref().unwrap()).unwrap();
        ClientKeys { server, public: own.public.unwrap(), secret }
    }

    /// circusctl with the key of a client.
    pub(crate) fn ctl(&self, site: &Site, name: &str, args: &[&str]) -> Output {
        let endpoint = format!("tcp://127.0.0.1:{}", self.control);
        let mut command = site.command(built("circusctl"));
        command.env("CIRCUSCTL_ENDPOINT", endpoint).env("CIRCUS_CURVE_SERVER_KEY", site.path("server.key"));
        command.env("CIRCUS_CURVE_KEY", site.path(&format!("{name}.key_secret")));
        run(command.args(args))
    }
}

fn keygen(site: &Site, args: &[&str]) {
    let output = site.circusctl(&[&["keygen"], args].concat());
    assert_eq!(output.status, Some(0), "{output:?}");
}

const CLIENTS: [(&str, &str, &str); 4] =
    [("root", "admin", "*"), ("op", "operate", "*"), ("eye", "read", "*"), ("web", "operate", "web*")];

const WATCHERS: &str = "
    [watcher:web1]
    cmd = {knobs} say secret-argument
    [env:web1]
    TOKEN = secret-value
    [watcher:db]
    cmd = {knobs}";

fn keyed_circusd(rest: &str) -> (Circusd, Keyed) {
    let site = Site::new();
    let keyed = Keyed::prepare(&site, &CLIENTS);
    let sections = keyed.sections(rest) + WATCHERS;
    (site.start(&sections), keyed)
}

#[track_caller]
pub(crate) fn done(output: &Output) -> &str {
    assert_eq!(output.status, Some(0), "{output:?}");
    &output.stdout
}

#[track_caller]
fn refused<'o>(output: &'o Output, words: &str) -> &'o str {
    assert_ne!(output.status, Some(0), "{output:?}");
    assert!(output.stderr.contains(words), "{output:?}");
    &output.stderr
}

fn end(mut circusd: Circusd) {
    circusd.send(Signal::SIGTERM);
    circusd.wait_for_end();
}

#[test]
fn roles_and_scopes_hold() {
    let (circusd, keyed) = keyed_circusd("audit_log = {dir}/audit\n");
    let ctl = |name: &str, args: &[&str]| keyed.ctl(&circusd, name, args);
    assert!(done(&ctl("root", &["list"])).contains("web1"));
    done(&ctl("eye", &["status"]));
    refused(&ctl("eye", &["stop", "db"]), "'eye' has the role read, and this takes the role operate");
    done(&ctl("op", &["restart", "db"]));
    refused(&ctl("op", &["set", "db", "numprocesses", "2"]), "this takes the role admin");
    refused(&ctl("op", &["quit"]), "this takes the role admin");
    done(&ctl("web", &["restart", "web1"]));
    refused(&ctl("web", &["restart", "db"]), "'web' may not touch watcher 'db'");
    refused(&ctl("web", &["stop"]), "'web' may not touch every watcher");
    // Secret values are for admin alone.
    let all = done(&ctl("root", &["options", "web1"])).to_owned();
    assert!(all.contains("secret-value") && all.contains("secret-argument"), "{all}");
    for args in [&["options", "web1"][..], &["get", "web1", "env", "cmd"], &["stats", "web1"], &["--json", "stats"]] {
        let told = ctl("eye", args);
        assert!(!format!("{told:?}").contains("secret"), "{args:?}: {told:?}");
    }
    // The log names the client.
    circusd.wait_for_log("set \"db\" requested by op at ");
    // So does the audit log, and that it was refused.
    let audit = circusd.wait_for_text("audit", "command=restart target=db by=web");
    for line in [
        "command=stop target=db by=eye address=127.0.0.1 result=denied reason=\"not allowed: 'eye' has the role read",
        "command=restart target=db by=op address=127.0.0.1 result=ok",
        "command=set target=db options=numprocesses by=op address=127.0.0.1 result=denied",
        "command=restart target=db by=web address=127.0.0.1 result=denied",
    ] {
        assert!(audit.contains(line), "{line}: {audit}");
    }
    end(circusd);
}

#[test]
fn strangers_stay_out_and_learn_nothing() {
    let (circusd, keyed) = keyed_circusd("");
    keygen(&circusd, &["--role", "admin", "mallory"]);
    refused(&keyed.ctl(&circusd, "mallory", &["list"]), "circusd does not accept this key");
    circusd.wait_for_log("refused a client whose key is not in curve_authorized_keys: 127.0.0.1 with key ");
    let endpoint = format!("tcp://127.0.0.1:{}", keyed.control);
    let bare = circusd.circusctl(&["--endpoint", &endpoint, "list"]);
    refused(&bare, "no secure connection came about");
    // A wrong key of the server: the client does not give itself away.
    let wrong = circusd.path("mallory.key");
    let own = circusd.path("root.key_secret");
    let args = ["--endpoint", &endpoint, "--curve-key", own.to_str().unwrap(), "--curve-server-key"];
    refused(&circusd.circusctl(&[&args[..], &[wrong.to_str().unwrap(), "list"]].concat()), "no secure connection");
    end(circusd);
}

/// The lines of docs/security.md.
#[test]
fn clients_of_circus_take_keys_from_a_context() {
    let (circusd, keyed) = keyed_circusd("");
    let Some(python) = python("clients_of_circus_take_keys_from_a_context") else { return };
    let script = circusd.write(
        "client.py",
        r#"
import sys, zmq, zmq.auth
from circus.client import CircusClient
secret, server, endpoint = sys.argv[1:]
context = zmq.Context()
context.curve_publickey, context.curve_secretkey = zmq.auth.load_certificate(secret)
context.curve_serverkey, _ = zmq.auth.load_certificate(server)
client = CircusClient(context=context, endpoint=endpoint, timeout=20)
for command in sys.stdin:
    print(client.send_message(command.strip())["status"], flush=True)
"#,
    );
    let mut command = circusd.command(&python);
    command.arg(&script).arg(circusd.path("eye.key_secret")).arg(circusd.path("server.key"));
    command.arg(format!("tcp://127.0.0.1:{}", keyed.control));
    let mut eye = Client::new(command);
    assert_eq!((eye.say("list"), eye.say("stop")), ("ok".into(), "error".into()));
    drop(eye);
    end(circusd);
}

#[test]
fn revoked_key_does_nothing_more_and_others_stay_connected() {
    let (circusd, keyed) = keyed_circusd("");
    let Some(python) = python("revoked_key_does_nothing_more_and_others_stay_connected") else { return };
    // Two clients of pyzmq, as their own libraries make them, which ask and listen as long as they live.
    let script = circusd.write(
        "client.py",
        r#"
import json, sys, zmq, zmq.auth
secret, server, control, events = sys.argv[1:]
public, secret = zmq.auth.load_certificate(secret)
server, _ = zmq.auth.load_certificate(server)
context = zmq.Context()
def connect(kind, endpoint):
    socket = context.socket(kind)
    socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = server, public, secret
    socket.linger = 0
    socket.connect(endpoint)
    return socket
request, listen = connect(zmq.DEALER, control), connect(zmq.SUB, events)
listen.setsockopt(zmq.SUBSCRIBE, b"watcher.")
poller = zmq.Poller()
poller.register(listen)
for line in sys.stdin:
    if line.strip() == "ask":
        request.send(json.dumps({"id": "1", "command": "numwatchers", "properties": {}}).encode())
        print(json.loads(request.recv())["status"] if request.poll(20000) else "silence", flush=True)
    else:
        heard = set()
        while poller.poll(300):
            heard.add(listen.recv_multipart()[0].decode())
        print(" ".join(sorted(heard)) or "nothing", flush=True)
"#,
    );
    let client = |name: &str| {
        let mut command = circusd.command(&python);
        command.arg(&script).arg(circusd.path(&format!("{name}.key_secret"))).arg(circusd.path("server.key"));
        command.arg(format!("tcp://127.0.0.1:{}", keyed.control)).arg(format!("tcp://127.0.0.1:{}", keyed.events));
        Client::new(command)
    };
    let (mut eye, mut op) = (client("eye"), client("op"));
    assert_eq!((eye.say("ask"), op.say("ask")), ("ok".into(), "ok".into()));
    let hear_restart = |eye: &mut Client, op: &mut Client| {
        done(&keyed.ctl(&circusd, "root", &["restart", "db", "--waiting"]));
        (eye.say("hear").contains("watcher.db.spawn"), op.say("hear").contains("watcher.db.spawn"))
    };
    wait_until("both hear", || hear_restart(&mut eye, &mut op) == (true, true));
    std::fs::remove_file(circusd.path("keys/eye.key")).unwrap();
    // Not before circusd is told.
    assert_eq!(eye.say("ask"), "ok");
    done(&keyed.ctl(&circusd, "root", &["reloadconfig"]));
    assert_eq!((eye.say("ask"), op.say("ask")), ("error".into(), "ok".into()));
    eye.say("hear");
    op.say("hear");
    wait_until("the other is there", || {
        let (revoked, other) = hear_restart(&mut eye, &mut op);
        assert!(!revoked, "a revoked key hears events");
        other
    });
    refused(&keyed.ctl(&circusd, "eye", &["list"]), "circusd does not accept this key");
    circusd.wait_for_log("which was let in and is not authorized any more");
    // A file that is wrong changes nothing.
    circusd.write("keys/bad.key", "bad read short\n");
    refused(&keyed.ctl(&circusd, "root", &["reloadconfig"]), "bad.key:1: 'bad' has no public key");
    assert_eq!(op.say("ask"), "ok");
    drop((eye, op));
    end(circusd);
}

/// A program that answers lines.
struct Client {
    child: std::process::Child,
    answers: std::io::BufReader<std::process::ChildStdout>,
}

impl Client {
    fn new(mut command: std::process::Command) -> Self {
        use std::process::Stdio;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = std::io::BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    fn say(&mut self, line: &str) -> String {
        use std::io::{BufRead as _, Write as _};
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

#[test]
fn own_programs_have_a_key_and_no_secret_on_their_command_line() {
    let rest = "statsd = yes\n[plugin:flap]\nuse = flapping\n";
    let (circusd, keyed) = keyed_circusd(rest);
    for watcher in ["circusd-stats", "plugin:flap"] {
        wait_until("it runs", || {
            let told = keyed.ctl(&circusd, "root", &["--json", "list", watcher]);
            told.stdout.contains("\"pids\": [") && !told.stdout.contains("\"pids\": []")
        });
    }
    let secret = circusd.read("server.key_secret");
    let secret = secret.lines().find_map(|line| line.trim().strip_prefix("secret-key = ")).unwrap().trim_matches('"');
    for process in circusd.inhabitants() {
        let told = format!("{:?} {:?}", process.argv(), process.environment());
        assert!(!told.contains(secret), "{told}");
        // Workers of the user's inherit nothing of it.
        if process.argv().iter().any(|word| word.contains("knobs")) {
            assert!(!process.environment().contains_key("CIRCUS_CURVE_FD"));
            assert!(!process.fds().values().any(|path| path.to_string_lossy().contains("memfd")), "{told}");
        }
    }
    // circusd-stats has the door of circusd, and its subscribers their scope.
    let mut top = circusd.command(built("circus-top"));
    top.env("CIRCUS_CURVE_SERVER_KEY", circusd.path("server.key"));
    top.env("CIRCUS_CURVE_KEY", circusd.path("eye.key_secret"));
    top.args(["--once", "--control", &format!("tcp://127.0.0.1:{}", keyed.control)]);
    let seen = run(&mut top);
    assert!(done(&seen).contains("web1"), "{seen:?}");
    end(circusd);
}

#[test]
fn upgrade_keeps_the_door_shut() {
    let (circusd, keyed) = keyed_circusd("");
    done(&keyed.ctl(&circusd, "root", &["upgrade"]));
    wait_until("it answers again", || keyed.ctl(&circusd, "root", &["list"]).status == Some(0));
    keygen(&circusd, &["--role", "admin", "mallory"]);
    refused(&keyed.ctl(&circusd, "mallory", &["list"]), "circusd does not accept this key");
    refused(&keyed.ctl(&circusd, "eye", &["stop"]), "this takes the role operate");
    // With a key that cannot be read, no client would get in afterwards.
    std::fs::set_permissions(circusd.path("server.key_secret"), std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(&keyed.ctl(&circusd, "root", &["upgrade"]), "others may read or change it");
    end(circusd);
}

#[test]
fn endpoint_opens_with_its_keys_in_one_restart() {
    let site = Site::new();
    let keyed = Keyed::prepare(&site, &CLIENTS);
    let circusd = site.start(WATCHERS);
    let open = keyed.sections("").replace("127.0.0.1", "0.0.0.0") + WATCHERS;
    circusd.ini("circus.ini", &open);
    let reply = circusd.tell("reloadconfig", serde_json::json!({}));
    assert!(reply.to_string().contains("curve_server_key"), "{reply}");
    // Until it is started again it answers where it did, and nowhere else.
    circusd.tell("list", serde_json::json!({}));
    refused(&keyed.ctl(&circusd, "root", &["list"]), "refused");
    circusd.tell("restart", serde_json::json!({}));
    wait_until("it listens there", || keyed.ctl(&circusd, "root", &["list"]).status == Some(0));
    let endpoint = format!("tcp://127.0.0.1:{}", keyed.control);
    refused(&circusd.circusctl(&["--endpoint", &endpoint, "list"]), "no secure connection came about");
    end(circusd);
}

#[test]
fn keys_that_cannot_be_used_are_refused_at_the_start() {
    let site = Site::new();
    let keyed = Keyed::prepare(&site, &CLIENTS);
    let start = |sections: &str| {
        let ini = site.ini("circus.ini", sections);
        let output = site.run_circusd(&[ini.to_str().unwrap()]);
        assert_eq!(output.status, Some(1), "{output:?}");
        output.stderr
    };
    let sections = keyed.sections("") + WATCHERS;
    let alone = sections.replace("curve_authorized_keys", "#");
    assert!(start(&alone).contains("curve_server_key: without curve_authorized_keys it lets no client in"));
    std::fs::set_permissions(site.path("server.key_secret"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(start(&sections).contains("server.key_secret: others may read or change it (mode 0644): chmod 600"));
    std::fs::set_permissions(site.path("server.key_secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    site.write("keys/copy.key", &site.read("eye.key"));
    assert!(start(&sections).contains("a key is named 'eye' already"));
}
