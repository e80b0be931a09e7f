"""A worker of the token server: it signs a token for each HTTP request on the socket that circusd opened.

The token is a JSON Web Token with RS256, a signature by RSA with 2048 bits, so that each request costs real work.
"""

import argparse
import base64
import contextlib
import json
import os
import select
import signal
import socket
import time
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

# How many connections that wait a worker still serves when it was told to end.
LAST_CONNECTIONS = 64
LIFETIME = 300


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--key", required=True, help="the file of the private key")
    parser.add_argument("--fd", type=int, help="the descriptor of the listening socket")
    parser.add_argument("--make-key", action="store_true", help="make a key and end")
    arguments = parser.parse_args()
    if arguments.make_key:
        make_key(arguments.key)
    else:
        serve(socket.socket(fileno=arguments.fd), load_key(arguments.key))


def make_key(path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text)
    with open(f"{path}.modulus", "w") as file:
        file.write(f"{key.public_key().public_numbers().n:x}\n")


def load_key(path):
    with open(path, "rb") as file:
        return serialization.load_pem_private_key(file.read(), password=None)


def serve(listener, key):
    """Serves one connection after the other until SIGTERM; then those that wait, and no more."""
    listener.setblocking(False)
    told, tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(tell)
    signal.signal(signal.SIGTERM, lambda *_: None)
    poll = select.epoll()
    # Without EPOLLEXCLUSIVE every connection would wake all of the 175.
    poll.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
    poll.register(told, select.EPOLLIN)
    print(os.getpid(), "is ready", flush=True)
    while told not in (ready for ready, _ in poll.poll()):
        serve_one(listener, key)
    # A connection that woke this worker wakes no other, so it must not be left in the queue.
    for _ in range(LAST_CONNECTIONS):
        if not serve_one(listener, key):
            break


def serve_one(listener, key):
    """Accepts and answers one connection; False if none waits."""
    try:
        connection, _ = listener.accept()
    except BlockingIOError:  # another worker was faster
        return False
    with connection:
        connection.settimeout(5)
        with contextlib.suppress(OSError):  # the client may have gone
            connection.sendall(answer(connection.recv(4096), key))
    return True


def answer(request, key):
    words = request.split(b"\r\n", 1)[0].split()
    target = urlsplit(words[1].decode(errors="replace")) if len(words) == 3 else None
    if target is None or target.path != "/token":
        return response("404 Not Found", "GET /token?user=NAME\n")
    return response("200 OK", token(parse_qs(target.query).get("user", ["-"])[0], key) + "\n")


def response(status, text):
    body = text.encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def token(user, key):
    now = int(time.time())
    header = {"alg": "RS256", "typ": "JWT"}
    claims = {"sub": user, "iat": now, "exp": now + LIFETIME, "pid": os.getpid()}
    signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{encode(signature)}"


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
