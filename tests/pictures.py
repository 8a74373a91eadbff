"""Take the pictures in docs/ again, with real runs, in a real browser.

python tests/pictures.py                 # all of them: trains for some minutes first
python tests/pictures.py graph hparams   # only these
python tests/pictures.py --runs FOLDER   # keeps the runs there, for the next time

Needs Chromium, and MNIST in the folder that MNIST_DATA names, or in MNIST_data/.
"""

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Python looks beside this file only

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from helpers import PROJECT, serve_tensorboard, wait_for

DOCS = PROJECT / "docs"
WIDTH, HEIGHT = 1400, 900
TWO_CARDS = 630  # the height of TensorBoard with one row of cards
# The runs that the pictures show, by the name of their folder.
RUNS = {
    "lr=0.0001,epochs=2000": [],
    "lr=0.001,epochs=2000": ["--learning_rate", "0.001"],
    "lr=1e-05,epochs=2000": ["--learning_rate", "0.00001"],
    "lr=0.1,epochs=100": ["--learning_rate", "0.1", "--epochs", "100"],
    "lr=0.0001,epochs=2000,softmax": ["--network", "softmax"],
}
DEFAULT = next(iter(RUNS))


def train(logdir):
    """Train the runs that are not in the log folder yet, and put the reference run beside them."""
    data_dir = os.environ.get("MNIST_DATA", PROJECT / "MNIST_data")
    for name, flags in RUNS.items():
        if not (logdir / name).exists():
            command = [sys.executable, PROJECT / "mnist.py", "--seed", "1", *flags]
            subprocess.run([*command, "--logdir", logdir, "--data_dir", data_dir], check=True)
    shutil.copytree(PROJECT / "mnist_example/reference", logdir / "reference", dirs_exist_ok=True)


# --------------------------------------------------------------------------------------- browser


@contextlib.contextmanager
def chromium():
    """Start a headless Chromium whose page is WIDTH x HEIGHT."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as profile:
        for flag in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--hide-scrollbars",
            "--lang=en",
            f"--user-data-dir={profile}",
        ]:
            options.add_argument(flag)
        browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield browser
        finally:
            browser.quit()


def resize(browser, width, height):
    """Give the page this size: of a window, the browser keeps a part for itself."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def settled(browser):
    """Return a picture of the page, once it has stayed the same for two seconds."""
    before, since = None, time.monotonic()

    def unchanged():
        nonlocal before, since
        now = browser.get_screenshot_as_png()
        if now != before:
            before, since = now, time.monotonic()
        return time.monotonic() - since > 2

    wait_for(unchanged)
    return Image.open(io.BytesIO(before)).convert("RGB")


def save(picture, name, height=HEIGHT):
    """Save the upper part of a picture in docs/, with as few colours as look the same."""
    picture = picture.crop((0, 0, picture.width, height))
    picture.quantize(128, dither=Image.Dither.NONE).save(DOCS / f"{name}.png", optimize=True)
    print(DOCS / f"{name}.png", flush=True)


# ------------------------------------------------------------------------------------ TensorBoard


def open_tab(browser, address, tab, needs, **query):
    """Open a tab of TensorBoard, and wait until what `needs`, a CSS selector, finds is there."""
    browser.get(f"{address}/index.js")  # where TensorBoard keeps its settings, and none is running
    browser.execute_script(
        "localStorage.setItem('_tb_global_settings', '{\"sideBarWidthInPercent\": 26}')"
    )
    browser.get(f"{address}/?{urllib.parse.urlencode(query)}#{tab}")
    wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, needs))


def open_curves(browser, address, runs, tags, **query):
    """Open the tab Time Series, with a filter on runs and one on tags, both regular expressions."""
    query = {"smoothing": 0.9, "runFilter": runs, "tagFilter": tags} | query
    open_tab(browser, address, "timeseries", "card-view line-chart", **query)
    settled(browser)


def tensorboard(browser, address):
    """The first thing to look at: both curves of one run."""
    open_curves(browser, address, f"^{DEFAULT}/", "^(accuracy|loss)$")
    save(settled(browser), "tensorboard", TWO_CARDS)


def late(browser, address):
    """Steps 1,000 to 2,000: a rectangle is dragged over that part of each chart."""
    open_curves(browser, address, f"^{DEFAULT}/", "^(accuracy|loss)$")
    for chart, (top, bottom) in zip(
        browser.find_elements(By.CSS_SELECTOR, "line-chart"),
        [(0.02, 0.3), (0.66, 0.86)],
        strict=True,
    ):
        width, height = chart.size["width"], chart.size["height"]
        actions = ActionChains(browser)
        actions.move_to_element_with_offset(chart, 0.08 * width, (top - 0.5) * height)
        actions.click_and_hold()
        actions.move_to_element_with_offset(chart, 0.42 * width, (bottom - 0.5) * height)
        actions.release().perform()
    ActionChains(browser).move_by_offset(0, 300).perform()  # away, for what it shows to vanish
    save(settled(browser), "late", TWO_CARDS)


def too_fast(browser, address):
    """What learning rate 0.1 does: the loss leaps, and the ReLUs die."""
    open_curves(browser, address, "^lr=0.1,", "^loss$|dead", smoothing=0)
    browser.find_element(By.CSS_SELECTOR, ".scalars-ignore-outliers input").click()
    save(settled(browser), "too-fast")


def moved(browser, address):
    """How far W and B of every layer have moved."""
    open_tab(
        browser,
        address,
        "timeseries",
        "card-view histogram-card",
        runFilter=f"^{DEFAULT}/train",
        tagFilter="moved",
    )
    save(settled(browser), "moved")


def compare(browser, address):
    """Many runs at once: only `test`, coloured by learning rate."""
    colours = "regex:lr=([^,]+)"
    open_curves(browser, address, "^lr.*test", "^(accuracy|loss)$", runColorGroup=colours)
    save(settled(browser), "compare", TWO_CARDS)


def hparams(browser, address):
    """The table of all runs."""
    open_tab(browser, address, "hparams", "tf-hparams-dashboard")
    save(settled(browser), "hparams")


def graph(browser, address):
    """The plan of all computations."""
    open_tab(
        browser, address, f"graphs&run={urllib.parse.quote(DEFAULT)}%2Ftrain", "tf-graph-dashboard"
    )
    save(settled(browser), "graph")


def images(browser, address):
    """The kernels at their start and at their end, and the mistakes."""
    open_tab(browser, address, "images", "tf-image-dashboard")
    save(settled(browser), "images")


TAKEN_OF_TENSORBOARD = [tensorboard, late, too_fast, moved, compare, hparams, graph, images]


def main():
    """Train what is needed and take the pictures that the command line names, or all."""
    pictures = {take.__name__.replace("_", "-"): take for take in TAKEN_OF_TENSORBOARD}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *pictures], help="which; all if left out")
    parser.add_argument("--runs", type=Path, help="a folder to keep the runs in")
    flags = parser.parse_args()
    with contextlib.ExitStack() as stack:
        logdir = flags.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        train(logdir)
        browser = stack.enter_context(chromium())
        resize(browser, WIDTH, HEIGHT)
        ask = stack.enter_context(serve_tensorboard(logdir))
        wait_for(lambda: len(ask("runs")) >= 2 * len(RUNS))
        for name in flags.names or pictures:
            pictures[name](browser, ask.address)


if __name__ == "__main__":
    main()
