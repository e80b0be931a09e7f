//! What workers print, on its way to the clients that ask for it.

use serde::{Deserialize, Serialize};

use super::notice::resource_name;

/// How the topics of output begin.
pub const OUTPUT_TOPICS: &str = "output.";

/// Which of a worker's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamName {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl StreamName {
    /// As clients spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The topic of a watcher's stream: `output.WATCHER.stdout`.
pub fn output_topic(watcher: &str, stream: StreamName) -> String {
    format!("{OUTPUT_TOPICS}{}.{}", resource_name(watcher), stream.name())
}

/// A line that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptLine {
    /// The worker's pid.
    pub pid: i32,
    /// The worker's number.
    pub wid: u32,
    /// When it was read, in seconds since the epoch.
    pub time: f64,
    /// The line without its end. What is not UTF-8 is replaced.
    pub line: String,
}

/// The last lines of a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// The lines, oldest first.
    pub lines: Vec<KeptLine>,
    /// How many bytes the stream has had; what comes later lies behind it.
    pub cursor: u64,
    /// Bytes behind the cursor that was asked from that are kept no longer.
    pub missed: u64,
    /// The number of the next line that is published.
    pub next: u64,
    /// When the stream began, in seconds since the epoch: where this is another time, cursor and numbers begin anew.
    pub began: f64,
}

/// Which lines are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailRange {
    /// At most so many, the last ones.
    pub lines: usize,
    /// Only this worker's.
    pub wid: Option<u32>,
    /// Only those behind this cursor.
    pub after: Option<u64>,
}

/// Output as it is published: lines of one worker that were read together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputEvent {
    /// The watcher's name.
    pub watcher: String,
    /// Which of its streams.
    pub stream: StreamName,
    /// The worker's pid.
    pub pid: i32,
    /// The worker's number.
    pub wid: u32,
    /// When they were read, in seconds since the epoch.
    pub time: f64,
    /// The number of the first of these lines among all that were published of the stream. A subscriber that has seen a
    /// smaller number of lines has missed the difference.
    pub first: u64,
    /// The lines without their ends. What is not UTF-8 is replaced.
    pub lines: Vec<String>,
    /// The last line goes on in the next event.
    pub more: bool,
    /// How many bytes the stream has had, these lines included.
    pub cursor: u64,
    /// When the stream began, in seconds since the epoch.
    pub began: f64,
}

/// What a new subscriber to output gets at the topic that it subscribed to: from now on it misses nothing.
pub const OUTPUT_GREETING: &[u8] = br#"{"subscribed": true}"#;
