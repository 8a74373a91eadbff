"""What the tests share: the project's folder, real MNIST, generated digits, and mnist.py as a process."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent
from support import generated_digits

# With this proxy, at which nobody listens, no mirror can be reached, whether the machine has a network or not.
OFFLINE = {
    "https_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "no_proxy": "",
    "NO_PROXY": "",
}


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "slow: takes many seconds; `-m 'not slow'` leaves these tests out"
    )


@pytest.fixture(scope="session")
def mnist_data():
    """The folder with MNIST's four official files."""
    folder = os.environ.get("MNIST_DATA")
    if not folder:
        pytest.skip("needs real MNIST: set MNIST_DATA to the folder of its four files")
    return os.path.abspath(folder)


@pytest.fixture(scope="session")
def generated_data(tmp_path_factory):
    """A data folder without MNIST, where the generated digits are drawn already."""
    folder = tmp_path_factory.mktemp("data")
    generated_digits.load(str(folder))
    return str(folder)


@pytest.fixture
def start(tmp_path, generated_data):
    """Starts mnist.py as a user would, but offline, on generated digits unless told otherwise, logging to tmp_path."""
    processes = []

    def start(*flags, script=PROJECT / "mnist.py", data_dir=generated_data, **options):
        command = [
            sys.executable,
            str(script),
            "--data_dir",
            data_dir,
            "--logdir",
            str(tmp_path / "runs"),
            *flags,
        ]
        options = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "cwd": tmp_path,
        } | options
        options["env"] = os.environ | OFFLINE | options.get("env", {})
        process = subprocess.Popen(command, **options)
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


@pytest.fixture
def run(start):
    """Runs mnist.py to its end; returns its exit status, standard output and standard error."""

    def run(*flags, **options):
        process = start(*flags, **options)
        out, err = process.communicate(timeout=600)
        return process.returncode, out, err

    return run


@pytest.fixture
def run_here(tmp_path, generated_data, monkeypatch, capsys):
    """Does as `run` does, but in this process, which saves the seconds of importing TensorFlow."""
    import mnist

    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run_here(*flags, data_dir=generated_data):
        arguments = ["mnist.py", "--data_dir", data_dir, "--logdir", str(tmp_path / "runs"), *flags]
        monkeypatch.setattr(sys, "argv", arguments)
        status = 0
        try:
            mnist.main()
        except SystemExit as exit:
            status = exit.code
            if isinstance(
                status, str
            ):  # what Python does with a text: it prints it, and the status is 1
                print(status, file=sys.stderr)
                status = 1
        return status, *capsys.readouterr()

    return run_here


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A headless Chromium, driven by Selenium."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="needs Selenium: pip install selenium"
    )
    binary, driver = (
        shutil.which("chromium") or shutil.which("google-chrome"),
        shutil.which("chromedriver"),
    )
    if not binary or not driver:
        pytest.skip("needs Chromium and its driver: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1400,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()
