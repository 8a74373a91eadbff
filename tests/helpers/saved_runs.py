"""Runs as mnist.py saves them, with weights of the test's choice; and what NumPy makes of them."""

import functools
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import mnist
from helpers import numpy_layers
from support.checkpoints import Checkpoints
from support.saved import GRAPH, Record
from support.tensorflow1 import tf

LEFT, RIGHT, WIDE = "lr=0.001,epochs=100", "lr=0.001,epochs=100,softmax", "deeper/kernels=7"
RECORD = {
    "learning_rate": 0.001,
    "epochs": 100,
    "batch_size": 100,
    "data": "MNIST",
    "started": 1e9,
    "status": "finished",
    "accuracy": 0.9,
    "loss": 0.3,
    "images": 10_000,
}


def random_weights(seed, network="convolutional", kernels=3, neurons=8):
    """Weights that make each layer say something, {name: float32}."""
    dice = np.random.default_rng(seed)
    shapes = {"fc/Weights": (784, 10), "fc/Biases": (10,)}
    if network == "convolutional":
        shapes = {
            "conv/Weights": (5, 5, 1, kernels),
            "conv/Biases": (kernels,),
            "fc1/Weights": (14 * 14 * kernels, neurons),
            "fc1/Biases": (neurons,),
            "fc2/Weights": (neurons, 10),
            "fc2/Biases": (10,),
        }
    return {name: dice.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


@functools.cache
def meta_graph(network, kernels, neurons):
    """Make the content of a run's model.meta."""
    with tf.Graph().as_default(), tempfile.TemporaryDirectory() as folder:
        images = tf.placeholder(tf.float32, [None, 784])
        settings = SimpleNamespace(network=network, kernels=kernels, neurons=neurons)
        tf.nn.softmax(mnist.network(images, settings))
        Checkpoints(Path(folder)).save_graph()
        return Path(folder, GRAPH).read_bytes()


def save(folder, step, weights, **record):
    """Save a checkpoint in the place of the one before, and the record, as a run does."""
    folder.mkdir(parents=True, exist_ok=True)
    older = list(folder.glob("model.ckpt-*"))
    with tf.Graph().as_default(), tf.Session() as session:
        saving = tf.raw_ops.SaveV2(
            prefix=str(folder / f"model.ckpt-{step}"),
            tensor_names=list(weights),
            shape_and_slices=[""] * len(weights),
            tensors=list(weights.values()),
        )
        session.run(saving)
    facts = {"name": folder.name, "network": "softmax", "step": step}
    if "conv/Weights" in weights:
        facts |= {"network": "convolutional", "kernels": weights["conv/Weights"].shape[3]}
    if "fc1/Weights" in weights:
        facts["neurons"] = weights["fc1/Weights"].shape[1]
    saved = Record(**(RECORD | facts | record))
    saved.write(folder)
    (folder / GRAPH).write_bytes(meta_graph(saved.network, saved.kernels, saved.neurons))
    for path in older:
        if path.name.split(".")[1] != f"ckpt-{step}":
            path.unlink()


def save_three(logdir, **record):
    """Save LEFT and RIGHT, with which the page starts, and WIDE, which is older; their weights."""
    weights = {
        LEFT: random_weights(1),
        RIGHT: random_weights(2, "softmax"),
        WIDE: random_weights(3, kernels=7, neurons=21),
    }
    for age, (run, values) in enumerate(weights.items()):
        save(logdir / run, 100, values, started=1e9 - age, **record)
    return weights


def damage(folder):
    """Cut off most of the checkpoint's data."""
    [data_file] = folder.glob("*.data-*")
    data_file.write_bytes(data_file.read_bytes()[:100])


def forward(weights, images):
    """Compute what comes out of a network's layers with NumPy: images, (n, 784), to arrays."""
    if "fc/Weights" in weights:
        return {"logits": images @ weights["fc/Weights"] + weights["fc/Biases"]}
    conv, _, hidden, logits = numpy_layers(weights, images)
    return {"conv": conv, "hidden": hidden, "logits": logits}


def softmax(logits):
    """Make probabilities of logits, (10,) or (n, 10)."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def probabilities(weights, image):
    """Compute the ten probabilities for one image."""
    return softmax(forward(weights, np.array([image]))["logits"])[0]
