"""From pen lines to a picture as MNIST's authors made theirs.

A drawing is a list of strokes, each a list of points [x, y] from 0 to PAPER. A picture is uint8,
its rows from top to bottom, 255 being ink.
"""

import numpy as np
from PIL import Image, ImageDraw

PAPER = 280  # width and height of a drawing: 10 units for each of a picture's 28 pixels
PEN = 24  # the pen's width in these units, about that of MNIST's digits


def as_drawn(strokes):
    """Make the picture of a drawing, uint8 (28, 28), with everything where it was drawn."""
    return np.asarray(draw(strokes).reduce(PAPER // 28))


def centred(strokes):
    """Make the picture of a drawing, uint8 (28, 28), the digit as MNIST's are placed."""
    return centre(np.asarray(draw(enlarge(strokes))))


def draw(strokes):
    """Draw lines with a round pen, as an Image of PAPER x PAPER."""
    sheet = Image.new("L", (PAPER, PAPER))
    pen = ImageDraw.Draw(sheet)
    for stroke in strokes:
        for (x, y), (next_x, next_y) in zip(stroke, stroke[1:] + stroke[-1:], strict=True):
            pen.line([x, y, next_x, next_y], fill=255, width=PEN)
            pen.ellipse([x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2], fill=255)
    return sheet


def enlarge(strokes):
    """Move and scale strokes so that they fill 20 of the 28 pixels with a pen of unchanged width.

    To magnify the picture of a small drawing would magnify its lines too, and MNIST has no digits
    in bold.
    """
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    # What is smaller than the pen was meant as a dot, and remains one.
    extent = max(*(high - low), PEN)
    scale = (PAPER * 20 / 28 - PEN) / extent
    middle = (low + high) / 2
    return [((np.array(stroke) - middle) * scale + PAPER / 2).tolist() for stroke in strokes]


def centre(picture):
    """Fit a picture, uint8 (height, width), into the field as MNIST's authors did: uint8 (28, 28).

    The ink is fitted into a box of 20x20, its proportions kept, and the box laid so that the
    centre of mass comes to the middle of the field. That is row 14, column 14, counted from 0: all
    of MNIST's test digits have it less than half a pixel from there. MNIST's own pictures come back
    as they were.
    """
    field = np.zeros((28, 28), np.uint8)
    image = Image.fromarray(picture)
    ink = image.crop(image.getbbox())
    size = [max(1, round(20 * side / max(ink.size))) for side in ink.size]
    digit = np.asarray(ink.resize(size, Image.Resampling.BILINEAR))
    if digit.any():
        weights = digit.sum(axis=1), digit.sum(axis=0)  # ink by row, and by column
        top, left = (
            # The centre of mass comes to 14, but not so far that ink is lost over the border.
            min(max(round(14 - np.arange(len(ink)) @ ink / ink.sum()), 0), 28 - len(ink))
            for ink in weights
        )
        field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return field
