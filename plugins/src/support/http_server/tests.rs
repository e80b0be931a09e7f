use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

struct Server {
    http_server: HttpServer,
    address: SocketAddr,
    now: Duration,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut http_server = HttpServer::new(listener.into()).unwrap();
        assert!(!http_server.turn(Duration::ZERO));
        Self { http_server, address, now: Duration::ZERO }
    }

    fn connect(&self, text: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client.write_all(text.as_bytes()).unwrap();
        client
    }

    /// Waits for news, as the plugin's loop does, and works them off.
    fn turn(&mut self) -> bool {
        let source = PollFd::new(self.http_server.source(), PollFlags::POLLIN);
        assert_eq!(poll(&mut [source], PollTimeout::from(30_000_u16)), Ok(1));
        self.http_server.turn(self.now)
    }

    /// Answers until all that a client is sent has come.
    fn answer(&mut self, mut client: TcpStream, page: &str) -> String {
        while !self.turn() {}
        self.http_server.answer(Ok(page), "text/x");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            text
        });
        let is_new = |connection: &Connection| matches!(connection.state, State::Reading(_));
        while !self.http_server.connections.values().all(is_new) {
            self.turn();
        }
        reader.join().unwrap()
    }
}

const REQUEST: &str = "GET /metrics HTTP/1.0\r\n\r\n";

#[test]
fn request_in_pieces_and_page_beyond_any_buffer() {
    let mut server = Server::new();
    let mut client = server.connect("GET /metrics HT");
    assert!(!server.turn());
    client.write_all(b"TP/1.0\r\n\r\n").unwrap();
    let page = "x".repeat(20_000_000);
    let text = server.answer(client, &page);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with(&page));
}

#[test]
fn slow_clients_delay_no_other_and_time_out() {
    let mut server = Server::new();
    let slow: Vec<_> = (0..MAX_CONNECTIONS).map(|_| server.connect("GET /")).collect();
    while server.http_server.connections.len() < MAX_CONNECTIONS {
        server.turn();
    }
    let client = server.connect(REQUEST);
    assert!(server.answer(client, "page").ends_with("\r\n\r\npage"));
    assert!(server.http_server.connections.len() < MAX_CONNECTIONS, "the oldest has gone");
    server.now = server.http_server.next().unwrap();
    assert_eq!(server.now, TIMEOUT);
    assert!(!server.http_server.turn(server.now));
    assert_eq!((server.http_server.connections.len(), server.http_server.next()), (0, None));
    drop(slow);
}

#[test]
fn wrong_requests_are_answered_at_once() {
    let mut server = Server::new();
    for (request, status) in [("PUT /metrics HTTP/1.0\r\n\r\n", "405"), (&"x".repeat(MAX_HEAD + 1), "431")] {
        let mut client = server.connect(request);
        client.shutdown(Shutdown::Write).unwrap();
        while !server.http_server.connections.is_empty() || server.http_server.last == LISTENER {
            assert!(!server.turn());
        }
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        server.http_server.last = LISTENER;
    }
}
