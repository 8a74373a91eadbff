"""The trained networks of a log folder: loaded at the first use, the last few kept in memory."""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from support import saved
from support.saved import Record, SavedRun
from support.tensorflow1 import tf

KEPT = 6  # networks in memory


class Refusal(Exception):
    """Why a question gets no answer, as a code; page/refusals.json has a sentence for each."""

    def __init__(self, code: str, run: str | None = None, reason: object = None) -> None:
        """Take the code and, for its sentence, the name of a run and a reason."""
        super().__init__(code)
        self.code, self.run, self.reason = code, run, reason


class TrainedNetwork:
    """The network in a checkpoint of a run; several threads may use it at the same time."""

    def __init__(self, run: SavedRun, build: Callable) -> None:
        """Load the network of a run, built as mnist.network does. Raises Refusal."""
        self.run, self.record, self.state = run, run.record, state_of(run)
        try:
            reader = tf.train.load_checkpoint(run.checkpoint)
            names = reader.get_variable_to_shape_map()
            self.weights = {name: reader.get_tensor(name) for name in names}
        except (RuntimeError, LookupError, ValueError, tf.errors.OpError) as error:
            raise Refusal("damaged-run", run.record.name) from error
        # One thread of the CPU for each request, so that several are answered at once.
        threads = {"intra_op_parallelism_threads": 1, "inter_op_parallelism_threads": 1}
        config = tf.ConfigProto(device_count={"GPU": 0}, **threads)
        with tf.Graph().as_default() as graph:
            session, images = tf.Session(config=config), tf.placeholder(tf.float32, [None, 784])
            try:
                layers = {"logits": build(images, run.record)}
                for variable in tf.trainable_variables():
                    variable.load(self.weights[variable.op.name], session)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise Refusal("other-network", run.record.name) from error
            # Other variables of a reader's training, such as a step counter, are no layers.
            unused = set(self.weights) - {each.op.name for each in tf.trainable_variables()}
            if any(each.endswith(("/Weights", "/Biases")) for each in unused):
                raise Refusal("other-network", run.record.name)
            with contextlib.suppress(KeyError):  # softmax and some readers' networks lack them
                conv = graph.get_tensor_by_name("conv/Relu:0")
                hidden = graph.get_tensor_by_name("hidden:0")
                if conv.shape[1:3] == [28, 28] and hidden.shape.rank == 2:
                    layers |= {"conv": conv, "hidden": hidden}
            probabilities = {"probabilities": tf.nn.softmax(layers["logits"])}
        graph.finalize()  # threads can share a graph that cannot change
        self._probabilities = session.make_callable(probabilities, [images])
        self._layers = session.make_callable(layers, [images])
        self.weights.pop("fc1/Weights", None)  # 13 MB that the page does not show
        self.probabilities(np.zeros((2, 784), np.float32))  # the first call is slow
        self.layers(np.zeros((1, 784), np.float32))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the ten probabilities of each image: float32 (n, 784) to float32 (n, 10)."""
        return self._finite(self._probabilities(images))["probabilities"]

    def layers(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the `logits` of images and, if the network has them, `conv` and `hidden`."""
        return self._finite(self._layers(images))

    def dead_neurons(self, images: np.ndarray) -> list[int] | None:
        """Return which neurons of `hidden` are 0 for all images; None if there is no such layer."""
        if "hidden" not in self.layers(images[:1]):
            return None
        parts = np.array_split(images, 1 + len(images) // 50)
        woken = [self.layers(part)["hidden"].any(axis=0) for part in parts]
        return np.flatnonzero(~np.any(woken, axis=0)).tolist()

    def _finite(self, answers):
        if not all(np.isfinite(answer).all() for answer in answers.values()):
            raise Refusal("overflow", self.record.name)
        return answers


class TrainedRuns:
    """The runs of a log folder, and the networks that were used last; threads may share this."""

    def __init__(self, logdir: str | Path, build: Callable) -> None:
        """Take the folder; build: see TrainedNetwork."""
        self._logdir, self._build = logdir, build
        self._lock = threading.Lock()
        self._loaded: dict[str | None, TrainedNetwork] = {}  # by run; the last used is at the end
        self._useless: dict[tuple | None, str] = {}  # {state of a checkpoint: refusal's code}

    def list(self) -> list[Record]:
        """List the runs that can be shown now; the one that started last comes first."""
        found = saved.find(self._logdir)
        return [run.record for run in found if state_of(run) not in self._useless]

    def get(self, name: str | None) -> TrainedNetwork:
        """Return the network that a run saved last. Raises Refusal."""
        with self._lock:
            network = self._loaded.pop(name, None)
            if network is None or network.state != state_of(network.run):
                network = self._load(name)
            self._loaded[name] = network
            if len(self._loaded) > KEPT:
                del self._loaded[list(self._loaded)[0]]
            return network

    def _load(self, name):
        for _ in range(4):  # a run that is being trained may delete what is being read
            found = [run for run in saved.find(self._logdir) if run.record.name == name]
            if not found:
                raise Refusal("no-such-run", name)
            state = state_of(found[0])
            if state in self._useless:
                raise Refusal(self._useless[state], name)
            try:
                return TrainedNetwork(found[0], self._build)
            except Refusal as refusal:
                if state and state == state_of(found[0]):
                    self._useless[state] = refusal.code  # as long as the checkpoint is the same
                    raise
        raise Refusal("busy-run", name)


def newest(records: list[Record], network: str) -> str | None:
    """Return the name of the first run of a network, "convolutional" or "softmax", in a list."""
    return next((record.name for record in records if record.network == network), None)


def state_of(run: SavedRun) -> tuple[str, int] | None:
    """Return a value that changes when a run is saved; None if the checkpoint was deleted."""
    try:
        return run.checkpoint, os.stat(f"{run.checkpoint}.index").st_mtime_ns
    except OSError:
        return None
