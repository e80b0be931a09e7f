//! Does the simulator bite? Each of these bugs is planted into a copy of the core, and must be found.
//!
//! `cargo test --test planted -- --ignored` takes some minutes: each bug is a build of its own. `CIRCUS_PLANTED=1/4` plants
//! every fourth bug only, from the second one on.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it runs cargo, and reads cargo's own variables"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A bug: what it is called, the file of the core, the line that is right, and what it is replaced by.
const BUGS: [(&str, &str, &str, &str); 48] = [
    (
        "a death that was asked for gives no reap",
        "lifecycle/exit.rs",
        "    let info = ExitInfo { pid, wid,",
        "    if worker.exit_expected {\n        return Some(worker);\n    }\n    let info = ExitInfo { pid, wid,",
    ),
    (
        "one process too many is launched",
        "lifecycle/reconcile.rs",
        "for _ in 0..missing.min(room) {",
        "for _ in 0..=missing.min(room) {",
    ),
    (
        "a timer is left when a worker has gone",
        "lifecycle/exit.rs",
        "    cx.timers.cancel(Timer::Kill(id));\n    cx.timers.cancel(Timer::Expire(id));\n    let info",
        "    let info",
    ),
    ("a wid is used twice", "fleet/slots.rs", "self.free.pop_first()", "self.free.first().copied()"),
    (
        "a cancelled request is not answered",
        "operate/queue.rs",
        "cx.notify(operation.waiters, None, Some(&Fault::command(reason)));",
        "let _ = (reason, cx);",
    ),
    (
        "an early death is not counted",
        "fleet/slots.rs",
        "history.early_deaths = history.early_deaths.saturating_add(1);",
        "history.early_deaths = 1;",
    ),
    ("a crash loop slower than min_uptime is not slowed", "fleet/slots.rs", "        lives.push_back(lived);\n", ""),
    (
        "the waits of a slow crash loop do not grow",
        "lifecycle/exit.rs",
        "        w.slots.lived_for_min_uptime(worker.wid);\n",
        "        w.slots.forget_exits(worker.wid);\n",
    ),
    ("a stop waits its turn", "operate/queue.rs", "if new.overtakes() {", "if new.overtakes() && running.is_none() {"),
    (
        "SIGKILL never follows",
        "core.rs",
        "self.with(worker.watcher, now, |w, cx| terminate::overdue(w, worker, cx));",
        "self.timers.set(Timer::Kill(worker), Mono(now.mono.0 + 1_000_000_000));",
    ),
    (
        "of many deaths at once only the first is seen",
        "core.rs",
        "exits\n            .iter()\n            .filter_map(",
        "exits\n            .iter()\n            .take(1)\n            .filter_map(",
    ),
    (
        "a stop leaves the timers of the slots that wait",
        "lifecycle/stop.rs",
        "    for wid in w.slots.clear() {\n        cx.timers.cancel(Timer::Retry(w.key, wid));\n    }",
        "    w.slots.clear();",
    ),
    (
        "a surplus worker that will not go keeps a slot",
        "lifecycle/reconcile.rs",
        "w.change(id, |worker| worker.retiring = true);",
        "",
    ),
    (
        "a restart forgets to start",
        "operate/advance.rs",
        "OperationKind::Restart if operation.progress == Progress::Stopping && !on_demand => {",
        "OperationKind::Restart if operation.progress == Progress::Retiring && !on_demand => {",
    ),
    (
        "the end comes before all workers have gone",
        "operate/shutdown.rs",
        "self.stop_in_order(Stops { keys: self.fleet.keys(), ..Stops::default() }, Some(job));",
        "self.job_part_done(job, None, None);",
    ),
    (
        "the next tier does not wait for the one before",
        "operate/schedule.rs",
        "let next = walk.order.next_down(&walk.under_way);",
        "let next = walk.order.keys.clone();",
    ),
    (
        "a stop forgets a process that is on its way",
        "lifecycle/launch.rs",
        "    if stop_pending {\n        terminate::by_policy(",
        "    if stop_pending && cx.now.unix < 0.0 {\n        terminate::by_policy(",
    ),
    (
        "a watcher that sleeps does not hear a connection",
        "lifecycle/activation.rs",
        "WatcherState::Stopped => watcher.config.autostart,",
        "WatcherState::Stopped => false,",
    ),
    (
        "a connection that no worker accepts makes a crash loop",
        "lifecycle/activation.rs",
        "    activation.rests_until = activation.rests_until.max(Some(cx.mono().after(rest)));\n",
        "",
    ),
    (
        "a start of all watchers wakes those that sleep",
        "operate/schedule.rs",
        "let waits = which == Which::AsAtBoot && fleet",
        "let waits = which == Which::All && fleet",
    ),
    (
        "a worker that has succeeded is replaced",
        "lifecycle/exit.rs",
        "Respawn::OnFailure => exit_expected || !w.is_success(exit_code),",
        "Respawn::OnFailure => true,",
    ),
    (
        "a replaced watcher is asked to stop as its new configuration says",
        "requests/reloadconfig.rs",
        "                watcher.set_stop_policy((watcher.state != WatcherState::Stopped).then(|| watcher.stop_policy()));\n",
        "",
    ),
    (
        "a watcher starts beside a removed one of its name",
        "operate/advance.rs",
        "if idle && !w.predecessors.is_empty() && ",
        "if idle && w.predecessors.len() > 9 && ",
    ),
    (
        "the file is compared with what set made of a watcher",
        "fleet/watcher.rs",
        "self.in_file.as_ref().unwrap_or(&self.config)",
        "self.in_file.as_ref().map_or(&self.config, |_| &self.config)",
    ),
    (
        "a process is started before its hook has returned true",
        "lifecycle/reconcile.rs",
        "if w.hooks.bar_launches() || w.awaits_replacement() {",
        "if (w.hooks.bar_launches() && cx.now.unix < 0.0) || w.awaits_replacement() {",
    ),
    (
        "a signal that its hook keeps back is sent",
        "lifecycle/signals.rs",
        "let allowed = yes || signal == Signal::KILL;",
        "let allowed = yes || signal.0 > 0;",
    ),
    (
        "a watcher that has stopped has hooks under way",
        "lifecycle/purpose.rs",
        "self.any(|purpose| !matches!(purpose, Purpose::ExtendedStats { .. }))",
        "self.any(|purpose| matches!(purpose, Purpose::AfterStop | Purpose::BeforeStop))",
    ),
    ("a launch under way is forgotten at a hand-over", "resume.rs", "                launch_again(w, cx);\n", ""),
    (
        "figures that are being looked up are forgotten at a hand-over",
        "resume.rs",
        "        self.outbox.actions.extend(self.pending_stats.sample_again());\n",
        "",
    ),
    (
        "a hook under way is only waited for after a hand-over",
        "resume.rs",
        "                run_hooks_again(w, cx);\n",
        "",
    ),
    (
        "a command of a stream is not started again",
        "lifecycle/sink_commands.rs",
        "                cx.outbox.act(Action::StartSinkCommand(id));\n",
        "",
    ),
    (
        "a watcher starts before the one that it requires",
        "operate/advance.rs",
        "        && operation.waits_for_others(w)\n",
        "        && cx.now.unix < 0.0\n        && operation.waits_for_others(w)\n",
    ),
    (
        "what was stopped along is not started again, nor held back",
        "operate/walk.rs",
        "if along.contains(&key) { Reason::Along } else { Reason::Requested }",
        "if along.contains(&key) { Reason::Requested } else { Reason::Along }",
    ),
    (
        "a run that has succeeded is tried again",
        "lifecycle/runs.rs",
        "    let has_succeeded = w.is_success(exit_code);",
        "    let has_succeeded = w.is_success(exit_code) && w.history.restarts % 2 == 1;",
    ),
    (
        "a run that fails is tried once more than max_retry",
        "lifecycle/runs.rs",
        "i64::from(failures) < config.max_retry",
        "i64::from(failures) <= config.max_retry",
    ),
    (
        "a run that was stopped counts as a success",
        "lifecycle/runs.rs",
        "        Run { .. } => RunResult::Stopped,",
        "        Run { .. } => RunResult::Success,",
    ),
    (
        "a run that waits in the queue is forgotten",
        "lifecycle/runs.rs",
        "        cx.follow_ups.push_back(FollowUp::RunNext(w.key));\n",
        "",
    ),
    (
        "a clock that is set moves intervals",
        "lifecycle/cron.rs",
        "                Some(next) if !next.is_by_wall => {",
        "                Some(next) if !next.is_by_wall && next.at < 0.0 => {",
    ),
    (
        "a schedule is not set again after a run",
        "lifecycle/cron.rs",
        "            Step::Skip | Step::Queue => {}\n        }\n        self.update_schedule(key, now);",
        "            Step::Skip | Step::Queue => {}\n        }",
    ),
    (
        "a Python that hangs is given more hooks",
        "lifecycle/python_hosts.rs",
        "        host.retiring |= retires;\n",
        "        host.retiring |= retires && host.under_way.is_empty();\n",
    ),
    (
        "the time of too many workers goes on when their number changes",
        "requests/change.rs",
        "            w.scaler.low = None;\n",
        "",
    ),
    (
        "a watcher runs on without the one that it requires",
        "operate/dependence.rs",
        "            self.stop_along(once(key).collect_set());\n",
        "",
    ),
    (
        "a watcher stops under an open connection",
        "lifecycle/idle.rs",
        "            Ok(0) if last => {",
        "            Ok(_) if last => {",
    ),
    (
        "an idle watcher does not hear a connection",
        "lifecycle/activation.rs",
        "                self.is_busy(key, now);\n",
        "",
    ),
    (
        "what is remembered is not written down",
        "requests/remember.rs",
        "        if before.unwrap_or_default() != memory && self.is_lasting() {",
        "        if before.is_some_and(|before| before != memory) && self.is_lasting() {",
    ),
    (
        "a stop leaves the schedule",
        "lifecycle/cron.rs",
        "(w.runs.armed, w.runs.since, w.runs.follows) = (false, None, None);",
        "(w.runs.since, w.runs.follows) = (None, None);",
    ),
    (
        "fewer workers stay at once",
        "lifecycle/scale.rs",
        "    if now.since(since) < down_after {\n        return None;\n    }\n",
        "    let _ = (since, down_after);\n",
    ),
    (
        "a busy worker is told to stop",
        "lifecycle/drain.rs",
        "    w.scaler.drain.busy.insert(id);\n",
        "    retire(w, vec![id], cx);\n",
    ),
];

/// The folder of this package.
fn core() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The top of the workspace.
fn top() -> PathBuf {
    core().join("../..")
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A workspace with a copy of this package alone. It builds in our target directory, where its dependencies are built.
fn copy_of_the_core(to: &Path) {
    copy_tree(&core().join("src"), &to.join("crates/core/src"));
    copy_tree(&core().join("tests/sim"), &to.join("crates/core/tests/sim"));
    // Files of other packages that the core includes: the bridges to Python.
    copy_tree(&top().join("python/bridges"), &to.join("python/bridges"));
    std::fs::copy(core().join("Cargo.toml"), to.join("crates/core/Cargo.toml")).unwrap();
    std::fs::copy(top().join("Cargo.lock"), to.join("Cargo.lock")).unwrap();
    let manifest = std::fs::read_to_string(top().join("Cargo.toml")).unwrap();
    let from = manifest.find("[workspace.package]").expect("Cargo.toml has [workspace.package]");
    let end = manifest.find("\n[package]").expect("Cargo.toml has [package]");
    // The other packages of the workspace are not there.
    let shared: Vec<&str> = manifest[from..end].lines().filter(|line| !line.contains("path = ")).collect();
    let text = format!("[workspace]\nmembers = [\"crates/core\"]\nresolver = \"3\"\n\n{}\n", shared.join("\n"));
    std::fs::write(to.join("Cargo.toml"), text).unwrap();
}

/// All bugs, or with `CIRCUS_PLANTED=K/N` every Nth from the Kth, counted from 0.
fn bugs_to_plant() -> Vec<&'static (&'static str, &'static str, &'static str, &'static str)> {
    let part = std::env::var("CIRCUS_PLANTED").unwrap_or_else(|_| "0/1".into());
    let numbers = part.split_once('/').and_then(|(k, n)| Some((k.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    let (first, step) = numbers.filter(|(k, n)| k < n).expect("CIRCUS_PLANTED is K/N, with K from 0 to N - 1");
    BUGS.iter().skip(first).step_by(step).collect()
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top().join("target"), PathBuf::from)
}

/// Builds the simulator of this copy, and takes it out of cargo's way: the next build has the same name.
fn build(folder: &Path, simulator: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(folder).args(["test", "--offline", "--test", "sim", "--no-run", "--message-format=json"]);
    cargo.env("CARGO_TARGET_DIR", target());
    // What cargo sets for this package is not right for that one, and would build what looks at it anew, and again for the
    // next build.
    let is_own = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "OUT_DIR"].iter().any(|start| name.starts_with(start));
    for (name, _) in std::env::vars().filter(|(name, _)| is_own(name)) {
        cargo.env_remove(name);
    }
    // Where it panicked is of no interest.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "none");
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "the bug does not build: {}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8(built.stdout).unwrap();
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    };
    std::fs::rename(messages.lines().find_map(executable).unwrap(), simulator).unwrap();
}

/// Runs a simulator; whether it found something.
fn finds_something(simulator: &Path, seeds: &str) -> bool {
    let mut command = Command::new(simulator);
    command.current_dir(core()).env("CIRCUS_SIM_SEEDS", seeds).env("RUST_BACKTRACE", "0");
    !command.output().unwrap().status.success()
}

#[test]
fn every_bug_can_be_planted() {
    for (name, file, right, _) in BUGS {
        let sound = std::fs::read_to_string(core().join("src/arbiter").join(file)).unwrap();
        assert_eq!(sound.matches(right).count(), 1, "{name}: its line is not, or not once, in {file}");
    }
}

#[test]
#[ignore = "takes minutes; .ci/run runs it"]
fn every_planted_bug_is_found_within_two_thousand_seeds() {
    let (folder, simulators) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in(target()).unwrap());
    copy_of_the_core(folder.path());
    // One bug is built while the simulator looks for another.
    let (next, missed, copy) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(folder.path()));
    let bugs = bugs_to_plant();
    std::thread::scope(|scope| {
        for place in ["one", "other"] {
            let simulator = simulators.path().join(place);
            let (next, missed, copy, bugs) = (&next, &missed, &copy, &bugs);
            scope.spawn(move || {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    build_with(bug, &copy.lock().unwrap(), &simulator);
                    let found = finds_something(&simulator, "2000");
                    println!("{}: {}", if found { "found" } else { "MISSED" }, bug.0);
                    if !found {
                        missed.lock().unwrap().push(bug.0);
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found within 2000 seeds: {missed:?}");
    let simulator = simulators.path().join("sound");
    build(folder.path(), &simulator);
    assert!(!finds_something(&simulator, "300"), "the simulator finds something without any bug planted");
}

/// Plants a bug into this copy of the core, and builds its simulator.
fn build_with((name, file, right, wrong): &(&str, &str, &str, &str), folder: &Path, simulator: &Path) {
    let path = folder.join("crates/core/src/arbiter").join(file);
    let sound = std::fs::read_to_string(&path).unwrap();
    assert_eq!(sound.matches(right).count(), 1, "{name}: its line is not, or not once, in {file}");
    std::fs::write(&path, sound.replace(right, wrong)).unwrap();
    build(folder, simulator);
    std::fs::write(&path, sound).unwrap();
}
