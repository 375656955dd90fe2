"""Rules about the text of the source files."""

import ast
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

from tests.repository.sources import ROOT, SHIPPED, name_of, python_files, syntax_tree

MAX_LINES = 400
MAX_CODE_LINES = 60
MAX_BYTES = 250_000
FORBIDDEN = {
    "a leftover": r"\b(TODO|FIXME|XXX)\b",
    "a catch-all": r"except\s*:|except\s+\(?\s*(Base)?Exception\b",
    "a path of one machine": r"(?<![\w.])/(work|tmp|root|home/\w+)/",
    "unpickling of a foreign file": r"weights_only\s*=\s*False|\bpickle\.loads?\b",
    "code from a model hub": r"trust_remote_code\s*=\s*True",
    "evaluation of text": r"(?<![\w.])eval\(",
}

NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def is_public(name: str) -> bool:
    return not name.startswith("_")


def is_variant(node: Definition) -> bool:
    """An overload or the setter of a property: documented where its first form is."""
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(names & {"overload", "setter", "deleter", "override"})


def definitions(body: list[ast.stmt]) -> list[Definition]:
    return [node for node in body if isinstance(node, Definition) and is_public(node.name)]


def documented_methods() -> set[str]:
    """Names of methods that some class of the package documents, protocols among them."""
    return {
        method.name
        for path in python_files(*SHIPPED)
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)
    }


def undocumented(path: Path, documented_elsewhere: set[str]) -> list[str]:
    """Public names of a file that nothing explains; a method may be explained by its protocol."""
    tree = syntax_tree(path)
    missing = [] if ast.get_docstring(tree) else ["the module"]
    for node in definitions(tree.body):
        if not ast.get_docstring(node):
            missing.append(node.name)
        if not isinstance(node, ast.ClassDef):
            continue
        inherited = documented_elsewhere if node.bases else set()
        missing += [
            f"{node.name}.{method.name}"
            for method in definitions(node.body)
            if not ast.get_docstring(method)
            and not is_variant(method)
            and method.name not in inherited
        ]
    return missing


def test_no_source_file_is_longer_than_the_limit():
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files(*SHIPPED, "tests")
    }
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def code_lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef, code: set[int]) -> int:
    """Lines of a function with code: without its signature, docstring, comments, blank lines."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return len(code.intersection(range(body[0].lineno, node.end_lineno + 1))) if body else 0


def test_no_function_is_longer_than_the_limit():
    long = {}
    for path in python_files(*SHIPPED, "tests"):
        functions = [
            node for node in ast.walk(syntax_tree(path))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno - node.lineno >= MAX_CODE_LINES
        ]  # fmt: skip
        if not functions:
            continue
        with path.open("rb") as stream:
            tokens = [t for t in tokenize.tokenize(stream.readline) if t.type not in NO_CODE]
        code = {line for t in tokens for line in range(t.start[0], t.end[0] + 1)}
        for node in functions:
            length = code_lines_of(node, code)
            if length > MAX_CODE_LINES:
                long[f"{name_of(path)}:{node.name}"] = length
    assert long == {}


def test_every_public_name_has_a_docstring():
    elsewhere = documented_methods()
    missing = {name_of(path): undocumented(path, elsewhere) for path in python_files(*SHIPPED)}
    assert {name: names for name, names in missing.items() if names} == {}


def test_every_test_file_begins_with_a_docstring():
    files = python_files("tests")
    assert [name_of(path) for path in files if not ast.get_docstring(syntax_tree(path))] == []


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_no_source_file_contains(kind):
    pattern = re.compile(FORBIDDEN[kind])
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in python_files(*SHIPPED)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_source_files_are_ascii():
    files = [*python_files(*SHIPPED, "tests"), *sorted((ROOT / "configs").rglob("*.yaml"))]
    assert [name_of(path) for path in files if not path.read_bytes().isascii()] == []


def test_no_large_file_is_committed_but_the_embedded_genome_and_model_and_igv():
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("this is not a git checkout")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    large = [name_of(path) for path in files if path.is_file() and path.stat().st_size > MAX_BYTES]
    embedded = ("dnamdlm/data/genome/embedded/", "dnamdlm/pretrained/", "dnamdlm/reporting/igv/")
    assert [name for name in large if not name.startswith(embedded)] == []
