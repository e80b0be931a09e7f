"""Runs a plugin class of Circus under circusd: what circus.plugins.main does, and what that leaves out.

The arguments are those of the original. The class gets them by name, so that one which takes only what it needs can be
made; one that takes any (*args) gets the first four by position, as the original does it."""
import argparse
import inspect
import json
import logging
import os
import signal
import sys
import traceback

parser = argparse.ArgumentParser()
for option in ("--endpoint", "--pubsub", "--config", "--log-level", "--log-output", "--ssh"):
    parser.add_argument(option)
parser.add_argument("--check-delay", type=float, default=5.0)
parser.add_argument("plugin")
args = parser.parse_args()


def fail(text):
    sys.stderr.write("<3>%s\n" % text)
    sys.exit(1)


where = "in %s" % sys.executable
try:
    from circus import logger
    from circus.util import configure_logger, resolve_name
except ImportError as error:
    fail("Circus, which runs the class %s, cannot be imported %s (%s): pip install circus==0.19.0 there, or name another "
         "interpreter with the key python" % (args.plugin, where, error))
try:
    factory = resolve_name(args.plugin)
except (ImportError, AttributeError) as error:
    fail("the class %s cannot be imported %s: %s; PYTHONPATH can be set in a section [env:NAME] of the plugin's name"
         % (args.plugin, where, error))

class Prefixed(logging.Formatter):
    """A line as circusd's log takes it, which has its own time: its level, and what was said."""

    def format(self, record):
        number = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6}.get(record.levelname, 7)
        return "<%d>%s" % (number, super().format(record))


configure_logger(logger, args.log_level or "info", args.log_output or "-", name=getattr(factory, "name", "") or args.plugin)
if not args.log_output:
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Prefixed("%(message)s"))
settings = json.loads(os.environ.get("CIRCUS_PLUGIN_CONFIG") or "{}")
first = ("endpoint", "pubsub_endpoint", "check_delay", "ssh_server")
values = (args.endpoint, args.pubsub, args.check_delay, args.ssh)
by_position = (values, settings)
by_name = ((), dict(settings, **dict(zip(first, values))))
signature = inspect.signature(factory)
takes_any = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
for positional, keywords in (by_position, by_name) if takes_any else (by_name, by_position):
    try:
        signature.bind(*positional, **keywords)
    except TypeError as error:
        refusal = error
    else:
        break
else:
    fail("the class %s does not take the arguments of a plugin: %s" % (args.plugin, refusal))


def stop(number, frame):
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, stop)
plugin, status = None, 0
try:
    plugin = factory(*positional, **keywords)
    plugin.start()
except KeyboardInterrupt:
    pass
except BaseException:
    traceback.print_exc()
    status = 1
# Once is enough, and the handlers of a plugin that ends are not to be interrupted.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
try:
    if plugin is not None:
        plugin.stop()
except BaseException:
    traceback.print_exc()
    status = 1
sys.stdout.flush()
sys.stderr.flush()
# A thread that a plugin has left behind, such as a timer, would keep it alive.
os._exit(status)
