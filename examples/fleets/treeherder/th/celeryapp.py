import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "th.settings")
app = Celery("th", include=["th.tasks"])
app.config_from_object("django.conf:settings", namespace="CELERY")
