"""Runs on the disk: the record of each, which of them can be loaded, and how they rank."""

import argparse
import contextlib
import dataclasses
import json
import os
import re
import time
import typing
from pathlib import Path

RECORD = "run.json"


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
    seed: int | None = None
    data: str | None = None  # the name of the data set, see input_data.DataSet
    data_dir: str | None = None  # an absolute path
    started: float = 0.0  # in seconds since 1970
    status: str | None = None  # "running", "finished", "stopped" or "failed"
    step: int = 0
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
    """A run that can be loaded."""

    folder: Path
    checkpoint: str  # the path of the newest, for tf.train.Saver.restore
    record: Record  # its step is that of the checkpoint


def new_record(settings: argparse.Namespace, name: str, data: str) -> Record:
    """Return the record of a run that starts now; data: the name of its data set."""
    known = {field.name for field in _FIELDS}
    record = Record(name, **{key: vars(settings)[key] for key in known & vars(settings).keys()})
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
    if float in kinds and isinstance(value, int | float):
        return -1e300 < value < 1e300 and not isinstance(value, bool)  # NaN is outside
    return isinstance(value, kinds) and not isinstance(value, bool)


def find(logdir: str | Path) -> list[SavedRun]:
    """List the runs below a folder that have a record and a checkpoint, the newest first."""
    runs = []
    for place, _, names in os.walk(logdir):  # skips a folder that is deleted meanwhile
        folder = Path(place)
        found = [re.fullmatch(r"model\.ckpt-(\d+)\.index", name) for name in names]
        steps = [int(match[1]) for match in found if match]
        if steps and (record := read_record(folder)):
            record.name, record.step = folder.relative_to(logdir).as_posix(), max(steps)
            runs.append(SavedRun(folder, str(folder / f"model.ckpt-{record.step}"), record))
    return sorted(runs, key=lambda run: run.record.started, reverse=True)


def ranking(folder: Path, own: Record) -> str | None:
    """Return at most six lines that rank a run among others beside it, or None if there is none.

    Only runs that have ended and were tested on the same digits count.
    """
    ended = []
    for path in folder.parent.iterdir():
        record = read_record(path)
        if record and record.status in ("finished", "stopped") and record.accuracy is not None:
            if (record.data, record.images) == (own.data, own.images):
                ended.append((-record.accuracy, path != folder, path.name))
    ended.sort()
    names = [name for *_, name in ended]
    if len(names) < 2 or folder.name not in names:  # without `with run`, a run has no end
        return None
    lines = [f"{n:3}. {-run[0]:7.2%}  {run[2]}" for n, run in enumerate(ended, 1)]
    mine = names.index(folder.name)
    lines[mine] += "  <- this run"
    shown = lines[:5] if mine < 5 else [*lines[:4], lines[mine]]
    return "\n".join([f"Of {len(ended)} runs on this data, the best on the test digits:", *shown])
