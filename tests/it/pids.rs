//! Few pids, as in a small container: the kernel gives each of them again and again, and circusd signals no process but its
//! own. `kernel.pid_max` belongs to the pid namespace (since Linux 6.14; before, it is the machine's, and these tests leave it alone).

use crate::rig::{Site, run, skipped};

/// Runs a script as PID 1 of a namespace with few pids; it prints `ok` at its end.
#[track_caller]
fn with_few_pids(test: &str, site: &Site, script: &str) {
    if crate::survivors::kernel() < (6, 14) {
        return skipped(test, "kernel.pid_max is the machine's before Linux 6.14");
    }
    let script = format!(
        "echo 400 >/proc/sys/kernel/pid_max
         start() {{ \"$CIRCUSD\" circus.ini >>circusd.log 2>&1 & daemon=$!; }}
         {script}
         echo ok"
    );
    let mut command = site.command("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
    command.env("CIRCUSD", env!("CARGO_BIN_EXE_circusd")).env("CTL", crate::rig::built("circusctl"));
    let output = run(&mut command);
    assert!(output.stdout.ends_with("ok\n"), "{output:?}\n{}", site.read("circusd.log"));
}

/// circusd and its worker are killed, and another process gets the pid of the worker. The next circusd finds this pid in its
/// state file.
#[test]
#[ignore = "needs root"]
fn process_with_the_pid_of_a_dead_worker_is_not_touched() {
    for on_orphans in ["end", "adopt"] {
        let site = Site::new();
        site.ini(
            "circus.ini",
            &format!(
                "[circus]
                 state_file = {{dir}}/state
                 on_orphans = {on_orphans}
                 [watcher:w]
                 cmd = /bin/sleep 1000"
            ),
        );
        with_few_pids(
            "pids::process_with_the_pid_of_a_dead_worker_is_not_touched",
            &site,
            "for round in 1 2 3 4 5; do
                 start
                 until grep -q '\"pid\":' state 2>/dev/null; do sleep 0.01; done
                 worker=$(sed 's/.*\"pid\":\\([0-9]*\\),.*/\\1/;q' state)
                 kill -KILL $daemon; wait $daemon
                 kill -KILL $worker
                 while kill -0 $worker 2>/dev/null; do sleep 0.01; done
                 # /proc tells the start of a process in ticks of 10 ms, and this one must be of another tick.
                 sleep 0.02
                 while :; do
                     echo $((worker - 1)) >/proc/sys/kernel/ns_last_pid
                     sleep 1000 & foreign=$!
                     [ $foreign = $worker ] && break
                     kill -KILL $foreign; wait $foreign
                 done
                 : >circusd.log
                 start
                 until grep -q 'Arbiter now waiting for commands' circusd.log; do sleep 0.01; done
                 \"$CTL\" stop --waiting w >/dev/null || exit 1
                 \"$CTL\" quit --waiting >/dev/null || exit 1
                 wait $daemon
                 kill -0 $foreign || { echo \"the process with the pid $foreign was ended\"; exit 1; }
                 kill -KILL $foreign; wait $foreign
             done",
        );
    }
}

/// Workers with children of all kinds are restarted without end, while others start processes as fast as they can: each pid
/// has come round many times. None of the others is hit.
#[test]
#[ignore = "needs root"]
fn pids_that_come_round_are_never_hit() {
    let site = Site::new();
    site.ini(
        "circus.ini",
        "[watcher:w]
         cmd = {knobs} child 'session ignore say ready' child 'say ready' child 'ignore say ready' say ready
         numprocesses = 3
         graceful_timeout = 0.05
         min_uptime = 0
         stdout_stream.filename = {dir}/w.log",
    );
    with_few_pids(
        "pids::pids_that_come_round_are_never_hit",
        &site,
        "storm() {
             while [ ! -e over ]; do
                 sleep 0.003 & wait $! || echo \"one was ended with $?\" >>hits
                 echo >>storm.$1
             done
         }
         start
         until grep -q 'Arbiter now waiting for commands' circusd.log; do sleep 0.01; done
         storm 1 & first=$!
         storm 2 & second=$!
         storm 3 & third=$!
         until [ $(cat storm.* | wc -l) -gt 3000 ]; do \"$CTL\" restart --waiting w >/dev/null || exit 1; done
         : >over
         wait $first $second $third
         \"$CTL\" quit --waiting >/dev/null || exit 1
         wait $daemon
         ! cat hits 2>/dev/null || exit 1",
    );
}
