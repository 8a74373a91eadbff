"""What is shown while mnist.py is being imported: nothing, unless that fails.

Small modules stand in for TensorFlow and others, and do what those do on one machine in a thousand.
"""

import os
import signal
import subprocess
import sys

import pytest

from helpers import PROJECT, heed_signals

NOTICE = "import os; os.write(2, b'a notice that tells why\\n')\n"
INTERRUPT = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"
TENSORFLOW = "tensorflow.compat.v1"


@pytest.fixture
def python(tmp_path):
    """Run Python where the module `name` consists of `text`; further keywords are those of run."""

    def python(*arguments, name=TENSORFLOW, text="", **options):
        file = (tmp_path / "stubs").joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        for package in list(file.parents)[: name.count(".")]:
            (package / "__init__.py").touch()
        file.write_text(text)
        paths = os.pathsep.join([str(tmp_path / "stubs"), str(PROJECT)])
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            text=True,
            timeout=60,
            **{"preexec_fn": heed_signals, "capture_output": True} | options,
        )

    return python


def test_notices_are_held_back(python):
    script = "import support.tensorflow1, os; os.write(2, b'later')"
    done = python("-c", script, text=NOTICE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "later")


@pytest.mark.parametrize("ending", ["raise ImportError('no such wheel')", "import os; os.abort()"])
def test_failed_import_shows_why(python, ending):
    done = python(PROJECT / "mnist.py", text=NOTICE + ending)
    assert done.returncode != 0
    assert "a notice that tells why" in done.stderr
    assert ("no such wheel" in done.stderr) == ("ImportError" in ending)


@pytest.mark.parametrize("module", ["tqdm", "numpy", TENSORFLOW])
def test_interrupted_program_shows_nothing(python, module):
    done = python(PROJECT / "mnist.py", name=module, text=INTERRUPT)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ended_import_of_tensorflow_shows_nothing(python):
    for name, number in [("SIGTERM", signal.SIGTERM), ("SIGINT", signal.SIGINT)]:
        text = NOTICE + INTERRUPT.replace("SIGINT", name)
        done = python(PROJECT / "mnist.py", text=text)
        assert (done.returncode, done.stdout, done.stderr) == (-number, "", "")


def test_interrupt_of_others_waits_for_the_end_of_the_import(python):
    """Half a TensorFlow could not be imported once more, and a notebook would want to."""
    script = (
        "import signal, sys\n"
        "try:\n"
        "    from support.tensorflow1 import tf\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
        "from support.tensorflow1 import tf\n"
        "print(tf.WHOLE, signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    done = python("-c", script, text=INTERRUPT + "print('imported'); WHOLE = True")
    assert done.stdout.split() == ["imported", "interrupted", "True", "True"]
    assert done.stderr == ""


def test_ignored_signals_stay_ignored(python):
    """As a shell's `&` has it: Ctrl-C is meant for another program."""

    def ignore():
        for number in [signal.SIGINT, signal.SIGTERM]:
            signal.signal(number, signal.SIG_IGN)

    text = INTERRUPT + INTERRUPT.replace("SIGINT", "SIGTERM")
    script = (
        "import signal, support.tensorflow1 as it\n"
        "assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == 1\n"
        "print('imported')"
    )
    done = python("-c", script, text=text, preexec_fn=ignore)
    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\n", "")


def test_helper_process_may_be_ended(python):
    """By a user who tidies up, say; then nothing is held back, and nothing is lost."""
    script = (
        "import subprocess\n"
        "class Popen(subprocess.Popen):\n"
        "    def __init__(self, *words, **options):\n"
        "        super().__init__(*words, **options)\n"
        "        self.kill()\n"
        "        self.wait()\n"
        "subprocess.Popen = Popen\n"
        "import support.tensorflow1\n"
        "print('imported')"
    )
    done = python("-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\n", "")


def test_import_in_a_thread(python):
    script = "import threading; threading.Thread(target=__import__, args=['support.runs']).start()"
    done = python("-c", script.replace("runs", "tensorflow1"), text=NOTICE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("closed", [[2], [1, 2], [0, 2], [0, 1, 2]])
def test_no_file_gets_the_number_of_a_closed_standard_error(python, tmp_path, closed):
    """TensorFlow writes to number 2, whatever file that is."""

    def close():
        heed_signals()
        for number in closed:
            os.close(number)

    script = (
        "import support.tensorflow1, os\n"
        "file = open('file', 'w')\n"
        "os.write(2, b'a late notice')\n"
        "file.write(f'{file.fileno() != 2} {os.path.samestat(os.fstat(2), os.stat(os.devnull))}')"
    )
    done = python("-c", script, text=NOTICE, preexec_fn=close, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "file").read_text() == "True True"


def test_helper_process_is_apart_from_the_terminal(python):
    """Ctrl-C in a terminal reaches a whole group of processes; on Windows a flag makes another."""
    script = (
        "import os, subprocess\n"
        "class Popen(subprocess.Popen):\n"
        "    def __init__(self, *words, creationflags, **options):\n"
        "        super().__init__(*words, **options)\n"
        "        print(creationflags, os.getpgid(self.pid) == self.pid)\n"
        "subprocess.Popen = Popen\n"
        "import support.tensorflow1"
    )
    assert python("-c", script).stdout == "0 True\n"
    windows = "import subprocess; subprocess.CREATE_NEW_PROCESS_GROUP = 512\n"
    assert python("-c", windows + script).stdout == "512 True\n"


def test_switches_of_tensorflow(python, monkeypatch):
    """Set before the import, and whatever the user has set stays."""
    names = ["TF_ENABLE_ONEDNN_OPTS", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_CPP_MIN_LOG_LEVEL"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    text = f"import os; print([os.environ.get(name) for name in {names}])"
    assert python("-c", "import support.tensorflow1", text=text).stdout == "['1', 'true', '3']\n"
    for name in names:
        monkeypatch.setenv(name, "0")
    assert python("-c", "import support.tensorflow1", text=text).stdout == "['0', '0', '0']\n"


def test_scripts_of_others_keep_their_interrupts(python, tmp_path):
    """An old script that lies beside input_data.py may have plans of its own for Ctrl-C."""
    script = (
        "import signal, support\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    (tmp_path / "old.py").write_text(script)
    assert python(tmp_path / "old.py").stdout == "True\n"
    assert python("-c", script).stdout == "True\n"
