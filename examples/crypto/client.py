"""Asks the token server for tokens over many connections at once, and looks at what comes back."""

import base64
import hashlib
import json
import selectors
import socket
import time

# The answer to a request is lost when it has not come after so many seconds.
TIMEOUT = 10
# One answer of so many has its signature verified: in pure Python that costs as much as signing does in C.
VERIFY_EACH = 25
# What stands before a hash of SHA-256 in a signature by RFC 8017.
SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")


class Client:
    def __init__(self, address, modulus, connections):
        self.address, self.modulus = address, modulus
        self.selector = selectors.DefaultSelector()
        self.connections = connections
        self.number = 0
        # One (end, seconds) for each request that was answered, and one (time, reason) for each that was lost.
        self.answered, self.lost = [], []
        self.pids = set()

    def run(self, until):
        """Keeps `connections` requests under way while `until()` is false; returns when all have their answer."""
        while True:
            now = time.monotonic()
            going = not until()
            while going and len(self.selector.get_map()) < self.connections:
                self.begin()
            if not self.selector.get_map():
                return
            for key, _ in self.selector.select(0.1):
                self.proceed(key.fileobj, key.data)
            for key in list(self.selector.get_map().values()):
                if now - key.data["begun"] > TIMEOUT:
                    self.lose(key.fileobj, key.data, "no answer")

    def begin(self):
        self.number += 1
        connection = socket.socket()
        connection.setblocking(False)
        request = {"user": f"user-{self.number}", "begun": time.monotonic(), "text": b""}
        connection.connect_ex(self.address)
        self.selector.register(connection, selectors.EVENT_WRITE, request)

    def proceed(self, connection, request):
        try:
            if not request["text"] and not request.get("sent"):
                connection.sendall(f"GET /token?user={request['user']} HTTP/1.1\r\nHost: tokens\r\n\r\n".encode())
                request["sent"] = True
                self.selector.modify(connection, selectors.EVENT_READ, request)
                return
            more = connection.recv(4096)
        except OSError as error:
            self.lose(connection, request, error.strerror or repr(error))
            return
        request["text"] += more
        if not more:
            self.end(connection, request)

    def end(self, connection, request):
        fault = self.fault(request)
        if fault:
            self.lose(connection, request, fault)
        else:
            now = time.monotonic()
            self.answered.append((now, now - request["begun"]))
            self.close(connection)

    def fault(self, request):
        """What is wrong with an answer; None if it is the token that was asked for."""
        head, _, body = request["text"].partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or body.count(b".") != 2 or not body.endswith(b"\n"):
            return f"answer {request['text'][:40]!r}"
        signed, _, signature = body.strip().rpartition(b".")
        claims = json.loads(decode(signed.partition(b".")[2]))
        self.pids.add(claims["pid"])
        if claims["sub"] != request["user"]:
            return f"the token of {claims['sub']}"
        if self.number % VERIFY_EACH == 0 and not verify(signed, decode(signature), self.modulus):
            return "a wrong signature"
        return None

    def lose(self, connection, request, reason):
        self.lost.append((time.monotonic(), reason))
        self.close(connection)

    def close(self, connection):
        self.selector.unregister(connection)
        connection.close()


def decode(text):
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def verify(signed, signature, modulus):
    """Whether a signature by RSASSA-PKCS1-v1_5 with SHA-256 and the exponent 65537 is the one of these bytes."""
    size = (modulus.bit_length() + 7) // 8
    ending = SHA256 + hashlib.sha256(signed).digest()
    wanted = b"\x00\x01" + b"\xff" * (size - len(ending) - 3) + b"\x00" + ending
    return pow(int.from_bytes(signature, "big"), 65537, modulus).to_bytes(size, "big") == wanted
