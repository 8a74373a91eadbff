"""mnist.py as its user meets it: it trains, and TensorBoard's reader finds what it wrote."""

import os
import re

import numpy as np
import pytest

import input_data
from helpers import curve, events, numpy_layers, run_folders, smoothed, variables
from helpers.small_mnist import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    small_set,
    write,
)
from page.networks import TrainedRuns
from support import generated_digits, saved, tensorflow1

LAYERS = {  # {scope: sizes of weights and biases}, with the constants as shipped
    "conv": (5 * 5 * 16, 16),
    "fc1": (14 * 14 * 16 * 1024, 1024),
    "fc2": (1024 * 10, 10),
}


# ------------------------------------------------------------------------------ the default run


def test_default_run_learns_as_promised(default_run):
    """Its seed keeps it from failing by chance."""
    folder = default_run.folder
    assert folder.name == "lr=0.0001,2000"
    accuracy, loss = (curve(folder / "test", tag) for tag in ["Accuracy", "Loss"])
    assert list(accuracy) == list(loss) == list(range(0, 2001, 10))
    assert accuracy[0] < 0.4 and 2.3 < loss[0] < 6  # untrained
    around_200 = [accuracy[step] for step in range(150, 251, 10)]
    assert np.mean(around_200) >= 0.89 and accuracy[1000] >= 0.95 and accuracy[2000] >= 0.97
    assert loss[2000] < loss[200] < loss[0]
    for tag in ["Accuracy", "Loss"]:
        assert list(curve(folder / "train", tag)) == list(range(0, 2000, 10))
    assert f"Test accuracy {accuracy[2000]:.2%} after step 2000" in default_run.out
    record = saved.read_record(folder)
    assert (record.status, record.step, record.images) == ("finished", 2000, 10_000)
    assert record.accuracy == pytest.approx(accuracy[2000])


def test_default_run_is_quiet(default_run):
    said = default_run.out + default_run.err
    assert len(said.splitlines()) <= 15
    assert not re.search(r"tensorflow|cuda|onednn|warning|[IWE]0000", said, re.IGNORECASE)
    assert "MNIST" in said and "60,000" in said and "generated" not in said
    assert "tensorboard --logdir=" in said and "LEARNING_RATE" in said


def test_default_run_can_be_smoothed(default_run):
    """With the slider at 0.9, TensorBoard shows about the accuracy on all images."""
    accuracy = curve(default_run.folder / "test", "Accuracy")
    shown = dict(zip(accuracy, smoothed(accuracy.values(), 0.9), strict=True))
    for step, points in [(500, 1.5), (1000, 1), (1500, 1), (2000, 1)]:
        assert shown[step] == pytest.approx(accuracy[step], abs=points / 100)


def test_default_run_can_be_rebuilt(default_run, mnist_data):
    """Its folder gives the network again, in float32; NumPy agrees with every answer."""
    test = input_data.read_data_sets(mnist_data).test
    network = TrainedRuns(default_run.folder.parent).get(default_run.folder.name)
    parts = [network.layers(part)["logits"] for part in np.split(test.images, 20)]
    answers, weights = np.concatenate(parts), variables(default_run.folder / "model.ckpt-2000")
    accuracy = curve(default_run.folder / "test", "Accuracy")[2000]
    reach = 2e-3 if tensorflow1.precision() == "bfloat16" else 1e-4
    assert np.mean(answers.argmax(axis=1) == test.labels) == pytest.approx(accuracy, abs=reach)
    expected = numpy_layers(weights, test.images[:500])[-1]
    np.testing.assert_allclose(answers[:500], expected, rtol=1e-3, atol=1e-3)


def test_default_run_has_histograms_of_what_a_layer_is(default_run):
    train = events(default_run.folder / "train")
    histograms = {tag: train.Histograms(tag) for tag in train.Tags()["histograms"]}
    for scope, sizes in LAYERS.items():
        for kind, size in zip(["weight", "bias"], sizes, strict=True):
            values = histograms[f"{scope}/{kind}"]
            assert {event.histogram_value.num for event in values} == {size}
    weights = histograms["fc1/weight"][0].histogram_value
    # A normal distribution of deviation 0.1, cut off at 0.2, has a deviation of 0.088.
    assert np.sqrt(weights.sum_squares / weights.num) == pytest.approx(0.088, abs=0.001)
    assert weights.max <= 0.2
    assert histograms["conv/activation"][-1].histogram_value.min >= 0  # after ReLU


# ------------------------------------------------------------------------------------ other runs


def test_run_without_network_learns_from_generated_digits_and_says_so(
    run_here, tmp_path, monkeypatch
):
    monkeypatch.setattr(generated_digits, "TRAIN_SIZE", 1000)
    monkeypatch.setattr(generated_digits, "TEST_SIZE", 500)
    (tmp_path / "empty").mkdir()
    status, out, err = run_here("--epochs", 20, data_dir=tmp_path / "empty")
    assert status == 0, err
    assert run_folders(tmp_path / "runs") == ["lr=0.0001,20,generated-digits"]
    assert len((out + err).splitlines()) < 24  # one screen
    for mirror in input_data.MIRRORS:
        assert re.search("//([^/]+)", mirror)[1] in out
    for name in input_data.OFFICIAL:
        assert f"{name}.gz" in out  # how to supply the files
    said = [line for line in out.splitlines() if "generated digits" in line]
    assert "Training" in said[0] and "Test accuracy" in said[-1] and "not MNIST" in said[-1]
    assert not any("idx" in name for name in os.listdir(tmp_path / "empty"))
    folder = tmp_path / "runs" / "lr=0.0001,20,generated-digits"
    assert list(curve(folder / "test", "Accuracy")) == [0, 5, 10, 15, 20]
    assert list(curve(folder / "train", "Loss")) == list(range(20))


def test_seed_repeats_a_run_to_the_last_bit(run_here, tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", small_set(600, 300))
    for seed in [7, 7, None, None]:
        flags = ["--epochs", 3, "--kernels", 4, "--neurons", 16, "--seed", seed]
        status, _, err = run_here(*flags, data_dir=tmp_path / "data")
        assert status == 0, err
    name = "lr=0.0001,3,kernels=4,neurons=16,other-digits"
    names = [name, f"{name},2", f"{name},3", f"{name},4"]
    assert run_folders(tmp_path / "runs") == names
    results = []
    for name in names:
        folder = tmp_path / "runs" / name
        weights = variables(folder / "model.ckpt-3")
        losses = [tuple(curve(folder / part, "Loss").values()) for part in ["train", "test"]]
        results.append((*losses, weights["fc1/Weights"].tobytes()))
    first, again, free, other = results
    assert first == again
    for one, two in [(first, free), (first, other), (free, other)]:
        assert all(a != b for a, b in zip(one, two, strict=True))


def test_both_curves_show_the_network_of_their_step(run_here, tmp_path, monkeypatch):
    """Where both are of the same images, and a batch is all of them, the curves are the same."""
    monkeypatch.setenv("MNIST_FLOAT32", "1")  # TensorFlow rounds to bfloat16 at other places
    contents = small_set(500, 500)
    contents[TEST_IMAGES], contents[TEST_LABELS] = contents[TRAIN_IMAGES], contents[TRAIN_LABELS]
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", contents)
    flags = ["--kernels", 4, "--neurons", 64, "--batch_size", 500, "--epochs", 20]
    flags += ["--learning_rate", 0.001]
    status, _, err = run_here(*flags, data_dir=tmp_path / "data")
    assert status == 0, err
    (folder,) = (tmp_path / "runs").iterdir()
    for tag in ["Accuracy", "Loss"]:
        train, test = (curve(folder / part, tag) for part in ["train", "test"])
        assert list(train) == list(range(20)) and list(test) == [0, 5, 10, 15, 20]
        assert len(set(train.values())) > 5  # it learns
        for step in [0, 5, 10, 15]:
            assert train[step] == pytest.approx(test[step], rel=1e-4)


# ----------------------------------------------------------------------------- rates that are bad


@pytest.mark.parametrize(
    "network, rate", [("convolutional", 1e10), ("convolutional", 1e30), ("softmax", 9e37)]
)
def test_diverging_run_stops_with_one_sentence(run_here, tmp_path, network, rate):
    """No infinite loss reaches a curve."""
    status, out, err = run_here("--network", network, "--learning_rate", rate)
    assert status == 1
    sentence = err.splitlines()[-1]
    assert re.match(r"(The loss is (nan|inf)|A number .*) at step \d+: ", sentence)
    assert f"LEARNING_RATE {rate} is too high" in sentence
    assert not re.search("Traceback|Warning|summary histogram", out + err)
    (folder,) = (tmp_path / "runs").iterdir()
    losses = [curve(folder / part, "Loss").values() for part in ["train", "test"]]
    assert losses[1] and np.isfinite([*losses[0], *losses[1]]).all()
    assert events(folder / "train").Tags()["graph"]
    assert saved.read_record(folder).status == "failed"


def test_run_whose_relus_died_says_so(run_here):
    flags = ["--learning_rate", 0.1, "--kernels", 4, "--neurons", 64, "--epochs", 40, "--seed", 1]
    status, out, err = run_here(*flags)
    assert status == 0, err
    assert "no better than guessing" in out and "try a smaller LEARNING_RATE" in out
