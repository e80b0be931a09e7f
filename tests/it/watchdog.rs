//! A service manager that waits for messages of circusd: `Type=notify` and `WatchdogSec` of systemd.

use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::rig::{Circusd, DEADLINE, Site};

/// The next message that is one of these words.
fn hears(manager: &UnixDatagram, word: &str) {
    let mut buffer = [0; 4096];
    loop {
        let count = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{word} was not heard: {error}"));
        if String::from_utf8_lossy(&buffer[..count]).lines().any(|line| line == word) {
            return;
        }
    }
}

#[test]
fn the_manager_hears_that_the_loop_turns() {
    let site = Site::new();
    let path = site.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let ini = site.ini("circus.ini", "[watcher:w]\ncmd = sleep 600\ncopy_env = yes\n");
    let mut command = site.circusd();
    command.arg(ini).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let mut circusd = Circusd::launch_by(site, command);
    hears(&manager, "READY=1");
    for _ in 0..3 {
        hears(&manager, "WATCHDOG=1");
    }
    // What is for circusd is not for its workers.
    let environment = circusd.workers("w")[0].environment();
    assert!(!environment.contains_key("WATCHDOG_USEC"), "{environment:?}");
    // The next program of the process goes on with it.
    assert_eq!(circusd.ctl(&["upgrade"]).1, Some(0));
    hears(&manager, "READY=1");
    for _ in 0..3 {
        hears(&manager, "WATCHDOG=1");
    }
    circusd.send(Signal::SIGTERM);
    circusd.wait_for_end();
    std::fs::remove_file(path).unwrap();
}
