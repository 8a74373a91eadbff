"""The checkpoints and the graph of a run: save them, and load them when the run continues.

Each checkpoint, model.ckpt-<step>, holds W and B. Some hold everything that a run needs to
continue: Adam's averages take twice the space of W and B, and nine times the time. The graph is
TensorFlow's meta graph, from which programs build the network without mnist.py.
"""

import contextlib
import hashlib
from pathlib import Path

from support.saved import GRAPH
from support.tensorflow1 import tf
from support.terminal import Problem

TAKE_LOGITS = [  # the logits are the input of the first of these operations in a graph
    "SparseSoftmaxCrossEntropyWithLogits",
    "SoftmaxCrossEntropyWithLogits",
    "LogSoftmax",
    "Softmax",
]


class Checkpoints:
    """Save and load the variables of a run in its folder; the current graph must be complete."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of the run."""
        self._folder = folder
        options = {"max_to_keep": 0, "save_relative_paths": True}
        self._saver = tf.train.Saver(_collect(), **options)
        self._saver_of_everything = tf.train.Saver(**options)

    def save_graph(self) -> None:
        """Save the current graph, with its images and logits in collections of these names."""
        self._saver.export_meta_graph(str(self._folder / GRAPH))

    def save(self, session: tf.Session, step: int, everything: bool) -> str:
        """Save W and B, or everything that the run needs to continue; return the path."""
        saver = self._saver_of_everything if everything else self._saver
        self._folder.stat()  # raises OSError if it was deleted; saving would create it again
        # The index is called "newest": under its usual name, "checkpoint", TensorBoard's Projector
        # would find it and show raw weights.
        prefix = str(self._folder / "model.ckpt")
        return saver.save(session, prefix, step, "newest", write_meta_graph=False)

    def delete_others(self, *steps: int) -> None:
        """Delete the checkpoints of other steps than these."""
        kept = [f"ckpt-{step}" for step in steps]
        for path in self._folder.glob("model.ckpt-*"):
            if path.name.split(".")[1] not in kept:
                with contextlib.suppress(OSError):  # on Windows, while draw.py reads it
                    path.unlink()

    def load(self, session: tf.Session, step: int) -> None:
        """Load everything that was saved at a step. Raises Problem if it cannot be read."""
        path = self._folder / f"model.ckpt-{step}"
        try:
            self._saver_of_everything.restore(session, str(path))
        except (ValueError, tf.errors.OpError) as error:
            sentence = f"{self._folder.name} cannot continue: {path.name} cannot be read."
            raise Problem(f"{sentence} Train it again.") from error


def fingerprint() -> str:
    """Return 16 characters that are equal for graphs that start, compute and train the same."""
    graph = tf.get_default_graph().as_graph_def()
    ends = [node.name for node in graph.node if node.op in TAKE_LOGITS or "Apply" in node.op]
    ends += [variable.initializer.name for variable in tf.global_variables()]
    nodes = _needed(graph, ends)  # optimizers end with Apply... operations
    digest = hashlib.sha256()
    for name in sorted(nodes):
        for seed in ["seed", "seed2"]:  # of random values; they may differ
            nodes[name].attr.pop(seed, None)
        digest.update(nodes[name].SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]


def _collect():
    """Add the images and the logits of the current graph to collections of these names.

    The logits are what softmax gets. The images are a placeholder of 784 numbers for each image, on
    which the logits depend. A reader's own graph may lack either. Returns the variables on which
    the logits depend, and those that are trained.
    """
    graph, needed = tf.get_default_graph(), {}
    users = [each for each in graph.get_operations() if each.type in TAKE_LOGITS]
    if users:
        logits = min(users, key=lambda user: TAKE_LOGITS.index(user.type)).inputs[0]
        tf.add_to_collection("logits", logits)
        needed = _needed(graph.as_graph_def(), [logits.op.name])
    for name, node in needed.items():
        if node.op == "Placeholder":
            images = graph.get_tensor_by_name(f"{name}:0")
            if images.dtype.is_floating and images.shape[1:].num_elements() == 784:
                tf.add_to_collection("images", images)
    trained = [variable.op.name for variable in tf.trainable_variables()]
    return [each for each in tf.global_variables() if each.op.name in {*needed, *trained}]


def _needed(graph, names):
    """Return the nodes of these names in a graph, and all that they need, as {name: node}."""
    nodes = tf.graph_util.extract_sub_graph(graph, names).node if names else []
    return {node.name: node for node in nodes}
