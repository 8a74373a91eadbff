"""The manners of a program in a terminal: sentences, a progress bar, signals that are noted."""

import contextlib
import functools
import math
import os
import re
import shlex
import shutil
import signal
import sys
import threading
from pathlib import Path

from tqdm import tqdm


class Problem(Exception):
    """What keeps the program from going on, as a sentence for its user, and the exit status."""

    def __init__(self, sentence, status=1):
        """Take the sentence, or "" where all is said already, and the status, 0 to 255."""
        super().__init__(sentence)
        self.status = status


def program(main):
    """Give main the flags of the command line, and end with the exit status that fits."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # as support/__init__.py left it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(_status(getattr(main, "__wrapped__", main), sys.argv[1:]))


def in_plain_words(main):
    """Let a notebook call main(flags): what goes wrong is said, in a sentence, not raised."""

    @functools.wraps(main)
    def in_plain_words(flags=()):
        _status(main, flags)

    return in_plain_words


def _status(main, flags):
    """Run main(flags) and return its exit status; an error becomes a sentence."""
    try:
        main(flags)
        return 0
    except Problem as problem:
        if str(problem):
            _write(sys.stderr, f"{problem}\n")
        return problem.status
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _write(sys.stderr, f"{place}{error.strerror or error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


# -------------------------------------------------------------------------------------- sentences


def say(sentence):
    """Print a line at once; when nobody reads standard output any more (`| head`), go on."""
    _write(sys.stdout, f"{sentence}\n")


def _write(stream, text):
    """Write a text to a stream as far as that can show it, and go on where nothing can be shown."""
    if stream is None:  # as in a program without a console
        return
    with contextlib.suppress(OSError, ValueError):  # ValueError: the stream was closed
        try:
            stream.write(text)
        except UnicodeEncodeError:  # a console that cannot show a character of a folder's name
            shown = text.encode(stream.encoding, "backslashreplace")
            stream.write(shown.decode(stream.encoding))
        stream.flush()


def short(path):
    """Spell a path as one would type it here: relative when it lies below the current folder."""
    path = Path(os.path.abspath(path))
    with contextlib.suppress(ValueError, OSError):  # not below it; on another drive; it is deleted
        path = path.relative_to(Path.cwd())
    return path.as_posix()


def quoted(word):
    """Quote a word of a command line where this system's shell needs it, and only there."""
    if re.fullmatch(r"[\w@%+=:,./-]+", word):
        return word
    # Windows' cmd.exe passes single quotes on.
    return f'"{word}"' if os.name == "nt" else shlex.quote(word)


# ---------------------------------------------------------------------------------------- the bar


class _Patient:
    """Standard error for a progress bar: where nobody reads it, training goes on all the same."""

    encoding = property(lambda self: getattr(sys.stderr, "encoding", None))

    def write(self, text):
        _write(sys.stderr, text)

    def flush(self):
        pass  # each write has brought its text out


def is_watched():
    """Tell whether somebody watches standard error; notebooks and PyCharm show it, no terminals."""
    if _is_of_notebook(sys.stderr) or "PYCHARM_HOSTED" in os.environ:
        return True
    # IDLE says that it is a terminal, but cannot go back to the start of a line.
    return bool(sys.stderr) and sys.stderr.isatty() and "idlelib" not in sys.modules


def in_notebook():
    """Tell whether a notebook calls main(), which reads no file again; %run would."""
    started = getattr(sys.modules["__main__"], "__file__", None) or ""
    return _is_of_notebook(sys.stdout) and not started.endswith("mnist.py")


def _is_of_notebook(stream):
    return any(kind.__module__.startswith("ipykernel.") for kind in type(stream).__mro__)


def bar(**options):
    """Make a tqdm on standard error, whatever that can show; options: what tqdm takes besides."""
    # Windows' consoles with Chinese fonts draw the finer blocks as wide as two letters.
    return tqdm(file=_Patient(), ascii=True if os.name == "nt" else None, **options)


def progress_bar(steps):
    """Make a bar for so many steps; in a file, it is written three times, to keep that short."""
    words = "{percentage:3.0f}%|{bar}| {n}/{total} [{elapsed}<{remaining}{postfix}]"
    if is_watched():
        columns = shutil.get_terminal_size().columns  # 0 in Python 3.10, where it is not known
        options = {"ncols": columns or 80}
    else:
        options = {"ncols": 100, "delay": 1e-6, "mininterval": 0, "maxinterval": math.inf}
        options["miniters"] = steps // 3 + 1
    return bar(total=steps, bar_format=words, **options)


# ---------------------------------------------------------------------------------------- signals


@contextlib.contextmanager
def noted_signals():
    """Put the numbers of signals that ask the program to stop into the list that this yields.

    The program looks into the list where it can stop, so that no step and no file is cut in two. In
    a thread, Python gives no signals, and the list stays empty.
    """
    noted = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for name in ["SIGINT", "SIGTERM", "SIGHUP"]:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            # nohup ignores SIGHUP, and means it.
            if number and signal.getsignal(number) != signal.SIG_IGN:
                handlers[number] = signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
