"""One training run: its folder, its steps, what it saves, and how it ends."""

import argparse
import collections
import contextlib
import dataclasses
import errno
import itertools
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import checkpoints, language, ranking, saved, summaries, tensorflow1, terminal
from support.tensorflow1 import tf

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

LEAST_FREE = 4_000_000  # bytes on the disk: more than the writers write between two checks
# The layers are logged after these parts of a run. There are ten, because TensorBoard shows ten
# pictures of a tag. Most are early, when the layers change most.
LOOKS = [0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 0.75, 1]
SAVE_EVERY = 10  # seconds; the network is also saved at each of the LOOKS
SAVE_ALL_EVERY = 60  # seconds; what a run needs to continue is also saved at quarters and the end

# What is due at a step. `test`: images and labels to test on, or None. The rest is True or False:
# `train`, a point of the training curves; `histograms` of the layers; `pictures` of the mistakes on
# all test images; `last`, the end of the run.
Due = collections.namedtuple("Due", "train test histograms pictures last")


class Run:
    """One training run: it counts steps, and saves the network.

    It has a `folder`, a `record`, and `config`, the options of the session that trains the network.
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
        self._train, self._test = data.train, data.test
        self._continued = settings.continue_run
        if self._continued:
            self._continue(data.train.name)
        else:
            self._create(data)
        self.config = tensorflow1.config(self.record.precision)
        self._has_begun = not self._continued  # until then, a continued run keeps its old record
        self._images = 0  # how many images are tested now
        self._layers: summaries.Layers | None = None
        self._checkpoints: Any = None
        self._writers: list = []
        self._checkpoint, self._saved_step = "", -1
        self._saved_time = self._all_saved_time = time.monotonic()
        self._signals: list[int] = []  # those that asked the run to stop
        self._bar = terminal.bar(disable=True)
        self._on_exit = contextlib.ExitStack()
        device = tensorflow1.device(settings.repeatable)
        terminal.say(
            f"Training the {settings.network} network on {data.train.name}, with {device}, "
            f"in {self.record.precision}: {images:,} training images, "
            f"{data.test.num_examples:,} test images."
        )
        if data.own_names:
            tested = len(data.own_test[1]) if data.own_test else 0
            terminal.say(
                f"In each batch, {settings.own_digits} images are your own digits: "
                f"{len(data.own_names)} to learn from, {tested} for tests."
            )
        if not self._continued:
            terminal.say(f"Writing to {terminal.short(self.folder)}")

    def _create(self, data):
        """Create the folder, with mnist.py and the record in it."""
        settings = self.settings
        try:
            self.record = saved.new_record(settings, data.train.name)
            self.record.precision = tensorflow1.precision()
            self.record.own_names = data.own_names
            name = ranking.settings_of(self.record, settings.epochs)
            self.folder = _new_folder(settings.logdir, name)
            self.record.name = self.folder.name
            shutil.copyfile(settings.program, self.folder / "mnist.py")
            self.record.write(self.folder)
        except OSError as error:
            reason = f"cannot be written to ({error.strerror}): choose another folder."
            raise terminal.Problem(f"LOGDIR {terminal.short(settings.logdir)} {reason}") from error

    def _continue(self, data_name):
        """Take the folder and the record of the run to continue. Raises Problem."""
        settings, record = self.settings, self._continued.record
        if ranking.kind_of(record.data) != ranking.kind_of(data_name):
            place = terminal.short(settings.data_dir)
            raise terminal.Problem(
                f"{record.name} learned from {record.data}, but {place} holds {data_name}: "
                "name the folder of its digits with --data_dir."
            )
        self.record = dataclasses.replace(
            record,
            status="running",
            started=time.time(),
            epochs=settings.epochs,
            precision=tensorflow1.precision(),
            step=record.resumable,
        )
        self.folder = self._continued.folder
        # Two event files of the same second would have the same name.
        while list(self.folder.glob(f"*/events.out.tfevents.{int(time.time())}.*")):
            time.sleep(0.1)

    def __enter__(self) -> "Run":
        """Note signals from now on."""
        if fcntl:
            self._on_exit.callback(os.close, _lock(self.folder))
        self._signals = self._on_exit.enter_context(terminal.noted_signals())
        self._on_exit.enter_context(tensorflow1.quiet_writers())
        return self

    def steps(self, session: tf.Session, train_writer: Any, test_writer: Any) -> Iterator[tuple]:
        """Count from 0 to the last step, with a progress bar; yield each step and its Due.

        A continued run gets its saved values and counts from their step. The graph of the session
        must be complete, and its variables must have their first values.
        """
        epochs, first = self.settings.epochs, self.record.step
        ended = bool(self._continued) and self._continued.record.status in saved.ENDED
        every = max(1, epochs // self.settings.points)
        test_every = max(5, every)
        looks = {round(epochs * part) for part in LOOKS}
        quarters = {round(epochs * k / 4) for k in (1, 2, 3)} if epochs >= 400 else set()
        has_histograms = bool(tf.get_collection(tf.GraphKeys.SUMMARIES))  # a reader may delete them
        self._writers = [train_writer, test_writer]
        if not all(isinstance(writer, tf.summary.FileWriter) for writer in self._writers):
            raise terminal.Problem("run.steps takes a session and two tf.summary.FileWriter.")
        if not tf.trainable_variables():
            raise terminal.Problem("The graph has no variables: call build(settings) first.")
        self._layers = summaries.Layers(session, self._test.images[:500], self._test.labels[:500])
        self._checkpoints = checkpoints.Checkpoints(self.folder)
        first_logged = first + 1 if ended else first
        if self._continued:
            self._load(session)
            self._test.skip(500 * len({*range(0, first_logged, test_every)} - quarters))
        else:
            self.record.graph = checkpoints.fingerprint()
            self._checkpoints.save_graph()
        for writer in self._writers:  # TensorBoard then drops what a killed run logged later
            writer.add_session_log(tf.SessionLog(status=tf.SessionLog.START), first_logged)
        self._has_begun = True
        summaries.log_settings(test_writer, self.record, continued=bool(self._continued))
        words = "{percentage:3.0f}%|{bar}| {n}/{total} [{elapsed}<{remaining}{postfix}]"
        bar = terminal.bar(total=epochs, initial=first, bar_format=words)
        self._bar = self._on_exit.enter_context(bar)
        for step in range(first, epochs + 1):
            self.record.step = step
            last = step == epochs or bool(self._signals)
            look, all_digits = last or step in looks, last or step in quarters
            if step == first and ended:  # this step was tested and logged when the run ended
                yield step, Due(step % every == 0, None, False, False, False)
                self._bar.update()
                continue
            now = time.monotonic()
            if last or step in quarters or now - self._all_saved_time >= SAVE_ALL_EVERY:
                self._save(session, everything=True)
            elif look or now - self._saved_time >= SAVE_EVERY:
                self._save(session)
            if look:
                self._layers.log(train_writer, step)
            test = None
            if all_digits:
                test = self._test.images, self._test.labels
            elif step % test_every == 0:
                test = self._test.next_batch(500)
            self._images = len(test[1]) if test else 0
            yield step, Due(step % every == 0, test, look and has_histograms, all_digits, last)
            if last:
                return
            if test:
                self._flush()
            self._bar.update()

    def _load(self, session):
        """Restore the session's variables, and skip the training images that the run has used."""
        if self.record.graph != checkpoints.fingerprint():
            reason = "mnist.py now has another network, or trains it differently"
            advice = "copy the mnist.py in its folder over this one"
            raise terminal.Problem(f"{self.folder.name} cannot continue: {reason}; {advice}.")
        step, epochs = self.record.step, self.settings.epochs
        sentence = f"Continuing {terminal.short(self.folder)} from step {step} to {epochs}"
        before = self._continued.record.precision
        if self.record.precision != before:
            sentence += f", in {self.record.precision} (until now, in {before})"
        if step == 0:
            sentence += ", because no complete checkpoint was saved"
        else:
            self._checkpoints.load(session, step)
        self._train.skip(step * self.settings.batch_size)
        terminal.say(sentence)

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
        self._bar.set_postfix_str(language.translate(words, sys.stderr), refresh=False)

    def _save(self, session, everything=False):
        """Save W and B, or everything that the run needs to continue; delete older checkpoints."""
        record = self.record
        if 0 < record.step == record.resumable:  # a continued run was saved at this step
            return
        self._flush()  # so that the curves reach at least to this step
        self._checkpoint = self._checkpoints.save(session, record.step, everything)
        self._saved_step, self._saved_time = record.step, time.monotonic()
        if everything:
            record.resumable, self._all_saved_time = record.step, self._saved_time
        record.write(self.folder)
        self._checkpoints.delete_others(record.step, record.resumable or record.step)

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
                if self._has_begun:
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
        way = "add the flag --continue=newest"
        if terminal.in_notebook():
            way = 'set mnist.CONTINUE = "newest"'
        if self._signals and record.status == "stopped":
            sentence = f"Stopped at step {record.step} of {record.epochs}. To continue, {way}."
            raise terminal.Problem(sentence, 128 + self._signals[0])
        only_guesses = record.accuracy is not None and record.accuracy < 0.15
        if only_guesses:
            cause = f" {self._layers.cause()}" if self._layers else ""
            terminal.say(f"That is no better than guessing.{cause}")
        comparison = ranking.compare(self.folder, record)
        if comparison:
            terminal.say(comparison)
        logdir = terminal.quoted(f"{terminal.short(self.settings.logdir)}/")
        terminal.say(f"To see how it learned: tensorboard --logdir={logdir}")
        if comparison:
            terminal.say(f"To compare the runs, one colour per learning rate: {summaries.LINK}")
        again = "Next, change LEARNING_RATE or EPOCHS at the top of mnist.py, run it again"
        if terminal.in_notebook():
            again = "Next, set mnist.LEARNING_RATE or mnist.EPOCHS, call mnist.main() again"
        terminal.say(f"{again}, and compare the curves.")
        if not only_guesses:
            terminal.say(f"Or continue this run: increase EPOCHS and {way}.")


def _finite(value):
    """Return a float. Raises NotFinite if it is infinite or NaN, Problem if it is no number."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise terminal.Problem(f"A loss or an accuracy must be a number, not {kind}.") from None
    if not math.isfinite(value):
        raise tensorflow1.NotFinite(f"The loss is {value}")
    return value


def _lock(folder):
    """Lock a run's folder, so that no other program trains it; return what os.close unlocks."""
    descriptor = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):  # some network drives cannot lock a folder
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sentence = f"Another program is training {terminal.short(folder)}."
            raise terminal.Problem(sentence) from None
    return descriptor


def _check_size(settings, images):
    """Raise Problem if a batch is larger than the data, or if the memory is too small.

    Linux would kill the program without a message. Measured: a weight takes up to 40 bytes. An
    output of a layer takes 12 for each image of a batch, or of 1,000 that are tested together.
    """
    batch, kernels, neurons = settings.batch_size, settings.kernels, settings.neurons
    if batch > images:
        sentence = f"BATCH_SIZE {batch} is more than the {images:,} training images: choose less."
        raise terminal.Problem(sentence)
    meminfo = Path("/proc/meminfo")  # only Linux has this file
    if settings.network == "softmax" or not meminfo.exists():
        return
    weights, values = 14 * 14 * kernels * neurons, 28 * 28 * kernels + neurons
    needed = 40 * weights + 12 * max(batch, 1000) * values
    line = re.search(r"MemAvailable:\s*(\d+) kB", meminfo.read_text())
    free = 1024 * int(line[1]) if line else needed
    if needed > free:
        raise terminal.Problem(
            f"BATCH_SIZE {batch}, KERNELS {kernels} and NEURONS {neurons} need about "
            f"{needed / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are free: choose less."
        )


def _new_folder(logdir, name):
    """Create a folder of this name in the log folder, with a number after it if there is one."""
    logdir.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = logdir / (name if number == 1 else f"{name},{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
