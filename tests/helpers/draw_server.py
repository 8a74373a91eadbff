"""draw.py as a process, for tests that need a socket or a terminal."""

import contextlib
import os
import re
import subprocess
import sys

from helpers import OFFLINE, PROJECT, heed_signals


def start(logdir, data_dir, *flags):
    """Start draw.py on a free port, unless the flags name one."""
    command = [sys.executable, PROJECT / "draw.py", "--logdir", logdir, "--data_dir", data_dir]
    return subprocess.Popen(
        [str(word) for word in [*command, "--port", "0", *flags]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | OFFLINE,
        preexec_fn=heed_signals,
    )


@contextlib.contextmanager
def serving(logdir, data_dir, *flags):
    """draw.py from when it has printed its address (`.port`); `.said` is what it printed."""
    with start(logdir, data_dir, *flags) as process:
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
