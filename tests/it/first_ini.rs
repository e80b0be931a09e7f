//! `circusd --init`: a first configuration that works, and that only its user can reach.

use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;

use crate::rig::{Circusd, Site, built, run};

fn mode(path: &std::path::Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn first_configuration_is_sound_and_private() {
    let site = Site::new();
    let next = site.run_circusd(&["--init", "here"]);
    assert_eq!((next.status, next.stderr.as_str()), (Some(0), ""), "{next:?}");
    let ini = site.path("here/circus.ini");
    assert_eq!((mode(&ini), mode(&site.path("here"))), (0o600, 0o700));
    let file = ini.to_str().unwrap();
    for line in [format!("circusd --check {file}"), format!("circusd --daemon {file}"), "circusctl status".to_owned()] {
        assert!(next.stdout.contains(&line), "{line} in {next:?}");
    }
    let check = site.run_circusd(&["--check", file]);
    assert_eq!((check.status, check.stdout.as_str()), (Some(0), "ok: 1 watcher, 0 sockets\n"), "{check:?}");
    // Nothing is overwritten, whatever stands there.
    let again = site.run_circusd(&["--init", "here"]);
    assert_eq!(again.status, Some(1));
    assert!(again.stderr.contains("is there already; --init overwrites nothing"), "{again:?}");
    std::fs::remove_file(&ini).unwrap();
    std::os::unix::fs::symlink(site.path("elsewhere"), &ini).unwrap();
    assert_eq!(site.run_circusd(&["--init", "here"]).status, Some(1));
    assert!(!site.path("elsewhere").exists(), "a link is not followed");
    std::fs::create_dir(site.path("open")).unwrap();
    std::fs::set_permissions(site.path("open"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let open = site.run_circusd(&["--init", "open"]);
    assert!(open.stderr.contains("others may write to it (mode 0777): chmod 755"), "{open:?}");
    assert_eq!(site.run_circusd(&["--init", "here/circus.ini/x"]).status, Some(1));
}

#[test]
fn what_it_says_next_works() {
    let site = Site::new();
    let next = site.run_circusd(&["--init", "."]);
    assert_eq!(next.status, Some(0), "{next:?}");
    let ini = site.path("circus.ini");
    let mut circusd = Circusd::start(site, &[ini.to_str().unwrap()]);
    for name in ["control", "events"] {
        assert_eq!(mode(&circusd.path(name)), 0o600, "{name}");
    }
    let mut command = circusd.command(built("circusctl"));
    let status = run(command.arg("status"));
    assert_eq!(status.stdout, "hello: active\n", "{status:?}");
    circusd.send(Signal::SIGTERM);
    circusd.wait_for_end();
}
