"""Runs on the disk: what is known of each, which of them can be loaded, and how they rank."""

import contextlib
import dataclasses
import fnmatch
import json
import os
import typing
from pathlib import Path

from support.tensorflow1 import tf

RECORD = "run.json"


@dataclasses.dataclass
class Record:
    """What is known of a run. Its folder keeps this in run.json; None stands for what is not known.

    From `network` to `data_dir` it lists the settings, see settings.read_settings. `kernels` and
    `neurons` are None for softmax regression, which has neither.
    """

    name: str  # the path of its folder below the log folder
    network: str  # "convolutional" or "softmax"
    learning_rate: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    kernels: int | None = None
    neurons: int | None = None
    seed: int | None = None
    data: str | None = None  # the name of the data set, see input_data.DataSet
    data_dir: str | None = None  # an absolute path
    started: float = 0.0  # in seconds since 1970
    status: str | None = None  # "running", "finished", "stopped" or "failed"
    step: int = 0
    accuracy: float | None = None  # on the test digits, from 0 to 1
    loss: float | None = None  # on the test digits
    images: int | None = None  # how many test digits these two are from

    def write(self, folder: Path) -> None:
        """Write the record whole or not at all, even if the program is killed meanwhile."""
        part = folder / f"{RECORD}.part"
        part.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")
        with contextlib.suppress(PermissionError):  # on Windows, while somebody reads the old one
            part.replace(folder / RECORD)


@dataclasses.dataclass
class SavedRun:
    """A run that can be loaded: its folder, its newest checkpoint, and its record.

    `checkpoint` is a path as tf.train.Saver.restore takes it. The step of the record is that of
    the checkpoint.
    """

    folder: Path
    checkpoint: str
    record: Record


def read_record(folder: Path) -> Record | None:
    """Return the record in a run's folder, or None if there is none that makes sense."""
    path = folder / RECORD
    try:
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        values = {"name": folder.name} | values
        fields = {field.name: values.get(field.name, field.default) for field in _FIELDS}
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    if all(_fits(fields[field.name], field.type) for field in _FIELDS):
        return Record(**fields)
    return None


_FIELDS = dataclasses.fields(Record)


def _fits(value, kind):
    """Tell whether a value of a record is of the type that its field declares."""
    kinds = typing.get_args(kind) or (kind,)
    if float in kinds and isinstance(value, int | float):
        return -1e300 < value < 1e300 and not isinstance(value, bool)  # NaN is not, either
    return isinstance(value, kinds) and not isinstance(value, bool)


def find(logdir: str | Path) -> list[SavedRun]:
    """List the runs below a folder that have a checkpoint; the one that started last comes first.

    A run without a readable record is listed with what its checkpoint tells.
    """
    logdir, newest = Path(logdir), {}
    for folder, _, names in os.walk(logdir):  # skips a folder that is deleted meanwhile
        for name in fnmatch.filter(names, "model.ckpt-*.index"):
            step = name.removeprefix("model.ckpt-").removesuffix(".index")
            if step.isdecimal():
                newest[folder] = max(newest.get(folder, 0), int(step))
    runs = []
    for folder, step in newest.items():
        folder = Path(folder)
        checkpoint = str(folder / f"model.ckpt-{step}")
        record = read_record(folder) or _record_of_checkpoint(checkpoint)
        if record:
            record.name, record.step = folder.relative_to(logdir).as_posix(), step
            runs.append(SavedRun(folder, checkpoint, record))
    return sorted(runs, key=lambda run: run.record.started, reverse=True)


def _record_of_checkpoint(checkpoint):
    """Return what the shapes of a checkpoint's variables tell of its run, or None."""
    try:
        started = os.path.getmtime(f"{checkpoint}.index")
        shapes = dict(tf.train.list_variables(checkpoint))
        if "fc/Weights" in shapes and "conv/Weights" not in shapes:
            return Record("", "softmax", started=started)
        kernels, neurons = shapes["conv/Weights"][3], shapes["fc1/Weights"][1]
        return Record("", "convolutional", kernels=kernels, neurons=neurons, started=started)
    except (OSError, LookupError, ValueError, RuntimeError, tf.errors.OpError):
        return None  # damaged, deleted meanwhile, or of another network


def ranking(folder: Path, own: Record) -> str | None:
    """Say in at most six lines how a run stands among those in the same log folder.

    Only runs that have ended count, and that were tested on the same data, and as much of it.
    Returns None if there is no other.
    """
    ended = []
    for path in folder.parent.iterdir():
        record = read_record(path)
        if record and record.status in ("finished", "stopped") and record.accuracy is not None:
            if (record.data, record.images) == (own.data, own.images):
                ended.append((record.accuracy, path))
    if len(ended) < 2:
        return None
    ended.sort(key=lambda run: (-run[0], run[1] != folder))
    lines = [f"{place:3}. {run[0]:7.2%}  {run[1].name}" for place, run in enumerate(ended, 1)]
    mine = [path for _, path in ended].index(folder)
    lines[mine] += "  <- this run"
    shown = lines[:5] if mine < 5 else [*lines[:4], lines[mine]]
    return "\n".join([f"Of {len(ended)} runs on this data, the best on the test digits:", *shown])
