"""The page's server: its routes and their answers. README lists them."""

import contextlib
import json
import mimetypes
from collections.abc import Sequence, Set
from pathlib import Path

import flask
import numpy as np
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from input_data import DataSet
from page import hosts
from page.digits import USUAL, USUAL_MOVED, TrainingDigits
from page.networks import Refusal, TrainedNetwork, TrainedRuns, newest
from page.pictures import PAPER, Strokes, as_drawn, centred, from_photo
from page.tally import Tally, keep, take_back
from support.saved import Record
from support.settings import KINDS

# For each code of a refusal: the HTTP status, and the sentence in each language of the page.
REFUSALS = json.loads(Path(__file__).with_name("refusals.json").read_text(encoding="utf-8"))
LARGEST_PHOTO = 20 * 1024 * 1024  # bytes of its file
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors ",  # then comes what hosts.py says
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
SHOWN = ["name", "network", "step", "epochs", "learning_rate", "batch_size", "kernels", "neurons"]
SHOWN += ["shift", "own_digits", "data", "started", "status", "accuracy", "images"]


def make_app(
    runs: TrainedRuns,
    digits: TrainingDigits,
    own_names: set[str],
    own_digits: Path,
    allow_saving: bool = False,
    allowed: Set[str] = frozenset(),
) -> flask.Flask:
    """Make the web application.

    own_names: the host names of this server. own_digits: the folder of the reader's own digits.
    allow_saving: whether other machines may keep drawings there. allowed: further host names,
    whose pages may ask the server too, and show its page in a frame.
    """
    # On Windows, Python reads these types from the system, which may say "text/plain".
    mimetypes.add_type("text/javascript", ".js")
    mimetypes.add_type("text/css", ".css")
    app = flask.Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 512 * 1024  # bytes: a scribble of three minutes

    @app.before_request
    def refuse_other_sites():
        hosts.check_host(flask.request, own_names, allowed)
        if flask.request.endpoint not in ("page", "static"):  # scripts are asked for with an Origin
            hosts.check_origin(flask.request, allowed)

    @app.after_request
    def restrict_page(response):
        response.headers.update(HEADERS)
        response.headers["Content-Security-Policy"] += hosts.frame_ancestors(allowed)
        return response

    @app.errorhandler(Refusal)
    def refuse(refusal):
        answer, status = describe(refusal), REFUSALS[refusal.code]["status"]
        if flask.request.endpoint == "page":  # a person reads it in the window of the browser
            sentences = f"{answer['error']}\n{answer['chinese']}\n"
            return flask.Response(sentences, status, mimetype="text/plain")
        return answer, status

    @app.errorhandler(HTTPException)
    def refuse_as_json(error):
        code = error.name.lower().replace(" ", "-")
        if code in REFUSALS:
            return describe(Refusal(code)), error.code
        return {"error": error.description, "chinese": error.description, "code": code}, error.code

    @app.get("/")
    def page():
        return app.send_static_file("index.html")

    @app.get("/api/runs")
    def list_runs():
        records = runs.list()
        shown = [{key: getattr(record, key) for key in SHOWN} for record in records]
        start = [newest(records, network) for network in KINDS]
        return {"runs": shown, "start": start, "old": runs.old}

    @app.post("/api/evaluate")
    def evaluate():
        image, name = read_question()
        network = runs.get(newest(runs.list(), "convolutional") if name is None else name)
        [probabilities] = network.probabilities(image).tolist()
        record = network.record
        return {"run": record.name, "step": record.step, "probabilities": probabilities}

    @app.post("/api/drawing")
    def evaluate_drawing():
        strokes, names = read_drawing()
        views = {"as-drawn": as_drawn(strokes), "centred": centred(strokes)}
        networks = [None if name is None else runs.get(name) for name in names]
        return answer_views(views, networks, digits)

    @app.post("/api/picture")
    def evaluate_photo():
        photo = from_photo(read_photo_file())
        names = flask.request.args.getlist("run") or list_runs()["start"]
        networks = [runs.get(name) if name else None for name in names]
        views = {"plain": photo.plain, "prepared": photo.prepared}
        answer = answer_views(views, networks, digits)
        return answer | {key: getattr(photo, key) for key in ["inverted", "digits", "box"]}

    @app.post("/api/inside")
    def look_inside():
        image, name = read_question()
        return answer_inside(image, runs.get(name), digits)

    @app.get("/api/weights")
    def weights():
        return answer_weights(runs.get(flask.request.args.get("run")), digits)

    def refuse_other_machines():
        if not allow_saving and not hosts.is_from_this_machine(flask.request):
            raise Refusal("other-machine")

    @app.get("/api/own-digits")
    def count_own_digits():
        tally, names = Tally(own_digits), flask.request.args.getlist("run")
        counts = tally.counts()
        networks = [runs.get(name) if name and any(counts) else None for name in names]
        learned = {name for each in networks if each for name in each.record.own_names or []}
        tallies = [tally.of(each, learned) if each else None for each in networks]
        answer = {"counts": counts, "refusal": None, "tallies": tallies}
        try:
            refuse_other_machines()
        except Refusal as refusal:
            answer["refusal"] = describe(refusal)
        return answer

    @app.post("/api/own-digits")
    def keep_drawing():
        refuse_other_machines()
        question, strokes = read_json(), None
        if "image" in question:  # of a photo
            picture = np.uint8(np.round(255 * read_image(question["image"]).reshape(28, 28)))
        else:
            strokes = read_strokes(question)
            picture = centred(strokes)
        digit = question.get("digit")
        if type(digit) is not int or digit not in range(10):
            raise Refusal("not-a-digit")
        return {"name": keep(own_digits, digit, picture, strokes)}

    @app.delete("/api/own-digits/<path:name>")
    def take_drawing_back(name):
        refuse_other_machines()
        take_back(own_digits, name)
        return {"name": name}

    return app


def describe(refusal: Refusal) -> dict[str, str]:
    """Return the answer for a refusal: its sentence in each language, and its code."""
    sentences = REFUSALS[refusal.code]
    english, chinese = (sentences[each].format(**vars(refusal)) for each in ["en", "zh-CN"])
    return {"error": english, "chinese": chinese, "code": refusal.code}


def read_json() -> dict:
    """Return the object in the body of the request; {} if the body is JSON of another kind."""
    try:
        value = json.loads(flask.request.get_data())  # with any Content-Type
    except (ValueError, RecursionError):
        raise Refusal("not-json") from None
    return value if isinstance(value, dict) else {}


def read_question() -> tuple[np.ndarray, str | None]:
    """Return the image in the request, float32 (1, 784), and the name of a run, or None."""
    question = read_json()
    image, name = question.get("image"), question.get("run")
    if "image" not in question or not isinstance(name, str | None):
        raise Refusal("not-a-question")
    return read_image(image), name


def read_image(image: object) -> np.ndarray:
    """Return the image in a request, float32 (1, 784)."""
    return read_numbers([image], 784, 1, "not-an-image").astype(np.float32)


def read_photo_file() -> bytes:
    """Return the body of a request that is a photo."""
    flask.request.max_content_length = LARGEST_PHOTO
    try:
        return flask.request.get_data()
    except RequestEntityTooLarge:
        raise Refusal("too-large-photo") from None


def read_drawing() -> tuple[Strokes, list[str | None]]:
    """Return the strokes of a drawing, and the names of two runs; a name may be None."""
    question = read_json()
    strokes, names = read_strokes(question), question.get("runs")
    if isinstance(names, list) and len(names) == 2:
        if all(isinstance(name, str | None) for name in names):
            return strokes, names
    raise Refusal("not-two-runs")


def read_strokes(question: dict) -> Strokes:
    """Return the strokes of a drawing."""
    strokes = question.get("strokes")
    if not isinstance(strokes, list) or not strokes:
        raise Refusal("not-a-drawing")
    return [read_numbers(stroke, 2, PAPER, "not-a-drawing").tolist() for stroke in strokes]


def read_numbers(rows: object, columns: int, highest: float, code: str) -> np.ndarray:
    """Return rows of numbers from 0 to `highest` as an array, or raise Refusal with `code`."""
    with contextlib.suppress(ValueError):  # the rows differ in length
        numbers = np.array(rows)
        fits = numbers.shape[1:] == (columns,) and numbers.dtype.kind in "iuf"
        if fits and np.all((numbers >= 0) & (numbers <= highest)):  # NaN is refused as well
            return numbers
    raise Refusal(code)


def which(record: Record) -> dict:
    """Return which run answers: a run of the same name may have been deleted and trained again."""
    return {"run": record.name, "started": record.started, "step": record.step}


def answer_views(
    pictures: dict[str, np.ndarray],
    networks: Sequence[TrainedNetwork | None],
    digits: TrainingDigits,
) -> dict:
    """Return each view's picture, uint8 (28, 28), with every network's answer, and their runs.

    `unlike` says for each network whether the picture looks like no digit that it learned from.
    """
    views = np.stack([*pictures.values()]).reshape(-1, 784)
    images = (views / 255).astype(np.float32)
    asked = [each.probabilities(images).tolist() if each else None for each in networks]
    # Networks that learned from the same digits share a search.
    records = {learned_from(each.record): each.record for each in networks if each}
    found = {key: digits.are_unlike(record, views) for key, record in records.items()}
    unknown = [None] * len(views)
    unlike = [found[learned_from(each.record)] if each else unknown for each in networks]
    answer: dict = {"runs": [which(each.record) if each else None for each in networks]}
    for place, (view, picture) in enumerate(pictures.items()):
        answers = [each and each[place] for each in asked]
        answer[view] = {"picture": picture.ravel().tolist(), "answers": answers}
        answer[view]["unlike"] = [each[place] for each in unlike]
    return answer


def learned_from(record: Record) -> tuple:
    """Return what tells which digits a run learned from."""
    return record.data, record.data_dir, record.shift, tuple(record.own_names or [])


def answer_inside(image: np.ndarray, network: TrainedNetwork, digits: TrainingDigits) -> dict:
    """Return what each layer computes for an image, and the training digits most like it."""
    record = network.record
    answer = which(record) | {"network": record.network}
    for name, values in network.layers(image).items():
        maps = values[0].reshape(-1, values.shape[-1]).T if name == "conv" else values[0]
        answer[name] = rounded(maps)
    usual = USUAL_MOVED if record.shift else USUAL
    answer |= {"similar": [], "similar_error": None, "usual": usual.get(record.data or "")}
    try:
        for match in digits.most_like(record, image[0]):
            picture, likeness = match.picture.tolist(), round(match.likeness, 5)
            answer["similar"].append(vars(match) | {"picture": picture, "likeness": likeness})
    except Refusal as refusal:
        answer["similar_error"] = describe(refusal)
    return answer


def answer_weights(network: TrainedNetwork, digits: TrainingDigits) -> dict:
    """Return the weights that the page shows, without layers that differ from mnist.py's."""
    answer = which(network.record) | {"network": network.record.network}
    is_softmax = network.record.network == "softmax"
    name, layer, inputs = ("weights", "fc", 784) if is_softmax else ("kernels", "conv", 25)
    values = network.weights.get(f"{layer}/Weights")
    if values is not None and values[..., 0].size == inputs:
        biases = network.weights.get(f"{layer}/Biases", np.zeros(values.shape[-1]))
        answer |= {name: rounded(values.reshape(inputs, -1).T), "biases": rounded(biases)}
    if is_softmax:
        return answer
    try:  # dead neurons are 0 for each of 500 training digits
        record, pictures = network.record, digits.of(network.record).pictures(slice(500))
        moved = DataSet(pictures, pictures[:, 0], seed=0, shift=record.shift)
        images, _ = moved.next_batch(len(pictures))
        answer |= {"dead": network.dead_neurons(images), "tried": len(images)}
    except Refusal:
        answer |= {"dead": None, "tried": 0}
    return answer | {"inputs": network.inputs}


def rounded(values: np.ndarray) -> list:
    """Return an array as lists of numbers, with five decimals: the page shows three."""
    return np.round(values.astype(np.float64), 5).tolist()
