"""The page of draw.py in a real browser: what one draws, what is answered, and what is inside."""

import functools
import io
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import mnist
from helpers import PROJECT, forked, numpy_layers, saved_runs, variables, wait_for
from helpers.draw_server import serving
from helpers.forwarder import forwarding
from support import saved
from support.saved import GRAPH
from support.tensorflow1 import tf

selenium = pytest.importorskip("selenium.webdriver", reason="needs Selenium: pip install selenium")

SIDES = ["left", "right"]
SEVEN = [[(0.3, 0.25), (0.5, 0.25), (0.7, 0.25), (0.6, 0.5), (0.5, 0.8)]]
ROUNDED = 7e-4  # how far a number with three decimals may be from the network's own


# ------------------------------------------------------------------------------- runs and servers


@pytest.fixture(scope="session")
def logdir(tmp_path_factory, data_dir):
    """A folder with a short run of each network; the convolutional one reads nine of ten digits."""
    logdir = tmp_path_factory.mktemp("runs")
    for flags in ["--epochs 100", "--epochs 300 --network softmax"]:
        flags += f" --learning_rate 0.001 --seed 1 --logdir {logdir} --data_dir {data_dir}"
        mnist.main(flags.split())
    return logdir


@pytest.fixture(scope="session")
def server(logdir, data_dir):
    with serving(logdir, data_dir, own=logdir.with_name("own")) as process:
        yield process


@pytest.fixture
def copy(logdir, tmp_path):
    """A copy of the log folder, to be changed."""
    return Path(shutil.copytree(logdir, tmp_path / "copy"))


def plant(logdir, name, damaged=False, **record):
    """Copy the convolutional run to a new one, with some entries of its record changed."""
    part = shutil.copytree(found(logdir, "convolutional").folder, logdir.parent / name)
    original = json.loads((part / "run.json").read_text())
    changed = original | {"name": name, "started": time.time()} | record
    (part / "run.json").write_text(json.dumps(changed))
    for file in part.glob("model.ckpt-*.data*") if damaged else []:
        file.write_bytes(b"damaged")
    part.rename(logdir / name)


def found(logdir, network):
    return next(run for run in saved.find(logdir) if run.record.network == network)


def weights(logdir, network):
    return variables(found(logdir, network).checkpoint)


def layers(logdir, picture):
    """What NumPy makes of a picture: feature maps, pooled ones, neurons, logits."""
    return [answer[0] for answer in numpy_layers(weights(logdir, "convolutional"), picture)]


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The script axe-core, which looks for what keeps people from using a page."""
    folder, npm = tmp_path_factory.mktemp("axe"), shutil.which("npm")
    flags = ["install", "--silent", "--fetch-retries=0", "--prefix", folder, "axe-core@4"]
    if not npm or subprocess.run([npm, *flags]).returncode:
        pytest.skip("needs axe-core: npm and an internet connection")
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------ the browser


@pytest.fixture
def page(chromium, server):
    """The page, just opened, in a window of desktop size, nothing remembered."""
    return open_page(chromium, server.port)


def open_page(browser, port, width=1280, height=900, languages="en", forget=True, path="", **media):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    agent = {"userAgent": "Chromium", "acceptLanguage": languages}
    touch = {"enabled": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", touch)
    emulate(browser, **media)
    browser.execute_cdp_cmd("Emulation.setUserAgentOverride", agent)
    browser.get(f"http://127.0.0.1:{port}/{path}")
    if forget:
        browser.execute_script("localStorage.clear(); sessionStorage.clear()")
        browser.refresh()
    shown = [*[f".run[data-side={side}] p" for side in SIDES], "#own-says"]
    wait_for(lambda: all(text_of(browser, selector) for selector in shown))
    return browser


def emulate(browser, **media):
    """Set what the page's media queries find."""
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def all_of(page, selector):
    return page.find_elements("css selector", selector)


def text_of(page, selector):
    script = "return document.querySelector(arguments[0])?.textContent ?? ''"
    return page.execute_script(script, selector)


def is_shown(page, selector):
    script = "return document.querySelector(arguments[0]).getClientRects().length > 0"
    return page.execute_script(script, selector)


def press(page, *pressed):
    selenium.ActionChains(page).send_keys(*pressed).perform()


def on(page, action, selector, place=0):
    """Click, or focus, one of the elements."""
    script = f"document.querySelectorAll(arguments[0])[arguments[1]].{action}()"
    page.execute_script(script, selector, place)


def verdicts(page):
    """What the page answers: {(view, side): digit}, with "" before anything is drawn."""
    return {
        (card["view"], card["side"]): card["digit"]
        for card in page.execute_script("""
            return [...document.querySelectorAll(".card")].map(card =>
                ({...card.dataset, digit: card.querySelector(".digit").textContent}))""")
    }


def shares(page, view, side):
    """The ten probabilities that a card shows."""
    bars = all_of(page, f"[data-view={view}][data-side={side}] .bars i")
    styles = [bar.get_attribute("style") for bar in bars]
    return np.array([float(re.search(r"--probability: ([^;]+)", style)[1]) for style in styles])


def try_edge(page):
    on(page, "click", "#edge")
    wait_for(lambda: all(verdicts(page).values()))


def look_inside(page, view=0, side=0):
    """Open "Look inside", if it is not, for one of the views and one of the networks."""
    if not page.find_element("id", "look").get_property("open"):
        on(page, "click", "summary")
    on(page, "click", "#which-view label", view)
    on(page, "click", "#which-network label", side)
    shown = "#votes" if side else "#conv"
    wait_for(lambda: all_of(page, "#logits tbody tr") and is_shown(page, shown))


def choose_run(page, side, run):
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))"
    page.execute_script(script, all_of(page, f"[data-side={side}] select")[0], run)


def ink(page, selector, size):
    """The picture in a canvas, from 0 (paper) to 255 (ink)."""
    script = """
        const context = document.querySelector(arguments[0]).getContext("2d");
        const {data} = context.getImageData(0, 0, arguments[1], arguments[1]);
        return [...data].filter((_, n) => n % 4 === 3)"""
    return np.array(page.execute_script(script, selector, size)).reshape(size, size)


def paper(page):
    """The drawing, as the canvas shows it."""
    return ink(page, "#canvas", 840)


def reduced(page):
    """The drawing, reduced to what the networks see of it, from 0 (paper) to 255 (ink)."""
    return paper(page).reshape(28, 30, 28, 30).mean(axis=(1, 3))


def picture(page, view):
    """What the networks see of the drawing, from 0 (paper) to 1 (ink)."""
    return ink(page, f"#{['as-drawn', 'centred'][view]} .picture", 28) / 255


def numbers(page, selector):
    script = "return [...document.querySelectorAll(arguments[0])].map(part => part.textContent)"
    texts = page.execute_script(script, selector)
    plain = [text.replace("−", "-").replace(",", "").strip("<>%") for text in texts]
    return np.array([float(text) for text in plain])


def trace(page, strokes, kind="mouse"):
    """Draw lines, of points in 0 to 1, with events of a real mouse, finger or pen."""
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    pen = [PointerInput(kind, kind)]
    actions = selenium.ActionChains(page, duration=20, devices=pen).w3c_actions
    box = page.execute_script("return canvas.getBoundingClientRect()")
    for stroke in strokes:
        for place, (x, y) in enumerate(stroke):
            at = [round(box["x"] + x * box["width"]), round(box["y"] + y * box["height"])]
            actions.pointer_action.move_to_location(*at)
            if place == 0:
                actions.pointer_action.pointer_down()
        actions.pointer_action.pointer_up()
    actions.perform()


def event(page, kind, *points, **more):
    """Send an event of a mouse, a pen or fingers, at points from 0 to 1."""
    box = page.execute_script("return canvas.getBoundingClientRect()")
    places = box["width"] * np.reshape(points, (-1, 2)) + [box["x"], box["y"]]
    if kind.startswith("touch"):
        fingers = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places.tolist())]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    else:
        at = {"x": places[0, 0], "y": places[0, 1], "button": "left", "clickCount": 1}
        page.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **at, **more})


# ---------------------------------------------------------------------------- drawing and verdicts


@pytest.mark.parametrize("kind", ["mouse", "touch", "pen"])
def test_a_drawn_seven_is_read_by_all(page, logdir, kind):
    assert set(verdicts(page).values()) == {""} and len(verdicts(page)) == 4
    trace(page, SEVEN, kind)
    wait_for(lambda: np.abs(reduced(page) - 255 * picture(page, 0)).max() < 40)
    assert np.abs(reduced(page) - 255 * picture(page, 0)).mean() < 2
    assert verdicts(page)["centred", "left"] == "7"

    # What the page shows is what the networks make of the pictures that it shows.
    learned = weights(logdir, "softmax")
    for view, name in enumerate(["as-drawn", "centred"]):
        image = picture(page, view)
        right = image.ravel() @ learned["fc/Weights"] + learned["fc/Biases"]
        for side, logits in zip(SIDES, [layers(logdir, image)[3], right], strict=True):
            expected = saved_runs.softmax(logits)
            np.testing.assert_allclose(shares(page, name, side), expected, atol=1e-3)
            (wins,) = all_of(page, f"[data-side={side}][data-view={name}] .bars .wins")
            assert verdicts(page)[name, side] == wins.text == str(logits.argmax())


def test_a_seven_at_the_edge_is_misread_as_drawn_and_read_rightly_once_centred(mnist_data, page):
    try_edge(page)
    digits = verdicts(page)
    assert digits["as-drawn", "left"] != "7" and digits["as-drawn", "right"] != "7"
    assert digits["centred", "left"] == digits["centred", "right"] == "7"
    look_inside(page, side=1)  # it begins with the answer that centring gives
    wait_for(lambda: text_of(page, ".ballot:nth-child(2) h3") == "Why not a 7?")


def test_the_answer_and_look_inside_follow_the_pen(chromium, server, page):
    on(page, "click", "summary")
    wait_for(lambda: is_shown(page, "#inside-empty"))
    open_page(chromium, server.port, forget=False)  # "Look inside" stays open
    event(page, "mousePressed", (0.35, 0.25), buttons=1)
    event(page, "mouseMoved", (0.65, 0.25), buttons=1)
    wait_for(lambda: verdicts(page)["centred", "left"] and all_of(page, "#logits tbody tr"))
    before, inside = shares(page, "centred", "left"), numbers(page, "#logits td:nth-child(3)")
    event(page, "mouseMoved", (0.5, 0.8), buttons=1)
    wait_for(lambda: verdicts(page)["centred", "left"] == "7")
    assert (shares(page, "centred", "left") != before).any()
    wait_for(lambda: (numbers(page, "#logits td:nth-child(3)") != inside).any())
    event(page, "mouseReleased", (0.5, 0.8))
    on(page, "click", "#clear")
    wait_for(lambda: is_shown(page, "#inside-empty"))


def test_a_dot_and_a_line_that_leaves_the_paper(page):
    trace(page, [[(0.5, 0.5)]])  # a dot
    wait_for(lambda: all(verdicts(page).values()))
    assert paper(page)[400:440, 400:440].all() and picture(page, 0)[13:15].any()
    # A line that leaves the paper ends there, and goes on where the pen comes back.
    trace(page, [[(0.5, 0.5), (0.9, 0.5), (1.05, 0.5), (1.05, 0.9), (0.9, 0.9)]])
    inked = paper(page)[:, -60:].any(axis=1)
    assert inked[400:440].all() and inked[740:770].all() and not inked[480:700].any()


def test_keyboard(page):
    key = selenium.Keys
    on(page, "focus", "#canvas")
    press(page, *[key.ARROW_UP] * 14, key.SPACE, *[key.ARROW_DOWN] * 28, key.SPACE)
    wait_for(lambda: verdicts(page)["centred", "left"] == "1")
    wait_for(lambda: "Centred: Yours: Convolutional 1" in text_of(page, "#spoken"))
    before = paper(page)
    press(page, key.ARROW_LEFT)  # the pen is up
    assert (paper(page) == before).all()
    for clears in key.ESCAPE, key.DELETE, "c":
        try_edge(page)
        press(page, clears)
        wait_for(lambda: set(verdicts(page).values()) == {""})
        assert not paper(page).any()
    on(page, "focus", "#canvas")
    both = selenium.ActionChains(page, duration=0).send_keys(key.SPACE).key_down(key.ARROW_LEFT)
    for _ in range(10):
        both.key_down(key.ARROW_DOWN)
    both.key_up(key.ARROW_LEFT).key_up(key.ARROW_DOWN).send_keys(key.SPACE).perform()
    rows, columns = np.nonzero(paper(page))
    assert np.ptp(rows) > 150 and np.ptp(columns) > 150  # two keys together draw diagonally
    control(page, "c")
    assert paper(page).any()  # Ctrl-C copies, and clears nothing


def edges(page):
    """The first and the last column with ink, then such rows, from 0 to 280 as on the paper."""
    rows, columns = np.nonzero(paper(page) > 127)
    bounds = [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]
    return np.array(bounds) / 3


def centre_of_mass(page):
    """The centre of mass of the ink, from 0 to 280, as x and y."""
    inked = paper(page) > 127
    return [np.nonzero(inked)[axis].mean() / 3 for axis in (1, 0)]


def control(page, letter):
    control = selenium.Keys.CONTROL
    selenium.ActionChains(page).key_down(control).send_keys(letter).key_up(control).perform()


def dispatch(page, kind, point, **more):
    """Dispatch an event that Chromium's protocol does not have, at a point from 0 to 1."""
    script = """
        const [kind, [x, y], more] = arguments;
        const {left, top, width} = canvas.getBoundingClientRect();
        const at = {clientX: left + x * width, clientY: top + y * width, pointerId: 1};
        canvas.setPointerCapture = () => {};
        canvas.dispatchEvent(new PointerEvent(kind, {...at, isPrimary: true, ...more}));"""
    page.execute_script(script, kind, point, more)


def erase(page, *point):
    """Touch a point with the other end of a pen."""
    dispatch(page, "pointerdown", point, pointerType="pen", button=5, buttons=32)
    dispatch(page, "pointerup", point, pointerType="pen", button=5)


def columns(page):
    """Which tenths of the paper have ink, from left to right, as a text of digits."""
    inked = paper(page).reshape(840, 10, 84).any(axis=(0, 2))
    return "".join(map(str, np.flatnonzero(inked)))


def test_undo_takes_back_a_stroke_clear_the_edge_and_a_move(page):
    drawings = [paper(page)]
    erase(page, 0.5, 0.5)  # it changes nothing
    assert all_of(page, "#undo:disabled") and text_of(page, "#undo") != text_of(page, "#own-undo")

    def changes():
        yield trace(page, SEVEN)
        yield trace(page, [[(0.4, 0.5), (0.7, 0.5), (1.1, 0.5), (0.8, 0.5)]])  # leaves, comes back
        yield on(page, "click", "#clear")
        yield try_edge(page)
        yield on(page, "click", "#edge")  # back to the middle
        yield [on(page, "click", "#move"), trace(page, [[(0.5, 0.5), (0.4, 0.4)]])]
        yield press(page, "c")

    for _ in changes():
        drawings.append(paper(page))
        assert (drawings[-1] != drawings[-2]).any()
    for drawing in drawings[-2::-1]:
        control(page, "z") if drawing.any() else on(page, "click", "#undo")
        assert (paper(page) == drawing).all()
    assert all_of(page, "#undo:disabled")


def test_one_pointer_draws_while_it_is_down(page):
    held, pen = {"buttons": 1}, {"buttons": 1, "pointerType": "pen"}
    event(page, "mousePressed", (0.15, 0.2), **held)
    event(page, "mouseMoved", (0.15, 0.4), **held)
    dispatch(page, "pointermove", (0.45, 0.4), buttons=0)  # its button came up elsewhere
    event(page, "mouseMoved", (0.75, 0.4), **held)
    assert columns(page) == "1"
    event(page, "mousePressed", (0.15, 0.2), **held)
    on(page, "click", "#clear")
    event(page, "mouseMoved", (0.75, 0.4), **held)
    event(page, "mouseReleased", (0.75, 0.4))
    assert columns(page) == ""

    event(page, "touchStart", (0.15, 0.2))
    event(page, "touchStart", (0.15, 0.2), (0.75, 0.2))
    event(page, "touchMove", (0.15, 0.4), (0.75, 0.6))  # a second finger does not draw
    event(page, "touchCancel")
    assert columns(page) == "1"

    event(page, "touchStart", (0.75, 0.8))  # the hand comes first, then the pen
    event(page, "mousePressed", (0.45, 0.2), **pen)
    event(page, "touchMove", (0.85, 0.8))
    event(page, "mouseMoved", (0.45, 0.4), **pen)
    event(page, "mouseReleased", (0.45, 0.4), pointerType="pen")
    event(page, "touchEnd")
    trace(page, [[(0.75, 0.8), (0.85, 0.8)]], "touch")  # the hand is still there
    assert columns(page) == "14"

    erase(page, 0.45, 0.3)  # between two points of a stroke
    assert columns(page) == "1"
    on(page, "click", "#undo")
    assert columns(page) == "14"
    wait_for(lambda: trace(page, [[(0.75, 0.8)]], "touch") or columns(page) == "147")


def test_after_the_mouse_has_drawn_space_scrolls(page):
    on(page, "focus", "#languages input")
    press(page, selenium.Keys.TAB)
    assert is_shown(page, "#pen")
    for selector in "#canvas", "#clear":
        on(page, "focus", selector)
        trace(page, SEVEN)
        before = paper(page)
        assert not is_shown(page, "#pen")
        press(page, selenium.Keys.SPACE)
        wait_for(lambda: page.execute_script("return scrollY") > 0)
        assert (paper(page) == before).all() and before.any()
        page.execute_script("scrollTo({top: 0, behavior: 'instant'})")


@pytest.mark.parametrize("digit", [SEVEN, [[(0.2, 0.1), (0.2, 0.6)]]])
def test_a_drawing_is_moved_and_stays_whole(page, digit):
    trace(page, digit)
    drawn, (x, _) = edges(page), centre_of_mass(page)
    on(page, "click", "#edge")
    wait_for(lambda: all_of(page, "[data-text=middle]")[0].is_displayed())
    # The ink touches the border, or its centre of mass is 8 pixels from the paper's middle.
    to_edge = min(280 - drawn[1], 220 - x)
    np.testing.assert_allclose(edges(page), drawn + [to_edge, to_edge, 0, 0], atol=5)
    on(page, "click", "#edge")
    np.testing.assert_allclose(centre_of_mass(page), [140, 140], atol=5)
    middle = edges(page)
    height = middle[3] - middle[2]

    on(page, "click", "#move")
    trace(page, [[(0.5, 0.5), (0.4, 0.55)]])
    np.testing.assert_allclose(edges(page), middle + [-28, -28, 14, 14], atol=1)
    trace(page, [[(0.5, 0.9), (0.5, 0.05)]])
    np.testing.assert_allclose(edges(page), [*middle[:2] - 28, 0, height], atol=1)
    on(page, "focus", "#canvas")
    keys = selenium.ActionChains(page).key_down(selenium.Keys.SHIFT)
    keys.send_keys(selenium.Keys.ARROW_UP, *[selenium.Keys.ARROW_RIGHT] * 3)
    keys.key_up(selenium.Keys.SHIFT).perform()
    np.testing.assert_allclose(edges(page), [*middle[:2] + 2, 0, height], atol=1)
    wait_for(lambda: np.abs(reduced(page) - 255 * picture(page, 0)).max() < 40)


def test_a_drawing_outlives_a_reload(page):
    trace(page, [[(0.3011, 0.25), (0.6977, 0.2533), (0.5, 0.8)]])
    before = paper(page)
    strokes = json.loads(page.execute_script("return sessionStorage.drawing"))["strokes"]
    tenths = 10 * np.array(strokes[0])
    np.testing.assert_allclose(tenths, tenths.round(), atol=1e-9)
    assert (tenths.round() % 10).any()
    page.refresh()
    wait_for(lambda: all(verdicts(page).values()))
    assert (paper(page) == before).all()
    on(page, "click", "#clear")
    page.refresh()
    assert not paper(page).any()


# ------------------------------------------------------------------------------------------ photos

GIVE = """
    const [name, type, url] = arguments, done = arguments[3];
    fetch(url).then(answer => answer.blob()).then(blob => {
        const given = new DataTransfer(), init = {bubbles: true, cancelable: true};
        given.items.add(new File([blob], "photo.jpg", {type: "image/jpeg"}));
        const key = type === "ClipboardEvent" ? "clipboardData" : "dataTransfer";
        done(document.body.dispatchEvent(new window[type](name, {...init, [key]: given})));
    })"""


def test_photos_are_chosen_dropped_pasted_and_kept(chromium, copy, data_dir, tmp_path):
    examples = {path.stem: path for path in (PROJECT / "page/static/examples").iterdir()}
    own = tmp_path / "own"
    large = Image.open(examples["pen"]).resize((2400, 1800))
    large.save(tmp_path / "large.png")
    blank, bad = tmp_path / "blank.jpg", tmp_path / "bad.jpg"
    Image.new("L", (800, 600), 230).save(blank)
    bad.write_bytes(b"no picture")
    assert all(path.stat().st_size < 15_000 for path in examples.values())

    with serving(copy, data_dir, own=own) as process:
        page = open_page(chromium, process.port)
        choose = page.find_element("id", "photo-file").send_keys

        def shows(name):
            request = f"http://127.0.0.1:{process.port}/api/picture"
            answer = json.load(urllib.request.urlopen(request, examples[name].read_bytes()))
            views = [answer["plain"], answer["prepared"]]
            made = [np.reshape(view["picture"], (28, 28)) for view in views]
            wait_for(lambda: np.abs(255 * picture(page, 1) - made[1]).max() < 1)
            assert np.abs(255 * picture(page, 0) - made[0]).max() < 1
            digits = [str(np.argmax(shares)) for view in views for shares in view["answers"]]
            assert list(verdicts(page).values()) == digits
            assert ("was inverted" in text_of(page, "#photo-says")) == answer["inverted"]
            assert text_of(page, "#as-drawn-name") == "As it is" and is_shown(page, "#photo")

        for place, name in enumerate(["pen", "chalk", "squared"]):
            on(page, "click", "#examples button", place)
            shows(name)
        trace(page, SEVEN)  # drawing removes the photo
        wait_for(lambda: text_of(page, "#as-drawn-name") == "As drawn")
        assert not is_shown(page, "#photo") and text_of(page, "#photo-says") == ""
        wait_for(lambda: verdicts(page)["centred", "left"] == "7")
        choose(str(examples["squared"]))
        shows("squared")
        assert not paper(page).any()
        for name, kind, example in (
            ("drop", "DragEvent", "chalk"),
            ("paste", "ClipboardEvent", "pen"),
        ):
            url = f"/static/examples/{example}.jpg"
            untouched = page.execute_async_script(GIVE, name, kind, url)
            assert untouched == (name == "paste")  # the browser does not open what is dropped
            shows(example)
        assert not page.execute_async_script(GIVE, "dragover", "DragEvent", url)

        look_inside(page)
        wait_for(lambda: numbers(page, "#logits td:nth-child(4)").sum() > 99)
        plant(copy, "newer", started=time.time() + 60)  # it is asked about the photo too
        wait_for(lambda: "newer" in text_of(page, ".run[data-side=left] select"))
        shows("pen")
        prepared = np.round(255 * picture(page, 1))
        press(page, "5")
        wait_to_read(page, "so far: 1")
        [name] = kept(own)
        assert (np.asarray(Image.open(own / name)) == prepared).all() and name[0] == "5"
        assert not is_shown(page, "#photo")
        on(page, "click", "#own-undo")
        wait_to_read(page, "so far: 0")
        shows("pen")

        on(page, "click", "#clear")
        wait_for(lambda: set(verdicts(page).values()) == {""})
        choose(str(tmp_path / "large.png"))  # it is made smaller first
        wait_for(lambda: verdicts(page)["centred", "left"] == "5")
        width = page.execute_script("return document.getElementById('photo').width")
        assert width == 1200
        press(page, selenium.Keys.ESCAPE)
        for path, words in (blank, "no digit"), (bad, "not a picture"):
            choose(str(path))
            wait_for(lambda words=words: words in text_of(page, "#alarm"))
            assert set(verdicts(page).values()) == {""}


def test_the_largest_digit_in_a_photo_is_marked(page, tmp_path):
    sheet = Image.new("L", (800, 600), 230)
    for line in [(300, 100), (290, 500)], [(600, 200), (590, 450)]:
        ImageDraw.Draw(sheet).line(line, fill=40, width=30)
    sheet.save(tmp_path / "two.png")
    page.find_element("id", "photo-file").send_keys(str(tmp_path / "two.png"))
    wait_for(lambda: "several digits" in text_of(page, "#photo-says"))
    red = page.execute_script("""
        const {data} = photo.getContext("2d").getImageData(0, 0, 800, 600);
        return [...data.keys()].filter(at => at % 4 === 0 && data[at] > data[at + 1] + 60)""")
    rows, columns = np.divmod(np.array(red) // 4, 800)
    around = [columns.min(), rows.min(), columns.max(), rows.max()]
    np.testing.assert_allclose(around, [275, 98, 316, 501], atol=9)


# ---------------------------------------------------------------------------------------- the runs


def test_two_runs_side_by_side_a_weak_a_deleted_and_a_damaged_one(chromium, copy, data_dir):
    best = found(copy, "convolutional").record.name
    plant(copy, "weak", accuracy=0.1135, learning_rate=0.1)
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port)
        try_edge(page)
        assert "11%" in text_of(page, "[data-side=left] .weak")
        assert text_of(page, "[data-side=right] .weak") == ""
        on(page, "click", "[data-side=left] .best")
        wait_for(lambda: text_of(page, "[data-side=left] .weak") == "")
        choose_run(page, "right", "weak")
        wait_for(lambda: "11%" in text_of(page, "[data-side=right] .weak"))
        wait_for(lambda: verdicts(page)["centred", "right"] == verdicts(page)["centred", "left"])
        titles = [text_of(page, f".card[data-side={side}] h3") for side in SIDES]
        assert [title.replace("\u200b", "") for title in titles] == [
            f"Yours: {best}",
            "Compared: weak",
        ]
        assert f"{best} (learning rate" not in text_of(page, "[data-side=left] select")

        on(page, "focus", "[data-side=left] select")
        plant(copy, "newer", accuracy=0.87)
        wait_for(lambda: "newer" in text_of(page, "[data-side=right] select"))
        assert "newer" not in text_of(page, "[data-side=left] select")  # it may be open
        on(page, "focus", "#clear")
        assert "newer" in text_of(page, "[data-side=left] select")
        chosen = page.find_element("css selector", "[data-side=left] select")
        assert chosen.get_property("value") == best  # a choice by hand stays, whatever comes

        shutil.rmtree(copy / best)
        wait_for(lambda: best in text_of(page, "#notice") and "newer" in text_of(page, "#notice"))
        wait_for(lambda: chosen.get_property("value") == "" and all(verdicts(page).values()))
        assert "87.00%" in text_of(page, "[data-side=left] p")

        on(page, "click", "#languages label", 1)
        plant(copy, "damaged", damaged=True)
        wait_for(lambda: "无法读取" in text_of(page, "#notice"))
        wait_for(lambda: all(verdicts(page).values()) and text_of(page, "#alarm") == "")


def test_the_page_follows_a_run_in_training(chromium, copy, data_dir):
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port)
        trace(page, SEVEN)
        wait_for(lambda: all(verdicts(page).values()))
        flags = ["--logdir", copy, "--data_dir", data_dir, "--learning_rate", 0.001]
        flags += ["--kernels", 8, "--neurons", 128, "--epochs", 90_000]  # it is stopped in time
        training = forked.start(flags, changes={("support.run", "SAVE_EVERY"): 1})
        steps, answers = set(), set()

        def learns():
            facts = text_of(page, ".run[data-side=left] p")
            steps.update(re.findall(r"In training: step ([\d,]+) of 90,000", facts))
            answers.add(tuple(shares(page, "centred", "left")))
            digit = verdicts(page)["centred", "left"]
            return len(steps) >= 3 and len(answers) >= 3 and digit == "7"

        wait_for(learns, seconds=120)
        os.kill(training.pid, signal.SIGINT)
        training.join()
        last = f"Step {saved.find(copy)[0].record.step:,} of 90,000."
        wait_for(lambda: last in text_of(page, ".run[data-side=left] p"))


def test_the_page_says_that_the_server_has_gone_and_goes_on_later(chromium, logdir, data_dir):
    with serving(logdir, data_dir) as first:
        page = open_page(chromium, first.port)
        trace(page, SEVEN)
        wait_for(lambda: verdicts(page)["centred", "left"] == "7")
        digit = all_of(page, "[data-view=centred] .digit")[0]
        colour = digit.value_of_css_property("color")
        os.kill(first.pid, signal.SIGSTOP)  # the old verdicts are not those of the new line
        trace(page, [[(0.2, 0.9), (0.8, 0.9)]])
        wait_for(lambda: digit.value_of_css_property("color") != colour)
        os.kill(first.pid, signal.SIGCONT)
        on(page, "click", "#undo")
        wait_for(lambda: digit.value_of_css_property("color") == colour)
        on(page, "click", "#clear")
        os.kill(first.pid, signal.SIGINT)
        first.join()
    wait_for(lambda: "does not answer" in text_of(page, "#alarm"))
    on(page, "click", "#languages label", 1)
    assert "没有响应" in text_of(page, "#alarm")
    trace(page, SEVEN)
    assert set(verdicts(page).values()) == {""}
    with serving(logdir, data_dir, first.port):
        wait_for(lambda: text_of(page, "#alarm") == "" and verdicts(page)["centred", "left"] == "7")


def test_the_page_behind_a_forwarder(chromium, server, logdir, data_dir):
    """In a sub-path, with another Host; and what the page says if the forwarder answers itself."""
    html = b"<!DOCTYPE html><title>Log in</title>"
    with forwarding(server.port) as forwarder:
        page = open_page(chromium, forwarder.server_port, path="digits/")
        trace(page, SEVEN)
        wait_for(lambda: text_of(page, "#alarm").endswith("draw.py with --name 127.0.0.1."))
        with serving(logdir, data_dir, names=["127.0.0.1"]) as process:
            forwarder.behind = process.port
            page = open_page(chromium, forwarder.server_port, path="digits/")
            trace(page, SEVEN)
            wait_for(lambda: verdicts(page)["centred", "left"] == "7")
            look_inside(page)
            for status, kind, body, english, chinese in [
                (403, "text/html", html, "(status 403)", "（状态码 403）"),
                (403, "application/json", b'{"message": "no"}', "(status 403)", "（状态码 403）"),
                (200, "text/html", html, "(status 200)", "（状态码 200）"),
                (302, "text/html", html, "to log in", "需要登录"),
            ]:
                forwarder.instead = {"api/": (status, kind, body)}
                for language, words in (1, chinese), (0, english):
                    on(page, "click", "#languages label", language)
                    wait_for(lambda words=words: words in text_of(page, "#alarm"))
                forwarder.instead = {}
                wait_for(lambda: text_of(page, "#alarm") == "")
            for refused in "static/texts.js", "static/":  # what page.js imports; everything
                forwarder.instead = {refused: (403, "text/html", html)}
                chromium.get(f"http://127.0.0.1:{forwarder.server_port}/digits/")
                alarm = page.find_element("id", "alarm")
                wait_for(lambda alarm=alarm: "did not load" in alarm.text, seconds=6)


def test_a_drawing_that_looks_like_no_digit(page):
    page.execute_script("""
        const {fetch} = window;
        window.fetch = async (path, ...rest) => {
            const response = await fetch(path, ...rest);
            if (!path.includes("api/drawing") || !response.ok) return response;
            const answer = await response.json();
            answer["as-drawn"].unlike = [true, null];
            answer.centred.unlike = [false, null];
            return new Response(JSON.stringify(answer));
        };""")
    try_edge(page)
    assert [part.is_displayed() for part in all_of(page, ".unlike")] == [True, False, False, False]
    pale, *others = [part.value_of_css_property("color") for part in all_of(page, ".digit")]
    assert pale not in others and len(set(others)) == 1
    wait_for(lambda: "looks like no digit" in text_of(page, "#spoken"))
    assert len(re.findall("no digit", text_of(page, "#spoken"))) == 1


def test_a_share_is_not_rounded_to_all_or_nothing(page):
    shown = page.execute_async_script("""
        import('/static/texts.js').then(({percent, certainty}) => arguments[0]([
            percent(0.996), percent(1), percent(0.004), percent(0), percent(0.99996, 2),
            certainty(1), certainty(0, 1), certainty(0.5)]))""")
    assert shown == [">99%", "100%", "<1%", "0%", ">99.99%", ">99%", "<0.1%", "50%"]


def test_a_hidden_page_asks_nothing(page):
    page.execute_script("""
        const {fetch} = window;
        window.asked = 0;
        window.fetch = (...request) => { asked += 1; return fetch(...request); };
        Object.defineProperty(document, "hidden", {get: () => !window.seen});""")
    time.sleep(2.5)
    assert page.execute_script("return asked") == 0
    page.execute_script("window.seen = true")
    wait_for(lambda: page.execute_script("return asked") > 0)


# ------------------------------------------------------------------------------------- look inside


def test_the_sum_behind_a_number_is_the_networks_own(page, logdir, dice):
    learned = weights(logdir, "convolutional")
    try_edge(page)
    look_inside(page)
    image = picture(page, 0)
    maps, pooled, _, _ = layers(logdir, image)
    for place in range(6):
        kernel, inked = dice.randrange(16), dice.choice(np.argwhere(image > 0.5))
        row, column = map(int, inked if place % 2 else (dice.randrange(28), dice.randrange(28)))
        page.execute_script(POINT, kernel, row, column)
        assert text_of(page, "#sum .place") == f"Row {row + 1}, column {column + 1}"
        window = np.pad(image, 2)[row : row + 5, column : column + 5].ravel()
        its_weights = learned["conv/Weights"][:, :, 0, kernel].ravel()
        bias, products = learned["conv/Biases"][kernel], window * its_weights
        total = products.sum() + bias
        for selector, values in [
            ("[data-numbers=pixels] span", window),
            ("[data-numbers=weights] span", its_weights),
            ("[data-numbers=products] span", products),
            ("#sum dd", [products.sum(), bias, total, max(0, total)]),
            ("[data-numbers=pooling] .here", [maps[row, column, kernel]]),
            ("[data-numbers=pooling] .kept", [pooled[row // 2, column // 2, kernel]]),
        ]:
            np.testing.assert_allclose(numbers(page, selector), values, atol=ROUNDED)


POINT = """
    const [kernel, row, column] = arguments;
    const button = document.querySelectorAll(".kernel")[kernel];
    if (button.ariaExpanded === "false") button.click();
    const map = document.querySelectorAll("#sum canvas")[1], box = map.getBoundingClientRect();
    map.dispatchEvent(new PointerEvent("pointermove", {
        clientX: box.left + (column + .5) * box.width / 28,
        clientY: box.top + (row + .5) * box.height / 28}))"""


def test_a_kernel_opens_by_click_or_enter_where_it_answers_most(page, logdir):
    key = selenium.Keys
    try_edge(page)
    look_inside(page)
    maps, _, _, _ = layers(logdir, picture(page, 0))
    inked = np.pad(picture(page, 0), 2) > 0
    near_ink = np.lib.stride_tricks.sliding_window_view(inked, (5, 5)).any(axis=(2, 3))
    for kernel in 0, 9, 15:
        on(page, "click", ".kernel", kernel)
        row, column = (int(part) - 1 for part in re.findall(r"\d+", text_of(page, ".place")))
        answers = np.where(near_ink, maps[:, :, kernel], 0)
        assert near_ink[row, column]
        assert answers[row, column] == pytest.approx(answers.max(), abs=1e-4)
    on(page, "click", "#sum button")
    on(page, "focus", ".kernel", 2)
    assert not is_shown(page, "#sum")  # whoever walks past with Tab opens nothing
    press(page, key.ENTER)
    row, column = map(int, re.findall(r"\d+", text_of(page, ".place")))
    press(page, key.ARROW_LEFT, key.ARROW_LEFT, key.ARROW_UP)
    assert text_of(page, ".place") == f"Row {row - 1}, column {column - 2}"
    press(page, key.ESCAPE)
    assert not is_shown(page, "#sum") and paper(page).any()


def test_what_is_said_of_mnist_is_not_said_of_other_data(chromium, copy, data_dir):
    best = found(copy, "convolutional").record
    plant(copy, "mine", data="the files in /d/mine, which are not MNIST's official ones")
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port, languages="zh-CN")
        try_edge(page)
        look_inside(page)
        choose_run(page, "left", best.name)
        wait_for(lambda: is_shown(page, ".shift") == (best.data == "MNIST"))
        wait_for(lambda: is_shown(page, "#similar .middle"))
        assert not is_shown(page, ".placed")
        on(page, "click", "#clear")
        trace(page, SEVEN)  # it lies where the training digits lie
        wait_for(lambda: is_shown(page, ".placed") == (best.data == "MNIST"))
        wait_for(lambda: not is_shown(page, ".middle") and not is_shown(page, "#neurons .middle"))
        on(page, "click", "#clear")
        try_edge(page)
        wait_for(lambda: is_shown(page, "#similar .middle"))
        choose_run(page, "left", "mine")
        wait_for(lambda: not is_shown(page, ".shift") and not is_shown(page, "#similar .middle"))
        options = text_of(page, "[data-side=left] select")
        assert "/d/mine 中的文件" in options and "official" not in options


def test_a_run_that_was_trained_on_moved_digits(chromium, copy, data_dir):
    plain = found(copy, "convolutional").record.name
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port)
        try_edge(page)
        assert "--learning_rate=0.001 --shift=8" in text_of(page, "#edge-says")
        plant(copy, "moved", shift=8, own_digits=10, started=1)
        listed = "shift 8, 10 own digits in each batch"
        wait_for(lambda: listed in text_of(page, "[data-side=left] select"))
        look_inside(page)
        wait_for(
            lambda: is_shown(page, "#similar .middle") and len(all_of(page, ".match li")) == 12
        )
        assert not is_shown(page, "#similar .moved")
        at_the_edge = numbers(page, ".match li span")[0]
        on(page, "click", "#clear")
        try_edge(page)
        wait_for(lambda: "Compare with moved:" in text_of(page, "#edge-says"))
        choose_run(page, "left", "moved")
        choose_run(page, "right", plain)
        wait_for(lambda: "were not moved answers" in text_of(page, "#edge-says"))
        answers = [verdicts(page)["as-drawn", side] for side in SIDES]
        assert re.findall(r"answers (\d)\.", text_of(page, "#edge-says")) == answers
        wait_for(lambda: not is_shown(page, ".middle") and not is_shown(page, ".shift"))
        wait_for(lambda: "moved by up to 8 pixels" in text_of(page, "#similar .moved"))
        assert "moved by up to 8 pixels" in text_of(page, ".run[data-side=left] p")
        wait_for(lambda: numbers(page, ".match li span")[0] > at_the_edge)
        assert text_of(page, "#edge-says").startswith("The drawing is a 7.")
        trace(page, SEVEN)
        wait_for(lambda: not is_shown(page, "#edge-says"))
        on(page, "click", "#edge")  # the page does not know what this drawing is
        wait_for(lambda: text_of(page, "#edge-says").startswith("The network trained on"))


def test_networks_of_other_layers_and_dead_ones(chromium, copy, data_dir, monkeypatch):
    record = found(copy, "convolutional").record
    data = {"data": record.data, "data_dir": record.data_dir, "started": 2e9}
    large = saved_runs.random_weights(1, kernels=64, neurons=256)
    saved_runs.save(copy / "large", 1, large, **data)
    learned = saved_runs.random_weights(1)
    saved_runs.save(copy / "alive", 1, learned, **data)
    for layer in "conv", "fc1":
        dead = learned | {f"{layer}/Biases": learned[f"{layer}/Biases"] - 1000}
        saved_runs.save(copy / layer, 1, dead, **data)
    saved_runs.save(copy / "edited", 1, learned, **data)
    relu = tf.nn.relu
    other = {"hidden": tf.tanh}
    monkeypatch.setattr(tf.nn, "relu", lambda x, name=None: other.get(name, relu)(x, name=name))
    edited = saved_runs.meta_graph.__wrapped__("convolutional", 3, 8)
    (copy / "edited" / GRAPH).write_bytes(edited)
    saved_runs.save(copy / "old", 1, learned, **data)
    (copy / "old" / GRAPH).unlink()
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port)
        wait_for(lambda: "earlier version" in text_of(page, "#notice"))
        assert "old" not in text_of(page, "[data-side=left] select").split()
        try_edge(page)
        look_inside(page)
        choose_run(page, "left", "large")
        wait_for(lambda: len(all_of(page, ".kernel")) == 64)
        assert "Of 256 neurons" in text_of(page, "#neurons-say")
        for run in "conv", "alive", "fc1":
            choose_run(page, "left", run)
            wait_for(lambda run=run: ("dead" in text_of(page, "#dead")) == (run != "alive"))
        wait_for(lambda: "training digits: 8." in text_of(page, "#neurons-say"))
        choose_run(page, "left", "edited")
        wait_for(lambda: not is_shown(page, "#neurons"))
        assert is_shown(page, "#conv") and "Some layers" in text_of(page, "#dead")


def test_similar_digits_feature_maps_neurons_and_logits(page, logdir):
    try_edge(page)
    look_inside(page)
    wait_for(lambda: len(all_of(page, ".match li")) == 12)
    alike = numbers(page, ".match li span").reshape(2, 6)
    assert (np.diff(alike) <= 0).all() and alike[0, 0] < alike[1, 0]
    assert set(numbers(page, ".match:nth-child(2) b")) == {7}
    for view in 1, 0:
        look_inside(page, view)
        maps, pooled, hidden, logits = layers(logdir, picture(page, view))
        close = functools.partial(np.allclose, logits, atol=6e-3)
        wait_for(lambda close=close: close(numbers(page, "#logits td:nth-child(3)")))
        shown = numbers(page, "#logits td:nth-child(4)")
        np.testing.assert_allclose(shown, 100 * saved_runs.softmax(logits), atol=0.11)
        for kernel in 0, 7, 15:
            for child, size, values in (2, 28, maps), (3, 14, pooled):
                selector = f".kernel:nth-child({kernel + 1}) canvas:nth-child({child})"
                shown = ink(page, selector, size) / 255 * maps.max()
                np.testing.assert_allclose(shown, values[:, :, kernel], atol=maps.max() / 200)
        says = text_of(page, "#neurons-say").replace(",", "")
        neurons, inputs, active, _, silent = map(int, re.findall(r"\d+", says)[:5])
        assert (neurons, inputs) == (len(hidden), pooled.size) and active + silent == neurons
        # An activation that rounding makes 0 is shown as none.
        assert (hidden > hidden.max() / 1e4).sum() <= active <= (hidden > 0).sum()


def test_votes_add_up_to_the_logit_and_any_digit_can_be_asked_for(page, logdir):
    try_edge(page)
    look_inside(page, side=1)
    learned, image = weights(logdir, "softmax"), picture(page, 0).ravel()
    logits = image @ learned["fc/Weights"] + learned["fc/Biases"]
    for asked in [digit for digit in range(10) if digit != logits.argmax()]:
        on(page, "click", "#pick label", asked)
        assert all_of(page, "#pick :checked")[0].get_property("value") == str(asked)
        for ballot, digit in (1, logits.argmax()), (2, asked):
            votes = image * learned["fc/Weights"][:, digit]
            values = [votes[votes > 0].sum(), votes[votes < 0].sum(), learned["fc/Biases"][digit]]
            shown = numbers(page, f".ballot:nth-child({ballot}) dd")
            np.testing.assert_allclose(shown, [*values, logits[digit]], atol=1.5e-3)
            assert str(digit) in text_of(page, f".ballot:nth-child({ballot}) h3")


# ------------------------------------------------------------------------- the reader's own digits


def kept(folder):
    """The names of the pictures that are kept, in the order of time."""
    paths = sorted(folder.glob("*/*.png"), key=lambda path: path.name)
    return [f"{path.parent.name}/{path.name}" for path in paths]


def wait_to_read(page, words):
    wait_for(lambda: words in text_of(page, "#own-says"))


def test_a_press_keeps_the_centred_picture_and_undo_takes_it_back(chromium, copy, data_dir):
    own = copy.parent / "own"
    with serving(copy, data_dir, own=own) as process:
        page = open_page(chromium, process.port)
        press(page, "7")
        wait_to_read(page, "The paper is empty")
        try_edge(page)
        centred, read = picture(page, 1), verdicts(page)
        on(page, "focus", "select")
        press(page, "1")
        wait_to_read(page, "so far: 0")
        on(page, "focus", "#canvas")
        press(page, "1")
        wait_to_read(page, "so far: 1")
        assert all_of(page, "#undo:disabled")  # what was kept is taken back below, not here
        [name] = kept(own)
        assert name.startswith("1/") and not paper(page).any()
        assert (np.asarray(Image.open(own / name)) == np.round(255 * centred)).all()
        for side in SIDES:
            tally = [value.text for value in all_of(page, f".score[data-side={side}] dd")]
            for place, view in enumerate(["as-drawn", "centred"]):
                assert tally[place].startswith("1 of 1" if read[view, side] == "1" else "0 of 1")
            assert tally[2].split()[0] in text_of(page, f".run[data-side={side}] p")

        plant(copy, "learned", own_names=[name])  # the tally leaves out what a run learned from
        open_page(chromium, process.port)
        wait_for(lambda: "trained on them: 1." in text_of(page, ".score[data-side=left] p"))

        try_edge(page)
        on(page, "click", ".digits button", 4)
        wait_to_read(page, "so far: 2")
        on(page, "click", "#own-undo")
        wait_to_read(page, "so far: 1")
        assert kept(own) == [name] and not page.find_element("id", "own-undo").is_enabled()
        wait_for(lambda: (picture(page, 1) == centred).all())  # it is back, to be named rightly


def test_thirty_digits_are_asked_for(page, logdir):
    on(page, "click", "#own-round")
    for place in range(30):
        wait_to_read(page, f"digit {place % 10} ({place + 1} of 30)")
        assert text_of(page, ".digits .asked") == str(place % 10)
        if place == 12:  # it can be left, and goes on where it was
            on(page, "click", "#own-round")
            wait_to_read(page, "so far: 12")
            on(page, "click", "#own-round")
        try_edge(page)
        press(page, str(place % 10))
    wait_to_read(page, "--learning_rate=0.001 --own_digits=10")
    assert [name[0] for name in kept(logdir.with_name("own"))] == list("0123456789" * 3)


# ---------------------------------------------------------------------------- languages, and looks


def test_every_text_is_there_in_both_languages(page):
    texts = page.execute_async_script("import('/static/texts.js').then(arguments[0])")
    parts = all_of(page, "[data-text]")
    assert set(texts["CHINESE"]) == {part.get_attribute("data-text") for part in parts}
    for key, sentence in texts["SENTENCES"].items():
        assert set(sentence) == {"en", "zh"} and (all(sentence.values()) or key == "space")
        english, chinese = (set(re.findall(r"\{[a-z]+\}", text)) for text in sentence.values())
        assert english == chinese, key
    chinese = [sentence["zh"] for sentence in texts["SENTENCES"].values()]
    for text in [*chinese, *texts["CHINESE"].values()]:
        assert not re.search(r"[一-鿿][,;:?!()]|[,;:?!()][一-鿿]", text), text


def test_the_browsers_language_is_spoken(chromium, server):
    for languages, lang in ("zh-CN,en", "zh-CN"), ("zh-TW", "zh-CN"), ("en-GB", "en"), ("de", "en"):
        page = open_page(chromium, server.port, languages=languages)
        assert page.find_element("css selector", "html").get_attribute("lang") == lang
        assert ("数字" if lang == "zh-CN" else "digit") in page.title


def test_the_chosen_language_is_remembered_and_leaves_no_word_of_the_other(chromium, server, page):
    wait_for(lambda: text_of(page, "#spoken"))  # the last text to come
    english = all_of(page, "main")[0].get_attribute("innerText")
    on(page, "focus", "#languages input")
    press(page, selenium.Keys.ARROW_RIGHT)  # they are radio buttons
    wait_for(lambda: text_of(page, "#clear") == "清除")
    open_page(chromium, server.port, forget=False)
    try_edge(page)
    for side in 1, 0:
        look_inside(page, side=side)
        if side == 0:
            on(page, "click", ".kernel")
        said = page.execute_script("""
            const labels = [...document.querySelectorAll("[aria-label], [title]")]
                .flatMap(part => [part.ariaLabel ?? "", part.title]);
            return [document.body.innerText, ...labels].join(" ")""")
        words = re.findall(r"[A-Za-z]{2,}", re.sub(r"lr=\S+|English|“python .*?”", "", said))
        known = {"MNIST", "ReLU", "softmax", "logit", "Esc", "Ctrl", "Shift", "px", "own", "digits"}
        assert set(words) <= known
    on(page, "click", "#languages label", 0)
    wait_for(lambda: not re.search("[一-鿿]", all_of(page, "main")[0].text))
    on(page, "click", "summary")
    on(page, "click", "#clear")
    wait_for(lambda: all_of(page, "main")[0].get_attribute("innerText") == english)


WINDOWS = [
    (320, 800, "en", "light"),
    (360, 640, "zh-CN", "dark"),
    (390, 664, "en", "dark"),
    (390, 664, "zh-CN", "light"),
    (640, 400, "en", "light"),  # 1280 x 800, enlarged to 200%
    (844, 390, "zh-CN", "light"),  # a phone on its side
    (768, 1024, "en", "light"),
    (1280, 900, "en", "dark"),
]


@pytest.mark.parametrize("width, height, languages, scheme", WINDOWS)
def test_layout_contrast_and_motion(chromium, server, width, height, languages, scheme):
    media = {"prefers_color_scheme": scheme}
    media["prefers_reduced_motion"] = "reduce" if scheme == "dark" else "no-preference"
    page = open_page(chromium, server.port, width, height, languages, **media)
    canvas = page.find_element("id", "canvas").rect
    long_press = page.find_element("id", "canvas").value_of_css_property("user-select")
    assert canvas["width"] == canvas["height"] >= 220 and long_press == "none"
    assert 0 <= canvas["x"] <= width - canvas["width"]
    left, right = (all_of(page, f"[data-view=centred][data-side={side}]")[0].rect for side in SIDES)
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]
    for part in all_of(page, "select, #languages label") if width < 600 else []:
        assert part.rect["height"] >= 40  # for a finger
    for line in page.execute_script(LINES):
        assert contrast(*line) >= 3
    try_edge(page)
    # While one draws, the paper and all answers are on the screen, and the paper stays in place.
    assert page.find_element("id", "canvas").rect == canvas
    for part in all_of(page, "#canvas, .card .digit, .card .sure, .card .bars, .card .unlike"):
        if part.is_displayed():  # on a small screen, doubt takes the place of the bars
            assert part.rect["y"] + part.rect["height"] <= height and part.text != "–"
    for side in 1, 0:
        look_inside(page, side=side)
        if side == 0:
            on(page, "click", ".kernel", 3)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width

    moves = page.execute_script("""
        document.querySelector(".run p").classList.add("learning");
        return document.getAnimations().length > 0""")
    assert moves == (scheme == "light")

    ground, *pairs = page.execute_script("""
        const ground = getComputedStyle(document.body).backgroundColor;
        return [ground, ...[...document.querySelectorAll(".numbers span:not(.outside)")]
            .map(part => getComputedStyle(part))
            .map(style => [style.color, style.backgroundColor])]""")
    assert (luminance(ground) > 0.5) == (scheme == "light")
    assert max(numbers(page, "[data-numbers=pixels] span")) == 1
    for pair in pairs:
        assert contrast(*pair) >= 4.5, pair

    if width == 1280:  # beside the layers, the paper and the verdicts stay
        page.execute_script("document.querySelector('#logits').scrollIntoView()")
        short, bottom = page.execute_script("""
            const part = document.querySelector("#in-short");
            return [part.textContent, part.getBoundingClientRect().bottom]""")
        assert verdicts(page)["centred", "right"] in short and 0 < bottom < height

    # When colours are forced, all bars keep theirs. (A picture may be older than the change.)
    emulate(page, forced_colors="active", **media)
    for bar in ".bars .wins", ".wins .bar i", ".scale i":
        part = next(part for part in all_of(page, bar) if part.is_displayed())
        wait_for(lambda part=part: has_colour(part.screenshot_as_png))


def has_colour(picture):
    shown = Image.open(io.BytesIO(picture)).convert("RGB")
    return np.ptp(np.array(shown, int), axis=2).max() > 30


@pytest.mark.parametrize(
    "width, height, languages, scheme", [*WINDOWS[:2], *WINDOWS[-1:], (1280, 900, "en", "light")]
)
@pytest.mark.parametrize("forced", ["none", "active"])
def test_axe_finds_nothing(chromium, server, axe, width, height, languages, scheme, forced):
    media = {"prefers_color_scheme": scheme, "forced_colors": forced}
    page = open_page(chromium, server.port, width, height, languages, **media)
    page.execute_script(axe)
    assert page.execute_async_script(AXE) == []  # an empty paper
    for prepare in (
        lambda: try_edge(page),
        lambda: look_inside(page),
        lambda: on(page, "click", ".kernel", 3),
        lambda: look_inside(page, side=1),
    ):
        prepare()
        assert page.execute_async_script(AXE) == []


AXE = """
    axe.run().then(({violations}) => arguments[0](violations.map(({id, nodes}) =>
        [id, ...nodes.map(({html, failureSummary}) => html + failureSummary)])))"""

# The colours of the lines around what one can use, and of what is beside them.
LINES = """
    const lines = [["select", "borderColor"], ["#clear", "borderColor"], [".frame", "borderColor"],
        ["#languages span", "borderColor"], [".digit", "color"]];
    const grounds = [document.body, document.querySelector(".card")].map(
        part => getComputedStyle(part).backgroundColor);
    return lines.flatMap(([part, name]) => grounds.map(
        ground => [getComputedStyle(document.querySelector(part))[name], ground]))"""


def contrast(*colours):
    """The contrast of two colours, as WCAG defines it."""
    darker, lighter = sorted(map(luminance, colours))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    """The relative luminance, as WCAG defines it, of "rgb(..)" or "color(srgb ..)"."""
    shares = np.array(re.findall(r"[\d.]+", colour)[:3], float)
    shares = shares if "srgb" in colour else shares / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_the_page_is_quiet_and_asks_no_other_host(page, server):
    page.get_log("browser"), page.get_log("performance")
    page.get(f"http://127.0.0.1:{server.port}/")
    wait_for(lambda: text_of(page, ".run p"))
    try_edge(page)
    look_inside(page)
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    requests = [event for event in events if event["method"] == "Network.requestWillBeSent"]
    here = (f"http://127.0.0.1:{server.port}/", "data:")
    assert requests
    assert all(event["params"]["request"]["url"].startswith(here) for event in requests)


def test_words_stand_in_the_page_before_any_script_runs(chromium, server):
    address = f"http://127.0.0.1:{server.port}/"
    assert not re.search(r'(src|href)="/', urllib.request.urlopen(address).read().decode())
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chromium.get(address)
        said = chromium.find_element("css selector", "body").text
        for words in "at the edge fool", "one digit", "Clear", "As drawn", "Look inside", "需要":
            assert words in said
        wait_for(lambda: "does not run" in chromium.find_element("id", "alarm").text, seconds=5)
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
