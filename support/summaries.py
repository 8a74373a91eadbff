"""What TensorBoard is given to show: curves, weights, hyperparameters, mistakes and embeddings."""

import contextlib
import errno
import functools
import io
import itertools
import math
import os
import shutil

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image, ImageDraw, ImageFont
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams import summary as hparams_summary
from tensorboard.plugins.projector import projector_config_pb2

LEAST_FREE = (
    4_000_000  # bytes on the disk; with the defaults, 60,000 are written from one flush to the next
)
EMBEDDED = 1024  # digits in the projector; their pictures fill a sprite of 32 x 32


def new_folder(logdir, name):
    """Create the folder `name` in `logdir`, or `name,2`, `name,3`, ... where it exists, and return its path.

    Runs that start at the same moment get different folders, as a folder can be created only once.
    Raises OSError when it cannot be created.
    """
    for repetition in itertools.count(1):
        folder = os.path.join(logdir, name if repetition == 1 else f"{name},{repetition}")
        try:
            os.makedirs(folder)
            return folder
        except FileExistsError:
            continue


def log_scalars(writer, step, accuracy, loss):
    """Add a point to the two curves that TensorBoard shows under Scalars."""
    writer.add_summary(
        tf.Summary(
            value=[
                tf.Summary.Value(tag="accuracy", simple_value=accuracy),
                tf.Summary.Value(tag="loss", simple_value=loss),
            ]
        ),
        step,
    )


def flush(*writers):
    """Bring what was written onto the disk, for TensorBoard to find.

    Raises OSError if a writer's folder was deleted or its disk is nearly full. The writers themselves would lose what
    they are given without a complaint, in the one case always, in the other whenever an event is larger than a buffer.
    """
    for writer in writers:
        writer.flush()
        folder = writer.get_logdir()
        try:
            free = shutil.disk_usage(folder).free
        except FileNotFoundError:
            raise FileNotFoundError(
                errno.ENOENT, "deleted while the run was writing to it", folder
            ) from None
        if free < LEAST_FREE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)


# ------------------------------------------------------------------------------------------------ weights


def of_weights(variables):
    """An operation that gives, as one summary, the histogram of every variable and the picture of conv's kernels.

    Each histogram has its variable's name as its tag. Running the operation raises tf.errors.InvalidArgumentError if
    a value is infinite or NaN.
    """
    with tf.name_scope("summaries"):
        # tf.summary.histogram would find the variable's name taken, and call its tag Weights_1.
        parts = [
            tf.raw_ops.HistogramSummary(tag=variable.op.name, values=variable)
            for variable in variables
        ]
        for variable in variables:
            if variable.op.name == "conv/Weights":
                parts.append(
                    tf.raw_ops.ImageSummary(
                        tag="conv/kernels", tensor=_tiles(variable), max_images=1
                    )
                )
        return tf.summary.merge(parts)


def _tiles(kernels):
    """Kernels, float32 (height, width, inputs, n), of the first input, as one picture, uint8 (1, y, x, 1), in a square.

    Each weight is 10x10 pixels: grey is 0, white the largest weight, black its opposite.
    """
    height, width, _, count = kernels.shape.as_list()
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    brightness = 127.5 + 127.5 * kernels[:, :, 0] / tf.reduce_max(tf.abs(kernels[:, :, 0]))
    brightness = tf.repeat(tf.repeat(brightness, 10, axis=0), 10, axis=1)
    brightness = tf.pad(brightness, [[4, 4], [4, 4], [0, rows * columns - count]])
    height, width = 10 * height + 8, 10 * width + 8
    grid = tf.transpose(tf.reshape(brightness, [height, width, rows, columns]), [2, 0, 3, 1])
    return tf.cast(tf.reshape(grid, [1, rows * height, columns * width, 1]), tf.uint8)


# ------------------------------------------------------------------------------------------------ mistakes


def log_mistakes(writer, step, test, logits):
    """Add two pictures: the test digits that the network gets wrong most confidently, and its confusion matrix.

    test: a data set with images, float32 (n, 784) in [0, 1], and labels, whole numbers (n,); logits: float32 (n, 10).
    """
    _log_picture(writer, step, "mistakes", mistakes(test.images, test.labels, logits))
    _log_picture(writer, step, "confusion", confusion(test.labels, logits.argmax(axis=1)))


def mistakes(images, labels, logits, rows=4, columns=8):
    """The wrong answers that the network gives the highest probability, each with the true digit and its answer."""
    answers = logits.argmax(axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    confidence = 1 / np.exp(shifted).sum(axis=1)  # the softmax function's largest value
    wrong = np.flatnonzero(answers != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][: rows * columns]
    picture = Image.new("L", (columns * 88, rows * 110), 40)
    draw = ImageDraw.Draw(picture)
    for place, index in enumerate(worst):
        left, top = place % columns * 88 + 2, place // columns * 110 + 2
        digit = Image.fromarray(np.uint8(np.rint(images[index].reshape(28, 28) * 255))).resize(
            (84, 84), Image.NEAREST
        )
        picture.paste(digit, (left, top))
        draw.text(
            (left + 42, top + 94), f"{labels[index]} read as {answers[index]}", 255, _font(14), "mm"
        )
    return picture


def confusion(labels, answers):
    """A 10x10 table as a picture: how often each true digit (row) got each answer (column)."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, answers), 1)
    cell = 44
    picture = Image.new("RGB", (11 * cell + 24, 11 * cell + 24), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((24 + 6 * cell, 12), "answer of the network", "black", _font(14), "mm")
    sideways = Image.new("RGB", (10 * cell, 24), "white")
    ImageDraw.Draw(sideways).text((5 * cell, 12), "true digit", "black", _font(14), "mm")
    picture.paste(sideways.rotate(90, expand=True), (0, 24 + cell))
    for row in range(10):
        middle = 24 + (row + 1.5) * cell
        draw.text((24 + cell / 2, middle), str(row), "black", _font(18), "mm")
        draw.text((middle, 24 + cell / 2), str(row), "black", _font(18), "mm")
        for column in range(10):
            left, top = 24 + (column + 1) * cell, 24 + (row + 1) * cell
            # Right answers in blue, wrong ones in red, the stronger the larger the part of this digit's images.
            part = np.sqrt(counts[row, column] / max(1, counts[row].sum()))
            colour = 255 - part * np.array([200, 120, 0] if row == column else [0, 200, 200])
            draw.rectangle(
                (left, top, left + cell - 2, top + cell - 2), tuple(int(c) for c in colour)
            )
            if counts[row, column]:
                draw.text(
                    (left + cell / 2 - 1, top + cell / 2 - 1),
                    str(counts[row, column]),
                    "black",
                    _font(15),
                    "mm",
                )
    return picture


@functools.lru_cache
def _font(size):
    return ImageFont.load_default(
        size
    )  # decoded anew at each call, and a picture writes a hundred words


def _png(picture):
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _log_picture(writer, step, tag, picture):
    encoded = tf.Summary.Image(
        width=picture.width, height=picture.height, encoded_image_string=_png(picture)
    )
    writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag=tag, image=encoded)]), step)


# ------------------------------------------------------------------------------------------------ hyperparameters


@contextlib.contextmanager
def experiment(writer, folder, **settings):
    """Tell the HParams tab which settings the run in `folder` has, and how it ended when the `with` block does."""
    metrics = [
        hparams.Metric("accuracy", display_name="test accuracy"),
        hparams.Metric("loss", display_name="test loss"),
    ]
    columns = [hparams.HParam(setting) for setting in settings]
    values = hparams.hparams_pb(settings, trial_id=os.path.basename(folder))
    for summary in hparams.hparams_config_pb(columns, metrics), values:
        writer.add_summary(summary.SerializeToString())
    status = api_pb2.STATUS_FAILURE
    try:
        yield
        status = api_pb2.STATUS_SUCCESS
    finally:
        writer.add_summary(hparams_summary.session_end_pb(status).SerializeToString())


def read_run(folder, step=None):
    """What a run's folder tells of it: its settings, and `step`, `accuracy` and `loss` of one test, as a dict.

    The test is that at `step`, or the last. Raises ValueError if the folder holds no run with such a test.
    """
    events = event_accumulator.EventAccumulator(
        os.path.join(folder, "test"), {event_accumulator.SCALARS: 0}
    ).Reload()
    try:
        start = metadata.parse_session_start_info_plugin_data(
            events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        )
        curves = {
            tag: {event.step: event.value for event in events.Scalars(tag)}
            for tag in ["accuracy", "loss"]
        }
        step = max(curves["accuracy"]) if step is None else step
        last = {"step": step} | {tag: values[step] for tag, values in curves.items()}
    except (KeyError, ValueError):
        raise ValueError(f"{folder} holds no such test of a network") from None
    return {
        name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()
    } | last


# ------------------------------------------------------------------------------------------------ embeddings


def write_projector(folder, activations, test, logits):
    """Write what the Projector tab shows: one point for each of the first EMBEDDED test images, with its picture.

    activations: float32 (EMBEDDED, d), the points; test: a data set with images, float32 (n, 784) in [0, 1], and
    labels, whole numbers (n,); logits: float32 (n, 10).
    """
    if (
        not activations.any()
    ):  # of a network that died there is nothing to see, and TensorBoard stumbles over zeros
        return
    activations.tofile(os.path.join(folder, "fc1.bytes"))
    with open(os.path.join(folder, "fc1.tsv"), "w") as file:
        file.write("digit\tread as\n")
        file.writelines(
            f"{label}\t{answer}\n"
            for label, answer in zip(test.labels[:EMBEDDED], logits[:EMBEDDED].argmax(axis=1))
        )
    images = test.images[:EMBEDDED]
    side = math.ceil(math.sqrt(len(images)))  # the pictures stand in a square, row by row
    sprite = np.full((side * side, 784), 255, np.uint8)
    sprite[: len(images)] = 255 - np.rint(255 * images)  # black on white, as the tab's background
    sprite = sprite.reshape(side, side, 28, 28).transpose(0, 2, 1, 3).reshape(side * 28, side * 28)
    Image.fromarray(sprite).save(os.path.join(folder, "fc1.png"))
    config = projector_config_pb2.ProjectorConfig()
    embedding = config.embeddings.add(
        tensor_name="fc1",
        tensor_path="fc1.bytes",
        metadata_path="fc1.tsv",
        tensor_shape=activations.shape,
    )
    embedding.sprite.image_path = "fc1.png"
    embedding.sprite.single_image_dim.extend([28, 28])
    with open(os.path.join(folder, "fc1.pbtxt"), "w") as file:
        file.write(str(config))
    os.replace(
        file.name, os.path.join(folder, "projector_config.pbtxt")
    )  # TensorBoard never meets a part of it
