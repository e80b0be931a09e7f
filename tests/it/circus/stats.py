"""The original's StatsClient and circus-top on our stream: what the first yields, and what the second shows."""
import os, pty, re, select, signal, sys, time
from circus.stats.client import StatsClient

endpoint, want = sys.argv[1], {"w", "my app", "circus", "sockets"}
seen, workers = {}, set()
client = StatsClient(endpoint)
for watcher, subtopic, stat in client.iter_messages():
    seen.setdefault(watcher, {})[subtopic] = stat
    if want <= set(seen) and all(None in seen[name] and len(seen[name]) > 1 for name in want):
        break
for name in ("w", "my app", "circus"):
    for subtopic, stat in seen[name].items():
        if subtopic is None:
            assert isinstance(stat["pid"], list) and stat["pid"], stat
        else:
            assert stat["pid"] == stat["subtopic"] == int(subtopic) and stat["children"] == [], stat
            assert isinstance(stat["mem_info1"], str) and re.fullmatch(r"\d+:\d\d\.\d\d", stat["ctime"]), stat
        assert all(isinstance(stat[key], float) for key in ("cpu", "mem", "age")), stat
        assert "N/A" not in stat.values(), stat
assert {stat["name"] for sub, stat in seen["circus"].items() if sub} <= {"circusd", "circusd-stats"}, seen["circus"]
assert {stat["name"] for sub, stat in seen["w"].items() if sub} == {None}
assert seen["sockets"][None]["addresses"] and isinstance(seen["sockets"][None]["reads"], int)

# circus-top at a terminal of its own.
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm", LINES="50", COLUMNS="100")
    from circus.stats import client as top
    sys.argv = ["circus-top", "--endpoint", endpoint]
    top.main()
    os._exit(0)
text, end = "", time.time() + 25
wanted = ["Circus Top", "my app", "(circusd)", "(circusd.stats)", "(avg)", "(sum)", "(older)", "ADDRESS", "HITS"]
wanted[3] = "(circusd-stats)"
missing = wanted
while missing and time.time() < end:
    if select.select([terminal], [], [], 0.2)[0]:
        text += os.read(terminal, 65536).decode(errors="replace")
        missing = [word for word in wanted if word not in text]
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
assert not missing, (missing, text)
print("all is well")
