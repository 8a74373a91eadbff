"""The programs in tools/: they start, and README, the charts and the page show what they keep."""

import json
import re
import subprocess
import sys

import pytest

from helpers import PROJECT
from tools import benchmark, shifted_digits

FIGURES = json.loads(shifted_digits.RESULTS.read_text())


def test_a_program_starts_as_readme_says():
    command = [sys.executable, "-m", "tools.benchmark", "--help"]
    help = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert all(part in help.stdout for part in [*benchmark.PARTS, "--against", "--quick"])


def test_a_ratio_below_one_means_that_this_project_is_faster():
    ours, theirs = benchmark.make_rows("step", "ms", {"ours": [0.1, 0.2], "theirs": [0.2, 0.8]})
    assert (ours["values"], ours["ratios"]) == ([100, 200], [])
    assert theirs["ratios"] == [0.5, 0.25]


@pytest.mark.parametrize("page", ["docs/results.md", "docs/zh-CN/results.md"])
def test_results_have_the_figures_of_the_shifted_digits(page):
    rows = "\n".join(shifted_digits.rows(FIGURES))
    assert f"\n{rows}\n" in (PROJECT / page).read_text(encoding="utf-8")


def coordinates(picture):
    """Return the numbers of all lines in an SVG."""
    lines = " ".join(re.findall(r'points="([^"]+)"', picture))
    return [float(number) for number in re.findall(r"[\d.]+", lines)]


@pytest.mark.parametrize("name", shifted_digits.charts(FIGURES))
def test_charts_have_the_figures_of_the_shifted_digits(name):
    picture = (PROJECT / "docs" / "images" / name).read_text(encoding="utf-8")
    made = shifted_digits.charts(FIGURES)[name]
    # Of 270 units: figures may be rounded to 0.1%.
    assert coordinates(picture) == pytest.approx(coordinates(made), abs=0.2)
    words = re.findall(r">([^<]*)</text>", picture)
    assert words == re.findall(r">([^<]*)</text>", made)
    if "zh-CN" in name:  # besides the names of networks, all words are Chinese
        assert set(re.findall("[A-Za-z]+", " ".join(words))) <= {"softmax", "SHIFT"}


def test_the_page_has_the_figures_of_the_shifted_digits():
    matches = FIGURES["best match"][::2]  # it shows every other shift
    shares = FIGURES["convolutional, as drawn"][::2]
    page = (PROJECT / "page/static/index.html").read_text(encoding="utf-8")
    chinese = (PROJECT / "page/static/texts.js").read_text(encoding="utf-8")
    for kind in "curve", "dots":
        points = re.findall(
            r"[ML]([\d.]+) ([\d.]+)", re.search(f'class="{kind}" d="(.+?)"', page)[1]
        )
        x, y = zip(*points, strict=True)  # 58 is a match of 20%, 312 of 100%; 168 is 0%, 46 100%
        assert [0.2 + (float(x) - 58) / 317.5 for x in x] == pytest.approx(matches, abs=0.006)
        assert [(168 - float(y)) / 122 for y in y] == pytest.approx(shares, abs=0.001)
    sentences = [
        re.search('id="shift-points".*', page)[0],
        re.search(r'"shift-points":\s*".*"', chinese)[0],
    ]
    for sentence in sentences:
        assert re.findall(r"\d+%", sentence) == [f"{share:.0%}" for share in matches + shares]


def test_the_edge_that_is_measured_is_the_one_that_the_page_draws():
    script = (PROJECT / "page/static/paper.js").read_text(encoding="utf-8")
    assert str(shifted_digits.EDGE).replace(" ", "") in re.sub(r"\s|,(?=\s*\])", "", script)
