"""Trained networks: what they answer, and runs that appear, continue, are deleted or damaged."""

import itertools
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helpers import saved_runs
from helpers.saved_runs import LEFT, RIGHT, WIDE, damage
from page.networks import Refusal, TrainedRuns, newest
from support.saved import GRAPH
from support.tensorflow1 import tf

BLANK = np.zeros((1, 784), np.float32)


@pytest.fixture
def logdir(tmp_path):
    saved_runs.save_three(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def runs(logdir):
    return TrainedRuns(logdir)


def refused(question, code, run):
    """Whether a question is refused so."""
    with pytest.raises(Refusal) as refusal:
        question()
    return (refusal.value.code, refusal.value.run) == (code, run)


def names(runs):
    return [record.name for record in runs.list()]


# ------------------------------------------------------------------------------------ what it says


def test_many_threads_at_once_each_get_their_own_answer(runs):
    images = np.random.default_rng(0).random((8, 1, 784), np.float32)
    expected = [runs.get(LEFT).probabilities(image) for image in images]
    together = threading.Barrier(8)

    def ask(place):
        together.wait()
        for run in [LEFT, RIGHT, LEFT] * 10:
            answer = runs.get(run).probabilities(images[place])
            if run == LEFT:
                np.testing.assert_allclose(answer, expected[place], atol=1e-6)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def test_dead_neurons_are_those_that_no_image_wakes(runs, logdir):
    weights = saved_runs.random_weights(1)
    weights["fc1/Biases"][[2, 5]] = -1000
    saved_runs.save(logdir / LEFT, 200, weights)
    images = np.random.default_rng(0).random((120, 784), np.float32)
    hidden = saved_runs.forward(weights, images)["hidden"]
    dead = runs.get(LEFT).dead_neurons(images)
    assert {2, 5} <= set(dead) and dead == np.flatnonzero(hidden.max(axis=0) <= 0).tolist()
    assert runs.get(RIGHT).dead_neurons(images) is None


# ------------------------------------------------------------------ runs that come, continue and go


def test_a_run_that_is_trained_anew_to_the_same_step_is_loaded_anew(runs, logdir):
    before = runs.get(LEFT)
    assert runs.get(LEFT) is before
    shutil.rmtree(logdir / LEFT)
    saved_runs.save(logdir / LEFT, 100, saved_runs.random_weights(9, kernels=4, neurons=5))
    assert runs.get(LEFT).layers(BLANK)["conv"].shape == (1, 28, 28, 4)


@pytest.mark.parametrize(
    "name", ["../outside", "{outside}", "", ".", "..", "deeper", "\0", "\ud800"]
)
def test_a_name_reaches_no_folder_but_those_of_runs(runs, logdir, name):
    saved_runs.save(logdir.parent / "outside", 1, saved_runs.random_weights(1))
    name = name.format(outside=logdir.parent / "outside")
    assert refused(lambda: runs.get(name), "no-such-run", name)


@pytest.mark.parametrize("times", [2, None])
def test_a_network_that_is_replaced_while_it_is_read_is_read_again(
    runs, logdir, monkeypatch, times
):
    """It is read again, as long as that does not go on and on."""
    load, newer = tf.train.load_checkpoint, itertools.islice(itertools.count(110, 10), times)

    def overtaken(checkpoint):
        for step in itertools.islice(newer, 1):
            saved_runs.save(logdir / LEFT, step, saved_runs.random_weights(step))
        return load(checkpoint)

    monkeypatch.setattr(tf.train, "load_checkpoint", overtaken)
    if times:
        assert runs.get(LEFT).record.step == 120
    else:
        assert refused(lambda: runs.get(LEFT), "busy-run", LEFT)


# ------------------------------------------------------------------------ runs that cannot be shown


@pytest.mark.parametrize("harm", [damage, lambda folder: next(folder.glob("*.data-*")).unlink()])
def test_a_damaged_run_is_refused_and_not_listed_until_it_is_mended(runs, logdir, harm):
    harm(logdir / LEFT)
    for _ in range(2):
        assert refused(lambda: runs.get(LEFT), "damaged-run", LEFT)
    assert names(runs) == [RIGHT, WIDE] and newest(runs.list(), "convolutional") == WIDE
    saved_runs.save(logdir / LEFT, 200, saved_runs.random_weights(1))
    assert newest(runs.list(), "convolutional") == LEFT and runs.get(LEFT).record.step == 200


def test_runs_that_the_page_cannot_show(runs, logdir):
    """An earlier version saved no graph; the other graph makes no logits of images."""
    (logdir / LEFT / GRAPH).unlink()
    assert refused(lambda: runs.get(LEFT), "old-run", LEFT)
    assert names(runs) == [RIGHT, WIDE] and runs.old == 1
    with tf.Graph().as_default():
        variable = tf.Variable(tf.zeros([784, 10]), name="fc/Weights")
        tf.train.Saver([variable]).export_meta_graph(str(logdir / RIGHT / GRAPH))
    assert refused(lambda: runs.get(RIGHT), "no-logits", RIGHT)
    (logdir / WIDE / GRAPH).write_bytes(b"x")
    assert refused(lambda: runs.get(WIDE), "damaged-run", WIDE)
    assert names(runs) == []


def test_what_a_readers_training_saved_besides_is_no_layer(runs, logdir):
    step = {"global_step": np.float32(7)}
    saved_runs.save(logdir / LEFT, 200, saved_runs.random_weights(1) | step)
    assert runs.get(LEFT).record.step == 200


def test_numbers_that_overflow(runs, logdir):
    values = saved_runs.random_weights(1)
    values["fc2/Weights"] *= np.float32(1e38)
    saved_runs.save(logdir / LEFT, 200, {name: 10 * value for name, value in values.items()})
    image = np.ones((1, 784), np.float32)
    assert refused(lambda: runs.get(LEFT).probabilities(image), "overflow", LEFT)
    assert refused(lambda: runs.get(LEFT).layers(image), "overflow", LEFT)
