//! `httpd = yes`: circusd starts the console on a socket of its own.

use std::process::Command;

use crate::rig::{ADMIN, Rig, bearer, eventually, has_circusd, request};

/// The rest of `[circus]`, with the console at this address, and a watcher.
fn ini(httpd: &str) -> String {
    format!("{httpd}[watcher:web]\ncmd = sleep 1000\n")
}

/// The console's tokens are where its user's state is.
fn start(rig: &mut Rig) {
    let state = rig.path("state/circus");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::copy(rig.path("tokens"), state.join("console.tokens")).unwrap();
    rig.start_circusd_with(&[("XDG_STATE_HOME", rig.path("state"))]);
}

#[test]
fn circusd_keeps_the_console() {
    if !has_circusd("circusd_keeps_the_console") {
        return;
    }
    let mut rig = Rig::bare("");
    rig.configure(&ini(&format!("httpd = yes\nhttpd_host = 127.0.0.1\nhttpd_port = {}\n", rig.port)));
    start(&mut rig);
    eventually("the console answers", || (rig.ask("GET", "/healthz", &[], "").status == 200).then_some(()));
    let machine = rig.get("/api/machines")[0].clone();
    assert_eq!(machine["sockets"][0]["name"], "circushttpd");
    let console = || {
        let shown = request(
            rig.port,
            "GET",
            &format!("/api/machines/{}/watchers/circushttpd", name(&rig)),
            &[("Authorization", &bearer(ADMIN))],
            "",
        )
        .unwrap_or_default();
        shown.json()["processes"][0]["pid"].as_u64()
    };
    let first = eventually("its own watcher", console);
    assert!(Command::new("kill").args(["-KILL", &first.to_string()]).status().unwrap().success());
    let second = eventually("another console", || console().filter(|pid| *pid != first));
    // circusd is killed: the console ends, and leaves the address to the next one.
    rig.circusd.as_mut().unwrap().kill();
    eventually("the console has ended", || (!std::path::Path::new(&format!("/proc/{second}")).exists()).then_some(()));
    rig.circusd = None;
    start(&mut rig);
    eventually("the next console answers", || (rig.ask("GET", "/healthz", &[], "").status == 200).then_some(()));
    // It comes and goes with the file.
    rig.configure(&ini(""));
    let reload = format!("/api/machines/{}/actions/reloadconfig", name(&rig));
    drop(rig.post(ADMIN, &reload, &serde_json::json!({"waiting": false})));
    eventually("there is no console", || (rig.ask("GET", "/healthz", &[], "").status == 0).then_some(()));
}

/// What the console calls the machine.
fn name(rig: &Rig) -> String {
    let machines = rig.ask("GET", "/api/machines", &[("Authorization", &bearer(ADMIN))], "").json();
    machines[0]["name"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_console_that_is_not_installed_is_named() {
    if !has_circusd("a_console_that_is_not_installed_is_named") {
        return;
    }
    let rig = Rig::bare(&ini("httpd = yes\n"));
    std::fs::copy(crate::rig::program("circusd"), rig.path("circusd")).unwrap();
    let done = Command::new(rig.path("circusd")).arg("--check").arg(rig.path("circus.ini")).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("[circus] httpd: there is no ") && said.contains("circus-console"), "{said}");
}
