"""Measure what the lesson costs, and what its user would take in its place; print a table.

    python tools/benchmark.py              # about half an hour on two cores
    python tools/benchmark.py --quick      # under two: fewer steps and repetitions

Whatever is compared takes turns, and each ratio is taken between neighbours in time, so that what
else the machine does falls on both alike. Each contender is a process of its own, since the threads
of two frameworks in one process disturb each other; while one computes, the others wait for a line
of input. All compute on the processor, GPUs are left out. The figures are also written as JSON.

The digits are MNIST if the environment variable MNIST_DATA names the folder of its four files, else
generated ones. PyTorch takes part where it is installed (pip install torch).
"""

import argparse
import collections
import concurrent.futures
import contextlib
import functools
import http.client
import itertools
import json
import math
import os
import platform
import re
import runpy
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata, util
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[1] / part) for part in ["", "tests"]]

import input_data
from support import terminal
from support.settings import Parser, read_settings

from helpers import OFFLINE, PROJECT

BATCH_SIZE = 100
IMPORT = "import tensorflow, time; print([time.monotonic(), time.monotonic(), 1])"
REAL = bool(os.environ.get("MNIST_DATA"))
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
# How fast the network is must not show in the figures.
ENVIRONMENT = OFFLINE | {
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONUNBUFFERED": "1",
}

Run = collections.namedtuple("Run", "seconds start step megabytes")
# How much is measured: "step" is `rounds` rounds of `steps` steps, "draw" `serves` of `requests`.
Plan = collections.namedtuple(
    "Plan", "rounds steps runs run_steps tutorial_steps long_steps reads serves requests"
)
FULL = Plan(11, 100, 3, 2000, 1000, 20000, 5, 7, 300)
QUICK = Plan(3, 20, 1, 200, 20, 400, 1, 2, 50)


# --------------------------------------------------------------------------------------- contenders
# Each returns a function that does its work so many times. A training step is the same work for
# all: the layers of mnist.py, weights from a normal distribution of deviation 0.1 cut off at 0.2,
# biases of 0.1, shuffled batches from float32 images in memory, Adam with epsilon 1e-8, a thread
# for each core. What differs: PyTorch adds epsilon after it has corrected Adam's averages, the
# others before; and each call of `fit` takes up to 80 ms to begin, 0.4 ms a step.


def read(data_dir, fake_data=not REAL):
    return input_data.read_data_sets(data_dir, fake_data=fake_data, validation_size=0)


def build():
    """Return TensorFlow, a session and the lesson's graph in it, with its first weights."""
    import mnist

    with mnist.tf.Graph().as_default():
        model = mnist.build(read_settings(vars(mnist), ["--logdir", tempfile.mkdtemp()]))
        session = mnist.tf.Session()
        session.run(mnist.tf.global_variables_initializer())
    return mnist.tf, session, model


def ours(data_dir):
    """Train the lesson's graph: no accuracy, curves or histograms."""
    data, (_, session, model) = read(data_dir).train, build()

    def train(steps):
        for _ in range(steps):
            images, labels = data.next_batch(BATCH_SIZE)
            session.run(model.train_step, {model.images: images, model.labels: labels})

    return train


def keras(data_dir, onednn=False):
    """Train by Keras's `fit` as it is; on request with the kernels that mnist.py switches on.

    Where the processor has AVX-512's instructions for neural networks, TensorFlow switches them on
    by itself.
    """
    if onednn:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    import keras
    from keras import layers

    data = read(data_dir).train
    images = data.images.reshape(-1, 28, 28, 1)
    start = {
        "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.1),
        "bias_initializer": keras.initializers.Constant(0.1),
    }
    model = keras.Sequential(
        [
            layers.Input([28, 28, 1]),
            layers.Conv2D(16, 5, padding="same", activation="relu", **start),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(1024, activation="relu", **start),
            layers.Dense(10, **start),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.0001, epsilon=1e-8),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return lambda steps: model.fit(
        images[: steps * BATCH_SIZE],
        data.labels[: steps * BATCH_SIZE],
        batch_size=BATCH_SIZE,
        verbose=0,
    )


def pytorch(data_dir, best):
    """Train by PyTorch as its tutorials do; at its `best` also by its faster parts."""
    import torch

    torch.set_num_threads(CORES)
    data, layout = read(data_dir).train, torch.channels_last if best else torch.contiguous_format
    images = torch.from_numpy(data.images).reshape(-1, 1, 28, 28).contiguous(memory_format=layout)
    labels = torch.from_numpy(data.labels).long()
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 5, padding="same"),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(14 * 14 * 16, 1024),
        torch.nn.ReLU(),
        torch.nn.Linear(1024, 10),
    ).to(memory_format=layout)
    for layer in [model[0], model[4], model[6]]:
        torch.nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
        torch.nn.init.constant_(layer.bias, 0.1)
    loss_function = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 0.0001, fused=best or None)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images, labels), BATCH_SIZE, shuffle=True
    )

    def epoch():
        return (
            (images[rows], labels[rows]) for rows in torch.randperm(len(images)).split(BATCH_SIZE)
        )

    batches = itertools.chain.from_iterable(
        epoch() if best else loader for _ in itertools.repeat(None)
    )

    def train(steps):
        for images, labels in itertools.islice(batches, steps):
            optimizer.zero_grad()
            loss_function(model(images), labels).backward()
            optimizer.step()

    return train


def reader(folder, fake_data):
    """Read the data sets in a folder, which are there already; None: each time in a new one."""
    if folder:
        read(folder, fake_data)
    return lambda times: [read(folder or tempfile.mkdtemp(), fake_data) for _ in range(times)]


TRAINERS = {  # each takes the folder of the data sets
    "this project": ours,
    "Keras `fit`": keras,
    "Keras `fit`, with oneDNN switched on as here": functools.partial(keras, onednn=True),
    "PyTorch as its tutorials write it": functools.partial(pytorch, best=False),
    "PyTorch at its best (fused Adam, channels last)": functools.partial(pytorch, best=True),
}
READERS = {
    "MNIST": functools.partial(reader, fake_data=False),
    "generated digits, drawn before": lambda _: reader(tempfile.mkdtemp(), fake_data=True),
    "generated digits, drawn anew": lambda _: reader(None, fake_data=True),
}


def serve(name, data_dir):
    """Be a contender: for each number in the input work so many times, and print the seconds."""
    answers, sys.stdout = sys.stdout, sys.stderr
    work = (TRAINERS | READERS)[name](data_dir)
    for line in sys.stdin:
        began = time.perf_counter()
        work(int(line))
        print(time.perf_counter() - began, file=answers)


# --------------------------------------------------------------------------------------- whole runs
# Processes from their start to their end. Their last line says when the first and the last step
# began, and how many steps lie between.


def lesson(*flags):
    """Be `python mnist.py`, and look at the clock whenever it takes a batch to train on."""
    clock, next_batch = [], input_data.DataSet.next_batch

    def timed_next_batch(self, size, *others):
        if size == BATCH_SIZE:  # tests take 500
            clock.append(time.monotonic())
        return next_batch(self, size, *others)

    input_data.DataSet.next_batch = timed_next_batch
    sys.argv = ["mnist.py", *flags]
    try:
        runpy.run_path(str(PROJECT / "mnist.py"), run_name="__main__")
    finally:
        if clock:
            print(json.dumps([clock[0], clock[-1], len(clock) - 1]))


def tutorial(data_dir, steps):
    """Be the lesson's graph, logged as TensorFlow's tutorial of 2017 did, without checkpoints.

    Every five steps the batch goes through the network once more, for the accuracy, the histograms
    of all weights, biases and activations, and three pictures of the input.
    """
    data, (tf, session, model) = read(data_dir).train, build()
    with session.graph.as_default() as graph:
        activations = [made.outputs[0] for made in graph.get_operations() if made.type == "Relu"]
        shown = [*tf.trainable_variables(), *activations, model.logits]
        summary = tf.summary.merge(
            [tf.summary.histogram(tensor.op.name, tensor) for tensor in shown]
            + [
                tf.summary.scalar("loss", model.loss),
                tf.summary.scalar("accuracy", model.accuracy),
                tf.summary.image("input", tf.reshape(model.images, [-1, 28, 28, 1]), max_outputs=3),
            ]
        )
        writer = tf.summary.FileWriter(tempfile.mkdtemp(), graph)
    first = time.monotonic()
    for step in range(int(steps)):
        images, labels = data.next_batch(BATCH_SIZE)
        batch = {model.images: images, model.labels: labels}
        if step % 5 == 0:
            _, event = session.run([model.accuracy, summary], batch)
            writer.add_summary(event, step)
        session.run(model.train_step, batch)
    writer.close()
    print(json.dumps([first, time.monotonic(), int(steps)]))


def whole_run(*arguments):
    """Run Python with these arguments.

    Returns the seconds in all, until the first step and for a step, and the megabytes of memory.
    """
    began = time.monotonic()
    with process(*arguments) as child:
        printed, megabytes = child.stdout.read().splitlines(), math.nan
        if hasattr(os, "wait4"):  # Windows does not tell how much memory a process took
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            megabytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
        if child.wait():
            fail(child)
    seconds = time.monotonic() - began
    first, last, steps = json.loads(printed[-1])
    return Run(seconds, first - began, (last - first) / steps, megabytes)


def default_run(setup, steps):
    """Run the lesson with its defaults, but for the number of steps and the folders."""
    folders = [f"--data_dir={setup.data_dir}", f"--logdir={setup.logdir}"]
    return whole_run(__file__, "--lesson", *folders, f"--epochs={steps}")


# ---------------------------------------------------------------------------------------- processes


@contextlib.contextmanager
def process(*arguments, **pipes):
    """Start Python; it does not outlive the `with` block."""
    command = [sys.executable, *map(str, arguments)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | pipes
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            command, text=True, stderr=errors, start_new_session=True, **pipes
        ) as child:
            child.errors = errors
            try:
                yield child
            finally:
                if child.returncode is None:
                    child.kill()


def fail(child):
    """End the benchmark as a process has ended, with the last line of what it had to say."""
    child.errors.seek(0)
    reason = (child.errors.read().strip() or "it gave no reason").splitlines()[-1]
    sys.exit(f"`{' '.join(child.args)}` ended with status {child.wait()}: {reason}")


def ask(contender, times):
    with contextlib.suppress(BrokenPipeError):  # it has ended, and the missing answer will tell
        os.write(contender.stdin.fileno(), f"{times}\n".encode())
    return float(contender.stdout.readline() or fail(contender))


def take_turns(setup, names, rounds, times):
    """Let contenders work in turns, so many times a round; return by name the seconds for one."""
    new = [name for name in names if name not in setup.running]
    for name in new:
        contender = process(__file__, "--contender", name, setup.data_dir, stdin=subprocess.PIPE)
        setup.running[name] = setup.on_exit.enter_context(contender)
    for name in new if times > 1 else []:
        ask(setup.running[name], times)  # the first of many steps plans, traces and compiles
    seconds = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[:: (-1) ** turn]:
            seconds[name].append(ask(setup.running[name], times) / times)
    return seconds


# --------------------------------------------------------------------------------- the table's rows


def row(what, unit, values, of=None, ratios=((), ())):
    """Make a row of values measured, in seconds, and of what two lists of neighbours compare."""

    def spread(all):
        return (
            {"median": statistics.median(all), "min": min(all), "max": max(all), "all": all}
            if all
            else None
        )

    values = [1000 * seconds for seconds in values] if unit == "ms" else values
    return {
        "what": what,
        "unit": unit,
        "value": spread(values),
        "of": of,
        "ratio": spread([above / below for above, below in zip(*ratios, strict=False)]),
    }


def step_rows(setup):
    """A bare training step, here and elsewhere."""
    ours, *peers = TRAINERS
    names = [name for name in TRAINERS if util.find_spec("torch") or not name.startswith("PyTorch")]
    seconds = take_turns(setup, names, setup.plan.rounds, setup.plan.steps)
    yield row(f"a bare training step: {ours}", "ms", seconds[ours])
    for name in peers:
        took = seconds.get(name, [])
        yield row(
            f"a bare training step: {name}",
            "ms",
            took,
            "this project's to this" if took else "not installed",
            (seconds[ours], took),
        )


def run_rows(setup):
    """A whole run: against its bare steps and the tutorial's logging, its start, memory, files."""
    n, few = setup.plan.run_steps, setup.plan.tutorial_steps

    def bare_step():
        return take_turns(setup, ["this project"], 1, n // 4)["this project"][0]

    runs, theirs, imports, bare = setup.short_runs, [], [], []
    for _ in range(setup.plan.runs):
        imports.append(whole_run("-c", IMPORT).start)
        before = bare_step()
        runs.append(default_run(setup, n))
        bare.append((before + bare_step()) / 2)
        theirs.append(whole_run(__file__, "--tutorial", setup.data_dir, few))
    seconds, starts = [run.seconds for run in runs], [run.start for run in runs]
    least = [run.start + n * step for run, step in zip(runs, bare, strict=True)]
    tutorials = [run.start + (run.seconds - run.start) * n / few for run in theirs]
    yield row(
        f"a whole run of {n:,} steps",
        "s",
        seconds,
        "this to its bare steps plus start",
        (seconds, least),
    )
    scaled = "" if few == n else f", scaled up from {few} steps"
    yield row(
        f"the same logged as TensorFlow's tutorial did{scaled}",
        "s",
        tutorials,
        "this project's run to this",
        (seconds, tutorials),
    )
    yield row("from `python mnist.py` to the first training step", "s", starts)
    yield row("`import tensorflow` alone", "s", imports)
    yield row(
        "the former beyond the latter",
        "s",
        [start - alone for start, alone in zip(starts, imports, strict=True)],
    )
    yield row(f"peak memory of a whole run of {n:,} steps", "MB", [run.megabytes for run in runs])
    logged = [logged_bytes(folder) for folder in Path(setup.logdir).glob(f"*epochs={n}*")]
    yield row(
        f"logged per 1,000 of {n:,} steps, without pictures",
        "kB",
        [others / n for others, _ in logged],
    )
    yield row(
        f"logged per 1,000 of {n:,} steps, pictures", "kB", [pictures / n for _, pictures in logged]
    )


def logged_bytes(folder):
    """Count the bytes of a run's event files without their pictures, and those of the pictures."""
    from tensorboard.compat.proto import event_pb2

    others = pictures = 0
    for path in folder.glob("*/events.*"):
        with path.open("rb") as file:
            while length := file.read(8):
                file.read(4)  # a checksum; another follows the event
                event = event_pb2.Event.FromString(file.read(int.from_bytes(length, "little")))
                values = [value for value in event.summary.value if value.HasField("image")]
                size = sum(value.ByteSize() for value in values)
                pictures, others = pictures + size, others - size
                file.read(4)
            others += file.tell()
    return others, pictures


def long_rows(setup):
    """Whether a step stays as fast, and memory as small, in a long run."""
    short, long = setup.plan.run_steps, setup.plan.long_steps
    neighbours = setup.short_runs[-1:] or [default_run(setup, short)]
    stretched = default_run(setup, long)
    if setup.plan is not QUICK:
        neighbours.append(default_run(setup, short))
    steps, peaks = [run.step for run in neighbours], [run.megabytes for run in neighbours]
    longer = len(neighbours) * [stretched]
    yield row(f"a step with its logging, in a run of {short:,}", "ms", steps)
    yield row(
        f"a step with its logging, in a run of {long:,}",
        "ms",
        [stretched.step],
        "this to the row above",
        ([run.step for run in longer], steps),
    )
    yield row(
        f"peak memory of a run of {long:,} steps",
        "MB",
        [stretched.megabytes],
        f"this to that of {short:,} steps",
        ([run.megabytes for run in longer], peaks),
    )


def read_rows(setup):
    """Reading the data sets."""
    seconds = take_turns(
        setup, [name for name in READERS if REAL or name != "MNIST"], setup.plan.reads, 1
    )
    for name in READERS:
        yield row(
            f"reading {name}",
            "s",
            seconds.get(name),
            None if name in seconds else "MNIST_DATA names no folder",
        )


def draw_rows(setup):
    """How long draw.py takes to answer: one client, each of eight at once, a look inside."""
    if not list(Path(setup.logdir).glob("*/model.ckpt-*")):
        default_run(setup, 100)
    folders = ["--logdir", setup.logdir, "--data_dir", setup.data_dir]
    picture = [place % 28 / 28 if place % 5 == 0 else 0 for place in range(784)]
    times = {1: [], 8: []}
    with process(PROJECT / "draw.py", *folders, "--port", 0) as server:
        address = next((line for line in server.stdout if "http://" in line), None) or fail(server)
        port = int(re.search(r"http://[^ /]+:(\d+)/", address)[1])
        evaluate = functools.partial(ask_draw, port, "/api/mnist/evaluate", picture)
        for _, (clients, rounds) in itertools.product(range(setup.plan.serves), times.items()):
            with concurrent.futures.ThreadPoolExecutor(clients) as threads:
                answers = threads.map(evaluate, [setup.plan.requests] * clients)
                rounds.append(statistics.quantiles(sum(answers, []), n=100))
        inside = {"image": picture, "run": get(port, "/api/runs")["start"][0]}
        look = functools.partial(ask_draw, port, "/api/inside", inside)
        look(setup.plan.requests)  # meanwhile it reads the digits that the network learned from
        looks = [statistics.median(look(setup.plan.requests)) for _ in range(setup.plan.serves)]
    for clients, rounds in times.items():
        for percentile, what in (50, "median"), (99, "99th percentile"):
            yield row(
                f"an answer of draw.py, {what}, {clients} client{'s' * (clients > 1)}",
                "ms",
                [percentiles[percentile - 1] for percentiles in rounds],
            )
    yield row("a look inside the network in draw.py, median", "ms", looks)


def get(port, path):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as server:
        server.request("GET", path)
        return json.loads(server.getresponse().read())


def ask_draw(port, path, question, times):
    """Be a client that asks one time after the other; return the seconds until each answer."""
    seconds, body = [], json.dumps(question)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as server:
        for _ in range(times):
            began = time.perf_counter()
            server.request("POST", path, body)
            response = server.getresponse()
            content = response.read()
            seconds.append(time.perf_counter() - began)
            if response.status != 200:
                sys.exit(f"draw.py answered with status {response.status}: {content.decode()}")
    return seconds


# -------------------------------------------------------------------------------------- the program

PARTS = {
    "step": step_rows,
    "run": run_rows,
    "long": long_rows,
    "read": read_rows,
    "draw": draw_rows,
}
Setup = collections.namedtuple("Setup", "plan data_dir logdir on_exit running short_runs")


def measure(plan, parts):
    """Measure the named parts, and return the report that becomes the table and the JSON."""
    began, rows = time.monotonic(), []
    with contextlib.ExitStack() as on_exit:
        folder = on_exit.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        # What a killed process leaves goes with the folder.
        os.environ.update(ENVIRONMENT, TMPDIR=folder)
        tempfile.tempdir = folder
        data_dir = os.path.abspath(os.environ["MNIST_DATA"]) if REAL else tempfile.mkdtemp()
        try:
            read(data_dir)
        except ValueError as error:
            sys.exit(f"{error}.")
        setup = Setup(plan, data_dir, os.path.join(folder, "runs"), on_exit, {}, [])
        for part in parts:
            print(
                f"{time.monotonic() - began:5.0f} s  {part}: {PARTS[part].__doc__}",
                file=sys.stderr,
                flush=True,
            )
            rows += [{"part": part} | line for line in PARTS[part](setup)]
    return {
        "machine": machine(),
        "digits": "MNIST" if REAL else "generated digits",
        "seconds": round(time.monotonic() - began),
        "plan": plan._asdict(),
        "rows": rows,
    }


def machine():
    """Name the processor, its cores, the system, and the versions of what was measured."""
    model = platform.processor() or platform.machine()
    # Linux has this file, but not on every processor this line.
    with contextlib.suppress(OSError, TypeError):
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    versions = [
        f"{package} {metadata.version(package)}"
        for package in ["tensorflow", "keras", "torch", "numpy"]
        if util.find_spec(package)
    ]
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{model}, {CORES} cores, {system}, {', '.join(versions)}"


def markdown(report):
    """Return the report as a table, as tests/README.md has it with some of its words changed."""

    def number(value):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"

    lines = ["| what | median | spread | ratio (spread) | of what |", "|---|---|---|---|---|"]
    for line in report["rows"]:
        value, ratio = line["value"], line["ratio"]
        cells = [
            line["what"],
            f"{number(value['median'])} {line['unit']}" if value else "",
            f"{number(value['min'])} to {number(value['max'])}" if value else "",
            f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else "",
            line["of"] or "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [*lines, "", f"{report['machine']}; {report['digits']}; taken in {report['seconds']:,} s."]
    )


def main(flags=()):
    """Measure what the flags ask for, print the table and write the figures."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = "fewer steps and repetitions, under two minutes"
    parser.add_argument("--quick", action="store_true", help=words)
    parts = "; ".join(f"{name}: {function.__doc__}" for name, function in PARTS.items())
    every, where = ",".join(PARTS), "where to write the figures"
    parser.add_argument("--only", metavar="PART[,PART]", default=every, help=f"parts. {parts}")
    parser.add_argument("--json", metavar="FILE", default="benchmark.json", help=where)
    flags = parser.parse_args(flags)
    asked = flags.only.split(",")
    if not set(asked) <= set(PARTS):
        parser.error(f"--only takes {every}, with commas between them, not {flags.only!r}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    report = measure(QUICK if flags.quick else FULL, [part for part in PARTS if part in asked])
    print(markdown(report), flush=True)
    Path(flags.json).write_text(json.dumps(report, indent=1))
    print(f"Written to {flags.json}", file=sys.stderr)


if __name__ == "__main__":
    roles = {"--contender": serve, "--lesson": lesson, "--tutorial": tutorial}
    if sys.argv[1:] and sys.argv[1] in roles:
        roles[sys.argv[1]](*sys.argv[2:])
    else:
        terminal.program(main)
