"""A small GWCelery: the queues, processes and messages of the real one, without its services outside."""

import os

from celery import Celery

app = Celery(
    "gwmini",
    broker=os.environ["CELERY_BROKER_URL"],
    backend=os.environ["CELERY_BROKER_URL"],
    include=["gwmini.tasks"],
)
app.conf.update(
    accept_content=["json", "pickle"],
    task_serializer="pickle",
    result_serializer="pickle",
    event_serializer="json",
    result_expires=7200,
    broker_connection_retry_on_startup=True,
    task_inherit_parent_priority=True,
    worker_prefetch_multiplier=1,
    task_send_sent_event=True,
    singleton_backend_url=os.environ["SINGLETON_URL"],
)
