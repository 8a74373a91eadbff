"""Measure what networks make of MNIST's test digits that are not where MNIST has them.

    python tools/shifted_digits.py --logdir mnist_example --data_dir MNIST_data

Of digits shifted to the right it tells how many the newest run of each network in --logdir reads
rightly, as they are and centred again, and how like they are to any training digit; with --pictures
docs, it draws that there. Then, for all runs, how often a 1 at the edge, as the page draws it, is
misread.
"""

import contextlib
import sys
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[1] / part) for part in ["", "tests"]]

import input_data
import mnist
from page import digits as similar
from page import pictures as strokes
from page.networks import Networks, Refusal
from support import terminal
from support.settings import NETWORKS, Parser

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
SHIFTS = range(9)  # pixels; shifted by 8, four of five digits lose ink over the border
EDGE = [[[234, 84], [258, 60], [258, 220]]]  # what "Try the edge" draws, a 1 with a flag
DRAWN = 300  # so often it is drawn, each time a little otherwise
ALIKE = 1000  # so many shifted digits are compared with all training digits
COLUMNS = [(network, view) for view in ["centred", "as drawn"] for network in NETWORKS]
COLOURS = {  # on light and on dark ground
    "convolutional": ("#2f56c8", "#8fabff"),
    "softmax": ("#a8480c", "#ffab70"),
    "likeness": ("#1c7a4b", "#6fd6a2"),
}


def shift(images, pixels):
    """Move uint8 (n, 28, 28) to the right; what leaves the field is lost."""
    shifted = np.zeros_like(images)
    shifted[:, :, pixels:] = images[:, :, : 28 - pixels]
    return shifted


def read_rightly(network, pictures, labels):
    """Tell which of uint8 (n, 28, 28) a network reads as their labels say, bool (n,)."""
    parts = np.array_split(np.float32(pictures.reshape(-1, 784) / 255), 1 + len(pictures) // 500)
    answers = np.concatenate([network.probabilities(part).argmax(axis=1) for part in parts])
    return answers == labels


def best_match(digits, pictures):
    """Return the median likeness of uint8 (n, 28, 28) to the training digit most like each."""
    inked = [picture for picture in np.float32(pictures.reshape(-1, 784)) if picture.any()]
    return np.median([digits.most_like(picture, 1)[1][0] for picture in inked])


def measure(networks, digits, images, labels):
    """Print and return a row for each shift: the accuracies of COLUMNS, and the best match."""
    print(f"| shift | {' | '.join(map(', '.join, COLUMNS))} | best match |\n{'|---' * 6}|")
    rows = []
    for pixels in SHIFTS:
        shifted = shift(images, pixels)
        centred = np.stack([strokes.centre(picture) for picture in shifted])
        views = {"as drawn": shifted, "centred": centred}
        row = [read_rightly(networks[name], views[view], labels).mean() for name, view in COLUMNS]
        rows.append([*row, best_match(digits, shifted[:: max(1, len(shifted) // ALIKE)])])
        accuracies = " | ".join(f"{accuracy:.1%}" for accuracy in row)
        print(f"| {pixels} | {accuracies} | {rows[-1][-1]:.2f} |", flush=True)
    return np.array(rows)


def draw_edge(dice):
    """Draw the 1 at the edge by an unsteady hand: its ends move by up to 6 units, 0.6 pixels."""
    line = np.array(EDGE[0]) + dice.uniform(-6, 6, (len(EDGE[0]), 2))
    return [line.clip(0, strokes.PAPER).tolist()]


def usable(networks):
    """Go through the runs whose networks mnist.py can build now."""
    for run in networks.list():
        with contextlib.suppress(Refusal):
            yield networks.get(run["run"])


def measure_edge(loaded):
    """Print how often each network misreads the 1 at the edge, and reads it once centred."""
    dice = np.random.default_rng(0)
    lines = [draw_edge(dice) for _ in range(DRAWN)]
    as_drawn, centred = (
        np.stack([view(line) for line in lines]) for view in (strokes.as_drawn, strokes.centred)
    )
    print(f"\n| run | of {DRAWN} misread as drawn | read rightly, centred |\n|---|---|---|")
    for network in loaded:
        misread, right = ~read_rightly(network, as_drawn, 1), read_rightly(network, centred, 1)
        print(f"| {network.run['run']} | {misread.sum()} | {right.sum()} |", flush=True)


def plot(title, lines):
    """Draw lines as SVG: text and lines take the colours that suit a light or a dark page.

    lines: {label: (name of a colour, dashed or not, a share from 0 to 1 for each of SHIFTS)}.
    """
    left, top, width, height = 56, 40, 420, 270

    def at(pixels, share):
        return round(left + width * pixels / SHIFTS[-1], 1), round(top + height * (1 - share), 1)

    light, dark = (
        " ".join(f".{name} {{ color: {colours[scheme]} }}" for name, colours in COLOURS.items())
        for scheme in (0, 1)
    )
    parts = [
        f'''<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 370" role="img"
    aria-label="{title}" font-family="system-ui, sans-serif" font-size="14">
<style>
svg {{ background: #ffffff; color: #1b2030 }} {light} .grid {{ stroke: #d5d9e3 }}
@media (prefers-color-scheme: dark) {{
    svg {{ background: #12151c; color: #eef1f8 }} {dark} .grid {{ stroke: #394154 }}
}}
text, circle {{ fill: currentColor }}
polyline {{ fill: none; stroke: currentColor; stroke-width: 2.5 }}
</style>
<text x="{left}" y="22" font-weight="bold">{title}</text>'''
    ]
    for fifth in range(6):
        x, y = at(0, fifth / 5)
        parts.append(
            f'<line class="grid" x1="{x}" x2="{left + width}" y1="{y}" y2="{y}"/>'
            f'<text x="{left - 8}" y="{y}" text-anchor="end" dominant-baseline="middle">'
            f"{fifth * 20}%</text>"
        )
    for pixels in SHIFTS:
        x, y = at(pixels, 0)
        parts.append(f'<text x="{x}" y="{y + 22}" text-anchor="middle">{pixels}</text>')
    middle, below = left + width / 2, top + height + 44
    parts.append(
        f'<text x="{middle}" y="{below}" text-anchor="middle">shifted by pixels of 28</text>'
    )
    label_y = -1000
    # From the top downwards, so that the labels can be kept apart.
    for label, (colour, dashed, shares) in sorted(lines.items(), key=lambda line: -line[1][2][-1]):
        points = [at(pixels, share) for pixels, share in zip(SHIFTS, shares, strict=True)]
        label_y = max(points[-1][1], label_y + 18)
        corners = " ".join(f"{x},{y}" for x, y in points)
        dashes = ' stroke-dasharray="6 4"' if dashed else ""
        parts += [f'<g class="{colour}"><polyline points="{corners}"{dashes}/>']
        parts += [f'<circle cx="{x}" cy="{y}" r="3.5"/>' for x, y in points]
        place = f'x="{left + width + 12}" y="{label_y}" dominant-baseline="middle"'
        parts += [f"<text {place}>{label}</text></g>"]
    return "\n".join([*parts, "</svg>", ""])


def main(flags):
    """Measure what the flags name. Raises Problem."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("--logdir", default=PROJECT / mnist.LOGDIR, help="folder of trained runs")
    parser.add_argument("--data_dir", default=PROJECT / mnist.DATA_DIR, help="folder of MNIST")
    parser.add_argument("--pictures", type=Path, help="folder to draw into; nothing if left out")
    flags = parser.parse_args(flags)
    listed = Networks(flags.logdir, mnist.network)
    if not all(listed.first_two()):
        raise terminal.Problem("Both networks must be trained first: run mnist.py, then draw.py.")
    try:
        newest = dict(zip(NETWORKS, map(listed.get, listed.first_two()), strict=True))
    except Refusal as refusal:
        raise terminal.Problem(str(refusal)) from refusal
    data = input_data.read_data_sets(str(flags.data_dir), dtype="uint8", validation_size=0)
    digits = similar.Digits(data.train.images, data.train.labels)
    images = data.test.images.reshape(-1, 28, 28)
    usual = best_match(digits, images)
    print(f"The median test digit is like the training digit most like it by {usual:.3f}.\n")
    *accuracies, likeness = measure(newest, digits, images, data.test.labels).T
    lines = {
        f"{network}, {view}": (network, view == "as drawn", column)
        for (network, view), column in zip(COLUMNS, accuracies, strict=True)
    }
    as_drawn = lines["convolutional, as drawn"]
    pictures = {
        "edge.svg": plot("Test digits read rightly, shifted to the right", lines),
        "likeness.svg": plot(
            "The less a digit is like those in training, the less it is read rightly",
            {"read rightly": as_drawn, "best match": ("likeness", False, likeness)},
        ),
    }
    if flags.pictures:
        for name, picture in pictures.items():
            (flags.pictures / name).write_text(picture, encoding="utf-8")
    measure_edge(usable(listed))


if __name__ == "__main__":
    terminal.program(main)
