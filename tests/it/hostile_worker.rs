//! A worker of another user that turns against circusd: what it tries fails, and circusd and its other workers go on.
#![expect(unsafe_code, reason = "ptrace(2) has no wrapper here")]

use serde_json::json;

use crate::rig::{Account, Circusd, Process, Site, wait_for};

/// The user that the hostile worker runs as: every Debian has it.
pub(crate) const USER: &str = "daemon";

/// circusd of root, a watcher of root's with a secret, one of another user's that waits for its READY, and one of the
/// hostile user's.
fn start(rest: &str) -> Circusd {
    let site = Site::new();
    site.open_to_all();
    site.start(&format!(
        "[watcher:roots]
        cmd = {{knobs}}
        [env:roots]
        TOKEN = token-of-root
        [watcher:waits]
        cmd = {{knobs}}
        ready = notify
        ready_timeout = 1000
        [watcher:hostile]
        cmd = sleep 1000
        uid = {USER}
        working_dir = /
        {rest}"
    ))
}

fn worker(circusd: &Circusd, watcher: &str) -> Process {
    wait_for("its worker runs", || circusd.workers(watcher).first().copied().filter(|worker| worker.has_its_program()))
}

/// What a shell of this user's says, and its status.
pub(crate) fn tries(circusd: &Circusd, script: &str) -> (String, Option<i32>) {
    let account = Account::named(USER);
    let mut command = circusd.command("/usr/bin/setpriv");
    command.args(["--reuid", &account.uid.to_string(), "--regid", &account.gid.to_string(), "--clear-groups"]);
    command.args(["/bin/sh", "-c", script]).current_dir("/");
    let output = crate::rig::run(&mut command);
    (output.stdout + &output.stderr, output.status)
}

pub(crate) fn ptrace_is_refused(target: Process) {
    let refused = Account::named(USER).act(|| {
        // SAFETY: plain numbers; the call is refused, or else this test ends.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, target.0, 0, 0) };
        (seized, nix::errno::Errno::last())
    });
    assert_eq!(refused, (-1, nix::errno::Errno::EPERM), "{}", target.0);
}

/// Sends a message to a notification socket.
pub(crate) fn notify(address: &str, text: &str) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let socket = UnixDatagram::unbound()?;
    let target = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    socket.send_to_addr(text.as_bytes(), &target).map(drop)
}

#[test]
#[ignore = "needs root"]
fn worker_of_another_user_reaches_nothing_of_circusd() {
    let circusd = start("");
    let (daemon, roots) = (circusd.process(), worker(&circusd, "roots"));
    // The control socket, and that of events.
    for name in ["control", "events"] {
        let path = circusd.path(name);
        let refused = Account::named(USER).act(|| std::os::unix::net::UnixStream::connect(&path).unwrap_err());
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{name}");
    }
    // Signals to circusd and to another's worker.
    for target in [daemon, roots] {
        let (said, status) = tries(&circusd, &format!("kill -TERM {0} || kill -KILL {0}", target.0));
        assert!(status != Some(0) && said.contains("not permitted"), "{said}");
        assert!(target.lives());
    }
    // What the kernel tells of circusd and of the worker with the secret; and ptrace, whose rights /proc/PID/mem has too.
    for target in [daemon, roots] {
        for file in ["environ", "mem", "maps", "fd/0", "root", "cwd"] {
            let (said, status) = tries(&circusd, &format!("head -c 10 /proc/{}/{file} >/dev/null", target.0));
            assert!(status != Some(0) && said.contains("Permission denied"), "{file}: {said}");
        }
        ptrace_is_refused(target);
    }
    // Its own descriptors: the standard streams, and nothing else.
    let own = worker(&circusd, "hostile");
    assert_eq!(own.fd_numbers(), [0, 1, 2], "{:?}", own.fds());
    for (fd, path) in own.fds() {
        let path = path.to_string_lossy().into_owned();
        assert!(path.starts_with("pipe:") || path == "/dev/null", "{fd}: {path}");
    }
    let environment = format!("{:?}", own.environment());
    assert!(!environment.contains("token-of-root") && !environment.contains("NOTIFY_SOCKET"), "{environment}");
    assert_eq!(circusd.status("roots"), "active");
}

#[test]
#[ignore = "needs root"]
fn worker_of_another_user_speaks_for_no_other_watcher() {
    let circusd = start("");
    let waits = worker(&circusd, "waits");
    let address = waits.environment()["NOTIFY_SOCKET"].clone();
    // Where the socket is, is no secret; whose word counts is what the kernel says of its sender.
    let told = Account::named(USER).act(|| notify(&address, &format!("MAINPID={}\nREADY=1\n", waits.0)));
    println!("the message was {told:?}");
    circusd.tell("list", json!({}));
    crate::rig::observe_for(std::time::Duration::from_millis(300));
    assert_eq!(circusd.details("waits")["health"], "starting", "it is not ready by another's word");
    // Nor does a message end or change it.
    assert_eq!(circusd.workers("waits"), [waits]);
}

#[test]
#[ignore = "needs root"]
fn links_that_a_worker_plants_lead_circusd_nowhere() {
    let site = Site::new();
    site.open_to_all();
    let account = Account::named(USER);
    let folder = site.path("theirs");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(account.uid), Some(account.gid)).unwrap();
    let target = site.write("precious", "precious\n");
    let linked = folder.clone();
    account.act(|| {
        std::os::unix::fs::symlink(&target, linked.join("log")).unwrap();
        std::os::unix::fs::symlink(target.parent().unwrap(), linked.join("folder")).unwrap();
        std::os::unix::fs::symlink(&target, linked.join("rotated.1")).unwrap();
    });
    let circusd = site.start(&format!(
        "[watcher:link]
        cmd = {{knobs}} say forged
        uid = {USER}
        working_dir = /
        stdout_stream.class = FileStream
        stdout_stream.filename = {{dir}}/theirs/log
        [watcher:folder]
        cmd = {{knobs}} say forged
        uid = {USER}
        working_dir = /
        stdout_stream.class = FileStream
        stdout_stream.filename = {{dir}}/theirs/folder/precious
        [watcher:sound]
        cmd = {{knobs}} say heard
        stdout_stream.class = FileStream
        stdout_stream.filename = {{dir}}/sound.log"
    ));
    circusd.wait_for_text("sound.log", "heard");
    crate::rig::observe_for(std::time::Duration::from_millis(300));
    assert_eq!(circusd.read("precious"), "precious\n");
    assert!(circusd.log().contains("theirs"), "circusd says so: {}", circusd.log());
}

/// A user with a role, so that it is let in at all: what circusd shows it has no environment, be it by `read` or `operate`.
#[test]
#[ignore = "needs root"]
fn worker_reads_no_other_environment_through_circusd() {
    for role in ["read", "operate"] {
        let circusd = start(&format!("[circus]\nipc_roles = {USER}:{role}"));
        worker(&circusd, "roots");
        worker(&circusd, "hostile");
        let ask = |command: &str, properties| {
            Account::named(USER).asks(&circusd.endpoint(), command, properties).unwrap().to_string()
        };
        let name = json!({"name": "roots"});
        let told: String =
            ["options", "stats", "status", "list", "why"].map(|command| ask(command, name.clone())).concat();
        let told =
            told + &ask("get", json!({"name": "roots", "keys": ["env", "cmd", "args"]})) + &ask("dstats", json!({}));
        assert!(told.contains("TOKEN") && !told.contains("token-of-root"), "{told}");
        // What would hand it over is not for this role: another command, a hook, a copy of the environment.
        for options in [json!({"cmd": "env"}), json!({"hooks.before_start": "exec:env"}), json!({"copy_env": true})] {
            let reply = ask("set", json!({"name": "hostile", "options": options}));
            assert!(reply.contains("this takes the role admin"), "{reply}");
        }
    }
}
