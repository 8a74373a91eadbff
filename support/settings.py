"""The constants of mnist.py, or the flags that take their place, checked."""

import argparse
import contextlib
import math
import os
import tempfile
from pathlib import Path

from support.terminal import Problem, say

NETWORKS = ["convolutional", "softmax"]
# TensorFlow takes these for patterns: it would not find what it has saved in such a folder.
PATTERNS = "*?[" if os.name == "nt" else "*?[\\"


class Parser(argparse.ArgumentParser):
    """argparse's parser, in the manners of this project, also where a notebook calls it."""

    def error(self, message):
        """Raise Problem, with status 2: one sentence instead of the whole usage."""
        raise Problem(f"{message[0].upper()}{message[1:]}; --help lists the flags.", status=2)

    def print_help(self, file=None):
        """Say what the flags are, and raise Problem, with status 0: nothing else is to be done."""
        say(self.format_help())
        raise Problem("", status=0)


def read_settings(constants, flags=()):
    """Return the constants, or what flags say instead, as a namespace of lower-case names.

    constants: the variables of a module, {name: value}, `__file__` among them; flags: a list of
    words, such as ["--epochs", "500"]. A relative path in a constant starts from the module's
    folder, one in a flag from the current folder. Raises Problem, with status 2 for a flag, if a
    value makes no sense.
    """
    file = Path(constants["__file__"]).resolve()
    given = _read_flags(constants, flags, file.name)
    settings = {name: constants[name.upper()] for name in _RULES} | given
    for name in _FOLDERS:
        if isinstance(settings[name], (str, os.PathLike)) and str(settings[name]):
            settings[name] = as_path(settings[name], Path() if name in given else file.parent)
    for name, value in settings.items():
        meaning, holds = _RULES[name]
        if not holds(value):
            shown = str(value) if isinstance(value, Path) else value
            sentence = f"must be {meaning}, not {shown!r}"
            if name in given:
                raise Problem(f"--{name} {sentence}; --help lists the flags.", status=2)
            raise Problem(f"{name.upper()} at the top of {file.name} {sentence}.")
    return argparse.Namespace(**settings)


def as_path(folder, start):
    """Return the path of a folder: `~` is the user's own, and what is relative lies in start."""
    return Path(start) / os.path.expanduser(folder)


def _read_flags(constants, flags, program):
    """Return the settings that the flags name, {name: value}."""
    parser = Parser(
        prog=program,
        description=f"Each flag replaces the constant of the same name at the top of {program}.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for name, (meaning, _) in _RULES.items():
        if name != "points":
            parser.add_argument(
                f"--{name}",
                metavar="VALUE",
                type=str if name in _FOLDERS else _number,
                help=f"{meaning}; {constants[name.upper()]!r} if left out".replace("%", "%%"),
            )
    return vars(parser.parse_args([str(flag) for flag in flags]))


def _number(text):
    """Return the number or None that a flag's text spells, or the text itself."""
    for kind in [int, float]:
        with contextlib.suppress(ValueError):
            return kind(text)
    return None if text == "None" else text


def _is_whole(value, lowest=1, highest=math.inf):
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _is_rate(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e38


def _is_folder_or_free(path):
    # The system knows no names with a NUL in them, and says that they are free.
    named = isinstance(path, Path) and "\0" not in str(path)
    return named and (path.is_dir() or not os.path.lexists(path))


def _is_writable(path):
    try:
        if set(PATTERNS) & set(path.as_posix()):
            return False
        str(path).encode()  # TensorFlow knows no names that are not text
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
        return True
    except (OSError, AttributeError, ValueError):
        return False


_FOLDERS = ["data_dir", "logdir"]
# What each setting must be, in words, and the test of it.
_RULES = {
    "learning_rate": ("a number above 0 and below 1e38, such as 0.0001", _is_rate),
    "epochs": ("a whole number of steps, 1 or more", _is_whole),
    "network": ("'convolutional' or 'softmax'", lambda value: value in NETWORKS),
    "batch_size": ("a whole number of images, 1 or more", _is_whole),
    "seed": (
        "None or a whole number from 0 to 4294967295",
        lambda value: value is None or _is_whole(value, 0, 2**32 - 1),
    ),
    "data_dir": ("a folder", _is_folder_or_free),
    "logdir": (
        f"a folder that can be written to, whose path is text without {' '.join(PATTERNS)}",
        _is_writable,
    ),
    "points": ("a whole number of points, 1 or more", _is_whole),
    "kernels": (
        "a whole number of kernels, 1 to 10000",
        lambda value: _is_whole(value, 1, 10_000),
    ),
    "neurons": (
        "a whole number of neurons, 1 to 1000000",
        lambda value: _is_whole(value, 1, 1_000_000),
    ),
}
