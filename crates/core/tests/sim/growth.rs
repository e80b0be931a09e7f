//! What happens to one worker of thousands takes the core as many steps as among a hundred. (That each step costs the
//! same is counted in instructions, by `tests/it/cost.rs`.)

use circus_core::arbiter::{Action, Arbiter, Event, Exit, Mono, Now, Pid};
use circus_core::config::{CircusConfig, Config, Host, options};
use circus_core::proto::{Object, Request};

use super::client;

/// A core with one watcher, and how much goes in and out of it.
struct Counted {
    arbiter: Arbiter,
    /// Those that run, the oldest first.
    pids: Vec<i32>,
    next: i32,
    now: u64,
    /// Events, actions, launches, and times at which something was due.
    steps: usize,
}

impl Counted {
    fn new(workers: u32) -> Self {
        let mut watcher = options::from_add("w", "x", None, &Object::new(), &Host::default()).unwrap();
        watcher.numprocesses = workers;
        let config = Config { circus: CircusConfig::default(), watchers: vec![watcher], ..Config::default() };
        let arbiter = Arbiter::new(config, Host::default(), 0);
        let mut counted = Self { arbiter, pids: Vec::new(), next: 2, now: 1, steps: 0 };
        counted.tell(Event::SocketsOpened(Vec::new()));
        counted.settle();
        assert_eq!(counted.pids.len(), workers as usize);
        // No worker is young any more.
        counted.now += 3_600_000_000_000;
        counted
    }

    fn clock(&self) -> Now {
        Now { mono: Mono(self.now), unix: 1.7e9 }
    }

    fn tell(&mut self, event: Event) {
        self.steps += 1;
        self.arbiter.handle_event(event, self.clock());
    }

    /// Does all that is wanted, until there is nothing left but to wait.
    fn settle(&mut self) {
        let mut before = None;
        while before != Some(self.steps) {
            before = Some(self.steps);
            while let Some(action) = self.arbiter.poll_action() {
                self.steps += 1;
                if let Action::Signal { pid, .. } = action {
                    self.die(pid.0);
                }
            }
            while let Some(launch) = self.arbiter.poll_launch(self.clock()) {
                self.steps += 1;
                self.next += 1;
                self.pids.push(self.next);
                self.tell(Event::Spawned { worker: launch.worker, pid: Pid(self.next) });
            }
            if self.arbiter.next_deadline().is_some_and(|at| at.0 <= self.now) {
                self.steps += 1;
                self.arbiter.handle_timeout(self.clock());
            }
        }
    }

    fn die(&mut self, pid: i32) {
        self.pids.retain(|other| *other != pid);
        self.tell(Event::Exited(vec![Exit::new(Pid(pid), -9)]));
    }

    fn ask(&mut self, request: Request) {
        self.tell(Event::Request(Box::new(client(1)), request));
    }

    /// The steps of this and all that follows from it.
    fn count(&mut self, what: impl FnOnce(&mut Self)) -> usize {
        let before = self.steps;
        what(self);
        self.settle();
        self.steps - before
    }
}

#[test]
fn one_of_thousands_takes_no_more_steps() {
    let steps = |workers| {
        let mut core = Counted::new(workers);
        let (oldest, middle) = (core.pids[0], core.pids[workers as usize / 2]);
        let deaths = [core.count(|core| core.die(oldest)), core.count(|core| core.die(middle))];
        let fewer = core.count(|core| core.ask(Request::Decr { name: "w".into(), nb: 7, waiting: true }));
        assert_eq!(core.pids.len(), workers as usize - 7);
        let more = core.count(|core| core.ask(Request::Incr { name: "w".into(), nb: 7, waiting: true }));
        assert_eq!(core.pids.len(), workers as usize);
        (deaths, fewer, more, core.count(|core| core.ask(Request::Status { name: Some("w".into()), verbose: false })))
    };
    let few = steps(100);
    println!("deaths, decr 7, incr 7, status: {few:?} steps");
    assert!(few.0[0] >= 4, "a death, its event, a launch, its spawn: {few:?}");
    assert_eq!(few, steps(2000));
}
