"""The training digits that networks learned from, and a search for those most like a picture.

The likeness of two pictures is the cosine of their pixels, from 0 to 1.
"""

from concurrent import futures
from pathlib import Path

import numpy as np

import input_data
from page.networks import Refusal
from support.saved import Record

# The median likeness of a test digit to its best match, as tools/shifted_digits.py measures it.
USUAL = {"MNIST": 0.900, input_data.GENERATED: 0.942}


class Digits:
    """Pictures that can be searched exactly: 60,000 take a few milliseconds and 48 MB."""

    def __init__(self, pictures: np.ndarray, labels: np.ndarray) -> None:
        """Take pictures, uint8 (n, 784), and labels, whole numbers (n,)."""
        self.labels = labels
        # The values of one pixel lie side by side: a search reads only those under its ink.
        self._pixels = np.ascontiguousarray(pictures.T)
        squares = sum(np.square(values, dtype=np.float32) for values in self._pixels)
        self._lengths = np.sqrt(np.maximum(squares, 1))  # a blank picture has likeness 0

    def pictures(self, places: np.ndarray | slice) -> np.ndarray:
        """Return the pictures at these places, uint8 (k, 784)."""
        return self._pixels[:, places].T

    def most_like(self, picture: np.ndarray, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
        """Return the places and the likeness of the digits most like a picture, the best first."""
        if not picture.any():
            raise Refusal("blank")
        products = np.zeros(len(self.labels), np.float32)
        for place in np.flatnonzero(picture):
            products += np.multiply(self._pixels[place], picture[place], dtype=np.float32)
        likeness = products / (self._lengths * np.linalg.norm(picture))
        count = min(count, len(likeness))
        best = np.argpartition(-likeness, count - 1)[:count]
        best = best[np.argsort(-likeness[best])]
        return best, likeness[best]


class TrainingDigits:
    """The training digits of all runs; each set is read once, in a thread, when it is needed."""

    def __init__(self, data_dir: str | Path) -> None:
        """Take the folder in which to look for MNIST if a run's own folder does not have it."""
        self._data_dir = data_dir
        self._thread = futures.ThreadPoolExecutor(1)
        self._reading: dict[tuple[Path, bool], futures.Future] = {}

    def of(self, record: Record) -> Digits:
        """Return the training digits of a run, but never download any. Raises Refusal."""
        key = self._folder_of(record), record.data == input_data.GENERATED
        if key not in self._reading:
            self._reading[key] = self._thread.submit(_read, *key)
        reading = self._reading[key]
        if not reading.done():
            raise Refusal("reading", record.name)
        if reading.exception():
            raise Refusal("unreadable-data", record.name, reading.exception())
        name, digits = reading.result()
        if (name == "MNIST") != (record.data == "MNIST"):  # the files have been replaced
            raise Refusal("no-data", record.name)
        return digits

    def _folder_of(self, record):
        """Return the folder that holds the training digits of a run. Raises Refusal."""
        folders = [record.data_dir] if record.data and record.data_dir else []
        if record.data in USUAL:  # other files are only in the folder of the run
            folders.append(self._data_dir)
        for folder in map(Path, folders):
            files = [input_data.find(folder, name) for name in input_data.OFFICIAL]
            if all(files) or (record.data == input_data.GENERATED and folder.is_dir()):
                return folder
        raise Refusal("no-data", record.name)


def _read(folder, generated):
    """Return the name of the data in a folder, and its training digits."""
    data = input_data.read_data_sets(folder, generated, dtype="uint8", validation_size=0)
    return data.train.name, Digits(data.train.images, data.train.labels)
