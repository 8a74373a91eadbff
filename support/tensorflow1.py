"""Import the TensorFlow 1 in today's TensorFlow quietly; translate its errors to Python's.

Use it with `from support.tensorflow1 import tf`. This is the one module whose import changes
something: environment variables that TensorFlow reads while it is imported, its log level, and
which objects Python's garbage collector looks at.
"""

import collections.abc
import contextlib
import errno
import gc
import logging
import os
import re
import tempfile
import threading
from pathlib import Path


@contextlib.contextmanager
def _quiet():
    """Hold back what the `with` block writes to standard error; show it if the block fails.

    While TensorFlow is imported, its C++ part writes notices (oneDNN, missing CUDA drivers) to the
    file descriptor itself, before it reads any log level.
    """
    try:
        os.fstat(2)
    except OSError:  # closed, as in Windows' IDLE or by `2>&-`: no other file may get the number 2
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with tempfile.TemporaryFile() as held:
        terminal = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except KeyboardInterrupt:  # without a traceback through half of TensorFlow
            raise SystemExit(130) from None
        except Exception:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


# oneDNN's fast kernels. TensorFlow leaves them off if a processor lacks AVX-512's instructions for
# neural networks: on such a processor, a step took 71 ms without them and 30 ms with them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Otherwise a session takes nearly all memory of a GPU, and a second one finds none.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for TensorFlow's C++ part
# TensorFlow creates nearly half a million objects that stay. To search them for garbage, several
# times now and again when Python exits, takes a second.
gc.disable()
with _quiet():
    import tensorflow.compat.v1 as tf
gc.freeze()
gc.enable()
logging.getLogger("tensorflow").setLevel(logging.CRITICAL)  # for its Python part
# The Graphs tab shows the shapes of TensorFlow 1's variables. It shows those of TensorFlow 2 as
# scalars, because a line of the graph carries only their handle.
tf.disable_resource_variables()


def precision() -> str:
    """Return the precision in which networks are trained and tested, "bfloat16" or "float32".

    A bfloat16 has the range of a float32, but only 8 of its 24 binary digits. A processor with
    instructions for it needs about 0.6 of the time; without them, TensorFlow would be slow. Only
    Linux lists the instructions. The environment variable MNIST_FLOAT32=1 forces float32.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if os.environ.get("MNIST_FLOAT32") == "1" or not cpuinfo.exists() or _has_gpu():
        return "float32"
    return "bfloat16" if re.search("avx512_bf16|amx_bf16", cpuinfo.read_text()) else "float32"


def config(precision: str) -> tf.ConfigProto:
    """Return the options of a session that trains and tests a network in a precision.

    In "bfloat16", TensorFlow rounds the numbers that it multiplies in layers and in gradients. W,
    B, Adam's averages and the loss stay float32.
    """
    options = tf.ConfigProto()
    if precision == "bfloat16":
        rewriter = options.graph_options.rewrite_options
        rewriter.auto_mixed_precision_onednn_bfloat16 = rewriter.ON
    return options


def _has_gpu():
    return bool(tf.config.list_physical_devices("GPU"))


def device(repeatable: bool) -> str:
    """Return what computes, "the CPU" or "a GPU"; make the GPU repeatable if that is wanted."""
    if not _has_gpu():
        return "the CPU"
    if repeatable:  # otherwise a GPU adds numbers in a different order each time
        os.environ["TF_DETERMINISTIC_OPS"] = "1"
    return "a GPU"


@contextlib.contextmanager
def quiet_writers() -> collections.abc.Iterator[None]:
    """Keep a FileWriter's thread from printing an error, which its next flush raises anyway."""
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


def as_python_error(error: BaseException | None) -> BaseException | None:
    """Return the NotFinite, MemoryError or OSError that a TensorFlow error means, or the error."""
    text = str(error)
    if isinstance(error, UnicodeDecodeError):  # Windows wrote it in another encoding
        return OSError(errno.EIO, "TensorFlow cannot decode the system's error")
    if not isinstance(error, RuntimeError | tf.errors.OpError):
        return error
    not_finite = re.search("(?i)(nan|inf).*histogram", text)
    if not_finite and isinstance(error, tf.errors.InvalidArgumentError):
        return NotFinite("A number in the network is not finite any more")
    # The system's error is in the text, as in "/runs/x; No space left". On Windows, it comes first.
    windows = re.search(r" : ([^\r\n]+?)\.?\s*\n; ", text)
    if windows:
        return OSError(errno.EIO, windows[1])
    for code in errno.errorcode:
        if f"; {os.strerror(code)}" in text:
            return OSError(code, os.strerror(code))
    if isinstance(error, tf.errors.ResourceExhaustedError) or "OOM when allocating" in text:
        return MemoryError("There is not enough memory")
    return error
