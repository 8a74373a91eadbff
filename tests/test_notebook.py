"""mnist.py in a notebook: a real kernel, which is interrupted, and continues."""

import os
import re
import signal
import threading

import pytest

from helpers import OFFLINE, PROJECT, heed_signals, run_folders, wait_for

nbformat = pytest.importorskip("nbformat", reason="needs notebooks: pip install nbclient ipykernel")
nbclient = pytest.importorskip("nbclient", reason="needs notebooks: pip install nbclient ipykernel")


class Kernel:
    """A kernel that runs cells."""

    def __init__(self, client):
        self.client, self.cells = client, client.nb.cells
        self.pid = int(self.run("import os; print(os.getpid())")[0])

    def run(self, code):
        """Return what a cell writes to standard output and error, and its errors.

        An error is (its class, what is shown in place of a traceback).
        """
        self.cells.append(nbformat.v4.new_code_cell(code))
        outputs = self.client.execute_cell(self.cells[-1], len(self.cells) - 1).outputs
        streams = (
            "".join(output.text for output in outputs if output.get("name") == name)
            for name in ["stdout", "stderr"]
        )
        errors = [
            (output.ename, "\n".join(output.traceback))
            for output in outputs
            if output.output_type == "error"
        ]
        return *streams, errors

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
def kernel(tmp_path_factory, generated_data):
    """A kernel in a folder where nothing is, with the project on its path.

    It has imported mnist, as README says, and noted how everything was before.
    """
    folder = tmp_path_factory.mktemp("notebook")
    client = nbclient.NotebookClient(
        nbformat.v4.new_notebook(), timeout=300, allow_errors=True, shutdown_kernel="immediate"
    )
    client.resources = {"metadata": {"path": str(folder)}}
    client.create_kernel_manager()
    environment = os.environ | OFFLINE | {"PYTHONPATH": str(PROJECT)}
    with client.setup_kernel(env=environment, preexec_fn=heed_signals):
        kernel = Kernel(client)
        kernel.folder = folder
        kernel.flags = f"--data_dir {generated_data} --logdir {folder}/runs"
        _, _, errors = kernel.run(
            "import signal, sys\n"
            "before = signal.getsignal(signal.SIGINT), sys.stderr, os.fstat(2)[:3]\n"
            "import mnist\n"
            f"mnist.DATA_DIR, mnist.LOGDIR = {generated_data!r}, '{folder}/runs'\n"
            "mnist.NETWORK = 'softmax'\n"
        )
        assert not errors
        yield kernel


def test_run(kernel):
    """It shows its result, and a bar that lives; then with another constant; then in a thread."""
    out, err, errors = kernel.run("mnist.EPOCHS = 1000\nmnist.main()")
    assert not errors and "Test accuracy" in out and "tensorboard --logdir=runs/" in out
    assert "set mnist.LEARNING_RATE or mnist.EPOCHS, call mnist.main() again" in out
    assert err.count("\r") > 4 and "100%|" in err and "test accuracy" in err
    out, err, errors = kernel.run("mnist.EPOCHS = 5\nmnist.LEARNING_RATE = 0.5\nmnist.main()")
    assert not errors and "Test accuracy" in out
    _, err, errors = kernel.run(  # Python gives threads no signals
        "import threading\n"
        "mnist.EPOCHS = 3\n"
        "thread = threading.Thread(target=mnist.main)\n"
        "thread.start(), thread.join()"
    )
    assert not errors and "Traceback" not in err
    names = {f"lr={rate},softmax,generated-digits" for rate in ["0.0001,1000", "0.5,5", "0.5,3"]}
    runs = kernel.folder / "runs"
    assert names <= set(run_folders(runs))
    assert all('"finished"' in (runs / name / "run.json").read_text() for name in names)


@pytest.mark.parametrize(
    "code, sentence",
    [
        ("mnist.main(['--epochs', 'many'])", "--epochs must be a whole number"),
        ("mnist.EPOCHS = 'many'\nmnist.main()", "EPOCHS at the top of mnist.py must be"),
        (
            "mnist.EPOCHS = 9\nmnist.LEARNING_RATE = 9e37\nmnist.main()",
            "LEARNING_RATE 9e+37 is too high",
        ),
    ],
)
def test_error_is_a_sentence_and_fails_the_cell(kernel, code, sentence):
    """So that "Run all" stops there."""
    _, _, errors = kernel.run(code)
    ((name, shown),) = errors
    assert name == "Problem" and sentence in shown and "\n" not in shown


def test_interrupt_ends_the_run_in_order(kernel):
    run = kernel.folder / "runs" / "lr=1e-05,1000000,softmax,generated-digits"
    out, _, errors = kernel.run_and_interrupt(
        "mnist.EPOCHS = 1000000\nmnist.LEARNING_RATE = 0.00001\nmnist.main()",
        when=lambda: list(run.glob("model.ckpt-*.index")),
    )
    ((name, shown),) = errors
    words = r"Stopped at step \d+ of 1000000\. To continue, set mnist\.CONTINUE = \"newest\"\."
    assert name == "Problem" and re.fullmatch(words, shown)
    assert "Test accuracy" in out
    assert '"stopped"' in (run / "run.json").read_text()
    out, err, errors = kernel.run("mnist.EPOCHS = 3\nmnist.main()")
    assert not errors and "after step 3" in out


def test_what_was_there_is_as_before(kernel):
    """The reader's own TensorFlow 2 and Keras, Ctrl-C and standard error."""
    out, err, errors = kernel.run(
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


def test_program_with_run(kernel):
    """`%run mnist.py` takes flags, and speaks of the file."""
    program = f"%run {PROJECT}/mnist.py --network softmax {kernel.flags}"
    out, _, errors = kernel.run(f"{program} --epochs 3")
    assert not errors and "after step 3" in out
    assert "change LEARNING_RATE or EPOCHS at the top of mnist.py, run it again" in out
    out, err, _ = kernel.run(f"{program} --epochs many")
    assert "--epochs must be a whole number" in err and "Traceback" not in err
    assert kernel.run("print('alive')")[0] == "alive\n"
