"""MNIST: 70,000 handwritten digits, found or downloaded, checked, read and handed out in batches.

`read_data_sets` keeps the interface of `tensorflow.examples.tutorials.mnist.input_data`, which came
with TensorFlow 1, so an old script runs when `import input_data` takes the place of its import:

    mnist = input_data.read_data_sets("MNIST_data/", one_hot=True)
    images, labels = mnist.train.next_batch(100)

TensorFlow is not needed here: everything is a NumPy array. On purpose, this differs from TensorFlow
1.15's module:

- `images` and `labels` keep the order of the files, and `shuffle=False` hands batches out in it.
  TensorFlow shuffled the arrays themselves.
- A batch is a copy: who changes it does not change the set.
- Each set has a random generator of its own, and NumPy's global one is left alone. The same seed
  gives the same batches every time, but not TensorFlow's.
- `fake_data=True` gives digits that this program draws, not images that are all white; in
  `next_batch` it changes nothing.
- Every file is checked, and an error says in a sentence what is wrong with it.
- A batch may be larger than its set; it then goes through several epochs.
"""

import collections
import functools
import gzip
import hashlib
import math
import os
import struct
import zlib
from pathlib import Path

from support import generated_digits, terminal

import numpy as np

# Copies of the same four files; each is tried in turn until one delivers. Nearly everywhere the
# first is a good one. In mainland China it is blocked, which costs three seconds, once, and the
# second, in Beijing, is the one that works there. It stands before the other two because there they
# are slow or blocked, and slow is worse: who trickles is waited for longer than who is silent.
MIRRORS = [
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://dataset.bj.bcebos.com/mnist/",  # PaddlePaddle's, in Beijing
    "https://ossci-datasets.s3.amazonaws.com/mnist/",  # PyTorch's
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
]

# File: SHA-256 of the .gz file that the mirrors offer, SHA-256 of what it holds when unpacked.
# The first tells a good download; the second knows MNIST however someone unpacked or packed it.
OFFICIAL = {
    "train-images-idx3-ubyte": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}

# A header may promise four thousand million images; this many are believed. As float32 and as they
# were read they take 1 GB, and EMNIST, the largest common set of MNIST's kind, has 240,000 digits.
MAX_COUNT = 250_000
DEFLATE_RATIO = 1032  # no gzip file unpacks to more than 1,032 times its size

GENERATED = "generated digits, not MNIST"  # the name of a DataSet that the program draws

Datasets = collections.namedtuple("Datasets", ["train", "validation", "test"])


class DownloadError(OSError):
    """No mirror delivered a file; the message names each mirror and says why, one line each."""


# ------------------------------------------------------------------------------------- batches


class DataSet:
    """Images with their labels, handed out in batches.

    Attributes:
        images: float32 in [0, 1] or uint8 0 to 255, of shape (n, 784) or (n, 28, 28, 1).
        labels: uint8 of shape (n,), or one-hot float64 of shape (n, 10).
        name: where the digits come from, "MNIST", GENERATED, or a description of other images.
        num_examples: n.
        epochs_completed: how many epochs have ended; one ends when a batch goes beyond its end.
    """

    # The private names are TensorFlow's: old scripts read and set them.
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
        name="images that were handed in",
    ):
        """Make a set of given images.

        Args:
            images: pixels 0 to 255, of shape (n, 28, 28, 1), or of any other that begins with n.
            labels: an array of n labels, kept as it is.
            fake_data: if true, take 10,000 digits drawn by this program, whatever the images are.
            one_hot: the form of the labels of `fake_data`.
            dtype: "float32" for pixels in [0, 1] or "uint8" for 0 to 255.
            reshape: make each image a row.
            seed: see `read_data_sets`.
            name: where the digits come from.

        Raises:
            TypeError: dtype is neither float32 nor uint8.
            ValueError: there are not as many labels as images, or seed is not usable.
        """
        if fake_data:
            images, labels = generated_digits.generate(10_000, seed=0)
            images = images[..., None]
            labels = dense_to_one_hot(labels, 10) if one_hot else labels
        if len(images) != len(labels):
            raise ValueError(f"there are {len(labels):,} labels for the {len(images):,} images")
        self._pixels = np.asarray(images)
        if reshape:  # not to -1 columns, which NumPy does not know of no images
            self._pixels = self._pixels.reshape(len(images), math.prod(self._pixels.shape[1:]))
        self._labels = np.asarray(labels)
        self._dtype = _image_dtype(dtype)
        self._rng = np.random.default_rng(_seed_sequence(seed))
        self.name = name
        self._num_examples = len(images)
        self._epochs_completed = 0
        self._index_in_epoch = 0
        self._order = np.arange(len(images))  # the rows, as this epoch hands them out

    @functools.cached_property
    def _images(self):
        # Made when first asked for: as float32 the training images fill 188 MB.
        return _convert(self._pixels, self._dtype)

    def next_batch(self, batch_size, fake_data=False, shuffle=True):
        """Return the next `batch_size` images and their labels, as two arrays.

        Every image comes once in each epoch. A batch that goes beyond an epoch's last image goes on
        with the next epoch, whose order is drawn anew, or is the files' order with `shuffle=False`.
        `fake_data` is accepted for the sake of old scripts, and ignored.

        Raises:
            ValueError: `batch_size` is negative or there are no images.
        """
        n = self._num_examples
        if batch_size < 0 or n == 0:
            raise ValueError(
                f"next_batch cannot take {batch_size} images from a set of {n:,}; "
                "ask for 0 or more, from a set that has images"
            )
        # Only row numbers are shuffled: to shuffle the images would copy 188 MB in every epoch.
        if self._epochs_completed == 0 and self._index_in_epoch == 0:
            self._order = self._new_order(shuffle)
        rows = self._order[self._index_in_epoch :][:batch_size]
        self._index_in_epoch += len(rows)
        while len(rows) < batch_size:
            self._epochs_completed += 1
            self._order = self._new_order(shuffle)
            more = self._order[: batch_size - len(rows)]
            self._index_in_epoch = len(more)
            rows = np.concatenate([rows, more])
        if "_images" in vars(self):  # somebody has asked for them, and may have changed them
            return self._images[rows], self._labels[rows]
        return _convert(self._pixels[rows], self._dtype), self._labels[rows]

    def _new_order(self, shuffle):
        n = self._num_examples
        return self._rng.permutation(n) if shuffle else np.arange(n)


def _image_dtype(dtype):
    try:
        found = np.dtype(getattr(dtype, "as_numpy_dtype", dtype))  # TensorFlow's types have this
    except (TypeError, ValueError):
        found = None
    if found not in (np.float32, np.uint8):
        raise TypeError(f"images cannot have dtype {dtype!r}; pass 'float32' or 'uint8'")
    return found


def _seed_sequence(seed):
    if isinstance(seed, np.random.SeedSequence):
        return seed
    try:
        return np.random.SeedSequence(seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"seed {seed!r} is not usable; pass an integer of 0 or more, or None"
        ) from None


def _convert(pixels, dtype):
    """Return pixels, 0 to 255, as they are or as float32 in [0, 1]."""
    if dtype == np.uint8:
        return pixels
    # In one step: without a second copy in floats.
    return np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)


# ------------------------------------------------------------------------------------- data sets


def read_or_generate(data_dir, seed=None):
    """Read MNIST; or, when no mirror delivers it, say so and take digits that this program draws.

    data_dir, seed: see `read_data_sets`. All training images are in `train`, none in `validation`.
    Raises terminal.Problem, with a sentence, if a file is malformed.
    """
    try:
        return read_data_sets(data_dir, validation_size=0, seed=seed)
    except DownloadError as error:
        terminal.say(
            f"{error} Until then the network learns from digits that this program draws itself."
        )
        return read_data_sets(data_dir, fake_data=True, validation_size=0, seed=seed)
    except ValueError as error:
        raise terminal.Problem(f"{error}.") from error


def read_data_sets(
    train_dir,
    fake_data=False,
    one_hot=False,
    dtype="float32",
    reshape=True,
    validation_size=5000,
    seed=None,
    source_url=None,
):
    """Read MNIST, after downloading what is missing, and split it into three sets.

    Args:
        train_dir: folder of the four files, as .gz or unpacked; what is missing is downloaded into
            it. If they are well-formed but not MNIST's own, a printed line says so.
        fake_data: if true, take digits drawn by this program in place of MNIST.
        one_hot: labels as float64 rows of shape (n, 10), not as uint8 numbers of shape (n,).
        dtype: "float32" for pixels in [0, 1] or "uint8" for 0 to 255; NumPy's or TensorFlow's type
            does as well as its name.
        reshape: images as rows of shape (n, 784), not as (n, 28, 28, 1).
        validation_size: so many training images, the first ones, become the validation set.
        seed: an integer of 0 or more makes the batches repeatable; None gives other ones each time.
        source_url: address of a folder to download from in place of `MIRRORS`; files from there
            are not compared with MNIST's digests.

    Returns:
        A named tuple of `DataSet`s: `train` (55,000 images), `validation` (5,000), `test` (10,000).

    Raises:
        TypeError: dtype is neither float32 nor uint8.
        ValueError: a file is malformed, or validation_size or seed is out of range.
        DownloadError: a file is missing and no mirror delivers it.
        OSError: train_dir cannot be read or written.
    """
    dtype = _image_dtype(dtype)
    # A random stream for each set: were one shared, a look at one set would reorder the others.
    seeds = _seed_sequence(seed).spawn(3)
    folder = Path(os.path.expanduser(train_dir))
    if fake_data:
        name, arrays = GENERATED, generated_digits.load(folder)
    else:
        name, arrays = _read_folder(folder, source_url)
    train_images, train_labels, test_images, test_labels = arrays
    if not 0 <= validation_size <= len(train_images):
        raise ValueError(
            f"validation_size {validation_size} is out of range: there are "
            f"{len(train_images):,} training images, so pass 0 to {len(train_images)}"
        )
    if one_hot:
        train_labels = dense_to_one_hot(train_labels, 10)
        test_labels = dense_to_one_hot(test_labels, 10)
    v = validation_size
    parts = [
        (train_images[v:], train_labels[v:]),
        (train_images[:v], train_labels[:v]),
        (test_images, test_labels),
    ]
    return Datasets(
        *(
            DataSet(images[..., None], labels, dtype=dtype, reshape=reshape, seed=seed, name=name)
            for (images, labels), seed in zip(parts, seeds, strict=True)
        )
    )


def extract_images(f):
    """Return the images in a gzipped file, uint8 of shape (n, 28, 28, 1).

    Takes an open binary file, or a path. Raises ValueError if the file is malformed.
    """
    return _extract(f, has_images=True)[..., None]


def extract_labels(f, one_hot=False, num_classes=10):
    """Return the labels in a gzipped file, uint8 of shape (n,), or one-hot float64.

    Takes an open binary file, or a path. Raises ValueError if the file is malformed.
    """
    labels = _extract(f, has_images=False)
    return dense_to_one_hot(labels, num_classes) if one_hot else labels


def dense_to_one_hot(labels_dense, num_classes):
    """Return float64 of shape (n, num_classes): in each row a 1 at the label's place, else 0."""
    return np.eye(num_classes)[labels_dense]


# ------------------------------------------------------------------------------------- files


def _read_folder(folder, source_url):
    """Return where the digits come from and the four arrays, images of shape (n, 28, 28)."""
    paths = {name: find(folder, name) for name in OFFICIAL}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        paths |= _download(folder, missing, source_url)
    arrays, digests = zip(*(_read(path, name) for name, path in paths.items()), strict=True)
    paths = list(paths.values())
    for images, labels in (0, 1), (2, 3):
        if len(arrays[images]) != len(arrays[labels]):
            raise ValueError(
                f"{paths[labels]} holds {len(arrays[labels]):,} labels for the "
                f"{len(arrays[images]):,} images in {paths[images]}; "
                "find the wrong one and delete it to download it again"
            )
    official = [unpacked for _, unpacked in OFFICIAL.values()]
    foreign = [
        path.name
        for path, digest, mnist in zip(paths, digests, official, strict=True)
        if digest != mnist
    ]
    if not foreign:
        return "MNIST", arrays
    terminal.say(
        f"Not MNIST's official files, but read all the same: {', '.join(foreign)} in {folder}"
    )
    return f"the files in {folder}, which are not MNIST's official ones", arrays


def find(folder, name):
    """Return the path of one of OFFICIAL in a folder, packed or unpacked, or None."""
    folder = Path(folder)
    dotted = name.replace("-idx", ".idx")  # some unpacking programs spell it so
    for candidate in (name + ".gz", name, dotted + ".gz", dotted):
        if (folder / candidate).is_file():
            return folder / candidate
    return None


def _download(folder, names, source_url):
    """Return {name: path} of the files, once mirrors have delivered them."""
    from support import download as mirrors  # here, because it takes a while and is needed once

    source = mirrors.Mirrors("MNIST", [source_url] if source_url else MIRRORS)
    paths = {}
    for name in names:
        digest, check = OFFICIAL[name][0], None
        if source_url:  # instead, refuse what could not be read later
            digest, check = None, functools.partial(_read_idx, name=name, gzipped=True)
        try:
            paths[name] = source.fetch(f"{name}.gz", folder, digest, check)
        except mirrors.NotDeliveredError as error:
            files = ", ".join(f"{file}.gz" for file in OFFICIAL)
            raise DownloadError(
                f"{error}\nTo supply MNIST by hand, put {files} into {folder}."
            ) from error
    return paths


def _read(path, name):
    try:
        return _read_idx(path, name, gzipped=path.suffix == ".gz")
    except ValueError as error:
        raise ValueError(f"{path} {error}; delete it to download it again") from error


def _read_idx(path, name, gzipped):
    """Return the uint8 array in an idx file, and the SHA-256 of the file's unpacked content.

    Raises ValueError if it is malformed; the message goes on from the file's path: "is cut short".
    """
    most = os.path.getsize(path) * (DEFLATE_RATIO if gzipped else 1)
    with gzip.open(path) if gzipped else open(path, "rb") as file:
        return _parse(file, "images" in name, most)


def _extract(f, has_images):
    try:
        with gzip.open(f) as file:
            return _parse(file, has_images, MAX_COUNT * 28 * 28)[0]
    except ValueError as error:
        raise ValueError(f"{getattr(f, 'name', f)} {error}") from error


def _parse(file, has_images, most):
    """Return what `_read_idx` does; `most` is how many bytes the file can hold when unpacked."""
    try:
        return _parse_intact(file, has_images, most)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"is not an intact gzip file ({error})") from error


def _parse_intact(file, has_images, most):
    # The header, big-endian: a magic number, whose last byte counts the dimensions; then the sizes.
    expected, layout = (2051, ">4I") if has_images else (2049, ">2I")
    header = file.read(struct.calcsize(layout))
    if len(header) < struct.calcsize(layout):
        raise ValueError("is cut short within its header")
    magic, count, *size = struct.unpack(layout, header)
    if magic != expected:
        raise ValueError(f"begins with the magic number {magic}, not {expected}")
    if has_images and size != [28, 28]:
        raise ValueError(f"holds images of {size[0]}x{size[1]} pixels, not 28x28")
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"promises {count:,} examples, not 1 to {MAX_COUNT:,}")
    promised = count * math.prod(size)
    data = np.empty(min(promised, most), np.uint8)  # no memory for what the file cannot hold
    if file.readinto(data) < promised:
        raise ValueError(f"is cut short: it promises {count:,} examples and holds fewer")
    if file.read(1):
        raise ValueError(f"goes on after the {count:,} examples that it promises")
    if not has_images and data.max() > 9:
        raise ValueError(f"holds the label {data.max()}, while digits are 0 to 9")
    digest = hashlib.sha256(header)
    digest.update(data)
    return data.reshape(count, *size), digest.hexdigest()
