"""What a terminal and other consoles show, here and on other systems; signals."""

import contextlib
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
from tqdm import tqdm

from helpers import PROJECT, heed_signals, wait_for
from helpers.small_mnist import small_set, write
from support import terminal

SHORT, ENDLESS = (["--network", "softmax", "--epochs", epochs] for epochs in [20, 10**6])


@pytest.fixture
def start(tmp_path):
    """Start mnist.py as its user would, in tmp_path; further keywords are those of Popen."""
    write(tmp_path, small_set(600, 300))
    command = [sys.executable, PROJECT / "mnist.py", "--data_dir", ".", "--logdir", "runs"]
    environment = os.environ | {"COLUMNS": ""}
    with contextlib.ExitStack() as processes:

        def start(*flags, preexec_fn=heed_signals, **options):
            options |= {"cwd": tmp_path, "env": environment, "preexec_fn": preexec_fn}
            process = subprocess.Popen([*map(str, [*command, *flags])], **options)
            processes.enter_context(process)
            processes.callback(process.kill)
            return process

        yield start


def record_of(tmp_path):
    return next(tmp_path.glob("runs/*/run.json")).read_text()


# ---------------------------------------------------------------------- errors and exit statuses


ENDINGS = [(None, 0), (KeyboardInterrupt(), 130), (terminal.Problem("EPOCHS is wrong."), 1)]


@pytest.mark.parametrize("error, status", [*ENDINGS, (terminal.Problem("Stopped.", 143), 143)])
def test_endings(capsys, monkeypatch, error, status):
    def main(flags):
        assert flags == ["--epochs", "5"]
        if error:
            raise error

    monkeypatch.setattr(sys, "argv", ["mnist.py", "--epochs", "5"])
    with pytest.raises(SystemExit) as exit:
        terminal.program(main)
    assert exit.value.code == status
    sentence = f"{error}\n" if isinstance(error, terminal.Problem) else ""
    assert capsys.readouterr() == ("", sentence)


# -------------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    "encoding, shown",
    [("utf-8", "数字 🖌"), ("gbk", "数字 \\U0001f58c"), ("ascii", "\\u6570\\u5b57 \\U0001f58c")],
)
def test_characters_that_a_console_lacks(monkeypatch, encoding, shown):
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding))
    monkeypatch.setattr(sys, "argv", ["mnist.py"])
    with pytest.raises(SystemExit):
        terminal.program(lambda flags: terminal.say("数字 🖌"))
    assert screen.getvalue().decode(encoding) == f"{shown}\n"


def test_sentence_below_a_bar(monkeypatch):
    """A bar of the reader's own, around several runs, leaves the line to the sentence."""
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    for _ in tqdm(range(1)):
        terminal.say("Test accuracy 97%")
    assert re.search(r"\r *\rTest accuracy 97%\n\r +0%\|", screen.getvalue())


def close_all():
    heed_signals()
    for number in range(3):
        os.close(number)


def test_run_whose_output_nobody_takes(start, tmp_path):
    """As after `<&- >&- 2>&-`, `> /dev/full 2>&1`, and `2>&1 | head -1`."""
    closed = start(*SHORT, preexec_fn=close_all)
    with open("/dev/full", "w") as device:
        full = start(*SHORT, stdout=device, stderr=device)
    left = start(*SHORT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    left.stdout.readline()
    left.stdout.close()
    assert [process.wait(timeout=120) for process in [closed, full, left]] == [0, 0, 0]
    records = [path.read_text() for path in (tmp_path / "runs").glob("*/run.json")]
    assert ['"finished"' in record for record in records] == [True] * 3


# -------------------------------------------------------------------------------------- paths


def test_short(tmp_path, monkeypatch):
    below = tmp_path / "here" / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert terminal.short(below) == terminal.short("a/b") == terminal.short("a/../a/b/") == "a/b"
    assert terminal.short(tmp_path) == terminal.short("..") == str(tmp_path)
    assert terminal.short(tmp_path / "hereafter") == str(tmp_path / "hereafter")
    monkeypatch.chdir(below)
    below.rmdir()  # the current folder is gone
    assert terminal.short(tmp_path) == str(tmp_path)


# ---------------------------------------------------------------------------------------- the bar


@pytest.mark.parametrize("columns", [0, 132])
def test_bar_and_interrupt_on_a_terminal(start, tmp_path, columns):
    """The bar stays on its line; Ctrl-C ends the run with its result, then with a sentence."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, columns, 0, 0))
    process = start(*ENDLESS, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = b""
    with contextlib.suppress(OSError):  # the program has closed the terminal
        while part := os.read(ours, 4096):
            if screen.count(b"\r ") < 5 <= (screen + part).count(b"\r "):
                process.send_signal(signal.SIGINT)
            screen += part
    os.close(ours)
    assert process.wait() == 130
    before, *bars, last = screen.decode().replace("\r\n", "\n").split("\r")
    assert "Training the softmax" in before and before.endswith("other-digits\n")
    bars.append(last.splitlines()[0])
    assert {len(bar) for bar in bars} == {(columns or 80) - 1}  # so it never wraps
    words = r" *\d+%\|.*\| (\d+)/1000000 \[[^,]*, loss [\d.e+-]+, test accuracy [\d.]+%\]"
    steps = [int(re.fullmatch(words, bar)[1]) for bar in bars[1:]]
    assert steps == sorted(steps) and len(steps) >= 5
    _, result, sentence = last.splitlines()
    assert result.startswith("Test accuracy ") and "The network is saved in runs/" in result
    assert re.match(r"Stopped at step \d+ of 1000000\. To continue, ", sentence)
    assert '"stopped"' in record_of(tmp_path)


def bar_lines(monkeypatch, encoding="utf-8"):
    """List what a bar writes to standard error, if a minute lasts 60 ms."""
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(screen, encoding, newline=""))
    with terminal.bar(total=200) as bar:
        bar.mininterval /= 1000
        for _ in range(200):
            bar.set_postfix_str("loss 0.5", refresh=False)
            bar.update()
            time.sleep(0.0002)
    return screen.getvalue().decode(encoding).split("\r")[1:]


def test_bar_elsewhere(monkeypatch):
    """In a file, it is written at the beginning, once a minute, and at the end."""
    few = bar_lines(monkeypatch)
    assert 2 <= len(few) <= 6 and {len(line.strip("\n")) for line in few} == {100}
    assert re.fullmatch(r"100%\|█+\| 200/200 \[00:\d\d<00:00, .*, loss 0.5\]\n", few[-1])
    assert "###" in bar_lines(monkeypatch, encoding="ascii")[-1]
    monkeypatch.setenv("PYCHARM_HOSTED", "1")  # PyCharm's console shows "\r", but is no terminal
    assert len(bar_lines(monkeypatch)) > 30


# ---------------------------------------------------------------------------------------- signals


def test_signal_that_is_ignored_stays_ignored():
    """As SIGHUP is after nohup. The others are noted, and afterwards end the program again."""
    handlers = {signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    with terminal.noted_signals() as noted:
        for number in handlers:
            signal.raise_signal(number)
    assert noted == [signal.SIGTERM]
    assert {number: signal.signal(number, before[number]) for number in handlers} == handlers


def test_hang_up_of_the_terminal_saves_what_was_learned(start, tmp_path):
    ours, theirs = pty.openpty()
    process = start(*ENDLESS, stdout=theirs, stderr=theirs)
    os.close(theirs)
    wait_for(lambda: list(tmp_path.glob("runs/*/model.ckpt-*.index")))
    os.close(ours)  # from here on, to write to the terminal is an error
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    assert '"stopped"' in record_of(tmp_path)
