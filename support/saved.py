"""Runs on the disk: the record of each, and which can be loaded."""

import argparse
import contextlib
import dataclasses
import json
import os
import re
import time
import typing
from collections.abc import Iterable
from pathlib import Path

RECORD = "run.json"
GRAPH = "model.meta"  # see support/checkpoints.py
ENDED = ["finished", "stopped"]


@dataclasses.dataclass
class Record:
    """The record of a run, kept in its folder as run.json; None means that a value is unknown."""

    name: str  # the path of its folder below the log folder
    network: str  # "convolutional" or "softmax"
    learning_rate: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    kernels: int | None = None  # None for softmax regression
    neurons: int | None = None  # None for softmax regression
    shift: int = 0
    own_digits: int = 0
    own_names: list | None = None  # the own digits that it learned from, see own_digits.load
    seed: int | None = None  # SEED, or the number that was drawn in its place
    repeatable: bool = False  # whether SEED was a number
    precision: str = "float32"  # or "bfloat16": how it is trained and tested
    graph: str | None = None  # equal for equal networks, see checkpoints.fingerprint
    data: str | None = None  # the name of the data set, see input_data.DataSet
    data_dir: str | None = None  # an absolute path
    started: float = 0.0  # in seconds since 1970
    status: str | None = None  # "running", "finished", "stopped" or "failed"
    step: int = 0
    resumable: int = 0  # the step of the last checkpoint from which it can continue
    accuracy: float | None = None  # on the test digits, from 0 to 1
    loss: float | None = None  # on the test digits
    images: int | None = None  # how many test digits gave these two

    def write(self, folder: Path) -> None:
        """Write the whole record or nothing, even if the program is killed meanwhile."""
        part = folder / f"{RECORD}.part"
        part.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")
        with contextlib.suppress(PermissionError):  # on Windows, while a program reads the old one
            part.replace(folder / RECORD)


_FIELDS = dataclasses.fields(Record)


@dataclasses.dataclass
class SavedRun:
    """A run that has a checkpoint."""

    folder: Path
    checkpoint: str  # the path of the newest, for tf.train.Saver.restore
    record: Record  # its step is that of the checkpoint
    has_graph: bool  # earlier versions saved none: their runs cannot be loaded


def new_record(settings: argparse.Namespace, data: str) -> Record:
    """Return the record of a run that starts now, without its name; data: that of its data set."""
    known = {field.name for field in _FIELDS}
    record = Record("", **{key: vars(settings)[key] for key in known & vars(settings).keys()})
    record.data, record.data_dir = data, os.path.abspath(settings.data_dir)
    record.started, record.status = time.time(), "running"
    if settings.network == "softmax":
        record.kernels = record.neurons = None
    return record


def read_record(folder: Path) -> Record | None:
    """Return the record in a run's folder, or None if there is no valid one."""
    path = folder / RECORD
    try:
        content = path.read_text(encoding="utf-8") if path.is_file() else ""  # a pipe would block
        values = {"name": folder.name} | json.loads(content)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    fields = {field.name: values.get(field.name, field.default) for field in _FIELDS}
    valid = all(_fits(fields[field.name], field.type) for field in _FIELDS)
    return Record(**fields) if valid else None


def _fits(value, kind):
    """Return whether a value of a record has the type that its field declares."""
    kinds = typing.get_args(kind) or (kind,)
    if isinstance(value, bool):  # Python counts it as an int
        return bool in kinds
    if float in kinds and isinstance(value, int | float):
        return -1e300 < value < 1e300  # NaN is outside
    return isinstance(value, kinds)


def find(logdir: str | Path) -> list[SavedRun]:
    """List the runs below a folder that have a record and a checkpoint, the newest first."""
    runs = []
    for place, folders, names in os.walk(logdir):  # skips a folder that is deleted meanwhile
        folder = Path(place)
        step = newest_step(names)
        if step is not None and (record := read_record(folder)):
            folders.clear()  # there is no run in a run's train/ and test/
            record.name, record.step = folder.relative_to(logdir).as_posix(), step
            checkpoint = str(folder / f"model.ckpt-{record.step}")
            runs.append(SavedRun(folder, checkpoint, record, GRAPH in names))
    return sorted(runs, key=lambda run: run.record.started, reverse=True)


def newest_step(names: Iterable[str]) -> int | None:
    """Return the step of the newest checkpoint among the files of a run; None if there is none."""
    found = [re.fullmatch(r"model\.ckpt-(\d+)\.index", name) for name in names]
    return max([int(match[1]) for match in found if match], default=None)
