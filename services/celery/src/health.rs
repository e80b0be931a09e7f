//! Whether a worker consumes its queues. That it answers a ping says less: a worker whose consumer has ended answers too.

use std::time::Duration;

use serde_json::{Value, json};

use crate::message::Reply;
use crate::remote::{Remote, Request};
use crate::worker::Worker;

/// What a look at a worker has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It consumes its queues.
    Consumes,
    /// It answers, and does not consume what it should.
    Lacks(String),
    /// It does not answer.
    Silent,
    /// The broker cannot be reached, for this reason.
    NoBroker(String),
}

/// Looks at a worker, which has so long to answer.
pub async fn look(remote: &Remote, worker: &Worker, limit: Duration) -> Found {
    let arguments = json!({});
    let request = Request { node: Some(&worker.node), method: "active_queues", arguments: &arguments, limit };
    match remote.ask_one(request).await {
        Err(reason) => Found::NoBroker(reason),
        Ok(None) => Found::Silent,
        Ok(Some(reply)) => judge(&worker.queues, &reply),
    }
}

fn judge(wanted: &[String], reply: &Reply) -> Found {
    let consumed = queues(reply);
    let missing: Vec<&str> =
        wanted.iter().map(String::as_str).filter(|name| !consumed.iter().any(|found| found == name)).collect();
    match () {
        () if !missing.is_empty() => Found::Lacks(format!("it does not consume {}", missing.join(", "))),
        () if consumed.is_empty() => Found::Lacks("it consumes no queue".into()),
        () => Found::Consumes,
    }
}

/// The names of the queues in an answer to `active_queues`.
pub fn queues(reply: &Reply) -> Vec<String> {
    let list = reply.said.as_ref().and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|queue| queue["name"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_compared() {
        let reply = |names: &[&str]| {
            let list: Vec<Value> = names.iter().map(|name| json!({"name": name, "durable": true})).collect();
            Reply { node: "w@h".into(), said: Some(json!(list)) }
        };
        let wanted = ["a".to_owned(), "b".to_owned()];
        assert_eq!(judge(&wanted, &reply(&["b", "a", "c"])), Found::Consumes);
        assert_eq!(judge(&wanted, &reply(&["a"])), Found::Lacks("it does not consume b".into()));
        assert_eq!(judge(&[], &reply(&["celery"])), Found::Consumes);
        assert_eq!(judge(&[], &reply(&[])), Found::Lacks("it consumes no queue".into()));
    }
}
