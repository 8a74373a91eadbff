"""The page of draw.py in a real browser: what one draws, what is answered, and what is inside."""

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

import input_data
import mnist
from support import run as runs
from support.tensorflow1 import tf

import numpy as np
import pytest

from helpers import forked, numpy_layers, saved_runs, wait_for

SEVEN = [[(0.3, 0.25), (0.5, 0.25), (0.7, 0.25), (0.6, 0.5), (0.5, 0.8)]]


# ------------------------------------------------------------------------------- runs and servers


@pytest.fixture(scope="session")
def logdir(tmp_path_factory, data_dir):
    """A folder with a short run of each network; the convolutional one reads nine of ten digits."""
    logdir = tmp_path_factory.mktemp("runs")
    for flags in ["--epochs 100", "--epochs 300 --network softmax"]:
        train(logdir, data_dir, f"--learning_rate 0.001 --seed 1 {flags}")
    return logdir


def train(logdir, data_dir, flags):
    mnist.main([*flags.split(), "--logdir", str(logdir), "--data_dir", str(data_dir)])


@contextlib.contextmanager
def serving(logdir, data_dir, port=0, changes=()):
    """draw.py from when it has printed its address (`.port`), with everything imported before.

    changes: see forked.main.
    """
    flags = ["--logdir", logdir, "--data_dir", data_dir, "--port", port]
    with tempfile.NamedTemporaryFile("r") as said:
        changes = {("input_data", "MIRRORS"): []} | dict(changes)
        process = forked.start(flags, said.name, changes, program="draw")
        try:
            wait_for(lambda: "Draw at" in Path(said.name).read_text() or not process.is_alive())
            process.port = int(re.search(r"http://[^ ]+:(\d+)/ ", said.read())[1])
            yield process
        finally:
            process.kill()
            process.join()


@pytest.fixture(scope="session")
def server(logdir, data_dir):
    with serving(logdir, data_dir) as process:
        yield process


@pytest.fixture
def copy(logdir, tmp_path):
    """A copy of the log folder, to be changed."""
    return Path(shutil.copytree(logdir, tmp_path / "copy"))


def plant(logdir, name, **record):
    """Copy the convolutional run to a new one, with some entries of its record changed."""
    source = found(logdir, "convolutional")["folder"]
    shutil.copytree(source, logdir / name)
    told = json.loads((source / "run.json").read_text())
    (logdir / name / "run.json").write_text(json.dumps(told | {"started": time.time()} | record))


def found(logdir, network):
    return next(run for run in runs.find(logdir) if run["network"] == network)


def weights(logdir, network):
    reader = tf.train.load_checkpoint(found(logdir, network)["checkpoint"])
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def layers(logdir, picture):
    """What NumPy makes of a picture: feature maps, pooled ones, neurons, logits."""
    answers = numpy_layers(weights(logdir, "convolutional"), picture.reshape(1, 784))
    return [answer[0] for answer in answers]


# ------------------------------------------------------------------------------------ the browser


@pytest.fixture
def page(chromium, server):
    """The page, just opened, in a window of desktop size, nothing remembered."""
    return open_page(chromium, server.port)


def open_page(browser, port, width=1280, height=900, languages="en", forget=True, **media):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    agent = {"userAgent": "Chromium", "acceptLanguage": languages}
    browser.execute_cdp_cmd("Emulation.setUserAgentOverride", agent)
    browser.get(f"http://127.0.0.1:{port}/")
    if forget:
        browser.execute_script("localStorage.clear(); sessionStorage.clear()")
        browser.refresh()
    wait_for(lambda: all(text_of(browser, f"[data-side={side}] p") for side in ("left", "right")))
    return browser


def all_of(page, selector):
    return page.find_elements("css selector", selector)


def text_of(page, selector):
    return page.execute_script(
        "return document.querySelector(arguments[0])?.textContent ?? ''", selector
    )


def verdicts(page):
    """What the page answers: {(view, side): digit}, with "" before anything is drawn."""
    return {
        (card.get_attribute("data-view"), card.get_attribute("data-side")): card.find_element(
            "css selector", ".digit"
        ).text
        for card in all_of(page, ".card")
    }


def press(page, id):
    page.find_element("id", id).click()


def press_choice(page, group, place):
    page.execute_script(
        "document.querySelectorAll(arguments[0])[arguments[1]].click()", f"{group} button", place
    )


def try_edge(page):
    press(page, "edge")
    wait_for(lambda: all(verdicts(page).values()))


def look_inside(page, view=0, side=0):
    """Open "Look inside", if it is not, for one of the views and one of the networks."""
    look = page.find_element("id", "look")
    if look.get_attribute("aria-expanded") == "false":
        look.click()
    press_choice(page, "#which-view", view)
    press_choice(page, "#which-network", side)
    shown = "#votes" if side else "#conv"
    wait_for(lambda: all_of(page, "#logits tbody tr") and all_of(page, f"{shown}:not([hidden])"))


def choose_run(page, side, run):
    from selenium.webdriver.support.select import Select

    Select(page.find_element("css selector", f"[data-side={side}] select")).select_by_value(run)


def ink(page, selector, size):
    """The picture in a canvas, from 0 (paper) to 255 (ink)."""
    data = page.execute_script(
        "return [...document.querySelector(arguments[0]).getContext('2d')"
        ".getImageData(0, 0, arguments[1], arguments[1]).data].filter((_, n) => n % 4 === 3)",
        selector,
        size,
    )
    return np.array(data).reshape(size, size)


def picture(page, view):
    """What the networks see of the drawing, from 0 (paper) to 1 (ink)."""
    return ink(page, f".view:nth-child({view + 1}) .picture", 28) / 255


def numbers(page, selector):
    texts = page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(part => part.textContent)",
        selector,
    )
    return np.array([float(text.replace("−", "-").replace(",", "").strip("%")) for text in texts])


def trace(page, strokes, kind):
    """Draw lines, of points in 0 to 1, with events of a real mouse, finger or pen."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    left, top, size = page.execute_script(
        "const b = document.getElementById('canvas').getBoundingClientRect();"
        "return [b.left, b.top, b.width]"
    )
    actions = ActionBuilder(page, mouse=PointerInput(kind, kind), duration=20)
    for stroke in strokes:
        points = [(round(left + x * size), round(top + y * size)) for x, y in stroke]
        actions.pointer_action.move_to_location(*points[0]).pointer_down()
        for point in points[1:]:
            actions.pointer_action.move_to_location(*point)
        actions.pointer_action.pointer_up()
    actions.perform()


# ---------------------------------------------------------------------------- drawing and verdicts


@pytest.mark.parametrize("kind", ["mouse", "touch", "pen"])
def test_a_drawn_seven_is_read_by_all(page, logdir, kind):
    assert set(verdicts(page).values()) == {""} and len(verdicts(page)) == 4
    trace(page, SEVEN, kind)
    wait_for(lambda: verdicts(page)["centred", "left"] == "7")

    # What the page shows is what the networks make of the pictures that it shows.
    for view, name in enumerate(["as-drawn", "centred"]):
        image, softmax = picture(page, view), weights(logdir, "softmax")
        logits = {
            "left": layers(logdir, image)[3],
            "right": image.ravel() @ softmax["fc/Weights"] + softmax["fc/Biases"],
        }
        for side, values in logits.items():
            powers = np.exp(values - values.max())
            bars = all_of(page, f"[data-side={side}][data-view={name}] [data-digit]")
            shown = [float(bar.get_attribute("data-probability")) for bar in bars]
            np.testing.assert_allclose(shown, powers / powers.sum(), atol=1e-3)
            assert verdicts(page)[name, side] == str(values.argmax())
            wins = ["wins" in bar.get_attribute("class") for bar in bars]
            assert np.flatnonzero(wins).tolist() == [values.argmax()]

    # The picture as drawn is the canvas, shrunk.
    shrunk = ink(page, "#canvas", 840).reshape(28, 30, 28, 30).mean(axis=(1, 3))
    difference = np.abs(shrunk - 255 * picture(page, 0))
    assert difference.mean() < 2 and difference.max() < 40


def test_a_one_at_the_edge_is_misread_as_drawn_and_read_rightly_once_centred(mnist_data, page):
    try_edge(page)
    by_button = verdicts(page)
    assert by_button["as-drawn", "left"] != "1" and by_button["as-drawn", "right"] != "1"
    assert by_button["centred", "left"] == by_button["centred", "right"] == "1"


def test_the_answer_follows_while_one_draws(page):
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = page.find_element("id", "canvas")
    ActionChains(page).move_to_element_with_offset(
        canvas, -60, -100
    ).click_and_hold().move_by_offset(110, 0).perform()
    wait_for(lambda: verdicts(page)["centred", "left"])
    bar = page.find_element("css selector", "[data-view=centred] [data-digit='7']")
    before = bar.get_attribute("data-probability")
    ActionChains(page).move_by_offset(-60, 220).perform()
    wait_for(lambda: verdicts(page)["centred", "left"] == "7")
    assert before != bar.get_attribute("data-probability")


def test_a_dot_is_seen_on_the_paper_as_in_the_picture(page):
    trace(page, [[(0.5, 0.5)]], "mouse")
    wait_for(lambda: all(verdicts(page).values()))
    assert ink(page, "#canvas", 840)[400:440, 400:440].all() and picture(page, 0)[13:15].any()


def test_a_line_that_leaves_the_paper_ends_there_and_goes_on_where_the_pen_returns(page):
    trace(page, [[(0.5, 0.5), (0.9, 0.5), (1.05, 0.5), (1.05, 0.9), (0.9, 0.9)]], "mouse")
    wait_for(lambda: all(verdicts(page).values()))
    inked = ink(page, "#canvas", 840)[:, -60:].any(axis=1)
    assert inked[400:440].all() and inked[740:770].all() and not inked[480:700].any()


def test_keyboard(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page.execute_script("document.getElementById('canvas').focus()")
    up, down = [Keys.ARROW_UP] * 14, [Keys.ARROW_DOWN] * 28
    ActionChains(page).send_keys(*up, Keys.SPACE, *down, Keys.SPACE).perform()
    wait_for(lambda: verdicts(page)["centred", "left"] == "1")
    wait_for(lambda: "Centred: Yours: Convolutional 1" in text_of(page, "#spoken"))
    for key in Keys.ESCAPE, Keys.DELETE, "c":
        try_edge(page)
        ActionChains(page).send_keys(key).perform()
        wait_for(lambda: set(verdicts(page).values()) == {""})
        assert not ink(page, "#canvas", 840).any()
    try_edge(page)
    ActionChains(page).key_down(Keys.CONTROL).send_keys("c").key_up(Keys.CONTROL).perform()
    assert ink(page, "#canvas", 840).any()  # Ctrl-C copies, and clears nothing


# ---------------------------------------------------------------------------------------- the runs


def test_runs_are_told_on_the_page(page, logdir):
    for side, network in ("left", "convolutional"), ("right", "softmax"):
        run = found(logdir, network)
        told, options = (text_of(page, f".run[data-side={side}] {tag}") for tag in ("p", "select"))
        for text in f"{run['accuracy']:.2%}", f"{run['images']:,}", f"{run['step']:,}":
            assert text in told
        assert run["run"] in options and "learning rate 0.001" in options
        assert f"{run['accuracy']:.2%} · {run['run']} (" in options
        assert f"{run['epochs']:,} steps" in options


def test_two_runs_side_by_side_and_a_weak_and_a_deleted_one(chromium, copy, data_dir):
    best = found(copy, "convolutional")["run"]
    plant(copy, "weak", accuracy=0.1135, learning_rate=0.1)
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port)
        try_edge(page)
        assert "11%" in text_of(page, "[data-side=left] .weak")
        assert text_of(page, "[data-side=right] .weak") == ""
        page.find_element("css selector", "[data-side=left] .best").click()
        wait_for(lambda: text_of(page, "[data-side=left] .weak") == "")
        choose_run(page, "right", "weak")
        wait_for(lambda: "11%" in text_of(page, "[data-side=right] .weak"))
        wait_for(lambda: verdicts(page)["centred", "right"] == verdicts(page)["centred", "left"])

        plant(copy, "newer", accuracy=0.87)  # a choice by hand stays, whatever comes
        wait_for(lambda: "newer" in text_of(page, "[data-side=left] select"))
        chosen = page.find_element("css selector", "[data-side=left] select")
        assert chosen.get_property("value") == best

        shutil.rmtree(copy / best)
        wait_for(lambda: best in text_of(page, "#notice") and "newer" in text_of(page, "#notice"))
        wait_for(lambda: chosen.get_property("value") == "" and all(verdicts(page).values()))
        assert "87.00%" in text_of(page, "[data-side=left] p")


def test_the_page_follows_a_run_in_training(chromium, copy, data_dir):
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port)
        trace(page, SEVEN, "mouse")
        wait_for(lambda: all(verdicts(page).values()))
        flags = ["--logdir", copy, "--data_dir", data_dir, "--learning_rate", 0.001]
        flags += ["--epochs", 9000]  # it is stopped in time
        training = forked.start(flags)
        steps, answers = set(), set()

        def learns():
            facts = text_of(page, ".run[data-side=left] p")
            steps.update(re.findall(r"In training: step ([\d,]+) of 9,000", facts))
            bar = ".card[data-side=left] [data-digit='7']"
            answers.add(page.find_element("css selector", bar).get_attribute("data-probability"))
            return (
                len(steps) >= 3 and len(answers) >= 3 and verdicts(page)["centred", "left"] == "7"
            )

        wait_for(learns, seconds=120)
        os.kill(training.pid, signal.SIGINT)
        training.join()
        last = f"Step {runs.find(copy)[0]['step']:,} of 9,000."
        wait_for(lambda: last in text_of(page, ".run[data-side=left] p"))


def test_the_page_tells_that_the_server_has_gone_and_goes_on_later(chromium, logdir, data_dir):
    with serving(logdir, data_dir) as first:
        page = open_page(chromium, first.port)
        os.kill(first.pid, signal.SIGINT)
        first.join()
    wait_for(lambda: "does not answer" in text_of(page, "#alarm"))
    press_choice(page, "#languages", 1)
    assert "没有回应" in text_of(page, "#alarm")
    trace(page, SEVEN, "mouse")
    assert set(verdicts(page).values()) == {""}
    with serving(logdir, data_dir, first.port):
        wait_for(lambda: text_of(page, "#alarm") == "" and verdicts(page)["centred", "left"] == "7")


# ------------------------------------------------------------------------------------- look inside


def test_look_inside_is_one_control_and_remembered(chromium, server, page):
    assert page.find_element("id", "inside").get_property("hidden")
    press(page, "look")
    assert page.find_element("id", "inside-empty").is_displayed()
    open_page(chromium, server.port, forget=False)
    try_edge(page)
    wait_for(lambda: all_of(page, "#logits tbody tr"))
    press(page, "look")
    assert not page.find_element("id", "inside").is_displayed()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_sum_behind_a_number_adds_up(chromium, server, logdir, dice, width):
    page = open_page(chromium, server.port, width)
    learned = weights(logdir, "convolutional")
    try_edge(page)
    look_inside(page)
    inked = np.argwhere(picture(page, 0) > 0.5)
    page.execute_script("document.querySelector('.kernel').click()")
    still = placed(page)
    for place in range(6):
        kernel = dice.randrange(16)
        row, column = dice.choice(inked) if place % 2 else (dice.randrange(28), dice.randrange(28))
        point_at(page, kernel, row, column)
        heading = f"Row {row + 1}, column {column + 1}"
        wait_for(lambda heading=heading: heading == text_of(page, ".sum .place"))

        assert placed(page) == still  # nothing jumps while one points
        pixels, kernels, products = (
            numbers(page, f"[data-numbers={name}] span")
            for name in ("pixels", "weights", "products")
        )
        window = np.pad(picture(page, 0), 2)[row : row + 5, column : column + 5]
        np.testing.assert_allclose(pixels, window.ravel(), atol=5.1e-4)
        np.testing.assert_allclose(
            kernels, learned["conv/Weights"][:, :, 0, kernel].ravel(), atol=5.1e-4
        )
        np.testing.assert_allclose(products, pixels * kernels, atol=2.1e-3)
        together, bias, total, relu = (
            numbers(page, f"[data-sum={name}] dd")[0]
            for name in ("products", "bias", "total", "relu")
        )
        assert round(products.sum(), 3) == together and round(together + bias, 3) == total
        weighted = window * learned["conv/Weights"][:, :, 0, kernel]
        exact = weighted.sum() + learned["conv/Biases"][kernel]
        assert total == pytest.approx(exact, abs=5.1e-4)
        assert bias == pytest.approx(learned["conv/Biases"][kernel], abs=5.001e-4)  # at any place
        assert relu == max(0, total)
        four = numbers(page, "[data-numbers=pooling] span")
        kept = numbers(page, "[data-numbers=pooling] .kept")
        assert [four.max()] == kept and relu == numbers(page, "[data-numbers=pooling] .here")[0]
        _, pooled, _, _ = layers(logdir, picture(page, 0))
        assert kept[0] == pytest.approx(pooled[row // 2, column // 2, kernel], abs=5.1e-4)


def placed(page):
    """Where the parts of a sum stand within it."""
    return page.execute_script("""
        const {left, top} = document.querySelector(".sum").getBoundingClientRect();
        return [...document.querySelectorAll(".sum :is(canvas, figure, dl, dl div)")]
            .map(part => part.getBoundingClientRect())
            .map(box => [box.left - left, box.top - top, box.width, box.height].map(Math.round))""")


def point_at(page, kernel, row, column):
    """Point at a place of a kernel's feature map, in its sum."""
    page.execute_script(
        """
        const [kernel, row, column] = arguments;
        const button = document.querySelectorAll(".kernel")[kernel];
        if (button.ariaExpanded === "false") button.click();
        const map = document.querySelectorAll(".sum canvas")[1];
        const box = map.getBoundingClientRect();
        map.dispatchEvent(new PointerEvent("pointermove", {bubbles: true,
            clientX: box.left + (column + .5) * box.width / 28,
            clientY: box.top + (row + .5) * box.height / 28}));""",
        kernel,
        int(row),
        int(column),
    )


def test_kernels_open_by_keyboard_and_arrows_move_the_place(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    try_edge(page)
    look_inside(page)
    page.execute_script("document.querySelectorAll('.kernel')[2].focus()")
    wait_for(lambda: all_of(page, ".sum"))
    row, column = map(int, re.findall(r"\d+", text_of(page, ".place")))
    ActionChains(page).send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_UP).perform()
    assert text_of(page, ".place") == f"Row {row - 1}, column {column - 2}"
    assert f"Row {row - 1}, column {column - 2}:" in text_of(page, ".sum [aria-live]")
    ActionChains(page).send_keys(Keys.ENTER).perform()
    assert not all_of(page, ".sum")


def test_a_click_on_a_kernel_opens_the_sum_where_it_answers_most(page, logdir):
    try_edge(page)
    look_inside(page)
    maps, _, _, _ = layers(logdir, picture(page, 0))
    inked = np.pad(picture(page, 0), 2) > 0
    near_ink = np.lib.stride_tricks.sliding_window_view(inked, (5, 5)).any(axis=(2, 3))
    for kernel in 0, 9, 15:
        page.find_elements("css selector", ".kernel canvas:nth-child(2)")[kernel].click()
        row, column = (int(part) - 1 for part in re.findall(r"\d+", text_of(page, ".place")))
        answers = np.where(near_ink, maps[:, :, kernel], 0)
        assert near_ink[row, column]
        assert answers[row, column] == pytest.approx(answers.max(), abs=1e-5)


def test_escape_or_its_button_closes_a_sum_and_the_drawing_stays(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    try_edge(page)
    look_inside(page)
    page.find_elements("css selector", ".kernel")[5].click()
    page.find_element("css selector", ".sum button").click()
    assert not all_of(page, ".sum")
    page.find_elements("css selector", ".kernel")[4].click()
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert not all_of(page, ".sum") and ink(page, "#canvas", 840).any()
    page.find_elements("css selector", ".kernel")[4].click()
    press(page, "look")  # a sum that is not to be seen keeps Esc from nothing
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert not ink(page, "#canvas", 840).any()


def test_the_choice_of_network_and_the_curve_follow_the_chosen_run(chromium, copy, data_dir):
    best, other = (found(copy, network)["run"] for network in ("convolutional", "softmax"))
    is_mnist = found(copy, "convolutional")["data"] == "MNIST"
    plant(copy, "weak", accuracy=0.1135)
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port)
        try_edge(page)
        look_inside(page)
        curve = page.find_element("css selector", ".shift")
        for run, name, has_curve in [
            (best, "Yours: Convolutional", True),
            ("weak", "Yours: Convolutional", False),
            (other, "Yours: Softmax regression", False),
        ]:
            choose_run(page, "left", run)
            assert text_of(page, "#which-network button") == name
            has_curve = has_curve and is_mnist
            wait_for(lambda shown=has_curve: curve.is_displayed() == shown)


def test_a_dead_network_is_called_dead(chromium, tmp_path, data_dir, logdir):
    softmax = found(logdir, "softmax")["folder"]
    shutil.copytree(softmax, tmp_path / softmax.name)
    learned = saved_runs.random_weights(1)
    saved_runs.save(tmp_path / "alive", 1, learned, started=1e9)
    for layer in "conv", "fc1":
        dead = learned | {f"{layer}/Biases": learned[f"{layer}/Biases"] - 1000}
        saved_runs.save(tmp_path / layer, 1, dead, started=2e9)
    with serving(tmp_path, data_dir) as process:
        page = open_page(chromium, process.port)
        try_edge(page)
        look_inside(page)
        for run in "conv", "alive", "fc1":
            choose_run(page, "left", run)
            wait_for(lambda run=run: ("dead" in text_of(page, "#dead")) == (run != "alive"))


def test_what_is_said_of_the_data_that_a_run_learned_from(chromium, copy, data_dir):
    foreign = "the files in /d/mine, which are not MNIST's official ones"
    plant(copy, "drawn", data=input_data.GENERATED)
    plant(copy, "mine", data=foreign)
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port, languages="zh-CN")
        try_edge(page)
        look_inside(page)
        for run, in_the_middle in [("drawn", True), ("mine", False), ("drawn", True)]:
            choose_run(page, "left", run)
            for place in "#similar .middle", "#neurons .edge":
                shown = functools.partial(text_of, page, place)
                wait_for(lambda: bool(shown()) == in_the_middle)  # noqa: B023 (it is asked at once)
        options = text_of(page, "[data-side=left] select")
        assert "/d/mine 中的文件" in options and "official" not in options


def test_layers_that_were_built_otherwise_are_not_shown(chromium, copy, data_dir):
    with serving(
        copy, data_dir, changes={("mnist", "convolutional_layer"): without_relu}
    ) as process:
        page = open_page(chromium, process.port)
        try_edge(page)
        page.find_element("id", "look").click()
        wait_for(lambda: "not those of mnist.py" in text_of(page, "#dead"))
        assert not all_of(page, "#conv:not([hidden]), #neurons:not([hidden]), #votes:not([hidden])")
        assert len(numbers(page, "#logits td:nth-child(3)")) == 10
        press_choice(page, "#which-network", 1)
        wait_for(lambda: all_of(page, "#votes:not([hidden])") and text_of(page, "#dead") == "")


def without_relu(images, size_in, size_out, name):
    """What a learner may make of mnist.convolutional_layer."""
    with tf.name_scope(name):
        W = tf.Variable(tf.zeros([5, 5, size_in, size_out]), name="Weights")
        B = tf.Variable(tf.zeros([size_out]), name="Biases")
        convolution = tf.nn.conv2d(images, W, strides=[1, 1, 1, 1], padding="SAME") + B
        return tf.nn.max_pool(convolution, ksize=2, strides=2, padding="SAME")


def test_a_run_that_was_made_anew_is_looked_at_anew(chromium, copy, data_dir):
    """Under the same name, and at the same step."""

    def make(seed):
        saved_runs.save(copy / "again", 1, saved_runs.random_weights(seed), started=2e9 + seed)
        return saved_runs.random_weights(seed)["conv/Biases"][0]

    first = make(1)
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port)
        try_edge(page)
        look_inside(page)
        page.execute_script("document.querySelector('.kernel').click()")
        bias = functools.partial(numbers, page, "[data-sum=bias] dd")
        wait_for(lambda: bias().size)
        assert bias()[0] == pytest.approx(first, abs=5.001e-4)
        shutil.rmtree(copy / "again")
        second = make(2)
        wait_for(lambda: bias().size and bias()[0] == pytest.approx(second, abs=5.001e-4))


def test_feature_maps_and_neurons_and_logits_are_the_networks_own(page, logdir):
    try_edge(page)
    for view in 1, 0:
        look_inside(page, view)
        maps, pooled, hidden, logits = layers(logdir, picture(page, view))
        scale = maps.max()
        wait_for(
            lambda logits=logits: np.allclose(
                numbers(page, "#logits td:nth-child(3)"), logits, atol=6e-3
            )
        )
        powers = np.exp(logits - logits.max())
        shares = numbers(page, "#logits td:nth-child(4)")
        np.testing.assert_allclose(shares, 100 * powers / powers.sum(), atol=0.11)
        for kernel in 0, 7, 15:
            for child, size, values in (2, 28, maps), (3, 14, pooled):
                selector = f".kernel:nth-child({kernel + 1}) canvas:nth-child({child})"
                shown = ink(page, selector, size) / 255 * scale
                np.testing.assert_allclose(shown, values[:, :, kernel], atol=scale / 200)
        active, neurons, silent = map(
            int, re.findall(r"[\d,]+", text_of(page, "#neurons .says").replace(",", ""))[:3]
        )
        assert neurons == len(hidden) and active + silent == neurons
        # An activation below half of a byte's step is shown as none.
        assert (hidden > hidden.max() / 250).sum() <= active <= (hidden > 0).sum()


def test_votes_add_up_to_the_logit_and_any_digit_can_be_asked_for(page, logdir):
    try_edge(page)
    look_inside(page, side=1)
    learned, image = weights(logdir, "softmax"), picture(page, 0).ravel()
    logits = image @ learned["fc/Weights"] + learned["fc/Biases"]
    for asked in [digit for digit in range(10) if digit != logits.argmax()]:
        press_choice(page, "#votes .pick", asked)
        for ballot, digit in (1, logits.argmax()), (2, asked):
            plus, minus, bias, logit = numbers(page, f".ballot:nth-child({ballot}) dd")
            assert str(digit) in text_of(page, f".ballot:nth-child({ballot}) h3")
            assert round(plus + minus + bias, 3) == logit
            assert logit == pytest.approx(logits[digit], abs=1e-3)
            votes = image * learned["fc/Weights"][:, digit]
            assert bias == pytest.approx(learned["fc/Biases"][digit], abs=5.001e-4)
            assert plus == pytest.approx(votes[votes > 0].sum(), abs=2e-3)
            assert minus == pytest.approx(votes[votes < 0].sum(), abs=2e-3)


def test_why_not_begins_with_the_answer_that_centring_gives(mnist_data, page):
    try_edge(page)
    look_inside(page, side=1)
    assert verdicts(page)["as-drawn", "right"] != verdicts(page)["centred", "right"] == "1"
    wait_for(lambda: text_of(page, ".ballot:nth-child(2) h3") == "Why not a 1?")


def test_similar_digits_of_both_views(page):
    try_edge(page)
    look_inside(page)
    wait_for(lambda: len(all_of(page, ".match li")) == 12)
    alike = numbers(page, ".match li span").reshape(2, 6)
    assert (np.diff(alike) <= 0).all() and alike[0, 0] < alike[1, 0]
    assert set(numbers(page, ".match:nth-child(2) b")) == {1}
    best = [f"{alike[view, 0]:.0f}%" for view in (0, 1)]
    sentence = text_of(page, "#similar .usual")
    assert all(share in sentence for share in best)


def test_the_inside_follows_the_pen(page):
    look_inside_empty = "#inside-empty:not([hidden])"
    press(page, "look")
    wait_for(lambda: all_of(page, look_inside_empty))
    try_edge(page)
    wait_for(lambda: all_of(page, "#logits tbody tr"))
    before = numbers(page, "#logits td:nth-child(3)")
    trace(page, SEVEN, "mouse")
    wait_for(lambda: (numbers(page, "#logits td:nth-child(3)") != before).any())
    press(page, "clear")
    wait_for(lambda: all_of(page, look_inside_empty))


@pytest.mark.parametrize("kernels, neurons", [(1, 1), (64, 100), (2, 4096)])
def test_other_widths(chromium, tmp_path, data_dir, logdir, kernels, neurons):
    softmax = found(logdir, "softmax")["folder"]
    shutil.copytree(softmax, tmp_path / softmax.name)
    widths = {"kernels": kernels, "neurons": neurons}
    saved_runs.save(tmp_path / "wide", 1, saved_runs.random_weights(1, **widths), started=2e9)
    with serving(tmp_path, data_dir) as process:
        page = open_page(chromium, process.port)
        try_edge(page)
        look_inside(page)
        assert len(all_of(page, ".kernel")) == kernels
        assert f" of {neurons:,}; " in text_of(page, "#neurons .says")
        logits = layers(tmp_path, picture(page, 0))[3]
        np.testing.assert_allclose(numbers(page, "#logits td:nth-child(3)"), logits, atol=6e-3)


# ---------------------------------------------------------------------------- languages, and looks


def test_every_text_is_there_in_every_language(page):
    languages, table = page.execute_async_script("""
        import("/texts.js").then(
            texts => arguments[0]([Object.keys(texts.LANGUAGES), texts.TEXTS]))""")
    assert languages == ["en", "zh-CN"]
    for key, texts in table.items():
        assert len(texts) == len(languages) and (all(texts) or key == "space"), key
        values = [sorted(re.findall(r"\{[a-z]+\}", text)) for text in texts]
        assert all(names == values[0] for names in values), key
        assert not re.search(r"[一-鿿][,;:?!()]|[,;:?!()][一-鿿]", texts[1]), key


@pytest.mark.parametrize(
    "languages, lang", [("zh-CN,en", "zh-CN"), ("zh-TW", "zh-CN"), ("en-GB", "en"), ("de", "en")]
)
def test_the_browsers_language_is_spoken(chromium, server, languages, lang):
    page = open_page(chromium, server.port, languages=languages)
    assert page.find_element("css selector", "html").get_attribute("lang") == lang
    title = "数字" if lang == "zh-CN" else "digit"
    assert title in page.title and title in text_of(page, "h1")


def test_the_chosen_language_is_remembered_and_leaves_no_word_of_the_other(chromium, server, page):
    press_choice(page, "#languages", 1)
    open_page(chromium, server.port, forget=False)
    try_edge(page)
    for side in 0, 1:
        look_inside(page, side=side)
        if not side:
            page.execute_script("document.querySelectorAll('.kernel')[0].focus()")
            wait_for(lambda: all_of(page, ".sum"))
        said = page.execute_script("""
            const labels = [...document.querySelectorAll("[aria-label], [title]")]
                .flatMap(part => [part.ariaLabel ?? "", part.title]);
            return document.body.innerText + "\\n" + labels.join("\\n")""")
        words = re.findall(r"[A-Za-z]{2,}", re.sub(r"lr=\S+|English", "", said))
        assert set(words) <= {"MNIST", "ReLU", "softmax", "logit", "Esc", "px"}
    press_choice(page, "#languages", 0)
    main = page.find_element("css selector", "main")
    wait_for(lambda: "Look inside" in main.text and not re.search("[一-鿿]", main.text))


def test_refusals_are_told_in_the_readers_language(chromium, copy, data_dir, tmp_path):
    plant(copy, "damaged")
    shutil.move(copy / "damaged", tmp_path)
    for file in (tmp_path / "damaged").glob("model.ckpt-*.data*"):
        file.write_bytes(b"damaged")
    with serving(copy, data_dir) as process:
        page = open_page(chromium, process.port, languages="zh-CN")
        press(page, "edge")
        wait_for(lambda: all(verdicts(page).values()))
        shutil.move(tmp_path / "damaged", copy)  # it is the newest now
        wait_for(lambda: "损坏" in text_of(page, "#notice"))
        wait_for(lambda: all(verdicts(page).values()) and text_of(page, "#alarm") == "")


def test_what_is_drawn_is_described_in_words(page):
    try_edge(page)
    for side in 0, 1:
        look_inside(page, side=side)
        silent = page.execute_script("""
            return [...document.querySelectorAll("[role=img], [role=group], select, .kernel")]
                .filter(part => part.checkVisibility() && !part.ariaLabel)
                .map(part => part.outerHTML)""")
        assert silent == []


@pytest.mark.parametrize(
    "width, scheme", [(360, "light"), (390, "dark"), (768, "light"), (1280, "dark")]
)
def test_layout(chromium, server, width, scheme):
    page = open_page(chromium, server.port, width, 800, prefers_color_scheme=scheme)
    canvas = page.find_element("id", "canvas").rect
    assert canvas["width"] == canvas["height"] >= 240
    assert 0 <= canvas["x"] <= width - canvas["width"]
    left, right = (
        page.find_element("css selector", f"[data-view=centred][data-side={side}]").rect
        for side in ("left", "right")
    )
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]
    ground, colour = page.execute_script(
        "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(canvas).color]"
    )
    ground, colour = (
        np.mean([int(number) for number in re.findall(r"\d+", text)[:3]])
        for text in (ground, colour)
    )
    assert (ground > 200 > 60 > colour) if scheme == "light" else (ground < 60 < 200 < colour)
    try_edge(page)
    for side in 1, 0:
        look_inside(page, side=side)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    page.execute_script("document.querySelectorAll('.kernel')[3].focus()")
    wait_for(lambda: all_of(page, ".sum"))
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_on_colours_can_be_read(chromium, server, scheme):
    page = open_page(chromium, server.port, prefers_color_scheme=scheme)
    try_edge(page)
    look_inside(page)
    page.find_elements("css selector", ".kernel")[3].click()
    colours = page.execute_script("""
        return [...document.querySelectorAll(".numbers span:not(.beside-picture)")]
            .map(part => getComputedStyle(part))
            .map(style => [style.color, style.backgroundColor])""")
    assert max(numbers(page, "[data-numbers=pixels] span")) == 1
    for pair in colours:
        darker, lighter = sorted(map(luminance, pair))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, pair


def luminance(colour):
    """The relative luminance, as WCAG defines it, of "rgb(..)" or "color(srgb ..)"."""
    shares = np.array(re.findall(r"[\d.]+", colour)[:3], float)
    shares = shares if "srgb" in colour else shares / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_reduced_motion(chromium, server, motion):
    page = open_page(chromium, server.port, prefers_reduced_motion=motion)
    moves = page.execute_script("""
        document.querySelector(".run p").classList.add("learning");
        return document.getAnimations().length""")
    assert (moves > 0) == (motion == "no-preference")


def test_the_page_is_quiet_and_asks_no_other_host(page, server):
    page.get_log("browser"), page.get_log("performance")
    page.get(f"http://127.0.0.1:{server.port}/")
    wait_for(lambda: text_of(page, "#runs p"))
    try_edge(page)
    look_inside(page)
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    addresses = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    here = (f"http://127.0.0.1:{server.port}/", "data:")
    assert addresses and all(address.startswith(here) for address in addresses)
