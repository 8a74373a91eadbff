"""What a learner sees in TensorBoard: the real server, asked by HTTP, and in a real browser."""

import contextlib
import functools
import io
import os
import re
import signal
import subprocess
import urllib.error

import input_data
import mnist
from mnist import tf
from support import run as runs
from support import summaries

import numpy as np
import pytest
from PIL import Image

from helpers import PROJECT, curve, forked, smoothed, wait_for

CONVOLUTIONAL = "lr=0.001,epochs=60,generated-digits"
SOFTMAX = "lr=0.01,epochs=150,softmax,generated-digits"
MOMENTS = [0, 1, 3, 6, 12, 24, 36, 48, 60]  # when the layers of the first are looked at


@pytest.fixture(scope="module")
def ask(tensorboard, generated_data, tmp_path_factory):
    """Asks a TensorBoard that shows two experiments; others may come and go beside them."""
    folders = ["--data_dir", generated_data, "--logdir", tensorboard.logdir]
    for flags in [
        ["--epochs", 60, "--learning_rate", 0.001, "--seed", 1],
        ["--epochs", 150, "--learning_rate", 0.01, "--network", "softmax"],
    ]:
        status, said = forked.run([*folders, *flags], tmp_path_factory.mktemp("said") / "said")
        assert status == 0, said
    parts = {f"{name}/{part}" for name in [CONVOLUTIONAL, SOFTMAX] for part in ["train", "test"]}
    wait_for(lambda: parts <= set(tensorboard("runs")))
    wait_for(lambda: f"{CONVOLUTIONAL}/test" in tensorboard("plugin/images/tags"))
    wait_for(lambda: steps_of(tensorboard, SOFTMAX)[-1:] == [150])
    return tensorboard


def steps_of(ask, name):
    with contextlib.suppress(urllib.error.HTTPError):  # it does not know the run yet
        points = ask("plugin/scalars/scalars", run=f"{name}/test", tag="accuracy")
        return [step for _, step, _ in points]
    return []


def picture(ask, run, tag, index):
    """Return a picture of a tag, as an array, and its step."""
    pictures = ask("plugin/images/images", run=run, tag=tag, sample=0)
    content = ask("plugin/images/individualImage?" + pictures[index]["query"], parsed=False)
    return np.asarray(Image.open(io.BytesIO(content))), pictures[index]["step"]


# ---------------------------------------------------------------------------------------- tabs


def test_scalars(ask):
    for name, last in [(CONVOLUTIONAL, 60), (SOFTMAX, 150)]:
        curves = {}
        for part in ["train", "test"]:
            for tag in ["accuracy", "loss"]:
                points = ask("plugin/scalars/scalars", run=f"{name}/{part}", tag=tag)
                curves[part, tag] = {step: value for _, step, value in points}
        for tag in ["accuracy", "loss"]:
            assert list(curves["train", tag]) == list(range(last))
            assert list(curves["test", tag]) == list(range(0, last + 1, 5))
        assert curves["test", "accuracy"][last] > 0.5 > curves["test", "accuracy"][0]
        assert curves["test", "loss"][last] < curves["test", "loss"][0]


def test_accuracy_and_loss_come_first(ask):
    """TensorBoard sorts the tags' groups by name, and opens two."""
    for path in ["plugin/scalars/tags", "plugin/images/tags", "plugin/histograms/tags"]:
        for part in ["train", "test"]:
            tags = set(ask(path).get(f"{CONVOLUTIONAL}/{part}", ())) - {"accuracy", "loss"}
            assert all(tag.split("/")[0] > "loss" for tag in tags), tags


def test_histograms_and_distributions(ask):
    tags = ask("plugin/histograms/tags")
    layers = {CONVOLUTIONAL: ["conv", "fc1", "fc2"], SOFTMAX: ["fc"]}
    for name, scopes in layers.items():
        kinds = ["network/{}/weight", "network/{}/bias", "network/{}/activation"]
        moved = ["moved since step 0/{}/Weights", "moved since step 0/{}/Biases"]
        expected = {kind.format(scope) for scope in scopes for kind in kinds + moved}
        assert set(tags[f"{name}/train"]) == expected
    for tag in tags[f"{CONVOLUTIONAL}/train"]:
        query = {"run": f"{CONVOLUTIONAL}/train", "tag": tag}
        histograms = ask("plugin/histograms/histograms", **query)
        steps = MOMENTS if tag.startswith("moved") else [0, 20, 40, 60]
        assert [step for _, step, _ in histograms] == steps
        assert histograms[0][2] != histograms[-1][2]  # it has learned
        distributions = ask("plugin/distributions/distributions", **query)
        assert [step for _, step, _ in distributions] == steps


def test_movement_of_the_weights(ask):
    """A needle at 0 that spreads, in the first step by the learning rate, as Adam does."""
    run = f"{CONVOLUTIONAL}/train"
    for variable in ["conv/Weights", "fc1/Weights", "fc2/Biases"]:
        tag = f"moved since step 0/{variable}"
        reach = []
        for _, _, bars in ask("plugin/histograms/histograms", run=run, tag=tag):
            reach.append(max(max(-left, right) for left, right, count in bars if count))
        assert reach[0] < 1e-6 and reach[1] == pytest.approx(0.001, rel=0.1)
        assert reach[-1] > 1.5 * reach[1]


def test_dead_relus(ask):
    for layer, limit in [("conv", 0.2), ("fc1", 0.7)]:
        points = ask(
            "plugin/scalars/scalars",
            run=f"{CONVOLUTIONAL}/train",
            tag=f"share of dead ReLUs/{layer}",
        )
        assert [step for _, step, _ in points] == list(range(0, 61, 3))
        assert all(0 <= share <= limit for _, _, share in points)
    assert not any("ReLU" in tag for tag in ask("plugin/scalars/tags")[f"{SOFTMAX}/train"])


def test_kernels_at_ten_moments_or_fewer(ask):
    """The first among them, so that the slider shows how they change."""
    run, tag = f"{CONVOLUTIONAL}/train", "network/conv/kernels"
    pictures = ask("plugin/images/images", run=run, tag=tag, sample=0)
    assert [entry["step"] for entry in pictures] == MOMENTS
    first, last = (picture(ask, run, tag, index)[0] for index in (0, -1))
    assert first.shape[:2] == last.shape[:2] and first.shape[0] == first.shape[1]
    assert 300 < len(first) <= summaries.PICTURE
    assert len(np.unique(first)) > 50 and np.mean(first != last) > 0.2
    assert not any(
        "kernels" in tag for tag in ask("plugin/images/tags").get(f"{SOFTMAX}/train", ())
    )


def test_mistakes_and_confusion_matrix(ask, generated_data):
    run = f"{CONVOLUTIONAL}/test"
    for tag in ["mistakes/most confident", "mistakes/confusion matrix"]:
        assert [
            entry["step"] for entry in ask("plugin/images/images", run=run, tag=tag, sample=0)
        ] == [60]
        pixels, _ = picture(ask, run, tag, -1)
        assert pixels.shape[1] <= summaries.PICTURE and len(np.unique(pixels)) > 20

    # The first tile is, pixel by pixel, the digit that the network gets wrong most confidently.
    test = input_data.read_data_sets(generated_data, fake_data=True).test
    (found,) = [entry for entry in runs.find(ask.logdir) if entry["run"] == CONVOLUTIONAL]
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, 784])
        probabilities = tf.nn.softmax(mnist.convolutional(images, 16, 1024))
        tf.train.Saver().restore(session, found["checkpoint"])
        answers = np.concatenate(
            [session.run(probabilities, {images: part}) for part in np.split(test.images, 10)]
        )
    confidence = np.where(answers.argmax(axis=1) == test.labels, 0, answers.max(axis=1))
    worst = test.images[confidence.argmax()].reshape(28, 28) * 255
    pixels, _ = picture(ask, run, "mistakes/most confident", -1)
    tile = pixels[1:57, 1:57].reshape(28, 2, 28, 2, -1)[:, 1, :, 1, 0]
    np.testing.assert_allclose(tile, worst, atol=1)


def test_hyperparameters(ask):
    """A row for each run, learning rate and epochs first, the accuracy in sight."""
    experiment = ask("plugin/hparams/experiment", {"experimentName": ""})
    columns = [info["name"] for info in experiment["hparamInfos"]]
    assert sorted(columns) == ["batch_size", "epochs", "learning_rate", "network"]
    metrics = [metric["name"] for metric in experiment["metricInfos"]]
    assert [metric["tag"] for metric in metrics] == ["accuracy", "loss"]
    body = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_SUCCESS"],
        "startIndex": 0,
        "sliceSize": 100,
        "colParams": [{"metric": metric} for metric in metrics],
    }
    rows = ask("plugin/hparams/session_groups", body)["sessionGroups"]
    for name, network in [(CONVOLUTIONAL, "conv 16, fc1 1024"), (SOFTMAX, "softmax")]:
        (row,) = [row for row in rows if row["name"].split()[0] == name]
        rate, epochs = (float(re.search(f"{key}=([^,]+)", name)[1]) for key in ["lr", "epochs"])
        assert row["hparams"] == {
            "learning_rate": rate,
            "epochs": epochs,
            "batch_size": 100,
            "network": network,
        }
        shown = {metric["name"]["tag"]: metric["value"] for metric in row["metricValues"]}
        for tag in ["accuracy", "loss"]:
            last = ask("plugin/scalars/scalars", run=f"{name}/test", tag=tag)[-1]
            assert shown[tag] == pytest.approx(last[2]) and last[1] == epochs


def test_runs_of_one_name_have_rows_of_their_own(ask, tmp_path, generated_data):
    """In two log folders, such as the reference beside the learner's own."""
    for _ in range(2):
        flags = ["--network", "softmax", "--epochs", 1, "--data_dir", generated_data]
        assert forked.run([*flags, "--logdir", tmp_path / "one"], tmp_path / "said")[0] == 0
    name = "lr=0.0001,epochs=1,softmax,generated-digits"
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / f"{name},2").rename(tmp_path / "two" / name)
    link = ask.logdir / "twice"
    link.symlink_to(tmp_path, target_is_directory=True)
    try:
        body = {
            "experimentName": "",
            "allowedStatuses": ["STATUS_SUCCESS"],
            "startIndex": 0,
            "sliceSize": 100,
        }

        def rows():
            groups = ask("plugin/hparams/session_groups", body).get("sessionGroups", [])
            return [row for row in groups if row["name"].startswith(name)]

        wait_for(lambda: len(rows()) == 2)
    finally:
        link.unlink()


def test_projector(ask, generated_data):
    run = f"{CONVOLUTIONAL}/test"
    assert run in ask("plugin/projector/runs")
    assert f"{SOFTMAX}/test" not in ask("plugin/projector/runs")
    (config,) = ask("plugin/projector/info", run=run)["embeddings"]
    assert config["tensorShape"] == [1024, summaries.COMPONENTS]
    name = config["tensorName"]
    about = functools.partial(ask, run=run, name=name, parsed=False)
    points = np.frombuffer(about("plugin/projector/tensor"), "<f4").reshape(1024, -1)
    spread = points.std(axis=0)
    assert points.shape[1] == summaries.COMPONENTS
    assert spread[-1] > 0 and (np.diff(spread) <= 1e-3 * spread[0]).all()  # the widest first
    test = input_data.read_data_sets(generated_data, fake_data=True).test
    heading, *lines = about("plugin/projector/metadata").decode().splitlines()
    assert heading.split("\t")[0] == "digit"
    assert [int(line.split("\t")[0]) for line in lines] == test.labels[:1024].tolist()
    sprite = np.asarray(Image.open(io.BytesIO(about("plugin/projector/sprite_image"))))
    assert sprite.shape == (896, 896)
    for index in [0, 33, 1023]:
        tile = sprite[index // 32 * 28 :, index % 32 * 28 :][:28, :28]
        digit = test.images[index].reshape(28, 28) * 255
        np.testing.assert_allclose(255 - tile.astype(int), digit, atol=1)


def test_graph(ask):
    graph = ask("plugin/graphs/graph", run=f"{CONVOLUTIONAL}/train", parsed=False).decode()
    names = re.findall(r'(?m)^  name: "([^"]+)"', graph)
    top = {name.split("/")[0] for name in names}
    assert {"input", "conv", "fc1", "fc2", "loss", "accuracy", "train"} <= top
    assert len(top) <= 14, top
    # What belongs to the optimizer stands in its own scope, none of it in a layer's.
    assert any(name.startswith("train/") and "Adam" in name for name in names)
    others = [name for name in names if not name.startswith("train/")]
    assert not any(re.search("Adam|gradient", name) for name in others)


def test_growing_run_is_seen_growing(tensorboard, tmp_path, generated_data):
    folders = ["--data_dir", generated_data, "--logdir", tmp_path / "runs"]
    flags = ["--epochs", 10**6, "--network", "softmax"]
    (tmp_path / "runs").mkdir()
    link = tensorboard.logdir / "growing"
    link.symlink_to(tmp_path / "runs", target_is_directory=True)
    process = forked.start([*folders, *flags])
    try:
        name = "growing/lr=0.0001,epochs=1000000,softmax,generated-digits"
        first = wait_for(lambda: steps_of(tensorboard, name))
        wait_for(lambda: steps_of(tensorboard, name)[-1:] > first[-1:])
        assert process.is_alive()  # it was still training
    finally:
        process.kill()
        process.join()
        link.unlink()


def test_points_of_a_run_that_was_watched_in_training_come_at_its_end(
    tensorboard, tmp_path, generated_data
):
    """To a TensorBoard that stays open, and has shown the Projector before."""
    (tmp_path / "runs").mkdir()
    link = tensorboard.logdir / "watched"
    link.symlink_to(tmp_path / "runs", target_is_directory=True)
    folders = ["--data_dir", generated_data, "--logdir", tmp_path / "runs"]
    process = forked.start([*folders, "--epochs", 10**6, "--kernels", 2, "--neurons", 8])
    name = "watched/lr=0.0001,epochs=1000000,kernels=2,neurons=8,generated-digits"
    try:
        wait_for(lambda: steps_of(tensorboard, name))
        assert f"{name}/test" not in tensorboard("plugin/projector/runs")
        os.kill(process.pid, signal.SIGINT)
        process.join()
        wait_for(lambda: f"{name}/test" in tensorboard("plugin/projector/runs"))
        (config,) = tensorboard("plugin/projector/info", run=f"{name}/test")["embeddings"]
        assert config["tensorName"] == "fc1" and config["tensorShape"][0] == 1024
    finally:
        process.kill()
        process.join()
        link.unlink()


def test_default_run_is_small_on_the_disk(default_run):
    """Events and pictures, without the checkpoint and the projector."""
    files = default_run.folder.glob("t*/events*")
    assert sum(path.stat().st_size for path in files) < 1.2e6


# ------------------------------------------------------------------------------ the reference run


def test_reference_run_shows_what_the_defaults_give(ask):
    reference = PROJECT / "mnist_example" / "reference"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", reference], cwd=PROJECT, capture_output=True, text=True
    )
    files = [PROJECT / name for name in tracked.stdout.split("\0") if name]
    files = files or [path for path in reference.rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) < 2e6
    assert {path.parent.name for path in files} == {"train", "test"}  # no checkpoint, no record

    link = ask.logdir / "reference"
    link.symlink_to(reference, target_is_directory=True)
    try:
        wait_for(lambda: "reference/test" in ask("plugin/projector/runs"))
        body = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "sliceSize": 100}
        rows = ask("plugin/hparams/session_groups", body)["sessionGroups"]
        (settings,) = [
            row["hparams"] for row in rows if row["sessions"][0]["name"].startswith("reference")
        ]
    finally:
        link.unlink()
    for name in ["learning_rate", "epochs", "batch_size"]:
        assert settings[name] == getattr(mnist, name.upper())
    assert settings["network"] == f"conv {mnist.KERNELS}, fc1 {mnist.NEURONS}"
    accuracy = curve(reference / "test", "accuracy")
    assert list(accuracy) == list(range(0, mnist.EPOCHS + 1, mnist.EPOCHS // mnist.POINTS))
    assert accuracy[1000] >= 0.95 and accuracy[2000] >= 0.97
    shown = dict(zip(accuracy, smoothed(accuracy.values(), 0.9), strict=True))
    for step in [1000, 1500, 2000]:
        assert shown[step] == pytest.approx(accuracy[step], abs=0.01)


# -------------------------------------------------------------------------------- in the browser


def test_browser_shows_both_curves_in_one_card(ask, chromium):
    """The table below the curves has a line for each: smoothed, at first by 0.6, and its value."""
    chromium.get(f"{ask.address}/#timeseries")

    def accuracy_card():
        cards = [card.text for card in chromium.find_elements("css selector", "card-view")]
        return [
            card
            for card in cards
            if card.strip().startswith("accuracy") and f"{CONVOLUTIONAL}/test" in card
        ]

    card = wait_for(accuracy_card)[0]
    for part in ["train", "test"]:
        name = f"{CONVOLUTIONAL}/{part}"
        line = re.search(rf"{re.escape(name)}\s+([\d.]+)\s+([\d.]+)", card)
        assert line, card
        values = [value for *_, value in ask("plugin/scalars/scalars", run=name, tag="accuracy")]
        expected = [smoothed(values, 0.6)[-1], values[-1]]
        assert [float(word) for word in line.groups()] == pytest.approx(expected, abs=1e-3)
