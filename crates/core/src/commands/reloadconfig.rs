//! `reloadconfig`

use serde_json::Value;

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console,
    props, python,
};
use crate::proto::{Fault, Object, Request};

const DRY_RUN: &str = "dry-run";

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "reloadconfig",
    summary: "Read the configuration file again and apply it",
    doc: Doc {
        purpose: "Reads the configuration file again and applies what has changed. It starts new watchers, and stops \
                  and removes watchers that are no longer in the file. If only numprocesses of a watcher differs, \
                  processes are started or stopped. Options that set changes without new workers take effect at once. \
                  A watcher with other differences is stopped and started. circusd stops all watchers that have to \
                  stop before it starts the first one; then they start in order of priority, except those with \
                  autostart = no. Watchers that were added by the command add are kept unless prune is given. The new \
                  file is compared with the previous version of the file, so values from the command set stay. New \
                  sockets are opened before old ones are closed. If the address of a socket is the same, the open \
                  socket is adjusted; if another socket has changed, the watchers that use it are reloaded \
                  gracefully. If the file has a new error, or a socket cannot be opened, nothing is changed.",
        reply: "watchers has name and change of each watcher; change is kept, scaled (with from and to), adjusted \
                (with why), replaced (with why: the options and sockets that differ; gracefully; starts), added (with \
                starts) or removed. sockets has name and change of each socket; change is kept, adjusted, replaced \
                (with why), added or removed. circus has two lists of options of [circus]: applied, and needs_restart \
                for those that take effect when circusd is restarted. warnings lists problems in the file that are no \
                errors. An error has errno 6, and details, a list of the errors.",
        message: r#"{"command": "reloadconfig", "properties": {"waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "watchers": [{"name": "web", "change": "scaled", "from": 2, "to": 4}], "sockets": [], "circus": {"applied": ["check_delay"], "needs_restart": []}, "warnings": []}"#,
        example: "reloadconfig --dry-run",
    },
    properties: &[
        PropertySpec::optional("dry_run", Kind::Boolean, "Report what would be done, and do nothing; default false."),
        PropertySpec::optional("prune", Kind::Boolean, "Remove watchers made by add as well; default false."),
    ],
    waiting: Waiting::Up,
    role: Role::Admin,
    decode,
    console: ConsoleSpec::call(
        "",
        &[
            ConsoleOption::flag(DRY_RUN, "Print what would be done, and why; do nothing."),
            ConsoleOption::flag("prune", "Remove watchers made by add as well."),
        ],
        message,
        show,
    ),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::ReloadConfig {
        dry_run: props::flag(properties, "dry_run", false),
        prune: props::flag(properties, "prune", false),
        waiting: props::flag(properties, "waiting", false),
    })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = console::nothing(invocation)?;
    if invocation.flag(DRY_RUN) {
        properties.insert("dry_run".into(), true.into());
    }
    console::put_flags(&mut properties, invocation, &["prune"]);
    Ok(properties)
}

/// `ok`, as ever, and what is still to be done; of a dry run the plan.
fn show(reply: &Value, invocation: &Invocation) -> String {
    let needs_restart = circus(reply, "needs_restart");
    if !invocation.flag(DRY_RUN) {
        let hint = |keys: String| format!("ok\n[circus] {keys} will change when circusd is restarted");
        return needs_restart.map_or_else(|| "ok".into(), hint);
    }
    let mut rows = rows(reply, "watchers", "watcher");
    rows.extend(self::rows(reply, "sockets", "socket"));
    rows.extend(circus(reply, "applied").map(|keys| ["applied".into(), "[circus]".into(), keys]));
    rows.extend(
        needs_restart
            .map(|keys| ["restart".into(), "[circus]".into(), format!("{keys}: not before circusd is restarted")]),
    );
    rows.extend(texts(reply.get("warnings")).map(|text| ["warning".into(), String::new(), text]));
    table(&rows)
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = String> {
    list.and_then(Value::as_array).into_iter().flatten().map(python::display)
}

/// The options of `[circus]` under this key, if there are any.
fn circus(reply: &Value, key: &str) -> Option<String> {
    let keys: Vec<String> = texts(reply.get("circus").and_then(|circus| circus.get(key))).collect();
    (!keys.is_empty()).then(|| keys.join(", "))
}

/// What becomes of each, and why. Those that change come first.
fn rows(reply: &Value, key: &str, what: &str) -> Vec<[String; 3]> {
    const ORDER: [&str; 6] = ["removed", "replaced", "scaled", "adjusted", "added", "kept"];
    let text = |item: &Value, key: &str| item.get(key).map(python::display).unwrap_or_default();
    let row = |item: &Value| [text(item, "change"), format!("{what} {}", text(item, "name")), reason(item)];
    let mut rows: Vec<_> = reply.get(key).and_then(Value::as_array).into_iter().flatten().map(row).collect();
    rows.sort_by_key(|[change, ..]| ORDER.iter().position(|known| known == change));
    rows
}

fn reason(item: &Value) -> String {
    let mut reasons: Vec<String> = texts(item.get("why")).collect();
    if let (Some(from), Some(to)) = (item.get("from"), item.get("to")) {
        reasons.push(format!("numprocesses {from} -> {to}"));
    }
    let mut reason = reasons.join(", ");
    let notes = [
        ("gracefully", true, "new processes before the old ones go"),
        ("starts", false, "not started: autostart = no"),
    ];
    for (key, value, note) in notes {
        if item.get(key).and_then(Value::as_bool) == Some(value) {
            reason.push_str(&format!("{}({note})", if reason.is_empty() { "" } else { " " }));
        }
    }
    reason
}

fn table(rows: &[[String; 3]]) -> String {
    let width =
        |column: fn(&[String; 3]) -> &String| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (first, second) = (width(|[change, ..]| change), width(|[_, name, _]| name));
    let line =
        |[change, name, why]: &[String; 3]| format!("{change:first$}  {name:second$}  {why}").trim_end().to_owned();
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::Action;
    use crate::commands::testing::{decoded, expect_usage, sent, shown};

    #[test]
    fn on_the_wire() {
        assert_eq!(decoded(&SPEC, json!({})), Request::ReloadConfig { dry_run: false, prune: false, waiting: false });
        let both = json!({"dry_run": true, "waiting": true});
        assert_eq!(decoded(&SPEC, both), Request::ReloadConfig { dry_run: true, prune: false, waiting: true });
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::default()), json!({}));
        assert_eq!(sent(&SPEC, Invocation::default().with_flag("waiting")), json!({"waiting": true}));
        assert_eq!(sent(&SPEC, Invocation::default().with_flag("dry-run")), json!({"dry_run": true}));
        expect_usage(&SPEC, &["web"], "Invalid number of arguments");
    }

    #[test]
    fn ok_as_ever_and_what_needs_a_restart() {
        assert_eq!(shown(&SPEC, &[], json!({"status": "ok"})), "ok");
        let reply = json!({"circus": {"applied": ["umask"], "needs_restart": ["endpoint", "pidfile"]}});
        let expected = "ok\n[circus] endpoint, pidfile will change when circusd is restarted";
        assert_eq!(shown(&SPEC, &[], reply), expected);
    }

    #[test]
    fn a_dry_run_prints_the_plan() {
        let reply = json!({
            "watchers": [
                {"name": "change", "change": "replaced", "why": ["cmd"], "gracefully": false, "starts": true},
                {"name": "count", "change": "scaled", "from": 1, "to": 3},
                {"name": "fresh", "change": "added", "starts": false},
                {"name": "stay", "change": "kept"},
                {"name": "user", "change": "replaced", "why": ["socket web"], "gracefully": true},
                {"name": "beeper", "change": "removed", "why": ["made by add, and not in the file"]},
            ],
            "sockets": [{"name": "web", "change": "replaced", "why": ["port"]}],
            "circus": {"applied": ["check_delay"], "needs_restart": ["endpoint"]},
            "warnings": ["web.ini:7: unknown key 'x'"],
        });
        let Action::Call { show, .. } = SPEC.console.action else { panic!("it is a call") };
        let text = show(&reply, &Invocation::default().with_flag("dry-run"));
        let expected = "\
removed   watcher beeper  made by add, and not in the file
replaced  watcher change  cmd
replaced  watcher user    socket web (new processes before the old ones go)
scaled    watcher count   numprocesses 1 -> 3
added     watcher fresh   (not started: autostart = no)
kept      watcher stay
replaced  socket web      port
applied   [circus]        check_delay
restart   [circus]        endpoint: not before circusd is restarted
warning                   web.ini:7: unknown key 'x'";
        assert_eq!(text, expected);
    }
}
