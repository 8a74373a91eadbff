"""Measure how well networks read test digits that are not where MNIST places them.

    python -m tools.shifted_digits           # the newest runs in mnist_example/, one with SHIFT = 8
    python -m tools.shifted_digits --keep    # also saves the figures for the pages

First it moves the test digits to the right. It measures how many each network reads correctly,
moved and centred again, and how similar they are to training digits. Then it measures for each run
how often the page's 7 at the edge is misread. The figures are kept in tools/shifted_digits.json and
drawn as edge.svg and likeness.svg in docs/images/, with English and with Chinese words; a test
compares the pages with them.
"""

import contextlib
import json
from pathlib import Path

import numpy as np

import input_data
import mnist
from page import pictures
from page.digits import Digits
from page.networks import Refusal, TrainedRuns, newest
from support import settings, terminal
from support.centre import centre
from tools import MNIST, PROJECT

RESULTS = Path(__file__).with_name("shifted_digits.json")
SHIFTS = range(9)  # pixels; moved by 8, four of five digits lose ink over the border
EDGE = [[158, 60], [258, 60], [208, 220]]  # what "Try the edge" draws on an empty paper: a 7
DRAWN = 300  # how often the 7 is drawn, each time a little differently
COMPARED = 1000  # how many moved digits are compared with all training digits
SHIFTED = "SHIFT = 8"  # the convolutional network that learned from moved digits
LABELS = [f"{kind}, {view}" for view in ["centred", "as drawn"] for kind in settings.KINDS]
LABELS += [f"{SHIFTED}, as drawn"]

# ------------------------------------------------------------------------------------- measurements


def move_right(images, pixels):
    """Move images, (n, 28, 28), to the right; ink that leaves the field is lost."""
    moved = np.zeros_like(images)
    moved[:, :, pixels:] = images[:, :, : 28 - pixels]
    return moved


def is_read(network, digits, labels):
    """Return which digits, uint8 (n, 28, 28), a network reads correctly: bool (n,)."""
    parts = np.array_split(np.float32(digits.reshape(-1, 784) / 255), 1 + len(digits) // 500)
    answers = np.concatenate([network.probabilities(part).argmax(axis=1) for part in parts])
    return answers == labels


def best_match(training, digits):
    """Return the median likeness of digits, uint8 (n, 28, 28), to their best training digit."""
    with_ink = [digit for digit in np.float32(digits.reshape(-1, 784)) if digit.any()]
    return float(np.median([training.most_like(digit)[0].likeness for digit in with_ink]))


def measure(networks, training, images, labels):
    """Move the test digits, uint8 (n, 28, 28); return the figures, {name: one for each shift}.

    networks: {kind or SHIFTED: a TrainedNetwork}; training: Digits. Accuracies and similarities are
    from 0 to 1. "usual" is the best match of all test digits, not moved.
    """
    figures = {"shift": list(SHIFTS), **{label: [] for label in LABELS}, "best match": []}
    for pixels in SHIFTS:
        moved = move_right(images, pixels)
        views = {"as drawn": moved, "centred": np.stack([centre(digit) for digit in moved])}
        for label in LABELS:
            kind, view = label.split(", ")
            share = is_read(networks[kind], views[view], labels).mean()
            figures[label].append(round(float(share), 4))
        some = moved[:: max(1, len(moved) // COMPARED)]
        figures["best match"].append(round(best_match(training, some), 3))
    return figures | {"usual": round(best_match(training, images), 3)}


def measure_edge(runs):
    """Print how often each network misreads the 7 at the edge, and reads it once it is centred.

    As by an unsteady hand, the ends of the lines move by up to 6 units, which is 0.6 pixels.
    """
    dice = np.random.default_rng(0)
    hands = np.array(EDGE) + dice.uniform(-6, 6, (DRAWN, len(EDGE), 2))
    drawings = [[line] for line in hands.clip(0, pictures.PAPER).tolist()]
    drawn = np.stack([pictures.as_drawn(drawing) for drawing in drawings])
    centred = np.stack([pictures.centred(drawing) for drawing in drawings])
    terminal.say(
        f"\n| run | of {DRAWN}, misread as drawn | read correctly, centred |\n|---|---|---|"
    )
    for record in runs.list():
        with contextlib.suppress(Refusal):  # a network that mnist.py cannot build any more
            network = runs.get(record.name)
            misread, right = (~is_read(network, drawn, 7)).sum(), is_read(network, centred, 7).sum()
            terminal.say(f"| {record.name} | {misread} | {right} |")


# ---------------------------------------------------------------------------- the table, the charts


def rows(figures):
    """Return the rows of the table in docs/results.md, without its head, as Markdown."""
    columns = [[f"{share:.1%}" for share in figures[label]] for label in LABELS]
    columns = [figures["shift"], *columns, [f"{match:.2f}" for match in figures["best match"]]]
    return [f"| {' | '.join(map(str, row))} |" for row in zip(*columns, strict=True)]


CHINESE = {  # the words of the charts
    "Test digits read correctly, moved to the right": "测试集图像右移后的准确率",
    "The less similar a digit, the more often it is misread": "与训练集越不相似，越容易认错",
    "moved by pixels of 28": "右移的像素数（图像宽 28 像素）",
    "convolutional, centred": "卷积网络，居中",
    "convolutional, as drawn": "卷积网络，原样",
    "softmax, centred": "softmax，居中",
    "softmax, as drawn": "softmax，原样",
    f"{SHIFTED}, as drawn": f"{SHIFTED}，原样",
    "read correctly": "准确率",
    "best match": "最佳匹配",
}
CHART = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 370" role="img"
    aria-label="{title}" font-family="system-ui, sans-serif" font-size="14">
<style>
svg {{ background: #ffffff; color: #1b2030 }} .grid {{ stroke: #d5d9e3 }}
.convolutional {{ color: #2f56c8 }} .softmax {{ color: #a8480c }}
.best, .shifted {{ color: #1c7a4b }}
@media (prefers-color-scheme: dark) {{
    svg {{ background: #12151c; color: #eef1f8 }} .grid {{ stroke: #394154 }}
    .convolutional {{ color: #8fabff }} .softmax {{ color: #ffab70 }}
    .best, .shifted {{ color: #6fd6a2 }}
}}
text {{ fill: currentColor; dominant-baseline: middle }}
polyline {{ fill: none; stroke: currentColor; stroke-width: 2.5 }}
.drawn {{ stroke-dasharray: 6 4 }}
</style>
<text x="56" y="18" font-weight="bold">{title}</text>
{parts}
<text x="266" y="352" text-anchor="middle">moved by pixels of 28</text>
</svg>
"""


def chart(title, lines):
    """Draw a chart over SHIFTS as SVG, in colours for light and dark pages.

    lines: {label: (classes of CHART's style, a share from 0 to 1 for each shift)}.
    """
    parts = []
    for share in range(0, 101, 20):
        y = 310 - 2.7 * share
        parts.append(f'<line class="grid" x1="56" x2="476" y1="{y:g}" y2="{y:g}"/>')
        parts.append(f'<text x="48" y="{y:g}" text-anchor="end">{share}%</text>')
    for pixels in SHIFTS:
        parts.append(f'<text x="{56 + 52.5 * pixels}" y="330" text-anchor="middle">{pixels}</text>')
    label_y = 0
    # From top to bottom, so that each label keeps its distance from the label above.
    for label, (classes, shares) in sorted(lines.items(), key=lambda line: -line[1][1][-1]):
        heights = [round(310 - 270 * share, 1) for share in shares]
        points = " ".join(f"{56 + 52.5 * pixels},{y}" for pixels, y in enumerate(heights))
        label_y = max(heights[-1], label_y + 18)
        parts.append(f'<g class="{classes}"><polyline points="{points}"/>')
        parts.append(f'<text x="488" y="{label_y}">{label}</text></g>')
    return CHART.format(title=title, parts="\n".join(parts))


def charts(figures):
    """Return the charts in docs/images/, {name of the file: SVG}."""
    styles = {label: label.replace(", as", "").replace(",", "") for label in LABELS}
    styles[f"{SHIFTED}, as drawn"] = "shifted drawn"
    lines = {label: (styles[label], figures[label]) for label in LABELS}
    matches = {
        "read correctly": lines["convolutional, as drawn"],
        "best match": ("best", figures["best match"]),
    }
    pictures = {
        "edge": chart("Test digits read correctly, moved to the right", lines),
        "likeness": chart("The less similar a digit, the more often it is misread", matches),
    }
    files = {}
    for name, picture in pictures.items():
        files[f"{name}.svg"] = picture
        for english, chinese in CHINESE.items():
            picture = picture.replace(english, chinese)
        files[f"{name}.zh-CN.svg"] = picture
    return files


def main(flags):
    """Measure the runs that the flags name. Raises Problem."""
    parser = settings.Parser(description=__doc__.partition("\n")[0])
    folder = PROJECT / mnist.LOGDIR
    parser.add_argument("--logdir", default=folder, help="folder of the runs")
    parser.add_argument("--data_dir", default=MNIST, help="folder of MNIST")
    parser.add_argument("--keep", action="store_true", help="keep the figures, draw the charts")
    flags = parser.parse_args(flags)
    runs, networks = TrainedRuns(flags.logdir), {}
    records = runs.list()
    chosen = {kind: ([run for run in records if run.shift == 0], kind) for kind in settings.KINDS}
    chosen[SHIFTED] = [run for run in records if run.shift == 8], "convolutional"
    for name, (group, kind) in chosen.items():
        try:
            networks[name] = runs.get(newest(group, kind))
        except Refusal as refusal:
            commands = "mnist.py, mnist.py --learning_rate=0.001 --shift=8, and draw.py"
            sentence = f"No {name} network can be loaded: run {commands}."
            raise terminal.Problem(sentence) from refusal
    data = input_data.read_data_sets(str(flags.data_dir), dtype="uint8", validation_size=0)
    training = Digits(data.train.images, data.train.labels)
    images = data.test.images.reshape(-1, 28, 28)
    figures = measure(networks, training, images, data.test.labels)
    terminal.say(f"The best match of a test digit where it is: {figures['usual']:.3f} (median)\n")
    head = f"| shift | {' | '.join(LABELS)} | best match |\n|{'---|' * (len(LABELS) + 2)}"
    terminal.say("\n".join([head, *rows(figures)]))
    if flags.keep:
        lines = [f'"{name}": {json.dumps(values)}' for name, values in figures.items()]
        RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        for name, picture in charts(figures).items():
            (PROJECT / "docs" / "images" / name).write_text(picture, encoding="utf-8")
    measure_edge(runs)


if __name__ == "__main__":
    terminal.program(main)
