"""What several tests need: the project's folder, events read back, a network in NumPy, waiting."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[2]
# Nobody listens at this proxy: no mirror can be reached, whether the machine has a network or not.
OFFLINE = {
    "https_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "no_proxy": "",
    "NO_PROXY": "",
}


def heed_signals():
    """Heed the signals that end a program, as in a terminal: under `nohup` or `&` some are not."""
    for name in ["SIGINT", "SIGTERM", "SIGHUP"]:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def wait_for(question, seconds=60):
    """Return the first answer that is not empty; fail when there is none in time.

    To find nobody at an address, or no such page, is an empty answer.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if answer := question():
                return answer
        time.sleep(0.02)
    raise AssertionError(f"no answer within {seconds} s")


# ---------------------------------------------------------------------------------------- events


def run_folders(logdir):
    """List the names of the runs in a log folder."""
    return sorted(path.name for path in Path(logdir).iterdir())


def events(folder):
    """Return what TensorBoard's reader finds in an event folder, every point of it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    every = dict.fromkeys(["scalars", "histograms", "tensors"], 0)
    return EventAccumulator(str(folder), every).Reload()


def curve(folder, tag):
    """Return a curve as {step: value}; each step must have been written once."""
    points = [(event.step, event.value) for event in events(folder).Scalars(tag)]
    assert len(points) == len(dict(points))
    return dict(points)


def variables(checkpoint):
    """Return all that a checkpoint holds, {name: values}."""
    from support.tensorflow1 import tf

    reader = tf.train.load_checkpoint(str(checkpoint))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def smoothed(values, weight):
    """Smooth as TensorBoard's slider does: an average that forgets, corrected for its start."""
    average, result = 0, []
    for count, value in enumerate(values, 1):
        average = weight * average + (1 - weight) * value
        result.append(average / (1 - weight**count))
    return result


# --------------------------------------------------------------------------------------- network


def numpy_layers(weights, images):
    """Compute the convolutional network by NumPy alone, one shifted copy of the images a weight.

    weights: {name of the variable: array}; images: (n, 784). Returns the feature maps after ReLU,
    (n, 28, 28, kernels), after pooling, the hidden neurons, (n, neurons), and the logits, (n, 10).
    """
    kernels, biases = weights["conv/Weights"], weights["conv/Biases"]
    padded = np.pad(images.reshape(-1, 28, 28), [(0, 0), (2, 2), (2, 2)])
    convolution = sum(
        padded[:, y : y + 28, x : x + 28, None] * kernels[y, x, 0]
        for y in range(5)
        for x in range(5)
    )
    maps = np.maximum(convolution + biases, 0)
    pooled = maps.reshape(-1, 14, 2, 14, 2, len(biases)).max(axis=(2, 4))
    flat = pooled.reshape(len(pooled), -1)
    hidden = np.maximum(flat @ weights["fc1/Weights"] + weights["fc1/Biases"], 0)
    return maps, pooled, hidden, hidden @ weights["fc2/Weights"] + weights["fc2/Biases"]


# ----------------------------------------------------------------------------------- TensorBoard


@contextlib.contextmanager
def serve_tensorboard(logdir, *more_flags):
    """Start a TensorBoard, and yield a function that asks it; `.address` is where its page is.

    ask("plugin/scalars/tags") returns the parsed JSON; with parsed=False, the bytes; further
    keywords are the query, and `body` is what is posted, as JSON.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = f"--host 127.0.0.1 --port {port} --reload_interval 1 --logdir".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *flags, str(logdir), *more_flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    address = f"http://127.0.0.1:{port}"

    def ask(path, body=None, parsed=True, **query):
        question = f"{address}/data/{path}" + f"?{urllib.parse.urlencode(query)}" * bool(query)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(question, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
        return json.loads(content) if parsed else content

    ask.address = address
    try:
        wait_for(lambda: ask("environment"))
        yield ask
    finally:
        process.terminate()
        process.wait(timeout=20)


def scalars(ask, run, tag):
    """Return a curve as TensorBoard shows it, {step: value}, empty while it does not know it."""
    with contextlib.suppress(urllib.error.HTTPError):
        points = ask("plugin/scalars/scalars", run=run, tag=tag)
        return {step: value for _, step, value in points}
    return {}
