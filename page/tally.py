"""The digits that a reader draws and names: keep them, and count how many a network reads.

support/own_digits.py says how they are kept: only centred. So the PNG file of a drawing has its
strokes as well, as a text: the picture as drawn is made from them again. A photo has none.
"""

import json
from pathlib import Path

import numpy as np
from PIL.PngImagePlugin import PngInfo

from page.networks import Refusal, TrainedNetwork
from page.pictures import Strokes, as_drawn
from support import own_digits, terminal

MOST = 1000  # how many drawings are kept
STROKES = "strokes"  # the key of this text in a PNG file


def keep(folder: Path, digit: int, picture: np.ndarray, strokes: Strokes | None) -> str:
    """Keep a picture, uint8 (28, 28), and return its name, "<digit>/<name>.png".

    strokes: of the drawing from which the picture was made, if there is one. Raises Refusal.
    """
    if len(own_digits.paths(folder)) >= MOST:
        raise Refusal("too-many-digits")
    texts = PngInfo()
    if strokes:
        texts.add_text(STROKES, json.dumps(strokes), zip=True)
    try:
        return own_digits.save(folder, digit, picture, texts)
    except OSError as error:
        raise Refusal("not-kept", reason=error.strerror) from error


def take_back(folder: Path, name: str) -> None:
    """Delete a picture. Raises Refusal."""
    if not own_digits.delete(folder, name):
        raise Refusal("no-such-digit")


class Tally:
    """The kept digits as they are now, to be read by networks."""

    def __init__(self, folder: Path) -> None:
        """Read all pictures. Raises Refusal."""
        try:
            self._own = own_digits.load(folder)
        except (OSError, terminal.Problem) as error:
            raise Refusal("unreadable-digits", reason=str(error).rstrip(".")) from error
        texts = self._own.texts  # a file of another program has no strokes
        self._has_strokes = np.array([STROKES in each for each in texts], bool)
        self._drawn = np.zeros_like(self._own.images)
        for place in np.flatnonzero(self._has_strokes):
            self._drawn[place] = as_drawn(json.loads(texts[place][STROKES])).reshape(784)

    def counts(self) -> list[int]:
        """Count the pictures of each of the ten digits."""
        return np.bincount(self._own.labels, minlength=10).tolist()

    def of(self, network: TrainedNetwork, trained_on: set[str]) -> dict:
        """Count what a network reads correctly in each view, without what was trained on."""
        new = np.array([name not in trained_on for name in self._own.names], bool)
        answer: dict = {"left_out": int((~new).sum())}
        views = {
            "as-drawn": (self._drawn, new & self._has_strokes),
            "centred": (self._own.images, new),
        }
        for view, (pictures, counted) in views.items():
            images = (pictures[counted] / 255).astype(np.float32)
            right = network.probabilities(images).argmax(axis=1) == self._own.labels[counted]
            answer[view] = {"right": int(right.sum()), "of": len(images)}
        return answer
