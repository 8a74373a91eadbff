"""Show the program's English sentences in the reader's language, if that is Chinese.

The sentences stand in the code in English. zh_CN.json has the Chinese one for each: {names} stand
for the parts that change, and these are looked up in turn. What is not there stays as it is, such
as paths, and errors of Python and TensorFlow.
"""

import functools
import json
import locale
import os
import re
import sys
from pathlib import Path
from typing import Any


def is_chinese(stream: Any) -> bool:
    """Return whether the reader's language is Chinese, and a stream can show it.

    The environment says which language it is, as it does to gettext's programs: whether or not the
    locale is installed. A reader of traditional Chinese gets the simplified, as on the page.
    """
    name = ""
    for variable in ["LANG", "LC_MESSAGES", "LC_ALL"]:  # the last one that is set decides
        name = os.environ.get(variable) or name
    if os.name == "nt" and not name:
        import ctypes  # here, because its `windll` exists only on Windows

        number = ctypes.windll.kernel32.GetUserDefaultUILanguage()  # type: ignore[attr-defined]
        name = locale.windows_locale.get(number, "")
    if name.partition(".")[0] in ("", "C", "POSIX"):  # then LANGUAGE is ignored
        return False
    wanted = [each[:2] for each in (os.environ.get("LANGUAGE") or name).split(":")]
    if [each for each in wanted if each in ("zh", "en")][:1] != ["zh"]:
        return False
    try:
        "训练".encode(getattr(stream, "encoding", None) or "utf-8")
        return True
    except (UnicodeEncodeError, LookupError):
        return False


def translate(text: str, stream: Any = None) -> str:
    """Return a text in the reader's language; stream: where it is shown, or None for stdout."""
    return _in_chinese(text) if is_chinese(stream or sys.stdout) else text


def _in_chinese(text):
    if "\n" in text:
        return "\n".join(_in_chinese(line) for line in text.split("\n"))
    for pattern, chinese in _sentences():
        if match := pattern.fullmatch(text):
            parts = match.groupdict().items()
            return chinese.format(**{name: _in_chinese(part) for name, part in parts})
    return text


@functools.cache
def _sentences():
    """Return pairs of a pattern for English sentences and the Chinese one.

    Those that end with words come before those that end with a part, and the longest come first.
    """
    file = Path(__file__).with_name("zh_CN.json")
    sentences = json.loads(file.read_text(encoding="utf-8"))
    found = []
    order = {each: (each.endswith("}"), -len(re.sub(r"{\w+}", "", each))) for each in sentences}
    for english in sorted(sentences, key=lambda each: order[each]):
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.*?)", re.escape(english))
        found.append((re.compile(pattern), sentences[english]))
    return found
