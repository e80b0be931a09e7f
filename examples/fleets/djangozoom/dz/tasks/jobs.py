"""The two jobs, check_repo and build_and_deploy, and the tasks that the second is made of."""

import json
import os
import secrets
import shutil
import sqlite3
import tarfile
import time
import urllib.error
import urllib.request

from celery.result import allow_join_result
from fleet import do_counted

from dz import tasklib as lib
from dz.celeryapp import app

ROOT = lib.ROOT
GUNICORN = "@VENV@/bin/gunicorn"
SITE_SECONDS = 20


@app.task(name="dz.check_repo")
def check_repo(job, url):
    guessed = lib.guess(lib.checkout(job))
    with lib.records() as connection:
        for name, value in guessed.items():
            connection.execute("insert into guess values(?, ?, ?)", (job, name, json.dumps(value)))
    lib.log(job, "check_repo", url=url)
    return guessed


@app.task(name="dz.build_and_deploy")
def build_and_deploy(job, host):
    """Waits, in a process of the queue `build`, for other tasks of that queue: it needs three processes at least."""
    lib.log(job, "build_and_deploy:start", host=host)
    with allow_join_result():
        path = build_bundle.delay(job).get(timeout=60)
        database, upload = create_database.delay(job), bundle_upload.delay(job, path)
        database, bundle = database.get(timeout=60), upload.get(timeout=60)
        queue = f"appserver_{placement.delay(job).get(timeout=60)}"
        site = deploy.apply_async((job, bundle, database), queue=queue).get(timeout=60)
        for name in ("syncdb", "migrate"):
            posthook.apply_async((job, name), queue=queue).get(timeout=60)
        proxy_update.delay(job, host, site["port"]).get(timeout=60)
    lib.log(job, "build_and_deploy:done")
    return {"url": f"http://{host}/", **site}


@app.task(name="dz.build_bundle")
def build_bundle(job):
    source = lib.checkout(job)
    lib.verify(source)
    path = lib.archive(job, source)
    lib.log(job, "build_bundle", path=path)
    return path


@app.task(name="dz.create_database")
def create_database(job):
    path = f"{ROOT}/db/{job}.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table if not exists site(name text)")
    lib.log(job, "create_database", path=path)
    return {"name": path, "host": "localhost", "user": job, "password": secrets.token_hex(8)}


@app.task(name="dz.bundle_upload")
def bundle_upload(job, path):
    target = f"{ROOT}/s3/{os.path.basename(path)}"
    shutil.copy(path, target)
    lib.log(job, "bundle_upload", target=target)
    return target


@app.task(name="dz.placement")
def placement(job):
    """The app server that the site is to live at."""
    lib.log(job, "placement")
    return "a1"


@app.task(name="dz.deploy")
def deploy(job, bundle, database):
    """Unpacks the bundle and has circusd run it: a watcher is added."""
    folder, port = f"{ROOT}/apps/{job}", lib.free_port()
    os.makedirs(folder, exist_ok=True)
    with tarfile.open(bundle) as archive:
        archive.extractall(folder, filter="data")
    options = {"working_dir": folder, "copy_env": True, "env": {"DATABASE": database["name"]}, "graceful_timeout": 10}
    log = f"--log-file {folder}/site.log --no-control-socket"
    command = f"{GUNICORN} -w 1 -b 127.0.0.1:{port} {log} wsgi:application"
    lib.circus("add", name=f"bundle.{job}", start=True, cmd=command, options=options)
    lib.log(job, "deploy", port=port, body=wait_for_site(port))
    return {"port": port, "instance": os.environ["DZ_INSTANCE"]}


def wait_for_site(port):
    end = time.monotonic() + SITE_SECONDS
    while True:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).read().decode()
        except (OSError, urllib.error.URLError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@app.task(name="dz.posthook")
def posthook(job, name):
    lib.log(job, "posthook", name=name)
    return name


@app.task(name="dz.proxy_update")
def proxy_update(job, host, port):
    """Writes the site into nginx's configuration, and has circusd tell nginx."""
    with open(f"{ROOT}/vhosts/{job}.conf", "w") as file:
        location = f"location / {{ proxy_pass http://127.0.0.1:{port}; }}"
        file.write(f"server {{ listen 127.0.0.1:26024; server_name {host}; {location} }}\n")
    lib.circus("signal", name="nginx", signum="HUP")
    lib.log(job, "proxy_update", host=host)
    return host


@app.task(name="dz.announce")
def announce(number):
    lib.log("-", "announce", instance=os.environ["DZ_INSTANCE"], number=number)
    return os.environ["DZ_INSTANCE"]


@app.task(name="dz.count", ignore_result=True)
def count(run, number, seconds):
    do_counted(ROOT, run, number, seconds)
