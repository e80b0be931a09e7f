//! Clients that misbehave: they are answered, or not, and no other client notices.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::rig::{Circusd, DEADLINE, Process, Site, wait_until};

/// A circusd that a client is about to trouble. When it is dropped it still has to be at work, with the same worker.
struct Victim {
    circusd: Circusd,
    worker: Vec<Process>,
}

impl Victim {
    fn new() -> Self {
        let circusd = Site::new().start("[watcher:w]\ncmd = {knobs}");
        let worker = circusd.wait_for_workers("w", 1);
        Self { circusd, worker }
    }

    /// A client that may send anything.
    fn client(&self, kind: zmq::SocketType) -> zmq::Socket {
        let socket = zmq::Context::new().socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(DEADLINE.as_millis() as i32).unwrap();
        socket.connect(&self.circusd.endpoint()).unwrap();
        socket
    }

    /// What is answered to this frame.
    #[track_caller]
    fn answer(&self, frame: &[u8]) -> Value {
        let client = self.client(zmq::DEALER);
        client.send(frame, 0).unwrap();
        serde_json::from_slice(&client.recv_bytes(0).unwrap()).unwrap()
    }

    #[track_caller]
    fn assert_refuses(&self, frame: &[u8], errno: i64) {
        let answer = self.answer(frame);
        let shown = String::from_utf8_lossy(&frame[..frame.len().min(60)]).into_owned();
        assert_eq!((&answer["status"], &answer["errno"]), (&json!("error"), &json!(errno)), "{shown}: {answer}");
        self.assert_unharmed();
    }

    #[track_caller]
    fn assert_unharmed(&self) {
        assert_eq!(self.circusd.status("w"), "active");
        assert_eq!(self.circusd.workers("w"), self.worker);
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_unharmed();
        }
    }
}

#[test]
fn garbage_is_refused_with_a_reason() {
    let victim = Victim::new();
    for frame in [b"".as_slice(), b" \n", b"{", b"nonsense", b"\xff\xfe{\"id\":1}", b"{\"id\": 1,}", b"\0\0\0"] {
        victim.assert_refuses(frame, 1);
    }
    for frame in ["[]", "1", "null", "\"x\"", "{}", "{\"command\": 3}", "{\"id\": 7, \"properties\": {}}"] {
        victim.assert_refuses(frame.as_bytes(), 3);
    }
    victim.assert_refuses(br#"{"command": "status", "properties": [1]}"#, 3);
    victim.assert_refuses(br#"{"command": "options", "properties": {"name": 3}}"#, 5);
    let unknown = victim.answer(br#"{"command": "Frobnicate", "id": [1, "x"]}"#);
    assert_eq!(unknown["reason"], "unknown command: 'Frobnicate'");
    assert_eq!((&unknown["errno"], &unknown["id"]), (&json!(2), &json!([1, "x"])));
}

#[test]
fn large_and_deep_messages_are_refused_with_a_reason() {
    let victim = Victim::new();
    let large = "x".repeat(1_000_000);
    victim.assert_refuses(large.as_bytes(), 1);
    victim.assert_refuses(json!({"command": "status", "properties": {"name": large}}).to_string().as_bytes(), 3);
    let answer = victim.answer(json!({"command": large}).to_string().as_bytes());
    assert!(answer["reason"].as_str().unwrap().len() < 5000, "what was sent does not come back");
    let id = "x".repeat(4000);
    assert_eq!(victim.answer(json!({"command": "list", "id": id}).to_string().as_bytes())["id"], id);
    victim.assert_refuses(json!({"command": "list", "id": large}).to_string().as_bytes(), 3);
    for depth in [100, 1000, 400_000] {
        victim.assert_refuses("[".repeat(depth).as_bytes(), 1);
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        victim.assert_refuses(nested.as_bytes(), 3);
        let inside = format!("{{\"command\": \"list\", \"properties\": {{\"name\": {nested}}}}}");
        let answer = victim.answer(inside.as_bytes());
        assert_eq!(answer["status"], "error", "{answer}");
        let beside = format!("{{\"command\": \"list\", \"other\": {nested}}}");
        assert_eq!(victim.answer(beside.as_bytes())["status"], "ok");
    }
    // Beyond the largest frame the connection is cut, so that there is no answer.
    victim.client(zmq::DEALER).send(vec![b'x'; 20 << 20], 0).unwrap();
    victim.assert_unharmed();
    assert!(victim.circusd.process().status("VmRSS") < 200_000, "kB");
}

#[test]
fn a_client_of_another_pattern_is_answered() {
    let victim = Victim::new();
    let client = victim.client(zmq::REQ);
    for id in 0..3 {
        client.send(json!({"command": "status", "id": id}).to_string().as_bytes(), 0).unwrap();
        let answer: Value = serde_json::from_slice(&client.recv_bytes(0).unwrap()).unwrap();
        assert_eq!((&answer["id"], &answer["statuses"]), (&json!(id), &json!({"w": "active"})));
    }
}

#[test]
fn a_message_of_three_frames_costs_its_sender_nothing_else() {
    let victim = Victim::new();
    let client = victim.client(zmq::DEALER);
    client.send_multipart(["a", "b", "c"], 0).unwrap();
    client.send(br#"{"command": "list", "id": "after"}"#.as_slice(), 0).unwrap();
    let mut answer = Value::Null;
    while answer["id"] != "after" {
        answer = serde_json::from_slice(&client.recv_bytes(0).unwrap()).unwrap();
    }
    assert_eq!(answer["watchers"], json!(["w"]));
}

#[test]
fn messagepack_is_answered_in_messagepack() {
    let victim = Victim::new();
    let client = victim.client(zmq::DEALER);
    let request = json!({"command": "list", "properties": {"name": "w"}, "id": {"a": [1, null]}});
    client.send(rmp_serde::to_vec_named(&request).unwrap(), 0).unwrap();
    let answer: Value = rmp_serde::from_slice(&client.recv_bytes(0).unwrap()).unwrap();
    assert_eq!((&answer["status"], &answer["pids"]), (&json!("ok"), &json!([victim.worker[0].0])));
    assert_eq!(answer["id"], request["id"]);
    // Begun and not ended; and far too deep.
    let deep = [b"\x81\xa1a".as_slice(), &[0x91; 1_000_000]].concat();
    for broken in [b"\x81".as_slice(), b"\xdf\xff\xff\xff\xff", b"\x82\xa7command", &deep] {
        client.send(broken, 0).unwrap();
        let answer: Value = rmp_serde::from_slice(&client.recv_bytes(0).unwrap()).unwrap();
        assert_eq!((&answer["status"], &answer["errno"]), (&json!("error"), &json!(1)));
    }
}

#[test]
fn connections_that_say_nothing_or_nonsense_leave_nothing_open() {
    let victim = Victim::new();
    let circusd = &victim.circusd;
    let before = circusd.process().fds().len();
    let path = circusd.path("control");
    for round in 0..10 {
        let connections = (0..100).map(|_| UnixStream::connect(&path).unwrap());
        for (number, mut connection) in connections.enumerate().collect::<Vec<_>>() {
            if number % 2 == 1 {
                // It may already have cut us off.
                drop(connection.write_all(b"GET / HTTP/1.1\r\nHost: a web browser\r\n\r\n"));
            }
        }
        assert_eq!(circusd.status("w"), "active", "round {round}");
    }
    wait_until("the connections are closed", || circusd.process().fds().len() <= before);
    // And while some are open that never say anything.
    let _silent: Vec<_> = (0..100).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let _elsewhere: Vec<_> = (0..100).map(|_| UnixStream::connect(circusd.path("events")).unwrap()).collect();
    victim.assert_unharmed();
}

#[test]
fn a_subscriber_that_never_reads_costs_the_others_nothing() {
    const EVENTS: usize = 3000;
    let victim = Victim::new();
    let circusd = &victim.circusd;
    let context = zmq::Context::new();
    let deaf = context.socket(zmq::SUB).unwrap();
    deaf.set_rcvhwm(1).unwrap();
    deaf.set_subscribe(b"").unwrap();
    deaf.connect(&circusd.pubsub_endpoint()).unwrap();
    deaf.recv_bytes(zmq::DONTWAIT).unwrap_err();
    let mut events = circusd.events();
    let before = circusd.process().status("VmRSS");
    let mut client = circusd.client();
    for id in 0..EVENTS {
        let options = json!({"graceful_timeout": id, "warmup_delay": id});
        let set = json!({"command": "set", "properties": {"name": "w", "options": options}, "msg_type": "cast"});
        wait_until("there is room for a request", || client.send(set.to_string().as_bytes()));
    }
    for _ in 0..2 * EVENTS {
        assert_eq!(events.next().what, "updated");
    }
    let grown = circusd.process().status("VmRSS").saturating_sub(before);
    println!("{grown} kB more after {} events that were not read", 2 * EVENTS);
    assert!(grown < 20_000);
}

#[test]
fn clients_that_do_not_read_their_answers_cost_the_others_nothing() {
    let victim = Victim::new();
    let deaf = victim.client(zmq::DEALER);
    deaf.set_rcvhwm(1).unwrap();
    let request = json!({"command": "options", "properties": {"name": "w"}}).to_string();
    for _ in 0..5000 {
        if deaf.send(request.as_bytes(), zmq::DONTWAIT).is_err() {
            break;
        }
    }
    victim.assert_unharmed();
    drop(deaf);
    victim.assert_unharmed();
}
