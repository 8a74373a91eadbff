"""README, docs/ and tests/README.md: alive, true to what they describe, and in step."""

import ast
import re
from pathlib import Path

import pytest

import mnist
from helpers import PROJECT
from tools import study

README, CHINESE = PROJECT / "README.md", PROJECT / "README.zh-CN.md"
DOCS = ["lesson.md", "results.md", "page.md", "trouble.md"]
PAIRS = [(README, CHINESE)]  # the same page in English and in Chinese
PAIRS += [(PROJECT / "docs" / name, PROJECT / "docs" / "zh-CN" / name) for name in DOCS]
LESSON = PROJECT / "docs" / "zh-CN" / "mnist.md"
PAGES = [PROJECT / "tests" / "README.md", README, CHINESE, *PROJECT.glob("docs/**/*.md")]


def name_of(page):
    return str(page.relative_to(PROJECT)) if isinstance(page, Path) else ""


in_both = pytest.mark.parametrize("english, chinese", PAIRS, ids=name_of)


def prose(page):
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def headings(page):
    return re.findall(r"^(#+) (.+)$", prose(page), re.M)


def code(page):
    return re.findall(r"^```.*?^```", page.read_text(encoding="utf-8"), re.S | re.M)


def tables(page):
    """Return the tables of a page, each a list of rows, each a list of cells."""
    found = re.findall(r"(?:^\|.*\|\n)+", prose(page), re.M)
    return [
        [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()]
        for table in found
    ]


def table_with(page, word):
    """Return the rows below the head of the first table that has a word in its head."""
    return next(table[2:] for table in tables(page) if word in table[0])


def links(page):
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


# ------------------------------------------------------------------------------------------ links


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.resolve().is_relative_to(PROJECT) and target.exists(), link
        if anchor:  # as code hosts make them of headings
            names = [title.lower().replace(" ", "-") for _, title in headings(target)]
            assert anchor in [re.sub(r"[^\w-]", "", name) for name in names], link


def test_every_picture_and_every_page_can_be_reached():
    linked = {
        (page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)
    }
    there = {path.resolve() for path in PROJECT.glob("docs/**/*.*")}
    assert there and there <= linked


# ------------------------------------------------------------------------- what the pages describe


def test_readme_is_short():
    assert len(README.read_bytes()) <= 9000 and len(CHINESE.read_text(encoding="utf-8")) <= 9000


def test_tables_of_the_study_are_what_was_measured():
    for page, written in study.pages(study.read()).items():
        text = (PROJECT / page).read_text(encoding="utf-8")
        assert all(f"\n{table}\n" in text for table in written.values()), page


def test_files_are_named():
    rows = table_with(README, "file") + table_with(PROJECT / "tests" / "README.md", "file")
    names = {name for row in rows for name in re.findall(r"`(.+?)`", row[0])}
    assert all((PROJECT / name).exists() for name in names), names
    modules = [*PROJECT.glob("*.py"), *PROJECT.glob("support/[!_]*.py")]
    assert {path.relative_to(PROJECT).as_posix() for path in modules} <= names


def test_constants_are_those_of_the_program():
    described = {}
    for names, value, _ in table_with(README, "constant"):
        for name in re.findall(r"`(\w+)`", names):
            described[name] = value.strip("`")
    assert list(described) == [name for name in vars(mnist) if name.isupper()]
    for name, value in described.items():
        if value:
            assert ast.literal_eval(value) == getattr(mnist, name), name


def test_program_that_loads_a_network_runs(run_here, tmp_path):
    """After the folder of the run was moved."""
    run_here("--epochs", "10", "--kernels", "3", "--neurons", "5")
    [folder] = (tmp_path / "runs").iterdir()
    (tmp_path / "mnist_example").mkdir()
    folder.rename(tmp_path / "mnist_example" / "lr=0.0001,2000")
    blocks = code(PROJECT / "docs" / "page.md")
    program = next(block for block in blocks if "import_meta_graph" in block)
    names = {}
    exec(program.removeprefix("```python\n").removesuffix("```"), names)
    assert names["blank"].shape == (1, 10)


def test_tests_that_are_named_exist():
    there = "".join(path.read_text(encoding="utf-8") for path in PROJECT.glob("tests/test_*.py"))
    for name in re.findall(r"`(test_\w+)`", prose(PROJECT / "tests" / "README.md")):
        assert f"def {name}(" in there, name


# --------------------------------------------------------------------------------- two languages

NUMBER = r"\d+(?:[.,]\d+)*"
CODE_SPAN = r"`([^`]+)`"
TRANSLATED = {"a sentence", "cosine", "ten numbers", "refusals.json"}  # in code, of the routes


def numbers(table):
    """Return the numbers of a table, cell by cell: some Chinese cells also quote the English."""
    return [[set(re.findall(NUMBER, cell)) for cell in row] for row in table]


def sections(page):
    """Return the prose of a page, split at its headings."""
    return re.split(r"^#+ .+$", prose(page), flags=re.M)


@in_both
def test_both_languages_have_the_same_parts(english, chinese):
    assert [level for level, _ in headings(english)] == [level for level, _ in headings(chinese)]
    # What a terminal prints differs: see test_pages_list_each_sentence.
    blocks = [[each for each in code(page) if "```text" not in each] for page in (english, chinese)]
    assert blocks[0] == blocks[1]


@in_both
def test_both_languages_have_the_same_numbers(english, chinese):
    assert list(map(numbers, tables(english))) == list(map(numbers, tables(chinese)))


@pytest.mark.parametrize("pattern", [NUMBER, CODE_SPAN], ids=["numbers", "code"])
@in_both
def test_chinese_section_has_what_the_english_one_has(english, chinese, pattern):
    for words, han in zip(sections(english), sections(chinese), strict=True):
        words = " ".join(words.split())  # a line may end within a code span
        missing = set(re.findall(pattern, words)) - set(re.findall(pattern, han))
        assert not [found for found in missing if not any(word in found for word in TRANSLATED)]


def test_chinese_lesson_quotes_each_line_of_the_program():
    """In order, and nothing else, except for empty lines."""
    quoted = "".join(
        block.removeprefix("```python\n").removesuffix("```") for block in code(LESSON)
    )
    program = (PROJECT / "mnist.py").read_text(encoding="utf-8")
    lines, expected = ([line for line in text.splitlines() if line] for text in [quoted, program])
    assert lines == expected
