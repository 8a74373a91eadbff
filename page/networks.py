"""The trained networks of a log folder: loaded at the first use, the last few kept in memory."""

import contextlib
import os
import re
import threading
from pathlib import Path

import numpy as np

from support import saved
from support.saved import GRAPH, Record, SavedRun
from support.tensorflow1 import tf

KEPT = 6  # networks in memory
SHOWN = ["conv/Weights", "conv/Biases", "fc/Weights", "fc/Biases"]  # weights that the page shows


class Refusal(Exception):
    """Why a question gets no answer, as a code; page/refusals.json has a sentence for each."""

    def __init__(self, code: str, run: str | None = None, reason: object = None) -> None:
        """Take the code and, for its sentence, the name of a run and a reason."""
        super().__init__(code)
        self.code, self.run, self.reason = code, run, reason


class TrainedNetwork:
    """The network in a checkpoint of a run; several threads may use it at the same time."""

    def __init__(self, run: SavedRun) -> None:
        """Load the network of a run, as its saved graph describes it. Raises Refusal."""
        self.run, self.record, self.state = run, run.record, state_of(run)
        # One thread of the CPU for each request, so that several are answered at once.
        threads = {"intra_op_parallelism_threads": 1, "inter_op_parallelism_threads": 1}
        config = tf.ConfigProto(device_count={"GPU": 0}, **threads)
        with tf.Graph().as_default() as graph:
            session = tf.Session(config=config)
            try:
                saver = tf.train.import_meta_graph(str(run.folder / GRAPH), clear_devices=True)
                saver.restore(session, run.checkpoint)
                reader = tf.train.load_checkpoint(run.checkpoint)
                shapes = reader.get_variable_to_shape_map()
                self.weights = {name: reader.get_tensor(name) for name in SHOWN if name in shapes}
            except (OSError, RuntimeError, LookupError, ValueError, tf.errors.OpError) as error:
                raise Refusal("damaged-run", run.record.name) from error
            images, logits = tf.get_collection("images"), tf.get_collection("logits")
            if not images or not logits:
                raise Refusal("no-logits", run.record.name)
            self._shape = [-1, *images[0].shape[1:]]
            layers = {"logits": logits[0]}
            # Softmax and some readers' networks lack these. The page cannot show negative numbers.
            self.inputs = shapes.get("fc1/Weights", [0])[0]  # of each neuron of `hidden`
            for name, operation in [("conv", "conv/Relu"), ("hidden", "hidden")]:
                with contextlib.suppress(KeyError):
                    layer = graph.get_tensor_by_name(f"{operation}:0")
                    shown = layer.shape[1:3] == [28, 28] if name == "conv" else self.inputs
                    if shown and layer.op.type == "Relu":
                        layers[name] = layer
            self._has_hidden = "hidden" in layers
            probabilities = {"probabilities": tf.nn.softmax(logits[0])}
        graph.finalize()  # threads can share a graph that cannot change
        self._probabilities = session.make_callable(probabilities, images[:1])
        self._layers = session.make_callable(layers, images[:1])
        self._try()

    def _try(self):
        """Call the network once, as the first call is slow. Raises Refusal."""
        try:
            shape = self.probabilities(np.zeros((2, 784), np.float32)).shape
            self.layers(np.zeros((1, 784), np.float32))
        except (ValueError, tf.errors.OpError) as error:
            missing = re.search("value for placeholder tensor '(.*?)'", str(error))
            if missing:
                raise Refusal("needs-more", self.record.name, missing[1]) from error
            raise Refusal("no-logits", self.record.name) from error
        if shape != (2, 10):
            raise Refusal("no-logits", self.record.name)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the ten probabilities of each image: float32 (n, 784) to float32 (n, 10)."""
        answer = self._probabilities(images.reshape(self._shape))
        return self._finite(answer)["probabilities"]

    def layers(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the `logits` of images and, if the network has them, `conv` and `hidden`."""
        return self._finite(self._layers(images.reshape(self._shape)))

    def dead_neurons(self, images: np.ndarray) -> list[int] | None:
        """Return which neurons of `hidden` are 0 for all images; None if there is no such layer."""
        if not self._has_hidden:
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

    def __init__(self, logdir: str | Path) -> None:
        """Take the folder."""
        self._logdir = logdir
        self.old = 0  # how many runs the last list left out: earlier versions saved no graph
        self._lock = threading.Lock()
        self._loaded: dict[str | None, TrainedNetwork] = {}  # by run; the last used is at the end
        self._useless: dict[tuple | None, str] = {}  # {state of a checkpoint: refusal's code}

    def list(self) -> list[Record]:
        """List the runs that can be shown now; the one that started last comes first."""
        found = saved.find(self._logdir)
        runs = [run for run in found if run.has_graph]
        self.old = len(found) - len(runs)
        if self._useless:  # otherwise, there is no need to look at each checkpoint
            runs = [run for run in runs if state_of(run) not in self._useless]
        return [run.record for run in runs]

    def get(self, name: str | None) -> TrainedNetwork:
        """Return the network that a run saved last. Raises Refusal."""
        with self._lock:
            network = self._loaded.pop(name, None)
            if not network or not network.state or network.state != state_of(network.run):
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
            if not found[0].has_graph:
                raise Refusal("old-run", name)
            state = state_of(found[0])
            if state in self._useless:
                raise Refusal(self._useless[state], name)
            try:
                return TrainedNetwork(found[0])
            except Refusal as refusal:
                if state and state == state_of(found[0]):
                    self._useless[state] = refusal.code  # as long as the checkpoint is the same
                    raise
        raise Refusal("busy-run", name)


def newest(records: list[Record], network: str) -> str | None:
    """Return the name of the first run of a network, "convolutional" or "softmax", in a list."""
    return next((record.name for record in records if record.network == network), None)


def state_of(run: SavedRun) -> tuple[str, int] | None:
    """Return a value that changes when a run is saved; None if the checkpoint is not the newest."""
    with contextlib.suppress(OSError):  # it was deleted
        if saved.newest_step(os.listdir(run.folder)) == run.record.step:
            return run.checkpoint, os.stat(f"{run.checkpoint}.index").st_mtime_ns
    return None
