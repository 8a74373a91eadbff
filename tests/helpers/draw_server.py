"""draw.py as a process, and its web application without one."""

import contextlib
import os
import re
import subprocess
import sys

import mnist
from helpers import OFFLINE, PROJECT, heed_signals
from page import server
from page.digits import TrainingDigits
from page.networks import TrainedRuns


def client_of(logdir, data_dir="nowhere", build=mnist.network, names=frozenset({"localhost"})):
    """A client of the web application, which is called localhost. It raises bugs."""
    runs, digits = TrainedRuns(logdir, build), TrainingDigits(data_dir)
    app = server.make_app(runs, digits, set(names))
    app.testing = True
    return app.test_client()


@contextlib.contextmanager
def serving(logdir, data_dir):
    """draw.py from when it has printed its address (`.port`); `.said` is what it printed."""
    flags = ["--logdir", logdir, "--data_dir", data_dir, "--port", "0"]
    with subprocess.Popen(
        [sys.executable, PROJECT / "draw.py", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | OFFLINE,
        preexec_fn=heed_signals,
    ) as process:
        try:
            process.said = ""
            while "Draw at" not in process.said:
                line = process.stdout.readline()
                assert line, process.said + process.stderr.read()
                process.said += line
            process.port = int(re.search(r"http://[^ ]+:(\d+)/ ", process.said)[1])
            yield process
        finally:
            process.kill()
