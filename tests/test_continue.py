"""Runs that continue: killed or ended, they learn what an unbroken run learns, to the last bit."""

import dataclasses
import functools
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import mnist
from helpers import curve, forked, scalars, serve_tensorboard, variables, wait_for
from helpers.small_mnist import small_set, write
from page.networks import TrainedRuns
from support import own_digits, saved
from support.tensorflow1 import tf

NAME = "lr=0.001,{},kernels=4,neurons=16,other-digits"
SIZES = ["--learning_rate", 0.001, "--kernels", 4, "--neurons", 16, "--seed", 5]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write(folder, small_set(600, 1000))
    return folder


@pytest.fixture
def train(data_dir, tmp_path):
    """Run mnist.py in tmp_path / "runs" to its end; return its exit status and what it printed."""

    def train(*flags, first=SIZES, changes=()):
        (tmp_path / "said").unlink(missing_ok=True)
        folders = ["--logdir", tmp_path / "runs"]
        first = [*first, "--data_dir", data_dir] if first else []
        return forked.run([*folders, *first, *flags], tmp_path / "said", changes)

    return train


def check_same(folder, expected):
    """Their newest checkpoints are the same, with Adam's averages."""
    newest = [tf.train.latest_checkpoint(str(place), "newest") for place in [folder, expected]]
    found, expected = map(variables, newest)
    assert list(found) == list(expected) and len(found) == 20
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def check_curves(folder, expected, parts=("train", "test")):
    for part in parts:
        for tag in ["Accuracy", "Loss"]:
            assert curve(folder / part, tag) == curve(expected / part, tag)


@pytest.mark.parametrize("data", [(), ("--shift", 5, "--own_digits", 7)], ids=["", "other data"])
def test_a_run_that_has_ended_continues(train, tmp_path, data):
    """Without a seed, it is the same run as one that starts with the seed that it had drawn."""
    own = tmp_path / "own"
    train = functools.partial(train, changes={("support.own_digits", "FOLDER"): own})
    for digit in range(9):
        own_digits.save(own, digit, np.full((28, 28), 25 * digit, np.uint8))
    assert train("--epochs", 20, *data, "--seed", None)[0] == 0
    name = NAME.replace(",other", ",shift=5,own_digits=7,other") if data else NAME
    unbroken, folder = (tmp_path / "runs" / name.format(n) for n in (40, 20))
    first = saved.read_record(folder)
    assert train("--epochs", 40, *data, "--seed", first.seed)[0] == 0
    own_digits.save(own, 9, np.zeros((28, 28), np.uint8))  # the run has begun without it
    status, said = train("--continue", folder.name, "--epochs", 40, first=())
    assert status == 0, said
    assert f"Continuing {folder} from step 20 to 40" in said
    assert re.search(r"^ *50%\|.*\| 20/40 ", said, re.M) and " 40/40 [" in said
    assert "continues with its own LEARNING_RATE = 0.001 (not 0.0001), KERNELS = 4 (not 16)" in said
    check_same(folder, unbroken)
    check_curves(folder, unbroken, ["train"])
    assert list(curve(folder / "test", "Loss")) == list(range(0, 41, 5))
    record = saved.read_record(folder)
    assert (record.step, record.epochs, record.status) == (40, 40, "finished")
    assert (record.images, record.seed) == (1000, first.seed) and record.started > first.started
    assert record.own_names == first.own_names and len(record.own_names or []) == len(data) // 4 * 7
    assert TrainedRuns(tmp_path / "runs").list()[0] == record


def test_a_run_that_is_killed_again_and_again_continues(train, tmp_path, data_dir, dice, often):
    """It ends with the weights and curves of the unbroken run, in TensorBoard's loaders as well."""
    epochs, changes = 400, {("support.run", "SAVE_EVERY"): 0.02}
    changes |= {("support.run", "SAVE_ALL_EVERY"): 0.1, ("mnist", "POINTS"): 10**6}
    assert train("--epochs", epochs, changes=changes)[0] == 0
    unbroken = tmp_path / "runs" / NAME.format(epochs)
    kills, logdir = often(2, 10), tmp_path / "killed"
    folder = logdir / unbroken.name
    flags = [*SIZES, "--data_dir", data_dir]
    for kill in range(kills):
        reach = epochs * (kill + dice.random()) / kills  # the step at which it is killed, about
        process = forked.start(
            ["--logdir", logdir, "--epochs", epochs, *flags], tmp_path / "said", changes
        )
        flags = ["--continue", "newest"]
        wait_for(lambda at=reach: (record := saved.read_record(folder)) and record.step >= at)
        time.sleep(dice.random() / 20)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert saved.read_record(folder).status == "running", (tmp_path / "said").read_text()
    forked.run(["--logdir", logdir, "--epochs", epochs, *flags], tmp_path / "said", changes)
    assert saved.read_record(folder).status == "finished", (tmp_path / "said").read_text()
    check_same(folder, unbroken)
    check_curves(folder, unbroken)
    expected = curve(unbroken / "test", "Loss")
    for is_fast in often([], ["true", "false"]):
        with serve_tensorboard(logdir, "--load_fast", is_fast) as ask:
            run = wait_for(lambda: [run for run in ask("runs") if run.endswith("test")])[0]
            wait_for(lambda ask=ask, run=run: scalars(ask, run, "Loss") == expected)


def computes_in(precision):
    return {("support.tensorflow1", "precision"): functools.partial(str, precision)}


def test_a_run_that_continues_in_another_precision_says_so(train, tmp_path):
    train("--epochs", 6, changes=computes_in("float32"))
    resumed = ["--continue", "newest", "--epochs", 9]
    said = train(*resumed, first=(), changes=computes_in("bfloat16"))[1]
    assert "with the CPU, in bfloat16: 600 training images" in said
    assert "from step 6 to 9, in bfloat16 (until now, in float32)\n" in said
    assert saved.read_record(tmp_path / "runs" / NAME.format(6)).precision == "bfloat16"


def refused(result, words, status=1):
    """Whether mnist.py ended with a sentence that contains these words."""
    assert "Traceback" not in result[1] and result[1].endswith(".\n"), result[1]
    return result[0] == status and words in result[1].splitlines()[-1]


def test_what_cannot_continue(train, tmp_path):
    assert refused(train("--continue", "newest", first=()), "the name of a saved run in", 2)
    assert train("--epochs", 6)[0] == 0
    folder = tmp_path / "runs" / NAME.format(6)
    before = (folder / "run.json").read_bytes()
    continued = ["--continue", folder.name, "--epochs", 12]
    for flags, words, status in [
        ([*continued, "--learning_rate", 0.1], "--learning_rate must be 0.001, as in the", 2),
        ([*continued, "--seed", 6], "--seed must be 5, as in the run to continue, or left out", 2),
        (["--continue", "newest", "--epochs", 6], "--epochs must be more than 6, the step that", 2),
        (["--continue", "nothing", "--epochs", 12], "'nothing'", 2),
    ]:
        assert refused(train(*flags, first=()), words, status)
    edited = tmp_path / "mnist.py"  # where W starts differently
    edited.write_text(Path(mnist.__file__).read_text("utf-8").replace("stddev=0.1", "stddev=0.2"))
    continued += ["--logdir", tmp_path / "runs"]
    result = forked.run(continued, tmp_path / "other", program=str(edited))
    assert refused(result, "mnist.py now has another network")
    assert (folder / "run.json").read_bytes() == before
    (folder / "model.ckpt-6.index").write_bytes(b"x")
    assert refused(train(*continued, first=()), "cannot be read")
    (folder / "model.meta").unlink()
    assert refused(train(*continued, first=()), "an earlier version of mnist.py trained it")
    assert (folder / "run.json").read_bytes() == before


def test_a_run_that_is_killed_at_its_last_step_continues_with_its_test(train, tmp_path):
    assert train("--epochs", 6)[0] == 0
    folder = tmp_path / "runs" / NAME.format(6)
    ended = saved.read_record(folder)
    dataclasses.replace(ended, status="running", accuracy=None, images=None).write(folder)
    assert train("--epochs", 2, "--network", "softmax")[0] == 0  # "newest" is of NETWORK
    assert train("--continue", "newest", "--epochs", 6, first=())[0] == 0
    found = saved.read_record(folder)
    assert dataclasses.replace(found, started=ended.started) == ended


def test_only_one_program_trains_a_run(train, tmp_path, data_dir):
    flags = ["--logdir", tmp_path / "runs", "--data_dir", data_dir, "--epochs", 10**6]
    process = forked.start([*SIZES, *flags], tmp_path / "first")
    wait_for(lambda: list(tmp_path.glob("runs/*/newest")))
    result = train("--continue", "newest", "--epochs", 2 * 10**6, first=())
    assert refused(result, "Another program is training")
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    said = (tmp_path / "first").read_text()
    assert re.search(r"Stopped at step \d+ of 1000000\. To continue, add the flag --c", said)
