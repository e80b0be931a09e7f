"""The application: every task has the queue of the machine that can do it."""

import os

from celery import Celery

app = Celery("dz", broker=os.environ["CELERY_BROKER_URL"], backend="rpc://", include=["dz.tasks.jobs"])
app.conf.update(
    task_default_queue="build",
    worker_prefetch_multiplier=1,
    task_create_missing_queues=True,
    result_expires=3600,
    broker_connection_retry_on_startup=True,
    task_track_started=True,
    task_routes={
        "dz.check_repo": "build",
        "dz.build_and_deploy": "build",
        "dz.build_bundle": "build",
        "dz.bundle_upload": "build",
        "dz.placement": "build",
        "dz.create_database": "database",
        "dz.proxy_update": "proxy",
        "dz.announce": "all_appservers",
    },
)
