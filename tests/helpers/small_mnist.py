"""Small sets in MNIST's format, and the digests that make one of them pass for MNIST."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np

import input_data

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES = list(input_data.OFFICIAL)


def idx_images(images):
    return struct.pack(">4I", 2051, *images.shape) + images.tobytes()


def idx_labels(labels):
    return struct.pack(">2I", 2049, len(labels)) + labels.tobytes()


def small_set(train=12, test=5, seed=0):
    """Return {name: content unpacked} of a random set."""
    rng = np.random.default_rng(seed)
    contents = {}
    for images, labels, n in [
        (TRAIN_IMAGES, TRAIN_LABELS, train),
        (TEST_IMAGES, TEST_LABELS, test),
    ]:
        contents[images] = idx_images(rng.integers(0, 256, (n, 28, 28), np.uint8))
        contents[labels] = idx_labels(rng.integers(0, 10, n, np.uint8))
    return contents


def pack(content):
    return gzip.compress(content, mtime=0)  # without the time, the same bytes whenever it is packed


def write(folder, contents, spelling="{}.gz"):
    for name, content in contents.items():
        path = Path(folder, spelling.format(name))
        path.write_bytes(pack(content) if path.suffix == ".gz" else content)


def digests(contents):
    """Return what input_data.OFFICIAL would be if these were MNIST's files."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
