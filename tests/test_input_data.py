"""Reading MNIST's files, well-formed or not, and handing out batches."""

import functools
import gzip
import hashlib
import importlib.util
import io
import os
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import types
from pathlib import Path

import input_data
from support import terminal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_mnist import (
    NAMES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    idx_images,
    idx_labels,
    pack,
    small_set,
    write,
)

ROOT = Path(input_data.__file__).resolve().parent
WAY_OUT = "delete it to download it again"


def read(folder, **arguments):
    return input_data.read_data_sets(
        folder, **{"validation_size": 0, "dtype": "uint8", **arguments}
    )


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(input_data, "MIRRORS", [])


@pytest.fixture
def small(tmp_path):
    write(tmp_path, small_set())
    return tmp_path


def run(script, *arguments, **environment):
    """Run a script in a Python of its own, with the project's modules; return its output."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# The interface.


def test_shapes_and_dtypes(small):
    mnist = input_data.read_data_sets(str(small), validation_size=2)
    assert mnist._fields == ("train", "validation", "test")
    assert [part.num_examples for part in mnist] == [10, 2, 5]
    for part in mnist:
        assert part.images.shape == (part.num_examples, 784) and part.images.dtype == np.float32
        assert part.labels.shape == (part.num_examples,) and part.labels.dtype == np.uint8
        assert part.epochs_completed == 0
    assert 0 <= mnist.train.images.min() and mnist.train.images.max() <= 1


def test_arguments_in_tensorflow_1_order(small):
    mnist = input_data.read_data_sets(small, False, True, np.uint8, False, 3, 1, None)
    assert mnist.train.images.shape == (9, 28, 28, 1) and mnist.train.images.dtype == np.uint8
    assert mnist.train.labels.shape == (9, 10) and mnist.train.labels.dtype == np.float64
    assert mnist.validation.num_examples == 3


def test_one_hot_says_the_same_as_numbers(small):
    numbers, one_hot = read(small).train.labels, read(small, one_hot=True).train.labels
    assert np.array_equal(one_hot.argmax(axis=1), numbers)
    assert np.array_equal(np.sort(one_hot, axis=1), np.tile([0.0] * 9 + [1.0], (12, 1)))


def test_pixels_are_scaled_as_tensorflow_1_did(small):
    whole = np.arange(256, dtype=np.uint8).repeat(49)[: 12 * 784].reshape(12, 28, 28)
    write(small, {TRAIN_IMAGES: idx_images(whole)})
    scaled = np.multiply(whole.astype(np.float32), 1.0 / 255.0)
    images = read(small, dtype="float32", reshape=False).train.images
    assert images.tobytes() == scaled.tobytes()


def test_first_training_images_are_the_validation_set(small):
    whole, split = read(small).train, read(small, validation_size=4)
    assert np.array_equal(split.validation.images, whole.images[:4])
    assert np.array_equal(split.validation.labels, whole.labels[:4])
    assert np.array_equal(split.train.images, whole.images[4:])
    assert np.array_equal(split.train.labels, whole.labels[4:])


@pytest.mark.parametrize("size", [-1, 13, 5000])
def test_validation_size_out_of_range(small, size):
    with pytest.raises(ValueError, match=f"validation_size {size} .* 12 training images.* 0 to 12"):
        read(small, validation_size=size)


def test_whole_training_set_as_validation_set(small):
    mnist = read(small, validation_size=12)
    assert (mnist.train.num_examples, mnist.validation.num_examples) == (0, 12)
    with pytest.raises(ValueError, match="next_batch"):
        mnist.train.next_batch(1)


@pytest.mark.parametrize(
    "dtype", ["uint8", np.uint8, np.dtype("uint8"), types.SimpleNamespace(as_numpy_dtype=np.uint8)]
)
def test_dtype_by_name_or_type(small, dtype):
    assert read(small, dtype=dtype).test.images.dtype == np.uint8


@pytest.mark.parametrize("dtype", ["float64", np.int32, "no such type", None, object()])
def test_other_dtypes(tmp_path, dtype):
    with pytest.raises(TypeError, match="pass 'float32' or 'uint8'"):
        read(tmp_path, dtype=dtype)


@pytest.mark.parametrize("seed", [-1, "one"])
def test_bad_seed(tmp_path, seed):
    with pytest.raises(ValueError, match=f"seed {seed!r}"):
        read(tmp_path, seed=seed)


def test_works_without_tensorflow(small):
    assert run(
        """if True:
        import sys
        sys.modules["tensorflow"] = None
        import input_data
        mnist = input_data.read_data_sets(sys.argv[1], validation_size=2)
        print(mnist.train.next_batch(3)[0].shape)
        assert not any(name.startswith("tensorflow.") for name in sys.modules)""",
        small,
    ).endswith("(3, 784)\n")


def test_fake_data_is_the_generated_digits(tmp_path, monkeypatch):
    asked = []

    def load(directory, seed=0):
        asked.append(directory)
        images = np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
        return (
            images,
            np.repeat(np.arange(10, dtype=np.uint8), 2),
            images[:10],
            np.arange(10, dtype=np.uint8),
        )

    monkeypatch.setattr(input_data.generated_digits, "load", load)
    mnist = input_data.read_data_sets(
        str(tmp_path), fake_data=True, validation_size=5, one_hot=True
    )
    assert asked == [tmp_path] and {part.name for part in mnist} == {input_data.GENERATED}
    assert [part.num_examples for part in mnist] == [15, 5, 10]
    assert mnist.train.images.shape == (15, 784) and mnist.train.images.max() == np.float32(
        19 / 255
    )
    assert not list(tmp_path.iterdir())


# Files under all their names.


@pytest.mark.parametrize("spelling", ["{}.gz", "{}", "dotted", "dotted.gz"])
def test_packed_or_not(tmp_path, spelling):
    contents = small_set()
    for name, content in contents.items():
        written = name.replace("-idx", ".idx") if "dotted" in spelling else name
        write(tmp_path, {written: content}, "{}.gz" if spelling.endswith("gz") else "{}")
    mnist = read(tmp_path)
    assert mnist.train.images.tobytes() == contents[TRAIN_IMAGES][16:]
    assert mnist.test.labels.tobytes() == contents[TEST_LABELS][8:]


def test_other_data_sets_are_read_and_named(small, capsys):
    name = read(small).train.name
    assert name == f"the files in {small}, which are not MNIST's official ones"
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "Not MNIST's official" in printed and TEST_LABELS in printed


def test_official_content_counts_however_it_is_packed(tmp_path, capsys, monkeypatch):
    contents = small_set()
    monkeypatch.setattr(
        input_data,
        "OFFICIAL",
        {name: ("", hashlib.sha256(content).hexdigest()) for name, content in contents.items()},
    )
    write(tmp_path, contents, "{}")
    assert {part.name for part in read(tmp_path)} == {"MNIST"}
    assert capsys.readouterr().out == ""


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32), st.sampled_from(["{}", "{}.gz"])
)
def test_reads_sets_of_any_size(train, test, seed, spelling):
    contents = small_set(train, test, seed)
    with tempfile.TemporaryDirectory() as folder:
        write(folder, contents, spelling)
        mnist = read(folder)
    assert mnist.train.images.tobytes() == contents[TRAIN_IMAGES][16:]
    assert mnist.train.labels.tobytes() == contents[TRAIN_LABELS][8:]
    assert mnist.test.images.tobytes() == contents[TEST_IMAGES][16:]
    assert mnist.test.labels.tobytes() == contents[TEST_LABELS][8:]
    mnist.train.images[0] = 0  # the arrays belong to the caller


# Malformed files.


def refused(folder, name, match):
    with pytest.raises(ValueError) as caught:
        read(folder)
    assert str(Path(folder, name)) in str(caught.value)
    assert WAY_OUT in str(caught.value) and "\n" not in str(caught.value)
    assert match in str(caught.value)


IMAGES, LABELS = small_set()[TRAIN_IMAGES], small_set()[TRAIN_LABELS]
PACKED = gzip.compress(IMAGES)


@pytest.mark.parametrize(
    "name, content, match",
    [
        (TRAIN_IMAGES, b"<!DOCTYPE html><title>Not found</title>", "not an intact gzip file"),
        (TRAIN_IMAGES, IMAGES, "not an intact gzip file"),
        (TRAIN_IMAGES, b"", "cut short"),
        (TRAIN_IMAGES, PACKED[:5], "not an intact gzip file"),
        (TRAIN_IMAGES, PACKED[:-4], "not an intact gzip file"),
        (TRAIN_IMAGES, PACKED[:2000], "not an intact gzip file"),
        (TRAIN_IMAGES, PACKED[:-8] + bytes(8), "not an intact gzip file"),
        (TRAIN_IMAGES, PACKED[:5000] + b"\xff" * 99 + PACKED[5099:], "not an intact gzip file"),
        (TRAIN_IMAGES, PACKED + b"junk", "not an intact gzip file"),
        (TRAIN_IMAGES, PACKED + gzip.compress(b"more"), "goes on after the 12 examples"),
    ],
)
def test_malformed_gzip(small, name, content, match):
    (small / f"{name}.gz").write_bytes(content)
    refused(small, f"{name}.gz", match)


@pytest.mark.parametrize("spelling", ["{}", "{}.gz"])
@pytest.mark.parametrize(
    "name, content, match",
    [
        (TRAIN_IMAGES, b"", "cut short"),
        (TRAIN_IMAGES, IMAGES[:15], "cut short within its header"),
        (TRAIN_IMAGES, IMAGES[:16], "promises 12 examples and holds fewer"),
        (TRAIN_IMAGES, IMAGES[:-1], "promises 12 examples and holds fewer"),
        (TRAIN_IMAGES, IMAGES + b"\0", "goes on after the 12 examples"),
        (TRAIN_IMAGES, LABELS, "magic number 2049, not 2051"),
        (
            TRAIN_IMAGES,
            struct.pack(">4I", 2049, 12, 28, 28) + IMAGES[16:],
            "magic number 2049, not 2051",
        ),
        (
            TRAIN_IMAGES,
            struct.pack(">4I", 2051, 12, 14, 56) + IMAGES[16:],
            "14x56 pixels, not 28x28",
        ),
        (TRAIN_IMAGES, struct.pack(">4I", 2051, 0, 28, 28), "promises 0 examples"),
        (
            TRAIN_IMAGES,
            struct.pack(">4I", 2051, 2**32 - 1, 28, 28) + IMAGES[16:],
            "promises 4,294,967,295",
        ),
        (
            TRAIN_IMAGES,
            struct.pack(">4I", 2051, 12, 2**32 - 1, 2**32 - 1) + IMAGES[16:],
            "not 28x28",
        ),
        (TRAIN_IMAGES, struct.pack(">4I", 2051, 250_000, 28, 28) + IMAGES[16:], "cut short"),
        (TRAIN_LABELS, LABELS[:-1], "promises 12 examples and holds fewer"),
        (TRAIN_LABELS, LABELS + b"\1", "goes on after the 12 examples"),
        (TRAIN_LABELS, IMAGES, "magic number 2051, not 2049"),
        (TRAIN_LABELS, LABELS[:-1] + b"\x0a", "label 10"),
        (TRAIN_LABELS, idx_labels(np.zeros(11, np.uint8)), "11 labels for the 12 images"),
        (TEST_LABELS, idx_labels(np.zeros(6, np.uint8)), "6 labels for the 5 images"),
    ],
)
def test_malformed_content(tmp_path, spelling, name, content, match):
    write(tmp_path, {**small_set(), name: content}, spelling)
    tracemalloc.start()
    refused(tmp_path, spelling.format(name), match)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6  # a header's promise alone never takes memory: 250,000 images are 196 MB


def test_gzip_bomb_is_not_unpacked(small):
    with gzip.open(small / f"{TRAIN_IMAGES}.gz", "wb", compresslevel=1) as file:
        file.write(IMAGES)
        for _ in range(100):
            file.write(bytes(1_000_000))
    tracemalloc.start()
    refused(small, f"{TRAIN_IMAGES}.gz", "goes on after the 12 examples")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@st.composite
def corruptions(draw):
    """Draw a function that damages bytes somewhere, half of the time in the headers."""
    kind = draw(st.sampled_from(["flip", "cut", "insert", "remove", "swap", "size"]))
    place, other = draw(st.integers(0, 24) | st.integers(0, 10_000)), draw(st.integers(0, 10_000))
    bit, more = 1 << draw(st.integers(0, 7)), draw(st.binary(min_size=1, max_size=5))
    size = struct.pack(">I", draw(st.integers(0, 2**32 - 1)))

    def corrupt(content):
        content = bytearray(content)
        at, there = place % max(1, len(content)), other % max(1, len(content))
        if kind == "flip" and content:
            content[at] ^= bit
        elif kind == "cut":
            del content[at:]
        elif kind == "insert":
            content[at:at] = more
        elif kind == "remove":
            del content[at : at + len(more)]
        elif kind == "swap" and content:
            content[at], content[there] = content[there], content[at]
        elif kind == "size":
            content[place % 4 * 4 : place % 4 * 4 + 4] = size
        return bytes(content)

    return corrupt


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.booleans(), corruptions()), min_size=1, max_size=4
    ),
    st.sampled_from(["{}", "{}.gz"]),
)
def test_corruptions_are_errors_or_harmless(damage, spelling):
    contents = small_set(3, 2)
    for name, before_packing, corrupt in damage:
        if before_packing:
            contents[name] = corrupt(contents[name])
    with tempfile.TemporaryDirectory() as folder:
        write(folder, contents, spelling)
        paths = {name: Path(folder, spelling.format(name)) for name in NAMES}
        for name, before_packing, corrupt in damage:
            if not before_packing:
                paths[name].write_bytes(corrupt(paths[name].read_bytes()))
        try:
            mnist = read(folder)
        except ValueError as error:
            assert any(str(path) in str(error) for path in paths.values()) and WAY_OUT in str(error)
            assert "\n" not in str(error)
            return
        opened = gzip.open if spelling == "{}.gz" else open
        expected = {name: opened(path, "rb").read() for name, path in paths.items()}
    for part, images, labels in (
        (mnist.train, TRAIN_IMAGES, TRAIN_LABELS),
        (mnist.test, TEST_IMAGES, TEST_LABELS),
    ):
        assert (
            part.images.tobytes() == expected[images][16:]
            and part.labels.tobytes() == expected[labels][8:]
        )
        assert expected[images][:4] == b"\0\0\x08\x03" and expected[labels][:4] == b"\0\0\x08\x01"
        assert part.images.shape == (len(expected[labels]) - 8, 784) and (part.labels < 10).all()


@functools.cache
def bomb():
    return gzip.compress(bytes(300_000_000), 1)


HOSTILE = {
    "a bomb whose header promises everything": struct.pack(">4I", 2051, *[2**32 - 1] * 3),
    "a bomb whose header promises little": struct.pack(">4I", 2051, 1, 28, 28),
    "a bomb as large as is believed, and larger": struct.pack(">4I", 2051, 250_000, 28, 28),
}


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on memory is kept on Linux")
@pytest.mark.parametrize("header", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_take_no_gigabyte(small, header):
    (small / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(header) + bomb())
    printed = run(
        """if True:
        import re, resource, sys, input_data
        taken = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])
        resource.setrlimit(resource.RLIMIT_AS, 2 * [taken + 1_000_000_000])
        try:
            input_data.read_data_sets(sys.argv[1])
        except ValueError as error:
            print(error)""",
        small,
    )
    assert f"{TRAIN_IMAGES}.gz " in printed and WAY_OUT in printed and printed.count("\n") == 1


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.sampled_from(["{}", "{}.gz", "raw"]),
    st.binary(max_size=60)
    | st.tuples(
        st.sampled_from([2049, 2051]),
        st.integers(0, 2**32 - 1),
        st.sampled_from([28, 2**32 - 1]),
        st.just(28),
    ).map(lambda header: struct.pack(">4I", *header)),
)
def test_any_bytes_at_all(name, spelling, content):
    with tempfile.TemporaryDirectory() as folder:
        write(folder, small_set(3, 2))
        path = Path(folder, f"{name}.gz")
        if spelling == "raw":
            path.write_bytes(content)
        else:
            path.unlink()
            path = Path(folder, spelling.format(name))
            write(folder, {name: content}, spelling)
        with pytest.raises(ValueError, match=WAY_OUT) as caught:
            read(folder)
        assert str(path) in str(caught.value)


# Batches. Image i of these sets has the value i in its only pixel, and label i.


def data_set(n, seed=0):
    return input_data.DataSet(np.arange(n)[:, None], np.arange(n), dtype="uint8", seed=seed)


def take(numbers, sizes, shuffle=True):
    """Take batches of these sizes and return the numbers handed out, one after another."""
    taken = []
    for size in sizes:
        images, labels = numbers.next_batch(size, shuffle=shuffle)
        assert images.shape == (size, 1) and np.array_equal(images[:, 0], labels)
        taken.extend(labels)
    return taken


sizes = st.lists(st.integers(0, 30), max_size=20)


@given(st.integers(1, 20), sizes, st.booleans())
def test_each_image_once_an_epoch(n, sizes, shuffle):
    numbers = data_set(n)
    taken = take(numbers, sizes, shuffle)
    for begin in range(0, len(taken), n):
        epoch = taken[begin : begin + n]
        assert len(set(epoch)) == len(epoch)
        if not shuffle:
            assert epoch == list(range(len(epoch)))
    assert numbers.epochs_completed == max(len(taken) - 1, 0) // n


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=20))
def test_shuffle_may_change_between_batches(n, calls):
    numbers, taken = data_set(n), []
    for size, shuffle in calls:
        taken += take(numbers, [size], shuffle)
    for begin in range(0, len(taken), n):
        assert len(set(taken[begin : begin + n])) == len(taken[begin : begin + n])


def test_epochs_completed_counts_when_a_batch_goes_beyond_the_end():
    numbers, counted = data_set(10), []
    for size in (5, 5, 5, 5, 1, 40):
        numbers.next_batch(size)
        counted.append(numbers.epochs_completed)
    assert counted == [0, 0, 1, 1, 2, 6]


def test_every_epoch_has_an_order_of_its_own():
    numbers = data_set(50)
    epochs = [take(numbers, [50]) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] and epochs[0] != list(range(50))


def test_seeds(small):
    def batches(seed):
        return [
            part.next_batch(40)[0].tobytes() for part in read(small, seed=seed, validation_size=6)
        ]

    assert batches(7) == batches(7) and batches(np.int64(7)) == batches(7)
    assert len({tuple(batches(seed)) for seed in (7, 8, None, None)}) == 4


def test_sets_do_not_share_a_stream(small):
    first, second = (read(small, seed=1, validation_size=6) for _ in range(2))
    first.test.next_batch(99)
    assert np.array_equal(first.train.next_batch(30)[0], second.train.next_batch(30)[0])
    write(small, small_set(train=60, test=30))
    orders = [order(part) for part in read(small, seed=1, validation_size=30)]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def order(part):
    """The rows of a set's images, in which its next epoch hands them out."""
    batch, _ = part.next_batch(part.num_examples)
    return [int(np.flatnonzero((part.images == image).all(axis=1))[0]) for image in batch]


def test_batches_are_copies_and_fake_data_is_ignored():
    numbers = data_set(10)
    images, _ = numbers.next_batch(10, fake_data=True, shuffle=False)
    images[:] = 77
    assert np.array_equal(numbers.images[:, 0], np.arange(10))


def test_negative_batch():
    with pytest.raises(ValueError, match="-1 images"):
        data_set(10).next_batch(-1)


# What old scripts use besides: TensorFlow 1.15's functions, and its names of a set's state.


def test_a_set_of_given_images():
    pixels = np.arange(6 * 784, dtype=np.uint8).reshape(6, 28, 28, 1)
    labels = np.arange(6)
    plain = input_data.DataSet(pixels, labels, False, False, np.float32, True, 1)
    assert plain.images.shape == (6, 784) and plain.images.dtype == np.float32
    assert np.allclose(plain.images, pixels.reshape(6, 784) / 255, atol=1e-7)
    assert plain.labels is plain._labels and np.array_equal(plain.labels, labels)
    assert (plain.num_examples, plain._num_examples) == (6, 6)
    whole = input_data.DataSet(pixels, labels, reshape=False, dtype="uint8")
    assert np.array_equal(whole.images, pixels) and whole._images is whole.images
    assert np.array_equal(input_data.DataSet(pixels.tolist(), list(labels)).images, plain.images)
    again = input_data.DataSet(pixels, labels, seed=1)
    assert np.array_equal(plain.next_batch(6)[0], again.next_batch(6)[0])
    datasets = input_data.Datasets(train=plain, validation=whole, test=again)
    assert datasets.train is plain


def test_a_set_of_no_images():
    assert input_data.DataSet(np.zeros((0, 28, 28, 1)), []).images.shape == (0, 784)


def test_a_set_of_given_images_is_checked():
    pixels = np.zeros((3, 28, 28, 1), np.uint8)
    with pytest.raises(ValueError, match="2 labels for the 3 images"):
        input_data.DataSet(pixels, [1, 2])
    with pytest.raises(TypeError, match="pass 'float32' or 'uint8'"):
        input_data.DataSet(pixels, [1, 2, 3], dtype=np.float64)
    with pytest.raises(ValueError, match="seed -1"):
        input_data.DataSet(pixels, [1, 2, 3], seed=-1)


def test_a_set_of_fake_data(monkeypatch):
    def generate(size, seed):
        return np.full((size, 28, 28), 255, np.uint8), np.full(size, 3, np.uint8)

    monkeypatch.setattr(input_data.generated_digits, "generate", generate)
    fake = input_data.DataSet([], [], fake_data=True, one_hot=True)
    images, labels = fake.next_batch(5, fake_data=True)
    assert fake.num_examples == 10_000 and images.shape == (5, 784) and (images == 1).all()
    square = input_data.DataSet([], [], fake_data=True, reshape=False)
    assert square.images.shape == (10_000, 28, 28, 1)
    assert (labels == np.eye(10)[3]).all()


def test_the_place_in_an_epoch_can_be_set():
    numbers = data_set(10)
    first = take(numbers, [4])
    assert (numbers._index_in_epoch, numbers._epochs_completed) == (4, 0)
    rest = take(numbers, [6])
    assert take(numbers, [3]) != first and numbers._index_in_epoch == 3
    assert numbers._epochs_completed == numbers.epochs_completed == 1
    numbers._index_in_epoch = 0  # the same epoch once more
    second = take(numbers, [10])
    numbers._index_in_epoch = 8
    assert take(numbers, [2]) == second[8:]
    numbers._index_in_epoch = numbers._epochs_completed = 0  # as new: in an order drawn anew
    assert sorted(take(numbers, [10])) == sorted(first + rest) == list(range(10))


def test_in_the_files_order_from_a_place_that_is_set():
    numbers = data_set(10)
    numbers._index_in_epoch = 7
    assert take(numbers, [5], shuffle=False) == [7, 8, 9, 0, 1]
    numbers._index_in_epoch = 0
    assert take(numbers, [3], shuffle=False) == [0, 1, 2]


def test_images_and_labels_can_be_replaced():
    numbers = data_set(10)
    numbers._images, numbers._labels = numbers._images * 2, numbers._labels * 2
    assert sorted(take(numbers, [10])) == list(range(0, 20, 2))


@pytest.mark.parametrize("kind", ["file", "path", "text", "bytes in memory"])
def test_extract(small, kind):
    def opened(name):
        path = small / f"{name}.gz"
        return {
            "file": lambda: open(path, "rb"),
            "path": lambda: path,
            "text": lambda: str(path),
            "bytes in memory": lambda: io.BytesIO(path.read_bytes()),
        }[kind]()

    contents = small_set()
    images = input_data.extract_images(opened(TEST_IMAGES))
    assert images.shape == (5, 28, 28, 1) and images.tobytes() == contents[TEST_IMAGES][16:]
    labels = input_data.extract_labels(opened(TEST_LABELS))
    assert labels.dtype == np.uint8 and labels.tobytes() == contents[TEST_LABELS][8:]
    one_hot = input_data.extract_labels(opened(TEST_LABELS), one_hot=True, num_classes=12)
    assert one_hot.shape == (5, 12) and np.array_equal(one_hot.argmax(axis=1), labels)
    with pytest.raises(ValueError, match="magic number 2049, not 2051"):
        input_data.extract_images(opened(TRAIN_LABELS))


def test_extract_names_a_malformed_file(small):
    (small / f"{TEST_IMAGES}.gz").write_bytes(b"no gzip")
    with open(small / f"{TEST_IMAGES}.gz", "rb") as file, pytest.raises(ValueError) as caught:
        input_data.extract_images(file)
    assert str(small / f"{TEST_IMAGES}.gz is not an intact gzip file") in str(caught.value)


def test_dense_to_one_hot():
    one_hot = input_data.dense_to_one_hot(np.array([2, 0], np.uint8), 3)
    assert one_hot.dtype == np.float64 and one_hot.tolist() == [[0, 0, 1], [1, 0, 0]]


# Files and folders as people have them.


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("folder", ["数字 é", "with 'quotes'", b"no text \xff"])
def test_folders_of_any_name(tmp_path, monkeypatch, capsys, kind, folder):
    folder = tmp_path / os.fsdecode(folder)
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    write(folder, small_set())
    # An output that cannot show all characters, as on Windows and under LANG=C.
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert read(kind(folder)).train.num_examples == 12
    out.seek(0)
    assert out.read().startswith("Not MNIST's official files")
    (folder / f"{TEST_IMAGES}.gz").write_bytes(b"")
    refused(folder, f"{TEST_IMAGES}.gz", "cut short")


def test_home_folder(small, monkeypatch):
    monkeypatch.setenv("HOME", str(small.parent))
    monkeypatch.setenv("USERPROFILE", str(small.parent))
    assert read(f"~/{small.name}").train.num_examples == 12
    with pytest.raises(input_data.DownloadError):  # a user whom nobody knows is no error of its own
        read(os.path.join("~nobody-knows-me", str(small / "none")))


def test_a_malformed_file_is_a_problem_of_the_user(small):
    (small / f"{TEST_IMAGES}.gz").write_bytes(pack(b""))
    with pytest.raises(terminal.Problem) as caught:
        input_data.read_or_generate(small, seed=1)
    assert str(caught.value).endswith(f"{WAY_OUT}.") and caught.value.status == 1


# The official MNIST.


@pytest.fixture
def official(tmp_path, mnist_data):
    for name in NAMES:
        (tmp_path / f"{name}.gz").symlink_to(Path(mnist_data, f"{name}.gz"))
    return tmp_path


def test_official_mnist(official, capsys):
    mnist = read(official)
    assert capsys.readouterr().out == "" and mnist.train.name == "MNIST"
    counts = "5923 6742 5958 6131 5842 5421 5918 6265 5851 5949"
    assert " ".join(map(str, np.bincount(mnist.train.labels))) == counts
    for part, name in [(mnist.train, TRAIN_IMAGES), (mnist.test, TEST_IMAGES)]:
        pixels = gzip.decompress((official / f"{name}.gz").read_bytes())[16:]
        assert hashlib.sha256(part.images).digest() == hashlib.sha256(pixels).digest()


def test_official_mnist_as_scripts_ask_for_it(official):
    mnist, whole = input_data.read_data_sets(str(official), one_hot=True), read(official)
    assert [part.num_examples for part in mnist] == [55_000, 5_000, 10_000]
    assert np.array_equal(mnist.validation.labels.argmax(axis=1), whole.train.labels[:5000])
    assert np.array_equal(
        mnist.validation.images,
        np.multiply(whole.train.images[:5000].astype(np.float32), 1.0 / 255.0),
    )


def test_official_mnist_unpacked(official, capsys):
    packed = read(official)
    for name in NAMES:
        packed_file = official / f"{name}.gz"
        (official / name).write_bytes(gzip.decompress(packed_file.read_bytes()))
        packed_file.unlink()
    unpacked = read(official)
    assert unpacked.train.name == "MNIST" and capsys.readouterr().out == ""
    for one, other in zip(packed, unpacked, strict=True):
        assert np.array_equal(one.images, other.images) and np.array_equal(one.labels, other.labels)


# TensorFlow's tutorial "MNIST for beginners". Changed are its imports: TensorFlow 1 lives on as
# tensorflow.compat.v1, where its behaviour is switched on, and input_data is this project's; and
# there are 300 steps, not 1,000.
OLD_SCRIPT = """
import sys
import input_data
import tensorflow.compat.v1 as tf
tf.disable_v2_behavior()

mnist = input_data.read_data_sets(sys.argv[1], one_hot=True)

x = tf.placeholder(tf.float32, [None, 784])
W = tf.Variable(tf.zeros([784, 10]))
b = tf.Variable(tf.zeros([10]))
y = tf.matmul(x, W) + b
y_ = tf.placeholder(tf.float32, [None, 10])
cross_entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y_, logits=y))
train_step = tf.train.GradientDescentOptimizer(0.5).minimize(cross_entropy)

sess = tf.InteractiveSession()
tf.global_variables_initializer().run()
for _ in range(300):
    batch_xs, batch_ys = mnist.train.next_batch(100)
    sess.run(train_step, feed_dict={x: batch_xs, y_: batch_ys})

correct_prediction = tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1))
accuracy = tf.reduce_mean(tf.cast(correct_prediction, tf.float32))
print(sess.run(accuracy, feed_dict={x: mnist.test.images, y_: mnist.test.labels}))
"""


# TensorFlow's own types, as arguments, in the same process, because its import takes seconds.
TYPES = """
for dtype in tf.uint8, tf.float32:
    print(input_data.read_data_sets(sys.argv[1], dtype=dtype).test.images.dtype)
try:
    input_data.read_data_sets(sys.argv[1], dtype=tf.float64)
except TypeError as error:
    print(error)
"""


def test_an_old_tutorial_runs(official):
    if not importlib.util.find_spec("tensorflow"):
        pytest.skip("needs TensorFlow")
    output = run(OLD_SCRIPT + TYPES, official, CUDA_VISIBLE_DEVICES="-1")
    accuracy, *types, refused = output.splitlines()[-4:]
    assert 0.88 <= float(accuracy) <= 0.94
    assert types == ["uint8", "float32"]
    assert "float64" in refused and "pass 'float32' or 'uint8'" in refused
