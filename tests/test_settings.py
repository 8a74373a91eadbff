"""The constants at the top of mnist.py, and the flags that take their place: good and bad ones."""

import math
import os
import sys
from pathlib import Path

from support.settings import read_settings
from support.terminal import Problem

import pytest

NUMBERS = ["learning_rate", "epochs", "batch_size", "seed", "kernels", "neurons"]
FLAGS = [*NUMBERS, "network", "data_dir", "logdir"]
GOOD = (
    [("LEARNING_RATE", value) for value in [1e-12, 0.5, 1, 9.9e37]]
    + [(name, value) for name in ["EPOCHS", "BATCH_SIZE", "KERNELS", "NEURONS"] for value in [1, 7]]
    + [("NETWORK", value) for value in ["convolutional", "softmax"]]
    + [("SEED", value) for value in [None, 0, 2**32 - 1]]
    + [("POINTS", 1)]
)
WRONG_COUNTS = [0, -5, 1.5, "many", True]
BAD = (
    [(name, value) for name in ["EPOCHS", "BATCH_SIZE"] for value in WRONG_COUNTS]
    + [(name, value) for name in ["KERNELS", "NEURONS"] for value in [0, 2.5, False, 10**7]]
    + [("LEARNING_RATE", value) for value in [0, -0.1, 1e38, 10**400, math.inf, math.nan, "fast"]]
    + [("LEARNING_RATE", True)]
    + [("NETWORK", value) for value in ["perceptron", "", 3]]
    + [("SEED", value) for value in [-1, 2**32, 0.5, "lucky", True]]
    + [("LOGDIR", value) for value in ["", __file__, f"{__file__}/runs", "no text: \udcff"]]
    + [("LOGDIR", value) for value in ["a*", "a?", "[a]", "D:\\a"]]
    + [("DATA_DIR", value) for value in ["", __file__]]
)
NO_TEXT = [("POINTS", 0), ("POINTS", None), ("EPOCHS", None), ("LEARNING_RATE", None)]
NO_TEXT += [("LOGDIR", 7), ("DATA_DIR", 7), ("LOGDIR", None), ("DATA_DIR", "a\0b")]

MEANINGS = {
    "LEARNING_RATE": "a number above 0 and below 1e38, such as 0.0001",
    "EPOCHS": "a whole number of steps, 1 or more",
    "NETWORK": "'convolutional' or 'softmax'",
    "BATCH_SIZE": "a whole number of images, 1 or more",
    "SEED": "None or a whole number from 0 to 4294967295",
    "DATA_DIR": "a folder",
    "LOGDIR": "a folder that can be written to, whose path is text without * ? [ \\",
    "POINTS": "a whole number of points, 1 or more",
    "KERNELS": "a whole number of kernels, 1 to 10000",
    "NEURONS": "a whole number of neurons, 1 to 1000000",
}


@pytest.fixture
def constants(tmp_path, monkeypatch):
    """The constants of mnist.py, as if it lay in tmp_path / "project"; the user is elsewhere."""
    import mnist

    (tmp_path / "project").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return vars(mnist) | {"__file__": str(tmp_path / "project" / "mnist.py")}


def test_constants_as_they_are(constants):
    settings = vars(read_settings(constants))
    assert sorted(settings) == sorted([*FLAGS, "points"])
    for name in settings.keys() - {"data_dir", "logdir"}:
        assert settings[name] == constants[name.upper()]


@pytest.mark.parametrize("name, value", GOOD)
def test_good_values(constants, name, value):
    given = [read_settings(constants | {name: value})]
    if name != "POINTS":
        given.append(read_settings(constants, [f"--{name.lower()}", value]))
    for settings in given:
        found = getattr(settings, name.lower())
        assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("name, value", BAD + NO_TEXT)
def test_bad_constant(constants, name, value):
    with pytest.raises(Problem) as raised:
        read_settings(constants | {name: value})
    sentence = str(raised.value)
    assert sentence.startswith(f"{name} at the top of mnist.py must be {MEANINGS[name]}, not ")
    shown = repr(value).strip("'")
    assert sentence.endswith((f"{shown}.", f"{shown}'.")) and "\n" not in sentence
    assert raised.value.status == 1
    sentence.encode()  # it is text, whatever the value is


@pytest.mark.parametrize("name, value", BAD)
def test_bad_flag(constants, name, value):
    with pytest.raises(Problem) as raised:
        read_settings(constants, [f"--{name.lower()}={value}"])
    sentence = str(raised.value)
    assert sentence.startswith(f"--{name.lower()} must be {MEANINGS[name]}, not ")
    assert "\n" not in sentence
    assert repr(str(value)).strip("'") in sentence and sentence.endswith("--help lists the flags.")
    assert raised.value.status == 2


@pytest.mark.parametrize(
    "flags, sentence",
    [
        ("--epochs", "Argument --epochs: expected one argument"),
        ("--epoch 5", "Unrecognized arguments: --epoch 5"),
        ("--points 5", "Unrecognized arguments: --points 5"),
        ("-f kernel.json", "Unrecognized arguments: -f kernel.json"),
        ("5", "Unrecognized arguments: 5"),
    ],
)
def test_flags_that_are_none(constants, flags, sentence):
    with pytest.raises(Problem) as raised:
        read_settings(constants, flags.split())
    assert str(raised.value) == f"{sentence}; --help lists the flags."
    assert raised.value.status == 2


def test_any_words_are_settings_or_one_sentence(constants, dice):
    """Whatever is typed behind a flag: a setting that keeps its promise, or a sentence."""
    letters = "0123456789eE+-._xj naifNone()[]{}'\"\\%~数\udc80 \t"
    for _ in range(300):
        name = dice.choice([*NUMBERS, "network"])
        word = "".join(dice.choices(letters, k=dice.randrange(8)))
        try:
            value = vars(read_settings(constants, [f"--{name}={word}"]))[name]
        except Problem as problem:
            assert problem.status == 2 and str(problem).startswith(f"--{name} must be ")
            assert "\n" not in str(problem)
        else:
            assert value is None or float(value) == float(word) >= 0


def test_relative_paths(constants, tmp_path):
    """A constant's start from the script's folder, a flag's from the current one."""
    folders = {"DATA_DIR": "data", "LOGDIR": Path("runs")}
    settings = read_settings(constants | folders)
    assert settings.data_dir == tmp_path / "project" / "data"
    assert settings.logdir == tmp_path / "project" / "runs"
    assert settings.logdir.is_dir() and not list(settings.logdir.iterdir())
    settings = read_settings(constants | folders, ["--logdir", "mine", "--data_dir", "../data"])
    assert settings.logdir.absolute() == tmp_path / "here" / "mine"
    assert settings.data_dir.resolve() == tmp_path / "data"


@pytest.mark.parametrize("name", ["7", "1e5", "None", "数字", "a b", "100%", "a]{b}!"])
def test_folders_may_have_any_name(constants, tmp_path, name):
    settings = read_settings(constants, ["--logdir", name, "--data_dir", name])
    assert settings.logdir.absolute() == settings.data_dir.absolute() == tmp_path / "here" / name
    assert (tmp_path / "here" / name).is_dir()


def test_data_may_lie_where_a_pattern_would_match(constants, tmp_path):
    (tmp_path / "here" / "[x]*?").mkdir()
    settings = read_settings(constants, ["--data_dir", "[x]*?"])
    assert settings.data_dir.absolute() == tmp_path / "here" / "[x]*?"


def test_home(constants, tmp_path):
    settings = read_settings(constants | {"LOGDIR": "~/runs"}, ["--data_dir", "~no such user/data"])
    assert settings.logdir == tmp_path / "home" / "runs"
    assert settings.data_dir.absolute() == tmp_path / "here" / "~no such user" / "data"


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="an administrator may write everywhere"
)
def test_folder_that_is_not_ours(constants, tmp_path):
    (tmp_path / "here").chmod(0o500)
    with pytest.raises(Problem, match="--logdir must be a folder that can be written to"):
        read_settings(constants, ["--logdir", "runs"])


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_help(constants, monkeypatch, capfd, encoding):
    monkeypatch.setattr(sys, "stdout", open(1, "w", encoding=encoding, closefd=False))
    with pytest.raises(Problem) as raised:
        read_settings(constants | {"LOGDIR": "100% 数字", "EPOCHS": 4321}, ["--help"])
    assert (str(raised.value), raised.value.status) == ("", 0)
    out, err = capfd.readouterr()
    told = " ".join(out.split())
    for name in FLAGS:
        assert f"--{name} VALUE " in told
    assert "mnist.py" in told and "4321 if left out" in told and "100% " in told
    assert ("数字" in told) == (encoding == "utf-8")
    assert "points" not in told and err == ""


def test_flags_may_be_what_a_notebook_writes(constants):
    given = ["--epochs", 5, "--learning_rate", 0.01, "--seed", None, "--logdir", Path("runs")]
    settings = read_settings(constants | {"SEED": 3}, given)
    assert (settings.epochs, settings.learning_rate, settings.seed) == (5, 0.01, None)
    assert settings.logdir == Path("runs")
    assert vars(read_settings(constants, ["--epochs", "5", "--epochs", "6"]))["epochs"] == 6
