//! `cyme fleet`: the watchers of many machines.

use circus_core::config::fnmatch;
use serde_json::{Map, Value, json};

use super::{Args, Call, Failure, REFUSED, UNREACHABLE, USAGE, refusal, segment};

/// What is to be done with watchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    action: String,
    params: Vec<(String, String)>,
}

/// The order of a command line, where it is about the fleet: `fleet ACTION` or `fleet.ACTION`.
pub(super) fn order(args: &Args) -> Option<Result<Order, Failure>> {
    let mut words = args.what.split('.').chain(args.arguments.iter().map(String::as_str));
    if words.next() != Some("fleet") {
        return None;
    }
    let action = words.next().unwrap_or("status").to_owned();
    let value = words.next();
    let params = match (action.as_str(), value) {
        ("status" | "start" | "stop" | "restart" | "reload" | "incr" | "decr", None) => Vec::new(),
        ("incr" | "decr", Some(count)) => vec![("nb".to_owned(), count.to_owned())],
        ("signal", Some(number)) => vec![("signum".to_owned(), number.to_owned())],
        ("signal", None) => return Some(usage("fleet signal needs a number")),
        (_, Some(value)) => return Some(usage(&format!("'{value}' is too much"))),
        (action, None) => return Some(usage(&format!("'fleet {action}' is not a command: see --help"))),
    };
    Some(Ok(Order { action, params }))
}

fn usage<T>(reason: &str) -> Result<T, Failure> {
    Err(Failure(USAGE, reason.to_owned()))
}

/// Carries out an order on all machines and watchers that are meant. Whether all of it was done, and what came of it, by
/// machine and watcher.
pub(super) fn run(
    args: &Args,
    order: &Order,
    mut send: impl FnMut(&Call) -> Result<(u16, String), String>,
) -> Result<(bool, Value), Failure> {
    let mut ask = |method, path: String, params: &[(String, String)]| {
        let call = Call { method, path, params: params.to_vec() };
        send(&call).map_err(|reason| Failure(UNREACHABLE, reason))
    };
    let mut read = |path: String| {
        let (status, body) = ask("GET", path, &[])?;
        match serde_json::from_str::<Value>(&body) {
            Ok(value) if status == 200 => Ok(value),
            _ => Err(Failure(REFUSED, refusal(status, &body))),
        }
    };
    let machines = read("/machines/".into())?;
    let ids: Vec<&str> = machines.as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    let mut meant = Vec::new();
    for id in ids.into_iter().filter(|id| fnmatch(&args.machines, id)) {
        // A machine that does not answer stands in the report.
        let watchers = read(format!("/machines/{}/watchers/", segment(id)));
        let known = match &watchers {
            Ok(Value::Object(watchers)) => Ok(watchers.clone()),
            Ok(_) => Err("the answer has no watchers".to_owned()),
            Err(Failure(_, reason)) => Err(reason.clone()),
        };
        meant.push((id.to_owned(), known));
    }
    let mut report = Map::new();
    let mut done = true;
    for (id, watchers) in meant {
        let (fine, found) = match watchers {
            Err(reason) => (false, json!({"nok": reason})),
            Ok(watchers) => {
                let watchers: Vec<(String, Value)> =
                    watchers.into_iter().filter(|(name, _)| fnmatch(&args.watchers, name)).collect();
                one_machine(&id, watchers, order, &mut ask)
            }
        };
        report.insert(id, found);
        done &= fine;
        if args.rolling && !fine {
            break;
        }
    }
    Ok((done, Value::Object(report)))
}

type Ask<'a> = dyn FnMut(&'static str, String, &[(String, String)]) -> Result<(u16, String), Failure> + 'a;

fn one_machine(id: &str, watchers: Vec<(String, Value)>, order: &Order, ask: &mut Ask<'_>) -> (bool, Value) {
    let mut found = Map::new();
    let mut fine = true;
    for (watcher, state) in watchers {
        if order.action == "status" {
            found.insert(watcher, state);
            continue;
        }
        let path = format!("/machines/{}/watchers/{}", segment(id), segment(&watcher));
        let told = match ask("POST", format!("{path}/{}/", order.action), &order.params) {
            Ok((200, _)) => ask("GET", format!("{path}/"), &[]),
            other => other,
        };
        let (good, said) = match told {
            Ok((200, body)) => {
                let state = serde_json::from_str::<Value>(&body).unwrap_or_default()["status"].clone();
                // A watcher that is not to be stopped must run afterwards.
                (order.action == "stop" || state == "active", state)
            }
            Ok((status, body)) => (false, json!({"nok": refusal(status, &body)})),
            Err(Failure(_, reason)) => (false, json!({"nok": reason})),
        };
        fine &= good;
        found.insert(watcher, said);
    }
    (fine, Value::Object(found))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn args(line: &str) -> Args {
        Args::parse_from(std::iter::once("cyme").chain(line.split(' ')))
    }

    /// What comes of a command line where machine a has web and db, b has web, and reloading on `bad` fails; and the
    /// requests that change something.
    fn run_on(line: &str, bad: &str) -> (bool, Value, Vec<String>) {
        let args = args(line);
        let order = order(&args).unwrap().unwrap();
        let mut changes = Vec::new();
        let send = |call: &Call| {
            let body = match call.path.as_str() {
                "/machines/" => json!([{"id": "a"}, {"id": "b"}]),
                "/machines/a/watchers/" => json!({"web": "active", "db": "active"}),
                "/machines/b/watchers/" => json!({"web": "active"}),
                _ if call.method == "GET" => json!({"status": "active"}),
                path => {
                    changes.push(path.to_owned());
                    if path.starts_with(&format!("/machines/{bad}/")) {
                        return Ok((409, r#"{"nok": ["it hangs", ""]}"#.to_owned()));
                    }
                    json!({"status": "ok"})
                }
            };
            Ok((200, body.to_string()))
        };
        let (done, report) = run(&args, &order, send).unwrap();
        (done, report, changes)
    }

    #[test]
    fn status_of_all() {
        let (done, report, changes) = run_on("fleet", "");
        assert_eq!((done, changes.len()), (true, 0));
        assert_eq!(report, json!({"a": {"web": "active", "db": "active"}, "b": {"web": "active"}}));
    }

    #[test]
    fn some_machines_and_watchers() {
        let (done, _, changes) = run_on("fleet reload --watchers w* --machines ?", "");
        assert_eq!(
            (done, changes),
            (true, vec!["/machines/a/watchers/web/reload/".into(), "/machines/b/watchers/web/reload/".into()])
        );
        let (_, report, changes) = run_on("fleet.stop --machines b", "");
        assert_eq!((report, changes.len()), (json!({"b": {"web": "active"}}), 1));
    }

    #[test]
    fn rolling_ends_at_the_first_failure() {
        let (done, report, changes) = run_on("fleet reload --rolling --watchers web", "a");
        assert_eq!((done, changes.len()), (false, 1));
        assert_eq!(report, json!({"a": {"web": {"nok": "it hangs"}}}));
        let (done, report, changes) = run_on("fleet reload --watchers web", "a");
        assert_eq!((done, changes.len()), (false, 2));
        assert_eq!(report["b"], json!({"web": "active"}));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, reason) in [
            ("fleet signal", "fleet signal needs a number"),
            ("fleet dance", "'fleet dance' is not a command: see --help"),
            ("fleet stop now", "'now' is too much"),
        ] {
            assert_eq!(order(&args(line)).unwrap().unwrap_err(), Failure(USAGE, reason.into()), "{line}");
        }
        assert_eq!(order(&args("apps")), None);
    }
}
