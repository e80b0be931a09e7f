"""The original's CircusClient and CircusConsumer: does what each command says, and checks what is answered and heard."""
import json, sys, threading
from circus.client import AsyncCircusClient, CallError, CircusClient, cast_message, make_message
from circus.consumer import CircusConsumer

control, events = sys.argv[1:]
client = CircusClient(endpoint=control, timeout=20)


def ok(command, **properties):
    reply = client.send_message(command, **properties)
    assert reply["status"] != "error", (command, properties, reply)
    assert isinstance(reply["time"], float) and len(reply["id"]) == 32, reply
    return reply


def refused(errno, command, **properties):
    reply = client.send_message(command, **properties)
    assert (reply["status"], reply["errno"]) == ("error", errno), (command, properties, reply)
    return reply["reason"]


heard, listening = [], threading.Event()


def listen():
    with CircusConsumer(["watcher."], endpoint=events) as consumer:
        for topic, message in consumer:
            listening.set()
            heard.append((topic.decode(), json.loads(message)))
            if topic == b"watcher.last.remove":
                return


ear = threading.Thread(target=listen, daemon=True)
ear.start()
while not listening.wait(0.05):
    ok("add", name="nobody", cmd="nothing")
    ok("rm", name="nobody", waiting=True)

assert ok("list")["watchers"] == ["w"]
[pid] = ok("list", name="W")["pids"]
assert ok("status")["statuses"] == {"w": "active"} and ok("status", name="w")["status"] == "active"
assert ok("numprocesses", name="w")["numprocesses"] == 1 and ok("numwatchers")["numwatchers"] == 1
assert ok("options", name="w")["options"]["numprocesses"] == 1
assert ok("get", name="w", keys=["graceful_timeout", "cmd"])["options"]["graceful_timeout"] == 30.0
assert ok("globaloptions", option="endpoint")["options"]["endpoint"] == control
assert ok("listsockets")["sockets"] == []
assert ok("incr", name="w", nb=2, waiting=True)["numprocesses"] == 3
assert ok("decr", name="w", nb=2, waiting=True)["numprocesses"] == 1
ok("set", name="w", options={"graceful_timeout": 5, "warmup_delay": 0}, waiting=True)
assert ok("get", name="w", keys=["graceful_timeout"])["options"] == {"graceful_timeout": 5}
ok("signal", name="w", signum="USR1")
assert ok("stop", name="w", waiting=True)["info"] is None
[pid] = ok("start", name="w", waiting=True)["info"]["started"]
assert ok("restart", name="w", waiting=True)["info"] == {"stopped": [pid], "started": ok("list", name="w")["pids"], "kept": []}
assert len(ok("reload", name="w", waiting=True)["info"]["started"]) == 1
[pid] = ok("list", name="w")["pids"]
ok("kill", name="w", pid=pid, signum="TERM", waiting=True)
assert ok("add", name="new", cmd="sleep", args=["1000"], options={"numprocesses": 2}, start=True, waiting=True)["started"]
ok("rm", name="new", waiting=True)

assert refused(3, "status", name="nope") == "program nope not found"
assert refused(2, "Nonsense") == "unknown command: 'Nonsense'"
assert refused(3, "get", name="w") == "message invalid 'keys' is missing"
assert refused(3, "listen") == "invalid message. use a pub/sub socket"

# A cast has no answer, and a client that gives up hears no other's.
client.socket.send(json.dumps({"command": "list", "msg_type": "cast", "id": "no"}).encode())
ok("add", name="last", cmd="nothing")
ok("rm", name="last", waiting=True)
ear.join(20)
assert not ear.is_alive(), "the last event was not heard"

by_watcher = lambda watcher: [topic.split(".")[2] for topic, _ in heard if topic.startswith("watcher.%s." % watcher)]
assert by_watcher("new") == ["add", "spawn", "spawn", "start", "remove", "kill", "kill", "reap", "reap", "stop"], by_watcher("new")
spawned = [message["process_pid"] for topic, message in heard if topic == "watcher.w.spawn"]
reaped = {message["process_pid"]: message["exit_code"] for topic, message in heard if topic == "watcher.w.reap"}
assert set(spawned) - set(reaped) == set(ok("list", name="w")["pids"]), (spawned, reaped)
assert by_watcher("w").count("updated") == 2 and "reload" in by_watcher("w"), by_watcher("w")

ok("quit", waiting=True)
print("all is well")
