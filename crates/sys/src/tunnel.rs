//! `--ssh`: a way to an endpoint of another machine, through the system's ssh client.
//!
//! ssh listens at a socket in a directory of ours and forwards what connects. A port of the loopback would do too, and
//! would be open to every user of this machine. As soon as it listens we hold the socket by a descriptor and take its
//! name away, so that nothing is left behind however our program ends; and the kernel ends ssh with us.

use std::fs;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkdtemp};

use super::{Launch, Spawned, Stdio, reap, send, spawn};
use circus_core::config::Host;
use circus_core::proto::Signal;

/// `--ssh` and `--ssh_keyfile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// `USER@HOST:PORT`, of which only the host has to be there.
    pub server: String,
    /// The private key.
    pub keyfile: Option<String>,
}

/// An open way. Dropping it closes it.
#[derive(Debug)]
pub struct Tunnel {
    ssh: Process,
    socket: OwnedFd,
}

/// A look at ssh each so many milliseconds ...
const PAUSE: u16 = 20;
/// ... and so often: slow logins take seconds.
const LOOKS: u32 = 1500;
/// How often while it ends.
const LAST_LOOKS: u32 = 50;

/// The longest TMPDIR that leaves room for the name of a socket.
const LONGEST: usize = 80;

impl Tunnel {
    /// Starts ssh and waits until it listens.
    pub fn open(ssh: &Ssh, endpoint: &str, host: &Host) -> Result<Self, String> {
        let directory = Directory::new(host).map_err(|error| format!("no directory for its socket: {error}"))?;
        let path = directory.0.join("s");
        let mut process = Process::start(arguments(ssh, endpoint, &path)?, host)?;
        for _ in 0..LOOKS {
            if path.symlink_metadata().is_ok() {
                let socket = open(&path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
                let socket = socket.map_err(|errno| format!("its socket cannot be used: {errno}"))?;
                return Ok(Self { ssh: process, socket });
            }
            if process.has_ended(PAUSE) {
                let status = process.status();
                return Err(format!("ssh to {} ended with status {status}; see its message above", ssh.server));
            }
        }
        Err(format!("ssh has not connected to {} after {} s", ssh.server, u32::from(PAUSE) * LOOKS / 1000))
    }

    /// The endpoint at this end.
    pub fn endpoint(&self) -> String {
        format!("ipc:///proc/self/fd/{}", self.socket.as_raw_fd())
    }

    /// Whether ssh is still there.
    pub fn is_open(&self) -> bool {
        !self.ssh.has_ended(0)
    }
}

/// ssh's command line.
fn arguments(ssh: &Ssh, endpoint: &str, socket: &Path) -> Result<Vec<String>, String> {
    let (destination, port) = destination(&ssh.server)?;
    let forward = format!("{}:{}", socket.display(), target(endpoint)?);
    // It has no terminal to ask at, runs nothing over there, and is no master of other connections.
    let options = ["BatchMode=yes", "ExitOnForwardFailure=yes", "ControlMaster=no", "ControlPath=none"];
    let mut words = vec!["ssh".to_owned(), "-N".into(), "-T".into()];
    words.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option.into()]));
    words.extend(["-L".into(), forward]);
    words.extend(ssh.keyfile.iter().flat_map(|file| ["-i".to_owned(), file.clone()]));
    words.extend(port.into_iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
    words.push(destination);
    Ok(words)
}

/// `USER@HOST` and the port.
fn destination(server: &str) -> Result<(String, Option<u16>), String> {
    let wrong = || format!("'{server}' is not a server; write user@host:port");
    let (user, host) = server.rsplit_once('@').map_or((None, server), |(user, host)| (Some(user), host));
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').or((!rest.is_empty()).then_some("?"))),
        // More colons belong to an address of IPv6.
        None if host.matches(':').count() == 1 => host.split_once(':').map_or((host, None), |(h, p)| (h, Some(p))),
        None => (host, None),
    };
    let port = port.map(|port| port.parse().map_err(|_| wrong())).transpose()?;
    let destination = user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
    // ssh would take a destination that begins with a dash for an option.
    if host.is_empty() || destination.starts_with('-') { Err(wrong()) } else { Ok((destination, port)) }
}

/// An endpoint as ssh names it, seen from over there.
fn target(endpoint: &str) -> Result<String, String> {
    match endpoint.split_once("://") {
        Some(("tcp", address)) if address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
            Ok(address.to_owned())
        }
        Some(("ipc", path)) if path.starts_with('/') => Ok(path.replace(':', "\\:")),
        Some(_) | None => Err(format!("{endpoint} cannot be forwarded; tcp://HOST:PORT and ipc:///PATH can")),
    }
}

/// The ssh client.
#[derive(Debug)]
struct Process {
    pid: Pid,
    /// Its standard output: it is hung up when ssh ends.
    output: PipeReader,
}

impl Process {
    fn start(argv: Vec<String>, host: &Host) -> Result<Self, String> {
        let (output, writer) = io::pipe().map_err(|error| format!("no pipe: {error}"))?;
        let env = host.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let launch = Launch {
            env,
            cwd: host.cwd.clone(),
            stdout: Stdio::Fd(writer.as_fd()),
            stderr: Stdio::Inherit,
            ends_with_us: true,
            ..Launch::new(argv)
        };
        match spawn(&launch) {
            Ok(Spawned::Running(pid) | Spawned::Pending { pid, .. }) => Ok(Self { pid, output }),
            Err(error) => {
                Err(format!("ssh cannot be started: {}. Is the OpenSSH client installed and in PATH?", error.reason()))
            }
        }
    }

    /// Whether it ends within so many milliseconds.
    fn has_ended(&self, limit: u16) -> bool {
        // Only that no process can write to it any more.
        let mut looked_at = [PollFd::new(self.output.as_fd(), PollFlags::empty())];
        poll(&mut looked_at, PollTimeout::from(limit)).is_ok_and(|ready| ready > 0)
    }

    /// The exit status of one that has ended.
    fn status(&mut self) -> String {
        let mut exits = Vec::new();
        for _ in 0..LAST_LOOKS {
            reap(&mut exits);
            if let Some(exit) = exits.iter().find(|exit| exit.pid == self.pid) {
                return exit.exit_code.to_string();
            }
            let _interrupted = poll(&mut [], PollTimeout::from(PAUSE));
        }
        "unknown".into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = send(self.pid, Signal(15));
        // It ends in its own time, and with us at the latest.
        let _ended = self.has_ended(PAUSE.saturating_mul(10));
        reap(&mut Vec::new());
    }
}

/// A directory that no other user can look into. Dropping it removes it and the socket in it.
struct Directory(PathBuf);

impl Directory {
    fn new(host: &Host) -> nix::Result<Self> {
        let parent = host.env.get("TMPDIR").filter(|path| path.starts_with('/') && path.len() < LONGEST);
        mkdtemp(&Path::new(parent.map_or("/tmp", String::as_str)).join("circus-ssh-XXXXXX")).map(Self)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_file(self.0.join("s")));
        drop(fs::remove_dir(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(server: &str, keyfile: Option<&str>, endpoint: &str) -> Result<String, String> {
        let ssh = Ssh { server: server.into(), keyfile: keyfile.map(Into::into) };
        arguments(&ssh, endpoint, Path::new("/tmp/d/s")).map(|words| words.join(" "))
    }

    #[test]
    fn command_lines() {
        let fixed = "ssh -N -T -o BatchMode=yes -o ExitOnForwardFailure=yes -o ControlMaster=no -o ControlPath=none";
        for (server, keyfile, endpoint, rest) in [
            ("host", None, "tcp://127.0.0.1:5555", "-L /tmp/d/s:127.0.0.1:5555 host"),
            ("me@host:2222", Some("k"), "tcp://db:5555", "-L /tmp/d/s:db:5555 -i k -p 2222 me@host"),
            ("me@[::1]:22", None, "tcp://[::1]:5", "-L /tmp/d/s:[::1]:5 -p 22 me@::1"),
            ("::1", None, "ipc:///run/c:1", "-L /tmp/d/s:/run/c\\:1 ::1"),
        ] {
            assert_eq!(command(server, keyfile, endpoint), Ok(format!("{fixed} {rest}")), "{server}");
        }
    }

    #[test]
    fn what_cannot_be_reached() {
        for server in ["", "me@", "host:x", "-oProxyCommand=x", "[::1]x", "host:99999"] {
            assert_eq!(
                command(server, None, "tcp://h:1"),
                Err(format!("'{server}' is not a server; write user@host:port"))
            );
        }
        for endpoint in ["", "tcp://host", "tcp://host:*", "ipc://relative", "ipc://@abstract", "inproc://x"] {
            assert!(command("host", None, endpoint).is_err_and(|error| error.contains("cannot be forwarded")));
        }
    }
}
