"""support/summaries.py: the numbers behind every picture and table, against NumPy's own."""

import functools
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from helpers import wait_for
from support import summaries
from support.tensorflow1 import NotFinite, tf

MOVED = "moved since step 0/fc/Biases"


class Writer:
    """Stands for a tf.summary.FileWriter. Keeps what it is given: `values`, [(step, value)]."""

    def __init__(self):
        self.values = []

    def add_summary(self, summary, step=None):
        if isinstance(summary, bytes):
            summary = tf.Summary.FromString(summary)
        self.values += [(step, value) for value in summary.value]

    def of(self, tag):
        return {step: value for step, value in self.values if value.tag == tag}


def pixels(image):
    """Return the pixels of a picture as it was logged."""
    shown = Image.open(io.BytesIO(image.encoded_image_string))
    assert shown.format == "PNG" and shown.size == (image.width, image.height)
    return np.asarray(shown).astype(int)


def written(text, size, shape, middle):
    """Write black on white: how light each pixel is, from 0 to 1. middle: of the text, (x, y)."""
    picture = Image.new("L", shape[::-1], 255)
    ImageDraw.Draw(picture).text(middle, text, 0, ImageFont.load_default(size), "mm")
    return np.asarray(picture) / 255


@pytest.fixture
def random():
    return np.random.default_rng(0)


# --------------------------------------------------------------------------------------- layers


@pytest.fixture
def session():
    """A network of a kernel that answers to ink and one that is dead, and a hidden layer."""
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, 784], name="input/images")
        square = tf.reshape(images, [-1, 28, 28, 1])
        with tf.name_scope("conv"):
            ones = tf.ones([5, 5, 1])
            weights = tf.Variable(tf.stack([ones, -ones], axis=-1), name="Weights")
            maps = tf.nn.relu(tf.nn.conv2d(square, weights, 1, "SAME"))
            tf.nn.max_pool(maps, [1, 2, 2, 1], [1, 2, 2, 1], "SAME", name="MaxPool")
        with tf.name_scope("fc"):
            session.biases = tf.Variable(tf.constant([0.0, 1.0, 2.0, 4.0]), name="Biases")
        tf.nn.relu(images[:, :4] - session.biases, name="hidden")
        session.run(tf.global_variables_initializer())
        yield session


def test_layers(session):
    """Of four neurons, two answer to pixels of 1 and 1.5. A kernel of -1 never answers to ink."""
    images = np.zeros((2, 784), np.float32)
    images[0, 0], images[1, 1] = 1, 1.5
    layers, writer = summaries.Layers(session, images, np.zeros(2)), Writer()
    layers.log(writer, 0)
    change = np.float32([0.5, -2, 0, 0.5])
    session.run(session.biases.assign_add(change))
    layers.log(writer, 7)
    moved = {step: tf.make_ndarray(value.tensor) for step, value in writer.of(MOVED).items()}
    assert list(moved) == [0, 7]
    # -2 is beyond 0.9. The middle bucket of 51 is around 0, where nothing has moved at step 0.
    for step, reach, values in [(0, 2.2e-9, np.zeros(4)), (7, 2.2, change)]:
        counts, edges = np.histogram(values, np.linspace(-reach, reach, 52))
        expected = np.stack([edges[:-1], edges[1:], counts], axis=1)
        np.testing.assert_allclose(moved[step], expected, atol=1e-9 * reach)
    assert {value.metadata.plugin_data.plugin_name for value in writer.of(MOVED).values()} == {
        "histograms"
    }
    shown = writer.of("conv/kernels")
    assert list(shown) == [0, 7]
    weights = np.ones((5, 5, 1, 2)) * [1, -1]
    assert (pixels(shown[7].image) == np.asarray(summaries.kernels(weights))).all()
    # At step 7 the second bias is -1, so that the second neuron answers to both images.
    shares = {
        layer: {step: value.simple_value for step, value in writer.of(tag).items()}
        for layer, tag in [("conv", "share of dead ReLUs/conv"), ("fc1", "share of dead ReLUs/fc1")]
    }
    assert shares == {"conv": {0: 0.5, 7: 0.5}, "fc1": {0: 0.5, 7: 0.5}}
    assert len(writer.values) == 2 * 5


def test_weights_that_are_huge_or_not_finite(session):
    """They give no warning."""
    session.run(session.biases.assign(np.float32([3e38, 0, 0, 0])))
    layers = summaries.Layers(session, np.zeros((1, 784), np.float32), np.zeros(1))
    writer = Writer()
    session.run(session.biases.assign(np.float32([-3e38, 3e38, 0, 0])))
    layers.log(writer, 3)
    moved = tf.make_ndarray(writer.of(MOVED)[3].tensor)
    assert moved[0, 0] == pytest.approx(-9e38) and moved[-1, 1] == pytest.approx(9e38)
    for number in [np.nan, np.inf, -np.inf]:
        session.run(session.biases.assign(np.float32([number, 1, 1, 1])))
        with pytest.raises(NotFinite):
            layers.log(Writer(), 3)


@pytest.mark.parametrize("count", [1, 3, 16, 20, 400])
def test_kernels(random, count):
    """Each weight is a square of one grey, on its kernel's own scale, in their order."""
    weights = np.float32(random.normal(size=(5, 5, 2, count)))
    weights[:, :, 0, -1] = 0
    picture = np.asarray(summaries.kernels(weights)).astype(int)
    columns = int(np.ceil(np.sqrt(count)))
    rows = int(np.ceil(count / columns))
    side = picture.shape[1] // columns
    size = (side - 2) // 5
    assert picture.shape == (rows * side, columns * side) and side == 5 * size + 2
    assert columns * side <= summaries.PICTURE < columns * (side + 5) or size == 1
    tiles = picture.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
    assert not tiles[count:].any()  # nothing where no kernel is left
    for kernel, tile in zip(weights[:, :, 0].transpose(2, 0, 1), tiles, strict=False):
        assert not tile[[0, -1]].any() and not tile[:, [0, -1]].any()  # a black line around
        squares = tile[1:-1, 1:-1].reshape(5, size, 5, size)
        assert np.ptp(squares, axis=(1, 3)).max() == 0
        expected = 127.5 + 127.5 * kernel / (np.abs(kernel).max() or 1)
        np.testing.assert_allclose(squares[:, 0, :, 0], expected, atol=1)


# ------------------------------------------------------------------------------------- mistakes


@pytest.fixture
def answered():
    """A classifier whose answers are known: eight mistakes of a hundred, ever more confident."""
    labels = np.arange(100) % 10
    logits = np.float32(np.eye(10)[labels] * 5)
    for confidence, place in enumerate(range(0, 80, 10), start=1):  # a 0, read as a 7
        logits[place] = np.eye(10)[7] * confidence
    images = np.zeros((100, 784), np.float32)
    images[np.arange(100), np.arange(100)] = 1  # image i has its only white pixel at i
    return SimpleNamespace(images=images, labels=labels), logits


def test_mistakes(answered):
    test, logits = answered
    picture = np.asarray(summaries.mistakes(test.images, test.labels, logits))
    assert picture.shape == (4 * 76, summaries.PICTURE)
    for place, index in enumerate([70, 60, 50, 40, 30, 20, 10, 0]):
        left, top = place % 6 * 58 + 2, place // 6 * 76 + 1
        tile = picture[top : top + 56, left : left + 56].reshape(28, 2, 28, 2)
        assert np.ptp(tile, axis=(1, 3)).max() == 0
        assert np.argwhere(tile[:, 0, :, 0].ravel() == 255).tolist() == [[index]]
        words = picture[top + 56 : top + 74, left : left + 56]
        expected = 255 - 215 * written("0 as 7", 13, words.shape, (28, 10))
        np.testing.assert_allclose(words, expected, atol=2)
    assert len(np.unique(picture[76:, 1 + 2 * 58 :])) == 1  # eight mistakes: the rest stays empty
    assert len(np.unique(picture[2 * 76 :])) == 1


def test_more_mistakes_than_there_is_room_for(answered):
    test, logits = answered
    picture = np.asarray(summaries.mistakes(test.images, test.labels, -logits))
    tiles = picture[:, 1:-1].reshape(4, 76, 6, 58)[:, 1:57, :, 1:57]
    assert (tiles.max(axis=(1, 3)) == 255).all()


def test_confidence_of_huge_logits_is_no_overflow(answered):
    """The 0 at place 70 is read as a 7 by 8 to 0, the one at 60 by a little: less sure."""
    test, logits = answered
    logits[60] = 69e3 + np.eye(10)[7]
    picture = np.asarray(summaries.mistakes(test.images, test.labels, logits))
    tile = picture[1:57, 2:58].reshape(28, 2, 28, 2)[:, 0, :, 0]
    assert np.argwhere(tile.ravel() == 255).tolist() == [[70]]


def test_confusion_matrix(answered):
    """Blue where right, red where wrong, white where nothing; stronger for a larger part."""
    test, logits = answered
    picture = np.asarray(summaries.confusion(test.labels, logits.argmax(axis=1))).astype(int)
    cell, edge = 30, 20
    assert picture.shape == (summaries.PICTURE, summaries.PICTURE, 3)
    cells = picture[edge + cell :, edge + cell :].reshape(10, cell, 10, cell, 3)[:, 2, :, 2]
    white = (cells == 255).all(axis=2)
    expected = ~np.eye(10, dtype=bool)
    expected[0, 7] = False
    assert (white == expected).all()
    wrong, right, all_right = cells[0, 7], cells[0, 0], cells[1, 1]
    np.testing.assert_allclose(wrong, 255 - np.sqrt(0.8) * np.array([0, 200, 200]), atol=1)
    np.testing.assert_allclose(right, 255 - np.sqrt(0.2) * np.array([200, 120, 0]), atol=1)
    np.testing.assert_allclose(all_right, [55, 135, 255], atol=1)
    # In every cell stands its number, if there is any, and nothing else but a white line around.
    for row in range(10):
        for column in range(10):
            top, left = edge + (row + 1) * cell, edge + (column + 1) * cell
            shown = picture[top : top + cell, left : left + cell]
            assert (shown[-1:] == 255).all() and (shown[:, -1:] == 255).all()
            count = {(0, 0): "2", (0, 7): "8"}.get((row, column), "10" if row == column else "")
            text = written(count, 11, (cell, cell), (cell / 2 - 1, cell / 2 - 1))[:-1, :-1, None]
            np.testing.assert_allclose(shown[:-1, :-1], cells[row, column] * text, atol=2)


# ------------------------------------------------------------------------------------ projector


def project(folder, images, labels, answers, neurons):
    """Write what the Projector shows of a network whose hidden layer passes the first pixels on."""
    with tf.Graph().as_default() as graph, tf.Session() as session:
        given = tf.placeholder(tf.float32, [None, 784], name="images")
        logits = tf.constant(np.eye(10)[answers][: summaries.EMBEDDED])
        if neurons:
            tf.nn.relu(given[:, :neurons], name="hidden")
        writer = tf.summary.FileWriter(str(folder), graph)
        model = SimpleNamespace(images=given, logits=logits)
        test = SimpleNamespace(images=images, labels=labels)
        summaries.write_projector(writer, session, model, test)
        writer.close()


def test_projector(tensorboard, random):
    """TensorBoard finds the points, what each is, and its picture."""
    cases = {}
    for count, neurons in [(10, 3), (1100, 70), (60, 784), (5, 1)]:
        images = np.float32(random.uniform(size=(count, 784)))
        images[:, :neurons] *= np.linspace(0.3, 1, neurons)
        labels, answers = random.integers(0, 10, (2, count))
        name = f"projector of {count}"
        project(tensorboard.logdir / name, images, labels, answers, neurons)
        cases[name] = images, neurons, labels, answers
    wait_for(lambda: cases.keys() <= set(tensorboard("plugin/projector/runs")))
    for name, (images, neurons, labels, answers) in cases.items():
        shown, dimensions = min(len(images), 1024), min(neurons, 50, len(images))
        (config,) = tensorboard("plugin/projector/info", run=name)["embeddings"]
        assert config["tensorName"] == "fc1" and config["tensorShape"] == [shown, dimensions]
        assert config["sprite"]["singleImageDim"] == [28, 28]
        ask = functools.partial(tensorboard, run=name, name="fc1", parsed=False)

        # They are the principal components: the directions in which NumPy finds the widest spread.
        points = np.frombuffer(ask("plugin/projector/tensor"), "<f4").reshape(shown, dimensions)
        centred = images[:shown, :neurons].astype(float)
        centred -= centred.mean(axis=0)
        squares = np.linalg.svd(centred, compute_uv=False)[:dimensions] ** 2
        np.testing.assert_allclose(points.T @ points, np.diag(squares), atol=1e-3 * squares[0])
        scaled = centred @ (centred.T @ points) / np.maximum(squares, 1e-9)
        kept = squares > 1e-6 * squares[0]
        np.testing.assert_allclose(
            scaled[:, kept], points[:, kept], atol=1e-3 * np.abs(points).max()
        )

        heading, *lines = ask("plugin/projector/metadata").decode().splitlines()
        assert heading == "digit\tread as"
        pairs = zip(labels[:shown], answers[:shown], strict=True)
        assert lines == [f"{label}\t{answer}" for label, answer in pairs]
        sprite = np.asarray(Image.open(io.BytesIO(ask("plugin/projector/sprite_image"))))
        side = int(np.ceil(np.sqrt(shown)))
        assert sprite.shape == (side * 28, side * 28)
        tiles = sprite.reshape(side, 28, side, 28).swapaxes(1, 2).reshape(-1, 784).astype(int)
        np.testing.assert_allclose(tiles[:shown], 255 - 255 * images[:shown], atol=1)


@pytest.mark.parametrize("value, neurons", [(0.5, None), (-1, 3), (0, 3), (0.1, 3)])
def test_nothing_to_project(tmp_path, value, neurons):
    """A network has no hidden layer, or it died: the same comes out of it for every image."""
    images = np.full((4, 784), value, np.float32)
    project(tmp_path, images, np.arange(4), np.arange(4), neurons)
    assert not list(tmp_path.glob("fc1*")) + list(tmp_path.glob("*.pbtxt"))
