//! Requests, replies and events, from bytes and to bytes.

use std::hint::black_box;

use circus::proto::{
    Body, ClientAddress, EventKind, Format, Notice, Object, RequestId, decode, encode_notice, encode_reply,
};
use criterion::Criterion;
use serde_json::{Value, json};

pub(crate) fn benches(c: &mut Criterion) {
    requests(c);
    replies(c);
    let notice = Notice { resource: "web".into(), kind: EventKind::Spawn { process_pid: 4242 }, time: 1.7e9 };
    c.bench_function("codec/encode an event", |b| b.iter(|| encode_notice(black_box(&notice))));
}

fn requests(c: &mut Criterion) {
    let status = br#"{"id": "0f8a3c", "command": "status", "properties": {"name": "web"}}"#;
    let packed = rmp_serde::to_vec(&json!({"id": "0f8a3c", "command": "status", "properties": {"name": "web"}}))
        .expect("plain data can be packed");
    for (name, bytes) in [("JSON", status.to_vec()), ("MessagePack", packed)] {
        c.bench_function(&format!("codec/decode status, {name}"), |b| {
            b.iter(|| {
                let envelope = decode(black_box(&bytes)).1.expect("a request");
                circus::commands::decode(&envelope)
            });
        });
    }
}

fn replies(c: &mut Criterion) {
    let pids: Vec<i32> = (10_000..10_175).collect();
    let statuses = [("status", json!({"status": "active"})), ("list of 175 pids", json!({"pids": pids}))];
    for (name, body) in statuses {
        for format in [Format::Json, Format::MessagePack] {
            let (client, body) = (address(format), self::body(body.clone()));
            c.bench_function(&format!("codec/encode {name}, {format:?}"), |b| {
                b.iter(|| encode_reply(&client, black_box(&body), 1.7e9))
            });
        }
    }
}

fn address(format: Format) -> ClientAddress {
    let id = RequestId::Json("\"0f8a3c\"".into());
    ClientAddress { identity: vec![0; 5], delimiter: false, id, format, redacted: false, note: None }
}

fn body(properties: Value) -> Body {
    let properties: Object = serde_json::from_value(properties).expect("an object");
    Body::Ok(properties)
}
