"""support/runs.py: what is due at a step, what is kept of a run, how it ended, and what is found.

No network learns here: `follow` does with a run what mnist.train does, but for the training.
"""

import errno
import json
import os
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

from support import run as runs
from support import summaries, terminal
from support.tensorflow1 import tf

import numpy as np
import pytest
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from helpers import curve, events, run_folders

IMAGES, TEST_IMAGES = 1000, 800


class Digits:
    """A data set whose labels are its places, so that a test can tell what it was handed."""

    def __init__(self, count, name="MNIST"):
        self.images, self.labels = np.zeros((count, 784), np.float32), np.arange(count)
        self.num_examples, self.name, self._next = count, name, 0

    def next_batch(self, size):
        places = (self._next + np.arange(size)) % self.num_examples
        self._next += size
        return self.images[places], self.labels[places]


@pytest.fixture
def new_run(tmp_path):
    """Make a Run; keywords are settings that differ from mnist.py's constants, and the data's name.

    Its log folder is tmp_path / "runs".
    """

    def new_run(data="MNIST", **settings):
        standard = {
            "learning_rate": 0.0001,
            "epochs": 20,
            "network": "softmax",
            "batch_size": 100,
            "seed": None,
            "data_dir": "MNIST_data",
            "logdir": tmp_path / "runs",
            "points": 200,
            "kernels": 16,
            "neurons": 1024,
        }
        digits = SimpleNamespace(train=Digits(IMAGES, data), test=Digits(TEST_IMAGES, data))
        return runs.Run(SimpleNamespace(**standard | settings), digits)

    return new_run


def follow(
    run, at=lambda step: None, accuracy=lambda step: 0.5, network="softmax", histograms=True
):
    """Go through the steps of a run, calling at(step) in each; return {step: what was due}."""
    shapes = {
        "softmax": {"fc/Weights": [784, 10], "fc/Biases": [10]},
        "convolutional": {"conv/Weights": [5, 5, 1, 3], "fc1/Weights": [588, 7]},
    }
    dues = {}
    with run, tf.Graph().as_default(), tf.Session() as session:
        for name, shape in shapes[network].items():
            tf.Variable(tf.zeros(shape), name=name)
        if histograms:
            tf.summary.histogram("weight", tf.zeros([1]))
        writers = [tf.summary.FileWriter(str(run.folder / part)) for part in ["train", "test"]]
        session.run(tf.global_variables_initializer())
        for step, due in run.steps(session, *writers):
            assert step not in dues
            dues[step] = due
            at(step)
            if due.test:
                writers[1].add_summary(summaries.curves(accuracy(step), 1.25), step)
                run.note_test(accuracy(step), 1.25, len(due.test[1]))
            if due.last:
                break
            run.note_training(2.0)
    return dues


def record(run):
    return json.loads((run.folder / "run.json").read_text())


def saved(folder):
    """List the steps of which a folder has a checkpoint."""
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob("model.ckpt-*.index"))


# -------------------------------------------------------------------------------- what is due


def every(step, last):
    return list(range(0, last + 1, step))


@pytest.mark.parametrize(
    "epochs, points, train, test, twentieth",
    [
        (1, 200, 1, 5, 1),
        (12, 200, 1, 5, 1),
        (399, 200, 1, 5, 19),
        (400, 200, 2, 5, 20),
        (2000, 200, 10, 10, 100),
        (2000, 50, 40, 40, 100),
        (2001, 200, 10, 10, 100),
    ],
)
def test_what_is_due(new_run, epochs, points, train, test, twentieth):
    """Curves of so many points whatever the length; a look at the layers at about 20 moments."""
    run = new_run(epochs=epochs, points=points)
    checkpoints = set()
    dues = follow(run, at=lambda step: checkpoints.update(saved(run.folder)))
    assert list(dues) == every(1, epochs)
    assert [step for step, due in dues.items() if due.last] == [epochs]
    assert [step for step, due in dues.items() if due.train] == every(train, epochs)
    on_all = [epochs]
    if epochs >= 400:  # a quarter of 100 steps or more
        on_all = [round(epochs * part) for part in [0.25, 0.5, 0.75, 1]]
    assert [step for step, due in dues.items() if due.pictures] == on_all
    tested = {step: due.test for step, due in dues.items() if due.test}
    assert set(tested) == {*every(test, epochs), *on_all}
    for step, (images, labels) in tested.items():
        assert images.shape == (len(labels), 784)
        assert len(labels) == (TEST_IMAGES if step in on_all else 500)
    assert [step for step, due in dues.items() if due.histograms] == sorted(
        {*every(max(20, twentieth), epochs), epochs}
    )
    early = {10, 20, 50, 100, 200} & set(dues)
    assert checkpoints == {*every(twentieth, epochs), *early, epochs} - {0}


def test_histograms_that_a_reader_took_out_are_not_due(new_run):
    assert not any(due.histograms for due in follow(new_run(), histograms=False).values())


def test_layers_are_looked_at_ten_times(new_run, monkeypatch):
    """As TensorBoard keeps ten pictures of a tag; closer at the start, when most happens.

    Their dead ReLUs, which make a curve, are counted at twenty moments and at the end.
    """
    counted = []
    monkeypatch.setattr(
        summaries.Layers, "log_dead_relus", lambda self, writer, step: counted.append(step)
    )
    run = new_run(epochs=107)
    follow(run)
    assert counted == [*every(5, 107), 107]
    run = new_run(epochs=100)
    follow(run)
    moved = events(run.folder / "train").Histograms("moved since step 0/fc/Weights")
    assert [event.step for event in moved] == [0, 1, 2, 5, 10, 20, 40, 60, 80, 100]


def test_points_take_turns_among_the_test_images(new_run):
    tested = [due.test[1] for due in follow(new_run(epochs=20)).values() if due.test]
    assert tested[0].tolist() == list(range(500))
    assert tested[1].tolist() == [*range(500, 800), *range(200)]
    assert tested[-1].tolist() == list(range(800))


# -------------------------------------------------------------------------------- what is kept


def test_record_through_a_run(new_run, tmp_path):
    run = new_run(epochs=30, learning_rate=0.25, seed=5, batch_size=10, data_dir="digits")
    begun = record(run)
    started = begun.pop("started")
    assert begun == {
        "status": "running",
        "network": "softmax",
        "learning_rate": 0.25,
        "epochs": 30,
        "batch_size": 10,
        "seed": 5,
        "data": "MNIST",
        "data_dir": os.path.abspath("digits"),
        "step": 0,
    }
    assert abs(started - run.folder.stat().st_mtime) < 60

    def at(step):
        told = record(run)
        assert told["status"] == "running" and told["started"] == started
        assert told["step"] == saved(run.folder)[-1] if saved(run.folder) else step == 0
        if step > 10:
            assert told["images"] == 500 and told["loss"] == 1.25
            assert told["accuracy"] == 0.01 * ((told["step"] - 1) // 5 * 5)

    follow(run, at, accuracy=lambda step: 0.01 * step)
    ended = record(run)
    assert ended == begun | {
        "status": "finished",
        "started": started,
        "step": 30,
        "accuracy": 0.3,
        "loss": 1.25,
        "images": TEST_IMAGES,
    }


def test_record_tells_the_widths_of_the_layers_only_where_there_are_any(new_run):
    told = record(new_run(network="convolutional", kernels=3, neurons=7))
    assert (told["kernels"], told["neurons"]) == (3, 7)
    assert not {"kernels", "neurons"} & set(record(new_run()))


def test_record_is_replaced_whole(new_run):
    """Whoever has opened the one before still reads all of it: nothing is written in its place."""
    run = new_run(epochs=3)
    with (run.folder / "run.json").open() as opened:
        before = (run.folder / "run.json").read_text()
        follow(run)
        assert opened.read() == before != (run.folder / "run.json").read_text()
    assert {path.name for path in run.folder.iterdir()} == {
        "run.json",
        "newest",
        "train",
        "test",
        "model.ckpt-3.index",
        "model.ckpt-3.data-00000-of-00001",
    }


def test_what_was_tested_is_on_the_disk(new_run):
    """At once, for TensorBoard to find."""
    run, found = new_run(epochs=12), {}

    def at(step):
        if step:
            found[step] = list(curve(run.folder / "test", "loss"))

    follow(run, at)
    assert found[1] == [0] and found[5] == [0] and found[6] == [0, 5] and found[12] == [0, 5, 10]


# ------------------------------------------------------------------------------------- its name


@pytest.mark.parametrize(
    "settings, name",
    [
        ({}, "lr=0.0001,epochs=2000"),
        ({"learning_rate": 1e-05, "epochs": 7}, "lr=1e-05,epochs=7"),
        ({"seed": 5, "points": 3, "data_dir": "d"}, "lr=0.0001,epochs=2000"),
        ({"batch_size": 50}, "lr=0.0001,epochs=2000,batch_size=50"),
        ({"kernels": 32, "neurons": 8}, "lr=0.0001,epochs=2000,kernels=32,neurons=8"),
        ({"network": "softmax"}, "lr=0.0001,epochs=2000,softmax"),
        ({"network": "softmax", "kernels": 3, "neurons": 4}, "lr=0.0001,epochs=2000,softmax"),
        ({"data": "generated digits, not MNIST"}, "lr=0.0001,epochs=2000,generated-digits"),
        ({"data": "the files in d"}, "lr=0.0001,epochs=2000,other-digits"),
        (
            {"network": "softmax", "batch_size": 1, "data": "generated digits, not MNIST"},
            "lr=0.0001,epochs=2000,softmax,batch_size=1,generated-digits",
        ),
    ],
)
def test_folder_tells_what_differs_from_what_is_shipped(new_run, tmp_path, settings, name):
    new_run(**{"network": "convolutional", "epochs": 2000} | settings)
    assert run_folders(tmp_path / "runs") == [name]


def test_same_experiment_again(new_run, tmp_path):
    """Two runs never write into one folder, and not into one that is there for another reason."""
    (tmp_path / "runs" / "lr=0.0001,epochs=20,softmax,2").mkdir(parents=True)
    folders = [new_run().folder.name for _ in range(3)]
    name = "lr=0.0001,epochs=20,softmax"
    assert folders == [name, f"{name},3", f"{name},4"]


# ------------------------------------------------------------------------------- what it says


def test_what_a_run_says(new_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = new_run(epochs=5, data="generated digits, not MNIST")
    out = capsys.readouterr().out
    assert out == (
        "Training the softmax network on generated digits, not MNIST, with the CPU: "
        "1,000 images to learn from, 800 to test it on.\n"
        "Writing to runs/lr=0.0001,epochs=5,softmax,generated-digits\n"
    )
    follow(run, accuracy=lambda step: 0.1 * step)
    run.say_result()
    out, err = capsys.readouterr()
    first, *others = out.splitlines()
    assert first == (
        "Test accuracy 50.00% after step 5, on generated digits, not MNIST. The network is saved "
        "in runs/lr=0.0001,epochs=5,softmax,generated-digits/model.ckpt-5"
    )
    assert others[0] == "To see how it learned: tensorboard --logdir=runs/"
    assert "change LEARNING_RATE or EPOCHS" in others[1] and len(others) == 2
    assert "5/5" in err and "loss 1.25, test accuracy 50.0%" in err


def test_bar_shows_a_mean_that_does_not_jump(new_run, capsys):
    """Of the last five tests; one on all images stands for itself, and the mean starts anew."""
    follow(new_run(epochs=400), accuracy=lambda step: step % 10 / 100)
    said = re.findall(
        r"(\d+)/400 .*?loss ([\d.]+), test accuracy ([\d.]+)%", capsys.readouterr()[1]
    )
    # Tests at 110, 115, ... 130 gave 0%, 5%, 0%, 5%, 0%; those at 245, 250, ... 265 begin with 5%.
    assert said == [("134", "2", "2.0"), ("268", "2", "3.0"), ("400", "1.25", "0.0")]


@pytest.mark.parametrize(
    "rate, epochs, accuracy, words",
    [
        (0.1, 100, 0.1, "probably .* were thrown to where .* smaller LEARNING_RATE"),
        (0.001, 10, 0.149, "probably .* were thrown to where .* smaller LEARNING_RATE"),
        (0.001, 9, 0.149, "the weights have hardly moved. Try a larger .* or more EPOCHS"),
        (1e-9, 3, 0.1, "the weights have hardly moved. Try a larger .* or more EPOCHS"),
        (0.1, 3, 0.15, None),
    ],
)
def test_why_a_run_only_guesses(new_run, capsys, rate, epochs, accuracy, words):
    run = new_run(learning_rate=rate, epochs=epochs)
    follow(run, accuracy=lambda step: accuracy)
    run.say_result()
    out = capsys.readouterr().out
    if words:
        assert re.search(rf"^That is no better than guessing: {words}\.$", out, re.M)
    else:
        assert "guessing" not in out


def test_how_a_run_stands_among_the_others(new_run, capsys, tmp_path):
    """Six lines at most, best first; only those count that have ended, on the same data."""

    def finish(accuracy):
        run = new_run(epochs=1, learning_rate=accuracy)
        follow(run, accuracy=lambda step: accuracy)
        capsys.readouterr()
        run.say_result()
        return [line.strip() for line in capsys.readouterr().out.splitlines()[1:-2]]

    assert finish(0.5) == []  # nothing to compare it with
    new_run()  # this one is still running
    assert finish(0.75) == [
        "Of 2 runs on this data, the best on the test digits:",
        "1.  75.00%  lr=0.75,epochs=1,softmax  <- this run",
        "2.  50.00%  lr=0.5,epochs=1,softmax",
    ]
    for accuracy in [0.9, 0.8, 0.7, 0.6]:
        lines = finish(accuracy)
    assert [line.split()[1] for line in lines[1:]] == [
        "90.00%",
        "80.00%",
        "75.00%",
        "70.00%",
        "60.00%",
    ]
    assert [line.endswith("<- this run") for line in lines] == 5 * [False] + [True]
    lines = finish(0.2)
    assert len(lines) == 6 and lines[0].startswith("Of 7 runs")
    assert [line.split()[0] for line in lines[1:]] == ["1.", "2.", "3.", "4.", "7."]
    (tmp_path / "runs" / "lr=0.9,epochs=1,softmax" / "run.json").write_text('{"status": "fini')
    assert finish(0.3)[0].startswith("Of 7 runs")
    assert finish(0.8)[1:4] == [
        "1.  80.00%  lr=0.8,epochs=1,softmax,2  <- this run",
        "2.  80.00%  lr=0.8,epochs=1,softmax",
        "3.  75.00%  lr=0.75,epochs=1,softmax",
    ]
    path = tmp_path / "runs" / "lr=0.8,epochs=1,softmax,2" / "run.json"  # as if stopped before
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "stopped"}))
    path = tmp_path / "runs" / "lr=0.3,epochs=1,softmax" / "run.json"  # as if on other digits
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data": "other digits"}))
    path = tmp_path / "runs" / "lr=0.2,epochs=1,softmax" / "run.json"  # as if left by a `break`
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": 500}))
    assert finish(0.4)[0].startswith("Of 7 runs")


# ------------------------------------------------------------------------------- how it ends


@pytest.fixture
def heeded():
    """SIGTERM and SIGINT do what they do in a terminal, however the tests were started."""
    before = {number: signal.getsignal(number) for number in [signal.SIGTERM, signal.SIGINT]}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_run_in_order(new_run, heeded, capsys, number):
    run = new_run(epochs=1000)
    dues = follow(run, at=lambda step: step == 7 and signal.raise_signal(number))
    assert list(dues) == every(1, 8)
    assert dues[8].last and dues[8].pictures and dues[8].histograms
    assert len(dues[8].test[1]) == TEST_IMAGES
    told = record(run)
    assert (told["status"], told["step"], told["images"]) == ("stopped", 8, TEST_IMAGES)
    assert saved(run.folder) == [8]
    capsys.readouterr()
    with pytest.raises(terminal.Problem) as problem:
        run.say_result()
    assert (str(problem.value), problem.value.status) == ("", 128 + number)
    out = capsys.readouterr().out
    assert (
        out.startswith("Stopped early. Test accuracy 50.00% after step 8") and out.count("\n") == 1
    )


@pytest.mark.parametrize("steps, saved_at", [(2, None), (30, 20)])
def test_loop_that_a_reader_leaves(new_run, capsys, steps, saved_at):
    """By a `break` where the network is good enough: it ends in order, with what was saved."""
    run = new_run(epochs=1000)
    with run, tf.Graph().as_default(), tf.Session() as session:
        tf.Variable(tf.zeros([784, 10]), name="fc/Weights")
        writers = [tf.summary.FileWriter(str(run.folder / part)) for part in ["train", "test"]]
        session.run(tf.global_variables_initializer())
        for step, due in run.steps(session, *writers):
            if due.test:
                run.note_test(0.5, 1.25, 500)
            if step == steps:
                break
    capsys.readouterr()
    run.say_result()
    first, *others = capsys.readouterr().out.splitlines()
    said = f"Stopped early. Test accuracy 50.00% (of 500 digits) after step {steps}, on MNIST."
    assert first.startswith(said)
    assert first.endswith(f"/model.ckpt-{saved_at}" if saved_at else "on MNIST.")
    assert "tensorboard" in others[0]


def test_record_tells_how_good_the_saved_network_is(new_run):
    """Whenever the network is saved at a step that is tested, from that test on."""
    told = {}

    def at(step):
        told[step] = record(run)  # as it is before the test of this step

    run = new_run(epochs=1000)
    follow(run, at, accuracy=lambda step: step / 1000)
    for step in [11, 21, 101, 251, 751, 999]:
        last = max(s for s in [10, 20, 50, 100, 200, *range(50, 1000, 50)] if s < step)
        assert (told[step]["step"], told[step]["accuracy"]) == (last, last / 1000)
    assert told[751]["images"] == TEST_IMAGES and told[101]["images"] == 500


def test_signal_in_the_last_step_finds_a_finished_run(new_run, heeded, capsys):
    run = new_run(epochs=6)
    follow(run, at=lambda step: step == 6 and signal.raise_signal(signal.SIGTERM))
    assert record(run)["status"] == "finished"
    run.say_result()
    assert "Stopped" not in capsys.readouterr().out


def test_two_signals_are_as_good_as_one(new_run, heeded):
    run = new_run(epochs=1000)
    dues = follow(run, at=lambda step: step in (3, 4) and signal.raise_signal(signal.SIGINT))
    assert list(dues) == every(1, 4) and record(run)["status"] == "stopped"


def ending(run, at):
    """Return the sentence with which a run ended, when `at` fails in its step 3."""

    def fail(step):
        if step == 3:
            at()

    with pytest.raises(terminal.Problem) as problem:
        follow(run, fail)
    assert problem.value.status == 1
    assert record(run)["status"] == "failed"
    return str(problem.value)


@pytest.mark.parametrize(
    "event, status",
    [(None, "STATUS_SUCCESS"), ("signal", "STATUS_SUCCESS"), ("fault", "STATUS_FAILURE")],
)
def test_hparams_are_told_how_it_ended(new_run, heeded, event, status):
    run = new_run(epochs=5)
    if event == "fault":
        ending(run, lambda: run.note_training(float("nan")))
    else:
        follow(run, at=lambda step: step == 2 and event and signal.raise_signal(signal.SIGTERM))
    content = events(run.folder / "test").SummaryMetadata("_hparams_/session_end_info").plugin_data
    ended = HParamsPluginData.FromString(content.content).session_end_info
    assert ended.status == api_pb2.Status.Value(status)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_no_number(new_run, loss):
    run = new_run(epochs=10, learning_rate=7.5)
    assert ending(run, lambda: run.note_training(loss)) == (
        f"The loss is {loss} at step 3: LEARNING_RATE 7.5 is too high for this network, "
        "try a smaller one."
    )


def test_no_memory(new_run):
    def fail():
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    said = ending(new_run(batch_size=11, epochs=10), fail)
    assert said == (
        "The memory does not suffice for BATCH_SIZE 11 and these KERNELS and NEURONS: choose less."
    )


def test_disk_that_is_nearly_full(new_run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = new_run(epochs=10)

    def set_free(size):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=size))

    def fail():
        set_free(runs.LEAST_FREE)
        run.note_test(0.5, 1.0, 500)
        set_free(runs.LEAST_FREE - 1)
        run.note_test(0.5, 1.0, 500)

    assert ending(run, fail) == (
        "runs/lr=0.0001,epochs=10,softmax cannot be written to any more: "
        + os.strerror(errno.ENOSPC)
    )
    assert runs.LEAST_FREE >= 1_000_000


@pytest.mark.parametrize("part", [".", "train", "test"])
def test_folder_that_is_deleted(new_run, monkeypatch, tmp_path, part):
    monkeypatch.chdir(tmp_path)
    run = new_run(epochs=10)

    def at(step):
        if step == 3:
            shutil.rmtree(run.folder / part)

    with pytest.raises(terminal.Problem) as problem:
        follow(run, at)
    assert str(problem.value) == (
        "runs/lr=0.0001,epochs=10,softmax cannot be written to any more: it was deleted"
    )
    assert run.folder.exists() == (part != ".")


def test_folder_deleted_in_the_moment_of_a_save(new_run, monkeypatch):
    run = new_run(epochs=10)

    def save(*arguments, **keywords):
        shutil.rmtree(run.folder)
        raise ValueError("Parent directory of it doesn't exist, can't save.")  # TensorFlow's words

    monkeypatch.setattr(tf.train.Saver, "save", save)
    with pytest.raises(terminal.Problem, match="cannot be written to any more: it was deleted"):
        follow(run)


def test_folder_deleted_while_tensorflow_writes(new_run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def fail():
        raise tf.errors.NotFoundError(None, None, f"/runs/x; {os.strerror(errno.ENOENT)}")

    assert ending(new_run(epochs=10), fail) == (
        "runs/lr=0.0001,epochs=10,softmax cannot be written to any more: it was deleted"
    )


def test_bug_keeps_its_traceback(new_run):
    """It is no sentence for the user; the record says that the run failed."""
    run = new_run(epochs=10)
    with pytest.raises(ZeroDivisionError):
        follow(run, at=lambda step: 1 // (step - 2))
    assert record(run)["status"] == "failed"


@pytest.mark.parametrize(
    "failure, raised, words",
    [
        (OSError(errno.ENOSPC, "it is full"), terminal.Problem, "cannot be written .*: it is full"),
        (RuntimeError("a bug"), RuntimeError, "^a bug$"),
    ],
)
def test_failure_after_the_last_step(new_run, monkeypatch, failure, raised, words):
    """What could not be written at the very end is told as well."""

    def fail(*arguments, **keywords):
        raise failure

    with pytest.raises(raised, match=words):
        follow(
            new_run(epochs=2), lambda step: step == 2 and monkeypatch.setattr(json, "dumps", fail)
        )


# --------------------------------------------------------------------- batches that are too large


def test_batch_of_more_than_all_images(new_run, tmp_path):
    new_run(batch_size=IMAGES)
    with pytest.raises(
        terminal.Problem, match="^BATCH_SIZE 1001 is more than all 1000 images: choose less.$"
    ):
        new_run(batch_size=IMAGES + 1)
    assert len(run_folders(tmp_path / "runs")) == 1


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="only Linux tells what is free")
def test_run_that_needs_more_memory_than_is_free(new_run, tmp_path, monkeypatch):
    for batch, kernels, neurons, gigabytes in [
        (100, 10**6, 10**6, 40 * 196 * 10**12 / 1e9),
        (100, 10**6, 1, (16 * 196 * 10**6 + 9000 * (784 * 10**6 + 1)) / 1e9),
        (1000, 10**6, 1, (16 * 196 * 10**6 + 12_000 * (784 * 10**6 + 1)) / 1e9),
    ]:
        with pytest.raises(terminal.Problem) as problem:
            new_run(network="convolutional", batch_size=batch, kernels=kernels, neurons=neurons)
        assert re.fullmatch(
            rf"BATCH_SIZE {batch}, KERNELS {kernels} and NEURONS {neurons} take about "
            rf"{gigabytes:.1f} GB of memory, and \d+\.\d GB are free: choose less\.",
            str(problem.value),
        )
    free = int(re.search(r"\d+\.\d(?= GB are free)", str(problem.value))[0].split(".")[0])
    assert 0 <= free < 100_000
    assert not (tmp_path / "runs").exists()
    new_run(kernels=10**6, neurons=10**6)  # softmax has neither
    monkeypatch.setattr(Path, "read_text", lambda path: "MemAvailable: 9 kB")
    with pytest.raises(terminal.Problem) as problem:
        new_run(batch_size=1000)
    sentence = "BATCH_SIZE 1000 takes about 0.0 GB of memory, and 0.0 GB are free: choose less."
    assert str(problem.value) == sentence


# ------------------------------------------------------------------------------- runs on the disk


def test_find(new_run, tmp_path):
    """The one started last first, each with what its record and its newest checkpoint tell."""
    first = new_run(epochs=15, learning_rate=0.5, batch_size=9)
    second = new_run(epochs=3, network="convolutional", kernels=3, neurons=7)
    new_run()  # it has no checkpoint yet
    follow(second, network="convolutional")
    follow(first, accuracy=lambda step: 0.75)
    found = runs.find(tmp_path)
    assert [run["run"] for run in found] == [
        "runs/lr=0.0001,epochs=3,kernels=3,neurons=7",
        "runs/lr=0.5,epochs=15,softmax,batch_size=9",
    ]
    assert found[1] == {
        "run": "runs/lr=0.5,epochs=15,softmax,batch_size=9",
        "folder": first.folder,
        "checkpoint": str(first.folder / "model.ckpt-15"),
        "step": 15,
        "network": "softmax",
        "kernels": None,
        "neurons": None,
        "started": record(first)["started"],
        "learning_rate": 0.5,
        "epochs": 15,
        "batch_size": 9,
        "data": "MNIST",
        "data_dir": os.path.abspath("MNIST_data"),
        "status": "finished",
        "accuracy": 0.75,
        "loss": 1.25,
        "images": TEST_IMAGES,
    }
    assert [found[0][key] for key in ["network", "kernels", "neurons", "step"]] == [
        "convolutional",
        3,
        7,
        3,
    ]
    assert runs.find(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"3", b"{}", b'{"started": {}}', b"\xff"]
)
def test_find_without_a_record(new_run, tmp_path, content):
    """Older, or cut off: its checkpoint tells the rest."""
    run = new_run(epochs=3)
    follow(run)
    (run.folder / "run.json").unlink()
    if content is not None:
        (run.folder / "run.json").write_bytes(content)
    os.utime(run.folder / "model.ckpt-3.index", (1000, 1000))
    (found,) = runs.find(tmp_path / "runs")
    assert found.pop("started") == 1000
    known = {
        "run": run.folder.name,
        "folder": run.folder,
        "checkpoint": str(run.folder / "model.ckpt-3"),
        "step": 3,
        "network": "softmax",
    }
    assert {key: value for key, value in found.items() if value is not None} == known
    assert set(found) == set(known) | {
        "kernels",
        "neurons",
        "learning_rate",
        "epochs",
        "batch_size",
        "data",
        "data_dir",
        "status",
        "accuracy",
        "loss",
        "images",
    }


def test_find_takes_the_newest_checkpoint_that_can_be_read(new_run, tmp_path, capsys):
    run = new_run(epochs=3)
    follow(run)
    for name in ["model.ckpt-20.index", "model.ckpt-x.index"]:
        (run.folder / name).write_bytes(b"half")
    for suffix in ["index", "data-00000-of-00001"]:
        for step in [9, 10]:
            shutil.copy(
                run.folder / f"model.ckpt-3.{suffix}", run.folder / f"model.ckpt-{step}.{suffix}"
            )
    capsys.readouterr()
    (found,) = runs.find(tmp_path / "runs")
    assert found["step"] == 10 and found["checkpoint"] == str(run.folder / "model.ckpt-10")
    said = capsys.readouterr().out
    assert "model.ckpt-20 cannot be read" in said and said.count("\n") == 1
    (run.folder / "model.ckpt-10.index").write_bytes(b"half, and newer")
    assert [run["step"] for run in runs.find(tmp_path / "runs")] == [9]


def test_find_leaves_out_what_is_no_run_of_these_networks(tmp_path, capsys):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.Variable(tf.zeros([2]), name="something/else")
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), 5)
    assert runs.find(tmp_path) == []
    sentence = "model.ckpt-5 has not the layers conv, fc1 and fc2: this run is left out.\n"
    assert capsys.readouterr().out.endswith(sentence)
