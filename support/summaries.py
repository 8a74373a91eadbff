"""What TensorBoard shows besides: points of curves, layers, mistakes, settings, embeddings."""

import functools
import io
import math
import uuid
from pathlib import Path

from support.tensorflow1 import NotFinite, tf

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# TensorBoard's own modules import TensorFlow, and not quietly: they are imported where they are
# used.

EMBEDDED = 1024  # digits in the projector; their pictures fill a sprite of 32 x 32
COMPONENTS = 50  # dimensions in which they lie there
PICTURE = 350  # pixels: the width at which TensorBoard shows a picture as it is


def curves(accuracy, loss):
    """Make a point of both curves, for tf.summary.FileWriter.add_summary.

    Raises NotFinite if the loss is infinite or NaN.
    """
    if not math.isfinite(loss):
        raise NotFinite(f"The loss is {loss}")
    values = {"accuracy": accuracy, "loss": loss}
    return tf.Summary(
        value=[tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    )


def in_group(histograms):
    """Put the histograms of all layers, a serialized summary, into a group named "network".

    TensorBoard sorts groups by name and opens the first two: those are to be accuracy and loss.
    """
    summary = tf.Summary.FromString(histograms)
    for value in summary.value:
        value.tag = f"network/{value.tag}"
    return summary


# ----------------------------------------------------------------------------------------- layers


class Layers:
    """What a run shows of its layers: how W and B move, kernels, and ReLUs that are dead."""

    def __init__(self, session, images):
        """Keep the values that W and B have now; images: float32 (n, 784), to try the ReLUs on."""
        self._session, self._images = session, images
        self._variables = {variable.op.name: variable for variable in tf.trainable_variables()}
        self._start = session.run(self._variables)
        # Of the convolution, pooling keeps the largest: enough to see whether a kernel ever
        # answers.
        operations = {operation.name for operation in session.graph.get_operations()}
        layers = {"conv": "conv/MaxPool", "fc1": "hidden"}
        self._relus = {layer: f"{name}:0" for layer, name in layers.items() if name in operations}

    def log_movement(self, writer, step):
        """Add histograms of how far each W and B is from its start; a picture of the kernels.

        Raises NotFinite if a weight is infinite or NaN.
        """
        for name, values in self._session.run(self._variables).items():
            with np.errstate(over="ignore"):
                moved = values - self._start[name]
            _log(writer, step, f"moved since step 0/{name}", histo=_histogram(moved))
            if name == "conv/Weights":
                _log(writer, step, "network/conv/kernels", image=_image(kernels(values)))

    def log_dead_relus(self, writer, step):
        """Add to a curve of each layer: the share of its ReLUs that give 0 for all the images."""
        if self._relus:
            try:
                answers = self._session.run(self._relus, {"input/images:0": self._images})
            except (TypeError, tf.errors.InvalidArgumentError):
                self._relus = {}  # a reader's own network may have other inputs: no such curve
                return
            for layer, values in answers.items():
                dead = np.mean(values.reshape(-1, values.shape[-1]).max(axis=0) == 0)
                _log(writer, step, f"share of dead ReLUs/{layer}", simple_value=dead)


def _histogram(values, buckets=51):
    """Count values, float32 of any shape, in buckets of equal width, the middle one around 0."""
    reach = float(np.abs(values).max()) or 1e-9
    if not math.isfinite(reach):
        raise NotFinite("A weight is not a finite number any more")
    counts, edges = np.histogram(values, buckets, (-reach, reach))
    return tf.HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(dtype=np.float64),
        sum_squares=np.square(values, dtype=np.float64).sum(),
        bucket_limit=edges[1:],
        bucket=counts,
    )


def kernels(weights):
    """Show kernels, float32 (5, 5, inputs, n), of the first input, in a square, PICTURE wide.

    A reader may have made them larger or smaller than 5 x 5.

    Grey is 0, white a kernel's largest weight, black its opposite: each has a scale of its own.
    """
    weights = weights[:, :, 0].transpose(2, 0, 1)
    columns = math.ceil(math.sqrt(len(weights)))
    rows = math.ceil(len(weights) / columns)
    largest = np.abs(weights).max(axis=(1, 2), keepdims=True)
    brightness = 127.5 + 127.5 * (weights / np.where(largest == 0, 1, largest))
    brightness = np.pad(brightness, [(0, rows * columns - len(weights)), (0, 0), (0, 0)])
    # Pixels on the screen for a weight.
    size = max(1, (PICTURE // columns - 2) // max(brightness.shape[1:]))
    tiles = brightness.repeat(size, axis=1).repeat(size, axis=2)
    tiles = np.pad(tiles, [(0, 0), (1, 1), (1, 1)])
    _, height, width = tiles.shape
    grid = tiles.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    return Image.fromarray(np.uint8(grid.reshape(rows * height, columns * width)))


# --------------------------------------------------------------------------------------- mistakes


def log_mistakes(writer, step, test, logits):
    """Add two pictures: the most confident mistakes on the test digits, and the confusion matrix.

    test: a data set with images, float32 (n, 784) in [0, 1], and labels, whole numbers (n,);
    logits: float32 (n, 10).
    """
    worst = mistakes(test.images, test.labels, logits)
    _log(writer, step, "mistakes/most confident", image=_image(worst))
    table = confusion(test.labels, logits.argmax(axis=1))
    _log(writer, step, "mistakes/confusion matrix", image=_image(table))


def mistakes(images, labels, logits, rows=4, columns=6):
    """Show the wrong answers of the highest probability, with the true digit and the answer."""
    answers = logits.argmax(axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    confidence = 1 / np.exp(shifted).sum(axis=1)  # the softmax function's largest value
    wrong = np.flatnonzero(answers != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][: rows * columns]
    picture = Image.new("L", (columns * 58, rows * 76), 40)
    draw = ImageDraw.Draw(picture)
    for place, index in enumerate(worst):
        left, top = place % columns * 58 + 1, place // columns * 76 + 1
        digit = np.uint8(np.rint(images[index].reshape(28, 28) * 255)).repeat(2, 0).repeat(2, 1)
        picture.paste(Image.fromarray(digit), (left, top))
        words = f"{labels[index]} as {answers[index]}"
        draw.text((left + 28, top + 66), words, 255, _font(13), "mm")
    return picture


def confusion(labels, answers):
    """Show, as a 10x10 table, how often each true digit (row) got each answer (column)."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, answers), 1)
    cell, edge = 29, 20
    picture = Image.new("RGB", (11 * cell + edge, 11 * cell + edge), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((edge + 6 * cell, edge / 2), "answer of the network", "black", _font(13), "mm")
    sideways = Image.new("RGB", (10 * cell, edge), "white")
    ImageDraw.Draw(sideways).text((5 * cell, edge / 2), "true digit", "black", _font(13), "mm")
    picture.paste(sideways.rotate(90, expand=True), (0, edge + cell))
    for row in range(10):
        middle = edge + (row + 1.5) * cell
        draw.text((edge + cell / 2, middle), str(row), "black", _font(15), "mm")
        draw.text((middle, edge + cell / 2), str(row), "black", _font(15), "mm")
        for column in range(10):
            left, top = edge + (column + 1) * cell, edge + (row + 1) * cell
            # Right answers in blue, wrong ones in red, stronger for a larger part of this digit.
            part = np.sqrt(counts[row, column] / max(1, counts[row].sum()))
            colour = 255 - part * np.array([200, 120, 0] if row == column else [0, 200, 200])
            draw.rectangle((left, top, left + cell - 2, top + cell - 2), tuple(map(int, colour)))
            if counts[row, column]:
                centre = (left + cell / 2 - 1, top + cell / 2 - 1)
                draw.text(centre, str(counts[row, column]), "black", _font(11), "mm")
    return picture


@functools.lru_cache
def _font(size):
    # The font is decoded anew at each call, and a picture writes a hundred words.
    return ImageFont.load_default(size)


def _image(picture):
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    content = file.getvalue()
    return tf.Summary.Image(
        width=picture.width, height=picture.height, encoded_image_string=content
    )


def _log(writer, step, tag, **value):
    writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag=tag, **value)]), step)


# --------------------------------------------------------------------------------------- settings


def log_settings(writer, name, settings):
    """Tell the HParams tab of a run: `name`, which its row is called, and its settings, a dict.

    Every run declares the same columns, since TensorBoard takes them from any. There are four,
    since it shows five at most, and with five, the accuracy is out of sight.
    """
    from tensorboard.plugins.hparams import api_pb2, summary

    network = "softmax"
    if settings["network"] == "convolutional":
        network = f"conv {settings['kernels']}, fc1 {settings['neurons']}"
    values = {name: settings[name] for name in ["learning_rate", "epochs", "batch_size"]}
    values["network"] = network
    columns = [
        api_pb2.HParamInfo(
            name=column,
            type=api_pb2.DATA_TYPE_STRING if column == "network" else api_pb2.DATA_TYPE_FLOAT64,
            differs=column in ("learning_rate", "epochs"),  # these come first
        )
        for column in values
    ]
    metrics = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=f"test {tag}")
        for tag in ["accuracy", "loss"]
    ]
    # Runs of the same name, in other folders, would share a row.
    group_name = f"{name} {uuid.uuid4().hex[:8]}"
    for part in (
        summary.experiment_pb(columns, metrics),
        summary.session_start_pb(values, group_name=group_name),
    ):
        writer.add_summary(part.SerializeToString())


def log_end(writer, succeeded):
    """Tell the HParams tab that a run has ended, and whether in order."""
    from tensorboard.plugins.hparams import api_pb2, summary

    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    writer.add_summary(summary.session_end_pb(status).SerializeToString())


# ------------------------------------------------------------------------------------- embeddings


def write_projector(writer, session, model, test):
    """Write what the Projector tab shows: a point where `fc1` puts each of the first test images.

    test: a data set with images, float32 (n, 784), and labels, (n,). Nothing is written for a
    network without `hidden` neurons or with other inputs, which a reader may have built, nor for
    one that died: there would be nothing to see, and TensorBoard stumbles over zeros.
    """
    from tensorboard.plugins.projector import projector_config_pb2

    images, labels = test.images[:EMBEDDED], test.labels[:EMBEDDED]
    try:
        hidden = session.graph.get_tensor_by_name("hidden:0")
        activations, logits = session.run([hidden, model.logits], {model.images: images})
    except (KeyError, tf.errors.InvalidArgumentError):
        return
    if not np.ptp(activations, axis=0).any():
        return
    folder = Path(writer.get_logdir())
    points = _principal_components(activations)
    # Where the first line of such a file happens to be UTF-8, as in one of 125, TensorBoard takes
    # it for text, and then shows no run's points at all. A byte of 255 is no UTF-8; at its place it
    # changes the first number by a 30,000th.
    content = bytearray(points.astype("<f4").tobytes())
    content[0] = 255
    (folder / "fc1.bytes").write_bytes(content)
    answers = logits.argmax(axis=1)
    lines = [f"{label}\t{answer}\n" for label, answer in zip(labels, answers, strict=True)]
    (folder / "fc1.tsv").write_text("digit\tread as\n" + "".join(lines))
    _sprite(images).save(folder / "fc1.png")
    config = projector_config_pb2.ProjectorConfig()
    embedding = config.embeddings.add(
        tensor_name="fc1",
        tensor_path="fc1.bytes",
        metadata_path="fc1.tsv",
        tensor_shape=points.shape,
    )
    embedding.sprite.image_path = "fc1.png"
    embedding.sprite.single_image_dim.extend([28, 28])
    part = folder / "fc1.pbtxt"
    part.write_text(str(config))
    part.replace(folder / "projector_config.pbtxt")  # TensorBoard never meets a part of it
    # A TensorBoard that has seen the run before looks for points again when a checkpoint is new; of
    # this one, which holds a single number, it shows nothing.
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(tf.Variable(0.0).initializer)
        saver = tf.train.Saver(save_relative_paths=True)
        saver.save(session, str(folder / "fc1.ckpt"), write_meta_graph=False)


def _principal_components(activations):
    """Turn points, float32 (n, d), to where they spread most: float32 (n, at most COMPONENTS)."""
    # By the products of 20,000 neurons it took more than ten minutes; so it takes four seconds.
    centred = activations - activations.mean(axis=0)
    points, spreads, _ = np.linalg.svd(centred, full_matrices=False)
    return np.float32(points * spreads)[:, :COMPONENTS]


def _sprite(images):
    """Lay images, float32 (n, 784), row by row into a square, black on white like the tab."""
    side = math.ceil(math.sqrt(len(images)))
    sprite = np.full((side * side, 784), 255, np.uint8)
    sprite[: len(images)] = 255 - np.rint(255 * images)
    sprite = sprite.reshape(side, side, 28, 28).transpose(0, 2, 1, 3)
    return Image.fromarray(sprite.reshape(side * 28, side * 28))
