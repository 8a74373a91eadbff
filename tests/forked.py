"""mnist.py in a process that begins with everything imported, for tests that start it many times.

A process that has imported TensorFlow forks a copy of itself for each run: what takes seconds is done once.
"""

import multiprocessing
import os
import signal
import sys

import pytest

import mnist
from support import terminal


def main(ready, flags, output, changes):
    """Do what `python mnist.py` does with the flags, but write to the file or terminal `output`.

    ready: an event to set at the beginning. changes: {(module, name): value}, what constants are replaced with.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ready.set()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY)
    for standard in [1, 2]:
        os.dup2(descriptor, standard)
    sys.stdout, sys.stderr = (open(standard, "w", closefd=False) for standard in [1, 2])
    for (module, name), value in changes.items():
        setattr(sys.modules[module], name, value)
    sys.argv = ["mnist.py", *map(str, flags)]
    with terminal.plain_errors():
        mnist.main()


def start(*arguments):
    """Start a process in which main() runs with these arguments, and return it when it has begun."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["forked"])
    ready = context.Event()
    process = context.Process(target=main, args=(ready, *arguments), daemon=True)
    with (
        pytest.MonkeyPatch.context() as environment
    ):  # without it the server would not find what it is to import
        environment.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        for name in [
            "http_proxy",
            "HTTP_PROXY",
            "all_proxy",
            "ALL_PROXY",
        ]:  # the mirrors are on this machine
            environment.delenv(name, raising=False)
        process.start()
    assert ready.wait(120)
    return process
