"""Train every experiment of docs/results.md with several seeds, and save the results.

    python -m tools.study            # hours; after Ctrl-C, the next start continues
    python -m tools.study --quote    # only writes the saved results into the pages

MNIST is read from the folder that the environment variable MNIST_DATA names, or from MNIST_data/.
The results are in tools/study.json, one line per run. To train a run again, delete its line. The
first rows are also trained in bfloat16, if the processor computes it itself.
"""

import json
import os
import statistics
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np

import input_data
import mnist
from support import run as runs
from support import settings, tensorflow1, terminal
from support.tensorflow1 import tf
from tools import MNIST, PROJECT
from tools.shifted_digits import move_right

RESULTS = Path(__file__).with_name("study.json")
MOMENTS = [200, 1000, 2000]  # steps of tests on all test digits, besides the quarters

# The rows of the table, in the order of training: constants of mnist.py, and how many seeds. The
# first IN_BOTH of them are trained in float32 and in bfloat16.
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
IN_BOTH = 4
# The rows of a second table, of networks that learned from moved digits.
MOVED_ROWS = [
    ({"learning_rate": 0.001, "epochs": 2000, "shift": 0}, 5),
    ({"learning_rate": 0.001, "epochs": 2000, "shift": 4}, 2),
    ({"learning_rate": 0.001, "epochs": 2000, "shift": 8}, 5),
    ({"learning_rate": 0.001, "epochs": 6000, "shift": 8}, 2),
    ({"learning_rate": 0.001, "epochs": 3000, "shift": 8, "network": "softmax"}, 2),
]
MOVED = [0, 2, 4, 6, 8]  # pixels by which all test digits are moved to the right in that table

# ------------------------------------------------------------------------------------ the training


def measure(constants, seed, precision):
    """Train one network, in a folder that is deleted afterwards, and return its entry, a dict."""
    forced = {"MNIST_FLOAT32": "1" if precision == "float32" else "0"}
    with tempfile.TemporaryDirectory() as logdir, mock.patch.dict(os.environ, forced):
        given = constants | {"seed": seed, "data_dir": MNIST, "logdir": logdir}
        flags = [word for name, value in given.items() for word in (f"--{name}", value)]
        chosen = settings.read_settings(vars(mnist), flags)
        data = input_data.read_data_sets(
            str(MNIST), validation_size=0, seed=seed, shift=chosen.shift
        )
        run = runs.Run(chosen, data)
        tests, moved, evaluate = {}, {}, mnist.evaluate

        def evaluate_more(session, model, images, labels):
            """Do what mnist.evaluate does; at some steps, also test on all digits."""
            step = run.record.step
            if step in MOMENTS or len(images) == data.test.num_examples:
                tests[str(step)] = evaluate(session, model, data.test.images, data.test.labels)
            if step == chosen.epochs:
                tests["train"] = evaluate(session, model, data.train.images, data.train.labels)
                for pixels in MOVED if "shift" in constants else []:
                    digits = move_right(data.test.images.reshape(-1, 28, 28), pixels)
                    found = evaluate(session, model, digits.reshape(-1, 784), data.test.labels)
                    moved[str(pixels)] = round(float(found[1]), 5)
            return evaluate(session, model, images, labels)

        with mock.patch.object(mnist, "evaluate", evaluate_more):
            mnist.train(chosen, data, run)
        if run.record.status != "finished":
            raise KeyboardInterrupt
        curves = read_curves(run.folder / "train")
    results = {
        step: {"accuracy": round(float(accuracy), 5), "loss": float(f"{loss:.4g}")}
        for step, (_, accuracy, loss, _) in tests.items()
    }
    highest = max(curves["Loss"], key=curves["Loss"].get)
    perfect = [step for step, accuracy in curves["Accuracy"].items() if accuracy == 1]
    logits = tests[str(chosen.epochs)][0]
    entry = {
        "constants": constants,
        "seed": seed,
        "precision": run.record.precision,
        "train": results.pop("train"),
        "tests": results,
        "highest_loss": {"step": highest, "loss": float(f"{curves['Loss'][highest]:.4g}")},
        "first_perfect_batch": min(perfect, default=None),
        "answers": np.bincount(logits.argmax(axis=1), minlength=10).tolist(),
    }
    if moved:
        entry["moved"] = moved
    if chosen.network == "convolutional":  # the share of ReLUs that are 0 for each of 500 digits
        dead = {layer: curves[f"share of dead ReLUs/{layer}"] for layer in ("conv", "fc1")}
        entry["dead"] = {layer: round(curve[chosen.epochs], 4) for layer, curve in dead.items()}
    return entry


def read_curves(folder):
    """Return the curves in a folder of event files, {tag: {step: value}}."""
    curves = {}
    for file in sorted(folder.glob("events*")):
        for event in tf.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    curves.setdefault(value.tag, {})[event.step] = value.simple_value
    return curves


def read():
    """Return the saved entries, a list of dicts."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def complete():
    """Train what is missing, and save each result immediately."""
    entries = read()
    kept = [(entry["constants"], entry["seed"], entry["precision"]) for entry in entries]
    precisions = dict.fromkeys(["float32", tensorflow1.precision()])
    wanted = [
        (constants, seed, precision)
        for precision in precisions
        for constants, seeds in (ROWS + MOVED_ROWS if precision == "float32" else ROWS[:IN_BOTH])
        for seed in range(1, seeds + 1)
    ]
    missing = [run for run in wanted if run not in kept]
    for place, (constants, seed, precision) in enumerate(missing, 1):
        what = f"{constants}, seed {seed}, in {precision}"
        terminal.say(f"\n{place} of {len(missing)} that are missing: {what}")
        entries.append(measure(constants, seed, precision))
        part = RESULTS.with_suffix(".part")
        part.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")
        part.replace(RESULTS)


# ---------------------------------------------------------------------------- the pages' tables

WORDS = {  # for each page: the heads of both tables, and the words in their cells
    "docs/results.md": {
        "study": "| `LEARNING_RATE` | `EPOCHS` | besides | runs | step 200 | step 1,000 | the end "
        "| test loss | training digits |",
        "long": "| `LEARNING_RATE` | step | test digits | test loss |",
        "moved": "| `NETWORK` | `EPOCHS` | `SHIFT` | runs | 0 | 2 | 4 | 6 | 8 |",
        "learned": "{} of {} learned",
        "died": "{} of {} died",
        "to": " to ",
        "% to": " to ",
    },
    "docs/zh-CN/results.md": {
        "study": "| `LEARNING_RATE` | `EPOCHS` | 其他改动 | 结果 | 第 200 步 | 第 1,000 步 "
        "| 结束时（测试集） | 测试集损失 | 训练集准确率 |",
        "long": "| `LEARNING_RATE` | 训练步 | 测试集准确率 | 测试集损失 |",
        "moved": "| `NETWORK` | `EPOCHS` | `SHIFT` | 次数 | 0 | 2 | 4 | 6 | 8 |",
        "learned": "{1} 次中 {0} 次学会",
        "died": "{1} 次中 {0} 次死亡",
        "to": "～",
        "% to": "%～",
    },
}


def tables(entries, words):
    """Return the tables of a page as Markdown, {name of the table: text}."""
    study, long = [], []
    for constants, _ in ROWS:
        runs = [entry for entry in entries if entry["constants"] == constants]
        first, epochs = rate_and_epochs(constants), constants["epochs"]
        besides = [
            f"`{name.upper()} = {json.dumps(value)}`"
            for name, value in constants.items()
            if name not in ("learning_rate", "epochs")
        ]
        for outcome in ("learned", "died"):  # a row for those that learned, one for those that died
            group = [entry for entry in runs if is_dead(entry) == (outcome == "died")]
            if group:
                count = words[outcome].format(len(group), len(runs))
                early = [spreads(tests(group, step), words)[0] for step in (200, 1000)]
                end, loss = spreads(tests(group, epochs), words)
                train, _ = spreads([entry["train"] for entry in group], words)
                study.append([*first, " ".join(besides), count, *early, end, loss, train])
        if epochs == 20000:
            for step in (2000, 5000, 10000, 15000, 20000):
                long.append([first[0], f"{step:,}", *spreads(tests(runs, step), words)])
    moved = []
    for constants, _ in MOVED_ROWS:
        runs = [entry["moved"] for entry in entries if entry["constants"] == constants]
        network = constants.get("network", "convolutional")
        first = [network, rate_and_epochs(constants)[1], str(constants["shift"]), str(len(runs))]
        shares = [share_spread([run[str(pixels)] for run in runs], words) for pixels in MOVED]
        moved.append([*first, *shares])
    rows = {"study": study, "long": long, "moved": moved}
    return {table: markdown(words[table], rows[table]) for table in rows}


def precision_table(entries):
    """Return the table of tests/README.md that compares both precisions, as Markdown."""
    head = (
        "| `LEARNING_RATE` | `EPOCHS` | seeds | learned in float32 | learned in bfloat16 | "
        "accuracy of these in float32 | in bfloat16 | mean difference |"
    )
    rows = []
    for constants, seeds in ROWS[:IN_BOTH]:
        learned = {
            precision: {
                entry["seed"]: entry["tests"][str(constants["epochs"])]
                for entry in entries
                if (entry["constants"], entry["precision"]) == (constants, precision)
                and not is_dead(entry)
            }
            for precision in ("float32", "bfloat16")
        }
        before, after = learned.values()
        accuracies = [
            spreads(list(group.values()), WORDS["docs/results.md"])[0] for group in learned.values()
        ]
        difference = ""
        if len(before) == len(after) == seeds:
            points = [100 * (after[seed]["accuracy"] - before[seed]["accuracy"]) for seed in after]
            low, high = min(points), max(points)
            difference = f"{statistics.fmean(points):+.2f} points ({low:+.2f} to {high:+.2f})"
        counts = [str(seeds), *[str(len(group)) for group in learned.values()]]
        rows.append([*rate_and_epochs(constants), *counts, *accuracies, difference])
    return markdown(head, rows)


def rate_and_epochs(constants):
    """Write both as in a table's first two cells."""
    return [f"{constants['learning_rate']:f}".rstrip("0"), f"{constants['epochs']:,}"]


def is_dead(entry):
    """Return whether a network ended with the same answer for nearly every test digit."""
    return max(entry["answers"]) > 9900


def tests(group, step):
    return [entry["tests"][str(step)] for entry in group if str(step) in entry["tests"]]


def spreads(results, words):
    """Write the lowest and the highest accuracy of results, and of their losses."""
    losses = [f"{loss:.3f}" for loss in sorted(result["loss"] for result in results)]
    accuracies = share_spread([result["accuracy"] for result in results], words)
    return accuracies, spread(losses, words["to"])


def share_spread(shares, words):
    """Write the lowest and the highest of shares, from 0 to 1, in per cent."""
    # Only exactly 100% is written as 100.0%; 1e-9 corrects the rounding of floats.
    percent = [100 if share == 1 else min(100 * share + 1e-9, 99.9) for share in sorted(shares)]
    written = spread([f"{share:.1f}" for share in percent], words["% to"])
    return f"{written}%" if written else ""


def spread(texts, between):
    """Write the first and the last of sorted texts, or one of them if they are the same."""
    return between.join(dict.fromkeys([*texts[:1], *texts[-1:]]))


def markdown(head, rows):
    line = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([head, line, *[f"| {' | '.join(row)} |" for row in rows]])


def pages(entries):
    """Return the tables of each page, {file: {name of the table: text}}."""
    results = {name: tables(entries, words) for name, words in WORDS.items()}
    return results | {"tests/README.md": {"precision": precision_table(entries)}}


def quote(entries):
    """Replace the tables in each page."""
    for name, written in pages(entries).items():
        text = (PROJECT / name).read_text(encoding="utf-8")
        for place, table in written.items():
            before, _, rest = text.partition(f"<!-- {place} -->\n")
            _, _, after = rest.partition(f"<!-- /{place} -->")
            text = f"{before}<!-- {place} -->\n{table}\n<!-- /{place} -->{after}"
        (PROJECT / name).write_text(text, encoding="utf-8")


def main(flags):
    """Complete the study, and write its tables into the pages."""
    parser = settings.Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quote", action="store_true", help="only put what is kept into the pages")
    if not parser.parse_args(flags).quote:
        complete()
    quote(read())


if __name__ == "__main__":
    terminal.program(main)
