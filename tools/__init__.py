"""Programs that are run by hand in the project's folder, such as `python -m tools.benchmark`."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

from support.terminal import Problem

PROJECT = Path(__file__).resolve().parents[1]
MNIST = Path(os.environ.get("MNIST_DATA", PROJECT / "MNIST_data")).absolute()


@contextlib.contextmanager
def draw_page(logdir, data_dir, project=PROJECT):
    """Start draw.py of a checkout of the project, and yield the address of its page."""
    command = [sys.executable, project / "draw.py", "--logdir", logdir, "--data_dir", data_dir]
    command = [*map(str, command), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            for line in server.stdout:
                if address := re.search(r"http://[^/ ]+", line):
                    break
            else:
                raise Problem("draw.py ended before it had an address.")
            yield address[0]
        finally:
            server.kill()
