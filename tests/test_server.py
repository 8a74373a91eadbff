"""The page's server over HTTP: what it answers, what it refuses, and to whom."""

import json
import os
import re
import shutil
import socket

import numpy as np
import pytest
from PIL import Image

import input_data
import mnist
from helpers import saved_runs, wait_for
from helpers.draw_server import client_of
from helpers.photos import file_of, photo
from helpers.saved_runs import LEFT, RIGHT, WIDE, damage
from helpers.small_mnist import NAMES, small_set, write
from page import digits
from page.networks import Refusal, TrainedRuns
from page.pictures import PAPER, as_drawn, centred, from_photo
from page.server import LARGEST_PHOTO, REFUSALS, describe
from support import own_digits
from support.saved import GRAPH, Record
from support.tensorflow1 import tf
from tools import no_digits

SEVEN = [[[90, 70], [190, 70], [130, 220]], [[100, 140], [180, 140]]]
ZEROS = [0] * 784
IMAGE = np.random.default_rng(0).random(784).round(3)


@pytest.fixture(scope="session")
def data(data_dir):
    """What the runs learned from."""
    fake = not os.environ.get("MNIST_DATA")
    return input_data.read_data_sets(data_dir, fake, dtype="uint8", validation_size=0)


@pytest.fixture(scope="session")
def steady_logdir(tmp_path_factory):
    return tmp_path_factory.mktemp("steady") / "runs"


@pytest.fixture(scope="session")
def weights(steady_logdir, data, data_dir):
    """The weights of each run in `steady_logdir`."""
    return saved_runs.save_three(steady_logdir, data=data.train.name, data_dir=data_dir)


@pytest.fixture(scope="session")
def steady(steady_logdir, weights):
    """A client of runs that nobody changes, whose networks are loaded once."""
    return client_of(steady_logdir)


@pytest.fixture
def logdir(steady_logdir, weights, tmp_path):
    """The same runs, to be changed."""
    return shutil.copytree(steady_logdir, tmp_path / "runs")


def post(client, path, value):
    answer = client.post(path, data=json.dumps(value))
    assert answer.status_code == 200, answer.json
    return answer.json


def refused(answer, code):
    """Whether a request was refused so, in the form that every refusal has."""
    assert answer.content_type == "application/json"
    assert set(answer.json) == {"error", "chinese", "code"}
    assert re.fullmatch(r"[A-Z\"][^\n{}]{10,200}\.", answer.json["error"]), answer.json
    assert answer.status_code == REFUSALS[answer.json["code"]]["status"]
    return answer.json["code"] == code


# ---------------------------------------------------------------------------------- what it answers


def test_the_runs_are_listed(steady, data):
    answer = steady.get("/api/runs").json
    assert answer["start"] == [LEFT, RIGHT]
    assert [run["name"] for run in answer["runs"]] == [LEFT, RIGHT, WIDE]
    assert answer["runs"][2] == {
        "name": WIDE, "network": "convolutional", "step": 100, "epochs": 100,
        "learning_rate": 0.001, "batch_size": 100, "kernels": 7, "neurons": 21,
        "shift": 0, "own_digits": 0, "data": data.train.name, "started": 1e9 - 2,
        "status": "finished", "accuracy": 0.9, "images": 10_000,
    }  # fmt: skip


def test_probabilities_are_the_networks_own(steady, weights):
    for run in LEFT, RIGHT, WIDE:
        answer = post(steady, "/api/evaluate", {"image": IMAGE.tolist(), "run": run})
        assert (answer["run"], answer["step"]) == (run, 100)
        expected = saved_runs.probabilities(weights[run], IMAGE)
        np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    for question in {"image": ZEROS}, {"image": ZEROS, "run": None}:
        assert post(steady, "/api/evaluate", question)["run"] == LEFT


def test_a_drawing_is_answered_in_both_views_by_the_runs_that_it_names(steady, weights):
    for names in (LEFT, WIDE), (WIDE, RIGHT), (LEFT, LEFT), (None, RIGHT), (None, None):
        answer = post(steady, "/api/drawing", {"strokes": SEVEN, "runs": names})
        assert set(answer) == {"as-drawn", "centred", "runs"}
        for name, run in zip(names, answer["runs"], strict=True):
            age = list(weights).index(name) if name else None
            assert run == (name and {"run": name, "started": 1e9 - age, "step": 100})
        for view in ["as-drawn", "centred"]:
            image = np.array(answer[view]["picture"]) / 255
            for name, probabilities in zip(names, answer[view]["answers"], strict=True):
                if name is None:
                    assert probabilities is None
                else:
                    expected = saved_runs.probabilities(weights[name], image)
                    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_a_photo_is_answered_in_both_views_by_any_runs(steady, weights):
    content = file_of(photo(centred(SEVEN), "chalk on a board", 1))
    made = from_photo(content)
    for names in [], [WIDE], [RIGHT, ""], ["", ""]:
        path = "/api/picture?" + "&".join(f"run={name}" for name in names)
        answer = steady.post(path, data=content, content_type="image/jpeg").json
        assert set(answer) == {"plain", "prepared", "runs", "inverted", "digits", "box"}
        assert (answer["inverted"], answer["digits"], answer["box"]) == (False, 1, made.box)
        asked = names or [LEFT, RIGHT]
        assert [run and run["run"] for run in answer["runs"]] == [name or None for name in asked]
        for view in ["plain", "prepared"]:
            picture = getattr(made, view).ravel()
            assert answer[view]["picture"] == picture.tolist()
            for name, probabilities in zip(asked, answer[view]["answers"], strict=True):
                assert (probabilities is None) == (not name)
                if name:
                    expected = saved_runs.probabilities(weights[name], picture / 255)
                    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.mark.parametrize("run", [LEFT, WIDE])
def test_kernels_and_pixels_add_up_to_the_feature_maps(steady, weights, run):
    answer = post(steady, "/api/inside", {"image": IMAGE.tolist(), "run": run})
    learned = steady.get("/api/weights", query_string={"run": run}).json
    layers = saved_runs.forward(weights[run], IMAGE[None])
    np.testing.assert_allclose(answer["logits"], layers["logits"][0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(answer["hidden"], layers["hidden"][0], rtol=1e-3, atol=1e-3)
    padded = np.pad(IMAGE.reshape(28, 28), 2)
    parts = zip(answer["conv"], learned["kernels"], learned["biases"], strict=True)
    for kernel, (values, pattern, bias) in enumerate(parts):
        feature_map = np.array(values).reshape(28, 28)
        np.testing.assert_allclose(feature_map, layers["conv"][0, :, :, kernel], atol=1e-3)
        for row, column in (0, 0), (13, 5), (27, 27):
            pixels = padded[row : row + 5, column : column + 5]
            total = (pixels * np.reshape(pattern, (5, 5))).sum() + bias
            assert feature_map[row, column] == pytest.approx(max(total, 0), abs=1e-3)


def test_layers_of_a_readers_own_are_left_out(logdir, monkeypatch):
    question = {"image": IMAGE.tolist(), "run": LEFT}
    monkeypatch.setattr(mnist.tf.nn, "relu", tf.tanh)
    edited = saved_runs.meta_graph.__wrapped__("convolutional", 3, 8)
    (logdir / LEFT / GRAPH).write_bytes(edited)
    client = client_of(logdir)
    assert not {"conv", "hidden"} & set(post(client, "/api/inside", question))
    learned = client.get("/api/weights", query_string={"run": LEFT}).json
    assert len(learned["kernels"]) == 3 and learned["dead"] is None


# ------------------------------------------------------------------ the training digits most alike


def inside_when_read(client, image, run=LEFT):
    """What /api/inside answers as soon as the training digits have been read."""
    question = {"image": [float(value) for value in image], "run": run}

    def ask():
        answer = post(client, "/api/inside", question)
        is_reading = answer["similar_error"] and answer["similar_error"]["code"] == "reading"
        return None if is_reading else answer

    return wait_for(ask)


def why_none(client):
    answer = inside_when_read(client, np.ones(784))
    assert answer["similar"] == [] and len(answer["logits"]) == 10
    return answer["similar_error"]["code"]


def test_similar_digits_are_those_of_a_search_through_all(steady, data, dice):
    pixels = data.train.images.astype(np.float32)
    lengths = np.linalg.norm(pixels, axis=1)
    for shift in [0, 0, 4, 4, 12, 12]:
        image = dice.choice(data.test.images).reshape(28, 28)
        image = np.roll(image, shift, axis=1).ravel() / 255
        answer = inside_when_read(steady, image)
        assert answer["similar_error"] is None
        likeness = pixels @ np.float32(image) / (lengths * np.linalg.norm(image))
        best = np.sort(likeness)[:-7:-1]
        assert [alike["likeness"] for alike in answer["similar"]] == pytest.approx(best, abs=6e-4)
        for alike in answer["similar"]:
            candidates = np.flatnonzero(np.abs(likeness - alike["likeness"]) < 6e-4)
            same = (data.train.images[candidates] == np.array(alike["picture"])).all(axis=1)
            assert alike["label"] in data.train.labels[candidates[same]]


def brute_force(pixels, image, shift):
    """The likeness of each digit to an image, at the best of all places."""
    framed = np.pad(pixels.reshape(-1, 28, 28), [(0, 0), (shift, shift), (shift, shift)])
    best = np.zeros(len(pixels))
    for down, right in np.ndindex(2 * shift + 1, 2 * shift + 1):
        there = framed[:, down : down + 28, right : right + 28].reshape(-1, 784)
        lengths = np.linalg.norm(there, axis=1) * np.linalg.norm(image)
        best = np.maximum(best, there @ image / np.maximum(lengths, 1e-9))
    return best


@pytest.mark.parametrize("count, shift, best", [(600, 3, 60), (150, 14, 150)])
def test_moved_digits_are_found_as_by_a_search_of_all_places(
    data, dice, monkeypatch, count, shift, best
):
    """Exactly if all digits are among the BEST, and otherwise nearly always."""
    monkeypatch.setattr(digits, "BEST", best)
    monkeypatch.setattr(digits, "SAMPLE", best)
    images, labels = data.train.images[:count], data.train.labels[:count]
    searched, found = digits.Digits(images, labels), []
    for _ in range(5):
        image = np.pad(np.float32(dice.choice(data.test.images)).reshape(28, 28), shift)
        down, right = dice.randrange(2 * shift + 1), dice.randrange(2 * shift + 1)
        image = image[down : down + 28, right : right + 28].ravel() + np.eye(1, 784, 400)[0]
        expected = brute_force(np.float32(images), image, shift)
        for rank, match in enumerate(searched.most_like(np.float32(image), shift)):
            alike = match.picture @ image / np.linalg.norm(match.picture) / np.linalg.norm(image)
            assert match.likeness == pytest.approx(alike, abs=1e-4)
            same = np.abs(expected - match.likeness) < 1e-4
            assert match.label in labels[same]
            found.append(match.likeness > np.sort(expected)[-1 - rank] - 1e-4)
    assert np.mean(found) >= (1 if best == count else 0.8)


def test_own_digits_are_found_where_shift_moves_them(logdir, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(own_digits, "FOLDER", tmp_path / "own")  # elsewhere than beside mnist.py
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", small_set())
    drawn = np.zeros((2, 28, 28), np.uint8)
    drawn[0, 8:20, 12:16] = drawn[1, 12:16, 8:20] = 255
    learned, other = (own_digits.save(tmp_path / "own", digit, drawn[digit]) for digit in (0, 1))
    record = {"data": f"the files in {tmp_path}", "data_dir": str(tmp_path / "data")}
    record |= {"shift": 10, "own_digits": 5, "own_names": [learned, "3/deleted.png"]}
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], **record)
    client = client_of(logdir)
    for digit, image in enumerate(np.roll(drawn, (-8, 8), (1, 2))):  # no ink leaves the field
        [first, *others] = inside_when_read(client, image.ravel() / 255)["similar"]
        assert (first["own"], first["likeness"] == 1) == (digit == 0, digit == 0)
        assert digit or (first["label"], first["picture"]) == (0, image.ravel().tolist())
        assert len(others) == 5 and sum(match["own"] for match in others) <= 1
    (tmp_path / "own" / other).write_bytes(b"damaged")
    assert why_none(client_of(logdir)) == "unreadable-data"


def test_what_is_usual_is_the_median_over_the_test_digits(steady, data, dice):
    searched = digits.Digits(data.train.images, data.train.labels)
    sample = dice.sample(list(np.float32(data.test.images)), 300)
    median = np.median([searched.most_like(picture)[0].likeness for picture in sample])
    answer = post(steady, "/api/inside", {"image": [1] * 784, "run": LEFT})
    assert answer["usual"] == pytest.approx(median, abs=0.025)
    moved = np.median([searched.most_like(picture, 1)[0].likeness for picture in sample])
    assert digits.USUAL_MOVED[data.train.name] == pytest.approx(moved, abs=0.025)


def unlike_of(client, strokes, *names):
    """What /api/drawing says of both views and each run, once it is known of the first."""
    question = {"strokes": strokes, "runs": names}

    def ask():
        answer = post(client, "/api/drawing", question)
        unlike = [answer[view]["unlike"] for view in ["as-drawn", "centred"]]
        return unlike if unlike[1][0] is not None else None

    return wait_for(ask)


NO_DIGITS = {
    "N": [[[90, 220], [90, 60], [190, 220], [190, 60]]],
    "W": [[[60, 60], [100, 220], [140, 100], [180, 220], [220, 60]]],
    "two": [[[40, 60], [110, 60], [70, 220]], [[170, 60], [240, 60], [200, 220]]],
    "arrow": [[[40, 140], [240, 140]], [[190, 80], [240, 140], [190, 200]]],
}


def test_what_looks_like_no_digit(logdir, weights, data, data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(own_digits, "FOLDER", tmp_path)
    learned = own_digits.save(tmp_path, 3, centred(NO_DIGITS["W"]))
    record = {"data": data.train.name, "data_dir": data_dir}
    saved_runs.save(logdir / RIGHT, 100, weights[RIGHT], **record, shift=10)
    saved_runs.save(logdir / WIDE, 100, weights[WIDE], **record, own_names=[learned])
    client = client_of(logdir)
    for name, strokes in NO_DIGITS.items():
        assert unlike_of(client, strokes, LEFT, RIGHT) == [[True, True], [True, True]]
        centred_too = unlike_of(client, strokes, WIDE, None)[1]
        assert centred_too == [name != "W", None]  # it has learned this
    for shape, drawn, centre in (SEVEN[:1], False, False), (NO_DIGITS["N"], None, True):
        moved = [[[x + 80, y] for x, y in stroke] for stroke in shape]  # ink touches the border
        assert unlike_of(client, moved, LEFT, RIGHT) == [[True, drawn], [centre, centre]]
    for other in {"data": "the files", "data_dir": data_dir}, {"data": None}, {"data_dir": "/no"}:
        saved_runs.save(logdir / RIGHT, 100, weights[RIGHT], **(record | other))
        assert unlike_of(client, SEVEN, LEFT, RIGHT)[1] == [False, None]


@pytest.mark.parametrize("shift", [0, 8])
def test_few_test_digits_and_most_letters_and_pairs_look_like_no_digit(data, data_dir, dice, shift):
    record = Record("", "", data=data.train.name, data_dir=data_dir, shift=shift)
    searched = digits.TrainingDigits(data_dir)
    no_digits.wait(searched, record)
    images = np.stack(dice.sample(list(data.test.images.reshape(-1, 28, 28)), 1000))
    shares = {"moved": no_digits.ask(searched, record, no_digits.move(images, shift))}
    for kind, pictures in no_digits.make_kinds(images).items():
        shares[kind] = no_digits.ask(searched, record, pictures)
        if re.match("(capitals|small letters) that are no digits|two digits", kind):
            assert shares[kind] >= 0.5, kind
    assert max(shares["test digits"], shares["moved"]) < 0.038  # 2%, and four standard deviations
    to_the_right = shares["test digits, 4 to the right"]
    assert to_the_right < 0.04 if shift else to_the_right > 0.99


def test_digits_that_are_not_there_are_never_downloaded(logdir, weights, tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise AssertionError("it asks the network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    folder = tmp_path / "part of MNIST"
    folder.mkdir()
    for name in NAMES[:3]:
        (folder / f"{name}.gz").write_bytes(b"x")
    for record in [
        {"data": "MNIST", "data_dir": str(folder)},
        {"data": input_data.GENERATED, "data_dir": str(tmp_path / "none")},
        {"data": "MNIST", "data_dir": None},
        {"data": None, "data_dir": None},
    ]:
        saved_runs.save(logdir / LEFT, 100, weights[LEFT], **record)
        client = client_of(logdir)
        assert why_none(client) == "no-data"
        learned = client.get("/api/weights", query_string={"run": LEFT}).json
        assert learned["dead"] is None and learned["tried"] == 0
    assert not (tmp_path / "none").exists()


def test_digits_are_looked_for_in_the_given_folder_too(logdir, weights, data, data_dir):
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], data=data.train.name, data_dir="/not/here")
    client = client_of(logdir, data_dir)
    [first, *_] = inside_when_read(client, data.train.images[0] / 255)["similar"]
    assert (first["label"], first["likeness"]) == (data.train.labels[0], 1)
    learned = client.get("/api/weights", query_string={"run": LEFT}).json
    assert learned["tried"] == 500 and learned["dead"] is not None


def test_digits_of_other_files(logdir, weights, tmp_path):
    """Those of a run are shown, but nothing is usual; and they do not pass for MNIST's."""
    write(tmp_path, small_set(20, 10))
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], data="the files", data_dir=str(tmp_path))
    answer = inside_when_read(client_of(logdir), np.ones(784))
    assert len(answer["similar"]) == 6 and answer["usual"] is None
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], data="MNIST", data_dir=str(tmp_path))
    assert why_none(client_of(logdir)) == "no-data"


def test_malformed_files_and_a_blank_sheet_give_no_digits(logdir, steady, weights, tmp_path):
    write(tmp_path, dict.fromkeys(NAMES, b"x"))
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], data="the files", data_dir=str(tmp_path))
    client = client_of(logdir)
    assert why_none(client) == "unreadable-data"
    answer = inside_when_read(steady, ZEROS)
    assert answer["similar"] == [] and answer["similar_error"]["code"] == "blank"


# ------------------------------------------------------------------------- the reader's own digits


def test_drawings_are_kept_counted_and_taken_back(logdir, weights, tmp_path, dice):
    client, own = client_of(logdir, own=tmp_path / "own"), tmp_path / "own"
    asked = f"/api/own-digits?run={LEFT}&run="
    assert client.get(asked).json == {"counts": [0] * 10, "refusal": None, "tallies": [None] * 2}
    kept = {}  # name: the pictures in both views
    for digit in [*range(10), 7, 7]:
        strokes = [[[dice.randint(0, 280), dice.randint(0, 280)] for _ in range(4)]]
        name = post(client, "/api/own-digits", {"strokes": strokes, "digit": digit})["name"]
        kept[name] = as_drawn(strokes), centred(strokes)
        assert name.startswith(f"{digit}/")
        assert (np.asarray(Image.open(own / name)) == kept[name][1]).all()
    image = (kept[name][1].ravel() / 255).tolist()
    of_photo = post(client, "/api/own-digits", {"image": image, "digit": 7})["name"]  # no strokes
    assert (np.asarray(Image.open(own / of_photo)) == kept[name][1]).all()
    trained_on = sorted(kept)[::2]
    saved_runs.save(logdir / LEFT, 100, weights[LEFT], own_names=trained_on)
    learned, none = client.get(f"{asked}{RIGHT}").json["tallies"]
    for run, tally in (LEFT, learned), (RIGHT, none):  # both are counted on the same digits
        assert tally["left_out"] == len(trained_on)
        new = [name for name in kept if name not in trained_on]
        for view, names in ("as-drawn", new), ("centred", [*new, name]):
            images = np.array([kept[name][view == "centred"].ravel() / 255 for name in names])
            read = saved_runs.forward(weights[run], images)["logits"].argmax(axis=1)
            right = sum(read == [int(name[0]) for name in names])
            assert tally[view] == {"right": right, "of": len(names)}

    assert client.delete(f"/api/own-digits/{name}").status_code == 200
    for path in name, f"../own/{of_photo}":
        assert refused(client.delete(f"/api/own-digits/{path}"), "no-such-digit")
    assert client.get(asked).json["counts"] == [1, 1, 1, 1, 1, 1, 1, 3, 1, 1]
    (own / "0" / "x.png").write_bytes(b"x")
    assert refused(client.get(asked), "unreadable-digits")


def test_what_is_not_kept(steady_logdir, weights, tmp_path, monkeypatch):
    path, question = "/api/own-digits", {"strokes": SEVEN, "digit": 7}
    for address, allowed in ("10.0.0.2", True), ("10.0.0.2", False), ("fe80::1", False):
        client = client_of(steady_logdir, own=tmp_path / "own", allow_saving=allowed)
        client.environ_base["REMOTE_ADDR"] = address
        kept, deleted = client.post(path, json=question), client.delete(f"{path}/7/x")
        assert kept.status_code == 200 if allowed else refused(kept, "other-machine")
        assert refused(deleted, "no-such-digit" if allowed else "other-machine")
        assert allowed == (client.get(path).json["refusal"] is None)
    client = client_of(steady_logdir, own=tmp_path / "own", allowed={"tunnel.example"})
    for name, value in [  # of forwarders, all on this machine
        ("X-Forwarded-For", "10.0.0.2"), ("Forwarded", "for=10.0.0.2"), ("Host", "tunnel.example"),
        ("Origin", "https://tunnel.example"),
    ]:  # fmt: skip
        assert refused(client.post(path, json=question, headers={name: value}), "other-machine")
    for digit in [None, "7", -1, 10, 7.0, True, [7]]:
        assert refused(client.post(path, json=question | {"digit": digit}), "not-a-digit")
    assert refused(client.post(path, json={"digit": 7}), "not-a-drawing")
    assert client.post(path, json=question, headers={"Origin": "http://localhost"}).json["name"]
    assert refused(client.post(path, json={"digit": 7, "image": [2] * 784}), "not-an-image")
    monkeypatch.setattr("page.tally.MOST", 1)
    assert refused(client.post(path, json=question), "too-many-digits")


# ----------------------------------------------------------------------------- what it refuses

BAD_PIXELS = [None, "0", [0], {}, float("nan"), float("inf"), 10**400, 1.01, -0.01]
BAD_IMAGES = [None, "0" * 784, 1, {}, [], [0] * 783, [0] * 785, [[0] * 28] * 28]
BAD_STROKES = [None, [], [[]], 0, "x", [[0, 0]], [[[0]]], [[[0, 0, 0]]], [{}], [*SEVEN, []]]
BAD_PLACES = [None, "0", [0], {}, float("nan"), float("inf"), 10**400, -1, 281]
BAD_NAMES = [None, [], [LEFT], [LEFT] * 3, [LEFT, 1], [[], LEFT], LEFT, {}]


@pytest.mark.parametrize("path, code, questions", [
    ("/api/evaluate", "not-a-question", [[], "x", ZEROS, {}, {"run": LEFT}]),
    ("/api/inside", "not-a-question", [{"image": ZEROS, "run": name} for name in (1, [], {})]),
    ("/api/evaluate", "not-an-image", [{"image": image} for image in BAD_IMAGES]),
    ("/api/inside", "not-an-image",
     [{"image": [*ZEROS[1:], pixel], "run": LEFT} for pixel in BAD_PIXELS]),
    ("/api/inside", "no-such-run", [{"image": ZEROS}, {"image": ZEROS, "run": "x"}]),
    ("/api/drawing", "not-a-drawing", [[], {}, SEVEN]),
    ("/api/drawing", "not-a-drawing",
     [{"runs": [LEFT, None], "strokes": strokes} for strokes in BAD_STROKES]),
    ("/api/drawing", "not-a-drawing",
     [{"runs": [LEFT, None], "strokes": [[[place, 0.5]]]} for place in BAD_PLACES]),
    ("/api/drawing", "not-two-runs", [{"strokes": SEVEN, "runs": names} for names in BAD_NAMES]),
    ("/api/drawing", "no-such-run", [{"strokes": SEVEN, "runs": ["../x", None]}]),
])  # fmt: skip
def test_wrong_questions(steady, path, code, questions):
    for question in questions:
        assert refused(steady.post(path, data=json.dumps(question)), code), question


@pytest.mark.parametrize("body", ["", "x", "[", b"\xff\xfe\xfa", "[" * 60_000, "9" * 5000])
def test_what_is_not_json(steady, body):
    assert refused(steady.post("/api/inside", data=body), "not-json")


def test_other_paths_and_methods(steady):
    for path in ["/nothing", "/api", "/api/paper", "/static/../server.py", "/static/x", "/page.js"]:
        assert refused(steady.get(path), "not-found")
    for path in ["/api/evaluate", "/api/drawing", "/api/picture", "/api/inside"]:
        assert refused(steady.get(path), "method-not-allowed")
    for path in ["/", "/api/runs", "/api/weights", "/static/page.js"]:
        assert refused(steady.post(path), "method-not-allowed")


def test_up_to_512_kilobytes_are_read(steady):
    body = json.dumps({"image": ZEROS}).ljust(512 * 1024)
    assert steady.post("/api/evaluate", data=body).status_code == 200
    assert refused(steady.post("/api/evaluate", data=body + " "), "request-entity-too-large")


def test_what_is_no_photo_of_a_digit(steady):
    paper = Image.new("L", (800, 600), 230)
    whole = file_of(photo(centred(SEVEN), "pen on white paper", 1))
    bitmap, giant = file_of(paper, "BMP"), file_of(Image.new("1", (10_000, 5_001)), "PNG")
    turned = file_of(paper, "PNG", exif=b"Exif\0\0II*\0")  # it ends before it says how
    for content in b"", b"x" * 100, bitmap, whole[:3000], whole[: len(whole) // 2], turned:
        assert refused(steady.post("/api/picture", data=content), "not-a-photo")
    assert refused(steady.post("/api/picture", data=file_of(paper)), "no-ink")
    assert refused(steady.post("/api/picture?run=x", data=whole), "no-such-run")
    padded = whole.ljust(LARGEST_PHOTO, b"x")
    assert steady.post("/api/picture", data=padded).status_code == 200
    for content in padded + b"x", giant, file_of(Image.new("1", (20_000, 10_000)), "PNG"):
        assert refused(steady.post("/api/picture", data=content), "too-large-photo")


def test_a_run_that_cannot_be_loaded_or_is_gone(logdir):
    client = client_of(logdir)
    damage(logdir / LEFT)
    shutil.rmtree(logdir / RIGHT)
    for run, code in (LEFT, "damaged-run"), (RIGHT, "no-such-run"):
        for path in "evaluate", "drawing", "inside":
            question = {"image": ZEROS, "run": run, "strokes": SEVEN, "runs": [WIDE, run]}
            assert refused(client.post(f"/api/{path}", json=question), code)
        assert refused(client.get("/api/weights", query_string={"run": run}), code)
    assert client.get("/api/runs").json["start"] == [WIDE, None]
    shutil.rmtree(logdir)
    assert client.get("/api/runs").json == {"runs": [], "start": [None, None], "old": 0}
    assert refused(client.post("/api/evaluate", json={"image": ZEROS}), "no-such-run")
    assert refused(client.get("/api/weights"), "no-such-run")


def test_every_refusal_has_its_status_and_names_its_run():
    about_runs = {"damaged-run", "old-run", "no-logits", "needs-more", "overflow"}
    about_runs |= {"busy-run", "no-data", "unreadable-data"}
    for code, refusal in REFUSALS.items():
        described = describe(Refusal(code, LEFT, "a reason"))
        assert 400 <= refusal["status"] < 600
        assert (LEFT in described["error"]) == (code in about_runs)
        has_reason = code in ("needs-more", "unreadable-data", "not-kept", "unreadable-digits")
        has_reason |= code in ("other-host", "other-site")
        assert ("a reason" in described["error"]) == has_reason
        assert re.search("[一-鿿]", described["chinese"])
    assert str(PAPER) in REFUSALS["not-a-drawing"]["en"]


def test_a_bug_is_answered_in_json(logdir, monkeypatch):
    def bug(*_):
        raise AssertionError

    monkeypatch.setattr(TrainedRuns, "get", bug)
    client = client_of(logdir)
    client.application.testing = False
    answer = client.post("/api/inside", json={"image": ZEROS, "run": LEFT})
    assert refused(answer, "internal-server-error")


# -------------------------------------------------------------------------------------- who may ask


OWN_HOSTS = ["localhost", "LocalHost:1234", "localhost:", "tunnel.example", "Tunnel.Example:99"]
ADDRESSES = ["10.0.0.1", "192.168.0.7:8000", "[fe80::1]", "[fe80::1]:8000", "127.0.0.1"]
OTHER_HOSTS = ["evil.example", "localhost.evil.example:80", "10.0.0.1.evil.example", "xlocalhost"]
NAMELESS = ["localhost:80:80", "", "[::1", "[fe80::1].evil.example", "$(x)", "a@localhost"]
OWN_ORIGINS = [None, "http://localhost:8000", "https://localhost:8000", "HTTP://LOCALHOST:8000",
               "https://tunnel.example", "http://tunnel.example:1"]  # fmt: skip
OTHER_ORIGINS = ["http://evil.example", "http://localhost:1", "https://localhost",
                 "http://tunnel.example.evil.example"]  # fmt: skip
NAMELESS_ORIGINS = ["null", "", "http://localhost:8000.evil.example", "ftp://localhost:8000",
                    "localhost:8000", "http://localhost:8000, http://evil.example"]  # fmt: skip


@pytest.mark.parametrize("listens_at", ["127.0.0.1", "0.0.0.0"])
def test_a_server_is_called_by_its_own_names_or_by_a_number(steady_logdir, weights, listens_at):
    names = {"localhost", listens_at}
    client = client_of(steady_logdir, names=names, allowed={"tunnel.example"})
    for host in [*OWN_HOSTS, *ADDRESSES, *OTHER_HOSTS, *NAMELESS]:
        own = host in OWN_HOSTS or host.rpartition(":")[0] == listens_at or host == listens_at
        allowed = own or (listens_at == "0.0.0.0" and host in ADDRESSES)
        code = "nameless" if host in NAMELESS else "other-host"
        for path in "/api/runs", "/nothing", "/static/page.js":
            answer = client.get(path, environ_overrides={"HTTP_HOST": host})
            assert allowed == (answer.status_code != 403)
            assert allowed or refused(answer, code)
        page = client.get("/", environ_overrides={"HTTP_HOST": host})  # in words, not in JSON
        assert allowed == (page.status_code == 200) == ("<html" in page.text)
        if not allowed and code == "other-host":
            name = re.sub(r":\d+$", "", host)
            assert f"with --name {name}," in page.text and f"加上 --name {name}，" in page.text


def test_pages_of_other_sites_are_refused(steady_logdir, weights):
    """Whether they ask by a script, or by a form, which needs no permission."""
    client = client_of(steady_logdir, allowed={"tunnel.example"})
    question = json.dumps({"strokes": SEVEN, "runs": [None, None]})
    for origin in [*OWN_ORIGINS, *OTHER_ORIGINS, *NAMELESS_ORIGINS]:
        headers = {"Host": "localhost:8000"} | ({} if origin is None else {"Origin": origin})
        form = {"data": question, "content_type": "text/plain", "headers": headers}
        for answer in client.get("/api/runs", headers=headers), client.post("/api/drawing", **form):
            assert "Access-Control-Allow-Origin" not in answer.headers
            if origin in OWN_ORIGINS:
                assert answer.status_code == 200
            else:
                code = "nameless" if origin in NAMELESS_ORIGINS else "other-site"
                assert refused(answer, code), origin
        for path in "/", "/static/page.js":  # a browser asks for modules with an Origin
            assert client.get(path, headers=headers).status_code == 200
    answer = client.get("/api/runs", headers={"Origin": "http://evil.example:8000"})
    assert answer.json["error"].endswith("start draw.py with --name evil.example.")


def test_pages_of_a_name_that_is_allowed_may_show_the_page_in_a_frame(steady_logdir, weights):
    for names, sites in (set(), "'none'"), ({"a.b"}, "'self' http://a.b:* https://a.b:*"):
        policy = client_of(steady_logdir, allowed=names).get("/").headers["Content-Security-Policy"]
        assert policy.endswith(f"; frame-ancestors {sites}")


@pytest.mark.parametrize("path, kind", [
    ("/", "text/html"), ("/static/page.css", "text/css"), ("/static/page.js", "text/javascript"),
])  # fmt: skip
def test_the_page_comes_with_its_types_and_forbids_what_it_does_not_need(steady, path, kind):
    answer = steady.get(path)
    assert (answer.status_code, answer.content_type) == (200, f"{kind}; charset=utf-8")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
