//! `endpoint_owner`: what a request may ask for where the control endpoint belongs to a user.

use serde_json::Value;

use super::event_loop::Daemon;
use crate::proto::{Fault, Request};
use crate::sys;

impl Daemon {
    /// With `endpoint_owner`, who reaches the endpoint starts programs as that user and as nobody else.
    pub(super) fn authorized(&self, request: Request) -> Result<Request, Fault> {
        let circus = &self.resources.config.circus;
        let Some(owner) = circus.endpoint_owner.as_deref().filter(|_| circus.endpoint.starts_with("ipc://")) else {
            return Ok(request);
        };
        // Hooks run as circusd's own user.
        if chooses_hooks(&request) && !is_user(&nix::unistd::geteuid().as_raw().into(), owner) {
            return Err(Fault::message(
                "hooks and commands of streams run as circusd's user, which is not endpoint_owner",
            ));
        }
        if chooses_user(&request, |uid| is_user(uid, owner)) {
            Ok(request)
        } else {
            Err(Fault::message("uid does not match endpoint_owner"))
        }
    }
}

/// Whether the user that a request asks for is one it may ask for; `add` has to ask.
fn chooses_user(request: &Request, permitted: impl Fn(&Value) -> bool) -> bool {
    if let Request::Add { options, .. } = request {
        options.get("uid").is_some_and(permitted)
    } else if let Request::Set { options, .. } = request {
        options.get("uid").is_none_or(permitted)
    } else {
        true
    }
}

/// Whether a request says what hooks, or commands that streams are written to, run.
fn chooses_hooks(request: &Request) -> bool {
    let (Request::Add { options, .. } | Request::Set { options, .. }) = request else { return false };
    let runs = |(key, value): (&String, &Value)| {
        key == "hooks"
            || key.starts_with("hooks.")
            || key.ends_with("_stream.command")
            || value.get("command").is_some()
    };
    options.iter().any(runs)
}

/// Whether a `uid` and the name or number of a user mean the same one.
fn is_user(uid: &Value, user: &str) -> bool {
    let asked = match uid {
        Value::String(name) => sys::user_id(name).ok(),
        uid => uid.as_u64().and_then(|uid| u32::try_from(uid).ok()),
    };
    asked.is_some() && asked == sys::user_id(user).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn add(options: Value) -> Request {
        let options = options.as_object().cloned().unwrap();
        Request::Add { name: "w".into(), cmd: "x".into(), args: None, options, start: false, waiting: false }
    }

    fn set(options: Value) -> Request {
        Request::Set { name: "w".into(), options: options.as_object().cloned().unwrap(), waiting: false }
    }

    #[test]
    fn hooks_are_known_by_either_name() {
        assert!(chooses_hooks(&set(json!({"hooks.before_start": "exec:x"}))));
        assert!(chooses_hooks(&add(json!({"hooks": {}}))));
        assert!(chooses_hooks(&set(json!({"stdout_stream.command": "x"}))));
        assert!(chooses_hooks(&add(json!({"stderr_stream": {"class": "exec", "command": "x"}}))));
        assert!(!chooses_hooks(&set(json!({"hook_timeout": 1}))));
    }

    #[test]
    fn whoever_owns_the_endpoint_starts_programs_as_himself() {
        for (request, permitted) in [
            (add(json!({"uid": 7})), true),
            (add(json!({"uid": 8})), false),
            (add(json!({})), false),
            (add(json!({"uid": null})), false),
            (set(json!({"uid": 7})), true),
            (set(json!({"uid": 8, "cmd": "x"})), false),
            (set(json!({"cmd": "x"})), true),
            (Request::NumWatchers, true),
        ] {
            assert_eq!(chooses_user(&request, |uid| *uid == json!(7)), permitted, "{request:?}");
        }
    }

    #[test]
    fn users_are_compared_and_not_their_spelling() {
        for (uid, user, same) in [
            (json!("root"), "root", true),
            (json!(0), "root", true),
            (json!("0"), "root", true),
            (json!("root"), "0", true),
            (json!(1), "root", false),
            (json!("no such user"), "no such user", false),
            (json!(-1), "root", false),
            (json!({}), "root", false),
        ] {
            assert_eq!(is_user(&uid, user), same, "{uid} {user}");
        }
    }
}
