"""Digits that a reader drew and named: pictures in the folder own_digits/, in a folder a digit."""

import dataclasses
import datetime
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from support import terminal
from support.centre import centre, on_white

FOLDER = Path(__file__).parents[1] / "own_digits"  # beside mnist.py
KINDS = [".png", ".jpg", ".jpeg"]  # the page saves PNG; a reader may add a photo


@dataclasses.dataclass
class OwnDigits:
    """The pictures of a folder, as MNIST has them: 255 is ink, 0 is paper."""

    names: list[str]  # "<digit>/<file>"
    images: np.ndarray  # uint8 (n, 784)
    labels: np.ndarray  # uint8 (n,)
    texts: list[dict]  # those in each file, by their keys


def paths(folder: str | Path) -> list[Path]:
    """List the pictures of all digits, in the order of their files' names: the oldest first."""
    found = [path for path in Path(folder).glob("[0-9]/[!.]*") if path.suffix.lower() in KINDS]
    return sorted(found, key=lambda path: (path.name, path.parent.name))


def load(folder: str | Path) -> OwnDigits:
    """Read all pictures. Raises Problem if one cannot be read."""
    found = paths(folder)
    pictures = [_read(path) for path in found]
    return OwnDigits(
        names=[_name(path) for path in found],
        images=np.array([image for image, _ in pictures], np.uint8).reshape(-1, 784),
        labels=np.array([int(path.parent.name) for path in found], np.uint8),
        texts=[texts for _, texts in pictures],
    )


def is_held_out(place: int) -> bool:
    """Return whether the picture at this place, from 0, is for the test: every fourth one is."""
    return place % 4 == 3


def save(folder: str | Path, digit: int, picture: np.ndarray, texts: PngInfo | None = None) -> str:
    """Save a picture, uint8 (28, 28), 255 is ink, with texts in its file; return its name."""
    path = Path(folder, str(digit), f"{datetime.datetime.now():%Y%m%d-%H%M%S-%f}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    Image.fromarray(picture).save(part, "PNG", pnginfo=texts)
    part.replace(path)  # a training that begins meanwhile never reads half of it
    return _name(path)


def delete(folder: str | Path, name: str) -> bool:
    """Delete the picture of this name; return whether it was there."""
    found = [path for path in paths(folder) if _name(path) == name]
    for path in found:
        path.unlink(missing_ok=True)
    return bool(found)


def _name(path):
    return f"{path.parent.name}/{path.name}"


def _read(path):
    """Return a picture, uint8 (28, 28), 255 is ink, and its texts. Raises Problem."""
    try:
        with Image.open(path) as file:
            texts, image = file.info, ImageOps.exif_transpose(file).convert("RGBA")
    except (OSError, ValueError, SyntaxError, struct.error) as error:  # of a damaged file
        sentence = f"{terminal.short(path)} cannot be read as a picture: delete it."
        raise terminal.Problem(sentence) from error
    grey = np.asarray(on_white(image))
    # Most of the frame is paper, which is black in MNIST, and white in most other pictures.
    paper = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    ink = np.abs(grey - paper)
    if ink.shape != (28, 28):
        ink *= 255 / max(1, ink.max())
        ink[ink < 64] = 0  # the shades of paper; they would be fitted into the field as well
        return centre(np.uint8(ink)), texts
    return np.uint8(ink), texts
