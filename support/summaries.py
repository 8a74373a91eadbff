"""Pictures and tables for TensorBoard: curves, kernels, mistakes, settings, embeddings."""

import functools
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from support.tensorflow1 import tf

# TensorBoard's own modules import TensorFlow, and not quietly: they are imported where they are
# used.

EMBEDDED = 1024  # digits in the projector; their pictures fill a sprite of 32 x 32


def curves(accuracy, loss):
    """Make a point of both curves, for tf.summary.FileWriter.add_summary."""
    values = {"accuracy": accuracy, "loss": loss}
    return tf.Summary(
        value=[tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    )


# ---------------------------------------------------------------------------------------- kernels


def log_kernels(writer, step, kernels):
    """Add a picture of kernels, float32 (5, 5, inputs, n), of the first input, in a square.

    Each weight is 10x10 pixels: grey is 0, white the largest weight, black its opposite.
    """
    kernels = kernels[:, :, 0]
    height, width, count = kernels.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    brightness = 127.5 + 127.5 * kernels / np.abs(kernels).max()
    brightness = brightness.repeat(10, axis=0).repeat(10, axis=1)
    brightness = np.pad(brightness, [(4, 4), (4, 4), (0, rows * columns - count)])
    height, width = 10 * height + 8, 10 * width + 8
    grid = brightness.reshape(height, width, rows, columns).transpose(2, 0, 3, 1)
    picture = Image.fromarray(np.uint8(grid.reshape(rows * height, columns * width)))
    _log_picture(writer, step, "conv/kernels", picture)


# --------------------------------------------------------------------------------------- mistakes


def log_mistakes(writer, step, test, logits):
    """Add two pictures: the most confident mistakes on the test digits, and the confusion matrix.

    test: a data set with images, float32 (n, 784) in [0, 1], and labels, whole numbers (n,);
    logits: float32 (n, 10).
    """
    _log_picture(writer, step, "mistakes", mistakes(test.images, test.labels, logits))
    _log_picture(writer, step, "confusion", confusion(test.labels, logits.argmax(axis=1)))


def mistakes(images, labels, logits, rows=4, columns=8):
    """Show the wrong answers of the highest probability, with the true digit and the answer."""
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
    """Show, as a 10x10 table, how often each true digit (row) got each answer (column)."""
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
            # Right answers in blue, wrong ones in red, the stronger the larger the part of this
            # digit's images.
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


# --------------------------------------------------------------------------------------- settings


def log_settings(writer, name, record):
    """Tell the HParams tab which settings a run has; name: what its row is called."""
    from tensorboard.plugins.hparams import api

    metrics = [
        api.Metric("accuracy", display_name="test accuracy"),
        api.Metric("loss", display_name="test loss"),
    ]
    columns = ["learning_rate", "epochs", "network", "data", "batch_size", "kernels", "neurons"]
    settings = {column: record[column] for column in columns if column in record}
    config = api.hparams_config_pb([api.HParam(column) for column in columns], metrics)
    values = api.hparams_pb(settings, trial_id=name)
    for summary in config, values:
        writer.add_summary(summary.SerializeToString())


def log_end(writer, succeeded):
    """Tell the HParams tab that a run has ended, and whether in order."""
    from tensorboard.plugins.hparams import api_pb2, summary

    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    writer.add_summary(summary.session_end_pb(status).SerializeToString())


# ------------------------------------------------------------------------------------- embeddings


def write_projector(writer, session, model, test, logits):
    """Write what the Projector tab shows: a point where `fc1` puts each of the first test images.

    test: a data set with images, float32 (n, 784), and labels, (n,); logits: float32 (n, 10), the
    network's on all of them. Nothing is written for a network without `hidden` neurons, nor for one
    that died: there would be nothing to see, and TensorBoard stumbles over zeros.
    """
    from tensorboard.plugins.projector import projector_config_pb2

    try:
        hidden = session.graph.get_tensor_by_name("hidden:0")
    except KeyError:
        return
    images = test.images[:EMBEDDED]
    activations = session.run(hidden, {model.images: images})
    if not activations.any():
        return
    folder = Path(writer.get_logdir())
    activations.tofile(folder / "fc1.bytes")
    answers = logits[:EMBEDDED].argmax(axis=1)
    lines = [f"{label}\t{answer}\n" for label, answer in zip(test.labels, answers, strict=False)]
    (folder / "fc1.tsv").write_text("digit\tread as\n" + "".join(lines))
    _sprite(images).save(folder / "fc1.png")
    config = projector_config_pb2.ProjectorConfig()
    embedding = config.embeddings.add(
        tensor_name="fc1",
        tensor_path="fc1.bytes",
        metadata_path="fc1.tsv",
        tensor_shape=activations.shape,
    )
    embedding.sprite.image_path = "fc1.png"
    embedding.sprite.single_image_dim.extend([28, 28])
    part = folder / "fc1.pbtxt"
    part.write_text(str(config))
    part.replace(folder / "projector_config.pbtxt")  # TensorBoard never meets a part of it


def _sprite(images):
    """Lay images, float32 (n, 784), row by row into a square, black on white like the tab."""
    side = math.ceil(math.sqrt(len(images)))
    sprite = np.full((side * side, 784), 255, np.uint8)
    sprite[: len(images)] = 255 - np.rint(255 * images)
    sprite = sprite.reshape(side, side, 28, 28).transpose(0, 2, 1, 3)
    return Image.fromarray(sprite.reshape(side * 28, side * 28))
