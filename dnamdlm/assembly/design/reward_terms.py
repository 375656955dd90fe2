"""What the user writes as a reward to an object: a head, a function, or a list of terms.

A text is the run folder of a fine-tuned head, or `file.py:function`. A list is a sum of terms, each
a mapping with one kind and, where wanted, a weight:

    {head: RUN, class: NAME, seed: 1}    see `HeadReward`
    {mean: [RUN, RUN], caution: 1.0}     an ensemble, of terms or texts, minus their deviation
    {product: [TERM, TERM]}
    {function: file.py:function}         code that `trust` must allow
    {program: file.pt2, output: 0}       an exported torch program, see `ProgramReward`
    {kmer: TABLE, column: activity}      ridge regression on the words of measured sequences
    {motif: TATAAT, strand: both}        number of places; strand: one for that as written
    {gc: [0.4, 0.6]}                     0 within, minus the distance outside
    {distance: ACGT...}                  minus the edit distance to a sequence
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from dnamdlm.assembly.building.field_types import as_tuple
from dnamdlm.assembly.building.model_config import config_of_run
from dnamdlm.assembly.design.head_rewards import HeadReward
from dnamdlm.assembly.design.natural_sequences import Asked, read_natural
from dnamdlm.assembly.design.noisy_rewards import NoisyReward
from dnamdlm.assembly.design.program_rewards import ProgramReward
from dnamdlm.assembly.devices import choose_device
from dnamdlm.errors import ConfigError
from dnamdlm.rewards.combined_rewards import (
    FAULTS_OF_CODE,
    FunctionReward,
    MeanReward,
    Product,
    WeightedSum,
)
from dnamdlm.rewards.conditions import word_of
from dnamdlm.rewards.reward import Reward
from dnamdlm.rewards.sequence_rewards import EditDistance, GcWindow, MotifCount
from dnamdlm.suggestions import did_you_mean

Terms: TypeAlias = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]
RewardLike: TypeAlias = Terms | Reward | Callable[[Sequence[str]], Any]
"""What Python takes as a reward."""

_OPTIONS = {
    "head": ("class", "seed"),
    "mean": ("caution",),
    "product": (),
    "function": (),
    "program": ("output",),
    "kmer": ("column",),
    "motif": ("strand",),
    "gc": (),
    "distance": (),
}
"""Kind of a term -> further keys that it may have, besides `weight`."""


@dataclass(frozen=True)
class RewardReader:
    """Reads rewards for one command.

    Attributes:
        trust: packages, and stems of Python files, whose code may run.
        device: where heads run.
        setting: what the user calls the reward, for messages.
    """

    trust: tuple[str, ...] = ()
    device: str = "auto"
    setting: str = "reward"

    def read(self, terms: RewardLike, output: str | None = None) -> Reward:
        """The reward of a text, a list of terms, a function, or a reward as it is.

        Args:
            terms: as the module says.
            output: class, label or number of one head.

        Raises:
            CheckpointError: if a folder holds no head.
            ConfigError: for a term that cannot be read, or code that is not allowed.
        """
        if not isinstance(terms, str | Sequence | Mapping):
            return _given(terms, self.setting)
        if isinstance(terms, str):
            return self._text(terms, output)
        if output is not None:
            raise ConfigError(
                f"{self.setting}_class={output} is for one head; write class: NAME in its term"
            )
        listed = [terms] if isinstance(terms, Mapping) else list(terms)
        if not listed:
            raise ConfigError(f"{self.setting}=[] has no term; give a head or a list of terms")
        found = [self._term(term) for term in listed]
        weights = tuple(self._number(term, "weight", 1.0) for term in listed)
        if len(found) == 1 and weights == (1.0,):
            return found[0]
        return WeightedSum(tuple(found), weights)

    def _text(self, text: str, output: str | None = None) -> Reward:
        if text.endswith(".pt2"):
            if output is not None:
                raise ConfigError(
                    f"{self.setting}_class={output} is for a head, and {self.setting}={text} is a "
                    f"program; write {self.setting}=[{{program: {text}, output: NUMBER}}]"
                )
            return self._program(text)
        if ":" in text and not Path(text).exists():
            if output is not None:
                raise ConfigError(
                    f"{self.setting}_class={output} is for a head, and {self.setting}={text} is a "
                    "function; leave it out"
                )
            return self._function(text)
        return self._head(text, output, None)

    def _head(self, text: str, output: str | None, seed: int | None) -> Reward:
        """A fine-tuned head, or one that was trained on noisy sequences."""
        options: dict[str, Any] = {
            "output": output, "device": self.device, "trust": self.trust, "setting": self.setting,
        }  # fmt: skip
        config = config_of_run(Path(text)) if Path(text).is_dir() else None
        if config is not None and config.is_classifier and seed is None:
            return NoisyReward(text, **options)
        return HeadReward(text, seed=seed, **options)

    def _term(self, term: object) -> Reward:
        if isinstance(term, str):
            return self._text(term)
        if not isinstance(term, Mapping):
            raise ConfigError(
                f"{self.setting} has the term {term!r}; write {{head: RUN}}, {{motif: TATAAT}}, ..."
            )
        kinds = [key for key in term if key in _OPTIONS]
        if len(kinds) != 1:
            raise ConfigError(
                f"{self.setting} has a term with {' and '.join(map(str, term)) or 'nothing'}; give "
                f"each term exactly one of {', '.join(_OPTIONS)}"
            )
        (kind,) = kinds
        for key in term:
            known = (kind, "weight", *_OPTIONS[kind])
            if key not in known:
                raise ConfigError(
                    f"{self.setting}: a {kind} term has no key {key}{did_you_mean(str(key), known)}"
                    f"; it may have {', '.join(known)}"
                )
        return self._made(kind, term)

    def _made(self, kind: str, term: Mapping[str, Any]) -> Reward:
        value = term[kind]
        if kind in ("mean", "product"):
            return self._joined(kind, term)
        if kind == "gc":
            numbers = list(value) if isinstance(value, Sequence) else []
            if len(numbers) != 2 or not all(isinstance(item, int | float) for item in numbers):
                raise ConfigError(f"{self.setting}: gc={value} needs two shares, as [0.4,0.6]")
            return GcWindow(float(numbers[0]), float(numbers[1]))
        if not isinstance(value, str):
            raise ConfigError(f"{self.setting}: {kind}={value!r} must be a text")
        made = {
            "head": self._head_term, "kmer": self._words, "distance": self._distance,
            "motif": self._motif,
            "program": lambda value, term: self._program(value, term.get("output")),
            "function": lambda value, _: self._function(value),
        }  # fmt: skip
        return made[kind](value, term)

    def _joined(self, kind: str, term: Mapping[str, Any]) -> Reward:
        value = term[kind]
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise ConfigError(f"{self.setting}: {kind} needs a list of terms, got {value!r}")
        parts = tuple(self._weighted(part) for part in value)
        if kind == "product":
            return Product(parts)
        caution = self._number(term, "caution", 0.0)
        if not 0 <= caution < float("inf"):
            raise ConfigError(f"{self.setting}: caution={caution:g} must be a number from 0")
        return MeanReward(parts, caution)

    def _head_term(self, value: str, term: Mapping[str, Any]) -> Reward:
        seed = term.get("seed")
        if seed is not None and not isinstance(seed, int):
            raise ConfigError(f"{self.setting}: seed={seed!r} must be a whole number")
        # a class that is called 3 is read as a number.
        output = None if term.get("class") is None else str(term["class"])
        return self._head(value, output, seed)

    def _words(self, value: str, term: Mapping[str, Any]) -> Reward:
        column = None if term.get("column") is None else str(term["column"])
        asked = Asked(f"{self.setting}: kmer=", f"{self.setting}: column=")
        return read_natural(value, column, asked).kmer_oracle(seed=0)

    @staticmethod
    def _distance(value: str, _: Mapping[str, Any]) -> Reward:
        return EditDistance(value.upper())

    def _motif(self, value: str, term: Mapping[str, Any]) -> Reward:
        strand = term.get("strand", "both")
        if strand not in ("both", "one"):
            raise ConfigError(f"{self.setting}: strand={strand} is unknown; choose both or one")
        return MotifCount(word_of(value if strand == "both" else f"{value}+", "motif"))

    def _weighted(self, part: object) -> Reward:
        found = self._term(part)
        weight = self._number(part, "weight", 1.0)
        return found if weight == 1.0 else WeightedSum((found,), (weight,))

    def _number(self, term: object, key: str, usual: float) -> float:
        number = term.get(key, usual) if isinstance(term, Mapping) else usual
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ConfigError(f"{self.setting}: {key}={number!r} must be a number")
        return float(number)

    def _program(self, path: str, output: object = None) -> Reward:
        if output is not None and (isinstance(output, bool) or not isinstance(output, int)):
            raise ConfigError(f"{self.setting}: output={output!r} must be a whole number from 0")
        return ProgramReward(
            path, output=output, device=str(choose_device(self.device)), trust=self.trust,
            setting=self.setting,
        )  # fmt: skip

    def _function(self, text: str) -> Reward:
        place, _, name = text.rpartition(":")
        is_file = place.endswith(".py")
        package = Path(place).stem if is_file else place.partition(".")[0]
        if is_file and not Path(place).is_file():
            raise ConfigError(f"{self.setting}={text}: {place} does not exist; check the path")
        if package not in self.trust:
            raise ConfigError(
                f"{self.setting}={text} runs the code of {place}; if you trust it, say "
                f"trust=[{package}]"
            )
        try:
            module = _module_of_file(place) if is_file else importlib.import_module(place)
        except FAULTS_OF_CODE as error:
            raise ConfigError(
                f"{self.setting}={text} cannot be imported ({error}); correct it first"
            ) from error
        function = getattr(module, name, None)
        if not callable(function):
            raise ConfigError(
                f"{self.setting}={text}: {place} has no function {name}; name one that it defines"
            )
        return FunctionReward(typing.cast(Callable[[Sequence[str]], Any], function), text)


def _given(given: Any, setting: str) -> Reward:
    """A reward or a function that is given as an object."""
    if hasattr(given, "batch") and hasattr(given, "name"):
        return given
    if callable(given):
        function: Callable[[Sequence[str]], Any] = given
        return FunctionReward(function, getattr(given, "__name__", type(given).__name__))
    raise ConfigError(
        f"{setting}={given!r} is not a reward; give a run folder, a list of terms, a function of a "
        "list of strings, or an object with batch and name"
    )


def _module_of_file(path: str) -> Any:
    stem = Path(path).stem
    spec = importlib.util.spec_from_file_location(stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # dataclasses and pickles of the file look for their module.
    sys.modules.setdefault(stem, module)
    spec.loader.exec_module(module)
    return module


def reward(
    terms: RewardLike,
    *,
    reward_class: str | None = None,
    trust: str | Sequence[str] = (),
    device: str = "auto",
) -> Reward:
    """A reward: sequences to one number each, as `dnamdlm design reward=` reads it.

    Args:
        terms: the run folder of `dnamdlm finetune`, `file.py:function`, a list of terms such as
            `[{"motif": "TATAAT", "weight": 0.5}, {"gc": [0.4, 0.6]}]`, or a function of a list of
            strings.
        reward_class: class, label or number of a head that predicts several; the reward is the
            logarithm of the probability of a class.
        trust: packages, and stems of Python files, whose code may run.
        device: where heads run.

    Raises:
        CheckpointError: if a folder holds no head.
        ConfigError: for a term that cannot be read.

    Example:
        >>> from dnamdlm.assembly.design.reward_terms import reward
        >>> reward([{"motif": "TATAAT"}, {"gc": [0.5, 0.5], "weight": 2}]).batch(["TATAATGC"])
        array([0.5])
    """
    return RewardReader(as_tuple(trust), device).read(terms, reward_class)
