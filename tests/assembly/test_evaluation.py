"""The headline of an evaluation: repeats and unique sequence are printed apart."""

from dnamdlm.assembly.evaluate.genome_evaluation import sentence
from dnamdlm.evaluation.likelihood.likelihood_report import LikelihoodReport, LikelihoodRow
from dnamdlm.evaluation.rates import Rate


def report(**bits):
    row = LikelihoodRow("model", "This model", "model", "upper bound", bits, {})
    return LikelihoodReport(
        rows=(row,),
        differences={},
        best_markov=None,
        best_additive_markov=None,
        num_windows=3,
        length=10,
        draws=1,
        seconds=0.1,
    )


def test_repeats_and_unique_sequence_are_printed_apart():
    bits = {"all": Rate(1.9, 0.01, 30), "soft-masked": Rate(1.7, 0.02, 10)}
    text = sentence(report(**bits, unique=Rate(2.0, 0.03, 20)), "test")
    assert text.splitlines() == [
        "test: 1.9000 +- 0.0100 bits per base (upper bound, 30 bases)",
        "  soft-masked bases: 1.7000 +- 0.0200 (10 bases)",
        "  unique bases: 2.0000 +- 0.0300 (20 bases)",
    ]


def test_a_genome_without_soft_mask_has_one_line():
    bits = {"all": Rate(1.9, 0.01, 30), "unique": Rate(1.9, 0.01, 30)}
    assert len(sentence(report(**bits), "test").splitlines()) == 1
