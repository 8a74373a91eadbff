"""Take the pictures in docs/ again, with real runs, in a real browser.

    python tools/screenshots.py                 # all of them: trains for some minutes first
    python tools/screenshots.py graph hparams   # only these
    python tools/screenshots.py --runs FOLDER   # keeps the runs there, for the next time

Needs Chromium, and MNIST in the folder that MNIST_DATA names, or in MNIST_data/.
"""

import argparse
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

sys.path += [str(Path(__file__).resolve().parents[1] / part) for part in ["", "tests"]]

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from helpers import PROJECT, draw_server, serve_tensorboard, wait_for

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
MNIST = os.environ.get("MNIST_DATA", str(PROJECT / "MNIST_data"))
LANGUAGES = {"en": "", "zh-CN": ".zh-CN"}  # and how the names of their pictures end
SEVEN = [(0.33, 0.27), (0.5, 0.26), (0.66, 0.27), (0.58, 0.5), (0.5, 0.76)]  # from 0 to 1


def train(logdir):
    """Train the runs that are not in the log folder yet, and put the reference run beside them."""
    for name, flags in RUNS.items():
        if not (logdir / name).exists():
            command = [sys.executable, PROJECT / "mnist.py", "--seed", "1", *flags]
            subprocess.run([*command, "--logdir", logdir, "--data_dir", MNIST], check=True)
    shutil.rmtree(logdir / "reference", ignore_errors=True)
    shutil.copytree(PROJECT / "mnist_example/reference", logdir / "reference")


@contextlib.contextmanager
def only(logdir, run):
    """Copy a run into a log folder of its own, and yield that."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(logdir / run, Path(folder) / run)
        yield folder


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
    """Return a picture of the page, once it has looked the same for two seconds."""
    before, since = Image.new("RGB", (1, 1)), time.monotonic()

    def unchanged():
        nonlocal before, since
        now = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
        # Chromium draws the edges of letters a little otherwise each time.
        same = now.size == before.size and np.ptp(np.int16(now) - np.int16(before)) < 20
        if not same:
            before, since = now, time.monotonic()
        return time.monotonic() - since > 2

    wait_for(unchanged)
    return before


def save(picture, name, height=None):
    """Save a picture, or its upper part, in docs/, with as few colours as look the same."""
    picture = picture.crop((0, 0, picture.width, height or picture.height))
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
    open_curves(browser, address, "", "^(accuracy|loss)$")
    save(settled(browser), "tensorboard", TWO_CARDS)


def late(browser, address):
    """Steps 1,000 to 2,000: a rectangle is dragged over that part of each chart."""
    open_curves(browser, address, "", "^(accuracy|loss)$")
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
    """The mistakes, and the kernels."""
    open_tab(browser, address, "images", "tf-image-dashboard")
    save(settled(browser), "images")


# ----------------------------------------------------------------------------------------- the page


def open_page(browser, address, language, width, height, dark=False):
    """Open the page as somebody does who has never seen it."""
    resize(browser, width, height)
    features = [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
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


def draw(browser, address):
    """What the page looks like: a 1 at the edge, in both languages."""
    for language, ending in LANGUAGES.items():
        open_page(browser, address, language, 1280, 800)
        browser.find_element(By.ID, "edge").click()
        save(settled(browser), f"draw{ending}")


def inside(browser, address):
    """A 7 at the right edge and the same 7 in the middle: what it is most like, and a kernel."""
    for language, ending in LANGUAGES.items():
        for name, shift in [("inside-edge", 0.28), ("inside-middle", 0)]:
            open_page(browser, address, language, 1280, 800)
            trace(browser, [(x + shift, y) for x, y in SEVEN])
            browser.find_element(By.ID, "look").click()
            wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, "#similar .matches canvas"))
            settled(browser)
            scroll_to(browser, browser.find_element(By.ID, "look"))
            save(settled(browser), f"{name}{ending}")
        kernel = browser.find_elements(By.CSS_SELECTOR, "#conv .kernels button")[2]
        kernel.click()
        scroll_to(browser, kernel)
        save(settled(browser), f"inside-sum{ending}")


def scroll_to(browser, element):
    """Bring an element to the upper edge of the page."""
    browser.execute_script("arguments[0].scrollIntoView()", element)


# ------------------------------------------------------------------------------------ the terminal


def terminal(browser, address):
    """A run at 60% of its steps, as a terminal shows it."""
    lines = ["$ python mnist.py", *shown_until(" 60%")]
    style = (
        "body { margin: 0; background: #1e2430; color: #e8ebf5 }"
        "pre { margin: 20px; font: 14px/1.45 DejaVu Sans Mono, monospace }"
    )
    text = html.escape("\n".join(lines))
    page = f'<meta charset="utf-8"><style>{style}</style><pre>{text}</pre>'
    resize(browser, 1030, 122)
    browser.get(f"data:text/html,{urllib.parse.quote(page)}")
    save(settled(browser), "terminal")
    resize(browser, WIDTH, HEIGHT)


def shown_until(text):
    """Start the default run in a terminal and return the lines it shows once `text` is there."""
    ours, its = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, PROJECT / "mnist.py", "--logdir", "mnist_example"]
        command += ["--data_dir", MNIST]
        at = {"cwd": folder, "env": os.environ | {"COLUMNS": "117", "LINES": "24"}}
        with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, **at) as process:
            shown = ""
            while text not in shown:
                shown += os.read(ours, 10_000).decode(errors="replace")
            process.kill()
    return [line.rpartition("\r")[2] for line in shown.replace("\r\n", "\n").split("\n")]


OF_ONE_RUN = [tensorboard, late, moved, graph, images]
OF_ALL_RUNS = [too_fast, compare, hparams]
OF_THE_PAGE = [draw, inside]
PICTURES = {
    take.__name__.replace("_", "-"): take
    for take in [terminal, *OF_ONE_RUN, *OF_ALL_RUNS, *OF_THE_PAGE]
}


def main():
    """Train what is needed and take the pictures that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help=f"which, of {', '.join(PICTURES)}; else all")
    parser.add_argument("--runs", type=Path, help="a folder to keep the runs in")
    flags = parser.parse_args()
    with contextlib.ExitStack() as stack:
        logdir = flags.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        train(logdir)
        alone = stack.enter_context(only(logdir, DEFAULT))
        of_all, of_one = (stack.enter_context(serve_tensorboard(at)) for at in (logdir, alone))
        wait_for(lambda: len(of_all("runs")) > 2 * len(RUNS) and len(of_one("runs")) == 2)
        drawn = stack.enter_context(only(logdir, DEFAULT))  # draw.py adds a run
        page = stack.enter_context(draw_server.serving(drawn, MNIST))
        browser = stack.enter_context(chromium())
        resize(browser, WIDTH, HEIGHT)
        for name in flags.names or PICTURES:
            take = PICTURES[name]
            address = of_all.address if take in OF_ALL_RUNS else of_one.address
            take(browser, f"http://127.0.0.1:{page.port}" if take in OF_THE_PAGE else address)


if __name__ == "__main__":
    main()
