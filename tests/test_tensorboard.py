"""What a learner sees in TensorBoard: the real server, asked by HTTP, and in a real browser."""

import io
import os
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import input_data
import mnist
from helpers import PROJECT, curve, forked, scalars, smoothed, wait_for
from support import summaries
from support.tensorflow1 import tf

CONVOLUTIONAL = "lr=0.001,60,generated-digits"
SOFTMAX = "lr=0.01,150,softmax,generated-digits"
LOOKS = [0, 1, 3, 6, 9, 15, 30, 45, 60]  # when the layers of the first are looked at


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
    wait_for(lambda: list(scalars(tensorboard, f"{SOFTMAX}/test", "Accuracy"))[-1:] == [150])
    return tensorboard


def rows(ask, status="STATUS_SUCCESS"):
    """List the rows of the HParams tab."""
    metrics = [{"metric": {"tag": tag, "group": ""}} for tag in ["Accuracy", "Loss"]]
    body = {"experimentName": "", "allowedStatuses": [status], "startIndex": 0, "sliceSize": 100}
    answer = ask("plugin/hparams/session_groups", body | {"colParams": metrics})
    return answer.get("sessionGroups", [])


# ---------------------------------------------------------------------------------------- tabs


def test_scalars(ask):
    for name, last in [(CONVOLUTIONAL, 60), (SOFTMAX, 150)]:
        for tag in ["Accuracy", "Loss"]:
            assert list(scalars(ask, f"{name}/train", tag)) == list(range(last))
            assert list(scalars(ask, f"{name}/test", tag)) == list(range(0, last + 1, 5))
        accuracy, loss = (scalars(ask, f"{name}/test", tag) for tag in ["Accuracy", "Loss"])
        assert accuracy[last] > 0.5 > accuracy[0] and loss[last] < loss[0]
    shares = scalars(ask, f"{CONVOLUTIONAL}/train", "share of dead ReLUs/fc1")
    assert list(shares) == LOOKS and all(0 <= share <= 0.7 for share in shares.values())


def test_histograms_and_distributions(ask):
    tags = ask("plugin/histograms/tags")
    layers = {CONVOLUTIONAL: ["conv", "fc1", "fc2"], SOFTMAX: ["fc"]}
    kinds = ["{}/weight", "{}/bias", "{}/activation"]
    kinds += ["moved since step 0/{}/Weights", "moved since step 0/{}/Biases"]
    for name, scopes in layers.items():
        expected = {kind.format(scope) for scope in scopes for kind in kinds}
        assert set(tags[f"{name}/train"]) == expected
    for tag in tags[f"{CONVOLUTIONAL}/train"]:
        query = {"run": f"{CONVOLUTIONAL}/train", "tag": tag}
        histograms = ask("plugin/histograms/histograms", **query)
        assert [step for _, step, _ in histograms] == LOOKS
        assert histograms[0][2] != histograms[-1][2]  # it has learned
        distributions = ask("plugin/distributions/distributions", **query)
        assert [step for _, step, _ in distributions] == LOOKS


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


@pytest.mark.parametrize(
    "tag, steps",
    [
        ("train, conv/kernels", LOOKS),  # ten at most, for a slider that shows how they change
        ("test, mistakes/most confident", [60]),
        ("test, mistakes/confusion matrix", [60]),
    ],
)
def test_pictures(ask, tag, steps):
    part, tag = tag.split(", ")
    pictures = ask("plugin/images/images", run=f"{CONVOLUTIONAL}/{part}", tag=tag, sample=0)
    assert [entry["step"] for entry in pictures] == steps
    shown = []
    for entry in [pictures[0], pictures[-1]]:
        content = ask("plugin/images/individualImage?" + entry["query"], parsed=False)
        shown.append(np.asarray(Image.open(io.BytesIO(content))))
    assert 300 < shown[0].shape[1] <= summaries.PICTURE and len(np.unique(shown[0])) > 20
    assert len(steps) == 1 or np.mean(shown[0] != shown[1]) > 0.2
    assert f"{SOFTMAX}/train" not in ask("plugin/images/tags")


def test_hyperparameters(ask):
    """A row for each run, learning rate and epochs first, the accuracy in sight."""
    experiment = ask("plugin/hparams/experiment", {"experimentName": ""})
    columns = [info["name"] for info in experiment["hparamInfos"]]
    assert sorted(columns) == ["batch_size", "epochs", "learning_rate", "network"]
    assert [metric["name"]["tag"] for metric in experiment["metricInfos"]] == ["Accuracy", "Loss"]
    for name, rate, epochs, network in [
        (CONVOLUTIONAL, 0.001, 60, "conv 16, fc1 1024"),
        (SOFTMAX, 0.01, 150, "softmax"),
    ]:
        (row,) = [row for row in rows(ask) if row["name"] == f"{name}/test"]
        assert row["hparams"] == {
            "learning_rate": rate,
            "epochs": epochs,
            "batch_size": 100,
            "network": network,
        }
        shown = {metric["name"]["tag"]: metric["value"] for metric in row["metricValues"]}
        for tag in ["Accuracy", "Loss"]:
            assert shown[tag] == pytest.approx(scalars(ask, f"{name}/test", tag)[epochs])


def test_runs_of_one_name_have_rows_of_their_own(ask, tmp_path, generated_data):
    """In two log folders, such as the reference beside the learner's own."""
    for _ in range(2):
        flags = ["--network", "softmax", "--epochs", 1, "--data_dir", generated_data]
        assert forked.run([*flags, "--logdir", tmp_path / "one"], tmp_path / "said")[0] == 0
    name = "lr=0.0001,1,softmax,generated-digits"
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / f"{name},2").rename(tmp_path / "two" / name)
    with ask.also_shown(tmp_path, "twice"):
        wait_for(lambda: len([row for row in rows(ask) if row["name"].startswith("twice/")]) == 2)


def test_settings_of_a_continued_run(ask, tmp_path):
    """A TensorBoard that starts afterwards shows one row with the new settings."""
    folder = tmp_path / "continued" / "test"
    settings = dict.fromkeys(["learning_rate", "batch_size", "kernels", "neurons"], 1)
    settings |= {"shift": 8, "own_digits": 10}
    with tf.Graph().as_default():
        writer = tf.summary.FileWriter(str(folder))
        for epochs, continued in [(20, False), (40, True), (60, True)]:
            record = SimpleNamespace(network="convolutional", epochs=epochs, **settings)
            summaries.log_settings(writer, record, continued)
        writer.close()
    with ask.also_shown(folder.parent, "continued"):
        (row,) = wait_for(lambda: rows(ask, "STATUS_UNKNOWN"))
        assert (row["name"], row["hparams"]["epochs"]) == ("continued/test", 60)
    assert row["hparams"]["network"] == "conv 1, fc1 1, shift 8, own digits 10"


def test_projector(ask, generated_data):
    """It shows the first test images; a network without a hidden layer has none."""
    run = f"{CONVOLUTIONAL}/test"
    assert run in ask("plugin/projector/runs")
    assert f"{SOFTMAX}/test" not in ask("plugin/projector/runs")
    (config,) = ask("plugin/projector/info", run=run)["embeddings"]
    assert config["tensorShape"] == [1024, summaries.COMPONENTS]
    about = {"run": run, "name": config["tensorName"], "parsed": False}
    _, *lines = ask("plugin/projector/metadata", **about).decode().splitlines()
    test = input_data.read_data_sets(generated_data, fake_data=True).test
    assert [int(line.split("\t")[0]) for line in lines] == test.labels[:1024].tolist()


def test_graph(ask):
    graph = ask("plugin/graphs/graph", run=f"{CONVOLUTIONAL}/train", parsed=False).decode()
    names = re.findall(r'(?m)^  name: "([^"]+)"', graph)
    top = {name.split("/")[0] for name in names}
    assert {"input", "conv", "fc1", "fc2", "cross_entropy", "correct", "train"} <= top
    assert len(top) <= 16, top
    # What belongs to the optimizer is in its own scope, and nothing of it is in a layer's.
    assert any(name.startswith("train/") and "Adam" in name for name in names)
    others = [name for name in names if not name.startswith("train/")]
    assert not any(re.search("Adam|gradient", name) for name in others)
    # W is read as what it is, not through a handle, which would show as a scalar.
    assert re.search(r'name: "conv/Weights"\n  op: "VariableV2"', graph)


def test_times_in_the_graph(ask):
    """Each operation of a step, forward and back, took some time: once a run."""
    for name, step, operation in [
        (CONVOLUTIONAL, 1, "train/gradients/fc1/MatMul_grad/MatMul_1"),
        (SOFTMAX, 2, "train/gradients/fc/MatMul_grad/MatMul_1"),
    ]:
        run, tag = f"{name}/train", f"step {step}"
        tags = ask("plugin/graphs/info")[run]["tags"]
        assert list(tags) == [tag] and tags[tag]["profile"]
        times = ask("plugin/graphs/run_metadata", run=run, tag=tag, parsed=False).decode()
        assert re.search(rf'node_name: "{operation}"\s+all_start[^"]+all_end_rel_micros: \d', times)


def test_growing_run_is_seen_growing(tensorboard, tmp_path, generated_data):
    """Its Projector appears at its end in a TensorBoard that has been open all the time."""
    folders = ["--data_dir", generated_data, "--logdir", tmp_path / "runs"]
    (tmp_path / "runs").mkdir()
    run = "growing/lr=0.0001,1000000,kernels=2,neurons=8,generated-digits/test"
    with tensorboard.also_shown(tmp_path / "runs", "growing"):
        flags = [*folders, "--epochs", 10**6, "--kernels", 2, "--neurons", 8]
        process = forked.start(flags, changes={("mnist", "POINTS"): 10**4})
        try:
            first = wait_for(lambda: scalars(tensorboard, run, "Accuracy"))
            wait_for(lambda: len(scalars(tensorboard, run, "Accuracy")) > len(first))
            assert process.is_alive()  # it was still training
            assert run not in tensorboard("plugin/projector/runs")
            os.kill(process.pid, signal.SIGINT)
            process.join(60)
            wait_for(lambda: run in tensorboard("plugin/projector/runs"))
            (config,) = tensorboard("plugin/projector/info", run=run)["embeddings"]
            assert config["tensorName"] == "fc1" and config["tensorShape"][0] == 1024
        finally:
            process.kill()
            process.join()


# ------------------------------------------------------------------------------ the reference run


def test_reference_run_shows_what_the_defaults_give(ask):
    reference = PROJECT / "mnist_example" / "reference"
    files = [path for path in reference.rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) < 2e6
    assert {path.parent.name for path in files} == {"train", "test"}  # no checkpoint, no record

    with ask.also_shown(reference, "reference"):
        wait_for(lambda: "reference/test" in ask("plugin/projector/runs"))
        (settings,) = [row["hparams"] for row in rows(ask) if row["name"] == "reference/test"]
    for name in ["learning_rate", "epochs", "batch_size"]:
        assert settings[name] == getattr(mnist, name.upper())
    assert settings["network"] == f"conv {mnist.KERNELS}, fc1 {mnist.NEURONS}"
    accuracy = curve(reference / "test", "Accuracy")
    assert list(accuracy) == list(range(0, mnist.EPOCHS + 1, mnist.EPOCHS // mnist.POINTS))
    assert accuracy[1000] >= 0.95 and accuracy[2000] >= 0.97
    shown = dict(zip(accuracy, smoothed(accuracy.values(), 0.9), strict=True))
    for step in [1000, 1500, 2000]:
        assert shown[step] == pytest.approx(accuracy[step], abs=0.01)


# -------------------------------------------------------------------------------- in the browser

GROUPS_OF_SCALARS = """
const groups = {};
(function walk(node) {
  if (node.localName === "tf-category-paginated-view" && node.category.name)
    groups[node.category.name] = node.opened;
  [...(node.shadowRoot ? node.shadowRoot.children : []), ...node.children].forEach(walk);
})(document.documentElement);
return groups;
"""


def test_browser_opens_accuracy_and_loss(ask, chromium):
    """In Time Series and in Scalars, these two groups come first, and the others are closed."""
    chromium.get(f"{ask.address}/#timeseries")

    def groups():
        return dict(
            chromium.execute_script("""
            return [...document.querySelectorAll("button.group-toolbar")].map(group => [
                group.querySelector(".group-title")?.innerText,
                group.querySelector("mat-icon")?.getAttribute("svgicon") === "expand_less_24px",
            ]);""")
        )

    wait_for(lambda: "conv" in groups())
    assert list(groups())[:3] == ["Accuracy", "Loss", "conv"]
    assert [name for name, is_open in groups().items() if is_open] == ["Accuracy", "Loss"]

    chromium.get(f"{ask.address}/#scalars")
    wait_for(lambda: "Loss" in chromium.execute_script(GROUPS_OF_SCALARS))
    groups = chromium.execute_script(GROUPS_OF_SCALARS)
    assert groups == {"Accuracy": True, "Loss": True, "share of dead ReLUs": False}
    assert list(groups)[:2] == ["Accuracy", "Loss"]


def test_link_that_compares_runs(ask, chromium):
    """It shows the test curves alone, in one colour per learning rate, and smoothed."""
    assert summaries.LINK in (PROJECT / "docs" / "lesson.md").read_text(encoding="utf-8")
    with ask.also_shown(ask.logdir / CONVOLUTIONAL, "lr=0.01,7"):
        wait_for(lambda: "lr=0.01,7/test" in ask("runs"))
        chromium.get(summaries.LINK.replace("http://localhost:6006", ask.address))

        def colours():
            return dict(
                chromium.execute_script("""
                return [...document.querySelectorAll("tb-data-table-content-row")].map(row => [
                    row.innerText.trim(), row.querySelector("button")?.style.background]);""")
            )

        names = [f"{name}/test" for name in [CONVOLUTIONAL, SOFTMAX, "lr=0.01,7"]]
        wait_for(lambda: set(names) == {name for name, colour in colours().items() if colour})
        first, second, third = (colours()[name] for name in names)
    assert first != second == third
    smoothing = chromium.find_element("css selector", ".scalars-smoothing input[type=number]")
    assert smoothing.get_attribute("value") == "0.9"
