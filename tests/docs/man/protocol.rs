//! The generated parts of circus-protocol(7).

use circus::commands::{Action, COMMANDS, CommandSpec};
use circus::proto::{
    CIRCUSD, EventKind, HookPoint, Notice, RunReport, RunResult, RunTrigger, encode_notice, resource_name,
};

use crate::roff::{bold, entry, example, italic, line, nested_example};

/// Every command: its properties, a request and the reply.
pub(crate) fn commands() -> String {
    COMMANDS.iter().map(command).collect()
}

fn command(spec: &CommandSpec) -> String {
    let mut out = format!(".SS {}\n{}", spec.name, line(spec.doc.purpose));
    for property in spec.all_properties() {
        let need = if property.required { ", required" } else { "" };
        let term = format!("{} ({}{need})", bold(property.name), italic(property.kind.describe()));
        out.push_str(&entry(&term, &line(property.doc)));
    }
    out.push_str(".PP\n");
    out.push_str(match spec.console.action {
        Action::Call { .. } => "Request and reply:\n",
        Action::Subscribe | Action::Await => "The control endpoint refuses it:\n",
    });
    out.push_str(&example(&format!("{}\n{}", spec.doc.message, spec.doc.answer)));
    out.push_str(".PP\n");
    out.push_str(&line(spec.doc.reply));
    out
}

/// Every event: its topic and an example of its payload.
pub(crate) fn events() -> String {
    kinds().into_iter().map(event).collect()
}

fn event(kind: EventKind) -> String {
    let about = about(&kind);
    let name = kind.name();
    let of_circusd = matches!(kind, EventKind::Upgrade { .. });
    let resource = if of_circusd { CIRCUSD.into() } else { resource_name("My Web") };
    let notice = Notice { resource, kind, time: 1_700_000_000.5 };
    let (topic, body) = encode_notice(&notice);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let shown = nested_example(&format!("{} {}", text(&topic), text(&body)));
    entry(&bold(name), &format!("{}{shown}", line(about)))
}

/// One of each.
fn kinds() -> Vec<EventKind> {
    vec![
        EventKind::Add,
        EventKind::Spawn { process_pid: 4711 },
        EventKind::Ready { process_pid: 4711, wid: 1 },
        EventKind::Start,
        EventKind::Updated,
        EventKind::Reload,
        EventKind::ReloadFailed {
            wid: Some(1),
            reason: "my web: reload failed, the old processes are kept: worker 1 exited with status 1 after 36 ms"
                .into(),
            lines: vec!["ModuleNotFoundError: No module named 'app'".into()],
        },
        EventKind::Scale { before: 2, numprocesses: 4, reason: "12 connections wait".into() },
        EventKind::Kill { process_pid: 4711 },
        EventKind::Unhealthy {
            process_pid: 4711,
            wid: 1,
            reason: "unhealthy (tcp:127.0.0.1:8000: 3 times in a row: connection refused)".into(),
        },
        EventKind::Reap { process_pid: 4711, exit_code: -15, oom: false },
        EventKind::Stop { reason: Some("hook after_start returned false".into()) },
        EventKind::RunBegin { trigger: RunTrigger::Start },
        EventKind::RunEnd(RunReport {
            result: RunResult::Failure,
            exit_code: Some(7),
            began: 1_700_000_000.0,
            duration: 0.5,
            attempts: 1,
            trigger: RunTrigger::Start,
            reason: Some("worker 1 exited with status 7 after 500 ms".into()),
        }),
        EventKind::HookSuccess { hook: HookPoint::AfterStop },
        EventKind::HookFailure { hook: HookPoint::BeforeStart, error: "it was ended by SIGKILL".into() },
        EventKind::Remove,
        EventKind::Upgrade { version: "0.2.0".into() },
    ]
}

fn about(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Add => "A watcher was added by the command add.",
        EventKind::Spawn { .. } => "A process was started.",
        EventKind::Ready { .. } => "A worker has become ready, as its option ready defines.",
        EventKind::Unhealthy { .. } => {
            "A worker has failed its health checks and is being stopped. reason has the check and its error."
        }
        EventKind::Start => "A watcher has become active.",
        EventKind::Updated => "An option was changed by the command set. Each option has its own event.",
        EventKind::Scale { .. } => {
            "The number of workers of a watcher with scale has changed: before and numprocesses are the numbers, and reason \
             says why."
        }
        EventKind::Reload => "A graceful reload has ended.",
        EventKind::ReloadFailed { .. } => {
            "A graceful reload has failed: the new processes are stopped, and the old ones that were not being stopped yet \
             stay. wid is the number of the worker that did not come up (it may be null), reason the reason, and lines \
             its last 10 lines, as far as stdout_stream and stderr_stream keep them."
        }
        EventKind::Kill { .. } => {
            "A process was sent its stop signal, or SIGKILL because it did not exit in time. The command signal \
            publishes no such event."
        }
        EventKind::Reap { .. } => {
            "A process has exited. Each exit gives exactly one event. oom is true, and otherwise left out, if the kernel has killed \
             a process of its control group because memory ran out. exit_code is the exit status, or minus the \
            number of the signal that ended it. The command why tells how long the process ran and what it printed last."
        }
        EventKind::HookSuccess { .. } => {
            "A hook has returned true or false. The hook extended_stats publishes \
                                         nothing."
        }
        EventKind::HookFailure { .. } => "A hook has failed; error is the reason.",
        EventKind::Stop { .. } => {
            "A watcher has stopped, or could not start. reason is there if it stopped without a command."
        }
        EventKind::Remove => {
            "A watcher was removed by the command rm. Events of its processes may follow while they \
                             stop."
        }
        EventKind::RunBegin { .. } => {
            "A watcher that is no service (see kind) begins a run. trigger is the cause: start (the watcher was started), \
             request (the command run), schedule, or missed (a run of the schedule that is made up for later)."
        }
        EventKind::RunEnd(_) => {
            "A run has ended. result is success, failure or stopped; exit_code is the exit status of its last process, or \
             minus the number of the signal that ended it, or null if no process has run. attempts is the number of its \
             processes, began its start time and duration its length in seconds. reason is why it has failed."
        }
        EventKind::Upgrade { .. } => {
            "circusd was upgraded. The empty subscription does not include this event: subscribe to circusd.upgrade."
        }
    }
}

#[test]
fn listen_names_every_event_of_watchers() {
    let listen = COMMANDS.iter().find(|spec| spec.name == "listen").expect("a command of Circus");
    let of_watchers = kinds().into_iter().filter(|kind| !matches!(kind, EventKind::Upgrade { .. }));
    for kind in of_watchers {
        let named =
            listen.doc.purpose.split(|c: char| c != '_' && !c.is_alphanumeric()).any(|word| word == kind.name());
        assert!(named, "{}", kind.name());
    }
}
