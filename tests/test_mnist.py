"""mnist.py as its user meets it: it trains, and TensorBoard's reader finds what it wrote."""

import os
import re
import shutil
import signal
import struct
import subprocess
import sys

import input_data
import mnist
from mnist import tf
from support import generated_digits

import numpy as np
import pytest

from helpers import (
    OFFLINE,
    PROJECT,
    curve,
    events,
    forked,
    numpy_layers,
    run_folders,
    smoothed,
    wait_for,
)
from helpers.small_mnist import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    small_set,
    write,
)

LAYERS = {  # {scope: sizes of weights and biases}, with the constants as shipped
    "conv": (5 * 5 * 16, 16),
    "fc1": (14 * 14 * 16 * 1024, 1024),
    "fc2": (1024 * 10, 10),
}


@pytest.fixture(scope="module")
def small_data(tmp_path_factory):
    """A data folder with a few random images in MNIST's format, which are not MNIST's."""
    folder = tmp_path_factory.mktemp("small")
    write(folder, small_set(600, 300))
    return str(folder)


# ------------------------------------------------------------------------------ the default run


def test_default_run_learns_as_promised(default_run):
    """Its seed keeps it from failing by chance."""
    folder = default_run.folder
    assert folder.name == "lr=0.0001,epochs=2000"
    accuracy, loss = (curve(folder / "test", tag) for tag in ["accuracy", "loss"])
    assert list(accuracy) == list(loss) == list(range(0, 2001, 10))
    assert accuracy[0] < 0.4  # untrained
    around_200 = [accuracy[step] for step in range(150, 251, 10)]
    assert np.mean(around_200) >= 0.89 and accuracy[1000] >= 0.95 and accuracy[2000] >= 0.97
    assert loss[2000] < loss[200] < loss[0]
    for tag in ["accuracy", "loss"]:
        assert list(curve(folder / "train", tag)) == list(range(0, 2000, 10))
    assert f"Test accuracy {accuracy[2000]:.2%} after step 2000" in default_run.out


def test_default_run_is_quiet(default_run):
    said = default_run.out + default_run.err
    assert len(said.splitlines()) <= 15
    assert not re.search(r"tensorflow|cuda|onednn|warning|[IWE]0000", said, re.IGNORECASE)
    assert "MNIST" in said and "60,000" in said and "generated" not in said
    assert "tensorboard --logdir=" in said and "LEARNING_RATE" in said


def test_default_run_can_be_smoothed(default_run):
    """With the slider at 0.9, TensorBoard shows about the accuracy on all images."""
    accuracy = curve(default_run.folder / "test", "accuracy")
    shown = dict(zip(accuracy, smoothed(accuracy.values(), 0.9), strict=True))
    for step, points in [(500, 1.5), (1000, 1), (1500, 1), (2000, 1)]:
        assert shown[step] == pytest.approx(accuracy[step], abs=points / 100)


def test_default_run_tests_on_all_images_at_each_quarter(default_run):
    """Everywhere else on 500: so many images make that accuracy, a whole number of right ones."""
    for step, accuracy in curve(default_run.folder / "test", "accuracy").items():
        images = 10_000 if step in (500, 1000, 1500, 2000) else 500
        assert accuracy * images == pytest.approx(round(accuracy * images), abs=0.01)


def test_default_run_can_be_rebuilt(default_run, mnist_data):
    """Another program draws the network anew; NumPy, from its weights, agrees with every answer."""
    test = input_data.read_data_sets(mnist_data).test
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, 784])
        logits = mnist.convolutional(images, 16, 1024)
        tf.train.Saver().restore(session, str(default_run.folder / "model.ckpt-2000"))
        answers = np.concatenate(
            [session.run(logits, {images: part}) for part in np.split(test.images, 20)]
        )
        weights = {variable.op.name: session.run(variable) for variable in tf.trainable_variables()}
    accuracy = curve(default_run.folder / "test", "accuracy")[2000]
    assert np.mean(answers.argmax(axis=1) == test.labels) == pytest.approx(accuracy, abs=1e-4)
    expected = numpy_layers(weights, test.images[:500])[-1]
    np.testing.assert_allclose(answers[:500], expected, rtol=1e-3, atol=1e-3)


def test_default_run_has_histograms_of_what_a_layer_is(default_run):
    train = events(default_run.folder / "train")
    histograms = {tag: train.Histograms(tag) for tag in train.Tags()["histograms"]}
    for scope, sizes in LAYERS.items():
        for kind in ["weight", "bias", "activation"]:
            steps = [event.step for event in histograms[f"network/{scope}/{kind}"]]
            assert steps == list(range(0, 2001, 100))
        for kind, size in zip(["weight", "bias"], sizes, strict=True):
            values = histograms[f"network/{scope}/{kind}"]
            assert {event.histogram_value.num for event in values} == {size}
    weights = histograms["network/fc1/weight"][0].histogram_value
    # A normal distribution of deviation 0.1, cut off at 0.2, has a deviation of 0.088.
    assert np.sqrt(weights.sum_squares / weights.num) == pytest.approx(0.088, abs=0.001)
    assert weights.max <= 0.2
    assert histograms["network/conv/activation"][-1].histogram_value.min >= 0  # after ReLU
    scopes = {node.name.split("/")[0] for node in train.Graph().node}
    assert {"input", "conv", "fc1", "fc2", "loss", "accuracy", "train"} <= scopes


# ------------------------------------------------------------------------------------ other runs


def test_run_without_network_learns_from_generated_digits_and_says_so(
    run_here, tmp_path, monkeypatch
):
    monkeypatch.setattr(generated_digits, "TRAIN_SIZE", 4000)
    (tmp_path / "empty").mkdir()
    status, out, err = run_here("--epochs", 20, data_dir=tmp_path / "empty")
    assert status == 0, err
    assert run_folders(tmp_path / "runs") == ["lr=0.0001,epochs=20,generated-digits"]
    assert len((out + err).splitlines()) < 24  # one screen
    for mirror in input_data.MIRRORS:
        assert re.search("//([^/]+)", mirror)[1] in out
    for name in input_data.OFFICIAL:
        assert f"{name}.gz" in out  # how to supply the files
    said = [line for line in out.splitlines() if "generated digits" in line]
    assert "Training" in said[0] and "Test accuracy" in said[-1] and "not MNIST" in said[-1]
    assert not any("idx" in name for name in os.listdir(tmp_path / "empty"))
    folder = tmp_path / "runs" / "lr=0.0001,epochs=20,generated-digits"
    assert list(curve(folder / "test", "accuracy")) == [0, 5, 10, 15, 20]
    assert list(curve(folder / "train", "loss")) == list(range(20))


def test_softmax_network(run_here, tmp_path):
    status, _, err = run_here("--network", "softmax", "--epochs", 600, "--learning_rate", 0.002)
    assert status == 0, err
    (name,) = run_folders(tmp_path / "runs")
    assert name == "lr=0.002,epochs=600,softmax,generated-digits"
    assert curve(tmp_path / "runs" / name / "test", "accuracy")[600] > 0.8
    tags = events(tmp_path / "runs" / name / "train").Tags()["histograms"]
    assert set(tags) >= {f"network/fc/{kind}" for kind in ["weight", "bias", "activation"]}
    assert not any(re.search("conv|fc1", tag) for tag in tags)


def test_seed_repeats_a_run_to_the_last_bit(run_here, small_data, tmp_path):
    for seed in [7, 7, None, None]:
        status, _, err = run_here(
            "--epochs", 6, "--batch_size", 50, "--seed", seed, data_dir=small_data
        )
        assert status == 0, err
    name = "lr=0.0001,epochs=6,batch_size=50,other-digits"
    names = [name, f"{name},2", f"{name},3", f"{name},4"]
    assert run_folders(tmp_path / "runs") == names
    first, again, free, other = (
        tuple(
            struct.pack("f", loss)
            for part in ["train", "test"]
            for loss in curve(tmp_path / "runs" / name / part, "loss").values()
        )
        for name in names
    )
    assert first == again
    assert len({first, free, other}) == 3


def test_widths_of_the_layers(run_here, small_data, tmp_path):
    status, _, err = run_here(
        "--kernels", 5, "--neurons", 33, "--epochs", 2, "--batch_size", 9, data_dir=small_data
    )
    assert status == 0, err
    name = "lr=0.0001,epochs=2,batch_size=9,kernels=5,neurons=33,other-digits"
    assert run_folders(tmp_path / "runs") == [name]
    checkpoint = tf.train.load_checkpoint(str(tmp_path / "runs" / name / "model.ckpt-2"))
    assert checkpoint.get_variable_to_shape_map() == {
        "conv/Weights": [5, 5, 1, 5],
        "conv/Biases": [5],
        "fc1/Weights": [14 * 14 * 5, 33],
        "fc1/Biases": [33],
        "fc2/Weights": [33, 10],
        "fc2/Biases": [10],
    }


def test_both_curves_show_the_network_of_their_step(run_here, tmp_path):
    """Where both are of the same images, and a batch is all of them, the curves are the same."""
    contents = small_set(500, 500)
    contents[TEST_IMAGES], contents[TEST_LABELS] = contents[TRAIN_IMAGES], contents[TRAIN_LABELS]
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", contents)
    flags = ["--network", "softmax", "--batch_size", 500, "--learning_rate", 0.1, "--epochs", 20]
    status, _, err = run_here(*flags, data_dir=tmp_path / "data")
    assert status == 0, err
    (folder,) = (tmp_path / "runs").iterdir()
    for tag in ["accuracy", "loss"]:
        train, test = (curve(folder / part, tag) for part in ["train", "test"])
        assert list(train) == list(range(20)) and list(test) == [0, 5, 10, 15, 20]
        assert len(set(train.values())) > 5  # it learns
        for step in [0, 5, 10, 15]:
            assert train[step] == pytest.approx(test[step], rel=1e-4)


# --------------------------------------------------------------------------------- stopped early


def test_signal_saves_what_was_learned(generated_data, tmp_path):
    """From the first step to the last; a second one, meant for the first, is not needed."""
    flags = ["--epochs", 100_000, "--data_dir", generated_data, "--logdir", tmp_path / "runs"]
    process = forked.start(flags, tmp_path / "said")
    wait_for(lambda: list(tmp_path.glob("runs/*/model.ckpt-10.index")))
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 143
    (name,) = run_folders(tmp_path / "runs")
    folder = tmp_path / "runs" / name
    step = max(curve(folder / "test", "accuracy"))
    assert 0 < step < 100_000
    assert (folder / f"model.ckpt-{step}.index").exists()
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said
    assert f"model.ckpt-{step}" in said.splitlines()[-1] and "Stopped early" in said


def test_diverging_run_stops_with_one_sentence(run_here, tmp_path):
    status, out, err = run_here("--learning_rate", "1e10")
    assert status == 1
    sentence = r"The loss is (nan|inf) at step \d+: LEARNING_RATE 10000000000.0 is too high .*"
    assert re.fullmatch(sentence, err.splitlines()[-1])
    assert "Traceback" not in err and "summary histogram" not in out + err
    (name,) = run_folders(tmp_path / "runs")
    assert list(curve(tmp_path / "runs" / name / "test", "loss")) == [0]
    assert events(tmp_path / "runs" / name / "train").Tags()["graph"]


def test_run_that_learned_nothing_says_what_that_means(run_here):
    status, out, err = run_here("--seed", 1, "--learning_rate", 0.1, "--epochs", 40)
    assert status == 0, err
    assert "no better than guessing" in out and "smaller LEARNING_RATE" in out
    status, out, err = run_here("--seed", 1, "--learning_rate", 1e-9, "--epochs", 3)
    assert status == 0, err
    assert "no better than guessing" in out and "larger LEARNING_RATE" in out


# ------------------------------------------------------------------ constants, data, edited copies


def test_flags_that_make_no_sense_leave_no_run(run_here, tmp_path):
    for flags, status in [("--epochs 0", 2), ("--epoch 5", 2), ("--batch_size 60001", 1)]:
        assert run_here(*flags.split())[0] == status
        assert not (tmp_path / "runs").exists() or run_folders(tmp_path / "runs") == []


def test_malformed_data_is_named(run_here, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    first, *others = input_data.OFFICIAL
    (data / f"{first}.gz").write_bytes(b"<html>Not found</html>")
    for name in others:
        (data / f"{name}.gz").touch()
    status, out, err = run_here(data_dir=data)
    assert (status, out) == (1, "") and err.count("\n") == 1
    assert f"{first}.gz" in err and "delete it to download it again" in err


def test_edited_copy(tmp_path, small_data):
    """The way to experiment is to edit mnist.py: constants, and the network itself.

    A good edit is used, a bad one answered in a sentence; whatever is drawn fits.
    """
    copy = tmp_path / "copy"
    shutil.copytree(PROJECT / "support", copy / "support")
    for path in PROJECT.glob("*.py"):
        shutil.copy(path, copy)

    def run(edits):
        text = (PROJECT / "mnist.py").read_text()
        for old, new in edits.items():
            text, found = re.subn(old, new, text, flags=re.MULTILINE)
            assert found, old
        (copy / "mnist.py").write_text(text)
        done = subprocess.run(
            [sys.executable, copy / "mnist.py", "--data_dir", small_data],
            capture_output=True,
            text=True,
            env=os.environ | OFFLINE,
        )
        return done.returncode, done.stdout, done.stderr

    edits = {
        r"^EPOCHS = \S+": "EPOCHS = 3",
        r"^LEARNING_RATE = \S+": "LEARNING_RATE = 0.02",
        r"^LOGDIR = \S+": 'LOGDIR = "mine/"',
        r"\[5, 5, size_in": "[3, 3, size_in",
        "    fc1 = .*": r"\g<0>\n    fc1 = fully_connected_layer(fc1, neurons, neurons, 'more')",
    }
    status, out, err = run(edits)
    assert status == 0, err
    assert "600 images to learn from, 300 to test it on" in out
    assert run_folders(copy / "mine") == ["lr=0.02,epochs=3,other-digits"]
    folder = copy / "mine" / "lr=0.02,epochs=3,other-digits"
    assert "network/more/weight" in events(folder / "train").Tags()["histograms"]

    status, out, err = run({r"^EPOCHS = \S+": "EPOCHS = 'three'"})
    assert (status, out) == (1, "") and err.count("\n") == 1 and "EPOCHS" in err and "three" in err


# ---------------------------------------------------------------------------------------- imports

MODULES = [
    *(path.stem for path in sorted(PROJECT.glob("*.py"))),
    *(f"support.{path.stem}" for path in sorted(PROJECT.glob("support/[a-z]*.py"))),
]


def test_each_module_can_be_imported_first(tmp_path):
    """Alone, and quietly: with a TensorFlow that is noisy, and quick to import."""
    package = tmp_path / "tensorflow" / "compat"
    package.mkdir(parents=True)
    (tmp_path / "tensorflow" / "__init__.py").write_text("import os; os.write(2, b'a notice')")
    (package / "__init__.py").touch()
    (package / "v1.py").write_text("from unittest.mock import MagicMock as __getattr__\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(PROJECT)])}
    command = [sys.executable, "-W", "error::SyntaxWarning", "-c"]
    processes = [
        subprocess.Popen(
            [*command, f"import {module}"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for module in MODULES
    ]
    said = [process.communicate()[0] for process in processes]
    assert dict(zip(MODULES, said, strict=True)) == dict.fromkeys(MODULES, "")
    assert not any(process.returncode for process in processes)


def test_import_trains_nothing_and_builds_nothing(tmp_path):
    script = (
        "import os, mnist; tf = mnist.tf; "
        "print(len(tf.get_default_graph().get_operations()), os.listdir(), tf.executing_eagerly())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout == "0 [] True\n" and done.stderr == ""


def test_shipped_values_are_those_of_the_constants():
    for name, value in mnist.runs.SHIPPED.items():
        assert getattr(mnist, name.upper()) == value
