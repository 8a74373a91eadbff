"""What becomes of a run when something breaks it: killed, stopped, robbed of its disk, not alone.

Whatever happens, the curves are there up to the last test, and the network up to the last save; no
half-written file is trusted, and no traceback is shown. Runs here are short, and their data is
random. A `Run` is a copy of a process that has TensorFlow imported (see forked.py).
"""

import contextlib
import gzip
import os
import pty
import re
import shlex
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

from helpers import curve, events, forked, run_folders, scalars, variables, wait_for
from helpers.http_server import serve
from helpers.small_mnist import digests, small_set, write
from support import run as runs
from support import saved

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
CONTINUE = "To continue, add the flag --continue=newest."
NO_SPACE = r"runs/lr=.* cannot be written to any more: No space left on device\.$"


class Run:
    """mnist.py in a process and a terminal of its own; `screen` is what the terminal has shown."""

    def __init__(self, logdir, data_dir, mirrors=(), steps=STEPS, widths=SMALL):
        self.logdir, self.steps = logdir, steps
        self._ours, self._theirs = pty.openpty()
        flags = ["--logdir", logdir, "--data_dir", data_dir, "--epochs", steps]
        flags += ["--kernels", widths[0], "--neurons", widths[1]]
        changes = CHANGES | {("input_data", "MIRRORS"): list(mirrors)}
        self.process = forked.start(flags, os.ttyname(self._theirs), changes)
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
        assert "Traceback" not in self.screen and "Warning" not in self.screen, self.screen
        return self.process.exitcode

    @property
    def folder(self):
        """The run's folder, or None if it has not said where it writes."""
        said = re.search(r"Writing to (.*)\n", self.screen)
        return self.logdir / os.path.basename(said[1]) if said else None

    @property
    def tested(self):
        """The step of the last test that the progress bar has shown, or None."""
        # The bar counts the steps that are done: when n are, the last one was step n - 1.
        done = re.findall(r"([1-9]\d*)/\d+ \[[^\]]*test accuracy", self.screen)
        return (int(done[-1]) - 1) // 5 * 5 if done else None

    def wait_until_tested(self, step):
        wait_for(lambda: (self.tested or 0) >= step or not self.process.is_alive(), 120)
        assert self.process.is_alive(), self.screen

    def wait_for_file(self, pattern):
        """Whether a file of this pattern comes up, beside the logdir or within, before the end."""
        before = set(self.logdir.parent.glob(pattern))
        while self.process.is_alive():
            if set(self.logdir.parent.glob(pattern)) - before:
                return True
        return False


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write(folder, CONTENTS)
    return folder


@pytest.fixture(scope="module")
def mirror(data_dir):
    """The address of a server that delivers the small set, each file in the course of 0.2 s."""
    with serve(data_dir) as server:
        yield f"{server.address}/drip/"


def checkpoints(folder):
    """Return the steps of the checkpoints in a folder; each can be read, whole."""
    steps = set()
    for index in folder.glob("model.ckpt-*.index"):
        weights = variables(index.with_suffix(""))  # TensorFlow checks them by CRC-32C
        assert set(weights) >= {"fc1/Weights", "fc2/Biases"}
        assert all(np.isfinite(values).all() for values in weights.values())
        steps.add(int(index.stem.rpartition("-")[2]))
    return steps


def check_what_is_left(run):
    """Assert that a run's folder holds its curves and a checkpoint; return its last test's step.

    A run that was killed during its last test may have written a part of it. All before is there,
    and so is what the progress bar has shown.
    """
    if run.folder is None or not (run.folder / "test").exists():
        return None
    shown = -1 if run.tested is None else run.tested
    if "Accuracy" not in events(run.folder / "test").Tags()["scalars"]:
        assert shown == -1
        return None
    *steps, last = curve(run.folder / "test", "Accuracy")
    assert [*steps, last] == list(curve(run.folder / "test", "Loss"))
    assert steps == list(range(0, last, 5)) and last >= shown
    whole = max(last - 5, shown)
    looks = {round(run.steps * part) for part in runs.LOOKS}
    if whole >= 5:
        train = events(run.folder / "train")
        assert {event.step for event in train.Scalars("Loss")} >= set(range(whole))
        logged = [train.Histograms("conv/weight"), train.Histograms("fc2/bias")]
        for found in [*logged, train.Tensors("moved since step 0/fc1/Weights")]:
            assert {event.step for event in found} >= {step for step in looks if step <= whole}
    assert max(checkpoints(run.folder)) >= max(step for step in looks if step <= last)
    return last


def check_data(folder):
    """Assert that every file in a data folder that a run would trust is whole."""
    for path in folder.glob("*"):
        if path.name.removesuffix(".gz") in CONTENTS:
            assert gzip.decompress(path.read_bytes()) == CONTENTS[path.name.removesuffix(".gz")]
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                assert [len(array) for array in arrays.values()] == [4000, 4000, 500, 500]


@contextlib.contextmanager
def shown_by(ask, logdir):
    """Let TensorBoard read a log folder; assert at the end that it shows each run, and no other."""
    name = f"{logdir.parent.name}-{logdir.name}"
    with ask.also_shown(logdir, name):
        yield
        curves = {}
        for part in [*logdir.glob("*/train"), *logdir.glob("*/test")]:
            if "Accuracy" in events(part).Tags()["scalars"]:
                run = f"{name}/{part.relative_to(logdir).as_posix()}"
                curves[run] = curve(part, "Accuracy")

        def shown():
            found = {}
            for run, tags in ask("plugin/scalars/tags").items():
                if run.startswith(f"{name}/") and "Accuracy" in tags:
                    found[run] = pytest.approx(scalars(ask, run, "Accuracy"))
            return found

        wait_for(lambda: shown() == curves)
        for run in set(ask("plugin/projector/runs")) & set(curves):
            (config,) = ask("plugin/projector/info", run=run)["embeddings"]
            about = {"run": run, "name": config["tensorName"], "parsed": False}
            points = ask("plugin/projector/tensor", **about)
            assert len(points) == 4 * np.prod(config["tensorShape"])


# --------------------------------------------------------------------------- killed and stopped


def test_killed_at_twenty_moments(tmp_path, mirror, tensorboard, dice, often):
    """One is after a test, six when a file of a certain kind comes up, and thirteen anywhere."""
    logdir = tmp_path / "runs"
    began = time.monotonic()
    whole = Run(logdir, tmp_path / "data", mirrors=[mirror])
    assert whole.end() == 0
    duration = time.monotonic() - began
    assert check_what_is_left(whole) == STEPS
    files = ["*/tmp*", "*/generated*.tmp"]
    files += [f"runs/*/{file}" for file in ["test/events*", "model.ckpt-2*", "newest*", "*/fc1.*"]]
    moments = ["tested"] * often(1, 3) + dice.sample(files, often(2, 6))
    moments += [dice.uniform(0, 0.8 * duration) for _ in range(often(1, 11))]
    dice.shuffle(moments)
    seen = killed = at_work = 0
    for trial, moment in enumerate(moments):
        # MNIST is downloaded, or digits are generated; some runs use a folder one after the other.
        generated = moment == "*/generated*.tmp" or trial % 2 == 1 and moment != "*/tmp*"
        folder = f"for {trial}" if isinstance(moment, str) else trial // 8
        folder = tmp_path / f"data {folder}{', generated' * generated}"
        steps = LONG if moment == "tested" else STEPS
        run = Run(logdir, folder, [] if generated else [mirror], steps)
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
        killed += run.process.exitcode != 0
        at_work += last not in (None, steps)
    # The moment to write generated digits is so short that it may have passed unseen.
    assert seen >= often(1, 5) and killed >= often(1, 10) and at_work >= often(1, 3)
    with shown_by(tensorboard, logdir):
        for folder in ["data 0", "data 0, generated"]:  # after all that, in the same folders
            run = Run(logdir, tmp_path / folder, [] if "generated" in folder else [mirror])
            assert run.end() == 0, run.screen
            assert check_what_is_left(run) == STEPS and checkpoints(run.folder) == {STEPS}


def test_stopped_at_ten_moments(tmp_path, mirror, dice, often):
    """The first of them in the middle of the training, the others anywhere."""
    stopped_in_training = 0
    for trial in range(often(2, 10)):
        signals = dice.choices([signal.SIGINT, signal.SIGTERM], k=dice.choice([1, 2, 3]))
        data_dir = tmp_path / f"data{trial // 3}"
        run = Run(tmp_path / "runs", data_dir, [mirror] if trial // 3 % 2 else [], LONG)
        if trial == 0:
            run.wait_until_tested(5)
        else:
            run.process.join(dice.uniform(0, 2.5))
        run.send(*signals)
        status = run.end()
        # Outside of the training, SIGTERM ends the program at once; a shell calls that 143.
        assert status in (130, 143, -signal.SIGTERM), run.screen
        last = check_what_is_left(run)
        if last is not None:
            stopped_in_training += 1
            assert checkpoints(run.folder) == {last}, run.screen
            if len(signals) == 1:  # of several, one may come when all is saved already
                assert status == 128 + signals[0], run.screen
                *_, result, sentence = run.screen.splitlines()
                assert sentence == f"Stopped at step {last} of {LONG}. {CONTINUE}"
                assert result.startswith("Test accuracy") and f"model.ckpt-{last}" in result
                assert saved.read_record(run.folder).status == "stopped"
        check_data(data_dir)
    assert stopped_in_training


# -------------------------------------------------------------------------------------- the disk


@contextlib.contextmanager
def small_disk(folder, size):
    """Mounts a disk of that size in a folder, as only root may, on Linux."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("size", ["64k", "20m"])
def test_log_folder_on_a_disk_that_is_too_small(tmp_path, data_dir, size):
    with small_disk(tmp_path / "runs", size) as logdir:
        run = Run(logdir, data_dir, widths=SHIPPED)
        assert run.end() == 1
        assert re.search(NO_SPACE, run.screen.splitlines()[-1]), run.screen
        if size == "20m":  # the first checkpoint fits, the second does not
            assert check_what_is_left(run) == 0 and checkpoints(run.folder) == {0}


def test_disk_that_fills_while_a_run_writes_to_it(tmp_path, data_dir):
    with small_disk(tmp_path / "runs", "64m") as logdir:
        run = Run(logdir, data_dir, steps=LONG)
        run.wait_until_tested(20)
        with open(logdir / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        assert run.end() == 1
        assert re.search(NO_SPACE, run.screen.splitlines()[-1]), run.screen
        assert check_what_is_left(run) >= 20


# --------------------------------------------------------------------------- elsewhere, together


def test_odd_path(tmp_path):
    """The command that is printed is one that a shell understands, and the run is found there."""
    place = tmp_path / "spaces, 100% & 'so' \"so\" $HOME;{1}/数字 🖌️"
    place.mkdir(parents=True)
    write(place, CONTENTS)
    run = Run(place / "runs", place, steps=10)
    assert run.end() == 0
    assert check_what_is_left(run) == 10
    command = shlex.split(re.search("tensorboard --logdir=.*", run.screen)[0])
    assert command[1] == f"--logdir={run.logdir}/"
    (found,) = saved.find(run.logdir)
    assert found.folder == run.folder and found.record.step == 10


def test_two_and_eight_at_once(tmp_path, data_dir, tensorboard, often):
    """While TensorBoard reads."""
    logdir = tmp_path / "runs"
    logdir.mkdir()
    with shown_by(tensorboard, logdir):
        for count in [2, often(3, 8)]:
            together = [Run(logdir, data_dir, steps=10) for _ in range(count)]
            assert [run.end() for run in together] == count * [0]
            assert len({run.folder for run in together}) == count
            for run in together:
                assert check_what_is_left(run) == 10 and checkpoints(run.folder) == {10}
    assert len(run_folders(logdir)) == 2 + often(3, 8)
