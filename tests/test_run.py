"""support/run.py: what is due at a step, what a run keeps and says, and how it ends.

`follow` goes through the steps of a run as mnist.train does, but without training.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import mnist
from helpers import events, run_folders
from input_data import DataSet, Datasets
from support import run as runs
from support import saved, tensorflow1, terminal
from support.tensorflow1 import tf

IMAGES, TEST_IMAGES = 1000, 800
GENERATED = "generated digits, not MNIST"


def digits(count, name):
    return DataSet(np.zeros((count, 784), np.uint8), np.arange(count) % 10, name=name)


@pytest.fixture
def new_run(tmp_path, monkeypatch):
    """Make a Run in tmp_path / "runs". Keywords: the data's name, and settings."""
    monkeypatch.chdir(tmp_path)
    standard = {
        "learning_rate": 0.0001,
        "epochs": 20,
        "network": "softmax",
        "batch_size": 100,
        "seed": 3,
        "repeatable": False,
        "data_dir": "MNIST_data",
        "logdir": tmp_path / "runs",
        "points": 200,
        "kernels": 16,
        "neurons": 1024,
        "program": Path(mnist.__file__),
        "continue_run": None,
    }

    def new_run(data="MNIST", **settings):
        train, test = digits(IMAGES, data), digits(TEST_IMAGES, data)
        parts = Datasets(train, validation=test, test=test)
        run = runs.Run(SimpleNamespace(**standard | settings), parts)
        run.digits = parts
        return run

    return new_run


def steps(run):
    """Build a network that does not learn, and yield what `run.steps` yields, and a writer."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.Variable(tf.zeros([784, 10]), name="fc/Weights")
        tf.summary.histogram("weight", tf.zeros([1]))
        writers = [tf.summary.FileWriter(str(run.folder / part)) for part in ["train", "test"]]
        session.run(tf.global_variables_initializer())
        for step, due in run.steps(session, *writers):
            yield step, due, writers[1]


def follow(run, at=lambda step: None, accuracy=lambda step: 0.5):
    """Go through all steps, and call at(step) in each. Return {step: what was due}."""
    dues = {}
    with run:
        for step, due, test_writer in steps(run):
            assert step not in dues
            dues[step] = due
            at(step)
            if due.test:
                point = tf.Summary(value=[tf.Summary.Value(tag="Loss", simple_value=1.25)])
                test_writer.add_summary(point, step)
                run.note_test(accuracy(step), 1.25)
            run.note_training(2.0)
    return dues


def record(run):
    return json.loads((run.folder / "run.json").read_text())


def checkpoints(run):
    """List the steps of which the folder of a run has a checkpoint."""
    return [int(path.stem.split("-")[1]) for path in run.folder.glob("model.ckpt-*.index")]


def said_at_the_end(run, capsys):
    capsys.readouterr()
    run.say_result()
    return capsys.readouterr().out.splitlines()


# -------------------------------------------------------------------------------- what is due


@pytest.mark.parametrize(
    "epochs, points, train, test, looks, all_digits",
    [
        (1, 200, 1, 5, [0, 1], [1]),
        (12, 200, 1, 5, [0, 1, 2, 3, 6, 9, 12], [12]),
        (399, 200, 1, 5, [0, 4, 8, 20, 40, 60, 100, 200, 299, 399], [399]),
        (400, 200, 2, 5, [0, 4, 8, 20, 40, 60, 100, 200, 300, 400], [100, 200, 300, 400]),
        (2001, 50, 40, 40, [0, 20, 40, 100, 200, 300, 500, 1000, 1501, 2001], [500, 1000, 1501]),
    ],
)
def test_what_is_due(new_run, monkeypatch, epochs, points, train, test, looks, all_digits):
    """Curves have about as many points however long a run is; it looks at its layers ten times."""
    monkeypatch.setattr(runs, "SAVE_EVERY", 3600)
    run, kept = new_run(epochs=epochs, points=points), set()
    dues = follow(run, at=lambda step: kept.update(checkpoints(run)))
    assert list(dues) == list(range(epochs + 1))
    assert [step for step, due in dues.items() if due.last] == [epochs]
    assert [step for step, due in dues.items() if due.train] == list(range(0, epochs + 1, train))
    assert [step for step, due in dues.items() if due.histograms] == looks == sorted(kept)
    moved = events(run.folder / "train").Tensors("moved since step 0/fc/Weights")
    assert [event.step for event in moved] == looks
    all_digits = sorted({*all_digits, epochs})
    assert [step for step, due in dues.items() if due.pictures] == all_digits
    tested = {step: len(due.test[1]) for step, due in dues.items() if due.test}
    few = dict.fromkeys(range(0, epochs + 1, test), 500)
    assert tested == few | dict.fromkeys(all_digits, TEST_IMAGES)


def test_network_is_saved_between_looks_too(new_run, monkeypatch):
    """Every checkpoint has W and B; one, to continue from, has what the optimizer keeps as well."""
    monkeypatch.setattr(runs, "SAVE_EVERY", 0)  # seconds
    run = new_run(epochs=400)

    def at(step):
        whole = step // 100 * 100
        assert sorted(checkpoints(run)) == sorted({step, whole or step})
        assert (record(run)["step"], record(run)["resumable"]) == (step, whole)

    follow(run, at)
    assert checkpoints(run) == [400]


# -------------------------------------------------------------------------------- what is kept


def test_record_through_a_run(new_run):
    run = new_run(
        epochs=30, learning_rate=0.25, seed=5, repeatable=True, batch_size=10, data_dir="d"
    )
    begun = saved.read_record(run.folder)
    assert abs(begun.started - run.folder.stat().st_mtime) < 60
    expected = saved.Record(
        name="lr=0.25,30,softmax,batch_size=10",
        network="softmax",
        learning_rate=0.25,
        epochs=30,
        batch_size=10,
        seed=5,
        repeatable=True,
        precision=tensorflow1.precision(),
        data="MNIST",
        data_dir=os.path.abspath("d"),
        started=begun.started,
        status="running",
    )
    assert begun == expected
    with (run.folder / "run.json").open() as opened:
        follow(run, accuracy=lambda step: 0.01 * step)
        assert '"running"' in opened.read()  # the record was replaced, not written anew
    ended = {"status": "finished", "step": 30, "resumable": 30, "accuracy": 0.3, "loss": 1.25}
    found = saved.read_record(run.folder)
    expected = dataclasses.replace(expected, **ended, images=TEST_IMAGES, graph=found.graph)
    assert found == expected and len(found.graph) == 16
    files = {path.name for path in run.folder.iterdir()}
    checkpoint = {"model.ckpt-30.index", "model.ckpt-30.data-00000-of-00001", "newest"}
    assert files == {"run.json", "mnist.py", "model.meta", "train", "test"} | checkpoint
    assert (run.folder / "mnist.py").read_bytes() == Path(mnist.__file__).read_bytes()
    convolutional = record(new_run(network="convolutional", kernels=3, neurons=7))
    assert (convolutional["kernels"], convolutional["neurons"]) == (3, 7)


def test_record_says_how_good_the_saved_network_is(new_run):
    """From the test of its step on; until then, how good the network was before."""
    run, seen = new_run(epochs=400), {}
    follow(run, lambda step: seen.update({step: record(run)}), accuracy=lambda step: step / 400)
    for step in [100, 200, 300]:
        before, after = seen[step], seen[step + 1]
        assert before["step"] == after["step"] == step
        assert before["accuracy"] == (step - 5) / 400 and after["accuracy"] == step / 400
        assert (before["images"], after["images"]) == (500, TEST_IMAGES)


# ------------------------------------------------------------------------------------- its folder


@pytest.mark.parametrize(
    "settings, name",
    [
        ({}, "lr=0.0001,2000"),
        ({"seed": 5, "points": 3, "data_dir": "d"}, "lr=0.0001,2000"),
        ({"batch_size": 50}, "lr=0.0001,2000,batch_size=50"),
        ({"kernels": 32, "neurons": 8}, "lr=0.0001,2000,kernels=32,neurons=8"),
        ({"network": "softmax", "kernels": 3, "neurons": 4}, "lr=0.0001,2000,softmax"),
        ({"shift": 8, "own_digits": 10}, "lr=0.0001,2000,shift=8,own_digits=10"),
        ({"data": GENERATED}, "lr=0.0001,2000,generated-digits"),
        ({"data": "the files in d"}, "lr=0.0001,2000,other-digits"),
    ],
)
def test_folder_names_what_differs_from_what_is_shipped(new_run, tmp_path, settings, name):
    new_run(**{"network": "convolutional", "epochs": 2000} | settings)
    assert run_folders(tmp_path / "runs") == [name]


def test_same_experiment_again(new_run, tmp_path):
    """Two runs never share a folder, nor does a run take one that is there for another reason."""
    (tmp_path / "runs" / "lr=0.0001,20,softmax,2").mkdir(parents=True)
    folders = [new_run().folder.name for _ in range(3)]
    name = "lr=0.0001,20,softmax"
    assert folders == [name, f"{name},3", f"{name},4"]


# ------------------------------------------------------------------------------- what it says


def test_what_a_run_says(new_run, capsys):
    run = new_run(epochs=5, data=GENERATED)
    folder = "runs/lr=0.0001,5,softmax,generated-digits"
    assert capsys.readouterr().out == (
        "Training the softmax network on generated digits, not MNIST, with the CPU, in "
        f"{tensorflow1.precision()}: 1,000 training images, 800 test images.\n"
        f"Writing to {folder}\n"
    )
    follow(run)
    assert re.search(r"5/5 \[.*, loss 2, test accuracy 50.0%\]", capsys.readouterr().err)
    assert said_at_the_end(run, capsys) == [
        "Test accuracy 50.00% after step 5, on generated digits, not MNIST. "
        f"The network is saved in {folder}/model.ckpt-5",
        "To see how it learned: tensorboard --logdir=runs/",
        "Next, change LEARNING_RATE or EPOCHS at the top of mnist.py, run it again, "
        "and compare the curves.",
        "Or continue this run: increase EPOCHS and add the flag --continue=newest.",
    ]
    follow(new_run(epochs=5, data=GENERATED))
    assert said_at_the_end(run, capsys)[1].startswith("Test accuracy of 2 runs, by ")


@pytest.mark.parametrize(
    "rate, edit, words",
    [
        (0.01, ("truncated_normal", lambda shape, stddev: tf.zeros(shape)), "neurons .* are equal"),
        (0.01, ("constant", lambda value, shape: tf.fill(shape, -9.0)), "ReLUs .* give 0 for eve"),
        (0.01, ("train.AdamOptimizer.minimize", lambda self, loss: loss), "W and B have not mov"),
        (1e-9, None, "The weights have hardly moved: try a larger LEARNING_RATE or more EPOCHS"),
        (0.001, None, "Look at the images, the labels"),  # they are blank here
    ],
)
def test_why_a_run_only_guesses(new_run, capsys, monkeypatch, rate, edit, words):
    if edit:
        monkeypatch.setattr(f"support.tensorflow1.tf.{edit[0]}", edit[1])
    run = new_run(network="convolutional", learning_rate=rate, kernels=3, neurons=50)
    mnist.train(run.settings, run.digits, run)
    out = "\n".join(said_at_the_end(run, capsys))
    assert re.search(rf"^That is no better than guessing\. .*{words}.*[.?]$", out, re.M)


# ------------------------------------------------------------------------------- how it ends


def test_signal_ends_a_run_in_order(new_run, capsys):
    run = new_run(epochs=1000)
    dues = follow(run, lambda step: step == 7 and signal.raise_signal(signal.SIGTERM))
    assert list(dues) == list(range(9))
    assert dues[8].last and dues[8].pictures and dues[8].histograms
    assert len(dues[8].test[1]) == TEST_IMAGES
    ended = record(run)
    assert (ended["status"], ended["step"], ended["images"]) == ("stopped", 8, TEST_IMAGES)
    assert checkpoints(run) == [8]
    capsys.readouterr()
    with pytest.raises(terminal.Problem) as problem:
        run.say_result()
    assert str(problem.value) == (
        "Stopped at step 8 of 1000. To continue, add the flag --continue=newest."
    )
    assert problem.value.status == 128 + signal.SIGTERM
    out = capsys.readouterr().out
    assert out.startswith("Test accuracy 50.00% after step 8, on MNIST. The network is saved in ")
    assert out.count("\n") == 1


def test_signal_in_the_last_step_finds_a_finished_run(new_run):
    run = new_run(epochs=6)
    follow(run, lambda step: step == 6 and signal.raise_signal(signal.SIGTERM))
    assert record(run)["status"] == "finished"
    run.say_result()


def test_loop_that_a_reader_leaves(new_run, capsys):
    """A `break`, where the network is good enough, ends the run in order, with what was saved."""
    run = new_run(epochs=1000)
    with run:
        for step, due, _ in steps(run):
            if due.test:
                run.note_test(0.5, 1.25)
            if step == 30:
                break
    assert (record(run)["status"], record(run)["step"]) == ("stopped", 30)
    assert said_at_the_end(run, capsys)[0] == (
        "Test accuracy 50.00% (of 500 digits) after step 30, on MNIST. "
        "The network is saved in runs/lr=0.0001,1000,softmax/model.ckpt-20"
    )


def ending(run, at):
    """Return the sentence with which a run ends if `at` fails in its step 3."""
    with pytest.raises(terminal.Problem) as problem:
        follow(run, lambda step: step == 3 and at())
    assert problem.value.status == 1
    assert not run.folder.exists() or record(run)["status"] == "failed"
    return str(problem.value)


@pytest.mark.parametrize("loss, status", [(2.0, 1), (float("nan"), 2)])
def test_hparams_tab_knows_how_it_ended(new_run, loss, status):
    run = new_run(epochs=5)
    with contextlib.suppress(terminal.Problem):
        follow(run, lambda step: run.note_training(loss))
    content = events(run.folder / "test").SummaryMetadata("_hparams_/session_end_info").plugin_data
    assert HParamsPluginData.FromString(content.content).session_end_info.status == status


@pytest.mark.parametrize("loss", [float("nan"), np.float32("inf")])
@pytest.mark.parametrize("note", ["training", "test"])
def test_loss_that_is_not_finite(new_run, loss, note):
    run = new_run(epochs=10, learning_rate=7.5)
    notes = {"training": lambda: run.note_training(loss), "test": lambda: run.note_test(0.5, loss)}
    assert ending(run, notes[note]) == (
        f"The loss is {loss} at step 3: LEARNING_RATE 7.5 is too high for this network; "
        "try a smaller one."
    )


def test_no_memory(new_run):
    def fail():
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    assert ending(new_run(batch_size=11), fail) == (
        "There is not enough memory for BATCH_SIZE 11 and these KERNELS and NEURONS: "
        "choose smaller ones."
    )


@pytest.mark.parametrize("part", ["..", ".", "train", "test"])
@pytest.mark.parametrize("step", [3, 20])
def test_folder_that_is_deleted(new_run, part, step):
    """At the last step, too: what could not be written at the very end must not go unsaid."""
    run = new_run()
    with pytest.raises(terminal.Problem) as problem:
        follow(run, lambda now: now == step and shutil.rmtree(run.folder / part))
    place = "runs/lr=0.0001,20,softmax"
    assert str(problem.value) == f"{place} cannot be written to any more: it was deleted."
    assert not (run.folder / part).exists()
    assert run.folder.exists() == (part in ["train", "test"])


def test_errors_of_a_readers_own(new_run, tmp_path):
    """They are not about the run: they keep their traceback, and the record says that it failed."""
    for error, fail in [
        (ZeroDivisionError, lambda: 1 // 0),
        (FileNotFoundError, lambda: (tmp_path / "weights.npy").read_bytes()),
    ]:
        run = new_run()
        with pytest.raises(error):
            follow(run, lambda step, fail=fail: step == 3 and fail())
        assert record(run)["status"] == "failed"


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="only Linux says what is free")
def test_run_that_needs_more_memory_than_is_free(new_run, tmp_path):
    with pytest.raises(terminal.Problem) as problem:
        new_run(network="convolutional", kernels=10**4, neurons=10**6)
    assert re.fullmatch(
        r"BATCH_SIZE 100, KERNELS 10000 and NEURONS 1000000 need about 78506.1 GB of memory, "
        r"but \d+\.\d GB are free: choose less\.",
        str(problem.value),
    )
    assert not (tmp_path / "runs").exists()
    assert saved.read_record(new_run(kernels=10**4, neurons=10**6).folder)  # softmax has neither
