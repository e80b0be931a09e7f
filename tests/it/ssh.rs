//! `circusctl --ssh`, with a script in the place of ssh: nothing here leaves the machine.

use std::io::copy;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::rig::{Process, Site, built, run, wait_for, wait_until};

/// Puts a program called ssh into the site: a shell script.
fn install(site: &Site, script: &str) {
    let path = site.write("ssh", &format!("#!/bin/sh\necho \"$@\" > {{dir}}/arguments\n{script}\n"));
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// One that forwards: this test binary again, as [`forward`].
fn install_forwarding(site: &Site) {
    let test = std::env::current_exe().unwrap();
    install(
        site,
        &format!(
            "for word; do case $word in /*:/*) echo \"$word\" > {{dir}}/forward ;; esac; done\n\
             echo $$ > {{dir}}/ssh.process\n\
             exec '{}' ssh::forward --exact --ignored --nocapture",
            test.display()
        ),
    );
}

#[test]
#[ignore = "is no test but the ssh of the others"]
fn forward() {
    // In the directory of the site, as circusctl and so ssh is.
    let Ok(words) = std::fs::read_to_string("forward") else { return };
    let (here, there) = words.trim().split_once(':').unwrap();
    let listener = UnixListener::bind(here).unwrap();
    for near in listener.incoming() {
        let (near, far) = (near.unwrap(), UnixStream::connect(there).unwrap());
        let (mut near2, mut far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let (mut near, mut far) = (near, far);
        std::thread::spawn(move || copy(&mut near, &mut far));
        std::thread::spawn(move || copy(&mut far2, &mut near2));
    }
}

fn circusctl(site: &Site, args: &[&str]) -> Command {
    let mut command = site.command(built("circusctl"));
    command.env("PATH", format!("{}:/usr/bin:/bin", site.path("").display())).env("TMPDIR", site.path("tmp"));
    std::fs::create_dir_all(site.path("tmp")).unwrap();
    command.args(["--ssh", "me@far:2222", "--ssh_keyfile", "key"]).args(args);
    command
}

fn ssh(site: &Site) -> Process {
    wait_for("ssh was started", || site.read("ssh.process").trim().parse().ok().map(Process))
}

#[test]
fn commands_go_through_and_nothing_is_left() {
    let circusd = Site::new().start("[watcher:web]\ncmd = {knobs}");
    install_forwarding(&circusd);
    let output = run(&mut circusctl(&circusd, &["status"]));
    assert_eq!((output.status, output.stdout.as_str()), (Some(0), "web: active\n"), "{output:?}");
    let words = circusd.read("arguments");
    assert!(words.starts_with("-N -T -o BatchMode=yes"), "{words}");
    assert!(words.ends_with(&format!(":{} -i key -p 2222 me@far\n", circusd.path("control").display())), "{words}");
    let ssh = ssh(&circusd);
    wait_until("ssh has ended", || !ssh.lives());
    assert_eq!(std::fs::read_dir(circusd.path("tmp")).unwrap().count(), 0);
}

#[test]
fn the_shell_opens_one_way_for_all_its_commands() {
    let circusd = Site::new().start("[watcher:web]\ncmd = {knobs}");
    install_forwarding(&circusd);
    let input = circusd.write("commands", "numwatchers\nstatus web\n");
    let mut command = circusctl(&circusd, &[]);
    let output = run(command.stdin(std::fs::File::open(input).unwrap()));
    assert!(output.stdout.contains("(circusctl) 1\n(circusctl) active\n"), "{output:?}");
    assert_eq!(output.status, Some(0));
}

#[test]
fn ssh_ends_with_circusctl_however_that_ends() {
    let circusd = Site::new().start("[watcher:web]\ncmd = {knobs}");
    install_forwarding(&circusd);
    let endpoint = circusd.pubsub_endpoint();
    let mut command = circusctl(&circusd, &["listen", "--endpoint", &endpoint]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let ssh = ssh(&circusd);
    wait_until("the way is open", || {
        std::fs::read_dir(circusd.path("tmp")).unwrap().count() == 0
            && ssh.argv().iter().any(|word| word == "ssh::forward")
    });
    Process(child.id() as i32).send(Signal::SIGKILL);
    child.wait().unwrap();
    wait_until("ssh has ended", || !ssh.lives());
}

#[test]
fn failures_are_told() {
    let site = Site::new();
    let output = run(circusctl(&site, &["status"]).env("PATH", "/nonexistent"));
    let missing =
        "error: --ssh: ssh cannot be started: [Errno 2] No such file or directory. Is the OpenSSH client installed";
    assert_eq!(output.status, Some(1));
    assert!(output.stderr.starts_with(missing), "{output:?}");

    install(&site, "echo 'me@far: Permission denied (publickey).' >&2; exit 255");
    let output = run(&mut circusctl(&site, &["status"]));
    let told = "me@far: Permission denied (publickey).\n\
                error: --ssh: ssh to me@far:2222 ended with status 255; see its message above\n";
    assert_eq!((output.status, output.stderr.as_str()), (Some(1), told));
    assert_eq!(std::fs::read_dir(site.path("tmp")).unwrap().count(), 0);

    let output = run(circusctl(&site, &["status", "--endpoint", "ipc://relative"]).stdin(Stdio::null()));
    assert!(output.stderr.contains("ipc://relative cannot be forwarded"), "{output:?}");
}

#[test]
fn circus_top_goes_the_same_way() {
    let circusd = Site::new().start("[circus]\nstats_endpoint = ipc://{dir}/stats\n[watcher:web]\ncmd = {knobs}");
    circusd.wait_for_workers("circusd-stats", 1);
    install_forwarding(&circusd);
    std::fs::create_dir_all(circusd.path("tmp")).unwrap();
    let at = |name: &str| format!("ipc://{}", circusd.path(name).display());
    let mut command = circusd.command(built("circus-top"));
    command.env("PATH", format!("{}:/usr/bin:/bin", circusd.path("").display())).env("TMPDIR", circusd.path("tmp"));
    command.args(["--once", "--ssh", "me@far", "--control", &at("control"), "--endpoint", &at("stats")]);
    let output = run(command.args(["--pubsub", &at("events")]));
    assert_eq!(output.status, Some(0), "{output:?}");
    assert!(output.stdout.lines().any(|line| line.starts_with("web ") && line.contains("1/1")), "{}", output.stdout);
    assert!(circusd.read("arguments").ends_with(" me@far\n"));
    wait_until("no ssh is left", || {
        let is_ssh = |process: &Process| process.argv().iter().any(|word| word == "ssh::forward");
        !circusd.inhabitants().iter().any(is_ssh)
    });
    assert_eq!(std::fs::read_dir(circusd.path("tmp")).unwrap().count(), 0);
}
