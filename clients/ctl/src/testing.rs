//! A daemon made of prepared replies, and a run of circusctl against it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::{Connector, Environment, Event, Streams, Subscription, Target, run};
use circus_client::{ClientError, Hosts, Request, Wait};

type Replies = Rc<RefCell<VecDeque<Result<String, ClientError>>>>;

/// What reached the daemon.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heard {
    pub(super) endpoint: String,
    pub(super) request: Value,
    pub(super) wait: Wait,
}

/// A daemon that is not there.
pub(super) fn unreachable() -> ClientError {
    ClientError::Unreachable { endpoint: "tcp://127.0.0.1:25999".into(), trouble: None }
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
    pub(super) trouble: Option<ClientError>,
    /// The text of `hosts.toml`.
    pub(super) hosts: &'static str,
    /// What daemons at other endpoints answer that are spoken with on threads of their own, in order.
    pub(super) elsewhere: Vec<(String, Result<String, ClientError>)>,
}

/// One of these daemons.
struct FakeHost {
    replies: VecDeque<(String, Result<String, ClientError>)>,
    events: Vec<(&'static str, &'static str)>,
}

impl Connector for FakeHost {
    fn hosts(&mut self) -> Result<Hosts, ClientError> {
        Err(ClientError::NoHost("asked by the wrong one".into()))
    }

    fn another(&mut self) -> Result<Box<dyn Connector + Send>, ClientError> {
        Ok(Box::new(Self { replies: self.replies.clone(), events: self.events.clone() }))
    }

    fn call(&mut self, target: &Target, requests: &[Request], _: Wait) -> Vec<Result<Vec<u8>, ClientError>> {
        let answer = |_: &Request| {
            let at = self.replies.iter().position(|(endpoint, _)| *endpoint == target.endpoint);
            let (_, reply) = at.and_then(|at| self.replies.remove(at)).expect("no reply is prepared for this endpoint");
            reply.map(String::into_bytes)
        };
        requests.iter().map(answer).collect()
    }

    fn subscribe(&mut self, _: &Target, _: &[String]) -> Result<Box<dyn Subscription>, ClientError> {
        Ok(Box::new(FakeSubscription(self.events.clone().into_iter())))
    }

    fn trouble(&mut self, _: &Target, _: Duration) -> Option<ClientError> {
        None
    }
}

impl FakeDaemon {
    pub(super) fn answering<'a>(replies: impl IntoIterator<Item = &'a str>) -> Self {
        let daemon = Self::default();
        daemon.replies.borrow_mut().extend(replies.into_iter().map(|reply| Ok(reply.to_owned())));
        daemon
    }

    pub(super) fn failing(error: ClientError) -> Self {
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

struct FakeSubscription(std::vec::IntoIter<(&'static str, &'static str)>);

impl Subscription for FakeSubscription {
    fn next_event(&mut self, _limit: Option<Duration>) -> Result<Option<Event>, ClientError> {
        Ok(self.0.next().map(|(topic, body)| Event { topic: topic.into(), body: body.into() }))
    }
}

impl Connector for FakeDaemon {
    fn hosts(&mut self) -> Result<Hosts, ClientError> {
        Hosts::parse(Path::new("/c/hosts.toml"), self.hosts).map_err(ClientError::NoHost)
    }

    fn another(&mut self) -> Result<Box<dyn Connector + Send>, ClientError> {
        Ok(Box::new(FakeHost { replies: self.elsewhere.clone().into(), events: self.events.clone() }))
    }

    fn call(&mut self, target: &Target, requests: &[Request], wait: Wait) -> Vec<Result<Vec<u8>, ClientError>> {
        let answer = |request: &Request| {
            let endpoint = through(target)?;
            let request: Value = serde_json::from_slice(request.message()).unwrap();
            self.heard.borrow_mut().push(Heard { endpoint, request, wait });
            let reply = self.replies.borrow_mut().pop_front().expect("no reply is prepared for this request");
            reply.map(String::into_bytes)
        };
        requests.iter().map(answer).collect()
    }

    fn subscribe(&mut self, target: &Target, topics: &[String]) -> Result<Box<dyn Subscription>, ClientError> {
        self.subscriptions.push((through(target)?, topics.to_vec()));
        Ok(Box::new(FakeSubscription(self.events.clone().into_iter())))
    }

    fn trouble(&mut self, _target: &Target, _limit: Duration) -> Option<ClientError> {
        self.trouble.clone()
    }
}

/// How a target is reached.
fn through(target: &Target) -> Result<String, ClientError> {
    let endpoint = &target.endpoint;
    match &target.ssh {
        None => Ok(endpoint.clone()),
        Some(ssh) if ssh.server == "nowhere" => Err(ClientError::NoTunnel("there is no way".into())),
        Some(ssh) => Ok(format!("through {} with {:?} to {endpoint}", ssh.server, ssh.keyfile)),
    }
}
