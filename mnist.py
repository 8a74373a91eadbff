"""Train a small neural network to read handwritten digits, and watch it learn in TensorBoard.

    python mnist.py                          # one terminal
    tensorboard --logdir=mnist_example/      # another
Then change a constant, run it again, and compare the curves.
"""

import collections

import input_data
from support import run as runs
from support import summaries, terminal
from support.settings import read_settings
from support.tensorflow1 import tf  # TensorFlow 1, as today's TensorFlow contains it

import numpy as np

# ------------------------- the constants (a flag replaces one for a single run: --epochs 500)

LEARNING_RATE = 0.0001  # how far one training step moves the weights
EPOCHS = 2000  # training steps, of one batch each (elsewhere, an epoch is a pass over all images)
NETWORK = "convolutional"  # or "softmax", a single layer, to compare it with
BATCH_SIZE = 100  # how many images a batch has: what the network sees in one step
SEED = None  # a whole number makes a run repeatable; with None, every run starts differently
DATA_DIR = "MNIST_data/"  # where the images are kept, beside this file
LOGDIR = "mnist_example/"  # where TensorBoard looks, beside this file: each run gets a folder there
POINTS = 200  # about how many points a curve of a long run has
KERNELS = 16  # how many patterns the convolutional layer looks for
NEURONS = 1024  # how many neurons the first fully connected layer has

# ------------------------------------------------------------------------------------- the network
#   images   28 x 28 x 1    pixels, from 0 (paper) to 1 (ink)
#   conv     28 x 28 x 16   how well each of 16 kernels of 5x5 fits at each place
#            14 x 14 x 16   of every 2x2 places, the best fit
#   fc1      1024           fully connected: each neuron weighs all of these 14 x 14 x 16 numbers
#   fc2      10             logits, a score for each digit: the largest is the answer


def convolutional(images, kernels, neurons):
    """A convolutional and two fully connected layers: (n, 28 * 28 = 784) to logits, (n, 10)."""
    square = tf.reshape(images, [-1, 28, 28, 1], name="square")  # n, rows, columns, 1 grey channel
    conv = convolutional_layer(square, 1, kernels, "conv")
    flat = tf.reshape(conv, [-1, 14 * 14 * kernels], name="flat")
    fc1 = fully_connected_layer(flat, 14 * 14 * kernels, neurons, "fc1")
    hidden = tf.nn.relu(fc1, name="hidden")
    return fully_connected_layer(hidden, neurons, 10, "fc2")


def softmax(images):
    """Softmax regression, a single layer (softmax itself is in the loss): (n, 784) to (n, 10)."""
    return fully_connected_layer(images, 784, 10, "fc")


def network(images, settings):
    """Build the network that `settings` name: images, float32 (n, 784), to logits, (n, 10)."""
    if settings.network == "softmax":
        return softmax(images)
    return convolutional(images, settings.kernels, settings.neurons)


# -------------------------------------------------------------------------------------- its layers


def convolutional_layer(input, size_in, size_out, name):
    """Look for small patterns: float32 (n, 28, 28, size_in) to (n, 14, 14, size_out)."""
    with tf.name_scope(name):
        # Learned are the weights W and the biases B. Kernels that start alike would learn the same,
        # so W starts random. B, added to each sum, starts above 0: few sums are then below 0.
        W = tf.Variable(tf.truncated_normal([5, 5, size_in, size_out], stddev=0.1), name="Weights")
        B = tf.Variable(tf.constant(0.1, shape=[size_out]), name="Biases")
        # Each kernel slides over the image; at every place (strides of 1), its 25 weights times the
        # 25 pixels under it are summed. SAME puts zeros, paper, around: so 28 x 28 stays.
        convolution = tf.nn.conv2d(input, W, strides=[1, 1, 1, 1], padding="SAME")
        # ReLU makes 0 of what is below 0: by sums alone, several layers could do no more than one.
        activation = tf.nn.relu(convolution + B)
        tf.summary.histogram("weight", W)  # for TensorBoard: how the values are spread
        tf.summary.histogram("bias", B)
        tf.summary.histogram("activation", activation)
        # Pooling keeps the largest of every 2x2: a digit moved by a pixel gives nearly the same.
        return tf.nn.max_pool(activation, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def fully_connected_layer(input, size_in, size_out, name):
    """Connect every input with every output: float32 (n, size_in) to (n, size_out)."""
    with tf.name_scope(name):
        W = tf.Variable(tf.truncated_normal([size_in, size_out], stddev=0.1), name="Weights")
        B = tf.Variable(tf.constant(0.1, shape=[size_out]), name="Biases")
        activation = tf.matmul(input, W) + B  # of fc1, ReLU comes after this; of fc2, the logits
        tf.summary.histogram("weight", W)
        tf.summary.histogram("bias", B)
        tf.summary.histogram("activation", activation)
        return activation


# ------------------------------------------------------------- what is to be learned: a small loss

Model = collections.namedtuple("Model", "images labels logits loss accuracy train_step histograms")


def build(settings):
    """Build the network and its training in the current graph, and return its parts as a Model.

    images: float32 (n, 784); labels: int64 (n,); logits: float32 (n, 10); loss, accuracy: scalars.
    """
    # TensorFlow 1 first builds a graph, the plan of all computations; from the plan it can find the
    # gradients. Nothing is computed yet: a placeholder is an input that is given only later.
    with tf.name_scope("input"):  # a box in TensorBoard's picture of the graph
        images = tf.placeholder(tf.float32, [None, 784], name="images")
        labels = tf.placeholder(tf.int64, [None], name="labels")
    logits = network(images, settings)
    with tf.name_scope("loss"):
        # Softmax turns ten logits into ten probabilities. Cross-entropy is minus the logarithm of
        # the right digit's probability: 0 is perfect, and 1/10 for each digit gives ln 10 = 2.30.
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        loss = tf.reduce_mean(cross_entropy)
    with tf.name_scope("accuracy"):  # the share of the images that are read correctly
        accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))
    with tf.variable_scope("train"):
        # Backpropagation goes from the loss back through the layers and finds the gradient: how
        # much the loss rises with each weight and bias. Adam moves each the other way, by about the
        # learning rate, and by less where the gradient points now up, now down.
        train_step = tf.train.AdamOptimizer(settings.learning_rate).minimize(loss)
    return Model(images, labels, logits, loss, accuracy, train_step, tf.summary.merge_all())


# --------------------------------------------------------------------------------------- training


def train(settings, data, run):
    """Train on data.train, test on data.test, log for TensorBoard in the folder of `run`, a Run.

    settings, data: see read_settings, read_data_sets. Raises terminal.Problem if it cannot go on.
    """
    # A session computes parts of the graph, and keeps the values of W and B from step to step.
    with run, tf.Graph().as_default() as graph, tf.Session() as session:
        tf.set_random_seed(settings.seed)
        model = build(settings)
        # Two writers, two curves in one chart. While both accuracies rise, the network learns what
        # helps with any digit; if only `train` goes on, it learns images by heart: overfitting.
        train_writer = tf.summary.FileWriter(str(run.folder / "train"), graph)
        test_writer = tf.summary.FileWriter(str(run.folder / "test"))
        session.run(tf.global_variables_initializer())  # gives W and B their first values
        for step, due in run.steps(session, train_writer, test_writer):  # due: what to log now
            images, labels = data.train.next_batch(settings.batch_size)
            batch = {model.images: images, model.labels: labels}  # what the placeholders stand for
            if due.histograms:
                histograms = session.run(model.histograms, batch)
                train_writer.add_summary(summaries.in_group(histograms), step)
            if due.test:
                accuracy, loss, logits = evaluate(session, model, *due.test)  # 500 images, or all
                test_writer.add_summary(summaries.curves(accuracy, loss), step)
                run.note_test(accuracy, loss, len(logits))
            if due.pictures:  # this test was on all of data.test
                summaries.log_mistakes(test_writer, step, data.test, logits)
            if due.last:
                break
            # The session computes what the list names; accuracy and loss are from before the step.
            _, accuracy, loss = session.run([model.train_step, model.accuracy, model.loss], batch)
            if due.train:
                train_writer.add_summary(summaries.curves(accuracy, loss), step)
            run.note_training(loss)
        summaries.write_projector(test_writer, session, model, data.test)


def evaluate(session, model, images, labels):
    """Return accuracy, 0 to 1, loss, and logits, (n, 10), of images, (n, 784), labels, (n,)."""
    # In parts, to save memory. Then the logits are given in place of the images behind them.
    parts = [images[i : i + 1000] for i in range(0, len(images), 1000)]
    logits = np.concatenate([session.run(model.logits, {model.images: part}) for part in parts])
    given = {model.logits: logits, model.labels: labels}
    return (*session.run([model.accuracy, model.loss], given), logits)


# ------------------------------------------------------------------------------------- the program


@terminal.in_plain_words  # what goes wrong is told in a sentence
def main(flags=()):
    """Run one experiment with the constants above; a flag replaces one of them."""
    settings = read_settings(globals(), flags)
    data = input_data.read_or_generate(settings.data_dir, settings.seed)
    run = runs.Run(settings, data)
    train(settings, data, run)
    run.say_result()


if __name__ == "__main__":
    terminal.program(main)
