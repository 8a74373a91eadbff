"""Digits that a reader drew and named: their pictures, and a training with them."""

import numpy as np
import pytest
from PIL import Image

import input_data
from helpers import curve
from helpers.small_mnist import small_set, write
from support import centre, own_digits, saved, terminal

SEVEN = np.zeros((28, 28), np.uint8)
SEVEN[5:8, 8:20], SEVEN[8:23, 15:18] = 255, 240
SEVEN = centre.centre(SEVEN)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(own_digits, "FOLDER", tmp_path / "own")
    return tmp_path / "own"


def test_what_is_saved_is_loaded_in_the_order_of_time(folder):
    assert own_digits.load(folder).images.shape == (0, 784)
    pictures = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    pictures[:, [0, -1]] = 0  # paper
    names = [own_digits.save(folder, *each) for each in zip([7, 0, 9, 7, 1], pictures, strict=True)]
    own = own_digits.load(folder)
    assert own.names == names and own.labels.tolist() == [7, 0, 9, 7, 1]
    assert np.array_equal(own.images, pictures.reshape(5, 784))
    assert [place for place in range(13) if own_digits.is_held_out(place)] == [3, 7, 11]
    for name in [names[2], "7/none.png", "../own/" + names[0]]:
        own_digits.delete(folder, name)
    assert own_digits.load(folder).names == names[:2] + names[3:]


def test_pictures_of_other_programs(folder):
    """On white paper, in colours, transparent, larger, a JPEG: they become what MNIST has."""
    (folder / "7").mkdir(parents=True)
    (folder / "7" / ".hidden.png").touch()
    ink = SEVEN.repeat(10, axis=0).repeat(10, axis=1)
    blue = np.stack([255 - ink, 255 - ink, 255 - ink // 2], axis=2)
    shade = np.uint8(np.linspace(180, 225, 280) * (1 - ink / 300))  # a photo in uneven light
    pictures = {"a.png": 255 - SEVEN, "b.png": np.dstack([0 * SEVEN] * 3 + [SEVEN])}
    pictures |= {"c.png": ink, "d.png": blue[30:, 20:250], "e.JPG": shade}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / "7" / name)
    own = own_digits.load(folder)
    assert own.names == [f"7/{name}" for name in pictures]
    for name, image in zip(own.names, own.images.astype(float), strict=True):
        assert np.abs(image - SEVEN.ravel()).mean() < (0.01 if name < "7/c" else 8), name
    (folder / "7" / "a.png").write_bytes((folder / "7" / "a.png").read_bytes()[:50])
    with pytest.raises(terminal.Problem, match=r"own/7/a.png cannot be read as a picture"):
        own_digits.load(folder)
    Image.fromarray(SEVEN).save(folder / "7" / "a.png", exif=b"Exif\0\0II*\0")  # cut short
    with pytest.raises(terminal.Problem, match=r"own/7/a.png cannot be read as a picture"):
        own_digits.load(folder)


def test_a_batch_has_as_many_own_digits_as_was_asked():
    main = input_data.DataSet(np.zeros((50, 784)), np.zeros(50))
    own = input_data.DataSet(np.full((3, 784), 255), np.arange(1, 4))
    images, labels = input_data.MixedSet(main, own, 7, 20).next_batch(20)
    assert images.shape == (20, 784) and np.array_equal(images.mean(axis=1) == 1, labels > 0)
    assert np.bincount(labels.astype(int))[1:].min() == 2 and np.count_nonzero(labels) == 7


def test_training_with_own_digits(run_here, folder, tmp_path):
    """They are in each batch, except every fourth; TensorBoard shows the accuracy on those."""
    write(tmp_path, small_set(600, 300))
    flags = ["--network", "softmax", "--learning_rate", 0.01, "--epochs", 40, "--own_digits", 60]
    status, _, err = run_here(*flags, data_dir=tmp_path)
    assert status == 1 and err.startswith("OWN_DIGITS is 60, but own has no digits to learn from: ")
    names = [own_digits.save(folder, 7, SEVEN) for _ in range(3)]
    status, out, err = run_here(*flags, data_dir=tmp_path)
    assert (
        status == 0 and "60 images are your own digits: 3 to learn from, 0 for tests.\n" in out
    ), err
    own_digits.save(folder, 7, SEVEN)
    assert run_here(*flags, data_dir=tmp_path)[0] == 0
    name = "runs/lr=0.01,40,softmax,own_digits=60,other-digits"
    first, second = tmp_path / name, tmp_path / f"{name},2"
    assert saved.read_record(first).own_names == saved.read_record(second).own_names == names
    accuracy = curve(second / "test", "own digits/accuracy")
    assert list(accuracy) == list(curve(second / "test", "Accuracy")) and accuracy[40] == 1
