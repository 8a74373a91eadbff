"""What becomes of a run when something breaks it: it is killed, stopped, robbed of its disk, or not alone.

Whatever happens, no curve up to the last test is lost, nor what was learned up to the last quarter of the steps, and no
half-written file is trusted. Runs here are short, and their data is random. Where a `Run` is made, it tests every ten
steps, in a copy of a process that has TensorFlow imported (see forked.py).
"""

import contextlib
import gzip
import os
import pathlib
import pty
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import draw
import forked
import mnist
from conftest import PROJECT
from http_server import serve
from test_input_data import digests, small_set, write
from test_mnist import curve, events
from test_tensorboard import tensorboard, wait_for

CONTENTS = small_set(600, 300)
CONSTANTS = {
    ("mnist", "EVALUATE_EVERY"): 10,
    ("mnist", "HISTOGRAMS_EVERY"): 10,
    ("support.generated_digits", "TRAIN_SIZE"): 4000,
    ("support.generated_digits", "TEST_SIZE"): 500,
    ("input_data", "OFFICIAL"): digests(CONTENTS),
}
STEPS = 30
SEED = random.randrange(10**6)
dice = random.Random(SEED)  # the tests that use it print the seed
ROOT_ONLY = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a small disk"
)
pytestmark = pytest.mark.slow


class Run:
    """mnist.py in a process and a terminal of its own; `screen` is what the terminal has shown so far."""

    def __init__(self, logdir, data_dir, mirrors=(), steps=STEPS):
        self.logdir, self.quarter = logdir, 10 * max(1, round(steps / 10 / 4))
        self._ours, self._theirs = pty.openpty()
        flags = ["--logdir", logdir, "--data_dir", data_dir, "--epochs", steps]
        changes = CONSTANTS | {("input_data", "MIRRORS"): list(mirrors)}
        self.process = forked.start(flags, os.ttyname(self._theirs), changes)
        self.began = time.monotonic()
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(OSError):  # nobody has the terminal open any more
            while text := os.read(self._ours, 65536):
                self._shown += text

    @property
    def screen(self):
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def send(self, *signals):
        for number in signals:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.kill(self.process.pid, number)
            time.sleep(0.01)

    def end(self):
        """The exit status, once the process has ended."""
        self.process.join(120)
        assert self.process.exitcode is not None, f"it still runs: {self.screen}"
        os.close(self._theirs)
        self._reader.join()
        os.close(self._ours)
        assert "Traceback" not in self.screen
        return self.process.exitcode

    @property
    def folder(self):
        """The run's folder, or None if it has not said where it writes."""
        said = re.search(r"Writing to (.*)\n", self.screen)
        return self.logdir / os.path.basename(said[1]) if said else None

    @property
    def tested(self):
        """The step of the last test of which the progress bar has told, or None."""
        steps = re.findall(r"(\d+)/\d+ \[[^\]]*test accuracy", self.screen)
        return int(steps[-1]) // 10 * 10 if steps else None

    def wait_until_tested(self, step):
        deadline = time.monotonic() + 120
        while (self.tested or 0) < step:
            assert self.process.is_alive() and time.monotonic() < deadline, self.screen
            time.sleep(0.05)

    def wait_for(self, pattern):
        """Wait until a new file of this pattern comes up beside the logdir or within; False if the run ends before."""
        before = set(self.logdir.parent.glob(pattern))
        while self.process.is_alive():
            if set(self.logdir.parent.glob(pattern)) - before:
                return True
            time.sleep(0.0005)
        return False


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """The address of a server that delivers the small set, each file in the course of 0.2 seconds."""
    folder = tmp_path_factory.mktemp("served")
    write(folder, CONTENTS)
    with serve(folder) as server:
        yield f"{server.address}/drip/"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write(folder, CONTENTS)
    return folder


def checkpoints(folder):
    """The checkpoints in a folder, as {step: weights}; each can be read, whole."""
    found = {}
    for index in folder.glob("model.ckpt-*.index"):
        reader = mnist.tf.train.load_checkpoint(
            str(index).removesuffix(".index")
        )  # checks what it reads by CRC-32C
        weights = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        assert set(weights) >= {"fc1/Weights", "fc2/Biases"} and all(
            np.isfinite(w).all() for w in weights.values()
        )
        found[int(index.stem.rpartition("-")[2])] = weights
    return found


def check_what_is_left(run):
    """Assert that a run's folder holds its curves and a checkpoint; returns the step of its last test.

    A run that was killed amid its last test may have written a part of it; all before is there, and so is what the
    progress bar has told of.
    """
    if run.folder is None or not (run.folder / "test").exists():
        return None
    test, train = events(run.folder / "test"), events(run.folder / "train")
    if "accuracy" not in test.Tags()["scalars"]:
        assert run.tested is None
        return None
    steps = list(curve(run.folder / "test", "accuracy"))
    last = steps[-1]
    assert steps == list(curve(run.folder / "test", "loss"))
    assert steps[:-1] == list(range(0, last, 10))
    assert run.tested is None or last >= run.tested
    whole = max(last - 10, -1 if run.tested is None else run.tested)
    trained = [event.step for event in train.Scalars("loss")] if whole >= 10 else []
    assert set(trained) >= set(range(10, whole + 1, 10))
    if whole >= 0:
        for tag in ["conv/Weights", "fc1/Weights", "fc2/Biases"]:
            assert {event.step for event in train.Histograms(tag)} >= set(range(0, whole + 1, 10))
    before = (last - 1) // run.quarter * run.quarter
    assert before <= 0 or max(checkpoints(run.folder)) >= before
    return last


def check_data(folder):
    """Assert that every file in a data folder that a run would trust is whole."""
    for path in folder.glob("*"):
        if path.name.removesuffix(".gz") in CONTENTS:
            assert gzip.decompress(path.read_bytes()) == CONTENTS[path.name.removesuffix(".gz")]
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                assert [len(array) for array in arrays.values()] == [4000, 4000, 500, 500]


def fill(disk):
    with open(disk / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass


@contextlib.contextmanager
def small_disk(folder, size):
    """Mounts a disk of that size in a folder."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]).returncode:
        pytest.skip("this machine does not let root mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def check_tensorboard(logdir):
    """Assert that TensorBoard shows every run in the folder as far as it came, and nothing else."""
    curves = {}
    for part in logdir.glob("*/t*"):
        if part.name in ("train", "test") and "accuracy" in events(part).Tags()["scalars"]:
            curves[part.relative_to(logdir).as_posix()] = curve(part, "accuracy")
    with tensorboard(logdir) as ask:

        def all_there():
            tags = ask("plugin/scalars/tags")
            return set(tags) == set(curves) and all(
                "accuracy" in of_run for of_run in tags.values()
            )

        wait_for(all_there, 60)
        for run, points in curves.items():
            shown = {
                step: value
                for _, step, value in ask("plugin/scalars/scalars", run=run, tag="accuracy")
            }
            assert shown == pytest.approx(points)
        for run in ask("plugin/projector/runs"):
            (config,) = ask("plugin/projector/info", run=run)["embeddings"]
            points = ask(
                "plugin/projector/tensor", run=run, name=config["tensorName"], parsed=False
            )
            assert len(points) == 4 * np.prod(config["tensorShape"])


# ------------------------------------------------------------------------------------------------ killed and stopped


def test_killed_at_twenty_moments(tmp_path, mirror):
    logdir = tmp_path / "runs"
    whole = Run(logdir, tmp_path / "data", mirrors=[mirror])
    assert whole.end() == 0
    duration = time.monotonic() - whole.began
    assert check_what_is_left(whole) == STEPS
    # Fourteen anywhere; six when a file of a certain kind comes up, so that none of the short moments is left out.
    moments = [dice.uniform(0, 0.8 * duration) for _ in range(14)]
    moments += ["*/tmp*", "*/generated*.tmp"] + [
        f"runs/*/{file}" for file in ["test/events*", "model.ckpt-20*", "newest*", "test/fc1.*"]
    ]
    dice.shuffle(moments)
    runs, seen = [], 0
    print("seed", SEED)
    for trial, moment in enumerate(moments):
        # MNIST is downloaded, or digits are generated; up to four runs use a folder, one after the other.
        generated = moment == "*/generated*.tmp" or trial % 2 == 1 and moment != "*/tmp*"
        folder = f"for {trial}" if isinstance(moment, str) else trial // 8
        data_dir = tmp_path / f"data {folder}{', generated' * generated}"
        run = Run(logdir, data_dir, mirrors=[] if generated else [mirror])
        if isinstance(moment, str):
            seen += run.wait_for(moment)
        else:
            time.sleep(moment)
        run.send(signal.SIGKILL)
        assert run.end() in (-signal.SIGKILL, 0), run.screen
        check_what_is_left(run)
        check_data(data_dir)
        runs.append(run)
    # The moment to write generated digits is so short that it may have passed unseen.
    assert seen >= 5 and sum(run.process.exitcode == -signal.SIGKILL for run in runs) >= 12
    assert (
        sum(check_what_is_left(run) not in (None, STEPS) for run in runs) >= 2
    )  # these were caught at their work
    for generated in [False, True]:  # after all that, in the same folders
        run = Run(
            logdir,
            tmp_path / f"data 0{', generated' * generated}",
            mirrors=[] if generated else [mirror],
        )
        assert run.end() == 0, run.screen
        assert check_what_is_left(run) == STEPS and set(checkpoints(run.folder)) == {STEPS}
    check_tensorboard(logdir)


def test_stopped_at_ten_moments(tmp_path, mirror):
    logdir = tmp_path / "runs"
    print("seed", SEED)
    for trial in range(10):
        signals = dice.choices([signal.SIGINT, signal.SIGTERM], k=dice.choice([1, 2, 3]))
        run = Run(
            logdir,
            tmp_path / f"data{trial // 3}",
            mirrors=[mirror] if trial // 3 % 2 else [],
            steps=100_000,
        )
        time.sleep(dice.uniform(0, 2.5))
        run.send(*signals)
        status = run.end()
        # Outside of the training a signal ends the program on the spot: SIGTERM by itself, and a shell calls that 143.
        assert status in (130, 143, -signal.SIGTERM, -signal.SIGINT), run.screen
        last = check_what_is_left(run)
        if last is not None:
            assert set(checkpoints(run.folder)) == {last}, run.screen
            if len(signals) == 1:  # of several, one may come when all is saved already
                assert (
                    status == 128 + signals[0] and "Stopped early" in run.screen.splitlines()[-1]
                ), run.screen
        check_data(tmp_path / f"data{trial // 3}")


# ------------------------------------------------------------------------------------------------ the disk


@ROOT_ONLY
@pytest.mark.parametrize("size", ["4k", "64k", "20m"])
def test_log_folder_on_a_disk_that_is_too_small(tmp_path, data_dir, size):
    with small_disk(tmp_path / "runs", size) as logdir:
        run = Run(logdir, data_dir)
        assert run.end() == 1
        assert re.search(
            r"runs/convolutional,.*: No space left on device$", run.screen.splitlines()[-1]
        )
        if size == "20m":  # the first checkpoint fits, the second does not
            assert check_what_is_left(run) == 20 and set(checkpoints(run.folder)) == {10}


@ROOT_ONLY
def test_disk_that_fills_while_a_run_writes_to_it(tmp_path, data_dir):
    with small_disk(tmp_path / "runs", "64m") as logdir:
        run = Run(logdir, data_dir, steps=100_000)
        run.wait_until_tested(20)
        fill(logdir)
        assert run.end() == 1
        assert re.search(
            r"runs/convolutional,.*: No space left on device$", run.screen.splitlines()[-1]
        )
        assert check_what_is_left(run) >= 20


@ROOT_ONLY
@pytest.mark.parametrize("full", [True, False], ids=["full", "read-only"])
def test_data_folder_that_cannot_be_written(tmp_path, mirror, full):
    with small_disk(tmp_path / "data", "16k") as data_dir:
        fill(data_dir) if full else subprocess.run(
            ["mount", "-o", "remount,ro", data_dir], check=True
        )
        run = Run(tmp_path / "runs", data_dir, mirrors=[mirror])
        assert run.end() == 1
        (said,) = run.screen.splitlines()
        assert (
            "MNIST cannot be downloaded into" in said
            and str(data_dir) in said
            and "name another folder" in said
        )
        run = Run(
            tmp_path / "runs", data_dir
        )  # generated digits are drawn all the same, and not kept
        assert run.end() == 0
        assert check_what_is_left(run) == STEPS
        assert {path.name for path in data_dir.iterdir()} <= {"filler"}


@ROOT_ONLY
def test_log_folder_that_is_read_only(tmp_path, data_dir):
    with small_disk(tmp_path / "runs", "1m") as logdir:
        subprocess.run(["mount", "-o", "remount,ro", logdir], check=True)
        run = Run(logdir, data_dir)
        assert run.end() == 2
        assert run.screen.startswith(
            f"--logdir must be a folder that can be written to, not {str(logdir)!r}"
        )


@pytest.mark.parametrize("what", ["runs", "runs/*", "runs/*/test"])
def test_folder_deleted_while_a_run_writes_to_it(tmp_path, data_dir, what):
    run = Run(tmp_path / "runs", data_dir, steps=100_000)
    run.wait_until_tested(10)
    (folder,) = tmp_path.glob(what)
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
    assert run.end() == 1
    assert re.search(
        r"runs/convolutional,.*: deleted while the run was writing to it",
        run.screen.splitlines()[-1],
    )
    assert not folder.exists()


@pytest.mark.parametrize(
    "name", ["spaces, commas, 100% & 'so' \"so\" $HOME;{1}", "数字 🖌️", "-x", "~"]
)
def test_odd_paths(tmp_path, name):
    (tmp_path / name).mkdir()
    write(tmp_path / name, CONTENTS)
    run = Run(tmp_path / name / "runs", tmp_path / name, steps=10)
    assert run.end() == 0
    assert check_what_is_left(run) == 10
    command = re.search("tensorboard --logdir=.*", run.screen)[0]
    assert pathlib.Path(shlex.split(command)[1].removeprefix("--logdir=")) == run.logdir
    newest = draw.newest_checkpoint(str(run.logdir), "convolutional")
    assert newest == str(run.folder / "model.ckpt-10") and draw.describe(newest)["step"] == 10
    assert draw.load({"convolutional": newest})(np.zeros((1, 784), np.float32)).shape == (1, 1, 10)
    if len(name) > 2:
        check_tensorboard(run.logdir)


def test_path_in_which_tensorflow_finds_no_checkpoint(tmp_path):
    run = Run(tmp_path / "[why?]" / "runs", tmp_path / "data", steps=10)
    assert run.end() == 0 and check_what_is_left(run) == 10
    done = subprocess.run(
        [sys.executable, PROJECT / "draw.py", "--logdir", run.logdir],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.count("\n") == 1
    assert "* ? [" in done.stderr and str(run.logdir) in done.stderr


# ------------------------------------------------------------------------------------------------ together


def test_two_and_eight_at_once(tmp_path, data_dir):
    logdir = tmp_path / "runs"
    logdir.mkdir()
    with tensorboard(logdir) as ask:  # it reads all the while
        for count in [2, 8]:
            runs = [Run(logdir, data_dir, steps=10) for _ in range(count)]
            assert [run.end() for run in runs] == count * [0]
            assert len({run.folder for run in runs}) == count
            for run in runs:
                assert check_what_is_left(run) == 10 and set(checkpoints(run.folder)) == {10}
        wait_for(
            lambda: (
                set(ask("runs"))
                == {
                    f"{folder.name}/{part}"
                    for folder in logdir.iterdir()
                    for part in ["train", "test"]
                }
            ),
            60,
        )


# ------------------------------------------------------------------------------------------------ numbers


@pytest.fixture
def small_run(run_here, data_dir):
    """Runs mnist.py on the small set, in this process; returns exit status and everything that was printed."""

    def small_run(*flags):
        status, out, err = run_here(*map(str, flags), data_dir=str(data_dir))
        assert "Traceback" not in out + err and "Warning" not in out + err
        return status, out + err

    return small_run


@pytest.mark.parametrize("network", ["convolutional", "softmax"])
def test_learning_rates(small_run, network, tmp_path):
    for rate in [
        "1e-300",
        "1e-12",
        "1e-3",
        "1",
        "1e9",
        "1e20",
        "1e30",
        "9e37",
        str(10 ** dice.uniform(-12, 30)),
    ]:
        status, said = small_run("--learning_rate", rate, "--network", network, "--epochs", 3)
        (folder,) = tmp_path.glob("runs/*")
        if status:
            assert status == 1, said
            assert re.match(
                r"(The loss|A weight) .* too high for this network, try", said.splitlines()[-1]
            ), said
        else:
            assert "Test accuracy" in said and list(curve(folder / "test", "loss")) == [0, 3]
        shutil.rmtree(folder)


def test_batch_sizes(small_run):
    for size in [1, 2, 3, 99, 599, 600]:
        status, said = small_run("--batch_size", size, "--epochs", 5)
        assert status == 0, said
    status, said = small_run("--batch_size", 601)
    assert (
        status == 1
        and said.splitlines()[-1] == "BATCH_SIZE 601 is more than all 600 images: choose less."
    )


def test_batch_of_all_of_mnist(run_here, mnist_data, tmp_path):
    status, out, err = run_here(
        "--batch_size", "60000", "--epochs", "3", "--network", "softmax", data_dir=mnist_data
    )
    assert status == 0, err
    (folder,) = tmp_path.glob("runs/*")
    assert list(curve(folder / "test", "accuracy")) == [0, 3]


def test_twenty_thousand_steps(small_run, tmp_path):
    status, said = small_run("--network", "softmax", "--epochs", 20_000)
    assert status == 0, said
    (folder,) = tmp_path.glob("runs/*")
    assert list(curve(folder / "test", "loss")) == list(range(0, 20_001, 100))
    assert list(curve(folder / "train", "loss")) == list(range(10, 20_001, 10))
    assert [path.name for path in folder.glob("*.index")] == ["model.ckpt-20000.index"]


def test_clock_that_is_set_back(small_run, tmp_path, monkeypatch):
    calls, clock = [], time.time

    def set_back():
        calls.append(None)
        return clock() - 7200 * (len(calls) > 60)

    for name in ["time.time", "tqdm.std.time"]:
        monkeypatch.setattr(name, set_back)
    status, said = small_run("--network", "softmax", "--epochs", 350)
    assert status == 0 and len(calls) > 100, said
    (folder,) = tmp_path.glob("runs/*")
    assert list(curve(folder / "test", "accuracy")) == [0, 100, 200, 300, 350]
    times = [event.wall_time for event in events(folder / "train").Scalars("loss")]
    assert min(times) < max(times) - 3600
    check_tensorboard(tmp_path / "runs")
