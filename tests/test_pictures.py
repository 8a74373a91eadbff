"""From pen lines and photos to pictures: as they are, or as MNIST's authors placed their digits."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from PIL import Image, ImageDraw, ImageOps

import input_data
from helpers.photos import KINDS, file_of, photo
from page import pictures
from page.networks import Refusal, TrainedRuns
from page.pictures import PAPER, PEN, from_photo
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


# ----------------------------------------------------------------------------------------- photos

FIVE = pictures.centred([
    [[90, 60], [85, 130], [130, 115], [175, 160], [150, 220], [80, 210]], [[90, 60], [180, 55]],
])  # fmt: skip


def test_photos_are_read_nearly_as_well_as_mnist(mnist_data, default_run, often, dice):
    """At least 95% of the digits that the default network reads in MNIST itself."""
    test = input_data.read_data_sets(mnist_data, dtype="uint8").test
    network = TrainedRuns(default_run.folder.parent).get(default_run.folder.name)
    places = dice.sample(range(10_000), often(36, 300))
    views = {"MNIST": test.images[places], "plain": [], "prepared": []}
    for turn, place in enumerate(places):
        kind = list(KINDS)[turn % len(KINDS)]
        taken = photo(test.images[place].reshape(28, 28), kind, dice.randrange(10**6))
        made = None
        with contextlib.suppress(Refusal):  # 1 of 2,700: MNIST's digit is a few pale dots
            made = from_photo(file_of(taken))
            assert made.inverted == (kind != "chalk on a board"), kind
        for view in ["plain", "prepared"]:
            views[view].append(getattr(made, view) if made else np.zeros((28, 28)))
    images = {view: np.float32(each).reshape(-1, 784) / 255 for view, each in views.items()}
    right = {
        view: network.probabilities(each).argmax(axis=1) == test.labels[places]
        for view, each in images.items()
    }
    assert right["prepared"][right["MNIST"]].mean() >= often(0.85, 0.95)  # few vary more by chance
    assert right["plain"][right["MNIST"]].mean() < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_blank_paper_has_no_ink(kind, dice, often):
    for _ in range(often(2, 20)):
        with pytest.raises(Refusal, match="no-ink"):
            from_photo(file_of(photo(None, kind, dice.randrange(10**6))))


def test_a_photo_is_turned_as_its_file_says():
    upright = photo(FIVE, "pen on white paper", 1)
    expected = from_photo(file_of(upright, "PNG"))
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    for kind in "JPEG", "PNG", "WEBP":
        for orientation, turn in turns.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            made = from_photo(file_of(upright.convert("RGB").transpose(turn), kind, exif=exif))
            assert np.abs(np.int16(made.prepared) - expected.prepared).mean() < 3
            assert np.abs(np.int16(made.plain) - expected.plain).mean() < 3
            np.testing.assert_allclose(made.box, expected.box, atol=0.01)


def test_a_transparent_sheet_counts_as_white():
    ink = Image.fromarray(FIVE).resize((560, 560))
    black = Image.new("L", ink.size)
    for mode in "LA", "RGBA":
        sheet = Image.merge("LA", [black, ink]).convert(mode)
        made = from_photo(file_of(sheet, "PNG"))
        white = from_photo(file_of(ImageOps.invert(ink), "PNG"))
        assert made.inverted and (made.plain == white.plain).all()
        assert (made.prepared == white.prepared).all()
        assert np.abs(np.int16(made.prepared) - FIVE).mean() < 10


def test_the_largest_digit_is_taken_with_all_its_parts():
    sheet = Image.new("L", (900, 600), 230)
    pen = ImageDraw.Draw(sheet)
    body = [(300, 220), (300, 310), (400, 310), (420, 380), (380, 450), (290, 440)]
    bar, specks = [(320, 190), (440, 185)], [(500, 100), (703, 503), (200, 300)]
    for line in body, bar, [(560, 200), (550, 440)], [(700, 300), (690, 450)]:  # 5, 1, a smaller 1
        pen.line(line, fill=50, width=18, joint="curve")
    pen.line([(100, 500), (130, 540)], fill=50, width=8)  # too small for a digit
    pen.point(specks, fill=50)
    made = from_photo(file_of(sheet))
    assert made.digits == 3
    np.testing.assert_allclose(
        np.multiply(made.box, [900, 600, 900, 600]), [286, 176, 440, 458], atol=9
    )
    alone = sheet.crop((250, 150, 480, 490))
    assert from_photo(file_of(alone)).digits == 1
    assert np.abs(np.int16(from_photo(file_of(alone)).prepared) - made.prepared).mean() < 6


def test_thin_lines_become_as_wide_as_mnists():
    ink = []
    for width in 4, 8, 24:
        sheet = Image.new("L", (900, 600), 230)
        ImageDraw.Draw(sheet).line([(300, 100), (550, 100), (400, 500)], fill=50, width=width)
        ink.append(from_photo(file_of(sheet)).prepared.sum(dtype=int) / 255)
    np.testing.assert_allclose(ink, 60, atol=15)
