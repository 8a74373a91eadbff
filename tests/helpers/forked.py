"""Our programs in processes that begin with everything imported, for tests that start many.

A process that has imported TensorFlow forks a copy of itself for each run: what takes seconds is
done once.
"""

import multiprocessing
import os
import sys
from pathlib import Path

from support import terminal

import pytest

from helpers import heed_signals


def main(ready, program, flags, output, changes):
    """Do what `python mnist.py` does with the flags, but write to the file or terminal `output`.

    program: "mnist" or "draw". ready: an event to set at the beginning. changes:
    {(module, name): value}, what constants are replaced with.
    """
    heed_signals()
    ready.set()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY)
    for standard in [1, 2]:
        os.dup2(descriptor, standard)
    sys.stdout, sys.stderr = (open(standard, "w", closefd=False) for standard in [1, 2])
    for (module, name), value in changes.items():
        setattr(sys.modules[module], name, value)
    sys.argv = [f"{program}.py", *map(str, flags)]
    terminal.program(sys.modules[program].main)


def start(flags, output=os.devnull, changes=(), program="mnist"):
    """Start a process in which main() runs with these arguments; return it when it has begun."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mnist", "draw", "forked"])
    ready = context.Event()
    process = context.Process(
        target=main, args=(ready, program, flags, str(output), dict(changes)), daemon=True
    )
    with pytest.MonkeyPatch.context() as environment:
        # Without it the server would not find what it is to import.
        environment.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        environment.setenv("OPENBLAS_NUM_THREADS", "1")  # as in the programs themselves
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]:
            environment.delenv(name, raising=False)  # the mirrors are on this machine
        process.start()
    assert ready.wait(120)
    return process


def run(flags, output, changes=()):
    """Run mnist.py to its end; return its exit status and what it printed."""
    process = start(flags, output, changes)
    process.join(600)
    return process.exitcode, Path(output).read_text()
