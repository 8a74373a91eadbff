"""Make a picture of a digit from pen lines.

A drawing is a list of strokes, each a list of points [x, y] from 0 to PAPER. A picture is uint8,
with rows from top to bottom; 255 is ink.
"""

import numpy as np
from PIL import Image, ImageDraw

from support.centre import centre

PAPER = 280  # width and height of a drawing: 10 units for each of a picture's 28 pixels
PEN = 24  # the pen's width in these units, about that of MNIST's digits

Strokes = list[list[list[float]]]


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
