"""draw.py as a process, and its web application without one."""

import contextlib
import re
import tempfile
from pathlib import Path

from helpers import forked, wait_for
from page import server
from page.digits import TrainingDigits
from page.networks import TrainedRuns


def client_of(logdir, data_dir="nowhere", names=frozenset({"localhost"}), own="nowhere", **flags):
    """A client of the web application, which is called localhost. It raises bugs."""
    digits = TrainingDigits(data_dir)
    app = server.make_app(TrainedRuns(logdir), digits, set(names), Path(own), **flags)
    app.testing = True
    return app.test_client()


@contextlib.contextmanager
def serving(logdir, data_dir, port=0, own="/nowhere", names=()):
    """draw.py from when it has printed its address (`.port`); `.said()` is what it has printed."""
    flags = ["--logdir", logdir, "--data_dir", data_dir, "--port", port]
    flags += [f"--name={name}" for name in names]
    with tempfile.NamedTemporaryFile() as output:
        changes = {("input_data", "MIRRORS"): [], ("support.own_digits", "FOLDER"): Path(own)}
        process = forked.start(flags, output.name, changes, program="draw")
        process.said = Path(output.name).read_text
        try:
            wait_for(lambda: "Draw at" in process.said() or not process.is_alive())
            process.port = int(re.search(r"http://[^ ]+:(\d+)/ ", process.said())[1])
            yield process
        finally:
            process.kill()
            process.join()
