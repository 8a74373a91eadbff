"""Train every experiment of README's table with several seeds, and keep what came out.

python tools/study.py            # hours; Ctrl-C ends it, the next start goes on where it ended
python tools/study.py --quote    # only put what is kept into README

MNIST is read from the folder that the environment variable MNIST_DATA names, or from MNIST_data/.
The results lie in tools/study.json, one entry a run; to make a run again, delete its entry.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path += [str(Path(__file__).resolve().parents[1] / part) for part in ["", "tests"]]

import input_data
import mnist
from support import run as runs
from support import settings, terminal
from support.tensorflow1 import tf

PROJECT = Path(mnist.__file__).parent
RESULTS = Path(__file__).with_name("study.json")
MOMENTS = {200, 1000, 2000}  # steps at which all test images are tested, besides the quarters

# The rows of the table: constants of mnist.py, and how many seeds. Trained in this order.
ROWS = [
    ({"learning_rate": 0.1, "epochs": 100}, 10),
    ({"learning_rate": 0.01, "epochs": 2000}, 10),
    ({"learning_rate": 0.001, "epochs": 2000}, 5),
    ({"learning_rate": 0.0001, "epochs": 2000}, 5),
    ({"learning_rate": 0.00001, "epochs": 2000}, 2),
    ({"learning_rate": 0.0001, "epochs": 2000, "network": "softmax"}, 2),
    ({"learning_rate": 0.001, "epochs": 2000, "network": "softmax"}, 2),
    ({"learning_rate": 0.0001, "epochs": 2000, "kernels": 1}, 2),
    ({"learning_rate": 0.0001, "epochs": 2000, "neurons": 16}, 2),
    ({"learning_rate": 0.1, "epochs": 1000}, 2),
    ({"learning_rate": 0.0001, "epochs": 2000, "neurons": 128}, 2),
    ({"learning_rate": 0.001, "epochs": 20000}, 2),
    ({"learning_rate": 0.0001, "epochs": 20000}, 2),
    ({"learning_rate": 0.0001, "epochs": 2000, "kernels": 64}, 2),
]


class WatchedRun(runs.Run):
    """A run that tests on all images at MOMENTS too, and notes what the study asks for."""

    def __init__(self, settings, data, bar):
        """Take what runs.Run takes, and a bar that counts the steps."""
        self._bar_of_all, self._all = bar, (data.test.images, data.test.labels)
        self.tests, self.highest_loss, self.highest_loss_step = {}, 0, 0
        super().__init__(settings, data)

    def steps(self, *arguments):
        """Yield what runs.Run.steps yields, with more tests on all images."""
        for step, due in super().steps(*arguments):
            yield step, due._replace(test=self._all) if step in MOMENTS else due
            self._bar_of_all.update(not due.last)

    def note_training(self, loss):
        """Note the highest loss of a batch."""
        if loss > self.highest_loss:
            self.highest_loss, self.highest_loss_step = float(loss), self.record["step"]
        super().note_training(loss)

    def note_test(self, accuracy, loss, images):
        """Note the result of a test on all images."""
        if images == len(self._all[0]):
            self.tests[str(self.record["step"])] = _rounded(accuracy, loss)
        super().note_test(accuracy, loss, images)


def _rounded(accuracy, loss):
    return {"accuracy": round(float(accuracy), 5), "loss": float(f"{loss:.4g}")}


# ------------------------------------------------------------------------------------ one training


def measure(constants, seed, bar):
    """Train one network, in a folder of its own that is deleted, and return its entry, a dict."""
    data_dir = os.environ.get("MNIST_DATA", PROJECT / "MNIST_data")
    entry = {"constants": constants, "seed": seed}
    with tempfile.TemporaryDirectory() as logdir, _silence():
        given = {**constants, "seed": seed, "data_dir": data_dir, "logdir": logdir}
        flags = [word for name, value in given.items() for word in (f"--{name}", value)]
        chosen = settings.read_settings(vars(mnist), flags)
        data = input_data.read_data_sets(str(chosen.data_dir), validation_size=0, seed=seed)
        run = WatchedRun(chosen, data, bar)
        mnist.train(chosen, data, run)
        if run.record["status"] != "finished":
            raise KeyboardInterrupt
        entry["tests"] = run.tests
        entry["highest_loss"] = {
            "step": run.highest_loss_step,
            "loss": float(f"{run.highest_loss:.4g}"),
        }
        entry["first_perfect_batch"] = _first_perfect_batch(run.folder / "train")
        entry |= _look_at(chosen, data, runs.find(logdir)[0]["checkpoint"])
    return entry


def _silence():
    """Hold back what a run says and its bar."""
    silence = contextlib.ExitStack()
    silence.enter_context(contextlib.redirect_stdout(io.StringIO()))
    silence.enter_context(contextlib.redirect_stderr(io.StringIO()))
    return silence


def _first_perfect_batch(folder):
    """Return the first step at which the curve of the batches shows 100%; None if it never does."""
    for file in sorted(folder.glob("events*")):
        for event in tf.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.tag == "accuracy" and value.simple_value == 1:
                    return event.step
    return None


def _look_at(chosen, data, checkpoint):
    """Measure a trained network: on all training images, its answers, and its dead ReLUs."""
    with tf.Graph().as_default() as graph, tf.Session() as session:
        model = mnist.build(chosen)
        tf.train.Saver(tf.trainable_variables()).restore(session, checkpoint)
        accuracy, loss, _ = mnist.evaluate(session, model, data.train.images, data.train.labels)
        _, _, logits = mnist.evaluate(session, model, data.test.images, data.test.labels)
        found = {
            "train": _rounded(accuracy, loss),
            "answers": np.bincount(logits.argmax(axis=1), minlength=10).tolist(),
        }
        if chosen.network == "convolutional":  # the share that is 0 for each of 1,000 test digits
            layers = [graph.get_tensor_by_name(f"{name}:0") for name in ["conv/Relu", "hidden"]]
            conv, hidden = session.run(layers, {model.images: data.test.images[:1000]})
            found["dead"] = {
                "conv": round(float(1 - conv.any(axis=(0, 1, 2)).mean()), 4),
                "fc1": round(float(1 - hidden.any(axis=0).mean()), 4),
            }
    return found


# --------------------------------------------------------------------------------------- the study


def read():
    """Return the entries that are kept, a list of dicts."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def keep(entries):
    """Write the entries whole or not at all, one a line."""
    part = RESULTS.with_suffix(".part")
    part.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")
    part.replace(RESULTS)


def complete():
    """Train what is missing, and keep each result at once."""
    entries = read()
    wanted = [(constants, seed) for constants, seeds in ROWS for seed in range(1, seeds + 1)]
    kept = [(entry["constants"], entry["seed"]) for entry in entries]
    bar = tqdm(
        total=sum(constants["epochs"] for constants, _ in wanted),
        initial=sum(constants["epochs"] for constants, seed in wanted if (constants, seed) in kept),
        file=sys.stderr,
        unit=" steps",
        mininterval=1 if sys.stderr.isatty() else 60,
    )
    with bar:
        for constants, seed in wanted:
            if (constants, seed) not in kept:
                bar.set_postfix_str(f"{constants}, seed {seed}")
                entries.append(measure(constants, seed, bar))
                keep(entries)


# ---------------------------------------------------------------------------------- README's tables

# What the tables say in each language: the page, the heads of both tables, words in their cells.
ENGLISH = {
    "page": PROJECT / "README.md",
    "runs": "`LEARNING_RATE` | `EPOCHS` | besides | runs | step 200 | step 1,000 | the end "
    "| test loss | training digits",
    "long": "`LEARNING_RATE` | step | test digits | test loss",
    "learned": "{} of {} learned",
    "died": "{} of {} died",
    "spread": "{} to {}",
}
CHINESE = {
    "page": PROJECT / "README.zh-CN.md",
    "runs": "`LEARNING_RATE` | `EPOCHS` | 其他改动 | 次数 | 第 200 步 | 第 1,000 步 | 结束时 "
    "| 测试损失 | 训练数字",
    "long": "`LEARNING_RATE` | 训练步 | 测试数字 | 测试损失",
    "learned": "{} / {} 学会",
    "died": "{} / {} 死掉",
    "spread": "{} 到 {}",
}


def table(entries, words):
    """Return the table of all rows, Markdown; runs that learned and runs that died lie apart."""
    rows = []
    for constants, _ in ROWS:
        of_row = [entry for entry in entries if entry["constants"] == constants]
        for outcome in ("learned", "died"):
            group = [entry for entry in of_row if is_dead(entry) == (outcome == "died")]
            if group:
                count = words[outcome].format(len(group), len(of_row))
                rows.append(_row(constants, group, count, words["spread"]))
    return _markdown(words["runs"], rows)


def is_dead(entry):
    """Tell whether a network ended with the same answer for nearly every test digit."""
    return max(entry["answers"]) > 9900


def _row(constants, group, runs, spread):
    besides = [
        f"`{name.upper()} = {json.dumps(value)}`"
        for name, value in constants.items()
        if name not in ("learning_rate", "epochs")
    ]
    end = str(constants["epochs"])
    return [
        f"{constants['learning_rate']:f}".rstrip("0"),
        f"{constants['epochs']:,}",
        " ".join(besides),
        runs,
        *[_percent(_of(group, step, "accuracy"), spread) for step in ("200", "1000", end)],
        _losses(_of(group, end, "loss"), spread),
        _percent([entry["train"]["accuracy"] for entry in group], spread),
    ]


def long_runs(entries, words):
    """Return the table of the long runs on their way, Markdown."""
    rows = []
    for rate in (0.001, 0.0001):
        constants = {"learning_rate": rate, "epochs": 20000}
        group = [entry for entry in entries if entry["constants"] == constants]
        for step in ("2000", "5000", "10000", "15000", "20000") if group else ():
            cells = [f"{rate:f}".rstrip("0"), f"{int(step):,}"]
            cells.append(_percent(_of(group, step, "accuracy"), words["spread"]))
            rows.append([*cells, _losses(_of(group, step, "loss"), words["spread"])])
    return _markdown(words["long"], rows)


def _of(group, step, measure):
    return [entry["tests"][step][measure] for entry in group if step in entry["tests"]]


def _percent(parts, spread):
    """Write the spread of parts, 0 to 1; 100.0% is kept for those that are exactly that."""
    texts = [f"{min(100 * part + 1e-9, 100 if part == 1 else 99.9):.1f}" for part in sorted(parts)]
    return f"{_spread(texts, spread)}%" if texts else ""


def _losses(losses, spread):
    return _spread([f"{loss:.3f}" for loss in sorted(losses)], spread)


def _spread(texts, spread):
    """Write the first and the last of sorted texts, or only one where they are the same."""
    return texts[0] if texts[0] == texts[-1] else spread.format(texts[0], texts[-1])


def _markdown(head, rows):
    lines = [head, "|".join(["---"] * len(head.split(" | ")))]
    lines += [" | ".join(row) for row in rows]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def quote(entries):
    """Put both tables into README, in each language, in place of those that stand there."""
    for words in (ENGLISH, CHINESE):
        text = words["page"].read_text(encoding="utf-8")
        for name, content in {"study": table, "long": long_runs}.items():
            before, _, rest = text.partition(f"<!-- {name} -->\n")
            _, _, after = rest.partition(f"<!-- /{name} -->")
            made = content(entries, words)
            text = f"{before}<!-- {name} -->\n{made}\n<!-- /{name} -->{after}"
        words["page"].write_text(text, encoding="utf-8")


def main(flags):
    """Complete the study, and put its tables into README."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quote", action="store_true", help="only put what is kept into README")
    if not parser.parse_args(flags).quote:
        complete()
    quote(read())


if __name__ == "__main__":
    terminal.program(main)
