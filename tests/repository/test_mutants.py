"""The list of `make mutants` fits the sources; running it takes minutes and is not done here."""

import pytest

from tests.mutants.run_mutants import LIST, Mutant, misfits, read_list

MUTANT = Mutant("a fault", "module.py", "a < b", "a <= b", ("test_module.py",))


def test_every_mutant_fits_the_sources():
    # move a row to the new place of its line, or drop it with the line.
    assert misfits(read_list()) == []


def test_the_list_covers_the_mathematics_and_the_data_path():
    files = {mutant.file for mutant in read_list()}
    for folder in ("diffusion", "ops", "lm", "data", "evaluation"):
        assert any(file.startswith(f"dnamdlm/{folder}/") for file in files), folder


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        ("x = a < b\n", {}, None),
        ("x = a > b\n", {}, "occurs 0 times"),
        ("x = a < b\ny = a < b\n", {}, "occurs 2 times"),
        ("x = a < b\n", {"new": "a <"}, "does not compile"),
        ("x = a < b\n", {"new": "a < b"}, "must be different"),
        ("x = a < b\n", {"tests": ()}, "no tests are named"),
        ("x = a < b\n", {"tests": (), "equivalent": "for a reason"}, None),
        ("x = a < b\n", {"tests": ("test_other.py::test_x",)}, "there is no test_other.py"),
        ("x = a < b\n", {"file": "other.py"}, "there is no such file"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, source, changes, message):
    (tmp_path / "module.py").write_text(source)
    (tmp_path / "test_module.py").touch()
    mutant = Mutant(**MUTANT.__dict__ | changes)
    reasons = misfits([mutant], tmp_path)
    assert bool(reasons) == (message is not None)
    assert message is None or message in reasons[0]


def test_a_row_that_stands_twice_is_named(tmp_path):
    (tmp_path / "module.py").write_text("x = a < b\n")
    (tmp_path / "test_module.py").touch()
    assert misfits([MUTANT, MUTANT], tmp_path) == ["module.py: 'a < b' -> 'a <= b' is listed twice"]


def test_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / LIST.name
    path.write_text('[[mutant]]\nfault = "x"\nreplacement = "y"\n')
    with pytest.raises(ValueError, match="a row has the keys"):
        read_list(path)
