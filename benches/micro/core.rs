//! Turns of the core, with few workers and with many: what they cost must not depend on that.

use circus::arbiter::{Arbiter, Event, Exit, Mono, Now, Pid};
use circus::proto::{ClientAddress, Format, ReplyTo, Request, RequestId};
use criterion::{BatchSize, Criterion};

use crate::settings::{config, host};

const SIZES: [i32; 3] = [1, 175, 5000];

pub(crate) fn benches(c: &mut Criterion) {
    for workers in SIZES {
        let mut fleet = Fleet::new(workers);
        c.bench_function(&format!("core/a death and its replacement, {workers} workers"), |b| {
            b.iter(|| fleet.replace())
        });
        let mut fleet = Fleet::new(workers);
        c.bench_function(&format!("core/status, {workers} workers"), |b| {
            b.iter_batched(request, |event| fleet.handle(event), BatchSize::SmallInput);
        });
    }
}

fn request() -> Event {
    let to = ReplyTo::Client(ClientAddress {
        identity: vec![0; 5],
        delimiter: false,
        id: RequestId::Absent,
        format: Format::Json,
        redacted: false,
        note: None,
    });
    Event::Request(Box::new(to), Request::Status { name: Some("w".into()), verbose: false })
}

/// A core with so many workers, and a kernel that does whatever it is asked for.
struct Fleet {
    core: Arbiter,
    now: Now,
    workers: i32,
    /// The oldest worker's pid, and the next one's.
    oldest: i32,
    next: i32,
}

impl Fleet {
    fn new(workers: i32) -> Self {
        let config = config(&format!("[watcher:w]\ncmd = worker\nnumprocesses = {workers}\n"));
        let core = Arbiter::new(config, host(), 1);
        let now = Now { mono: Mono(1_000_000_000), unix: 1.7e9 };
        let mut fleet = Self { core, now, workers, oldest: 100, next: 100 };
        fleet.handle(Event::SocketsOpened(Vec::new()));
        fleet.launch();
        assert_eq!(fleet.next - fleet.oldest, workers, "all workers run");
        fleet
    }

    fn handle(&mut self, event: Event) -> usize {
        self.core.handle_event(event, self.now);
        self.drain()
    }

    fn drain(&mut self) -> usize {
        std::iter::from_fn(|| self.core.poll_action()).count()
    }

    fn launch(&mut self) {
        while let Some(launch) = self.core.poll_launch(self.now) {
            let pid = Pid(self.next);
            self.next += 1;
            self.core.handle_event(Event::Spawned { worker: launch.worker, pid }, self.now);
        }
        self.drain();
    }

    /// The oldest worker dies, grown up, and another takes its place.
    fn replace(&mut self) {
        self.now.mono = Mono(self.now.mono.0 + 2_000_000_000);
        self.handle(Event::Exited(vec![Exit::new(Pid(self.oldest), -9)]));
        self.oldest += 1;
        if self.core.next_deadline().is_some_and(|due| due <= self.now.mono) {
            self.core.handle_timeout(self.now);
        }
        self.launch();
        assert_eq!(self.next - self.oldest, self.workers, "the dead one was replaced");
    }
}
