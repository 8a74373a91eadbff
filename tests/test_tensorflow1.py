"""How TensorFlow's errors are put, on this system and on others, and what a GPU would change."""

import errno
import os
import threading

from support import summaries, tensorflow1
from support.tensorflow1 import tf

import pytest

FULL = os.strerror(errno.ENOSPC)
ON_WINDOWS = "Failed to create a NewWriteableFile: D:\\runs\\x : {}.\r\n; No such process"
PATH_GONE = "The system cannot find the path specified"
CHINESE = UnicodeDecodeError(
    "utf-8", "系统找不到指定的路径。".encode("gbk"), 0, 1, "invalid start byte"
)


def error(kind, text):
    return kind(None, None, text)


@pytest.mark.parametrize(
    "told, number, words",
    [
        (
            RuntimeError(f"Graph execution error:\n\n/runs/x; {FULL}\n\t [[save]]"),
            errno.ENOSPC,
            FULL,
        ),
        (error(tf.errors.ResourceExhaustedError, f"/runs/x; {FULL}"), errno.ENOSPC, FULL),
        (error(tf.errors.NotFoundError, ON_WINDOWS.format(PATH_GONE)), errno.EIO, PATH_GONE),
        (
            error(tf.errors.UnknownError, ON_WINDOWS.format("磁盘空间不足")),
            errno.EIO,
            "磁盘空间不足",
        ),
        (CHINESE, errno.EIO, "the system met an error that TensorFlow cannot put into words"),
    ],
)
def test_errors_of_the_system(told, number, words):
    found = tensorflow1.in_words(told)
    assert isinstance(found, OSError)
    assert (found.errno, found.strerror) == (number, words)


@pytest.mark.parametrize(
    "told, kind",
    [
        (error(tf.errors.ResourceExhaustedError, "the device"), MemoryError),
        (error(tf.errors.InternalError, "OOM when allocating tensor with shape"), MemoryError),
        (error(tf.errors.InvalidArgumentError, "Nan in summary histogram for: x"), ArithmeticError),
        (error(tf.errors.InvalidArgumentError, "Infinity in summary histogram"), ArithmeticError),
    ],
)
def test_other_errors_with_words_of_their_own(told, kind):
    assert isinstance(tensorflow1.in_words(told), kind)


@pytest.mark.parametrize(
    "told",
    [
        RuntimeError("Input to reshape; 7 values"),  # as a slip in an edited network gives it
        error(tf.errors.InvalidArgumentError, "Input to reshape is : wrong"),
        error(tf.errors.UnknownError, "Nan in summary histogram for: x"),
        ValueError(f"/runs/x; {FULL}"),
        KeyError("OOM when allocating"),
        ZeroDivisionError(),
        None,
    ],
)
def test_slips_in_the_program_stay_as_they_are(told):
    assert tensorflow1.in_words(told) is told


def test_run_ends_in_a_sentence_when_windows_speaks_chinese(run_here, monkeypatch):
    """There, a disk that is full ends TensorFlow's own error in one about letters."""

    def fail(*words, **options):
        raise CHINESE

    for owner, name in [
        (tf.train.Saver, "save"),
        (tf.summary.FileWriter, "flush"),
        (summaries, "log_end"),
    ]:
        with monkeypatch.context() as windows:
            windows.setattr(owner, name, fail)
            status, _, err = run_here("--network", "softmax", "--epochs", "3")
        assert status == 1 and "Traceback" not in err
        assert err.splitlines()[-1].endswith("that TensorFlow cannot put into words")


def test_device(monkeypatch):
    """Without a GPU, to try it on, TensorFlow's word is all that there is."""
    monkeypatch.setenv("TF_DETERMINISTIC_OPS", "0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert tensorflow1.device(seed=1) == "the CPU"
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"])
    assert tensorflow1.device(seed=None) == "a GPU"
    assert os.environ["TF_DETERMINISTIC_OPS"] == "0"
    assert tensorflow1.device(seed=0) == "a GPU"
    assert os.environ["TF_DETERMINISTIC_OPS"] == "1"


def test_writers_are_quiet_and_other_threads_are_not(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda error: seen.append(error.thread.name))
    before = threading.excepthook

    def fail():
        raise ZeroDivisionError

    with tensorflow1.quiet_writers():
        for name in ["EventLoggerThread", "another"]:
            thread = threading.Thread(target=fail, name=name)
            thread.start()
            thread.join()
    assert seen == ["another"]
    assert threading.excepthook is before
