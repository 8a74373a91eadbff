"""Draw handwritten digits, so that the lesson also runs where no mirror of MNIST can be reached.

Each image begins as one of the ways to write its digit in the table WAYS. Its control points are
moved a little, a smooth curve is led through them, and the whole is bent, stretched, slanted and
turned: no two images are alike. A round pen draws the curve, and the result is placed in its field
as MNIST places its digits. Edit the table, run the lesson again, and see what the network makes of
your hand.

The same seed gives the same images, to the last bit, on every machine. For that, the code
- takes random numbers from RandomState, whose streams NumPy has frozen (its policy NEP 19) while
  those of default_rng may change, and builds bell-shaped ones from uniform ones;
- computes with + - * /, square roots and comparisons alone, which IEEE 754 defines to the last bit.
  Sines, powers, matrix products and sums of many floats differ in their last digits between
  processors and versions of NumPy.
"""

import hashlib
import io
import uuid
from contextlib import suppress
from pathlib import Path

import numpy as np

TRAIN_SIZE = 30_000  # images that load() draws to learn from ...
TEST_SIZE = 5_000  # ... and to be tested on

# How hands differ. "About" is the standard deviation of a bell-shaped random number; each image
# takes 0.2 to 1.2 of it.
JITTER = 0.35  # how far a control point strays, in units of the table below, about
PRESSURE = 0.15  # by what share the pen's width changes along a stroke, about
BEND = 0.09  # how strongly the whole digit is bent, about
STRETCH = 0.18  # by what share it is made wider or narrower, about
LEAN = 0.14  # most hands lean to the right ...
SLANT = 0.22  # ... and one leans more or less than that, about
TURN = 0.06  # tangent of half the angle by which it is turned, about
THINNEST, THICKEST = 1.7, 4.9  # width of the pen in pixels; thin ones are more frequent
EDGE = 1.3  # pixels over which ink fades into paper

SAMPLES = 96  # points at which the pen touches the paper, less than a pixel apart
BLOCK = 64  # images drawn at a time: few enough that their arrays stay in the processor's cache

# digit: ways to write it, each as (how frequent it is, strokes). A stroke lists the points "x,y"
# that the pen passes, x to the right, y down, a digit being about ten units tall. "!" marks a
# sharp corner, ";" is where the pen is lifted.
WAYS = {
    0: [
        (2, "5,0 2.6,1.2 1.4,5 2.6,8.8 5,10 7.4,8.8 8.6,5 7.4,1.2 5,0"),  # round
        (2, "5,0 3.4,1.4 2.8,5 3.4,8.6 5,10 6.6,8.6 7.2,5 6.6,1.4 5,0"),  # narrow
        (2, "5,1 1.8,2.2 0.4,5.5 2.6,8.7 6,8.6 9.2,6 9,2.4 5,1"),  # wide
        (2, "4,0.6 1.9,3 1.5,7 3.6,9.8 6.4,9.6 8.4,6.4 8,2.6 5.8,0.2"),  # open at the top
        (1, "3.2,1.6 1.8,4.6 2.2,8 4.4,10 7,9 8,5.5 7.2,1.8 5,0.2 3.6,1 4.4,2.4 6.8,2"),  # looped
        (
            1,
            "5,0 2.6,1.2 1.4,5 2.6,8.8 5,10 7.4,8.8 8.6,5 7.4,1.2 5,0; 8,0.6 5,5 2.2,9.4",
        ),  # slashed
    ],
    1: [
        (9, "5,0 5,5 5,10"),  # a stem
        (6, "6,0 5,5 4,10"),  # a leaning stem
        (2, "3.4,2 5.2,0! 5,5 5,10"),  # with flag
        (1, "2.8,2.4 5.2,0! 5,5 5,10; 2.2,10 5,9.9 7.8,10"),  # with flag and foot
    ],
    2: [
        (3, "1.6,2.4 4.6,0 7.6,2 6.2,5.4 1.2,10! 5,9.6 8.8,9.8"),  # sharp corner, flat foot
        (
            4,
            "1.4,2.6 4.4,0 7,1.8 6.4,5 4.6,8.2 2.4,9.8 0.8,8.8 1.8,6.8 4.4,7 6.4,8.4 8.6,9.8",
        ),  # with loop
        (
            3,
            "2,3 3.6,0.6 6.4,0.2 7.4,2.8 6.2,6 3.8,9.2 1.2,9.8 0.4,8.2 2.4,6.8 5.6,7 9.4,7.4",
        ),  # rising foot
        (2, "1,1 4,0.2 7.6,0.6 6.2,3.6 1.4,9! 5,9.2 9,9"),  # like a Z
        (2, "2,2.4 4.2,0.2 7,1.6 6.2,4.8 3.4,8 1.8,9.6 4,9.5 6.4,9.2 9,9.6"),  # round corner
        (1, "2.6,3.4 2.6,1 5.4,0 7.2,2 6.2,5 2,9.6! 5,9 8.4,9.8"),  # hooked top
        (3, "1.4,3 3.4,0.6 6.6,0.8 7.4,3.6 5,7 1,10! 4.6,9.6 8.6,9.8"),  # big bowl
        (2, "1.4,2.6 4,0.2 7,1.6 6.4,5 3.6,8.4 1,9.6 0.6,8.4 2.6,7.8 5.4,9 9.4,9.6"),  # small loop
        (2, "3,1.8 4.8,0.4 6.2,1.6 5,5 3,9.6! 6,9.6 9.6,9.2"),  # like an L
        (
            2,
            "2.4,1.4 5,0 7,1.8 6.6,5 5.4,8.4 3.4,9.8 1.8,8.6 2.6,6.6 5,6.6 6.8,8 7.6,9.6",
        ),  # narrow loop
    ],
    3: [
        (3, "1.8,1.6 4.8,0 7.4,1.8 6.4,4 4,4.8! 7,5.4 7.8,7.6 5,10 1.2,8.8"),  # sharp waist
        (2, "1.8,1.4 4.8,0 7.2,1.8 5.8,4.2 4.6,4.9 6.8,5.8 7.6,8 5,10 1.2,8.8"),  # soft waist
        (2, "1.6,0.6 4.4,0.3 7.6,0.2! 4.2,4.2! 7.2,5.4 7.4,8.4 4.4,10 1,9"),  # flat top
        (
            1,
            "1.8,1.4 4.8,0 7.4,1.8 5.4,4.6 3.6,4.9 4,4 6.2,5 7.8,7.4 5,10 1.2,8.8",
        ),  # loop in the waist
        (1, "2.6,1 5.4,0 7.2,1.6 5.6,3.4 4,3.8! 7,4.8 7.6,7.4 5.2,9.6 2,10"),  # big belly
        (2, "1,1.6 4.4,0 7.8,1.8 6.6,4.4 3.6,5.6! 6.4,6 7.2,8 4.8,10 2,9.4"),  # big top
        (2, "2,1 6,0 7.6,1.4 3.4,5! 6.6,5.4 7,7.6 4,9.8 0.6,9.6"),  # zigzag
        (2, "3,1.2 5.4,0 7.4,1.2 6.4,3.2 4.2,4.4! 6.6,5 7.2,7 5,9.4 1.6,9.8 0.4,8.8"),  # wide below
        (2, "3.2,0.8 5.2,0 6.6,1.6 5.8,3.8 4.4,4.6! 6.2,5.4 6.6,7.8 5.2,10 3,9.4"),  # narrow
        (2, "1.4,1.2 4.6,0 7.4,1.4 5.6,3.6 2.4,4.8! 6,5.2 7.6,7.2 5.2,10 1.6,9.4"),  # deep waist
    ],
    4: [
        (3, "2.4,0.4 1.6,3 1.2,5.6! 4.4,5.5 8.4,5.2; 7.2,0 6.8,5 6.4,10"),  # open, sharp corner
        (3, "2,0.6 1.2,3.6 2.2,5.6 5,5.6 7.4,4.6; 7.6,0.4 7,5 6.6,10"),  # open, round corner
        (1, "6.2,0 3.6,3.4 1,6.6! 5,6.6 9,6.5; 6.2,0 6.2,5 6,10"),  # closed
        (2, "2,0.4 1.4,3.4 2.4,5.4 5,5 7.6,0.8! 6.8,5 6,10"),  # in one stroke
        (1, "7,0.2 3.8,2.6 1.6,5.4! 4.6,5.6 8,5; 7.2,0.2 6.8,5 6.2,10"),  # nearly closed
        (1, "3.2,0 2,3 0.8,6.4! 4.8,6.2 9,5.8; 6,3.2 5.4,6.6 5,10"),  # short stem
    ],
    5: [
        (
            2,
            "2.8,0.4 2.5,2.4 2.2,4.4! 5,3.8 7.6,6 6.6,9 4,10 1.2,9; 2.6,0.4 5.4,0.3 8.2,0.2",
        ),  # bar attached
        (2, "8,0.2 5.4,0.3 3,0.4! 2.6,2.4 2.2,4.4! 5,3.8 7.6,6 6.6,9 4,10 1.2,9"),  # in one stroke
        (
            2,
            "3,1.4 2.7,3 2.4,4.8! 5,4.4 7.4,6.6 6.2,9.2 3.8,10 1,9; 4,0.8 6.4,0.6 8.8,0.2",
        ),  # bar detached
        (2, "8.4,0.4 5,0.2 2.8,1.8 4,4 6.6,5.6 7,8 5,9.8 1.4,9.4"),  # like an S
        (
            2,
            "4,2.4 3.4,3.8 3,5.2! 5.4,5.2 6.4,7.2 4.6,9.4 2.6,10 0.2,9.4; 4,2.2 7,1.6 10.4,0.4",
        ),  # long bar
        (
            2,
            "2.6,0.6 2.6,2.6 2.6,4.6! 5,4 7.6,5.2 7.8,8 5,10 2,9.4; 2.6,0.6 5,0.3 7.4,0.2",
        ),  # big belly
        (2, "6.8,0.3 5,0.4 3.6,0.6! 3.4,2.4 3.2,4 5.4,5 5.8,7.4 4.6,9.6 2.6,9.6"),  # narrow
        (
            2,
            "2.6,0.8 2.2,2.8 2,5! 4.8,4.2 7.2,6 6.4,9 4,10 1.6,9.2 1,7.8; 2.6,0.6 5.6,0.8 8.2,1.2",
        ),  # falling bar
        (
            2,
            "4.2,0.8 3.4,2.8 2.8,4.6! 5.6,4.6 7,6.6 5.6,9 3.2,10 0.6,9.8; 4.2,0.8 6.6,0.6 9,0.4",
        ),  # leaning
        (
            2,
            "3.4,1 2.8,2.6 2.4,4.4! 5,4 7,5.8 6.4,8.6 3.8,10 1.4,9.2 1.8,7.8 3.4,8; "
            "3.4,1 6,0.6 8.4,0.2",
        ),  # curled end
        (
            2,
            "4.6,1.6 3.6,3 2.4,4.6! 5.2,4.6 7,6.4 5.4,9 2.4,9.8 0.6,8.8; 4.6,1.6 7,1.2 10,0.4",
        ),  # low belly
    ],
    6: [
        (3, "6.4,0 3.6,2.6 2,6.4 3,9.4 5.4,10 7.4,8 6.4,5.8 4.2,6 2.4,8"),  # curved
        (2, "4.6,0 3,3.4 2,7 3.2,9.8 6,9.4 7,7.2 5.2,5.8 2.6,7.4"),  # straight back
        (1, "5.6,0 3.6,3.4 2.8,7 3.6,9.6 5.4,9.8 6.2,8.2 5,7.2 3.2,8.6"),  # small loop
        (2, "5.4,0 3,4 1.6,7.8 3.4,10 7,9.4 8.4,7 6.4,5.6 3.6,7 2.4,9"),  # loop to the right
        (2, "3,0 2.2,4 2,8 4.4,10 7.6,9 7.8,6.4 5.2,5.6 2.6,7.6"),  # upright stem
        (2, "5.6,0 3,1.8 1.4,5.2 2.4,9 5.4,10 8,7.8 7.4,4.8 5,3.8 2.2,5.6"),  # big loop
    ],
    7: [
        (5, "1,0.8 4.5,0.6 8,0.4! 6,5 4.2,10"),  # plain
        (2, "1.2,1 4.6,0.6 8,0.6! 5.8,4.4 5,10"),  # curved stem
        (2, "1,2.8 1.2,0.6! 4.6,0.5 8,0.4! 6,5 4.4,10"),  # with serif
        (2, "1,0.8 4.5,0.6 8,0.4! 6,5 4.2,10; 2.6,5.2 5,5 7.8,4.8"),  # with bar
        (2, "1.4,2 3.6,0.6 6.6,0.4 7.6,2 6.4,5.6 5,10"),  # round corner
        (2, "0.6,1.6 4,0.6 8,1 8,3.4 6.2,6.4 4.6,10"),  # like a bow
        (1, "0.6,2.4 4,1.2 8,0! 5.4,4.6 3,10"),  # rising bar
        (2, "2.6,1.6 4.8,0.8 7,0.4! 6,4 5,10"),  # narrow
    ],
    8: [
        (
            3,
            "7.6,1.4 4.6,0 2.2,2 5,4.7 7.8,7.4 5,10 2.2,7.8 5,4.8 7.8,2.4 6.8,0.4",
        ),  # in one stroke
        (2, "5,0 2.4,2.3 5,4.7 7.6,2.3 5,0; 5,4.7 1.8,7.3 5,10 8.2,7.3 5,4.7"),  # two circles
        (2, "8,1 5.2,0.2 3,2 4.8,4.6 6.4,7.4 4.4,10 2.4,8 4.8,5 8.2,1.4"),  # open at the top right
        (2, "8.4,0.6 5,4.2 2.6,7.6 4.4,10 6.8,8.2 5.4,5 2.8,2.4 4,0.2 7,0.8"),  # straight upstroke
        (
            2,
            "6.6,1 4.6,0 3.2,1.6 4.6,3.6 7.4,6.4 6,9.8 3,9.4 2.4,6.8 4.8,4.2 6.6,2 6,0.6",
        ),  # small top
        (2, "7.6,1.6 4.6,0 2,2.4 4.6,5.8 6.2,8 5,10 3.6,8.2 5,5.8 8,2.8 7,0.8"),  # small bottom
        (
            2,
            "8,1.2 5,0 2.4,1.4 3.6,3.8 6.2,5.8 6.6,8.4 4.4,10 2,8.6 3.4,6 5.8,3.8 8.4,1.6",
        ),  # never closed
        (
            1,
            "7.4,2.6 6.6,0.6 3.6,0.2 1.8,2.2 4.6,4.6 6.8,6.8 5.6,9.8 3.2,9 3.6,6.6 7.2,3",
        ),  # wide top
        (1, "2.8,1 5,3.6 7,7 5,10 3,7.6 5,4 7,1.4 5,0 2.6,1.2"),  # from the left
    ],
    9: [
        (3, "7,1.6 4.6,0 2.2,2.4 3.6,5 6.4,3.6 7.2,1! 6.8,5 6.4,10"),  # straight tail
        (2, "7,1.6 4.6,0 2.2,2.4 3.6,5 6.4,3.6 7.2,1! 7,6 5.6,9.4 2.6,10"),  # curved tail
        (2, "7,1.2 4.2,0.2 2,2.8 3.8,4.8 7,2; 7,1 6.6,5 5,10"),  # slanted tail
        (3, "5.6,4 3,4.6 2.4,2 4.8,0 6.8,1.6 6.6,5 5.6,10"),  # a turned 6
        (2, "7.4,1.6 4.4,0.2 1,2.6 3,4.8 6.4,3.6 7.6,1! 7.2,5 6.8,10"),  # wide loop
        (2, "7,1.6 4.6,0 2.2,2.4 3.6,4.6 6.6,3.4 7.2,1! 7.2,6 5.6,9.8 3.2,10 2,8.6"),  # hooked tail
        (2, "7.2,2 4.6,0 1.6,3 2.4,6 5.4,5.8 7.4,2.6 7.4,1! 7.2,6 7,10"),  # big loop
        (2, "6.6,1 5,0 3.6,1.4 4.2,3 6,2.4 6.8,0.8! 6.2,5 5.4,10"),  # small loop
        (1, "6,1 4,0.4 2.4,2.6 4,4.6 6.4,3.4 7.4,0.8! 6.8,5 6,10"),  # open loop
    ],
}


def generate(size, seed):
    """Draw `size` digits, each of the ten equally often, in random order.

    seed is whatever numpy.random.RandomState takes: a whole number from 0 to 2**32 - 1, or a list
    of such. Returns (images, labels): uint8 of shape (size, 28, 28), white (255) ink on black (0),
    and uint8 of shape (size,). Raises ValueError when size is not a multiple of ten.
    """
    if size < 0 or size % 10:
        raise ValueError(
            "size must be a multiple of ten, so that each digit comes equally often, "
            f"but it is {size}."
        )
    rng = np.random.RandomState(seed)
    # To sort random numbers is to shuffle: here, because it needs nothing but random_sample().
    order = np.argsort(rng.random_sample(size), kind="stable")
    labels = np.repeat(np.arange(10, dtype=np.uint8), size // 10)[order]
    ways = _choose_ways(rng, labels)
    table = _read_table()
    images = np.zeros((size, 28, 28), np.uint8)
    for start in range(0, size, BLOCK):
        block = slice(start, start + BLOCK)
        x, y, pressure = _write(rng, ways[block], *table)
        _centre(_ink(rng, x, y, pressure), out=images[block])
    return images, labels


def load(directory, seed=0):
    """Return generated digits in the shape of MNIST, from `directory` if it holds them already.

    Returns (train_images, train_labels, test_images, test_labels) as generate() does, TRAIN_SIZE
    and TEST_SIZE of them, from two independent streams of random numbers. The first call takes
    seconds and leaves a file in `directory`, which is created if missing; where that fails, the
    images come back all the same. The file's name holds a digest of this module's source: an
    edited module draws new images. Raises ValueError when seed is not one that generate() takes.
    """
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    path = Path(directory) / f"generated-digits-seed{seed}-{source}.npz"
    arrays = _read_cache(path)
    if arrays is None:
        arrays = generate(TRAIN_SIZE, [seed, 0]) + generate(TEST_SIZE, [seed, 1])
        _write_cache(path, arrays)
    return arrays


def _read_table():
    """Turn WAYS into arrays: control points, and how the samples on a curve lie among them.

    Returns the points, (ways, most points, 3), being x, y and the pen's pressure; and for each of
    the SAMPLES the four points it lies among and how much each weighs, both (ways, 4, SAMPLES).
    """
    parsed = [_parse(strokes) for ways in WAYS.values() for _, strokes in ways]
    most = max(len(points) for points, _ in parsed)
    points = np.stack([np.pad(points, ((0, most - len(points)), (0, 0))) for points, _ in parsed])
    neighbours, weights = zip(*(_sample(*way) for way in parsed), strict=True)
    return points, np.stack(neighbours), np.stack(weights)


def _parse(strokes):
    """Return the control points of one way to write a digit and the segments of its curve.

    A segment lists four points: it runs from the second to the third; the first and the fourth give
    its direction there.
    """
    points, segments = [], []
    for stroke in strokes.split(";"):
        # A stroke is cut at its corners: a curve runs smoothly through every point within.
        pieces = [[]]
        for word in stroke.split():
            pieces[-1].append(len(points))
            if word.endswith("!"):
                pieces.append([len(points)])
            points.append([float(number) for number in word.rstrip("!").split(",")] + [1.0])
        for piece in pieces:
            piece = piece[:1] + piece + piece[-1:]  # at its ends a curve has no further neighbour
            segments += [piece[i : i + 4] for i in range(len(piece) - 3)]
    return np.array(points), np.array(segments)


def _sample(points, segments):
    """Spread SAMPLES points evenly over the segments; return their neighbours and weights."""
    chord = points[segments[:, 2]] - points[segments[:, 1]]
    ends = np.cumsum(np.sqrt(chord[:, 0] * chord[:, 0] + chord[:, 1] * chord[:, 1]))
    starts = np.append(0.0, ends[:-1])
    distance = np.arange(SAMPLES) * ends[-1] / (SAMPLES - 1)
    segment = np.minimum(np.searchsorted(ends, distance), len(ends) - 1)
    # From 0 to 1 along its segment:
    t = (distance - starts[segment]) / (ends[segment] - starts[segment])
    # Catmull and Rom 1974: the cubic curve that passes through all its points, parallel there to
    # the line that joins the point before with the point after.
    before, start = ((2 - t) * t - 1) * t / 2, ((3 * t - 5) * t * t + 2) / 2
    end, after = ((4 - 3 * t) * t + 1) * t / 2, (t - 1) * t * t / 2
    return segments[segment].T, np.stack([before, start, end, after])


def _choose_ways(rng, labels):
    """Choose for each label one of its digit's ways, by their frequencies; return rows in WAYS."""
    chance = rng.random_sample(len(labels))
    rows = np.zeros(len(labels), np.int64)
    first = 0
    for digit, ways in WAYS.items():
        mine = labels == digit
        limits = np.cumsum([frequency for frequency, _ in ways])
        rows[mine] = first + np.searchsorted(limits, chance[mine] * limits[-1], side="right")
        first += len(ways)
    return rows


def _bell(rng, *shape):
    """Return bell-shaped random numbers: mean 0, standard deviation 1, none beyond 3."""
    a, b, c = rng.random_sample((3, *shape))
    return 2 * (a + b + c - 1.5)


def _write(rng, ways, points, neighbours, weights):
    """Move the pen for one block: return its x, y and pressure, each (images, SAMPLES)."""
    images = len(ways)
    haste = 0.2 + rng.random_sample((images, 1))  # how carelessly each image is written
    spread = np.array([JITTER, JITTER, PRESSURE])
    points = points[ways] + haste[..., None] * spread * _bell(rng, images, *points.shape[1:])
    neighbours, weights = neighbours[ways], weights[ways]
    image = np.arange(images)[:, None]
    curve = 0
    for k in range(4):  # not a library's sum: in which order that adds floats is its own affair
        curve = curve + weights[:, k, :, None] * points[image, neighbours[:, k]]
    x, y, pressure = curve[..., 0] / 5 - 1, curve[..., 1] / 5 - 1, curve[..., 2]

    # Smooth distortion teaches a network what may vary (Simard, Steinkraus and Platt 2003): here by
    # polynomials.
    a, b, c, d, e, f = BEND * haste * _bell(rng, 6, images, 1)
    x, y = x + a * x * x + b * x * y + c * y * y, y + d * x * x + e * x * y + f * y * y
    x = x * (1 + STRETCH * haste * _bell(rng, images, 1))
    x = x - y * (LEAN + SLANT * haste * _bell(rng, images, 1))
    t = TURN * haste * _bell(rng, images, 1)
    # Of the angle whose half has the tangent t:
    cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    return x * cosine - y * sine, x * sine + y * cosine, pressure


def _ink(rng, x, y, pressure):
    """Draw one block of digits, each as large as a box of 20x20 pixels allows.

    Returns uint8 of shape (20, 20, images).
    """
    a, b, c = rng.random_sample((3, len(x), 1))
    radius = (THINNEST + (THICKEST - THINNEST) * a * (b + c) / 2) / 2
    # The digit keeps its proportions; with the pen pressed most at the very edge, the ink would
    # still just fit the box.
    left, right, top, bottom = x.min(1), x.max(1), y.min(1), y.max(1)
    reach = pressure.max(1) * (radius[:, 0] + EDGE / 2)
    scale = (21 - 2 * reach) / np.maximum(right - left, bottom - top)
    # float32 halves the work of the loop. The images come last, for long inner loops in NumPy.
    x = ((x.T - (left + right) / 2) * scale + 9.5).astype(np.float32)
    y = ((y.T - (top + bottom) / 2) * scale + 9.5).astype(np.float32)
    lightness = (1 / pressure.T).astype(np.float32)
    radius = radius[:, 0].astype(np.float32)

    # How far is each pixel from the nearest point of the curve, in units of the pressure there?
    pixel = np.arange(20, dtype=np.float32)[:, None]
    dx = (pixel - x[:, None]) * lightness[:, None]
    dy = (pixel - y[:, None]) * lightness[:, None]
    dx, dy = dx * dx, dy * dy
    nearest = np.full((20, 20, len(radius)), np.inf, np.float32)
    squares = np.empty_like(nearest)
    for i in range(SAMPLES):
        np.add(dy[i][:, None], dx[i], out=squares)
        np.minimum(nearest, squares, out=nearest)

    # From full ink to none over EDGE pixels, gently at both ends: MNIST has more near 0 and 255
    # than a plain ramp.
    ramp = np.clip((radius - np.sqrt(nearest)) / EDGE + 0.5, 0, 1)
    return np.floor(ramp * ramp * (3 - 2 * ramp) * 255 + 0.5).astype(np.uint8)


def _centre(ink, out):
    """Move the boxes by whole pixels until the ink's centre of mass is in row 14 and column 14.

    This is how MNIST was made (LeCun, Bottou, Bengio and Haffner 1998), and its images have 14.
    """
    ink = ink.transpose(2, 0, 1)
    step = np.arange(20)
    mass = ink.sum((1, 2), dtype=np.int64)  # whole numbers: their sums are exact in any order
    rows = (ink.sum(2, dtype=np.int64) * step).sum(1)
    columns = (ink.sum(1, dtype=np.int64) * step).sum(1)
    top = 14 - (2 * rows + mass) // (2 * mass)  # rows / mass, rounded
    left = 14 - (2 * columns + mass) // (2 * mass)
    # But in 1 image of 10,000 the box ends at the field's edge.
    top, left = np.clip(top, 0, 8), np.clip(left, 0, 8)
    image = np.arange(len(ink))[:, None, None]
    out[image, (top[:, None] + step)[:, :, None], (left[:, None] + step)[:, None]] = ink


def _read_cache(path):
    """Return the four arrays of load() from the file, or None if anything is wrong with it."""
    shapes = [(TRAIN_SIZE, 28, 28), (TRAIN_SIZE,), (TEST_SIZE, 28, 28), (TEST_SIZE,)]
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = tuple(file[f"arr_{i}"] for i in range(4))
    except Exception:  # a damaged file fails in a dozen ways; the remedy is always to draw anew
        return None
    good = all(
        array.dtype == np.uint8 and array.shape == shape
        for array, shape in zip(arrays, shapes, strict=True)
    )
    return arrays if good else None


def _write_cache(path, arrays):
    """Save the arrays if that is possible, whole or not at all."""
    # No two processes write the same temporary file.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    # Not into the file itself: on a full disk, NumPy 1's savez leaves a traceback on the screen.
    packed = io.BytesIO()
    np.savez(packed, *arrays)
    with suppress(OSError):  # no right to write, no space left, no folder: then without a cache
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(packed.getbuffer())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
