"""Train a small neural network to read handwritten digits, and watch it learn in TensorBoard.

    python mnist.py                          # one terminal
    tensorboard --logdir=mnist_example/      # another

Change LEARNING_RATE or EPOCHS below, or give them as flags (--epochs 500), run it again, and compare the curves.
"""

import collections
import contextlib
import math
import os
import shlex
import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports: no traceback

import numpy as np

import input_data
from support import terminal

os.environ.setdefault(
    "TF_ENABLE_ONEDNN_OPTS", "1"
)  # fast kernels, which TensorFlow leaves off on many processors
with terminal.quiet():
    import tensorflow.compat.v1 as tf
from support import summaries

LEARNING_RATE = 0.0001  # how far one training step moves the weights
EPOCHS = 2000  # how many training steps, of one batch each
NETWORK = "convolutional"  # or "softmax", a single layer, to compare it with
BATCH_SIZE = 100  # how many images the network sees in one step
SEED = None  # a whole number makes the run repeatable; None starts each from other weights
DATA_DIR = "MNIST_data/"  # where the images are kept, beside this file
LOGDIR = (
    "mnist_example/"  # where TensorBoard looks, beside this file: each run gets a folder in there
)
EVALUATE_EVERY = 100  # steps from one test to the next, on all test images
HISTOGRAMS_EVERY = 100  # steps from one histogram of all weights and biases to the next
BATCH_CURVES_EVERY = 10  # steps from one point of the training curves to the next
TEST_BATCH_SIZE = 1000  # the convolution of all 10,000 test images at once would fill a gigabyte
HERE = os.path.dirname(os.path.abspath(__file__))


def weights_and_biases(shape):
    """Make the numbers that a layer learns: `Weights` of the given shape, and one of `Biases` per output."""
    # Neurons that start alike learn the same and stay alike: hence random weights. Biases a little above 0 let most
    # ReLUs start on the side where a change of weights changes something.
    return (
        tf.Variable(tf.truncated_normal(shape, stddev=0.1), name="Weights"),
        tf.Variable(tf.constant(0.1, shape=shape[-1:]), name="Biases"),
    )


def conv_layer(input, size_in, size_out, name):
    """Look for `size_out` small patterns in images: float32 (n, h, w, size_in) to (n, h / 2, w / 2, size_out)."""
    with tf.name_scope(name):
        W, B = weights_and_biases(
            [5, 5, size_in, size_out]
        )  # each pattern is a kernel of 5x5 weights
        convolution = tf.nn.conv2d(input, W, strides=[1, 1, 1, 1], padding="SAME")
        activation = tf.nn.relu(convolution + B)  # ReLU: whatever is below 0 becomes 0
        # Of every 2x2 places, keep the best fit of the pattern: so a digit may be shifted a little.
        return tf.nn.max_pool(activation, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def fc_layer(input, size_in, size_out, name):
    """Connect every input with every output: float32 (n, size_in) to float32 (n, size_out)."""
    with tf.name_scope(name):
        W, B = weights_and_biases([size_in, size_out])
        return tf.matmul(input, W) + B


def convolutional(images):
    """A convolutional and two fully connected layers: images, float32 (n, 784), to logits, float32 (n, 10)."""
    square = tf.reshape(images, [-1, 28, 28, 1], name="square")
    conv = conv_layer(square, 1, 16, "conv")
    flat = tf.reshape(conv, [-1, 14 * 14 * 16], name="flat")
    hidden = tf.nn.relu(fc_layer(flat, 14 * 14 * 16, 1024, "fc1"), name="hidden")
    return fc_layer(hidden, 1024, 10, "fc2")


def softmax(images):
    """A single fully connected layer: images, float32 (n, 784), to logits, float32 (n, 10)."""
    return fc_layer(images, 784, 10, "fc")


NETWORKS = {"convolutional": convolutional, "softmax": softmax}
Model = collections.namedtuple(
    "Model", "images labels logits loss accuracy train_step weights_summary"
)


def build(network, learning_rate):
    """Draw the plan of a network, and of its training, into the current graph; nothing is computed yet.

    Returns a Model: placeholders for `images`, float32 (n, 784), and `labels`, int64 (n,); the network's `logits`,
    float32 (n, 10); `loss` and `accuracy`, float32 scalars; the operations `train_step` and `weights_summary`.
    """
    tf.enable_resource_variables()  # a quarter faster on two cores than TensorFlow 1's first kind of variable
    with tf.name_scope("input"):
        images = tf.placeholder(tf.float32, [None, 784], name="images")
        labels = tf.placeholder(tf.int64, [None], name="labels")
    # Logits: ten numbers for an image. The largest is the answer; the softmax function makes probabilities of them.
    logits = NETWORKS[network](images)
    with tf.name_scope("loss"):
        # Cross-entropy: minus the logarithm of the probability that the network gave to the right digit.
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )
    with tf.name_scope("accuracy"):
        accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))
    weights_summary = summaries.of_weights(tf.trainable_variables())
    with tf.variable_scope("train"):  # keeps the optimizer's own variables out of the layers
        # The gradient tells for every weight whether the loss falls when it grows or when it shrinks, and how steeply.
        # Adam moves each a little that way, by a step width that it adapts to the weight's recent gradients.
        train_step = tf.train.AdamOptimizer(learning_rate).minimize(loss)
    return Model(images, labels, logits, loss, accuracy, train_step, weights_summary)


class Diverged(ArithmeticError):
    """The loss or a weight is infinite or NaN (not a number): nothing can be learned any more."""


Result = collections.namedtuple("Result", "step accuracy loss checkpoint signal")


def run_folder(logdir, network, learning_rate, epochs, data_name):
    """Create the folder of a new run in `logdir`, with a name that tells the experiment, and return its path."""
    name = f"{network},lr={learning_rate},epochs={epochs}"
    return summaries.new_folder(
        logdir, name + (",generated-digits" if data_name == input_data.GENERATED else "")
    )


def train(
    data,
    folder,
    network=NETWORK,
    learning_rate=LEARNING_RATE,
    epochs=EPOCHS,
    batch_size=BATCH_SIZE,
    seed=SEED,
):
    """Train a network on `data.train`, test it on `data.test`, and log everything for TensorBoard in `folder`.

    `data`: see `input_data.read_data_sets`. Returns a Result: steps done, accuracy (0 to 1) and loss on all test images
    then, path of the checkpoint, number of the signal that ended it early or None. Raises Diverged if numbers overflow.
    """
    quarter = EVALUATE_EVERY * max(
        1, round(epochs / EVALUATE_EVERY / 4)
    )  # time for pictures, and to save
    with tf.Graph().as_default() as graph, contextlib.ExitStack() as on_exit:
        signals = on_exit.enter_context(terminal.noted_signals())
        tf.set_random_seed(seed)
        model = build(network, learning_rate)
        # Two writers in two folders: TensorBoard draws both curves into one chart.
        train_writer = on_exit.enter_context(
            tf.summary.FileWriter(os.path.join(folder, "train"), graph)
        )
        test_writer = on_exit.enter_context(tf.summary.FileWriter(os.path.join(folder, "test")))
        on_exit.enter_context(
            summaries.experiment(
                test_writer,
                folder,
                network=network,
                data=data.train.name,
                learning_rate=learning_rate,
                epochs=epochs,
                batch_size=batch_size,
            )
        )
        saver = tf.train.Saver(tf.trainable_variables(), max_to_keep=1)
        session = on_exit.enter_context(tf.Session())
        session.run(tf.global_variables_initializer())
        bar = on_exit.enter_context(terminal.progress_bar(epochs))
        for step in range(epochs + 1):
            if (
                step > 0
            ):  # step 0 only tests the untrained network, so that the curves begin at guessing
                # Run computes what the list asks for, and fills the placeholders with this batch to do so.
                images, labels = data.train.next_batch(batch_size)
                _, accuracy, loss = session.run(
                    [model.train_step, model.accuracy, model.loss],
                    {model.images: images, model.labels: labels},
                )
                if not math.isfinite(loss):
                    raise Diverged(f"The loss is {loss} at step {step}")
                if step % BATCH_CURVES_EVERY == 0:
                    summaries.log_scalars(train_writer, step, accuracy, loss)
            last = step == epochs or bool(signals)
            if step % HISTOGRAMS_EVERY == 0 or last:
                try:
                    train_writer.add_summary(session.run(model.weights_summary), step)
                except tf.errors.InvalidArgumentError as error:
                    raise Diverged(
                        f"A weight is not a finite number any more at step {step}"
                    ) from error
            if step % EVALUATE_EVERY == 0 or last:
                test_accuracy, test_loss, logits = evaluate(session, model, data.test)
                if not math.isfinite(test_loss):
                    raise Diverged(f"The loss on the test images is {test_loss} at step {step}")
                summaries.log_scalars(test_writer, step, test_accuracy, test_loss)
                if step % quarter == 0 or last:
                    summaries.log_mistakes(test_writer, step, data.test, logits)
                summaries.flush(
                    train_writer, test_writer
                )  # a TensorBoard that reloads now shows the run up to here
            if (
                last or step > 0 and step % quarter == 0
            ):  # takes the place of the one before, which is deleted
                # "newest" will name the checkpoint. The usual name would make TensorBoard's projector show raw weights.
                checkpoint = saver.save(
                    session, f"{folder}/model.ckpt", step, "newest", write_meta_graph=False
                )
            if step > 0:
                bar.set_postfix_str(
                    f"loss {loss:.3g}, test accuracy {test_accuracy:.1%}", refresh=False
                )
                bar.update()
            if last:
                break
        if network == "convolutional":
            activations = session.run(
                "hidden:0", {model.images: data.test.images[: summaries.EMBEDDED]}
            )
            summaries.write_projector(os.path.join(folder, "test"), activations, data.test, logits)
    return Result(step, test_accuracy, test_loss, checkpoint, signals[0] if signals else None)


def evaluate(session, model, data_set):
    """The network's accuracy (0 to 1) and loss, averaged over all images of `data_set`, and its logits, (n, 10)."""
    sums, logits = np.zeros(2), []
    for start in range(0, data_set.num_examples, TEST_BATCH_SIZE):
        batch = {
            model.images: data_set.images[start : start + TEST_BATCH_SIZE],
            model.labels: data_set.labels[start : start + TEST_BATCH_SIZE],
        }
        averages, answers = session.run([[model.accuracy, model.loss], model.logits], batch)
        sums += len(answers) * np.array(averages)
        logits.append(answers)
    return *sums / data_set.num_examples, np.concatenate(logits)


def load_data(data_dir, seed):
    """MNIST; or, when it can be had from nowhere, digits that the program draws itself."""
    try:
        return input_data.read_data_sets(data_dir, validation_size=0, seed=seed)
    except input_data.DownloadError as error:
        terminal.say(
            f"{error} Until then the network learns from digits that this program draws itself."
        )
        return input_data.read_data_sets(data_dir, fake_data=True, validation_size=0, seed=seed)
    except ValueError as error:
        sys.exit(f"{error}.")


def why_only_guessing(learning_rate, steps):
    """What it means that a trained network is right about as often as chance."""
    if (
        learning_rate * steps < 0.01
    ):  # Adam moves a weight by about the learning rate in a step; weights are about 0.1
        cause, cure = "have hardly moved", "a larger LEARNING_RATE or more EPOCHS"
    else:
        cause, cure = (
            "were thrown to where the image makes no difference any more",
            "a smaller LEARNING_RATE",
        )
    return f"That is no better than guessing: the weights {cause}. Try {cure}."


def main():
    """Run one experiment, as the constants and flags say."""
    settings = terminal.read_settings(
        HERE, globals()
    )  # the constants above, or the flags that take their place
    data = load_data(settings.data_dir, settings.seed)
    if settings.batch_size > data.train.num_examples:
        sys.exit(
            f"BATCH_SIZE {settings.batch_size} is more than all {data.train.num_examples} images: choose less."
        )
    terminal.check_memory(
        settings.batch_size, 150_000 if settings.network == "convolutional" else 10_000
    )  # measured
    folder = run_folder(
        settings.logdir, settings.network, settings.learning_rate, settings.epochs, data.train.name
    )
    device = "a GPU" if tf.config.list_physical_devices("GPU") else "the CPU"
    if device == "a GPU" and settings.seed is not None:
        os.environ["TF_DETERMINISTIC_OPS"] = (
            "1"  # else it would add numbers in another order each time
        )
    terminal.say(
        f"Training the {settings.network} network on {data.train.name}, with {device}: "
        f"{data.train.num_examples:,} images to learn from, {data.test.num_examples:,} to test it on.\n"
        f"Writing to {terminal.short(folder)}"
    )
    try:
        result = train(
            data,
            folder,
            settings.network,
            settings.learning_rate,
            settings.epochs,
            settings.batch_size,
            settings.seed,
        )
    except Diverged as error:
        sys.exit(
            f"{error}: LEARNING_RATE {settings.learning_rate} is too high for this network, try a smaller one."
        )
    except (
        RuntimeError,
        tf.errors.OpError,
    ) as error:  # TensorFlow's ways to say that memory or disk do not suffice
        if "OOM when allocating" in str(error):
            sys.exit(
                f"BATCH_SIZE {settings.batch_size} or TEST_BATCH_SIZE is too much for the memory: choose less."
            )
        sys.exit(
            f"{terminal.short(folder)} cannot be written to any more: {terminal.reason(error)}"
        )
    terminal.say(
        f"{'Stopped early. ' if result.signal else ''}Test accuracy {result.accuracy:.2%} after step "
        f"{result.step}, on {data.train.name}. The network is saved in {terminal.short(result.checkpoint)}"
    )
    if result.signal:
        sys.exit(128 + result.signal)
    if result.accuracy < 0.15:
        terminal.say(why_only_guessing(settings.learning_rate, result.step))
    logdir = os.path.join(terminal.short(settings.logdir), "")
    terminal.say(
        f"To see how it learned: tensorboard --logdir={shlex.quote(logdir)}\n"
        "Next, change LEARNING_RATE or EPOCHS at the top of mnist.py, run it again, and compare the curves."
    )


if __name__ == "__main__":
    with terminal.plain_errors():
        main()
