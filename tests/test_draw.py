"""draw.py as its users meet it: a page in a real browser, an HTTP interface for programs, a process in a terminal."""

import collections
import concurrent.futures
import contextlib
import functools
import glob
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from conftest import OFFLINE, PROJECT
from test_mnist import numpy_network

import draw
import input_data
import mnist
from support import summaries

EVALUATE = "/api/mnist/evaluate"
DIGITS = [str(digit) for digit in range(10)]
EDGE = [[[258, 60], [258, 220]]]  # the page's sample: a 1 at the right edge


# ------------------------------------------------------------------------------------------------ servers


@contextlib.contextmanager
def serving(logdir, data_dir, *flags):
    """draw.py as a process, from when it has printed its address (`.port`) to its end; `.said` is what it printed."""
    command = [
        sys.executable,
        PROJECT / "draw.py",
        "--logdir",
        logdir,
        "--data_dir",
        data_dir,
        "--port",
        "0",
        *flags,
    ]
    with subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | OFFLINE,
    ) as process:
        try:
            process.said = ""
            while "Draw at" not in process.said:
                line = process.stdout.readline()
                assert line, process.said + process.stderr.read()
                process.said += line
            process.port = int(re.search(r"http://[^ ]+:(\d+)/ ", process.said)[1])
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="session")
def data_dir(request):
    """A folder of MNIST, or of generated digits where there is none."""
    return request.getfixturevalue(
        "mnist_data" if os.environ.get("MNIST_DATA") else "generated_data"
    )


@pytest.fixture(scope="session")
def logdir(tmp_path_factory, data_dir):
    """A folder with a run of the convolutional network, short but good for nine digits of ten, and nothing else."""
    logdir = str(tmp_path_factory.mktemp("runs"))
    data = input_data.read_data_sets(
        data_dir, fake_data=not os.environ.get("MNIST_DATA"), validation_size=0, seed=1
    )
    folder = mnist.run_folder(logdir, "convolutional", 0.001, 100, data.train.name)
    mnist.train(data, folder, "convolutional", learning_rate=0.001, epochs=100, seed=1)
    return logdir


@pytest.fixture(scope="session")
def server(logdir, data_dir):
    """The server, which found no softmax run and has trained one."""
    with serving(logdir, data_dir) as process:
        yield process


def request(server, method, path, body=None, **headers):
    """The server's answer: status, headers, and what its JSON says."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        content = response.read()
        is_json = response.headers["Content-Type"] == "application/json"
        return response.status, response.headers, json.loads(content) if is_json else content


def post(server, path, value):
    status, _, answer = request(server, "POST", path, json.dumps(value))
    assert status == 200, answer
    return answer


@functools.cache
def weights(logdir, network):
    reader = mnist.tf.train.load_checkpoint(draw.newest_checkpoint(logdir, network))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def expected(logdir, images):
    """What both networks make of float32 (n, 784), computed by NumPy from their checkpoints."""
    softmax = weights(logdir, "softmax")
    answers = {}
    for name, logits in [
        ("convolutional", numpy_network(weights(logdir, "convolutional"), images)),
        ("fully_connected", images @ softmax["fc/Weights"] + softmax["fc/Biases"]),
    ]:
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        answers[name] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return answers


def as_array(by_digit):
    assert list(by_digit) == DIGITS or sorted(by_digit) == DIGITS
    return np.array([by_digit[digit] for digit in DIGITS])


# ------------------------------------------------------------------------------------------------ centring


def centre_of_mass(picture):
    return np.array([np.average(places, weights=picture) for places in np.indices(picture.shape)])


def test_a_centred_mnist_digit_centred_again_stays_where_it_is(mnist_data):
    images = input_data.read_data_sets(mnist_data, dtype="uint8").test.images.reshape(-1, 28, 28)
    moved = []
    for image in images:
        again = draw.centre(image)
        moved.append(np.abs(centre_of_mass(again) - centre_of_mass(image)).max())
    assert max(moved) < 1
    assert np.mean(np.array(moved) == 0) > 0.99


def test_mnist_digits_that_were_moved_come_back(mnist_data):
    images = input_data.read_data_sets(mnist_data, dtype="uint8").test.images.reshape(-1, 28, 28)[
        :1000
    ]
    for image in images:
        rows, columns = np.nonzero(image)
        for down, right in (-rows.min(), 27 - columns.max()), (27 - rows.max(), -columns.min()):
            assert (
                np.abs(
                    draw.centre(np.roll(image, (down, right), axis=(0, 1))).astype(int) - image
                ).mean()
                < 2
            )


@settings(deadline=None, max_examples=60)
@given(
    strategies.lists(
        strategies.lists(strategies.integers(0, 280), min_size=2, max_size=2),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_is_drawn_is_centred_as_mnist_is(stroke):
    picture = draw.centre(np.asarray(draw.draw(draw.enlarge([stroke]))))
    rows, columns = np.nonzero(picture)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert picture.dtype == np.uint8 and picture.shape == (28, 28) and max(height, width) == 20
    off = np.abs(centre_of_mass(picture) - 14)
    lies_at_border = 0 in rows or 27 in rows or 0 in columns or 27 in columns
    assert (off <= 0.5).all() or lies_at_border


def test_a_small_drawing_is_redrawn_and_not_magnified():
    seven = np.array([[0, 0], [100, 0], [40, 160]])
    large = draw.centre(np.asarray(draw.draw(draw.enlarge([(seven + 50).tolist()]))))
    small = draw.centre(np.asarray(draw.draw(draw.enlarge([(seven * 0.25 + 230).tolist()]))))
    np.testing.assert_allclose(small, large, atol=40)
    magnified = draw.centre(np.asarray(draw.draw([(seven * 0.25 + 230).tolist()])))
    assert magnified.sum() > 1.5 * large.sum()
    assert 60 * 255 < large.sum() < 140 * 255  # MNIST's digits have 104 pixels of ink in the mean


def test_nothing_and_a_dot_can_be_centred():
    assert not draw.centre(np.zeros((28, 28), np.uint8)).any()
    picture = np.zeros((28, 28), np.uint8)
    picture[27, 27] = 1
    assert draw.centre(picture).any()
    dot = draw.centre(np.asarray(draw.draw(draw.enlarge([[[7, 7]]]))))
    np.testing.assert_allclose(centre_of_mass(dot), 14, atol=0.6)


# ------------------------------------------------------------------------------------------------ the HTTP interface


def test_probabilities_are_the_networks_own(server, logdir):
    images = np.random.default_rng(0).random((5, 784)).astype(np.float32)
    images[0], images[1] = 0, 1
    for place, image in enumerate(images):
        answer = post(server, EVALUATE, image.tolist())
        assert set(answer) == {"convolutional", "fully_connected"}
        for network, rows in expected(logdir, images).items():
            np.testing.assert_allclose(as_array(answer[network]), rows[place], atol=1e-5)
            one = post(server, f"/api/mnist/{network}", image.tolist())
            assert set(one) == {"results"}
            np.testing.assert_allclose(as_array(one["results"]), rows[place], atol=1e-5)
            assert sum(one["results"].values()) == pytest.approx(1, abs=1e-5)


def test_whole_numbers_and_odd_content_types_are_taken(server):
    body = json.dumps([0, 1] * 392)
    for kind in [
        "application/json",
        "text/plain",
        "application/json; charset=utf-8",
        "nonsense",
        "",
    ]:
        assert request(server, "POST", EVALUATE, body, Content_Type=kind)[0] == 200
    assert request(server, "POST", EVALUATE, b"\xef\xbb\xbf" + body.encode())[0] == 200


def test_a_drawing_is_answered_in_both_views(server, logdir):
    answer = post(server, "/api/drawing", EDGE)
    assert list(answer) == ["as-drawn", "centred"]
    for view in answer.values():
        picture = np.array(view["picture"], np.float32) / 255
        for network, key in ("convolutional", "convolutional"), ("softmax", "fully_connected"):
            np.testing.assert_allclose(
                as_array(view[network]), expected(logdir, picture[None])[key][0], atol=1e-5
            )
    as_drawn, centred = (np.array(view["picture"]).reshape(28, 28) for view in answer.values())
    assert centre_of_mass(as_drawn) == pytest.approx(
        [13.5, 25.3], abs=0.2
    )  # point 258 lies between pixels 25 and 26
    assert centre_of_mass(centred) == pytest.approx([14, 14], abs=0.6)


BLANK = json.dumps([0] * 784)


def image_with(text):
    return BLANK[:-2] + text + "]"


@pytest.mark.parametrize(
    "path, body, status",
    [
        (EVALUATE, "", 400),
        (EVALUATE, "not JSON", 400),
        (EVALUATE, BLANK[:-1], 400),
        (EVALUATE, b"\xff\xfe\xfa", 400),
        (EVALUATE, "[" * 60000, 400),
        (EVALUATE, "{}", 400),
        (EVALUATE, "null", 400),
        (EVALUATE, '"0"', 400),
        (EVALUATE, "1", 400),
        (EVALUATE, "[]", 400),
        (EVALUATE, json.dumps([0] * 783), 400),
        (EVALUATE, json.dumps([0] * 785), 400),
        (EVALUATE, json.dumps([[0] * 28] * 28), 400),
        (EVALUATE, json.dumps({str(n): 0 for n in range(784)}), 400),
        *[
            (EVALUATE, image_with(text), 400)
            for text in [
                "true",
                "null",
                '"0"',
                "[0]",
                "{}",
                "NaN",
                "Infinity",
                "-Infinity",
                "1e999",
                "1.0001",
                "-0.001",
                "2",
                "9" * 4000,
                "9" * 5000,
            ]
        ],
        (EVALUATE, BLANK + " " * 65536, 413),
        (EVALUATE, b"x" * 5_000_000, 413),
        ("/api/drawing", b"x" * 70_000, 413),
        ("/api/mnist/convolutional", "[]", 400),
        ("/api/mnist/fully_connected", image_with("true"), 400),
        *[
            ("/api/drawing", text, 400)
            for text in [
                "[]",
                "[[]]",
                "{}",
                "0",
                "[[0, 0]]",
                "[[[0]]]",
                "[[[0, 0, 0]]]",
                "[[[0, true]]]",
                "[[[0, NaN]]]",
                "[[[0, 281]]]",
                "[[[-1, 0]]]",
                '[[["0", 0]]]',
            ]
        ],
        ("/api/mnist/softmax", BLANK, 404),
        ("/nothing", BLANK, 404),
        ("/api/mnist/evaluate/", BLANK, 404),
        ("/", BLANK, 405),
        ("/api/runs", BLANK, 405),
    ],
)
def test_bad_input_is_answered_with_a_sentence(server, path, body, status):
    got, headers, answer = request(server, "POST", path, body)
    assert got == status and headers["Content-Type"] == "application/json"
    assert list(answer) == ["error"] and re.fullmatch(r"[A-Z].{10,150}\.", answer["error"])
    post(server, EVALUATE, [0] * 784)  # the server goes on


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_wrong_method(server, method):
    status, headers, answer = request(server, method, EVALUATE)
    assert status == 405 and "POST" in headers["Allow"] and list(answer) == ["error"]


def test_chunked_and_broken_requests_do_no_harm(server):
    assert request(server, "POST", EVALUATE, iter([b"[0" + b",0" * 783, b"]"]))[0] == 200
    for rubbish in [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"POST /api/mnist/evaluate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n[0,",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ]:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(rubbish)
    post(server, EVALUATE, [0] * 784)


@pytest.mark.parametrize(
    "host, status",
    [
        ("localhost", 200),
        ("LocalHost:1234", 200),
        ("127.0.0.1", 200),
        ("127.0.0.1:80", 200),
        ("[::1]", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.localhost", 403),
        ("10.0.0.1", 403),
        ("127.0.0.1:80:80", 403),
        ("localhost@evil.example", 403),
        ("localhost, evil.example", 403),
        ("[::1", 403),
        ("::1", 403),
        ("", 403),
        ("\xff", 403),
    ],
)
def test_host_header(server, host, status):
    for method, path, body in (
        ("GET", "/", None),
        ("POST", EVALUATE, BLANK),
        ("GET", "/nothing", None),
    ):
        got, _, answer = request(server, method, path, body, Host=host)
        assert got == (404 if path == "/nothing" and status == 200 else status)
        assert status == 200 or list(answer) == ["error"]


def test_pages_of_other_sites_are_refused(server):
    here = f"http://127.0.0.1:{server.port}"
    assert request(server, "POST", EVALUATE, BLANK, Origin=here)[0] == 200
    for origin in [
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        here + ".evil.example",
        f"http://localhost:{server.port}",
    ]:
        status, headers, answer = request(server, "POST", EVALUATE, BLANK, Origin=origin)
        assert (
            status == 403
            and list(answer) == ["error"]
            and "Access-Control-Allow-Origin" not in headers
        )


def test_eight_clients_at_once(server, logdir, record_property):
    images = np.random.default_rng(1).random((8, 784)).astype(np.float32)
    answers = expected(logdir, images)
    together = threading.Barrier(8)
    times = []

    def client(place):
        body = json.dumps(images[place].tolist())
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        together.wait()
        for _ in range(50):
            start = time.perf_counter()
            connection.request("POST", EVALUATE, body)
            response = connection.getresponse()
            answer = json.loads(response.read())
            times.append(time.perf_counter() - start)
            assert response.status == 200
            for network, rows in answers.items():
                np.testing.assert_allclose(as_array(answer[network]), rows[place], atol=1e-5)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    median, slow = np.percentile(times, [50, 99]) * 1000
    record_property("milliseconds", f"median {median:.1f}, 99th percentile {slow:.1f}")
    assert median < 500  # it takes about 20; a machine that is busy otherwise may take longer


# ------------------------------------------------------------------------------------------------ hostile clients


def hostile_request(dice):
    """A random request as bytes: some nearly good, some far from it."""
    method = dice.choice(
        ["POST"] * 6 + ["GET", "PUT", "HEAD", "OPTIONS", "TRACE", "DELETE", "BREW", "post", ""]
    )
    path = dice.choice(
        [EVALUATE] * 4
        + [
            "/",
            "/api/drawing",
            "/api/runs",
            "/api/mnist/convolutional",
            "/../mnist.py",
            "/..%2f..%2fetc/passwd",
            "/%2e%2e/draw.py",
            "/api/../../draw.py",
            "//etc/passwd",
            "/draw.html/../mnist.py",
            "/static/../draw.py",
            "/%00",
            "/?" + "x" * 9000,
            "/" + "a/" * 3000,
            "*",
            "http://evil.example/",
            EVALUATE + ";id=1",
            "/%zz",
            "\\",
        ]
    )
    number = lambda: dice.choice(
        [0, 1, 0.5, -1, 2, True, None, "0", [], 1e308, float("nan"), float("inf"), 281]
    )
    strokes = lambda: [
        [[number(), number()] for _ in range(dice.randrange(4))] for _ in range(dice.randrange(4))
    ]
    body = dice.choice(
        [
            lambda: json.dumps([number() if dice.random() < 0.01 else 0 for _ in range(784)]),
            lambda: json.dumps([0] * dice.choice([0, 1, 783, 784, 785, 20_000])),
            lambda: json.dumps(strokes()),
            lambda: "[" * dice.choice([1, 784, 30_000]),
            lambda: "",
            lambda: '{"a":' * 5000,
            lambda: "9" * 10_000,
            lambda: dice.randbytes(dice.randrange(2000)),
            lambda: "x" * 70_000,
        ]
    )()
    body = body if isinstance(body, bytes) else body.encode()
    headers = {
        "Host": dice.choice(
            ["127.0.0.1"] * 8 + ["evil.example", "", "[", "127.0.0.1:99999999999", "a" * 5000]
        ),
        "Content-Length": dice.choice(
            [len(body)] * 8 + [len(body) // 2, -1, "1e3", "9" * 30, "", "0x10"]
        ),
        "Content-Type": dice.choice(
            ["application/json", "text/html", "multipart/form-data; boundary=", "\xff"]
        ),
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
    lines = [
        f"{method} {path} {dice.choice(['HTTP/1.1'] * 8 + ['HTTP/1.0', 'HTTP/9.9', 'SPDY', ''])}"
    ]
    lines += [f"{name}: {value}" for name, value in headers.items() if dice.random() < 0.98]
    whole = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
    return (
        whole
        if dice.random() < 0.9
        else whole[: dice.randrange(len(whole))] + dice.randbytes(dice.randrange(9))
    )


def send_hostile(port, seed, times):
    """Send so many random requests; returns {status: how often}, None being no answer at all."""
    dice, statuses = random.Random(seed), collections.Counter()
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            with contextlib.suppress(
                OSError
            ):  # the server may hang up before it has heard everything
                connection.sendall(hostile_request(dice))
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65536):
                    answer += piece
        status = re.match(rb"HTTP/1\.[01] (\d+) ", answer)
        statuses[status and int(status[1])] += 1
        assert b"Traceback" not in answer and b"root:" not in answer and b"import " not in answer
    return statuses


def resident_megabytes(process):
    with open(f"/proc/{process.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux", reason="a process tells how much memory it takes on Linux"
)
def test_ten_thousand_hostile_requests_and_fifty_slow_ones(
    logdir, server, data_dir, record_property
):
    over, waits = threading.Event(), []

    def be_slow(_):
        """Send a good request, a byte a second."""
        head = f"POST {EVALUATE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(BLANK)}\r\n\r\n{BLANK}"
        with socket.create_connection(("127.0.0.1", victim.port)) as connection:
            for byte in head.encode():
                connection.sendall(bytes([byte]))
                if over.wait(1):
                    return

    def be_good():
        while not over.wait(0.1):
            began = time.monotonic()
            post(victim, EVALUATE, [0] * 784)
            waits.append(time.monotonic() - began)

    with serving(logdir, data_dir) as victim, concurrent.futures.ThreadPoolExecutor(54) as pool:
        slow, good = [pool.submit(be_slow, number) for number in range(50)], pool.submit(be_good)
        try:
            seed = random.randrange(10**6)
            statuses = send_hostile(victim.port, seed, 1000)
            before = resident_megabytes(victim)
            for part in pool.map(
                lambda number: send_hostile(victim.port, seed + number, 3000), [1, 2, 3]
            ):
                statuses += part
            grown = resident_megabytes(victim) - before
        finally:
            over.set()
        assert good.result() is None and not any(client.exception() for client in slow)
        post(victim, EVALUATE, [0] * 784)
        victim.send_signal(signal.SIGINT)
        assert victim.communicate(timeout=20) == ("", "") and victim.returncode == 0
    record_property("longest wait for a good answer, seconds", max(waits))
    assert sum(statuses.values()) == 10_000
    assert set(statuses) <= {None, 100, 200, 400, 403, 404, 405, 413, 414, 416, 417, 431, 501}, (
        seed,
        statuses,
    )
    assert (
        all(statuses[status] > 50 for status in [200, 400, 403, 404, 405, 413])
        and statuses[None] < 1500
    ), statuses
    assert len(waits) > 10 and statistics.median(waits) < 1, waits
    assert grown < 30, grown


def test_run_that_disappears_or_is_damaged_while_it_is_served(logdir, data_dir, tmp_path):
    shutil.copytree(logdir, tmp_path / "runs")
    with serving(tmp_path / "runs", data_dir) as process:
        _, _, told = request(process, "GET", "/api/runs")
        assert not any("warning" in run for run in told.values())
        answer = post(process, EVALUATE, [0] * 784)
        shutil.rmtree(tmp_path / "runs" / told["convolutional"]["run"])
        (data,) = (tmp_path / "runs" / told["softmax"]["run"]).glob("*.data-*")
        data.write_bytes(data.read_bytes()[:1000])
        for _ in range(2):
            _, _, told = request(process, "GET", "/api/runs")
            assert all(
                re.fullmatch(r"Its files were changed or deleted since\. .*\.", run["warning"])
                for run in told.values()
            )
        assert post(process, EVALUATE, [0] * 784) == answer  # the networks are in memory
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert len(out.splitlines()) == 2 and out.count(draw.WARNING) == 2 and err == ""
    # At the next start nothing but damaged runs is left.
    status, out, err = end(tmp_path / "runs", data_dir, "--port", "0")
    assert status == 1 and "run `python mnist.py` first" in err and len(err.splitlines()) == 1
    source = os.path.dirname(draw.newest_checkpoint(logdir, "convolutional"))
    shutil.copytree(source, tmp_path / "runs" / os.path.basename(source))
    status, out, err = end(tmp_path / "runs", data_dir, "--port", "0")
    assert status == 1 and "is damaged: delete its folder" in err and len(err.splitlines()) == 1


# ------------------------------------------------------------------------------------------------ the process


def end(logdir, data_dir, *flags):
    """Exit status, standard output and standard error of a draw.py that is to end by itself."""
    command = [
        sys.executable,
        str(PROJECT / "draw.py"),
        "--logdir",
        str(logdir),
        "--data_dir",
        str(data_dir),
        *flags,
    ]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | OFFLINE
    )
    return result.returncode, result.stdout, result.stderr


def test_softmax_network_is_trained_on_the_spot_and_everything_is_told(server, logdir):
    runs = {
        name: [folder for folder in os.listdir(logdir) if folder.startswith(name)]
        for name in draw.NETWORKS
    }
    assert all(len(folders) == 1 for folders in runs.values())
    assert runs["softmax"][0].removesuffix(",generated-digits") == "softmax,lr=0.001,epochs=3000"
    assert summaries.read_run(os.path.join(logdir, runs["softmax"][0]))["accuracy"] > 0.915
    _, _, told = request(server, "GET", "/api/runs")
    for network, [folder] in runs.items():
        run = summaries.read_run(os.path.join(logdir, folder))
        assert told[network]["run"] == folder and told[network]["accuracy"] == pytest.approx(
            run["accuracy"]
        )
        line = next(line for line in server.said.splitlines() if line.startswith(f"The {network}"))
        assert folder in line and f"{run['accuracy']:.2%}" in line and run["data"] in line
    assert f"http://127.0.0.1:{server.port}/" in server.said.splitlines()[-1]
    assert not re.search(r"flask|waitress|tensorflow|warning|debug", server.said, re.IGNORECASE)


def test_without_convolutional_run_it_says_what_to_do(tmp_path):
    status, out, err = end(tmp_path / "no-such-folder", tmp_path, "--port", "0")
    assert (
        status == 1
        and out == ""
        and "run `python mnist.py` first" in err
        and len(err.splitlines()) == 1
    )
    assert not os.path.exists(tmp_path / "no-such-folder")


def test_port_in_use(server, logdir, data_dir):
    status, out, err = end(logdir, data_dir, "--port", str(server.port))
    assert status == 1 and out == "" and str(server.port) in err and len(err.splitlines()) == 1


def test_newest_run_that_fits_is_taken(logdir, server, tmp_path):
    source = draw.newest_checkpoint(logdir, "convolutional")
    for age, name in enumerate(["newest,damaged", "second", "third"]):
        (tmp_path / name).mkdir()
        for path in glob.glob(glob.escape(source) + ".*"):
            shutil.copy(path, tmp_path / name)
        os.utime(tmp_path / name / (os.path.basename(source) + ".index"), (1e9 - age, 1e9 - age))
    index = tmp_path / "newest,damaged" / (os.path.basename(source) + ".index")
    index.write_bytes(index.read_bytes()[:-100])
    os.utime(index, (1e9, 1e9))
    assert draw.newest_checkpoint(str(tmp_path), "convolutional") == str(
        tmp_path / "second" / os.path.basename(source)
    )
    assert draw.newest_checkpoint(str(tmp_path), "softmax") is None


@pytest.mark.parametrize("seconds", [0.5, 2.5])
def test_ctrl_c_while_it_starts_is_silent(logdir, data_dir, seconds):
    command = [
        sys.executable,
        str(PROJECT / "draw.py"),
        "--logdir",
        logdir,
        "--data_dir",
        data_dir,
        "--port",
        "0",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == ""
    assert [line for line in out.splitlines() if not line.startswith(("The ", "Draw at"))] == []


# ------------------------------------------------------------------------------------------------ the page


@pytest.fixture
def page(chromium, server):
    """The page, just opened, in a window of desktop size."""
    return open_page(chromium, server.port)


def open_page(browser, port, width=1280, height=900, **media):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {
            "features": [
                {"name": name.replace("_", "-"), "value": value} for name, value in media.items()
            ]
        },
    )
    browser.get(f"http://127.0.0.1:{port}/")
    wait(lambda: "run" in browser.find_element("id", "runs").text)
    return browser


def wait(condition, seconds=20):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "this has not happened in time"
        time.sleep(0.05)


def verdicts(page):
    """{(view, network): digit}"""
    return {
        (card.get_attribute("data-view"), card.get_attribute("data-network")): card.text
        for card in page.find_elements("css selector", "[data-network]")
    }


def trace(page, strokes, kind):
    """Draw lines, of points in 0 to 1, with events of a real mouse, finger or pen."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    left, top, size = page.execute_script(
        "const b = document.getElementById('canvas').getBoundingClientRect();"
        "return [b.left, b.top, b.width]"
    )
    actions = ActionBuilder(page, mouse=PointerInput(kind, kind), duration=20)
    for stroke in strokes:
        points = [(round(left + x * size), round(top + y * size)) for x, y in stroke]
        actions.pointer_action.move_to_location(*points[0]).pointer_down()
        for point in points[1:]:
            actions.pointer_action.move_to_location(*point)
        actions.pointer_action.pointer_up()
    actions.perform()


SEVEN = [[(0.3, 0.25), (0.5, 0.25), (0.7, 0.25), (0.6, 0.5), (0.5, 0.8)]]


@pytest.mark.parametrize("kind", ["mouse", "touch", "pen"])
def test_a_drawn_seven_is_read_by_all(page, server, kind):
    assert set(verdicts(page).values()) == {""} and len(verdicts(page)) == 4
    trace(page, SEVEN, kind)
    wait(lambda: verdicts(page)["centred", "convolutional"] == "7")

    # What the page shows is what the networks say of the pictures that it shows.
    for view in "as-drawn", "centred":
        answers = {}
        for network in "convolutional", "softmax":
            bars = page.find_elements(
                "css selector", f"[data-network={network}][data-view={view}] [data-digit]"
            )
            answers[network] = {
                bar.get_attribute("data-digit"): float(bar.get_attribute("data-probability"))
                for bar in bars
            }
            best = max(answers[network], key=answers[network].get)
            assert verdicts(page)[view, network] == best
            assert sum(answers[network].values()) == pytest.approx(1, abs=1e-4)
            assert [
                bar.get_attribute("data-digit")
                for bar in bars
                if "wins" in bar.get_attribute("class")
            ] == [best]
        shown = page.execute_script(
            """
            return [...pictures[arguments[0]].getContext("2d").getImageData(0, 0, 28, 28).data]
                .filter((_, place) => place % 4 === 3)""",
            view,
        )
        told = post(server, EVALUATE, [alpha / 255 for alpha in shown])
        np.testing.assert_allclose(
            as_array(told["convolutional"]), as_array(answers["convolutional"]), atol=1e-3
        )
        np.testing.assert_allclose(
            as_array(told["fully_connected"]), as_array(answers["softmax"]), atol=1e-3
        )

    # The picture as drawn is the canvas, shrunk.
    as_drawn, canvas = page.execute_script("""
        const alpha = (canvas, size) => [...canvas.getContext("2d").getImageData(0, 0, size, size).data]
            .filter((_, place) => place % 4 === 3);
        return [alpha(pictures["as-drawn"], 28), alpha(document.getElementById("canvas"), 840)]""")
    shrunk = np.array(canvas).reshape(28, 30, 28, 30).mean(axis=(1, 3))
    difference = np.abs(shrunk - np.array(as_drawn).reshape(28, 28))
    assert difference.mean() < 2 and difference.max() < 40


def test_a_one_at_the_right_edge_is_misread_as_drawn_and_read_rightly_once_centred(
    mnist_data, page
):
    page.find_element("id", "edge").click()
    wait(lambda: verdicts(page)["as-drawn", "convolutional"])
    by_button = verdicts(page)
    assert by_button["as-drawn", "convolutional"] != "1" and by_button["as-drawn", "softmax"] != "1"
    assert by_button["centred", "convolutional"] == by_button["centred", "softmax"] == "1"
    page.find_element("id", "clear").click()
    wait(lambda: set(verdicts(page).values()) == {""})
    trace(page, [[(258 / 280, 60 / 280), (258 / 280, 0.5), (258 / 280, 220 / 280)]], "mouse")
    wait(lambda: verdicts(page) == by_button)


def test_the_answer_follows_while_one_draws(page):
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = page.find_element("id", "canvas")
    ActionChains(page).move_to_element_with_offset(
        canvas, -60, -100
    ).click_and_hold().move_by_offset(110, 0).perform()
    wait(lambda: verdicts(page)["centred", "convolutional"])
    bar = page.find_element("css selector", "[data-view=centred] [data-digit='7']")
    before = bar.get_attribute("data-probability")
    ActionChains(page).move_by_offset(-60, 220).perform()
    wait(lambda: verdicts(page)["centred", "convolutional"] == "7")
    assert before != bar.get_attribute("data-probability")
    # A line that leaves the paper ends there, and goes on where the pen comes back.
    ActionChains(page).move_by_offset(-250, 0).perform()
    inside = page.execute_script(
        "return strokes.flat(2).every(number => 0 <= number && number <= 280)"
    )
    ActionChains(page).release().perform()
    assert inside


def test_keyboard(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    assert page.execute_script("return document.getElementById('canvas').tabIndex") == 0
    up, down = [Keys.ARROW_UP] * 14, [Keys.ARROW_DOWN] * 28
    ActionChains(page).send_keys(Keys.TAB, *up, Keys.SPACE, *down, Keys.SPACE).perform()
    assert page.switch_to.active_element.get_attribute("id") == "canvas"
    wait(lambda: verdicts(page)["centred", "convolutional"] == "1")
    wait(
        lambda: (
            "Centred: Convolutional 1"
            in page.find_element("id", "spoken").get_attribute("textContent")
        )
    )
    for key in Keys.ESCAPE, Keys.DELETE, "c":
        page.find_element("id", "edge").click()
        wait(lambda: verdicts(page)["as-drawn", "softmax"])
        ActionChains(page).send_keys(key).perform()
        wait(lambda: set(verdicts(page).values()) == {""})
        assert page.execute_script("return strokes.length") == 0
    page.find_element("id", "edge").click()
    wait(lambda: verdicts(page)["as-drawn", "softmax"])
    ActionChains(page).key_down(Keys.CONTROL).send_keys("c").key_up(
        Keys.CONTROL
    ).perform()  # copies, clears nothing
    assert page.execute_script("return strokes.length") == 1


@pytest.mark.parametrize(
    "width, scheme", [(360, "light"), (390, "dark"), (768, "light"), (1280, "dark")]
)
def test_layout(chromium, server, width, scheme):
    page = open_page(chromium, server.port, width, 800, prefers_color_scheme=scheme)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    canvas = page.find_element("id", "canvas").rect
    assert (
        canvas["width"] == canvas["height"] >= 240 and 0 <= canvas["x"] <= width - canvas["width"]
    )
    left, right = (
        page.find_element("css selector", f"[data-view=centred][data-network={network}]").rect
        for network in ("convolutional", "softmax")
    )
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]
    ground, ink = page.execute_script(
        "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(canvas).color]"
    )
    ground, ink = (
        np.mean([int(number) for number in re.findall(r"\d+", colour)[:3]])
        for colour in (ground, ink)
    )
    assert (ground > 200 and ink < 60) if scheme == "light" else (ground < 60 and ink > 200)


def test_the_page_is_quiet_and_asks_no_other_host(page, server):
    page.get_log("browser"), page.get_log("performance")
    page.get(f"http://127.0.0.1:{server.port}/")
    trace(page, SEVEN, "mouse")
    wait(lambda: verdicts(page)["centred", "convolutional"] == "7")
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    addresses = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert addresses and all(
        address.startswith((f"http://127.0.0.1:{server.port}/", "data:")) for address in addresses
    )
    _, headers, content = request(server, "GET", "/")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not re.search(rb'(src|href)="(?!data:)', content)


def test_runs_are_told_on_the_page(page, logdir):
    text = page.find_element("id", "runs").text
    for folder in os.listdir(logdir):
        run = summaries.read_run(os.path.join(logdir, folder))
        assert folder in text and f"{run['accuracy']:.2%}" in text and run["data"] in text


def test_page_says_that_the_server_has_gone_and_goes_on_when_it_is_back(
    chromium, server, logdir, data_dir
):
    with serving(logdir, data_dir) as first:
        page = open_page(chromium, first.port)
        first.send_signal(signal.SIGINT)
        out, err = first.communicate(timeout=20)
        assert (first.returncode, out, err) == (0, "", "")
    alarm = page.find_element("id", "alarm")
    wait(lambda: "does not answer" in alarm.text)
    trace(page, SEVEN, "mouse")
    assert set(verdicts(page).values()) == {""}
    with serving(logdir, data_dir, "--port", str(first.port)):
        wait(lambda: alarm.text == "" and verdicts(page)["centred", "convolutional"] == "7")
