"""Read MNIST, 70,000 handwritten digits, and return it in batches; download what is missing.

`read_data_sets` keeps the interface of `tensorflow.examples.tutorials.mnist.input_data`, which came
with TensorFlow 1. An old script runs if you replace its import by `import input_data`:

    mnist = input_data.read_data_sets("MNIST_data/", one_hot=True)
    images, labels = mnist.train.next_batch(100)

All arrays are NumPy's; TensorFlow is not needed. These differences from TensorFlow 1.15 are
intended: `images` and `labels` keep the order of the files, because only the batches are shuffled.
A batch is a copy, and may be larger than its set. Each set has its own random generator: the same
seed gives the same batches, but not those of TensorFlow. `fake_data=True` gives digits that this
program draws, not white images. Every file is checked.
"""

import argparse
import dataclasses
import functools
import gzip
import hashlib
import math
import numbers
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from support import terminal

# Each has the same four files; they are tried in turn. The first works nearly everywhere, but fails
# in mainland China, after three seconds; the second works there, the others are slow or blocked.
MIRRORS = [
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://dataset.bj.bcebos.com/mnist/",  # PaddlePaddle's, in Beijing
    "https://ossci-datasets.s3.amazonaws.com/mnist/",  # PyTorch's
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
]
SOURCE_URL = MIRRORS[0]  # for old scripts

# The files, and the SHA-256 of the unpacked content of each.
OFFICIAL = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

GENERATED = "generated digits, not MNIST"  # the `name` of a DataSet of generated digits
# What to do about a malformed file.
WAY_OUT = "move it to another folder, and if a mirror can be reached, MNIST's file is downloaded"


class DownloadError(OSError):
    """No mirror delivered a file; the message has a line with the reason for each mirror."""


class DataSet:
    """Images with their labels, returned in batches.

    Attributes:
        images: float32 in [0, 1] or uint8 0 to 255, of shape (n, 784) or (n, 28, 28, 1).
        labels: uint8 of shape (n,), or one-hot float64 of shape (n, 10).
        name: where the digits come from: "MNIST", GENERATED, or a description of other images.
        num_examples: n.
        epochs_completed: how many epochs have ended; an epoch ends when a batch needs the next one.
    """

    # The private names are TensorFlow's; old scripts read and set them.
    num_examples = property(lambda self: self._num_examples)
    epochs_completed = property(lambda self: self._epochs_completed)
    images = property(lambda self: self._images)
    labels = property(lambda self: self._labels)

    def __init__(
        self,
        images,
        labels,
        fake_data=False,
        one_hot=False,
        dtype="float32",
        reshape=True,
        seed=None,
        name="images from a script",
        shift=0,
    ):
        """Make a set of n images, pixels 0 to 255 in an array of any shape (n, ...), and n labels.

        `fake_data` and `one_hot` are accepted for old scripts, but ignored. dtype, reshape, seed,
        shift: see `read_data_sets`. Raises TypeError or ValueError if an argument makes no sense.
        """
        if len(images) != len(labels):
            raise ValueError(f"there are {len(labels):,} labels for the {len(images):,} images")
        self._pixels = np.asarray(images)
        if reshape:  # without -1, which NumPy cannot infer for an empty array
            self._pixels = self._pixels.reshape(len(images), math.prod(self._pixels.shape[1:]))
        self._labels = np.asarray(labels)
        self._dtype = _image_dtype(dtype)
        if not _is_count(shift, 14):
            raise ValueError(f"shift must be a whole number of pixels, 0 to 14, not {shift!r}")
        self._shift = int(shift)
        self._rng = np.random.default_rng(seed)
        self._shift_rng = self._rng.spawn(1)[0]  # its own: a shift does not change the order
        self.name = name
        self._num_examples = len(images)
        self._epochs_completed = 0
        self._index_in_epoch = 0
        self._order = np.arange(len(images))  # the rows, in the order of this epoch

    @functools.cached_property
    def _images(self):
        return _convert(self._pixels, self._dtype)  # at the first use: float32 takes 188 MB

    def next_batch(self, batch_size, fake_data=False, shuffle=True):
        """Return the next `batch_size` images and their labels, as two arrays.

        Each epoch contains every image once. A batch that reaches the end of an epoch continues in
        the next epoch. The order is random or, with `shuffle=False`, that of the files. `fake_data`
        is ignored. Raises ValueError if `batch_size` is not a whole number, 0 or more, or if there
        are no images.
        """
        rows = np.concatenate(list(self._take(batch_size, shuffle)))
        if "_images" in vars(self):  # the caller has seen `images`, and may have changed it
            return self._move(self._images[rows]), self._labels[rows]
        return _convert(self._move(self._pixels[rows]), self._dtype), self._labels[rows]

    def skip(self, count: int) -> None:
        """Skip `count` images, as if they had been returned in shuffled batches of any size.

        No image is copied. Raises ValueError as `next_batch` does.
        """
        for rows in self._take(count, shuffle=True):
            self._offsets(len(rows))

    def _offsets(self, count):
        """Draw by how far each of the next images is moved: (2, count), from 0 to 2 * shift."""
        return self._shift_rng.integers(0, 2 * self._shift + 1, (count, 2)).T

    def _move(self, images):
        """Return images of 28x28 pixels, each moved by its own offset; paper (0) comes in."""
        if self._shift == 0:
            return images
        n, shift = len(images), self._shift
        framed = np.zeros((n, 28 + 2 * shift, 28 + 2 * shift), images.dtype)
        framed[:, shift : shift + 28, shift : shift + 28] = images.reshape(n, 28, 28)
        # Each 28x28 part of the framed image is the image, moved; this makes no copy of them.
        parts = np.lib.stride_tricks.sliding_window_view(framed, (28, 28), axis=(1, 2))
        down, right = self._offsets(n)
        return parts[np.arange(n), down, right].reshape(images.shape)

    def _take(self, count, shuffle):
        """Take the next `count` images; yield their rows, in one array for each epoch."""
        n = self._num_examples
        if not _is_count(count) or n == 0:
            raise ValueError(f"{count!r} images cannot be taken from a set of {n:,}")
        left = int(count)
        # Only row numbers are shuffled: shuffling the images would copy 188 MB in every epoch.
        if left and self._epochs_completed == self._index_in_epoch == 0:
            self._order = self._new_order(shuffle)
        while True:
            rows = self._order[self._index_in_epoch :][:left]
            self._index_in_epoch += len(rows)
            left -= len(rows)
            yield rows
            if left == 0:
                return
            self._epochs_completed += 1
            self._index_in_epoch = 0
            self._order = self._new_order(shuffle)

    def _new_order(self, shuffle):
        n = self._num_examples
        return self._rng.permutation(n) if shuffle else np.arange(n)


class MixedSet:
    """A training set whose batches contain some images of another set, `own`."""

    def __init__(self, main, own, count, batch_size):
        """Make batches of `batch_size` images: `count` are those of `own`, the others of `main`."""
        self._main, self._own, self._count, self._batch_size = main, own, count, batch_size

    def __getattr__(self, name):
        """Return what else a DataSet has, such as its images: it is that of `main`."""
        return getattr(self._main, name)

    def next_batch(self, batch_size):
        """Return images and labels as `DataSet.next_batch` does."""
        images, labels = self._main.next_batch(batch_size - self._count)
        own_images, own_labels = self._own.next_batch(self._count)
        return np.concatenate([images, own_images]), np.concatenate([labels, own_labels])

    def skip(self, count):
        """Skip `count` images of whole batches, as if they had been returned."""
        batches = count // self._batch_size
        self._main.skip(batches * (self._batch_size - self._count))
        self._own.skip(batches * self._count)


@dataclasses.dataclass
class Datasets:
    """The three sets; old scripts replace one of them: `mnist.test = mnist.validation`."""

    train: DataSet
    validation: DataSet
    test: DataSet
    own_names: list[str] | None = None  # the reader's own digits in `train`, see own_digits.load
    own_test: tuple | None = None  # images and labels of those that are held out for a test

    def __iter__(self):
        """Unpack: `train, validation, test = mnist`."""
        return iter((self.train, self.validation, self.test))


def _is_count(value, highest=math.inf):
    """Return whether a value is a whole number from 0 to `highest`, such as 100 or 100.0."""
    return isinstance(value, numbers.Real) and 0 <= value <= highest and value % 1 == 0


def _image_dtype(dtype):
    """Return the NumPy dtype for a name, or for a NumPy or TensorFlow type."""
    name = getattr(dtype, "name", getattr(dtype, "__name__", dtype))
    if name not in ("float32", "uint8"):
        raise TypeError(f"images cannot have dtype {dtype!r}; pass 'float32' or 'uint8'")
    return np.dtype(name)


def _convert(pixels, dtype):
    """Return pixels, 0 to 255, as they are or as float32 in [0, 1]."""
    if dtype == np.uint8:
        return pixels
    return np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)  # no second float copy


def read_or_generate(settings: argparse.Namespace) -> Datasets:
    """Read MNIST; if no mirror delivers it, say so and use generated digits.

    settings: see read_settings. If `settings.data` is GENERATED, the run to continue learned from
    generated digits, and these are used at once. All training images are in `train`, none in
    `validation`. With OWN_DIGITS, digits that the reader drew are among them. Raises
    terminal.Problem if a file is malformed or missing, or the folder cannot be used.
    """
    seed, shift = settings.seed, settings.shift
    read = functools.partial(
        read_data_sets, settings.data_dir, validation_size=0, seed=seed, shift=shift
    )
    try:
        try:
            data = read(fake_data=settings.data == GENERATED)
        except DownloadError as error:
            until = "Until then, the program learns from digits that it draws itself."
            terminal.say(f"{error} {until}")
            data = read(fake_data=True)
        if settings.own_digits:
            _mix_in_own_digits(data, settings)
        return data
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise terminal.Problem(f"{place}{error.strerror or error}.") from error
    except ValueError as error:
        raise terminal.Problem(f"{error}.") from error


def _mix_in_own_digits(data, settings):
    """Put digits that the reader drew into each training batch; hold out every fourth one.

    A run that continues goes on with the digits that it had: those drawn since are only tested.
    """
    from support import own_digits  # here, because old scripts do not need Pillow

    own = own_digits.load(own_digits.FOLDER)
    held_out = np.array([own_digits.is_held_out(place) for place in range(len(own.names))], bool)
    trained = ~held_out
    if settings.continue_run:
        trained = np.isin(own.names, settings.continue_run.record.own_names or [])
    if not trained.any():
        raise terminal.Problem(
            f"OWN_DIGITS is {settings.own_digits}, but {terminal.short(own_digits.FOLDER)} has no "
            "digits to learn from: run draw.py, draw digits, and say which digit each one is."
        )
    # The seeds of MNIST's three sets are the first three.
    seed = np.random.SeedSequence(settings.seed).spawn(4)[3]
    train = DataSet(own.images[trained], own.labels[trained], seed=seed, shift=settings.shift)
    data.train = MixedSet(data.train, train, settings.own_digits, settings.batch_size)
    data.own_names = [name for name, is_used in zip(own.names, trained, strict=True) if is_used]
    tested = held_out & ~trained
    if tested.any():
        data.own_test = _convert(own.images[tested], np.float32), own.labels[tested]


def read_data_sets(
    train_dir,
    fake_data=False,
    one_hot=False,
    dtype="float32",
    reshape=True,
    validation_size=5000,
    seed=None,
    source_url=None,
    shift=0,
):
    """Read MNIST, after downloading what is missing, and split it into three sets.

    Args:
        train_dir: folder of the four files, as .gz or unpacked; see `find`.
        fake_data: if true, use generated digits in place of MNIST.
        one_hot: if true, labels are float64 of shape (n, 10), not uint8 of shape (n,).
        dtype: "float32" for pixels in [0, 1] or "uint8" for 0 to 255, as a name or a type.
        reshape: if true, images have the shape (n, 784), not (n, 28, 28, 1).
        validation_size: how many images at the start of the training set are for validation.
        seed: an integer of 0 or more makes the batches repeatable; with None they differ each time.
        source_url: address to download from instead of `MIRRORS`, such as that of a set like MNIST.
        shift: by up to how many pixels, 0 to 14, `train.next_batch` moves each image that it
            returns, at random, right or left and up or down; `train.images` are not moved.

    Returns three `DataSet`s as `Datasets`: `train` (55,000 images), `validation` (5,000), `test`
    (10,000). Raises TypeError or ValueError if an argument makes no sense or a file is malformed,
    DownloadError if no mirror delivers a missing file, and OSError if the folder cannot be used.
    """
    dtype = _image_dtype(dtype)
    # One random stream for each set: a batch of one set does not change the batches of another.
    seeds = np.random.SeedSequence(seed).spawn(3)
    folder = Path(os.path.expanduser(os.fsdecode(train_dir)))
    if fake_data:
        from support import generated_digits  # here, because it is rarely needed

        name, arrays = GENERATED, generated_digits.load(folder)
    else:
        name, arrays = _read_folder(folder, source_url)
    train_images, train_labels, test_images, test_labels = arrays
    if not _is_count(validation_size, len(train_images)):
        allowed = f"0 to {len(train_images)}, the number of training images"
        raise ValueError(f"validation_size must be {allowed}, not {validation_size!r}")
    if one_hot:
        train_labels = dense_to_one_hot(train_labels, 10)
        test_labels = dense_to_one_hot(test_labels, 10)
    v = int(validation_size)
    make = functools.partial(DataSet, dtype=dtype, reshape=reshape, name=name)
    return Datasets(
        train=make(train_images[v:, ..., None], train_labels[v:], seed=seeds[0], shift=shift),
        validation=make(train_images[:v, ..., None], train_labels[:v], seed=seeds[1]),
        test=make(test_images[..., None], test_labels, seed=seeds[2]),
    )


def maybe_download(filename, work_directory):
    """Download one of the four files if it is missing, and return its path as text."""
    folder, name = Path(os.fsdecode(work_directory)), filename.removesuffix(".gz")
    if find(folder, name) is None:
        _download(folder, [name], None)
    return str(find(folder, name))


def extract_images(f):
    """Return the images in a file, open or given by its path: uint8 of shape (n, 28, 28, 1)."""
    return _parse(_content(f), has_images=True)[0][..., None]


def extract_labels(f, one_hot=False, num_classes=10):
    """Return the labels in a file, as `extract_images`: uint8 of shape (n,), or one-hot float64."""
    labels, _ = _parse(_content(f), has_images=False)
    return dense_to_one_hot(labels, num_classes) if one_hot else labels


def dense_to_one_hot(labels_dense, num_classes):
    """Return float64 of shape (n, num_classes): in each row a 1 at the label's place, else 0."""
    return np.eye(num_classes)[labels_dense]


def _content(f):
    return f.read() if hasattr(f, "read") else Path(os.fsdecode(f)).read_bytes()


def _read_folder(folder, source_url):
    """Return the name of the data and its four arrays; images have the shape (n, 28, 28)."""
    missing = [name for name in OFFICIAL if find(folder, name) is None]
    if missing:
        _download(folder, missing, source_url)
    paths = [find(folder, name) for name in OFFICIAL]
    arrays, digests = zip(*map(_read, paths, OFFICIAL), strict=True)
    for images, labels in (0, 1), (2, 3):
        if len(arrays[images]) != len(arrays[labels]):
            held = f"holds {len(arrays[labels]):,} labels for the {len(arrays[images]):,} images in"
            advice = f"find the wrong one, {WAY_OUT}"
            raise ValueError(f"{paths[labels]} {held} {paths[images]}; {advice}")
    checked = zip(paths, digests, OFFICIAL.values(), strict=True)
    foreign = [path.name for path, digest, official in checked if digest != official]
    if not foreign:
        return "MNIST", arrays
    terminal.say(f"In {folder}, these files are not MNIST's official ones: {', '.join(foreign)}")
    return f"the files in {folder}, which are not MNIST's official ones", arrays


def find(folder: str | os.PathLike[str], name: str) -> Path | None:
    """Return the path of a file of OFFICIAL in a folder, packed or unpacked, or None.

    It may also be in `raw/` or `MNIST/raw/`, as torchvision has it, or in a folder of its own name,
    into which Windows unpacks it.
    """
    dotted = name.replace("-idx", ".idx")  # some programs unpack it to this name
    files = [name + ".gz", name, dotted + ".gz", dotted]
    for place in ["", "raw", "MNIST/raw", *files]:
        for file in files:
            if Path(folder, place, file).is_file():
                return Path(folder, place, file)
    return None


def _download(folder, names, source_url):
    """Download files into the folder, from the mirrors or from the address that the user gives."""
    from support import download  # here, because it is slow to import and rarely needed

    mirrors, check = ([source_url], _read) if source_url else (MIRRORS, _read_official)
    try:
        download.fetch("MNIST", mirrors, [f"{name}.gz" for name in names], folder, check)
    except ConnectionError as error:
        files = ", ".join(f"{name}.gz" for name in OFFICIAL)
        by_hand = f"To supply MNIST by hand, put {files} into {folder}."
        raise DownloadError(f"{error}\n{by_hand}") from error


def _read_official(path, name):
    if _read(path, name)[1] != OFFICIAL[name.removesuffix(".gz")]:
        raise ValueError("not MNIST's")


def _read(path, name):
    """Return the uint8 array in one of MNIST's files, and the SHA-256 of its unpacked content."""
    try:
        data, digest = _parse(path.read_bytes(), "images" in name)
    except ValueError as error:
        raise ValueError(f"{path} {error}; {WAY_OUT}") from error
    if "labels" in name and data.max() > 9:
        held = f"holds the label {data.max()}, but this network's answers are the digits 0 to 9"
        advice = "keep it, and name another folder for MNIST"
        raise ValueError(f"{path} {held}; it may be EMNIST's file of letters: {advice}")
    return data, digest


def _parse(content, has_images):
    """Return what `_read` returns; the message of a ValueError continues after the file's name."""
    if content.startswith(b"\x1f\x8b"):  # gzip; the name is no proof, as people rename files
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"is not an intact gzip file ({error})") from error
    # The header is big-endian: a magic number, whose last byte counts the dimensions, then sizes.
    kind, expected, layout = ("images", 2051, ">4I") if has_images else ("labels", 2049, ">2I")
    start = struct.calcsize(layout)
    if len(content) < start:
        raise ValueError("is cut short within its header")
    magic, count, *size = struct.unpack_from(layout, content)
    if magic != expected:
        raise ValueError(f"is not a file of {kind}: it begins with {magic:#x}, not {expected:#x}")
    if has_images and size != [28, 28]:
        raise ValueError(f"holds images of {size[0]}x{size[1]} pixels, not 28x28")
    promised, held = count * math.prod(size), len(content) - start
    if held != promised or not count:
        raise ValueError(f"holds {held:,} bytes, not the {promised:,} of {count:,} {kind}")
    data = np.frombuffer(content, np.uint8, offset=start).reshape(count, *size).copy()
    return data, hashlib.sha256(content).hexdigest()
