"""Draw a digit on a web page, and see what your trained networks answer, and why.

    python mnist.py     # trains a network; the page shows it while it trains
    python draw.py      # prints the address of the page

The page and its server are in page/.
"""

import support.hidden_modules  # noqa: F401 (first, to report a file that hides a module)

# isort: split
import argparse
import contextlib
import errno
import logging
import re
import signal
import socket
import sys

import waitress

import input_data
import mnist
from page import hosts, server
from page.digits import TrainingDigits
from page.networks import Refusal, TrainedRuns, newest
from support import language, own_digits, terminal
from support.run import Run
from support.settings import Parser, read_settings
from support.tensorflow1 import tf

# They read 92% of the test digits correctly. These constants of mnist.py have no effect here.
SOFTMAX = ["--network=softmax", "--learning_rate=0.001", "--epochs=3000", "--continue=None"]
SOFTMAX += ["--shift=0", "--own_digits=0"]


def main(flags=()):
    """Load the newest networks, train softmax regression if there is none, and serve the page."""
    logging.getLogger("waitress").setLevel(logging.ERROR)  # it warns when a request waits
    given, settings = read_flags(flags)
    listener = listen(given.host, given.port)
    runs, digits = TrainedRuns(settings.logdir), TrainingDigits(settings.data_dir)
    logdir = terminal.short(settings.logdir)
    if not load_newest(runs, digits, "convolutional"):
        sentence = f"No run in {logdir} has a convolutional network that can be loaded"
        if runs.old:
            sentence += " (those of earlier versions are only in TensorBoard)"
        raise terminal.Problem(f"{sentence}: train one there with mnist.py first.")
    if not load_newest(runs, digits, "softmax"):
        terminal.say(f"No run in {logdir} is softmax regression: training one.")
        train_softmax(settings)
        load_newest(runs, digits, "softmax")

    address, port = listener.getsockname()[:2]
    name = f"[{address}]" if ":" in address else address
    for_all = name in ("0.0.0.0", "[::]")
    own_names = hosts.names_of_this_machine() | {given.host.lower(), name}
    folder, allowed = own_digits.FOLDER, set(given.name)
    app = server.make_app(runs, digits, own_names, folder, given.allow_saving, allowed)
    terminal.say(f"Draw at http://{'localhost' if for_all else name}:{port}/ (Ctrl-C ends it)")
    if for_all:
        here = "use this machine's IP address in place of localhost"
        if name == "0.0.0.0" and (found := own_address()):
            here += f", probably http://{found}:{port}/"
        terminal.say(f"On another machine, {here}.")
    # page/hosts.py reads the headers that tell of a forwarder.
    waitress.create_server(app, sockets=[listener], clear_untrusted_proxy_headers=False).run()


def train_softmax(settings):
    """Train softmax regression. Raises Problem if a signal stops it."""
    data = input_data.read_or_generate(settings)
    run = Run(settings, data)
    try:
        mnist.train(settings, data, run)
    except (TypeError, ValueError, LookupError, tf.errors.OpError) as error:
        words = str(error).partition("\n")[0]  # TensorFlow adds where the graph was built
        reason = f"the edited mnist.py cannot train it ({type(error).__name__}: {words})"
        terminal.say(f"The page starts without softmax regression: {reason}.")
    if run.record.status == "stopped":
        step = run.record.step
        sentence = f"Stopped at step {step}: start draw.py again to use this network."
        raise terminal.Problem(sentence, 128 + signal.SIGINT)


def read_flags(flags):
    """Return the flags, and the settings of softmax regression."""
    parser = Parser(prog="draw.py", description=__doc__.partition("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("--logdir", help="folder of the trained runs (default: LOGDIR at the top of mnist.py)")
    add("--data_dir", help="folder of MNIST (default: DATA_DIR at the top of mnist.py)")
    add("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
    add("--port", default=8000, type=int, help="port; 0 takes a free one (default: 8000)")
    add("--allow_saving", action="store_true", help="keep drawings from other machines too")
    add(
        "--name",
        action="append",
        default=[],
        type=read_name,
        help="another name in the page's address, or of a site that may show it; may be repeated",
    )
    given = parser.parse_args([str(flag) for flag in flags])
    folders = {"logdir": given.logdir, "data_dir": given.data_dir}
    others = [f"--{key}={folder}" for key, folder in folders.items() if folder is not None]
    return given, read_settings(vars(mnist), [*SOFTMAX, *others])


def read_name(text):
    """Return the name in --name, which may be a whole address. Raises ArgumentTypeError."""
    name = hosts.name_of(re.sub("^https?://|/.*", "", text.lower()))
    if name is None:
        raise argparse.ArgumentTypeError(f"{text} is not a name such as server.example")
    return name


def listen(host, port):
    """Return a socket that listens at an address. Raises Problem if the address is not free."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        sentence = f"{host} and port {port} cannot be used: choose others with --host and --port."
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            sentence = f"Port {port} of {host} is already in use: choose another with --port."
        raise terminal.Problem(sentence) from error


def own_address():
    """Return this machine's address in its network, or None. Nothing is sent or looked up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # any address outside: this only chooses the way there
        except OSError:
            return None
        return probe.getsockname()[0]


def load_newest(runs, digits, network):
    """Load the newest run of a network and print its name; return whether there is one.

    A thread begins to read the digits that it learned from.
    """
    while name := newest(runs.list(), network):
        try:
            record = runs.get(name).record
        except Refusal as refusal:
            key = "chinese" if language.is_chinese(sys.stdout) else "error"
            terminal.say(server.describe(refusal)[key])
            continue  # this run is no longer listed
        with contextlib.suppress(Refusal):  # they are not here, or not read yet
            digits.of(record)
        tested = ""
        if record.accuracy is not None:
            tested = f": {record.accuracy:.2%} of the test digits right ({record.data})"
        terminal.say(f"The {network} network is that of {name}{tested}.")
        return True
    return False


if __name__ == "__main__":
    terminal.program(main)
