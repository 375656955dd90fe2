"""Settings of a genome, and what the opened genome gives."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from dnamdlm.data.genome import genome_files as source
from dnamdlm.data.genome.genome_files import embedded_names
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.errors import ConfigError, DataError


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "genome.fa"
    path.write_text(
        "".join(
            f">c{i}\n{''.join(rng.choice(list('ACGTacgt'), 300 + 10 * i))}\n" for i in range(12)
        )
    )
    return GenomeData(fasta=str(path), cache_dir=str(tmp_path / "cache"), length=32)


WRONG = {
    "fasta": ({"fasta": ""}, "data.fasta is empty"),
    "length": ({"length": 0}, "data.length must be at least 1, got 0"),
    "margin": ({"margin": -1}, "data.margin must be at least 0"),
    "valid_fraction": ({"valid_fraction": 1.5}, "data.valid_fraction must lie in"),
    "sum": ({"valid_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train on"),
    "max_n_fraction": ({"max_n_fraction": 1.0}, "data.max_n_fraction must lie in"),
    "soft_mask_weight": ({"soft_mask_weight": -0.1}, "data.soft_mask_weight must lie in"),
    "iupac": ({"iupac": "sets"}, "data.iupac must be n, random or error, got 'sets'"),
    "expansion of nothing": ({"expand": True}, "lengthens the rows of data.bed; give a BED file"),
    "expansion and length": ({"expand": True, "bed": "x", "length": 33}, "that divides 1048576"),
    "two rules": ({"bed": "x.bed", "test": ["c1"]}, "use one rule to split"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_named(data, change, message):
    with pytest.raises(ConfigError, match=message):
        replace(data, **change)


def test_the_default_split_holds_out_whole_records(data):
    genome = data.open()
    total = genome.store.num_bases
    assert genome.splits.rule.startswith("records")
    assert sum(map(genome.splits.num_bases, ("train", "valid", "test"))) == total


def test_named_records_and_bed_files_split_too(data, tmp_path):
    named = replace(data, valid=["c1"], test=("c2", "c3")).open()
    assert [i.chrom for i in named.splits.test] == ["c2", "c3"]
    bed = tmp_path / "s.bed"
    bed.write_text("c0\t0\t200\ttrain\nc0\t200\t300\ttest\n")
    assert replace(data, bed=str(bed)).open().splits.num_bases("test") == 100
    bed.write_text("c0\t0\t200\ttrain\nc0\t199\t300\ttest\n")
    with pytest.raises(DataError, match=r"s\.bed: the splits overlap: c0:0-200 is in train and"):
        replace(data, bed=str(bed)).open()
    with pytest.raises(DataError, match=r"data\.test: record 'chrc2' is not in the genome"):
        replace(data, test=["chrc2"]).open()


def starts_of_rows(stream, num_batches):
    return sorted(s for step in range(num_batches) for s in stream.batch(step).start.tolist())


def test_expanded_rows_give_the_windows_of_the_original_and_a_warning(tmp_path, caplog):
    rng = np.random.default_rng(0)
    size = (1 << 20) + 2000
    fasta = tmp_path / "long.fa"
    fasta.write_bytes(b">c\n" + rng.choice(np.frombuffer(b"ACGT", np.uint8), size).tobytes())
    bed = tmp_path / "sequences.bed"
    rows = [(0, 65536, "train"), (4096, 65536, "train"), (65536, 131072, "test")]
    bed.write_text("".join(f"c\t{start}\t{end}\t{name}\n" for start, end, name in rows))
    data = GenomeData(
        fasta=str(fasta), bed=str(bed), cache_dir=str(tmp_path / "cache"), length=65536,
        jitter=False, reverse_complement=False,
    )  # fmt: skip
    clean = data.open()
    assert starts_of_rows(clean.training_stream(1, 1), 1) == [0]
    assert "expand" not in caplog.text
    assert clean.describe()["expanded"] is None
    expanded = replace(data, expand=True).open()
    # arithmetic of the original: start + shift * length, moved back to end with the record.
    expected = sorted(
        min(start + shift * 65536, size - 65536)
        for start, _, name in rows if name == "train" for shift in range(16)
    )  # fmt: skip
    assert starts_of_rows(expanded.training_stream(1, 32), 1) == expected
    reach = {"outside": size - 65536, "valid": 0, "test": 65536}
    assert expanded.describe()["expanded"] == reach
    assert "reach 985040 bases outside the train split, 0 of them in valid and 65536 in test" in (
        caplog.text
    )
    assert expanded.fingerprint() != clean.fingerprint()
    assert len(clean.evaluation_windows("test")) == 1
    assert len(expanded.evaluation_windows("test")) == 16


def test_training_and_evaluation_serve_their_own_split(data):
    genome = replace(data, valid=["c1"], test=["c2"]).open()
    batch = genome.training_stream(seed=1, global_batch_size=200).batch(0)
    held_out = [genome.store.span(i) for name in ("valid", "test") for i in genome.splits[name]]
    for start in batch.start.tolist():
        assert all(start + 32 <= low or start >= high for low, high in held_out)
    windows = genome.evaluation_windows("test", limit=3, seed=2)
    assert len(windows) == 3
    assert next(genome.evaluation_windows("valid", length=50).batches(1)).length == 50


def test_an_empty_split_says_how_to_fill_it(data):
    genome = replace(data, valid=["c1"]).open()
    with pytest.raises(DataError, match=r"the test split is empty; name its records in data\.test"):
        genome.evaluation_windows("test")
    with pytest.raises(DataError, match="split must be one of"):
        genome.evaluation_windows("dev")


def test_the_fingerprint_follows_the_data_and_not_its_place(data, tmp_path):
    first = data.open().fingerprint()
    moved = tmp_path / "moved.fa"
    shutil.copy(data.fasta, moved)
    assert (
        replace(data, fasta=str(moved), cache_dir=str(tmp_path / "c2")).open().fingerprint()
        == first
    )
    changes = [
        {"length": 33},
        {"jitter": False},
        {"reverse_complement": False},
        {"soft_mask_weight": 0.5},
        {"max_n_fraction": 0.1},
        {"test": ["c1"]},
        {"test_fraction": 0.3},
    ]
    prints = {replace(data, **change).open().fingerprint() for change in changes}
    assert len(prints) == len(changes)
    assert first not in prints


def test_a_missing_file_names_the_command_that_downloads_it(data, tmp_path):
    missing = replace(data, fasta=str(tmp_path / "no.fa"), download_command="make it")
    with pytest.raises(DataError, match=r"no\.fa does not exist; .* downloads it: 'make it'"):
        missing.open()
    missing = replace(data, bed=str(tmp_path / "no.bed"), download_command="make it")
    with pytest.raises(
        DataError, match=r"data\.bed=.*no\.bed does not exist; .* downloads it: 'make"
    ):
        missing.open()


def test_the_description_counts_bases_and_windows(data):
    genome = data.open()
    facts = genome.describe()
    assert facts["num_bases"] == sum(300 + 10 * i for i in range(12))
    assert facts["num_records"] == 12
    assert facts["num_training_windows"] == len(genome.training_windows())
    assert sum(part["num_bases"] for part in facts["splits"].values()) == facts["num_bases"]


def test_the_embedded_yeast_genome_opens_with_its_annotation(tmp_path):
    genome = GenomeData(
        fasta="embedded:yeast",
        annotation="embedded:yeast",
        cache_dir=str(tmp_path),
        valid=["chrXV"],
        test=["chrXVI"],
    ).open()
    assert genome.store.num_bases == 12_071_326
    assert len(genome.store.names) == 16
    assert genome.store.lengths["chrXVI"] == 948_066
    assert genome.store.manifest["num_n"] == 0
    provenance = (source.EMBEDDED_FOLDER / "PROVENANCE.md").read_text()
    assert genome.store.sha256 in provenance
    # about 72 % of the yeast genome codes for protein (dubious reading frames included).
    assert genome.region_classes.plane().mean() == pytest.approx(0.72, abs=0.02)


def test_an_unknown_embedded_genome_is_refused_with_the_known_ones(data):
    assert embedded_names() == ("yeast",)
    with pytest.raises(
        ConfigError, match=r"unknown embedded genome 'embedded:fly'; .*embedded:yeast"
    ):
        replace(data, fasta="embedded:fly").open()


def test_a_damaged_embedded_file_is_refused(data, tmp_path, monkeypatch):
    copy = tmp_path / "embedded"
    shutil.copytree(source.EMBEDDED_FOLDER, copy)
    monkeypatch.setattr(source, "EMBEDDED_FOLDER", copy)
    for name in ("yeast_S288C_R64.fa.gz", "yeast_S288C_R64.gff3.gz"):
        damaged = bytearray((copy / name).read_bytes())
        damaged[1000] ^= 1
        (copy / name).write_bytes(damaged)
    with pytest.raises(DataError, match="the file is damaged: install the package again"):
        replace(data, fasta="embedded:yeast").open()
    genome = replace(data, annotation="embedded:yeast").open()
    with pytest.raises(DataError, match="missing or damaged"):
        _ = genome.region_classes


def test_no_annotation_means_no_classes(data):
    assert data.open().region_classes is None
