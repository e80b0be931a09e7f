//! What outlives circusd: `enable`, `disable` and `remember`, with real programs.

use crate::rig::{Site, wait_until};

#[test]
fn what_an_operator_decides_outlives_circusd() {
    let site = Site::new();
    let state = site.path("state");
    let mut circusd = site.start(
        "[circus]
         state_file = {dir}/state
         [watcher:off]
         cmd = {knobs}
         [watcher:kept]
         cmd = {knobs}
         remember = yes
         [watcher:more]
         cmd = {knobs}
         remember = yes",
    );
    circusd.wait_for_workers("more", 1);
    assert_eq!(circusd.circusctl(&["disable", "off"]).stdout, "ok\n");
    assert_eq!(circusd.workers("off").len(), 1, "it runs on");
    let told = circusd.circusctl(&["status", "off", "--verbose"]).stdout;
    assert!(told.contains("disabled: it does not start with circusd"), "{told}");
    assert_eq!(circusd.ctl(&["stop", "kept", "--waiting"]).1, Some(0));
    assert_eq!(circusd.ctl(&["incr", "more", "--waiting"]).1, Some(0));
    circusd.quit();
    circusd.restart();
    circusd.wait_for_workers("more", 2);
    assert_eq!((circusd.status("off").as_str(), circusd.status("kept").as_str()), ("stopped", "stopped"));
    assert_eq!(circusd.details("off")["health"], "disabled");
    assert_eq!(circusd.details("kept")["health"], "stopped");
    // A start by name starts what is disabled, and leaves it so.
    assert_eq!(circusd.ctl(&["start", "off", "--waiting"]).1, Some(0));
    assert_eq!(circusd.details("off")["enabled"], false);
    assert_eq!(circusd.ctl(&["enable", "off"]).1, Some(0));
    assert_eq!(circusd.ctl(&["start", "kept"]).1, Some(0));
    assert_eq!(circusd.ctl(&["decr", "more", "--waiting"]).1, Some(0));
    circusd.quit();
    wait_until("with nothing to remember the file goes", || !state.exists());
}

#[test]
fn without_a_state_file_it_is_said_so() {
    let circusd = Site::new().start("[watcher:a]\ncmd = {knobs}\nremember = yes");
    let told = circusd.circusctl(&["disable", "a"]).stdout;
    assert_eq!(told.trim(), "ok, until circusd ends: [circus] has no state_file");
    let file = circusd.write("f.ini", "[watcher:a]\ncmd = sh\nremember = yes\n");
    let output = circusd.run_circusd(&["--check", file.to_str().unwrap()]);
    assert!(output.stdout.contains("remember: has no effect, as [circus] has no state_file"), "{output:?}");
}
