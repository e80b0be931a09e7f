//! The options of a watcher. One table, so that it can be read as one.

use serde_json::Value;

use super::field::{Field, store};
use super::hooks;
use super::kind::{KINDS, MISSED, OVERLAPS, canonical_limit};
use super::probes;
use super::{Authority, Effect, Kind, Listed, OptionSpec, Scope, Support, streams};

/// What an option has where its row does not say otherwise. Its authority has no default: each row names one.
const fn usual(authority: Authority) -> OptionSpec {
    OptionSpec {
        authority,
        key: "",
        kind: Kind::Text,
        default: "",
        unit: "",
        doc: "",
        example: "",
        effect: Effect::Reload,
        listed: Listed::Always,
        scope: Scope::Global,
        support: Support::Works,
        get: |_, _| Some(Value::Null),
        put: |_, _, _| Ok(()),
    }
}

/// More than a reader looks at, and little beside what a machine has.
const MOST_KEPT: u32 = 64 << 20;

/// A row whose name is the name of its field, with its authority.
macro_rules! field {
    ($name:ident, $authority:ident) => {
        OptionSpec {
            key: stringify!($name),
            get: |watcher, _| Some(watcher.$name.show()),
            put: |watcher, _, value| store(&mut watcher.$name, value),
            ..usual(Authority::$authority)
        }
    };
}

/// The same for a field of `checks`.
macro_rules! check {
    ($name:ident, $authority:ident) => {
        OptionSpec {
            key: stringify!($name),
            get: |watcher, _| Some(watcher.checks.$name.show()),
            put: |watcher, _, value| store(&mut watcher.checks.$name, value),
            effect: Effect::Nothing,
            listed: Listed::WhenSet,
            ..usual(Authority::$authority)
        }
    };
}

/// The same for a field of `cron`.
macro_rules! cron {
    ($name:ident) => {
        OptionSpec {
            key: stringify!($name),
            get: |watcher, _| Some(watcher.cron.$name.show()),
            put: |watcher, _, value| store(&mut watcher.cron.$name, value),
            effect: Effect::Nothing,
            listed: Listed::WhenSet,
            scope: Scope::Literal,
            ..usual(Authority::Safe)
        }
    };
}

/// Every option of a watcher, by name.
pub static WATCHER_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        kind: Kind::Names,
        doc: "Watchers that have to be active before this one starts, by name or by pattern (db-*); until then it is held \
              back. When several are stopped, and at the end, this one stops before them.",
        example: "broker, db-*",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        ..field!(after, Safe)
    },
    OptionSpec {
        kind: Kind::Args,
        doc: "Arguments, appended to cmd. A text is split into words as by a shell.",
        example: "--port 8000",
        scope: Scope::Watcher,
        ..field!(args, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "yes",
        doc: "Start the watcher when circusd starts.",
        example: "no",
        effect: Effect::Nothing,
        listed: Listed::Never,
        ..field!(autostart, Safe)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Connect standard error to /dev/null. Overrides stderr_stream.",
        example: "yes",
        ..field!(close_child_stderr, Safe)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "yes",
        doc: "Connect standard input to /dev/null; otherwise it is that of circusd.",
        example: "no",
        ..field!(close_child_stdin, OpensAsDaemon)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Connect standard output to /dev/null. Overrides stdout_stream.",
        example: "yes",
        ..field!(close_child_stdout, Safe)
    },
    OptionSpec {
        doc: "The command. It is split into words and executed; with shell it is the script.",
        example: "gunicorn app:main",
        scope: Scope::Watcher,
        ..field!(cmd, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Give workers circusd's own environment; the env sections override it.",
        example: "yes",
        ..field!(copy_env, OpensAsDaemon)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Set PYTHONPATH, unless it is set otherwise, to the import path of the python3 in circusd's own PATH. \
              Needs copy_env.",
        example: "yes",
        listed: Listed::Never,
        ..field!(copy_path, RunsAsDaemon)
    },
    OptionSpec {
        kind: Kind::Env,
        doc: "The environment of the workers. In a file it is set by the sections [env] and [env:NAME].",
        example: "A=1",
        ..field!(env, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "End circusd when the watcher has no worker left and none will be started: see exit_on of [circus]. A \
              stop by a command does not count. With respawn = yes only a command that cannot be executed does.",
        example: "yes",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        ..field!(essential, SignalsAsDaemon)
    },
    OptionSpec {
        doc: "The program to execute instead of the first word of cmd, which stays its name; with shell, instead of \
              /bin/sh.",
        example: "/bin/busybox",
        scope: Scope::Watcher,
        ..field!(executable, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Account,
        doc: "The group of the workers, by name or number.",
        example: "www-data",
        scope: Scope::Watcher,
        ..field!(gid, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "30",
        unit: "seconds",
        doc: "The time that a worker has to exit after the stop signal; then it is killed.",
        example: "5",
        effect: Effect::Nothing,
        ..field!(graceful_timeout, Safe)
    },
    OptionSpec {
        key: "health",
        default: "none",
        doc: "How it is seen that a worker is still at work. tcp:HOST:PORT and unix:PATH: a connection is accepted; \
              http:URL: a GET is answered with a status from 200 to 399; exec:COMMAND: it exits with status 0; it runs \
              as the worker's user, with the worker's environment and in its directory. watchdog: the worker says \
              WATCHDOG=1 to the socket that NOTIFY_SOCKET names, at least every health_interval. A worker that fails \
              is told to stop, and is replaced.",
        example: "http://127.0.0.1:8000/health",
        effect: Effect::Reload,
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        get: |watcher, _| Some(probes::show(watcher.checks.health.as_ref())),
        put: |watcher, _, value| probes::put_health(&mut watcher.checks.health, value),
        ..usual(Authority::RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "10",
        unit: "seconds",
        doc: "The pause between two health checks. With health = watchdog the longest time between two messages, which \
              new workers find in WATCHDOG_USEC.",
        example: "30",
        put: |watcher, _, value| probes::put_pause(&mut watcher.checks.health_interval, value),
        ..check!(health_interval, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "3",
        unit: "failures",
        doc: "The number of health checks in a row that have to fail before a worker is replaced. It has no effect with \
              health = watchdog.",
        example: "5",
        put: |watcher, _, value| probes::put_retries(&mut watcher.checks.health_retries, value),
        ..check!(health_retries, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "0",
        unit: "seconds",
        doc: "The time between the start of a worker, or the time that it is ready, and its first health check.",
        example: "20",
        ..check!(health_start_delay, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "5",
        unit: "seconds",
        doc: "The time that a health check may take; one that takes longer has failed.",
        example: "2",
        put: |watcher, _, value| probes::put_pause(&mut watcher.checks.health_timeout, value),
        ..check!(health_timeout, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "60",
        unit: "seconds",
        doc: "The time limit of a hook; one that takes longer is ended and has failed.",
        example: "5",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        put: hooks::put_timeout,
        ..field!(hook_timeout, Safe)
    },
    OptionSpec {
        key: "hooks",
        kind: Kind::Hooks,
        doc: "All hooks, by name.",
        example: "{\"before_start\": [\"module.function\", false]}",
        effect: Effect::Nothing,
        listed: Listed::Never,
        scope: Scope::Literal,
        get: hooks::get_all,
        put: hooks::put_all,
        ..usual(Authority::RunsAsDaemon)
    },
    OptionSpec {
        key: "hooks.*",
        kind: Kind::Hook,
        doc: "The hook of this name: what is run, and after a comma whether the watcher goes on if the hook fails: see \
              HOOKS. Empty means no hook.",
        example: "exec:/usr/local/bin/prepare --now, True",
        effect: Effect::Nothing,
        listed: Listed::Never,
        scope: Scope::Literal,
        get: hooks::get,
        put: hooks::put,
        ..usual(Authority::RunsAsDaemon)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "0",
        unit: "seconds",
        doc: "With on_demand: stop the processes when no connection to the watcher's sockets has been open for so long; the \
              next connection starts them again. Connections that wait to be accepted count, and those that the client \
              has closed and the worker has not. 0 means never.",
        example: "300",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        ..field!(idle_timeout, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "0",
        unit: "seconds",
        doc: "With kind = cron, the upper limit of a random time added to each run, so that machines with the same schedule \
              do not all run at once.",
        example: "300",
        ..cron!(jitter)
    },
    OptionSpec {
        kind: Kind::OneOf(&KINDS),
        default: "service",
        doc: "service: the workers run until they are stopped. oneshot: one process runs once at a start of the watcher, \
              and has succeeded when it exits with one of success_codes; watchers that come after it (after) wait for \
              that. A run that fails is tried again after a pause, max_retry times in all, or once with respawn = no. \
              cron: the same at the times of schedule; a run that fails is tried again with respawn = on-failure only. set \
              does not change it.",
        example: "oneshot",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        scope: Scope::Literal,
        ..field!(kind, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "0",
        unit: "seconds",
        doc: "The age at which a worker is replaced, one at a time; 0 means never. Where the workers share managed \
              sockets, or with reload = overlap, the successor starts first.",
        example: "3600",
        scope: Scope::Watcher,
        ..field!(max_age, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "30",
        unit: "seconds",
        doc: "The upper limit of a random time added to max_age, so that workers are not all replaced at once.",
        example: "60",
        scope: Scope::Watcher,
        ..field!(max_age_variance, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "5",
        unit: "attempts",
        doc: "The number of attempts to start a command that cannot be executed, before the watcher is stopped; -1 \
              means no limit. With kind = oneshot or cron, processes that fail count as well.",
        example: "-1",
        effect: Effect::Nothing,
        ..field!(max_retry, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "1",
        unit: "seconds",
        doc: "A worker that has run for this time has come up: requests with waiting are answered then, and when it exits \
              later it is replaced at once, until that happens for the fourth time in a row within 300 seconds of running. \
              A worker that exits earlier is replaced after a pause. The pause grows with each such exit. 0 switches these \
              pauses off.",
        example: "10",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        ..field!(min_uptime, Safe)
    },
    OptionSpec {
        kind: Kind::OneOf(&MISSED),
        default: "skip",
        doc: "With kind = cron, what happens about runs that were due while the machine slept or circusd did not run, which \
              it knows with state_file. skip: nothing. run: one run, at once, makes up for all of them.",
        example: "run",
        ..cron!(missed)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "1",
        unit: "workers",
        doc: "The number of workers.",
        example: "4",
        effect: Effect::Numprocesses,
        put: |watcher, _, value| {
            let number = i64::read(value)?.max(0);
            watcher.numprocesses = u32::try_from(number).map_err(|_| format!("{number} is out of range"))?;
            Ok(())
        },
        ..field!(numprocesses, Safe)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Start the watcher at the first connection to one of its sockets: those named in cmd, args, sockets or \
              stdin_socket, or all of them if only use_sockets is set. When its workers have exited, also after a \
              stop, it waits for a connection again. Otherwise only a start command that names the watcher starts it; \
              with autostart = no, connections do not start it either.",
        example: "yes",
        effect: Effect::Nothing,
        ..field!(on_demand, OpensAsDaemon)
    },
    OptionSpec {
        kind: Kind::Orphans,
        default: "end",
        doc: "What happens to processes that a worker leaves behind when it exits: its process group, its session and, \
              if it was stopped, all its descendants. end: they get stop_signal, and SIGKILL after graceful_timeout; \
              the worker counts as exited, and its successor starts, when they are gone. keep: they live on. A daemon \
              that makes a session of its own as its worker exits by itself cannot be told from others' children: it \
              ends when circusd does, not with a stop or rm, which names it in the log. Have it stay in the foreground.",
        example: "keep",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        scope: Scope::Literal,
        ..field!(orphans, SignalsAsDaemon)
    },
    OptionSpec {
        kind: Kind::OneOf(&OVERLAPS),
        default: "skip",
        doc: "With kind = cron, what happens when a run is due and the one before is not over. skip: the new one does not \
              take place. queue: it begins when the other is over; one at most waits. kill: the other is stopped, as by stop.",
        example: "queue",
        ..cron!(overlap)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "0",
        doc: "Watchers of higher priority start earlier and stop later.",
        example: "10",
        effect: Effect::Nothing,
        ..field!(priority, Safe)
    },
    OptionSpec {
        kind: Kind::Propagate,
        default: "restart",
        doc: "What a stop of a watcher in requires does to this one. restart: this one stops before it, starts again when \
              that one is up again, and restarts when no process of that one was left and new ones run. stop: this one \
              stops before it, and stays so. none: nothing.",
        example: "stop",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        ..field!(propagate, Safe)
    },
    OptionSpec {
        key: "ready",
        default: "none",
        doc: "What shows that a worker is ready: requests with waiting, the next watcher and a reload wait for it. \
              tcp:HOST:PORT and unix:PATH: a connection is accepted; http:URL: a GET is answered with a status from 200 \
              to 399; exec:COMMAND: it exits with status 0; it runs as the worker's user, with the worker's environment \
              and in its directory. notify: the worker says READY=1 to the socket that NOTIFY_SOCKET names. log:REGEX: \
              a line that it prints matches, which needs stdout_stream or stderr_stream. none: a \
              worker is ready when it runs.",
        example: "tcp:127.0.0.1:8000",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        get: |watcher, _| Some(probes::show(watcher.checks.ready.as_ref())),
        put: |watcher, _, value| probes::put_ready(&mut watcher.checks.ready, value),
        ..usual(Authority::RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "0.5",
        unit: "seconds",
        doc: "The pause between two attempts to see whether a worker is ready.",
        example: "0.1",
        put: |watcher, _, value| probes::put_pause(&mut watcher.checks.ready_interval, value),
        ..check!(ready_interval, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "60",
        unit: "seconds",
        doc: "The time in which a worker has to be ready. One that is not is told to stop, and counts as a start that has \
              failed: see max_retry.",
        example: "10",
        ..check!(ready_timeout, Safe)
    },
    OptionSpec {
        kind: Kind::Reload,
        doc: "How a reload replaces the workers. overlap: the new ones start, and the old ones are told to stop when the \
              new ones are ready and have lived for min_uptime; see reload_batch and reload_surge. exclusive: one \
              after the other, each stops before its successor starts, for programs that open their own port or lock. hup: \
              they get SIGHUP, and stay. Unset: hup with send_hup, exclusive with singleton, else overlap; a reload with \
              --sequential is exclusive then unless the workers share managed sockets. A singleton is never there twice.",
        example: "exclusive",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        scope: Scope::Literal,
        ..field!(reload, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "0",
        unit: "workers",
        doc: "How many workers an overlapping reload replaces at a time: so many new ones start, and when each of them is \
              ready and has lived for min_uptime, as many old ones are told to stop and the next batch begins. 0 means \
              all at once; a reload with --sequential replaces one at a time.",
        example: "2",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        ..field!(reload_batch, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "0",
        unit: "workers",
        doc: "How many processes more than numprocesses there may be in an overlapping reload, the old ones that are \
              stopping included: the next ones wait until others have gone. 0 means any number.",
        example: "1",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        ..field!(reload_surge, Safe)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Remember stop, start, incr, decr and a numprocesses that is set, over the end of circusd: a watcher that was \
              stopped stays so, and one that was given more workers has them again, until numprocesses changes in the \
              file. It needs a state_file in [circus].",
        example: "yes",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        ..field!(remember, Safe)
    },
    OptionSpec {
        kind: Kind::Names,
        doc: "Watchers without which this one is of no use, by name or by pattern: as after, and what happens to them \
              reaches this one as propagate says.",
        example: "broker",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        ..field!(requires, Safe)
    },
    OptionSpec {
        kind: Kind::Respawn,
        default: "yes",
        doc: "Replace workers that exit. If false, the watcher stops with its last worker. With on-failure only \
              workers that fail are replaced: those ended by a signal or with an exit status that is not in \
              success_codes.",
        example: "on-failure",
        effect: Effect::Nothing,
        ..field!(respawn, Safe)
    },
    OptionSpec {
        key: "retry_in",
        kind: Kind::Seconds,
        unit: "seconds",
        doc: "Kept for clients and plugins that set it; circusd does not use it.",
        example: "7",
        effect: Effect::Nothing,
        listed: Listed::Never,
        scope: Scope::Watcher,
        get: |watcher, _| watcher.freeform.get("retry_in").map(|text| text.as_str().into()),
        put: |watcher, _, value| {
            watcher.freeform.insert("retry_in".into(), crate::config::python::display(value));
            Ok(())
        },
        ..usual(Authority::Safe)
    },
    OptionSpec {
        key: "rlimit_*",
        kind: Kind::Limit,
        doc: "A resource limit of the workers, soft and hard; empty means unlimited.",
        example: "1024",
        listed: Listed::Never,
        scope: Scope::Literal,
        get: |watcher, name| watcher.rlimits.get(canonical_limit(name)?).map(|limit| (*limit).into()),
        put: |watcher, name, value| {
            let name = canonical_limit(name).ok_or("the kernel knows no such limit")?;
            let limit = match value {
                Value::Null => None,
                value => match i64::read(value)? {
                    // RLIM_INFINITY, as Python writes it.
                    -1 => None,
                    number => Some(u64::try_from(number).map_err(|_| format!("{number} is out of range"))?),
                },
            };
            watcher.rlimits.insert(name.into(), limit);
            Ok(())
        },
        ..usual(Authority::RunsAsDaemon)
    },
    OptionSpec {
        doc: "With kind = cron, when it runs: five fields as in crontab(5) (minute, hour, day of month, month, day of week; \
              also L, #, W and names), @hourly, @daily, @weekly, @monthly, @yearly, or @every TIME, such as @every 5m or \
              @every 1h 30m. A change takes effect without a run.",
        example: "0 3 * * *",
        ..cron!(schedule)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "On a graceful reload, send SIGHUP to the workers in place of replacing them, as reload = hup does.",
        example: "yes",
        effect: Effect::Nothing,
        ..field!(send_hup, Safe)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Run cmd and args as a script of /bin/sh.",
        example: "yes",
        ..field!(shell, RunsAsWorker)
    },
    OptionSpec {
        doc: "With shell, the script's $0, $1 and so on.",
        example: "name first second",
        scope: Scope::Watcher,
        ..field!(shell_args, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Allow at most one worker.",
        example: "yes",
        effect: Effect::Nothing,
        ..field!(singleton, Safe)
    },
    OptionSpec {
        kind: Kind::Names,
        doc: "The managed sockets passed to the workers, as descriptors 3, 4 and so on in this order, with LISTEN_FDS \
              and LISTEN_FDNAMES. Overrides use_sockets.",
        example: "web, api",
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        ..field!(sockets, OpensAsDaemon)
    },
    OptionSpec {
        key: "stderr_stream",
        kind: Kind::Stream,
        doc: "The destination of standard error; by default it is that of circusd.",
        example: "{\"class\": \"StdoutStream\"}",
        effect: Effect::Stream,
        listed: Listed::As("stderr_stream_conf"),
        scope: Scope::Watcher,
        get: |watcher, _| Some(streams::show(watcher.stderr_stream.as_ref(), watcher.dynamic)),
        put: |watcher, _, value| {
            watcher.stderr_stream = streams::from_object(value);
            Ok(())
        },
        ..usual(Authority::OpensAsDaemon)
    },
    OptionSpec {
        key: "stderr_stream.*",
        kind: Kind::StreamKey,
        doc: "As stdout_stream.*, for standard error.",
        example: "/var/log/web.err",
        effect: Effect::Stream,
        listed: Listed::Never,
        scope: Scope::Watcher,
        get: |watcher, key| streams::get(watcher.stderr_stream.as_ref(), key),
        put: |watcher, key, value| {
            streams::put(&mut watcher.stderr_stream, key, value);
            Ok(())
        },
        ..usual(Authority::OpensAsDaemon)
    },
    OptionSpec {
        doc: "The managed socket that is the workers' standard input.",
        example: "web",
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        put: |watcher, _, value| {
            watcher.stdin_socket = Option::<String>::read(value)?.map(|name| name.to_lowercase());
            Ok(())
        },
        ..field!(stdin_socket, OpensAsDaemon)
    },
    OptionSpec {
        key: "stdout_stream",
        kind: Kind::Stream,
        doc: "The destination of standard output; by default it is that of circusd.",
        example: "{\"class\": \"StdoutStream\"}",
        effect: Effect::Stream,
        listed: Listed::As("stdout_stream_conf"),
        scope: Scope::Watcher,
        get: |watcher, _| Some(streams::show(watcher.stdout_stream.as_ref(), watcher.dynamic)),
        put: |watcher, _, value| {
            watcher.stdout_stream = streams::from_object(value);
            Ok(())
        },
        ..usual(Authority::OpensAsDaemon)
    },
    OptionSpec {
        key: "stdout_stream.*",
        kind: Kind::StreamKey,
        doc: "What the stream is made of. class: FileStream (where only a filename is given), WatchedFileStream, \
              TimedRotatingFileStream, StdoutStream, FancyStdoutStream or MemoryStream, which is for circusctl tail \
              alone. Of files: filename, time_format; \
              FileStream: max_bytes, backup_count, and framed, for a program that reads a FIFO: each piece of output \
              stands behind a line with the worker's pid and the piece's length, and nothing is added to it; \
              TimedRotatingFileStream: rotate_when (S, M, H, D, MIDNIGHT, W0 to \
              W6), rotate_interval, utc, backup_count. FancyStdoutStream: color, time_format.",
        example: "/var/log/web.log",
        effect: Effect::Stream,
        listed: Listed::Never,
        scope: Scope::Watcher,
        get: |watcher, key| streams::get(watcher.stdout_stream.as_ref(), key),
        put: |watcher, key, value| {
            streams::put(&mut watcher.stdout_stream, key, value);
            Ok(())
        },
        ..usual(Authority::OpensAsDaemon)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Send the stop signal to the children of a worker too.",
        example: "yes",
        effect: Effect::Nothing,
        ..field!(stop_children, SignalsAsDaemon)
    },
    OptionSpec {
        kind: Kind::Signal,
        default: "TERM",
        doc: "The signal that asks a worker to end: a name or a number, in requests a number.",
        example: "QUIT",
        effect: Effect::Nothing,
        scope: Scope::Literal,
        ..field!(stop_signal, Safe)
    },
    OptionSpec {
        kind: Kind::Codes,
        default: "0",
        doc: "The exit statuses that respawn = on-failure treats as success.",
        example: "0, 3",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        ..field!(success_codes, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "16384",
        unit: "bytes",
        doc: "The amount of recent output of each stream that is kept in memory for circusctl tail; 0 means none. A \
              change takes effect when the streams are next opened, at a start of the watcher.",
        example: "1048576",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        put: |watcher, _, value| {
            let number = i64::read(value)?.max(0);
            let fits = u32::try_from(number).ok().filter(|bytes| *bytes <= MOST_KEPT);
            watcher.tail_bytes = fits.ok_or_else(|| format!("{number} is more than {MOST_KEPT}"))?;
            Ok(())
        },
        ..field!(tail_bytes, Safe)
    },
    OptionSpec {
        doc: "With kind = cron, the time zone of schedule, such as Europe/Berlin or UTC; by default that of the machine.",
        example: "UTC",
        ..cron!(timezone)
    },
    OptionSpec {
        kind: Kind::Account,
        doc: "The user of the workers, by name or number. Without a gid, also the user's group, or group 65534 where a \
              number has no entry in passwd.",
        example: "www-data",
        scope: Scope::Watcher,
        ..field!(uid, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Let workers inherit all managed sockets, at the descriptors that $(circus.sockets.NAME) gives.",
        example: "yes",
        ..field!(use_sockets, OpensAsDaemon)
    },
    OptionSpec {
        doc: "The Python virtual environment of the workers: its bin directory is put first in PATH, and its packages \
              into PYTHONPATH. Needs copy_env.",
        example: "venv",
        listed: Listed::Never,
        scope: Scope::Watcher,
        ..field!(virtualenv, OpensAsDaemon)
    },
    OptionSpec {
        doc: "The version of Python whose packages in the virtual environment are used; by default the latest.",
        example: "3.11",
        listed: Listed::Never,
        scope: Scope::Watcher,
        ..field!(virtualenv_py_ver, OpensAsDaemon)
    },
    OptionSpec {
        kind: Kind::WholeSeconds,
        default: "0",
        unit: "seconds",
        doc: "The pause between the starts of two workers.",
        example: "1",
        effect: Effect::Nothing,
        // In files it is a whole number, and is shown as one.
        get: |watcher, _| {
            let delay = watcher.warmup_delay;
            let whole = !watcher.dynamic && delay.fract() == 0.0;
            #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is bounded by Kind::Seconds")]
            Some(if whole { (delay as i64).into() } else { delay.into() })
        },
        ..field!(warmup_delay, Safe)
    },
    OptionSpec {
        doc: "The working directory of the workers; by default that of circusd.",
        example: "/srv/web",
        scope: Scope::Watcher,
        ..field!(working_dir, OpensAsDaemon)
    },
];

#[cfg(test)]
mod tests;
