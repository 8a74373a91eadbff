"""MNIST: 70,000 handwritten digits, found or downloaded, checked, read and handed out in batches.

`read_data_sets` keeps the interface of `tensorflow.examples.tutorials.mnist.input_data`, the module
that came with TensorFlow 1, so an old script runs when `import input_data` takes that import's place:

    mnist = input_data.read_data_sets("MNIST_data/", one_hot=True)
    images, labels = mnist.train.next_batch(100)

TensorFlow is not needed here: everything is a NumPy array.
"""

import collections
import contextlib
import functools
import gzip
import hashlib
import http.client
import logging
import math
import os
import socket
import struct
import sys
import threading
import zlib

import numpy as np
import pooch
from requests import exceptions
from tqdm import tqdm

from support import generated_digits, terminal

# Copies of the same four files; each is tried in turn until one delivers.
MIRRORS = [
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
]
CONNECT_TIMEOUT = 5  # seconds
READ_TIMEOUT = 15  # seconds without a single byte
SLOWEST = (
    1000  # bytes a second; a mirror that delivers less is given up, however steadily it does so
)
PATIENCE = 20  # seconds over which that is measured

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

# A header may promise four thousand million images; this many are believed. They take 1 GB, as float32
# and as they were read, and the largest common set of MNIST's kind, EMNIST, has 240,000 digits.
MAX_COUNT = 250_000
DEFLATE_RATIO = 1032  # no gzip file unpacks to more than 1,032 times its size

GENERATED = "generated digits, not MNIST"  # the name of a DataSet that the program draws

Datasets = collections.namedtuple("Datasets", ["train", "validation", "test"])


class DownloadError(OSError):
    """No mirror delivered a file; the message names each mirror and says why, one line each."""


class DataSet:
    """Images with their labels, handed out in batches.

    Attributes:
        images: float32 in [0, 1] or uint8 0 to 255, of shape (n, 784) or (n, 28, 28, 1).
        labels: uint8 of shape (n,), or one-hot float64 of shape (n, 10).
        name: where the digits come from, "MNIST", GENERATED, or a description of other files.
        num_examples: n.
        epochs_completed: how many epochs have ended; one ends when a batch goes beyond its last image.
    """

    def __init__(self, pixels, labels, name, rng, dtype=np.uint8):
        self._pixels = pixels
        self._dtype = dtype
        self.labels = labels
        self.name = name
        self._rng = rng
        self._epochs_begun = 0
        self._upcoming = np.arange(0)  # rows that the epochs begun so far have yet to hand out

    @functools.cached_property
    def images(self):
        # Made when first asked for: as float32 the training images fill 188 MB, which batches alone do not need.
        return _convert(self._pixels, self._dtype)

    @property
    def num_examples(self):
        return len(self._pixels)

    @property
    def epochs_completed(self):
        return max(self._epochs_begun - 1, 0)

    def next_batch(self, batch_size, fake_data=False, shuffle=True):
        """Returns the next `batch_size` images and their labels, as two arrays.

        Every image comes once in each epoch. A batch that goes beyond an epoch's last image goes on
        with the next epoch, whose order is drawn anew, or is the file's order with `shuffle=False`.
        `fake_data` is accepted for the sake of old scripts, and ignored.

        Raises ValueError if `batch_size` is negative or there are no images.
        """
        if batch_size < 0 or self.num_examples == 0:
            raise ValueError(
                f"next_batch cannot take {batch_size} images from a set of "
                f"{self.num_examples:,}; ask for 0 or more, from a set that has images"
            )
        # Only row numbers are shuffled: to shuffle the images would copy 188 MB in every epoch.
        while len(self._upcoming) < batch_size:
            n = self.num_examples
            epoch = self._rng.permutation(n) if shuffle else np.arange(n)
            self._upcoming = np.concatenate([self._upcoming, epoch])
            self._epochs_begun += 1
        rows, self._upcoming = np.split(self._upcoming, [batch_size])
        if "images" in vars(self):  # somebody has asked for them, and may have changed them
            return self.images[rows], self.labels[rows]
        return _convert(self._pixels[rows], self._dtype), self.labels[rows]


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
    """Reads MNIST, after downloading what is missing, and splits it into three sets.

    Args:
        train_dir: folder of the four files, as .gz or unpacked; missing ones are downloaded into it.
            If they are well-formed but not MNIST's own, a printed line says so.
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
    rngs = _generators(seed)
    train_dir = os.path.expanduser(train_dir)
    if fake_data:
        name, arrays = GENERATED, generated_digits.load(train_dir)
    else:
        name, arrays = _load(train_dir, source_url)
    train_images, train_labels, test_images, test_labels = arrays
    if not 0 <= validation_size <= len(train_images):
        raise ValueError(
            f"validation_size {validation_size} is out of range: there are "
            f"{len(train_images):,} training images, so pass 0 to {len(train_images)}"
        )

    shape = (-1, 784) if reshape else (-1, 28, 28, 1)
    train_images, test_images = train_images.reshape(shape), test_images.reshape(shape)
    if one_hot:
        train_labels, test_labels = np.eye(10)[train_labels], np.eye(10)[test_labels]
    v = validation_size
    parts = [
        (train_images[v:], train_labels[v:]),
        (train_images[:v], train_labels[:v]),
        (test_images, test_labels),
    ]
    return Datasets(*(DataSet(*part, name, rng, dtype) for part, rng in zip(parts, rngs)))


def read_or_generate(data_dir, seed=None):
    """Read MNIST; or, when no mirror delivers it, say so and take digits that this program draws.

    data_dir, seed: see `read_data_sets`. All training images are in `train`, none in `validation`.
    Raises terminal.Problem, with a sentence, if a file is malformed.
    """
    try:
        return read_data_sets(os.fspath(data_dir), validation_size=0, seed=seed)
    except DownloadError as error:
        terminal.say(
            f"{error} Until then the network learns from digits that this program draws itself."
        )
        return read_data_sets(os.fspath(data_dir), fake_data=True, validation_size=0, seed=seed)
    except ValueError as error:
        raise terminal.Problem(f"{error}.") from error


def _image_dtype(dtype):
    try:
        found = np.dtype(getattr(dtype, "as_numpy_dtype", dtype))  # TensorFlow's types have this
    except (TypeError, ValueError):
        found = None
    if found not in (np.float32, np.uint8):
        raise TypeError(f"images cannot have dtype {dtype!r}; pass 'float32' or 'uint8'")
    return found


def _generators(seed):
    """One random generator a set: were it shared, a look at one set would reorder the others."""
    try:
        return [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)]
    except (TypeError, ValueError):
        raise ValueError(
            f"seed {seed!r} is not usable; pass an integer of 0 or more, or None"
        ) from None


def _convert(pixels, dtype):
    """Pixels, uint8 0 to 255, as they are or as float32 in [0, 1]."""
    if dtype == np.uint8:
        return pixels
    return np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)  # without a second float copy


# Files: found, read, checked.


def _load(train_dir, source_url):
    """Returns where the digits come from and the four arrays, images of shape (n, 28, 28)."""
    failures = {}
    paths = [
        _find(train_dir, name) or _download(train_dir, name, source_url, failures)
        for name in OFFICIAL
    ]
    arrays, digests = zip(*map(_read, paths, OFFICIAL))
    for images, labels in (0, 1), (2, 3):
        if len(arrays[images]) != len(arrays[labels]):
            raise ValueError(
                f"{paths[labels]} holds {len(arrays[labels]):,} labels for the {len(arrays[images]):,} "
                f"images in {paths[images]}; find the wrong one and delete it to download it again"
            )
    foreign = [
        os.path.basename(path)
        for path, digest, (_, official) in zip(paths, digests, OFFICIAL.values())
        if digest != official
    ]
    if not foreign:
        return "MNIST", arrays
    print(f"Not MNIST's official files, but read all the same: {', '.join(foreign)} in {train_dir}")
    return f"the files in {train_dir}, which are not MNIST's official ones", arrays


def _find(train_dir, name):
    dotted = name.replace("-idx", ".idx")  # some unpacking programs spell it so
    for candidate in (name + ".gz", name, dotted + ".gz", dotted):
        path = os.path.join(train_dir, candidate)
        if os.path.isfile(path):
            return path
    return None


def _read(path, name):
    try:
        return _read_idx(path, has_images="images" in name, gzipped=path.endswith(".gz"))
    except ValueError as error:
        raise ValueError(f"{path} {error}; delete it to download it again") from error


def _read_idx(path, has_images, gzipped):
    """Returns the uint8 array in an idx file, and the SHA-256 of the file's unpacked content.

    A malformed file raises ValueError, whose message goes on from the file's path: "is cut short".
    """
    most = os.path.getsize(path) * (DEFLATE_RATIO if gzipped else 1)
    try:
        with gzip.open(path) if gzipped else open(path, "rb") as file:
            return _parse(file, has_images, most)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"is not an intact gzip file ({error})") from error


def _parse(file, has_images, most):
    # The header, big-endian: a magic number, whose last byte counts the dimensions, then their sizes.
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


# Downloads.


def _download(train_dir, name, source_url, failures):
    """Returns the path of `name`.gz, once a mirror has delivered it whole.

    `failures` maps a mirror to why it failed; none is asked twice, as each stall costs 15 seconds.
    """
    pooch.get_logger().setLevel("WARNING")  # the progress bar says it already
    logging.getLogger("urllib3").setLevel(
        "ERROR"
    )  # what is wrong with a mirror's answer stands in `failures`
    known_hash = None if source_url else OFFICIAL[name][0]
    for mirror in [source_url] if source_url else MIRRORS:
        if mirror in failures:
            continue
        try:
            # pooch writes a temporary file and renames it once it is whole and its digest is right.
            return pooch.retrieve(
                f"{mirror.rstrip('/')}/{name}.gz",
                known_hash,
                name + ".gz",
                train_dir,
                downloader=_fetch if known_hash else _fetch_and_check,
            )
        except exceptions.RequestException as error:
            failures[mirror] = _reason(error)
        except ValueError as error:  # from pooch, with two digests, or from _fetch_and_check
            failures[mirror] = "delivered something other than MNIST's file" + (
                "" if known_hash else f": {name}.gz {error}"
            )
        except OSError as error:  # the folder cannot be written, or the disk is full
            raise type(error)(
                f"MNIST cannot be downloaded into {train_dir!r} "
                f"({error.strerror or error}); mend that or name another folder"
            ) from error
    raise DownloadError(_explanation(train_dir, name, failures))


def _fetch(url, path, _):
    # pooch takes a bar whose total is 0 or unknown for none, hence the 1 until the size is known.
    # A delay keeps the bar off the screen until something arrives, the interval keeps a log file short.
    bar = tqdm(
        desc=url.rpartition("/")[2],
        total=1,
        unit="B",
        unit_scale=True,
        delay=1e-6,
        mininterval=0.1 if sys.stderr and sys.stderr.isatty() else 10,
    )
    bar.delay = 0  # but shown at its end, however quick that comes
    download = pooch.HTTPDownloader(  # in chunks so small that a slow mirror's file is seen to grow
        progressbar=bar,
        chunk_size=1 << 12,
        timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
        headers={"Accept-Encoding": "identity"},
    )  # as it lies there: packed once, its size known
    try:
        _watch(lambda: download(url, path, None), lambda: os.path.getsize(path))
    except BaseException:
        bar.leave = False
        bar.delay = 0 if bar.n else math.inf  # there is something to wipe off the screen, or not
        raise
    finally:
        bar.close()
    with contextlib.suppress(OSError):
        os.chmod(path, 0o644)  # a temporary file is its owner's alone; MNIST is for everyone


class _TooSlow(exceptions.RequestException):
    """A mirror delivers less than SLOWEST."""


def _watch(download, received):
    """Does download() in a thread, and gives it up when received(), in bytes, hardly grows.

    The timeouts of a connection end with every byte, so a mirror that sends one every ten seconds would keep to them.
    """
    errors = []

    def work():
        try:
            download()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(
        target=work, daemon=True
    )  # as a daemon it cannot keep the program from ending
    thread.start()
    while thread.is_alive():
        before = received()
        thread.join(PATIENCE)
        if thread.is_alive() and received() - before < SLOWEST * PATIENCE:
            raise _TooSlow
    if errors:
        raise errors[0]


def _fetch_and_check(url, path, _):
    """For files without a known digest: refuses what could not be read later."""
    _fetch(url, path, _)
    _read_idx(path, has_images="images" in url.rpartition("/")[2], gzipped=True)


def _explanation(train_dir, name, failures):
    hosts = (mirror.split("//")[-1].split("/")[0].split("@")[-1] for mirror in failures)
    return "\n".join(
        [
            f"{name}.gz could not be downloaded:",
            *(f"  {host}: {reason}" for host, reason in zip(hosts, failures.values())),
            f"To supply MNIST by hand, put {', '.join(f'{file}.gz' for file in OFFICIAL)} into {train_dir!r}.",
        ]
    )


def _reason(error):
    """Says in plain words why a request failed."""
    if isinstance(error, exceptions.HTTPError):
        status = error.response.status_code
        return f"answered {status} {http.client.responses.get(status, '')}".strip()
    causes = []  # requests wraps what went wrong in two or three exceptions
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    for kind, words in [
        (_TooSlow, f"delivered less than {SLOWEST:,} bytes a second"),
        (exceptions.ProxyError, "could not be reached (the proxy failed)"),
        (exceptions.SSLError, "could not be reached safely (TLS error)"),
        (
            exceptions.ConnectTimeout,
            f"could not be reached (no connection within {CONNECT_TIMEOUT} s)",
        ),
        (TimeoutError, f"sent nothing for {READ_TIMEOUT} s"),
        (socket.gaierror, "could not be reached (name lookup failed)"),
        (ConnectionRefusedError, "could not be reached (connection refused)"),
        ((exceptions.ChunkedEncodingError, ConnectionResetError), "broke off the connection"),
        ((exceptions.ContentDecodingError, http.client.HTTPException), "gave a garbled answer"),
        (exceptions.TooManyRedirects, "redirected too often"),
        (
            ValueError,
            f"could not be asked ({causes[0]})",
        ),  # requests' word on addresses it cannot use
    ]:
        if any(isinstance(cause, kind) for cause in causes):
            return words
    return "could not be reached"
