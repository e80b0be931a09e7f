import os

from kombu import Exchange, Queue

SECRET_KEY = "only for this example"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "th.urls"
WSGI_APPLICATION = "th.wsgi.application"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["TH_STATE"] + "/th.db",
        "OPTIONS": {"timeout": 10},
    }
}

CELERY_BROKER_URL = os.environ["CELERY_BROKER_URL"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESULT_BACKEND = "rpc://"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_QUEUES = (
    Queue("default", Exchange("default"), routing_key="default"),
    Queue("log_parser_fail", Exchange("default"), routing_key="parse_log.failures"),
    Queue("log_parser", Exchange("default"), routing_key="parse_log.success"),
)
CELERY_BEAT_SCHEDULE = {"fetch-push-logs": {"task": "th.fetch_push_logs", "schedule": 3.0}}
