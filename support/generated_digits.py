"""Draw handwritten digits, so that the lesson also runs where MNIST cannot be downloaded.

generated_digits.txt lists ways to write each digit. For each image, the points of one way are
moved a little. A smooth curve through them is bent, stretched, slanted and turned, so that no two
images are alike. A round pen draws the curve, and the ink is centred as in MNIST.
"""

import contextlib
import hashlib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from support.centre import centre

WAYS = Path(__file__).with_suffix(".txt")

TRAIN_SIZE = 30_000  # images that load() draws for training
TEST_SIZE = 5_000  # images that load() draws for the test

# How much handwriting varies. "About" means a standard deviation. Each image has 0.3 to 1.7 of it,
# as some images are written in more haste than others.
JITTER = 0.3  # how far a point is moved, in units of generated_digits.txt, about
BEND = 0.075  # how strongly the digit is bent, about
STRETCH = 0.15  # by what share it is made wider or narrower, about
LEAN = 0.14  # how far the average digit leans to the right
SLANT = 0.17  # how much more or less than LEAN an image leans, about
TURN = 0.1  # the angle by which it is turned, in radians, about
THINNEST, THICKEST = 1.5, 4.6  # width of the pen in pixels of MNIST; thin pens are more frequent

FINE = 4  # the pen draws on pixels this many times smaller than MNIST's, for smooth edges

# Catmull and Rom 1974: a cubic curve from the second of four points to the third. At each of these
# two, its direction is that of the line from the point before to the point after. CURVE holds the
# weights of the four points at seven places of the curve.
CUBIC = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
CURVE = np.linspace(0, 1, 7)[:, None] ** [0, 1, 2, 3] @ CUBIC

Uint8 = NDArray[np.uint8]


def generate(size: int, seed: int | list[int]) -> tuple[Uint8, Uint8]:
    """Draw `size` digits, each of the ten equally often, in random order.

    Returns the images, uint8 of shape (size, 28, 28), white (255) on black (0), and their labels,
    uint8 of shape (size,). Raises ValueError if size is not a multiple of ten, or
    generated_digits.txt cannot be read.
    """
    if size < 10 or size % 10:
        raise ValueError(f"size must be a multiple of ten, so that all digits come, not {size}")
    rng, ways = np.random.default_rng(seed), _read_ways()
    labels = rng.permutation(np.arange(size) % 10).astype(np.uint8)
    images = [_draw(rng, *ways[label][rng.integers(len(ways[label]))]) for label in labels]
    return np.stack(images), labels


def load(folder: str | Path) -> tuple[Uint8, Uint8, Uint8, Uint8]:
    """Return the images and labels for training, then those for the test, as generate() does.

    They are drawn once, in seconds, and kept in a file in the folder if that is possible.
    The name of the file depends on this module and on generated_digits.txt: when either
    changes, new images are drawn.
    """
    source = hashlib.sha256(Path(__file__).read_bytes() + WAYS.read_bytes()).hexdigest()
    path = Path(folder, f"generated-digits-{source[:8]}.npz")
    with contextlib.suppress(Exception), np.load(path) as file:  # it may be missing or damaged
        return file["arr_0"], file["arr_1"], file["arr_2"], file["arr_3"]
    arrays = (*generate(TRAIN_SIZE, [0, 0]), *generate(TEST_SIZE, [0, 1]))
    packed = io.BytesIO()  # NumPy 1 shows a traceback if the disk is full when it writes to a file
    np.savez(packed, *arrays)
    with contextlib.suppress(OSError):  # where the folder cannot be written to, nothing is kept
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".tmp")
        part.write_bytes(packed.getbuffer())
        part.replace(path)  # so that there is never half a file, whenever the program is killed
    return arrays


def _read_ways():
    """Read generated_digits.txt: for each digit, a list of what read_strokes returns.

    A way with the frequency 3 is in the list three times.
    """
    ways = [[] for _ in range(10)]
    for number, line in enumerate(WAYS.read_text(encoding="utf-8").splitlines(), 1):
        content = line.partition("#")[0].strip()
        try:
            if content:
                digit, frequency, strokes = content.split(maxsplit=2)
                ways[int(digit)] += [read_strokes(strokes)] * int(frequency)
        except (ValueError, IndexError) as error:
            raise ValueError(f"{WAYS}, line {number}, cannot be read: {line!r}") from error
    if [] in ways:
        raise ValueError(f"{WAYS} has no way to write the digit {ways.index([])}")
    return ways


def read_strokes(strokes: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a way, (points, 2), and its segments, (segments, 4).

    A segment leads from one point to the next. Its row holds the indices of four points: the
    one before the segment, its start, its end, and the one after it.
    """
    points: list[list[float]] = []
    segments: list[tuple] = []
    for stroke in strokes.split(";"):
        order = []  # ends and corners are repeated, so that no point beyond them bends the curve
        for word in stroke.split():
            order += [len(points)] * (2 if word.endswith("!") else 1)
            x, y = word.rstrip("!").split(",")
            points.append([float(x), float(y)])
        order = [order[0], *order, order[-1]]
        segments += zip(order, order[1:], order[2:], order[3:], strict=False)
    rows = np.array(segments)
    return np.array(points), rows[rows[:, 1] != rows[:, 2]]


def _draw(rng, points, segments):
    """Draw a digit from the points and segments of a way: uint8 (28, 28)."""
    haste = rng.uniform(0.3, 1.7)
    moved = points + JITTER * haste * rng.normal(size=points.shape)
    x, y = (CURVE @ moved[segments] / 5 - 1).transpose(2, 0, 1)  # each (segments, 7)
    # Smooth distortion shows a network what may vary (Simard, Steinkraus and Platt 2003).
    a, b, c, d, e, f = BEND * haste * rng.normal(size=6)
    x, y = x + a * x * x + b * x * y + c * y * y, y + d * x * x + e * x * y + f * y * y
    stretch, slant, turn = haste * rng.normal(size=3) * [STRETCH, SLANT, TURN]
    x = x * (1 + stretch) - y * (LEAN + slant)
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    # The ink fills a box of 20 x 20 pixels of MNIST, so that `centre` keeps the pen's width.
    a, b, c = rng.uniform(size=3)
    width = FINE * (THINNEST + (THICKEST - THINNEST) * a * (b + c) / 2)
    scale = (20 * FINE - width) / max(np.ptp(x), np.ptp(y))
    curve = np.stack([x - x.min(), y - y.min()], 2) * scale + width / 2
    picture = Image.new("L", (20 * FINE + 1, 20 * FINE + 1))
    pen = ImageDraw.Draw(picture)
    for segment in curve:
        pen.line(segment.ravel().tolist(), 255, round(width))
        for place in segment[::3]:  # round ends and bends
            pen.ellipse([*(place - width / 2), *(place + width / 2)], 255)
    return centre(np.asarray(picture))
