"""What TensorBoard shows besides the curves: layers, mistakes, settings, and the Projector."""

import contextlib
import io
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from support.saved import Record
from support.tensorflow1 import NotFinite, tf

# TensorBoard's modules are imported where they are used: they import TensorFlow with its notices.

EMBEDDED = 1024  # digits in the Projector; their pictures fill a sprite of 32 x 32
COMPONENTS = 50  # dimensions of the points in the Projector
PICTURE = 350  # pixels: the width at which TensorBoard shows a picture unchanged
# TensorBoard's Time Series with the test curves alone, smoothed, in one colour per learning rate.
LINK = (
    "http://localhost:6006/?runFilter=lr.*test&smoothing=0.9"
    "&runColorGroup=regex%3Alr%3D%28%5B%5E%2C%5D%2B%29#timeseries"
)


def _log(writer, step, tag, **value):
    writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag=tag, **value)]), step)


def _log_picture(writer, step, tag, picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    width, height = picture.size
    png = tf.Summary.Image(width=width, height=height, encoded_image_string=file.getvalue())
    _log(writer, step, tag, image=png)


class Layers:
    """Log the layers of a run: the kernels, how far W and B move, and dead ReLUs."""

    def __init__(self, session: tf.Session, images: np.ndarray, labels: np.ndarray) -> None:
        """Store the current W and B. The layers are tested on images, (n, 784), labels: (n,)."""
        self._session, self._images, self._labels = session, images, labels
        self._variables = {variable.op.name: variable for variable in tf.trainable_variables()}
        self._start = session.run(self._variables)
        # A ReLU is dead if it gives 0 for all images, and in the convolution at each pooled place.
        operations = {operation.name: operation for operation in session.graph.get_operations()}
        layers = {"conv": "conv/MaxPool", "fc1": "hidden"}
        self._relus = {layer: f"{name}:0" for layer, name in layers.items() if name in operations}
        self._moved, self._dead, self._equal = 0.0, 0.0, False
        # The last input of Adam's operation for W is the gradient of W.
        updates = [each for each in operations.values() if each.type.startswith("Apply")]
        self._gradients = [update.inputs[-1].op for update in updates]
        self._logged = False

    def log(self, writer: Any, step: int) -> None:
        """Log the layers at a step. Raises NotFinite if a weight is not finite."""
        self._moved, self._dead, self._equal = 0.0, 0.0, False
        for name, values in self._session.run(self._variables).items():
            moved = np.subtract(values, self._start[name], dtype=np.float64)
            _log_histogram(writer, step, f"moved since step 0/{name}", moved)
            self._moved = max(self._moved, _reach(moved))
            if values.ndim > 1 and values.shape[-1] > 1 and not np.ptp(values, axis=-1).any():
                self._equal = True
            if name == "conv/Weights" and values.ndim == 4:
                _log_picture(writer, step, "conv/kernels", kernels(values))
        try:
            answers = self._session.run(self._relus, {"input/images:0": self._images})
        except (TypeError, ValueError, tf.errors.OpError):
            return  # a reader's network may need other inputs: it gets no such curve
        for layer, values in answers.items():
            dead = np.mean(values.reshape(-1, values.shape[-1]).max(axis=0) == 0)
            _log(writer, step, f"share of dead ReLUs/{layer}", simple_value=dead)
            self._dead = max(self._dead, dead)
        if self._logged and self._gradients:  # the first call is slow
            self._log_times(writer, step)
            self._gradients = []  # once is enough
        self._logged = True

    def _log_times(self, writer, step):
        """Log the time and memory of each operation of a step on 100 images, except Adam's."""
        batch = {"input/images:0": self._images[:100], "input/labels:0": self._labels[:100]}
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        times = tf.RunMetadata()
        with contextlib.suppress(TypeError, ValueError, tf.errors.OpError):  # as above
            self._session.run(self._gradients, batch, options, times)
            writer.add_run_metadata(times, f"step {step}", step)

    def cause(self) -> str:
        """Say why the network only guesses, judging by the layers as they were last logged."""
        if self._equal:
            return "All kernels or neurons of a layer are equal: start W with random values."
        if self._dead > 0.99:
            return (
                "Almost all ReLUs of a layer give 0 for every image: try a smaller LEARNING_RATE."
            )
        if self._moved == 0:
            return "W and B have not moved: does session.run compute model.train_step?"
        if self._moved < 0.003:  # far less than the 0.1 of the first weights
            return "The weights have hardly moved: try a larger LEARNING_RATE or more EPOCHS."
        return "Look at the images, the labels, the loss and the first values of W."


def _reach(values):
    """Return the largest absolute value, without a copy of millions of values."""
    return max(float(values.max()), -float(values.min()))


def _log_histogram(writer, step, tag, values, buckets=51):
    """Log values, float64 of any shape, in buckets of equal width, the middle one around 0."""
    reach = _reach(values) or 1e-9
    if not math.isfinite(reach):
        raise NotFinite("A weight is not a finite number any more")
    # An axis ends at one of few values, so that runs often share it, and its labels do not overlap.
    # TensorBoard cuts off empty buckets at the ends of a tf.HistogramProto, but not of a table.
    power = 10.0 ** math.floor(math.log10(reach))
    reach = min(end * power for end in (0.9, 2.2, 4.5, 9, 22) if end * power >= reach)
    counts, edges = np.histogram(values, buckets, (-reach, reach))
    table = np.stack([edges[:-1], edges[1:], counts], axis=1)
    plugin = tf.SummaryMetadata.PluginData(plugin_name="histograms")
    metadata = tf.SummaryMetadata(plugin_data=plugin)
    _log(writer, step, tag, tensor=tf.make_tensor_proto(table), metadata=metadata)


def _in_rows(tiles, columns):
    """Join tiles, (n, height, width) with n a multiple of columns, row by row in one array."""
    n, height, width = tiles.shape
    rows = tiles.reshape(n // columns, columns, height, width).transpose(0, 2, 1, 3)
    return rows.reshape(n // columns * height, columns * width)


def kernels(weights: np.ndarray) -> Image.Image:
    """Draw the first input's kernels in a square grid, at most PICTURE wide.

    weights: float32 (height, width, inputs, n). Each kernel has its own scale: grey is 0, and
    white or black is its largest weight, positive or negative.
    """
    weights = weights[:, :, 0].transpose(2, 0, 1)
    columns = math.ceil(math.sqrt(len(weights)))
    largest = np.abs(weights).max(axis=(1, 2), keepdims=True)
    brightness = 127.5 + 127.5 * (weights / np.where(largest == 0, 1, largest))
    size = max(1, (PICTURE // columns - 2) // max(weights.shape[1:]))  # pixels for each weight
    tiles = brightness.repeat(size, axis=1).repeat(size, axis=2)
    tiles = np.pad(tiles, [(0, -len(tiles) % columns), (1, 1), (1, 1)])
    return Image.fromarray(np.uint8(_in_rows(tiles, columns)))


def log_mistakes(writer: Any, step: int, test: Any, logits: np.ndarray) -> None:
    """Log two pictures: the most confident mistakes on the test digits, and the confusion matrix.

    test: a data set with images, float32 (n, 784) in [0, 1], and labels, whole numbers (n,);
    logits: float32 (n, 10).
    """
    if logits.shape != (len(test.labels), 10):  # a reader tests on other images, or adds answers
        return
    worst = mistakes(test.images, test.labels, logits)
    _log_picture(writer, step, "mistakes/most confident", worst)
    table = confusion(test.labels, logits.argmax(axis=1))
    _log_picture(writer, step, "mistakes/confusion matrix", table)


def mistakes(images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> Image.Image:
    """Draw the 24 wrong answers of the highest probability, with their true digits."""
    answers = logits.argmax(axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    confidence = 1 / np.exp(shifted).sum(axis=1)  # softmax of the largest logit
    wrong = np.flatnonzero(answers != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:24]
    picture = Image.new("L", (PICTURE, 4 * 76), 40)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for place, index in enumerate(worst):
        left, top = place % 6 * 58 + 2, place // 6 * 76 + 1
        digit = Image.fromarray(np.uint8(np.rint(images[index].reshape(28, 28) * 255)))
        picture.paste(digit.resize((56, 56), Image.Resampling.NEAREST), (left, top))
        words = f"{labels[index]} as {answers[index]}"
        draw.text((left + 28, top + 66), words, 255, font, "mm")
    return picture


def confusion(labels: np.ndarray, answers: np.ndarray) -> Image.Image:
    """Draw a 10x10 table of how often each true digit (row) got each answer (column)."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, answers), 1)
    small, normal, large = (ImageFont.load_default(size) for size in (11, 13, 15))
    cell, edge = 30, 20  # together as wide as PICTURE
    picture = Image.new("RGB", (11 * cell + edge, 11 * cell + edge), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((edge + 6 * cell, edge / 2), "answer of the network", "black", normal, "mm")
    sideways = Image.new("RGB", (10 * cell, edge), "white")
    ImageDraw.Draw(sideways).text((5 * cell, edge / 2), "true digit", "black", normal, "mm")
    picture.paste(sideways.rotate(90, expand=True), (0, edge + cell))
    for row in range(10):
        middle = edge + (row + 1.5) * cell
        draw.text((edge + cell / 2, middle), str(row), "black", large, "mm")
        draw.text((middle, edge + cell / 2), str(row), "black", large, "mm")
        for column in range(10):
            left, top = edge + (column + 1) * cell, edge + (row + 1) * cell
            # Right answers are blue, wrong ones red; a larger share of the row is darker.
            share = np.sqrt(counts[row, column] / max(1, counts[row].sum()))
            colour = 255 - share * np.array([200, 120, 0] if row == column else [0, 200, 200])
            draw.rectangle((left, top, left + cell - 2, top + cell - 2), tuple(map(int, colour)))
            if counts[row, column]:
                centre = (left + cell / 2 - 1, top + cell / 2 - 1)
                draw.text(centre, str(counts[row, column]), "black", small, "mm")
    return picture


def log_own_test(writer: Any, step: int, accuracy: float) -> None:
    """Log the accuracy on the reader's own digits that are held out from training."""
    _log(writer, step, "own digits/accuracy", simple_value=accuracy)


def log_settings(writer: Any, record: Record, continued: bool = False) -> None:
    """Log four settings for the HParams tab, whose fifth and last column is the test accuracy.

    continued: whether they replace those that the run started with.
    """
    from tensorboard.plugins.hparams import api_pb2, summary

    values = {name: getattr(record, name) for name in ["learning_rate", "epochs", "batch_size"]}
    values["network"] = record.network
    if record.network == "convolutional":
        values["network"] = f"conv {record.kernels}, fc1 {record.neurons}"
    if record.shift:
        values["network"] += f", shift {record.shift}"
    if record.own_digits:
        values["network"] += f", own digits {record.own_digits}"
    columns = [
        api_pb2.HParamInfo(
            name=column,
            type=api_pb2.DATA_TYPE_STRING if column == "network" else api_pb2.DATA_TYPE_FLOAT64,
            differs=column in ("learning_rate", "epochs"),  # these come first
        )
        for column in values
    ]
    metrics = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=f"test {tag.lower()}")
        for tag in ["Accuracy", "Loss"]
    ]
    messages = summary.experiment_pb(columns, metrics), summary.session_start_pb(values)
    written = [message.SerializeToString() for message in messages]
    if not continued:
        for message in written:
            writer.add_summary(message)
        return
    # TensorBoard keeps the settings that it reads first, and reads files in alphabetical order.
    with tf.io.TFRecordWriter(f"{writer.get_logdir()}/events.out.tfevents.0") as file:
        for message in written:
            event = tf.Event(wall_time=time.time(), summary=tf.Summary.FromString(message))
            file.write(event.SerializeToString())


def log_end(writer: Any, succeeded: bool) -> None:
    """Log for the HParams tab that a run has ended, and whether it succeeded."""
    from tensorboard.plugins.hparams import api_pb2, summary

    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    writer.add_summary(summary.session_end_pb(status).SerializeToString())


def write_projector(writer: Any, session: tf.Session, model: Any, test: Any) -> None:
    """Write what the Projector shows: where `fc1` puts each of the first EMBEDDED test images.

    model: see mnist.build; test: see log_mistakes. Nothing is written for a reader's network
    without `hidden` or with other inputs, or if all points are equal: TensorBoard fails at those.
    """
    images, labels = test.images[:EMBEDDED], test.labels[:EMBEDDED]
    try:
        hidden = session.graph.get_tensor_by_name("hidden:0")
        activations, logits = session.run([hidden, model.logits], {model.images: images})
    except (KeyError, TypeError, ValueError, RuntimeError, tf.errors.OpError):
        return
    if not np.ptp(activations, axis=0).any():
        return
    folder = Path(writer.get_logdir())
    points = _principal_components(activations.reshape(len(images), -1))
    np.savetxt(folder / "fc1.points.tsv", points, "%.5g", "\t")
    rows = np.stack([labels, logits.argmax(axis=1)], axis=1)
    np.savetxt(folder / "fc1.tsv", rows, "%d", "\t", header="digit\tread as", comments="")
    side = math.ceil(math.sqrt(len(images)))
    black_on_white = np.uint8(255 - np.rint(255 * images)).reshape(-1, 28, 28)
    black_on_white = np.pad(black_on_white, [(0, side * side - len(images)), (0, 0), (0, 0)])
    Image.fromarray(_in_rows(black_on_white, side)).save(folder / "fc1.png")
    part = folder / "fc1.pbtxt"
    part.write_text(
        'embeddings { tensor_name: "fc1" tensor_path: "fc1.points.tsv" metadata_path: "fc1.tsv" '
        'sprite { image_path: "fc1.png" single_image_dim: 28 single_image_dim: 28 } }'
    )
    part.replace(folder / "projector_config.pbtxt")  # TensorBoard never reads half of it
    # A TensorBoard that found the run before its end reads the config again after a new checkpoint.
    # This checkpoint holds a single number, which the Projector does not show.
    with tf.Graph().as_default(), tf.Session() as other_session:
        other_session.run(tf.Variable(0.0).initializer)
        saver = tf.train.Saver(save_relative_paths=True)
        saver.save(other_session, str(folder / "fc1.ckpt"), write_meta_graph=False)


def _principal_components(points):
    """Return the principal components of points, float32 (n, d): (n, at most COMPONENTS)."""
    # This uses the n x n products: the d x d covariances of 20,000 neurons would take minutes.
    # TensorFlow, not NumPy, whose threads wait for one another for seconds on a busy machine.
    with tf.Graph().as_default(), tf.Session() as session:
        centred = tf.placeholder(tf.float32)
        eigenvectors = tf.linalg.eigh(tf.matmul(centred, centred, transpose_b=True))
        squares, directions = session.run(eigenvectors, {centred: points - points.mean(axis=0)})
    components = directions * np.sqrt(np.maximum(squares, 0))  # in ascending order
    return components[:, ::-1][:, : min(COMPONENTS, points.shape[1])]
