"""A genome by path, by embedded name or as a `pyfaidx.Fasta`, which keeps its names and letters."""

import numpy as np
import pytest
from pyfaidx import Fasta

from dnamdlm.data.genome import genome_files
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.errors import ConfigError, DataError

RECORDS = {"chr1": "ACGTacgtNN" * 7, "chr2": "TTTTT", "empty": "", "chr3": "GGGa" * 30}


@pytest.fixture
def fasta(tmp_path, monkeypatch):
    """A FASTA file with lines of 20 letters, and a place for prepared genomes."""
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    lines = []
    for name, text in RECORDS.items():
        lines += [
            f">{name} organism={name[-1]}",
            *(text[i : i + 20] for i in range(0, len(text), 20)),
        ]
    path = tmp_path / "g.fa"
    path.write_text("\n".join(lines) + "\n")
    return path


def shown(store):
    """Name -> letters of a prepared genome, lower case where it is soft-masked."""
    letters = np.array(list("ACGTN"))
    found = {}
    for name, size in store.lengths.items():
        codes = store.codes[store.offsets[name] :][:size]
        text = "".join(letters[codes & 7])
        found[name] = "".join(
            letter.lower() if code & 0x80 else letter
            for letter, code in zip(text, codes, strict=True)
        )
    return found


NOT_EMPTY = {name: text for name, text in RECORDS.items() if text}


def test_a_path_and_an_indexed_path_give_the_same_store(fasta):
    before = open_genome(fasta)
    Fasta(str(fasta)).close()
    assert fasta.with_name("g.fa.fai").is_file()
    assert open_genome(str(fasta)).folder == before.folder
    assert shown(before) == NOT_EMPTY


def test_a_plain_object_is_read_through_its_file(fasta, monkeypatch):
    monkeypatch.setattr(genome_files, "write_fasta", None)
    with Fasta(str(fasta)) as opened:
        assert open_genome(opened).folder == open_genome(fasta).folder


@pytest.mark.parametrize("options", [
    {"sequence_always_upper": True}, {"as_raw": True}, {"one_based_attributes": False},
])  # fmt: skip
def test_how_letters_are_handed_out_changes_nothing_in_the_file(fasta, options):
    with Fasta(str(fasta), **options) as opened:
        assert shown(open_genome(opened)) == NOT_EMPTY


def test_a_key_function_names_the_records(fasta):
    with Fasta(str(fasta), key_function=lambda name: f"human.{name}") as opened:
        store = open_genome(opened)
    assert shown(store) == {f"human.{name}": text for name, text in NOT_EMPTY.items()}


def test_names_that_are_exchanged_stay_exchanged(fasta):
    other = {"chr1": "chr3", "chr3": "chr1"}
    with Fasta(str(fasta), key_function=lambda name: other.get(name, name)) as opened:
        store = open_genome(opened)
    assert shown(store)["chr1"] == RECORDS["chr3"]
    assert shown(store)["chr3"] == RECORDS["chr1"]


def test_a_filter_leaves_records_out(fasta):
    with Fasta(str(fasta), filt_function=lambda name: name != "chr2") as opened:
        assert list(open_genome(opened).names) == ["chr1", "chr3"]


def test_names_of_which_the_file_has_two_are_resolved_by_the_object(fasta):
    with fasta.open("a") as file:
        file.write(">chr2 again\nCCCCC\n")
    with Fasta(str(fasta), duplicate_action="last") as opened:
        assert shown(open_genome(opened))["chr2"] == str(opened["chr2"])
    with pytest.raises(DataError, match="was used before"):
        open_genome(fasta)


def test_an_object_that_was_changed_is_read_as_it_is(fasta):
    with Fasta(str(fasta), mutable=True) as opened:
        opened["chr2"][0:3] = "AAA"
        assert shown(open_genome(opened))["chr2"] == "AAATT"


def test_a_derived_object_is_read_by_its_letters(fasta):
    class Derived(Fasta):
        """As `FastaVariant`, which puts variants into what it hands out."""

        def get_seq(self, name, start, end, rc=False):
            sequence = super().get_seq(name, start, end, rc)
            sequence.seq = sequence.seq.replace("T", "C")
            return sequence

    with Derived(str(fasta)) as opened:
        store = open_genome(opened)
    assert shown(store) == {name: text.replace("T", "C") for name, text in NOT_EMPTY.items()}


def test_long_records_are_read_in_pieces(fasta, monkeypatch):
    monkeypatch.setattr(genome_files, "_PIECE_BASES", 7)
    with Fasta(str(fasta), key_function=str.upper) as opened:
        store = open_genome(opened)
    assert shown(store) == {name.upper(): text for name, text in NOT_EMPTY.items()}


@pytest.mark.parametrize("options", [
    {"key_function": lambda name: f"{name} x"}, {"read_long_names": True},
    {"key_function": lambda name: f"{name}\N{GREEK SMALL LETTER ALPHA}"},
])  # fmt: skip
def test_a_name_that_is_not_one_word_is_refused(fasta, options):
    with Fasta(str(fasta), **options) as opened, pytest.raises(DataError, match="key_function"):
        open_genome(opened)


def test_nothing_is_left_in_the_folder_of_temporary_files(fasta, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with Fasta(str(fasta), key_function=str.upper) as opened:
        open_genome(opened)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_embedded_genome_is_opened_by_name(fasta):
    assert open_genome("embedded:yeast").num_bases == 12_071_326
    with pytest.raises(ConfigError, match="unknown embedded genome"):
        open_genome("embedded:fly")


def test_the_policy_for_letters_is_passed_on(fasta):
    fasta.write_text(">a\nACGURACGT\n")
    with pytest.raises(DataError, match="U means RNA"):
        open_genome(fasta)
    assert shown(open_genome(fasta, rna=True)) == {"a": "ACGTNACGT"}
    with Fasta(str(fasta), key_function=str.upper) as opened, pytest.raises(DataError):
        open_genome(opened, rna=True, iupac="error")
