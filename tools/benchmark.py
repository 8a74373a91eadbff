"""Measure the speed of the lesson and of its alternatives; print a table.

    python -m tools.benchmark                    # a quarter of an hour on two cores
    python -m tools.benchmark --quick            # about two minutes: fewer steps and repetitions
    python -m tools.benchmark --against FOLDER   # also measures another checkout of the project

The contenders take turns, and each ratio compares two measurements that follow one another: other
work of the machine then slows both alike. Each contender is a separate process (see contenders.py),
because the threads of two frameworks in one process disturb each other. While one computes, the
others wait for a line of input. All compute on the CPU; where it computes bfloat16 itself, this
project and those that can are measured in bfloat16 and in float32. The figures are also written as
JSON.

The digits are MNIST if the environment variable MNIST_DATA names the folder of its four files,
otherwise generated digits. PyTorch takes part if it is installed (pip install torch).
"""

import argparse
import collections
import concurrent.futures
import contextlib
import http.client
import itertools
import json
import math
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata, util
from pathlib import Path

from support import settings, tensorflow1, terminal
from tools import MNIST, PROJECT, draw_page

CONTENDERS = Path(__file__).with_name("contenders.py")
OURS, FLOAT32, OTHER = "this project", "this project in float32", "the other checkout"
STEPS = [  # see contenders.py
    "Keras `fit`",
    "Keras at its best",
    "PyTorch as its tutorials write it",
    "PyTorch at its best",
    "PyTorch at its best, compiled",
]
STEPS_IN_BFLOAT16 = [f"{name}, bfloat16" for name in STEPS if "best" in name]
IMPORT = "import tensorflow, time; print([time.monotonic(), time.monotonic(), 1])"
REAL = "MNIST_DATA" in os.environ
READ = f"import input_data, sys; input_data.read_data_sets(sys.argv[1], fake_data={not REAL})"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
ENVIRONMENT = {
    "CORES": str(CORES),
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Nothing listens at this proxy: the speed of the network must not change the figures.
    "https_proxy": "http://127.0.0.1:9",
    "no_proxy": "",
}
DRAWING = [[[80, 70], [200, 70], [150, 140], [120, 220]], [[110, 150], [180, 150]]]  # a 7
IMAGE = [place % 28 / 28 if place % 5 == 0 else 0 for place in range(784)]

# How much is measured: `rounds` of `steps` bare steps; `runs` whole runs of `run_steps`, of
# `short_steps`, and of `tutorial_steps`; a run of `long_steps`; `reads` times reading each kind of
# data sets; `serves` rounds of `requests` of each client to draw.py.
Plan = collections.namedtuple(
    "Plan",
    "rounds steps runs run_steps short_steps tutorial_steps long_steps reads serves requests",
)
FULL = Plan(11, 100, 3, 2000, 100, 1000, 20000, 5, 7, 300)
QUICK = Plan(3, 20, 1, 200, 50, 20, 400, 1, 2, 50)
# What a whole run took: seconds in total, until its first step, per step, and of processor time;
# megabytes of memory.
Run = collections.namedtuple("Run", "seconds start step processor megabytes")


class Sitting:
    """One benchmark. A method for each part of the table measures it and returns its rows."""

    def __init__(self, plan, folder, on_exit, against):
        """Take a plan, an empty folder, an ExitStack, and the folder of another checkout or None.

        Each checkout reads the data sets once, so that nothing is downloaded or drawn later.
        """
        self.plan, self.folder, self.on_exit = plan, folder, on_exit
        self.checkouts = {OURS: PROJECT}
        self.uses_bfloat16 = tensorflow1.precision() == "bfloat16"
        if self.uses_bfloat16:
            self.checkouts[FLOAT32] = PROJECT
        if against:
            self.checkouts[OTHER] = against.resolve()
        self.log = on_exit.enter_context((folder / "log").open("w+"))  # stderr of all processes
        self.waiting = {}  # processes, by the name of their work
        self.runs = {name: [] for name in self.checkouts}
        for name in self.checkouts:
            self.whole_run("-c", f"{READ}; {IMPORT}", self.data_dir(name), checkout=name)

    def data_dir(self, checkout):
        return MNIST if REAL else self.folder / checkout / "digits"

    def logdir(self, checkout):
        return self.folder / checkout / "runs"

    # ------------------------------------------------------------------------------------ processes

    def start(self, *arguments, checkout=OURS, **pipes):
        """Start Python with a checkout's modules; it is killed when the benchmark ends."""
        command = [sys.executable, *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(self.checkouts[checkout])}
        if checkout == FLOAT32:
            environment["MNIST_FLOAT32"] = "1"
        pipes = {"stdout": subprocess.PIPE, "stderr": self.log, "text": True} | pipes
        child = subprocess.Popen(command, cwd=self.folder, env=environment, **pipes)
        self.on_exit.callback(child.kill)
        return child

    def failed(self, child):
        """Return a Problem with the last line that a process wrote."""
        words = f"`{' '.join(child.args)}` ended with status {child.wait()}"
        self.log.seek(0)
        return terminal.Problem(": ".join([words, *self.log.read().strip().splitlines()[-1:]]))

    def whole_run(self, *arguments, checkout=OURS):
        """Run a program of contenders.py to its end, and return a Run."""
        began = time.monotonic()
        child = self.start(*arguments, checkout=checkout)
        processor = megabytes = math.nan
        printed = child.stdout.read().splitlines()
        if hasattr(os, "wait4"):  # on Windows these two are not known
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            processor = usage.ru_utime + usage.ru_stime
            megabytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
        if child.wait():
            raise self.failed(child)
        seconds = time.monotonic() - began
        first, last, steps = json.loads(printed[-1])
        return Run(seconds, first - began, (last - first) / steps, processor, megabytes)

    def lesson(self, steps, checkout=OURS):
        """Run `python mnist.py` with its defaults, except for the steps and the folders."""
        folders = ["--data_dir", self.data_dir(checkout), "--logdir", self.logdir(checkout)]
        return self.whole_run(CONTENDERS, "lesson", *folders, "--epochs", steps, checkout=checkout)

    def work(self, name, times):
        """Let a waiting process do its work `times` times; return the clocks for one time."""
        if name not in self.waiting:
            checkout, work = (name, OURS) if name in self.checkouts else (OURS, name)
            arguments = [CONTENDERS, "work", work, self.data_dir(checkout)]
            self.waiting[name] = self.start(*arguments, checkout=checkout, stdin=subprocess.PIPE)
            if times > 1:  # in the first steps, a framework plans, traces and compiles
                self.work(name, times)
        child = self.waiting[name]
        with contextlib.suppress(BrokenPipeError):  # it has ended: there will be no answer
            child.stdin.write(f"{times}\n")
            child.stdin.flush()
        if answer := child.stdout.readline():
            return [seconds / times for seconds in json.loads(answer)]
        raise self.failed(child)

    def take_turns(self, names, rounds, times):
        """Let processes work in turns; return {name: the clocks for one time in each round}."""
        clocks = {name: [] for name in names}
        for turn in range(rounds):
            for name in names if turn % 2 else reversed(names):
                clocks[name].append(self.work(name, times))
        return clocks

    # ---------------------------------------------------------------------------------------- parts

    def step(self):
        """A bare training step, here and elsewhere, each compared with the same precision."""
        groups = {"float32": [FLOAT32 if self.uses_bfloat16 else OURS, *STEPS]}
        if self.uses_bfloat16:
            groups["bfloat16"] = [OURS, *STEPS_IN_BFLOAT16]
        if not util.find_spec("torch"):
            for names in groups.values():
                names[:] = [name for name in names if "PyTorch" not in name]
        everyone = dict.fromkeys([*self.checkouts, *itertools.chain(*groups.values())])
        clocks = self.take_turns(list(everyone), self.plan.rounds, self.plan.steps)
        rows = []
        for place, what in enumerate(["a bare training step", "its processor time"]):
            values = {name: [pair[place] for pair in clocks[name]] for name in clocks}
            rows += make_rows(what, "ms", {name: values[name] for name in self.checkouts})
            for precision, names in groups.items():
                compared = {name.removesuffix(", bfloat16"): values[name] for name in names}
                rows += make_rows(f"{what} in {precision}", "ms", compared)[1:]
        return rows

    def run(self):
        """A whole run, compared to bare steps and the tutorial's logging; start, memory, files."""
        n, few = self.plan.run_steps, self.plan.tutorial_steps
        imports, tutorials = [], []
        least, short = ({name: [] for name in self.runs} for _ in range(2))
        for turn in range(self.plan.runs):
            imports.append(self.whole_run("-c", IMPORT).start)
            for name in self.checkouts if turn % 2 else reversed(self.checkouts):
                before = self.work(name, n // 4)[0]
                run = self.lesson(n, name)
                bare = (before + self.work(name, n // 4)[0]) / 2
                self.runs[name].append(run)
                least[name].append(run.start + n * bare)
                short[name].append(self.lesson(self.plan.short_steps, name).processor)
            logged = self.whole_run(CONTENDERS, "tutorial", self.data_dir(OURS), few)
            tutorials.append(logged.start + (logged.seconds - logged.start) * n / few)
        whole, scaled = f"a whole run of {n:,} steps", f"scaled up from {few:,} steps"
        tutorial = f"the graph logged as TensorFlow's tutorial of 2017 did, {scaled}"
        measured = {
            field: {name: [getattr(run, field) for run in self.runs[name]] for name in self.runs}
            for field in Run._fields
        }
        sizes = [logged_bytes(folder) for folder in self.logdir(OURS).glob(f"*{n}*")]
        kilobytes = {
            "without pictures": [total / n for total, _ in sizes],
            "pictures": [pictures / n for _, pictures in sizes],
        }
        start = measured["start"] | {"`import tensorflow` alone": imports}
        rows = make_rows(whole, "s", measured["seconds"] | {tutorial: tutorials})
        for name, seconds in measured["seconds"].items():
            compared = {name: seconds, "its bare steps plus start": least[name]}
            rows += make_rows(f"{whole}, {name}", "s", compared)[1:]
        return [
            *rows,
            *make_rows(f"processor time of {whole}", "s", measured["processor"]),
            *make_rows(f"processor time of a run of {self.plan.short_steps} steps", "s", short),
            *make_rows("from `python mnist.py` to the first training step", "s", start),
            *make_rows(f"peak memory of {whole}", "MB", measured["megabytes"]),
            *make_rows(f"logged per 1,000 of {n:,} steps", "kB", kilobytes, compared=False),
        ]

    def long(self):
        """Whether a step stays as fast, and the memory as small, in a long run."""
        short, long = self.plan.run_steps, self.plan.long_steps
        neighbours = self.runs[OURS][-1:] or [self.lesson(short)]
        stretched = self.lesson(long)
        neighbours.append(self.lesson(short))
        names = [f"in a run of {steps:,} steps" for steps in (long, short)]
        steps = 2 * [stretched.step], [run.step for run in neighbours]
        memory = 2 * [stretched.megabytes], [run.megabytes for run in neighbours]
        return [
            *make_rows("a step with its logging", "ms", dict(zip(names, steps, strict=True))),
            *make_rows("peak memory", "MB", dict(zip(names, memory, strict=True))),
        ]

    def read(self):
        """Reading the data sets."""
        names = ["generated digits, drawn before", "generated digits, drawn anew"]
        clocks = self.take_turns(["MNIST", *names] if REAL else names, self.plan.reads, 1)
        seconds = {name: [pair[0] for pair in clocks[name]] for name in clocks}
        return make_rows("reading", "s", seconds, compared=False)

    def draw(self):
        """How long draw.py takes to answer: one client, each of eight at once, a look inside."""
        pages, times = {}, self.plan.requests
        for name, checkout in self.checkouts.items():
            if name == FLOAT32:  # the page always computes in float32
                continue
            if not list(self.logdir(name).glob("*/model.ckpt-*")):
                self.lesson(100, name)
            page = draw_page(self.logdir(name), self.data_dir(name), checkout)
            host = self.on_exit.enter_context(page).removeprefix("http://")
            runs = ask(host, "GET", "/api/runs")[1]["start"]
            drawing, inside = {"strokes": DRAWING, "runs": runs}, {"image": IMAGE, "run": runs[0]}
            ask(host, "POST", "/api/inside", inside, times)  # in this time it reads the digits
            pages[name] = {
                (1, "an answer to a drawing"): (host, "POST", "/api/drawing", drawing, times),
                (8, "an answer to a drawing"): (host, "POST", "/api/drawing", drawing, times),
                (1, "a look inside"): (host, "POST", "/api/inside", inside, times),
            }
        rows = []
        for clients, what in pages[OURS]:
            medians, slowest = {name: [] for name in pages}, {name: [] for name in pages}
            for name in self.plan.serves * list(pages):
                with concurrent.futures.ThreadPoolExecutor(clients) as threads:
                    question = pages[name][clients, what]
                    asked = [threads.submit(ask, *question) for _ in range(clients)]
                seconds = [second for each in asked for second in each.result()[0]]
                medians[name].append(statistics.median(seconds))
                slowest[name].append(statistics.quantiles(seconds, n=100)[-1])
            what += f", {clients} client{'s at once' if clients > 1 else ''}"
            rows += make_rows(f"{what}, median", "ms", medians)
            rows += make_rows(f"{what}, 99th percentile", "ms", slowest)
        return rows


PARTS = ["step", "run", "long", "read", "draw"]


def ask(host, method, path, question=None, times=1):
    """Ask draw.py; return the seconds until each answer, and the content of the last answer."""
    seconds, body = [], json.dumps(question)
    with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as server:
        for _ in range(times):
            began = time.perf_counter()
            server.request(method, path, body)
            response = server.getresponse()
            content = response.read()
            seconds.append(time.perf_counter() - began)
            if response.status != 200:
                raise terminal.Problem(f"draw.py refused a question: {content.decode()}")
    return seconds, json.loads(content)


def logged_bytes(folder):
    """Count the bytes of a run's event files without their pictures, and those of the pictures."""
    from support.tensorflow1 import tf

    everything = pictures = 0
    for path in folder.glob("*/events.*"):
        everything += path.stat().st_size
        for event in tf.train.summary_iterator(str(path)):
            sizes = [value.ByteSize() for value in event.summary.value if value.HasField("image")]
            pictures += sum(sizes)
    return everything - pictures, pictures


# -------------------------------------------------------------------------------------- the report


def make_rows(what, unit, measured, compared=True):
    """Make the rows of the table for what was measured in turns, {name: values}.

    values: in seconds, or in the unit. The first values are compared with each of the others.
    """
    first, rows = list(measured)[0], []
    for name, values in measured.items():
        ratios = []
        if compared and name != first:
            ratios = [mine / other for mine, other in zip(measured[first], values, strict=True)]
        values = [1000 * value for value in values] if unit == "ms" else values
        row = {"what": f"{what}: {name}", "unit": unit, "values": values, "ratios": ratios}
        rows.append(row | {"of": f"{first} to this" if ratios else ""})
    return rows


def machine():
    """Name the processor, its cores, the system, and the versions of what was measured."""
    model, flags = platform.processor() or platform.machine(), "flags unknown"
    with contextlib.suppress(OSError, TypeError):  # Linux has this file, but not always these lines
        cpuinfo = Path("/proc/cpuinfo").read_text()
        model = re.search(r"model name\s*: (.*)", cpuinfo)[1]
        line = re.search(r"flags\s*: (.*)", cpuinfo)[1]
        flags = " ".join(re.findall(r"\b(?:avx|amx)\w*", line))
    packages = ["tensorflow", "keras", "torch", "numpy"]
    versions = [f"{name} {metadata.version(name)}" for name in packages if util.find_spec(name)]
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{model} ({flags}), {CORES} cores, {system}, {', '.join(versions)}"


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def markdown(report):
    """Return the report as a table."""
    lines = ["| what | median | spread | ratio (spread) | of what |", "|---|---|---|---|---|"]
    for line in report["rows"]:
        values, ratios, ratio = line["values"], line["ratios"], ""
        if ratios:
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        median = f"{number(statistics.median(values))} {line['unit']}"
        spread = f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else ""
        cells = [line["what"], median, spread, ratio, line["of"]]
        lines.append(f"| {' | '.join(cells)} |")
    about = f"{report['machine']}; {report['digits']}; taken in {report['seconds']:,} s."
    return "\n".join([*lines, "", about])


def main(flags):
    """Measure what the flags ask for, print the table, and write the figures."""
    described = argparse.RawDescriptionHelpFormatter
    parser = settings.Parser(description=__doc__, formatter_class=described)
    parts = "; ".join(f"{name}: {getattr(Sitting, name).__doc__}" for name in PARTS)
    words = "fewer steps and repetitions"
    parser.add_argument("--quick", action="store_true", help=words)
    parser.add_argument("--against", metavar="FOLDER", type=Path, help="another checkout")
    parser.add_argument("--only", metavar="PART", nargs="+", choices=PARTS, help=parts)
    parser.add_argument("--json", metavar="FILE", type=Path, default="benchmark.json")
    flags = parser.parse_args(flags)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began, rows = time.monotonic(), []
    with contextlib.ExitStack() as on_exit:
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder = Path(on_exit.enter_context(folder))
        os.environ.update(ENVIRONMENT, TMPDIR=str(folder))
        sitting = Sitting(QUICK if flags.quick else FULL, folder, on_exit, flags.against)
        for part in [part for part in PARTS if part in (flags.only or PARTS)]:
            measure = getattr(sitting, part)
            terminal.say(f"{time.monotonic() - began:5.0f} s  {part}: {measure.__doc__}")
            rows += measure()
    digits, seconds = "MNIST" if REAL else "generated digits", round(time.monotonic() - began)
    report = {"machine": machine(), "digits": digits, "seconds": seconds, "rows": rows}
    terminal.say(markdown(report))
    flags.json.write_text(json.dumps(report, indent=1))
    terminal.say(f"Written to {terminal.short(flags.json)}")


if __name__ == "__main__":
    terminal.program(main)
