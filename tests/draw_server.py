"""draw.py as a process, for the tests that need one."""

import contextlib
import os
import re
import subprocess
import sys

from conftest import OFFLINE, PROJECT


@contextlib.contextmanager
def serving(logdir, data_dir, *flags):
    """Run draw.py, from when it has printed its address to its end.

    Yields the process, with the `port` that it listens at and what it `said` until then.
    """
    folders = ["--logdir", logdir, "--data_dir", data_dir]
    command = [sys.executable, PROJECT / "draw.py", *folders, "--port", "0", *flags]
    with subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | OFFLINE,
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
