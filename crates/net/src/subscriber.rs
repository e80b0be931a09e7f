//! A subscriber to events.

use std::time::Duration;

use super::context::Transport;
use super::deadline::Deadline;
use super::readiness::{PolledSocket, registrable};
use super::{ClientKeys, Context, NetError};

/// Events that wait to be read. The publisher's own mark is lower; what is beyond both is lost.
const HWM: i32 = 100_000;

/// A SUB socket. As an iterator it waits for events and never ends.
pub struct Subscriber {
    port: PolledSocket,
}

registrable!(Subscriber);

impl Subscriber {
    /// A subscriber to all events whose topic begins with one of `topics`; an empty topic means all.
    ///
    /// libzmq connects in the background and goes on trying. Events before the connection stands are missed.
    pub fn connect<T: AsRef<[u8]>>(
        context: &Context,
        endpoint: &str,
        keys: Option<&ClientKeys>,
        topics: &[T],
    ) -> Result<Self, NetError> {
        let transport = Transport::of(endpoint)?;
        let socket = context.socket(zmq::SUB)?;
        let options = || {
            socket.set_rcvhwm(HWM)?;
            socket.set_ipv6(transport == Transport::Tcp && endpoint.contains('['))?;
            topics.iter().try_for_each(|topic| socket.set_subscribe(topic.as_ref()))
        };
        options().map_err(NetError::socket("setting options"))?;
        keys.map_or(Ok(()), |keys| keys.apply(&socket))?;
        socket
            .connect(endpoint)
            .map_err(|_| NetError::Endpoint { endpoint: endpoint.to_owned(), reason: "it cannot be connected to" })?;
        Ok(Self { port: PolledSocket::new(socket)? })
    }

    /// The next event's topic and message, waited for at most for `limit`.
    pub fn recv(&mut self, limit: Duration) -> Option<(Vec<u8>, Vec<u8>)> {
        self.recv_until(Deadline::after(limit))
    }

    /// The next event if there is one. For those who poll with mio: until `None`.
    pub fn try_recv(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        loop {
            let (topic, more) = self.port.recv()?;
            if !more {
                continue;
            }
            let (message, mut more) = self.port.recv()?;
            if !more {
                return Some((topic.to_vec(), message.to_vec()));
            }
            // An event has two frames. A message with another number is dropped.
            while more {
                more = self.port.recv()?.1;
            }
        }
    }

    fn recv_until(&mut self, deadline: Deadline) -> Option<(Vec<u8>, Vec<u8>)> {
        loop {
            if let Some(event) = self.try_recv() {
                return Some(event);
            }
            if !self.port.wait(deadline) && deadline.passed() {
                return None;
            }
        }
    }
}

impl Iterator for Subscriber {
    type Item = (Vec<u8>, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        self.recv_until(Deadline::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TRANSPORTS, listener, publisher};

    #[test]
    fn only_the_topics_that_were_asked_for_arrive() {
        for transport in TRANSPORTS {
            let (mut publisher, context, _folder) = publisher(transport);
            let topics = ["watcher.a", "watcher.b"];
            let mut subscriber = Subscriber::connect(&context, publisher.endpoint(), None, &topics).unwrap();
            let first = loop {
                publisher.publish(b"watcher.c.spawn", b"{}");
                publisher.publish(b"watcher.b.reap", b"{\"process_pid\": 1}");
                if let Some(event) = subscriber.recv(Duration::from_millis(5)) {
                    break event;
                }
            };
            assert_eq!(first, (b"watcher.b.reap".to_vec(), b"{\"process_pid\": 1}".to_vec()));
            publisher.publish(b"watcher.a.stop", b"last");
            assert!(subscriber.by_ref().any(|(topic, body)| topic == b"watcher.a.stop" && body == b"last"));
        }
    }

    #[test]
    fn silence_ends_a_wait_with_a_limit() {
        let (_listener, endpoint, _folder) = listener(TRANSPORTS[0]);
        let mut subscriber = Subscriber::connect(&Context::new().unwrap(), &endpoint, None, &[""]).unwrap();
        assert_eq!(subscriber.recv(Duration::from_millis(1)), None);
    }
}
