"""The manners of a program in a terminal: quiet imports, checked settings, a progress bar, errors in one sentence."""

import argparse
import ast
import contextlib
import errno
import logging
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from tqdm import tqdm

_ALL_WELL = b"\0"
# A program that prints what it was sent, unless that ends in the mark that all went well.
_RELAY = f"""
import sys
text = sys.stdin.buffer.read()
if not text.endswith({_ALL_WELL}):
    sys.stderr.buffer.write(text)
"""


@contextlib.contextmanager
def quiet():
    """Hold back what is written to standard error inside the `with` block, and pass it on if the block fails.

    TensorFlow 2.21 writes notices (oneDNN, missing CUDA drivers) straight to the file descriptor while it is being
    imported, before it reads any log level, so the descriptor itself has to be turned aside. The text goes to a
    small process of its own, because an import can also end this one on the spot: TensorFlow calls abort() on a
    processor without AVX, and then only another process is left to show why.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what its C++ part says later
    try:
        terminal = os.dup(2)
    except OSError:  # standard error is closed: nothing to keep quiet
        yield
        return
    relay = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _RELAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        start_new_session=True,
    )
    os.dup2(relay.stdin.fileno(), 2)
    handlers = {}

    def drop_text(number, frame):  # a program that was asked to end need not show it
        os.write(2, _ALL_WELL)
        signal.signal(number, handlers[number])
        signal.raise_signal(number)

    if threading.current_thread() is threading.main_thread():
        handlers = {
            number: signal.signal(number, drop_text) for number in [signal.SIGINT, signal.SIGTERM]
        }
    try:
        yield
        logging.getLogger("tensorflow").setLevel(
            logging.ERROR
        )  # for what its Python part says later
        relay.stdin.write(_ALL_WELL)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.dup2(terminal, 2)
        os.close(terminal)
        relay.stdin.close()
        relay.wait()


@contextlib.contextmanager
def plain_errors():
    """End the program without a traceback: silently on Ctrl-C, with a sentence when the system refuses something."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # TensorFlow's writing thread reports its errors at the next flush too.
    threading.excepthook = lambda error: (
        error.thread.name == "EventLoggerThread" or threading.__excepthook__(error)
    )
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # a second one must not come between here and the end
        sys.exit(128 + signal.SIGINT)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.exit(f"{place}{error.strerror or error}")


def say(sentence):
    """Print a line at once; when nobody reads standard output any more (`| head -1`), go on without it."""
    try:
        print(sentence, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")


class _PatientError:
    """Standard error for a progress bar: when nobody reads it any more, training goes on all the same."""

    def write(self, text):
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self):
        with contextlib.suppress(OSError):
            sys.stderr.flush()

    def __getattr__(self, name):
        return getattr(sys.stderr, name)


def reason(error):
    """Of the many lines in which TensorFlow tells an error of the system, what the system itself said.

    Raises `error` again if it is of another kind: then something is wrong with the program.
    """
    for code in errno.errorcode:
        if f"; {os.strerror(code)}" in str(error):
            return os.strerror(code)
    raise error


def check_memory(batch_size, bytes_per_image):
    """End the program with a sentence if a batch takes more memory than is free; Linux would end it without a word."""
    with contextlib.suppress(OSError, TypeError):  # other systems do not tell what is free
        with open("/proc/meminfo") as file:
            free = 1024 * int(re.search(r"MemAvailable:\s*(\d+) kB", file.read())[1])
        if batch_size * bytes_per_image > free:
            sys.exit(
                f"BATCH_SIZE {batch_size} takes about {batch_size * bytes_per_image / 1e9:.1f} GB of memory, "
                f"and {free / 1e9:.1f} GB are free: choose less."
            )


def short(path):
    """The path as one would type it here: relative when it lies below the current folder."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def progress_bar(steps):
    """tqdm's progress bar; where no terminal shows it, it is written three times in all, to keep a log file short."""
    layout = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
    if sys.stderr and sys.stderr.isatty():
        columns, lines = (
            shutil.get_terminal_size()
        )  # Python 3.10 says 0 for a terminal that does not tell
        return tqdm(
            total=steps,
            bar_format=layout,
            file=_PatientError(),
            ncols=columns or 80,
            nrows=lines or 24,
        )
    return tqdm(
        total=steps,
        bar_format=layout,
        file=_PatientError(),
        ncols=100,
        delay=1e-6,
        mininterval=0,
        miniters=steps // 3 + 1,
        maxinterval=math.inf,
    )


@contextlib.contextmanager
def noted_signals():
    """Put the numbers of signals that ask the program to stop into the list that this yields, and do nothing else.

    The program looks into the list where it can stop, so that no step and no file is cut in two.
    """
    noted = []
    handlers = {}
    for name in ["SIGINT", "SIGTERM", "SIGHUP"]:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if (
            number and signal.getsignal(number) != signal.SIG_IGN
        ):  # nohup ignores SIGHUP, and means it
            handlers[number] = signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Parser(argparse.ArgumentParser):
    """argparse's parser, but one sentence instead of the whole usage when a flag is wrong."""

    def error(self, message):
        self.exit(2, f"{message[0].upper()}{message[1:]}; --help lists the flags.\n")


def read_settings(folder, constants):
    """Constants of mnist.py, given as {name: value}, or what flags say instead, in a namespace of lower-case names.

    A relative path in a constant starts from `folder`, one in a flag from the folder that the program is started in.
    A value that makes no sense ends the program with one sentence, and status 2 if it came from a flag, else 1.
    """
    parser = Parser(
        description="Each flag replaces the constant of the same name at the top of the file.",
        allow_abbrev=False,
    )
    for name, (meaning, _) in _RULES.items():
        if name not in _WITHOUT_FLAG:
            parser.add_argument(
                f"--{name}",
                type=_literal,
                default=argparse.SUPPRESS,
                metavar="VALUE",
                help=f"{meaning}; {constants[name.upper()]!r} if left out",
            )
    flags = vars(parser.parse_args())
    settings = {name: constants[name.upper()] for name in _RULES} | flags
    for name in ["data_dir", "logdir"]:
        if isinstance(settings[name], str) and settings[name]:
            start = "" if name in flags else folder
            settings[name] = os.path.join(start, os.path.expanduser(settings[name]))
    for name, value in settings.items():
        meaning, holds = _RULES[name]
        if not holds(value):
            sentence = f"must be {meaning}, not {value!r}"
            if name in flags:
                parser.error(f"--{name} {sentence}")
            sys.exit(f"{name.upper()} at the top of {os.path.basename(sys.argv[0])} {sentence}.")
    return argparse.Namespace(**settings)


def _literal(text):
    """The number or None that a flag's text spells, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _is_whole(value, lowest, highest=math.inf):
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _is_positive(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e38


def _is_folder_or_free(path):
    return (
        isinstance(path, str) and path != "" and (os.path.isdir(path) or not os.path.exists(path))
    )


def _is_writable(path):
    try:
        os.makedirs(path, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
        return True
    except (OSError, TypeError, ValueError):
        return False


_STEPS = ("a whole number of steps, 1 or more", lambda value: _is_whole(value, 1))
_IMAGES = ("a whole number of images, 1 or more", lambda value: _is_whole(value, 1))
# What each setting must be, in words, and the test of it.
_RULES = {
    "learning_rate": ("a number above 0 and below 1e38, such as 0.0001", _is_positive),
    "epochs": _STEPS,
    "network": (
        "'convolutional' or 'softmax'",
        lambda value: value in ("convolutional", "softmax"),
    ),
    "batch_size": _IMAGES,
    "seed": (
        "None or a whole number from 0 to 4294967295",
        lambda value: value is None or _is_whole(value, 0, 2**32 - 1),
    ),
    "data_dir": ("a folder", _is_folder_or_free),
    "logdir": ("a folder that can be written to", _is_writable),
    "evaluate_every": _STEPS,
    "histograms_every": _STEPS,
    "batch_curves_every": _STEPS,
    "test_batch_size": _IMAGES,
}
_WITHOUT_FLAG = {"evaluate_every", "histograms_every", "batch_curves_every", "test_batch_size"}
