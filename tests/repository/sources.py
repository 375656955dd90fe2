"""The files of the checkout, as the rules of this folder look at them."""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# what is installed or run by a user; the tests have looser rules
SHIPPED = ("dnamdlm", "data_prep", "benchmarks")


def python_files(*folders: str) -> list[Path]:
    """Python files below the named folders of the checkout, in a fixed order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """The path as a person would type it from the top of the checkout."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def syntax_tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_packages(path: Path) -> set[str]:
    """Top-level names that the file imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names
