//! What circusd spends on a request and on a death, in instructions of all its threads, as callgrind counts them: a
//! figure that a noisy machine does not change. And that a death among many costs what it costs among few.
//!
//! `CIRCUS_COST_OF=target/release/circusd cargo test --test it cost -- --ignored --nocapture`, with valgrind installed.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Site, ask, optimized_circusd, skipped, wait_until};

/// Instructions of a `status` request with its answer: received, understood, answered, sent.
const REQUEST: u64 = 22_000;
/// Instructions of a death with its replacement: reaped, what it left behind looked for, told to one subscriber, logged
/// (the exit and the start, fifty lines a second), spawned, told.
const DEATH: u64 = 40_000;
/// How much more, in hundredths, is no reason to look. libzmq's threads meet by chance, and the C library chooses its
/// functions by the processor.
const MARGIN: u64 = 20;

/// Instructions that a circusd spends on its life with so many workers, so many requests and so many deaths.
fn life(workers: usize, requests: usize, deaths: usize) -> u64 {
    let site = Site::new();
    let ini = site.ini(
        "circus.ini",
        &format!("[watcher:w]\ncmd = sleep 1000\nnumprocesses = {workers}\nmin_uptime = 0\ngraceful_timeout = 60\n"),
    );
    let mut command = site.command("valgrind");
    command
        .args(["--tool=callgrind", "--log-file=counted", "--callgrind-out-file=counts"])
        .arg(optimized_circusd())
        .arg(ini);
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    // Requests are counted, too; and valgrind is slow to fork, so that only a standstill is a failure.
    for some in (0..workers).step_by(20) {
        wait_until(&format!("more than {some} workers are there"), || circusd.process().children().len() > some);
    }
    wait_until("all workers are there", || circusd.tell("numprocesses", json!({}))["numprocesses"] == workers);
    let mut client = circusd.client();
    for _ in 0..requests {
        assert_eq!(ask(&mut client, "status", json!({"name": "w"}))["status"], "active");
    }
    let mut events = circusd.events();
    for worker in circusd.workers("w").into_iter().take(deaths) {
        worker.send(Signal::SIGKILL);
        events.until("w", "spawn");
    }
    circusd.quit();
    let counted = circusd.read("counted");
    let total = counted.lines().find_map(|line| line.rsplit_once("Collected : ")).expect("callgrind tells a total").1;
    total.trim().parse().unwrap()
}

fn can_count(test: &str) -> bool {
    let found = ["/usr/local/bin/valgrind", "/usr/bin/valgrind"].iter().any(|path| Path::new(path).exists());
    if !found {
        skipped(test, "valgrind is not installed");
    }
    found
}

/// What one of `times` took, beside a life without them.
fn each(with: u64, without: u64, times: u64) -> u64 {
    with.saturating_sub(without) / times
}

fn assert_near(what: &str, found: u64, stored: u64) {
    println!("{what}: {found} instructions, stored {stored}");
    assert!(
        found <= stored + stored * MARGIN / 100,
        "{what} takes {found} instructions, {stored} when it was last looked at: find out why, or store the new figure"
    );
    assert!(
        found >= stored - stored * 2 * MARGIN / 100,
        "{what} takes {found} instructions, {stored} when it was last looked at: store the new figure"
    );
}

#[test]
#[ignore = "counts a release build under valgrind: see the top of this file"]
fn a_request_and_a_death_cost_what_they_did() {
    if !can_count("cost::a_request_and_a_death_cost_what_they_did") {
        return;
    }
    let base = life(20, 0, 0);
    assert_near("a request", each(life(20, 400, 0), base, 400), REQUEST);
    // No worker dies twice.
    let base = life(100, 0, 0);
    assert_near("a death and its replacement", each(life(100, 0, 100), base, 100), DEATH);
}

#[test]
#[ignore = "counts a release build under valgrind: see the top of this file"]
fn who_is_one_of_many_costs_no_more() {
    if !can_count("cost::who_is_one_of_many_costs_no_more") {
        return;
    }
    let (few, some, many) = (life(50, 0, 0), life(100, 0, 0), life(600, 0, 0));
    let (here, there) = (each(some, few, 50), each(many, some, 500));
    println!("start and stop of a worker: {here} instructions among 100, {there} among 600");
    assert!(there * 4 <= here * 5, "start and stop cost {there} among 600 workers, {here} among 100");
    let (here, there) = (each(life(100, 0, 100), some, 100), each(life(600, 0, 100), many, 100));
    println!("a death and its replacement: {here} instructions among 100, {there} among 600");
    assert!(there * 4 <= here * 5, "a death costs {there} among 600 workers, {here} among 100");
}
