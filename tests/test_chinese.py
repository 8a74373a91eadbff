"""The terminal in Chinese: whose it is, that each sentence has it, and a whole run in it."""

import ast
import ctypes
import errno
import gettext
import io
import json
import os
import re
import sys
import types

import pytest
from tqdm.utils import disp_len

import draw
import mnist
from helpers import PROJECT
from support import language, terminal
from support.settings import read_settings

SENTENCES = json.loads((PROJECT / "support" / "zh_CN.json").read_text(encoding="utf-8"))
ENGLISH = r"\b[a-z]{2,} [a-z]{2,}\b"  # no path, name or number of these tests has two such words
ZH, EN = "zh_CN.UTF-8", "en_GB.UTF-8"


@pytest.fixture
def speak(monkeypatch):
    """Set the variables that choose the language, and no others: `speak(LANG="zh_CN.UTF-8")`."""

    def speak(**variables):
        for name in ["LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"]:
            monkeypatch.setenv(name, variables.get(name, ""))

    return speak


CHOICES = [{"LANG": ZH}, {"LANG": "zh_TW"}, {"LANG": EN}, {"LC_ALL": EN, "LANG": ZH}, {}]
CHOICES += [{"LC_ALL": ZH, "LC_MESSAGES": EN}, {"LC_MESSAGES": ZH, "LANG": EN}, {"LANG": "de_DE"}]
CHOICES += [{"LANG": ZH, "LANGUAGE": "en"}, {"LANG": EN, "LANGUAGE": "de:zh_CN:en"}]


@pytest.mark.parametrize("variables", [*CHOICES, {"LC_ALL": "C", "LANG": ZH}], ids=str)
def test_variables_choose_as_for_gettext(speak, tmp_path, variables):
    for each in ["zh", "en"]:
        (tmp_path / each / "LC_MESSAGES").mkdir(parents=True)
        (tmp_path / each / "LC_MESSAGES" / "test.mo").touch()
    speak(**variables)
    assert language.is_chinese(None) == ("/zh/" in (gettext.find("test", tmp_path) or ""))


def test_what_pythons_gettext_does_not_know(speak, monkeypatch):
    """GNU's ignores LANGUAGE in the locale C. On Windows, the variables are seldom set."""
    for name in ["C", "C.UTF-8", "POSIX"]:
        speak(LC_ALL=name, LANGUAGE="zh_CN")
        assert not language.is_chinese(None)
    speak()
    monkeypatch.setattr(language.os, "name", "nt")
    for number, expected in [(0x0804, True), (0x0404, True), (0x0409, False)]:
        kernel = types.SimpleNamespace(GetUserDefaultUILanguage=lambda number=number: number)
        windll = types.SimpleNamespace(kernel32=kernel)
        monkeypatch.setattr(ctypes, "windll", windll, raising=False)
        assert language.is_chinese(None) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "gb18030", "ascii", "cp1252", "big5"])
def test_console_that_cannot_show_it_gets_english(speak, monkeypatch, encoding):
    speak(LANG=ZH)
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding))
    terminal.say("Writing to runs/1")
    words = "写入文件夹" if encoding.startswith(("utf", "gb")) else "Writing to"
    assert screen.getvalue().decode(encoding) == f"{words} runs/1\n"


# What no terminal shows: TensorBoard's words, errors about a script's own calls, and inner names.
ELSEWHERE = r"images labels logits|train test histograms|embeddings {|read as$|answer of the netw|"
ELSEWHERE += r"true digit|MemAvailable|OOM when|^not MNIST's$|multiple of ten|^validation_size|"
ELSEWHERE += r"number of training images|^images cannot|taken from a set|^there are .*labels for|"
ELSEWHERE += r"^shift must|own digits|share of dead|moved since|^mistakes/|^conv |, shift|{n}/"
# What Python says, most of it argparse: test_errors_and_help has these words.
OTHERS = ["usage", "options", "show this help message and exit", "Unrecognized arguments"]
OTHERS += ["Argument", "expected one argument", "invalid int value", "ignored explicit argument"]
OTHERS += [os.strerror(code) for code in [errno.EACCES, errno.EROFS, errno.ENOSPC]]


def test_sentences_are_those_of_the_source():
    """Each text of the source, and nothing else, stands in a sentence that has its Chinese."""
    found = {*OTHERS, str(draw.__doc__).partition("\n")[0]}
    for file in [*PROJECT.glob("*.py"), *PROJECT.glob("support/*.py")]:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        texts = [node for node in nodes if isinstance(node, ast.JoinedStr)]
        inner = [part for text in texts for part in text.values]
        inner += [node.value for node in nodes if isinstance(node, ast.Expr)]  # docstrings
        texts += [each for each in nodes if isinstance(each, ast.Constant) and each not in inner]
        for text in texts:
            values = [getattr(part, "value", None) for part in getattr(text, "values", [text])]
            parts = [part.strip("\n") if isinstance(part, str) else "" for part in values]
            found.update(part.strip(" .,:;") for part in parts if re.search("[A-Za-z]", part))
            if re.search("[A-Za-z]{2}.* | .*[A-Za-z]{2}", text := "".join(parts)):
                pattern = re.compile(".*".join(map(re.escape, parts)))
                assert re.search(ELSEWHERE, text) or any(map(pattern.search, SENTENCES)), text
    for english in SENTENCES:
        rest = re.sub(r"{\w+}", "", english)
        for part in sorted(found, key=len, reverse=True):
            rest = rest.replace(part, "")
        assert not re.search("[A-Za-z]", rest), english


@pytest.mark.parametrize("english, chinese", SENTENCES.items())
def test_chinese_of_a_sentence(speak, english, chinese):
    """It has the same parts, is printed whatever they are, and a console with GBK can show it."""
    speak(LANG=ZH)
    names = re.findall(r"{(\w+)}", english)
    assert len(names) == len(set(names)) and set(names) == set(re.findall(r"{(\w+)}", chinese))
    parts = {name: f"C:\\my runs\\数字.{name},2" for name in names}
    assert language.translate(english.format(**parts)) == chinese.format(**parts)
    assert chinese.encode("gbk")


# What stands only within a sentence or in --help: the pages need not list it.
PART = r"[a-z']|None|{(setting|most|value|meaning|low)}"


def on_page(sentence):
    return " ".join(re.sub(r"{\w+}", "…", sentence).split())


def test_pages_list_each_sentence(speak):
    """With … for what varies, once, and in the Chinese page each with its Chinese; no other."""
    speak(LANG=ZH)
    refusals = json.loads((PROJECT / "page" / "refusals.json").read_text(encoding="utf-8"))
    known = SENTENCES | {each["en"]: each["zh-CN"] for each in refusals.values()}
    known = {on_page(key): on_page(known[key]) for key in known}
    needed = {on_page(key) for key in SENTENCES if not re.match(PART, key)}
    spans, transcripts = [], []
    for name in ["docs/trouble.md", "docs/zh-CN/trouble.md"]:
        text = (PROJECT / name).read_text(encoding="utf-8").rpartition("\n## ")[2]
        cells = re.findall(r"^\| (`.+?) \| ", text, re.M)
        spans.append(re.findall("`(.+?)`", " ".join(cells)))
        transcripts += re.findall("```text\n.*?```", text, re.S)
    english, both = spans
    assert needed - set(english) == set(english) - known.keys() == set()
    assert len(english) == len(set(english)) and both[::2] == english
    assert both[1::2] == [known[each] for each in english]
    bar = re.sub("loss [^]]*", lambda found: language.translate(found[0]), transcripts[0])
    assert language.translate(bar) == transcripts[1]


def test_whole_runs(speak, run_here, monkeypatch, tmp_path):
    """The second of two compares itself; the bar keeps to its line; the records stay English."""
    speak(LANG=ZH)
    monkeypatch.setattr(terminal, "is_watched", lambda: True)
    shown = ""
    for columns, rate in [(80, 0.001), (40, 0.01)]:
        monkeypatch.setenv("COLUMNS", str(columns))
        _, out, err = run_here("--network", "softmax", "--epochs", 10, "--learning_rate", rate)
        assert max(map(disp_len, err.strip("\r\n").split("\r"))) == columns - 1
        shown += out + err
    assert not re.search(ENGLISH, shown), shown
    for words in [
        "开始训练 softmax 网络（程序自己",
        "损失 ",
        "，测试准确率 ",
        "2 次训练的测试准确率，",
    ]:
        assert words in shown
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/run.json")]
    assert [record["status"] for record in records] == ["finished", "finished"]
    assert {record["data"] for record in records} == {"generated digits, not MNIST"}


@pytest.mark.parametrize("read", [draw.read_flags, lambda flags: read_settings(vars(mnist), flags)])
def test_errors_and_help(speak, capsys, read):
    speak(LANG=ZH)
    with pytest.raises(SystemExit):
        read(["--help"])
    shown = capsys.readouterr().out
    for flag in ["--what", "--logdir", "--logdir=", "--port=x", "--allow_saving=1", "--epochs=0"]:
        with pytest.raises(terminal.Problem) as raised:
            read([flag])
        shown += language.translate(str(raised.value))
    assert not re.search(ENGLISH, shown) and "用法：" in shown, shown
