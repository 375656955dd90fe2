"""The table of genomes takes each figure from its row, and the best Markov model of each column."""

import pytest

from benchmarks.quality.genomes import rows_of


def row(name, family, values, **details):
    classes = {
        part: {"bits_per_base": value, "standard_error": 0.01, "bases": bases}
        for (part, bases), value in zip(
            {"unique windows": 75, "repeats": 25, "all": 100}.items(), values, strict=True
        )
    }
    return {"name": name, "family": family, "label": name, "classes": classes, **details}


def test_each_model_has_its_figures_and_each_column_its_best_markov_model():
    likelihood = {
        "rows": [
            row("markov_8", "markov", (1.94, 1.9, 1.93), order=8),
            row("markov_20", "markov", (1.96, 1.2, 1.77), order=20),
            row("chain_copies", "copies", (1.95, 1.1, 1.74), order=20),
            row("mixture_markov", "mixture", (1.92, 1.09, 1.71), pi=0.1),
            row("model", "model", (1.93, 1.8, 1.9)),
        ]
    }
    network, markov, copies, mixture = rows_of("fly", likelihood)
    assert network == ("fly", "network (100 bases, 25.0% in repeats)", 1.93, 0.01, 1.8, 0.01, 1.9,
                       0.01)  # fmt: skip
    assert markov[1:] == ("best Markov model of each column, of order 8, 20, 20", 1.94, 0.01, 1.2,
                          0.01, 1.77, 0.01)  # fmt: skip
    assert (copies[1], copies[4]) == ("chain_copies", 1.1)
    assert mixture[1:3] == ("network mixed with both, pi = 0.100", 1.92)


@pytest.mark.parametrize("missing", ["unique windows", "repeats"])
def test_a_genome_of_one_kind_of_windows_has_a_gap(missing):
    rows = [
        row("markov_8", "markov", (1.94, 1.9, 1.93), order=8),
        row("chain_copies", "copies", (1.95, 1.1, 1.74), order=20),
        row("mixture_markov", "mixture", (1.92, 1.09, 1.71), pi=0.1),
        row("model", "model", (1.93, 1.8, 1.9)),
    ]
    for each in rows:
        del each["classes"][missing]
    figures = rows_of("phage", {"rows": rows})[0][2:]
    assert figures.count(None) == 2
