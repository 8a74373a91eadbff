"""Read and check the constants of mnist.py, or the flags that replace them."""

import argparse
import math
import os
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from support import language, saved, terminal
from support.terminal import Problem

KINDS = ["convolutional", "softmax"]  # of networks
# TensorFlow reads these as patterns: it cannot find what it has saved in such a folder.
PATTERNS = "* ? [" if os.name == "nt" else "* ? [ \\"


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one sentence; its help is in the reader's language."""

    def format_help(self) -> str:
        """Return the help; its parts are translated before they are broken into lines."""
        self.description = language.translate(self.description or "")
        for action in self._actions:
            action.help = language.translate(action.help or "")
        return language.translate(super().format_help())

    def error(self, message: str) -> NoReturn:
        """Raise Problem, with status 2."""
        raise Problem(f"{message[0].upper()}{message[1:]}; --help lists the flags.", status=2)


def read_settings(constants: dict[str, Any], flags: Sequence[str] = ()) -> argparse.Namespace:
    """Return the constants, or the flags that replace them, under their names in lower case.

    constants: the variables of a module; flags: words of a command line. A relative path in a
    constant starts from the module's folder; one in a flag, from the current folder. The result
    also has `repeatable`, whether SEED is a number; `program`, the module's file; `continue_run`,
    the SavedRun to continue, whose settings are used, or None; and `data`, the name of its data.
    Raises Problem if a value makes no sense, with status 2 for a flag.
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
            raise _problem(name, meaning, value, file, given) from None
    name = settings.pop("continue")
    result = argparse.Namespace(**settings, program=file, continue_run=None, data=None)
    result.repeatable = result.seed is not None
    if result.seed is None:
        result.seed = secrets.randbits(32)
    if name is not None:
        _continue(name, result, file, given)
    if result.own_digits > result.batch_size:
        meaning = f"{result.batch_size} (BATCH_SIZE) or less"
        raise _problem("own_digits", meaning, result.own_digits, file, given)
    return result


def _problem(name, meaning, value, file, given):
    """Return the Problem that a constant, or a flag in its place, has a wrong value."""
    sentence = f"must be {meaning}, not {value!r}"
    if name in given:
        return Problem(f"--{name} {sentence}; --help lists the flags.", status=2)
    return Problem(f"{name.upper()} at the top of {file.name} {sentence}.")


def _continue(name, settings, file, given):
    """Replace settings by those of the run to continue; say which ones are not used."""
    logdir = terminal.short(settings.logdir)
    found = saved.find(settings.logdir)
    if name == "newest":  # the newest of this NETWORK, if any: draw.py may have trained softmax
        found.sort(key=lambda run: run.record.network != settings.network)
    else:
        found = [run for run in found if name in (run.record.name, terminal.short(run.folder))]
    if not found:
        meaning = f"'newest' or the name of a saved run in {logdir}"
        raise _problem("continue", meaning, name, file, given)
    run, record = found[0], found[0].record
    if not run.has_graph:
        reason = "an earlier version of mnist.py trained it, and did not save its graph"
        raise Problem(f"{record.name} cannot continue: {reason}. Train it again.")
    unused = []
    model = ["learning_rate", "network", "batch_size", "kernels", "neurons"]
    for setting in [*model, "shift", "own_digits", "seed"]:
        value, recorded = vars(settings)[setting], getattr(record, setting)
        if recorded is None:  # softmax regression has no kernels
            continue
        if value != recorded and (setting != "seed" or settings.repeatable):
            if setting in given:
                meaning = f"{recorded}, as in the run to continue, or left out"
                raise _problem(setting, meaning, value, file, given)
            unused.append(f"{setting.upper()} = {recorded!r} (not {value!r})")
        setattr(settings, setting, recorded)
    if unused:
        terminal.say(f"{record.name} continues with its own {', '.join(unused)}.")
    # A run that was killed at its last step is still to be tested.
    is_complete = record.status in saved.ENDED and settings.epochs == record.step
    if settings.epochs < record.step or is_complete:
        meaning = f"more than {record.step}, the step that {record.name} has reached"
        raise _problem("epochs", meaning, settings.epochs, file, given)
    settings.continue_run, settings.repeatable, settings.data = run, record.repeatable, record.data
    if "data_dir" not in given and record.data_dir and os.path.isdir(record.data_dir):
        settings.data_dir = Path(record.data_dir)


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


def _run(value):
    return None if value in (None, "None") else str(value).rstrip("/\\")


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
    "network": (
        "convolutional",
        "'convolutional' or 'softmax' (KINDS in support/settings.py)",
        _kind,
    ),
    "batch_size": (100, "a whole number of images, 1 or more", _whole),
    "seed": (None, "None or a whole number from 0 to 4294967295", _seed),
    "data_dir": ("MNIST_data/", "a folder", _folder),
    "logdir": ("mnist_example/", f"a folder whose path is text without {PATTERNS}", _logdir),
    "points": (200, "a whole number of points, 1 or more", _whole),
    "kernels": (16, "a whole number of kernels, 1 to 10000", partial(_whole, highest=10**4)),
    "neurons": (1024, "a whole number of neurons, 1 to 1000000", partial(_whole, highest=10**6)),
    "shift": (0, "a whole number of pixels, 0 to 14", partial(_whole, lowest=0, highest=14)),
    "own_digits": (0, "a whole number of images, 0 to BATCH_SIZE", partial(_whole, lowest=0)),
    "continue": (None, "None, 'newest' or the name of a run", _run),
}
SHIPPED = {name: shipped for name, (shipped, _, _) in _RULES.items()}
