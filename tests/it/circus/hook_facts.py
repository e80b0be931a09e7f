"""Hooks that write down what each attribute and method of the table in circus.ini(5) gives: run under the original and
under ours, the two files are the same."""
import json
import os
import signal

FILE = os.environ["FACTS"]

ATTRIBUTES = ["name", "res_name", "cmd", "args", "numprocesses", "warmup_delay", "working_dir", "shell", "uid", "gid",
              "copy_env", "send_hup", "stop_signal", "stop_children", "max_retry", "graceful_timeout", "priority",
              "singleton", "use_sockets", "on_demand", "respawn", "autostart", "max_age", "max_age_variance",
              "close_child_stdin", "close_child_stdout", "close_child_stderr", "env"]


def write(point, facts):
    with open(FILE, "a") as file:
        file.write(json.dumps([point, facts], sort_keys=True, default=str) + "\n")


def shape(kwargs):
    return {key: type(value).__name__ for key, value in kwargs.items()}


def before_start(watcher, arbiter, hook_name, **kwargs):
    facts = {name: getattr(watcher, name) for name in ATTRIBUTES}
    # The name of its section, which 0.19 takes for a variable.
    facts["env"] = {key: value for key, value in watcher.env.items() if key != "__name__"}
    facts["kwargs"] = shape(kwargs)
    facts["hook_name"] = hook_name
    facts["options"] = sorted(key for key, _ in watcher.options() if key != "__name__")
    facts["other"] = arbiter.get_watcher("other").cmd
    facts["names"] = sorted(w.name for w in arbiter.iter_watchers())
    facts["numwatchers"] = arbiter.numwatchers()
    facts["endpoint"] = arbiter.endpoint == watcher.env["WANTED_ENDPOINT"]
    facts["pid"] = arbiter.pid == os.getpid() or arbiter.pid == os.getppid()
    facts["check_delay"] = arbiter.check_delay
    try:
        arbiter.get_watcher("nobody")
    except KeyError:
        facts["nobody"] = "KeyError"
    watcher.remembered = 7
    write(hook_name, facts)
    return True


def before_spawn(watcher, arbiter, hook_name, **kwargs):
    watcher.env["SPAWNED"] = "by the hook"
    write(hook_name, [shape(kwargs), watcher.remembered])
    return True


def after_spawn(watcher, arbiter, hook_name, pid, **kwargs):
    process = watcher.processes[pid]
    facts = [shape(kwargs), watcher.status(), process.pid == pid, process.wid, process.is_alive(),
             process.name, [p.pid for p in watcher.get_active_processes()] == [pid],
             watcher.get_active_pids() == [pid], len(watcher), process.info()["pid"] == pid,
             watcher.process_info(pid)["pid"] == pid, list(watcher.info()) == [pid], process.children(),
             process.is_child(1)]
    write(hook_name, facts)
    return True


def after_start(watcher, arbiter, hook_name, **kwargs):
    write(hook_name, [shape(kwargs), watcher.is_active(), watcher.is_stopped(), watcher.is_stopping()])
    watcher.send_signal(watcher.get_active_pids()[0], signal.SIGCONT)
    return True


def before_signal(watcher, arbiter, hook_name, pid, signum, **kwargs):
    write(hook_name, [shape(kwargs), type(pid).__name__, int(signum)])
    return True


def after_signal(watcher, arbiter, hook_name, pid, signum, **kwargs):
    write(hook_name, [shape(kwargs), type(pid).__name__, int(signum)])


def before_reap(watcher, arbiter, hook_name, process_pid, time, **kwargs):
    write(hook_name, [shape(kwargs), type(process_pid).__name__, type(time).__name__])


def after_reap(watcher, arbiter, hook_name, process_pid, time, exit_code, **kwargs):
    write(hook_name, [type(process_pid).__name__, type(time).__name__, exit_code, kwargs])


def before_stop(watcher, arbiter, hook_name, **kwargs):
    write(hook_name, [shape(kwargs), watcher.status(), watcher.env["SPAWNED"]])


def after_stop(watcher, arbiter, hook_name, **kwargs):
    write(hook_name, [shape(kwargs), watcher.is_active()])


def extended_stats(watcher, arbiter, hook_name, pid, stats, **kwargs):
    stats["more"] = [hook_name, stats["pid"] == pid]
