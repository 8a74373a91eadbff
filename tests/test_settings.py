"""The constants at the top of mnist.py, and the flags that take their place: good and bad ones."""

import math
from pathlib import Path

import numpy as np
import pytest

import mnist
from support.settings import read_settings
from support.terminal import Problem

NUMBERS = ["learning_rate", "epochs", "batch_size", "seed", "kernels", "neurons"]
NUMBERS += ["shift", "own_digits"]
FLAGS = [*NUMBERS, "network", "data_dir", "logdir"]


@pytest.fixture
def constants(tmp_path, monkeypatch):
    """The constants of mnist.py, as if it lay in tmp_path / "project"; the user is elsewhere."""
    (tmp_path / "project").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return vars(mnist) | {"__file__": str(tmp_path / "project" / "mnist.py")}


MEANT = [("LEARNING_RATE", value, float(value)) for value in [1e-12, 1, "0.001", np.float32(0.5)]]
MEANT += [("LEARNING_RATE", 1 / 10000, 0.0001), ("LEARNING_RATE", 9.9e37, 9.9e37)]
MEANT += [
    (name, value, 2000)
    for name in ["EPOCHS", "BATCH_SIZE", "KERNELS", "NEURONS", "SEED", "POINTS"]
    for value in [2000, 2e3, "2000", "2e3", " 2000 ", np.int64(2000), np.float32(2000)]
]
MEANT += [("SHIFT", value, 14) for value in [14, "14", np.int64(14)]]
MEANT += [("SHIFT", 0, 0), ("OWN_DIGITS", 0, 0), ("OWN_DIGITS", "100", 100)]
MEANT += [("EPOCHS", 1, 1), ("EPOCHS", 10**30, 10**30), ("SEED", 0, 0)]
MEANT += [("SEED", 2**32 - 1, 2**32 - 1)]
MEANT += [("NETWORK", value, "softmax") for value in ["softmax", "Softmax", " SOFTMAX "]]
MEANT += [("NETWORK", "Convolutional", "convolutional")]


@pytest.mark.parametrize("name, value, meant", MEANT)
def test_values_whose_meaning_is_clear(constants, name, value, meant):
    given = [read_settings(constants | {name: value})]
    if name != "POINTS":
        given.append(read_settings(constants, [f"--{name.lower()}", value]))
    for settings in given:
        found = getattr(settings, name.lower())
        assert (type(found), found) == (type(meant), meant)


def test_without_a_seed_one_is_drawn(constants):
    drawn = [read_settings(constants | {"SEED": value}) for value in [None, "None", None]]
    assert len({settings.seed for settings in drawn}) == 3
    assert not any(settings.repeatable for settings in drawn)
    assert read_settings(constants | {"SEED": 0}).repeatable


WRONG_COUNTS = [0, -5, 1.5, "many", "", math.inf, math.nan]
BAD = {
    "EPOCHS": ("a whole number of steps, 1 or more", WRONG_COUNTS),
    "BATCH_SIZE": ("a whole number of images, 1 or more", WRONG_COUNTS),
    "KERNELS": ("a whole number of kernels, 1 to 10000", [0, 2.5, 10**5]),
    "NEURONS": ("a whole number of neurons, 1 to 1000000", [0, 2.5, 10**7, 10**400]),
    "SHIFT": ("a whole number of pixels, 0 to 14", [-1, 15, 0.5, "far", ""]),
    "OWN_DIGITS": ("a whole number of images, 0 to BATCH_SIZE", [-1, 0.5, "all"]),
    "LEARNING_RATE": (
        "a number above 0 and below 1e38",
        [0, -0.1, 1e38, 10**400, math.inf, math.nan, "fast", ""],
    ),
    "NETWORK": (
        "'convolutional' or 'softmax' (KINDS in support/settings.py)",
        ["perceptron", "", 3],
    ),
    "SEED": ("None or a whole number from 0 to 4294967295", [-1, 2**32, 0.5, "lucky"]),
    "LOGDIR": (
        "a folder whose path is text without * ? [ \\",
        ["", __file__, "no text: \udcff", "a*", "a?", "[a]", "D:\\a"],
    ),
    "DATA_DIR": ("a folder", ["", __file__]),
}
NO_WORDS = {  # values that only a constant can have
    "EPOCHS": [True, None, [], 2j],
    "POINTS": [0, None],
    "LEARNING_RATE": [True, None, []],
    "NETWORK": [None, ["softmax"], mnist.convolutional],
    "SEED": [True, []],
    "LOGDIR": [7, None],
    "DATA_DIR": [7, None],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_values(constants, name):
    """The sentence names the place and the value, and says what is allowed. It is text."""
    meaning, values = BAD[name]
    for value in [*values, *NO_WORDS.get(name, [])]:
        with pytest.raises(Problem) as raised:
            read_settings(constants | {name: value})
        sentence = str(raised.value)
        assert sentence.startswith(f"{name} at the top of mnist.py must be {meaning}, not ")
        shown = repr(value).strip("'")
        assert sentence.endswith((f"{shown}.", f"{shown}'.")) and raised.value.status == 1
        assert "\n" not in sentence and sentence.encode()
    for value in values:
        with pytest.raises(Problem) as raised:
            read_settings(constants, [f"--{name.lower()}={value}"])
        sentence = str(raised.value)
        assert sentence.startswith(f"--{name.lower()} must be {meaning}, not ")
        assert sentence.endswith("; --help lists the flags.") and raised.value.status == 2
        assert repr(str(value)).strip("'") in sentence and "\n" not in sentence


def test_more_own_digits_than_a_batch_has(constants):
    constants |= {"BATCH_SIZE": 50}
    for values, flags, start, status in [
        ({"OWN_DIGITS": 51}, [], "OWN_DIGITS at the top of mnist.py", 1),
        ({}, ["--own_digits=51"], "--own_digits", 2),
        ({"OWN_DIGITS": 50}, ["--batch_size", 49], "OWN_DIGITS at the top of mnist.py", 1),
    ]:
        with pytest.raises(
            Problem, match=r"must be (50|49) \(BATCH_SIZE\) or less, not 5"
        ) as raised:
            read_settings(constants | values, flags)
        assert str(raised.value).startswith(start) and raised.value.status == status


@pytest.mark.parametrize("name", ["EPOCHS", "POINTS", "LOGDIR"])
def test_constant_that_is_missing_or_misspelt(constants, name):
    value = constants.pop(name)
    with pytest.raises(Problem) as raised:
        read_settings(constants | {f"{name}S": value})
    sentence = f"mnist.py has no constant {name}: write {name} = {value!r} at its top."
    assert (str(raised.value), raised.value.status) == (sentence, 1)


@pytest.mark.parametrize("flags", ["--epoch 5", "--points 5", "-f kernel.json", "5"])
def test_flags_that_are_none(constants, flags):
    with pytest.raises(Problem) as raised:
        read_settings(constants, flags.split())
    assert str(raised.value) == f"Unrecognized arguments: {flags}; --help lists the flags."
    assert raised.value.status == 2


def test_relative_paths(constants, tmp_path):
    """A constant's start from the script's folder, a flag's from the current one."""
    folders = {"DATA_DIR": "data", "LOGDIR": Path("runs")}
    settings = read_settings(constants | folders)
    assert settings.data_dir == tmp_path / "project" / "data"
    assert settings.logdir == tmp_path / "project" / "runs"
    settings = read_settings(constants | folders, ["--logdir", "mine", "--data_dir", "../data"])
    assert settings.logdir.absolute() == tmp_path / "here" / "mine"
    assert settings.data_dir.resolve() == tmp_path / "data"
    settings = read_settings(constants | {"LOGDIR": "~/runs"}, ["--data_dir", "~no such user/data"])
    assert settings.logdir == tmp_path / "home" / "runs"
    assert settings.data_dir.absolute() == tmp_path / "here" / "~no such user" / "data"
    assert not list((tmp_path / "here").iterdir()) + list((tmp_path / "project").iterdir())


def test_folders_may_have_any_name(constants, tmp_path):
    for name in ["7", "1e5", "None", "数字", "a b", "100%", "a]{b}!"]:
        settings = read_settings(constants, ["--logdir", name, "--data_dir", name])
        for folder in [settings.logdir, settings.data_dir]:
            assert folder.absolute() == tmp_path / "here" / name
    (tmp_path / "here" / "[x]*?").mkdir()  # TensorFlow writes nothing here
    assert read_settings(constants, ["--data_dir", "[x]*?"]).data_dir.is_dir()


def test_help(constants, capsys):
    with pytest.raises(SystemExit):
        read_settings(constants | {"LOGDIR": "100% 数字", "EPOCHS": 4321}, ["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"--{name} VALUE " in shown for name in FLAGS) and "points" not in shown
    assert "4321 if left out" in shown and "100% 数字" in shown


def test_flags_may_be_what_a_notebook_writes(constants):
    given = ["--epochs", 5, "--learning_rate", 0.01, "--seed", None, "--logdir", Path("runs")]
    settings = read_settings(constants | {"SEED": 3}, given)
    assert (settings.epochs, settings.learning_rate, settings.repeatable) == (5, 0.01, False)
    assert settings.logdir == Path("runs")
    assert read_settings(constants, ["--epochs", "5", "--epochs", "6"]).epochs == 6
