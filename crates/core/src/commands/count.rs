//! What `incr` and `decr` are given: a watcher and a number of processes.

use super::props;
use crate::proto::{Fault, Object};

/// By how many processes a watcher grows or shrinks.
pub(super) struct Count {
    pub(super) name: String,
    pub(super) nb: i64,
    pub(super) waiting: bool,
}

impl Count {
    pub(super) fn decode(properties: &Object) -> Result<Self, Fault> {
        Ok(Self {
            name: props::text(properties, "name")?,
            nb: props::integer(properties, "nb")?.unwrap_or(1),
            waiting: props::flag(properties, "waiting", false),
        })
    }
}

/// Checks a command of this kind, on the wire and on the command line.
#[cfg(test)]
pub(super) fn check(spec: &super::CommandSpec, request: impl Fn(String, i64, bool) -> crate::proto::Request) {
    use serde_json::json;

    use super::Invocation;
    use super::testing::{decoded, expect_usage, refused, sent, shown};

    let request = |nb, waiting| request("a1".into(), nb, waiting);
    assert_eq!(decoded(spec, json!({"name": "a1"})), request(1, false));
    assert_eq!(decoded(spec, json!({"name": "a1", "nb": 2, "waiting": true})), request(2, true));
    assert_eq!(decoded(spec, json!({"name": "a1", "nb": -1})), request(-1, false));
    assert_eq!(refused(spec, json!({"name": "a1", "nb": "x"})), (3, "'nb' isn't an integer".into()));
    assert_eq!(refused(spec, json!({"nb": 1})), (3, "message invalid 'name' is missing".into()));

    assert_eq!(sent(spec, Invocation::new(["a1"])), json!({"name": "a1"}));
    assert_eq!(sent(spec, Invocation::new(["a1", "2"])), json!({"name": "a1", "nb": 2}));
    assert_eq!(sent(spec, Invocation::new(["a1"]).with_flag("waiting")), json!({"name": "a1", "waiting": true}));
    expect_usage(spec, &[], "Invalid number of arguments");
    expect_usage(spec, &["a1", "1", "2"], "Invalid number of arguments");
    expect_usage(spec, &["a1", "x"], "number of processes: 'x' isn't an integer");
    assert_eq!(shown(spec, &["a1"], json!({"status": "ok"})), "ok");
    assert_eq!(shown(spec, &["a1"], json!({"status": "ok", "numprocesses": 6})), "6");
}
