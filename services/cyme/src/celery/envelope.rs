//! Messages as Celery and kombu write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A command of remote control to one worker, as it is published over Redis.
pub fn control_request(node: &str, method: &str, arguments: &Value, ticket: &str, reply_queue: &str) -> String {
    let body = control_body(node, method, arguments, ticket, reply_queue);
    let delivery = json!({"exchange": "celery.pidbox", "routing_key": ""});
    envelope(&body, &json!({"clock": 1}), json!({"delivery_mode": 2, "delivery_info": delivery, "priority": 0}), ticket)
}

/// A task (protocol 2), as it is pushed onto a queue of Redis.
pub fn task_message(branch: &str, id: &str, task: &str, kwargs: &Value, exchange: &str, key: &str) -> String {
    let (body, headers) = (task_body(kwargs), task_headers(branch, id, task, kwargs));
    let delivery = json!({"exchange": exchange, "routing_key": key});
    let properties = json!({"correlation_id": id, "reply_to": "", "delivery_mode": 2, "delivery_info": delivery,
        "priority": 0});
    envelope(&body, &headers, properties, id)
}

/// A command of remote control to one worker.
pub(super) fn control_body(node: &str, method: &str, arguments: &Value, ticket: &str, reply_queue: &str) -> Value {
    json!({"method": method, "arguments": arguments, "destination": [node], "pattern": null, "matcher": null,
           "ticket": ticket, "reply_to": {"exchange": "", "routing_key": reply_queue}})
}

/// The arguments of a task.
pub(super) fn task_body(kwargs: &Value) -> Value {
    json!([[], kwargs, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}])
}

/// What is said of a task beside its arguments.
pub(super) fn task_headers(branch: &str, id: &str, task: &str, kwargs: &Value) -> Value {
    json!({"lang": "py", "task": task, "id": id, "root_id": id, "parent_id": null, "group": null, "retries": 0,
           "timelimit": [null, null], "argsrepr": "()", "kwargsrepr": kwargs.to_string(), "origin": branch,
           "eta": null, "expires": null, "ignore_result": false})
}

fn envelope(body: &Value, headers: &Value, mut properties: Value, tag: &str) -> String {
    properties["body_encoding"] = "base64".into();
    properties["delivery_tag"] = tag.into();
    json!({"body": STANDARD.encode(body.to_string()), "content-encoding": "utf-8",
           "content-type": "application/json", "headers": headers, "properties": properties})
    .to_string()
}

/// The ticket of a reply, and what the worker says.
pub fn read_reply(message: &[u8]) -> Option<(String, Value)> {
    let envelope: Value = serde_json::from_slice(message).ok()?;
    let ticket = envelope["headers"]["ticket"].as_str()?.to_owned();
    let body = envelope["body"].as_str()?;
    let body = match envelope["properties"]["body_encoding"].as_str() {
        Some("base64") => STANDARD.decode(body).ok()?,
        _ => body.as_bytes().to_vec(),
    };
    let body: Value = serde_json::from_slice(&body).ok()?;
    // One worker was asked, so there is one answer.
    let (_, said) = body.as_object()?.iter().next()?;
    Some((ticket, said.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(message: &str) -> Value {
        let envelope: Value = serde_json::from_str(message).unwrap();
        let bytes = STANDARD.decode(envelope["body"].as_str().unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn requests_have_their_form() {
        let message = control_request("i1@b1", "ping", &json!({}), "t", "q");
        let sent = body(&message);
        assert_eq!((&sent["method"], &sent["destination"]), (&json!("ping"), &json!(["i1@b1"])));
        assert_eq!(sent["reply_to"], json!({"exchange": "", "routing_key": "q"}));
    }

    #[test]
    fn a_captured_reply_is_read() {
        let reply = br#"{"body":"eyJ3MUBwcm9iZSI6IHsib2siOiAicG9uZyJ9fQ==","content-encoding":"utf-8",
            "content-type":"application/json","headers":{"ticket":"bddf","clock":3},
            "properties":{"delivery_mode":1,"delivery_info":{"exchange":"reply.celery.pidbox","routing_key":"e0d0"},
            "priority":0,"body_encoding":"base64","delivery_tag":"dbaa"}}"#;
        assert_eq!(read_reply(reply), Some(("bddf".into(), json!({"ok": "pong"}))));
        assert_eq!(read_reply(b"nonsense"), None);
    }

    #[test]
    fn tasks_have_their_form() {
        let message = task_message("b1", "id", "cyme.tasks.webhook", &json!({"url": "u"}), "", "tasks");
        assert_eq!(body(&message)[1], json!({"url": "u"}));
        let envelope: Value = serde_json::from_str(&message).unwrap();
        assert_eq!(envelope["headers"]["task"], "cyme.tasks.webhook");
        assert_eq!(envelope["properties"]["delivery_info"]["routing_key"], "tasks");
    }
}
