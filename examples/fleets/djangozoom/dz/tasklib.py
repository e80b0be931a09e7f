"""The work behind the tasks: small, but real tarballs, databases, sites and requests to circusd."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
import uuid

ROOT = os.environ["DZ_STATE"]
SITE = """\
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"site {job} in process {{os.getpid()}}\\n".encode()]
"""


def records():
    """The database of what the jobs have done."""
    connection = sqlite3.connect(f"{ROOT}/jobs.db", timeout=10)
    connection.execute("create table if not exists log(time real, job text, role text, task text, facts text)")
    connection.execute("create table if not exists guess(job text, name text, value text)")
    return connection


def log(job, task, **facts):
    row = (time.time(), job, os.environ.get("DZ_ROLE", "-"), task, json.dumps(facts))
    with records() as connection:
        connection.execute("insert into log values(?, ?, ?, ?, ?)", row)


def checkout(job):
    """Stands for a checkout of the customer's repository."""
    source = f"{ROOT}/bundles/{job}"
    os.makedirs(source, exist_ok=True)
    with open(f"{source}/wsgi.py", "w") as file:
        file.write(SITE.format(job=job))
    return source


def guess(source):
    return {"wsgi": [name for name in os.listdir(source) if name.endswith(".py")], "framework": "wsgi"}


def verify(source):
    subprocess.run([sys.executable, "-c", "import wsgi; wsgi.application"], cwd=source, check=True)


def archive(job, source):
    path = f"{ROOT}/bundles/{job}.tar.gz"
    with tarfile.open(path, "w:gz") as bundle:
        bundle.add(source, arcname=".")
    return path


def free_port():
    for port in range(26040, 26060):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


def circus(command, **properties):
    """Asks circusd, from within a task."""
    import zmq

    client = zmq.Context.instance().socket(zmq.DEALER)
    client.linger = 0
    client.connect(os.environ["CIRCUSD_ENDPOINT"])
    try:
        client.send_json({"id": uuid.uuid4().hex, "command": command, "properties": properties})
        if not client.poll(15000):
            raise RuntimeError(f"circusd did not answer '{command}'")
        reply = client.recv_json()
    finally:
        client.close()
    if reply["status"] != "ok":
        raise RuntimeError(f"circusd refused '{command}': {reply}")
    return reply
