"""support/saved.py: the runs on the disk, whole and damaged; how they rank."""

import json
import os
import shutil

from helpers.saved_runs import RECORD, random_weights, save
from support import saved
from support.tensorflow1 import tf

SOFTMAX = random_weights(0, "softmax")


def write(folder, **record):
    """Write the record of a run that has ended, without its checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {"network": "softmax", "status": "finished", "data": "MNIST", "images": 10_000}
    record = saved.Record(folder.name, **known | {"accuracy": 0.5} | record)
    record.write(folder)
    return record


# ----------------------------------------------------------------------------------------- a list


def test_find(tmp_path):
    """The run that started last comes first, with its record and its newest checkpoint."""
    first = {"started": 5.0, "seed": 7, "accuracy": 0.75, "data_dir": "/d", "status": "stopped"}
    save(tmp_path / "runs" / "first", 15, SOFTMAX, **first)
    save(tmp_path / "second", 3, random_weights(1, kernels=3, neurons=8), started=6.0)
    for suffix in ["index", "data-00000-of-00001"]:  # the next checkpoint, as it comes
        name = tmp_path / "second" / "model.ckpt-"
        shutil.copy(f"{name}3.{suffix}", f"{name}10.{suffix}")
    (tmp_path / "second" / "model.ckpt-x.index").touch()
    write(tmp_path / "begun")  # it has no checkpoint yet
    save(tmp_path / "no record", 3, SOFTMAX)
    (tmp_path / "no record" / "run.json").unlink()
    second, found = saved.find(tmp_path)
    facts = {"name": "runs/first", "network": "softmax", "step": 15}
    assert found.record == saved.Record(**RECORD | first | facts)
    assert found.folder == tmp_path / "runs" / "first"
    assert found.checkpoint == str(found.folder / "model.ckpt-15")
    assert (second.record.name, second.record.step) == ("second", 10)
    assert second.checkpoint == str(tmp_path / "second" / "model.ckpt-10")
    shapes = dict(tf.train.list_variables(second.checkpoint))
    assert shapes["fc2/Weights"] == [8, 10]
    assert saved.find(str(tmp_path / "nothing")) == []


# ---------------------------------------------------------------------------------------- damage

WRONG = {  # values that a record's fields cannot have
    "accuracy": ["0.9", [], {}, True, float("nan"), float("inf"), 10**400],
    "started": [None, "now", -float("inf"), 10**400, [1]],
    "step": [None, 1.5],
    "images": ["all", 0.5],
    "network": [None, 3, ["softmax"]],
    "data": [3, [], {}],
    "data_dir": [3, ["a"], {}, 1.5, True],
    "kernels": ["16", [1]],
    "seed": [0.5],
    "status": [1],
}
CONTENTS = [b"", b'{"network": "soft', b"[]", b"3", b"null", b"{}", b"\xff\x00"]
CONTENTS += ['{"network": "softmax"}'.encode("utf-16")]
CONTENTS += [b'{"network": "softmax", "epochs": %s}' % (b"9" * 5000)]
CONTENTS += [b"[" * 200_000, b'{"network": ' + b"[" * 5000 + b"]" * 5000 + b"}"]


def test_damaged_records_harm_nothing(tmp_path):
    """Such a run is left out, and no other is harmed."""
    for name in ["best", "whole"]:
        save(tmp_path / name, 3, SOFTMAX)
    whole = json.loads((tmp_path / "whole" / "run.json").read_text())
    wrong = [{name: value} for name, values in WRONG.items() for value in values]
    contents = [json.dumps(whole | values).encode() for values in wrong] + CONTENTS
    makers = [lambda path, content=content: path.write_bytes(content) for content in contents]
    makers += [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path)]
    for number, make in enumerate(makers):
        folder = tmp_path / f"damaged {number}"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "run.json").unlink()
        make(folder / "run.json")
    own = write(tmp_path / "best", accuracy=0.95)
    assert {run.record.name for run in saved.find(tmp_path)} == {"best", "whole"}
    first, *others = saved.ranking(tmp_path / "best", own).splitlines()
    assert first.startswith("Of 2 runs")
    assert [line.split()[2] for line in others] == ["best", "whole"]


def test_record_of_a_later_version(tmp_path):
    """It may say more than is known here, and need not say all."""
    content = '{"network": "softmax", "step": 4, "words": "数字", "shift": 3}'
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    assert saved.read_record(tmp_path) == saved.Record(tmp_path.name, "softmax", step=4)
    (tmp_path / "run.json").write_text(json.dumps({"network": "x" * 10**6, "data": "\ud800"}))
    assert len(saved.read_record(tmp_path).network) == 10**6


# ----------------------------------------------------------------------------------- the ranking


def test_ranking(tmp_path):
    """It has six lines at most. Only runs count that have ended, on the same data."""
    own = write(tmp_path / "50")
    assert saved.ranking(tmp_path / "50", own) is None  # nothing to compare it with
    write(tmp_path / "running", status="running")
    write(tmp_path / "failed", status="failed")
    write(tmp_path / "other", data="other digits")
    write(tmp_path / "few", images=500)
    write(tmp_path / "untested", accuracy=None)
    (tmp_path / "file").touch()
    assert saved.ranking(tmp_path / "50", own) is None
    write(tmp_path / "60", accuracy=0.6, status="stopped")
    write(tmp_path / "equal")
    assert saved.ranking(tmp_path / "50", own).splitlines() == [
        "Of 3 runs on this data, the best on the test digits:",
        "  1.  60.00%  60",
        "  2.  50.00%  50  <- this run",
        "  3.  50.00%  equal",
    ]
    for percent in [70, 80, 90, 100]:
        write(tmp_path / str(percent), accuracy=percent / 100)
    assert saved.ranking(tmp_path / "50", own).splitlines() == [
        "Of 7 runs on this data, the best on the test digits:",
        "  1. 100.00%  100",
        "  2.  90.00%  90",
        "  3.  80.00%  80",
        "  4.  70.00%  70",
        "  6.  50.00%  50  <- this run",
    ]
    running = write(tmp_path / "50", status="running")  # as in a loop without `with run`
    assert saved.ranking(tmp_path / "50", running) is None
