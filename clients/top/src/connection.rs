//! The network: circusd's answers and events, and the figures of circusd-stats.

use std::time::Duration;

use mio::{Interest, Registry, Token};
use serde_json::json;

use super::follow::Follow;
use super::input::{Asked, Endpoints, Heard, Question};
use super::order::Order;
use super::output::{Inquiry, Subject};
use circus_client::endpoint::{self, Trouble};
use circus_client::{Client, ClientError, ClientKeys, Control, Ssh, Subscriber};
use circus_core::proto::Object;

/// Within this time circusd answers, or is not there.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Between two rounds of questions, where there is news ...
const PAUSE: Duration = Duration::from_millis(200);

/// ... and where there is none.
const CALM: Duration = Duration::from_secs(2);

const CONTROL: usize = 0;
const STATS: usize = 1;
const EVENTS: usize = 2;
const OUTPUT: usize = 3;
/// How many tokens a connection has.
const TOKENS: usize = 4;

/// The way to circusd.
pub(super) struct Connection {
    pub(super) stats: Subscriber,
    pub(super) events: Subscriber,
    /// While the pane of output is open. Separate from the events, so that a flood of output loses none of them.
    output: Option<Follow>,
    control: Control,
    client: Client,
    registry: Registry,
    /// Its tokens begin here.
    tokens: usize,
    ssh: Option<Ssh>,
    endpoints: Endpoints,
    round: u64,
    asked: Option<Duration>,
    /// Answers that are still expected.
    open: usize,
    /// When the next of them is overdue.
    overdue: Option<Duration>,
    /// There is news to ask about.
    pub(super) dirty: bool,
}

impl Connection {
    /// Connects, in the background; through ssh, when the ways are open. `number` counts the connections of this registry
    /// from 0.
    pub(super) fn open(
        endpoints: Endpoints,
        ssh: Option<Ssh>,
        keys: Option<ClientKeys>,
        registry: Registry,
        number: usize,
    ) -> Result<Self, String> {
        let tokens = number * TOKENS;
        let mut client = Client::new().map_err(|error| told(&error))?.with_keys(keys);
        let mut control = control(&mut client, ssh.as_ref(), &endpoints.control)?;
        let mut stats = subscriber(&mut client, ssh.as_ref(), &endpoints.stats, &["stat."])?;
        let mut events = subscriber(&mut client, ssh.as_ref(), &endpoints.events, &["watcher."])?;
        let registered = registry
            .register(&mut control, Token(tokens + CONTROL), Interest::READABLE)
            .and_then(|()| registry.register(&mut stats, Token(tokens + STATS), Interest::READABLE))
            .and_then(|()| registry.register(&mut events, Token(tokens + EVENTS), Interest::READABLE));
        registered.map_err(|error| error.to_string())?;
        Ok(Self {
            stats,
            events,
            output: None,
            control,
            client,
            registry,
            tokens,
            ssh,
            endpoints,
            round: 0,
            asked: None,
            open: 0,
            overdue: None,
            dirty: true,
        })
    }

    /// When something is to be done without being asked.
    pub(super) fn due(&self, now: Duration) -> Duration {
        match self.overdue {
            Some(overdue) => overdue,
            None => self.free_at().unwrap_or(now),
        }
    }

    /// When questions may be asked again.
    fn free_at(&self) -> Option<Duration> {
        self.asked.map(|asked| asked + if self.dirty { PAUSE } else { CALM })
    }

    /// Asks what is to be asked. Whether it did.
    pub(super) fn ask(&mut self, now: Duration) -> bool {
        if self.open > 0 || self.free_at().is_some_and(|free| free > now) {
            return false;
        }
        self.dirty = false;
        self.asked = Some(now);
        self.round += 1;
        for question in Question::ALL {
            let verbose = (question == Question::Status).then(|| ("verbose".to_owned(), true.into()));
            let id = format!("{} {}", question.command(), self.round);
            self.send(&id, question.command(), verbose.into_iter().collect(), now);
        }
        true
    }

    /// Sends an order under its number.
    pub(super) fn order(&mut self, number: u64, order: &Order, now: Duration) {
        let (command, properties) = order.request();
        self.send(&format!("order {number}"), command, properties, now);
    }

    /// Asks what went wrong in a watcher.
    pub(super) fn ask_why(&mut self, number: u64, watcher: &str, now: Duration) {
        let properties = Object::from_iter([("name".to_owned(), json!(watcher))]);
        self.send(&format!("why {number}"), "why", properties, now);
    }

    /// Asks for the last lines of output.
    pub(super) fn inquire(&mut self, inquiry: &Inquiry, now: Duration) {
        let Inquiry { number, subject, lines, after } = inquiry;
        let mut properties = Object::from_iter([
            ("name".to_owned(), json!(subject.watcher)),
            ("stream".to_owned(), json!(subject.stream)),
            ("lines".to_owned(), json!(lines)),
        ]);
        properties.extend(subject.wid.map(|wid| ("wid".to_owned(), wid.into())));
        properties.extend(after.map(|after| ("after".to_owned(), after.into())));
        self.send(&format!("tail {number}"), "tail", properties, now);
    }

    fn send(&mut self, id: &str, command: &str, properties: Object, now: Duration) {
        if self.control.ask(id, command, properties) {
            self.open += 1;
            self.overdue = self.overdue.or(Some(now + TIMEOUT));
        }
    }

    /// The next answer.
    pub(super) fn answer(&mut self, now: Duration) -> Option<(Asked, Object)> {
        while let Some((id, answer)) = self.control.answer() {
            let Some(asked) = asked(&id) else { continue };
            self.open = self.open.saturating_sub(1);
            self.overdue = (self.open > 0).then(|| now + TIMEOUT);
            return Some((asked, answer));
        }
        None
    }

    /// Gives up an answer that is overdue: a new connection takes the place of the old one, so that nothing which waits
    /// in that is done when circusd comes back, maybe much later.
    pub(super) fn give_up(&mut self, now: Duration) -> Option<Result<(), String>> {
        self.overdue.take_if(|overdue| *overdue <= now)?;
        self.open = 0;
        self.dirty = true;
        self.asked = None;
        Some(self.reconnect())
    }

    /// Why circusd cannot be reached. ssh accepts every connection, whatever there is at its far end.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        if self.ssh.is_some() {
            return None;
        }
        endpoint::trouble(&self.endpoints.control, PAUSE)
    }

    fn reconnect(&mut self) -> Result<(), String> {
        let mut control = control(&mut self.client, self.ssh.as_ref(), &self.endpoints.control)?;
        self.move_over(|registry, connection| registry.deregister(&mut connection.control))?;
        let registered = self.registry.register(&mut control, Token(self.tokens + CONTROL), Interest::READABLE);
        self.control = control;
        registered.map_err(|error| error.to_string())
    }

    /// Connects to other places.
    pub(super) fn follow(&mut self, endpoints: Endpoints) -> Result<(), String> {
        if endpoints.stats != self.endpoints.stats {
            let mut stats = subscriber(&mut self.client, self.ssh.as_ref(), &endpoints.stats, &["stat."])?;
            self.move_over(|registry, connection| {
                registry.deregister(&mut connection.stats)?;
                registry.register(&mut stats, Token(connection.tokens + STATS), Interest::READABLE)
            })?;
            self.stats = stats;
        }
        if endpoints.events != self.endpoints.events {
            let mut events = subscriber(&mut self.client, self.ssh.as_ref(), &endpoints.events, &["watcher."])?;
            self.move_over(|registry, connection| {
                registry.deregister(&mut connection.events)?;
                registry.register(&mut events, Token(connection.tokens + EVENTS), Interest::READABLE)
            })?;
            self.events = events;
        }
        let elsewhere = endpoints.events != self.endpoints.events;
        self.endpoints = endpoints;
        if let Some(Follow { subject, .. }) = self.output.as_ref().filter(|_| elsewhere) {
            self.listen(Some(subject.clone()))?;
        }
        Ok(())
    }

    /// Listens to what is printed there, and to nothing else that is.
    pub(super) fn listen(&mut self, subject: Option<Subject>) -> Result<(), String> {
        if let Some(mut former) = self.output.take() {
            self.move_over(|registry, _| registry.deregister(&mut former.subscriber))?;
        }
        let Some(subject) = subject else { return Ok(()) };
        let topics = Follow::topics(&subject);
        let subscriber =
            subscriber(&mut self.client, self.ssh.as_ref(), &self.endpoints.events, topics.both().as_slice())?;
        let mut follow = Follow { subscriber, subject, topics };
        let token = Token(self.tokens + OUTPUT);
        self.move_over(|registry, _| registry.register(&mut follow.subscriber, token, Interest::READABLE))?;
        self.output = Some(follow);
        Ok(())
    }

    /// What is printed there.
    pub(super) fn heard(&mut self) -> Option<Heard> {
        self.output.as_mut()?.heard()
    }

    fn move_over(&mut self, change: impl FnOnce(&Registry, &mut Self) -> std::io::Result<()>) -> Result<(), String> {
        let registry = self.registry.try_clone().map_err(|error| error.to_string())?;
        change(&registry, self).map_err(|error| error.to_string())
    }
}

fn control(client: &mut Client, ssh: Option<&Ssh>, endpoint: &str) -> Result<Control, String> {
    let connected = client.route(ssh, endpoint).and_then(|endpoint| client.control(&endpoint));
    connected.map(Control::unmonitored).map_err(|error| told(&error))
}

fn subscriber<T: AsRef<[u8]>>(
    client: &mut Client,
    ssh: Option<&Ssh>,
    endpoint: &str,
    topics: &[T],
) -> Result<Subscriber, String> {
    let subscribed = client.route(ssh, endpoint).and_then(|endpoint| client.subscribe(&endpoint, topics));
    subscribed.map_err(|error| told(&error))
}

fn told(error: &ClientError) -> String {
    error.to_string()
}

/// What an answer with this id is to.
fn asked(id: &str) -> Option<Asked> {
    let (word, number) = id.split_once(' ')?;
    match word {
        "order" => return number.parse().ok().map(Asked::Order),
        "tail" => return number.parse().ok().map(Asked::Tail),
        "why" => return number.parse().ok().map(Asked::Why),
        _ => {}
    }
    Question::ALL.into_iter().find(|question| question.command() == word).map(Asked::Question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_what_they_are_to() {
        assert_eq!(asked("order 7"), Some(Asked::Order(7)));
        assert_eq!(asked("tail 3"), Some(Asked::Tail(3)));
        assert_eq!(asked("why 4"), Some(Asked::Why(4)));
        assert_eq!(asked("status 12"), Some(Asked::Question(Question::Status)));
        assert_eq!(["", "status", "stop 1", "order x"].map(asked), [None; 4]);
    }
}
