"""Stands, on loopback, for the alert services outside: subscribers, acknowledgements, and an alert every five seconds.

A connection begins with one line of JSON: {"subscribe": TOPIC}, {"send": PAYLOAD} or {"count": true}.
"""

import contextlib
import json
import socketserver
import sys
import threading
import time

subscribers = {"voevent": set(), "lvalert": set()}


def tell(topic, message):
    for connection in list(subscribers[topic]):
        with contextlib.suppress(OSError):  # the handler notices too, and ends the subscription
            connection.write(json.dumps(message).encode() + b"\n")


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        request = json.loads(self.rfile.readline() or b"{}")
        if "send" in request:
            print("VOEVENT", request["send"], flush=True)
            self.wfile.write(b"ack\n")
            tell("voevent", {"voevent": request["send"]})
        elif "count" in request:
            self.wfile.write(json.dumps({topic: len(found) for topic, found in subscribers.items()}).encode() + b"\n")
        elif "subscribe" in request:
            self.subscribe(request["subscribe"])

    def subscribe(self, topic):
        subscribers[topic].add(self.wfile)
        print("SUBSCRIBED", topic, flush=True)
        try:
            while self.rfile.read(1):
                pass
        except OSError:
            pass  # it was killed
        finally:
            subscribers[topic].discard(self.wfile)
            print("ENDED", topic, flush=True)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def send_alerts():
    number = int(time.time())
    while True:
        time.sleep(5)
        number += 1
        tell("lvalert", {"id": f"G{number}"})


threading.Thread(target=send_alerts, daemon=True).start()
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
