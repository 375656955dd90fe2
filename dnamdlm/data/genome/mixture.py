"""Several genomes mixed by weights; the class of a row is the genome that it comes from."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Annotated, Any

import numpy as np

from dnamdlm.data.data_source import OpenData, SettingsOf, Unit
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.mixing import MixedRows, seed_of, whole_numbers
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.record_classes import RecordLabels
from dnamdlm.data.genome.splits import SPLIT_NAMES
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep, TrainingStream
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.suggestions import did_you_mean
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.vocabulary import Vocabulary

# fewer windows than that give no standard error worth having.
_LEAST_WINDOWS = 8
_OF_ALL = ("length", "cache_dir", "jitter", "reverse_complement", "soft_mask_weight")

# numbers of a mapping and names of rules are checked here, for messages that name the genome.
Weights = str | Mapping[str, Any]


@dataclass(frozen=True)
class GenomeMixture:
    """Settings of a mixture: the genomes, how often each is seen, and what all share.

    Attributes:
        genomes: name -> settings of that genome, as `GenomeData` has them. The names in sorted
            order are the classes, since files do not keep the order that they are written in.
        weights: "equal", "size" (in proportion to the bases of the training split), or a number
            for each name.
        length: bases per training window, of all genomes.
        cache_dir: folder of prepared genomes; None takes the default.
        jitter: move training windows at random by up to half a length.
        reverse_complement: turn training windows over with probability 1/2.
        soft_mask_weight: training weight of soft-masked (lower-case) bases.

    Raises:
        ConfigError: if a setting is out of range or contradicts another.
    """

    genomes: Annotated[
        Mapping[str, Mapping[str, Any]], SettingsOf(GenomeData, (*_OF_ALL, "labels"))
    ]
    weights: Weights = "equal"
    length: int = 1024
    cache_dir: str | None = None
    jitter: bool = True
    reverse_complement: bool = True
    soft_mask_weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.genomes:
            raise ConfigError(
                "data.genomes names no genome; give data.genomes.NAME.fasta=FILE for each"
            )
        for name in self.genomes:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name == "all":
                raise ConfigError(
                    f"data.genomes.{name}: a genome is named by a letter and then letters, digits "
                    "and _, and not all"
                )
        self.members()
        if isinstance(self.weights, str):
            if self.weights not in ("equal", "size"):
                raise ConfigError(
                    f"data.weights={self.weights} is unknown; choose equal, size, or a number for "
                    "each genome"
                )
            return
        if odd := sorted(self.genomes.keys() ^ self.weights.keys()):
            raise ConfigError(
                f"data.weights and data.genomes differ in {odd[0]!r}; give a weight for each of "
                f"{', '.join(self.genomes)}"
            )
        for name, weight in self.weights.items():
            is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not (is_number and weight > 0 and math.isfinite(weight)):
                raise ConfigError(
                    f"data.weights.{name}={weight} must be a number above 0; leave a genome out of "
                    "data.genomes if it is not wanted"
                )

    @property
    def vocabulary(self) -> Vocabulary:
        """Nucleotides."""
        return NUCLEOTIDE_VOCABULARY

    def members(self) -> dict[str, GenomeData]:
        """The settings of each genome, with those that all share.

        Raises:
            ConfigError: for a setting that no genome has, or one that is out of range.
        """
        shared = {name: getattr(self, name) for name in _OF_ALL}
        known = {item.name for item in fields(GenomeData)} - {*_OF_ALL, "labels"}
        members = {}
        for name, settings in sorted(self.genomes.items()):
            for key in settings:
                if key not in known:
                    raise ConfigError(
                        f"data.genomes.{name}.{key} is not a setting of a genome of a mixture"
                        f"{did_you_mean(key, sorted(known))}"
                    )
            if "fasta" not in settings:
                raise ConfigError(f"data.genomes.{name}.fasta is not set; give its FASTA file")
            try:
                members[name] = GenomeData(**shared, **settings)
            except ConfigError as error:
                raise ConfigError(f"data.genomes.{name}: {error}") from error
        return members

    def open(self) -> OpenMixture:
        """Prepare every genome that is not prepared yet.

        Raises:
            DataError: if a file or a split cannot be used, or two genomes are the same.
        """
        opened: dict[str, OpenGenome] = {}
        names = tuple(sorted(self.genomes))
        for number, (name, settings) in enumerate(self.members().items()):
            try:
                genome = settings.open()
            except DataError as error:
                raise DataError(f"data.genomes.{name}: {error}") from error
            for other, before in opened.items():
                if before.store.sha256 == genome.store.sha256:
                    raise DataError(
                        f"data.genomes.{other} and data.genomes.{name} hold the same bases, which "
                        "would be trained on in one and tested on in the other; keep one"
                    )
            opened[name] = replace(genome, labels=RecordLabels.of_one_class(names, number))
        return OpenMixture(self, opened)


@dataclass(frozen=True)
class OpenMixture:
    """Prepared genomes that are drawn from in turn.

    Attributes:
        settings: what the user asked for.
        genomes: the opened genomes, sorted by name, each with its class for all its records.
    """

    settings: GenomeMixture
    genomes: Mapping[str, OpenGenome]

    @property
    def unit(self) -> Unit:
        """A base."""
        return "base"

    @property
    def length(self) -> int:
        """Bases per training window."""
        return self.settings.length

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the genomes, sorted."""
        return tuple(self.genomes)

    @property
    def parts(self) -> Mapping[str, OpenData]:
        """The genomes by name."""
        return self.genomes

    def has_split(self, split: str) -> bool:
        """Whether any genome holds out something for a split."""
        return any(genome.has_split(split) for genome in self.genomes.values())

    def rows_per_turn(self) -> tuple[int, ...]:
        """How often each genome comes in a turn of consecutive rows.

        These are the weights as whole numbers without a common divisor. Where their sum is above
        65,536, as with sizes of genomes, they are rounded to shares of 65,536, none to 0.
        """
        weights = self.settings.weights
        if weights == "equal":
            exact = [Fraction(1)] * len(self.genomes)
        elif weights == "size":
            exact = [Fraction(g.splits.num_bases("train")) for g in self.genomes.values()]
        else:
            assert not isinstance(weights, str)
            # as the user wrote it: 0.1 is one tenth, not the nearest binary fraction.
            exact = [Fraction(str(weights[name])) for name in self.genomes]
        return whole_numbers(exact)

    def training_stream(self, seed: int, global_batch_size: int) -> TrainingStream:
        """Endless training batches of all genomes, a function of (seed, step).

        Raises:
            DataError: if a genome has no window.
        """
        members = []
        for number, (name, genome) in enumerate(self.genomes.items()):
            try:
                members.append(genome.training_rows(seed_of(seed, number)))
            except DataError as error:
                raise DataError(f"data.genomes.{name}: {error}") from error
        rows = MixedRows(tuple(members), self.rows_per_turn(), seed, self._bases())
        return TrainingStream(rows, global_batch_size)

    def evaluation_windows(
        self,
        split: str,
        length: int | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> Sweep[SplitWindows]:
        """The windows of all genomes that have such a split, one genome after the other.

        Raises:
            DataError: if no genome has such a split.
        """
        bases = dict(zip(self.genomes, self._bases(), strict=True))
        members = self.windows_of_each(split, length, limit, seed)
        return Sweep.joined(list(members.values()), [bases[name] for name in members], seed)

    def windows_of_each(
        self, split: str, length: int | None, limit: int | None, seed: int
    ) -> dict[str, Sweep[SplitWindows]]:
        """The windows of each genome that has such a split.

        A limit is shared in proportion to the windows of each genome, but each has 8 at least.

        Raises:
            DataError: if no genome has such a split.
        """
        used = {name: genome for name, genome in self.genomes.items() if genome.has_split(split)}
        if not used:
            raise DataError(
                f"the {split} split is empty in every genome; name its records in "
                f"data.genomes.NAME.{split} or set data.genomes.NAME.{split}_fraction"
            )
        seeds = {name: seed_of(seed, number) for number, name in enumerate(self.genomes)}
        windows = {
            name: genome.evaluation_windows(split, length, None, seeds[name])
            for name, genome in used.items()
        }
        total = sum(map(len, windows.values()))
        if limit is None or limit >= total:
            return windows
        limits = {
            name: max(min(_LEAST_WINDOWS, len(part)), len(part) * limit // total)
            for name, part in windows.items()
        }
        return {
            name: genome.evaluation_windows(split, length, limits[name], seeds[name])
            for name, genome in used.items()
        }

    def check_files(self) -> None:
        """Read the annotation of each genome.

        Raises:
            DataError: if one cannot be used with its genome.
        """
        for name, genome in self.genomes.items():
            try:
                genome.check_files()
            except DataError as error:
                raise DataError(f"data.genomes.{name}: {error}") from error

    def fingerprint(self) -> str:
        """Hash of all genomes, their names and how often each comes."""
        content = {
            "genomes": [(name, genome.fingerprint()) for name, genome in self.genomes.items()],
            "rows_per_turn": self.rows_per_turn(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Facts for a report: the sums, and each genome by itself."""
        genomes = {name: genome.describe() for name, genome in self.genomes.items()}
        rows = self.rows_per_turn()
        shares = {name: count / sum(rows) for name, count in zip(genomes, rows, strict=True)}
        sums = ("num_records", "num_bases", "num_n", "num_soft_masked", "num_training_windows")
        rules = {described["split_rule"] for described in genomes.values()}
        return {
            "fasta": f"{len(genomes)} genomes ({', '.join(genomes)})",
            "fingerprint": self.fingerprint(),
            **{key: sum(described[key] for described in genomes.values()) for key in sums},
            "split_rule": rules.pop() if len(rules) == 1 else "a rule for each genome",
            "splits": {
                split: {
                    "num_bases": sum(d["splits"][split]["num_bases"] for d in genomes.values()),
                    "intervals": [
                        f"{name} {interval}"
                        for name, described in genomes.items()
                        for interval in described["splits"][split]["intervals"]
                    ],
                }
                for split in SPLIT_NAMES
            },
            "window_length": self.length,
            "label_names": list(self.label_names),
            "shares": shares,
            "genomes": genomes,
        }

    def _bases(self) -> tuple[int, ...]:
        """First offset of each genome where the stores lie one after the other."""
        sizes = [genome.store.num_bases for genome in self.genomes.values()]
        return tuple(np.cumsum([0, *sizes])[:-1].tolist())
