"""mnist.py in a notebook: a real kernel, which is interrupted, and goes on."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from helpers import OFFLINE, PROJECT, heed_signals, run_folders, wait_for

nbformat = pytest.importorskip("nbformat", reason="needs notebooks: pip install nbclient ipykernel")
nbclient = pytest.importorskip("nbclient", reason="needs notebooks: pip install nbclient ipykernel")


class Kernel:
    """A kernel in a folder of its own."""

    def __init__(self, client):
        self.client, self.cells = client, client.nb.cells
        self.pid = int(self.run("import os; print(os.getpid())")[0])

    def run(self, code):
        """Return what a cell writes to standard output, to standard error, its errors, its HTML."""
        self.cells.append(nbformat.v4.new_code_cell(code))
        outputs = self.client.execute_cell(self.cells[-1], len(self.cells) - 1).outputs
        streams = (
            "".join(output.text for output in outputs if output.get("name") == name)
            for name in ["stdout", "stderr"]
        )
        errors = [output.ename for output in outputs if output.output_type == "error"]
        shown = [output.data.get("text/html") for output in outputs if "data" in output]
        return *streams, errors, shown

    def run_and_interrupt(self, code, when):
        """Run a cell and interrupt it as soon as the question `when` is answered."""
        ended = threading.Event()

        def interrupt():
            wait_for(lambda: ended.is_set() or when())
            if not ended.is_set():
                os.killpg(os.getpgid(self.pid), signal.SIGINT)  # as the square button does

        thread = threading.Thread(target=interrupt)
        thread.start()
        answer = self.run(code)
        ended.set()
        thread.join()
        return answer


@pytest.fixture(scope="module")
def start_kernel(tmp_path_factory, generated_data):
    """Start a kernel, in a folder where nothing is, with the project on its path."""
    stack = []

    def start_kernel():
        folder = tmp_path_factory.mktemp("notebook")
        notebook = nbformat.v4.new_notebook()
        client = nbclient.NotebookClient(
            notebook, timeout=300, allow_errors=True, shutdown_kernel="immediate"
        )
        client.resources = {"metadata": {"path": str(folder)}}
        client.create_kernel_manager()
        # TensorBoard lists all that run below TMPDIR: those of others are no business of ours.
        environment = os.environ | OFFLINE | {"PYTHONPATH": str(PROJECT), "TMPDIR": str(folder)}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        context = client.setup_kernel(env=environment, preexec_fn=heed_signals)
        context.__enter__()
        stack.append(context)
        kernel = Kernel(client)
        kernel.folder = folder
        kernel.flags = f"--data_dir {generated_data} --logdir {folder}/runs"
        return kernel

    yield start_kernel
    for context in stack:
        context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def kernel(start_kernel):
    """A kernel that has imported mnist, as README says, and noted how it was before."""
    kernel = start_kernel()
    folders = kernel.flags.split()
    _, _, errors, _ = kernel.run(
        "import signal, sys\n"
        "before = signal.getsignal(signal.SIGINT), sys.stderr, os.fstat(2)[:3]\n"
        "import mnist\n"
        f"mnist.DATA_DIR, mnist.LOGDIR = {folders[1]!r}, {folders[3]!r}\n"
        "mnist.NETWORK = 'softmax'\n"
    )
    assert not errors
    return kernel


def test_run(kernel):
    """The result, with a bar that lives; then, another run."""
    out, err, errors, _ = kernel.run("mnist.EPOCHS = 1000\nmnist.main()")
    assert not errors and "Test accuracy" in out and "tensorboard --logdir=runs/" in out
    assert "set mnist.LEARNING_RATE or mnist.EPOCHS, call mnist.main() again" in out
    assert err.count("\r") > 4 and "100%|" in err and "test accuracy" in err
    out, err, errors, _ = kernel.run("mnist.EPOCHS = 5\nmnist.LEARNING_RATE = 0.5\nmnist.main()")
    assert not errors and "Test accuracy" in out
    names = {
        f"lr={rate},softmax,generated-digits" for rate in ["0.0001,epochs=1000", "0.5,epochs=5"]
    }
    assert names <= set(run_folders(kernel.folder / "runs"))


def test_wrong_constant_or_flag_is_a_sentence(kernel):
    out, err, errors, _ = kernel.run("mnist.main(['--epochs', 'many'])")
    assert (out, errors) == ("", []) and err.startswith("--epochs must be") and err.count("\n") == 1
    out, err, errors, _ = kernel.run("mnist.EPOCHS = 'many'\nmnist.main()")
    assert (out, errors) == ("", []) and err.startswith("EPOCHS at the top of mnist.py must be")
    out, err, errors, _ = kernel.run("mnist.main(['--help'])")
    assert (err, errors) == ("", []) and "--epochs VALUE" in out


def test_interrupt_ends_the_run_in_order(kernel):
    run = kernel.folder / "runs" / "lr=1e-05,epochs=1000000,softmax,generated-digits"
    out, _, errors, _ = kernel.run_and_interrupt(
        "mnist.EPOCHS = 1000000\nmnist.LEARNING_RATE = 0.00001\nmnist.main()",
        when=lambda: list(run.glob("model.ckpt-*.index")),
    )
    assert not errors and "Stopped early" in out
    assert '"stopped"' in (run / "run.json").read_text()
    out, err, errors, _ = kernel.run("mnist.EPOCHS = 3\nmnist.main()")
    assert not errors and "after step 3" in out


def test_thread(kernel):
    """Python gives threads no signals; the run is made all the same."""
    out, err, errors, _ = kernel.run(
        "import threading\n"
        "mnist.EPOCHS, mnist.LEARNING_RATE = 3, 0.25\n"
        "thread = threading.Thread(target=mnist.main)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    assert not errors and "Traceback" not in err
    name = "lr=0.25,epochs=3,softmax,generated-digits"
    assert '"finished"' in (kernel.folder / "runs" / name / "run.json").read_text()


def test_what_was_there_is_as_before(kernel):
    """The reader's own TensorFlow 2 and Keras, Ctrl-C and standard error."""
    out, err, errors, _ = kernel.run(
        "mnist.EPOCHS = 3\n"
        "mnist.main()\n"
        "after = signal.getsignal(signal.SIGINT), sys.stderr, os.fstat(2)[:3]\n"
        "print([a == b for a, b in zip(before, after)])\n"
        "import numpy as np, tensorflow as tf\n"
        "print(tf.executing_eagerly(), len(tf.compat.v1.get_default_graph().get_operations()))\n"
        "model = tf.keras.Sequential([tf.keras.layers.Dense(1)])\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(np.ones((4, 2)), np.ones(4), verbose=0)\n"
        "print(model.predict(np.ones((1, 2)), verbose=0).shape)\n"
    )
    assert not errors
    assert out.splitlines()[-3:] == ["[True, True, True]", "True 0", "(1, 1)"]


def test_program_interrupted_during_the_import(start_kernel):
    """The kernel lives, and the next time the program runs."""
    kernel = start_kernel()
    program = f"%run {PROJECT}/mnist.py --network softmax --epochs 3 {kernel.flags}"
    _, _, errors, _ = kernel.run(
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'tensorflow.python.framework.ops':\n"
        "            sys.meta_path.remove(self)\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        f"{program}"
    )
    assert errors == ["KeyboardInterrupt"]
    out, _, errors, _ = kernel.run(program)
    assert not errors and "after step 3" in out
    assert "change LEARNING_RATE or EPOCHS at the top of mnist.py, run it again" in out
    assert kernel.run("print('alive')")[0] == "alive\n"


def test_tensorboard_in_the_notebook(kernel):
    kernel.run(
        "from tensorboard import manager\n"
        "mnist.EPOCHS, mnist.LEARNING_RATE = 3, 0.125\n"
        "mnist.main()"
    )
    _, _, errors, shown = kernel.run(
        "%load_ext tensorboard\n%tensorboard --logdir runs --host 127.0.0.1 --port 0"
    )
    try:
        assert not errors and "<iframe" in shown[0]
        ask = (
            "import urllib.request\n"
            "[board] = manager.get_all()  # ours alone, since TMPDIR is\n"
            "address = f'http://127.0.0.1:{board.port}/data/runs'\n"
            "print(urllib.request.urlopen(address).read().decode())"
        )
        name = "lr=0.125,epochs=3,softmax,generated-digits/test"
        assert wait_for(lambda: name in kernel.run(ask)[0])
    finally:
        kernel.run("[board] = manager.get_all()\nos.kill(board.pid, signal.SIGTERM)")
