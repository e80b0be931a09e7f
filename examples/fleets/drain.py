"""A hook of circusd before the stop signal of a Celery worker: it takes no more tasks, and ends those that it has.

    hooks.before_signal = exec:PYTHON drain.py APP [--eternal TASK...], True

Celery waits for running tasks too when it gets SIGTERM. But what it has taken from the broker by then and not begun it
gives back, and with Redis a message that arrives in that moment can be given back twice, so that its task runs twice.
"""

import argparse
import json
import os
import signal
import sys
import time

# How long a worker may take to answer, after it was started.
START_SECONDS = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("app", help="the application, as in celery -A APP")
    parser.add_argument("--eternal", nargs="*", default=[], help="tasks that are not waited for")
    arguments = parser.parse_args()
    if int(os.environ["CIRCUS_SIGNUM"]) != signal.SIGTERM:
        return
    take_environment(json.load(sys.stdin)["options"].get("env") or {})
    try:
        drain(arguments.app, int(os.environ["CIRCUS_PID"]), set(arguments.eternal))
    except Exception as error:
        # A failure would be an answer, and the signal not sent. Where the broker has gone there is nothing to drain.
        print(f"the worker is stopped as it is: {error!r}")


def take_environment(variables):
    """A hook runs in the environment of circusd; the application needs that of the worker."""
    os.environ.update(variables)
    sys.path[:0] = variables.get("PYTHONPATH", "").split(":")


def drain(name, pid, eternal):
    from celery.app.utils import find_app

    app = find_app(name)
    nodes = find_node(app, pid)
    one = app.control.inspect(destination=nodes, timeout=5)
    for queue in (one.active_queues() or {}).get(nodes[0], []):
        app.control.cancel_consumer(queue["name"], destination=nodes, reply=True, timeout=5)
    time.sleep(1.2)  # what the broker was about to deliver: the transport for Redis asks it for a second at a time
    while tasks_of(one, nodes[0]) - eternal:
        time.sleep(0.2)


def find_node(app, pid):
    """The name of a worker. One that starts answers only when it consumes already, so it is asked again for a while."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and os.path.exists(f"/proc/{pid}"):
        stats = app.control.inspect(timeout=1).stats() or {}
        if nodes := [node for node, facts in stats.items() if facts["pid"] == pid]:
            return nodes
    raise TimeoutError("it does not answer")


def tasks_of(one, node):
    """The names of the tasks that a worker runs or has taken; of one that does not answer, what it may have."""
    held = [one.active(), one.reserved()]
    if None in held:
        return {"unknown"}
    return {task["name"] for table in held for task in table.get(node, [])}


if __name__ == "__main__":
    main()
