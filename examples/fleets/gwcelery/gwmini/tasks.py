import json
import os
import socket
import subprocess
import time

from celery import chain
from fleet import do_counted

from gwmini import app
from gwmini.lease import LeasedProcessTask, LeasedTask

STATE = os.environ["GW_STATE"]
ALERTS = ("127.0.0.1", 26038)


def note(kind, **facts):
    """Appends a line to the record of what happened, which `check` reads."""
    with open(f"{STATE}/events.jsonl", "a") as record:
        record.write(json.dumps({"time": time.time(), "pid": os.getpid(), "kind": kind, **facts}) + "\n")


@app.on_after_finalize.connect
def periodic(sender, **_):
    sender.add_periodic_task(2.0, heartbeat.s(), name="heartbeat")


@app.task(name="gwmini.heartbeat", ignore_result=True)
def heartbeat():
    note("heartbeat")


@app.task(name="gwmini.bayestar.localize", queue="openmp")
def localize(event):
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    result = json.loads(subprocess.check_output([f"{STATE}/bayestar", "2000000"], env=environment))
    note("localize", event=event, **result)
    return {"event": event, **result}


@app.task(name="gwmini.skymaps.plot_volume", queue="openmp")
def plot_volume(skymap):
    note("plot_volume", event=skymap["event"])
    return skymap["event"] + ".png"


@app.task(name="gwmini.voevent.send", queue="voevent")
def send(payload):
    with socket.create_connection(ALERTS, 5) as connection:
        connection.sendall(json.dumps({"send": payload}).encode() + b"\n")
        answer = connection.makefile().readline().strip()
    note("voevent.send", payload=payload)
    return answer


@app.task(name="gwmini.orchestrate")
def orchestrate(event):
    note("orchestrate", event=event)
    return chain(localize.s(event), plot_volume.s(), send.s()).apply_async().id


@app.task(name="gwmini.count", ignore_result=True)
def count(run, number, seconds):
    do_counted(STATE, run, number, seconds)


def listen(task, topic, aborted):
    """Receives what the alert server sends, until the task is aborted or its supervisor has gone."""
    if not task.start():
        return
    note(f"{topic}.listen:start")
    with socket.create_connection(ALERTS, 5) as connection:
        connection.sendall(json.dumps({"subscribe": topic}).encode() + b"\n")
        connection.settimeout(0.5)
        received = b""
        while task.renew() and not aborted():
            try:
                more = connection.recv(4096)
            except TimeoutError:
                continue
            if not more:
                raise ConnectionError("the alert server has closed the connection")
            *lines, received = (received + more).split(b"\n")
            for line in lines:
                note(f"{topic}.received", line=line.decode())
                if topic == "lvalert":
                    orchestrate.delay(json.loads(line)["id"])
    note(f"{topic}.listen:stop")


@app.task(name="gwmini.voevent.listen", base=LeasedProcessTask, bind=True, ignore_result=True)
def voevent_listen(self):
    listen(self, "voevent", lambda: False)


@app.task(name="gwmini.lvalert.listen", base=LeasedTask, bind=True, ignore_result=True)
def lvalert_listen(self):
    listen(self, "lvalert", self.is_aborted)
