//! Requests over HTTP, read.
//!
//! A path is read as it was sent: what follows `/APP/queue/` is a URL with slashes and a query of its own.

use serde_json::{Map, Value};

use super::model::{self, AppFields, FieldError, InstanceFields, Queue};
use super::op::{Data, InstanceOp, MachineOp, Op, Place, Query, Reply, WebRequest};
use super::{decoded, encoded};

/// A request that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What is asked for.
    pub op: Op,
    /// The answer is not to wait until it is done.
    pub nowait: bool,
}

/// The verbs that a worker can be asked to use.
pub const VERBS: &[&str] = &["HEAD", "GET", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"];
/// The type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// Reads a request: its verb, its target as it was sent, the type of its body, its body.
pub fn parse(method: &str, target: &str, content_type: &str, body: &[u8]) -> Result<Parsed, Reply> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if let Some((app, rest)) = queued(path) {
        return queue_url(method, &app, rest, query, content_type, body);
    }
    let mut parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let nowait = parts.len() > 2 && parts[2] == "!";
    if nowait {
        parts.remove(2);
    }
    let mut pairs = pairs(query);
    if content_type.starts_with(FORM) || content_type.is_empty() {
        pairs.extend(form(body));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let request = Request { method: Method::of(method)?, params: Params(pairs) };
    let op = request.route(&parts)?;
    if nowait && request.method == Method::Get {
        return Err(Reply::refused(501, "a request that only reads cannot be asynchronous"));
    }
    Ok(Parsed { op, nowait })
}

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    fn of(name: &str) -> Result<Self, Reply> {
        match name {
            "GET" | "HEAD" => Ok(Self::Get),
            "PUT" => Ok(Self::Put),
            "POST" => Ok(Self::Post),
            "DELETE" => Ok(Self::Delete),
            _ => Err(not_allowed()),
        }
    }
}

fn not_allowed() -> Reply {
    Reply::refused(405, "this path does not take that method")
}

struct Params(Vec<(String, String)>);

impl Params {
    /// The value of a parameter. That of the query counts before that of the body.
    fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    /// The value of a parameter, unless it is empty.
    fn filled(&self, name: &str) -> Option<String> {
        self.text(name).filter(|value| !value.is_empty())
    }

    fn flag(&self, name: &'static str) -> Result<bool, FieldError> {
        match self.text(name).as_deref() {
            Some("" | "1" | "true" | "yes" | "True") => Ok(true),
            None | Some("0" | "false" | "no" | "False") => Ok(false),
            Some(other) => Err(FieldError::new(name, format!("'{other}' is neither 1 nor 0"))),
        }
    }

    /// The value of a parameter that is not longer than a name.
    fn short(&self, name: &'static str) -> Result<Option<String>, FieldError> {
        let value = self.filled(name);
        value.as_deref().map(|value| model::length(name, value, model::NAME)).transpose()?;
        Ok(value)
    }

    fn count(&self, name: &'static str) -> Result<Option<u32>, FieldError> {
        let Some(text) = self.filled(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| FieldError::new(name, format!("'{text}' is not a number of processes")))
    }
}

struct Request {
    method: Method,
    params: Params,
}

impl Request {
    fn route(&self, parts: &[&str]) -> Result<Op, Reply> {
        use Method::{Delete, Get, Post, Put};
        let op = match (self.method, parts) {
            (Get, []) => Op::Apps,
            (Get, ["ping"]) => Op::Ping,
            (Get, ["branches"]) => Op::Branches,
            (Get, ["branches", id]) => Op::Branch((*id).to_owned()),
            (Get, ["machines"]) => Op::Machines,
            (_, ["machines", id, "watchers", rest @ ..]) => self.machine(id, rest)?,
            (Get, ["machines", id, "stats"]) => {
                Op::Machine { id: existing(id)?, watcher: None, what: MachineOp::Stats }
            }
            (Get, ["machines", id, "events"]) => {
                let what = MachineOp::Events(self.place("after")?);
                Op::Machine { id: existing(id)?, watcher: None, what }
            }
            (Post, ["leases", name]) => self.lease(name, self.life()?)?,
            (Delete, ["leases", name]) => self.lease(name, 0)?,
            (_, [first, ..]) if model::RESERVED.contains(first) => return Err(self.own_path(parts)),
            (Put | Post, []) => self.put_app(None)?,
            (Put | Post, [app]) => self.put_app(Some(app))?,
            (Get, [app]) => Op::App(existing(app)?),
            (Delete, [app]) => Op::DeleteApp { name: existing(app)?, force: self.params.flag("force")? },
            (_, [app, "instances" | "instance", rest @ ..]) => self.instances(app, rest)?,
            (Get, [_, "queues"]) => Op::Queues,
            (Get, [_, "queues", queue]) => Op::Queue(existing(queue)?),
            (Put | Post, [_, "queues", queue]) => Op::PutQueue(self.queue(queue)?),
            (Delete, [_, "queues", queue]) => Op::DeleteQueue(existing(queue)?),
            (Get, [app, "query", task, what]) => self.query(app, task, what)?,
            (_, [] | [_, "queues"]) => return Err(not_allowed()),
            (_, [_, "query", _, "state" | "result" | "wait"]) => return Err(not_allowed()),
            _ => return Err(Reply::missing()),
        };
        Ok(op)
    }

    /// The answer at paths that cannot be an application's.
    fn own_path(&self, parts: &[&str]) -> Reply {
        match (parts, self.method) {
            (
                ["branches", _]
                | ["branches"]
                | ["leases", _]
                | ["machines"]
                | ["ping"]
                | ["machines", _, "events" | "stats"],
                _,
            ) => not_allowed(),
            ([name], Method::Put | Method::Post) => match model::app_name(name) {
                Err(error) => error.into(),
                Ok(()) => Reply::missing(),
            },
            _ => Reply::missing(),
        }
    }

    fn lease(&self, name: &str, life: u32) -> Result<Op, Reply> {
        model::name("lease", name)?;
        let holder = self.params.filled("holder").ok_or_else(|| FieldError::new("holder", "missing"))?;
        model::name("holder", &holder)?;
        Ok(Op::Lease { name: name.to_owned(), holder, life })
    }

    fn life(&self) -> Result<u32, FieldError> {
        let text = self.params.filled("life").unwrap_or_else(|| "30".into());
        let life = text.parse().ok().filter(|life| (1..=3600).contains(life));
        life.ok_or_else(|| FieldError::new("life", format!("'{text}' is not between 1 and 3600 seconds")))
    }

    fn put_app(&self, name: Option<&str>) -> Result<Op, Reply> {
        name.map(model::app_name).transpose()?;
        let text = |name| self.params.text(name);
        let broker = match self.params.filled("hostname") {
            Some(hostname) => Some(self.broker_of_parts(&hostname)?),
            None => text("broker"),
        };
        let fields = AppFields { broker, arguments: text("arguments"), extra_config: text("extra_config") };
        fields.check()?;
        Ok(Op::PutApp { name: name.map(str::to_owned), fields })
    }

    /// A broker whose parts are parameters of their own.
    fn broker_of_parts(&self, hostname: &str) -> Result<String, FieldError> {
        let part =
            |name, default: &str| Ok::<_, FieldError>(self.params.short(name)?.unwrap_or_else(|| default.to_owned()));
        if !hostname.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')) {
            return Err(FieldError::new("hostname", format!("'{hostname}' is not a host")));
        }
        model::length("hostname", hostname, model::NAME)?;
        let port = part("port", "5672")?;
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(FieldError::new("port", format!("'{port}' is not a port")));
        }
        let url = model_url(hostname, &port, &part("userid", "guest")?, &part("password", "guest")?);
        let host = self.params.short("virtual_host")?.or(self.params.short("vhost")?).unwrap_or("/".into());
        Ok(format!("{url}/{host}"))
    }

    fn instances(&self, app: &str, rest: &[&str]) -> Result<Op, Reply> {
        use Method::{Delete, Get, Post, Put};
        let op = |name: &str, what| Ok(Op::Instance { name: existing(name)?, what });
        match (self.method, rest) {
            (Get, []) => Ok(Op::Instances(existing(app)?)),
            (Put | Post, []) => self.add_instance(app, None),
            (Put | Post, [name]) => self.add_instance(app, Some(name)),
            (Get, [name]) => op(name, InstanceOp::Get),
            (Delete, [name]) => op(name, InstanceOp::Delete),
            (Get, [name, "queues"]) => op(name, InstanceOp::Queues),
            (Put | Post, [name, "queues", queue]) => op(name, InstanceOp::AddConsumer(self.queue_name(queue)?)),
            (Delete, [name, "queues", queue]) => op(name, InstanceOp::DeleteConsumer(existing(queue)?)),
            (Get, [name, "autoscale"]) => op(name, InstanceOp::Autoscale),
            (Post, [name, "autoscale"]) => {
                let (max, min) = (self.params.count("max")?, self.params.count("min")?);
                model::bounds(max.unwrap_or(model::CONCURRENCY), min.unwrap_or(0))?;
                op(name, InstanceOp::SetAutoscale { max, min })
            }
            (Get, [name, "stats"]) => op(name, InstanceOp::Stats),
            (Post, [name, "enable"]) => op(name, InstanceOp::Enable(true)),
            (Post, [name, "disable"]) => op(name, InstanceOp::Enable(false)),
            (Post, [name, "restart"]) => op(name, InstanceOp::Restart),
            (_, [] | [_, "queues"] | [_, "queues", _]) => Err(not_allowed()),
            (_, [_, "autoscale" | "stats" | "enable" | "disable" | "restart"]) => Err(not_allowed()),
            _ => Err(Reply::missing()),
        }
    }

    fn machine(&self, id: &str, rest: &[&str]) -> Result<Op, Reply> {
        let (watcher, what) = match (self.method, rest) {
            (Method::Get, []) => (None, self.status()?),
            (Method::Get, [watcher]) => (Some(watcher), self.status()?),
            (Method::Get, [watcher, "why"]) => (Some(watcher), MachineOp::Why),
            (Method::Get, [watcher, "options"]) => {
                (Some(watcher), MachineOp::Options { all: self.params.flag("all")? })
            }
            (Method::Get, [watcher, "stats"]) => (Some(watcher), MachineOp::Stats),
            (Method::Get, [watcher, "events"]) => (Some(watcher), MachineOp::Events(self.place("after")?)),
            (Method::Get, [watcher, "tail"]) => (Some(watcher), self.tail()?),
            (Method::Post, [watcher, "start"]) => (Some(watcher), MachineOp::Start),
            (Method::Post, [watcher, "stop"]) => (Some(watcher), MachineOp::Stop),
            (Method::Post, [watcher, "restart"]) => (Some(watcher), MachineOp::Restart),
            (Method::Post, [watcher, "reload"]) => (Some(watcher), self.reload()?),
            (Method::Post, [watcher, "incr"]) => (Some(watcher), MachineOp::Incr(self.number("nb", 1)?)),
            (Method::Post, [watcher, "decr"]) => (Some(watcher), MachineOp::Decr(self.number("nb", 1)?)),
            (Method::Post, [watcher, "signal"]) => (Some(watcher), self.signal()?),
            (_, [] | [_]) => return Err(not_allowed()),
            (_, [_, "why" | "options" | "stats" | "events" | "tail"]) => return Err(not_allowed()),
            (_, [_, "start" | "stop" | "restart" | "reload" | "incr" | "decr" | "signal"]) => return Err(not_allowed()),
            _ => return Err(Reply::missing()),
        };
        let watcher = watcher.map(|name| (*name).to_owned());
        Ok(Op::Machine { id: existing(id)?, watcher, what })
    }

    /// A place in what is read one after the other.
    fn place(&self, name: &'static str) -> Result<Option<u64>, FieldError> {
        let Some(text) = self.params.filled(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| FieldError::new(name, format!("'{text}' is not a number")))
    }

    fn tail(&self) -> Result<MachineOp, FieldError> {
        let errors = match self.params.filled("stream").as_deref() {
            None | Some("stdout") => false,
            Some("stderr") => true,
            Some(other) => return Err(FieldError::new("stream", format!("'{other}' is neither stdout nor stderr"))),
        };
        let wid = self.process("wid")?;
        Ok(MachineOp::Tail { errors, lines: self.number("lines", 10)?, after: self.place("after")?, wid })
    }

    fn status(&self) -> Result<MachineOp, FieldError> {
        Ok(if self.params.flag("verbose")? { MachineOp::Details } else { MachineOp::Status })
    }

    fn reload(&self) -> Result<MachineOp, FieldError> {
        let graceful = self.params.text("graceful").is_none() || self.params.flag("graceful")?;
        Ok(MachineOp::Reload { graceful, sequential: self.params.flag("sequential")? })
    }

    /// The number of a process or of a worker.
    fn process(&self, name: &'static str) -> Result<Option<u32>, FieldError> {
        let Some(text) = self.params.filled(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (1..=i32::MAX.cast_unsigned()).contains(number));
        number.map(Some).ok_or_else(|| FieldError::new(name, format!("'{text}' is not the number of a process")))
    }

    fn number(&self, name: &'static str, default: u32) -> Result<u32, FieldError> {
        let count = self.params.count(name)?.unwrap_or(default);
        match (1..=model::CONCURRENCY).contains(&count) {
            true => Ok(count),
            false => Err(FieldError::new(name, format!("not between 1 and {}", model::CONCURRENCY))),
        }
    }

    fn signal(&self) -> Result<MachineOp, FieldError> {
        let text = self.params.filled("signum").ok_or_else(|| FieldError::new("signum", "missing"))?;
        let number = text.parse().ok().filter(|number| (1..=64).contains(number));
        let number =
            number.ok_or_else(|| FieldError::new("signum", format!("'{text}' is not a number of a signal")))?;
        Ok(MachineOp::Signal { number, pid: self.process("pid")?, recursive: self.params.flag("recursive")? })
    }

    fn queue_name(&self, name: &str) -> Result<String, FieldError> {
        model::name("queue", name)?;
        Ok(name.to_owned())
    }

    fn add_instance(&self, app: &str, name: Option<&str>) -> Result<Op, Reply> {
        name.map(|name| model::name("instance", name)).transpose()?;
        let text = |name| self.params.filled(name);
        let fields = InstanceFields {
            broker: text("broker"),
            pool: text("pool"),
            arguments: text("arguments"),
            extra_config: text("extra_config"),
        };
        fields.check()?;
        let place = match (self.params.short("branch")?, self.params.short("label")?, text("placement").as_deref()) {
            (Some(branch), _, _) => Place::Branch(branch),
            (None, Some(label), _) => Place::Label(label),
            (None, None, None | Some("round_robin")) => Place::RoundRobin,
            (None, None, Some("least")) => Place::Least,
            (None, None, Some("load")) => Place::LeastLoad,
            (None, None, Some(other)) => {
                let reason = format!("'{other}' is not one of round_robin, least, load");
                return Err(FieldError::new("placement", reason).into());
            }
        };
        let idempotent = self.method == Method::Put && name.is_some();
        let name = name.map(str::to_owned);
        Ok(Op::AddInstance { app: existing(app)?, name, fields, place, idempotent, found: None })
    }

    fn queue(&self, name: &str) -> Result<Queue, Reply> {
        let text = |name| self.params.filled(name);
        let options = text("options").map(|text| options(&text)).transpose()?;
        let queue = Queue {
            name: name.to_owned(),
            exchange: text("exchange"),
            exchange_type: text("exchange_type"),
            routing_key: text("routing_key"),
            options,
        };
        queue.check()?;
        Ok(queue)
    }

    fn query(&self, app: &str, task: &str, what: &str) -> Result<Op, Reply> {
        let what = match what {
            "state" => Query::State,
            "result" => Query::Result,
            "wait" => Query::Wait(self.timeout()?),
            _ => return Err(Reply::missing()),
        };
        model::name("task", task)?;
        Ok(Op::Query { app: existing(app)?, task: task.to_owned(), what })
    }

    fn timeout(&self) -> Result<Option<f64>, FieldError> {
        let Some(text) = self.params.filled("timeout") else { return Ok(None) };
        let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=1e6).contains(seconds));
        seconds.map(Some).ok_or_else(|| FieldError::new("timeout", format!("'{text}' is not a number of seconds")))
    }
}

fn model_url(hostname: &str, port: &str, userid: &str, password: &str) -> String {
    let host = if hostname.contains(':') { format!("[{hostname}]") } else { hostname.to_owned() };
    format!("amqp://{}:{}@{host}:{port}", encoded(userid), encoded(password))
}

/// The name of something that should exist: a name that nothing can have is not there.
fn existing(name: &str) -> Result<String, Reply> {
    model::name("name", name).map_err(|_| Reply::missing())?;
    Ok(name.to_owned())
}

fn options(text: &str) -> Result<Map<String, Value>, FieldError> {
    if text.len() > model::TEXT {
        return Err(FieldError::new("options", format!("longer than {} characters", model::TEXT)));
    }
    serde_json::from_str(text).map_err(|_| FieldError::new("options", "not a JSON object"))
}

/// The application and what follows, of a path of the form `/APP/queue/REST`.
fn queued(path: &str) -> Option<(String, &str)> {
    let (app, rest) = path.strip_prefix('/')?.split_once('/')?;
    Some((decoded(app), rest.strip_prefix("queue/")?))
}

fn queue_url(
    method: &str,
    app: &str,
    rest: &str,
    query: &str,
    content_type: &str,
    body: &[u8],
) -> Result<Parsed, Reply> {
    // The scheme is what stands right before the first "://", back to the last slash.
    let colon = rest.find("://").ok_or_else(|| FieldError::new("url", "no URL after queue/"))?;
    let begin = rest[..colon].rfind('/').map_or(0, |slash| slash + 1);
    let (queue, url) = (rest[..begin].trim_matches('/'), &rest[begin..]);
    if !matches!(&rest[begin..colon], "http" | "https") {
        return Err(FieldError::new("url", "neither http nor https").into());
    }
    if url.len() > model::TEXT {
        return Err(FieldError::new("url", format!("longer than {} characters", model::TEXT)).into());
    }
    let queue = (!queue.is_empty()).then(|| existing(&decoded(queue))).transpose()?;
    let mut params = pairs(query);
    let mut method = method.to_owned();
    // No HTTP server gets a CONNECT with a path: it is asked for as a parameter of POST.
    let connect = params.iter().position(|(name, value)| name == "method" && value == "CONNECT");
    if let (Some(at), "POST") = (connect, method.as_str()) {
        params.remove(at);
        method = "CONNECT".into();
    }
    if !VERBS.contains(&method.as_str()) {
        return Err(not_allowed());
    }
    let data = match method.as_str() {
        "GET" | "HEAD" => None,
        _ if body.is_empty() => None,
        _ if content_type.starts_with(FORM) => Some(Data::Form(form(body))),
        _ => Some(Data::Text(String::from_utf8_lossy(body).into_owned())),
    };
    let request = WebRequest { url: url.to_owned(), method, params, data };
    Ok(Parsed { op: Op::QueueUrl { app: existing(app)?, queue, request }, nowait: false })
}

/// The pairs of a query.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// The fields of a form.
pub(crate) fn form(body: &[u8]) -> Vec<(String, String)> {
    pairs(&String::from_utf8_lossy(body))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn get(target: &str) -> Op {
        parse("GET", target, "", b"").unwrap().op
    }

    fn status(method: &str, target: &str) -> u16 {
        parse(method, target, "", b"").unwrap_err().status
    }

    fn field(method: &str, target: &str) -> Value {
        let reply = parse(method, target, "", b"").unwrap_err();
        assert_eq!(reply.status, 400, "{target}");
        reply.body["field"].clone()
    }

    fn instance(name: &str, what: InstanceOp) -> Op {
        Op::Instance { name: name.into(), what }
    }

    #[test]
    fn what_is_read() {
        assert_eq!(get("/"), Op::Apps);
        assert_eq!(get("/ping/"), Op::Ping);
        assert_eq!(get("/branches/"), Op::Branches);
        assert_eq!(get("/branches/b1"), Op::Branch("b1".into()));
        assert_eq!(get("/foo/"), Op::App("foo".into()));
        assert_eq!(get("/foo/instances"), Op::Instances("foo".into()));
        assert_eq!(get("/foo/instances/i/"), instance("i", InstanceOp::Get));
        assert_eq!(get("/foo/instance/i/stats/"), instance("i", InstanceOp::Stats));
        assert_eq!(get("/foo/instances/i/queues/"), instance("i", InstanceOp::Queues));
        assert_eq!(get("/foo/instances/i/autoscale/"), instance("i", InstanceOp::Autoscale));
        assert_eq!(get("/foo/queues/"), Op::Queues);
        assert_eq!(get("/foo/queues/t/"), Op::Queue("t".into()));
        let query = |what| Op::Query { app: "foo".into(), task: "1-2".into(), what };
        assert_eq!(get("/foo/query/1-2/state/"), query(Query::State));
        assert_eq!(get("/foo/query/1-2/result/"), query(Query::Result));
        assert_eq!(get("/foo/query/1-2/wait/?timeout=1.5"), query(Query::Wait(Some(1.5))));
    }

    #[test]
    fn what_is_changed() {
        let foo = |fields| Op::PutApp { name: Some("foo".into()), fields };
        for method in ["PUT", "POST"] {
            assert_eq!(parse(method, "/foo/", "", b"").unwrap().op, foo(AppFields::default()));
        }
        let parts = parse("POST", "/foo/", FORM, b"hostname=w1&userid=me&password=m%2Fe&vhost=/").unwrap().op;
        let broker = Some("amqp://me:m%2Fe@w1:5672//".to_owned());
        assert_eq!(parts, foo(AppFields { broker, ..Default::default() }));
        let queue = parse("POST", "/foo/queues/tasks/?exchange=first", FORM, b"exchange=second&routing_key=t").unwrap();
        let tasks = Queue {
            name: "tasks".into(),
            exchange: Some("first".into()),
            routing_key: Some("t".into()),
            ..Default::default()
        };
        assert_eq!(queue.op, Op::PutQueue(tasks));
        let added = parse("PUT", "/foo/instances/!/i/queues/tasks", "", b"").unwrap();
        assert!(added.nowait);
        assert_eq!(added.op, instance("i", InstanceOp::AddConsumer("tasks".into())));
        let scaled = parse("POST", "/foo/instances/i/autoscale/?max=4&min=", "", b"").unwrap().op;
        assert_eq!(scaled, instance("i", InstanceOp::SetAutoscale { max: Some(4), min: None }));
        let deleted = parse("DELETE", "/foo/?force=1", "", b"").unwrap().op;
        assert_eq!(deleted, Op::DeleteApp { name: "foo".into(), force: true });
    }

    #[test]
    fn a_name_that_is_put_twice_is_no_conflict() {
        let idempotent = |method: &str, target: &str| match parse(method, target, "", b"").unwrap().op {
            Op::AddInstance { idempotent, .. } => idempotent,
            other => panic!("{other:?}"),
        };
        assert!(idempotent("PUT", "/foo/instances/i/"));
        assert!(!idempotent("POST", "/foo/instances/i/"));
        assert!(!idempotent("PUT", "/foo/instances/"));
    }

    #[test]
    fn wrong_values_name_their_field() {
        let long = "x".repeat(300);
        for (method, target, name) in [
            ("POST", format!("/foo/?broker=redis://{long}"), "broker"),
            ("POST", "/foo/?broker=x".into(), "broker"),
            ("POST", "/foo/?hostname=h&port=x".into(), "port"),
            ("POST", "/foo/?hostname=h%20h".into(), "hostname"),
            ("PUT", format!("/{long}/"), "app"),
            ("PUT", "/metrics/".into(), "app"),
            ("POST", format!("/foo/instances/{long}/"), "instance"),
            ("POST", "/foo/instances/?pool=x".into(), "pool"),
            ("POST", "/foo/instances/?placement=x".into(), "placement"),
            ("POST", "/foo/instances/?extra_config=x".into(), "extra_config"),
            ("POST", "/foo/instances/?arguments='".into(), "arguments"),
            ("PUT", format!("/foo/queues/{long}/"), "queue"),
            ("PUT", "/foo/queues/q/?options=[]".into(), "options"),
            ("PUT", format!("/foo/queues/q/?exchange={long}"), "exchange"),
            ("PUT", "/foo/queues/q/?exchange_type=x".into(), "exchange_type"),
            ("POST", "/foo/instances/i/autoscale/?max=x".into(), "max"),
            ("POST", "/foo/instances/i/autoscale/?max=0".into(), "max"),
            ("POST", "/foo/instances/i/autoscale/?max=1&min=2".into(), "min"),
            ("GET", "/foo/query/1/wait/?timeout=x".into(), "timeout"),
            ("POST", "/machines/b/watchers/web/incr/?nb=0".into(), "nb"),
            ("POST", "/machines/b/watchers/web/signal/".into(), "signum"),
            ("POST", "/machines/b/watchers/web/signal/?signum=99".into(), "signum"),
            ("POST", "/machines/b/watchers/web/signal/?signum=1&pid=0".into(), "pid"),
            ("POST", "/machines/b/watchers/web/reload/?sequential=x".into(), "sequential"),
            ("GET", "/machines/b/events/?after=x".into(), "after"),
            ("GET", "/machines/b/watchers/web/tail/?stream=x".into(), "stream"),
            ("GET", "/machines/b/watchers/web/tail/?lines=0".into(), "lines"),
            ("POST", "/leases/beat/".into(), "holder"),
            ("POST", "/leases/beat/?holder=h&life=0".into(), "life"),
            ("DELETE", "/leases/beat/?holder=a/b".into(), "holder"),
            ("GET", "/foo/queue/tasks/".into(), "url"),
            ("GET", format!("/foo/queue/tasks/http://{}", "x".repeat(5000)), "url"),
            ("DELETE", "/foo/?force=maybe".into(), "force"),
            ("POST", "/foo/?hostname=h&port=0".into(), "port"),
            ("POST", "/machines/b/watchers/web/incr/?nb=10001".into(), "nb"),
            ("GET", "/foo/query/1/wait/?timeout=-1".into(), "timeout"),
            ("PUT", format!("/foo/instances/i/queues/{long}/"), "queue"),
            ("GET", "/foo/queue/tasks/file:///etc".into(), "url"),
        ] {
            assert_eq!(field(method, &target), name, "{target}");
        }
    }

    #[test]
    fn other_methods_and_paths() {
        for (method, target, expected) in [
            ("PATCH", "/foo/", 405),
            ("DELETE", "/", 405),
            ("POST", "/branches/", 405),
            ("PUT", "/foo/instances/i/autoscale/", 405),
            ("DELETE", "/foo/queues/", 405),
            ("DELETE", "/foo/instances/", 405),
            ("GET", "/foo/instances/i/queues/q", 405),
            ("POST", "/foo/query/1/state/", 405),
            ("GET", "/foo/instances/!/i/", 501),
            ("GET", "/foo/bar/", 404),
            ("GET", "/foo/query/1/other/", 404),
            ("GET", "/a%20b/", 404),
        ] {
            assert_eq!(status(method, target), expected, "{method} {target}");
        }
    }

    #[test]
    fn urls_are_queued_as_they_were_sent() {
        let queued = |method: &str, target: &str, kind: &str, body: &[u8]| match parse(method, target, kind, body) {
            Ok(Parsed { op: Op::QueueUrl { queue, request, .. }, .. }) => (queue, request),
            other => panic!("{other:?}"),
        };
        let (queue, request) = queued("GET", "/foo/queue/tasks/http://m/import//x?user=133&user=4", "", b"ignored");
        assert_eq!((queue.as_deref(), request.url.as_str()), (Some("tasks"), "http://m/import//x"));
        assert_eq!((request.params(), request.data()), (json!({"user": ["133", "4"]}), Value::Null));
        let (queue, request) = queued("POST", "/foo/queue/https://m/", FORM, b"username=George+Costanza");
        assert_eq!((queue, request.method.as_str()), (None, "POST"));
        assert_eq!((request.params(), request.data()), (Value::Null, json!({"username": "George Costanza"})));
        let (_, request) = queued("PATCH", "/foo/queue/http://m/", "text/plain", b"a=b");
        assert_eq!(request.data(), json!("a=b"));
        let (_, request) = queued("POST", "/foo/queue/http://m/?method=CONNECT", "", b"");
        assert_eq!((request.method.as_str(), request.params()), ("CONNECT", Value::Null));
        for verb in VERBS {
            assert_eq!(queued(verb, "/foo/queue/http://m/", "", b"").1.method, *verb);
        }
    }
}
