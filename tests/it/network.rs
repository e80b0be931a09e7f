//! Two hosts: network namespaces with a cable between them, and an ear at the cable. What circusctl on one says to circusd
//! on the other cannot be read there, and only keys open the door.
#![expect(clippy::disallowed_methods, reason = "a test starts the programs that it tests")]

use std::ops::Deref;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::keys::Keyed;
use crate::rig::{Circusd, Output, Site, built, run, skipped};

const SERVER: &str = "10.77.0.1";

/// Two network namespaces. Dropping it removes them and the cable.
struct Hosts {
    names: [String; 2],
}

impl Hosts {
    fn new(test: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if Command::new("ip").arg("-V").output().is_err() {
            skipped(test, "there is no ip (iproute2)");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let names = ["server", "client"].map(|side| format!("circus-it-{}-{number}-{side}", std::process::id()));
        let hosts = Self { names };
        let [server, client] = &hosts.names;
        for words in [
            format!("netns add {server}"),
            format!("netns add {client}"),
            format!("link add cable netns {server} type veth peer name cable netns {client}"),
            format!("-n {server} addr add {SERVER}/24 dev cable"),
            format!("-n {client} addr add 10.77.0.2/24 dev cable"),
            format!("-n {server} link set lo up"),
            format!("-n {server} link set cable up"),
            format!("-n {client} link set cable up"),
        ] {
            let output = run(Command::new("ip").args(words.split(' ')));
            assert_eq!(output.status, Some(0), "ip {words}: {output:?}");
        }
        Some(hosts)
    }

    /// The command, on one of the hosts.
    fn on(&self, side: usize, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.names[side]]).arg(command.get_program()).args(command.get_args());
        there.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        if let Some(directory) = command.get_current_dir() {
            there.current_dir(directory);
        }
        there
    }

    /// Listens to what passes the end of the server.
    fn listen(&self) -> Ear {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.names[0])).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // Only this thread moves there.
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let ear: OwnedFd =
                socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
            setsockopt(&ear, ReceiveTimeout, &TimeVal::milliseconds(20)).unwrap();
            ready.send(()).unwrap();
            let (mut heard, mut frame) = (Vec::new(), vec![0; 1 << 16]);
            loop {
                match recv(ear.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                    Ok(count) => heard.extend_from_slice(&frame[..count]),
                    // The last packets have passed when nothing comes for a while.
                    Err(_) if ended.load(Ordering::Relaxed) => return heard,
                    Err(_) => {}
                }
            }
        });
        is_ready.recv().unwrap();
        Ear { over, thread }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            drop(Command::new("ip").args(["netns", "del", name]).output());
        }
    }
}

/// Every byte that has passed.
struct Ear {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u8>>,
}

impl Ear {
    fn heard(self) -> Vec<u8> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// A circusd on the server, and circusctl on the client.
struct Pair {
    circusd: Circusd,
    hosts: Hosts,
}

impl Deref for Pair {
    type Target = Circusd;

    fn deref(&self) -> &Circusd {
        &self.circusd
    }
}

impl Pair {
    fn start(hosts: Hosts, site: Site, sections: &str) -> Self {
        let ini = site.ini("circus.ini", sections);
        let mut command = site.circusd();
        command.arg(ini);
        let mut circusd = Circusd::launch_by(site, hosts.on(0, &command));
        circusd.wait_until_it_listens();
        Self { circusd, hosts }
    }

    /// circusctl on the other host, with the key of a client, or without.
    fn ctl(&self, key: Option<&str>, args: &[&str]) -> Output {
        let mut command = self.circusd.command(built("circusctl"));
        command.env("CIRCUSCTL_ENDPOINT", format!("tcp://{SERVER}:5555"));
        if let Some(key) = key {
            command.env("CIRCUS_CURVE_SERVER_KEY", self.path("server.key"));
            command.env("CIRCUS_CURVE_KEY", self.path(&format!("{key}.key_secret")));
        }
        run(&mut self.hosts.on(1, command.args(args)))
    }

    fn end(mut self) {
        self.circusd.send(Signal::SIGTERM);
        self.circusd.wait_for_end();
    }
}

const WATCHER: &str = "
    [watcher:greeter]
    cmd = {knobs} say spoken-by-a-worker
    stdout_stream.class = MemoryStream
    [env:greeter]
    TOKEN = token-of-the-greeter";

/// What is said in any session.
const WORDS: [&str; 6] =
    ["\"command\"", "\"status\"", "greeter", "watcher.greeter", "token-of-the-greeter", "spoken-by-a-worker"];

/// A session: questions, a change, output, events.
fn session(pair: &Pair, key: Option<&str>) {
    for args in [
        &["list"][..],
        &["status"],
        &["options", "greeter"],
        &["tail", "greeter"],
        &["restart", "greeter", "--waiting"],
        &["wait", "greeter"],
    ] {
        let output = pair.ctl(key, args);
        assert_eq!(output.status, Some(0), "{args:?}: {output:?}");
    }
}

fn keyed(hosts: Hosts) -> Pair {
    let site = Site::new();
    let keyed = Keyed::prepare(&site, &[("root", "admin", "*"), ("eye", "read", "*"), ("gone", "operate", "*")]);
    let sections = keyed.sections("").replace(&format!("127.0.0.1:{}", keyed.control), &format!("{SERVER}:5555"));
    let sections = sections.replace(&format!("0.0.0.0:{}", keyed.events), &format!("{SERVER}:5556"));
    Pair::start(hosts, site, &(sections + WATCHER))
}

#[test]
#[ignore = "needs root"]
fn no_word_of_a_session_with_keys_passes_the_cable() {
    let Some(hosts) = Hosts::new("no_word_of_a_session_with_keys_passes_the_cable") else { return };
    let pair = keyed(hosts);
    let ear = pair.hosts.listen();
    session(&pair, Some("root"));
    let heard = ear.heard();
    assert!(contains(&heard, "CURVE") && heard.len() > 10_000, "the session was heard: {} bytes", heard.len());
    for word in WORDS {
        assert!(!contains(&heard, word), "{word} was heard");
    }
    for key in ["server", "root"] {
        let secret = pair.read(&format!("{key}.key_secret"));
        let secret = secret.split('"').find(|word| word.len() == 40).unwrap();
        assert!(!contains(&heard, secret), "a key was heard");
    }
    pair.end();
}

#[test]
#[ignore = "needs root"]
fn ear_hears_every_word_of_a_session_without_keys() {
    let Some(hosts) = Hosts::new("ear_hears_every_word_of_a_session_without_keys") else { return };
    let open = format!(
        "[circus]
        endpoint = tcp://{SERVER}:5555
        pubsub_endpoint = tcp://{SERVER}:5556
        allow_anyone_on_the_network_to_control_this_machine = yes
        {WATCHER}"
    );
    let pair = Pair::start(hosts, Site::new(), &open);
    let ear = pair.hosts.listen();
    session(&pair, None);
    let heard = ear.heard();
    for word in WORDS {
        assert!(contains(&heard, word), "{word} was not heard");
    }
    pair.end();
}

#[test]
#[ignore = "needs root"]
fn keys_alone_open_the_door_to_another_host() {
    let Some(hosts) = Hosts::new("keys_alone_open_the_door_to_another_host") else { return };
    let pair = keyed(hosts);
    let refused = |key: Option<&str>, args: &[&str], words: &str| {
        let output = pair.ctl(key, args);
        assert_ne!(output.status, Some(0), "{key:?} {args:?}: {output:?}");
        assert!(output.stderr.contains(words), "{key:?} {args:?}: {output:?}");
        assert_eq!(output.stdout, "", "{key:?} {args:?}");
    };
    // With a key.
    assert_eq!(pair.ctl(Some("root"), &["set", "greeter", "numprocesses", "2"]).status, Some(0));
    assert_eq!(pair.ctl(Some("gone"), &["restart", "greeter"]).status, Some(0));
    // Without one, or with one that nobody knows.
    refused(None, &["list"], "no secure connection came about");
    assert_eq!(pair.circusctl(&["keygen", "--role", "admin", "mallory"]).status, Some(0));
    refused(Some("mallory"), &["list"], "circusd does not accept this key");
    // With one that may look only.
    assert_eq!(pair.ctl(Some("eye"), &["status"]).status, Some(0));
    refused(Some("eye"), &["stop", "greeter"], "'eye' has the role read, and this takes the role operate");
    assert!(!pair.ctl(Some("eye"), &["options", "greeter"]).stdout.contains("token-of-the-greeter"));
    // With one that is revoked.
    std::fs::remove_file(pair.path("keys/gone.key")).unwrap();
    assert_eq!(pair.ctl(Some("root"), &["reloadconfig"]).status, Some(0));
    refused(Some("gone"), &["restart", "greeter"], "circusd does not accept this key");
    pair.wait_for_log("refused a client whose key is not in curve_authorized_keys: 10.77.0.2 with key ");
    // By its name, in one line.
    std::fs::create_dir_all(pair.path("config/circus")).unwrap();
    pair.write(
        "config/circus/hosts.toml",
        "[hosts.web1]\nendpoint = 'tcp://10.77.0.1:5555'\nserver_key = '{dir}/server.key'\nkey = '{dir}/root.key_secret'\n",
    );
    let mut command = pair.command(built("circusctl"));
    command.env_remove("CIRCUSCTL_ENDPOINT").env("XDG_CONFIG_HOME", pair.path("config"));
    let output = run(&mut pair.hosts.on(1, command.args(["--host", "web1", "numprocesses", "greeter"])));
    assert_eq!((output.status, output.stdout.as_str()), (Some(0), "2\n"), "{output:?}");
    pair.end();
}
