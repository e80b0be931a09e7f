//! What follows from the user that circusd itself runs as.
//!
//! These are no faults of the file: the same file is right for another user.

use super::assemble::Assembled;
use super::facts::Facts;
use super::ini::Ini;
use super::watcher::Watcher;
use super::{Account, Place, Problem, Severity};

/// Everything that the rules find. `open_endpoint` is how serious an endpoint is that every user reaches: it is the
/// default of Circus, so that a check only notes it.
pub(super) fn problems(
    file: &str,
    ini: &Ini,
    assembled: &Assembled<'_>,
    facts: &dyn Facts,
    open_endpoint: Severity,
) -> Vec<Problem> {
    let mut problems: Vec<Problem> =
        root_for_all_users(file, ini, assembled, facts, open_endpoint).into_iter().collect();
    for watcher in &assembled.watchers {
        problems.extend(foreign_account(watcher, "uid", watcher.config.uid.as_ref(), facts));
        problems.extend(foreign_account(watcher, "gid", watcher.config.gid.as_ref(), facts));
    }
    problems
}

/// Every user of the machine can run commands as root, as with the endpoint that Circus had.
fn root_for_all_users(
    file: &str,
    ini: &Ini,
    assembled: &Assembled<'_>,
    facts: &dyn Facts,
    severity: Severity,
) -> Option<Problem> {
    let endpoint = &assembled.circus.endpoint;
    let has_keys = assembled.circus.curve_server_key.is_some();
    let is_open = endpoint.starts_with("tcp://") && facts.own_uid() == 0 && !has_keys;
    is_open.then(|| {
        let entry = ini.section("circus").and_then(|section| section.get("endpoint"));
        let whole = Place { file: file.into(), line: 0 };
        let text = format!(
            "[circus] endpoint: every user of this machine can reach {endpoint} and so run any command as root; for root \
             alone, write endpoint = ipc:///run/circusd.sock"
        );
        Problem::new(severity, entry.map_or(&whole, |entry| &entry.place), text)
    })
}

/// A circusd that is not root cannot change users. As in Circus, 0 then means its own user, without a word from the
/// kernel; another number makes each start fail.
fn foreign_account(watcher: &Watcher<'_>, key: &str, account: Option<&Account>, facts: &dyn Facts) -> Option<Problem> {
    let own = if key == "uid" { facts.own_uid() } else { facts.own_gid() };
    let wanted = match account? {
        Account::Number(number) => *number,
        Account::Name(name) if key == "uid" => facts.user(name)?,
        Account::Name(name) => facts.group(name)?,
    };
    if facts.own_uid() == 0 || wanted == own {
        return None;
    }
    let text = match wanted {
        0 => format!(
            "circusd is not root, so its workers keep its own {key} {own}; start circusd as root, or leave out {key}"
        ),
        _ => format!(
            "circusd is not root, so it cannot start workers with {key} {wanted}; start circusd as root, or leave out {key}"
        ),
    };
    Some(watcher.warning(key, &text))
}

#[cfg(test)]
mod tests {
    use super::super::testing::FakeMachine;
    use super::super::{Host, Loaded, check, load};

    fn machine(uid: u32, text: &str) -> FakeMachine {
        FakeMachine::default()
            .with_own_user(uid, uid)
            .with_user("root", 0)
            .with_user("www", 33)
            .with("/c.ini", text)
            .with_directory("/run")
    }

    /// What is said at the start, and by a check.
    fn said(uid: u32, text: &str) -> [Vec<String>; 2] {
        let host = Host { cwd: "/".into(), ..Host::default() };
        let machine = machine(uid, text).with_program("/usr/bin/x");
        let Loaded { problems, of_user, .. } = load("/c.ini", &host, &machine);
        assert_eq!(problems, [], "the file is right");
        let lines = |problems: Vec<super::Problem>| {
            let lines = problems.iter().map(|problem| problem.diagnostic().replace("/c.ini:", ""));
            lines.filter(|line| ["endpoint", "root"].iter().any(|word| line.contains(word))).collect()
        };
        [lines(of_user), lines(check("/c.ini", &host, &machine).problems)]
    }

    #[test]
    fn loopback_endpoint_of_root_is_reported_once() {
        let text = "[circus]\ncheck_delay = 1\nendpoint = tcp://127.0.0.1:5\n[watcher:w]\ncmd = x\n";
        let [start, checked] = said(0, text);
        assert_eq!((start.len(), checked.len()), (1, 1));
        assert!(start[0].starts_with("3: warning: [circus] endpoint: every user of this machine can reach tcp://"));
        assert!(checked[0].starts_with("3: note: [circus] endpoint: "), "{checked:?}");
        assert_eq!(said(1000, text), [[""; 0]; 2]);
        assert_eq!(said(0, &text.replace("tcp://127.0.0.1:5", "ipc:///run/c")), [[""; 0]; 2]);
        let [default, _] = said(0, "[watcher:w]\ncmd = x\n");
        assert!(default[0].ends_with("write endpoint = ipc:///run/circusd.sock"), "{default:?}");
    }

    #[test]
    fn users_that_circusd_cannot_become_are_named() {
        let text = |lines: &str| format!("[circus]\nendpoint = ipc:///c\n[watcher:w]\ncmd = x\n{lines}\n");
        let keeps = "its workers keep its own uid 1000; start circusd as root, or leave out uid";
        for (lines, words) in [
            ("uid = root", format!("5: warning: [watcher:w] uid: circusd is not root, so {keeps}")),
            ("uid = 0", format!("5: warning: [watcher:w] uid: circusd is not root, so {keeps}")),
            ("gid = 0", format!("5: warning: [watcher:w] gid: circusd is not root, so {}", keeps.replace("uid", "gid"))),
            (
                "uid = www",
                "5: warning: [watcher:w] uid: circusd is not root, so it cannot start workers with uid 33; start circusd \
                 as root, or leave out uid"
                    .to_owned(),
            ),
        ] {
            assert_eq!(said(1000, &text(lines)), [[words.clone()], [words]], "{lines}");
            assert_eq!(said(0, &text(lines)), [[""; 0]; 2], "root becomes each: {lines}");
        }
        assert_eq!(said(1000, &text("uid = 1000\ngid = 1000")), [[""; 0]; 2]);
    }
}
