//! Messages as Celery and kombu write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What one worker says.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The name of the worker; empty if the answer cannot be read.
    pub node: String,
    /// What it says; nothing if that cannot be read.
    pub said: Option<Value>,
}

/// A command of remote control to one worker, or to all, as it is published over Redis.
pub fn control_request(node: Option<&str>, method: &str, arguments: &Value, ticket: &str, reply_queue: &str) -> String {
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

/// A command of remote control to one worker, or to all.
pub fn control_body(node: Option<&str>, method: &str, arguments: &Value, ticket: &str, reply_queue: &str) -> Value {
    json!({"method": method, "arguments": arguments, "destination": node.map(|node| [node]), "pattern": null, "matcher": null,
           "ticket": ticket, "reply_to": {"exchange": "", "routing_key": reply_queue}})
}

/// The arguments of a task.
pub fn task_body(kwargs: &Value) -> Value {
    json!([[], kwargs, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}])
}

/// What is said of a task beside its arguments.
pub fn task_headers(branch: &str, id: &str, task: &str, kwargs: &Value) -> Value {
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

/// The ticket of a reply that came over Redis, and the reply.
pub fn read_reply(message: &[u8]) -> Option<(String, Reply)> {
    let envelope: Value = serde_json::from_slice(message).ok()?;
    let ticket = envelope["headers"]["ticket"].as_str()?.to_owned();
    let body = envelope["body"].as_str()?;
    let body = match envelope["properties"]["body_encoding"].as_str() {
        Some("base64") => STANDARD.decode(body).ok()?,
        _ => body.as_bytes().to_vec(),
    };
    Some((ticket, read_body(&body, envelope["content-type"].as_str().unwrap_or_default())))
}

/// The reply in the body of a message. A worker writes it with the serializer of its application.
pub fn read_body(body: &[u8], content_type: &str) -> Reply {
    let read = match content_type {
        "application/x-python-serialize" => {
            // What is not plain data can be an argument of a task, which nothing here looks at.
            let options = serde_pickle::DeOptions::new().replace_unresolved_globals();
            serde_pickle::from_slice(body, options).ok()
        }
        _ => serde_json::from_slice::<Value>(body).ok(),
    };
    // Each worker answers for itself.
    match read.as_ref().and_then(Value::as_object).and_then(|body| body.iter().next()) {
        Some((node, said)) => Reply { node: node.clone(), said: Some(said.clone()) },
        None => Reply { node: String::new(), said: None },
    }
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
        let message = control_request(Some("i1@b1"), "ping", &json!({}), "t", "q");
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
        let pong = Reply { node: "w1@probe".into(), said: Some(json!({"ok": "pong"})) };
        assert_eq!(read_reply(reply), Some(("bddf".into(), pong)));
        assert_eq!(read_reply(b"nonsense"), None);
    }

    #[test]
    fn a_pickled_reply_is_read() {
        let list = json!([{"name": "t", "args": [1, "a"], "time_start": null}]);
        let pickled = serde_pickle::to_vec(&json!({"w@h": list}), serde_pickle::SerOptions::new()).unwrap();
        let reply = read_body(&pickled, "application/x-python-serialize");
        assert_eq!((reply.node.as_str(), reply.said), ("w@h", Some(list)));
        // pickle.dumps({"w@h": [datetime.date(2026, 1, 2)]}, protocol=4)
        let strange = b"\x80\x04\x95,\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x03w@h\x94]\x94\x8c\x08datetime\x94\x8c\x04date\x94\x93\x94C\x04\x07\xea\x01\x02\x94\x85\x94R\x94as.";
        assert_eq!(read_body(strange, "application/x-python-serialize").said, Some(json!([null])));
        assert_eq!(read_body(b"\x80", "application/x-python-serialize").said, None);
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
