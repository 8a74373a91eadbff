"""Read and check the constants of mnist.py, or the flags that replace them."""

import argparse
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from support.terminal import Problem

KINDS = ["convolutional", "softmax"]  # of networks
# TensorFlow reads these as patterns: it cannot find what it has saved in such a folder.
PATTERNS = "* ? [" if os.name == "nt" else "* ? [ \\"


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise Problem, with status 2."""
        raise Problem(f"{message[0].upper()}{message[1:]}; --help lists the flags.", status=2)


def read_settings(constants: dict[str, Any], flags: Sequence[str] = ()) -> argparse.Namespace:
    """Return the constants, or the flags that replace them, under their names in lower case.

    constants: the variables of a module; flags: words of a command line. A relative path in a
    constant starts from the module's folder; one in a flag, from the current folder. Raises Problem
    if a value makes no sense, with status 2 for a flag.
    """
    file = Path(constants["__file__"]).resolve()
    given = vars(_parser(constants, file.name).parse_args([str(flag) for flag in flags]))
    settings = {}
    for name, (shipped, meaning, read) in _RULES.items():
        constant = name.upper()
        if name not in given and constant not in constants:
            advice = f"write {constant} = {shipped!r} at its top."
            raise Problem(f"{file.name} has no constant {constant}: {advice}")
        value, start = (given[name], "") if name in given else (constants[constant], file.parent)
        try:
            is_folder = name in ("data_dir", "logdir")
            settings[name] = read(value, start) if is_folder else read(value)
        except (ValueError, TypeError, OverflowError, OSError):
            sentence = f"must be {meaning}, not {value!r}"
            if name in given:
                raise Problem(f"--{name} {sentence}; --help lists the flags.", status=2) from None
            raise Problem(f"{constant} at the top of {file.name} {sentence}.") from None
    return argparse.Namespace(**settings)


def _parser(constants, program):
    parser = Parser(
        prog=program,
        description=f"Each flag replaces the constant of the same name at the top of {program}.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for name, (shipped, meaning, _) in _RULES.items():
        if name != "points":
            default = constants.get(name.upper(), shipped)
            words = f"{meaning}; {default!r} if left out".replace("%", "%%")
            parser.add_argument(f"--{name}", metavar="VALUE", help=words)
    return parser


def _whole(value, lowest=1, highest=math.inf):
    """Return an int; the value may be 2e3, "2000", or a NumPy number."""
    if isinstance(value, bool) or float(value) != int(float(value)):
        raise ValueError
    whole = int(float(value)) if isinstance(value, str) and not value.isdecimal() else int(value)
    if not lowest <= whole <= highest:
        raise ValueError
    return whole


def _rate(value):
    rate = float(value)
    if isinstance(value, bool) or not 0 < rate < 1e38:  # 1e38 is near the largest float32
        raise ValueError
    return rate


def _kind(value):
    return KINDS[KINDS.index(str(value).strip().lower())]


def _seed(value):
    return None if value in (None, "None") else _whole(value, 0, 2**32 - 1)


def _folder(value, start):
    """Return a path: `~` is the home folder, and a relative path starts from `start`."""
    path = Path(start) / os.path.expanduser(value)
    if not str(value) or "\0" in str(value) or (path.exists() and not path.is_dir()):
        raise ValueError
    return path


def _logdir(value, start):
    path = _folder(value, start)
    if any(pattern in os.path.abspath(path) for pattern in PATTERNS.split()):
        raise ValueError
    str(path).encode()  # TensorFlow takes only names that can be encoded
    return path


# For each setting: its shipped value, what it must be in words, and the function that reads it, or
# raises an error that read_settings expects.
_RULES: dict[str, tuple[Any, str, Callable]] = {
    "learning_rate": (0.0001, "a number above 0 and below 1e38", _rate),
    "epochs": (2000, "a whole number of steps, 1 or more", _whole),
    "network": ("convolutional", "'convolutional' or 'softmax'", _kind),
    "batch_size": (100, "a whole number of images, 1 or more", _whole),
    "seed": (None, "None or a whole number from 0 to 4294967295", _seed),
    "data_dir": ("MNIST_data/", "a folder", _folder),
    "logdir": ("mnist_example/", f"a folder whose path is text without {PATTERNS}", _logdir),
    "points": (200, "a whole number of points, 1 or more", _whole),
    "kernels": (16, "a whole number of kernels, 1 to 10000", partial(_whole, highest=10**4)),
    "neurons": (1024, "a whole number of neurons, 1 to 1000000", partial(_whole, highest=10**6)),
}
SHIPPED = {name: shipped for name, (shipped, _, _) in _RULES.items()}
