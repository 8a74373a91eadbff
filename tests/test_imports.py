"""What an import changes and shows: nothing, but for what TensorFlow reads."""

import os
import shutil
import subprocess
import sys

import pytest

from helpers import PROJECT, heed_signals

NOTICE = """import os; os.write(2, b'a notice that says why\\n')
def disable_resource_variables(): pass
"""
STUB = "import unittest.mock\ndef __getattr__(name): return unittest.mock.MagicMock()\n"
LOOK = "[signal.getsignal(n) for n in signal.valid_signals()], dict(os.environ), os.listdir()"
MODULES = ["mnist", "input_data"]
MODULES += [f"support.{path.stem}" for path in sorted((PROJECT / "support").glob("[a-z]*.py"))]


@pytest.fixture
def python(tmp_path):
    """Run Python where the module tensorflow.compat.v1 consists of `text`."""

    def python(*arguments, text):
        folder = tmp_path / "stubs" / "tensorflow" / "compat"
        folder.mkdir(parents=True, exist_ok=True)
        for package in [folder.parent, folder]:
            (package / "__init__.py").touch()
        (folder / "v1.py").write_text(text)
        paths = os.pathsep.join([str(tmp_path / "stubs"), str(PROJECT)])
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            preexec_fn=heed_signals,
            cwd=tmp_path,
            timeout=60,
            capture_output=True,
            text=True,
        )

    return python


def test_imports_change_nothing(python):
    """Each module can be imported first, and only those that need TensorFlow import it."""
    script = f"""
import os, signal, sys
for name in {MODULES}:
    if not (child := os.fork()):
        before = {LOOK}
        __import__(name)
        after = {LOOK}
        needs_tensorflow = "support.tensorflow1" in sys.modules
        if needs_tensorflow:
            before[1].update({{key: after[1][key] for key in after[1] if key.startswith("TF_")}})
        assert before == after, name
        print(name, needs_tensorflow, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    done = python("-c", script, text=STUB)
    assert done.stderr == ""
    needs_tensorflow = dict(line.split() for line in done.stdout.splitlines())
    assert list(needs_tensorflow) == MODULES
    for name in ["input_data", "support.settings", "support.terminal"]:
        assert needs_tensorflow[name] == "False"  # they are there at once


@pytest.mark.parametrize("end", ["", "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"])
def test_notices_are_held_back(python, end):
    """Also if Ctrl-C ends the import, without a traceback; what follows is shown again."""
    script = """
import os
try:
    import support.tensorflow1
except SystemExit as error:
    print("ended with", error.code, flush=True)
os.write(2, b"later")
"""
    done = python("-c", script, text=STUB + NOTICE + end)
    assert (done.stdout, done.stderr) == ("ended with 130\n" if end else "", "later")


def test_failed_import_shows_why(python):
    done = python(PROJECT / "mnist.py", text=NOTICE + "raise ImportError('no such wheel')")
    assert done.returncode != 0
    assert "a notice that says why" in done.stderr and "no such wheel" in done.stderr


@pytest.mark.parametrize(
    "program, file, hidden",
    [
        ("draw.py", "random.py", "random"),
        ("mnist.py", "math.py", "math"),  # which NumPy's C code imports too
        ("mnist.py", "numpy/__init__.py", "numpy"),
        ("mnist.py", "json.py", "json"),  # which the Chinese sentence needs
        ("mnist.py", "test.py", None),  # nothing imports Python's own
        ("mnist.py", "time.py", None),  # Python's own is in no folder
    ],
)
def test_file_that_hides_a_module(python, tmp_path, monkeypatch, program, file, hidden):
    """It ends the program in one sentence, and is not executed itself."""
    for name in ["support", "page"]:
        shutil.copytree(PROJECT / name, tmp_path / name)
    for path in PROJECT.glob("*.py"):
        shutil.copy(path, tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("print('executed')")
    done = python(tmp_path / program, "--unknown", text=STUB)
    sentence = "Unrecognized arguments: --unknown; --help lists the flags.\n"
    if hidden:
        sentence = (
            f"{file} beside mnist.py hides the module {hidden} of Python or of a library, "
            "which the program needs: rename your file.\n"
        )
    assert (done.returncode, done.stderr) == (1 if hidden else 2, sentence)
    assert done.stdout == ""
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    monkeypatch.setenv("LANGUAGE", "zh_CN")
    done = python(tmp_path / program, "--unknown", text=STUB)
    words = "请给你的文件改名。" if hidden else "没有这样的参数：--unknown；"
    assert words in done.stderr and done.stderr.count("\n") == 1
