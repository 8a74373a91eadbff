"""What tests are given: data, mnist.py here or as a process, one TensorBoard, one browser, dice."""

import contextlib
import os
import random
import subprocess
import sys
import types
from pathlib import Path

import pytest

# NumPy reads this when it is imported. Where several processes share the cores, its threads wait
# for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["LANGUAGE"] = "en"  # whatever language the developer speaks

from helpers import OFFLINE, PROJECT, browser, serve_tensorboard
from support.terminal import Problem

# Windows has no fork and no pseudo-terminals, which these tests need.
FORKS = "continue draw download edits faults imports mnist page tensorboard terminal".split()
collect_ignore = [f"test_{name}.py" for name in FORKS] if os.name == "nt" else []


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, help="what the random tests begin with, to repeat a run")
    parser.addoption(
        "--thorough", action="store_true", help="try everything as often as README promises"
    )


def pytest_configure(config):
    if config.option.seed is None:
        config.option.seed = random.randrange(10**6)


def pytest_report_header(config):
    return f"random tests: --seed {config.option.seed} repeats them"


@pytest.fixture
def dice(request):
    """A random.Random, the same for the same test and the same --seed."""
    seed = request.config.option.seed
    print(f"--seed {seed}")  # pytest shows it if the test fails
    return random.Random(f"{seed} {request.node.nodeid}")


@pytest.fixture
def often(request):
    """How often to repeat: `often(few, all)` is few, or all with --thorough."""
    return lambda few, all: all if request.config.option.thorough else few


# ------------------------------------------------------------------------------------------ data


@pytest.fixture(scope="session")
def mnist_data():
    """The folder with MNIST's four official files."""
    folder = os.environ.get("MNIST_DATA")
    if not folder:
        pytest.skip("needs real MNIST: set MNIST_DATA to the folder of its four files")
    return os.path.abspath(folder)


@pytest.fixture(scope="session", autouse=True)
def drawing(request, tmp_path_factory):
    """The process that draws the generated digits, begun at once: it takes some seconds."""
    names = {name for test in request.session.items for name in test.fixturenames}
    if not {"generated_data", "data_dir"} & names:
        return None
    folder = str(tmp_path_factory.mktemp("data"))
    program = f"import input_data; input_data.read_data_sets({folder!r}, fake_data=True)"
    process = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT)
    process.folder = folder
    return process


@pytest.fixture(scope="session")
def generated_data(drawing):
    """A data folder without MNIST, where the generated digits are drawn already."""
    assert drawing.wait(timeout=300) == 0
    return drawing.folder


@pytest.fixture(scope="session")
def data_dir(request):
    """A folder of MNIST, or of generated digits where there is none."""
    has_mnist = os.environ.get("MNIST_DATA")
    return request.getfixturevalue("mnist_data" if has_mnist else "generated_data")


# --------------------------------------------------------------------------------------- mnist.py


@pytest.fixture
def run_here(tmp_path, generated_data, monkeypatch, capsys):
    """Run mnist.py to its end in this process, which saves the seconds of importing TensorFlow.

    Returns its exit status, standard output and standard error.
    """
    import mnist
    from support import terminal

    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run_here(*flags, data_dir=generated_data):
        folders = ["--data_dir", data_dir, "--logdir", tmp_path / "runs"]
        monkeypatch.setattr(sys, "argv", ["mnist.py", *map(str, [*folders, *flags])])
        with pytest.raises(SystemExit) as exit:
            terminal.program(mnist.main)
        return exit.value.code, *capsys.readouterr()

    return run_here


@pytest.fixture(scope="session", autouse=True)
def default_training(request, tmp_path_factory):
    """The process of default_run, begun at once: it trains beside the tests that come first."""
    needed = any("default_run" in test.fixturenames for test in request.session.items)
    if not needed or not os.environ.get("MNIST_DATA"):
        yield
        return
    logdir = tmp_path_factory.mktemp("default")
    folders = ["--data_dir", request.getfixturevalue("mnist_data"), "--logdir", logdir]
    process = subprocess.Popen(
        [sys.executable, PROJECT / "mnist.py", "--seed", "4", *folders],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=logdir,
        env=os.environ | OFFLINE,
    )
    with process:
        yield process
        process.kill()


@pytest.fixture(scope="session")
def default_run(mnist_data, default_training):
    """The default run on MNIST, trained once by `python mnist.py`: .folder, .out, .err.

    It has a seed, for tests that must not fail by chance: at step 500, where the curve still rises,
    TensorBoard's smoothing lags by 0.1 to 1.5 points with the seeds 0 to 5, by 0.1 with this one.
    """
    out, err = default_training.communicate(timeout=600)
    assert default_training.returncode == 0, err
    (folder,) = Path(default_training.args[-1]).iterdir()
    return types.SimpleNamespace(folder=folder, out=out, err=err)


# --------------------------------------------------------------------------- TensorBoard, browser


@pytest.fixture(scope="session")
def tensorboard(tmp_path_factory):
    """One TensorBoard for all tests: ask it as helpers.serve_tensorboard says.

    Its log folder is `.logdir`; with `.also_shown(folder, name)` it reads one more, as `name`/...
    """
    logdir = tmp_path_factory.mktemp("tensorboard")

    @contextlib.contextmanager
    def also_shown(folder, name):
        (logdir / name).symlink_to(folder, target_is_directory=True)
        try:
            yield
        finally:
            (logdir / name).unlink()

    with serve_tensorboard(logdir) as ask:
        ask.logdir, ask.also_shown = logdir, also_shown
        yield ask


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A headless Chromium, driven by Selenium."""
    try:
        with browser.chromium(tmp_path_factory.mktemp("chromium")) as driver:
            yield driver
    except Problem as missing:
        pytest.skip(str(missing))
