"""A sampler of few steps, distilled, compared with its teacher at the same number of steps.

    python -m benchmarks.quality.few_steps [--steps 600] [--distill 200] [--top 64] [--model RUN]
        [--windows 128] [--samples 128] [--smoke]

A teacher (64 channels, 2 blocks, on yeast) is distilled from T to T/2, T/4 and T/8 ancestral steps,
each student from the one before. Teacher and student are compared at equal network calls. A third
network is the teacher trained on data for as many updates as all students together, so that what
the distillation gives is not taken for what more training gives. `--model` names a run of a masked
diffusion model of a genome, without experts, as the teacher.

The bound of n steps bounds -log p of real windows under the very sampler of n steps. What there is
to gain are the divergences of 2n steps of the teacher from n, see `benchmarks.two_step_gaps`: of
whole paths, and the part of it that a student can learn.
"""

import argparse
import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.quality.objectives import (
    BATCH_SIZE,
    DRAWS,
    LEARNING_RATE,
    LENGTH,
    Row,
    build,
    mean_and_error,
    trained,
)
from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.trained import codes_of, genome_of
from benchmarks.two_step_gaps import gaps_of_model
from dnamdlm.assembly.models import load_model
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.samples.spectra import jensen_shannon
from dnamdlm.evaluation.window_scores import WindowScores, score_windows
from dnamdlm.lm.distilled import DistilledDiffusionLM
from dnamdlm.lm.markov_fit import fit_markov
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ContinuousTime, DiscreteTime, ExactCount
from dnamdlm.words.kmers import kmer_counts

SEEDS = (1, 2, 3)
WORD = 6
ORDER = 5
HALVINGS = 3
DISTILLING_RATE = LEARNING_RATE / 3
COLUMNS = (
    "network", "steps", "network calls per sequence", "bound of these steps, bits per base",
    "+- (windows)", "minus the teacher", "+- (paired)", f"{WORD}-mer divergence, bits",
    "+- (seeds)", f"Markov order {ORDER}, bits per base of samples", "+- (seeds)",
    "to gain, paths, bits per base", "+- (windows)", "to gain, student, bits per base",
    "+- (windows)",
)  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes:
        distilling: updates of each student.
        top: T, the steps of the teacher.
        windows: of the test split.
        samples: per seed.
    """

    distilling: int
    top: int
    windows: int
    samples: int


def student_of(
    teacher: MaskedDiffusionLM, genome: OpenGenome, num_steps: int, updates: int
) -> DistilledDiffusionLM:
    """A student of half the steps, begun from the weights of its teacher."""
    student = DistilledDiffusionLM(
        copy.deepcopy(teacher.backbone), teacher.vocabulary, teacher.schedule, num_steps=num_steps
    )
    student.learn_from(teacher)
    # another order of windows than that of the teacher and of other students.
    stream = genome.training_stream(100 + num_steps, BATCH_SIZE)
    return trained(student, stream, updates, DISTILLING_RATE)


def trained_longer(
    teacher: MaskedDiffusionLM, genome: OpenGenome, updates: int
) -> MaskedDiffusionLM:
    """The teacher after more updates on data, at the learning rate of the students."""
    objective = ContinuousTime() if teacher.sees_time else ExactCount()
    model = MaskedDiffusionLM(
        copy.deepcopy(teacher.backbone), teacher.vocabulary, teacher.schedule, objective=objective
    )
    return trained(model, genome.training_stream(100, BATCH_SIZE), updates, DISTILLING_RATE)


class Comparison:
    """What samples and windows are compared with.

    Attributes:
        genome: its test split has the real windows.
        sizes: how much is done.
        real: codes of those windows.
    """

    def __init__(self, genome: OpenGenome, sizes: Sizes) -> None:
        """Fit the Markov model to the training split, and read the real windows."""
        splits = genome.splits
        fits = fit_markov(
            genome.store, splits["train"], splits["valid"],
            max_order=ORDER, smoothings=("interpolated",),
        )  # fmt: skip
        self.genome, self.sizes = genome, sizes
        self._markov = fits["interpolated"].model
        sweep = genome.evaluation_windows("test", limit=4 * sizes.windows, seed=1)
        self.real = codes_of(torch.cat([batch.tokens for batch in sweep.batches(64)]))
        self._words = kmer_counts(self.real, WORD)[-1]

    def bound(self, model: MaskedDiffusionLM, num_steps: int) -> WindowScores:
        """The bound of n steps on test windows, with the same masks for every model."""
        trained_as = model.objective
        model.objective = DiscreteTime(num_steps)
        sweep = self.genome.evaluation_windows("test", limit=self.sizes.windows, seed=1)
        scores = score_windows(model, sweep, draws=DRAWS, estimator="objective")
        model.objective = trained_as
        return scores

    def of_samples(self, codes: Sequence[np.ndarray]) -> tuple[float, float]:
        """Divergence of words from those of real windows, and bits per base, both in bits."""
        divergence = float(jensen_shannon(kmer_counts(codes, WORD)[-1], self._words))
        nats = np.concatenate([self._markov.position_nats(row) for row in codes])
        return divergence, float(nats.mean()) / math.log(2.0)

    def sampled(self, model: MaskedDiffusionLM, num_steps: int) -> tuple[Cell, ...]:
        """Network calls, and both figures of samples with standard errors over seeds."""
        divergences, bits, calls = [], [], []
        for seed in SEEDS:
            keys = row_keys(seed, torch.arange(self.sizes.samples))
            made = model.generate(keys, self.genome.length, num_steps=num_steps)
            of_words, of_chain = self.of_samples(codes_of(made.tokens))
            divergences.append(of_words)
            bits.append(of_chain)
            calls.append(made.row_calls / self.sizes.samples)
        return mean_and_error(calls)[0], *mean_and_error(divergences), *mean_and_error(bits)

    def to_gain(self, model: MaskedDiffusionLM, num_steps: int) -> tuple[Cell, ...]:
        """Both divergences of 2n steps from n, in bits per base, with errors over windows."""
        sweep = self.genome.evaluation_windows("test", limit=self.sizes.windows // 4, seed=1)
        found = [
            gaps_of_model(model, batch.tokens, batch.key, 2 * num_steps)
            for batch in sweep.batches(32)
        ]
        cells: list[Cell] = []
        for part in zip(*found, strict=True):
            values = torch.cat(part) / self.genome.length / math.log(2.0)
            cells += [float(values.mean()), float(values.std()) / len(values) ** 0.5]
        return tuple(cells)


def measured(
    teacher: MaskedDiffusionLM, comparison: Comparison, report: Callable[[str], object] = print
) -> list[tuple[Cell, ...]]:
    """Distil step by step, and measure the networks at each number of steps."""
    sizes, genome = comparison.sizes, comparison.genome
    longer = trained_longer(teacher, genome, HALVINGS * sizes.distilling)
    models = {"teacher": teacher, "teacher, trained longer": longer}
    rows: list[tuple[Cell, ...]] = []
    for halving in range(HALVINGS + 1):
        num_steps = sizes.top >> halving
        if halving:
            before = models.get("student", teacher)
            models["student"] = student_of(before, genome, 2 * num_steps, sizes.distilling)
        first: WindowScores | None = None
        for name, model in models.items():
            scores = comparison.bound(model, num_steps)
            bits, apart = scores.bits(), None if first is None else scores.bits_above(first)
            paired = (None, None) if apart is None else (apart.value, apart.standard_error)
            first = first or scores
            calls, *of_samples = comparison.sampled(model, num_steps)
            shown = halving and model is teacher
            gaps = comparison.to_gain(model, num_steps) if shown else (None,) * 4
            own = (name, num_steps, calls, bits.value, bits.standard_error)
            rows.append((*own, *paired, *of_samples, *gaps))
            report(f"{rows[-1]}")
    return rows


def result_table(
    teacher: MaskedDiffusionLM, comparison: Comparison, notes: Sequence[str]
) -> ResultTable:
    """The table, with what its figures are."""
    sizes = comparison.sizes
    rows = measured(teacher, comparison)
    sweep = comparison.genome.evaluation_windows("valid", limit=sizes.samples, seed=1)
    others = codes_of(torch.cat([batch.tokens for batch in sweep.batches(64)]))
    of_words, of_chain = comparison.of_samples(others)
    real: tuple[Cell, ...] = (
        "windows of the validation split", *(None,) * 6, of_words, None, of_chain, *(None,) * 5
    )  # fmt: skip
    return ResultTable(
        "quality-few-steps",
        f"Few steps: a sampler of {sizes.top} steps distilled to {sizes.top >> HALVINGS}",
        COLUMNS,
        [*rows, real],
        (
            *notes,
            f"each student: {sizes.distilling} updates of {BATCH_SIZE} windows, from the weights "
            "of the student before it; the teacher trained longer has as many updates on data as "
            "all students together, at their learning rate",
            f"bounds on {sizes.windows} windows of the test split, {DRAWS} draws, the same masks "
            f"for all networks; samples: {sizes.samples} per seed of noise, {len(SEEDS)} seeds; "
            f"words are compared with {len(comparison.real)} test windows",
            "to gain: divergence of twice as many steps of the teacher from the steps of the row, "
            "of paths, and the part of it that a product distribution can have; half a chi-square "
            f"distance, without bias, on {sizes.windows // 4} windows, 4 draws",
            "one training of each network: no error here counts that of the training",
        ),
    )


def main() -> None:
    """Train, distil, measure, print and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=600, help="updates of the teacher")
    parser.add_argument("--distill", type=int, default=200, help="updates of each student")
    parser.add_argument("--top", type=int, default=64, help="T, steps of the teacher")
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--model", help="a run of a genome as the teacher; none: one is trained")
    parser.add_argument("--smoke", action="store_true", help="two updates each, print only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps, sizes = arguments.steps, Sizes(
        arguments.distill, arguments.top, arguments.windows, arguments.samples
    )  # fmt: skip
    if arguments.smoke:
        steps, sizes = 2, Sizes(2, 16, 8, 4)
    if sizes.top % (2 << HALVINGS):
        raise ConfigError(f"--top={sizes.top} must be a multiple of {2 << HALVINGS}")
    if arguments.model is None:
        genome = GenomeData(
            fasta="embedded:yeast", length=LENGTH, valid=("chrXV",), test=("chrXVI",)
        ).open()
        network = build(Row("teacher", ExactCount()), 1)
        assert isinstance(network, MaskedDiffusionLM)
        teacher = trained(network, genome.training_stream(1, BATCH_SIZE), steps)
        about = f"teacher: 0.1 M parameters, {steps} updates of {BATCH_SIZE} x {LENGTH} bases"
    else:
        loaded = load_model(arguments.model)
        genome = genome_of(loaded)
        assert isinstance(loaded.language_model, MaskedDiffusionLM)
        teacher = loaded.language_model
        about = f"teacher: {loaded.num_parameters:,} parameters, step {loaded.step:,}"
    table = result_table(teacher, Comparison(genome, sizes), (about,))
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
