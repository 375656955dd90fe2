"""Figures of designs, and of what they are compared with, under two oracles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.assembly.design.natural_sequences import Natural
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.string_scores import string_likelihoods
from dnamdlm.evaluation.samples.diversity import is_duplicate, pair_distances
from dnamdlm.evaluation.samples.nearest_records import nearest_records
from dnamdlm.evaluation.samples.spectra import jensen_shannon
from dnamdlm.evaluation.tasks.kmer_oracle import KmerOracle
from dnamdlm.rewards.mutation import mutated
from dnamdlm.rewards.reward import CountedReward, Reward
from dnamdlm.rewards.sequence_rewards import gc_shares, store_codes
from dnamdlm.words.kmers import kmer_counts

DESIGNS, UNGUIDED = "designs", "draws that pass, no reward"
BEST, MUTATED = "most active natural", "mutation with selection"
_PERCENTILES = (99.0, 99.9)
_WORD = 4


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
        self,
        columns: Mapping[str, list[Any]],
        sequences: Sequence[str],
        *,
        unguided: Sequence[str],
        calls: int,
    ) -> list[dict[str, Any]]:
        """One row of figures for the designs and for each baseline.

        Args:
            columns: of the designs.
            sequences: the designs.
            unguided: draws that pass, which no reward chose; may be empty.
            calls: rewards that the designs took, and mutation may take.
        """
        rows = [self._row(DESIGNS, sequences, columns)]
        count = len(sequences)
        others: dict[str, Sequence[str]] = {}
        if unguided:
            others[UNGUIDED] = unguided
        if self.natural is not None and self.settings.baselines:
            best = [self.natural.sequences[row] for row in self.natural.by_activity[:count]]
            others[BEST] = best
            calls = max(calls, len(best))
            reward = self.oracles["reward"]
            others[MUTATED] = mutated(best, reward, calls=calls, seed=self.settings.seed)[0]
        for name, texts in others.items():
            known = {"reward": self.oracles["reward"].batch(texts).tolist()}
            rows.append(self._row(name, texts, known | self.columns(texts)))
        return rows

    def _row(
        self, name: str, sequences: Sequence[str], columns: Mapping[str, list[Any]]
    ) -> dict[str, Any]:
        codes = [store_codes(text) for text in sequences]
        row: dict[str, Any] = {"name": name, "sequences": len(sequences)}
        for key in self.oracles:
            values = np.array(columns[key])
            row |= {f"{key}_mean": float(values.mean()), f"{key}_median": float(np.median(values))}
            for share, limit in zip(_PERCENTILES, self.limits.get(key, ()), strict=False):
                row[f"{key}_above_{share:g}"] = float((values > limit).mean())
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
