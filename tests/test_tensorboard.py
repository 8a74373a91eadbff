"""What a learner sees in TensorBoard: the real server, asked through its own HTTP interface and in a browser."""

import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from PIL import Image

from conftest import OFFLINE, PROJECT

CONVOLUTIONAL = "convolutional,lr=0.001,epochs=130,generated-digits"
SOFTMAX = "softmax,lr=0.001,epochs=110,generated-digits"


@contextlib.contextmanager
def tensorboard(logdir):
    """A function that asks a TensorBoard of its own for a path and returns the parsed JSON, or the bytes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tensorboard.main",
            "--logdir",
            str(logdir),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--reload_interval",
            "1",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"

    def ask(path, body=None, parsed=True, **parameters):
        query = urllib.parse.urlencode(parameters)
        data = None if body is None else json.dumps(body).encode()
        address_and_query = f"{address}/data/{path}" + (f"?{query}" if query else "")
        request = urllib.request.Request(
            address_and_query, data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
        return json.loads(content) if parsed else content

    ask.address = address
    try:
        wait_for(lambda: ask("environment"), 60)
        yield ask
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_for(question, seconds):
    """The first answer that is not empty; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    answer = None
    while not answer and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            answer = question()
        if not answer:
            time.sleep(0.3)
    assert answer, f"no answer within {seconds} s"
    return answer


@pytest.fixture(scope="module")
def logdir(tmp_path_factory, generated_data):
    """Two experiments, run as a learner would run them."""
    logdir = tmp_path_factory.mktemp("runs")
    for network, epochs in [("convolutional", 130), ("softmax", 110)]:
        subprocess.run(
            [
                sys.executable,
                PROJECT / "mnist.py",
                "--learning_rate",
                "0.001",
                "--epochs",
                str(epochs),
                "--network",
                network,
                "--data_dir",
                generated_data,
                "--logdir",
                logdir,
            ],
            check=True,
            capture_output=True,
            env=os.environ | OFFLINE,
        )
    assert sorted(path.name for path in logdir.iterdir()) == [CONVOLUTIONAL, SOFTMAX]
    return logdir


@pytest.fixture(scope="module")
def ask(logdir):
    with tensorboard(logdir) as ask:
        wait_for(lambda: len(ask("runs")) == 4, 60)
        wait_for(lambda: f"{SOFTMAX}/test" in ask("plugin/images/tags"), 60)
        yield ask


def picture(ask, run, tag, index):
    """The picture of a tag, as an array, and its step."""
    steps = ask("plugin/images/images", run=run, tag=tag, sample=0)
    content = ask("plugin/images/individualImage?" + steps[index]["query"], parsed=False)
    return np.asarray(Image.open(io.BytesIO(content))), steps[index]["step"]


def test_scalars(ask):
    for name, last in [(CONVOLUTIONAL, 130), (SOFTMAX, 110)]:
        curves = {}
        for part in ["train", "test"]:
            for tag in ["accuracy", "loss"]:
                points = ask("plugin/scalars/scalars", run=f"{name}/{part}", tag=tag)
                curves[part, tag] = {step: value for _, step, value in points}
        assert (
            list(curves["train", "loss"])
            == list(curves["train", "accuracy"])
            == list(range(10, last + 1, 10))
        )
        assert (
            list(curves["test", "loss"])
            == list(curves["test", "accuracy"])
            == [*range(0, last, 100), last]
        )
        assert curves["test", "accuracy"][last] > 0.5 > curves["test", "accuracy"][0]
        assert curves["test", "loss"][last] < curves["test", "loss"][0]


def test_histograms_and_distributions(ask):
    tags = ask("plugin/histograms/tags")
    assert set(tags[f"{SOFTMAX}/train"]) == {"fc/Weights", "fc/Biases"}
    layers = {
        f"{layer}/{kind}" for layer in ["conv", "fc1", "fc2"] for kind in ["Weights", "Biases"]
    }
    assert set(tags[f"{CONVOLUTIONAL}/train"]) == layers
    for tag in layers:
        histograms = ask("plugin/histograms/histograms", run=f"{CONVOLUTIONAL}/train", tag=tag)
        assert [step for _, step, _ in histograms] == [0, 100, 130]
        assert histograms[0][2] != histograms[-1][2]  # it has learned
        distributions = ask(
            "plugin/distributions/distributions", run=f"{CONVOLUTIONAL}/train", tag=tag
        )
        assert [step for _, step, _ in distributions] == [0, 100, 130]


def test_kernels_form_out_of_noise(ask):
    steps = ask(
        "plugin/images/images", run=f"{CONVOLUTIONAL}/train", tag="conv/kernels/image", sample=0
    )
    assert [step["step"] for step in steps] == [0, 100, 130]
    first, last = (
        picture(ask, f"{CONVOLUTIONAL}/train", "conv/kernels/image", index)[0] for index in (0, -1)
    )
    assert first.shape[:2] == last.shape[:2] == (232, 232)
    for kernel in [
        last[y : y + 58, x : x + 58] for y in range(0, 232, 58) for x in range(0, 232, 58)
    ]:
        weights = kernel[4:54, 4:54].reshape(5, 10, 5, 10, -1)
        assert np.ptp(weights, axis=(1, 3)).max() == 0  # each weight is a square of one grey
        assert len(np.unique(weights)) > 10  # not blank
    assert np.mean(first != last) > 0.3


def test_mistakes_and_confusion_matrix(ask, logdir, generated_data):
    for tag, size in [("mistakes", (440, 704)), ("confusion", (508, 508))]:
        steps = ask("plugin/images/images", run=f"{CONVOLUTIONAL}/test", tag=tag, sample=0)
        assert [step["step"] for step in steps] == [0, 100, 130]
        pixels, step = picture(ask, f"{CONVOLUTIONAL}/test", tag, -1)
        assert step == 130 and pixels.shape[:2] == size
        assert len(np.unique(pixels)) > 20

    # The first tile is, pixel by pixel, the digit that the trained network gets wrong most confidently.
    import mnist

    tf = mnist.tf
    test = mnist.input_data.read_data_sets(generated_data, fake_data=True).test
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, 784])
        probabilities = tf.nn.softmax(mnist.NETWORKS["convolutional"](images))
        tf.train.Saver().restore(session, str(logdir / CONVOLUTIONAL / "model.ckpt-130"))
        answers = np.concatenate(
            [session.run(probabilities, {images: part}) for part in np.split(test.images, 10)]
        )
    confidence = np.where(answers.argmax(axis=1) == test.labels, 0, answers.max(axis=1))
    worst = test.images[confidence.argmax()].reshape(28, 28) * 255
    pixels, _ = picture(ask, f"{CONVOLUTIONAL}/test", "mistakes", -1)
    tile = pixels[2:86, 2:86].reshape(28, 3, 28, 3, -1)[:, 1, :, 1, 0]
    np.testing.assert_allclose(tile, worst, atol=1)


def test_pictures_tell_the_truth():
    """Against a classifier whose answers are known: eight mistakes in all, of known confidence."""
    from support import summaries

    labels = np.arange(100) % 10
    logits = np.eye(10)[labels] * 5
    for index, place in enumerate(
        range(0, 80, 10)
    ):  # eight of the ten 0s are read as 7, ever more confidently
        logits[place] = np.eye(10)[7] * (1 + index)
    images = np.zeros((100, 784), np.float32)
    images[np.arange(100), np.arange(100)] = 1  # image i has its only white pixel at i
    table = np.asarray(summaries.confusion(labels, logits.argmax(axis=1)))
    cells = table[68:, 68:].reshape(10, 44, 10, 44, 3)[:, 4, :, 4].astype(int)
    white = (cells == 255).all(axis=2)
    expected = np.ones((10, 10), bool)
    expected[np.arange(10), np.arange(10)] = expected[0, 7] = False
    assert (white == expected).all()
    assert (
        cells[0, 7, 0] > cells[0, 7, 2] and cells[1, 1, 2] > cells[1, 1, 0]
    )  # red is wrong, blue is right

    tiles = np.asarray(summaries.mistakes(images, labels, logits))
    for place, index in enumerate([70, 60, 50, 40, 30, 20, 10, 0]):
        tile = tiles[2:86, place * 88 + 2 : place * 88 + 86][1::3, 1::3]
        assert np.argwhere(tile.ravel() == 255).tolist() == [[index]]
    assert len(np.unique(tiles[112:])) == 1  # eight mistakes, so the other rows stay empty


def test_hyperparameters(ask):
    body = {"experimentName": ""}
    experiment = ask("plugin/hparams/experiment", body)
    assert {info["name"] for info in experiment["hparamInfos"]} >= {
        "learning_rate",
        "epochs",
        "network",
        "batch_size",
    }
    body = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_SUCCESS"],
        "startIndex": 0,
        "sliceSize": 10,
        "colParams": [{"metric": metric["name"]} for metric in experiment["metricInfos"]],
    }
    groups = {
        group["name"]: group
        for group in ask("plugin/hparams/session_groups", body)["sessionGroups"]
    }
    assert set(groups) == {CONVOLUTIONAL, SOFTMAX}
    for name, group in groups.items():
        assert group["hparams"]["learning_rate"] == 0.001 and group["hparams"]["batch_size"] == 100
        assert group["hparams"]["network"] == name.split(",")[0]
        metrics = {metric["name"]["tag"]: metric["value"] for metric in group["metricValues"]}
        for tag in ["accuracy", "loss"]:
            last = ask("plugin/scalars/scalars", run=f"{name}/test", tag=tag)[-1]
            assert metrics[tag] == pytest.approx(last[2]) and group["hparams"]["epochs"] == last[1]


def test_projector(ask, generated_data):
    run = f"{CONVOLUTIONAL}/test"
    assert ask("plugin/projector/runs") == [run]
    (config,) = ask("plugin/projector/info", run=run)["embeddings"]
    assert config["tensorShape"] == [1024, 1024]
    name = config["tensorName"]
    points = np.frombuffer(
        ask("plugin/projector/tensor", run=run, name=name, parsed=False), "<f4"
    ).reshape(1024, 1024)
    assert (points >= 0).all() and (points.std(axis=0) > 0).mean() > 0.5  # what a ReLU lets through

    import input_data

    test = input_data.read_data_sets(generated_data, fake_data=True).test
    lines = ask("plugin/projector/metadata", run=run, name=name, parsed=False).decode().splitlines()
    assert lines[0].split("\t")[0] == "digit"
    assert [int(line.split("\t")[0]) for line in lines[1:]] == test.labels[:1024].tolist()
    sprite = np.asarray(
        Image.open(
            io.BytesIO(ask("plugin/projector/sprite_image", run=run, name=name, parsed=False))
        )
    )
    assert sprite.shape == (896, 896)
    for index in [0, 33, 1023]:
        tile = sprite[index // 32 * 28 :, index % 32 * 28 :][:28, :28]
        np.testing.assert_allclose(
            255 - tile.astype(int), test.images[index].reshape(28, 28) * 255, atol=1
        )


def test_graph(ask):
    graph = ask("plugin/graphs/graph", run=f"{CONVOLUTIONAL}/train", parsed=False).decode()
    names = re.findall(r'(?m)^  name: "([^"]+)"', graph)
    top = {name.split("/")[0] for name in names}
    assert {"input", "conv", "fc1", "fc2", "loss", "accuracy", "train"} <= top
    assert len(top) <= 14, top
    # What belongs to the optimizer stands in its own scope, none of it in a layer's.
    assert any(name.startswith("train/") and "Adam" in name for name in names)
    assert not any(
        re.search("Adam|gradient", name) for name in names if not name.startswith("train/")
    )


def test_growing_run_is_seen_growing(start, tmp_path):
    process = start("--epochs", "100000", "--network", "softmax")
    (tmp_path / "runs").mkdir(exist_ok=True)
    with tensorboard(tmp_path / "runs") as ask:
        run = "softmax,lr=0.0001,epochs=100000,generated-digits/test"

        def steps():
            with contextlib.suppress(urllib.error.HTTPError):
                return [
                    step for _, step, _ in ask("plugin/scalars/scalars", run=run, tag="accuracy")
                ]

        first = wait_for(steps, 60)
        wait_for(lambda: (steps() or [0])[-1] > first[-1], 30)
        assert process.poll() is None  # it was still training
        process.terminate()


def test_folder_stays_small(logdir):
    files = [
        path
        for path in (logdir / CONVOLUTIONAL).rglob("*")
        if path.is_file() and "model.ckpt" not in path.name
    ]
    assert sum(path.stat().st_size for path in files) < 8e6


# ------------------------------------------------------------------------------------------------ the reference run


def test_reference_run_shows_what_the_defaults_give(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    import mnist
    from support import summaries

    reference = PROJECT / "mnist_example" / "reference"
    (run,) = [path.parent for path in reference.glob("*/test")]
    assert run.name == f"{mnist.NETWORK},lr={mnist.LEARNING_RATE},epochs={mnist.EPOCHS}"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", reference], cwd=PROJECT, capture_output=True, text=True
    )
    files = [PROJECT / name for name in tracked.stdout.split("\0") if name] or list(
        reference.rglob("*.tfevents.*")
    )
    assert 0 < sum(path.stat().st_size for path in files) < 1e6
    assert not any("model.ckpt" in path.name for path in files)

    told = summaries.read_run(str(run))
    assert told["data"] == "MNIST"
    for name in ["network", "learning_rate", "epochs", "batch_size"]:
        assert told[name] == getattr(mnist, name.upper())
    accuracy = {
        event.step: event.value
        for event in EventAccumulator(str(run / "test"), {"scalars": 0})
        .Reload()
        .Scalars("accuracy")
    }
    assert list(accuracy) == list(range(0, mnist.EPOCHS + 1, mnist.EVALUATE_EVERY))
    assert accuracy[200] >= 0.90 and accuracy[1000] >= 0.95 and accuracy[2000] >= 0.97


# ------------------------------------------------------------------------------------------------ in the browser


def test_browser_shows_both_curves_in_one_card(ask, chromium):
    chromium.get(f"{ask.address}/#timeseries")

    def accuracy_card():
        return [
            card.text
            for card in chromium.find_elements("css selector", "card-view")
            if card.text.strip().startswith("accuracy") and f"{CONVOLUTIONAL}/test" in card.text
        ]

    card = wait_for(accuracy_card, 60)[0]
    for part in ["train", "test"]:  # the table under the curves: a line for each, with its value
        assert re.search(rf"{re.escape(f'{CONVOLUTIONAL}/{part}')}\s+0\.\d+", card), card
