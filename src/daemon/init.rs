//! `circusd --init DIR`: a first configuration, whose endpoints only its user can reach.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::config::{Host, Origin};
use crate::sys;

/// The longest path of a Unix socket that the kernel takes, without the NUL behind it.
const LONGEST: usize = 107;

/// Writes the configuration; the result is what to run next.
pub(super) fn init(directory: &Path, host: &Host) -> Result<String, String> {
    let absolute = std::path::absolute(Path::new(&host.cwd).join(directory));
    let absolute = absolute.map_err(|error| format!("{}: {error}", directory.display()))?;
    let path = plain(&absolute)?;
    make(&absolute)?;
    let text = text(path, nix::unistd::geteuid().is_root());
    check(path, &text, host)?;
    let file = absolute.join("circus.ini");
    let wrong = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!("{} is there already; --init overwrites nothing", file.display()),
        _ => format!("{}: {error}", file.display()),
    };
    let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).map_err(wrong)?;
    made.write_all(text.as_bytes()).map_err(wrong)?;
    Ok(format!(
        "{path}/circus.ini is written. Next:\n  circusd --check {path}/circus.ini\n  circusd --daemon {path}/circus.ini\n  \
         export CIRCUSCTL_ENDPOINT=ipc://{path}/control\n  circusctl status\n"
    ))
}

/// The path, where it means itself in an INI file, in an endpoint and to a shell.
fn plain(path: &Path) -> Result<&str, String> {
    let text = path.to_str().filter(|text| text.chars().all(|c| c.is_alphanumeric() || "/._-+@".contains(c)));
    let text = text.ok_or_else(|| {
        format!("{:?}: choose a path of letters, digits and . _ - + @, since it becomes part of endpoints", path)
    })?;
    let longest = LONGEST - "/control".len();
    if text.len() > longest {
        return Err(format!("{text}: choose a path of at most {longest} bytes, since sockets have no longer names"));
    }
    Ok(text.trim_end_matches('/'))
}

/// circusd itself must find nothing wrong with it.
fn check(path: &str, text: &str, host: &Host) -> Result<(), String> {
    let origin = Origin::Text { name: format!("{path}/circus.ini"), text: text.to_owned() };
    let loaded = origin.load(host, &sys::Machine);
    let problems: Vec<String> = loaded.problems.iter().chain(&loaded.of_user).map(ToString::to_string).collect();
    if loaded.config.is_some() && problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// A directory that no other user can write to: it could put another socket in the place of circusd's.
fn make(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(format!("{shown}: the directory cannot be made: {error}")),
    }
    let data = path.metadata().map_err(|error| format!("{shown}: {error}"))?;
    if !data.is_dir() {
        return Err(format!("{shown}: it is no directory"));
    }
    if data.uid() != nix::unistd::geteuid().as_raw() {
        return Err(format!("{shown}: it belongs to uid {}; choose a directory of your own", data.uid()));
    }
    if data.mode() & 0o022 != 0 {
        return Err(format!("{shown}: others may write to it (mode {:04o}): chmod 755 {shown}", data.mode() & 0o7777));
    }
    Ok(())
}

fn text(path: &str, is_root: bool) -> String {
    let user = if is_root { "; circusd runs as root; what it starts need not.\nuid = nobody\n" } else { "" };
    format!(
        "\
; The configuration of circusd. circus.ini(5) explains every key; `circusd --check` reports mistakes.

[circus]
; Where circusctl reaches circusd. The socket file has mode 0600: its owner and root alone control circusd.
endpoint = ipc://{path}/control
; Where circusd publishes events.
pubsub_endpoint = ipc://{path}/events
pidfile = {path}/circusd.pid
; Figures of every process for circus-top, published here:
;statsd = yes
;stats_endpoint = ipc://{path}/stats
; What is set with circusctl outlives circusd:
;state_file = {path}/state
; Other machines reach circusd with keys only: docs/security.md.

; A program that circusd keeps running.
[watcher:hello]
cmd = sh -c \"while sleep 5; do echo hello; done\"
numprocesses = 1
{user}stdout_stream.class = FileStream
stdout_stream.filename = {path}/hello.log
stdout_stream.max_bytes = 1000000
stdout_stream.backup_count = 3

; Four workers that accept on one socket, which circusd opens and keeps:
;[socket:web]
;host = 127.0.0.1
;port = 8080
;
;[watcher:web]
;cmd = /srv/web/serve --fd $(circus.sockets.web)
;use_sockets = yes
;numprocesses = 4
;copy_env = yes
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_themselves() {
        assert_eq!(plain(Path::new("/srv/my-app/")), Ok("/srv/my-app"));
        for path in ["/srv/my app", "/srv/a;b", "/srv/$(x)", "/srv/a\nb", "/srv/'"] {
            assert!(plain(Path::new(path)).unwrap_err().contains("choose a path of letters"), "{path}");
        }
        let long = format!("/{}", "a".repeat(99));
        assert!(plain(Path::new(&long)).unwrap_err().contains("at most 99 bytes"));
        assert!(plain(Path::new(&long[..99])).is_ok());
    }

    #[test]
    fn every_key_that_is_offered_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        for is_root in [false, true] {
            // What stands behind a single semicolon is offered; sentences have a blank there.
            let all: String = text(path, is_root)
                .lines()
                .map(|line| match line.strip_prefix(';') {
                    Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
                    _ => format!("{line}\n"),
                })
                .collect();
            check(path, &text(path, is_root), &Host::default()).unwrap();
            let origin = Origin::Text { name: "x".into(), text: all };
            let loaded = origin.load(&Host::default(), &sys::Machine);
            let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
            // The program of the example is not there.
            assert!(problems.iter().all(|problem| problem.contains("/srv/web/serve")), "{problems:?}");
        }
    }
}
