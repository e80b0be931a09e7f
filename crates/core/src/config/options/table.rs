//! The options of a watcher. One table, so that it can be read as one.

use serde_json::Value;

use super::field::{Field, store};
use super::hooks;
use super::kind::{KILL_MODES, KINDS, MISSED, OVERLAPS, canonical_limit};
use super::probes;
use super::stop_signals;
use super::{Authority, Effect, Kind, Listed, OptionSpec, Scope, Support, streams};
use crate::config::SlotPool;

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

/// The same for a field of `scaling`.
macro_rules! scaling {
    ($name:ident, $authority:ident) => {
        OptionSpec {
            key: stringify!($name),
            get: |watcher, _| Some(watcher.scaling.$name.show()),
            put: |watcher, _, value| store(&mut watcher.scaling.$name, value),
            effect: Effect::Nothing,
            listed: Listed::WhenSet,
            ..usual(Authority::$authority)
        }
    };
}

/// The same for a field of `scheduling`.
macro_rules! scheduling {
    ($name:ident) => {
        OptionSpec {
            key: stringify!($name),
            get: |watcher, _| Some(watcher.scheduling.$name.show()),
            put: |watcher, _, value| store(&mut watcher.scheduling.$name, value),
            listed: Listed::WhenSet,
            ..usual(Authority::RunsAsDaemon)
        }
    };
}

/// The same for a field of `group_limits`.
macro_rules! group_limit {
    ($name:ident) => {
        OptionSpec {
            key: stringify!($name),
            get: |watcher, _| Some(watcher.group_limits.$name.show()),
            put: |watcher, _, value| store(&mut watcher.group_limits.$name, value),
            listed: Listed::WhenSet,
            ..usual(Authority::RunsAsDaemon)
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
        doc: "Watchers that have to be active before this one starts, by name or by pattern (db-*). Until then \
              circusd holds this watcher back. When several watchers stop, this one stops before them.",
        example: "broker, db-*",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        ..field!(after, Safe)
    },
    OptionSpec {
        kind: Kind::Args,
        doc: "Arguments that are appended to cmd. A text is split into words as by a shell.",
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
        doc: "Give each worker a control group of its own (cgroups(7), version 2), below the one that is delegated to \
              circusd. What a worker starts belongs to it, also in a session of its own and when its parents have ended: \
              with orphans = end, the worker counts as exited when all of them are gone. Without a delegated group, no \
              worker starts. See docs/cgroups.md.",
        example: "yes",
        listed: Listed::WhenSet,
        ..field!(cgroup, RunsAsDaemon)
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
        doc: "Connect standard input to /dev/null. With no, workers share the standard input of circusd.",
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
        doc: "The command. It is split into words and executed; with shell = yes it is a script instead.",
        example: "gunicorn app:main",
        scope: Scope::Watcher,
        ..field!(cmd, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Give workers the environment of circusd. Variables of the env sections override it.",
        example: "yes",
        ..field!(copy_env, OpensAsDaemon)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Set PYTHONPATH to the import path of the python3 in circusd's own PATH, unless an env section sets \
              PYTHONPATH. Needs copy_env.",
        example: "yes",
        listed: Listed::Never,
        ..field!(copy_path, RunsAsDaemon)
    },
    OptionSpec {
        doc: "The processors on which the workers run: numbers and ranges, from 0 to 8191 (sched_setaffinity(2), taskset(1)). Of \
              those that the machine lacks, or circusd's cpuset, the kernel takes no notice, but one has to be there. By \
              default those of circusd.",
        example: "0-3,7",
        scope: Scope::Watcher,
        ..scheduling!(cpu_affinity)
    },
    OptionSpec {
        doc: "The processor time that a worker and what it starts may use, in processors, from 0.01 to 8192 (cpu.max in \
              cgroups(7)). Needs cgroup = yes and the controller cpu.",
        example: "1.5",
        scope: Scope::Watcher,
        ..group_limit!(cpu_max)
    },
    OptionSpec {
        key: "drain",
        default: "none",
        doc: "The command, as exec:COMMAND, that says whether a worker may go, where there are too many: after decr, a set of \
              numprocesses, or scale. Workers are asked one after the other, the oldest first; CIRCUS_PID in the environment \
              of the command is the worker's pid, CIRCUS_WID its number, CIRCUS_WATCHER its watcher. Exit status 0 means \
              that the worker is idle: it is told to stop. With any other the next one is asked; when all are busy, circusd \
              asks again after scale_interval. The command runs with the user, the environment and the directory of the \
              worker. stop, restart and reload ask none.",
        example: "exec:/usr/local/bin/is-idle",
        scope: Scope::Watcher,
        get: |watcher, _| Some(probes::show(watcher.scaling.drain.as_ref())),
        put: |watcher, _, value| probes::put_command(&mut watcher.scaling.drain, value),
        ..scaling!(drain_timeout, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "5",
        unit: "seconds",
        doc: "The time limit of drain. A command that takes longer is ended, and its worker counts as busy.",
        example: "2",
        put: |watcher, _, value| probes::put_pause(&mut watcher.scaling.drain_timeout, value),
        ..scaling!(drain_timeout, Safe)
    },
    OptionSpec {
        kind: Kind::Env,
        doc: "The environment of the workers. In a file, the sections [env] and [env:NAME] set it.",
        example: "A=1",
        ..field!(env, RunsAsWorker)
    },
    OptionSpec {
        doc: "A file with variables for the environment of the workers, a NAME=VALUE in each line, which is read at each \
              start of a worker. A relative path starts at working_dir. Its variables override those of copy_env and \
              of the env sections. Lines that begin with # are comments; export before a name, quotes and escapes are \
              read as by a shell, and ${NAME} is replaced by a variable that is defined before it. If the file cannot be \
              read, the worker is not started.",
        example: ".env",
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        ..field!(env_file, OpensAsDaemon)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "End circusd when this watcher has no worker left and will start none (see exit_on of [circus]). A stop \
              by a command does not count. With respawn = yes, only a command that cannot be executed ends circusd.",
        example: "yes",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        ..field!(essential, SignalsAsDaemon)
    },
    OptionSpec {
        doc: "The program to execute in place of the first word of cmd; that word stays argv[0]. With shell = yes, \
              the shell to execute in place of /bin/sh.",
        example: "/bin/busybox",
        scope: Scope::Watcher,
        ..field!(executable, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Account,
        doc: "The group of the workers: a name or a number.",
        example: "www-data",
        scope: Scope::Watcher,
        ..field!(gid, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "30",
        unit: "seconds",
        doc: "The time that a worker has to exit after the stop signal. After that it gets SIGKILL.",
        example: "5",
        effect: Effect::Nothing,
        ..field!(graceful_timeout, Safe)
    },
    OptionSpec {
        key: "health",
        default: "none",
        doc: "The check that shows that a worker still works. With tcp:HOST:PORT and unix:PATH, the check succeeds \
              when a connection is accepted. With http:URL, the check succeeds when a GET request is answered with a \
              status from 200 to 399. With exec:COMMAND, the check succeeds when the command exits with status 0; the \
              command runs with the user, the environment and the directory of the worker. With watchdog, the worker \
              has to send WATCHDOG=1 to the socket in NOTIFY_SOCKET at least once per health_interval. A worker that \
              fails the check is stopped and replaced.",
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
        doc: "The pause between two health checks. With health = watchdog, the longest time between two messages of a \
              worker; new workers get it in WATCHDOG_USEC.",
        example: "30",
        put: |watcher, _, value| probes::put_pause(&mut watcher.checks.health_interval, value),
        ..check!(health_interval, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "3",
        unit: "failures",
        doc: "The number of health checks that have to fail in a row before a worker is replaced. It has no effect \
              with health = watchdog.",
        example: "5",
        put: |watcher, _, value| probes::put_retries(&mut watcher.checks.health_retries, value),
        ..check!(health_retries, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "0",
        unit: "seconds",
        doc: "The time from the start of a worker to its first health check. With ready set, the time counts from \
              when the worker is ready.",
        example: "20",
        ..check!(health_start_delay, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "5",
        unit: "seconds",
        doc: "The time limit of a health check. A check that takes longer has failed.",
        example: "2",
        put: |watcher, _, value| probes::put_pause(&mut watcher.checks.health_timeout, value),
        ..check!(health_timeout, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "60",
        unit: "seconds",
        doc: "The time limit of a hook. A hook that takes longer is ended and has failed.",
        example: "5",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        put: hooks::put_timeout,
        ..field!(hook_timeout, Safe)
    },
    OptionSpec {
        key: "hooks",
        kind: Kind::Hooks,
        doc: "All hooks of the watcher, by name, for the commands add and set.",
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
        doc: "The hook at this point: a command or a Python function. With True after a comma, the watcher goes on if \
              the hook fails. An empty value means no hook. See HOOKS in circus.ini(5).",
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
        kind: Kind::Within(1, 10_000),
        doc: "The share of disks that a worker and what it starts get when others use them too, from 1 to 10000; 100 where \
              nothing is set (io.weight in cgroups(7)). Needs cgroup = yes and the controller io.",
        example: "50",
        scope: Scope::Watcher,
        ..group_limit!(io_weight)
    },
    OptionSpec {
        doc: "The priority of the workers at disks: best-effort:LEVEL or realtime:LEVEL with a level from 0 (first) to 7, 4 \
              where none is given, or idle (ioprio_set(2), ionice(1)). realtime needs root or CAP_SYS_ADMIN. It has an effect with \
              some schedulers of the kernel only. By default the kernel derives it from nice.",
        example: "best-effort:7",
        scope: Scope::Watcher,
        ..scheduling!(ionice)
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
        kind: Kind::OneOf(&KILL_MODES),
        default: "mixed",
        doc: "To which processes stop_signal goes, and SIGKILL after graceful_timeout. mixed: stop_signal to the worker (and \
              its children, see stop_children), SIGKILL as with tree. process: to the worker only; what it leaves behind \
              lives on, as with orphans = keep. group: to the process group of the worker. tree: to the worker, its \
              process group, its session, and all descendants of these. cgroup: to all processes of the control group \
              of the worker (needs cgroup = yes). With group, tree and cgroup, orphans = end ends what is \
              left of these processes when the worker has exited. A process that has left the group, or for tree the \
              session and then its parent, is not reached; none leaves its control group.",
        example: "tree",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        scope: Scope::Literal,
        ..field!(kill_mode, SignalsAsDaemon)
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
        doc: "The age at which a worker is replaced; 0 means never. Workers are replaced one at a time. If they share \
              managed sockets, or with reload = overlap, the new worker starts before the old one stops.",
        example: "3600",
        scope: Scope::Watcher,
        ..field!(max_age, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "30",
        unit: "seconds",
        doc: "The upper limit of a random time that is added to max_age, so that the workers are not all replaced at \
              once.",
        example: "60",
        scope: Scope::Watcher,
        ..field!(max_age_variance, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "5",
        unit: "attempts",
        doc: "The number of attempts to start a command that cannot be executed; then the watcher stops. -1 means no \
              limit. With kind = oneshot or cron, processes that fail count as well.",
        example: "-1",
        effect: Effect::Nothing,
        ..field!(max_retry, Safe)
    },
    OptionSpec {
        doc: "The memory of a worker and what it starts above which the kernel slows them down and takes memory back, in \
              bytes, with K, M, G or T for powers of 1024 (memory.high in cgroups(7)). Needs cgroup = yes and the \
              controller memory.",
        example: "400M",
        scope: Scope::Watcher,
        ..group_limit!(memory_high)
    },
    OptionSpec {
        doc: "The memory that a worker and what it starts may use, in bytes, with K, M, G or T for powers of 1024 (memory.max \
              in cgroups(7)). If they need more, the kernel kills one of them; status, why and the event reap then say so \
              of the worker. Needs cgroup = yes and the controller memory.",
        example: "512M",
        scope: Scope::Watcher,
        ..group_limit!(memory_max)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "1",
        unit: "seconds",
        doc: "The time that a worker has to run before it counts as up. Requests with waiting are answered then. A \
              worker that exits earlier is replaced after a pause, which grows with each such exit. A worker that \
              exits later is replaced at once, but only three times in a row within 300 seconds of running; then \
              there is a pause too. 0 switches these pauses off.",
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
        kind: Kind::Within(-20, 19),
        doc: "The nice value of the workers, from -20 (much processor time) to 19 (little) (setpriority(2)). Less than that of \
              circusd needs root or CAP_SYS_NICE, or rlimit_nice. By default that of circusd.",
        example: "10",
        scope: Scope::Watcher,
        ..scheduling!(nice)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Let no program that a worker executes gain rights: set-user-id and set-group-id bits and capabilities of files \
              have no effect (prctl PR_SET_NO_NEW_PRIVS). sudo and ping, for example, may not work then. It holds for all \
              processes that the worker starts, for ever.",
        example: "yes",
        listed: Listed::WhenSet,
        ..field!(no_new_privs, RunsAsDaemon)
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
        doc: "Start the watcher at the first connection to one of its sockets: the sockets named in cmd, args, \
              sockets or stdin_socket, or all sockets if only use_sockets is set. When its workers have exited, also \
              after a stop, the watcher waits for the next connection. A start command that names the watcher starts \
              it too. With autostart = no, connections do not start it.",
        example: "yes",
        effect: Effect::Nothing,
        ..field!(on_demand, OpensAsDaemon)
    },
    OptionSpec {
        kind: Kind::Within(-1000, 1000),
        doc: "How readily the kernel kills the workers when memory runs out, from -1000 (never) to 1000 (first) \
              (/proc/PID/oom_score_adj in proc(5)). Less than that of circusd needs root or CAP_SYS_RESOURCE. By default \
              that of circusd.",
        example: "500",
        scope: Scope::Watcher,
        ..scheduling!(oom_score_adj)
    },
    OptionSpec {
        kind: Kind::Orphans,
        default: "end",
        doc: "What happens to processes that a worker leaves behind when it exits: those of its process group, those \
              of its session and, if the worker was stopped, all its descendants. end: they get stop_signal, and \
              SIGKILL after graceful_timeout; only when they are gone does the worker count as exited and its \
              successor start. keep: they live on. circusd cannot recognize a process that started a session of its \
              own before its worker exited unasked: such a process ends with circusd, not with stop or rm, which name \
              it in the log. Run such programs in the foreground.",
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
        kind: Kind::Within(1, 4_194_304),
        doc: "How many processes and threads a worker and what it starts may be, from 1 to 4194304 (pids.max in cgroups(7)). \
              Needs cgroup = yes and the controller pids.",
        example: "200",
        scope: Scope::Watcher,
        ..group_limit!(pids_max)
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
        doc: "What happens to this watcher when a watcher in requires stops. restart: this watcher stops before the \
              other one, starts when the other one is up again, and restarts when all processes of the other one were \
              replaced. stop: this watcher stops before the other one and stays stopped. none: nothing.",
        example: "stop",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        ..field!(propagate, Safe)
    },
    OptionSpec {
        key: "ready",
        default: "none",
        doc: "What shows that a worker is ready. Requests with waiting, watchers of a lower priority, those that \
              come after this one, and reloads wait for it. With none, a worker is ready when it runs. With notify, it is ready when it sends READY=1 to \
              the socket in NOTIFY_SOCKET. With log:REGEX, it is ready when it prints a line that matches; this needs \
              stdout_stream or stderr_stream. With tcp:HOST:PORT and unix:PATH, it is ready when a connection is \
              accepted. With http:URL, it is ready when a GET request is answered with a status from 200 to 399. With \
              exec:COMMAND, it is ready when the command exits with status 0; the command runs with the user, the \
              environment and the directory of the worker.",
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
        doc: "The pause between two readiness checks.",
        example: "0.1",
        put: |watcher, _, value| probes::put_pause(&mut watcher.checks.ready_interval, value),
        ..check!(ready_interval, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "60",
        unit: "seconds",
        doc: "The time that a worker has to become ready. A worker that takes longer is stopped, and its start has \
              failed (see max_retry).",
        example: "10",
        ..check!(ready_timeout, Safe)
    },
    OptionSpec {
        kind: Kind::Reload,
        doc: "How a reload replaces the workers. overlap: the new workers start first, and the old ones stop when the \
              new ones are ready and have run for min_uptime; see reload_batch and reload_surge. exclusive: one worker \
              after the other, and each stops before its successor starts; for programs that open a port or a lock of \
              their own. hup: the workers get SIGHUP and stay. Unset: hup with send_hup, exclusive with singleton, \
              otherwise overlap; then a reload with --sequential is exclusive unless the workers share managed \
              sockets. Two workers of a singleton never run at the same time.",
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
        doc: "Watchers that this one needs, by name or by pattern. It orders starts and stops as after does. In \
              addition, propagate defines what happens to this watcher when they stop.",
        example: "broker",
        effect: Effect::Nothing,
        listed: Listed::WhenSet,
        ..field!(requires, Safe)
    },
    OptionSpec {
        kind: Kind::Respawn,
        default: "yes",
        doc: "Replace workers that exit. With no, the watcher stops when its last worker has exited. With on-failure, \
              only workers that fail are replaced: those that were ended by a signal and those whose exit status is \
              not in success_codes.",
        example: "on-failure",
        effect: Effect::Nothing,
        ..field!(respawn, Safe)
    },
    OptionSpec {
        key: "retry_in",
        kind: Kind::Seconds,
        unit: "seconds",
        doc: "Stored for clients and plugins that set it. circusd does not use it.",
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
        doc: "A resource limit of the workers, soft and hard, such as rlimit_nofile. An empty value means unlimited.",
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
        default: "none",
        doc: "What the number of workers follows, between scale_min and scale_max. queue: the connections that wait to be \
              accepted at the watcher's sockets; one worker more for each scale_target of them, at most twice as many at a \
              time, and one fewer when none has waited. cpu: the processor time that the workers use, each with its \
              children; as many workers as bring their mean to scale_target percent of a processor, at most twice as many at \
              a time. exec:COMMAND: the whole number that the command prints; it runs with the user, the environment and the \
              directory of the workers, and with CIRCUS_WATCHER. circusd measures each scale_interval while all workers are \
              up. More workers start at once; fewer stay after scale_down_after. numprocesses is the number to begin with, \
              and incr, decr and set give another, within the bounds.",
        example: "queue",
        scope: Scope::Watcher,
        ..scaling!(scale, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "60",
        unit: "seconds",
        doc: "With scale, the time for which fewer workers have to be enough before any is stopped; as many stay as were \
              needed at most in this time.",
        example: "300",
        ..scaling!(scale_down_after, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "5",
        unit: "seconds",
        doc: "With scale, the pause between two measurements; with drain, the pause before busy workers are asked again.",
        example: "2",
        put: |watcher, _, value| probes::put_pause(&mut watcher.scaling.scale_interval, value),
        ..scaling!(scale_interval, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "0",
        unit: "workers",
        doc: "With scale, the greatest number of workers; it has to be set.",
        example: "8",
        scope: Scope::Watcher,
        ..scaling!(scale_max, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "1",
        unit: "workers",
        doc: "With scale, the least number of workers, at least 1. For none at all while nobody connects, see on_demand and \
              idle_timeout.",
        example: "2",
        scope: Scope::Watcher,
        put: |watcher, _, value| probes::put_retries(&mut watcher.scaling.scale_min, value),
        ..scaling!(scale_min, Safe)
    },
    OptionSpec {
        kind: Kind::Int,
        default: "0",
        doc: "With scale = queue, how many connections have to wait for one worker more. With scale = cpu, the share of a \
              processor, in percent, that a worker is to use. 0 means 1 connection, or 70 percent.",
        example: "80",
        ..scaling!(scale_target, Safe)
    },
    OptionSpec {
        kind: Kind::Seconds,
        default: "5",
        unit: "seconds",
        doc: "The time limit of the command of scale = exec:COMMAND. A command that takes longer is ended, and the number of \
              workers stays.",
        example: "2",
        put: |watcher, _, value| probes::put_pause(&mut watcher.scaling.scale_timeout, value),
        ..scaling!(scale_timeout, Safe)
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
        doc: "On a graceful reload, send SIGHUP to the workers instead of replacing them, as reload = hup does.",
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
        doc: "With shell = yes, the values of $0, $1 and so on in the script.",
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
        key: "slot.*",
        doc: "A variable, such as slot.CUDA_VISIBLE_DEVICES, that has another value for each worker: one of the values of \
              the section [slots:NAME]. $(circus.slot.NAME) in cmd and args is the same value. Watchers that name the \
              same section share its values. A value is free when its worker has exited, and the worker that takes \
              its place gets it again. numprocesses cannot be more than the number of values. A reload replaces the \
              workers one after the other. add and set do not take it.",
        example: "gpu",
        listed: Listed::Never,
        get: |watcher, name| watcher.slots.get(name).map(|slots| slots.pool.as_str().into()),
        put: |watcher, name, value| {
            let pool = String::read(value)?;
            watcher.slots.insert(name.into(), SlotPool { pool, values: Vec::new() });
            Ok(())
        },
        ..usual(Authority::RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Names,
        doc: "The managed sockets that workers get, as descriptors 3, 4 and so on in this order, with LISTEN_FDS and \
              LISTEN_FDNAMES in the environment. Overrides use_sockets.",
        example: "web, api",
        listed: Listed::WhenSet,
        scope: Scope::Watcher,
        ..field!(sockets, OpensAsDaemon)
    },
    OptionSpec {
        key: "stderr_stream",
        kind: Kind::Stream,
        doc: "The destination of standard error; by default circusd's own standard error.",
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
        doc: "The destination of standard output; by default circusd's own standard output.",
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
        doc: "The settings of the stream. class is FileStream (the default if filename is given), WatchedFileStream, \
              TimedRotatingFileStream, StdoutStream, FancyStdoutStream, MemoryStream (output is kept for circusctl \
              tail only), SyslogStream, JournalStream or exec. All files have filename and time_format. FileStream also \
              has max_bytes, backup_count and framed (each piece of output follows a line with the pid of the worker and \
              the length of the piece, and is written unchanged; for a program that reads a FIFO). \
              TimedRotatingFileStream also has rotate_when (S, M, H, D, MIDNIGHT, W0 to W6), rotate_interval, utc and \
              backup_count. Both have max_total (bytes that the file and its rotated files use at most; the oldest are \
              removed), max_age (seconds after which rotated files are removed) and compress (gzip or no). \
              FancyStdoutStream has color and time_format. exec has command. Files, StdoutStream and exec have prefix, \
              which stands before each line, with $(name), $(wid), $(pid), $(stream) and $(time) replaced, and format \
              (text or json: an object for each line). SyslogStream has address (a path, /dev/log by default, or an IP \
              address), protocol (rfc3164 or rfc5424), facility, severity and identifier, JournalStream has address (a \
              path), severity and identifier. All but MemoryStream have on_full: block (workers wait) or drop (lines are \
              dropped and counted) when the stream takes no more. With prefix or format alone, the stream is circusd's own standard output, or standard error for stderr_stream. See OUTPUT in circus.ini(5).",
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
        doc: "The signal that asks a worker to exit: a name or a number; in requests to circusd a number. Several signals \
              are sent one after the other until the worker exits: the first at once, each other one after the seconds \
              that stand before it (0 to 86400). If none of them is KILL, which can only be the last, SIGKILL follows \
              graceful_timeout after the last one. A kill command with a signal or a timeout of its own sends one signal.",
        example: "TERM, 60:QUIT, 30:KILL",
        effect: Effect::Nothing,
        scope: Scope::Literal,
        get: |watcher, _| Some(stop_signals::get(watcher)),
        put: |watcher, _, value| stop_signals::put(watcher, value),
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
        doc: "The user of the workers: a name or a number. Without gid, the workers also get that user's group, or \
              group 65534 if the number has no entry in passwd.",
        example: "www-data",
        scope: Scope::Watcher,
        ..field!(uid, RunsAsWorker)
    },
    OptionSpec {
        kind: Kind::Bool,
        default: "no",
        doc: "Let workers inherit all managed sockets. $(circus.sockets.NAME) in cmd and args stands for the \
              descriptor.",
        example: "yes",
        ..field!(use_sockets, OpensAsDaemon)
    },
    OptionSpec {
        doc: "The Python virtual environment of the workers. Its bin directory comes first in PATH, and its packages \
              are added to PYTHONPATH. Needs copy_env.",
        example: "venv",
        listed: Listed::Never,
        scope: Scope::Watcher,
        ..field!(virtualenv, OpensAsDaemon)
    },
    OptionSpec {
        doc: "The version of Python whose packages in the virtual environment are used; by default the latest one \
              there.",
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
        doc: "The working directory of the workers; by default the one of circusd.",
        example: "/srv/web",
        scope: Scope::Watcher,
        ..field!(working_dir, OpensAsDaemon)
    },
];

/// The option of this name, and what the name has behind its fixed part.
pub fn find(key: &str) -> Option<(&'static OptionSpec, &str)> {
    WATCHER_OPTIONS.iter().find_map(|spec| Some((spec, spec.suffix(key)?)))
}

#[cfg(test)]
mod tests;
