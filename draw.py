"""Draw a digit on a web page, and see what your trained networks make of it while you draw.

    python mnist.py     # trains the convolutional network, once
    python draw.py      # prints the address of the page

The page is draw.html. This file finds the networks, prepares the drawing for them, and answers the page.
"""

import contextlib
import errno
import glob
import json
import logging
import os
import re
import signal
import socket
import sys

if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, lambda *_: os._exit(0)
    )  # Ctrl-C is how one ends it, and nothing needs cleaning up

import flask
import numpy as np
import waitress
from PIL import Image, ImageDraw
from werkzeug.exceptions import HTTPException

import mnist
from support import summaries
from support import terminal
from mnist import tf

NETWORKS = ["convolutional", "softmax"]
SOFTMAX = {
    "learning_rate": 0.001,
    "epochs": 3000,
}  # reads about 92% of MNIST correctly, after a few seconds
PAPER = 280  # width and height of a drawing, 10 units for each of the network's 28 pixels; draw.html has it too
PEN = 24  # the pen's width in these units, about that of MNIST's digits; draw.html has it too


# ------------------------------------------------------------------------------------------------ the drawing


def draw(strokes):
    """Draw lines with a round pen: strokes, lists of points [x, y] from 0 to PAPER, to a picture of PAPER x PAPER."""
    sheet = Image.new("L", (PAPER, PAPER))
    pen = ImageDraw.Draw(sheet)
    for stroke in strokes:
        for (x, y), (next_x, next_y) in zip(stroke, stroke[1:] + stroke[-1:]):
            pen.line([x, y, next_x, next_y], fill=255, width=PEN)
            pen.ellipse([x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2], fill=255)
    return sheet


def enlarge(strokes):
    """Move and scale strokes so that they fill 20 of the 28 pixels, drawn by a pen of unchanged width.

    To magnify the picture of a small drawing would magnify its lines too, and MNIST has no digits in bold.
    """
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    extent = max(
        *(high - low), PEN
    )  # what is smaller than the pen was meant as a dot, and remains one
    scale = (PAPER * 20 / 28 - PEN) / extent
    return [
        ((np.array(stroke) - (low + high) / 2) * scale + PAPER / 2).tolist() for stroke in strokes
    ]


def centre(picture):
    """Prepare a picture as MNIST's authors prepared each digit: uint8 (height, width), 255 is ink, to uint8 (28, 28).

    The ink is fitted into a box of 20x20, its proportions kept, and the box laid so that the centre of mass comes to
    the middle of the field. That is row 14, column 14, counted from 0: all of MNIST's test digits have it less than
    half a pixel from there. MNIST's own pictures come back as they were.
    """
    field = np.zeros((28, 28), np.uint8)
    image = Image.fromarray(picture)
    ink = image.crop(image.getbbox())
    size = [max(1, round(20 * side / max(ink.size))) for side in ink.size]
    digit = np.asarray(ink.resize(size, Image.Resampling.BILINEAR))
    if digit.any():
        middle = [np.average(places, weights=digit) for places in np.indices(digit.shape)]
        top, left = (
            min(max(round(14 - place), 0), 28 - side)  # not so far that ink is lost over the border
            for place, side in zip(middle, digit.shape)
        )
        field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return field


# ------------------------------------------------------------------------------------------------ the networks


def newest_checkpoint(logdir, network):
    """The newest checkpoint in the runs' folders that fits the network as mnist.py describes it now, or None."""
    with tf.Graph().as_default():
        mnist.NETWORKS[network](tf.zeros([1, 784]))
        wanted = {
            variable.op.name: variable.shape.as_list() for variable in tf.trainable_variables()
        }
    indexes = glob.glob(os.path.join(glob.escape(logdir), "*", "model.ckpt-*.index"))
    # A run that is still in training deletes the one before whenever it saves a checkpoint.
    for index in sorted(filter(os.path.exists, indexes), key=os.path.getmtime, reverse=True):
        checkpoint = index.removesuffix(".index")
        try:
            if dict(tf.train.list_variables(checkpoint)) == wanted:
                return checkpoint
        except (tf.errors.OpError, ValueError):
            terminal.say(f"{terminal.short(index)} cannot be read: this run is left out.")
    return None


def train_softmax(data_dir, logdir):
    """Train the softmax network as mnist.py does, and return the path of its checkpoint."""
    terminal.say(f"No run of the softmax network is in {terminal.short(logdir)} yet: training one.")
    data = mnist.load_data(data_dir, seed=None)
    folder = mnist.run_folder(logdir, "softmax", **SOFTMAX, data_name=data.train.name)
    try:
        result = mnist.train(data, folder, "softmax", **SOFTMAX)
    except (RuntimeError, tf.errors.OpError) as error:
        sys.exit(
            f"{terminal.short(folder)} cannot be written to any more: {terminal.reason(error)}"
        )
    if result.signal:
        sys.exit(0 if result.signal == signal.SIGINT else 128 + result.signal)
    return result.checkpoint


def load(checkpoints):
    """Load trained networks, {name: path of a checkpoint}, into one graph and one session.

    Returns a function that takes images, float32 (n, 784), and returns each network's probabilities for each, float32
    (n, number of networks, 10). Threads may call it at the same time.
    """
    tf.enable_resource_variables()
    with tf.Graph().as_default() as graph:
        # One thread for each request, so that several clients are answered side by side.
        session = tf.Session(
            config=tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        )
        images = tf.placeholder(tf.float32, [None, 784])
        answers = []
        for name, checkpoint in checkpoints.items():
            with tf.name_scope(
                name
            ):  # keeps the variables of the two apart; in the checkpoints they lack this prefix
                answers.append(tf.nn.softmax(mnist.NETWORKS[name](images)))
            variables = {
                variable.op.name.removeprefix(f"{name}/"): variable
                for variable in tf.trainable_variables(f"{name}/")
            }
            try:
                tf.train.Saver(variables).restore(session, checkpoint)
            except (tf.errors.OpError, ValueError):
                sys.exit(
                    f"{terminal.short(checkpoint)} is damaged: delete its folder, and start again."
                )
        probabilities = tf.stack(answers, axis=1)
    graph.finalize()  # from here on nobody can change it, so that threads can share it
    answer = session.make_callable(probabilities, [images])
    answer(np.zeros((2, 784), np.float32))  # the first answer takes longest: let nobody wait for it
    return answer


def describe(checkpoint):
    """A run as the page tells it: its folder's name as `run`, and what summaries.read_run finds in there."""
    folder, name = os.path.split(checkpoint)
    try:
        return {"run": os.path.basename(folder)} | summaries.read_run(
            folder, int(name.removeprefix("model.ckpt-"))
        )
    except ValueError:  # its curves were deleted
        return {"run": os.path.basename(folder)}


def files(checkpoint):
    """Sizes and times of a checkpoint's files, which tell whether they are still those that were loaded."""
    found = {}
    for path in glob.glob(glob.escape(checkpoint) + ".*"):
        with contextlib.suppress(OSError):  # it went at this very moment
            found[path] = (os.path.getsize(path), os.path.getmtime(path))
    return found


# ------------------------------------------------------------------------------------------------ the web server

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
SENTENCES = {
    404: "There is nothing at this path; the page is at /.",
    405: "This path does not take this method; the header Allow names what it takes.",
    413: "The request is larger than 64 KB.",
}
WARNING = (
    "Its files were changed or deleted since. The page goes on with the network as it was loaded; "
    "start draw.py again to load the newest."
)


def make_app(checkpoints, runs, own_names):
    """The web application, given by network the checkpoints' paths and what describe() says of them; and its names."""
    probabilities = load(checkpoints)
    loaded = {network: files(checkpoint) for network, checkpoint in checkpoints.items()}
    app = flask.Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024

    @app.before_request
    def refuse_other_sites():
        # The owner of another site can make its name lead to this machine, and so have a page talk to this server.
        # Numbers lead nowhere else: a server that listens at all of the machine's addresses takes any of them.
        host = flask.request.headers.get("Host", "").lower()
        name = re.sub(r":\d*$", "", host)
        is_number = re.fullmatch(r"[\d.]+|\[[\da-f:.]+\]", name)
        if name not in own_names and not (is_number and own_names & {"0.0.0.0", "[::]"}):
            flask.abort(
                403, "The header Host must name this server: use the address that draw.py prints."
            )
        if flask.request.headers.get("Origin", f"http://{host}").lower() not in (
            f"http://{host}",
            f"https://{host}",
        ):
            flask.abort(403, "Pages of other sites get no answer here.")

    @app.after_request
    def restrict_page(response):
        response.headers.update(HEADERS)
        return response

    @app.errorhandler(HTTPException)
    def explain(error):
        response = error.get_response()  # with the header Allow where the method was wrong
        response.data = json.dumps({"error": SENTENCES.get(error.code, error.description)})
        response.content_type = "application/json"
        return response

    @app.get("/")
    def page():
        return flask.send_file(os.path.join(mnist.HERE, "draw.html"))

    @app.get("/api/runs")
    def list_runs():
        for network, checkpoint in checkpoints.items():
            if files(checkpoint) != loaded[network] and "warning" not in runs[network]:
                runs[network]["warning"] = WARNING
                terminal.say(f"{terminal.short(checkpoint)}: {WARNING}")
        return runs

    @app.post("/api/mnist/evaluate")
    def evaluate():
        return dict(
            zip(["convolutional", "fully_connected"], map(by_digit, probabilities(read_image())[0]))
        )

    @app.post("/api/mnist/<any(convolutional, fully_connected):name>")
    def evaluate_one(name):
        return {"results": evaluate()[name]}

    @app.post("/api/drawing")
    def evaluate_drawing():
        """What the page asks: strokes in; out, for both views, the picture that the networks see and their answers."""
        strokes = read_strokes()
        pictures = np.stack(
            [draw(strokes).reduce(PAPER // 28), centre(np.asarray(draw(enlarge(strokes))))]
        )
        answers = probabilities(np.float32(pictures.reshape(2, 784) / 255))
        return {
            view: {"picture": picture.ravel().tolist()} | dict(zip(NETWORKS, map(by_digit, rows)))
            for view, picture, rows in zip(["as-drawn", "centred"], pictures, answers)
        }

    return app


def by_digit(probabilities):
    return {str(digit): float(probability) for digit, probability in enumerate(probabilities)}


def read_json():
    try:
        return json.loads(flask.request.get_data())  # whatever the header Content-Type says
    except (ValueError, RecursionError):
        flask.abort(400, "The body of the request is not JSON.")


def is_number(value, most):
    return (
        type(value) in (int, float) and 0 <= value <= most
    )  # True is of another type; NaN is not 0 or more


def read_image():
    """The image in the request, as float32 (1, 784)."""
    values = read_json()
    if type(values) is not list or len(values) != 784:
        flask.abort(400, "An image is a JSON array of 784 numbers, row by row.")
    for place, value in enumerate(values):
        if not is_number(value, 1):
            flask.abort(
                400,
                f"Entry {place} of the array, counted from 0, is not a number from 0 (paper) to 1 (ink).",
            )
    return np.array([values], np.float32)


def read_strokes():
    """The drawing in the request: a list of strokes, each a list of points [x, y] from 0 to PAPER."""

    def is_point(value):
        return (
            type(value) is list
            and len(value) == 2
            and all(is_number(number, PAPER) for number in value)
        )

    strokes = read_json()
    if not (
        type(strokes) is list
        and strokes
        and all(
            type(stroke) is list and stroke and all(map(is_point, stroke)) for stroke in strokes
        )
    ):
        flask.abort(
            400,
            f"A drawing is a JSON array of strokes, each an array of points [x, y] from 0 to {PAPER}.",
        )
    return strokes


# ------------------------------------------------------------------------------------------------ the program


def listen(host, port):
    """A socket that listens there; if that cannot be had, a sentence and the end."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        return socket.create_server((address[0], port), family=family)
    except (OSError, OverflowError) as error:
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        reason = "another program uses it" if taken else getattr(error, "strerror", None) or error
        sys.exit(f"Port {port} of {host} cannot be had ({reason}): choose another with --port.")


def main():
    """Load the networks, train one if it is missing, and answer the page until Ctrl-C."""
    parser = terminal.Parser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--logdir",
        default=os.path.join(mnist.HERE, mnist.LOGDIR),
        help="folder of the trained runs",
    )
    parser.add_argument(
        "--data_dir", default=os.path.join(mnist.HERE, mnist.DATA_DIR), help="folder of MNIST"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at, if not 127.0.0.1"
    )
    parser.add_argument(
        "--port", default=8000, type=int, help="port to listen at, if not 8000; 0 for a free one"
    )
    flags = parser.parse_args()
    if set("*?[") & set(os.path.abspath(flags.logdir)):
        sys.exit(
            f"{flags.logdir}: TensorFlow finds no checkpoint where a folder's name holds one of * ? [; rename it."
        )
    listener = listen(flags.host, flags.port)
    address, port = listener.getsockname()[:2]

    checkpoints = {network: newest_checkpoint(flags.logdir, network) for network in NETWORKS}
    if not checkpoints["convolutional"]:
        sys.exit(
            f"No run in {terminal.short(flags.logdir)} fits mnist.py's convolutional network: "
            "run `python mnist.py` first."
        )
    if not checkpoints["softmax"]:
        checkpoints["softmax"] = train_softmax(flags.data_dir, flags.logdir)
        # Meanwhile a run that is still in training may have put another in this one's place.
        checkpoints["convolutional"] = newest_checkpoint(flags.logdir, "convolutional")
    runs = {network: describe(checkpoint) for network, checkpoint in checkpoints.items()}
    for network, run in runs.items():
        score = (
            f": {run['accuracy']:.2%} of the test digits right ({run['data']})"
            if "accuracy" in run
            else ""
        )
        terminal.say(f"The {network} network is that of {run['run']}{score}.")
        if run.get("accuracy", 1) < 0.5:
            terminal.say(
                "That is too little to show anything here: train this network anew, or delete its folder."
            )

    name = f"[{address}]" if ":" in address else address
    own_names = {"localhost", "127.0.0.1", "[::1]", flags.host.lower(), name}
    logging.getLogger("waitress.queue").setLevel(
        logging.ERROR
    )  # that a request waits its turn is no news
    server = waitress.create_server(make_app(checkpoints, runs, own_names), sockets=[listener])
    shown = "localhost" if name in ("0.0.0.0", "[::]") else name
    terminal.say(f"Draw at http://{shown}:{port}/ (Ctrl-C ends it)")
    server.run()


if __name__ == "__main__":
    with terminal.plain_errors():
        main()
