"""Published networks of DNA whose token ids are others than ours: rows by letter.

A tokenizer of single letters gives each of A, C, G and T an id, in whatever order, and some marks
theirs. The rows of the embedding and of the output layer are put where our vocabulary has these
letters, so that the logits of A, C, G and T are those of the original. What the original does not
have gets an idle row of zeros.

The complement of Caduceus-PS is derived again from our vocabulary. The one that comes with the
weights has to exchange A with T and C with G, or the ids do not mean what the tokenizer says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.data.json_files import read_json_file
from dnamdlm.errors import CheckpointError
from dnamdlm.tokens.nucleotide import AMBIGUITY_CODES, NUCLEOTIDE_VOCABULARY

_FILE = "tokenizer.json"
_LETTERS = set("ACGTN") | set(AMBIGUITY_CODES.decode("ascii"))
_MARK = re.compile(r"\[.*\]|<.*>", re.DOTALL)
# names of one mark in different projects, the usual one first.
_SAME = {
    "[MASK]": ("[MASK]", "<mask>"),
    "[PAD]": ("[PAD]", "<pad>"),
    "[UNK]": ("[UNK]", "<unk>"),
    "[CLS]": ("[CLS]", "<cls>", "<s>"),
    "[SEP]": ("[SEP]", "<eos>", "</s>"),
    "[BOS]": ("[BOS]", "<bos>"),
}


def letter_ids(folder: Path) -> dict[str, int] | None:
    """Id of each letter and mark, upper case, of a folder with a tokenizer of single letters.

    Args:
        folder: of the published weights.

    Returns:
        None if the folder has no `tokenizer.json`, or one of anything else than DNA by letters.

    Raises:
        CheckpointError: if A, C, G, T or the mask has no id, or a letter has two.
    """
    vocabulary = vocabulary_of(folder / _FILE)
    letters = {symbol: id_ for symbol, id_ in vocabulary.items() if not _MARK.fullmatch(symbol)}
    if not letters or not {symbol.upper() for symbol in letters} <= _LETTERS:
        return None
    found = {symbol: id_ for symbol, id_ in vocabulary.items() if symbol not in letters}
    for symbol, id_ in letters.items():
        if found.setdefault(symbol.upper(), id_) != id_:
            raise CheckpointError(
                f"{folder / _FILE}: {symbol.upper()} and {symbol.lower()} have two ids, and here "
                "upper and lower case are one base"
            )
    missing = [letter for letter in "ACGT" if letter not in found]
    if missing or _named(found, "[MASK]") is None:
        what = ", ".join([*missing, *(["[MASK]"] if not missing else [])])
        raise CheckpointError(f"{folder / _FILE}: has no id for {what}, which a model of DNA needs")
    return found


@torch.no_grad()
def with_our_rows(network: nn.Module, ids: Mapping[str, int], source: str) -> None:
    """Put the rows of a network where our vocabulary has their letters, in place.

    Args:
        network: a backbone with the ids of its tokenizer; it gets those of ours.
        ids: see `letter_ids`.
        source: of the weights, for messages.

    Raises:
        CheckpointError: if an id lies outside the network, or the complement contradicts the ids.
    """
    trunk: Any = network.strand if isinstance(network, CaduceusPS) else network
    size = trunk.vocab_size
    if (largest := max(ids.values())) >= size:
        raise CheckpointError(
            f"{source}: the tokenizer has the id {largest}, and the weights have {size} rows; the "
            "files do not belong together"
        )
    if isinstance(network, CaduceusPS):
        _check_complement(network.complement.tolist(), ids, source)
    rows = [_source_of(symbol, ids) for symbol in NUCLEOTIDE_VOCABULARY.symbols]
    is_tied = trunk.head.weight is trunk.embedding.weight
    for part in (trunk.embedding, trunk.head):
        for name, values in list(part.named_parameters(recurse=False)):
            if len(values) == size:
                setattr(part, name, nn.Parameter(_moved(values, rows)))
    if is_tied:
        trunk.head.weight = trunk.embedding.weight
    trunk.vocab_size = len(rows)
    if isinstance(network, CaduceusPS):
        network.vocab_size = len(rows)
        network.complement = torch.tensor(NUCLEOTIDE_VOCABULARY.complement)


def is_as_ours(ids: Mapping[str, int]) -> bool:
    """Whether a tokenizer has our ids for all letters and the mask."""
    return all(
        ids.get(symbol) == id_
        for id_, symbol in enumerate(NUCLEOTIDE_VOCABULARY.symbols)
        if symbol in "ACGT" or symbol == "[MASK]"
    )


def vocabulary_of(path: Path) -> dict[str, int]:
    """Symbol -> id of a `tokenizer.json`; empty where there is none of a simple kind."""
    try:
        content = read_json_file(path)
    except (OSError, ValueError):
        return {}
    model = content.get("model") if isinstance(content, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict):
        return {}
    added = content.get("added_tokens") or []
    named = {entry["content"]: entry["id"] for entry in added if {"content", "id"} <= set(entry)}
    return {**vocabulary, **named}


def _named(ids: Mapping[str, int], mark: str) -> int | None:
    return next((ids[name] for name in _SAME[mark] if name in ids), None)


def _source_of(symbol: str, ids: Mapping[str, int]) -> int | None:
    """The id that a symbol of ours has there; N is an unknown letter where it has none."""
    if symbol in _SAME:
        return _named(ids, symbol)
    found = ids.get(symbol)
    return _named(ids, "[UNK]") if found is None and symbol == "N" else found


def _moved(values: Tensor, rows: list[int | None]) -> Tensor:
    moved = values.new_zeros(len(rows), *values.shape[1:])
    for new, old in enumerate(rows):
        if old is not None:
            moved[new] = values[old]
    return moved


def _check_complement(complement: list[int], ids: Mapping[str, int], source: str) -> None:
    pairs = {"A": "T", "C": "G", "G": "C", "T": "A"}
    wrong = [letter for letter, other in pairs.items() if complement[ids[letter]] != ids[other]]
    mask = _named(ids, "[MASK]")
    if wrong or (mask is not None and complement[mask] != mask):
        named = wrong[0] if wrong else "the mask"
        raise CheckpointError(
            f"{source}: its complement map does not give the complement of {named} under the ids "
            "of its tokenizer.json; the files do not belong together"
        )
