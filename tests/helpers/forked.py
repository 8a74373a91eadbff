"""Our programs in processes that begin with everything imported, for tests that start many.

A process that has imported TensorFlow forks a copy of itself for each run: what takes seconds is
done once.
"""

import multiprocessing.connection
import os
import runpy
import signal
import sys
import threading
import traceback
from pathlib import Path

import pytest

from helpers import PROJECT, heed_signals
from support import terminal

PRELOADED = ["mnist", "draw", "support.generated_digits", "support.own_digits", "helpers.forked"]
PRELOADED += ["tensorboard.plugins.hparams.summary"]

LOCK = threading.Lock()  # of the environment, for threads that start processes


def main(ready, program, flags, output, changes):
    """Do what `python <program>` does with the flags, but write to the file or terminal `output`.

    program: "mnist" or "draw", or the path of an edited copy of mnist.py, which uses the project's
    modules. ready: an event to set at the beginning. changes: {(module, name): value}, what
    constants are replaced with.
    """
    heed_signals()
    ready.set()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY)
    for standard in [1, 2]:
        os.dup2(descriptor, standard)
    sys.stdout, sys.stderr = (open(standard, "w", closefd=False) for standard in [1, 2])
    for (module, name), value in changes.items():
        setattr(sys.modules[module], name, value)
    sys.argv = [program, *map(str, flags)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as Python does when it starts
    if program in sys.modules:
        terminal.program(sys.modules[program].main)
    try:
        runpy.run_path(program, run_name="__main__")
    except Exception as error:
        # Print a traceback, then the place in the project or in the copy that raised the error, and
        # the error's name, because TensorFlow's errors have further tracebacks in their text.
        traceback.print_exc()
        places = [f"{file}:{line}" for file, line, *_ in traceback.extract_tb(error.__traceback__)]
        ours = [place for place in places if place.startswith((str(PROJECT), program))]
        ours = [place for place in ours if "site-packages" not in place]  # not of .venv
        print(f"\nRaised at {ours[-1]}\n{type(error).__name__}", file=sys.stderr)
        sys.exit(1)


def start(flags, output=os.devnull, changes=(), program="mnist"):
    """Start a process in which main() runs with these arguments; return it when it has begun."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    ready = context.Event()
    process = context.Process(
        target=main, args=(ready, program, flags, str(output), dict(changes)), daemon=True
    )
    with LOCK, pytest.MonkeyPatch.context() as environment:
        # Without it the server would not find what it is to import.
        environment.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]:
            environment.delenv(name, raising=False)  # the mirrors are on this machine
        process.start()
    assert ready.wait(120)
    return process


def run(flags, output, changes=(), program="mnist"):
    """Run a program to its end; return its exit status and what it printed."""
    process = start(flags, output, changes, program)
    multiprocessing.connection.wait([process.sentinel], 600)
    with LOCK:  # the start of another process, in another thread, reads the status as well
        process.join(0)
    return process.exitcode, Path(output).read_text()
