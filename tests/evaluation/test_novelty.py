"""Longest matches against a brute-force search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.evaluation import genome_pieces
from dnamdlm.evaluation.samples.novelty import Match, longest_matches

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def codes(text: str) -> np.ndarray:
    return np.array(["ACGTN".index(base) for base in text], np.uint8)


def random_dna(length: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def brute_force(query: str, texts: list[str]) -> int:
    for length in range(len(query), 0, -1):
        words = (query[i : i + length] for i in range(len(query) - length + 1))
        for word in words:
            turned = word.translate(COMPLEMENT)[::-1]
            if "N" not in word and any(word in text or turned in text for text in texts):
                return length
    return 0


def store_of(folder: Path, **records: str) -> GenomeStore:
    fasta = folder / "genome.fa"
    fasta.write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
    return prepare_genome(fasta, cache_dir=folder)


@pytest.mark.parametrize("chunk", [50, 1 << 21])
def test_lengths_equal_a_brute_force_search(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(genome_pieces, "CHUNK_BASES", chunk)
    one, two = random_dna(700, 1), random_dna(200, 2) + "NNNN" + random_dna(300, 3)
    store = store_of(tmp_path, one=one, two=two)
    turned = two[210:260].translate(COMPLEMENT)[::-1]
    queries = [
        random_dna(60, 4),
        random_dna(20, 5) + one[100:140] + random_dna(20, 6),
        random_dna(9, 7) + turned,
        one[300:380],
        "ACNGTTNNA",
        "N",
        "A",
        two[190:215],
    ]
    intervals = [Interval("one", 0, 700), Interval("two", 0, 504)]
    found = longest_matches([codes(query) for query in queries], store, intervals)
    assert [match.length for match in found] == [brute_force(q, [one, two]) for q in queries]


def test_the_place_of_a_match_is_where_it_says(tmp_path):
    text = random_dna(3000, 8)
    store = store_of(tmp_path, first=random_dna(500, 9), second=text)
    whole = [Interval("first", 0, 500), Interval("second", 0, 3000)]
    turned = text[1200:1290].translate(COMPLEMENT)[::-1]
    forward, backward = longest_matches([codes(text[700:800]), codes(turned)], store, whole)
    assert forward == Match(100, "second", 700, "+")
    assert backward == Match(90, "second", 1200, "-")


def test_a_match_lies_within_one_interval(tmp_path):
    text = random_dna(400, 10)
    store = store_of(tmp_path, only=text)
    query = codes(text[180:220])
    (cut,) = longest_matches([query], store, [Interval("only", 0, 200), Interval("only", 200, 400)])
    (outside,) = longest_matches([query], store, [Interval("only", 300, 400)])
    assert cut.length == brute_force(text[180:220], [text[:200], text[200:]]) == 20
    assert outside.length == brute_force(text[180:220], [text[300:]])


def test_lower_case_in_the_genome_matches(tmp_path):
    text = random_dna(100, 11)
    store = store_of(tmp_path, only=text.lower())
    assert longest_matches([codes(text[20:60])], store, [Interval("only", 0, 100)])[0].length == 40


def test_no_sequences_give_no_matches(tmp_path):
    store = store_of(tmp_path, only="ACGT")
    assert longest_matches([], store, [Interval("only", 0, 4)]) == []
