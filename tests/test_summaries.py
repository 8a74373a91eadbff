"""support/summaries.py: the numbers behind every picture and table, against NumPy's own."""

import io
from types import SimpleNamespace

from support import summaries
from support.tensorflow1 import NotFinite, tf

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image, ImageDraw, ImageFont
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig


class Writer:
    """Keeps, in place of a tf.summary.FileWriter, what it is given: `values`, [(step, value)]."""

    def __init__(self, folder="."):
        self.values, self._folder = [], folder

    def add_summary(self, summary, step=None):
        if isinstance(summary, bytes):
            summary = tf.Summary.FromString(summary)
        self.values += [(step, value) for value in summary.value]

    def get_logdir(self):
        return str(self._folder)


def pixels(image):
    """Return the pixels of a picture as it was logged."""
    shown = Image.open(io.BytesIO(image.encoded_image_string))
    assert shown.format == "PNG" and shown.size == (image.width, image.height)
    return np.asarray(shown).astype(int)


def written(text, size, shape, middle):
    """Return what a text alone looks like: how light each pixel is that it leaves, from 0 to 1.

    size: of its font; shape: of the picture; middle: of the text in it, (x, y).
    """
    picture = Image.new("L", shape[::-1], 255)
    ImageDraw.Draw(picture).text(middle, text, 0, ImageFont.load_default(size), "mm")
    return np.asarray(picture) / 255


@pytest.fixture
def random():
    return np.random.default_rng(0)


# ---------------------------------------------------------------------------- curves and groups


def test_curves():
    summary = summaries.curves(0.75, 1.5)
    assert {value.tag: value.simple_value for value in summary.value} == {
        "accuracy": 0.75,
        "loss": 1.5,
    }
    for loss in [float("nan"), float("inf"), np.float32("nan")]:
        with pytest.raises(NotFinite, match=f"^The loss is {loss}$"):
            summaries.curves(0.1, loss)


def test_group():
    summary = tf.Summary()
    for tag, value in [("conv/weight", 1), ("fc/bias", 2)]:
        summary.value.add(tag=tag, simple_value=value)
    grouped = summaries.in_group(summary.SerializeToString())
    assert [(value.tag, value.simple_value) for value in grouped.value] == [
        ("network/conv/weight", 1),
        ("network/fc/bias", 2),
    ]


# --------------------------------------------------------------------------------------- layers


@pytest.fixture
def session():
    """A network of one kernel that answers to ink and one that is dead, and a hidden layer."""
    with tf.Graph().as_default(), tf.Session() as session:
        with tf.name_scope("input"):
            images = tf.placeholder(tf.float32, [None, 784], name="images")
        square = tf.reshape(images, [-1, 28, 28, 1])
        weights = tf.Variable(tf.stack([tf.ones([5, 5, 1]), -tf.ones([5, 5, 1])], axis=-1))
        with tf.name_scope("conv"):
            weights = tf.Variable(weights.initial_value, name="Weights")
            maps = tf.nn.relu(tf.nn.conv2d(square, weights, 1, "SAME"))
            tf.nn.max_pool(maps, [1, 2, 2, 1], [1, 2, 2, 1], "SAME", name="MaxPool")
        with tf.name_scope("fc"):
            biases = tf.Variable(tf.constant([0.0, 1.0, 2.0, 4.0]), name="Biases")
        tf.nn.relu(images[:, :4] - biases, name="hidden")
        session.run(tf.global_variables_initializer())
        yield session


def test_movement(session):
    layers, writer = summaries.Layers(session, np.zeros((1, 784), np.float32)), Writer()
    (biases,) = (v for v in tf.trainable_variables() if v.op.name == "fc/Biases")
    for step, change in [(0, [0, 0, 0, 0]), (7, [0.5, -2, 0, 0.5])]:
        session.run(biases.assign(np.float32([0, 1, 2, 4]) + np.float32(change)))
        layers.log_movement(writer, step)
    tag = "moved since step 0/fc/Biases"
    before, after = (value.histo for _, value in writer.values if value.tag == tag)
    assert [step for step, value in writer.values if value.tag == tag] == [0, 7]
    assert (before.min, before.max, before.num, before.sum_squares) == (0, 0, 4, 0)
    assert max(before.bucket_limit) < 1e-8 and sum(before.bucket) == 4
    assert (after.min, after.max, after.num, after.sum) == (-2, 0.5, 4, -1)
    assert after.sum_squares == 4.5
    assert len(after.bucket) == len(after.bucket_limit) == 51
    counts, edges = np.histogram([0.5, -2, 0, 0.5], np.linspace(-2, 2, 52))
    assert list(after.bucket) == counts.tolist()
    np.testing.assert_allclose(after.bucket_limit, edges[1:])
    kernels = [step for step, value in writer.values if value.tag == "network/conv/kernels"]
    assert kernels == [0, 7]
    assert pixels(next(v.image for _, v in writer.values if v.tag == "network/conv/kernels")).any()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_movement_to_what_is_no_number(session, number):
    layers = summaries.Layers(session, np.zeros((1, 784), np.float32))
    (biases,) = (v for v in tf.trainable_variables() if v.op.name == "fc/Biases")
    session.run(biases.assign(np.float32([0, 1, number, 0])))
    with pytest.raises(NotFinite):
        layers.log_movement(Writer(), 3)


@pytest.mark.parametrize("number", [1e20, 3e38])
def test_movement_beyond_all_measure_gives_no_warning(session, number):
    layers, writer = summaries.Layers(session, np.zeros((1, 784), np.float32)), Writer()
    for variable in tf.trainable_variables():
        session.run(variable.assign(variable * 0 - np.float32(number)))
    layers.log_movement(writer, 3)
    (moved,) = (value.histo for _, value in writer.values if value.tag.endswith("fc/Biases"))
    assert moved.sum_squares == pytest.approx(4 * float(np.float32(number)) ** 2)


def test_dead_relus(session):
    """A kernel of -1 never answers to ink; of four neurons, two do, to pixels of 1 and 1.5."""
    images = np.zeros((2, 784), np.float32)
    images[0, 0], images[1, 1] = 1, 1.5
    writer = Writer()
    summaries.Layers(session, images).log_dead_relus(writer, 5)
    shares = {value.tag: (step, value.simple_value) for step, value in writer.values}
    assert shares == {
        "share of dead ReLUs/conv": (5, 0.5),
        "share of dead ReLUs/fc1": (5, 0.5),
    }


def test_network_without_relus():
    with tf.Graph().as_default(), tf.Session() as session:
        tf.Variable(tf.zeros([2]), name="fc/Biases")
        session.run(tf.global_variables_initializer())
        writer = Writer()
        summaries.Layers(session, np.zeros((1, 784), np.float32)).log_dead_relus(writer, 0)
    assert writer.values == []


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
    assert picture.shape == (4 * 76, 6 * 58)
    for place, index in enumerate([70, 60, 50, 40, 30, 20, 10, 0]):
        left, top = place % 6 * 58 + 1, place // 6 * 76 + 1
        tile = picture[top : top + 56, left : left + 56].reshape(28, 2, 28, 2)
        assert np.ptp(tile, axis=(1, 3)).max() == 0
        assert np.argwhere(tile[:, 0, :, 0].ravel() == 255).tolist() == [[index]]
        words = picture[top + 56 : top + 74, left : left + 56]
        expected = 255 - 215 * written("0 as 7", 13, words.shape, (28, 10))
        np.testing.assert_allclose(words, expected, atol=2)
    assert len(np.unique(picture[76:, 2 * 58 :])) == 1  # eight mistakes: the rest stays empty
    assert len(np.unique(picture[2 * 76 :])) == 1


def test_no_mistakes(answered):
    test, logits = answered
    assert (
        len(
            np.unique(
                np.asarray(summaries.mistakes(test.images[1:10], test.labels[1:10], logits[1:10]))
            )
        )
        == 1
    )


def test_more_mistakes_than_there_is_room_for(answered):
    test, logits = answered
    picture = np.asarray(summaries.mistakes(test.images, test.labels, -logits))
    tiles = picture.reshape(4, 76, 6, 58)[:, 1:57, :, 1:57]
    assert (tiles.max(axis=(1, 3)) == 255).all()


def test_confidence_of_huge_logits_is_no_overflow(answered):
    """The 0 at place 70 is read as a 7 by 8 to 0, the one at 60 by a little: less sure."""
    test, logits = answered
    logits[60] = 69e3 + np.eye(10)[7]
    picture = np.asarray(summaries.mistakes(test.images, test.labels, logits))
    tile = picture[1:57, 1:57].reshape(28, 2, 28, 2)[:, 0, :, 0]
    assert np.argwhere(tile.ravel() == 255).tolist() == [[70]]


def test_confusion_matrix(answered):
    """Blue where right, red where wrong, white where nothing; stronger for a larger part."""
    test, logits = answered
    picture = np.asarray(summaries.confusion(test.labels, logits.argmax(axis=1))).astype(int)
    cell, edge = 29, 20
    assert picture.shape == (11 * cell + edge, 11 * cell + edge, 3)
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
    # Around them, the headings and the digits.
    answer = written("answer of the network", 13, (edge, 11 * cell), (6 * cell, edge / 2))
    np.testing.assert_allclose(picture[:edge, edge:, 0], 255 * answer, atol=2)
    digit = written("true digit", 13, (edge, 10 * cell), (5 * cell, edge / 2))
    np.testing.assert_allclose(np.rot90(picture[edge + cell :, :edge, 0], -1), 255 * digit, atol=2)
    for place in range(10):
        start = edge + (place + 1) * cell
        text = 255 * written(str(place), 15, (cell, cell), (cell / 2, cell / 2))
        above = picture[edge : edge + cell, start : start + cell, 0]
        beside = picture[start : start + cell, edge : edge + cell, 0]
        np.testing.assert_allclose(above, text, atol=2)
        np.testing.assert_allclose(beside, text, atol=2)


def test_confusion_matrix_of_digits_that_are_missing():
    picture = np.asarray(summaries.confusion(np.array([3]), np.array([4])))
    assert (picture[20 + 29 * 4 + 2, 20 + 29 * 5 + 2] == [255, 55, 55]).all()


def test_pictures_of_the_mistakes_are_logged(answered):
    test, logits = answered
    writer = Writer()
    summaries.log_mistakes(writer, 9, test, logits)
    shown = {value.tag: (step, pixels(value.image)) for step, value in writer.values}
    assert {tag: step for tag, (step, _) in shown.items()} == {
        "mistakes/most confident": 9,
        "mistakes/confusion matrix": 9,
    }
    worst = summaries.mistakes(test.images, test.labels, logits)
    assert (shown["mistakes/most confident"][1] == np.asarray(worst)).all()
    table = summaries.confusion(test.labels, logits.argmax(axis=1))
    assert (shown["mistakes/confusion matrix"][1] == np.asarray(table)).all()


# ------------------------------------------------------------------------------------- settings


def hparams(writer):
    """Return what the HParams tab is told, by the name of its tag's last part."""
    told = {}
    for _, value in writer.values:
        data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
        assert value.metadata.plugin_data.plugin_name == "hparams"
        kind = data.WhichOneof("data")
        told[kind] = getattr(data, kind)
    return told


@pytest.mark.parametrize(
    "network, shown", [("softmax", "softmax"), ("convolutional", "conv 5, fc1 9")]
)
def test_settings(network, shown):
    settings = {"network": network, "learning_rate": 0.5, "epochs": 7, "batch_size": 3}
    if network == "convolutional":
        settings |= {"kernels": 5, "neurons": 9}
    names = set()
    for _ in range(2):
        writer = Writer()
        summaries.log_settings(writer, "a run", settings)
        told = hparams(writer)
        values = {
            key: value.string_value or value.number_value
            for key, value in told["session_start_info"].hparams.items()
        }
        assert values == {"learning_rate": 0.5, "epochs": 7, "batch_size": 3, "network": shown}
        names.add(told["session_start_info"].group_name)
        assert told["session_start_info"].group_name.startswith("a run ")
        columns = {info.name: info for info in told["experiment"].hparam_infos}
        assert list(columns) == ["learning_rate", "epochs", "batch_size", "network"]
        assert [info.differs for info in columns.values()] == [True, True, False, False]
        kinds = [plugin_data_pb2.DESCRIPTOR.pool and info.type for info in columns.values()]
        assert len(set(kinds[:3])) == 1 and kinds[3] != kinds[0]
        metrics = [(info.name.tag, info.display_name) for info in told["experiment"].metric_infos]
        assert metrics == [("accuracy", "test accuracy"), ("loss", "test loss")]
    assert len(names) == 2  # a row of its own for each run


@pytest.mark.parametrize("succeeded, status", [(True, 1), (False, 2)])
def test_end(succeeded, status):
    writer = Writer()
    summaries.log_end(writer, succeeded)
    assert hparams(writer)["session_end_info"].status == status


# ------------------------------------------------------------------------------------ projector


@pytest.fixture
def project(tmp_path):
    """Write what the Projector shows of a network whose hidden layer passes the first pixels on."""

    def project(images, labels, logits, neurons):
        with tf.Graph().as_default(), tf.Session() as session:
            given = tf.placeholder(tf.float32, [None, 784], name="images")
            if neurons:
                tf.nn.relu(given[:, :neurons], name="hidden")
            summaries.write_projector(
                Writer(tmp_path),
                session,
                SimpleNamespace(images=given, logits=tf.constant(logits[:1024])),
                SimpleNamespace(images=images, labels=labels),
            )
        return sorted(path.name for path in tmp_path.iterdir())

    return project


@pytest.mark.parametrize("count, neurons", [(10, 3), (1100, 70), (60, 784)])
def test_projector(project, tmp_path, random, count, neurons):
    images = np.float32(random.uniform(size=(count, 784)))
    images[:, :neurons] *= np.linspace(0.3, 1, neurons)
    labels, answers = random.integers(0, 10, (2, count))
    files = project(images, labels, np.eye(10)[answers], neurons)
    assert {"fc1.bytes", "fc1.png", "fc1.tsv", "projector_config.pbtxt"} <= set(files)
    shown, dimensions = min(count, 1024), min(neurons, 50)

    text = (tmp_path / "projector_config.pbtxt").read_text()
    (config,) = text_format.Parse(text, ProjectorConfig()).embeddings
    assert (config.tensor_name, list(config.tensor_shape)) == ("fc1", [shown, dimensions])
    assert (config.tensor_path, config.metadata_path) == ("fc1.bytes", "fc1.tsv")
    assert config.sprite.image_path == "fc1.png"
    assert list(config.sprite.single_image_dim) == [28, 28]

    # They are the principal components: those directions of which NumPy tells the widest spread.
    points = np.fromfile(tmp_path / "fc1.bytes", np.float32).reshape(shown, dimensions)
    centred = images[:shown, :neurons].astype(float)
    centred -= centred.mean(axis=0)
    squares = np.linalg.svd(centred, compute_uv=False)[:dimensions] ** 2
    np.testing.assert_allclose(points.T @ points, np.diag(squares), atol=1e-3 * squares[0])
    scaled = centred @ (centred.T @ points) / squares
    np.testing.assert_allclose(scaled, points, atol=1e-3 * np.abs(points).max())

    heading, *lines = (tmp_path / "fc1.tsv").read_text().splitlines()
    assert heading == "digit\tread as"
    assert (
        lines
        == [f"{label}\t{answer}" for label, answer in zip(labels, answers, strict=True)][:shown]
    )
    sprite = np.asarray(Image.open(tmp_path / "fc1.png")).astype(int)
    side = int(np.ceil(np.sqrt(shown)))
    assert sprite.shape == (side * 28, side * 28)
    tiles = sprite.reshape(side, 28, side, 28).swapaxes(1, 2).reshape(-1, 784)
    np.testing.assert_allclose(tiles[:shown], 255 - 255 * images[:shown], atol=1)
    assert (tiles[shown:] == 255).all()


def test_points_are_never_taken_for_a_table_of_words(project, tmp_path):
    """TensorBoard takes them for one if their first line, here the first byte, is UTF-8."""
    number = np.frombuffer(b"\n\n\n>", "<f4")[0]  # 0.13
    images = np.zeros((2, 784), np.float32)
    images[1, 0] = 2 * number
    project(images, np.arange(2), np.eye(10)[:2], 1)
    content = (tmp_path / "fc1.bytes").read_bytes()
    with pytest.raises(UnicodeDecodeError):
        content.split(b"\n")[0].decode()
    np.testing.assert_allclose(np.abs(np.frombuffer(content, "<f4")), number, rtol=1e-4)


def test_projector_of_a_network_without_hidden_neurons(project, random):
    images = np.float32(random.uniform(size=(4, 784)))
    assert project(images, np.arange(4), np.eye(10)[:4], None) == []


@pytest.mark.parametrize("value", [-1, 0, 0.1])
def test_projector_of_a_network_that_died(project, value):
    """What comes out of its hidden layer is the same for every image, which need not be 0."""
    images = np.full((4, 784), value, np.float32)
    assert project(images, np.arange(4), np.eye(10)[:4], 3) == []
