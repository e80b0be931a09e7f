"""A plugin in Python that needs nothing but pyzmq: it says who died of a signal, and asks how many are left.

    [plugin:deaths]
    cmd = python3 examples/plugins/deaths.py
"""
import json
import os
import signal
import sys

import zmq

signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
context = zmq.Context()
events = context.socket(zmq.SUB)
events.setsockopt(zmq.SUBSCRIBE, b"watcher.")
events.connect(os.environ["CIRCUS_PUBSUB_ENDPOINT"])
control = context.socket(zmq.DEALER)
control.linger = 0
control.connect(os.environ["CIRCUS_ENDPOINT"])


def call(command, **properties):
    control.send(json.dumps({"id": "deaths", "command": command, "properties": properties}).encode())
    if not control.poll(5000):
        return {"status": "error", "reason": "no answer"}
    return json.loads(control.recv())


settings = json.loads(os.environ["CIRCUS_PLUGIN_CONFIG"])
print("%s is there, with %s" % (settings["name"], settings.get("greeting", "nothing to say")), flush=True)
while True:
    topic, body = events.recv_multipart()
    # The watcher's name may have dots in it.
    watcher, kind = topic.decode()[len("watcher."):].rsplit(".", 1)
    if kind == "reap" and json.loads(body)["exit_code"] < 0:
        left = call("numprocesses", name=watcher).get("numprocesses")
        # The log takes <4> for a warning.
        print("<4>%s lost a process, %s are there" % (watcher, left), flush=True)
