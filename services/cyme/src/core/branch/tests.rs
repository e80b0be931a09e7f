use std::collections::VecDeque;

use serde_json::json;

use super::*;
use crate::core::board::Board;
use crate::core::message::Payload;
use crate::core::{parse, secs};

/// Branches b0, b1, ... whose broker answers at once, and whose circusds and workers carry out all requests.
struct Cluster {
    now: Now,
    board: Board,
    branches: Vec<Branch>,
    replies: Vec<(u64, Reply)>,
    requests: u64,
    /// Messages from one branch to another are lost.
    mute: bool,
    /// The broker cannot be reached.
    broken: bool,
    circus: Vec<String>,
    /// Every call of the broker.
    calls: Vec<BrokerCall>,
    /// Why changes cannot be stored.
    disk: Option<&'static str>,
    stored: Vec<Change>,
    /// What workers have sent about all tasks.
    result: Option<Value>,
    looks: Vec<(String, Query, std::time::Duration)>,
    /// What the next circusds that are asked tell of their processes.
    load: Vec<f64>,
}

impl Cluster {
    fn new(branches: usize) -> Self {
        let now = Now { mono: secs(100), unix: 1e9 };
        let new = |number| Branch::new(settings(number), Model::default(), now);
        let mut cluster = Self {
            now,
            board: Board::default(),
            branches: (0..branches).map(new).collect(),
            replies: Vec::new(),
            requests: 0,
            mute: false,
            broken: false,
            circus: Vec::new(),
            calls: Vec::new(),
            disk: None,
            stored: Vec::new(),
            result: None,
            looks: Vec::new(),
            load: Vec::new(),
        };
        for number in 0..branches {
            cluster.feed(number, Event::Started);
        }
        cluster
    }

    fn feed(&mut self, number: usize, event: Event) {
        let mut events = VecDeque::from([(number, event)]);
        while let Some((number, event)) = events.pop_front() {
            for action in self.branches[number].handle(self.now, event) {
                if let Some(event) = self.act(action) {
                    events.push_back((number, event));
                }
            }
            for (other, branch) in self.branches.iter().enumerate() {
                while let Some(message) = self.board.receive(self.now.mono, &branch.settings.id) {
                    if !self.mute {
                        events.push_back((other, Event::Message(message)));
                    }
                }
            }
        }
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Broker { call, .. } if self.broken => Some(Event::Broker { call, answer: Err("gone".into()) }),
            Action::Store(change) => Some(Event::Stored(match self.disk {
                Some(reason) => Err(reason.into()),
                None => {
                    self.stored.push(change);
                    Ok(())
                }
            })),
            Action::Broker { call, what } => {
                self.calls.push(what.clone());
                Some(Event::Broker { call, answer: Ok(self.board.apply(self.now.mono, what)) })
            }
            Action::Circus { call, command, properties, .. } => {
                let reply = match command {
                    "stats" if properties.is_empty() => {
                        let pid = json!({"cpu": self.load.pop().unwrap_or_default()});
                        return Some(Event::Outcome {
                            call,
                            outcome: Outcome::Circus(json!({"infos": {"web": {"7": pid, "8": "gone"}}})),
                        });
                    }
                    "status" if properties.contains_key("verbose") => {
                        json!({"status": "ok", "statuses": {"web": "active"}, "details": {"web": {"health": "ready"}}})
                    }
                    "status" => json!({"status": "error", "reason": "program x not found"}),
                    _ => json!({"status": "ok"}),
                };
                self.circus.push(format!("{command} {}", json!(properties)));
                Some(Event::Outcome { call, outcome: Outcome::Circus(reply) })
            }
            Action::Control { call, .. } => Some(Event::Outcome { call, outcome: Outcome::Reply(json!([])) }),
            Action::Respond { id, reply } => {
                self.replies.push((id, reply));
                None
            }
            Action::Publish { call, publication } => {
                let body = json!({"uuid": publication.task});
                Some(Event::Looked { call, reply: Reply { status: 202, body } })
            }
            Action::Look { call, task, backend, what, limit, .. } => {
                self.looks.push((backend, what, limit));
                let reply = match (&self.result, what) {
                    (Some(result), _) => Reply::ok(json!({"result": result, "of": task})),
                    (None, Query::Wait(_)) => {
                        self.now.mono += limit;
                        Reply::late()
                    }
                    (None, _) => Reply::ok(json!({"state": "PENDING"})),
                };
                Some(Event::Looked { call, reply })
            }
            _ => None,
        }
    }

    /// The answer to a request, if there is one yet.
    fn ask(&mut self, number: usize, method: &str, target: &str) -> Option<Reply> {
        let parsed = parse(method, target, "", b"").unwrap();
        self.requests += 1;
        let id = self.requests;
        self.feed(number, Event::Request { id, op: parsed.op, nowait: parsed.nowait });
        self.replies.iter().find(|(known, _)| *known == id).map(|(_, reply)| reply.clone())
    }

    fn status(&mut self, number: usize, method: &str, target: &str) -> u16 {
        self.ask(number, method, target).map_or(0, |reply| reply.status)
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = Now { mono: self.now.mono + secs(1), unix: self.now.unix + 1.0 };
            for number in 0..self.branches.len() {
                self.feed(number, Event::Tick);
            }
        }
    }

    /// Which branch has an instance.
    fn owner(&self, name: &str) -> Option<usize> {
        self.branches.iter().position(|branch| branch.model.instances.contains_key(name))
    }
}

fn settings(number: usize) -> Settings {
    Settings {
        id: format!("b{number}"),
        url: format!("http://b{number}:8000"),
        port: 8000,
        broker: "redis://broker/0".into(),
        result_backend: None,
        loglevel: "INFO".into(),
        logfile: None,
        numc: 2,
        interval: secs(60),
        drain: secs(10),
        labels: vec![format!("label{number}")],
        root: "/root".into(),
        celery: "celery".into(),
        python_path: "/python".into(),
        seed: number as u64,
    }
}

#[test]
fn any_branch_answers_for_all() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.status(0, "POST", "/foo/"), 201);
    assert_eq!(cluster.status(0, "POST", "/foo/instances/!/i/?branch=b2"), 202);
    assert_eq!(cluster.owner("i"), Some(2));
    for number in 0..3 {
        assert_eq!(cluster.ask(number, "GET", "/foo/instances/").unwrap().body, json!(["i"]));
        assert_eq!(cluster.ask(number, "GET", "/foo/instances/i/").unwrap().body["name"], "i");
        assert_eq!(cluster.status(number, "GET", "/foo/instances/j/"), 404);
        assert_eq!(cluster.status(number, "POST", "/foo/instances/I/"), 409);
        assert_eq!(cluster.status(number, "PUT", "/foo/instances/i/"), 200);
        assert_eq!(cluster.ask(number, "GET", "/branches/").unwrap().body, json!(["b0", "b1", "b2"]));
        assert_eq!(cluster.ask(number, "GET", "/branches/b1/").unwrap().body["id"], "b1");
        assert_eq!(cluster.status(number, "GET", "/branches/b9/"), 404);
    }
    assert_eq!(cluster.status(0, "POST", "/bar/instances/"), 404);
    assert_eq!(cluster.status(0, "POST", "/foo/instances/!/k/?label=label1"), 202);
    assert_eq!(cluster.owner("k"), Some(1));
    assert_eq!(cluster.status(0, "POST", "/foo/instances/!/l/?label=none"), 409);
    assert_eq!(cluster.status(1, "POST", "/foo/instances/!/m/?placement=least"), 202);
    assert_eq!(cluster.owner("m"), Some(0));
}

#[test]
fn a_branch_that_does_not_answer_is_waited_for_a_minute() {
    let mut cluster = Cluster::new(2);
    cluster.ask(0, "POST", "/cyme/instances/!/i/?branch=b1");
    cluster.mute = true;
    assert_eq!(cluster.ask(0, "GET", "/cyme/instances/i/"), None);
    cluster.pass(59);
    assert!(cluster.replies.iter().all(|(id, _)| *id != cluster.requests));
    cluster.pass(2);
    assert_eq!(cluster.replies.last().unwrap().1.status, 408);
}

#[test]
fn a_branch_that_is_dead_has_nothing() {
    let mut cluster = Cluster::new(2);
    cluster.ask(0, "POST", "/cyme/instances/!/i/?branch=b1");
    let dead = cluster.branches.pop();
    cluster.pass(26);
    assert_eq!(cluster.status(0, "GET", "/cyme/instances/i/"), 404);
    assert_eq!(cluster.ask(0, "GET", "/cyme/instances/").unwrap().body, json!([]));
    // Its names are still its own.
    assert_eq!(cluster.status(0, "POST", "/cyme/instances/i/"), 409);
    cluster.branches.extend(dead);
    cluster.pass(1);
    assert_eq!(cluster.status(0, "GET", "/cyme/instances/i/"), 200);
}

#[test]
fn without_a_broker_a_branch_says_so_and_answers_for_its_own() {
    let mut cluster = Cluster::new(1);
    cluster.ask(0, "POST", "/foo/");
    cluster.ask(0, "POST", "/foo/instances/!/i/");
    cluster.broken = true;
    for (method, target) in
        [("GET", "/foo/instances/j/"), ("POST", "/foo/instances/j/"), ("GET", "/"), ("PUT", "/foo/")]
    {
        assert_eq!(cluster.status(0, method, target), 503, "{method} {target}");
    }
    assert_eq!(cluster.status(0, "GET", "/foo/instances/i/"), 200);
    assert_eq!(cluster.status(0, "GET", "/foo/"), 200);
    cluster.broken = false;
    assert_eq!(cluster.status(0, "POST", "/foo/instances/!/j/"), 202);
}

#[test]
fn a_request_that_comes_twice_is_done_once() {
    let mut cluster = Cluster::new(2);
    cluster.ask(0, "POST", "/cyme/instances/!/i/?branch=b1");
    let op = Op::Instance { name: "i".into(), what: crate::core::op::InstanceOp::Enable(false) };
    let request = |expires| {
        let payload = Payload::Request { op: op.clone(), nowait: false, expires };
        Message { id: format!("m{expires}"), from: "b0".into(), payload }
    };
    let enabled = |cluster: &Cluster| cluster.branches[1].model.instances["i"].is_enabled;
    // One whose time has passed is not done: its client got an error.
    cluster.feed(1, Event::Message(request(cluster.now.unix - 1.0)));
    assert!(enabled(&cluster));
    let late = request(cluster.now.unix + 60.0);
    cluster.feed(1, Event::Message(late.clone()));
    assert!(!enabled(&cluster));
    assert_eq!(cluster.status(1, "POST", "/cyme/instances/!/i/enable/"), 202);
    cluster.feed(1, Event::Message(late));
    assert!(enabled(&cluster));
}

#[test]
fn an_application_that_changes_changes_everywhere() {
    let mut cluster = Cluster::new(2);
    cluster.ask(0, "POST", "/foo/?arguments=-O");
    cluster.ask(0, "POST", "/foo/instances/!/i/?branch=b1");
    let arguments = |cluster: &Cluster| cluster.branches[1].model.apps["foo"].arguments.clone();
    assert_eq!(arguments(&cluster).as_deref(), Some("-O"));
    // Nothing is given, so nothing changes.
    assert_eq!(cluster.ask(1, "POST", "/foo/").unwrap().body["arguments"], "-O");
    assert_eq!(cluster.ask(0, "POST", "/foo/?arguments=-E").unwrap().body["arguments"], "-E");
    assert_eq!(arguments(&cluster).as_deref(), Some("-E"));
    assert_eq!(cluster.ask(1, "GET", "/foo/").unwrap().body["arguments"], "-E");
}

#[test]
fn an_application_with_instances_is_deleted_by_force_only() {
    let mut cluster = Cluster::new(2);
    cluster.ask(0, "POST", "/foo/");
    cluster.ask(0, "POST", "/foo/instances/!/i/?branch=b1");
    assert_eq!(cluster.status(0, "DELETE", "/foo/"), 409);
    assert_eq!(cluster.status(0, "DELETE", "/bar/"), 404);
    let deleted = cluster.ask(0, "DELETE", "/foo/?force=1").unwrap();
    assert_eq!((deleted.status, deleted.body), (200, json!([{"ok": "ok"}, {"ok": "ok"}])));
    cluster.pass(20);
    assert_eq!(cluster.owner("i"), None);
    assert_eq!(cluster.ask(1, "GET", "/").unwrap().body, json!([]));
}

#[test]
fn a_deleted_queue_is_consumed_from_no_more() {
    let mut cluster = Cluster::new(3);
    cluster.ask(0, "POST", "/cyme/queues/tasks/?exchange=e");
    cluster.ask(0, "POST", "/cyme/instances/!/i/?branch=b1");
    assert_eq!(cluster.status(2, "PUT", "/cyme/instances/!/i/queues/tasks/"), 202);
    assert_eq!(cluster.status(2, "PUT", "/cyme/instances/i/queues/other/"), 404);
    assert_eq!(cluster.branches[1].model.instances["i"].queues[0].exchange.as_deref(), Some("e"));
    // A declaration that is there already stays as it is.
    assert_eq!(cluster.ask(2, "PUT", "/cyme/queues/tasks/?exchange=f").unwrap().body["exchange"], "e");
    assert_eq!(cluster.status(2, "DELETE", "/cyme/queues/tasks/"), 200);
    assert!(cluster.branches[1].model.instances["i"].queues.is_empty());
    assert_eq!(cluster.status(0, "GET", "/cyme/queues/tasks/"), 404);
    assert_eq!(cluster.status(0, "DELETE", "/cyme/queues/tasks/"), 404);
    assert_eq!(cluster.ask(1, "GET", "/cyme/queues/").unwrap().body, json!([]));
}

#[test]
fn watchers_of_a_machine_are_its_circusds() {
    let mut cluster = Cluster::new(2);
    assert_eq!(cluster.status(0, "POST", "/machines/b1/watchers/web/reload/"), 200);
    assert_eq!(cluster.circus, [r#"reload {"graceful":true,"sequential":false,"waiting":true,"name":"web"}"#]);
    // Each parameter is a property.
    for (method, path, asked) in [
        (
            "POST",
            "web/reload/?sequential=1&graceful=0",
            r#"reload {"graceful":false,"sequential":true,"waiting":true,"name":"web"}"#,
        ),
        (
            "POST",
            "web/signal/?signum=1&pid=7&recursive=1",
            r#"signal {"signum":1,"pid":7,"recursive":true,"name":"web"}"#,
        ),
        ("POST", "web/signal/?signum=15", r#"signal {"signum":15,"recursive":false,"name":"web"}"#),
        ("GET", "web/why/", r#"why {"name":"web"}"#),
        ("GET", "web/options/?all=1", r#"options {"all":true,"name":"web"}"#),
        ("GET", "web/tail/?wid=2", r#"tail {"stream":"stdout","lines":10,"after":null,"wid":2,"name":"web"}"#),
    ] {
        assert_eq!(cluster.status(0, method, &format!("/machines/b1/watchers/{path}")), 200, "{path}");
        assert_eq!(cluster.circus.last().map(String::as_str), Some(asked));
    }
    let details = cluster.ask(0, "GET", "/machines/b1/watchers/?verbose=1").unwrap().body;
    assert_eq!(
        (&details["statuses"]["web"], &details["details"]["web"]["health"]),
        (&json!("active"), &json!("ready"))
    );
    assert_eq!(cluster.ask(0, "GET", "/machines/b1/stats/").unwrap().body["infos"]["web"]["8"], "gone");
    assert_eq!(cluster.status(0, "GET", "/machines/b1/watchers/web/"), 404);
    assert_eq!(cluster.status(0, "GET", "/machines/b9/watchers/"), 404);
    assert_eq!(cluster.ask(0, "GET", "/machines/").unwrap().body[1]["labels"], json!(["label1"]));
}

/// Only a broker that has forgotten everything lets two branches have one name.
#[test]
fn the_later_of_two_that_have_a_name_gives_way() {
    let mut cluster = Cluster::new(2);
    cluster.ask(0, "POST", "/cyme/instances/!/i/?branch=b1");
    cluster.board.clear();
    cluster.now.mono += HEARTBEAT;
    cluster.feed(0, Event::Tick);
    assert_eq!(cluster.status(0, "POST", "/cyme/instances/!/i/?branch=b0"), 202);
    cluster.pass(61);
    let instance = |number: usize| cluster.branches[number].model.instances["i"].clone();
    assert!(instance(0).is_enabled);
    assert!(!instance(1).is_enabled);
    assert_eq!(instance(1).note.as_deref(), Some("branch 'b0' has an instance of this name"));
}

#[test]
fn a_change_that_cannot_be_stored_is_refused_until_it_can() {
    let mut cluster = Cluster::new(1);
    cluster.disk = Some("no space left");
    let refused = cluster.ask(0, "POST", "/foo/").unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.body["nok"][0].as_str().unwrap().contains("no space left"), "{}", refused.body);
    assert_eq!(cluster.branches[0].unsaved(), 1);
    // Nothing else is begun meanwhile, and what is read is answered.
    assert_eq!(cluster.status(0, "PUT", "/foo/queues/q/"), 503);
    assert_eq!(cluster.status(0, "POST", "/foo/instances/!/i/"), 503);
    assert_eq!(cluster.status(0, "GET", "/foo/"), 200);
    assert_eq!((cluster.branches[0].model.queues.len(), cluster.owner("i")), (0, None));
    cluster.disk = None;
    cluster.pass(6);
    assert_eq!(cluster.branches[0].unsaved(), 0);
    assert!(matches!(&cluster.stored[..], [Change::PutApp(app)] if app.name == "foo"), "{:?}", cluster.stored);
    assert_eq!(cluster.status(0, "POST", "/foo/instances/!/i/"), 202);
}

#[test]
fn an_earlier_change_that_is_stored_again_does_not_undo_a_later_one() {
    let mut cluster = Cluster::new(1);
    cluster.ask(0, "POST", "/cyme/instances/!/i/");
    cluster.disk = Some("no space left");
    assert_eq!(cluster.status(0, "POST", "/cyme/instances/!/i/disable/"), 503);
    let mut instance = cluster.branches[0].model.instances["i"].clone();
    assert!(!instance.is_enabled);
    instance.note = Some("later".into());
    let now = cluster.now;
    cluster.disk = None;
    cluster.branches[0].put_instance(now, instance.clone());
    cluster.pass(6);
    assert!(matches!(cluster.stored.last(), Some(Change::PutInstance(stored)) if **stored == instance));
}

/// A branch that was absent when the application was deleted with its instances.
#[test]
fn a_forced_deletion_reaches_a_branch_that_was_absent() {
    for anew in [false, true] {
        let mut cluster = Cluster::new(2);
        cluster.ask(0, "POST", "/foo/");
        cluster.ask(0, "POST", "/foo/instances/!/i/?branch=b1");
        let absent = cluster.branches.pop();
        cluster.pass(26);
        assert_eq!(cluster.status(0, "DELETE", "/foo/?force=1"), 200);
        if anew {
            assert_eq!(cluster.status(0, "POST", "/foo/"), 201);
            assert_eq!(cluster.status(0, "POST", "/foo/instances/!/j/"), 202);
        }
        cluster.branches.extend(absent);
        cluster.pass(90);
        assert_eq!(cluster.owner("i"), None, "anew: {anew}");
        assert_eq!(cluster.owner("j"), anew.then_some(0));
        let apps = |number: usize| cluster.branches[number].model.apps.contains_key("foo");
        assert_eq!(apps(0), anew);
        // It takes part in the new application.
        assert_eq!(cluster.status(1, "POST", "/foo/instances/!/k/?branch=b1"), if anew { 202 } else { 404 });
        cluster.pass(90);
        assert_eq!(cluster.owner("k"), anew.then_some(1));
    }
}

#[test]
fn a_queue_that_is_there_is_never_declared_otherwise() {
    let mut cluster = Cluster::new(2);
    assert_eq!(cluster.status(0, "PUT", "/cyme/queues/tasks/?exchange=e"), 201);
    cluster.calls.clear();
    assert_eq!(cluster.ask(0, "PUT", "/cyme/queues/tasks/?exchange=f").unwrap().body["exchange"], "e");
    let written = cluster.calls.iter().filter_map(|call| match call {
        BrokerCall::Claim(_, entry, _) | BrokerCall::Put(_, entry) => Some(entry.body["exchange"].clone()),
        _ => None,
    });
    assert!(written.clone().all(|exchange| exchange == "e"), "{:?}", written.collect::<Vec<_>>());
}

/// Results over RabbitMQ come to the branch that has published the task; the others ask it.
#[test]
fn a_result_is_asked_of_the_branch_that_has_it() {
    let mut cluster = Cluster::new(3);
    cluster.ask(0, "POST", "/foo/?broker=amqp://h");
    let task = cluster.ask(1, "GET", "/foo/queue/http://localhost/").unwrap().body["uuid"].as_str().unwrap().to_owned();
    cluster.result = Some(json!(5));
    for number in 0..3 {
        for what in ["result/", "state/", "wait/", "wait/?timeout=3"] {
            let reply = cluster.ask(number, "GET", &format!("/foo/query/{task}/{what}")).unwrap();
            assert_eq!((reply.status, &reply.body["result"]), (200, &json!(5)), "{number} {what}");
        }
    }
    assert!(cluster.looks.iter().all(|(backend, ..)| backend == RPC));
    // Nothing is known of a task of another fleet, or of one whose branch has gone.
    let other = format!("/foo/query/{}/", "1-2-3");
    assert_eq!(cluster.status(0, "GET", &format!("{other}wait/")), 404);
    cluster.result = None;
    assert_eq!(cluster.ask(0, "GET", &format!("{other}state/")).unwrap().body, json!({"state": "PENDING"}));
}

#[test]
fn a_result_is_waited_for_as_long_as_the_client_says() {
    let mut cluster = Cluster::new(2);
    cluster.ask(0, "POST", "/foo/?broker=amqp://h");
    let task = cluster.ask(1, "GET", "/foo/queue/http://localhost/").unwrap().body["uuid"].as_str().unwrap().to_owned();
    for number in 0..2 {
        cluster.looks.clear();
        let begun = cluster.now.mono;
        assert_eq!(cluster.status(number, "GET", &format!("/foo/query/{task}/wait/?timeout=75")), 408);
        assert_eq!(cluster.now.mono - begun, secs(75), "branch {number}");
        assert_eq!(cluster.looks.len(), 3, "{:?}", cluster.looks);
    }
}

#[test]
fn a_client_that_has_gone_is_not_waited_for() {
    let mut cluster = Cluster::new(1);
    cluster.ask(0, "POST", "/foo/");
    cluster.ask(0, "POST", "/foo/instances/i/");
    cluster.requests += 1;
    let (id, what) = (cluster.requests, Query::Wait(None));
    let op = Op::Query { app: "foo".into(), task: "t".into(), what };
    let actions = cluster.branches[0].handle(cluster.now, Event::Request { id, op, nowait: false });
    let Some(Action::Look { call, .. }) = actions.into_iter().find(|action| matches!(action, Action::Look { .. }))
    else {
        panic!("nothing is looked for");
    };
    let before = cluster.branches[0].under_way();
    cluster.feed(0, Event::Gone(id));
    assert_eq!(cluster.branches[0].under_way(), before - 1);
    cluster.feed(0, Event::Looked { call, reply: Reply::late() });
    assert_eq!(cluster.branches[0].under_way(), before - 1);
}

#[test]
fn a_lease_has_one_holder_in_the_fleet() {
    let mut cluster = Cluster::new(2);
    let number = |cluster: &mut Cluster, branch, target: &str| {
        cluster.ask(branch, "POST", target).map(|reply| (reply.status, reply.body["number"].as_u64()))
    };
    assert_eq!(number(&mut cluster, 0, "/leases/beat/?holder=a&life=10"), Some((200, Some(1))));
    assert_eq!(number(&mut cluster, 1, "/leases/beat/?holder=b&life=10"), Some((409, None)));
    assert_eq!(number(&mut cluster, 1, "/leases/other/?holder=b"), Some((200, Some(1))));
    cluster.pass(9);
    assert_eq!(number(&mut cluster, 1, "/leases/beat/?holder=a&life=10"), Some((200, Some(1))));
    cluster.pass(9);
    assert_eq!(cluster.status(0, "DELETE", "/leases/beat/?holder=b"), 409);
    assert_eq!(cluster.status(0, "DELETE", "/leases/beat/?holder=a"), 200);
    assert_eq!(number(&mut cluster, 1, "/leases/beat/?holder=b&life=10"), Some((200, Some(2))));
    cluster.broken = true;
    assert_eq!(cluster.status(0, "POST", "/leases/beat/?holder=b"), 503);
}

#[test]
fn what_circusd_reports_is_waited_for() {
    let mut cluster = Cluster::new(2);
    let report = |cluster: &mut Cluster, name: &str, event: &str| {
        let (name, event, about) = (name.to_owned(), event.to_owned(), json!({"pid": 7}));
        cluster.feed(1, Event::Watcher { name, event, about });
    };
    report(&mut cluster, "web", "spawn");
    let all = cluster.ask(0, "GET", "/machines/b1/events/").unwrap().body;
    assert_eq!((&all["events"][0]["watcher"], &all["events"][0]["about"]), (&json!("web"), &json!({"pid": 7})));
    let next = all["next"].as_u64().unwrap();
    // Any branch waits for the next one of this watcher.
    assert_eq!(cluster.ask(0, "GET", &format!("/machines/b1/watchers/Web/events/?after={next}")), None);
    let id = cluster.requests;
    report(&mut cluster, "db", "reap");
    assert!(cluster.replies.iter().all(|(known, _)| *known != id));
    report(&mut cluster, "web", "reap");
    let (_, reply) = cluster.replies.iter().find(|(known, _)| *known == id).unwrap();
    assert_eq!(reply.body["events"].as_array().map(Vec::len), Some(1));
    assert_eq!((&reply.body["events"][0]["event"], reply.body["next"].as_u64()), (&json!("reap"), Some(next + 2)));
    // Nothing in time is an answer, too.
    assert_eq!(cluster.ask(1, "GET", &format!("/machines/b1/events/?after={}", next + 2)), None);
    cluster.pass(21);
    assert_eq!(cluster.replies.last().unwrap().1.body, json!({"events": [], "next": next + 2}));
    for _ in 0..600 {
        report(&mut cluster, "web", "spawn");
    }
    let all = cluster.ask(0, "GET", "/machines/b1/watchers/web/events/").unwrap().body;
    assert_eq!(all["events"].as_array().map(Vec::len), Some(500));
}

#[test]
fn an_instance_is_placed_where_the_least_is_used() {
    let mut cluster = Cluster::new(3);
    cluster.load = vec![20.0, 5.0, 70.4];
    cluster.pass(75);
    let loads = cluster.ask(0, "GET", "/machines/").unwrap().body;
    assert_eq!(loads.as_array().unwrap().iter().map(|one| one["cpu"].clone()).collect::<Vec<_>>(), [70.0, 5.0, 20.0]);
    for name in ["i", "j"] {
        assert_eq!(cluster.status(2, "POST", &format!("/cyme/instances/!/{name}/?placement=load")), 202);
        assert_eq!(cluster.owner(name), Some(1));
    }
}

/// What a branch does for an instance that has changed does not depend on how many others there are.
#[test]
fn instances_that_are_as_wanted_are_not_looked_at() {
    let looks = |instances: usize| {
        let mut cluster = Cluster::new(1);
        assert_eq!(cluster.status(0, "POST", "/foo/"), 201);
        for number in 0..instances {
            assert_eq!(cluster.status(0, "POST", &format!("/foo/instances/!/i{number}/")), 202);
        }
        cluster.pass(2);
        let branch = &cluster.branches[0];
        assert!(branch.model.instances.iter().all(|(name, wanted)| branch.worker(name).unwrap().converged(wanted)));
        let before = branch.workers.looks;
        cluster.pass(3);
        let idle = cluster.branches[0].workers.looks - before;
        cluster.feed(0, Event::Watcher { name: "cyme-i7".into(), event: "spawn".into(), about: json!({}) });
        let one = cluster.branches[0].workers.looks - before;
        cluster.pass(60);
        let all = cluster.branches[0].workers.looks - before - one;
        assert!(all >= instances && all < 20 * instances, "{all} looks at {instances} instances after their interval");
        (idle, one)
    };
    assert_eq!(looks(10).0, 0);
    assert_eq!(looks(10), looks(200));
}
