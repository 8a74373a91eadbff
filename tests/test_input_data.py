"""Reading MNIST's files, well-formed or not, and handing out batches."""

import argparse
import gzip
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import input_data
from helpers import PROJECT
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
from support import generated_digits, terminal
from support.tensorflow1 import tf

WAY_OUT = "move it to another folder, and if a mirror can be reached, MNIST's file is downloaded"


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


# The interface.


def test_shapes_and_dtypes(small):
    mnist = input_data.read_data_sets(str(small), validation_size=2)
    assert [part.num_examples for part in mnist] == [10, 2, 5]
    for part, pixels in zip(mnist, read(small, validation_size=2), strict=True):
        assert part.images.shape == (part.num_examples, 784) and part.images.dtype == np.float32
        scaled = np.multiply(pixels.images.astype(np.float32), 1.0 / 255.0)
        assert part.images.tobytes() == scaled.tobytes()  # to the last bit, as in TensorFlow 1
        assert part.labels.shape == (part.num_examples,) and part.labels.dtype == np.uint8
    # All arguments, in the order that they have in TensorFlow 1.
    train, validation, _ = input_data.read_data_sets(
        small, False, True, np.uint8, False, 3, 1, None
    )
    assert train.images.shape == (9, 28, 28, 1) and train.images.dtype == np.uint8
    assert train.labels.shape == (9, 10) and train.labels.dtype == np.float64
    assert validation.num_examples == 3


def test_first_training_images_are_the_validation_set(small):
    whole, split = read(small).train, read(small, validation_size=4)
    assert np.array_equal(split.validation.images, whole.images[:4])
    assert np.array_equal(split.train.labels, whole.labels[4:])
    mnist = read(small, validation_size=12)
    assert (mnist.train.num_examples, mnist.validation.num_examples) == (0, 12)
    with pytest.raises(ValueError, match="from a set of 0"):
        mnist.train.next_batch(1)
    assert read(small, validation_size=4.0).train.num_examples == 8
    for size in [13, -1, 0.5, None, "4", np.nan]:
        with pytest.raises(ValueError, match=f"validation_size must be 0 to 12, .* not {size!r}"):
            read(small, validation_size=size)


def test_dtypes(small):
    for dtype in ["uint8", np.uint8, np.dtype("uint8"), tf.uint8]:
        assert read(small, dtype=dtype).test.images.dtype == np.uint8
    for dtype in ["float64", np.int32, tf.float64, "no such type", None]:
        with pytest.raises(TypeError, match="pass 'float32' or 'uint8'"):
            read(small, dtype=dtype)


def test_fake_data_is_the_generated_digits(small, monkeypatch):
    monkeypatch.setattr(generated_digits, "TRAIN_SIZE", 20)
    monkeypatch.setattr(generated_digits, "TEST_SIZE", 10)
    mnist = read(small, fake_data=True, validation_size=5, reshape=False)
    _, labels, test_images, _ = generated_digits.load(small)
    assert {part.name for part in mnist} == {input_data.GENERATED}
    assert np.array_equal(mnist.train.labels, labels[5:])
    assert np.array_equal(mnist.test.images[..., 0], test_images)


# Files under all their names.


@pytest.mark.parametrize("spelling", ["{}.gz", "{}", "dotted", "dotted.gz"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw", "a folder of its name"])
def test_packed_or_not_under_any_name(tmp_path, monkeypatch, spelling, packed, place):
    """Some programs unpack a file and leave its name as it was, or into a folder of its name."""
    monkeypatch.setenv("HOME" if os.name == "posix" else "USERPROFILE", str(tmp_path))
    contents = small_set()
    for name, content in contents.items():
        file = spelling.replace("dotted", name.replace("-idx", ".idx")).format(name)
        folder = tmp_path / (file if place.startswith("a folder") else place)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(pack(content) if packed else content)
    mnist = read(b"~")
    assert mnist.train.images.tobytes() == contents[TRAIN_IMAGES][16:]
    assert mnist.test.labels.tobytes() == contents[TEST_LABELS][8:]


def test_other_data_sets_are_read_and_named(small, capsys):
    name = read(small).train.name
    assert name == f"the files in {small}, which are not MNIST's official ones"
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "not MNIST's official" in printed and TEST_LABELS in printed


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
    "content",
    [PACKED[:-4], PACKED[:2000], PACKED[:5000] + b"\xff" * 99 + PACKED[5099:], PACKED + b"junk"],
)
def test_malformed_gzip(small, content):
    (small / f"{TRAIN_IMAGES}.gz").write_bytes(content)
    refused(small, f"{TRAIN_IMAGES}.gz", "not an intact gzip file")


def header(*numbers):
    return struct.pack(f">{len(numbers)}I", *numbers)


@pytest.mark.parametrize("spelling", ["{}", "{}.gz"])
@pytest.mark.parametrize(
    "name, content, match",
    [
        (TRAIN_IMAGES, b"<!DOCTYPE html><title>Log in", "begins with 0x3c21444f"),
        (TRAIN_IMAGES, IMAGES[:15], "cut short within its header"),
        (TRAIN_IMAGES, IMAGES + b"\0", "holds 9,409 bytes, not the 9,408 of 12 images"),
        (TRAIN_IMAGES, LABELS + bytes(9), "is not a file of images: it begins with 0x801"),
        (TRAIN_IMAGES, header(2051, 12, 14, 56) + IMAGES[16:], "14x56 pixels, not 28x28"),
        (TRAIN_IMAGES, header(2051, 0, 28, 28), "of 0 images"),
        (TRAIN_IMAGES, header(2051, 2**32 - 1, 28, 28) + IMAGES[16:], "of 4,294,967,295 images"),
        (TRAIN_LABELS, LABELS[:-1], "holds 11 bytes, not the 12 of 12 labels"),
        (TRAIN_LABELS, IMAGES, "is not a file of labels: it begins with 0x803"),
        (TRAIN_LABELS, idx_labels(np.zeros(11, np.uint8)), "11 labels for the 12 images"),
    ],
)
def test_malformed_content(tmp_path, spelling, name, content, match):
    write(tmp_path, {**small_set(), name: content}, spelling)
    refused(tmp_path, spelling.format(name), match)


@pytest.mark.parametrize("label", [10, 26, 46])
def test_letters_are_not_called_malformed(small, label):
    """EMNIST's files, under MNIST's names, are intact, and perhaps the only copy."""
    (small / f"{TEST_LABELS}.gz").write_bytes(idx_labels(np.uint8([label, 1, 2, 3, 4])))
    with pytest.raises(ValueError, match=f"holds the label {label}, .*EMNIST.*keep it") as caught:
        read(small)
    assert str(small / TEST_LABELS) in str(caught.value) and "move it" not in str(caught.value)


# In place of some bytes, other ones; half of the time in the header.
damages = st.tuples(
    st.integers(0, 24) | st.integers(0, 10_000), st.integers(0, 9000), st.binary(max_size=5)
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), damages, st.sampled_from(["before packing", "after packing", "{}"]))
def test_corruptions_are_errors_or_harmless(name, damage, kind):
    def damaged(content):
        place, removed, inserted = damage
        return content[:place] + inserted + content[place + removed :]

    contents, spelling = small_set(3, 2), "{}" if kind == "{}" else "{}.gz"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, spelling.format(name))
        if kind == "before packing":
            write(folder, contents | {name: damaged(contents[name])}, spelling)
        else:
            write(folder, contents, spelling)
            path.write_bytes(damaged(path.read_bytes()))
        try:
            mnist = read(folder)
        except ValueError as error:
            assert str(path) in str(error) and "another folder" in str(error)
            assert "\n" not in str(error)
            return
        content = path.read_bytes()
    content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    part = mnist.train if name.startswith("train") else mnist.test
    assert len(part.images) == len(part.labels) and (part.labels < 10).all()
    images, labels = idx_images(part.images.reshape(-1, 28, 28)), idx_labels(part.labels)
    assert content == (images if "images" in name else labels)


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


@given(st.integers(1, 20), sizes, st.integers(0, 30))
def test_skip_is_like_batches(n, sizes, first):
    taken, skipped = data_set(n), data_set(n)
    take(taken, [first, *sizes])
    take(skipped, [first])
    skipped.skip(sum(sizes))
    assert skipped.epochs_completed == taken.epochs_completed
    assert take(skipped, [7, 45, 1]) == take(taken, [53])


def test_seeds(small):
    def batches(seed):
        return [
            part.next_batch(40)[0].tobytes() for part in read(small, seed=seed, validation_size=6)
        ]

    assert batches(7) == batches(7) and batches(np.int64(7)) == batches(7)
    assert len({tuple(batches(seed)) for seed in (7, 8, None, None)}) == 4
    with pytest.raises(ValueError, match="non-negative"):
        read(small, seed=-1)


def test_a_seed_gives_what_it_gave_in_earlier_versions(small):
    """As long as NumPy keeps its streams; what is taken from another set changes nothing."""
    train, _, test = read(small, seed=1, validation_size=2)
    test.next_batch(99)
    batches = np.concatenate([train.next_batch(7)[0] for _ in range(5)])
    rows = [int(np.flatnonzero((train.images == image).all(axis=1))[0]) for image in batches]
    assert "".join(map(str, rows)) == "41670592381945068372827043569184329"


@pytest.mark.parametrize("shift, batches, places", [(1, 40, 9), (14, 3, 16)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("reshape", [True, False])
def test_a_shift_moves_each_image_of_a_batch(small, shift, batches, places, dtype, reshape):
    """By its own offset, to each side; only the images for training, in the order of no shift."""
    kinds = {"seed": 3, "dtype": dtype, "reshape": reshape, "validation_size": 2}
    plain, mnist = read(small, **kinds), read(small, shift=shift, **kinds)
    seen = set()
    for _ in range(batches):
        images, labels = mnist.train.next_batch(7)
        originals, expected = plain.train.next_batch(7)
        assert (images.shape, images.dtype) == (originals.shape, originals.dtype)
        assert np.array_equal(labels, expected)
        for image, original in zip(images, originals, strict=True):
            image, framed = image.reshape(28, 28), np.pad(original.reshape(28, 28), 28)
            # The images are random: there is ink at each side from which no paper comes in.
            inked = [np.flatnonzero(image.any(axis=axis)) for axis in (1, 0)]
            down, right = [int(found[0] or found[-1] - 27) for found in inked]
            assert np.array_equal(image, framed[28 - down :, 28 - right :][:28, :28])
            seen.add((down, right))
    assert len(seen) >= places and np.abs(list(seen)).max() <= shift
    for moved, still in zip(list(mnist)[1:], list(plain)[1:], strict=True):
        assert np.array_equal(moved.next_batch(5)[0], still.next_batch(5)[0])


def test_a_shift_is_repeatable_and_skipped_and_of_the_callers_images(small):
    sets = [read(small, seed=3, shift=5).train for _ in range(4)]
    expected = [sets[0].next_batch(size)[0].tobytes() for size in [3, 50, 9]]
    assert sets[1].next_batch(53)[0].tobytes() == b"".join(expected[:2])
    sets[2].skip(53)
    assert sets[1].next_batch(9)[0].tobytes() == sets[2].next_batch(9)[0].tobytes() == expected[2]
    sets[3].images[:] = 7
    images = sets[3].next_batch(99)[0]
    assert set(np.unique(images)) == {0, 7} and sets[3].images.min() == 7
    with pytest.raises(ValueError, match="shift must be a whole number of pixels, 0 to 14, not 15"):
        read(small, shift=15)


def test_batches_are_copies_and_fake_data_is_ignored():
    numbers = data_set(10)
    images, _ = numbers.next_batch(10, fake_data=True, shuffle=False)
    images[:] = 77
    assert np.array_equal(numbers.images[:, 0], np.arange(10))
    for method in [numbers.next_batch, numbers.skip]:
        for count in [-1, 0.5, "5", None, np.nan, np.inf]:
            with pytest.raises(ValueError, match=f"^{count!r} images cannot be taken"):
                method(count)
    for count in [5.0, np.float32(5), np.int64(5)]:
        assert len(numbers.next_batch(count)[1]) == 5


# What old scripts use besides: TensorFlow 1.15's functions, and its names of a set's state.


def test_a_set_of_given_images():
    pixels = np.arange(6 * 784, dtype=np.uint8).reshape(6, 28, 28, 1)
    labels = np.arange(6)
    plain = input_data.DataSet(pixels, labels, False, False, np.float32, True, 1)
    assert plain.images.shape == (6, 784) and plain.images.dtype == np.float32
    assert np.allclose(plain.images, pixels.reshape(6, 784) / 255, atol=1e-7)
    assert plain.labels is plain._labels and np.array_equal(plain.labels, labels)
    assert (plain.num_examples, plain._num_examples) == (6, 6)
    assert np.array_equal(input_data.DataSet(pixels.tolist(), list(labels)).images, plain.images)
    with pytest.raises(ValueError, match="5 labels for the 6 images"):
        input_data.DataSet(pixels, labels[:5])
    assert input_data.DataSet(pixels[:0], []).images.shape == (0, 784)


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
    numbers._images, numbers._labels = numbers._images * 2, numbers._labels * 2
    assert sorted(take(numbers, [10])) == list(range(0, 20, 2))


def test_the_first_tutorials_functions(small):
    """TensorFlow 0.6: files by their paths, or open ones, and sets that can be replaced."""
    contents = small_set()
    path = input_data.maybe_download(f"{TEST_LABELS}.gz", os.fsencode(small))
    assert path == str(small / f"{TEST_LABELS}.gz")
    labels = input_data.extract_labels(path)
    assert labels.dtype == np.uint8 and labels.tobytes() == contents[TEST_LABELS][8:]
    images = input_data.extract_images(os.fsencode(small / f"{TEST_IMAGES}.gz"))
    assert images.shape == (5, 28, 28, 1) and images.tobytes() == contents[TEST_IMAGES][16:]
    with open(path, "rb") as file:
        one_hot = input_data.extract_labels(file, one_hot=True, num_classes=12)
    assert one_hot.shape == (5, 12) and np.array_equal(one_hot.argmax(axis=1), labels)
    assert np.array_equal(one_hot, input_data.dense_to_one_hot(labels, 12))
    mnist = read(small)
    mnist.test = input_data.DataSet(images, labels, dtype="uint8")
    assert np.array_equal(mnist.test.images, read(small).test.images)
    assert input_data.SOURCE_URL.startswith("https://")


def chosen(folder, data=None):
    return argparse.Namespace(data_dir=folder, seed=1, data=data, shift=0, own_digits=0)


def test_what_is_wrong_with_the_files_is_said_in_a_sentence(small, monkeypatch):
    (small / f"{TEST_IMAGES}.gz").write_bytes(b"")
    with pytest.raises(terminal.Problem) as caught:
        input_data.read_or_generate(chosen(small, "MNIST"))
    assert str(caught.value).endswith(f"{WAY_OUT}.") and caught.value.status == 1
    monkeypatch.setattr(input_data, "MIRRORS", ["http://127.0.0.1:1/"])
    with pytest.raises(terminal.Problem, match="cannot be downloaded into .*; name another folder"):
        input_data.read_or_generate(chosen(small / f"{TEST_IMAGES}.gz"))


def test_a_run_that_continues_with_generated_digits_downloads_nothing(small, monkeypatch, capsys):
    monkeypatch.setattr(generated_digits, "TRAIN_SIZE", 20)
    monkeypatch.setattr(generated_digits, "TEST_SIZE", 10)
    monkeypatch.setattr(input_data, "find", None)  # MNIST is not even looked for
    mnist = input_data.read_or_generate(chosen(small, input_data.GENERATED))
    assert mnist.train.name == input_data.GENERATED and mnist.train.num_examples == 20
    assert capsys.readouterr().out == ""


# The official MNIST.


def test_official_mnist(mnist_data, capsys):
    mnist, split = read(mnist_data), input_data.read_data_sets(mnist_data, one_hot=True)
    assert capsys.readouterr().out == "" and mnist.train.name == "MNIST"
    counts = "5923 6742 5958 6131 5842 5421 5918 6265 5851 5949"
    assert " ".join(map(str, np.bincount(mnist.train.labels))) == counts
    for part, name in [(mnist.train, TRAIN_IMAGES), (mnist.test, TEST_IMAGES)]:
        pixels = gzip.decompress(Path(mnist_data, f"{name}.gz").read_bytes())[16:]
        assert part.images.tobytes() == pixels
    assert [part.num_examples for part in split] == [55_000, 5_000, 10_000]
    assert np.array_equal(split.validation.labels.argmax(axis=1), mnist.train.labels[:5000])


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


def test_an_old_tutorial_runs(mnist_data):
    done = subprocess.run(
        [sys.executable, "-c", OLD_SCRIPT, mnist_data],
        text=True,
        capture_output=True,
        cwd=PROJECT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
    )
    assert done.returncode == 0, done.stderr
    assert 0.88 <= float(done.stdout.splitlines()[-1]) <= 0.94
