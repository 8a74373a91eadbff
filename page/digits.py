"""The training digits that networks learned from, and a search for those most like a picture.

The likeness of two pictures is the cosine of their pixels, from 0 to 1.
"""

import dataclasses
from concurrent import futures
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import input_data
from page.networks import Refusal
from support import own_digits
from support.saved import Record
from support.terminal import Problem

# The median likeness of a test digit to its best match, as tools/shifted_digits.py measures it.
USUAL = {"MNIST": 0.900, input_data.GENERATED: 0.936}
USUAL_MOVED = {"MNIST": 0.909, input_data.GENERATED: 0.942}  # with SHIFT, whether it is 1 or 8
# A picture looks like no digit if its likeness to each of them, blurred, is lower than this. So it
# is for 2% of the test digits at most, as tools/no_digits.py measures it.
LEAST = {"MNIST": 0.925, input_data.GENERATED: 0.935}

SAMPLE, PLACES, BEST = 1000, 16, 500  # of the three steps of Digits.most_like
PART = 2000  # so many digits are compared at once: they fit into the processor's cache


@dataclasses.dataclass
class Match:
    """A training digit at the place where it is most like a picture."""

    label: int
    likeness: float
    picture: np.ndarray  # uint8 (784,), moved to that place
    own: bool  # whether a reader drew it on the page


class Digits:
    """Pictures that can be searched: 60,000 take a few milliseconds and 73 MB."""

    def __init__(self, pictures: np.ndarray, labels: np.ndarray, own: bool = False) -> None:
        """Take pictures, uint8 (n, 784), labels, whole numbers (n,), and whether they are own."""
        self._labels, self._own = labels, own
        self._sample = pictures[:: max(1, len(labels) // SAMPLE)].copy()
        # The values of one pixel lie side by side: a search reads only those under its ink.
        self._pixels = np.ascontiguousarray(pictures.T)
        self._rows = np.zeros((28, len(labels)), np.float32)  # the sum of squares in each row
        self._columns = np.zeros_like(self._rows)
        for place, values in enumerate(self._pixels):
            squares = np.square(values, dtype=np.float32)
            self._rows[place // 28] += squares
            self._columns[place % 28] += squares
        self._squares = np.maximum(self._rows.sum(axis=0), 1)
        parts = np.array_split(pictures, 1 + len(labels) // PART)
        self._blurred = np.concatenate([_blur(part) for part in parts]).T.copy()
        squares = [np.square(values, dtype=np.float32) for values in self._blurred]
        self._blurred_lengths = np.sqrt(np.maximum(np.sum(squares, axis=0), 1))

    def pictures(self, which: np.ndarray | slice) -> np.ndarray:
        """Return some of the pictures, uint8 (k, 784)."""
        return self._pixels[:, which].T

    def most_like(self, picture: np.ndarray, shift: int = 0, count: int = 6) -> list[Match]:
        """Return the digits most like a picture, float32 (784,), the best first. Raises Refusal.

        A digit may be at any of the (2 * shift + 1) ** 2 places to which training moves it. To
        compare 60,000 digits at all of them takes 0.3 s with a shift of 8. So SAMPLE digits show
        the best PLACES. There, all digits are compared, and then the BEST of these at all places.
        Without a shift, this is exact. Of 300 test digits, moved by up to 13 pixels, it found the
        best match among MNIST's, moved by up to 8, for all, and 99% of the best six. With a shift
        of 14, when often little ink is left, it found the best for 56 of 60, and else one with a
        likeness lower by at most 0.03. It took 22 and 35 ms of one core (3 ms without a shift).
        """
        if not picture.any():
            raise Refusal("blank")
        if len(self._labels) == 0:
            return []
        # To move a digit to the right and a picture to the left gives the same products.
        moved = _at_all_places(picture / np.linalg.norm(picture), shift).reshape(-1, 784)
        side = 2 * shift + 1
        rows = np.arange(28) + np.arange(-shift, shift + 1)[:, None]  # where each row moves to
        stays = np.float32((rows >= 0) & (rows < 28))  # (side, 28): is it still in the field?
        places = np.array([0])
        if shift:
            places = np.argsort(-_likeness(self._sample, moved, stays).max(axis=0))[:PLACES]
        guesses = self._guess(moved[places], stays[places // side], stays[places % side])
        compared = min(BEST if shift else count, len(guesses))  # without a shift, none is a guess
        best = np.argpartition(-guesses, compared - 1)[:compared]
        pictures = self.pictures(best)
        likeness = _likeness(pictures, moved, stays)
        highest = likeness.max(axis=1)
        matches = []
        for row in np.argsort(-highest)[:count]:
            down, right = divmod(int(likeness[row].argmax()), side)
            places = _at_all_places(pictures[row], shift)
            there = places[2 * shift - down, 2 * shift - right].ravel()
            label = int(self._labels[best[row]])
            matches.append(Match(label, float(highest[row]), there, self._own))
        return matches

    def blurred_likeness(self, pictures: np.ndarray) -> np.ndarray:
        """Return how like pictures, uint8 (n, 784), are to the digit most like each, blurred: (n,).

        Two pictures take 3 ms of one core.
        """
        blurred = np.float32(_blur(pictures))
        blurred /= np.maximum(np.linalg.norm(blurred, axis=1, keepdims=True), 1)
        inked = np.flatnonzero(blurred.any(axis=0))
        blurred, best = np.ascontiguousarray(blurred[:, inked]), np.zeros(len(blurred), np.float32)
        for start in range(0, len(self._labels), PART):
            part = slice(start, start + PART)
            products = blurred @ self._blurred[inked, part].astype(np.float32)
            best = np.maximum(best, (products / self._blurred_lengths[part]).max(axis=1))
        return best

    def _guess(self, moved, rows, columns):
        """Return the likeness of each digit at the best of some places.

        Only the ink that a digit loses beyond a corner of the field is estimated.
        """
        inked = np.flatnonzero(moved.any(axis=0))
        moved = np.ascontiguousarray(moved[:, inked])
        guesses = []
        for start in range(0, len(self._labels), PART):
            part = slice(start, start + PART)
            products = moved @ self._pixels[inked, part].astype(np.float32)
            kept = (rows @ self._rows[:, part]) * (columns @ self._columns[:, part])
            kept /= self._squares[part]
            guesses.append((products / np.sqrt(np.maximum(kept, 1))).max(axis=0))
        return np.concatenate(guesses)


def _at_all_places(picture, shift):
    """Return a picture, (784,), moved to all places, without a copy: (side, side, 28, 28).

    The first is moved by `shift` to the right and down, the last one to the left and up.
    """
    return sliding_window_view(np.pad(picture.reshape(28, 28), shift), (28, 28))


def _likeness(digits, moved, stays):
    """Return the likeness of digits, uint8 (n, 784), to a moved picture of length 1: (n, k)."""
    digits = np.float32(digits)
    squares = np.square(digits).reshape(-1, 28, 28)
    kept = (stays @ squares @ stays.T).reshape(len(digits), -1)  # of those still in the field
    return digits @ moved.T / np.sqrt(np.maximum(kept, 1))  # a blank digit has likeness 0


def _place(picture, shift):
    """Move a picture, (784,), by up to `shift` to where MNIST's authors place a digit.

    Returns the moved picture, and whether a part of the digit may lie beyond the border. MNIST
    leaves about 4 pixels free there.
    """
    ink = np.float32(picture).reshape(28, 28)
    middle = [ink.sum(axis=axis) @ np.arange(28) / max(ink.sum(), 1) for axis in (1, 0)]
    steps = [round(14 - place) for place in middle]  # down and right
    down, right = (min(max(step, -shift), shift) for step in steps)
    moved = _at_all_places(picture, shift)[shift - down, shift - right].ravel()
    touches_border = ink.sum() > ink[1:-1, 1:-1].sum()
    return moved, touches_border and 3 < max(map(abs, steps)) <= shift


def _blur(pictures):
    """Return pictures, uint8 (n, 784), at half the size, uint8 (n, 196): means of 4 x 4 pixels."""
    near = np.float32(np.abs(np.arange(28) - 2 * np.arange(14)[:, None] - 0.5) < 2)
    sums = near @ np.float32(pictures).reshape(-1, 28, 28) @ near.T
    return np.uint8(sums.reshape(-1, 196) / 16)


class TrainingDigits:
    """The training digits of all runs; each set is read once, in a thread, when it is needed."""

    def __init__(self, data_dir: str | Path) -> None:
        """Take the folder in which to look for MNIST if a run's own folder does not have it."""
        self._data_dir = data_dir
        self._thread = futures.ThreadPoolExecutor(1)
        self._reading: dict[tuple[Path, bool], futures.Future] = {}
        self._own: dict[tuple, Digits] = {}  # by the names of the pictures

    def most_like(self, record: Record, picture: np.ndarray) -> list[Match]:
        """Return the six digits that a run learned from and that are most like a picture.

        picture: float32 (784,). The best comes first. Raises Refusal.
        """
        matches = self.of(record).most_like(picture, record.shift)
        if record.own_names:
            matches += self._own_of(record).most_like(picture, record.shift)
        return sorted(matches, key=lambda match: match.likeness, reverse=True)[:6]

    def are_unlike(self, record: Record, pictures: np.ndarray) -> list[bool | None]:
        """Return which pictures, uint8 (n, 784), look like no digit that a run learned from.

        Each is first moved by up to SHIFT to where MNIST's authors place digits. None where it is
        not known: the digits are not here, or they are other files than those of LEAST, or SHIFT
        may have moved a part of the digit over the border.
        """
        if record.data not in LEAST:
            return [None] * len(pictures)
        placed = [_place(picture, record.shift) for picture in pictures]
        moved = np.stack([picture for picture, _ in placed])
        try:
            likeness = self.of(record).blurred_likeness(moved)
            if record.own_names:
                own = self._own_of(record).blurred_likeness(moved)
                likeness = np.maximum(likeness, own)
        except Refusal:
            return [None] * len(pictures)
        is_low = (likeness < LEAST[record.data]).tolist()
        return [None if low and cut else low for low, (_, cut) in zip(is_low, placed, strict=True)]

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

    def _own_of(self, record):
        """Return the reader's own digits that a run learned from. Raises Refusal."""
        names = tuple(record.own_names)
        if names not in self._own:
            try:
                own = own_digits.load(own_digits.FOLDER)
            except Problem as problem:
                raise Refusal("unreadable-data", record.name, str(problem).rstrip(".")) from problem
            used = np.isin(own.names, names)
            self._own[names] = Digits(own.images[used], own.labels[used], own=True)
        return self._own[names]

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
