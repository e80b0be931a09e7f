//! What the kernel shows of a worker: its name, its queues, the variables that it was started with.

use std::fs;

/// The name of a worker that is given none.
const NAME: &str = "celery";
/// The pool whose worker answers nothing while it runs a task.
const SOLO: &str = "solo";

/// A worker of Celery, as its command line has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its process.
    pub pid: u32,
    /// Its name, as in `worker@host`.
    pub node: String,
    /// The queues that it is to consume; empty if the command line names none.
    pub queues: Vec<String>,
    /// It answers nothing while it runs a task.
    pub solo: bool,
}

impl Worker {
    /// The worker in this process, or why there is none.
    pub fn of(pid: u32) -> Result<Self, String> {
        let line = fs::read(format!("/proc/{pid}/cmdline")).map_err(|error| format!("process {pid}: {error}"))?;
        let words: Vec<String> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").map_err(|error| error.to_string())?;
        Ok(Self::parse(pid, &words, host.trim()))
    }

    fn parse(pid: u32, words: &[String], host: &str) -> Self {
        let queues = option(words, "-Q", "--queues").unwrap_or_default();
        let solo = option(words, "-P", "--pool").is_some_and(|pool| pool == SOLO);
        let queues = queues.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self { pid, node: node(option(words, "-n", "--hostname").unwrap_or_default(), host), queues, solo }
    }

    /// Whether the process lives.
    pub fn lives(&self) -> bool {
        let state = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }
}

/// A variable that a process was started with.
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let all = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut pairs = all.split(|byte| *byte == 0).filter_map(|pair| str::from_utf8(pair).ok()?.split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
}

/// A command line whose worker has a name of its own: that of `-n` with the pid behind its first part. In a reload a worker
/// and its successor live at the same time. If they had one name, what is said to one both would hear.
pub fn with_own_name(words: &[String], pid: u32) -> Vec<String> {
    let given = option(words, "-n", "--hostname").unwrap_or_default();
    let (name, host) = given.split_once('@').unwrap_or(("", if given.is_empty() { "%h" } else { given }));
    let name = if name.is_empty() { NAME } else { name };
    // The last one counts.
    let own = ["-n".to_owned(), format!("{name}-{pid}@{}", if host.is_empty() { "%h" } else { host })];
    words.iter().cloned().chain(own).collect()
}

/// The value of an option, as click reads it: `-n VALUE`, `-nVALUE`, `--hostname VALUE`, `--hostname=VALUE`.
fn option<'a>(words: &'a [String], short: &str, long: &str) -> Option<&'a str> {
    let value = |(place, word): (usize, &'a String)| match word.strip_prefix(long) {
        Some("") => words.get(place + 1).map(String::as_str),
        Some(rest) => rest.strip_prefix('='),
        None if word == short => words.get(place + 1).map(String::as_str),
        None => word.strip_prefix(short).filter(|_| !word.starts_with("--")),
    };
    words.iter().enumerate().filter_map(value).next_back()
}

/// The name of a worker with what Celery puts in: `%h` the host, `%n` its first part, `%d` the rest.
fn node(given: &str, host: &str) -> String {
    let (first, domain) = host.split_once('.').unwrap_or((host, ""));
    let whole = match given.split_once('@') {
        Some(("", place)) => format!("{NAME}@{place}"),
        Some((name, "")) => format!("{name}@{host}"),
        Some(_) => given.to_owned(),
        None if given.is_empty() => format!("{NAME}@{host}"),
        None => format!("{NAME}@{given}"),
    };
    let (mut text, mut rest) = (String::new(), whole.as_str());
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let mut letters = after.chars();
        match letters.next() {
            Some('h') => text.push_str(host),
            Some('n') => text.push_str(first),
            Some('d') => text.push_str(domain),
            Some('%') => text.push('%'),
            Some(other) => text.extend(['%', other]),
            None => text.push('%'),
        }
        rest = letters.as_str();
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(line: &str) -> Worker {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Worker::parse(7, &words, "box.example.org")
    }

    #[test]
    fn command_lines_are_read() {
        let one = worker("/usr/bin/python celery -A app worker -n w-1@%h -Q a,b -c 4");
        assert_eq!(
            (one.node.as_str(), one.queues, one.solo),
            ("w-1@box.example.org", vec!["a".into(), "b".into()], false)
        );
        let one = worker("python -m celery --app=app worker --hostname=x@%n.%d --queues=a -P solo");
        assert_eq!((one.node.as_str(), one.queues, one.solo), ("x@box.example.org", vec!["a".to_owned()], true));
        let one = worker("celery -A app worker -nw@%% --loglevel=INFO");
        assert_eq!((one.node.as_str(), one.queues.len()), ("w@%", 0));
        assert_eq!(worker("celery worker").node, "celery@box.example.org");
        assert_eq!(worker("celery worker -n other").node, "celery@other");
        assert_eq!(worker("celery worker -n a@h -n b@h").node, "b@h");
    }

    #[test]
    fn names_become_own_ones() {
        let own = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            with_own_name(&words, 7).join(" ")
        };
        assert_eq!(own("celery worker -n mail@%h -Q mail"), "celery worker -n mail@%h -Q mail -n mail-7@%h");
        assert_eq!(own("celery worker"), "celery worker -n celery-7@%h");
        assert_eq!(own("celery worker --hostname=here"), "celery worker --hostname=here -n celery-7@here");
        assert_eq!(worker(&own("celery worker -n a@%h")).node, "a-7@box.example.org");
    }

    #[test]
    fn this_process_is_read() {
        let pid = std::process::id();
        assert!(Worker::of(pid).unwrap().lives());
        assert_eq!(variable(pid, "PATH"), std::env::var("PATH").ok());
        assert!(Worker::of(u32::MAX).is_err());
    }
}
