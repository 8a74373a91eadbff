"""support/saved.py: the runs on the disk, whole and damaged; how they rank."""

import json
import os
import shutil

from helpers.saved_runs import RECORD, random_weights, save
from support import saved
from support.ranking import compare
from support.tensorflow1 import tf

SOFTMAX = random_weights(0, "softmax")


def write(folder, **record):
    """Write the record of a run that has ended, without its checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {"network": "convolutional", "learning_rate": 0.001, "epochs": 2000, "step": 2000}
    known |= {"status": "finished", "data": "MNIST", "images": 10_000, "accuracy": 0.5}
    record = saved.Record(folder.name, **known | record)
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
    "shift": [None, "8"],
    "own_names": ["3/a.png"],
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
    own = write(tmp_path / "best", accuracy=0.95, step=100)
    assert {run.record.name for run in saved.find(tmp_path)} == {"best", "whole"}
    assert compare(tmp_path / "best", own).splitlines()[1:3] == [
        "  lr=0.001,100: 95.0%, 1 run  <- this run",
        "  lr=0.001,3,softmax: 90.0%, 1 run",
    ]


def test_record_of_a_later_version(tmp_path):
    """It may say more than is known here, and need not say all."""
    content = '{"network": "softmax", "step": 4, "words": "数字", "turn": 3}'
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    assert saved.read_record(tmp_path) == saved.Record(tmp_path.name, "softmax", step=4)
    (tmp_path / "run.json").write_text(json.dumps({"network": "x" * 10**6, "data": "\ud800"}))
    assert len(saved.read_record(tmp_path).network) == 10**6


# ----------------------------------------------------------------------------------- the ranking


def test_ranking_compares_settings(tmp_path):
    """Runs of equal settings are one line. Only those count that have ended, on the same data."""

    def ranking():
        return (compare(tmp_path / "own", own) or "").splitlines()

    own = write(tmp_path / "own", accuracy=0.983)
    assert ranking() == []  # there is nothing to compare it with
    write(tmp_path / "running", status="running")
    write(tmp_path / "failed", status="failed")
    write(tmp_path / "other", data="other digits")
    write(tmp_path / "few", images=500)
    write(tmp_path / "untested", accuracy=None)
    write(tmp_path / "unknown", learning_rate=None)
    (tmp_path / "file").touch()
    assert ranking() == []
    # These differ in what does not change a result. The last one was continued.
    write(tmp_path / "again", accuracy=0.988, seed=3, data_dir="/d", started=5.0)
    write(tmp_path / "short,100", accuracy=0.9844, epochs=2000)
    assert ranking() == [
        "Test accuracy of 3 runs, by their settings, the best first:",
        "  lr=0.001,2000: 98.3 to 98.8%, 3 runs  <- this run",
    ]
    write(tmp_path / "stopped", accuracy=0.991, epochs=4000, step=3000, status="stopped")
    assert ranking()[1:] == [
        "  lr=0.001,3000: 99.1%, 1 run",
        "  lr=0.001,2000: 98.3 to 98.8%, 3 runs  <- this run",
        "One run may be lucky or unlucky: train lr=0.001,3000 again.",
    ]
    write(tmp_path / "stopped,2", accuracy=0.98804, epochs=3000, step=3000)
    assert ranking()[-1] == (
        "The ranges of lr=0.001,3000 and lr=0.001,2000 overlap: it is unclear which is better."
    )
    write(tmp_path / "stopped,2", accuracy=0.989, epochs=3000, step=3000)
    verdict = "Every run with lr=0.001,3000 was better than every run with lr=0.001,2000."
    assert ranking()[-1] == verdict
    for kernels in [32, 33, 34, 35, 16]:  # 16 is what mnist.py has, and not named
        write(tmp_path / f"kernels={kernels}", accuracy=kernels / 36, kernels=kernels)
    assert ranking() == [
        "Test accuracy of 10 runs, by their settings, the best first:",
        "  lr=0.001,3000: 98.9 to 99.1%, 2 runs",
        "  lr=0.001,2000,kernels=35: 97.2%, 1 run",
        "  lr=0.001,2000,kernels=34: 94.4%, 1 run",
        "  lr=0.001,2000,kernels=33: 91.7%, 1 run",
        "  lr=0.001,2000: 44.4 to 98.8%, 4 runs  <- this run",
        "  (and 1 more)",
        verdict,
    ]
    for name in ["edited", "the same"]:
        write(tmp_path / name, accuracy=0.981, graph="0123456789abcdef", seed=1)
    said = "\n".join(ranking())
    assert "lr=0.001,2000 (mnist.py of short,100): 44.4 to 98.8%, 4 runs  <- this run\n" in said
    assert "): 98.1%, 1 run\n" in said
    own = write(tmp_path / "own", status="running")  # as in a loop without `with run`
    assert ranking() == []
