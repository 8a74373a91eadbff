"""The embedded default: digits that the program draws. No network needed, no TensorFlow."""

import gzip
import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

from support import generated_digits

import numpy as np
import pytest

ROOT = Path(generated_digits.__file__).resolve().parents[1]

# The images of generate(1000, seed=7). Whoever changes a shape or the way of drawing it puts the
# new digest here; on machines and versions of NumPy that only read this, it must never differ.
SHA256_OF_SEED_7 = "f40504b80711758de4eb2974570ae50fd1e7e88c95498d1e472f23aa40f0e152"

PRINT_DIGEST = """
import hashlib
from support import generated_digits
print(hashlib.sha256(generated_digits.generate(1000, seed=7)[0].tobytes()).hexdigest())
"""

# Prints the instruction sets that this NumPy chooses from; a variable, below, switches them off.
PRINT_FEATURES = """
try:
    from numpy._core._multiarray_umath import __cpu_dispatch__
except ImportError:  # NumPy 1
    from numpy.core._multiarray_umath import __cpu_dispatch__
print(*__cpu_dispatch__)
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()


def centres(images):
    """The centre of mass of each image's ink, as (row, column), counted from pixel 0's middle."""
    images = images.astype(np.int64)
    mass = images.sum((1, 2))
    rows = (images.sum(2) * np.arange(28)).sum(1) / mass
    columns = (images.sum(1) * np.arange(28)).sum(1) / mass
    return np.stack([rows, columns], 1)


@pytest.fixture(
    params=[0, 1, 2**32 - 1, None], ids=["seed 0", "seed 1", "largest seed", "random seed"]
)
def seed(request, dice):
    return dice.randrange(2**32) if request.param is None else request.param


def test_images_are_normalised_as_mnist(seed):
    images, labels = generated_digits.generate(2000, seed)
    assert images.shape == (2000, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (2000,) and labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [200] * 10
    assert (np.diff(labels.astype(int)) < 0).sum() > 500  # shuffled, not sorted

    for axis in (1, 2):
        inked = images.any(axis)
        first, last = inked.argmax(1), 27 - inked[:, ::-1].argmax(1)
        assert (last - first + 1 <= 20).all(), "ink outside the box of 20x20 pixels"
    away = np.abs(centres(images) - 14).max(1)
    assert (
        away <= 0.5
    ).mean() > 0.997  # the few others are so lopsided that their box stops at the field's edge
    assert away.max() < 2.5

    assert (images.max((1, 2)) > 200).all()  # white ink ...
    assert (np.median(images, (1, 2)) == 0).all()  # ... on black
    grey = ((images > 0) & (images < 255)).sum() / (images > 0).sum()
    assert 0.3 < grey < 0.9, "edges are not anti-aliased"
    assert len(np.unique(images.reshape(2000, -1), axis=0)) == 2000, "the same image twice"


def test_the_official_mnist_has_the_same_centre():
    folder = os.environ.get("MNIST_DATA")
    if not folder:
        pytest.skip("MNIST_DATA does not name a folder with t10k-images-idx3-ubyte.gz")
    with gzip.open(Path(folder) / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    away = np.abs(centres(images) - 14)
    assert (away <= 0.55).mean() > 0.99  # theirs was computed before the grey levels were rounded
    assert np.abs(centres(images).mean(0) - 14).max() < 0.05


def test_seeds():
    images, labels = generated_digits.generate(200, seed=3)
    again, labels_again = generated_digits.generate(200, seed=3)
    other, _ = generated_digits.generate(200, seed=4)
    assert np.array_equal(images, again) and np.array_equal(labels, labels_again)
    assert not (images[:, None] == other[None]).all((2, 3)).any(), "two seeds share an image"


def test_images_are_the_same_on_every_machine():
    assert run(PRINT_DIGEST) == SHA256_OF_SEED_7
    assert run(PRINT_DIGEST, NPY_DISABLE_CPU_FEATURES=run(PRINT_FEATURES)) == SHA256_OF_SEED_7


@pytest.mark.parametrize("size", [1, 25, -10])
def test_size_must_be_a_multiple_of_ten(size):
    with pytest.raises(ValueError, match=f"multiple of ten.* {size}"):
        generated_digits.generate(size, seed=0)


@pytest.fixture
def small(monkeypatch):
    """load() with few images, and a count of how often they were drawn."""
    assert generated_digits.TRAIN_SIZE >= 20_000 and generated_digits.TEST_SIZE >= 4_000
    monkeypatch.setattr(generated_digits, "TRAIN_SIZE", 200)
    monkeypatch.setattr(generated_digits, "TEST_SIZE", 100)
    calls = []
    generate = generated_digits.generate
    monkeypatch.setattr(
        generated_digits, "generate", lambda *args: calls.append(args) or generate(*args)
    )
    return calls


def same(arrays, others):
    return len(arrays) == len(others) == 4 and all(map(np.array_equal, arrays, others))


def test_load_draws_once_then_reads(small, tmp_path):
    folder = tmp_path / "new" / "folder"
    drawn = generated_digits.load(folder, seed=5)
    assert [array.shape for array in drawn] == [(200, 28, 28), (200,), (100, 28, 28), (100,)]
    assert not (drawn[0][:, None] == drawn[2][None]).all((2, 3)).any(), (
        "a test image is among the training images"
    )
    source = hashlib.sha256((ROOT / "support" / "generated_digits.py").read_bytes()).hexdigest()
    assert [path.name for path in folder.iterdir()] == [f"generated-digits-seed5-{source[:8]}.npz"]
    assert len(small) == 2

    assert same(generated_digits.load(str(folder), seed=5), drawn)
    assert len(small) == 2, "the second load drew the images again"
    assert not same(generated_digits.load(folder, seed=6), drawn)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-5000])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def random_bytes(path):
    path.write_bytes(random.Random(0).randbytes(5000))


def other_shapes(path):
    np.savez(path, *[np.zeros((10, 28, 28), np.uint8)] * 4)


def other_names(path):
    np.savez(path, x_train=np.zeros(3))


def a_single_array(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    "damage",
    [cut_short, flip_a_bit, empty, random_bytes, other_shapes, other_names, a_single_array],
)
def test_a_damaged_cache_is_drawn_anew(damage, small, tmp_path):
    drawn = generated_digits.load(tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    assert same(generated_digits.load(tmp_path), drawn)
    assert len(small) == 4
    assert same(generated_digits.load(tmp_path), drawn)
    assert len(small) == 4, "the cache was not repaired"
    assert list(tmp_path.iterdir()) == [path], "a temporary file was left"


def test_without_a_folder_to_write_to(small, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert len(generated_digits.load(folder)[0]) == 200
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"]
)
def test_an_interrupted_save_leaves_nothing(error, small, tmp_path, monkeypatch):
    def write_bytes(path, content):
        with open(path, "wb") as file:
            file.write(content[:100])
        raise error

    monkeypatch.setattr(generated_digits.Path, "write_bytes", write_bytes)
    if isinstance(error, OSError):
        assert len(generated_digits.load(tmp_path)[0]) == 200
    else:
        with pytest.raises(KeyboardInterrupt):
            generated_digits.load(tmp_path)
    assert list(tmp_path.iterdir()) == []
