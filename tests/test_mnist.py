"""mnist.py as its user meets it: a process that trains, whose events TensorBoard's own reader reads back."""

import os
import pathlib
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import PROJECT

QUICK = ("--network", "softmax", "--epochs", "250")  # under a second of training


def folders(tmp_path):
    return sorted(path.name for path in (tmp_path / "runs").iterdir())


def events(folder):
    """What TensorBoard's reader finds in an event folder."""
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0}).Reload()


def curve(folder, tag):
    """A curve as {step: value}; each step must have been written once."""
    points = [(event.step, event.value) for event in events(folder).Scalars(tag)]
    assert len(points) == len(dict(points))
    return dict(points)


def numpy_network(weights, images):
    """The convolutional network's logits, computed by NumPy alone, one shifted copy of the images per kernel weight."""
    padded = np.pad(images.reshape(-1, 28, 28), [(0, 0), (2, 2), (2, 2)])
    convolution = sum(
        padded[:, y : y + 28, x : x + 28, None] * weights["conv/Weights"][y, x, 0]
        for y in range(5)
        for x in range(5)
    )
    activation = np.maximum(convolution + weights["conv/Biases"], 0)
    pooled = activation.reshape(-1, 14, 2, 14, 2, 16).max(axis=(2, 4))
    hidden = np.maximum(
        pooled.reshape(-1, 3136) @ weights["fc1/Weights"] + weights["fc1/Biases"], 0
    )
    return hidden @ weights["fc2/Weights"] + weights["fc2/Biases"]


# ------------------------------------------------------------------------------------------------ what a run leaves


@pytest.mark.slow
def test_default_run_on_mnist_learns_as_promised(run, mnist_data, tmp_path):
    # A seed, for a test that must not fail by chance: seeds 0 to 4 end between 97.15% and 97.87%.
    status, out, err = run("--seed", "0", data_dir=mnist_data)
    assert status == 0, err
    assert folders(tmp_path) == ["convolutional,lr=0.0001,epochs=2000"]
    folder = tmp_path / "runs" / folders(tmp_path)[0]

    accuracy = curve(folder / "test", "accuracy")
    assert list(accuracy) == list(range(0, 2001, 100))
    assert accuracy[0] < 0.4  # untrained
    assert accuracy[200] >= 0.90 and accuracy[1000] >= 0.95 and accuracy[2000] >= 0.97
    loss = curve(folder / "test", "loss")
    assert list(loss) == list(accuracy) and loss[2000] < loss[200] < loss[0]
    assert f"{accuracy[2000]:.2%}" in out

    # Everything that was printed is the program's own, and short.
    assert len((out + err).splitlines()) <= 15
    assert not re.search(r"tensorflow|cuda|onednn|warning|[IWE]0000", out + err, re.IGNORECASE)
    assert "MNIST" in out and "60,000" in out and "generated" not in out
    assert "tensorboard --logdir=" in out and "LEARNING_RATE" in out

    # Another program rebuilds the network from the checkpoint; NumPy, from its weights, agrees with every answer.
    import mnist

    tf = mnist.tf
    data = mnist.input_data.read_data_sets(mnist_data)
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, 784])
        logits = mnist.NETWORKS["convolutional"](images)
        tf.train.Saver().restore(session, str(folder / "model.ckpt-2000"))
        answers = np.concatenate(
            [session.run(logits, {images: part}) for part in np.split(data.test.images, 20)]
        )
        weights = {variable.op.name: session.run(variable) for variable in tf.trainable_variables()}
    assert np.mean(answers.argmax(axis=1) == data.test.labels) == pytest.approx(
        accuracy[2000], abs=1e-4
    )
    np.testing.assert_allclose(
        numpy_network(weights, data.test.images[:500]), answers[:500], rtol=1e-3, atol=1e-3
    )


def test_run_without_network_learns_from_generated_digits_and_says_so(run, tmp_path):
    (tmp_path / "empty").mkdir()
    status, out, err = run("--epochs", "120", data_dir=str(tmp_path / "empty"))
    assert status == 0, err
    assert folders(tmp_path) == ["convolutional,lr=0.0001,epochs=120,generated-digits"]
    assert len((out + err).splitlines()) <= 15
    for host in [
        "storage.googleapis.com",
        "ossci-datasets.s3.amazonaws.com",
        "raw.githubusercontent.com",
    ]:
        assert host in out
    assert "train-images-idx3-ubyte.gz" in out  # how to supply the files
    said = [line for line in out.splitlines() if "generated digits" in line]
    assert "Training" in said[0] and "Test accuracy" in said[-1] and "not MNIST" in said[-1]
    assert not any("idx" in name for name in os.listdir(tmp_path / "empty"))

    folder = tmp_path / "runs" / folders(tmp_path)[0]
    train, test = events(folder / "train"), events(folder / "test")
    assert [event.step for event in test.Scalars("accuracy")] == [0, 100, 120]
    assert [event.step for event in train.Scalars("accuracy")] == list(range(10, 121, 10))
    assert [event.step for event in train.Scalars("loss")] == list(range(10, 121, 10))
    sizes = {
        "conv/Weights": 400,
        "conv/Biases": 16,
        "fc1/Weights": 3136 * 1024,
        "fc1/Biases": 1024,
        "fc2/Weights": 10240,
        "fc2/Biases": 10,
    }
    assert set(train.Tags()["histograms"]) == set(sizes)
    for tag, size in sizes.items():
        histograms = train.Histograms(tag)
        assert [event.step for event in histograms] == [0, 100, 120]
        assert all(event.histogram_value.num == size for event in histograms)
    assert (
        0.08
        < np.sqrt(train.Histograms("fc1/Weights")[0].histogram_value.sum_squares / (3136 * 1024))
        < 0.1
    )
    scopes = {node.name.split("/")[0] for node in train.Graph().node}
    assert {"input", "conv", "fc1", "fc2", "loss", "accuracy", "train"} <= scopes


def test_softmax_network(run_here, tmp_path):
    status, out, err = run_here(
        "--network", "softmax", "--epochs", "1000", "--learning_rate", "0.001"
    )
    assert status == 0, err
    folder = tmp_path / "runs" / folders(tmp_path)[0]
    assert folder.name == "softmax,lr=0.001,epochs=1000,generated-digits"
    assert curve(folder / "test", "accuracy")[1000] > 0.8
    assert set(events(folder / "train").Tags()["histograms"]) == {"fc/Weights", "fc/Biases"}


def test_seed_repeats_a_run_to_the_last_bit(run_here, tmp_path):
    runs = [("--seed", "7"), ("--seed", "7"), (), ()]
    for seed in runs:
        status, _, err = run_here("--epochs", "12", *seed)
        assert status == 0, err
    name = "convolutional,lr=0.0001,epochs=12,generated-digits"
    assert folders(tmp_path) == [name, f"{name},2", f"{name},3", f"{name},4"]
    first, again, free, other = (
        tuple(
            struct.pack("f", loss)
            for part in ("train", "test")
            for loss in curve(tmp_path / "runs" / folder / part, "loss").values()
        )
        for folder in folders(tmp_path)
    )
    assert first == again
    assert len({first, free, other}) == 3


# ------------------------------------------------------------------------------------------------ the terminal


def test_progress_bar_on_a_terminal_shows_loss_and_test_accuracy(start):
    ours, theirs = pty.openpty()
    process = start(*QUICK, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = b""
    while True:
        try:
            screen += os.read(ours, 4096)
        except OSError:  # the program has closed the terminal
            break
    os.close(ours)
    assert process.wait() == 0
    shown = re.findall(r"(\d+)%\|.*?loss [\d.e+-]+, test accuracy ([\d.]+)%", screen.decode())
    assert len(shown) > 3 and shown[-1][0] == "100"
    assert float(shown[-1][1]) > float(shown[0][1])


def test_progress_bar_in_a_file_stays_short(run_here):
    _, out, err = run_here("--network", "softmax", "--epochs", "600")
    assert len((out + err).splitlines()) <= 15
    assert "100%" in err


def test_reader_of_the_output_may_leave(start, tmp_path):
    process = start(*QUICK, stderr=subprocess.STDOUT)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert (tmp_path / "runs" / folders(tmp_path)[0] / "model.ckpt-250.index").exists()


def test_hang_up_of_the_terminal_saves_what_was_learned(start, tmp_path):
    ours, theirs = pty.openpty()
    process = start("--epochs", "100000", stdout=theirs, stderr=theirs)
    os.close(theirs)
    wait_for_training(tmp_path)
    os.close(ours)  # from here on, to write to the terminal is an error
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 129
    assert list(tmp_path.glob("runs/*/model.ckpt-*.index"))


@pytest.mark.parametrize("ending", ["raise ImportError('no such wheel')", "import os; os.abort()"])
def test_failed_import_of_tensorflow_shows_why(tmp_path, ending):
    package = tmp_path / "tensorflow" / "compat"
    package.mkdir(parents=True)
    (tmp_path / "tensorflow" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "v1.py").write_text(
        f"import os; os.write(2, b'a notice that tells why\\n')\n{ending}\n"
    )
    done = subprocess.run(
        [sys.executable, PROJECT / "mnist.py"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "a notice that tells why" in done.stderr
    assert ("no such wheel" in done.stderr) == ("ImportError" in ending)


def test_import_trains_nothing_and_builds_nothing(tmp_path):
    script = (
        "import os, mnist; print(len(mnist.tf.get_default_graph().get_operations()), os.listdir('.'),"
        " mnist.tf.executing_eagerly())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout == "0 [] True\n" and done.stderr == ""


# ------------------------------------------------------------------------------------------------ stopped early


def wait_for_training(tmp_path):
    """Return when the run is some steps on its way."""
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/test/events*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.5)


def test_signal_saves_what_was_learned(start, tmp_path):
    process = start("--epochs", "100000")
    wait_for_training(tmp_path)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in err
    folder = tmp_path / "runs" / folders(tmp_path)[0]
    step = max(curve(folder / "test", "accuracy"))
    assert 0 < step < 100000
    assert (folder / f"model.ckpt-{step}.index").exists()
    last_line = out.splitlines()[-1]
    assert f"model.ckpt-{step}" in last_line and "Stopped early" in last_line
    trained = (
        [event.step for event in events(folder / "train").Scalars("loss")] if step >= 10 else [0]
    )
    assert step - trained[-1] < 10


def test_diverging_run_stops_with_one_sentence(run_here, tmp_path):
    status, out, err = run_here("--learning_rate", "1e10")
    assert status == 1
    sentence = r"The loss is (nan|inf) at step \d+: LEARNING_RATE 10000000000.0 is too high .*"
    assert re.fullmatch(sentence, err.splitlines()[-1])
    assert "Traceback" not in err and "summary histogram" not in out + err
    folder = tmp_path / "runs" / folders(tmp_path)[0]
    assert list(curve(folder / "test", "loss")) == [0]
    assert events(folder / "train").Tags()["graph"]


def test_run_that_learned_nothing_says_what_that_means(run_here, tmp_path):
    status, out, err = run_here("--seed", "1", "--learning_rate", "0.1", "--epochs", "100")
    assert status == 0, err
    assert "no better than guessing" in out and "smaller LEARNING_RATE" in out
    status, out, err = run_here("--seed", "1", "--learning_rate", "1e-9", "--epochs", "3")
    assert "no better than guessing" in out and "larger LEARNING_RATE" in out


# ------------------------------------------------------------------------------------------------ settings

BAD = (
    [("EPOCHS", value) for value in [0, -5, 1.5, "many", None, True]]
    + [
        ("LEARNING_RATE", value)
        for value in [0, -0.1, 1e38, 10**400, float("inf"), "fast", "nan", None]
    ]
    + [("NETWORK", value) for value in ["perceptron", "", 3]]
    + [("BATCH_SIZE", value) for value in [0, -1, 2.5, "all"]]
    + [("SEED", value) for value in [-1, 2**32, 0.5, "lucky"]]
    + [("LOGDIR", value) for value in ["", __file__, __file__ + "/runs", 7]]
    + [("DATA_DIR", value) for value in ["", __file__, 7]]
)
BAD_WITHOUT_FLAG = [
    ("EVALUATE_EVERY", 0),
    ("HISTOGRAMS_EVERY", -1),
    ("BATCH_CURVES_EVERY", 2.5),
    ("TEST_BATCH_SIZE", None),
]
GOOD = {
    "LEARNING_RATE": 0.0001,
    "EPOCHS": 2000,
    "NETWORK": "convolutional",
    "BATCH_SIZE": 100,
    "SEED": None,
    "DATA_DIR": "data",
    "LOGDIR": "runs",
    "EVALUATE_EVERY": 100,
    "HISTOGRAMS_EVERY": 100,
    "BATCH_CURVES_EVERY": 10,
    "TEST_BATCH_SIZE": 1000,
}


@pytest.mark.parametrize("name, value", BAD + BAD_WITHOUT_FLAG)
def test_bad_constant(name, value, monkeypatch, tmp_path):
    from support import terminal

    monkeypatch.setattr(sys, "argv", ["mnist.py"])
    with pytest.raises(SystemExit) as exit:
        terminal.read_settings(str(tmp_path), GOOD | {name: value})
    sentence = exit.value.code  # a text as the code: Python prints it and exits with status 1
    assert sentence.startswith(f"{name} at the top of mnist.py must be ") and "\n" not in sentence
    assert repr(value).strip("'") in sentence


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, value in BAD if value is not None and value != 7]
)
def test_bad_flag(name, value, monkeypatch, tmp_path, capsys):
    from support import terminal

    monkeypatch.setattr(sys, "argv", ["mnist.py", f"--{name.lower()}={value}"])
    with pytest.raises(SystemExit) as exit:
        terminal.read_settings(str(tmp_path), GOOD)
    assert exit.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith(f"--{name.lower()} must be ") and sentence.count("\n") == 1
    assert str(value) in sentence


@pytest.mark.skipif(
    not os.path.exists("/proc/meminfo"), reason="only Linux tells how much memory is free"
)
def test_batch_that_does_not_fit_into_memory():
    from support import terminal

    terminal.check_memory(100, 150_000)
    with pytest.raises(
        SystemExit,
        match=r"BATCH_SIZE 2000000000 takes about 300000.0 GB of memory, and .* are free",
    ):
        terminal.check_memory(2_000_000_000, 150_000)


def test_only_errors_of_the_system_are_put_into_a_sentence():
    from support import terminal

    told = "Graph execution error:\n\nNode: save\n/runs/model.ckpt; No space left on device\n\t [[save]]\nHint: ..."
    assert terminal.reason(RuntimeError(told)) == "No space left on device"
    with pytest.raises(
        RuntimeError, match="reshape; 7 values"
    ):  # as a slip in an edited network gives it
        terminal.reason(RuntimeError("Input to reshape; 7 values"))


def test_relative_paths(monkeypatch, tmp_path):
    """A constant's start from the script's folder, a flag's from the current one."""
    from support import terminal

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "argv", ["mnist.py", "--logdir", "mine"])
    settings = terminal.read_settings(str(tmp_path / "project"), GOOD)
    assert pathlib.Path(settings.data_dir) == tmp_path / "project" / "data"
    assert pathlib.Path(settings.logdir).absolute() == tmp_path / "here" / "mine"


def test_edited_constants_count(run, tmp_path):
    """The way to experiment is to edit the top of mnist.py: a good edit is used, a bad one answered in a sentence."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in PROJECT.glob("*.py"):
        shutil.copy(path, copy)
    text = (copy / "mnist.py").read_text()
    text = re.sub(r"(?m)^EPOCHS = \S+", "EPOCHS = 3", text)
    text = re.sub(r"(?m)^LEARNING_RATE = \S+", "LEARNING_RATE = 0.02", text)
    (copy / "mnist.py").write_text(text)
    status, _, err = run(script=copy / "mnist.py")
    assert status == 0, err
    assert folders(tmp_path) == ["convolutional,lr=0.02,epochs=3,generated-digits"]
    (copy / "mnist.py").write_text(text.replace("EPOCHS = 3", "EPOCHS = 'three'"))
    status, out, err = run(script=copy / "mnist.py")
    assert (status, out) == (1, "") and err.count("\n") == 1 and "EPOCHS" in err and "three" in err


def test_edited_network_and_a_small_data_set_of_ones_own(run, tmp_path):
    """Twenty kernels instead of sixteen, on sixty images in MNIST's format: whatever is drawn has to fit."""
    copy, data = tmp_path / "copy", tmp_path / "mine"
    copy.mkdir()
    data.mkdir()
    for path in PROJECT.glob("*.py"):
        shutil.copy(path, copy)
    text = (copy / "mnist.py").read_text()
    edited = text.replace('1, 16, "conv"', '1, 20, "conv"').replace("14 * 14 * 16", "14 * 14 * 20")
    assert edited.count("20") > text.count("20") + 2
    (copy / "mnist.py").write_text(edited)
    random = np.random.default_rng(0)
    for part, size in [("train", 40), ("t10k", 20)]:
        images, labels = (
            random.integers(0, 256, (size, 28, 28), np.uint8),
            np.arange(size, dtype=np.uint8) % 10,
        )
        (data / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 2051, size, 28, 28) + images.tobytes()
        )
        (data / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, size) + labels.tobytes()
        )
    status, out, err = run(
        "--epochs", "3", "--batch_size", "10", script=copy / "mnist.py", data_dir=str(data)
    )
    assert status == 0, err
    assert "not MNIST's official" in out and "40 images to learn from, 20 to test it on" in out
    folder = tmp_path / "runs" / "convolutional,lr=0.0001,epochs=3"
    assert (folder / "test" / "fc1.bytes").stat().st_size == 20 * 1024 * 4
    assert events(folder / "train").Images("conv/kernels/image")[-1].width == 5 * 58


@pytest.mark.parametrize(
    "flags, status", [(["--epochs", "0"], 2), (["--epoch", "5"], 2), (["--batch_size", "60001"], 1)]
)
def test_bad_flags_leave_no_run(run_here, tmp_path, flags, status):
    assert run_here(*flags)[0] == status
    assert not (tmp_path / "runs").exists() or folders(tmp_path) == []


def test_malformed_data_is_named(run_here, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "train-images-idx3-ubyte.gz").write_bytes(b"<html>Not found</html>")
    for name in ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]:
        (data / f"{name}.gz").touch()
    status, out, err = run_here(data_dir=str(data))
    assert (status, out) == (1, "") and err.count("\n") == 1
    assert "train-images-idx3-ubyte.gz" in err and "delete it to download it again" in err
