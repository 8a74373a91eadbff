"""TensorFlow 1, as today's TensorFlow contains it: imported quietly and fast, its errors in words.

Whoever needs it says `from support.tensorflow1 import tf`.
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
    except OSError:  # it is closed, and the next file to be opened would get its number
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        terminal = os.dup(2)
    # In a group of its own, Ctrl-C does not reach it: start_new_session on Linux and macOS, the
    # flag on Windows.
    relay = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _RELAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    os.dup2(relay.stdin.fileno(), 2)
    try:
        yield
        relay.stdin.write(_ALL_WELL)
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        with contextlib.suppress(OSError):  # the relay was ended from outside
            relay.stdin.close()
        relay.wait()


@contextlib.contextmanager
def _signals_wait():
    """Let signals wait until the `with` block is done, but for those that end the program at once.

    A notebook goes on after an interrupt, and half a TensorFlow could not be imported once more.
    """
    handlers, asked = {}, []

    def note(number, frame):
        asked.append(number)
        if handlers[number] == signal.SIG_DFL:
            os.write(2, _ALL_WELL)  # nobody wants to see why the import did not end
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    if threading.current_thread() is threading.main_thread():
        for number in [signal.SIGINT, signal.SIGTERM]:
            if signal.getsignal(number) != signal.SIG_IGN:
                handlers[number] = signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in asked:
            signal.raise_signal(number)


# Fast kernels, which TensorFlow leaves off where a processor lacks AVX-512's instructions for
# networks: there a training step took 71 ms without them and 30 ms with them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# A session would take nearly all memory of a GPU, so that a second one finds none.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what its C++ part says later
with _signals_wait(), _quiet():
    import tensorflow.compat.v1 as tf
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # for what its Python part says later


def device(seed):
    """Name what computes, "the CPU" or "a GPU", and make that heed a seed."""
    if not tf.config.list_physical_devices("GPU"):
        return "the CPU"
    if seed is not None:  # else it would add numbers in another order each time
        os.environ["TF_DETERMINISTIC_OPS"] = "1"
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
    if isinstance(error, UnicodeDecodeError):  # Windows' words, in the encoding of its language
        return OSError(errno.EIO, "the system met an error that TensorFlow cannot put into words")
    if not isinstance(error, (RuntimeError, tf.errors.OpError)):
        return error
    not_a_number = re.search("(nan|inf).*histogram", text, re.IGNORECASE)
    if not_a_number and isinstance(error, tf.errors.InvalidArgumentError):
        return NotFinite("A number in the network is not finite any more")
    told = _system_says(text)
    if told:
        return told
    if "OOM when allocating" in text or isinstance(error, tf.errors.ResourceExhaustedError):
        return MemoryError("The memory does not suffice")
    return error


def _system_says(text):
    """The OSError whose words end a line of TensorFlow's many, as in "/runs/x; No space left"."""
    # On Windows they stand before, and what follows is about another error of the same number.
    windows = re.search(r" : ([^\r\n]+?)\.?\s*\n; ", text)
    if windows:
        return OSError(errno.EIO, windows[1])
    for code in errno.errorcode:
        if f"; {os.strerror(code)}" in text:
            return OSError(code, os.strerror(code))
    return None
