//! The python3 that runs hooks which are Python functions, seen from circusd. `python/bridges/hooks.py` is the other end.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::process::{content, log_output, pid, pipe};
use crate::arbiter::{HookId, HookOutcome, Level, Pid, WatcherKey};
use crate::output::{OutputHandle, SinkId};
use crate::proto::Object;
use crate::sys;

/// Its source.
const SOURCE: &str = include_str!("../../../python/bridges/hooks.py");
/// The program that python3 gets as its argument; the real one would be too long for a list of processes.
const START: &str = "import os; exec(compile(os.fdopen(4).read(), 'circus-hooks', 'exec'))";
/// The numbers of the socket and of the source in that process.
const SOCKET: RawFd = 3;
const TEXT: RawFd = 4;

/// More than this is not kept for a Python that does not read, or of a line that does not end.
const MOST_HELD: usize = 64 * 1024 * 1024;
/// Read at once.
const PORTION: usize = 64 * 1024;

/// A python3 that runs hooks.
#[derive(Debug)]
pub(super) struct PythonHost {
    pub(super) pid: Pid,
    /// Where what it prints goes: the log.
    pub(super) sink: SinkId,
    socket: UnixStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

/// What it says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// What a hook came to.
    Done(HookId, HookOutcome),
    /// A hook has a command for circusd.
    Call { number: u64, command: String, properties: Object },
}

/// How it is started.
pub(super) struct Start<'a> {
    pub(super) python: &'a str,
    pub(super) env: Vec<(String, String)>,
    pub(super) cwd: &'a str,
    pub(super) nofile: sys::OpenFileLimit,
}

impl PythonHost {
    pub(super) fn start(
        start: Start<'_>,
        output: &mut OutputHandle,
        spawner: &mut sys::Spawner,
    ) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("{} cannot be started: {error}", start.python);
        let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
        ours.set_nonblocking(true).map_err(cannot)?;
        let source = content(SOURCE.as_bytes()).map_err(cannot)?;
        let (read, write) = pipe()?;
        let spawned = spawner.spawn(&sys::Launch {
            env: start.env,
            cwd: start.cwd.to_owned(),
            stdout: sys::Stdio::Fd(write.as_fd()),
            stderr: sys::Stdio::Fd(write.as_fd()),
            sockets: sys::SocketPassing::SameNumbers(vec![(SOCKET, theirs.as_fd()), (TEXT, source.as_fd())]),
            nofile: Some(start.nofile),
            ends_with_us: true,
            ..sys::Launch::new([start.python, "-u", "-c", START].map(str::to_owned).to_vec())
        });
        let pid = pid(spawned).map_err(|reason| {
            format!("hooks that are Python functions need {}: {reason}; see python in [circus]", start.python)
        })?;
        Ok(Self {
            pid,
            sink: log_output(output, read, pid, "hooks", Level::Info),
            socket: ours,
            outgoing: Vec::new(),
            incoming: Vec::new(),
        })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Sends a line, or as much of it as goes; the rest goes when there is room.
    pub(super) fn send(&mut self, message: &Value) -> io::Result<()> {
        self.outgoing.extend_from_slice(message.to_string().as_bytes());
        self.outgoing.push(b'\n');
        if self.outgoing.len() > MOST_HELD {
            return Err(io::Error::other("it does not read"));
        }
        self.flush()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            let Some(rest) = self.outgoing.get(sent..).filter(|rest| !rest.is_empty()) else { break Ok(()) };
            match self.socket.write(rest) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.outgoing.drain(..sent);
        result
    }

    /// What it has said, up to a limit, and whether there may be more. An error is its end.
    pub(super) fn read(&mut self) -> io::Result<(Vec<Said>, bool)> {
        let mut buffer = vec![0; PORTION];
        let more = match self.socket.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("it has closed its end")),
            Ok(length) => {
                self.incoming.extend_from_slice(buffer.get(..length).unwrap_or_default());
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => return Err(error),
        };
        let mut said = Vec::new();
        if let Some(end) = last_newline(&self.incoming) {
            let lines: Vec<u8> = self.incoming.drain(..=end).collect();
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                said.push(
                    understand(line)
                        .ok_or_else(|| io::Error::other("its answer is not in the format of the protocol"))?,
                );
            }
        }
        if self.incoming.len() > MOST_HELD {
            return Err(io::Error::other("it writes a line that does not end"));
        }
        Ok((said, more))
    }
}

fn last_newline(bytes: &[u8]) -> Option<usize> {
    memchr::memrchr(b'\n', bytes)
}

/// A hook as it is sent to the other end, and comes back.
pub(super) fn name(hook: HookId) -> Value {
    json!([hook.watcher.0, hook.serial])
}

fn understand(line: &[u8]) -> Option<Said> {
    let Value::Object(mut message) = serde_json::from_slice(line).ok()? else { return None };
    if let Some(number) = message.get("call").and_then(Value::as_u64) {
        let command = message.get("command")?.as_str()?.to_owned();
        let Value::Object(properties) = message.remove("properties")? else { return None };
        return Some(Said::Call { number, command, properties });
    }
    let name = message.get("done")?.as_array()?;
    let [watcher, serial] = name.as_slice() else { return None };
    let watcher = WatcherKey(watcher.as_u64()?.try_into().ok()?);
    let hook = HookId { watcher, serial: serial.as_u64()? };
    let answer = match (message.get("error"), message.get("answer")) {
        (Some(Value::String(error)), _) => Err(error.clone()),
        (None, Some(Value::Bool(answer))) => Ok(*answer),
        _ => return None,
    };
    let mut object = |key: &str| match message.remove(key) {
        Some(Value::Object(object)) => object,
        _ => Object::new(),
    };
    Some(Said::Done(hook, HookOutcome { answer, set: object("set"), stats: object("stats") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_or_refused() {
        let hook = HookId { watcher: WatcherKey(3), serial: 9 };
        let done = |text: &str| understand(text.as_bytes());
        let yes = HookOutcome::answer(Ok(true));
        assert_eq!(done(r#"{"answer": true, "done": [3, 9]}"#), Some(Said::Done(hook, yes.clone())));
        let set = Object::from_iter([("env".into(), json!({"A": "1"}))]);
        let text = r#"{"answer": true, "set": {"env": {"A": "1"}}, "done": [3, 9]}"#;
        assert_eq!(done(text), Some(Said::Done(hook, HookOutcome { set, ..yes })));
        let failed = HookOutcome::answer(Err("boom".into()));
        assert_eq!(done(r#"{"error": "boom", "done": [3, 9]}"#), Some(Said::Done(hook, failed)));
        let call = r#"{"call": 7, "command": "list", "properties": {}}"#;
        let expected = Said::Call { number: 7, command: "list".into(), properties: Object::new() };
        assert_eq!(done(call), Some(expected));
        for garbage in ["", "x", "[]", "{}", r#"{"done": [3]}"#, r#"{"done": [3, 9]}"#, r#"{"call": 1}"#] {
            assert_eq!(done(garbage), None, "{garbage}");
        }
        assert_eq!(name(hook), json!([3, 9]));
    }
}
