"""draw.py as its user meets it in a terminal: what it says, and how it starts and ends."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import types

import pytest

import draw
import mnist
from helpers import saved_runs
from helpers.draw_server import serving
from helpers.saved_runs import LEFT, RIGHT, WIDE, damage
from support import terminal
from support.saved import GRAPH


@pytest.fixture
def logdir(tmp_path):
    saved_runs.save_three(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def in_process(monkeypatch, capsys):
    """draw.main in this process, with a server that ends at once: what it said, and what it was."""

    def run(*flags):
        served = []

        def create_server(app, sockets, **_):
            served.append((app, sockets))
            return types.SimpleNamespace(run=lambda: None)

        monkeypatch.setattr(draw.waitress, "create_server", create_server)
        problem = None
        try:
            draw.main([str(flag) for flag in flags])
        except terminal.Problem as error:
            problem = error
        for _, [listener] in served:
            listener.close()
        said = capsys.readouterr().out.splitlines()
        return types.SimpleNamespace(said=said, served=served, problem=problem)

    return run


def status_for(result, host):
    [(app, _)] = result.served
    return app.test_client().get("/api/runs", headers={"Host": host}).status_code


def test_it_says_which_networks_it_starts_with_and_where_it_is(
    in_process, logdir, tmp_path, monkeypatch
):
    monkeypatch.setattr(mnist, "CONTINUE", "newest")  # a reader continued the last run
    untested = {"accuracy": None, "loss": None, "images": None}
    saved_runs.save(logdir / RIGHT, 100, saved_runs.random_weights(2, "softmax"), **untested)
    result = in_process("--logdir", logdir, "--data_dir", tmp_path, "--port", "0")
    left, right, address = result.said
    score = "90.00% of the test digits right (MNIST)"
    assert left == f"The convolutional network is that of {LEFT}: {score}."
    assert right == f"The softmax network is that of {RIGHT}."
    assert re.fullmatch(r"Draw at http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)", address)
    for host in "127.0.0.1", "[::1]:80", "localhost":
        assert status_for(result, host) == 200
    assert status_for(result, "10.0.0.1") == 403


@pytest.mark.parametrize("name, names", [
    ("Lab-3", ["lab-3:80", "LAB-3.local"]), ("lab-3.uni.example", ["lab-3.uni.example", "lab-3"]),
])  # fmt: skip
def test_it_has_the_names_of_its_machine_and_of_its_flags(
    in_process, logdir, monkeypatch, name, names
):
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    flags = ["--name", "https://Tunnel.example:8443/digits/?a", "--name=10.0.0.2"]
    result = in_process("--logdir", logdir, "--port", "0", *flags)
    for host in [*names, "tunnel.example", "10.0.0.2:99"]:
        assert status_for(result, host) == 200
    assert status_for(result, "10.0.0.1") == status_for(result, "lab-4") == 403


def test_other_machines_can_ask_if_it_is_told_so(in_process, logdir, monkeypatch):
    if address := draw.own_address():  # it is an address of this machine
        socket.create_server((address, 0)).close()
    for address in "192.168.0.7", None:
        monkeypatch.setattr(draw, "own_address", lambda address=address: address)
        result = in_process("--logdir", logdir, "--host", "0.0.0.0", "--port", "0")
        assert " http://localhost:" in result.said[2]
        assert "this machine's IP address" in result.said[-1]
        assert ("probably http://192.168.0.7:" in result.said[-1]) == (address is not None)
    [(app, _)] = in_process("--logdir", logdir, "--port", "0", "--allow_saving").served
    (client := app.test_client()).environ_base["REMOTE_ADDR"] = "10.0.0.1"
    assert client.get("/api/own-digits").json["refusal"] is None
    assert status_for(result, "10.0.0.1") == 200


def test_without_a_convolutional_run_it_says_what_to_do(in_process, tmp_path):
    folder = tmp_path / "runs"
    for _ in range(2):
        result = in_process("--logdir", folder, "--port", "0")
        sentence = "that can be loaded: train one there with mnist.py first."
        assert str(result.problem).endswith(sentence) and result.problem.status == 1
        assert not result.said and not result.served and not (folder / LEFT).exists()
        saved_runs.save(folder / RIGHT, 100, saved_runs.random_weights(2, "softmax"))


def test_runs_of_earlier_versions_are_only_in_tensorboard(in_process, logdir):
    for run in LEFT, RIGHT, WIDE:
        (logdir / run / GRAPH).unlink()
    result = in_process("--logdir", logdir, "--port", "0")
    assert "(those of earlier versions are only in TensorBoard)" in str(result.problem)


def test_damaged_runs_are_left_out_at_the_start(in_process, logdir):
    damage(logdir / LEFT)
    result = in_process("--logdir", logdir, "--port", "0")
    assert "cannot be read" in result.said[0] and LEFT in result.said[0]
    assert result.said[1].startswith(f"The convolutional network is that of {WIDE}")


@pytest.mark.parametrize("flags, words", [
    (["--port", "x"], "--port"), (["--prot", "1"], "--prot"), (["--port", "65536"], "65536"),
    (["--host", "no.such.host.example"], "no.such.host.example"),
    (["--host", "192.168..5"], "192.168..5"), (["--logdir", "runs[1]"], "runs[1]"),
    (["--name", "*.example"], "*.example"), (["--name", "http://"], "http://"),
])  # fmt: skip
def test_wrong_flags_are_refused_in_a_sentence(in_process, logdir, flags, words):
    result = in_process("--logdir", logdir, *flags)
    assert words in str(result.problem) and "\n" not in str(result.problem)
    assert "(None)" not in str(result.problem)
    assert result.said == [] and not result.served


def test_a_port_in_use(in_process, logdir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = in_process("--logdir", logdir, "--port", port)
    sentence = f"Port {port} of 127.0.0.1 is already in use: choose another with --port."
    assert str(result.problem) == sentence


def test_softmax_is_trained_if_there_is_none(in_process, logdir, data_dir):
    shutil.rmtree(logdir / RIGHT)
    result = in_process("--logdir", logdir, "--data_dir", data_dir, "--port", "0")
    assert "training one" in result.said[1]
    [(app, _)] = result.served
    answer = app.test_client().get("/api/runs").json
    [run] = [run for run in answer["runs"] if run["name"] == answer["start"][1]]
    assert (run["learning_rate"], run["epochs"], run["step"]) == (0.001, 3000, 3000)
    assert run["accuracy"] > 0.91
    assert f"The softmax network is that of {run['name']}: {run['accuracy']:.2%}" in result.said[-2]


def test_a_training_of_softmax_that_is_stopped_ends_the_program(
    in_process, logdir, data_dir, monkeypatch
):
    def stop(settings, data, run):
        run.record.step, run.record.status = 7, "stopped"

    shutil.rmtree(logdir / RIGHT)
    monkeypatch.setattr(mnist, "train", stop)
    result = in_process("--logdir", logdir, "--data_dir", data_dir, "--port", "0")
    assert "Stopped at step 7" in str(result.problem)
    assert result.problem.status == 130 and not result.served


def test_a_process_answers_and_ends_silently_on_ctrl_c(logdir, data_dir):
    def request(path, body, headers=None, method="POST"):
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    question = json.dumps({"image": [0] * 784, "run": LEFT})
    with serving(logdir, data_dir) as process:
        status, answer = request("/api/evaluate", question)
        assert status == 200 and sum(answer["probabilities"]) == pytest.approx(1)
        assert request("/api/evaluate", iter([question.encode()]))[0] == 200  # in chunks
        assert request("/api/inside", b"x" * 5_000_000)[0] == 413
        for headers in {}, {"X-Forwarded-For": "10.0.0.1"}:
            _, answer = request("/api/own-digits", None, headers, "GET")
            assert bool(answer["refusal"]) == bool(headers)
        for rubbish in b"\x16\x03\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n":
            with socket.create_connection(("127.0.0.1", process.port)) as connection:
                connection.sendall(rubbish)
        said = process.said()
        os.kill(process.pid, signal.SIGINT)
        process.join(20)
        assert process.said() == said and process.exitcode in (0, 130, -signal.SIGINT)
