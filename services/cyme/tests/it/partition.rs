//! Three machines, each a network namespace with its own circusd, branch and workers, and a fourth with the Redis between
//! them. The cable of one is pulled out and put back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

use crate::rig::{self, Kind, Process, eventually, needs, program, skipped};

const MACHINES: usize = 3;
const REDIS: &str = "10.78.0.1";

/// The namespaces: one for each machine, and `hub`, whose bridge their cables end at. Dropping it removes all of it.
struct Net {
    names: Vec<String>,
}

impl Net {
    fn new() -> Self {
        let name = |what: &str| format!("circus-cyme-{}-{what}", std::process::id());
        let mut names: Vec<String> = (0..MACHINES).map(|number| name(&format!("m{number}"))).collect();
        names.push(name("hub"));
        let net = Self { names };
        for name in &net.names {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        let hub = net.hub();
        ip(&format!("-n {hub} link add between type bridge"));
        ip(&format!("-n {hub} addr add {REDIS}/24 dev between"));
        ip(&format!("-n {hub} link set between up"));
        for (number, name) in net.names[..MACHINES].iter().enumerate() {
            ip(&format!("link add port{number} netns {hub} type veth peer name cable netns {name}"));
            ip(&format!("-n {hub} link set port{number} master between up"));
            ip(&format!("-n {name} addr add 10.78.0.{}/24 dev cable", number + 2));
            ip(&format!("-n {name} link set cable up"));
        }
        net
    }

    fn hub(&self) -> &str {
        &self.names[MACHINES]
    }

    /// Pulls the cable of a machine out (`down`), or puts it back (`up`).
    fn cable(&self, machine: usize, state: &str) {
        ip(&format!("-n {} link set port{machine} {state}", self.hub()));
    }

    /// What this gives on a machine: a thread goes there.
    fn on<T: Send>(&self, machine: usize, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.names[machine])).unwrap();
        let there = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(there).join().unwrap())
    }

    /// The status and the body of what the branch of a machine answers there.
    fn ask(&self, machine: usize, method: &str, path: &str) -> (u16, Value) {
        let url = format!("http://127.0.0.1:8000{path}");
        self.on(machine, || rig::ask(&url, method, None))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            drop(Command::new("ip").args(["netns", "del", name]).output());
        }
    }
}

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {output:?}");
}

struct Fleet {
    // In the order in which they end.
    processes: Vec<Process>,
    net: Arc<Net>,
    folder: tempfile::TempDir,
}

impl Fleet {
    fn start(celery: &Path) -> Self {
        let (net, folder) = (Arc::new(Net::new()), tempfile::tempdir().unwrap());
        let mut fleet = Self { processes: Vec::new(), net, folder };
        let redis = ["--bind", REDIS, "--protected-mode", "no", "--save", "", "--appendonly", "no"];
        fleet.run(MACHINES, "redis", Path::new("redis-server"), &redis);
        // The default endpoints: each machine has them for itself.
        fs::write(fleet.path("circus.ini"), "[circus]\nloglevel = info\n").unwrap();
        for machine in 0..MACHINES {
            let id = format!("m{machine}");
            fleet.run(machine, &format!("circusd{machine}"), &program("circusd"), &["circus.ini"]);
            let broker = format!("redis://{REDIS}:6379/0");
            let words = ["-i", &id, "-D", &id, "-b", &broker, "--celery", celery.to_str().unwrap()];
            let words = [&words[..], &["--sup-interval", "3", "--drain", "5", "-l", "INFO"]].concat();
            fleet.run(machine, &format!("branch{machine}"), &program("cyme-branch"), &words);
        }
        for machine in 0..MACHINES {
            fleet.becomes("the branch has all that it needs", machine, "/healthz", 200);
        }
        // What has the lease writes its number into one store, which all machines reach.
        for machine in 0..MACHINES {
            let script = format!("while :; do echo $CYME_LEASE {machine} >> store; sleep 0.1; done");
            let words = ["-u", "http://127.0.0.1:8000", "singleton", "beat", "--", "sh", "-c", &script];
            fleet.run(machine, &format!("singleton{machine}"), &program("cyme"), &words);
        }
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&mut self, place: usize, log: &str, program: &Path, words: &[&str]) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.net.names[place]]).arg(program).args(words);
        let process = Process::start(command.current_dir(self.folder.path()), &self.path(&format!("{log}.log")));
        // The last one ends first.
        self.processes.insert(0, process);
    }

    fn get(&self, machine: usize, status: u16, method: &str, path: &str) -> Value {
        let (found, body) = self.net.ask(machine, method, path);
        assert_eq!(found, status, "{method} {path} on m{machine}: {body}");
        body
    }

    /// Waits until a branch answers with this status.
    fn becomes(&self, what: &str, machine: usize, path: &str, status: u16) {
        eventually(what, || (self.net.ask(machine, "GET", path).0 == status).then_some(()));
    }

    /// Asks the circusd of a machine.
    fn circus(&self, machine: usize, command: &str, properties: Value) -> Value {
        let Value::Object(properties) = properties else { panic!("{properties}") };
        let ask = || {
            let client = circus_client::Client::new().unwrap();
            let mut control = client.control(circus_client::endpoint::CONTROL).unwrap();
            control.call(command, properties, Duration::from_secs(20)).unwrap()
        };
        Value::Object(self.net.on(machine, ask))
    }

    /// The processes of an instance on a machine.
    fn pids(&self, machine: usize, instance: &str) -> Value {
        self.circus(machine, "list", json!({"name": format!("cyme-{instance}")}))["pids"].clone()
    }

    /// The machines whose branch has an instance in its database, by the instance.
    fn kept(&self) -> BTreeMap<String, Vec<usize>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut kept = BTreeMap::<String, Vec<usize>>::new();
        for machine in 0..MACHINES {
            let open = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path(&format!("m{machine}/branch.db")));
            let mut database = runtime.block_on(sqlx::ConnectOptions::connect(&open)).unwrap();
            let names = "SELECT name FROM cyme_thing WHERE kind = 'instance'";
            let names: Vec<String> = runtime.block_on(sqlx::query_scalar(names).fetch_all(&mut database)).unwrap();
            for name in names {
                kept.entry(name).or_default().push(machine);
            }
        }
        kept
    }

    /// The machines whose circusd has a watcher of an instance, by the instance.
    fn watched(&self) -> BTreeMap<String, Vec<usize>> {
        let mut watched = BTreeMap::<String, Vec<usize>>::new();
        for machine in 0..MACHINES {
            let list = self.circus(machine, "list", json!({}));
            for name in list["watchers"].as_array().unwrap() {
                let name = name.as_str().unwrap().strip_prefix("cyme-").unwrap();
                watched.entry(name.to_owned()).or_default().push(machine);
            }
        }
        watched
    }

    /// What the store was written by: the number of the lease and the machine, in order.
    fn store(&self) -> Vec<(u64, usize)> {
        let text = fs::read_to_string(self.path("store")).unwrap_or_default();
        let line = |line: &str| {
            let (number, machine) = line.split_once(' ')?;
            Some((number.parse().ok()?, machine.parse().ok()?))
        };
        text.lines().map(|text| line(text).unwrap_or_else(|| panic!("{text}"))).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(writeln!(std::io::stderr(), "{}", rig::logs_below(self.folder.path())));
        }
    }
}

/// Requests to two machines about each other, without a pause, until it is over. Those that were not answered as they should be.
fn traffic(
    net: &Arc<Net>,
    [one, other]: [usize; 2],
    over: &Arc<AtomicBool>,
) -> thread::JoinHandle<(usize, Vec<String>)> {
    let (net, over) = (Arc::clone(net), Arc::clone(over));
    thread::spawn(move || {
        let (mut answered, mut failed) = (0, Vec::new());
        while !over.load(Ordering::SeqCst) {
            for (machine, method, path, expected) in [
                (one, "GET", format!("/foo/instances/i{other}/"), 200),
                (other, "GET", format!("/foo/instances/i{one}/stats/"), 200),
                (one, "POST", format!("/foo/queues/q{one}/"), 201),
                (other, "PUT", format!("/foo/instances/i{one}/queues/tasks/"), 201),
                (one, "GET", format!("/machines/m{other}/watchers/"), 200),
                (other, "GET", "/".into(), 200),
            ] {
                match net.ask(machine, method, &path) {
                    (status, _) if status == expected => answered += 1,
                    (status, body) => failed.push(format!("{method} {path} on m{machine}: {status} {body}")),
                }
            }
        }
        (answered, failed)
    })
}

#[test]
#[ignore = "needs root"]
fn a_machine_is_cut_off_and_comes_back() {
    let test = "a_machine_is_cut_off_and_comes_back";
    let Some(celery) = needs(test, Kind::Redis) else { return };
    if Command::new("ip").arg("-V").output().is_err() {
        return skipped(test, "there is no ip (iproute2)");
    }
    let fleet = Fleet::start(&celery);
    fleet.get(0, 201, "PUT", "/foo/");
    fleet.get(0, 201, "PUT", "/foo/queues/tasks/");
    for machine in 0..MACHINES {
        let path = format!("/foo/instances/i{machine}/?branch=m{machine}");
        fleet.get((machine + 1) % MACHINES, 201, "PUT", &path);
    }
    for machine in 0..MACHINES {
        fleet.becomes("the worker answers", machine, &format!("/foo/instances/i{machine}/stats/"), 200);
    }
    // A Redis that was just started gives no lease for a while.
    let (first, cut) = eventually("a machine gets the lease", || fleet.store().first().copied());
    let (one, other) = ((cut + 1) % MACHINES, (cut + 2) % MACHINES);
    let before: Vec<Value> = (0..MACHINES).map(|machine| fleet.pids(machine, &format!("i{machine}"))).collect();
    let its = format!("/foo/instances/i{cut}/");

    let over = Arc::new(AtomicBool::new(false));
    let sender = traffic(&fleet.net, [one, other], &over);
    fleet.net.cable(cut, "down");
    fleet.becomes("the branch misses its broker", cut, "/healthz", 503);
    let (status, _) = fleet.net.ask(cut, "POST", "/foo/instances/!/both/");
    assert!(matches!(status, 202 | 503), "{status}");
    fleet.becomes("its instances are gone", one, &its, 404);
    assert_eq!(fleet.get(other, 200, "GET", "/branches/").as_array().unwrap().len(), 2);
    // What the two make now has a name that the third was asked for too.
    fleet.get(one, 201, "POST", &format!("/foo/instances/both/?branch=m{other}"));
    let (second, next) = eventually("the lease moves", || fleet.store().last().copied().filter(|last| last.0 > first));
    assert_ne!(next, cut, "lease {second}");
    assert_eq!(fleet.pids(cut, &format!("i{cut}")), before[cut], "a worker was restarted for want of a broker");

    fleet.net.cable(cut, "up");
    fleet.becomes("the branch has its broker again", cut, "/healthz", 200);
    fleet.becomes("its instance is there again", one, &its, 200);
    fleet.becomes("its worker answers again", other, &format!("{its}stats/"), 200);
    over.store(true, Ordering::SeqCst);
    let (answered, failed) = sender.join().unwrap();
    assert_eq!(failed, [""; 0], "of {}", answered + failed.len());
    assert!(answered > 0);

    // All are owned once, by the machine that had them, and run there as the same process.
    let wanted: BTreeMap<String, Vec<usize>> = (0..MACHINES)
        .map(|machine| (format!("i{machine}"), vec![machine]))
        .chain([("both".to_owned(), vec![other])])
        .collect();
    eventually("every instance is kept once", || (fleet.kept() == wanted).then_some(()));
    eventually("every instance runs once", || (fleet.watched() == wanted).then_some(()));
    for (machine, pids) in before.iter().enumerate() {
        assert_eq!(fleet.pids(machine, &format!("i{machine}")), *pids, "i{machine}");
        let mut names = fleet.get(machine, 200, "GET", "/foo/instances/");
        names.as_array_mut().unwrap().sort_by_key(Value::to_string);
        assert_eq!(names, json!(["both", "i0", "i1", "i2"]));
    }
    // The one that was cut off takes part again.
    fleet.get(cut, 200, "DELETE", "/foo/instances/both/");
    fleet.get(other, 201, "POST", &format!("/foo/instances/late/?branch=m{cut}"));

    // A store that refuses numbers below the highest that it has seen would have refused nothing.
    let store = fleet.store();
    let numbers: Vec<u64> = store.iter().map(|(number, _)| *number).collect();
    assert!(numbers.is_sorted(), "two at a time: {store:?}");
    let holders: BTreeMap<u64, usize> = store.iter().copied().collect();
    assert!(store.iter().all(|(number, machine)| holders[number] == *machine), "one number, two holders: {store:?}");
    let told = format!("{test}: {answered} requests answered, {} leases\n", holders.len());
    drop(std::io::stderr().write_all(told.as_bytes()));
}
