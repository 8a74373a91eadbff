"""Make a picture of a digit from pen lines, or from a photo.

A drawing is a list of strokes, each a list of points [x, y] from 0 to PAPER. A picture is uint8,
with rows from top to bottom; 255 is ink.
"""

import dataclasses
import io
import struct

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from page.networks import Refusal
from support.centre import centre, on_white

PAPER = 280  # width and height of a drawing: 10 units for each of a picture's 28 pixels
PEN = 24  # the pen's width in these units, about that of MNIST's digits

Strokes = list[list[list[float]]]

MOST_PIXELS = 50_000_000  # of a photo
SIDE = 800  # a photo's longer side is reduced or enlarged to so many pixels
GRID, WINDOW = 64, 33  # the photo is reduced to GRID; the paper's brightness is a median there
FAINTEST = 0.05  # less contrast to the paper is not ink
WEAKEST = 20  # less ink is a speck; a digit 40 pixels high has about 100 if it is dark
MOST_PARTS = 50  # of the ink in a photo
USUAL_WIDTH = 19  # of the lines of MNIST's digits, as thickened() measures it, 10 for each pixel


def as_drawn(strokes: Strokes) -> np.ndarray:
    """Make the picture of a drawing, uint8 (28, 28), with everything where it was drawn."""
    return np.asarray(draw(strokes).reduce(PAPER // 28))


def centred(strokes: Strokes) -> np.ndarray:
    """Make the picture of a drawing, uint8 (28, 28), with the digit centred as in MNIST."""
    # Scaling the picture instead of the strokes would make a small drawing's lines too thick.
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (PAPER * 20 / 28 - PEN) / max(*(high - low), PEN)  # a dot stays a dot
    middle = (low + high) / 2
    moved = [((np.array(stroke) - middle) * scale + PAPER / 2).tolist() for stroke in strokes]
    return centre(np.asarray(draw(moved)))


def draw(strokes: Strokes) -> Image.Image:
    """Draw lines with a round pen, as a grey image of PAPER x PAPER."""
    sheet = Image.new("L", (PAPER, PAPER))
    pen = ImageDraw.Draw(sheet)
    for stroke in strokes:
        for (x, y), (next_x, next_y) in zip(stroke, stroke[1:] + stroke[-1:], strict=True):
            pen.line([x, y, next_x, next_y], fill=255, width=PEN)
            pen.ellipse([x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2], fill=255)
    return sheet


# ---------------------------------------------------------------------------------------- a photo


@dataclasses.dataclass
class Photo:
    """What is made of a photo."""

    plain: np.ndarray  # uint8 (28, 28): the photo, reduced, and inverted if its ink is dark
    prepared: np.ndarray  # uint8 (28, 28): its largest digit, centred as in MNIST
    inverted: bool  # whether its ink is darker than its paper
    digits: int  # how many were found
    box: list[float]  # left, top, right and bottom of the largest, as shares of the photo's sides


@dataclasses.dataclass(eq=False)  # NumPy's arrays cannot be compared in one word
class Digit:
    """A digit in a photo, or a part of one."""

    runs: np.ndarray  # (n, 3): where ink is, as the row, the start and the end of each run of it
    strength: float  # the sum of the contrast along its outline

    @property
    def box(self) -> np.ndarray:
        """Return left, top, right and bottom."""
        low, high = self.runs.min(axis=0), self.runs.max(axis=0)
        return np.array([low[1], low[0], high[2], high[0] + 1])

    @property
    def sides(self) -> np.ndarray:
        """Return the width and the height of the box."""
        return self.box[2:] - self.box[:2]


def from_photo(content: bytes) -> Photo:
    """Make pictures of the largest digit in a PNG, JPEG or WebP file. Raises Refusal.

    tests/helpers/photos.py made nine kinds of photos of 300 test digits. Of those that the network
    with the default settings reads in MNIST, it read 97 to 99% prepared, and 9 to 20% plain.
    """
    photo = read_photo(content)
    sheet = ImageOps.contain(photo, (SIDE, SIDE))
    light, dark = (find_digits(ink_of(sheet, is_dark)) for is_dark in (False, True))
    if not light and not dark:
        raise Refusal("no-ink")
    inverted = not light or (bool(dark) and dark[0].strength > light[0].strength)
    [digit, *others] = dark if inverted else light
    plain = photo.resize((28, 28))
    return Photo(
        plain=np.asarray(ImageOps.invert(plain) if inverted else plain),
        prepared=centre(thickened(digit)),
        inverted=inverted,
        digits=1 + len([each for each in others if max(each.sides) > max(digit.sides) / 3]),
        box=(digit.box / [*sheet.size, *sheet.size]).tolist(),
    )


def read_photo(content: bytes) -> Image.Image:
    """Return the grey image in a file, upright; what is transparent is white. Raises Refusal."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "JPEG", "WEBP"]) as file:
            if file.width * file.height > MOST_PIXELS:
                raise Refusal("too-large-photo")
            file.draft("L", (SIDE, SIDE))  # a large JPEG file is decoded at a fraction of its size
            image = file.convert("RGBA")
            image.thumbnail((SIDE, SIDE))
            image = ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:  # of far more pixels
        raise Refusal("too-large-photo") from error
    except (OSError, ValueError, SyntaxError, struct.error) as error:  # of a damaged file
        raise Refusal("not-a-photo") from error
    return on_white(image)


def ink_of(sheet: Image.Image, is_dark: bool) -> np.ndarray:
    """Return the contrast of each pixel to the paper, (height, width): above 0 may be ink.

    The paper's brightness is a median over WINDOW, as ink covers less than half of that. A shadow
    changes paper and ink by the same share, so it hardly changes the contrast.
    """
    grid = sheet.resize([max(1, side * GRID // SIDE) for side in sheet.size], Image.Resampling.BOX)
    # Beyond the border, the light changes further as it does inside.
    beyond = np.pad(np.asarray(grid, np.int16), WINDOW // 2, "reflect", reflect_type="odd")
    around = Image.fromarray(np.uint8(np.clip(beyond, 0, 255)))
    median = ImageOps.crop(around.filter(ImageFilter.MedianFilter(WINDOW)), WINDOW // 2)
    # At the edge of a shadow, the paper counts as dark as on its darker side, or for light ink as
    # light as on its lighter side. Otherwise, the edge would look like a line.
    nearby = ImageFilter.MinFilter(3) if is_dark else ImageFilter.MaxFilter(3)
    median = median.filter(nearby).resize(sheet.size)
    paper = np.asarray(median, np.float32)
    seen = np.asarray(sheet.filter(ImageFilter.GaussianBlur(1)), np.float32)  # with less noise
    if not is_dark:  # a corner of white paper on a dark table is not chalk
        paper = np.maximum(paper, np.median(seen))
    difference = paper - seen if is_dark else seen - paper
    return difference / (paper + seen + 64)  # 64: in black parts, noise would be a large share


def threshold(ink: np.ndarray) -> float:
    """Return the contrast from which on there is ink.

    What stands out from noise is divided into the two groups that differ most (Otsu 1979), such as
    the lines of squared paper and ink. At the edge of a line, the contrast is half of that within:
    so half the mean of the second group is returned, if it stands out from noise.
    """
    # In half of the pixels, or more, there is only noise. Its standard deviation, if it is normal:
    noise = np.diff(np.quantile(ink[::4, ::4], [0.35, 0.5]))[0] / 0.385
    lowest = max(FAINTEST, 5 * noise)
    counts, edges = np.histogram(ink[ink > lowest], 256, (0, 1))
    below, sums = np.cumsum(counts), np.cumsum(counts * edges[1:])
    above = below[-1] - below
    means = (sums[-1] - sums) / np.maximum(above, 1)
    variances = below * above * (means - sums / np.maximum(below, 1)) ** 2
    return max(lowest, means[variances.argmax()] / 2)


def label_runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the runs of ink in all rows of a mask, and label those that are connected alike.

    Returns the row, the start and the end of each run, (n, 3); and the label of each, (n,), which
    is the number of the first run that is connected to it.
    """
    edges = np.diff(np.pad(mask, [(0, 0), (1, 1)]).astype(np.int8))
    rows, starts = np.nonzero(edges > 0)
    _, ends = np.nonzero(edges < 0)
    # The runs below a run that touch it: they end after its start, and start before its end.
    width = mask.shape[1] + 2
    first = np.searchsorted(rows * width + ends, (rows + 1) * width + starts)
    last = np.searchsorted(rows * width + starts, (rows + 1) * width + ends, "right")
    pairs = [(run, below) for run in range(len(rows)) for below in range(first[run], last[run])]
    upper, lower = np.array(pairs, int).reshape(-1, 2).T
    labels = np.arange(len(rows))
    while (labels[upper] != labels[lower]).any():
        least = np.minimum(labels[upper], labels[lower])
        np.minimum.at(labels, labels[upper], least)
        np.minimum.at(labels, labels[lower], least)
        labels = labels[labels]
    return np.stack([rows, starts, ends], axis=1), labels


def find_parts(ink: np.ndarray) -> list[Digit]:
    """Return the connected parts of the ink, the strongest first.

    What reaches the photo's border is left out: the table, a shadow, the lines of squared paper.
    """
    mask = ink > threshold(ink)
    runs, labels = label_runs(mask)
    inner = np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MinFilter(3))) > 0
    outline = mask & ~inner
    sums = np.cumsum(np.pad((ink * outline).ravel(), (1, 0)), dtype=float)
    height, width = ink.shape
    starts, ends = runs[:, 0] * width + runs[:, 1], runs[:, 0] * width + runs[:, 2]
    strengths = np.bincount(labels, sums[ends] - sums[starts])
    strongest = np.argsort(-strengths)[: min(MOST_PARTS, np.count_nonzero(strengths))]
    parts = [Digit(runs[labels == label], strengths[label]) for label in strongest]
    return [part for part in parts if min(*part.box, *([width, height] - part.box[2:])) > 0]


def find_digits(ink: np.ndarray) -> list[Digit]:
    """Return the digits in a photo, the strongest first, each joined from its parts."""
    parts = find_parts(ink)
    digits = []
    while parts:
        digit = parts.pop(0)
        while near := [part for part in parts if belongs(part, digit)]:
            runs = np.concatenate([part.runs for part in [digit, *near]])
            digit = Digit(runs, digit.strength + sum(part.strength for part in near))
            parts = [part for part in parts if part not in near]
        if digit.strength >= WEAKEST:
            digits.append(digit)
    return digits


def belongs(part: Digit, digit: Digit) -> bool:
    """Return whether a part is so near that it belongs to a digit, like the bar of a 5.

    A part beside it that is half as high may be a digit of its own: it must be nearer.
    """
    size = max(digit.sides)
    gaps = np.maximum(digit.box[:2] - part.box[2:], part.box[:2] - digit.box[2:])
    shared = -gaps[0]  # the width that both have in common
    is_beside = shared < min(part.sides[0], digit.sides[0]) / 2
    farthest = size / (20 if is_beside and part.sides[1] > size / 2 else 8)
    return bool(gaps.max() < farthest)


def thickened(digit: Digit) -> np.ndarray:
    """Scale a digit to 200 pixels, and make its lines at least about as wide as MNIST's.

    Returns uint8 (height, width). Of 150 test digits drawn with a thin pen, the network with the
    default settings read 97% of those that it reads in MNIST, and 55% if they were not thickened.
    """
    mask = np.zeros(digit.sides[::-1], np.uint8)
    left, top = digit.box[:2]
    for row, start, end in digit.runs:
        mask[row - top, start - left : end - left] = 255
    size = [max(1, round(200 * side / max(digit.sides))) for side in digit.sides]
    image = Image.fromarray(mask).resize(size).point(lambda value: 255 * (value > 127))
    image = ImageOps.expand(image, USUAL_WIDTH)
    inner = image.filter(ImageFilter.MinFilter(3))
    # The outline is about twice as long as the lines.
    area, inside = (np.count_nonzero(np.asarray(each)) for each in (image, inner))
    width = 2 * area / max(area - inside, 1)
    for _ in range(int((USUAL_WIDTH - width) / 2)):
        image = image.filter(ImageFilter.MaxFilter(3))  # adds one pixel on each side
    return np.asarray(image)
