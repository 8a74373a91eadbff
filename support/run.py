"""What a run is: folder and name, steps, what is due at a step, what is kept, how it ended."""

import collections
import contextlib
import errno
import fnmatch
import functools
import itertools
import json
import math
import os
import re
import shutil
import time
from pathlib import Path

from support import summaries, tensorflow1, terminal
from support.tensorflow1 import tf

RECORD = "run.json"
# The settings that the project ships with; a run's folder tells what differs from them.
SHIPPED = {"network": "convolutional", "batch_size": 100, "kernels": 16, "neurons": 1024}
# Bytes on the disk; with the defaults, less is written from one flush to the next.
LEAST_FREE = 4_000_000
# Parts of a run after which the layers are looked at: ten, as TensorBoard keeps ten pictures of a
# tag, and closer at the start, when most happens.
MOMENTS = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1]
EARLY_SAVES = {10, 20, 50, 100, 200}  # steps; besides, the network is saved every 20th of a run

# What is due at a step: `train` is True where the curve of the batches gets a point; `test` holds
# the images and labels to test on, or None; then, True or False, `histograms`, `pictures` of the
# mistakes on all test images, and whether the step is the `last`.
Due = collections.namedtuple("Due", "train test histograms pictures last")


class Run:
    """One training: it makes its folder, counts the steps, keeps what is learned and how it ended.

    As a context manager it notes Ctrl-C and other signals that ask it to stop, for its steps to
    end in order, and turns what goes wrong into a terminal.Problem.
    """

    def __init__(self, settings, data):
        """Create the folder and say what begins.

        settings: see settings.read_settings; data: see input_data.read_data_sets. Raises Problem if
        a batch is larger than the data or than the memory.
        """
        self.settings = settings
        images = data.train.num_examples
        _check_size(settings, images)
        self.folder = _new_folder(Path(settings.logdir), _name(settings, data.train.name))
        self.record = {
            "status": "running",
            "network": settings.network,
            "learning_rate": settings.learning_rate,
            "epochs": settings.epochs,
            "batch_size": settings.batch_size,
            "kernels": settings.kernels,
            "neurons": settings.neurons,
            "seed": settings.seed,
            "data": data.train.name,
            "data_dir": os.path.abspath(settings.data_dir),
            "started": time.time(),
            "step": 0,
        }
        if settings.network == "softmax":  # it has neither
            del self.record["kernels"], self.record["neurons"]
        self._test = data.test
        self._step, self._writers, self._checkpoint, self._saved = 0, (), None, None
        self._write_record()
        device = tensorflow1.device(settings.seed)
        terminal.say(
            f"Training the {settings.network} network on {data.train.name}, with {device}: "
            f"{images:,} images to learn from, {data.test.num_examples:,} to test it on.\n"
            f"Writing to {terminal.short(self.folder)}"
        )

    def __enter__(self):
        """Note signals from now on."""
        self._on_exit = contextlib.ExitStack()
        self._signals = self._on_exit.enter_context(terminal.noted_signals())
        self._on_exit.enter_context(tensorflow1.quiet_writers())
        return self

    def steps(self, session, train_writer, test_writer):
        """Count from 0 to the last step, with a bar, and yield (step, Due).

        The graph of the session must be complete. Its variables are saved at the steps of
        EARLY_SAVES, at every 20th of the run, and at the last step. Where a signal asks to stop,
        the next step is the last.
        """
        self._session, self._writers = session, (train_writer, test_writer)
        self._saver = tf.train.Saver(tf.trainable_variables(), max_to_keep=1)
        layers = summaries.Layers(session, self._test.images[:500])
        summaries.log_settings(test_writer, self.folder.name, self.record)
        epochs = self.settings.epochs
        every, save_every = max(1, epochs // self.settings.points), max(1, epochs // 20)
        # A reader may have taken the histograms out.
        has_histograms = bool(tf.get_collection(tf.GraphKeys.SUMMARIES))
        quarters = {round(epochs * k / 4) for k in (1, 2, 3)} if epochs >= 400 else set()
        moments = {round(epochs * part) for part in MOMENTS}
        self._recent = collections.deque(maxlen=5)  # tests, for the bar to show a steady figure
        self._bar = self._on_exit.enter_context(terminal.progress_bar(epochs))
        for step in range(epochs + 1):
            self._step = self.record["step"] = step
            last = step == epochs or bool(self._signals)
            test_all = last or step in quarters
            if last or step in EARLY_SAVES or step > 0 and step % save_every == 0:
                self._save()
            due = Due(
                train=step % every == 0,
                test=self._digits(test_all, step % max(5, every) == 0),
                histograms=has_histograms and (last or step % max(20, save_every) == 0),
                pictures=test_all,
                last=last,
            )
            if last or step % save_every == 0:
                layers.log_dead_relus(train_writer, step)
            if last or step in moments:
                layers.log_movement(train_writer, step)
            yield step, due
            self._bar.update()

    def _digits(self, on_all, on_some):
        if on_all:
            return self._test.images, self._test.labels
        return self._test.next_batch(500) if on_some else None

    def note_training(self, loss):
        """Show the loss of a batch. Raises NotFinite if it is infinite or NaN."""
        if not math.isfinite(loss):
            raise tensorflow1.NotFinite(f"The loss is {loss}")
        self._show(loss)

    def note_test(self, accuracy, loss, images):
        """Take the result of a test on so many images, and bring all that was logged onto the disk.

        Raises OSError if nothing can be written any more.
        """
        if images == self._test.num_examples:
            self._recent.clear()
        self._recent.append(accuracy)
        self._show(loss)
        self.record |= {"accuracy": float(accuracy), "loss": float(loss), "images": images}
        self._flush()
        if self._saved == self._step:  # the record tells how good the network is that was saved
            self._write_record()

    def say_result(self):
        """Say how the run ended and what to do next.

        Raises Problem, with the exit status of a program that was ended by a signal, if it was.
        """
        record, place = self.record, self._checkpoint
        stopped = record["status"] == "stopped"  # by a signal, or by a reader's own `break`
        few = f" (of {record['images']} digits)" * (record["images"] != self._test.num_examples)
        saved = f". The network is saved in {terminal.short(place)}" if place else "."
        terminal.say(
            f"{'Stopped early. ' if stopped else ''}Test accuracy {record['accuracy']:.2%}{few} "
            f"after step {record['step']}, on {record['data']}{saved}"
        )
        if stopped and self._signals:
            raise terminal.Problem("", 128 + self._signals[0])
        if record["accuracy"] < 0.15:
            terminal.say(_why_only_guessing(record["learning_rate"], record["step"]))
        ranking = _ranking(self.folder, record)
        if ranking:
            terminal.say(ranking)
        logdir = terminal.quoted(f"{terminal.short(self.settings.logdir)}/")
        terminal.say(f"To see how it learned: tensorboard --logdir={logdir}")
        again = "Next, change LEARNING_RATE or EPOCHS at the top of mnist.py, run it again"
        if terminal.in_notebook():
            again = "Next, set mnist.LEARNING_RATE or mnist.EPOCHS, call mnist.main() again"
        terminal.say(f"{again}, and compare the curves.")

    def __exit__(self, kind, error, traceback):
        """Record how the run ended; raise Problem if what ended it can be put in a sentence."""
        ending = "finished" if self._step == self.settings.epochs else "stopped"
        with self._on_exit:
            try:
                self._end("failed" if error else ending)
            except Exception as failure:
                error = error or failure
            problem = self._problem(tensorflow1.in_words(error))
            if problem:
                raise problem from error
            if error and not kind:
                raise error

    def _end(self, status):
        self.record["status"] = status
        self._write_record()
        if self._writers:
            summaries.log_end(self._writers[1], succeeded=status != "failed")
            for writer in self._writers:
                writer.close()

    def _problem(self, error):
        if isinstance(error, tensorflow1.NotFinite):
            rate = self.settings.learning_rate
            return terminal.Problem(
                f"{error} at step {self._step}: LEARNING_RATE {rate} is too high for this network, "
                "try a smaller one."
            )
        if isinstance(error, MemoryError):
            return terminal.Problem(
                f"The memory does not suffice for BATCH_SIZE {self.settings.batch_size} and these "
                "KERNELS and NEURONS: choose less."
            )
        if isinstance(error, OSError):
            folder, reason = terminal.short(self.folder), error.strerror or error
            if error.errno == errno.ENOENT:  # it was there when the run began
                reason = "it was deleted"
            return terminal.Problem(f"{folder} cannot be written to any more: {reason}")
        return None

    def _show(self, loss):
        accuracy = sum(self._recent) / len(self._recent)
        words = f"loss {loss:.3g}, test accuracy {accuracy:.1%}"
        self._bar.set_postfix_str(words, refresh=False)

    def _save(self):
        # "newest" will name the checkpoint: the usual name would make TensorBoard's projector show
        # raw weights. The one before is deleted.
        prefix = str(self.folder / "model.ckpt")
        self.folder.stat()  # raises OSError if it was deleted; saving would make it anew
        try:
            self._checkpoint = self._saver.save(
                self._session, prefix, self._step, "newest", write_meta_graph=False
            )
        except ValueError:  # so TensorFlow tells that the folder was deleted at this very moment
            self.folder.stat()
            raise
        self._saved = self._step
        self._write_record()

    def _flush(self):
        """Bring what was written onto the disk, for TensorBoard to find.

        Raises OSError if the folder was deleted or its disk is nearly full. The writers themselves
        would lose what they are given without a complaint, in the one case always, in the other
        whenever an event is larger than a buffer.
        """
        for writer in self._writers:
            writer.flush()
            if shutil.disk_usage(writer.get_logdir()).free < LEAST_FREE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _write_record(self):
        """Write the record whole or not at all, whatever moment the program is killed at."""
        part = self.folder / f"{RECORD}.part"
        part.write_text(json.dumps(self.record, indent=1))
        with contextlib.suppress(PermissionError):  # on Windows, while somebody reads the old one
            part.replace(self.folder / RECORD)


def _check_size(settings, images):
    """Raise Problem if a batch is more than the data, or the run takes more memory than is free.

    Linux would end the program without a word. Measured, beyond what the program takes already:
    each weight takes 16 bytes (itself, its first value, two numbers of Adam's), and 40 for the
    moment in which it is compared with its first value; each value that comes out of a layer
    takes 12 for an image of a batch, and 9 for one of the 1,000 that are tested at a time.
    """
    batch, kernels, neurons = settings.batch_size, settings.kernels, settings.neurons
    if batch > images:
        raise terminal.Problem(f"BATCH_SIZE {batch} is more than all {images} images: choose less.")
    needed, sizes = batch * 10_000, f"BATCH_SIZE {batch} takes"
    if settings.network == "convolutional":
        values, weights = 28 * 28 * kernels + neurons, 14 * 14 * kernels * neurons
        needed = max(40 * weights, 16 * weights + max(12 * batch, 9 * 1000) * values)
        sizes = f"BATCH_SIZE {batch}, KERNELS {kernels} and NEURONS {neurons} take"
    with contextlib.suppress(OSError, TypeError):  # other systems do not tell what is free
        told = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
        free = 1024 * int(told[1])
        if needed > free:
            raise terminal.Problem(
                f"{sizes} about {needed / 1e9:.1f} GB of memory, and "
                f"{free / 1e9:.1f} GB are free: choose less."
            )


def _name(settings, data_name):
    """Name a run's folder: learning rate, epochs, and what differs from what is shipped."""
    name = f"lr={settings.learning_rate},epochs={settings.epochs}"
    if settings.network != SHIPPED["network"]:
        name += f",{settings.network}"
    for setting in ["batch_size", "kernels", "neurons"]:
        matters = setting == "batch_size" or settings.network == "convolutional"
        if matters and getattr(settings, setting) != SHIPPED[setting]:
            name += f",{setting}={getattr(settings, setting)}"
    if data_name != "MNIST":
        name += ",generated-digits" if data_name.startswith("generated") else ",other-digits"
    return name


def _new_folder(logdir, name):
    """Create the folder `name` in logdir, or `name,2`, `name,3`, ... where it exists.

    Runs that start at the same moment get different folders, as a folder can be created only once.
    Raises OSError when it cannot be created.
    """
    for repetition in itertools.count(1):
        folder = logdir / (name if repetition == 1 else f"{name},{repetition}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder


def _why_only_guessing(learning_rate, steps):
    """Say what it means that a trained network is right about as often as chance."""
    # Adam moves a weight by about the learning rate in a step, and weights are about 0.1.
    if learning_rate * steps < 0.01:
        cause, cure = "the weights have hardly moved", "a larger LEARNING_RATE or more EPOCHS"
    else:
        cause = "probably the weights were thrown to where the image makes no difference any more"
        cure = "a smaller LEARNING_RATE"
    return f"That is no better than guessing: {cause}. Try {cure}."


def _ranking(folder, own):
    """Tell how a run stands among those beside it, in six lines at most; own: its record.

    Only runs that have ended count, and were tested on the same data, and as much of it. Returns
    None if it is the only one.
    """
    ended = []
    for path in folder.parent.glob(f"*/{RECORD}"):
        # It may be deleted at this moment, or changed by hand.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            record = json.loads(path.read_text())
            same = all(record[key] == own[key] for key in ["data", "images"])
            if same and record["status"] in ("finished", "stopped"):
                ended.append((float(record["accuracy"]), path.parent))
    if len(ended) < 2:
        return None
    ended.sort(key=lambda run: (-run[0], run[1] != folder))
    lines = [
        f"{place:3}. {accuracy:7.2%}  {path.name}{'  <- this run' if path == folder else ''}"
        for place, (accuracy, path) in enumerate(ended, start=1)
    ]
    mine = next((line for line in lines[5:] if line.endswith("<- this run")), None)
    shown = [*lines[:4], mine] if mine else lines[:5]
    return "\n".join([f"Of {len(ended)} runs on this data, the best on the test digits:", *shown])


# ------------------------------------------------------------------------------- runs on the disk


def find(logdir):
    """List the runs below a folder that have a checkpoint, the one started last first, as dicts.

    Each has `run`, its path below logdir; `folder`; `checkpoint`, as tf.train.Saver.restore takes
    it, with its `step`; `network`; `kernels` and `neurons`, None for softmax; and `started`, in
    seconds. From its record come `learning_rate`, `epochs`, `batch_size`, `data`, `data_dir`,
    `status`, and of its newest test `accuracy`, `loss` and the number of `images`; each is None
    where it is not known.
    """
    logdir, found = Path(logdir), {}
    for index in (
        Path(folder, name)
        for folder, _, names in os.walk(logdir)  # leaves out a folder that is deleted meanwhile
        for name in fnmatch.filter(names, "model.ckpt-*.index")
    ):
        with contextlib.suppress(OSError, ValueError):  # a run in training deletes the one before
            modified = index.stat().st_mtime_ns
            checkpoint, step = str(index.with_suffix("")), int(index.stem.rpartition("-")[2])
            widths = _widths(checkpoint, modified)
            if widths and step >= found.get(index.parent, {"step": step})["step"]:
                found[index.parent] = {
                    "run": index.parent.relative_to(logdir).as_posix(),
                    "folder": index.parent,
                    "checkpoint": checkpoint,
                    "step": step,
                    "started": modified / 1e9,
                    **_read_record(index.parent),
                    **widths,
                }
    return sorted(found.values(), key=lambda run: run["started"], reverse=True)


def _read_record(folder):
    """Return what a run's record tells; without one, None for each entry."""
    told = dict.fromkeys(["learning_rate", "epochs", "batch_size", "data", "data_dir", "status"])
    told |= dict.fromkeys(["accuracy", "loss", "images"])
    try:
        record = json.loads((folder / RECORD).read_text())
        return {key: record.get(key) for key in told} | {"started": float(record["started"])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return told  # an older run, or one cut off


@functools.lru_cache(maxsize=1000)
def _widths(checkpoint, modified):
    """Return a checkpoint's network, kernels and neurons; None, and say why, if it has none."""
    try:
        shapes = dict(tf.train.list_variables(checkpoint))
        if "fc/Weights" in shapes and "conv/Weights" not in shapes:
            return {"network": "softmax", "kernels": None, "neurons": None}
        kernels, neurons = shapes["conv/Weights"][3], shapes["fc1/Weights"][1]
        return {"network": "convolutional", "kernels": kernels, "neurons": neurons}
    except (KeyError, IndexError):
        why = "has not the layers conv, fc1 and fc2"
    except (tf.errors.OpError, ValueError):
        why = "cannot be read"
    if os.path.exists(f"{checkpoint}.index"):  # it has not been deleted meanwhile
        terminal.say(f"{terminal.short(checkpoint)} {why}: this run is left out.")
    return None
