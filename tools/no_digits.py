"""Measure of which pictures the page says that they look like no digit.

    python -m tools.no_digits

It asks about test digits, about two of them on one paper, and about letters and other shapes. Those
are drawn as on the page, with the lines in no_digits.txt, each time a little differently. The
answers depend on the training digits and SHIFT alone, so no network is needed.
"""

import time
from pathlib import Path

import numpy as np

import input_data
from page import pictures
from page.digits import TrainingDigits
from page.networks import Refusal
from support import generated_digits, settings, terminal
from support.centre import centre
from support.saved import Record
from tools import MNIST
from tools.shifted_digits import move_right

FORMS = Path(__file__).with_suffix(".txt")
DRAWN = 20  # how often each form is drawn
PAIRS = 300  # of each kind
SHIFTS = [0, 1, 4, 8]


def read_forms():
    """Read no_digits.txt: {(name, a digit like which it is written or ""): points, segments}."""
    forms = {}
    for line in FORMS.read_text(encoding="utf-8").splitlines():
        content = line.partition("#")[0].strip()
        if content:
            name, strokes = content.split(maxsplit=1)
            name, _, digit = name.partition("=")
            forms[name, digit] = generated_digits.read_strokes(strokes)
    return forms


def draw(dice, points, segments):
    """Return the strokes of a form, slanted, turned, stretched and moved a little by chance."""
    haste = dice.uniform(0.3, 1.7)
    x, y = (points + 0.25 * haste * dice.normal(size=points.shape) - 5).T
    stretch, slant, turn = haste * dice.normal(size=3) * [0.15, 0.15, 0.08]
    x = x * (1 + stretch) - y * slant
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    moved = np.stack([x, y], 1) * dice.uniform(16, 23) + pictures.PAPER / 2 + dice.normal(0, 8, 2)
    return [
        curve.clip(0, pictures.PAPER).tolist() for curve in generated_digits.CURVE @ moved[segments]
    ]


def move(images, shift):
    """Move each image, uint8 (n, 28, 28), by up to `shift` in each direction, as training does."""
    data = input_data.DataSet(images, images[:, 0, 0], dtype="uint8", seed=0, shift=shift)
    moved, _ = data.next_batch(len(images))
    return moved.reshape(-1, 28, 28)


def pair(dice, images, distance):
    """Fit two images into one field; `distance` is that of their centres, in their pixels."""
    left, right = images[dice.integers(len(images), size=2)]
    paper = np.zeros((28, 28 + distance), np.uint8)
    paper[:, :28] = left
    paper[:, distance:] = np.maximum(paper[:, distance:], right)
    return centre(paper)


def make_kinds(images):
    """Return the pictures to ask about, {kind: uint8 (n, 28, 28)}; images: the test digits."""
    dice, kinds = np.random.default_rng(0), {"test digits": images}
    views = {"as drawn": pictures.as_drawn, "centred": pictures.centred}
    for (name, digit), form in read_forms().items():
        kind = "other shapes"
        if len(name) == 1:
            kind = "capitals" if name.isupper() else "small letters"
            kind += " like a digit" if digit else " that are no digits"
        drawings = [draw(dice, *form) for _ in range(DRAWN)]
        for view, make in views.items():
            made = [make(drawing) for drawing in drawings]
            kinds.setdefault(f"{kind}, {view}", []).extend(made)
    kinds["two digits side by side"] = [pair(dice, images, 28) for _ in range(PAIRS)]
    kinds["two digits that overlap"] = [pair(dice, images, 14) for _ in range(PAIRS)]
    for pixels in [2, 4, 6, 8]:
        kinds[f"test digits, {pixels} to the right"] = move_right(images[:1000], pixels)
    return {kind: np.stack(made) for kind, made in kinds.items()}


def ask(digits, record, images):
    """Return which share of images, (n, 28, 28), is said to be unlike the digits of a run."""
    parts = np.array_split(images.reshape(-1, 784), 1 + len(images) // 200)
    answers = [answer for part in parts for answer in digits.are_unlike(record, part)]
    return answers.count(True) / len(answers)


def wait(digits, record):
    """Wait until the training digits of a run have been read. Raises Problem if they cannot be."""
    while True:
        try:
            digits.of(record)
            return
        except Refusal as refusal:
            if refusal.code != "reading":
                raise terminal.Problem(f"The training digits cannot be read: {refusal}.") from None
        time.sleep(0.1)


def main(flags):
    """Measure MNIST and the generated digits, and print a table of each. Raises Problem."""
    parser = settings.Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", default=MNIST, help="folder of MNIST")
    folder = str(parser.parse_args(flags).data_dir)
    for generated in [False, True]:
        data = input_data.read_data_sets(folder, generated, dtype="uint8", validation_size=0)
        digits = TrainingDigits(folder)
        record = Record("", "", data=data.train.name, data_dir=folder)
        wait(digits, record)
        test = data.test.images.reshape(-1, 28, 28)
        kinds = make_kinds(test)
        heads = [f"`SHIFT = {shift}`" for shift in SHIFTS]
        terminal.say(f"\n| {data.train.name} | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
        rows = {kind: [] for kind in ["test digits, moved", *kinds]}
        for record.shift in SHIFTS:
            kinds["test digits, moved"] = move(test, record.shift)
            for kind, shares in rows.items():
                shares.append(f"{ask(digits, record, kinds[kind]):.1%}")
        for kind, shares in rows.items():
            terminal.say(f"| {kind} | {' | '.join(shares)} |")


if __name__ == "__main__":
    terminal.program(main)
