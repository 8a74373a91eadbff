"""One training run: its folder, its steps, what it saves, and how it ends."""

import argparse
import collections
import contextlib
import errno
import itertools
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import saved, summaries, tensorflow1, terminal
from support.settings import SHIPPED
from support.tensorflow1 import tf

LEAST_FREE = 4_000_000  # bytes on the disk: more than the writers write between two checks
# The layers are logged after these parts of a run. There are ten, because TensorBoard shows ten
# pictures of a tag. Most are early, when the layers change most.
LOOKS = [0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 0.75, 1]
SAVE_EVERY = 10  # seconds; the network is also saved at each of the LOOKS

# What is due at a step. `test`: images and labels to test on, or None. The rest is True or False:
# `train`, a point of the training curves; `histograms` of the layers; `pictures` of the mistakes on
# all test images; `last`, the end of the run.
Due = collections.namedtuple("Due", "train test histograms pictures last")


class Run:
    """One training run: it has a `folder` and a `record`, counts steps, and saves the network.

    As a context manager it notes Ctrl-C and other signals: the next step is then the last. An error
    that the user can fix leaves the `with` block as a terminal.Problem.
    """

    def __init__(self, settings: argparse.Namespace, data: Any) -> None:
        """Create the folder and print what starts.

        settings: see read_settings; data: see read_data_sets. Raises Problem if it cannot start.
        """
        images = data.train.num_examples
        _check_size(settings, images)
        self.settings = settings
        try:
            self.folder = _new_folder(settings, data.train.name)
            self.record = saved.new_record(settings, self.folder.name, data.train.name)
            self.record.write(self.folder)
        except OSError as error:
            reason = f"cannot be written to ({error.strerror}): choose another folder."
            raise terminal.Problem(f"LOGDIR {terminal.short(settings.logdir)} {reason}") from error
        self._test = data.test
        self._images = 0  # how many images are tested now
        self._writers: list = []
        self._checkpoint, self._saved_step, self._saved_time = "", -1, 0.0
        self._signals: list[int] = []  # those that asked the run to stop
        self._bar = terminal.bar(disable=True)
        self._on_exit = contextlib.ExitStack()
        device = tensorflow1.device(settings.seed)
        terminal.say(
            f"Training the {settings.network} network on {data.train.name}, with {device}: "
            f"{images:,} images to learn from, {data.test.num_examples:,} to test it on.\n"
            f"Writing to {terminal.short(self.folder)}"
        )

    def __enter__(self) -> "Run":
        """Note signals from now on."""
        self._signals = self._on_exit.enter_context(terminal.noted_signals())
        self._on_exit.enter_context(tensorflow1.quiet_writers())
        return self

    def steps(self, session: tf.Session, train_writer: Any, test_writer: Any) -> Iterator[tuple]:
        """Count from 0 to the last step, with a progress bar; yield each step and its Due.

        The graph of the session must be complete, and its variables must have values.
        """
        epochs = self.settings.epochs
        every = max(1, epochs // self.settings.points)
        looks = {round(epochs * part) for part in LOOKS}
        quarters = {round(epochs * k / 4) for k in (1, 2, 3)} if epochs >= 400 else set()
        has_histograms = bool(tf.get_collection(tf.GraphKeys.SUMMARIES))  # a reader may delete them
        self._writers = [train_writer, test_writer]
        if not all(isinstance(writer, tf.summary.FileWriter) for writer in self._writers):
            raise terminal.Problem("run.steps takes a session and two tf.summary.FileWriter.")
        if not tf.trainable_variables():
            raise terminal.Problem("The graph has no variables: call build(settings) first.")
        saver = tf.train.Saver(tf.trainable_variables(), max_to_keep=1)
        layers = summaries.Layers(session, self._test.images[:500])
        summaries.log_settings(test_writer, self.record)
        words = "{percentage:3.0f}%|{bar}| {n}/{total} [{elapsed}<{remaining}{postfix}]"
        self._bar = self._on_exit.enter_context(terminal.bar(total=epochs, bar_format=words))
        for step in range(epochs + 1):
            self.record.step = step
            last = step == epochs or bool(self._signals)
            look, all_digits = last or step in looks, last or step in quarters
            if look or time.monotonic() - self._saved_time >= SAVE_EVERY:
                self._save(saver, session)
            if look:
                layers.log(train_writer, step)
            test = None
            if all_digits:
                test = self._test.images, self._test.labels
            elif step % max(5, every) == 0:
                test = self._test.next_batch(500)
            self._images = len(test[1]) if test else 0
            yield step, Due(step % every == 0, test, look and has_histograms, all_digits, last)
            if last:
                return
            if test:
                self._flush()
            self._bar.update()

    def note_training(self, loss: float) -> None:
        """Show the loss of a batch in the bar. Raises NotFinite if it is infinite or NaN."""
        self._show(_finite(loss))

    def note_test(self, accuracy: float, loss: float) -> None:
        """Record the result of the test that was due. Raises NotFinite if it is infinite or NaN."""
        record = self.record
        record.accuracy, record.loss = _finite(accuracy), _finite(loss)
        record.images = self._images or None  # None: a reader tested on others
        self._show(record.loss)
        if self._saved_step == record.step:  # the record says how good the saved network is
            record.write(self.folder)

    def _show(self, loss):
        words = f"loss {loss:.3g}"
        if self.record.accuracy is not None:
            words += f", test accuracy {self.record.accuracy:.1%}"
        self._bar.set_postfix_str(words, refresh=False)

    def _save(self, saver, session):
        """Save W and B in a checkpoint, which replaces the one before."""
        self.folder.stat()  # raises OSError if it was deleted; saving would create it again
        # The index is called "newest": under its usual name, "checkpoint", TensorBoard's Projector
        # would find it and show raw weights.
        prefix, step = str(self.folder / "model.ckpt"), self.record.step
        self._checkpoint = saver.save(session, prefix, step, "newest", write_meta_graph=False)
        self._saved_step, self._saved_time = step, time.monotonic()
        self.record.write(self.folder)

    def _flush(self):
        """Write to the disk what was logged. Raises OSError if the folder or the space is gone."""
        for writer in self._writers:
            writer.flush()
            if shutil.disk_usage(writer.get_logdir()).free < LEAST_FREE:  # FileWriters do not check
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Record how the run ended. Raises Problem for an error that a sentence can explain."""
        found = error
        with self._on_exit:
            try:
                ended = "finished" if self.record.step == self.settings.epochs else "stopped"
                self.record.status = "failed" if error else ended
                self.record.write(self.folder)
                if self._writers:
                    summaries.log_end(self._writers[1], succeeded=not error)
                self._flush()
                for writer in self._writers:
                    writer.close()
            except Exception as failure:
                found = error or failure
        sentence = self._sentence(tensorflow1.as_python_error(found))
        if sentence:
            raise terminal.Problem(sentence) from found
        if found and not error:
            raise found

    def _sentence(self, error):
        """Return a sentence that says what an error means for this run, or None."""
        step, folder = self.record.step, str(self.folder)
        if isinstance(error, tensorflow1.NotFinite):
            if step == 0:
                return f"{error} at step 0: look at the network and its loss."
            return (
                f"{error} at step {step}: LEARNING_RATE {self.settings.learning_rate} is too high "
                "for this network; try a smaller one."
            )
        if isinstance(error, MemoryError):
            sizes = f"BATCH_SIZE {self.settings.batch_size} and these KERNELS and NEURONS"
            return f"There is not enough memory for {sizes}: choose smaller ones."
        # An error about a file elsewhere comes from a reader's code.
        if isinstance(error, OSError) and str(error.filename or folder).startswith(folder):
            was_deleted = error.errno == errno.ENOENT  # the folder existed at the start
            reason = "it was deleted" if was_deleted else error.strerror or error
            return f"{terminal.short(folder)} cannot be written to any more: {reason}."
        if isinstance(error, tf.errors.FailedPreconditionError) and step == 0:
            call = "session.run(tf.global_variables_initializer())"
            return f"W and B have no values: call {call} before the first step."
        return None

    def say_result(self) -> None:
        """Say how the run ended and what to do next. Raises Problem if a signal stopped it."""
        record = self.record
        result = "No test was made"
        if record.accuracy is not None:
            result = f"Test accuracy {record.accuracy:.2%}"
        if record.images not in (None, self._test.num_examples):
            result += f" (of {record.images} digits)"
        place = terminal.short(self._checkpoint)
        saved_in = f" The network is saved in {place}" if self._checkpoint else ""
        terminal.say(f"{result} after step {record.step}, on {record.data}.{saved_in}")
        if self._signals and record.status == "stopped":
            sentence = f"Stopped at step {record.step} of {record.epochs}."
            raise terminal.Problem(sentence, 128 + self._signals[0])
        if record.accuracy is not None and record.accuracy < 0.15:
            # Adam moves a weight by about the learning rate in a step, and weights are about 0.1.
            cause, cure = "the weights have hardly moved", "a larger LEARNING_RATE or more EPOCHS"
            if self.settings.learning_rate * record.step >= 0.01:
                cause = "probably the steps were too large, and the ReLUs give 0 for every image"
                cure = "a smaller LEARNING_RATE"
            terminal.say(f"That is no better than guessing: {cause}. Try {cure}.")
        if ranking := saved.ranking(self.folder, record):
            terminal.say(ranking)
        logdir = terminal.quoted(f"{terminal.short(self.settings.logdir)}/")
        terminal.say(f"To see how it learned: tensorboard --logdir={logdir}")
        again = "Next, change LEARNING_RATE or EPOCHS at the top of mnist.py, run it again"
        if terminal.in_notebook():
            again = "Next, set mnist.LEARNING_RATE or mnist.EPOCHS, call mnist.main() again"
        terminal.say(f"{again}, and compare the curves.")


def _finite(value):
    """Return a float. Raises NotFinite if it is infinite or NaN, Problem if it is no number."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise terminal.Problem(f"The run must be given a loss, a number, not {kind}.") from None
    if not math.isfinite(value):
        raise tensorflow1.NotFinite(f"The loss is {value}")
    return value


def _check_size(settings, images):
    """Raise Problem if a batch is larger than the data, or if the memory is too small.

    Linux would kill the program without a message. Measured: a weight takes up to 40 bytes. An
    output of a layer takes 12 for each image of a batch, or of 1,000 that are tested together.
    """
    batch, kernels, neurons = settings.batch_size, settings.kernels, settings.neurons
    if batch > images:
        raise terminal.Problem(f"BATCH_SIZE {batch} is more than all {images} images: choose less.")
    meminfo = Path("/proc/meminfo")  # only Linux has this file
    if settings.network == "softmax" or not meminfo.exists():
        return
    weights, values = 14 * 14 * kernels * neurons, 28 * 28 * kernels + neurons
    needed = 40 * weights + 12 * max(batch, 1000) * values
    line = re.search(r"MemAvailable:\s*(\d+) kB", meminfo.read_text())
    free = 1024 * int(line[1]) if line else needed
    if needed > free:
        raise terminal.Problem(
            f"BATCH_SIZE {batch}, KERNELS {kernels} and NEURONS {neurons} take about "
            f"{needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: choose less."
        )


def _new_folder(settings, data_name):
    """Create a folder, named by learning rate, epochs, what differs from SHIPPED, and a number."""
    name = f"lr={settings.learning_rate:g},{settings.epochs}"
    sizes = ["batch_size", "kernels", "neurons"]
    if settings.network == "softmax":
        name, sizes = f"{name},softmax", ["batch_size"]
    for setting in sizes:
        if getattr(settings, setting) != SHIPPED[setting]:
            name += f",{setting}={getattr(settings, setting)}"
    if data_name != "MNIST":
        name += ",generated-digits" if data_name.startswith("generated") else ",other-digits"
    settings.logdir.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = settings.logdir / (name if number == 1 else f"{name},{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
