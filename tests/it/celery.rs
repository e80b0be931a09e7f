//! A broker and its Celery workers as watchers: what is under way when circusd quits ends once, and the broker outlives it.

use std::path::{Path, PathBuf};

use crate::rig::{Circusd, Output, Site, celery, free_port, run, wait_until};

/// Tasks that are acknowledged when they have ended (`acks_late`), so that one that is cut off would run again.
const TASKS: &str = r#"
import os, time
from celery import Celery

app = Celery("tasks", broker=os.environ["BROKER"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, task_ignore_result=True,
                broker_connection_retry_on_startup=True)

def note(name, text):
    with open(name, "a") as file:
        file.write(text + "\n")

@app.task
def work(number):
    note("begun", str(number))
    # Until the test lets it go on.
    while not os.path.exists("go"):
        time.sleep(0.05)
    time.sleep(1)
    note("ended", str(number))
"#;

/// Puts tasks into the queue, or counts those that wait and those that a worker has taken and not acknowledged.
const CLIENT: &str = r#"
import os, sys, redis
from tasks import work
if sys.argv[1] == "send":
    for number in range(int(sys.argv[2])):
        work.delay(number)
else:
    broker = redis.Redis.from_url(os.environ["BROKER"])
    print(broker.llen("celery"), broker.hlen("unacked"))
"#;

struct Fleet {
    circusd: Circusd,
    python: PathBuf,
    broker: String,
}

/// So many tasks run at a time.
const SLOTS: usize = 4;

/// circusd with a redis-server that keeps its queue on disk, and a Celery worker that needs it by `order`.
fn fleet(test: &str, order: &str, pool: &str) -> Option<Fleet> {
    let celery = celery(test)?;
    let site = Site::new();
    let port = free_port();
    let broker = format!("redis://127.0.0.1:{port}/0");
    site.write("tasks.py", TASKS);
    site.write("client.py", CLIENT);
    let circusd = site.start(&format!(
        "[watcher:worker]
         cmd = {celery} -A tasks worker --pool {pool} -c {SLOTS} -l INFO --without-gossip --without-mingle
         working_dir = {{dir}}
         {order} = broker
         ready = log:celery@.* ready
         ready_timeout = 60
         graceful_timeout = 600
         stdout_stream.filename = {{dir}}/worker.log
         stderr_stream.filename = {{dir}}/worker.log
         [env:worker]
         BROKER = {broker}
         PATH = /usr/local/bin:/usr/bin:/bin
         PYTHONDONTWRITEBYTECODE = 1
         C_FORCE_ROOT = 1
         [watcher:broker]
         cmd = redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly yes --dir {{dir}}
         ready = tcp:127.0.0.1:{port}
         ready_interval = 0.05
         stdout_stream.filename = {{dir}}/broker.log",
        celery = celery.display(),
    ));
    let fleet = Fleet { circusd, python: celery.with_file_name("python"), broker };
    fleet.wait_until_up();
    Some(fleet)
}

impl Fleet {
    fn wait_until_up(&self) {
        let (_, status) = self.circusd.ctl(&["wait", "broker", "worker", "--for", "ready", "--timeout", "60"]);
        assert_eq!(status, Some(0), "{}", self.logs());
    }

    fn logs(&self) -> String {
        ["circusd.log", "worker.log", "broker.log"].map(|name| self.circusd.read(name)).join("\n==\n")
    }

    #[track_caller]
    fn client(&self, args: &[&str]) -> Output {
        let mut command = self.circusd.command(Path::new(&self.python));
        command.arg("client.py").args(args).env("BROKER", &self.broker).env("PYTHONDONTWRITEBYTECODE", "1");
        let output = run(&mut command);
        assert_eq!(output.status, Some(0), "{output:?}\n{}", self.logs());
        output
    }

    /// The tasks that wait, and those that a worker has taken and not acknowledged.
    fn queue(&self) -> String {
        self.client(&["count"]).stdout.trim().to_owned()
    }

    /// The numbers that tasks have noted.
    fn noted(&self, name: &str) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.circusd.read(name).lines().map(|line| line.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    fn begun(&self, count: usize) {
        wait_until("tasks have begun", || self.noted("begun").len() >= count);
    }

    /// The lines in which a worker complains of its broker.
    fn complaints(&self) -> Vec<String> {
        let bad = [
            "Connection to broker",
            "connection to broker",
            "Cannot connect",
            "ConnectionError",
            "Traceback",
            "Restoring",
        ];
        let log = self.circusd.read("worker.log");
        log.lines().filter(|line| bad.iter().any(|bad| line.contains(bad))).map(str::to_owned).collect()
    }

    /// Quits, and lets the tasks go on when the worker was told to stop.
    fn quit_and_let_go(&mut self) {
        self.circusd.tell("quit", serde_json::json!({}));
        wait_until("the worker has been told to stop", || self.circusd.status("worker") == "stopping");
        assert_eq!(self.circusd.status("broker"), "active");
        self.circusd.write("go", "");
        assert_eq!(self.circusd.wait_for_end().status, Some(0), "{}", self.logs());
    }
}

#[test]
fn tasks_under_way_at_quit_run_once_and_to_their_end() {
    for order in ["after", "requires"] {
        let test = "celery::tasks_under_way_at_quit_run_once_and_to_their_end";
        let Some(mut fleet) = fleet(test, order, "prefork") else { return };
        fleet.client(&["send", "6"]);
        fleet.begun(SLOTS);
        fleet.quit_and_let_go();
        let first: Vec<u32> = (0..SLOTS as u32).collect();
        assert_eq!((fleet.noted("begun"), fleet.noted("ended")), (first.clone(), first), "{order}\n{}", fleet.logs());
        assert_eq!(fleet.complaints(), Vec::<String>::new(), "{order}");
        // The next circusd: what waited runs, and nothing runs again.
        fleet.circusd.restart();
        fleet.wait_until_up();
        let all: Vec<u32> = (0..6).collect();
        wait_until("what waited has run", || fleet.noted("ended").len() >= 6);
        wait_until("all is acknowledged", || fleet.queue() == "0 0");
        assert_eq!((fleet.noted("begun"), fleet.noted("ended")), (all.clone(), all), "{order}\n{}", fleet.logs());
        fleet.circusd.quit();
        assert_eq!(fleet.complaints(), Vec::<String>::new(), "{order}");
    }
}

#[test]
fn worker_whose_broker_was_killed_once_does_not_hold_up_the_end() {
    for (order, pool) in [("after", "prefork"), ("after", "gevent"), ("requires", "gevent")] {
        let test = "celery::worker_whose_broker_was_killed_once_does_not_hold_up_the_end";
        let Some(mut fleet) = fleet(test, order, pool) else { return };
        let worker = fleet.circusd.wait_for_workers("worker", 1)[0];
        let broker = fleet.circusd.wait_for_workers("broker", 1)[0];
        broker.send(nix::sys::signal::Signal::SIGKILL);
        wait_until("another broker is there", || {
            let now = fleet.circusd.workers("broker");
            now.len() == 1 && now[0] != broker
        });
        match order {
            "after" => wait_until("the worker has noticed", || !fleet.complaints().is_empty()),
            _ => wait_until("the worker is another", || {
                let now = fleet.circusd.workers("worker");
                now.len() == 1 && now[0] != worker
            }),
        }
        fleet.wait_until_up();
        // It works again.
        fleet.client(&["send", "4"]);
        fleet.begun(SLOTS);
        // Its graceful_timeout is far longer than this test waits.
        fleet.quit_and_let_go();
        let all: Vec<u32> = (0..4).collect();
        assert_eq!(
            (fleet.noted("begun"), fleet.noted("ended")),
            (all.clone(), all),
            "{order} {pool}\n{}",
            fleet.logs()
        );
    }
}
