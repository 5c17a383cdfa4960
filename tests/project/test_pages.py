"""Pages name what is there: links, files, functions and tests; and the order of imports is the one written down."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.helpers.checkout import ROOT

GUIDE = ROOT / "CONTRIBUTING.md"
ALGEBRA = ROOT / "bmtme" / "engines" / "rotated" / "README.md"
PAGES = [
    *ROOT.glob("*.md"), *(ROOT / "examples").glob("*.md"), *(ROOT / "bmtme").rglob("*.md"),
    *(ROOT / "validation").rglob("*.md"), *(ROOT / "examples").glob("*.py"),
]  # fmt: skip
#: Names of files and folders in the text, as against file endings and patterns.
FILE = re.compile(r"(?:[\w.-]+/)*[\w.-]+(?:/|\.(?:py|toml|md|json))")
#: The paper's steps, each of which stands in the table of the algebra.
STEPS = {f"A.{k}" for k in range(1, 12)} | {"B", "C"}


def read(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))


def list_anchors(page: Path) -> set[str]:
    """Names of a page's headings, as forges make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", read(page))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def find_file(name: str, page: Path) -> Path | None:
    """The file or folder that a page means: beside it, of the checkout, of the package, or the one test of its name."""
    for folder in (page.parent, ROOT, ROOT / "bmtme"):
        if (folder / name).exists():
            return folder / name
    tests = list((ROOT / "tests").rglob(name))
    assert len(tests) < 2, f"{name} may be any of {[str(test.relative_to(ROOT)) for test in tests]}"
    return tests[0] if tests else None


def list_definitions(file: Path) -> set[str]:
    """Functions, methods and classes of a module."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, kinds)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^()\s]+)\)", read(page)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), target
        if anchor:
            assert anchor in list_anchors(there), target


def test_index_has_every_example() -> None:
    """Once each, and the README leads to the index."""
    index = ROOT / "examples" / "README.md"
    links = re.findall(r"\]\(([\w.]+)\)", read(index))
    files = [path.name for path in index.parent.iterdir() if path.is_file() and path != index]
    assert sorted(links) == sorted(files)
    assert "](examples/README.md)" in read(ROOT / "README.md")


@pytest.mark.parametrize("page", [GUIDE, ALGEBRA], ids=lambda page: page.name)
def test_files_and_functions_are_there(page: Path) -> None:
    words = re.findall(r"`([^`\n]+)`", read(page))
    for word in words:
        name, _, function = word.partition("::")
        if not FILE.fullmatch(name):
            continue
        file = find_file(name, page)
        assert file is not None, word
        if function:
            assert function in list_definitions(file), word
    assert sum("::" in word for word in words) > 50 or page == GUIDE


def test_every_step_of_the_paper_is_in_the_table() -> None:
    rows = [row.split("|")[1:4] for row in read(ALGEBRA).splitlines() if re.match(r"\| (A\.\d|B:|C:)", row)]
    found: set[str] = set()
    for what, where, test in rows:
        found |= set(re.findall(r"\bA\.\d+\b", what)) if what.strip().startswith("A") else {what.strip()[0]}
        assert "::" in where, what
        assert "test_" in test or "the same" in test, what
    assert found == STEPS


def test_imports_are_from_rows_above() -> None:
    """The table of CONTRIBUTING.md is the order of the imports at the head of modules."""
    rank: dict[str, int] = {}
    for k, row in enumerate(read(GUIDE).splitlines()):
        if row.startswith("| `bmtme/"):
            rank |= {name: k for name in re.findall(r"`bmtme/(\w+)(?:/|\.py)`", row)}
    inside = list((ROOT / "bmtme").iterdir())
    modules = {path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert set(rank) == modules - {"__init__", "__main__"}
    for file in (ROOT / "bmtme").rglob("*.py"):
        mine = file.relative_to(ROOT / "bmtme").parts[0].removesuffix(".py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if mine in rank and isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bmtme."):
                other = str(node.module).split(".")[1]
                assert rank[other] <= rank[mine], f"{file.relative_to(ROOT)} imports bmtme.{other}"
