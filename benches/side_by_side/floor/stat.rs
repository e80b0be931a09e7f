//! Tells of so many workers: reads of each what a report needs, writes the report, publishes it. Prints the milliseconds
//! of processor time, of all its threads, that one round of all workers took.

use std::fmt::Write as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::read::{Usage, usage};
use super::worker::{Worker, end};
use crate::clock::{millis, pass};
use crate::outcome::Outcome;

pub(super) fn run(probe: &str, endpoint: &str, workers: usize, rounds: u32) -> Outcome<()> {
    let worker = Worker::new(probe, "-", &["pause"])?;
    let alive = (0..workers).map(|_| worker.start(None)).collect::<Outcome<Vec<Pid>>>()?;
    // Until they have all begun to wait.
    pass(Duration::from_millis(300));
    let context = zmq::Context::new();
    let socket = context.socket(zmq::PUB)?;
    socket.set_sndhwm(100_000)?;
    // Messages that no subscriber reads must not hold up the end.
    socket.set_linger(0)?;
    socket.bind(endpoint)?;
    // Until the subscriber is there.
    pass(Duration::from_millis(700));
    let before = cpu()?;
    for _ in 0..rounds {
        publish(&socket, &alive)?;
        pass(Duration::from_millis(20));
    }
    pass(Duration::from_millis(100));
    println!("{:.4}", millis(cpu()? - before) / f64::from(rounds));
    end(&alive, Signal::SIGKILL)
}

fn cpu() -> Outcome<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn publish(socket: &zmq::Socket, workers: &[Pid]) -> Outcome<()> {
    let (mut topic, mut body, mut buffer) = (String::new(), String::new(), [0_u8; 1024]);
    for pid in workers {
        let usage = usage(*pid, &mut buffer);
        topic.clear();
        body.clear();
        write!(topic, "stat.w.{pid}")?;
        report(&mut body, *pid, &usage)?;
        socket.send(topic.as_str(), zmq::SNDMORE)?;
        socket.send(body.as_str(), 0)?;
    }
    Ok(())
}

/// As long as the original's, with the same kinds of numbers.
fn report(body: &mut String, pid: Pid, usage: &Usage) -> std::fmt::Result {
    let Usage { user, system, resident } = *usage;
    let pages = resident as f64;
    write!(
        body,
        "{{\"mem_info1\": \"{:.2}M\", \"mem_info2\": \"{:.2}M\", \"cpu\": {:.1}, \"mem\": {:.3}, \
         \"ctime\": \"0:{user:02}.{system:02}\", \"pid\": {pid}, \"username\": \"root\", \"nice\": 0, \
         \"create_time\": {:.2}, \"age\": {:.3}, \"cmdline\": \"probe\", \"children\": [], \"subtopic\": {pid}, \
         \"name\": null}}",
        pages / 256.0,
        pages / 128.0,
        (user + system) as f64 / 10.0,
        pages / 1e5,
        1.5e9 + f64::from(pid.as_raw()),
        12.345,
    )
}
