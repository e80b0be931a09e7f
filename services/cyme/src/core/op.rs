//! What a request asks for, and what it is answered.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::model::{App, AppFields, FieldError, InstanceFields, Queue};

/// What is asked for. Branches send these to each other as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Whether the branch works.
    Ping,
    /// The ids of the branches that are alive.
    Branches,
    /// One branch.
    Branch(String),
    /// The machines: the branches that are alive, and what they say of themselves.
    Machines,
    /// Something about the watchers of one machine, which its circusd does.
    Machine {
        /// The id of its branch.
        id: String,
        /// The watcher; all of them without.
        watcher: Option<String>,
        /// What.
        what: MachineOp,
    },
    /// The names of all applications.
    Apps,
    /// A new application, or other fields of one that there is.
    PutApp {
        /// Its name; made up where there is none.
        name: Option<String>,
        /// Its fields.
        fields: AppFields,
    },
    /// One application.
    App(String),
    /// The end of an application.
    DeleteApp {
        /// Its name.
        name: String,
        /// Its instances are deleted with it.
        force: bool,
    },
    /// The names of the instances of an application.
    Instances(String),
    /// A new instance.
    AddInstance {
        /// Its application.
        app: String,
        /// Its name; made up where there is none.
        name: Option<String>,
        /// Its fields.
        fields: InstanceFields,
        /// Where it is to be.
        place: Place,
        /// An instance that is there already is the answer, and no conflict.
        idempotent: bool,
        /// The application itself, for the branch that creates the instance.
        found: Option<App>,
    },
    /// Something about one instance, which its own branch does.
    Instance {
        /// Its name.
        name: String,
        /// What.
        what: InstanceOp,
    },
    /// The names of all queues.
    Queues,
    /// One queue.
    Queue(String),
    /// A new queue.
    PutQueue(Queue),
    /// The end of a queue.
    DeleteQueue(String),
    /// A request that a worker is to make.
    QueueUrl {
        /// The application whose workers are asked.
        app: String,
        /// The queue.
        queue: Option<String>,
        /// The request.
        request: WebRequest,
    },
    /// A lease: one holder has it at a time.
    Lease {
        /// Its name.
        name: String,
        /// What no other holder is called.
        holder: String,
        /// For so many seconds; 0 gives it back.
        life: u32,
    },
    /// What became of a task.
    Query {
        /// The application whose workers have it.
        app: String,
        /// The id of the task.
        task: String,
        /// What of it.
        what: Query,
    },
}

impl Op {
    /// Whether it changes what branches keep.
    pub fn changes(&self) -> bool {
        match self {
            Self::PutApp { .. }
            | Self::DeleteApp { .. }
            | Self::AddInstance { .. }
            | Self::PutQueue(_)
            | Self::DeleteQueue(_) => true,
            Self::Instance { what, .. } => !matches!(
                what,
                InstanceOp::Get | InstanceOp::Queues | InstanceOp::Autoscale | InstanceOp::Stats | InstanceOp::Restart
            ),
            _ => false,
        }
    }
}

/// What is asked of one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InstanceOp {
    /// What is kept of it.
    Get,
    /// The end of it.
    Delete,
    /// The queues that its worker consumes from.
    Queues,
    /// To consume from this queue too.
    AddConsumer(String),
    /// To consume from this queue no more.
    DeleteConsumer(String),
    /// The bounds of its concurrency.
    Autoscale,
    /// Other bounds.
    SetAutoscale {
        /// The largest number of processes.
        max: Option<u32>,
        /// The smallest number of processes.
        min: Option<u32>,
    },
    /// What its worker says about itself.
    Stats,
    /// To run, or not to.
    Enable(bool),
    /// A new process.
    Restart,
}

/// What is asked of one machine's circusd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MachineOp {
    /// The states of watchers.
    Status,
    /// The same with their processes, readiness, and the reason of a trouble.
    Details,
    /// What their processes use.
    Stats,
    /// What went wrong last.
    Why,
    /// Their options.
    Options {
        /// Also those that are not set, with their defaults.
        all: bool,
    },
    /// To start them.
    Start,
    /// To stop them.
    Stop,
    /// To stop and start them.
    Restart,
    /// To replace their processes.
    Reload {
        /// By a signal to them, where they have one for it; else always by new ones.
        graceful: bool,
        /// One at a time.
        sequential: bool,
    },
    /// So many processes more.
    Incr(u32),
    /// So many processes less.
    Decr(u32),
    /// A signal.
    Signal {
        /// Its number.
        number: u32,
        /// To this process; to all without.
        pid: Option<u32>,
        /// To its descendants too.
        recursive: bool,
    },
    /// The last lines that they have printed.
    Tail {
        /// To standard error.
        errors: bool,
        /// So many at most.
        lines: u32,
        /// Only those after this place.
        after: Option<u64>,
        /// Only those of the worker with this number.
        wid: Option<u32>,
    },
    /// What circusd has reported; after this number, waited for.
    Events(Option<u64>),
}

impl MachineOp {
    /// Whether it changes nothing.
    pub fn only_reads(self) -> bool {
        match self {
            Self::Status
            | Self::Details
            | Self::Stats
            | Self::Why
            | Self::Options { .. }
            | Self::Tail { .. }
            | Self::Events(_) => true,
            Self::Start
            | Self::Stop
            | Self::Restart
            | Self::Reload { .. }
            | Self::Incr(_)
            | Self::Decr(_)
            | Self::Signal { .. } => false,
        }
    }

    /// The command of circusd.
    pub fn command(self) -> &'static str {
        match self {
            Self::Status | Self::Details => "status",
            Self::Stats => "stats",
            Self::Why => "why",
            Self::Options { .. } => "options",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload { .. } => "reload",
            Self::Incr(_) => "incr",
            Self::Decr(_) => "decr",
            Self::Signal { .. } => "signal",
            Self::Tail { .. } => "tail",
            Self::Events(_) => "listen",
        }
    }

    /// Its properties, beside the name.
    pub fn properties(self) -> Map<String, Value> {
        let properties = match self {
            Self::Status | Self::Stats | Self::Why | Self::Events(_) => json!({}),
            Self::Details => json!({"verbose": true}),
            Self::Options { all } => json!({"all": all}),
            Self::Start | Self::Stop | Self::Restart => json!({"waiting": true}),
            Self::Reload { graceful, sequential } => {
                json!({"graceful": graceful, "sequential": sequential, "waiting": true})
            }
            Self::Incr(count) | Self::Decr(count) => json!({"nb": count, "waiting": true}),
            Self::Signal { number, pid: None, recursive } => json!({"signum": number, "recursive": recursive}),
            Self::Signal { number, pid, recursive } => json!({"signum": number, "pid": pid, "recursive": recursive}),
            Self::Tail { errors, lines, after, wid } => {
                let stream = if errors { "stderr" } else { "stdout" };
                json!({"stream": stream, "lines": lines, "after": after, "wid": wid})
            }
        };
        match properties {
            Value::Object(properties) => properties,
            _ => Map::new(),
        }
    }
}

/// Where a new instance is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// On one branch after the other.
    #[default]
    RoundRobin,
    /// On the branch with the fewest instances.
    Least,
    /// On the branch whose circusd's processes use the least of the processor.
    LeastLoad,
    /// On this branch.
    Branch(String),
    /// On one of the branches with this label.
    Label(String),
}

/// A request that a worker is to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebRequest {
    /// The address, without the query.
    pub url: String,
    /// The verb.
    pub method: String,
    /// The query.
    pub params: Vec<(String, String)>,
    /// The body; fields of a form, or anything.
    pub data: Option<Data>,
}

/// A body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    /// A form.
    Form(Vec<(String, String)>),
    /// Any text.
    Text(String),
}

/// What is asked about a task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Query {
    /// Its state.
    State,
    /// Its result, null as long as there is none.
    Result,
    /// Its result, waited for: so many seconds at most, or without a limit.
    Wait(Option<f64>),
}

/// A JSON object of names and values; of a name that stands there twice, a list.
pub fn fields(pairs: &[(String, String)]) -> Value {
    let mut object = Map::new();
    for (name, value) in pairs {
        match object.get_mut(name) {
            None => drop(object.insert(name.clone(), value.as_str().into())),
            Some(Value::Array(list)) => list.push(value.as_str().into()),
            Some(single) => *single = json!([single.take(), value]),
        }
    }
    Value::Object(object)
}

impl WebRequest {
    /// The query as a JSON object; null without one.
    pub fn params(&self) -> Value {
        if self.params.is_empty() { Value::Null } else { fields(&self.params) }
    }

    /// The body as JSON; null without one.
    pub fn data(&self) -> Value {
        match &self.data {
            None => Value::Null,
            Some(Data::Form(pairs)) => fields(pairs),
            Some(Data::Text(text)) => text.as_str().into(),
        }
    }
}

/// An answer: the status of HTTP, and the body. Null is an empty body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Reply {
    /// What was asked for.
    pub fn ok(body: Value) -> Self {
        Self { status: 200, body }
    }

    /// Something was made.
    pub fn created(body: Value) -> Self {
        Self { status: 201, body }
    }

    /// It will be done.
    pub fn scheduled() -> Self {
        Self { status: 202, body: json!({"ok": "operation scheduled"}) }
    }

    /// It is done, and there is nothing to say.
    pub fn done(status: u16) -> Self {
        Self { status, body: json!({"ok": "ok"}) }
    }

    /// There is no such thing.
    pub fn missing() -> Self {
        Self { status: 404, body: Value::Null }
    }

    /// The branch that has it did not answer in time.
    pub fn late() -> Self {
        Self { status: 408, body: Value::Null }
    }

    /// It is not done, for this reason.
    pub fn refused(status: u16, reason: impl Into<String>) -> Self {
        Self { status, body: json!({"nok": [reason.into(), ""]}) }
    }

    /// It is done, but only in memory.
    pub fn unsaved(reason: &str) -> Self {
        Self::refused(503, format!("the change is made, but is not stored yet: {reason}"))
    }

    /// Without the broker it cannot be done.
    pub fn no_broker(reason: &str) -> Self {
        Self::refused(503, format!("the broker cannot be reached: {reason}"))
    }
}

impl From<FieldError> for Reply {
    fn from(error: FieldError) -> Self {
        Self { status: 400, body: json!({"nok": [error.to_string(), ""], "field": error.field}) }
    }
}
