"""What the workers of cyme-branch run: the application object, and the task that requests a URL.

A branch sets the environment:

CYME_BROKER          the URL of the broker
CYME_RESULT_BACKEND  where results go
CYME_CONFIG          further settings: a JSON list of [name, value]
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

from celery import Celery

VERSION = "1"
# Seconds that a request may take.
TIMEOUT = 60
# Characters of a response that are kept.
LIMIT = 10_000_000

app = Celery("cyme", broker=os.environ["CYME_BROKER"], backend=os.environ.get("CYME_RESULT_BACKEND"))
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_expires=3600,
    task_acks_late=True,
    task_send_sent_event=True,
    worker_prefetch_multiplier=10,
)


def value(text):
    """A setting's value: JSON where it is JSON, the text itself where it is not."""
    try:
        return json.loads(text)
    except ValueError:
        return text


app.conf.update({name: value(text) for name, text in json.loads(os.environ.get("CYME_CONFIG") or "[]")})


@app.task(name="cyme.tasks.webhook")
def webhook(url, method="GET", params=None, data=None, headers=None, timeout=TIMEOUT):
    """Requests a URL; the result is the response."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("neither http nor https: " + url)
    if params:
        url += ("&" if "?" in url else "?") + urllib.parse.urlencode(params, doseq=True)
    headers = {"User-Agent": "Celery/cyme v" + VERSION, **(headers or {})}
    body = None
    if isinstance(data, dict):
        body = urllib.parse.urlencode(data, doseq=True).encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    elif data:
        body = data.encode()
        headers.setdefault("Content-Type", "text/plain; charset=utf-8")
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        # A response all the same.
        response = error
    with response:
        return {
            "status_code": response.status,
            "url": response.url,
            "headers": dict(response.headers.items()),
            "content": response.read(LIMIT).decode("utf-8", "replace"),
        }
