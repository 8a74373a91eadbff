"""What becomes of a run when something breaks it: killed, stopped, robbed of its disk, not alone.

Whatever happens, no curve up to the last test is lost, nor what was learned up to the last save,
and no half-written file is trusted. Runs here are short, and their data is random. Where a `Run` is
made, it is a copy of a process that has TensorFlow imported (see forked.py).
"""

import contextlib
import gzip
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import mnist
from support import run as runs

import numpy as np
import pytest

from helpers import PROJECT, curve, events, forked, run_folders, serve_tensorboard, wait_for
from helpers.http_server import serve
from helpers.small_mnist import digests, small_set, write

TRAIN, TEST = 600, 500  # images
CONTENTS = small_set(TRAIN, TEST)
CHANGES = {
    ("mnist", "POINTS"): 10**9,  # a point for each step, and a test at every fifth
    ("support.generated_digits", "TRAIN_SIZE"): 4000,
    ("support.generated_digits", "TEST_SIZE"): 500,
    ("input_data", "OFFICIAL"): digests(CONTENTS),
}
STEPS = 20
LONG = 100_000
SMALL = (8, 256)  # kernels and neurons, for runs that are many
SHIPPED = (16, 1024)  # with them, a checkpoint takes 13 MB
NO_SPACE = r"runs/lr=.* cannot be written to any more: No space left on device$"
ROOT_ONLY = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a small disk"
)


class Run:
    """mnist.py in a process and a terminal of its own; `screen` is what the terminal has shown."""

    def __init__(self, logdir, data_dir, mirrors=(), steps=STEPS, widths=SMALL):
        self.logdir, self.steps = logdir, steps
        self._ours, self._theirs = pty.openpty()
        flags = ["--logdir", logdir, "--data_dir", data_dir, "--epochs", steps]
        flags += ["--kernels", widths[0], "--neurons", widths[1]]
        changes = CHANGES | {("input_data", "MIRRORS"): list(mirrors)}
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

    def end(self):
        """Return the exit status, once the process has ended."""
        self.process.join(120)
        assert self.process.exitcode is not None, f"it still runs: {self.screen}"
        os.close(self._theirs)
        self._reader.join()
        os.close(self._ours)
        assert "Traceback" not in self.screen and "Warning" not in self.screen
        return self.process.exitcode

    @property
    def folder(self):
        """The run's folder, or None if it has not said where it writes."""
        said = re.search(r"Writing to (.*)\n", self.screen)
        return self.logdir / os.path.basename(said[1]) if said else None

    @property
    def tested(self):
        """The step of the last test of which the progress bar has told, or None.

        The bar says how many steps are done, and when n are, the last was step n - 1.
        """
        done = re.findall(r"([1-9]\d*)/\d+ \[[^\]]*test accuracy", self.screen)
        return (int(done[-1]) - 1) // 5 * 5 if done else None

    def saves(self, last):
        """List the steps up to `last` at which the network was saved."""
        regular = range(0, last + 1, max(1, self.steps // 20))
        return [step for step in sorted({*regular, *runs.EARLY_SAVES}) if 0 < step <= last]

    def wait_until_tested(self, step):
        wait_for(lambda: (self.tested or 0) >= step or not self.process.is_alive(), 120)
        assert self.process.is_alive(), self.screen

    def wait_for_file(self, pattern):
        """Wait until a file of this pattern comes up beside the logdir or within.

        Returns False if the run ends before.
        """
        before = set(self.logdir.parent.glob(pattern))
        while self.process.is_alive():
            if set(self.logdir.parent.glob(pattern)) - before:
                return True
        return False


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """The address of a server that delivers the small set, each file in the course of 0.2 s."""
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
    """Return the checkpoints in a folder, as {step: weights}; each can be read, whole."""
    found = {}
    for index in folder.glob("model.ckpt-*.index"):
        # This checks what it reads by CRC-32C.
        reader = mnist.tf.train.load_checkpoint(str(index.with_suffix("")))
        weights = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        assert set(weights) >= {"fc1/Weights", "fc2/Biases"}
        assert all(np.isfinite(values).all() for values in weights.values())
        found[int(index.stem.rpartition("-")[2])] = weights
    return found


def check_what_is_left(run):
    """Assert that a run's folder holds its curves and a checkpoint; return its last test's step.

    A run that was killed amid its last test may have written a part of it; all before is there, and
    so is what the progress bar has told of.
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
    assert steps[:-1] == list(range(0, last, 5))
    assert run.tested is None or last >= run.tested
    whole = max(last - 5, -1 if run.tested is None else run.tested)
    if whole >= 5:
        assert {event.step for event in train.Scalars("loss")} >= set(range(whole))
    if whole >= 0:
        every = max(20, run.steps // 20)
        for tag in ["network/conv/weight", "network/fc1/weight", "network/fc2/bias"]:
            found = {event.step for event in train.Histograms(tag)}
            assert found >= set(range(0, whole + 1, every))
    before = run.saves(last - 1)
    assert not before or max(checkpoints(run.folder)) >= before[-1]
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


def check_shown(ask, logdir, prefix=""):
    """Assert that TensorBoard shows every run in a folder as far as it came, and nothing else.

    prefix: what the names of these runs begin with.
    """
    curves = {}
    for part in [path for name in ["train", "test"] for path in logdir.glob(f"*/{name}")]:
        if "accuracy" in events(part).Tags()["scalars"]:
            curves[prefix + part.relative_to(logdir).as_posix()] = curve(part, "accuracy")

    def shown(run):
        points = ask("plugin/scalars/scalars", run=run, tag="accuracy")
        return {step: value for _, step, value in points}

    def all_there():
        tags = ask("plugin/scalars/tags")  # a run that was killed early may have other curves only
        with_accuracy = {run for run in tags if "accuracy" in tags[run]}
        if {run for run in with_accuracy if run.startswith(prefix)} != set(curves):
            return False
        return all(len(shown(run)) >= len(points) for run, points in curves.items())

    wait_for(all_there)
    for run, points in curves.items():
        assert shown(run) == pytest.approx(points)
    for run in set(ask("plugin/projector/runs")) & set(curves):
        (config,) = ask("plugin/projector/info", run=run)["embeddings"]
        about = {"run": run, "name": config["tensorName"], "parsed": False}
        points = ask("plugin/projector/tensor", **about)
        assert len(points) == 4 * np.prod(config["tensorShape"])


@contextlib.contextmanager
def shown_by(tensorboard, logdir):
    """Let the shared TensorBoard read a log folder, too; yields what its runs' names begin with."""
    link = tensorboard.logdir / f"{logdir.parent.name}-{logdir.name}"
    link.symlink_to(logdir, target_is_directory=True)
    try:
        yield f"{link.name}/"
    finally:
        link.unlink()


# --------------------------------------------------------------------------- killed and stopped


def test_killed_at_twenty_moments(tmp_path, mirror, tensorboard, dice, often):
    """Thirteen anywhere; six when a file of a certain kind comes up, as such moments are short.

    One is after a test, amid the training.
    """
    logdir = tmp_path / "runs"
    whole = Run(logdir, tmp_path / "data", mirrors=[mirror])
    assert whole.end() == 0
    duration = time.monotonic() - whole.began
    assert check_what_is_left(whole) == STEPS
    files = ["*/tmp*", "*/generated*.tmp"]
    files += [f"runs/*/{file}" for file in ["test/events*", "model.ckpt-2*", "newest*", "*/fc1.*"]]
    moments = ["tested", *dice.sample(files, often(3, 6))]
    moments += [dice.uniform(0, 0.8 * duration) for _ in range(often(2, 13))]
    dice.shuffle(moments)
    left, seen = [], 0
    for trial, moment in enumerate(moments):
        # MNIST is downloaded, or digits are generated; some runs use a folder one after the other.
        generated = moment == "*/generated*.tmp" or trial % 2 == 1 and moment != "*/tmp*"
        folder = f"for {trial}" if isinstance(moment, str) else trial // 8
        folder = tmp_path / f"data {folder}{', generated' * generated}"
        steps = LONG if moment == "tested" else STEPS
        run = Run(logdir, folder, mirrors=[] if generated else [mirror], steps=steps)
        if moment == "tested":
            run.wait_until_tested(5)
        elif isinstance(moment, str):
            seen += run.wait_for_file(moment)
        else:
            run.process.join(moment)
        run.send(signal.SIGKILL)
        assert run.end() in (-signal.SIGKILL, 0), run.screen
        check_data(folder)
        last = check_what_is_left(run)
        left.append((run.process.exitcode, last not in (None, steps)))
    # The moment to write generated digits is so short that it may have passed unseen.
    assert seen >= often(2, 5)
    assert sum(status == -signal.SIGKILL for status, _ in left) >= often(2, 10)
    assert sum(at_work for _, at_work in left) >= often(1, 3)
    for generated in [False, True]:  # after all that, in the same folders
        folder = tmp_path / f"data 0{', generated' * generated}"
        run = Run(logdir, folder, mirrors=[] if generated else [mirror])
        assert run.end() == 0, run.screen
        assert check_what_is_left(run) == STEPS and set(checkpoints(run.folder)) == {STEPS}
    with shown_by(tensorboard, logdir) as prefix:
        check_shown(tensorboard, logdir, prefix)


def test_stopped_at_ten_moments(tmp_path, mirror, dice, often):
    """The first of them amid the training, the others anywhere."""
    stopped_in_training = 0
    for trial in range(often(4, 10)):
        signals = dice.choices([signal.SIGINT, signal.SIGTERM], k=dice.choice([1, 2, 3]))
        data_dir = tmp_path / f"data{trial // 3}"
        mirrors = [mirror] if trial // 3 % 2 else []
        run = Run(tmp_path / "runs", data_dir, mirrors=mirrors, steps=LONG)
        if trial == 0:
            run.wait_until_tested(5)
        else:
            run.process.join(dice.uniform(0, 2.5))
        run.send(*signals)
        status = run.end()
        # Outside of the training a signal ends the program on the spot: SIGTERM by itself, and a
        # shell calls that 143.
        assert status in (130, 143, -signal.SIGTERM, -signal.SIGINT), run.screen
        last = check_what_is_left(run)
        if last is not None:
            stopped_in_training += 1
            assert set(checkpoints(run.folder)) == {last}, run.screen
            if len(signals) == 1:  # of several, one may come when all is saved already
                assert status == 128 + signals[0], run.screen
                assert "Stopped early" in run.screen.splitlines()[-1]
        check_data(data_dir)
    assert stopped_in_training


# -------------------------------------------------------------------------------------- the disk


@ROOT_ONLY
@pytest.mark.parametrize("size", ["4k", "64k", "20m"])
def test_log_folder_on_a_disk_that_is_too_small(tmp_path, data_dir, size):
    with small_disk(tmp_path / "runs", size) as logdir:
        run = Run(logdir, data_dir, widths=SHIPPED)
        assert run.end() == 1
        assert re.search(NO_SPACE, run.screen.splitlines()[-1]), run.screen
        if size == "20m":  # the first checkpoint fits, the second does not
            assert check_what_is_left(run) == 0 and set(checkpoints(run.folder)) == {1}


@ROOT_ONLY
def test_disk_that_fills_while_a_run_writes_to_it(tmp_path, data_dir):
    with small_disk(tmp_path / "runs", "64m") as logdir:
        run = Run(logdir, data_dir, steps=LONG)
        run.wait_until_tested(20)
        fill(logdir)
        assert run.end() == 1
        assert re.search(NO_SPACE, run.screen.splitlines()[-1]), run.screen
        assert check_what_is_left(run) >= 20


@ROOT_ONLY
@pytest.mark.parametrize("full", [True, False], ids=["full", "read-only"])
def test_data_folder_that_cannot_be_written(tmp_path, mirror, full):
    with small_disk(tmp_path / "data", "16k") as data_dir:
        if full:
            fill(data_dir)
        else:
            subprocess.run(["mount", "-o", "remount,ro", data_dir], check=True)
        run = Run(tmp_path / "runs", data_dir, mirrors=[mirror])
        assert run.end() == 1
        said = run.screen.splitlines()[-1]
        assert "MNIST cannot be downloaded into" in said and str(data_dir) in said
        assert "name another folder" in said
        run = Run(tmp_path / "runs", data_dir)  # digits are drawn all the same, and not kept
        assert run.end() == 0
        assert check_what_is_left(run) == STEPS
        assert {path.name for path in data_dir.iterdir()} <= {"filler"}


@ROOT_ONLY
def test_log_folder_that_is_read_only(tmp_path, data_dir):
    with small_disk(tmp_path / "runs", "1m") as logdir:
        subprocess.run(["mount", "-o", "remount,ro", logdir], check=True)
        run = Run(logdir, data_dir)
        assert run.end() == 2
        assert run.screen.startswith("--logdir must be a folder that can be written to")
        assert repr(str(logdir)) in run.screen and run.screen.count("\n") == 1


@pytest.mark.parametrize("what", ["runs", "runs/*", "runs/*/test"])
def test_folder_deleted_while_a_run_writes_to_it(tmp_path, data_dir, what):
    run = Run(tmp_path / "runs", data_dir, steps=LONG)
    run.wait_until_tested(10)
    (folder,) = tmp_path.glob(what)
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
    assert run.end() == 1
    sentence = "runs/lr=.* cannot be written to any more: it was deleted"
    assert re.search(sentence, run.screen.splitlines()[-1])
    assert not folder.exists()


# ------------------------------------------------------------------------------------- odd paths


@pytest.mark.parametrize("name", ["spaces, 100% & 'so' \"so\" $HOME;{1}/数字 🖌️", "-x", "~"])
def test_odd_paths(tmp_path, name):
    """The printed command finds the runs there, and so does the page's search for networks."""
    place = tmp_path / name
    place.mkdir(parents=True)
    write(place, CONTENTS)
    run = Run(place / "runs", place, steps=10)
    assert run.end() == 0
    assert check_what_is_left(run) == 10
    command = shlex.split(re.search("tensorboard --logdir=.*", run.screen)[0])
    assert command[1] == f"--logdir={run.logdir}/"
    (found,) = runs.find(run.logdir)
    assert found["folder"] == run.folder and found["step"] == 10
    if "/" in name:
        with serve_tensorboard(command[1].removeprefix("--logdir=")) as ask:
            check_shown(ask, run.logdir)


def test_path_in_which_tensorflow_finds_no_checkpoint(tmp_path, data_dir):
    logdir = tmp_path / "[why?]" / "runs"
    run = Run(logdir, data_dir)
    assert run.end() == 2
    assert "* ? [" in run.screen and str(logdir) in run.screen and run.screen.count("\n") == 1
    done = subprocess.run(
        [sys.executable, PROJECT / "draw.py", "--logdir", logdir], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.count("\n") == 1
    assert "* ? [" in done.stderr and str(logdir) in done.stderr


# -------------------------------------------------------------------------------------- together


def test_two_and_eight_at_once(tmp_path, data_dir, tensorboard, often):
    """While TensorBoard reads."""
    logdir = tmp_path / "runs"
    logdir.mkdir()
    with shown_by(tensorboard, logdir) as prefix:
        for count in [2, often(4, 8)]:
            together = [Run(logdir, data_dir, steps=10) for _ in range(count)]
            assert [run.end() for run in together] == count * [0]
            assert len({run.folder for run in together}) == count
            for run in together:
                assert check_what_is_left(run) == 10 and set(checkpoints(run.folder)) == {10}
        assert len(run_folders(logdir)) == 2 + often(4, 8)
        check_shown(tensorboard, logdir, prefix)


# --------------------------------------------------------------------------------------- numbers


@pytest.fixture
def small_run(run_here, data_dir):
    """Run mnist.py on the small set, in this process; return its status and all that it said."""

    def small_run(*flags):
        status, out, err = run_here(*flags, data_dir=data_dir)
        assert "Traceback" not in out + err and "Warning" not in out + err
        return status, out + err

    return small_run


@pytest.fixture
def with_rate(small_run, tmp_path):
    """Train with a learning rate; return a curve of the loss, or None if the rate is too high."""

    def with_rate(rate, network, steps, part="test"):
        flags = ["--learning_rate", rate, "--network", network, "--epochs", steps]
        flags += ["--kernels", SMALL[0], "--neurons", SMALL[1]]
        status, said = small_run(*flags)
        (folder,) = tmp_path.glob("runs/*")
        if status:
            sentence = r"(The loss|A) .* at step \d+: LEARNING_RATE .* is too high for this network"
            assert status == 1 and re.match(sentence, said.splitlines()[-1]), said
            losses = None
        else:
            assert "Test accuracy" in said
            losses = list(curve(folder / part, "loss").values())
        shutil.rmtree(folder)
        return losses

    return with_rate


@pytest.mark.parametrize("network, least", [("convolutional", 1e30), ("softmax", 9e37)])
def test_learning_rates(with_rate, network, least, dice):
    """The least: that from which on nothing can be learned, as numbers end at 3e38."""
    for rate in [1e-300, 1e-12]:
        losses = with_rate(rate, network, 3)
        assert losses == pytest.approx(len(losses) * [losses[0]], rel=1e-5)
    losses = with_rate(1e-3, network, 40, "train")  # random images can be learned by heart only
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    for rate in [least, 9e37]:
        assert with_rate(rate, network, 3) is None
    for rate in [1, 1e9, 1e20, 10 ** dice.uniform(-12, 37)]:  # chance decides
        with_rate(rate, network, 3)


def test_batch_sizes(small_run):
    for size in [1, 2, 3, TRAIN - 1, TRAIN]:
        status, said = small_run("--batch_size", size, "--epochs", 5, "--network", "softmax")
        assert status == 0, said
    status, said = small_run("--batch_size", TRAIN + 1)
    sentence = f"BATCH_SIZE {TRAIN + 1} is more than all {TRAIN} images: choose less."
    assert (status, said.splitlines()[-1]) == (1, sentence)


def test_batch_of_all_of_mnist(run_here, mnist_data, tmp_path):
    flags = ["--batch_size", 60_000, "--epochs", 3, "--network", "softmax"]
    status, _, err = run_here(*flags, data_dir=mnist_data)
    assert status == 0, err
    (folder,) = tmp_path.glob("runs/*")
    assert list(curve(folder / "test", "accuracy")) == [0, 3]


def test_twenty_thousand_steps(small_run, tmp_path, often):
    steps = often(2000, 20_000)
    status, said = small_run("--network", "softmax", "--epochs", steps)
    assert status == 0, said
    (folder,) = tmp_path.glob("runs/*")
    assert list(curve(folder / "test", "loss")) == list(range(0, steps + 1, steps // 200))
    assert list(curve(folder / "train", "loss")) == list(range(0, steps, steps // 200))
    assert [path.name for path in folder.glob("*.index")] == [f"model.ckpt-{steps}.index"]


def test_clock_that_is_set_back(small_run, tmp_path, monkeypatch, tensorboard):
    calls, clock = [], time.time

    def set_back():
        calls.append(None)
        return clock() - 7200 * (len(calls) > 60)

    for name in ["time.time", "tqdm.std.time"]:
        monkeypatch.setattr(name, set_back)
    status, said = small_run("--network", "softmax", "--epochs", 150)
    assert status == 0 and len(calls) > 100, said
    (folder,) = tmp_path.glob("runs/*")
    assert list(curve(folder / "test", "accuracy")) == list(range(0, 151, 5))
    times = [event.wall_time for event in events(folder / "train").Scalars("loss")]
    assert min(times) < max(times) - 3600
    monkeypatch.undo()
    with shown_by(tensorboard, tmp_path / "runs") as prefix:
        check_shown(tensorboard, tmp_path / "runs", prefix)
