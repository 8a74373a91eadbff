"""Draw a digit on a web page, and see what your trained networks make of it, and why.

    python mnist.py     # trains a network; the page follows while it does
    python draw.py      # prints the address of the page

The page lies in page/static/. This file answers it, and other programs:
README tells how they ask.
"""

import base64
import concurrent.futures
import errno
import functools
import json
import logging
import os
import re
import signal
import socket
import threading
from pathlib import Path
from types import NoneType

import input_data
import mnist
from page import digits as similar
from page import pictures as strokes
from page.networks import LASTING, Networks, Refusal
from support import run as runs
from support import settings, terminal

import flask
import numpy as np
import waitress
from werkzeug.exceptions import HTTPException

HERE = Path(__file__).resolve().parent
SOFTMAX = ["--network", "softmax", "--learning_rate", "0.001", "--epochs", "3000"]  # reads 92%
VIEWS = {"as-drawn": strokes.as_drawn, "centred": strokes.centred}
# The likeness of a test digit to the training digit most like it, the median over all test digits:
# `python tools/shifted_digits.py` measures it.
USUAL = {"MNIST": 0.900, input_data.GENERATED: 0.942}

# ------------------------------------------------------------------------------------ what is asked


def read_json():
    """Return what the body of the request says."""
    try:
        return json.loads(flask.request.get_data())  # whatever the header Content-Type says
    except (ValueError, RecursionError):
        raise Refusal(400, "not-json", "The body of the request is not JSON.") from None


def read_image(values):
    """Return an image as float32 (1, 784)."""
    if type(values) is not list or len(values) != 784:
        raise Refusal(400, "not-an-image", "An image is an array of 784 numbers, row by row.")
    for place, value in enumerate(values):
        # True, an int to isinstance, is no pixel, and neither is NaN.
        if type(value) not in (int, float) or not 0 <= value <= 1:
            sentence = f"Entry {place} of the image, counted from 0, is not a number from 0 to 1."
            raise Refusal(400, "not-a-pixel", sentence)
    return np.array([values], np.float32)


def read_strokes(lines):
    """Return a drawing, a list of strokes, each a list of points [x, y] from 0 to PAPER."""
    if not (is_list(lines) and all(is_list(line) and all(map(is_point, line)) for line in lines)):
        sentence = "A drawing is an array of strokes, each an array of points [x, y] from 0 to "
        raise Refusal(400, "not-a-drawing", f"{sentence}{strokes.PAPER}.")
    return lines


def read_drawing(value):
    """Return the strokes of a drawing, and the names of the runs asked, None if it names none."""
    if type(value) is not dict:
        return read_strokes(value), None
    names = value.get("runs")
    if not (is_list(names) and len(names) == 2 and all(type(x) in (str, NoneType) for x in names)):
        sentence = '"runs" is an array of the names of two runs, or null in place of one.'
        raise Refusal(400, "not-two-runs", sentence)
    return read_strokes(value.get("strokes")), names


def read_question(value):
    """Return an image, float32 (1, 784), and the name of a run that is asked about it."""
    if type(value) is not dict or type(value.get("run")) is not str:
        sentence = 'Ask with an object that holds "image" and "run", the name of a run.'
        raise Refusal(400, "not-a-question", sentence)
    return read_image(value.get("image")), value["run"]


def is_list(value):
    """Say whether a value is a list with something in it."""
    return type(value) is list and value != []


def is_point(value):
    """Say whether a value is a point on the paper."""
    return (
        is_list(value)
        and len(value) == 2
        and all(type(x) in (int, float) and 0 <= x <= strokes.PAPER for x in value)
    )


# --------------------------------------------------------------------------------- what is answered

TOLD = ["run", "network", "step", "epochs", "learning_rate", "batch_size", "kernels", "neurons"]
TOLD += ["data", "started", "status", "accuracy", "images"]


def answer_drawing(lines, asked, keys):
    """Tell, for each view of a drawing, its picture and what the networks see in it.

    lines: strokes; asked: two of Network, or None in place of one; keys: names under which their
    answers are told once more, or none.
    """
    pictures = np.stack([view(lines) for view in VIEWS.values()]).reshape(2, 784)
    images = np.float32(pictures / 255)
    seen = [network and list(map(by_digit, network.probabilities(images))) for network in asked]
    told = {}
    for place, view in enumerate(VIEWS):
        answers = [by_view and by_view[place] for by_view in seen]
        told[view] = {"picture": pictures[place].tolist(), "answers": answers}
        told[view] |= zip(keys, answers, strict=False)
    which = ["run", "started", "step"]
    return told | {"runs": [network and about(network, which) for network in asked]}


def answer_program(question, image, networks):
    """Tell other programs what the networks that the page starts with see in an image."""
    names = dict(zip(["convolutional", "fully_connected"], networks.first_two(), strict=True))
    if question in names:
        return {"results": by_digit(networks.get(names[question]).probabilities(image)[0])}
    return {
        key: by_digit(networks.get(name).probabilities(image)[0]) for key, name in names.items()
    }


def answer_inside(image, network):
    """Tell what comes out of each layer of a network for an image, float32 (1, 784)."""
    layers = network.layers(image)
    told = about(network) | {"logits": layers.pop("logits")[0].tolist()}
    if network.run["network"] == "softmax":
        told["bias"] = network.weights["fc/Biases"].tolist()
    return told | {name: in_bytes(values[0]) for name, values in layers.items()}


def answer_weights(network):
    """Tell what stays the same while one draws: the kernels, or all that softmax has learned."""
    weights, told = network.weights, about(network)
    if network.run["network"] == "softmax":
        told |= {"weights": in_base64(weights["fc/Weights"])}
        return told | {"biases": weights["fc/Biases"].tolist()}
    kernels = weights["conv/Weights"][:, :, 0].transpose(2, 0, 1)
    return told | {"kernels": kernels.tolist(), "biases": weights["conv/Biases"].tolist()}


def answer_similar(image, run, data_dir):
    """Tell the training digits most like an image, float32 (1, 784), or why there are none."""
    told = {"usual": USUAL.get(run["data"])}
    try:
        digits = training_digits(run, data_dir)
        if not image.any():
            raise Refusal(400, "blank", "No digit is like a blank sheet.")
    except Refusal as refusal:
        return told | {"similar": [], "why_none": str(refusal), "why_code": refusal.code}
    places, likeness = digits.most_like(image[0])
    return told | {
        "similar": [
            {"label": int(label), "likeness": round(float(alike), 3), "picture": in_base64(picture)}
            for label, alike, picture in zip(
                digits.labels[places], likeness, digits.pictures(places), strict=True
            )
        ]
    }


def answer_dead(network, data_dir):
    """Tell which neurons of fc1 stay at 0 for each of 500 training digits, by their numbers."""
    try:
        pictures = training_digits(network.run, data_dir).pictures(slice(500))
    except Refusal:
        return {"dead": None, "tried": 0}
    parts = np.array_split(np.float32(pictures / 255), 10)
    fired = np.any([network.layers(part)["hidden"].any(axis=0) for part in parts], axis=0)
    return {"dead": np.flatnonzero(~fired).tolist(), "tried": len(pictures)}


def about(network, keys=("run", "started", "step", "network")):
    """Tell which network answers; a run of the same name may have been deleted and made anew."""
    return {key: network.run[key] for key in keys}


def by_digit(probabilities):
    """Name ten probabilities by their digits."""
    return dict(zip("0123456789", probabilities.tolist(), strict=True))


def in_bytes(values):
    """Tell float32 values of 0 or more by a byte each, which is a tenth of what numbers take."""
    scale = float(values.max())  # the value of 255
    parts = np.rint(values * np.float32(255 / scale if scale else 0)).astype(np.uint8)
    return {"bytes": in_base64(parts), "scale": scale, "shape": values.shape}


def in_base64(array):
    """Spell the bytes of an array, row by row, as text."""
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


# ------------------------------------------------------------------------------ the training digits

READER = concurrent.futures.ThreadPoolExecutor(1)


def training_digits(run, data_dir):
    """Return the digits that a run learned from, as similar.Digits, and never download any.

    They are looked for where the run had them, and in data_dir. The first call begins to read them,
    which takes a second. Raises Refusal as long as they are not there.
    """
    generated, is_mnist = run["data"] == input_data.GENERATED, run["data"] == "MNIST"
    places = [run["data_dir"], data_dir if generated or is_mnist else None]
    is_there = os.path.isdir if generated else state_of_files
    states = ((str(at), is_there(at)) for at in places if at)
    folder, state = next((found for found in states if found[1]), (None, None))
    missing = f"The digits that {run['run']} learned from are not on this machine."
    if not run["data"] or not folder:
        raise Refusal(404, "no-data", missing)
    reading = begin_reading(folder, generated, state)
    if not reading.done():
        raise Refusal(503, "reading", "The training digits are being read: ask again.")
    if reading.exception():
        sentence = (
            f"The digits that {run['run']} learned from cannot be read: {reading.exception()}."
        )
        raise Refusal(409, "unreadable-data", sentence)
    name, digits = reading.result()
    if (name == "MNIST") != is_mnist:  # the files have been replaced
        raise Refusal(404, "no-data", missing)
    return digits


@functools.lru_cache(maxsize=2)  # MNIST takes 48 MB
def begin_reading(folder, generated, state):
    """Begin to read the digits in a folder; return a Future of their name and similar.Digits.

    state: see state_of_files; when it changes, they are read anew.
    """

    def read():
        train = input_data.read_data_sets(folder, generated, dtype="uint8", validation_size=0).train
        return train.name, similar.Digits(train.images, train.labels)

    return READER.submit(read)


def state_of_files(folder):
    """Return what changes when MNIST's files in a folder do, or None where one of them is not."""
    paths = [input_data.find(folder, name) for name in input_data.OFFICIAL]
    return tuple(path.stat().st_mtime_ns for path in paths) if all(paths) else None


# -------------------------------------------------------------------------------------- the server

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
SCRIPT = "text/javascript"  # Python would ask Windows for the type, which may say "text/plain"
PAGE = {"index.html": "text/html", "page.css": "text/css"}
PAGE |= {"page.js": SCRIPT, "inside.js": SCRIPT, "texts.js": SCRIPT}
SENTENCES = {
    404: "There is nothing at this path; the page is at /.",
    405: "This path does not take this method; the header Allow names what it takes.",
    413: "The request is larger than 64 KB.",
}


def make_app(networks, data_dir, own_names):
    """Make the web application.

    networks: Networks; data_dir: where their training digits may be; own_names: those by which a
    browser may call this server.
    """
    app = flask.Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    app.json.sort_keys = False

    @app.before_request
    def refuse_other_sites():
        check_names(flask.request.headers, own_names)

    @app.after_request
    def restrict_page(response):
        response.headers.update(HEADERS)
        return response

    @app.errorhandler(Refusal)
    def refuse(refusal):
        return {"error": str(refusal), "code": refusal.code}, refusal.status

    @app.errorhandler(HTTPException)
    def explain(error):
        response = error.get_response()  # with the header Allow where the method was wrong
        sentence = SENTENCES.get(error.code, error.description)
        code = error.name.lower().replace(" ", "-")
        response.data = json.dumps({"error": sentence, "code": code})
        response.content_type = "application/json"
        return response

    @app.get("/", defaults={"name": "index.html"})
    @app.get(f"/<any({', '.join(map(repr, PAGE))}):name>")
    def page(name):
        return flask.send_file(HERE / "page" / "static" / name, PAGE[name])

    @app.get("/api/paper")
    def paper():
        return {"paper": strokes.PAPER, "pen": strokes.PEN}

    @app.get("/api/runs")
    def list_runs():
        told = [{key: run[key] for key in TOLD} for run in networks.list()]
        return {"runs": told, "start": networks.first_two()}

    @app.post("/api/mnist/<any(evaluate, convolutional, fully_connected):question>")
    def evaluate(question):
        image = read_image(read_json())
        return answer_program(question, image, networks)

    @app.post("/api/drawing")
    def evaluate_drawing():
        lines, names = read_drawing(read_json())
        keys, names = ([], names) if names else (settings.NETWORKS, networks.first_two())
        asked = [None if name is None else networks.get(name) for name in names]
        return answer_drawing(lines, asked, keys)

    @app.post("/api/inside")
    def look_inside():
        image, name = read_question(read_json())
        network = networks.get(name)
        return answer_inside(image, network) | answer_similar(image, network.run, data_dir)

    @app.get("/api/weights")
    def weights():
        network = networks.get(flask.request.args.get("run"))
        dead = answer_dead(network, data_dir) if network.has_hidden else {}
        return answer_weights(network) | dead

    return app


def check_names(headers, own_names):
    """Refuse a request that a page of another site makes, or one to a server of another name.

    The owner of another site can make its name lead to this machine, and so have a page talk to
    this server. Numbers lead nowhere else: a server that listens at all of the machine's addresses
    takes any of them.
    """
    host = headers.get("Host", "").lower()
    name = re.sub(r":\d*$", "", host)
    is_address = re.fullmatch(r"[\d.]+|\[[\da-f:.]+\]", name)
    if name not in own_names and not (is_address and {"0.0.0.0", "[::]"} & set(own_names)):
        sentence = "The header Host must name this server: use the address that draw.py prints"
        sentence += " or, with --host 0.0.0.0, this machine's IP address."
        raise Refusal(403, "other-host", sentence)
    own = [f"http://{host}", f"https://{host}"]
    if headers.get("Origin", own[0]).lower() not in own:
        raise Refusal(403, "other-site", "Pages of other sites get no answer here.")


# ------------------------------------------------------------------------------------- the program


def listen(host, port):
    """Return a socket that listens there. Raises Problem where none can."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        return socket.create_server((address[0], port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or error
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        reason = "is already in use" if taken else f"cannot be used ({words})"
        sentence = f"Port {port} of {host} {reason}: choose another with --port."
        raise terminal.Problem(sentence) from error


def train_softmax(logdir, data_dir):
    """Train softmax regression as mnist.py does."""
    terminal.say(f"No run of softmax regression is in {terminal.short(logdir)} yet: training one.")
    flags = [*SOFTMAX, "--logdir", logdir, "--data_dir", data_dir]
    chosen = settings.read_settings(vars(mnist), flags)
    data = input_data.read_or_generate(chosen.data_dir, chosen.seed)
    run = runs.Run(chosen, data)
    mnist.train(chosen, data, run)
    if run.record["status"] == "stopped":
        raise terminal.Problem("", 128 + signal.SIGINT)


def load_newest(networks, place):
    """Load one of the two networks that the page starts with, and say which it is.

    Returns it, or None if there is none. Raises Problem if there is one that cannot be had now.
    """
    while name := networks.first_two()[place]:
        try:
            run = networks.get(name).run
        except Refusal as refusal:  # a damaged one has been told, and is no longer listed
            if refusal.code not in LASTING:
                raise terminal.Problem(str(refusal)) from refusal
        else:
            said = f"The {run['network']} network is that of {name}"
            if run["accuracy"] is not None:
                said += f": {run['accuracy']:.2%} of the test digits right ({run['data']})"
            terminal.say(f"{said}.")
            return run
    return None


def read_flags(flags):
    """Return the flags of the command line as a namespace. Raises Problem."""
    parser = settings.Parser(
        prog="draw.py", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    folder = functools.partial(settings.as_path, start=".")
    options = [
        ("--logdir", constant_folder("LOGDIR"), folder, "folder of the trained runs"),
        ("--data_dir", constant_folder("DATA_DIR"), folder, "folder of MNIST"),
        ("--host", "127.0.0.1", str, "address to listen at"),
        ("--port", 8000, int, "port to listen at; 0 for a free one"),
    ]
    for name, standard, kind, meaning in options:
        words = f"{meaning}; {standard} if left out".replace("%", "%%")
        parser.add_argument(name, default=standard, type=kind, help=words)
    chosen = parser.parse_args([str(flag) for flag in flags])
    if set(settings.PATTERNS) & set(chosen.logdir.absolute().as_posix()):
        signs = " ".join(settings.PATTERNS)
        words = f"TensorFlow finds no checkpoint where a folder's name holds one of {signs}"
        raise terminal.Problem(f"{chosen.logdir}: {words}; rename it.")
    return chosen


def constant_folder(name):
    """Return the folder that a constant of mnist.py names. Raises Problem if it names none."""
    value = getattr(mnist, name)
    if not isinstance(value, (str, os.PathLike)):
        raise terminal.Problem(f"{name} at the top of mnist.py must be a folder, not {value!r}.")
    return settings.as_path(value, HERE)


def main(flags=()):
    """Load the networks, train one if it is missing, and answer the page until Ctrl-C."""
    if threading.current_thread() is threading.main_thread():
        # Ctrl-C is how one ends it, and nothing needs cleaning up.
        signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    # That a request waits its turn is no news.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    flags = read_flags(flags)
    listener = listen(flags.host, flags.port)
    networks = Networks(flags.logdir, mnist.network)
    if not load_newest(networks, 0):
        sentence = f"No run in {terminal.short(flags.logdir)} has a convolutional network"
        raise terminal.Problem(f"{sentence}: run `python mnist.py` first.")
    if not load_newest(networks, 1):
        train_softmax(flags.logdir, flags.data_dir)
        load_newest(networks, 1)

    address, port = listener.getsockname()[:2]
    name = f"[{address}]" if ":" in address else address
    own_names = {"localhost", "127.0.0.1", "[::1]", flags.host.lower(), name}
    app = make_app(networks, flags.data_dir, own_names)
    server = waitress.create_server(app, sockets=[listener])
    for_all = name in ("0.0.0.0", "[::]")
    terminal.say(f"Draw at http://{'localhost' if for_all else name}:{port}/ (Ctrl-C ends it)")
    if for_all:
        terminal.say("On other machines, put this one's IP address in the place of localhost.")
    server.run()


if __name__ == "__main__":
    terminal.program(main)
