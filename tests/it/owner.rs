//! `endpoint_owner`: who reaches the control endpoint starts programs as that user and as nobody else.

use nix::unistd::{Uid, User};
use serde_json::json;

use crate::rig::Site;

#[test]
fn watchers_get_no_other_uid_than_the_owner_s() {
    let me = User::from_uid(Uid::current()).unwrap().expect("the user of the tests has a name");
    let (name, number) = (me.name.as_str(), me.uid.as_raw());
    let circusd = Site::new().start(&format!("[circus]\nendpoint_owner = {name}\n[watcher:w]\ncmd = {{knobs}}\n"));
    let add = |watcher: &str, options| circusd.ask("add", json!({"name": watcher, "cmd": "x", "options": options}));
    for (watcher, options) in [("none", json!({})), ("other", json!({"uid": number + 1}))] {
        let reply = add(watcher, options);
        assert_eq!(reply["reason"], "uid does not match endpoint_owner");
        assert_eq!(reply["errno"], 3);
    }
    for (watcher, uid) in [("name", json!(name)), ("number", json!(number)), ("text", json!(number.to_string()))] {
        let reply = add(watcher, json!({"uid": uid}));
        assert_eq!(reply["status"], "ok", "{reply}");
    }
    let set = |options| circusd.ask("set", json!({"name": "name", "options": options}));
    assert_eq!(set(json!({"uid": number + 1}))["reason"], "uid does not match endpoint_owner");
    assert_eq!(set(json!({"uid": name, "graceful_timeout": 1}))["status"], "ok");
}
