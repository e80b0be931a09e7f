//! Plugins of every make, with the real circusd.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Site, built, free_port, observe_for, python, run, skipped, spawn, wait_until};

/// A file of the checkout.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Kills one worker of a watcher from outside, if it has any.
fn kill_one(circusd: &Circusd, watcher: &str) {
    if let Some(worker) = circusd.workers(watcher).first() {
        worker.send(Signal::SIGKILL);
    }
}

/// Kills workers, one after the other, until the log says this. It is not known when the plugin's subscription stands.
#[track_caller]
fn kill_until(circusd: &Circusd, watcher: &str, text: &str) {
    wait_until(text, || {
        let said = circusd.log().contains(text);
        if !said {
            kill_one(circusd, watcher);
            observe_for(Duration::from_millis(100));
        }
        said
    });
}

const FLAPPING: &str = "
    [circus]
    check_delay = 1
    [watcher:w]
    cmd = /bin/sleep 1000
    numprocesses = 2
    [plugin:log]
    use = logger
    [plugin:flapping]
    use = circus.plugins.flapping.Flapping
";

#[test]
fn command_knows_circusd_and_ends_with_it() {
    let site = Site::new();
    site.write(
        "plugin.sh",
        "trap 'echo \"<4>the end\"; kill -KILL $! 2>/dev/null; exit 0' TERM\nenv | grep ^CIRCUS\nsleep 1000 &\nwait\n",
    );
    let circusd = site.start(
        "[watcher:w]\ncmd = /bin/sleep 1000\n[plugin:mine]\ncmd = sh plugin.sh\nnote = it's \"a\" $x ;y\nmany = \
        a:::b\n",
    );
    circusd.wait_for_log("plugin:mine: CIRCUS_PLUGIN_NAME=plugin:mine");
    circusd.wait_for_log(&format!("plugin:mine: CIRCUS_ENDPOINT={}", circusd.endpoint()));
    circusd.wait_for_log(&format!("plugin:mine: CIRCUS_PUBSUB_ENDPOINT={}", circusd.pubsub_endpoint()));
    circusd.wait_for_log("plugin:mine: CIRCUS_CHECK_DELAY=5");
    circusd.wait_for_log("plugin:mine: CIRCUS_STATS_ENDPOINT=tcp://127.0.0.1:5557");
    circusd.wait_for_log(
        r#"plugin:mine: CIRCUS_PLUGIN_CONFIG={"many":"a:::b","name":"plugin:mine","note":"it's \"a\" $x"}"#,
    );
    assert_eq!(
        circusd.tell("get", json!({"name": "plugin:mine", "keys": ["priority", "singleton"]}))["options"],
        json!({"priority": 1, "singleton": true})
    );
    circusd.tell("stop", json!({"name": "plugin:mine", "waiting": true}));
    circusd.wait_for_log("[WARNING] plugin:mine: the end");
}

#[test]
fn plugins_end_when_circusd_is_killed() {
    let mut circusd = Site::new().start(
        "[plugin:a]\nuse = logger\n[plugin:b]\ncmd = /bin/sleep 1000\n[watcher:w]\ncmd = /bin/true\nautostart = no",
    );
    let plugins = [circusd.wait_for_workers("plugin:a", 1), circusd.wait_for_workers("plugin:b", 1)].concat();
    circusd.send(Signal::SIGKILL);
    circusd.wait_for_end();
    wait_until("the plugins have ended", || plugins.iter().all(|plugin| !plugin.lives()));
    // Processes that a killed circusd leaves behind are no matter of this test.
    for name in ["control", "events", "circusd.pid"] {
        drop(std::fs::remove_file(circusd.path(name)));
    }
}

#[test]
fn a_flapping_watcher_is_stopped_retried_and_given_up() {
    let circusd = Site::new().start(&format!("{FLAPPING}\nretry_in = 0.5\nmax_retry = 1\n"));
    kill_until(&circusd, "w", "plugin:flapping: w: flapping detected: retry in  0s (attempt number 1)");
    circusd.wait_for_log("w stopped");
    wait_until("it is started again", || circusd.status("w") == "active");
    kill_until(&circusd, "w", "plugin:flapping: w: flapping detected: reached max retry limit");
    wait_until("it is given up", || circusd.status("w") == "stopped");
}

#[test]
fn an_operator_is_not_taken_for_flapping() {
    let circusd =
        Site::new().start(&FLAPPING.replace("numprocesses = 2", "numprocesses = 5\nmax_age = 1\nmax_age_variance = 0"));
    circusd.wait_for_workers("w", 5);
    // An event of max_age shows that the logger's subscription is in force; flapping subscribed before the logger.
    circusd.wait_for_log("watcher.w.reap");
    for (command, properties) in [
        ("reload", json!({"name": "w", "waiting": true})),
        ("restart", json!({"name": "w", "waiting": true})),
        ("decr", json!({"name": "w", "nb": 3, "waiting": true})),
        ("kill", json!({"name": "w", "waiting": true})),
        ("incr", json!({"name": "w", "nb": 3, "waiting": true})),
    ] {
        circusd.tell(command, properties);
    }
    let reaped = circusd.log().matches("watcher.w.reap").count();
    wait_until("all have reached max_age", || circusd.log().matches("watcher.w.reap").count() >= reaped + 5);
    assert!(!circusd.log().contains("flapping detected"), "{}", circusd.log());
    assert_eq!(circusd.status("w"), "active");
}

/// A statsd that keeps every line.
struct Statsd(UdpSocket);

impl Statsd {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(crate::rig::DEADLINE)).unwrap();
        Self(socket)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Every line up to this one; each has to be one of statsd's.
    #[track_caller]
    fn until(&self, wanted: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut buffer = [0; 1500];
        loop {
            let length = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted} in {lines:?}: {error}"));
            let line = String::from_utf8(buffer[..length].to_vec()).unwrap();
            let (name, value) = line.split_once(':').unwrap();
            let (number, kind) = value.split_once('|').unwrap();
            assert!(name.starts_with("circus.") && !name.contains([' ', '\n']), "{line}");
            assert!(number.parse::<f64>().is_ok() && ["c", "g", "ms"].contains(&kind), "{line}");
            lines.push(line.clone());
            if line.starts_with(wanted) {
                return lines;
            }
        }
    }
}

#[test]
fn statsd_hears_of_events_and_figures() {
    let statsd = Statsd::new();
    let circusd = Site::new().start(&format!(
        "[watcher:my web]\ncmd = /bin/sleep 1000\nnumprocesses = 2\n[plugin:a]\nuse = \
        circus.plugins.statsd.StatsdEmitter\napplication_name = test\nport = {0}\n[plugin:b]\nuse = \
        full_stats\nloop_rate = 0.1\nport = {0}\n",
        statsd.port()
    ));
    circusd.wait_for_workers("my web", 2);
    statsd.until("circus.app.watcher._stats.my_web.mem_sum:");
    circusd.tell("restart", json!({"name": "my web", "waiting": true}));
    statsd.until("circus.test.watcher.my_web.start:1|c");
}

#[test]
fn the_watchdog_kills_who_falls_silent() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let circusd = Site::new().start(&format!(
        "[watcher:silent]\ncmd = /bin/sleep 1000\n[watcher:other]\ncmd = /bin/sleep 1000\n[plugin:dog]\nuse = \
        circus.plugins.watchdog.WatchDog\nport = {port}\nloop_rate = 0.2\nmax_count = 2\nwatchers_regex = silent\n"
    ));
    let (silent, other) = (circusd.wait_for_workers("silent", 1), circusd.wait_for_workers("other", 1));
    circusd.wait_for_log(&format!("plugin:dog: listening for heartbeats at 127.0.0.1:{port} (UDP)"));
    // As long as heartbeats come it lives, wherever they come from.
    let voice = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..40 {
        voice.send_to(format!("{};now", silent[0].0).as_bytes(), ("127.0.0.1", port)).unwrap();
        voice.send_to(b"garbage", ("127.0.0.1", port)).unwrap();
        observe_for(Duration::from_millis(25));
    }
    assert_eq!(circusd.workers("silent"), silent);
    circusd.wait_for_log(&format!("silent: process {} sends no heartbeats; it is killed", silent[0].0));
    wait_until("it is replaced", || circusd.workers("silent").first().is_some_and(|now| *now != silent[0]));
    assert_eq!(circusd.workers("other"), other);
}

#[test]
fn a_web_server_that_hangs_is_restarted() {
    // It accepts, by its backlog, and never says a word.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let statsd = Statsd::new();
    let circusd = Site::new().start(&format!(
        "[watcher:web]\ncmd = /bin/sleep 1000\n[plugin:http]\nuse = http_observer\ncheck_url = http://{}/\n\
         timeout = 0.2\nloop_rate = 0.1\nrestart_on_error = web\nport = {}\n",
        server.local_addr().unwrap(),
        statsd.port()
    ));
    let before = circusd.wait_for_workers("web", 1);
    statsd.until("circus.http_observer.watcher.http_stats.restart_on_error:1|c");
    wait_until("it is restarted", || circusd.workers("web").first().is_some_and(|now| *now != before[0]));
}

#[test]
fn redis_is_observed_and_missed() {
    let Some(redis) =
        ["/usr/bin/redis-server", "/usr/local/bin/redis-server"].into_iter().find(|path| Path::new(path).exists())
    else {
        return skipped("plugins::redis_is_observed_and_missed", "there is no redis-server");
    };
    let statsd = Statsd::new();
    let port = free_port();
    let circusd = Site::new().start(&format!(
        "[watcher:redis]\ncmd = {redis} --port {port} --save '' --bind 127.0.0.1\n[watcher:cache]\ncmd = /bin/sleep \
        1000\n[plugin:redis]\nuse = redis_observer\nredis_url = redis://127.0.0.1:{port}/0\nloop_rate = 0.1\ntimeout \
        = 1\nrestart_on_timeout = cache\nport = {}\n",
        statsd.port()
    ));
    statsd.until("circus.redis_observer.watcher.redis_stats.used_memory:");
    circusd.tell("stop", json!({"name": "redis", "waiting": true}));
    statsd.until("circus.redis_observer.watcher.redis_stats.restart_on_error:1|c");
}

#[test]
fn a_plugin_that_misbehaves_harms_nobody() {
    let site = Site::new();
    let circusd = site.start(
        "[watcher:w]\ncmd = /bin/sleep 1000\n\
         [plugin:crashes]\ncmd = sh -c 'echo no; exit 3'\n\
         [plugin:absent]\nuse = no.such.Plugin\npython = /nonexistent/python\n\
         [plugin:floods]\ncmd = yes flood\n\
         [plugin:hangs]\ncmd = {knobs} ignore\ngraceful_timeout = 0.2\n\
         [plugin:garbage]\ncmd = sh -c 'head -c 300000 /dev/urandom; exec sleep 1000'\n",
    );
    circusd.wait_for_log("plugin:floods prints too much; its lines are dropped until it prints less");
    circusd.wait_for_log("plugin:crashes: no");
    for _ in 0..100 {
        assert_eq!(circusd.status("w"), "active");
    }
    let before = circusd.workers("w");
    kill_one(&circusd, "w");
    wait_until("it is replaced", || circusd.workers("w").first().is_some_and(|now| *now != before[0]));
    assert!(circusd.log().chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
    circusd.tell("stop", json!({"name": "plugin:hangs", "waiting": true}));
}

#[test]
fn classes_of_the_originals_kind() {
    let Some(python) = python("plugins::classes_of_the_originals_kind") else { return };
    let python = python.display();
    let folder = file("tests/it/plugins");
    let circusd = Site::new().start(&format!(
        "[circus]\ncheck_delay = 2\n[env:plugin:*]\nPYTHONPATH = {}\nPYTHONDONTWRITEBYTECODE = 1\n[watcher:w]\ncmd = \
        /bin/sleep 1000\n[plugin:ordinary]\nuse = loggers.Ordinary\npython = {python}\nfilename = {{dir}}/it's a \
        file\n[plugin:slides]\nuse = loggers.Slides\npython = {python}\nfilename = \
        {{dir}}/slides\n[plugin:absent]\nuse = loggers.Absent\npython = {python}\n",
        folder.display()
    ));
    circusd.wait_for_text("it's a file", "init True 2.0");
    wait_until("the file of the slides is there", || circusd.path("slides").exists());
    circusd.wait_for_log("[ERROR] plugin:absent: the class loggers.Absent cannot be imported in ");
    // It is not known when their subscriptions stand.
    wait_until("both have heard of a restart", || {
        circusd.tell("restart", json!({"name": "w", "waiting": true}));
        observe_for(Duration::from_millis(100));
        circusd.read("it's a file").contains("w reap") && circusd.read("slides").contains("watcher.w.reap::b'")
    });
    for name in ["plugin:ordinary", "plugin:slides"] {
        circusd.tell("stop", json!({"name": name, "waiting": true}));
    }
    assert!(circusd.read("it's a file").ends_with("stop\n") && circusd.read("slides").ends_with("stop\n"));
}

#[test]
fn the_originals_own_plugins() {
    let Some(python) = python("plugins::the_originals_own_plugins") else { return };
    let statsd = Statsd::new();
    let dog = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let run = format!("python_runner = True\npython = {}\n", python.display());
    let circusd = Site::new().start(&format!(
        "[circus]\ncheck_delay = 1\n[env:plugin:*]\nPYTHONDONTWRITEBYTECODE = 1\n\
         [watcher:frail]\ncmd = /bin/sleep 1000\nnumprocesses = 4\nrespawn = False\n\
         [watcher:silent]\ncmd = /bin/sleep 1000\nflapping.active = False\n\
         [watcher:idle]\ncmd = /bin/sleep 1000\nflapping.active = False\n\
         [plugin:flapping]\nuse = circus.plugins.flapping.Flapping\nattempts = 2\nretry_in = 1\nwindow = 20\n{run}\
         [plugin:dog]\nuse = watchdog\nport = {dog}\nloop_rate = 0.3\nwatchers_regex = silent\n{run}\
         [plugin:resources]\nuse = circus.plugins.resource_watcher.ResourceWatcher\nwatcher = idle\nmin_cpu = 50\n\
         loop_rate = 0.2\nport = {}\n{run}",
        statsd.port()
    ));
    let silent = circusd.wait_for_workers("silent", 1);
    statsd.until("circus.app.watcher._resource_watcher.idle.restarting:1|c");
    wait_until("the silent one is killed", || circusd.workers("silent").first().is_some_and(|now| *now != silent[0]));
    kill_until(&circusd, "frail", "plugin:flapping: frail: flapping detected: retry in  1s (attempt number 1)");
    circusd.wait_for_workers("frail", 4);
}

/// What `deaths` in any language says of a worker that was killed.
#[track_caller]
fn says_who_died(circusd: &Circusd) {
    circusd.wait_for_log("plugin:deaths: deaths is there");
    tells(circusd);
}

fn tells(circusd: &Circusd) {
    kill_until(circusd, "w", "[WARNING] plugin:deaths: w lost a process, ");
}

const WATCHED: &str = "[watcher:w]\ncmd = /bin/sleep 1000\nnumprocesses = 2\nmin_uptime = 0\n[plugin:deaths]\n";

#[test]
fn the_example_in_rust() {
    let circusd = Site::new().start(&format!("{WATCHED}cmd = {{counter}}\nevery = 0.05\n"));
    circusd.wait_for_log("plugin:deaths: deaths: {");
    kill_until(&circusd, "w", "plugin:deaths: deaths: {\"w\": ");
}

#[test]
fn the_example_in_shell() {
    let (script, ctl) = (file("examples/plugins/deaths.sh"), built("circusctl"));
    let circusd = Site::new().start(&format!(
        "{WATCHED}cmd = sh {}\n[env:plugin:deaths]\nCIRCUSCTL = {}\n",
        script.display(),
        ctl.display()
    ));
    says_who_died(&circusd);
}

#[test]
fn the_example_in_python() {
    let Some(python) = python("plugins::the_example_in_python") else { return };
    let script = file("examples/plugins/deaths.py");
    let circusd =
        Site::new().start(&format!("{WATCHED}cmd = {} {}\ngreeting = 'hello'\n", python.display(), script.display()));
    circusd.wait_for_log("plugin:deaths: plugin:deaths is there, with 'hello'");
    tells(&circusd);
}

#[test]
fn the_example_in_node() {
    let test = "plugins::the_example_in_node";
    let Some(modules) = crate::rig::node_modules(test) else { return };
    let script = file("examples/plugins/deaths.js");
    let circusd = Site::new().start(&format!(
        "{WATCHED}cmd = node {}\n[env:plugin:deaths]\nNODE_PATH = {}\n",
        script.display(),
        modules.display()
    ));
    says_who_died(&circusd);
}

#[test]
fn the_program_of_plugins() {
    let site = Site::new();
    let program = |args: &[&str]| run(site.command(built("circus-plugin")).args(args));
    assert_eq!(program(&["--version"]).stdout, concat!(env!("CARGO_PKG_VERSION"), "\n"));
    assert!(program(&["--list"]).stdout.contains("watchdog (circus.plugins.watchdog.WatchDog)"));
    let usage = program(&[]);
    assert!(usage.stdout.starts_with("Usage: circus-plugin") && usage.status == Some(0));
    let unknown = program(&["nonsense"]);
    assert!(
        unknown.stderr.contains("there is no plugin 'nonsense'") && unknown.status == Some(1),
        "{}",
        unknown.stderr
    );
    // Without circusd it waits for one, until it is told to end.
    let mut child = spawn(site.command(built("circus-plugin")).arg("logger"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
}
