"""support/tensorflow1.py: bfloat16, and TensorFlow's errors in Python's terms."""

import errno
import os

import numpy as np
import pytest

from support import tensorflow1
from support.tensorflow1 import tf

FULL = os.strerror(errno.ENOSPC)
ON_WINDOWS = "Failed to create a NewWriteableFile: D:\\runs\\x : {}.\r\n; No such process"
CHINESE = UnicodeDecodeError("utf-8", "系统找不到指定的路径。".encode("gbk"), 0, 1, "invalid start")


def error(kind, text):
    return kind(None, None, text)


@pytest.mark.parametrize(
    "flags, forced, precision",
    [
        ("avx512f avx512_vnni", "", "float32"),
        ("avx512_bf16", "", "bfloat16"),
        ("amx_bf16 amx_tile", "0", "bfloat16"),
        ("avx512_bf16", "1", "float32"),
    ],
)
def test_precision(tmp_path, monkeypatch, flags, forced, precision):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: fpu {flags} avx2\n")
    monkeypatch.setattr(tensorflow1, "Path", lambda name: cpuinfo)
    monkeypatch.setenv("MNIST_FLOAT32", forced)
    assert tensorflow1.precision() == precision


@pytest.mark.parametrize("precision, expected", [("float32", 2 + 2**-9), ("bfloat16", 2)])
def test_a_session_computes_in_a_precision(precision, expected):
    if tensorflow1.precision() == "float32" != precision:
        pytest.skip("this processor does not compute bfloat16")
    with tf.Graph().as_default(), tf.Session(config=tensorflow1.config(precision)) as session:
        factor = tf.placeholder(tf.float32, [None, 1])
        layer = tf.nn.relu(tf.matmul(factor, [[1.0]]) + 1.0)
        computed = session.run(layer, {factor: [[1 + 2**-9]]})
    assert computed.dtype == np.float32 and computed == expected


@pytest.mark.parametrize(
    "raised, number, words",
    [
        (RuntimeError(f"Graph execution error:\n\n/runs/x; {FULL}\n\t [[save]]"), "ENOSPC", FULL),
        (error(tf.errors.ResourceExhaustedError, f"/runs/x; {FULL}"), "ENOSPC", FULL),
        (error(tf.errors.UnknownError, ON_WINDOWS.format("磁盘空间不足")), "EIO", "磁盘空间不足"),
        (CHINESE, "EIO", "TensorFlow cannot decode the system's error"),
    ],
)
def test_errors_of_the_system(raised, number, words):
    found = tensorflow1.as_python_error(raised)
    assert isinstance(found, OSError)
    assert (errno.errorcode[found.errno], found.strerror) == (number, words)


def test_error_as_tensorflow_raises_it(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        write = tf.io.write_file(str(tmp_path / ("x" * 300)), "content")
        with pytest.raises(tf.errors.OpError) as raised:
            session.run(write)
    found = tensorflow1.as_python_error(raised.value)
    assert isinstance(found, OSError) and found.errno == errno.ENAMETOOLONG


def test_histogram_of_what_is_not_finite():
    with tf.Graph().as_default(), tf.Session() as session:
        with pytest.raises(tf.errors.InvalidArgumentError) as raised:
            session.run(tf.summary.histogram("weight", tf.constant([float("nan")])))
    assert isinstance(tensorflow1.as_python_error(raised.value), tensorflow1.NotFinite)


@pytest.mark.parametrize(
    "raised",
    [
        error(tf.errors.ResourceExhaustedError, "the device"),
        error(tf.errors.InternalError, "OOM when allocating tensor with shape"),
    ],
)
def test_no_memory(raised):
    assert isinstance(tensorflow1.as_python_error(raised), MemoryError)


@pytest.mark.parametrize(
    "raised",
    [
        RuntimeError("Input to reshape; 7 values"),  # as a slip in an edited network gives it
        error(tf.errors.InvalidArgumentError, "Input to reshape is : wrong"),
        ValueError(f"/runs/x; {FULL}"),
        None,
    ],
)
def test_slips_in_the_program_stay_as_they_are(raised):
    assert tensorflow1.as_python_error(raised) is raised
