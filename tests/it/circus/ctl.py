"""The original's circusctl, once for each line of standard input; prints [status, stdout, stderr] for each as JSON."""
import contextlib, io, json, shlex, sys

# Its JSON is coloured, also for a file, wherever this happens to be installed.
sys.modules["pygments"] = None
from circus import circusctl


def run(words):
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["circusctl"] + words
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            circusctl.main()
        except SystemExit as end:
            status = end.code or 0
    return [status, out.getvalue(), err.getvalue()]


for line in sys.stdin:
    print(json.dumps(run(shlex.split(line))), flush=True)
