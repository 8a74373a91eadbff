"""What a terminal and other consoles are shown, here and on other systems, and what they send."""

import contextlib
import io
import ntpath
import os
import pathlib
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading

from support import terminal

import pytest

from helpers import heed_signals, wait_for

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def signals():
    """Heed the signals, whatever pytest was started by, and give them back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heed_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# ---------------------------------------------------------------------- errors and exit statuses


def raising(error):
    def main(flags=()):
        if error:
            raise error

    return main


ENDINGS = [
    (None, 0, ""),
    (terminal.Problem("EPOCHS is wrong."), 1, "EPOCHS is wrong.\n"),
    (terminal.Problem("--epochs is wrong.", 2), 2, "--epochs is wrong.\n"),
    (terminal.Problem("", 143), 143, ""),
    (FileNotFoundError(2, "No such file", "x.gz"), 1, "x.gz: No such file\n"),
    (OSError(28, "No space left"), 1, "No space left\n"),
    (OSError("cannot identify it"), 1, "cannot identify it\n"),
    (KeyboardInterrupt(), 130, ""),
]


@pytest.mark.parametrize("error, status, sentence", ENDINGS)
def test_endings(capsys, error, status, sentence):
    with pytest.raises(SystemExit) as exit:
        terminal.program(raising(error))
    assert exit.value.code == status
    assert capsys.readouterr() == ("", sentence)
    # A notebook calls the same main, and gets the same sentence, but no SystemExit.
    assert terminal.in_plain_words(raising(error))() is None
    assert capsys.readouterr() == ("", sentence)
    with pytest.raises(SystemExit) as exit:
        terminal.program(terminal.in_plain_words(raising(error)))
    assert exit.value.code == status


def test_bugs_are_raised():
    with pytest.raises(ZeroDivisionError):
        terminal.program(raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        terminal.in_plain_words(raising(ZeroDivisionError()))()


def test_flags(monkeypatch):
    """The program hands main the command line; whoever calls main, only what they say."""
    seen = []

    @terminal.in_plain_words
    def main(flags=()):
        """Say what it does."""
        seen.append(list(flags))

    monkeypatch.setattr(sys, "argv", ["mnist.py", "--epochs", "5"])
    with pytest.raises(SystemExit):
        terminal.program(main)
    main()
    main(["--seed", "3"])
    assert seen == [["--epochs", "5"], [], ["--seed", "3"]]
    assert (main.__name__, main.__doc__) == ("main", "Say what it does.")


@pytest.mark.parametrize(
    "before, within",
    [
        (signal.SIG_DFL, signal.default_int_handler),  # so ends the import of mnist.py
        (signal.SIG_IGN, signal.SIG_IGN),  # as a shell's `&` sets it
        (signal.default_int_handler, signal.default_int_handler),
    ],
)
def test_program_heeds_an_interrupt(before, within):
    signal.signal(signal.SIGINT, before)
    seen = []
    with pytest.raises(SystemExit):
        terminal.program(lambda flags: seen.append(signal.getsignal(signal.SIGINT)))
    assert seen == [within]


# -------------------------------------------------------------------------------------- sentences


class Screen(io.RawIOBase):
    """What arrives on a screen; `failure`, if any, is what it answers to a write."""

    def __init__(self, failure=None):
        self.shown, self.failure = b"", failure

    def writable(self):
        return True

    def write(self, data):
        if self.failure:
            raise self.failure
        self.shown += data
        return len(data)


class Stream(io.TextIOWrapper):
    """What stands in the place of `stdout` or `stderr`."""


def show_on(monkeypatch, stream, encoding="utf-8", failure=None):
    """Put a screen in the place of `stdout` or `stderr`."""
    screen = Screen(failure)
    text = Stream(io.BufferedWriter(screen), encoding, newline="")
    monkeypatch.setattr(sys, stream, text)
    return screen


@pytest.mark.parametrize(
    "encoding, shown",
    [
        ("utf-8", "in 数字/é\n".encode()),
        ("ascii", b"in \\u6570\\u5b57/\\xe9\n"),
        ("cp1252", b"in \\u6570\\u5b57/\xe9\n"),
        ("gbk", "in 数字/é\n".encode("gbk")),
    ],
)
def test_characters_that_a_console_cannot_show(monkeypatch, encoding, shown):
    out, err = (show_on(monkeypatch, stream, encoding) for stream in ["stdout", "stderr"])
    terminal.say("in 数字/é")
    assert out.shown == shown  # at once, and in one piece
    terminal.in_plain_words(raising(terminal.Problem("in 数字/é")))()
    assert (out.shown, err.shown) == (shown, shown)


@pytest.mark.parametrize("failure", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space")])
def test_outputs_that_take_nothing(monkeypatch, failure):
    for stream in ["stdout", "stderr"]:
        show_on(monkeypatch, stream, failure=failure)
    terminal.say("nobody reads this")
    terminal.in_plain_words(raising(terminal.Problem("nor this")))()
    with terminal.progress_bar(3) as bar:
        bar.update(3)
    for stream in [sys.stdout, sys.stderr]:  # else Python would try it once more at the end
        with contextlib.suppress(OSError):
            stream.detach()


@pytest.mark.parametrize("closed", [True, False])
def test_outputs_that_are_closed_or_missing(monkeypatch, closed):
    stream = io.StringIO()
    stream.close()
    for name in ["stdout", "stderr"]:
        monkeypatch.setattr(sys, name, stream if closed else None)
    terminal.say("nobody reads this")
    terminal.in_plain_words(raising(terminal.Problem("nor this")))()
    if not closed:
        with terminal.progress_bar(3) as bar:
            bar.update(3)


def test_program_without_any_output(start, tmp_path):
    """As `python mnist.py <&- >&- 2>&-`: the run is made all the same."""

    def close():
        heed_signals()
        for number in range(3):
            os.close(number)

    process = start("--network", "softmax", "--epochs", "20", preexec_fn=close)
    assert process.communicate(timeout=120) == ("", "")
    assert process.returncode == 0
    assert '"finished"' in next(tmp_path.glob("runs/*/run.json")).read_text()


def test_reader_of_the_output_may_leave(start, tmp_path):
    process = start("--network", "softmax", "--epochs", "20", stderr=subprocess.STDOUT)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert '"finished"' in next(tmp_path.glob("runs/*/run.json")).read_text()


# -------------------------------------------------------------------------------------- paths


def test_short(tmp_path, monkeypatch):
    below = tmp_path / "here" / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert terminal.short(below) == terminal.short("a/b") == terminal.short("a/../a/b/") == "a/b"
    assert terminal.short(tmp_path) == terminal.short("..") == str(tmp_path)
    assert terminal.short(tmp_path / "hereafter") == str(tmp_path / "hereafter")
    assert terminal.short(".") == "."
    monkeypatch.chdir(below)
    below.rmdir()  # the current folder is gone
    assert terminal.short(tmp_path) == str(tmp_path)


@pytest.mark.parametrize(
    "path, shown",
    [
        ("C:\\Users\\me\\mnist\\runs\\lr=0.1", "runs/lr=0.1"),
        ("C:\\Users\\me\\runs", "C:/Users/me/runs"),
        ("D:\\runs", "D:/runs"),  # os.path.relpath raises ValueError there
        ("\\\\server\\share\\数字", "//server/share/数字"),
    ],
)
def test_short_on_windows(monkeypatch, path, shown):
    class WindowsPath(pathlib.PureWindowsPath):
        @classmethod
        def cwd(cls):
            return cls("C:\\Users\\me\\mnist")

    with monkeypatch.context() as windows:
        windows.setattr(terminal, "Path", WindowsPath)
        windows.setattr(os, "path", ntpath)
        found = terminal.short(path)
    assert found == shown


def test_quoted(monkeypatch, dice):
    """A shell reads back what was meant; what it reads anyhow stays as it is."""
    letters = "abzAZ019_@%+=:,./-数é \"'\\$&;()[]*?~!#<>|`\t"
    for _ in range(300):
        word = "".join(dice.choices(letters, k=dice.randrange(6)))
        assert shlex.split(terminal.quoted(word)) == [word]
    for word in ["mnist_example/", "../runs/lr=0.1,epochs=5+", "D:/a-b", "数字/", "50%@me"]:
        assert terminal.quoted(word) == word
    assert terminal.quoted("my runs/") == "'my runs/'"
    monkeypatch.setattr(os, "name", "nt")  # cmd.exe passes single quotes on
    assert terminal.quoted("C:/my runs/") == '"C:/my runs/"'
    assert terminal.quoted("C:/runs/") == "C:/runs/"


# ---------------------------------------------------------------------------------------- the bar


def shown_by_bar(monkeypatch, steps=200, encoding="utf-8", watched=False):
    """What a bar of so many steps writes to standard error."""
    screen = show_on(monkeypatch, "stderr", encoding)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched, raising=False)
    with terminal.progress_bar(steps) as bar:
        if terminal.is_watched():  # else it would depend on the machine's speed
            bar.mininterval = 0
        for _ in range(steps):
            bar.set_postfix_str("loss 0.5", refresh=False)
            bar.update()
    return screen.shown.decode(encoding)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
def test_bar_in_a_file_stays_short(monkeypatch, steps):
    monkeypatch.delenv("PYCHARM_HOSTED", raising=False)
    written = shown_by_bar(monkeypatch, steps).split("\r")[1:]
    assert min(steps, 2) <= len(written) <= 3
    assert re.fullmatch(r"100%\|█+\| (\d+)/\1 \[00:\d\d<00:00, loss 0.5\]\n", written[-1])
    assert len({len(line.strip("\n")) for line in written}) == 1 and len(written[0]) == 100


def test_bar_lives_where_it_is_watched(monkeypatch):
    monkeypatch.delenv("PYCHARM_HOSTED", raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    assert not terminal.is_watched()
    live = shown_by_bar(monkeypatch, watched=True).split("\r")
    assert len(live) > 100 and terminal.is_watched()
    assert {len(line.strip("\n")) for line in live[1:]} == {60}
    with monkeypatch.context() as pycharm:  # neither of the two is a terminal
        pycharm.setenv("PYCHARM_HOSTED", "1")
        assert shown_by_bar(pycharm).count("\r") > 100
    with monkeypatch.context() as notebook:  # its streams are of a class of its own
        notebook.setattr(Stream, "__module__", "ipykernel.iostream")
        assert shown_by_bar(notebook).count("\r") > 100
    with monkeypatch.context() as idle:  # it says that it is a terminal, and ignores "\r"
        idle.setitem(sys.modules, "idlelib", terminal)
        assert shown_by_bar(idle, watched=True).count("\r") <= 3
    monkeypatch.setattr(sys, "stderr", None)
    assert not terminal.is_watched()


def test_bar_of_a_terminal_that_does_not_tell_its_size(monkeypatch):
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda: os.terminal_size((0, 0)))
    lines = shown_by_bar(monkeypatch, watched=True).split("\r")
    assert {len(line.strip("\n")) for line in lines[1:]} == {80}


def test_bar_draws_what_the_console_has(monkeypatch):
    assert "█" in shown_by_bar(monkeypatch)
    assert shown_by_bar(monkeypatch, encoding="ascii").count("#") > 30
    with monkeypatch.context() as windows:  # Chinese fonts draw its blocks double
        windows.setattr(os, "name", "nt")
        assert shown_by_bar(windows, encoding="gbk").isascii()
        assert shown_by_bar(windows).isascii()


def test_bar_of_a_run_on_a_terminal(start):
    ours, theirs = pty.openpty()
    process = start("--network", "softmax", "--epochs", "2000", stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = b""
    with contextlib.suppress(OSError):  # the program has closed the terminal
        while part := os.read(ours, 4096):
            screen += part
    os.close(ours)
    assert process.wait() == 0
    shown = re.findall(r"(\d+)%\|.*?loss [\d.e+-]+, test accuracy ([\d.]+)%", screen.decode())
    assert len(shown) > 3 and shown[-1][0] == "100"
    assert float(shown[-1][1]) > float(shown[0][1])


# ---------------------------------------------------------------------------------------- signals


def test_signals_are_noted():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in SIGNALS]
    with terminal.noted_signals() as noted:
        for number in SIGNALS:
            signal.raise_signal(number)
        assert noted == SIGNALS
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with terminal.noted_signals() as anew:
        assert anew == []


@pytest.mark.parametrize("ignored", SIGNALS)
def test_ignored_signals_stay_ignored(ignored):
    signal.signal(ignored, signal.SIG_IGN)
    with terminal.noted_signals() as noted:
        for number in SIGNALS:
            signal.raise_signal(number)
    assert noted == [number for number in SIGNALS if number != ignored]
    assert signal.getsignal(ignored) == signal.SIG_IGN


def test_signals_are_given_back_after_an_error():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(ZeroDivisionError), terminal.noted_signals():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_no_signals_in_a_thread_nor_unknown_ones(monkeypatch):
    seen = []

    def work():
        with terminal.noted_signals() as noted:
            seen.append((noted, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [([], signal.SIG_DFL)]
    monkeypatch.delattr(signal, "SIGHUP")  # as on Windows
    with terminal.noted_signals() as noted:
        signal.raise_signal(signal.SIGTERM)
    assert noted == [signal.SIGTERM]


def test_hang_up_of_the_terminal_saves_what_was_learned(start, tmp_path):
    ours, theirs = pty.openpty()
    process = start("--network", "softmax", "--epochs", "1000000", stdout=theirs, stderr=theirs)
    os.close(theirs)
    wait_for(lambda: list(tmp_path.glob("runs/*/model.ckpt-*.index")))
    os.close(ours)  # from here on, to write to the terminal is an error
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    assert '"stopped"' in next(tmp_path.glob("runs/*/run.json")).read_text()
