"""The digits that the program draws where there is no MNIST; without network or TensorFlow."""

import argparse

import numpy as np
import pytest

import input_data
from support import generated_digits, terminal


def test_images_are_normalised_as_mnist(dice):
    images, labels = generated_digits.generate(2000, dice.randrange(2**32))
    assert images.shape == (2000, 28, 28) and images.dtype == labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [200] * 10
    assert (np.diff(labels.astype(int)) < 0).sum() > 500  # shuffled, not sorted
    for axis in (1, 2):
        inked = images.any(axis)
        first, last = inked.argmax(1), 27 - inked[:, ::-1].argmax(1)
        assert (last - first + 1 <= 20).all(), "ink outside the box of 20x20 pixels"
    ink = images / images.sum((1, 2), keepdims=True)
    centres = np.stack([ink.sum(2) @ np.arange(28), ink.sum(1) @ np.arange(28)])
    away = np.abs(centres - 14).max(0)
    assert (away <= 0.5001).mean() > 0.99  # of a few, the box stops at the border of the image
    assert (images.max((1, 2)) > 200).all()  # white ink ...
    assert (np.median(images, (1, 2)) == 0).all()  # ... on black
    grey = ((images > 0) & (images < 255)).sum() / (images > 0).sum()
    assert 0.5 < grey < 0.95, "edges are not anti-aliased"
    assert len(np.unique(images.reshape(2000, -1), axis=0)) == 2000, "the same image twice"


def test_a_simple_classifier_that_learns_from_them_reads_mnist(mnist_data):
    """Read each image as the digit whose average is nearest: 72 to 74% with the seeds 0 to 4."""
    images, labels = generated_digits.generate(5000, seed=0)
    rows = images.reshape(-1, 784) / 255
    averages = np.stack([rows[labels == digit].mean(0) for digit in range(10)])
    test = input_data.read_data_sets(mnist_data).test
    distances = ((averages**2).sum(1) - 2 * test.images @ averages.T).argmin(1)
    assert (distances == test.labels).mean() > 0.68


def test_seeds():
    (images, labels), again, (other, _) = (generated_digits.generate(200, s) for s in [3, 3, 4])
    assert np.array_equal(images, again[0]) and np.array_equal(labels, again[1])
    assert not (images[:, None] == other[None]).all((2, 3)).any(), "two seeds share an image"


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A copy of generated_digits.txt that a test may edit."""
    copy = tmp_path / "ways.txt"
    copy.write_bytes(generated_digits.WAYS.read_bytes())
    monkeypatch.setattr(generated_digits, "WAYS", copy)
    monkeypatch.setattr(generated_digits, "TRAIN_SIZE", 200)
    monkeypatch.setattr(generated_digits, "TEST_SIZE", 100)
    monkeypatch.setattr(input_data, "MIRRORS", [])
    return copy


def test_a_way_that_was_added_is_drawn(table):
    table.write_text(table.read_text() + "3  1000  0,5 10,5  # a dash\n")
    images, labels = generated_digits.generate(100, seed=0)
    wide, high = images.any(1).sum(1), images.any(2).sum(1)
    assert (wide[labels == 3] > 2 * high[labels == 3]).all()


@pytest.mark.parametrize(
    "line",
    ["3", "3 1", "x 1 1,1 2,2", "10 1 1,1 2,2", "3 .5 1,1 2,2", "3 1 1,1", "3 1 1,1 2", "3 1 1,1;"],
)
def test_a_line_that_cannot_be_read_is_named(table, tmp_path, line):
    table.write_text(f"{line}\n")
    with pytest.raises(terminal.Problem) as caught:
        input_data.read_or_generate(
            argparse.Namespace(
                data_dir=tmp_path / "data", seed=None, data=None, shift=0, own_digits=0
            )
        )
    assert str(caught.value) == f"{table}, line 1, cannot be read: {line!r}."
    table.write_text("0  1  1,1 2,2\n")
    with pytest.raises(ValueError, match="no way to write the digit 1"):
        generated_digits.generate(10, 0)


def test_load_draws_once_and_anew_when_the_table_was_edited(table, tmp_path, monkeypatch):
    folder, shipped = tmp_path / "new" / "folder", table.read_bytes()
    drawn = generated_digits.load(folder)
    assert [array.shape for array in drawn] == [(200, 28, 28), (200,), (100, 28, 28), (100,)]
    assert not (drawn[0][:, None] == drawn[2][None]).all((2, 3)).any(), "a test image was trained"
    (path,) = folder.iterdir()
    for damage in [path.read_bytes()[:-5000], b"", bytes(5000)]:
        path.write_bytes(damage)
        assert np.array_equal(generated_digits.load(folder)[0], drawn[0])
    table.write_text(table.read_text().replace("10", "11"))
    assert not np.array_equal(generated_digits.load(folder)[0], drawn[0])
    table.write_bytes(shipped)
    monkeypatch.setattr(generated_digits, "generate", None)  # from now on, nothing can be drawn
    assert np.array_equal(generated_digits.load(folder)[0], drawn[0])


def test_without_a_folder_to_write_to(table, tmp_path):
    resource = pytest.importorskip("resource", reason="needs limits as Unix has them")
    (tmp_path / "file").write_text("not a folder")
    assert len(generated_digits.load(tmp_path / "file")[0]) == 200
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))  # as on a full disk
    try:
        assert len(generated_digits.load(tmp_path / "full")[0]) == 200
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
