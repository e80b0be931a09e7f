//! A drain: a worker takes no more tasks, and ends those that it has.
//!
//! Celery waits for running tasks too when it gets SIGTERM. But what it has taken from the broker by then and not begun it
//! gives back, and with Redis a message that arrives in that moment can be given back twice, so that its task runs twice.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::health::queues;
use crate::message::Reply;
use crate::remote::{Remote, Request};
use crate::worker::Worker;

/// How long a worker may take to answer the first question. One that starts answers only when it consumes already.
const FIRST: Duration = Duration::from_secs(10);
/// How long one question waits.
const ANSWER: Duration = Duration::from_secs(2);
/// How long all workers of one name are waited for.
const NAMESAKES: Duration = Duration::from_millis(500);
/// What the broker was about to deliver comes in this time: a worker asks a Redis for a second at a time.
const SETTLE: Duration = Duration::from_millis(1200);
/// Between two looks at the tasks: it grows from the first to the second.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How a drain has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained {
    /// The worker has no task, and takes none.
    Idle,
    /// The worker has ended meanwhile.
    Gone,
    /// It is as it was, for this reason.
    NotBegun(String),
    /// It takes no task, but still had these when the time was over.
    Late(Vec<String>),
}

/// Drains a worker, in so long. Tasks of the names in `except` are not waited for.
pub async fn drain(remote: &Remote, worker: &Worker, except: &[String], limit: Duration) -> Drained {
    let end = Instant::now() + limit;
    let consumed = match begin(remote, worker, end).await {
        Ok(consumed) => consumed,
        Err(reason) if worker.lives() => return Drained::NotBegun(reason),
        Err(_) => return Drained::Gone,
    };
    for queue in &consumed {
        let arguments = json!({"queue": queue});
        // A worker that has not heard it is seen to have tasks; one more question does not help.
        drop(ask(remote, worker, "cancel_consumer", &arguments).await);
    }
    sleep(SETTLE).await;
    let mut pause = LOOK.0;
    loop {
        let (active, reserved) = (json!({"safe": true}), json!({}));
        let held = match ask(remote, worker, "active", &active).await {
            Ok(active) => {
                ask(remote, worker, "reserved", &reserved).await.map(|reserved| held(&[active, reserved], except))
            }
            Err(reason) => Err(reason),
        };
        match held {
            _ if !worker.lives() => return Drained::Gone,
            Err(reason) => return Drained::NotBegun(reason),
            Ok(names) if names.is_empty() => return Drained::Idle,
            Ok(names) if Instant::now() >= end => return Drained::Late(names),
            Ok(_) => {}
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LOOK.1);
    }
}

/// The queues that the worker consumes. An error says why there can be no drain.
async fn begin(remote: &Remote, worker: &Worker, end: Instant) -> Result<Vec<String>, String> {
    // A worker of the pool solo answers when its task has ended.
    let until = if worker.solo { end } else { end.min(Instant::now() + FIRST) };
    let arguments = json!({});
    loop {
        let request = Request { node: Some(&worker.node), method: "stats", arguments: &arguments, limit: ANSWER };
        let first = remote.ask_one(request).await?;
        if let Some(first) = first {
            let others = remote.ask(Request { limit: NAMESAKES, ..request }, |_| false).await?;
            return match namesake(worker.pid, [&first].into_iter().chain(&others)) {
                Some(other) => {
                    Err(format!("process {other} is called {} too: each worker needs its own name", worker.node))
                }
                None => {
                    Ok(ask(remote, worker, "active_queues", &arguments).await?.as_ref().map(queues).unwrap_or_default())
                }
            };
        }
        if Instant::now() >= until || !worker.lives() {
            return Err(format!("{} does not answer", worker.node));
        }
    }
}

/// Another process that answers to the name of this one: what is said to one of them both would hear.
fn namesake<'a>(pid: u32, replies: impl Iterator<Item = &'a Reply>) -> Option<u64> {
    let mut pids = replies.filter_map(|reply| reply.said.as_ref()?["pid"].as_u64());
    pids.find(|found| *found != u64::from(pid))
}

async fn ask(remote: &Remote, worker: &Worker, method: &str, arguments: &Value) -> Result<Option<Reply>, String> {
    remote.ask_one(Request { node: Some(&worker.node), method, arguments, limit: ANSWER }).await
}

/// The names of the tasks in these answers. One that does not come, or cannot be read, may have any.
fn held(answers: &[Option<Reply>], except: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for answer in answers {
        match answer.as_ref().and_then(|reply| reply.said.as_ref()?.as_array()) {
            Some(tasks) => names.extend(tasks.iter().map(|task| task["name"].as_str().unwrap_or("?").to_owned())),
            None => names.push("?".into()),
        }
    }
    names.retain(|name| !except.contains(name));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(said: Value) -> Option<Reply> {
        Some(Reply { node: "w@h".into(), said: Some(said) })
    }

    #[test]
    fn tasks_that_are_held() {
        let answers = [reply(json!([{"name": "a"}, {"name": "eternal"}])), reply(json!([{"name": "b"}]))];
        assert_eq!(held(&answers, &["eternal".into()]), ["a", "b"]);
        assert_eq!(held(&[reply(json!([])), reply(json!([]))], &[]), [""; 0]);
        assert_eq!(held(&[reply(json!([])), None], &[]), ["?"]);
        assert_eq!(held(&[Some(Reply { node: String::new(), said: None })], &[]), ["?"]);
    }

    #[test]
    fn two_workers_of_one_name() {
        let (own, other) = (reply(json!({"pid": 7})).unwrap(), reply(json!({"pid": 8})).unwrap());
        assert_eq!(namesake(7, [&own, &own].into_iter()), None);
        assert_eq!(namesake(7, [&own, &other].into_iter()), Some(8));
        assert_eq!(namesake(7, [&reply(Value::Null).unwrap()].into_iter()), None);
    }
}
