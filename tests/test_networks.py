"""Trained networks: what they answer, and runs that appear, go on, are deleted or damaged."""

import itertools
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import input_data
import mnist
from helpers import saved_runs, wait_for
from helpers.saved_runs import LEFT, RIGHT, WIDE, damage
from page.networks import Refusal, TrainedRuns, newest
from support.run import Run
from support.settings import read_settings
from support.tensorflow1 import tf

BLANK = np.zeros((1, 784), np.float32)


@pytest.fixture
def logdir(tmp_path):
    saved_runs.save_three(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def runs(logdir):
    return TrainedRuns(logdir, mnist.network)


def refused(question, code, run):
    """Whether a question is refused so."""
    with pytest.raises(Refusal) as refusal:
        question()
    return (refusal.value.code, refusal.value.run) == (code, run)


def names(runs):
    return [record.name for record in runs.list()]


# ------------------------------------------------------------------------------------ what it says


@pytest.mark.parametrize("run", [LEFT, RIGHT, WIDE])
def test_a_network_answers_as_numpy_does(runs, logdir, run):
    weights = saved_runs.save_three(logdir)[run]
    images = np.random.default_rng(0).random((5, 784), np.float32)
    network, expected = runs.get(run), saved_runs.forward(weights, images)
    layers = network.layers(images)
    assert set(layers) == set(expected)
    for name, values in layers.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-3)
    softmax = saved_runs.softmax(expected["logits"])
    np.testing.assert_allclose(network.probabilities(images), softmax, atol=1e-5)
    for name in network.weights:
        np.testing.assert_array_equal(network.weights[name], weights[name])


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


# --------------------------------------------------------------------- runs that come, go on and go


def test_the_newest_run_comes_first(runs, logdir):
    assert names(runs) == [LEFT, RIGHT, WIDE]
    assert (newest(runs.list(), "convolutional"), newest(runs.list(), "softmax")) == (LEFT, RIGHT)
    saved_runs.save(logdir / "new", 10, saved_runs.random_weights(9), started=2e9)
    assert names(runs) == ["new", LEFT, RIGHT, WIDE]
    assert newest(runs.list(), "convolutional") == "new"
    assert runs.get("new").record.step == 10


def test_a_run_that_is_trained_anew_to_the_same_step_is_loaded_anew(runs, logdir):
    before = runs.get(LEFT)
    assert runs.get(LEFT) is before
    shutil.rmtree(logdir / LEFT)
    saved_runs.save(logdir / LEFT, 100, saved_runs.random_weights(9, kernels=4, neurons=5))
    assert runs.get(LEFT).layers(BLANK)["conv"].shape == (1, 28, 28, 4)


def test_a_deleted_run_is_gone_and_the_next_takes_its_place(runs, logdir):
    runs.get(LEFT)
    shutil.rmtree(logdir / LEFT)
    assert refused(lambda: runs.get(LEFT), "no-such-run", LEFT)
    assert newest(runs.list(), "convolutional") == WIDE
    shutil.rmtree(logdir)
    assert runs.list() == [] and newest(runs.list(), "softmax") is None
    assert refused(lambda: runs.get(None), "no-such-run", None)


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


def test_a_run_in_training_is_followed_to_its_end(tmp_path, data_dir):
    flags = ["--epochs=100", "--kernels=2", "--neurons=4", f"--logdir={tmp_path / 'training'}"]
    settings = read_settings(vars(mnist), flags)
    digits = input_data.read_data_sets(
        data_dir, not os.environ.get("MNIST_DATA"), validation_size=0
    )
    run = Run(settings, digits)
    runs, seen = TrainedRuns(settings.logdir, mnist.network), []
    go_on = run.note_training

    def wait_until_seen(loss):
        """At two looks, train on only when the network that was just saved has been seen."""
        if run.record.step in (10, 50):
            wait_for(lambda: seen and seen[-1] == run.record.step)
        go_on(loss)

    run.note_training = wait_until_seen
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(mnist.train, settings, digits, run)
        while not training.done() or seen[-1] < 100:
            try:
                network = runs.get(run.folder.name)
                assert np.isfinite(network.probabilities(BLANK)).all()
                seen.append(network.record.step)
            except Refusal as refusal:
                time.sleep(0.01)
                assert refusal.code == "busy-run" or (refusal.code == "no-such-run" and not seen)
            assert not training.done() or training.exception() is None
    assert seen == sorted(seen) and set(seen) >= {10, 50, 100}
    [record] = runs.list()
    assert (record.step, record.status, record.kernels) == (100, "finished", 2)


# ------------------------------------------------------------------------ runs that cannot be shown


@pytest.mark.parametrize("harm", [damage, lambda folder: next(folder.glob("*.data-*")).unlink()])
def test_a_damaged_run_is_refused_and_not_listed_until_it_is_mended(runs, logdir, harm):
    harm(logdir / LEFT)
    for _ in range(2):
        assert refused(lambda: runs.get(LEFT), "damaged-run", LEFT)
    assert names(runs) == [RIGHT, WIDE] and newest(runs.list(), "convolutional") == WIDE
    saved_runs.save(logdir / LEFT, 200, saved_runs.random_weights(1))
    assert newest(runs.list(), "convolutional") == LEFT and runs.get(LEFT).record.step == 200


def with_a_variable_more(images, record):
    tf.Variable(tf.zeros([3]), name="more")
    return mnist.network(images, record)


def without_hidden_layer(images, record):
    return mnist.fully_connected_layer(images, 784, 10, "fc")


@pytest.mark.parametrize("build", [with_a_variable_more, without_hidden_layer])
def test_a_run_of_another_network_than_that_of_mnist_py(logdir, build):
    runs = TrainedRuns(logdir, build)
    assert refused(lambda: runs.get(LEFT), "other-network", LEFT)
    assert names(runs) == [RIGHT, WIDE]


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
