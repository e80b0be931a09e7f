"""Tells browsers of events: what arrives in RabbitMQ by the key events.# goes to the clients that subscribed."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
import socketio  # noqa: E402
from gevent import pywsgi  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402
from kombu import Connection, Exchange, Queue  # noqa: E402
from kombu.mixins import ConsumerMixin  # noqa: E402

NAMESPACE = "/events"
server = socketio.Server(async_mode="gevent", cors_allowed_origins="*")


@server.on("connect", namespace=NAMESPACE)
def connect(client, _environment, _auth=None):
    print("connect", client, flush=True)


@server.on("subscribe", namespace=NAMESPACE)
def subscribe(client, branch):
    server.enter_room(client, branch, namespace=NAMESPACE)
    return "ok"


class Events(ConsumerMixin):
    """Consumes from a queue of its own, and connects again when the broker has gone."""

    def __init__(self, connection):
        self.connection = connection

    def get_consumers(self, consumer, channel):
        exchange = Exchange("events", type="topic")
        queue = Queue("", exchange, routing_key="events.#", durable=False, auto_delete=True, exclusive=True)
        return [consumer([queue], callbacks=[self.tell], no_ack=True)]

    def tell(self, body, _message):
        for room in (body["branch"], "*"):
            server.emit(body["event"], body, namespace=NAMESPACE, room=room)


gevent.spawn(Events(Connection(os.environ["CELERY_BROKER_URL"])).run)
application = socketio.WSGIApp(server)
address = ("127.0.0.1", int(sys.argv[1]))
pywsgi.WSGIServer(address, application, handler_class=WebSocketHandler, log=None).serve_forever()
