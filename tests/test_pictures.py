"""From pen lines to pictures: placed as drawn, or as MNIST's authors placed their digits."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies

import input_data
from page import pictures
from page.pictures import PAPER, PEN
from support.centre import centre

NUMBERS = strategies.integers(0, PAPER)
STROKE = strategies.lists(strategies.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=8)


def centre_of_mass(picture):
    return np.array([np.average(places, weights=picture) for places in np.indices(picture.shape)])


@pytest.fixture(scope="module")
def test_digits(mnist_data):
    return input_data.read_data_sets(mnist_data, dtype="uint8").test.images.reshape(-1, 28, 28)


def test_all_but_three_of_mnists_digits_come_back_as_they_are(test_digits):
    again = np.stack([centre(image) for image in test_digits])
    assert (again != test_digits).any(axis=(1, 2)).sum() == 3


def test_mnist_digits_that_were_moved_come_back(test_digits):
    for image in test_digits[:1000]:
        rows, columns = np.nonzero(image)
        for down, right in (-rows.min(), 27 - columns.max()), (27 - rows.max(), -columns.min()):
            back = centre(np.roll(image, (down, right), axis=(0, 1)))
            assert np.abs(back.astype(int) - image).mean() < 2


@settings(deadline=None, max_examples=60)
@given(STROKE)
def test_whatever_is_drawn_is_centred_as_mnist_is(stroke):
    picture = pictures.centred([stroke])
    places = np.argwhere(picture)
    assert picture.dtype == np.uint8 and picture.shape == (28, 28)
    assert np.ptp(places, axis=0).max() + 1 == 20
    off = np.abs(centre_of_mass(picture) - 14)
    assert (off <= 0.5).all() or 0 in places or 27 in places


@settings(deadline=None, max_examples=60)
@given(strategies.lists(STROKE, min_size=1, max_size=3))
def test_ink_is_where_the_pen_came_and_nowhere_else(lines):
    across, down = np.meshgrid(np.arange(PAPER) + 0.5, np.arange(PAPER) + 0.5)
    nearest = np.full(across.shape, np.inf)  # distance to the nearest line, by geometry
    for line in np.array(lines, object):
        points = np.array(list(line), float)
        for start, end in zip(points, [*points[1:], points[-1]], strict=True):
            way = end - start
            part = (across - start[0]) * way[0] + (down - start[1]) * way[1]
            part = np.clip(part / max(way @ way, 1), 0, 1)
            x, y = start[0] + part * way[0], start[1] + part * way[1]
            nearest = np.minimum(nearest, np.hypot(across - x, down - y))
    sheet = np.asarray(pictures.draw(lines))
    assert set(np.unique(sheet)) <= {0, 255}
    assert (sheet[nearest < PEN / 2 - 2] == 255).all()
    assert (sheet[nearest > PEN / 2 + 2] == 0).all()
    mean = sheet.reshape(28, 10, 28, 10).mean(axis=(1, 3))
    np.testing.assert_allclose(pictures.as_drawn(lines), mean, atol=0.51)


def test_a_small_drawing_is_redrawn_and_not_magnified():
    seven = np.array([[0, 0], [100, 0], [40, 160]])
    large = pictures.centred([(seven + 50).tolist()])
    small = pictures.centred([(seven * 0.25 + 230).tolist()])
    np.testing.assert_allclose(small, large, atol=40)
    magnified = centre(np.asarray(pictures.draw([(seven * 0.25 + 230).tolist()])))
    assert magnified.sum() > 1.5 * large.sum()
    assert 60 * 255 < large.sum() < 140 * 255  # MNIST's digits have 104 pixels of ink in the mean


def test_nothing_and_a_dot_can_be_centred():
    picture = np.zeros((28, 28), np.uint8)
    assert not centre(picture).any()
    picture[27, 27] = 1
    assert centre(picture).any()
    np.testing.assert_allclose(centre_of_mass(pictures.centred([[[7, 7]]])), 14, atol=0.6)
