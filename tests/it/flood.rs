//! Clients that only cost: floods of handshakes, connections that say nothing, answers and events that are not read.
//! Those with a key are answered meanwhile, and circusd's memory stays bounded.
#![expect(clippy::disallowed_methods, reason = "a test measures how long answers take")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

use circus::net::{ClientKeys, Context, Dealer, generate};
use circus::sys::raise_nofile;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::keys::Keyed;
use crate::rig::{Circusd, DEADLINE, Site, observe_for, wait_until};

/// Requests that are measured.
const ASKED: usize = 200;
/// An answer is late after this. It takes less than a millisecond where nothing else happens; the flood runs on the same
/// processors.
const LATE: Duration = Duration::from_secs(2);

/// Ends the flood, also where an assertion fails meanwhile.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Door {
    circusd: Circusd,
    keyed: Keyed,
    context: Context,
}

impl Door {
    /// circusd with keys, under a shell's `limits`.
    fn open(limits: &str, rest: &str) -> Self {
        raise_nofile().unwrap();
        let site = Site::new();
        let keyed = Keyed::prepare(&site, &[("root", "admin", "*"), ("eye", "read", "*")]);
        let sections = keyed.sections("") + "\n[watcher:w]\ncmd = {knobs}\n" + rest;
        let ini = site.ini("circus.ini", &sections.replace("0.0.0.0", "127.0.0.1"));
        let plain = site.circusd();
        let mut command = site.command("/bin/sh");
        command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]).arg(plain.get_program()).args(plain.get_args());
        command.arg(ini);
        let mut circusd = Circusd::launch_by(site, command);
        circusd.wait_until_it_listens();
        Self { circusd, keyed, context: Context::new().unwrap() }
    }

    fn keys(&self, name: &str) -> ClientKeys {
        self.keyed.keys_of(&self.circusd, name)
    }

    fn control(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.keyed.control)
    }

    fn client(&self, name: &str) -> Dealer {
        Dealer::connect(&self.context, &self.control(), Some(&self.keys(name))).unwrap()
    }

    /// A socket of another program, with the keys of a client.
    fn foreign(&self, kind: zmq::SocketType, name: &str, endpoint: &str) -> (zmq::Context, zmq::Socket) {
        let keys = self.keys(name);
        let decoded = |text: &str| zmq::z85_decode(text).unwrap();
        let context = zmq::Context::new();
        let socket = context.socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvhwm(1).unwrap();
        socket.set_sndhwm(100).unwrap();
        socket.set_curve_serverkey(&decoded(&keys.server)).unwrap();
        socket.set_curve_publickey(&decoded(&keys.public)).unwrap();
        socket.set_curve_secretkey(&decoded(&keys.secret.to_z85())).unwrap();
        socket.connect(endpoint).unwrap();
        (context, socket)
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.keyed.control).into()
    }

    /// RSS in KiB.
    fn memory(&self) -> u64 {
        self.circusd.process().status("VmRSS")
    }

    fn connections(&self) -> usize {
        self.circusd.process().fd_numbers().len()
    }

    fn end(mut self) {
        self.circusd.send(Signal::SIGTERM);
        self.circusd.wait_for_end();
    }
}

fn ask(client: &mut Dealer, command: &str, properties: Value) -> Value {
    let request = json!({"id": client.new_id(), "command": command, "properties": properties});
    let answer = client.call(request.as_object().unwrap().clone(), DEADLINE);
    Value::Object(answer.unwrap())
}

/// The time of an answer: the one in the middle, and the longest.
fn times(client: &mut Dealer) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..ASKED)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(ask(client, "numwatchers", json!({}))["status"], "ok");
            begun.elapsed()
        })
        .collect();
    times.sort();
    (times[ASKED / 2], times[ASKED - 1])
}

/// Asks while something happens, over an old connection and over a new one, and says how it compares. The time in the
/// middle.
fn compare(door: &Door, what: &str, client: &mut Dealer, usual: (Duration, Duration)) -> Duration {
    let now = times(client);
    let begun = Instant::now();
    assert_eq!(ask(&mut door.client("eye"), "list", json!({}))["status"], "ok");
    let newcomer = begun.elapsed();
    let ratio = now.0.as_secs_f64() / usual.0.as_secs_f64();
    println!(
        "{what}: an answer takes {:?} (at most {:?}) instead of {:?} (at most {:?}), {ratio:.1} times as long; a new \
         client is answered within {newcomer:?}; {} KiB",
        now.0,
        now.1,
        usual.0,
        usual.1,
        door.memory()
    );
    assert!(now.1 < LATE && newcomer < LATE, "{what}");
    now.0
}

/// The greeting of ZMTP 3.1 of a client of CURVE.
fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    greeting.extend(b"CURVE");
    greeting.resize(64, 0);
    greeting
}

/// Floods a door with handshakes until it is over: those that fail, and whole ones of keys that nobody knows.
fn flood_of_handshakes<'s>(scope: &'s Scope<'s, '_>, door: &'s Door, over: &'s AtomicBool, count: &'s AtomicU64) {
    // Greetings, a HELLO whose box cannot be opened, and goodbye; or bytes that are no protocol at all.
    for number in 0..2_u8 {
        scope.spawn(move || {
            let mut hello = vec![4, 200, 5];
            hello.extend(b"HELLO");
            hello.extend([1, 0]);
            hello.resize(202, 0x5a);
            while !over.load(Ordering::Relaxed) {
                let Ok(mut peer) = TcpStream::connect(door.address()) else { continue };
                peer.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                let bytes = if number == 0 { [greeting(), hello.clone()].concat() } else { vec![0x5a; 300] };
                let _refused = peer.write_all(&bytes);
                let _answered = peer.read(&mut [0; 64]);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    scope.spawn(move || {
        let (public, secret) = generate().unwrap();
        let stranger = ClientKeys { public, secret, ..door.keys("eye") };
        let context = Context::new().unwrap();
        while !over.load(Ordering::Relaxed) {
            let dealers: Vec<Dealer> = (0..20)
                .map(|_| Dealer::connect(&context, &door.control(), Some(&stranger)).unwrap().unwatched())
                .collect();
            observe_for(Duration::from_millis(50));
            count.fetch_add(dealers.len() as u64, Ordering::Relaxed);
        }
    });
}

#[test]
fn floods_of_handshakes_delay_no_client_with_a_key() {
    let (door, neighbour) = (Door::open("ulimit -S -n 1024", ""), Door::open("ulimit -S -n 1024", ""));
    let mut client = door.client("root");
    let usual = times(&mut client);
    let before = door.memory();
    // The flood takes processors, too. What it costs at another door is not this one's affair.
    let mut flooded = |at: &Door, what: &str| {
        let (over, count) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let _until = Until(&over);
            flood_of_handshakes(scope, at, &over, &count);
            wait_until("the flood runs", || count.load(Ordering::Relaxed) > 100);
            let median = compare(&door, what, &mut client, usual);
            println!("{} connections came meanwhile", count.load(Ordering::Relaxed));
            median
        })
    };
    let beside = flooded(&neighbour, "a flood of handshakes at another circusd");
    let here = flooded(&door, "a flood of handshakes");
    println!("{:.1} times as long as beside the other's flood", here.as_secs_f64() / beside.as_secs_f64());
    assert!(here < beside * 200, "{here:?}, and {beside:?} beside the other's flood");
    assert!(door.memory() < before + 32 * 1024, "{} KiB, {before} before", door.memory());
    door.circusd.wait_for_log("refused a client whose key is not in curve_authorized_keys");
    let lines = door.circusd.log().lines().count();
    assert!(lines < 100, "the log is no target of floods either: {lines} lines");
    neighbour.end();
    door.end();
}

#[test]
fn thousands_of_half_open_connections_cost_little_and_end() {
    const HALF_OPEN: usize = 3000;
    /// Of one address, where circusd may have many descriptors.
    const KEPT: usize = 256;
    let door = Door::open("ulimit -S -n 1024", "");
    let mut client = door.client("root");
    let usual = times(&mut client);
    let (before, fds) = (door.memory(), door.connections());
    // Of the older ones both ends are closed: this process needs no descriptor for each.
    let mut silent = std::collections::VecDeque::new();
    for number in 0..HALF_OPEN {
        let mut peer = TcpStream::connect(door.address()).unwrap();
        // Half of them begin a handshake.
        if number % 2 == 0 {
            let _refused = peer.write_all(&greeting());
        }
        silent.push_back(peer);
        if silent.len() > 700 {
            silent.pop_front();
        }
    }
    wait_until("circusd has the last of them", || door.connections() >= fds + KEPT / 4);
    let (cost, kept) = (door.memory().saturating_sub(before), door.connections() - fds);
    println!("of {HALF_OPEN} half-open connections circusd keeps {kept}, which cost {cost} KiB");
    compare(&door, "half-open connections", &mut client, usual);
    assert!(kept <= KEPT + 10 && cost < 32 * 1024, "{cost} KiB for {kept} connections");
    door.circusd.wait_for_log("connections whose peers have too many or send too much");
    // circusd ends them, not they.
    wait_until("circusd has ended them", || door.connections() < fds + 10);
    assert_eq!(ask(&mut client, "numwatchers", json!({}))["status"], "ok");
    drop(silent);
    door.end();
}

#[test]
fn strangers_with_large_handshakes_cost_no_memory() {
    let door = Door::open("ulimit -S -n 1024", "");
    let mut client = door.client("root");
    let usual = times(&mut client);
    let before = door.memory();
    let (over, count, most) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _until = Until(&over);
        scope.spawn(|| {
            let large = [greeting(), vec![6, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff], vec![0x5a; 1 << 20]].concat();
            let mut peers = std::collections::VecDeque::new();
            while !over.load(Ordering::Relaxed) {
                let mut peer = TcpStream::connect(door.address()).unwrap();
                peer.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
                let _refused = peer.write_all(&large);
                count.fetch_add(1, Ordering::Relaxed);
                peers.push_back(peer);
                if peers.len() > 500 {
                    peers.pop_front();
                }
                most.fetch_max(door.memory(), Ordering::Relaxed);
            }
        });
        wait_until("the flood runs", || count.load(Ordering::Relaxed) > 600);
        compare(&door, "large handshakes", &mut client, usual);
    });
    let cost = most.load(Ordering::Relaxed).saturating_sub(before);
    println!("{} handshakes of a megabyte cost {cost} KiB", count.load(Ordering::Relaxed));
    assert!(cost < 32 * 1024, "{cost} KiB");
    door.end();
}

#[test]
fn crowd_leaves_descriptors_to_circusd_and_newcomers_get_in() {
    let door = Door::open("ulimit -n 256", "");
    let mut client = door.client("root");
    let usual = times(&mut client);
    let process = door.circusd.process();
    let fds = door.connections();
    let silent: Vec<TcpStream> = (0..600).map(|_| TcpStream::connect(door.address()).unwrap()).collect();
    wait_until("circusd says so", || {
        ask(&mut client, "numwatchers", json!({}));
        door.circusd.log().contains("connections whose peers have too many or send too much")
    });
    assert!(door.connections() < fds + 40, "{} descriptors, {fds} before", door.connections());
    // A worker that dies meanwhile is replaced, and one that comes now is served.
    let worker = ask(&mut client, "list", json!({"name": "w"}))["pids"][0].as_i64().unwrap();
    crate::rig::Process(i32::try_from(worker).unwrap()).send(Signal::SIGKILL);
    wait_until("the worker is replaced", || {
        let pids = ask(&mut client, "list", json!({"name": "w"}))["pids"].clone();
        pids.as_array().is_some_and(|pids| pids.len() == 1 && pids[0] != worker)
    });
    compare(&door, "a crowd at 256 descriptors", &mut client, usual);
    drop(silent);
    // It does not keep trying in vain.
    wait_until("circusd rests", || {
        let before = process.busy();
        observe_for(Duration::from_millis(500));
        process.busy() - before < 20
    });
    door.end();
}

#[test]
fn clients_that_do_not_read_delay_no_other_and_cost_no_memory() {
    let chatter = "[watcher:chatter]
        cmd = sh -c \"while :; do seq 5000; sleep 0.01; done\"
        stdout_stream.class = MemoryStream\n";
    let door = Door::open("ulimit -S -n 1024", chatter);
    let mut client = door.client("root");
    let usual = times(&mut client);
    let before = door.memory();
    // Subscribers whose applications have stopped; they have a library of their own, which stops reading too.
    let events = format!("tcp://127.0.0.1:{}", door.keyed.events);
    let stopped: Vec<(zmq::Context, zmq::Socket)> = (0..10)
        .map(|_| {
            let (context, socket) = door.foreign(zmq::SUB, "eye", &events);
            socket.set_subscribe(b"output.").unwrap();
            (context, socket)
        })
        .collect();
    let (over, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let flood = |name: &str, request: Value, pause: Duration, is_over: &AtomicBool| {
        let (_context, deaf) = door.foreign(zmq::DEALER, name, &door.control());
        while !is_over.load(Ordering::Relaxed) {
            let _full = deaf.send(request.to_string().as_bytes(), zmq::DONTWAIT);
            observe_for(pause);
            most.fetch_max(door.memory(), Ordering::Relaxed);
        }
    };
    let are_dropped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _until = Until(&are_dropped);
        // Large answers that are not read.
        let large = json!({"env": {"LARGE": "x".repeat(700_000)}});
        assert_eq!(ask(&mut client, "add", json!({"name": "large", "cmd": "x", "options": large}))["status"], "ok");
        let request = json!({"id": "1", "command": "options", "properties": {"name": "large"}});
        scope.spawn(|| flood("root", request, Duration::from_millis(10), &are_dropped));
        wait_until("answers are dropped", || {
            ask(&mut client, "numwatchers", json!({}));
            door.circusd.log().contains("answers to clients that do not read them")
        });
    });
    std::thread::scope(|scope| {
        let _until = Until(&over);
        // Many lines, which cost most.
        let request = json!({"id": "1", "command": "tail", "properties": {"name": "chatter", "lines": 10_000}});
        scope.spawn(|| flood("eye", request, Duration::from_millis(1), &over));
        observe_for(Duration::from_millis(500));
        let mut medians: Vec<Duration> = (0..5)
            .map(|_| {
                observe_for(Duration::from_millis(100));
                compare(&door, "clients that do not read", &mut client, usual)
            })
            .collect();
        medians.sort();
        // Without a share of circusd's time, it was two hundred times as long.
        assert!(medians[2] < usual.0 * 30, "{:?} instead of {:?}", medians[2], usual.0);
    });
    // A thousand requests for last lines wait at most, each with some hundred KiB of short lines; 64 MiB of answers; 128 MiB
    // of events.
    let cost = most.load(Ordering::Relaxed).saturating_sub(before);
    println!("clients that do not read cost {cost} KiB");
    assert!(cost < 512 * 1024, "{cost} KiB");
    drop(stopped);
    door.end();
}
