"""Figures of designs, and of what they are compared with, under two oracles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.design.baseline_draws import Compared
from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.assembly.design.natural_sequences import Natural
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.string_scores import string_likelihoods
from dnamdlm.evaluation.samples.diversity import is_duplicate, pair_distances
from dnamdlm.evaluation.samples.motif_content import motif_section
from dnamdlm.evaluation.samples.motifs import Motif
from dnamdlm.evaluation.samples.nearest_records import nearest_records
from dnamdlm.evaluation.samples.spectra import jensen_shannon
from dnamdlm.evaluation.tasks.kmer_oracle import KmerOracle
from dnamdlm.rewards.mutation import mutated
from dnamdlm.rewards.reward import CountedReward, Reward, rewards_of
from dnamdlm.rewards.sequence_rewards import gc_shares, store_codes
from dnamdlm.words.kmers import kmer_counts

DESIGNS = "designs"
BEST, MUTATED = "most active natural", "mutation with selection"
NATURAL = "all natural"
_PERCENTILES = (99.0, 99.9)
_WORD = 4
_MOST_VALUES = 2000
_ORDERS, _MOST_READ = 8, 1000


def shuffled_mean(oracle: Reward, sequences: Sequence[str], seed: int) -> float:
    """Mean of an oracle over the sequences with their letters in random order.

    What the oracle predicts of the composition alone: where it is as high as for the sequences
    themselves, they are no more than rich in the right letters.

    Args:
        oracle: one number per sequence.
        sequences: each is read in eight orders; of many each in fewer, for a thousand in all.
        seed: of the orders.

    >>> from dnamdlm.rewards.combined_rewards import FunctionReward
    >>> gc = FunctionReward(lambda texts: [text.count("C") for text in texts], "C")
    >>> shuffled_mean(gc, ["ACCA", "CCCC"], seed=1)
    3.0
    """
    rng = np.random.default_rng([seed, 11])
    orders = min(_ORDERS, max(1, _MOST_READ // len(sequences)))
    letters = [list(text) for text in sequences for _ in range(orders)]
    return float(rewards_of(oracle, ["".join(rng.permutation(text)) for text in letters]).mean())


class Audit:
    """What is known of sequences besides the reward that they were designed for."""

    def __init__(
        self,
        loaded: LoadedModel,
        settings: DesignSettings,
        oracles: Mapping[str, Reward],
        natural: Natural | None,
    ) -> None:
        """Read the natural sequences with both oracles.

        Args:
            loaded: the model, for bits per base.
            settings: of `design`.
            oracles: `reward`, and `audit` where there is one.
            natural: sequences with measured activities.
        """
        self.loaded, self.settings, self.natural = loaded, settings, natural
        self.oracles = {name: CountedReward(oracle) for name, oracle in oracles.items()}
        self.limits: dict[str, list[float]] = {}
        self.sets: dict[str, Compared] = {}
        self.known: dict[str, Mapping[str, list[Any]]] = {}
        if natural is not None:
            for name, oracle in self.oracles.items():
                found = oracle.batch(natural.sequences)
                self.limits[name] = np.percentile(found, _PERCENTILES).tolist()

    def natural_figures(self) -> dict[str, Any] | None:
        """What the percentiles of the natural sequences are, predicted and measured."""
        if self.natural is None:
            return None
        measured = np.percentile(self.natural.activities, _PERCENTILES).tolist()
        found: dict[str, Any] = {
            "source": self.natural.source,
            "sequences": len(self.natural.sequences),
            "left_out": self.natural.left_out,
            "percentiles": list(_PERCENTILES),
            "measured": measured,
            **{f"predicted_{name}": limits for name, limits in self.limits.items()},
        }
        for name, counted in self.oracles.items():
            if isinstance(oracle := counted.reward, KmerOracle):
                found[f"{name}_pearson"] = oracle.pearson
        return found

    def columns(self, sequences: Sequence[str]) -> dict[str, list[Any]]:
        """Columns of the table besides reward and draw."""
        found: dict[str, list[Any]] = {}
        if "audit" in self.oracles:
            found["audit"] = self.oracles["audit"].batch(sequences).tolist()
        found["gc"] = gc_shares(sequences).tolist()
        if self.natural is not None:
            codes = [store_codes(text) for text in sequences]
            high = self._counts([self.natural.codes[row] for row in self.natural.high])
            found["kmer_divergence"] = [
                float(jensen_shannon(self._counts([item]), high)) for item in codes
            ]
            places, identities = nearest_records(codes, self.natural.codes)
            found["nearest"] = [self.natural.names[place] for place in places]
            found["nearest_identity"] = identities.tolist()
        if self.settings.likelihood_draws:
            found["bits_per_base"] = self._bits(sequences).tolist()
        return found

    def compared(
        self, columns: Mapping[str, list[Any]], own: Compared, drawn: Mapping[str, Compared]
    ) -> list[dict[str, Any]]:
        """One row of figures for the designs and for each baseline.

        Args:
            columns: of the designs.
            own: the designs, and what they took.
            drawn: name -> draws of the model.
        """
        self.sets = {DESIGNS: own, **drawn, **self._natural_sets(own)}
        self.known = {DESIGNS: columns}
        for name in list(self.sets)[1:]:
            texts = self.sets[name].sequences
            rewards = {"reward": self.oracles["reward"].batch(texts).tolist()}
            self.known[name] = rewards | self.columns(texts)
        return [self._row(name, self.known[name]) for name in self.sets]

    def _natural_sets(self, own: Compared) -> dict[str, Compared]:
        """The most active natural sequences, and what mutation makes of them."""
        if self.natural is None or not self.settings.baselines:
            return {}
        rows = self.natural.by_activity[: len(own.sequences)]
        best = [self.natural.sequences[row] for row in rows]
        counted = CountedReward(self.oracles["reward"].reward)
        calls = max(own.rewards, len(best))
        changed = mutated(best, counted, calls=calls, seed=self.settings.seed)[0]
        return {BEST: Compared(best), MUTATED: Compared(changed, rewards=counted.sequences)}

    def figures(self, motifs: Sequence[Motif]) -> dict[str, Any]:
        """What the page draws: values of each set, words, and motifs beside active sequences.

        Args:
            motifs: to count; may be none.
        """
        found: dict[str, Any] = {
            "values": {
                key: {name: list(known[key]) for name, known in self.known.items()}
                for key in self.oracles
            }
        }
        if self.natural is None:
            return found
        rng = np.random.default_rng(self.settings.seed)
        count = min(_MOST_VALUES, len(self.natural.sequences))
        shown = rng.choice(len(self.natural.sequences), count, replace=False)
        for key, values in found["values"].items():
            texts = [self.natural.sequences[row] for row in shown]
            values[NATURAL] = self.oracles[key].batch(texts).tolist()
        high = [self.natural.codes[row] for row in self.natural.high]
        codes = {
            name: [store_codes(text) for text in item.sequences] for name, item in self.sets.items()
        }
        shares = [self._counts(item) for item in (codes[DESIGNS], high)]
        found["words"] = dict(
            zip(("generated", "reference"), ((x / x.sum()).tolist() for x in shares), strict=True)
        )
        if motifs:
            samples = {
                "generated" if name == DESIGNS else name: item for name, item in codes.items()
            }
            correlations, section = motif_section(samples, high, motifs, rng)
            found["motifs"] = section | {
                "correlations": {name: item.to_json() for name, item in correlations.items()}
            }
        return found

    def _row(self, name: str, columns: Mapping[str, list[Any]]) -> dict[str, Any]:
        item = self.sets[name]
        codes = [store_codes(text) for text in item.sequences]
        row: dict[str, Any] = {
            "name": name,
            "sequences": len(item.sequences),
            "network_calls": item.network_calls,
            "reward_sequences": item.rewards,
        }
        for key in self.oracles:
            values = np.array(columns[key])
            row |= {f"{key}_mean": float(values.mean()), f"{key}_median": float(np.median(values))}
            for share, limit in zip(_PERCENTILES, self.limits.get(key, ()), strict=False):
                row[f"{key}_above_{share:g}"] = float((values > limit).mean())
        if "audit" in self.oracles:
            oracle = self.oracles["audit"]
            row["audit_shuffled"] = shuffled_mean(oracle, item.sequences, self.settings.seed)
        for key in ("gc", "nearest_identity", "bits_per_base"):
            if key in columns:
                row[key] = float(np.mean(columns[key]))
        row["distinct"] = int((~is_duplicate(codes)).sum())
        if len(codes) > 1:
            rng = np.random.default_rng(self.settings.seed)
            row["pair_distance"] = float(pair_distances(codes, rng).mean())
        if self.natural is not None:
            high = self._counts([self.natural.codes[place] for place in self.natural.high])
            row["kmer_divergence"] = float(jensen_shannon(self._counts(codes), high))
        return row

    def _bits(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """Upper bounds of -log2 p(x) per base, (N,)."""
        nats = -string_likelihoods(
            self.loaded,
            sequences,
            draws=self.settings.likelihood_draws,
            seed=self.settings.seed,
            batch_size=self.settings.batch_size,
        )
        return nats / np.log(2) / np.array([len(text) for text in sequences])

    @staticmethod
    def _counts(codes: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
        """Counts of words of 4 bases on both strands, (256,)."""
        return kmer_counts(codes, _WORD)[_WORD - 1]
