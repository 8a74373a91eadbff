"""Take the pictures in docs/images/ again, with real runs, in a real browser.

    python -m tools.screenshots                  # all pictures: first trains for some minutes
    python -m tools.screenshots graph hparams    # only these
    python -m tools.screenshots --runs FOLDER    # keeps the runs there for next time

Needs Linux or macOS, Chromium and its driver, Chinese fonts (on Debian: fonts-noto-cjk), and MNIST
in the folder that the environment variable MNIST_DATA names, or in MNIST_data/.
"""

import contextlib
import html
import io
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import numpy as np
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from support.settings import Parser
from support.terminal import program, say
from tests.helpers import serve_tensorboard, wait_for
from tests.helpers.browser import chromium
from tools import MNIST, PROJECT, draw_page

PICTURES_FOLDER = PROJECT / "docs" / "images"
ONE_ROW = 630  # the height of TensorBoard with one row of cards
DEFAULT = "lr=0.0001,2000"
RUNS = {  # the runs that the pictures show: folder and flags
    DEFAULT: [],
    "lr=0.001,2000": ["--learning_rate", "0.001"],
    "lr=1e-05,2000": ["--learning_rate", "0.00001"],
    "lr=0.1,100": ["--learning_rate", "0.1", "--epochs", "100"],
    "lr=0.0001,2000,softmax": ["--network", "softmax"],
}
CURVES = "^(Accuracy|Loss)$"
LANGUAGES = {"en": "", "zh-CN": ".zh-CN"}  # and how the names of their pictures end
SEVEN = [(0.33, 0.27), (0.5, 0.26), (0.66, 0.27), (0.58, 0.5), (0.5, 0.76)]  # from 0 to 1


def train(logdir):
    """Train the runs that are not in the log folder yet, and put the reference run beside them."""
    for name, flags in RUNS.items():
        if not (logdir / name).exists():
            command = [sys.executable, PROJECT / "mnist.py", "--seed", "1", *flags]
            subprocess.run([*command, "--logdir", logdir, "--data_dir", MNIST], check=True)
    reference = PROJECT / "mnist_example" / "reference"
    shutil.copytree(reference, logdir / "reference", dirs_exist_ok=True)


def resize(browser, width=1400, height=900):
    """Set the size of the page; a window's size would include the browser's own border."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def settled(browser):
    """Return a picture of the page when it has not changed for two seconds."""
    before, since = Image.new("RGB", (1, 1)), time.monotonic()
    while time.monotonic() - since < 2:
        now = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
        # Chromium draws the edges of letters a little differently each time.
        if now.size != before.size or np.ptp(np.int16(now) - np.int16(before)) >= 20:
            before, since = now, time.monotonic()
    return before


def save(browser, folder, name, height=None):
    """Save a picture of the page, or of its upper part, with as few colours as look the same."""
    picture = settled(browser)
    picture = picture.crop((0, 0, picture.width, height or picture.height))
    picture = picture.quantize(128, dither=Image.Dither.NONE)
    picture.save(folder / f"{name}.png", optimize=True)
    say(f"{folder / name}.png")


# ------------------------------------------------------------------------------------ TensorBoard
# Each function takes one picture, or several. at: the addresses of a TensorBoard with "all" runs,
# of one with "one" run, and of the "page".


def open_tab(browser, address, tab, needed, **query):
    """Open a tab of TensorBoard, and wait until the CSS selector `needed` finds something."""
    resize(browser)
    browser.get(f"{address}/index.js")  # a page that shares TensorBoard's storage, without its code
    setting = "'_tb_global_settings', '{\"sideBarWidthInPercent\": 26}'"
    browser.execute_script(f"localStorage.setItem({setting})")
    browser.get(f"{address}/?{urllib.parse.urlencode(query)}#{tab}")
    wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, needed))


def open_curves(browser, address, tags, **query):
    query = {"smoothing": 0.9, "tagFilter": tags} | query
    open_tab(browser, address, "timeseries", "card-view line-chart", **query)
    settled(browser)


def tensorboard(browser, at, folder):
    open_curves(browser, at["one"], CURVES)
    save(browser, folder, "tensorboard", ONE_ROW)


def late(browser, at, folder):
    """Steps 1,000 to 2,000: a rectangle is dragged over that part of each chart."""
    open_curves(browser, at["one"], CURVES)
    charts = browser.find_elements(By.CSS_SELECTOR, "line-chart")
    for chart, (top, bottom) in zip(charts, [(0.02, 0.3), (0.66, 0.86)], strict=True):
        width, height = chart.size["width"], chart.size["height"]
        drag = ActionChains(browser)
        drag.move_to_element_with_offset(chart, 0.08 * width, (top - 0.5) * height)
        drag.click_and_hold()
        drag.move_to_element_with_offset(chart, 0.42 * width, (bottom - 0.5) * height)
        drag.release().perform()
    ActionChains(browser).move_by_offset(0, 300).perform()  # no box may cover the chart
    save(browser, folder, "late", ONE_ROW)


def too_fast(browser, at, folder):
    """Learning rate 0.1: the loss leaps, and the ReLUs die."""
    open_curves(browser, at["all"], "^Loss$|dead", runFilter="^lr=0.1,", smoothing=0)
    browser.find_element(By.CSS_SELECTOR, ".scalars-ignore-outliers input").click()
    save(browser, folder, "too-fast")


def moved(browser, at, folder):
    open_tab(browser, at["one"], "timeseries", "card-view histogram-card", tagFilter="moved")
    save(browser, folder, "moved")


def compare(browser, at, folder):
    """Many runs at once: only `test`, coloured by learning rate."""
    query = {"runFilter": "^lr.*test", "runColorGroup": "regex:lr=([^,]+)"}
    open_curves(browser, at["all"], CURVES, **query)
    save(browser, folder, "compare", ONE_ROW)


def hparams(browser, at, folder):
    open_tab(browser, at["all"], "hparams", "tf-hparams-dashboard")
    save(browser, folder, "hparams")


def graph(browser, at, folder):
    run = urllib.parse.quote(f"{DEFAULT}/train", safe="")
    open_tab(browser, at["one"], f"graphs&run={run}", "tf-graph-dashboard")
    save(browser, folder, "graph")


def images(browser, at, folder):
    open_tab(browser, at["one"], "images", "tf-image-dashboard")
    save(browser, folder, "images")


# ------------------------------------------------------------------------ the page, the terminal


def open_page(browser, address, language):
    """Open the page as a new visitor sees it."""
    resize(browser, 1280, 800)
    features = [
        {"name": "prefers-color-scheme", "value": "light"},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    agent = {"userAgent": "Chromium", "acceptLanguage": language}
    browser.execute_cdp_cmd("Emulation.setUserAgentOverride", agent)
    browser.get(address)
    browser.execute_script("localStorage.clear(); sessionStorage.clear()")
    browser.refresh()
    wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, ".card"))


def trace(browser, points):
    """Draw a line on the paper, through points from 0 to 1."""
    paper = browser.find_element(By.ID, "canvas")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", paper)
    size = paper.size["width"]
    line = ActionChains(browser, duration=50)
    for place, (x, y) in enumerate(points):
        line.move_to_element_with_offset(paper, (x - 0.5) * size, (y - 0.5) * size)
        if place == 0:
            line.click_and_hold()
    line.release().perform()


def draw(browser, at, folder):
    """A 7 at the edge, in both languages."""
    for language, ending in LANGUAGES.items():
        open_page(browser, at["page"], language)
        browser.find_element(By.ID, "edge").click()
        save(browser, folder, f"draw{ending}")


def inside(browser, at, folder):
    """A 7 at the right edge, and the same 7 in the middle: similar digits, and a kernel."""
    for language, ending in LANGUAGES.items():
        for name, shift in [("inside-edge", 0.28), ("inside-middle", 0)]:
            open_page(browser, at["page"], language)
            trace(browser, [(x + shift, y) for x, y in SEVEN])
            look = browser.find_element(By.CSS_SELECTOR, "#look summary")
            look.click()
            wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, "#similar .matches canvas"))
            settled(browser)
            browser.execute_script("arguments[0].scrollIntoView()", look)
            save(browser, folder, f"{name}{ending}")
        kernel = browser.find_elements(By.CSS_SELECTOR, "#conv .kernels button")[2]
        kernel.click()
        browser.execute_script("arguments[0].scrollIntoView()", kernel)
        save(browser, folder, f"inside-sum{ending}")


def terminal(browser, at, folder):
    """A run at 60% of its steps, as a terminal shows it in both languages."""
    for language, ending in LANGUAGES.items():
        text = html.escape("\n".join(["$ python mnist.py", *watch(language.replace("-", "_"))]))
        body = "margin: 20px; background: #1e2430; color: #e8ebf5"
        font = "14px/1.45 DejaVu Sans Mono, Noto Sans Mono CJK SC, monospace"
        pre = f"<pre style='font: {font}'>{text}</pre>"
        page = f'<!DOCTYPE html><meta charset="utf-8"><body style="{body}">{pre}'
        resize(browser, 1030, 122)
        browser.get(f"data:text/html,{urllib.parse.quote(page)}")
        save(browser, folder, f"terminal{ending}")


def watch(language):
    """Return the lines that a terminal shows at 60% of a run's steps."""
    ours, its = pty.openpty()
    with tempfile.TemporaryDirectory() as here:
        command = [sys.executable, PROJECT / "mnist.py", "--logdir", "mnist_example"]
        command += ["--data_dir", MNIST]
        size = {"COLUMNS": "117", "LINES": "24"}
        changes = size | {"LC_ALL": f"{language}.UTF-8", "LANGUAGE": language}
        with subprocess.Popen(
            command, stdin=its, stdout=its, stderr=its, cwd=here, env=os.environ | changes
        ) as process:
            shown = b""
            while b" 60%" not in shown:
                shown += os.read(ours, 10_000)
            process.kill()
    lines = shown.decode(errors="replace").replace("\r\n", "\n").split("\n")
    return [line.rpartition("\r")[2] for line in lines]


OF_TENSORBOARD = [tensorboard, late, too_fast, moved, compare, hparams, graph, images]
PICTURES = {
    take.__name__.replace("_", "-"): take for take in [terminal, *OF_TENSORBOARD, draw, inside]
}


def main(flags):
    """Train what is needed, and take the pictures that the flags name, or all."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}")
    parser.add_argument("--runs", type=Path, help="a folder to keep the runs in")
    parser.add_argument("--folder", type=Path, default=PICTURES_FOLDER, help="of the pictures")
    flags = parser.parse_args(flags)
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runs = flags.runs or work / "all"
        train(runs)
        for copy in ("one", "page"):  # draw.py adds a run to the latter
            shutil.copytree(runs / DEFAULT, work / copy / DEFAULT)
        of_all = stack.enter_context(serve_tensorboard(runs))
        of_one = stack.enter_context(serve_tensorboard(work / "one"))
        page = stack.enter_context(draw_page(work / "page", MNIST))
        wait_for(lambda: len(of_all("runs")) > 2 * len(RUNS) and len(of_one("runs")) == 2)
        browser = stack.enter_context(chromium(work / "profile", "--hide-scrollbars", "--lang=en"))
        at = {"all": of_all.address, "one": of_one.address, "page": page}
        for name in flags.names or PICTURES:
            PICTURES[name](browser, at, flags.folder)


if __name__ == "__main__":
    program(main)
