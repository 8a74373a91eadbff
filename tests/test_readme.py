"""README, docs/ and tests/README.md: alive, true to what they describe, and in step in Chinese."""

import ast
import re

import pytest

import mnist
from helpers import PROJECT
from tools import study

README, CHINESE = PROJECT / "README.md", PROJECT / "README.zh-CN.md"
DOCS = PROJECT / "docs"
PAIRS = [(README, CHINESE), (DOCS / "page.md", DOCS / "zh-CN" / "page.md")]  # in both languages
PAGES = [*(page for pair in PAIRS for page in pair), PROJECT / "tests" / "README.md"]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:  # as GitHub makes them of headings
            names = [title.lower().replace(" ", "-") for _, title in headings(target)]
            assert anchor in [re.sub(r"[^\w-]", "", name) for name in names], link


# ---------------------------------------------------------------------------- what README describes


def test_tables_of_the_study_are_what_was_measured():
    for page, written in study.pages(study.read()).items():
        text = (PROJECT / page).read_text(encoding="utf-8")
        assert all(f"\n{table}\n" in text for table in written.values()), page


def test_files_are_named():
    names = {name for row in table_with(README, "file") for name in re.findall(r"`(.+?)`", row[0])}
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
    program = next(block for block in code(README) if "import_meta_graph" in block)
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
    """Return the numbers of a table, cell by cell, in whatever order a language has them."""
    return [[sorted(re.findall(NUMBER, cell)) for cell in row] for row in table]


def sections(page):
    """Return the prose of a page, split at its headings."""
    return re.split(r"^#+ .+$", prose(page), flags=re.M)


def sentences():
    """Return what the terminal says and what it means: a table that only the Chinese page has."""
    return table_with(CHINESE, "终端里的句子")


@pytest.mark.parametrize("english, chinese", PAIRS)
def test_both_languages_have_the_same_parts(english, chinese):
    assert [level for level, _ in headings(english)] == [level for level, _ in headings(chinese)]
    assert code(english) == code(chinese)


def test_both_languages_have_the_same_numbers():
    chinese = [table for table in tables(CHINESE) if table[2:] != sentences()]
    assert list(map(numbers, tables(README))) == list(map(numbers, chinese))


@pytest.mark.parametrize("pattern", [NUMBER, CODE_SPAN], ids=["numbers", "code"])
@pytest.mark.parametrize("pages", PAIRS)
def test_chinese_section_has_what_the_english_one_has(pattern, pages):
    for english, chinese in zip(*map(sections, pages), strict=True):
        missing = set(re.findall(pattern, english)) - set(re.findall(pattern, chinese))
        assert not [found for found in missing if not any(word in found for word in TRANSLATED)]


def test_sentences_that_are_explained_are_the_programs():
    files = [*PROJECT.glob("*.py"), *PROJECT.glob("support/*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    texts = [str(node.value) for node in nodes if isinstance(node, ast.Constant)]
    for sentence in re.findall(CODE_SPAN, "\n".join(row[0] for row in sentences())):
        for part in sentence.split("…"):
            assert any(part.strip() in text for text in texts), sentence


def test_every_picture_is_shown():
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    assert {path.resolve() for path in [*DOCS.glob("*.png"), *DOCS.glob("*.svg")]} <= shown
