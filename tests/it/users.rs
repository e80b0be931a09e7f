//! `ipc_roles`: local users at endpoints of ipc, told apart by what the kernel says.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use circus::commands::{COMMANDS, Role};
use circus::net::{Bar, CallError, ClientKeys, Context, Dealer, SecretKey, Subscriber};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Account, Circusd, DEADLINE, Site, free_port, wait_until};

const WATCHERS: &str = "
    [watcher:web1]
    cmd = {knobs} say secret-argument
    [env:web1]
    TOKEN = secret-value
    [watcher:db]
    cmd = {knobs}";

fn start(roles: &str, rest: &str) -> Circusd {
    let site = Site::new();
    site.open_to_all();
    site.start(&format!("[circus]\nstats_endpoint = ipc://{{dir}}/stats\nipc_roles = {roles}\n{rest}{WATCHERS}"))
}

fn end(mut circusd: Circusd) {
    circusd.send(Signal::SIGTERM);
    circusd.wait_for_end();
}

#[track_caller]
fn granted(reply: Result<Value, CallError>) -> Value {
    let reply = reply.unwrap();
    assert_ne!(reply["status"], "error", "{reply}");
    reply
}

#[track_caller]
fn refused(reply: Result<Value, CallError>, words: &str) {
    let reply = reply.unwrap();
    assert!(reply["status"] == "error" && reply["reason"].as_str().unwrap().contains(words), "{reply}");
}

#[track_caller]
fn barred(reply: Result<Value, CallError>) {
    assert!(matches!(reply, Err(CallError::Barred { bar: Bar::UnknownUser, .. })), "{reply:?}");
}

#[test]
fn circusds_own_user_needs_no_entry() {
    let circusd = start("4000000000:read", "");
    circusd.tell("set", json!({"name": "db", "options": {"max_retry": 3}}));
    let told = circusd.tell("options", json!({"name": "web1"})).to_string();
    assert!(told.contains("secret-value"), "{told}");
    end(circusd);
}

#[test]
fn unknown_users_and_groups_are_named_with_their_line() {
    let site = Site::new();
    let check = |circus: &str| {
        let ini = site.ini("circus.ini", &format!("[circus]\n{circus}\n{WATCHERS}"));
        let output = site.run_circusd(&["--check", ini.to_str().unwrap()]);
        let lines = output.stdout.lines().filter(|line| line.contains("circus.ini:"));
        let shown = |line: &str| line.rsplit_once("circus.ini:").unwrap().1.to_owned();
        (output.status, lines.map(shown).collect::<Vec<_>>().join("\n"))
    };
    let (status, said) = check("ipc_roles = no-such-user:read, @no-such-group:admin, 4000000000:read");
    assert_eq!(status, Some(1));
    assert!(said.contains("2: error: [circus] ipc_roles: there is no user 'no-such-user' on this machine"), "{said}");
    assert!(said.contains("2: error: [circus] ipc_roles: there is no group 'no-such-group' on this machine"), "{said}");
    let (status, said) = check("ipc_roles = daemon:boss");
    assert!(status == Some(1) && said.contains("2: error: [circus] ipc_roles: 'boss' is no role"), "{said}");
    let (status, said) = check("ipc_roles = daemon:read\nendpoint_owner = root");
    assert!(status == Some(1) && said.contains("2: error: [circus] ipc_roles: endpoint_owner lets one user"), "{said}");
    let (status, said) =
        check("endpoint = ipc://{dir}/control\npubsub_endpoint = tcp://127.0.0.1:5556\nipc_roles = daemon:read");
    let reads_all =
        "3: error: [circus] ipc_roles: every user of this machine reads all events and output at tcp://127.0.0.1";
    assert!(status == Some(1) && said.contains(reads_all), "{said}");
    let (_, said) = check("ipc_roles = daemon:read\nendpoint_mode = 0600");
    assert!(said.contains("3: warning: [circus] endpoint_mode: with 0600 only root"), "{said}");
    let (_, said) = check("ipc_roles = daemon:read\nendpoint = tcp://127.0.0.1:5555");
    assert!(said.contains("2: warning: [circus] ipc_roles: it has no effect at tcp://"), "{said}");
    // circusd does not start with a user that it cannot find.
    let ini = site.ini("circus.ini", "[circus]\nipc_roles = no-such-user:read");
    let output = site.run_circusd(&[ini.to_str().unwrap()]);
    assert!(
        output.status == Some(1) && output.stderr.contains("ipc_roles: there is no user 'no-such-user'"),
        "{output:?}"
    );
}

#[test]
#[ignore = "needs root"]
fn users_and_groups_have_their_roles() {
    let (daemon, bin, nobody) = (Account::named("daemon"), Account::named("bin"), Account::named("nobody"));
    let circusd = start("daemon:operate, @bin:read:web*", "");
    let endpoint = circusd.endpoint();
    assert_eq!(std::fs::metadata(circusd.path("control")).unwrap().mode() & 0o777, 0o666);
    assert_eq!(std::fs::metadata(circusd.path("events")).unwrap().mode() & 0o777, 0o666);
    let ask = |user: Account, command: &str, properties: Value| user.asks(&endpoint, command, properties);
    granted(ask(daemon, "restart", json!({"name": "db"})));
    refused(ask(daemon, "set", json!({"name": "db", "options": {"numprocesses": 2}})), "'daemon' has the role operate");
    let told = granted(ask(daemon, "options", json!({"name": "web1"}))).to_string();
    assert!(told.contains("TOKEN") && !told.contains("secret"), "{told}");
    granted(ask(bin, "status", json!({"name": "web1"})));
    refused(ask(bin, "status", json!({"name": "db"})), "'@bin' may not touch watcher 'db'");
    refused(ask(bin, "restart", json!({"name": "web1"})), "'@bin' has the role read");
    // A user that no entry names learns nothing, and circusd logs that it came.
    barred(ask(nobody, "list", json!({})));
    circusd.wait_for_log(&format!("refused a client whose user ipc_roles does not name: uid {}, pid ", nobody.uid));
    // circusctl says what is missing.
    let ctl = circusd.path("circusctl");
    std::fs::copy(crate::rig::built("circusctl"), &ctl).unwrap();
    let output = {
        use std::os::unix::process::CommandExt as _;
        let mut command = circusd.command(&ctl);
        crate::rig::run(command.arg("list").uid(nobody.uid).gid(nobody.gid))
    };
    assert!(
        output.status != Some(0) && output.stderr.contains("circusd does not accept this user: ipc_roles"),
        "{output:?}"
    );
    circusd.wait_for_log("restart \"db\" requested by daemon at uid 1, pid ");
    end(circusd);
}

/// Whether a subscriber of this user hears anything while something happens.
fn hears(user: Account, endpoint: &str, topics: &[&str], happen: impl Fn()) -> bool {
    let subscribe = || {
        let context = Context::new().unwrap();
        let subscriber = Subscriber::connect(&context, endpoint, None, topics).unwrap();
        (subscriber, context)
    };
    let (mut subscriber, _context) = user.act(subscribe);
    // The subscription stands by the second time, if ever.
    let mut hears = || {
        happen();
        subscriber.recv(Duration::from_millis(300)).is_some()
    };
    (0..4).any(|_| hears())
}

#[test]
#[ignore = "needs root"]
fn only_users_with_a_role_hear_events_and_figures() {
    let (bin, nobody) = (Account::named("bin"), Account::named("nobody"));
    let circusd = start("bin:read:web*", "stats_always = yes\nstats_interval = 0.1\n");
    let root = Account { uid: 0, gid: 0 };
    let (events, stats) = (circusd.pubsub_endpoint(), format!("ipc://{}", circusd.path("stats").display()));
    let restart = |name: &'static str| {
        let circusd = &circusd;
        move || drop(circusd.tell("restart", json!({"name": name, "waiting": true})))
    };
    let (web, db) = (restart("web1"), restart("db"));
    assert!(hears(bin, &events, &["watcher.web1."], web));
    assert!(!hears(bin, &events, &["watcher.db.", "watcher.", ""], db));
    assert!(!hears(nobody, &events, &["watcher.web1."], web));
    wait_until("figures are published", || hears(root, &stats, &["stat."], || ()));
    assert!(hears(bin, &stats, &["stat.web1."], || ()));
    assert!(!hears(bin, &stats, &["stat.db.", "stat."], || ()));
    assert!(!hears(nobody, &stats, &["stat.web1."], || ()));
    end(circusd);
}

#[test]
#[ignore = "needs root"]
fn roles_change_at_once_and_survive_an_upgrade() {
    let (daemon, bin) = (Account::named("daemon"), Account::named("bin"));
    let circusd = start("daemon:operate", "");
    let endpoint = circusd.endpoint();
    // A client that stays connected.
    let (ask, questions) = std::sync::mpsc::channel::<&str>();
    let (answer, answers) = std::sync::mpsc::channel::<Value>();
    let connected = endpoint.clone();
    let client = std::thread::spawn(move || {
        daemon.act(|| {
            let mut dealer = Dealer::connect(&Context::new().unwrap(), &connected, None).unwrap();
            for command in questions {
                let Value::Object(request) = json!({"command": command, "properties": {}}) else { unreachable!() };
                answer.send(dealer.call(request, DEADLINE).unwrap().into()).unwrap();
            }
        });
    });
    let connected = |command: &'static str| {
        ask.send(command).unwrap();
        answers.recv().unwrap()
    };
    assert_eq!(connected("numwatchers")["status"], "ok");
    circusd.ini("circus.ini", &circusd.read("circus.ini").replace("daemon:operate", "bin:read"));
    assert_eq!(connected("numwatchers")["status"], "ok", "not before circusd is told");
    circusd.tell("reloadconfig", json!({}));
    refused(Ok(connected("numwatchers")), "not allowed: ipc_roles names neither this user nor a group of it any more");
    barred(daemon.asks(&endpoint, "list", json!({})));
    granted(bin.asks(&endpoint, "list", json!({})));
    // One that cannot be used changes nothing.
    circusd.ini("circus.ini", &circusd.read("circus.ini").replace("bin:read", "no-such-user:read"));
    let reply = circusd.ask("reloadconfig", json!({}));
    assert!(reply.to_string().contains("ipc_roles: there is no user 'no-such-user'"), "{reply}");
    granted(bin.asks(&endpoint, "list", json!({})));
    // Nor does the removal of all, before circusd is started again.
    let ini = circusd.read("circus.ini");
    circusd.ini("circus.ini", &ini.replace("ipc_roles = no-such-user:read", ""));
    let reply = circusd.tell("reloadconfig", json!({}));
    assert!(reply.to_string().contains("ipc_roles"), "{reply}");
    barred(daemon.asks(&endpoint, "list", json!({})));
    circusd.tell("restart", json!({}));
    circusd
        .wait_for_log("was open to other users, whose connections may wait there: to remove ipc_roles, quit circusd");
    barred(daemon.asks(&endpoint, "list", json!({})));
    granted(bin.asks(&endpoint, "list", json!({})));
    circusd.tell("upgrade", json!({}));
    circusd.wait_for_log("upgraded");
    wait_until("it answers again", || bin.asks(&endpoint, "list", json!({})).is_ok());
    barred(daemon.asks(&endpoint, "list", json!({})));
    refused(bin.asks(&endpoint, "stop", json!({})), "'bin' has the role read");
    drop(ask);
    client.join().unwrap();
    end(circusd);
}

#[test]
#[ignore = "needs root"]
fn roles_begin_with_a_restart() {
    let bin = Account::named("bin");
    let site = Site::new();
    site.open_to_all();
    let circusd = site.start(WATCHERS);
    let endpoint = circusd.endpoint();
    assert!(matches!(bin.asks(&endpoint, "list", json!({})), Err(CallError::Unreachable { .. })), "the mode is 0600");
    let ini = circusd.read("circus.ini");
    circusd.ini("circus.ini", &format!("[circus]\nipc_roles = bin:read\n{ini}"));
    let reply = circusd.tell("reloadconfig", json!({}));
    assert!(reply.to_string().contains("ipc_roles"), "{reply}");
    assert!(bin.asks(&endpoint, "list", json!({})).is_err());
    circusd.tell("restart", json!({}));
    wait_until("it is let in", || bin.asks(&endpoint, "list", json!({})).is_ok());
    barred(Account::named("nobody").asks(&endpoint, "list", json!({})));
    refused(bin.asks(&endpoint, "stop", json!({})), "'bin' has the role read");
    end(circusd);
}

#[test]
#[ignore = "needs root"]
fn abstract_endpoint_has_roles() {
    let bin = Account::named("bin");
    let endpoint = format!("ipc://@circus-it-{}", std::process::id());
    let site = Site::new();
    let mut circusd = site.start(&format!("[circus]\nendpoint = {endpoint}\nipc_roles = bin:read\n{WATCHERS}"));
    granted(bin.asks(&endpoint, "list", json!({})));
    refused(bin.asks(&endpoint, "stop", json!({})), "'bin' has the role read");
    barred(Account::named("nobody").asks(&endpoint, "list", json!({})));
    circusd.send(Signal::SIGTERM);
    circusd.wait_for_end();
}

/// A key of a file that `circusctl keygen` has written.
fn key(site: &Site, file: &str, which: &str) -> String {
    let text = site.read(file);
    let line = text.lines().find_map(|line| line.trim().strip_prefix(which)?.trim().strip_prefix("= "));
    line.unwrap_or_else(|| panic!("{file} has no {which}: {text}")).trim_matches('"').to_owned()
}

/// What became of each command's own example, as the manual has it; but those that would end this circusd are not sent
/// by a client that may.
fn outcomes(mut dealer: Dealer, role: Option<Role>) -> Vec<String> {
    dealer.fail_when_refused(true);
    let mut wrong = Vec::new();
    for spec in COMMANDS {
        let expected = role.is_some_and(|role| role >= spec.role);
        if expected && matches!(spec.name, "quit" | "restart" | "upgrade") {
            continue;
        }
        let Value::Object(request) = serde_json::from_str(spec.doc.message).unwrap() else { unreachable!() };
        match (role, dealer.call(request, if role.is_some() { DEADLINE } else { Duration::from_secs(2) })) {
            (None, Err(_)) => {}
            (Some(_), Ok(reply)) => {
                let reason = reply.get("reason").and_then(Value::as_str).unwrap_or_default();
                if expected == reason.contains("and this takes the role") {
                    wrong.push(format!("{}: {reply:?}", spec.name));
                }
            }
            (_, other) => wrong.push(format!("{}: {other:?}", spec.name)),
        }
        if role.is_none() {
            // One that is not let in gets no further with the next command.
            break;
        }
    }
    wrong
}

#[test]
#[ignore = "needs root"]
fn every_command_takes_its_role_over_every_transport() {
    let site = Site::new();
    site.open_to_all();
    std::fs::create_dir(site.path("keys")).unwrap();
    let keygen = |args: &[&str]| assert_eq!(site.circusctl(&[&["keygen"], args].concat()).status, Some(0));
    keygen(&["server"]);
    let roles = [("k-read", Role::Read), ("k-operate", Role::Operate), ("k-admin", Role::Admin)];
    for (name, role) in roles {
        keygen(&["--role", role.name(), name]);
        std::fs::copy(site.path(&format!("{name}.key")), site.path(&format!("keys/{name}.key"))).unwrap();
    }
    keygen(&["--role", "admin", "mallory"]);
    // Control over ipc first, then over tcp: one circusd has one control endpoint.
    let users = [("daemon", Role::Read), ("bin", Role::Operate), ("games", Role::Admin)];
    let ini = |endpoint: &str| {
        format!(
            "[circus]\nendpoint = {endpoint}\nipc_roles = daemon:read, bin:operate, games:admin\n\
             curve_server_key = {{dir}}/server.key_secret\ncurve_authorized_keys = {{dir}}/keys\n{WATCHERS}"
        )
    };
    let circusd = site.start(&ini("ipc://{dir}/control"));
    let ipc = circusd.endpoint();
    let of_user = |user: Account, role: Option<Role>| {
        user.act(|| outcomes(Dealer::connect(&Context::new().unwrap(), &ipc, None).unwrap(), role))
    };
    assert_eq!(of_user(Account { uid: 0, gid: 0 }, Some(Role::Admin)), [""; 0]);
    for (name, role) in users {
        assert_eq!(of_user(Account::named(name), Some(role)), [""; 0], "{name}");
    }
    assert_eq!(of_user(Account::named("nobody"), None), [""; 0]);
    let port = free_port();
    let tcp = format!("tcp://127.0.0.1:{port}");
    circusd.ini("circus.ini", &ini(&tcp));
    circusd.tell("restart", json!({}));
    let client = |name: Option<&str>| {
        let keys = name.map(|name| ClientKeys {
            server: key(&circusd, "server.key", "public-key"),
            public: key(&circusd, &format!("{name}.key_secret"), "public-key"),
            secret: SecretKey::parse(&key(&circusd, &format!("{name}.key_secret"), "secret-key")).unwrap(),
        });
        Dealer::connect(&Context::new().unwrap(), &tcp, keys.as_ref()).unwrap()
    };
    wait_until("it listens there", || client(Some("k-read")).reach(DEADLINE).is_ok());
    for (name, role) in roles {
        assert_eq!(outcomes(client(Some(name)), Some(role)), [""; 0], "{name}");
    }
    for stranger in [None, Some("mallory")] {
        assert_eq!(outcomes(client(stranger), None), [""; 0], "{stranger:?}");
    }
    end(circusd);
}

/// Files of root's circusd are where no other user can exchange them.
#[test]
#[ignore = "needs root"]
fn unsafe_places_of_roots_files_are_refused() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let site = Site::new();
    std::fs::create_dir(site.path("open")).unwrap();
    std::fs::set_permissions(site.path("open"), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::create_dir(site.path("foreign")).unwrap();
    chown(site.path("foreign"), Some(Account::named("daemon").uid), None).unwrap();
    for option in ["pidfile", "state_file", "audit_log", "logoutput", "curve_server_key"] {
        for (directory, words) in
            [("open", "every user may write to the directory "), ("foreign", "belongs to uid 1, ")]
        {
            let more = if option == "curve_server_key" { "curve_authorized_keys = {dir}/k\n" } else { "" };
            let circus = format!("[circus]\n{option} = {{dir}}/{directory}/file\n{more}{WATCHERS}");
            let ini = site.ini("circus.ini", &circus);
            let output = site.run_circusd(&[ini.to_str().unwrap()]);
            let place = format!("{option} = {}: ", site.path(&format!("{directory}/file")).display());
            assert!(output.status == Some(1) && output.stderr.contains(&place), "{output:?}");
            assert!(output.stderr.contains(words) && output.stderr.contains("use another path"), "{output:?}");
            assert!(!site.path(&format!("{directory}/file")).exists(), "nothing was made there");
            let output = site.run_circusd(&["--check", ini.to_str().unwrap()]);
            let told = output
                .stdout
                .lines()
                .any(|line| line.contains(&format!("[circus] {option}: ")) && line.contains(words));
            assert!(output.status == Some(1) && told, "{output:?}");
        }
    }
}

/// In a user namespace, strangers have the number of a circusd that is not mapped itself.
#[test]
#[ignore = "needs root"]
fn number_of_every_unmapped_user_has_no_role() {
    let site = Site::new();
    site.open_to_all();
    for (circus, words) in [
        ("ipc_roles = daemon:read", "circusd's own user, uid 65534, stands in this user namespace for every user"),
        ("endpoint = ipc://@circus-it-unmapped", "this process's user stands in this user namespace for every user"),
    ] {
        let ini = site.ini("circus.ini", &format!("[circus]\npidfile =\n{circus}\n[watcher:w]\ncmd = sleep 1000"));
        let plain = site.circusd();
        let mut command = site.command("/usr/bin/unshare");
        command.arg("--user").arg(plain.get_program()).args(plain.get_args()).arg(&ini);
        let output = crate::rig::run(&mut command);
        assert!(output.status == Some(1) && output.stderr.contains(words), "{output:?}");
    }
}
