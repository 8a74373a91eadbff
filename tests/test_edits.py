"""The lesson survives its reader: whatever is deleted from mnist.py, or changed in it.

Each edit gives a run, or one sentence, or Python's own error at a line of the reader's mnist.py. It
never gives an error from inside support/ or input_data.py.

A third of the edits is tried, another third with another --seed, and all of them with --thorough.
"""

import ast
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helpers import PROJECT, forked
from helpers.small_mnist import TEST_IMAGES, TEST_LABELS, small_set, write
from page.networks import Refusal, TrainedRuns

SOURCE = (PROJECT / "mnist.py").read_text(encoding="utf-8")
CONTENTS = small_set(600, 40)
RUN, SENTENCE = "run", "sentence"  # what becomes of an edit; else the name of Python's error

# What somebody who learns does to the network and the loop. Below a name and what becomes of it
# stands what is replaced, everywhere in mnist.py, and by what; `|` stands for the end of a line.
EDITS = """
a second convolutional layer: run
    flat = tf.reshape( -> conv = convolutional_layer(conv, kernels, 6, "conv2"); flat = tf.reshape(
    14 * 14 * kernels -> 7 * 7 * 6
a second convolutional layer whose sizes do not fit: InvalidArgumentError
    flat = tf.reshape( -> conv = convolutional_layer(conv, kernels, 6, "conv2"); flat = tf.reshape(
a third fully connected layer: run
    hidden = -> fc1 = fully_connected_layer(fc1, neurons, neurons, "more"); hidden =
batch normalization: run
    activation = tf.nn.relu(convolution -> m, v = tf.nn.moments(convolution, [0, 1, 2]); \
activation = tf.nn.relu((convolution - m) / tf.sqrt(v + 0.001)
dropout by a rate: run
    relu(fc1, name="hidden") -> relu(fc1, name="hidden"); hidden = tf.nn.dropout(hidden, rate=0.5)
dropout by a placeholder: run
    relu(fc1 -> relu(tf.nn.dropout(fc1, tf.placeholder(tf.float32, name="keep"))
    model.labels: labels}  # -> model.labels: labels, "keep:0": 0.5}  #
    {model.images: part} -> {model.images: part, "keep:0": 1.0}
dropout by a placeholder without a value in the test: InvalidArgumentError
    relu(fc1 -> relu(tf.nn.dropout(fc1, tf.placeholder(tf.float32, name="keep"))
    model.labels: labels}  # -> model.labels: labels, "keep:0": 0.5}  #
twelve answers: run
    (hidden, neurons, 10, -> (hidden, neurons, 12,
dropout that is off unless a rate is fed: run
    relu(fc1 -> relu(tf.nn.dropout(fc1, rate=tf.placeholder_with_default(0.0, [], name="rate"))
    model.labels: labels}  # -> model.labels: labels, "rate:0": 0.5}  #
gradient descent: run
    AdamOptimizer( -> GradientDescentOptimizer(
momentum: run
    AdamOptimizer(settings.learning_rate) -> MomentumOptimizer(settings.learning_rate, 0.9)
a decaying rate: run
    train_step = tf -> n = tf.Variable(0, trainable=False); train_step = tf
    Optimizer(settings.learning_rate) -> Optimizer(tf.train.exponential_decay(0.001, n, 2, 0.9))
    minimize(loss) -> minimize(loss, global_step=n)
a decaying rate whose step is trainable: run
    train_step = tf -> n = tf.Variable(0); train_step = tf
    Optimizer(settings.learning_rate) -> Optimizer(tf.train.exponential_decay(0.001, n, 2, 0.9))
    minimize(loss) -> minimize(loss, global_step=n)
weight decay: run
    minimize(loss) -> minimize(loss + sum(tf.nn.l2_loss(v) for v in tf.trainable_variables()))
print in the loop: run
    run.note_training(loss) -> run.note_training(loss); print(step, loss)
break after some steps: run
    if due.last: -> if due.last or step == 3:
return after some steps: run
    if due.last: -> if step == 3:|                return|            if due.last:
a loop of one's own: run
    step, due in run.steps(session, train_writer, test_writer): -> step in range(9):
    if due.histograms: -> if step > 9:
    if due.test: -> if step > 9:
    if due.pictures: -> if step > 9:
    if due.last: -> if step > 9:
    if due.train: -> if step > 9:
no train_writer: run
    train_writer = tf.summary.FileWriter(str(run.folder / "train"), graph) -> pass
    train_writer -> test_writer
None for a writer: sentence
    session, train_writer, -> session, None,
nothing noted: run
    run.note_training(loss) -> pass
    run.note_test(accuracy, loss) -> pass
something else noted: sentence
    model.loss, model.curves], batch -> model.logits, model.curves], batch
no `with run`: run
    with run, -> with
no graph of its own: run
    tf.Graph().as_default() as graph, -> |
    , graph) -> )
the Projector when the session is closed: run
    |        summaries.write_projector -> |    summaries.write_projector
layers renamed: run
    "conv") -> "Convolution_Layer")
    "fc2") -> "Output_Layer")
variables without names: run
    , name="Weights" -> |
    , name="Biases" -> |
other kernels: run
    [5, 5, size_in -> [7, 4, size_in
strides of 2: run
    W, strides=[1, 1, 1, 1] -> W, strides=[1, 2, 2, 1]
    14 * 14 * kernels -> 7 * 7 * kernels
strides of 2 whose sizes do not fit: InvalidArgumentError
    W, strides=[1, 1, 1, 1] -> W, strides=[1, 2, 2, 1]
tanh and no pooling: run
    tf.nn.relu( -> tf.tanh(
    return tf.nn.max_pool(activation, -> return activation|        tf.nn.max_pool(activation,
    14 * 14 * kernels -> 28 * 28 * kernels
no hidden ReLU: run
    hidden = tf.nn.relu(fc1, name="hidden") -> hidden = fc1
tf.get_variable: run
    tf.name_scope(name) -> tf.variable_scope(name)
    tf.Variable(tf.constant(0.1, shape=[size_out]), name="Biases") -> tf.get_variable("B", size_out)
no histograms: run
    tf.summary.histogram( -> (
no curves: TypeError
    , ["curves"]) -> )
a picture and a curve more: run
    return Model -> tf.summary.image("x", tf.reshape(images, [-1, 28, 28, 1]), 3)|    return Model
    histograms, curves = -> tf.summary.scalar("own", loss, ["curves"])|    histograms, curves =
no Projector: run
    summaries.write_projector(test_writer, session, model, data.test) -> pass
no result: run
    run.say_result() -> pass
several runs: run
    |    terminal.program(main) -> |    for rate in [0.1, 0.01]: main(["--learning_rate", rate])
images of 28x28x1: run
    [None, 784] -> [None, 28, 28, 1]
    model.images: images -> model.images: images.reshape(-1, 28, 28, 1)
    model.images: part -> model.images: part.reshape(-1, 28, 28, 1)
images of 28x28x1 fed as rows: ValueError
    [None, 784] -> [None, 28, 28, 1]
one-hot labels: run
    tf.int64, [None] -> tf.float32, [None, 10]
    .sparse_softmax -> .softmax
    (logits, 1), labels) -> (logits, 1), tf.argmax(labels, 1))
    model.labels: labels -> model.labels: np.eye(10)[labels]
a test on other images: run
    *due.test) -> images, labels)
a loss that is infinite: sentence
    reduce_mean(cross_entropy) -> reduce_mean(cross_entropy) / 0
values too late: sentence
    session.run(tf.global_variables_initializer()) -> pass
    batch = { -> session.run(tf.global_variables_initializer()); batch = {
"""
UNSHOWN = {  # on the page
    "dropout by a placeholder": ("needs-more", "keep"),
    "twelve answers": ("no-logits", None),
}
CLEAR = r"""EPOCHS = 2e1; EPOCHS = "20"; EPOCHS = np.int64(20); EPOCHS = 60000 / 6000; SEED = 1.0
LEARNING_RATE = 1/10000; LEARNING_RATE = "0.001"; LEARNING_RATE = np.float32(0.01); SEED = "7"
NETWORK = "Softmax"; BATCH_SIZE = 1e2; SEED = np.uint8(7); POINTS = 1; KERNELS = "4"; NEURONS = 1e1
LOGDIR = "runs, 数字" """
UNCLEAR = r"""EPOCHS = "many"; EPOCHS = 0; EPOCHS = 20.5; EPOCHS = None; EPOCHS = [20]; EPOCH = 20
LEARNING_RATE = 0; LEARNING_RATE = 0,1; LEARNING_RATE = 1e30; LEARNING_RATE = "1%"; NETWORK = "cnn"
NETWORK = None; BATCH_SIZE = 601; BATCH_SIZE = -1; SEED = 2**40; KERNELS = 1e4; NEURONS = [10, 10]
DATA_DIR = None; DATA_DIR = "C:\0data"; LOGDIR = ""; LOGDIR = "*"; LOGDIR = "/proc/x" """


def replaced():
    """Yield the edits above: what each is called, what becomes of it, and mnist.py's new text."""
    for edit in re.split(r"\n(?=\S)", EDITS.strip()):
        heading, *pairs = edit.split("\n    ")
        name, outcome = heading.split(": ")
        source = SOURCE
        for pair in pairs:
            old, new = (text.strip(" ").replace("|", "\n") for text in pair.split(" -> "))
            assert old in source, pair
            source = source.replace(old, new if new.strip() else "")
        yield name, outcome, source
    for constants, outcome in [(CLEAR, RUN), (UNCLEAR, SENTENCE)]:
        for line in re.split("; |\n", constants.strip()):
            yield line, outcome, SOURCE


def deleted():
    """Yield, likewise, each statement of the training that can be deleted; its outcome is open."""
    for function in ast.parse(SOURCE).body:
        if getattr(function, "name", None) not in ["train", "evaluate", "main"]:
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.stmt) and node is not function and node is not function.body[0]:
                lines = SOURCE.splitlines()
                name = f"without {lines[node.lineno - 1].strip()}"
                lines[node.lineno - 1 : node.end_lineno] = [f"{'': <{node.col_offset}}pass"]
                yield name, None, "\n".join(lines) + "\n"


def pytest_generate_tests(metafunc):
    edits = [*deleted(), *replaced()]
    if not metafunc.config.option.thorough:
        edits = edits[metafunc.config.option.seed % 3 :: 3]
    metafunc.parametrize("name, expected, source", edits, ids=[edit[0] for edit in edits])


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """What becomes of each edit: futures, by the names of the tests; two run at a time."""
    data_dir = tmp_path_factory.mktemp("small")
    write(data_dir, CONTENTS)
    tests = [test for test in request.session.items if test.originalname == "test_edit"]
    with ThreadPoolExecutor(2) as pool:
        yield {
            test.name: pool.submit(
                run, test.callspec.params, data_dir, tmp_path_factory.mktemp("edit")
            )
            for test in tests
        }


def run(edit, data_dir, folder):
    """Run an edited mnist.py; return its path, its exit status and what it printed."""
    source = edit["source"]
    small = ["EPOCHS = 6", "KERNELS = 4", "NEURONS = 8", f"DATA_DIR = {str(data_dir)!r}"]
    for line in [*small, edit["name"]]:
        constant = line.split()[0].removesuffix("S")
        source = re.sub(rf"(?m)^{constant}S? = .*", line.replace("\\", r"\\"), source)
    program = folder / "mnist.py"
    program.write_text(source, encoding="utf-8")
    offline = {("input_data", "MIRRORS"): []}
    return program, *forked.run([], folder / "said", offline, str(program))


def check_page(folder, name):
    """With another mnist.py, each run answers on the page as it did in its last test."""
    images = np.frombuffer(CONTENTS[TEST_IMAGES], np.uint8, offset=16).reshape(-1, 784) / 255
    labels = np.frombuffer(CONTENTS[TEST_LABELS], np.uint8, offset=8)
    runs = TrainedRuns(folder)
    for record in runs.list():
        if name in UNSHOWN:
            with pytest.raises(Refusal) as refusal:
                runs.get(record.name)
            assert (refusal.value.code, refusal.value.reason) == UNSHOWN[name]
            continue
        right = runs.get(record.name).probabilities(images).argmax(axis=1) == labels
        assert np.isfinite(runs.get(record.name).layers(images[:1])["logits"]).all()
        is_same_test = record.images == len(labels) and record.step == 6
        if is_same_test and name not in ("dropout by a rate", "a test on other images"):
            assert np.mean(right) == pytest.approx(record.accuracy, abs=0.026)  # one may be a tie


def test_edit(name, expected, source, request, runs):
    program, status, said = runs[request.node.name].result()
    outcome = RUN if status == 0 else SENTENCE
    if "Traceback" in said:
        *_, place, outcome = said.splitlines()
        assert place.startswith(f"Raised at {program}:"), said
    assert expected in (None, outcome), said
    if outcome == RUN and status == 0:
        check_page(program.parent, name)
    if outcome == SENTENCE:
        assert status == 1 and said.splitlines()[-1].endswith("."), said
