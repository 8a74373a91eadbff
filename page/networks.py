"""The trained networks of a log folder, ready to be asked, and always as they were saved last."""

import collections
import contextlib
import errno
import math
import os
import threading
import time
import types

from support import run as runs
from support import settings, tensorflow1, terminal
from support.tensorflow1 import tf

import numpy as np

LIST_AGE = 0.5  # seconds; drawings come faster than runs, and do with a list of runs that is so old
KEPT = 6  # networks in memory, those that were asked last
# What cannot change as long as a checkpoint does not.
LASTING = {"damaged-run", "other-network", "overflow"}


class Refusal(Exception):
    """Why a question gets no answer: a sentence, a code that stays the same, and an HTTP status."""

    def __init__(self, status, code, sentence):
        """Take them; by the code, the page finds the sentence in its reader's language."""
        super().__init__(sentence)
        self.status, self.code = status, code


class Network:
    """The trained network of a run, as it was at one checkpoint; threads may ask it together."""

    def __init__(self, run, build):
        """Load the network of a run, as runs.find tells it.

        build: draws it into the current graph, as mnist.network does. Raises Refusal.
        """
        self.run = run
        self.weights = _read_weights(run)
        # On the CPU, and with one thread for each request: clients are answered side by side.
        options = tf.ConfigProto(
            device_count={"GPU": 0}, intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
        )
        with tf.Graph().as_default() as graph, _memory_told(run):
            images = tf.placeholder(tf.float32, [None, 784])
            layers = {"logits": build(images, types.SimpleNamespace(**run))}
            variables = {variable.op.name: variable for variable in tf.trainable_variables()}
            shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
            # What else a reader's training may have kept, such as a count of steps, is no layer.
            layers_saved = {
                name: values.shape
                for name, values in self.weights.items()
                if name in shapes or name.endswith(("/Weights", "/Biases"))
            }
            if shapes != layers_saved:
                sentence = (
                    f"The network of {run['run']} is not the one that mnist.py describes now."
                )
                raise Refusal(409, "other-network", sentence)
            with contextlib.suppress(KeyError):  # softmax has none; a learner may build others
                layers |= {
                    "conv": graph.get_tensor_by_name("conv/Relu:0"),
                    "hidden": graph.get_tensor_by_name("hidden:0"),
                }
            self.has_hidden = "hidden" in layers
            probabilities = tf.nn.softmax(layers["logits"])
            session = tf.Session(config=options)
            for name, variable in variables.items():
                variable.load(self.weights[name], session)
        graph.finalize()  # from here on nobody can change it, so that threads can share it
        self._probabilities = session.make_callable(probabilities, [images])
        self._layers = session.make_callable(layers, [images])
        self.weights.pop("fc1/Weights", None)  # 13 MB that nobody asks for
        blank = np.zeros((2, 784), np.float32)  # the first answers take longest: let nobody wait
        self.probabilities(blank)
        self.layers(blank[:1])

    def probabilities(self, images):
        """Return the ten probabilities of each image: float32 (n, 784) to float32 (n, 10)."""
        with _memory_told(self.run):
            answers = self._probabilities(images)
        self._check(answers)
        return answers

    def layers(self, images):
        """Return what comes out of each layer for images, float32 (n, 784), as a dict of float32.

        `logits`, (n, 10); of a convolutional network whose layers are called as in mnist.py also
        `conv`, (n, 28, 28, KERNELS), and `hidden`, (n, NEURONS), both after ReLU.
        """
        with _memory_told(self.run):
            answers = self._layers(images)
        self._check(*answers.values())
        return answers

    def _check(self, *answers):
        if not all(np.isfinite(answer).all() for answer in answers):
            sentence = f"The weights of {self.run['run']} are so large that its numbers overflow."
            raise Refusal(409, "overflow", sentence)


class Networks:
    """The runs of a log folder, as they come, go on and go, and the networks asked for last."""

    def __init__(self, logdir, build):
        """Take the folder, and what draws a network, as mnist.network does."""
        self._logdir, self._build = logdir, build
        self._lock = threading.Lock()
        self._found, self._found_at = [], -math.inf
        self._loaded = collections.OrderedDict()  # the Network of a run, by its name
        self._useless = {}  # what Network said of a checkpoint, by its state

    def list(self):
        """List the runs that can be shown now, as runs.find does."""
        return self._usable(age=0)

    def first_two(self):
        """Return the names of the newest run of each network, None where there is none."""
        newest = {run["network"]: run["run"] for run in reversed(self._usable(LIST_AGE))}
        return [newest.get(network) for network in settings.NETWORKS]

    def get(self, name):
        """Return the Network of the run of this name, as it was saved last. Raises Refusal."""
        for age in [LIST_AGE, 0, 0, 0]:  # a run in training may delete what is just being read
            run = next((run for run in self._find(age) if run["run"] == name), None)
            if not run and age == 0:
                sentence = "There is no such run, or no more: /api/runs lists those that there are."
                raise Refusal(404, "no-such-run", sentence)
            try:
                if run:
                    return self._load(run)
            except Refusal:
                if _state(run) == run["state"]:
                    raise
        sentence = f"The run {name} saves its network again and again: ask once more."
        raise Refusal(503, "busy-run", sentence)

    def _usable(self, age):
        return [run for run in self._find(age) if run["state"] not in self._useless]

    def _find(self, age):
        with self._lock:
            if time.monotonic() - self._found_at >= age:
                self._found = [run | {"state": _state(run)} for run in runs.find(self._logdir)]
                self._found_at = time.monotonic()
            return self._found

    def _load(self, run):
        name, state = run["run"], run["state"]
        with self._lock:
            if state in self._useless:
                raise Refusal(*self._useless[state])
            if name not in self._loaded or self._loaded[name].run["state"] != state:
                try:
                    self._loaded[name] = Network(run, self._build)
                except Refusal as refusal:
                    if refusal.code in LASTING and _state(run) == state:
                        self._useless[state] = refusal.status, refusal.code, str(refusal)
                        terminal.say(str(refusal))
                    raise
            self._loaded.move_to_end(name)
            if len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[name]


def _state(run):
    """Return what changes when a run's checkpoint does: its path, its files' times and sizes."""
    state = [run["checkpoint"]]
    for ending in ["index", "data-00000-of-00001"]:
        try:
            status = os.stat(f"{run['checkpoint']}.{ending}")
            state += [status.st_mtime_ns, status.st_size]
        except OSError:
            state += [None, None]
    return tuple(state)


def _read_weights(run):
    """Return the arrays of a run's checkpoint, {name: float32}. Raises Refusal."""
    place = f"The newest checkpoint of {run['run']}"
    try:
        with _memory_told(run):
            reader = tf.train.load_checkpoint(run["checkpoint"])
            return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    except (RuntimeError, LookupError, ValueError, tf.errors.OpError) as error:
        cause = tensorflow1.in_words(error)
        if isinstance(cause, OSError) and cause.errno != errno.ENOENT:
            sentence = f"{place} cannot be read: {cause.strerror}."
            raise Refusal(409, "unreadable-run", sentence) from error
        sentence = f"{place} is damaged: delete this run's folder."
        raise Refusal(409, "damaged-run", sentence) from error


@contextlib.contextmanager
def _memory_told(run):
    """Raise Refusal where the memory does not suffice for the network of a run."""
    try:
        yield
    except (RuntimeError, MemoryError, tf.errors.OpError) as error:
        if isinstance(tensorflow1.in_words(error), MemoryError):
            sentence = f"The memory does not suffice for the network of {run['run']}."
            raise Refusal(503, "out-of-memory", sentence) from error
        raise
