"""Train a small neural network to read handwritten digits, and watch it learn in TensorBoard.

python mnist.py                          # one terminal
tensorboard --logdir=mnist_example/      # another
"""

import support.hidden_modules  # noqa: F401 isort: skip (it reports a file that hides a module)
from collections import namedtuple

import numpy as np

import input_data
from support import summaries, terminal
from support.run import Run
from support.settings import read_settings
from support.tensorflow1 import tf  # the TensorFlow 1 that today's TensorFlow contains

# ---------------- the constants: change one, train again, and compare (or use a flag: --epochs 500)
LEARNING_RATE = 0.0001  # how far one training step moves the weights
EPOCHS = 2000  # training steps of one batch each (elsewhere, an epoch is a pass over all images)
NETWORK = "convolutional"  # or "softmax", a single layer, to compare with
BATCH_SIZE = 100  # how many images the network sees in one step
SEED = None  # a whole number makes a run repeatable; with None, each run starts differently
DATA_DIR = "MNIST_data/"  # the folder that holds the images, beside this file
LOGDIR = "mnist_example/"  # the folder that TensorBoard reads; each run gets its own folder there
POINTS = 200  # about how many points a curve of a long run has
KERNELS = 16  # how many patterns the convolutional layer looks for
NEURONS = 1024  # how many neurons the first fully connected layer has
SHIFT = 0  # by up to how many pixels each training image is moved, at random, each time it is used
OWN_DIGITS = 0  # how many images of each batch come from digits that you drew and named
CONTINUE = None  # the name of a run's folder, or "newest": that run continues to step EPOCHS

# ------------------------------------------------------------------------------------- the network
#   images   28 x 28 x 1    pixels, from 0 (paper) to 1 (ink)
#   conv     28 x 28 x 16   how well each of the 16 kernels (5x5) fits at each place
#            14 x 14 x 16   the best fit in each block of 2x2 places
#   fc1      1024           fully connected: each neuron has a weight for each number above
#   fc2      10             logits, a score for each digit: the largest is the answer


def convolutional(images, kernels, neurons):
    """Build a convolutional and two fully connected layers: (n, 28 * 28 = 784) to (n, 10)."""
    square = tf.reshape(images, [-1, 28, 28, 1], name="square")  # n, rows, columns, 1 grey channel
    conv = convolutional_layer(square, 1, kernels, "conv")
    flat = tf.reshape(conv, [-1, 14 * 14 * kernels], name="flat")
    fc1 = fully_connected_layer(flat, 14 * 14 * kernels, neurons, "fc1")
    hidden = tf.nn.relu(fc1, name="hidden")
    return fully_connected_layer(hidden, neurons, 10, "fc2")


def network(images, settings):
    """Build the network chosen in `settings`: images, float32 (n, 784), to logits, (n, 10)."""
    if settings.network == "softmax":  # softmax regression: a single layer
        return fully_connected_layer(images, 784, 10, "fc")
    return convolutional(images, settings.kernels, settings.neurons)


# ------------------------------------------------------------------------ the layers of the network


def convolutional_layer(input, size_in, size_out, name):
    """Look for small patterns: float32 (n, 28, 28, size_in) to (n, 14, 14, size_out)."""
    with tf.name_scope(name):
        # The network learns the weights W and the biases B. W starts with random values, so that
        # the kernels differ. B starts above 0, so that at first more sums are above 0.
        W = tf.Variable(tf.truncated_normal([5, 5, size_in, size_out], stddev=0.1), name="Weights")
        B = tf.Variable(tf.constant(0.1, shape=[size_out]), name="Biases")
        # Each kernel slides over the image and sums its 25 weights times the 25 pixels under it.
        # SAME puts a border of zeros (paper) around the image, so that the size stays 28 x 28.
        convolution = tf.nn.conv2d(input, W, strides=[1, 1, 1, 1], padding="SAME")
        # ReLU replaces negative numbers by 0. Without it, several layers could do no more than one.
        activation = tf.nn.relu(convolution + B)
        tf.summary.histogram("weight", W)  # for TensorBoard: how the values are distributed
        tf.summary.histogram("bias", B)
        tf.summary.histogram("activation", activation)
        # Pooling keeps the largest of each 2x2 block: moving a digit by a pixel changes little.
        return tf.nn.max_pool(activation, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def fully_connected_layer(input, size_in, size_out, name):
    """Connect every input to every output: float32 (n, size_in) to (n, size_out)."""
    with tf.name_scope(name):
        W = tf.Variable(tf.truncated_normal([size_in, size_out], stddev=0.1), name="Weights")
        B = tf.Variable(tf.constant(0.1, shape=[size_out]), name="Biases")
        activation = tf.matmul(input, W) + B  # no ReLU here: logits may be negative
        tf.summary.histogram("weight", W)
        tf.summary.histogram("bias", B)
        tf.summary.histogram("activation", activation)
        return activation


# ------------------------------------------------------------------------------ the loss to reduce

Model = namedtuple("Model", "images labels logits loss accuracy train_step histograms curves")


def build(settings):
    """Build the network and its training step in the current graph; return them as a Model.

    images: float32 (n, 784); labels: int64 (n,); logits: float32 (n, 10); loss, accuracy: scalars.
    """
    # TensorFlow 1 first builds a graph, the plan of all computations. Nothing is computed yet: a
    # placeholder stands for an input whose values are given later.
    with tf.name_scope("input"):  # a box in TensorBoard's picture of the graph
        images = tf.placeholder(tf.float32, [None, 784], name="images")
        labels = tf.placeholder(tf.int64, [None], name="labels")
    logits = network(images, settings)
    with tf.name_scope("cross_entropy"):
        # Softmax turns ten logits into ten probabilities. Cross-entropy is minus the logarithm of
        # the right digit's probability: 0 is perfect, ten equal probabilities give ln 10 = 2.30.
        # An untrained network is at 3 to 5: it guesses, and its guesses are confident.
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        loss = tf.reduce_mean(cross_entropy)
    with tf.name_scope("correct"):
        correct = tf.equal(tf.argmax(logits, 1), labels)  # is the right digit's logit the largest?
        accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))  # the share of right answers
    with tf.variable_scope("train"):  # a variable_scope also contains Adam's variables
        # Backpropagation goes back through the layers and computes the gradient: how much the loss
        # rises with each weight and bias. Adam moves each of them in the opposite direction, by
        # about the learning rate, or by less if the sign of its gradient keeps changing.
        train_step = tf.train.AdamOptimizer(settings.learning_rate).minimize(loss)
    tf.summary.scalar("Accuracy", accuracy, ["curves"])  # in a separate collection, because they
    tf.summary.scalar("Loss", loss, ["curves"])  # are logged more often than the histograms
    histograms, curves = tf.summary.merge_all(), tf.summary.merge_all("curves")
    return Model(images, labels, logits, loss, accuracy, train_step, histograms, curves)


# --------------------------------------------------------------------------------------- training


def train(settings, data, run):
    """Train on data.train, test on data.test, and log for TensorBoard in the run's folder.

    settings, data, run: see read_settings, read_data_sets, Run. Raises Problem if training fails.
    """
    # A session computes parts of the graph, and keeps the values of W and B from step to step. With
    # run.config it multiplies numbers of 16 bits (bfloat16) if this processor is faster with them.
    # `with run` records how the run ends, and ends it cleanly after Ctrl-C.
    with run, tf.Graph().as_default() as graph, tf.Session(config=run.config) as session:
        tf.set_random_seed(settings.seed)
        model = build(settings)
        # Two writers give two curves in one chart. While both accuracies rise, the network learns
        # what helps to read any digit. If only `train` rises, it memorizes images: overfitting.
        train_writer = tf.summary.FileWriter(str(run.folder / "train"), graph)
        test_writer = tf.summary.FileWriter(str(run.folder / "test"))
        session.run(tf.global_variables_initializer())  # gives W and B their first values
        for step, due in run.steps(session, train_writer, test_writer):  # due: what to log now
            images, labels = data.train.next_batch(settings.batch_size)
            batch = {model.images: images, model.labels: labels}  # values for the placeholders
            if due.histograms:
                train_writer.add_summary(session.run(model.histograms, batch), step)
            if due.test:  # 500 of the test images, or all of them
                logits, accuracy, loss, curves = evaluate(session, model, *due.test)
                run.note_test(accuracy, loss)
                test_writer.add_summary(curves, step)
                if data.own_test:  # every fourth of your own digits: it never trains on these
                    own_accuracy = evaluate(session, model, *data.own_test)[1]
                    summaries.log_own_test(test_writer, step, own_accuracy)
            if due.pictures:  # the test was on all test images
                summaries.log_mistakes(test_writer, step, data.test, logits)
            if due.last:
                break
            # The session computes all that is listed; loss and curves are those before the step.
            _, loss, curves = session.run([model.train_step, model.loss, model.curves], batch)
            run.note_training(loss)  # ends the run if the loss is no longer a finite number
            if due.train:
                train_writer.add_summary(curves, step)
        summaries.write_projector(test_writer, session, model, data.test)


def evaluate(session, model, images, labels):
    """Return logits, (n, 10), accuracy, loss and curves for images, (n, 784), and labels, (n,)."""
    # Run the network in parts, to save memory. A session accepts a value for any tensor: it gets
    # the logits here, so that it does not compute the network again.
    parts = [images[i : i + 1000] for i in range(0, len(images), 1000)]
    logits = np.concatenate([session.run(model.logits, {model.images: part}) for part in parts])
    given = {model.logits: logits, model.labels: labels}
    return logits, *session.run([model.accuracy, model.loss, model.curves], given)


def main(flags=()):
    """Run one experiment with the constants above; each flag replaces one of them."""
    settings = read_settings(globals(), flags)
    data = input_data.read_or_generate(settings)
    run = Run(settings, data)
    train(settings, data, run)
    run.say_result()


if __name__ == "__main__":
    terminal.program(main)
