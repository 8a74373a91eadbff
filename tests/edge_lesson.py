"""Measure how well the networks read MNIST's test digits that are shifted to the right, as they are and centred again.

    python tests/edge_lesson.py --data_dir MNIST_data

Prints a table and draws docs/edge.svg. The networks are those that draw.py would take from --logdir.
"""

import argparse
import os
import pathlib
import sys

import numpy as np

PROJECT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import draw
import input_data
import mnist

SHIFTS = range(9)  # pixels; shifted by 8, four of five digits lose ink over the border
COLUMNS = [
    ("convolutional", "centred"),
    ("softmax", "centred"),
    ("convolutional", "as drawn"),
    ("softmax", "as drawn"),
]
COLOURS = {
    "convolutional": ("#2f56c8", "#8fabff"),
    "softmax": ("#a8480c", "#ffab70"),
}  # on light and on dark ground


def shift(images, pixels):
    """Move uint8 (n, 28, 28) to the right; what leaves the field is lost."""
    shifted = np.zeros_like(images)
    shifted[:, :, pixels:] = images[:, :, : 28 - pixels]
    return shifted


def measure(probabilities, images, labels):
    """The accuracies, one row for each shift, one column for each of COLUMNS."""
    rows = []
    for pixels in SHIFTS:
        shifted = shift(images, pixels)
        views = {
            "as drawn": shifted,
            "centred": np.stack([draw.centre(picture) for picture in shifted]),
        }
        answers = {
            view: np.concatenate(
                [
                    probabilities(part.reshape(-1, 784) / np.float32(255)).argmax(axis=2)
                    for part in np.array_split(pictures, 20)
                ]
            )
            for view, pictures in views.items()
        }
        rows.append(
            [
                np.mean(answers[view][:, draw.NETWORKS.index(network)] == labels)
                for network, view in COLUMNS
            ]
        )
        print(
            f"| {pixels} | " + " | ".join(f"{accuracy:.1%}" for accuracy in rows[-1]) + " |",
            flush=True,
        )
    return np.array(rows)


def plot(accuracies):
    """The table as a picture, in SVG: text and lines take the colours that suit a light or a dark page."""
    left, top, width, height = 56, 40, 420, 270

    def at(pixels, accuracy):
        return f"{left + width * pixels / SHIFTS[-1]:.1f},{top + height * (1 - accuracy):.1f}"

    light, dark = (
        " ".join(
            f".{network} {{ color: {colours[scheme]} }}" for network, colours in COLOURS.items()
        )
        for scheme in (0, 1)
    )
    parts = [
        f'''<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 370" role="img"
    aria-label="Accuracy on shifted test digits" font-family="system-ui, sans-serif" font-size="14">
<style>
svg {{ background: #ffffff; color: #1b2030 }} {light} .grid {{ stroke: #d5d9e3 }}
@media (prefers-color-scheme: dark) {{ svg {{ background: #12151c; color: #eef1f8 }} {dark} .grid {{ stroke: #394154 }}
}}
text, circle {{ fill: currentColor }} polyline {{ fill: none; stroke: currentColor; stroke-width: 2.5 }}
</style>
<text x="{left}" y="22" font-weight="bold">Test digits read rightly, shifted to the right by so many pixels</text>'''
    ]
    for tenth in range(0, 11, 2):
        x, y = at(0, tenth / 10).split(",")
        parts.append(
            f'<line class="grid" x1="{x}" x2="{left + width}" y1="{y}" y2="{y}"/>'
            f'<text x="{left - 8}" y="{y}" text-anchor="end" dominant-baseline="middle">{tenth * 10}%</text>'
        )
    for pixels in SHIFTS:
        x, y = at(pixels, 0).split(",")
        parts.append(f'<text x="{x}" y="{float(y) + 22:.1f}" text-anchor="middle">{pixels}</text>')
    parts.append(
        f'<text x="{left + width / 2}" y="{top + height + 44}" text-anchor="middle">pixels of 28</text>'
    )
    label_y = -1000
    for column in np.argsort(
        -accuracies[-1]
    ):  # from the top downwards, so that the labels can be kept apart
        network, view = COLUMNS[column]
        points = [at(pixels, accuracy) for pixels, accuracy in zip(SHIFTS, accuracies[:, column])]
        label_y = max(top + height * (1 - accuracies[-1, column]), label_y + 18)
        dashes = ' stroke-dasharray="6 4"' if view == "as drawn" else ""
        parts.append(
            f'<g class="{network}"><polyline points="{" ".join(points)}"{dashes}/>'
            + "".join(
                '<circle cx="{}" cy="{}" r="3.5"/>'.format(*point.split(",")) for point in points
            )
            + f'<text x="{left + width + 12}" y="{label_y:.1f}" dominant-baseline="middle">'
            f"{network}, {view}</text></g>"
        )
    return "\n".join([*parts, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--logdir",
        default=os.path.join(mnist.HERE, mnist.LOGDIR),
        help="folder of the trained runs",
    )
    parser.add_argument(
        "--data_dir", default=os.path.join(mnist.HERE, mnist.DATA_DIR), help="folder of MNIST"
    )
    parser.add_argument(
        "--picture", default=str(PROJECT / "docs" / "edge.svg"), help="file to draw into"
    )
    flags = parser.parse_args()
    checkpoints = {
        network: draw.newest_checkpoint(flags.logdir, network) for network in draw.NETWORKS
    }
    if not all(checkpoints.values()):
        sys.exit(
            "Both networks must be trained first: run `python mnist.py`, then `python draw.py`."
        )
    test = input_data.read_data_sets(flags.data_dir, dtype="uint8").test
    print(
        "| shift | "
        + " | ".join(f"{network}, {view}" for network, view in COLUMNS)
        + " |\n"
        + "|---" * 5
        + "|"
    )
    accuracies = measure(draw.load(checkpoints), test.images.reshape(-1, 28, 28), test.labels)
    pathlib.Path(flags.picture).write_text(plot(accuracies), encoding="utf-8")


if __name__ == "__main__":
    main()
