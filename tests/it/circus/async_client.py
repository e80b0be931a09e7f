"""The original's AsyncCircusClient, several at once, and what its example programs do: a crowd of watchers added and
listed, a listener that counts deaths."""
import asyncio, json, sys
from circus.client import AsyncCircusClient, CallError, CircusClient
from circus.consumer import CircusConsumer

control, events = sys.argv[1:]


async def tell(client, command, **properties):
    reply = await client.send_message(command, **properties)
    assert reply["status"] != "error", (command, properties, reply)
    return reply


async def main():
    clients = [AsyncCircusClient(endpoint=control) for _ in range(5)]
    first = clients[0]
    # Each its own crowd, side by side.
    crowd = ["dummy-%d" % number for number in range(5)]
    await asyncio.gather(*(
        tell(client, "add", name=name, cmd="sleep 1000", start=True, waiting=True, options={"numprocesses": 3})
        for client, name in zip(clients, crowd)))
    statuses = (await tell(first, "status"))["statuses"]
    assert statuses == {"w": "active", **{name: "active" for name in crowd}}, statuses
    pids = [await tell(client, "list", name=name) for client, name in zip(clients, crowd)]
    assert all(len(reply["pids"]) == 3 for reply in pids), pids
    # Replies find their requests, also where many are under way.
    replies = await asyncio.gather(*(
        tell(client, "incr", name=name, waiting=True) for client, name in zip(clients, crowd)))
    assert [reply["numprocesses"] for reply in replies] == [4] * 5, replies
    refusal = await first.send_message("stop", name="nobody")
    assert (refusal["status"], refusal["errno"]) == ("error", 3), refusal
    await asyncio.gather(*(tell(client, "rm", name=name, waiting=True) for client, name in zip(clients, crowd)))
    assert (await tell(first, "list"))["watchers"] == ["w"]
    for client in clients:
        client.stop()


asyncio.run(main())

# A raw call with a mapping, the way scripts do it; a client that reaches no circusd says so.
client = CircusClient(endpoint=control)
assert client.call({"command": "numwatchers", "properties": {}})["numwatchers"] == 1
client.stop()
try:
    CircusClient(endpoint="tcp://127.0.0.1:9", timeout=0.2).call({"command": "list", "properties": {}})
    raise SystemExit("nobody answered")
except CallError as problem:
    assert "Timed out" in str(problem), problem

# A listener that counts deaths while a worker is killed.
client, deaths = CircusClient(endpoint=control), 0
consumer = CircusConsumer(["watcher.w."], endpoint=events)
messages = iter(consumer)
# A subscription takes its time to arrive: once anything was heard, the next deaths are, too.
while not consumer.poller.poll(50):
    client.send_message("set", name="w", options={"graceful_timeout": 3}, waiting=True)
while deaths < 3:
    client.send_message("kill", name="w", waiting=True)
    for topic, message in messages:
        if topic == b"watcher.w.reap":
            assert json.loads(message)["process_pid"] > 0
            deaths += 1
            break
consumer.stop()
assert client.send_message("quit", waiting=True)["status"] == "ok"
print("all is well")
