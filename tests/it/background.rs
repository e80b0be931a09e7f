//! `circusd --daemon`.

use nix::sys::signal::Signal;

use crate::rig::{Process, Site, wait_until};

/// The daemon that the site's pidfile names.
fn daemon(site: &Site) -> Process {
    Process(site.read("circusd.pid").trim().parse().unwrap())
}

#[track_caller]
fn assert_ends(site: &Site, daemon: Process) {
    daemon.send(Signal::SIGTERM);
    wait_until("the daemon has ended", || !daemon.lives());
    assert_eq!(site.inhabitants(), []);
}

#[test]
fn when_the_caller_ends_the_daemon_works() {
    let site = Site::new();
    let ini = site.ini("circus.ini", "[watcher:w]\ncmd = {knobs}\n");
    // Until its streams are closed: they would stay open if the daemon held them.
    let output = site.run_circusd(&["--daemon", ini.to_str().unwrap()]);
    assert_eq!((output.status, output.stdout.as_str()), (Some(0), ""));
    let warning = "--daemon: the log goes to standard error, which is /dev/null once the daemon is ready";
    assert!(output.stderr.lines().count() == 1 && output.stderr.contains(warning), "{output:?}");
    let daemon = daemon(&site);
    assert!(daemon.lives());
    let null = |fd: i32| daemon.fds().get(&fd).is_some_and(|file| file.ends_with("null"));
    assert!((0..3).all(null), "{:?}", daemon.fds());
    let status = site.circusctl(&["status"]);
    assert!(status.stdout.starts_with("w: "), "{status:?}");
    assert_ends(&site, daemon);
}

#[test]
fn the_caller_says_why_the_daemon_does_not_start() {
    let site = Site::new();
    let ini = site.ini("circus.ini", "[watcher:w]\ncmd = {knobs}\n");
    let other = site.ini("other.ini", "[circus]\npidfile =\n[watcher:w]\ncmd = {knobs}\n");
    let wrong = site.ini("wrong.ini", "[circus]\ncheck_delay = soon\n[watcher:w]\ncmd = {knobs}\n");
    assert_eq!(site.run_circusd(&["--daemon", ini.to_str().unwrap()]).status, Some(0));
    let daemon = daemon(&site);
    let number = daemon.0;
    for (ini, stdout, stderr) in [
        (&ini, format!("running circusd, pid {number}"), format!("running circusd, pid {number}")),
        (&other, String::new(), format!("cannot be bound: circusd (pid {number}")),
        (&wrong, String::new(), "wrong.ini:2: error: [circus] check_delay: ".to_owned()),
    ] {
        let output = site.run_circusd(&["--daemon", ini.to_str().unwrap()]);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert!(output.stdout.contains(&stdout) && output.stdout.is_empty() == stdout.is_empty(), "{output:?}");
        assert!(output.stderr.contains(&stderr), "{output:?}");
    }
    assert_ends(&site, daemon);
}

#[test]
fn warnings_reach_the_caller_and_the_log_gets_everything() {
    let site = Site::new();
    let ini = site.ini("circus.ini", "[circus]\nlogoutput = {dir}/log\n[watcher:w]\ncmd = {knobs}\ncolour = blue\n");
    let ini = ini.to_str().unwrap();
    let output = site.run_circusd(&["--daemon", "--log-output", "-", ini]);
    assert!(output.stderr.contains("[WARNING]") && output.stderr.contains("'colour'"), "{output:?}");
    assert!(!output.stderr.contains("[INFO]"), "{output:?}");
    assert_ends(&site, daemon(&site));

    let output = site.run_circusd(&["--daemon", ini]);
    assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""));
    let daemon = daemon(&site);
    wait_until("the daemon logs its pid", || {
        site.read("log").contains(&format!("Starting master on pid {}", daemon.0))
    });
    assert!(site.read("log").contains("'colour'"), "{}", site.read("log"));
    assert_ends(&site, daemon);
}
