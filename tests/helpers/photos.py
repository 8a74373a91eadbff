"""Photos of a digit on paper or on a board, made from a picture of MNIST's by our own hand.

PYTHONPATH=.:tests python -m helpers.photos    # makes page/static/examples/ again
"""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from helpers import PROJECT
from page.pictures import centred

# Each kind: how light paper and ink are, from 0 to 255, how high the digit is, as a share of the
# sheet's height, and what else there is.
KINDS = {
    "pen on white paper": {"paper": 235, "ink": 40, "height": (0.3, 0.75)},
    "small on a large sheet": {"paper": 225, "ink": 50, "height": (0.08, 0.15)},
    "thin pen": {"paper": 230, "ink": 60, "height": (0.3, 0.75), "pen": (0.012, 0.03)},
    "pencil on grey, noisy paper": {"paper": 150, "ink": 85, "height": (0.25, 0.7), "noise": 14},
    "strong shade": {"paper": 235, "ink": 50, "height": (0.25, 0.7), "shade": 0.65},
    "chalk on a board": {"paper": 55, "ink": 205, "height": (0.25, 0.7), "noise": 9},
    "ruled paper": {"paper": 235, "ink": 45, "height": (0.2, 0.5), "rules": [0]},
    "squared paper, a shadow": {
        "paper": 235, "ink": 45, "height": (0.2, 0.5), "rules": [0, 1], "shadow": 0.6,
    },
    "a strip of table": {"paper": 235, "ink": 45, "height": (0.25, 0.5), "table": 75},
}  # fmt: skip


EXAMPLES = {  # the page's: name of the file, kind, seed, drawing
    "pen": ("strong shade", 1, [
        [[175, 50], [95, 60], [85, 130], [120, 115], [160, 125], [180, 160], [165, 205],
         [120, 225], [80, 210]],
    ]),
    "chalk": ("chalk on a board", 5, [
        [[85, 95], [100, 65], [140, 55], [175, 75], [175, 110], [140, 155], [80, 220], [190, 215]],
    ]),
    "squared": ("squared paper, a shadow", 2, [
        [[125, 50], [90, 150], [190, 140]], [[165, 90], [150, 230]],
    ]),
}  # fmt: skip


def photo(digit, kind, seed, size=(800, 600)):
    """Take a photo of a digit, uint8 (28, 28), or of none: a grey image, not yet a file."""
    dice, look = np.random.default_rng(seed), KINDS[kind]
    width, height = size
    sheet = np.full((height, width), float(look["paper"]))
    for axis in look.get("rules", []):  # lines 1 pixel wide, with some of the ink of a pen
        places = np.arange(dice.integers(20), (height, width)[axis], dice.integers(28, 45))
        sheet[(slice(None),) * axis + (places,)] -= dice.uniform(40, 70)
    high = int(height * dice.uniform(*look["height"]))
    left, top = (dice.integers(0.1 * side, 0.9 * side - high) for side in size)
    part = sheet[top : top + high, left : left + high]
    if digit is not None:
        pen = dice.uniform(*look["pen"]) if "pen" in look else None
        part += (thin(digit, high, pen) if pen else wide(digit, high)) * (look["ink"] - part)
    if "table" in look:
        sheet[:, : int(width * dice.uniform(0.02, 0.12))] = look["table"]
        sheet[int(height * dice.uniform(0.9, 0.97)) :] = look["table"]
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]])
    moved = corners + dice.uniform(-0.04, 0.04, (4, 2)) * size
    seen = Image.fromarray(np.uint8(sheet))
    seen = seen.transform(size, Image.Transform.PERSPECTIVE, _perspective(corners, moved), 3,
                          fillcolor=look.get("table", look["paper"]))  # fmt: skip
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    angle, shade = dice.uniform(0, 2 * np.pi), look.get("shade", 0.25)
    slope = np.cos(angle) * across + np.sin(angle) * down
    light = 1 - shade * ((slope + 1.4) / 2.8) - 0.08 * (across**2 + down**2)
    if "shadow" in look:
        dark = Image.fromarray(np.uint8(255 * (slope > dice.uniform(-0.5, 0.5))))
        dark = np.asarray(dark.filter(ImageFilter.GaussianBlur(dice.uniform(3, 12)))) / 255
        light *= 1 - (1 - look["shadow"]) * dark
    blurred = seen.filter(ImageFilter.GaussianBlur(dice.uniform(0.5, 1.5)))
    noise = dice.normal(0, look.get("noise", 4), light.shape)
    return Image.fromarray(np.uint8(np.clip(np.asarray(blurred) * light + noise, 0, 255)))


def file_of(image, kind="JPEG", **options):
    """Return an image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 80} | options))
    return file.getvalue()


def wide(digit, high):
    """Return a digit enlarged to (high, high): the share of ink in each pixel, from 0 to 1."""
    rows, columns = (np.flatnonzero(digit.any(axis=axis)) for axis in (1, 0))
    digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    missing = [22 - side for side in digit.shape]  # it has 20 pixels at most
    square = np.pad(digit, [(each // 2, each - each // 2) for each in missing])
    large = Image.fromarray(square).resize((high, high), Image.Resampling.BICUBIC)
    return np.clip((np.asarray(large) / 255 - 0.5) * high / 22 + 0.5, 0, 1)


def thin(digit, high, pen):
    """Return a digit drawn with a pen of this width, as a share of its height, as wide() does."""
    ink = np.pad(wide(digit, 88) > 0.5, 1)
    points = np.argwhere(_skeleton(ink)) * high / 90
    sheet = Image.new("L", (high, high))
    width = max(2, round(pen * high))
    for place, point in enumerate(points):
        near = np.hypot(*(points[place:] - point).T) < 1.5 * high / 90
        for other in points[place:][near]:
            ends = [point[1], point[0], other[1], other[0]]
            ImageDraw.Draw(sheet).line(ends, fill=255, width=width)
    return np.asarray(sheet.filter(ImageFilter.GaussianBlur(1))) / 255


def _skeleton(ink):
    """Thin a picture to lines one pixel wide, as Zhang and Suen did in 1984."""
    ink = ink.astype(int)
    before = None
    while not np.array_equal(ink, before):
        before = ink.copy()
        for first, second in ([0, 2, 4], [2, 4, 6]), ([0, 2, 6], [0, 4, 6]):
            ways = [(1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1)]
            around = np.array([np.roll(ink, way, (0, 1)) for way in ways])
            count, steps = around.sum(axis=0), (np.diff(around, axis=0, append=around[:1]) == 1)
            bare = (around[first].min(axis=0) == 0) & (around[second].min(axis=0) == 0)
            ink[bare & (count >= 2) & (count <= 6) & (steps.sum(axis=0) == 1)] = 0
    return ink > 0


def _perspective(corners, moved):
    """Return Pillow's eight numbers, for a photo in which `corners` lie at `moved`."""
    rows = []
    for (x, y), (u, v) in zip(moved, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.linalg.solve(np.array(rows, float), corners.ravel().astype(float)).tolist()


def main():
    """Make the example photos of the page, from drawings."""
    folder = PROJECT / "page" / "static" / "examples"
    folder.mkdir(exist_ok=True)
    for name, (kind, seed, strokes) in EXAMPLES.items():
        drawn = photo(centred(strokes), kind, seed, (600, 450))
        (folder / f"{name}.jpg").write_bytes(file_of(drawn, quality=30, optimize=True))


if __name__ == "__main__":
    main()
