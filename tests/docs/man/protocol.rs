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
        Action::Subscribe | Action::Await => "On the control endpoint it is refused:\n",
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
        EventKind::Kill { process_pid: 4711 },
        EventKind::Unhealthy {
            process_pid: 4711,
            wid: 1,
            reason: "unhealthy (tcp:127.0.0.1:8000: 3 times in a row: connection refused)".into(),
        },
        EventKind::Reap { process_pid: 4711, exit_code: -15 },
        EventKind::Stop { reason: Some("hook after_start said no".into()) },
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
        EventKind::Ready { .. } => "A worker has shown that it is ready, as the option ready asks.",
        EventKind::Unhealthy { .. } => {
            "A worker has failed its health checks, and is told to stop; reason says which and how."
        }
        EventKind::Start => "A watcher went active.",
        EventKind::Updated => "An option was set; one event for each option.",
        EventKind::Reload => "A graceful reload is done.",
        EventKind::ReloadFailed { .. } => {
            "A graceful reload has failed: the new processes go, and the old ones that were not told to stop yet stay. \
             wid is the number of the worker that did not come up, reason says why, and lines are the last 10 that it has \
             printed, as far as stdout_stream and stderr_stream keep them; wid may be null."
        }
        EventKind::Kill { .. } => {
            "A stop signal was sent to a process, or SIGKILL because it did not end in time. The command signal \
             publishes none."
        }
        EventKind::Reap { .. } => {
            "A process ended: each death gives exactly one. exit_code is the exit status, or minus the signal that \
             ended it."
        }
        EventKind::HookSuccess { .. } => "A hook has answered, yes or no. Those of extended_stats publish nothing.",
        EventKind::HookFailure { .. } => "A hook gave no answer; error says why.",
        EventKind::Stop { .. } => {
            "A watcher has stopped, or did not succeed in starting. reason says why it stopped where it was not told to."
        }
        EventKind::RunBegin { .. } => {
            "A watcher that is no service (kind) begins to run. trigger says why: start (the watcher was started), \
             request (the command run), schedule, or missed (the schedule, which could not be followed in time)."
        }
        EventKind::RunEnd(_) => {
            "The run is over. result is success, failure or stopped; exit_code is the exit status of its last process, or \
             minus the signal that ended it, or null where none has run; attempts is the number of its processes, began \
             the time of its begin and duration how long it took, in seconds. reason says why it has failed."
        }
        EventKind::Remove => "A watcher was removed by the command rm. Events of its stop may follow.",
        EventKind::Upgrade { .. } => {
            "circusd has become another build of itself. A subscription to everything does not include it: subscribe to \
             circusd."
        }
    }
}
