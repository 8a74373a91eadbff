"""The constants of mnist.py, or the flags that take their place, checked."""

import argparse
import ast
import math
import os
import tempfile
from pathlib import Path

from support.terminal import Problem

NETWORKS = ["convolutional", "softmax"]


class Parser(argparse.ArgumentParser):
    """argparse's parser, but one sentence instead of the whole usage when a flag is wrong."""

    def error(self, message):
        """Raise Problem, with status 2."""
        raise Problem(f"{message[0].upper()}{message[1:]}; --help lists the flags.", status=2)


def read_settings(constants, flags=()):
    """Return the constants, or what flags say instead, as a namespace of lower-case names.

    constants: the variables of a module, {name: value}, `__file__` among them; flags: a list of
    words, such as ["--epochs", "500"]. A relative path in a constant starts from the module's
    folder, one in a flag from the current folder. Raises Problem, with status 2 for a flag, if a
    value makes no sense.
    """
    file = Path(constants["__file__"]).resolve()
    parser = Parser(
        prog=file.name,
        description=f"Each flag replaces the constant of the same name at the top of {file.name}.",
        allow_abbrev=False,
    )
    for name, (meaning, _) in _RULES.items():
        if name != "points":
            standard = f"{meaning}; {constants[name.upper()]!r} if left out"
            parser.add_argument(
                f"--{name}",
                type=_literal,
                default=argparse.SUPPRESS,
                metavar="VALUE",
                help=standard,
            )
    given = vars(parser.parse_args([str(flag) for flag in flags]))
    settings = {name: constants[name.upper()] for name in _RULES} | given
    for name in ["data_dir", "logdir"]:
        if isinstance(settings[name], (str, os.PathLike)) and str(settings[name]):
            start = Path() if name in given else file.parent
            settings[name] = start / Path(settings[name]).expanduser()
    for name, value in settings.items():
        meaning, holds = _RULES[name]
        if not holds(value):
            shown = str(value) if isinstance(value, Path) else value
            sentence = f"must be {meaning}, not {shown!r}."
            if name in given:
                raise Problem(f"--{name} {sentence[:-1]}; --help lists the flags.", status=2)
            raise Problem(f"{name.upper()} at the top of {file.name} {sentence}")
    return argparse.Namespace(**settings)


def _literal(text):
    """Return the number or None that a flag's text spells, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _is_whole(value, lowest=1, highest=math.inf):
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _is_rate(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e38


def _is_folder_or_free(path):
    return isinstance(path, Path) and (path.is_dir() or not os.path.lexists(path))


def _is_writable(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
        return True
    except (OSError, AttributeError, ValueError):
        return False


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
    "logdir": ("a folder that can be written to", _is_writable),
    "points": ("a whole number of points, 1 or more", _is_whole),
    "kernels": ("a whole number of kernels, 1 or more", _is_whole),
    "neurons": ("a whole number of neurons, 1 or more", _is_whole),
}
