//! The owner of root's endpoint (`endpoint_owner`) that turns against circusd: it commands its own watchers, and gets by that
//! no right of another user.

use std::time::Duration;

use serde_json::{Value, json};

use crate::hostile_worker::{USER, ptrace_is_refused, tries};
use crate::rig::{Account, Circusd, Process, Site, observe_for, wait_for, wait_until};

/// What circusd itself has in its environment, and no worker.
const VARIABLE: &str = "CIRCUS_IT_SECRET";

/// circusd of root with a secret in its environment, and an endpoint of the user's; a watcher of root's with a secret, one
/// that waits for its READY, and one of the owner's.
fn start(rest: &str) -> Circusd {
    let site = Site::new();
    site.open_to_all();
    let ini = site.ini(
        "circus.ini",
        &format!(
            "[circus]
            endpoint_owner = {USER}
            [watcher:roots]
            cmd = {{knobs}}
            stdout_stream.class = MemoryStream
            [env:roots]
            TOKEN = token-of-root
            [watcher:waits]
            cmd = {{knobs}}
            ready = notify
            ready_timeout = 1000
            [watcher:own]
            cmd = sleep 1000
            uid = {USER}
            working_dir = /
            {rest}"
        ),
    );
    let mut command = site.circusd();
    command.arg(ini).env(VARIABLE, "secret-of-circusd");
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    circusd
}

fn worker(circusd: &Circusd, watcher: &str) -> Process {
    wait_for("its worker runs", || circusd.workers(watcher).first().copied().filter(|worker| worker.has_its_program()))
}

/// What the owner is answered.
fn ask(circusd: &Circusd, command: &str, properties: Value) -> Value {
    Account::named(USER).asks(&circusd.endpoint(), command, properties).unwrap()
}

#[track_caller]
fn refused(reply: &Value) {
    assert_eq!(reply["status"], "error", "{reply}");
}

#[test]
#[ignore = "needs root"]
fn owner_commands_no_other_watcher_through_the_control_socket() {
    let circusd = start("");
    let before = (worker(&circusd, "roots"), worker(&circusd, "waits"));
    assert_eq!(ask(&circusd, "restart", json!({"name": "own", "waiting": true}))["status"], "ok");
    for selection in
        [json!({"name": "roots"}), json!({"name": "*", "match": "glob"}), json!({"name": ".*", "match": "regex"})]
    {
        for command in ["stop", "restart", "reload", "start", "kill", "rm", "incr", "run", "enable"] {
            refused(&ask(&circusd, command, selection.clone()));
        }
    }
    for command in ["quit", "reloadconfig", "restart", "upgrade", "reopenlogs", "stop"] {
        refused(&ask(&circusd, command, json!({})));
    }
    // A name that differs in nothing but its case, and one that takes the place of another.
    refused(&ask(&circusd, "stop", json!({"name": "ROOTS"})));
    refused(&ask(&circusd, "add", json!({"name": "roots", "cmd": "sleep 1", "options": {"uid": USER}})));
    assert_eq!((worker(&circusd, "roots"), worker(&circusd, "waits")), before);
}

#[test]
#[ignore = "needs root"]
fn signals_of_the_owner_reach_no_process_of_others() {
    let circusd = start("");
    let (daemon, roots) = (circusd.process(), worker(&circusd, "roots"));
    for target in [daemon, roots] {
        let (said, status) = tries(&circusd, &format!("kill -TERM {0} || kill -KILL {0}", target.0));
        assert!(status != Some(0) && said.contains("not permitted"), "{said}");
        // By circusd's hand, in the name of the owner's watcher.
        for more in [
            json!({"pid": target.0}),
            json!({"childpid": target.0}),
            json!({"pid": target.0, "recursive": true}),
            json!({"pid": -1}),
        ] {
            let mut properties = json!({"name": "own", "signum": "kill"});
            properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            // As in Circus, a pid that is none of the watcher's is no error. It gets no signal.
            println!("{properties}: {}", ask(&circusd, "signal", properties.clone()));
        }
    }
    // A stop of its own reaches its own children, and no others: stop_children is not its to set.
    refused(&ask(&circusd, "set", json!({"name": "own", "options": {"stop_children": true}})));
    observe_for(Duration::from_millis(200));
    assert!(daemon.lives() && roots.lives());
    assert_eq!(worker(&circusd, "roots"), roots);
}

#[test]
#[ignore = "needs root"]
fn links_that_the_owner_plants_lead_circusd_nowhere() {
    let site = Site::new();
    site.open_to_all();
    let account = Account::named(USER);
    let folder = site.path("theirs");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(account.uid), Some(account.gid)).unwrap();
    let target = site.write("precious", "precious\n");
    account.act(|| std::os::unix::fs::symlink(&target, folder.join("log")).unwrap());
    let circusd = site.start(&format!(
        "[circus]
        endpoint_owner = {USER}
        [watcher:own]
        cmd = {{knobs}} say forged
        uid = {USER}
        working_dir = /
        stdout_stream.class = FileStream
        stdout_stream.filename = {{dir}}/theirs/log"
    ));
    let log = folder.join("other").display().to_string();
    for options in [
        json!({"stdout_stream.filename": log}),
        json!({"stdout_stream": {"class": "FileStream", "filename": log}}),
        json!({"stderr_stream": {"class": "WatchedFileStream", "filename": log}}),
        json!({"stdout_stream.max_bytes": 1}),
        json!({"stdin_socket": "x"}),
        json!({"env_file": "/etc/shadow"}),
        json!({"virtualenv": folder}),
        json!({"working_dir": folder}),
    ] {
        refused(&ask(&circusd, "set", json!({"name": "own", "options": options})));
    }
    for _ in 0..3 {
        ask(&circusd, "restart", json!({"name": "own", "waiting": true}));
    }
    observe_for(Duration::from_millis(200));
    assert_eq!(circusd.read("precious"), "precious\n");
    assert!(!folder.join("other").exists());
}

#[test]
#[ignore = "needs root"]
fn worker_of_the_owner_inherits_no_descriptor() {
    let circusd = start("");
    for options in [json!({"close_child_stdin": false}), json!({"use_sockets": true}), json!({"sockets": ["x"]})] {
        refused(&ask(&circusd, "set", json!({"name": "own", "options": options})));
    }
    assert_eq!(
        ask(&circusd, "set", json!({"name": "own", "options": {"cmd": "sleep 2000"}, "waiting": true}))["status"],
        "ok"
    );
    let own = wait_for("it runs", || {
        let own = worker(&circusd, "own");
        own.argv().contains(&"2000".to_owned()).then_some(own)
    });
    assert_eq!(own.fd_numbers(), [0, 1, 2], "{:?}", own.fds());
    for (fd, path) in own.fds() {
        let path = path.to_string_lossy().into_owned();
        assert!(path.starts_with("pipe:") || path == "/dev/null", "{fd}: {path}");
    }
}

#[test]
#[ignore = "needs root"]
fn owner_fakes_no_ready_of_another_watcher() {
    let circusd = start("");
    let waits = worker(&circusd, "waits");
    let address = waits.environment()["NOTIFY_SOCKET"].clone();
    let told = Account::named(USER)
        .act(|| crate::hostile_worker::notify(&address, &format!("MAINPID={}\nREADY=1\n", waits.0)));
    println!("the message was {told:?}");
    // Its own watcher has a socket of that kind, too, and says the same there.
    let python = "import os,socket,time;a=os.environ['NOTIFY_SOCKET'];a='\\0'+a[1:] if a[0]=='@' else a;\
                  s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);s.sendto(b'MAINPID=PID\\nREADY=1\\n',a);time.sleep(1000)";
    let python = python.replace("PID", &waits.0.to_string());
    let options = json!({"uid": USER, "ready": "notify"});
    ask(
        &circusd,
        "add",
        json!({"name": "liar", "cmd": "/usr/bin/python3", "args": ["-c", python], "options": options, "start": true}),
    );
    observe_for(Duration::from_millis(500));
    assert_eq!(circusd.details("waits")["health"], "starting", "it is not ready by another's word");
    assert_eq!(circusd.workers("waits"), [waits]);
}

#[test]
#[ignore = "needs root"]
fn owner_reads_no_environment_but_its_own() {
    let circusd = start("");
    worker(&circusd, "roots");
    for (command, more) in [
        ("get", json!({"keys": ["env"]})),
        ("options", json!({})),
        ("tail", json!({"stream": "stdout"})),
        ("why", json!({})),
    ] {
        let mut properties = more;
        properties["name"] = "roots".into();
        refused(&ask(&circusd, command, properties));
    }
    refused(&ask(&circusd, "set", json!({"name": "own", "options": {"copy_env": true}})));
    refused(&ask(&circusd, "set", json!({"name": "own", "options": {"copy_path": true}})));
    // Variables in what it may set are not those of circusd, nor those of another watcher.
    let script = "echo seen $0 $1 $2; env; exec sleep 1000";
    let args = json!([
        "-c",
        script,
        format!("$(circus.env.{VARIABLE})"),
        format!("((circus.env.{VARIABLE}))"),
        format!("$(circus.env.TOKEN)")
    ]);
    let options = json!({
        "uid": USER, "args": args, "stdout_stream": {"class": "MemoryStream"},
        "env": {"A": format!("$(circus.env.{VARIABLE})"), "B": format!("${VARIABLE}"), "C": format!("${{{VARIABLE}}}")},
    });
    ask(&circusd, "add", json!({"name": "reader", "cmd": "/bin/sh", "options": options, "start": true}));
    let cmd = format!("sh -c 'echo seen $(circus.env.{VARIABLE}) ${VARIABLE}; env; exec sleep 1000'");
    let options = json!({"uid": USER, "shell": true, "stdout_stream": {"class": "MemoryStream"}});
    ask(&circusd, "add", json!({"name": "shell", "cmd": cmd, "options": options, "start": true}));
    let mut seen = 0;
    for name in ["reader", "shell"] {
        let mut text = String::new();
        wait_until("it has printed, or was refused", || {
            text = ask(&circusd, "tail", json!({"name": name, "stream": "stdout"})).to_string();
            text += &ask(&circusd, "why", json!({"name": name})).to_string();
            text += &ask(&circusd, "options", json!({"name": name})).to_string();
            text.contains("PWD=") || text.contains("could not be started")
        });
        seen += usize::from(text.contains("PWD="));
        assert!(!text.contains("secret-of-circusd") && !text.contains("token-of-root"), "{name}: {text}");
    }
    println!("{seen} of 2 ran");
}

#[test]
#[ignore = "needs root"]
fn ptrace_and_proc_tell_the_owner_nothing() {
    let circusd = start("");
    for target in [circusd.process(), worker(&circusd, "roots")] {
        for file in ["environ", "mem", "maps", "fd/0", "root", "cwd"] {
            let (said, status) = tries(&circusd, &format!("head -c 10 /proc/{}/{file} >/dev/null", target.0));
            assert!(status != Some(0) && said.contains("Permission denied"), "{file}: {said}");
        }
        ptrace_is_refused(target);
    }
}
