//! A secret in every place of a configuration that may hold one: no client below admin sees it, in no answer and no event,
//! and no command line of circusd's own programs has it.

use std::time::Duration;

use circus::commands::{COMMANDS, Role};
use circus::config::options::WATCHER_OPTIONS;
use circus::net::{Context, Dealer, Subscriber};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::keys::Keyed;
use crate::rig::{Circusd, DEADLINE, Site, wait_until};

const SECRET: &str = "s3kr1t";

/// Watchers with the secret in each option that may have one; some fail, so that reasons are told.
const SECTIONS: &str = "
    [watcher:plain]
    cmd = sh -c \"exec sleep 1000\" s3kr1t
    args = --token s3kr1t
    shell_args = -c s3kr1t
    colour = s3kr1t
    hooks.after_start = exec:sh -c \"exit 1\" s3kr1t, true
    hooks.before_stop = exec:/no/such/program s3kr1t, true
    slot.token = pool
    stderr_stream.class = exec
    stderr_stream.command = sh -c \"exec cat >/dev/null\" s3kr1t
    stdout_stream.class = MemoryStream
    [env:plain]
    TOKEN = s3kr1t
    [watcher:script]
    cmd = TOKEN=s3kr1t sleep 1000
    shell = yes
    [watcher:group]
    cmd = (TOKEN=s3kr1t; sleep 1000)
    shell = yes
    [watcher:sick]
    cmd = sleep 1000
    health = http://127.0.0.1:1/up?token=s3kr1t
    health_interval = 0.1
    health_retries = 1
    [watcher:late]
    cmd = sleep 1000
    ready = exec:sh -c \"exit 1\" s3kr1t
    ready_timeout = 0.2
    max_retry = 3
    [watcher:scaled]
    cmd = sleep 1000
    scale = exec:sh -c \"exit 1\" s3kr1t
    scale_max = 2
    scale_interval = 0.1
    drain = exec:sh -c \"exit 1\" s3kr1t
    [watcher:broken]
    cmd = /no/such/program s3kr1t
    max_retry = 2
    [slots:pool]
    values = s3kr1t-1, s3kr1t-2
    [plugin:hook]
    use = webhook
    url = http://user:s3kr1t@127.0.0.1:1/s3kr1t?token=s3kr1t
    [env:plugin:hook]
    TOKEN = s3kr1t";

struct Rig {
    circusd: Circusd,
    keyed: Keyed,
    context: Context,
}

impl Rig {
    fn start() -> Self {
        let site = Site::new();
        let clients = [("root", "admin", "*"), ("op", "operate", "*"), ("eye", "read", "*")];
        let keyed = Keyed::prepare(&site, &clients);
        let sections = keyed.sections("statsd = yes\nstats_always = yes\nstats_interval = 0.2\n") + SECTIONS;
        Self { circusd: site.start(&sections), keyed, context: Context::new().unwrap() }
    }

    fn client(&self, name: &str) -> Dealer {
        let keys = self.keyed.keys_of(&self.circusd, name);
        Dealer::connect(&self.context, &format!("tcp://127.0.0.1:{}", self.keyed.control), Some(&keys)).unwrap()
    }

    fn subscriber(&self, name: &str, port: u16, topics: &[&str]) -> Subscriber {
        let keys = self.keyed.keys_of(&self.circusd, name);
        Subscriber::connect(&self.context, &format!("tcp://127.0.0.1:{port}"), Some(&keys), topics).unwrap()
    }
}

fn ask(client: &mut Dealer, command: &str, properties: &Value) -> Value {
    let request = json!({"id": client.new_id(), "command": command, "properties": properties});
    let reply = client.call(request.as_object().unwrap().clone(), DEADLINE);
    Value::Object(reply.unwrap_or_else(|error| panic!("{request}: {error:?}")))
}

/// The requests of every command that a role may have: for each watcher, and in each of their forms.
fn requests(role: Role, watchers: &[String]) -> Vec<(&'static str, Value)> {
    let keys = WATCHER_OPTIONS.iter().map(|spec| spec.key.replace('*', "token"));
    let more = ["colour", "stdout_stream_conf", "stderr_stream_conf", "stderr_stream.command", "hooks.after_start"];
    let keys: Vec<String> = keys.chain(more.map(str::to_owned)).collect();
    let mut requests = Vec::new();
    for spec in COMMANDS.iter().filter(|spec| spec.role <= role && !matches!(spec.name, "reopenlogs")) {
        // Without a name, it starts circusd itself again.
        requests.extend((spec.name != "restart").then(|| (spec.name, json!({}))));
        for name in watchers {
            for more in [
                json!({}),
                json!({"waiting": true}),
                json!({"all": true, "extended": true, "stream": "stdout", "signum": "cont", "lines": 10}),
                json!({"keys": keys.clone()}),
            ] {
                let mut properties = more;
                // These never come up.
                if properties.get("waiting").is_some() && matches!(name.as_str(), "sick" | "late" | "broken") {
                    continue;
                }
                properties["name"] = name.as_str().into();
                requests.push((spec.name, properties));
            }
            // One that the watcher does not have makes the others an error.
            let one = |key: &String| ("get", json!({"name": name, "keys": [key]}));
            requests.extend(keys.iter().filter(|_| spec.name == "get").map(one));
        }
    }
    requests
}

#[test]
fn no_answer_and_no_event_tells_a_secret_below_admin() {
    let mut rig = Rig::start();
    let mut admin = rig.client("root");
    let watchers: Vec<String> =
        serde_json::from_value(ask(&mut admin, "list", &json!({}))["watchers"].clone()).unwrap();
    assert!(watchers.len() >= 7, "{watchers:?}");
    // The test can fail: admin is told.
    for (command, properties) in [
        ("options", json!({"name": "plain"})),
        ("get", json!({"name": "plain", "keys": ["colour"]})),
        ("options", json!({"name": "plugin:hook"})),
    ] {
        let told = ask(&mut admin, command, &properties).to_string();
        assert!(told.contains(SECRET), "{told}");
    }
    let mut events = rig.subscriber("eye", rig.keyed.events, &[""]);
    let mut figures = rig.subscriber("eye", rig.keyed.stats, &[""]);
    wait_until("figures come", || figures.recv(Duration::from_millis(100)).is_some());
    let (mut told, mut asked) = (Vec::new(), 0);
    for (name, role) in [("eye", Role::Read), ("op", Role::Operate)] {
        let mut client = rig.client(name);
        for (command, properties) in requests(role, &watchers) {
            // What a stop of one waits for is not what this is about.
            let reply = ask(&mut client, command, &properties).to_string();
            asked += 1;
            assert!(!reply.contains("this takes the role"), "{command}: {reply}");
            if reply.contains(SECRET) {
                told.push(format!("{command} {properties}: {reply}"));
            }
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
    let (mut heard, mut kinds) = (0, std::collections::BTreeSet::new());
    for subscriber in [&mut events, &mut figures] {
        while let Some((topic, body)) = subscriber.recv(Duration::from_millis(300)) {
            let text = format!("{} {}", String::from_utf8_lossy(&topic), String::from_utf8_lossy(&body));
            assert!(!text.contains(SECRET), "{text}");
            kinds.insert(String::from_utf8_lossy(&topic).rsplit('.').next().unwrap().to_owned());
            heard += 1;
            if heard > 5000 {
                break;
            }
        }
    }
    println!("{asked} answers and {heard} events of the kinds {kinds:?}");
    assert!(kinds.contains("hook_failure") && kinds.contains("unhealthy"), "reasons were told: {kinds:?}");
    // The log may be read by every user.
    for line in rig.circusd.log().lines() {
        assert!(!line.contains(SECRET), "{line}");
    }
    rig.circusd.send(Signal::SIGTERM);
    rig.circusd.wait_for_end();
}

#[test]
fn no_secret_of_a_plugin_is_on_a_command_line() {
    let mut rig = Rig::start();
    let mut admin = rig.client("root");
    let mut pid = || ask(&mut admin, "list", &json!({"name": "plugin:hook"}))["pids"][0].as_i64();
    let mut figures = rig.subscriber("eye", rig.keyed.stats, &[""]);
    wait_until("circusd-stats runs", || figures.recv(Duration::from_millis(100)).is_some());
    wait_until("the plugin runs", || {
        pid().is_some_and(|pid| crate::rig::Process(i32::try_from(pid).unwrap()).has_its_program())
    });
    let mut own = Vec::new();
    for process in rig.circusd.inhabitants() {
        let line = std::fs::read(format!("/proc/{}/cmdline", process.0)).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let program = line.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
        if program.starts_with("circus") {
            assert!(!line.contains(SECRET), "{line}");
            own.push(program);
        }
    }
    own.sort();
    own.dedup();
    assert_eq!(own, ["circus-plugin", "circusd", "circusd-stats"]);
    rig.circusd.send(Signal::SIGTERM);
    rig.circusd.wait_for_end();
}
