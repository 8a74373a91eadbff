"""Name runs by their settings, and compare these."""

import collections
import statistics
from pathlib import Path

from support import saved
from support.saved import Record
from support.settings import SHIPPED


def settings_of(record: Record, steps: int) -> str:
    """Name the settings that change a result: what differs from SHIPPED follows the steps."""
    name = f"lr={record.learning_rate:g},{steps}"
    if record.network != SHIPPED["network"]:
        name += f",{record.network}"
    for setting in ["batch_size", "kernels", "neurons", "shift", "own_digits"]:
        if getattr(record, setting) not in (None, SHIPPED[setting]):
            name += f",{setting}={getattr(record, setting)}"
    return name + kind_of(record.data)


def kind_of(data: str | None) -> str:
    """Return how the names of folders end for a data set; data: its name."""
    if data == "MNIST":
        return ""
    return ",generated-digits" if str(data).startswith("generated") else ",other-digits"


def compare(folder: Path, this_run: Record) -> str | None:
    """Compare the settings of a run with those of the runs beside it; None if there are none.

    Runs of equal settings share a line. There are five lines at most: the best, and the run's own.
    A sentence compares these two. Only runs count that have ended, on the same test digits.
    """
    records = [record for path in folder.parent.iterdir() if (record := saved.read_record(path))]
    records = [record for record in records if _is_comparable(record, this_run)]
    # {settings: {graph: folder of its first run}}
    networks: dict[str, dict] = collections.defaultdict(dict)
    for record in sorted(records, key=lambda record: record.started):
        networks[settings_of(record, record.step)].setdefault(record.graph, record.name)

    def name_of(record):
        name = settings_of(record, record.step)
        folders = networks[name]  # more than one if the layers in mnist.py were edited
        return f"{name} (mnist.py of {folders[record.graph]})" if len(folders) > 1 else name

    groups: dict[str, dict] = collections.defaultdict(dict)
    for record in records:
        # A seed gives the same run again. Accuracies are compared as they are shown.
        key = record.name if record.seed is None else record.seed
        groups[name_of(record)][key] = round(record.accuracy or 0.0, 3)
    if len(records) < 2 or this_run not in records:
        return None
    this = name_of(this_run)
    results = {name: list(group.values()) for name, group in groups.items()}
    names = sorted(results, key=lambda name: (-statistics.fmean(results[name]), name))
    lines = [f"Test accuracy of {len(records)} runs, by their settings, the best first:"]
    for name in names[:5] if this in names[:5] else [*names[:4], this]:
        low, high, number = min(results[name]), max(results[name]), len(results[name])
        spread = f"{high:.1%}" if low == high else f"{100 * low:.1f} to {high:.1%}"
        mark = "  <- this run" if name == this else ""
        lines.append(f"  {name}: {spread}, {number} run{'s' if number > 1 else ''}{mark}")
    if len(names) > 5:
        lines.append(f"  (and {len(names) - 5} more)")
    if len(names) > 1:
        better, worse = (this, names[1]) if this == names[0] else (names[0], this)
        single = [name for name in (better, worse) if len(results[name]) == 1]
        if single:
            verdict = f"One run may be lucky or unlucky: train {' and '.join(single)} again."
        elif min(results[better]) > max(results[worse]):
            verdict = f"Every run with {better} was better than every run with {worse}."
        else:
            verdict = f"The ranges of {better} and {worse} overlap: it is unclear which is better."
        lines.append(verdict)
    return "\n".join(lines)


def _is_comparable(record, other):
    """Return whether a run has ended and was tested on the same digits as another."""
    is_complete = record.status in saved.ENDED and record.learning_rate is not None
    same_test = (record.data, record.images) == (other.data, other.images)
    return is_complete and same_test and record.accuracy is not None
