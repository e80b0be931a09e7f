//! `hosts.toml`: every program reaches a circusd by its name, several at once, with keys.

use std::os::unix::fs::PermissionsExt as _;

use crate::keys::{Keyed, done};
use crate::rig::{Circusd, Output, Site, built, free_port, run};

/// A circusd with keys at tcp, and the table of `hosts.toml` that leads there with the key of `client`.
fn host(name: &str, client: &str) -> (Circusd, Keyed, String) {
    let site = Site::new();
    let keyed = Keyed::prepare(&site, &[("root", "admin", "*"), ("eye", "read", "*")]);
    let sections = keyed.sections("") + &format!("\n[watcher:{name}-worker]\ncmd = {{knobs}}");
    let table = format!(
        "[hosts.{name}]\nendpoint = 'tcp://127.0.0.1:{}'\npubsub_endpoint = 'tcp://127.0.0.1:{}'\n\
         stats_endpoint = 'tcp://127.0.0.1:{}'\nserver_key = '{}'\nkey = '{}'\n",
        keyed.control,
        keyed.events,
        keyed.stats,
        site.path("server.key").display(),
        site.path(&format!("{client}.key_secret")).display()
    );
    (site.start(&sections), keyed, table)
}

/// A program that finds this `hosts.toml`.
fn with_hosts(site: &Site, text: &str, program: &str, args: &[&str]) -> Output {
    let folder = site.path("config/circus");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("hosts.toml"), text).unwrap();
    std::fs::set_permissions(folder.join("hosts.toml"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = site.command(built(program));
    command.env_remove("CIRCUSCTL_ENDPOINT").env("XDG_CONFIG_HOME", site.path("config"));
    run(command.args(args))
}

#[test]
fn one_host_by_its_name_with_every_program() {
    let (circusd, _, table) = host("web1", "eye");
    let at = |program: &str, args: &[&str]| with_hosts(&circusd, &table, program, args);
    let status = at("circusctl", &["--host", "web1", "status", "web*"]);
    assert_eq!((status.status, status.stdout.as_str()), (Some(0), "web1-worker: active\n"), "{status:?}");
    let refused = at("circusctl", &["--host", "web1", "stop"]);
    assert!(refused.stderr.contains("'eye' has the role read"), "{refused:?}");
    let shell = at("circusctl", &["--host", "web1", "wait", "web1-worker"]);
    assert_eq!(shell.status, Some(0), "{shell:?}");
    let top = at("circus-top", &["--host", "web1", "--once"]);
    assert!(top.stdout.contains("web1-worker"), "{top:?}");
    let unknown = at("circus-top", &["--host", "web2", "--once"]);
    assert!(unknown.stderr.contains("no host is called 'web2'; did you mean 'web1'?"), "{unknown:?}");
    let plugin = at("circus-plugin", &["--host", "web2", "logger"]);
    assert!(plugin.stderr.contains("no host is called 'web2'"), "{plugin:?}");
    let stats = at("circusd-stats", &["--host", "web2"]);
    assert!(stats.stderr.contains("no host is called 'web2'"), "{stats:?}");
    let link = circusd.path("circus_restarts");
    std::os::unix::fs::symlink(built("circus-munin"), &link).unwrap();
    let munin = |host: &str| {
        let mut command = circusd.command(&link);
        run(command.env("XDG_CONFIG_HOME", circusd.path("config")).env("host", host))
    };
    assert!(munin("web1").stdout.contains("web1_worker.value 0"), "{:?}", munin("web1"));
    assert!(munin("web2").stderr.contains("no host is called 'web2'"), "{:?}", munin("web2"));
}

/// Every program takes keys by its options and by variables.
#[test]
fn every_program_takes_keys_by_options_and_by_variables() {
    let (circusd, keyed, _) = host("web1", "eye");
    let endpoint = format!("tcp://127.0.0.1:{}", keyed.control);
    let events = format!("tcp://127.0.0.1:{}", keyed.events);
    let (secret, server) = (circusd.path("eye.key_secret"), circusd.path("server.key"));
    let command = |program: &std::path::Path, by_variables: bool| {
        let mut command = circusd.command(program);
        command.env_remove("CIRCUSCTL_ENDPOINT");
        if by_variables {
            command.env("CIRCUS_CURVE_KEY", &secret).env("CIRCUS_CURVE_SERVER_KEY", &server);
        } else {
            command.arg("--curve-key").arg(&secret).arg("--curve-server-key").arg(&server);
        }
        command
    };
    let link = circusd.path("circus_restarts");
    std::os::unix::fs::symlink(built("circus-munin"), &link).unwrap();
    let mut munin = command(&link, true);
    let munin = run(munin.env("endpoint", &endpoint));
    assert!(munin.stdout.contains("web1_worker.value 0"), "{munin:?}");
    for by_variables in [true, false] {
        let ctl = run(command(&built("circusctl"), by_variables).args(["--endpoint", &endpoint, "status", "web*"]));
        assert_eq!(ctl.stdout, "web1-worker: active\n", "{ctl:?}");
        let mut top = command(&built("circus-top"), by_variables);
        let top = run(top.args([
            "--control",
            &endpoint,
            "--endpoint",
            &format!("tcp://127.0.0.1:{}", keyed.stats),
            "--once",
        ]));
        assert!(top.stdout.contains("web1-worker"), "{top:?}");
        // Two that go on: what they say shows that they were let in.
        let log = circusd.path("program.log");
        let watch = |mut command: std::process::Command, ready: &dyn Fn() -> bool| {
            let mut child = crate::rig::spawn(&mut command);
            crate::rig::wait_until("it has been let in", || {
                assert_eq!(child.try_wait().unwrap(), None, "{}", circusd.read("program.log"));
                ready()
            });
            child.kill().unwrap();
            child.wait().unwrap();
            let _none = std::fs::remove_file(&log);
        };
        let restarted = || {
            done(&keyed.ctl(&circusd, "root", &["restart", "web1-worker", "--waiting"]));
            circusd.read("program.log").contains("spawn")
        };
        let mut plugin = command(&built("circus-plugin"), by_variables);
        plugin.args(["--endpoint", &endpoint, "--pubsub", &events, "--log-output", log.to_str().unwrap(), "logger"]);
        watch(plugin, &restarted);
        let figures = format!("ipc://{}", circusd.path(if by_variables { "figures1" } else { "figures2" }).display());
        let mut stats = command(&built("circusd-stats"), by_variables);
        stats.args(["--endpoint", &endpoint, "--pubsub", &events, "--statspoint", &figures, "--log-output"]).arg(&log);
        let context = circus::net::Context::new().unwrap();
        let heard = || {
            let topics = ["stat.web1-worker"];
            let subscriber = circus::net::Subscriber::connect(&context, &figures, None, &topics);
            subscriber.is_ok_and(|mut subscriber| subscriber.recv(std::time::Duration::from_secs(3)).is_some())
        };
        watch(stats, &heard);
        let _none = std::fs::remove_file(figures.trim_start_matches("ipc://"));
    }
}

#[test]
fn several_hosts_are_asked_side_by_side() {
    let (one, _, table) = host("web1", "root");
    let (_two, _, other) = host("web2", "eye");
    // One that accepts connections and says nothing, and one that is not there.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("[hosts.silent]\nendpoint = 'tcp://{}'\n", silent.local_addr().unwrap());
    let silent = format!("{silent}timeout = 0.5\n[hosts.gone]\nendpoint = 'tcp://127.0.0.1:{}'\n", free_port());
    let text = table + &other + &silent + "[groups]\nall = ['web*', 'silent', 'gone']\n";
    let at = |args: &[&str]| with_hosts(&one, &text, "circusctl", args);
    let both = at(&["--host", "web2,web1", "status", "web*"]);
    assert_eq!(both.stdout, "web2: web2-worker: active\nweb1: web1-worker: active\n", "{both:?}");
    assert_eq!(both.status, Some(0));
    let refused = at(&["--host", "web*", "set", "*-worker", "numprocesses", "2"]);
    assert_eq!((refused.stdout.as_str(), refused.status), ("web1: web1-worker: ok\n", Some(3)), "{refused:?}");
    assert!(refused.stderr.starts_with("web2: error: "), "{refused:?}");
    let all = at(&["--host", "all", "--json", "status"]);
    assert_eq!(all.status, Some(1), "{all:?}");
    let value: serde_json::Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(value["web1"]["statuses"]["web1-worker"], "active");
    assert_eq!(value["web2"]["statuses"]["web2-worker"], "active");
    assert_eq!((&value["silent"]["status"], &value["gone"]["status"]), (&"error".into(), &"error".into()));
    assert!(value["gone"]["reason"].as_str().is_some_and(|reason| reason.contains("connection refused")), "{value}");
}

#[test]
fn circus_top_shows_several_hosts() {
    let (one, _, table) = host("web1", "root");
    let (_two, _, other) = host("web2", "eye");
    let gone = format!("[hosts.gone]\nendpoint = 'tcp://127.0.0.1:{}'\n", free_port());
    let text = table + &other + &gone + "[groups]\nall = ['web*', 'gone']\n";
    let at = |args: &[&str]| with_hosts(&one, &text, "circus-top", args);
    let both = at(&["--host", "web2,web1", "--once"]);
    assert_eq!(both.status, Some(0), "{both:?}");
    let words: Vec<&str> = both.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let at_word = |wanted: &str| words.iter().position(|word| *word == wanted);
    let order = ["web2", "web2-worker", "web1", "web1-worker"].map(at_word);
    assert!(order.is_sorted() && order.iter().all(Option::is_some), "{order:?}: {}", both.stdout);
    let all = at(&["--host", "all", "--json"]);
    assert_eq!(all.status, Some(1), "one of them is not there: {all:?}");
    let value: serde_json::Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(value["web1"]["watchers"][0]["name"], "web1-worker");
    assert_eq!(value["web2"]["watchers"][0]["name"], "web2-worker");
    assert_eq!(value["gone"]["status"], "error");
    assert!(all.stderr.contains("circus-top: gone: error: cannot connect to tcp://127.0.0.1:"), "{all:?}");
}

#[test]
fn secret_key_that_others_can_read_is_refused() {
    let (circusd, _, table) = host("web1", "root");
    let secret = circusd.path("root.key_secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = with_hosts(&circusd, &table, "circusctl", &["--host", "web1", "status"]);
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(output.stderr.contains("others may read or change it (mode 0644): chmod 600"), "{output:?}");
}
