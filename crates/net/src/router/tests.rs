//! Real sockets, both transports.

use super::*;
use crate::context::Transport;
use crate::testing::{DEADLINE, TRANSPORTS, answer_with_itself, client, echo, interrupted, router, serve, stop, turns};

fn ask(socket: &zmq::Socket, text: &str) -> Vec<u8> {
    socket.send(text, 0).unwrap();
    socket.recv_bytes(0).unwrap()
}

/// Sends `count` numbered requests, then reads as many answers.
fn pipeline(socket: &zmq::Socket, count: u32) {
    for number in 0..count {
        socket.send(&number.to_be_bytes()[..], 0).unwrap();
    }
    for number in 0..count {
        let answer = socket.recv_bytes(0).unwrap_or_else(|_| panic!("answer {number} of {count} is missing"));
        assert_eq!(answer, number.to_be_bytes());
    }
}

#[test]
fn five_thousand_pipelined_requests_get_five_thousand_answers() {
    for transport in TRANSPORTS {
        let server = echo(transport);
        let context = Context::new().unwrap();
        pipeline(&client(&context, zmq::DEALER, server.endpoint()), 5000);
        assert_eq!(server.stop().counters(), Counters::default());
    }
}

#[test]
fn large_answers_wait_until_their_client_reads() {
    const SIZE: usize = 3000;
    let server = serve(TRANSPORTS[0], |request, router| router.send(&request.identity, false, vec![0; SIZE]));
    let context = Context::new().unwrap();
    let slow = client(&context, zmq::DEALER, server.endpoint());
    (0..5000).for_each(|_| slow.send("x", 0).unwrap());
    // Everything is answered, as far as the daemon can: one who comes later is told so.
    ask(&client(&context, zmq::DEALER, server.endpoint()), "later");
    (0..5000).for_each(|_| assert_eq!(slow.recv_bytes(0).unwrap().len(), SIZE));
    assert_eq!(server.stop().counters(), Counters::default());
}

#[test]
fn eight_clients_are_served_side_by_side() {
    let server = echo(TRANSPORTS[1]);
    let context = Context::new().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| pipeline(&client(&context, zmq::DEALER, server.endpoint()), 1000));
        }
    });
    assert_eq!(server.stop().counters(), Counters::default());
}

#[test]
fn a_req_client_gets_its_delimiter_back() {
    let server = echo(TRANSPORTS[0]);
    let context = Context::new().unwrap();
    let socket = client(&context, zmq::REQ, server.endpoint());
    assert_eq!(ask(&socket, "one"), b"one");
    assert_eq!(ask(&socket, ""), b"");
}

#[test]
fn messages_of_another_shape_are_counted_and_harm_nobody() {
    let (told, heard) = std::sync::mpsc::channel();
    let server = serve(TRANSPORTS[0], move |request, _| told.send((request.delimiter, request.payload)).unwrap());
    let context = Context::new().unwrap();
    let socket = client(&context, zmq::DEALER, server.endpoint());
    let frame = |text: &[u8]| Payload::Frame(text.to_vec());
    for (message, delimiter, payload) in [
        (vec!["a"], false, frame(b"a")),
        (vec![""], false, frame(b"")),
        (vec!["", "a"], true, frame(b"a")),
        (vec!["", ""], true, frame(b"")),
        (vec!["a", "b"], false, Payload::Malformed { frames: 2 }),
        (vec!["a", ""], false, Payload::Malformed { frames: 2 }),
        (vec!["", "a", "b"], true, Payload::Malformed { frames: 2 }),
        (vec!["", "", "a"], true, Payload::Malformed { frames: 2 }),
        (vec!["a"; 1000], false, Payload::Malformed { frames: 1000 }),
    ] {
        socket.send_multipart(message, 0).unwrap();
        assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), (delimiter, payload));
    }
    assert_eq!(server.stop().counters().malformed, 5);
}

#[test]
fn a_frame_beyond_the_limit_costs_its_sender_the_connection_and_nobody_else() {
    let server = echo(TRANSPORTS[0]);
    let context = Context::new().unwrap();
    let socket = client(&context, zmq::DEALER, server.endpoint());
    assert_eq!(ask(&socket, "before"), b"before");
    let large = vec![b'x'; LARGEST_FRAME as usize];
    socket.send(&large[..], 0).unwrap();
    assert!(socket.recv_bytes(0).unwrap() == large);
    socket.send(vec![b'x'; LARGEST_FRAME as usize + 1], 0).unwrap();
    assert_eq!(ask(&client(&context, zmq::DEALER, server.endpoint()), "after"), b"after");
}

#[test]
fn a_client_that_never_reads_costs_a_bounded_amount_and_harms_nobody() {
    const SIZE: usize = 64 << 10;
    let server = serve(TRANSPORTS[0], |request, router| router.send(&request.identity, false, vec![0; SIZE]));
    let context = Context::new().unwrap();
    let deaf = context.socket(zmq::DEALER).unwrap();
    deaf.set_rcvhwm(1).unwrap();
    deaf.connect(server.endpoint()).unwrap();
    let other = client(&context, zmq::DEALER, server.endpoint());
    for _ in 0..2000 {
        deaf.send("x", 0).unwrap();
        assert_eq!(ask(&other, "x").len(), SIZE);
    }
    let router = server.stop();
    assert!(router.pending() > 0 && router.pending() * SIZE <= LIMITS.client, "{} wait", router.pending());
    assert!(router.counters().overflowed > 0);
}

#[test]
fn the_answers_of_a_client_that_vanishes_are_dropped() {
    let (mut router, context, _folder) = router(TRANSPORTS[0]);
    let deaf = context.socket(zmq::DEALER).unwrap();
    deaf.set_rcvhwm(1).unwrap();
    deaf.connect(router.endpoint()).unwrap();
    deaf.send("hello", 0).unwrap();
    assert!(router.port.wait(Deadline::after(DEADLINE)));
    let request = router.recv().unwrap();
    while router.pending() < 10 {
        router.send(&request.identity, false, vec![0; 64 << 10]);
    }
    drop(deaf);
    let deadline = Deadline::after(DEADLINE);
    while router.pending() > 0 && !deadline.passed() {
        router.port.wait_for_news(deadline.sooner(RETRY_EVERY));
        router.ready();
    }
    assert_eq!((router.pending(), router.counters().overflowed), (0, 0));
    assert!(router.counters().unroutable >= 10);
    router.send(&request.identity, false, b"too late".to_vec());
    router.send(b"never heard of", false, b"nobody".to_vec());
    assert_eq!(router.pending(), 0);
}

#[test]
fn the_last_answer_gets_out() {
    for transport in TRANSPORTS {
        for _ in 0..20 {
            let (mut router, context, _folder) = router(transport);
            let others = Context::new().unwrap();
            let socket = client(&others, zmq::DEALER, router.endpoint());
            socket.send("quit", 0).unwrap();
            assert!(router.port.wait(Deadline::after(DEADLINE)));
            let request = router.recv().unwrap();
            let reader =
                std::thread::spawn(move || (0..1000).map(|_| socket.recv_bytes(0).unwrap().len()).sum::<usize>());
            (0..1000).for_each(|_| router.send(&request.identity, false, vec![0; 5000]));
            assert_eq!(router.flush(DEADLINE), 0);
            router.close(DEADLINE);
            drop(context);
            assert_eq!(reader.join().unwrap(), 5_000_000);
        }
    }
}

#[test]
fn a_flush_gives_up_on_a_client_that_does_not_read() {
    let (mut router, context, _folder) = router(TRANSPORTS[0]);
    let deaf = client(&context, zmq::DEALER, router.endpoint());
    deaf.send("quit", 0).unwrap();
    assert!(router.port.wait(Deadline::after(DEADLINE)));
    let request = router.recv().unwrap();
    // More than the client's 1000, the kernel's buffers and libzmq's 256 hold.
    (0..2000).for_each(|_| router.send(&request.identity, false, vec![0; 5000]));
    assert!(router.flush(Duration::from_millis(1)) > 0);
}

#[test]
fn a_send_may_eat_the_edge_and_ready_still_tells() {
    let (mut router, context, _folder) = router(TRANSPORTS[0]);
    let socket = client(&context, zmq::DEALER, router.endpoint());
    socket.send("one", 0).unwrap();
    assert!(router.port.wait(Deadline::after(DEADLINE)));
    assert!(router.recv().is_some() && router.recv().is_none() && !router.ready());
    socket.send("two", 0).unwrap();
    assert!(router.port.wait_for_news(Deadline::after(DEADLINE)));
    // libzmq looks at its commands in a send only now and then.
    let deadline = Deadline::after(DEADLINE);
    while router.port.wait_for_news(Deadline::after(Duration::ZERO)) {
        assert!(!deadline.passed(), "no send took the edge: the test has lost its point");
        router.send(b"nobody", false, Vec::new());
    }
    // A loop that trusts the descriptor would now sleep on a request.
    assert!(router.ready());
    assert_eq!(router.recv().unwrap().payload, Payload::Frame(b"two".to_vec()));
}

#[test]
fn a_turn_that_ends_early_leaves_no_edge_and_ready_still_tells() {
    let (mut router, context, _folder) = router(TRANSPORTS[1]);
    let socket = client(&context, zmq::DEALER, router.endpoint());
    ["one", "two", "three"].iter().for_each(|text| socket.send(*text, 0).unwrap());
    for left in (0..3).rev() {
        assert!(router.port.wait(Deadline::after(DEADLINE)));
        assert!(router.recv().is_some());
        assert_eq!(router.port.wait(Deadline::after(if left > 0 { DEADLINE } else { Duration::ZERO })), left > 0);
        // The next ones may still be coming: their edges are taken, too.
        while router.port.wait_for_news(Deadline::after(Duration::ZERO)) {
            router.port.readable();
        }
        assert_eq!(router.ready(), left > 0);
    }
}

#[test]
fn a_daemon_under_a_storm_of_signals_answers_everything() {
    let (router, _context, _folder) = router(TRANSPORTS[0]);
    let endpoint = router.endpoint().to_owned();
    let client = std::thread::spawn(move || {
        let context = Context::new().unwrap();
        (0..20).for_each(|_| pipeline(&client(&context, zmq::DEALER, &endpoint), 500));
        stop(&endpoint);
    });
    interrupted(|| assert_eq!(turns(router, answer_with_itself).counters(), Counters::default()));
    client.join().unwrap();
}

#[test]
fn router_that_takes_the_place_of_another_answers_clients_that_come_back() {
    for transport in TRANSPORTS {
        let (mut first, context, _folder) = router(transport);
        let endpoint = first.endpoint().to_owned();
        let (named, nameless) = (Context::new().unwrap(), Context::new().unwrap());
        let dealer = named.socket(zmq::DEALER).unwrap();
        dealer.set_identity(b"client").unwrap();
        dealer.set_rcvtimeo(i32::try_from(DEADLINE.as_millis()).unwrap()).unwrap();
        dealer.connect(&endpoint).unwrap();
        dealer.send("request", 0).unwrap();
        let other = client(&nameless, zmq::DEALER, &endpoint);
        other.send("request", 0).unwrap();
        let mut clients = Vec::new();
        while clients.len() < 2 {
            first.port.wait(Deadline::after(DEADLINE));
            clients.extend(first.recv().map(|request| request.identity));
        }
        let listener = first.as_fd().try_clone_to_owned().unwrap();
        first.close(Duration::ZERO);
        drop(context);
        let mut second = Router::new(&Context::new().unwrap(), listener, &endpoint, None).unwrap();
        second.await_clients(DEADLINE);
        for identity in &clients {
            second.send(identity, false, b"answer".to_vec());
        }
        // The one that libzmq has named has gone for good.
        assert_eq!((second.counters().unroutable, second.pending()), (1, 1));
        assert_eq!(second.flush(DEADLINE), 0);
        assert_eq!(dealer.recv_bytes(0).unwrap(), b"answer");
        second.await_clients(Duration::ZERO);
        second.send(b"nobody", false, b"answer".to_vec());
        assert_eq!((second.counters().unroutable, second.pending()), (2, 0));
    }
}

#[test]
fn answer_reaches_no_other_client_of_the_same_name() {
    let context = Context::new().unwrap();
    let mut zap = crate::Zap::new(&context).unwrap();
    let (fd, endpoint, _folder) = crate::testing::listener(Transport::Ipc);
    let mut router = Router::new(&context, fd, &endpoint, Some(crate::Guard::Users)).unwrap();
    let client = |text: &str| {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::DEALER).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_identity(b"dashboard").unwrap();
        socket.connect(&endpoint).unwrap();
        socket.send(text, 0).unwrap();
        (socket, context)
    };
    let request = |router: &mut Router, zap: &mut crate::Zap| {
        let deadline = Deadline::after(DEADLINE);
        loop {
            assert!(!deadline.passed());
            zap.answer(|_| Some("someone".into()));
            if let Some(request) = router.recv() {
                return request;
            }
            std::thread::yield_now();
        }
    };
    let first = client("one");
    let asked_first = request(&mut router, &mut zap);
    drop(first);
    // libzmq refuses a name that is still taken, so the second comes when the first is known to have gone.
    let deadline = Deadline::after(DEADLINE);
    while router.counters().unroutable == 0 {
        assert!(!deadline.passed());
        router.send(&asked_first.identity, asked_first.delimiter, b"is it there".to_vec());
        std::thread::yield_now();
    }
    let (second, _context) = client("two");
    let asked_second = request(&mut router, &mut zap);
    assert_eq!(
        (&asked_first.payload, &asked_second.payload),
        (&Payload::Frame(b"one".to_vec()), &Payload::Frame(b"two".to_vec()))
    );
    router.send(&asked_first.identity, asked_first.delimiter, b"for the first".to_vec());
    router.send(&asked_second.identity, asked_second.delimiter, b"for the second".to_vec());
    second.set_rcvtimeo(i32::try_from(DEADLINE.as_millis()).unwrap()).unwrap();
    assert_eq!(second.recv_bytes(0).unwrap(), b"for the second");
    assert_eq!(router.counters().unroutable, 2);
}
