import json
import os
import time

from fleet import do_counted
from kombu import Exchange, Producer

from .celeryapp import app

STATE = os.environ["TH_STATE"]


def note(**facts):
    """Appends a line to the record of what was done, which `check` reads."""
    with open(f"{STATE}/tasks.jsonl", "a") as record:
        record.write(json.dumps({"time": time.time(), "pid": os.getpid(), **facts}) + "\n")


def publish(event, branch, **facts):
    """Tells the socket.io server, by the topic exchange."""
    with app.connection_for_write() as connection:
        body = {"event": event, "branch": branch, **facts}
        Producer(connection, Exchange("events", type="topic")).publish(body, routing_key=f"events.{branch}.{event}")


@app.task(name="th.fetch_push_logs", ignore_result=True)
def fetch_push_logs():
    number = int(time.time())
    note(task="fetch_push_logs", n=number)
    publish("resultset", "try", id=number, author="me")
    key = "parse_log.failures" if number % 2 else "parse_log.success"
    parse_log.apply_async((number,), exchange="default", routing_key=key)


@app.task(name="th.parse_log", bind=True)
def parse_log(self, number):
    time.sleep(0.2)  # waits, as for a log that is fetched: the gevent pool does other tasks meanwhile
    note(task="parse_log", n=number, key=self.request.delivery_info["routing_key"])
    publish("job", "try", id=number, status="completed")
    return number


@app.task(name="th.count", ignore_result=True)
def count(run, number, seconds):
    do_counted(STATE, run, number, seconds)
