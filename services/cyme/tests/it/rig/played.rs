//! A circusd and workers that are threads of a test: they answer at once, and cost nothing.

use std::collections::HashMap;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A circusd whose watchers always run. It answers at the first endpoint, and publishes at the second.
pub(crate) fn circusd() -> [String; 2] {
    let context = zmq::Context::new();
    let (router, publisher) = (context.socket(zmq::ROUTER).unwrap(), context.socket(zmq::PUB).unwrap());
    let endpoints = [&router, &publisher].map(|socket| {
        socket.bind("tcp://127.0.0.1:*").unwrap();
        socket.get_last_endpoint().unwrap().unwrap()
    });
    thread::spawn(move || {
        let mut watchers = HashMap::<String, Value>::new();
        while let Ok(frames) = router.recv_multipart(0) {
            let request: Value = serde_json::from_slice(frames.last().unwrap()).unwrap();
            let (properties, name) =
                (&request["properties"], request["properties"]["name"].as_str().unwrap_or_default());
            let mut reply = match (request["command"].as_str().unwrap(), watchers.get(name)) {
                ("add", _) => {
                    watchers.insert(name.to_owned(), properties["options"]["env"].clone());
                    publisher.send_multipart([format!("watcher.{name}.spawn").as_bytes(), b"{}"], 0).unwrap();
                    json!({"status": "ok"})
                }
                ("stats", None) => json!({"status": "ok", "infos": {}}),
                ("get", Some(env)) => json!({"status": "ok", "options": {"env": env}}),
                ("status", Some(_)) => json!({"status": "active"}),
                ("numwatchers", _) => json!({"status": "ok", "numwatchers": watchers.len()}),
                (_, None) => json!({"status": "error", "reason": format!("program {name} not found")}),
                _ => json!({"status": "ok"}),
            };
            reply["id"] = request["id"].clone();
            router.send_multipart([frames[0].clone(), reply.to_string().into_bytes()], 0).unwrap();
        }
    });
    endpoints
}

/// Workers that answer what their branch asks: one for each name.
pub(crate) fn workers(broker: &str) {
    let client = redis::Client::open(broker).unwrap();
    let (mut hears, mut says) = (client.get_connection().unwrap(), client.get_connection().unwrap());
    thread::spawn(move || {
        let mut heard = hears.as_pubsub();
        heard.subscribe("/0.celery.pidbox").unwrap();
        while let Ok(message) = heard.get_message() {
            let envelope: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
            let body = STANDARD.decode(envelope["body"].as_str().unwrap()).unwrap();
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let node = asked["destination"][0].as_str().unwrap();
            let said = match asked["method"].as_str().unwrap() {
                "active_queues" => json!([{"name": format!("dq.{}", node.split('@').next().unwrap())}]),
                _ => json!({"ok": "pong"}),
            };
            let reply = json!({"headers": {"ticket": asked["ticket"]}, "content-type": "application/json",
                "body": STANDARD.encode(json!({node: said}).to_string()), "properties": {"body_encoding": "base64"}});
            let queue = asked["reply_to"]["routing_key"].as_str().unwrap();
            redis::cmd("LPUSH").arg(queue).arg(reply.to_string()).exec(&mut says).unwrap();
        }
    });
}
