"""TensorFlow 1, as today's TensorFlow contains it: imported quietly and fast, its errors in words.

from support.tensorflow1 import tf
"""

import contextlib
import errno
import logging
import os
import re
import signal
import subprocess
import sys
import threading

_ALL_WELL = b"\0"
# A program that prints what it was sent, unless that ends in the mark that all went well.
_RELAY = f"""
import sys
text = sys.stdin.buffer.read()
if not text.endswith({_ALL_WELL}):
    sys.stderr.buffer.write(text)
"""


@contextlib.contextmanager
def _quiet():
    """Hold back what is written to standard error in the `with` block; pass it on if that fails.

    TensorFlow 2.21 writes notices (oneDNN, missing CUDA drivers) straight to the file descriptor
    while it is being imported, before it reads any log level, so the descriptor itself has to be
    turned aside. The text goes to a small process of its own, because an import can also end this
    one on the spot: TensorFlow calls abort() on a processor without AVX, and then only another
    process is left to show why.
    """
    try:
        terminal = os.dup(2)
    except OSError:  # standard error is closed: nothing to keep quiet
        yield
        return
    # In a group of its own, Ctrl-C does not reach it: start_new_session on Linux and macOS, the
    # flag on Windows.
    apart = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    relay = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _RELAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        start_new_session=True,
        **apart,
    )
    os.dup2(relay.stdin.fileno(), 2)
    handlers = {}

    def drop_text(number, frame):  # a program that was asked to end need not show it
        os.write(2, _ALL_WELL)
        signal.signal(number, handlers[number])
        signal.raise_signal(number)

    if threading.current_thread() is threading.main_thread():
        for number in [signal.SIGINT, signal.SIGTERM]:
            handlers[number] = signal.signal(number, drop_text)
    try:
        yield
        with contextlib.suppress(OSError):  # the relay was ended from outside
            relay.stdin.write(_ALL_WELL)
            relay.stdin.flush()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.dup2(terminal, 2)
        os.close(terminal)
        with contextlib.suppress(OSError):
            relay.stdin.close()
        relay.wait()


# Fast kernels, which TensorFlow leaves off where a processor lacks AVX-512's instructions for
# networks: there a training step took 71 ms without them and 30 ms with them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# A session would take nearly all memory of a GPU, so that a second one finds none.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what its C++ part says later
with _quiet():
    import tensorflow.compat.v1 as tf
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # for what its Python part says later


def device(seed):
    """Name what computes, "the CPU" or "a GPU", and make that heed a seed."""
    if not tf.config.list_physical_devices("GPU"):
        return "the CPU"
    if seed is not None:
        os.environ["TF_DETERMINISTIC_OPS"] = (
            "1"  # else it would add numbers in another order each time
        )
    return "a GPU"


@contextlib.contextmanager
def quiet_writers():
    """Keep tf.summary.FileWriter's threads from printing errors, which the next flush raises."""
    before = threading.excepthook

    def hook(error):
        if error.thread is None or error.thread.name != "EventLoggerThread":
            before(error)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


class NotFinite(ArithmeticError):
    """A number in the network is infinite or NaN (not a number): nothing more can be learned."""


def in_words(error):
    """Make an exception of Python's own of TensorFlow's.

    Returns NotFinite, MemoryError, an OSError with what the system said; or `error` itself if it is
    of another kind: then something is wrong with the program.
    """
    text = str(error)
    if isinstance(error, UnicodeDecodeError):  # the system's words, in the encoding of a Windows
        return OSError(
            errno.EIO, "TensorFlow met an error of the system that it could not put into words"
        )
    if not isinstance(error, (RuntimeError, tf.errors.OpError)):
        return error
    if isinstance(error, tf.errors.InvalidArgumentError) and re.search(
        "(Nan|Inf).*histogram", text
    ):
        return NotFinite("A number in the network is not finite any more")
    if "OOM when allocating" in text or isinstance(error, tf.errors.ResourceExhaustedError):
        if not _system_says(text):
            return MemoryError("The memory does not suffice")
    return _system_says(text) or error


def _system_says(text):
    """The OSError whose words end a line of TensorFlow's many, as in "/runs/x; No space left"."""
    for code in errno.errorcode:
        if f"; {os.strerror(code)}" in text:
            return OSError(code, os.strerror(code))
    return None
