//! What the tests of this module share: listeners, and a daemon's loop in miniature.

use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Events, Interest, Token};
use serde_json::Value;
use tempfile::TempDir;

use super::context::Transport;
use super::{Context, Incoming, Payload, Publisher, RETRY_EVERY, Router};
use circus_core::proto::Object;

/// Longer than anything takes. Only a failing test waits for it.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

pub(super) const TRANSPORTS: [Transport; 2] = [Transport::Ipc, Transport::Tcp];

/// A listening descriptor, its endpoint, and what must outlive it.
pub(super) fn listener(transport: Transport) -> (OwnedFd, String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    match transport {
        Transport::Ipc => {
            let path = folder.path().join("socket");
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            (listener.into(), format!("ipc://{}", path.display()), folder)
        }
        Transport::Tcp => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
            (listener.into(), endpoint, folder)
        }
    }
}

/// A router, and the context and folder that it needs.
pub(super) fn router(transport: Transport) -> (Router, Context, TempDir) {
    let (listener, endpoint, folder) = listener(transport);
    let context = Context::new().unwrap();
    (Router::new(&context, listener, &endpoint, None).unwrap(), context, folder)
}

/// The same of a publisher.
pub(super) fn publisher(transport: Transport) -> (Publisher, Context, TempDir) {
    let (listener, endpoint, folder) = listener(transport);
    let context = Context::new().unwrap();
    (Publisher::of_events(&context, listener, &endpoint, None).unwrap(), context, folder)
}

/// A daemon in miniature, on a thread of its own. Dropping it stops it and passes its panic on.
pub(super) struct Server {
    endpoint: String,
    thread: Option<JoinHandle<Router>>,
    _folder: TempDir,
}

const STOP: &[u8] = b"stop the server";

impl Server {
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Stops it and gives its router back.
    pub(super) fn stop(mut self) -> Router {
        self.end().unwrap()
    }

    fn end(&mut self) -> Option<Router> {
        let thread = self.thread.take()?;
        stop(&self.endpoint);
        thread.join().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.thread.is_some() && self.end().is_none() && !std::thread::panicking() {
            panic!("the server panicked");
        }
    }
}

/// Asks the server there to stop.
pub(super) fn stop(endpoint: &str) {
    let client = client(&Context::new().unwrap(), zmq::DEALER, endpoint);
    client.set_linger(-1).unwrap();
    client.send(STOP, 0).unwrap();
}

/// Serves requests with `answer` until dropped.
pub(super) fn serve(transport: Transport, answer: impl FnMut(Incoming, &mut Router) + Send + 'static) -> Server {
    let (router, _context, folder) = router(transport);
    start(router, folder, answer)
}

/// Answers every request with itself.
pub(super) fn echo(transport: Transport) -> Server {
    serve(transport, answer_with_itself)
}

/// An echo server on an ipc endpoint in this folder.
pub(super) fn echo_at(folder: TempDir, endpoint: &str) -> Server {
    let listener = std::os::unix::net::UnixListener::bind(endpoint.strip_prefix("ipc://").unwrap()).unwrap();
    let router = Router::new(&Context::new().unwrap(), listener.into(), endpoint, None).unwrap();
    start(router, folder, answer_with_itself)
}

pub(super) fn answer_with_itself(request: Incoming, router: &mut Router) {
    if let Payload::Frame(payload) = request.payload {
        router.send(&request.identity, request.delimiter, payload);
    }
}

fn start(router: Router, folder: TempDir, answer: impl FnMut(Incoming, &mut Router) + Send + 'static) -> Server {
    let endpoint = router.endpoint().to_owned();
    Server { endpoint, thread: Some(std::thread::spawn(|| turns(router, answer))), _folder: folder }
}

/// The loop that the daemon has: it never waits while there is work, and only an edge wakes it.
pub(super) fn turns(mut router: Router, mut answer: impl FnMut(Incoming, &mut Router)) -> Router {
    const BUDGET: usize = 7;
    let mut poll = mio::Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    poll.registry().register(&mut router, Token(0), Interest::READABLE).unwrap();
    let mut busy = router.ready();
    loop {
        let patience = if router.pending() > 0 { RETRY_EVERY } else { DEADLINE * 2 };
        match poll.poll(&mut events, Some(if busy { Duration::ZERO } else { patience })) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            polled => polled.unwrap(),
        }
        for _ in 0..BUDGET {
            let Some(request) = router.recv() else { break };
            if request.payload == Payload::Frame(STOP.to_vec()) {
                poll.registry().deregister(&mut router).unwrap();
                return router;
            }
            answer(request, &mut router);
        }
        busy = router.ready();
    }
}

/// A bare client socket, as another program would have it, that gives up after [`DEADLINE`].
pub(super) fn client(context: &Context, kind: zmq::SocketType, endpoint: &str) -> zmq::Socket {
    let socket = context.socket(kind).unwrap();
    let patience = i32::try_from(DEADLINE.as_millis()).unwrap();
    socket.set_rcvtimeo(patience).unwrap();
    socket.set_sndtimeo(patience).unwrap();
    socket.connect(endpoint).unwrap();
    socket
}

pub(super) fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// Runs `work` while SIGCHLD reaches this thread again and again, with a handler as the daemon has one.
pub(super) fn interrupted(work: impl FnOnce()) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::sys::pthread::{pthread_kill, pthread_self};

    let handler = signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::default()).unwrap();
    let (target, over) = (pthread_self(), AtomicBool::new(false));
    /// Ends the signals when the work panics, too.
    struct Calm<'a>(&'a AtomicBool);
    impl Drop for Calm<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                pthread_kill(target, nix::sys::signal::Signal::SIGCHLD).unwrap();
            }
        });
        let _calm = Calm(&over);
        work();
    });
    signal_hook::low_level::unregister(handler);
}
