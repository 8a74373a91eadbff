"""draw.py as it is met: by its page and other programs over HTTP, by its user in a terminal."""

import base64
import collections
import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sys
import threading
import types

import input_data
import mnist
from page import digits as similar
from page import networks
from support import run as runs
from support import terminal
from support.settings import read_settings
from support.tensorflow1 import tf

import numpy as np
import pytest
from hypothesis import given, settings, strategies

import draw
from helpers import saved_runs, wait_for
from helpers.draw_server import serving, start
from helpers.small_mnist import NAMES, small_set, write

EVALUATE = "/api/mnist/evaluate"
DIGITS = [str(digit) for digit in range(10)]
SEVEN = [[[90, 70], [190, 70], [130, 220]], [[100, 140], [180, 140]]]
LEFT, RIGHT, WIDE = "lr=0.001,epochs=100", "lr=0.001,epochs=100,softmax", "deeper/kernels=7"
BLANK = json.dumps([0] * 784)


@pytest.fixture(scope="session")
def data(data_dir):
    """What the runs learned from."""
    fake = not os.environ.get("MNIST_DATA")
    return input_data.read_data_sets(data_dir, fake, dtype="uint8", validation_size=0)


@pytest.fixture(scope="session")
def weights():
    """The weights of each run in `logdir`."""
    return {
        LEFT: saved_runs.random_weights(1),
        RIGHT: saved_runs.random_weights(2, "softmax"),
        WIDE: saved_runs.random_weights(3, kernels=7, neurons=21),
    }


@pytest.fixture(scope="session")
def steady_logdir(tmp_path_factory, weights, data, data_dir):
    """Three runs: LEFT and RIGHT, with which the page starts, and WIDE, which is older."""
    logdir = tmp_path_factory.mktemp("steady") / "runs"
    for age, (run, values) in enumerate(weights.items()):
        told = {"started": 1e9 - age, "data": data.train.name, "data_dir": data_dir}
        saved_runs.save(logdir / run, 100, values, **told)
    return logdir


@pytest.fixture
def logdir(steady_logdir, tmp_path):
    """The same runs, to be changed."""
    return shutil.copytree(steady_logdir, tmp_path / "runs")


def client_of(logdir, data_dir="nowhere", build=mnist.network):
    app = draw.make_app(networks.Networks(logdir, build), data_dir, {"localhost"})
    app.testing = True  # a bug is raised, and not answered with status 500
    return app.test_client()


@pytest.fixture
def client(logdir, monkeypatch):
    """A client of runs that are changed, and looked for at each question."""
    monkeypatch.setattr(networks, "LIST_AGE", 0)
    return client_of(logdir)


@pytest.fixture(scope="session")
def steady(steady_logdir):
    """A client of runs that nobody changes, whose networks are loaded once."""
    return client_of(steady_logdir)


def post(client, path, value):
    answer = client.post(path, data=json.dumps(value))
    assert answer.status_code == 200, answer.json
    return answer.json


def refused(answer, status, code):
    """Whether a request was refused so, in the form that every refusal has."""
    assert answer.content_type == "application/json"
    assert list(answer.json) == ["error", "code"]
    assert re.fullmatch(r"[A-Z\"][^\n]{10,200}\.", answer.json["error"])
    return (answer.status_code, answer.json["code"]) == (status, code)


def as_array(by_digit):
    assert list(by_digit) == DIGITS
    return np.array([by_digit[digit] for digit in DIGITS])


def probabilities(weights, image):
    return saved_runs.softmax(saved_runs.forward(weights, np.array([image]))["logits"])[0]


def random_image(seed=0):
    return np.random.default_rng(seed).random(784).round(3)


# ------------------------------------------------------------------- what the networks see


def test_probabilities_are_the_networks_own(steady, weights):
    for image in (np.zeros(784), np.ones(784), random_image()):
        answer = post(steady, EVALUATE, image.tolist())
        assert set(answer) == {"convolutional", "fully_connected"}
        for name, run in ("convolutional", LEFT), ("fully_connected", RIGHT):
            expected = probabilities(weights[run], image)
            np.testing.assert_allclose(as_array(answer[name]), expected, atol=1e-5)
            one = post(steady, f"/api/mnist/{name}", image.tolist())
            assert set(one) == {"results"}
            np.testing.assert_allclose(as_array(one["results"]), expected, atol=1e-5)


def test_a_drawing_is_answered_in_both_views_by_the_runs_that_it_names(steady, weights):
    for names in (LEFT, WIDE), (WIDE, RIGHT), (LEFT, LEFT), (None, RIGHT), (None, None):
        told = post(steady, "/api/drawing", {"strokes": SEVEN, "runs": names})
        assert list(told) == ["as-drawn", "centred", "runs"]
        started = {LEFT: 1e9, RIGHT: 1e9 - 1, WIDE: 1e9 - 2}
        assert told["runs"] == [
            name and {"run": name, "started": started[name], "step": 100} for name in names
        ]
        for view in ["as-drawn", "centred"]:
            assert list(told[view]) == ["picture", "answers"]
            image = np.array(told[view]["picture"]) / 255
            for name, answer in zip(names, told[view]["answers"], strict=True):
                if name is None:
                    assert answer is None
                else:
                    expected = probabilities(weights[name], image)
                    np.testing.assert_allclose(as_array(answer), expected, atol=1e-5)


def test_a_bare_drawing_is_answered_by_the_two_that_the_page_starts_with(steady):
    bare = post(steady, "/api/drawing", SEVEN)
    named = post(steady, "/api/drawing", {"strokes": SEVEN, "runs": [LEFT, RIGHT]})
    assert bare["runs"] == named["runs"]
    for view in ["as-drawn", "centred"]:
        left, right = named[view]["answers"]
        assert bare[view] == named[view] | {"convolutional": left, "softmax": right}


def test_the_two_views_are_the_drawing_and_the_drawing_centred(steady):
    edge = post(steady, "/api/drawing", [[[258, 60], [258, 220]]])
    as_drawn, centred = (
        np.array(edge[view]["picture"]).reshape(28, 28) for view in ["as-drawn", "centred"]
    )
    for picture, (row, column) in (as_drawn, (13.5, 25.3)), (centred, (14, 14)):
        middle = [np.average(places, weights=picture) for places in np.indices((28, 28))]
        assert middle == pytest.approx([row, column], abs=0.6)


def test_whole_numbers_and_odd_content_types_are_taken(steady):
    body = json.dumps([0, 1] * 392)
    for kind in ["application/json", "text/plain", "application/json; charset=x", "nonsense", ""]:
        assert steady.post(EVALUATE, data=body, content_type=kind).status_code == 200
    assert steady.post(EVALUATE, data=b"\xef\xbb\xbf" + body.encode()).status_code == 200


def test_many_clients_at_once_each_get_their_own_answer(logdir, weights):
    client, images = client_of(logdir), [random_image(seed) for seed in range(8)]
    expected = [probabilities(weights[LEFT], image) for image in images]
    together = threading.Barrier(8)

    def ask(place):
        together.wait()
        for _ in range(10):
            answer = client.application.test_client().post(EVALUATE, json=images[place].tolist())
            told = as_array(answer.json["convolutional"])
            np.testing.assert_allclose(told, expected[place], atol=1e-5)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def test_questions_are_answered_on_the_cpu_by_one_thread_each(client, monkeypatch):
    asked_for, session = [], tf.Session
    monkeypatch.setattr(
        tf, "Session", lambda config: asked_for.append(config) or session(config=config)
    )
    post(client, EVALUATE, [0] * 784)
    assert len(asked_for) == 2
    for config in asked_for:
        assert dict(config.device_count) == {"GPU": 0}
        assert config.intra_op_parallelism_threads == config.inter_op_parallelism_threads == 1


# ------------------------------------------------------------------- what is inside them


def unpacked(told):
    """Values, and how far they may be off, of {"bytes", "scale", "shape"}."""
    values = np.frombuffer(base64.b64decode(told["bytes"]), np.uint8).reshape(told["shape"])
    return values * (told["scale"] / 255), told["scale"] / 255 / 2 + 1e-3


@pytest.mark.parametrize("run", [LEFT, WIDE])
def test_inside_a_convolutional_network(steady, weights, run):
    image = random_image()
    told = post(steady, "/api/inside", {"image": image.tolist(), "run": run})
    layers = saved_runs.forward(weights[run], image[None])
    assert (told["run"], told["step"], told["network"]) == (run, 100, "convolutional")
    np.testing.assert_allclose(told["logits"], layers["logits"][0], atol=1e-3)
    for name in ["conv", "hidden"]:
        values, step = unpacked(told[name])
        assert values.shape == layers[name][0].shape
        assert told[name]["scale"] == pytest.approx(layers[name].max(), rel=1e-4)
        np.testing.assert_allclose(values, layers[name][0], atol=step)


@pytest.mark.parametrize("run", [LEFT, WIDE])
def test_the_kernels_and_the_pixels_add_up_to_the_feature_maps(steady, run):
    image = random_image()
    learned = steady.get("/api/weights", query_string={"run": run, "step": 3}).json
    assert (learned["run"], learned["step"], learned["network"]) == (run, 100, "convolutional")
    inside = post(steady, "/api/inside", {"image": image.tolist(), "run": run})
    maps, step = unpacked(inside["conv"])
    padded = np.pad(image.reshape(28, 28), 2)
    for kernel, (pattern, bias) in enumerate(
        zip(learned["kernels"], learned["biases"], strict=True)
    ):
        for row, column in (0, 0), (13, 5), (27, 27):
            total = (padded[row : row + 5, column : column + 5] * pattern).sum() + bias
            assert maps[row, column, kernel] == pytest.approx(max(total, 0), abs=step)


def test_inside_softmax_the_votes_add_up_to_the_logits(steady, weights):
    image = random_image()
    told = post(steady, "/api/inside", {"image": image.tolist(), "run": RIGHT})
    learned = steady.get("/api/weights", query_string={"run": RIGHT}).json
    assert told["network"] == learned["network"] == "softmax" and "conv" not in told
    votes = np.frombuffer(base64.b64decode(learned["weights"]), "<f4").reshape(784, 10)
    np.testing.assert_array_equal(votes, weights[RIGHT]["fc/Weights"])
    np.testing.assert_array_equal(np.float32(told["bias"]), weights[RIGHT]["fc/Biases"])
    assert told["bias"] == learned["biases"] and "dead" not in learned
    np.testing.assert_allclose(image @ votes + told["bias"], told["logits"], atol=1e-3)


def test_a_network_that_answers_nothing_but_zeros_has_scale_0(logdir, weights):
    dead = {name: -np.abs(values) for name, values in weights[LEFT].items()}
    saved_runs.save(logdir / LEFT, 200, dead)
    told = post(client_of(logdir), "/api/inside", {"image": [0.5] * 784, "run": LEFT})
    assert told["conv"]["scale"] == told["hidden"]["scale"] == 0
    assert not unpacked(told["conv"])[0].any()


def test_an_image_at_the_default_widths_takes_less_than_32_kilobytes(logdir, data, data_dir):
    values = saved_runs.random_weights(4, kernels=16, neurons=1024)
    saved_runs.save(logdir / LEFT, 200, values, data=data.train.name, data_dir=data_dir)
    answer = inside_when_read(client_of(logdir), data.test.images[0] / 255, LEFT)
    assert len(answer["similar"]) == 6 and len(json.dumps(answer)) <= 32 * 1024


# ------------------------------------------------------------------- the training digits most alike


def inside_when_read(client, image, run=LEFT):
    """What /api/inside answers as soon as the training digits have been read."""
    question = {"image": [float(value) for value in image], "run": run}
    told = post(client, "/api/inside", question)
    while told.get("why_code") == "reading":
        assert told["similar"] == [] and "being read" in told["why_none"]
        draw.READER.submit(int).result()  # what was begun before is done by then
        told = post(client, "/api/inside", question)
    return told


def test_similar_digits_are_those_of_a_search_through_all(steady, data, dice):
    pixels = data.train.images.astype(np.float32)
    lengths = np.linalg.norm(pixels, axis=1)
    for shift in [0, 0, 4, 4, 12, 12]:
        image = dice.choice(data.test.images).reshape(28, 28)
        image = np.roll(image, shift, axis=1).ravel() / 255
        told = inside_when_read(steady, image)
        likeness = pixels @ np.float32(image) / (lengths * np.linalg.norm(image))
        best = np.sort(likeness)[:-7:-1]
        assert [alike["likeness"] for alike in told["similar"]] == pytest.approx(best, abs=6e-4)
        for alike in told["similar"]:
            picture = np.frombuffer(base64.b64decode(alike["picture"]), np.uint8)
            candidates = np.flatnonzero(np.abs(likeness - alike["likeness"]) < 6e-4)
            same = candidates[(data.train.images[candidates] == picture).all(axis=1)]
            assert alike["label"] in data.train.labels[same]


def test_a_training_digit_is_most_like_itself(steady, data):
    [first, *_] = inside_when_read(steady, data.train.images[5] / 255)["similar"]
    assert first["likeness"] == 1 and first["label"] == data.train.labels[5]


def test_few_digits_and_blank_ones_can_be_searched():
    pictures = np.zeros((7, 784), np.uint8)
    pictures[3, :10] = pictures[4, :20] = 200
    places, likeness = similar.Digits(pictures, np.arange(7)).most_like(
        np.float32(pictures[3] / 255)
    )
    assert places[:2].tolist() == [3, 4] and likeness == pytest.approx([1, 0.5**0.5, 0, 0, 0, 0])
    places, _ = similar.Digits(pictures[3:5], [3, 4]).most_like(np.float32(pictures[4] / 255))
    assert places.tolist() == [1, 0]  # all that there are


def test_what_is_usual_is_the_median_over_the_test_digits(steady, data, dice):
    digits = similar.Digits(data.train.images, data.train.labels)
    sample = dice.sample(list(np.float32(data.test.images)), 300)
    median = np.median([digits.most_like(picture, 1)[1][0] for picture in sample])
    told = post(steady, "/api/inside", {"image": [1] * 784, "run": LEFT})
    assert told["usual"] == pytest.approx(median, abs=0.025)


@pytest.mark.parametrize("name", ["the files in x", None])
def test_what_is_usual_is_not_known_for_other_data(logdir, weights, name):
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], data=name)
    told = post(client_of(logdir), "/api/inside", {"image": [1] * 784, "run": LEFT})
    assert told["usual"] is None


def test_digits_that_are_not_there_are_said_to_be_missing_and_never_downloaded(
    logdir, weights, tmp_path, monkeypatch
):
    def no_network(*_, **__):
        raise AssertionError("it asks the network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    folder = tmp_path / "part of MNIST"
    folder.mkdir()
    for name in list(input_data.OFFICIAL)[:3]:
        (folder / f"{name}.gz").write_bytes(b"x")
    for told in (
        {"data": "MNIST", "data_dir": str(folder)},
        {"data": input_data.GENERATED, "data_dir": str(tmp_path / "none")},
        {"data": None, "data_dir": None},
        {"data": "MNIST", "data_dir": None},
    ):
        saved_runs.save(logdir / LEFT, 100, weights[LEFT], **told)
        answer = inside_when_read(client_of(logdir), [1] * 784)
        assert answer["similar"] == [] and answer["why_code"] == "no-data"
        assert LEFT in answer["why_none"] and len(answer["logits"]) == 10
    assert not (tmp_path / "none").exists()


def test_digits_are_looked_for_in_the_given_folder_too(logdir, weights, data, data_dir):
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], data=data.train.name, data_dir="/not/here")
    answer = inside_when_read(client_of(logdir, data_dir), data.train.images[0] / 255)
    assert answer["similar"][0]["likeness"] == 1


def test_a_run_on_generated_digits_is_shown_generated_ones(logdir, weights, generated_data):
    """Though MNIST may lie in the same folder, or in the one that is given."""
    about = {"data": input_data.GENERATED, "data_dir": generated_data}
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], **about)
    train = input_data.read_data_sets(generated_data, fake_data=True, dtype="uint8").train
    first = inside_when_read(client_of(logdir), train.images[0] / 255)["similar"][0]
    assert (first["label"], first["likeness"]) == (train.labels[0], 1)
    assert base64.b64decode(first["picture"]) == train.images[0].tobytes()


def test_digits_in_malformed_files_are_told_until_they_are_mended(logdir, weights, tmp_path):
    about = {"data": "the files in it, which are not MNIST's official ones"}
    for name in NAMES:
        (tmp_path / f"{name}.gz").write_bytes(b"x")
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], data_dir=str(tmp_path), **about)
    client = client_of(logdir)
    answer = inside_when_read(client, [1] * 784)
    assert answer["why_code"] == "unreadable-data" and str(tmp_path) in answer["why_none"]
    write(tmp_path, small_set(20, 10))
    assert len(inside_when_read(client, [1] * 784)["similar"]) == 6


@pytest.mark.parametrize("at_its_place", [False, True])
def test_digits_of_other_files_are_not_shown_as_those_of_a_run(
    logdir, weights, mnist_data, tmp_path, at_its_place
):
    """Those that a run learned from are gone; MNIST is in draw.py's folder, or in theirs."""
    about = {"data": "the files in it, which are not MNIST's official ones"}
    about["data_dir"] = mnist_data if at_its_place else str(tmp_path)
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], **about)
    answer = inside_when_read(client_of(logdir, mnist_data), [1] * 784)
    assert answer["why_code"] == "no-data" and answer["similar"] == []
    about = {"data": "MNIST", "data_dir": str(tmp_path)}  # and the other way round
    write(tmp_path, small_set(20, 10))
    saved_runs.save(logdir / LEFT, 200, weights[LEFT], **about)
    answer = inside_when_read(client_of(logdir), [1] * 784)
    assert answer["why_code"] == "no-data" and answer["similar"] == []


def test_a_blank_sheet_is_like_no_digit(steady, data):
    answer = inside_when_read(steady, [0] * 784)
    assert answer["similar"] == [] and answer["why_code"] == "blank" and answer["why_none"]


def test_dead_neurons_are_those_that_no_training_digit_makes_fire(logdir, weights, data, data_dir):
    values = weights[LEFT] | {"fc1/Biases": weights[LEFT]["fc1/Biases"].copy()}
    values["fc1/Biases"][[2, 5]] = -1000
    saved_runs.save(logdir / LEFT, 200, values, data=data.train.name, data_dir=data_dir)
    client = client_of(logdir)
    inside_when_read(client, [1] * 784)
    told = client.get("/api/weights", query_string={"run": LEFT}).json
    hidden = saved_runs.forward(values, data.train.images[:500] / 255)["hidden"]
    assert told["tried"] == 500 and {2, 5} <= set(told["dead"])
    assert told["dead"] == np.flatnonzero(hidden.max(axis=0) <= 0).tolist()


def test_without_digits_it_is_not_known_which_neurons_are_dead(logdir, weights):
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], data=None)
    told = client_of(logdir).get("/api/weights", query_string={"run": LEFT}).json
    assert told["dead"] is None and told["tried"] == 0


# ------------------------------------------------------------------- runs that come, go on and go


def test_runs_are_told_as_they_are(steady, data):
    told = steady.get("/api/runs").json
    assert told["start"] == [LEFT, RIGHT]
    assert [run["run"] for run in told["runs"]] == [LEFT, RIGHT, WIDE]
    assert told["runs"][2] == {
        "run": WIDE,
        "network": "convolutional",
        "step": 100,
        "epochs": 100,
        "learning_rate": 0.001,
        "batch_size": 100,
        "kernels": 7,
        "neurons": 21,
        "data": data.train.name,
        "started": 1e9 - 2,
        "status": "finished",
        "accuracy": 0.9,
        "images": 10_000,
    }
    assert told["runs"][1]["kernels"] is told["runs"][1]["neurons"] is None


def test_a_run_without_a_record_is_shown_all_the_same(logdir, client):
    (logdir / WIDE / "run.json").unlink()
    told = next(run for run in client.get("/api/runs").json["runs"] if run["run"] == WIDE)
    assert (told["step"], told["kernels"], told["neurons"], told["accuracy"]) == (100, 7, 21, None)
    post(client, "/api/inside", {"image": [1] * 784, "run": WIDE})


def test_a_run_that_goes_on_is_followed(client, logdir):
    question = {"strokes": SEVEN, "runs": [LEFT, RIGHT]}
    before = post(client, "/api/drawing", question)
    values = saved_runs.random_weights(9)
    saved_runs.save(logdir / LEFT, 150, values, status="running", started=1e9)
    after = post(client, "/api/drawing", question)
    assert [run["step"] for run in before["runs"]] == [100, 100]
    assert [run["step"] for run in after["runs"]] == [150, 100]
    expected = probabilities(values, np.array(after["centred"]["picture"]) / 255)
    np.testing.assert_allclose(as_array(after["centred"]["answers"][0]), expected, atol=1e-5)
    assert after["centred"]["answers"][1] == before["centred"]["answers"][1]
    told = client.get("/api/runs").json["runs"][0]
    assert (told["run"], told["step"], told["status"]) == (LEFT, 150, "running")


def test_drawings_do_not_look_for_runs_again_and_again(logdir, monkeypatch):
    looked, find = [], runs.find
    monkeypatch.setattr(networks, "LIST_AGE", 3600)
    monkeypatch.setattr(runs, "find", lambda logdir: looked.append(logdir) or find(logdir))
    client = client_of(logdir)
    for _ in range(3):
        post(client, "/api/drawing", {"strokes": SEVEN, "runs": [LEFT, RIGHT]})
        post(client, "/api/drawing", SEVEN)
    assert len(looked) == 1
    saved_runs.save(logdir / "new", 10, saved_runs.random_weights(9), started=2e9)
    post(client, "/api/inside", {"image": [0] * 784, "run": "new"})  # a new name is looked for
    assert client.get("/api/runs").json["start"][0] == "new" and len(looked) == 3


def test_a_run_that_is_trained_anew_at_the_same_step_is_read_anew(client, logdir):
    question = {"image": random_image().tolist(), "run": LEFT}
    post(client, "/api/inside", question)
    values = saved_runs.random_weights(9, kernels=4, neurons=5)
    shutil.rmtree(logdir / LEFT)
    saved_runs.save(logdir / LEFT, 100, values)
    assert post(client, "/api/inside", question)["conv"]["shape"] == [28, 28, 4]


def test_a_new_run_becomes_the_one_to_start_with(client, logdir):
    assert client.get("/api/runs").json["start"] == [LEFT, RIGHT]
    saved_runs.save(logdir / "new", 10, saved_runs.random_weights(9), started=2e9, accuracy=0.1)
    assert client.get("/api/runs").json["start"] == ["new", RIGHT]
    asked = post(client, "/api/drawing", SEVEN)["runs"][0]
    assert asked == {"run": "new", "started": 2e9, "step": 10}


def test_a_deleted_run_is_gone_and_the_next_takes_its_place(client, logdir):
    post(client, EVALUATE, [0] * 784)
    shutil.rmtree(logdir / LEFT)
    answer = client.post("/api/drawing", json={"strokes": SEVEN, "runs": [LEFT, RIGHT]})
    assert refused(answer, 404, "no-such-run")
    assert client.get("/api/runs").json["start"] == [WIDE, RIGHT]
    post(client, EVALUATE, [0] * 784)
    for run in RIGHT, WIDE:
        shutil.rmtree(logdir / run)
    assert client.get("/api/runs").json == {"runs": [], "start": [None, None]}
    assert refused(client.post(EVALUATE, data=BLANK), 404, "no-such-run")
    bare = post(client, "/api/drawing", SEVEN)
    assert bare["runs"] == [None, None] and bare["centred"]["answers"] == [None, None]


def test_a_network_that_is_replaced_while_it_is_read_is_read_again(client, logdir, monkeypatch):
    load, newer = tf.train.load_checkpoint, iter([110, 120])

    def overtaken(checkpoint):
        if step := next(newer, None):
            saved_runs.save(logdir / LEFT, step, saved_runs.random_weights(step))
        return load(checkpoint)

    monkeypatch.setattr(tf.train, "load_checkpoint", overtaken)
    told = post(client, "/api/drawing", {"strokes": SEVEN, "runs": [LEFT, None]})
    assert told["runs"][0]["step"] == 120


def test_a_network_that_is_replaced_again_and_again_is_called_busy(client, logdir, monkeypatch):
    load, newer = tf.train.load_checkpoint, itertools.count(110)

    def overtaken(checkpoint):
        saved_runs.save(logdir / LEFT, next(newer), saved_runs.random_weights(1))
        return load(checkpoint)

    monkeypatch.setattr(tf.train, "load_checkpoint", overtaken)
    answer = client.post("/api/inside", json={"image": [0] * 784, "run": LEFT})
    assert refused(answer, 503, "busy-run") and LEFT in answer.json["error"]


def test_a_run_in_training_is_followed_to_its_end(tmp_path, data_dir, data):
    flags = ["--epochs", 100, "--kernels", 2, "--neurons", 4]
    flags += ["--logdir", tmp_path / "runs", "--data_dir", data_dir]
    chosen = read_settings(vars(mnist), flags)
    fake = data.train.name == input_data.GENERATED
    digits = input_data.read_data_sets(data_dir, fake, validation_size=0)
    run = runs.Run(chosen, digits)
    client, seen = client_of(tmp_path / "runs"), []
    steps, go_on = itertools.count(1), run.note_training

    def wait_until_seen(loss):
        """At two moments, train on only when the client has seen what has just been saved."""
        step = next(steps)
        if step - 1 in (20, 40):
            wait_for(lambda: seen and seen[-1] == step - 1)
        go_on(loss)

    run.note_training = wait_until_seen
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        training = pool.submit(mnist.train, chosen, digits, run)
        while not training.done() or seen[-1] < 100:
            question = {"strokes": SEVEN, "runs": [run.folder.name, None]}
            answer = client.post("/api/drawing", json=question)
            if answer.status_code == 200:
                seen.append(answer.json["runs"][0]["step"])
            elif not refused(answer, 503, "busy-run"):  # nothing is saved yet
                assert not seen and refused(answer, 404, "no-such-run")
            assert training.done() is False or training.exception() is None
    assert seen == sorted(seen) and set(seen) >= {20, 40, 100}
    [told] = client.get("/api/runs").json["runs"]
    assert (told["step"], told["status"], told["kernels"]) == (100, "finished", 2)


# ------------------------------------------------------------------- runs that cannot be shown


def damage(logdir, run):
    [data_file] = (logdir / run).glob("*.data-*")
    data_file.write_bytes(data_file.read_bytes()[:100])


@pytest.mark.parametrize("loaded", [False, True])
def test_a_damaged_run_is_told_and_left_out_until_it_is_mended(
    client, logdir, weights, capsys, loaded
):
    if loaded:
        post(client, EVALUATE, [0] * 784)
    damage(logdir, LEFT)
    for _ in range(2):
        answer = client.post("/api/inside", json={"image": [0] * 784, "run": LEFT})
        assert refused(answer, 409, "damaged-run")
        sentence = f"The newest checkpoint of {LEFT} is damaged: delete this run's folder."
        assert answer.json["error"] == sentence
    assert capsys.readouterr().out == answer.json["error"] + "\n"
    assert client.get("/api/runs").json["start"] == [WIDE, RIGHT]
    post(client, EVALUATE, [0] * 784)
    saved_runs.save(logdir / LEFT, 200, weights[LEFT])
    assert client.get("/api/runs").json["start"] == [LEFT, RIGHT]
    post(client, "/api/inside", {"image": [0] * 784, "run": LEFT})


def test_a_run_whose_data_file_is_missing_is_damaged(client, logdir):
    [data_file] = (logdir / LEFT).glob("*.data-*")
    data_file.unlink()
    answer = client.post("/api/inside", json={"image": [0] * 784, "run": LEFT})
    assert refused(answer, 409, "damaged-run")


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9]"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize("place", ["reading", "building"])
def test_too_little_memory_is_not_called_damage(logdir, monkeypatch, capsys, error, place):
    def fail(*_):
        raise error

    client = client_of(logdir, build=fail if place == "building" else mnist.network)
    if place == "reading":
        monkeypatch.setattr(tf.train, "load_checkpoint", fail)
    answer = client.post("/api/inside", json={"image": [0] * 784, "run": LEFT})
    assert refused(answer, 503, "out-of-memory")
    assert LEFT in answer.json["error"] and "delete" not in answer.json["error"]
    assert capsys.readouterr().out == ""
    assert client.get("/api/runs").json["start"] == [LEFT, RIGHT]


def test_a_refusal_of_the_system_is_told_in_its_words_and_not_called_damage(client, monkeypatch):
    def fail(_):
        raise tf.errors.PermissionDeniedError(None, None, f"/x; {os.strerror(13)}")

    monkeypatch.setattr(tf.train, "load_checkpoint", fail)
    answer = client.post("/api/inside", json={"image": [0] * 784, "run": LEFT})
    assert refused(answer, 409, "unreadable-run")
    assert os.strerror(13) in answer.json["error"] and "delete" not in answer.json["error"]
    monkeypatch.undo()
    post(client, "/api/inside", {"image": [0] * 784, "run": LEFT})


def test_another_network_than_that_of_mnist_py_is_not_called_damaged(logdir, weights):
    def edited(images, chosen):
        tf.Variable(tf.zeros([3]), name="more")
        return mnist.network(images, chosen)

    client = client_of(logdir, build=edited)
    answer = client.post("/api/inside", json={"image": [0] * 784, "run": LEFT})
    assert refused(answer, 409, "other-network")
    assert "mnist.py" in answer.json["error"] and "delete" not in answer.json["error"]
    assert client.get("/api/runs").json["start"][0] == WIDE


def test_a_network_without_relu_answers_and_its_layers_are_not_shown(logdir, monkeypatch):
    """A learner's experiment: the layers have other names, and what they give may be negative."""
    monkeypatch.setattr(mnist.tf.nn, "relu", tf.tanh)
    client, image = client_of(logdir), random_image().tolist()
    assert sum(post(client, EVALUATE, image)["convolutional"].values()) == pytest.approx(1)
    told = post(client, "/api/inside", {"image": image, "run": LEFT})
    assert len(told["logits"]) == 10 and not {"conv", "hidden"} & set(told)
    told = client.get("/api/weights", query_string={"run": LEFT}).json
    assert len(told["kernels"]) == 3 and "dead" not in told


def test_numbers_that_overflow_are_told(client, logdir, weights):
    values = weights[LEFT] | {"fc2/Weights": weights[LEFT]["fc2/Weights"] * np.float32(1e38)}
    saved_runs.save(logdir / LEFT, 200, {name: 10 * value for name, value in values.items()})
    image = random_image().tolist()
    for path, question in (
        ("/api/inside", {"image": image, "run": LEFT}),
        ("/api/drawing", {"strokes": SEVEN, "runs": [LEFT, RIGHT]}),
        (EVALUATE, image),
    ):
        answer = client.post(path, json=question)
        assert refused(answer, 409, "overflow")
        sentence = f"The weights of {LEFT} are so large that its numbers overflow."
        assert answer.json["error"] == sentence


def test_the_networks_asked_last_are_kept_and_no_more(logdir, weights):
    built = collections.Counter()

    def counted(images, chosen):
        built[chosen.run] += 1
        return mnist.network(images, chosen)

    names = [f"run {number}" for number in range(networks.KEPT)]
    for name in names:
        saved_runs.save(logdir / name, 1, weights[RIGHT])
    client = client_of(logdir, build=counted)

    def ask(name):
        post(client, "/api/drawing", {"strokes": SEVEN, "runs": [name, None]})

    for name in [*names, *names, names[0], RIGHT]:  # names[1] has waited longest by now
        ask(name)
    for name in [names[0], *names[2:], RIGHT]:
        ask(name)
    assert set(built.values()) == {1}
    ask(names[1])
    assert built[names[1]] == 2


# ------------------------------------------------------------------- requests that are wrong


def image_with(text):
    return BLANK[:-2] + text + "]"


def drawing_by(runs):
    return json.dumps({"strokes": SEVEN, "runs": runs})


def question(**parts):
    return json.dumps(parts)


NOT_NUMBERS = ["true", "null", '"0"', "[0]", "{}", "NaN", "Infinity", "-Infinity", "1e999"]
NOT_PIXELS = [*NOT_NUMBERS, "1.0001", "-0.001", "2", "9" * 4000]
NOT_DRAWINGS = ["[]", "[[]]", "0", "null", '"x"', "[[0, 0]]", "[[[0]]]", "[[[0, 0, 0]]]", "[{}]"]
NOT_DRAWINGS += [f"[[[0, {text}]]]" for text in [*NOT_NUMBERS, "280.5", "-1"]]
NOT_DRAWINGS += ["[[[0, 0]], []]", "[[[0, 0], [0]]]"]


@pytest.mark.parametrize(
    "path, code, bodies",
    [
        (EVALUATE, "not-json", ["", "not JSON", BLANK[:-1], b"\xff\xfe\xfa", "[" * 60000]),
        (EVALUATE, "not-json", [image_with("9" * 5000)]),
        (EVALUATE, "not-an-image", ["{}", "null", '"0"', "1", "[]", "true"]),
        (EVALUATE, "not-an-image", [json.dumps([0] * size) for size in (783, 785)]),
        (EVALUATE, "not-an-image", [json.dumps([[0] * 28] * 28)]),
        (EVALUATE, "not-an-image", [json.dumps(dict.fromkeys(range(784), 0))]),
        (EVALUATE, "not-a-pixel", map(image_with, NOT_PIXELS)),
        ("/api/mnist/convolutional", "not-an-image", ["[]"]),
        ("/api/mnist/fully_connected", "not-a-pixel", [image_with("true")]),
        ("/api/drawing", "not-a-drawing", NOT_DRAWINGS),
        ("/api/drawing", "not-a-drawing", [question(runs=[LEFT, RIGHT])]),
        ("/api/drawing", "not-a-drawing", [question(runs=[None, None], strokes=[])]),
        ("/api/drawing", "not-two-runs", map(drawing_by, [None, [], [LEFT], [LEFT] * 3])),
        ("/api/drawing", "not-two-runs", map(drawing_by, [[LEFT, 1], [[], LEFT], LEFT, {}])),
        ("/api/drawing", "not-two-runs", ["{}"]),
        ("/api/inside", "not-a-question", ["[]", "{}", BLANK, question(image=[0] * 784)]),
        ("/api/inside", "not-a-question", [question(image=[0] * 784, run=None)]),
        ("/api/inside", "not-an-image", [question(image=[0] * 783, run=LEFT), question(run=LEFT)]),
        ("/api/inside", "not-a-pixel", [question(image=[0] * 783 + [2], run=LEFT)]),
    ],
)  # fmt: skip
def test_a_malformed_request_gets_a_sentence(steady, path, code, bodies):
    for body in bodies:
        assert refused(steady.post(path, data=body), 400, code), body


def test_the_sentence_names_the_place(steady):
    answer = steady.post(EVALUATE, data=json.dumps([0] * 500 + [1.5] + [0] * 283))
    assert "500" in answer.json["error"]
    assert "280" in steady.post("/api/drawing", data="[]").json["error"]


def test_the_ends_of_what_is_allowed_are_taken(steady):
    post(steady, EVALUATE, [1.0] * 392 + [0] * 392)
    post(steady, "/api/drawing", [[[0, 0], [280, 280]], [[280.0, 0]]])


def test_a_large_request_is_refused(steady):
    padding = 64 * 1024 - len(BLANK)
    assert steady.post(EVALUATE, data=BLANK + " " * padding).status_code == 200
    too_large = steady.post(EVALUATE, data=BLANK + " " * (padding + 1))
    assert (
        refused(too_large, 413, "request-entity-too-large") and "64 KB" in too_large.json["error"]
    )


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/mnist/softmax", f"{EVALUATE}/", "/draw.py", "/api"]
)
def test_other_paths(steady, path):
    answer = steady.post(path, data=BLANK)
    assert refused(answer, 404, "not-found") and "the page is at /" in answer.json["error"]


@pytest.mark.parametrize(
    "method, path, allowed",
    [(method, EVALUATE, "POST") for method in ["GET", "PUT", "DELETE", "PATCH"]]
    + [("POST", path, "GET") for path in ["/", "/api/runs", "/api/weights", "/page.js"]],
)
def test_wrong_method(steady, method, path, allowed):
    answer = steady.open(path, method=method)
    assert refused(answer, 405, "method-not-allowed") and allowed in answer.headers["Allow"]
    assert answer.json["error"].startswith("This path does not take this method")
    assert "Allow" in answer.json["error"]


@pytest.mark.parametrize(
    "name", ["../outside", "/{outside}", "x", "", ".", "..", "deeper", f"{LEFT}/", "\0", "\ud800"]
)
def test_a_name_reaches_no_path_that_is_not_a_run_of_the_log_folder(client, logdir, weights, name):
    saved_runs.save(logdir.parent / "outside", 1, weights[LEFT])
    name = name.format(outside=logdir.parent / "outside")
    for path, value in (
        ("/api/inside", {"image": [0] * 784, "run": name}),
        ("/api/drawing", {"strokes": SEVEN, "runs": [LEFT, name]}),
    ):
        assert refused(client.post(path, json=value), 404, "no-such-run")
    if name != "\ud800":  # no address can hold it
        answer = client.get("/api/weights", query_string={"run": name})
        assert refused(answer, 404, "no-such-run")
    assert refused(client.get("/api/weights"), 404, "no-such-run")


JUNK = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.floats() | strategies.integers()
    | strategies.sampled_from([LEFT, RIGHT, "", SEVEN, [0] * 784, [0.5] * 784]),
    lambda inner: strategies.lists(inner, max_size=3)
    | strategies.dictionaries(strategies.sampled_from(["strokes", "runs", "image", "run"]), inner),
    max_leaves=12,
)  # fmt: skip


def test_whatever_is_asked_is_answered_or_refused(steady):
    @settings(deadline=None, max_examples=150)
    @given(path=strategies.sampled_from([EVALUATE, "/api/drawing", "/api/inside"]), value=JUNK)
    def ask(path, value):
        answer = steady.post(path, data=json.dumps(value))
        assert answer.status_code in (200, 400, 404)
        assert answer.status_code == 200 or refused(answer, answer.status_code, answer.json["code"])

    ask()


# ------------------------------------------------------------------- who may ask


@pytest.mark.parametrize(
    "host, status",
    [(host, 200) for host in ["localhost", "LocalHost:1234", "localhost:"]]
    + [(host, 403) for host in ["evil.example", "localhost.evil.example", "evil.localhost"]]
    + [(host, 403) for host in ["localhost:80:80", "localhost@evil.example", "localhost, x"]]
    + [(host, 403) for host in ["[::1", "::1", "", "\xff", "127.0.0.1", "[::1]", "10.0.0.1"]],
)
def test_host_header(steady, host, status):
    for path, good in ("/api/paper", 200), ("/nothing", 404):
        answer = steady.get(path, environ_overrides={"HTTP_HOST": host})
        assert answer.status_code == (good if status == 200 else 403)
        assert status == 200 or refused(answer, 403, "other-host")


def test_a_server_at_all_addresses_may_be_called_by_any_number_but_by_no_other_name(logdir):
    listed = networks.Networks(logdir, mnist.network)
    for everywhere in "0.0.0.0", "[::]":
        client = draw.make_app(listed, "x", {"localhost", everywhere}).test_client()
        for host in "10.0.0.1", "192.168.0.7:8000", "[fe80::1]", "[fe80::1]:8000":
            assert client.get("/api/paper", headers={"Host": host}).status_code == 200
        for host in "evil.example", "10.0.0.1.evil.example", "[fe80::1].evil.example":
            assert refused(client.get("/api/paper", headers={"Host": host}), 403, "other-host")


def test_pages_of_other_sites_are_refused(steady):
    for own in ["http://localhost:8000", "https://localhost:8000", "HTTP://LOCALHOST:8000"]:
        answer = steady.get("/api/paper", headers={"Host": "localhost:8000", "Origin": own})
        assert answer.status_code == 200
    for origin in ["http://evil.example", "null", "http://localhost:1", "http://localhost", "",
                   "http://localhost:8000.evil.example", "ftp://localhost:8000"]:  # fmt: skip
        answer = steady.get("/api/paper", headers={"Host": "localhost:8000", "Origin": origin})
        assert refused(answer, 403, "other-site")
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/api/runs", "/nothing"])
def test_every_answer_forbids_what_the_page_does_not_need(steady, path):
    headers = steady.get(path).headers
    policy = [part.strip() for part in headers["Content-Security-Policy"].split(";")]
    needed = ["style-src 'self'", "script-src 'self'", "connect-src 'self'", "img-src data:"]
    closed = ["default-src", "base-uri", "form-action", "frame-ancestors"]
    assert sorted(policy) == sorted(needed + [f"{name} 'none'" for name in closed])
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"


def test_the_page_and_its_files_come_with_their_types(steady):
    for path, kind in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        *[
            (f"/{name}.js", "text/javascript; charset=utf-8")
            for name in ("page", "inside", "texts")
        ],
    ]:
        answer = steady.get(path)
        assert (answer.status_code, answer.content_type) == (200, kind)
        file = draw.HERE / "page" / "static" / (path[1:] or "index.html")
        assert answer.data == file.read_bytes()


def test_the_papers_measures_are_told(steady):
    assert steady.get("/api/paper").json == {"paper": 280, "pen": 24}


# ------------------------------------------------------------------- the process


def request(port, method, path, body=None):
    """The status of a process's answer, and what its JSON says."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


@pytest.fixture
def in_process(monkeypatch, capsys):
    """draw.main in this process, with a server that ends at once: what it said, and what it was."""

    def run(*flags):
        served = []

        def create_server(app, sockets):
            served.append((app, sockets))
            return types.SimpleNamespace(run=lambda: None)

        before = signal.getsignal(signal.SIGINT)
        monkeypatch.setattr(draw.waitress, "create_server", create_server)
        try:
            draw.main([str(flag) for flag in flags])
            problem = None
        except terminal.Problem as error:
            problem = error
        finally:
            signal.signal(signal.SIGINT, before)
            for _, [listener] in served:
                listener.close()
        return types.SimpleNamespace(
            said=capsys.readouterr().out.splitlines(), served=served, problem=problem
        )

    return run


def test_it_says_which_networks_it_starts_with_and_where_it_is(in_process, logdir, data, tmp_path):
    (logdir / RIGHT / "run.json").unlink()
    result = in_process("--logdir", logdir, "--data_dir", tmp_path, "--port", "0")
    left, right, address = result.said
    score = f"90.00% of the test digits right ({data.train.name})"
    assert left == f"The convolutional network is that of {LEFT}: {score}."
    assert right == f"The softmax network is that of {RIGHT}."
    assert re.fullmatch(r"Draw at http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)", address)
    [(app, _)] = result.served
    for host, status in (
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("localhost", 200),
        ("10.0.0.1", 403),
    ):
        assert app.test_client().get("/api/paper", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("host, shown", [("0.0.0.0", "localhost"), ("localhost", "127.0.0.1")])
def test_the_address_that_it_says_leads_to_it(in_process, logdir, host, shown):
    result = in_process("--logdir", logdir, "--host", host, "--port", "0")
    [(app, [listener])] = result.served
    assert f" http://{shown}:" in result.said[2]
    assert ("this one's IP address" in result.said[-1]) == (host == "0.0.0.0")
    status = 200 if host == "0.0.0.0" else 403
    assert app.test_client().get("/api/paper", headers={"Host": "10.0.0.1"}).status_code == status


@pytest.mark.parametrize("exists", [False, True])
def test_without_a_convolutional_run_it_says_what_to_do(in_process, tmp_path, weights, exists):
    folder = tmp_path / "runs"
    if exists:
        saved_runs.save(folder / RIGHT, 100, weights[RIGHT])
    result = in_process("--logdir", folder, "--port", "0")
    assert "run `python mnist.py` first" in str(result.problem) and result.problem.status == 1
    assert "runs" in str(result.problem) and result.said == [] and not result.served
    assert folder.exists() is exists


def test_damaged_runs_are_left_out_at_the_start(in_process, logdir):
    damage(logdir, LEFT)
    result = in_process("--logdir", logdir, "--port", "0")
    assert "damaged" in result.said[0] and LEFT in result.said[0]
    assert (
        result.said[1].startswith(f"The convolutional network is that of {WIDE}") and result.served
    )
    damage(logdir, WIDE)
    result = in_process("--logdir", logdir, "--port", "0")
    assert "run `python mnist.py` first" in str(result.problem) and not result.served


def test_too_little_memory_at_the_start_is_said(in_process, logdir, monkeypatch):
    def fail(_):
        raise MemoryError

    monkeypatch.setattr(tf.train, "load_checkpoint", fail)
    result = in_process("--logdir", logdir, "--port", "0")
    assert "memory" in str(result.problem) and LEFT in str(result.problem) and not result.served


@pytest.mark.parametrize("flags, words", [
    (["--port", "x"], "--port"), (["--prot", "1"], "--prot"), (["--port", "65536"], "65536"),
    (["--host", "no.such.host.example"], "no.such.host.example"),
    (["--host", "192.168..5"], "192.168..5"), (["--host", "x" * 64], "xxx"),
    (["--logdir", "runs[1]"], "rename"), (["--logdir", "what?"], "rename"),
    (["--logdir", "back\\slash"], "rename"),
])  # fmt: skip
def test_wrong_flags_are_told_in_a_sentence(in_process, logdir, flags, words):
    result = in_process("--logdir", logdir, *flags)
    assert words in str(result.problem) and "\n" not in str(result.problem)
    assert "(None)" not in str(result.problem)
    assert result.said == [] and not result.served


def test_folders_are_those_of_mnist_py(in_process, logdir, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert in_process("--logdir", f"~/{logdir.name}", "--port", "0").served
    monkeypatch.setattr(mnist, "LOGDIR", f"~/{logdir.name}")
    assert in_process("--port", "0").served
    monkeypatch.chdir(tmp_path)
    assert in_process("--logdir", logdir.name, "--port", "0").served
    monkeypatch.setattr(mnist, "LOGDIR", 7)
    result = in_process("--port", "0")
    assert str(result.problem) == "LOGDIR at the top of mnist.py must be a folder, not 7."


def test_help_tells_each_flag_and_what_it_is_if_left_out(in_process):
    result = in_process("--help")
    assert (str(result.problem), result.problem.status, result.served) == ("", 0, [])
    for name, meaning, standard in [
        ("logdir", "folder of the trained runs", draw.HERE / mnist.LOGDIR),
        ("data_dir", "folder of MNIST", draw.HERE / mnist.DATA_DIR),
        ("host", "address to listen at", "127.0.0.1"),
        ("port", "port to listen at; 0 for a free one", 8000),
    ]:
        told = f"--{name} {name.upper()} {meaning}; {standard} if left out"
        # Long paths are broken where they have a hyphen, too.
        assert told.replace(" ", "") in "".join(result.said).replace(" ", "")


def test_a_port_in_use(in_process, logdir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = in_process("--logdir", logdir, "--port", port)
    assert (
        str(result.problem)
        == f"Port {port} of 127.0.0.1 is already in use: choose another with --port."
    )


def test_softmax_is_trained_where_there_is_none(in_process, logdir, data, data_dir, monkeypatch):
    shutil.rmtree(logdir / RIGHT)
    result = in_process("--logdir", logdir, "--data_dir", data_dir, "--port", "0")
    assert "training one" in result.said[1]
    [(app, _)] = result.served
    client = app.test_client()
    trained = client.get("/api/runs").json["start"][1]
    told = next(run for run in client.get("/api/runs").json["runs"] if run["run"] == trained)
    assert (told["learning_rate"], told["epochs"], told["step"]) == (0.001, 3000, 3000)
    assert told["accuracy"] > 0.91 and told["data"] == data.train.name
    assert f"The softmax network is that of {trained}: {told['accuracy']:.2%}" in result.said[-2]


def test_a_training_of_softmax_that_is_stopped_ends_the_program(
    in_process, logdir, data_dir, monkeypatch
):
    shutil.rmtree(logdir / RIGHT)
    monkeypatch.setattr(draw.mnist, "train", lambda _, __, run: run.record.update(status="stopped"))
    result = in_process("--logdir", logdir, "--data_dir", data_dir, "--port", "0")
    assert str(result.problem) == "" and result.problem.status == 130 and not result.served


def test_a_process_answers_and_ends_silently_on_ctrl_c(logdir, data_dir):
    with serving(logdir, data_dir) as process:
        assert request(process.port, "POST", EVALUATE, BLANK)[0] == 200
        chunks = iter([b"[0" + b",0" * 783, b"]"])
        assert request(process.port, "POST", EVALUATE, chunks)[0] == 200
        for rubbish in [
            b"\x16\x03\x01\x02\x00\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n[0,",
            b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        ]:
            with socket.create_connection(("127.0.0.1", process.port)) as connection:
                connection.sendall(rubbish)
        assert request(process.port, "POST", "/api/drawing", b"x" * 5_000_000)[0] == 413
        noise = r"flask|waitress|tensorflow|warning|debug"
        assert not re.search(noise, process.said, re.IGNORECASE)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "") and process.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process has loaded so far")
@pytest.mark.parametrize("library", ["numpy", "libtensorflow_cc"])
def test_ctrl_c_while_it_imports_is_silent(logdir, data_dir, library):
    with start(logdir, data_dir) as process:
        while library not in pathlib.Path(f"/proc/{process.pid}/maps").read_text():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGINT, 130) and out == err == ""


# ------------------------------------------------------------------- hostile clients


def hostile_request(dice):
    """A random request as bytes: some nearly good, some far from it."""
    methods = ["POST"] * 6
    methods += ["GET", "PUT", "HEAD", "OPTIONS", "TRACE", "DELETE", "BREW", "post", ""]
    paths = [EVALUATE] * 4 + ["/", "/api/drawing", "/api/inside", "/api/runs", "*", "\\", "/%00"]
    paths += ["/../mnist.py", "/..%2f..%2fetc/passwd", "/%2e%2e/draw.py", "//etc/passwd", "/%zz"]
    paths += ["/index.html/../mnist.py", "/static/../draw.py", "http://evil.example/"]
    paths += [f"{EVALUATE};id=1", "/?" + "x" * 9000, "/" + "a/" * 3000]
    paths += ["/api/weights?run=../x", "/api/weights?run=%00&step=-1"]
    numbers = [0, 1, 0.5, -1, 2, True, None, "0", [], 1e308, float("nan"), float("inf"), 281]
    points = [[dice.choice(numbers), dice.choice(numbers)] for _ in range(dice.randrange(4))]
    body = dice.choice(
        [
            json.dumps([dice.choice(numbers) if dice.random() < 0.01 else 0 for _ in range(784)]),
            json.dumps([0] * dice.choice([0, 1, 783, 784, 784, 784, 785, 20_000])),
            json.dumps([points] * dice.randrange(4)),
            json.dumps({"strokes": [points], "runs": [LEFT, dice.choice([RIGHT, None, "x"])]}),
            json.dumps({"image": [0] * 784, "run": dice.choice([LEFT, RIGHT, "../x", 0])}),
            "[" * dice.choice([1, 784, 30_000]),
            "",
            '{"a":' * 5000,
            "9" * 10_000,
            dice.randbytes(dice.randrange(2000)),
            "x" * 70_000,
        ]
    )
    body = body if isinstance(body, bytes) else body.encode()
    hosts = ["127.0.0.1"] * 8 + ["evil.example", "", "[", "127.0.0.1:99999999999", "a" * 5000]
    lengths = [len(body)] * 8 + [len(body) // 2, -1, "1e3", "9" * 30, "", "0x10"]
    kinds = ["application/json", "text/html", "multipart/form-data; boundary=", "\xff"]
    headers = {
        "Host": dice.choice(hosts),
        "Content-Length": dice.choice(lengths),
        "Content-Type": dice.choice(kinds),
    }
    for name, values in {
        "Origin": ["http://evil.example", "null", "http://127.0.0.1"],
        "Expect": ["100-continue", "x"],
        "Transfer-Encoding": ["chunked", "gzip", "chunked, chunked"],
        "Range": ["bytes=0-,-9"],
        "X-Forwarded-Host": ["evil.example"],
        "Cookie": ["x" * 8000],
        "If-Modified-Since": ["never"],
        "X-Long": ["x" * 300_000],
        "Connection": ["close", "Upgrade", "keep-alive"],
    }.items():
        if dice.random() < 0.05:
            headers[name] = dice.choice(values)
    version = dice.choice(["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/9.9", "SPDY", ""])
    lines = [f"{dice.choice(methods)} {dice.choice(paths)} {version}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if dice.random() < 0.98]
    whole = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
    if dice.random() < 0.9:
        return whole
    return whole[: dice.randrange(len(whole))] + dice.randbytes(dice.randrange(9))


def send_hostile(port, seed, times):
    """Send so many random requests; returns {status: how often}, None being no answer at all."""
    dice, statuses = random.Random(seed), collections.Counter()
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            # The server may hang up before it has heard everything.
            with contextlib.suppress(OSError):
                connection.sendall(hostile_request(dice))
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65536):
                    answer += piece
        status = re.match(rb"HTTP/1\.[01] (\d+) ", answer)
        statuses[status and int(status[1])] += 1
        assert not any(word in answer for word in [b"Traceback", b"root:", b"import numpy"])
    return statuses


def resident_megabytes(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how much memory a process takes")
def test_hostile_requests_and_fifty_slow_ones(logdir, data_dir, dice, often):
    times = often(400, 10_000)
    over, answered = threading.Event(), []

    def be_slow(port):
        """Send a good request, a byte a second."""
        head = f"POST {EVALUATE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BLANK)}\r\n"
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for byte in f"{head}\r\n{BLANK}".encode():
                connection.sendall(bytes([byte]))
                if over.wait(1):
                    return

    def be_good(port):
        while not over.is_set():
            answered.append(request(port, "POST", EVALUATE, BLANK)[0])

    with serving(logdir, data_dir) as victim, concurrent.futures.ThreadPoolExecutor(54) as pool:
        others = [pool.submit(be_slow, victim.port) for _ in range(50)]
        others.append(pool.submit(be_good, victim.port))
        try:
            seeds = [dice.randrange(10**6) for _ in range(4)]
            statuses = send_hostile(victim.port, seeds[0], times // 4)
            before = resident_megabytes(victim)
            parts = [pool.submit(send_hostile, victim.port, seed, times // 4) for seed in seeds[1:]]
            for part in parts:
                statuses += part.result()
            grown = resident_megabytes(victim) - before
        finally:
            over.set()
        for other in others:
            other.result()
        assert request(victim.port, "POST", EVALUATE, BLANK)[0] == 200
        victim.send_signal(signal.SIGINT)
        assert victim.communicate(timeout=20) == ("", "") and victim.returncode == 0
    known = {None, 100, 200, 400, 403, 404, 405, 413, 414, 416, 417, 431, 501}
    assert statuses.total() == times and set(statuses) <= known, statuses
    common = [400, 403, 404, 405] + [200, 413] * (times >= 10_000)
    assert all(statuses[status] > times / 200 for status in common), statuses
    assert statuses[None] < 0.15 * times, statuses
    assert set(answered) == {200} and len(answered) > times / 100
    assert grown < before / 5  # requests leave nothing behind
