"""Runs as mnist.py saves them, with weights of the test's choice; and what NumPy makes of them."""

import json

from support.tensorflow1 import tf

import numpy as np

from helpers import numpy_layers

RECORD = {
    "status": "finished",
    "learning_rate": 0.001,
    "epochs": 100,
    "batch_size": 100,
    "data": "MNIST",
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


def save(folder, step, weights, **record):
    """Save a checkpoint in the place of the one before, and the record, as a run does."""
    folder.mkdir(parents=True, exist_ok=True)
    older = list(folder.glob("model.ckpt-*"))
    with tf.Graph().as_default(), tf.Session() as session:
        names, values = zip(*weights.items(), strict=True)
        prefix = str(folder / f"model.ckpt-{step}")
        whole = [""] * len(names)
        session.run(
            tf.raw_ops.SaveV2(
                prefix=prefix, tensor_names=names, shape_and_slices=whole, tensors=values
            )
        )
    network = "softmax" if "fc/Weights" in weights else "convolutional"
    record = RECORD | {"network": network, "step": step, "started": 1e9} | record
    (folder / "run.json").write_text(json.dumps(record))
    for path in older:
        if path.name.split(".")[1] != f"ckpt-{step}":
            path.unlink()


def forward(weights, images):
    """Compute what comes out of a network's layers with NumPy: images, (n, 784), to arrays."""
    if "fc/Weights" in weights:
        return {"logits": images @ weights["fc/Weights"] + weights["fc/Biases"]}
    conv, _, hidden, logits = numpy_layers(weights, images)
    return {"conv": conv, "hidden": hidden, "logits": logits}


def softmax(logits):
    """Make probabilities of logits, (n, 10)."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
