"""What benchmark.py measures. It starts this file once for each process that it compares.

    python tools/contenders.py work NAME DATA_DIR        # one of WORKERS, see work()
    python tools/contenders.py lesson FLAGS              # python mnist.py FLAGS, see lesson()
    python tools/contenders.py tutorial DATA_DIR STEPS   # see tutorial()

The environment variable PYTHONPATH names the checkout of the project that is measured. So this
file imports only parts of the project that every version has.

A training step is the same work for all contenders: the layers of mnist.py, weights from a normal
distribution of deviation 0.1, cut off at 0.2, biases of 0.1, shuffled batches of float32 images in
memory, Adam with epsilon 1e-8, a thread for each core. In bfloat16, all multiply bfloat16, and keep
their weights as float32. One difference remains: PyTorch adds epsilon after it has corrected Adam's
averages, the others before.
"""

import functools
import json
import os
import runpy
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import input_data

BATCH_SIZE = 100
REAL = "MNIST_DATA" in os.environ  # else all learn from generated digits


def read(data_dir, fake_data=not REAL):
    return input_data.read_data_sets(data_dir, fake_data=fake_data, validation_size=0)


def build():
    """Return TensorFlow, a session with the lesson's graph, and the graph's parts."""
    import mnist
    from support import tensorflow1
    from support.settings import read_settings

    with mnist.tf.Graph().as_default():
        model = mnist.build(read_settings(vars(mnist), ["--logdir", tempfile.mkdtemp()]))
        config = None
        if hasattr(tensorflow1, "config"):
            config = tensorflow1.config(tensorflow1.precision())
        session = mnist.tf.Session(config=config)
        session.run(mnist.tf.global_variables_initializer())
    return mnist.tf, session, model


# ----------------------------------------------------------------------------------------- workers
# Each function prepares some work, and returns a function that does it a given number of times.


def lesson_steps(data_dir):
    """Train the lesson's graph: no accuracy, no curves, no histograms."""
    data, (_, session, model) = read(data_dir).train, build()

    def train(steps):
        for _ in range(steps):
            images, labels = data.next_batch(BATCH_SIZE)
            session.run(model.train_step, {model.images: images, model.labels: labels})

    return train


def keras_steps(data_dir, best=False, bfloat16=False):
    """Train with Keras's `fit`; if `best`, with oneDNN's kernels and 50 steps for each Python call.

    TensorFlow switches oneDNN on by itself if the processor has AVX-512's instructions for neural
    networks.
    """
    if best:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    import keras
    from keras import layers

    if bfloat16:
        keras.config.set_dtype_policy("mixed_bfloat16")
    data = read(data_dir).train
    images = data.images.reshape(-1, 28, 28, 1)
    start = {
        "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.1),
        "bias_initializer": keras.initializers.Constant(0.1),
    }
    model = keras.Sequential(
        [
            layers.Input([28, 28, 1]),
            layers.Conv2D(16, 5, padding="same", activation="relu", **start),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(1024, activation="relu", **start),
            layers.Dense(10, **start),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.0001, epsilon=1e-8),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=50 if best else 1,
    )

    class Epoch(keras.callbacks.Callback):
        """Measures an epoch. After it, `fit` often waits a second, whatever the epoch's length."""

        def on_epoch_begin(self, epoch, logs=None):
            self.began = clocks()

        def on_epoch_end(self, epoch, logs=None):
            self.taken = clocks() - self.began

    def train(steps):
        count, epoch = steps * BATCH_SIZE, Epoch()
        chosen = {"batch_size": BATCH_SIZE, "callbacks": [epoch], "verbose": 0}
        model.fit(images[:count], data.labels[:count], **chosen)
        return epoch.taken

    return train


def pytorch_steps(data_dir, best=False, compiled=False, bfloat16=False):
    """Train with PyTorch as its tutorials do; if `best`, with its faster functions."""
    import torch

    torch.set_num_threads(int(os.environ["CORES"]))
    layout = torch.channels_last if best else torch.contiguous_format
    data = read(data_dir).train
    all_images = torch.from_numpy(data.images).reshape(-1, 1, 28, 28)
    all_images = all_images.contiguous(memory_format=layout)
    all_labels = torch.from_numpy(data.labels).long()
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 5, padding="same"),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(14 * 14 * 16, 1024),
        torch.nn.ReLU(),
        torch.nn.Linear(1024, 10),
    ).to(memory_format=layout)
    for layer in [model[0], model[4], model[6]]:
        torch.nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
        torch.nn.init.constant_(layer.bias, 0.1)
    loss_function = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 0.0001, fused=best or None)
    pairs = torch.utils.data.TensorDataset(all_images, all_labels)
    loader = torch.utils.data.DataLoader(pairs, BATCH_SIZE, shuffle=True)
    network = torch.compile(model) if compiled else model

    def endless_batches():
        while True:
            if best:
                for rows in torch.randperm(len(all_images)).split(BATCH_SIZE):
                    yield all_images[rows], all_labels[rows]
            else:
                yield from loader

    batches = endless_batches()

    def train(steps):
        for _ in range(steps):
            images, labels = next(batches)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = loss_function(network(images), labels)
            loss.backward()
            optimizer.step()

    return train


def read_again(data_dir, fake_data, anew=False):
    """Read data sets; with `anew`, draw generated digits each time, otherwise once before."""
    if fake_data and not anew:
        data_dir = tempfile.mkdtemp()
        read(data_dir, fake_data)

    def work(times):
        for _ in range(times):
            read(tempfile.mkdtemp() if anew else data_dir, fake_data)

    return work


BEST = {"best": True}
BFLOAT16 = BEST | {"bfloat16": True}
WORKERS = {
    "this project": lesson_steps,
    "Keras `fit`": keras_steps,
    "Keras at its best": functools.partial(keras_steps, **BEST),
    "Keras at its best, bfloat16": functools.partial(keras_steps, **BFLOAT16),
    "PyTorch as its tutorials write it": pytorch_steps,
    "PyTorch at its best": functools.partial(pytorch_steps, **BEST),
    "PyTorch at its best, compiled": functools.partial(pytorch_steps, **BEST, compiled=True),
    "PyTorch at its best, bfloat16": functools.partial(pytorch_steps, **BFLOAT16),
    "PyTorch at its best, compiled, bfloat16": functools.partial(
        pytorch_steps, **BFLOAT16, compiled=True
    ),
    "MNIST": functools.partial(read_again, fake_data=False),
    "generated digits, drawn before": functools.partial(read_again, fake_data=True),
    "generated digits, drawn anew": functools.partial(read_again, fake_data=True, anew=True),
}


def clocks():
    """Return two clocks in seconds, an array: the time, and the processor time of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def work(name, data_dir):
    """For each number in the input, do the work that many times; print the time that it took."""
    answers, sys.stdout = sys.stdout, sys.stderr  # a library may print to stdout
    do = WORKERS[name](data_dir)
    for line in sys.stdin:
        began = clocks()
        taken = do(int(line))
        taken = clocks() - began if taken is None else taken
        print(json.dumps(taken.tolist()), file=answers, flush=True)


# -------------------------------------------------------------------------------------- whole runs
# Complete programs. The last line that they print is a JSON array: when the first and the last step
# began, by time.monotonic(), and the number of steps between them.


def lesson(*flags):
    """Run mnist.py with flags, and note the time whenever it takes a batch to train on."""
    times, next_batch = [], input_data.DataSet.next_batch

    def timed_next_batch(self, size, *others):
        if size == BATCH_SIZE:  # a test takes 500
            times.append(time.monotonic())
        return next_batch(self, size, *others)

    input_data.DataSet.next_batch = timed_next_batch
    sys.argv = ["mnist.py", *flags]
    try:
        runpy.run_path(str(Path(input_data.__file__).with_name("mnist.py")), run_name="__main__")
    finally:
        print(json.dumps([times[0], times[-1], len(times) - 1]))


def tutorial(data_dir, steps):
    """Train the lesson's graph, logged as TensorFlow's tutorial of 2017 did, without checkpoints.

    Every five steps the batch goes through the network once more, for the accuracy, the histograms
    of all weights, biases and activations, and three pictures of the input.
    """
    data, (tf, session, model) = read(data_dir).train, build()
    with session.graph.as_default() as graph:
        relus = [made.outputs[0] for made in graph.get_operations() if made.type == "Relu"]
        shown = [*tf.trainable_variables(), *relus, model.logits]
        pictures = tf.reshape(model.images, [-1, 28, 28, 1])
        summary = tf.summary.merge(
            [
                *[tf.summary.histogram(tensor.op.name, tensor) for tensor in shown],
                tf.summary.scalar("tutorial/loss", model.loss),
                tf.summary.scalar("tutorial/accuracy", model.accuracy),
                tf.summary.image("tutorial/input", pictures, max_outputs=3),
            ]
        )
        writer = tf.summary.FileWriter(tempfile.mkdtemp(), graph)
    first = time.monotonic()
    for step in range(int(steps)):
        images, labels = data.next_batch(BATCH_SIZE)
        batch = {model.images: images, model.labels: labels}
        if step % 5 == 0:
            _, event = session.run([model.accuracy, summary], batch)
            writer.add_summary(event, step)
        session.run(model.train_step, batch)
    writer.close()
    print(json.dumps([first, time.monotonic(), int(steps)]))


if __name__ == "__main__":
    {"work": work, "lesson": lesson, "tutorial": tutorial}[sys.argv[1]](*sys.argv[2:])
