//! A daemon made of prepared replies, and a run of circusctl against it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::{CallError, Connector, Environment, Event, Streams, Subscription, Transport, run};
use circus_sys::Ssh;

type Replies = Rc<RefCell<VecDeque<Result<String, CallError>>>>;

/// What reached the daemon.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heard {
    pub(super) endpoint: String,
    pub(super) request: Value,
    pub(super) timeout: Duration,
}

/// What came out of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) exit: u8,
}

/// Replies in order, and a list of what was asked.
#[derive(Default)]
pub(super) struct FakeDaemon {
    pub(super) replies: Replies,
    pub(super) heard: Rc<RefCell<Vec<Heard>>>,
    pub(super) events: Vec<(&'static str, &'static str)>,
    pub(super) subscriptions: Vec<(String, Vec<String>)>,
    pub(super) environment: Environment,
    pub(super) input: &'static str,
}

impl FakeDaemon {
    pub(super) fn answering<'a>(replies: impl IntoIterator<Item = &'a str>) -> Self {
        let daemon = Self::default();
        daemon.replies.borrow_mut().extend(replies.into_iter().map(|reply| Ok(reply.to_owned())));
        daemon
    }

    pub(super) fn failing(error: CallError) -> Self {
        let daemon = Self::default();
        daemon.replies.borrow_mut().push_back(Err(error));
        daemon
    }

    /// Runs circusctl with this command line.
    pub(super) fn run(&mut self, line: &str) -> Seen {
        let arguments: Vec<OsString> = shlex::split(line).unwrap().into_iter().map(Into::into).collect();
        let (mut input, mut output, mut errors) = (self.input.as_bytes(), Vec::new(), Vec::new());
        let mut streams = Streams { input: &mut input, output: &mut output, errors: &mut errors };
        let environment = Environment { id_prefix: "id".into(), ..self.environment.clone() };
        let exit = run(arguments, environment, &mut streams, self).unwrap().code();
        Seen { stdout: String::from_utf8(output).unwrap(), stderr: String::from_utf8(errors).unwrap(), exit }
    }
}

struct FakeTransport {
    endpoint: String,
    replies: Replies,
    heard: Rc<RefCell<Vec<Heard>>>,
}

impl Transport for FakeTransport {
    fn call(&mut self, request: &[u8], id: &str, timeout: Duration) -> Result<Vec<u8>, CallError> {
        let request: Value = serde_json::from_slice(request).unwrap();
        assert_eq!(request["id"], id);
        self.heard.borrow_mut().push(Heard { endpoint: self.endpoint.clone(), request, timeout });
        let reply = self.replies.borrow_mut().pop_front().expect("no reply is prepared for this request");
        reply.map(String::into_bytes)
    }
}

struct FakeSubscription(std::vec::IntoIter<(&'static str, &'static str)>);

impl Subscription for FakeSubscription {
    fn next_event(&mut self, _limit: Option<Duration>) -> Result<Option<Event>, CallError> {
        Ok(self.0.next().map(|(topic, body)| Event { topic: topic.into(), body: body.into() }))
    }
}

impl Connector for FakeDaemon {
    fn control(&mut self, endpoint: &str) -> Result<Box<dyn Transport>, CallError> {
        let (replies, heard) = (Rc::clone(&self.replies), Rc::clone(&self.heard));
        Ok(Box::new(FakeTransport { endpoint: endpoint.into(), replies, heard }))
    }

    fn tunnel(&mut self, ssh: &Ssh, endpoint: &str) -> Result<String, CallError> {
        match ssh.server.as_str() {
            "nowhere" => Err(CallError::NoTunnel("there is no way".into())),
            server => Ok(format!("through {server} with {:?} to {endpoint}", ssh.keyfile)),
        }
    }

    fn subscribe(&mut self, endpoint: &str, topics: &[String]) -> Result<Box<dyn Subscription>, CallError> {
        self.subscriptions.push((endpoint.into(), topics.to_vec()));
        Ok(Box::new(FakeSubscription(self.events.clone().into_iter())))
    }
}
