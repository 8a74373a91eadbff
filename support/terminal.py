"""Sentences, a progress bar and signals, for programs in a terminal and for notebooks."""

import collections.abc
import contextlib
import os
import shlex
import shutil
import signal
import sys
import threading
import typing
from pathlib import Path

from tqdm import tqdm

from support import language


class Problem(Exception):
    """An error that the user can fix: one sentence, and the exit status of the program."""

    def __init__(self, sentence: str, status: int = 1) -> None:
        """Take the sentence and the status."""
        super().__init__(sentence)
        self.status = status

    def _render_traceback_(self):  # what a notebook shows in place of a traceback
        return [language.translate(str(self))]


def program(main: collections.abc.Callable[[list[str]], None]) -> typing.NoReturn:
    """Call main with the flags of the command line; print a Problem as a sentence."""
    for stream in [sys.stdout, sys.stderr]:
        if hasattr(stream, "reconfigure"):  # a console may lack a character of a folder's name
            stream.reconfigure(errors="backslashreplace")
    try:
        main(sys.argv[1:])
        sys.exit(0)
    except Problem as problem:
        _write(sys.stderr, f"{language.translate(str(problem), sys.stderr)}\n")
        sys.exit(problem.status)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def say(sentence: str) -> None:
    """Print a line at once, in the reader's language; it may be lost, as after `| head`."""
    with tqdm.external_write_mode():  # hides a reader's own bar meanwhile
        _write(sys.stdout, f"{language.translate(sentence)}\n")


def _write(stream, text):
    """Write a text to a stream; ignore a stream that takes no text any more."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # broken, closed, or None
        stream.write(text)
        stream.flush()


def short(path: str | Path) -> str:
    """Return a path as a user would type it: relative if it is below the current folder."""
    path = Path(os.path.abspath(path))
    with contextlib.suppress(ValueError, OSError):  # it is elsewhere, or the folder is deleted
        path = path.relative_to(Path.cwd())
    return path.as_posix()


def quoted(word: str) -> str:
    """Quote a word of a command line for this system's shell."""
    return f'"{word}"' if os.name == "nt" else shlex.quote(word)


class _StandardError:
    """Standard error for a progress bar; the program continues if nothing reads it."""

    encoding = property(lambda self: getattr(sys.stderr, "encoding", None))

    def write(self, text):
        _write(sys.stderr, text)

    def flush(self):
        pass  # _write has flushed


def is_watched() -> bool:
    """Return whether a person sees standard error, and a bar can rewrite its line there."""
    if "idlelib" in sys.modules:  # IDLE calls itself a terminal, but prints each bar anew
        return False
    if _is_of_notebook(sys.stderr) or "PYCHARM_HOSTED" in os.environ:
        return True
    return sys.stderr is not None and sys.stderr.isatty()


def in_notebook() -> bool:
    """Return whether a notebook imported the program; `%run mnist.py` does not count."""
    started = getattr(sys.modules["__main__"], "__file__", None) or ""
    return _is_of_notebook(sys.stdout) and not started.endswith("mnist.py")


def _is_of_notebook(stream):
    return any(kind.__module__.startswith("ipykernel.") for kind in type(stream).__mro__)


def bar(**options: typing.Any) -> tqdm:
    """Make a progress bar on standard error, with options of tqdm; in a file, a line a minute."""
    if is_watched():
        options |= {"ncols": (shutil.get_terminal_size().columns or 80) - 1}
    else:
        options |= {"mininterval": 60, "maxinterval": 60, "ncols": 100}
    # Windows' consoles with Chinese fonts draw the finer blocks twice as wide.
    return tqdm(file=_StandardError(), ascii=True if os.name == "nt" else None, **options)


@contextlib.contextmanager
def noted_signals() -> collections.abc.Iterator[list[int]]:
    """Yield a list, and add to it the number of each signal that asks the program to stop.

    The program completes its step before it looks at the list, which stays empty in a thread.
    """
    noted: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for name in ["SIGINT", "SIGTERM", "SIGHUP"]:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            # After nohup, SIGHUP is ignored, and must stay ignored.
            if number and signal.getsignal(number) != signal.SIG_IGN:
                handlers[number] = signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
