//! What a branch costs: its memory, what an idle instance adds to it, how fast it answers. circusd and the workers are played
//! by this test; Redis is real. docs/cyme.md says how to measure.

use std::fs;
use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use circus_test_support::Reply;

use crate::rig::{self, Broker, Kind, Process, eventually, free_port, played};

/// A client that keeps its connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(port: u16) -> Self {
        Self(BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap()))
    }

    fn get(&mut self, path: &str) {
        self.0.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        let reply = Reply::read(&mut self.0, "GET").unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", reply.head);
    }
}

/// The proportional share of memory, in KiB.
fn memory(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The time that a process has run, in milliseconds.
fn processor(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let text = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    text.filter_map(|text| text.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() / 1e6
}

/// Half and all but one percent of requests take at most so long, in microseconds; and how many of eight clients are
/// answered in a second.
fn speed(port: u16, path: &str, time: Duration) -> (f64, f64, f64) {
    let run = move |path: String| {
        let (mut client, mut times, begun) = (Client::new(port), Vec::new(), Instant::now());
        while begun.elapsed() < time {
            let sent = Instant::now();
            client.get(&path);
            times.push(sent.elapsed().as_secs_f64() * 1e6);
        }
        times
    };
    let mut alone = run(path.to_owned());
    alone.sort_by(f64::total_cmp);
    let many: Vec<_> =
        (0..8).map(|_| (path.to_owned(), run)).map(|(path, run)| thread::spawn(move || run(path))).collect();
    let answered: usize = many.into_iter().map(|client| client.join().unwrap().len()).sum();
    (alone[alone.len() / 2], alone[alone.len() * 99 / 100], answered as f64 / time.as_secs_f64())
}

/// CIRCUS_CYME_FIGURES has the numbers of instances, and makes each measurement long; CIRCUS_CYME_BRANCH names another program.
#[test]
fn what_a_branch_costs() {
    if !rig::has_broker("what_a_branch_costs", Kind::Redis) {
        return;
    }
    let sizes = std::env::var("CIRCUS_CYME_FIGURES").ok();
    let (quiet, load) = match sizes {
        Some(_) => (Duration::from_secs(120), Duration::from_secs(5)),
        None => (Duration::from_millis(500), Duration::from_millis(200)),
    };
    let sizes: Vec<usize> = sizes.as_deref().unwrap_or("0,20").split(',').map(|size| size.parse().unwrap()).collect();
    let program = std::env::var("CIRCUS_CYME_BRANCH").ok();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(Kind::Redis, folder.path());
    played::workers(&broker.url());
    let [control, events] = played::circusd();
    let port = free_port();
    let mut command = Command::new(program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_cyme-branch")));
    command.args([&port.to_string(), "-b", &broker.url(), "-i", "b", "--circus-endpoint", &control]);
    command.args(["--circus-pubsub", &events, "--celery", "true", "-D"]).arg(folder.path().join("branch"));
    let branch = Process::start(&mut command, &folder.path().join("branch.log"));
    let url = format!("http://127.0.0.1:{port}");
    eventually("the branch has a broker", || (rig::ask(&format!("{url}/healthz"), "GET", None).0 == 200).then_some(()));
    rig::ask(&format!("{url}/foo/"), "PUT", None);

    let mut lines = vec!["| instances | memory (PSS), MiB | KiB an instance | processor time an hour, s |".to_owned()];
    lines.push("|---:|---:|---:|---:|".into());
    let (mut made, mut first) = (0, None);
    for size in sizes {
        for number in made..size {
            let (status, body) = rig::ask(&format!("{url}/foo/instances/i{number}/"), "PUT", None);
            assert_eq!(status, 201, "{body}");
        }
        made = size;
        thread::sleep(quiet / 10);
        let before = processor(branch.pid());
        thread::sleep(quiet);
        let used = (processor(branch.pid()) - before) / 1e3 / quiet.as_secs_f64() * 3600.0;
        let memory = memory(branch.pid());
        let (base, few) = *first.get_or_insert((memory, size));
        let each = if size > few { (memory - base) / (size - few) as f64 } else { 0.0 };
        lines.push(format!("| {size} | {:.1} | {each:.1} | {used:.1} |", memory / 1024.0));
        assert!(each < 256.0, "an instance takes {each} KiB");
        assert!(program.is_none() || memory < 20.0 * 1024.0, "the branch takes {memory} KiB");
    }
    lines.push("| request | p50, us | p99, us | of 8 clients, 1/s |".into());
    lines.push("|---|---:|---:|---:|".into());
    for path in ["/ping/", "/foo/instances/i0/", "/healthz", "/metrics", "/branches/", "/foo/instances/"] {
        let (half, most, rate) = speed(port, path, load);
        lines.push(format!("| `GET {path}` | {half:.0} | {most:.0} | {rate:.0} |"));
    }
    drop(std::io::stderr().write_all((lines.join("\n") + "\n").as_bytes()));
    let known = rig::ask(&format!("{url}/foo/instances/"), "GET", None).1.as_array().map_or(0, Vec::len);
    assert_eq!(known, made);
}
