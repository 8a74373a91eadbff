"""Measure what the lesson costs, and what its user would take in its place; print a table, and write it as JSON.

    python tests/benchmark.py              # about half an hour on two cores
    python tests/benchmark.py --quick      # under two: fewer steps and repetitions

Whatever is compared takes turns, and each ratio is taken between neighbours in time, so that what else the machine does
falls on both alike. Each contender is a process of its own, since the threads of two frameworks in one process disturb
each other; while one computes, the others wait for a line of input. All compute on the processor, GPUs are left out.

The digits are MNIST if the environment variable MNIST_DATA names the folder of its four files, else generated ones.
PyTorch takes part where it is installed (pip install torch).
"""

import argparse
import collections
import concurrent.futures
import contextlib
import functools
import glob
import http.client
import itertools
import json
import math
import os
import pathlib
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

PROJECT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import input_data
from support import terminal

LEARNING_RATE, BATCH_SIZE = 0.0001, 100
IMPORT = "import tensorflow, time; print(2 * [time.monotonic()])"
REAL = bool(os.environ.get("MNIST_DATA"))
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
# Behind this proxy no mirror of MNIST answers: how fast the network is must not show in the figures.
ENVIRONMENT = {
    "https_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "no_proxy": "",
    "NO_PROXY": "",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONUNBUFFERED": "1",
}

Run = collections.namedtuple("Run", "seconds start step megabytes")
# How much is measured; the part "step" is `rounds` rounds of `steps` steps, "draw" is `serves` rounds of `requests`.
Plan = collections.namedtuple(
    "Plan", "rounds steps runs run_steps tutorial_steps long_steps reads serves requests"
)
FULL = Plan(11, 100, 3, 2000, 1000, 20000, 5, 7, 300)
QUICK = Plan(3, 20, 1, 200, 20, 400, 1, 2, 50)


# ------------------------------------------------------------------------------------------------ contenders
# Each returns a function that does its work so many times. A training step is the same work for all: the layers of
# mnist.py, weights from a normal distribution of deviation 0.1 cut off at 0.2, biases of 0.1, shuffled batches from
# float32 images in memory, Adam with epsilon 1e-8, a thread for each core. What differs: PyTorch adds epsilon after
# it has corrected Adam's averages, the others before; and each call of `fit` takes up to 80 ms to begin, 0.4 ms a step.


def read(data_dir, fake_data=not REAL):
    return input_data.read_data_sets(data_dir, fake_data=fake_data, validation_size=0)


def ours(data_dir):
    """The lesson's graph as it is: no accuracy, curves or histograms."""
    import mnist

    data = read(data_dir).train
    with mnist.tf.Graph().as_default():
        model = mnist.build("convolutional", LEARNING_RATE)
        session = mnist.tf.Session()
        session.run(mnist.tf.global_variables_initializer())

    def train(steps):
        for _ in range(steps):
            images, labels = data.next_batch(BATCH_SIZE)
            session.run(model.train_step, {model.images: images, model.labels: labels})

    return train


def keras(data_dir, onednn=False):
    """Keras's `fit` with its defaults; on request with the kernels that mnist.py switches on.

    Where the processor has AVX-512's instructions for neural networks, TensorFlow switches them on by itself.
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
        keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return lambda steps: model.fit(
        images[: steps * BATCH_SIZE],
        data.labels[: steps * BATCH_SIZE],
        batch_size=BATCH_SIZE,
        verbose=0,
    )


def pytorch(data_dir, best):
    """PyTorch as its tutorials write it; at its best also with fused Adam, channels last and batches by index."""
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
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=best or None)
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
    """Reading the data sets in a folder, which are there already; where it is None, each time in a new one."""
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
    """Be a contender: for each number in the input do the work so many times, and print the seconds that it took."""
    answers, sys.stdout = sys.stdout, sys.stderr
    work = (TRAINERS | READERS)[name](data_dir)
    for line in sys.stdin:
        began = time.perf_counter()
        work(int(line))
        print(time.perf_counter() - began, file=answers)


# ------------------------------------------------------------------------------------------------ whole runs
# Processes from their start to their end. Their last line says when the first and the last step began.


def lesson(*flags):
    """Be `python mnist.py`, and look at the clock whenever it takes a batch."""
    clock, next_batch = [], input_data.DataSet.next_batch

    def timed_next_batch(*arguments):
        clock.append(time.monotonic())
        return next_batch(*arguments)

    input_data.DataSet.next_batch = timed_next_batch
    sys.argv = ["mnist.py", *flags]
    runpy.run_path(str(PROJECT / "mnist.py"), run_name="__main__")
    print(json.dumps([clock[0], clock[-1]]))


def tutorial(data_dir, steps):
    """Be the lesson's graph, logged as TensorFlow's tutorial of 2017 logged its own, but without its checkpoints.

    Every five steps the batch goes through the network once more, for the accuracy, the histograms of all weights,
    biases and activations, and three pictures of the input.
    """
    import mnist

    tf, data = mnist.tf, read(data_dir).train
    with tf.Graph().as_default() as graph, tf.Session() as session:
        model = mnist.build("convolutional", LEARNING_RATE)
        activations = [
            operation.outputs[0] for operation in graph.get_operations() if operation.type == "Relu"
        ]
        shown = [*tf.trainable_variables(), *activations, model.logits]
        summary = tf.summary.merge(
            [tf.summary.histogram(tensor.op.name, tensor) for tensor in shown]
            + [
                tf.summary.scalar("loss", model.loss),
                tf.summary.scalar("accuracy", model.accuracy),
                tf.summary.image("input", tf.reshape(model.images, [-1, 28, 28, 1]), max_outputs=3),
            ]
        )
        session.run(tf.global_variables_initializer())
        with tf.summary.FileWriter(tempfile.mkdtemp(), graph) as writer:
            first = time.monotonic()
            for step in range(int(steps)):
                images, labels = data.next_batch(BATCH_SIZE)
                batch = {model.images: images, model.labels: labels}
                if step % 5 == 0:
                    _, event = session.run([model.accuracy, summary], batch)
                    writer.add_summary(event, step)
                session.run(model.train_step, batch)
    print(json.dumps([first, time.monotonic()]))


def whole_run(*arguments, steps=2):
    """Run Python with the arguments; returns seconds in all, until the first step and for a step, and megabytes."""
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
    first, last = json.loads(printed[-1])
    return Run(seconds, first - began, (last - first) / (steps - 1), megabytes)


def default_run(setup, steps):
    """The lesson with its defaults, but for the number of steps and the folders."""
    return whole_run(
        __file__,
        "--lesson",
        f"--data_dir={setup.data_dir}",
        f"--logdir={setup.logdir}",
        f"--epochs={steps}",
        steps=steps,
    )


# ------------------------------------------------------------------------------------------------ processes


@contextlib.contextmanager
def process(*arguments, **pipes):
    """A Python process that does not outlive the `with` block."""
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
    """End the benchmark because a process has ended, with the last line of what it had to say."""
    child.errors.seek(0)
    reason = (child.errors.read().strip() or "it gave no reason").splitlines()[-1]
    sys.exit(f"`{' '.join(child.args)}` ended with status {child.wait()}: {reason}")


def ask(contender, times):
    with contextlib.suppress(BrokenPipeError):  # it has ended, and the missing answer will tell
        os.write(contender.stdin.fileno(), f"{times}\n".encode())
    return float(contender.stdout.readline() or fail(contender))


def take_turns(setup, names, rounds, times):
    """Let contenders work in turns, each so many times in a round; returns by name the seconds for one time."""
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


# ------------------------------------------------------------------------------------------------ the table's rows


def row(what, unit, values, of=None, ratios=((), ())):
    """A row: the values measured, and what two lists of neighbouring measurements compare. Times are in seconds."""

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
        "ratio": spread([above / below for above, below in zip(*ratios)]),
    }


def step_rows(setup):
    """a bare training step, here and elsewhere"""
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
    """a whole run: against its bare steps and the tutorial's way to log, its start, memory, and what it writes"""
    n, few = setup.plan.run_steps, setup.plan.tutorial_steps
    bare_step = lambda: take_turns(setup, ["this project"], 1, n // 4)["this project"][0]
    runs, theirs, imports, bare = setup.short_runs, [], [], []
    for _ in range(setup.plan.runs):
        imports.append(whole_run("-c", IMPORT).start)
        before = bare_step()
        runs.append(default_run(setup, n))
        bare.append((before + bare_step()) / 2)
        theirs.append(whole_run(__file__, "--tutorial", setup.data_dir, few))
    seconds, starts = [run.seconds for run in runs], [run.start for run in runs]
    least = [run.start + n * step for run, step in zip(runs, bare)]
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
        [start - alone for start, alone in zip(starts, imports)],
    )
    yield row(f"peak memory of a whole run of {n:,} steps", "MB", [run.megabytes for run in runs])
    logged = [
        logged_bytes(folder)
        for folder in glob.glob(f"{setup.logdir}/*")
        if f",epochs={n}," in f"{folder},"
    ]
    yield row(
        f"logged per 1,000 of {n:,} steps, without pictures",
        "kB",
        [others / n for others, _ in logged],
    )
    yield row(
        f"logged per 1,000 of {n:,} steps, pictures", "kB", [pictures / n for _, pictures in logged]
    )


def logged_bytes(folder):
    """How many bytes the event files of a run hold without pictures, and how many the pictures take."""
    from tensorboard.compat.proto import event_pb2

    others = pictures = 0
    for path in glob.glob(f"{glob.escape(folder)}/*/events.*"):
        with open(path, "rb") as file:
            while length := file.read(8):
                file.read(4)  # a checksum; another follows the event
                event = event_pb2.Event.FromString(file.read(int.from_bytes(length, "little")))
                size = sum(
                    value.ByteSize() for value in event.summary.value if value.HasField("image")
                )
                pictures, others = pictures + size, others - size
                file.read(4)
            others += file.tell()
    return others, pictures


def long_rows(setup):
    """whether a step stays as fast, and memory as small, in a long run"""
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
    """reading the data sets"""
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
    """how long draw.py takes to answer one client, and each of eight that ask at once"""
    if not glob.glob(f"{setup.logdir}/convolutional,*"):
        default_run(setup, 100)
    times = {1: [], 8: []}
    with process(
        PROJECT / "draw.py", "--logdir", setup.logdir, "--data_dir", setup.data_dir, "--port", 0
    ) as server:
        address = next((line for line in server.stdout if "http://" in line), None) or fail(server)
        port = int(re.search(r"http://[^ /]+:(\d+)/", address)[1])
        for _, (clients, rounds) in itertools.product(range(setup.plan.serves), times.items()):
            with concurrent.futures.ThreadPoolExecutor(clients) as threads:
                answers = threads.map(ask_draw, [port] * clients, [setup.plan.requests] * clients)
                rounds.append(statistics.quantiles(sum(answers, []), n=100))
    for clients, rounds in times.items():
        for percentile, what in (50, "median"), (99, "99th percentile"):
            yield row(
                f"an answer of draw.py, {what}, {clients} client{'s' * (clients > 1)}",
                "ms",
                [percentiles[percentile - 1] for percentiles in rounds],
            )


def ask_draw(port, times):
    """Be a client that sends one picture after the other; returns the seconds until each answer."""
    picture, seconds = (
        json.dumps([place % 28 / 28 if place % 5 == 0 else 0 for place in range(784)]),
        [],
    )
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    ) as connection:
        for _ in range(times):
            began = time.perf_counter()
            connection.request("POST", "/api/mnist/evaluate", picture)
            response = connection.getresponse()
            content = response.read()
            seconds.append(time.perf_counter() - began)
            if response.status != 200:
                sys.exit(f"draw.py answered with status {response.status}: {content.decode()}")
    return seconds


# ------------------------------------------------------------------------------------------------ the program

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
        os.environ.update(
            ENVIRONMENT, TMPDIR=folder
        )  # what a killed process leaves goes with the folder
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
    """The processor, its cores, the system, and the versions of what was measured."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(
        OSError, TypeError
    ):  # Linux has this file, but not on every processor this line
        model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())[1]
    versions = [
        f"{package} {metadata.version(package)}"
        for package in ["tensorflow", "keras", "torch", "numpy"]
        if util.find_spec(package)
    ]
    return f"{model}, {CORES} cores, {platform.system()}, Python {platform.python_version()}, {', '.join(versions)}"


def markdown(report):
    """The report as a table, which README.md has taken over with some of its words changed."""

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


def main():
    parser = terminal.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer steps and repetitions, under two minutes"
    )
    parser.add_argument(
        "--only",
        metavar="PART[,PART]",
        default=",".join(PARTS),
        help="only these parts: "
        + "; ".join(f"{name}, {function.__doc__}" for name, function in PARTS.items()),
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        default="benchmark.json",
        help="where to write the figures, if not to benchmark.json in the current folder",
    )
    flags = parser.parse_args()
    parts = flags.only.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(
            f"--only takes {', '.join(PARTS)}, with commas between them, not {flags.only!r}"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    report = measure(QUICK if flags.quick else FULL, [part for part in PARTS if part in parts])
    print(markdown(report), flush=True)
    with open(flags.json, "w") as file:
        json.dump(report, file, indent=1)
    print(f"Written to {flags.json}", file=sys.stderr)


if __name__ == "__main__":
    roles = {"--contender": serve, "--lesson": lesson, "--tutorial": tutorial}
    if sys.argv[1:] and sys.argv[1] in roles:
        roles[sys.argv[1]](*sys.argv[2:])
    else:
        with terminal.plain_errors():
            main()
